// A writer: one connection, the row of segments in front of it, and the task that drives both.
//
// The task is a future whose poll looks for the next event, asks the machine (machine.h) what it
// means, and performs the action, until nothing is left to do; then it says when it wants to look
// again and goes pending. Logging threads append to the row and, rarely, wake it.
//
// Rhythm. While traffic flows the task comes by itself on a short tick and no logging thread makes
// a system call. Ticks get longer while they find nothing, and end in deep idle (`asleep`): then
// the next message wakes it. Under pressure (few free segments) the thread that opens a segment
// wakes it, once.
#ifndef WEIR_WRITER_WRITER_H
#define WEIR_WRITER_WRITER_H

#include <stdatomic.h>

#include "runtime/cold.h"
#include "runtime/os.h"
#include "writer/backoff.h"
#include "writer/ledger.h"
#include "writer/machine.h"
#include "writer/options.h"
#include "writer/relp.h"
#include "writer/probe.h"
#include "writer/report.h"
#include "writer/route.h"
#include "writer/transit.h"

// What was lost and is not told in-band yet, and what the record tells that is under way; see
// plan->gap_records and append.h.
struct weir_gap {
    _Atomic uint64_t messages, bytes;
    _Atomic uint64_t first_ns, last_ns; // wall clock; 0: none
    // Written by the task before the record's commit, and read by who throws its segment away.
    _Atomic uint64_t told_sequence; // of the record's segment; 0: none is under way
    _Atomic uint64_t told_messages, told_bytes, told_first_ns;
    _Atomic uint64_t record_bytes;
};

// What the task looks at the clock for; each has a deadline or WEIR_NEVER.
enum weir_alarm {
    WEIR_ALARM_TICK,    // look at the row and the ledger
    WEIR_ALARM_RETRY,   // the backoff is over
    WEIR_ALARM_DIAL,    // the attempt takes too long
    WEIR_ALARM_STALL,   // the peer takes nothing
    WEIR_ALARM_EPOCH,   // the epoch is old
    WEIR_ALARM_LINGER,  // the peer's end of stream was read, and no reset has followed
    WEIR_ALARM_STARVED, // the kernel had no memory for a send: try again
    WEIR_ALARM_ANSWER,  // the server owes an answer
    WEIR_ALARM_PROBE,   // the probe wants to be looked at
    WEIR_ALARM_REPORT,  // the host is to be told something
    WEIR_ALARMS_COUNT
};

enum weir_session_state {
    WEIR_SESSION_NONE,    // the protocol has no sessions
    WEIR_SESSION_OPENING, // waits for the answer to `open`
    WEIR_SESSION_OPEN,
    WEIR_SESSION_CLOSING, // `close` is sent; answers still come
    WEIR_SESSION_OVER     // closed, refused or violated: what comes is not read any more
};

// See session.h.
struct weir_session {
    enum weir_session_state state;
    uint32_t close_number;
    uint32_t frame_bytes, frame_sent; // of the session's own frame
    char frame[WEIR_RELP_FRAME_BYTES_MAX];
    const char *reason; // why it ended, where the server is to blame; constant; or NULL
    uint64_t received_bytes;
    struct weir_relp_parser parser;
    struct weir_relp_window window;
};

struct weir_writer {
    // Fixed at open.
    const struct weir_pool_plan *plan;
    const struct weir_os *os;
    struct weir_runtime *runtime;
    struct weir_row *row;
    struct weir_waker waker;
    _Atomic uint32_t *progress; // the pool's: grows whenever room is made or the end comes
    _Atomic uint32_t *waiters;  // how many threads sleep on it
    // Here, as every message looks at it and the row; it is written at the end of a silence.
    _Atomic uint32_t asleep; // 1: the next message wakes the task

