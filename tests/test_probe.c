// Tests of writer/probe.h: that it costs nothing, ends with what it was for, and stands any fault.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "tests/support_failover.h"
#include "tests/support_os.h"

// Until the probe has something to do, the task sleeps.
static void waiting_for_the_preferred_costs_nothing(void **unused)
{
    (void)unused;
    struct failover bench;
    failover_start(&bench, COLLECTOR_TCP, ",", NULL, 0);
    bench.options.failback_ms = 60000;
    collector_listen(bench.collectors[0], false);
    failover_open(&bench);
    failover_log(&bench, 10);
    assert_int_equal(weir_pool_flush(bench.pool, 20000), 0);
    test_pause_us(500000);
    uint64_t polls = test_pool_polls(bench.runtime);
    test_pause_us(500000);
    assert_int_equal(test_pool_polls(bench.runtime) - polls, 0);
    struct weir_metrics metrics;
    (void)failover_close(&bench, 0, &metrics);
    failover_end(&bench);
}

// Nor while the backup takes its time to prove an epoch, and nobody looks at the probe.
static void a_long_proof_costs_nothing(void **unused)
{
    (void)unused;
    struct collector_plan plan = {.hold_open = true};
    struct failover bench;
    failover_start_backup(&bench, COLLECTOR_TCP, &plan);
    bench.options.stall_timeout_ms = 20000;
    collector_listen(bench.collectors[0], false);
    failover_open(&bench);
    failover_log(&bench, 10);
    assert_int_equal(weir_pool_flush(bench.pool, 100), WEIR_ETIMEOUT);
    test_pause_us(3 * FAILOVER_BACK_MS * 1000);
    uint64_t polls = test_pool_polls(bench.runtime);
    test_pause_us(500000);
    polls = test_pool_polls(bench.runtime) - polls;
    print_message("%lu polls in half a second\n", (unsigned long)polls);
    assert_true(polls < 100);
    collector_resume(bench.collectors[1]);
    assert_int_equal(weir_pool_flush(bench.pool, 20000), 0);
    failover_die(bench.collectors[1]); // else it would hold the last connection open too
    struct weir_metrics metrics;
    assert_int_equal(failover_close(&bench, 0, &metrics), 0);
    failover_end(&bench);
}

// The pool goes while a probe is in the middle of each of its steps.
static void closing_ends_the_probe(void **unused)
{
    (void)unused;
    for (uint32_t i = 0; i < 12; i++) {
        struct failover bench;
        failover_start(&bench, i % 2 == 0 ? COLLECTOR_UNIX : COLLECTOR_TCP, ",", NULL, 0);
        bench.options.failback_ms = 30;
        collector_listen(bench.collectors[0], false);
        failover_open(&bench);
        failover_log_until(&bench, confirmed_messages, 1);
        collector_listen(bench.collectors[0], i % 3 != 0);
        test_pause_us(i * 10000);
        failover_log(&bench, 10);
        struct weir_metrics metrics;
        assert_int_equal(failover_close(&bench, 0, &metrics), 0);
        failover_end(&bench);
    }
}

// The backup dies while the preferred one is being watched: that connection is of no more use.
static void a_break_ends_the_probe(void **unused)
{
    (void)unused;
    struct failover bench;
    failover_start(&bench, COLLECTOR_UNIX, ",", NULL, 0);
    bench.options.failback_ms = 1000;
    collector_listen(bench.collectors[0], false);
    failover_open(&bench);
    failover_log_until(&bench, confirmed_messages, 10);
    collector_listen(bench.collectors[0], true);
    assert_true(collector_wait_connections(bench.collectors[0], 1));
    failover_die(bench.collectors[1]);
    test_pool_wait_for(bench.pool, failbacks, 1);
    assert_true(collector_wait_connections(bench.collectors[0], 2));
    for (int i = 0; i < 10000 && collector_ends(bench.collectors[0]) == 0; i++) {
        test_pause_us(1000);
    }
    assert_int_equal(collector_ends(bench.collectors[0]), 1);
    struct weir_metrics metrics;
    failover_log(&bench, 10);
    (void)failover_close(&bench, 0, &metrics);
    assert_int_equal(metrics.disconnects, 1);
    failover_end(&bench);
}

// Virtual time, two collectors that are pumped by hand, and each call fails once.
struct torture {
    struct weir_os real;
    enum collector_kind kind;
    struct collector *collectors[2]; // of the present run
};

