// Parking and unparking a worker.
#include "runtime/park.h"

#include <errno.h>

#include "runtime/assert.h"

// [P1] Whoever unparks publishes its reason (release in the exchange); the owner sees it when it
// takes the token (acquire).

bool weir_park_change(struct weir_parker *parker, enum weir_park_state from,
                      enum weir_park_state to)
{
    uint32_t seen = from;
    return atomic_compare_exchange_strong_explicit(&parker->state, &seen, to, memory_order_acq_rel,
                                                   memory_order_acquire); // [P1]
}

bool weir_park_begin(struct weir_parker *parker, enum weir_park_state how)
{
    weir_assert(how == WEIR_PARK_FUTEX || how == WEIR_PARK_POLLER);
    if (weir_park_change(parker, WEIR_PARK_RUNNING, how)) {
        return true;
    }
    uint32_t seen =
        atomic_exchange_explicit(&parker->state, WEIR_PARK_RUNNING, memory_order_acq_rel); // [P1]
    weir_assert(seen == WEIR_PARK_TOKEN); // nobody sleeps twice
    return false;
}

void weir_park_end(struct weir_parker *parker)
{
    (void)atomic_exchange_explicit(&parker->state, WEIR_PARK_RUNNING, memory_order_acq_rel); // [P1]
}

void weir_park_futex(struct weir_parker *parker, const struct weir_os *os, uint64_t deadline_ns)
{
    while (atomic_load_explicit(&parker->state, memory_order_acquire) == WEIR_PARK_FUTEX) { // [P1]
        int error = os->futex_wait(os->self, &parker->state, WEIR_PARK_FUTEX, deadline_ns);
        if (deadline_ns != WEIR_NEVER &&
            (error == -ETIMEDOUT || os->now_ns(os->self) >= deadline_ns)) {
            break;
        }
    }
    weir_park_end(parker);
}

bool weir_unpark(struct weir_parker *parker, const struct weir_os *os,
                 const struct weir_poller *poller)
{
    uint32_t seen =
        atomic_exchange_explicit(&parker->state, WEIR_PARK_TOKEN, memory_order_acq_rel); // [P1]
    switch (seen) {
    case WEIR_PARK_FUTEX: os->futex_wake(os->self, &parker->state, 1); return true;
    case WEIR_PARK_POLLER: os->poller_wake(os->self, poller); return true;
    default: weir_assert(seen == WEIR_PARK_RUNNING || seen == WEIR_PARK_TOKEN); return false;
    }
}
