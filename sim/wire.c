// The wire: what a pool does with its sockets, as the kernel sees it.
#include "sim/wire.h"

#include <errno.h>
#include <string.h>

#include "runtime/assert.h"
#include "sim/sim.h"

struct wire_socket {
    uint32_t connection_plus_one; // the auditor's number; 0: not a connection
    uint32_t place;               // SIM_WIRE_PLACES_MAX: another one
    bool troubled;                // the kernel told of an error or the peer's end: reason to close
    bool shut;
    uint64_t sent;
    uint64_t progress_ns;
    uint32_t waiting;    // RELP: see sim_auditor_waiting ...
    uint64_t waiting_ns; // ... and since when
    bool overdue;        // an answer came, but later than it may
};

// A writer that looks at the clock so often in so short a time, and neither sends nor receives, nor
// connects or closes, does nothing else.
#define BUSY_NS UINT64_C(1000000)
#define BUSY_LOOKS 5000

struct sim_wire {
    struct sim_wire_options options;
    uint64_t looked_ns; // what the clock last showed the pool
    uint64_t busy_from_ns;
    uint32_t busy_looks;
    const struct weir_os *os;
    uint32_t open, connects;
    uint32_t dials[SIM_WIRE_PLACES_MAX + 1], open_at[SIM_WIRE_PLACES_MAX + 1];
    struct wire_socket sockets[SIM_FILES_MAX];
};

static struct sim_wire *wire_of(void *self)
{
    return ((struct weir_sim *)self)->wire;
}

static uint64_t wire_now(void *self)
{
    return sim_threads_now(((struct weir_sim *)self)->threads);
}

// NULL: not a connection.
static struct wire_socket *wire_socket(struct sim_wire *wire, int fd)
{
    if (fd < 0 || fd >= SIM_FILES_MAX || wire->sockets[fd].connection_plus_one == 0) {
        return NULL;
    }
    return &wire->sockets[fd];
}

static void wire_trouble(struct sim_wire *wire, int fd)
{
    struct wire_socket *socket = wire_socket(wire, fd);
    if (socket != NULL) {
        socket->troubled = true;
    }
}

static void wire_alive(struct sim_wire *wire, const char *what)
{
    if (sim_auditor_closed(wire->options.auditor)) {
        sim_auditor_fail(wire->options.auditor, "alive-after-close", "%s after the close", what);
    }
}

// RELP: whether nothing was answered for as long as may be.
static bool wire_overdue(const struct sim_wire *wire, const struct wire_socket *socket,
                         uint64_t now_ns)
{
    uint64_t patience_ns =
        socket->waiting == 1 ? wire->options.open_timeout_ns : wire->options.answer_timeout_ns;
    return socket->waiting != 0 && now_ns - socket->waiting_ns >= patience_ns;
}

// RELP: whether the frame that has waited for its answer for longest is another one.
static void wire_waits(struct sim_wire *wire, void *self, struct wire_socket *socket)
{
    if (!wire->options.relp) {
        return;
    }
    uint32_t waiting = sim_auditor_waiting(wire->options.auditor, socket->connection_plus_one - 1);
    if (waiting != socket->waiting) {
        socket->overdue = socket->overdue || wire_overdue(wire, socket, wire_now(self));
        socket->waiting = waiting;
        socket->waiting_ns = wire->looked_ns; // it may have leapt since
    }
}

// Whether there is reason to give the connection up.
static bool wire_reason(const struct sim_wire *wire, const struct wire_socket *socket,
                        uint64_t now_ns)
{
    const struct sim_auditor *auditor = wire->options.auditor;
    bool answers_failed =
        wire->options.relp && (sim_auditor_excused(auditor, socket->connection_plus_one - 1) ||
                               socket->overdue || wire_overdue(wire, socket, now_ns));
    return socket->troubled || answers_failed || sim_auditor_closing(auditor) ||
           now_ns - socket->progress_ns >= wire->options.stall_timeout_ns;
}

static uint64_t wire_now_ns(void *self)
{
    struct sim_wire *wire = wire_of(self);
    uint64_t now_ns = wire->os->now_ns(self);
    if (now_ns > wire->options.overtime_ns) {
        wire->options.overtime_ns = UINT64_MAX;
        wire->options.overtime(wire->options.context);
    }
    wire->looked_ns = now_ns;
    if (now_ns - wire->busy_from_ns > BUSY_NS) {
        wire->busy_from_ns = now_ns;
        wire->busy_looks = 0;
    }
    if (++wire->busy_looks > BUSY_LOOKS) {
        sim_auditor_fail(wire->options.auditor, "busy-loop",
                         "the clock was read %u times within a millisecond, and nothing done",
                         wire->busy_looks);
    }
    return now_ns;
}

