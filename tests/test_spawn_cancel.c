// Tasks that nobody waits for to the end: detached, their joins dropped, cancelled, left behind.
#include "tests/support_spawn.h"

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
        destroy_idle(runtime);
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
            assert_int_equal(weir_runtime_spawn(runtime, &dropper.future, sizeof(dropper), 0, NULL),
                             0);
        }
        test_wait_for(runtime, &done, tasks);
        destroy_idle(runtime);
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
        destroy_idle(runtime);
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
    destroy_idle(runtime);
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
        destroy_idle(runtime);
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
        _Atomic uint64_t started = 0, done = 0, dropped = 0;
        for (int i = 0; i < 10; i++) {
            struct worker_task task = worker_task_make(2, 7);
            task.endless = i % 2 == 0;
            task.started = &started;
            task.done = &done;
            task.dropped = &dropped;
            struct joiner joiner = {.future = {.poll = joiner_poll}};
            weir_task_join_init(&joiner.join, spawn_outside(runtime, &task));
            assert_int_equal(weir_runtime_spawn(runtime, &joiner.future, sizeof(joiner), 0, NULL),
                             0);
            (void)spawn_outside(runtime, &task); // its handle is never used up
        }
        if (round % 2 == 0) {
            test_wait_for(runtime, &started, 10);
        }
        weir_runtime_destroy(runtime);
        assert_int_equal(started, done + dropped);
        counting_os_check_empty(&counting);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_detach),
        cmocka_unit_test(test_drop_join_during_completion),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_cancel_unstarted),
        cmocka_unit_test(test_cancel_races_with_completion),
        cmocka_unit_test(test_join_at_runtime_end),
    };
    return cmocka_run_group_tests_name("spawn_cancel", tests, NULL, NULL);
}
