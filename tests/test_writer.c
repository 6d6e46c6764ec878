// Tests of writer/writer.c: the rhythm, what it does about every way a peer can behave, the end.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support_loopback.h"
#include "tests/support_os.h"
#include "tests/support_pool.h"

#define SECOND_US 1000000u

// A runtime, a collector that runs by itself, and a pool of one writer between the two.
struct bench {
    struct weir_runtime *runtime;
    struct collector *collector;
    struct weir_pool_options options;
    struct weir_pool *pool;
};

static void bench_start(struct bench *bench, enum collector_kind kind,
                        const struct collector_plan *plans, size_t plans_count)
{
    memset(bench, 0, sizeof(*bench));
    bench->runtime = test_runtime_create(1, NULL);
    bench->collector = collector_start(kind, plans, plans_count, true, true);
    test_pool_options(&bench->options, collector_endpoint(bench->collector));
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

// Closes, demands the verdict, and that everything ended up confirmed (or dropped).
static void bench_close(struct bench *bench, uint64_t timeout_ms, int verdict)
{
    struct weir_metrics metrics;
    assert_int_equal(weir_pool_close(bench->pool, timeout_ms), verdict);
    test_pool_books(bench->pool, &metrics);
    assert_int_equal(metrics.held_messages, 0);
    assert_int_equal(metrics.writers_connected, 0);
    collector_stop(bench->collector);
}

static void log_numbers(struct bench *bench, uint32_t from, uint32_t count)
{
    assert_int_equal(test_pool_log(bench->pool, 0, 0, from, count, 100), count);
}

static uint64_t polls_during(struct bench *bench, uint32_t microseconds)
{
    uint64_t before = test_pool_polls(bench->runtime);
    test_pause_us(microseconds);
    return test_pool_polls(bench->runtime) - before;
}

// ---- Rhythm ----

static void idle_is_idle(enum collector_kind kind)
{
    struct bench bench;
    bench_start(&bench, kind, NULL, 0);
    bench_open(&bench);
    log_numbers(&bench, 0, 10);
    assert_int_equal(weir_pool_flush(bench.pool, 5000), 0);
    test_pause_us(SECOND_US / 2);
    assert_int_equal(polls_during(&bench, SECOND_US), 0);
    // And out of it: by the message alone, without a flush.
    log_numbers(&bench, 10, 1);
    test_pool_wait_for(bench.pool, confirmed_messages, 11);
    struct weir_metrics metrics;
    test_pool_books(bench.pool, &metrics);
    assert_true(metrics.wakes >= 1);
    bench_close(&bench, 5000, 0);
    assert_int_equal(test_pool_arrived(bench.collector, 11), 0);
    bench_end(&bench);
}

static void deep_idle_makes_no_polls(void **unused)
{
    (void)unused;
    idle_is_idle(COLLECTOR_UNIX);
    idle_is_idle(COLLECTOR_TCP);
    idle_is_idle(COLLECTOR_UNIX_DGRAM);
}

static void never_used_makes_no_polls(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench, COLLECTOR_TCP, NULL, 0);
    bench_open(&bench);
    test_pool_wait_for(bench.pool, connects, 1);
    test_pause_us(SECOND_US / 2);
    assert_int_equal(polls_during(&bench, SECOND_US / 2), 0);
    bench_close(&bench, 5000, 0); // nothing was sent, so nothing needs a proof but the peer's end
    bench_end(&bench);
}

// Each message finds the writer in whatever state between busy and deep idle: none is forgotten.
static void no_wake_is_lost(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench, COLLECTOR_UNIX, NULL, 0);
    bench.options.flush_interval_ms = 1;
    bench_open(&bench);
    uint32_t count = (uint32_t)test_times(80);
    uint64_t random = test_seed();
    for (uint32_t i = 0; i < count; i++) {
        log_numbers(&bench, i, 1);
        test_pool_wait_for(bench.pool, confirmed_messages, i + 1);
        // Around the moment of falling asleep, 100 ms after the last message.
        test_pause_us((uint32_t)(test_random(&random) % 130000));
    }
    bench_close(&bench, 5000, 0);
    assert_int_equal(test_pool_arrived(bench.collector, count), 0);
    bench_end(&bench);
}

static void away_costs_only_the_backoff(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench, COLLECTOR_UNIX, NULL, 0);
    collector_listen(bench.collector, false);
    bench.options.retry_interval_ms = 100;
    bench.options.retry_interval_max_ms = 100;
    bench.options.buffer_bytes_max = 64 << 10;
    bench_open(&bench);
    uint64_t before = test_pool_polls(bench.runtime);
    uint32_t accepted = 0;
    for (int i = 0; i < 100; i++) { // a full buffer, and logging goes on
        accepted += test_pool_log(bench.pool, 0, 0, accepted, 20, 100);
        test_pause_us(10000);
    }
    assert_true(test_pool_polls(bench.runtime) - before < 80);
    assert_true(polls_during(&bench, SECOND_US) < 40);
    collector_listen(bench.collector, true);
    assert_int_equal(weir_pool_flush(bench.pool, 5000), 0);
    bench_close(&bench, 5000, 0);
    (void)test_pool_arrived(bench.collector, accepted);
    bench_end(&bench);
}

