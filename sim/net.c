// The network's life, and a socket's: made, given a descriptor, woken, closed.
#include "sim/net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/assert.h"
#include "sim/net_state.h"

// As /proc/sys/net/core/wmem_default.
#define SEND_BUFFER_DEFAULT 212992u
#define SEND_BUFFER_MIN 4608u // SOCK_MIN_SNDBUF
// What a TCP connection over the loopback has after the handshake.
#define TCP_SEND_BUFFER_DEFAULT 2626560u
#define TCP_RECEIVE_BUFFER_DEFAULT 119808u

static uint32_t socket_ready(struct weir_sim *sim, void *object);
static void socket_closed(struct weir_sim *sim, void *object, int fd);

static const struct sim_file_ops file_ops = {"socket", socket_ready, socket_closed};

const struct sim_transport_ops *sim_socket_ops(const struct sim_socket *socket)
{
    static const struct sim_transport_ops *const table[SIM_TRANSPORTS_COUNT] = {
        [SIM_UNIX_STREAM] = &sim_unix_ops,
        [SIM_UNIX_DATAGRAM] = &sim_datagram_ops,
        [SIM_TCP] = &sim_tcp_ops,
        [SIM_UDP] = &sim_datagram_ops,
    };
    return table[socket->transport];
}

// ---- Life of the network ----

struct sim_net *sim_net_create(void)
{
    return calloc(1, sizeof(struct sim_net));
}

void sim_net_destroy(struct sim_net *net)
{
    if (net == NULL) {
        return;
    }
    sim_net_begin(net);
    for (uint32_t index = 0; index < net->sockets_made; index++) {
        free(net->sockets[index]->units.memory);
        free(net->sockets[index]->tcp.incoming.memory);
        free(net->sockets[index]);
    }
    sim_net_free_pool(net);
    free(net->sockets);
    free(net->paths);
    free(net);
}

void sim_net_begin(struct sim_net *net)
{
    for (uint32_t index = 0; index < net->sockets_count; index++) {
        sim_bytes_drop(net, &net->sockets[index]->in);
        sim_bytes_drop(net, &net->sockets[index]->tcp.out);
    }
    net->sockets_count = 0;
    net->bound = NULL;
    net->paths_count = 0;
    net->next_port = 0;
    net->due_first = net->due_last = NULL;
    memset(net->link_down, 0, sizeof net->link_down);
}

_Noreturn void sim_net_no_memory(struct weir_sim *sim)
{
    weir_sim_fail(sim, WEIR_SIM_INTERNAL, "no-memory", "for the network");
}

// ---- Life of a socket ----

static void sockets_grow(struct weir_sim *sim)
{
    struct sim_net *net = sim->net;
    if (net->sockets_made == net->sockets_capacity) {
        uint32_t capacity = net->sockets_capacity * 2 + 64;
        struct sim_socket **larger = realloc(net->sockets, capacity * sizeof(struct sim_socket *));
        if (larger == NULL) {
            sim_net_no_memory(sim);
        }
        net->sockets = larger;
        net->sockets_capacity = capacity;
    }
    struct sim_socket *socket = calloc(1, sizeof *socket);
    if (socket == NULL) {
        sim_net_no_memory(sim);
    }
    net->sockets[net->sockets_made++] = socket;
}

struct sim_socket *sim_socket_make(struct weir_sim *sim, enum sim_transport transport, int family)
{
    struct sim_net *net = sim->net;
    if (net->sockets_count == net->sockets_made) {
        sockets_grow(sim);
    }
    struct sim_socket *socket = net->sockets[net->sockets_count++];
    struct sim_units units = {socket->units.memory, socket->units.capacity, 0, 0};
    struct sim_segments incoming = {socket->tcp.incoming.memory, socket->tcp.incoming.capacity, 0,
                                    0};
    *socket = (struct sim_socket){
        .number = net->sockets_count,
        .process = sim_thread_process(sim->threads, sim_actor(sim)),
        .fd = -1,
        .transport = transport,
        .family = family,
        .send_buffer = transport == SIM_TCP ? TCP_SEND_BUFFER_DEFAULT : SEND_BUFFER_DEFAULT,
        .receive_buffer = transport == SIM_TCP ? TCP_RECEIVE_BUFFER_DEFAULT : SEND_BUFFER_DEFAULT,
        .notsent_bytes = UINT32_MAX,
        .units = units,
        .tcp.incoming = incoming,
    };
    return socket;
}

