// Scenarios of the writer: a pool, threads that log, collectors that misbehave, and the auditor.
//
// Each is a profile of sim/host.h: what is drawn, and what a run may meet.
#include "sim/host.h"
#include "sim/scenarios.h"

#define UNIX (1u << SIM_COLLECTOR_UNIX)
#define TCP (1u << SIM_COLLECTOR_TCP)
#define DATAGRAMS (1u << SIM_COLLECTOR_UNIX_DATAGRAM | 1u << SIM_COLLECTOR_UDP)
#define NEWEST (1u << WEIR_FULL_DROP_NEWEST)
#define OLDEST (1u << WEIR_FULL_DROP_OLDEST)
#define BLOCK (1u << WEIR_FULL_BLOCK)
#define TRICK(name) (1u << SIM_TRICK_##name)
#define PLAIN_TRICKS                                                                               \
    (TRICK(KEYS) | TRICK(PARTS) | TRICK(NEWLINES) | TRICK(NONSENSE) | TRICK(FLUSH) |               \
     TRICK(PATIENCE))
// Everything but the end of memory and descriptors, which has a scenario of its own.
#define KINDS (((1u << WEIR_SIM_KINDS_COUNT) - 1) & ~(1u << WEIR_SIM_RESOURCE))
#define PROMPT (KINDS & ~(1u << WEIR_SIM_DELAY | 1u << WEIR_SIM_TIME | 1u << WEIR_SIM_READY))

// Each of these was met by 20 or more of 2,000 seeds.
#define PROBE_SEEDS 2000
#define PROBES(name, ...) static const char *const name##_probes[] = {__VA_ARGS__, NULL}
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
#undef PROBES

