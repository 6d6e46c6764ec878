// Inputs of a fuzzer: records of deviations behind a header, and what they mean as a run.
//
// The format is told in input.c. Any bytes are a valid input; no bytes at all are a benign run.
#ifndef WEIR_SIM_INPUT_H
#define WEIR_SIM_INPUT_H

#include "sim/limits.h"
#include "weir_sim.h"

#define SIM_INPUT_RECORD 6u
#define SIM_INPUT_HEADER 8u

// Records one after the other.
struct sim_input_reader {
    const uint8_t *at;
    size_t left;                                               // records
    uint64_t following[SIM_THREADS_MAX][WEIR_SIM_KINDS_COUNT]; // the number after the last record's
};

// memory: borrows `bytes`. An unfinished record at the end is left out.
void sim_input_reader_begin(struct sim_input_reader *reader, const void *bytes, size_t bytes_count);
// The next deviation whose value is not 0; it is not reduced. returns  false: there is none.
bool sim_input_read(struct sim_input_reader *reader, struct weir_sim_deviation *deviation);

// All of the records' deviations, in their order; those of value 0 are left out.
//   returns  how many, at most deviations_max.
size_t sim_input_decode(const void *bytes, size_t bytes_count,
                        struct weir_sim_deviation *deviations, size_t deviations_max);
// The deviations as weir_sim_options.bytes. Long gaps and large values take several records. The
// deviations of one kind and actor must ascend, as in every record of a run; others are left out.
//   returns  the bytes it takes; only whole records within bytes_max are written.
size_t sim_input_encode(const struct weir_sim_deviation *deviations, size_t deviations_count,
                        void *bytes, size_t bytes_max);

struct sim_input_header {
    uint32_t scenario_id; // sim_input_scenario_id of its name
    uint32_t draws;       // seed of the workload's draws that no record answers; 0: the benign ones
};

uint32_t sim_input_scenario_id(const char *name);
// What is missing of a header is zero.
void sim_input_header_read(const void *bytes, size_t bytes_count, struct sim_input_header *header);
// memory: `bytes` holds SIM_INPUT_HEADER.
void sim_input_header_write(const struct sim_input_header *header, void *bytes);
// The index of the header's scenario; of an id that none has, some scenario. scenarios_count > 0.
size_t sim_input_scenario(const struct sim_input_header *header,
                          const struct weir_sim_scenario *scenarios, size_t scenarios_count);
// Sets seed and bytes of the options; borrows `bytes`, which must not be NULL.
void sim_input_options(const void *bytes, size_t bytes_count, struct weir_sim_options *options);

#endif
