// Tests of writer/session.c: messages of every kind, many writers, servers by chance.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support_session.h"

// ---- Messages ----

static void expect_message(struct session_bench *bench, size_t n, const void *bytes, size_t count)
{
    struct relp_frame frame;
    relp_server_message(bench->server, 0, n, &frame);
    assert_int_equal(frame.data_bytes, count);
    assert_memory_equal(frame.data, bytes, count);
}

static void any_bytes_arrive_as_they_are(void **unused)
{
    (void)unused;
    static const char *const texts[] = {"\n", "a\n", "\na", "two\nlines", "1 close 0\n", " ", "x"};
    unsigned char all[256];
    for (size_t i = 0; i < sizeof(all); i++) {
        all[i] = (unsigned char)i;
    }
    struct session_bench bench;
    session_bench_run(&bench, NULL, 0);
    for (size_t i = 0; i < 7; i++) {
        assert_int_equal(weir_log(bench.pool, texts[i], strlen(texts[i])), 0);
    }
    assert_int_equal(weir_log(bench.pool, all, sizeof(all)), 0);
    assert_int_equal(weir_log(bench.pool, all, 1), 0); // a zero
    struct weir_metrics metrics;
    session_bench_close(&bench, SESSION_CLOSE_MS, 0, &metrics);
    for (size_t i = 0; i < 7; i++) {
        expect_message(&bench, i, texts[i], strlen(texts[i]));
    }
    expect_message(&bench, 7, all, sizeof(all));
    expect_message(&bench, 8, all, 1);
    assert_int_equal(metrics.confirmed_messages, 9);
    session_bench_end(&bench);
}

static void empty_and_abandoned_messages(void **unused)
{
    (void)unused;
    struct session_bench bench;
    session_bench_run(&bench, NULL, 0);
    uint32_t number = 0, abandoned = 0;
    for (uint32_t i = 0; i < 200; i++) {
        struct weir_slot slot;
        assert_int_equal(weir_log(bench.pool, "", 0), -EINVAL);
        assert_int_equal(weir_reserve(bench.pool, NULL, 300, &slot), 0);
        if (i % 3 == 0) {
            weir_abandon(bench.pool, &slot);
            abandoned++;
        } else if (i % 3 == 1) {
            assert_int_equal(weir_commit(bench.pool, &slot, 0), -EINVAL);
            abandoned++;
        } else {
            collector_message((char *)slot.bytes, 0, number++, SESSION_MESSAGE_BYTES);
            assert_int_equal(weir_commit(bench.pool, &slot, SESSION_MESSAGE_BYTES), 0);
        }
        if (i % 5 == 0) {
            session_log(&bench, number++, 1);
        }
    }
    assert_int_equal(weir_pool_flush(bench.pool, SESSION_CLOSE_MS), 0);
    struct weir_metrics metrics;
    session_bench_close(&bench, SESSION_CLOSE_MS, 0, &metrics);
    session_expect_connection(&bench, 0, 0, number - 1); // no hole in the numbers
    assert_int_equal(metrics.confirmed_messages, number);
    assert_int_equal(metrics.dropped_messages[WEIR_DROPPED_ABANDONED], abandoned);
    assert_int_equal(metrics.rejected_messages[WEIR_REJECTED_EMPTY], 200);
    session_bench_end(&bench);
}

// Nothing but abandoned messages: nothing goes out, and flush and close do not wait for answers.
static void only_abandoned_messages(void **unused)
{
    (void)unused;
    struct session_bench bench;
    session_bench_run(&bench, NULL, 0);
    for (uint32_t i = 0; i < 100; i++) {
        struct weir_slot slot;
        assert_int_equal(weir_reserve(bench.pool, NULL, 300, &slot), 0);
        weir_abandon(bench.pool, &slot);
        if (i % 10 == 0) {
            assert_int_equal(weir_pool_flush(bench.pool, SESSION_CLOSE_MS), 0);
        }
    }
    struct weir_metrics metrics;
    session_bench_close(&bench, SESSION_CLOSE_MS, 0, &metrics);
    struct relp_view view;
    relp_server_look_all(bench.server, &view);
    assert_int_equal(view.messages, 0);
    assert_int_equal(metrics.dropped_messages[WEIR_DROPPED_ABANDONED], 100);
    session_bench_end(&bench);
}

