// Collectors: the process, its troubles and its end.
#include "sim/collector_state.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "runtime/assert.h"
#include "sim/net_state.h"

#define MS UINT64_C(1000000)
#define BACKLOG 16
#define EVENTS_MAX 16
// Between two looks of a scenario at whether everything was read.
#define DRAIN_LOOK_NS (5 * MS)
// A TCP peer that gave up without a word leaves its connection open here for ever; what was on its
// way has come long before this.
#define DRAIN_QUIET_NS (5000 * MS)

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

void sim_collector_must(const struct sim_collector *me, int64_t result, const char *what)
{
    if (result < 0) {
        weir_sim_fail(me->sim, WEIR_SIM_INTERNAL, "collector-cannot", "%s: %lld", what,
                      (long long)result);
    }
}

// Lengths of time: each order of magnitude is as likely as the next.
uint64_t sim_collector_time(const struct sim_collector *me, uint64_t longest_ns)
{
    uint32_t magnitudes = 1;
    while (longest_ns >> magnitudes > 1000) {
        magnitudes++;
    }
    return longest_ns >> weir_sim_choose(me->sim, WEIR_SIM_WORK, magnitudes);
}

// ---- The process ----

static void collector_accept(struct sim_collector *me)
{
    for (;;) {
        int fd = me->os->socket_accept(me->os->self, me->listener);
        if (fd >= 0) {
            sim_connection_begin(me, fd);
        } else if (fd == -EAGAIN) {
            return;
        } else if (fd != -EINTR && fd != -ECONNABORTED) {
            sim_collector_must(me, fd, "socket_accept");
        }
    }
}

static void collector_listen(struct sim_collector *me)
{
    const struct weir_os *os = me->os;
    int fd = os->socket_open(os->self, is_unix(me->options.kind) ? AF_UNIX : AF_INET,
                             sim_collector_datagrams(me) ? SOCK_DGRAM : SOCK_STREAM);
    sim_collector_must(me, fd, "socket_open");
    (void)os->socket_option(os->self, fd, WEIR_SOCKET_REUSE_ADDRESS, 1);
    sim_address_forget(me->sim->net, &me->address); // what a predecessor left in the file system
    sim_collector_must(me, os->socket_bind(os->self, fd, &me->address), "socket_bind");
    sim_collector_must(me, os->poller_open(os->self, &me->poller), "poller_open");
    for (uint32_t i = 0; i < SIM_CONNECTIONS_MAX; i++) {
        me->connections[i].fd = -1;
    }
    if (sim_collector_datagrams(me)) {
        sim_connection_begin(me, fd);
        return;
    }
    me->listener = fd;
    sim_collector_must(me, os->socket_listen(os->self, fd, BACKLOG), "socket_listen");
    sim_collector_must(me, os->poller_add(os->self, &me->poller, fd, SIM_CONNECTIONS_MAX),
                       "poller_add");
    collector_accept(me);
}

// Reads where there may be something, and answers.  returns  when the first pause ends.
static uint64_t collector_read(struct sim_collector *me)
{
    uint64_t next_ns = WEIR_NEVER;
    for (uint32_t i = 0; i < SIM_CONNECTIONS_MAX; i++) {
        struct collector_connection *connection = &me->connections[i];
        if (connection->fd >= 0 && connection->readable) {
            sim_connection_read(me, connection);
        }
        bool paused = connection->fd >= 0 && connection->readable;
        if (paused && connection->pause_until_ns < next_ns) {
            next_ns = connection->pause_until_ns;
        }
        if (connection->fd >= 0 && me->options.kind == SIM_COLLECTOR_RELP) {
            uint64_t due_ns = sim_session_speak(me, connection);
            next_ns = due_ns < next_ns ? due_ns : next_ns;
        }
    }
    return next_ns;
}

