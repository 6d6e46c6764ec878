// Tests of writer/session.c: the session as it should be, confirmation, the window.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support_session.h"

// ---- As it should be ----

static void a_session_is_what_the_protocol_says(void **unused)
{
    (void)unused;
    struct session_bench bench;
    session_bench_run(&bench, NULL, 0);
    session_log(&bench, 0, 1000);
    assert_int_equal(weir_pool_flush(bench.pool, SESSION_CLOSE_MS), 0);
    struct weir_metrics metrics;
    test_pool_books(bench.pool, &metrics);
    assert_int_equal(metrics.confirmed_messages, 1000);
    assert_int_equal(metrics.confirmed_bytes, 1000 * SESSION_FRAME_BYTES);
    session_log(&bench, 1000, 10);
    session_bench_close(&bench, SESSION_CLOSE_MS, 0, &metrics);
    struct relp_view view;
    relp_server_look(bench.server, 0, &view);
    static const char open[] = "1 open 53 relp_version=0\nrelp_software=weir,0.1\n"
                               "commands=syslog\n000000002 syslog 100 0000 00000000 ";
    assert_memory_equal(view.head, open, sizeof(open) - 1);
    session_expect_connection(&bench, 0, 0, 1009);
    assert_int_equal(view.close_number, 1012);
    assert_int_equal(view.torn_bytes, 0);
    assert_int_equal(relp_server_connections(bench.server), 1);
    // All that the server said was read: the answers, to `close` too, and `serverclose`.
    assert_int_equal(metrics.received_bytes, view.sent_bytes);
    assert_int_equal(metrics.sent_bytes, view.received_bytes);
    assert_int_equal(metrics.confirmed_messages, 1010);
    assert_int_equal(metrics.resent_messages, 0);
    assert_int_equal(metrics.connects, 1);
    session_expect_faults(&metrics, SESSION_NO_FAULT, 0);
    session_bench_end(&bench);
}

static void nothing_is_sent_before_the_session_is_open(void **unused)
{
    (void)unused;
    struct relp_plan plan = {.open = RELP_OPEN_LATE, .open_late_ms = 200};
    struct session_bench bench;
    session_bench_run(&bench, &plan, 1); // the server takes an early frame for a violation
    session_log(&bench, 0, 100);
    assert_int_equal(weir_pool_flush(bench.pool, SESSION_CLOSE_MS), 0);
    struct weir_metrics metrics;
    session_bench_close(&bench, SESSION_CLOSE_MS, 0, &metrics);
    assert_int_equal(session_expect_arrived(&bench, 100), 0);
    assert_int_equal(metrics.connects, 1);
    session_bench_end(&bench);
}

static void never_used_closes_well(void **unused)
{
    (void)unused;
    for (int wait = 0; wait < 2; wait++) {
        struct session_bench bench;
        session_bench_run(&bench, NULL, 0);
        if (wait != 0) {
            test_pool_wait_for(bench.pool, received_bytes, 1); // the answer to `open`
        }
        struct weir_metrics metrics;
        session_bench_close(&bench, SESSION_CLOSE_MS, 0, &metrics);
        if (wait != 0) { // the session was open, and both sides ended it
            struct relp_view view;
            relp_server_look(bench.server, 0, &view);
            assert_int_equal(view.close_number, 2);
            assert_int_equal(metrics.received_bytes, view.sent_bytes);
        }
        session_bench_end(&bench);
    }
}

static void answers_come_in_any_pieces_and_any_order(void **unused)
{
    (void)unused;
    static char long_text[2000];
    memset(long_text, 'x', sizeof(long_text) - 1);
    memcpy(long_text, "200 ", 4);
    struct relp_plan plans[] = {{.batch = 7},
                                {.batch = 7, .reversed = true},
                                {.batch = 128, .reversed = true},
                                {.batch = 1000}, // more than the window: for want of more
                                {.single_bytes = true},
                                {.accept = "200"},
                                {.accept = "200 OK\nand\n0 serverclose 0\n"},
                                {.accept = long_text},
                                {.slow_bytes = 500}};
    for (size_t i = 0; i < sizeof(plans) / sizeof(plans[0]); i++) {
        struct session_bench bench;
        session_bench_run(&bench, &plans[i], 1);
        uint32_t count = plans[i].single_bytes || plans[i].slow_bytes != 0 ? 50 : 500;
        session_log(&bench, 0, count);
        assert_int_equal(weir_pool_flush(bench.pool, SESSION_CLOSE_MS), 0);
        struct weir_metrics metrics;
        session_bench_close(&bench, SESSION_CLOSE_MS, 0, &metrics);
        assert_int_equal(session_expect_arrived(&bench, count), 0);
        assert_int_equal(metrics.confirmed_messages, count);
        assert_int_equal(relp_server_connections(bench.server), 1);
        session_expect_faults(&metrics, SESSION_NO_FAULT, 0);
        session_bench_end(&bench);
    }
}

