// What a writer's task sees: the next event, by state; and what follows for its books.
//
// [R4] `progress` grows after what it tells of; sleepers read it before they look (see pool.c).
#include "writer/watch.h"

#include "runtime/assert.h"
#include "runtime/cold.h"
#include "writer/epoch.h"
#include "writer/link.h"
#include "writer/rhythm.h"
#include "writer/session.h"

#define MS UINT64_C(1000000)
// What the peer has confirmed is asked for when there is so much to be confirmed, as much as a Unix
// socket holds, and else after so long.
#define SAMPLE_BYTES (256u * 1024)
#define SAMPLE_NS (2 * WEIR_TICK_NS_MIN)

// Whether all segments before the row's first were taken by this task, or thrown away by a thread
// that has counted them. Such a thread claims first and counts then, so that it may be between.
static bool watch_first(const struct weir_writer *me, uint64_t *first)
{
    uint64_t shed = // before `first`, which then is beyond all that it counts
        atomic_load_explicit(&me->counters.shed_segments, memory_order_seq_cst); // [B6]
    *first = weir_row_first(me->row);
    return *first == me->transit.taken + shed;
}

uint64_t weir_watch_settled(const struct weir_writer *me)
{
    uint64_t first;
    return watch_first(me, &first) ? weir_transit_first(&me->transit, first)
                                   : atomic_load_explicit(&me->settled, memory_order_relaxed);
}

bool weir_watch_accounted(const struct weir_writer *me)
{
    uint64_t first;
    return watch_first(me, &first);
}

void weir_watch_tell(struct weir_writer *me)
{
    atomic_store_explicit(&me->settled, weir_watch_settled(me), memory_order_release); // [R4]
    atomic_fetch_add_explicit(me->progress, 1, memory_order_seq_cst);                  // [R4]
    if (atomic_load_explicit(me->waiters, memory_order_seq_cst) != 0) {                // [R4]
        me->os->futex_wake(me->os->self, me->progress, UINT32_MAX);
    }
}

static bool watch_closing(struct weir_writer *me)
{
    return atomic_load_explicit(&me->closing, memory_order_acquire) != 0; // [R1]
}

uint64_t weir_watch_deadline_ns(struct weir_writer *me)
{
    return watch_closing(me) ? atomic_load_explicit(&me->close_deadline_ns, memory_order_relaxed)
                             : WEIR_NEVER;
}

static bool alarm_rang(const struct weir_writer *me, enum weir_alarm alarm)
{
    return me->now_ns >= me->alarms[alarm];
}

void weir_watch_fault(struct weir_writer *me, enum weir_fault fault)
{
    weir_counter_add(&me->counters.faults[fault], 1);
    weir_report_fault(me, fault);
}

// ---- Taking and confirming ----

static void watch_take(struct weir_writer *me)
{
    if (me->row_over) {
        return;
    }
    int taken = weir_transit_take(&me->transit, me->plan->take_bytes, me->now_ns);
    if (taken == WEIR_ECLOSED) {
        me->row_over = weir_watch_accounted(me);
    } else if (taken > 0) {
        weir_rhythm_taken(me, (uint32_t)taken);
    }
}

enum weir_guard weir_watch_guard(const struct weir_writer *me)
{
    bool clear = me->row_over && weir_transit_held(&me->transit) == 0;
    return clear ? WEIR_GUARD_CLEAR : WEIR_GUARD_HELD;
}

void weir_watch_confirm(struct weir_writer *me, uint64_t position)
{
    uint32_t before = weir_transit_held(&me->transit);
    if (position <= me->transit.confirmed) {
        return;
    }
    weir_transit_confirm(&me->transit, position, me->now_ns);
    weir_link_adapt(me, true);
    weir_backoff_reset(&me->backoff);                 // this endpoint is a good one
    if (me->alarms[WEIR_ALARM_STALL] != WEIR_NEVER) { // the peer lives
        me->alarms[WEIR_ALARM_STALL] = me->now_ns + me->plan->stall_timeout_ms * MS;
    }
    if (weir_transit_held(&me->transit) != before) { // room was made
        weir_watch_tell(me);
    }
}

// Whether it is worth two system calls to learn what is confirmed. Not for every tick's little,
// unless somebody waits for just that.
static bool watch_sample_due(const struct weir_writer *me)
{
    return me->transit.sent - me->transit.confirmed >= SAMPLE_BYTES ||
           me->now_ns - me->sampled_ns >= SAMPLE_NS || me->machine == WEIR_STATE_DRAINING ||
           weir_link_waits(me) || atomic_load_explicit(me->waiters, memory_order_relaxed) != 0;
}

