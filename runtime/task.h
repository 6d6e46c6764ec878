// Tasks: the cell a root future lives in, and the one word that says what may be done with it.
//
// Model. A task is a 64-byte header followed by the future's frame, in a type-stable cell: cells
// are recycled but their memory is not returned before the runtime ends, so a stale waker always
// touches a valid word, sees another generation, and does nothing. No reference counts.
//
// The state word is `generation:32 | flags:32`. Every transition is at most one read-modify-write
// and returns what the caller must now do.
//
//   flag        meaning                               set by               cleared by
//   LIVE        the cell holds a task                 spawn                release
//   SCHEDULED   it is in a run queue or being polled: wake, cancel, spawn  idle, complete
//               one thread at a time has the future
//   NOTIFIED    woken while it was SCHEDULED, maybe   wake, cancel         run, complete
//               too late for the poll that is due
//   CANCELLED   to be dropped instead of polled       cancel               release
//   COMPLETE    it has ended; `result` is valid       complete             release
//   JOINABLE    a handle exists; the cell is kept     spawn                detach, join
//   JOIN_WAKER  `joiner` is set and belongs to the    join                 join (to replace it),
//               completing worker                                          joiner_woken
//
// After COMPLETE the cell is released by whoever clears the last of JOINABLE and JOIN_WAKER.
//
//   field       who may touch it, when
//   next        who put the task into a queue, until it is taken out (SCHEDULED guards this)
//   joiner      the handle's owner while JOIN_WAKER is clear; who completes once it is set
//   family      scope links: under the scope's lock (a scoped task is never joinable)
//   scopes      the task's own poll
//   children    1 + live scoped children; whoever takes it to 0 completes the task
//   result      who completes, before COMPLETE; the joiner, after
//   frame       who took the task out of a queue, until idle, complete, or queueing it again
#ifndef WEIR_RUNTIME_TASK_H
#define WEIR_RUNTIME_TASK_H

#include <stdatomic.h>

#include "runtime/assert.h"
#include "runtime/cold.h"
#include "runtime/limits.h"
#include "runtime/os.h"
#include "weir.h"

enum weir_task_flag {
    WEIR_TASK_LIVE = 1,
    WEIR_TASK_SCHEDULED = 2,
    WEIR_TASK_NOTIFIED = 4,
    WEIR_TASK_CANCELLED = 8,
    WEIR_TASK_COMPLETE = 16,
    WEIR_TASK_JOINABLE = 32,
    WEIR_TASK_JOIN_WAKER = 64
};

struct weir_task {
    _Atomic uint64_t state;
    struct weir_task *next;
    union {
        struct weir_waker joiner;
        struct {
            struct weir_task *next, *previous;
        } family;
    };
    struct weir_scope *scope;  // the scope it is a child in, or NULL
    struct weir_scope *scopes; // the scopes it has opened
    int32_t result;
    _Atomic uint32_t children;
    _Atomic uint16_t worker; // the index of the worker that polled it last; wakes go there
    uint16_t pinned;
};
_Static_assert(sizeof(struct weir_task) == 64, "a task's header is one cache line");

// What the caller of a transition must now do.
enum weir_task_action {
    WEIR_TASK_NOTHING,
    WEIR_TASK_SUBMIT,  // put it into a run queue
    WEIR_TASK_POLL,    // poll the future
    WEIR_TASK_DROP,    // drop the future instead
    WEIR_TASK_WAKE,    // wake the joiner, then weir_task_joiner_woken
    WEIR_TASK_DONE,    // it has ended; somebody else releases the cell
    WEIR_TASK_RELEASE, // give the cell back
    WEIR_TASK_GONE     // the handle's task is no more
};

WEIR_MUST_USE enum weir_task_action weir_task_wake(struct weir_task *task, uint32_t generation);
WEIR_MUST_USE enum weir_task_action weir_task_request_cancel(struct weir_task *task,
                                                             uint32_t generation);
// The future is done: NOTHING (the joiner will come), WAKE, or RELEASE.
WEIR_MUST_USE enum weir_task_action weir_task_complete(struct weir_task *task);
// `joiner` has been copied: NOTHING or RELEASE.
WEIR_MUST_USE enum weir_task_action weir_task_joiner_woken(struct weir_task *task);
// The joiner looks: NOTHING (not yet; its waker is set), or, with *result set, DONE or RELEASE; or
// GONE.
WEIR_MUST_USE enum weir_task_action weir_task_join(struct weir_handle handle,
                                                   struct weir_waker waker, int32_t *result);
