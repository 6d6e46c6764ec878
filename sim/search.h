// Exhaustive search: the path of answers a run takes, and the next path in depth-first order.
#ifndef WEIR_SIM_SEARCH_H
#define WEIR_SIM_SEARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sim_search_step {
    uint32_t value;
    uint32_t options;
};

struct sim_search {
    bool active;
    uint32_t deviations_max;
    uint32_t deviations; // steps of the path that are not 0
    struct sim_search_step *path;
    size_t path_count;
    size_t path_max;
    size_t position; // of the run under way
};

void sim_search_deinit(struct sim_search *search);
void sim_search_start(struct sim_search *search, uint32_t deviations_max);
// The next decision of the run: as the path has it, or 0 and the path grows.
uint32_t sim_search_answer(struct sim_search *search, uint32_t options);
// After a run. false: it was the last.
bool sim_search_next(struct sim_search *search);

#endif
