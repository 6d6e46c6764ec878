// The memory model beyond litmus tests: data races, misuse of the heap, histories, every operation.
//
// Each case is a scenario with the verdict it must have. Those about what the compiler reports are
// skipped in the coarse grain, where the program is not instrumented.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "sim/region.h"
#include "sim/sim.h"
#include "sim/tsan.h"

#define NOT_WATCHED __attribute__((noinline, no_sanitize("thread")))
#define KINDS (1u << WEIR_SIM_SWITCH | 1u << WEIR_SIM_STALE | 1u << WEIR_SIM_WEAK)
#define SEEDS 300

static struct weir_sim *the_sim;

static int setup(void **state)
{
    (void)state;
    the_sim = weir_sim_create();
    return the_sim == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    weir_sim_destroy(the_sim);
    return 0;
}

// ---- Running a case ----

static struct weir_sim_result run_seed(void (*entry)(struct weir_sim *), uint64_t seed)
{
    const struct weir_sim_scenario scenario = {.name = "case", .run = entry, .kinds = KINDS};
    const struct weir_sim_options options = {.seed = seed};
    struct weir_sim_result result;
    weir_sim_run(the_sim, &scenario, &options, &result);
    return result;
}

// Every run passes.
static void expect_pass(void (*entry)(struct weir_sim *))
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct weir_sim_result result = run_seed(entry, seed);
        if (result.verdict != WEIR_SIM_PASS) {
            fail_msg("seed %llu: %s: %s", (unsigned long long)seed, result.name, result.message);
        }
    }
}

// Runs fail in this way only, and `all` or at least one of them do.
static void expect(void (*entry)(struct weir_sim *), bool all, enum weir_sim_verdict verdict,
                   const char *name)
{
    uint64_t failures = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct weir_sim_result result = run_seed(entry, seed);
        if (result.verdict != WEIR_SIM_PASS) {
            assert_int_equal(result.verdict, verdict);
            assert_string_equal(result.name, name);
            failures++;
        }
    }
    assert_in_range(failures, all ? SEEDS : 1, SEEDS);
}

// Whatever the schedule: a race is found by clocks, not by luck.
static void expect_race(void (*entry)(struct weir_sim *))
{
    expect(entry, true, WEIR_SIM_RACE, "data-race");
}

#define FINE_ONLY()                                                                                \
    if (!weir_sim_fine()) {                                                                        \
        skip();                                                                                    \
    }

// ---- Data races ----

static struct {
    uint64_t plain;
    uint8_t bytes[64];
    _Atomic uint32_t flag, other;
} shared;

// Both bodies at the same time, on two threads, with `shared` zeroed before.
static void at_once(struct weir_sim *sim, void (*first)(void *), void (*second)(void *))
{
    memset(&shared, 0, sizeof(shared));
    uint32_t one = weir_sim_start(sim, first, sim);
    uint32_t two = weir_sim_start(sim, second, sim);
    weir_sim_join(sim, one);
    weir_sim_join(sim, two);
}

#define BODY(name, ...)                                                                            \
    static void name(void *argument)                                                               \
    {                                                                                              \
        struct weir_sim *sim = argument;                                                           \
        (void)sim;                                                                                 \
        __VA_ARGS__                                                                                \
    }
#define PAIR(name, first, second)                                                                  \
    static void name(struct weir_sim *sim)                                                         \
    {                                                                                              \
        at_once(sim, first, second);                                                               \
    }

static volatile uint64_t sink; // each thread's own would be as good; never looked at
static NOT_WATCHED void use(uint64_t value)
{
    sink = value;
}

