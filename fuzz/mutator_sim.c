// Mutator of target sim, for AFL++: inserts, removes, moves and changes records, and trims by them.
//
// AFL++'s own mutations know bytes; nearly all of what they make is a record that no decision ever
// asks for. Here an input is decoded to deviations with absolute numbers, edited, and encoded
// again. Where decisions are is known from WEIR_FUZZ_PROFILE, a file that seeds_sim writes. The
// functions are those of AFL++ 4 (custom_mutators.md); they call nothing of it.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "fuzz/sim_edits.h"
#include "sim/limits.h"

// Runs made of one input before it is another's turn. By AFL++'s own measure it would be thousands,
// of a scenario that is quicker than most.
#define TURN_RUNS 64u
#define TRIALS_MAX 24u // of trimming one input: runs that find nothing

// Scenarios get equal shares of the time, up to so much: one with many inputs or long runs would
// otherwise leave little to the others.
#define SHARE_SLACK_NS UINT64_C(50000000)
#define SHARES_MAX 512u

struct share {
    uint32_t scenario_id;
    uint64_t spent_ns;
};

struct mutator {
    struct share shares[SHARES_MAX];
    size_t shares_count;
    struct share *current; // of the input that is being fuzzed, since
    uint64_t since_ns, spent_ns;
    struct sim_editor editor;
    struct sim_list list;
    struct sim_list whole; // being trimmed
    size_t chunk, at;
    uint32_t trials;
    uint8_t *out;
    size_t out_bytes;
};

// AFL++'s side of it. No header of its own is needed: it looks these names up.
void *afl_custom_init(void *afl, unsigned int seed);
unsigned int afl_custom_fuzz_count(void *data, const unsigned char *bytes, size_t count);
size_t afl_custom_fuzz(void *data, uint8_t *bytes, size_t count, uint8_t **out, uint8_t *add,
                       size_t add_count, size_t count_max);
unsigned char afl_custom_queue_get(void *data, const unsigned char *path);
int afl_custom_init_trim(void *data, uint8_t *bytes, size_t count);
size_t afl_custom_trim(void *data, uint8_t **out);
int afl_custom_post_trim(void *data, unsigned char success);
void afl_custom_deinit(void *data);

// ---- What AFL++ calls ----

static void profile_read(struct mutator *mutator, const char *path)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        perror(path);
        exit(2); // without it nothing would be found, and nobody know why
    }
    struct sim_editor *editor = &mutator->editor;
    struct sim_place place;
    while (editor->places_count < SIM_PLACES_MAX &&
           fscanf(file, "%u %u %u %u", &place.scenario_id, &place.kind, &place.actor,
                  &place.count) == 4) {
        if (place.kind < WEIR_SIM_KINDS_COUNT && place.actor < SIM_THREADS_MAX) {
            editor->places[editor->places_count++] = place;
        }
    }
    (void)fclose(file);
}

void *afl_custom_init(void *afl, unsigned int seed)
{
    (void)afl;
    const char *path = getenv("WEIR_FUZZ_PROFILE");
    struct mutator *mutator = calloc(1, sizeof *mutator);
    if (mutator == NULL) {
        return NULL;
    }
    mutator->editor.random.state = seed;
    mutator->out_bytes = SIM_INPUT_HEADER + (size_t)2 * SIM_LIST_MAX * SIM_INPUT_RECORD;
    mutator->out = malloc(mutator->out_bytes);
    if (mutator->out == NULL) {
        free(mutator);
        return NULL;
    }
    if (path != NULL) {
        profile_read(mutator, path);
    }
    return mutator;
}

unsigned int afl_custom_fuzz_count(void *data, const unsigned char *bytes, size_t count)
{
    (void)data;
    (void)bytes;
    (void)count;
    return TURN_RUNS;
}

