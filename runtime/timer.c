// The timer wheel and a worker's timers around it; the model is in timer.h.
//
// A timer's fields are written by the task that starts it, then under the lock of its wheel. Its
// state alone is read without the lock: once it says FIRED the wheel has forgotten the timer, and
// the task may reuse or free its memory at once, while the firing worker still holds the lock.
#include "runtime/timer.h"

#include "runtime/lock.h"
#include "runtime/worker.h"

// Timers fired or filed again in one weir_timers_advance: bounds how long another worker waits for
// the lock, and how long the poller goes unwatched.
#define TIMERS_STEPS_MAX 256
// Timers looked at to know a slot's earliest exactly. Most slots hold few; the gain is that a lone
// sleeper wakes its worker once, not once per level.
#define WHEEL_PEEK_MAX 8

#define TICK_END (UINT64_C(1) << (WEIR_WHEEL_LEVELS * WEIR_WHEEL_BITS))

static uint64_t tick_of_deadline(uint64_t deadline_ns)
{
    uint64_t part = deadline_ns & ((UINT64_C(1) << WEIR_TICK_BITS) - 1);
    return (deadline_ns >> WEIR_TICK_BITS) + (part != 0);
}

static void list_append(struct weir_timer **first, struct weir_timer *timer)
{
    if (*first == NULL) {
        timer->next = timer;
        timer->prev = timer;
        *first = timer;
        return;
    }
    struct weir_timer *last = (*first)->prev;
    timer->next = *first;
    timer->prev = last;
    last->next = timer;
    (*first)->prev = timer;
}

static void list_remove(struct weir_timer **first, struct weir_timer *timer)
{
    if (timer->next == timer) {
        weir_assert(*first == timer);
        *first = NULL;
    } else {
        timer->next->prev = timer->prev;
        timer->prev->next = timer->next;
        if (*first == timer) {
            *first = timer->next;
        }
    }
    timer->next = NULL;
    timer->prev = NULL;
}

// The lowest occupied level has the earliest timers, and its lowest occupied slot the earliest of
// those. false: every slot is empty.
static bool wheel_earliest(const struct weir_wheel *wheel, uint32_t *level, uint32_t *slot)
{
    for (uint32_t i = 0; i < WEIR_WHEEL_LEVELS; i++) {
        if (wheel->occupied[i] != 0) {
            *level = i;
            *slot = (uint32_t)__builtin_ctzll(wheel->occupied[i]);
            return true;
        }
    }
    return false;
}

// The first tick of a slot: the digits of `now` above the level, the slot, zeros below.
static uint64_t slot_start(const struct weir_wheel *wheel, uint32_t level, uint32_t slot)
{
    uint32_t shift = level * WEIR_WHEEL_BITS;
    uint64_t above = wheel->now >> shift >> WEIR_WHEEL_BITS;
    return ((above << WEIR_WHEEL_BITS) | slot) << shift;
}

void weir_wheel_init(struct weir_wheel *wheel, uint64_t now_ns)
{
    *wheel = (struct weir_wheel){.now = now_ns >> WEIR_TICK_BITS};
}

bool weir_wheel_reaches(uint64_t deadline_ns)
{
    return tick_of_deadline(deadline_ns) < TICK_END;
}

void weir_wheel_insert(struct weir_wheel *wheel, struct weir_timer *timer)
{
    uint64_t tick = tick_of_deadline(timer->deadline_ns);
    weir_assert(tick < TICK_END);
    if (tick <= wheel->now) {
        timer->level = 0;
        timer->slot = (uint16_t)(tick % WEIR_WHEEL_SLOTS);
        list_append(&wheel->due, timer);
        return;
    }
    uint32_t top_bit = 63 - (uint32_t)__builtin_clzll(tick ^ wheel->now);
    uint32_t level = top_bit / WEIR_WHEEL_BITS;
    uint32_t slot = (tick >> (level * WEIR_WHEEL_BITS)) % WEIR_WHEEL_SLOTS;
    timer->level = (uint16_t)level;
    timer->slot = (uint16_t)slot;
    list_append(&wheel->slots[level][slot], timer);
    wheel->occupied[level] |= UINT64_C(1) << slot;
}

// `due` and `refiling` are whole slots taken over without touching each timer, so a timer in them
// still names its former slot; what it is the first of tells which list's head must change.
void weir_wheel_remove(struct weir_wheel *wheel, struct weir_timer *timer)
{
    weir_assert(timer->level < WEIR_WHEEL_LEVELS && timer->slot < WEIR_WHEEL_SLOTS);
    weir_assert(timer->next != NULL);
    if (wheel->due == timer) {
        list_remove(&wheel->due, timer);
    } else if (wheel->refiling == timer) {
        list_remove(&wheel->refiling, timer);
    } else {
        struct weir_timer **first = &wheel->slots[timer->level][timer->slot];
        list_remove(first, timer);
        if (*first == NULL) {
            wheel->occupied[timer->level] &= ~(UINT64_C(1) << timer->slot);
        }
    }
}

struct weir_timer *weir_wheel_expire(struct weir_wheel *wheel, uint64_t now_ns, uint32_t *steps)
{
    uint64_t now = now_ns >> WEIR_TICK_BITS;
    while (*steps > 0) {
        struct weir_timer *timer = wheel->refiling;
        if (timer != NULL) {
            *steps -= 1;
            list_remove(&wheel->refiling, timer);
            weir_wheel_insert(wheel, timer);
            continue;
        }
        timer = wheel->due;
        if (timer != NULL) {
            *steps -= 1;
            list_remove(&wheel->due, timer);
            return timer;
        }
        uint32_t level, slot;
        bool any = wheel_earliest(wheel, &level, &slot);
        if (!any || slot_start(wheel, level, slot) > now) {
            // Every digit in which a timer differs stays the highest one, as its slot is ahead.
            wheel->now = now > wheel->now ? now : wheel->now;
            return NULL;
        }
        uint64_t start = slot_start(wheel, level, slot);
        weir_assert(start > wheel->now);
        wheel->now = start;
        wheel->occupied[level] &= ~(UINT64_C(1) << slot);
        *(level == 0 ? &wheel->due : &wheel->refiling) = wheel->slots[level][slot];
        wheel->slots[level][slot] = NULL;
    }
    return NULL;
}

