// Unix streams, as net/unix/af_unix.c of Linux 6.18 has them.
//
// What a send queues at the receiver is one buffer per write, larger ones in pieces, each charged
// to the sender with all its memory until the receiver has read the last byte of it. A socket that
// goes (1) is marked dead, so that no send reaches it, (2) hangs its peer up, with ECONNRESET if
// anything was unread or the connection was never accepted, and (3) throws its queue away. Between
// these steps others run: a decision (WEIR_SIM_DELAY) says for how long.
#include <errno.h>

#include "runtime/assert.h"
#include "sim/net_state.h"

// The largest buffer: SKB_MAX_HEAD(0) and UNIX_SKB_FRAGS_SZ.
#define HEAD_BYTES_MAX 3776u
#define PAGES_BYTES_MAX 32768u
#define PAGE_BYTES 4096u

// ---- Kernel memory ----

static uint32_t round_up(uint32_t bytes, uint32_t unit)
{
    return (bytes + unit - 1) / unit * unit;
}

// struct sk_buff, and the head rounded up to a cache line with the shared info behind it, which
// comes from the next power of two of the allocator.
static uint32_t truesize_of_head(uint32_t bytes)
{
    uint32_t needed = round_up(bytes, 64) + 320;
    uint32_t given = 512;
    while (given < needed) {
        given *= 2;
    }
    return 256 + given;
}

uint32_t sim_unix_truesize(size_t bytes)
{
    uint32_t size = (uint32_t)bytes;
    weir_assert(size <= HEAD_BYTES_MAX + PAGES_BYTES_MAX);
    if (size <= HEAD_BYTES_MAX) {
        return truesize_of_head(size);
    }
    uint32_t pages = round_up(size - HEAD_BYTES_MAX, PAGE_BYTES);
    return truesize_of_head(size > pages ? size - pages : 0) + pages;
}

bool sim_unix_writable(const struct sim_socket *socket)
{
    // The kernel's counter has one more in it while the socket lives.
    return socket->state != SIM_LISTEN && (socket->send_memory + 1) * 4 <= socket->send_buffer;
}

int sim_socket_room(struct sim_socket *socket)
{
    int error = sim_socket_take_error(socket);
    if (error < 0) {
        return error;
    }
    if ((socket->shutdown & SIM_SHUT_WRITE) != 0) {
        return -EPIPE;
    }
    return socket->send_memory < socket->send_buffer ? 0 : -EAGAIN;
}

// The wake-up happens while one byte is still charged (sock_wfree).
void sim_socket_freed(struct weir_sim *sim, struct sim_socket *socket)
{
    if (socket->state != SIM_LISTEN && (socket->send_memory + 2) * 4 <= socket->send_buffer) {
        sim_socket_edge(sim, socket, WEIR_WRITABLE);
    }
}

void sim_socket_free_unit(struct weir_sim *sim, struct sim_socket *socket)
{
    struct sim_unit unit = *sim_units_first(&socket->units);
    sim_units_pop(&socket->units);
    unit.owner->send_memory -= unit.memory;
    sim_socket_freed(sim, unit.owner);
}

// ---- Connecting ----

static int unix_listen(struct weir_sim *sim, struct sim_socket *socket, int backlog)
{
    (void)sim;
    if (socket->address.bytes_count == 0 ||
        (socket->state != SIM_CLOSED && socket->state != SIM_LISTEN)) {
        return -EINVAL;
    }
    socket->backlog = (uint32_t)backlog;
    socket->state = SIM_LISTEN;
    return 0;
}

static int unix_connect(struct weir_sim *sim, struct sim_socket *socket,
                        const struct weir_address *address)
{
    int error = sim_address_check(socket, address);
    if (error < 0) {
        return error;
    }
    struct sim_socket *listener = sim_address_unix(sim->net, SIM_UNIX_STREAM, address, &error);
    if (listener == NULL) {
        return error;
    }
    if (listener->state != SIM_LISTEN || (listener->shutdown & SIM_SHUT_READ) != 0) {
        return -ECONNREFUSED;
    }
    if (listener->pending_count > listener->backlog) {
        return -EAGAIN;
    }
    if (socket->state != SIM_CLOSED) {
        return socket->state == SIM_ESTABLISHED ? -EISCONN : -EINVAL;
    }
    struct sim_socket *accepted = sim_socket_make(sim, SIM_UNIX_STREAM, socket->family);
    accepted->process = listener->process;
    accepted->address = listener->address;
    accepted->listener = listener;
    accepted->state = socket->state = SIM_ESTABLISHED;
    accepted->peer = socket;
    socket->peer = accepted;
    listener->pending_count++;
    sim_pending_push(listener, accepted);
    sim_socket_edge(sim, listener, WEIR_READABLE);
    return 0;
}

