// The simulator's arena: blocks, red zones, quarantine, stacks and accounts.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sim/arena.h"
#include "sim/limits.h"
#include "sim/region.h"

#define POISON 0x5a
#define MEGABYTE ((size_t)1 << 20)

static struct sim_arena *arena;

static int setup(void **state)
{
    (void)state;
    arena = sim_arena_create();
    if (arena == NULL) {
        return -1;
    }
    sim_arena_begin(arena, POISON);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sim_arena_destroy(arena);
    return 0;
}

static void *alloc(size_t bytes)
{
    uint32_t number;
    return sim_arena_alloc(arena, bytes, 16, false, 0, &number);
}

static enum sim_heap_error release(void *memory, size_t bytes)
{
    uint32_t number;
    return sim_arena_release(arena, memory, bytes, &number);
}

static enum sim_place place(const void *address, size_t bytes)
{
    uint32_t number;
    size_t offset;
    return sim_arena_place(arena, address, bytes, &number, &offset);
}

static bool all_bytes(const void *memory, size_t bytes, unsigned char value)
{
    const unsigned char *at = memory;
    for (size_t i = 0; i < bytes; i++) {
        if (at[i] != value) {
            return false;
        }
    }
    return true;
}

static const size_t sizes[] = {
    0,     1,     2,     8,      15,           16,       17,          31,   32,
    100,   255,   256,   257,    1000,         4095,     4096,        4097, 10000,
    65535, 65536, 65537, 100000, MEGABYTE - 1, MEGABYTE, 3 * MEGABYTE};
#define SIZES_COUNT (sizeof(sizes) / sizeof(sizes[0]))

// ---- Blocks ----

static void test_blocks_are_zeroed_aligned_and_numbered(void **state)
{
    (void)state;
    uint32_t expected = 0;
    for (uint32_t round = 0; round < 2; round++) {
        for (size_t i = 0; i < SIZES_COUNT; i++) {
            for (size_t alignment = 1; alignment <= 65536; alignment *= 4) {
                uint32_t number;
                unsigned char *memory =
                    sim_arena_alloc(arena, sizes[i], alignment, false, 0, &number);
                assert_non_null(memory);
                assert_int_equal((uintptr_t)memory % alignment, 0);
                assert_int_equal(number, ++expected);
                assert_true(all_bytes(memory, sizes[i], 0));
                memset(memory, 0xff, sizes[i]);
                if (round == 1) {
                    assert_int_equal(release(memory, sizes[i]), SIM_HEAP_GOOD);
                }
            }
        }
    }
}

static void test_memory_is_zeroed_again_in_each_run(void **state)
{
    (void)state;
    for (uint32_t round = 0; round < 3; round++) {
        sim_arena_begin(arena, POISON);
        for (size_t i = 0; i < SIZES_COUNT; i++) {
            unsigned char *memory = alloc(sizes[i]);
            assert_true(all_bytes(memory, sizes[i], 0));
            memset(memory, 0xee, sizes[i]);
        }
    }
}

static void test_around_a_block_are_red_zones(void **state)
{
    (void)state;
    for (size_t i = 0; i < SIZES_COUNT; i++) {
        uint32_t number;
        char *memory = sim_arena_alloc(arena, sizes[i], 64, false, 0, &number);
        uint32_t found;
        size_t offset;
        assert_int_equal(sim_arena_place(arena, memory, sizes[i], &found, &offset), SIM_PLACE_LIVE);
        assert_int_equal(found, number);
        assert_int_equal(offset, 0);
        assert_int_equal(place(memory, sizes[i] + 1), SIM_PLACE_RED_ZONE);
        for (size_t distance = 1; distance <= 16; distance++) {
            assert_int_equal(place(memory - distance, 1), SIM_PLACE_RED_ZONE);
            assert_int_equal(place(memory + sizes[i] + distance - 1, 1), SIM_PLACE_RED_ZONE);
        }
        if (sizes[i] > 0) {
            assert_int_equal(sim_arena_place(arena, memory + sizes[i] - 1, 1, &found, &offset),
                             SIM_PLACE_LIVE);
            assert_int_equal(offset, sizes[i] - 1);
            assert_int_equal(place(memory + sizes[i] - 1, 2), SIM_PLACE_RED_ZONE);
            assert_int_equal(place(memory, SIZE_MAX), SIM_PLACE_RED_ZONE);
        }
    }
}

static void test_places_outside(void **state)
{
    (void)state;
    int local = 0;
    assert_int_equal(place(&local, sizeof(local)), SIM_PLACE_OUTSIDE);
    assert_int_equal(place(NULL, 1), SIM_PLACE_OUTSIDE);
    const char *base = (const char *)sim_arena_base(arena);
    assert_int_equal(place(base - 1, 1), SIM_PLACE_OUTSIDE);
    assert_int_equal(place(base + SIM_ARENA_BYTES, 1), SIM_PLACE_OUTSIDE);
    assert_int_equal(place(base, 1), SIM_PLACE_RED_ZONE);
    assert_int_equal(place(base + MEGABYTE, 1), SIM_PLACE_RED_ZONE); // not handed out yet
}

