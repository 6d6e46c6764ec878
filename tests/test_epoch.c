// Tests of writer/epoch.c: proofs by end of stream, what they save, and what they must not cost.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support_pool.h"

#define SECOND_NS UINT64_C(1000000000)
#define LINE_BYTES 101 // a message of 100 and its newline

struct bench {
    struct weir_runtime *runtime;
    struct collector *collector;
    struct weir_pool_options options;
    struct weir_pool *pool;
};

// Epochs of 32 KiB that do not get old.
static void bench_start(struct bench *bench, uint32_t workers, enum collector_kind kind,
                        const struct collector_plan *plans, size_t plans_count)
{
    memset(bench, 0, sizeof(*bench));
    bench->runtime = test_runtime_create(workers, NULL);
    bench->collector = collector_start(kind, plans, plans_count, true, true);
    test_pool_options(&bench->options, collector_endpoint(bench->collector));
    bench->options.epoch_bytes_max = 32 << 10;
    bench->options.epoch_interval_ms = 600000;
}

static void bench_open(struct bench *bench)
{
    bench->pool = test_pool_open(bench->runtime, &bench->options);
}

static void bench_end(struct bench *bench)
{
    weir_pool_destroy(bench->pool);
    weir_runtime_destroy(bench->runtime);
    collector_free(bench->collector);
}

static void bench_close(struct bench *bench, uint64_t timeout_ms, int verdict,
                        struct weir_metrics *metrics)
{
    assert_int_equal(weir_pool_close(bench->pool, timeout_ms), verdict);
    test_pool_books(bench->pool, metrics);
    assert_int_equal(metrics->held_messages, 0);
    assert_int_equal(metrics->writers_connected, 0);
    collector_stop(bench->collector);
}

static void log_numbers(struct bench *bench, uint32_t from, uint32_t count)
{
    assert_int_equal(test_pool_log(bench->pool, 0, 0, from, count, 100), count);
}

// How many of 0..count-1 arrived; nothing damaged or out of order.
static uint64_t distinct_of(struct bench *bench, uint32_t count)
{
    struct collector_tally tally;
    collector_count(bench->collector, 1, count, &tally);
    free(tally.seen);
    assert_null(tally.wrong);
    return tally.distinct;
}

// ---- Proofs ----

// Every connection brings whole messages, and the next goes on where it stopped.
static void check_continuity(struct collector *collector, uint32_t count)
{
    uint32_t next = 0;
    for (size_t i = 0; i < collector_connections(collector); i++) {
        size_t bytes;
        char *copy = collector_copy(collector, i, &bytes);
        assert_int_equal(bytes % LINE_BYTES, 0);
        for (size_t at = 0; at < bytes; at += LINE_BYTES) {
            char expected[100];
            collector_message(expected, 0, next++, sizeof(expected));
            assert_memory_equal(copy + at, expected, sizeof(expected));
        }
        free(copy);
    }
    assert_int_equal(next, count);
}

static void many_epochs_bring_all_once(uint32_t workers)
{
    struct bench bench;
    bench_start(&bench, workers, COLLECTOR_TCP, NULL, 0);
    bench_open(&bench);
    uint32_t count = workers == 0 ? 4000 : (uint32_t)test_times(20000) / 100 * 100;
    for (uint32_t i = 0; i < count; i++) {
        while (test_pool_log(bench.pool, 0, 0, i, 1, 100) == 0) { // full: let it be sent
            if (workers == 0) {
                (void)weir_turn(bench.runtime, 64, 1000000);
            } else {
                test_pause_us(1000);
            }
        }
    }
    struct weir_metrics metrics;
    bench_close(&bench, 60000, 0, &metrics);
    assert_int_equal(metrics.confirmed_messages, count);
    assert_int_equal(metrics.disconnects, 0);
    assert_int_equal(metrics.resent_messages, 0);
    // An epoch ends at the first boundary at or after its 32 KiB: 325 messages.
    assert_int_equal(metrics.epochs, (count - 1) / 325);
    assert_int_equal(collector_connections(bench.collector), metrics.epochs + 1);
    assert_int_equal(metrics.connects, metrics.epochs + 1);
    check_continuity(bench.collector, count);
    bench_end(&bench);
}

