// The auditor: what must hold of a pool, judged from outside.
//
// It is told every call of the host and its answer, every byte that a collector process read, each
// connection's begin and end, what was handed to the kernel (by sim/wire.c, which stands between
// the writer and struct weir_os), kills, flushes, closings and the pool's metrics. It has a parser
// of its own and shares no code with the writer. What it finds broken has one of these names,
// always the same for the same thing:
//
//   torn-message                a message cut off, other than the last of a broken connection
//   starts-inside-message       a connection that does not begin with a message
//   corrupt-message             bytes that nobody logged, or not like this
//   phantom-message             a message nobody logged, or that was never sent
//   delivered-though-rejected   the host was told it had not been taken
//   delivered-though-abandoned  the host took it back
//   delivered-though-dropped    counted as dropped unsent, and yet it came
//   order-broken                messages of one producer overtook each other
//   skipped-message             an accepted message was passed over
//   duplicate-without-break     sent again though its connection had not ended
//   duplicate-of-confirmed      sent again though it was confirmed before
//   lost                        accepted, not counted as dropped, and nobody read it, beyond what
//                               the promise allows
//   false-confirmation          more messages confirmed than the promise has proof of
//   books-unbalanced            an equation of the books does not hold, or differs from the host's
//   gap-record-wrong            gap records do not add up to what was dropped
//   memory-over-cap             the pool took more than its options allow
//   flush-untruthful, close-untruthful   it answered 0 and something was missing, or the reverse
//   flush-early, close-early    it gave up before its time was over
//   flush-late, close-late      it came back long after
//   alive-after-close           the pool took a message, or sent, after it was closed
//   relp-wrong                  what the pool sent is no RELP, or not in its order
//   sent-before-open            messages before the collector agreed to the session
//   window-exceeded             more without an answer than the options allow
//   talks-to-the-lost           it sent on a connection over which it had read a violation or a
//                               goodbye
//   left-without-reason         it gave up a connection over which nothing had gone wrong
//   violations-miscounted       the fault `protocol` is not how often a peer violated it
//   phantom-answer              a message was answered that no collector had read: the simulator's
//                               own mistake
//   busy-loop                   a writer that looks at the clock and does nothing
#ifndef WEIR_SIM_AUDITOR_H
#define WEIR_SIM_AUDITOR_H

#include "sim/arena.h"
#include "weir_writer.h"

struct sim_auditor;

// What a confirmation promises, from strong to weak.
enum sim_promise {
    SIM_PROMISE_ANSWERED,     // a collector answered for it with 200, and the pool read that
    SIM_PROMISE_READ,         // a collector process read it
    SIM_PROMISE_ACKNOWLEDGED, // its kernel acknowledged it
    SIM_PROMISE_SENT          // the local kernel took it
};

struct sim_auditor_options {
    struct sim_arena *arena; // where its memory comes from; gone with the next run
    // Called with the first thing found broken; may return, and is then called for further ones.
    void (*fail)(void *context, const char *name, const char *message);
    void *context;
    enum sim_promise promise;
    enum weir_framing framing;
    enum weir_header header;
    enum weir_full full;
    enum weir_refused refused; // RELP, as the following
    uint32_t window_messages, window_bytes;
    bool datagrams; // each read is a record, and any may be lost or overtaken on the way
    bool wired;     // sim/wire.c tells what was handed to the kernel
    bool gap_records;
    uint32_t writers_count;
    uint32_t producers_count;
    uint32_t messages_max; // of one producer
    uint32_t record_bytes_max;
    uint64_t slack_ns; // how long after its deadline a flush or close may return
};

// returns  NULL: no memory.
struct sim_auditor *sim_auditor_create(const struct sim_auditor_options *options);
// From now on only this much is promised, for the whole run: a peer did what the documentation
// names as the hole in its proof. A stronger promise than the present one changes nothing.
void sim_auditor_weaken(struct sim_auditor *auditor, enum sim_promise promise);

// A TCP peer ends its own side over unread data, and closes soon after. The promise holds in spite
// of that, except where the writer, too, had ended its side when it read the peer's end.
void sim_auditor_parting(struct sim_auditor *auditor);
void sim_auditor_met(struct sim_auditor *auditor);

// ---- What the host does ----
//
// offer, then the call, then its answer. Formatting in place: offer, reserve, hold (or answer with
// its error), then before the commit offer, and answer after it; or abandon instead. A producer's
// sequences count from 0 without gaps, in the order of the calls.

void sim_auditor_offer(struct sim_auditor *auditor, uint32_t producer, uint32_t sequence,
                       uint32_t bytes);
void sim_auditor_hold(struct sim_auditor *auditor, uint32_t producer, uint32_t sequence);
void sim_auditor_answer(struct sim_auditor *auditor, uint32_t producer, uint32_t sequence,
                        int error);
void sim_auditor_abandon(struct sim_auditor *auditor, uint32_t producer, uint32_t sequence);
// A call with something that is no message (empty, or far too large), and its answer.
void sim_auditor_nonsense(struct sim_auditor *auditor, uint32_t bytes, int error);

