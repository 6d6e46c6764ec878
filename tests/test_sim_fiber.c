// Fibers: order, registers, floating-point modes, errno, thread-local objects, reuse, the price.
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <execinfo.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "sim/asan.h"
#include "sim/fiber.h"

#define RING 80
#define GUARD_BYTES 65536u

static struct sim_fiber host;
static struct sim_fiber fibers[RING];
static void *stacks[RING];
static char story[64];

static int setup(void **state)
{
    (void)state;
    sim_fiber_init_host(&host);
    // Inaccessible behind the end: nobody may look for a caller of a fiber's first frame there.
    for (uint32_t i = 0; i < RING; i++) {
        stacks[i] = mmap(NULL, SIM_STACK_BYTES + GUARD_BYTES, PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert_ptr_not_equal(stacks[i], MAP_FAILED);
        assert_int_equal(mprotect(stacks[i], SIM_STACK_BYTES, PROT_READ | PROT_WRITE), 0);
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < RING; i++) {
        sim_fiber_deinit(&fibers[i]);
        assert_int_equal(munmap(stacks[i], SIM_STACK_BYTES + GUARD_BYTES), 0);
    }
    sim_fiber_deinit(&host);
    return 0;
}

static void begin(uint32_t i, void (*entry)(void *), void *argument)
{
    sim_fiber_init(&fibers[i], stacks[i], SIM_STACK_BYTES, entry, argument, 0, 0);
}

static void leave(uint32_t i)
{
    sim_fiber_switch(&fibers[i], &host);
}

static void enter(uint32_t i)
{
    sim_fiber_switch(&host, &fibers[i]);
}

// ---- Order ----

static void tell(const char *word)
{
    strncat(story, word, sizeof story - strlen(story) - 1);
}

static void order_body(void *argument)
{
    assert_string_equal(argument, "given");
    tell("b");
    leave(0);
    tell("d");
    sim_fiber_switch(&fibers[0], &fibers[1]);
    tell("f");
    leave(0);
}

static void order_other(void *argument)
{
    (void)argument;
    tell("e");
    sim_fiber_switch(&fibers[1], &fibers[0]);
}

static void test_order(void **state)
{
    (void)state;
    story[0] = '\0';
    begin(0, order_body, "given");
    begin(1, order_other, NULL);
    tell("a");
    enter(0);
    tell("c");
    enter(0);
    tell("g");
    assert_string_equal(story, "abcdefg");
}

static uint64_t ring_sum;

static void ring_body(void *argument)
{
    uint32_t self = (uint32_t)(uintptr_t)argument;
    for (uint64_t turn = 0;; turn++) {
        ring_sum = ring_sum * 31 + self + turn;
        if (self + 1 < RING) {
            sim_fiber_switch(&fibers[self], &fibers[self + 1]);
        } else {
            leave(self);
        }
    }
}

static void test_ring(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < RING; i++) {
        begin(i, ring_body, (void *)(uintptr_t)i);
    }
    // The last fiber goes to the host, which starts the next turn with the first.
    uint64_t expected = 0;
    ring_sum = 0;
    for (uint64_t turn = 0; turn < 100; turn++) {
        enter(0);
        for (uint32_t i = 0; i < RING; i++) {
            expected = expected * 31 + i + turn;
        }
        assert_true(ring_sum == expected);
    }
}

// ---- What a fiber keeps ----

static volatile uint64_t scramble = 1;

// More values than there are callee-saved registers, live across each switch.
static void registers_use(uint64_t salt, void (*away)(uint32_t))
{
    uint64_t seed = scramble + salt;
    uint64_t a = seed * 3, b = seed * 5, c = seed * 7, d = seed * 11, e = seed * 13, f = seed * 17;
    uint64_t g = seed * 19, h = seed * 23, i = seed * 29, j = seed * 31;
    double k = (double)seed * 0.5, l = (double)seed * 0.25, m = (double)seed * 2, n = (double)seed;
    double o = (double)seed * 4, p = (double)seed * 8, q = (double)seed * 16, r = (double)seed * 32;
    for (int turn = 0; turn < 5; turn++) {
        away(2);
        a += seed, b += seed, c += seed, d += seed, e += seed, f += seed, g += seed, h += seed;
        i += seed, j += seed;
        k += 1, l += 1, m += 1, n += 1, o += 1, p += 1, q += 1, r += 1;
    }
    assert_true(a == seed * 8 && b == seed * 10 && c == seed * 12 && d == seed * 16);
    assert_true(e == seed * 18 && f == seed * 22 && g == seed * 24 && h == seed * 28);
    assert_true(i == seed * 34 && j == seed * 36);
    double x = (double)seed;
    assert_true(k == x * 0.5 + 5 && l == x * 0.25 + 5 && m == x * 2 + 5 && n == x + 5);
    assert_true(o == x * 4 + 5 && p == x * 8 + 5 && q == x * 16 + 5 && r == x * 32 + 5);
}

