// Tests the reactor against a scripted poller: its table, readiness, wakers and stale events.
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "runtime/reactor.h"
#include "runtime/runtime.h"

// ---- A poller that reports what the test puts in ----

struct script {
    struct weir_os real;
    uint64_t tokens[WEIR_SOURCES_MAX]; // by descriptor
    struct weir_os_event events[2 * WEIR_EVENTS_MAX];
    int events_count;
    int wait_result; // negative: instead of events
    int add_result, open_result;
    uint64_t deadline_ns; // of the last wait
    uint32_t adds, removes, wakes, waits, closes;
    int allocs_left; // -1: no limit
    int allocs, releases;
};

static int script_open(void *self, struct weir_poller *poller)
{
    struct script *script = self;
    *poller = (struct weir_poller){.fd = -1, .wake_fd = -1, .timer_fd = -1};
    return script->open_result;
}

static void script_close(void *self, struct weir_poller *poller)
{
    (void)poller;
    ((struct script *)self)->closes++;
}

static int script_add(void *self, const struct weir_poller *poller, int fd, uint64_t token)
{
    struct script *script = self;
    (void)poller;
    assert_true(token != WEIR_TOKEN_INTERNAL);
    if (script->add_result == 0) {
        script->tokens[fd] = token;
        script->adds++;
    }
    return script->add_result;
}

static int script_remove(void *self, const struct weir_poller *poller, int fd)
{
    struct script *script = self;
    (void)poller;
    assert_true(script->tokens[fd] != 0);
    script->tokens[fd] = 0;
    script->removes++;
    return 0;
}

static int script_wait(void *self, const struct weir_poller *poller, struct weir_os_event *events,
                       uint32_t events_max, uint64_t deadline_ns)
{
    struct script *script = self;
    (void)poller;
    script->waits++;
    script->deadline_ns = deadline_ns;
    if (script->wait_result < 0) {
        return script->wait_result;
    }
    int count = script->events_count < (int)events_max ? script->events_count : (int)events_max;
    memcpy(events, script->events, (size_t)count * sizeof(events[0]));
    script->events_count -= count;
    memmove(script->events, script->events + count,
            (size_t)script->events_count * sizeof(events[0]));
    return count;
}

static void script_wake(void *self, const struct weir_poller *poller)
{
    (void)poller;
    ((struct script *)self)->wakes++;
}

static void *script_alloc(void *self, size_t bytes, size_t alignment)
{
    struct script *script = self;
    if (script->allocs_left == 0) {
        return NULL;
    }
    if (script->allocs_left > 0) {
        script->allocs_left--;
    }
    script->allocs++;
    return script->real.alloc(script->real.self, bytes, alignment);
}

static void script_release(void *self, void *memory, size_t bytes)
{
    struct script *script = self;
    script->releases++;
    script->real.release(script->real.self, memory, bytes);
}

static struct weir_os script_os(struct script *script)
{
    memset(script, 0, sizeof(*script));
    script->real = weir_os_linux();
    script->allocs_left = -1;
    struct weir_os os = script->real;
    os.self = script;
    os.alloc = script_alloc;
    os.release = script_release;
    os.poller_open = script_open;
    os.poller_close = script_close;
    os.poller_add = script_add;
    os.poller_remove = script_remove;
    os.poller_wait = script_wait;
    os.poller_wake = script_wake;
    return os;
}

static void script_event(struct script *script, uint64_t token, uint32_t ready)
{
    assert_true(script->events_count < 2 * WEIR_EVENTS_MAX);
    script->events[script->events_count++] = (struct weir_os_event){token, ready};
}

// ---- A fixture: a reactor, and a runtime whose tasks count how often they are woken ----

struct bench {
    struct script script;
    struct weir_os os;
    struct weir_reactor reactor;
    struct weir_runtime *runtime;
    struct weir_waker wakers[4];
    int polls[4];
};

struct watcher {
    struct weir_future future;
    struct bench *bench;
    int number;
};

