// Tests of the simulator's pollers: edges, blocking, wakes, timers, and mistakes that are findings.
#include "tests/support_fake.h"

#include <errno.h>

static void body_poller_numbers(struct weir_sim *sim)
{
    struct weir_poller poller = poller_open(sim);
    check(poller.fd == 3 && poller.wake_fd == 4 && poller.timer_fd == -1);
    check(sim_poller_arm(sim, &poller, WEIR_NEVER) == 0 && poller.timer_fd == -1);
    check(sim_poller_arm(sim, &poller, 2 * MS) == 0 && poller.timer_fd == 5);
    struct weir_poller second = poller_open(sim);
    check(second.fd == 6 && second.wake_fd == 7);
    sim_poller_close(sim, &poller);
    check(poller.fd == -1 && poller.wake_fd == -1 && poller.timer_fd == -1);
    int first = 0;
    check(sim_files_live(sim, 0, &first) == 2 && first == 6);
    poller = poller_open(sim); // in the first one's place
    struct weir_os_event events[8];
    check(poll_now(sim, &poller, events) == 0);
    sim_poller_close(sim, &second);
    sim_poller_close(sim, &poller);
    check(sim_files_live(sim, 0, &first) == 0);
}

static void test_poller_numbers(void **state)
{
    (void)state;
    pass(body_poller_numbers);
}

static void body_poller_open_fails(struct weir_sim *sim)
{
    struct weir_poller poller;
    int first = 0;
    check(sim_poller_open(sim, &poller) == -EMFILE);
    check(poller.fd == -1 && poller.wake_fd == -1);
    check(sim_files_live(sim, 0, &first) == 0);
    poller = poller_open(sim);
    sim_poller_close(sim, &poller);
}

static void test_poller_open_fails(void **state)
{
    (void)state;
    pass_deviating(body_poller_open_fails, WEIR_SIM_RESOURCE, 0, 0, 1);
    pass_deviating(body_poller_open_fails, WEIR_SIM_RESOURCE, 0, 1, 1);
}

static void body_edges(struct weir_sim *sim)
{
    struct fake fake;
    struct weir_os_event events[8];
    int fd = fake_open(sim, &fake, WEIR_WRITABLE);
    struct weir_poller poller = poller_open(sim);
    check(sim_poller_add(sim, &poller, fd, 7) == 0);
    check(poll_now(sim, &poller, events) == 1 && is(&events[0], 7, WEIR_WRITABLE));
    check(poll_now(sim, &poller, events) == 0); // once per change
    fake_change(sim, &fake, fd, WEIR_WRITABLE | WEIR_READABLE);
    fake_change(sim, &fake, fd, WEIR_WRITABLE | WEIR_READABLE);
    check(poll_now(sim, &poller, events) == 1);
    check(is(&events[0], 7, WEIR_WRITABLE | WEIR_READABLE)); // all that is ready, not the change
    check(poll_now(sim, &poller, events) == 0);
    fake_change(sim, &fake, fd, 0);
    check(poll_now(sim, &poller, events) == 0); // marked, but nothing is ready
    fake.ready = WEIR_WRITABLE;
    check(poll_now(sim, &poller, events) == 0); // and that look took the mark
    fake_change(sim, &fake, fd, WEIR_HANGUP | WEIR_FAULT | WEIR_PEER_CLOSED);
    check(poll_now(sim, &poller, events) == 1);
    check(is(&events[0], 7, WEIR_HANGUP | WEIR_FAULT | WEIR_PEER_CLOSED));
    sim_poller_close(sim, &poller);
    sim_file_close(sim, fd);
}

static void test_edges(void **state)
{
    (void)state;
    pass(body_edges);
}

