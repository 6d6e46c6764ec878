// The simulator's rooms, and the one run that is under way.
#ifndef WEIR_SIM_SIM_H
#define WEIR_SIM_SIM_H

#include "sim/arena.h"
#include "sim/choice.h"
#include "sim/file.h"
#include "sim/memory.h"
#include "sim/net.h"
#include "sim/thread.h"
#include "sim/trace.h"
#include "sim/world.h"
#include "weir_sim.h"

struct sim_probe {
    const char *name;
    uint64_t met;
};

struct weir_sim {
    struct sim_choices *choices;
    struct sim_trace *trace;
    struct sim_arena *arena;
    struct sim_memory *memory;
    struct sim_threads *threads;
    struct sim_files *files;
    struct sim_net *net;
    struct sim_world *world;
    const struct weir_sim_scenario *scenario;
    struct weir_sim_result *result;
    uint64_t steps_max, steps_limit; // a long virtual time raises the second: see turn.c
    uint8_t poison;
    struct sim_probe probes[SIM_PROBES_MAX];
    uint32_t probes_count;
    char draws[1024]; // " name=value" of this run's draws
    struct sim_wire *wire; // of sim_wire_open, in this run
    // If not NULL, told of pairs that tell runs apart, for a fuzzer's map. The first is a code
    // position, of a store or of a thread's last atomic operation, the second: the load that read
    // the store; with SIM_OBSERVED_SWITCH, that of the thread that was switched to instead; with
    // SIM_OBSERVED_FAULT, kind << 16 and the deviation's value. Must decide nothing.
    void (*observe)(uint32_t first, uint32_t second);
};

#define SIM_OBSERVED_SWITCH (UINT32_C(1) << 31)
#define SIM_OBSERVED_FAULT (UINT32_C(1) << 30)

// The simulator whose run is under way, or NULL. A global, because neither the compiler's calls
// into tsan.c nor a failed assertion bring a context along. Set only while a fiber may run.
extern struct weir_sim *sim_current;

// ---- Short forms ----

static inline uint32_t sim_actor(const struct weir_sim *sim)
{
    return sim_thread_current(sim->threads);
}

static inline void sim_observe(struct weir_sim *sim, uint32_t first, uint32_t second)
{
    if (__builtin_expect(sim->observe != NULL, 0)) {
        sim->observe(first, second);
    }
}

// A decision by the running thread. Deviations are events.
uint32_t sim_decide(struct weir_sim *sim, enum weir_sim_kind kind, uint32_t options);

// An event of the running thread, now.
static inline void sim_event(struct weir_sim *sim, enum sim_event_kind kind, uint32_t object,
                             uint64_t a, uint64_t b, const void *where)
{
    sim_trace_event(sim->trace, kind, sim_actor(sim), sim_threads_now(sim->threads), object, a, b,
                    where);
}

// Whether a fault of this kind strikes the call under way: 0, or 1 to faults_count. Only in process
// 0, never once healed.
uint32_t sim_fault(struct weir_sim *sim, enum weir_sim_kind kind, uint32_t faults_count);

// ---- The last run, for reports ----

// One line: what the seed drew (strategy, rates), then the scenario's draws. text_bytes > 0.
void sim_run_describe(const struct weir_sim *sim, char *text, size_t text_bytes);
void sim_draw_note(struct weir_sim *sim, const char *name, uint32_t value);

#endif
