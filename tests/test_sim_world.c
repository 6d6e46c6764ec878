// Tests of the simulated os: clock, entropy, memory, threads, and calls outside of a run.
#include "tests/support_scenario.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sim/region.h"

// ---- Clock and entropy ----

static void body_clock(struct weir_sim *sim)
{
    const struct weir_os *os = weir_sim_os(sim);
    uint64_t now_ns = os->now_ns(os->self);
    check(now_ns >= SIM_EPOCH_NS && now_ns == weir_sim_now_ns(sim));
    uint64_t later_ns = os->now_ns(os->self);
    check(later_ns > now_ns && later_ns < now_ns + MS);
    uint64_t wall_ns = os->wall_ns(os->self);
    weir_sim_sleep(sim, 7 * SECOND);
    uint64_t wall_later_ns = os->wall_ns(os->self);
    check(wall_later_ns >= wall_ns + 7 * SECOND && wall_later_ns < wall_ns + 7 * SECOND + MS);
    check(wall_ns / SECOND - SIM_EPOCH_NS / SECOND == 1704067200); // 2024-01-01
}

static void test_clock(void **state)
{
    (void)state;
    pass(body_clock);
}

static unsigned char drawn[2][33];
static int drawn_index;

static void body_entropy(struct weir_sim *sim)
{
    const struct weir_os *os = weir_sim_os(sim);
    memset(drawn[drawn_index], 0, sizeof drawn[0]);
    os->entropy(os->self, drawn[drawn_index], 32);
    check(drawn[drawn_index][32] == 0);
    os->entropy(os->self, NULL, 0);
}

static void test_entropy(void **state)
{
    (void)state;
    drawn_index = 0;
    pass(body_entropy);
    drawn_index = 1;
    pass(body_entropy);
    assert_memory_equal(drawn[0], drawn[1], 32);
    pass_deviating(body_entropy, WEIR_SIM_WORK, 0, 0, 65535);
    assert_memory_not_equal(drawn[0], drawn[1], 32);
    int different = 0;
    for (int index = 1; index < 32; index++) {
        different += drawn[1][index] != drawn[1][index - 1];
    }
    assert_true(different > 16);
}

// ---- Memory ----

static bool all_zero(const unsigned char *bytes, size_t bytes_count)
{
    size_t index = 0;
    while (index < bytes_count && bytes[index] == 0) {
        index++;
    }
    return index == bytes_count;
}

static void body_alloc(struct weir_sim *sim)
{
    const struct weir_os *os = weir_sim_os(sim);
    static const size_t sizes[] = {1, 16, 100, 4096, 65536, 2000000};
    for (size_t index = 0; index < sizeof sizes / sizeof sizes[0]; index++) {
        for (size_t alignment = 1; alignment <= 65536; alignment *= 16) {
            unsigned char *memory = os->alloc(os->self, sizes[index], alignment);
            check(memory != NULL && (uintptr_t)memory % alignment == 0);
            check(all_zero(memory, sizes[index]));
            memset(memory, 0xff, sizes[index]);
            os->release(os->self, memory, sizes[index]);
        }
    }
    os->release(os->self, NULL, 10);
    check(os->alloc(os->self, SIM_ARENA_BYTES, 16) == NULL);
    check(os->alloc(os->self, SIZE_MAX, 16) == NULL);
}

static void body_alloc_fails(struct weir_sim *sim)
{
    const struct weir_os *os = weir_sim_os(sim);
    void *first = os->alloc(os->self, 100, 16);
    check(first != NULL);
    check(os->alloc(os->self, 100, 16) == NULL);
    void *third = os->alloc(os->self, 100, 16);
    check(third != NULL);
    os->release(os->self, first, 100);
    os->release(os->self, third, 100);
}

static void body_reuse(struct weir_sim *sim)
{
    const struct weir_os *os = weir_sim_os(sim);
    unsigned char *first = os->alloc(os->self, 100, 16);
    memset(first, 0xff, 100);
    os->release(os->self, first, 100);
    unsigned char *second = os->alloc(os->self, 100, 16);
    check(second == first && all_zero(second, 100));
    os->release(os->self, second, 100);
}

static void body_no_reuse(struct weir_sim *sim)
{
    const struct weir_os *os = weir_sim_os(sim);
    void *first = os->alloc(os->self, 100, 16);
    os->release(os->self, first, 100);
    void *second = os->alloc(os->self, 100, 16);
    check(second != first);
    os->release(os->self, second, 100);
}

static void test_alloc(void **state)
{
    (void)state;
    pass(body_alloc);
    pass_deviating(body_alloc_fails, WEIR_SIM_RESOURCE, 0, 1, 1);
    pass(body_no_reuse);
    pass_deviating(body_reuse, WEIR_SIM_REUSE, 0, 1, 1);
}

static void body_released_twice(struct weir_sim *sim)
{
    const struct weir_os *os = weir_sim_os(sim);
    void *memory = os->alloc(os->self, 100, 16);
    os->release(os->self, memory, 100);
    os->release(os->self, memory, 100);
}

static void body_released_not_a_block(struct weir_sim *sim)
{
    const struct weir_os *os = weir_sim_os(sim);
    char *memory = os->alloc(os->self, 100, 16);
    os->release(os->self, memory + 16, 84);
}

static void body_released_stack(struct weir_sim *sim)
{
    const struct weir_os *os = weir_sim_os(sim);
    char memory[100];
    os->release(os->self, memory, sizeof memory);
}

static void body_released_other_size(struct weir_sim *sim)
{
    const struct weir_os *os = weir_sim_os(sim);
    void *memory = os->alloc(os->self, 100, 16);
    os->release(os->self, memory, 101);
}

