// The table of the project's own scenarios: those of all files, for weir-sim and for the fuzzer.
#include "sim/scenarios.h"

size_t sim_scenarios_gather(struct weir_sim_scenario *scenarios, size_t scenarios_max)
{
#define TABLE(noun) sim_scenarios_##noun,
    static const struct weir_sim_scenario *const tables[] = {SIM_SCENARIO_FILES(TABLE)};
#undef TABLE
    size_t count = 0;
    for (size_t table = 0; table < sizeof tables / sizeof tables[0]; table++) {
        for (const struct weir_sim_scenario *entry = tables[table]; entry->name != NULL; entry++) {
            if (count < scenarios_max) {
                scenarios[count] = *entry;
            }
            count++;
        }
    }
    return count;
}
