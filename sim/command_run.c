// `weir-sim run`: all scenarios with all seeds, until one fails or the time is up.
#include <inttypes.h>
#include <unistd.h>

#include "sim/command_crew.h"

#define BUDGET_DEFAULT_NS (60 * SIM_NS_PER_S)
#define WAIT_MS 200

// ---- Progress: one line of standard error, written over and over ----

static void progress_print(struct sim_session *session)
{
    uint64_t now_ns = sim_clock_ns();
    if (!session->terminal || now_ns - session->progress_ns < SIM_NS_PER_S / 5) {
        return;
    }
    session->progress_ns = now_ns;
    uint64_t elapsed_ms = (now_ns - session->begun_ns) / 1000000 + 1;
    uint64_t runs = sim_crew_runs(&session->crew);
    uint64_t virtual_s = sim_crew_virtual_ns(&session->crew) / SIM_NS_PER_S;
    char grouped[3][32];
    fprintf(stderr, "\r\033[K%s runs, %s/s, %s s of virtual time, failures: %" PRIu64,
            sim_grouped(runs, grouped[0]), sim_grouped(runs * 1000 / elapsed_ms, grouped[1]),
            sim_grouped(virtual_s, grouped[2]), session->failures);
}

static void progress_clear(const struct sim_session *session)
{
    if (session->terminal) {
        fputs("\r\033[K", stderr);
    }
}

// ---- Failures ----

static void failure_hear(void *context, const struct sim_failure *failure)
{
    struct sim_session *session = context;
    bool earlier = session->failures == 0 || failure->turn_seed < session->first.turn_seed;
    if (earlier) {
        session->first = *failure;
    }
    session->failures++;
    if (sim_option_given(session->command, SIM_OPTION_KEEP_GOING) &&
        !sim_known_before(&session->known, failure->scenario, failure->name)) {
        progress_clear(session);
        session->worst =
            sim_verdict_worse(session->worst, sim_failure_report(session->command, failure));
    }
}

// ---- The session ----

static int options_complete(struct sim_command *command)
{
    if (!sim_option_given(command, SIM_OPTION_SEEDS)) {
        command->seed_first = 0;
        command->seed_last = UINT64_MAX;
        if (!sim_option_given(command, SIM_OPTION_BUDGET) &&
            !sim_option_given(command, SIM_OPTION_CPU_BUDGET)) {
            command->budget_ns = BUDGET_DEFAULT_NS;
        }
    }
    int status = sim_options_failures(command);
    return status == 0 ? sim_options_select(command) : status;
}

static uint64_t time_left_ns(uint64_t budget_ns, uint64_t used_ns)
{
    if (budget_ns == 0) {
        return UINT64_MAX;
    }
    return used_ns < budget_ns ? budget_ns - used_ns : 0;
}

static uint64_t budget_left_ns(const struct sim_session *session)
{
    const struct sim_command *command = session->command;
    uint64_t left_ns = time_left_ns(command->budget_ns, sim_clock_ns() - session->begun_ns);
    if (command->cpu_budget_ns == 0) {
        return left_ns;
    }
    uint64_t cpu_left_ns = time_left_ns(command->cpu_budget_ns, sim_crew_cpu_ns(&session->crew));
    return left_ns < cpu_left_ns ? left_ns : cpu_left_ns;
}

// How long to wait for news until there is something to do anyway.
static int patience_ms(const struct sim_session *session)
{
    uint64_t left_ms = budget_left_ns(session) / 1000000 + 1;
    return left_ms < WAIT_MS ? (int)left_ms : WAIT_MS;
}

int sim_command_run_seeds(struct sim_command *command)
{
    int status = options_complete(command);
    if (status != 0) {
        return status;
    }
    static struct sim_session session; // too large for a small stack
    session = (struct sim_session){.command = command,
                                   .begun_ns = sim_clock_ns(),
                                   .terminal = isatty(STDERR_FILENO) == 1,
                                   .worst = WEIR_SIM_PASS};
    session.crew.failed = failure_hear;
    session.crew.context = &session;
    status = sim_crew_start(&session.crew, command);
    while (status == 0 && session.crew.live > 0) {
        sim_crew_wait(&session.crew, patience_ms(&session));
        progress_print(&session);
        if (budget_left_ns(&session) == 0) {
            sim_crew_stop(&session.crew);
        }
    }
    if (status == 0) {
        progress_clear(&session);
        if (session.failures > 0 && !sim_option_given(command, SIM_OPTION_KEEP_GOING)) {
            session.worst = sim_failure_report(command, &session.first);
        }
        status = sim_summary_print(&session);
    }
    sim_crew_deinit(&session.crew);
    return status;
}
