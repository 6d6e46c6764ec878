// TCP sockets: the calls, as net/ipv4/tcp.c of Linux 6.18 answers them.
//
// What a program writes is first outstanding, then acknowledged by the peer's kernel, then read by
// the peer; only the last is delivery. The count of what is outstanding survives the connection.
//
// Not modelled: segments that are lost or overtaken while the link is up, congestion, autotuning of
// buffers, urgent data, TIME_WAIT keeping a port, a second connection on one socket, the queue of
// half-open connections (it counts as part of the backlog).
#include <errno.h>

#include "runtime/assert.h"
#include "sim/net_state.h"

// The most a send puts into the buffer between two looks at its room: a buffer of the kernel's.
#define GOAL_BYTES_MAX 65483u

bool sim_tcp_alive(const struct sim_socket *socket)
{
    return socket->state != SIM_CLOSED && socket->state != SIM_LISTEN &&
           socket->state != SIM_TIME_WAIT;
}

static bool tcp_closed(const struct sim_socket *socket)
{
    return socket->state == SIM_CLOSED || socket->state == SIM_TIME_WAIT;
}

uint64_t sim_tcp_unread(const struct sim_socket *socket)
{
    uint64_t ended = (socket->flags & SIM_ENDED) != 0;
    return socket->tcp.received - ended - socket->tcp.read;
}

void sim_tcp_lose(struct sim_socket *socket)
{
    uint64_t unread = sim_tcp_unread(socket);
    if (unread > 0) {
        sim_bytes_skip(&socket->peer->tcp.out, (size_t)unread);
        socket->tcp.read += unread;
    }
}

void sim_tcp_done(struct weir_sim *sim, struct sim_socket *socket, int error)
{
    socket->error = error;
    socket->state = SIM_CLOSED;
    socket->shutdown = SIM_SHUT_BOTH;
    sim_socket_edge(sim, socket, SIM_EDGE_ALL);
}

// ---- Connecting ----

static int tcp_listen(struct weir_sim *sim, struct sim_socket *socket, int backlog)
{
    if (socket->progress != SIM_UNCONNECTED ||
        (socket->state != SIM_CLOSED && socket->state != SIM_LISTEN)) {
        return -EINVAL;
    }
    int error = sim_address_ephemeral(sim, socket, NULL);
    if (error == 0) {
        error = sim_address_listen(sim->net, socket);
    }
    if (error == 0) {
        socket->backlog = (uint32_t)backlog;
        socket->state = SIM_LISTEN;
    }
    return error;
}

// As a socket that was never connected. One that had a peer cannot connect again, unlike the real
// one: its positions and what the peer has yet to read would have to go on beside the new ones.
static void tcp_disconnect(struct sim_socket *socket, int error)
{
    socket->state = SIM_CLOSED;
    socket->progress = socket->peer == NULL ? SIM_UNCONNECTED : SIM_CONNECTED;
    socket->shutdown = 0;
    socket->error = error;
}

static int connect_again(struct sim_socket *socket)
{
    if (socket->state == SIM_SYN_SENT) {
        return -EALREADY;
    }
    if (tcp_closed(socket)) {
        int error = sim_socket_take_error(socket);
        tcp_disconnect(socket, 0);
        return error != 0 ? error : -ECONNABORTED;
    }
    socket->progress = SIM_CONNECTED;
    return 0;
}

int sim_tcp_dial(struct weir_sim *sim, struct sim_socket *socket,
                 const struct weir_address *address)
{
    int error = sim_address_check(socket, address);
    if (error == 0) {
        error = sim_address_ephemeral(sim, socket, address);
    }
    if (error < 0) {
        return error;
    }
    socket->remote = *address;
    socket->tcp.attempts = 0;
    socket->state = SIM_SYN_SENT;
    socket->progress = SIM_CONNECTING;
    return 0;
}

static int tcp_connect(struct weir_sim *sim, struct sim_socket *socket,
                       const struct weir_address *address)
{
    if (socket->progress == SIM_CONNECTING) {
        return connect_again(socket);
    }
    if (socket->progress == SIM_CONNECTED || socket->state != SIM_CLOSED) {
        return -EISCONN;
    }
    int error = sim_tcp_dial(sim, socket, address);
    if (error < 0) {
        return error;
    }
    sim_wire_draw(sim, socket);
    sim_wire_connect(sim, socket);
    return -EINPROGRESS; // even if it is answered before this call returns
}

// ---- Sending ----

static uint64_t tcp_unsent(const struct sim_socket *socket)
{
    return socket->tcp.written - socket->tcp.sent;
}

