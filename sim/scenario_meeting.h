// A barrier of threads, for scenarios whose tasks hold their workers up until enough of them run.
#ifndef WEIR_SIM_SCENARIO_MEETING_H
#define WEIR_SIM_SCENARIO_MEETING_H

#include "sim/scenario_support.h"

struct meeting {
    struct weir_sim *sim;
    const struct weir_os *os;
    _Atomic uint32_t arrived; // counts on over all rounds
};

__attribute__((unused)) static void meeting_watch(struct meeting *meeting, uint32_t expected)
{
    uint32_t seen = atomic_load_explicit(&meeting->arrived, memory_order_relaxed);
    while (seen < expected) {
        (void)meeting->os->futex_wait(meeting->os->self, &meeting->arrived, seen, WEIR_NEVER);
        seen = atomic_load_explicit(&meeting->arrived, memory_order_relaxed);
    }
}

__attribute__((unused)) static void meeting_join(struct meeting *meeting, uint32_t expected)
{
    (void)atomic_fetch_add_explicit(&meeting->arrived, 1, memory_order_relaxed);
    meeting->os->futex_wake(meeting->os->self, &meeting->arrived, UINT32_MAX);
    meeting_watch(meeting, expected);
}

#endif
