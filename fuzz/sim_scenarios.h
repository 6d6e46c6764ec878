// Which scenarios a fuzzer of the simulator runs: those that WEIR_FUZZ_SCENARIO names, else all.
//
// The variable holds names, separated by commas; one that ends in a dash means all that begin so.
// Scenarios that are expected to fail are never among them.
#ifndef WEIR_FUZZ_SIM_SCENARIOS_H
#define WEIR_FUZZ_SIM_SCENARIOS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/scenarios.h"

static inline bool fuzz_scenario_listed(const char *list, const char *name)
{
    while (true) {
        size_t length = strcspn(list, ",");
        bool family = length > 0 && list[length - 1] == '-';
        if (strncmp(list, name, length) == 0 && (family || name[length] == '\0')) {
            return true;
        }
        if (list[length] == '\0') {
            return false;
        }
        list += length + 1;
    }
}

// memory: `selected` holds SIM_SCENARIOS_MAX. returns  how many, at least one; ends the program
// when there is none.
static inline size_t fuzz_scenarios_select(struct weir_sim_scenario *selected)
{
    const char *list = getenv("WEIR_FUZZ_SCENARIO");
    size_t count = sim_scenarios_gather(selected, SIM_SCENARIOS_MAX);
    size_t kept = 0;
    for (size_t index = 0; index < count && index < SIM_SCENARIOS_MAX; index++) {
        bool wanted = list == NULL || list[0] == '\0'
                          ? true
                          : fuzz_scenario_listed(list, selected[index].name);
        if (wanted && selected[index].expects == WEIR_SIM_PASS &&
            (weir_sim_fine() || !selected[index].fine_only)) {
            selected[kept++] = selected[index];
        }
    }
    if (kept == 0) {
        fprintf(stderr, "fuzz: WEIR_FUZZ_SCENARIO=%s names no scenario\n", list);
        exit(2);
    }
    return kept;
}

#endif
