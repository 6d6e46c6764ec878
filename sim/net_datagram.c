// Datagrams: Unix, which wait for room at the receiver, and UDP, which are lost without it.
//
// Each message is one unit of the receiver's queue. A Unix one is charged to its sender until it is
// read or thrown away; that its receiver died shows in nothing but the next send.
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "runtime/assert.h"
#include "sim/net_state.h"

// A queue is full with more than net.unix.max_dgram_qlen of 10 in it.
#define QUEUE_MAX 10u
// SKB_MAX_ALLOC, and the pages a buffer can have besides.
#define HEAD_BYTES_MAX 16064u
#define PAGES_BYTES_MAX (17u * 4096u)
// What an IPv4 or IPv6 datagram can hold.
#define UDP_BYTES_MAX 65507u
#define UDP_BYTES_MAX_6 65527u
// IP and UDP headers in a UDP buffer, as far as they matter to its size.
#define UDP_HEADER_BYTES 64u

uint32_t sim_datagram_truesize(size_t bytes)
{
    uint32_t size = (uint32_t)bytes;
    uint32_t pages = 0;
    if (size > HEAD_BYTES_MAX) {
        pages = (size - HEAD_BYTES_MAX + 4095) / 4096 * 4096;
        pages = pages < PAGES_BYTES_MAX ? pages : PAGES_BYTES_MAX;
    }
    uint32_t needed = (size - (pages < size ? pages : size) + 63) / 64 * 64 + 320;
    uint32_t given = 512;
    while (given < needed) {
        given *= 2;
    }
    return 256 + given + pages;
}

// ---- The queue of a receiver ----

static bool queue_full(const struct sim_socket *socket)
{
    return socket->transport == SIM_UNIX_DATAGRAM && socket->units.count > QUEUE_MAX;
}

// Whether a connected pair: then only the sender's buffer bounds it.
static bool peer_full(const struct sim_socket *socket)
{
    const struct sim_socket *peer = socket->peer;
    return peer != NULL && peer->peer != socket && (peer->flags & SIM_DEAD) == 0 &&
           queue_full(peer);
}

// There is room, or the receiver is gone: those that wait look again.
static void senders_wake(struct weir_sim *sim, const struct sim_socket *receiver)
{
    for (uint32_t index = 0; index < sim->net->sockets_count; index++) {
        struct sim_socket *socket = sim->net->sockets[index];
        if (socket->peer == receiver && (socket->flags & SIM_WAITS) != 0) {
            socket->flags &= ~(uint32_t)SIM_WAITS;
            sim_socket_edge(sim, socket, WEIR_WRITABLE);
        }
    }
}

static void queue_push(struct weir_sim *sim, struct sim_socket *receiver, struct sim_unit unit,
                       struct sim_source *source)
{
    sim_bytes_append(sim, &receiver->in, source, unit.bytes);
    sim_units_push(sim, &receiver->units, unit);
    sim_socket_edge(sim, receiver, WEIR_READABLE);
}

static void unit_free(struct weir_sim *sim, struct sim_socket *socket)
{
    if (socket->transport == SIM_UDP) {
        socket->receive_memory -= sim_units_first(&socket->units)->memory;
        sim_units_pop(&socket->units);
    } else {
        sim_socket_free_unit(sim, socket);
    }
}

static void queue_purge(struct weir_sim *sim, struct sim_socket *socket)
{
    while (socket->units.count > 0) {
        unit_free(sim, socket);
    }
    sim_bytes_drop(sim->net, &socket->in);
}

// ---- Connecting ----

static int datagram_listen(struct weir_sim *sim, struct sim_socket *socket, int backlog)
{
    (void)sim;
    (void)socket;
    (void)backlog;
    return -EOPNOTSUPP;
}

// A Unix socket leaves its peer: what the peer, or anybody, had sent to it is lost.
static void peer_leave(struct weir_sim *sim, struct sim_socket *socket, struct sim_socket *peer)
{
    if (socket->units.count == 0) {
        return;
    }
    queue_purge(sim, socket);
    senders_wake(sim, socket);
    if ((peer->flags & SIM_DEAD) == 0 && peer->peer == socket) {
        peer->error = ECONNRESET;
        sim_socket_edge(sim, peer, WEIR_FAULT);
    }
}

