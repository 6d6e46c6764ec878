// The whole runtime, with threads and driven by a host.
//
// Creating and destroying, workers, parking, wakes from everywhere, fairness, turns, forks, and
// failures of the operating system.
#include "tests/support_os.h"
#include "tests/support_runtime.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/limits.h"

static const uint32_t worker_counts[] = {0, 1, 2, 4, 8, 64};
#define WORKER_COUNTS (sizeof(worker_counts) / sizeof(worker_counts[0]))

// ---- Futures of these tests ----

// Yields some times, then counts itself.
struct yielder {
    struct weir_future future;
    uint32_t yields_left;
    _Atomic uint64_t *polls, *done, *dropped; // each may be NULL
    struct weir_yield yield;
};

static void count(_Atomic uint64_t *counter)
{
    if (counter != NULL) {
        atomic_fetch_add(counter, 1);
    }
}

static enum weir_poll yielder_poll(struct weir_future *future, struct weir_context *context)
{
    struct yielder *me = (struct yielder *)future;
    if (future->resume != WEIR_RESUME_EXIT) {
        count(me->polls);
    }
    weir_begin(me);
    while (me->yields_left > 0) {
        me->yields_left--;
        weir_yield_init(&me->yield);
        weir_await(me, context, &me->yield);
    }
    count(me->done);
    me->dropped = NULL;
    weir_return(me, 0);
    weir_exit(me);
    weir_drop(&me->yield.future, context);
    count(me->dropped);
    weir_end(me);
}

static struct yielder yielder_make(uint32_t yields, _Atomic uint64_t *polls,
                                   _Atomic uint64_t *done, _Atomic uint64_t *dropped)
{
    return (struct yielder){.future = {.poll = yielder_poll},
                            .yields_left = yields,
                            .polls = polls,
                            .done = done,
                            .dropped = dropped};
}

static void yielder_spawn(struct weir_runtime *runtime, const struct yielder *yielder)
{
    assert_int_equal(weir_runtime_spawn(runtime, &yielder->future, sizeof(*yielder),
                                        WEIR_SPAWN_STEALABLE, NULL), 0);
}

// Publishes its waker, then answers every request: the count of requests it has seen is stored.
struct answerer {
    struct weir_future future;
    struct answerer_desk *desk;
};
struct answerer_desk {
    _Alignas(64) struct weir_waker waker;
    _Atomic uint64_t ready, requested, answered, polls, stop, done, dropped;
    _Atomic uint64_t *all_ready, *all_done;
    uint32_t pinned_to; // 1 + index, of a pinned one
    bool pinned;
};

static enum weir_poll answerer_poll(struct weir_future *future, struct weir_context *context)
{
    struct answerer *me = (struct answerer *)future;
    struct answerer_desk *desk = me->desk;
    if (future->resume == WEIR_RESUME_EXIT) {
        atomic_fetch_add(&desk->dropped, 1);
        future->resume = WEIR_RESUME_DONE;
        return WEIR_READY;
    }
    atomic_fetch_add_explicit(&desk->polls, 1, memory_order_relaxed);
    if (desk->pinned) {
        if (desk->pinned_to == 0) {
            desk->pinned_to = context->worker->index + 1;
        }
        assert_int_equal(desk->pinned_to, context->worker->index + 1);
    }
    if (future->resume == WEIR_RESUME_START) {
        future->resume = 1;
        desk->waker = context->waker;
        atomic_store(&desk->ready, 1);
        count(desk->all_ready);
    }
    // Relaxed on purpose: it is the waker's order that must show us the request.
    atomic_store_explicit(&desk->answered,
                          atomic_load_explicit(&desk->requested, memory_order_relaxed),
                          memory_order_relaxed);
    if (atomic_load_explicit(&desk->stop, memory_order_relaxed) != 0) {
        future->resume = WEIR_RESUME_DONE;
        future->result = 0;
        _Atomic uint64_t *all_done = desk->all_done; // the desk may be used again once this is done
        atomic_store(&desk->done, 1);
        count(all_done);
        return WEIR_READY;
    }
    return WEIR_PENDING;
}

static void answerer_spawn(struct weir_runtime *runtime, struct answerer_desk *desk,
                           unsigned flags)
{
    struct answerer answerer = {.future = {.poll = answerer_poll}, .desk = desk};
    desk->pinned = (flags & WEIR_SPAWN_PINNED) != 0;
    assert_int_equal(weir_runtime_spawn(runtime, &answerer.future, sizeof(answerer), flags, NULL),
                     0);
}

static void answerer_request(struct answerer_desk *desk)
{
    atomic_fetch_add_explicit(&desk->requested, 1, memory_order_relaxed);
    weir_wake(desk->waker);
}

static void answerer_stop(struct weir_runtime *runtime, struct answerer_desk *desk)
{
    atomic_store_explicit(&desk->stop, 1, memory_order_relaxed);
    weir_wake(desk->waker);
    test_wait_for(runtime, &desk->done, 1);
}

// ---- Creating and destroying ----

static void test_create_destroy(void **state)
{
    (void)state;
    for (size_t i = 0; i < WORKER_COUNTS; i++) {
        struct counting_os counting;
        counting_os_init(&counting);
        struct weir_runtime *runtime = test_runtime_create(worker_counts[i], &counting.os);
        assert_int_equal(atomic_load(&counting.live_threads), worker_counts[i]);
        weir_runtime_destroy(runtime);
        counting_os_check_empty(&counting);
    }
}

static void test_create_refuses(void **state)
{
    (void)state;
    struct weir_runtime *runtime = (struct weir_runtime *)(void *)&runtime;
    struct weir_runtime_options options = {.workers = WEIR_WORKERS_MAX + 1};
    assert_int_equal(weir_runtime_create(&runtime, &options), WEIR_EOPTION);
    assert_null(runtime);
}

static void test_create_destroy_many(void **state)
{
    (void)state;
    struct counting_os counting;
    counting_os_init(&counting);
    _Atomic uint64_t done = 0, dropped = 0;
    for (uint64_t i = 0; i < test_times(1000); i++) {
        struct weir_runtime *runtime = test_runtime_create((uint32_t)(i % 5), &counting.os);
        if (i % 2 == 0) {
            struct yielder yielder = yielder_make((uint32_t)(i % 7), NULL, &done, &dropped);
            for (int k = 0; k < 5; k++) {
                yielder_spawn(runtime, &yielder);
            }
        }
        weir_runtime_destroy(runtime);
        counting_os_check_empty(&counting);
    }
}

static void test_create_alloc_fails(void **state)
{
    (void)state;
    for (uint32_t workers = 0; workers <= 4; workers += 2) {
        uint64_t at = 1;
        for (;; at++) {
            struct counting_os counting;
            counting_os_init(&counting);
            atomic_store(&counting.alloc_fail_at, at);
            struct weir_runtime *runtime = NULL;
            struct weir_runtime_options options = {.workers = workers, .os = &counting.os};
            int error = weir_runtime_create(&runtime, &options);
            if (error == 0) {
                weir_runtime_destroy(runtime);
                counting_os_check_empty(&counting);
                break;
            }
            assert_int_equal(error, WEIR_EMEMORY);
            assert_null(runtime);
            counting_os_check_empty(&counting);
        }
        assert_true(at > 1);
    }
}

