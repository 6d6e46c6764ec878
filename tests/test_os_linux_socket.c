// Tests of the real operating system door: streams and datagrams, their options, their errors.
#include "tests/support_door.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

// Connects a new socket to a new listener at `address`; both ends, accepted and connected, in fds.
static void stream_pair(const struct weir_os *os, const struct weir_address *address, int family,
                        int fds[2], int *listener)
{
    *listener = os->socket_open(os->self, family, SOCK_STREAM);
    assert_nonblocking_fd(*listener);
    assert_int_equal(os->socket_option(os->self, *listener, WEIR_SOCKET_REUSE_ADDRESS, 1), 0);
    assert_int_equal(os->socket_bind(os->self, *listener, address), 0);
    assert_int_equal(os->socket_listen(os->self, *listener, 4), 0);
    assert_int_equal(os->socket_accept(os->self, *listener), -EAGAIN);
    struct weir_address bound;
    assert_int_equal(os->socket_address(os->self, *listener, &bound), 0);
    assert_int_equal(bound.bytes_count, address->bytes_count);
    fds[1] = os->socket_open(os->self, family, SOCK_STREAM);
    assert_nonblocking_fd(fds[1]);
    int result = os->socket_connect(os->self, fds[1], &bound);
    assert_true(result == 0 || result == -EINPROGRESS);
    wait_readable(*listener);
    fds[0] = os->socket_accept(os->self, *listener);
    assert_nonblocking_fd(fds[0]);
    assert_int_equal(os->socket_error(os->self, fds[1]), 0);
}

static void stream_talk(const struct weir_os *os, const struct weir_address *address, int family)
{
    int fds[2], listener = -1;
    stream_pair(os, address, family, fds, &listener);
    char text[64] = {0};
    assert_int_equal(os->socket_recv(os->self, fds[0], text, sizeof text), -EAGAIN);
    assert_int_equal(os->socket_state(os->self, fds[1]), WEIR_WRITABLE);
    assert_int_equal(os->socket_outstanding(os->self, fds[1]), 0);
    struct weir_iovec parts[3] = {{"one ", 4}, {"", 0}, {"two", 3}};
    assert_int_equal(os->socket_send(os->self, fds[1], parts, 3), 7);
    wait_readable(fds[0]);
    assert_int_equal(os->socket_state(os->self, fds[0]), WEIR_READABLE | WEIR_WRITABLE);
    assert_int_equal(os->socket_recv(os->self, fds[0], text, 4), 4);
    assert_int_equal(os->socket_recv(os->self, fds[0], text + 4, sizeof text - 4), 3);
    assert_string_equal(text, "one two");
    for (int tries = 0; os->socket_outstanding(os->self, fds[1]) != 0; tries++) {
        assert_true(tries < 10000); // TCP: until the acknowledgement is in
        pause_ms(1);
    }
    assert_int_equal(os->socket_shutdown(os->self, fds[1], WEIR_SHUTDOWN_WRITE), 0);
    wait_readable(fds[0]);
    assert_true((os->socket_state(os->self, fds[0]) & WEIR_PEER_CLOSED) != 0);
    assert_int_equal(os->socket_recv(os->self, fds[0], text, sizeof text), 0);
    assert_int_equal(send_text(os, fds[1], "x"), -EPIPE); // and no SIGPIPE
    assert_int_equal(send_text(os, fds[0], "back"), 4);
    assert_int_equal(os->socket_shutdown(os->self, fds[0], WEIR_SHUTDOWN_BOTH), 0);
    wait_readable(fds[1]);
    assert_int_equal(os->socket_recv(os->self, fds[1], text, sizeof text), 4);
    assert_int_equal(os->socket_close(os->self, fds[0]), 0);
    assert_int_equal(os->socket_close(os->self, fds[1]), 0);
    assert_int_equal(os->socket_close(os->self, listener), 0);
    assert_int_equal(os->socket_close(os->self, listener), -EBADF);
}

static void test_stream_unix(void **state)
{
    (void)state;
    struct weir_os os = weir_os_linux();
    struct weir_address address = address_unix("stream");
    stream_talk(&os, &address, AF_UNIX);
}

