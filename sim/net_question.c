// The calls of net.h that ask something of a socket or set an option.
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "sim/net_state.h"

// As /proc/sys/net/core/wmem_max of a machine with much memory, doubled; and SOCK_MIN_SNDBUF.
#define SEND_BUFFER_MAX (2u * 4194304u)
#define SEND_BUFFER_MIN 4608u

// ---- Questions ----

enum question { ASK_ERROR, ASK_OUTSTANDING, ASK_STATE, ASK_OPTION, ASK_ADDRESS };

int sim_socket_error(struct weir_sim *sim, int fd)
{
    int result = 0;
    struct sim_socket *socket = sim_socket_at(sim, fd, &result);
    if (socket != NULL) {
        result = -sim_socket_take_error(socket);
    }
    return (int)sim_socket_called(sim, SIM_EVENT_STATE, fd, ASK_ERROR, result);
}

int64_t sim_socket_outstanding(struct weir_sim *sim, int fd)
{
    int error = 0;
    struct sim_socket *socket = sim_socket_at(sim, fd, &error);
    int64_t result = error;
    if (socket != NULL) {
        result = sim_socket_ops(socket)->outstanding(socket);
    }
    return sim_socket_called(sim, SIM_EVENT_STATE, fd, ASK_OUTSTANDING, result);
}

int sim_socket_state(struct weir_sim *sim, int fd)
{
    int result = 0;
    struct sim_socket *socket = sim_socket_at(sim, fd, &result);
    if (socket != NULL) {
        result = (int)sim_socket_ops(socket)->ready(socket);
    }
    return (int)sim_socket_called(sim, SIM_EVENT_STATE, fd, ASK_STATE, result);
}

// Doubled, within bounds, as the kernel does; more room is an edge.
static void option_send_buffer(struct weir_sim *sim, struct sim_socket *socket, int value)
{
    uint64_t bytes = value < 0 ? SEND_BUFFER_MAX : 2 * (uint64_t)value;
    bytes = bytes < SEND_BUFFER_MIN ? SEND_BUFFER_MIN : bytes;
    socket->send_buffer = bytes < SEND_BUFFER_MAX ? bytes : SEND_BUFFER_MAX;
    if ((sim_socket_ops(socket)->ready(socket) & WEIR_WRITABLE) != 0) {
        sim_socket_edge(sim, socket, WEIR_WRITABLE);
    }
}

static int option_flag(struct sim_socket *socket, enum sim_socket_flag flag, int value)
{
    socket->flags = value != 0 ? socket->flags | flag : socket->flags & ~(uint32_t)flag;
    return 0;
}

static int option_tcp(struct weir_sim *sim, struct sim_socket *socket,
                      enum weir_socket_option option, int value)
{
    if (socket->transport != SIM_TCP) {
        return -EOPNOTSUPP;
    }
    if (option == WEIR_SOCKET_NODELAY) {
        (void)option_flag(socket, SIM_NO_DELAY, value);
        sim_wire_output(sim, socket);
        sim_wire_pump(sim);
    } else if (option == WEIR_SOCKET_NOTSENT_BYTES) {
        socket->notsent_bytes = value == 0 ? UINT32_MAX : (uint32_t)value;
        sim_tcp_space(sim, socket);
    } else if (value < 0) {
        return -EINVAL;
    } else {
        socket->user_timeout_ms = (uint32_t)value;
        sim_timer_user(sim, socket);
    }
    return 0;
}

static int option_keepalive(struct sim_socket *socket, int value)
{
    const uint32_t idle_s_max = 32767;
    socket->keepalive_s = value <= 0 ? 0 : (uint32_t)value;
    if (value > 0 && socket->transport != SIM_TCP) {
        return -EOPNOTSUPP; // the idle time is an option of TCP's
    }
    socket->keepalive_s = socket->keepalive_s < idle_s_max ? socket->keepalive_s : idle_s_max;
    return 0;
}

int sim_socket_option(struct weir_sim *sim, int fd, enum weir_socket_option option, int value)
{
    int result = 0;
    struct sim_socket *socket = sim_socket_at(sim, fd, &result);
    if (socket != NULL) {
        switch (option) {
        case WEIR_SOCKET_KEEPALIVE: result = option_keepalive(socket, value); break;
        case WEIR_SOCKET_USER_TIMEOUT_MS:
        case WEIR_SOCKET_NOTSENT_BYTES:
        case WEIR_SOCKET_NODELAY: result = option_tcp(sim, socket, option, value); break;
        case WEIR_SOCKET_SEND_BUFFER_BYTES: option_send_buffer(sim, socket, value); break;
        case WEIR_SOCKET_REUSE_ADDRESS: result = option_flag(socket, SIM_REUSE, value); break;
        default: result = -ENOPROTOOPT;
        }
    }
    return (int)sim_socket_called(sim, SIM_EVENT_STATE, fd, ASK_OPTION, result);
}

// What getsockname says of a socket without a name: its family, and zeros for TCP and UDP.
static void address_of_none(const struct sim_socket *socket, struct weir_address *address)
{
    sa_family_t family = (sa_family_t)socket->family;
    memcpy(address->bytes, &family, sizeof family);
    address->bytes_count = socket->family == AF_INET    ? sizeof(struct sockaddr_in)
                           : socket->family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                        : sizeof family;
}

int sim_socket_address(struct weir_sim *sim, int fd, struct weir_address *address)
{
    int result = 0;
    struct sim_socket *socket = sim_socket_at(sim, fd, &result);
    *address = (struct weir_address){.bytes_count = 0};
    if (socket != NULL && socket->address.bytes_count != 0) {
        *address = socket->address;
    } else if (socket != NULL) {
        address_of_none(socket, address);
    }
    return (int)sim_socket_called(sim, SIM_EVENT_STATE, fd, ASK_ADDRESS, result);
}

void sim_net_link(struct weir_sim *sim, bool up)
{
    sim->net->link_down[sim_thread_process(sim->threads, sim_actor(sim))] = !up;
    sim_timer_link(sim, up);
    sim_wire_pump(sim);
}
