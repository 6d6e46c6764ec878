// Replay: deviation lists, chained per kind and actor.
#include "sim/replay.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/assert.h"
#include "sim/input.h"

void sim_replay_init(struct sim_replay *replay)
{
    memset(replay, 0, sizeof(*replay));
}

void sim_replay_deinit(struct sim_replay *replay)
{
    free(replay->entries);
}

// The cursor an entry belongs to; NULL: there is no such kind or actor.
static uint32_t *cursor_of(struct sim_replay *replay, const struct sim_replay_entry *entry)
{
    const struct weir_sim_deviation *deviation = &entry->deviation;
    if (deviation->kind >= WEIR_SIM_KINDS_COUNT || deviation->actor >= SIM_THREADS_MAX) {
        return NULL;
    }
    return &replay->cursors[deviation->actor][deviation->kind];
}

static void replay_clear(struct sim_replay *replay)
{
    // Only what the last list set: the table is far larger than most lists.
    for (size_t index = 0; index < replay->entries_count; index++) {
        uint32_t *cursor = cursor_of(replay, &replay->entries[index]);
        if (cursor != NULL) {
            *cursor = 0;
        }
    }
    replay->entries_count = 0;
    replay->kinds = 0;
    replay->reduced = false;
}

static void replay_add(struct sim_replay *replay, const struct weir_sim_deviation *deviation,
                       size_t given)
{
    if (deviation->value == 0) {
        return; // what would be answered anyway
    }
    if (replay->entries_count == replay->entries_max) {
        replay->entries_max = replay->entries_max == 0 ? 256 : 2 * replay->entries_max;
        replay->entries =
            realloc(replay->entries, replay->entries_max * sizeof(replay->entries[0]));
        weir_assert(replay->entries != NULL); // half a list is another run
    }
    replay->entries[replay->entries_count++] = (struct sim_replay_entry){
        .deviation = *deviation,
        .given = (uint32_t)given,
    };
}

static int entries_compare(const void *one, const void *other)
{
    const struct sim_replay_entry *left = one;
    const struct sim_replay_entry *right = other;
    if (left->deviation.number != right->deviation.number) {
        return left->deviation.number < right->deviation.number ? -1 : 1;
    }
    return left->given < right->given ? -1 : 1;
}

// From the end, so that each chain begins at its first entry.
//   returns  false: numbers of one chain do not ascend.
static bool chains_make(struct sim_replay *replay)
{
    bool ascending = true;
    for (size_t index = replay->entries_count; index-- > 0;) {
        struct sim_replay_entry *entry = &replay->entries[index];
        uint32_t *cursor = cursor_of(replay, entry);
        if (cursor == NULL) {
            continue;
        }
        entry->next = *cursor;
        *cursor = (uint32_t)index + 1;
        replay->kinds |= 1u << entry->deviation.kind;
        ascending &= entry->next == 0 ||
                     replay->entries[entry->next - 1].deviation.number >= entry->deviation.number;
    }
    return ascending;
}

static void replay_link(struct sim_replay *replay)
{
    if (chains_make(replay)) {
        return;
    }
    // A recorded list never comes here, one from elsewhere may.
    qsort(replay->entries, replay->entries_count, sizeof(replay->entries[0]), entries_compare);
    memset(replay->cursors, 0, sizeof(replay->cursors));
    bool ascending = chains_make(replay);
    weir_assert(ascending);
}

void sim_replay_begin(struct sim_replay *replay, const struct weir_sim_deviation *deviations,
                      size_t deviations_count)
{
    replay_clear(replay);
    for (size_t index = 0; index < deviations_count; index++) {
        replay_add(replay, &deviations[index], index);
    }
    replay_link(replay);
}

void sim_replay_begin_bytes(struct sim_replay *replay, const void *bytes, size_t bytes_count)
{
    struct sim_input_reader reader;
    struct weir_sim_deviation deviation;
    replay_clear(replay);
    replay->reduced = true;
    sim_input_reader_begin(&reader, bytes, bytes_count);
    for (size_t given = 0; sim_input_read(&reader, &deviation); given++) {
        replay_add(replay, &deviation, given);
    }
    replay_link(replay);
}

uint32_t sim_replay_answer(struct sim_replay *replay, uint32_t kind, uint32_t actor,
                           uint32_t number, uint32_t options)
{
    uint32_t *cursor = &replay->cursors[actor][kind];
    while (*cursor != 0) {
        struct sim_replay_entry *entry = &replay->entries[*cursor - 1];
        if (entry->deviation.number > number) {
            return 0;
        }
        *cursor = entry->next;
        if (entry->deviation.number == number) {
            uint32_t value = entry->deviation.value; // not 0
            uint32_t answer = replay->reduced ? 1 + (value - 1) % (options - 1) : value;
            entry->applied = answer < options;
            return entry->applied ? answer : 0;
        }
    }
    return 0;
}

bool sim_replay_unused(const struct sim_replay *replay, struct weir_sim_deviation *deviation)
{
    const struct sim_replay_entry *first = NULL;
    for (size_t index = 0; index < replay->entries_count; index++) {
        const struct sim_replay_entry *entry = &replay->entries[index];
        if (!entry->applied && (first == NULL || entry->given < first->given)) {
            first = entry;
        }
    }
    if (first != NULL) {
        *deviation = first->deviation;
    }
    return first != NULL;
}