static void test_released_blocks_are_freed_and_poisoned(void **state)
{
    (void)state;
    for (size_t i = 0; i < SIZES_COUNT; i++) {
        unsigned char *memory = alloc(sizes[i]);
        assert_int_equal(release(memory, sizes[i]), SIM_HEAP_GOOD);
        assert_int_equal(place(memory, sizes[i]), SIM_PLACE_FREED);
        if (sizes[i] > 0) {
            assert_int_equal(place(memory + sizes[i] - 1, 1), SIM_PLACE_FREED);
        }
        if (!SIM_ASAN) { // which would report the look
            assert_true(all_bytes(memory, sizes[i] < 4096 ? sizes[i] : 4096, POISON));
        }
    }
}

// ---- What release finds ----

static void test_release_names_what_is_wrong(void **state)
{
    (void)state;
    uint32_t number;
    uint32_t block;
    char *memory = sim_arena_alloc(arena, 100, 16, false, 0, &block);
    int local;
    assert_int_equal(release(&local, 4), SIM_HEAP_NOT_A_BLOCK);
    assert_int_equal(release(NULL, 0), SIM_HEAP_NOT_A_BLOCK);
    assert_int_equal(release(memory + 16, 84), SIM_HEAP_NOT_A_BLOCK);
    assert_int_equal(release(memory + 1, 100), SIM_HEAP_NOT_A_BLOCK);
    assert_int_equal(release(memory + MEGABYTE, 100), SIM_HEAP_NOT_A_BLOCK);
    assert_int_equal(sim_arena_release(arena, memory, 99, &number), SIM_HEAP_OTHER_SIZE);
    assert_int_equal(number, block);
    assert_int_equal(sim_arena_release(arena, memory, 100, &number), SIM_HEAP_GOOD);
    assert_int_equal(number, block);
    assert_int_equal(sim_arena_release(arena, memory, 100, &number), SIM_HEAP_TWICE);
    assert_int_equal(number, block);
    size_t stack_bytes;
    void *stack = sim_arena_stack(arena, 0, &stack_bytes);
    assert_int_equal(release(stack, stack_bytes), SIM_HEAP_NOT_A_BLOCK);
}

static void test_an_overwritten_red_zone_is_found(void **state)
{
    (void)state;
    if (SIM_ASAN) { // reports the write itself
        skip();
    }
    for (size_t i = 0; i < SIZES_COUNT; i++) {
        for (size_t distance = 0; distance < 16; distance++) {
            char *memory = alloc(sizes[i]);
            memory[sizes[i] + distance] ^= 1;
            assert_int_equal(release(memory, sizes[i]), SIM_HEAP_RED_ZONE);
        }
    }
}

// ---- Quarantine and reuse ----

static void test_freed_memory_is_not_handed_out_soon(void **state)
{
    (void)state;
    void *freed[1000];
    for (size_t i = 0; i < 1000; i++) {
        freed[i] = alloc(48);
        assert_int_equal(release(freed[i], 48), SIM_HEAP_GOOD);
        for (size_t j = 0; j < i; j++) {
            assert_ptr_not_equal(freed[i], freed[j]);
        }
    }
}

static void test_reuse_gives_the_most_recently_freed(void **state)
{
    (void)state;
    char *first = alloc(40);
    char *second = alloc(40);
    char *third = alloc(40);
    memset(second, 1, 40);
    uint32_t number;
    assert_int_equal(release(first, 40), SIM_HEAP_GOOD);
    assert_int_equal(release(second, 40), SIM_HEAP_GOOD);
    char *fourth = sim_arena_alloc(arena, 40, 16, true, 0, &number);
    assert_ptr_equal(fourth, second);
    assert_int_equal(number, 4); // another block, though at the same address
    assert_true(all_bytes(fourth, 40, 0));
    assert_int_equal(place(fourth, 40), SIM_PLACE_LIVE);
    assert_ptr_equal(sim_arena_alloc(arena, 33, 16, true, 0, &number), first); // of the same class
    assert_int_equal(place(first, 34), SIM_PLACE_RED_ZONE);
    char *fresh = sim_arena_alloc(arena, 40, 16, true, 0, &number); // none left
    assert_ptr_not_equal(fresh, first);
    assert_ptr_not_equal(fresh, second);
    assert_ptr_not_equal(fresh, third);
}

