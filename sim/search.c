// Exhaustive search, depth first, bounded in the number of answers that are not 0.
#include "sim/search.h"

#include <stdlib.h>

#include "runtime/assert.h"

void sim_search_deinit(struct sim_search *search)
{
    free(search->path);
}

void sim_search_start(struct sim_search *search, uint32_t deviations_max)
{
    search->active = true;
    search->deviations_max = deviations_max;
    search->deviations = 0;
    search->path_count = 0;
    search->position = 0;
}

uint32_t sim_search_answer(struct sim_search *search, uint32_t options)
{
    if (search->position == search->path_count) {
        // Once the deviations are used up, nothing that follows can be raised: not kept.
        if (search->deviations == search->deviations_max) {
            return 0;
        }
        if (search->path_count == search->path_max) {
            search->path_max = search->path_max == 0 ? 1024 : 2 * search->path_max;
            search->path = realloc(search->path, search->path_max * sizeof(search->path[0]));
            weir_assert(search->path != NULL); // a shorter path would leave others out
        }
        search->path[search->path_count++] = (struct sim_search_step){0, options};
    }
    struct sim_search_step *step = &search->path[search->position++];
    weir_assert(step->options == options); // else the same answers led elsewhere
    return step->value;
}

bool sim_search_next(struct sim_search *search)
{
    search->position = 0;
    while (search->path_count > 0) {
        struct sim_search_step *last = &search->path[search->path_count - 1];
        uint32_t before = search->deviations - (last->value != 0);
        // One more deviation is always allowed here: else the step would not have been kept.
        if (last->value + 1 < last->options) {
            last->value++;
            search->deviations = before + 1;
            return true;
        }
        search->deviations = before;
        search->path_count--;
    }
    return false;
}
