// Scenarios of failover: lists of endpoints that come and go, and names that move.
//
// Each is a profile of sim/host.h. Where levels are drawn the host also asks, once all is well,
// that every writer comes back to its first choice, and stays there.
#include "sim/host.h"
#include "sim/scenario_support.h"
#include "sim/scenarios.h"

#define UNIX (1u << SIM_COLLECTOR_UNIX)
#define TCP (1u << SIM_COLLECTOR_TCP)
#define RELP (1u << SIM_COLLECTOR_RELP)
#define NEWEST (1u << WEIR_FULL_DROP_NEWEST)
#define OLDEST (1u << WEIR_FULL_DROP_OLDEST)
#define BLOCK (1u << WEIR_FULL_BLOCK)
#define RETRY (1u << WEIR_REFUSED_RETRY)
#define DROP (1u << WEIR_REFUSED_DROP)
#define TRICK(name) (1u << SIM_TRICK_##name)
#define ALL_MANNERS ((1u << SIM_MANNERS_COUNT) - 1)
#define PLAIN_TRICKS                                                                               \
    (TRICK(KEYS) | TRICK(PARTS) | TRICK(NEWLINES) | TRICK(NONSENSE) | TRICK(FLUSH) | TRICK(SLOTS))
#define KINDS (((1u << WEIR_SIM_KINDS_COUNT) - 1) & ~(1u << WEIR_SIM_RESOURCE))
#define PLAIN_KINDS (SCENARIO_RUNTIME_KINDS & ~(1u << WEIR_SIM_TIME))

#define PROBE_SEEDS 2000
#define PROBES(name, ...) static const char *const name##_probes[] = {__VA_ARGS__, NULL}
PROBES(plain, "woken", "row-full");
PROBES(peer, "failed-over", "failed-back", "resent", "read-twice-after-reconnect", "disconnect",
       "epoch-turned");
PROBES(ack, "failed-over", "failed-back", "resent", "disconnect", "refused", "protocol-violated");
PROBES(outage, "failed-over", "failed-back", "resent", "disconnect", "protocol-violated");
PROBES(sent, "failed-over", "failed-back", "disconnect", "dropped-oldest");
PROBES(name, "resolve-failed", "resent", "disconnect", "connect-timeout");
#undef PROBES

// X(function, name, about, kinds, probes, profile)
#define PROFILES(X)                                                                                \
    X(failover_plain, "failover-plain", "nothing goes wrong: the preferred ones alone are used",   \
      PLAIN_KINDS, plain_probes, .kinds = UNIX | TCP | RELP, .exact = true, .no_epochs = true,     \
      .levels = true, .habits = 1u << SIM_HABIT_GREEDY, .refuseds = RETRY | DROP,                  \
      .fulls = NEWEST | BLOCK, .tricks = PLAIN_TRICKS, .writers_max = 4, .producers_max = 3,       \
      .messages_max = 40, .collectors_max = 3)                                                     \
    X(failover_peer, "failover-peer", "collectors come and go: what is confirmed was read", KINDS, \
      peer_probes, .kinds = UNIX | TCP, .levels = true, .fulls = NEWEST | OLDEST | BLOCK,          \
      .tricks = PLAIN_TRICKS, .gap_records = true, .writers_max = 3, .producers_max = 3,           \
      .messages_max = 60, .collectors_max = 3)                                                     \
    X(failover_ack, "failover-ack",                                                                \
      "RELP servers come and go: what is confirmed was answered for", KINDS, ack_probes,           \
      .kinds = RELP, .levels = true, .manners = ALL_MANNERS, .refuseds = RETRY | DROP,             \
      .fulls = NEWEST | OLDEST | BLOCK, .tricks = PLAIN_TRICKS, .gap_records = true,               \
      .writers_max = 3, .producers_max = 3, .messages_max = 60, .collectors_max = 3)               \
    X(failover_sent, "failover-sent", "collectors come and go: nothing is sent twice", KINDS,      \
      sent_probes, .kinds = UNIX | TCP, .confirm = WEIR_CONFIRM_SENT, .levels = true,              \
      .fulls = NEWEST | OLDEST, .tricks = PLAIN_TRICKS, .writers_max = 3, .producers_max = 3,      \
      .messages_max = 60, .collectors_max = 3)                                                     \
    X(failover_outage, "failover-outage",                                                          \
      "the preferred collector stays away: others do its work", KINDS, outage_probes,              \
      .kinds = UNIX | TCP | RELP, .levels = true, .outage = true, .manners = ALL_MANNERS,          \
      .refuseds = RETRY | DROP, .fulls = NEWEST | OLDEST | BLOCK, .tricks = PLAIN_TRICKS,          \
      .writers_max = 3, .producers_max = 3, .messages_max = 60, .collectors_max = 3)               \
    X(failover_name, "failover-name", "one name, that moves from address to address", KINDS,       \
      name_probes, .kinds = TCP | RELP, .moves = true, .manners = ALL_MANNERS,                     \
      .refuseds = RETRY | DROP, .fulls = NEWEST | BLOCK, .tricks = PLAIN_TRICKS,                   \
      .tricks_always = TRICK(LATE_NAME), .writers_max = 2, .producers_max = 2, .messages_max = 40, \
      .collectors_max = 3)

#define PROFILE_RUN(function, name_, about_, kinds_, probes_, ...)                                 \
    static void function(struct weir_sim *sim)                                                     \
    {                                                                                              \
        static const struct sim_host_profile profile = {__VA_ARGS__};                              \
        struct sim_host_plan plan;                                                                 \
        sim_host_draw(sim, &profile, &plan);                                                       \
        sim_host_play(sim, &plan);                                                                 \
    }
PROFILES(PROFILE_RUN)
#undef PROFILE_RUN

#define PROFILE_ENTRY(function, name_, about_, kinds_, probes_, ...)                               \
    {.name = (name_),                                                                              \
     .about = (about_),                                                                            \
     .run = function,                                                                              \
     .kinds = (kinds_),                                                                            \
     .probes = (probes_),                                                                          \
     .probe_seeds = PROBE_SEEDS},
const struct weir_sim_scenario sim_scenarios_failover[] = {PROFILES(PROFILE_ENTRY){.name = NULL}};
#undef PROFILE_ENTRY
