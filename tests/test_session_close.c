// Tests of writer/session.c: what closing a pool means for its sessions.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "tests/support_session.h"

// ---- Closing ----

// Everything is answered; how the server takes the close itself decides nothing.
static void close_is_proven_by_the_answers(void **unused)
{
    (void)unused;
    for (int end = RELP_CLOSE_OK; end <= RELP_CLOSE_LATE; end++) {
        struct relp_plan plan = {.close = (enum relp_close)end, .open_late_ms = 300};
        struct session_bench bench;
        session_bench_start(&bench, 1, &plan, 1);
        bench.options.answer_timeout_ms = 1000;
        session_bench_open(&bench);
        session_log(&bench, 0, 1000);
        uint64_t begin_ns = test_now_ns();
        struct weir_metrics metrics;
        session_bench_close(&bench, 10000, 0, &metrics);
        uint64_t taken_ns = test_now_ns() - begin_ns;
        print_message("close %d: %lu ms\n", end, (unsigned long)(taken_ns / 1000000));
        assert_true(taken_ns < UINT64_C(15000000000));
        assert_int_equal(metrics.confirmed_messages, 1000);
        assert_int_equal(session_expect_arrived(&bench, 1000), 0);
        struct relp_view view;
        relp_server_look(bench.server, 0, &view);
        assert_int_equal(view.close_number, 1002);
        assert_int_equal(relp_server_connections(bench.server), 1);
        assert_true(end != RELP_CLOSE_LATE || taken_ns >= UINT64_C(250000000));
        if (end == RELP_CLOSE_OK || end == RELP_CLOSE_LATE) {
            assert_int_equal(metrics.received_bytes, view.sent_bytes);
            session_expect_faults(&metrics, SESSION_NO_FAULT, 0);
        }
        session_bench_end(&bench);
    }
}

// Answers that come late are waited for, and are what makes close say 0.
static void close_waits_for_late_answers(void **unused)
{
    (void)unused;
    struct relp_plan plan = {.batch = 100}; // what is left over comes 20 ms after the last message
    for (uint32_t count = 1; count <= 250; count += 83) {
        struct session_bench bench;
        session_bench_run(&bench, &plan, 1);
        session_log(&bench, 0, count);
        struct weir_metrics metrics;
        session_bench_close(&bench, SESSION_CLOSE_MS, 0, &metrics);
        assert_int_equal(metrics.confirmed_messages, count);
        assert_int_equal(session_expect_arrived(&bench, count), 0);
        session_bench_end(&bench);
    }
}

static void close_keeps_its_deadline(void **unused)
{
    (void)unused;
    for (uint32_t workers = 0; workers < 2; workers++) {
        struct relp_plan plan = {.mute_from = 6};
        struct session_bench bench;
        session_bench_start(&bench, workers, &plan, 1);
        session_bench_open(&bench);
        session_log(&bench, 0, 5);
        assert_int_equal(weir_pool_flush(bench.pool, SESSION_CLOSE_MS), 0);
        session_log(&bench, 5, 300); // the window stays full
        uint64_t begin_ns = test_now_ns();
        struct weir_metrics metrics;
        session_bench_close(&bench, 300, WEIR_ETIMEOUT, &metrics);
        uint64_t taken_ns = test_now_ns() - begin_ns;
        assert_true(taken_ns >= UINT64_C(300000000) && taken_ns < UINT64_C(5000000000));
        assert_int_equal(metrics.confirmed_messages, 5);
        assert_int_equal(metrics.dropped_messages[WEIR_DROPPED_DEADLINE], 300);
        assert_int_equal(metrics.dropped_bytes[WEIR_DROPPED_DEADLINE], 300 * SESSION_FRAME_BYTES);
        assert_int_equal(weir_pool_close(bench.pool, 0), WEIR_ECLOSED);
        session_bench_end(&bench);
    }
}

// Answers that have come count, however late the writer looks: it is the host that was slow.
static void answers_count_however_late_they_are_read(void **unused)
{
    (void)unused;
    for (int closing = 0; closing < 2; closing++) {
        struct relp_plan plan = {.gated = true};
        struct session_bench bench;
        session_bench_start(&bench, 0, &plan, 1);
        bench.options.answer_timeout_ms = 1000;
        session_bench_open(&bench);
        session_log(&bench, 0, 20);
        struct relp_view view = {0};
        uint64_t begin_ns = test_now_ns();
        while (view.messages < 20) {
            assert_true(test_now_ns() - begin_ns < UINT64_C(20000000000));
            assert_true(weir_turn(bench.runtime, 64, 1000000) >= 0);
            relp_server_look_all(bench.server, &view);
        }
        uint64_t sent_bytes = view.sent_bytes;
        relp_server_allow(bench.server, 20);
        while (view.sent_bytes < sent_bytes + 20 * (sizeof("2 rsp 6 200 OK\n") - 1)) {
            relp_server_look_all(bench.server, &view);
        }
        test_pause_us(1200000); // past the time for an answer
        if (closing == 0) {
            assert_int_equal(weir_pool_flush(bench.pool, SESSION_CLOSE_MS), 0);
        }
        struct weir_metrics metrics;
        session_bench_close(&bench, closing == 0 ? SESSION_CLOSE_MS : 0, 0, &metrics);
        assert_int_equal(metrics.confirmed_messages, 20);
        session_expect_faults(&metrics, SESSION_NO_FAULT, 0);
        session_bench_end(&bench);
    }
}