static void epochs_bring_all_once(void **unused)
{
    (void)unused;
    many_epochs_bring_all_once(1);
    many_epochs_bring_all_once(0);
}

// What is only acknowledged is not confirmed: only whole proven connections are.
static void confirmed_means_proven(void **unused)
{
    (void)unused;
    struct collector_plan plan = {.hold_open = true};
    struct bench bench;
    bench_start(&bench, 1, COLLECTOR_TCP, &plan, 1);
    bench.options.stall_timeout_ms = 60000;
    bench_open(&bench);
    log_numbers(&bench, 0, 1000);
    struct weir_metrics metrics;
    for (uint32_t epoch = 0; epoch < 3; epoch++) {
        // Read and at its end, and not answered.
        assert_true(collector_wait_bytes(bench.collector, (epoch + 1) * 325 * LINE_BYTES));
        while (collector_ends(bench.collector) <= epoch) {
            test_pause_us(1000);
        }
        test_pause_us(100000);
        test_pool_books(bench.pool, &metrics);
        assert_int_equal(metrics.confirmed_messages, epoch * 325);
        assert_int_equal(metrics.epochs, epoch);
        assert_int_equal(collector_ends(bench.collector), epoch + 1);
        collector_resume(bench.collector);
        test_pool_wait_for(bench.pool, confirmed_messages, (epoch + 1) * 325);
    }
    // The rest is less than an epoch, which does not end by itself.
    assert_true(collector_wait_bytes(bench.collector, 1000 * LINE_BYTES));
    test_pause_us(200000);
    test_pool_books(bench.pool, &metrics);
    assert_int_equal(metrics.confirmed_messages, 975);
    assert_int_equal(weir_pool_flush(bench.pool, 100), WEIR_ETIMEOUT);
    collector_resume(bench.collector);
    assert_int_equal(weir_pool_flush(bench.pool, 10000), 0);
    test_pool_books(bench.pool, &metrics);
    assert_int_equal(metrics.confirmed_messages, 1000);
    assert_int_equal(test_pool_arrived(bench.collector, 1000), 0);
    bench_end(&bench);
}

// ---- Peers that die ----

// A collector that closes over what its kernel has acknowledged, twelve times.
static uint64_t run_resets(struct bench *bench, uint64_t epoch_bytes_max, int verdict,
                           struct weir_metrics *metrics)
{
    static const struct collector_plan plans[13] = {
#define RESET(bytes) {.then = COLLECTOR_CLOSE, .then_bytes = (bytes), .then_wait_unread = true}
        RESET(5000), RESET(1),     RESET(20000), RESET(12345), RESET(30000), RESET(7), RESET(9999),
        RESET(101),  RESET(31000), RESET(15000), RESET(2020),  RESET(8080),  {0}
#undef RESET
    };
    bench_start(bench, 1, COLLECTOR_TCP, plans, 13);
    bench->options.epoch_bytes_max = epoch_bytes_max;
    bench_open(bench);
    for (uint32_t at = 0; at < 10000; at += 50) {
        log_numbers(bench, at, 50);
        test_pause_us(2000);
    }
    assert_true(collector_wait_connections(bench->collector, 13));
    bench_close(bench, 20000, verdict, metrics);
    assert_int_equal(metrics->confirmed_messages, 10000);
    // With epochs they get shorter, so that some of these peers live to the end of one.
    assert_true(metrics->disconnects >= (epoch_bytes_max == 0 ? 12 : 4));
    return distinct_of(bench, 10000);
}

