// Tests of the real operating system door: threads, futexes, and waits that signals interrupt.
#include "tests/support_door.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

// ---- Threads ----

struct thread_facts {
    const struct weir_os *os;
    sigset_t mask;
    uint64_t id;
    size_t stack_bytes, guard_bytes;
    _Atomic uint32_t done;
};

static void thread_look(void *argument)
{
    struct thread_facts *facts = argument;
    struct weir_os os = *facts->os; // after `done` nothing of the test's is touched any more
    pthread_sigmask(SIG_SETMASK, NULL, &facts->mask);
    facts->id = os.thread_id(os.self);
    pthread_attr_t attributes;
    if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
        pthread_attr_getstacksize(&attributes, &facts->stack_bytes);
        pthread_attr_getguardsize(&attributes, &facts->guard_bytes);
        pthread_attr_destroy(&attributes);
    }
    atomic_store(&facts->done, 1);
    os.futex_wake(os.self, &facts->done, 1);
}

static void test_thread_join(void **state)
{
    (void)state;
    struct weir_os os = weir_os_linux();
    sigset_t wanted, before, after;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGUSR2);
    pthread_sigmask(SIG_SETMASK, &wanted, &before);
    struct thread_facts facts = {.os = &os};
    uint64_t thread = 0;
    assert_int_equal(os.thread_start(os.self, &thread, thread_look, &facts), 0);
    pthread_sigmask(SIG_SETMASK, &before, &after);
    assert_int_equal(os.thread_join(os.self, thread), 0);
    for (int number = 1; number < 32; number++) { // the caller's mask is as it was
        assert_int_equal(sigismember(&after, number), number == SIGUSR2);
    }
    for (int number = 1; number < 65; number++) {
        bool fault = number == SIGILL || number == SIGFPE || number == SIGSEGV || number == SIGBUS;
        bool unblockable = number == SIGKILL || number == SIGSTOP || number == 32 || number == 33;
        if (!unblockable) {
            assert_int_equal(sigismember(&facts.mask, number), !fault);
        }
    }
    assert_int_not_equal(facts.id, os.thread_id(os.self));
    assert_int_equal(os.thread_id(os.self), os.thread_id(os.self));
    assert_true(facts.stack_bytes >= 200 * 1024 || SANITIZED);
    assert_true(facts.guard_bytes > 0 || SANITIZED);
}

static void test_thread_detach(void **state)
{
    (void)state;
    struct weir_os os = weir_os_linux();
    struct thread_facts facts = {.os = &os};
    uint64_t thread = 0;
    assert_int_equal(os.thread_start(os.self, &thread, thread_look, &facts), 0);
    assert_int_equal(os.thread_detach(os.self, thread), 0);
    while (atomic_load(&facts.done) == 0) {
        (void)os.futex_wait(os.self, &facts.done, 0, now_ns(&os) + SECOND);
    }
    assert_int_not_equal(facts.id, os.thread_id(os.self));
}

static void thread_stay(void *argument)
{
    (void)argument;
    pause();
}

