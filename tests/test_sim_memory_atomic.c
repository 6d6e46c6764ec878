// The memory model's atomics: histories, objects, every operation, every thread there can be.
#include "tests/support_memory_case.h"

#include "sim/tsan.h"

// ---- Histories ----

static uint32_t done;
static NOT_WATCHED void done_set(uint32_t value)
{
    done = value;
}
static NOT_WATCHED uint32_t done_get(void)
{
    return done;
}

BODY(
    store_twenty, for (uint32_t i = 1; i <= 20; i++) {
        atomic_store_explicit(&shared.flag, i, memory_order_relaxed);
    } done_set(1);)

// What loads see of twenty stores that nothing orders: none older than the ring, none older than
// one seen before, and after SIM_STALE_LOADS_MAX old ones the newest.
static void see_twenty(struct weir_sim *sim)
{
    memset(&shared, 0, sizeof(shared));
    done_set(0);
    uint32_t thread = weir_sim_start(sim, store_twenty, sim);
    while (done_get() == 0) {
        weir_sim_sleep(sim, 100);
    }
    weir_sim_rate(sim, WEIR_SIM_STALE, 700000);
    uint32_t seen = 0;
    for (uint32_t i = 0; i < SIM_STALE_LOADS_MAX; i++) {
        uint32_t now = atomic_load_explicit(&shared.flag, memory_order_relaxed);
        weir_sim_check(sim, now > 20 - SIM_STORES_MAX && now >= seen, "too-old");
        seen = now;
    }
    if (seen != 20) {
        weir_sim_sometimes(sim, "old-to-the-last");
    }
    weir_sim_check(sim, atomic_load_explicit(&shared.flag, memory_order_relaxed) == 20, "stale");
    weir_sim_join(sim, thread);
}

static void test_stale_loads_are_bounded(void **state)
{
    (void)state;
    FINE_ONLY();
    uint64_t before = weir_sim_probe(the_sim, "old-to-the-last");
    expect_pass(see_twenty);
    assert_true(weir_sim_probe(the_sim, "old-to-the-last") > before);
}

BODY(load_flag, use(atomic_load_explicit(&shared.flag, memory_order_acquire));)

// A plain write starts an atomic anew: nothing of before is seen.
static void plain_restart(struct weir_sim *sim)
{
    memset(&shared, 0, sizeof(shared));
    uint32_t thread = weir_sim_start(sim, store_twenty, sim);
    weir_sim_join(sim, thread);
    memset(&shared, 0, sizeof(shared));
    atomic_store_explicit(&shared.flag, 77, memory_order_relaxed);
    thread = weir_sim_start(sim, load_flag, sim);
    weir_sim_rate(sim, WEIR_SIM_STALE, 1000000);
    weir_sim_check(sim, atomic_load_explicit(&shared.flag, memory_order_relaxed) == 77, "old");
    weir_sim_join(sim, thread);
}

static NOT_WATCHED void flag_behind(uint32_t value)
{
    *(volatile uint32_t *)(uintptr_t)&shared.flag = value;
}

// So does a write that no compiler reported.
static void foreign_write(struct weir_sim *sim)
{
    memset(&shared, 0, sizeof(shared));
    weir_sim_rate(sim, WEIR_SIM_STALE, 1000000);
    atomic_store_explicit(&shared.flag, 1, memory_order_relaxed);
    flag_behind(5);
    weir_sim_check(sim, atomic_load_explicit(&shared.flag, memory_order_relaxed) == 5, "old");
    weir_sim_check(sim, atomic_fetch_add_explicit(&shared.flag, 1, memory_order_relaxed) == 5,
                   "rmw-old");
    flag_behind(9);
    uint32_t expected = 9;
    weir_sim_check(sim, atomic_compare_exchange_strong(&shared.flag, &expected, 10), "cas-old");
    weir_sim_check(sim, sim_memory_futex(sim->memory, &shared.flag) == 10, "futex-old");
}

static void test_memory_written_otherwise_starts_an_atomic_anew(void **state)
{
    (void)state;
    FINE_ONLY();
    expect_pass(plain_restart);
    expect_pass(foreign_write);
}

// The same address, another block: its atomics begin at zero.
static void reused_block(struct weir_sim *sim)
{
    weir_sim_rate(sim, WEIR_SIM_REUSE, 1000000);
    uint8_t *first = NULL;
    for (uint32_t i = 0; i < 10; i++) {
        uint8_t *block = block_alloc(sim, 64);
        first = first == NULL ? block : first;
        weir_sim_check(sim, block == first, "not-reused");
        _Atomic uint32_t *atomic = (_Atomic uint32_t *)(uintptr_t)(block + 8);
        weir_sim_check(sim, atomic_load_explicit(atomic, memory_order_relaxed) == 0, "not-zero");
        atomic_store_explicit(atomic, i + 1, memory_order_relaxed);
        block[0] = 1;
        block_release(sim, block, 64);
    }
}

