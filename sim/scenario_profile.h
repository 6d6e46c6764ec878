// The words that profiles of sim/host.h are written in, and what makes scenarios of a list of them.
//
// A list is a macro `PROFILES(X)` of X(function, name, about, kinds, probes, weight, profile...):
// it is expanded once with PROFILE_RUN, for the functions, and once with PROFILE_ENTRY, inside of
// the table.
#ifndef WEIR_SIM_SCENARIO_PROFILE_H
#define WEIR_SIM_SCENARIO_PROFILE_H

#include "sim/host.h"
#include "sim/scenario_support.h"

#define UNIX (1u << SIM_COLLECTOR_UNIX)
#define TCP (1u << SIM_COLLECTOR_TCP)
#define DATAGRAMS (1u << SIM_COLLECTOR_UNIX_DATAGRAM | 1u << SIM_COLLECTOR_UDP)
#define RELP (1u << SIM_COLLECTOR_RELP)
#define NEWEST (1u << WEIR_FULL_DROP_NEWEST)
#define OLDEST (1u << WEIR_FULL_DROP_OLDEST)
#define BLOCK (1u << WEIR_FULL_BLOCK)
#define RETRY (1u << WEIR_REFUSED_RETRY)
#define DROP (1u << WEIR_REFUSED_DROP)
#define HABIT(name) (1u << SIM_HABIT_##name)
#define MANNER(name) (1u << SIM_MANNER_##name)
#define ALL_MANNERS ((1u << SIM_MANNERS_COUNT) - 1)
#define TRICK(name) (1u << SIM_TRICK_##name)
#define PLAIN_TRICKS (TRICK(KEYS) | TRICK(PARTS) | TRICK(NEWLINES) | TRICK(NONSENSE) | TRICK(FLUSH))

// Everything but the end of memory and descriptors, which has scenarios of its own.
#define KINDS (((1u << WEIR_SIM_KINDS_COUNT) - 1) & ~(1u << WEIR_SIM_RESOURCE))
// The runtime's alone, and no clock that leaps.
#define PLAIN_KINDS (SCENARIO_RUNTIME_KINDS & ~(1u << WEIR_SIM_TIME))

// Each probe was met by 20 or more of so many seeds.
#define PROBE_SEEDS 2000
#define PROBES(name, ...) static const char *const name##_probes[] = {__VA_ARGS__, NULL}

#define PROFILE_RUN(function, name_, about_, kinds_, probes_, weight_, ...)                        \
    static void function(struct weir_sim *sim)                                                     \
    {                                                                                              \
        static const struct sim_host_profile profile = {__VA_ARGS__};                              \
        struct sim_host_plan plan;                                                                 \
        sim_host_draw(sim, &profile, &plan);                                                       \
        sim_host_play(sim, &plan);                                                                 \
    }
#define PROFILE_ENTRY(function, name_, about_, kinds_, probes_, weight_, ...)                      \
    {.name = (name_),                                                                              \
     .about = (about_),                                                                            \
     .run = function,                                                                              \
     .kinds = (kinds_),                                                                            \
     .probes = (probes_),                                                                          \
     .probe_seeds = PROBE_SEEDS,                                                                   \
     .weight = (weight_)},

#endif
