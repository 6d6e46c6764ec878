// Tests of writer/session.c: servers that refuse, and servers that violate the protocol.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support_session.h"

// ---- Refusals ----

static void a_refused_message_is_sent_again(void **unused)
{
    (void)unused;
    struct relp_plan plans[3] = {
        {.refuse_at = 5, .mute_from = 6}, {.refuse_at = 1, .mute_from = 2}, {0}};
    struct session_bench bench;
    session_bench_run(&bench, plans, 3);
    session_log(&bench, 0, 100);
    assert_int_equal(weir_pool_flush(bench.pool, SESSION_CLOSE_MS), 0);
    struct weir_metrics metrics;
    session_bench_close(&bench, SESSION_CLOSE_MS, 0, &metrics);
    assert_int_equal(relp_server_connections(bench.server), 3);
    struct relp_view view;
    relp_server_look(bench.server, 1, &view);
    session_expect_connection(&bench, 1, 4, 4 + view.messages - 1);
    session_expect_connection(&bench, 2, 4, 99);
    assert_int_equal(metrics.confirmed_messages, 100);
    assert_int_equal(test_pool_dropped(&metrics), 0);
    session_expect_faults(&metrics, WEIR_FAULT_REFUSED, 2);
    assert_int_equal(metrics.disconnects, 2);
    session_bench_end(&bench);
}

// A server that refuses for ever is not asked in a hot loop, and the messages are never forgotten.
static void refused_for_ever(void **unused)
{
    (void)unused;
    struct relp_plan plan = {.refuse_from = 1};
    struct session_bench bench;
    session_bench_start(&bench, 1, &plan, 1);
    bench.options.retry_interval_ms = bench.options.retry_interval_max_ms = 100;
    session_bench_open(&bench);
    session_log(&bench, 0, 10);
    assert_int_equal(weir_pool_flush(bench.pool, 1000), WEIR_ETIMEOUT);
    struct weir_metrics metrics;
    test_pool_books(bench.pool, &metrics);
    assert_int_equal(metrics.held_messages, 10);
    assert_int_equal(metrics.confirmed_messages, 0);
    print_message("%lu connections in a second\n", (unsigned long)metrics.connects);
    assert_true(metrics.connects <= 25);
    assert_true(metrics.faults[WEIR_FAULT_REFUSED] >= 2);
    session_bench_close(&bench, 200, WEIR_ETIMEOUT, &metrics);
    assert_int_equal(metrics.dropped_messages[WEIR_DROPPED_DEADLINE], 10);
    session_bench_end(&bench);
}

static void refused_messages_are_dropped(void **unused)
{
    (void)unused;
    static char long_text[100000];
    memset(long_text, 'n', sizeof(long_text) - 1);
    memcpy(long_text, "500 ", 4);
    const struct {
        struct relp_plan plan;
        uint32_t refused;
    } cases[] = {{{.refuse_at = 1}, 1},
                 {{.refuse_at = 50}, 1},
                 {{.refuse_at = 100}, 1},
                 {{.refuse_from = 1}, 100},
                 {{.refuse_from = 91}, 10},
                 {{.refuse_at = 5, .refuse_from = 98, .batch = 10, .reversed = true}, 4},
                 {{.refuse_at = 5, .refuse = long_text}, 1},
                 {{.refuse_at = 5, .refuse = "404"}, 1},
                 {{.refuse_at = 5, .refuse = "201 created"}, 1}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct session_bench bench;
        session_bench_start(&bench, 1, &cases[i].plan, 1);
        bench.options.refused = WEIR_REFUSED_DROP;
        session_bench_open(&bench);
        session_log(&bench, 0, 100);
        assert_int_equal(weir_pool_flush(bench.pool, SESSION_CLOSE_MS), 0);
        struct weir_metrics metrics;
        test_pool_books(bench.pool, &metrics);
        assert_int_equal(metrics.dropped_messages[WEIR_DROPPED_REFUSED], cases[i].refused);
        session_bench_close(&bench, SESSION_CLOSE_MS, 0, &metrics);
        assert_int_equal(session_expect_arrived(&bench, 100), 0);
        assert_int_equal(metrics.confirmed_messages, 100 - cases[i].refused);
        assert_int_equal(metrics.dropped_messages[WEIR_DROPPED_REFUSED], cases[i].refused);
        assert_int_equal(metrics.dropped_bytes[WEIR_DROPPED_REFUSED],
                         cases[i].refused * SESSION_FRAME_BYTES);
        assert_int_equal(test_pool_dropped(&metrics), cases[i].refused);
        assert_int_equal(metrics.disconnects, 0);
        assert_int_equal(metrics.faults[WEIR_FAULT_REFUSED], cases[i].refused);
        session_bench_end(&bench);
    }
}

