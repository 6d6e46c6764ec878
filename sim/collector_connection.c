// A collector's connections, and its habits.
#include "sim/collector_state.h"

#include <errno.h>

#define MS UINT64_C(1000000)
#define READ_BYTES_MAX 4096
#define ALL_HABITS ((1u << SIM_HABITS_COUNT) - 1)
// What does not need a connection.
#define DATAGRAM_HABITS (1u << SIM_HABIT_SLOW | 1u << SIM_HABIT_DEAF)
// Talk has its manners there.
#define RELP_HABITS (~(1u << SIM_HABIT_TALK))

uint32_t sim_collector_below(const struct sim_collector *me, uint64_t bound)
{
    uint32_t steps = bound < UINT32_MAX ? (uint32_t)bound : UINT32_MAX;
    return steps == 0 ? 0 : weir_sim_choose(me->sim, WEIR_SIM_WORK, steps);
}

// The connection is over for the auditor; the descriptor may be gone already.
void sim_connection_over(struct sim_collector *me, struct collector_connection *connection,
                         enum sim_end how)
{
    connection->fd = -1;
    if (how == SIM_END_BROKEN) {
        sim_auditor_break(me->options.auditor);
    }
    sim_auditor_end(me->options.auditor, connection->audited, how);
}

void sim_connection_close(struct sim_collector *me, struct collector_connection *connection,
                          enum sim_end how)
{
    int fd = connection->fd;
    // Before the close: the writer cannot have met it yet.
    sim_connection_over(me, connection, how);
    (void)me->os->socket_close(me->os->self, fd);
}

static enum sim_habit habit_draw(struct sim_collector *me)
{
    if (me->healed) {
        return SIM_HABIT_GREEDY;
    }
    uint32_t habits = me->options.habits & ALL_HABITS & ~(1u << SIM_HABIT_GREEDY);
    uint32_t answer = weir_sim_choose(me->sim, WEIR_SIM_PEER, SIM_HABITS_COUNT);
    if (answer == 0 || habits == 0) {
        return SIM_HABIT_GREEDY;
    }
    uint32_t index = (answer - 1) % (uint32_t)__builtin_popcount(habits);
    for (; index > 0; index--) {
        habits &= habits - 1;
    }
    uint32_t habit = (uint32_t)__builtin_ctz(habits);
    uint32_t fitting = sim_collector_datagrams(me)              ? DATAGRAM_HABITS
                       : me->options.kind == SIM_COLLECTOR_RELP ? RELP_HABITS
                                                                : UINT32_MAX;
    return (fitting >> habit & 1) != 0 ? (enum sim_habit)habit : SIM_HABIT_GREEDY;
}

// A place for one more: where there is none, the one that has been silent for longest ends.
static struct collector_connection *connection_place(struct sim_collector *me)
{
    struct collector_connection *oldest = me->connections;
    for (uint32_t i = 0; i < SIM_CONNECTIONS_MAX; i++) {
        struct collector_connection *connection = &me->connections[i];
        if (connection->fd < 0) {
            return connection;
        }
        oldest = connection->active_ns < oldest->active_ns ? connection : oldest;
    }
    sim_connection_close(me, oldest, SIM_END_BROKEN);
    return oldest;
}

void sim_connection_begin(struct sim_collector *me, int fd)
{
    struct collector_connection *connection = connection_place(me);
    *connection = (struct collector_connection){.fd = fd,
                                                .session = connection->session,
                                                .readable = true,
                                                .active_ns = sim_collector_now(me)};
    connection->audited = sim_auditor_begin(me->options.auditor, SIM_SIDE_READ);
    connection->habit = habit_draw(me);
    if (connection->habit != SIM_HABIT_GREEDY) {
        connection->after = sim_collector_below(me, me->options.bytes_draw);
    }
    if (me->options.kind == SIM_COLLECTOR_RELP) {
        sim_session_begin(me, connection);
    }
    me->accepts++;
    sim_collector_must(
        me,
        me->os->poller_add(me->os->self, &me->poller, fd, (uint64_t)(connection - me->connections)),
        "poller_add");
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
    } else if (me->options.kind == SIM_COLLECTOR_TCP) {
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
        connection->after = connection->read + 1 + sim_collector_below(me, me->options.bytes_draw);
        connection->pause_until_ns =
            sim_collector_now(me) + sim_collector_time(me, me->options.pause_ns);
        break;
    case SIM_HABIT_SLAM: sim_connection_close(me, connection, SIM_END_BROKEN); return false;
    case SIM_HABIT_HALF: connection_part(me, connection); break;
    case SIM_HABIT_PART:
        if (connection->shown) {
            sim_connection_close(me, connection, SIM_END_BROKEN);
            return false;
        }
        connection_part(me, connection);
        if (sim_collector_below(me, 2) != 0) { // at once: the writer may be about to ask why
            sim_connection_close(me, connection, SIM_END_BROKEN);
            return false;
        }
        connection->pause_until_ns = sim_collector_now(me) + sim_collector_time(me, MS);
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
                sim_collector_now(me) + sim_collector_time(me, 10 * me->options.pause_ns);
        }
        break;
    }
    return true;
}

static size_t read_bytes_max(const struct sim_collector *me,
                             const struct collector_connection *connection)
{
    uint64_t left = connection->after - connection->read;
    bool exact = connection->habit != SIM_HABIT_GREEDY && !me->healed &&
                 !sim_collector_datagrams(me) && connection->after > connection->read;
    return exact && left < READ_BYTES_MAX ? (size_t)left : READ_BYTES_MAX;
}

// Reads until there is nothing, or the habit says otherwise.
void sim_connection_read(struct sim_collector *me, struct collector_connection *connection)
{
    unsigned char bytes[READ_BYTES_MAX];
    while (connection->fd >= 0 && connection->readable) {
        if (!habit_show(me, connection) ||
            (!me->healed && connection->pause_until_ns > sim_collector_now(me))) {
            return;
        }
        int64_t count = me->os->socket_recv(me->os->self, connection->fd, bytes,
                                            read_bytes_max(me, connection));
        if (count > 0) {
            sim_auditor_bytes(me->options.auditor, connection->audited, bytes, (size_t)count);
            connection->read += (uint64_t)count;
            me->read_ns = connection->active_ns = sim_collector_now(me);
            if (me->options.kind == SIM_COLLECTOR_RELP) {
                sim_session_read(me, connection, bytes, (size_t)count);
            }
        } else if (count == -EAGAIN) {
            connection->readable = false;
            if (connection->habit == SIM_HABIT_LEAVE && !me->healed &&
                connection->read >= connection->after) {
                sim_connection_close(me, connection, SIM_END_BROKEN);
            }
        } else if (count == 0 && !sim_collector_datagrams(me)) {
            // The end of stream hides a reset that came with it, and what was lost by that.
            int error = me->os->socket_error(me->os->self, connection->fd);
            bool reset = error != 0 || connection->reset;
            sim_connection_close(me, connection, reset ? SIM_END_BROKEN : SIM_END_ORDERLY);
        } else if (count < 0 && count != -EINTR && sim_collector_datagrams(me)) {
            connection->readable = false;
        } else if (count < 0 && count != -EINTR) {
            sim_connection_close(me, connection, SIM_END_BROKEN);
        }
    }
}
