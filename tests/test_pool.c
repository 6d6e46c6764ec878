// Tests of writer/pool.c: opening, flushing, closing and destroying, with every number of workers.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support_os.h"
#include "tests/support_pool.h"

static void open_close_destroy(uint32_t workers, enum collector_kind kind, uint64_t times,
                               uint32_t pool_size)
{
    struct weir_os real = weir_os_linux();
    struct support_os *faulty = support_os_create(&real);
    struct weir_os os = support_os_get(faulty);
    struct weir_runtime *runtime = test_runtime_create(workers, &os);
    struct collector *collector = collector_start(kind, NULL, 0, true, kind != COLLECTOR_TCP);
    struct weir_pool_options options;
    test_pool_options(&options, collector_endpoint(collector));
    options.pool_size = pool_size;
    options.buffer_bytes_max = pool_size * (64 << 10);
    for (uint64_t i = 0; i < times; i++) {
        struct weir_pool *pool = test_pool_open(runtime, &options);
        if (i % 3 == 0) {
            assert_int_equal(weir_pool_close(pool, 0), 0); // nothing was ever held
        } else if (i % 3 == 1) {
            (void)test_pool_log(pool, 0, 0, 0, 1, 100);
            (void)weir_pool_close(pool, 0);
        }
        weir_pool_destroy(pool);
    }
    weir_runtime_destroy(runtime);
    assert_int_equal(support_os_leaks(faulty), 0);
    support_os_destroy(faulty);
    collector_free(collector);
}

// The pool's memory goes as soon as the last writer says it has ended: nobody touches it after.
static void many_lives(void **unused)
{
    (void)unused;
    open_close_destroy(0, COLLECTOR_UNIX, test_times(100), 2);
    open_close_destroy(1, COLLECTOR_UNIX, test_times(400), 1);
    open_close_destroy(2, COLLECTOR_UNIX, test_times(400), 4);
    open_close_destroy(2, COLLECTOR_TCP, test_times(400), 4); // refused
}

static void destroy_of_nothing(void **unused)
{
    (void)unused;
    weir_pool_destroy(NULL);
}

static void refused_options(void **unused)
{
    (void)unused;
    struct weir_runtime *runtime = test_runtime_create(0, NULL);
    struct weir_pool_options options;
    struct weir_pool *pool = (struct weir_pool *)&options;
    char why[384] = "";
    test_pool_options(&options, "unix:/nowhere");
    options.full = WEIR_FULL_BLOCK;
    assert_int_equal(weir_pool_open(&pool, runtime, &options, why, sizeof(why)), WEIR_EOPTION);
    assert_null(pool);
    assert_non_null(strstr(why, "full"));
    options.full = WEIR_FULL_DROP_NEWEST;
    options.pool_size = 0;
    assert_int_equal(weir_pool_open(&pool, runtime, &options, why, sizeof(why)), WEIR_EOPTION);
    assert_non_null(strstr(why, "pool_size"));
    weir_runtime_destroy(runtime);
}

// Everything accepted before a flush that said 0 was read by the peer process; whoever logs.
static void flush_tells_the_truth(void **unused)
{
    (void)unused;
    for (uint32_t workers = 0; workers <= 2; workers++) {
        struct weir_runtime *runtime = test_runtime_create(workers, NULL);
        struct collector *collector = collector_start(COLLECTOR_UNIX, NULL, 0, true, true);
        struct weir_pool_options options;
        test_pool_options(&options, collector_endpoint(collector));
        options.flush_interval_ms = 10000; // only the flush sends
        options.pool_size = 2;
        struct weir_pool *pool = test_pool_open(runtime, &options);
        uint64_t random = test_seed();
        size_t bytes = 0;
        for (uint32_t i = 0; i < test_times(100); i++) {
            uint32_t count = 1 + (uint32_t)(test_random(&random) % 100);
            assert_int_equal(test_pool_log(pool, 1 + i % 5, 0, 0, count, 100), count);
            bytes += count * (size_t)101;
            assert_int_equal(weir_pool_flush(pool, 20000), 0);
            assert_int_equal(collector_bytes(collector), bytes);
            struct weir_metrics metrics;
            test_pool_books(pool, &metrics);
            assert_int_equal(metrics.held_messages, 0);
        }
        assert_int_equal(weir_pool_close(pool, 5000), 0);
        weir_pool_destroy(pool);
        weir_runtime_destroy(runtime);
        collector_free(collector);
    }
}

