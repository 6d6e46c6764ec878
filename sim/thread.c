// Threads: starting and ending them, blocking and waking, joining, and what is said of them.
#include "sim/thread.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/assert.h"
#include "sim/thread_state.h"

struct sim_threads *sim_threads_create(void)
{
    struct sim_threads *threads = calloc(1, sizeof *threads);
    if (threads != NULL) {
        sim_fiber_init_host(&threads->host);
    }
    return threads;
}

void sim_threads_destroy(struct sim_threads *threads)
{
    if (threads == NULL) {
        return;
    }
    for (uint32_t actor = 0; actor < SIM_THREADS_MAX; actor++) {
        sim_fiber_deinit(&threads->table[actor].fiber);
    }
    sim_fiber_deinit(&threads->host);
    free(threads->deadlines);
    free(threads);
}

void sim_threads_begin(struct sim_threads *threads, struct weir_sim *sim)
{
    (void)sim;
    weir_assert(!threads->inside);
    threads->now_ns = SIM_EPOCH_NS;
    threads->steps = 0;
    threads->current = 0;
    threads->points = 0;
    threads->alone = 0;
    threads->runnable_count = 0;
    memset(threads->runnable, 0, sizeof threads->runnable);
    threads->candidates_count = 0;
    threads->threads_count = 0;
    threads->processes_count = 1;
    threads->processes[0] = (struct sim_process){.state = SIM_PROCESS_RUNNING};
    threads->deadlines_count = 0;
    threads->deadlines_sequence = 0;
}

void sim_threads_run(struct sim_threads *threads, void (*entry)(void *), void *argument)
{
    weir_assert(!threads->inside && threads->threads_count == 0);
    int actor = sim_thread_start(sim_current, 0, entry, argument);
    weir_assert(actor == 0);
    threads->inside = true;
    sim_fiber_switch(&threads->host, &threads->table[0].fiber);
    threads->inside = false;
}

static void run_leave(struct sim_threads *threads)
{
    weir_assert(threads->inside);
    sim_fiber_switch(&threads->table[threads->current].fiber, &threads->host);
}

void sim_threads_stop(struct sim_threads *threads)
{
    run_leave(threads);
    abort(); // nobody goes back to an abandoned fiber
}

bool sim_threads_inside(const struct sim_threads *threads)
{
    return threads->inside;
}

uint32_t sim_thread_current(const struct sim_threads *threads)
{
    return threads->current;
}

uint32_t sim_thread_process(const struct sim_threads *threads, uint32_t actor)
{
    weir_assert(actor < threads->threads_count);
    return threads->table[actor].process;
}

uint64_t sim_threads_now(const struct sim_threads *threads)
{
    return threads->now_ns;
}

uint64_t sim_threads_steps(const struct sim_threads *threads)
{
    return threads->steps;
}

bool sim_thread_blocked(const struct sim_threads *threads, uint32_t actor)
{
    return actor < threads->threads_count && threads->table[actor].state == SIM_THREAD_BLOCKED;
}

// ---- Blocking ----

enum sim_wake sim_block(struct weir_sim *sim, enum sim_reason reason, uint32_t object,
                        uint64_t deadline_ns)
{
    struct sim_threads *threads = sim->threads;
    uint32_t actor = threads->current;
    struct sim_thread *thread = &threads->table[actor];
    sim_event(sim, SIM_EVENT_BLOCK, object, reason, deadline_ns, NULL);
    thread->state = SIM_THREAD_BLOCKED;
    thread->reason = reason;
    thread->object = object;
    thread->since_ns = threads->now_ns;
    thread->deadline_ns = deadline_ns;
    sim_runnable_remove(threads, actor);
    if (deadline_ns != UINT64_MAX) {
        sim_deadline_set(sim, actor, deadline_ns);
    }
    sim_turn_give(sim);
    return thread->wake;
}