// The joiner gives up: NOTHING or RELEASE.
WEIR_MUST_USE enum weir_task_action weir_task_forget(struct weir_handle handle);

static inline struct weir_future *weir_task_future(struct weir_task *task)
{
    return (struct weir_future *)(task + 1);
}

static inline uint32_t weir_task_generation(struct weir_task *task)
{
    return (uint32_t)(atomic_load_explicit(&task->state, memory_order_relaxed) >> 32);
}

static inline struct weir_handle weir_task_handle(struct weir_task *task)
{
    return (struct weir_handle){task, weir_task_generation(task)};
}

// ---- A poll ----

// Out of a queue: POLL or DROP, and the future is the caller's.
WEIR_MUST_USE enum weir_task_action weir_task_run_marked(struct weir_task *task);
WEIR_MUST_USE static inline enum weir_task_action weir_task_run(struct weir_task *task)
{
    const uint64_t plain = WEIR_TASK_LIVE | WEIR_TASK_SCHEDULED;
    const uint64_t marks = WEIR_TASK_NOTIFIED | WEIR_TASK_CANCELLED | WEIR_TASK_COMPLETE;
    // Relaxed: NOTIFIED that is overlooked stays, and idle finds it.
    uint64_t seen = atomic_load_explicit(&task->state, memory_order_relaxed);
    return (seen & (plain | marks)) == plain ? WEIR_TASK_POLL : weir_task_run_marked(task);
}

// The poll said pending: NOTHING, or SUBMIT because it was woken meanwhile. Who knows that the task
// is to be polled again queues it without asking.
WEIR_MUST_USE static inline enum weir_task_action weir_task_idle(struct weir_task *task)
{
    uint64_t seen = atomic_load_explicit(&task->state, memory_order_relaxed);
    do {
        weir_assert((seen & WEIR_TASK_SCHEDULED) != 0 && (seen & WEIR_TASK_COMPLETE) == 0);
        if ((seen & WEIR_TASK_NOTIFIED) != 0) {
            return WEIR_TASK_SUBMIT;
        }
    } while (!atomic_compare_exchange_weak_explicit(
        &task->state, &seen, seen & ~(uint64_t)WEIR_TASK_SCHEDULED, memory_order_release,
        memory_order_relaxed)); // [T2]
    return WEIR_TASK_NOTHING;
}

// ---- Cells ----

enum { WEIR_CELL_CLASSES = 7 }; // 128, 256, ... 8192 bytes

struct weir_slab;

// At the start of every WEIR_BLOCK_BYTES-aligned block of cells.
struct weir_block {
    struct weir_block *next;
    struct weir_runtime *runtime;
    struct weir_slab *slab;
    uint32_t cell_bytes, cell_class;
};

// The cells of one owner: a worker's thread, or, under a lock of the caller's, everybody outside.
struct weir_slab {
    struct weir_runtime *runtime;
    const struct weir_os *os;
    struct weir_block *blocks;
    struct weir_task *free[WEIR_CELL_CLASSES];
    // Cells released by others: pushed by anyone, taken whole by the owner.
    _Alignas(64) _Atomic(struct weir_task *) returned[WEIR_CELL_CLASSES];
};

WEIR_COLD void weir_slab_init(struct weir_slab *slab, struct weir_runtime *runtime,
                              const struct weir_os *os);
WEIR_COLD void weir_slab_deinit(struct weir_slab *slab);

// A cell whose frame holds a copy of the future, LIVE and NOTIFIED, in no queue yet.
//   returns  0; WEIR_ELIMIT; WEIR_EMEMORY.
//   threads  the slab's owner.
WEIR_MUST_USE int weir_slab_spawn(struct weir_slab *slab, const struct weir_future *future,
                                  size_t future_bytes, bool joinable, struct weir_task **task);

// Gives a cell back under the next generation.  threads  any; `slab` is the caller's own or NULL.
void weir_slab_release(struct weir_slab *slab, struct weir_task *task);

static inline struct weir_block *weir_task_block(struct weir_task *task)
{
    return (struct weir_block *)((uintptr_t)task & ~(uintptr_t)(WEIR_BLOCK_BYTES - 1));
}

// Calls `visit` for each LIVE cell.  threads  when nobody else uses the slab.
WEIR_COLD void weir_slab_visit(struct weir_slab *slab, void (*visit)(struct weir_task *, void *),
                               void *argument);

#endif