static enum weir_poll watcher_poll(struct weir_future *future, struct weir_context *context)
{
    struct watcher *watcher = (struct watcher *)future;
    if (future->resume == WEIR_RESUME_EXIT) {
        future->resume = WEIR_RESUME_DONE;
        return WEIR_READY;
    }
    future->resume = 1;
    watcher->bench->wakers[watcher->number] = weir_context_waker(context);
    watcher->bench->polls[watcher->number]++;
    return WEIR_PENDING;
}

static void bench_turn(struct bench *bench)
{
    while (weir_turn(bench->runtime, 100, 0) > 0) {
    }
}

static int bench_open(void **state)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    assert_non_null(bench);
    bench->os = script_os(&bench->script);
    assert_int_equal(weir_reactor_init(&bench->reactor, &bench->os), 0);
    struct weir_runtime_options options = {.workers = 0};
    assert_int_equal(weir_runtime_create(&bench->runtime, &options), 0);
    for (int number = 0; number < 4; number++) {
        struct watcher watcher = {{watcher_poll, 0, 0}, bench, number};
        assert_int_equal(
            weir_runtime_spawn(bench->runtime, &watcher.future, sizeof(watcher), 0, NULL), 0);
    }
    bench_turn(bench);
    for (int number = 0; number < 4; number++) {
        assert_int_equal(bench->polls[number], 1);
        bench->polls[number] = 0;
    }
    *state = bench;
    return 0;
}

static int bench_close(void **state)
{
    struct bench *bench = *state;
    weir_runtime_destroy(bench->runtime);
    weir_reactor_deinit(&bench->reactor);
    assert_int_equal(bench->script.closes, 1);
    assert_int_equal(bench->script.allocs, bench->script.releases);
    weir_reactor_deinit(&bench->reactor); // harmless
    assert_int_equal(bench->script.closes, 1);
    free(bench);
    return 0;
}

static int bench_poll(struct bench *bench)
{
    int count = weir_reactor_poll(&bench->reactor, &bench->runtime->workers[0], 0);
    bench_turn(bench);
    return count;
}

static void bench_add(struct bench *bench, int fd, uint32_t *source, uint32_t *generation)
{
    assert_int_equal(weir_reactor_add(&bench->reactor, fd, source, generation), 0);
    assert_true(bench->script.tokens[fd] == ((uint64_t)*generation << 32 | *source));
}

static bool bench_ready(struct bench *bench, uint32_t source, uint32_t generation,
                        enum weir_readiness direction, int number, uint32_t *tick)
{
    struct weir_waker waker = number < 0 ? (struct weir_waker){0} : bench->wakers[number];
    return weir_reactor_ready(&bench->reactor, source, generation, direction, waker, tick);
}

// ---- The table ----

static void test_table_reuses_with_new_generation(void **state)
{
    struct bench *bench = *state;
    uint32_t first, first_generation, second, second_generation, third, third_generation;
    assert_false(weir_reactor_watching(&bench->reactor));
    bench_add(bench, 3, &first, &first_generation);
    bench_add(bench, 4, &second, &second_generation);
    assert_true(weir_reactor_watching(&bench->reactor));
    assert_int_not_equal(first, second);
    assert_int_not_equal(first_generation, 0);
    weir_reactor_remove(&bench->reactor, first, first_generation);
    bench_add(bench, 3, &third, &third_generation);
    assert_int_equal(third, first);
    assert_int_not_equal(third_generation, first_generation);
    weir_reactor_remove(&bench->reactor, third, third_generation);
    weir_reactor_remove(&bench->reactor, second, second_generation);
    assert_false(weir_reactor_watching(&bench->reactor));
    assert_int_equal(bench->script.adds, bench->script.removes);
}

static void test_generation_skips_zero(void **state)
{
    struct bench *bench = *state;
    uint32_t source, generation;
    bench_add(bench, 3, &source, &generation);
    struct weir_source *entry = &atomic_load(&bench->reactor.chunks[0])[source];
    entry->generation = UINT32_MAX;
    weir_reactor_remove(&bench->reactor, source, UINT32_MAX);
    bench_add(bench, 3, &source, &generation);
    assert_int_equal(generation, 1);
    weir_reactor_remove(&bench->reactor, source, generation);
}