void sim_ready(struct weir_sim *sim, uint32_t actor, enum sim_wake wake)
{
    struct sim_threads *threads = sim->threads;
    if (!sim_thread_blocked(threads, actor)) {
        return;
    }
    struct sim_thread *thread = &threads->table[actor];
    sim_event(sim, SIM_EVENT_READY, 0, actor, wake, NULL);
    sim_deadline_clear(threads, actor);
    thread->state = SIM_THREAD_READY;
    thread->wake = wake;
    if (threads->processes[thread->process].state == SIM_PROCESS_RUNNING) {
        sim_runnable_add(threads, actor);
    }
}

// ---- From start to end ----

static void thread_body(void *argument)
{
    struct sim_thread *thread = argument;
    struct weir_sim *sim = thread->sim;
    struct sim_threads *threads = sim->threads;
    thread->entry(thread->argument);
    sim_event(sim, SIM_EVENT_THREAD_END, 0, 0, 0, NULL);
    if (threads->current == 0) {
        run_leave(threads); // the run is over; whoever is left will not go on
    }
    if (thread->process != 0 && threads->processes[thread->process].live == 1) {
        sim_files_kill(sim, thread->process); // the last thread's end is the process's
    }
    sim_thread_finish(sim, threads->current);
    sim_turn_give(sim);
    abort(); // it is not runnable
}

// Nothing is said to sim_memory of the stack: an actor's is used once in a run, and what was known
// from the run before was forgotten when this one began.
int sim_thread_start(struct weir_sim *sim, uint32_t process, void (*entry)(void *), void *argument)
{
    struct sim_threads *threads = sim->threads;
    weir_assert(process < threads->processes_count);
    if (threads->threads_count == SIM_THREADS_MAX) {
        return -EAGAIN;
    }
    uint32_t actor = threads->threads_count++;
    struct sim_thread *thread = &threads->table[actor];
    thread->sim = sim;
    thread->entry = entry;
    thread->argument = argument;
    thread->process = process;
    thread->state = SIM_THREAD_READY;
    thread->claim = SIM_THREAD_JOINABLE;
    thread->joiner = SIM_ACTOR_NONE;
    thread->deadline = SIM_DEADLINE_NONE;
    size_t stack_bytes;
    void *stack = sim_arena_stack(sim->arena, actor, &stack_bytes);
    sim_fiber_init(&thread->fiber, stack, stack_bytes, thread_body, thread, sim->poison,
                   SIM_STACK_POISON_BYTES);
    threads->processes[process].live++;
    if (actor != 0) { // the scenario's own has no parent
        sim_memory_thread_start(sim->memory, threads->current, actor);
    }
    sim_choices_thread(sim->choices, actor);
    sim_event(sim, SIM_EVENT_THREAD_START, 0, actor, process, NULL);
    if (threads->processes[process].state == SIM_PROCESS_RUNNING) {
        sim_runnable_add(threads, actor);
    }
    return (int)actor;
}

void sim_thread_finish(struct weir_sim *sim, uint32_t actor)
{
    struct sim_threads *threads = sim->threads;
    struct sim_thread *thread = &threads->table[actor];
    weir_assert(thread->state != SIM_THREAD_ENDED);
    sim_deadline_clear(threads, actor);
    sim_runnable_remove(threads, actor);
    thread->state = SIM_THREAD_ENDED;
    struct sim_process *process = &threads->processes[thread->process];
    if (thread->claim == SIM_THREAD_AWAITED && process->state != SIM_PROCESS_KILLED) {
        sim_ready(sim, thread->joiner, SIM_WOKEN);
    }
    if (--process->live > 0) {
        return;
    }
    for (uint32_t waiter = 0; waiter < threads->threads_count; waiter++) {
        if (sim_thread_blocked(threads, waiter) &&
            threads->table[waiter].reason == SIM_BLOCKED_PROCESS &&
            threads->table[waiter].object == thread->process) {
            sim_ready(sim, waiter, SIM_WOKEN);
        }
    }
}

