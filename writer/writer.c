// The writer's task: raises events, performs actions, keeps the rhythm. Decisions are machine.c's.
//
// [R1] `closing` releases the deadline stored before it.
// [R2] `ended` releases the verdict, and with it the writer: the task's store is its last touch,
//      since whoever sees it may free the pool. Who waits for it sleeps on `ended` itself.
// [R3] Deep idle loses no message. The task stores `asleep` and then makes a read-modify-write of
//      the row's tail (weir_row_settle); a logging thread swaps the tail and then loads `asleep`.
//      Both are read-modify-writes of one word, so one of them is first: if the message, the task
//      sees it; if the task, the thread acquires its release and sees `asleep`.
// [R6] `flush_target` (release, in pool.c) is followed by a wake; the task reads it (acquire).
// [R4] `progress` grows after what it tells of; sleepers read it before they look (see pool.c).
#include "writer/writer.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "runtime/assert.h"
#include "writer/append.h"
#include "writer/epoch.h"
#include "writer/link.h"

#define MS UINT64_C(1000000)

// The shortest tick: what a message waits at most, beside the flush interval, while traffic flows;
// a thousand looks a second cost under one percent of a core.
#define TICK_NS_MIN (1 * MS)
// The longest tick before deep idle, and between two looks at what the peer has confirmed.
#define TICK_NS_MAX (32 * MS)
// Deep idle after so long without a message.
#define IDLE_AFTER_NS (100 * MS)

static uint64_t writer_settled(const struct weir_writer *me)
{
    return weir_transit_first(&me->transit, weir_row_first(me->row));
}

static void writer_tell(struct weir_writer *me)
{
    atomic_store_explicit(&me->settled, writer_settled(me), memory_order_release); // [R4]
    atomic_fetch_add_explicit(me->progress, 1, memory_order_seq_cst);              // [R4]
    if (atomic_load_explicit(me->waiters, memory_order_seq_cst) != 0) {            // [R4]
        me->os->futex_wake(me->os->self, me->progress, UINT32_MAX);
    }
}

static bool writer_closing(struct weir_writer *me)
{
    return atomic_load_explicit(&me->closing, memory_order_acquire) != 0; // [R1]
}

static uint64_t writer_deadline_ns(struct weir_writer *me)
{
    return writer_closing(me) ? atomic_load_explicit(&me->close_deadline_ns, memory_order_relaxed)
                              : WEIR_NEVER;
}

static bool alarm_rang(const struct weir_writer *me, enum weir_alarm alarm)
{
    return me->now_ns >= me->alarms[alarm];
}

static void writer_fault(struct weir_writer *me, enum weir_fault fault)
{
    weir_counter_add(&me->counters.faults[fault], 1);
}

// ---- Taking and confirming ----

static void writer_take(struct weir_writer *me)
{
    if (me->row_over) {
        return;
    }
    int taken = weir_transit_take(&me->transit, WEIR_SEND_WINDOW_BYTES, me->now_ns);
    if (taken == WEIR_ECLOSED) {
        me->row_over = true;
    } else if (taken > 0) {
        me->active_ns = me->now_ns;
        me->tick_ns = TICK_NS_MIN;
    }
}

// Everything the host gave us is either confirmed or dropped, and no more can come.
static enum weir_guard writer_guard(const struct weir_writer *me)
{
    return me->row_over && me->transit.count == 0 ? WEIR_GUARD_CLEAR : WEIR_GUARD_HELD;
}

static void writer_confirm(struct weir_writer *me, uint64_t position)
{
    uint32_t before = me->transit.count;
    if (position <= me->transit.confirmed) {
        return;
    }
    weir_transit_confirm(&me->transit, position, me->now_ns);
    weir_link_adapt(me, true);
    weir_backoff_reset(&me->backoff); // this endpoint is a good one
    if (me->alarms[WEIR_ALARM_STALL] != WEIR_NEVER) { // the peer lives
        me->alarms[WEIR_ALARM_STALL] = me->now_ns + me->plan->stall_timeout_ms * MS;
    }
    if (me->transit.count != before) { // room was made
        writer_tell(me);
    }
}

