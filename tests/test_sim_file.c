// Tests of the simulator's descriptor table, and of waiting for what is ready.
#include "tests/support_fake.h"

#include <errno.h>

// ---- The table ----

static void body_numbers(struct weir_sim *sim)
{
    struct fake fakes[4];
    check(fake_open(sim, &fakes[0], 0) == 3);
    check(fake_open(sim, &fakes[1], 0) == 4);
    check(fake_open(sim, &fakes[2], 0) == 5);
    uint32_t number = sim_file_number(sim, 4);
    check(sim_file_object(sim, 4, NULL) == &fakes[1]);
    check(sim_file_object(sim, 4, &fake_ops) == &fakes[1]);
    check(sim_file_object(sim, 4, &other_ops) == NULL);
    check(sim_file_close(sim, 4) == 0 && fakes[1].closed_fd == 4);
    check(sim_file_close(sim, 4) == -EBADF);
    check(sim_file_object(sim, 4, NULL) == NULL);
    check(sim_file_number(sim, 4) == 0);
    check(fake_open(sim, &fakes[3], 0) == 4);
    check(sim_file_number(sim, 4) != number && sim_file_number(sim, 4) != 0);
    check(sim_file_close(sim, -1) == -EBADF && sim_file_close(sim, 0) == -EBADF);
    check(sim_file_close(sim, 2) == -EBADF && sim_file_close(sim, 6) == -EBADF);
    check(sim_file_close(sim, INT32_MAX) == -EBADF);
    check(sim_file_close(sim, 3) == 0 && sim_file_close(sim, 4) == 0);
    check(sim_file_close(sim, 5) == 0);
}

static void test_numbers(void **state)
{
    (void)state;
    pass(body_numbers);
    pass(body_numbers); // a new run starts from 3 again
}

static void body_full(struct weir_sim *sim)
{
    struct fake fake;
    for (int index = 0; index < SIM_FILES_MAX; index++) {
        check(fake_open(sim, &fake, 0) == 3 + index);
    }
    check(fake_open(sim, &fake, 0) == -EMFILE);
    check(sim_file_close(sim, 100) == 0);
    check(fake_open(sim, &fake, 0) == 100);
    sim_files_kill(sim, 0);
    int first = 0;
    check(sim_files_live(sim, 0, &first) == 0);
    check(fake_open(sim, &fake, 0) == 3 && sim_file_close(sim, 3) == 0);
}

static void test_full(void **state)
{
    (void)state;
    pass(body_full);
}

static void body_no_descriptor(struct weir_sim *sim)
{
    struct fake fake;
    check(fake_open(sim, &fake, 0) == -EMFILE);
    check(fake_open(sim, &fake, 0) == 3);
    sim_file_close(sim, 3);
}

static void test_no_descriptor(void **state)
{
    (void)state;
    pass_deviating(body_no_descriptor, WEIR_SIM_RESOURCE, 0, 0, 1);
}

static void body_kill(struct weir_sim *sim)
{
    struct fake fakes[5];
    for (uint32_t index = 0; index < 5; index++) {
        fakes[index] = (struct fake){.ready = 0};
        (void)sim_file_open(sim, &fake_ops, &fakes[index], index % 2);
    }
    closed_count = 0;
    int first = 0;
    check(sim_files_live(sim, 1, &first) == 2 && first == 4);
    check(sim_files_live(sim, 0, &first) == 3 && first == 3);
    check(sim_files_live(sim, 2, &first) == 0);
    sim_files_kill(sim, 0);
    check(fakes[0].closed_fd == 3 && fakes[2].closed_fd == 5 && fakes[4].closed_fd == 7);
    check(fakes[0].closed_number == 0 && fakes[2].closed_number == 1);
    check(fakes[4].closed_number == 2);
    check(fakes[1].closed_fd == 0 && fakes[3].closed_fd == 0);
    check(sim_files_live(sim, 1, &first) == 2);
    sim_files_kill(sim, 1);
    check(closed_count == 5);
}

static void test_kill(void **state)
{
    (void)state;
    pass(body_kill);
}

static void body_left_open(struct weir_sim *sim)
{
    static struct fake fake;
    (void)fake_open(sim, &fake, 0);
}

static void test_left_open(void **state)
{
    (void)state;
    expect_failure(body_left_open, WEIR_SIM_LEAK, "leak-descriptor");
    pass(body_numbers); // and is not open in the next run
}

// ---- Level-triggered waiting ----

struct waiter {
    struct weir_sim *sim;
    int fd;
    uint32_t ready;
    uint64_t deadline_ns;
    int answer;
    uint64_t answered_ns;
};