static void registers_body(void *argument)
{
    (void)argument;
    // Aligned as the ABI wants it, or vector instructions of a callee fault.
    assert_int_equal((uintptr_t)__builtin_frame_address(0) % 16, 0);
    registers_use(1000, leave);
    story[0] = 'x';
    leave(2);
}

static void test_registers(void **state)
{
    (void)state;
    story[0] = '\0';
    begin(2, registers_body, NULL);
    registers_use(7, enter);
    assert_int_equal(story[0], '\0');
    enter(2);
    assert_int_equal(story[0], 'x');
}

// Sets the rounding mode of both units, without libm. returns  whether it knows how.
static bool round_up(bool up)
{
#if defined(__x86_64__)
    uint32_t mxcsr;
    uint16_t control;
    __asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(mxcsr), "=m"(control));
    mxcsr = (mxcsr & ~0x6000u) | (up ? 0x4000u : 0);
    control = (uint16_t)((control & ~0x0c00u) | (up ? 0x0800u : 0));
    __asm__ volatile("ldmxcsr %0\n\tfldcw %1" : : "m"(mxcsr), "m"(control));
    return true;
#elif defined(__aarch64__)
    uint64_t fpcr;
    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    fpcr = (fpcr & ~UINT64_C(0xc00000)) | (up ? UINT64_C(0x400000) : 0);
    __asm__ volatile("msr fpcr, %0" : : "r"(fpcr));
    return true;
#else
    return up && false;
#endif
}

// Both formats' nearest value of 1/7 is below it.
static volatile double one = 1, seven = 7, quotient;
static volatile long double long_one = 1, long_seven = 7, long_quotient;

static void divide(void)
{
    quotient = one / seven;
    long_quotient = long_one / long_seven;
}

static void rounding_body(void *argument)
{
    double nearest = quotient;
    (void)argument;
    for (;;) {
        divide();
        assert_true(quotient == nearest);
        round_up(true);
        leave(3);
        divide();
        leave(3);
        round_up(false);
    }
}

static void test_rounding(void **state)
{
    (void)state;
    if (!round_up(false)) {
        skip();
    }
    divide();
    double nearest = quotient;
    long double long_nearest = long_quotient;
    begin(3, rounding_body, NULL);
    for (int turn = 0; turn < 3; turn++) {
        enter(3);
        divide();
        assert_true(quotient == nearest && long_quotient == long_nearest);
        enter(3);
        assert_true(quotient > nearest && long_quotient > long_nearest);
        divide();
        assert_true(quotient == nearest && long_quotient == long_nearest);
    }
}

static void errno_body(void *argument)
{
    uint32_t self = (uint32_t)(uintptr_t)argument;
    assert_int_equal(errno, 0); // whatever the host's is
    errno = EPIPE;
    leave(self);
    assert_int_equal(errno, EPIPE);
    errno = EAGAIN;
    leave(self);
}

static void test_errno(void **state)
{
    (void)state;
    begin(4, errno_body, (void *)4);
    begin(5, errno_body, (void *)5);
    errno = ERANGE;
    for (int turn = 0; turn < 2; turn++) {
        enter(4);
        assert_int_equal(errno, ERANGE);
        enter(5);
        assert_int_equal(errno, ERANGE);
    }
}

static _Thread_local uint32_t local_set = 41;
static _Thread_local char local_zero[100];

static void local_body(void *argument)
{
    (void)argument;
    assert_int_equal(local_set, 41); // as in a new thread
    assert_int_equal(local_zero[99], 0);
    local_set = 1000;
    local_zero[99] = 'f';
    leave(6);
    assert_int_equal(local_set, 1000);
    assert_int_equal(local_zero[99], 'f');
    leave(6);
}

static void test_thread_local(void **state)
{
    (void)state;
    if (SIM_ASAN) { // shared there, which fiber.h says
        skip();
    }
    local_set = 7;
    local_zero[99] = 'h';
    for (int turn = 0; turn < 3; turn++) { // the second and third time: an abandoned one, anew
        begin(6, local_body, NULL);
        enter(6);
        assert_int_equal(local_set, 7);
        assert_int_equal(local_zero[99], 'h');
        if (turn > 0) {
            enter(6);
            assert_int_equal(local_set, 7);
        }
    }
    local_set = 41;
    local_zero[99] = 0;
}