static void body_watch_life(struct weir_sim *sim)
{
    struct fake fakes[2];
    struct weir_os_event events[8];
    int fd = fake_open(sim, &fakes[0], WEIR_READABLE);
    int other = fake_open(sim, &fakes[1], WEIR_READABLE);
    struct weir_poller poller = poller_open(sim);
    check(sim_poller_add(sim, &poller, 99, 1) == -EBADF);
    check(sim_poller_remove(sim, &poller, fd) == -ENOENT);
    check(sim_poller_remove(sim, &poller, 99) == -EBADF);
    check(sim_poller_add(sim, &poller, fd, 1) == 0);
    check(sim_poller_add(sim, &poller, fd, 2) == -EEXIST);
    check(sim_poller_add(sim, &poller, other, 3) == 0);
    check(sim_poller_remove(sim, &poller, fd) == 0); // with a mark that nobody took
    check(poll_now(sim, &poller, events) == 1 && is(&events[0], 3, WEIR_READABLE));
    fake_change(sim, &fakes[0], fd, WEIR_READABLE);
    check(poll_now(sim, &poller, events) == 0);
    check(sim_poller_add(sim, &poller, fd, 4) == 0); // anew: ready at once
    check(poll_now(sim, &poller, events) == 1 && is(&events[0], 4, WEIR_READABLE));
    fake_change(sim, &fakes[1], other, WEIR_READABLE);
    fake_change(sim, &fakes[0], fd, WEIR_READABLE);
    sim_file_close(sim, other); // leaves the poller, mark and all
    check(fake_open(sim, &fakes[1], WEIR_READABLE) == other);
    check(poll_now(sim, &poller, events) == 1 && is(&events[0], 4, WEIR_READABLE));
    check(sim_poller_add(sim, &poller, other, 5) == 0);
    sim_poller_close(sim, &poller);
    fake_change(sim, &fakes[0], fd, WEIR_READABLE);
    poller = poller_open(sim);
    check(sim_poller_add(sim, &poller, fd, 6) == 0); // free for the next poller
    check(poll_now(sim, &poller, events) == 1 && is(&events[0], 6, WEIR_READABLE));
    sim_poller_close(sim, &poller);
    sim_file_close(sim, fd);
    sim_file_close(sim, other);
}

static void test_watch_life(void **state)
{
    (void)state;
    pass(body_watch_life);
}

static void test_first_in_first_out(void **state)
{
    (void)state;
    pass(body_first_in_first_out);
}

// ---- Blocking in a poller ----

static void body_block(struct weir_sim *sim)
{
    struct fake fake;
    int fd = fake_open(sim, &fake, 0);
    struct weir_poller poller = poller_open(sim);
    check(sim_poller_add(sim, &poller, fd, 1) == 0);
    uint64_t start_ns = weir_sim_now_ns(sim);
    struct poll_thread thread = {.sim = sim, .poller = &poller, .deadline_ns = start_ns + 3 * MS};
    weir_sim_join(sim, weir_sim_start(sim, poll_main, &thread));
    check(thread.count == 0 && thread.returned_ns >= start_ns + 3 * MS);
    check(thread.returned_ns < start_ns + 4 * MS);
    thread.deadline_ns = UINT64_MAX;
    uint32_t actor = weir_sim_start(sim, poll_main, &thread);
    weir_sim_sleep(sim, MS);
    fake_change(sim, &fake, fd, 0); // wakes the waiter, who finds nothing and sleeps on
    weir_sim_sleep(sim, MS);
    check(sim_thread_blocked(sim->threads, actor));
    fake_change(sim, &fake, fd, WEIR_READABLE);
    weir_sim_join(sim, actor);
    check(thread.count == 1 && is(&thread.events[0], 1, WEIR_READABLE));
    sim_poller_close(sim, &poller);
    sim_file_close(sim, fd);
}

static void test_block(void **state)
{
    (void)state;
    pass(body_block);
}