// Written by the C library, which nobody instrumented: found at the latest when it is given back.
static void body_overrun(struct weir_sim *sim)
{
    const struct weir_os *os = weir_sim_os(sim);
    char *memory = os->alloc(os->self, 100, 16);
    (void)snprintf(memory + 99, 3, "ab");
    os->release(os->self, memory, 100);
}

static void body_left_memory(struct weir_sim *sim)
{
    const struct weir_os *os = weir_sim_os(sim);
    (void)os->alloc(os->self, 100, 16);
}

static void test_heap_mistakes(void **state)
{
    (void)state;
    expect_failure(body_released_twice, WEIR_SIM_SAFETY, "released-twice");
    expect_failure(body_released_not_a_block, WEIR_SIM_SAFETY, "released-not-a-block");
    expect_failure(body_released_stack, WEIR_SIM_SAFETY, "released-not-a-block");
    expect_failure(body_released_other_size, WEIR_SIM_SAFETY, "released-other-size");
    if (!SIM_ASAN) { // which stops at the write
        expect_failure(body_overrun, WEIR_SIM_SAFETY, "heap-overrun");
    }
    expect_failure(body_left_memory, WEIR_SIM_LEAK, "leak-memory");
    assert_non_null(strstr(result.message, "100 bytes"));
    pass(body_alloc);
}

static void body_fork_guard(struct weir_sim *sim)
{
    const struct weir_os *os = weir_sim_os(sim);
    _Atomic uint32_t *word = NULL;
    check(os->fork_guard_open(os->self, &word) == 0);
    check(atomic_load_explicit(word, memory_order_relaxed) == 1);
    os->fork_guard_close(os->self, word);
}

static void body_fork_guard_fails(struct weir_sim *sim)
{
    const struct weir_os *os = weir_sim_os(sim);
    _Atomic uint32_t *word = NULL;
    check(os->fork_guard_open(os->self, &word) == -ENOMEM);
    check(word == NULL);
}

static void test_fork_guard(void **state)
{
    (void)state;
    pass(body_fork_guard);
    pass_deviating(body_fork_guard_fails, WEIR_SIM_RESOURCE, 0, 0, 1);
}

// ---- Threads ----

struct child {
    struct weir_sim *sim;
    uint64_t id;
    _Atomic int ran;
};

static void child_main(void *argument)
{
    struct child *child = argument;
    const struct weir_os *os = weir_sim_os(child->sim);
    child->id = os->thread_id(os->self);
    weir_sim_sleep(child->sim, MS);
    atomic_fetch_add_explicit(&child->ran, 1, memory_order_relaxed);
}

static void body_threads(struct weir_sim *sim)
{
    const struct weir_os *os = weir_sim_os(sim);
    struct child children[3] = {{.sim = sim}, {.sim = sim}, {.sim = sim}};
    uint64_t threads[3];
    for (int index = 0; index < 3; index++) {
        check(os->thread_start(os->self, &threads[index], child_main, &children[index]) == 0);
    }
    check(os->thread_join(os->self, threads[0]) == 0 && children[0].ran == 1);
    check(os->thread_join(os->self, threads[0]) == -EINVAL);
    check(os->thread_detach(os->self, threads[0]) == -EINVAL);
    check(os->thread_detach(os->self, threads[1]) == 0);
    check(os->thread_join(os->self, threads[1]) == -EINVAL);
    check(os->thread_join(os->self, threads[2] + (UINT64_C(1) << 32)) == -EINVAL);
    check(os->thread_join(os->self, threads[2]) == 0);
    check(os->thread_join(os->self, 0) == -EINVAL);
    check(os->thread_join(os->self, UINT64_MAX) == -EINVAL);
    check(os->thread_join(os->self, os->thread_id(os->self)) != 0);
    check(children[0].id != children[2].id && children[0].id != 0 && children[2].id != 0);
    check(os->thread_id(os->self) == os->thread_id(os->self));
    check(os->thread_id(os->self) != children[0].id);
    weir_sim_sleep(sim, SECOND); // the detached one ends
    check(children[1].ran == 1);
}

static void body_thread_fails(struct weir_sim *sim)
{
    const struct weir_os *os = weir_sim_os(sim);
    struct child child = {.sim = sim};
    uint64_t thread = 77;
    check(os->thread_start(os->self, &thread, child_main, &child) == -EAGAIN);
    check(thread == 77);
    check(os->thread_start(os->self, &thread, child_main, &child) == 0);
    check(os->thread_join(os->self, thread) == 0);
}

static struct child left_child;

static void body_left_thread(struct weir_sim *sim)
{
    const struct weir_os *os = weir_sim_os(sim);
    uint64_t thread = 0;
    left_child = (struct child){.sim = sim};
    check(os->thread_start(os->self, &thread, child_main, &left_child) == 0);
}

static void test_threads(void **state)
{
    (void)state;
    pass(body_threads);
    pass_deviating(body_thread_fails, WEIR_SIM_RESOURCE, 0, 0, 1);
    expect_failure(body_left_thread, WEIR_SIM_LEAK, "leak-thread");
}

// ---- Outside of a run ----

static void body_nothing(struct weir_sim *sim)
{
    (void)sim;
}

static void test_outside(void **state)
{
    (void)state;
    pass(body_nothing);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)close(STDERR_FILENO);
        (void)signal(SIGABRT, SIG_DFL);
        const struct weir_os *os = weir_sim_os(simulator);
        (void)os->now_ns(os->self);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock),      cmocka_unit_test(test_entropy),
        cmocka_unit_test(test_alloc),      cmocka_unit_test(test_heap_mistakes),
        cmocka_unit_test(test_fork_guard), cmocka_unit_test(test_threads),
        cmocka_unit_test(test_outside),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
