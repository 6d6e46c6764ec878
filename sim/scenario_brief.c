// Scenarios of brief lives: one thread logs a few messages, and the peer is at its worst meanwhile.
//
// Each is a profile of sim/host.h. What takes one unlucky moment, of a peer's death or a call's
// failure, is met here far sooner than among the hundreds of messages of the other scenarios: a run
// costs a tenth of theirs and has as many such moments.
#include "sim/scenario_profile.h"
#include "sim/scenarios.h"

// The runtime's, and calls that do less than they could.
#define CALL_KINDS (PLAIN_KINDS | 1u << WEIR_SIM_SHORT | 1u << WEIR_SIM_AGAIN | 1u << WEIR_SIM_PEER)

PROBES(death, "resent", "disconnect");
PROBES(slow, "resent", "disconnect", "answer-timeout");
PROBES(close, "close-deadline-hit", "resent", "disconnect", "protocol-violated");
PROBES(plain, "woken");

#define PROFILES(X)                                                                                \
    X(brief_death, "brief-death", "a Unix peer ends its side or dies over a few messages",         \
      CALL_KINDS | 1u << WEIR_SIM_TIME | 1u << WEIR_SIM_DELAY, death_probes, 32, .kinds = UNIX,    \
      .brief = true, .rude = true, .lingering = true,                                              \
      .habits = HABIT(SLAM) | HABIT(HALF) | HABIT(PART), .fulls = NEWEST, .stalls = true,          \
      .writers_max = 1, .producers_max = 1, .messages_max = 10, .collectors_max = 1)               \
    X(brief_relp, "brief-relp", "a RELP server and calls that would block, a few messages",        \
      CALL_KINDS | 1u << WEIR_SIM_SEND, slow_probes, 5, .kinds = RELP, .brief = true,              \
      .narrow = true, .habits = HABIT(SLOW) | HABIT(DEAF), .manners = ALL_MANNERS,                 \
      .refuseds = RETRY | DROP, .fulls = NEWEST, .writers_max = 1, .producers_max = 1,             \
      .messages_max = 10, .collectors_max = 1)                                                     \
    X(brief_relp_close, "brief-relp-close", "a RELP server, a few messages, and a close",          \
      CALL_KINDS, close_probes, 2, .kinds = RELP, .brief = true, .rude = true,                     \
      .manners = ALL_MANNERS, .refuseds = RETRY | DROP, .fulls = NEWEST,                           \
      .tricks_always = TRICK(CLOSE), .writers_max = 1, .producers_max = 1, .messages_max = 10,     \
      .collectors_max = 1)                                                                         \
    X(brief_relp_plain, "brief-relp-plain", "a good RELP server and a few messages: all is exact", \
      PLAIN_KINDS, plain_probes, 5, .kinds = RELP, .brief = true, .exact = true,                   \
      .habits = HABIT(GREEDY), .refuseds = RETRY | DROP, .fulls = BLOCK, .tight = true,            \
      .writers_max = 1, .producers_max = 1, .messages_max = 16, .collectors_max = 1)

PROFILES(PROFILE_RUN)

const struct weir_sim_scenario sim_scenarios_brief[] = {PROFILES(PROFILE_ENTRY){.name = NULL}};
