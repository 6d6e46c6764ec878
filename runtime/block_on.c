// weir_block_on: the bridge from a thread that may sleep to a future that may not.
#include "runtime/assert.h"
#include "runtime/runtime.h"

// Waits for the task and then rings; lives in a task of its own.
struct block_on_waiter {
    struct weir_future future;
    struct weir_task_join join;
    _Atomic uint32_t *bell; // on the sleeping thread's stack
    int32_t *result;
};

// [B1] The bell's release publishes the result to the sleeper's acquire.
static void bell_ring(struct block_on_waiter *me, struct weir_context *context, int32_t result)
{
    _Atomic uint32_t *bell = me->bell;
    *me->result = result;
    atomic_store_explicit(bell, 1, memory_order_release); // [B1]
    // The sleeper may be gone by now; only the address is used.
    context->os->futex_wake(context->os->self, bell, 1);
}

static enum weir_poll block_on_poll(struct weir_future *future, struct weir_context *context)
{
    struct block_on_waiter *me = (struct block_on_waiter *)future;
    weir_begin(me);
    weir_await(me, context, &me->join);
    weir_return(me, me->join.future.result);
    weir_exit(me);
    weir_drop(&me->join.future, context);
    bell_ring(me, context, me->future.result);
    weir_end(me);
}

// Its first poll is here, before there is anything to wait for: a worker polls it only in the end.
WEIR_COLD static int waiter_start(struct weir_runtime *runtime,
                                  const struct block_on_waiter *waiter)
{
    struct weir_task *task;
    int error = weir_runtime_prepare(runtime, &waiter->future, sizeof(*waiter),
                                     WEIR_SPAWN_STEALABLE, false, &task);
    if (error < 0) {
        return error;
    }
    struct weir_waker waker = {task, weir_task_generation(task)};
    struct weir_context context = {runtime, NULL, &runtime->os, waker, 0, 0};
    enum weir_poll poll = weir_future_poll(weir_task_future(task), &context);
    enum weir_task_action action = weir_task_idle(task);
    weir_assert(poll == WEIR_PENDING && action == WEIR_TASK_NOTHING);
    return 0;
}

WEIR_COLD int weir_block_on(struct weir_runtime *runtime, const struct weir_future *future,
                            size_t future_bytes)
{
    _Atomic uint32_t bell = 0;
    int32_t result = 0;
    const struct weir_os *os = &runtime->os;
    struct weir_task *task;
    int error =
        weir_runtime_prepare(runtime, future, future_bytes, WEIR_SPAWN_STEALABLE, true, &task);
    if (error < 0) {
        return error;
    }
    struct weir_handle handle = weir_task_handle(task);
    struct block_on_waiter waiter = {
        .future = {block_on_poll, WEIR_RESUME_START, 0}, .bell = &bell, .result = &result};
    weir_task_join_init(&waiter.join, handle);
    error = waiter_start(runtime, &waiter);
    if (error < 0) {
        weir_task_cancel(handle);
        weir_task_detach(handle);
    }
    weir_worker_submit_remote(task); // also if it was cancelled: a worker drops it
    if (error < 0) {
        return error;
    }
    while (atomic_load_explicit(&bell, memory_order_acquire) == 0) { // [B1]
        if (runtime->threads_count == 0) {
            (void)weir_worker_turn(&runtime->workers[0], UINT32_MAX, WEIR_NEVER, &bell);
        } else {
            (void)os->futex_wait(os->self, &bell, 0, WEIR_NEVER);
        }
    }
    return result;
}