static uint32_t wire_place(const struct sim_wire *wire, const struct weir_address *address)
{
    for (uint32_t i = 0; i < wire->options.places_count; i++) {
        const struct weir_address *place = &wire->options.places[i];
        if (place->bytes_count == address->bytes_count &&
            memcmp(place->bytes, address->bytes, address->bytes_count) == 0) {
            return i;
        }
    }
    return SIM_WIRE_PLACES_MAX;
}

static int wire_connect(void *self, int fd, const struct weir_address *address)
{
    struct sim_wire *wire = wire_of(self);
    const struct sim_wire_options *options = &wire->options;
    wire_alive(wire, "connect");
    wire->busy_looks = 0;
    uint64_t confirmed = options->connecting(options->context);
    int result = wire->os->socket_connect(self, fd, address);
    // One that a signal interrupted goes on by itself; and it is called again to learn its outcome.
    bool under_way = result == 0 || result == -EINPROGRESS || result == -EINTR ||
                     result == -EALREADY || result == -EISCONN;
    if (under_way && wire_socket(wire, fd) == NULL) {
        weir_assert(fd < SIM_FILES_MAX);
        uint32_t connection = sim_auditor_begin(options->auditor, SIM_SIDE_SENT);
        sim_auditor_confirmed(options->auditor, connection, confirmed);
        uint32_t place = wire_place(wire, address);
        wire->sockets[fd] = (struct wire_socket){
            .connection_plus_one = connection + 1, .place = place, .progress_ns = wire_now(self)};
        wire->dials[place]++;
        wire->open_at[place]++;
        wire_waits(wire, self, &wire->sockets[fd]);
        wire->open++;
        wire->connects++;
    }
    return result;
}

static int64_t wire_send(void *self, int fd, const struct weir_iovec *parts, size_t parts_count)
{
    struct sim_wire *wire = wire_of(self);
    wire_alive(wire, "send");
    int64_t result = wire->os->socket_send(self, fd, parts, parts_count);
    struct wire_socket *socket = wire_socket(wire, fd);
    if (socket == NULL) {
        return result;
    }
    if (result > 0) {
        wire->busy_looks = 0;
        size_t left = (size_t)result;
        for (size_t i = 0; i < parts_count && left > 0; i++) {
            size_t part = parts[i].bytes_count < left ? parts[i].bytes_count : left;
            if (part > 0) {
                sim_auditor_bytes(wire->options.auditor, socket->connection_plus_one - 1,
                                  parts[i].bytes, part);
            }
            left -= part;
        }
        socket->sent += (uint64_t)result;
        socket->progress_ns = wire_now(self);
        wire_waits(wire, self, socket);
    } else if (result < 0 && result != -EAGAIN && result != -EINTR && result != -ENOBUFS &&
               result != -ENOMEM && result != -EMSGSIZE) {
        socket->troubled = true;
    }
    return result;
}

static int64_t wire_recv(void *self, int fd, void *bytes, size_t bytes_max)
{
    struct sim_wire *wire = wire_of(self);
    int64_t result = wire->os->socket_recv(self, fd, bytes, bytes_max);
    struct wire_socket *socket = wire_socket(wire, fd);
    wire->busy_looks = result > 0 ? 0 : wire->busy_looks;
    if (result <= 0 && result != -EAGAIN && result != -EINTR) {
        wire_trouble(wire, fd);
    }
    if (result == 0 && socket != NULL && socket->shut) {
        sim_auditor_met(wire->options.auditor);
    }
    if (result > 0 && socket != NULL && wire->options.relp) {
        sim_auditor_received(wire->options.auditor, socket->connection_plus_one - 1, bytes,
                             (size_t)result, wire_reason(wire, socket, wire_now(self)));
        wire_waits(wire, self, socket);
    }
    return result;
}

static int wire_error(void *self, int fd)
{
    struct sim_wire *wire = wire_of(self);
    int result = wire->os->socket_error(self, fd);
    if (result != 0) {
        wire_trouble(wire, fd);
    }
    return result;
}

