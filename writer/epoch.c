// When an epoch ends.
#include "writer/epoch.h"

#include "runtime/assert.h"
#include "writer/link.h"

#define MS UINT64_C(1000000)

bool weir_epoch_used(const struct weir_writer *me)
{
    return me->plan->epoch_bytes != 0 && !me->epochs_refused && weir_link_needs_proof(me);
}

// Whether a flush waits for what has been sent: all of it is, and it is not settled.
static bool epoch_flush_waits(const struct weir_writer *me)
{
    uint64_t target = atomic_load_explicit(&me->flush_target, memory_order_acquire); // [R6]
    uint64_t first = weir_row_first(me->row);
    return weir_transit_first(&me->transit, first) < target &&
           weir_transit_next(&me->transit, first) >= target;
}

// The alarm has done its work; left to ring, it would keep the task awake until the rest is sent.
static void epoch_end(struct weir_writer *me, uint64_t position)
{
    me->transit.limit = weir_transit_boundary(&me->transit, position);
    me->alarms[WEIR_ALARM_EPOCH] = WEIR_NEVER;
}

void weir_epoch_adapt(struct weir_writer *me, bool proven)
{
    uint64_t bytes = proven ? me->epoch_bytes * 2 : me->epoch_bytes / 2;
    bytes = bytes == 0 ? 1 : bytes;
    me->epoch_bytes = bytes < me->plan->epoch_bytes ? bytes : me->plan->epoch_bytes;
}

void weir_epoch_look(struct weir_writer *me)
{
    struct weir_transit *transit = &me->transit;
    if (!weir_epoch_used(me) || transit->limit != UINT64_MAX) {
        return;
    }
    uint64_t full = transit->start + me->epoch_bytes;
    if (transit->end >= full) {
        weir_assert(transit->sent <= full);
        epoch_end(me, full);
        return;
    }
    if (transit->sent == transit->start) {
        return;
    }
    if (me->alarms[WEIR_ALARM_EPOCH] == WEIR_NEVER) {
        me->alarms[WEIR_ALARM_EPOCH] = me->now_ns + me->plan->epoch_interval_ms * MS;
    }
    bool old = me->now_ns >= me->alarms[WEIR_ALARM_EPOCH];
    // Segments that hold little fill the row long before their bytes fill the epoch.
    bool crowded = 2 * transit->count >= transit->capacity && !weir_transit_unsent(transit);
    if (old || crowded || epoch_flush_waits(me)) {
        epoch_end(me, transit->sent);
    }
}
