// Tests of failover on real sockets: who takes over, which address, who is spread over what.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support_failover.h"

// Messages in flight, and the collector dies: what it had not confirmed arrives at the backup.
static void a_backup_takes_over(void **unused)
{
    (void)unused;
    for (int kind = COLLECTOR_UNIX; kind <= COLLECTOR_TCP; kind++) {
        struct collector_plan plan = {.then = COLLECTOR_STALL, .then_bytes = 20000};
        struct failover bench;
        failover_start(&bench, (enum collector_kind)kind, ",", &plan, 1);
        failover_open(&bench);
        failover_log(&bench, 1000);
        assert_true(collector_wait_bytes(bench.collectors[0], plan.then_bytes));
        test_pool_wait_for(bench.pool, sent_bytes, 2 * plan.then_bytes);
        failover_die(bench.collectors[0]);
        failover_log(&bench, 1000);
        assert_int_equal(weir_pool_flush(bench.pool, 20000), 0);
        struct weir_metrics metrics;
        uint64_t copies = failover_close(&bench, 0, &metrics);
        print_message("%lu sent again, %lu arrived twice\n", (unsigned long)metrics.resent_messages,
                      (unsigned long)copies);
        assert_int_equal(metrics.failovers, 1);
        assert_int_equal(metrics.failbacks, 0);
        assert_true(metrics.resent_messages > 0);
        failover_end(&bench);
    }
}

// It was healthy and is back at once: nobody moves. On TCP it dies in the middle of an epoch, of
// which nothing is proven; but the one before was.
static void a_restart_is_no_failover(void **unused)
{
    (void)unused;
    static const struct collector_plan plans[] = {
        {0}, {.then = COLLECTOR_STALL, .then_bytes = 1500}, {0}};
    for (int kind = COLLECTOR_UNIX; kind <= COLLECTOR_TCP; kind++) {
        struct failover bench;
        // On Unix the first connection goes on; there it dies with everything read.
        size_t skipped = kind == COLLECTOR_UNIX ? 2 : 0;
        failover_start(&bench, (enum collector_kind)kind, ",", plans + skipped, 3 - skipped);
        failover_open(&bench);
        failover_log(&bench, 20);
        assert_int_equal(weir_pool_flush(bench.pool, 20000), 0);
        failover_log(&bench, 20);
        assert_true(collector_wait_bytes(bench.collectors[0], 20 * 101 + 1500));
        collector_cut(bench.collectors[0]);
        test_pool_wait_for(bench.pool, disconnects, 1);
        struct weir_metrics metrics;
        failover_log(&bench, 20);
        (void)failover_close(&bench, 0, &metrics);
        assert_int_equal(metrics.failovers, 0);
        assert_int_equal(collector_connections(bench.collectors[1]), 0);
        failover_end(&bench);
    }
}

// A collector that takes a message or two and closes is not dialled in a loop.
static void each_break_is_followed_by_a_wait(void **unused)
{
    (void)unused;
    struct collector_plan plan = {.then = COLLECTOR_CLOSE, .then_bytes = 150};
    struct failover bench;
    failover_start(&bench, COLLECTOR_UNIX, "", &plan, 1);
    bench.options.retry_interval_ms = bench.options.retry_interval_max_ms = 20;
    uint64_t begin_ns = test_now_ns();
    failover_open(&bench);
    failover_log(&bench, 40);
    assert_int_equal(weir_pool_flush(bench.pool, 20000), 0);
    uint64_t took_ns = test_now_ns() - begin_ns;
    struct weir_metrics metrics;
    test_pool_books(bench.pool, &metrics);
    assert_true(metrics.disconnects >= 10);
    assert_true(took_ns >= (metrics.connects - 1) * 10 * FAILOVER_MS);
    (void)failover_close(&bench, 0, &metrics);
    failover_end(&bench);
}