static void resets_lose_nothing(void **unused)
{
    (void)unused;
    struct bench bench;
    struct weir_metrics metrics;
    assert_int_equal(run_resets(&bench, 32 << 10, 0, &metrics), 10000);
    assert_true(metrics.resent_messages > 0);
    bench_end(&bench);
    // Without epochs the same peer loses what it had acknowledged, and close does not hide it.
    uint64_t distinct = run_resets(&bench, 0, WEIR_EUNPROVEN, &metrics);
    print_message("without epochs %lu of 10000 arrive\n", (unsigned long)distinct);
    assert_true(distinct < 10000);
    assert_int_equal(metrics.epochs, 0);
    bench_end(&bench);
}

// A collector that never lives to the end of a full epoch: they get shorter until they fit.
static void peer_dies_before_every_proof(void **unused)
{
    (void)unused;
    struct collector_plan plan = {.then = COLLECTOR_CLOSE, .then_bytes = 10000,
                                  .then_wait_unread = true};
    struct bench bench;
    bench_start(&bench, 1, COLLECTOR_TCP, &plan, 1);
    bench.options.epoch_bytes_max = 256 << 10;
    bench_open(&bench);
    log_numbers(&bench, 0, 3000);
    struct weir_metrics metrics;
    bench_close(&bench, 60000, 0, &metrics);
    print_message("%lu connections, %lu proven\n", (unsigned long)metrics.connects,
                  (unsigned long)metrics.epochs);
    (void)test_pool_arrived(bench.collector, 3000);
    bench_end(&bench);
}

// The same on a Unix socket, where sends are what must fit.
static void peer_dies_within_every_send(void **unused)
{
    (void)unused;
    static const size_t deaths[] = {10000, 3333, 700};
    for (int i = 0; i < 3; i++) {
        struct collector_plan plan = {.then = COLLECTOR_CLOSE, .then_bytes = deaths[i],
                                      .then_wait_unread = true};
        struct bench bench;
        bench_start(&bench, 1, COLLECTOR_UNIX, &plan, 1);
        bench_open(&bench);
        uint32_t count = (uint32_t)deaths[i] / 5;
        log_numbers(&bench, 0, count);
        struct weir_metrics metrics;
        bench_close(&bench, 60000, 0, &metrics);
        print_message("%lu connections\n", (unsigned long)metrics.connects);
        (void)test_pool_arrived(bench.collector, count);
        bench_end(&bench);
    }
}

// A peer that had read everything when it closed has proven that, though nobody asked.
static void an_end_by_itself_is_a_proof(void **unused)
{
    (void)unused;
    struct collector_plan plans[2] = {{.then = COLLECTOR_CLOSE, .then_bytes = 50 * LINE_BYTES},
                                      {0}};
    struct bench bench;
    bench_start(&bench, 1, COLLECTOR_TCP, plans, 2);
    bench_open(&bench);
    log_numbers(&bench, 0, 50);
    test_pool_wait_for(bench.pool, disconnects, 1);
    test_pool_wait_for(bench.pool, confirmed_messages, 50);
    test_pool_wait_for(bench.pool, connects, 2);
    log_numbers(&bench, 50, 50);
    struct weir_metrics metrics;
    bench_close(&bench, 10000, 0, &metrics);
    assert_int_equal(metrics.resent_messages, 0);
    assert_int_equal(test_pool_arrived(bench.collector, 100), 0);
    bench_end(&bench);
}

// While the writer waits to see whether a reset follows, the epoch gets old; that is no reason to
// stay awake. Found by the simulator.
static void an_old_epoch_does_not_keep_it_awake(void **unused)
{
    (void)unused;
    struct weir_metrics metrics = {0};
    // On a busy machine the epoch is over before the collector has read it all: then once more.
    for (int try = 0; try < 100 && metrics.disconnects == 0; try++) {
        struct collector_plan plans[2] = {{.then = COLLECTOR_CLOSE, .then_bytes = 50 * LINE_BYTES},
                                          {0}};
        struct bench bench;
        bench_start(&bench, 1, COLLECTOR_TCP, plans, 2);
        bench.options.epoch_interval_ms = 10;
        bench_open(&bench);
        test_pool_wait_for(bench.pool, connects, 1);
        uint64_t polls = test_pool_polls(bench.runtime);
        log_numbers(&bench, 0, 50);
        do {
            test_pause_us(1000);
            weir_pool_stats(bench.pool, &metrics);
        } while (metrics.disconnects == 0 && metrics.epochs == 0);
        assert_in_range(test_pool_polls(bench.runtime) - polls, 1, 200);
        bench_close(&bench, 10000, 0, &metrics);
        bench_end(&bench);
    }
    assert_int_not_equal(metrics.disconnects, 0);
}

