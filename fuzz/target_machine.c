// Fuzz target machine: sequences of events, the state table beside what a connection can do at all.
//
// A byte is an event: its low half which one, bit 4 the guard. The model has no states of the
// table, but things: a lookup under way, a dial, a connection, its session, an end of stream. What
// may happen and what an action may do follows from those. Where the model says that an event
// cannot be, the table must say so.
#include "fuzz/fuzz.h"

#include <string.h>

#include "writer/machine.h"

enum under_way { WAITING, LOOKUP, DIAL, CONNECTION };

struct thing {
    enum under_way under_way; // exactly one of them
    bool session;             // of the connection: messages may be sent
    bool unsent;              // something is to be sent
    bool shut;                // of the connection: we have said that no more comes
    bool over;
};

static const struct weir_machine_row *rows;
static size_t rows_count;

void fuzz_begin(void)
{
    rows_count = weir_machine_rows(&rows);
}

// The one row for an input. That it is one is a promise of the table.
static const struct weir_machine_row *row_of(enum weir_state state, enum weir_event event,
                                             enum weir_guard guard)
{
    const struct weir_machine_row *found = NULL;
    for (size_t i = 0; i < rows_count; i++) {
        if ((rows[i].from >> state & 1) != 0 && (rows[i].events >> event & 1) != 0 &&
            (rows[i].guards >> guard & 1) != 0) {
            fuzz_require(found == NULL);
            found = &rows[i];
        }
    }
    fuzz_require(found != NULL);
    return found;
}

// Whether the event can be at all.
static bool thing_allows(const struct thing *thing, enum weir_event event, enum weir_guard guard)
{
    bool connection = thing->under_way == CONNECTION;
    bool sending = connection && thing->session && !thing->shut;
    if (thing->over) {
        return false;
    }
    switch (event) {
    case WEIR_EVENT_RETRY: return thing->under_way == WAITING;
    case WEIR_EVENT_RESOLVED: return thing->under_way == LOOKUP;
    case WEIR_EVENT_CONNECTED: return thing->under_way == DIAL;
    case WEIR_EVENT_FAILED: return thing->under_way == LOOKUP || thing->under_way == DIAL;
    case WEIR_EVENT_OPENED: return connection && !thing->session && !thing->shut;
    case WEIR_EVENT_WORK: return sending;
    case WEIR_EVENT_SENT_ALL: return sending && thing->unsent;
    case WEIR_EVENT_BROKEN: return connection;
    case WEIR_EVENT_ROTATE: return sending && !thing->unsent;
    case WEIR_EVENT_FINISH:
        // With a session, when all is sent; without one only if nothing needs it any more.
        return sending ? !thing->unsent : guard == WEIR_GUARD_CLEAR && !thing->session;
    case WEIR_EVENT_PROVEN:
    case WEIR_EVENT_LEAVE: return connection && thing->shut;
    case WEIR_EVENT_DEADLINE: return true;
    case WEIR_EVENTS_COUNT: break;
    }
    return false;
}

static void thing_disconnect(struct thing *thing, enum under_way next)
{
    fuzz_require(thing->under_way == CONNECTION);
    thing->under_way = next;
    thing->session = false;
    thing->shut = false;
    thing->unsent = false;
}

