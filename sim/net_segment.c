// What a TCP socket does with a segment that arrives (net/ipv4/tcp_input.c of Linux 6.18).
#include <errno.h>

#include "runtime/assert.h"
#include "sim/net_state.h"

// ---- Resets ----

// The name of the error depends on how far the connection was.
static int reset_error(const struct sim_socket *socket)
{
    switch (socket->state) {
    case SIM_SYN_SENT: return ECONNREFUSED;
    case SIM_CLOSE_WAIT: return EPIPE;
    default: return ECONNRESET;
    }
}

static void segment_reset(struct weir_sim *sim, struct sim_socket *socket)
{
    if (!sim_tcp_alive(socket)) {
        return;
    }
    if (socket->state == SIM_SYN_RECEIVED && socket->listener != NULL) {
        socket->listener->pending_count--;
        socket->listener = NULL;
    }
    sim_socket_happened(sim, socket, SIM_NETWORK_RESET,
                        socket->tcp.written - socket->tcp.acknowledged);
    sim_tcp_done(sim, socket, reset_error(socket));
}

// ---- The handshake ----

static void segment_connected(struct weir_sim *sim, struct sim_socket *socket,
                              const struct sim_segment *segment)
{
    socket->state = SIM_ESTABLISHED;
    socket->tcp.window_end = segment->window_end;
    sim_socket_edge(sim, socket, SIM_EDGE_ALL);
    sim_wire_acknowledge(sim, socket, 0);
}

// The last step: the connection can be accepted, if somebody still listens.
static bool segment_accepted(struct weir_sim *sim, struct sim_socket *socket)
{
    struct sim_socket *listener = socket->listener;
    if (listener->state != SIM_LISTEN) {
        socket->state = SIM_CLOSED;
        socket->flags |= SIM_DEAD;
        sim_wire_reset(sim, socket);
        return false;
    }
    socket->state = SIM_ESTABLISHED;
    sim_pending_push(listener, socket);
    sim_socket_edge(sim, listener, WEIR_READABLE);
    return true;
}

// ---- Acknowledgements ----

static void fin_acknowledged(struct weir_sim *sim, struct sim_socket *socket)
{
    if (socket->state == SIM_FIN_WAIT_1) {
        socket->state = SIM_FIN_WAIT_2;
        sim_socket_edge(sim, socket, SIM_EDGE_ALL);
    } else if (socket->state == SIM_CLOSING) {
        sim_tcp_done(sim, socket, 0);
        socket->state = SIM_TIME_WAIT;
    } else if (socket->state == SIM_LAST_ACK) {
        sim_tcp_done(sim, socket, 0);
    }
}

static void segment_acknowledges(struct weir_sim *sim, struct sim_socket *socket,
                                 const struct sim_segment *segment)
{
    struct sim_tcp *tcp = &socket->tcp;
    weir_assert(segment->acknowledged <= tcp->written);
    if (segment->window_end > tcp->window_end) {
        tcp->window_end = segment->window_end;
    }
    if (segment->acknowledged > tcp->acknowledged) {
        tcp->acknowledged = segment->acknowledged;
        tcp->sent = tcp->sent > tcp->acknowledged ? tcp->sent : tcp->acknowledged;
        tcp->progress_ns = sim_threads_now(sim->threads);
        if ((socket->flags & SIM_FIN_QUEUED) != 0 && tcp->acknowledged == tcp->written) {
            fin_acknowledged(sim, socket);
        }
    }
    sim_wire_output(sim, socket);
    sim_tcp_space(sim, socket);
}

// ---- Data ----

static void segment_ends(struct weir_sim *sim, struct sim_socket *socket)
{
    socket->shutdown |= SIM_SHUT_READ;
    socket->flags |= SIM_ENDED;
    if (socket->state == SIM_ESTABLISHED) {
        socket->state = SIM_CLOSE_WAIT;
    } else if (socket->state == SIM_FIN_WAIT_1) {
        socket->state = SIM_CLOSING;
    } else if (socket->state == SIM_FIN_WAIT_2) {
        sim_tcp_done(sim, socket, 0);
        socket->state = SIM_TIME_WAIT;
    }
    sim_socket_edge(sim, socket, SIM_EDGE_ALL);
}

// Both directions are shut on this side, or its program is gone: new data is answered by a reset.
static bool segment_unwanted(const struct sim_socket *socket)
{
    return (socket->shutdown & SIM_SHUT_READ) != 0 &&
           (socket->state == SIM_FIN_WAIT_1 || socket->state == SIM_FIN_WAIT_2);
}

static void segment_data(struct weir_sim *sim, struct sim_socket *socket,
                         const struct sim_segment *segment)
{
    struct sim_tcp *tcp = &socket->tcp;
    uint64_t fin = (segment->flags & SIM_FIN) != 0;
    if (segment->from <= tcp->received && segment->to > tcp->received) {
        uint64_t data_end = segment->to - fin;
        if (data_end > tcp->received && segment_unwanted(socket)) {
            sim_socket_happened(sim, socket, SIM_NETWORK_LOST, data_end - tcp->received);
            segment_reset(sim, socket);
            sim_wire_reset(sim, socket);
            return;
        }
        if (data_end > tcp->received) {
            sim_socket_happened(sim, socket, SIM_NETWORK_ARRIVED, data_end - tcp->received);
            tcp->received = data_end;
            sim_socket_edge(sim, socket, WEIR_READABLE);
        }
        if (fin != 0) {
            tcp->received = segment->to;
            segment_ends(sim, socket);
        }
    }
    sim_wire_acknowledge(sim, socket, segment->answer_delay_ns);
}

void sim_segment_take(struct weir_sim *sim, struct sim_socket *socket,
                      const struct sim_segment *segment)
{
    socket->tcp.heard_ns = sim_threads_now(sim->threads);
    if ((segment->flags & SIM_RST) != 0) {
        segment_reset(sim, socket);
        return;
    }
    bool carries = segment->to > segment->from;
    if (!sim_tcp_alive(socket)) {
        if (socket->state == SIM_TIME_WAIT && carries) {
            sim_wire_acknowledge(sim, socket, 0); // again: the first one was lost
        } else if (socket->state != SIM_TIME_WAIT) {
            sim_wire_reset(sim, socket);
        }
        return;
    }
    if ((segment->flags & SIM_SYN) != 0) {
        if (socket->state == SIM_SYN_SENT) {
            segment_connected(sim, socket, segment);
        }
        return;
    }
    if (socket->state == SIM_SYN_RECEIVED && !segment_accepted(sim, socket)) {
        return;
    }
    segment_acknowledges(sim, socket, segment);
    if (carries) {
        segment_data(sim, socket, segment);
    }
}
