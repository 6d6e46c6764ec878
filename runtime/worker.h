// Workers: who runs tasks. A worker is a thread, or, in a runtime of zero workers, the host.
#ifndef WEIR_RUNTIME_WORKER_H
#define WEIR_RUNTIME_WORKER_H

#include "runtime/cold.h"
#include "runtime/inject.h"
#include "runtime/park.h"
#include "runtime/timer.h"

// Counters of one worker: written by it alone, read by anyone.
struct weir_worker_stats {
    _Atomic uint64_t polls, spawned, completed, stolen, overflowed, parks, unparks, events,
        timers_fired;
};

struct weir_worker {
    struct weir_runtime *runtime;
    uint32_t index;
    bool shared; // there are other workers, who steal from it
    uint64_t thread;
    // The owner's alone:
    struct weir_context context;
    uint64_t looked_polls; // stats.polls at the last look
    uint32_t look_after;   // so many polls: see worker_look_around
    uint64_t looked_ns;
    uint64_t polled_ns; // when it last began to look at the poller
    uint64_t armed_ns; // what the host's timer is set to
    // When to draw from a mailbox again, after a draw that was small: more may be on their way.
    uint64_t gather_ns;
    bool again;        // the task that is being polled wants to be polled again, at the back
    bool pushed;       // tasks were queued since idle workers were last told
    bool published;    // and the ring's are ordered before what is read next: see idle.c [W1]
    bool searching;    // counted in runtime->searching
    bool pinned_first; // whose turn it is: pinned tasks or the others
    uint64_t random;   // xorshift state for the choice of victims
    struct weir_chain pinned_ready;
    struct weir_slab slab;
    struct weir_timers timers;
    struct weir_worker_stats stats;
    // Shared:
    struct weir_queue queue;
    _Alignas(128) _Atomic(struct weir_task *) lifo; // next task; thieves take it last
    struct weir_mailbox mailbox;
    struct weir_mailbox pinned; // nobody steals from here
    struct weir_parker parker;
};

WEIR_COLD void weir_worker_init(struct weir_worker *worker, struct weir_runtime *runtime,
                                uint32_t index);
WEIR_COLD void weir_worker_deinit(struct weir_worker *worker);

// The thread's body: runs tasks until the runtime stops.
void weir_worker_main(void *worker);

// One turn of a host-driven worker: see weir_turn. Before the first one: weir_worker_turn_init.
WEIR_COLD void weir_worker_turn_init(struct weir_worker *worker);
// It also ends when *until is not 0 any more.
uint32_t weir_worker_turn(struct weir_worker *worker, uint32_t polls_max, uint64_t wait_max_ns,
                          const _Atomic uint32_t *until);

// ---- Queueing and taking (schedule.c) ----

// Queues a task that nobody has queued, from outside: any thread, signal handlers.
void weir_worker_submit_remote(struct weir_task *task);
// The rest is for the worker's own thread. Into the next-task slot, telling nobody ...
void weir_worker_submit_next(struct weir_worker *worker, struct weir_task *task);
// ... or to the back of the ring (a pinned task: of its own worker's mailbox), telling nobody yet.
void weir_worker_submit_back(struct weir_worker *worker, struct weir_task *task);
// Tries the same in few instructions.  returns  false: it does not belong into the ring, or that is
// full.
static inline bool weir_worker_push(struct weir_worker *worker, struct weir_task *task)
{
    if (task->pinned != 0) {
        return false;
    }
    worker->pushed = worker->shared;
    worker->published = false;
    return weir_queue_push_owner(&worker->queue, task);
}
// weir_wake, to the back.
void weir_worker_wake_back(struct weir_worker *worker, struct weir_waker waker);
// Has the task that is being polled polled again, as if it was woken to the back.
static inline void weir_worker_poll_again(struct weir_worker *worker)
{
    worker->again = true;
}
// Before a poll, which may take long: makes what was queued since the last one visible and wakes
// one idle worker for it, if something is left besides the task that is polled now. That worker
// wakes the next when it finds more than it needs.
void weir_worker_share_pushed(struct weir_worker *worker);
static inline void weir_worker_share(struct weir_worker *worker)
{
    if (worker->pushed) {
        weir_worker_share_pushed(worker);
    }
}

// The one in a worker's next-task slot, or NULL.                    threads  any worker's.
// [W3] Who puts a task there releases it to whoever takes it (acquire).
static inline struct weir_task *weir_worker_take_next(struct weir_worker *worker)
{
    struct weir_task *task = atomic_load_explicit(&worker->lifo, memory_order_relaxed);
    if (task == NULL) {
        return NULL;
    }
    if (worker->shared) {
        return atomic_exchange_explicit(&worker->lifo, NULL, memory_order_acq_rel); // [W3]
    }
    atomic_store_explicit(&worker->lifo, NULL, memory_order_relaxed);
    return task;
}
// The oldest one in its ring, or NULL.
static inline struct weir_task *weir_worker_take_back(struct weir_worker *worker)
{
    if (!worker->shared) {
        return weir_queue_pop_alone(&worker->queue);
    }
    struct weir_task *task = weir_queue_pop_owner(&worker->queue);
    if (task != NULL) {
        worker->published = true; // [W1]
    }
    return task;
}
static inline bool weir_worker_pinned_waits(struct weir_worker *worker)
{
    return worker->pinned_ready.count != 0 || weir_mailbox_occupied(&worker->pinned);
}
// A pinned task, one of which waits, or NULL because it is the turn of those in the ring.
struct weir_task *weir_worker_take_pinned(struct weir_worker *worker);
// The first task of a share of a mailbox, or NULL. The rest goes into the worker's ring.
struct weir_task *weir_worker_take_mail(struct weir_worker *worker, struct weir_mailbox *mailbox);
// The next task of its own, or NULL. The next-task slot is empty: a run ends when it is.
static inline struct weir_task *weir_worker_take(struct weir_worker *worker)
{
    struct weir_task *task = NULL;
    if (weir_worker_pinned_waits(worker)) {
        task = weir_worker_take_pinned(worker);
    }
    if (task == NULL) {
        task = weir_worker_take_back(worker);
    }
    return task != NULL ? task : weir_worker_take_mail(worker, &worker->mailbox);
}
// Brings a share of the mailbox into the ring. From a full ring it would only be sent back, perhaps
// for ever: then it gives a task to be polled next, else NULL.
struct weir_task *weir_worker_refill(struct weir_worker *worker);
// Something of another worker's, or NULL.
struct weir_task *weir_worker_steal(struct weir_worker *worker);

static inline uint64_t weir_stat_get(_Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static inline void weir_stat_add(_Atomic uint64_t *counter, uint64_t count)
{
    atomic_store_explicit(counter, weir_stat_get(counter) + count, memory_order_relaxed);
}

#endif
