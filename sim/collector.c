// Collectors.
#include "sim/collector.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "runtime/assert.h"
#include "sim/net_state.h"
#include "sim/sim.h"

#define MS UINT64_C(1000000)
// Connections of one collector at a time. A pool has one per writer; those it has left and this one
// has not read to their end come on top.
#define CONNECTIONS_MAX 64
#define READ_BYTES_MAX 4096
#define BACKLOG 16
#define EVENTS_MAX 16
// What does not need a connection.
#define DATAGRAM_HABITS (1u << SIM_HABIT_SLOW | 1u << SIM_HABIT_DEAF)
// Between two looks of a scenario at whether everything was read.
#define DRAIN_LOOK_NS (5 * MS)
// A TCP peer that gave up without a word leaves its connection open here for ever; what was on its
// way has come long before this.
#define DRAIN_QUIET_NS (5000 * MS)

struct collector_connection {
    int fd; // -1: free
    uint32_t audited;
    enum sim_habit habit;
    uint64_t after; // bytes until the habit shows
    uint64_t read;
    uint64_t active_ns; // when it began, or was last read from
    uint64_t pause_until_ns;
    bool readable; // as far as is known: until -EAGAIN
    bool shown;    // the habit did what it does once
    bool reset;    // a send was told of it, and no other call will be
};

struct sim_collector {
    struct weir_sim *sim;
    const struct weir_os *os; // of no fault: only process 0 meets those
    struct sim_collector_options options;
    struct weir_address address;
    uint32_t process;
    bool alive, healed;
    uint64_t start_ns; // listens from then on
    uint64_t read_ns;  // when something was last read, or all became well
    uint32_t restarts, accepts;
    int listener;
    struct weir_poller poller;
    struct collector_connection connections[CONNECTIONS_MAX];
};

static bool is_datagram(const struct sim_collector *me)
{
    return me->options.kind == SIM_COLLECTOR_UNIX_DATAGRAM || me->options.kind == SIM_COLLECTOR_UDP;
}

static bool is_unix(enum sim_collector_kind kind)
{
    return kind == SIM_COLLECTOR_UNIX || kind == SIM_COLLECTOR_UNIX_DATAGRAM;
}

struct weir_address sim_collector_address(enum sim_collector_kind kind, const char *path,
                                          const char *host, uint16_t port)
{
    struct weir_address address = {.bytes_count = 0};
    if (is_unix(kind)) {
        int error = weir_address_unix(&address, path);
        weir_assert(error == 0);
        return address;
    }
    struct sockaddr_in native = {.sin_family = AF_INET, .sin_port = htons(port)};
    int good = inet_pton(AF_INET, host, &native.sin_addr);
    weir_assert(good == 1);
    memcpy(address.bytes, &native, sizeof(native));
    address.bytes_count = sizeof(native);
    return address;
}

static uint64_t collector_now(const struct sim_collector *me)
{
    return sim_threads_now(me->sim->threads);
}

static void collector_must(const struct sim_collector *me, int64_t result, const char *what)
{
    if (result < 0) {
        weir_sim_fail(me->sim, WEIR_SIM_INTERNAL, "collector-cannot", "%s: %lld", what,
                      (long long)result);
    }
}

static uint64_t draw_below(const struct sim_collector *me, uint64_t bound)
{
    uint32_t steps = bound < UINT32_MAX ? (uint32_t)bound : UINT32_MAX;
    return steps == 0 ? 0 : weir_sim_choose(me->sim, WEIR_SIM_WORK, steps);
}

// Lengths of time: each order of magnitude is as likely as the next.
static uint64_t draw_time(const struct sim_collector *me, uint64_t longest_ns)
{
    uint32_t magnitudes = 1;
    while (longest_ns >> magnitudes > 1000) {
        magnitudes++;
    }
    return longest_ns >> weir_sim_choose(me->sim, WEIR_SIM_WORK, magnitudes);
}

// ---- Connections ----

// The connection is over for the auditor; the descriptor may be gone already.
static void connection_over(struct sim_collector *me, struct collector_connection *connection,
                            enum sim_end how)
{
    connection->fd = -1;
    if (how == SIM_END_BROKEN) {
        sim_auditor_break(me->options.auditor);
    }
    sim_auditor_end(me->options.auditor, connection->audited, how);
}

static void connection_close(struct sim_collector *me, struct collector_connection *connection,
                             enum sim_end how)
{
    int fd = connection->fd;
    // Before the close: the writer cannot have met it yet.
    connection_over(me, connection, how);
    (void)me->os->socket_close(me->os->self, fd);
}

