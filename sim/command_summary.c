// The end of `weir-sim run`: a table of the scenarios, which probes were met, the exit status.
#include <inttypes.h>
#include <signal.h>
#include <string.h>

#include "sim/command_crew.h"

static uint64_t probe_met(const struct sim_row *row, const char *name)
{
    for (uint32_t i = 0; i < row->probes_count; i++) {
        if (strcmp(row->probes[i].name, name) == 0) {
            return row->probes[i].met;
        }
    }
    return 0;
}

// How much of `per` goes into one second of `ns`.
static uint64_t per_second(uint64_t count, uint64_t ns)
{
    return ns == 0 ? 0 : (uint64_t)((unsigned __int128)count * SIM_NS_PER_S / ns);
}

static bool probe_listed(const struct weir_sim_scenario *scenario, const char *name)
{
    for (const char *const *probe = scenario->probes; probe != NULL && *probe != NULL; probe++) {
        if (strcmp(*probe, name) == 0) {
            return true;
        }
    }
    return false;
}

// A rule for seeds as they come: a strategy that was asked for may well leave things out.
static bool probes_binding(const struct sim_session *session,
                           const struct weir_sim_scenario *scenario, const struct sim_row *row)
{
    return weir_sim_fine() && session->command->strategy == WEIR_SIM_PORTFOLIO &&
           scenario->probe_seeds != 0 &&
           atomic_load_explicit(&row->runs, memory_order_relaxed) >= scenario->probe_seeds;
}

static void row_print(const char *name, const struct sim_row *row)
{
    uint64_t runs = atomic_load_explicit(&row->runs, memory_order_relaxed);
    uint64_t virtual_ns = atomic_load_explicit(&row->virtual_ns, memory_order_relaxed);
    // Thousandths: scenarios that never block take no virtual time.
    uint64_t speed =
        row->busy_ns == 0 ? 0 : (uint64_t)((unsigned __int128)virtual_ns * 1000 / row->busy_ns);
    char grouped[3][32];
    char speed_text[48];
    snprintf(speed_text, sizeof speed_text, "%s.%03" PRIu64, sim_grouped(speed / 1000, grouped[2]),
             speed % 1000);
    printf("%-32s %13s %11s %14s %9" PRIu64 "\n", name, sim_grouped(runs, grouped[0]),
           sim_grouped(per_second(runs, row->busy_ns), grouped[1]), speed_text, row->failures);
}

static void row_json(const struct sim_session *session, uint32_t index)
{
    const struct weir_sim_scenario *scenario = &session->command->scenarios[index];
    const struct sim_row *row = &session->crew.totals[index];
    uint64_t runs = atomic_load_explicit(&row->runs, memory_order_relaxed);
    struct sim_json json;
    sim_json_open(&json, stdout);
    sim_json_text(&json, "event", "scenario");
    sim_json_text(&json, "scenario", scenario->name);
    sim_json_number(&json, "runs", runs);
    sim_json_number(&json, "runs_per_s", per_second(runs, row->busy_ns));
    sim_json_number(&json, "busy_ns", row->busy_ns);
    sim_json_number(&json, "virtual_ns",
                    atomic_load_explicit(&row->virtual_ns, memory_order_relaxed));
    sim_json_number(&json, "steps", row->steps);
    sim_json_number(&json, "failures", row->failures);
    sim_json_close(&json);
}