// Segments of abandoned messages between others, over a break.
static void abandoned_messages_and_a_break(void **unused)
{
    (void)unused;
    struct relp_plan plans[3] = {{.then = RELP_RESET, .then_received = 20, .mute_from = 4},
                                 {.then = RELP_CLOSE, .then_received = 10, .mute_from = 8},
                                 {0}};
    struct session_bench bench;
    session_bench_start(&bench, 1, plans, 3);
    bench.options.flush_limit_bytes = 512;
    session_bench_open(&bench);
    for (uint32_t i = 0; i < 60; i++) {
        struct weir_slot slots[5];
        for (int s = 0; s < 5; s++) {
            assert_int_equal(weir_reserve(bench.pool, NULL, 200, &slots[s]), 0);
        }
        session_log(&bench, i, 1);
        for (int s = 0; s < 5; s++) {
            weir_abandon(bench.pool, &slots[s]);
        }
    }
    assert_int_equal(weir_pool_flush(bench.pool, SESSION_CLOSE_MS), 0);
    struct weir_metrics metrics;
    session_bench_close(&bench, SESSION_CLOSE_MS, 0, &metrics);
    (void)session_expect_arrived(&bench, 60);
    struct relp_view view;
    relp_server_look(bench.server, 1, &view);
    session_expect_connection(&bench, 1, 3, 3 + view.messages - 1);
    session_expect_connection(&bench, 2, 10, 59);
    assert_int_equal(metrics.confirmed_messages, 60);
    assert_int_equal(metrics.dropped_messages[WEIR_DROPPED_ABANDONED], 300);
    session_bench_end(&bench);
}

static void the_largest_message(void **unused)
{
    (void)unused;
    const uint32_t sizes[] = {4096, 1 << 20};
    for (int i = 0; i < 2; i++) {
        struct relp_plan plans[2] = {{.then = RELP_CLOSE, .then_received = 1, .mute_from = 1}, {0}};
        struct session_bench bench;
        session_bench_start(&bench, 1, plans, 2);
        bench.options.message_bytes_max = sizes[i];
        bench.options.buffer_bytes_max = 16 << 20;
        bench.options.window_bytes = 1000;
        session_bench_open(&bench);
        size_t largest = sizes[i] - (i == 0 ? 23 : 26); // number, syslog, length, newline
        assert_int_equal(test_pool_log(bench.pool, 0, 0, 0, 1, largest), 1);
        char *larger = calloc(1, largest + 1);
        assert_non_null(larger);
        assert_int_equal(weir_log(bench.pool, larger, largest + 1), WEIR_ETOOBIG);
        free(larger);
        assert_int_equal(test_pool_log(bench.pool, 0, 0, 1, 3, largest), 3);
        assert_int_equal(test_pool_log(bench.pool, 0, 0, 4, 1, 24), 1);
        struct weir_metrics metrics;
        session_bench_close(&bench, SESSION_CLOSE_MS, 0, &metrics);
        assert_int_equal(session_expect_arrived(&bench, 5), 1);
        assert_int_equal(metrics.confirmed_messages, 5);
        assert_int_equal(metrics.rejected_messages[WEIR_REJECTED_TOO_BIG], 1);
        struct relp_view view;
        relp_server_look(bench.server, 1, &view);
        assert_int_equal(view.unanswered_max, 1);
        session_bench_end(&bench);
    }
}

// A full buffer: the oldest go, of which nothing was sent, and the books are exact.
static void drop_oldest_behind_a_full_window(void **unused)
{
    (void)unused;
    struct relp_plan plan = {.gated = true};
    struct session_bench bench;
    session_bench_start(&bench, 1, &plan, 1);
    bench.options.full = WEIR_FULL_DROP_OLDEST;
    bench.options.buffer_bytes_max = 2 << 20; // more than the writer takes out at a time
    bench.options.window_messages = 50;
    session_bench_open(&bench);
    session_log(&bench, 0, 50);
    assert_true(relp_server_wait_messages(bench.server, 50));
    assert_int_equal(test_pool_log(bench.pool, 0, 0, 50, 5000, 1000), 5000); // all are taken
    relp_server_allow(bench.server, 1000000);
    struct weir_metrics metrics;
    session_bench_close(&bench, SESSION_CLOSE_MS, 0, &metrics);
    struct relp_tally tally;
    relp_server_tally(bench.server, 1, 5050, &tally);
    assert_null(tally.wrong);
    assert_int_equal(tally.repeated, 0);
    assert_int_equal(tally.distinct, metrics.confirmed_messages);
    assert_true(metrics.dropped_messages[WEIR_DROPPED_OLDEST] > 1000);
    assert_int_equal(tally.distinct + metrics.dropped_messages[WEIR_DROPPED_OLDEST], 5050);
    // What was sent stays, and the newest is the last.
    char expected[1000];
    collector_message(expected, 0, 49, SESSION_MESSAGE_BYTES);
    expect_message(&bench, 49, expected, SESSION_MESSAGE_BYTES);
    collector_message(expected, 0, 5049, sizeof(expected));
    expect_message(&bench, tally.distinct - 1, expected, sizeof(expected));
    session_bench_end(&bench);
}