// ---- Sending and receiving ----

size_t sim_unix_chunk(const struct sim_socket *socket, size_t bytes)
{
    size_t most = (size_t)(socket->send_buffer >> 1) - 64; // two buffers keep the pipe moving
    most = most < HEAD_BYTES_MAX + PAGES_BYTES_MAX ? most : HEAD_BYTES_MAX + PAGES_BYTES_MAX;
    return bytes < most ? bytes : most;
}

static int64_t unix_send(struct weir_sim *sim, struct sim_socket *socket, struct sim_source *source)
{
    struct sim_socket *peer = socket->peer;
    if (peer == NULL) {
        return -ENOTCONN;
    }
    if ((socket->shutdown & SIM_SHUT_WRITE) != 0) {
        return -EPIPE;
    }
    int64_t sent = 0;
    int error = 0;
    while (source->bytes > 0) {
        size_t chunk = sim_unix_chunk(socket, source->bytes);
        error = sim_socket_room(socket); // a pending error is lost where something was sent before
        if (error < 0) {
            break;
        }
        if ((peer->shutdown & SIM_SHUT_READ) != 0) { // maybe dead
            error = -EPIPE;
            break;
        }
        struct sim_unit unit = {socket, (uint32_t)chunk, sim_unix_truesize(chunk)};
        sim_bytes_append(sim, &peer->in, source, chunk);
        sim_units_push(sim, &peer->units, unit);
        socket->send_memory += unit.memory;
        sent += (int64_t)chunk;
    }
    if (sent > 0) {
        sim_socket_edge(sim, peer, WEIR_READABLE);
    }
    return sent > 0 ? sent : error;
}

static int64_t unix_recv(struct weir_sim *sim, struct sim_socket *socket, void *bytes,
                         size_t bytes_max)
{
    if (socket->state != SIM_ESTABLISHED) {
        return -EINVAL;
    }
    struct sim_unit *unit = sim_units_first(&socket->units);
    if (unit == NULL) {
        int error = sim_socket_take_error(socket);
        if (error < 0) {
            return error;
        }
        return (socket->shutdown & SIM_SHUT_READ) != 0 ? 0 : -EAGAIN;
    }
    size_t taken = 0;
    while (unit != NULL && taken < bytes_max) {
        size_t piece = unit->bytes < bytes_max - taken ? unit->bytes : bytes_max - taken;
        sim_bytes_take(sim, &socket->in, (char *)bytes + taken, piece);
        taken += piece;
        unit->bytes -= (uint32_t)piece;
        if (unit->bytes == 0) {
            sim_socket_free_unit(sim, socket);
        }
        unit = sim_units_first(&socket->units);
    }
    return (int64_t)taken;
}

static int unix_shutdown(struct weir_sim *sim, struct sim_socket *socket, uint32_t how)
{
    struct sim_socket *peer = socket->peer;
    socket->shutdown |= how;
    sim_socket_edge(sim, socket, SIM_EDGE_ALL);
    if (peer != NULL) {
        peer->shutdown |= (how & SIM_SHUT_READ) != 0 ? SIM_SHUT_WRITE : 0;
        peer->shutdown |= (how & SIM_SHUT_WRITE) != 0 ? SIM_SHUT_READ : 0;
        sim_socket_edge(sim, peer, SIM_EDGE_ALL);
    }
    return 0;
}

// ---- Questions ----

static int64_t unix_outstanding(const struct sim_socket *socket)
{
    return (int64_t)socket->send_memory;
}

static uint32_t unix_ready(struct sim_socket *socket)
{
    uint32_t ready = socket->error != 0 ? WEIR_FAULT : 0;
    if (socket->shutdown == SIM_SHUT_BOTH || socket->state == SIM_CLOSED) {
        ready |= WEIR_HANGUP;
    }
    if ((socket->shutdown & SIM_SHUT_READ) != 0) {
        ready |= WEIR_PEER_CLOSED | WEIR_READABLE;
    }
    if (socket->units.count > 0 || socket->pending_first != NULL) {
        ready |= WEIR_READABLE;
    }
    return ready | (sim_unix_writable(socket) ? (uint32_t)WEIR_WRITABLE : 0);
}