static void writer_sample(struct weir_writer *me)
{
    if (me->plan->confirm != WEIR_CONFIRM_PEER || weir_epoch_used(me) ||
        !weir_transit_unconfirmed(&me->transit)) {
        return;
    }
    writer_confirm(me, me->transit.start + weir_link_sample(me));
}

// ---- Events ----

static bool look_resolving(struct weir_writer *me, struct weir_context *context,
                           enum weir_event *event)
{
    const struct weir_endpoint *endpoint = &me->plan->endpoints[me->endpoint];
    me->address = 0;
    if (weir_link_is_unix(endpoint)) {
        me->addresses_count = 1;
        *event = WEIR_EVENT_RESOLVED;
        return true;
    }
    if (weir_future_poll(&me->resolve.future, context) == WEIR_READY) {
        int32_t result = me->resolve.future.result;
        me->addresses_count = result > 0 ? (uint32_t)result : 0;
        if (result <= 0) {
            writer_fault(me, WEIR_FAULT_RESOLVE);
        }
        *event = result > 0 ? WEIR_EVENT_RESOLVED : WEIR_EVENT_FAILED;
        return true;
    }
    return false;
}

// Each address has the whole time limit: a dead one must not cost the next its turn.
static void writer_dial(struct weir_writer *me)
{
    me->alarms[WEIR_ALARM_DIAL] = me->now_ns + me->plan->connect_timeout_ms * MS;
    weir_link_dial(me);
}

static bool look_dialing(struct weir_writer *me, struct weir_context *context,
                         enum weir_event *event)
{
    for (;;) {
        if (weir_future_poll(&me->connect.future, context) == WEIR_READY) {
            int32_t error = me->connect.future.result;
            if (error == 0) {
                *event = WEIR_EVENT_CONNECTED;
                return true;
            }
            writer_fault(me, weir_link_is_resource_error(error) ? WEIR_FAULT_RESOURCE
                                                                : WEIR_FAULT_CONNECT);
        } else if (alarm_rang(me, WEIR_ALARM_DIAL)) {
            weir_drop(&me->connect.future, context);
            writer_fault(me, WEIR_FAULT_CONNECT_TIMEOUT);
        } else {
            return false;
        }
        if (me->address + 1 >= me->addresses_count) {
            *event = WEIR_EVENT_FAILED;
            return true;
        }
        me->address++;
        writer_dial(me);
    }
}

// Looks at a connection that should be fine: input, time, confirmations.
static bool look_broken(struct weir_writer *me, struct weir_context *context)
{
    weir_link_receive(me, context);
    if (me->broken == 0 && alarm_rang(me, WEIR_ALARM_STALL)) {
        weir_link_break(me, WEIR_FAULT_STALL);
    }
    return me->broken != 0;
}

static bool writer_writable(struct weir_writer *me, struct weir_context *context)
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