static void test_reused_memory_is_forgotten(void **state)
{
    (void)state;
    FINE_ONLY();
    const struct weir_sim_scenario scenario = {.run = reused_block,
                                               .kinds = KINDS | 1u << WEIR_SIM_REUSE};
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        const struct weir_sim_options options = {.seed = seed, .strategy = WEIR_SIM_RANDOM};
        struct weir_sim_result result;
        weir_sim_run(the_sim, &scenario, &options, &result);
        assert_string_equal(result.message, "");
    }
}

static void objects_numbered(struct weir_sim *sim)
{
    struct sim_memory *memory = sim->memory;
    uint32_t flag = sim_memory_object(memory, &shared.flag);
    uint32_t other = sim_memory_object(memory, &shared.other);
    weir_sim_check(sim, flag == 1 && other == 2, "numbers");
    weir_sim_check(sim, sim_memory_object(memory, &shared.flag) == 1, "number-changed");
}

static void test_objects_are_numbered_by_first_use(void **state)
{
    (void)state;
    expect_pass(objects_numbered);
}

static void two_sizes(struct weir_sim *sim)
{
    (void)sim;
    _Alignas(8) uint32_t halves[2] = {0, 0};
    use(__tsan_atomic64_fetch_add((uint64_t *)(void *)halves, 1, memory_order_relaxed));
    use(__tsan_atomic32_load(&halves[1], memory_order_relaxed));
}

static void test_one_atomic_in_two_sizes_is_refused(void **state)
{
    (void)state;
    FINE_ONLY();
    expect(two_sizes, true, WEIR_SIM_INTERNAL, "atomic-of-two-sizes");
}

// ---- Every thread there can be ----

static uint32_t tickets[SIM_THREADS_MAX];
BODY(take_ticket,
     uint32_t ticket = atomic_fetch_add_explicit(&shared.flag, 1, memory_order_acq_rel);
     tickets[ticket]++; use(atomic_load_explicit(&shared.other, memory_order_relaxed));)

static void crowd(struct weir_sim *sim)
{
    memset(&shared, 0, sizeof(shared));
    memset(tickets, 0, sizeof(tickets));
    uint32_t threads[SIM_THREADS_MAX];
    for (uint32_t i = 1; i < SIM_THREADS_MAX; i++) {
        threads[i] = weir_sim_start(sim, take_ticket, sim);
        atomic_store_explicit(&shared.other, i, memory_order_relaxed);
    }
    for (uint32_t i = 1; i < SIM_THREADS_MAX; i++) {
        weir_sim_join(sim, threads[i]);
    }
    for (uint32_t i = 0; i + 1 < SIM_THREADS_MAX; i++) {
        weir_sim_check(sim, tickets[i] == 1, "ticket");
    }
}

static void test_as_many_threads_as_there_can_be(void **state)
{
    (void)state;
    expect_pass(crowd);
}

// ---- Operations ----

#define CHECK(condition) weir_sim_check_or_assert(sim, condition, #condition)

static void weir_sim_check_or_assert(struct weir_sim *sim, bool condition, const char *text)
{
    if (sim != NULL) {
        if (!condition) {
            weir_sim_fail(sim, WEIR_SIM_SAFETY, "operation", "%s", text);
        }
    } else if (!condition) {
        fail_msg("%s", text);
    }
}