// While traffic flows the writer comes by itself: far fewer wakes than messages, and at most one
// for every segment that was opened.
static void traffic_makes_few_wakes(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench, COLLECTOR_UNIX, NULL, 0);
    bench_open(&bench);
    uint32_t accepted = 0;
    for (uint32_t i = 0; i < 200; i++) {
        accepted += test_pool_log(bench.pool, 0, 0, accepted, 50, 100);
        test_pause_us(2000);
    }
    bench_close(&bench, 5000, 0);
    struct weir_metrics metrics;
    test_pool_books(bench.pool, &metrics);
    print_message("%u messages, %lu sends, %lu wakes\n", accepted, (unsigned long)metrics.sends,
                  (unsigned long)metrics.wakes);
    assert_true(metrics.wakes <= accepted * 101 / 4096 + 10);
    (void)test_pool_arrived(bench.collector, accepted);
    bench_end(&bench);
}

// A host that formats slowly in its slot keeps a segment incomplete: no reason to look all the
// time.
static void held_slot_does_not_spin(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench, COLLECTOR_UNIX, NULL, 0);
    bench_open(&bench);
    struct weir_slot slot;
    assert_int_equal(weir_reserve(bench.pool, NULL, 100, &slot), 0);
    log_numbers(&bench, 1, 1);
    test_pause_us(SECOND_US / 2);
    uint64_t polls = polls_during(&bench, SECOND_US);
    print_message("%lu polls in a second\n", (unsigned long)polls);
    assert_true(polls < 200);
    collector_message((char *)slot.bytes, 0, 0, 100);
    assert_int_equal(weir_commit(bench.pool, &slot, 100), 0);
    test_pool_wait_for(bench.pool, confirmed_messages, 2);
    bench_close(&bench, 5000, 0);
    assert_int_equal(test_pool_arrived(bench.collector, 2), 0);
    bench_end(&bench);
}

// The same while closing: it ends when the slot is committed, not at the deadline.
static void close_waits_for_a_held_slot(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench, COLLECTOR_UNIX, NULL, 0);
    bench_open(&bench);
    test_pool_wait_for(bench.pool, connects, 1);
    struct weir_slot slot;
    assert_int_equal(weir_reserve(bench.pool, NULL, 100, &slot), 0);
    assert_int_equal(weir_pool_close(bench.pool, 300), WEIR_ETIMEOUT);
    struct weir_metrics metrics;
    test_pool_books(bench.pool, &metrics);
    assert_int_equal(metrics.held_messages, 1);
    weir_abandon(bench.pool, &slot); // too late, and harmless
    bench_end(&bench);
}

// Unconfirmed data needs looks, but only now and then.
static void unread_data_costs_little(void **unused)
{
    (void)unused;
    struct bench bench;
    struct collector_plan plan = {.then = COLLECTOR_STALL};
    bench_start(&bench, COLLECTOR_UNIX, &plan, 1);
    bench_open(&bench);
    log_numbers(&bench, 0, 5);
    assert_int_equal(weir_pool_flush(bench.pool, 300), WEIR_ETIMEOUT);
    assert_true(polls_during(&bench, SECOND_US) < 60);
    collector_resume(bench.collector);
    assert_int_equal(weir_pool_flush(bench.pool, 5000), 0);
    bench_close(&bench, 5000, 0);
    assert_int_equal(test_pool_arrived(bench.collector, 5), 0);
    bench_end(&bench);
}

// Neither does a socket that is full, in which nothing moves.
static void full_socket(enum collector_kind kind, uint64_t epoch_bytes_max)
{
    struct collector_plan plans[2] = {{.then = COLLECTOR_STALL}, {0}};
    struct bench bench;
    bench_start(&bench, kind, plans, 2);
    bench.options.buffer_bytes_max = 64 << 20;
    bench.options.stall_timeout_ms = 30000;
    bench.options.epoch_bytes_max = epoch_bytes_max;
    bench.options.epoch_interval_ms = 100;
    bench_open(&bench);
    uint32_t count = kind == COLLECTOR_TCP ? 15000 : 1000; // TCP's buffers are large
    assert_int_equal(test_pool_log(bench.pool, 0, 0, 0, count, 1000), count);
    assert_int_equal(weir_pool_flush(bench.pool, 500), WEIR_ETIMEOUT);
    assert_true(polls_during(&bench, SECOND_US) < 60);
    collector_resume(bench.collector);
    assert_int_equal(weir_pool_flush(bench.pool, 20000), 0);
    assert_true(collector_wait_bytes(bench.collector, count * (size_t)1001));
    bench_close(&bench, 5000, 0);
    assert_int_equal(test_pool_arrived(bench.collector, count), 0);
    bench_end(&bench);
}

static void a_full_socket_costs_little(void **unused)
{
    (void)unused;
    for (int kind = COLLECTOR_UNIX; kind <= COLLECTOR_UNIX_DGRAM; kind++) {
        full_socket((enum collector_kind)kind, 0);
    }
    full_socket(COLLECTOR_TCP, 4 << 20);  // all sent, and the end of stream does not come
    full_socket(COLLECTOR_TCP, 64 << 20); // the epoch is old, and cannot be sent to its end
}

// A peer that comes and goes while nothing is logged: each end is noticed, and the last connection
// is as good as the first.
static void ends_are_noticed_in_idle(void **unused)
{
    (void)unused;
    for (int kind = COLLECTOR_UNIX; kind <= COLLECTOR_TCP; kind++) {
        struct bench bench;
        bench_start(&bench, (enum collector_kind)kind, NULL, 0);
        bench_open(&bench);
        for (uint32_t i = 1; i <= 3; i++) {
            test_pool_wait_for(bench.pool, connects, i);
            assert_true(collector_wait_connections(bench.collector, i));
            test_pause_us(SECOND_US / 5);
            collector_cut(bench.collector);
            test_pool_wait_for(bench.pool, disconnects, i);
        }
        log_numbers(&bench, 0, 10);
        bench_close(&bench, 5000, 0);
        assert_int_equal(test_pool_arrived(bench.collector, 10), 0);
        bench_end(&bench);
    }
}