// Each pass over the list comes after a wait, and leaves nobody out.
static void all_down_then_one_up(void **unused)
{
    (void)unused;
    for (size_t up = 0; up < 3; up++) {
        struct failover bench;
        failover_start(&bench, COLLECTOR_UNIX, "|,", NULL, 0);
        for (size_t i = 0; i < 3; i++) {
            collector_listen(bench.collectors[i], false);
        }
        uint64_t begin_ns = test_now_ns();
        failover_open(&bench);
        failover_log(&bench, 20);
        test_pool_wait_for(bench.pool, faults[WEIR_FAULT_CONNECT], 12);
        struct weir_metrics metrics;
        weir_pool_stats(bench.pool, &metrics);
        // Waits of 5 to 10, 10 to 20, 20 to 40, 25 to 50 ms between passes of three.
        uint64_t passes_max = (test_now_ns() - begin_ns) / (5 * FAILOVER_MS) + 2;
        assert_true(metrics.faults[WEIR_FAULT_CONNECT] <= 3 * passes_max);
        collector_listen(bench.collectors[up], true);
        assert_int_equal(weir_pool_flush(bench.pool, 20000), 0);
        assert_int_equal(collector_connections(bench.collectors[up]), 1);
        assert_int_equal(failover_close(&bench, 0, &metrics), 0);
        assert_int_equal(metrics.failovers, up == 0 ? 0 : 1);
        failover_end(&bench);
    }
}

// It accepts, and then: reads nothing, reads a byte and no other, or closes. The next one serves.
static void one_that_only_accepts_costs_its_connection(void **unused)
{
    (void)unused;
    static const struct {
        enum collector_kind kind;
        struct collector_plan plan;
    } cases[] = {
        {COLLECTOR_UNIX, {.then = COLLECTOR_STALL}},
        {COLLECTOR_UNIX, {.then = COLLECTOR_STALL, .then_bytes = 1}},
        {COLLECTOR_UNIX, {.then = COLLECTOR_CLOSE}},
        {COLLECTOR_UNIX, {.then = COLLECTOR_CLOSE, .then_bytes = 1}},
        {COLLECTOR_TCP, {.then = COLLECTOR_CLOSE}},
        {COLLECTOR_TCP, {.then = COLLECTOR_CLOSE, .then_bytes = 1}},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct failover bench;
        failover_start(&bench, cases[i].kind, ",", &cases[i].plan, 1);
        bench.options.failback_ms = 0;
        bench.options.stall_timeout_ms = 200;
        failover_open(&bench);
        failover_log(&bench, 4000); // more than a Unix socket takes
        assert_int_equal(weir_pool_flush(bench.pool, 20000), 0);
        struct weir_metrics metrics;
        (void)failover_close(&bench, 0, &metrics);
        // Those that close at once may have done so before there was anything to send.
        assert_int_equal(metrics.failovers, 1);
        assert_int_equal(collector_connections(bench.collectors[0]), metrics.disconnects);
        assert_int_equal(test_pool_dropped(&metrics), 0);
        failover_end(&bench);
    }
}

// On TCP its kernel takes and acknowledges what nobody reads, and that has to do for a peer that
// does not end its side. But it does not stop the writer.
static void one_that_never_reads_stops_nobody(void **unused)
{
    (void)unused;
    struct collector_plan plan = {.then = COLLECTOR_STALL};
    struct failover bench;
    failover_start(&bench, COLLECTOR_TCP, ",", &plan, 1);
    bench.options.stall_timeout_ms = 200;
    bench.options.tcp_user_timeout_ms = 300;
    failover_open(&bench);
    failover_log(&bench, 4000);
    assert_int_equal(weir_pool_flush(bench.pool, 60000), 0);
    int verdict = weir_pool_close(bench.pool, 1000);
    assert_true(verdict == 0 || verdict == WEIR_EUNPROVEN); // by how much its kernel takes
    struct weir_metrics metrics;
    test_pool_books(bench.pool, &metrics);
    assert_int_equal(metrics.confirmed_messages, 4000);
    failover_end(&bench);
}

// Nobody asked for what it says, and nobody minds.
static void one_that_babbles_serves(void **unused)
{
    (void)unused;
    struct collector_plan plan = {.garbage_bytes = 1 << 20};
    struct failover bench;
    failover_start(&bench, COLLECTOR_UNIX, ",", &plan, 1);
    failover_open(&bench);
    failover_log(&bench, 1000);
    test_pool_wait_for(bench.pool, received_bytes, 1 << 20);
    struct weir_metrics metrics;
    assert_int_equal(failover_close(&bench, 0, &metrics), 0);
    assert_int_equal(metrics.failovers, 0);
    assert_int_equal(metrics.disconnects, 0);
    failover_end(&bench);
}

// ---- Spreading ----

