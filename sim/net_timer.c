// Timers of TCP: another SYN, a connection that is given up, what a link that was down held up.
//
// A timer is only set where it can end something, so that a run in which nothing can happen any
// more is seen to be stuck.
#include <errno.h>

#include "sim/net_state.h"

#define SECOND_NS UINT64_C(1000000000)
// tcp_syn_retries: 127 seconds in all, doubling from one.
#define SYNS_MAX 7u
// How long unanswered data is sent again without a user timeout: tcp_retries2.
#define RETRIES_NS (UINT64_C(924600) * 1000000u)
// How long after the link came back the next try goes out.
#define RETRANSMIT_NS (UINT64_C(200) * 1000000u)
// As option_keepalive of os_linux_socket.c: probes without an answer.
#define KEEPALIVE_PROBES 3u

bool sim_wire_up(const struct sim_net *net, const struct sim_socket *one,
                 const struct sim_socket *other)
{
    return other == NULL || one->process == other->process ||
           (net->link_down[one->process] == 0 && net->link_down[other->process] == 0);
}

static void timer_expire(struct weir_sim *sim, struct sim_socket *socket, int error)
{
    sim_socket_happened(sim, socket, SIM_NETWORK_TIMED_OUT,
                        socket->tcp.written - socket->tcp.acknowledged);
    sim_tcp_done(sim, socket, error);
}

// ---- Connecting ----

static void syn_again(struct weir_sim *sim, void *target, uint64_t number)
{
    struct sim_socket *socket = target;
    if (socket->state != SIM_SYN_SENT || socket->tcp.attempts != number) {
        return;
    }
    if (socket->tcp.attempts >= SYNS_MAX) {
        timer_expire(sim, socket, ETIMEDOUT);
    } else {
        sim_wire_connect(sim, socket);
    }
}

void sim_timer_syn(struct weir_sim *sim, struct sim_socket *socket)
{
    uint64_t wait_ns = SECOND_NS << (socket->tcp.attempts - 1);
    sim_at(sim, sim_threads_now(sim->threads) + wait_ns, syn_again, socket, socket->tcp.attempts);
}

static void connect_over(struct weir_sim *sim, void *target, uint64_t number)
{
    struct sim_socket *socket = target;
    if (socket->state == SIM_SYN_SENT) {
        timer_expire(sim, socket, (int)number);
    }
}

void sim_timer_connect(struct weir_sim *sim, struct sim_socket *socket, uint64_t after_ns,
                       int error)
{
    sim_at(sim, sim_threads_now(sim->threads) + after_ns, connect_over, socket, (uint64_t)error);
}

// ---- Data that nobody acknowledges ----

// How long nothing may be acknowledged; 0: for ever, since the peer answers probes.
static uint64_t user_limit_ns(const struct sim_net *net, const struct sim_socket *socket)
{
    if (socket->user_timeout_ms != 0) {
        return socket->user_timeout_ms * UINT64_C(1000000);
    }
    return sim_wire_up(net, socket, socket->peer) ? 0 : RETRIES_NS;
}

static void user_over(struct weir_sim *sim, void *target, uint64_t number)
{
    struct sim_socket *socket = target;
    (void)number;
    socket->flags &= ~(uint32_t)SIM_TIMED;
    uint64_t limit_ns = user_limit_ns(sim->net, socket);
    if (limit_ns == 0 || !sim_tcp_alive(socket) ||
        socket->tcp.written == socket->tcp.acknowledged) {
        return;
    }
    if (sim_threads_now(sim->threads) >= socket->tcp.progress_ns + limit_ns) {
        timer_expire(sim, socket, ETIMEDOUT);
    } else {
        sim_timer_user(sim, socket);
    }
}

void sim_timer_user(struct weir_sim *sim, struct sim_socket *socket)
{
    uint64_t limit_ns = user_limit_ns(sim->net, socket);
    if (limit_ns != 0 && (socket->flags & SIM_TIMED) == 0 && sim_tcp_alive(socket) &&
        socket->tcp.written > socket->tcp.acknowledged) {
        socket->flags |= SIM_TIMED;
        sim_at(sim, socket->tcp.progress_ns + limit_ns, user_over, socket, 0);
    }
}

// ---- A link that is down ----

// An idle connection's probes: the user timeout, if there is one, says how many are enough.
static uint64_t keepalive_limit_ns(const struct sim_socket *socket)
{
    uint64_t idle_ns = socket->keepalive_s * SECOND_NS;
    if (socket->user_timeout_ms == 0) {
        return idle_ns * (KEEPALIVE_PROBES + 1);
    }
    uint64_t user_ns = socket->user_timeout_ms * UINT64_C(1000000);
    uint64_t probes = (user_ns + idle_ns - 1) / idle_ns;
    return idle_ns * (probes < 2 ? 2 : probes);
}

static void keepalive_over(struct weir_sim *sim, void *target, uint64_t heard_ns)
{
    struct sim_socket *socket = target;
    if (sim_tcp_alive(socket) && socket->tcp.heard_ns == heard_ns &&
        !sim_wire_up(sim->net, socket, socket->peer)) {
        timer_expire(sim, socket, ETIMEDOUT);
    }
}

static void link_lost(struct weir_sim *sim, struct sim_socket *socket)
{
    if (socket->peer == NULL || sim_wire_up(sim->net, socket, socket->peer)) {
        return;
    }
    sim_timer_user(sim, socket);
    if (socket->keepalive_s != 0) {
        uint64_t now_ns = sim_threads_now(sim->threads);
        uint64_t when_ns = socket->tcp.heard_ns + keepalive_limit_ns(socket);
        sim_at(sim, when_ns > now_ns ? when_ns : now_ns, keepalive_over, socket,
               socket->tcp.heard_ns);
    }
}

// Everything that was not acknowledged once more; an acknowledgement where there is nothing.
static void link_again(struct weir_sim *sim, void *target, uint64_t number)
{
    struct sim_socket *socket = target;
    (void)number;
    if (!sim_tcp_alive(socket)) {
        return;
    }
    if (socket->state == SIM_SYN_SENT && socket->tcp.attempts < SYNS_MAX) {
        sim_wire_connect(sim, socket);
    } else if (socket->state != SIM_SYN_SENT && socket->state != SIM_SYN_RECEIVED) {
        socket->tcp.sent = socket->tcp.acknowledged;
        sim_wire_acknowledge(sim, socket, 0);
        sim_wire_output(sim, socket);
    }
    sim_wire_pump(sim);
}

void sim_timer_link(struct weir_sim *sim, bool up)
{
    uint64_t now_ns = sim_threads_now(sim->threads);
    for (uint32_t index = 0; index < sim->net->sockets_count; index++) {
        struct sim_socket *socket = sim->net->sockets[index];
        if (socket->transport != SIM_TCP || !sim_tcp_alive(socket)) {
            continue;
        }
        if (up) {
            sim_at(sim, now_ns + RETRANSMIT_NS, link_again, socket, 0);
        } else {
            link_lost(sim, socket);
        }
    }
}