static void zeros_in_front_and_hints_are_fine(void **unused)
{
    (void)unused;
    struct relp_plan plan = {.raw = "0 hello 5 world\n0000 notice 0\n"
                                    "000000002 rsp 6 200 OK\n03 rsp 06 200 OK\n0 rsp 6 500 no\n",
                             .raw_at = 2,
                             .raw_accepts = 2,
                             .mute_from = 1};
    struct session_bench bench;
    session_bench_run(&bench, &plan, 1);
    session_log(&bench, 0, 2);
    assert_int_equal(weir_pool_flush(bench.pool, SESSION_CLOSE_MS), 0);
    struct weir_metrics metrics;
    test_pool_books(bench.pool, &metrics);
    assert_int_equal(metrics.confirmed_messages, 2);
    assert_int_equal(metrics.disconnects, 0);
    session_bench_close(&bench, SESSION_CLOSE_MS, 0, &metrics);
    session_expect_faults(&metrics, SESSION_NO_FAULT, 0);
    session_bench_end(&bench);
}

// Without workers the host's thread does everything, flush and close too.
static void a_runtime_without_workers(void **unused)
{
    (void)unused;
    struct relp_plan plans[2] = {{.then = RELP_CLOSE, .then_received = 30, .mute_from = 11}, {0}};
    struct session_bench bench;
    session_bench_start(&bench, 0, plans, 2);
    session_bench_open(&bench);
    session_log(&bench, 0, 200);
    for (int i = 0; i < 10; i++) {
        assert_true(weir_turn(bench.runtime, 64, 1000000) >= 0);
    }
    assert_int_equal(weir_pool_flush(bench.pool, SESSION_CLOSE_MS), 0);
    session_log(&bench, 200, 100);
    struct weir_metrics metrics;
    session_bench_close(&bench, SESSION_CLOSE_MS, 0, &metrics);
    (void)session_expect_arrived(&bench, 300);
    assert_int_equal(metrics.confirmed_messages, 300);
    assert_int_equal(relp_server_connections(bench.server), 2);
    session_bench_end(&bench);
}

// Neither an idle session nor one that waits for answers keeps the task awake.
static void waiting_costs_nothing(void **unused)
{
    (void)unused;
    for (int gated = 0; gated < 2; gated++) {
        struct relp_plan plan = {.gated = gated != 0};
        struct session_bench bench;
        session_bench_start(&bench, 1, &plan, 1);
        bench.options.window_messages = 10;
        session_bench_open(&bench);
        session_log(&bench, 0, 10 + 90 * (uint32_t)gated); // the window is full, and more waits
        assert_true(relp_server_wait_messages(bench.server, 10));
        if (gated == 0) {
            assert_int_equal(weir_pool_flush(bench.pool, SESSION_CLOSE_MS), 0);
        }
        test_pause_us(500000);
        uint64_t polls = test_pool_polls(bench.runtime);
        test_pause_us(1000000);
        polls = test_pool_polls(bench.runtime) - polls;
        assert_int_equal(polls, 0);
        relp_server_allow(bench.server, 1000);
        test_pool_wait_for(bench.pool, confirmed_messages, 10 + 90 * (uint32_t)gated);
        struct weir_metrics metrics;
        session_bench_close(&bench, SESSION_CLOSE_MS, 0, &metrics);
        assert_int_equal(metrics.resent_messages, 0);
        session_bench_end(&bench);
    }
}

// ---- Confirmation ----

static void confirmed_means_answered(void **unused)
{
    (void)unused;
    struct relp_plan plan = {.gated = true};
    struct session_bench bench;
    session_bench_run(&bench, &plan, 1);
    session_log(&bench, 0, 60);
    assert_true(relp_server_wait_messages(bench.server, 60));
    test_pause_us(SESSION_OBSERVE_US);
    struct weir_metrics metrics;
    test_pool_books(bench.pool, &metrics);
    assert_int_equal(metrics.confirmed_messages, 0);
    assert_int_equal(metrics.held_messages, 60);
    uint32_t allowed = 0;
    for (uint32_t more = 1; allowed + more < 60; more += 7) { // in and across segments
        relp_server_allow(bench.server, more);
        allowed += more;
        test_pool_wait_for(bench.pool, confirmed_messages, allowed);
        test_pause_us(SESSION_OBSERVE_US / 5);
        test_pool_books(bench.pool, &metrics);
        assert_int_equal(metrics.confirmed_messages, allowed);
        assert_int_equal(metrics.confirmed_bytes, allowed * SESSION_FRAME_BYTES);
    }
    assert_int_equal(weir_pool_flush(bench.pool, 100), WEIR_ETIMEOUT);
    relp_server_allow(bench.server, 59 - allowed);
    assert_int_equal(weir_pool_flush(bench.pool, 100), WEIR_ETIMEOUT); // for want of one
    relp_server_allow(bench.server, 1);
    assert_int_equal(weir_pool_flush(bench.pool, SESSION_CLOSE_MS), 0);
    test_pool_books(bench.pool, &metrics);
    assert_int_equal(metrics.confirmed_messages, 60);
    relp_server_allow(bench.server, 1000);
    session_bench_close(&bench, SESSION_CLOSE_MS, 0, &metrics);
    assert_int_equal(session_expect_arrived(&bench, 60), 0);
    session_bench_end(&bench);
}

