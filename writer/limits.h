// Every bound and every default of the writer, each with its reason.
#ifndef WEIR_WRITER_LIMITS_H
#define WEIR_WRITER_LIMITS_H

// ---- Pools ----

// Writers of one pool. Each has a connection and a buffer of its own; what one collector takes is
// reached with a few, and more than this is a mistake.
#define WEIR_POOL_WRITERS_MAX 64
// Endpoints in one list. Each costs one connect timeout before the next is tried.
#define WEIR_ENDPOINTS_MAX 8
// Messages without an answer, at most: each has a byte of memory. More than a round trip's worth.
#define WEIR_WINDOW_MESSAGES_MAX 4096

// ---- Memory ----

// Unsent bytes that a writer takes from its row at a time: enough for several sends, little enough
// that drop-oldest finds something it may drop. In small buffers a quarter of what they hold.
#define WEIR_TAKE_BYTES_MAX (512u * 1024)
// Segments in a writer's share of the buffer: one to be filled while one is being sent.
#define WEIR_SEGMENTS_MIN 2
// A page. Less would be taken up by the words of the row alone.
#define WEIR_BUFFER_BYTES_MIN 4096ULL
// A terabyte: more is a slip of the finger. All arithmetic on it stays far below 64 bits.
#define WEIR_BUFFER_BYTES_MAX (1ULL << 40)
// What a segment's word can count: WEIR_ROW_MESSAGE_BYTES_MAX and WEIR_ROW_FLUSH_BYTES_MAX.
#define WEIR_MESSAGE_BYTES_MAX ((1u << 28) - 1)
#define WEIR_FLUSH_LIMIT_BYTES_MAX ((1u << 28) - 1)
// IPv4's 16-bit length, less 20 bytes of IP header and 8 of UDP header.
#define WEIR_UDP_MESSAGE_BYTES_MAX 65507
// "weir: N messages, M bytes dropped between T1 and T2" with the longest numbers takes 139 bytes.
#define WEIR_GAP_RECORD_BYTES_MAX 160

// A segment has index for one message per so many bytes of its payload. An index entry is 12 bytes,
// so the index is an eighth of the payload; and as the payload includes room for a largest message
// on top of the flush limit, messages of 100 bytes always reach the flush limit first (up to a
// flush limit of 100m, where the row's own WEIR_ROW_MESSAGES_MAX comes first).
#define WEIR_INDEX_PAYLOAD_BYTES 96
// But not more than one message per so many bytes of the flush limit: where the largest message is
// far larger than the flush limit, most of the payload is room for one message only.
#define WEIR_INDEX_FLUSH_BYTES 16
// And not fewer in any case: so many entries fill the memory line that even one would take.
#define WEIR_INDEX_MESSAGES_MIN 16

#ifdef WEIR_LIMITS_TINY
// An index that small is full before the flush limit is reached, which otherwise takes messages
// shorter than most: the same tests then close most segments by count instead of by size.
#undef WEIR_INDEX_PAYLOAD_BYTES
#undef WEIR_INDEX_MESSAGES_MIN
#define WEIR_INDEX_PAYLOAD_BYTES 1024
#define WEIR_INDEX_MESSAGES_MIN 3
#endif

// ---- Time ----

// A day, for every interval and timeout: longer is a mistake, and in nanoseconds, or as the
// system's TCP_USER_TIMEOUT in milliseconds, it still fits with ease.
#define WEIR_INTERVAL_MS_MAX 86400000

// What is sent again when a collector dies over data that it had not read: seconds of a busy log,
// and at 100 MB/s a new connection every 40 ms. A quarter of the buffer at most, see plan.c.
#define WEIR_EPOCH_BYTES_MAX_DEFAULT "4m"
// How long a message waits for its proof when little is logged; a connection every ten seconds is
// nothing to a collector.
#define WEIR_EPOCH_INTERVAL_MS_DEFAULT "10000"

// ---- Headers ----

// One line a second is what an operator reads.
#define WEIR_REPORT_INTERVAL_NS 1000000000u

// RFC 5424 section 6: the longest fields, with a terminator.
#define WEIR_SYSLOG_HOSTNAME_BYTES_MAX 256
#define WEIR_SYSLOG_APP_BYTES_MAX 49
#define WEIR_SYSLOG_PROCID_BYTES_MAX 129
#define WEIR_SYSLOG_MSGID_BYTES_MAX 33
#define WEIR_FACILITY_MAX 23
#define WEIR_SEVERITY_MAX 7

// ---- Defaults, as an operator would write them ----

// One connection keeps the order of all messages.
#define WEIR_POOL_SIZE_DEFAULT "1"
// At 100 MB/s a sixth of a second without a collector, at a busy proxy's 1 MB/s a quarter minute.
#define WEIR_BUFFER_BYTES_MAX_DEFAULT "16m"
// Larger than any sane log line; collectors cut at 8k to 64k.
#define WEIR_MESSAGE_BYTES_MAX_DEFAULT "64k"
// From here on a larger batch no longer makes the system calls noticeably cheaper per byte.
#define WEIR_FLUSH_LIMIT_BYTES_DEFAULT "64k"
// A reader of live logs does not notice a tenth of a second.
#define WEIR_FLUSH_INTERVAL_MS_DEFAULT "100"
// A collector that restarts is met again soon; one that stays away is asked every ten seconds.
#define WEIR_RETRY_INTERVAL_MS_DEFAULT "100"
#define WEIR_RETRY_INTERVAL_MAX_MS_DEFAULT "10000"
// Two lost SYNs are sent again after 1 and 3 seconds: both get their chance.
#define WEIR_CONNECT_TIMEOUT_MS_DEFAULT "5000"
// A collector may pause to rotate its files; half a minute without a byte is no pause.
#define WEIR_STALL_TIMEOUT_MS_DEFAULT "30000"
// A collector that has just come up may go down again: a minute tells.
#define WEIR_FAILBACK_MS_DEFAULT "60000"
// The first probe after a minute of silence; the connection is over some four minutes after that.
#define WEIR_KEEPALIVE_MS_DEFAULT "60000"
// As long as the stall timeout: a stopped collector is given up as late as one that takes nothing.
#define WEIR_TCP_USER_TIMEOUT_MS_DEFAULT "30000"
// So that what is unacknowledged, and would be sent again, stays small.
#define WEIR_NOTSENT_BYTES_MAX_DEFAULT "128k"
// What librelp's own client has; at 100 bytes a message and a millisecond of round trip 12 MB/s.
#define WEIR_WINDOW_MESSAGES_DEFAULT "128"
#define WEIR_WINDOW_BYTES_DEFAULT "1m"
// A collector that is stopped for ten seconds should not be sent everything twice.
#define WEIR_ANSWER_TIMEOUT_MS_DEFAULT "30000"
// Off: more duplicates than most would expect.
#define WEIR_REPLAY_BYTES_DEFAULT "0"

#endif
