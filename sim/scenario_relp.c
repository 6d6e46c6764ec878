// Scenarios of RELP: collectors that answer late, twice, wrongly, out of order, or never.
//
// Each is a profile of sim/host.h, as those of scenario_writer.c are.
#include "sim/host.h"
#include "sim/scenario_support.h"
#include "sim/scenarios.h"

#define RELP (1u << SIM_COLLECTOR_RELP)
#define NEWEST (1u << WEIR_FULL_DROP_NEWEST)
#define OLDEST (1u << WEIR_FULL_DROP_OLDEST)
#define BLOCK (1u << WEIR_FULL_BLOCK)
#define RETRY (1u << WEIR_REFUSED_RETRY)
#define DROP (1u << WEIR_REFUSED_DROP)
#define TRICK(name) (1u << SIM_TRICK_##name)
#define MANNER(name) (1u << SIM_MANNER_##name)
#define ALL_MANNERS ((1u << SIM_MANNERS_COUNT) - 1)
#define HOSTILE_MANNERS                                                                            \
    (MANNER(TWICE) | MANNER(NEVER_SENT) | MANNER(GARBAGE) | MANNER(TORN) | MANNER(GOODBYE) |       \
     MANNER(OPEN_REFUSED) | MANNER(OPEN_OTHER) | MANNER(OPEN_MUTE) | MANNER(MUTE))
#define PLAIN_TRICKS                                                                               \
    (TRICK(KEYS) | TRICK(PARTS) | TRICK(NEWLINES) | TRICK(NONSENSE) | TRICK(FLUSH) | TRICK(SLOTS))
#define KINDS (((1u << WEIR_SIM_KINDS_COUNT) - 1) & ~(1u << WEIR_SIM_RESOURCE))
#define PLAIN_KINDS (SCENARIO_RUNTIME_KINDS & ~(1u << WEIR_SIM_TIME))

#define PROBE_SEEDS 2000
#define PROBES(name, ...) static const char *const name##_probes[] = {__VA_ARGS__, NULL}
PROBES(plain, "row-full", "woken");
PROBES(relp, "resent", "read-twice-after-reconnect", "disconnect", "answer-timeout", "refused",
       "protocol-violated", "dropped-refused", "answers-out-of-order", "connect-timeout",
       "gap-record");
PROBES(window, "resent", "disconnect", "answer-timeout", "answers-out-of-order");
PROBES(refuse, "refused", "dropped-refused", "resent", "answers-out-of-order");
PROBES(close, "close-deadline-hit", "resent", "disconnect", "protocol-violated", "refused");
PROBES(hostile, "protocol-violated", "resent", "answer-timeout", "refused");
PROBES(memory, "open-failed", "resource-failed", "disconnect");
#undef PROBES

// X(function, name, about, kinds, probes, profile)
#define PROFILES(X)                                                                                \
    X(relp_plain, "relp-plain", "a RELP server that does nothing wrong: all is exact, and soon",   \
      PLAIN_KINDS, plain_probes, .kinds = RELP, .exact = true, .habits = 1u << SIM_HABIT_GREEDY,   \
      .manners = 0, .refuseds = RETRY | DROP, .fulls = NEWEST | BLOCK, .tricks = PLAIN_TRICKS,     \
      .writers_max = 2, .producers_max = 3, .messages_max = 60, .collectors_max = 1)               \
    X(relp_swarm, "relp", "over RELP: what is confirmed was answered for", KINDS, relp_probes,     \
      .kinds = RELP, .manners = ALL_MANNERS, .refuseds = RETRY | DROP,                             \
      .fulls = NEWEST | OLDEST | BLOCK, .tricks = PLAIN_TRICKS | TRICK(PATIENCE),                  \
      .gap_records = true, .writers_max = 2, .producers_max = 3, .messages_max = 60,               \
      .collectors_max = 2)                                                                         \
    X(relp_window, "relp-window", "windows of a few messages, or less than one message", KINDS,    \
      window_probes, .kinds = RELP, .manners = ALL_MANNERS, .refuseds = RETRY | DROP,              \
      .narrow = true, .fulls = NEWEST | BLOCK, .tricks = PLAIN_TRICKS, .writers_max = 1,           \
      .producers_max = 3, .messages_max = 60, .collectors_max = 1)                                 \
    X(relp_refuse, "relp-refuse", "servers that refuse messages", KINDS, refuse_probes,            \
      .kinds = RELP, .manners = MANNER(REFUSE) | MANNER(REFUSE_ALL), .rude = true,                 \
      .refuseds = RETRY | DROP, .fulls = NEWEST | OLDEST | BLOCK, .tricks = PLAIN_TRICKS,          \
      .gap_records = true, .writers_max = 2, .producers_max = 3, .messages_max = 60,               \
      .collectors_max = 1)                                                                         \
    X(relp_close, "relp-close", "closed in the middle of everything", KINDS, close_probes,         \
      .kinds = RELP, .manners = ALL_MANNERS, .refuseds = RETRY | DROP,                             \
      .fulls = NEWEST | OLDEST | BLOCK, .tricks = PLAIN_TRICKS | TRICK(SLOW_SLOTS),                \
      .tricks_always = TRICK(CLOSE), .writers_max = 3, .producers_max = 3, .messages_max = 60,     \
      .collectors_max = 2)                                                                         \
    X(relp_hostile, "relp-hostile",                                                                \
      "the preferred server violates the protocol for good: the next one serves", KINDS,           \
      hostile_probes, .kinds = RELP, .manners = HOSTILE_MANNERS, .rude = true, .refuge = true,     \
      .refuseds = RETRY | DROP, .fulls = NEWEST | BLOCK, .tricks = PLAIN_TRICKS, .writers_max = 2, \
      .producers_max = 3, .messages_max = 60, .collectors_max = 3)                                 \
    X(relp_memory, "relp-memory", "memory, descriptors and threads run out, also at open", 0,      \
      memory_probes, .kinds = RELP, .manners = ALL_MANNERS, .refuseds = RETRY | DROP,              \
      .fulls = NEWEST | OLDEST, .tricks = PLAIN_TRICKS, .tricks_always = TRICK(FAIL),              \
      .writers_max = 2, .producers_max = 2, .messages_max = 30, .collectors_max = 1)

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
const struct weir_sim_scenario sim_scenarios_relp[] = {PROFILES(PROFILE_ENTRY){.name = NULL}};
#undef PROFILE_ENTRY