BODY(read_plain, use(shared.plain);)
BODY(write_plain, shared.plain = 1;)
BODY(write_byte_3, shared.bytes[3] = 1;)
BODY(write_byte_4, shared.bytes[4] = 1;)
BODY(write_bytes, memset(shared.bytes + 1, 7, 40);)
BODY(read_last_byte, use(shared.bytes[40]);)
BODY(read_byte_41, use(shared.bytes[41]);)
BODY(copy_bytes, uint8_t to[41]; memcpy(to, shared.bytes, 41); use(to[0]);)
BODY(move_bytes, memmove(shared.bytes + 8, shared.bytes, 41);)
BODY(compare_bytes,
     use((uint64_t)memcmp(shared.bytes, shared.bytes + 16, atomic_load(&shared.flag) + 16));)
BODY(write_byte_20, shared.bytes[20] = 1;)
BODY(store_flag, atomic_store_explicit(&shared.flag, 1, memory_order_release);)
BODY(load_flag, use(atomic_load_explicit(&shared.flag, memory_order_acquire));)
BODY(plain_flag_write, *(uint32_t *)(uintptr_t)&shared.flag = 2;) // atomic_init is a store in gcc
PAIR(race_write_write, write_plain, write_plain)
PAIR(race_write_read, write_plain, read_plain)
PAIR(no_race_reads, read_plain, read_plain)
PAIR(no_race_adjacent, write_byte_3, write_byte_4)
PAIR(race_same_byte, write_byte_4, write_byte_4)
PAIR(race_range_end, write_bytes, read_last_byte)
PAIR(no_race_range_end, write_bytes, read_byte_41)
PAIR(race_copy, write_byte_20, copy_bytes)
PAIR(no_race_copy, read_last_byte, copy_bytes)
PAIR(race_move, write_byte_20, move_bytes)
PAIR(race_compare, write_byte_20, compare_bytes)
PAIR(race_atomic_plain, store_flag, plain_flag_write)
PAIR(race_load_plain_write, load_flag, plain_flag_write)
PAIR(no_race_atomics, store_flag, load_flag)

static void test_conflicts_without_order_are_races(void **state)
{
    (void)state;
    FINE_ONLY();
    expect_race(race_write_write);
    expect_race(race_write_read);
    expect_race(race_same_byte);
    expect_race(race_range_end);
    expect_race(race_copy);
    expect_race(race_move);
    expect_race(race_compare);
    expect_race(race_atomic_plain);
    expect_race(race_load_plain_write);
}

static void test_what_does_not_conflict_is_none(void **state)
{
    (void)state;
    FINE_ONLY();
    expect_pass(no_race_reads);
    expect_pass(no_race_adjacent);
    expect_pass(no_race_range_end);
    expect_pass(no_race_copy);
    expect_pass(no_race_atomics);
}

// ---- What orders, and what does not ----

static void by_start_and_join(struct weir_sim *sim)
{
    shared.plain = 1;
    uint32_t thread = weir_sim_start(sim, write_plain, sim);
    weir_sim_join(sim, thread);
    shared.plain = 2;
}

static void not_by_start(struct weir_sim *sim)
{
    uint32_t thread = weir_sim_start(sim, read_plain, sim);
    shared.plain = 1;
    weir_sim_join(sim, thread);
}

