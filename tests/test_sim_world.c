// Tests of the simulated os: clock, memory, threads, futexes, names, and a whole runtime on top.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "sim/region.h"
#include "sim/sim.h"

#define MS UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)

static struct weir_sim *simulator;
static struct weir_sim_result result;

static void run_deviating(void (*body)(struct weir_sim *),
                          const struct weir_sim_deviation *deviations, size_t deviations_count)
{
    static const struct weir_sim_deviation none;
    struct weir_sim_scenario scenario = {.name = "world", .about = "a test", .run = body};
    struct weir_sim_options options = {.deviations = deviations == NULL ? &none : deviations,
                                       .deviations_count = deviations_count};
    weir_sim_run(simulator, &scenario, &options, &result);
}

static void expect_pass(void)
{
    if (result.verdict != WEIR_SIM_PASS) {
        fprintf(stderr, "%s: %s\n", result.name, result.message);
    }
    assert_int_equal(result.verdict, WEIR_SIM_PASS);
}

static void pass(void (*body)(struct weir_sim *))
{
    run_deviating(body, NULL, 0);
    expect_pass();
}

// The deviation, of that actor, is met and the body still passes.
static void pass_deviating(void (*body)(struct weir_sim *), enum weir_sim_kind kind, uint32_t actor,
                           uint32_t number, uint32_t value)
{
    struct weir_sim_deviation deviation = {
        .kind = kind, .actor = actor, .number = number, .value = value};
    run_deviating(body, &deviation, 1);
    expect_pass();
    assert_int_equal(result.deviations_count, 1);
}

static void expect_failure(void (*body)(struct weir_sim *), enum weir_sim_verdict verdict,
                           const char *name)
{
    run_deviating(body, NULL, 0);
    assert_int_equal(result.verdict, verdict);
    assert_string_equal(result.name, name);
}