static enum sim_habit habit_draw(struct sim_collector *me)
{
    if (me->healed) {
        return SIM_HABIT_GREEDY;
    }
    uint32_t habit = weir_sim_choose(me->sim, WEIR_SIM_PEER, SIM_HABITS_COUNT);
    uint32_t habits = me->options.habits & (is_datagram(me) ? DATAGRAM_HABITS : UINT32_MAX);
    return (habits >> habit & 1) != 0 ? (enum sim_habit)habit : SIM_HABIT_GREEDY;
}

// A place for one more: where there is none, the one that has been silent for longest ends.
static struct collector_connection *connection_place(struct sim_collector *me)
{
    struct collector_connection *oldest = me->connections;
    for (uint32_t i = 0; i < CONNECTIONS_MAX; i++) {
        struct collector_connection *connection = &me->connections[i];
        if (connection->fd < 0) {
            return connection;
        }
        oldest = connection->active_ns < oldest->active_ns ? connection : oldest;
    }
    connection_close(me, oldest, SIM_END_BROKEN);
    return oldest;
}

static void connection_begin(struct sim_collector *me, int fd)
{
    struct collector_connection *connection = connection_place(me);
    *connection =
        (struct collector_connection){.fd = fd, .readable = true, .active_ns = collector_now(me)};
    connection->audited = sim_auditor_begin(me->options.auditor, SIM_SIDE_READ);
    connection->habit = habit_draw(me);
    if (connection->habit != SIM_HABIT_GREEDY) {
        connection->after = draw_below(me, me->options.bytes_draw);
    }
    me->accepts++;
    collector_must(
        me,
        me->os->poller_add(me->os->self, &me->poller, fd, (uint64_t)(connection - me->connections)),
        "poller_add");
}

static void collector_accept(struct sim_collector *me)
{
    for (;;) {
        int fd = me->os->socket_accept(me->os->self, me->listener);
        if (fd >= 0) {
            connection_begin(me, fd);
        } else if (fd == -EAGAIN) {
            return;
        } else if (fd != -EINTR && fd != -ECONNABORTED) {
            collector_must(me, fd, "socket_accept");
        }
    }
}

// Ends its own side, whatever is unread.
static void connection_part(struct sim_collector *me, struct collector_connection *connection)
{
    if (connection->shown) {
        return;
    }
    connection->shown = true;
    // The hole of the documentation: such an end of stream says nothing about what was read. It is
    // closed where a reset follows soon, unless the writer had ended its side as well.
    if (me->options.prompt && connection->habit == SIM_HABIT_PART) {
        sim_auditor_parting(me->options.auditor);
    } else if (!is_unix(me->options.kind)) {
        sim_auditor_weaken(me->options.auditor, SIM_PROMISE_ACKNOWLEDGED);
    }
    (void)me->os->socket_shutdown(me->os->self, connection->fd, WEIR_SHUTDOWN_WRITE);
}

// The habit shows.  returns  false: the connection is over.
static bool habit_show(struct sim_collector *me, struct collector_connection *connection)
{
    if (me->healed || connection->read < connection->after) {
        return true;
    }
    switch (connection->habit) {
    case SIM_HABIT_GREEDY:
    case SIM_HABIT_LEAVE:
    case SIM_HABITS_COUNT: break;
    case SIM_HABIT_SLOW:
        connection->after = connection->read + 1 + draw_below(me, me->options.bytes_draw);
        connection->pause_until_ns = collector_now(me) + draw_time(me, me->options.pause_ns);
        break;
    case SIM_HABIT_SLAM: connection_close(me, connection, SIM_END_BROKEN); return false;
    case SIM_HABIT_HALF: connection_part(me, connection); break;
    case SIM_HABIT_PART:
        if (connection->shown) {
            connection_close(me, connection, SIM_END_BROKEN);
            return false;
        }
        connection_part(me, connection);
        connection->pause_until_ns = collector_now(me) + draw_time(me, MS);
        break;
    case SIM_HABIT_TALK: {
        static const unsigned char bytes[] = "unasked";
        struct weir_iovec part = {bytes, sizeof(bytes)};
        if (!connection->shown) {
            connection->shown = true;
            int64_t sent = me->os->socket_send(me->os->self, connection->fd, &part, 1);
            connection->reset = sent < 0 && sent != -EAGAIN;
        }
        break;
    }
    case SIM_HABIT_DEAF:
        if (!connection->shown) {
            connection->shown = true;
            connection->pause_until_ns =
                collector_now(me) + draw_time(me, 10 * me->options.pause_ns);
        }
        break;
    }
    return true;
}

