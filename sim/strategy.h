// Scheduling strategies of the seeded source: which thread runs next.
//
// random: each decision switches with a rate, to any of the others; where the running thread
// cannot go on, the order of wake-ups varies with a rate of its own. Both are rates of choice.c,
// as those of faults are.
//
// pct: Burckhardt, Kothari, Musuvathi, Nagarakatte, "A Randomized Scheduler with Probabilistic
// Guarantees of Finding Bugs", ASPLOS 2010. Threads have random distinct priorities and the
// highest runs; at depth - 1 random steps the running thread falls below all. With the right
// horizon k a bug that needs `depth` ordered events among n threads is met with probability >= 1 /
// (n k^(depth-1)).
//
// delay-bounded: Emmi, Qadeer, Rakamaric, "Delay-Bounded Scheduling", POPL 2011. Round robin
// without preemption, but at a few random steps the thread whose turn it is gives it up to the
// next.
//
// Each may also leave threads alone between calls of struct weir_os: what goes wrong around a call
// is then met far more often than among many times as many atomic operations.
//
// Only decisions with more than one thread to choose from are steps. Horizons are drawn, never
// learnt: a run is a function of its seed alone.
#ifndef WEIR_SIM_STRATEGY_H
#define WEIR_SIM_STRATEGY_H

#include "sim/limits.h"
#include "sim/random.h"
#include "weir_sim.h"

// Change points or delays of one run.
#define SIM_STRATEGY_POINTS_MAX 8

struct sim_strategy_point {
    uint64_t step;
    uint32_t level; // pct: what the thread's priority becomes
};

struct sim_strategy {
    enum weir_sim_strategy kind; // not the portfolio
    bool calls_only;             // no switches before atomic operations, as in the coarse grain
    struct sim_rate switches;    // random: how often the running thread is preempted
    struct sim_rate wakes;       // random: how often another than the next goes on after it
    uint32_t horizon;            // pct, delay-bounded: the last step that can have a point
    uint32_t points_count;
    uint32_t points_next; // the first not yet reached
    uint64_t steps;
    struct sim_strategy_point points[SIM_STRATEGY_POINTS_MAX]; // by step
    struct sim_random random;
    uint64_t lowest; // pct: below every priority in use
    uint64_t priorities[SIM_THREADS_MAX];
};

// As the seed has it. `wanted` may be the portfolio.
void sim_strategy_draw(struct sim_strategy *strategy, enum weir_sim_strategy wanted,
                       struct sim_random random);
// The two with points: how many (pct: depth - 1), and within how many steps.
void sim_strategy_begin(struct sim_strategy *strategy, enum weir_sim_strategy kind,
                        uint32_t points_count, uint32_t horizon, struct sim_random random);
// Of these two: a thread was started; the next thread, as sim_choose_thread.
void sim_strategy_thread(struct sim_strategy *strategy, uint32_t actor);
uint32_t sim_strategy_choose(struct sim_strategy *strategy, uint32_t current, const uint8_t *actors,
                             uint32_t actors_count, bool yielded);
// "strategy=pct depth=3 horizon=4096"
void sim_strategy_describe(const struct sim_strategy *strategy, char *text, size_t text_bytes);

#endif
