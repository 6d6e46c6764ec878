// Torture: every call to the operating system fails once, in every way it can, at every place.
//
// One thread, no workers, the virtual clock, and a collector that is pumped whenever the runtime
// looks for events: each run is the same up to its fault, and costs a few milliseconds.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support_os.h"
#include "tests/support_pool.h"

#define MESSAGES 50
#define MESSAGE_BYTES 60
#define BATCH 10
// Virtual. TCP's acknowledgements take real time, of which little passes in this.
#define LIMIT_MS 1000000
// A run that hangs ends here.
#define WATCHDOG_S 240

struct torture {
    struct weir_os real, inner;
    struct collector *collector; // of the present run
    // What is tortured.
    enum collector_kind kind;
    const struct collector_plan *plans;
    size_t plans_count;
    enum weir_framing framing;
    bool by_slot;   // reserve and commit, instead of log
    uint64_t seed;  // not 0: faults all the time until the flush, drawn from it
    bool may_lose;  // TCP and a collector that dies with unread data
    uint64_t calls_count; // faults in a row; 0: one
    // What happened.
    uint64_t runs, refused, repeated, dropped;
};

static int torture_poller_wait(void *self, const struct weir_poller *poller,
                               struct weir_os_event *events, uint32_t events_max,
                               uint64_t deadline_ns)
{
    struct torture *me = self;
    if (me->collector != NULL) {
        collector_pump(me->collector);
    }
    return me->real.poller_wait(me->real.self, poller, events, events_max, deadline_ns);
}

static void torture_init(struct torture *me, enum collector_kind kind,
                         const struct collector_plan *plans, size_t plans_count)
{
    memset(me, 0, sizeof(*me));
    me->real = weir_os_linux();
    me->inner = me->real;
    me->inner.self = me; // the real one has no use for it
    me->inner.poller_wait = torture_poller_wait;
    me->kind = kind;
    me->plans = plans;
    me->plans_count = plans_count;
    alarm(WATCHDOG_S);
}

static int log_one(struct torture *me, struct weir_pool *pool, uint32_t number)
{
    char message[MESSAGE_BYTES];
    collector_message(message, 0, number, sizeof(message));
    if (!me->by_slot) {
        return weir_log(pool, message, sizeof(message));
    }
    struct weir_slot slot;
    int error = weir_reserve(pool, NULL, sizeof(message) + 10, &slot);
    if (error == 0) {
        memcpy(slot.bytes, message, sizeof(message));
        error = weir_commit(pool, &slot, sizeof(message));
    }
    return error;
}

// What the collector's record and the books say together. `accepted` from the caller's own count.
static const char *verify(struct torture *me, struct weir_pool *pool, struct collector *collector,
                          uint32_t accepted)
{
    struct weir_metrics metrics;
    weir_pool_stats(pool, &metrics);
    if (!weir_metrics_balanced(&metrics)) {
        return "the books do not balance";
    }
    uint64_t dropped = test_pool_dropped(&metrics);
    if (metrics.accepted_messages != accepted || metrics.held_messages != 0 ||
        metrics.held_bytes != 0 || metrics.confirmed_messages + dropped != accepted ||
        metrics.writers_connected != 0) {
        return "the books are wrong";
    }
    struct collector_tally tally;
    collector_count(collector, 1, MESSAGES, &tally);
    me->repeated += tally.repeated;
    me->dropped += dropped;
    free(tally.seen);
    if (tally.wrong != NULL) {
        return tally.wrong;
    }
    if (!me->may_lose && tally.distinct + dropped < accepted) {
        return "something is lost, and the books do not say so";
    }
    return NULL;
}

