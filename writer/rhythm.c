// When a connected writer with nothing to do looks again: seals, ticks, deep idle.
//
// [R3] Deep idle loses no message. The task stores `asleep` and then makes a read-modify-write of
//      the row's tail (weir_row_settle); a logging thread swaps the tail and then loads `asleep`.
//      Both are read-modify-writes of one word, so one of them is first: if the message, the task
//      sees it; if the task, the thread acquires its release and sees `asleep`.
#include "writer/rhythm.h"

#include "writer/append.h"
#include "writer/epoch.h"

#define MS UINT64_C(1000000)

// The longest tick after something was found. A buffer that is filled faster wakes the writer.
#define TICK_NS_FOUND_MAX (4 * MS)
// The longest tick before deep idle, and between two looks at what the peer has confirmed.
#define TICK_NS_MAX (32 * MS)
// Deep idle after so long without a message.
#define IDLE_AFTER_NS (100 * MS)

// Seals the open segment when it has waited for the flush interval; says when to look again.
static uint64_t rhythm_open_segment(struct weir_writer *me)
{
    if (weir_row_open_messages(me->row) == 0) {
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

void weir_rhythm_taken(struct weir_writer *me, uint32_t segments)
{
    uint64_t each_ns = (me->now_ns - me->taken_ns) / segments;
    each_ns = each_ns < TICK_NS_FOUND_MAX ? each_ns : TICK_NS_FOUND_MAX;
    me->tick_ns = each_ns > WEIR_TICK_NS_MIN ? each_ns : WEIR_TICK_NS_MIN;
    me->taken_ns = me->now_ns;
    me->active_ns = me->now_ns;
}

uint64_t weir_rhythm_tick(struct weir_writer *me)
{
    uint64_t end_ns = me->now_ns + me->tick_ns;
    bool hurry = atomic_load_explicit(me->waiters, memory_order_relaxed) != 0;
    me->tick_ns = hurry || me->tick_ns * 2 > TICK_NS_MAX ? me->tick_ns : me->tick_ns * 2;
    return end_ns;
}

// Sets the next tick of a connected writer that has nothing else to do now.
//   returns  false: there is something to do at once.
bool weir_rhythm_connected(struct weir_writer *me)
{
    weir_append_gap(me);
    uint64_t due_ns = rhythm_open_segment(me);
    if (due_ns <= me->now_ns) {
        return false;
    }
    bool sampled = me->plan->confirm == WEIR_CONFIRM_PEER && !weir_epoch_used(me) &&
                   weir_transit_unconfirmed(&me->transit);
    bool waiting = sampled || weir_transit_unsent(&me->transit);
    bool idle = !waiting && due_ns == WEIR_NEVER && me->now_ns - me->active_ns >= IDLE_AFTER_NS;
    if (idle && rhythm_fall_asleep(me)) {
        me->alarms[WEIR_ALARM_TICK] = WEIR_NEVER;
        return true;
    }
    // Also when a message has just come, or a thread takes long between reserve and commit.
    uint64_t tick_ns = weir_rhythm_tick(me);
    me->alarms[WEIR_ALARM_TICK] = tick_ns < due_ns ? tick_ns : due_ns;
    return true;
}
