// Tests of the simulator's pollers where they deviate: refusals, late, split and spurious events.
#include "tests/support_fake.h"

#include <errno.h>

static void body_arm_fails(struct weir_sim *sim)
{
    struct weir_poller poller = poller_open(sim);
    check(sim_poller_arm(sim, &poller, 1) == -EMFILE && poller.timer_fd == -1);
    check(sim_poller_arm(sim, &poller, 1) == 0 && poller.timer_fd == 5);
    sim_poller_close(sim, &poller);
}

static void test_arm_fails(void **state)
{
    (void)state;
    pass_deviating(body_arm_fails, WEIR_SIM_RESOURCE, 0, 2, 1);
}

static void body_add_fails(struct weir_sim *sim)
{
    struct fake fake;
    struct weir_os_event events[8];
    int fd = fake_open(sim, &fake, WEIR_READABLE);
    struct weir_poller poller = poller_open(sim);
    int code = sim_poller_add(sim, &poller, fd, 1);
    check(code == -ENOMEM || code == -ENOSPC);
    check(poll_now(sim, &poller, events) == 0);
    check(sim_poller_add(sim, &poller, fd, 1) == 0);
    check(poll_now(sim, &poller, events) == 1);
    sim_poller_close(sim, &poller);
    sim_file_close(sim, fd);
}

static void test_add_fails(void **state)
{
    (void)state;
    pass_deviating(body_add_fails, WEIR_SIM_RESOURCE, 0, 3, 1);
    pass_deviating(body_add_fails, WEIR_SIM_RESOURCE, 0, 3, 2);
}

// ---- Deviations ----

static void body_late(struct weir_sim *sim)
{
    struct fake fakes[2];
    struct weir_os_event events[8];
    int fd = fake_open(sim, &fakes[0], WEIR_READABLE);
    int other = fake_open(sim, &fakes[1], WEIR_READABLE);
    struct weir_poller poller = poller_open(sim);
    check(sim_poller_add(sim, &poller, fd, 1) == 0);
    check(sim_poller_add(sim, &poller, other, 2) == 0);
    uint64_t start_ns = weir_sim_now_ns(sim);
    check(poll_now(sim, &poller, events) == 1 && events[0].token == 2);
    check(poll_now(sim, &poller, events) == 0);
    check(weir_sim_wait(sim, poller.fd, WEIR_READABLE, 0) == 0);
    check(sim_poller_wait(sim, &poller, events, 8, UINT64_MAX) == 1 && events[0].token == 1);
    check(weir_sim_now_ns(sim) > start_ns && weir_sim_now_ns(sim) <= start_ns + 2 * MS);
    check(poll_now(sim, &poller, events) == 0);
    sim_poller_close(sim, &poller);
    sim_files_kill(sim, 0);
}

static void body_late_edge(struct weir_sim *sim)
{
    struct fake fake;
    struct weir_os_event events[8];
    int fd = fake_open(sim, &fake, WEIR_READABLE);
    struct weir_poller poller = poller_open(sim);
    check(sim_poller_add(sim, &poller, fd, 1) == 0);
    check(poll_now(sim, &poller, events) == 0);
    fake_change(sim, &fake, fd, WEIR_READABLE | WEIR_WRITABLE); // brings the late one along
    check(poll_now(sim, &poller, events) == 1);
    check(is(&events[0], 1, WEIR_READABLE | WEIR_WRITABLE));
    check(sim_poller_wait(sim, &poller, events, 8, weir_sim_now_ns(sim) + 5 * MS) == 0);
    sim_poller_close(sim, &poller);
    sim_files_kill(sim, 0);
}

static void body_late_removed(struct weir_sim *sim)
{
    struct fake fake;
    struct weir_os_event events[8];
    int fd = fake_open(sim, &fake, WEIR_READABLE);
    struct weir_poller poller = poller_open(sim);
    check(sim_poller_add(sim, &poller, fd, 1) == 0);
    check(poll_now(sim, &poller, events) == 0);
    check(sim_poller_remove(sim, &poller, fd) == 0);
    fake.ready = 0;
    check(sim_poller_add(sim, &poller, fd, 2) == 0);
    fake.ready = WEIR_READABLE; // without an edge: what was late must not come now
    check(sim_poller_wait(sim, &poller, events, 8, weir_sim_now_ns(sim) + 5 * MS) == 0);
    sim_poller_close(sim, &poller);
    sim_files_kill(sim, 0);
}