static void test_create_os_fails(void **state)
{
    (void)state;
    struct weir_runtime *runtime = NULL;
    for (uint64_t at = 1; at <= 4; at++) { // the at-th thread does not start
        struct counting_os counting;
        counting_os_init(&counting);
        atomic_store(&counting.thread_fail_at, at);
        struct weir_runtime_options options = {.workers = 4, .os = &counting.os};
        assert_int_equal(weir_runtime_create(&runtime, &options), -EAGAIN);
        assert_null(runtime);
        counting_os_check_empty(&counting);
    }
    for (uint32_t workers = 0; workers < 2; workers++) {
        struct counting_os counting;
        counting_os_init(&counting);
        struct weir_runtime_options options = {.workers = workers, .os = &counting.os};
        atomic_store(&counting.poller_open_fails, 1);
        assert_int_equal(weir_runtime_create(&runtime, &options), -EMFILE);
        counting_os_check_empty(&counting);
        atomic_store(&counting.poller_open_fails, 0);
        atomic_store(&counting.guard_open_fails, 1);
        assert_int_equal(weir_runtime_create(&runtime, &options), -ENOMEM);
        counting_os_check_empty(&counting);
    }
}

// ---- Spawning and running to the end ----

static void test_spawn_outside(void **state)
{
    (void)state;
    for (size_t i = 0; i < WORKER_COUNTS; i++) {
        struct weir_runtime *runtime = test_runtime_create(worker_counts[i], NULL);
        _Atomic uint64_t done = 0, polls = 0;
        uint64_t tasks = test_times(4000);
        for (uint64_t k = 0; k < tasks; k++) {
            struct yielder yielder = yielder_make((uint32_t)(k % 4), &polls, &done, NULL);
            yielder_spawn(runtime, &yielder);
        }
        test_wait_for(runtime, &done, tasks);
        assert_int_equal(done, tasks);
        assert_int_equal(polls, tasks + tasks / 4 * 6); // each yield is one poll more
        weir_runtime_destroy(runtime);
    }
}

// Spawns children from inside, which spawn theirs.
struct spawner {
    struct weir_future future;
    uint32_t children, depth;
    unsigned flags;
    _Atomic uint64_t *done;
};

static enum weir_poll spawner_poll(struct weir_future *future, struct weir_context *context)
{
    struct spawner *me = (struct spawner *)future;
    assert_int_equal(future->resume, WEIR_RESUME_START);
    for (uint32_t i = 0; me->depth > 0 && i < me->children; i++) {
        struct spawner child = *me;
        child.depth--;
        child.future = (struct weir_future){.poll = spawner_poll};
        assert_int_equal(weir_spawn(context, &child.future, sizeof(child), me->flags, NULL), 0);
    }
    atomic_fetch_add(me->done, 1);
    future->resume = WEIR_RESUME_DONE;
    return WEIR_READY;
}

static void test_spawn_inside(void **state)
{
    (void)state;
    for (size_t i = 0; i < WORKER_COUNTS; i++) {
        for (unsigned flags = 0; flags < 2; flags++) {
            struct weir_runtime *runtime = test_runtime_create(worker_counts[i], NULL);
            _Atomic uint64_t done = 0;
            struct spawner spawner = {.future = {.poll = spawner_poll},
                                      .children = 6, .depth = 5, .flags = flags, .done = &done};
            uint64_t expected = 1 + 6 + 36 + 216 + 1296 + 7776;
            assert_int_equal(weir_runtime_spawn(runtime, &spawner.future, sizeof(spawner), flags,
                                                NULL), 0);
            test_wait_for(runtime, &done, expected);
            struct weir_runtime_stats stats;
            weir_runtime_stats(runtime, &stats);
            assert_int_equal(stats.spawned, expected);
            assert_int_equal(stats.polls, expected);
            if (flags == WEIR_SPAWN_PINNED) {
                assert_int_equal(stats.stolen, 0);
            }
            weir_runtime_destroy(runtime);
            assert_int_equal(done, expected);
        }
    }
}

static void *spawn_thread(void *argument)
{
    struct weir_runtime *runtime = ((void **)argument)[0];
    _Atomic uint64_t *done = ((void **)argument)[1];
    uint64_t tasks = test_times(8000);
    for (uint64_t k = 0; k < tasks; k++) {
        struct yielder yielder = yielder_make((uint32_t)(k % 2), NULL, done, NULL);
        yielder_spawn(runtime, &yielder);
    }
    return NULL;
}

static void test_spawn_many_threads(void **state)
{
    (void)state;
    for (uint32_t workers = 0; workers <= 4; workers += 2) {
        struct weir_runtime *runtime = test_runtime_create(workers, NULL);
        _Atomic uint64_t done = 0;
        void *arguments[] = {runtime, (void *)&done};
        pthread_t threads[6];
        for (int i = 0; i < 6; i++) {
            pthread_create(&threads[i], NULL, spawn_thread, arguments);
        }
        test_wait_for(runtime, &done, 6 * test_times(8000));
        for (int i = 0; i < 6; i++) {
            pthread_join(threads[i], NULL);
        }
        weir_runtime_destroy(runtime);
    }
}

// ---- Wakes ----

#define STORM_DESKS 16
#define STORM_THREADS 4

struct storm {
    struct weir_runtime *runtime;
    struct answerer_desk desks[STORM_DESKS];
    _Atomic uint64_t all_ready, all_done, threads_done;
    uint64_t wakes;
};

static void *storm_thread(void *argument)
{
    struct storm *storm = argument;
    uint64_t random = ((uint64_t)(uintptr_t)&random ^ 0x9e3779b97f4a7c15u) | 1;
    for (uint64_t i = 0; i < storm->wakes; i++) {
        answerer_request(&storm->desks[test_random(&random) % STORM_DESKS]);
        if (test_random(&random) % 512 == 0) {
            test_pause_us(20); // let the workers fall asleep
        }
    }
    atomic_fetch_add(&storm->threads_done, 1);
    return NULL;
}

static void storm_begin(struct storm *storm, uint32_t workers, const struct weir_os *os)
{
    memset(storm, 0, sizeof(*storm));
    storm->runtime = test_runtime_create(workers, os);
    for (uint32_t i = 0; i < STORM_DESKS; i++) {
        storm->desks[i].all_ready = &storm->all_ready;
        storm->desks[i].all_done = &storm->all_done;
        answerer_spawn(storm->runtime, &storm->desks[i], i % 4 == 0);
    }
    test_wait_for(storm->runtime, &storm->all_ready, STORM_DESKS);
}

// No wake may be lost: the last answer of every task counts its last request.
static void storm_end(struct storm *storm)
{
    for (uint32_t i = 0; i < STORM_DESKS; i++) {
        struct answerer_desk *desk = &storm->desks[i];
        test_wait_for(storm->runtime, &desk->answered, atomic_load(&desk->requested));
        assert_true(desk->polls <= desk->requested + 1); // no wake, no poll
    }
    for (uint32_t i = 0; i < STORM_DESKS; i++) {
        answerer_stop(storm->runtime, &storm->desks[i]);
    }
    weir_runtime_destroy(storm->runtime);
}

static void test_wake_storm(void **state)
{
    (void)state;
    for (size_t i = 0; i < WORKER_COUNTS; i++) {
        struct storm storm;
        storm_begin(&storm, worker_counts[i], NULL);
        storm.wakes = test_times(100000);
        pthread_t threads[STORM_THREADS];
        for (int k = 0; k < STORM_THREADS; k++) {
            pthread_create(&threads[k], NULL, storm_thread, &storm);
        }
        test_wait_for(storm.runtime, &storm.threads_done, STORM_THREADS);
        for (int k = 0; k < STORM_THREADS; k++) {
            pthread_join(threads[k], NULL);
        }
        storm_end(&storm);
    }
}

