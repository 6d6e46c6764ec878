// Tests of writer/session.c: connections that break, and time limits that pass.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support_session.h"

// ---- Breaks ----

// The window is 16: 5 are answered, 21 received, and then the connection is over.
static void check_break(enum relp_then then, uint32_t count)
{
    struct relp_plan plans[2] = {
        {.then = then, .then_received = 21, .then_answered = 5, .mute_from = 6}, {0}};
    struct session_bench bench;
    session_bench_start(&bench, 1, plans, 2);
    bench.options.window_messages = 16;
    session_bench_open(&bench);
    session_log(&bench, 0, count);
    assert_int_equal(weir_pool_flush(bench.pool, SESSION_CLOSE_MS), 0);
    struct weir_metrics metrics;
    session_bench_close(&bench, SESSION_CLOSE_MS, 0, &metrics);
    session_expect_connection(&bench, 0, 0, 20);
    session_expect_connection(&bench, 1, 5, count - 1);
    assert_int_equal(relp_server_connections(bench.server), 2);
    assert_int_equal(metrics.confirmed_messages, count);
    assert_int_equal(metrics.resent_messages, 16);
    assert_int_equal(metrics.resent_bytes, 16 * SESSION_FRAME_BYTES);
    assert_int_equal(metrics.disconnects, 1);
    session_bench_end(&bench);
}

static void what_was_not_answered_is_sent_again(void **unused)
{
    (void)unused;
    for (int then = RELP_SERVERCLOSE; then <= RELP_RESET; then++) {
        check_break((enum relp_then)then, 21);
        check_break((enum relp_then)then, 200);
    }
}

// The server answers what it has, and resets at once: those answers count.
static void answers_before_a_reset_are_honoured(void **unused)
{
    (void)unused;
    uint64_t rounds = test_times(40);
    for (uint32_t round = 0; round < rounds; round++) {
        uint32_t batch = 1 + round * 3;
        struct relp_plan plans[2] = {{.then = round % 2 == 0 ? RELP_RESET : RELP_CLOSE,
                                      .then_received = batch,
                                      .then_answered = batch,
                                      .batch = batch,
                                      .mute_from = batch + 1},
                                     {0}};
        struct session_bench bench;
        session_bench_start(&bench, 1, plans, 2);
        bench.options.window_messages = batch;
        session_bench_open(&bench);
        session_log(&bench, 0, batch);
        test_pool_wait_for(bench.pool, disconnects, 1);
        struct weir_metrics metrics;
        test_pool_books(bench.pool, &metrics);
        assert_int_equal(metrics.confirmed_messages, batch);
        session_log(&bench, batch, 100);
        session_bench_close(&bench, SESSION_CLOSE_MS, 0, &metrics);
        session_expect_connection(&bench, 0, 0, batch - 1);
        session_expect_connection(&bench, 1, batch, batch + 99);
        assert_int_equal(metrics.resent_messages, 0);
        session_bench_end(&bench);
    }
}

// The same while the client is busy sending: not one that was answered comes again.
static void answers_before_a_reset_are_honoured_under_load(void **unused)
{
    (void)unused;
    struct relp_plan plans[21];
    memset(plans, 0, sizeof(plans));
    for (uint32_t i = 0; i < 20; i++) {
        plans[i].then = i % 2 == 0 ? RELP_RESET : RELP_CLOSE;
        plans[i].then_answered = 10 + 37 * i;
        plans[i].mute_from = 11 + 37 * i;
    }
    struct session_bench bench;
    session_bench_start(&bench, 1, plans, 21);
    bench.options.retry_interval_ms = bench.options.retry_interval_max_ms = 1;
    bench.options.window_messages = 1000;
    bench.options.full = WEIR_FULL_BLOCK; // on a busy machine the server may be the slower one
    session_bench_open(&bench);
    uint32_t next = 0;
    for (; next < 10000; next += 100) {
        session_log(&bench, next, 100);
        test_pause_us(1000);
    }
    struct weir_metrics metrics;
    session_bench_close(&bench, SESSION_CLOSE_MS, 0, &metrics);
    assert_int_equal(relp_server_connections(bench.server), 21);
    uint32_t answered = 0;
    for (uint32_t i = 0; i < 21; i++) {
        struct relp_view view;
        relp_server_look(bench.server, i, &view);
        if (i < 20) { // each goes on behind what the ones before it were answered for
            assert_int_equal(view.accepted, plans[i].then_answered);
        }
        session_expect_connection(&bench, i, answered, answered + view.messages - 1);
        answered += view.accepted;
    }
    assert_int_equal(answered, 10000);
    assert_int_equal(metrics.confirmed_messages, 10000);
    session_bench_end(&bench);
}

