// What the tests of the real operating system door share: addresses, pairs, descriptors, waiting.
#ifndef WEIR_TESTS_SUPPORT_DOOR_H
#define WEIR_TESTS_SUPPORT_DOOR_H

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/os.h"

#define MS UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)

static inline uint64_t now_ns(const struct weir_os *os)
{
    return os->now_ns(os->self);
}

static inline bool is_readable(int fd)
{
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    return poll(&entry, 1, 0) == 1 && (entry.revents & POLLIN) != 0;
}

static inline void assert_private_fd(int fd)
{
    assert_true(fd >= 0);
    int flags = fcntl(fd, F_GETFD);
    assert_true(flags >= 0);
    assert_true((flags & FD_CLOEXEC) != 0);
}

static inline void assert_nonblocking_fd(int fd)
{
    assert_private_fd(fd);
    assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
}

// An abstract Unix address that no other run of this test uses.
static inline struct weir_address address_unix(const char *name)
{
    struct weir_address address = {0};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int length =
        snprintf(un.sun_path + 1, sizeof un.sun_path - 1, "weir-test-%d-%s", (int)getpid(), name);
    assert_true(length > 0);
    address.bytes_count = (uint32_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
    memcpy(address.bytes, &un, address.bytes_count);
    return address;
}

static inline struct weir_address address_numeric(const struct weir_os *os, const char *host)
{
    struct weir_address address;
    assert_int_equal(os->resolve(os->self, host, 0, true, &address, 1), 1);
    return address;
}

static inline int64_t send_text(const struct weir_os *os, int fd, const char *text)
{
    struct weir_iovec part = {text, strlen(text)};
    return os->socket_send(os->self, fd, &part, 1);
}

static inline void wait_readable(int fd)
{
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&entry, 1, 10000), 1);
}

static inline void pause_ms(uint32_t milliseconds)
{
    struct timespec pause = {.tv_nsec = (long)milliseconds * 1000000};
    nanosleep(&pause, NULL);
}

static inline void pair_open(int fds[2], int type)
{
    assert_int_equal(socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
}

#endif
