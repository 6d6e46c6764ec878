// The trace: every event of a run, its hash, the last few, and the story as text.
//
// An event never holds an address: objects have numbers in the order in which the run met them, so
// that the hash is the same in every process, compiler and architecture. Code positions (`where`)
// are kept beside the event for the story and are not part of the hash.
#ifndef WEIR_SIM_TRACE_H
#define WEIR_SIM_TRACE_H

#include "sim/limits.h"
#include "weir_sim.h"

// X(name, label, meaning of object, a, b). In the fine grain, loads, stores and such are too.
#define SIM_EVENTS(X)                                                                              \
    X(SIM_EVENT_SWITCH, "switch", "", "to actor", "")                                              \
    X(SIM_EVENT_LOAD, "load", "atomic", "order", "stores behind")                                  \
    X(SIM_EVENT_STORE, "store", "atomic", "order", "")                                             \
    X(SIM_EVENT_RMW, "rmw", "atomic", "order", "")                                                 \
    X(SIM_EVENT_CAS, "cas", "atomic", "order", "swapped")                                          \
    X(SIM_EVENT_FENCE, "fence", "", "order", "")                                                   \
    X(SIM_EVENT_THREAD_START, "thread-start", "", "actor", "process")                              \
    X(SIM_EVENT_THREAD_END, "thread-end", "", "", "")                                              \
    X(SIM_EVENT_THREAD_JOIN, "thread-join", "", "actor", "")                                       \
    X(SIM_EVENT_PROCESS, "process", "", "process", "0 kill 1 stop 2 continue")                     \
    X(SIM_EVENT_BLOCK, "block", "object", "reason", "deadline")                                    \
    X(SIM_EVENT_READY, "ready", "", "actor", "reason")                                             \
    X(SIM_EVENT_CLOCK, "clock", "", "now", "")                                                     \
    X(SIM_EVENT_FUTEX_WAIT, "futex-wait", "word", "expected", "result")                            \
    X(SIM_EVENT_FUTEX_WAKE, "futex-wake", "word", "waiters", "woken")                              \
    X(SIM_EVENT_ALLOC, "alloc", "block", "bytes", "given")                                         \
    X(SIM_EVENT_RELEASE, "release", "block", "bytes", "")                                          \
    X(SIM_EVENT_ENTROPY, "entropy", "", "bytes", "")                                               \
    X(SIM_EVENT_POLLER, "poller", "descriptor", "0 open 1 close 2 add 3 remove 4 wake 5 arm",      \
      "result")                                                                                    \
    X(SIM_EVENT_POLLED, "polled", "descriptor", "events", "deadline")                              \
    X(SIM_EVENT_EDGE, "edge", "descriptor", "readiness", "token")                                  \
    X(SIM_EVENT_SOCKET, "socket", "descriptor", "family", "type")                                  \
    X(SIM_EVENT_BIND, "bind", "descriptor", "result", "")                                          \
    X(SIM_EVENT_LISTEN, "listen", "descriptor", "result", "")                                      \
    X(SIM_EVENT_ACCEPT, "accept", "descriptor", "result", "")                                      \
    X(SIM_EVENT_CONNECT, "connect", "descriptor", "result", "")                                    \
    X(SIM_EVENT_SEND, "send", "descriptor", "bytes", "result")                                     \
    X(SIM_EVENT_RECV, "recv", "descriptor", "bytes", "result")                                     \
    X(SIM_EVENT_SHUTDOWN, "shutdown", "descriptor", "how", "result")                               \
    X(SIM_EVENT_CLOSE, "close", "descriptor", "result", "")                                        \
    X(SIM_EVENT_STATE, "state", "descriptor",                                                      \
      "what: 0 error 1 outstanding 2 state 3 option 4 address", "result")                          \
    X(SIM_EVENT_NETWORK, "network", "connection", "what happened", "bytes")                        \
    X(SIM_EVENT_RESOLVE, "resolve", "", "result", "")                                              \
    X(SIM_EVENT_DRAW, "draw", "", "value", "")                                                     \
    X(SIM_EVENT_HEAL, "heal", "", "", "")                                                          \
    X(SIM_EVENT_NOTE, "note", "", "", "")                                                          \
    X(SIM_EVENT_DEVIATION, "deviation", "kind", "value", "of")                                     \
    X(SIM_EVENT_VERDICT, "verdict", "", "verdict", "")

#define SIM_EVENT_ENUM(name, ...) name,
enum sim_event_kind { SIM_EVENTS(SIM_EVENT_ENUM) SIM_EVENTS_COUNT };
#undef SIM_EVENT_ENUM

struct sim_event {
    uint64_t number, now_ns, a, b;
    uint32_t actor, object;
    enum sim_event_kind kind;
    const void *where; // code position or NULL
    char text[96];     // notes, draws, deviations; empty otherwise
};

struct sim_trace;

struct sim_trace *sim_trace_create(void);
void sim_trace_destroy(struct sim_trace *trace);
// story: as in weir_sim_options.
void sim_trace_begin(struct sim_trace *trace, FILE *story, bool deviations_only);
// Cheap: a few multiplications, unless a story is told.
void sim_trace_event(struct sim_trace *trace, enum sim_event_kind kind, uint32_t actor,
                     uint64_t now_ns, uint32_t object, uint64_t a, uint64_t b, const void *where);
void sim_trace_text(struct sim_trace *trace, enum sim_event_kind kind, uint32_t actor,
                    uint64_t now_ns, uint64_t a, const char *text);
uint64_t sim_trace_hash(const struct sim_trace *trace);
uint64_t sim_trace_count(const struct sim_trace *trace);
// Writes the last events, oldest first.
void sim_trace_last(const struct sim_trace *trace, FILE *file);
// One event as one line. Code positions are offsets as addr2line takes them.
void sim_event_print(const struct sim_event *event, FILE *file);

#endif
