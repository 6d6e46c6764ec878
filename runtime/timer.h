// Timers: a hierarchical wheel per worker, and the lock that lets other workers stop a timer in it.
//
// Model: Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (1987). Time is counted in
// ticks of 2^16 ns. A tick is 48 bits, eight digits of six; a timer sits at the highest digit in
// which its tick differs from the wheel's, in the slot of that digit. So every timer of a level is
// earlier than every timer of the next one, and nothing ever wraps. When the wheel's time enters a
// slot of a higher level its timers are filed again, lower down: at most seven times in a life.
// A deadline is rounded up to a tick and the clock down: a timer is late by up to two ticks, never
// early.
//
// Threads: only the worker that owns a wheel inserts and expires. A task may be polled by another
// worker later, so any worker may stop a timer; the lock is for that.
#ifndef WEIR_RUNTIME_TIMER_H
#define WEIR_RUNTIME_TIMER_H

#include "runtime/cold.h"
#include "runtime/os.h"

#define WEIR_TICK_BITS 16
#define WEIR_WHEEL_BITS 6
#define WEIR_WHEEL_LEVELS 8
#define WEIR_WHEEL_SLOTS 64

_Static_assert(WEIR_WHEEL_LEVELS *WEIR_WHEEL_BITS + WEIR_TICK_BITS == 64, "all deadlines fit");
_Static_assert(1 << WEIR_WHEEL_BITS == WEIR_WHEEL_SLOTS, "a slot per value of a digit");

// Lists are circular through the timers; a head is the first of them, or NULL.
struct weir_wheel {
    uint64_t now;                         // in ticks; never ahead of the clock
    uint64_t occupied[WEIR_WHEEL_LEVELS]; // bit i: slots[level][i] is not NULL
    struct weir_timer *due;               // their tick has come
    struct weir_timer *refiling; // of a slot that `now` has entered; nothing else moves first
    struct weir_timer *slots[WEIR_WHEEL_LEVELS][WEIR_WHEEL_SLOTS];
};

struct weir_timers {
    const struct weir_os *os;
    uint64_t next_ns;      // owner only: nothing is due before; WEIR_NEVER: the wheel is empty
    _Atomic uint32_t lock; // of `wheel` and the links of the timers in it
    struct weir_wheel wheel;
};

enum weir_timer_state { WEIR_TIMER_IDLE, WEIR_TIMER_ARMED, WEIR_TIMER_FIRED };

// ---- The wheel alone: no lock, no clock ----

WEIR_COLD void weir_wheel_init(struct weir_wheel *wheel, uint64_t now_ns);

// Files the timer by its deadline_ns, which weir_wheel_reaches.
void weir_wheel_insert(struct weir_wheel *wheel, struct weir_timer *timer);

// Takes out a timer that is in it.
void weir_wheel_remove(struct weir_wheel *wheel, struct weir_timer *timer);

// Takes out one timer that is due at now_ns, in the order of their ticks. Each timer taken out or
// filed again costs one of *steps, and it stops at none.
//   returns  the timer, or NULL: nothing is due, or *steps is 0 and there may be more.
struct weir_timer *weir_wheel_expire(struct weir_wheel *wheel, uint64_t now_ns, uint32_t *steps);

// A time at which to call weir_wheel_expire: not after the tick of the earliest timer, maybe before
// it; in the past when expire stopped early; WEIR_NEVER when the wheel is empty.
uint64_t weir_wheel_next_ns(const struct weir_wheel *wheel);

// Whether a 64-bit clock gets to this deadline's tick at all: not in the very last one, which
// WEIR_NEVER is in.
bool weir_wheel_reaches(uint64_t deadline_ns);

// ---- A worker's timers ----

WEIR_COLD void weir_timers_init(struct weir_timers *timers, const struct weir_os *os,
                                uint64_t now_ns);

// Arms a timer that is not armed, in the polling worker's wheel, for the polling task. One whose
// deadline is out of reach is never fired and stays idle.
//   memory   the timer must stay until it has fired or is stopped.
//   threads  poll.
void weir_timer_start(struct weir_context *context, struct weir_timer *timer, uint64_t deadline_ns);

// Whether it fired since it was started.
//   threads  poll of the task that started it.
bool weir_timer_fired(const struct weir_timer *timer);

// Disarms; afterwards nothing refers to the timer and it is idle. Nothing happens to an idle one.
//   threads  poll of the task that started it, on any worker, and the runtime's end.
void weir_timer_stop(struct weir_timer *timer);

// Fires what is due: each task is woken to the back of the worker's queue. A bounded number in one
// call; while there are more weir_timers_next_ns lies in the past.
//   returns  how many fired.
//   threads  the owner.
uint32_t weir_timers_advance(struct weir_timers *timers, struct weir_worker *worker,
                             uint64_t now_ns);

// When to call weir_timers_advance next: never later than the earliest timer is due; WEIR_NEVER.
//   threads  the owner.
uint64_t weir_timers_next_ns(struct weir_timers *timers);

#endif