// Connections that are open now.
static size_t open_connections(struct collector *collector)
{
    return collector_connections(collector) - collector_ends(collector);
}

static void writers_spread_and_spread_again(void **unused)
{
    (void)unused;
    struct failover bench;
    failover_start(&bench, COLLECTOR_UNIX, "|", NULL, 0);
    bench.options.pool_size = 4;
    failover_open(&bench);
    test_pool_wait_for(bench.pool, connects, 4);
    assert_true(collector_wait_connections(bench.collectors[0], 2));
    assert_true(collector_wait_connections(bench.collectors[1], 2));
    for (uint64_t key = 1; key <= 64; key++) {
        bench.logged += test_pool_log(bench.pool, key, 0, bench.logged, 1, 100);
    }
    assert_int_equal(weir_pool_flush(bench.pool, 20000), 0);
    // One goes: the other has all four. It comes back: each has its two.
    failover_die(bench.collectors[0]);
    test_pool_wait_for(bench.pool, failovers, 2);
    assert_true(collector_wait_connections(bench.collectors[1], 4));
    collector_listen(bench.collectors[0], true);
    test_pool_wait_for(bench.pool, failbacks, 2);
    for (int i = 0; i < 10000 && open_connections(bench.collectors[1]) != 2; i++) {
        test_pause_us(1000);
    }
    assert_int_equal(open_connections(bench.collectors[1]), 2);
    struct weir_metrics metrics;
    assert_int_equal(weir_pool_close(bench.pool, 20000), 0);
    test_pool_books(bench.pool, &metrics);
    assert_int_equal(metrics.confirmed_messages, 64);
    failover_end(&bench);
}

// ---- Names ----

// The real os, but every name has the addresses of the collectors that are in the answer.
struct names {
    struct weir_os real;
    pthread_mutex_t mutex; // for the answer
    struct weir_address answer[2];
    int answer_count;
};

static int names_resolve(void *self, const char *host, uint16_t port, bool numeric,
                         struct weir_address *addresses, uint32_t addresses_max)
{
    struct names *names = self;
    int count = names->real.resolve(names->real.self, host, port, true, addresses, addresses_max);
    if (count > 0 || numeric) {
        return count;
    }
    pthread_mutex_lock(&names->mutex);
    count = names->answer_count;
    memcpy(addresses, names->answer, (size_t)count * sizeof(addresses[0]));
    pthread_mutex_unlock(&names->mutex);
    return count;
}

static void names_answer(struct names *names, struct collector *const *collectors, int count)
{
    pthread_mutex_lock(&names->mutex);
    for (int i = 0; i < count; i++) {
        char address[32];
        unsigned port = 0;
        assert_int_equal(
            sscanf(collector_endpoint(collectors[i]), "tcp://%31[0-9.]:%u", address, &port), 2);
        assert_int_equal(names->real.resolve(names->real.self, address, (uint16_t)port, true,
                                             &names->answer[i], 1),
                         1);
    }
    names->answer_count = count;
    pthread_mutex_unlock(&names->mutex);
}

// Two collectors behind one name.
static void names_start(struct names *names, struct failover *bench,
                        const struct collector_plan *plan)
{
    failover_start(bench, COLLECTOR_TCP, ",", plan, plan != NULL ? 1 : 0);
    weir_runtime_destroy(bench->runtime);
    memset(names, 0, sizeof(*names));
    names->real = weir_os_linux();
    assert_int_equal(pthread_mutex_init(&names->mutex, NULL), 0);
    struct weir_os os = names->real;
    os.self = names; // the real one has no use for it
    os.resolve = names_resolve;
    bench->runtime = test_runtime_create(1, &os);
    bench->options.endpoint = "tcp://collector.test:601";
    names_answer(names, bench->collectors, 2);
}

static void names_end(struct names *names, struct failover *bench)
{
    failover_end(bench);
    pthread_mutex_destroy(&names->mutex);
}

