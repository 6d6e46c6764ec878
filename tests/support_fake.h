// Files of the test's own, whose readiness it sets, and pollers and threads that look at them.
#ifndef WEIR_TESTS_SUPPORT_FAKE_H
#define WEIR_TESTS_SUPPORT_FAKE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "tests/support_scenario.h"

struct fake {
    _Atomic uint32_t ready; // by any thread, as if in the kernel
    int closed_fd;          // that it was closed with; 0: open
    int closed_number;      // how many had been closed before
};

static int closed_count;

static inline uint32_t fake_ready(struct weir_sim *sim, void *object)
{
    (void)sim;
    return atomic_load(&((struct fake *)object)->ready);
}

static inline void fake_close(struct weir_sim *sim, void *object, int fd)
{
    (void)sim;
    struct fake *fake = object;
    fake->closed_fd = fd;
    fake->closed_number = closed_count++;
}

static const struct sim_file_ops fake_ops = {"fake", fake_ready, fake_close};
static const struct sim_file_ops other_ops = {"other", fake_ready, fake_close};

static inline int fake_open(struct weir_sim *sim, struct fake *fake, uint32_t ready)
{
    fake->closed_fd = 0;
    atomic_init(&fake->ready, ready);
    closed_count = 0;
    return sim_file_open(sim, &fake_ops, fake, 0);
}

static inline void fake_change(struct weir_sim *sim, struct fake *fake, int fd, uint32_t ready)
{
    uint32_t changed = fake->ready ^ ready;
    fake->ready = ready;
    sim_file_edge(sim, fd, changed == 0 ? ready : changed);
}

static inline struct weir_poller poller_open(struct weir_sim *sim)
{
    struct weir_poller poller;
    check(sim_poller_open(sim, &poller) == 0);
    return poller;
}

// At most 8 events, without blocking.
static inline int poll_now(struct weir_sim *sim, const struct weir_poller *poller,
                           struct weir_os_event *events)
{
    return sim_poller_wait(sim, poller, events, 8, 0);
}

static inline bool is(const struct weir_os_event *event, uint64_t token, uint32_t ready)
{
    return event->token == token && event->ready == ready;
}

static inline void body_first_in_first_out(struct weir_sim *sim)
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

struct poll_thread {
    struct weir_sim *sim;
    const struct weir_poller *poller;
    uint64_t deadline_ns;
    uint64_t returned_ns;
    int count;
    struct weir_os_event events[8];
};

static inline void poll_main(void *argument)
{
    struct poll_thread *thread = argument;
    thread->count =
        sim_poller_wait(thread->sim, thread->poller, thread->events, 8, thread->deadline_ns);
    thread->returned_ns = weir_sim_now_ns(thread->sim);
}

#endif
