// Tests of the way back to a preferred endpoint: when, how gracefully, and when not.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "tests/support_failover.h"
#include "tests/support_relp.h"

struct way {
    const char *name;
    enum collector_kind kind;
    enum weir_confirm confirm;
    uint64_t epoch_bytes_max;
};
static const struct way ways[] = {
    {"unix", COLLECTOR_UNIX, WEIR_CONFIRM_PEER, 0},
    {"tcp in epochs", COLLECTOR_TCP, WEIR_CONFIRM_PEER, 64 << 10},
    {"tcp acknowledged", COLLECTOR_TCP, WEIR_CONFIRM_PEER, 0},
    {"unix sent", COLLECTOR_UNIX, WEIR_CONFIRM_SENT, 0},
    {"unix datagrams", COLLECTOR_UNIX_DGRAM, WEIR_CONFIRM_SENT, 0},
};
#define WAYS_COUNT (sizeof(ways) / sizeof(ways[0]))

// Under way all the time, and nothing is lost, sent twice or counted as a break.
static void returns_after_it_was_up(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < WAYS_COUNT; i++) {
        struct failover bench;
        failover_start(&bench, ways[i].kind, ",", NULL, 0);
        bench.options.confirm = ways[i].confirm;
        bench.options.epoch_bytes_max = ways[i].epoch_bytes_max;
        collector_listen(bench.collectors[0], false);
        failover_open(&bench);
        failover_log_until(&bench, confirmed_messages, 100);
        uint64_t up_ns = test_now_ns();
        collector_listen(bench.collectors[0], true);
        failover_log_until(&bench, failbacks, 1);
        uint64_t took_ns = test_now_ns() - up_ns;
        failover_log(&bench, 100);
        struct weir_metrics metrics;
        uint64_t copies = failover_close(&bench, 0, &metrics);
        print_message("%s: back after %lu ms\n", ways[i].name,
                      (unsigned long)(took_ns / FAILOVER_MS));
        assert_true(took_ns >= FAILOVER_BACK_MS * FAILOVER_MS);
        assert_int_equal(copies, 0);
        assert_int_equal(metrics.resent_messages, 0);
        assert_int_equal(metrics.disconnects, 0);
        assert_int_equal(metrics.failovers, 1);
        assert_int_equal(metrics.failbacks, 1);
        assert_true(collector_bytes(bench.collectors[0]) >= 100 * 101);
        failover_end(&bench);
    }
}

struct flood {
    pthread_t thread;
    struct weir_pool *pool;
    _Atomic bool over;
    uint32_t accepted;
};

static void *flood_main(void *argument)
{
    struct flood *flood = argument;
    while (!atomic_load(&flood->over)) {
        uint32_t accepted = test_pool_log(flood->pool, 0, 0, flood->accepted, 1, 100);
        flood->accepted += accepted;
        if (accepted == 0) {
            test_pause_us(200);
        }
    }
    return NULL;
}

static void flood_start(struct flood *flood, struct weir_pool *pool)
{
    *flood = (struct flood){.pool = pool};
    assert_int_equal(pthread_create(&flood->thread, NULL, flood_main, flood), 0);
}

// returns  how many were accepted.
static uint32_t flood_stop(struct flood *flood)
{
    atomic_store(&flood->over, true);
    assert_int_equal(pthread_join(flood->thread, NULL), 0);
    return flood->accepted;
}

// The buffer is never empty, so that the socket always has more to take: it comes back all the
// same, at a boundary.
static void returns_under_a_flood(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < 3; i++) {
        struct failover bench;
        failover_start(&bench, ways[i].kind, ",", NULL, 0);
        bench.options.epoch_bytes_max = ways[i].epoch_bytes_max;
        bench.options.buffer_bytes_max = 1 << 20;
        collector_listen(bench.collectors[0], false);
        failover_open(&bench);
        struct flood flood;
        flood_start(&flood, bench.pool);
        test_pool_wait_for(bench.pool, confirmed_messages, 1000);
        collector_listen(bench.collectors[0], true);
        test_pool_wait_for(bench.pool, failbacks, 1);
        bench.logged = flood_stop(&flood);
        struct weir_metrics metrics;
        assert_int_equal(failover_close(&bench, 0, &metrics), 0);
        assert_int_equal(metrics.disconnects, 0);
        failover_end(&bench);
    }
}

