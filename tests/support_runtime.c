// Helpers shared by the runtime's test suites.
#include "tests/support_runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WAIT_MAX_NS (120 * UINT64_C(1000000000))

// ---- The counting os ----

static void *counting_alloc(void *self, size_t bytes, size_t alignment)
{
    struct counting_os *counting = self;
    if (atomic_fetch_add(&counting->allocs, 1) + 1 == atomic_load(&counting->alloc_fail_at)) {
        return NULL;
    }
    void *memory = counting->real.alloc(counting->real.self, bytes, alignment);
    if (memory != NULL) {
        atomic_fetch_add(&counting->live_blocks, 1);
        atomic_fetch_add(&counting->live_bytes, (int64_t)bytes);
    }
    return memory;
}

static void counting_release(void *self, void *memory, size_t bytes)
{
    struct counting_os *counting = self;
    atomic_fetch_sub(&counting->live_blocks, 1);
    atomic_fetch_sub(&counting->live_bytes, (int64_t)bytes);
    counting->real.release(counting->real.self, memory, bytes);
}

static int counting_thread_start(void *self, uint64_t *thread, void (*entry)(void *),
                                 void *argument)
{
    struct counting_os *counting = self;
    uint64_t number = atomic_fetch_add(&counting->thread_starts, 1) + 1;
    if (number == atomic_load(&counting->thread_fail_at)) {
        return -EAGAIN;
    }
    int error = counting->real.thread_start(counting->real.self, thread, entry, argument);
    if (error == 0) {
        atomic_fetch_add(&counting->live_threads, 1);
    }
    return error;
}

static int counting_thread_join(void *self, uint64_t thread)
{
    struct counting_os *counting = self;
    atomic_fetch_sub(&counting->live_threads, 1);
    return counting->real.thread_join(counting->real.self, thread);
}

static int counting_thread_detach(void *self, uint64_t thread)
{
    struct counting_os *counting = self;
    atomic_fetch_sub(&counting->live_threads, 1);
    return counting->real.thread_detach(counting->real.self, thread);
}

static int counting_guard_open(void *self, _Atomic uint32_t **word)
{
    struct counting_os *counting = self;
    if (atomic_load(&counting->guard_open_fails) != 0) {
        return -ENOMEM;
    }
    atomic_fetch_add(&counting->live_guards, 1);
    return counting->real.fork_guard_open(counting->real.self, word);
}

static void counting_guard_close(void *self, _Atomic uint32_t *word)
{
    struct counting_os *counting = self;
    atomic_fetch_sub(&counting->live_guards, 1);
    counting->real.fork_guard_close(counting->real.self, word);
}

static int counting_poller_open(void *self, struct weir_poller *poller)
{
    struct counting_os *counting = self;
    if (atomic_load(&counting->poller_open_fails) != 0) {
        return -EMFILE;
    }
    atomic_fetch_add(&counting->live_pollers, 1);
    return counting->real.poller_open(counting->real.self, poller);
}

static void counting_poller_close(void *self, struct weir_poller *poller)
{
    struct counting_os *counting = self;
    atomic_fetch_sub(&counting->live_pollers, 1);
    counting->real.poller_close(counting->real.self, poller);
}

static int counting_poller_wait(void *self, const struct weir_poller *poller,
                                struct weir_os_event *events, uint32_t events_max,
                                uint64_t deadline_ns)
{
    struct counting_os *counting = self;
    atomic_fetch_add(&counting->poller_waits, 1);
    int error = atomic_load(&counting->poller_wait_error);
    if (error < 0) {
        return error;
    }
    return counting->real.poller_wait(counting->real.self, poller, events, events_max,
                                      deadline_ns);
}

static void counting_poller_wake(void *self, const struct weir_poller *poller)
{
    struct counting_os *counting = self;
    atomic_fetch_add(&counting->poller_wakes, 1);
    counting->real.poller_wake(counting->real.self, poller);
}

static int counting_futex_wait(void *self, const _Atomic uint32_t *word, uint32_t expected,
                               uint64_t deadline_ns)
{
    struct counting_os *counting = self;
    atomic_fetch_add(&counting->futex_waits, 1);
    return counting->real.futex_wait(counting->real.self, word, expected, deadline_ns);
}