size_t afl_custom_fuzz(void *data, uint8_t *bytes, size_t count, uint8_t **out, uint8_t *add,
                       size_t add_count, size_t count_max)
{
    struct mutator *mutator = data;
    sim_list_read(&mutator->list, bytes, count);
    mutator->editor.other.count = 0;
    if (add != NULL) {
        sim_list_read(&mutator->editor.other, add, add_count);
    }
    sim_list_edit(&mutator->editor, &mutator->list);
    *out = mutator->out;
    return sim_list_write(&mutator->list, mutator->out,
                          count_max < mutator->out_bytes ? count_max : mutator->out_bytes);
}

// ---- Shares ----

static struct share *share_of(struct mutator *mutator, uint32_t scenario_id)
{
    for (size_t index = 0; index < mutator->shares_count; index++) {
        if (mutator->shares[index].scenario_id == scenario_id) {
            return &mutator->shares[index];
        }
    }
    if (mutator->shares_count == SHARES_MAX) {
        return &mutator->shares[SHARES_MAX - 1];
    }
    struct share *share = &mutator->shares[mutator->shares_count++];
    *share = (struct share){.scenario_id = scenario_id};
    return share;
}

static struct sim_input_header file_header(const char *path)
{
    uint8_t bytes[SIM_INPUT_HEADER];
    struct sim_input_header header;
    FILE *file = fopen(path, "rbe");
    size_t count = file == NULL ? 0 : fread(bytes, 1, sizeof bytes, file);
    if (file != NULL) {
        (void)fclose(file);
    }
    sim_input_header_read(bytes, count, &header);
    return header;
}

// Whether this input is fuzzed now: its scenario has had less than the others, or hardly more.
unsigned char afl_custom_queue_get(void *data, const unsigned char *path)
{
    struct mutator *mutator = data;
    struct timespec clock;
    (void)clock_gettime(CLOCK_MONOTONIC, &clock);
    uint64_t now_ns = (uint64_t)clock.tv_sec * UINT64_C(1000000000) + (uint64_t)clock.tv_nsec;
    if (mutator->current != NULL) {
        mutator->current->spent_ns += now_ns - mutator->since_ns;
        mutator->spent_ns += now_ns - mutator->since_ns;
    }
    struct share *share = share_of(mutator, file_header((const char *)path).scenario_id);
    bool due = share->spent_ns <= mutator->spent_ns / mutator->shares_count + SHARE_SLACK_NS;
    mutator->current = due ? share : NULL;
    mutator->since_ns = now_ns;
    return due;
}

// ---- Trimming: pieces are left out, from halves down to single records ----

int afl_custom_init_trim(void *data, uint8_t *bytes, size_t count)
{
    struct mutator *mutator = data;
    sim_list_read(&mutator->whole, bytes, count);
    mutator->chunk = (mutator->whole.count + 1) / 2;
    mutator->at = 0;
    mutator->trials = 0;
    return mutator->whole.count > 0 ? 1 : 0;
}

size_t afl_custom_trim(void *data, uint8_t **out)
{
    struct mutator *mutator = data;
    mutator->list = mutator->whole;
    size_t left = mutator->list.count - mutator->at;
    sim_list_remove(&mutator->list, mutator->at, left < mutator->chunk ? left : mutator->chunk);
    *out = mutator->out;
    return sim_list_write(&mutator->list, mutator->out, mutator->out_bytes);
}

// returns  0: there is more to try; 1: done.
int afl_custom_post_trim(void *data, unsigned char success)
{
    struct mutator *mutator = data;
    if (success) {
        mutator->whole = mutator->list;
    } else {
        mutator->at += mutator->chunk;
    }
    if (mutator->at >= mutator->whole.count) {
        mutator->at = 0;
        mutator->chunk = mutator->chunk > 1 ? (mutator->chunk + 1) / 2 : 0;
    }
    return mutator->chunk == 0 || mutator->whole.count == 0 || ++mutator->trials >= TRIALS_MAX;
}

void afl_custom_deinit(void *data)
{
    struct mutator *mutator = data;
    free(mutator->out);
    free(mutator);
}