static void serverclose_in_idle_is_noticed(void **unused)
{
    (void)unused;
    for (int then = RELP_SERVERCLOSE; then <= RELP_RESET; then++) {
        struct relp_plan plans[2] = {
            {.then = (enum relp_then)then, .then_received = 5, .then_answered = 5}, {0}};
        struct session_bench bench;
        session_bench_run(&bench, plans, 2);
        session_log(&bench, 0, 5);
        assert_true(relp_server_wait_connections(bench.server, 2));
        test_pool_wait_for(bench.pool, connects, 2);
        session_log(&bench, 5, 5);
        struct weir_metrics metrics;
        session_bench_close(&bench, SESSION_CLOSE_MS, 0, &metrics);
        assert_int_equal(session_expect_arrived(&bench, 10), 0);
        assert_int_equal(metrics.resent_messages, 0);
        assert_int_equal(metrics.disconnects, 1);
        session_bench_end(&bench);
    }
}

// An answer is lost, those behind it came, and the connection breaks: at least the one is sent
// again, nothing is lost, and the books know it.
static void answers_out_of_order_and_a_break(void **unused)
{
    (void)unused;
    struct relp_plan plans[2] = {{.then = RELP_RESET,
                                  .then_received = 20,
                                  .mute_from = 1,
                                  .raw_at = 20,
                                  .raw_accepts = 3,
                                  .raw = "5 rsp 6 200 OK\n3 rsp 6 200 OK\n7 rsp 6 200 OK\n"},
                                 {0}};
    struct session_bench bench;
    session_bench_run(&bench, plans, 2);
    session_log(&bench, 0, 20);
    assert_int_equal(weir_pool_flush(bench.pool, SESSION_CLOSE_MS), 0);
    struct weir_metrics metrics;
    session_bench_close(&bench, SESSION_CLOSE_MS, 0, &metrics);
    uint64_t repeated = session_expect_arrived(&bench, 20);
    print_message("%lu of 20 again, 3 of them were answered\n", (unsigned long)repeated);
    assert_true(repeated >= 17);
    assert_int_equal(metrics.resent_messages, repeated);
    assert_int_equal(metrics.confirmed_messages, 20);
    session_bench_end(&bench);
}

// ---- Time limits ----

static void no_answer_gives_the_connection_up(void **unused)
{
    (void)unused;
    struct relp_plan plans[2] = {{.mute_from = 4}, {0}};
    struct session_bench bench;
    session_bench_start(&bench, 1, plans, 2);
    bench.options.answer_timeout_ms = 1000;
    session_bench_open(&bench);
    uint64_t begin_ns = test_now_ns();
    session_log(&bench, 0, 10);
    assert_int_equal(weir_pool_flush(bench.pool, SESSION_CLOSE_MS), 0);
    assert_true(test_now_ns() - begin_ns >= UINT64_C(1000000000));
    // All is answered: nothing is owed, however long nothing is said.
    test_pause_us(2200000);
    struct weir_metrics metrics;
    test_pool_books(bench.pool, &metrics);
    assert_int_equal(metrics.disconnects, 1);
    session_expect_faults(&metrics, WEIR_FAULT_ANSWER_TIMEOUT, 1);
    assert_int_equal(metrics.limits_ms[WEIR_TIME_LIMIT_ANSWER], 1000);
    session_bench_close(&bench, SESSION_CLOSE_MS, 0, &metrics);
    session_expect_connection(&bench, 1, 3, 9);
    session_bench_end(&bench);
}

