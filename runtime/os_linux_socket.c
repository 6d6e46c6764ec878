// Linux sockets and names.
#include <arpa/inet.h>
#include <linux/sockios.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "runtime/cold.h"
#include "runtime/os_linux.h"

// The kernel's UIO_MAXIOV, which refuses more with EMSGSIZE. A stream takes the rest with the next
// send; a datagram must not have so many.
#define PARTS_MAX 1024
// Unanswered keepalive probes, one idle time apart, after which the peer is dead.
#define KEEPALIVE_PROBES 3
#define TCP_KEEPALIVE_INTERVAL_S_MAX 32767

_Static_assert(sizeof(struct weir_iovec) == sizeof(struct iovec), "handed to sendmsg as it is");
_Static_assert(offsetof(struct weir_iovec, bytes) == offsetof(struct iovec, iov_base), "same");
_Static_assert(offsetof(struct weir_iovec, bytes_count) == offsetof(struct iovec, iov_len), "same");
// One more than the struct: for a path without a terminator the kernel counts one byte beyond it.
_Static_assert(sizeof(((struct weir_address *)0)->bytes) >= sizeof(struct sockaddr_un) + 1, "fits");
_Static_assert(sizeof(((struct weir_address *)0)->bytes) >= sizeof(struct sockaddr_in6), "fits");
_Static_assert(_Alignof(struct weir_address) >= _Alignof(struct sockaddr_in6), "read in place");
_Static_assert(offsetof(struct sockaddr_in, sin_port) == offsetof(struct sockaddr_in6, sin6_port),
               "the port is put into both in the same place");
_Static_assert(WEIR_SHUTDOWN_READ == (int)SHUT_RD && WEIR_SHUTDOWN_WRITE == (int)SHUT_WR &&
                   WEIR_SHUTDOWN_BOTH == (int)SHUT_RDWR,
               "handed to shutdown as it is");

// ---- Sockets ----

WEIR_COLD static int linux_socket_open(void *self, int family, int type)
{
    (void)self;
    return errno_unless(socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

WEIR_COLD static int linux_socket_bind(void *self, int fd, const struct weir_address *address)
{
    (void)self;
    weir_assert(address != NULL && address->bytes_count <= sizeof address->bytes);
    return errno_unless(bind(fd, (const struct sockaddr *)address->bytes, address->bytes_count));
}

WEIR_COLD static int linux_socket_listen(void *self, int fd, int backlog)
{
    (void)self;
    return errno_unless(listen(fd, backlog));
}

static int linux_socket_accept(void *self, int fd)
{
    (void)self;
    int result = -1;
    do {
        result = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    } while (result < 0 && errno == EINTR);
    return errno_unless(result);
}

// Not retried: an interrupted connect goes on by itself and a second one would say EALREADY.
WEIR_COLD static int linux_socket_connect(void *self, int fd, const struct weir_address *address)
{
    (void)self;
    weir_assert(address != NULL && address->bytes_count <= sizeof address->bytes);
    return errno_unless(connect(fd, (const struct sockaddr *)address->bytes, address->bytes_count));
}

static int64_t linux_socket_send(void *self, int fd, const struct weir_iovec *parts,
                                 size_t parts_count)
{
    (void)self;
    weir_assert(parts != NULL || parts_count == 0);
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)parts,
                             .msg_iovlen = parts_count < PARTS_MAX ? parts_count : PARTS_MAX};
    const int flags = MSG_NOSIGNAL | MSG_DONTWAIT;
    ssize_t count = -1;
    do { // for one part the kernel need not fetch a header and a list
        count = parts_count == 1 ? send(fd, parts->bytes, parts->bytes_count, flags)
                                 : sendmsg(fd, &message, flags);
    } while (count < 0 && errno == EINTR);
    return count < 0 ? -errno : (int64_t)count;
}

static int64_t linux_socket_recv(void *self, int fd, void *bytes, size_t bytes_max)
{
    (void)self;
    weir_assert(bytes != NULL || bytes_max == 0);
    ssize_t count = -1;
    do {
        count = recv(fd, bytes, bytes_max, MSG_DONTWAIT);
    } while (count < 0 && errno == EINTR);
    return count < 0 ? -errno : (int64_t)count;
}

WEIR_COLD static int linux_socket_shutdown(void *self, int fd, enum weir_socket_shutdown how)
{
    (void)self;
    return errno_unless(shutdown(fd, (int)how));
}

// Not retried: the number is free again even after EINTR and may be another thread's by now.
WEIR_COLD static int linux_socket_close(void *self, int fd)
{
    (void)self;
    return errno_unless(close(fd));
}

WEIR_COLD static int linux_socket_error(void *self, int fd)
{
    (void)self;
    int error = 0;
    socklen_t bytes = sizeof error;
    int result = getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes);
    return result < 0 ? -errno : error;
}

static int64_t linux_socket_outstanding(void *self, int fd)
{
    (void)self;
    int bytes = 0;
    int result = ioctl(fd, SIOCOUTQ, &bytes);
    return result < 0 ? -errno : bytes;
}

