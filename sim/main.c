// weir-sim over the project's own scenarios: gathers their tables and hands over to the command.
#include "sim/scenarios.h"

int main(int argc, char **argv)
{
    static struct weir_sim_scenario scenarios[SIM_SCENARIOS_MAX];
    size_t count = sim_scenarios_gather(scenarios, SIM_SCENARIOS_MAX);
    if (count > SIM_SCENARIOS_MAX) {
        fputs("weir-sim: more scenarios than SIM_SCENARIOS_MAX\n", stderr);
        return WEIR_SIM_INTERNAL;
    }
    return weir_sim_main(argc, argv, scenarios, count);
}