static void test_late(void **state)
{
    (void)state;
    pass_deviating(body_late, WEIR_SIM_READY, 0, 0, 3);
    pass_deviating(body_late_edge, WEIR_SIM_READY, 0, 0, 3);
    pass_deviating(body_late_removed, WEIR_SIM_READY, 0, 0, 3);
}

// Kept back again and again it would never come: the second look must deliver.
static void test_late_once(void **state)
{
    (void)state;
    struct weir_sim_deviation deviations[6];
    for (uint32_t index = 0; index < 6; index++) {
        deviations[index] =
            (struct weir_sim_deviation){.kind = WEIR_SIM_READY, .number = index, .value = 3};
    }
    run_deviating(body_late, deviations, 6);
    expect_pass();
}

static void body_split(struct weir_sim *sim)
{
    struct fake fakes[3];
    struct weir_os_event events[8];
    struct weir_poller poller = poller_open(sim);
    for (int index = 0; index < 3; index++) {
        int fd = fake_open(sim, &fakes[index], WEIR_READABLE);
        check(sim_poller_add(sim, &poller, fd, (uint64_t)index) == 0);
    }
    check(poll_now(sim, &poller, events) == 1 && events[0].token == 0);
    check(poll_now(sim, &poller, events) == 2 && events[0].token == 1 && events[1].token == 2);
    sim_poller_close(sim, &poller);
    sim_files_kill(sim, 0);
}

static void test_split(void **state)
{
    (void)state;
    pass_deviating(body_split, WEIR_SIM_READY, 0, 0, 4);
}

static void body_spurious_both(struct weir_sim *sim)
{
    struct fake fakes[2];
    struct weir_os_event events[8];
    struct weir_poller poller = poller_open(sim);
    for (int index = 0; index < 2; index++) {
        int fd = fake_open(sim, &fakes[index], 0);
        check(sim_poller_add(sim, &poller, fd, (uint64_t)index) == 0);
    }
    check(sim_poller_wait(sim, &poller, events, 8, UINT64_MAX) == 1);
    check(is(&events[0], 0, WEIR_READABLE | WEIR_WRITABLE));
    check(poll_now(sim, &poller, events) == 0);
    sim_poller_close(sim, &poller);
    sim_files_kill(sim, 0);
}

static void body_spurious_same(struct weir_sim *sim)
{
    struct fake fake;
    struct weir_os_event events[8];
    struct weir_poller poller = poller_open(sim);
    int fd = fake_open(sim, &fake, WEIR_WRITABLE);
    check(sim_poller_add(sim, &poller, fd, 1) == 0);
    check(poll_now(sim, &poller, events) == 1);
    check(poll_now(sim, &poller, events) == 1 && is(&events[0], 1, WEIR_WRITABLE)); // once more
    fake.ready = 0;
    check(poll_now(sim, &poller, events) == 0);
    sim_poller_close(sim, &poller);
    sim_files_kill(sim, 0);
}

static void body_spurious_removed(struct weir_sim *sim)
{
    struct fake fakes[2];
    struct weir_os_event events[8];
    struct weir_poller poller = poller_open(sim);
    int fd = fake_open(sim, &fakes[0], 0);
    int other = fake_open(sim, &fakes[1], 0);
    check(sim_poller_add(sim, &poller, fd, 1) == 0);
    check(sim_poller_add(sim, &poller, other, 2) == 0);
    check(sim_poller_remove(sim, &poller, other) == 0);
    check(poll_now(sim, &poller, events) == 1 && events[0].token == 1);
    check(poll_now(sim, &poller, events) == 1 && events[0].token == 1);
    sim_poller_close(sim, &poller);
    sim_files_kill(sim, 0);
}

static void body_nothing_same(struct weir_sim *sim)
{
    struct fake fake;
    struct weir_os_event events[8];
    struct weir_poller poller = poller_open(sim);
    int fd = fake_open(sim, &fake, 0);
    check(sim_poller_add(sim, &poller, fd, 1) == 0);
    check(poll_now(sim, &poller, events) == 0); // not an event of nothing
    fake_change(sim, &fake, fd, WEIR_READABLE);
    check(poll_now(sim, &poller, events) == 1);
    sim_poller_close(sim, &poller);
    sim_files_kill(sim, 0);
}