static void watch_sample(struct weir_writer *me)
{
    if (me->plan->confirm != WEIR_CONFIRM_PEER || weir_epoch_used(me) ||
        !weir_transit_unconfirmed(&me->transit) || !watch_sample_due(me)) {
        return;
    }
    me->sampled_ns = me->now_ns;
    weir_watch_confirm(me, me->transit.start + weir_link_sample(me));
}

// ---- Events ----

WEIR_COLD static bool look_resolving(struct weir_writer *me, struct weir_context *context,
                                     enum weir_event *event)
{
    const struct weir_endpoint *endpoint = &me->plan->endpoints[me->route.endpoint];
    me->address = 0;
    if (weir_link_is_unix(endpoint)) {
        me->addresses_count = 1;
        *event = WEIR_EVENT_RESOLVED;
        return true;
    }
    if (weir_future_poll(&me->resolve.future, context) == WEIR_READY) {
        int32_t result = me->resolve.future.result;
        me->addresses_count = result > 0 ? (uint32_t)result : 0;
        weir_route_turn(me->resolve.addresses, me->addresses_count,
                        &me->firsts[me->route.endpoint]);
        if (result <= 0) {
            weir_watch_fault(me, WEIR_FAULT_RESOLVE);
        }
        *event = result > 0 ? WEIR_EVENT_RESOLVED : WEIR_EVENT_FAILED;
        return true;
    }
    return false;
}

void weir_watch_dial(struct weir_writer *me)
{
    me->alarms[WEIR_ALARM_DIAL] = me->now_ns + me->plan->connect_timeout_ms * MS;
    weir_link_dial(me);
}

WEIR_COLD static bool look_dialing(struct weir_writer *me, struct weir_context *context,
                                   enum weir_event *event)
{
    for (;;) {
        if (weir_future_poll(&me->connect.future, context) == WEIR_READY) {
            int32_t error = me->connect.future.result;
            if (error == 0) {
                *event = WEIR_EVENT_CONNECTED;
                return true;
            }
            weir_watch_fault(me, weir_link_is_resource_error(error) ? WEIR_FAULT_RESOURCE
                                                                    : WEIR_FAULT_CONNECT);
        } else if (alarm_rang(me, WEIR_ALARM_DIAL)) {
            weir_drop(&me->connect.future, context);
            weir_watch_fault(me, WEIR_FAULT_CONNECT_TIMEOUT);
        } else {
            return false;
        }
        if (me->address + 1 >= me->addresses_count) {
            *event = WEIR_EVENT_FAILED;
            return true;
        }
        me->address++;
        weir_watch_dial(me);
    }
}

// Looks at a connection that should be fine: input, time, confirmations.
static bool look_broken(struct weir_writer *me, struct weir_context *context)
{
    weir_link_receive(me, context);
    if (me->broken == 0 && alarm_rang(me, WEIR_ALARM_STALL)) {
        weir_link_break(me, WEIR_FAULT_STALL);
    }
    if (me->broken == 0 && alarm_rang(me, WEIR_ALARM_ANSWER)) {
        weir_link_break(me, WEIR_FAULT_ANSWER_TIMEOUT);
    }
    return me->broken != 0;
}

static bool watch_writable(struct weir_writer *me, struct weir_context *context)
{
    if (!alarm_rang(me, WEIR_ALARM_STARVED) && me->alarms[WEIR_ALARM_STARVED] != WEIR_NEVER) {
        return false;
    }
    me->alarms[WEIR_ALARM_STARVED] = WEIR_NEVER;
    if (weir_link_waits(me)) {
        return false;
    }
    if (!me->blocked) {
        return true;
    }
    if (weir_future_poll(&me->writable.future, context) == WEIR_PENDING) {
        return false;
    }
    me->blocked = false;
    return true;
}

// The session's own frame goes out as the socket takes it.
static void watch_session(struct weir_writer *me, struct weir_context *context)
{
    while (weir_session_unsent(me) && me->broken == 0 && watch_writable(me, context)) {
        weir_session_send(me); // again when it was interrupted, or took a part
    }
}

WEIR_COLD static bool look_opening(struct weir_writer *me, struct weir_context *context,
                                   enum weir_event *event)
{
    watch_session(me, context);
    weir_link_receive(me, context);
    if (me->broken == 0 && alarm_rang(me, WEIR_ALARM_DIAL)) {
        weir_link_break(me, WEIR_FAULT_CONNECT_TIMEOUT);
    }
    *event = me->broken != 0 ? WEIR_EVENT_BROKEN : WEIR_EVENT_OPENED;
    return me->broken != 0 || me->session.state != WEIR_SESSION_OPENING;
}

