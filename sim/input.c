// Inputs: what a fuzzer mutates as a run, records of deviations, and the way back from a run.
//
// A record has six bytes, {kind, actor, gap (2, little endian), value (2)}. It answers the decision
// of that kind and actor that has `gap` others of the same two between it and the one that the
// previous record for them answered. So a record that is inserted, removed or moved changes the
// meaning of few others, and no bytes are wrong: kinds, actors and values are reduced to what there
// is. With the kind's highest bit set there is no gap, and its bytes are the upper half of a value
// of 32.
//
// An input is such records behind a header: which scenario, and the seed of its draws.
#include "sim/input.h"

#include <string.h>

#define RECORD_WIDE 128u
#define RECORD_HALF 65535u // the most that two bytes say

// ---- Records ----

static uint32_t half_read(const uint8_t *at)
{
    return at[0] | (uint32_t)at[1] << 8;
}

static void half_write(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}

// The next record's meaning. returns  false: its number is beyond all numbers.
static bool record_read(struct sim_input_reader *reader, struct weir_sim_deviation *deviation)
{
    const uint8_t *record = reader->at;
    bool wide = (record[0] & RECORD_WIDE) != 0;
    uint32_t half = half_read(record + 2);
    deviation->kind = (record[0] & ~RECORD_WIDE) % WEIR_SIM_KINDS_COUNT;
    deviation->actor = record[1] % SIM_THREADS_MAX;
    deviation->value = half_read(record + 4) | (wide ? half << 16 : 0);
    uint64_t *following = &reader->following[deviation->actor][deviation->kind];
    uint64_t number = *following + (wide ? 0 : half);
    deviation->number = (uint32_t)number;
    *following = number + 1;
    reader->at += SIM_INPUT_RECORD;
    reader->left--;
    return number <= UINT32_MAX;
}

void sim_input_reader_begin(struct sim_input_reader *reader, const void *bytes, size_t bytes_count)
{
    memset(reader, 0, sizeof *reader);
    reader->at = bytes;
    reader->left = bytes_count / SIM_INPUT_RECORD;
}

bool sim_input_read(struct sim_input_reader *reader, struct weir_sim_deviation *deviation)
{
    while (reader->left > 0) {
        if (record_read(reader, deviation) && deviation->value != 0) {
            return true;
        }
    }
    return false;
}

size_t sim_input_decode(const void *bytes, size_t bytes_count,
                        struct weir_sim_deviation *deviations, size_t deviations_max)
{
    struct sim_input_reader reader;
    size_t count = 0;
    sim_input_reader_begin(&reader, bytes, bytes_count);
    while (count < deviations_max && sim_input_read(&reader, &deviations[count])) {
        count++;
    }
    return count;
}

struct sink {
    uint8_t *bytes;
    size_t bytes_max;
    size_t bytes_count;
};

static void record_write(struct sink *sink, uint32_t kind, uint32_t actor, uint32_t gap,
                         uint32_t value)
{
    if (sink->bytes_count + SIM_INPUT_RECORD <= sink->bytes_max) {
        uint8_t *record = sink->bytes + sink->bytes_count;
        record[0] = (uint8_t)kind;
        record[1] = (uint8_t)actor;
        half_write(record + 2, gap);
        half_write(record + 4, value & RECORD_HALF);
    }
    sink->bytes_count += SIM_INPUT_RECORD;
}

static void deviation_write(struct sink *sink, const struct weir_sim_deviation *deviation,
                            uint64_t *following)
{
    bool wide = deviation->value > RECORD_HALF;
    // A record of value 0 answers as nothing would and so only moves on. A wide one has no gap.
    while (deviation->number - *following > (wide ? 0 : RECORD_HALF)) {
        uint64_t ahead = deviation->number - *following - 1;
        uint32_t gap = ahead < RECORD_HALF ? (uint32_t)ahead : RECORD_HALF;
        record_write(sink, deviation->kind, deviation->actor, gap, 0);
        *following += (uint64_t)gap + 1;
    }
    if (wide) {
        record_write(sink, deviation->kind | RECORD_WIDE, deviation->actor, deviation->value >> 16,
                     deviation->value);
    } else {
        record_write(sink, deviation->kind, deviation->actor,
                     (uint32_t)(deviation->number - *following), deviation->value);
    }
    *following = (uint64_t)deviation->number + 1;
}

size_t sim_input_encode(const struct weir_sim_deviation *deviations, size_t deviations_count,
                        void *bytes, size_t bytes_max)
{
    struct sink sink = {.bytes = bytes, .bytes_max = bytes_max};
    uint64_t following[SIM_THREADS_MAX][WEIR_SIM_KINDS_COUNT] = {{0}};
    for (size_t index = 0; index < deviations_count; index++) {
        const struct weir_sim_deviation *deviation = &deviations[index];
        if (deviation->kind < WEIR_SIM_KINDS_COUNT && deviation->actor < SIM_THREADS_MAX &&
            deviation->number >= following[deviation->actor][deviation->kind]) {
            deviation_write(&sink, deviation, &following[deviation->actor][deviation->kind]);
        }
    }
    return sink.bytes_count;
}

// ---- Inputs ----

uint32_t sim_input_scenario_id(const char *name)
{
    uint32_t id = UINT32_C(2166136261);
    for (; *name != '\0'; name++) {
        id = (id ^ (uint8_t)*name) * UINT32_C(16777619);
    }
    return id;
}

void sim_input_header_read(const void *bytes, size_t bytes_count, struct sim_input_header *header)
{
    uint8_t whole[SIM_INPUT_HEADER] = {0};
    memcpy(whole, bytes, bytes_count < sizeof whole ? bytes_count : sizeof whole);
    header->scenario_id = half_read(whole) | half_read(whole + 2) << 16;
    header->draws = half_read(whole + 4) | half_read(whole + 6) << 16;
}

void sim_input_header_write(const struct sim_input_header *header, void *bytes)
{
    uint8_t *whole = bytes;
    half_write(whole, header->scenario_id);
    half_write(whole + 2, header->scenario_id >> 16);
    half_write(whole + 4, header->draws);
    half_write(whole + 6, header->draws >> 16);
}

size_t sim_input_scenario(const struct sim_input_header *header,
                          const struct weir_sim_scenario *scenarios, size_t scenarios_count)
{
    for (size_t index = 0; index < scenarios_count; index++) {
        if (sim_input_scenario_id(scenarios[index].name) == header->scenario_id) {
            return index;
        }
    }
    return header->scenario_id % scenarios_count;
}

void sim_input_options(const void *bytes, size_t bytes_count, struct weir_sim_options *options)
{
    struct sim_input_header header;
    size_t skipped = bytes_count < SIM_INPUT_HEADER ? bytes_count : SIM_INPUT_HEADER;
    sim_input_header_read(bytes, bytes_count, &header);
    options->seed = header.draws;
    options->bytes = (const uint8_t *)bytes + skipped;
    options->bytes_count = bytes_count - skipped;
}