static int torture_poller_wait(void *self, const struct weir_poller *poller,
                               struct weir_os_event *events, uint32_t events_max,
                               uint64_t deadline_ns)
{
    struct torture *me = self;
    collector_pump(me->collectors[0]);
    collector_pump(me->collectors[1]);
    return me->real.poller_wait(me->real.self, poller, events, events_max, deadline_ns);
}

static bool torture_drive(struct weir_runtime *runtime, struct weir_pool *pool, size_t offset,
                          uint64_t least)
{
    for (int i = 0; i < 20000; i++) {
        struct weir_metrics metrics;
        uint64_t value;
        weir_pool_stats(pool, &metrics);
        memcpy(&value, (const unsigned char *)&metrics + offset, sizeof(value));
        if (value >= least) {
            return true;
        }
        (void)weir_turn(runtime, 64, 20 * FAILOVER_MS);
    }
    return false;
}

static const char *torture_use(struct torture *me, struct weir_runtime *runtime,
                               struct weir_pool *pool)
{
    if (test_pool_log(pool, 0, 0, 0, 20, 100) != 20) {
        return "a message was refused though there was room";
    }
    if (!torture_drive(runtime, pool, offsetof(struct weir_metrics, connects), 1)) {
        return "the backup was not reached";
    }
    collector_listen(me->collectors[0], true);
    if (!torture_drive(runtime, pool, offsetof(struct weir_metrics, failbacks), 1)) {
        return "it did not come back";
    }
    if (test_pool_log(pool, 0, 0, 20, 20, 100) != 20) {
        return "a message was refused though there was room";
    }
    int verdict = weir_pool_close(pool, 1000000);
    struct weir_metrics metrics;
    weir_pool_stats(pool, &metrics);
    if (verdict != 0 && verdict != WEIR_EUNPROVEN) {
        return "the close did not succeed";
    }
    bool all = metrics.confirmed_messages + test_pool_dropped(&metrics) == 40;
    return all && weir_metrics_balanced(&metrics) ? NULL : "the books are wrong";
}

static const char *torture_run(struct support_os *support, void *argument)
{
    struct torture *me = argument;
    char endpoints[256];
    for (int i = 0; i < 2; i++) {
        me->collectors[i] = collector_start(me->kind, NULL, 0, false, i == 1);
    }
    (void)snprintf(endpoints, sizeof(endpoints), "%s,%s", collector_endpoint(me->collectors[0]),
                   collector_endpoint(me->collectors[1]));
    struct weir_os os = support_os_get(support);
    struct weir_runtime_options runtime_options = {0, &os};
    struct weir_runtime *runtime = NULL;
    const char *wrong = NULL;
    if (weir_runtime_create(&runtime, &runtime_options) == 0) {
        struct weir_pool_options options;
        struct weir_pool *pool = NULL;
        char why[384];
        test_pool_options(&options, endpoints);
        options.failback_ms = FAILOVER_BACK_MS;
        if (weir_pool_open(&pool, runtime, &options, why, sizeof(why)) == 0) {
            wrong = torture_use(me, runtime, pool);
            weir_pool_destroy(pool);
        }
        weir_runtime_destroy(runtime);
    }
    collector_free(me->collectors[0]);
    collector_free(me->collectors[1]);
    return wrong;
}

static void every_call_may_fail_on_the_way_back(void **unused)
{
    (void)unused;
    for (int kind = COLLECTOR_UNIX; kind <= COLLECTOR_UNIX_DGRAM; kind++) {
        struct torture me = {.real = weir_os_linux(), .kind = (enum collector_kind)kind};
        struct weir_os inner = me.real;
        inner.self = &me; // the real one has no use for it
        inner.poller_wait = torture_poller_wait;
        struct support_os_torture torture = {
            .inner = &inner,
            .scenario = torture_run,
            .argument = &me,
            .functions = ~(UINT64_C(1) << SUPPORT_OS_resolve),
            .calls_max = test_times(60),
            .is_virtual = true,
        };
        uint64_t runs = 0;
        assert_int_equal(support_os_torture(&torture, &runs), 0);
        print_message("%lu runs with a fault\n", (unsigned long)runs);
        assert_true(runs > 20);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waiting_for_the_preferred_costs_nothing),
        cmocka_unit_test(a_long_proof_costs_nothing),
        cmocka_unit_test(closing_ends_the_probe),
        cmocka_unit_test(a_break_ends_the_probe),
        cmocka_unit_test(every_call_may_fail_on_the_way_back),
    };
    return cmocka_run_group_tests_name("probe", tests, NULL, NULL);
}