// A peer that says more than is read at a time, and goes: noticed, though nobody logs.
static void chatter_and_end_are_noticed_in_idle(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench, COLLECTOR_UNIX, NULL, 0);
    bench_open(&bench);
    log_numbers(&bench, 0, 1);
    assert_int_equal(weir_pool_flush(bench.pool, 5000), 0);
    test_pause_us(SECOND_US / 2);
    collector_garbage(bench.collector, 180000, true); // fits into the socket at once
    test_pool_wait_for(bench.pool, disconnects, 1);
    struct weir_metrics metrics;
    test_pool_books(bench.pool, &metrics);
    assert_int_equal(metrics.received_bytes, 180000);
    test_pool_wait_for(bench.pool, connects, 2);
    bench_close(&bench, 5000, 0);
    bench_end(&bench);
}

// ---- What the peer does ----

// Whatever byte the collector dies at, nothing is lost on a Unix socket, and nothing torn.
static void collector_dies_at_any_byte(void **unused)
{
    (void)unused;
    uint64_t random = test_seed();
    uint64_t rounds = test_times(24);
    for (uint64_t round = 0; round < rounds; round++) {
        struct collector_plan plans[4] = {{0}};
        for (int i = 0; i < 3; i++) {
            plans[i].then = round % 3 == 0 ? COLLECTOR_HALF_CLOSE : COLLECTOR_CLOSE;
            plans[i].then_bytes = 1 + test_random(&random) % (round % 2 != 0 ? 300 : 20000);
            plans[i].then_wait_unread = round % 3 == 1;
            plans[i].read_bytes_max = round % 4 == 0 ? 1000 : 0;
        }
        struct bench bench;
        bench_start(&bench, COLLECTOR_UNIX, plans, 4);
        bench_open(&bench);
        log_numbers(&bench, 0, 1000);
        assert_int_equal(weir_pool_flush(bench.pool, 20000), 0);
        struct weir_metrics metrics;
        test_pool_books(bench.pool, &metrics);
        assert_int_equal(metrics.held_messages, 0);
        // "Confirmed" is what the process has read: it is all there now.
        (void)test_pool_arrived(bench.collector, 1000);
        bench_close(&bench, 5000, 0);
        if (round % 3 != 0) { // after a half close everything may have been read all the same
            assert_true(collector_connections(bench.collector) >= 2);
        }
        bench_end(&bench);
    }
}

// On TCP what the peer's kernel has acknowledged is forgotten; but nothing is torn or disordered.
static void tcp_collector_dies(void **unused)
{
    (void)unused;
    struct collector_plan plans[3] = {{0}};
    plans[0] = (struct collector_plan){.then = COLLECTOR_CLOSE, .then_bytes = 7777};
    plans[1] = (struct collector_plan){.then = COLLECTOR_CLOSE, .then_bytes = 1,
                                       .then_wait_unread = true};
    struct bench bench;
    bench_start(&bench, COLLECTOR_TCP, plans, 3);
    bench_open(&bench);
    for (uint32_t i = 0; i < 20; i++) {
        log_numbers(&bench, i * 100, 100);
        test_pause_us(5000);
    }
    assert_int_equal(weir_pool_flush(bench.pool, 20000), 0);
    bench_close(&bench, 5000, 0);
    struct collector_tally tally;
    collector_count(bench.collector, 1, 2000, &tally);
    free(tally.seen);
    assert_null(tally.wrong);
    assert_true(tally.distinct > 1000);
    bench_end(&bench);
}

static void stall_gives_the_connection_up(void **unused)
{
    (void)unused;
    struct collector_plan plans[2] = {{.then = COLLECTOR_STALL, .then_bytes = 500}, {0}};
    struct bench bench;
    bench_start(&bench, COLLECTOR_UNIX, plans, 2);
    bench.options.stall_timeout_ms = 300;
    bench.options.buffer_bytes_max = 4 << 20;
    bench_open(&bench);
    assert_int_equal(test_pool_log(bench.pool, 0, 0, 0, 400, 1000), 400); // beyond the socket's
    assert_int_equal(weir_pool_flush(bench.pool, 20000), 0);
    struct weir_metrics metrics;
    test_pool_books(bench.pool, &metrics);
    assert_true(metrics.faults[WEIR_FAULT_STALL] >= 1);
    bench_close(&bench, 5000, 0);
    (void)test_pool_arrived(bench.collector, 400);
    bench_end(&bench);
}

// A slow peer is not a stalled one: the clock starts anew with every byte that goes.
static void slow_is_not_stalled(void **unused)
{
    (void)unused;
    struct collector_plan plan = {.read_bytes_max = 600};
    struct bench bench;
    bench_start(&bench, COLLECTOR_UNIX, &plan, 1);
    bench.options.stall_timeout_ms = 400;
    bench.options.buffer_bytes_max = 4 << 20;
    bench_open(&bench);
    assert_int_equal(test_pool_log(bench.pool, 0, 0, 0, 600, 1000), 600);
    assert_int_equal(weir_pool_flush(bench.pool, 30000), 0);
    // Confirmed by the process's reading: it is there already.
    assert_int_equal(collector_bytes(bench.collector), 600 * 1001);
    bench_close(&bench, 5000, 0);
    assert_int_equal(test_pool_arrived(bench.collector, 600), 0);
    assert_int_equal(collector_connections(bench.collector), 1);
    bench_end(&bench);
}

