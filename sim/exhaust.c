// Exhaustive runs of a tiny scenario: every way it can go with few deviations.
#include "sim/sim.h"

uint64_t weir_sim_exhaust(struct weir_sim *sim, const struct weir_sim_scenario *scenario,
                          uint32_t deviations_max, uint64_t runs_max,
                          struct weir_sim_result *result, bool *complete)
{
    const struct weir_sim_options options = {0};
    uint64_t runs = 0;
    bool more = true;
    sim_choices_search(sim->choices, deviations_max);
    do {
        weir_sim_run(sim, scenario, &options, result);
        runs++;
        more = result->verdict == WEIR_SIM_PASS && sim_choices_next(sim->choices);
    } while (more && (runs_max == 0 || runs < runs_max));
    sim_choices_search_end(sim->choices);
    *complete = !more && result->verdict == WEIR_SIM_PASS;
    return runs;
}