// One wake at a time, each answered before the next: every one finds the workers asleep or just
// falling asleep. This is where a lost wake-up shows.
static void test_wake_one_by_one(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    for (uint32_t workers = 0; workers <= 4; workers++) {
        struct storm storm;
        storm_begin(&storm, workers, NULL);
        for (uint64_t i = 0; i < test_times(20000); i++) {
            struct answerer_desk *desk = &storm.desks[test_random(&random) % STORM_DESKS];
            uint64_t wanted = atomic_load(&desk->requested) + 1;
            answerer_request(desk);
            uint64_t limit_ns = test_now_ns() + UINT64_C(60000000000);
            while (atomic_load(&desk->answered) < wanted) {
                if (workers == 0) {
                    assert_true(weir_turn(storm.runtime, 1, WEIR_NEVER) >= 0);
                }
                if (test_now_ns() > limit_ns) {
                    fail_msg("lost wake-up with %u workers", workers);
                }
            }
        }
        storm_end(&storm);
    }
}

static struct storm *signal_storm;
static _Atomic uint32_t signal_turn;

static void signal_handler(int number)
{
    (void)number;
    int saved = errno;
    uint32_t turn = atomic_fetch_add(&signal_turn, 1);
    answerer_request(&signal_storm->desks[turn % STORM_DESKS]);
    answerer_request(&signal_storm->desks[(turn / 3) % STORM_DESKS]);
    errno = saved;
}

static void test_wake_in_signal_handler(void **state)
{
    (void)state;
    struct sigaction action = {.sa_handler = signal_handler}, before;
    sigemptyset(&action.sa_mask);
    action.sa_flags = SA_RESTART;
    sigaction(SIGUSR1, &action, &before);
    for (uint32_t workers = 0; workers <= 4; workers += 2) {
        struct storm storm;
        storm_begin(&storm, workers, NULL);
        storm.wakes = test_times(40000);
        signal_storm = &storm;
        // The handler interrupts threads that are waking the same tasks.
        pthread_t threads[STORM_THREADS];
        for (int k = 0; k < STORM_THREADS; k++) {
            pthread_create(&threads[k], NULL, storm_thread, &storm);
        }
        for (uint64_t i = 0; atomic_load(&storm.threads_done) < STORM_THREADS; i++) {
            for (int k = 0; k < STORM_THREADS; k++) {
                pthread_kill(threads[k], SIGUSR1);
            }
            pthread_kill(pthread_self(), SIGUSR1);
            if (workers == 0) {
                assert_true(weir_turn(storm.runtime, 61, 100000) >= 0);
            } else {
                test_pause_us(20);
            }
        }
        for (int k = 0; k < STORM_THREADS; k++) {
            pthread_join(threads[k], NULL);
        }
        storm_end(&storm);
    }
    sigaction(SIGUSR1, &before, NULL);
}

// Wakers of tasks that have ended must not reach those who live in their cells now.
static void test_wake_stale(void **state)
{
    (void)state;
    enum { WAKERS = 64 };
    for (uint32_t workers = 0; workers <= 4; workers += 2) {
        struct weir_runtime *runtime = test_runtime_create(workers, NULL);
        struct answerer_desk desks[WAKERS];
        struct weir_waker stale[WAKERS];
        struct weir_waker older[WAKERS];
        memset(desks, 0, sizeof(desks));
        for (uint64_t round = 0; round < test_times(200); round++) {
            _Atomic uint64_t all_ready = 0;
            memset(desks, 0, sizeof(desks));
            for (uint32_t i = 0; i < WAKERS; i++) {
                desks[i].all_ready = &all_ready;
                answerer_spawn(runtime, &desks[i], WEIR_SPAWN_STEALABLE);
            }
            test_wait_for(runtime, &all_ready, WAKERS);
            for (uint32_t i = 0; round > 0 && i < WAKERS; i++) {
                weir_wake(stale[i]);
                weir_task_cancel((struct weir_handle){stale[i].task, stale[i].generation});
                if (round > 1) {
                    weir_wake(older[i]);
                }
            }
            for (uint32_t i = 0; i < WAKERS; i++) {
                older[i] = stale[i];
                stale[i] = desks[i].waker;
                answerer_stop(runtime, &desks[i]);
                assert_int_equal(desks[i].polls, 2);
            }
        }
        weir_wake((struct weir_waker){NULL, 0});
        weir_runtime_destroy(runtime);
    }
}

// ---- Rings: tasks that wake each other across workers ----

#define RING_MAX 64

struct ring {
    struct weir_runtime *runtime;
    uint32_t size;
    uint64_t hops_max;
    _Atomic uint64_t ready, hops, over, done;
    struct ring_seat {
        _Alignas(64) _Atomic uint64_t tokens;
        struct weir_waker waker;
    } seats[RING_MAX];
};
struct ring_task {
    struct weir_future future;
    struct ring *ring;
    uint32_t index;
};

static enum weir_poll ring_poll(struct weir_future *future, struct weir_context *context)
{
    struct ring_task *me = (struct ring_task *)future;
    struct ring *ring = me->ring;
    if (future->resume == WEIR_RESUME_START) {
        future->resume = 1;
        ring->seats[me->index].waker = context->waker;
        atomic_fetch_add(&ring->ready, 1);
        return WEIR_PENDING;
    }
    uint64_t tokens = atomic_exchange_explicit(&ring->seats[me->index].tokens, 0,
                                               memory_order_relaxed);
    for (uint64_t i = 0; i < tokens; i++) {
        uint64_t hop = atomic_fetch_add_explicit(&ring->hops, 1, memory_order_relaxed);
        struct ring_seat *next = &ring->seats[(me->index + 1 + hop % 3) % ring->size];
        if (hop >= ring->hops_max) {
            atomic_store(&ring->over, 1);
            continue;
        }
        atomic_fetch_add_explicit(&next->tokens, 1, memory_order_relaxed);
        if (hop % 2 == 0) {
            weir_wake(next->waker);
        } else {
            weir_context_wake(context, next->waker);
        }
    }
    if (atomic_load_explicit(&ring->over, memory_order_relaxed) == 2) {
        future->resume = WEIR_RESUME_DONE;
        atomic_fetch_add(&ring->done, 1);
        return WEIR_READY;
    }
    return WEIR_PENDING;
}

static void ring_run(uint32_t workers, uint32_t size, uint32_t tokens, uint64_t hops)
{
    struct ring ring;
    memset(&ring, 0, sizeof(ring));
    ring.runtime = test_runtime_create(workers, NULL);
    ring.size = size;
    ring.hops_max = hops;
    for (uint32_t i = 0; i < size; i++) {
        struct ring_task task = {.future = {.poll = ring_poll}, .ring = &ring, .index = i};
        unsigned flags = i % 3 == 0 ? WEIR_SPAWN_PINNED : WEIR_SPAWN_STEALABLE;
        assert_int_equal(weir_runtime_spawn(ring.runtime, &task.future, sizeof(task), flags, NULL),
                         0);
    }
    test_wait_for(ring.runtime, &ring.ready, size);
    for (uint32_t i = 0; i < tokens; i++) {
        atomic_fetch_add_explicit(&ring.seats[i % size].tokens, 1, memory_order_relaxed);
        weir_wake(ring.seats[i % size].waker);
    }
    test_wait_for(ring.runtime, &ring.hops, hops + tokens); // every token met its end
    assert_int_equal(ring.hops, hops + tokens);
    atomic_store(&ring.over, 2);
    for (uint32_t i = 0; i < size; i++) {
        weir_wake(ring.seats[i].waker);
    }
    test_wait_for(ring.runtime, &ring.done, size);
    weir_runtime_destroy(ring.runtime);
}

static void test_ring(void **state)
{
    (void)state;
    ring_run(0, 8, 2, test_times(300000));
    ring_run(1, 8, 2, test_times(300000));
    ring_run(2, 2, 1, test_times(200000));
    ring_run(2, 8, 3, test_times(500000));
    ring_run(4, 64, 16, test_times(500000));
    ring_run(8, 16, 4, test_times(100000));
    ring_run(64, 64, 5, test_times(20000));
}

