// One run: builds the rooms, starts the scenario on actor 0, and turns what happened into a result.
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/assert.h"
#include "sim/sim.h"

struct weir_sim *sim_current;

// ---- The simulator ----

struct weir_sim *weir_sim_create(void)
{
    struct weir_sim *sim = calloc(1, sizeof *sim);
    if (sim == NULL) {
        return NULL;
    }
    sim->choices = sim_choices_create();
    sim->trace = sim_trace_create();
    sim->arena = sim_arena_create();
    sim->memory = sim_memory_create();
    sim->threads = sim_threads_create();
    sim->files = sim_files_create();
    sim->net = sim_net_create();
    sim->world = sim_world_create();
    if (sim->choices == NULL || sim->trace == NULL || sim->arena == NULL || sim->memory == NULL ||
        sim->threads == NULL || sim->files == NULL || sim->net == NULL || sim->world == NULL) {
        weir_sim_destroy(sim);
        return NULL;
    }
    return sim;
}

// Each destroy takes NULL, as free does.
void weir_sim_destroy(struct weir_sim *sim)
{
    if (sim == NULL) {
        return;
    }
    weir_assert(sim_current != sim);
    sim_world_destroy(sim->world);
    sim_net_destroy(sim->net);
    sim_files_destroy(sim->files);
    sim_threads_destroy(sim->threads);
    sim_memory_destroy(sim->memory);
    sim_arena_destroy(sim->arena);
    sim_trace_destroy(sim->trace);
    sim_choices_destroy(sim->choices);
    free(sim);
}

// ---- Verdicts ----

static void verdict_set(struct weir_sim *sim, enum weir_sim_verdict verdict, const char *name,
                        const char *message)
{
    struct weir_sim_result *result = sim->result;
    result->verdict = verdict;
    snprintf(result->name, sizeof result->name, "%s", name);
    snprintf(result->message, sizeof result->message, "%s", message);
    sim_trace_text(sim->trace, SIM_EVENT_VERDICT, sim_actor(sim), sim_threads_now(sim->threads),
                   (uint64_t)verdict, name);
}

void weir_sim_fail(struct weir_sim *sim, enum weir_sim_verdict verdict, const char *name,
                   const char *format, ...)
{
    char message[sizeof sim->result->message];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (sim->result->verdict == WEIR_SIM_PASS) { // the first thing that broke is the finding
        verdict_set(sim, verdict, name, message);
    }
    sim_threads_stop(sim->threads);
}

// Of runtime/assert.h: in a run a failed assertion is a finding, with the seed that leads to it.
void weir_assert_failed(const char *condition, const char *file, int line)
{
    if (sim_current != NULL && sim_threads_inside(sim_current->threads)) {
        char name[sizeof sim_current->result->name];
        const char *base = strrchr(file, '/');
        snprintf(name, sizeof name, "assertion %s:%d", base == NULL ? file : base + 1, line);
        weir_sim_fail(sim_current, WEIR_SIM_SAFETY, name, "%s (%s:%d)", condition, file, line);
    }
    fprintf(stderr, "weir: assertion failed: %s (%s:%d)\n", condition, file, line);
    abort();
}

// ---- A run ----

static void scenario_entry(void *argument)
{
    struct weir_sim *sim = argument;
    sim->scenario->run(sim);
    sim_world_leaks(sim);
}

static void rooms_begin(struct weir_sim *sim, const struct weir_sim_options *options)
{
    if (sim_choices_searching(sim->choices)) {
        sim_choices_begin_search(sim->choices, sim->scenario->kinds);
    } else {
        sim_choices_begin(sim->choices, options, sim->scenario->kinds);
    }
    sim_trace_begin(sim->trace, options->story, options->deviations_only);
    sim_arena_begin(sim->arena, options->poison);
    sim_threads_begin(sim->threads, sim);
    sim_memory_begin(sim->memory, sim);
    sim_files_begin(sim->files);
    sim_net_begin(sim->net);
    sim_world_begin(sim->world, sim);
}

static uint64_t steps_max(const struct weir_sim_scenario *scenario,
                          const struct weir_sim_options *options)
{
    if (options->steps_max != 0) {
        return options->steps_max;
    }
    return scenario->steps_max != 0 ? scenario->steps_max : SIM_STEPS_MAX;
}

void weir_sim_run(struct weir_sim *sim, const struct weir_sim_scenario *scenario,
                  const struct weir_sim_options *options, struct weir_sim_result *result)
{
    weir_assert(sim_current == NULL);
    *result = (struct weir_sim_result){.verdict = WEIR_SIM_PASS};
    sim->scenario = scenario;
    sim->result = result;
    sim->steps_max = steps_max(scenario, options);
    sim->steps_limit = sim->steps_max;
    sim->poison = options->poison;
    sim->draws[0] = '\0';
    rooms_begin(sim, options);
    sim_current = sim;
    sim_threads_run(sim->threads, scenario_entry, sim);
    sim_current = NULL;
    result->hash = sim_trace_hash(sim->trace);
    result->events = sim_trace_count(sim->trace);
    result->decisions = sim_choices_count(sim->choices);
    result->steps = sim_threads_steps(sim->threads);
    result->duration_ns = sim_threads_now(sim->threads) - SIM_EPOCH_NS;
    result->deviations = sim_choices_deviations(sim->choices, &result->deviations_count);
}

// ---- Decisions ----

uint32_t sim_decide(struct weir_sim *sim, enum weir_sim_kind kind, uint32_t options)
{
    uint32_t value = sim_choose(sim->choices, kind, sim_actor(sim), options);
    if (value != 0) {
        sim_event(sim, SIM_EVENT_DEVIATION, kind, value, options, NULL);
        if (kind != WEIR_SIM_WORK) {
            sim_observe(sim, sim_memory_where(sim->memory, sim_actor(sim)),
                        SIM_OBSERVED_FAULT | (uint32_t)kind << 16 | (value & 0xffff));
        }
    }
    return value;
}

uint32_t sim_fault(struct weir_sim *sim, enum weir_sim_kind kind, uint32_t faults_count)
{
    if (sim_thread_process(sim->threads, sim_actor(sim)) != 0) {
        return 0;
    }
    return sim_decide(sim, kind, faults_count + 1);
}

void sim_run_describe(const struct weir_sim *sim, char *text, size_t text_bytes)
{
    sim_choices_describe(sim->choices, text, text_bytes);
    size_t used = strlen(text);
    snprintf(text + used, text_bytes - used, "%s", sim->draws);
}

void sim_draw_note(struct weir_sim *sim, const char *name, uint32_t value)
{
    char text[96];
    snprintf(text, sizeof text, " %s=%" PRIu32, name, value);
    size_t used = strlen(sim->draws);
    if (used + strlen(text) < sizeof sim->draws) { // a draw in a loop is listed as often as it fits
        memcpy(sim->draws + used, text, strlen(text) + 1);
    }
    sim_trace_text(sim->trace, SIM_EVENT_DRAW, sim_actor(sim), sim_threads_now(sim->threads), value,
                   text + 1);
}