static void counting_futex_wake(void *self, const _Atomic uint32_t *word, uint32_t waiters_max)
{
    struct counting_os *counting = self;
    atomic_fetch_add(&counting->futex_wakes, 1);
    counting->real.futex_wake(counting->real.self, word, waiters_max);
}

// The functions that are not wrapped take the real `self`, which this os must not replace.
void counting_os_init(struct counting_os *counting)
{
    *counting = (struct counting_os){.real = weir_os_linux()};
    counting->os = counting->real;
    counting->os.self = counting;
    counting->os.alloc = counting_alloc;
    counting->os.release = counting_release;
    counting->os.thread_start = counting_thread_start;
    counting->os.thread_join = counting_thread_join;
    counting->os.thread_detach = counting_thread_detach;
    counting->os.fork_guard_open = counting_guard_open;
    counting->os.fork_guard_close = counting_guard_close;
    counting->os.poller_open = counting_poller_open;
    counting->os.poller_close = counting_poller_close;
    counting->os.poller_wait = counting_poller_wait;
    counting->os.poller_wake = counting_poller_wake;
    counting->os.futex_wait = counting_futex_wait;
    counting->os.futex_wake = counting_futex_wake;
}

void counting_os_check_empty(struct counting_os *counting)
{
    assert_int_equal(atomic_load(&counting->live_blocks), 0);
    assert_int_equal(atomic_load(&counting->live_bytes), 0);
    assert_int_equal(atomic_load(&counting->live_threads), 0);
    assert_int_equal(atomic_load(&counting->live_pollers), 0);
    assert_int_equal(atomic_load(&counting->live_guards), 0);
}

// ---- Runtimes ----

struct weir_runtime *test_runtime_create(uint32_t workers, const struct weir_os *os)
{
    struct weir_runtime *runtime = NULL;
    struct weir_runtime_options options = {.workers = workers, .os = os};
    assert_int_equal(weir_runtime_create(&runtime, &options), 0);
    assert_non_null(runtime);
    return runtime;
}

uint64_t test_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void test_pause_us(uint32_t microseconds)
{
    struct timespec pause = {microseconds / 1000000, (long)(microseconds % 1000000) * 1000};
    nanosleep(&pause, NULL);
}

void test_wait_for(struct weir_runtime *runtime, _Atomic uint64_t *counter, uint64_t value)
{
    uint64_t limit_ns = test_now_ns() + WAIT_MAX_NS;
    while (atomic_load(counter) < value) {
        if (runtime->threads_count == 0) {
            assert_true(weir_turn(runtime, 61, 1000000) >= 0);
        } else {
            test_pause_us(50);
        }
        if (test_now_ns() > limit_ns) {
            fail_msg("lost wake-up: counter is %llu of %llu",
                     (unsigned long long)atomic_load(counter), (unsigned long long)value);
        }
    }
}

uint32_t test_turn_all(struct weir_runtime *runtime)
{
    uint32_t total = 0;
    for (;;) {
        int polls = weir_turn(runtime, 1000, 0);
        assert_true(polls >= 0);
        if (polls == 0) {
            return total;
        }
        total += (uint32_t)polls;
    }
}

// ---- The rest ----

uint64_t test_seed(void)
{
    const char *text = getenv("WEIR_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : test_now_ns();
    printf("WEIR_SEED=%llu\n", (unsigned long long)seed);
    return seed | 1;
}

uint64_t test_random(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    *state = x;
    return x >> 11;
}

void test_expect_abort(void (*body)(void *), void *argument)
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        dup2(null, 2);
        signal(SIGABRT, SIG_DFL);
        alarm(30);
        body(argument);
        _exit(0);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT) {
        fail_msg("expected SIGABRT, got status 0x%x", (unsigned)status);
    }
}

uint64_t test_times(uint64_t count)
{
#if defined(__SANITIZE_THREAD__)
    uint64_t divisor = 8;
#elif defined(__SANITIZE_ADDRESS__)
    uint64_t divisor = 4;
#else
    uint64_t divisor = 1;
#endif
    return count / divisor > 0 ? count / divisor : 1;
}
