// Segments between two TCP sockets: in order, at once unless a decision makes them late.
//
// Nothing is lost but by a link that is down. Sending only puts a segment into the receiver's
// queue; the outermost call delivers what is due, so that an answer to an answer nests nothing.
#include "runtime/assert.h"
#include "sim/net_state.h"

// A connection's maximum segment, as far as Nagle's algorithm (RFC 896) looks at it.
#define SEGMENT_BYTES 1448u

// How late the segments of one call are, and what answers them. Halves: the first one is on time.
static const struct {
    uint32_t segment_ns, answer_ns;
    bool halves;
} wire_delays[] = {
    {0, 0, false},       {1000, 0, false},     {0, 1000, false},     {50000, 0, false},
    {0, 50000, false},   {1000000, 0, false},  {1000, 0, true},      {1000000, 1000000, true},
    {0, 1000000, false}, {10000000, 0, false}, {0, 40000000, false}, {100000000, 0, false},
};

void sim_wire_draw(struct weir_sim *sim, struct sim_socket *socket)
{
    socket->tcp.delay = sim_decide(sim, WEIR_SIM_DELAY, sizeof wire_delays / sizeof wire_delays[0]);
}

// ---- Queues ----

static void wire_due(struct sim_net *net, struct sim_socket *socket)
{
    if ((socket->flags & SIM_DUE) != 0) {
        return;
    }
    socket->flags |= SIM_DUE;
    socket->next_due = NULL;
    if (net->due_last == NULL) {
        net->due_first = socket;
    } else {
        net->due_last->next_due = socket;
    }
    net->due_last = socket;
}

static void wire_arrive(struct weir_sim *sim, void *target, uint64_t number)
{
    (void)number;
    wire_due(sim->net, target);
    sim_wire_pump(sim);
}

static void wire_push(struct weir_sim *sim, struct sim_socket *to, struct sim_segment segment,
                      uint32_t delay_ns)
{
    struct sim_segments *queue = &to->tcp.incoming;
    uint64_t now_ns = sim_threads_now(sim->threads);
    if (queue->count == queue->capacity) {
        queue->memory = sim_ring_grow(sim, queue->memory, &queue->capacity, &queue->first,
                                      queue->count, sizeof queue->memory[0]);
    }
    segment.arrive_ns = now_ns + delay_ns; // unless one before it is later
    queue->memory[(queue->first + queue->count++) & (queue->capacity - 1)] = segment;
    if (segment.arrive_ns > now_ns) {
        sim_at(sim, segment.arrive_ns, wire_arrive, to, 0);
    } else {
        wire_due(sim->net, to);
    }
}

// Takes the next segment of the socket if its time has come.
static bool wire_next(struct weir_sim *sim, struct sim_socket *socket, struct sim_segment *segment)
{
    struct sim_segments *queue = &socket->tcp.incoming;
    if (queue->count == 0) {
        return false;
    }
    *segment = queue->memory[queue->first & (queue->capacity - 1)];
    if (segment->arrive_ns > sim_threads_now(sim->threads)) {
        return false;
    }
    queue->first++;
    queue->count--;
    return true;
}

void sim_wire_pump(struct weir_sim *sim)
{
    struct sim_net *net = sim->net;
    while (net->due_first != NULL) {
        struct sim_socket *socket = net->due_first;
        struct sim_segment segment;
        if (!wire_next(sim, socket, &segment)) {
            net->due_first = socket->next_due;
            net->due_last = net->due_first == NULL ? NULL : net->due_last;
            socket->flags &= ~(uint32_t)SIM_DUE;
        } else if (sim_wire_up(net, socket, socket->peer)) {
            sim_segment_take(sim, socket, &segment);
        } else {
            sim_socket_happened(sim, socket, SIM_NETWORK_LOST, segment.to - segment.from);
            if (socket->state == SIM_SYN_SENT) {
                sim_timer_syn(sim, socket);
            }
        }
    }
}

// ---- Connecting ----

static void syn_answer(struct weir_sim *sim, struct sim_socket *socket, struct sim_socket *accepted)
{
    struct sim_segment segment = {.flags = SIM_SYN, .window_end = accepted->tcp.advertised};
    wire_push(sim, socket, segment, wire_delays[socket->tcp.delay].answer_ns);
}

// The listener's side of a new connection; options are inherited.
static struct sim_socket *syn_accept(struct weir_sim *sim, struct sim_socket *socket,
                                     struct sim_socket *listener)
{
    struct sim_socket *accepted = sim_socket_make(sim, SIM_TCP, socket->family);
    accepted->process = listener->process;
    accepted->address = socket->remote;
    accepted->remote = socket->address;
    accepted->state = SIM_SYN_RECEIVED;
    accepted->progress = SIM_CONNECTED;
    accepted->send_buffer = listener->send_buffer;
    accepted->keepalive_s = listener->keepalive_s;
    accepted->user_timeout_ms = listener->user_timeout_ms;
    accepted->notsent_bytes = listener->notsent_bytes;
    accepted->flags = listener->flags & SIM_NO_DELAY;
    accepted->listener = listener;
    accepted->peer = socket;
    socket->peer = accepted;
    if (socket->peer_buffer != 0) {
        accepted->receive_buffer = socket->peer_buffer;
    }
    if (listener->peer_buffer != 0) {
        socket->receive_buffer = listener->peer_buffer;
    }
    accepted->tcp.advertised = accepted->receive_buffer;
    socket->tcp.advertised = socket->receive_buffer;
    listener->pending_count++;
    return accepted;
}