static void peer_babbles(void **unused)
{
    (void)unused;
    for (int kind = COLLECTOR_UNIX; kind <= COLLECTOR_TCP; kind++) {
        struct collector_plan plan = {.garbage_bytes = 3 << 20};
        struct bench bench;
        bench_start(&bench, (enum collector_kind)kind, &plan, 1);
        bench_open(&bench);
        log_numbers(&bench, 0, 1000);
        assert_int_equal(weir_pool_flush(bench.pool, 20000), 0);
        test_pool_wait_for(bench.pool, received_bytes, 3 << 20);
        test_pool_wait_for(bench.pool, connects, kind == COLLECTOR_TCP ? 2 : 1);
        bench_close(&bench, 5000, 0);
        assert_int_equal(test_pool_arrived(bench.collector, 1000), 0);
        // On TCP each proof costs a connection; nothing else does.
        struct weir_metrics metrics;
        test_pool_books(bench.pool, &metrics);
        assert_int_equal(metrics.disconnects, 0);
        assert_true(metrics.epochs == 0 || kind == COLLECTOR_TCP);
        assert_int_equal(collector_connections(bench.collector), 1 + metrics.epochs);
        bench_end(&bench);
    }
}

static void collector_comes_later(void **unused)
{
    (void)unused;
    for (int kind = COLLECTOR_UNIX; kind <= COLLECTOR_UDP; kind++) {
        struct bench bench;
        bench_start(&bench, (enum collector_kind)kind, NULL, 0);
        collector_listen(bench.collector, false);
        bench_open(&bench);
        if (kind != COLLECTOR_UDP) { // there the first messages go nowhere, as promised
            log_numbers(&bench, 0, 5);
            test_pool_wait_for(bench.pool, faults[WEIR_FAULT_CONNECT], 3);
        }
        collector_listen(bench.collector, true);
        log_numbers(&bench, kind == COLLECTOR_UDP ? 0 : 5, kind == COLLECTOR_UDP ? 10 : 5);
        assert_int_equal(weir_pool_flush(bench.pool, 10000), 0);
        assert_true(collector_wait_bytes(bench.collector, 1010));
        bench_close(&bench, 5000, 0);
        assert_int_equal(test_pool_arrived(bench.collector, 10), 0);
        bench_end(&bench);
    }
}

static void udp_refusal_is_survived(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench, COLLECTOR_UDP, NULL, 0);
    collector_listen(bench.collector, false);
    bench_open(&bench);
    for (uint32_t i = 0; i < 30; i++) {
        log_numbers(&bench, i, 1);
        test_pause_us(10000);
    }
    test_pool_wait_for(bench.pool, disconnects, 1);
    struct weir_metrics metrics;
    test_pool_books(bench.pool, &metrics);
    bench_close(&bench, 5000, 0);
    bench_end(&bench);
}

// The receiver's queue holds a few datagrams: the writer must wait and be woken.
static void slow_datagram_reader(void **unused)
{
    (void)unused;
    struct collector_plan plan = {.read_bytes_max = 4096};
    struct bench bench;
    bench_start(&bench, COLLECTOR_UNIX_DGRAM, &plan, 1);
    bench_open(&bench);
    uint32_t count = (uint32_t)test_times(400);
    log_numbers(&bench, 0, count);
    assert_int_equal(weir_pool_flush(bench.pool, 30000), 0);
    assert_true(collector_wait_bytes(bench.collector, count * 101));
    bench_close(&bench, 5000, 0);
    assert_int_equal(test_pool_arrived(bench.collector, count), 0);
    bench_end(&bench);
}

static void too_large_for_a_datagram(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench, COLLECTOR_UNIX_DGRAM, NULL, 0);
    bench.options.message_bytes_max = 1 << 20;
    bench.options.buffer_bytes_max = 8 << 20;
    bench_open(&bench);
    assert_int_equal(test_pool_log(bench.pool, 0, 0, 0, 1, 100), 1);
    assert_int_equal(test_pool_log(bench.pool, 0, 0, 1, 1, 700000), 1); // more than a socket takes
    assert_int_equal(test_pool_log(bench.pool, 0, 0, 1, 1, 100), 1);
    assert_int_equal(weir_pool_flush(bench.pool, 10000), 0);
    struct weir_metrics metrics;
    test_pool_books(bench.pool, &metrics);
    assert_int_equal(metrics.dropped_messages[WEIR_DROPPED_UNSENDABLE], 1);
    assert_int_equal(metrics.confirmed_messages, 2);
    assert_int_equal(metrics.disconnects, 0);
    assert_true(collector_wait_bytes(bench.collector, 202));
    bench_close(&bench, 5000, 0);
    assert_int_equal(test_pool_arrived(bench.collector, 2), 0);
    bench_end(&bench);
}

static void failover_list(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench, COLLECTOR_UNIX, NULL, 0);
    struct collector *second = collector_start(COLLECTOR_TCP, NULL, 0, true, true);
    char endpoints[256];
    (void)snprintf(endpoints, sizeof(endpoints), "%s,%s", collector_endpoint(bench.collector),
                   collector_endpoint(second));
    bench.options.endpoint = endpoints;
    collector_listen(bench.collector, false);
    bench_open(&bench);
    log_numbers(&bench, 0, 10);
    assert_int_equal(weir_pool_flush(bench.pool, 5000), 0);
    assert_true(collector_wait_connections(second, 1));
    // The second goes, the first has come: the list goes round.
    collector_listen(bench.collector, true);
    collector_listen(second, false);
    collector_cut(second);
    test_pool_wait_for(bench.pool, connects, 2);
    log_numbers(&bench, 10, 10);
    assert_int_equal(weir_pool_flush(bench.pool, 5000), 0);
    assert_int_equal(collector_connections(bench.collector), 1);
    bench_close(&bench, 5000, 0);
    collector_free(second);
    bench_end(&bench);
}

