// Bytes as a run: what a fuzzer mutates, six to a record, and the way back from deviations.
//
// A record is {kind, actor, gap (2, little endian), value (2)}. It answers the decision of that
// kind and actor that has `gap` others of the same two between it and the one that the previous
// record for them answered. So a record that is inserted, removed or moved changes the meaning of
// few others, and no bytes are wrong: kinds, actors and values are taken modulo what there is.
#include "sim/choice.h"
#include "sim/replay.h"

#define RECORD_BYTES 6
#define RECORD_GAP_MAX 65535u
#define RECORD_VALUE_MAX 65535u

void sim_replay_begin_bytes(struct sim_replay *replay, const void *bytes, size_t bytes_count)
{
    sim_replay_clear(replay);
    replay->reduced = true;
    uint64_t following[SIM_THREADS_MAX][WEIR_SIM_KINDS_COUNT] = {{0}};
    const uint8_t *record = bytes;
    for (size_t index = 0; index < bytes_count / RECORD_BYTES; index++, record += RECORD_BYTES) {
        uint32_t kind = record[0] % WEIR_SIM_KINDS_COUNT;
        uint32_t actor = record[1] % SIM_THREADS_MAX;
        uint64_t number = following[actor][kind] + record[2] + ((uint32_t)record[3] << 8);
        following[actor][kind] = number + 1;
        if (number <= UINT32_MAX) {
            struct weir_sim_deviation deviation = {
                .kind = kind,
                .actor = actor,
                .number = (uint32_t)number,
                .value = record[4] + ((uint32_t)record[5] << 8),
            };
            sim_replay_add(replay, &deviation, index);
        }
    }
    sim_replay_link(replay);
}

struct sink {
    uint8_t *bytes;
    size_t bytes_max;
    size_t bytes_count;
};

static void record_write(struct sink *sink, const struct weir_sim_deviation *deviation,
                         uint32_t gap, uint32_t value)
{
    if (sink->bytes_count + RECORD_BYTES <= sink->bytes_max) {
        uint8_t *record = sink->bytes + sink->bytes_count;
        record[0] = (uint8_t)deviation->kind;
        record[1] = (uint8_t)deviation->actor;
        record[2] = (uint8_t)gap;
        record[3] = (uint8_t)(gap >> 8);
        record[4] = (uint8_t)value;
        record[5] = (uint8_t)(value >> 8);
    }
    sink->bytes_count += RECORD_BYTES;
}

size_t sim_choices_encode(const struct weir_sim_deviation *deviations, size_t deviations_count,
                          void *bytes, size_t bytes_max)
{
    struct sink sink = {.bytes = bytes, .bytes_max = bytes_max};
    uint64_t following[SIM_THREADS_MAX][WEIR_SIM_KINDS_COUNT] = {{0}};
    for (size_t index = 0; index < deviations_count; index++) {
        const struct weir_sim_deviation *deviation = &deviations[index];
        if (deviation->kind >= WEIR_SIM_KINDS_COUNT || deviation->actor >= SIM_THREADS_MAX ||
            deviation->number < following[deviation->actor][deviation->kind]) {
            continue;
        }
        uint64_t *next = &following[deviation->actor][deviation->kind];
        // A record of value 0 answers as nothing would and so only moves on.
        while (deviation->number - *next > RECORD_GAP_MAX) {
            record_write(&sink, deviation, RECORD_GAP_MAX, 0);
            *next += RECORD_GAP_MAX + 1;
        }
        uint32_t value = deviation->value;
        record_write(&sink, deviation, (uint32_t)(deviation->number - *next),
                     value < RECORD_VALUE_MAX ? value : RECORD_VALUE_MAX);
        *next = (uint64_t)deviation->number + 1;
    }
    return sink.bytes_count;
}