#define HAND_OVER(name, before, store, load, after)                                                \
    BODY(name##_give, shared.plain = 1; before;                                                    \
         atomic_store_explicit(&shared.flag, 1, memory_order_##store);)                            \
    BODY(                                                                                          \
        name##_take, if (atomic_load_explicit(&shared.flag, memory_order_##load) == 1) {           \
            after;                                                                                 \
            shared.plain = 2;                                                                      \
        })                                                                                         \
    PAIR(name, name##_give, name##_take)
#define HAND_OVER_FENCE(order) atomic_thread_fence(memory_order_##order)
HAND_OVER(by_release_acquire, , release, acquire, )
HAND_OVER(by_fences, HAND_OVER_FENCE(release), relaxed, relaxed, HAND_OVER_FENCE(acquire))
HAND_OVER(not_by_relaxed, , relaxed, relaxed, )
HAND_OVER(not_by_release_alone, , release, relaxed, )
HAND_OVER(not_by_wrong_fences, HAND_OVER_FENCE(acquire), relaxed, relaxed, HAND_OVER_FENCE(release))

BODY(fence_and_write, HAND_OVER_FENCE(seq_cst); shared.plain = 1; HAND_OVER_FENCE(seq_cst);)
PAIR(not_by_seq_cst_fences, fence_and_write, fence_and_write)

static struct sim_clock kernel_clock;

BODY(kernel_give, shared.plain = 1;
     sim_memory_release(sim->memory, weir_sim_fine() ? sim_actor(sim) : 0, &kernel_clock);)
BODY(kernel_take, weir_sim_sleep(sim, 1000);
     sim_memory_acquire(sim->memory, sim_actor(sim), &kernel_clock); shared.plain = 2;)
BODY(kernel_late, shared.plain = 1; sim_memory_release(sim->memory, sim_actor(sim), &kernel_clock);
     shared.plain = 3;)
static void by_kernel(struct weir_sim *sim)
{
    memset(&kernel_clock, 0, sizeof(kernel_clock));
    at_once(sim, kernel_give, kernel_take);
}
static void not_after_release(struct weir_sim *sim)
{
    memset(&kernel_clock, 0, sizeof(kernel_clock));
    at_once(sim, kernel_late, kernel_take);
}

static void test_order_makes_it_none(void **state)
{
    (void)state;
    FINE_ONLY();
    expect_pass(by_start_and_join);
    expect_pass(by_release_acquire);
    expect_pass(by_fences);
    expect_pass(by_kernel);
}

static void test_too_little_order_is_a_race(void **state)
{
    (void)state;
    FINE_ONLY();
    expect_race(not_by_start);
    expect_race(not_by_seq_cst_fences);
    expect_race(not_after_release);
    expect(not_by_relaxed, false, WEIR_SIM_RACE, "data-race"); // only if the flag is seen
    expect(not_by_release_alone, false, WEIR_SIM_RACE, "data-race");
    expect(not_by_wrong_fences, false, WEIR_SIM_RACE, "data-race");
}

// Many concurrent readers, each of whom a later write must come after.
static uint32_t left_out;
BODY(read_and_count, use(shared.plain);
     atomic_fetch_add_explicit(&shared.other, 1, memory_order_release);)
BODY(read_in_silence, use(shared.plain);
     atomic_fetch_add_explicit(&shared.other, 1, memory_order_relaxed);)

static void readers(struct weir_sim *sim, uint32_t silent)
{
    memset(&shared, 0, sizeof(shared));
    uint32_t threads[20];
    for (uint32_t i = 0; i < 20; i++) {
        threads[i] = weir_sim_start(sim, i == silent ? read_in_silence : read_and_count, sim);
    }
    while (atomic_load_explicit(&shared.other, memory_order_acquire) != 20) {
        weir_sim_sleep(sim, 100);
    }
    shared.plain = 1;
    for (uint32_t i = 0; i < 20; i++) {
        weir_sim_join(sim, threads[i]);
    }
}
static void readers_all(struct weir_sim *sim)
{
    readers(sim, UINT32_MAX);
}
static void readers_but_one(struct weir_sim *sim)
{
    readers(sim, left_out);
}

static void test_a_write_comes_after_every_reader(void **state)
{
    (void)state;
    FINE_ONLY();
    expect_pass(readers_all);
    for (left_out = 0; left_out < 20; left_out += 19) {
        expect_race(readers_but_one);
    }
}

// A race's report names both, and where they stand.
static void test_the_report_names_both_accesses(void **state)
{
    (void)state;
    FINE_ONLY();
    struct weir_sim_result result = run_seed(race_write_read, 0);
    assert_non_null(strstr(result.message, "thread 1"));
    assert_non_null(strstr(result.message, "thread 2"));
    assert_non_null(strstr(result.message, "8 bytes"));
    assert_non_null(strstr(strstr(result.message, "at +0x") + 1, "at +0x"));
}

static _Thread_local uint64_t mine;
BODY(use_own, mine++; use(mine);)
PAIR(thread_locals, use_own, use_own)

static void test_thread_local_objects_are_no_race(void **state)
{
    (void)state;
    FINE_ONLY();
    expect_pass(thread_locals);
}

// ---- The heap ----

static uint8_t *block_alloc(struct weir_sim *sim, size_t bytes)
{
    const struct weir_os *os = weir_sim_os(sim);
    return os->alloc(os->self, bytes, 16);
}

static void block_release(struct weir_sim *sim, void *memory, size_t bytes)
{
    const struct weir_os *os = weir_sim_os(sim);
    os->release(os->self, memory, bytes);
}

#define HEAP_CASE(name, statement)                                                                 \
    static void name(struct weir_sim *sim)                                                         \
    {                                                                                              \
        volatile uint8_t *block = block_alloc(sim, 100);                                           \
        block[0] = block[99] = 1;                                                                  \
        statement;                                                                                 \
        block_release(sim, (void *)(uintptr_t)block, 100);                                         \
    }
HEAP_CASE(heap_good, memset((void *)(uintptr_t)block, 0, 100))
HEAP_CASE(heap_over, use((uint64_t)block[100]))
HEAP_CASE(heap_over_write, block[100] = 1)
HEAP_CASE(heap_under, use((uint64_t)block[-1]))
HEAP_CASE(heap_far_over, use((uint64_t)block[111]))
HEAP_CASE(heap_over_range, memset((void *)(uintptr_t)block, 0, 101))
HEAP_CASE(heap_over_atomic, use(atomic_load((_Atomic uint32_t *)(uintptr_t)(block + 100))))

#define FREED_CASE(name, statement)                                                                \
    static void name(struct weir_sim *sim)                                                         \
    {                                                                                              \
        volatile uint8_t *block = block_alloc(sim, 100);                                           \
        _Atomic uint32_t *atomic = (_Atomic uint32_t *)(uintptr_t)(block + 64);                    \
        block[0] = 1;                                                                              \
        atomic_store(atomic, 1);                                                                   \
        block_release(sim, (void *)(uintptr_t)block, 100);                                         \
        statement;                                                                                 \
    }
FREED_CASE(freed_read, use((uint64_t)block[0]))
FREED_CASE(freed_read_untouched, use((uint64_t)block[50]))
FREED_CASE(freed_write, block[0] = 1)
FREED_CASE(freed_atomic, use(atomic_load(atomic)))
FREED_CASE(freed_rmw, atomic_fetch_add(atomic, 1))

static void test_misuse_of_the_heap_is_found(void **state)
{
    (void)state;
    FINE_ONLY();
    expect_pass(heap_good);
    expect(heap_over, true, WEIR_SIM_SAFETY, "heap-overrun");
    expect(heap_over_write, true, WEIR_SIM_SAFETY, "heap-overrun");
    expect(heap_under, true, WEIR_SIM_SAFETY, "heap-overrun");
    expect(heap_far_over, true, WEIR_SIM_SAFETY, "heap-overrun");
    expect(heap_over_range, true, WEIR_SIM_SAFETY, "heap-overrun");
    expect(heap_over_atomic, true, WEIR_SIM_SAFETY, "heap-overrun");
    expect(freed_read, true, WEIR_SIM_SAFETY, "use-after-free");
    expect(freed_read_untouched, true, WEIR_SIM_SAFETY, "use-after-free");
    expect(freed_write, true, WEIR_SIM_SAFETY, "use-after-free");
    expect(freed_atomic, true, WEIR_SIM_SAFETY, "use-after-free");
    expect(freed_rmw, true, WEIR_SIM_SAFETY, "use-after-free");
}

// The kernel's accesses, in both grains.
static void kernel_reads_freed(struct weir_sim *sim)
{
    uint8_t *block = block_alloc(sim, 100);
    block_release(sim, block, 100);
    sim_memory_read(sim->memory, block + 10, 20, NULL);
}
static void kernel_writes_over(struct weir_sim *sim)
{
    uint8_t *block = block_alloc(sim, 100);
    sim_memory_write(sim->memory, block + 90, 10, NULL);
    sim_memory_write(sim->memory, block + 90, 11, NULL);
}
static void kernel_reads_well(struct weir_sim *sim)
{
    uint8_t *block = block_alloc(sim, 100);
    sim_memory_read(sim->memory, block, 100, NULL);
    sim_memory_read(sim->memory, block + 200, 0, NULL);
    sim_memory_write(sim->memory, &shared, sizeof(shared), NULL);
    block_release(sim, block, 100);
}

static void test_the_kernels_accesses_are_looked_at_in_both_grains(void **state)
{
    (void)state;
    expect_pass(kernel_reads_well);
    expect(kernel_reads_freed, true, WEIR_SIM_SAFETY, "use-after-free");
    expect(kernel_writes_over, true, WEIR_SIM_SAFETY, "heap-overrun");
}

// Handing out and giving back are accesses too.
static _Atomic(uint8_t *) passed;
BODY(pass_block, uint8_t *block = block_alloc(sim, 64);
     atomic_store_explicit(&passed, block, memory_order_relaxed);)
BODY(
    read_passed, uint8_t *block = atomic_load_explicit(&passed, memory_order_relaxed);
    if (block != NULL) { use((uint64_t)block[0]); })
BODY(
    load_passed, uint8_t *block = atomic_load_explicit(&passed, memory_order_relaxed);
    if (block != NULL) { use(atomic_load((_Atomic uint8_t *)block)); })
static void pass_and(struct weir_sim *sim, void (*look)(void *))
{
    atomic_init(&passed, NULL);
    at_once(sim, pass_block, look);
    block_release(sim, atomic_load(&passed), 64);
}
static void fresh_read(struct weir_sim *sim)
{
    pass_and(sim, read_passed);
}
static void fresh_load(struct weir_sim *sim)
{
    pass_and(sim, load_passed);
}
BODY(release_passed, block_release(sim, atomic_load(&passed), 64);)
static void release_while_read(struct weir_sim *sim)
{
    uint8_t *block = block_alloc(sim, 64);
    block[0] = 1;
    atomic_init(&passed, block);
    uint32_t thread = weir_sim_start(sim, release_passed, sim);
    use((uint64_t)block[0]);
    weir_sim_join(sim, thread);
}

static void test_allocation_and_release_are_writes(void **state)
{
    (void)state;
    FINE_ONLY();
    expect(fresh_read, false, WEIR_SIM_RACE, "data-race");
    expect(fresh_load, false, WEIR_SIM_RACE, "data-race");
    for (uint64_t seed = 0; seed < SEEDS; seed++) { // the read is first, or comes too late
        enum weir_sim_verdict verdict = run_seed(release_while_read, seed).verdict;
        assert_true(verdict == WEIR_SIM_RACE || verdict == WEIR_SIM_SAFETY);
    }
}

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
        cmocka_unit_test(test_conflicts_without_order_are_races),
        cmocka_unit_test(test_what_does_not_conflict_is_none),
        cmocka_unit_test(test_order_makes_it_none),
        cmocka_unit_test(test_too_little_order_is_a_race),
        cmocka_unit_test(test_a_write_comes_after_every_reader),
        cmocka_unit_test(test_the_report_names_both_accesses),
        cmocka_unit_test(test_thread_local_objects_are_no_race),
        cmocka_unit_test(test_misuse_of_the_heap_is_found),
        cmocka_unit_test(test_the_kernels_accesses_are_looked_at_in_both_grains),
        cmocka_unit_test(test_allocation_and_release_are_writes),
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