// Full buffers are where the trouble is, and with the default sizes they would be rare: the sockets
// of the process under test draw theirs.
void sim_socket_draw(struct weir_sim *sim, struct sim_socket *socket)
{
    static const uint32_t units[] = {SEND_BUFFER_DEFAULT, SEND_BUFFER_MIN, 8192, 16384, 65536};
    static const struct {
        uint32_t send, window;
    } tcp[] = {{TCP_SEND_BUFFER_DEFAULT, TCP_RECEIVE_BUFFER_DEFAULT},
               {SEND_BUFFER_MIN, 2304},
               {16384, 4096},
               {8192, 65536},
               {65536, 16384},
               {262144, 1152}};
    if (socket->process != 0) {
        return;
    }
    if (socket->transport == SIM_TCP) {
        uint32_t index = sim_decide(sim, WEIR_SIM_WORK, sizeof tcp / sizeof tcp[0]);
        socket->send_buffer = tcp[index].send;
        socket->peer_buffer = tcp[index].window;
    } else if (socket->transport != SIM_UDP) {
        socket->send_buffer = units[sim_decide(sim, WEIR_SIM_WORK, sizeof units / sizeof units[0])];
    }
}

int sim_socket_file(struct weir_sim *sim, struct sim_socket *socket)
{
    uint32_t process = sim_thread_process(sim->threads, sim_actor(sim));
    int fd = sim_file_open(sim, &file_ops, socket, process);
    if (fd >= 0) {
        socket->fd = fd;
        socket->file = sim_file_number(sim, fd);
        socket->process = process;
    }
    return fd;
}

static void socket_closed(struct weir_sim *sim, void *object, int fd)
{
    struct sim_socket *socket = object;
    weir_assert(socket->fd == fd);
    socket->fd = -1;
    sim_socket_ops(socket)->close(sim, socket);
    sim_wire_pump(sim);
}

static uint32_t socket_ready(struct weir_sim *sim, void *object)
{
    (void)sim;
    struct sim_socket *socket = object;
    return sim_socket_ops(socket)->ready(socket);
}

void sim_socket_edge(struct weir_sim *sim, const struct sim_socket *socket, uint32_t ready)
{
    if (socket->fd >= 0) {
        sim_file_edge(sim, socket->fd, ready);
    }
}

int sim_socket_take_error(struct sim_socket *socket)
{
    int error = socket->error;
    socket->error = 0;
    return -error;
}

void sim_socket_happened(struct weir_sim *sim, const struct sim_socket *socket,
                         enum sim_network what, uint64_t bytes)
{
    sim_event(sim, SIM_EVENT_NETWORK, socket->file, what, bytes, NULL);
}

// ---- The queue of connections to accept ----

void sim_pending_push(struct sim_socket *listener, struct sim_socket *socket)
{
    socket->next_pending = NULL;
    if (listener->pending_last == NULL) {
        listener->pending_first = socket;
    } else {
        listener->pending_last->next_pending = socket;
    }
    listener->pending_last = socket;
}

struct sim_socket *sim_pending_pop(struct sim_socket *listener)
{
    struct sim_socket *socket = listener->pending_first;
    if (socket != NULL) {
        listener->pending_first = socket->next_pending;
        if (listener->pending_first == NULL) {
            listener->pending_last = NULL;
        }
        listener->pending_count--;
        socket->next_pending = NULL;
        socket->listener = NULL;
    }
    return socket;
}

struct sim_socket *sim_socket_at(struct weir_sim *sim, int fd, int *error)
{
    struct sim_socket *socket = sim_file_object(sim, fd, &file_ops);
    *error = socket != NULL ? 0 : sim_file_object(sim, fd, NULL) != NULL ? -ENOTSOCK : -EBADF;
    return socket;
}

int64_t sim_socket_called(struct weir_sim *sim, enum sim_event_kind kind, int fd, uint64_t what,
                          int64_t result)
{
    sim_event(sim, kind, sim_file_number(sim, fd), what, (uint64_t)result, NULL);
    return result;
}