static const char *use_pool(struct torture *me, struct support_os *support,
                            struct weir_runtime *runtime, struct weir_pool *pool)
{
    uint32_t accepted = 0;
    for (uint32_t i = 0; i < MESSAGES; i++) {
        if (log_one(me, pool, i) != 0) {
            return "a message was refused though there was room";
        }
        accepted++;
        if (i % BATCH == BATCH - 1) {
            (void)weir_turn(runtime, 64, 20000000);
        }
    }
    if (me->seed != 0) {
        support_os_heal(support);
    }
    if (weir_pool_flush(pool, LIMIT_MS) != 0) {
        return "the flush did not succeed";
    }
    int verdict = weir_pool_close(pool, LIMIT_MS);
    if (verdict != 0 && !(verdict == WEIR_EUNPROVEN && me->kind == COLLECTOR_TCP)) {
        return "the close did not succeed";
    }
    collector_stop(me->collector);
    return verify(me, pool, me->collector, accepted);
}

static const char *run_pool(struct torture *me, struct support_os *support,
                            struct weir_runtime *runtime)
{
    struct weir_pool_options options;
    test_pool_options(&options, collector_endpoint(me->collector));
    options.buffer_bytes_max = 64 << 10;
    options.flush_limit_bytes = 1000;
    options.message_bytes_max = 1000;
    options.framing = me->framing;
    struct weir_pool *pool = NULL;
    char why[256];
    int error = weir_pool_open(&pool, runtime, &options, why, sizeof(why));
    if (error != 0) {
        me->refused++;
        return pool != NULL ? "open failed and gave a pool" : NULL;
    }
    const char *wrong = use_pool(me, support, runtime, pool);
    weir_pool_destroy(pool);
    return wrong;
}

static const char *scenario(struct support_os *support, void *argument)
{
    struct torture *me = argument;
    me->runs++;
    me->collector = collector_start(me->kind, me->plans, me->plans_count, false, true);
    struct weir_os os = support_os_get(support);
    struct weir_runtime_options options = {0, &os};
    struct weir_runtime *runtime = NULL;
    const char *wrong = NULL;
    if (weir_runtime_create(&runtime, &options) == 0) {
        for (int i = 0; me->seed != 0 && i < SUPPORT_OS_FUNCTIONS_COUNT; i++) {
            if (me->kind != COLLECTOR_UNIX_DGRAM || i != SUPPORT_OS_socket_send) {
                // (A datagram cannot be cut.)
                support_os_random(support, (enum support_os_function)i, me->seed, 30000);
            }
        }
        wrong = run_pool(me, support, runtime);
        weir_runtime_destroy(runtime);
    } else {
        me->refused++;
    }
    struct collector *collector = me->collector;
    me->collector = NULL;
    collector_free(collector);
    return wrong;
}

static void torture(struct torture *me)
{
    struct support_os_torture torture = {
        .inner = &me->inner,
        .scenario = scenario,
        .argument = me,
        .is_virtual = true,
        // A name that is not numeric is looked up by a thread, which the virtual clock outruns.
        .functions = ~(UINT64_C(1) << SUPPORT_OS_resolve),
        .calls_max = test_times(120),
        .calls_count = me->calls_count,
    };
    uint64_t runs = 0;
    uint64_t bad = support_os_torture(&torture, &runs);
    print_message("%lu runs with a fault, %lu refused at open; %lu messages repeated, %lu lost\n",
                  (unsigned long)runs, (unsigned long)me->refused, (unsigned long)me->repeated,
                  (unsigned long)me->dropped);
    assert_int_equal(bad, 0);
    assert_true(runs > 20);
}

// The first connection ends in the middle, with unread data; the second is the last.
static const struct collector_plan resets_once[2] = {
    {.then = COLLECTOR_CLOSE, .then_bytes = 25 * 61 + 20, .then_wait_unread = true}, {0}};

static void unix_stream_with_a_reset(void **unused)
{
    (void)unused;
    struct torture me;
    torture_init(&me, COLLECTOR_UNIX, resets_once, 2);
    torture(&me);
    assert_true(me.repeated > 0);
}