static void test_spurious(void **state)
{
    (void)state;
    static const struct weir_sim_deviation twice[] = {
        {.kind = WEIR_SIM_READY, .number = 0, .value = 1},
        {.kind = WEIR_SIM_READY, .number = 1, .value = 1}};
    run_deviating(body_spurious_removed, twice, 2);
    expect_pass();
    assert_int_equal(result.deviations_count, 2);
    pass_deviating(body_nothing_same, WEIR_SIM_READY, 0, 0, 2);
    pass_deviating(body_spurious_both, WEIR_SIM_READY, 0, 0, 1);
    pass_deviating(body_spurious_same, WEIR_SIM_READY, 0, 1, 2);
    // What is in the list anyway is reported once.
    pass_deviating(body_first_in_first_out, WEIR_SIM_READY, 0, 0, 2);
}

// What could not show is not asked for: a late event of none, a split of one.
static void test_deviations_that_show(void **state)
{
    (void)state;
    struct weir_sim_deviation deviation = {.kind = WEIR_SIM_READY, .number = 0, .value = 3};
    run_deviating(body_nothing_same, &deviation, 1);
    expect_pass();
    assert_int_equal(result.deviations_count, 0);
    deviation.number = 1;
    deviation.value = 4;
    run_deviating(body_nothing_same, &deviation, 1);
    expect_pass();
    assert_int_equal(result.deviations_count, 0);
}

static void body_interrupted(struct weir_sim *sim)
{
    struct weir_os_event events[8];
    struct weir_poller poller = poller_open(sim);
    uint64_t start_ns = weir_sim_now_ns(sim);
    check(sim_poller_wait(sim, &poller, events, 8, start_ns + 5 * MS) == 0);
    check(weir_sim_now_ns(sim) < start_ns + MS);
    check(sim_poller_wait(sim, &poller, events, 8, start_ns + 5 * MS) == 0);
    check(weir_sim_now_ns(sim) >= start_ns + 5 * MS);
    sim_poller_close(sim, &poller);
}

// The signal comes when the wait it was meant for is over.
static void body_interrupted_late(struct weir_sim *sim)
{
    struct weir_os_event events[8];
    struct weir_poller poller = poller_open(sim);
    uint64_t start_ns = weir_sim_now_ns(sim);
    check(sim_poller_wait(sim, &poller, events, 8, start_ns + 500) == 0);
    check(weir_sim_now_ns(sim) == start_ns + 500);
    check(sim_poller_wait(sim, &poller, events, 8, start_ns + 5 * MS) == 0);
    check(weir_sim_now_ns(sim) >= start_ns + 5 * MS);
    sim_poller_close(sim, &poller);
}

static void test_interrupted(void **state)
{
    (void)state;
    pass_deviating(body_interrupted, WEIR_SIM_INTERRUPT, 0, 0, 1);
    pass_deviating(body_interrupted, WEIR_SIM_INTERRUPT, 0, 0, 2);
    pass_deviating(body_interrupted_late, WEIR_SIM_INTERRUPT, 0, 0, 2);
}

// Only process 0 meets faults.
static void body_other_main(void *argument)
{
    struct weir_sim *sim = argument;
    struct fake fake;
    struct weir_os_event events[8];
    uint32_t process = sim_thread_process(sim->threads, sim_actor(sim));
    struct weir_poller poller = poller_open(sim);
    int fd = sim_file_open(sim, &fake_ops, &fake, process);
    fake.ready = WEIR_READABLE;
    check(sim_poller_add(sim, &poller, fd, 1) == 0);
    check(poll_now(sim, &poller, events) == 1);
    check(poll_now(sim, &poller, events) == 0);
    sim_poller_close(sim, &poller);
    sim_file_close(sim, fd);
}

static void body_other_process(struct weir_sim *sim)
{
    weir_sim_process_join(sim, weir_sim_process_start(sim, body_other_main, sim));
}

static void test_other_process(void **state)
{
    (void)state;
    struct weir_sim_deviation deviations[8];
    for (uint32_t index = 0; index < 8; index++) {
        deviations[index] =
            (struct weir_sim_deviation){.kind = index % 2 == 0 ? WEIR_SIM_READY : WEIR_SIM_RESOURCE,
                                        .actor = 1,
                                        .number = index / 2,
                                        .value = 1};
    }
    run_deviating(body_other_process, deviations, 8);
    expect_pass();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arm_fails),
        cmocka_unit_test(test_add_fails),
        cmocka_unit_test(test_late),
        cmocka_unit_test(test_late_once),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_spurious),
        cmocka_unit_test(test_deviations_that_show),
        cmocka_unit_test(test_interrupted),
        cmocka_unit_test(test_other_process),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
