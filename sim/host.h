// A host with a pool: its options, its threads that log, its flushes, its end; under the auditor.
//
// A plan says all of it; scenarios draw one from the profile of what they are about. Playing it
// goes through two phases: trouble, in which everything may happen and the host logs, flushes and
// perhaps closes; and health: faults end, the collectors are good ones, and everything must be
// delivered within bounded time.
#ifndef WEIR_SIM_HOST_H
#define WEIR_SIM_HOST_H

#include "sim/auditor.h"
#include "sim/collector.h"

#define SIM_HOST_COLLECTORS_MAX 3
#define SIM_HOST_PRODUCERS_MAX 8

// X(name, what a host does with it): kept as a set of 1u << name.
#define SIM_TRICKS(X)                                                                              \
    X(SIM_TRICK_KEYS, "a key instead of the thread picks the writer")                              \
    X(SIM_TRICK_PARTS, "messages in several parts")                                                \
    X(SIM_TRICK_SLOTS, "formatting in place, and giving up")                                       \
    X(SIM_TRICK_SLOW_SLOTS, "pauses, and other messages, between reserve and commit")              \
    X(SIM_TRICK_NEWLINES, "newlines in messages")                                                  \
    X(SIM_TRICK_NONSENSE, "empty messages, and some far too large")                                \
    X(SIM_TRICK_FLUSH, "flushes at any moment, from threads of their own")                         \
    X(SIM_TRICK_CLOSE, "closes in the middle of the trouble")                                      \
    X(SIM_TRICK_FAIL, "memory, descriptors or threads run out, also at open")                      \
    X(SIM_TRICK_LATE_NAME, "the name resolves, and badly, only after a while")                     \
    X(SIM_TRICK_PATIENCE, "no flush at the end: all must arrive by itself")                        \
    X(SIM_TRICK_BACKEND, "without workers: an event loop of its own waits for weir_backend_fd")
#define SIM_TRICK_ENUM(name, about) name,
enum sim_trick { SIM_TRICKS(SIM_TRICK_ENUM) SIM_TRICKS_COUNT };
#undef SIM_TRICK_ENUM

// How often the threads that log pause, and how long.
enum sim_pace {
    SIM_PACE_STEADY, // never: all at once
    SIM_PACE_BRISK,  // microseconds
    SIM_PACE_BURSTS, // milliseconds, now and then
    SIM_PACE_IDLE,   // a fifth of a second, now and then: the writer falls asleep
    SIM_PACES_COUNT
};

struct sim_host_plan {
    struct weir_pool_options options; // its endpoint is `endpoint`
    char endpoint[256];
    uint32_t workers;
    uint32_t turn_polls; // of one weir_turn, without workers
    enum sim_promise promise;
    struct sim_collector_options collectors[SIM_HOST_COLLECTORS_MAX]; // the auditor is filled in
    uint32_t collectors_count;
    uint32_t levels[SIM_HOST_COLLECTORS_MAX]; // of each collector in the list of endpoints
    bool routed; // the levels are about something: see sim_host_returned
    bool outage; // the first is down until everything was delivered
    bool moves;  // the name is that of all collectors, one after the other; only the last stays
    bool exact;  // nothing goes wrong: no fault, nothing sent twice, and the end comes soon
    bool lasts;  // the trouble goes on when all is logged
    const char *name; // of the first collector's host; NULL: numeric
    uint64_t name_delay_ns;
    uint32_t producers, messages; // threads, and messages of each
    uint32_t bytes_min, bytes_max;
    enum sim_pace pace;
    uint32_t tricks;           // a set of 1u << enum sim_trick
    uint32_t seed;             // of the host's own choices
    uint64_t trouble_ns;       // how long at most
    uint64_t close_timeout_ms; // with SIM_TRICK_CLOSE
};

void sim_host_play(struct weir_sim *sim, const struct sim_host_plan *plan);

// ---- Drawing ----

struct sim_host_profile {
    uint32_t kinds;    // of collectors: a set of 1u << enum sim_collector_kind
    uint32_t habits;   // of collectors: a set of 1u << enum sim_habit; 0: all
    uint32_t manners;  // RELP: a set of 1u << enum sim_manner
    uint32_t refuseds; // RELP: a set of 1u << enum weir_refused
    bool narrow;       // RELP: a window of a few messages and bytes, and large messages
    bool rude;         // collectors misbehave over most connections
    bool lingering;    // what ends does so step by step, and the clock leaps from one to the next
    bool refuge;       // RELP: there are two or more, and only the first misbehaves, for good
    bool exact;        // nobody misbehaves, time limits are far away: see sim_host_plan
    bool levels;       // a list of two or more, '|' or ',' between them, and soon back
    bool outage;       // with levels: the first goes down for good, and comes up at the end
    bool moves;        // there are two or more, and one name: see sim_host_plan
    enum weir_confirm confirm;
    bool no_epochs;  // TCP: acknowledgements count
    uint32_t fulls;  // a set of 1u << enum weir_full
    uint32_t tricks; // that may be drawn, each with one half
    uint32_t tricks_always;
    uint32_t writers_max, producers_max;
    uint32_t messages_max; // of each producer
    bool gap_records;      // may be drawn
    bool tight;            // a buffer that fills soon
    bool brief;            // little is logged, soon; the trouble is short, but goes on after that
    bool prompt;           // see sim_collector_options
    bool stalls;           // the stall timeout is short, and peers exceed it
    uint32_t collectors_max;
    bool no_workers; // the host always drives the runtime
};

void sim_host_draw(struct weir_sim *sim, const struct sim_host_profile *profile,
                   struct sim_host_plan *plan);

#endif