// The first address is dead: that costs one attempt, not one at each dial.
static void the_address_that_served_comes_first(void **unused)
{
    (void)unused;
    struct names names;
    struct failover bench;
    names_start(&names, &bench, NULL);
    collector_listen(bench.collectors[0], false);
    failover_open(&bench);
    for (uint32_t i = 1; i <= 3; i++) {
        failover_log(&bench, 10);
        assert_int_equal(weir_pool_flush(bench.pool, 20000), 0);
        size_t bytes = collector_bytes(bench.collectors[1]);
        failover_log(&bench, 10);
        assert_true(collector_wait_bytes(bench.collectors[1], bytes + 1));
        collector_cut(bench.collectors[1]);
        test_pool_wait_for(bench.pool, disconnects, i);
    }
    struct weir_metrics metrics;
    (void)failover_close(&bench, 0, &metrics);
    assert_int_equal(metrics.faults[WEIR_FAULT_CONNECT], 1);
    names_end(&names, &bench);
}

// The first address accepts, and that is all: the second one has its turn.
static void an_address_that_does_not_serve_comes_last(void **unused)
{
    (void)unused;
    struct collector_plan plan = {.then = COLLECTOR_CLOSE, .then_bytes = 1};
    struct names names;
    struct failover bench;
    names_start(&names, &bench, &plan);
    failover_open(&bench);
    failover_log(&bench, 100);
    assert_int_equal(weir_pool_flush(bench.pool, 20000), 0);
    struct weir_metrics metrics;
    (void)failover_close(&bench, 0, &metrics);
    assert_int_equal(metrics.failovers, 0); // one endpoint
    assert_int_equal(collector_connections(bench.collectors[0]), 1);
    names_end(&names, &bench);
}

static void a_name_that_moves_is_followed(void **unused)
{
    (void)unused;
    struct names names;
    struct failover bench;
    names_start(&names, &bench, NULL);
    names_answer(&names, &bench.collectors[0], 1);
    failover_open(&bench);
    failover_log(&bench, 100);
    assert_int_equal(weir_pool_flush(bench.pool, 20000), 0);
    assert_int_equal(collector_bytes(bench.collectors[1]), 0);
    failover_die(bench.collectors[0]);
    failover_log(&bench, 100);
    test_pool_wait_for(bench.pool, faults[WEIR_FAULT_CONNECT], 2);
    names_answer(&names, &bench.collectors[1], 1);
    assert_int_equal(weir_pool_flush(bench.pool, 20000), 0);
    struct weir_metrics metrics;
    (void)failover_close(&bench, 0, &metrics);
    assert_true(collector_bytes(bench.collectors[1]) >= 100 * 101);
    names_end(&names, &bench);
}

// ---- Datagrams ----

static void a_refused_datagram_fails_over(void **unused)
{
    (void)unused;
    struct failover bench;
    failover_start(&bench, COLLECTOR_UDP, ",", NULL, 0);
    collector_listen(bench.collectors[0], false);
    failover_open(&bench);
    failover_log_until(&bench, failovers, 1);
    uint32_t from = bench.logged;
    failover_log(&bench, 50);
    assert_true(collector_wait_bytes(bench.collectors[1], 50 * 101));
    // Nobody can see whether it is back: the writer stays.
    collector_listen(bench.collectors[0], true);
    test_pause_us(3 * FAILOVER_BACK_MS * 1000);
    struct weir_metrics metrics;
    assert_int_equal(weir_pool_close(bench.pool, 5000), 0);
    test_pool_books(bench.pool, &metrics);
    assert_int_equal(metrics.failovers, 1);
    assert_int_equal(metrics.failbacks, 0);
    struct collector_tally tally;
    collector_stop(bench.collectors[1]);
    collector_count(bench.collectors[1], 1, bench.logged, &tally);
    for (uint32_t number = from; number < bench.logged; number++) {
        assert_int_equal(tally.seen[number], 1);
    }
    free(tally.seen);
    failover_end(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_backup_takes_over),
        cmocka_unit_test(a_restart_is_no_failover),
        cmocka_unit_test(each_break_is_followed_by_a_wait),
        cmocka_unit_test(all_down_then_one_up),
        cmocka_unit_test(one_that_only_accepts_costs_its_connection),
        cmocka_unit_test(one_that_never_reads_stops_nobody),
        cmocka_unit_test(one_that_babbles_serves),
        cmocka_unit_test(writers_spread_and_spread_again),
        cmocka_unit_test(the_address_that_served_comes_first),
        cmocka_unit_test(an_address_that_does_not_serve_comes_last),
        cmocka_unit_test(a_name_that_moves_is_followed),
        cmocka_unit_test(a_refused_datagram_fails_over),
    };
    return cmocka_run_group_tests_name("failover", tests, NULL, NULL);
}
