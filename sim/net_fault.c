// Injected faults, for process 0 only: each is made true in the model before the call reports it.
//
// An error that means that the connection is over ends it on both sides as such an event really
// does. Where a call says "would block", or moves less than it could, although nothing is in the
// way, an edge follows: as if the buffer had been full, or the rest had not been there yet.
#include <errno.h>

#include "sim/net_state.h"

#define MICROSECOND_NS UINT64_C(1000)
#define MILLISECOND_NS UINT64_C(1000000)
#define SECOND_NS UINT64_C(1000000000)
#define CONNECT_TIMEOUT_NS (127 * SECOND_NS)

// ---- Edges that make up for it ----

static void edge_now(struct weir_sim *sim, void *target, uint64_t ready)
{
    sim_socket_edge(sim, target, (uint32_t)ready);
}

static void edge_later(struct weir_sim *sim, struct sim_socket *socket, uint32_t ready,
                       uint64_t after_ns)
{
    sim_at(sim, sim_threads_now(sim->threads) + after_ns, edge_now, socket, ready);
}

// 0, -EINTR or -EAGAIN.
static int fault_delay(struct weir_sim *sim, struct sim_socket *socket, uint32_t ready)
{
    if (sim_fault(sim, WEIR_SIM_INTERRUPT, 1) != 0) {
        return -EINTR;
    }
    uint32_t fault = sim_fault(sim, WEIR_SIM_AGAIN, 2);
    if (fault == 0) {
        return 0;
    }
    edge_later(sim, socket, ready, fault == 1 ? MICROSECOND_NS : MILLISECOND_NS);
    return -EAGAIN;
}

// ---- Connections that end ----

static bool fault_connected(const struct sim_socket *socket)
{
    if (socket->transport == SIM_TCP) {
        return sim_tcp_alive(socket) && socket->state != SIM_SYN_SENT;
    }
    return socket->transport == SIM_UNIX_STREAM && socket->peer != NULL &&
           (socket->peer->flags & SIM_DEAD) == 0;
}

// Something between the two resets both. What arrived can still be read.
static void fault_reset(struct weir_sim *sim, struct sim_socket *socket)
{
    sim_socket_happened(sim, socket, SIM_NETWORK_FAULT, ECONNRESET);
    int error = socket->state == SIM_CLOSE_WAIT ? EPIPE : ECONNRESET;
    sim_wire_reset(sim, socket);
    sim_tcp_done(sim, socket, error);
}

// The peer's process is gone, with what it had not read. Its reset is on the way.
static void fault_peer_gone(struct weir_sim *sim, struct sim_socket *socket)
{
    struct sim_socket *peer = socket->peer;
    sim_socket_happened(sim, socket, SIM_NETWORK_FAULT, sim_tcp_unread(peer));
    if (sim_tcp_alive(peer)) {
        sim_tcp_lose(peer);
        sim_tcp_done(sim, peer, ECONNRESET);
        sim_wire_reset(sim, peer);
    }
}

// This side gave up; the peer does not hear of it.
static void fault_timeout(struct weir_sim *sim, struct sim_socket *socket, int error)
{
    sim_socket_happened(sim, socket, SIM_NETWORK_FAULT, (uint64_t)error);
    sim_tcp_done(sim, socket, error);
}

// ---- Open and connect ----

int sim_fault_open(struct weir_sim *sim)
{
    static const int errors[] = {0, -ENFILE, -ENOBUFS, -ENOMEM};
    return errors[sim_fault(sim, WEIR_SIM_RESOURCE, sizeof errors / sizeof errors[0] - 1)];
}

// What a connect can come to: at once, or after a while in which it is under way.
struct connect_fault {
    int result;
    int error;
    uint64_t after_ns;
};

static int connect_fault_tcp(struct weir_sim *sim, struct sim_socket *socket,
                             const struct weir_address *address)
{
    static const struct connect_fault faults[] = {
        {0, 0, 0},
        {-EINPROGRESS, ECONNREFUSED, MICROSECOND_NS},
        {-EINPROGRESS, ETIMEDOUT, 2 * SECOND_NS},
        {-EINPROGRESS, ETIMEDOUT, CONNECT_TIMEOUT_NS},
        {-EINPROGRESS, EHOSTUNREACH, 3 * SECOND_NS},
        {-ENETUNREACH, 0, 0},
        {-EADDRNOTAVAIL, 0, 0},
        {-EINPROGRESS, ECONNRESET, MILLISECOND_NS},
    };
    if (socket->progress != SIM_UNCONNECTED || socket->state != SIM_CLOSED) {
        return 0;
    }
    const struct connect_fault *fault =
        &faults[sim_fault(sim, WEIR_SIM_CONNECT, sizeof faults / sizeof faults[0] - 1)];
    if (fault->result != -EINPROGRESS) {
        return fault->result;
    }
    int result = sim_tcp_dial(sim, socket, address);
    if (result == 0) {
        sim_timer_connect(sim, socket, fault->after_ns, fault->error);
        result = -EINPROGRESS;
    }
    return result;
}