static void test_stream_tcp(void **state)
{
    (void)state;
    struct weir_os os = weir_os_linux();
    struct weir_address address = address_numeric(&os, "127.0.0.1");
    stream_talk(&os, &address, AF_INET);
}

static bool has_v6(void)
{
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 loopback = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    bool works = fd >= 0 && bind(fd, (struct sockaddr *)&loopback, sizeof loopback) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return works;
}

static void test_stream_tcp_v6(void **state)
{
    (void)state;
    struct weir_os os = weir_os_linux();
    if (!has_v6()) {
        skip();
    }
    struct weir_address address = address_numeric(&os, "::1");
    stream_talk(&os, &address, AF_INET6);
}

static void datagram_talk(const struct weir_os *os, const struct weir_address *address, int family)
{
    int receiver = os->socket_open(os->self, family, SOCK_DGRAM);
    assert_nonblocking_fd(receiver);
    assert_int_equal(os->socket_bind(os->self, receiver, address), 0);
    struct weir_address bound;
    assert_int_equal(os->socket_address(os->self, receiver, &bound), 0);
    int sender = os->socket_open(os->self, family, SOCK_DGRAM);
    assert_nonblocking_fd(sender);
    assert_int_equal(os->socket_connect(os->self, sender, &bound), 0);
    struct weir_iovec parts[2] = {{"one", 3}, {"two", 3}};
    assert_int_equal(os->socket_send(os->self, sender, parts, 2), 6);
    assert_int_equal(send_text(os, sender, "second"), 6);
    char text[16] = {0};
    for (int index = 0; index < 2; index++) { // each stays one datagram
        wait_readable(receiver);
        assert_int_equal(os->socket_recv(os->self, receiver, text, sizeof text), 6);
        assert_string_equal(text, index == 0 ? "onetwo" : "second");
    }
    assert_int_equal(os->socket_close(os->self, receiver), 0);
    int64_t result = 0;
    for (int tries = 0; tries < 100 && result >= 0; tries++) { // UDP: the refusal comes back later
        result = send_text(os, sender, "x");
        pause_ms(1);
    }
    assert_int_equal(result, -ECONNREFUSED);
    static char huge[1 << 20];
    struct weir_iovec part = {huge, sizeof huge};
    assert_int_equal(os->socket_send(os->self, sender, &part, 1), -EMSGSIZE);
    assert_int_equal(os->socket_close(os->self, sender), 0);
}

static void test_datagram_unix(void **state)
{
    (void)state;
    struct weir_os os = weir_os_linux();
    struct weir_address address = address_unix("datagram");
    datagram_talk(&os, &address, AF_UNIX);
}

static void test_datagram_udp(void **state)
{
    (void)state;
    struct weir_os os = weir_os_linux();
    struct weir_address address = address_numeric(&os, "127.0.0.1");
    datagram_talk(&os, &address, AF_INET);
    if (has_v6()) {
        address = address_numeric(&os, "::1");
        datagram_talk(&os, &address, AF_INET6);
    }
}

static void test_send_many_parts_and_shut_reading(void **state)
{
    (void)state;
    struct weir_os os = weir_os_linux();
    int fds[2];
    pair_open(fds, SOCK_STREAM);
    static struct weir_iovec parts[1500];
    for (size_t index = 0; index < 1500; index++) {
        parts[index] = (struct weir_iovec){"ab", 2};
    }
    assert_int_equal(os.socket_send(os.self, fds[0], parts, 1500), 2048);
    assert_int_equal(os.socket_send(os.self, fds[0], parts + 1024, 1500 - 1024), 952);
    assert_int_equal(os.socket_shutdown(os.self, fds[1], WEIR_SHUTDOWN_READ), 0);
    assert_int_equal(os.socket_send(os.self, fds[0], parts, 1), -EPIPE);
    close(fds[0]);
    close(fds[1]);
}