#define check(condition) weir_sim_check(sim, condition, "test")

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
    if (!SIM_REGION_ASAN) { // which stops at the write
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

// ---- Futexes ----

struct sleeper {
    struct weir_sim *sim;
    _Atomic uint32_t *word;
    uint32_t expected;
    uint64_t deadline_ns;
    int code;
    _Atomic uint32_t place; // how many had returned before
};

static _Atomic uint32_t returned_count;

static void sleeper_main(void *argument)
{
    struct sleeper *sleeper = argument;
    const struct weir_os *os = weir_sim_os(sleeper->sim);
    sleeper->code =
        os->futex_wait(os->self, sleeper->word, sleeper->expected, sleeper->deadline_ns);
    sleeper->place = atomic_fetch_add_explicit(&returned_count, 1, memory_order_relaxed);
}

static void body_futex_answers(struct weir_sim *sim)
{
    const struct weir_os *os = weir_sim_os(sim);
    _Atomic uint32_t word = 5;
    uint64_t now_ns = os->now_ns(os->self);
    check(os->futex_wait(os->self, &word, 4, WEIR_NEVER) == -EAGAIN);
    check(os->futex_wait(os->self, &word, 5, 0) == -ETIMEDOUT);
    check(os->futex_wait(os->self, &word, 5, now_ns) == -ETIMEDOUT);
    check(weir_sim_now_ns(sim) < now_ns + MS);
    check(os->futex_wait(os->self, &word, 5, now_ns + 3 * MS) == -ETIMEDOUT);
    check(weir_sim_now_ns(sim) >= now_ns + 3 * MS && weir_sim_now_ns(sim) < now_ns + 4 * MS);
    os->futex_wake(os->self, &word, 1); // is not kept
    check(os->futex_wait(os->self, &word, 5, now_ns + 5 * MS) == -ETIMEDOUT);
}

// Five wait on one word, one on another; they are woken in the order of their sleep.
static void body_futex_order(struct weir_sim *sim)
{
    const struct weir_os *os = weir_sim_os(sim);
    _Atomic uint32_t words[2] = {0, 0};
    struct sleeper sleepers[6];
    uint32_t actors[6];
    returned_count = 0;
    for (int index = 0; index < 6; index++) {
        sleepers[index] = (struct sleeper){
            .sim = sim, .word = &words[index == 2], .deadline_ns = WEIR_NEVER, .place = 99};
        actors[index] = weir_sim_start(sim, sleeper_main, &sleepers[index]);
        weir_sim_sleep(sim, MS);
    }
    os->futex_wake(os->self, &words[0], 1);
    weir_sim_sleep(sim, MS);
    check(returned_count == 1 && sleepers[0].place == 0);
    os->futex_wake(os->self, &words[0], 0);
    weir_sim_sleep(sim, MS);
    check(returned_count == 1);
    os->futex_wake(os->self, &words[0], 2);
    weir_sim_sleep(sim, MS);
    check(returned_count == 3 && sleepers[1].place < 3 && sleepers[3].place < 3);
    os->futex_wake(os->self, &words[0], UINT32_MAX);
    weir_sim_sleep(sim, MS);
    check(returned_count == 5 && sleepers[2].place == 99);
    os->futex_wake(os->self, &words[1], 1);
    for (int index = 0; index < 6; index++) {
        weir_sim_join(sim, actors[index]);
        check(sleepers[index].code == 0);
    }
}

static void body_futex_another(struct weir_sim *sim)
{
    const struct weir_os *os = weir_sim_os(sim);
    _Atomic uint32_t word = 0;
    struct sleeper sleepers[3];
    uint32_t actors[3];
    returned_count = 0;
    for (int index = 0; index < 3; index++) {
        sleepers[index] =
            (struct sleeper){.sim = sim, .word = &word, .deadline_ns = WEIR_NEVER, .place = 99};
        actors[index] = weir_sim_start(sim, sleeper_main, &sleepers[index]);
        weir_sim_sleep(sim, MS);
    }
    os->futex_wake(os->self, &word, 1);
    weir_sim_sleep(sim, MS);
    check(returned_count == 1 && sleepers[2].place == 0);
    os->futex_wake(os->self, &word, 2);
    for (int index = 0; index < 3; index++) {
        weir_sim_join(sim, actors[index]);
    }
}

// Nobody wakes it and the deadline is far.
static int futex_expected_code;
static uint64_t futex_expected_ns;

static void body_futex_disturbed(struct weir_sim *sim)
{
    const struct weir_os *os = weir_sim_os(sim);
    _Atomic uint32_t word = 0;
    uint64_t start_ns = weir_sim_now_ns(sim);
    check(os->futex_wait(os->self, &word, 0, start_ns + SECOND) == futex_expected_code);
    check(weir_sim_now_ns(sim) - start_ns - SIM_CALL_NS == futex_expected_ns);
    // And the next wait is none the worse for it.
    check(os->futex_wait(os->self, &word, 0, start_ns + SECOND) == -ETIMEDOUT);
    check(weir_sim_now_ns(sim) >= start_ns + SECOND);
}

// The deadline comes before what would have disturbed the wait, which must not hit the next one.
static void body_futex_ended_before(struct weir_sim *sim)
{
    const struct weir_os *os = weir_sim_os(sim);
    _Atomic uint32_t word = 0;
    uint64_t start_ns = weir_sim_now_ns(sim);
    check(os->futex_wait(os->self, &word, 0, start_ns + 500) == -ETIMEDOUT);
    check(os->futex_wait(os->self, &word, 0, start_ns + SECOND) == -ETIMEDOUT);
}

// The deadline has passed, but a wake chose the waiter before it could run: it was woken.
static void body_futex_woken_late(struct weir_sim *sim)
{
    const struct weir_os *os = weir_sim_os(sim);
    _Atomic uint32_t word = 0;
    uint64_t deadline_ns = weir_sim_now_ns(sim) + MS;
    struct sleeper sleeper = {.sim = sim, .word = &word, .deadline_ns = deadline_ns};
    uint32_t actor = weir_sim_start(sim, sleeper_main, &sleeper);
    weir_sim_sleep(sim, MS / 2);
    while (os->now_ns(os->self) < deadline_ns + 1000) {
    }
    check(!sim_thread_blocked(sim->threads, actor));
    os->futex_wake(os->self, &word, 1);
    weir_sim_join(sim, actor);
    check(sleeper.code == 0);
}

static void test_futex(void **state)
{
    (void)state;
    pass(body_futex_answers);
    pass(body_futex_order);
    pass_deviating(body_futex_another, WEIR_SIM_FUTEX, 0, 0, 2);
    pass(body_futex_woken_late);
    pass_deviating(body_futex_ended_before, WEIR_SIM_FUTEX, 0, 0, 2);
    static const uint64_t after_ns[] = {0, 0, 1000, MS};
    futex_expected_code = 0;
    for (uint32_t value = 1; value <= 3; value++) {
        futex_expected_ns = after_ns[value];
        pass_deviating(body_futex_disturbed, WEIR_SIM_FUTEX, 0, 0, value);
    }
    futex_expected_code = -EINTR;
    for (uint32_t value = 1; value <= 2; value++) {
        futex_expected_ns = after_ns[value];
        pass_deviating(body_futex_disturbed, WEIR_SIM_INTERRUPT, 0, 0, value);
    }
}

static _Atomic uint32_t shared_word;

static void doomed_main(void *argument)
{
    struct weir_sim *sim = argument;
    const struct weir_os *os = weir_sim_os(sim);
    (void)os->futex_wait(os->self, &shared_word, 0, WEIR_NEVER);
    weir_sim_fail(sim, WEIR_SIM_SAFETY, "the-dead-ran", "after it was killed");
}

// Who was killed while waiting takes no wake away from the living.
static void body_futex_killed(struct weir_sim *sim)
{
    const struct weir_os *os = weir_sim_os(sim);
    atomic_store_explicit(&shared_word, 0, memory_order_relaxed);
    uint32_t process = weir_sim_process_start(sim, doomed_main, sim);
    weir_sim_sleep(sim, MS);
    struct sleeper sleeper = {.sim = sim, .word = &shared_word, .deadline_ns = WEIR_NEVER};
    uint32_t actor = weir_sim_start(sim, sleeper_main, &sleeper);
    weir_sim_sleep(sim, MS);
    weir_sim_process_kill(sim, process);
    os->futex_wake(os->self, &shared_word, 1);
    weir_sim_join(sim, actor);
    check(sleeper.code == 0);
}

static void body_futex_forgotten(struct weir_sim *sim)
{
    const struct weir_os *os = weir_sim_os(sim);
    _Atomic uint32_t word = 0;
    (void)os->futex_wait(os->self, &word, 0, WEIR_NEVER);
}

static void test_futex_ends(void **state)
{
    (void)state;
    pass(body_futex_killed);
    expect_failure(body_futex_forgotten, WEIR_SIM_LIVENESS, "nothing-can-run-futex");
    pass(body_futex_order);
}

// ---- Names ----

static int resolve(struct weir_sim *sim, const char *host, bool numeric,
                   struct weir_address *addresses, uint32_t addresses_max)
{
    const struct weir_os *os = weir_sim_os(sim);
    return os->resolve(os->self, host, 514, numeric, addresses, addresses_max);
}

static bool is_four(const struct weir_address *address, const char *text)
{
    struct sockaddr_in native;
    memcpy(&native, address->bytes, sizeof native);
    char printed[INET_ADDRSTRLEN];
    return address->bytes_count == sizeof native && native.sin_family == AF_INET &&
           native.sin_port == htons(514) &&
           inet_ntop(AF_INET, &native.sin_addr, printed, sizeof printed) != NULL &&
           strcmp(printed, text) == 0;
}

static struct weir_address four(const char *text)
{
    struct sockaddr_in native = {.sin_family = AF_INET, .sin_port = htons(1)};
    struct weir_address address = {.bytes_count = sizeof native};
    (void)inet_pton(AF_INET, text, &native.sin_addr);
    memcpy(address.bytes, &native, sizeof native);
    return address;
}

static void body_numeric(struct weir_sim *sim)
{
    struct weir_address addresses[2];
    uint64_t start_ns = weir_sim_now_ns(sim);
    check(resolve(sim, "127.0.0.1", true, addresses, 2) == 1);
    check(is_four(&addresses[0], "127.0.0.1"));
    check(resolve(sim, "10.1.2.3", false, addresses, 2) == 1);
    check(is_four(&addresses[0], "10.1.2.3"));
    check(resolve(sim, "::1", true, addresses, 2) == 1);
    struct sockaddr_in6 six;
    memcpy(&six, addresses[0].bytes, sizeof six);
    check(addresses[0].bytes_count == sizeof six && six.sin6_family == AF_INET6);
    check(six.sin6_port == htons(514) && six.sin6_scope_id == 0);
    check(memcmp(&six.sin6_addr, &in6addr_loopback, sizeof six.sin6_addr) == 0);
    check(resolve(sim, "host.example", true, addresses, 2) == WEIR_ENAME);
    check(resolve(sim, "host.example", false, addresses, 2) == WEIR_ENAME);
    check(resolve(sim, "1.2.3.4.5", false, addresses, 2) == WEIR_ENAME);
    check(weir_sim_now_ns(sim) < start_ns + MS);
}

static void body_named(struct weir_sim *sim)
{
    struct weir_address known[3] = {four("10.0.0.1"), four("10.0.0.2"), four("10.0.0.3")};
    struct weir_address addresses[8];
    weir_sim_name(sim, "host.example", known, 3, 2 * MS);
    weir_sim_name(sim, "other.example", known, 1, 0);
    known[0] = four("10.9.9.9"); // was copied
    uint64_t start_ns = weir_sim_now_ns(sim);
    check(resolve(sim, "host.example", true, addresses, 8) == WEIR_ENAME); // never blocks
    check(weir_sim_now_ns(sim) < start_ns + MS);
    check(resolve(sim, "host.example", false, addresses, 8) == 3);
    check(weir_sim_now_ns(sim) >= start_ns + 2 * MS && weir_sim_now_ns(sim) < start_ns + 3 * MS);
    check(is_four(&addresses[0], "10.0.0.1") && is_four(&addresses[2], "10.0.0.3"));
    check(resolve(sim, "host.example", false, addresses, 2) == 2);
    check(resolve(sim, "other.example", false, addresses, 8) == 1);
    weir_sim_name(sim, "host.example", &known[2], 1, 0);
    check(resolve(sim, "host.example", false, addresses, 8) == 1);
    check(is_four(&addresses[0], "10.0.0.3"));
    weir_sim_name(sim, "host.example", NULL, 0, MS);
    start_ns = weir_sim_now_ns(sim);
    check(resolve(sim, "host.example", false, addresses, 8) == WEIR_ENAME);
    check(weir_sim_now_ns(sim) >= start_ns + MS);
}

static uint32_t name_fault;

static void body_name_faults(struct weir_sim *sim)
{
    struct weir_address known = four("10.0.0.1");
    struct weir_address addresses[8];
    weir_sim_name(sim, "host.example", &known, 1, MS);
    uint64_t start_ns = weir_sim_now_ns(sim);
    int count = resolve(sim, "host.example", false, addresses, 8);
    uint64_t took_ns = weir_sim_now_ns(sim) - start_ns;
    switch (name_fault) {
    case 1: check(count == WEIR_ENAME); break;
    case 2: check(count == 1 && is_four(&addresses[0], "10.0.0.1") && took_ns >= SECOND); break;
    case 3: check(count == 1 && !is_four(&addresses[0], "10.0.0.1")); break;
    case 4: check(count == WEIR_ENAME && took_ns >= 60 * SECOND); break;
    default: check(false);
    }
    check(resolve(sim, "host.example", false, addresses, 8) == 1);
}

static void body_name_no_memory(struct weir_sim *sim)
{
    struct weir_address addresses[1];
    check(resolve(sim, "127.0.0.1", true, addresses, 1) == WEIR_EMEMORY);
}

static void test_names(void **state)
{
    (void)state;
    pass(body_numeric);
    pass(body_named);
    for (name_fault = 1; name_fault <= 4; name_fault++) {
        pass_deviating(body_name_faults, WEIR_SIM_NAME, 0, 0, name_fault);
    }
    pass_deviating(body_name_no_memory, WEIR_SIM_RESOURCE, 0, 0, 1);
    pass(body_numeric); // and no name is left
}

// ---- Descriptors ----

static uint32_t plain_ready(struct weir_sim *sim, void *object)
{
    (void)sim;
    (void)object;
    return WEIR_WRITABLE;
}

static void plain_close(struct weir_sim *sim, void *object, int fd)
{
    (void)sim;
    *(int *)object = fd;
}

static int close_expected_code;

static void body_close(struct weir_sim *sim)
{
    static const struct sim_file_ops ops = {"plain", plain_ready, plain_close};
    const struct weir_os *os = weir_sim_os(sim);
    int closed = -1;
    int fd = sim_file_open(sim, &ops, &closed, 0);
    check(os->socket_close(os->self, fd) == close_expected_code && closed == fd);
    check(os->socket_close(os->self, fd) == -EBADF);
}

static int killed_fd;

static void owner_main(void *argument)
{
    struct weir_sim *sim = argument;
    static const struct sim_file_ops ops = {"plain", plain_ready, plain_close};
    uint32_t process = sim_thread_process(sim->threads, sim_actor(sim));
    check(sim_file_open(sim, &ops, &killed_fd, process) == 3);
    weir_sim_sleep(sim, SECOND);
}

static void body_kill(struct weir_sim *sim)
{
    killed_fd = -1;
    uint32_t process = weir_sim_process_start(sim, owner_main, sim);
    weir_sim_sleep(sim, MS);
    check(killed_fd == -1);
    weir_sim_process_kill(sim, process);
    check(killed_fd == 3);
}

static void test_close(void **state)
{
    (void)state;
    pass(body_kill);
    close_expected_code = 0;
    pass(body_close);
    close_expected_code = -EINTR;
    pass_deviating(body_close, WEIR_SIM_INTERRUPT, 0, 0, 1); // and is closed all the same
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

// ---- A runtime ----

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

static int setup(void **state)
{
    (void)state;
    simulator = weir_sim_create();
    return simulator == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    weir_sim_destroy(simulator);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock),           cmocka_unit_test(test_entropy),
        cmocka_unit_test(test_alloc),           cmocka_unit_test(test_heap_mistakes),
        cmocka_unit_test(test_fork_guard),      cmocka_unit_test(test_threads),
        cmocka_unit_test(test_futex),           cmocka_unit_test(test_futex_ends),
        cmocka_unit_test(test_names),           cmocka_unit_test(test_close),
        cmocka_unit_test(test_outside),         cmocka_unit_test(test_runtime),
        cmocka_unit_test(test_runtime_refused), cmocka_unit_test(test_runtime_again),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