static uint64_t tcp_queued(const struct sim_socket *socket)
{
    return socket->tcp.written - socket->tcp.acknowledged;
}

// sk_stream_memory_free, and the same for poll(), which wants a third of the buffer free.
static bool tcp_room(const struct sim_socket *socket)
{
    return tcp_queued(socket) < socket->send_buffer && tcp_unsent(socket) < socket->notsent_bytes;
}

static bool tcp_writable(const struct sim_socket *socket)
{
    uint64_t queued = tcp_queued(socket);
    return queued < socket->send_buffer && socket->send_buffer - queued >= queued / 2 &&
           tcp_unsent(socket) * 2 < socket->notsent_bytes;
}

void sim_tcp_space(struct weir_sim *sim, struct sim_socket *socket)
{
    if ((socket->flags & SIM_NO_SPACE) != 0 && tcp_writable(socket)) {
        socket->flags &= ~(uint32_t)SIM_NO_SPACE;
        sim_socket_edge(sim, socket, WEIR_WRITABLE);
    }
}

static int send_refused(struct sim_socket *socket)
{
    bool connecting = socket->state == SIM_SYN_SENT || socket->state == SIM_SYN_RECEIVED;
    bool open = socket->state == SIM_ESTABLISHED || socket->state == SIM_CLOSE_WAIT;
    if (open && socket->error == 0 && (socket->shutdown & SIM_SHUT_WRITE) == 0) {
        return 0;
    }
    int error = sim_socket_take_error(socket);
    return error != 0 ? error : connecting ? -EAGAIN : -EPIPE;
}

static uint64_t send_goal(const struct sim_socket *socket)
{
    uint64_t goal = socket->peer->receive_buffer / 2;
    return goal < GOAL_BYTES_MAX ? goal : GOAL_BYTES_MAX;
}

// Into the buffer, as far as it has room. What nobody will read is only counted.
static int64_t send_queue(struct weir_sim *sim, struct sim_socket *socket,
                          struct sim_source *source)
{
    uint64_t goal = send_goal(socket);
    int64_t queued = 0;
    while (source->bytes > 0 && tcp_room(socket)) {
        size_t chunk = source->bytes < goal ? source->bytes : (size_t)goal;
        if ((socket->peer->flags & SIM_DEAD) == 0) {
            sim_bytes_append(sim, &socket->tcp.out, source, chunk);
        } else {
            source->bytes -= chunk;
        }
        if (tcp_queued(socket) == 0) {
            socket->tcp.progress_ns = sim_threads_now(sim->threads);
        }
        socket->tcp.written += chunk;
        queued += (int64_t)chunk;
    }
    return queued;
}

static int64_t tcp_send(struct weir_sim *sim, struct sim_socket *socket, struct sim_source *source)
{
    int error = send_refused(socket);
    if (error < 0 || source->bytes == 0) {
        return error;
    }
    int64_t queued = send_queue(sim, socket, source);
    if (source->bytes > 0) {
        socket->flags |= SIM_NO_SPACE;
        if (tcp_queued(socket) == 0) {
            sim_tcp_space(sim, socket);
        }
    }
    if (queued > 0) {
        sim_wire_draw(sim, socket);
        sim_wire_output(sim, socket);
    }
    return queued > 0 ? queued : -EAGAIN;
}

// ---- Receiving ----

static int64_t tcp_recv(struct weir_sim *sim, struct sim_socket *socket, void *bytes,
                        size_t bytes_max)
{
    if (socket->state == SIM_LISTEN) {
        return -ENOTCONN;
    }
    uint64_t unread = sim_tcp_unread(socket);
    if (unread > 0) {
        size_t taken = unread < bytes_max ? (size_t)unread : bytes_max;
        sim_bytes_take(sim, &socket->peer->tcp.out, bytes, taken);
        socket->tcp.read += taken;
        sim_wire_opened(sim, socket);
        return (int64_t)taken;
    }
    if ((socket->flags & SIM_ENDED) != 0) {
        return 0; // an error, if there is one, stays
    }
    int error = sim_socket_take_error(socket);
    if (error < 0) {
        return error;
    }
    if ((socket->shutdown & SIM_SHUT_READ) != 0) {
        return 0;
    }
    return tcp_closed(socket) ? -ENOTCONN : -EAGAIN;
}

// ---- The end ----