// ---- Fairness ----

struct turn_taker {
    struct weir_future future;
    uint64_t *mine, *other, *lead;
    uint64_t rounds;
    struct weir_yield yield;
};

static enum weir_poll turn_taker_poll(struct weir_future *future, struct weir_context *context)
{
    struct turn_taker *me = (struct turn_taker *)future;
    weir_begin(me);
    while (*me->mine < me->rounds) {
        *me->mine += 1;
        uint64_t ahead = *me->mine > *me->other ? *me->mine - *me->other : 0;
        if (*me->other == 0) { // it is still in the mailbox
            assert_true(ahead <= 2 * WEIR_POLLS_BETWEEN_LOOKS);
            *me->lead = ahead;
        } else {
            assert_true(ahead <= *me->lead + 1 || *me->other == me->rounds);
        }
        weir_yield_init(&me->yield);
        weir_await(me, context, &me->yield);
    }
    weir_exit(me);
    weir_end(me);
}

static void test_yield_is_fair(void **state)
{
    (void)state;
    struct weir_runtime *runtime = test_runtime_create(0, NULL);
    uint64_t counts[2] = {0, 0}, lead = 0;
    for (int i = 0; i < 2; i++) {
        struct turn_taker taker = {.future = {.poll = turn_taker_poll},
                                   .mine = &counts[i], .other = &counts[1 - i], .lead = &lead,
                                   .rounds = 1000};
        assert_int_equal(weir_runtime_spawn(runtime, &taker.future, sizeof(taker), 0, NULL), 0);
    }
    test_turn_all(runtime);
    assert_int_equal(counts[0], 1000);
    assert_int_equal(counts[1], 1000);
    weir_runtime_destroy(runtime);
}

// Whoever never stops yielding, pinned or not, must not keep others from running: neither those in
// the queue, nor pinned ones, nor those that come from outside.
static void test_yielders_starve_nobody(void **state)
{
    (void)state;
    for (uint32_t workers = 0; workers < 3; workers++) {
        for (unsigned hog_flags = 0; hog_flags < 2; hog_flags++) {
            for (unsigned flags = 0; flags < 2; flags++) {
                struct weir_runtime *runtime = test_runtime_create(workers, NULL);
                _Atomic uint64_t hogs = 0, done = 0;
                struct yielder hog = yielder_make(UINT32_MAX, &hogs, NULL, NULL);
                for (int i = 0; i < 6; i++) {
                    assert_int_equal(weir_runtime_spawn(runtime, &hog.future, sizeof(hog),
                                                        hog_flags, NULL), 0);
                }
                test_wait_for(runtime, &hogs, 100);
                for (uint64_t i = 1; i <= 20; i++) {
                    struct yielder other = yielder_make(3, NULL, &done, NULL);
                    assert_int_equal(weir_runtime_spawn(runtime, &other.future, sizeof(other),
                                                        flags, NULL), 0);
                    uint64_t before = atomic_load(&hogs);
                    while (atomic_load(&done) < i) {
                        if (workers == 0) {
                            (void)weir_turn(runtime, 100, 0);
                        }
                        if (atomic_load(&hogs) - before > UINT64_C(20000000)) {
                            fail_msg("starved: %u workers, hogs %s, other %s", workers,
                                     hog_flags ? "pinned" : "stealable",
                                     flags ? "pinned" : "stealable");
                        }
                        if (workers == 0 && atomic_load(&hogs) - before > 20000) {
                            fail_msg("starved: hogs %s, other %s",
                                     hog_flags ? "pinned" : "stealable",
                                     flags ? "pinned" : "stealable");
                        }
                    }
                }
                weir_runtime_destroy(runtime);
            }
        }
    }
}

// A single turn of many polls must not close its eyes to timers and foreign wakes either.
struct napper {
    struct weir_future future;
    struct weir_sleep sleep;
    uint64_t nap_ns;
    _Atomic uint64_t *done;
};

static enum weir_poll napper_poll(struct weir_future *future, struct weir_context *context)
{
    struct napper *me = (struct napper *)future;
    weir_begin(me);
    weir_sleep_init(&me->sleep, me->nap_ns);
    weir_await(me, context, &me->sleep);
    count(me->done);
    weir_exit(me);
    weir_drop(&me->sleep.future, context);
    weir_end(me);
}

static void napper_spawn(struct weir_runtime *runtime, uint64_t nap_ns, _Atomic uint64_t *done)
{
    struct napper napper = {.future = {.poll = napper_poll}, .nap_ns = nap_ns, .done = done};
    assert_int_equal(weir_runtime_spawn(runtime, &napper.future, sizeof(napper), 0, NULL), 0);
}

// Yields until told to stop.
struct spinner {
    struct weir_future future;
    _Atomic uint64_t *stop, *polls;
    struct weir_yield yield;
};

static enum weir_poll spinner_poll(struct weir_future *future, struct weir_context *context)
{
    struct spinner *me = (struct spinner *)future;
    weir_begin(me);
    while (atomic_load(me->stop) == 0) {
        count(me->polls);
        weir_yield_init(&me->yield);
        weir_await(me, context, &me->yield);
    }
    weir_exit(me);
    weir_end(me);
}

static void test_long_turn_sees_timers_and_mailbox(void **state)
{
    (void)state;
    struct weir_runtime *runtime = test_runtime_create(0, NULL);
    _Atomic uint64_t stop = 0;
    struct spinner spinner = {.future = {.poll = spinner_poll}, .stop = &stop};
    assert_int_equal(weir_runtime_spawn(runtime, &spinner.future, sizeof(spinner), 0, NULL), 0);
    napper_spawn(runtime, 2000000, &stop); // ends the spinner, from within one turn
    int polls = weir_turn(runtime, 200000000, 0);
    assert_true(polls > 2);
    assert_int_equal(stop, 1);
    test_turn_all(runtime);
    weir_runtime_destroy(runtime);
}

// Two tasks that wake each other through the next-task slot.
struct pinger {
    struct weir_future future;
    struct weir_waker *mine, *other;
    uint64_t *polls;
};

static enum weir_poll pinger_poll(struct weir_future *future, struct weir_context *context)
{
    struct pinger *me = (struct pinger *)future;
    if (future->resume == WEIR_RESUME_EXIT) {
        return WEIR_READY;
    }
    future->resume = 1;
    *me->mine = context->waker;
    *me->polls += 1;
    weir_context_wake(context, *me->other);
    return WEIR_PENDING;
}

static void test_lifo_starves_nobody(void **state)
{
    (void)state;
    struct weir_runtime *runtime = test_runtime_create(0, NULL);
    struct weir_waker wakers[2] = {{NULL, 0}, {NULL, 0}};
    uint64_t pings = 0;
    for (int i = 0; i < 2; i++) {
        struct pinger pinger = {.future = {.poll = pinger_poll},
                                .mine = &wakers[i], .other = &wakers[1 - i], .polls = &pings};
        assert_int_equal(weir_runtime_spawn(runtime, &pinger.future, sizeof(pinger), 0, NULL), 0);
    }
    assert_true(weir_turn(runtime, 2, 0) >= 1);
    _Atomic uint64_t polls = 0;
    struct yielder yielder = yielder_make(UINT32_MAX, &polls, NULL, NULL);
    yielder_spawn(runtime, &yielder);
    for (int i = 0; i < 4 * WEIR_POLLS_BETWEEN_LOOKS && polls == 0; i++) {
        (void)weir_turn(runtime, 1, 0); // until it has come in from the mailbox
    }
    assert_true(polls > 0);
    uint64_t pings_before = pings, polls_before = polls;
    (void)weir_turn(runtime, 1000, 0);
    uint64_t others = polls - polls_before;
    assert_true(pings > pings_before);
    // One after each run of the slot, which is bounded.
    assert_true(others * (WEIR_LIFO_POLLS_MAX + 2) >= pings - pings_before);
    weir_runtime_destroy(runtime);
}