// What is in flight on the backup is finished first, however slow that one is.
static void leaves_a_slow_backup_in_order(void **unused)
{
    (void)unused;
    struct failover bench;
    struct collector_plan slow = {.read_bytes_max = 500};
    failover_start_backup(&bench, COLLECTOR_UNIX, &slow);
    collector_listen(bench.collectors[0], false);
    failover_open(&bench);
    failover_log(&bench, 4000);
    test_pool_wait_for(bench.pool, failovers, 1);
    collector_listen(bench.collectors[0], true);
    test_pool_wait_for(bench.pool, failbacks, 1);
    size_t bytes = collector_bytes(bench.collectors[1]);
    struct weir_metrics metrics;
    assert_int_equal(failover_close(&bench, 0, &metrics), 0);
    assert_int_equal(metrics.resent_messages, 0);
    assert_int_equal(collector_bytes(bench.collectors[1]), bytes); // nothing was left to be read
    failover_end(&bench);
}

// Up, but never for long enough.
static void one_that_flaps_is_not_returned_to(void **unused)
{
    (void)unused;
    for (int kind = COLLECTOR_UNIX; kind <= COLLECTOR_TCP; kind++) {
        struct collector_plan plan = {.then = COLLECTOR_CLOSE};
        struct failover bench;
        failover_start(&bench, (enum collector_kind)kind, ",", &plan, 1);
        bench.options.epoch_bytes_max = 0;
        bench.options.failback_ms = 150; // many rounds of the collector, also on a busy machine
        collector_listen(bench.collectors[0], false);
        failover_open(&bench);
        failover_log_until(&bench, confirmed_messages, 10);
        collector_listen(bench.collectors[0], true);
        while (collector_connections(bench.collectors[0]) < 4) {
            failover_log(&bench, 1);
            test_pause_us(1000);
        }
        struct weir_metrics metrics;
        assert_int_equal(failover_close(&bench, 0, &metrics), 0);
        assert_int_equal(metrics.failbacks, 0);
        assert_int_equal(metrics.connects, 1);
        assert_int_equal(metrics.disconnects, 0);
        failover_end(&bench);
    }
}

// It holds a connection and does not read: away again, and each time it has to be up for longer.
static void a_bad_return_makes_the_next_one_later(void **unused)
{
    (void)unused;
    struct collector_plan plan = {.then = COLLECTOR_STALL, .garbage_bytes = 100000};
    struct failover bench;
    failover_start(&bench, COLLECTOR_UNIX, ",", &plan, 1);
    bench.options.stall_timeout_ms = 100;
    collector_listen(bench.collectors[0], false);
    failover_open(&bench);
    failover_log_until(&bench, confirmed_messages, 10);
    collector_listen(bench.collectors[0], true);
    for (uint32_t returns = 1; returns <= 2; returns++) {
        failover_log_until(&bench, failbacks, returns);
        for (uint32_t i = 0; i < 40; i++) {
            failover_log(&bench, 100); // more than the socket takes
            test_pause_us(1000);
        }
        test_pool_wait_for(bench.pool, failovers, returns + 1);
    }
    uint64_t away_ns = test_now_ns();
    failover_log_until(&bench, failbacks, 3);
    uint64_t took_ns = test_now_ns() - away_ns;
    print_message("back after %lu ms\n", (unsigned long)(took_ns / FAILOVER_MS));
    // Once waiting, four times being up; less the moment that passed before away_ns was taken.
    assert_true(took_ns >= (5 * FAILOVER_BACK_MS - 50) * FAILOVER_MS);
    struct weir_metrics metrics;
    failover_die(bench.collectors[0]); // what it did not read is sent to the backup
    (void)failover_close(&bench, 0, &metrics);
    failover_end(&bench);
}