// ---- What went over the wire ----

enum sim_side {
    SIM_SIDE_SENT, // what the kernel of the pool's process took
    SIM_SIDE_READ  // what a collector process read
};
enum sim_end {
    SIM_END_ORDERLY, // sent: shut or closed by the pool; read: end of stream
    SIM_END_BROKEN   // anything else: then the last frame may be incomplete
};

// A connection, or a collector's datagram socket.
//   returns  its number until its end.
uint32_t sim_auditor_begin(struct sim_auditor *auditor, enum sim_side side);
void sim_auditor_bytes(struct sim_auditor *auditor, uint32_t connection, const void *bytes,
                       size_t bytes_count);
// Sent side: so many bytes of the connection were acknowledged, as the kernel told.
void sim_auditor_acknowledged(struct sim_auditor *auditor, uint32_t connection, uint64_t bytes);
// Sent side, RELP: what the pool read of the peer's answers. `over`: it had reason to leave before,
// so that a violation need not be what it counts.
void sim_auditor_received(struct sim_auditor *auditor, uint32_t connection, const void *bytes,
                          size_t bytes_count, bool over);
// Sent side, RELP: the number of the oldest frame that waits for an answer, or is begun; 0: none.
uint32_t sim_auditor_waiting(const struct sim_auditor *auditor, uint32_t connection);
// Sent side, RELP: whether the peer gave a reason to leave: a violation, a refusal, a goodbye.
bool sim_auditor_excused(const struct sim_auditor *auditor, uint32_t connection);
// Sent side: no more will be sent. Must be at the end of a message.
void sim_auditor_shut(struct sim_auditor *auditor, uint32_t connection);
void sim_auditor_end(struct sim_auditor *auditor, uint32_t connection, enum sim_end how);
// Sent side: whether the stream stands in the middle of a frame.
bool sim_auditor_inside(const struct sim_auditor *auditor, uint32_t connection);
// Something that can cost what is in flight: a collector's death, a close over unread data, a
// reset.
void sim_auditor_break(struct sim_auditor *auditor);

// ---- What the pool says ----

// At any moment, from any thread: the books balance, and no more is confirmed than the promise has
// proof of.
void sim_auditor_sample(struct sim_auditor *auditor, const struct weir_metrics *metrics);
// At a connection's begin, by the writer's own thread: what is confirmed may not come again.
void sim_auditor_confirmed(struct sim_auditor *auditor, uint32_t connection, uint64_t messages);

// A flush or close: filled by begin and by the caller, judged at its end.
struct sim_auditor_wait {
    uint32_t accepted; // messages that were accepted before it began
    bool steady;       // meanwhile the clock did not leap ahead of threads that could run
    uint64_t begin_ns, timeout_ns, end_ns;
    int result;
};
void sim_auditor_flush_begin(const struct sim_auditor *auditor, struct sim_auditor_wait *wait);
void sim_auditor_flush_end(struct sim_auditor *auditor, const struct sim_auditor_wait *wait,
                           const struct weir_metrics *metrics);
void sim_auditor_close_begin(struct sim_auditor *auditor, struct sim_auditor_wait *wait);
void sim_auditor_close_end(struct sim_auditor *auditor, const struct sim_auditor_wait *wait,
                           const struct weir_metrics *metrics);
// Whether close has begun: a connection may be given up. Whether it has returned: the pool may do
// nothing more.
bool sim_auditor_closing(const struct sim_auditor *auditor);
bool sim_auditor_closed(const struct sim_auditor *auditor);

// While no call is under way. NULL, or what is wrong: the writer may be between two halves of a
// step, so ask again, and fail when it stays.
const char *sim_auditor_books(const struct sim_auditor *auditor,
                              const struct weir_metrics *metrics);
// At rest, after a connection: gap records add up.
void sim_auditor_gaps(struct sim_auditor *auditor, const struct weir_metrics *metrics);
// The pool's own figure against what its options allow, and what was allocated against that figure.
void sim_auditor_memory(struct sim_auditor *auditor, uint64_t cap_bytes, uint64_t allocated_bytes,
                        uint64_t beside_bytes_max, const struct weir_metrics *metrics);
// At the very end: closed, and the collectors have read what there was.
void sim_auditor_finish(struct sim_auditor *auditor, const struct weir_metrics *metrics);

// Reports a failure of the scenario's own under one of the names above.
void sim_auditor_fail(struct sim_auditor *auditor, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// ---- Counts ----

struct sim_auditor_counts {
    uint64_t offered, accepted, abandoned, rejected; // as the host was answered
    uint64_t handed, read, repeated;                 // messages: to a kernel, by a process, again
    uint64_t gaps;                                   // gap records read
    uint64_t breaks, cuts;                           // breaks told; sends that ended inside a frame
    uint64_t violations;                             // connections over which one was read
    uint64_t disordered;                             // answers that overtook another
};
void sim_auditor_count(const struct sim_auditor *auditor, struct sim_auditor_counts *counts);

#endif
