// The writer's task: event (watch.c), decision (machine.c), action (here), rest (rhythm.c).
//
// [R1] `closing` releases the deadline stored before it.
// [R2] `ended` releases the verdict, and with it the writer: the task's store is its last touch,
//      since whoever sees it may free the pool. Who waits for it sleeps on `ended` itself.
// [R6] `flush_target` (release, in pool.c) is followed by a wake; the task reads it (acquire).
#include "writer/writer.h"

#include <string.h>

#include "runtime/assert.h"
#include "runtime/cold.h"
#include "writer/append.h"
#include "writer/epoch.h"
#include "writer/link.h"
#include "writer/rhythm.h"
#include "writer/session.h"
#include "writer/watch.h"

#define MS UINT64_C(1000000)

// ---- Actions ----

static void writer_drop_attempt(struct weir_writer *me, struct weir_context *context)
{
    weir_drop(&me->resolve.future, context);
    weir_drop(&me->connect.future, context);
}

// The next wait before an attempt.
static uint64_t writer_wait_ns(struct weir_writer *me)
{
    uint64_t random;
    me->os->entropy(me->os->self, &random, sizeof(random));
    return weir_backoff_next(&me->backoff, random);
}

static void writer_resolve(struct weir_writer *me)
{
    weir_link_resolve(&me->resolve, &me->plan->endpoints[me->route.endpoint]);
}

// To the next endpoint: at once, or after a wait.
static void writer_go_on(struct weir_writer *me, bool wait)
{
    me->alarms[WEIR_ALARM_RETRY] = me->now_ns + (wait ? writer_wait_ns(me) : 0);
}

WEIR_COLD static void act_back_off(struct weir_writer *me, struct weir_context *context)
{
    writer_drop_attempt(me, context);
    weir_probe_drop(me, context);
    weir_probe_judge(me, false);
    writer_go_on(me, weir_route_failed(&me->route));
    me->alarms[WEIR_ALARM_DIAL] = WEIR_NEVER;
}

// The endpoint is connected: which one that is, and whether that is a move.
static void writer_arrive(struct weir_writer *me)
{
    enum weir_route_move move = weir_route_arrived(&me->route);
    me->firsts[me->route.endpoint] = me->resolve.addresses[me->address];
    if (move != WEIR_ROUTE_STAYED) {
        me->epochs_refused = false; // that was another peer
        weir_counter_add(move == WEIR_ROUTE_BACK ? &me->counters.failbacks
                                                 : &me->counters.failovers,
                         1);
    }
}

WEIR_COLD static void act_begin(struct weir_writer *me)
{
    writer_arrive(me);
    weir_counter_add(&me->counters.connects, 1);
    atomic_store_explicit(&me->counters.connected, 1, memory_order_relaxed);
    me->alarms[WEIR_ALARM_STALL] = WEIR_NEVER;
    me->blocked = false;
    me->peer_ended = false;
    me->proven = false;
    me->broken = 0;
    me->active_ns = me->now_ns;
    me->tick_ns = WEIR_TICK_NS_MIN;
    me->begun = me->transit.confirmed;
    weir_transit_rewind(&me->transit, me->replay);
    me->replay = false;
    weir_link_begin(me);
    // The server's answer to the opening of a session has the time of another attempt.
    me->alarms[WEIR_ALARM_DIAL] = me->now_ns + me->plan->connect_timeout_ms * MS;
}

// Nothing to send, or nothing yet: the session has just been opened.
static void act_rest(struct weir_writer *me)
{
    if (me->alarms[WEIR_ALARM_DIAL] != WEIR_NEVER) {
        me->alarms[WEIR_ALARM_DIAL] = WEIR_NEVER;
        weir_report_connected(me);
    }
}

// Ends the connection's books. `last`: no other connection will ask again, so that what was only
// acknowledged counts as well.
static void writer_settle_books(struct weir_writer *me, bool last)
{
    if (me->plan->confirm != WEIR_CONFIRM_PEER || me->ledger.step == WEIR_LEDGER_OVER) {
        return;
    }
    uint64_t position = me->transit.start + weir_link_settle(me);
    bool read_to_end = me->peer_ended && !me->ledger.reset;
    bool witnessed = me->proven || read_to_end || !weir_link_needs_proof(me);
    if (witnessed || last || !weir_epoch_used(me)) {
        weir_watch_confirm(me, position);
        me->unproven = me->unproven || (!witnessed && me->transit.confirmed > me->transit.start);
    }
}