// ---- Closing ----

static void never_closes(uint64_t epoch_bytes_max)
{
    struct collector_plan plan = {.hold_open = true};
    struct bench bench;
    bench_start(&bench, COLLECTOR_TCP, &plan, 1);
    bench.options.epoch_bytes_max = epoch_bytes_max;
    bench_open(&bench);
    log_numbers(&bench, 0, 10);
    if (epoch_bytes_max == 0) { // else a flush would ask for the proof
        assert_int_equal(weir_pool_flush(bench.pool, 5000), 0);
    }
    uint64_t begin_ns = test_now_ns(), polls = test_pool_polls(bench.runtime);
    assert_int_equal(weir_pool_close(bench.pool, 1000), WEIR_EUNPROVEN);
    assert_true(test_now_ns() - begin_ns >= UINT64_C(1000000000));
    polls = test_pool_polls(bench.runtime) - polls;
    print_message("%lu polls while waiting for the end\n", (unsigned long)polls);
    assert_true(polls < 200);
    struct weir_metrics metrics;
    test_pool_books(bench.pool, &metrics);
    assert_int_equal(metrics.confirmed_messages, 10);
    assert_int_equal(test_pool_dropped(&metrics), 0);
    assert_int_equal(collector_connections(bench.collector), 1);
    bench_end(&bench);
}

static void peer_never_closes(void **unused)
{
    (void)unused;
    never_closes(0);
    never_closes(4 << 20); // what was acknowledged has to do at the end

    struct collector_plan plan = {.hold_open = true};
    struct bench bench;
    // A Unix peer has proven it by reading.
    bench_start(&bench, COLLECTOR_UNIX, &plan, 1);
    bench_open(&bench);
    log_numbers(&bench, 0, 10);
    bench_close(&bench, 5000, 0);
    assert_int_equal(test_pool_arrived(bench.collector, 10), 0);
    bench_end(&bench);
}

// The peer reads nothing more while we wait: what it has not read was not delivered.
static void peer_stalls_during_the_drain(void **unused)
{
    (void)unused;
    struct collector_plan plans[2] = {{.then = COLLECTOR_STALL, .then_bytes = 300}, {0}};
    struct bench bench;
    bench_start(&bench, COLLECTOR_UNIX, plans, 2);
    bench_open(&bench);
    log_numbers(&bench, 0, 10);
    assert_true(collector_wait_bytes(bench.collector, 300));
    assert_int_equal(weir_pool_flush(bench.pool, 100), WEIR_ETIMEOUT); // all sent, not all read
    struct weir_metrics metrics;
    weir_pool_stats(bench.pool, &metrics);
    assert_true(metrics.held_messages > 0);
    uint64_t begin_ns = test_now_ns();
    assert_int_equal(weir_pool_close(bench.pool, 200), WEIR_ETIMEOUT);
    assert_true(test_now_ns() - begin_ns >= UINT64_C(200000000));
    test_pool_books(bench.pool, &metrics);
    assert_int_equal(metrics.held_messages, 0);
    assert_true(metrics.dropped_messages[WEIR_DROPPED_DEADLINE] > 0);
    bench_end(&bench);
}

struct later {
    struct collector *collector;
    uint32_t after_us;
    bool cut;
};

static void *later_main(void *argument)
{
    struct later *later = argument;
    test_pause_us(later->after_us);
    if (later->cut) {
        collector_cut(later->collector);
    } else {
        collector_resume(later->collector);
    }
    return NULL;
}

// The peer goes while it has unread data and we wait for its end: again, on a new connection.
static void resent_during_the_drain(void **unused)
{
    (void)unused;
    struct collector_plan plans[2] = {{.then = COLLECTOR_STALL, .then_bytes = 300}, {0}};
    struct bench bench;
    bench_start(&bench, COLLECTOR_UNIX, plans, 2);
    bench_open(&bench);
    log_numbers(&bench, 0, 10);
    assert_true(collector_wait_bytes(bench.collector, 300));
    pthread_t thread;
    struct later later = {bench.collector, 200000, true};
    assert_int_equal(pthread_create(&thread, NULL, later_main, &later), 0);
    bench_close(&bench, 10000, 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(collector_connections(bench.collector), 2);
    (void)test_pool_arrived(bench.collector, 10);
    struct weir_metrics metrics;
    test_pool_books(bench.pool, &metrics);
    assert_int_equal(metrics.confirmed_messages, 10);
    assert_true(metrics.resent_messages > 0);
    bench_end(&bench);
}

// The peer is slow, but gets everything before it sees the end.
static void slow_drain_is_proven(void **unused)
{
    (void)unused;
    for (int kind = COLLECTOR_UNIX; kind <= COLLECTOR_TCP; kind++) {
        struct collector_plan plan = {.read_bytes_max = 2000};
        struct bench bench;
        bench_start(&bench, (enum collector_kind)kind, &plan, 1);
        bench_open(&bench);
        log_numbers(&bench, 0, 2000);
        bench_close(&bench, 20000, 0);
        struct weir_metrics metrics;
        weir_pool_stats(bench.pool, &metrics);
        assert_true(metrics.epochs == 0 || kind == COLLECTOR_TCP);
        assert_int_equal(test_pool_arrived(bench.collector, 2000), 0);
        assert_int_equal(collector_ends(bench.collector), 1 + metrics.epochs);
        bench_end(&bench);
    }
}

static void close_without_a_collector(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench, COLLECTOR_UNIX, NULL, 0);
    collector_listen(bench.collector, false);
    bench_open(&bench);
    log_numbers(&bench, 0, 10);
    bench_close(&bench, 200, WEIR_ETIMEOUT);
    struct weir_metrics metrics;
    test_pool_books(bench.pool, &metrics);
    assert_int_equal(metrics.dropped_messages[WEIR_DROPPED_DEADLINE], 10);
    assert_int_equal(weir_pool_flush(bench.pool, 0), WEIR_ECLOSED);
    assert_int_equal(weir_pool_close(bench.pool, 0), WEIR_ECLOSED);
    bench_end(&bench);

    // Nothing held: at once, whatever the time limit.
    bench_start(&bench, COLLECTOR_UNIX, NULL, 0);
    collector_listen(bench.collector, false);
    bench.options.retry_interval_ms = bench.options.retry_interval_max_ms = 60000;
    bench_open(&bench);
    test_pool_wait_for(bench.pool, faults[WEIR_FAULT_CONNECT], 1);
    uint64_t begin_ns = test_now_ns();
    bench_close(&bench, 60000, 0);
    assert_true(test_now_ns() - begin_ns < UINT64_C(20000000000));
    bench_end(&bench);
}