// ---- Stacks ----

static void __attribute__((noinline)) stack_use(volatile char *above, uint32_t i, size_t depth)
{
    volatile char bytes[3000];
    memset((char *)bytes, (int)depth, sizeof bytes);
    if (depth > 0) {
        stack_use(bytes, i, depth - 1);
    } else {
        leave(i);
    }
    if (above != NULL) {
        above[0] = bytes[2999];
    }
    bytes[1] = bytes[2];
}

static void deep_body(void *argument)
{
    const size_t *depth = argument;
    stack_use(NULL, 7, *depth);
    leave(7);
}

// Each body is abandoned at another depth; ASan must take none of what it left for an overflow.
static void test_abandoned(void **state)
{
    (void)state;
    for (size_t turn = 0; turn < 2000; turn++) {
        size_t depth = turn * 7 % 20;
        begin(7, deep_body, &depth);
        enter(7);
        if (turn % 3 == 0) {
            enter(7); // to its end
        }
    }
}

static void nothing_body(void *argument)
{
    (void)argument;
    leave(8);
}

static void test_poison(void **state)
{
    (void)state;
    const size_t poison_bytes = 2000;
    unsigned char *stack = stacks[8];
    unsigned char *top = stack + SIM_STACK_BYTES;
    memset(top - 4096, 0x11, 4096);
    sim_fiber_init(&fibers[8], stack, SIM_STACK_BYTES, nothing_body, NULL, 0xa7, poison_bytes);
    for (size_t depth = 512; depth <= poison_bytes; depth++) {
        assert_int_equal(top[-(ptrdiff_t)depth], 0xa7);
    }
    assert_int_equal(top[-(ptrdiff_t)poison_bytes - 1], 0x11);
    enter(8);
}

static int frames_count;

static void backtrace_body(void *argument)
{
    (void)argument;
    void *frames[64];
    frames_count = backtrace(frames, 64);
    leave(9);
}

static void test_backtrace_ends(void **state)
{
    (void)state;
    begin(9, backtrace_body, NULL);
    enter(9);
    assert_in_range(frames_count, 1, 12);
}

static void test_deinit(void **state)
{
    (void)state;
    for (int turn = 0; turn < 100; turn++) {
        begin(8, nothing_body, NULL);
        enter(8);
        sim_fiber_deinit(&fibers[8]);
        assert_null(fibers[8].context);
        sim_fiber_deinit(&fibers[8]); // of one that was never made
    }
}

// ---- The price ----

static const uint64_t price_turns = 200000;

// Two of them switch at the same place, as threads in a run do: returns are then predicted.
static void price_body(void *argument)
{
    uint32_t self = (uint32_t)(uintptr_t)argument;
    for (uint64_t turn = 0;; turn++) {
        if (self == 10 && turn == price_turns) {
            turn = 0;
            leave(self);
        }
        sim_fiber_switch(&fibers[self], &fibers[self ^ 1]);
    }
}

static void test_price(void **state)
{
    (void)state;
    uint64_t best_ns = UINT64_MAX;
    begin(10, price_body, (void *)10);
    begin(11, price_body, (void *)11);
    for (int trial = 0; trial < 5; trial++) {
        struct timespec start, end;
        clock_gettime(CLOCK_MONOTONIC, &start);
        enter(10);
        clock_gettime(CLOCK_MONOTONIC, &end);
        int64_t seconds = end.tv_sec - start.tv_sec;
        uint64_t took_ns = (uint64_t)(seconds * 1000000000 + end.tv_nsec - start.tv_nsec);
        best_ns = took_ns < best_ns ? took_ns : best_ns;
    }
    uint64_t tenths = best_ns * 10 / (2 * price_turns);
    printf("one switch: %d.%d ns\n", (int)(tenths / 10), (int)(tenths % 10));
    assert_in_range(tenths, 1, 1000000); // hours of simulation become days
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),          cmocka_unit_test(test_ring),
        cmocka_unit_test(test_registers),      cmocka_unit_test(test_rounding),
        cmocka_unit_test(test_errno),          cmocka_unit_test(test_thread_local),
        cmocka_unit_test(test_abandoned),      cmocka_unit_test(test_poison),
        cmocka_unit_test(test_backtrace_ends), cmocka_unit_test(test_deinit),
        cmocka_unit_test(test_price),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