// X(function, name, about, kinds, probes, profile)
#define PROFILES(X)                                                                                \
    X(writer_unix, "writer-unix", "over a Unix stream: what is confirmed was read", KINDS,         \
      unix_probes, .kinds = UNIX, .fulls = NEWEST | BLOCK, .tricks = PLAIN_TRICKS | TRICK(SLOTS),  \
      .writers_max = 1, .producers_max = 3, .messages_max = 60, .collectors_max = 1)               \
    X(writer_tcp, "writer-tcp", "over TCP in epochs: what is confirmed was read", KINDS,           \
      tcp_probes, .kinds = TCP, .fulls = NEWEST | BLOCK, .tricks = PLAIN_TRICKS | TRICK(SLOTS),    \
      .writers_max = 1, .producers_max = 3, .messages_max = 60, .collectors_max = 1)               \
    X(writer_tcp_shutdown, "writer-tcp-shutdown", "peers that end their side over unread data",    \
      PROMPT, shutdown_probes, .kinds = TCP, .fulls = NEWEST | BLOCK, .tricks = PLAIN_TRICKS,      \
      .habits = 1u << SIM_HABIT_PART | 1u << SIM_HABIT_SLOW, .prompt = true, .writers_max = 1,     \
      .producers_max = 3, .messages_max = 60, .collectors_max = 1)                                 \
    X(writer_tcp_acknowledged, "writer-tcp-acknowledged",                                          \
      "over TCP without epochs: what is confirmed was acknowledged", KINDS, acknowledged_probes,   \
      .kinds = TCP, .no_epochs = true, .fulls = NEWEST | BLOCK, .tricks = PLAIN_TRICKS,            \
      .writers_max = 1, .producers_max = 3, .messages_max = 60, .collectors_max = 1)               \
    X(writer_stall, "writer-stall", "peers that take nothing for longer than they may", KINDS,     \
      stall_probes, .kinds = UNIX | TCP, .fulls = NEWEST | BLOCK, .tricks = PLAIN_TRICKS,          \
      .writers_max = 1, .producers_max = 3, .messages_max = 100, .stalls = true,                   \
      .collectors_max = 2)                                                                         \
    X(writer_sent, "writer-sent", "what was sent is confirmed, and nothing is sent twice", KINDS,  \
      sent_probes, .kinds = UNIX | TCP, .confirm = WEIR_CONFIRM_SENT, .fulls = NEWEST | OLDEST,    \
      .tricks = PLAIN_TRICKS, .writers_max = 2, .producers_max = 3, .messages_max = 60,            \
      .collectors_max = 1)                                                                         \
    X(writer_datagram, "writer-datagram", "a message is a datagram", KINDS, datagram_probes,       \
      .kinds = DATAGRAMS, .fulls = NEWEST | OLDEST, .tricks = PLAIN_TRICKS | TRICK(SLOTS),         \
      .writers_max = 2, .producers_max = 3, .messages_max = 60, .collectors_max = 1)               \
    X(writer_many, "writer-many", "several writers, threads and collectors", KINDS, many_probes,   \
      .kinds = UNIX | TCP, .fulls = NEWEST | OLDEST | BLOCK,                                       \
      .tricks = PLAIN_TRICKS | TRICK(SLOTS), .writers_max = 4, .producers_max = 6,                 \
      .messages_max = 40, .gap_records = true, .collectors_max = 3)                                \
    X(writer_drop_newest, "writer-drop-newest", "a buffer that overflows: the newest goes", KINDS, \
      newest_probes, .kinds = UNIX | TCP, .fulls = NEWEST, .tricks = PLAIN_TRICKS,                 \
      .writers_max = 2, .producers_max = 4, .messages_max = 100, .gap_records = true,              \
      .tight = true, .collectors_max = 1)                                                          \
    X(writer_drop_oldest, "writer-drop-oldest", "a buffer that overflows: the oldest go", KINDS,   \
      oldest_probes, .kinds = UNIX | TCP, .fulls = OLDEST, .tricks = PLAIN_TRICKS | TRICK(SLOTS),  \
      .writers_max = 2, .producers_max = 4, .messages_max = 100, .gap_records = true,              \
      .tight = true, .collectors_max = 1)                                                          \
    X(writer_block, "writer-block", "a buffer that overflows: threads wait", KINDS, block_probes,  \
      .kinds = UNIX | TCP, .fulls = BLOCK, .tricks = PLAIN_TRICKS | TRICK(SLOTS),                  \
      .writers_max = 2, .producers_max = 4, .messages_max = 100, .tight = true,                    \
      .collectors_max = 1)                                                                         \
    X(writer_reserve, "writer-reserve",                                                            \
      "formatting in place, slowly, out of order, or not at all", KINDS, reserve_probes,           \
      .kinds = UNIX | TCP, .fulls = NEWEST | OLDEST | BLOCK,                                       \
      .tricks = PLAIN_TRICKS | TRICK(SLOW_SLOTS), .tricks_always = TRICK(SLOTS), .writers_max = 1, \
      .producers_max = 4, .messages_max = 60, .gap_records = true, .tight = true,                  \
      .collectors_max = 1)                                                                         \
    X(writer_close, "writer-close", "closed in the middle of everything", KINDS, close_probes,     \
      .kinds = UNIX | TCP | DATAGRAMS, .fulls = NEWEST | OLDEST | BLOCK,                           \
      .tricks = PLAIN_TRICKS | TRICK(SLOTS) | TRICK(SLOW_SLOTS), .tricks_always = TRICK(CLOSE),    \
      .writers_max = 3, .producers_max = 3, .messages_max = 60, .collectors_max = 2)               \
    X(writer_flush, "writer-flush", "flushed all the time, by several threads", KINDS,             \
      flush_probes, .kinds = UNIX | TCP, .fulls = NEWEST | OLDEST | BLOCK,                         \
      .tricks = PLAIN_TRICKS | TRICK(SLOTS), .tricks_always = TRICK(FLUSH), .writers_max = 2,      \
      .producers_max = 3, .messages_max = 60, .collectors_max = 1)                                 \
    X(writer_names, "writer-names", "a name that resolves late, wrongly, or not at all", KINDS,    \
      name_probes, .kinds = TCP, .fulls = NEWEST | BLOCK, .tricks = PLAIN_TRICKS | TRICK(CLOSE),   \
      .tricks_always = TRICK(LATE_NAME), .writers_max = 2, .producers_max = 2, .messages_max = 30, \
      .collectors_max = 2)                                                                         \
    X(writer_memory, "writer-memory", "memory, descriptors and threads run out, also at open", 0,  \
      memory_probes, .kinds = UNIX | TCP | DATAGRAMS, .fulls = NEWEST | OLDEST,                    \
      .tricks = PLAIN_TRICKS | TRICK(LATE_NAME), .tricks_always = TRICK(FAIL), .writers_max = 2,   \
      .producers_max = 2, .messages_max = 30, .collectors_max = 1)

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
const struct weir_sim_scenario sim_scenarios_writer[] = {PROFILES(PROFILE_ENTRY){.name = NULL}};
#undef PROFILE_ENTRY