struct spender {
    struct weir_future future;
    uint64_t left, polls;
    uint64_t *polls_out;
    _Atomic uint64_t *done;
};

static enum weir_poll spender_poll(struct weir_future *future, struct weir_context *context)
{
    struct spender *me = (struct spender *)future;
    if (future->resume == WEIR_RESUME_EXIT) {
        return WEIR_READY;
    }
    future->resume = 1;
    me->polls++;
    while (me->left > 0) {
        if (!weir_context_spend(context)) {
            return WEIR_PENDING;
        }
        me->left--;
    }
    *me->polls_out = me->polls;
    count(me->done);
    future->resume = WEIR_RESUME_DONE;
    return WEIR_READY;
}

static void test_budget(void **state)
{
    (void)state;
    struct weir_runtime *runtime = test_runtime_create(0, NULL);
    uint64_t polls = 0;
    _Atomic uint64_t done = 0, other_polls = 0, other_done = 0;
    struct spender spender = {.future = {.poll = spender_poll},
                              .left = 10 * WEIR_BUDGET, .polls_out = &polls, .done = &done};
    assert_int_equal(weir_runtime_spawn(runtime, &spender.future, sizeof(spender), 0, NULL), 0);
    struct yielder yielder = yielder_make(5, &other_polls, &other_done, NULL);
    yielder_spawn(runtime, &yielder);
    test_turn_all(runtime);
    assert_int_equal(done, 1);
    assert_int_equal(polls, 10);
    assert_int_equal(other_polls, 6);
    weir_runtime_destroy(runtime);
}

// ---- Pinned and stolen ----

static void test_pinned_stays(void **state)
{
    (void)state;
    struct weir_runtime *runtime = test_runtime_create(4, NULL);
    enum { DESKS = 32 };
    struct answerer_desk desks[DESKS];
    _Atomic uint64_t all_ready = 0;
    memset(desks, 0, sizeof(desks));
    for (uint32_t i = 0; i < DESKS; i++) {
        desks[i].all_ready = &all_ready;
        answerer_spawn(runtime, &desks[i], WEIR_SPAWN_PINNED); // it checks where it is polled
    }
    test_wait_for(runtime, &all_ready, DESKS);
    for (uint64_t round = 0; round < test_times(2000); round++) {
        answerer_request(&desks[round % DESKS]);
        answerer_request(&desks[(round * 7) % DESKS]);
    }
    for (uint32_t i = 0; i < DESKS; i++) {
        test_wait_for(runtime, &desks[i].answered, atomic_load(&desks[i].requested));
        answerer_stop(runtime, &desks[i]);
    }
    weir_runtime_destroy(runtime);
}

// Keeps its worker for a moment.
struct staller {
    struct weir_future future;
    _Atomic uint64_t *done, *seen_on; // seen_on[worker]
};

static enum weir_poll staller_poll(struct weir_future *future, struct weir_context *context)
{
    struct staller *me = (struct staller *)future;
    uint64_t until_ns = test_now_ns() + 10000;
    while (test_now_ns() < until_ns) {
    }
    atomic_fetch_add(&me->seen_on[context->worker->index], 1);
    atomic_fetch_add(me->done, 1);
    future->resume = WEIR_RESUME_DONE;
    return WEIR_READY;
}

struct stall_spawner {
    struct weir_future future;
    struct staller child;
    uint32_t children;
};

static enum weir_poll stall_spawner_poll(struct weir_future *future, struct weir_context *context)
{
    struct stall_spawner *me = (struct stall_spawner *)future;
    for (uint32_t i = 0; i < me->children; i++) {
        assert_int_equal(weir_spawn(context, &me->child.future, sizeof(me->child), 0, NULL), 0);
    }
    future->resume = WEIR_RESUME_DONE;
    return WEIR_READY;
}

static void test_stealing_happens(void **state)
{
    (void)state;
    for (uint32_t workers = 2; workers <= 4; workers += 2) {
        struct weir_runtime *runtime = test_runtime_create(workers, NULL);
        _Atomic uint64_t done = 0;
        _Atomic uint64_t seen_on[4] = {0, 0, 0, 0};
        struct stall_spawner spawner = {
            .future = {.poll = stall_spawner_poll},
            .child = {.future = {.poll = staller_poll}, .done = &done, .seen_on = seen_on},
            .children = 10000};
        assert_int_equal(weir_runtime_spawn(runtime, &spawner.future, sizeof(spawner), 0, NULL), 0);
        test_wait_for(runtime, &done, 10000);
        struct weir_runtime_stats stats;
        weir_runtime_stats(runtime, &stats);
        assert_true(stats.stolen > 0);
        assert_true(stats.overflowed > 0); // 10000 do not fit into one ring
        for (uint32_t i = 0; i < workers; i++) {
            assert_true(seen_on[i] > 0);
        }
        weir_runtime_destroy(runtime);
    }
}

// Work that fires by timer while its worker goes on to something long must reach idle workers.
struct blocker {
    struct weir_future future;
    _Atomic uint64_t *met, *done;
    uint64_t wanted, deadline_ns;
    struct weir_sleep sleep;
};

static enum weir_poll blocker_poll(struct weir_future *future, struct weir_context *context)
{
    struct blocker *me = (struct blocker *)future;
    weir_begin(me);
    weir_sleep_until_init(&me->sleep, me->deadline_ns);
    weir_await(me, context, &me->sleep);
    // A meeting: nobody goes on before all are polled at the same time, on different workers.
    atomic_fetch_add(me->met, 1);
    uint64_t limit_ns = test_now_ns() + UINT64_C(30000000000);
    while (atomic_load(me->met) < me->wanted && test_now_ns() < limit_ns) {
        test_pause_us(20);
    }
    if (atomic_load(me->met) >= me->wanted) {
        atomic_fetch_add(me->done, 1);
    }
    weir_exit(me);
    weir_drop(&me->sleep.future, context);
    weir_end(me);
}

struct blocker_spawner {
    struct weir_future future;
    struct blocker child;
    uint32_t children;
};

static enum weir_poll blocker_spawner_poll(struct weir_future *future,
                                           struct weir_context *context)
{
    struct blocker_spawner *me = (struct blocker_spawner *)future;
    // One moment for all, when all are asleep: a worker in a long poll cannot fire its timers.
    me->child.deadline_ns = weir_context_clock_ns(context) + 50000000;
    for (uint32_t i = 0; i < me->children; i++) {
        assert_int_equal(weir_spawn(context, &me->child.future, sizeof(me->child), 0, NULL), 0);
    }
    future->resume = WEIR_RESUME_DONE;
    return WEIR_READY;
}

static void test_timers_fired_together_are_shared(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < 20; round++) {
        struct weir_runtime *runtime = test_runtime_create(4, NULL);
        _Atomic uint64_t met = 0, done = 0;
        struct blocker_spawner spawner = {
            .future = {.poll = blocker_spawner_poll},
            .child = {.future = {.poll = blocker_poll}, .met = &met, .done = &done, .wanted = 4},
            .children = 4};
        assert_int_equal(weir_runtime_spawn(runtime, &spawner.future, sizeof(spawner), 0, NULL), 0);
        test_wait_for(runtime, &met, 4);
        test_wait_for(runtime, &done, 4);
        weir_runtime_destroy(runtime);
    }
}