// ---- Many ----

struct logger {
    pthread_t thread;
    struct weir_pool *pool;
    uint32_t number, count;
};

static void *logger_main(void *argument)
{
    struct logger *logger = argument;
    for (uint32_t i = 0; i < logger->count;) {
        uint32_t some = logger->count - i < 10 ? logger->count - i : 10;
        uint32_t taken = 0;
        while (taken < some) { // full: later
            uint32_t now = test_pool_log(logger->pool, logger->number + 1, logger->number,
                                         i + taken, 1, 30 + (i + taken) * 7 % 500);
            taken += now;
            if (now == 0) {
                test_pause_us(1000);
            }
        }
        i += some;
    }
    return NULL;
}

// Four writers, four threads, and connections that break in every way: each thread's messages
// arrive in its order, and are confirmed because they were answered.
static void four_writers_and_many_breaks(void **unused)
{
    (void)unused;
    struct relp_plan plans[25];
    memset(plans, 0, sizeof(plans));
    for (uint32_t i = 0; i < 24; i++) {
        plans[i].then = (enum relp_then)(RELP_SERVERCLOSE + i % 4);
        plans[i].then_received = 20 + i * 5;
        plans[i].then_answered = 10 + i * 3;
        plans[i].batch = i % 7;
        plans[i].reversed = i % 2 == 0;
    }
    struct session_bench bench;
    session_bench_start(&bench, 2, plans, 25);
    bench.options.pool_size = 4;
    bench.options.retry_interval_ms = bench.options.retry_interval_max_ms = 2;
    session_bench_open(&bench);
    uint32_t count = (uint32_t)test_times(5000);
    struct logger loggers[4];
    for (uint32_t i = 0; i < 4; i++) {
        loggers[i] = (struct logger){.pool = bench.pool, .number = i, .count = count};
        assert_int_equal(pthread_create(&loggers[i].thread, NULL, logger_main, &loggers[i]), 0);
    }
    struct weir_metrics metrics;
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(loggers[i].thread, NULL), 0);
        test_pool_books(bench.pool, &metrics);
        struct relp_view view;
        relp_server_look_all(bench.server, &view); // later than the metrics
        assert_true(metrics.confirmed_messages <= view.accepted);
    }
    session_bench_close(&bench, SESSION_CLOSE_MS, 0, &metrics);
    struct relp_tally tally;
    relp_server_tally(bench.server, 4, count, &tally);
    if (tally.wrong != NULL) {
        fail_msg("server: %s", tally.wrong);
    }
    assert_int_equal(tally.distinct, 4 * count);
    assert_int_equal(tally.accepted, 4 * count);
    assert_int_equal(metrics.confirmed_messages, 4 * count);
    print_message("%lu connections, %lu resent\n", (unsigned long)metrics.connects,
                  (unsigned long)metrics.resent_messages);
    session_bench_end(&bench);
}

