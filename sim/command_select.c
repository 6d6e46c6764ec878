// What options ask for together: which scenarios, which seeds, where failures go.
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sim/command.h"

bool sim_options_all(const struct sim_command *command)
{
    return !sim_option_given(command, SIM_OPTION_SCENARIO);
}

int sim_options_select(struct sim_command *command)
{
    if (!sim_options_all(command)) {
        return 0;
    }
    for (uint32_t i = 0; i < command->scenarios_count; i++) {
        const struct weir_sim_scenario *scenario = &command->scenarios[i];
        if (scenario->expects == WEIR_SIM_PASS && (weir_sim_fine() || !scenario->fine_only)) {
            command->selected[command->selected_count++] = i;
        }
    }
    if (command->selected_count == 0) {
        return sim_refuse(command, "no scenario runs unless named; \"weir-sim list\" shows all");
    }
    return 0;
}

// Said now, not after an hour that found something.
int sim_options_failures(const struct sim_command *command)
{
    const char *folder = command->failures;
    struct stat status;
    if (folder == NULL) {
        return 0;
    }
    if (mkdir(folder, 0777) != 0 && errno != EEXIST) {
        return sim_refuse(command, "--failures: %s: %s", folder, strerror(errno));
    }
    if (stat(folder, &status) != 0 || !S_ISDIR(status.st_mode)) {
        return sim_refuse(command, "--failures: %s is not a directory", folder);
    }
    if (access(folder, W_OK | X_OK) != 0) {
        return sim_refuse(command, "--failures: %s: %s", folder, strerror(errno));
    }
    return 0;
}

int sim_options_seeds_needed(struct sim_command *command)
{
    if (!sim_option_given(command, SIM_OPTION_SEEDS)) {
        return sim_refuse(command, "--seeds is missing");
    }
    return sim_options_select(command);
}