// What is sent only because of the flush is waited for, too.
static void a_flush_waits_for_what_came_before_it(void **unused)
{
    (void)unused;
    struct relp_plan plan = {.gated = true};
    struct session_bench bench;
    session_bench_start(&bench, 1, &plan, 1);
    bench.options.flush_interval_ms = 60000;
    session_bench_open(&bench);
    relp_server_allow(bench.server, 10);
    session_log(&bench, 0, 10);
    assert_int_equal(weir_pool_flush(bench.pool, SESSION_CLOSE_MS), 0);
    session_log(&bench, 10, 1);
    assert_int_equal(weir_pool_flush(bench.pool, 200), WEIR_ETIMEOUT);
    struct weir_metrics metrics;
    session_bench_close(&bench, 200, WEIR_ETIMEOUT, &metrics);
    assert_int_equal(metrics.confirmed_messages, 10);
    assert_int_equal(metrics.dropped_messages[WEIR_DROPPED_DEADLINE], 1);
    session_bench_end(&bench);
}

static void check_window(uint32_t messages, uint32_t bytes, uint32_t expected)
{
    struct relp_plan plan = {.gated = true};
    struct session_bench bench;
    session_bench_start(&bench, 1, &plan, 1);
    bench.options.window_messages = messages;
    bench.options.window_bytes = bytes;
    session_bench_open(&bench);
    session_log(&bench, 0, 300);
    assert_true(relp_server_wait_messages(bench.server, expected));
    test_pause_us(SESSION_OBSERVE_US);
    struct relp_view view;
    for (uint32_t allowed = 0; allowed < 20; allowed += 4) {
        relp_server_look(bench.server, 0, &view);
        assert_int_equal(view.messages, expected + allowed);
        assert_int_equal(view.unanswered_max, expected);
        assert_int_equal(view.torn_bytes, 0);
        relp_server_allow(bench.server, 4);
        assert_true(relp_server_wait_messages(bench.server, expected + allowed + 4));
    }
    relp_server_allow(bench.server, 1000000);
    struct weir_metrics metrics;
    session_bench_close(&bench, SESSION_CLOSE_MS, 0, &metrics);
    relp_server_look(bench.server, 0, &view);
    assert_int_equal(view.unanswered_max, expected);
    assert_true(expected == 1 || view.unanswered_bytes_max <= bytes);
    assert_int_equal(session_expect_arrived(&bench, 300), 0);
    session_bench_end(&bench);
}

static void the_window_is_never_exceeded(void **unused)
{
    (void)unused;
    check_window(128, 1 << 20, 128);
    check_window(1, 1 << 20, 1);
    check_window(40, 1 << 20, 40);
    check_window(128, 10 * SESSION_FRAME_BYTES, 10);
    check_window(128, 11 * SESSION_FRAME_BYTES - 1, 10);
    check_window(7, 10 * SESSION_FRAME_BYTES, 7);
    check_window(128, 1, 1); // a message that exceeds it goes alone
    check_window(128, SESSION_FRAME_BYTES - 1, 1);
}

static void a_window_as_large_as_can_be(void **unused)
{
    (void)unused;
    struct relp_plan plan = {.gated = true};
    struct session_bench bench;
    session_bench_start(&bench, 1, &plan, 1);
    bench.options.window_messages = 4096;
    bench.options.window_bytes = 16 << 20;
    bench.options.buffer_bytes_max = 16 << 20;
    session_bench_open(&bench);
    session_log(&bench, 0, 5000);
    assert_true(relp_server_wait_messages(bench.server, 4096));
    test_pause_us(SESSION_OBSERVE_US);
    struct relp_view view;
    relp_server_look(bench.server, 0, &view);
    assert_int_equal(view.unanswered_max, 4096);
    relp_server_allow(bench.server, 1000000);
    struct weir_metrics metrics;
    session_bench_close(&bench, SESSION_CLOSE_MS, 0, &metrics);
    assert_int_equal(session_expect_arrived(&bench, 5000), 0);
    session_bench_end(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_is_what_the_protocol_says),
        cmocka_unit_test(nothing_is_sent_before_the_session_is_open),
        cmocka_unit_test(never_used_closes_well),
        cmocka_unit_test(answers_come_in_any_pieces_and_any_order),
        cmocka_unit_test(zeros_in_front_and_hints_are_fine),
        cmocka_unit_test(a_runtime_without_workers),
        cmocka_unit_test(waiting_costs_nothing),
        cmocka_unit_test(confirmed_means_answered),
        cmocka_unit_test(a_flush_waits_for_what_came_before_it),
        cmocka_unit_test(the_window_is_never_exceeded),
        cmocka_unit_test(a_window_as_large_as_can_be),
    };
    cmocka_set_test_filter(getenv("WEIR_TEST_FILTER"));
    return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