static bool look_connected(struct weir_writer *me, struct weir_context *context,
                           enum weir_event *event)
{
    writer_take(me);
    if (look_broken(me, context)) {
        *event = WEIR_EVENT_BROKEN;
        return true;
    }
    writer_sample(me);
    weir_epoch_look(me);
    if (weir_transit_unsent(&me->transit)) {
        *event = WEIR_EVENT_WORK;
        if (writer_writable(me, context)) {
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
    return over || weir_epoch_full(me);
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
    writer_confirm(me, position);
    return true;
}

static bool look_draining(struct weir_writer *me, struct weir_context *context,
                          enum weir_event *event)
{
    weir_link_receive(me, context);
    writer_sample(me);
    if (weir_link_proof(me)) {
        me->proven = true;
        writer_confirm(me, me->transit.sent);
        *event = WEIR_EVENT_PROVEN;
        return true;
    }
    if (me->broken == 0 && alarm_rang(me, WEIR_ALARM_STALL)) {
        if (draining_acknowledged(me)) {
            *event = WEIR_EVENT_PROVEN;
            return true;
        }
        weir_link_break(me, WEIR_FAULT_STALL);
    }
    *event = WEIR_EVENT_BROKEN;
    return me->broken != 0;
}

// The next event, if there is one.
static bool writer_look(struct weir_writer *me, struct weir_context *context,
                        enum weir_event *event)
{
    *event = WEIR_EVENT_DEADLINE;
    if (me->now_ns >= writer_deadline_ns(me)) {
        return true;
    }
    if (me->machine <= WEIR_STATE_DIALING && writer_closing(me)) {
        writer_take(me); // only so that `row_over` becomes known
        *event = WEIR_EVENT_FINISH;
        if (writer_guard(me) == WEIR_GUARD_CLEAR) {
            return true;
        }
    }
    switch (me->machine) {
    case WEIR_STATE_DOWN: *event = WEIR_EVENT_RETRY; return alarm_rang(me, WEIR_ALARM_RETRY);
    case WEIR_STATE_RESOLVING: return look_resolving(me, context, event);
    case WEIR_STATE_DIALING: return look_dialing(me, context, event);
    case WEIR_STATE_READY:
    case WEIR_STATE_SENDING: return look_connected(me, context, event);
    case WEIR_STATE_DRAINING: return look_draining(me, context, event);
    case WEIR_STATE_CLOSED:
    case WEIR_STATES_COUNT: break;
    }
    return false;
}

// ---- Actions ----

static void act_back_off(struct weir_writer *me, struct weir_context *context)
{
    weir_drop(&me->resolve.future, context);
    weir_drop(&me->connect.future, context);
    uint64_t random;
    me->os->entropy(me->os->self, &random, sizeof(random));
    me->endpoint = (me->endpoint + 1) % me->plan->endpoints_count;
    // Each endpoint of the list is tried at once; the wait comes when all have failed.
    uint64_t wait_ns = me->endpoint == 0 ? weir_backoff_next(&me->backoff, random) : 0;
    me->alarms[WEIR_ALARM_RETRY] = me->now_ns + wait_ns;
    me->alarms[WEIR_ALARM_DIAL] = WEIR_NEVER;
}

static void act_begin(struct weir_writer *me)
{
    weir_counter_add(&me->counters.connects, 1);
    atomic_store_explicit(&me->counters.connected, 1, memory_order_relaxed);
    me->alarms[WEIR_ALARM_DIAL] = WEIR_NEVER;
    me->alarms[WEIR_ALARM_STALL] = WEIR_NEVER;
    me->blocked = false;
    me->peer_ended = false;
    me->proven = false;
    me->broken = 0;
    me->active_ns = me->now_ns;
    me->tick_ns = TICK_NS_MIN;
    me->begun = me->transit.confirmed;
    weir_transit_rewind(&me->transit);
    weir_link_begin(me);
}

// Ends the connection's books. `last`: no other connection will ask again, so that what was only
// acknowledged counts as well.
static void writer_settle_books(struct weir_writer *me, bool last)
{
    if (me->plan->confirm != WEIR_CONFIRM_PEER || me->ledger.step == WEIR_LEDGER_OVER) {
        return;
    }
    uint64_t position = me->transit.start + weir_link_settle(me);
    bool witnessed = me->proven || me->peer_ended || !weir_link_needs_proof(me);
    if (witnessed || last || !weir_epoch_used(me)) {
        writer_confirm(me, position);
        me->unproven = me->unproven || (!witnessed && me->transit.confirmed > me->transit.start);
    }
}

static void writer_hang_up(struct weir_writer *me, struct weir_context *context, bool last)
{
    weir_drop(&me->readable.future, context);
    weir_drop(&me->writable.future, context);
    writer_settle_books(me, last);
    weir_stream_close(&me->stream);
    atomic_store_explicit(&me->counters.connected, 0, memory_order_relaxed);
    me->alarms[WEIR_ALARM_STALL] = WEIR_NEVER;
    me->alarms[WEIR_ALARM_STARVED] = WEIR_NEVER;
    me->alarms[WEIR_ALARM_TICK] = WEIR_NEVER;
    me->alarms[WEIR_ALARM_EPOCH] = WEIR_NEVER;
}

static void writer_count_break(struct weir_writer *me)
{
    if (me->broken != 0) {
        writer_fault(me, (enum weir_fault)(me->broken - 1));
        weir_counter_add(&me->counters.disconnects, 1);
    }
}

// What an epoch carried is confirmed: on with the next.
static void act_turn(struct weir_writer *me, struct weir_context *context)
{
    if (me->proven) { // not where the acknowledgement had to do
        weir_counter_add(&me->counters.epochs, 1);
        weir_epoch_adapt(me, true);
    }
    writer_hang_up(me, context, false);
    writer_dial(me);
}

static void act_break(struct weir_writer *me, struct weir_context *context)
{
    weir_assert(me->broken != 0);
    writer_count_break(me);
    writer_hang_up(me, context, false);
    // Something was sent, and nothing came of it: less at a time, and the next endpoint.
    if (me->transit.sent > me->transit.start && me->transit.confirmed == me->begun) {
        weir_link_adapt(me, false);
        weir_epoch_adapt(me, false);
        me->endpoint = (me->endpoint + 1) % me->plan->endpoints_count;
    }
    uint64_t random;
    me->os->entropy(me->os->self, &random, sizeof(random));
    me->alarms[WEIR_ALARM_RETRY] = me->now_ns + weir_backoff_next(&me->backoff, random);
}

static void act_shut(struct weir_writer *me)
{
    me->tick_ns = TICK_NS_MIN;
    bool last = me->row_over && me->transit.sent == me->transit.end; // then close has a deadline
    me->alarms[WEIR_ALARM_STALL] = last ? WEIR_NEVER : me->now_ns + me->plan->stall_timeout_ms * MS;
    me->alarms[WEIR_ALARM_EPOCH] = WEIR_NEVER;
    weir_link_shut(me);
}

static void act_end(struct weir_writer *me, struct weir_context *context)
{
    weir_drop(&me->resolve.future, context);
    weir_drop(&me->connect.future, context);
    if (me->stream.runtime != NULL) {
        writer_count_break(me);
        writer_hang_up(me, context, true);
    }
    uint64_t dropped = 0;
    while (!me->row_over) {
        // Beyond the window; what a thread is still writing cannot be taken and stays held.
        int taken = weir_transit_take(&me->transit, UINT64_MAX, me->now_ns);
        me->row_over = taken == WEIR_ECLOSED;
        if (taken == 0) {
            break;
        }
    }
    dropped += weir_transit_drop(&me->transit, WEIR_DROPPED_DEADLINE);
    if (dropped > 0 || !me->row_over) {
        me->verdict = WEIR_ETIMEOUT;
    } else if (me->unproven) {
        me->verdict = WEIR_EUNPROVEN;
    }
}

static void writer_act(struct weir_writer *me, struct weir_context *context,
                       enum weir_action action)
{
    switch (action) {
    case WEIR_ACTION_RESOLVE:
        me->alarms[WEIR_ALARM_RETRY] = WEIR_NEVER;
        weir_link_resolve(me);
        break;
    case WEIR_ACTION_DIAL: writer_dial(me); break;
    case WEIR_ACTION_BEGIN: act_begin(me); break;
    case WEIR_ACTION_SEND:
        weir_link_send(me);
        if (me->plan->confirm == WEIR_CONFIRM_SENT) {
            writer_confirm(me, me->transit.sent);
        }
        break;
    case WEIR_ACTION_REST: break;
    case WEIR_ACTION_BACK_OFF: act_back_off(me, context); break;
    case WEIR_ACTION_BREAK: act_break(me, context); break;
    case WEIR_ACTION_SHUT: act_shut(me); break;
    case WEIR_ACTION_TURN: act_turn(me, context); break;
    case WEIR_ACTION_END: act_end(me, context); break;
    case WEIR_ACTION_IMPOSSIBLE:
    case WEIR_ACTIONS_COUNT:
        weir_assert_failed("the machine does not return these", __FILE__, __LINE__);
    }
}

// ---- Rhythm ----

// Seals the open segment when it has waited for the flush interval; says when to look again.
static uint64_t rhythm_open_segment(struct weir_writer *me)
{
    struct weir_row_counts counts;
    weir_row_count(me->row, &counts);
    if (counts.open_messages == 0) {
        me->open_sequence = UINT64_MAX;
        return WEIR_NEVER;
    }
    me->active_ns = me->now_ns;
    uint64_t position = weir_row_position(me->row);
    if (position != me->open_sequence) {
        me->open_sequence = position;
        me->open_since_ns = me->now_ns;
    }
    uint64_t due_ns = me->open_since_ns + me->plan->flush_interval_ms * MS;
    if (me->now_ns < due_ns) {
        return due_ns;
    }
    (void)weir_row_seal_open(me->row, me->now_ns);
    return me->now_ns; // to be taken at once
}

// Goes into deep idle unless a message has come meanwhile.
static bool rhythm_fall_asleep(struct weir_writer *me)
{
    atomic_store_explicit(&me->asleep, 1, memory_order_release); // [R3]
    if (weir_row_settle(me->row)) {
        return true;
    }
    atomic_store_explicit(&me->asleep, 0, memory_order_relaxed);
    return false;
}

// The end of a tick that begins now. Ticks grow while they find nothing.
static uint64_t rhythm_tick(struct weir_writer *me)
{
    uint64_t end_ns = me->now_ns + me->tick_ns;
    bool hurry = atomic_load_explicit(me->waiters, memory_order_relaxed) != 0;
    me->tick_ns = hurry || me->tick_ns * 2 > TICK_NS_MAX ? me->tick_ns : me->tick_ns * 2;
    return end_ns;
}

// Sets the next tick of a connected writer that has nothing else to do now.
//   returns  false: there is something to do at once.
static bool rhythm_connected(struct weir_writer *me)
{
    weir_append_gap(me);
    uint64_t due_ns = rhythm_open_segment(me);
    if (due_ns <= me->now_ns) {
        return false;
    }
    bool sampled = weir_transit_unconfirmed(&me->transit) && !weir_epoch_used(me);
    bool waiting = sampled || weir_transit_unsent(&me->transit);
    bool idle = !waiting && due_ns == WEIR_NEVER && me->now_ns - me->active_ns >= IDLE_AFTER_NS;
    if (idle && rhythm_fall_asleep(me)) {
        me->alarms[WEIR_ALARM_TICK] = WEIR_NEVER;
        return true;
    }
    // Also when a message has just come, or a thread takes long between reserve and commit.
    uint64_t tick_ns = rhythm_tick(me);
    me->alarms[WEIR_ALARM_TICK] = tick_ns < due_ns ? tick_ns : due_ns;
    return true;
}

// Nothing to do now: says when to look again.
//   returns  false: look again at once.
static bool writer_rest(struct weir_writer *me, struct weir_context *context)
{
    if (writer_settled(me) != atomic_load_explicit(&me->settled, memory_order_relaxed)) {
        writer_tell(me);
    }
    uint64_t next_ns = writer_deadline_ns(me);
    if (me->machine == WEIR_STATE_READY || me->machine == WEIR_STATE_SENDING) {
        if (!rhythm_connected(me)) {
            return false;
        }
    } else if (me->machine == WEIR_STATE_DRAINING) {
        me->alarms[WEIR_ALARM_TICK] = rhythm_tick(me);
    } else {
        // Without a connection there is nothing that a logging thread's call could hasten.
        atomic_store_explicit(&me->pressed, 1, memory_order_relaxed);
    }
    for (uint32_t i = 0; i < WEIR_ALARMS_COUNT; i++) {
        next_ns = me->alarms[i] < next_ns ? me->alarms[i] : next_ns;
    }
    if (me->alarm.future.resume == WEIR_RESUME_DONE || me->alarm.deadline_ns != next_ns) {
        weir_drop(&me->alarm.future, context);
        weir_sleep_until_init(&me->alarm, next_ns);
    }
    return weir_future_poll(&me->alarm.future, context) == WEIR_PENDING;
}

// ---- The task ----

static void writer_over(struct weir_writer *me, struct weir_context *context)
{
    weir_drop(&me->alarm.future, context);
    me->machine = WEIR_STATE_CLOSED;
    atomic_store_explicit(&me->state, WEIR_STATE_CLOSED, memory_order_relaxed);
    writer_tell(me);
    const struct weir_os *os = me->os;
    _Atomic uint32_t *ended = &me->ended;
    atomic_store_explicit(ended, 1, memory_order_release); // [R2]
    os->futex_wake(os->self, ended, UINT32_MAX); // of the address alone: it may be gone by now
}

// The runtime ends before the pool was closed: let go of everything it lent us. What is held stays.
static void writer_cancel(struct weir_writer *me, struct weir_context *context)
{
    weir_drop(&me->resolve.future, context);
    weir_drop(&me->connect.future, context);
    if (me->stream.runtime != NULL) {
        writer_hang_up(me, context, true);
    }
    me->verdict = WEIR_ECANCELED;
    writer_over(me, context);
}

static enum weir_poll writer_poll(struct weir_future *future, struct weir_context *context)
{
    struct weir_writer *me = ((struct weir_writer_task *)future)->writer;
    if (future->resume == WEIR_RESUME_EXIT) {
        writer_cancel(me, context);
        future->resume = WEIR_RESUME_DONE;
        return WEIR_READY;
    }
    future->resume = 1;
    atomic_store_explicit(&me->pressed, 0, memory_order_relaxed);
    atomic_store_explicit(&me->asleep, 0, memory_order_relaxed);
    while (me->machine != WEIR_STATE_CLOSED) {
        me->now_ns = weir_context_clock_ns(context);
        enum weir_event event;
        if (!writer_look(me, context, &event)) {
            if (writer_rest(me, context)) {
                return WEIR_PENDING;
            }
        } else {
            struct weir_machine_step step = weir_machine_step(me->machine, event, writer_guard(me));
            me->machine = step.to;
            atomic_store_explicit(&me->state, step.to, memory_order_relaxed);
            writer_act(me, context, step.action);
        }
        if (!weir_context_spend(context)) {
            return WEIR_PENDING;
        }
    }
    future->result = me->verdict;
    future->resume = WEIR_RESUME_DONE;
    writer_over(me, context);
    return WEIR_READY;
}

void weir_writer_task_init(struct weir_writer_task *task, struct weir_writer *writer)
{
    task->future = (struct weir_future){writer_poll, WEIR_RESUME_START, 0};
    task->writer = writer;
}

void weir_writer_init(struct weir_writer *me, struct weir_runtime *runtime,
                      const struct weir_pool_plan *plan, struct weir_row *row,
                      struct weir_transit_segment *ring, _Atomic uint32_t *progress,
                      _Atomic uint32_t *waiters)
{
    memset(me, 0, sizeof(*me));
    me->plan = plan;
    me->os = weir_runtime_os(runtime);
    me->runtime = runtime;
    me->row = row;
    me->progress = progress;
    me->waiters = waiters;
    me->tick_ns = TICK_NS_MIN;
    for (uint32_t i = 0; i < WEIR_ALARMS_COUNT; i++) {
        me->alarms[i] = WEIR_NEVER;
    }
    me->alarms[WEIR_ALARM_RETRY] = 0; // dial at once
    me->epoch_bytes = plan->epoch_bytes;
    me->ledger.step = WEIR_LEDGER_OVER;
    weir_backoff_init(&me->backoff, plan->retry_interval_ms * MS, plan->retry_interval_max_ms * MS);
    weir_transit_init(&me->transit, row, &me->counters, ring, plan->row.segment_count);
}

// ---- From other threads ----

void weir_writer_wake(struct weir_writer *writer)
{
    weir_wake(writer->waker);
}

void weir_writer_nudge(struct weir_writer *writer)
{
    if (atomic_load_explicit(&writer->asleep, memory_order_relaxed) != 0 && // [R3]
        atomic_exchange_explicit(&writer->asleep, 0, memory_order_acq_rel) != 0) {
        weir_counter_add(&writer->counters.wakes, 1);
        weir_wake(writer->waker);
    }
}

void weir_writer_press(struct weir_writer *writer)
{
    // Relaxed: if the task just misses the segment this is about, its next tick finds it.
    if (atomic_exchange_explicit(&writer->pressed, 1, memory_order_relaxed) == 0) {
        weir_counter_add(&writer->counters.wakes, 1);
        weir_wake(writer->waker);
    }
}

void weir_writer_want_flush(struct weir_writer *writer, uint64_t sequence)
{
    uint64_t target = atomic_load_explicit(&writer->flush_target, memory_order_relaxed);
    while (target < sequence && !atomic_compare_exchange_weak_explicit(
                                    &writer->flush_target, &target, sequence, memory_order_release,
                                    memory_order_relaxed)) { // [R6]
    }
    weir_wake(writer->waker);
}

void weir_writer_close(struct weir_writer *writer, uint64_t deadline_ns)
{
    atomic_store_explicit(&writer->close_deadline_ns, deadline_ns, memory_order_relaxed);
    atomic_store_explicit(&writer->closing, 1, memory_order_release); // [R1]
    weir_wake(writer->waker);
}