// A reservation made before the flush belongs to it.
static void flush_waits_for_a_slot(void **unused)
{
    (void)unused;
    struct weir_runtime *runtime = test_runtime_create(1, NULL);
    struct collector *collector = collector_start(COLLECTOR_UNIX, NULL, 0, true, true);
    struct weir_pool_options options;
    test_pool_options(&options, collector_endpoint(collector));
    struct weir_pool *pool = test_pool_open(runtime, &options);
    struct weir_slot slot;
    assert_int_equal(weir_reserve(pool, NULL, 100, &slot), 0);
    assert_int_equal(weir_pool_flush(pool, 200), WEIR_ETIMEOUT);
    weir_abandon(pool, &slot);
    assert_int_equal(weir_pool_flush(pool, 5000), 0); // dropped is settled, too
    struct weir_metrics metrics;
    test_pool_books(pool, &metrics);
    assert_int_equal(metrics.dropped_messages[WEIR_DROPPED_ABANDONED], 1);
    assert_int_equal(weir_pool_close(pool, 5000), 0);
    weir_pool_destroy(pool);
    weir_runtime_destroy(runtime);
    collector_free(collector);
}

static void *flush_main(void *argument)
{
    return (void *)(intptr_t)weir_pool_flush(argument, 60000);
}

// A flush that is under way when the pool is closed comes back, with the truth.
static void close_ends_a_flush(void **unused)
{
    (void)unused;
    struct weir_runtime *runtime = test_runtime_create(1, NULL);
    struct collector *collector = collector_start(COLLECTOR_UNIX, NULL, 0, true, false);
    struct weir_pool_options options;
    test_pool_options(&options, collector_endpoint(collector));
    struct weir_pool *pool = test_pool_open(runtime, &options);
    assert_int_equal(test_pool_log(pool, 0, 0, 0, 10, 100), 10);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, flush_main, pool), 0);
    }
    test_pause_us(100000);
    uint64_t begin_ns = test_now_ns();
    assert_int_equal(weir_pool_close(pool, 100), WEIR_ETIMEOUT);
    for (int i = 0; i < 3; i++) {
        void *result;
        assert_int_equal(pthread_join(threads[i], &result), 0);
        // Everything was dropped, or that is not known yet.
        assert_true((intptr_t)result == 0 || (intptr_t)result == WEIR_ECLOSED);
    }
    assert_true(test_now_ns() - begin_ns < UINT64_C(20000000000));
    weir_pool_destroy(pool);
    weir_runtime_destroy(runtime);
    collector_free(collector);
}

static void writers_share_by_key(void **unused)
{
    (void)unused;
    struct weir_runtime *runtime = test_runtime_create(2, NULL);
    struct collector *collector = collector_start(COLLECTOR_UNIX, NULL, 0, true, true);
    struct weir_pool_options options;
    test_pool_options(&options, collector_endpoint(collector));
    options.pool_size = 4;
    options.buffer_bytes_max = 8 << 20;
    struct weir_pool *pool = test_pool_open(runtime, &options);
    for (uint32_t key = 1; key <= 64; key++) {
        assert_int_equal(test_pool_log(pool, key, key - 1, 0, 20, 60), 20);
    }
    assert_int_equal(weir_pool_close(pool, 10000), 0);
    struct weir_metrics metrics;
    test_pool_books(pool, &metrics);
    assert_int_equal(metrics.writers, 4);
    assert_int_equal(metrics.confirmed_messages, 64 * 20);
    collector_stop(collector);
    // Four connections; each key in one of them, in order.
    assert_int_equal(collector_connections(collector), 4);
    struct collector_tally tally;
    collector_count(collector, 64, 20, &tally);
    free(tally.seen);
    assert_null(tally.wrong);
    assert_int_equal(tally.distinct, 64 * 20);
    assert_int_equal(tally.repeated, 0);
    for (size_t i = 0; i < 4; i++) {
        size_t bytes;
        free(collector_copy(collector, i, &bytes));
        assert_true(bytes > 0);
    }
    weir_pool_destroy(pool);
    weir_runtime_destroy(runtime);
    collector_free(collector);
}

