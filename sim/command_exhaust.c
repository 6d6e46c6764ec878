// `weir-sim exhaust`: all runs of a tiny scenario with at most so many deviations.
#include <inttypes.h>
#include <stdlib.h>

#include "sim/command.h"

static void exhaust_print(const struct sim_command *command, uint64_t runs, uint64_t elapsed_ns,
                          bool complete, bool failed)
{
    const char *scenario = command->scenarios[command->selected[0]].name;
    const char *end = complete ? "all of them" : failed ? "up to the failure" : "stopped by --runs";
    if (sim_option_given(command, SIM_OPTION_JSON)) {
        struct sim_json json;
        sim_json_open(&json, stdout);
        sim_json_text(&json, "event", "exhaust");
        sim_json_text(&json, "scenario", scenario);
        sim_json_number(&json, "deviations", command->deviations_max);
        sim_json_number(&json, "runs", runs);
        sim_json_number(&json, "elapsed_ns", elapsed_ns);
        sim_json_bool(&json, "complete", complete);
        sim_json_bool(&json, "failed", failed);
        sim_json_close(&json);
        return;
    }
    printf("%s: %" PRIu64 " runs with at most %" PRIu32 " deviations in %" PRIu64 ".%03" PRIu64
           " s: %s\n",
           scenario, runs, command->deviations_max, elapsed_ns / SIM_NS_PER_S,
           elapsed_ns / (SIM_NS_PER_S / 1000) % 1000, end);
}

int sim_command_exhaust(struct sim_command *command)
{
    if (command->selected_count != 1) {
        return sim_refuse(command, "--scenario: exhaust takes exactly one");
    }
    if (!sim_option_given(command, SIM_OPTION_DEVIATIONS)) {
        return sim_refuse(command, "--deviations is missing");
    }
    int status = sim_options_failures(command);
    struct weir_sim *sim = status == 0 ? sim_command_simulator(command) : NULL;
    if (sim == NULL) {
        return status == 0 ? SIM_EXIT_SYSTEM : status;
    }
    uint32_t index = command->selected[0];
    struct weir_sim_scenario scenario = command->scenarios[index];
    struct weir_sim_result result;
    bool complete = false;
    uint64_t begun_ns = sim_clock_ns();
    if (command->steps_max != 0) {
        scenario.steps_max = command->steps_max;
    }
    uint64_t runs = weir_sim_exhaust(sim, &scenario, command->deviations_max, command->runs_max,
                                     &result, &complete);
    enum weir_sim_verdict verdict = result.verdict;
    exhaust_print(command, runs, sim_clock_ns() - begun_ns, complete, verdict != WEIR_SIM_PASS);
    if (verdict != WEIR_SIM_PASS) {
        verdict = sim_failure_tell(command, sim, index, NULL, "exhaust", &result);
    }
    weir_sim_destroy(sim);
    return (int)verdict;
}