// The thread, if the current one may join or detach it, or NULL.
static struct sim_thread *thread_unclaimed(struct sim_threads *threads, uint32_t actor)
{
    uint32_t current = threads->current;
    if (actor >= threads->threads_count ||
        threads->table[actor].process != threads->table[current].process ||
        threads->table[actor].claim != SIM_THREAD_JOINABLE) {
        return NULL;
    }
    return &threads->table[actor];
}

int sim_thread_join(struct weir_sim *sim, uint32_t actor)
{
    struct sim_threads *threads = sim->threads;
    struct sim_thread *thread = thread_unclaimed(threads, actor);
    if (thread == NULL || actor == threads->current) {
        return -EINVAL;
    }
    thread->claim = SIM_THREAD_AWAITED;
    thread->joiner = threads->current;
    while (thread->state != SIM_THREAD_ENDED) {
        (void)sim_block(sim, SIM_BLOCKED_JOIN, actor, UINT64_MAX);
    }
    thread->claim = SIM_THREAD_JOINED;
    sim_memory_thread_join(sim->memory, threads->current, actor);
    sim_event(sim, SIM_EVENT_THREAD_JOIN, 0, actor, 0, NULL);
    return 0;
}

int sim_thread_detach(struct weir_sim *sim, uint32_t actor)
{
    struct sim_thread *thread = thread_unclaimed(sim->threads, actor);
    if (thread == NULL) {
        return -EINVAL;
    }
    thread->claim = SIM_THREAD_FREE;
    return 0;
}

// ---- For reports ----

uint32_t sim_process_threads(const struct weir_sim *sim, uint32_t process, uint32_t *first)
{
    const struct sim_threads *threads = sim->threads;
    uint32_t count = 0;
    for (uint32_t actor = threads->threads_count; actor-- > 0;) {
        const struct sim_thread *thread = &threads->table[actor];
        bool unclaimed = thread->claim == SIM_THREAD_JOINABLE;
        if (thread->process == process && actor != threads->current &&
            (thread->state != SIM_THREAD_ENDED || unclaimed)) {
            *first = actor;
            count++;
        }
    }
    return count;
}

static int thread_describe(const struct sim_threads *threads, uint32_t actor, char *text,
                           size_t text_bytes)
{
#define REASON_LABEL(name, label) label,
    static const char *const labels[SIM_REASONS_COUNT] = {SIM_REASONS(REASON_LABEL)};
#undef REASON_LABEL
    const struct sim_thread *thread = &threads->table[actor];
    const char *stopped =
        threads->processes[thread->process].state == SIM_PROCESS_STOPPED ? ", stopped" : "";
    if (thread->state == SIM_THREAD_READY) {
        return snprintf(text, text_bytes, "actor %" PRIu32 " (process %" PRIu32 "%s): can run\n",
                        actor, thread->process, stopped);
    }
    uint64_t since_ns = thread->since_ns - SIM_EPOCH_NS;
    uint64_t until_ns = thread->deadline_ns - SIM_EPOCH_NS;
    char until[48] = "";
    if (thread->deadline_ns != UINT64_MAX) {
        snprintf(until, sizeof until, ", until %" PRIu64 " ns", until_ns);
    }
    return snprintf(text, text_bytes,
                    "actor %" PRIu32 " (process %" PRIu32 "%s): waits for %s %" PRIu32
                    " since %" PRIu64 " ns%s\n",
                    actor, thread->process, stopped, labels[thread->reason], thread->object,
                    since_ns, until);
}

void sim_threads_describe(const struct weir_sim *sim, char *text, size_t text_bytes)
{
    const struct sim_threads *threads = sim->threads;
    weir_assert(text_bytes > 0);
    text[0] = '\0';
    size_t used = 0;
    for (uint32_t actor = 0; actor < threads->threads_count; actor++) {
        if (threads->table[actor].state == SIM_THREAD_ENDED) {
            continue;
        }
        int length = thread_describe(threads, actor, text + used, text_bytes - used);
        if (length < 0 || (size_t)length >= text_bytes - used) {
            return; // cut short
        }
        used += (size_t)length;
    }
}
