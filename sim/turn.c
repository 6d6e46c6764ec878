// Turns: preemption points, and which thread runs when the current one cannot or need not go on.
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "runtime/assert.h"
#include "sim/thread_state.h"

// What the running thread is about to do, or asks for.
enum point { POINT_ATOMIC, POINT_CALL, POINT_YIELD };

// ---- Who could run ----

void sim_runnable_add(struct sim_threads *threads, uint32_t actor)
{
    uint64_t bit = UINT64_C(1) << (actor % 64);
    threads->runnable_count += (threads->runnable[actor / 64] & bit) == 0;
    threads->runnable[actor / 64] |= bit;
    threads->candidates_count = 0;
}

void sim_runnable_remove(struct sim_threads *threads, uint32_t actor)
{
    uint64_t bit = UINT64_C(1) << (actor % 64);
    threads->runnable_count -= (threads->runnable[actor / 64] & bit) != 0;
    threads->runnable[actor / 64] &= ~bit;
    threads->candidates_count = 0;
}

static bool runnable(const struct sim_threads *threads, uint32_t actor)
{
    return (threads->runnable[actor / 64] >> (actor % 64) & 1) != 0;
}

// Appends the runnable actors from `first` to below `end`.
static uint32_t runnable_list(const struct sim_threads *threads, uint32_t first, uint32_t end,
                              uint8_t *actors, uint32_t count)
{
    for (uint32_t word = first / 64; word < SIM_RUNNABLE_WORDS && word * 64 < end; word++) {
        uint64_t bits = threads->runnable[word];
        if (word == first / 64) {
            bits &= UINT64_MAX << (first % 64);
        }
        for (; bits != 0; bits &= bits - 1) {
            uint32_t actor = word * 64 + (uint32_t)__builtin_ctzll(bits);
            if (actor >= end) {
                break;
            }
            actors[count++] = (uint8_t)actor;
        }
    }
    return count;
}

// The current thread, if it can run, then the others in ring order after it.
static void candidates_make(struct sim_threads *threads)
{
    uint32_t current = threads->current;
    uint32_t count = 0;
    if (runnable(threads, current)) {
        threads->candidates[count++] = (uint8_t)current;
    }
    count = runnable_list(threads, current + 1, SIM_THREADS_MAX, threads->candidates, count);
    count = runnable_list(threads, 0, current, threads->candidates, count);
    threads->candidates_count = count;
}

// ---- Switching ----

static void turn_take(struct weir_sim *sim, uint32_t actor)
{
    struct sim_threads *threads = sim->threads;
    uint32_t from = threads->current;
    threads->points = 0;
    threads->alone = 0;
    if (actor == from) {
        return;
    }
    sim_event(sim, SIM_EVENT_SWITCH, 0, actor, 0, NULL);
    threads->current = actor;
    threads->candidates_count = 0;
    sim_fiber_switch(&threads->table[from].fiber, &threads->table[actor].fiber);
}

static uint32_t turn_choose(struct weir_sim *sim, const uint8_t *actors, uint32_t actors_count,
                            bool yielded)
{
    uint32_t index =
        sim_choose_thread(sim->choices, sim->threads->current, actors, actors_count, yielded);
    weir_assert(index < actors_count);
    if (index != 0) {
        sim_event(sim, SIM_EVENT_DEVIATION, WEIR_SIM_SWITCH, index, actors_count, NULL);
        sim_observe(sim, sim_memory_where(sim->memory, sim->threads->current),
                    SIM_OBSERVED_SWITCH | sim_memory_where(sim->memory, actors[index]));
    }
    return actors[index];
}

// The others first: the answers in ring order, the current thread's last.
static void turn_yield(struct weir_sim *sim)
{
    struct sim_threads *threads = sim->threads;
    uint8_t actors[SIM_THREADS_MAX];
    uint32_t count = threads->candidates_count;
    weir_assert(count > 1 && threads->candidates[0] == threads->current);
    memcpy(actors, threads->candidates + 1, count - 1);
    actors[count - 1] = (uint8_t)threads->current;
    turn_take(sim, turn_choose(sim, actors, count, true));
}

