// The counting operating system: each function that enters the kernel adds one and passes on.
#include "tests/bench/support_count.h"

#include <stdatomic.h>

static struct weir_os inner;
static _Alignas(128) _Atomic uint64_t by_loggers;
static _Alignas(128) _Atomic uint64_t by_others;
static _Thread_local bool is_logger;

static void *count(void)
{
    atomic_fetch_add_explicit(is_logger ? &by_loggers : &by_others, 1, memory_order_relaxed);
    return inner.self;
}

static int count_futex_wait(void *self, const _Atomic uint32_t *word, uint32_t expected,
                            uint64_t deadline_ns)
{
    (void)self;
    return inner.futex_wait(count(), word, expected, deadline_ns);
}

static void count_futex_wake(void *self, const _Atomic uint32_t *word, uint32_t waiters_max)
{
    (void)self;
    inner.futex_wake(count(), word, waiters_max);
}

static int count_poller_wait(void *self, const struct weir_poller *poller,
                             struct weir_os_event *events, uint32_t events_max,
                             uint64_t deadline_ns)
{
    (void)self;
    return inner.poller_wait(count(), poller, events, events_max, deadline_ns);
}

static void count_poller_wake(void *self, const struct weir_poller *poller)
{
    (void)self;
    inner.poller_wake(count(), poller);
}

static int count_poller_arm(void *self, struct weir_poller *poller, uint64_t deadline_ns)
{
    (void)self;
    return inner.poller_arm(count(), poller, deadline_ns);
}

static int count_poller_add(void *self, const struct weir_poller *poller, int fd, uint64_t token)
{
    (void)self;
    return inner.poller_add(count(), poller, fd, token);
}

static int count_poller_remove(void *self, const struct weir_poller *poller, int fd)
{
    (void)self;
    return inner.poller_remove(count(), poller, fd);
}

static int64_t count_socket_send(void *self, int fd, const struct weir_iovec *parts,
                                 size_t parts_count)
{
    (void)self;
    return inner.socket_send(count(), fd, parts, parts_count);
}

static int64_t count_socket_recv(void *self, int fd, void *bytes, size_t bytes_max)
{
    (void)self;
    return inner.socket_recv(count(), fd, bytes, bytes_max);
}

static int count_socket_shutdown(void *self, int fd, enum weir_socket_shutdown how)
{
    (void)self;
    return inner.socket_shutdown(count(), fd, how);
}

static int count_socket_close(void *self, int fd)
{
    (void)self;
    return inner.socket_close(count(), fd);
}

static int count_socket_open(void *self, int family, int type)
{
    (void)self;
    return inner.socket_open(count(), family, type);
}

static int count_socket_connect(void *self, int fd, const struct weir_address *address)
{
    (void)self;
    return inner.socket_connect(count(), fd, address);
}

static int count_socket_error(void *self, int fd)
{
    (void)self;
    return inner.socket_error(count(), fd);
}

static int64_t count_socket_outstanding(void *self, int fd)
{
    (void)self;
    return inner.socket_outstanding(count(), fd);
}

static int count_socket_state(void *self, int fd)
{
    (void)self;
    return inner.socket_state(count(), fd);
}

static int count_socket_option(void *self, int fd, enum weir_socket_option option, int value)
{
    (void)self;
    return inner.socket_option(count(), fd, option, value);
}

struct weir_os bench_count_os(void)
{
    inner = weir_os_linux();
    struct weir_os os = inner;
    os.futex_wait = count_futex_wait;
    os.futex_wake = count_futex_wake;
    os.poller_wait = count_poller_wait;
    os.poller_wake = count_poller_wake;
    os.poller_arm = count_poller_arm;
    os.poller_add = count_poller_add;
    os.poller_remove = count_poller_remove;
    os.socket_open = count_socket_open;
    os.socket_connect = count_socket_connect;
    os.socket_send = count_socket_send;
    os.socket_recv = count_socket_recv;
    os.socket_shutdown = count_socket_shutdown;
    os.socket_close = count_socket_close;
    os.socket_error = count_socket_error;
    os.socket_outstanding = count_socket_outstanding;
    os.socket_state = count_socket_state;
    os.socket_option = count_socket_option;
    return os;
}

void bench_count_as_logger(void)
{
    is_logger = true;
}

struct bench_counts bench_counts(void)
{
    return (struct bench_counts){atomic_load(&by_loggers), atomic_load(&by_others)};
}