// The same before the session is open, and where it never opens.
static void close_keeps_its_deadline_without_a_session(void **unused)
{
    (void)unused;
    static const struct relp_plan plans[] = {
        {.open = RELP_OPEN_NEVER}, {.open = RELP_OPEN_REFUSED}, {.open = RELP_OPEN_TORN}};
    for (size_t i = 0; i < sizeof(plans) / sizeof(plans[0]); i++) {
        struct session_bench bench;
        session_bench_run(&bench, &plans[i], 1);
        session_log(&bench, 0, 10);
        uint64_t begin_ns = test_now_ns();
        struct weir_metrics metrics;
        session_bench_close(&bench, 300, WEIR_ETIMEOUT, &metrics);
        assert_true(test_now_ns() - begin_ns >= UINT64_C(300000000));
        assert_int_equal(metrics.dropped_messages[WEIR_DROPPED_DEADLINE], 10);
        session_bench_end(&bench);
        // Without a message nothing is to wait for.
        session_bench_run(&bench, &plans[i], 1);
        begin_ns = test_now_ns();
        session_bench_close(&bench, SESSION_CLOSE_MS, 0, &metrics);
        assert_true(test_now_ns() - begin_ns < SESSION_CLOSE_MS / 2 * UINT64_C(1000000));
        session_bench_end(&bench);
    }
}

// A server that stops answering while close waits is given up, and another one asked.
static void close_gives_a_mute_server_up(void **unused)
{
    (void)unused;
    struct relp_plan plans[2] = {{.mute_from = 6, .close = RELP_CLOSE_NEVER}, {0}};
    struct session_bench bench;
    session_bench_start(&bench, 1, plans, 2);
    bench.options.answer_timeout_ms = 1000;
    session_bench_open(&bench);
    session_log(&bench, 0, 10);
    struct weir_metrics metrics;
    session_bench_close(&bench, SESSION_CLOSE_MS, 0, &metrics);
    session_expect_connection(&bench, 1, 5, 9);
    session_expect_faults(&metrics, WEIR_FAULT_ANSWER_TIMEOUT, 1);
    session_bench_end(&bench);
}

// The connection breaks while close waits for answers: they are got on another one.
static void close_sends_again(void **unused)
{
    (void)unused;
    for (int then = RELP_SERVERCLOSE; then <= RELP_RESET; then++) {
        struct relp_plan plans[2] = {
            {.then = (enum relp_then)then, .then_received = 50, .mute_from = 11}, {0}};
        struct session_bench bench;
        session_bench_run(&bench, plans, 2);
        session_log(&bench, 0, 50);
        struct weir_metrics metrics;
        session_bench_close(&bench, SESSION_CLOSE_MS, 0, &metrics);
        assert_int_equal(relp_server_connections(bench.server), 2);
        session_expect_connection(&bench, 1, 10, 49);
        assert_int_equal(metrics.confirmed_messages, 50);
        struct relp_view view;
        relp_server_look(bench.server, 1, &view);
        assert_int_equal(view.close_number, 42);
        session_bench_end(&bench);
    }
}

// A refusal among the answers that close waits for.
static void close_and_a_refusal(void **unused)
{
    (void)unused;
    for (int refused = WEIR_REFUSED_RETRY; refused <= WEIR_REFUSED_DROP; refused++) {
        struct relp_plan plans[2] = {{.refuse_at = 50, .batch = 50}, {0}};
        struct session_bench bench;
        session_bench_start(&bench, 1, plans, 2);
        bench.options.refused = (enum weir_refused)refused;
        bench.options.window_messages = 50;
        session_bench_open(&bench);
        session_log(&bench, 0, 50);
        int verdict = weir_pool_close(bench.pool, SESSION_CLOSE_MS);
        struct weir_metrics metrics;
        test_pool_books(bench.pool, &metrics);
        assert_int_equal(verdict, 0);
        bool drop = refused == WEIR_REFUSED_DROP;
        assert_int_equal(metrics.dropped_messages[WEIR_DROPPED_REFUSED], drop ? 1 : 0);
        assert_int_equal(metrics.confirmed_messages, drop ? 49 : 50);
        assert_int_equal(relp_server_connections(bench.server), drop ? 1 : 2);
        relp_server_stop(bench.server);
        session_check_server(bench.server);
        session_bench_end(&bench);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(close_is_proven_by_the_answers),
        cmocka_unit_test(close_waits_for_late_answers),
        cmocka_unit_test(close_keeps_its_deadline),
        cmocka_unit_test(answers_count_however_late_they_are_read),
        cmocka_unit_test(close_keeps_its_deadline_without_a_session),
        cmocka_unit_test(close_gives_a_mute_server_up),
        cmocka_unit_test(close_sends_again),
        cmocka_unit_test(close_and_a_refusal),
    };
    cmocka_set_test_filter(getenv("WEIR_TEST_FILTER"));
    return cmocka_run_group_tests_name("session_close", tests, NULL, NULL);
}