// A peer that never ends its side is asked once, and then taken at its kernel's word.
static void peer_refuses_epochs(void **unused)
{
    (void)unused;
    struct collector_plan plan = {.hold_open = true};
    struct bench bench;
    bench_start(&bench, 1, COLLECTOR_TCP, &plan, 1);
    bench.options.stall_timeout_ms = 300;
    bench_open(&bench);
    for (uint32_t i = 0; i < 5; i++) {
        log_numbers(&bench, i * 1000, 1000);
        assert_int_equal(weir_pool_flush(bench.pool, 20000), 0);
        assert_true(collector_wait_bytes(bench.collector, (i + 1) * 1000 * LINE_BYTES));
    }
    struct weir_metrics metrics;
    bench_close(&bench, 500, WEIR_EUNPROVEN, &metrics);
    assert_int_equal(metrics.confirmed_messages, 5000);
    assert_int_equal(metrics.resent_messages, 0);
    assert_int_equal(metrics.epochs, 0); // none was proven
    assert_int_equal(metrics.connects, 2);
    assert_int_equal(test_pool_arrived(bench.collector, 5000), 0);
    bench_end(&bench);
}

// ---- When ----

struct steady {
    struct weir_pool *pool;
    _Atomic uint32_t logged;
    _Atomic bool over;
};

static void *steady_main(void *argument)
{
    struct steady *steady = argument;
    for (uint32_t i = 0; !atomic_load(&steady->over) && i < 1000000; i++) {
        while (test_pool_log(steady->pool, 0, 0, i, 1, 100) == 0) {
            test_pause_us(1000);
        }
        atomic_store(&steady->logged, i + 1);
        if (i % 10 == 0) {
            test_pause_us(500);
        }
    }
    return NULL;
}

// While others go on logging, a flush ends in time, and everything from before it has been read.
static void flush_proves(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench, 1, COLLECTOR_TCP, NULL, 0);
    bench.options.epoch_bytes_max = 1 << 20;
    bench_open(&bench);
    struct steady steady = {.pool = bench.pool};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, steady_main, &steady), 0);
    for (int i = 0; i < 20; i++) {
        test_pause_us(10000);
        uint32_t logged = atomic_load(&steady.logged);
        assert_int_equal(weir_pool_flush(bench.pool, 20000), 0);
        if (logged > 0) {
            struct collector_tally tally;
            collector_count(bench.collector, 1, 1000000, &tally);
            assert_null(tally.wrong);
            for (uint32_t number = 0; number < logged; number++) {
                assert_int_equal(tally.seen[number], 1);
            }
            free(tally.seen);
        }
    }
    atomic_store(&steady.over, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    uint32_t logged = atomic_load(&steady.logged);
    struct weir_metrics metrics;
    bench_close(&bench, 20000, 0, &metrics);
    assert_true(metrics.epochs >= 1);
    assert_int_equal(metrics.disconnects, 0);
    assert_int_equal(test_pool_arrived(bench.collector, logged), 0);
    bench_end(&bench);
}

