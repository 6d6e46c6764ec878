// The runtime: what all workers share.
#ifndef WEIR_RUNTIME_RUNTIME_H
#define WEIR_RUNTIME_RUNTIME_H

#include "runtime/idle.h"
#include "runtime/reactor.h"
#include "runtime/resolve.h"
#include "runtime/worker.h"

struct weir_runtime {
    struct weir_os os;
    struct weir_reactor reactor;
    struct weir_lookups lookups;
    uint32_t workers_count; // at least 1
    uint32_t threads_count; // 0: the host drives worker 0
    size_t bytes;           // of this block, workers included
    _Atomic uint32_t *fork_guard;
    // Cells spawned from outside the workers.
    _Atomic uint32_t outside_lock;
    struct weir_slab outside;
    _Atomic uint64_t outside_spawned;
    // Idle state; on lines of their own because every push reads them.
    _Alignas(128) _Atomic uint64_t parked; // bit i: worker i sleeps, or will look once more before
    _Atomic int32_t searching; // awake and looking for work, or woken to; see idle.c [W2]
    _Atomic uint32_t stopping;
    _Alignas(128) _Atomic uint32_t poller_holder; // 1 + index of who is in the poller; 0: nobody
    struct weir_worker workers[];
};
_Static_assert(WEIR_WORKERS_MAX <= 64, "a bit per worker in `parked`");

static inline bool weir_runtime_forked(const struct weir_runtime *runtime)
{
    return atomic_load_explicit(runtime->fork_guard, memory_order_relaxed) == 0;
}

static inline bool weir_runtime_stopping(struct weir_runtime *runtime)
{
    return atomic_load_explicit(&runtime->stopping, memory_order_seq_cst) != 0; // [W5]
}

// As weir_runtime_spawn, but the task is in no queue yet.
WEIR_MUST_USE int weir_runtime_prepare(struct weir_runtime *runtime,
                                       const struct weir_future *future, size_t future_bytes,
                                       unsigned flags, bool joinable, struct weir_task **task);

// A task has ended (its future is done or dropped): tells its family and whoever joins it.
void weir_task_finish(struct weir_worker *worker, struct weir_task *task, int32_t result);

#endif