static void waiter_main(void *argument)
{
    struct waiter *waiter = argument;
    waiter->answer = weir_sim_wait(waiter->sim, waiter->fd, waiter->ready, waiter->deadline_ns);
    waiter->answered_ns = weir_sim_now_ns(waiter->sim);
}

static void body_wait(struct weir_sim *sim)
{
    struct fake fake;
    int fd = fake_open(sim, &fake, WEIR_WRITABLE);
    uint64_t now_ns = weir_sim_now_ns(sim);
    check(weir_sim_wait(sim, 99, WEIR_READABLE, UINT64_MAX) == -EBADF);
    check(weir_sim_wait(sim, fd, WEIR_WRITABLE, UINT64_MAX) == WEIR_WRITABLE);
    check(weir_sim_wait(sim, fd, WEIR_WRITABLE, UINT64_MAX) == WEIR_WRITABLE); // a level
    check(weir_sim_wait(sim, fd, WEIR_READABLE, 0) == 0);
    check(weir_sim_now_ns(sim) < now_ns + MS);
    check(weir_sim_wait(sim, fd, WEIR_READABLE, now_ns + 5 * MS) == 0);
    check(weir_sim_now_ns(sim) >= now_ns + 5 * MS && weir_sim_now_ns(sim) < now_ns + 6 * MS);
    fake.ready = WEIR_WRITABLE | WEIR_HANGUP;
    check(weir_sim_wait(sim, fd, WEIR_READABLE, UINT64_MAX) == WEIR_HANGUP);
    fake.ready = WEIR_FAULT;
    check(weir_sim_wait(sim, fd, 0, UINT64_MAX) == WEIR_FAULT);
    sim_file_close(sim, fd);
}

static void test_wait(void **state)
{
    (void)state;
    pass(body_wait);
}

// Several waiters on two files: each gets what it waits for, when it comes.
static void body_wait_many(struct weir_sim *sim)
{
    struct fake fakes[2];
    int fds[2] = {fake_open(sim, &fakes[0], 0), fake_open(sim, &fakes[1], 0)};
    uint64_t start_ns = weir_sim_now_ns(sim);
    struct waiter waiters[4] = {
        {.sim = sim, .fd = fds[0], .ready = WEIR_READABLE, .deadline_ns = UINT64_MAX},
        {.sim = sim, .fd = fds[0], .ready = WEIR_READABLE, .deadline_ns = UINT64_MAX},
        {.sim = sim, .fd = fds[0], .ready = WEIR_WRITABLE, .deadline_ns = start_ns + 9 * MS},
        {.sim = sim, .fd = fds[1], .ready = WEIR_READABLE, .deadline_ns = UINT64_MAX},
    };
    uint32_t actors[4];
    for (int index = 0; index < 4; index++) {
        actors[index] = weir_sim_start(sim, waiter_main, &waiters[index]);
    }
    weir_sim_sleep(sim, 2 * MS);
    fake_change(sim, &fakes[0], fds[0], WEIR_READABLE);
    weir_sim_join(sim, actors[0]);
    weir_sim_join(sim, actors[1]);
    check(waiters[0].answer == WEIR_READABLE && waiters[1].answer == WEIR_READABLE);
    check(waiters[0].answered_ns < start_ns + 3 * MS);
    weir_sim_join(sim, actors[2]);
    check(waiters[2].answer == 0 && waiters[2].answered_ns >= start_ns + 9 * MS);
    check(sim_thread_blocked(sim->threads, actors[3]));
    sim_file_close(sim, fds[1]);
    weir_sim_join(sim, actors[3]);
    check(waiters[3].answer == -EBADF);
    sim_file_close(sim, fds[0]);
}

static void test_wait_many(void **state)
{
    (void)state;
    pass(body_wait_many);
}

// The number is used again while somebody waits on the file that had it.
static void body_wait_reused(struct weir_sim *sim)
{
    struct fake fakes[2];
    int fd = fake_open(sim, &fakes[0], 0);
    struct waiter waiter = {
        .sim = sim, .fd = fd, .ready = WEIR_READABLE, .deadline_ns = UINT64_MAX};
    uint32_t actor = weir_sim_start(sim, waiter_main, &waiter);
    weir_sim_sleep(sim, MS);
    sim_file_close(sim, fd);
    check(fake_open(sim, &fakes[1], WEIR_READABLE) == fd);
    weir_sim_join(sim, actor);
    check(waiter.answer == -EBADF);
    sim_file_close(sim, fd);
}

static void test_wait_reused(void **state)
{
    (void)state;
    pass(body_wait_reused);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),       cmocka_unit_test(test_full),
        cmocka_unit_test(test_no_descriptor), cmocka_unit_test(test_kill),
        cmocka_unit_test(test_left_open),     cmocka_unit_test(test_wait),
        cmocka_unit_test(test_wait_many),     cmocka_unit_test(test_wait_reused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