// A few messages are proven once the epoch is old; in idle connections do not come and go.
static void old_epochs_end(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench, 1, COLLECTOR_TCP, NULL, 0);
    bench.options.epoch_interval_ms = 500;
    bench_open(&bench);
    test_pool_wait_for(bench.pool, connects, 1);
    struct weir_metrics metrics;
    for (uint32_t round = 1; round <= 2; round++) {
        uint64_t begin_ns = test_now_ns();
        log_numbers(&bench, (round - 1) * 10, 10);
        test_pool_wait_for(bench.pool, confirmed_messages, round * 10);
        uint64_t took_ns = test_now_ns() - begin_ns;
        assert_in_range(took_ns, SECOND_NS / 2, 5 * SECOND_NS);
        test_pool_wait_for(bench.pool, connects, round + 1);
        test_pause_us(1500000);
        weir_pool_stats(bench.pool, &metrics);
        assert_int_equal(metrics.epochs, round);
        assert_int_equal(metrics.connects, round + 1);
    }
    uint64_t polls = test_pool_polls(bench.runtime);
    test_pause_us(600000);
    assert_int_equal(test_pool_polls(bench.runtime) - polls, 0); // deep idle all the same
    bench_close(&bench, 5000, 0, &metrics);
    assert_int_equal(metrics.disconnects, 0);
    assert_int_equal(test_pool_arrived(bench.collector, 20), 0);
    bench_end(&bench);
}

// Segments that hold one message each use the row up long before their bytes make an epoch.
static void tiny_segments_do_not_fill_the_row(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench, 1, COLLECTOR_TCP, NULL, 0);
    bench.options.flush_interval_ms = 1;
    bench.options.buffer_bytes_max = 64 << 10;
    bench.options.epoch_bytes_max = 1 << 20;
    bench.options.full = WEIR_FULL_BLOCK; // for good, if nothing ended the epoch
    bench_open(&bench);
    uint64_t begin_ns = test_now_ns();
    for (uint32_t i = 0; i < 150; i++) {
        log_numbers(&bench, i, 1);
        test_pause_us(4000);
    }
    assert_true(test_now_ns() - begin_ns < 60 * SECOND_NS);
    struct weir_metrics metrics;
    bench_close(&bench, 10000, 0, &metrics);
    print_message("%lu epochs\n", (unsigned long)metrics.epochs);
    assert_true(metrics.epochs >= 3);
    assert_int_equal(metrics.disconnects, 0);
    assert_int_equal(test_pool_arrived(bench.collector, 150), 0);
    bench_end(&bench);
}

// ---- In the middle of a rotation ----

// Into the state in which everything is sent and read and the peer's end does not come.
static void start_rotation(struct bench *bench, const struct collector_plan *plans,
                           size_t plans_count)
{
    bench_start(bench, 1, COLLECTOR_TCP, plans, plans_count);
    bench->options.stall_timeout_ms = 60000;
    bench_open(bench);
    log_numbers(bench, 0, 500); // the first epoch has 325
    for (int i = 0; i < 10000 && collector_ends(bench->collector) == 0; i++) {
        test_pause_us(1000);
    }
}

static void *resume_main(void *argument)
{
    test_pause_us(200000);
    collector_resume(argument);
    return NULL;
}

static void close_during_a_rotation(void **unused)
{
    (void)unused;
    struct collector_plan plans[2] = {{.hold_open = true}, {0}};
    struct bench bench;
    struct weir_metrics metrics;
    start_rotation(&bench, plans, 2);
    assert_int_equal(collector_ends(bench.collector), 1);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, resume_main, bench.collector), 0);
    bench_close(&bench, 20000, 0, &metrics);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(metrics.confirmed_messages, 500);
    assert_int_equal(metrics.disconnects, 0);
    assert_int_equal(test_pool_arrived(bench.collector, 500), 0);
    bench_end(&bench);

    // The time is over before the proof is there: the rest is dropped, and it is told.
    start_rotation(&bench, plans, 2);
    bench_close(&bench, 200, WEIR_ETIMEOUT, &metrics);
    assert_int_equal(metrics.confirmed_messages, 325); // acknowledged, as at any end
    assert_int_equal(metrics.dropped_messages[WEIR_DROPPED_DEADLINE], 175);
    bench_end(&bench);
}

