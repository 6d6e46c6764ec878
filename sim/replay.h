// Replay: a list of deviations as the source of answers.
//
// Entries are chained per (kind, actor) in the order of their numbers, with a cursor at the next
// one due, so that an answer takes one look. AFL++'s bytes are such a list too (input.c).
#ifndef WEIR_SIM_REPLAY_H
#define WEIR_SIM_REPLAY_H

#include "sim/limits.h"
#include "weir_sim.h"

struct sim_replay_entry {
    struct weir_sim_deviation deviation;
    uint32_t given; // its place in the list as it was given
    uint32_t next;  // of the same kind and actor; index + 1, 0: none
    bool applied;
};

struct sim_replay {
    struct sim_replay_entry *entries;
    size_t entries_count;
    size_t entries_max;
    bool reduced;   // a value beyond the options becomes one of them: bytes
    uint32_t kinds; // a set: those that have entries
    uint32_t cursors[SIM_THREADS_MAX][WEIR_SIM_KINDS_COUNT]; // as `next`
};

void sim_replay_init(struct sim_replay *replay);
void sim_replay_deinit(struct sim_replay *replay);

// A new list, copied, in any order; of two for the same decision the first counts.
void sim_replay_begin(struct sim_replay *replay, const struct weir_sim_deviation *deviations,
                      size_t deviations_count);
// A list as weir_sim_options.bytes has it. An unfinished record at the end is left out.
void sim_replay_begin_bytes(struct sim_replay *replay, const void *bytes, size_t bytes_count);
// The numbers of one kind and actor come in ascending order.
uint32_t sim_replay_answer(struct sim_replay *replay, uint32_t kind, uint32_t actor,
                           uint32_t number, uint32_t options);
bool sim_replay_unused(const struct sim_replay *replay, struct weir_sim_deviation *deviation);

#endif