static void test_table_full(void **state)
{
    struct bench *bench = *state;
    uint32_t *generations = calloc(WEIR_SOURCES_MAX, sizeof(*generations));
    assert_non_null(generations);
    uint32_t source, generation;
    for (uint32_t index = 0; index < WEIR_SOURCES_MAX; index++) {
        assert_int_equal(weir_reactor_add(&bench->reactor, (int)index, &source, &generation), 0);
        assert_int_equal(source, index); // each index once, over all chunks
        generations[index] = generation;
    }
    assert_int_equal(bench->script.allocs, WEIR_SOURCE_CHUNKS);
    assert_int_equal(weir_reactor_add(&bench->reactor, 5, &source, &generation), WEIR_ELIMIT);
    weir_reactor_remove(&bench->reactor, 777, generations[777]);
    bench_add(bench, 777, &source, &generation);
    assert_int_equal(source, 777);
    assert_int_equal(bench->script.allocs, WEIR_SOURCE_CHUNKS);

    // Neighbours across the chunk borders do not share memory.
    uint32_t tick;
    const uint32_t borders[] = {0, 63, 64, 127, 128, 255, 256, 32767, 32768, 65535};
    for (size_t i = 0; i < sizeof(borders) / sizeof(borders[0]); i++) {
        script_event(&bench->script, bench->script.tokens[borders[i]], WEIR_READABLE);
        assert_int_equal(bench_poll(bench), 1);
    }
    uint32_t ready_count = 0;
    for (uint32_t index = 0; index < WEIR_SOURCES_MAX; index++) {
        uint32_t current = (uint32_t)(bench->script.tokens[index] >> 32);
        ready_count += bench_ready(bench, index, current, WEIR_READABLE, -1, &tick) ? 1 : 0;
        assert_false(bench_ready(bench, index, current, WEIR_WRITABLE, -1, &tick));
    }
    assert_int_equal(ready_count, sizeof(borders) / sizeof(borders[0]));
    free(generations);
}

static void test_no_memory(void **state)
{
    struct bench *bench = *state;
    uint32_t source, generation;
    bench->script.allocs_left = 0;
    assert_int_equal(weir_reactor_add(&bench->reactor, 3, &source, &generation), WEIR_EMEMORY);
    assert_false(weir_reactor_watching(&bench->reactor));
    bench->script.allocs_left = 1;
    for (int fd = 0; fd < WEIR_SOURCES_FIRST; fd++) {
        bench_add(bench, fd, &source, &generation);
    }
    assert_int_equal(weir_reactor_add(&bench->reactor, 99, &source, &generation), WEIR_EMEMORY);
    bench->script.allocs_left = -1;
    bench_add(bench, 99, &source, &generation);
    assert_int_equal(source, WEIR_SOURCES_FIRST);
}

static void test_poller_refuses(void **state)
{
    struct bench *bench = *state;
    uint32_t source = 17, generation = 18;
    bench->script.add_result = -ENOSPC;
    assert_int_equal(weir_reactor_add(&bench->reactor, 3, &source, &generation), -ENOSPC);
    assert_int_equal(source, 17); // untouched
    assert_false(weir_reactor_watching(&bench->reactor));
    bench->script.add_result = 0;
    bench_add(bench, 3, &source, &generation);
    assert_int_equal(source, 0);
    assert_int_equal(generation, 2); // the refused one was a life of its own
}

static void test_open_fails(void **state)
{
    (void)state;
    struct script *script = calloc(1, sizeof(*script));
    assert_non_null(script);
    struct weir_os os = script_os(script);
    struct weir_reactor reactor;
    script->open_result = -EMFILE;
    assert_int_equal(weir_reactor_init(&reactor, &os), -EMFILE);
    weir_reactor_deinit(&reactor);
    assert_int_equal(script->closes, 0);
    free(script);
}

// ---- Readiness ----

