// What a scenario may call: draws, verdicts, probes, threads, processes and sleep, on sim's rooms.
#include <stdarg.h>
#include <string.h>

#include "runtime/assert.h"
#include "sim/sim.h"

// ---- Draws and faults ----

uint32_t weir_sim_choose(struct weir_sim *sim, enum weir_sim_kind kind, uint32_t options)
{
    weir_assert(options >= 1);
    return sim_decide(sim, kind, options);
}

uint32_t weir_sim_draw(struct weir_sim *sim, const char *name, uint32_t low, uint32_t high)
{
    weir_assert(low <= high && high - low < UINT32_MAX);
    uint32_t value = low + sim_decide(sim, WEIR_SIM_WORK, high - low + 1);
    sim_draw_note(sim, name, value);
    return value;
}

void weir_sim_rate(struct weir_sim *sim, enum weir_sim_kind kind, uint32_t per_million)
{
    sim_choices_rate(sim->choices, kind, per_million);
}

void weir_sim_heal(struct weir_sim *sim)
{
    sim_choices_heal(sim->choices);
    sim_event(sim, SIM_EVENT_HEAL, 0, 0, 0, NULL);
}

// ---- Probes and notes ----

static struct sim_probe *probe_find(const struct weir_sim *sim, const char *name)
{
    for (uint32_t index = 0; index < sim->probes_count; index++) {
        if (sim->probes[index].name == name || strcmp(sim->probes[index].name, name) == 0) {
            return (struct sim_probe *)&sim->probes[index];
        }
    }
    return NULL;
}

void weir_sim_sometimes(struct weir_sim *sim, const char *name)
{
    struct sim_probe *probe = probe_find(sim, name);
    if (probe == NULL) {
        if (sim->probes_count == SIM_PROBES_MAX) {
            weir_sim_fail(sim, WEIR_SIM_INTERNAL, "too-many-probes", "more than %d names of probes",
                          SIM_PROBES_MAX);
        }
        probe = &sim->probes[sim->probes_count++];
        *probe = (struct sim_probe){.name = name};
    }
    probe->met++;
}

uint64_t weir_sim_probe(const struct weir_sim *sim, const char *name)
{
    const struct sim_probe *probe = probe_find(sim, name);
    return probe == NULL ? 0 : probe->met;
}

uint64_t weir_sim_memory_bytes(struct weir_sim *sim)
{
    size_t peak_bytes;
    return sim_arena_bytes(sim->arena, 0, &peak_bytes);
}

void weir_sim_note(struct weir_sim *sim, const char *format, ...)
{
    char text[96];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    sim_trace_text(sim->trace, SIM_EVENT_NOTE, sim_actor(sim), sim_threads_now(sim->threads), 0,
                   text);
}

// ---- Threads and time ----

uint64_t weir_sim_now_ns(struct weir_sim *sim)
{
    return sim_threads_now(sim->threads);
}

void weir_sim_sleep(struct weir_sim *sim, uint64_t duration_ns)
{
    uint64_t now_ns = sim_threads_now(sim->threads); // from now, not from the end of the call
    uint64_t until_ns = duration_ns < UINT64_MAX - now_ns ? now_ns + duration_ns : UINT64_MAX - 1;
    sim_point_call(sim);
    while (sim_threads_now(sim->threads) < until_ns) {
        (void)sim_block(sim, SIM_BLOCKED_SLEEP, 0, until_ns);
    }
}

uint32_t weir_sim_start(struct weir_sim *sim, void (*entry)(void *), void *argument)
{
    sim_point_call(sim);
    uint32_t process = sim_thread_process(sim->threads, sim_actor(sim));
    int actor = sim_thread_start(sim, process, entry, argument);
    if (actor < 0) {
        weir_sim_fail(sim, WEIR_SIM_INTERNAL, "too-many-threads", "more than %d threads in a run",
                      SIM_THREADS_MAX);
    }
    return (uint32_t)actor;
}

void weir_sim_join(struct weir_sim *sim, uint32_t actor)
{
    sim_point_call(sim);
    int error = sim_thread_join(sim, actor);
    weir_assert(error == 0); // joined twice, or never started
}

// ---- Processes ----

uint32_t weir_sim_process_start(struct weir_sim *sim, void (*entry)(void *), void *argument)
{
    sim_point_call(sim);
    return sim_process_start(sim, entry, argument);
}

static void process_assert_other(const struct weir_sim *sim, uint32_t process)
{
    weir_assert(process != 0 && process != sim_thread_process(sim->threads, sim_actor(sim)));
}

void weir_sim_process_kill(struct weir_sim *sim, uint32_t process)
{
    process_assert_other(sim, process);
    sim_point_call(sim);
    sim_world_kill(sim, process);
}

void weir_sim_process_stop(struct weir_sim *sim, uint32_t process)
{
    process_assert_other(sim, process);
    sim_point_call(sim);
    sim_process_stop(sim, process, true);
}

void weir_sim_process_continue(struct weir_sim *sim, uint32_t process)
{
    process_assert_other(sim, process);
    sim_point_call(sim);
    sim_process_stop(sim, process, false);
}

void weir_sim_process_join(struct weir_sim *sim, uint32_t process)
{
    process_assert_other(sim, process);
    sim_point_call(sim);
    sim_process_join(sim, process);
}

bool weir_sim_process_ended(struct weir_sim *sim, uint32_t process)
{
    return sim_process_ended(sim, process);
}