// In a child, since the limit would hold for the rest of this process. Stacks of threads that have
// ended are kept by the C library: it takes some threads until a new one needs memory.
static void test_thread_start_fails(void **state)
{
    (void)state;
    if (SANITIZED) {
        skip(); // their runtimes die of the limit
    }
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct weir_os os = weir_os_linux();
        sigset_t before, after;
        pthread_sigmask(SIG_SETMASK, NULL, &before);
        struct rlimit limit = {.rlim_cur = 1 << 20, .rlim_max = 1 << 20};
        setrlimit(RLIMIT_AS, &limit);
        int result = 0;
        for (int index = 0; index < 1000 && result == 0; index++) {
            uint64_t thread = 0;
            result = os.thread_start(os.self, &thread, thread_stay, NULL);
        }
        pthread_sigmask(SIG_SETMASK, NULL, &after);
        _Atomic uint32_t *word = NULL;
        bool ok = (result == -EAGAIN || result == -ENOMEM) &&
                  sigismember(&before, SIGUSR1) == sigismember(&after, SIGUSR1) &&
                  os.alloc(os.self, 64 << 20, 64) == NULL &&
                  os.alloc(os.self, 1 << 20, (size_t)1 << 21) == NULL &&
                  os.fork_guard_open(os.self, &word) == -ENOMEM;
        _exit(ok ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

// ---- Futex ----

static void test_futex_wait_ends(void **state)
{
    (void)state;
    struct weir_os os = weir_os_linux();
    _Atomic uint32_t word = 5;
    assert_int_equal(os.futex_wait(os.self, &word, 6, WEIR_NEVER), -EAGAIN);
    uint64_t start = now_ns(&os);
    assert_int_equal(os.futex_wait(os.self, &word, 5, 0), -ETIMEDOUT);
    assert_int_equal(os.futex_wait(os.self, &word, 5, 1), -ETIMEDOUT);
    assert_true(now_ns(&os) < start + 10 * SECOND);
    uint64_t deadline = now_ns(&os) + 20 * MS;
    int result = 0;
    while (now_ns(&os) < deadline) {
        result = os.futex_wait(os.self, &word, 5, deadline);
        assert_true(result == -ETIMEDOUT || result == 0);
    }
    assert_int_equal(result, -ETIMEDOUT);
    assert_true(now_ns(&os) >= deadline);
}

static void test_futex_wake_keeps_errno(void **state)
{
    (void)state;
    struct weir_os os = weir_os_linux();
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(page, MAP_FAILED);
    munmap(page, 4096); // a word that its owner has already given back
    errno = EXDEV;
    os.futex_wake(os.self, page, 1);
    os.futex_wake(os.self, (_Atomic uint32_t *)((uintptr_t)page + 1), 1); // EINVAL
    os.futex_wake(os.self, page, UINT32_MAX);
    assert_int_equal(errno, EXDEV);
}

struct futex_pair {
    struct weir_os os;
    _Atomic uint32_t ping, pong;
};

static void futex_answer(void *argument)
{
    struct futex_pair *pair = argument;
    for (uint32_t round = 1; round <= 200; round++) {
        while (atomic_load(&pair->ping) != round) {
            (void)pair->os.futex_wait(pair->os.self, &pair->ping, round - 1, WEIR_NEVER);
        }
        atomic_store(&pair->pong, round);
        pair->os.futex_wake(pair->os.self, &pair->pong, UINT32_MAX);
    }
}

static void test_futex_between_threads(void **state)
{
    (void)state;
    struct futex_pair pair = {.os = weir_os_linux()};
    uint64_t thread = 0;
    assert_int_equal(pair.os.thread_start(pair.os.self, &thread, futex_answer, &pair), 0);
    for (uint32_t round = 1; round <= 200; round++) {
        atomic_store(&pair.ping, round);
        pair.os.futex_wake(pair.os.self, &pair.ping, 1);
        while (atomic_load(&pair.pong) != round) {
            int result = pair.os.futex_wait(pair.os.self, &pair.pong, round - 1, WEIR_NEVER);
            assert_true(result == 0 || result == -EAGAIN);
        }
    }
    assert_int_equal(pair.os.thread_join(pair.os.self, thread), 0);
}

static void handler_nothing(int number)
{
    (void)number;
}

static void signal_catch(int number, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler}; // no SA_RESTART: calls are interrupted
    assert_int_equal(sigaction(number, &action, NULL), 0);
}

static void test_waits_are_interrupted(void **state)
{
    (void)state;
    struct weir_os os = weir_os_linux();
    signal_catch(SIGALRM, handler_nothing);
    struct weir_poller poller;
    assert_int_equal(os.poller_open(os.self, &poller), 0);
    struct itimerspec soon = {.it_value.tv_nsec = 20000000, .it_interval.tv_nsec = 20000000};
    timer_t timer;
    assert_int_equal(timer_create(CLOCK_MONOTONIC, NULL, &timer), 0);
    assert_int_equal(timer_settime(timer, 0, &soon, NULL), 0);
    _Atomic uint32_t word = 0;
    struct weir_os_event event;
    assert_int_equal(os.futex_wait(os.self, &word, 0, WEIR_NEVER), -EINTR);
    assert_int_equal(os.poller_wait(os.self, &poller, &event, 1, WEIR_NEVER), 0);
    os.self = NULL;
    assert_int_equal(os.poller_wait(os.self, &poller, &event, 1, WEIR_NEVER), 0);
    timer_delete(timer);
    signal_catch(SIGALRM, SIG_DFL);
    os.poller_close(os.self, &poller);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_thread_join),
        cmocka_unit_test(test_thread_detach),
        cmocka_unit_test(test_thread_start_fails),
        cmocka_unit_test(test_futex_wait_ends),
        cmocka_unit_test(test_futex_wake_keeps_errno),
        cmocka_unit_test(test_futex_between_threads),
        cmocka_unit_test(test_waits_are_interrupted),
    };
    return cmocka_run_group_tests_name("os_linux_thread", tests, NULL, NULL);
}
