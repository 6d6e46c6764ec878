// Processes: sets of threads that are stopped, continued, killed and waited for together.
#include <stdlib.h>

#include "runtime/assert.h"
#include "sim/thread_state.h"

enum process_event { PROCESS_KILL, PROCESS_STOP, PROCESS_CONTINUE };

static struct sim_process *process_other(struct weir_sim *sim, uint32_t process)
{
    struct sim_threads *threads = sim->threads;
    weir_assert(process < threads->processes_count);
    weir_assert(process != threads->table[threads->current].process);
    return &threads->processes[process];
}

uint32_t sim_process_start(struct weir_sim *sim, void (*entry)(void *), void *argument)
{
    struct sim_threads *threads = sim->threads;
    uint32_t process = threads->processes_count;
    if (process == SIM_PROCESSES_MAX) {
        weir_sim_fail(sim, WEIR_SIM_INTERNAL, "too-many-processes", "more than %d in a run",
                      SIM_PROCESSES_MAX);
    }
    threads->processes_count++;
    threads->processes[process] = (struct sim_process){.state = SIM_PROCESS_RUNNING};
    if (sim_thread_start(sim, process, entry, argument) < 0) {
        weir_sim_fail(sim, WEIR_SIM_INTERNAL, "too-many-threads", "more than %d in a run",
                      SIM_THREADS_MAX);
    }
    return process;
}

// The current thread has seen the process end, and with it all that its threads did.
static void process_seen(const struct weir_sim *sim, uint32_t process)
{
    const struct sim_threads *threads = sim->threads;
    for (uint32_t actor = 0; actor < threads->threads_count; actor++) {
        if (threads->table[actor].process == process) {
            sim_memory_thread_join(sim->memory, threads->current, actor);
        }
    }
}

void sim_process_kill(struct weir_sim *sim, uint32_t process)
{
    struct sim_threads *threads = sim->threads;
    struct sim_process *killed = process_other(sim, process);
    if (killed->live == 0) {
        return;
    }
    sim_event(sim, SIM_EVENT_PROCESS, 0, process, PROCESS_KILL, NULL);
    killed->state = SIM_PROCESS_KILLED;
    for (uint32_t actor = 0; actor < threads->threads_count; actor++) {
        struct sim_thread *thread = &threads->table[actor];
        if (thread->process == process && thread->state != SIM_THREAD_ENDED) {
            sim_thread_finish(sim, actor);
        }
    }
    process_seen(sim, process);
}

void sim_process_stop(struct weir_sim *sim, uint32_t process, bool stopped)
{
    struct sim_threads *threads = sim->threads;
    struct sim_process *other = process_other(sim, process);
    enum sim_process_state state = stopped ? SIM_PROCESS_STOPPED : SIM_PROCESS_RUNNING;
    if (other->live == 0 || other->state == state) {
        return;
    }
    sim_event(sim, SIM_EVENT_PROCESS, 0, process, stopped ? PROCESS_STOP : PROCESS_CONTINUE, NULL);
    other->state = state;
    for (uint32_t actor = 0; actor < threads->threads_count; actor++) {
        const struct sim_thread *thread = &threads->table[actor];
        if (thread->process != process || thread->state != SIM_THREAD_READY) {
            continue;
        }
        if (stopped) {
            sim_runnable_remove(threads, actor);
        } else {
            sim_runnable_add(threads, actor);
        }
    }
}

void sim_process_join(struct weir_sim *sim, uint32_t process)
{
    const struct sim_process *other = process_other(sim, process);
    while (other->live > 0) {
        (void)sim_block(sim, SIM_BLOCKED_PROCESS, process, UINT64_MAX);
    }
    process_seen(sim, process);
}

bool sim_process_ended(const struct weir_sim *sim, uint32_t process)
{
    weir_assert(process < sim->threads->processes_count);
    if (sim->threads->processes[process].live > 0) {
        return false;
    }
    process_seen(sim, process);
    return true;
}
