// What threads, processes, deadlines and turns share: the state of one run's scheduling.
#ifndef WEIR_SIM_THREAD_STATE_H
#define WEIR_SIM_THREAD_STATE_H

#include "sim/sim.h"

#define SIM_ACTOR_NONE UINT32_MAX
#define SIM_DEADLINE_NONE UINT32_MAX
#define SIM_RUNNABLE_WORDS ((SIM_THREADS_MAX + 63) / 64)

enum sim_thread_state {
    SIM_THREAD_READY, // runs, or could if its process is not stopped
    SIM_THREAD_BLOCKED,
    SIM_THREAD_ENDED // or killed
};

// Who will see to the thread's end.
enum sim_thread_claim {
    SIM_THREAD_JOINABLE,
    SIM_THREAD_AWAITED,
    SIM_THREAD_JOINED,
    SIM_THREAD_FREE
};

enum sim_process_state { SIM_PROCESS_RUNNING, SIM_PROCESS_STOPPED, SIM_PROCESS_KILLED };

struct sim_thread {
    struct sim_fiber fiber;
    struct weir_sim *sim;
    void (*entry)(void *);
    void *argument;
    uint32_t process;
    enum sim_thread_state state;
    enum sim_thread_claim claim;
    uint32_t joiner; // while awaited
    // While blocked:
    enum sim_reason reason;
    enum sim_wake wake; // and after it
    uint32_t object;
    uint32_t deadline; // where in the heap; or SIM_DEADLINE_NONE
    uint64_t since_ns;
    uint64_t deadline_ns;
};

struct sim_process {
    enum sim_process_state state;
    uint32_t live; // threads that have not ended
};

// One entry of the heap: a blocked thread's deadline, or a call.
struct sim_deadline {
    uint64_t when_ns;
    uint64_t sequence;
    void (*call)(struct weir_sim *, void *, uint64_t); // NULL: of the thread `number`
    void *target;
    uint64_t number;
};

struct sim_threads {
    uint64_t now_ns;
    uint64_t steps;
    uint32_t current;
    uint32_t points; // passed by the current thread while others could run
    uint32_t alone;  // passed by it while none could, since its last call
    uint32_t runnable_count;
    uint64_t runnable[SIM_RUNNABLE_WORDS]; // bit per actor: ready, its process not stopped
    // The answers a point has, kept until the runnable set or the current thread changes; 0: none.
    uint32_t candidates_count;
    uint8_t candidates[SIM_THREADS_MAX];
    uint32_t threads_count; // started in this run
    uint32_t processes_count;
    bool inside;
    struct sim_deadline *deadlines; // a heap by (when_ns, sequence); kept from run to run
    uint32_t deadlines_count, deadlines_capacity;
    uint64_t deadlines_sequence;
    struct sim_fiber host;
    struct sim_process processes[SIM_PROCESSES_MAX];
    struct sim_thread table[SIM_THREADS_MAX];
};

// ---- Turns: turn.c ----

void sim_runnable_add(struct sim_threads *threads, uint32_t actor);
void sim_runnable_remove(struct sim_threads *threads, uint32_t actor);
// The running thread has blocked or ended: others run. Returns when its turn comes again.
void sim_turn_give(struct weir_sim *sim);
// Counts a step; too many end the run.
void sim_step(struct weir_sim *sim);

// ---- Deadlines: deadline.c ----

void sim_deadline_set(struct weir_sim *sim, uint32_t actor, uint64_t when_ns);
void sim_deadline_clear(struct sim_threads *threads, uint32_t actor);
// Wakes and calls whatever is due.
void sim_deadlines_fire(struct weir_sim *sim);
// Moves the clock to the next deadline and fires it. returns  false: there is none.
bool sim_clock_advance(struct weir_sim *sim);

// ---- Threads: thread.c ----

// Ends a thread that will not run again: whoever waits for it or its process goes on.
void sim_thread_finish(struct weir_sim *sim, uint32_t actor);

#endif