// A plan by chance; `violating` ones too.
static void plan_choose(struct relp_plan *plan, uint64_t *random)
{
    static const char *const raws[] = {"2 rsp 6 200 OK\n", "0 hint 0\n",        "?",
                                       "7 rsp 0\n",        "0 serverclose 0\n", "3 rsp 6 20"};
    *plan = (struct relp_plan){0};
    if (test_random(random) % 6 == 0) {
        plan->open = (enum relp_open)(test_random(random) % (RELP_OPEN_TORN + 1));
        plan->open_late_ms = (uint32_t)(test_random(random) % 50);
        plan->raw = plan->open == RELP_OPEN_RAW ? raws[test_random(random) % 6] : NULL;
    }
    if (test_random(random) % 4 == 0) {
        plan->batch = (uint32_t)(test_random(random) % 50);
        plan->reversed = test_random(random) % 2 == 0;
    }
    if (plan->raw == NULL && test_random(random) % 3 == 0) {
        plan->raw = raws[test_random(random) % 6];
        plan->raw_at = 1 + (uint32_t)(test_random(random) % 100);
    }
    if (test_random(random) % 4 == 0) {
        plan->refuse_at = 1 + (uint32_t)(test_random(random) % 100);
    }
    if (test_random(random) % 4 == 0) {
        plan->mute_from = 1 + (uint32_t)(test_random(random) % 100);
    }
    plan->then = (enum relp_then)(test_random(random) % (RELP_RESET + 1));
    plan->then_received = (uint32_t)(test_random(random) % 100);
    plan->then_answered = (uint32_t)(test_random(random) % 50);
    plan->slow_bytes = test_random(random) % 8 == 0 ? 1 + test_random(random) % 3000 : 0;
    plan->stall_bytes = test_random(random) % 8 == 0 ? 1 + test_random(random) % 20000 : 0;
}

static void random_servers_lose_nothing(void **unused)
{
    (void)unused;
    uint64_t random = test_seed();
    uint64_t rounds = test_times(40);
    for (uint64_t round = 0; round < rounds; round++) {
        struct relp_plan plans[7];
        memset(plans, 0, sizeof(plans));
        for (int i = 0; i < 6; i++) {
            plan_choose(&plans[i], &random);
        }
        struct session_bench bench;
        session_bench_start(&bench, (uint32_t)(test_random(&random) % 2), plans, 7);
        bench.options.refused =
            test_random(&random) % 2 == 0 ? WEIR_REFUSED_RETRY : WEIR_REFUSED_DROP;
        bench.options.window_messages = 1 + (uint32_t)(test_random(&random) % 200);
        bench.options.window_bytes = 1 + (uint32_t)(test_random(&random) % 20000);
        bench.options.flush_limit_bytes = 1 + (uint32_t)(test_random(&random) % 8000);
        bench.options.answer_timeout_ms = 150;
        bench.options.connect_timeout_ms = 150;
        bench.options.retry_interval_ms = bench.options.retry_interval_max_ms = 2;
        session_bench_open(&bench);
        uint32_t count = 100 + (uint32_t)(test_random(&random) % 400);
        for (uint32_t i = 0; i < count; i++) {
            size_t length = 24 + test_random(&random) % (test_random(&random) % 8 == 0 ? 3000 : 99);
            assert_int_equal(test_pool_log(bench.pool, 0, 0, i, 1, length), 1);
        }
        if (test_random(&random) % 2 == 0) {
            assert_int_equal(weir_pool_flush(bench.pool, SESSION_CLOSE_MS), 0);
        }
        struct weir_metrics metrics;
        assert_int_equal(weir_pool_close(bench.pool, SESSION_CLOSE_MS), 0);
        test_pool_books(bench.pool, &metrics);
        relp_server_stop(bench.server);
        session_check_server(bench.server);
        (void)session_expect_arrived(&bench, count);
        struct relp_tally tally;
        relp_server_tally(bench.server, 1, count, &tally);
        // Two of the raw bytes may be an answer to a message that is not answered otherwise.
        assert_true(metrics.confirmed_messages <= tally.accepted + 6);
        assert_true(metrics.dropped_messages[WEIR_DROPPED_REFUSED] <= tally.refused + 6);
        assert_int_equal(
            metrics.confirmed_messages + metrics.dropped_messages[WEIR_DROPPED_REFUSED], count);
        session_bench_end(&bench);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_bytes_arrive_as_they_are),
        cmocka_unit_test(empty_and_abandoned_messages),
        cmocka_unit_test(only_abandoned_messages),
        cmocka_unit_test(abandoned_messages_and_a_break),
        cmocka_unit_test(the_largest_message),
        cmocka_unit_test(drop_oldest_behind_a_full_window),
        cmocka_unit_test(four_writers_and_many_breaks),
        cmocka_unit_test(random_servers_lose_nothing),
    };
    cmocka_set_test_filter(getenv("WEIR_TEST_FILTER"));
    return cmocka_run_group_tests_name("session_message", tests, NULL, NULL);
}