static void zero_is_never(void **unused)
{
    (void)unused;
    struct failover bench;
    failover_start(&bench, COLLECTOR_UNIX, ",", NULL, 0);
    bench.options.failback_ms = 0;
    collector_listen(bench.collectors[0], false);
    failover_open(&bench);
    failover_log_until(&bench, confirmed_messages, 10);
    collector_listen(bench.collectors[0], true);
    test_pause_us(500000);
    struct weir_metrics metrics;
    assert_int_equal(failover_close(&bench, 0, &metrics), 0);
    assert_int_equal(metrics.failbacks, 0);
    assert_int_equal(collector_connections(bench.collectors[0]), 0);
    failover_end(&bench);
}

// ---- Over RELP ----

// The first connection is refused, the second is the probe's. What the backup owes an answer for is
// answered, and its session closed, before the preferred one is dialled.
static void relp_returns_once_all_is_answered(void **unused)
{
    (void)unused;
    static const struct relp_plan plans[] = {{.open = RELP_OPEN_REFUSED}, {0}};
    static const struct relp_plan slow = {.batch = 7, .reversed = true};
    struct weir_runtime *runtime = test_runtime_create(1, NULL);
    struct relp_server *servers[] = {relp_server_start(plans, 2), relp_server_start(&slow, 1)};
    struct weir_pool_options options;
    char endpoints[128];
    (void)snprintf(endpoints, sizeof(endpoints), "%s,%s", relp_server_endpoint(servers[0]),
                   relp_server_endpoint(servers[1]));
    test_pool_options(&options, endpoints);
    options.failback_ms = FAILOVER_BACK_MS;
    struct failover bench = {.pool = test_pool_open(runtime, &options)};
    struct flood flood;
    flood_start(&flood, bench.pool);
    test_pool_wait_for(bench.pool, failbacks, 1);
    bench.logged = flood_stop(&flood);
    assert_int_equal(weir_pool_flush(bench.pool, 20000), 0); // so that there is room
    failover_log(&bench, 100);
    assert_int_equal(weir_pool_close(bench.pool, 20000), 0);
    struct weir_metrics metrics;
    test_pool_books(bench.pool, &metrics);
    assert_int_equal(metrics.confirmed_messages, bench.logged);
    assert_int_equal(metrics.resent_messages, 0);
    assert_int_equal(metrics.failovers, 1);
    assert_int_equal(metrics.failbacks, 1);
    uint64_t accepted = 0;
    for (int i = 0; i < 2; i++) {
        struct relp_tally tally;
        struct relp_view view;
        relp_server_stop(servers[i]);
        relp_server_tally(servers[i], 1, bench.logged, &tally);
        relp_server_look_all(servers[i], &view);
        if (tally.wrong != NULL || view.wrong != NULL) {
            fail_msg("server %d: %s", i, tally.wrong != NULL ? tally.wrong : view.wrong);
        }
        assert_int_equal(tally.repeated, 0);
        assert_true(tally.accepted >= 100 || i == 1);
        accepted += tally.accepted;
    }
    assert_int_equal(accepted, bench.logged);
    assert_int_equal(relp_server_connections(servers[0]), 3);
    assert_int_equal(relp_server_connections(servers[1]), 1);
    weir_pool_destroy(bench.pool);
    weir_runtime_destroy(runtime);
    relp_server_free(servers[0]);
    relp_server_free(servers[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(returns_after_it_was_up),
        cmocka_unit_test(returns_under_a_flood),
        cmocka_unit_test(leaves_a_slow_backup_in_order),
        cmocka_unit_test(one_that_flaps_is_not_returned_to),
        cmocka_unit_test(a_bad_return_makes_the_next_one_later),
        cmocka_unit_test(zero_is_never),
        cmocka_unit_test(relp_returns_once_all_is_answered),
    };
    return cmocka_run_group_tests_name("failback", tests, NULL, NULL);
}