// ---- Faults that a collector cannot make ----

// A runtime without threads on a faulty os with the virtual clock, and a collector pumped by hand.
struct lab {
    struct weir_os real;
    struct support_os *faulty;
    struct weir_os os;
    struct weir_runtime *runtime;
    struct collector *collector;
    struct weir_pool_options options;
    struct weir_pool *pool;
    struct weir_address addresses[2]; // what every name resolves to
    int addresses_count;              // negative: the error; 0: the real ones
};

static int lab_resolve(void *self, const char *host, uint16_t port, bool numeric,
                       struct weir_address *addresses, uint32_t addresses_max)
{
    struct lab *lab = self;
    if (lab->addresses_count == 0) {
        return lab->real.resolve(lab->real.self, host, port, numeric, addresses, addresses_max);
    }
    for (int i = 0; i < lab->addresses_count && i < (int)addresses_max; i++) {
        addresses[i] = lab->addresses[i];
    }
    return lab->addresses_count;
}

static int lab_poller_wait(void *self, const struct weir_poller *poller,
                           struct weir_os_event *events, uint32_t events_max, uint64_t deadline_ns)
{
    struct lab *lab = self;
    if (lab->collector != NULL) {
        collector_pump(lab->collector);
    }
    return lab->real.poller_wait(lab->real.self, poller, events, events_max, deadline_ns);
}

static void lab_start(struct lab *lab, enum collector_kind kind, const struct collector_plan *plans,
                      size_t plans_count, bool is_virtual)
{
    memset(lab, 0, sizeof(*lab));
    lab->real = weir_os_linux();
    struct weir_os inner = lab->real;
    inner.self = lab; // the real one has no use for it
    inner.poller_wait = lab_poller_wait;
    inner.resolve = lab_resolve;
    lab->faulty = support_os_create(&inner);
    if (is_virtual) {
        support_os_virtual(lab->faulty, UINT64_C(1000000000));
    }
    lab->os = support_os_get(lab->faulty);
    lab->runtime = test_runtime_create(0, &lab->os);
    lab->collector = collector_start(kind, plans, plans_count, false, true);
    test_pool_options(&lab->options, collector_endpoint(lab->collector));
}

static void lab_open(struct lab *lab)
{
    lab->pool = test_pool_open(lab->runtime, &lab->options);
}

static void lab_end(struct lab *lab)
{
    weir_pool_destroy(lab->pool);
    weir_runtime_destroy(lab->runtime);
    collector_free(lab->collector);
    assert_int_equal(support_os_leaks(lab->faulty), 0);
    support_os_destroy(lab->faulty);
}

static uint64_t lab_now_ns(struct lab *lab)
{
    return lab->os.now_ns(lab->os.self);
}

// The kernel is out of memory: a pause, not a try at every tick.
static void starved_sends_pause(void **unused)
{
    (void)unused;
    for (int kind = COLLECTOR_UNIX; kind <= COLLECTOR_UNIX_DGRAM; kind++) {
        struct lab lab;
        lab_start(&lab, (enum collector_kind)kind, NULL, 0, true);
        lab_open(&lab);
        assert_int_equal(weir_pool_flush(lab.pool, 1000), 0);
        (void)weir_turn(lab.runtime, 64, 20000000);
        assert_int_equal(test_pool_log(lab.pool, 0, 0, 0, 5, 100), 5);
        support_os_fail(lab.faulty, SUPPORT_OS_socket_send, 1, 3, -ENOBUFS);
        uint64_t begin_ns = lab_now_ns(&lab);
        assert_int_equal(weir_pool_flush(lab.pool, 10000), 0);
        assert_int_equal(support_os_faults(lab.faulty, SUPPORT_OS_socket_send), 3);
        uint64_t took_ns = lab_now_ns(&lab) - begin_ns;
        print_message("%lu ms\n", (unsigned long)(took_ns / 1000000));
        assert_true(took_ns >= 30000000);
        assert_true(took_ns < 200000000);
        struct weir_metrics metrics;
        test_pool_books(lab.pool, &metrics);
        assert_int_equal(metrics.faults[WEIR_FAULT_RESOURCE], 3);
        assert_int_equal(metrics.disconnects, 0);
        // Over is over: no alarm is left in the past.
        uint64_t polls = test_pool_polls(lab.runtime);
        for (int i = 0; i < 20; i++) {
            (void)weir_turn(lab.runtime, 64, 50000000);
        }
        assert_true(test_pool_polls(lab.runtime) - polls < 40);
        assert_int_equal(weir_pool_close(lab.pool, 1000), 0);
        assert_int_equal(test_pool_arrived(lab.collector, 5), 0);
        lab_end(&lab);
    }
}