// The slot cut last is given out again: what it held must not show through.
static void test_reuse_of_the_newest_slot_is_zeroed(void **state)
{
    (void)state;
    uint32_t number;
    char *memory = alloc(64);
    memset(memory, 0xff, 64);
    assert_int_equal(release(memory, 64), SIM_HEAP_GOOD);
    char *again = sim_arena_alloc(arena, 64, 16, true, 0, &number);
    assert_ptr_equal(again, memory);
    assert_true(all_bytes(again, 64, 0));
}

static void test_reuse_keeps_alignment(void **state)
{
    (void)state;
    uint32_t number;
    (void)alloc(16);
    char *odd = alloc(48); // not at a multiple of 4096
    assert_int_not_equal((uintptr_t)odd % 4096, 0);
    assert_int_equal(release(odd, 48), SIM_HEAP_GOOD);
    char *aligned = sim_arena_alloc(arena, 48, 4096, true, 0, &number);
    assert_int_equal((uintptr_t)aligned % 4096, 0);
}

static void test_long_runs_do_not_fill_the_arena(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 5000; i++) {
        char *memory = alloc(MEGABYTE);
        assert_non_null(memory);
        memory[0] = 1;
        assert_int_equal(release(memory, MEGABYTE), SIM_HEAP_GOOD);
    }
}

static void test_a_full_arena_says_so_and_recovers(void **state)
{
    (void)state;
    size_t blocks = 0;
    char *last = NULL;
    for (char *memory; (memory = alloc(8 * MEGABYTE)) != NULL; last = memory) {
        blocks++;
    }
    assert_in_range(blocks, 60, SIM_ARENA_BYTES / (8 * MEGABYTE));
    assert_null(alloc(8 * MEGABYTE));
    assert_null(alloc(SIZE_MAX));
    assert_int_equal(release(last, 8 * MEGABYTE), SIM_HEAP_GOOD);
    assert_ptr_equal(alloc(8 * MEGABYTE), last);
    sim_arena_begin(arena, POISON);
    assert_non_null(alloc(8 * MEGABYTE));
}

// ---- A model ----

#define MODEL_BLOCKS 400

struct model_block {
    unsigned char *memory;
    size_t bytes;
    uint32_t number;
    unsigned char fill;
};

static uint32_t random_next(uint32_t *random)
{
    *random = *random * 1664525u + 1013904223u;
    return *random >> 8;
}

static void model_step(struct model_block *block, uint32_t *random)
{
    if (block->memory != NULL) {
        assert_true(all_bytes(block->memory, block->bytes, block->fill));
        assert_int_equal(release(block->memory, block->bytes), SIM_HEAP_GOOD);
        block->memory = NULL;
        return;
    }
    block->bytes = random_next(random) % (random_next(random) % 8 == 0 ? 20000 : 200);
    size_t alignment = (size_t)1 << random_next(random) % 9;
    block->memory = sim_arena_alloc(arena, block->bytes, alignment, random_next(random) % 2 == 0, 0,
                                    &block->number);
    assert_non_null(block->memory);
    assert_true(all_bytes(block->memory, block->bytes, 0));
    block->fill = (unsigned char)random_next(random);
    memset(block->memory, block->fill, block->bytes);
}

static void test_blocks_never_overlap(void **state)
{
    (void)state;
    static struct model_block blocks[MODEL_BLOCKS];
    memset(blocks, 0, sizeof(blocks));
    uint32_t random = 1;
    for (uint32_t step = 0; step < 40000; step++) {
        struct model_block *block = &blocks[random_next(&random) % MODEL_BLOCKS];
        model_step(block, &random);
        block = &blocks[random_next(&random) % MODEL_BLOCKS];
        if (block->memory != NULL && block->bytes != 0) {
            uint32_t number;
            size_t offset;
            size_t at = random_next(&random) % block->bytes;
            assert_int_equal(sim_arena_place(arena, block->memory + at, 1, &number, &offset),
                             SIM_PLACE_LIVE);
            assert_int_equal(number, block->number);
            assert_int_equal(offset, at);
        }
    }
}

// ---- Accounts ----

