// The bench of support_session.h.
#include "tests/support_session.h"

#include <stdio.h>
#include <string.h>

void session_bench_start(struct session_bench *bench, uint32_t workers,
                         const struct relp_plan *plans, size_t plans_count)
{
    memset(bench, 0, sizeof(*bench));
    bench->runtime = test_runtime_create(workers, NULL);
    bench->server = relp_server_start(plans, plans_count);
    test_pool_options(&bench->options, relp_server_endpoint(bench->server));
    bench->options.connect_timeout_ms = 60000;
    bench->options.stall_timeout_ms = 60000;
    bench->options.answer_timeout_ms = 60000;
}

void session_bench_prefer(struct session_bench *bench, const struct relp_plan *plans,
                          size_t plans_count)
{
    bench->preferred = relp_server_start(plans, plans_count);
    (void)snprintf(bench->endpoints, sizeof(bench->endpoints), "%s,%s",
                   relp_server_endpoint(bench->preferred), relp_server_endpoint(bench->server));
    bench->options.endpoint = bench->endpoints;
}

void session_bench_open(struct session_bench *bench)
{
    bench->pool = test_pool_open(bench->runtime, &bench->options);
}

void session_bench_run(struct session_bench *bench, const struct relp_plan *plans,
                       size_t plans_count)
{
    session_bench_start(bench, 1, plans, plans_count);
    session_bench_open(bench);
}

void session_bench_end(struct session_bench *bench)
{
    weir_pool_destroy(bench->pool);
    weir_runtime_destroy(bench->runtime);
    relp_server_free(bench->server);
    if (bench->preferred != NULL) {
        relp_server_free(bench->preferred);
    }
}

void session_check_server(struct relp_server *server)
{
    for (size_t i = 0; i < relp_server_connections(server); i++) {
        struct relp_view view;
        relp_server_look(server, i, &view);
        if (view.wrong != NULL) {
            fail_msg("connection %zu: %s", i, view.wrong);
        }
    }
}

void session_bench_close(struct session_bench *bench, uint64_t timeout_ms, int verdict,
                         struct weir_metrics *metrics)
{
    assert_int_equal(weir_pool_close(bench->pool, timeout_ms), verdict);
    test_pool_books(bench->pool, metrics);
    assert_int_equal(metrics->held_messages, 0);
    assert_int_equal(metrics->held_bytes, 0);
    assert_int_equal(metrics->writers_connected, 0);
    assert_int_equal(metrics->accepted_messages,
                     metrics->confirmed_messages + test_pool_dropped(metrics));
    relp_server_stop(bench->server);
    session_check_server(bench->server);
    struct relp_view view;
    relp_server_look_all(bench->server, &view);
    uint64_t answered = view.accepted + view.raw_accepted, sent_bytes = view.sent_bytes;
    if (bench->preferred != NULL) {
        relp_server_stop(bench->preferred);
        session_check_server(bench->preferred);
        relp_server_look_all(bench->preferred, &view);
        answered += view.accepted + view.raw_accepted;
        sent_bytes += view.sent_bytes;
    }
    assert_true(metrics->confirmed_messages <= answered);
    assert_true(metrics->received_bytes <= sent_bytes);
}

void session_log(struct session_bench *bench, uint32_t from, uint32_t count)
{
    assert_int_equal(test_pool_log(bench->pool, 0, 0, from, count, SESSION_MESSAGE_BYTES), count);
}

uint64_t session_expect_arrived(struct session_bench *bench, uint32_t count)
{
    struct relp_tally tally;
    relp_server_tally(bench->server, 1, count, &tally);
    if (tally.wrong != NULL) {
        fail_msg("server: %s", tally.wrong);
    }
    assert_int_equal(tally.distinct, count);
    assert_int_equal(tally.others, 0);
    return tally.repeated;
}

void session_expect_connection(struct session_bench *bench, size_t connection, uint32_t first,
                               uint32_t last)
{
    struct relp_view view;
    relp_server_look(bench->server, connection, &view);
    assert_int_equal(view.messages, last - first + 1);
    for (uint32_t i = first; i <= last; i++) {
        char expected[SESSION_MESSAGE_BYTES];
        struct relp_frame frame;
        relp_server_message(bench->server, connection, i - first, &frame);
        collector_message(expected, 0, i, SESSION_MESSAGE_BYTES);
        assert_int_equal(frame.number, i - first + 2);
        assert_int_equal(frame.data_bytes, SESSION_MESSAGE_BYTES);
        assert_memory_equal(frame.data, expected, SESSION_MESSAGE_BYTES);
    }
}

void session_expect_faults(const struct weir_metrics *metrics, enum weir_fault fault,
                           uint64_t count)
{
    for (int i = 0; i < WEIR_FAULTS_COUNT; i++) {
        if (metrics->faults[i] != (i == (int)fault ? count : 0)) {
            fail_msg("fault %d: %lu times", i, (unsigned long)metrics->faults[i]);
        }
    }
}
