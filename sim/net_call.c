// The calls of net.h that do something to a socket: faults first, then its transport.
#include <errno.h>
#include <sys/socket.h>

#include "sim/net_state.h"

// As /proc/sys/net/core/somaxconn.
#define BACKLOG_MAX 4096
// As os_linux_socket.c: more parts than the kernel takes are left for the next send.
#define PARTS_MAX 1024

static bool transport_of(int family, int type, enum sim_transport *transport)
{
    bool stream = type == SOCK_STREAM;
    if (family == AF_UNIX) {
        *transport = stream ? SIM_UNIX_STREAM : SIM_UNIX_DATAGRAM;
    } else {
        *transport = stream ? SIM_TCP : SIM_UDP;
    }
    return (family == AF_UNIX || family == AF_INET || family == AF_INET6) &&
           (stream || type == SOCK_DGRAM);
}

int sim_socket_open(struct weir_sim *sim, int family, int type)
{
    enum sim_transport transport = SIM_UNIX_STREAM;
    int fd = -EAFNOSUPPORT;
    if (transport_of(family, type, &transport)) {
        fd = sim_fault_open(sim);
    }
    if (fd == 0) {
        struct sim_socket *socket = sim_socket_make(sim, transport, family);
        fd = sim_socket_file(sim, socket);
        if (fd >= 0) {
            sim_socket_draw(sim, socket);
        }
    }
    sim_event(sim, SIM_EVENT_SOCKET, fd < 0 ? 0 : sim_file_number(sim, fd), (uint64_t)family,
              (uint64_t)type, NULL);
    return fd;
}

int sim_socket_bind(struct weir_sim *sim, int fd, const struct weir_address *address)
{
    int result = 0;
    struct sim_socket *socket = sim_socket_at(sim, fd, &result);
    if (socket != NULL) {
        result = sim_address_bind(sim, socket, address);
    }
    sim_event(sim, SIM_EVENT_BIND, sim_file_number(sim, fd), (uint64_t)(int64_t)result, 0, NULL);
    return result;
}

int sim_socket_listen(struct weir_sim *sim, int fd, int backlog)
{
    int result = 0;
    struct sim_socket *socket = sim_socket_at(sim, fd, &result);
    if (socket != NULL) {
        // As the kernel: a negative backlog is a very large one.
        int bounded = backlog < 0 || backlog > BACKLOG_MAX ? BACKLOG_MAX : backlog;
        result = sim_socket_ops(socket)->listen(sim, socket, bounded);
    }
    sim_event(sim, SIM_EVENT_LISTEN, sim_file_number(sim, fd), (uint64_t)(int64_t)result, 0, NULL);
    return result;
}

// The descriptor first, as the kernel does: without one the connection stays in the queue.
static int socket_accept(struct weir_sim *sim, struct sim_socket *listener)
{
    if (listener->transport == SIM_UNIX_DATAGRAM || listener->transport == SIM_UDP) {
        return -EOPNOTSUPP;
    }
    if (listener->state != SIM_LISTEN) {
        return -EINVAL;
    }
    int result = sim_fault_accept(sim, listener);
    if (result < 0) {
        return result;
    }
    struct sim_socket *socket = listener->pending_first;
    if (socket == NULL) {
        return -EAGAIN;
    }
    int fd = sim_socket_file(sim, socket);
    if (fd >= 0) {
        (void)sim_pending_pop(listener);
    }
    return fd;
}

int sim_socket_accept(struct weir_sim *sim, int fd)
{
    int result = 0;
    struct sim_socket *socket = sim_socket_at(sim, fd, &result);
    if (socket != NULL) {
        result = socket_accept(sim, socket);
        sim_wire_pump(sim);
    }
    sim_event(sim, SIM_EVENT_ACCEPT, sim_file_number(sim, fd), (uint64_t)(int64_t)result, 0, NULL);
    return result;
}

int sim_socket_connect(struct weir_sim *sim, int fd, const struct weir_address *address)
{
    int result = 0;
    struct sim_socket *socket = sim_socket_at(sim, fd, &result);
    if (socket != NULL) {
        result = sim_fault_connect(sim, socket, address);
        if (result == 0) {
            result = sim_socket_ops(socket)->connect(sim, socket, address);
        }
        sim_wire_pump(sim);
    }
    sim_event(sim, SIM_EVENT_CONNECT, sim_file_number(sim, fd), (uint64_t)(int64_t)result, 0, NULL);
    return result;
}

int64_t sim_socket_send(struct weir_sim *sim, int fd, const struct weir_iovec *parts,
                        size_t parts_count)
{
    int error = 0;
    struct sim_socket *socket = sim_socket_at(sim, fd, &error);
    if (socket == NULL) {
        return sim_socket_called(sim, SIM_EVENT_SEND, fd, 0, error);
    }
    size_t count = parts_count < PARTS_MAX ? parts_count : PARTS_MAX;
    if (count > 0) {
        sim_memory_read(sim->memory, parts, count * sizeof parts[0], NULL);
    }
    struct sim_source source = {.parts = parts};
    for (size_t index = 0; index < count; index++) {
        source.bytes += parts[index].bytes_count;
    }
    size_t bytes = source.bytes;
    int64_t result = sim_fault_send(sim, socket, &source);
    if (result == 0) {
        result = sim_socket_ops(socket)->send(sim, socket, &source);
    }
    sim_wire_pump(sim);
    return sim_socket_called(sim, SIM_EVENT_SEND, fd, bytes, result);
}

int64_t sim_socket_recv(struct weir_sim *sim, int fd, void *bytes, size_t bytes_max)
{
    int error = 0;
    struct sim_socket *socket = sim_socket_at(sim, fd, &error);
    if (socket == NULL) {
        return sim_socket_called(sim, SIM_EVENT_RECV, fd, 0, error);
    }
    size_t allowed = bytes_max;
    int64_t result = sim_fault_recv(sim, socket, &allowed);
    if (result == 0) {
        result = sim_socket_ops(socket)->recv(sim, socket, bytes, allowed);
    }
    sim_wire_pump(sim);
    return sim_socket_called(sim, SIM_EVENT_RECV, fd, bytes_max, result);
}

int sim_socket_shutdown(struct weir_sim *sim, int fd, enum weir_socket_shutdown how)
{
    static const uint32_t masks[] = {SIM_SHUT_READ, SIM_SHUT_WRITE, SIM_SHUT_BOTH};
    int result = 0;
    struct sim_socket *socket = sim_socket_at(sim, fd, &result);
    if (socket != NULL && (uint32_t)how > WEIR_SHUTDOWN_BOTH) {
        result = -EINVAL;
    } else if (socket != NULL) {
        result = sim_fault_shutdown(sim, socket);
        if (result == 0) {
            result = sim_socket_ops(socket)->shutdown(sim, socket, masks[how]);
        }
        sim_wire_pump(sim);
    }
    return (int)sim_socket_called(sim, SIM_EVENT_SHUTDOWN, fd, (uint64_t)how, result);
}