// The clock starts anew with every answer, and with the first message after silence.
static void slow_answers_are_answers(void **unused)
{
    (void)unused;
    struct relp_plan plan = {.gated = true};
    struct session_bench bench;
    session_bench_start(&bench, 1, &plan, 1);
    bench.options.answer_timeout_ms = 2000;
    session_bench_open(&bench);
    session_log(&bench, 0, 30);
    for (uint32_t i = 1; i <= 30; i++) {
        test_pause_us(100000);
        relp_server_allow(bench.server, 1);
        test_pool_wait_for(bench.pool, confirmed_messages, i);
    }
    struct weir_metrics metrics;
    test_pool_books(bench.pool, &metrics);
    session_expect_faults(&metrics, SESSION_NO_FAULT, 0);
    test_pause_us(2200000);
    session_log(&bench, 30, 1);
    test_pause_us(SESSION_OBSERVE_US);
    relp_server_allow(bench.server, 1);
    session_bench_close(&bench, SESSION_CLOSE_MS, 0, &metrics);
    assert_int_equal(session_expect_arrived(&bench, 31), 0);
    session_expect_faults(&metrics, SESSION_NO_FAULT, 0);
    session_bench_end(&bench);
}

static void an_unanswered_open_is_given_up(void **unused)
{
    (void)unused;
    for (int open = RELP_OPEN_NEVER; open <= RELP_OPEN_TORN;
         open += RELP_OPEN_TORN - RELP_OPEN_NEVER) {
        struct relp_plan plans[2] = {{.open = (enum relp_open)open}, {0}};
        struct session_bench bench;
        session_bench_start(&bench, 1, plans, 2);
        bench.options.connect_timeout_ms = 1000;
        session_bench_open(&bench);
        uint64_t begin_ns = test_now_ns();
        session_log(&bench, 0, 10);
        assert_int_equal(weir_pool_flush(bench.pool, SESSION_CLOSE_MS), 0);
        uint64_t taken_ns = test_now_ns() - begin_ns;
        assert_true(taken_ns >= UINT64_C(900000000) && taken_ns < UINT64_C(20000000000));
        struct weir_metrics metrics;
        session_bench_close(&bench, SESSION_CLOSE_MS, 0, &metrics);
        session_expect_connection(&bench, 1, 0, 9);
        session_expect_faults(&metrics, WEIR_FAULT_CONNECT_TIMEOUT, 1);
        session_bench_end(&bench);
    }
}

// A server that reads no more while there is much to send.
static void a_server_that_stops_reading(void **unused)
{
    (void)unused;
    for (int i = 0; i < 2; i++) {
        struct relp_plan plans[2] = {{.stall_bytes = 2000, .slow_bytes = 100}, {0}};
        struct session_bench bench;
        session_bench_start(&bench, 1, plans, 2);
        bench.options.buffer_bytes_max = 32 << 20;
        bench.options.window_messages = 4096;
        bench.options.window_bytes = 32 << 20;
        bench.options.stall_timeout_ms = i == 0 ? 2000 : SESSION_FOREVER_MS;
        bench.options.answer_timeout_ms = i == 0 ? SESSION_FOREVER_MS : 2000;
        session_bench_open(&bench);
        assert_int_equal(test_pool_log(bench.pool, 0, 0, 0, 4000, 4000), 4000);
        assert_int_equal(weir_pool_flush(bench.pool, 60000), 0);
        struct weir_metrics metrics;
        session_bench_close(&bench, SESSION_CLOSE_MS, 0, &metrics);
        (void)session_expect_arrived(&bench, 4000);
        assert_int_equal(metrics.confirmed_messages, 4000);
        // More than once where the machine is so busy that a good server seems to have stopped.
        enum weir_fault fault = i == 0 ? WEIR_FAULT_STALL : WEIR_FAULT_ANSWER_TIMEOUT;
        assert_in_range(metrics.faults[fault], 1, metrics.connects - 1);
        session_expect_faults(&metrics, fault, metrics.faults[fault]);
        session_bench_end(&bench);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_not_answered_is_sent_again),
        cmocka_unit_test(answers_before_a_reset_are_honoured),
        cmocka_unit_test(answers_before_a_reset_are_honoured_under_load),
        cmocka_unit_test(serverclose_in_idle_is_noticed),
        cmocka_unit_test(answers_out_of_order_and_a_break),
        cmocka_unit_test(no_answer_gives_the_connection_up),
        cmocka_unit_test(slow_answers_are_answers),
        cmocka_unit_test(an_unanswered_open_is_given_up),
        cmocka_unit_test(a_server_that_stops_reading),
    };
    cmocka_set_test_filter(getenv("WEIR_TEST_FILTER"));
    return cmocka_run_group_tests_name("session_break", tests, NULL, NULL);
}