// returns  how many listed probes had to be met and were not.
static uint32_t probes_print(const struct sim_session *session, uint32_t index)
{
    const struct weir_sim_scenario *scenario = &session->command->scenarios[index];
    const struct sim_row *row = &session->crew.totals[index];
    bool binding = probes_binding(session, scenario, row);
    bool as_json = sim_option_given(session->command, SIM_OPTION_JSON);
    const char *const none[] = {NULL};
    const char *const *listed = scenario->probes == NULL ? none : scenario->probes;
    uint32_t listed_count = 0;
    uint32_t unmet = 0;
    while (listed[listed_count] != NULL) {
        listed_count++;
    }
    for (uint32_t i = 0; i < listed_count + row->probes_count; i++) {
        bool is_listed = i < listed_count;
        const char *name = is_listed ? listed[i] : row->probes[i - listed_count].name;
        if (!is_listed && probe_listed(scenario, name)) {
            continue;
        }
        uint64_t met = probe_met(row, name);
        bool missing = is_listed && met == 0;
        unmet += missing && binding ? 1 : 0;
        if (as_json) {
            struct sim_json json;
            sim_json_open(&json, stdout);
            sim_json_text(&json, "event", "probe");
            sim_json_text(&json, "scenario", scenario->name);
            sim_json_text(&json, "probe", name);
            sim_json_number(&json, "met", met);
            sim_json_bool(&json, "missed", missing && binding);
            sim_json_close(&json);
        } else {
            char grouped[32];
            char what[160];
            snprintf(what, sizeof what, "%s: %s", scenario->name, name);
            printf("  probe %-62s %15s%s\n", what, sim_grouped(met, grouped),
                   missing && binding ? "  MISSED" : "");
        }
    }
    return unmet;
}

static void total_print(const struct sim_session *session, const struct sim_row *total, int status)
{
    const struct sim_command *command = session->command;
    uint64_t elapsed_ns = sim_clock_ns() - session->begun_ns;
    uint64_t runs = atomic_load_explicit(&total->runs, memory_order_relaxed);
    if (sim_option_given(command, SIM_OPTION_JSON)) {
        struct sim_json json;
        sim_json_open(&json, stdout);
        sim_json_text(&json, "event", "end");
        sim_json_number(&json, "status", (uint64_t)status);
        sim_json_number(&json, "runs", runs);
        sim_json_number(&json, "failures", total->failures);
        sim_json_number(&json, "elapsed_ns", elapsed_ns);
        sim_json_number(&json, "jobs", session->crew.workers_count);
        sim_json_text(&json, "grain", weir_sim_fine() ? "fine" : "coarse");
        sim_json_text(&json, "build", sim_build_id());
        sim_json_close(&json);
        return;
    }
    char grouped[2][32];
    printf("%s runs in %" PRIu64 ".%" PRIu64 " s (%s/s, jobs: %" PRIu32 "), %s grain, %" PRIu64
           " failure%s%s\n",
           sim_grouped(runs, grouped[0]), elapsed_ns / SIM_NS_PER_S,
           elapsed_ns / (SIM_NS_PER_S / 10) % 10,
           sim_grouped(per_second(runs, elapsed_ns), grouped[1]), session->crew.workers_count,
           weir_sim_fine() ? "fine" : "coarse", total->failures, total->failures == 1 ? "" : "s",
           session->crew.signal != 0 ? ", interrupted" : "");
}

static int status_of(const struct sim_session *session, uint32_t unmet)
{
    if (session->crew.broken) {
        return SIM_EXIT_SYSTEM;
    }
    if (session->crew.signal != 0) {
        return session->crew.signal == SIGINT ? SIM_EXIT_INTERRUPTED : SIM_EXIT_TERMINATED;
    }
    if (session->worst != WEIR_SIM_PASS) {
        return (int)session->worst;
    }
    return unmet > 0 ? WEIR_SIM_EXIT_PROBE : WEIR_SIM_PASS;
}

int sim_summary_print(const struct sim_session *session)
{
    const struct sim_command *command = session->command;
    bool as_json = sim_option_given(command, SIM_OPTION_JSON);
    struct sim_row total = {.probes_count = SIM_PROBES_MAX}; // full: takes no probes
    uint32_t unmet = 0;
    if (!as_json) {
        printf("\n%-32s %13s %11s %14s %9s\n", "scenario", "runs", "runs/s", "virtual s/s",
               "failures");
    }
    for (uint32_t i = 0; i < command->selected_count; i++) {
        uint32_t index = command->selected[i];
        if (as_json) {
            row_json(session, index);
        } else {
            row_print(command->scenarios[index].name, &session->crew.totals[index]);
        }
        sim_row_add(&total, &session->crew.totals[index]);
    }
    if (!as_json) {
        putchar('\n');
    }
    for (uint32_t i = 0; i < command->selected_count; i++) {
        unmet += probes_print(session, command->selected[i]);
    }
    int status = status_of(session, unmet);
    total_print(session, &total, status);
    return status;
}