// A look at the socket's state that fails says nothing about the peer.
static void failed_look_is_no_death(void **unused)
{
    (void)unused;
    struct lab lab;
    lab_start(&lab, COLLECTOR_UNIX, NULL, 0, true);
    lab_open(&lab);
    assert_int_equal(test_pool_log(lab.pool, 0, 0, 0, 5, 100), 5);
    support_os_fail(lab.faulty, SUPPORT_OS_socket_state, 1, 1, -ENOMEM);
    assert_int_equal(weir_pool_flush(lab.pool, 10000), 0);
    assert_int_equal(test_pool_log(lab.pool, 0, 0, 5, 5, 100), 5);
    assert_int_equal(weir_pool_flush(lab.pool, 10000), 0);
    assert_int_equal(support_os_faults(lab.faulty, SUPPORT_OS_socket_state), 1);
    assert_int_equal(weir_pool_close(lab.pool, 1000), 0);
    assert_int_equal(test_pool_arrived(lab.collector, 10), 0);
    lab_end(&lab);
}

// The first address of a name answers nothing: the second gets its turn.
static void second_address_after_a_timeout(void **unused)
{
    (void)unused;
    struct lab lab;
    lab_start(&lab, COLLECTOR_TCP, NULL, 0, true);
    // A listener whose queue is full lets connects hang.
    struct sockaddr_in deaf = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(test_loopback())};
    socklen_t bytes = sizeof(deaf);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&deaf, bytes), 0);
    assert_int_equal(listen(listener, 0), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&deaf, &bytes), 0);
    int fillers[4];
    for (int i = 0; i < 4; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(fillers[i], (struct sockaddr *)&deaf, sizeof(deaf));
    }
    test_pause_us(20000);
    memcpy(lab.addresses[0].bytes, &deaf, sizeof(deaf));
    lab.addresses[0].bytes_count = sizeof(deaf);
    unsigned port = 0;
    assert_int_equal(sscanf(collector_endpoint(lab.collector), "tcp://%*[0-9.]:%u", &port), 1);
    deaf.sin_port = htons((uint16_t)port);
    memcpy(lab.addresses[1].bytes, &deaf, sizeof(deaf));
    lab.addresses[1].bytes_count = sizeof(deaf);
    lab.addresses_count = 2;
    lab.options.endpoint = "tcp://two-addresses:1";
    lab_open(&lab);
    assert_int_equal(test_pool_log(lab.pool, 0, 0, 0, 5, 100), 5);
    assert_int_equal(weir_pool_flush(lab.pool, 20000), 0);
    struct weir_metrics metrics;
    test_pool_books(lab.pool, &metrics);
    assert_int_equal(metrics.faults[WEIR_FAULT_CONNECT_TIMEOUT], 1);
    assert_int_equal(weir_pool_close(lab.pool, 1000), 0);
    for (int i = 0; i < 4; i++) {
        close(fillers[i]);
    }
    close(listener);
    lab_end(&lab);
}

static void names_that_do_not_resolve(void **unused)
{
    (void)unused;
    struct lab lab;
    lab_start(&lab, COLLECTOR_TCP, NULL, 0, false); // the thread that looks up needs real time
    lab.addresses_count = WEIR_ENAME;
    lab.options.endpoint = "tcp://nowhere:1";
    lab_open(&lab);
    assert_int_equal(test_pool_log(lab.pool, 0, 0, 0, 5, 100), 5);
    assert_int_equal(weir_pool_flush(lab.pool, 1000), WEIR_ETIMEOUT);
    struct weir_metrics metrics;
    test_pool_books(lab.pool, &metrics);
    assert_in_range(metrics.faults[WEIR_FAULT_RESOLVE], 3, 100); // every 25 to 50 ms
    assert_int_equal(weir_pool_close(lab.pool, 100), WEIR_ETIMEOUT);
    test_pool_books(lab.pool, &metrics);
    assert_int_equal(metrics.dropped_messages[WEIR_DROPPED_DEADLINE], 5);
    lab_end(&lab);
}

// The waits between attempts grow from the one interval to the other.
static void backoff_grows(void **unused)
{
    (void)unused;
    struct lab lab;
    lab_start(&lab, COLLECTOR_UNIX, NULL, 0, true);
    collector_listen(lab.collector, false);
    lab.options.retry_interval_ms = 100;
    lab.options.retry_interval_max_ms = 10000;
    lab_open(&lab);
    assert_int_equal(test_pool_log(lab.pool, 0, 0, 0, 5, 100), 5);
    assert_int_equal(weir_pool_flush(lab.pool, 100000), WEIR_ETIMEOUT);
    struct weir_metrics metrics;
    test_pool_books(lab.pool, &metrics);
    assert_in_range(metrics.faults[WEIR_FAULT_CONNECT], 12, 35);
    assert_true(test_pool_polls(lab.runtime) < 100);
    collector_listen(lab.collector, true);
    assert_int_equal(weir_pool_flush(lab.pool, 10000), 0);
    assert_int_equal(weir_pool_close(lab.pool, 1000), 0);
    assert_int_equal(test_pool_arrived(lab.collector, 5), 0);
    lab_end(&lab);
}