static bool look_connected(struct weir_writer *me, struct weir_context *context,
                           enum weir_event *event)
{
    watch_take(me);
    weir_probe_look(me, context);
    if (look_broken(me, context)) {
        *event = WEIR_EVENT_BROKEN;
        return true;
    }
    if (me->peer_ended) { // nothing more is sent
        *event = WEIR_EVENT_BROKEN;
        if (alarm_rang(me, WEIR_ALARM_LINGER)) {
            weir_link_break(me, WEIR_FAULT_PEER_CLOSED);
        }
        return me->broken != 0;
    }
    watch_sample(me);
    weir_epoch_look(me);
    weir_session_admit(me);
    if (weir_transit_unsent(&me->transit)) {
        *event = WEIR_EVENT_WORK;
        if (watch_writable(me, context)) {
            return true;
        }
        if (me->alarms[WEIR_ALARM_STALL] == WEIR_NEVER) {
            me->alarms[WEIR_ALARM_STALL] = me->now_ns + me->plan->stall_timeout_ms * MS;
        }
        return false;
    }
    me->alarms[WEIR_ALARM_STALL] = WEIR_NEVER;
    if (me->machine == WEIR_STATE_SENDING) {
        *event = WEIR_EVENT_SENT_ALL;
        return true;
    }
    bool over = me->row_over && me->transit.sent == me->transit.end;
    *event = over ? WEIR_EVENT_FINISH : WEIR_EVENT_ROTATE;
    // Over RELP the limit is the window's, unless the writer is about to leave.
    return over || (weir_epoch_full(me) && (!me->plan->relp || weir_probe_up(me)));
}

// The peer has not ended its side. If it acknowledged everything it does not do epochs, and its
// acknowledgement has to do.
static bool draining_acknowledged(struct weir_writer *me)
{
    uint64_t position = me->transit.start + weir_link_sample(me);
    if (me->broken != 0 || position < me->transit.sent) {
        return false;
    }
    me->epochs_refused = true;
    me->unproven = true;
    weir_watch_confirm(me, position);
    return true;
}

static enum weir_event draining_over(const struct weir_writer *me)
{
    return weir_probe_up(me) ? WEIR_EVENT_LEAVE : WEIR_EVENT_PROVEN;
}

WEIR_COLD static bool look_draining(struct weir_writer *me, struct weir_context *context,
                                    enum weir_event *event)
{
    watch_session(me, context);
    weir_link_receive(me, context);
    watch_sample(me);
    if (me->broken == 0 && alarm_rang(me, WEIR_ALARM_ANSWER)) {
        weir_link_break(me, WEIR_FAULT_ANSWER_TIMEOUT);
    }
    if (weir_link_proof(me)) {
        me->proven = true;
        weir_watch_confirm(me, me->transit.sent);
        *event = draining_over(me);
        return true;
    }
    if (me->broken == 0 && alarm_rang(me, WEIR_ALARM_STALL)) {
        if (draining_acknowledged(me)) {
            *event = draining_over(me);
            return true;
        }
        weir_link_break(me, WEIR_FAULT_STALL);
    }
    *event = WEIR_EVENT_BROKEN;
    return me->broken != 0;
}

bool weir_watch_look(struct weir_writer *me, struct weir_context *context, enum weir_event *event)
{
    *event = WEIR_EVENT_DEADLINE;
    if (me->now_ns >= weir_watch_deadline_ns(me)) {
        return true;
    }
    if (me->machine <= WEIR_STATE_OPENING && watch_closing(me)) {
        watch_take(me); // only so that `row_over` becomes known
        *event = WEIR_EVENT_FINISH;
        if (weir_watch_guard(me) == WEIR_GUARD_CLEAR) {
            return true;
        }
    }
    switch (me->machine) {
    case WEIR_STATE_DOWN: *event = WEIR_EVENT_RETRY; return alarm_rang(me, WEIR_ALARM_RETRY);
    case WEIR_STATE_RESOLVING: return look_resolving(me, context, event);
    case WEIR_STATE_DIALING: return look_dialing(me, context, event);
    case WEIR_STATE_OPENING: return look_opening(me, context, event);
    case WEIR_STATE_READY:
    case WEIR_STATE_SENDING: return look_connected(me, context, event);
    case WEIR_STATE_DRAINING: return look_draining(me, context, event);
    case WEIR_STATE_CLOSED:
    case WEIR_STATES_COUNT: break;
    }
    return false;
}
