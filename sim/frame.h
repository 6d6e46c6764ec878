// The collectors' own parser of frames, written from the protocols' documents, not from the writer.
//
//   newline          a record ends with LF
//   octet counting   MSG-LEN SP SYSLOG-MSG (RFC 6587 3.4.1); MSG-LEN has no leading zero
//   raw              records follow each other; the message's own head says how long it is
//   RELP             `open`, then `syslog` frames, whose data are the records, then at most one
//                    `close`; numbers are 1, 2, 3 ..., and after 999999999 again 1
#ifndef WEIR_SIM_FRAME_H
#define WEIR_SIM_FRAME_H

#include "sim/relp_frame.h"
#include "weir_writer.h"

// What a frame of RELP is for.
enum sim_frame_use { SIM_FRAME_OPEN, SIM_FRAME_SYSLOG, SIM_FRAME_CLOSE };

// One stream being parsed. The bytes of the frame under way are kept in the caller's memory.
struct sim_frame {
    enum weir_framing framing;
    unsigned char *bytes;
    uint32_t bytes_max;
    uint32_t count;    // bytes kept of the present frame's record
    uint32_t expected; // octet counting and raw: the record's length, 0 while unknown
    uint32_t digits;   // octet counting: of the length, so far
    struct sim_relp_frame relp;
    enum sim_frame_use use; // of the frame that is whole, and of the last one
    uint32_t number;        // the last one's; 0 before the first
    bool opened;            // the first one was `open`
};

enum sim_frame_result {
    SIM_FRAME_MORE,  // all bytes were used, and the record is not complete
    SIM_FRAME_WHOLE, // the record is bytes[0..count); sim_frame_next before feeding on. RELP: of
                     // any frame, see `use` and `number`
    SIM_FRAME_BAD    // not a frame, or longer than bytes_max
};

// `bytes` may be NULL for RELP: then no record is kept.
void sim_frame_init(struct sim_frame *frame, enum weir_framing framing, unsigned char *bytes,
                    uint32_t bytes_max);
// Takes bytes of the stream up to the end of one record. *used: how many.
enum sim_frame_result sim_frame_feed(struct sim_frame *frame, const unsigned char *bytes,
                                     size_t count, size_t *used);
void sim_frame_next(struct sim_frame *frame);
// Whether the stream stands in the middle of a frame; of one that carries a message, as far as the
// bytes so far tell.
bool sim_frame_inside(const struct sim_frame *frame);
bool sim_frame_inside_message(const struct sim_frame *frame);

// Length of the RFC 5424 header at the start of a record, up to the message; 0: there is none.
size_t sim_frame_header(const unsigned char *bytes, size_t count);

// Reads "weir: N messages, M bytes dropped between T1 and T2".
//   returns  false: it is something else.
bool sim_frame_gap(const unsigned char *bytes, size_t count, uint64_t *messages,
                   uint64_t *bytes_dropped);

#endif
