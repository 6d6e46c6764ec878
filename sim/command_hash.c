// `weir-sim hash` and `weir-sim story`: what happened, to be compared with another process's.
#include <inttypes.h>

#include "sim/command.h"

void sim_hash_line(const struct sim_command *command, uint32_t scenario, uint64_t seed,
                   const struct weir_sim_result *result, char *line)
{
    snprintf(line, SIM_HASH_LINE_BYTES, "%016" PRIx64 " %" PRIu64 " %.80s %s%s%.63s", result->hash,
             seed, command->scenarios[scenario].name, sim_verdict_label(result->verdict),
             result->name[0] == '\0' ? "" : " ", result->name);
}

void sim_story_tell(const struct sim_command *command, struct weir_sim *sim, uint32_t scenario,
                    uint64_t seed, FILE *file)
{
    struct weir_sim_result result;
    char line[SIM_HASH_LINE_BYTES];
    sim_command_run(command, sim, scenario, seed, file, &result);
    sim_hash_line(command, scenario, seed, &result, line);
    fprintf(file, "%s\n", line);
}

static void hash_json(const struct sim_command *command, uint32_t scenario, uint64_t seed,
                      const struct weir_sim_result *result)
{
    struct sim_json json;
    sim_json_open(&json, stdout);
    sim_json_hash(&json, "hash", result->hash);
    sim_json_number(&json, "seed", seed);
    sim_json_text(&json, "scenario", command->scenarios[scenario].name);
    sim_json_text(&json, "verdict", sim_verdict_label(result->verdict));
    sim_json_text(&json, "name", result->name);
    sim_json_number(&json, "events", result->events);
    sim_json_number(&json, "decisions", result->decisions);
    sim_json_number(&json, "deviations", result->deviations_count);
    sim_json_number(&json, "virtual_ns", result->duration_ns);
    sim_json_close(&json);
}

int sim_command_hash(struct sim_command *command)
{
    int status = sim_options_seeds_needed(command);
    struct weir_sim *sim = status == 0 ? sim_command_simulator(command) : NULL;
    if (sim == NULL) {
        return status == 0 ? SIM_EXIT_SYSTEM : status;
    }
    uint64_t seed = command->seed_first;
    for (bool more = true; more && ferror(stdout) == 0; seed++) {
        more = seed != command->seed_last;
        for (uint32_t i = 0; i < command->selected_count; i++) {
            struct weir_sim_result result;
            char line[SIM_HASH_LINE_BYTES];
            sim_command_run(command, sim, command->selected[i], seed, NULL, &result);
            if (sim_option_given(command, SIM_OPTION_JSON)) {
                hash_json(command, command->selected[i], seed, &result);
            } else {
                sim_hash_line(command, command->selected[i], seed, &result, line);
                puts(line);
            }
        }
    }
    weir_sim_destroy(sim);
    return WEIR_SIM_PASS;
}

int sim_command_story(struct sim_command *command)
{
    int status = sim_options_seeds_needed(command);
    if (status == 0 && (sim_options_all(command) || command->selected_count != 1 ||
                        command->seed_first != command->seed_last)) {
        status = sim_refuse(command, "--scenario and --seeds: story takes exactly one of each");
    }
    struct weir_sim *sim = status == 0 ? sim_command_simulator(command) : NULL;
    if (sim == NULL) {
        return status == 0 ? SIM_EXIT_SYSTEM : status;
    }
    sim_story_tell(command, sim, command->selected[0], command->seed_first, stdout);
    weir_sim_destroy(sim);
    return WEIR_SIM_PASS;
}