#define OPERATIONS(bits, type)                                                                     \
    static void operations_##bits(struct weir_sim *sim)                                            \
    {                                                                                              \
        _Alignas(16) type at = 0;                                                                  \
        const type top = (type)((type)1 << (bits - 1));                                            \
        const type all = (type) ~(type)0;                                                          \
        __tsan_atomic##bits##_store(&at, (type)(top | 5), memory_order_release);                   \
        CHECK(at == (type)(top | 5));                                                              \
        CHECK(__tsan_atomic##bits##_load(&at, memory_order_acquire) == (type)(top | 5));           \
        CHECK(__tsan_atomic##bits##_fetch_add(&at, top, memory_order_relaxed) == (type)(top | 5)); \
        CHECK(__tsan_atomic##bits##_fetch_sub(&at, 6, memory_order_seq_cst) == 5);                 \
        CHECK(__tsan_atomic##bits##_fetch_and(&at, (type) ~(type)2, memory_order_acq_rel) == all); \
        CHECK(__tsan_atomic##bits##_fetch_or(&at, 2, memory_order_acquire) == (type) ~(type)2);    \
        CHECK(__tsan_atomic##bits##_fetch_xor(&at, 1, memory_order_release) == all);               \
        CHECK(__tsan_atomic##bits##_fetch_nand(&at, 3, memory_order_relaxed) == (type)(all - 1));  \
        CHECK(__tsan_atomic##bits##_exchange(&at, 7, memory_order_seq_cst) == (type) ~(type)2);    \
        type expected = 8;                                                                         \
        CHECK(!__tsan_atomic##bits##_compare_exchange_strong(                                      \
            &at, &expected, 9, memory_order_seq_cst, memory_order_relaxed));                       \
        CHECK(expected == 7);                                                                      \
        CHECK(__tsan_atomic##bits##_compare_exchange_strong(                                       \
            &at, &expected, 9, memory_order_acq_rel, memory_order_acquire));                       \
        CHECK(at == 9 && expected == 7);                                                           \
        CHECK(__tsan_atomic##bits##_compare_exchange_val(&at, 1, 2, memory_order_acq_rel,          \
                                                         memory_order_acquire) == 9);              \
        CHECK(__tsan_atomic##bits##_compare_exchange_val(&at, 9, all, memory_order_acq_rel,        \
                                                         memory_order_acquire) == 9);              \
        expected = all;                                                                            \
        while (!__tsan_atomic##bits##_compare_exchange_weak(                                       \
            &at, &expected, 3, memory_order_relaxed, memory_order_relaxed)) {                      \
            CHECK(expected == all);                                                                \
        }                                                                                          \
        CHECK(at == 3);                                                                            \
    }
SIM_TSAN_ATOMIC(OPERATIONS)
#undef OPERATIONS

static void operations_all(struct weir_sim *sim)
{
    operations_8(sim);
    operations_16(sim);
    operations_32(sim);
    operations_64(sim);
    operations_128(sim);
    __tsan_atomic_thread_fence(memory_order_seq_cst);
    __tsan_atomic_signal_fence(memory_order_seq_cst);
}

static void test_every_operation_in_a_run_and_outside(void **state)
{
    (void)state;
    operations_all(NULL);
    if (weir_sim_fine()) {
        expect_pass(operations_all);
    }
}

static void weak_fails(struct weir_sim *sim)
{
    uint32_t at = 1;
    uint32_t expected = 1;
    if (!__tsan_atomic32_compare_exchange_weak(&at, &expected, 2, memory_order_relaxed,
                                               memory_order_relaxed)) {
        weir_sim_check(sim, expected == 1 && at == 1, "weak-failure-wrote");
        weir_sim_sometimes(sim, "weak-failed");
    }
    expected = 1;
    at = 1;
    weir_sim_check(sim,
                   __tsan_atomic32_compare_exchange_strong(&at, &expected, 2, memory_order_relaxed,
                                                           memory_order_relaxed),
                   "strong-failed");
}

static void test_only_weak_compare_exchanges_fail_by_themselves(void **state)
{
    (void)state;
    FINE_ONLY();
    uint64_t before = weir_sim_probe(the_sim, "weak-failed");
    expect_pass(weak_fails);
    assert_true(weir_sim_probe(the_sim, "weak-failed") > before);
}

// ---- Determinism ----

static void test_a_seed_gives_the_same_hash_in_any_simulator(void **state)
{
    (void)state;
    struct weir_sim *first = the_sim;
    the_sim = weir_sim_create();
    assert_non_null(the_sim);
    for (uint64_t seed = 0; seed < 50; seed++) {
        uint64_t hash = run_seed(see_twenty, seed).hash;
        (void)run_seed(crowd, seed); // leaves its tables behind
        struct weir_sim *second = the_sim;
        the_sim = first;
        assert_int_equal(run_seed(see_twenty, seed).hash, hash);
        the_sim = second;
        assert_int_equal(run_seed(see_twenty, seed).hash, hash);
    }
    weir_sim_destroy(the_sim);
    the_sim = first;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stale_loads_are_bounded),
        cmocka_unit_test(test_memory_written_otherwise_starts_an_atomic_anew),
        cmocka_unit_test(test_reused_memory_is_forgotten),
        cmocka_unit_test(test_objects_are_numbered_by_first_use),
        cmocka_unit_test(test_one_atomic_in_two_sizes_is_refused),
        cmocka_unit_test(test_as_many_threads_as_there_can_be),
        cmocka_unit_test(test_every_operation_in_a_run_and_outside),
        cmocka_unit_test(test_only_weak_compare_exchanges_fail_by_themselves),
        cmocka_unit_test(test_a_seed_gives_the_same_hash_in_any_simulator),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
