// The world's calls on descriptors: pollers and sockets, ordered per descriptor as the kernel does.
#include <errno.h>

#include "sim/world_call.h"

#define CALLER __builtin_return_address(0)

// ---- Pollers ----
//
// Of the caller's struct each call reads only the descriptors that the real one uses.

static int world_poller_open(void *self, struct weir_poller *poller)
{
    struct weir_sim *sim = sim_world_enter(self);
    weir_assert(poller != NULL);
    sim_memory_write(sim->memory, poller, sizeof *poller, CALLER);
    return sim_poller_open(sim, poller);
}

static void world_poller_close(void *self, struct weir_poller *poller)
{
    struct weir_sim *sim = sim_world_enter(self);
    weir_assert(poller != NULL && poller->fd >= 0);
    sim_memory_write(sim->memory, poller, sizeof *poller, CALLER);
    sim_poller_close(sim, poller);
}

static int world_poller_add(void *self, const struct weir_poller *poller, int fd, uint64_t token)
{
    struct weir_sim *sim = sim_world_enter(self);
    weir_assert(poller != NULL);
    sim_memory_read(sim->memory, &poller->fd, sizeof poller->fd, CALLER);
    return sim_poller_add(sim, poller, fd, token);
}

static int world_poller_remove(void *self, const struct weir_poller *poller, int fd)
{
    struct weir_sim *sim = sim_world_enter(self);
    weir_assert(poller != NULL);
    sim_memory_read(sim->memory, &poller->fd, sizeof poller->fd, CALLER);
    return sim_poller_remove(sim, poller, fd);
}

static int world_poller_wait(void *self, const struct weir_poller *poller,
                             struct weir_os_event *events, uint32_t events_max,
                             uint64_t deadline_ns)
{
    struct weir_sim *sim = sim_world_enter(self);
    weir_assert(poller != NULL);
    sim_memory_read(sim->memory, &poller->fd, sizeof poller->fd, CALLER);
    int count = sim_poller_wait(sim, poller, events, events_max, deadline_ns);
    if (count > 0) {
        sim_memory_write(sim->memory, events, (size_t)count * sizeof events[0], CALLER);
    }
    return count;
}

static void world_poller_wake(void *self, const struct weir_poller *poller)
{
    struct weir_sim *sim = sim_world_enter(self);
    weir_assert(poller != NULL);
    sim_memory_read(sim->memory, &poller->wake_fd, sizeof poller->wake_fd, CALLER);
    sim_poller_wake(sim, poller);
}

static int world_poller_arm(void *self, struct weir_poller *poller, uint64_t deadline_ns)
{
    struct weir_sim *sim = sim_world_enter(self);
    weir_assert(poller != NULL && poller->fd >= 0);
    sim_memory_read(sim->memory, &poller->timer_fd, sizeof poller->timer_fd, CALLER);
    int before = poller->timer_fd;
    int result = sim_poller_arm(sim, poller, deadline_ns);
    if (poller->timer_fd != before) {
        sim_memory_write(sim->memory, &poller->timer_fd, sizeof poller->timer_fd, CALLER);
    }
    return result;
}

// ---- Sockets ----

static struct weir_sim *socket_enter(void *self, int fd)
{
    struct weir_sim *sim = sim_world_enter(self);
    sim_file_order(sim, fd);
    return sim;
}

static int world_socket_open(void *self, int family, int type)
{
    return sim_socket_open(sim_world_enter(self), family, type);
}

static int world_socket_bind(void *self, int fd, const struct weir_address *address)
{
    struct weir_sim *sim = socket_enter(self, fd);
    weir_assert(address != NULL && address->bytes_count <= sizeof address->bytes);
    sim_memory_read(sim->memory, address, sizeof *address, CALLER);
    return sim_socket_bind(sim, fd, address);
}

static int world_socket_listen(void *self, int fd, int backlog)
{
    return sim_socket_listen(socket_enter(self, fd), fd, backlog);
}

static int world_socket_accept(void *self, int fd)
{
    return sim_socket_accept(socket_enter(self, fd), fd);
}

static int world_socket_connect(void *self, int fd, const struct weir_address *address)
{
    struct weir_sim *sim = socket_enter(self, fd);
    weir_assert(address != NULL && address->bytes_count <= sizeof address->bytes);
    sim_memory_read(sim->memory, address, sizeof *address, CALLER);
    return sim_socket_connect(sim, fd, address);
}

static int64_t world_socket_send(void *self, int fd, const struct weir_iovec *parts,
                                 size_t parts_count)
{
    struct weir_sim *sim = socket_enter(self, fd);
    weir_assert(parts != NULL || parts_count == 0);
    return sim_socket_send(sim, fd, parts, parts_count);
}

static int64_t world_socket_recv(void *self, int fd, void *bytes, size_t bytes_max)
{
    struct weir_sim *sim = socket_enter(self, fd);
    weir_assert(bytes != NULL || bytes_max == 0);
    return sim_socket_recv(sim, fd, bytes, bytes_max);
}

static int world_socket_shutdown(void *self, int fd, enum weir_socket_shutdown how)
{
    return sim_socket_shutdown(socket_enter(self, fd), fd, how);
}

// Gone whatever this returns; a signal may say otherwise (close(2)).
static int world_socket_close(void *self, int fd)
{
    struct weir_sim *sim = socket_enter(self, fd);
    uint32_t number = sim_file_number(sim, fd);
    int result = sim_file_close(sim, fd);
    if (result == 0 && sim_fault(sim, WEIR_SIM_INTERRUPT, 1) != 0) {
        result = -EINTR;
    }
    sim_event(sim, SIM_EVENT_CLOSE, number, (uint64_t)(int64_t)result, 0, CALLER);
    return result;
}

static int world_socket_error(void *self, int fd)
{
    return sim_socket_error(socket_enter(self, fd), fd);
}

static int64_t world_socket_outstanding(void *self, int fd)
{
    return sim_socket_outstanding(socket_enter(self, fd), fd);
}

static int world_socket_state(void *self, int fd)
{
    return sim_socket_state(socket_enter(self, fd), fd);
}

static int world_socket_option(void *self, int fd, enum weir_socket_option option, int value)
{
    return sim_socket_option(socket_enter(self, fd), fd, option, value);
}

static int world_socket_address(void *self, int fd, struct weir_address *address)
{
    struct weir_sim *sim = socket_enter(self, fd);
    weir_assert(address != NULL);
    sim_memory_write(sim->memory, address, sizeof *address, CALLER);
    return sim_socket_address(sim, fd, address);
}

void sim_world_fill_files(struct weir_os *os)
{
    os->poller_open = world_poller_open;
    os->poller_close = world_poller_close;
    os->poller_add = world_poller_add;
    os->poller_remove = world_poller_remove;
    os->poller_wait = world_poller_wait;
    os->poller_wake = world_poller_wake;
    os->poller_arm = world_poller_arm;
    os->socket_open = world_socket_open;
    os->socket_bind = world_socket_bind;
    os->socket_listen = world_socket_listen;
    os->socket_accept = world_socket_accept;
    os->socket_connect = world_socket_connect;
    os->socket_send = world_socket_send;
    os->socket_recv = world_socket_recv;
    os->socket_shutdown = world_socket_shutdown;
    os->socket_close = world_socket_close;
    os->socket_error = world_socket_error;
    os->socket_outstanding = world_socket_outstanding;
    os->socket_state = world_socket_state;
    os->socket_option = world_socket_option;
    os->socket_address = world_socket_address;
}