static void a_refused_open_is_tried_again(void **unused)
{
    (void)unused;
    const struct {
        enum relp_open open;
        const char *raw;
        enum weir_fault fault;
    } cases[] = {{RELP_OPEN_REFUSED, NULL, WEIR_FAULT_REFUSED},
                 {RELP_OPEN_VERSION, NULL, WEIR_FAULT_REFUSED},
                 {RELP_OPEN_NO_SYSLOG, NULL, WEIR_FAULT_REFUSED},
                 {RELP_OPEN_RAW, "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", WEIR_FAULT_PROTOCOL},
                 {RELP_OPEN_RAW, "HTTP/1.1 400 Bad Request\r\n\r\n", WEIR_FAULT_PROTOCOL},
                 {RELP_OPEN_RAW, "2 rsp 6 200 OK\n", WEIR_FAULT_PROTOCOL},
                 {RELP_OPEN_RAW, "1 open 0\n", WEIR_FAULT_PROTOCOL},
                 {RELP_OPEN_RAW, "1 rsp 0\n", WEIR_FAULT_REFUSED},
                 {RELP_OPEN_RAW, "0 serverclose 0\n", WEIR_FAULT_PEER_CLOSED}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct relp_plan plans[2] = {{.open = cases[i].open, .raw = cases[i].raw}, {0}};
        struct session_bench bench;
        session_bench_run(&bench, plans, 2);
        session_log(&bench, 0, 10);
        assert_int_equal(weir_pool_flush(bench.pool, SESSION_CLOSE_MS), 0);
        struct weir_metrics metrics;
        session_bench_close(&bench, SESSION_CLOSE_MS, 0, &metrics);
        session_expect_connection(&bench, 1, 0, 9);
        session_expect_faults(&metrics, cases[i].fault, 1);
        assert_int_equal(metrics.resent_messages, 0);
        session_bench_end(&bench);
    }
}

// A session that never opens, on the preferred endpoint: the other one serves.
static void a_refused_open_makes_the_next_endpoint_serve(void **unused)
{
    (void)unused;
    static const struct relp_plan plans[] = {{.open = RELP_OPEN_REFUSED},
                                             {.open = RELP_OPEN_NEVER},
                                             {.open = RELP_OPEN_RAW, .raw = "?"}};
    for (size_t i = 0; i < sizeof(plans) / sizeof(plans[0]); i++) {
        struct session_bench bench;
        session_bench_start(&bench, 1, NULL, 0);
        session_bench_prefer(&bench, &plans[i], 1);
        bench.options.connect_timeout_ms = 300;
        bench.options.failback_ms = SESSION_FOREVER_MS;
        session_bench_open(&bench);
        session_log(&bench, 0, 100);
        assert_int_equal(weir_pool_flush(bench.pool, SESSION_CLOSE_MS), 0);
        struct weir_metrics metrics;
        session_bench_close(&bench, SESSION_CLOSE_MS, 0, &metrics);
        assert_int_equal(session_expect_arrived(&bench, 100), 0);
        assert_true(metrics.failovers >= 1);
        static const enum weir_fault faults[] = {WEIR_FAULT_REFUSED, WEIR_FAULT_CONNECT_TIMEOUT,
                                                 WEIR_FAULT_PROTOCOL};
        assert_true(metrics.faults[faults[i]] >= 1);
        struct relp_view view;
        relp_server_look_all(bench.preferred, &view);
        assert_int_equal(view.messages, 0);
        session_bench_end(&bench);
    }
}

