// Tests of the real operating system door: pollers, as this kernel allows and as older ones do.
#include "tests/support_door.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include "runtime/limits.h"

// Every poller test runs twice: as this kernel allows, and as on one without epoll_pwait2.
static struct weir_os os_of_state(void **state)
{
    struct weir_os os = weir_os_linux();
    if (*state != NULL) {
        os.self = NULL;
    }
    return os;
}

static int state_old_kernel(void **state)
{
    static char old_kernel;
    *state = &old_kernel;
    return 0;
}

static int descriptors_open(void)
{
    int count = 0;
    for (int fd = 0; fd < 1024; fd++) {
        count += fcntl(fd, F_GETFD) >= 0;
    }
    return count;
}

static uint32_t ready_of(const struct weir_os_event *events, int count, uint64_t token)
{
    uint32_t ready = 0;
    for (int index = 0; index < count; index++) {
        ready |= events[index].token == token ? events[index].ready : 0;
    }
    return ready;
}

static struct weir_poller poller_open(const struct weir_os *os)
{
    struct weir_poller poller;
    assert_int_equal(os->poller_open(os->self, &poller), 0);
    return poller;
}

static void test_poller_open_close(void **state)
{
    struct weir_os os = os_of_state(state);
    int before = descriptors_open();
    struct weir_poller poller = poller_open(&os);
    assert_private_fd(poller.fd);
    assert_nonblocking_fd(poller.wake_fd);
    assert_int_equal(poller.timer_fd, -1);
    assert_int_equal(os.poller_arm(os.self, &poller, WEIR_NEVER), 0);
    assert_int_equal(poller.timer_fd, -1);
    assert_int_equal(os.poller_arm(os.self, &poller, now_ns(&os) + SECOND), 0);
    assert_nonblocking_fd(poller.timer_fd);
    os.poller_close(os.self, &poller);
    assert_int_equal(poller.fd, -1);
    assert_int_equal(descriptors_open(), before);
}

