// Shrinking: the shortest list of deviations that still fails for the same reason.
//
// Whole kinds are left out first, the most exotic ones before the common, then ever smaller pieces
// of the list (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002),
// then values are lowered; all again until nothing changes. As deviations are keyed by kind, actor
// and that actor's count, those that remain keep their meaning when others go.
#include <stdlib.h>
#include <string.h>

#include "sim/sim.h"

// A shrink ends after so many runs, whatever it has reached: a minute or two of the longest runs.
#define SHRINK_RUNS_MAX 20000

// From what a reader would least like to see in a report to what is in nearly all of them.
static const enum weir_sim_kind exotic_first[] = {
    WEIR_SIM_RESOURCE, WEIR_SIM_NAME,  WEIR_SIM_INTERRUPT, WEIR_SIM_PEER,  WEIR_SIM_CONNECT,
    WEIR_SIM_RECV,     WEIR_SIM_SEND,  WEIR_SIM_AGAIN,     WEIR_SIM_SHORT, WEIR_SIM_READY,
    WEIR_SIM_DELAY,    WEIR_SIM_TIME,  WEIR_SIM_WEAK,      WEIR_SIM_FUTEX, WEIR_SIM_REUSE,
    WEIR_SIM_WORK,     WEIR_SIM_STALE, WEIR_SIM_SWITCH,
};
_Static_assert(sizeof(exotic_first) / sizeof(exotic_first[0]) == WEIR_SIM_KINDS_COUNT,
               "a kind that is not in the list is never left out as a whole");

struct shrink {
    struct weir_sim *sim;
    const struct weir_sim_scenario *scenario;
    const struct weir_sim_result *failure;
    struct weir_sim_deviation *best; // the caller's
    size_t best_count;
    struct weir_sim_deviation *trial; // room for as many
    size_t trial_count;
    uint64_t runs;
};

// Runs the trial list; if it fails in the same way it is the best one now.
static bool trial_succeeds(struct shrink *shrink)
{
    if (shrink->runs == SHRINK_RUNS_MAX) {
        return false;
    }
    shrink->runs++;
    struct weir_sim_options options = {
        .deviations = shrink->trial,
        .deviations_count = shrink->trial_count,
    };
    struct weir_sim_result result;
    weir_sim_run(shrink->sim, shrink->scenario, &options, &result);
    if (result.verdict != shrink->failure->verdict ||
        strcmp(result.name, shrink->failure->name) != 0) {
        return false;
    }
    // The run's own record leaves out what never applied.
    bool own = result.deviations_count < shrink->trial_count;
    const struct weir_sim_deviation *list = own ? result.deviations : shrink->trial;
    shrink->best_count = own ? result.deviations_count : shrink->trial_count;
    memcpy(shrink->best, list, shrink->best_count * sizeof(*list));
    return true;
}

static bool kind_drop(struct shrink *shrink, enum weir_sim_kind kind)
{
    shrink->trial_count = 0;
    for (size_t index = 0; index < shrink->best_count; index++) {
        if (shrink->best[index].kind != (uint32_t)kind) {
            shrink->trial[shrink->trial_count++] = shrink->best[index];
        }
    }
    return shrink->trial_count < shrink->best_count && trial_succeeds(shrink);
}

static bool kinds_drop(struct shrink *shrink)
{
    bool changed = false;
    for (size_t index = 0; index < WEIR_SIM_KINDS_COUNT; index++) {
        changed |= kind_drop(shrink, exotic_first[index]);
    }
    return changed;
}

static bool piece_drop(struct shrink *shrink, size_t start, size_t end)
{
    size_t after = shrink->best_count - end;
    memcpy(shrink->trial, shrink->best, start * sizeof(*shrink->trial));
    memcpy(shrink->trial + start, shrink->best + end, after * sizeof(*shrink->trial));
    shrink->trial_count = start + after;
    return trial_succeeds(shrink);
}

// From the end: what came late explains less, and what came before it stays as it was.
static bool pieces_drop(struct shrink *shrink)
{
    bool changed = false;
    for (size_t piece = (shrink->best_count + 1) / 2; piece > 0; piece /= 2) {
        for (size_t end = shrink->best_count; end > 0;) {
            size_t start = end > piece ? end - piece : 0;
            changed |= piece_drop(shrink, start, end);
            // A success can drop more than the piece.
            end = start < shrink->best_count ? start : shrink->best_count;
        }
    }
    return changed;
}

static bool value_try(struct shrink *shrink, size_t index, uint32_t value)
{
    memcpy(shrink->trial, shrink->best, shrink->best_count * sizeof(*shrink->trial));
    shrink->trial_count = shrink->best_count;
    shrink->trial[index].value = value;
    return trial_succeeds(shrink);
}

// 1 at once, else halfway down to what is known not to do, again and again.
static bool value_lower(struct shrink *shrink, size_t index)
{
    bool changed = false;
    uint32_t low = 0;
    while (index < shrink->best_count && shrink->best[index].value > low + 1) {
        uint32_t value = shrink->best[index].value;
        uint32_t lower = low == 0 ? 1 : low + (value - low) / 2;
        if (value_try(shrink, index, lower)) {
            changed = true;
        } else {
            low = lower;
        }
    }
    return changed;
}

static bool values_lower(struct shrink *shrink)
{
    bool changed = false;
    for (size_t index = 0; index < shrink->best_count; index++) {
        changed |= value_lower(shrink, index);
    }
    return changed;
}

uint64_t weir_sim_shrink(struct weir_sim *sim, const struct weir_sim_scenario *scenario,
                         struct weir_sim_deviation *deviations, size_t *deviations_count,
                         const struct weir_sim_result *failure)
{
    // A copy: the caller's result may be the very one the runs write to.
    const struct weir_sim_result wanted = *failure;
    struct shrink shrink = {
        .sim = sim,
        .scenario = scenario,
        .failure = &wanted,
        .best = deviations,
        .best_count = *deviations_count,
        .trial = malloc((*deviations_count + 1) * sizeof(*deviations)),
        .trial_count = *deviations_count,
    };
    if (shrink.trial == NULL) {
        return 0; // nothing shorter found
    }
    memcpy(shrink.trial, deviations, shrink.trial_count * sizeof(*deviations));
    bool changed = trial_succeeds(&shrink);
    while (changed && shrink.runs < SHRINK_RUNS_MAX) {
        changed = kinds_drop(&shrink);
        changed |= pieces_drop(&shrink);
        changed |= values_lower(&shrink);
    }
    free(shrink.trial);
    *deviations_count = shrink.best_count;
    return shrink.runs;
}