// A point where others could run. A thread that has passed many must let them: under a strategy
// that never switches, loops that wait without blocking would not end. That is told to the strategy
// as a yield, since priorities would otherwise give the turn straight back.
static void turn_offer(struct weir_sim *sim, enum point point)
{
    struct sim_threads *threads = sim->threads;
    uint32_t points = ++threads->points;
    bool yields = point == POINT_YIELD || points >= SIM_QUANTUM ||
                  (points >= SIM_TURN && sim_choices_healed(sim->choices));
    if (!yields && point == POINT_ATOMIC && sim_choose_none(sim->choices, threads->current)) {
        return;
    }
    if (threads->candidates_count == 0) {
        candidates_make(threads);
    }
    if (yields) {
        turn_yield(sim);
        return;
    }
    uint32_t actor = turn_choose(sim, threads->candidates, threads->candidates_count, false);
    if (actor != threads->current) {
        turn_take(sim, actor);
    }
}

// What to name a deadlock after: the first thread of process 0 that waits for more than another's
// end.
static enum sim_reason stuck_reason(const struct sim_threads *threads)
{
    enum sim_reason reason = SIM_BLOCKED_JOIN;
    for (uint32_t actor = 0; actor < threads->threads_count; actor++) {
        const struct sim_thread *thread = &threads->table[actor];
        if (thread->process == 0 && thread->state == SIM_THREAD_BLOCKED) {
            reason = thread->reason;
            if (reason != SIM_BLOCKED_JOIN && reason != SIM_BLOCKED_PROCESS) {
                return reason;
            }
        }
    }
    return reason;
}

static _Noreturn void turn_stuck(struct weir_sim *sim)
{
#define REASON_NAME(name, label) #name,
    static const char *const names[SIM_REASONS_COUNT] = {SIM_REASONS(REASON_NAME)};
#undef REASON_NAME
    char name[64];
    char text[512];
    snprintf(name, sizeof name, "nothing-can-run-%s",
             names[stuck_reason(sim->threads)] + strlen("SIM_BLOCKED_"));
    for (char *letter = name; *letter != '\0'; letter++) {
        *letter = (char)tolower((unsigned char)*letter);
    }
    sim_threads_describe(sim, text, sizeof text);
    weir_sim_fail(sim, WEIR_SIM_LIVENESS, name, "%s", text);
}

void sim_turn_give(struct weir_sim *sim)
{
    struct sim_threads *threads = sim->threads;
    sim_deadlines_fire(sim);
    while (threads->runnable_count == 0) {
        sim_step(sim);
        if (!sim_clock_advance(sim)) {
            turn_stuck(sim);
        }
    }
    candidates_make(threads);
    uint32_t actor = threads->candidates[0];
    if (threads->candidates_count > 1) {
        actor = turn_choose(sim, threads->candidates, threads->candidates_count, false);
    }
    turn_take(sim, actor);
}

// ---- Points ----

// Honest runs through hours of virtual time take their steps, too: a tick that finds nothing is
// some hundred. So there may be more of them the later it is, up to a bound.
static __attribute__((noinline, cold)) void steps_exceeded(struct weir_sim *sim)
{
    uint64_t more = (sim->threads->now_ns - SIM_EPOCH_NS) / SIM_STEP_NS;
    uint64_t most = sim->steps_max * (SIM_STEPS_FACTOR - 1);
    sim->steps_limit = sim->steps_max + (more < most ? more : most);
    if (sim->threads->steps <= sim->steps_limit) {
        return;
    }
    char text[512];
    sim_threads_describe(sim, text, sizeof text);
    weir_sim_fail(sim, WEIR_SIM_LIVENESS, "too-many-steps", "more than %llu\n%s",
                  (unsigned long long)sim->steps_limit, text);
}

void sim_step(struct weir_sim *sim)
{
    if (__builtin_expect(++sim->threads->steps > sim->steps_limit, 0)) {
        steps_exceeded(sim);
    }
}

static inline void point_pass(struct weir_sim *sim, enum point point)
{
    struct sim_threads *threads = sim->threads;
    sim_step(sim);
    if (threads->runnable_count > 1) {
        turn_offer(sim, point);
    } else if (__builtin_expect(++threads->alone >= SIM_PATIENCE, 0)) {
        threads->alone = 0;
        (void)sim_clock_advance(sim);
    }
}

void sim_point(struct weir_sim *sim)
{
    point_pass(sim, POINT_ATOMIC);
}

void sim_point_yield(struct weir_sim *sim)
{
    point_pass(sim, POINT_YIELD);
}

void sim_point_call(struct weir_sim *sim)
{
    struct sim_threads *threads = sim->threads;
    threads->alone = 0;
    threads->now_ns += SIM_CALL_NS;
    sim_deadlines_fire(sim);
    if (threads->deadlines_count > 0 && sim_decide(sim, WEIR_SIM_TIME, 2) != 0) {
        (void)sim_clock_advance(sim);
    }
    point_pass(sim, POINT_CALL);
}