static size_t read_bytes_max(const struct sim_collector *me,
                             const struct collector_connection *connection)
{
    uint64_t left = connection->after - connection->read;
    bool exact = connection->habit != SIM_HABIT_GREEDY && !me->healed && !is_datagram(me) &&
                 connection->after > connection->read;
    return exact && left < READ_BYTES_MAX ? (size_t)left : READ_BYTES_MAX;
}

// Reads until there is nothing, or the habit says otherwise.
static void connection_read(struct sim_collector *me, struct collector_connection *connection)
{
    unsigned char bytes[READ_BYTES_MAX];
    while (connection->fd >= 0 && connection->readable) {
        if (!habit_show(me, connection) ||
            (!me->healed && connection->pause_until_ns > collector_now(me))) {
            return;
        }
        int64_t count = me->os->socket_recv(me->os->self, connection->fd, bytes,
                                            read_bytes_max(me, connection));
        if (count > 0) {
            sim_auditor_bytes(me->options.auditor, connection->audited, bytes, (size_t)count);
            connection->read += (uint64_t)count;
            me->read_ns = connection->active_ns = collector_now(me);
        } else if (count == -EAGAIN) {
            connection->readable = false;
            if (connection->habit == SIM_HABIT_LEAVE && !me->healed &&
                connection->read >= connection->after) {
                connection_close(me, connection, SIM_END_BROKEN);
            }
        } else if (count == 0 && !is_datagram(me)) {
            // The end of stream hides a reset that came with it, and what was lost by that.
            int error = me->os->socket_error(me->os->self, connection->fd);
            bool reset = error != 0 || connection->reset;
            connection_close(me, connection, reset ? SIM_END_BROKEN : SIM_END_ORDERLY);
        } else if (count < 0 && count != -EINTR && is_datagram(me)) {
            connection->readable = false;
        } else if (count < 0 && count != -EINTR) {
            connection_close(me, connection, SIM_END_BROKEN);
        }
    }
}

// ---- The process ----

static void collector_listen(struct sim_collector *me)
{
    const struct weir_os *os = me->os;
    static const int families[] = {AF_UNIX, AF_INET, AF_UNIX, AF_INET};
    int fd = os->socket_open(os->self, families[me->options.kind],
                             is_datagram(me) ? SOCK_DGRAM : SOCK_STREAM);
    collector_must(me, fd, "socket_open");
    (void)os->socket_option(os->self, fd, WEIR_SOCKET_REUSE_ADDRESS, 1);
    sim_address_forget(me->sim->net, &me->address); // what a predecessor left in the file system
    collector_must(me, os->socket_bind(os->self, fd, &me->address), "socket_bind");
    collector_must(me, os->poller_open(os->self, &me->poller), "poller_open");
    for (uint32_t i = 0; i < CONNECTIONS_MAX; i++) {
        me->connections[i].fd = -1;
    }
    if (is_datagram(me)) {
        connection_begin(me, fd);
        return;
    }
    me->listener = fd;
    collector_must(me, os->socket_listen(os->self, fd, BACKLOG), "socket_listen");
    collector_must(me, os->poller_add(os->self, &me->poller, fd, CONNECTIONS_MAX), "poller_add");
    collector_accept(me);
}

// Reads where there may be something.  returns  when the first pause ends.
static uint64_t collector_read(struct sim_collector *me)
{
    uint64_t next_ns = WEIR_NEVER;
    for (uint32_t i = 0; i < CONNECTIONS_MAX; i++) {
        struct collector_connection *connection = &me->connections[i];
        if (connection->fd >= 0 && connection->readable) {
            connection_read(me, connection);
        }
        bool paused = connection->fd >= 0 && connection->readable;
        if (paused && connection->pause_until_ns < next_ns) {
            next_ns = connection->pause_until_ns;
        }
    }
    return next_ns;
}

static void collector_main(void *argument)
{
    struct sim_collector *me = argument;
    const struct weir_os *os = me->os;
    uint64_t now_ns = collector_now(me);
    if (me->start_ns > now_ns) {
        weir_sim_sleep(me->sim, me->start_ns - now_ns);
    }
    collector_listen(me);
    for (;;) {
        struct weir_os_event events[EVENTS_MAX];
        uint64_t deadline_ns = collector_read(me);
        int count = os->poller_wait(os->self, &me->poller, events, EVENTS_MAX, deadline_ns);
        collector_must(me, count == -EINTR ? 0 : count, "poller_wait");
        for (int i = 0; i < count; i++) {
            if (events[i].token == CONNECTIONS_MAX) {
                collector_accept(me);
            } else {
                me->connections[events[i].token].readable = true;
            }
        }
    }
}

