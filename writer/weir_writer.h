// The writer's public interface: a pool of reliable socket writers that a host hands messages to.
//
// A host opens a pool and calls weir_log() from any thread: the message is copied once, into the
// buffer it will be sent from, and the call returns; it does no I/O and never waits (unless the
// host asked for WEIR_FULL_BLOCK). Behind it the pool's writers, each with a connection of its own,
// batch, send, reconnect and send again from the first message that is not confirmed.
//
// The books, per pool, exact at any moment, in messages and (below the first line) in bytes:
//   offered  = accepted + rejected[every reason]
//   accepted = confirmed + held + dropped[every reason]
#ifndef WEIR_WRITER_H
#define WEIR_WRITER_H

#include "weir.h"

#ifdef __cplusplus
extern "C" {
#endif

// ---- Options ----

// What makes a message count as delivered, so that its memory may be used again.
enum weir_confirm {
    WEIR_CONFIRM_AUTO, // ack over RELP, peer on other streams, sent on datagrams
    WEIR_CONFIRM_SENT, // the local kernel took it; what is in flight at a break is lost
    WEIR_CONFIRM_PEER, // the peer process read it; TCP without epochs: its kernel acknowledged it
    WEIR_CONFIRM_ACK   // the collector answered for it: RELP, and nothing else
};

// What happens to a message for which the collector answers anything but 200.
enum weir_refused {
    WEIR_REFUSED_RETRY, // the connection is given up, and it is sent again over another one
    WEIR_REFUSED_DROP   // it is dropped and counted as dropped[WEIR_DROPPED_REFUSED]
};

// What happens to a message when the buffer is full.
enum weir_full {
    WEIR_FULL_DROP_NEWEST, // weir_log says WEIR_EFULL and the message is not taken
    WEIR_FULL_DROP_OLDEST, // the oldest segment of which nothing was sent yet makes room
    WEIR_FULL_BLOCK        // weir_log waits; needs a runtime with workers
};

enum weir_framing {
    WEIR_FRAMING_NEWLINE, // over RELP and as datagrams: nothing was chosen
    WEIR_FRAMING_OCTET_COUNTING,
    WEIR_FRAMING_RAW,
    WEIR_FRAMING_RELP // what relp:// endpoints have, and no others
};

// What happens to a newline inside a message under newline framing; elsewhere it has no meaning.
// Every newline counts, also one that ends the message; the header is never looked at.
enum weir_delimiter_policy {
    WEIR_DELIMITER_ESCAPE, // becomes the two characters \ and n; a \n already there stays, so the
                           // receiver cannot tell the two apart
    WEIR_DELIMITER_REFUSE, // the message is refused with WEIR_EDELIMITER
    WEIR_DELIMITER_PASS    // sent as it is: the receiver sees several messages
};

enum weir_header { WEIR_HEADER_NONE, WEIR_HEADER_RFC5424 };

// As a message's severity: the pool's.
#define WEIR_SEVERITY_DEFAULT 8

// Every value is checked at open; zero is not a default. Start from weir_pool_options_init.
struct weir_pool_options {
    // tcp://host:port relp://host:port unix:/path unix-dgram:/path udp://host:port. Between two
    // that serve equally well stands '|': the pool's writers are spread over them. Before one that
    // is to be used only while none of those to its left can be reached stands a comma.
    const char *endpoint;
    uint32_t pool_size;             // writers, each with a connection
    uint64_t buffer_bytes_max;      // memory for messages, all writers together
    uint32_t message_bytes_max;     // largest message, framing included
    uint32_t flush_limit_bytes;     // a segment this full is sent
    uint32_t flush_interval_ms;     // and one that is not, after this long
    uint32_t retry_interval_ms;     // wait before the second dial, doubling ...
    uint32_t retry_interval_max_ms; // ... up to this
    uint32_t connect_timeout_ms;
    uint32_t stall_timeout_ms; // nothing could be sent for so long: the connection is given up
    uint32_t failback_ms;      // a preferred endpoint was up for so long: back to it; 0: never
    // TCP alone; 0 leaves the system's own rule.
    uint32_t keepalive_ms;        // idle for so long: the peer is asked for a sign of life
    uint32_t tcp_user_timeout_ms; // unacknowledged for so long: the connection is given up
    uint32_t notsent_bytes_max;   // unsent in the kernel, at most about so much
    // RELP: messages and bytes sent without an answer, at most; one message may exceed it.
    uint32_t window_messages;
    uint32_t window_bytes;
    uint32_t answer_timeout_ms; // no answer for so long: the connection is given up
    // After a connection that was reset, so much of what had been confirmed is sent once more: the
    // peer had read it, but perhaps not stored it. Trades loss for duplicates. 0: nothing.
    uint64_t replay_bytes;
    // TCP with confirm = peer: after so many bytes, or so long, the connection is ended, the peer
    // proves by its end of stream that it read everything, and a new connection goes on.
    uint64_t epoch_bytes_max; // 0: never; what the peer's kernel acknowledged is then confirmed
    uint32_t epoch_interval_ms;
    enum weir_confirm confirm;
    enum weir_refused refused;
    enum weir_full full;
    enum weir_framing framing;
    enum weir_delimiter_policy delimiter;
    enum weir_header header;
    // After a loss, once connected, send "weir: N messages, M bytes dropped between T1 and T2". All
    // that were delivered, together, tell of every message that a full buffer cost, but for those
    // between the last of them and weir_pool_close. Bytes are as handed over for messages that were
    // not taken, and as framed for those dropped later.
    bool gap_records;
    // Looked at only with WEIR_HEADER_RFC5424; empty strings are sent as '-'.
    uint8_t facility;
    uint8_t severity;
    const char *hostname;
    const char *app;
    const char *procid;
    const char *msgid;
    // Is told in one line, without a newline, when losses or errors begin and end; at most about
    // one line a second from each writer. NULL: nobody. Called by a thread that drives the runtime;
    // must not block, nor log to this pool. Cannot be set from text.
    void (*log)(void *log_context, const char *line);
    void *log_context;
};

WEIR_API void weir_pool_options_init(struct weir_pool_options *options);

// Sets one option from text: "flush_limit_bytes" "32k", "full" "drop-oldest". Sizes take k, m, g
// (powers of 1024).
//   memory   string options keep a pointer to `value`.
//   returns  0; WEIR_EOPTION: unknown name or bad value, `why` says which and what would be right.
WEIR_API WEIR_MUST_USE int weir_pool_options_set(struct weir_pool_options *options,
                                                 const char *name, const char *value, char *why,
                                                 size_t why_bytes);

// ---- Pools ----

struct weir_pool;

// Checks the options, allocates everything the pool will ever use, and starts the writers, which
// connect at once.
//   memory   *pool is the library's until weir_pool_destroy, which must come before the runtime's
//            end. The options are copied.
//   returns  0; WEIR_EOPTION: `why` names the option and the reason; WEIR_EMEMORY; what
//            weir_runtime_spawn returns; -errno from the system.
//   threads  any but a worker.
WEIR_API WEIR_MUST_USE int weir_pool_open(struct weir_pool **pool, struct weir_runtime *runtime,
                                          const struct weir_pool_options *options, char *why,
                                          size_t why_bytes);

// Sends what is buffered and waits until everything accepted before the call is confirmed, or was
// dropped.
//   returns  0; WEIR_ETIMEOUT; WEIR_ECLOSED; WEIR_EFORKED.
//   threads  any but a worker; with zero workers, the thread that drives the runtime.
WEIR_API int weir_pool_flush(struct weir_pool *pool, uint64_t timeout_ms);

// Takes no more messages, delivers those it has, and proves it: end of stream, then nothing
// outstanding, then no error. What is not confirmed when the time is over is dropped and counted.
//   returns  0: everything accepted is confirmed or was dropped earlier, and proven as far as
//            `confirm` can; WEIR_EUNPROVEN: confirmed, but something by a TCP peer's kernel alone;
//            WEIR_ETIMEOUT: messages were dropped (dropped[WEIR_DROPPED_DEADLINE]), or a thread was
//            still in the middle of logging; WEIR_ECLOSED: closed before; WEIR_EFORKED.
//   threads  as flush; once. The pool still answers for its metrics, and rejects messages.
WEIR_API int weir_pool_close(struct weir_pool *pool, uint64_t timeout_ms);

// Frees the pool; closes it with no time if it was not closed. NULL is allowed.
//   threads  any but a worker, when nobody uses the pool any more.
WEIR_API void weir_pool_destroy(struct weir_pool *pool);

// ---- Logging ----

// Takes a message. Never waits (but see WEIR_FULL_BLOCK), does no I/O, makes no system call while
// traffic flows.
//   memory   the bytes are copied before the call returns.
//   returns  0; WEIR_EFULL; WEIR_ETOOBIG; WEIR_EDELIMITER; WEIR_ECLOSED; WEIR_EFORKED; -EINVAL an
//            empty message under octet counting or as a datagram: not taken, counted by reason,
//            nothing else disturbed.
//   threads  any. What one thread logs arrives in that order.
WEIR_API int weir_log(struct weir_pool *pool, const void *bytes, size_t bytes_count);

// How weir_logv treats this message.
struct weir_log_options {
    uint64_t key;     // messages of one key go to one writer, in order; 0: the thread is the key
    uint8_t severity; // 0..7, or WEIR_SEVERITY_DEFAULT
};
// The same for a message in parts. `options` NULL: as weir_log.
WEIR_API int weir_logv(struct weir_pool *pool, const struct weir_log_options *options,
                       const struct weir_iovec *parts, size_t parts_count);

// A place for a message that the host formats where it will be sent from.
struct weir_slot {
    unsigned char *bytes; // the host's to write
    size_t bytes_max;
    uint64_t private_[12];
};
// Reserves room for a message of up to bytes_max bytes. Every success must be followed, soon, by
// one weir_commit or weir_abandon: the messages behind it wait.
//   returns  as weir_log.
WEIR_API WEIR_MUST_USE int weir_reserve(struct weir_pool *pool,
                                        const struct weir_log_options *options, size_t bytes_max,
                                        struct weir_slot *slot);
// Sends the first bytes_count bytes.
//   returns  0; WEIR_EDELIMITER: refused, or does not fit once escaped; -EINVAL: empty, where
//            weir_log refuses that; on an error it counts as abandoned.
WEIR_API int weir_commit(struct weir_pool *pool, struct weir_slot *slot, size_t bytes_count);
// Sends nothing; counted as held until the writer comes by, then as
// dropped[WEIR_DROPPED_ABANDONED].
WEIR_API void weir_abandon(struct weir_pool *pool, struct weir_slot *slot);

// ---- Metrics ----

// X(name, label): why messages were not taken.
#define WEIR_REJECTIONS(X)                                                                         \
    X(WEIR_REJECTED_FULL, "full")                                                                  \
    X(WEIR_REJECTED_TOO_BIG, "too_big")                                                            \
    X(WEIR_REJECTED_DELIMITER, "delimiter")                                                        \
    X(WEIR_REJECTED_EMPTY, "empty") /* has no frame under octet counting, no datagram */           \
    X(WEIR_REJECTED_CLOSED, "closed")                                                              \
    X(WEIR_REJECTED_FORKED, "forked")

// X(name, label): why messages that were taken are not delivered.
#define WEIR_DROPS(X)                                                                              \
    X(WEIR_DROPPED_OLDEST, "oldest")         /* made room for newer ones */                        \
    X(WEIR_DROPPED_ABANDONED, "abandoned")   /* weir_abandon, or weir_commit failed */             \
    X(WEIR_DROPPED_DEADLINE, "deadline")     /* still unconfirmed when close's time was over */    \
    X(WEIR_DROPPED_UNSENDABLE, "unsendable") /* too large for a datagram */                        \
    X(WEIR_DROPPED_REFUSED, "refused")       /* the collector answered, and not with 200 */

// X(name, label): what went wrong with connections.
#define WEIR_FAULTS(X)                                                                             \
    X(WEIR_FAULT_RESOLVE, "resolve")                                                               \
    X(WEIR_FAULT_CONNECT, "connect")                                                               \
    X(WEIR_FAULT_CONNECT_TIMEOUT, "connect_timeout")                                               \
    X(WEIR_FAULT_WRITE, "write")                                                                   \
    X(WEIR_FAULT_READ, "read")                                                                     \
    X(WEIR_FAULT_RESET, "reset")                                                                   \
    X(WEIR_FAULT_PEER_CLOSED, "peer_closed")                                                       \
    X(WEIR_FAULT_STALL, "stall")                                                                   \
    X(WEIR_FAULT_TIMEOUT, "timeout") /* keepalive or TCP_USER_TIMEOUT: its kernel is mute */       \
    X(WEIR_FAULT_ANSWER_TIMEOUT, "answer_timeout")                                                 \
    X(WEIR_FAULT_REFUSED, "refused")   /* an answer other than 200 */                              \
    X(WEIR_FAULT_PROTOCOL, "protocol") /* what the peer sent is not RELP */                        \
    X(WEIR_FAULT_RESOURCE, "resource") /* descriptors, memory: ours, not the peer's */

#define WEIR_NAME_ENUM(name, label) name,
enum weir_rejection { WEIR_REJECTIONS(WEIR_NAME_ENUM) WEIR_REJECTIONS_COUNT };
enum weir_dropping { WEIR_DROPS(WEIR_NAME_ENUM) WEIR_DROPS_COUNT };
enum weir_fault { WEIR_FAULTS(WEIR_NAME_ENUM) WEIR_FAULTS_COUNT };
#undef WEIR_NAME_ENUM

// Bucket i counts values below 2^i microseconds (and at least half that); the last one all others.
#define WEIR_HISTOGRAM_BUCKETS 32
struct weir_histogram {
    uint64_t buckets[WEIR_HISTOGRAM_BUCKETS];
    uint64_t count;
    uint64_t sum_ns;
};

// X(name, member, label): time limits, from the options of those names.
#define WEIR_TIME_LIMITS(X)                                                                        \
    X(WEIR_TIME_LIMIT_CONNECT, connect_timeout_ms, "connect")                                      \
    X(WEIR_TIME_LIMIT_STALL, stall_timeout_ms, "stall")                                            \
    X(WEIR_TIME_LIMIT_RETRY, retry_interval_ms, "retry")                                           \
    X(WEIR_TIME_LIMIT_RETRY_MAX, retry_interval_max_ms, "retry_max")                               \
    X(WEIR_TIME_LIMIT_FAILBACK, failback_ms, "failback")                                           \
    X(WEIR_TIME_LIMIT_KEEPALIVE, keepalive_ms, "keepalive")                                        \
    X(WEIR_TIME_LIMIT_TCP_USER_TIMEOUT, tcp_user_timeout_ms, "tcp_user_timeout")                   \
    X(WEIR_TIME_LIMIT_ANSWER, answer_timeout_ms, "answer")                                         \
    X(WEIR_TIME_LIMIT_FLUSH, flush_interval_ms, "flush")                                           \
    X(WEIR_TIME_LIMIT_EPOCH, epoch_interval_ms, "epoch")

// X(name, member, label): limits of what is under way, as they are in force: epoch and replay are
// at most a quarter of a writer's share of the buffer.
#define WEIR_BYTE_LIMITS(X)                                                                        \
    X(WEIR_BYTE_LIMIT_NOTSENT, notsent_bytes_max, "notsent")                                       \
    X(WEIR_BYTE_LIMIT_WINDOW, window_bytes, "window")                                              \
    X(WEIR_BYTE_LIMIT_EPOCH, epoch_bytes, "epoch")                                                 \
    X(WEIR_BYTE_LIMIT_REPLAY, replay_bytes, "replay")

#define WEIR_NAME_ENUM(name, member, label) name,
enum weir_time_limit { WEIR_TIME_LIMITS(WEIR_NAME_ENUM) WEIR_TIME_LIMITS_COUNT };
enum weir_byte_limit { WEIR_BYTE_LIMITS(WEIR_NAME_ENUM) WEIR_BYTE_LIMITS_COUNT };
#undef WEIR_NAME_ENUM

// A snapshot of a pool, summed over its writers. Counters only grow; gauges are marked.
//
// A message counts as accepted from its reservation on, its bytes from the moment when no
// weir_commit can give any of them back; so both only grow.
struct weir_metrics {
    uint64_t offered_messages;
    uint64_t accepted_messages, accepted_bytes; // bytes as framed
    uint64_t rejected_messages[WEIR_REJECTIONS_COUNT];
    uint64_t confirmed_messages, confirmed_bytes;
    uint64_t held_messages, held_bytes; // gauge: accepted, neither confirmed nor dropped
    uint64_t dropped_messages[WEIR_DROPS_COUNT], dropped_bytes[WEIR_DROPS_COUNT];
    uint64_t resent_messages, resent_bytes; // sent again after a break
    uint64_t sends;                         // system calls that sent something
    uint64_t sent_bytes;                    // resent ones included
    uint64_t wakes;                         // times a logging thread woke a writer
    uint64_t connects;                      // connections made
    uint64_t disconnects;                   // connections lost
    uint64_t epochs;                        // connections ended, proven and replaced
    uint64_t failovers;                     // went over to another endpoint: its own was down
    uint64_t failbacks;                     // returned to an endpoint that it prefers
    uint64_t faults[WEIR_FAULTS_COUNT];
    uint64_t received_bytes;            // what peers sent back; read and ignored
    uint64_t writers;                   // gauge: pool_size
    uint64_t writers_connected;         // gauge
    uint64_t memory_bytes;              // gauge: all memory the pool holds, fixed at open
    // Gauges: the options; 0: none.
    uint64_t limits_ms[WEIR_TIME_LIMITS_COUNT];
    uint64_t limits_bytes[WEIR_BYTE_LIMITS_COUNT];
    struct weir_histogram buffer_await; // from a segment's closing to its being taken
    // From a segment's first message to the confirmation of its last, per segment.
    struct weir_histogram message_processing;
};
// Takes one. It balances at any moment, whatever other threads do meanwhile; of two snapshots that
// one thread takes, no counter is lower in the second. Waits for nobody, makes no system call.
//   threads  any; also after weir_pool_close, and in a forked child.
WEIR_API void weir_pool_stats(struct weir_pool *pool, struct weir_metrics *metrics);

// Whether both equations of the books hold in the snapshot, in messages and in bytes.
WEIR_API bool weir_metrics_balanced(const struct weir_metrics *metrics);

// Writes Prometheus text exposition format (version 0.0.4).
//   memory   `text` is always terminated when text_bytes > 0.
//   returns  the length of the whole text without terminator, as snprintf does.
//   threads  any.
WEIR_API size_t weir_metrics_text(const struct weir_metrics *metrics, char *text,
                                  size_t text_bytes);

#ifdef __cplusplus
}
#endif

#endif