static int linux_socket_state(void *self, int fd)
{
    (void)self;
    // A count taken before this call must not have been taken after it: the two system calls read
    // different words of the kernel, and entering the kernel is no barrier on every processor.
    __sync_synchronize();
    struct pollfd entry = {.fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP};
    int result = -1;
    do {
        result = poll(&entry, 1, 0);
    } while (result < 0 && errno == EINTR);
    if (result < 0) {
        return -errno;
    }
    if ((entry.revents & POLLNVAL) != 0) {
        return -EBADF;
    }
    return (int)weir_os_linux_readiness((uint32_t)(uint16_t)entry.revents);
}

static int option_set(int fd, int level, int name, int value)
{
    return errno_unless(setsockopt(fd, level, name, &value, sizeof value));
}

// The idle time also spaces the probes: a dead peer is found after (probes + 1) idle times, not
// after the kernel's eleven minutes more.
static int option_keepalive(int fd, int idle_s)
{
    int result = option_set(fd, SOL_SOCKET, SO_KEEPALIVE, idle_s > 0);
    if (result < 0 || idle_s <= 0) {
        return result;
    }
    int seconds = idle_s < TCP_KEEPALIVE_INTERVAL_S_MAX ? idle_s : TCP_KEEPALIVE_INTERVAL_S_MAX;
    result = option_set(fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds);
    if (result == 0) {
        result = option_set(fd, IPPROTO_TCP, TCP_KEEPINTVL, seconds);
    }
    if (result == 0) {
        result = option_set(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
    }
    return result;
}

WEIR_COLD static int linux_socket_option(void *self, int fd, enum weir_socket_option option,
                                         int value)
{
    (void)self;
    switch (option) {
    case WEIR_SOCKET_KEEPALIVE: return option_keepalive(fd, value);
    case WEIR_SOCKET_USER_TIMEOUT_MS: return option_set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, value);
    case WEIR_SOCKET_NOTSENT_BYTES: return option_set(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, value);
    case WEIR_SOCKET_NODELAY: return option_set(fd, IPPROTO_TCP, TCP_NODELAY, value);
    case WEIR_SOCKET_SEND_BUFFER_BYTES: return option_set(fd, SOL_SOCKET, SO_SNDBUF, value);
    case WEIR_SOCKET_REUSE_ADDRESS: return option_set(fd, SOL_SOCKET, SO_REUSEADDR, value);
    }
    return -ENOPROTOOPT;
}

WEIR_COLD static int linux_socket_address(void *self, int fd, struct weir_address *address)
{
    (void)self;
    weir_assert(address != NULL);
    *address = (struct weir_address){.bytes_count = 0};
    socklen_t bytes = sizeof address->bytes;
    int result = getsockname(fd, (struct sockaddr *)address->bytes, &bytes);
    if (result < 0) {
        return -errno;
    }
    weir_assert(bytes <= sizeof address->bytes);
    address->bytes_count = bytes;
    return 0;
}

// ---- Names ----

static int resolve_error(int code)
{
    switch (code) {
    case EAI_MEMORY: return WEIR_EMEMORY;
    case EAI_SYSTEM: return errno != 0 ? -errno : -EIO;
    default: return WEIR_ENAME;
    }
}

static bool address_of(struct weir_address *address, const struct addrinfo *entry, uint16_t port)
{
    if (entry->ai_family != AF_INET && entry->ai_family != AF_INET6) {
        return false;
    }
    weir_assert(entry->ai_addrlen <= sizeof address->bytes);
    *address = (struct weir_address){.bytes_count = entry->ai_addrlen};
    memcpy(address->bytes, entry->ai_addr, entry->ai_addrlen);
    uint16_t port_big_endian = htons(port);
    memcpy(address->bytes + offsetof(struct sockaddr_in, sin_port), &port_big_endian,
           sizeof port_big_endian);
    return true;
}

// One socket type, because getaddrinfo repeats each address for every type. No AI_ADDRCONFIG: it
// hides "localhost" on a machine, or in a container, that has nothing but a loopback.
WEIR_COLD static int linux_resolve(void *self, const char *host, uint16_t port, bool numeric,
                                   struct weir_address *addresses, uint32_t addresses_max)
{
    (void)self;
    weir_assert(host != NULL && addresses != NULL && addresses_max > 0);
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = numeric ? AI_NUMERICHOST : 0};
    struct addrinfo *list = NULL;
    int result = getaddrinfo(host, NULL, &hints, &list);
    if (result != 0) {
        return resolve_error(result);
    }
    uint32_t count = 0;
    for (const struct addrinfo *entry = list; entry != NULL && count < addresses_max;
         entry = entry->ai_next) {
        count += address_of(&addresses[count], entry, port) ? 1 : 0;
    }
    freeaddrinfo(list);
    return count > 0 ? (int)count : WEIR_ENAME;
}

void weir_os_linux_fill_socket(struct weir_os *os)
{
    os->socket_open = linux_socket_open;
    os->socket_bind = linux_socket_bind;
    os->socket_listen = linux_socket_listen;
    os->socket_accept = linux_socket_accept;
    os->socket_connect = linux_socket_connect;
    os->socket_send = linux_socket_send;
    os->socket_recv = linux_socket_recv;
    os->socket_shutdown = linux_socket_shutdown;
    os->socket_close = linux_socket_close;
    os->socket_error = linux_socket_error;
    os->socket_outstanding = linux_socket_outstanding;
    os->socket_state = linux_socket_state;
    os->socket_option = linux_socket_option;
    os->socket_address = linux_socket_address;
    os->resolve = linux_resolve;
}
