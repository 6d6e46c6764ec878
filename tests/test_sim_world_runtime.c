// Tests of the simulated os: a whole runtime on top of it, in runs of many seeds.
#include "tests/support_scenario.h"

#include <errno.h>
#include <stdatomic.h>

#define NAPPERS 3

static uint32_t workers; // of the runtime below; 0: driven by a host that waits for its descriptor

// What the tasks use. Outlives the runtime, whose end drops those that are left.
struct yard {
    struct weir_sim *sim;
    struct weir_runtime *runtime;
    struct weir_notify notify;
    _Atomic uint32_t naps;  // ended
    _Atomic uint32_t ended; // 1: the parent has
    uint32_t spawned;       // by the parent, who publishes it with `ended`
};

struct ping {
    struct weir_future future;
    struct yard *yard;
    struct weir_notified wait;
};

static enum weir_poll ping_poll(struct weir_future *future, struct weir_context *context)
{
    struct ping *me = (struct ping *)future;
    weir_begin(me);
    weir_notified_init(&me->wait, &me->yard->notify);
    weir_await(me, context, &me->wait);
    weir_return(me, 11);
    weir_exit(me);
    weir_drop(&me->wait.future, context);
    weir_end(me);
}

struct nap {
    struct weir_future future;
    struct yard *yard;
    uint64_t duration_ns;
    struct weir_sleep sleep;
};

static enum weir_poll nap_poll(struct weir_future *future, struct weir_context *context)
{
    struct nap *me = (struct nap *)future;
    weir_begin(me);
    weir_sleep_init(&me->sleep, me->duration_ns);
    weir_await(me, context, &me->sleep);
    weir_notify_one(&me->yard->notify, context);
    weir_return(me, 7);
    weir_exit(me);
    weir_drop(&me->sleep.future, context);
    atomic_fetch_add_explicit(&me->yard->naps, 1, memory_order_release);
    weir_end(me);
}

struct parent {
    struct weir_future future;
    struct yard *yard;
    struct weir_scope scope;
    struct weir_scope_wait wait;
};

static void parent_spawn(struct parent *me, struct weir_context *context)
{
    struct yard *yard = me->yard;
    for (uint32_t index = 0; index < NAPPERS; index++) {
        struct nap nap = {.future = {.poll = nap_poll}, .yard = yard, .duration_ns = index * MS};
        int code = weir_scope_spawn(&me->scope, context, &nap.future, sizeof nap, 0);
        weir_sim_check(yard->sim, code == 0 || code == WEIR_EMEMORY || code == WEIR_ECLOSED,
                       "scope-spawn");
        yard->spawned += code == 0;
    }
}

static enum weir_poll parent_poll(struct weir_future *future, struct weir_context *context)
{
    struct parent *me = (struct parent *)future;
    weir_begin(me);
    parent_spawn(me, context);
    weir_scope_wait_init(&me->wait, &me->scope);
    weir_await(me, context, &me->wait);
    weir_return(me, (int32_t)me->yard->spawned);
    weir_exit(me);
    weir_drop(&me->wait.future, context);
    atomic_store_explicit(&me->yard->ended, 1, memory_order_release);
    weir_end(me);
}

// A host's loop: sleeps on the runtime's descriptor, then turns it.
static int host_run(struct weir_sim *sim, struct yard *yard, const struct parent *parent)
{
    int code = weir_runtime_spawn(yard->runtime, &parent->future, sizeof *parent, 0, NULL);
    while (code == 0 && atomic_load_explicit(&yard->ended, memory_order_acquire) == 0) {
        int fd = weir_backend_fd(yard->runtime);
        check(weir_sim_wait(sim, fd, WEIR_READABLE, UINT64_MAX) == WEIR_READABLE);
        check(weir_turn(yard->runtime, 3, 0) >= 0);
    }
    return code == 0 ? (int)yard->spawned : code;
}

