// What the runtime's scenarios share: kinds of decision, a runtime to test, a way to wait.
#ifndef WEIR_SIM_SCENARIO_SUPPORT_H
#define WEIR_SIM_SCENARIO_SUPPORT_H

#include <errno.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "runtime/os.h"
#include "weir_sim.h"

// Schedules and memory alone.
#define SCENARIO_MEMORY_KINDS                                                                      \
    (1u << WEIR_SIM_SWITCH | 1u << WEIR_SIM_STALE | 1u << WEIR_SIM_WEAK | 1u << WEIR_SIM_WORK)
// All that can happen to a runtime that meets no failure.
#define SCENARIO_RUNTIME_KINDS                                                                     \
    (SCENARIO_MEMORY_KINDS | 1u << WEIR_SIM_FUTEX | 1u << WEIR_SIM_TIME | 1u << WEIR_SIM_READY |   \
     1u << WEIR_SIM_INTERRUPT | 1u << WEIR_SIM_REUSE)

// A runtime on the simulated os, which does not fail without WEIR_SIM_RESOURCE.
static inline struct weir_runtime *scenario_runtime(struct weir_sim *sim, uint32_t workers)
{
    struct weir_runtime_options options = {.workers = workers, .os = weir_sim_os(sim)};
    struct weir_runtime *runtime = NULL;
    int error = weir_runtime_create(&runtime, &options);
    weir_sim_check(sim, error == 0, "runtime-create");
    return runtime;
}

// Spawns from outside.
#define scenario_spawn(sim, runtime, task, handle)                                                 \
    weir_sim_check(sim,                                                                            \
                   weir_runtime_spawn(runtime, &(task)->future, sizeof *(task),                    \
                                      WEIR_SPAWN_STEALABLE, handle) == 0,                          \
                   "spawn-refused")

// Joins a task from outside and gives its result. Not inlined: a late futex_wake of one call's
// frame then meets the next one's in every build, or in none, and the builds' traces stay the same.
__attribute__((noinline, unused)) static int scenario_join(struct weir_runtime *runtime,
                                                           struct weir_handle handle)
{
    struct weir_task_join join = {.handle = {0}};
    weir_task_join_init(&join, handle);
    return weir_block_on(runtime, &join.future, sizeof join);
}

// Two connected Unix streams of this process.
__attribute__((unused)) static void scenario_pair(struct weir_sim *sim, int ends[2])
{
    const struct weir_os *os = weir_sim_os(sim);
    struct weir_address address;
    weir_sim_check(sim, weir_address_unix(&address, "@pair") == 0, "address");
    int listener = os->socket_open(os->self, AF_UNIX, SOCK_STREAM);
    ends[0] = os->socket_open(os->self, AF_UNIX, SOCK_STREAM);
    weir_sim_check(sim, os->socket_bind(os->self, listener, &address) == 0, "bind");
    weir_sim_check(sim, os->socket_listen(os->self, listener, 1) == 0, "listen");
    int error;
    do {
        error = os->socket_connect(os->self, ends[0], &address);
    } while (error == -EAGAIN || error == -EINTR);
    weir_sim_check(sim, error == 0, "connect");
    do {
        ends[1] = os->socket_accept(os->self, listener);
    } while (ends[1] == -EAGAIN || ends[1] == -EINTR);
    weir_sim_check(sim, ends[1] >= 0, "accept");
    (void)os->socket_close(os->self, listener);
}

#endif