static int datagram_connect_unix(struct weir_sim *sim, struct sim_socket *socket,
                                 const struct weir_address *address)
{
    int error = 0;
    struct sim_socket *other = sim_address_unix(sim->net, SIM_UNIX_DATAGRAM, address, &error);
    if (other == NULL) {
        return error;
    }
    if (other->peer != NULL && other->peer != socket) {
        return -EPERM;
    }
    struct sim_socket *before = socket->peer;
    socket->peer = other;
    socket->state = SIM_ESTABLISHED;
    if (before != NULL) {
        socket->flags &= ~(uint32_t)SIM_WAITS;
        sim_socket_edge(sim, socket, WEIR_WRITABLE);
    }
    if (before != NULL && before != other) {
        peer_leave(sim, socket, before);
    }
    return 0;
}

static int datagram_connect(struct weir_sim *sim, struct sim_socket *socket,
                            const struct weir_address *address)
{
    int error = sim_address_check(socket, address);
    if (error < 0) {
        return error;
    }
    if (socket->transport == SIM_UNIX_DATAGRAM) {
        return datagram_connect_unix(sim, socket, address);
    }
    error = sim_address_ephemeral(sim, socket, address);
    if (error < 0) {
        return error;
    }
    socket->remote = *address;
    socket->state = SIM_ESTABLISHED;
    return 0;
}

// ---- Unix ----

// Why the peer does not take a message: 0, or a negative errno.
static int unix_datagram_refused(struct weir_sim *sim, struct sim_socket *socket)
{
    struct sim_socket *peer = socket->peer;
    if (peer == NULL) {
        return -ENOTCONN;
    }
    if ((peer->flags & SIM_DEAD) != 0) {
        socket->peer = NULL;
        socket->state = SIM_CLOSED;
        socket->flags &= ~(uint32_t)SIM_WAITS;
        sim_socket_edge(sim, socket, WEIR_WRITABLE);
        peer_leave(sim, socket, peer);
        return -ECONNREFUSED;
    }
    if (peer->peer != NULL && peer->peer != socket) {
        return -EPERM;
    }
    if ((peer->shutdown & SIM_SHUT_READ) != 0) {
        return -EPIPE;
    }
    if (peer_full(socket)) {
        socket->flags |= SIM_WAITS;
        return -EAGAIN;
    }
    return 0;
}

static int64_t unix_datagram_send(struct weir_sim *sim, struct sim_socket *socket,
                                  struct sim_source *source)
{
    if (source->bytes > socket->send_buffer - 32) {
        return -EMSGSIZE;
    }
    int error = sim_socket_room(socket);
    if (error < 0) {
        return error;
    }
    error = unix_datagram_refused(sim, socket);
    if (error < 0) {
        sim_socket_freed(sim, socket);
        return error;
    }
    int64_t bytes = (int64_t)source->bytes;
    struct sim_unit unit = {socket, (uint32_t)bytes, sim_datagram_truesize((size_t)bytes)};
    socket->send_memory += unit.memory;
    queue_push(sim, socket->peer, unit, source);
    return bytes;
}

// ---- UDP ----

static void udp_arrive(struct weir_sim *sim, struct sim_socket *socket, struct sim_source *source)
{
    size_t bytes = source->bytes;
    struct sim_socket *to = sim_address_port(sim->net, SIM_UDP, &socket->remote, &socket->address);
    if (to == NULL) { // an ICMP "port unreachable" comes back
        socket->error = ECONNREFUSED;
        sim_socket_edge(sim, socket, WEIR_FAULT);
        return;
    }
    uint32_t memory = sim_datagram_truesize(bytes + UDP_HEADER_BYTES);
    if (to->receive_memory > to->receive_buffer) {
        sim_socket_happened(sim, socket, SIM_NETWORK_LOST, bytes);
        return;
    }
    to->receive_memory += memory;
    queue_push(sim, to, (struct sim_unit){NULL, (uint32_t)bytes, memory}, source);
}