static void writer_hang_up(struct weir_writer *me, struct weir_context *context, bool last)
{
    weir_drop(&me->readable.future, context);
    weir_drop(&me->writable.future, context);
    writer_settle_books(me, last);
    weir_session_settle(me);
    weir_stream_close(&me->stream);
    atomic_store_explicit(&me->counters.connected, 0, memory_order_relaxed);
    me->alarms[WEIR_ALARM_STALL] = WEIR_NEVER;
    me->alarms[WEIR_ALARM_STARVED] = WEIR_NEVER;
    me->alarms[WEIR_ALARM_TICK] = WEIR_NEVER;
    me->alarms[WEIR_ALARM_EPOCH] = WEIR_NEVER;
    me->alarms[WEIR_ALARM_LINGER] = WEIR_NEVER;
    me->alarms[WEIR_ALARM_ANSWER] = WEIR_NEVER;
    me->alarms[WEIR_ALARM_DIAL] = WEIR_NEVER;
    me->alarms[WEIR_ALARM_PROBE] = WEIR_NEVER;
}

static void writer_count_break(struct weir_writer *me)
{
    if (me->broken != 0) {
        weir_watch_fault(me, (enum weir_fault)(me->broken - 1));
        weir_counter_add(&me->counters.disconnects, 1);
    }
}

// What the connection carried is confirmed, and it is ended.
static void writer_finish(struct weir_writer *me, struct weir_context *context)
{
    if (me->proven && weir_epoch_used(me)) { // not where the acknowledgement had to do
        weir_counter_add(&me->counters.epochs, 1);
        weir_epoch_adapt(me, true);
    }
    writer_hang_up(me, context, false);
    weir_probe_judge(me, true);
}

// On with the next epoch.
WEIR_COLD static void act_turn(struct weir_writer *me, struct weir_context *context)
{
    writer_finish(me, context);
    weir_route_again(&me->route);
    weir_watch_dial(me);
}

// On at the preferred endpoint.
WEIR_COLD static void act_move(struct weir_writer *me, struct weir_context *context)
{
    writer_finish(me, context);
    weir_probe_return(me);
    writer_resolve(me);
}

// After a break: the same endpoint if it served, or had nothing to serve; else the next, and at the
// next dial of this one its next address. Of a datagram "confirmed" says nothing, and an error all.
static void writer_leave(struct weir_writer *me, bool barren)
{
    bool failed = !me->plan->stream || (barren && !me->route.trusted);
    weir_probe_judge(me, !failed);
    if (!failed) {
        weir_route_broke(&me->route);
        writer_go_on(me, true);
        return;
    }
    uint32_t next = (me->address + 1) % me->addresses_count;
    me->firsts[me->route.endpoint] = me->resolve.addresses[next];
    writer_go_on(me, weir_route_failed(&me->route));
}

WEIR_COLD static void act_break(struct weir_writer *me, struct weir_context *context)
{
    weir_assert(me->broken != 0);
    bool opened = me->alarms[WEIR_ALARM_DIAL] == WEIR_NEVER;
    writer_count_break(me);
    bool reset = me->broken == WEIR_FAULT_RESET + 1;
    writer_hang_up(me, context, false);
    me->replay = reset || me->ledger.reset;
    weir_probe_drop(me, context);
    bool barren = me->transit.confirmed == me->begun;
    // Something was sent, and nothing came of it: less at a time.
    if (me->transit.sent > me->transit.start && barren) {
        weir_link_adapt(me, false);
        weir_epoch_adapt(me, false);
    }
    writer_leave(me, !opened || (barren && weir_transit_held(&me->transit) > 0));
}

WEIR_COLD static void act_shut(struct weir_writer *me)
{
    me->tick_ns = WEIR_TICK_NS_MIN;
    bool last = me->row_over && me->transit.sent == me->transit.end; // then close has a deadline
    last = last || me->session.state != WEIR_SESSION_NONE; // answers have a time limit of their own
    me->alarms[WEIR_ALARM_STALL] = last ? WEIR_NEVER : me->now_ns + me->plan->stall_timeout_ms * MS;
    me->alarms[WEIR_ALARM_EPOCH] = WEIR_NEVER; // nobody looks at these while it drains
    me->alarms[WEIR_ALARM_STARVED] = WEIR_NEVER;
    me->alarms[WEIR_ALARM_PROBE] = WEIR_NEVER;
    weir_link_shut(me);
}

