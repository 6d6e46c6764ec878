// Scenarios of failover: lists of endpoints that come and go, and names that move.
//
// Each is a profile of sim/host.h. Where levels are drawn the host also asks, once all is well,
// that every writer comes back to its first choice, and stays there.
#include "sim/scenario_profile.h"
#include "sim/scenarios.h"

#define TRICKS (PLAIN_TRICKS | TRICK(SLOTS))

PROBES(plain, "woken", "row-full");
PROBES(peer, "failed-over", "failed-back", "resent", "read-twice-after-reconnect", "disconnect",
       "epoch-turned");
PROBES(ack, "failed-over", "failed-back", "resent", "disconnect", "refused", "protocol-violated");
PROBES(outage, "failed-over", "failed-back", "resent", "disconnect", "protocol-violated");
PROBES(sent, "failed-over", "failed-back", "disconnect", "dropped-oldest");
PROBES(name, "resolve-failed", "resent", "disconnect", "connect-timeout");

#define PROFILES(X)                                                                                \
    X(failover_plain, "failover-plain", "nothing goes wrong: the preferred ones alone are used",   \
      PLAIN_KINDS, plain_probes, 1, .kinds = UNIX | TCP | RELP, .exact = true, .no_epochs = true,  \
      .levels = true, .habits = HABIT(GREEDY), .refuseds = RETRY | DROP, .fulls = NEWEST | BLOCK,  \
      .tricks = TRICKS, .writers_max = 4, .producers_max = 3, .messages_max = 40,                  \
      .collectors_max = 3)                                                                         \
    X(failover_peer, "failover-peer", "collectors come and go: what is confirmed was read", KINDS, \
      peer_probes, 1, .kinds = UNIX | TCP, .levels = true, .fulls = NEWEST | OLDEST | BLOCK,       \
      .tricks = TRICKS, .gap_records = true, .writers_max = 3, .producers_max = 3,                 \
      .messages_max = 60, .collectors_max = 3)                                                     \
    X(failover_ack, "failover-ack",                                                                \
      "RELP servers come and go: what is confirmed was answered for", KINDS, ack_probes, 1,        \
      .kinds = RELP, .levels = true, .manners = ALL_MANNERS, .refuseds = RETRY | DROP,             \
      .fulls = NEWEST | OLDEST | BLOCK, .tricks = TRICKS, .gap_records = true, .writers_max = 3,   \
      .producers_max = 3, .messages_max = 60, .collectors_max = 3)                                 \
    X(failover_sent, "failover-sent", "collectors come and go: nothing is sent twice", KINDS,      \
      sent_probes, 1, .kinds = UNIX | TCP, .confirm = WEIR_CONFIRM_SENT, .levels = true,           \
      .fulls = NEWEST | OLDEST, .tricks = TRICKS, .writers_max = 3, .producers_max = 3,            \
      .messages_max = 60, .collectors_max = 3)                                                     \
    X(failover_outage, "failover-outage",                                                          \
      "the preferred collector stays away: others do its work", KINDS, outage_probes, 1,           \
      .kinds = UNIX | TCP | RELP, .levels = true, .outage = true, .manners = ALL_MANNERS,          \
      .refuseds = RETRY | DROP, .fulls = NEWEST | OLDEST | BLOCK, .tricks = TRICKS,                \
      .writers_max = 3, .producers_max = 3, .messages_max = 60, .collectors_max = 3)               \
    X(failover_name, "failover-name", "one name, that moves from address to address", KINDS,       \
      name_probes, 1, .kinds = TCP | RELP, .moves = true, .manners = ALL_MANNERS,                  \
      .refuseds = RETRY | DROP, .fulls = NEWEST | BLOCK, .tricks = TRICKS,                         \
      .tricks_always = TRICK(LATE_NAME), .writers_max = 2, .producers_max = 2, .messages_max = 40, \
      .collectors_max = 3)

PROFILES(PROFILE_RUN)

const struct weir_sim_scenario sim_scenarios_failover[] = {PROFILES(PROFILE_ENTRY){.name = NULL}};