// What the action does; each needs what it works on.
static void thing_act(struct thing *thing, enum weir_event event, enum weir_guard guard,
                      enum weir_action action)
{
    switch (action) {
    case WEIR_ACTION_RESOLVE:
        fuzz_require(thing->under_way == WAITING);
        thing->under_way = LOOKUP;
        break;
    case WEIR_ACTION_DIAL:
        fuzz_require(thing->under_way == LOOKUP && event == WEIR_EVENT_RESOLVED);
        thing->under_way = DIAL;
        break;
    case WEIR_ACTION_BEGIN:
        fuzz_require(thing->under_way == DIAL && event == WEIR_EVENT_CONNECTED);
        thing->under_way = CONNECTION;
        break;
    case WEIR_ACTION_SEND:
        fuzz_require(thing->session && !thing->shut);
        thing->unsent = true;
        break;
    case WEIR_ACTION_REST:
        fuzz_require(thing->under_way == CONNECTION && !thing->shut);
        thing->session = true;
        thing->unsent = false;
        break;
    case WEIR_ACTION_BACK_OFF:
        fuzz_require(thing->under_way == LOOKUP || thing->under_way == DIAL);
        thing->under_way = WAITING;
        break;
    case WEIR_ACTION_BREAK:
        // A connection that breaks before its proof is tried again as long as anything is held.
        fuzz_require(event == WEIR_EVENT_BROKEN && (guard == WEIR_GUARD_HELD || !thing->shut));
        thing_disconnect(thing, WAITING);
        break;
    case WEIR_ACTION_SHUT:
        fuzz_require(thing->session && !thing->shut && !thing->unsent);
        thing->shut = true;
        break;
    case WEIR_ACTION_TURN:
        fuzz_require(thing->shut && event == WEIR_EVENT_PROVEN && guard == WEIR_GUARD_HELD);
        thing_disconnect(thing, DIAL);
        break;
    case WEIR_ACTION_MOVE:
        fuzz_require(thing->shut && event == WEIR_EVENT_LEAVE && guard == WEIR_GUARD_HELD);
        thing_disconnect(thing, LOOKUP);
        break;
    case WEIR_ACTION_END:
        // Nothing that is held is given up before its time, and nothing sent is left unproven
        // while the peer might still prove it.
        fuzz_require(event == WEIR_EVENT_DEADLINE || guard == WEIR_GUARD_CLEAR);
        fuzz_require(event == WEIR_EVENT_DEADLINE || thing->shut || !thing->session);
        thing->over = true;
        break;
    case WEIR_ACTION_IMPOSSIBLE:
    case WEIR_ACTIONS_COUNT: fuzz_failed("the action of a possible event", __FILE__, __LINE__);
    }
}

// The state's own name for what the model has.
static void state_check(enum weir_state state, const struct thing *thing)
{
    const bool matches[WEIR_STATES_COUNT] = {
        [WEIR_STATE_DOWN] = !thing->over && thing->under_way == WAITING,
        [WEIR_STATE_RESOLVING] = !thing->over && thing->under_way == LOOKUP,
        [WEIR_STATE_DIALING] = !thing->over && thing->under_way == DIAL,
        [WEIR_STATE_OPENING] = !thing->over && thing->under_way == CONNECTION && !thing->session,
        [WEIR_STATE_READY] = !thing->over && thing->session && !thing->unsent && !thing->shut,
        [WEIR_STATE_SENDING] = !thing->over && thing->session && thing->unsent,
        [WEIR_STATE_DRAINING] = !thing->over && thing->shut,
        [WEIR_STATE_CLOSED] = thing->over,
    };
    fuzz_require(state < WEIR_STATES_COUNT && matches[state]);
    fuzz_require(weir_state_label(state)[0] != '\0');
}

void fuzz_one(const unsigned char *bytes, size_t count)
{
    struct fuzz_input input = {bytes, count, 0};
    struct thing thing;
    memset(&thing, 0, sizeof(thing));
    enum weir_state state = WEIR_STATE_DOWN;
    while (fuzz_more(&input)) {
        uint8_t what = fuzz_u8(&input);
        enum weir_event event = (enum weir_event)((what & 15) % WEIR_EVENTS_COUNT);
        enum weir_guard guard = (enum weir_guard)(what >> 4 & 1);
        const struct weir_machine_row *row = row_of(state, event, guard);
        if (!thing_allows(&thing, event, guard)) {
            fuzz_require(row->action == WEIR_ACTION_IMPOSSIBLE);
            continue;
        }
        fuzz_require(row->action != WEIR_ACTION_IMPOSSIBLE);
        struct weir_machine_step step = weir_machine_step(state, event, guard);
        fuzz_require(step.to == row->to && step.action == row->action);
        thing_act(&thing, event, guard, step.action);
        state = step.to;
        state_check(state, &thing);
    }
}
