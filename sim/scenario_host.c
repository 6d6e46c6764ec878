// Scenarios of hosts without workers: an event loop of their own drives the runtime.
#include "sim/host.h"
#include "sim/scenarios.h"

#define TRICK(name) (1u << SIM_TRICK_##name)
#define TRICKS (TRICK(KEYS) | TRICK(PARTS) | TRICK(SLOTS) | TRICK(FLUSH) | TRICK(CLOSE))
#define KINDS (((1u << WEIR_SIM_KINDS_COUNT) - 1) & ~(1u << WEIR_SIM_RESOURCE))

// Each of these was met by 20 or more of 2,000 seeds.
#define PROBE_SEEDS 2000
static const char *const host_probes[] = {
    "abandoned", "epoch-turned", "woken",      "close-deadline-hit", "disconnect",
    "row-full",  "resent",       "gap-record", "flush-timed-out",    NULL};

static void host_play(struct weir_sim *sim, uint32_t tricks)
{
    const struct sim_host_profile profile = {
        .kinds =
            1u << SIM_COLLECTOR_UNIX | 1u << SIM_COLLECTOR_TCP | 1u << SIM_COLLECTOR_UNIX_DATAGRAM,
        .fulls = 1u << WEIR_FULL_DROP_NEWEST | 1u << WEIR_FULL_DROP_OLDEST,
        .tricks = TRICKS,
        .tricks_always = tricks,
        .writers_max = 2,
        .producers_max = 3,
        .messages_max = 40,
        .gap_records = true,
        .collectors_max = 2,
        .no_workers = true,
    };
    struct sim_host_plan plan;
    sim_host_draw(sim, &profile, &plan);
    sim_host_play(sim, &plan);
}

static void host_turn(struct weir_sim *sim)
{
    host_play(sim, 0);
}

// All that wakes the loop is the descriptor: what it missed would stay undelivered.
static void host_backend(struct weir_sim *sim)
{
    host_play(sim, TRICK(BACKEND) | TRICK(PATIENCE));
}

static void host_name(struct weir_sim *sim)
{
    host_play(sim, TRICK(BACKEND) | TRICK(PATIENCE) | TRICK(LATE_NAME));
}

const struct weir_sim_scenario sim_scenarios_host[] = {
    {.name = "host-turn",
     .about = "a host that drives the runtime with weir_turn, others log",
     .run = host_turn,
     .kinds = KINDS,
     .probes = host_probes,
     .probe_seeds = PROBE_SEEDS},
    {.name = "host-backend",
     .about = "an event loop that only waits for weir_backend_fd, others log",
     .run = host_backend,
     .kinds = KINDS,
     .probes = host_probes,
     .probe_seeds = PROBE_SEEDS},
    {.name = "host-name",
     .about = "the same with names to look up, on a thread of their own",
     .run = host_name,
     .kinds = KINDS,
     .probes = host_probes,
     .probe_seeds = PROBE_SEEDS},
    {.name = NULL}};