static void body_wake(struct weir_sim *sim)
{
    struct fake fake;
    struct weir_os_event events[8];
    int fd = fake_open(sim, &fake, 0);
    struct weir_poller poller = poller_open(sim);
    check(sim_poller_add(sim, &poller, fd, 1) == 0);
    sim_poller_wake(sim, &poller);
    sim_poller_wake(sim, &poller);
    check(weir_sim_wait(sim, poller.fd, WEIR_READABLE, 0) == WEIR_READABLE);
    uint64_t now_ns = weir_sim_now_ns(sim);
    check(sim_poller_wait(sim, &poller, events, 8, UINT64_MAX) == 0); // kept for this one
    check(weir_sim_now_ns(sim) == now_ns);
    check(weir_sim_wait(sim, poller.fd, WEIR_READABLE, 0) == 0);
    check(sim_poller_wait(sim, &poller, events, 8, now_ns + MS) == 0); // and only for that one
    check(weir_sim_now_ns(sim) >= now_ns + MS);
    struct poll_thread thread = {.sim = sim, .poller = &poller, .deadline_ns = UINT64_MAX};
    uint32_t actor = weir_sim_start(sim, poll_main, &thread);
    weir_sim_sleep(sim, MS);
    sim_poller_wake(sim, &poller);
    weir_sim_join(sim, actor);
    check(thread.count == 0);
    // It takes room among the events, as in the kernel.
    sim_poller_wake(sim, &poller);
    fake_change(sim, &fake, fd, WEIR_READABLE);
    check(sim_poller_wait(sim, &poller, events, 1, UINT64_MAX) == 0);
    check(sim_poller_wait(sim, &poller, events, 1, UINT64_MAX) == 1);
    sim_poller_wake(sim, &poller);
    fake_change(sim, &fake, fd, WEIR_READABLE);
    check(sim_poller_wait(sim, &poller, events, 8, UINT64_MAX) == 1);
    sim_poller_close(sim, &poller);
    sim_file_close(sim, fd);
}

static void test_wake(void **state)
{
    (void)state;
    pass(body_wake);
}

static void body_arm(struct weir_sim *sim)
{
    struct weir_os_event events[8];
    struct weir_poller poller = poller_open(sim);
    uint64_t start_ns = weir_sim_now_ns(sim);
    check(sim_poller_arm(sim, &poller, start_ns + 2 * MS) == 0);
    check(weir_sim_wait(sim, poller.fd, WEIR_READABLE, start_ns + MS) == 0);
    check(weir_sim_wait(sim, poller.fd, WEIR_READABLE, UINT64_MAX) == WEIR_READABLE);
    check(weir_sim_now_ns(sim) >= start_ns + 2 * MS && weir_sim_now_ns(sim) < start_ns + 3 * MS);
    check(weir_sim_wait(sim, poller.fd, WEIR_READABLE, UINT64_MAX) == WEIR_READABLE); // still
    check(poll_now(sim, &poller, events) == 0);                                       // takes it
    check(weir_sim_wait(sim, poller.fd, WEIR_READABLE, weir_sim_now_ns(sim) + MS) == 0);

    check(sim_poller_arm(sim, &poller, 0) == 0); // the past: at once
    check(weir_sim_wait(sim, poller.fd, WEIR_READABLE, UINT64_MAX) == WEIR_READABLE);
    check(sim_poller_arm(sim, &poller, WEIR_NEVER) == 0); // forgets it
    check(weir_sim_wait(sim, poller.fd, WEIR_READABLE, weir_sim_now_ns(sim) + MS) == 0);

    start_ns = weir_sim_now_ns(sim);
    check(sim_poller_arm(sim, &poller, start_ns + MS) == 0);
    check(sim_poller_arm(sim, &poller, start_ns + 5 * MS) == 0); // instead
    check(sim_poller_wait(sim, &poller, events, 8, UINT64_MAX) == 0);
    check(weir_sim_now_ns(sim) >= start_ns + 5 * MS);
    check(sim_poller_arm(sim, &poller, weir_sim_now_ns(sim) + MS) == 0);
    sim_poller_close(sim, &poller);
}