// With room for 0, 1 and 2 more descriptors opening, and then arming, must fail and leave nothing.
static void test_poller_without_descriptors(void **state)
{
    struct weir_os os = os_of_state(state);
    struct rlimit before, limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int lowest = dup(0);
    assert_true(lowest >= 0);
    close(lowest);
    int open_before = descriptors_open();
    for (rlim_t room = 0; room < 3; room++) {
        limit = (struct rlimit){(rlim_t)lowest + room, before.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        struct weir_poller poller;
        int opened = os.poller_open(os.self, &poller);
        int armed = opened == 0 ? os.poller_arm(os.self, &poller, 1) : -EMFILE;
        int timer_fd = poller.timer_fd;
        if (opened == 0) {
            os.poller_close(os.self, &poller);
        }
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        assert_int_equal(opened, room < 2 ? -EMFILE : 0);
        assert_int_equal(armed, -EMFILE);
        assert_int_equal(timer_fd, -1);
        assert_int_equal(poller.fd, -1);
        assert_int_equal(descriptors_open(), open_before);
    }
}

static void test_poller_edges(void **state)
{
    struct weir_os os = os_of_state(state);
    struct weir_poller poller = poller_open(&os);
    struct weir_os_event events[8];
    int fds[2];
    pair_open(fds, SOCK_STREAM);
    assert_int_equal(os.poller_wait(os.self, &poller, events, 8, 0), 0);
    assert_int_equal(os.poller_add(os.self, &poller, fds[0], 77), 0);
    assert_int_equal(os.poller_add(os.self, &poller, fds[0], 78), -EEXIST);
    // The state at the time of adding is the first edge; a second look has nothing.
    assert_int_equal(os.poller_wait(os.self, &poller, events, 8, WEIR_NEVER), 1);
    assert_int_equal(events[0].token, 77);
    assert_int_equal(events[0].ready, WEIR_WRITABLE);
    assert_int_equal(os.poller_wait(os.self, &poller, events, 8, 0), 0);
    // One edge per arrival, though the first byte was not read.
    for (int round = 0; round < 2; round++) {
        assert_int_equal(send_text(&os, fds[1], "x"), 1);
        assert_int_equal(os.poller_wait(os.self, &poller, events, 8, WEIR_NEVER), 1);
        assert_int_equal(events[0].token, 77);
        assert_true((events[0].ready & WEIR_READABLE) != 0);
        assert_int_equal(os.poller_wait(os.self, &poller, events, 8, 0), 0);
        assert_false(is_readable(poller.fd));
    }
    assert_int_equal(shutdown(fds[1], SHUT_WR), 0);
    assert_int_equal(os.poller_wait(os.self, &poller, events, 8, WEIR_NEVER), 1);
    assert_int_equal(events[0].ready & (WEIR_PEER_CLOSED | WEIR_HANGUP), WEIR_PEER_CLOSED);
    close(fds[1]);
    assert_int_equal(os.poller_wait(os.self, &poller, events, 8, WEIR_NEVER), 1);
    assert_true((events[0].ready & WEIR_HANGUP) != 0);
    assert_int_equal(os.poller_remove(os.self, &poller, fds[0]), 0);
    assert_int_equal(os.poller_remove(os.self, &poller, fds[0]), -ENOENT);
    assert_int_equal(os.poller_add(os.self, &poller, -1, 1), -EBADF);
    close(fds[0]);
    os.poller_close(os.self, &poller);
}

static void test_poller_writable_edge(void **state)
{
    struct weir_os os = os_of_state(state);
    struct weir_poller poller = poller_open(&os);
    struct weir_os_event events[8];
    int fds[2];
    pair_open(fds, SOCK_STREAM);
    assert_int_equal(os.poller_add(os.self, &poller, fds[0], 5), 0);
    assert_int_equal(os.poller_wait(os.self, &poller, events, 8, WEIR_NEVER), 1);
    static char chunk[16384];
    struct weir_iovec part = {chunk, sizeof chunk};
    int64_t sent = 0, total = 0;
    while ((sent = os.socket_send(os.self, fds[0], &part, 1)) > 0) {
        total += sent;
    }
    assert_int_equal(sent, -EAGAIN);
    assert_true(total > 0);
    (void)os.poller_wait(os.self, &poller, events, 8, 0);
    while (total > 0) {
        int64_t count = os.socket_recv(os.self, fds[1], chunk, sizeof chunk);
        assert_true(count > 0);
        total -= count;
    }
    int count = os.poller_wait(os.self, &poller, events, 8, WEIR_NEVER);
    assert_true((ready_of(events, count, 5) & WEIR_WRITABLE) != 0);
    close(fds[0]);
    close(fds[1]);
    os.poller_close(os.self, &poller);
}

static void test_poller_many_events(void **state)
{
    struct weir_os os = os_of_state(state);
    enum { PAIRS = 40 };
    struct weir_poller poller = poller_open(&os);
    struct weir_os_event events[2 * PAIRS + 10];
    int fds[PAIRS][2];
    bool seen[2 * PAIRS] = {false};
    for (uint32_t index = 0; index < PAIRS; index++) {
        pair_open(fds[index], SOCK_STREAM);
        assert_int_equal(os.poller_add(os.self, &poller, fds[index][0], 2 * index), 0);
        assert_int_equal(os.poller_add(os.self, &poller, fds[index][1], 2 * index + 1), 0);
    }
    // More are ready than one call takes: the rest must come with the next ones, none twice.
    uint32_t left = 2 * PAIRS;
    for (uint32_t events_max = 1; left > 0; events_max = 2 * PAIRS + 10) {
        assert_true(is_readable(poller.fd));
        int count = os.poller_wait(os.self, &poller, events, events_max, WEIR_NEVER);
        assert_true(count > 0 && (uint32_t)count <= events_max && count <= WEIR_EVENTS_MAX);
        for (int index = 0; index < count; index++) {
            assert_true(events[index].token < 2 * PAIRS);
            assert_false(seen[events[index].token]);
            seen[events[index].token] = true;
        }
        left -= (uint32_t)count;
    }
    assert_false(is_readable(poller.fd));
    for (uint32_t index = 0; index < PAIRS; index++) {
        close(fds[index][0]);
        close(fds[index][1]);
    }
    os.poller_close(os.self, &poller);
}

static void test_poller_wait_is_never_early(void **state)
{
    struct weir_os os = os_of_state(state);
    struct weir_poller poller = poller_open(&os);
    struct weir_os_event event;
    for (uint64_t wait_ns = 1; wait_ns < 8 * MS; wait_ns = wait_ns * 3 + 1) {
        uint64_t deadline = now_ns(&os) + wait_ns;
        assert_int_equal(os.poller_wait(os.self, &poller, &event, 1, deadline), 0);
        assert_true(now_ns(&os) >= deadline);
    }
    uint64_t start = now_ns(&os);
    assert_int_equal(os.poller_wait(os.self, &poller, &event, 1, 1), 0); // long past
    assert_true(now_ns(&os) < start + 10 * SECOND);
    os.poller_close(os.self, &poller);
    assert_int_equal(os.poller_wait(os.self, &poller, &event, 1, 0), -EBADF);
}

static void test_poller_wake(void **state)
{
    struct weir_os os = os_of_state(state);
    struct weir_poller poller = poller_open(&os);
    struct weir_os_event event;
    assert_false(is_readable(poller.fd));
    // A wake before the wait counts, several are one, and each later one is an edge again.
    for (int round = 0; round < 3; round++) {
        for (int wake = 0; wake <= round; wake++) {
            errno = EXDEV;
            os.poller_wake(os.self, &poller);
            assert_int_equal(errno, EXDEV);
        }
        assert_true(is_readable(poller.fd));
        assert_int_equal(os.poller_wait(os.self, &poller, &event, 1, WEIR_NEVER), 0);
        assert_false(is_readable(poller.fd));
        uint64_t deadline = now_ns(&os) + 5 * MS;
        assert_int_equal(os.poller_wait(os.self, &poller, &event, 1, deadline), 0);
        assert_true(now_ns(&os) >= deadline);
    }
    os.poller_close(os.self, &poller);
    errno = EXDEV;
    os.poller_wake(os.self, &poller); // closed: the write fails, and still nothing shows
    assert_int_equal(errno, EXDEV);
}

struct wake_later {
    struct weir_os os;
    const struct weir_poller *poller;
};

static void wake_later(void *argument)
{
    struct wake_later *later = argument;
    pause_ms(10);
    later->os.poller_wake(later->os.self, later->poller);
}

static void test_poller_wake_from_thread(void **state)
{
    struct weir_os os = os_of_state(state);
    struct weir_poller poller = poller_open(&os);
    struct weir_os_event event;
    struct wake_later later = {os, &poller};
    uint64_t thread = 0;
    assert_int_equal(os.thread_start(os.self, &thread, wake_later, &later), 0);
    assert_int_equal(os.poller_wait(os.self, &poller, &event, 1, WEIR_NEVER), 0);
    assert_int_equal(os.thread_join(os.self, thread), 0);
    os.poller_close(os.self, &poller);
}

static void test_poller_arm(void **state)
{
    struct weir_os os = os_of_state(state);
    struct weir_poller poller = poller_open(&os);
    struct weir_os_event event;
    static const uint64_t waits_ns[] = {0, 3 * MS, 0, 1 * MS};
    for (size_t index = 0; index < sizeof waits_ns / sizeof waits_ns[0]; index++) {
        uint64_t deadline = waits_ns[index] == 0 ? 0 : now_ns(&os) + waits_ns[index];
        assert_int_equal(os.poller_arm(os.self, &poller, deadline), 0);
        assert_int_equal(os.poller_wait(os.self, &poller, &event, 1, WEIR_NEVER), 0);
        assert_true(now_ns(&os) >= deadline);
        assert_false(is_readable(poller.fd));
    }
    // Disarmed before and after the expiry: it is forgotten either way.
    for (int expired = 0; expired < 2; expired++) {
        assert_int_equal(os.poller_arm(os.self, &poller, now_ns(&os) + MS), 0);
        if (expired) {
            wait_readable(poller.fd);
        }
        assert_int_equal(os.poller_arm(os.self, &poller, WEIR_NEVER), 0);
        pause_ms(3);
        assert_false(is_readable(poller.fd));
    }
    // Moved further away: it comes once, at the later time.
    uint64_t later = now_ns(&os) + 20 * MS;
    assert_int_equal(os.poller_arm(os.self, &poller, now_ns(&os) + MS), 0);
    assert_int_equal(os.poller_arm(os.self, &poller, later), 0);
    assert_int_equal(os.poller_wait(os.self, &poller, &event, 1, WEIR_NEVER), 0);
    assert_true(now_ns(&os) >= later);
    os.poller_close(os.self, &poller);
}

// How many rounds of 0 the host's own level-triggered epoll sees; it must stop once we waited.
static void test_poller_inside_a_host_epoll(void **state)
{
    struct weir_os os = os_of_state(state);
    struct weir_poller poller = poller_open(&os);
    struct weir_os_event events[4];
    int host = epoll_create1(EPOLL_CLOEXEC);
    assert_true(host >= 0);
    struct epoll_event interest = {.events = EPOLLIN, .data.u64 = 9}, seen;
    assert_int_equal(epoll_ctl(host, EPOLL_CTL_ADD, poller.fd, &interest), 0);
    int fds[2];
    pair_open(fds, SOCK_STREAM);
    for (int round = 0; round < 12; round++) {
        int expected = 0;
        switch (round % 4) {
        case 0: os.poller_wake(os.self, &poller); break;
        case 1: assert_int_equal(os.poller_arm(os.self, &poller, now_ns(&os) + MS), 0); break;
        case 2:
            assert_int_equal(os.poller_add(os.self, &poller, fds[0], 3), 0);
            expected = 1;
            break;
        default: // all at once; the byte stays unread
            os.poller_wake(os.self, &poller);
            assert_int_equal(os.poller_arm(os.self, &poller, 1), 0);
            assert_int_equal(send_text(&os, fds[1], "x"), 1);
            expected = 1;
            break;
        }
        assert_int_equal(epoll_wait(host, &seen, 1, 10000), 1);
        assert_int_equal(seen.data.u64, 9);
        assert_int_equal(epoll_wait(host, &seen, 1, 10000), 1); // level: still there
        assert_int_equal(os.poller_wait(os.self, &poller, events, 4, 0), expected);
        assert_int_equal(epoll_wait(host, &seen, 1, 0), 0);
        pause_ms(2);
        assert_int_equal(epoll_wait(host, &seen, 1, 0), 0);
        if (round % 4 == 3) {
            assert_int_equal(os.poller_remove(os.self, &poller, fds[0]), 0);
        }
    }
    close(fds[0]);
    close(fds[1]);
    close(host);
    os.poller_close(os.self, &poller);
}

#define POLLER_TEST(name)                                                                          \
    cmocka_unit_test(name),                                                                        \
    {                                                                                              \
#name " without epoll_pwait2", name, state_old_kernel, NULL, NULL                          \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        POLLER_TEST(test_poller_open_close),  POLLER_TEST(test_poller_without_descriptors),
        POLLER_TEST(test_poller_edges),       POLLER_TEST(test_poller_writable_edge),
        POLLER_TEST(test_poller_many_events), POLLER_TEST(test_poller_wait_is_never_early),
        POLLER_TEST(test_poller_wake),        POLLER_TEST(test_poller_wake_from_thread),
        POLLER_TEST(test_poller_arm),         POLLER_TEST(test_poller_inside_a_host_epoll),
    };
    return cmocka_run_group_tests_name("os_linux_poller", tests, NULL, NULL);
}
