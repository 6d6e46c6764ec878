// The simulator's public interface: code on os.h and C11 atomics, run as a function of a seed.
//
// A scenario is a function that runs on a virtual thread. Everything it and the code under test do
// that could come out in more than one way is a decision, and a run is a pure function of the
// answers: which thread runs next, which store a load sees, what a socket returns, when time
// passes. Answer 0 is always the benign one. The answers that were not 0, the deviations, are the
// record of a run: they replay it, and leaving some out shrinks it.
//
// There are two grains. Coarse: ordinary objects; threads switch at the calls of struct weir_os.
// Fine: objects compiled with the flags of weir-sim.pc (-fsanitize=thread among them, but linked
// without that sanitizer's runtime); threads also switch before each atomic operation, loads may
// return any store C11 allows, and data races, use after free and overruns are reported.
//
//     static void pass(struct weir_sim *sim) { ... weir_sim_check(sim, got == 1, "passed-on"); }
//     static const struct weir_sim_scenario scenarios[] = {{.name = "pass", .run = pass}};
//     int main(int argc, char **argv) { return weir_sim_main(argc, argv, scenarios, 1); }
//
// "threads: virtual" below means: only from inside a scenario, on any of its virtual threads.
#ifndef WEIR_SIM_H
#define WEIR_SIM_H

#include <stdio.h>

#include "weir.h"