WEIR_COLD static void act_end(struct weir_writer *me, struct weir_context *context)
{
    writer_drop_attempt(me, context);
    weir_probe_drop(me, context);
    if (me->stream.runtime != NULL) {
        writer_count_break(me);
        writer_hang_up(me, context, true);
    }
    while (!me->row_over) {
        // Beyond the window; what a thread is still writing cannot be taken and stays held, and so
        // does, until it is counted, what one is throwing away.
        int taken = weir_transit_take(&me->transit, UINT64_MAX, me->now_ns);
        me->row_over = taken == WEIR_ECLOSED && weir_watch_accounted(me);
        if (taken <= 0) {
            break;
        }
    }
    uint64_t dropped = weir_transit_drop(&me->transit, WEIR_DROPPED_DEADLINE);
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
        writer_resolve(me);
        break;
    case WEIR_ACTION_DIAL: weir_watch_dial(me); break;
    case WEIR_ACTION_BEGIN: act_begin(me); break;
    case WEIR_ACTION_SEND:
        weir_link_send(me);
        if (me->plan->confirm == WEIR_CONFIRM_SENT) {
            weir_watch_confirm(me, me->transit.sent);
        }
        break;
    case WEIR_ACTION_REST: act_rest(me); break;
    case WEIR_ACTION_BACK_OFF: act_back_off(me, context); break;
    case WEIR_ACTION_BREAK: act_break(me, context); break;
    case WEIR_ACTION_SHUT: act_shut(me); break;
    case WEIR_ACTION_TURN: act_turn(me, context); break;
    case WEIR_ACTION_MOVE: act_move(me, context); break;
    case WEIR_ACTION_END: act_end(me, context); break;
    case WEIR_ACTION_IMPOSSIBLE:
    case WEIR_ACTIONS_COUNT:
        weir_assert_failed("the machine does not return these", __FILE__, __LINE__);
    }
}

// ---- The task ----

// Nothing to do now: says when to look again.
//   returns  false: look again at once.
static bool writer_rest(struct weir_writer *me, struct weir_context *context)
{
    if (weir_watch_settled(me) != atomic_load_explicit(&me->settled, memory_order_relaxed)) {
        weir_watch_tell(me);
    }
    weir_report_look(me);
    uint64_t next_ns = weir_watch_deadline_ns(me);
    if (me->machine == WEIR_STATE_READY || me->machine == WEIR_STATE_SENDING) {
        if (!weir_rhythm_connected(me)) {
            return false;
        }
    } else if (me->machine == WEIR_STATE_DRAINING) {
        me->alarms[WEIR_ALARM_TICK] = weir_rhythm_tick(me);
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

WEIR_COLD static void writer_over(struct weir_writer *me, struct weir_context *context)
{
    weir_drop(&me->alarm.future, context);
    weir_report_end(me);
    me->machine = WEIR_STATE_CLOSED;
    atomic_store_explicit(&me->state, WEIR_STATE_CLOSED, memory_order_relaxed);
    weir_watch_tell(me);
    const struct weir_os *os = me->os;
    _Atomic uint32_t *ended = &me->ended;
    atomic_store_explicit(ended, 1, memory_order_release); // [R2]
    os->futex_wake(os->self, ended, UINT32_MAX); // of the address alone: it may be gone by now
}

// The runtime ends before the pool was closed: let go of everything it lent us. What is held stays.
WEIR_COLD static void writer_cancel(struct weir_writer *me, struct weir_context *context)
{
    writer_drop_attempt(me, context);
    weir_probe_drop(me, context);
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
        if (!weir_watch_look(me, context, &event)) {
            if (writer_rest(me, context)) {
                return WEIR_PENDING;
            }
        } else {
            struct weir_machine_step step =
                weir_machine_step(me->machine, event, weir_watch_guard(me));
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

void weir_writer_init(struct weir_writer *me, uint32_t number, struct weir_runtime *runtime,
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
    me->tick_ns = WEIR_TICK_NS_MIN;
    for (uint32_t i = 0; i < WEIR_ALARMS_COUNT; i++) {
        me->alarms[i] = WEIR_NEVER;
    }
    me->alarms[WEIR_ALARM_RETRY] = 0; // dial at once
    me->epoch_bytes = plan->epoch_bytes;
    me->ledger.step = WEIR_LEDGER_OVER;
    weir_backoff_init(&me->backoff, plan->retry_interval_ms * MS, plan->retry_interval_max_ms * MS);
    weir_route_init(&me->route, plan->levels, plan->endpoints_count, number);
    weir_transit_init(&me->transit, row, &me->counters, ring, plan->row.segment_count);
    me->transit.replay_bytes = plan->replay_bytes;
}

// ---- From other threads ----

void weir_writer_wake(struct weir_writer *writer)
{
    weir_wake(writer->waker);
}

void weir_writer_rouse(struct weir_writer *writer)
{
    if (atomic_exchange_explicit(&writer->asleep, 0, memory_order_acq_rel) != 0) { // [R3]
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
    atomic_store_explicit(&writer->closing, 1, memory_order_seq_cst); // [R1] [B6]
    weir_wake(writer->waker);
}