static void test_connect_errors(void **state)
{
    (void)state;
    struct weir_os os = weir_os_linux();
    struct weir_address address = address_unix("nobody");
    int fd = os.socket_open(os.self, AF_UNIX, SOCK_STREAM);
    assert_int_equal(os.socket_connect(os.self, fd, &address), -ECONNREFUSED);
    struct sockaddr_un missing = {.sun_family = AF_UNIX, .sun_path = "/nonexistent/weir"};
    memcpy(address.bytes, &missing, sizeof missing);
    address.bytes_count = sizeof missing;
    assert_int_equal(os.socket_connect(os.self, fd, &address), -ENOENT);
    assert_int_equal(os.socket_bind(os.self, fd, &address), -ENOENT);
    assert_int_equal(os.socket_close(os.self, fd), 0);
    // A full backlog: EAGAIN, which on a Unix socket is not "in progress".
    int listener = os.socket_open(os.self, AF_UNIX, SOCK_STREAM);
    address = address_unix("full");
    assert_int_equal(os.socket_bind(os.self, listener, &address), 0);
    assert_int_equal(os.socket_listen(os.self, listener, 0), 0);
    int waiting[8], result = 0;
    for (int index = 0; index < 8; index++) {
        waiting[index] = os.socket_open(os.self, AF_UNIX, SOCK_STREAM);
        result = os.socket_connect(os.self, waiting[index], &address);
    }
    assert_int_equal(result, -EAGAIN);
    for (int index = 0; index < 8; index++) {
        close(waiting[index]);
    }
    close(listener);
    assert_int_equal(os.socket_open(os.self, 12345, SOCK_STREAM), -EAFNOSUPPORT);
}

static void test_tcp_refused_shows_as_pending_error(void **state)
{
    (void)state;
    struct weir_os os = weir_os_linux();
    struct weir_address address = address_numeric(&os, "127.0.0.1");
    int bound = os.socket_open(os.self, AF_INET, SOCK_STREAM); // never listens
    assert_int_equal(os.socket_bind(os.self, bound, &address), 0);
    assert_int_equal(os.socket_address(os.self, bound, &address), 0);
    int fd = os.socket_open(os.self, AF_INET, SOCK_STREAM);
    int result = os.socket_connect(os.self, fd, &address);
    assert_true(result == -EINPROGRESS || result == -ECONNREFUSED);
    if (result == -EINPROGRESS) {
        wait_readable(fd);
        int ready = os.socket_state(os.self, fd);
        assert_int_equal(ready & (WEIR_HANGUP | WEIR_FAULT), WEIR_HANGUP | WEIR_FAULT);
        assert_int_equal(os.socket_error(os.self, fd), ECONNREFUSED);
        assert_int_equal(os.socket_error(os.self, fd), 0); // one shot
    }
    close(fd);
    close(bound);
}

static void test_peer_dies_with_unread_bytes(void **state)
{
    (void)state;
    struct weir_os os = weir_os_linux();
    int fds[2];
    pair_open(fds, SOCK_STREAM);
    assert_int_equal(send_text(&os, fds[0], "lost"), 4);
    assert_true(os.socket_outstanding(os.self, fds[0]) >= 4);
    close(fds[1]);
    int ready = os.socket_state(os.self, fds[0]);
    assert_int_equal(ready & (WEIR_HANGUP | WEIR_FAULT | WEIR_PEER_CLOSED),
                     WEIR_HANGUP | WEIR_FAULT | WEIR_PEER_CLOSED);
    assert_int_equal(os.socket_outstanding(os.self, fds[0]), 0);
    assert_int_equal(os.socket_error(os.self, fds[0]), ECONNRESET);
    close(fds[0]);
}

static int option_get(int fd, int level, int name)
{
    int value = -1;
    socklen_t bytes = sizeof value;
    assert_int_equal(getsockopt(fd, level, name, &value, &bytes), 0);
    return value;
}

