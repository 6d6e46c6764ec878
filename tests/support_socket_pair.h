// A simulated connection: for tests of the network's model.
#ifndef WEIR_TESTS_SUPPORT_SOCKET_PAIR_H
#define WEIR_TESTS_SUPPORT_SOCKET_PAIR_H

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/support_scenario.h"

struct ends {
    int client, server, listener;
};

#define CALL(sim, function, ...) (weir_sim_os(sim)->function(weir_sim_os(sim)->self, __VA_ARGS__))

static inline struct weir_address address_unix(void)
{
    struct weir_address address;
    assert_int_equal(weir_address_unix(&address, "@pair"), 0);
    return address;
}

static inline struct weir_address address_tcp(void)
{
    struct sockaddr_in native = {
        .sin_family = AF_INET, .sin_port = htons(601), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct weir_address address = {.bytes_count = sizeof native};
    memcpy(address.bytes, &native, sizeof native);
    return address;
}

static inline struct ends pair_open(struct weir_sim *sim, int family)
{
    struct weir_address address = family == AF_UNIX ? address_unix() : address_tcp();
    struct ends ends;
    ends.listener = CALL(sim, socket_open, family, SOCK_STREAM);
    check(CALL(sim, socket_bind, ends.listener, &address) == 0);
    check(CALL(sim, socket_listen, ends.listener, 3) == 0);
    ends.client = CALL(sim, socket_open, family, SOCK_STREAM);
    int connected = CALL(sim, socket_connect, ends.client, &address);
    check(connected == (family == AF_UNIX ? 0 : -EINPROGRESS));
    ends.server = CALL(sim, socket_accept, ends.listener);
    check(ends.server >= 0);
    check((CALL(sim, socket_state, ends.client) & WEIR_WRITABLE) != 0);
    return ends;
}

static inline void pair_close(struct weir_sim *sim, struct ends ends)
{
    (void)CALL(sim, socket_close, ends.client);
    (void)CALL(sim, socket_close, ends.server);
    (void)CALL(sim, socket_close, ends.listener);
}

static inline int64_t send_bytes(struct weir_sim *sim, int fd, size_t bytes)
{
    static const unsigned char payload[100000];
    struct weir_iovec part = {payload, bytes};
    return CALL(sim, socket_send, fd, &part, 1);
}

static inline int64_t recv_bytes(struct weir_sim *sim, int fd, size_t bytes)
{
    unsigned char taken[4096];
    return CALL(sim, socket_recv, fd, taken, bytes);
}

static inline int state_of(struct weir_sim *sim, int fd)
{
    return CALL(sim, socket_state, fd);
}

static inline int64_t outstanding_of(struct weir_sim *sim, int fd)
{
    return CALL(sim, socket_outstanding, fd);
}

static inline int connect_result(struct weir_sim *sim, int family, int *fd)
{
    struct weir_address address = family == AF_UNIX ? address_unix() : address_tcp();
    *fd = CALL(sim, socket_open, family, SOCK_STREAM);
    return CALL(sim, socket_connect, *fd, &address);
}

#endif
