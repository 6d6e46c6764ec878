// `weir-sim list`: the scenarios, their probes and what they are expected to end with.
#include "sim/command.h"

static void scenario_json(const struct weir_sim_scenario *scenario)
{
    struct sim_json json;
    sim_json_open(&json, stdout);
    sim_json_text(&json, "scenario", scenario->name);
    sim_json_text(&json, "about", scenario->about == NULL ? "" : scenario->about);
    sim_json_text(&json, "expects", sim_verdict_label(scenario->expects));
    sim_json_bool(&json, "fine_only", scenario->fine_only);
    sim_json_number(&json, "weight", scenario->weight == 0 ? 1 : scenario->weight);
    sim_json_number(&json, "steps_max",
                    scenario->steps_max == 0 ? SIM_STEPS_MAX : scenario->steps_max);
    sim_json_number(&json, "probe_seeds", scenario->probe_seeds);
    sim_json_array_open(&json, "kinds");
    for (uint32_t kind = 0; kind < WEIR_SIM_KINDS_COUNT; kind++) {
        if (scenario->kinds == 0 || (scenario->kinds & 1u << kind) != 0) {
            sim_json_element(&json, sim_kind_label((enum weir_sim_kind)kind));
        }
    }
    sim_json_array_close(&json);
    sim_json_array_open(&json, "probes");
    for (const char *const *probe = scenario->probes; probe != NULL && *probe != NULL; probe++) {
        sim_json_element(&json, *probe);
    }
    sim_json_array_close(&json);
    sim_json_close(&json);
}

static void scenario_print(const struct weir_sim_scenario *scenario)
{
    printf("%s\n    %s\n", scenario->name, scenario->about == NULL ? "" : scenario->about);
    if (scenario->expects != WEIR_SIM_PASS) {
        printf("    expected to end with: %s (runs only when named)\n",
               sim_verdict_label(scenario->expects));
    }
    printf("    deviates in:%s", scenario->kinds == 0 ? " everything" : "");
    for (uint32_t kind = 0; kind < WEIR_SIM_KINDS_COUNT; kind++) {
        if ((scenario->kinds & 1u << kind) != 0) {
            printf(" %s", sim_kind_label((enum weir_sim_kind)kind));
        }
    }
    puts(scenario->fine_only ? " (says something in the fine grain only)" : "");
    for (const char *const *probe = scenario->probes; probe != NULL && *probe != NULL; probe++) {
        printf("    must meet within %u runs: %s\n", scenario->probe_seeds, *probe);
    }
}

int sim_command_list(struct sim_command *command)
{
    for (uint32_t i = 0; i < command->scenarios_count; i++) {
        if (sim_option_given(command, SIM_OPTION_JSON)) {
            scenario_json(&command->scenarios[i]);
        } else {
            scenario_print(&command->scenarios[i]);
        }
    }
    return WEIR_SIM_PASS;
}
