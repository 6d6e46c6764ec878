// The writer's state table and its interpreter.
//
// A  The wait is over: look the endpoint up again, since names move while a collector is away.
// B  There is an address: dial it.
// C  It stands: open the session. What was sent on the connection before and not confirmed is sent
//    again, from the start of its first unconfirmed message.
// D  The attempt came to nothing: wait, longer each time, and start over.
// O  The session is open. Where the protocol has none it is at once.
// E  There is something to send and the socket may take it. From `ready` and `sending` alike; in
//    `sending` it is the rest of an earlier send, or more that has come meanwhile.
// F  All that was taken is sent; it stays held until it is confirmed.
// G  The connection is over while something is held, or may still come: settle the ledger, wait,
//    dial. While draining too: the proof has not come, so what is unconfirmed goes out again.
// H  The connection is over and we were only waiting for the proof of what is confirmed already:
//    there is nothing left to deliver and nobody left to ask.
// I  Closing, and everything is sent: say so to the peer (end of stream) and wait for its answer.
// J  Closing, and there is nothing to deliver and no connection: nothing needs a proof.
// K  The proof is there, and it was the last: done.
// L  The time for closing is over, whatever the state: what is held is dropped and counted.
// M  Enough was sent to a TCP peer on its kernel's word alone: let the peer prove that it has read
//    it, as at the end, before more is sent (epoch.h).
// N  The proof of an epoch is there: what it carried is confirmed, and the next one begins.
// P  The preferred endpoint is back, and everything this one was sent is confirmed: go there.
// X  Cannot be: an event the writer does not raise in that state. Reaching one is a bug.
#include "writer/machine.h"

#include "runtime/assert.h"

#define DOWN (1u << WEIR_STATE_DOWN)
#define RESOLVING (1u << WEIR_STATE_RESOLVING)
#define DIALING (1u << WEIR_STATE_DIALING)
#define READY (1u << WEIR_STATE_READY)
#define SENDING (1u << WEIR_STATE_SENDING)
#define DRAINING (1u << WEIR_STATE_DRAINING)
#define CLOSED (1u << WEIR_STATE_CLOSED)
#define ANY_STATE ((1u << WEIR_STATES_COUNT) - 1)
#define LIVE (ANY_STATE & ~CLOSED)
#define OPENING (1u << WEIR_STATE_OPENING)
#define APART (DOWN | RESOLVING | DIALING)

#define ON(event) (1u << WEIR_EVENT_##event)
#define ANY_EVENT ((1u << WEIR_EVENTS_COUNT) - 1)

#define HELD (1u << WEIR_GUARD_HELD)
#define CLEAR (1u << WEIR_GUARD_CLEAR)
#define ANY (HELD | CLEAR)

#define TO(state, action) WEIR_STATE_##state, WEIR_ACTION_##action

