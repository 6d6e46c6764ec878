// Swarm: which kinds of fault a seed has, and how often.
#include "sim/swarm.h"

// Streams that belong to no kind are numbered far above them.
#define STREAM_MOOD 1000

// Of sixteen runs one has no faults at all and one has all kinds of them.
enum mood { MOOD_QUIET, MOOD_WILD, MOODS = 16 };

// Stale loads are what an ordinary test never sees, and cost little: frequent, and then often.
static const struct sim_rate stale_rates[] = {
    {1, 64}, {1, 16}, {1, 8}, {1, 4}, {1, 4}, {1, 2}, {1, 2}, {3, 4},
};

static struct sim_rate stale_rate(struct sim_random *random)
{
    if (sim_random_below(random, 4) == 0) {
        return (struct sim_rate){0, 1};
    }
    return stale_rates[sim_random_below(random, sizeof(stale_rates) / sizeof(stale_rates[0]))];
}

static struct sim_rate fault_rate(struct sim_random *random, uint64_t mood)
{
    bool on = sim_random_below(random, 2) == 0;
    uint32_t trials = sim_random_magnitude(random, 1, 12);
    if (mood == MOOD_QUIET || (mood != MOOD_WILD && !on)) {
        return (struct sim_rate){0, 1};
    }
    return (struct sim_rate){1, trials};
}

void sim_swarm_draw(struct sim_swarm_kind *kinds, uint64_t seed)
{
    struct sim_random of_all = sim_random_stream(seed, STREAM_MOOD);
    uint64_t mood = sim_random_below(&of_all, MOODS);
    for (uint32_t kind = 0; kind < WEIR_SIM_KINDS_COUNT; kind++) {
        struct sim_random *random = &kinds[kind].random;
        *random = sim_random_stream(seed, kind);
        switch (kind) {
        case WEIR_SIM_SWITCH:
        case WEIR_SIM_WORK: kinds[kind].rate = (struct sim_rate){0, 1}; break;
        case WEIR_SIM_STALE: kinds[kind].rate = stale_rate(random); break;
        default: kinds[kind].rate = fault_rate(random, mood);
        }
    }
}
