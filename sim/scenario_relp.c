// Scenarios of RELP: collectors that answer late, twice, wrongly, out of order, or never.
//
// Each is a profile of sim/host.h, as those of scenario_writer.c are.
#include "sim/scenario_profile.h"
#include "sim/scenarios.h"

#define TRICKS (PLAIN_TRICKS | TRICK(SLOTS))
#define HOSTILE_MANNERS                                                                            \
    (MANNER(TWICE) | MANNER(NEVER_SENT) | MANNER(GARBAGE) | MANNER(TORN) | MANNER(GOODBYE) |       \
     MANNER(OPEN_REFUSED) | MANNER(OPEN_OTHER) | MANNER(OPEN_MUTE) | MANNER(MUTE))

PROBES(plain, "row-full", "woken");
PROBES(relp, "resent", "read-twice-after-reconnect", "disconnect", "answer-timeout", "refused",
       "protocol-violated", "dropped-refused", "answers-out-of-order", "connect-timeout",
       "gap-record");
PROBES(window, "resent", "disconnect", "answer-timeout", "answers-out-of-order");
PROBES(refuse, "refused", "dropped-refused", "resent", "answers-out-of-order");
PROBES(close, "close-deadline-hit", "resent", "disconnect", "protocol-violated", "refused");
PROBES(hostile, "protocol-violated", "resent", "answer-timeout", "refused");
PROBES(memory, "open-failed", "resource-failed", "disconnect");

#define PROFILES(X)                                                                                \
    X(relp_plain, "relp-plain", "a RELP server that does nothing wrong: all is exact, and soon",   \
      PLAIN_KINDS, plain_probes, 1, .kinds = RELP, .exact = true, .habits = HABIT(GREEDY),         \
      .manners = 0, .refuseds = RETRY | DROP, .fulls = NEWEST | BLOCK, .tricks = TRICKS,           \
      .writers_max = 2, .producers_max = 3, .messages_max = 60, .collectors_max = 1)               \
    X(relp_swarm, "relp", "over RELP: what is confirmed was answered for", KINDS, relp_probes, 1,  \
      .kinds = RELP, .manners = ALL_MANNERS, .refuseds = RETRY | DROP,                             \
      .fulls = NEWEST | OLDEST | BLOCK, .tricks = TRICKS | TRICK(PATIENCE), .gap_records = true,   \
      .writers_max = 2, .producers_max = 3, .messages_max = 60, .collectors_max = 2)               \
    X(relp_window, "relp-window", "windows of a few messages, or less than one message", KINDS,    \
      window_probes, 1, .kinds = RELP, .manners = ALL_MANNERS, .refuseds = RETRY | DROP,           \
      .narrow = true, .fulls = NEWEST | BLOCK, .tricks = TRICKS, .writers_max = 1,                 \
      .producers_max = 3, .messages_max = 60, .collectors_max = 1)                                 \
    X(relp_refuse, "relp-refuse", "servers that refuse messages", KINDS, refuse_probes, 1,         \
      .kinds = RELP, .manners = MANNER(REFUSE) | MANNER(REFUSE_ALL), .rude = true,                 \
      .refuseds = RETRY | DROP, .fulls = NEWEST | OLDEST | BLOCK, .tricks = TRICKS,                \
      .gap_records = true, .writers_max = 2, .producers_max = 3, .messages_max = 60,               \
      .collectors_max = 1)                                                                         \
    X(relp_close, "relp-close", "closed in the middle of everything", KINDS, close_probes, 1,      \
      .kinds = RELP, .manners = ALL_MANNERS, .refuseds = RETRY | DROP,                             \
      .fulls = NEWEST | OLDEST | BLOCK, .tricks = TRICKS | TRICK(SLOW_SLOTS),                      \
      .tricks_always = TRICK(CLOSE), .writers_max = 3, .producers_max = 3, .messages_max = 60,     \
      .collectors_max = 2)                                                                         \
    X(relp_hostile, "relp-hostile",                                                                \
      "the preferred server violates the protocol for good: the next one serves", KINDS,           \
      hostile_probes, 1, .kinds = RELP, .manners = HOSTILE_MANNERS, .rude = true, .refuge = true,  \
      .refuseds = RETRY | DROP, .fulls = NEWEST | BLOCK, .tricks = TRICKS, .writers_max = 2,       \
      .producers_max = 3, .messages_max = 60, .collectors_max = 3)                                 \
    X(relp_memory, "relp-memory", "memory, descriptors and threads run out, also at open", 0,      \
      memory_probes, 1, .kinds = RELP, .manners = ALL_MANNERS, .refuseds = RETRY | DROP,           \
      .fulls = NEWEST | OLDEST, .tricks = TRICKS, .tricks_always = TRICK(FAIL), .writers_max = 2,  \
      .producers_max = 2, .messages_max = 30, .collectors_max = 1)

PROFILES(PROFILE_RUN)

const struct weir_sim_scenario sim_scenarios_relp[] = {PROFILES(PROFILE_ENTRY){.name = NULL}};