    // Written by both sides, rarely.
    _Alignas(128) _Atomic uint32_t pressed; // 1: the task was woken because segments run short
    _Atomic uint32_t closing;
    _Atomic uint64_t close_deadline_ns; // set before `closing`
    _Atomic uint64_t flush_target; // somebody waits for all segments before this sequence number
    _Atomic uint64_t settled; // every segment before this sequence number is confirmed, or dropped
                              // and counted
    _Atomic uint32_t state;   // enum weir_state, for show
    struct weir_gap gap;
    _Atomic uint32_t ended; // 1: the task is over, `verdict` valid and all this the pool's alone
    int32_t verdict;        // what weir_pool_close returns for this writer

    // The task's own.
    _Alignas(128) enum weir_state machine;
    bool row_over;       // the row is shut, everything was taken or thrown away, and is counted
    bool blocked;        // the socket took no more; wait for writability
    bool peer_ended;     // the peer's end of stream was read
    bool proven;         // the end-of-stream proof of this connection succeeded
    bool unproven;       // something was confirmed by acknowledgement alone
    bool replay;         // the next connection begins with a replay
    bool epochs_refused; // the peer does not end its side when we end ours
    int broken;          // 0, or the enum weir_fault that ended the connection, plus one
    uint64_t now_ns;
    uint64_t alarms[WEIR_ALARMS_COUNT];
    uint64_t tick_ns;        // present length of a tick
    uint32_t send_bytes_max; // of one send; see weir_link_adapt
    uint64_t epoch_bytes;    // of one epoch; see weir_epoch_adapt
    uint64_t begun;          // transit.confirmed when the connection began
    uint64_t open_sequence;  // the open segment seen at the last tick ...
    uint64_t open_since_ns;  // ... and since when
    uint64_t active_ns;      // when something was last found in the row
    uint64_t taken_ns;       // when segments were last taken
    uint64_t sampled_ns;     // when the peer's confirmations were last asked for
    uint32_t address;        // index into resolve.addresses
    uint32_t addresses_count;
    struct weir_backoff backoff;
    struct weir_route route;
    struct weir_address firsts[WEIR_ENDPOINTS_MAX]; // of each endpoint: what is dialled first
    struct weir_probe probe;
    struct weir_ledger ledger;
    struct weir_transit transit;
    struct weir_session session;
    struct weir_stream stream;
    struct weir_resolve resolve;
    struct weir_connect connect;
    struct weir_stream_ready readable, writable;
    struct weir_sleep alarm;
    struct weir_report report;

    struct weir_counters counters;
};

// The task's root future: all state is in the writer, which outlives it.
struct weir_writer_task {
    struct weir_future future;
    struct weir_writer *writer;
};
WEIR_COLD void weir_writer_task_init(struct weir_writer_task *task, struct weir_writer *writer);

// Writer `number` of the pool: where it begins in the list of endpoints.
// memory   plan, row, ring, progress and waiters outlive the writer, which is in use until `ended`.
WEIR_COLD void weir_writer_init(struct weir_writer *writer, uint32_t number,
                                struct weir_runtime *runtime, const struct weir_pool_plan *plan,
                                struct weir_row *row, struct weir_transit_segment *ring,
                                _Atomic uint32_t *progress, _Atomic uint32_t *waiters);

// Wakes the task if it is in deep idle.                      threads  any.
void weir_writer_rouse(struct weir_writer *writer);
// The same, after a commit.                                  threads  any.
static inline void weir_writer_nudge(struct weir_writer *writer)
{
    if (atomic_load_explicit(&writer->asleep, memory_order_relaxed) != 0) { // [R3]
        weir_writer_rouse(writer);
    }
}
// Wakes the task because segments run short.                 threads  any.
void weir_writer_press(struct weir_writer *writer);
// Wakes it in any case.                                      threads  any.
void weir_writer_wake(struct weir_writer *writer);
// Asks it to have all segments before this sequence number confirmed soon.   threads  any.
void weir_writer_want_flush(struct weir_writer *writer, uint64_t sequence);
// Asks it to end by the deadline.                            threads  any; once.
WEIR_COLD void weir_writer_close(struct weir_writer *writer, uint64_t deadline_ns);

#endif