// Everything was sent when the epoch ended, then the pool is closed: one proof serves both.
static void close_after_the_last_rotation(void **unused)
{
    (void)unused;
    struct collector_plan plans[2] = {{.hold_open = true}, {0}};
    struct bench bench;
    bench_start(&bench, 1, COLLECTOR_TCP, plans, 2);
    bench_open(&bench);
    log_numbers(&bench, 0, 10);
    assert_int_equal(weir_pool_flush(bench.pool, 200), WEIR_ETIMEOUT);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, resume_main, bench.collector), 0);
    struct weir_metrics metrics;
    bench_close(&bench, 20000, 0, &metrics);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(metrics.confirmed_messages, 10);
    assert_int_equal(test_pool_arrived(bench.collector, 10), 0);
    bench_end(&bench);
}

// The proof comes and then nobody listens for a while.
static void collector_gone_after_the_proof(void **unused)
{
    (void)unused;
    struct collector_plan plans[2] = {{.hold_open = true}, {0}};
    struct bench bench;
    struct weir_metrics metrics;
    start_rotation(&bench, plans, 2);
    collector_listen(bench.collector, false);
    collector_resume(bench.collector);
    test_pool_wait_for(bench.pool, faults[WEIR_FAULT_CONNECT], 3);
    test_pool_books(bench.pool, &metrics);
    assert_int_equal(metrics.confirmed_messages, 325);
    assert_int_equal(metrics.epochs, 1);
    collector_listen(bench.collector, true);
    bench_close(&bench, 20000, 0, &metrics);
    assert_int_equal(metrics.resent_messages, 0);
    assert_int_equal(test_pool_arrived(bench.collector, 500), 0);
    bench_end(&bench);
}

// It dies over unread data after we have ended the stream: the whole epoch goes out again.
static void collector_dies_during_a_rotation(void **unused)
{
    (void)unused;
    struct collector_plan plans[2] = {{.then = COLLECTOR_STALL, .then_bytes = 1000}, {0}};
    struct bench bench;
    struct weir_metrics metrics;
    bench_start(&bench, 1, COLLECTOR_TCP, plans, 2);
    bench_open(&bench);
    log_numbers(&bench, 0, 500);
    assert_true(collector_wait_bytes(bench.collector, 1000));
    test_pause_us(300000); // the epoch is sent, acknowledged and ended
    weir_pool_stats(bench.pool, &metrics);
    assert_int_equal(metrics.confirmed_messages, 0);
    assert_int_equal(metrics.sent_bytes, 325 * LINE_BYTES);
    collector_cut(bench.collector);
    bench_close(&bench, 20000, 0, &metrics);
    assert_int_equal(metrics.disconnects, 1);
    assert_int_equal(metrics.resent_messages, 325);
    assert_int_equal(test_pool_arrived(bench.collector, 500), 9); // the whole ones it had read
    bench_end(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(epochs_bring_all_once),
        cmocka_unit_test(confirmed_means_proven),
        cmocka_unit_test(resets_lose_nothing),
        cmocka_unit_test(peer_dies_before_every_proof),
        cmocka_unit_test(peer_dies_within_every_send),
        cmocka_unit_test(an_end_by_itself_is_a_proof),
        cmocka_unit_test(an_old_epoch_does_not_keep_it_awake),
        cmocka_unit_test(peer_refuses_epochs),
        cmocka_unit_test(flush_proves),
        cmocka_unit_test(old_epochs_end),
        cmocka_unit_test(tiny_segments_do_not_fill_the_row),
        cmocka_unit_test(close_during_a_rotation),
        cmocka_unit_test(close_after_the_last_rotation),
        cmocka_unit_test(collector_gone_after_the_proof),
        cmocka_unit_test(collector_dies_during_a_rotation),
    };
    cmocka_set_test_filter(getenv("WEIR_TEST_FILTER"));
    return cmocka_run_group_tests_name("epoch", tests, NULL, NULL);
}
