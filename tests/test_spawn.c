// Spawning, joining and weir_block_on: results, any number of workers, misuse, sizes, no memory.
#include "tests/support_spawn.h"

#include <pthread.h>
#include <string.h>

#include "runtime/limits.h"

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
        destroy_idle(runtime);
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
        destroy_idle(runtime);
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
        destroy_idle(runtime);
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
        assert_int_equal(
            weir_spawn(context, &task.future, sizeof(task), me->flags, &me->handles[me->spawned]),
            0);
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
        destroy_idle(runtime);
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

static void block_on_from_threads(struct weir_runtime *runtime, int threads_count)
{
    pthread_t threads[4];
    for (int k = 0; k < threads_count; k++) {
        assert_int_equal(pthread_create(&threads[k], NULL, block_on_thread, runtime), 0);
    }
    for (int k = 0; k < threads_count; k++) {
        pthread_join(threads[k], NULL);
    }
}

// Others keep the workers busy all the time.
static void test_complete_block_on_under_load(void **state)
{
    (void)state;
    for (size_t i = 1; i < WORKER_COUNTS; i++) {
        struct weir_runtime *runtime = test_runtime_create(worker_counts[i], NULL);
        for (int k = 0; k < 10; k++) {
            struct worker_task hog = worker_task_make(UINT32_MAX, 0);
            assert_int_equal(
                weir_runtime_spawn(runtime, &hog.future, sizeof(hog), (unsigned)k % 2, NULL), 0);
        }
        block_on_from_threads(runtime, 3);
        weir_runtime_destroy(runtime);
    }
}

static void test_block_on_from_many_threads(void **state)
{
    (void)state;
    for (size_t i = 1; i < WORKER_COUNTS; i++) {
        struct weir_runtime *runtime = test_runtime_create(worker_counts[i], NULL);
        block_on_from_threads(runtime, 4);
        destroy_idle(runtime);
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
    destroy_idle(runtime);
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
        destroy_idle(runtime);
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
        cmocka_unit_test(test_misuse_aborts),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_block_on_alloc_fails),
    };
    return cmocka_run_group_tests_name("spawn", tests, NULL, NULL);
}
