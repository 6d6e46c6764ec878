// Framing: turns one message into the bytes that go on the wire, in memory the caller reserved.
//
//   newline          [header] message '\n'
//   octet counting   LEN ' ' [header] message         (RFC 6587; LEN counts header and message)
//   raw              [header] message
//   RELP             000000000 ' ' syslog ' ' LEN ' ' [header] message '\n'     (see relp.h)
//   header           <PRI>1 TIMESTAMP HOST APP PROCID MSGID - (RFC 5424, no structured data)
//
// Two ways in, each with one copy of the payload: measure, reserve, write; or reserve, let the host
// format in place, finish. All that does not change between messages is rendered once, at opening.
// A framer is values only and never changes after its init, so any number of threads may use one.
//
// Of RELP this writes the frame but for its number: the frame begins with nine zeros, over which
// whoever sends it writes the number that is the next one then. Newlines inside pass.
//
// Choosing: after a connection breaks in mid-message, a receiver of newline frames may take the
// torn half for a message; with octet counting it can tell. A receiver that tells the two apart by
// the first byte (rsyslog) reads a newline frame that begins with a digit as a count.
#ifndef WEIR_WRITER_FRAMING_H
#define WEIR_WRITER_FRAMING_H

#include "runtime/cold.h"
#include "weir_writer.h"
#include "writer/limits.h"

// "2026-11-22T14:09:45.123456Z"
#define WEIR_TIMESTAMP_BYTES 27

// "<191>1 "
#define WEIR_SYSLOG_PRI_BYTES_MAX 7
// " HOST APP PROCID MSGID - "
#define WEIR_SYSLOG_TAIL_BYTES_MAX (1 + 255 + 1 + 48 + 1 + 128 + 1 + 32 + 1 + 1 + 1)

// All-zero is valid: newline, escape, no header.
struct weir_framing_options {
    enum weir_framing framing;
    enum weir_delimiter_policy delimiter;
    enum weir_header header;
    // From here on looked at only with WEIR_HEADER_RFC5424. Terminated, printable ASCII 33..126;
    // empty means the nil value '-'.
    uint8_t facility; // 0..23
    uint8_t severity; // 0..7: for messages that bring none of their own
    char hostname[WEIR_SYSLOG_HOSTNAME_BYTES_MAX];
    char app[WEIR_SYSLOG_APP_BYTES_MAX];
    char procid[WEIR_SYSLOG_PROCID_BYTES_MAX];
    char msgid[WEIR_SYSLOG_MSGID_BYTES_MAX];
};

// Embeddable; private below.
struct weir_framer {
    enum weir_framing framing;
    enum weir_delimiter_policy delimiter;
    enum weir_header header;
    bool counted;         // LEN stands before the header
    uint8_t lead_bytes;   // before LEN: RELP's number and command
    uint8_t suffix_bytes; // the newline at the end
    uint16_t tail_bytes;
    uint16_t header_bytes_max; // over all severities; 0 without a header
    // By severity, the default last; padded to eight, so that copying one is one move.
    uint8_t pri_bytes[WEIR_SEVERITY_DEFAULT + 1];
    char pri[WEIR_SEVERITY_DEFAULT + 1][WEIR_SYSLOG_PRI_BYTES_MAX + 1];
    char tail[WEIR_SYSLOG_TAIL_BYTES_MAX];
};

// Checks the options and renders what is constant.
//   memory   the options may go after return; `framer` is written only on success; `why` (may be
//            NULL when why_bytes is 0) receives a terminated sentence on failure, "" on success.
//   returns  0; WEIR_EOPTION: a value out of range, a field unterminated or not printable.
//   threads  any.
WEIR_COLD WEIR_MUST_USE int weir_framer_init(struct weir_framer *framer,
                                             const struct weir_framing_options *options, char *why,
                                             size_t why_bytes);

// Computes how many bytes the frame of a message will take, exactly. Looks at the message's bytes
// only under newline framing with ESCAPE or REFUSE.
//   memory   a part with bytes_count 0 may have bytes NULL; count 0 is an empty message.
//   units    severity 0..7 or WEIR_SEVERITY_DEFAULT; the write takes the same one, because the
//            length of PRI depends on it. frame_bytes is at most UINT32_MAX, and 0 for an empty
//            raw message without header.
//   returns  0; WEIR_ETOOBIG: the frame would exceed UINT32_MAX bytes, or RELP's LEN nine digits;
//            WEIR_EDELIMITER: a newline inside and the policy is REFUSE; -EINVAL: an empty message
//            without header under octet counting (RFC 6587 has no count of zero) or RELP.
//            frame_bytes is written only on 0.
//   threads  any.
WEIR_MUST_USE int weir_framer_measure(const struct weir_framer *framer, uint8_t severity,
                                      const struct weir_iovec *parts, size_t count,
                                      size_t *frame_bytes);

// Writes the frame of a message that was measured.
//   memory   `to` has frame_bytes bytes, and never more are written; the parts are unchanged since
//            they were measured (else an assertion stops the program).
//   units    wall_ns: nanoseconds since 1970-01-01T00:00:00Z.
//   returns  frame_bytes.
//   threads  any.
size_t weir_framer_write(const struct weir_framer *framer, uint64_t wall_ns, uint8_t severity,
                         void *to, const struct weir_iovec *parts, size_t count,
                         size_t frame_bytes);

// For a host that formats in place:
//   room = [ prefix_bytes_max | payload_bytes_max | suffix_bytes ], payload at prefix_bytes_max.
// The most that can stand before a payload of up to payload_bytes_max bytes, and what follows it.
size_t weir_framer_prefix_bytes_max(const struct weir_framer *framer,
                                              size_t payload_bytes_max);
size_t weir_framer_suffix_bytes(const struct weir_framer *framer);

// Puts the frame around a payload that lies in the room: the prefix directly before it, so that the
// frame may begin later than the room, and the suffix directly after it.
//   memory   the room is the caller's, laid out as above with this same payload_bytes_max.
//   units    frame_offset counts from the start of the room.
//   returns  0; WEIR_EDELIMITER: a newline inside and the policy is REFUSE, or it is ESCAPE and the
//            escaped payload exceeds payload_bytes_max; WEIR_ETOOBIG: the room exceeds UINT32_MAX
//            bytes, or LEN as for measure; -EINVAL: as for measure. On an error neither the room
//            nor the results changed.
//   threads  any.
WEIR_MUST_USE int weir_framer_finish(const struct weir_framer *framer, uint64_t wall_ns,
                                     uint8_t severity, uint8_t *room, size_t payload_bytes,
                                     size_t payload_bytes_max, uint32_t *frame_offset,
                                     uint32_t *frame_bytes);

// Writes an RFC 3339 UTC timestamp, WEIR_TIMESTAMP_BYTES characters, no terminator.
//   units    seconds since 1970-01-01T00:00:00Z, at most 253402300799 (the end of the year 9999);
//            microseconds below 1000000.
//   threads  any.
void weir_timestamp_write(uint64_t seconds, uint32_t microseconds, char *to);

#endif