// Every message of 0..count-1 arrived at one of the two, once.
static void expect_shared(struct session_bench *bench, uint32_t count, uint64_t at_preferred_min)
{
    struct relp_tally here, there;
    relp_server_tally(bench->server, 1, count, &here);
    relp_server_tally(bench->preferred, 1, count, &there);
    assert_null(here.wrong);
    assert_null(there.wrong);
    assert_int_equal(here.repeated + there.repeated, 0);
    assert_int_equal(here.accepted + there.accepted, count);
    assert_int_equal(here.distinct, here.accepted);
    assert_true(there.accepted >= at_preferred_min);
}

// A collector that refuses what it is sent: another one gets it.
static void refused_messages_go_to_the_next_endpoint(void **unused)
{
    (void)unused;
    static const struct relp_plan plans[2] = {{.refuse_from = 31}, {.refuse_from = 1}};
    struct session_bench bench;
    session_bench_start(&bench, 1, NULL, 0);
    session_bench_prefer(&bench, plans, 2);
    bench.options.window_messages = 10;
    bench.options.failback_ms = 0;
    session_bench_open(&bench);
    session_log(&bench, 0, 300);
    assert_int_equal(weir_pool_flush(bench.pool, SESSION_CLOSE_MS), 0);
    struct weir_metrics metrics;
    session_bench_close(&bench, SESSION_CLOSE_MS, 0, &metrics);
    struct relp_view view;
    relp_server_look_all(bench.preferred, &view);
    assert_int_equal(view.accepted, 30);
    session_expect_connection(&bench, 0, 30, 299);
    assert_int_equal(metrics.confirmed_messages, 300);
    assert_true(metrics.faults[WEIR_FAULT_REFUSED] >= 1);
    session_bench_end(&bench);
}

// The way back to a preferred server is graceful: the session is closed, nothing comes twice.
static void failback_ends_the_session_well(void **unused)
{
    (void)unused;
    static const struct relp_plan plans[2] = {{.open = RELP_OPEN_REFUSED}, {0}};
    struct session_bench bench;
    session_bench_start(&bench, 1, NULL, 0);
    session_bench_prefer(&bench, plans, 2);
    bench.options.failback_ms = 200;
    bench.options.window_messages = 20;
    session_bench_open(&bench);
    uint32_t count = 0;
    struct weir_metrics metrics;
    do { // while traffic flows
        assert_true(count < 100000);
        session_log(&bench, count, 10);
        count += 10;
        test_pause_us(1000);
        weir_pool_stats(bench.pool, &metrics);
    } while (metrics.failbacks == 0);
    session_log(&bench, count, 100);
    count += 100;
    session_bench_close(&bench, SESSION_CLOSE_MS, 0, &metrics);
    expect_shared(&bench, count, 100);
    struct relp_view view;
    relp_server_look(bench.server, 0, &view);
    assert_int_equal(view.close_number, view.messages + 2);
    assert_int_equal(view.torn_bytes, 0);
    assert_int_equal(metrics.failbacks, 1);
    assert_int_equal(metrics.failovers, 1);
    assert_int_equal(metrics.resent_messages, 0);
    assert_int_equal(metrics.confirmed_messages, count);
    session_expect_faults(&metrics, WEIR_FAULT_REFUSED, 1);
    session_bench_end(&bench);
}

// ---- Violations ----