// A lone task that yields has no neighbour to run for, so it wakes nobody.
static void test_lone_yielder_wakes_nobody(void **state)
{
    (void)state;
    struct counting_os counting;
    counting_os_init(&counting);
    struct weir_runtime *runtime = test_runtime_create(4, &counting.os);
    _Atomic uint64_t done = 0;
    test_pause_us(20000); // all asleep
    uint64_t before = atomic_load(&counting.futex_wakes) + atomic_load(&counting.poller_wakes);
    struct yielder yielder = yielder_make((uint32_t)test_times(2000000), NULL, &done, NULL);
    yielder_spawn(runtime, &yielder);
    test_wait_for(runtime, &done, 1);
    uint64_t wakes =
        atomic_load(&counting.futex_wakes) + atomic_load(&counting.poller_wakes) - before;
    assert_true(wakes < 50);
    weir_runtime_destroy(runtime);
}

// ---- Ending with work left ----

static void test_destroy_with_pending(void **state)
{
    (void)state;
    for (size_t i = 0; i < WORKER_COUNTS; i++) {
        struct counting_os counting;
        counting_os_init(&counting);
        struct weir_runtime *runtime = test_runtime_create(worker_counts[i], &counting.os);
        enum { DESKS = 50 };
        struct answerer_desk desks[DESKS];
        memset(desks, 0, sizeof(desks));
        _Atomic uint64_t all_ready = 0, polls = 0, dropped = 0, woken = 0;
        for (uint32_t k = 0; k < DESKS; k++) {
            desks[k].all_ready = &all_ready;
            answerer_spawn(runtime, &desks[k], k % 2);
            napper_spawn(runtime, UINT64_C(3600000000000), &woken);
        }
        struct yielder yielder = yielder_make(UINT32_MAX, &polls, NULL, &dropped);
        yielder_spawn(runtime, &yielder);
        test_wait_for(runtime, &all_ready, DESKS);
        test_wait_for(runtime, &polls, 10);
        for (uint32_t k = 0; k < DESKS; k += 2) {
            weir_wake(desks[k].waker);
        }
        weir_runtime_destroy(runtime);
        for (uint32_t k = 0; k < DESKS; k++) {
            assert_int_equal(desks[k].dropped, 1);
        }
        assert_int_equal(dropped, 1);
        assert_int_equal(woken, 0);
        counting_os_check_empty(&counting);
    }
}

// Being dropped, wakes another task and tries to spawn.
struct last_words {
    struct weir_future future;
    struct weir_waker *mine, *other;
    _Atomic uint64_t *ready, *spoken;
};

static enum weir_poll last_words_poll(struct weir_future *future, struct weir_context *context)
{
    struct last_words *me = (struct last_words *)future;
    if (future->resume == WEIR_RESUME_EXIT) {
        weir_context_wake(context, *me->other);
        weir_wake(*me->other);
        struct yielder yielder = yielder_make(0, NULL, NULL, NULL);
        struct weir_handle handle;
        assert_int_equal(weir_spawn(context, &yielder.future, sizeof(yielder), 0, &handle),
                         WEIR_ECLOSED);
        assert_int_equal(weir_runtime_spawn(context->runtime, &yielder.future, sizeof(yielder), 0,
                                            NULL), WEIR_ECLOSED);
        atomic_fetch_add(me->spoken, 1);
        future->resume = WEIR_RESUME_DONE;
        return WEIR_READY;
    }
    if (future->resume == WEIR_RESUME_START) {
        future->resume = 1;
        *me->mine = context->waker;
        atomic_fetch_add(me->ready, 1);
    }
    return WEIR_PENDING;
}

static void test_wake_during_shutdown(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < test_times(200); round++) {
        struct weir_runtime *runtime = test_runtime_create((uint32_t)(round % 4), NULL);
        enum { TALKERS = 8 };
        struct weir_waker wakers[TALKERS];
        _Atomic uint64_t ready = 0, spoken = 0;
        for (uint32_t i = 0; i < TALKERS; i++) {
            struct last_words talker = {.future = {.poll = last_words_poll},
                                        .mine = &wakers[i],
                                        .other = &wakers[(i + 1) % TALKERS],
                                        .ready = &ready, .spoken = &spoken};
            assert_int_equal(weir_runtime_spawn(runtime, &talker.future, sizeof(talker), i % 2,
                                                NULL), 0);
        }
        test_wait_for(runtime, &ready, TALKERS);
        weir_runtime_destroy(runtime);
        assert_int_equal(spoken, TALKERS);
    }
}

// The runtime ends while its workers are in the middle of everything: spawning, stealing, parking.
static void test_racy_shutdown(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    struct counting_os counting;
    counting_os_init(&counting);
    for (uint64_t round = 0; round < test_times(600); round++) {
        struct weir_runtime *runtime =
            test_runtime_create((uint32_t)(test_random(&random) % 5), &counting.os);
        _Atomic uint64_t polls = 0, done = 0, dropped = 0;
        uint64_t tasks = test_random(&random) % 40;
        for (uint64_t i = 0; i < tasks; i++) {
            struct yielder yielder =
                yielder_make((uint32_t)(test_random(&random) % 50), &polls, &done, &dropped);
            assert_int_equal(weir_runtime_spawn(runtime, &yielder.future, sizeof(yielder),
                                                (unsigned)(test_random(&random) % 2), NULL), 0);
        }
        if (test_random(&random) % 2 == 0) {
            test_pause_us((uint32_t)(test_random(&random) % 200));
        }
        weir_runtime_destroy(runtime);
        assert_true(done + dropped <= tasks);
        counting_os_check_empty(&counting);
    }
}

// ---- Driven by a host ----

static bool fd_readable(int fd, int wait_ms)
{
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    return poll(&entry, 1, wait_ms) == 1;
}

static void test_backend_fd_idle(void **state)
{
    (void)state;
    struct weir_runtime *runtime = test_runtime_create(0, NULL);
    int fd = weir_backend_fd(runtime);
    assert_true(fd >= 0);
    assert_int_equal(weir_turn(runtime, 10, 0), 0);
    assert_false(fd_readable(fd, 0));
    _Atomic uint64_t done = 0;
    struct yielder yielder = yielder_make(2, NULL, &done, NULL);
    yielder_spawn(runtime, &yielder);
    assert_true(fd_readable(fd, 0));
    assert_int_equal(weir_turn(runtime, 1, 0), 1);
    assert_true(fd_readable(fd, 0)); // polls are left
    assert_int_equal(weir_turn(runtime, 10, 0), 2);
    assert_int_equal(done, 1);
    assert_false(fd_readable(fd, 0));
    napper_spawn(runtime, 30000000, &done);
    assert_int_equal(weir_turn(runtime, 10, 0), 1);
    assert_false(fd_readable(fd, 0));
    assert_true(fd_readable(fd, 5000)); // the timer
    assert_int_equal(weir_turn(runtime, 10, 0), 1);
    assert_int_equal(done, 2);
    assert_false(fd_readable(fd, 20));
    weir_runtime_destroy(runtime);
}

static void test_backend_fd_before_first_turn(void **state)
{
    (void)state;
    struct weir_runtime *runtime = test_runtime_create(0, NULL);
    _Atomic uint64_t done = 0;
    assert_false(fd_readable(weir_backend_fd(runtime), 0));
    struct yielder yielder = yielder_make(0, NULL, &done, NULL);
    yielder_spawn(runtime, &yielder);
    assert_true(fd_readable(weir_backend_fd(runtime), 0));
    assert_int_equal(weir_turn(runtime, 10, 0), 1);
    assert_false(fd_readable(weir_backend_fd(runtime), 0));
    weir_runtime_destroy(runtime);
}