#ifdef __cplusplus
extern "C" {
#endif

// ---- Decisions ----

// X(name, label, what a deviation is): the kinds of decision.
#define WEIR_SIM_KINDS(X)                                                                          \
    X(WEIR_SIM_SWITCH, "switch", "another thread runs next")                                       \
    X(WEIR_SIM_STALE, "stale", "a load returns an older store")                                    \
    X(WEIR_SIM_WEAK, "weak", "a weak compare-exchange fails although the value matched")           \
    X(WEIR_SIM_FUTEX, "futex", "a futex wait ends for no reason, or another waiter is woken")      \
    X(WEIR_SIM_TIME, "time", "the clock reaches the next deadline while threads could run")        \
    X(WEIR_SIM_READY, "ready", "a readiness event is late, spurious or split from its siblings")   \
    X(WEIR_SIM_DELAY, "delay", "the network delivers later")                                       \
    X(WEIR_SIM_CONNECT, "connect", "a connect fails or hangs")                                     \
    X(WEIR_SIM_SEND, "send", "a send fails")                                                       \
    X(WEIR_SIM_RECV, "recv", "a receive, accept or shutdown fails")                                \
    X(WEIR_SIM_SHORT, "short", "a send or receive moves fewer bytes than it could")                \
    X(WEIR_SIM_AGAIN, "again", "1: would block, once; 2: would block, for a millisecond")          \
    X(WEIR_SIM_INTERRUPT, "interrupt", "a call is interrupted by a signal")                        \
    X(WEIR_SIM_NAME, "name", "a name resolves late, wrongly or not at all")                        \
    X(WEIR_SIM_RESOURCE, "resource", "no memory, no descriptor, no thread")                        \
    X(WEIR_SIM_REUSE, "reuse", "freed memory is handed out again at once")                         \
    X(WEIR_SIM_PEER, "peer", "a scenario's peer misbehaves")                                       \
    X(WEIR_SIM_WORK, "work", "the scenario's own draws: sizes, counts, choices")

#define WEIR_SIM_KIND_ENUM(name, label, about) name,
enum weir_sim_kind { WEIR_SIM_KINDS(WEIR_SIM_KIND_ENUM) WEIR_SIM_KINDS_COUNT };
#undef WEIR_SIM_KIND_ENUM

// One answer that was not 0: the decision_number-th decision (from 0) of this kind by this actor.
// Actors are virtual threads in order of their start; 0 is the scenario's own.
struct weir_sim_deviation {
    uint32_t kind; // enum weir_sim_kind
    uint32_t actor;
    uint32_t number;
    uint32_t value;
};

// X(name, label, what it does): who answers.
#define WEIR_SIM_STRATEGIES(X)                                                                     \
    X(WEIR_SIM_PORTFOLIO, "portfolio", "the seed picks one of the others")                         \
    X(WEIR_SIM_BENIGN, "benign", "every answer is 0, but the workload's")                          \
    X(WEIR_SIM_RANDOM, "random", "random walk: switches anywhere, at a rate the seed draws")       \
    X(WEIR_SIM_PCT, "pct", "priorities with 1 to 5 change points")                                 \
    X(WEIR_SIM_DELAY_BOUNDED, "delay-bounded", "round robin, but for a few delayed threads")

#define WEIR_SIM_STRATEGY_ENUM(name, label, about) name,
enum weir_sim_strategy { WEIR_SIM_STRATEGIES(WEIR_SIM_STRATEGY_ENUM) WEIR_SIM_STRATEGIES_COUNT };
#undef WEIR_SIM_STRATEGY_ENUM

// ---- Verdicts ----

// X(name, exit status, label).
#define WEIR_SIM_VERDICTS(X)                                                                       \
    X(WEIR_SIM_PASS, 0, "pass")                                                                    \
    X(WEIR_SIM_SAFETY, 10, "safety")     /* something that must not happen did */                  \
    X(WEIR_SIM_LIVENESS, 11, "liveness") /* something that must happen did not */                  \
    X(WEIR_SIM_NONDETERMINISM, 12, "nondeterminism")                                               \
    X(WEIR_SIM_LEAK, 13, "leak")          /* memory, descriptor or thread left at the end */       \
    X(WEIR_SIM_RACE, 14, "race")          /* conflicting plain accesses, not ordered */            \
    X(WEIR_SIM_INTERNAL, 15, "simulator") /* a bound or an assumption of the simulator's own */

#define WEIR_SIM_VERDICT_ENUM(name, status, label) name = (status),
enum weir_sim_verdict { WEIR_SIM_VERDICTS(WEIR_SIM_VERDICT_ENUM) };
#undef WEIR_SIM_VERDICT_ENUM

// Further exit statuses of weir_sim_main.
enum weir_sim_exit {
    WEIR_SIM_EXIT_USAGE = 2,
    WEIR_SIM_EXIT_PROBE = 16,      // a rare path that should have been met never was
    WEIR_SIM_EXIT_FILE = 17,       // a replay file that is truncated, edited or not one
    WEIR_SIM_EXIT_OTHER_BUILD = 18 // a replay file of another build
};

// ---- Scenarios ----

struct weir_sim;

struct weir_sim_scenario {
    const char *name;  // lower case, dashes
    const char *about; // one line
    // On virtual thread 0. When it returns, every thread it started must have ended and everything
    // it took from struct weir_os must be given back, or the verdict is WEIR_SIM_LEAK.
    void (*run)(struct weir_sim *sim);
    uint32_t kinds;     // a set of 1u << enum weir_sim_kind that may deviate; 0: all
    uint64_t steps_max; // more preemption points than this: WEIR_SIM_LIVENESS; 0: 2 million
    // Names of weir_sim_sometimes that must be met within `probe_seeds` seeds; ends with NULL.
    const char *const *probes;
    uint32_t probe_seeds;
    // About atomics alone: says nothing in the coarse grain, and is left out there unless named.
    bool fine_only;
    // Runs this scenario gets for one of the others' when a command runs them all; 0: 1.
    uint32_t weight;
    // The verdict expected of most seeds sooner or later: a demonstration or self-test that must
    // fail. Left out when all scenarios are run.
    enum weir_sim_verdict expects;
};

// The simulated operating system, for weir_runtime_options.os and for calls of one's own.
//   memory   the simulator's, for the run.          threads  virtual.
WEIR_API const struct weir_os *weir_sim_os(struct weir_sim *sim);

// A number from 0 to options - 1; 0 is the benign answer. options >= 1.      threads  virtual.
WEIR_API uint32_t weir_sim_choose(struct weir_sim *sim, enum weir_sim_kind kind, uint32_t options);
// A number from low to high, recorded under this name; low is the benign answer. A workload draw.
//                                                   threads  virtual.
WEIR_API uint32_t weir_sim_draw(struct weir_sim *sim, const char *name, uint32_t low,
                                uint32_t high);
// From now on the seed deviates in this kind so often. Overrides what the seed drew; has no effect
// on a replay.                                      threads  virtual.
WEIR_API void weir_sim_rate(struct weir_sim *sim, enum weir_sim_kind kind, uint32_t per_million);
// Ends the faults: from here on every answer but the workload's is 0, and threads take turns. What
// is then still not done within bounded steps is a liveness failure.         threads  virtual.
WEIR_API void weir_sim_heal(struct weir_sim *sim);

// Ends the run with a verdict. `name` is what broke, in a few words with dashes, the same whenever
// the same thing broke: shrinking keeps it.         threads  virtual.
WEIR_API WEIR_NORETURN void weir_sim_fail(struct weir_sim *sim, enum weir_sim_verdict verdict,
                                      const char *name, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
#define weir_sim_check(sim, condition, name)                                                       \
    (__builtin_expect(!(condition), 0)                                                             \
         ? weir_sim_fail(sim, WEIR_SIM_SAFETY, name, "%s (%s:%d)", #condition, __FILE__, __LINE__) \
         : (void)0)
// Bytes that process 0 has taken from struct weir_os and not given back.     threads  virtual.
WEIR_API uint64_t weir_sim_memory_bytes(struct weir_sim *sim);
// Counts that a rare path was met.  `name` is a constant string.             threads  virtual.
WEIR_API void weir_sim_sometimes(struct weir_sim *sim, const char *name);
// A line in the story that `explain` tells. The format must not print addresses.
//                                                   threads  virtual.
WEIR_API void weir_sim_note(struct weir_sim *sim, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

// ---- Threads, processes, time ----

// Virtual nanoseconds; starts at one second.        threads  virtual.
WEIR_API uint64_t weir_sim_now_ns(struct weir_sim *sim);
WEIR_API void weir_sim_sleep(struct weir_sim *sim, uint64_t duration_ns);

// Starts a virtual thread in the caller's process.
//   returns  its actor number.                      threads  virtual.
WEIR_API uint32_t weir_sim_start(struct weir_sim *sim, void (*entry)(void *), void *argument);
// Waits for its end. Once per thread.               threads  virtual.
WEIR_API void weir_sim_join(struct weir_sim *sim, uint32_t actor);

// A process of its own, such as a collector: `entry` runs on its first thread, and when its last
// thread ends its descriptors are closed. Process 0 is the
// scenario's; only its calls meet injected faults, and only its threads and memory can leak.
//   returns  the process.                           threads  virtual.
WEIR_API uint32_t weir_sim_process_start(struct weir_sim *sim, void (*entry)(void *),
                                         void *argument);
// As kill -9: its threads never run again, then its sockets are closed, unread data and all, as
// the kernel does.                                  threads  virtual, of another process.
WEIR_API void weir_sim_process_kill(struct weir_sim *sim, uint32_t process);
// As SIGSTOP and SIGCONT.                           threads  virtual, of another process.
WEIR_API void weir_sim_process_stop(struct weir_sim *sim, uint32_t process);
WEIR_API void weir_sim_process_continue(struct weir_sim *sim, uint32_t process);
// Waits until all threads of the process have ended.                         threads  virtual.
WEIR_API void weir_sim_process_join(struct weir_sim *sim, uint32_t process);
WEIR_API bool weir_sim_process_ended(struct weir_sim *sim, uint32_t process);

// Blocks until the descriptor (a socket, or a runtime's weir_backend_fd) is ready in one of the
// ways asked for, as poll() does; a hang-up or an error always counts.
//   ready    a set of enum weir_readiness of os.h.
//   returns  the set, 0 at the deadline, -EBADF.    threads  virtual.
WEIR_API int weir_sim_wait(struct weir_sim *sim, int fd, uint32_t ready, uint64_t deadline_ns);

// From now on the name resolves to these addresses (0: not at all), `delay_ns` after it was asked.
//   memory   copied.                                threads  virtual.
WEIR_API void weir_sim_name(struct weir_sim *sim, const char *host,
                            const struct weir_address *addresses, uint32_t addresses_count,
                            uint64_t delay_ns);

// ---- Running ----

struct weir_sim_options {
    uint64_t seed;
    enum weir_sim_strategy strategy;
    // If not NULL: replay; the seed is not looked at, what is not listed is answered 0.
    const struct weir_sim_deviation *deviations;
    size_t deviations_count;
    // If not NULL: decisions are read from bytes, six to a record: kind, actor, gap (2, little
    // endian), value (2). What no record answers is 0; draws of the workload are then the seed's,
    // if that is not 0. Any bytes are a valid run.
    const void *bytes;
    size_t bytes_count;
    uint64_t steps_max;   // 0: the scenario's
    uint8_t poison;       // what fresh stack and freed memory is filled with: may not matter
    FILE *story;          // if not NULL: every event as a line
    bool deviations_only; // the story: events that deviate, and notes
};

struct weir_sim_result {
    enum weir_sim_verdict verdict;
    char name[64];     // what broke: stays the same under shrinking
    char message[512]; // the same at length
    uint64_t hash;     // of all events
    uint64_t events, decisions, steps;
    uint64_t duration_ns;                        // virtual
    const struct weir_sim_deviation *deviations; // owned by the sim, valid until its next run
    size_t deviations_count;
};

// A simulator, to run many runs, one after the other; one at a time in a process.
//   returns  NULL: no memory.                       threads  one thread for all these calls.
WEIR_API struct weir_sim *weir_sim_create(void);
WEIR_API void weir_sim_destroy(struct weir_sim *sim);
// Runs the scenario once. Never fails: what goes wrong is the verdict.
WEIR_API void weir_sim_run(struct weir_sim *sim, const struct weir_sim_scenario *scenario,
                           const struct weir_sim_options *options, struct weir_sim_result *result);

// All runs of a tiny scenario with at most `deviations_max` deviations, depth first.
//   returns  the number of runs made; stops at the first that does not pass, which is in `result`,
//            or after runs_max (0: no bound), with *complete then false.
WEIR_API uint64_t weir_sim_exhaust(struct weir_sim *sim, const struct weir_sim_scenario *scenario,
                                   uint32_t deviations_max, uint64_t runs_max,
                                   struct weir_sim_result *result, bool *complete);

// The shortest list of deviations found that still gives the same verdict and name.
//   memory   `deviations` is overwritten and *deviations_count reduced.
//   returns  the number of runs made.
WEIR_API uint64_t weir_sim_shrink(struct weir_sim *sim, const struct weir_sim_scenario *scenario,
                                  struct weir_sim_deviation *deviations, size_t *deviations_count,
                                  const struct weir_sim_result *failure);

// How often the run(s) so far met weir_sim_sometimes(name).
WEIR_API uint64_t weir_sim_probe(const struct weir_sim *sim, const char *name);

// Whether the code under test is instrumented: the fine grain.
WEIR_API bool weir_sim_fine(void);

// The command line of weir-sim over these scenarios: `weir-sim --help`.
//   returns  the exit status.
WEIR_API int weir_sim_main(int argc, char **argv, const struct weir_sim_scenario *scenarios,
                           size_t scenarios_count);

#ifdef __cplusplus
}
#endif

#endif