// ---- Many threads ----

struct order_thread {
    struct weir_pool *pool;
    uint32_t thread, count;
    bool by_key;
    uint32_t accepted;
};

static void *order_main(void *argument)
{
    struct order_thread *me = argument;
    char message[64];
    struct weir_log_options options = {me->by_key ? me->thread + 1 : 0, WEIR_SEVERITY_DEFAULT};
    struct weir_iovec part = {message, sizeof(message)};
    for (uint32_t i = 0; i < me->count; i++) {
        collector_message(message, me->thread, i, sizeof(message));
        me->accepted += weir_logv(me->pool, &options, &part, 1) == 0 ? 1 : 0;
    }
    return NULL;
}

#define THREADS 8

static void order_of_threads(uint32_t pool_size, bool by_key, uint32_t count,
                             const struct collector_plan *plans, size_t plans_count)
{
    struct weir_runtime *runtime = test_runtime_create(2, NULL);
    struct collector *collector = collector_start(COLLECTOR_UNIX, plans, plans_count, true, true);
    struct weir_pool_options options;
    test_pool_options(&options, collector_endpoint(collector));
    options.pool_size = pool_size;
    options.buffer_bytes_max = pool_size << 20;
    options.flush_limit_bytes = 16 << 10;
    options.full = WEIR_FULL_BLOCK;
    struct weir_pool *pool = test_pool_open(runtime, &options);
    pthread_t threads[THREADS];
    struct order_thread arguments[THREADS];
    for (uint32_t i = 0; i < THREADS; i++) {
        arguments[i] = (struct order_thread){pool, i, count, by_key, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, order_main, &arguments[i]), 0);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(arguments[i].accepted, count);
    }
    assert_int_equal(weir_pool_close(pool, 60000), 0);
    struct weir_metrics metrics;
    test_pool_books(pool, &metrics);
    assert_int_equal(metrics.confirmed_messages, (uint64_t)THREADS * count);
    collector_stop(collector);
    struct collector_tally tally;
    collector_count(collector, THREADS, count, &tally);
    free(tally.seen);
    if (tally.wrong != NULL) {
        fail_msg("%s", tally.wrong);
    }
    assert_int_equal(tally.distinct, (uint64_t)THREADS * count);
    assert_true(plans_count > 0 || tally.repeated == 0);
    weir_pool_destroy(pool);
    weir_runtime_destroy(runtime);
    collector_free(collector);
}

static void eight_threads_one_writer(void **unused)
{
    (void)unused;
    order_of_threads(1, false, 100000, NULL, 0);
}

static void eight_threads_four_writers(void **unused)
{
    (void)unused;
    order_of_threads(4, false, 100000, NULL, 0);
    order_of_threads(4, true, 20000, NULL, 0);
}

// The same while the collector keeps dying.
static void eight_threads_and_breaks(void **unused)
{
    (void)unused;
    struct collector_plan plans[9] = {{0}};
    for (int i = 0; i < 8; i++) {
        plans[i] = (struct collector_plan){.then = COLLECTOR_CLOSE,
                                           .then_bytes = 1000 + 40000 * (size_t)i};
    }
    order_of_threads(1, false, 10000, plans, 9);
    order_of_threads(4, false, 10000, plans, 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_lives),
        cmocka_unit_test(destroy_of_nothing),
        cmocka_unit_test(refused_options),
        cmocka_unit_test(flush_tells_the_truth),
        cmocka_unit_test(flush_waits_for_a_slot),
        cmocka_unit_test(close_ends_a_flush),
        cmocka_unit_test(writers_share_by_key),
        cmocka_unit_test(eight_threads_one_writer),
        cmocka_unit_test(eight_threads_four_writers),
        cmocka_unit_test(eight_threads_and_breaks),
    };
    cmocka_set_test_filter(getenv("WEIR_TEST_FILTER"));
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