static void unix_stream_fails_again_and_again(void **unused)
{
    (void)unused;
    for (uint64_t count = 2; count <= 5; count += 3) {
        struct torture me;
        torture_init(&me, COLLECTOR_UNIX, resets_once, 2);
        me.calls_count = count;
        torture(&me);
    }
}

static void unix_stream_by_slots(void **unused)
{
    (void)unused;
    struct torture me;
    torture_init(&me, COLLECTOR_UNIX, resets_once, 2);
    me.by_slot = true;
    torture(&me);
}

static void unix_stream_slow_reader(void **unused)
{
    (void)unused;
    static const struct collector_plan slow = {.read_bytes_max = 100, .garbage_bytes = 100};
    struct torture me;
    torture_init(&me, COLLECTOR_UNIX, &slow, 1);
    torture(&me);
}

static void tcp(void **unused)
{
    (void)unused;
    struct torture me;
    torture_init(&me, COLLECTOR_TCP, NULL, 0);
    torture(&me);
}

static void tcp_with_a_reset(void **unused)
{
    (void)unused;
    struct torture me;
    torture_init(&me, COLLECTOR_TCP, resets_once, 2);
    me.may_lose = true; // what the dead one had acknowledged and not read
    torture(&me);
}

static void unix_datagrams(void **unused)
{
    (void)unused;
    struct torture me;
    torture_init(&me, COLLECTOR_UNIX_DGRAM, NULL, 0);
    torture(&me);
    assert_true(me.dropped > 0); // -EMSGSIZE
}

// ---- Short sends ----

// Runs the scenario once with one function cut short at one call.  returns  whether that happened.
static bool run_short(struct torture *me, enum support_os_function function, uint64_t call,
                      size_t bytes_max)
{
    struct support_os *support = support_os_create(&me->inner);
    support_os_virtual(support, UINT64_C(1000000000));
    support_os_short(support, function, call, 1, bytes_max);
    const char *wrong = scenario(support, me);
    if (wrong != NULL) {
        fail_msg("%s cut to %zu at call %lu: %s", support_os_name(function), bytes_max,
                 (unsigned long)call, wrong);
    }
    bool happened = support_os_faults(support, function) > 0;
    assert_int_equal(support_os_leaks(support), 0);
    support_os_destroy(support);
    return happened;
}

static void every_short_send(void **unused)
{
    (void)unused;
    struct torture me;
    torture_init(&me, COLLECTOR_UNIX, resets_once, 2);
    uint64_t step = 8 / test_times(8); // all in release, every 4th and 8th under the sanitizers
    for (uint64_t call = 1; run_short(&me, SUPPORT_OS_socket_send, call, 1); call++) {
        for (size_t bytes = 2; bytes <= BATCH * (MESSAGE_BYTES + 1); bytes += step) {
            (void)run_short(&me, SUPPORT_OS_socket_send, call, bytes);
        }
    }
    print_message("%lu runs\n", (unsigned long)me.runs);
}

static void every_short_receive(void **unused)
{
    (void)unused;
    static const struct collector_plan babbles = {.garbage_bytes = 50};
    struct torture me;
    torture_init(&me, COLLECTOR_UNIX, &babbles, 1);
    for (uint64_t call = 1; run_short(&me, SUPPORT_OS_socket_recv, call, 1); call++) {
        for (size_t bytes = 2; bytes < 50; bytes++) {
            (void)run_short(&me, SUPPORT_OS_socket_recv, call, bytes);
        }
    }
}

// ---- Many faults at once ----