static int wire_state(void *self, int fd)
{
    struct sim_wire *wire = wire_of(self);
    int result = wire->os->socket_state(self, fd);
    if (result < 0 || (result & (WEIR_HANGUP | WEIR_FAULT | WEIR_PEER_CLOSED)) != 0) {
        wire_trouble(wire, fd);
    }
    return result;
}

static int64_t wire_outstanding(void *self, int fd)
{
    struct sim_wire *wire = wire_of(self);
    int64_t result = wire->os->socket_outstanding(self, fd);
    struct wire_socket *socket = wire_socket(wire, fd);
    if (socket == NULL) {
        return result;
    }
    if (result < 0) {
        socket->troubled = true;
    } else if (wire->options.acknowledged && (uint64_t)result <= socket->sent) {
        sim_auditor_acknowledged(wire->options.auditor, socket->connection_plus_one - 1,
                                 socket->sent - (uint64_t)result);
    }
    return result;
}

static int wire_shutdown(void *self, int fd, enum weir_socket_shutdown how)
{
    struct sim_wire *wire = wire_of(self);
    struct wire_socket *socket = wire_socket(wire, fd);
    if (socket != NULL && how != WEIR_SHUTDOWN_READ) {
        sim_auditor_shut(wire->options.auditor, socket->connection_plus_one - 1);
        socket->shut = true;
    }
    int result = wire->os->socket_shutdown(self, fd, how);
    if (result < 0) {
        wire_trouble(wire, fd);
    }
    return result;
}

static int wire_close(void *self, int fd)
{
    struct sim_wire *wire = wire_of(self);
    struct wire_socket *socket = wire_socket(wire, fd);
    wire->busy_looks = 0;
    if (socket != NULL) {
        struct sim_auditor *auditor = wire->options.auditor;
        bool reason = wire_reason(wire, socket, wire_now(self));
        if (!reason && wire->options.faithful && socket->sent > 0 &&
            wire->options.steady(wire->options.context)) {
            sim_auditor_fail(auditor, "left-without-reason",
                             "it was closed, and nothing had gone wrong with it");
        }
        sim_auditor_end(auditor, socket->connection_plus_one - 1,
                        reason ? SIM_END_BROKEN : SIM_END_ORDERLY);
        socket->connection_plus_one = 0;
        wire->open--;
        wire->open_at[socket->place]--;
    }
    return wire->os->socket_close(self, fd);
}

struct weir_os sim_wire_open(struct weir_sim *sim, const struct sim_wire_options *options)
{
    uint32_t number;
    struct sim_wire *wire = sim_arena_alloc(sim->arena, sizeof(*wire), _Alignof(struct sim_wire),
                                            false, SIM_PROCESSES_MAX - 1, &number);
    weir_assert(wire != NULL);
    wire->options = *options;
    wire->os = weir_sim_os(sim);
    sim->wire = wire;
    struct weir_os os = *wire->os;
    os.now_ns = wire_now_ns;
    os.socket_connect = wire_connect;
    os.socket_send = wire_send;
    os.socket_recv = wire_recv;
    os.socket_error = wire_error;
    os.socket_state = wire_state;
    os.socket_outstanding = wire_outstanding;
    os.socket_shutdown = wire_shutdown;
    os.socket_close = wire_close;
    return os;
}

uint32_t sim_wire_connections(const struct weir_sim *sim)
{
    return sim->wire->open;
}

uint32_t sim_wire_connects(const struct weir_sim *sim)
{
    return sim->wire->connects;
}

uint32_t sim_wire_dials(const struct weir_sim *sim, uint32_t place)
{
    weir_assert(place < SIM_WIRE_PLACES_MAX);
    return sim->wire->dials[place];
}

uint32_t sim_wire_open_at(const struct weir_sim *sim, uint32_t place)
{
    weir_assert(place < SIM_WIRE_PLACES_MAX);
    return sim->wire->open_at[place];
}

uint32_t sim_wire_waiting(const struct weir_sim *sim)
{
    uint32_t waiting = 0;
    for (uint32_t fd = 0; fd < SIM_FILES_MAX; fd++) {
        const struct wire_socket *socket = &sim->wire->sockets[fd];
        waiting += socket->connection_plus_one != 0 && socket->waiting != 0 ? 1 : 0;
    }
    return waiting;
}
