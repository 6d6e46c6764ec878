// Fuzz target timer: operations on a timer wheel, beside an array looked through from end to end.
//
//   NOW              eight bytes: the clock at the beginning
//   then operations: a byte with the timer in its low five bits and the operation above, which may
//   take a byte that says how far, and a byte that says in what unit
//
// A distance is a small number of one of the wheel's own widths (a nanosecond, a tick, a slot of
// each level), give or take one nanosecond, so that the edges are as near as anything else.
#include "fuzz/fuzz.h"

#include <string.h>

#include "runtime/timer.h"

#define TIMERS 32
#define TICK_NS (UINT64_C(1) << WEIR_TICK_BITS)

static struct weir_wheel wheel;
static struct weir_timer timers[TIMERS];
static bool armed[TIMERS];
static uint64_t now_ns;

static uint64_t tick_up(uint64_t deadline_ns)
{
    return deadline_ns / TICK_NS + (deadline_ns % TICK_NS != 0);
}

static uint64_t earliest_tick(void)
{
    uint64_t tick = UINT64_MAX;
    for (int i = 0; i < TIMERS; i++) {
        if (armed[i] && tick_up(timers[i].deadline_ns) < tick) {
            tick = tick_up(timers[i].deadline_ns);
        }
    }
    return tick;
}

// A time from now: forward, backward, or at the next edge of a slot.
static uint64_t time_read(struct fuzz_input *input)
{
    uint8_t count = fuzz_u8(input);
    uint8_t unit = fuzz_u8(input);
    uint32_t level = unit & 15;
    uint64_t width = level == 0                   ? 1
                     : level <= WEIR_WHEEL_LEVELS ? TICK_NS << (WEIR_WHEEL_BITS * (level - 1))
                                                  : TICK_NS >> (level - WEIR_WHEEL_LEVELS);
    uint64_t from = (unit & 16) != 0 ? now_ns / width * width : now_ns;
    uint64_t time = (unit & 32) != 0 ? from - count * width : from + count * width;
    return time + (unit >> 6) - 1; // one less, right, or one or two more
}

static int list_count(const struct weir_timer *first)
{
    int count = 0;
    const struct weir_timer *timer = first;
    while (timer != NULL) {
        fuzz_require(timer->next->prev == timer);
        count++;
        timer = timer->next == first ? NULL : timer->next;
    }
    return count;
}

// Every timer is in one list, and the wheel knows which slots are in use.
static void wheel_check(void)
{
    int count = list_count(wheel.due) + list_count(wheel.refiling);
    for (uint32_t level = 0; level < WEIR_WHEEL_LEVELS; level++) {
        uint64_t occupied = wheel.occupied[level];
        for (; occupied != 0; occupied &= occupied - 1) {
            int here = list_count(wheel.slots[level][__builtin_ctzll(occupied)]);
            fuzz_require(here > 0);
            count += here;
        }
    }
    for (int i = 0; i < TIMERS; i++) {
        count -= armed[i];
    }
    fuzz_require(count == 0);
}

static void next_check(void)
{
    uint64_t earliest = earliest_tick();
    uint64_t next_ns = weir_wheel_next_ns(&wheel);
    fuzz_require(wheel.now <= now_ns / TICK_NS);
    if (earliest == UINT64_MAX) {
        fuzz_require(next_ns == WEIR_NEVER);
    } else {
        // Of timers that were late when they came it is enough to say that they are due.
        fuzz_require(next_ns <= (earliest > wheel.now ? earliest : wheel.now) * TICK_NS);
    }
}

static void timer_insert(uint32_t which, uint64_t deadline_ns)
{
    bool reaches = tick_up(deadline_ns) <= UINT64_MAX / TICK_NS;
    fuzz_require(weir_wheel_reaches(deadline_ns) == reaches);
    if (!armed[which] && reaches) {
        timers[which].deadline_ns = deadline_ns;
        weir_wheel_insert(&wheel, &timers[which]);
        armed[which] = true;
    }
}

static void timer_remove(uint32_t which)
{
    if (armed[which]) {
        weir_wheel_remove(&wheel, &timers[which]);
        armed[which] = false;
        memset(&timers[which], 0x5a, sizeof(timers[which])); // the wheel must have forgotten it
    }
}

static void wheel_expire(uint32_t steps)
{
    uint64_t wheel_before = wheel.now;
    uint64_t last = 0;
    uint32_t left = steps;
    for (;;) {
        uint32_t before = left;
        struct weir_timer *timer = weir_wheel_expire(&wheel, now_ns, &left);
        fuzz_require(left <= before);
        if (timer == NULL) {
            break;
        }
        fuzz_require(timer >= timers && timer < timers + TIMERS && left < before);
        uint32_t which = (uint32_t)(timer - timers);
        uint64_t tick = tick_up(timer->deadline_ns);
        fuzz_require(armed[which] && timer->deadline_ns <= now_ns); // never early
        if (tick > wheel_before) { // the others were late when they were inserted
            fuzz_require(tick >= last);
            last = tick;
        }
        armed[which] = false;
        memset(timer, 0xa5, sizeof(*timer));
    }
    if (left > 0) {
        fuzz_require(earliest_tick() > now_ns / TICK_NS); // never lost
        fuzz_require(wheel.now == now_ns / TICK_NS);
    }
}

void fuzz_one(const unsigned char *bytes, size_t count)
{
    struct fuzz_input input = {bytes, count, 0};
    now_ns = fuzz_u64(&input);
    weir_wheel_init(&wheel, now_ns);
    memset(armed, 0, sizeof(armed));
    while (fuzz_more(&input)) {
        uint8_t what = fuzz_u8(&input);
        uint32_t which = what & (TIMERS - 1);
        uint64_t then;
        switch (what >> 5) {
        case 0:
        case 1:
        case 2: timer_insert(which, time_read(&input)); break;
        case 3: timer_remove(which); break;
        case 4:
        case 5:
            then = time_read(&input);
            now_ns = then > now_ns ? then : now_ns; // it is a clock
            wheel_expire((what >> 5) == 4 ? which : UINT32_MAX);
            break;
        case 6: // to when the wheel says, as a worker does
            then = weir_wheel_next_ns(&wheel);
            now_ns = then != WEIR_NEVER && then > now_ns ? then : now_ns;
            wheel_expire(which);
            break;
        default: wheel_check();
        }
        next_check();
    }
    wheel_check();
    now_ns = UINT64_MAX;
    wheel_expire(UINT32_MAX);
    fuzz_require(earliest_tick() == UINT64_MAX);
    next_check();
}