static void collector_start(struct sim_collector *me, uint64_t delay_ns)
{
    me->alive = true;
    me->start_ns = collector_now(me) + delay_ns;
    me->process = weir_sim_process_start(me->sim, collector_main, me);
}

static void collector_kill(struct sim_collector *me)
{
    me->alive = false;
    weir_sim_process_kill(me->sim, me->process);
    sim_auditor_break(me->options.auditor); // also of what was never accepted
    for (uint32_t i = 0; i < CONNECTIONS_MAX; i++) {
        if (me->connections[i].fd >= 0) {
            connection_over(me, &me->connections[i], SIM_END_BROKEN);
        }
    }
}

struct sim_collector *sim_collector_open(struct weir_sim *sim,
                                         const struct sim_collector_options *options)
{
    uint32_t number;
    struct sim_collector *me =
        sim_arena_alloc(sim->arena, sizeof(*me), 16, false, SIM_PROCESSES_MAX - 1, &number);
    weir_assert(me != NULL);
    me->sim = sim;
    me->os = weir_sim_os(sim);
    me->options = *options;
    me->listener = -1;
    for (uint32_t i = 0; i < CONNECTIONS_MAX; i++) {
        me->connections[i].fd = -1;
    }
    me->address = sim_collector_address(options->kind, options->path, options->host, options->port);
    bool late = options->late_ns_max > 0 && weir_sim_choose(sim, WEIR_SIM_PEER, 2) != 0;
    collector_start(me, late ? draw_time(me, options->late_ns_max) : 0);
    return me;
}

// ---- From the scenario ----

void sim_collector_trouble(void *collector)
{
    enum trouble { NONE, KILL, KILL_FOR_LONG, STOP, TROUBLES };
    struct sim_collector *me = collector;
    for (uint32_t i = 0; i < me->options.troubles && !me->healed; i++) {
        weir_sim_sleep(me->sim, draw_time(me, me->options.rest_ns));
        uint32_t trouble = me->healed ? NONE : weir_sim_choose(me->sim, WEIR_SIM_PEER, TROUBLES);
        uint64_t length_ns = trouble == NONE ? 0 : draw_time(me, me->options.rest_ns);
        if (trouble == STOP) {
            weir_sim_process_stop(me->sim, me->process);
            weir_sim_sleep(me->sim, length_ns);
            weir_sim_process_continue(me->sim, me->process);
        } else if (trouble != NONE) {
            collector_kill(me);
            collector_start(me, trouble == KILL ? 0 : length_ns);
            me->restarts++;
        }
    }
}

void sim_collector_heal(struct sim_collector *me)
{
    me->healed = true;
    me->read_ns = collector_now(me);
}

bool sim_collector_drain(struct sim_collector *me, uint64_t timeout_ns)
{
    uint64_t deadline_ns = collector_now(me) + timeout_ns;
    uint32_t quiet = 0;
    while (quiet < 2) {
        uint32_t open = 0;
        for (uint32_t i = 0; i < CONNECTIONS_MAX && !is_datagram(me); i++) {
            open += me->connections[i].fd >= 0 ? 1 : 0;
        }
        bool silent = me->options.kind == SIM_COLLECTOR_TCP &&
                      collector_now(me) - me->read_ns > DRAIN_QUIET_NS;
        bool done = me->start_ns <= collector_now(me) && (open == 0 || silent);
        quiet = done ? quiet + 1 : 0;
        if (!done && collector_now(me) > deadline_ns) {
            return false;
        }
        weir_sim_sleep(me->sim, DRAIN_LOOK_NS);
    }
    return true;
}

void sim_collector_close(struct sim_collector *me)
{
    weir_sim_process_kill(me->sim, me->process);
    for (uint32_t i = 0; i < CONNECTIONS_MAX; i++) {
        if (me->connections[i].fd >= 0) {
            me->connections[i].fd = -1;
            sim_auditor_end(me->options.auditor, me->connections[i].audited, SIM_END_BROKEN);
        }
    }
}

uint32_t sim_collector_restarts(const struct sim_collector *me)
{
    return me->restarts;
}

uint32_t sim_collector_accepts(const struct sim_collector *me)
{
    return me->accepts;
}