// The closed one's timer is not that of the one in its place.
static void body_arm_reused(struct weir_sim *sim)
{
    struct weir_poller poller = poller_open(sim);
    check(sim_poller_arm(sim, &poller, weir_sim_now_ns(sim) + MS) == 0);
    sim_poller_close(sim, &poller);
    poller = poller_open(sim);
    check(sim_poller_arm(sim, &poller, weir_sim_now_ns(sim) + 9 * MS) == 0);
    check(weir_sim_wait(sim, poller.fd, WEIR_READABLE, weir_sim_now_ns(sim) + 5 * MS) == 0);
    sim_poller_close(sim, &poller);
}

static void test_arm(void **state)
{
    (void)state;
    pass(body_arm);
    pass(body_arm_reused);
}

// ---- Mistakes that are findings ----

static void body_two_in_poller(struct weir_sim *sim)
{
    struct weir_poller poller = poller_open(sim);
    struct weir_os_event events[8];
    struct poll_thread thread = {.sim = sim, .poller = &poller, .deadline_ns = UINT64_MAX};
    (void)weir_sim_start(sim, poll_main, &thread);
    weir_sim_sleep(sim, MS);
    (void)poll_now(sim, &poller, events);
}

static void body_close_in_use(struct weir_sim *sim)
{
    struct weir_poller poller = poller_open(sim);
    struct poll_thread thread = {.sim = sim, .poller = &poller, .deadline_ns = UINT64_MAX};
    (void)weir_sim_start(sim, poll_main, &thread);
    weir_sim_sleep(sim, MS);
    sim_poller_close(sim, &poller);
}

static void body_wake_closed(struct weir_sim *sim)
{
    struct fake fakes[2];
    struct weir_poller poller = poller_open(sim);
    struct weir_poller kept = poller;
    sim_poller_close(sim, &poller);
    (void)fake_open(sim, &fakes[0], 0);
    (void)fake_open(sim, &fakes[1], 0); // has the number that is written to
    sim_poller_wake(sim, &kept);
}

static void body_wait_closed(struct weir_sim *sim)
{
    struct weir_os_event events[8];
    struct weir_poller poller = poller_open(sim);
    struct weir_poller kept = poller;
    sim_poller_close(sim, &poller);
    (void)poll_now(sim, &kept, events);
}

static void test_mistakes(void **state)
{
    (void)state;
    expect_failure(body_two_in_poller, WEIR_SIM_SAFETY, "two-threads-in-poller");
    expect_failure(body_close_in_use, WEIR_SIM_SAFETY, "poller-closed-in-use");
    expect_failure(body_wake_closed, WEIR_SIM_SAFETY, "closed-poller");
    expect_failure(body_wait_closed, WEIR_SIM_SAFETY, "closed-poller");
    pass(body_edges); // nothing of them is left
}

// A sleeper whom nobody can wake is found.
static void body_forgotten(struct weir_sim *sim)
{
    struct weir_os_event events[8];
    struct weir_poller poller = poller_open(sim);
    (void)sim_poller_wait(sim, &poller, events, 8, UINT64_MAX);
}

// Disarmed, the timer is nothing to wait for.
static void body_disarmed(struct weir_sim *sim)
{
    struct weir_poller poller = poller_open(sim);
    check(sim_poller_arm(sim, &poller, weir_sim_now_ns(sim) + MS) == 0);
    check(sim_poller_arm(sim, &poller, WEIR_NEVER) == 0);
    (void)weir_sim_wait(sim, poller.fd, WEIR_READABLE, UINT64_MAX);
}

static void test_forgotten(void **state)
{
    (void)state;
    expect_failure(body_disarmed, WEIR_SIM_LIVENESS, "nothing-can-run-file");
    expect_failure(body_forgotten, WEIR_SIM_LIVENESS, "nothing-can-run-poller");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_poller_numbers),
        cmocka_unit_test(test_poller_open_fails),
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_watch_life),
        cmocka_unit_test(test_first_in_first_out),
        cmocka_unit_test(test_block),
        cmocka_unit_test(test_wake),
        cmocka_unit_test(test_arm),
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_forgotten),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
