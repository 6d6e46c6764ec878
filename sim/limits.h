// Every bound of the simulator, each with its reason.
#ifndef WEIR_SIM_LIMITS_H
#define WEIR_SIM_LIMITS_H

// Virtual threads of one run: 64 workers, a few hosts and collectors.
#define SIM_THREADS_MAX 80
#define SIM_PROCESSES_MAX 64
// A fiber's stack, a page below it inaccessible. Scenarios keep options and metrics on theirs;
// under ASan frames are several times larger.
#define SIM_STACK_BYTES (256u << 10)
// Stores kept of one atomic: what a load can be behind. C11 sets no bound; longer histories found
// no bug that eight did not.
#define SIM_STORES_MAX 8
// Loads in a row in which one thread may see a store that is not the newest of one atomic: "finite
// time" of C11 7.17.3p16, so that a loop that waits for a store ends.
#define SIM_STALE_LOADS_MAX 4
// Points a thread passes while others could run, until it is made to let them: loops that wait for
// another thread without blocking would never end under a strategy that never switches.
#define SIM_QUANTUM 4096
// Fresh stack filled with the run's poison, from its top: as deep as a scenario's own frames go.
// All of it would take longer than a short run.
#define SIM_STACK_POISON_BYTES 4096u
// Once healed, points a thread passes until the next one's turn.
#define SIM_TURN 64u
// Points without a call that a thread passes while no other can run, until the clock moves to the
// next deadline: a loop that waits for a sleeping thread would not end otherwise. Far more than
// code that does not wait has between two calls.
#define SIM_PATIENCE 16384u
// Points of a run; more is a livelock. One more for each so many nanoseconds of virtual time, up to
// a multiple of it all: three writers on three workers, with something to do at each tick and with
// timers between, pass one in 640 ns (failover-outage, seed 900001091).
#define SIM_STEPS_MAX 2000000
#define SIM_STEP_NS 512u
#define SIM_STEPS_FACTOR 20
// Descriptors of all processes.
#define SIM_FILES_MAX 512
// The range that heap and stacks lie in, reserved and used as needed.
#define SIM_ARENA_BYTES (1ull << 30)
// Virtual time an os.h call takes.
#define SIM_CALL_NS 50
// Where virtual clocks start: not zero, and not a round number of anything.
#define SIM_EPOCH_NS 1000000000ull
// Distinct names given to weir_sim_sometimes.
#define SIM_PROBES_MAX 256
// Events kept for the end of a failure's message.
#define SIM_LAST_EVENTS 48

#endif
