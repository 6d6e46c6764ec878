// Edits of inputs of target sim: a list of deviations, and what a mutator does to it.
//
// Nothing here fails: what does not fit is left out. Equal random states give equal edits.
#ifndef WEIR_FUZZ_SIM_EDITS_H
#define WEIR_FUZZ_SIM_EDITS_H

#include "sim/input.h"
#include "sim/random.h"

#define SIM_LIST_MAX 4096u // deviations of a decoded input; what is beyond is dropped
#define SIM_PLACES_MAX 32768u

// One kind and actor of a scenario, and how many decisions it had at most.
struct sim_place {
    uint32_t scenario_id, kind, actor, count;
};

struct sim_list {
    struct sim_input_header header;
    struct weir_sim_deviation items[SIM_LIST_MAX];
    size_t count;
};

struct sim_editor {
    struct sim_random random;
    struct sim_place places[SIM_PLACES_MAX]; // of one scenario together
    size_t places_count;
    size_t first, end;     // of the list's scenario
    struct sim_list other; // what may be spliced in; may be empty
};

void sim_list_read(struct sim_list *list, const void *bytes, size_t count);
// Sorts the list. returns  how many bytes of at most count_max it took; whole records.
size_t sim_list_write(struct sim_list *list, uint8_t *bytes, size_t count_max);
void sim_list_remove(struct sim_list *list, size_t first, size_t count);

// Changes the list once, or a few times.
void sim_list_edit(struct sim_editor *editor, struct sim_list *list);

#endif
