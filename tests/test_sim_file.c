// Tests of the simulator's descriptor table and pollers, with files whose readiness the test sets.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sim/sim.h"

#define MS UINT64_C(1000000)

static struct weir_sim *simulator;
static struct weir_sim_result result;

// Runs the body with these deviations (none: NULL) and nothing else that is not benign.
static void run_deviating(void (*body)(struct weir_sim *),
                          const struct weir_sim_deviation *deviations, size_t deviations_count)
{
    static const struct weir_sim_deviation none;
    struct weir_sim_scenario scenario = {.name = "file", .about = "a test", .run = body};
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

// The deviation is met and the body still passes.
static void pass_deviating(void (*body)(struct weir_sim *), enum weir_sim_kind kind,
                           uint32_t number, uint32_t value)
{
    struct weir_sim_deviation deviation = {.kind = kind, .number = number, .value = value};
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

// ---- Files of the test's own ----

struct fake {
    _Atomic uint32_t ready; // by any thread, as if in the kernel
    int closed_fd;          // that it was closed with; 0: open
    int closed_number;      // how many had been closed before
};

static int closed_count;

static uint32_t fake_ready(struct weir_sim *sim, void *object)
{
    (void)sim;
    return atomic_load(&((struct fake *)object)->ready);
}

static void fake_close(struct weir_sim *sim, void *object, int fd)
{
    (void)sim;
    struct fake *fake = object;
    fake->closed_fd = fd;
    fake->closed_number = closed_count++;
}

static const struct sim_file_ops fake_ops = {"fake", fake_ready, fake_close};
static const struct sim_file_ops other_ops = {"other", fake_ready, fake_close};

static int fake_open(struct weir_sim *sim, struct fake *fake, uint32_t ready)
{
    fake->closed_fd = 0;
    atomic_init(&fake->ready, ready);
    closed_count = 0;
    return sim_file_open(sim, &fake_ops, fake, 0);
}

static void fake_change(struct weir_sim *sim, struct fake *fake, int fd, uint32_t ready)
{
    uint32_t changed = fake->ready ^ ready;
    fake->ready = ready;
    sim_file_edge(sim, fd, changed == 0 ? ready : changed);
}

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
    pass_deviating(body_no_descriptor, WEIR_SIM_RESOURCE, 0, 1);
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

// ---- Pollers ----

static struct weir_poller poller_open(struct weir_sim *sim)
{
    struct weir_poller poller;
    check(sim_poller_open(sim, &poller) == 0);
    return poller;
}

// At most 8 events, without blocking.
static int poll_now(struct weir_sim *sim, const struct weir_poller *poller,
                    struct weir_os_event *events)
{
    return sim_poller_wait(sim, poller, events, 8, 0);
}

static bool is(const struct weir_os_event *event, uint64_t token, uint32_t ready)
{
    return event->token == token && event->ready == ready;
}

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
    pass_deviating(body_poller_open_fails, WEIR_SIM_RESOURCE, 0, 1);
    pass_deviating(body_poller_open_fails, WEIR_SIM_RESOURCE, 1, 1);
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

static void body_first_in_first_out(struct weir_sim *sim)
{
    struct fake fakes[5];
    int fds[5];
    struct weir_os_event events[8];
    struct weir_poller poller = poller_open(sim);
    for (int index = 0; index < 5; index++) {
        fds[index] = fake_open(sim, &fakes[index], 0);
        check(sim_poller_add(sim, &poller, fds[index], (uint64_t)index) == 0);
    }
    static const int order[] = {3, 0, 4, 1};
    for (int index = 0; index < 4; index++) {
        fake_change(sim, &fakes[order[index]], fds[order[index]], WEIR_READABLE);
    }
    fake_change(sim, &fakes[3], fds[3], WEIR_READABLE | WEIR_WRITABLE); // keeps its place
    check(sim_poller_wait(sim, &poller, events, 2, 0) == 2);
    check(is(&events[0], 3, WEIR_READABLE | WEIR_WRITABLE) && is(&events[1], 0, WEIR_READABLE));
    fake_change(sim, &fakes[3], fds[3], WEIR_READABLE);
    check(sim_poller_wait(sim, &poller, events, 1, 0) == 1 && events[0].token == 4);
    check(poll_now(sim, &poller, events) == 2 && events[0].token == 1 && events[1].token == 3);
    check(poll_now(sim, &poller, events) == 0);
    sim_poller_close(sim, &poller);
    sim_files_kill(sim, 0);
}

static void test_first_in_first_out(void **state)
{
    (void)state;
    pass(body_first_in_first_out);
}

// ---- Blocking in a poller ----

struct poll_thread {
    struct weir_sim *sim;
    const struct weir_poller *poller;
    uint64_t deadline_ns;
    uint64_t returned_ns;
    int count;
    struct weir_os_event events[8];
};

static void poll_main(void *argument)
{
    struct poll_thread *thread = argument;
    thread->count =
        sim_poller_wait(thread->sim, thread->poller, thread->events, 8, thread->deadline_ns);
    thread->returned_ns = weir_sim_now_ns(thread->sim);
}

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
    pass_deviating(body_arm_fails, WEIR_SIM_RESOURCE, 2, 1);
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
    pass_deviating(body_add_fails, WEIR_SIM_RESOURCE, 3, 1);
    pass_deviating(body_add_fails, WEIR_SIM_RESOURCE, 3, 2);
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
    pass_deviating(body_late, WEIR_SIM_READY, 0, 3);
    pass_deviating(body_late_edge, WEIR_SIM_READY, 0, 3);
    pass_deviating(body_late_removed, WEIR_SIM_READY, 0, 3);
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
    pass_deviating(body_split, WEIR_SIM_READY, 0, 4);
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
    pass_deviating(body_nothing_same, WEIR_SIM_READY, 0, 2);
    pass_deviating(body_spurious_both, WEIR_SIM_READY, 0, 1);
    pass_deviating(body_spurious_same, WEIR_SIM_READY, 1, 2);
    // What is in the list anyway is reported once.
    pass_deviating(body_first_in_first_out, WEIR_SIM_READY, 0, 2);
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
    pass_deviating(body_interrupted, WEIR_SIM_INTERRUPT, 0, 1);
    pass_deviating(body_interrupted, WEIR_SIM_INTERRUPT, 0, 2);
    pass_deviating(body_interrupted_late, WEIR_SIM_INTERRUPT, 0, 2);
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
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_no_descriptor),
        cmocka_unit_test(test_kill),
        cmocka_unit_test(test_left_open),
        cmocka_unit_test(test_wait),
        cmocka_unit_test(test_wait_many),
        cmocka_unit_test(test_wait_reused),
        cmocka_unit_test(test_poller_numbers),
        cmocka_unit_test(test_poller_open_fails),
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_watch_life),
        cmocka_unit_test(test_first_in_first_out),
        cmocka_unit_test(test_block),
        cmocka_unit_test(test_wake),
        cmocka_unit_test(test_arm),
        cmocka_unit_test(test_arm_fails),
        cmocka_unit_test(test_add_fails),
        cmocka_unit_test(test_late),
        cmocka_unit_test(test_late_once),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_spurious),
        cmocka_unit_test(test_deviations_that_show),
        cmocka_unit_test(test_interrupted),
        cmocka_unit_test(test_other_process),
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_forgotten),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