static void collector_main(void *argument)
{
    struct sim_collector *me = argument;
    const struct weir_os *os = me->os;
    uint64_t now_ns = sim_collector_now(me);
    if (me->start_ns > now_ns) {
        weir_sim_sleep(me->sim, me->start_ns - now_ns);
    }
    collector_listen(me);
    for (;;) {
        struct weir_os_event events[EVENTS_MAX];
        uint64_t deadline_ns = collector_read(me);
        int count = os->poller_wait(os->self, &me->poller, events, EVENTS_MAX, deadline_ns);
        sim_collector_must(me, count == -EINTR ? 0 : count, "poller_wait");
        for (int i = 0; i < count; i++) {
            if (events[i].token == SIM_CONNECTIONS_MAX) {
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
    me->start_ns = sim_collector_now(me) + delay_ns;
    me->process = weir_sim_process_start(me->sim, collector_main, me);
}

static void collector_kill(struct sim_collector *me)
{
    me->alive = false;
    weir_sim_process_kill(me->sim, me->process);
    sim_auditor_break(me->options.auditor); // also of what was never accepted
    for (uint32_t i = 0; i < SIM_CONNECTIONS_MAX; i++) {
        if (me->connections[i].fd >= 0) {
            sim_connection_over(me, &me->connections[i], SIM_END_BROKEN);
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
    for (uint32_t i = 0; i < SIM_CONNECTIONS_MAX; i++) {
        me->connections[i].fd = -1;
    }
    me->address = sim_collector_address(options->kind, options->path, options->host, options->port);
    bool late = options->late_ns_max > 0 && weir_sim_choose(sim, WEIR_SIM_PEER, 2) != 0;
    collector_start(me, late ? sim_collector_time(me, options->late_ns_max) : 0);
    return me;
}

// ---- From the scenario ----

void sim_collector_trouble(void *collector)
{
    enum trouble { NONE, KILL, KILL_FOR_LONG, STOP, TROUBLES };
    struct sim_collector *me = collector;
    for (uint32_t i = 0; i < me->options.troubles && !me->healed; i++) {
        weir_sim_sleep(me->sim, sim_collector_time(me, me->options.rest_ns));
        uint32_t trouble = me->healed ? NONE : weir_sim_choose(me->sim, WEIR_SIM_PEER, TROUBLES);
        uint64_t length_ns = trouble == NONE ? 0 : sim_collector_time(me, me->options.rest_ns);
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
    me->read_ns = sim_collector_now(me);
}

void sim_collector_leave(struct sim_collector *me)
{
    me->start_ns = 0;
    collector_kill(me);
}

void sim_collector_return(struct sim_collector *me)
{
    collector_start(me, 0);
}

bool sim_collector_drain(struct sim_collector *me, uint64_t timeout_ns)
{
    uint64_t deadline_ns = sim_collector_now(me) + timeout_ns;
    uint32_t quiet = 0;
    while (quiet < 2) {
        uint32_t open = 0;
        for (uint32_t i = 0; i < SIM_CONNECTIONS_MAX && !sim_collector_datagrams(me); i++) {
            open += me->connections[i].fd >= 0 ? 1 : 0;
        }
        bool silent =
            !is_unix(me->options.kind) && sim_collector_now(me) - me->read_ns > DRAIN_QUIET_NS;
        bool done = me->start_ns <= sim_collector_now(me) && (open == 0 || silent);
        quiet = done ? quiet + 1 : 0;
        if (!done && sim_collector_now(me) > deadline_ns) {
            return false;
        }
        weir_sim_sleep(me->sim, DRAIN_LOOK_NS);
    }
    return true;
}

void sim_collector_close(struct sim_collector *me)
{
    weir_sim_process_kill(me->sim, me->process);
    for (uint32_t i = 0; i < SIM_CONNECTIONS_MAX; i++) {
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

uint32_t sim_collector_closes(const struct sim_collector *me)
{
    return me->closes;
}

uint32_t sim_collector_refusals(const struct sim_collector *me)
{
    return me->refusals;
}