static void random_faults(void **unused)
{
    (void)unused;
    struct collector_plan plans[3] = {{0}};
    plans[0] = resets_once[0];
    plans[1] = (struct collector_plan){.then = COLLECTOR_CLOSE, .then_bytes = 100};
    uint64_t seed = test_seed(), faults = 0;
    for (uint64_t run = 0; run < test_times(600); run++) {
        struct torture me;
        torture_init(&me, run % 3 == 2 ? COLLECTOR_UNIX_DGRAM : COLLECTOR_UNIX, plans,
                     run % 3 == 0 ? 3 : 0);
        me.plans = run % 3 == 0 ? plans : NULL;
        me.seed = seed + run + 1;
        me.by_slot = run % 2 != 0;
        struct support_os *support = support_os_create(&me.inner);
        support_os_virtual(support, UINT64_C(1000000000));
        const char *wrong = scenario(support, &me);
        if (wrong != NULL) {
            fail_msg("%s: WEIR_SEED=%lu, run %lu", wrong, (unsigned long)seed, (unsigned long)run);
        }
        for (int i = 0; i < SUPPORT_OS_FUNCTIONS_COUNT; i++) {
            faults += support_os_faults(support, (enum support_os_function)i);
        }
        assert_int_equal(support_os_leaks(support), 0);
        support_os_destroy(support);
    }
    print_message("%lu faults\n", (unsigned long)faults);
    assert_true(faults > 0);
}

// ---- With a worker thread ----

static const char *threaded_scenario(struct support_os *support, void *argument)
{
    struct torture *me = argument;
    me->collector = NULL; // not pumped: it runs by itself
    struct collector *collector = collector_start(me->kind, me->plans, me->plans_count, true, true);
    struct weir_os os = support_os_get(support);
    struct weir_runtime_options options = {1, &os};
    struct weir_runtime *runtime = NULL;
    const char *wrong = NULL;
    if (weir_runtime_create(&runtime, &options) == 0) {
        struct weir_pool_options pool_options;
        test_pool_options(&pool_options, collector_endpoint(collector));
        pool_options.retry_interval_ms = 1;
        pool_options.retry_interval_max_ms = 2;
        struct weir_pool *pool = NULL;
        char why[256];
        if (weir_pool_open(&pool, runtime, &pool_options, why, sizeof(why)) == 0) {
            for (uint32_t i = 0; i < 10; i++) {
                (void)log_one(me, pool, i);
            }
            wrong = weir_pool_flush(pool, 10000) != 0 ? "the flush did not succeed" : NULL;
            int verdict = weir_pool_close(pool, 10000);
            if (verdict != 0 && !(verdict == WEIR_EUNPROVEN && me->kind == COLLECTOR_TCP)) {
                wrong = "the close did not succeed";
            }
            collector_stop(collector);
            wrong = wrong != NULL ? wrong : verify(me, pool, collector, 10);
            weir_pool_destroy(pool);
        }
        weir_runtime_destroy(runtime);
    }
    collector_free(collector);
    return wrong;
}

static void with_a_worker(void **unused)
{
    (void)unused;
    for (int kind = COLLECTOR_UNIX; kind <= COLLECTOR_TCP; kind++) {
        struct torture me;
        torture_init(&me, (enum collector_kind)kind, NULL, 0);
        struct support_os_torture torture = {
            .inner = &me.inner,
            .scenario = threaded_scenario,
            .argument = &me,
            .calls_max = test_times(8),
        };
        uint64_t runs = 0;
        assert_int_equal(support_os_torture(&torture, &runs), 0);
        print_message("%lu runs with a fault\n", (unsigned long)runs);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unix_stream_with_a_reset),
        cmocka_unit_test(unix_stream_fails_again_and_again),
        cmocka_unit_test(unix_stream_by_slots),
        cmocka_unit_test(unix_stream_slow_reader),
        cmocka_unit_test(tcp),
        cmocka_unit_test(tcp_with_a_reset),
        cmocka_unit_test(unix_datagrams),
        cmocka_unit_test(every_short_send),
        cmocka_unit_test(every_short_receive),
        cmocka_unit_test(random_faults),
        cmocka_unit_test(with_a_worker),
    };
    cmocka_set_test_filter(getenv("WEIR_TEST_FILTER"));
    return cmocka_run_group_tests_name("torture", tests, NULL, NULL);
}
