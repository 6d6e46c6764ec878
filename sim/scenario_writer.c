// Scenarios of the writer: a pool, threads that log, collectors that misbehave, and the auditor.
//
// Each is a profile of sim/host.h: what is drawn, and what a run may meet.
#include "sim/scenario_profile.h"
#include "sim/scenarios.h"

#define TRICKS (PLAIN_TRICKS | TRICK(PATIENCE))
#define PROMPT (KINDS & ~(1u << WEIR_SIM_DELAY | 1u << WEIR_SIM_TIME | 1u << WEIR_SIM_READY))

PROBES(unix, "resent", "read-twice-after-reconnect", "send-cut-a-frame", "disconnect", "row-full",
       "abandoned", "stolen", "woken", "resource-failed", "peer-talked");
PROBES(tcp, "resent", "read-twice-after-reconnect", "send-cut-a-frame", "disconnect", "row-full",
       "abandoned", "epoch-turned", "close-unproven", "connect-timeout", "peer-talked");
PROBES(shutdown, "resent", "disconnect", "epoch-turned", "row-full", "connect-timeout");
PROBES(acknowledged, "resent", "send-cut-a-frame", "disconnect", "close-unproven",
       "connect-timeout");
PROBES(sent, "disconnect", "send-cut-a-frame", "dropped-oldest", "row-full", "connect-timeout");
PROBES(datagram, "disconnect", "dropped-oldest", "row-full", "abandoned", "resource-failed");
PROBES(many, "resent", "read-twice-after-reconnect", "epoch-turned", "gap-record", "dropped-oldest",
       "row-full", "stolen", "disconnect");
PROBES(newest, "row-full", "gap-record", "resent", "epoch-turned");
PROBES(oldest, "dropped-oldest", "gap-record", "resent", "epoch-turned", "abandoned");
PROBES(block, "resent", "read-twice-after-reconnect", "epoch-turned", "woken", "stolen");
PROBES(reserve, "abandoned", "dropped-oldest", "row-full", "gap-record", "resent");
PROBES(close, "close-deadline-hit", "epoch-turned", "resent", "disconnect", "abandoned");
PROBES(flush, "flush-timed-out", "epoch-turned", "resent", "disconnect");
PROBES(name, "resolve-failed", "close-deadline-hit", "epoch-turned", "connect-timeout");
PROBES(memory, "open-failed", "resource-failed", "resolve-failed", "epoch-turned");
PROBES(stall, "stall", "resent", "read-twice-after-reconnect", "disconnect");

