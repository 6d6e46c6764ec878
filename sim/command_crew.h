// The crew: worker processes that run seeds, and the parent that counts what they did.
//
// Worker i takes the seeds first+i, first+i+jobs, ... and makes every turn of each: a scenario, as
// often as its weight says. Figures are kept in memory that all share, so that they survive the
// worker; failures come through its pipe. A process that ends without having said so is itself a
// failure, of the turn that was under way. Without --keep-going the lowest failing seed is what a
// run finds, however many workers there are: once one has failed the others go on up to its seed.
#ifndef WEIR_SIM_COMMAND_CREW_H
#define WEIR_SIM_COMMAND_CREW_H

#include <signal.h>
#include <stdatomic.h>

#include "sim/command.h"

// One run of each seed.
struct sim_turn {
    uint32_t scenario;
    uint32_t number, weight; // the number-th of `weight` runs
};

// Kinds of failure that were met before, by scenario and name.
#define SIM_KNOWN_MAX 64
struct sim_known {
    struct {
        uint32_t scenario;
        char name[64];
    } list[SIM_KNOWN_MAX];
    uint32_t count;
};
// Whether it was met before; if not it is noted, as long as there is room.
bool sim_known_before(struct sim_known *known, uint32_t scenario, const char *name);

struct sim_probe_row {
    const char *key; // the constant string of the process that counted
    char name[64];
    uint64_t met;
};

// What was done for one scenario. One process writes; `runs` and `virtual_ns` are read meanwhile.
struct sim_row {
    _Atomic uint64_t runs, virtual_ns;
    uint64_t failures, steps, busy_ns;
    uint32_t probes_count;
    struct sim_probe_row probes[SIM_PROBES_MAX];
};

enum sim_worker_state {
    SIM_WORKER_STARTING,
    SIM_WORKER_RUNNING,
    SIM_WORKER_RESTART, // had a crash: a new process shall go on after this turn
    SIM_WORKER_DONE
};

// Shared memory of one worker; its rows follow, one per scenario of the table.
struct sim_worker_page {
    _Atomic uint32_t state; // enum sim_worker_state
    _Atomic uint32_t turn;
    _Atomic uint64_t seed; // with `turn`: what is under way
    struct sim_row rows[];
};

// Shared memory of all.
struct sim_crew_page {
    _Atomic uint64_t stop_seed; // no turns of seeds above this one
    _Atomic uint32_t stop;      // no more turns at all
};

struct sim_worker {
    pid_t process; // 0: none
    int pipe;
    struct sim_worker_page *page;
    struct sim_failure failure; // what was read of one
    size_t failure_bytes;
};

struct sim_crew {
    const struct sim_command *command;
    struct sim_turn *turns;
    uint32_t turns_count;
    struct sim_crew_page *page;
    size_t page_bytes; // of everything shared
    struct sim_worker *workers;
    uint32_t workers_count, live;
    struct sim_row *totals; // of workers that have ended, one per scenario
    int signal_fd;
    sigset_t signals_before;
    int signal;  // the first that came, or 0
    uint64_t children_ns; // processor time of children before this crew's
    bool broken; // a worker could not be started; said
    // Called in the parent for each failure; of those with one name each worker sends the first.
    void (*failed)(void *context, const struct sim_failure *failure);
    void *context;
};

// Makes the turns, the memory and the processes.
//   returns  0 or SIM_EXIT_SYSTEM, said.
int sim_crew_start(struct sim_crew *crew, const struct sim_command *command);
// Waits for something to happen, at most so long.
void sim_crew_wait(struct sim_crew *crew, int timeout_ms);
void sim_crew_stop(struct sim_crew *crew); // after the runs under way
uint64_t sim_crew_runs(const struct sim_crew *crew);
uint64_t sim_crew_virtual_ns(const struct sim_crew *crew);
uint64_t sim_crew_cpu_ns(const struct sim_crew *crew); // processor time, of ended workers too
void sim_crew_deinit(struct sim_crew *crew); // kills what is left

// ---- In the worker's process (command_worker.c) ----

// Runs from this seed and turn on; does not return.
_Noreturn void sim_worker_main(const struct sim_crew *crew, uint32_t index, uint64_t seed,
                               uint32_t turn, int pipe);
// The seed that is run in this turn.
uint64_t sim_turn_seed(const struct sim_turn *turn, uint64_t seed);
// No turns of seeds above this one any more: it failed.
void sim_crew_lower_stop(struct sim_crew_page *page, uint64_t seed);
// Adds figures and probes of one row to another.
void sim_row_add(struct sim_row *to, const struct sim_row *from);

// ---- Of `run` ----

struct sim_session {
    const struct sim_command *command;
    struct sim_crew crew;
    uint64_t begun_ns, progress_ns;
    bool terminal;
    uint64_t failures;        // heard of
    struct sim_failure first; // of the lowest seed
    struct sim_known known;   // that were reported
    enum weir_sim_verdict worst;
};
// The table, what probes met, the sum (command_summary.c).
//   returns  the exit status.
int sim_summary_print(const struct sim_session *session);

#endif