// What the kernel has after an option was set.
static void test_options(void **state)
{
    (void)state;
    static const struct {
        enum weir_socket_option option;
        int value, level, name, kept;
    } rows[] = {
        {WEIR_SOCKET_KEEPALIVE, 30, SOL_SOCKET, SO_KEEPALIVE, 1},
        {WEIR_SOCKET_KEEPALIVE, 30, IPPROTO_TCP, TCP_KEEPIDLE, 30},
        {WEIR_SOCKET_KEEPALIVE, 30, IPPROTO_TCP, TCP_KEEPINTVL, 30},
        {WEIR_SOCKET_KEEPALIVE, 1000000, IPPROTO_TCP, TCP_KEEPIDLE, 32767},
        {WEIR_SOCKET_KEEPALIVE, 0, SOL_SOCKET, SO_KEEPALIVE, 0},
        {WEIR_SOCKET_USER_TIMEOUT_MS, 31000, IPPROTO_TCP, TCP_USER_TIMEOUT, 31000},
        {WEIR_SOCKET_NOTSENT_BYTES, 16384, IPPROTO_TCP, TCP_NOTSENT_LOWAT, 16384},
        {WEIR_SOCKET_NODELAY, 1, IPPROTO_TCP, TCP_NODELAY, 1},
        {WEIR_SOCKET_SEND_BUFFER_BYTES, 65536, SOL_SOCKET, SO_SNDBUF, 131072}, // it doubles it
        {WEIR_SOCKET_REUSE_ADDRESS, 1, SOL_SOCKET, SO_REUSEADDR, 1},
    };
    struct weir_os os = weir_os_linux();
    int fd = os.socket_open(os.self, AF_INET, SOCK_STREAM);
    for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++) {
        assert_int_equal(os.socket_option(os.self, fd, rows[row].option, rows[row].value), 0);
        assert_int_equal(option_get(fd, rows[row].level, rows[row].name), rows[row].kept);
    }
    assert_int_equal(os.socket_option(os.self, fd, (enum weir_socket_option)99, 1), -ENOPROTOOPT);
    close(fd);
    fd = os.socket_open(os.self, AF_UNIX, SOCK_STREAM);
    assert_int_equal(os.socket_option(os.self, fd, WEIR_SOCKET_NODELAY, 1), -EOPNOTSUPP);
    close(fd);
}

static void test_bad_descriptors(void **state)
{
    (void)state;
    struct weir_os os = weir_os_linux();
    struct weir_address address = address_unix("bad");
    char byte = 0;
    assert_int_equal(os.socket_bind(os.self, -1, &address), -EBADF);
    assert_int_equal(os.socket_listen(os.self, -1, 1), -EBADF);
    assert_int_equal(os.socket_accept(os.self, -1), -EBADF);
    assert_int_equal(os.socket_connect(os.self, -1, &address), -EBADF);
    assert_int_equal(send_text(&os, -1, "x"), -EBADF);
    assert_int_equal(os.socket_recv(os.self, -1, &byte, 1), -EBADF);
    assert_int_equal(os.socket_shutdown(os.self, -1, WEIR_SHUTDOWN_BOTH), -EBADF);
    assert_int_equal(os.socket_close(os.self, -1), -EBADF);
    assert_int_equal(os.socket_error(os.self, -1), -EBADF);
    assert_int_equal(os.socket_outstanding(os.self, -1), -EBADF);
    assert_int_equal(os.socket_option(os.self, -1, WEIR_SOCKET_KEEPALIVE, 1), -EBADF);
    assert_int_equal(os.socket_address(os.self, -1, &address), -EBADF);
    int closed = dup(0);
    close(closed);
    assert_int_equal(os.socket_state(os.self, closed), -EBADF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stream_unix),
        cmocka_unit_test(test_stream_tcp),
        cmocka_unit_test(test_stream_tcp_v6),
        cmocka_unit_test(test_datagram_unix),
        cmocka_unit_test(test_datagram_udp),
        cmocka_unit_test(test_send_many_parts_and_shut_reading),
        cmocka_unit_test(test_connect_errors),
        cmocka_unit_test(test_tcp_refused_shows_as_pending_error),
        cmocka_unit_test(test_peer_dies_with_unread_bytes),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_bad_descriptors),
    };
    return cmocka_run_group_tests_name("os_linux_socket", tests, NULL, NULL);
}
