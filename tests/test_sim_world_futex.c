// Tests of the simulated os: futexes, who is woken, when, and with which answer.
#include "tests/support_scenario.h"

#include <errno.h>
#include <stdatomic.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_futex),
        cmocka_unit_test(test_futex_ends),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