uint64_t weir_wheel_next_ns(const struct weir_wheel *wheel)
{
    if (wheel->due != NULL || wheel->refiling != NULL) {
        return wheel->now << WEIR_TICK_BITS;
    }
    uint32_t level, slot;
    if (!wheel_earliest(wheel, &level, &slot)) {
        return WEIR_NEVER;
    }
    const struct weir_timer *first = wheel->slots[level][slot];
    const struct weir_timer *timer = first;
    uint64_t tick = tick_of_deadline(first->deadline_ns);
    for (uint32_t peeked = 1; level > 0 && (timer = timer->next) != first; peeked++) {
        if (peeked == WHEEL_PEEK_MAX) {
            tick = slot_start(wheel, level, slot);
            break;
        }
        uint64_t other = tick_of_deadline(timer->deadline_ns);
        tick = other < tick ? other : tick;
    }
    return tick << WEIR_TICK_BITS;
}

void weir_timers_init(struct weir_timers *timers, const struct weir_os *os, uint64_t now_ns)
{
    timers->os = os;
    timers->next_ns = WEIR_NEVER;
    atomic_init(&timers->lock, WEIR_LOCK_FREE);
    weir_wheel_init(&timers->wheel, now_ns);
}

void weir_timer_start(struct weir_context *context, struct weir_timer *timer, uint64_t deadline_ns)
{
    weir_assert(context->worker != NULL);
    weir_assert(atomic_load_explicit(&timer->state, memory_order_relaxed) != WEIR_TIMER_ARMED);
    atomic_store_explicit(&timer->state, WEIR_TIMER_IDLE, memory_order_relaxed);
    timer->deadline_ns = deadline_ns;
    timer->waker = context->waker;
    timer->worker = context->worker;
    if (!weir_wheel_reaches(deadline_ns)) {
        return;
    }
    struct weir_timers *timers = &context->worker->timers;
    uint64_t due_ns = tick_of_deadline(deadline_ns) << WEIR_TICK_BITS;
    // Relaxed: whoever polls this task on another worker got it from this one.
    atomic_store_explicit(&timer->state, WEIR_TIMER_ARMED, memory_order_relaxed);
    weir_lock_acquire(&timers->lock, timers->os);
    if (timers->next_ns == WEIR_NEVER) {
        // Nothing moved an empty wheel on; a timer filed from long ago would be filed again often.
        uint32_t steps = 1;
        struct weir_timer *none = weir_wheel_expire(&timers->wheel, context->now_ns, &steps);
        weir_assert(none == NULL);
    }
    weir_wheel_insert(&timers->wheel, timer);
    weir_lock_release(&timers->lock, timers->os);
    timers->next_ns = due_ns < timers->next_ns ? due_ns : timers->next_ns;
}

bool weir_timer_fired(const struct weir_timer *timer)
{
    return atomic_load_explicit(&timer->state, memory_order_acquire) == WEIR_TIMER_FIRED; // [TW1]
}

void weir_timer_stop(struct weir_timer *timer)
{
    if (atomic_load_explicit(&timer->state, memory_order_acquire) == WEIR_TIMER_ARMED) { // [TW1]
        struct weir_timers *timers = &timer->worker->timers;
        weir_lock_acquire(&timers->lock, timers->os);
        // It may have fired in between.
        if (atomic_load_explicit(&timer->state, memory_order_relaxed) == WEIR_TIMER_ARMED) {
            weir_wheel_remove(&timers->wheel, timer);
        }
        weir_lock_release(&timers->lock, timers->os);
    }
    atomic_store_explicit(&timer->state, WEIR_TIMER_IDLE, memory_order_relaxed);
}

uint32_t weir_timers_advance(struct weir_timers *timers, struct weir_worker *worker,
                             uint64_t now_ns)
{
    if (now_ns < timers->next_ns) {
        return 0;
    }
    uint32_t fired = 0;
    uint32_t steps = TIMERS_STEPS_MAX;
    weir_lock_acquire(&timers->lock, timers->os);
    for (;;) {
        struct weir_timer *timer = weir_wheel_expire(&timers->wheel, now_ns, &steps);
        if (timer == NULL) {
            break;
        }
        struct weir_waker waker = timer->waker;
        // [TW1] The last touch: everything written to the timer here comes before what the task,
        // having read FIRED with acquire, does to it.
        atomic_store_explicit(&timer->state, WEIR_TIMER_FIRED, memory_order_release);
        weir_worker_wake_back(worker, waker);
        fired++;
    }
    timers->next_ns = weir_wheel_next_ns(&timers->wheel);
    weir_lock_release(&timers->lock, timers->os);
    return fired;
}

uint64_t weir_timers_next_ns(struct weir_timers *timers)
{
    // Only the owner inserts, so an empty wheel stays empty behind its back; a full one may have
    // lost its earliest timer since.
    if (timers->next_ns != WEIR_NEVER) {
        weir_lock_acquire(&timers->lock, timers->os);
        timers->next_ns = weir_wheel_next_ns(&timers->wheel);
        weir_lock_release(&timers->lock, timers->os);
    }
    return timers->next_ns;
}