static void test_events_make_directions_ready(void **state)
{
    struct bench *bench = *state;
    const struct {
        uint32_t event;
        bool reads, writes;
    } cases[] = {
        {WEIR_READABLE, true, false},
        {WEIR_WRITABLE, false, true},
        {WEIR_READABLE | WEIR_WRITABLE, true, true},
        {WEIR_PEER_CLOSED, true, false},
        {WEIR_HANGUP, true, true},
        {WEIR_FAULT, true, true},
        {0, false, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint32_t source, generation, tick;
        memset(bench->polls, 0, sizeof(bench->polls));
        bench_add(bench, 9, &source, &generation);
        assert_false(bench_ready(bench, source, generation, WEIR_READABLE, 0, &tick));
        assert_false(bench_ready(bench, source, generation, WEIR_WRITABLE, 1, &tick));
        script_event(&bench->script, bench->script.tokens[9], cases[i].event);
        assert_int_equal(bench_poll(bench), 1);
        assert_int_equal(bench->polls[0], cases[i].reads);
        assert_int_equal(bench->polls[1], cases[i].writes);
        assert_int_equal(bench_ready(bench, source, generation, WEIR_READABLE, 0, &tick),
                         cases[i].reads);
        assert_int_equal(bench_ready(bench, source, generation, WEIR_WRITABLE, 1, &tick),
                         cases[i].writes);
        weir_reactor_remove(&bench->reactor, source, generation);
    }
}

static void test_clear_loses_no_edge(void **state)
{
    struct bench *bench = *state;
    uint32_t source, generation, tick, newer;
    bench_add(bench, 9, &source, &generation);
    script_event(&bench->script, bench->script.tokens[9], WEIR_READABLE);
    (void)bench_poll(bench);
    assert_true(bench_ready(bench, source, generation, WEIR_READABLE, 0, &tick));
    // The system call says -EAGAIN here, and now an event comes before the clear.
    script_event(&bench->script, bench->script.tokens[9], WEIR_READABLE);
    (void)bench_poll(bench);
    weir_reactor_clear(&bench->reactor, source, generation, WEIR_READABLE, tick);
    assert_true(bench_ready(bench, source, generation, WEIR_READABLE, 0, &newer));
    assert_int_not_equal(newer, tick);
    // Without one in between it does forget, and only this direction.
    script_event(&bench->script, bench->script.tokens[9], WEIR_WRITABLE);
    (void)bench_poll(bench);
    weir_reactor_clear(&bench->reactor, source, generation, WEIR_READABLE, newer);
    assert_false(bench_ready(bench, source, generation, WEIR_READABLE, 0, &tick));
    assert_true(bench_ready(bench, source, generation, WEIR_WRITABLE, 0, &tick));
}

static void test_waker_is_used_once(void **state)
{
    struct bench *bench = *state;
    uint32_t source, generation, tick;
    bench_add(bench, 9, &source, &generation);
    assert_false(bench_ready(bench, source, generation, WEIR_READABLE, 0, &tick));
    for (int i = 0; i < 3; i++) {
        script_event(&bench->script, bench->script.tokens[9], WEIR_READABLE);
        assert_int_equal(bench_poll(bench), 1);
    }
    assert_int_equal(bench->polls[0], 1);
    // Ready: nobody is registered, so that the next event wakes nobody.
    assert_true(bench_ready(bench, source, generation, WEIR_READABLE, 0, &tick));
    script_event(&bench->script, bench->script.tokens[9], WEIR_READABLE);
    (void)bench_poll(bench);
    assert_int_equal(bench->polls[0], 1);
}

static void test_waker_is_replaced(void **state)
{
    struct bench *bench = *state;
    uint32_t source, generation, tick;
    bench_add(bench, 9, &source, &generation);
    assert_false(bench_ready(bench, source, generation, WEIR_READABLE, 0, &tick));
    assert_false(bench_ready(bench, source, generation, WEIR_READABLE, 1, &tick));
    script_event(&bench->script, bench->script.tokens[9], WEIR_READABLE);
    (void)bench_poll(bench);
    assert_int_equal(bench->polls[0], 0);
    assert_int_equal(bench->polls[1], 1);
}

static void test_forget_takes_only_its_own(void **state)
{
    struct bench *bench = *state;
    uint32_t source, generation, tick;
    bench_add(bench, 9, &source, &generation);
    assert_false(bench_ready(bench, source, generation, WEIR_READABLE, 0, &tick));
    weir_reactor_forget(&bench->reactor, source, generation, WEIR_READABLE, bench->wakers[1]);
    weir_reactor_forget(&bench->reactor, source, generation, WEIR_WRITABLE, bench->wakers[0]);
    weir_reactor_forget(&bench->reactor, source, generation + 1, WEIR_READABLE, bench->wakers[0]);
    script_event(&bench->script, bench->script.tokens[9], WEIR_READABLE);
    (void)bench_poll(bench);
    assert_int_equal(bench->polls[0], 1);

    uint32_t again;
    assert_true(bench_ready(bench, source, generation, WEIR_READABLE, 0, &again));
    weir_reactor_clear(&bench->reactor, source, generation, WEIR_READABLE, again);
    assert_false(bench_ready(bench, source, generation, WEIR_READABLE, 0, &tick));
    weir_reactor_forget(&bench->reactor, source, generation, WEIR_READABLE, bench->wakers[0]);
    script_event(&bench->script, bench->script.tokens[9], WEIR_READABLE);
    (void)bench_poll(bench);
    assert_int_equal(bench->polls[0], 1);                                         // nobody was told
    assert_true(bench_ready(bench, source, generation, WEIR_READABLE, 0, &tick)); // but it is kept
}

static void test_one_task_both_directions(void **state)
{
    struct bench *bench = *state;
    uint32_t source, generation, tick;
    bench_add(bench, 9, &source, &generation);
    assert_false(bench_ready(bench, source, generation, WEIR_READABLE, 2, &tick));
    assert_false(bench_ready(bench, source, generation, WEIR_WRITABLE, 2, &tick));
    script_event(&bench->script, bench->script.tokens[9], WEIR_HANGUP);
    (void)bench_poll(bench);
    assert_int_equal(bench->polls[2], 1);
}

static void test_stale_is_ignored(void **state)
{
    struct bench *bench = *state;
    uint32_t source, generation, reused, tick, next;
    bench_add(bench, 9, &source, &generation);
    uint64_t old_token = bench->script.tokens[9];
    assert_false(bench_ready(bench, source, generation, WEIR_READABLE, 0, &tick));
    weir_reactor_remove(&bench->reactor, source, generation);
    // Between two lives.
    script_event(&bench->script, old_token, WEIR_READABLE | WEIR_WRITABLE);
    assert_int_equal(bench_poll(bench), 1);
    assert_int_equal(bench->polls[0], 0);
    // In the next one.
    bench_add(bench, 10, &reused, &next);
    assert_int_equal(reused, source);
    assert_false(bench_ready(bench, reused, next, WEIR_READABLE, 1, &tick));
    script_event(&bench->script, old_token, WEIR_READABLE | WEIR_HANGUP);
    assert_int_equal(bench_poll(bench), 1);
    assert_int_equal(bench->polls[1], 0);
    assert_false(bench_ready(bench, reused, next, WEIR_READABLE, 1, &tick));
    // Calls with the old generation change nothing either, and say ready: the call will tell.
    assert_true(bench_ready(bench, source, generation, WEIR_READABLE, 0, &tick));
    script_event(&bench->script, bench->script.tokens[10], WEIR_READABLE);
    (void)bench_poll(bench);
    assert_int_equal(bench->polls[0], 0);
    assert_int_equal(bench->polls[1], 1);
    assert_true(bench_ready(bench, reused, next, WEIR_READABLE, 1, &tick));
    weir_reactor_clear(&bench->reactor, source, generation, WEIR_READABLE, tick);
    assert_true(bench_ready(bench, reused, next, WEIR_READABLE, 1, &tick));
}

// ---- Polling ----

static void test_poll_results(void **state)
{
    struct bench *bench = *state;
    struct weir_worker *worker = &bench->runtime->workers[0];
    assert_int_equal(weir_reactor_poll(&bench->reactor, worker, 12345), 0);
    assert_true(bench->script.deadline_ns == 12345);
    assert_int_equal(weir_reactor_poll(&bench->reactor, worker, WEIR_NEVER), 0);
    assert_true(bench->script.deadline_ns == WEIR_NEVER);
    bench->script.wait_result = -EINTR;
    assert_int_equal(weir_reactor_poll(&bench->reactor, worker, 0), 0);
    bench->script.wait_result = -EBADF;
    assert_int_equal(weir_reactor_poll(&bench->reactor, worker, 0), -EBADF);
    assert_int_equal(bench->script.waits, 4); // none is tried again in here
    weir_reactor_wake(&bench->reactor);
    assert_int_equal(bench->script.wakes, 1);
}

static void test_poll_in_batches(void **state)
{
    struct bench *bench = *state;
    uint32_t sources[WEIR_EVENTS_MAX + 10], generations[WEIR_EVENTS_MAX + 10], tick;
    for (int fd = 0; fd < WEIR_EVENTS_MAX + 10; fd++) {
        bench_add(bench, fd, &sources[fd], &generations[fd]);
        script_event(&bench->script, bench->script.tokens[fd], WEIR_WRITABLE);
    }
    assert_int_equal(bench_poll(bench), WEIR_EVENTS_MAX);
    assert_int_equal(bench_poll(bench), 10);
    for (int fd = 0; fd < WEIR_EVENTS_MAX + 10; fd++) {
        assert_true(bench_ready(bench, sources[fd], generations[fd], WEIR_WRITABLE, -1, &tick));
    }
}

// ---- Threads ----

// Consumers of sources whose "sockets" are counters: they add and remove their source again and
// again while one thread polls and reports, stale tokens included. Every unit that was produced
// must be consumed, which hangs for good when one edge is lost.
#define STRESS_CONSUMERS 3
#define STRESS_UNITS 20000

struct stress {
    struct script script; // first: script_open and script_close are used as well
    struct weir_os os;
    struct weir_reactor reactor;
    _Atomic uint64_t tokens[STRESS_CONSUMERS]; // by consumer; 0: not watched
    _Atomic uint64_t stale[STRESS_CONSUMERS];
    _Atomic int pending[STRESS_CONSUMERS];
    _Atomic int consumers_left;
};

struct consumer {
    struct stress *stress;
    int number;
    int consumed;
    bool failed;
};

static int stress_add(void *self, const struct weir_poller *poller, int fd, uint64_t token)
{
    struct stress *stress = self;
    (void)poller;
    atomic_store(&stress->tokens[fd], token);
    return 0;
}

static int stress_remove(void *self, const struct weir_poller *poller, int fd)
{
    struct stress *stress = self;
    (void)poller;
    atomic_store(&stress->stale[fd], atomic_exchange(&stress->tokens[fd], 0));
    return 0;
}

static int stress_wait(void *self, const struct weir_poller *poller, struct weir_os_event *events,
                       uint32_t events_max, uint64_t deadline_ns)
{
    struct stress *stress = self;
    (void)poller;
    (void)deadline_ns;
    assert_true(events_max >= 2 * STRESS_CONSUMERS);
    int count = 0;
    for (int number = 0; number < STRESS_CONSUMERS; number++) {
        uint64_t stale = atomic_load(&stress->stale[number]);
        if (stale != 0) {
            events[count++] = (struct weir_os_event){stale, WEIR_READABLE | WEIR_WRITABLE};
        }
        // One unit at a time, reported once: an edge that is lost is never made good.
        int none = 0;
        if (!atomic_compare_exchange_strong(&stress->pending[number], &none, 1)) {
            continue;
        }
        // Produced before the look at the token: if it was not watched yet, the first look of the
        // new life, which is made after adding, finds it.
        uint64_t token = atomic_load(&stress->tokens[number]);
        if (token != 0) {
            events[count++] = (struct weir_os_event){token, WEIR_READABLE};
        }
    }
    return count;
}

static void *consumer_main(void *argument)
{
    struct consumer *consumer = argument;
    struct stress *stress = consumer->stress;
    uint32_t source = 0, generation = 0, tick = 0;
    time_t progress = time(NULL);
    bool watched = false;
    while (consumer->consumed < STRESS_UNITS && !consumer->failed) {
        if (!watched) {
            consumer->failed =
                weir_reactor_add(&stress->reactor, consumer->number, &source, &generation) != 0;
            watched = true;
            consumer->consumed += atomic_exchange(&stress->pending[consumer->number], 0);
            continue;
        }
        if (!weir_reactor_ready(&stress->reactor, source, generation, WEIR_READABLE,
                                (struct weir_waker){0}, &tick)) {
            consumer->failed = time(NULL) - progress > 20;
            sched_yield();
            continue;
        }
        int units = atomic_exchange(&stress->pending[consumer->number], 0);
        consumer->consumed += units;
        progress = units > 0 ? time(NULL) : progress;
        if (units == 0) {
            weir_reactor_clear(&stress->reactor, source, generation, WEIR_READABLE, tick);
        } else if (consumer->consumed % 7 == 0) {
            weir_reactor_remove(&stress->reactor, source, generation);
            watched = false;
        }
    }
    if (watched) {
        weir_reactor_remove(&stress->reactor, source, generation);
    }
    atomic_fetch_sub(&stress->consumers_left, 1);
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct stress *stress = calloc(1, sizeof(*stress));
    assert_non_null(stress);
    struct weir_os os = script_os(&stress->script);
    stress->os = weir_os_linux();
    stress->os.self = stress;
    stress->os.poller_open = os.poller_open;
    stress->os.poller_add = stress_add;
    stress->os.poller_remove = stress_remove;
    stress->os.poller_wait = stress_wait;
    stress->os.poller_close = os.poller_close;
    // script_open and script_close find their struct at the start of this one.
    assert_int_equal(weir_reactor_init(&stress->reactor, &stress->os), 0);
    atomic_store(&stress->consumers_left, STRESS_CONSUMERS);
    struct consumer consumers[STRESS_CONSUMERS];
    pthread_t threads[STRESS_CONSUMERS];
    for (int number = 0; number < STRESS_CONSUMERS; number++) {
        consumers[number] = (struct consumer){.stress = stress, .number = number};
        assert_int_equal(pthread_create(&threads[number], NULL, consumer_main, &consumers[number]),
                         0);
    }
    while (atomic_load(&stress->consumers_left) > 0) {
        assert_true(weir_reactor_poll(&stress->reactor, NULL, 0) >= 0);
        sched_yield();
    }
    for (int number = 0; number < STRESS_CONSUMERS; number++) {
        pthread_join(threads[number], NULL);
        assert_false(consumers[number].failed);
        assert_true(consumers[number].consumed >= STRESS_UNITS);
    }
    assert_false(weir_reactor_watching(&stress->reactor));
    weir_reactor_deinit(&stress->reactor);
    free(stress);
}

#define BENCH(test) cmocka_unit_test_setup_teardown(test, bench_open, bench_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BENCH(test_table_reuses_with_new_generation),
        BENCH(test_generation_skips_zero),
        BENCH(test_table_full),
        BENCH(test_no_memory),
        BENCH(test_poller_refuses),
        cmocka_unit_test(test_open_fails),
        BENCH(test_events_make_directions_ready),
        BENCH(test_clear_loses_no_edge),
        BENCH(test_waker_is_used_once),
        BENCH(test_waker_is_replaced),
        BENCH(test_forget_takes_only_its_own),
        BENCH(test_one_task_both_directions),
        BENCH(test_stale_is_ignored),
        BENCH(test_poll_results),
        BENCH(test_poll_in_batches),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests_name("reactor", tests, NULL, NULL);
}
