// A record to work on: opens a replay file for this program, runs it, compares what came out.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "sim/command.h"

static int scenario_find(struct sim_case *it, const struct sim_command *command)
{
    if (sim_scenario_find(command, it->record.scenario, &it->index)) {
        it->scenario = command->scenarios[it->index];
        if (it->record.steps_max != 0) {
            it->scenario.steps_max = it->record.steps_max;
        }
        return 0;
    }
    char nearest[256] = "";
    const char **names = calloc(command->scenarios_count + 1, sizeof *names);
    for (uint32_t i = 0; names != NULL && i < command->scenarios_count; i++) {
        names[i] = command->scenarios[i].name;
    }
    if (names != NULL) {
        sim_nearest(it->record.scenario, names, command->scenarios_count, nearest, sizeof nearest);
    }
    free(names);
    sim_say(command, "%s:4: this program has no scenario \"%s\"%s", command->file,
            it->record.scenario, nearest);
    return WEIR_SIM_EXIT_FILE;
}

static int build_compare(const struct sim_case *it, const struct sim_command *command)
{
    const struct sim_record *record = &it->record;
    const char *mine = weir_sim_fine() ? "fine" : "coarse";
    const char *its = record->fine ? "fine" : "coarse";
    if (strcmp(record->build, sim_build_id()) == 0) {
        return 0;
    }
    if (sim_option_given(command, SIM_OPTION_FORCE)) {
        sim_say(command, "%s:2: of another build (%s, %s grain); it may not lead to the same place",
                command->file, record->build, its);
        return 0;
    }
    sim_say(command,
            "%s:2: of another build: %s, %s grain; this program is %s, %s grain. --force runs it "
            "nevertheless",
            command->file, record->build, its, sim_build_id(), mine);
    return WEIR_SIM_EXIT_OTHER_BUILD;
}

int sim_case_open(struct sim_case *it, const struct sim_command *command)
{
    char why[1024];
    *it = (struct sim_case){.sim = NULL};
    int status = sim_record_read(&it->record, command->file, why, sizeof why);
    if (status != 0) {
        sim_say(command, "%s", why);
        return status;
    }
    // The build first: its scenarios may have had other names.
    status = build_compare(it, command);
    if (status == 0) {
        status = scenario_find(it, command);
    }
    if (status == 0) {
        it->sim = sim_command_simulator(command);
        status = it->sim == NULL ? SIM_EXIT_SYSTEM : 0;
    }
    if (status != 0) {
        sim_case_close(it);
    }
    return status;
}

void sim_case_close(struct sim_case *it)
{
    sim_record_deinit(&it->record);
    weir_sim_destroy(it->sim);
    it->sim = NULL;
}

void sim_case_run(struct sim_case *it, const struct sim_command *command, FILE *story,
                  struct weir_sim_result *result)
{
    // An empty list too is a replay.
    static const struct weir_sim_deviation none;
    const struct weir_sim_options options = {
        .deviations = it->record.deviations_count == 0 ? &none : it->record.deviations,
        .deviations_count = it->record.deviations_count,
        .poison = command->poison,
        .story = story};
    weir_sim_run(it->sim, &it->scenario, &options, result);
}

int sim_case_judge(const struct sim_case *it, const struct sim_command *command,
                   const struct weir_sim_result *result, char *text, size_t text_bytes)
{
    const struct sim_record *record = &it->record;
    struct weir_sim_deviation unused;
    int used = 0;
    text[0] = '\0';
    if (result->verdict != record->verdict || strcmp(result->name, record->name) != 0) {
        used = snprintf(text, text_bytes, "recorded as %s: %s", sim_verdict_label(record->verdict),
                        record->name);
    } else if (result->hash != record->hash) {
        used = snprintf(text, text_bytes,
                        "the same verdict, but recorded with the hash %016" PRIx64, record->hash);
    }
    if (sim_choices_unused(it->sim->choices, &unused)) {
        snprintf(text + used, text_bytes - (size_t)used,
                 "%sthe deviation \"%s %" PRIu32 " %" PRIu32 " %" PRIu32 "\" no longer applies",
                 used > 0 ? "; " : "", sim_kind_label((enum weir_sim_kind)unused.kind),
                 unused.actor, unused.number, unused.value);
    }
    bool as_recorded = text[0] == '\0' || sim_option_given(command, SIM_OPTION_FORCE);
    return as_recorded ? (int)result->verdict : WEIR_SIM_NONDETERMINISM;
}