static void test_accounts_are_per_process(void **state)
{
    (void)state;
    uint32_t number;
    size_t bytes;
    size_t peak;
    assert_int_equal(sim_arena_live(arena, 0, &number, &bytes), 0);
    char *first = sim_arena_alloc(arena, 100, 16, false, 0, &number);
    (void)sim_arena_alloc(arena, 1000, 16, false, 7, &number);
    char *third = sim_arena_alloc(arena, 50, 16, false, 0, &number);
    assert_int_equal(sim_arena_live(arena, 0, &number, &bytes), 2);
    assert_int_equal(number, 1);
    assert_int_equal(bytes, 100);
    assert_int_equal(sim_arena_bytes(arena, 0, &peak), 150);
    assert_int_equal(release(first, 100), SIM_HEAP_GOOD);
    assert_int_equal(sim_arena_live(arena, 0, &number, &bytes), 1);
    assert_int_equal(number, 3);
    assert_int_equal(bytes, 50);
    assert_int_equal(sim_arena_bytes(arena, 0, &peak), 50);
    assert_int_equal(peak, 150);
    assert_int_equal(sim_arena_bytes(arena, 7, &peak), 1000);
    // The first by number, not by address.
    (void)sim_arena_alloc(arena, 100, 16, true, 0, &number);
    assert_int_equal(sim_arena_live(arena, 0, &number, &bytes), 2);
    assert_int_equal(number, 3);
    assert_int_equal(release(third, 50), SIM_HEAP_GOOD);
    sim_arena_begin(arena, POISON);
    assert_int_equal(sim_arena_live(arena, 0, &number, &bytes), 0);
    assert_int_equal(sim_arena_live(arena, 7, &number, &bytes), 0);
    assert_int_equal(sim_arena_bytes(arena, 7, &peak), 0);
    assert_int_equal(peak, 0);
}

// ---- Stacks ----

static void test_stacks_are_apart_and_the_same_every_time(void **state)
{
    (void)state;
    for (uint32_t actor = 0; actor < SIM_THREADS_MAX; actor++) {
        size_t bytes;
        char *stack = sim_arena_stack(arena, actor, &bytes);
        assert_int_equal(bytes, SIM_STACK_BYTES);
        stack[0] = stack[bytes - 1] = (char)actor;
        uint32_t number;
        size_t offset;
        assert_int_equal(sim_arena_place(arena, stack + 24, 8, &number, &offset), SIM_PLACE_STACK);
        assert_int_equal(number, actor);
        assert_int_equal(offset, 24);
    }
    sim_arena_begin(arena, POISON);
    for (uint32_t actor = 0; actor < SIM_THREADS_MAX; actor++) {
        size_t bytes;
        char *stack = sim_arena_stack(arena, actor, &bytes);
        assert_int_equal(stack[0], (char)actor);
        assert_int_equal(stack[bytes - 1], (char)actor);
    }
}

static void test_below_a_stack_is_an_inaccessible_page(void **state)
{
    (void)state;
    for (uint32_t actor = 0; actor < SIM_THREADS_MAX; actor += SIM_THREADS_MAX - 1) {
        size_t bytes;
        volatile char *stack = sim_arena_stack(arena, actor, &bytes);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            (void)close(STDERR_FILENO);     // ASan's report
            (void)signal(SIGSEGV, SIG_DFL); // not CMocka's
            stack[-1] = 1;
            _exit(0);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
}

// ---- Determinism ----

static void test_two_arenas_give_the_same_offsets(void **state)
{
    (void)state;
    struct sim_arena *other = sim_arena_create();
    assert_non_null(other);
    for (uint32_t round = 0; round < 2; round++) {
        sim_arena_begin(other, 1); // another poison
        sim_arena_begin(arena, POISON);
        uint32_t random = 5;
        for (uint32_t i = 0; i < 1000; i++) {
            size_t bytes = random_next(&random) % 3000;
            bool reuse = random_next(&random) % 3 == 0;
            uint32_t number;
            uint32_t number_other;
            char *memory = sim_arena_alloc(arena, bytes, 32, reuse, 0, &number);
            char *memory_other = sim_arena_alloc(other, bytes, 32, reuse, 0, &number_other);
            assert_int_equal((uintptr_t)memory - sim_arena_base(arena),
                             (uintptr_t)memory_other - sim_arena_base(other));
            assert_int_equal(number, number_other);
            if (random_next(&random) % 2 == 0) {
                assert_int_equal(release(memory, bytes), SIM_HEAP_GOOD);
                assert_int_equal(sim_arena_release(other, memory_other, bytes, &number),
                                 SIM_HEAP_GOOD);
            }
        }
    }
    sim_arena_destroy(other);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_blocks_are_zeroed_aligned_and_numbered),
        TEST(test_memory_is_zeroed_again_in_each_run),
        TEST(test_around_a_block_are_red_zones),
        TEST(test_places_outside),
        TEST(test_released_blocks_are_freed_and_poisoned),
        TEST(test_release_names_what_is_wrong),
        TEST(test_an_overwritten_red_zone_is_found),
        TEST(test_freed_memory_is_not_handed_out_soon),
        TEST(test_reuse_gives_the_most_recently_freed),
        TEST(test_reuse_of_the_newest_slot_is_zeroed),
        TEST(test_reuse_keeps_alignment),
        TEST(test_long_runs_do_not_fill_the_arena),
        TEST(test_a_full_arena_says_so_and_recovers),
        TEST(test_blocks_never_overlap),
        TEST(test_accounts_are_per_process),
        TEST(test_stacks_are_apart_and_the_same_every_time),
        TEST(test_below_a_stack_is_an_inaccessible_page),
        TEST(test_two_arenas_give_the_same_offsets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
