// Seeds of target sim: for each scenario the benign run and some of the simulator's own, as inputs.
//
//   seeds_sim FOLDER PROFILE RUNS KEPT
//
// Of RUNS runs by seed of each scenario that WEIR_FUZZ_SCENARIO names, the first KEPT that pass and
// are short become files FOLDER/SCENARIO-SEED; each is run as an input and must be the same run.
// What decisions those runs met goes into PROFILE, for the mutator: a line "SCENARIO-ID KIND ACTOR
// COUNT" for each kind and actor, the most in any of the runs.
#include "fuzz/fuzz.h"
#include "fuzz/sim_scenarios.h"
#include "sim/input.h"
#include "sim/sim.h"

#include <inttypes.h>

#define INPUT_BYTES_MAX 6144u
#define POISON 0xa5

struct maker {
    struct weir_sim *sim;
    const char *folder;
    FILE *profile;
    uint32_t runs, kept;
    uint64_t inputs, bytes;
    uint32_t met[SIM_THREADS_MAX][WEIR_SIM_KINDS_COUNT]; // by the scenario under way
};

static void file_make(struct maker *maker, const char *name, const uint8_t *bytes, size_t count)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", maker->folder, name);
    FILE *file = fopen(path, "wbe");
    if (file == NULL || fwrite(bytes, 1, count, file) != count || fclose(file) != 0) {
        perror(path);
        exit(2);
    }
    maker->inputs++;
    maker->bytes += count;
}

static void decisions_note(struct maker *maker)
{
    for (uint32_t actor = 0; actor < SIM_THREADS_MAX; actor++) {
        for (uint32_t kind = 0; kind < WEIR_SIM_KINDS_COUNT; kind++) {
            uint32_t number = sim_choices_number(maker->sim->choices, kind, actor);
            uint32_t *most = &maker->met[actor][kind];
            *most = number > *most ? number : *most;
        }
    }
}

// The run as an input, which must come out the same. returns  whether it is short enough to keep.
static bool input_make(struct maker *maker, const struct weir_sim_scenario *scenario,
                       const struct weir_sim_result *result, uint64_t seed)
{
    const struct sim_input_header header = {sim_input_scenario_id(scenario->name), 0};
    uint8_t bytes[INPUT_BYTES_MAX];
    char name[128];
    size_t records = sim_input_encode(result->deviations, result->deviations_count,
                                      bytes + SIM_INPUT_HEADER, sizeof bytes - SIM_INPUT_HEADER);
    if (SIM_INPUT_HEADER + records > sizeof bytes) {
        return false;
    }
    struct weir_sim_options options = {.poison = POISON};
    struct weir_sim_result again;
    uint64_t hash = result->hash;
    sim_input_header_write(&header, bytes);
    sim_input_options(bytes, SIM_INPUT_HEADER + records, &options);
    weir_sim_run(maker->sim, scenario, &options, &again);
    fuzz_require(again.hash == hash);
    snprintf(name, sizeof name, "%s-%" PRIu64, scenario->name, seed);
    file_make(maker, name, bytes, SIM_INPUT_HEADER + records);
    return true;
}

static void scenario_make(struct maker *maker, const struct weir_sim_scenario *scenario)
{
    const struct sim_input_header header = {sim_input_scenario_id(scenario->name), 0};
    uint8_t benign[SIM_INPUT_HEADER];
    char name[128];
    uint32_t kept = 0;
    sim_input_header_write(&header, benign);
    snprintf(name, sizeof name, "%s-benign", scenario->name);
    file_make(maker, name, benign, sizeof benign);
    memset(maker->met, 0, sizeof maker->met);
    for (uint64_t seed = 0; seed < maker->runs; seed++) {
        const struct weir_sim_options options = {.seed = seed, .poison = POISON};
        struct weir_sim_result result;
        weir_sim_run(maker->sim, scenario, &options, &result);
        decisions_note(maker);
        if (result.verdict == WEIR_SIM_PASS && kept < maker->kept) {
            kept += input_make(maker, scenario, &result, seed);
        }
    }
    for (uint32_t actor = 0; actor < SIM_THREADS_MAX; actor++) {
        for (uint32_t kind = 0; kind < WEIR_SIM_KINDS_COUNT; kind++) {
            if (maker->met[actor][kind] > 0 && (scenario->kinds == 0 || kind == WEIR_SIM_WORK ||
                                                (scenario->kinds >> kind & 1) != 0)) {
                fprintf(maker->profile, "%" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu32 "\n",
                        header.scenario_id, kind, actor, maker->met[actor][kind]);
            }
        }
    }
}

int main(int argc, char **argv)
{
    static struct weir_sim_scenario scenarios[SIM_SCENARIOS_MAX];
    static struct maker maker;
    if (argc != 5) {
        fputs("usage: seeds_sim FOLDER PROFILE RUNS KEPT\n", stderr);
        return 2;
    }
    size_t count = fuzz_scenarios_select(scenarios);
    maker.folder = argv[1];
    maker.profile = fopen(argv[2], "we");
    maker.runs = (uint32_t)strtoul(argv[3], NULL, 10);
    maker.kept = (uint32_t)strtoul(argv[4], NULL, 10);
    maker.sim = weir_sim_create();
    if (maker.profile == NULL || maker.sim == NULL) {
        perror(argv[2]);
        return 2;
    }
    for (size_t index = 0; index < count; index++) {
        scenario_make(&maker, &scenarios[index]);
    }
    weir_sim_destroy(maker.sim);
    if (fclose(maker.profile) != 0) {
        perror(argv[2]);
        return 2;
    }
    printf("%zu scenarios, %" PRIu64 " inputs of %" PRIu64 " bytes\n", count, maker.inputs,
           maker.bytes);
    return 0;
}