static int connect_fault_other(struct weir_sim *sim, const struct sim_socket *socket)
{
    static const int unix_errors[] = {0, -ECONNREFUSED, -ENOENT, -EAGAIN, -EACCES};
    static const int udp_errors[] = {0, -ENETUNREACH, -EADDRNOTAVAIL};
    if (socket->transport == SIM_UDP) {
        return udp_errors[sim_fault(sim, WEIR_SIM_CONNECT,
                                    sizeof udp_errors / sizeof udp_errors[0] - 1)];
    }
    uint32_t count = socket->transport == SIM_UNIX_STREAM ? 4 : 2;
    return unix_errors[sim_fault(sim, WEIR_SIM_CONNECT, count)];
}

// An interrupted connect of TCP goes on by itself.
int sim_fault_connect(struct weir_sim *sim, struct sim_socket *socket,
                      const struct weir_address *address)
{
    bool interrupted = sim_fault(sim, WEIR_SIM_INTERRUPT, 1) != 0;
    if (socket->transport != SIM_TCP) {
        return interrupted ? -EINTR : connect_fault_other(sim, socket);
    }
    int result = connect_fault_tcp(sim, socket, address);
    if (interrupted && result == 0) {
        result = sim_socket_ops(socket)->connect(sim, socket, address);
    }
    return interrupted && result == -EINPROGRESS ? -EINTR : result;
}

// ---- Send ----

static int64_t send_fault_tcp(struct weir_sim *sim, struct sim_socket *socket)
{
    switch (sim_fault(sim, WEIR_SIM_SEND, 6)) {
    case 1: fault_reset(sim, socket); return 0;
    case 2: fault_peer_gone(sim, socket); return 0; // this send is still taken, and lost
    case 3: return -ENOBUFS;
    case 4: return -ENOMEM;
    case 5: fault_timeout(sim, socket, ETIMEDOUT); return 0;
    case 6: fault_timeout(sim, socket, EHOSTUNREACH); return 0;
    default: return 0;
    }
}

// The peer dies in the middle of a send of several buffers. The send reports the first one, and the
// error that the death left was taken, and forgotten, on the way to the second: sock_error() in
// sock_alloc_send_pskb(), `sent ? : err` at the end of unix_stream_sendmsg().
static int64_t send_fault_between(struct weir_sim *sim, struct sim_socket *socket,
                                  struct sim_source *source)
{
    source->bytes = sim_unix_chunk(socket, source->bytes);
    int64_t sent = sim_unix_ops.send(sim, socket, source);
    sim_unix_break(sim, socket);
    if (sent > 0) {
        (void)sim_socket_take_error(socket);
    }
    return sent;
}

static int64_t send_fault_unix(struct weir_sim *sim, struct sim_socket *socket,
                               struct sim_source *source)
{
    bool several = sim_unix_chunk(socket, source->bytes) < source->bytes;
    switch (sim_fault(sim, WEIR_SIM_SEND, several ? 5 : 4)) {
    case 1: { // between the first look at the connection and the second
        sim_unix_break(sim, socket);
        int error = sim_socket_take_error(socket);
        return error != 0 ? error : -EPIPE;
    }
    case 2: sim_unix_break(sim, socket); return -EPIPE;
    case 3: return -ENOBUFS;
    case 4: return -ENOMEM;
    case 5: return send_fault_between(sim, socket, source);
    default: return 0;
    }
}

static int64_t send_fault_datagram(struct weir_sim *sim, const struct sim_socket *socket)
{
    static const int errors[] = {0, -ENOBUFS, -ENOMEM, -ECONNREFUSED, -EPERM, -ENETUNREACH};
    return errors[sim_fault(sim, WEIR_SIM_SEND, socket->transport == SIM_UDP ? 5 : 2)];
}