// A connection that moved data was a good one: after it the waits begin anew.
static void backoff_begins_anew(void **unused)
{
    (void)unused;
    struct lab lab;
    lab_start(&lab, COLLECTOR_UNIX, NULL, 0, true);
    lab.options.retry_interval_ms = 100;
    lab.options.retry_interval_max_ms = 100000;
    lab_open(&lab);
    for (uint32_t i = 0; i < 12; i++) {
        assert_int_equal(test_pool_log(lab.pool, 0, 0, i, 1, 100), 1);
        uint64_t begin_ns = lab_now_ns(&lab);
        assert_int_equal(weir_pool_flush(lab.pool, 1000000), 0);
        assert_true(lab_now_ns(&lab) - begin_ns < UINT64_C(1000000000));
        collector_cut(lab.collector);
    }
    assert_int_equal(weir_pool_close(lab.pool, 1000), 0);
    assert_int_equal(test_pool_arrived(lab.collector, 12), 0);
    lab_end(&lab);
}

// While the peer reads nothing, only so much is taken that drop-oldest finds something to drop.
static void the_window_leaves_something_to_drop(void **unused)
{
    (void)unused;
    struct collector_plan plan = {.then = COLLECTOR_STALL};
    struct bench bench;
    bench_start(&bench, COLLECTOR_UNIX, &plan, 1);
    bench.options.full = WEIR_FULL_DROP_OLDEST;
    bench.options.stall_timeout_ms = 30000;
    bench_open(&bench);
    uint32_t accepted = 0;
    for (uint32_t i = 0; i < 80; i++) {
        accepted += test_pool_log(bench.pool, 0, 0, accepted, 100, 1000);
        test_pause_us(2000);
    }
    struct weir_metrics metrics;
    test_pool_books(bench.pool, &metrics);
    assert_int_equal(metrics.rejected_messages[WEIR_REJECTED_FULL], 0);
    assert_true(metrics.dropped_messages[WEIR_DROPPED_OLDEST] > 1000);
    collector_resume(bench.collector);
    bench_close(&bench, 20000, 0);
    bench_end(&bench);
}

static void *flush_main(void *argument)
{
    return (void *)(intptr_t)weir_pool_flush(argument, 60000);
}

// While away, drop-oldest can settle what a flush waits for: it hears of it before the next
// attempt.
static void flush_hears_of_drops(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench, COLLECTOR_UNIX, NULL, 0);
    collector_listen(bench.collector, false);
    bench.options.retry_interval_ms = bench.options.retry_interval_max_ms = 120000;
    bench.options.buffer_bytes_max = 64 << 10;
    bench.options.full = WEIR_FULL_DROP_OLDEST;
    bench_open(&bench);
    test_pool_wait_for(bench.pool, faults[WEIR_FAULT_CONNECT], 1);
    log_numbers(&bench, 0, 10);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, flush_main, bench.pool), 0);
    test_pause_us(SECOND_US / 10);
    uint64_t begin_ns = test_now_ns();
    log_numbers(&bench, 10, 3000);
    void *result;
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_int_equal((intptr_t)result, 0);
    assert_true(test_now_ns() - begin_ns < UINT64_C(30000000000));
    struct weir_metrics metrics;
    test_pool_books(bench.pool, &metrics);
    assert_true(metrics.dropped_messages[WEIR_DROPPED_OLDEST] > 1000);
    assert_int_equal(weir_pool_flush(bench.pool, 100), WEIR_ETIMEOUT); // the rest is held
    bench_close(&bench, 0, WEIR_ETIMEOUT);
    bench_end(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deep_idle_makes_no_polls),
        cmocka_unit_test(never_used_makes_no_polls),
        cmocka_unit_test(no_wake_is_lost),
        cmocka_unit_test(away_costs_only_the_backoff),
        cmocka_unit_test(traffic_makes_few_wakes),
        cmocka_unit_test(held_slot_does_not_spin),
        cmocka_unit_test(close_waits_for_a_held_slot),
        cmocka_unit_test(unread_data_costs_little),
        cmocka_unit_test(a_full_socket_costs_little),
        cmocka_unit_test(ends_are_noticed_in_idle),
        cmocka_unit_test(chatter_and_end_are_noticed_in_idle),
        cmocka_unit_test(collector_dies_at_any_byte),
        cmocka_unit_test(tcp_collector_dies),
        cmocka_unit_test(stall_gives_the_connection_up),
        cmocka_unit_test(slow_is_not_stalled),
        cmocka_unit_test(peer_babbles),
        cmocka_unit_test(collector_comes_later),
        cmocka_unit_test(udp_refusal_is_survived),
        cmocka_unit_test(slow_datagram_reader),
        cmocka_unit_test(too_large_for_a_datagram),
        cmocka_unit_test(failover_list),
        cmocka_unit_test(peer_never_closes),
        cmocka_unit_test(peer_stalls_during_the_drain),
        cmocka_unit_test(resent_during_the_drain),
        cmocka_unit_test(slow_drain_is_proven),
        cmocka_unit_test(close_without_a_collector),
        cmocka_unit_test(starved_sends_pause),
        cmocka_unit_test(failed_look_is_no_death),
        cmocka_unit_test(second_address_after_a_timeout),
        cmocka_unit_test(names_that_do_not_resolve),
        cmocka_unit_test(backoff_grows),
        cmocka_unit_test(backoff_begins_anew),
        cmocka_unit_test(the_window_leaves_something_to_drop),
        cmocka_unit_test(flush_hears_of_drops),
    };
    cmocka_set_test_filter(getenv("WEIR_TEST_FILTER"));
    return cmocka_run_group_tests_name("writer", tests, NULL, NULL);
}