static void tcp_fin(struct weir_sim *sim, struct sim_socket *socket)
{
    if (socket->state != SIM_ESTABLISHED && socket->state != SIM_CLOSE_WAIT) {
        return;
    }
    socket->state = socket->state == SIM_ESTABLISHED ? SIM_FIN_WAIT_1 : SIM_LAST_ACK;
    if (tcp_queued(socket) == 0) {
        socket->tcp.progress_ns = sim_threads_now(sim->threads);
    }
    socket->flags |= SIM_FIN_QUEUED;
    socket->tcp.written++;
    sim_wire_draw(sim, socket);
    sim_wire_output(sim, socket);
}

// Those that wait to be accepted are reset.
static void tcp_unlisten(struct weir_sim *sim, struct sim_socket *socket)
{
    while (socket->pending_first != NULL) {
        struct sim_socket *waiting = sim_pending_pop(socket);
        bool alive = sim_tcp_alive(waiting);
        waiting->flags |= SIM_DEAD;
        sim_tcp_done(sim, waiting, 0);
        if (alive) {
            sim_wire_draw(sim, waiting);
            sim_wire_reset(sim, waiting);
        }
    }
    socket->state = SIM_CLOSED;
}

static int tcp_shutdown(struct weir_sim *sim, struct sim_socket *socket, uint32_t how)
{
    int result = 0;
    if (socket->state == SIM_LISTEN) {
        if ((how & SIM_SHUT_READ) != 0) {
            tcp_unlisten(sim, socket);
        }
    } else if (socket->state == SIM_SYN_SENT) {
        tcp_disconnect(socket, ECONNRESET);
    } else {
        result = tcp_closed(socket) ? -ENOTCONN : 0;
        socket->shutdown |= how;
        if ((how & SIM_SHUT_WRITE) != 0) {
            tcp_fin(sim, socket);
        }
    }
    sim_socket_edge(sim, socket, SIM_EDGE_ALL);
    return result;
}

// Data that was not read makes it a reset; else the FIN follows what is still to be sent.
static void tcp_close(struct weir_sim *sim, struct sim_socket *socket)
{
    if (socket->state == SIM_LISTEN) {
        tcp_unlisten(sim, socket);
    }
    sim_address_unbind(sim->net, socket);
    socket->flags |= SIM_DEAD;
    socket->shutdown = SIM_SHUT_BOTH;
    if (socket->state == SIM_SYN_SENT) {
        socket->state = SIM_CLOSED;
    } else if (sim_tcp_alive(socket) && sim_tcp_unread(socket) > 0) {
        socket->state = SIM_CLOSED;
        sim_wire_draw(sim, socket);
        sim_wire_reset(sim, socket);
    } else {
        tcp_fin(sim, socket);
    }
    if (socket->peer != NULL) {
        sim_bytes_drop(sim->net, &socket->peer->tcp.out);
    }
}

// ---- Questions ----

static int64_t tcp_outstanding(const struct sim_socket *socket)
{
    if (socket->state == SIM_LISTEN) {
        return -EINVAL;
    }
    if (socket->state == SIM_SYN_SENT || socket->state == SIM_SYN_RECEIVED) {
        return 0;
    }
    bool refused = socket->tcp.attempts > 0 && socket->tcp.window_end == 0;
    return refused ? 1 : (int64_t)tcp_queued(socket); // the SYN was never acknowledged
}

static uint32_t tcp_ready(struct sim_socket *socket)
{
    if (socket->state == SIM_LISTEN) {
        return socket->pending_first != NULL ? WEIR_READABLE : 0;
    }
    uint32_t ready = socket->error != 0 ? WEIR_FAULT : 0;
    if (socket->shutdown == SIM_SHUT_BOTH || tcp_closed(socket)) {
        ready |= WEIR_HANGUP;
    }
    if ((socket->shutdown & SIM_SHUT_READ) != 0) {
        ready |= WEIR_READABLE | WEIR_PEER_CLOSED;
    }
    if (socket->state == SIM_SYN_SENT || socket->state == SIM_SYN_RECEIVED) {
        return ready;
    }
    if (sim_tcp_unread(socket) > 0) {
        ready |= WEIR_READABLE;
    }
    if ((socket->shutdown & SIM_SHUT_WRITE) != 0 || tcp_writable(socket)) {
        ready |= WEIR_WRITABLE;
    } else {
        socket->flags |= SIM_NO_SPACE;
    }
    return ready;
}

const struct sim_transport_ops sim_tcp_ops = {
    .listen = tcp_listen,
    .connect = tcp_connect,
    .send = tcp_send,
    .recv = tcp_recv,
    .shutdown = tcp_shutdown,
    .outstanding = tcp_outstanding,
    .ready = tcp_ready,
    .close = tcp_close,
};