static void a_violation_costs_the_connection_and_nothing_else(void **unused)
{
    (void)unused;
    static char long_command[64] = "0 abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz 0\n";
    static const char *const violations[] = {
        "2 rsp 6 200 OK\n",                   // answered already
        "1 rsp 6 200 OK\n",                   // `open` was answered already
        "900 rsp 6 200 OK\n",                 // never sent
        "12 rsp 6 200 OK\n",                  // the next one, which is not sent yet
        "999999999 rsp 6 200 OK\n",           // far away
        "0000000003 rsp 6 200 OK\n",          // one digit too many
        "garbage \377 nobody asked for\n",    // not RELP
        "3 syslog 6 200 OK\n",                // only clients say that
        "3 close 0\n",                        // and that
        "0 rsp\n",                            // no length
        "3 rsp 6 200 OKx",                    // no newline where it must be
        "3 rsp -6 200 OK\n",                  // not a length
        "3  rsp 6 200 OK\n",                  // two blanks
        "3 r5p 6 200 OK\n",                   // a digit in a command
        " 3 rsp 6 200 OK\n",                  // a blank in front
        "3 rsp 999999999 200 OK\n",           // longer than a server may
        "3 rsp 1000000000000000000 200 OK\n", // longer than can be
        "\n",
        long_command};
    for (size_t i = 0; i < sizeof(violations) / sizeof(violations[0]); i++) {
        struct relp_plan plans[2] = {{.raw = violations[i], .raw_at = 1, .mute_from = 2}, {0}};
        struct session_bench bench;
        session_bench_start(&bench, 1, plans, 2);
        bench.options.window_messages = 10;
        session_bench_open(&bench);
        session_log(&bench, 0, 10);
        test_pool_wait_for(bench.pool, disconnects, 1);
        assert_int_equal(weir_pool_flush(bench.pool, SESSION_CLOSE_MS), 0);
        struct weir_metrics metrics;
        session_bench_close(&bench, SESSION_CLOSE_MS, 0, &metrics);
        // The answer before it stands.
        session_expect_connection(&bench, 1, 1, 9);
        if (metrics.faults[WEIR_FAULT_PROTOCOL] != 1) {
            fail_msg("\"%s\" is no violation", violations[i]);
        }
        session_expect_faults(&metrics, WEIR_FAULT_PROTOCOL, 1);
        struct relp_view view;
        relp_server_look(bench.server, 0, &view);
        assert_true(metrics.received_bytes > view.sent_bytes - strlen(violations[i]));
        session_bench_end(&bench);
    }
}

// Two messages, the second one unsent, and its answer comes: nothing unsent is ever confirmed.
static void an_answer_before_the_message(void **unused)
{
    (void)unused;
    struct relp_plan plans[2] = {{.raw = "3 rsp 6 200 OK\n", .raw_at = 1, .mute_from = 1}, {0}};
    struct session_bench bench;
    session_bench_start(&bench, 1, plans, 2);
    bench.options.window_messages = 1;
    session_bench_open(&bench);
    session_log(&bench, 0, 2);
    assert_int_equal(weir_pool_flush(bench.pool, SESSION_CLOSE_MS), 0);
    struct weir_metrics metrics;
    session_bench_close(&bench, SESSION_CLOSE_MS, 0, &metrics);
    session_expect_connection(&bench, 1, 0, 1);
    session_expect_faults(&metrics, WEIR_FAULT_PROTOCOL, 1);
    session_bench_end(&bench);
}

// The same for a message of which a part is sent.
static void an_answer_within_the_message(void **unused)
{
    (void)unused;
    struct relp_plan plans[2] = {
        {.raw = "3 rsp 6 200 OK\n", .raw_at = 1, .gated = true, .stall_bytes = 5000}, {0}};
    struct session_bench bench;
    session_bench_start(&bench, 1, plans, 2);
    bench.options.message_bytes_max = 16 << 20; // more than the sockets hold
    bench.options.buffer_bytes_max = 64 << 20;
    bench.options.window_bytes = 32 << 20;
    session_bench_open(&bench);
    session_log(&bench, 0, 1);
    assert_int_equal(test_pool_log(bench.pool, 0, 0, 1, 1, 15 << 20), 1);
    assert_true(relp_server_wait_messages(bench.server, 1));
    struct weir_metrics metrics;
    uint64_t sent;
    do { // until the socket takes no more
        weir_pool_stats(bench.pool, &metrics);
        sent = metrics.sent_bytes;
        test_pause_us(SESSION_OBSERVE_US);
        weir_pool_stats(bench.pool, &metrics);
    } while (sent < 5000 || metrics.sent_bytes != sent);
    assert_true(sent < 15 << 20);
    relp_server_allow(bench.server, 1);
    assert_int_equal(weir_pool_flush(bench.pool, SESSION_CLOSE_MS), 0);
    session_bench_close(&bench, SESSION_CLOSE_MS, 0, &metrics);
    assert_int_equal(session_expect_arrived(&bench, 2), 0);
    session_expect_faults(&metrics, WEIR_FAULT_PROTOCOL, 1);
    assert_int_equal(metrics.confirmed_messages, 2);
    session_bench_end(&bench);
}