static void syn_arrive(struct weir_sim *sim, void *target, uint64_t number)
{
    struct sim_socket *socket = target;
    (void)number;
    if (socket->state != SIM_SYN_SENT) {
        return;
    }
    struct sim_socket *accepted = socket->peer; // of an earlier SYN whose answer was lost
    struct sim_socket *listener =
        sim_address_port(sim->net, SIM_TCP, &socket->remote, &socket->address);
    struct sim_socket *there = accepted != NULL ? accepted : listener;
    if (there != NULL && !sim_wire_up(sim->net, socket, there)) {
        sim_timer_syn(sim, socket);
    } else if (accepted != NULL && accepted->state == SIM_SYN_RECEIVED) {
        syn_answer(sim, socket, accepted);
    } else if (listener == NULL) {
        wire_push(sim, socket, (struct sim_segment){.flags = SIM_RST},
                  wire_delays[socket->tcp.delay].answer_ns);
    } else if (listener->pending_count > listener->backlog) {
        sim_timer_syn(sim, socket);
    } else {
        syn_answer(sim, socket, syn_accept(sim, socket, listener));
    }
    sim_wire_pump(sim);
}

void sim_wire_connect(struct weir_sim *sim, struct sim_socket *socket)
{
    uint32_t delay_ns = wire_delays[socket->tcp.delay].segment_ns;
    socket->tcp.attempts++;
    if (delay_ns == 0) {
        syn_arrive(sim, socket, 0);
    } else {
        sim_at(sim, sim_threads_now(sim->threads) + delay_ns, syn_arrive, socket, 0);
    }
}

// ---- Sending ----

// The window this side offers: it never shrinks, and does not open by little (RFC 9293 3.8.6.2.2).
static uint64_t wire_window(const struct sim_socket *socket)
{
    uint64_t unread = sim_tcp_unread(socket);
    uint64_t free = unread < socket->receive_buffer ? socket->receive_buffer - unread : 0;
    uint64_t end = socket->tcp.received + (free < socket->receive_buffer / 16 ? 0 : free);
    return end > socket->tcp.advertised ? end : socket->tcp.advertised;
}

// What every segment of an established connection says besides.
static struct sim_segment wire_segment(struct sim_socket *socket)
{
    socket->tcp.advertised = wire_window(socket);
    return (struct sim_segment){.from = socket->tcp.sent,
                                .to = socket->tcp.sent,
                                .acknowledged = socket->tcp.received,
                                .window_end = socket->tcp.advertised,
                                .answer_delay_ns = wire_delays[socket->tcp.delay].answer_ns};
}

static void wire_send(struct weir_sim *sim, struct sim_socket *socket, uint64_t to,
                      uint32_t delay_ns)
{
    struct sim_segment segment = wire_segment(socket);
    segment.to = to;
    if ((socket->flags & SIM_FIN_QUEUED) != 0 && to == socket->tcp.written) {
        segment.flags = SIM_FIN;
    }
    socket->tcp.sent = to;
    wire_push(sim, socket->peer, segment, delay_ns);
}

static bool wire_may_send(const struct sim_socket *socket)
{
    return sim_tcp_alive(socket) && socket->state != SIM_SYN_SENT &&
           socket->state != SIM_SYN_RECEIVED;
}

void sim_wire_output(struct weir_sim *sim, struct sim_socket *socket)
{
    struct sim_tcp *tcp = &socket->tcp;
    uint64_t end = tcp->written < tcp->window_end ? tcp->written : tcp->window_end;
    if (wire_may_send(socket) && end > tcp->sent) {
        bool last = (socket->flags & SIM_FIN_QUEUED) != 0 && end == tcp->written;
        bool nagle = (socket->flags & SIM_NO_DELAY) == 0 && !last &&
                     tcp->sent > tcp->acknowledged && end - tcp->sent < SEGMENT_BYTES;
        uint64_t half = tcp->sent + (end - tcp->sent) / 2;
        if (!nagle && wire_delays[tcp->delay].halves && half > tcp->sent) {
            wire_send(sim, socket, half, 0);
        }
        if (!nagle) {
            wire_send(sim, socket, end, wire_delays[tcp->delay].segment_ns);
        }
    }
    tcp->delay = 0;
    if (tcp->written > tcp->acknowledged) {
        sim_timer_user(sim, socket);
    }
}

void sim_wire_acknowledge(struct weir_sim *sim, struct sim_socket *socket, uint32_t delay_ns)
{
    wire_push(sim, socket->peer, wire_segment(socket), delay_ns);
}

void sim_wire_reset(struct weir_sim *sim, struct sim_socket *socket)
{
    uint32_t delay_ns = wire_delays[socket->tcp.delay].segment_ns;
    socket->tcp.delay = 0;
    wire_push(sim, socket->peer, (struct sim_segment){.flags = SIM_RST}, delay_ns);
}

void sim_wire_opened(struct weir_sim *sim, struct sim_socket *socket)
{
    uint64_t offered = socket->tcp.advertised - socket->tcp.received;
    uint64_t window = wire_window(socket) - socket->tcp.received;
    if (wire_may_send(socket) && offered * 2 <= socket->receive_buffer && window > offered &&
        window >= offered * 2) {
        sim_wire_draw(sim, socket);
        uint32_t delay_ns = wire_delays[socket->tcp.delay].segment_ns;
        socket->tcp.delay = 0;
        sim_wire_acknowledge(sim, socket, delay_ns);
    }
}