static int64_t udp_send(struct weir_sim *sim, struct sim_socket *socket, struct sim_source *source)
{
    if (socket->state != SIM_ESTABLISHED) {
        return -EDESTADDRREQ;
    }
    if (source->bytes > (socket->family == AF_INET ? UDP_BYTES_MAX : UDP_BYTES_MAX_6)) {
        return -EMSGSIZE;
    }
    int error = sim_socket_room(socket);
    if (error < 0) {
        return error;
    }
    int64_t bytes = (int64_t)source->bytes;
    const struct sim_socket *to =
        sim_address_port(sim->net, SIM_UDP, &socket->remote, &socket->address);
    const uint8_t *down = sim->net->link_down;
    bool lost = to != NULL && to->process != socket->process &&
                (down[to->process] != 0 || down[socket->process] != 0);
    if (lost || sim_decide(sim, WEIR_SIM_DELAY, 2) != 0) {
        sim_socket_happened(sim, socket, SIM_NETWORK_LOST, (uint64_t)bytes);
    } else {
        udp_arrive(sim, socket, source);
    }
    sim_socket_edge(sim, socket, WEIR_WRITABLE); // the buffer was charged and is free again
    return bytes;
}

// ---- Both ----

static int64_t datagram_send(struct weir_sim *sim, struct sim_socket *socket,
                             struct sim_source *source)
{
    return socket->transport == SIM_UDP ? udp_send(sim, socket, source)
                                        : unix_datagram_send(sim, socket, source);
}

// What does not fit into the caller's buffer is lost.
static int64_t datagram_recv(struct weir_sim *sim, struct sim_socket *socket, void *bytes,
                             size_t bytes_max)
{
    int error = sim_socket_take_error(socket);
    if (error < 0) {
        return error;
    }
    const struct sim_unit *unit = sim_units_first(&socket->units);
    if (unit == NULL) {
        return -EAGAIN; // also where reading is shut
    }
    size_t held = unit->bytes;
    size_t taken = held < bytes_max ? held : bytes_max;
    sim_bytes_take(sim, &socket->in, bytes, taken);
    sim_bytes_skip(&socket->in, held - taken);
    unit_free(sim, socket);
    senders_wake(sim, socket);
    return (int64_t)taken;
}

static int datagram_shutdown(struct weir_sim *sim, struct sim_socket *socket, uint32_t how)
{
    bool connected = socket->state == SIM_ESTABLISHED;
    socket->shutdown |= how;
    sim_socket_edge(sim, socket, SIM_EDGE_ALL);
    return socket->transport == SIM_UDP && !connected ? -ENOTCONN : 0;
}

static int64_t datagram_outstanding(const struct sim_socket *socket)
{
    return (int64_t)socket->send_memory;
}

static uint32_t datagram_ready(struct sim_socket *socket)
{
    uint32_t ready = socket->error != 0 ? WEIR_FAULT : 0;
    if ((socket->shutdown & SIM_SHUT_READ) != 0) {
        ready |= WEIR_PEER_CLOSED | WEIR_READABLE;
    }
    if (socket->shutdown == SIM_SHUT_BOTH) {
        ready |= WEIR_HANGUP;
    }
    if (socket->units.count > 0) {
        ready |= WEIR_READABLE;
    }
    if (socket->transport == SIM_UDP) {
        return ready | WEIR_WRITABLE;
    }
    if (sim_unix_writable(socket)) {
        bool full = peer_full(socket);
        socket->flags |= full ? SIM_WAITS : 0;
        ready |= full ? 0 : WEIR_WRITABLE;
    }
    return ready;
}

static void datagram_close(struct weir_sim *sim, struct sim_socket *socket)
{
    sim_address_unbind(sim->net, socket);
    socket->flags |= SIM_DEAD;
    socket->shutdown = SIM_SHUT_BOTH;
    socket->state = SIM_CLOSED;
    socket->peer = NULL;
    senders_wake(sim, socket);
    queue_purge(sim, socket);
}

const struct sim_transport_ops sim_datagram_ops = {
    .listen = datagram_listen,
    .connect = datagram_connect,
    .send = datagram_send,
    .recv = datagram_recv,
    .shutdown = datagram_shutdown,
    .outstanding = datagram_outstanding,
    .ready = datagram_ready,
    .close = datagram_close,
};