// A torn answer and then the end is no answer.
static void a_torn_answer(void **unused)
{
    (void)unused;
    struct relp_plan plans[2] = {{.raw = "2 rsp 6 200 OK\n3 rsp 6 200 OK",
                                  .raw_at = 3,
                                  .raw_accepts = 1,
                                  .mute_from = 1,
                                  .then = RELP_HALF_CLOSE,
                                  .then_received = 3},
                                 {0}};
    struct session_bench bench;
    session_bench_start(&bench, 1, plans, 2);
    bench.options.window_messages = 3;
    session_bench_open(&bench);
    session_log(&bench, 0, 3);
    assert_int_equal(weir_pool_flush(bench.pool, SESSION_CLOSE_MS), 0);
    struct weir_metrics metrics;
    session_bench_close(&bench, SESSION_CLOSE_MS, 0, &metrics);
    session_expect_connection(&bench, 1, 1, 2);
    session_bench_end(&bench);
}

struct told {
    _Atomic uint32_t lines;
    char first[512];
};

static void told_line(void *context, const char *line)
{
    struct told *told = context;
    if (atomic_load(&told->lines) == 0) {
        (void)snprintf(told->first, sizeof(told->first), "%s", line);
    }
    (void)atomic_fetch_add(&told->lines, 1);
}

// What a server does wrong is told, with where and what.
static void the_host_is_told(void **unused)
{
    (void)unused;
    static const struct {
        struct relp_plan plan;
        const char *word;
    } cases[] = {{{.raw = "?", .raw_at = 1, .mute_from = 1}, "protocol"},
                 {{.refuse_from = 1}, "refused"},
                 {{.open = RELP_OPEN_REFUSED}, "refused"},
                 {{.mute_from = 1}, "answer_timeout"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct relp_plan plans[2] = {cases[i].plan, {0}};
        struct told told = {0};
        struct session_bench bench;
        session_bench_start(&bench, 1, plans, 2);
        bench.options.answer_timeout_ms = 1000;
        bench.options.log = told_line;
        bench.options.log_context = &told;
        session_bench_open(&bench);
        session_log(&bench, 0, 10);
        assert_int_equal(weir_pool_flush(bench.pool, SESSION_CLOSE_MS), 0);
        struct weir_metrics metrics;
        session_bench_close(&bench, SESSION_CLOSE_MS, 0, &metrics);
        assert_true(told.lines >= 1);
        print_message("told: %s\n", told.first);
        assert_null(strchr(told.first, '\n'));
        assert_non_null(strstr(told.first, relp_server_endpoint(bench.server)));
        assert_non_null(strstr(told.first, cases[i].word));
        session_bench_end(&bench);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refused_message_is_sent_again),
        cmocka_unit_test(refused_for_ever),
        cmocka_unit_test(refused_messages_are_dropped),
        cmocka_unit_test(a_refused_open_is_tried_again),
        cmocka_unit_test(a_refused_open_makes_the_next_endpoint_serve),
        cmocka_unit_test(refused_messages_go_to_the_next_endpoint),
        cmocka_unit_test(failback_ends_the_session_well),
        cmocka_unit_test(a_violation_costs_the_connection_and_nothing_else),
        cmocka_unit_test(an_answer_before_the_message),
        cmocka_unit_test(an_answer_within_the_message),
        cmocka_unit_test(a_torn_answer),
        cmocka_unit_test(the_host_is_told),
    };
    cmocka_set_test_filter(getenv("WEIR_TEST_FILTER"));
    return cmocka_run_group_tests_name("session_refusal", tests, NULL, NULL);
}