// Without a timer a host would sleep for ever: found by the simulator, short of descriptors.
static void test_backend_without_a_timer(void **state)
{
    (void)state;
    struct weir_os real = weir_os_linux();
    struct support_os *faulty = support_os_create(&real);
    struct weir_os os = support_os_get(faulty);
    struct weir_runtime_options options = {.workers = 0, .os = &os};
    struct weir_runtime *runtime = NULL;
    support_os_fail(faulty, SUPPORT_OS_poller_arm, 1, 1, -EMFILE);
    assert_int_equal(weir_runtime_create(&runtime, &options), -EMFILE);
    assert_null(runtime);

    assert_int_equal(weir_runtime_create(&runtime, &options), 0);
    _Atomic uint64_t done = 0;
    napper_spawn(runtime, 1000000, &done);
    support_os_fail(faulty, SUPPORT_OS_poller_arm, 1, UINT64_MAX, -EMFILE);
    for (int turns = 0; turns < 1000000 && done == 0; turns++) {
        assert_true(fd_readable(weir_backend_fd(runtime), 5000));
        assert_true(weir_turn(runtime, 10, 0) >= 0);
    }
    assert_int_equal(done, 1);
    weir_runtime_destroy(runtime);
    assert_int_equal(support_os_leaks(faulty), 0);
    support_os_destroy(faulty);
}

static void test_backend_refused_with_workers(void **state)
{
    (void)state;
    struct weir_runtime *runtime = test_runtime_create(1, NULL);
    assert_int_equal(weir_backend_fd(runtime), -EINVAL);
    assert_int_equal(weir_turn(runtime, 1, 0), -EINVAL);
    weir_runtime_destroy(runtime);
}

static void test_turn_bounds(void **state)
{
    (void)state;
    struct weir_runtime *runtime = test_runtime_create(0, NULL);
    struct weir_waker wakers[2] = {{NULL, 0}, {NULL, 0}};
    uint64_t pings = 0;
    for (int i = 0; i < 2; i++) {
        struct pinger pinger = {.future = {.poll = pinger_poll},
                                .mine = &wakers[i], .other = &wakers[1 - i], .polls = &pings};
        assert_int_equal(weir_runtime_spawn(runtime, &pinger.future, sizeof(pinger), 0, NULL), 0);
    }
    assert_int_equal(weir_turn(runtime, 0, 0), 0);
    assert_int_equal(pings, 0);
    uint64_t before = 0;
    for (uint32_t polls_max = 1; polls_max < 50; polls_max++) {
        int polls = weir_turn(runtime, polls_max, polls_max % 3);
        assert_int_equal(polls, polls_max);
        assert_int_equal(pings, before + polls_max);
        before = pings;
        assert_true(fd_readable(weir_backend_fd(runtime), 0));
    }
    weir_runtime_destroy(runtime);
}

static void test_turn_waits(void **state)
{
    (void)state;
    struct weir_runtime *runtime = test_runtime_create(0, NULL);
    uint64_t begin_ns = test_now_ns();
    assert_int_equal(weir_turn(runtime, 10, 30000000), 0);
    assert_true(test_now_ns() - begin_ns >= 20000000);
    _Atomic uint64_t done = 0;
    napper_spawn(runtime, 20000000, &done);
    uint64_t turns = 0;
    while (done == 0) {
        assert_true(weir_turn(runtime, 10, WEIR_NEVER) >= 0);
        turns++;
    }
    assert_true(turns <= 5);
    weir_runtime_destroy(runtime);
}

static void *foreign_waker(void *argument)
{
    struct storm *storm = argument;
    uint64_t random = 12345;
    for (uint64_t i = 0; i < storm->wakes; i++) {
        answerer_request(&storm->desks[test_random(&random) % STORM_DESKS]);
        test_pause_us((uint32_t)(test_random(&random) % 100));
    }
    atomic_fetch_add(&storm->threads_done, 1);
    for (uint32_t i = 0; i < STORM_DESKS; i++) {
        atomic_store_explicit(&storm->desks[i].stop, 1, memory_order_relaxed);
        weir_wake(storm->desks[i].waker);
    }
    return NULL;
}

// The host sleeps in its own poll(2), with no time limit: only the descriptor can wake it.
static void test_backend_fd_in_host_loop(void **state)
{
    (void)state;
    struct storm storm;
    storm_begin(&storm, 0, NULL);
    storm.wakes = test_times(3000);
    _Atomic uint64_t naps = 0;
    for (uint64_t i = 0; i < 50; i++) {
        napper_spawn(storm.runtime, i * 2000000, &naps);
    }
    pthread_t thread;
    pthread_create(&thread, NULL, foreign_waker, &storm);
    uint64_t turns = 0, empty_turns = 0, polls_sum = 0;
    int fd = weir_backend_fd(storm.runtime);
    while (atomic_load(&storm.all_done) < STORM_DESKS || atomic_load(&naps) < 50) {
        if (!fd_readable(fd, 60000)) {
            fail_msg("lost wake-up: the descriptor stayed silent");
        }
        int polls = weir_turn(storm.runtime, 7, 0);
        assert_true(polls >= 0);
        turns++;
        empty_turns += polls == 0;
        polls_sum += (uint64_t)polls;
    }
    pthread_join(thread, NULL);
    // A turn without a poll is allowed where a wake raced with the end of a turn, or a timer moved
    // down a level, but must not be the rule.
    assert_true(empty_turns <= polls_sum + 500);
    assert_true(turns <= 3 * (storm.wakes + 150) + 500);
    while (weir_turn(storm.runtime, 100, 0) > 0) {
    }
    assert_false(fd_readable(fd, 20));
    weir_runtime_destroy(storm.runtime);
}

static void turn_inside(void *argument)
{
    struct weir_context *context = argument;
    (void)weir_turn(context->runtime, 1, 0);
}

struct turn_nester {
    struct weir_future future;
    bool *ran;
};

static enum weir_poll turn_nester_poll(struct weir_future *future, struct weir_context *context)
{
    test_expect_abort(turn_inside, context);
    *((struct turn_nester *)future)->ran = true;
    future->resume = WEIR_RESUME_DONE;
    return WEIR_READY;
}

// In a child process the guard answers first, so the child takes the guard's word to be whole.
static void test_turn_inside_poll_aborts(void **state)
{
    (void)state;
    struct counting_os counting;
    counting_os_init(&counting);
    struct weir_runtime *runtime = test_runtime_create(0, &counting.os);
    // A word that forks do not wipe: the child is to get as far as the assertion.
    _Atomic uint32_t *guard = runtime->fork_guard;
    _Atomic uint32_t plain = 1;
    runtime->fork_guard = &plain;
    bool ran = false;
    struct turn_nester nester = {.future = {.poll = turn_nester_poll}, .ran = &ran};
    assert_int_equal(weir_runtime_spawn(runtime, &nester.future, sizeof(nester), 0, NULL), 0);
    assert_int_equal(weir_turn(runtime, 1, 0), 1);
    assert_true(ran);
    runtime->fork_guard = guard;
    weir_runtime_destroy(runtime);
}

// ---- Forks, faults, scale ----

