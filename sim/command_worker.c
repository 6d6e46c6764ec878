// A worker process: runs its seeds, counts, and reports what did not pass.
#include <string.h>
#include <unistd.h>

#include "sim/command_crew.h"

uint64_t sim_turn_seed(const struct sim_turn *turn, uint64_t seed)
{
    return seed * turn->weight + turn->number;
}

// ---- Counting ----

static void add(_Atomic uint64_t *to, uint64_t number)
{
    atomic_store_explicit(to, atomic_load_explicit(to, memory_order_relaxed) + number,
                          memory_order_relaxed);
}

// `key` NULL: only the text counts.
static struct sim_probe_row *probe_row(struct sim_row *row, const char *key, const char *name)
{
    for (uint32_t i = 0; i < row->probes_count; i++) {
        struct sim_probe_row *probe = &row->probes[i];
        if ((key != NULL && probe->key == key) || strcmp(probe->name, name) == 0) {
            return probe;
        }
    }
    if (row->probes_count == SIM_PROBES_MAX) {
        return NULL;
    }
    struct sim_probe_row *probe = &row->probes[row->probes_count++];
    *probe = (struct sim_probe_row){.key = key};
    snprintf(probe->name, sizeof probe->name, "%s", name);
    return probe;
}

static void probe_add(struct sim_row *row, const char *key, const char *name, uint64_t met)
{
    struct sim_probe_row *probe = probe_row(row, key, name);
    if (probe != NULL) {
        probe->met += met;
    }
}

void sim_row_add(struct sim_row *to, const struct sim_row *from)
{
    add(&to->runs, atomic_load_explicit(&from->runs, memory_order_relaxed));
    add(&to->virtual_ns, atomic_load_explicit(&from->virtual_ns, memory_order_relaxed));
    to->failures += from->failures;
    to->steps += from->steps;
    to->busy_ns += from->busy_ns;
    for (uint32_t i = 0; i < from->probes_count; i++) {
        probe_add(to, NULL, from->probes[i].name, from->probes[i].met);
    }
}

// The run's probes go to the scenario's row; the simulator starts anew with none.
static void run_count(struct sim_row *row, struct weir_sim *sim,
                      const struct weir_sim_result *result, uint64_t busy_ns)
{
    add(&row->runs, 1);
    add(&row->virtual_ns, result->duration_ns);
    row->steps += result->steps;
    row->busy_ns += busy_ns;
    row->failures += result->verdict == WEIR_SIM_PASS ? 0 : 1;
    for (uint32_t i = 0; i < sim->probes_count; i++) {
        probe_add(row, sim->probes[i].name, sim->probes[i].name, sim->probes[i].met);
    }
    sim->probes_count = 0;
}

// ---- Failures ----

bool sim_known_before(struct sim_known *known, uint32_t scenario, const char *name)
{
    for (uint32_t i = 0; i < known->count; i++) {
        if (known->list[i].scenario == scenario && strcmp(known->list[i].name, name) == 0) {
            return true;
        }
    }
    if (known->count < SIM_KNOWN_MAX) {
        known->list[known->count].scenario = scenario;
        snprintf(known->list[known->count].name, sizeof known->list[0].name, "%s", name);
        known->count++;
    }
    return false;
}

static void failure_send(int pipe, const struct sim_turn *turn, uint64_t seed,
                         const struct weir_sim_result *result)
{
    struct sim_failure failure = {.seed = sim_turn_seed(turn, seed),
                                  .turn_seed = seed,
                                  .hash = result->hash,
                                  .scenario = turn->scenario,
                                  .verdict = (uint32_t)result->verdict};
    _Static_assert(sizeof failure <= 4096, "one write to a pipe is atomic up to PIPE_BUF");
    snprintf(failure.name, sizeof failure.name, "%s", result->name);
    snprintf(failure.message, sizeof failure.message, "%s", result->message);
    if (write(pipe, &failure, sizeof failure) != (ssize_t)sizeof failure) {
        _exit(SIM_EXIT_SYSTEM); // the parent is gone
    }
}

void sim_crew_lower_stop(struct sim_crew_page *page, uint64_t seed)
{
    uint64_t now = atomic_load_explicit(&page->stop_seed, memory_order_relaxed);
    while (seed < now &&
           !atomic_compare_exchange_weak_explicit(&page->stop_seed, &now, seed,
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
}

// What a crash leaves behind is not to be trusted.
static bool state_doubtful(const struct weir_sim_result *result)
{
    return strncmp(result->name, "crash ", 6) == 0 || strcmp(result->name, "endless-loop") == 0;
}

// ---- The turns ----

struct work {
    const struct sim_crew *crew;
    struct sim_worker_page *page;
    struct weir_sim *sim;
    int pipe;
    uint64_t clock_ns;
    struct sim_known sent;
};

static void state_set(struct work *work, enum sim_worker_state state)
{
    atomic_store_explicit(&work->page->state, state, memory_order_relaxed);
}

// returns  whether this worker goes on.
static bool turn_make(struct work *work, uint64_t seed, uint32_t index)
{
    const struct sim_crew *crew = work->crew;
    const struct sim_turn *turn = &crew->turns[index];
    struct sim_row *row = &work->page->rows[turn->scenario];
    uint64_t run_seed = sim_turn_seed(turn, seed);
    struct weir_sim_result result;
    atomic_store_explicit(&work->page->seed, seed, memory_order_relaxed);
    atomic_store_explicit(&work->page->turn, index, memory_order_relaxed);
    sim_command_run(crew->command, work->sim, turn->scenario, run_seed, NULL, &result);
    uint64_t now_ns = sim_clock_ns();
    run_count(row, work->sim, &result, now_ns - work->clock_ns);
    work->clock_ns = now_ns;
    if (result.verdict == WEIR_SIM_PASS) {
        return true;
    }
    if (!sim_known_before(&work->sent, turn->scenario, result.name)) {
        failure_send(work->pipe, turn, seed, &result);
    }
    if (!sim_option_given(crew->command, SIM_OPTION_KEEP_GOING)) {
        sim_crew_lower_stop(crew->page, seed);
        return false;
    }
    if (state_doubtful(&result)) {
        state_set(work, SIM_WORKER_RESTART);
        _exit(0);
    }
    return true;
}

static bool may_go_on(const struct sim_crew *crew, uint64_t seed)
{
    return atomic_load_explicit(&crew->page->stop, memory_order_relaxed) == 0 &&
           seed <= atomic_load_explicit(&crew->page->stop_seed, memory_order_relaxed);
}

_Noreturn void sim_worker_main(const struct sim_crew *crew, uint32_t index, uint64_t seed,
                               uint32_t turn, int pipe)
{
    const struct sim_command *command = crew->command;
    struct work work = {.crew = crew, .page = crew->workers[index].page, .pipe = pipe};
    work.sim = sim_command_simulator(command);
    if (work.sim == NULL) {
        _exit(SIM_EXIT_SYSTEM);
    }
    state_set(&work, SIM_WORKER_RUNNING);
    work.clock_ns = sim_clock_ns();
    bool goes_on = true;
    while (goes_on) {
        for (; goes_on && turn < crew->turns_count; turn++) {
            goes_on = may_go_on(crew, seed) && turn_make(&work, seed, turn);
        }
        turn = 0;
        goes_on = goes_on && command->seed_last - seed >= crew->workers_count;
        seed += crew->workers_count;
    }
    state_set(&work, SIM_WORKER_DONE);
    _exit(0); // no destructors and no leak check: a simulator is meant to hold memory
}