#define PROFILES(X)                                                                                \
    X(writer_unix, "writer-unix", "over a Unix stream: what is confirmed was read", KINDS,         \
      unix_probes, 1, .kinds = UNIX, .fulls = NEWEST | BLOCK, .tricks = TRICKS | TRICK(SLOTS),     \
      .writers_max = 1, .producers_max = 3, .messages_max = 60, .collectors_max = 1)               \
    X(writer_tcp, "writer-tcp", "over TCP in epochs: what is confirmed was read", KINDS,           \
      tcp_probes, 1, .kinds = TCP, .fulls = NEWEST | BLOCK, .tricks = TRICKS | TRICK(SLOTS),       \
      .writers_max = 1, .producers_max = 3, .messages_max = 60, .collectors_max = 1)               \
    X(writer_tcp_shutdown, "writer-tcp-shutdown", "peers that end their side over unread data",    \
      PROMPT, shutdown_probes, 1, .kinds = TCP, .fulls = NEWEST | BLOCK, .tricks = TRICKS,         \
      .habits = HABIT(PART) | HABIT(SLOW), .prompt = true, .writers_max = 1, .producers_max = 3,   \
      .messages_max = 60, .collectors_max = 1)                                                     \
    X(writer_tcp_acknowledged, "writer-tcp-acknowledged",                                          \
      "over TCP without epochs: what is confirmed was acknowledged", KINDS, acknowledged_probes,   \
      1, .kinds = TCP, .no_epochs = true, .fulls = NEWEST | BLOCK, .tricks = TRICKS,               \
      .writers_max = 1, .producers_max = 3, .messages_max = 60, .collectors_max = 1)               \
    X(writer_stall, "writer-stall", "peers that take nothing for longer than they may", KINDS,     \
      stall_probes, 1, .kinds = UNIX | TCP, .fulls = NEWEST | BLOCK, .tricks = TRICKS,             \
      .writers_max = 1, .producers_max = 3, .messages_max = 100, .stalls = true,                   \
      .collectors_max = 2)                                                                         \
    X(writer_sent, "writer-sent", "what was sent is confirmed, and nothing is sent twice", KINDS,  \
      sent_probes, 1, .kinds = UNIX | TCP, .confirm = WEIR_CONFIRM_SENT, .fulls = NEWEST | OLDEST, \
      .tricks = TRICKS, .writers_max = 2, .producers_max = 3, .messages_max = 60,                  \
      .collectors_max = 1)                                                                         \
    X(writer_datagram, "writer-datagram", "a message is a datagram", KINDS, datagram_probes, 1,    \
      .kinds = DATAGRAMS, .fulls = NEWEST | OLDEST, .tricks = TRICKS | TRICK(SLOTS),               \
      .writers_max = 2, .producers_max = 3, .messages_max = 60, .collectors_max = 1)               \
    X(writer_many, "writer-many", "several writers, threads and collectors", KINDS, many_probes,   \
      1, .kinds = UNIX | TCP, .fulls = NEWEST | OLDEST | BLOCK, .tricks = TRICKS | TRICK(SLOTS),   \
      .writers_max = 4, .producers_max = 6, .messages_max = 40, .gap_records = true,               \
      .collectors_max = 3)                                                                         \
    X(writer_drop_newest, "writer-drop-newest", "a buffer that overflows: the newest goes", KINDS, \
      newest_probes, 1, .kinds = UNIX | TCP, .fulls = NEWEST, .tricks = TRICKS, .writers_max = 2,  \
      .producers_max = 4, .messages_max = 100, .gap_records = true, .tight = true,                 \
      .collectors_max = 1)                                                                         \
    X(writer_drop_oldest, "writer-drop-oldest", "a buffer that overflows: the oldest go", KINDS,   \
      oldest_probes, 1, .kinds = UNIX | TCP, .fulls = OLDEST, .tricks = TRICKS | TRICK(SLOTS),     \
      .writers_max = 2, .producers_max = 4, .messages_max = 100, .gap_records = true,              \
      .tight = true, .collectors_max = 1)                                                          \
    X(writer_block, "writer-block", "a buffer that overflows: threads wait", KINDS, block_probes,  \
      1, .kinds = UNIX | TCP, .fulls = BLOCK, .tricks = TRICKS | TRICK(SLOTS), .writers_max = 2,   \
      .producers_max = 4, .messages_max = 100, .tight = true, .collectors_max = 1)                 \
    X(writer_reserve, "writer-reserve",                                                            \
      "formatting in place, slowly, out of order, or not at all", KINDS, reserve_probes, 1,        \
      .kinds = UNIX | TCP, .fulls = NEWEST | OLDEST | BLOCK, .tricks = TRICKS | TRICK(SLOW_SLOTS), \
      .tricks_always = TRICK(SLOTS), .writers_max = 1, .producers_max = 4, .messages_max = 60,     \
      .gap_records = true, .tight = true, .collectors_max = 1)                                     \
    X(writer_close, "writer-close", "closed in the middle of everything", KINDS, close_probes, 1,  \
      .kinds = UNIX | TCP | DATAGRAMS, .fulls = NEWEST | OLDEST | BLOCK,                           \
      .tricks = TRICKS | TRICK(SLOTS) | TRICK(SLOW_SLOTS), .tricks_always = TRICK(CLOSE),          \
      .writers_max = 3, .producers_max = 3, .messages_max = 60, .collectors_max = 2)               \
    X(writer_flush, "writer-flush", "flushed all the time, by several threads", KINDS,             \
      flush_probes, 1, .kinds = UNIX | TCP, .fulls = NEWEST | OLDEST | BLOCK,                      \
      .tricks = TRICKS | TRICK(SLOTS), .tricks_always = TRICK(FLUSH), .writers_max = 2,            \
      .producers_max = 3, .messages_max = 60, .collectors_max = 1)                                 \
    X(writer_names, "writer-names", "a name that resolves late, wrongly, or not at all", KINDS,    \
      name_probes, 1, .kinds = TCP, .fulls = NEWEST | BLOCK, .tricks = TRICKS | TRICK(CLOSE),      \
      .tricks_always = TRICK(LATE_NAME), .writers_max = 2, .producers_max = 2, .messages_max = 30, \
      .collectors_max = 2)                                                                         \
    X(writer_memory, "writer-memory", "memory, descriptors and threads run out, also at open", 0,  \
      memory_probes, 1, .kinds = UNIX | TCP | DATAGRAMS, .fulls = NEWEST | OLDEST,                 \
      .tricks = TRICKS | TRICK(LATE_NAME), .tricks_always = TRICK(FAIL), .writers_max = 2,         \
      .producers_max = 2, .messages_max = 30, .collectors_max = 1)

PROFILES(PROFILE_RUN)

const struct weir_sim_scenario sim_scenarios_writer[] = {PROFILES(PROFILE_ENTRY){.name = NULL}};
