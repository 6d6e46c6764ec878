// The documentation's worked example: one thread hands a struct over to another through a flag.
//
// Both versions pass every stress test on x86-64, which keeps stores in order anyway. By the rules
// of C11 the wrong one is a data race: who sees the flag need not see the parcel yet.
#include <stdatomic.h>

#include "sim/scenarios.h"

struct hand_over {
    struct {
        uint32_t width, height;
    } parcel;
    _Atomic bool ready;
};

static void send_right(void *argument)
{
    struct hand_over *it = argument;
    it->parcel.width = 3;
    it->parcel.height = 4;
    atomic_store_explicit(&it->ready, true, memory_order_release);
}

static void send_wrong(void *argument)
{
    struct hand_over *it = argument;
    it->parcel.width = 3;
    it->parcel.height = 4;
    atomic_store_explicit(&it->ready, true, memory_order_relaxed); // orders nothing
}

// The receiver is right in both: it looks once, and takes the parcel if it is there.
static void receive(struct weir_sim *sim, void (*send)(void *))
{
    struct hand_over it = {.ready = false};
    uint32_t sender = weir_sim_start(sim, send, &it);
    if (atomic_load_explicit(&it.ready, memory_order_acquire)) {
        weir_sim_check(sim, it.parcel.width == 3 && it.parcel.height == 4, "parcel-incomplete");
        weir_sim_sometimes(sim, "handed-over-at-the-first-look");
    }
    weir_sim_join(sim, sender);
}

static void hand_over_right(struct weir_sim *sim)
{
    receive(sim, send_right);
}

static void hand_over_wrong(struct weir_sim *sim)
{
    receive(sim, send_wrong);
}

// What may deviate: which thread runs, and which store a load sees.
#define KINDS (1u << WEIR_SIM_SWITCH | 1u << WEIR_SIM_STALE)

const struct weir_sim_scenario sim_scenarios_example[] = {
    {.name = "example-hand-over",
     .about = "a struct is handed over through a flag, released and acquired",
     .run = hand_over_right,
     .kinds = KINDS,
     .fine_only = true,
     .probes = (const char *const[]){"handed-over-at-the-first-look", NULL},
     .probe_seeds = 1000},
    {.name = "example-hand-over-wrong",
     .about = "the same, but the flag's store is relaxed: a data race",
     .run = hand_over_wrong,
     .kinds = KINDS,
     .fine_only = true,
     .expects = WEIR_SIM_RACE},
    {0},
};