static void runtime_use(struct weir_sim *sim, struct yard *yard)
{
    struct parent parent = {.future = {.poll = parent_poll}, .yard = yard};
    struct ping ping = {.future = {.poll = ping_poll}, .yard = yard};
    struct weir_handle handle = {0};
    bool pings = weir_runtime_spawn(yard->runtime, &ping.future, sizeof ping, WEIR_SPAWN_STEALABLE,
                                    &handle) == 0;
    int spawned = workers == 0 ? host_run(sim, yard, &parent)
                               : weir_block_on(yard->runtime, &parent.future, sizeof parent);
    check(spawned >= 0 || spawned == WEIR_EMEMORY);
    if (spawned < 0) {
        return;
    }
    check((int)atomic_load_explicit(&yard->naps, memory_order_acquire) == spawned);
    if (pings && spawned > 0) {
        struct weir_task_join join = {.handle = {0}};
        weir_task_join_init(&join, handle);
        int code = weir_block_on(yard->runtime, &join.future, sizeof join);
        check(code == 11 || code == WEIR_EMEMORY);
    }
}

static void body_runtime(struct weir_sim *sim)
{
    struct weir_runtime_options options = {.workers = workers, .os = weir_sim_os(sim)};
    struct yard yard = {.sim = sim};
    int code = weir_runtime_create(&yard.runtime, &options);
    if (code == 0) {
        weir_notify_init(&yard.notify, yard.runtime);
        runtime_use(sim, &yard);
        weir_runtime_destroy(yard.runtime);
        weir_sim_sometimes(sim, "runtime-used");
    } else {
        check(code == WEIR_EMEMORY || code == -EMFILE || code == -EAGAIN || code == -ENOMEM);
        weir_sim_sometimes(sim, "runtime-refused");
    }
}

// All kinds that a runtime meets which is refused nothing.
static const uint32_t without_resource = ~(1u << WEIR_SIM_RESOURCE);

static void runtime_seeds(uint32_t kinds, uint32_t workers_min, uint64_t seeds)
{
    struct weir_sim_scenario scenario = {
        .name = "runtime", .about = "a test", .run = body_runtime, .kinds = kinds};
    for (workers = workers_min; workers <= 3; workers++) {
        for (uint64_t seed = 1; seed <= seeds; seed++) {
            struct weir_sim_options options = {.seed = seed, .poison = (uint8_t)seed};
            weir_sim_run(simulator, &scenario, &options, &result);
            if (result.verdict != WEIR_SIM_PASS) {
                fprintf(stderr, "workers %u seed %u\n", workers, (unsigned)seed);
            }
            expect_pass();
        }
    }
}

static void test_runtime(void **state)
{
    (void)state;
    runtime_seeds(without_resource, 0, 100);
    assert_int_equal(weir_sim_probe(simulator, "runtime-used"), 400);
    assert_int_equal(weir_sim_probe(simulator, "runtime-refused"), 0);
}

// Also when memory, descriptors and threads are refused: all of it is given back, nobody hangs.
static void test_runtime_refused(void **state)
{
    (void)state;
    runtime_seeds(0, 0, 200);
    assert_true(weir_sim_probe(simulator, "runtime-refused") > 10);
}

// The same seed is the same run, whatever the poison.
static void test_runtime_again(void **state)
{
    (void)state;
    struct weir_sim_scenario scenario = {
        .name = "runtime", .about = "a test", .run = body_runtime, .kinds = without_resource};
    workers = 3;
    uint64_t hashes[20];
    for (int round = 0; round < 2; round++) {
        for (uint64_t seed = 0; seed < 20; seed++) {
            struct weir_sim_options options = {.seed = seed, .poison = round == 0 ? 0 : 0xa5};
            weir_sim_run(simulator, &scenario, &options, &result);
            expect_pass();
            assert_true(round == 0 || hashes[seed] == result.hash);
            hashes[seed] = result.hash;
        }
    }
    assert_int_not_equal(hashes[0], hashes[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runtime),
        cmocka_unit_test(test_runtime_refused),
        cmocka_unit_test(test_runtime_again),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