// clang-format off
static const struct weir_machine_row machine_rows[] = {
    //  from               event                         guard  to         action
    {'A', DOWN,              ON(RETRY),                    ANY,   TO(RESOLVING, RESOLVE)},
    {'B', RESOLVING,         ON(RESOLVED),                 ANY,   TO(DIALING,   DIAL)},
    {'C', DIALING,           ON(CONNECTED),                ANY,   TO(OPENING,   BEGIN)},
    {'D', RESOLVING|DIALING, ON(FAILED),                   ANY,   TO(DOWN,      BACK_OFF)},
    {'O', OPENING,           ON(OPENED),                   ANY,   TO(READY,     REST)},
    {'E', READY|SENDING,     ON(WORK),                     ANY,   TO(SENDING,   SEND)},
    {'F', SENDING,           ON(SENT_ALL),                 ANY,   TO(READY,     REST)},
    {'G', OPENING|READY|SENDING, ON(BROKEN),               ANY,   TO(DOWN,      BREAK)},
    {'G', DRAINING,          ON(BROKEN),                   HELD,  TO(DOWN,      BREAK)},
    {'H', DRAINING,          ON(BROKEN),                   CLEAR, TO(CLOSED,    END)},
    {'I', READY,             ON(FINISH),                   ANY,   TO(DRAINING,  SHUT)},
    {'J', APART|OPENING,     ON(FINISH),                   CLEAR, TO(CLOSED,    END)},
    {'K', DRAINING,          ON(PROVEN)|ON(LEAVE),         CLEAR, TO(CLOSED,    END)},
    {'L', LIVE,              ON(DEADLINE),                 ANY,   TO(CLOSED,    END)},
    {'M', READY,             ON(ROTATE),                   ANY,   TO(DRAINING,  SHUT)},
    {'N', DRAINING,          ON(PROVEN),                   HELD,  TO(DIALING,   TURN)},
    {'P', DRAINING,          ON(LEAVE),                    HELD,  TO(RESOLVING, MOVE)},

    {'X', APART|OPENING,     ON(FINISH),                   HELD,  TO(CLOSED, IMPOSSIBLE)},
    {'X', ANY_STATE & ~DOWN, ON(RETRY),                    ANY,   TO(CLOSED, IMPOSSIBLE)},
    {'X', ANY_STATE & ~RESOLVING, ON(RESOLVED),            ANY,   TO(CLOSED, IMPOSSIBLE)},
    {'X', ANY_STATE & ~DIALING, ON(CONNECTED),             ANY,   TO(CLOSED, IMPOSSIBLE)},
    {'X', ANY_STATE & ~(RESOLVING|DIALING), ON(FAILED),    ANY,   TO(CLOSED, IMPOSSIBLE)},
    {'X', ANY_STATE & ~OPENING, ON(OPENED),                ANY,   TO(CLOSED, IMPOSSIBLE)},
    {'X', ANY_STATE & ~(READY|SENDING), ON(WORK),          ANY,   TO(CLOSED, IMPOSSIBLE)},
    {'X', ANY_STATE & ~SENDING, ON(SENT_ALL),              ANY,   TO(CLOSED, IMPOSSIBLE)},
    {'X', APART|CLOSED,      ON(BROKEN),                   ANY,   TO(CLOSED, IMPOSSIBLE)},
    {'X', SENDING|DRAINING|CLOSED, ON(FINISH),             ANY,   TO(CLOSED, IMPOSSIBLE)},
    {'X', ANY_STATE & ~READY, ON(ROTATE),                  ANY,   TO(CLOSED, IMPOSSIBLE)},
    {'X', ANY_STATE & ~DRAINING, ON(PROVEN)|ON(LEAVE),     ANY,   TO(CLOSED, IMPOSSIBLE)},
    {'X', CLOSED,            ON(DEADLINE),                 ANY,   TO(CLOSED, IMPOSSIBLE)},
};
// clang-format on

size_t weir_machine_rows(const struct weir_machine_row **rows)
{
    *rows = machine_rows;
    return sizeof(machine_rows) / sizeof(machine_rows[0]);
}

struct weir_machine_step weir_machine_step(enum weir_state state, enum weir_event event,
                                           enum weir_guard guard)
{
    for (size_t i = 0; i < sizeof(machine_rows) / sizeof(machine_rows[0]); i++) {
        const struct weir_machine_row *row = &machine_rows[i];
        if ((row->from >> state & 1u) != 0 && (row->events >> event & 1u) != 0 &&
            (row->guards >> guard & 1u) != 0) {
            weir_assert(row->action != WEIR_ACTION_IMPOSSIBLE);
            return (struct weir_machine_step){row->to, row->action};
        }
    }
    weir_assert_failed("every input is in one row", __FILE__, __LINE__);
}

const char *weir_state_label(enum weir_state state)
{
#define MACHINE_LABEL(name, label, meaning) label,
    static const char *const labels[] = {WEIR_MACHINE_STATES(MACHINE_LABEL)};
#undef MACHINE_LABEL
    weir_assert(state < WEIR_STATES_COUNT);
    return labels[state];
}
