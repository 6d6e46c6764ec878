// weir-sim over the project's own scenarios: gathers their tables and hands over to the command.
#include "sim/scenarios.h"

#define SCENARIOS_MAX 512

int main(int argc, char **argv)
{
#define TABLE(noun) sim_scenarios_##noun,
    static const struct weir_sim_scenario *const tables[] = {SIM_SCENARIO_FILES(TABLE)};
#undef TABLE
    static struct weir_sim_scenario scenarios[SCENARIOS_MAX];
    size_t count = 0;
    for (size_t table = 0; table < sizeof tables / sizeof tables[0]; table++) {
        for (const struct weir_sim_scenario *entry = tables[table]; entry->name != NULL; entry++) {
            if (count == SCENARIOS_MAX) {
                fputs("weir-sim: more scenarios than SCENARIOS_MAX\n", stderr);
                return WEIR_SIM_INTERNAL;
            }
            scenarios[count++] = *entry;
        }
    }
    return weir_sim_main(argc, argv, scenarios, count);
}
