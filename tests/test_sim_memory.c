// The memory model beyond litmus tests: what is a data race, and what orders enough to be none.
#include "tests/support_memory_case.h"

// ---- Data races ----

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
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
