// Virtual threads, processes and time: who runs, who waits for what, and when the clock moves.
//
// One fiber per thread; exactly one runs. A preemption point asks for the next one. When none can
// run the clock moves to the next deadline (of a blocked thread, or an event of the network). When
// there is none either and a thread of process 0 is left, that is a lost wake-up or a deadlock,
// found exactly: WEIR_SIM_LIVENESS, with a line per thread saying what it waits for.
#ifndef WEIR_SIM_THREAD_H
#define WEIR_SIM_THREAD_H

#include "sim/fiber.h"
#include "weir_sim.h"

struct sim_threads;

// X(name, label): what a thread is blocked on.
#define SIM_REASONS(X)                                                                             \
    X(SIM_BLOCKED_SLEEP, "a sleep")                                                                \
    X(SIM_BLOCKED_JOIN, "a thread's end")                                                          \
    X(SIM_BLOCKED_PROCESS, "a process's end")                                                      \
    X(SIM_BLOCKED_FUTEX, "futex_wait on word")                                                     \
    X(SIM_BLOCKED_POLLER, "poller_wait on descriptor")                                             \
    X(SIM_BLOCKED_FILE, "descriptor")                                                              \
    X(SIM_BLOCKED_NAME, "a name")
#define SIM_REASON_ENUM(name, label) name,
enum sim_reason { SIM_REASONS(SIM_REASON_ENUM) SIM_REASONS_COUNT };
#undef SIM_REASON_ENUM

// Why a blocked thread goes on.
enum sim_wake { SIM_WOKEN, SIM_WAKE_DEADLINE, SIM_WAKE_SPURIOUS };

struct sim_threads *sim_threads_create(void);
void sim_threads_destroy(struct sim_threads *threads);
// A new run; then run() starts entry on actor 0 and returns when it has ended or a verdict was
// given.
void sim_threads_begin(struct sim_threads *threads, struct weir_sim *sim);
void sim_threads_run(struct sim_threads *threads, void (*entry)(void *), void *argument);
// Leaves the run at once, from any fiber.
_Noreturn void sim_threads_stop(struct sim_threads *threads);
bool sim_threads_inside(const struct sim_threads *threads); // on a fiber, in a run

uint32_t sim_thread_current(const struct sim_threads *threads);
uint32_t sim_thread_process(const struct sim_threads *threads, uint32_t actor);
uint64_t sim_threads_now(const struct sim_threads *threads);
uint64_t sim_threads_steps(const struct sim_threads *threads);

// A preemption point before an atomic operation: a step, and perhaps others run first.
void sim_point(struct weir_sim *sim);
// The same before an os.h call: the call also takes SIM_CALL_NS, and perhaps the next deadline
// comes first (WEIR_SIM_TIME).
void sim_point_call(struct weir_sim *sim);
// The same, letting the others go first.
void sim_point_yield(struct weir_sim *sim);

// Blocks the running thread until sim_ready or the deadline (UINT64_MAX: none). `object` is for the
// report.
enum sim_wake sim_block(struct weir_sim *sim, enum sim_reason reason, uint32_t object,
                        uint64_t deadline_ns);
// Makes a blocked thread ready to run; nothing if it is not blocked.
void sim_ready(struct weir_sim *sim, uint32_t actor, enum sim_wake wake);
bool sim_thread_blocked(const struct sim_threads *threads, uint32_t actor);

// Calls back at this time, from the scheduler (no point, no block inside). An event may come to
// nothing; there is no cancelling. Deadlines at one time fire in the order they were made.
void sim_at(struct weir_sim *sim, uint64_t when_ns,
            void (*call)(struct weir_sim *, void *, uint64_t), void *target, uint64_t number);

// returns  the actor, or -EAGAIN: SIM_THREADS_MAX.
int sim_thread_start(struct weir_sim *sim, uint32_t process, void (*entry)(void *), void *argument);
int sim_thread_join(struct weir_sim *sim, uint32_t actor);   // -EINVAL: joined, detached or not one
int sim_thread_detach(struct weir_sim *sim, uint32_t actor); // -EINVAL
uint32_t sim_process_start(struct weir_sim *sim, void (*entry)(void *), void *argument);
// The threads' side of kill; world.c closes the descriptors.
void sim_process_kill(struct weir_sim *sim, uint32_t process);
void sim_process_stop(struct weir_sim *sim, uint32_t process, bool stopped);
void sim_process_join(struct weir_sim *sim, uint32_t process);
bool sim_process_ended(const struct weir_sim *sim, uint32_t process);
// Threads of the process that are neither ended nor waited for: at the end of a run, leaks. *first
// is an actor.
uint32_t sim_process_threads(const struct weir_sim *sim, uint32_t process, uint32_t *first);
// One line per thread that has not ended: what it waits for, since when.
void sim_threads_describe(const struct weir_sim *sim, char *text, size_t text_bytes);

#endif
