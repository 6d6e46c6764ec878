// Tests of the faulty operating system that other tests rely on: its counts, faults, leaks, clock.
#include "tests/support_os.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define MS UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)
#define CODES_MAX 16

static uint64_t seed_get(void)
{
    const char *text = getenv("WEIR_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);
    print_message("seed: WEIR_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

static struct support_os *faulty_create(struct weir_os *os)
{
    struct weir_os real = weir_os_linux();
    struct support_os *faulty = support_os_create(&real);
    *os = support_os_get(faulty);
    return faulty;
}

static int64_t send_text(const struct weir_os *os, int fd, const char *text)
{
    struct weir_iovec parts[2] = {{text, 1}, {text + 1, strlen(text) - 1}};
    return os->socket_send(os->self, fd, parts, 2);
}

static bool is_readable(int fd)
{
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    return poll(&entry, 1, 0) == 1;
}

// ---- Faults ----

static void test_table(void **state)
{
    (void)state;
    for (int row = 0; row < SUPPORT_OS_FUNCTIONS_COUNT; row++) {
        const char *name = support_os_name((enum support_os_function)row);
        const int32_t *codes = support_os_codes((enum support_os_function)row);
        assert_true(strlen(name) > 3);
        int count = 0;
        for (; codes[count] != SUPPORT_OS_END; count++) {
            assert_true(count < CODES_MAX);
            assert_true(codes[count] <= 0 || row == SUPPORT_OS_socket_error);
            for (int other = 0; other < count; other++) {
                assert_int_not_equal(codes[other], codes[count]);
            }
        }
    }
    assert_string_equal(support_os_name(SUPPORT_OS_now_ns), "now_ns");
    assert_string_equal(support_os_name(SUPPORT_OS_resolve), "resolve");
}

static void thread_none(void *argument)
{
    (void)argument;
}

// Calls one function in a way that would succeed, or fail with -EBADF, if it got through.
static int64_t call_one(const struct weir_os *os, enum support_os_function function)
{
    struct weir_address address = {.bytes_count = 0};
    struct weir_poller poller = {-1, -1, -1};
    struct weir_os_event event;
    struct weir_iovec part = {"x", 1};
    _Atomic uint32_t *guard = NULL, word = 0;
    uint64_t thread = 0;
    char byte = 0;
    switch ((int)function) {
    case SUPPORT_OS_alloc: return os->alloc(os->self, 64, 64) == NULL ? -ENOMEM : 1;
    case SUPPORT_OS_fork_guard_open: return os->fork_guard_open(os->self, &guard);
    case SUPPORT_OS_thread_start: return os->thread_start(os->self, &thread, thread_none, NULL);
    case SUPPORT_OS_futex_wait: return os->futex_wait(os->self, &word, 0, WEIR_NEVER);
    case SUPPORT_OS_poller_open: return os->poller_open(os->self, &poller);
    case SUPPORT_OS_poller_add: return os->poller_add(os->self, &poller, -1, 1);
    case SUPPORT_OS_poller_wait: return os->poller_wait(os->self, &poller, &event, 1, WEIR_NEVER);
    case SUPPORT_OS_poller_arm: return os->poller_arm(os->self, &poller, 1);
    case SUPPORT_OS_socket_open: return os->socket_open(os->self, AF_UNIX, SOCK_STREAM);
    case SUPPORT_OS_socket_bind: return os->socket_bind(os->self, -1, &address);
    case SUPPORT_OS_socket_listen: return os->socket_listen(os->self, -1, 1);
    case SUPPORT_OS_socket_accept: return os->socket_accept(os->self, -1);
    case SUPPORT_OS_socket_connect: return os->socket_connect(os->self, -1, &address);
    case SUPPORT_OS_socket_send: return os->socket_send(os->self, -1, &part, 1);
    case SUPPORT_OS_socket_recv: return os->socket_recv(os->self, -1, &byte, 1);
    case SUPPORT_OS_socket_shutdown: return os->socket_shutdown(os->self, -1, WEIR_SHUTDOWN_BOTH);
    case SUPPORT_OS_socket_close:
        return os->socket_close(os->self, os->socket_open(os->self, AF_UNIX, SOCK_STREAM));
    case SUPPORT_OS_socket_error: return os->socket_error(os->self, -1);
    case SUPPORT_OS_socket_outstanding: return os->socket_outstanding(os->self, -1);
    case SUPPORT_OS_socket_state: return os->socket_state(os->self, -1);
    case SUPPORT_OS_socket_option: return os->socket_option(os->self, -1, WEIR_SOCKET_KEEPALIVE, 1);
    case SUPPORT_OS_socket_address: return os->socket_address(os->self, -1, &address);
    case SUPPORT_OS_resolve: return os->resolve(os->self, "127.0.0.1", 1, true, &address, 1);
    default: fail_msg("%s has codes and no case here", support_os_name(function));
    }
    return 0;
}

static void test_each_function_fails_with_each_code(void **state)
{
    (void)state;
    for (int row = 0; row < SUPPORT_OS_FUNCTIONS_COUNT; row++) {
        enum support_os_function function = (enum support_os_function)row;
        const int32_t *codes = support_os_codes(function);
        for (int index = 0; codes[index] != SUPPORT_OS_END; index++) {
            struct weir_os os;
            struct support_os *faulty = faulty_create(&os);
            support_os_fail(faulty, function, 1, 1, codes[index]);
            assert_int_equal(call_one(&os, function), codes[index]);
            for (int other = 0; other < SUPPORT_OS_FUNCTIONS_COUNT; other++) {
                enum support_os_function which = (enum support_os_function)other;
                assert_int_equal(support_os_faults(faulty, which), other == row);
                bool helper = row == SUPPORT_OS_socket_close && other == SUPPORT_OS_socket_open;
                assert_int_equal(support_os_calls(faulty, which), other == row || helper);
            }
            assert_int_equal(support_os_leaks(faulty), 0);
            support_os_destroy(faulty);
        }
    }
}

static void test_rules_count_from_now(void **state)
{
    (void)state;
    struct weir_os os;
    struct support_os *faulty = faulty_create(&os);
    int expected[] = {0, 0, 1, 1, 0, 0};
    for (int again = 0; again < 2; again++) {
        support_os_fail(faulty, SUPPORT_OS_alloc, 3, 2, -ENOMEM);
        for (size_t index = 0; index < 6; index++) {
            void *memory = os.alloc(os.self, 16, 16);
            assert_int_equal(memory == NULL, expected[index]);
            os.release(os.self, memory, 16);
        }
    }
    support_os_fail(faulty, SUPPORT_OS_alloc, 2, UINT64_MAX, -ENOMEM);
    for (int index = 0; index < 10; index++) {
        void *memory = os.alloc(os.self, 16, 16);
        assert_int_equal(memory == NULL, index > 0);
        os.release(os.self, memory, 16);
    }
    support_os_heal(faulty);
    void *memory = os.alloc(os.self, 16, 16);
    assert_non_null(memory);
    os.release(os.self, memory, 16);
    assert_int_equal(support_os_calls(faulty, SUPPORT_OS_alloc), 23);
    assert_int_equal(support_os_faults(faulty, SUPPORT_OS_alloc), 13);
    assert_int_equal(support_os_leaks(faulty), 0);
    support_os_destroy(faulty);
}

static void test_short_lengths(void **state)
{
    (void)state;
    struct weir_os os;
    struct support_os *faulty = faulty_create(&os);
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    for (size_t bytes = 0; bytes < 6; bytes++) {
        support_os_short(faulty, SUPPORT_OS_socket_send, 1, 1, bytes);
        assert_int_equal(send_text(&os, fds[0], "hello"), bytes < 5 ? bytes : 5);
    }
    char text[64] = {0};
    support_os_short(faulty, SUPPORT_OS_socket_recv, 2, 1, 3);
    assert_int_equal(os.socket_recv(os.self, fds[1], text, 1), 1);
    assert_int_equal(os.socket_recv(os.self, fds[1], text + 1, 32), 3);
    assert_int_equal(os.socket_recv(os.self, fds[1], text + 4, 32), 11);
    assert_string_equal(text, "hhehelhellhello");
    close(fds[0]);
    close(fds[1]);
    support_os_destroy(faulty);
}

static uint64_t pattern_of(uint64_t seed, uint32_t per_million, uint32_t *faults)
{
    struct weir_os os;
    struct support_os *faulty = faulty_create(&os);
    uint64_t pattern = 0;
    support_os_random(faulty, SUPPORT_OS_socket_recv, seed, per_million);
    for (int index = 0; index < 10000; index++) {
        char byte = 0;
        int64_t result = os.socket_recv(os.self, -1, &byte, 1);
        pattern = pattern * 31 + (uint64_t)result;
    }
    *faults = (uint32_t)support_os_faults(faulty, SUPPORT_OS_socket_recv);
    support_os_destroy(faulty);
    return pattern;
}

static void test_random_faults_repeat(void **state)
{
    (void)state;
    uint64_t seed = seed_get();
    uint32_t first = 0, second = 0, other = 0, none = 0, all = 0;
    uint64_t pattern = pattern_of(seed, 100000, &first);
    assert_int_equal(pattern, pattern_of(seed, 100000, &second));
    assert_int_not_equal(pattern, pattern_of(seed + 1, 100000, &other));
    assert_int_equal(first, second);
    assert_in_range(first, 700, 1300); // 1000 expected, 10 standard deviations either way
    (void)pattern_of(seed, 0, &none);
    (void)pattern_of(seed, 1000000, &all);
    assert_int_equal(none, 0);
    assert_int_equal(all, 10000);
}

static void test_an_edge_follows_again(void **state)
{
    (void)state;
    struct weir_os os;
    struct support_os *faulty = faulty_create(&os);
    struct weir_poller poller;
    struct weir_os_event event;
    int fds[2];
    char text[8];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    assert_int_equal(os.poller_open(os.self, &poller), 0);
    assert_int_equal(os.poller_add(os.self, &poller, fds[0], 7), 0);
    assert_int_equal(os.poller_wait(os.self, &poller, &event, 1, 0), 1);
    support_os_fail(faulty, SUPPORT_OS_socket_send, 1, 1, -EAGAIN);
    support_os_fail(faulty, SUPPORT_OS_socket_recv, 1, 1, -EAGAIN);
    assert_int_equal(send_text(&os, fds[0], "xyz"), -EAGAIN);
    assert_int_equal(os.poller_wait(os.self, &poller, &event, 1, 0), 1);
    assert_int_equal(event.token, 7);
    assert_int_equal(event.ready, WEIR_WRITABLE);
    assert_int_equal(send_text(&os, fds[1], "abc"), 3);
    assert_int_equal(os.poller_wait(os.self, &poller, &event, 1, 0), 1);
    assert_int_equal(os.socket_recv(os.self, fds[0], text, 8), -EAGAIN);
    assert_int_equal(os.poller_wait(os.self, &poller, &event, 1, 0), 1);
    assert_int_equal(event.ready, WEIR_READABLE | WEIR_WRITABLE);
    support_os_short(faulty, SUPPORT_OS_socket_recv, 1, 1, 1);
    assert_int_equal(os.socket_recv(os.self, fds[0], text, 8), 1);
    assert_int_equal(os.poller_wait(os.self, &poller, &event, 1, 0), 1);
    support_os_fail(faulty, SUPPORT_OS_socket_accept, 1, 1, -EAGAIN);
    assert_int_equal(os.socket_accept(os.self, fds[0]), -EAGAIN);
    assert_int_equal(os.poller_wait(os.self, &poller, &event, 1, 0), 1);
    support_os_fail(faulty, SUPPORT_OS_socket_recv, 1, 1, -EINTR); // to be retried at once
    assert_int_equal(os.socket_recv(os.self, fds[0], text, 8), -EINTR);
    assert_int_equal(os.poller_wait(os.self, &poller, &event, 1, 0), 0);
    assert_int_equal(os.poller_remove(os.self, &poller, fds[0]), 0);
    support_os_fail(faulty, SUPPORT_OS_socket_recv, 1, 1, -EAGAIN); // no longer watched
    assert_int_equal(os.socket_recv(os.self, fds[0], text, 8), -EAGAIN);
    assert_int_equal(os.poller_wait(os.self, &poller, &event, 1, 0), 0);
    os.poller_close(os.self, &poller);
    assert_int_equal(os.socket_close(os.self, fds[0]), 0); // brought along, so never counted
    assert_int_equal(os.socket_close(os.self, fds[1]), 0);
    assert_int_equal(support_os_leaks(faulty), 0);
    support_os_destroy(faulty);
}

// ---- What is live ----

static void test_live_numbers(void **state)
{
    (void)state;
    struct weir_os os;
    struct support_os *faulty = faulty_create(&os);
    void *blocks[200];
    for (size_t index = 0; index < 200; index++) {
        blocks[index] = os.alloc(os.self, 10 + index, 8);
    }
    struct support_os_live live = support_os_live(faulty);
    assert_int_equal(live.allocations, 200);
    assert_int_equal(live.bytes, 2000 + 199 * 100);
    for (size_t index = 0; index < 200; index++) {
        os.release(os.self, blocks[index], 10 + index);
    }
    live = support_os_live(faulty);
    assert_int_equal(live.allocations, 0);
    assert_int_equal(live.bytes, 0);
    assert_int_equal(live.bytes_peak, 2000 + 199 * 100);
    struct weir_poller poller;
    assert_int_equal(os.poller_open(os.self, &poller), 0);
    assert_int_equal(support_os_live(faulty).descriptors, 2);
    assert_int_equal(os.poller_arm(os.self, &poller, 1), 0);
    assert_int_equal(os.poller_arm(os.self, &poller, 1), 0);
    assert_int_equal(support_os_live(faulty).descriptors, 3);
    int fd = os.socket_open(os.self, AF_UNIX, SOCK_DGRAM);
    assert_int_equal(support_os_live(faulty).descriptors, 4);
    os.poller_close(os.self, &poller);
    assert_int_equal(support_os_live(faulty).descriptors, 1);
    support_os_fail(faulty, SUPPORT_OS_socket_close, 1, 1, -EINTR);
    assert_int_equal(os.socket_close(os.self, fd), -EINTR); // and yet it is closed
    assert_int_equal(support_os_live(faulty).descriptors, 0);
    assert_int_equal(support_os_leaks(faulty), 0);
    support_os_destroy(faulty);
}

static void thread_until(void *argument)
{
    _Atomic uint32_t *word = argument;
    while (atomic_load(word) == 0) {
        (void)poll(NULL, 0, 1);
    }
}

static void test_leaks_are_found(void **state)
{
    (void)state;
    struct weir_os os;
    struct support_os *faulty = faulty_create(&os);
    void *memory = os.alloc(os.self, 64, 64);
    assert_int_equal(support_os_leaks(faulty), 1);
    _Atomic uint32_t *guard = NULL;
    assert_int_equal(os.fork_guard_open(os.self, &guard), 0);
    assert_int_equal(support_os_leaks(faulty), 2);
    int fd = os.socket_open(os.self, AF_UNIX, SOCK_STREAM);
    assert_int_equal(support_os_leaks(faulty), 3);
    static _Atomic uint32_t stop;
    uint64_t thread = 0;
    assert_int_equal(os.thread_start(os.self, &thread, thread_until, (void *)&stop), 0);
    assert_int_equal(support_os_leaks(faulty), 5); // neither joined nor over
    atomic_store(&stop, 1);
    assert_int_equal(os.thread_join(os.self, thread), 0);
    assert_int_equal(os.thread_start(os.self, &thread, thread_until, (void *)&stop), 0);
    assert_int_equal(os.thread_detach(os.self, thread), 0);
    os.release(os.self, memory, 64);
    os.fork_guard_close(os.self, guard);
    assert_int_equal(os.socket_close(os.self, fd), 0);
    assert_int_equal(support_os_leaks(faulty), 0);
    support_os_destroy(faulty);
}

static void test_misuse_is_found(void **state)
{
    (void)state;
    struct weir_os os;
    struct support_os *faulty = faulty_create(&os);
    void *memory = os.alloc(os.self, 64, 64);
    os.release(os.self, memory, 63);
    assert_int_equal(support_os_leaks(faulty), 1);
    os.release(os.self, memory, 64);
    os.release(os.self, NULL, 64);
    assert_int_equal(support_os_leaks(faulty), 2);
    int fd = os.socket_open(os.self, AF_UNIX, SOCK_STREAM);
    assert_int_equal(os.socket_close(os.self, fd), 0);
    assert_int_equal(os.socket_close(os.self, fd), -EBADF);
    assert_int_equal(support_os_leaks(faulty), 3);
    _Atomic uint32_t *guard = NULL;
    assert_int_equal(os.fork_guard_open(os.self, &guard), 0);
    os.fork_guard_close(os.self, guard);
    os.fork_guard_close(os.self, guard);
    assert_int_equal(support_os_leaks(faulty), 4);
    support_os_destroy(faulty);
}

// ---- Virtual clock ----

static void test_virtual_clock(void **state)
{
    (void)state;
    struct weir_os os;
    struct support_os *faulty = faulty_create(&os);
    struct weir_poller poller;
    struct weir_os_event event;
    uint64_t hour = 3600 * SECOND;
    support_os_virtual(faulty, 5 * SECOND);
    assert_int_equal(os.now_ns(os.self), 5 * SECOND);
    support_os_advance(faulty, 7);
    assert_int_equal(os.now_ns(os.self), 5 * SECOND + 7);
    assert_int_equal(os.poller_open(os.self, &poller), 0);
    assert_int_equal(os.poller_wait(os.self, &poller, &event, 1, hour), 0);
    assert_int_equal(os.now_ns(os.self), hour);
    assert_int_equal(os.poller_wait(os.self, &poller, &event, 1, 1), 0); // never back
    assert_int_equal(os.now_ns(os.self), hour);
    _Atomic uint32_t word = 3;
    assert_int_equal(os.futex_wait(os.self, &word, 2, 2 * hour), -EAGAIN);
    assert_int_equal(os.now_ns(os.self), hour);
    assert_int_equal(os.futex_wait(os.self, &word, 3, 2 * hour), -ETIMEDOUT);
    assert_int_equal(os.now_ns(os.self), 2 * hour);
    // Neither a wake nor readiness lets time pass.
    os.poller_wake(os.self, &poller);
    assert_int_equal(os.poller_wait(os.self, &poller, &event, 1, 3 * hour), 0);
    assert_int_equal(os.now_ns(os.self), 2 * hour);
    int fd = os.socket_open(os.self, AF_UNIX, SOCK_DGRAM);
    assert_int_equal(os.poller_add(os.self, &poller, fd, 4), 0);
    assert_int_equal(os.poller_wait(os.self, &poller, &event, 1, 3 * hour), 1);
    assert_int_equal(os.now_ns(os.self), 2 * hour);
    assert_int_equal(os.socket_close(os.self, fd), 0);
    os.poller_close(os.self, &poller);
    assert_int_equal(support_os_leaks(faulty), 0);
    support_os_destroy(faulty);
}

static void test_virtual_timer(void **state)
{
    (void)state;
    struct weir_os os;
    struct support_os *faulty = faulty_create(&os);
    struct weir_poller poller;
    struct weir_os_event event;
    uint64_t hour = 3600 * SECOND;
    support_os_virtual(faulty, hour);
    assert_int_equal(os.poller_open(os.self, &poller), 0);
    assert_int_equal(os.poller_arm(os.self, &poller, 2 * hour), 0);
    assert_int_equal(support_os_live(faulty).descriptors, 3);
    assert_false(is_readable(poller.fd));
    support_os_advance(faulty, hour - 1);
    assert_false(is_readable(poller.fd));
    support_os_advance(faulty, 1);
    assert_true(is_readable(poller.fd));
    assert_int_equal(os.poller_wait(os.self, &poller, &event, 1, 0), 0);
    assert_false(is_readable(poller.fd));
    // A wait ends at the timer even if its own deadline is later, or there is none.
    assert_int_equal(os.poller_arm(os.self, &poller, 3 * hour), 0);
    assert_int_equal(os.poller_wait(os.self, &poller, &event, 1, WEIR_NEVER), 0);
    assert_int_equal(os.now_ns(os.self), 3 * hour);
    assert_int_equal(os.poller_arm(os.self, &poller, hour), 0); // long past
    assert_true(is_readable(poller.fd));
    assert_int_equal(os.poller_arm(os.self, &poller, WEIR_NEVER), 0);
    assert_false(is_readable(poller.fd));
    support_os_advance(faulty, hour);
    assert_false(is_readable(poller.fd));
    os.poller_close(os.self, &poller);
    assert_int_equal(support_os_leaks(faulty), 0);
    support_os_destroy(faulty);
}

// ---- Many threads ----

struct hammer {
    const struct weir_os *os;
    struct weir_poller *poller;
    _Atomic uint32_t *stop;
};

static void hammer_socket(const struct hammer *hammer)
{
    const struct weir_os *os = hammer->os;
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) != 0) {
        return;
    }
    (void)os->poller_add(os->self, hammer->poller, fds[0], (uint64_t)fds[0]);
    char text[8];
    for (int index = 0; index < 4; index++) {
        (void)send_text(os, fds[1], "abcdef");
        (void)os->socket_recv(os->self, fds[0], text, sizeof text);
    }
    (void)os->socket_close(os->self, fds[0]);
    (void)os->socket_close(os->self, fds[1]);
}

static void hammer_run(void *argument)
{
    const struct hammer *hammer = argument;
    const struct weir_os *os = hammer->os;
    for (int index = 0; index < 200; index++) {
        void *memory = os->alloc(os->self, 100, 8);
        os->release(os->self, memory, 100);
        int fd = os->socket_open(os->self, AF_UNIX, SOCK_STREAM);
        if (fd >= 0) {
            (void)os->socket_close(os->self, fd);
        }
        hammer_socket(hammer);
        os->poller_wake(os->self, hammer->poller);
    }
    atomic_fetch_add(hammer->stop, 1);
    os->poller_wake(os->self, hammer->poller);
}

static void test_many_threads(void **state)
{
    (void)state;
    uint64_t seed = seed_get();
    struct weir_os os;
    struct support_os *faulty = faulty_create(&os);
    struct weir_poller poller;
    struct weir_os_event events[16];
    assert_int_equal(os.poller_open(os.self, &poller), 0);
    _Atomic uint32_t stop = 0;
    struct hammer hammer = {&os, &poller, &stop};
    uint64_t threads[4];
    for (int index = 0; index < 4; index++) {
        assert_int_equal(os.thread_start(os.self, &threads[index], hammer_run, &hammer), 0);
    }
    for (int row = 0; row < SUPPORT_OS_FUNCTIONS_COUNT; row++) {
        support_os_random(faulty, (enum support_os_function)row, seed, 50000);
    }
    while (atomic_load(&stop) < 4) {
        (void)os.poller_wait(os.self, &poller, events, 16, os.now_ns(os.self) + 10 * MS);
        support_os_fail(faulty, SUPPORT_OS_alloc, 3, 2, -ENOMEM);
        (void)support_os_live(faulty);
    }
    support_os_heal(faulty);
    for (int index = 0; index < 4; index++) {
        assert_int_equal(os.thread_join(os.self, threads[index]), 0);
    }
    os.poller_close(os.self, &poller);
    assert_int_equal(support_os_calls(faulty, SUPPORT_OS_alloc), 800);
    assert_true(support_os_faults(faulty, SUPPORT_OS_socket_recv) > 0);
    assert_int_equal(support_os_leaks(faulty), 0);
    support_os_destroy(faulty);
}

// ---- Torture ----

struct plan {
    bool leaks_when_refused; // the planted mistake
    uint64_t runs;
    void *leaked; // remembered, so that the leak sanitizer has nothing to say
};

static void leaked_release(struct plan *plan)
{
    struct weir_os real = weir_os_linux();
    real.release(real.self, plan->leaked, 64);
    plan->leaked = NULL;
}

static const char *scenario(struct support_os *support, void *argument)
{
    struct plan *plan = argument;
    struct weir_os os = support_os_get(support);
    plan->runs++;
    leaked_release(plan);
    void *first = os.alloc(os.self, 64, 64);
    if (first == NULL) {
        return NULL;
    }
    void *second = os.alloc(os.self, 64, 64);
    if (second == NULL && plan->leaks_when_refused) {
        plan->leaked = first;
        return NULL;
    }
    int fd = second == NULL ? -1 : os.socket_open(os.self, AF_UNIX, SOCK_STREAM);
    if (fd >= 0) {
        (void)os.socket_close(os.self, fd);
    }
    os.release(os.self, second, 64);
    os.release(os.self, first, 64);
    return fd == -EACCES && plan->leaks_when_refused ? "access" : NULL;
}

static void test_torture(void **state)
{
    (void)state;
    unsetenv("WEIR_TORTURE");
    struct weir_os real = weir_os_linux();
    struct plan plan = {false, 0, NULL};
    struct support_os_torture torture = {.inner = &real, .scenario = scenario, .argument = &plan};
    uint64_t runs = 0;
    assert_int_equal(support_os_torture(&torture, &runs), 0);
    // Two allocations, six codes of socket_open, two of socket_close; and one run without a fault.
    assert_int_equal(runs, 2 + 6 + 2);
    assert_int_equal(plan.runs, runs + 1);
    torture.calls_max = 1;
    assert_int_equal(support_os_torture(&torture, &runs), 0);
    assert_int_equal(runs, 1 + 6 + 2);
    torture.calls_max = 0;
    torture.functions = UINT64_C(1) << SUPPORT_OS_alloc;
    torture.is_virtual = true;
    torture.calls_count = UINT64_MAX;
    assert_int_equal(support_os_torture(&torture, NULL), 0);
    torture.functions = 0;
    plan.leaks_when_refused = true;
    assert_int_equal(support_os_torture(&torture, NULL), 2);
    char text[64];
    (void)snprintf(text, sizeof text, "alloc %d 2", -ENOMEM);
    setenv("WEIR_TORTURE", text, 1);
    assert_int_equal(support_os_torture(&torture, &runs), 1);
    assert_int_equal(runs, 1);
    unsetenv("WEIR_TORTURE");
    leaked_release(&plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_each_function_fails_with_each_code),
        cmocka_unit_test(test_rules_count_from_now),
        cmocka_unit_test(test_short_lengths),
        cmocka_unit_test(test_random_faults_repeat),
        cmocka_unit_test(test_an_edge_follows_again),
        cmocka_unit_test(test_live_numbers),
        cmocka_unit_test(test_leaks_are_found),
        cmocka_unit_test(test_misuse_is_found),
        cmocka_unit_test(test_virtual_clock),
        cmocka_unit_test(test_virtual_timer),
        cmocka_unit_test(test_many_threads),
        cmocka_unit_test(test_torture),
    };
    return cmocka_run_group_tests_name("support_os", tests, NULL, NULL);
}