static void test_fork(void **state)
{
    (void)state;
    for (uint32_t workers = 0; workers <= 2; workers++) {
        struct counting_os counting;
        counting_os_init(&counting);
        struct weir_runtime *runtime = test_runtime_create(workers, &counting.os);
        _Atomic uint64_t done = 0;
        napper_spawn(runtime, UINT64_C(3600000000000), &done);
        struct yielder yielder = yielder_make(3, NULL, &done, NULL);
        yielder_spawn(runtime, &yielder);
        test_wait_for(runtime, &done, 1);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            alarm(30);
            int code = 0;
            code |= weir_runtime_spawn(runtime, &yielder.future, sizeof(yielder), 0, NULL) !=
                    WEIR_EFORKED;
            code |= (workers == 0 && weir_turn(runtime, 1, 0) != WEIR_EFORKED) << 1;
            code |= (weir_block_on(runtime, &yielder.future, sizeof(yielder)) != WEIR_EFORKED) << 2;
            weir_runtime_destroy(runtime);
            code |= (atomic_load(&counting.live_blocks) != 0) << 3;
            code |= (atomic_load(&counting.live_guards) != 0) << 4;
            _exit(code);
        }
        int status = 0;
        while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
        }
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
        yielder_spawn(runtime, &yielder); // the parent's goes on
        test_wait_for(runtime, &done, 2);
        weir_runtime_destroy(runtime);
        counting_os_check_empty(&counting);
    }
}

// A poller that fails must neither stop the tasks nor make the workers spin.
static void test_poller_broken(void **state)
{
    (void)state;
    struct counting_os counting;
    counting_os_init(&counting);
    struct weir_runtime *runtime = test_runtime_create(2, &counting.os);
    atomic_store(&counting.poller_wait_error, -EBADF);
    _Atomic uint64_t done = 0;
    for (uint64_t i = 1; i <= 20; i++) {
        struct yielder yielder = yielder_make(100, NULL, &done, NULL);
        yielder_spawn(runtime, &yielder);
        test_wait_for(runtime, &done, i);
    }
    uint64_t before = atomic_load(&counting.poller_waits);
    test_pause_us(200000);
    assert_true(atomic_load(&counting.poller_waits) - before < 1000);
    weir_runtime_destroy(runtime);
}

static void test_idle_workers_sleep(void **state)
{
    (void)state;
    struct counting_os counting;
    counting_os_init(&counting);
    struct weir_runtime *runtime = test_runtime_create(8, &counting.os);
    _Atomic uint64_t done = 0;
    for (uint64_t i = 1; i <= 10; i++) {
        struct yielder yielder = yielder_make(1, NULL, &done, NULL);
        yielder_spawn(runtime, &yielder);
        test_wait_for(runtime, &done, i);
    }
    test_pause_us(50000);
    uint64_t before = atomic_load(&counting.poller_waits) + atomic_load(&counting.futex_waits);
    test_pause_us(100000);
    uint64_t after = atomic_load(&counting.poller_waits) + atomic_load(&counting.futex_waits);
    assert_true(after - before < 20);
    struct weir_runtime_stats stats;
    weir_runtime_stats(runtime, &stats);
    assert_true(stats.parks >= 8);
    assert_int_equal(atomic_load(&runtime->searching), 0);
    assert_int_equal(atomic_load(&runtime->parked), 0xff);
    weir_runtime_destroy(runtime);
}

// A worker that is being claimed may wake by itself, find the task and stop searching before the
// claimer has counted it. Here the claimer is very slow.
static void test_claimed_before_counted(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < 50; round++) {
        struct weir_runtime *runtime = test_runtime_create(2, NULL);
        while (atomic_load(&runtime->parked) != 3 || atomic_load(&runtime->searching) != 0) {
            test_pause_us(10);
        }
        atomic_fetch_and(&runtime->parked, ~(uint64_t)3); // both are claimed,
        _Atomic uint64_t done = 0;
        struct yielder yielder = yielder_make(3, NULL, &done, NULL);
        yielder_spawn(runtime, &yielder);
        weir_idle_wake_all(runtime);                   // wake,
        test_wait_for(runtime, &done, 1);
        atomic_fetch_add(&runtime->searching, 2);         // and are counted
        for (int i = 0; i < 3; i++) {
            yielder_spawn(runtime, &yielder);
            test_wait_for(runtime, &done, (uint64_t)i + 2);
        }
        while (atomic_load(&runtime->parked) != 3 || atomic_load(&runtime->searching) != 0) {
            test_pause_us(10);
        }
        weir_runtime_destroy(runtime);
    }
}

static void test_spawn_alloc_fails(void **state)
{
    (void)state;
    struct counting_os counting;
    counting_os_init(&counting);
    struct weir_runtime *runtime = test_runtime_create(0, &counting.os);
    atomic_store(&counting.alloc_fail_at, atomic_load(&counting.allocs) + 1);
    _Atomic uint64_t done = 0;
    struct yielder yielder = yielder_make(1, NULL, &done, NULL);
    struct weir_handle handle = {NULL, 0};
    assert_int_equal(weir_runtime_spawn(runtime, &yielder.future, sizeof(yielder), 0, &handle),
                     WEIR_EMEMORY);
    assert_null(handle.task);
    yielder_spawn(runtime, &yielder);
    test_turn_all(runtime);
    assert_int_equal(done, 1);
    weir_runtime_destroy(runtime);
    counting_os_check_empty(&counting);
}

static void test_sleeping_many(void **state)
{
    (void)state;
    struct counting_os counting;
    counting_os_init(&counting);
    struct weir_runtime *runtime = test_runtime_create(2, &counting.os);
    _Atomic uint64_t done = 0;
    uint64_t tasks = test_times(100000);
    uint64_t random = test_seed();
    for (uint64_t i = 0; i < tasks; i++) {
        napper_spawn(runtime, 300000000 + test_random(&random) % 700000000, &done);
    }
    test_wait_for(runtime, &done, tasks);
    assert_true(atomic_load(&counting.live_bytes) < (int64_t)tasks * 280 + 2000000);
    struct weir_runtime_stats stats;
    weir_runtime_stats(runtime, &stats);
    assert_int_equal(stats.timers_fired, tasks);
    weir_runtime_destroy(runtime);
    counting_os_check_empty(&counting);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create_destroy),
        cmocka_unit_test(test_create_refuses),
        cmocka_unit_test(test_create_destroy_many),
        cmocka_unit_test(test_create_alloc_fails),
        cmocka_unit_test(test_create_os_fails),
        cmocka_unit_test(test_spawn_outside),
        cmocka_unit_test(test_spawn_inside),
        cmocka_unit_test(test_spawn_many_threads),
        cmocka_unit_test(test_wake_storm),
        cmocka_unit_test(test_wake_one_by_one),
        cmocka_unit_test(test_wake_in_signal_handler),
        cmocka_unit_test(test_wake_stale),
        cmocka_unit_test(test_ring),
        cmocka_unit_test(test_yield_is_fair),
        cmocka_unit_test(test_yielders_starve_nobody),
        cmocka_unit_test(test_long_turn_sees_timers_and_mailbox),
        cmocka_unit_test(test_lifo_starves_nobody),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_pinned_stays),
        cmocka_unit_test(test_stealing_happens),
        cmocka_unit_test(test_timers_fired_together_are_shared),
        cmocka_unit_test(test_lone_yielder_wakes_nobody),
        cmocka_unit_test(test_destroy_with_pending),
        cmocka_unit_test(test_wake_during_shutdown),
        cmocka_unit_test(test_racy_shutdown),
        cmocka_unit_test(test_backend_fd_idle),
        cmocka_unit_test(test_backend_fd_before_first_turn),
        cmocka_unit_test(test_backend_without_a_timer),
        cmocka_unit_test(test_backend_refused_with_workers),
        cmocka_unit_test(test_turn_bounds),
        cmocka_unit_test(test_turn_waits),
        cmocka_unit_test(test_backend_fd_in_host_loop),
        cmocka_unit_test(test_turn_inside_poll_aborts),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_poller_broken),
        cmocka_unit_test(test_idle_workers_sleep),
        cmocka_unit_test(test_claimed_before_counted),
        cmocka_unit_test(test_spawn_alloc_fails),
        cmocka_unit_test(test_sleeping_many),
    };
    return cmocka_run_group_tests_name("runtime", tests, NULL, NULL);
}
