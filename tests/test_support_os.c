// Tests of the faulty operating system that other tests rely on: its counts, faults and leaks.
#include "tests/support_faulty.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support_random.h"

#define CODES_MAX 16

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
            faulty_end(faulty);
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
    faulty_end(faulty);
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
    faulty_end(faulty);
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
    faulty_end(faulty);
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
    faulty_end(faulty);
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
    };
    return cmocka_run_group_tests_name("support_os", tests, NULL, NULL);
}