// A count that is less than all, as the transport can give it: Unix streams take whole buffers.
static size_t send_short(struct weir_sim *sim, const struct sim_socket *socket, size_t bytes)
{
    if (socket->transport == SIM_UNIX_STREAM) {
        size_t chunk = sim_unix_chunk(socket, bytes);
        size_t chunks = bytes == 0 ? 0 : (bytes - 1) / chunk; // that leave something
        chunks = chunks < 3 ? chunks : 3;
        uint32_t fault = chunks == 0 ? 0 : sim_fault(sim, WEIR_SIM_SHORT, (uint32_t)chunks);
        return fault == 0 ? bytes : chunk * fault;
    }
    switch (bytes < 2 ? 0 : sim_fault(sim, WEIR_SIM_SHORT, 3)) {
    case 1: return 1;
    case 2: return bytes / 2;
    case 3: return bytes - 1;
    default: return bytes;
    }
}

int64_t sim_fault_send(struct weir_sim *sim, struct sim_socket *socket, struct sim_source *source)
{
    int64_t result = fault_delay(sim, socket, WEIR_WRITABLE);
    if (result < 0) {
        return result;
    }
    if (socket->transport == SIM_UNIX_DATAGRAM || socket->transport == SIM_UDP) {
        return send_fault_datagram(sim, socket);
    }
    if (!fault_connected(socket)) {
        return 0;
    }
    result = socket->transport == SIM_TCP ? send_fault_tcp(sim, socket)
                                          : send_fault_unix(sim, socket, source);
    if (result == 0) {
        size_t bytes = send_short(sim, socket, source->bytes);
        if (bytes < source->bytes) {
            source->bytes = bytes;
            edge_later(sim, socket, WEIR_WRITABLE, MICROSECOND_NS);
        }
    }
    return result;
}

// ---- Receive, accept, shutdown ----

static void recv_fault(struct weir_sim *sim, struct sim_socket *socket)
{
    uint32_t count = socket->transport == SIM_TCP ? 4 : 1;
    uint32_t fault = sim_fault(sim, WEIR_SIM_RECV, count);
    if (fault != 0 && socket->transport == SIM_UNIX_STREAM) {
        sim_unix_break(sim, socket);
        return;
    }
    switch (fault) {
    case 1: fault_reset(sim, socket); break;
    case 2: fault_peer_gone(sim, socket); break;
    case 3: fault_timeout(sim, socket, ETIMEDOUT); break;
    case 4: fault_timeout(sim, socket, EHOSTUNREACH); break;
    default: break;
    }
}

int64_t sim_fault_recv(struct weir_sim *sim, struct sim_socket *socket, size_t *bytes_max)
{
    int result = fault_delay(sim, socket, WEIR_READABLE);
    if (result < 0) {
        return result;
    }
    if (fault_connected(socket)) {
        recv_fault(sim, socket);
    }
    bool stream = socket->transport == SIM_TCP || socket->transport == SIM_UNIX_STREAM;
    if (stream && *bytes_max > 1) {
        uint32_t fault = sim_fault(sim, WEIR_SIM_SHORT, 2);
        if (fault != 0) {
            *bytes_max = fault == 1 ? 1 : *bytes_max / 2;
            edge_later(sim, socket, WEIR_READABLE, MICROSECOND_NS);
        }
    }
    return 0;
}

int sim_fault_accept(struct weir_sim *sim, struct sim_socket *socket)
{
    int result = fault_delay(sim, socket, WEIR_READABLE);
    if (result < 0 || socket->pending_first == NULL) {
        return result;
    }
    static const int shortages[] = {0, -ENOBUFS, -ENOMEM, -ENFILE};
    result = shortages[sim_fault(sim, WEIR_SIM_RESOURCE, 3)];
    if (result == 0 && socket->transport == SIM_TCP && sim_fault(sim, WEIR_SIM_RECV, 1) != 0) {
        struct sim_socket *waiting = sim_pending_pop(socket);
        waiting->flags |= SIM_DEAD;
        if (sim_tcp_alive(waiting)) {
            fault_reset(sim, waiting);
        }
        result = -ECONNABORTED;
    }
    return result;
}

int sim_fault_shutdown(struct weir_sim *sim, struct sim_socket *socket)
{
    if (fault_connected(socket) && sim_fault(sim, WEIR_SIM_RECV, 1) != 0) {
        if (socket->transport == SIM_TCP) {
            fault_reset(sim, socket);
        } else {
            sim_unix_break(sim, socket);
        }
    }
    return 0;
}
