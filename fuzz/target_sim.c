// Fuzz target sim: the bytes are a run of the simulator, its schedule, stale reads and faults.
//
// The format is that of sim/input.c: a header that names the scenario, then records of deviations
// from the benign run. No bytes at all are a benign run. A verdict other than pass is printed, and
// ends the program; `weir-sim convert` makes a replay file of the input that led to it.
//
// Beside the edges of the code under test AFL++ is shown what they cannot tell: which store a load
// read, from where to where a thread was switched away from, and which fault struck after which
// operation. These pairs have a part of the map of their own, told apart by scenario.
#include "fuzz/fuzz.h"
#include "fuzz/sim_scenarios.h"
#include "sim/input.h"
#include "sim/sim.h"

// A run that takes more preemption points is given up: nearly all that do are just long, and long
// runs find no more than short ones. Of inputs that lead there one in so many is run again up to
// the scenario's own bound, beyond which it is a livelock.
#define STEPS_MAX 20000
#define LONG_EVERY 16u
#define POISON 0xa5
#define PAIRS_COUNT 131072u // a power of two

// AFL++'s map, where there is one: it gives each entry of this section an index into the map.
extern unsigned char *__afl_area_ptr __attribute__((weak));
static uint32_t pairs[PAIRS_COUNT] __attribute__((section("__sancov_guards"), used));

static struct weir_sim *sim;
static struct weir_sim_scenario scenarios[SIM_SCENARIOS_MAX];
static size_t scenarios_count;
static uint32_t scenario_id;

// That a pair was met counts, not how often: runs differ in that all the time.
static void pair_note(uint32_t first, uint32_t second)
{
    uint64_t mixed = ((uint64_t)first << 32 | second) ^ (uint64_t)scenario_id << 21;
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    __afl_area_ptr[pairs[(mixed >> 31) & (PAIRS_COUNT - 1)]] = 1;
}

void fuzz_begin(void)
{
    scenarios_count = fuzz_scenarios_select(scenarios);
    sim = weir_sim_create();
    fuzz_require(sim != NULL);
    sim->observe = &__afl_area_ptr != NULL ? pair_note : NULL;
}

static _Noreturn void verdict_fail(const struct weir_sim_scenario *scenario,
                                   const struct weir_sim_result *result)
{
    fprintf(stderr, "fuzz: %s: verdict %d: %s: %s\n", scenario->name, (int)result->verdict,
            result->name, result->message);
    abort();
}

void fuzz_one(const unsigned char *bytes, size_t count)
{
    struct sim_input_header header;
    struct weir_sim_options options = {.poison = POISON, .steps_max = STEPS_MAX};
    struct weir_sim_result result;
    sim_input_header_read(bytes, count, &header);
    sim_input_options(bytes, count, &options);
    const struct weir_sim_scenario *scenario =
        &scenarios[sim_input_scenario(&header, scenarios, scenarios_count)];
    scenario_id = sim_input_scenario_id(scenario->name);
    weir_sim_run(sim, scenario, &options, &result);
    bool longer = strcmp(result.name, "too-many-steps") == 0;
    if (longer && result.hash % LONG_EVERY == 0) {
        options.steps_max = 0;
        weir_sim_run(sim, scenario, &options, &result);
        longer = false;
    }
    if (result.verdict != WEIR_SIM_PASS && !longer) {
        verdict_fail(scenario, &result);
    }
}
