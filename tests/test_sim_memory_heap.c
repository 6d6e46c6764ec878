// The memory model and the heap: overruns, freed blocks, blocks handed out and back in a race.
#include "tests/support_memory_case.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_misuse_of_the_heap_is_found),
        cmocka_unit_test(test_the_kernels_accesses_are_looked_at_in_both_grains),
        cmocka_unit_test(test_allocation_and_release_are_writes),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
