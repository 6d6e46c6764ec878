// Spawning, joining, cancelling, detaching, scopes and weir_block_on.
#include "tests/support_runtime.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "runtime/limits.h"

static const uint32_t worker_counts[] = {0, 1, 2, 4, 8};
#define WORKER_COUNTS (sizeof(worker_counts) / sizeof(worker_counts[0]))

// ---- Futures of these tests ----

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

static void count(_Atomic uint64_t *counter)
{
    if (counter != NULL) {
        atomic_fetch_add(counter, 1);
    }
}

static enum weir_poll worker_task_poll(struct weir_future *future, struct weir_context *context)
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

static struct worker_task worker_task_make(uint32_t yields, int32_t result)
{
    return (struct worker_task){.future = {.poll = worker_task_poll},
                                .yields_left = yields, .result = result};
}

static struct weir_handle spawn_outside(struct weir_runtime *runtime,
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

static enum weir_poll joiner_poll(struct weir_future *future, struct weir_context *context)
{
    struct joiner *me = (struct joiner *)future;
    weir_begin(me);
    weir_await(me, context, &me->join);
    weir_return(me, me->join.future.result);
    weir_exit(me);
    weir_drop(&me->join.future, context);
    weir_end(me);
}

static int join_outside(struct weir_runtime *runtime, struct weir_handle handle)
{
    struct joiner joiner = {.future = {.poll = joiner_poll}};
    weir_task_join_init(&joiner.join, handle);
    return weir_block_on(runtime, &joiner.future, sizeof(joiner));
}

// The cells that are in use, by class of owner; every test of handles ends with none.
static void count_live(struct weir_task *task, void *argument)
{
    (void)task;
    *(uint64_t *)argument += 1;
}

static uint64_t live_tasks(struct weir_runtime *runtime)
{
    uint64_t live = 0;
    weir_slab_visit(&runtime->outside, count_live, &live);
    for (uint32_t i = 0; i < runtime->workers_count; i++) {
        weir_slab_visit(&runtime->workers[i].slab, count_live, &live);
    }
    return live;
}

// weir_block_on returns before its own task has quite ended; a lost cell stays for ever.
static void check_no_task_left(struct weir_runtime *runtime)
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

// ---- block_on and join ----

static void test_block_on(void **state)
{
    (void)state;
    for (size_t i = 0; i < WORKER_COUNTS; i++) {
        struct weir_runtime *runtime = test_runtime_create(worker_counts[i], NULL);
        for (int32_t k = 0; k < 500; k++) {
            int32_t result = k % 3 == 0 ? -k : k;
            struct worker_task task = worker_task_make((uint32_t)k % 5, result);
            assert_int_equal(weir_block_on(runtime, &task.future, sizeof(task)), result);
        }
        check_no_task_left(runtime);
        weir_runtime_destroy(runtime);
    }
}

static void test_join_output(void **state)
{
    (void)state;
    for (size_t i = 0; i < WORKER_COUNTS; i++) {
        struct weir_runtime *runtime = test_runtime_create(worker_counts[i], NULL);
        for (int32_t k = 0; k < (int32_t)test_times(2000); k++) {
            struct worker_task task = worker_task_make((uint32_t)k % 3, k - 100);
            struct weir_handle handle = spawn_outside(runtime, &task);
            assert_int_equal(join_outside(runtime, handle), k - 100);
        }
        check_no_task_left(runtime);
        weir_runtime_destroy(runtime);
    }
}

static void test_join_of_a_task_that_has_ended(void **state)
{
    (void)state;
    for (size_t i = 0; i < WORKER_COUNTS; i++) {
        struct weir_runtime *runtime = test_runtime_create(worker_counts[i], NULL);
        _Atomic uint64_t done = 0;
        struct worker_task task = worker_task_make(2, 33);
        task.done = &done;
        struct weir_handle handle = spawn_outside(runtime, &task);
        test_wait_for(runtime, &done, 1);
        assert_int_equal(join_outside(runtime, handle), 33);
        check_no_task_left(runtime);
        weir_runtime_destroy(runtime);
    }
}

// Many tasks, joined out of order from inside, each join being its own race.
#define FAMILY 50

struct family {
    struct weir_future future;
    struct weir_handle handles[FAMILY];
    struct weir_task_join join;
    uint32_t spawned, joined;
    int32_t sum;
    unsigned flags;
};

static enum weir_poll family_poll(struct weir_future *future, struct weir_context *context)
{
    struct family *me = (struct family *)future;
    weir_begin(me);
    for (me->spawned = 0; me->spawned < FAMILY; me->spawned++) {
        struct worker_task task = worker_task_make(me->spawned % 4, (int32_t)me->spawned);
        assert_int_equal(weir_spawn(context, &task.future, sizeof(task), me->flags,
                                    &me->handles[me->spawned]), 0);
    }
    for (me->joined = 0; me->joined < FAMILY; me->joined++) {
        weir_task_join_init(&me->join, me->handles[(me->joined * 7) % FAMILY]);
        weir_await(me, context, &me->join);
        me->sum += me->join.future.result;
    }
    weir_return(me, me->sum);
    weir_exit(me);
    weir_end(me);
}

static void test_join_inside(void **state)
{
    (void)state;
    for (size_t i = 0; i < WORKER_COUNTS; i++) {
        struct weir_runtime *runtime = test_runtime_create(worker_counts[i], NULL);
        for (uint64_t round = 0; round < test_times(200); round++) {
            struct family family = {.future = {.poll = family_poll}, .flags = round % 2};
            assert_int_equal(weir_block_on(runtime, &family.future, sizeof(family)),
                             FAMILY * (FAMILY - 1) / 2);
        }
        check_no_task_left(runtime);
        weir_runtime_destroy(runtime);
    }
}

static void *block_on_thread(void *argument)
{
    for (int32_t i = 0; i < (int32_t)test_times(1500); i++) {
        struct worker_task task = worker_task_make((uint32_t)i % 3, i);
        assert_int_equal(weir_block_on(argument, &task.future, sizeof(task)), i);
    }
    return NULL;
}

// Others keep the workers busy all the time.
static void test_complete_block_on_under_load(void **state)
{
    (void)state;
    for (size_t i = 1; i < WORKER_COUNTS; i++) {
        struct weir_runtime *runtime = test_runtime_create(worker_counts[i], NULL);
        for (int k = 0; k < 10; k++) {
            struct worker_task hog = worker_task_make(UINT32_MAX, 0);
            assert_int_equal(weir_runtime_spawn(runtime, &hog.future, sizeof(hog), (unsigned)k % 2,
                                                NULL), 0);
        }
        pthread_t threads[3];
        for (int k = 0; k < 3; k++) {
            pthread_create(&threads[k], NULL, block_on_thread, runtime);
        }
        for (int k = 0; k < 3; k++) {
            pthread_join(threads[k], NULL);
        }
        weir_runtime_destroy(runtime);
    }
}

static void test_block_on_from_many_threads(void **state)
{
    (void)state;
    for (size_t i = 1; i < WORKER_COUNTS; i++) {
        struct weir_runtime *runtime = test_runtime_create(worker_counts[i], NULL);
        pthread_t threads[4];
        for (int k = 0; k < 4; k++) {
            pthread_create(&threads[k], NULL, block_on_thread, runtime);
        }
        for (int k = 0; k < 4; k++) {
            pthread_join(threads[k], NULL);
        }
        check_no_task_left(runtime);
        weir_runtime_destroy(runtime);
    }
}

// ---- Detach and drop ----

static void test_detach(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    for (size_t i = 0; i < WORKER_COUNTS; i++) {
        struct weir_runtime *runtime = test_runtime_create(worker_counts[i], NULL);
        _Atomic uint64_t done = 0;
        uint64_t tasks = test_times(4000);
        for (uint64_t k = 0; k < tasks; k++) {
            struct worker_task task = worker_task_make((uint32_t)k % 3, 1);
            task.done = &done;
            struct weir_handle handle = spawn_outside(runtime, &task);
            if (test_random(&random) % 4 == 0) {
                test_wait_for(runtime, &done, k + 1);
            }
            weir_task_detach(handle); // while it is queued, runs, or has ended
        }
        test_wait_for(runtime, &done, tasks);
        check_no_task_left(runtime);
        weir_runtime_destroy(runtime);
    }
}

// Drops a join that was polled (or not) while the task may be ending.
struct dropper {
    struct weir_future future;
    struct weir_task_join join;
    bool poll_first;
};

static enum weir_poll dropper_poll(struct weir_future *future, struct weir_context *context)
{
    struct dropper *me = (struct dropper *)future;
    assert_int_equal(future->resume, WEIR_RESUME_START);
    future->resume = 1;
    if (me->poll_first) {
        (void)weir_future_poll(&me->join.future, context);
        weir_drop(&me->join.future, context);
    } else {
        weir_task_detach(me->join.handle);
    }
    future->resume = WEIR_RESUME_DONE;
    future->result = 0;
    return WEIR_READY;
}

static void test_drop_join_during_completion(void **state)
{
    (void)state;
    for (size_t i = 0; i < WORKER_COUNTS; i++) {
        struct weir_runtime *runtime = test_runtime_create(worker_counts[i], NULL);
        _Atomic uint64_t done = 0;
        uint64_t tasks = test_times(4000);
        for (uint64_t k = 0; k < tasks; k++) {
            struct worker_task task = worker_task_make((uint32_t)k % 2, 1);
            task.done = &done;
            struct dropper dropper = {.future = {.poll = dropper_poll}, .poll_first = k % 4 != 0};
            weir_task_join_init(&dropper.join, spawn_outside(runtime, &task));
            assert_int_equal(weir_runtime_spawn(runtime, &dropper.future, sizeof(dropper), 0,
                                                NULL), 0);
        }
        test_wait_for(runtime, &done, tasks);
        check_no_task_left(runtime);
        weir_runtime_destroy(runtime);
    }
}

// ---- Cancel ----

static void test_cancel(void **state)
{
    (void)state;
    for (size_t i = 0; i < WORKER_COUNTS; i++) {
        struct weir_runtime *runtime = test_runtime_create(worker_counts[i], NULL);
        _Atomic uint64_t started = 0, done = 0, dropped = 0;
        uint64_t tasks = test_times(1000);
        for (uint64_t k = 0; k < tasks; k++) {
            struct worker_task task = worker_task_make(1, 7);
            task.endless = true;
            task.started = &started;
            task.done = &done;
            task.dropped = &dropped;
            struct weir_handle handle = spawn_outside(runtime, &task);
            test_wait_for(runtime, &started, k + 1);
            weir_task_cancel(handle);
            weir_task_cancel(handle);
            assert_int_equal(join_outside(runtime, handle), WEIR_ECANCELED);
            weir_task_cancel(handle); // has ended: nothing
            assert_int_equal(dropped, k + 1);
        }
        assert_int_equal(done, 0);
        weir_task_cancel((struct weir_handle){NULL, 0});
        check_no_task_left(runtime);
        weir_runtime_destroy(runtime);
    }
}

// Cancelled before its first poll: its future never starts, and there is nothing to undo.
static void test_cancel_unstarted(void **state)
{
    (void)state;
    struct weir_runtime *runtime = test_runtime_create(0, NULL);
    _Atomic uint64_t started = 0, dropped = 0;
    struct worker_task task = worker_task_make(1, 7);
    task.started = &started;
    task.dropped = &dropped;
    struct weir_handle handle = spawn_outside(runtime, &task);
    weir_task_cancel(handle);
    assert_int_equal(join_outside(runtime, handle), WEIR_ECANCELED);
    assert_int_equal(started + dropped, 0);
    check_no_task_left(runtime);
    weir_runtime_destroy(runtime);
}

// Cancels race with the end: the result is one or the other, and the future ends once.
static void test_cancel_races_with_completion(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    for (size_t i = 1; i < WORKER_COUNTS; i++) {
        struct weir_runtime *runtime = test_runtime_create(worker_counts[i], NULL);
        _Atomic uint64_t started = 0, done = 0, dropped = 0;
        uint64_t cancelled = 0, ended = 0, tasks = test_times(3000);
        for (uint64_t k = 0; k < tasks; k++) {
            struct worker_task task = worker_task_make((uint32_t)k % 8, 7);
            task.started = &started;
            task.done = &done;
            task.dropped = &dropped;
            struct weir_handle handle = spawn_outside(runtime, &task);
            for (uint64_t spin = test_random(&random) % 3000; spin > 0; spin--) {
                __asm__ volatile("" ::: "memory");
            }
            weir_task_cancel(handle);
            int result = join_outside(runtime, handle);
            cancelled += result == WEIR_ECANCELED;
            ended += result == 7;
        }
        assert_int_equal(cancelled + ended, tasks);
        assert_int_equal(done, ended);
        assert_int_equal(started, done + dropped);
        check_no_task_left(runtime);
        weir_runtime_destroy(runtime);
    }
}

// ---- Misuse and limits ----

static void join_used_handle(void *argument)
{
    void **arguments = argument;
    (void)join_outside(arguments[0], *(struct weir_handle *)arguments[1]);
}

static void join_init_nothing(void *argument)
{
    (void)argument;
    struct weir_task_join join;
    weir_task_join_init(&join, (struct weir_handle){NULL, 0});
}

static void test_misuse_aborts(void **state)
{
    (void)state;
    struct weir_runtime *runtime = test_runtime_create(0, NULL);
    struct worker_task task = worker_task_make(0, 5);
    struct weir_handle handle = spawn_outside(runtime, &task);
    assert_int_equal(join_outside(runtime, handle), 5);
    check_no_task_left(runtime);
    // In the child the guard would answer first: give it a word that forks do not wipe.
    _Atomic uint32_t *guard = runtime->fork_guard;
    _Atomic uint32_t plain = 1;
    runtime->fork_guard = &plain;
    void *arguments[] = {runtime, &handle};
    test_expect_abort(join_used_handle, arguments);
    runtime->fork_guard = guard;
    test_expect_abort(join_init_nothing, NULL);
    weir_runtime_destroy(runtime);
}

// A future of any size up to the limit arrives whole.
struct big {
    struct weir_future future;
    uint32_t bytes;
    struct weir_yield yield;
    unsigned char pattern[];
};

static enum weir_poll big_poll(struct weir_future *future, struct weir_context *context)
{
    struct big *me = (struct big *)future;
    weir_begin(me);
    weir_yield_init(&me->yield);
    weir_await(me, context, &me->yield);
    for (uint32_t i = 0; i < me->bytes - sizeof(*me); i++) {
        assert_int_equal(me->pattern[i], (unsigned char)(i * 11 + me->bytes));
        me->pattern[i] = 0;
    }
    weir_return(me, (int32_t)me->bytes);
    weir_exit(me);
    weir_end(me);
}

static void test_sizes(void **state)
{
    (void)state;
    union {
        struct big big;
        unsigned char bytes[WEIR_CELL_BYTES_MAX];
    } frame;
    const uint32_t bytes_max = WEIR_CELL_BYTES_MAX - sizeof(struct weir_task);
    struct weir_runtime *runtime = test_runtime_create(2, NULL);
    for (uint32_t bytes = sizeof(struct big); bytes <= bytes_max; bytes += bytes < 600 ? 1 : 31) {
        memset(&frame, 0, sizeof(frame));
        frame.big.future.poll = big_poll;
        frame.big.bytes = bytes;
        for (uint32_t i = 0; i < bytes - sizeof(struct big); i++) {
            frame.big.pattern[i] = (unsigned char)(i * 11 + bytes);
        }
        assert_int_equal(weir_block_on(runtime, &frame.big.future, bytes), bytes);
    }
    struct weir_handle handle = {NULL, 0};
    assert_int_equal(weir_runtime_spawn(runtime, &frame.big.future, bytes_max + 1, 0, &handle),
                     WEIR_ELIMIT);
    assert_null(handle.task);
    assert_int_equal(weir_block_on(runtime, &frame.big.future, bytes_max + 1), WEIR_ELIMIT);
    check_no_task_left(runtime);
    weir_runtime_destroy(runtime);
}

// No memory for the second of the two tasks of weir_block_on: the first one is not left behind.
static void test_block_on_alloc_fails(void **state)
{
    (void)state;
    struct counting_os counting;
    counting_os_init(&counting);
    for (uint64_t at = 1; at <= 2; at++) {
        struct weir_runtime *runtime = test_runtime_create(0, &counting.os);
        union {
            struct worker_task task;
            unsigned char bytes[4000]; // another class than the waiter's
        } frame;
        memset(&frame, 0, sizeof(frame));
        frame.task = worker_task_make(0, 5);
        atomic_store(&counting.alloc_fail_at, atomic_load(&counting.allocs) + at);
        assert_int_equal(weir_block_on(runtime, &frame.task.future, sizeof(frame)), WEIR_EMEMORY);
        atomic_store(&counting.alloc_fail_at, 0);
        assert_int_equal(weir_block_on(runtime, &frame.task.future, sizeof(frame)), 5);
        check_no_task_left(runtime);
        weir_runtime_destroy(runtime);
        counting_os_check_empty(&counting);
    }
}

// ---- Scopes ----

// A parent whose children write into its frame.
struct parent {
    struct weir_future future;
    struct weir_scope scope;
    struct weir_scope_wait wait;
    struct weir_yield yield;
    uint64_t canary;                 // what children look at
    _Atomic uint64_t from_children;  // what they add to
    uint32_t children, child_yields, spawned;
    uint32_t depth;                  // > 0: children are parents themselves
    bool children_endless;
    bool ending; // the runtime may end while the parent spawns
    int error;
    enum { LEAVE_WAIT, LEAVE_AT_ONCE, LEAVE_CANCEL_WAIT, LEAVE_NEVER } leave;
    unsigned flags;
    _Atomic uint64_t *all_ended; // counts children and parents; may not point into a frame
    _Atomic uint64_t *all_started;
    struct parent *above;
};

#define CANARY UINT64_C(0x77656972776569)

struct child {
    struct weir_future future;
    struct parent *parent; // in its parent's frame
    uint32_t yields_left;
    bool endless;
    struct weir_yield yield;
    struct weir_sleep sleep;
};

static enum weir_poll child_poll(struct weir_future *future, struct weir_context *context)
{
    struct child *me = (struct child *)future;
    assert_true(me->parent->canary == CANARY);
    weir_begin(me);
    count(me->parent->all_started);
    while (me->yields_left > 0) {
        me->yields_left--;
        weir_yield_init(&me->yield);
        weir_await(me, context, &me->yield);
    }
    if (me->endless) {
        weir_sleep_init(&me->sleep, UINT64_C(3600000000000));
        weir_await(me, context, &me->sleep);
    }
    weir_exit(me);
    weir_drop(&me->yield.future, context);
    weir_drop(&me->sleep.future, context);
    atomic_fetch_add(&me->parent->from_children, 1);
    count(me->parent->all_ended);
    weir_end(me);
}

static enum weir_poll parent_poll(struct weir_future *future, struct weir_context *context)
{
    struct parent *me = (struct parent *)future;
    weir_begin(me);
    me->canary = CANARY;
    for (me->spawned = 0; me->spawned < me->children; me->spawned++) {
        if (me->depth > 0) {
            struct parent inner = {.future = {.poll = parent_poll},
                                   .children = me->children, .child_yields = me->child_yields,
                                   .children_endless = me->children_endless,
                                   .depth = me->depth - 1, .leave = me->leave,
                                   .flags = me->flags, .ending = me->ending,
                                   .all_ended = me->all_ended,
                                   .all_started = me->all_started, .above = me};
            me->error = weir_scope_spawn(&me->scope, context, &inner.future, sizeof(inner),
                                         me->flags);
        } else {
            struct child child = {.future = {.poll = child_poll}, .parent = me,
                                  .yields_left = me->spawned % (me->child_yields + 1),
                                  .endless = me->children_endless};
            me->error = weir_scope_spawn(&me->scope, context, &child.future, sizeof(child),
                                         me->flags);
        }
        assert_true(me->error == 0 || (me->error == WEIR_ECLOSED && me->ending));
        if (me->spawned % 100 == 99) {
            weir_yield_init(&me->yield);
            weir_await(me, context, &me->yield);
        }
    }
    if (me->leave == LEAVE_CANCEL_WAIT) {
        weir_scope_cancel(&me->scope, context);
    }
    if (me->leave == LEAVE_WAIT || me->leave == LEAVE_CANCEL_WAIT) {
        weir_scope_wait_init(&me->wait, &me->scope);
        weir_await(me, context, &me->wait);
        assert_true(me->scope.children_count == 0);
        assert_true(me->scope.owner == NULL);
        if (me->leave == LEAVE_WAIT && me->depth == 0) {
            assert_true(atomic_load(&me->from_children) == me->children);
        }
    }
    while (me->leave == LEAVE_NEVER) {
        weir_scope_wait_init(&me->wait, &me->scope);
        weir_await(me, context, &me->wait);
        weir_yield_init(&me->yield);
        weir_await(me, context, &me->yield);
    }
    weir_return(me, 21);
    weir_exit(me);
    weir_drop(&me->wait.future, context);
    weir_drop(&me->yield.future, context);
    if (me->above != NULL) {
        assert_true(me->above->canary == CANARY);
        atomic_fetch_add(&me->above->from_children, 1);
    }
    count(me->all_ended);
    weir_end(me);
}

static void test_scope_wait(void **state)
{
    (void)state;
    for (size_t i = 0; i < WORKER_COUNTS; i++) {
        for (unsigned flags = 0; flags < 2; flags++) {
            struct weir_runtime *runtime = test_runtime_create(worker_counts[i], NULL);
            for (uint32_t round = 0; round < test_times(200); round++) {
                _Atomic uint64_t ended = 0;
                struct parent parent = {.future = {.poll = parent_poll}, .children = round % 40,
                                        .child_yields = round % 5, .leave = LEAVE_WAIT,
                                        .flags = flags, .all_ended = &ended};
                assert_int_equal(weir_block_on(runtime, &parent.future, sizeof(parent)), 21);
                assert_int_equal(ended, round % 40 + 1);
            }
            check_no_task_left(runtime);
            weir_runtime_destroy(runtime);
        }
    }
}

// The parent returns at once; its end is told only when its children have ended.
static void test_scope_children_outlive_the_return(void **state)
{
    (void)state;
    for (size_t i = 0; i < WORKER_COUNTS; i++) {
        for (int endless = 0; endless < 2; endless++) {
            struct weir_runtime *runtime = test_runtime_create(worker_counts[i], NULL);
            for (uint32_t round = 0; round < test_times(300); round++) {
                _Atomic uint64_t ended = 0, started = 0;
                struct parent parent = {.future = {.poll = parent_poll}, .children = 1 + round % 20,
                                        .child_yields = 6, .leave = LEAVE_AT_ONCE,
                                        .children_endless = endless != 0, .all_ended = &ended,
                                        .all_started = &started};
                assert_int_equal(weir_block_on(runtime, &parent.future, sizeof(parent)), 21);
                // Those that never started have nothing to undo and do not count themselves.
                assert_int_equal(ended, started + 1);
            }
            check_no_task_left(runtime);
            weir_runtime_destroy(runtime);
        }
    }
}

static void test_scope_cancel(void **state)
{
    (void)state;
    for (size_t i = 0; i < WORKER_COUNTS; i++) {
        struct weir_runtime *runtime = test_runtime_create(worker_counts[i], NULL);
        for (uint32_t round = 0; round < test_times(300); round++) {
            _Atomic uint64_t ended = 0, started = 0;
            struct parent parent = {.future = {.poll = parent_poll}, .children = 1 + round % 150,
                                    .child_yields = 3, .leave = LEAVE_CANCEL_WAIT,
                                    .children_endless = true, .all_ended = &ended,
                                    .all_started = &started};
            assert_int_equal(weir_block_on(runtime, &parent.future, sizeof(parent)), 21);
            assert_int_equal(ended, started + 1);
        }
        check_no_task_left(runtime);
        weir_runtime_destroy(runtime);
    }
}

// Parents of parents: 1 + 5 + 25 + 125, and 625 children below.
static void test_scope_nested(void **state)
{
    (void)state;
    for (size_t i = 0; i < WORKER_COUNTS; i++) {
        for (int leave = LEAVE_WAIT; leave <= LEAVE_CANCEL_WAIT; leave++) {
            struct weir_runtime *runtime = test_runtime_create(worker_counts[i], NULL);
            for (uint32_t round = 0; round < test_times(16); round++) {
                _Atomic uint64_t ended = 0;
                struct parent parent = {.future = {.poll = parent_poll}, .children = 5, .depth = 3,
                                        .child_yields = round % 4, .all_ended = &ended};
                parent.leave = (leave == LEAVE_WAIT)      ? LEAVE_WAIT
                               : (leave == LEAVE_AT_ONCE) ? LEAVE_AT_ONCE
                                                          : LEAVE_CANCEL_WAIT;
                assert_int_equal(weir_block_on(runtime, &parent.future, sizeof(parent)), 21);
                if (leave == LEAVE_WAIT) {
                    assert_int_equal(ended, 1 + 5 + 25 + 125 + 625);
                }
            }
            check_no_task_left(runtime);
            weir_runtime_destroy(runtime);
        }
    }
}

// The parent is cancelled from outside while its children run on other workers.
static void test_scope_parent_cancelled(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    for (size_t i = 0; i < WORKER_COUNTS; i++) {
        struct weir_runtime *runtime = test_runtime_create(worker_counts[i], NULL);
        for (uint32_t round = 0; round < test_times(150); round++) {
            _Atomic uint64_t ended = 0, started = 0;
            struct parent parent = {.future = {.poll = parent_poll}, .children = 8,
                                    .depth = round % 3, .child_yields = 50,
                                    .children_endless = round % 2 == 0, .leave = LEAVE_NEVER,
                                    .all_ended = &ended, .all_started = &started};
            struct weir_handle handle;
            assert_int_equal(weir_runtime_spawn(runtime, &parent.future, sizeof(parent), 0,
                                                &handle), 0);
            test_wait_for(runtime, &started, 1 + test_random(&random) % 8);
            weir_task_cancel(handle);
            assert_int_equal(join_outside(runtime, handle), WEIR_ECANCELED);
            uint64_t after = atomic_load(&ended);
            assert_true(after >= started); // every child that began has ended before its parent
            check_no_task_left(runtime);
            assert_int_equal(ended, after);
        }
        weir_runtime_destroy(runtime);
    }
}

static void test_scope_ten_thousand(void **state)
{
    (void)state;
    for (uint32_t workers = 0; workers <= 4; workers += 2) {
        for (int cancel = 0; cancel < 2; cancel++) {
            struct weir_runtime *runtime = test_runtime_create(workers, NULL);
            _Atomic uint64_t ended = 0, started = 0;
            struct parent parent = {.future = {.poll = parent_poll}, .children = 10000,
                                    .child_yields = 3, .children_endless = cancel != 0,
                                    .all_ended = &ended, .all_started = &started};
            parent.leave = cancel != 0 ? LEAVE_CANCEL_WAIT : LEAVE_WAIT;
            assert_int_equal(weir_block_on(runtime, &parent.future, sizeof(parent)), 21);
            assert_int_equal(ended, started + 1);
            if (cancel == 0) {
                assert_int_equal(started, 10000);
            }
            check_no_task_left(runtime);
            weir_runtime_destroy(runtime);
        }
    }
}

// A scope can be used again, by the same task, and with several scopes at once.
struct reuser {
    struct weir_future future;
    struct weir_scope scopes[3];
    struct weir_scope_wait wait;
    struct parent fake; // what the children look at
    uint32_t round, which;
};

static enum weir_poll reuser_poll(struct weir_future *future, struct weir_context *context)
{
    struct reuser *me = (struct reuser *)future;
    weir_begin(me);
    me->fake.canary = CANARY;
    for (me->round = 0; me->round < 100; me->round++) {
        for (uint32_t i = 0; i < 30; i++) {
            struct child child = {.future = {.poll = child_poll}, .parent = &me->fake,
                                  .yields_left = i % 4};
            assert_int_equal(weir_scope_spawn(&me->scopes[i % 3], context, &child.future,
                                              sizeof(child), 0), 0);
        }
        for (me->which = 0; me->which < 3; me->which++) {
            // Not in the order in which they were opened.
            weir_scope_wait_init(&me->wait, &me->scopes[(me->which + me->round) % 3]);
            weir_await(me, context, &me->wait);
        }
        assert_true(atomic_load(&me->fake.from_children) == 30 * ((uint64_t)me->round + 1));
    }
    weir_scope_wait_init(&me->wait, &me->scopes[0]); // empty
    weir_await(me, context, &me->wait);
    weir_scope_cancel(&me->scopes[1], context);
    weir_return(me, 5);
    weir_exit(me);
    weir_drop(&me->wait.future, context);
    weir_end(me);
}

static void test_scope_reused(void **state)
{
    (void)state;
    for (size_t i = 0; i < WORKER_COUNTS; i++) {
        struct weir_runtime *runtime = test_runtime_create(worker_counts[i], NULL);
        struct reuser reuser = {.future = {.poll = reuser_poll}};
        assert_int_equal(weir_block_on(runtime, &reuser.future, sizeof(reuser)), 5);
        check_no_task_left(runtime);
        weir_runtime_destroy(runtime);
    }
}

// Scopes alive at the runtime's end: everybody is dropped, in whatever order.
static void test_scope_at_runtime_end(void **state)
{
    (void)state;
    struct counting_os counting;
    counting_os_init(&counting);
    for (uint64_t round = 0; round < test_times(200); round++) {
        struct weir_runtime *runtime =
            test_runtime_create(worker_counts[round % WORKER_COUNTS], &counting.os);
        _Atomic uint64_t ended = 0, started = 0;
        struct parent parent = {.future = {.poll = parent_poll}, .children = 6,
                                .depth = (uint32_t)(round % 3), .child_yields = 50,
                                .children_endless = true, .ending = true, .leave = LEAVE_NEVER,
                                .all_ended = &ended, .all_started = &started};
        if (round % 4 == 1) {
            parent.leave = LEAVE_AT_ONCE;
        }
        assert_int_equal(weir_runtime_spawn(runtime, &parent.future, sizeof(parent), 0, NULL), 0);
        if (round % 4 != 1) {
            test_wait_for(runtime, &started, 1 + round % 5);
        }
        weir_runtime_destroy(runtime);
        assert_true(ended >= started);
        counting_os_check_empty(&counting);
    }
}

// Joins left when the runtime ends.
static void test_join_at_runtime_end(void **state)
{
    (void)state;
    struct counting_os counting;
    counting_os_init(&counting);
    for (uint64_t round = 0; round < test_times(200); round++) {
        struct weir_runtime *runtime =
            test_runtime_create(worker_counts[round % WORKER_COUNTS], &counting.os);
        _Atomic uint64_t started = 0, dropped = 0;
        for (int i = 0; i < 10; i++) {
            struct worker_task task = worker_task_make(2, 7);
            task.endless = i % 2 == 0;
            task.started = &started;
            struct joiner joiner = {.future = {.poll = joiner_poll}};
            weir_task_join_init(&joiner.join, spawn_outside(runtime, &task));
            assert_int_equal(weir_runtime_spawn(runtime, &joiner.future, sizeof(joiner), 0, NULL),
                             0);
            task.dropped = &dropped;
            (void)spawn_outside(runtime, &task); // its handle is never used up
        }
        if (round % 2 == 0) {
            test_wait_for(runtime, &started, 10);
        }
        weir_runtime_destroy(runtime);
        counting_os_check_empty(&counting);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_block_on),
        cmocka_unit_test(test_join_output),
        cmocka_unit_test(test_join_of_a_task_that_has_ended),
        cmocka_unit_test(test_join_inside),
        cmocka_unit_test(test_complete_block_on_under_load),
        cmocka_unit_test(test_block_on_from_many_threads),
        cmocka_unit_test(test_detach),
        cmocka_unit_test(test_drop_join_during_completion),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_cancel_unstarted),
        cmocka_unit_test(test_cancel_races_with_completion),
        cmocka_unit_test(test_misuse_aborts),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_block_on_alloc_fails),
        cmocka_unit_test(test_scope_wait),
        cmocka_unit_test(test_scope_children_outlive_the_return),
        cmocka_unit_test(test_scope_cancel),
        cmocka_unit_test(test_scope_nested),
        cmocka_unit_test(test_scope_parent_cancelled),
        cmocka_unit_test(test_scope_ten_thousand),
        cmocka_unit_test(test_scope_reused),
        cmocka_unit_test(test_scope_at_runtime_end),
        cmocka_unit_test(test_join_at_runtime_end),
    };
    return cmocka_run_group_tests_name("spawn", tests, NULL, NULL);
}
