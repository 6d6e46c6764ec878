// Scheduling strategies: drawing one, priorities, change points and delays.
#include "sim/strategy.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "runtime/assert.h"

// Priorities from the top: where threads start, where change points put them, where yields do.
#define PRIORITY_START (UINT64_C(1) << 40)
#define PRIORITY_CHANGED (UINT64_C(1) << 32)

// Of ten seeds so many walk each; the notes say that none of them finds everything.
static const enum weir_sim_strategy portfolio[] = {
    WEIR_SIM_RANDOM,        WEIR_SIM_RANDOM,        WEIR_SIM_RANDOM, WEIR_SIM_RANDOM,
    WEIR_SIM_PCT,           WEIR_SIM_PCT,           WEIR_SIM_PCT,    WEIR_SIM_PCT,
    WEIR_SIM_DELAY_BOUNDED, WEIR_SIM_DELAY_BOUNDED,
};

// Never 1/1: of two threads that would be one single schedule.
static const struct sim_rate switch_rates[] = {
    {1, 256}, {1, 128}, {1, 64}, {1, 32}, {1, 16}, {1, 8}, {1, 4}, {1, 2}, {7, 8},
};
static const struct sim_rate wake_rates[] = {{1, 8}, {1, 4}, {1, 2}, {3, 4}};

void sim_strategy_draw(struct sim_strategy *strategy, enum weir_sim_strategy wanted,
                       struct sim_random random)
{
    if (wanted == WEIR_SIM_PORTFOLIO) {
        wanted = portfolio[sim_random_below(&random, sizeof(portfolio) / sizeof(portfolio[0]))];
    }
    strategy->kind = wanted;
    uint32_t horizon;
    switch (wanted) {
    case WEIR_SIM_RANDOM:
        strategy->switches =
            switch_rates[sim_random_below(&random, sizeof(switch_rates) / sizeof(switch_rates[0]))];
        strategy->wakes =
            wake_rates[sim_random_below(&random, sizeof(wake_rates) / sizeof(wake_rates[0]))];
        break;
    case WEIR_SIM_PCT:
        horizon = sim_random_magnitude(&random, 5, 17);
        sim_strategy_begin(strategy, wanted, (uint32_t)sim_random_below(&random, 5), horizon,
                           random);
        break;
    case WEIR_SIM_DELAY_BOUNDED:
        horizon = sim_random_magnitude(&random, 5, 17);
        sim_strategy_begin(strategy, wanted, 1 + (uint32_t)sim_random_below(&random, 8), horizon,
                           random);
        break;
    default: weir_assert(wanted == WEIR_SIM_BENIGN);
    }
}

void sim_strategy_begin(struct sim_strategy *strategy, enum weir_sim_strategy kind,
                        uint32_t points_count, uint32_t horizon, struct sim_random random)
{
    weir_assert(kind == WEIR_SIM_PCT || kind == WEIR_SIM_DELAY_BOUNDED);
    weir_assert(points_count <= SIM_STRATEGY_POINTS_MAX && horizon >= 1);
    strategy->kind = kind;
    strategy->horizon = horizon;
    strategy->points_count = points_count;
    strategy->points_next = 0;
    strategy->steps = 0;
    strategy->random = random;
    strategy->lowest = PRIORITY_CHANGED;
    for (uint32_t level = 0; level < points_count; level++) {
        struct sim_strategy_point point = {
            .step = 1 + sim_random_below(&strategy->random, horizon),
            .level = level + 1,
        };
        uint32_t place = level;
        for (; place > 0 && strategy->points[place - 1].step > point.step; place--) {
            strategy->points[place] = strategy->points[place - 1];
        }
        strategy->points[place] = point;
    }
    if (kind == WEIR_SIM_PCT) {
        memset(strategy->priorities, 0, sizeof(strategy->priorities));
        sim_strategy_thread(strategy, 0);
    }
}

void sim_strategy_thread(struct sim_strategy *strategy, uint32_t actor)
{
    weir_assert(actor < SIM_THREADS_MAX);
    if (strategy->kind == WEIR_SIM_PCT) {
        // The actor in the low bits makes equal draws distinct.
        strategy->priorities[actor] =
            PRIORITY_START + (sim_random_next(&strategy->random) >> 16 << 8) + actor;
    }
}

// How many points this step has; *level becomes the last one's.
static uint32_t points_reached(struct sim_strategy *strategy, uint32_t *level)
{
    uint32_t reached = 0;
    strategy->steps++;
    while (strategy->points_next < strategy->points_count &&
           strategy->points[strategy->points_next].step <= strategy->steps) {
        *level = strategy->points[strategy->points_next++].level;
        reached++;
    }
    return reached;
}

uint32_t sim_strategy_choose(struct sim_strategy *strategy, uint32_t current, const uint8_t *actors,
                             uint32_t actors_count, bool yielded)
{
    uint32_t level = 0;
    uint32_t reached = points_reached(strategy, &level);
    if (strategy->kind == WEIR_SIM_DELAY_BOUNDED) {
        return reached % actors_count;
    }
    uint64_t *priorities = strategy->priorities;
    if (reached > 0) {
        priorities[current] = PRIORITY_CHANGED + level;
    }
    if (yielded) {
        priorities[current] = --strategy->lowest;
    }
    uint32_t best = 0;
    for (uint32_t index = 1; index < actors_count; index++) {
        if (priorities[actors[index]] > priorities[actors[best]]) {
            best = index;
        }
    }
    return best;
}

void sim_strategy_describe(const struct sim_strategy *strategy, char *text, size_t text_bytes)
{
#define LABEL(name, label, about) label,
    static const char *const labels[] = {WEIR_SIM_STRATEGIES(LABEL)};
#undef LABEL
    const char *label = labels[strategy->kind];
    switch (strategy->kind) {
    case WEIR_SIM_PCT:
        snprintf(text, text_bytes, "strategy=%s depth=%" PRIu32 " horizon=%" PRIu32, label,
                 strategy->points_count + 1, strategy->horizon);
        break;
    case WEIR_SIM_DELAY_BOUNDED:
        snprintf(text, text_bytes, "strategy=%s delays=%" PRIu32 " horizon=%" PRIu32, label,
                 strategy->points_count, strategy->horizon);
        break;
    default: snprintf(text, text_bytes, "strategy=%s", label);
    }
}
