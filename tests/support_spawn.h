// What the tests of spawned tasks share: a task to order, joining it, and that none is left behind.
#ifndef WEIR_TESTS_SUPPORT_SPAWN_H
#define WEIR_TESTS_SUPPORT_SPAWN_H

#include "tests/support_runtime.h"

static const uint32_t worker_counts[] = {0, 1, 2, 4, 8};
#define WORKER_COUNTS (sizeof(worker_counts) / sizeof(worker_counts[0]))

// Yields some times and ends with a result; or, without an end, waits for ever.
struct worker_task {
    struct weir_future future;
    uint32_t yields_left;
    int32_t result;
    bool endless;
    _Atomic uint64_t *started, *done, *dropped; // each may be NULL
    struct weir_yield yield;
    struct weir_sleep sleep;
};

static inline void count(_Atomic uint64_t *counter)
{
    if (counter != NULL) {
        atomic_fetch_add(counter, 1);
    }
}

static inline enum weir_poll worker_task_poll(struct weir_future *future,
                                              struct weir_context *context)
{
    struct worker_task *me = (struct worker_task *)future;
    weir_begin(me);
    count(me->started);
    while (me->yields_left > 0) {
        me->yields_left--;
        weir_yield_init(&me->yield);
        weir_await(me, context, &me->yield);
    }
    if (me->endless) {
        weir_sleep_init(&me->sleep, UINT64_C(3600000000000));
        weir_await(me, context, &me->sleep);
    }
    count(me->done);
    me->dropped = NULL;
    weir_return(me, me->result);
    weir_exit(me);
    weir_drop(&me->yield.future, context);
    weir_drop(&me->sleep.future, context);
    count(me->dropped);
    weir_end(me);
}

static inline struct worker_task worker_task_make(uint32_t yields, int32_t result)
{
    return (struct worker_task){
        .future = {.poll = worker_task_poll}, .yields_left = yields, .result = result};
}

static inline struct weir_handle spawn_outside(struct weir_runtime *runtime,
                                               const struct worker_task *task)
{
    struct weir_handle handle;
    assert_int_equal(weir_runtime_spawn(runtime, &task->future, sizeof(*task), 0, &handle), 0);
    return handle;
}

// Joins one handle from inside.
struct joiner {
    struct weir_future future;
    struct weir_task_join join;
};

static inline enum weir_poll joiner_poll(struct weir_future *future, struct weir_context *context)
{
    struct joiner *me = (struct joiner *)future;
    weir_begin(me);
    weir_await(me, context, &me->join);
    weir_return(me, me->join.future.result);
    weir_exit(me);
    weir_drop(&me->join.future, context);
    weir_end(me);
}

static inline int join_outside(struct weir_runtime *runtime, struct weir_handle handle)
{
    struct joiner joiner = {.future = {.poll = joiner_poll}};
    weir_task_join_init(&joiner.join, handle);
    return weir_block_on(runtime, &joiner.future, sizeof(joiner));
}

// The cells that are in use, by class of owner; every test of handles ends with none.
static inline void count_live(struct weir_task *task, void *argument)
{
    (void)task;
    *(uint64_t *)argument += 1;
}

static inline uint64_t live_tasks(struct weir_runtime *runtime)
{
    uint64_t live = 0;
    weir_slab_visit(&runtime->outside, count_live, &live);
    for (uint32_t i = 0; i < runtime->workers_count; i++) {
        weir_slab_visit(&runtime->workers[i].slab, count_live, &live);
    }
    return live;
}

// weir_block_on returns before its own task has quite ended; a lost cell stays for ever.
static inline void check_no_task_left(struct weir_runtime *runtime)
{
    for (int i = 0; i < 20000 && live_tasks(runtime) != 0; i++) {
        if (runtime->threads_count == 0) {
            (void)weir_turn(runtime, 100, 0);
        } else {
            test_pause_us(100);
        }
    }
    assert_int_equal(live_tasks(runtime), 0);
}

static inline void destroy_idle(struct weir_runtime *runtime)
{
    check_no_task_left(runtime);
    weir_runtime_destroy(runtime);
}

#endif