// ---- The end ----

static void unix_dead(struct weir_sim *sim, struct sim_socket *socket)
{
    sim_address_unbind(sim->net, socket);
    socket->flags |= SIM_DEAD;
    socket->shutdown = SIM_SHUT_BOTH;
}

static void unix_hangup(struct weir_sim *sim, struct sim_socket *socket, bool never_accepted)
{
    struct sim_socket *peer = socket->peer;
    socket->peer = NULL;
    if (peer == NULL) {
        return;
    }
    peer->shutdown = SIM_SHUT_BOTH;
    if (socket->units.count > 0 || never_accepted) {
        peer->error = ECONNRESET;
    }
    sim_socket_happened(sim, peer, SIM_NETWORK_HANGUP, (uint64_t)peer->error);
    sim_socket_edge(sim, peer, SIM_EDGE_ALL);
}

static void unix_purge(struct weir_sim *sim, struct sim_socket *socket)
{
    uint64_t unread = socket->in.end - socket->in.begin;
    if (unread > 0) {
        sim_socket_happened(sim, socket, SIM_NETWORK_PURGED, unread);
    }
    while (socket->units.count > 0) {
        sim_socket_free_unit(sim, socket);
    }
    sim_bytes_drop(sim->net, &socket->in);
}

void sim_unix_die(struct weir_sim *sim, struct sim_socket *socket, bool never_accepted)
{
    unix_dead(sim, socket);
    unix_hangup(sim, socket, never_accepted);
    unix_purge(sim, socket);
}

static void unix_hangup_later(struct weir_sim *sim, void *target, uint64_t number)
{
    (void)number;
    unix_hangup(sim, target, false);
}

static void unix_purge_later(struct weir_sim *sim, void *target, uint64_t number)
{
    (void)number;
    unix_purge(sim, target);
}

// When the steps of a close happen, from its beginning.
static const struct {
    uint32_t hangup_ns, purge_ns;
} unix_deaths[] = {{0, 0},         {0, 100},       {0, 10000}, {100, 200},
                   {10000, 10000}, {10000, 20000}, {500, 500}, {1000, 1000}};

static void unix_close(struct weir_sim *sim, struct sim_socket *socket)
{
    if ((socket->flags & SIM_DEAD) != 0) {
        return; // a fault was faster
    }
    while (socket->pending_first != NULL) {
        sim_unix_die(sim, sim_pending_pop(socket), true);
    }
    uint32_t death = 0;
    if (socket->peer != NULL && (socket->peer->flags & SIM_DEAD) == 0) {
        death = sim_decide(sim, WEIR_SIM_DELAY, sizeof unix_deaths / sizeof unix_deaths[0]);
    }
    if (death == 0) {
        sim_unix_die(sim, socket, false);
        return;
    }
    uint64_t now_ns = sim_threads_now(sim->threads);
    unix_dead(sim, socket);
    if (unix_deaths[death].hangup_ns == 0) {
        unix_hangup(sim, socket, false);
    } else {
        sim_at(sim, now_ns + unix_deaths[death].hangup_ns, unix_hangup_later, socket, 0);
    }
    sim_at(sim, now_ns + unix_deaths[death].purge_ns, unix_purge_later, socket, 0);
}

void sim_unix_break(struct weir_sim *sim, struct sim_socket *socket)
{
    struct sim_socket *peer = socket->peer;
    if (peer == NULL || (peer->flags & SIM_DEAD) != 0) {
        return;
    }
    sim_socket_happened(sim, socket, SIM_NETWORK_FAULT, peer->in.end - peer->in.begin);
    sim_unix_die(sim, peer, false);
    // Its process finds a connection that is over.
    peer->error = ECONNRESET;
    sim_socket_edge(sim, peer, SIM_EDGE_ALL);
}

const struct sim_transport_ops sim_unix_ops = {
    .listen = unix_listen,
    .connect = unix_connect,
    .send = unix_send,
    .recv = unix_recv,
    .shutdown = unix_shutdown,
    .outstanding = unix_outstanding,
    .ready = unix_ready,
    .close = unix_close,
};
