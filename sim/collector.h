// Collectors: processes at the other end that behave as badly as real ones do.
//
// A RELP server stores a message, which is to tell the auditor, and answers for it after that.
//
// They have sockets of their own and tell the auditor every byte they read. A collector is one
// address and, most of the time, one process that listens there; it can be killed and started
// again, or stopped for a while. How each connection is treated is drawn when it is accepted
// (WEIR_SIM_PEER; benign: read everything at once). Healing makes it a good one for good.
#ifndef WEIR_SIM_COLLECTOR_H
#define WEIR_SIM_COLLECTOR_H

#include "runtime/os.h"
#include "sim/auditor.h"
#include "weir_sim.h"

// X(name, label, what it does to a connection).
#define SIM_HABITS(X)                                                                              \
    X(SIM_HABIT_GREEDY, "greedy", "reads all there is")                                            \
    X(SIM_HABIT_SLOW, "slow", "reads a few bytes and pauses")                                      \
    X(SIM_HABIT_LEAVE, "leave", "after so many bytes closes when nothing is left to read")         \
    X(SIM_HABIT_SLAM, "slam", "after so many bytes closes, unread data and all")                   \
    X(SIM_HABIT_HALF, "half", "after so many bytes ends its own side and reads on")                \
    X(SIM_HABIT_TALK, "talk", "sends bytes back that nobody asked for")                            \
    X(SIM_HABIT_DEAF, "deaf", "reads nothing for a while")                                         \
    X(SIM_HABIT_PART, "part", "after so many bytes ends its own side, and soon closes")
#define SIM_HABIT_ENUM(name, label, about) name,
enum sim_habit { SIM_HABITS(SIM_HABIT_ENUM) SIM_HABITS_COUNT };
#undef SIM_HABIT_ENUM

// X(name, what a RELP server does over a connection, after so many answers where that is open).
#define SIM_MANNERS(X)                                                                             \
    X(SIM_MANNER_GOOD, "answers each frame")                                                       \
    X(SIM_MANNER_MUTE, "answers no more")                                                          \
    X(SIM_MANNER_LEAP, "never answers one of them")                                                \
    X(SIM_MANNER_TWICE, "answers one twice")                                                       \
    X(SIM_MANNER_NEVER_SENT, "answers a number that was never sent")                               \
    X(SIM_MANNER_GARBAGE, "sends what is no RELP")                                                 \
    X(SIM_MANNER_TORN, "sends half an answer and closes")                                          \
    X(SIM_MANNER_GOODBYE, "sends `serverclose`, and perhaps closes")                               \
    X(SIM_MANNER_HINT, "sends hints that mean nothing")                                            \
    X(SIM_MANNER_REFUSE, "refuses some messages")                                                  \
    X(SIM_MANNER_REFUSE_ALL, "refuses all for a while")                                            \
    X(SIM_MANNER_OPEN_REFUSED, "refuses the session")                                              \
    X(SIM_MANNER_OPEN_OTHER, "agrees to a session without syslog, or of another version")          \
    X(SIM_MANNER_OPEN_LATE, "takes its time to agree to the session")                              \
    X(SIM_MANNER_OPEN_MUTE, "never answers the open")
#define SIM_MANNER_ENUM(name, about) name,
enum sim_manner { SIM_MANNERS(SIM_MANNER_ENUM) SIM_MANNERS_COUNT };
#undef SIM_MANNER_ENUM

enum sim_collector_kind {
    SIM_COLLECTOR_UNIX,
    SIM_COLLECTOR_TCP,
    SIM_COLLECTOR_RELP,
    SIM_COLLECTOR_UNIX_DATAGRAM,
    SIM_COLLECTOR_UDP
};

struct sim_collector_options {
    struct sim_auditor *auditor;
    enum sim_collector_kind kind;
    const char *path; // Unix; '@' first: abstract
    const char *host; // numeric
    uint16_t port;
    uint32_t habits; // a set of 1u << enum sim_habit, GREEDY always is
    // RELP: a set of 1u << enum sim_manner, GOOD always is; the pool's window; how many answers at
    // most until the manner shows; and it may answer late, out of order and in tiny pieces.
    uint32_t manners, window_messages, answers_draw;
    bool unhurried;
    bool incorrigible;    // RELP: healing does not mend its manners
    uint32_t bytes_draw;  // largest count of bytes drawn for a habit
    uint64_t pause_ns;    // longest pause of a slow one; a deaf one's is ten times as long
    uint64_t rest_ns;     // longest time between two troubles, and length of one
    uint32_t troubles;    // kills and stops at most
    uint64_t late_ns_max; // it may begin to listen so late
    bool prompt;          // nothing on the way, and no leap of the clock, delays what it does
};

// The address these options name.
struct weir_address sim_collector_address(enum sim_collector_kind kind, const char *path,
                                          const char *host, uint16_t port);

struct sim_collector;

// Starts its process.
struct sim_collector *sim_collector_open(struct weir_sim *sim,
                                         const struct sim_collector_options *options);
// A thread's entry: kills and restarts, stops and continues the collector until it is healed.
void sim_collector_trouble(void *collector);
// From now on it listens, and reads everything. After its trouble thread has ended.
void sim_collector_heal(struct sim_collector *collector);
// Waits until it has read what is left: no connection is open any more.
//   returns  false: not by then.
bool sim_collector_drain(struct sim_collector *collector, uint64_t timeout_ns);
// Nobody listens there any more, as after a move. After its trouble thread has ended.
void sim_collector_leave(struct sim_collector *collector);
// And then it comes back.
void sim_collector_return(struct sim_collector *collector);
// Ends its process.
void sim_collector_close(struct sim_collector *collector);

uint32_t sim_collector_restarts(const struct sim_collector *collector);
uint32_t sim_collector_accepts(const struct sim_collector *collector);
// RELP: how many sessions ended with `close`, and messages refused.
uint32_t sim_collector_closes(const struct sim_collector *collector);
uint32_t sim_collector_refusals(const struct sim_collector *collector);

#endif
