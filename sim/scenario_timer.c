// Scenarios of time: sleeps, timeouts, intervals, cancelled timers, lookups, beside busy workers.
//
// After what Tokio checks of its timers with loom: single_timer, drop_timer, change_waker,
// reset_future, wake-up and cancel in the same and in another thread, cancel racing with fire.
#include "sim/scenario_support.h"
#include "sim/scenarios.h"

#define SLEEPERS_MAX 4

// A timer may be late by two ticks of the wheel, and by whoever else ran first: nobody runs longer
// than this once the faults have stopped.
#define LATE_NS_MAX 100000000u

struct sleeper {
    struct weir_future future;
    struct weir_sim *sim;
    uint64_t duration_ns, started_ns;
    uint32_t rounds, round;
    struct weir_sleep sleep;
};

static enum weir_poll sleeper_poll(struct weir_future *future, struct weir_context *context)
{
    struct sleeper *me = (struct sleeper *)future;
    weir_begin(me);
    for (me->round = 0; me->round < me->rounds; me->round++) {
        me->started_ns = weir_context_clock_ns(context);
        weir_sleep_init(&me->sleep, me->duration_ns);
        weir_await(me, context, &me->sleep);
        weir_sim_check(me->sim, weir_context_clock_ns(context) >= me->started_ns + me->duration_ns,
                       "timer-early");
        weir_sim_check(me->sim,
                       weir_context_clock_ns(context) <
                           me->started_ns + me->duration_ns + LATE_NS_MAX,
                       "timer-late");
    }
    weir_return(me, 1);
    weir_exit(me);
    weir_drop(&me->sleep.future, context);
    weir_end(me);
}

static uint64_t draw_duration_ns(struct weir_sim *sim)
{
    static const uint64_t durations_ns[] = {1000,    65536,   65537,     1000000,
                                            4194304, 4194303, 268435456, 0};
    return durations_ns[weir_sim_draw(sim, "duration", 0, 7)];
}

static void canceller_main(void *argument)
{
    weir_task_cancel(*(struct weir_handle *)argument);
}

// Without TIME deviations a late timer is the runtime's fault: the clock only moves while nobody
// can run.
static void timer_sleep(struct weir_sim *sim)
{
    struct weir_runtime *runtime = scenario_runtime(sim, weir_sim_draw(sim, "workers", 1, 3));
    uint32_t sleepers = weir_sim_draw(sim, "sleepers", 1, SLEEPERS_MAX);
    struct weir_handle handles[SLEEPERS_MAX], copy;
    for (uint32_t i = 0; i < sleepers; i++) {
        struct sleeper sleeper = {.future = {.poll = sleeper_poll},
                                  .sim = sim,
                                  .duration_ns = draw_duration_ns(sim),
                                  .rounds = weir_sim_draw(sim, "rounds", 1, 3)};
        scenario_spawn(sim, runtime, &sleeper, &handles[i]);
    }
    // The cancel comes from outside, and the drop runs on whichever worker polls next.
    bool cancels = weir_sim_draw(sim, "cancels", 0, 1) == 1;
    uint32_t canceller = 0;
    if (cancels) {
        copy = handles[0];
        weir_sim_sleep(sim, draw_duration_ns(sim));
        canceller = weir_sim_start(sim, canceller_main, &copy);
    }
    for (uint32_t i = 0; i < sleepers; i++) {
        int result = scenario_join(runtime, handles[i]);
        weir_sim_check(sim, result == 1 || (cancels && i == 0 && result == WEIR_ECANCELED),
                       "join-result");
        if (cancels && i == 0) {
            weir_sim_sometimes(sim, result == 1 ? "timer-fired-first" : "timer-cancelled-first");
        }
    }
    if (cancels) {
        weir_sim_join(sim, canceller);
    }
    weir_runtime_destroy(runtime);
}

// ---- A timeout against a oneshot that is sent at the same moment ----

struct racer {
    struct weir_future future;
    struct weir_timeout timeout;
    struct weir_oneshot_recv recv;
    struct weir_oneshot *oneshot;
    uint64_t limit_ns;
};

static enum weir_poll racer_poll(struct weir_future *future, struct weir_context *context)
{
    struct racer *me = (struct racer *)future;
    weir_begin(me);
    weir_oneshot_recv_init(&me->recv, me->oneshot);
    weir_timeout_init(&me->timeout, &me->recv.future, me->limit_ns);
    weir_await(me, context, &me->timeout);
    weir_return(me, me->timeout.future.result);
    weir_exit(me);
    weir_drop(&me->timeout.future, context);
    weir_end(me);
}

static void timer_timeout(struct weir_sim *sim)
{
    struct weir_runtime *runtime = scenario_runtime(sim, weir_sim_draw(sim, "workers", 1, 2));
    struct weir_oneshot oneshot;
    weir_oneshot_init(&oneshot);
    struct racer racer = {.future = {.poll = racer_poll}, .oneshot = &oneshot, .limit_ns = 1000000};
    struct weir_handle handle;
    scenario_spawn(sim, runtime, &racer, &handle);
    weir_sim_sleep(sim, 900000 + 50000 * weir_sim_draw(sim, "when", 0, 8));
    int sent = weir_oneshot_send(&oneshot, NULL, 3);
    int result = scenario_join(runtime, handle);
    weir_sim_check(sim, result == 0 || result == WEIR_ETIMEOUT, "join-result");
    weir_sim_check(sim, result != 0 || sent == 0, "timeout-received-the-unsent");
    weir_sim_sometimes(sim, result == 0 ? "timeout-in-time" : "timeout-too-late");
    weir_runtime_destroy(runtime);
}

// ---- A lookup beside ordinary tasks: blocking_and_regular ----

struct lookup {
    struct weir_future future;
    struct weir_sim *sim;
    struct weir_resolve resolve;
};

static enum weir_poll lookup_poll(struct weir_future *future, struct weir_context *context)
{
    struct lookup *me = (struct lookup *)future;
    weir_begin(me);
    weir_sim_check(me->sim, weir_resolve_init(&me->resolve, "collector", 514) == 0, "resolve-init");
    weir_await(me, context, &me->resolve);
    weir_return(me, me->resolve.future.result);
    weir_exit(me);
    weir_drop(&me->resolve.future, context);
    weir_end(me);
}

// The runtime may end while the lookup's thread still waits for the name.
static void timer_lookup(struct weir_sim *sim)
{
    struct weir_address address;
    weir_sim_check(sim, weir_address_unix(&address, "@anything") == 0, "address");
    weir_sim_name(sim, "collector", &address, 1, draw_duration_ns(sim));
    struct weir_runtime *runtime = scenario_runtime(sim, weir_sim_draw(sim, "workers", 1, 2));
    struct lookup lookup = {.future = {.poll = lookup_poll}, .sim = sim};
    struct sleeper sleeper = {.future = {.poll = sleeper_poll},
                              .sim = sim,
                              .duration_ns = draw_duration_ns(sim),
                              .rounds = 1};
    struct weir_handle looking, sleeping;
    scenario_spawn(sim, runtime, &lookup, &looking);
    scenario_spawn(sim, runtime, &sleeper, &sleeping);
    weir_sim_check(sim, scenario_join(runtime, sleeping) == 1, "join-result");
    switch (weir_sim_draw(sim, "end", 0, 2)) {
    case 0: weir_sim_check(sim, scenario_join(runtime, looking) == 1, "resolve-result"); break;
    case 1: weir_task_cancel(looking); __attribute__((fallthrough));
    default:
        weir_task_detach(looking);
        weir_sim_sometimes(sim, "lookup-left-behind");
        break;
    }
    weir_runtime_destroy(runtime);
    weir_sim_sleep(sim, 1000000000); // a detached lookup gives its memory back when it ends
}

static const char *const sleep_probes[] = {"timer-fired-first", "timer-cancelled-first", NULL};
static const char *const timeout_probes[] = {"timeout-in-time", "timeout-too-late", NULL};
static const char *const lookup_probes[] = {"lookup-left-behind", NULL};

const struct weir_sim_scenario sim_scenarios_timer[] = {
    {.name = "timer-sleep",
     .about = "sleeps of all lengths on several workers, one cancelled as it fires",
     .run = timer_sleep,
     .kinds = SCENARIO_RUNTIME_KINDS & ~(1u << WEIR_SIM_TIME),
     .probes = sleep_probes,
     .probe_seeds = 1000},
    {.name = "timer-timeout",
     .about = "a timeout and what it waits for come at the same moment",
     .run = timer_timeout,
     .kinds = SCENARIO_RUNTIME_KINDS,
     .probes = timeout_probes,
     .probe_seeds = 500},
    {.name = "timer-lookup",
     .about = "a name is looked up on a thread of its own, and is not waited for",
     .run = timer_lookup,
     .kinds = SCENARIO_RUNTIME_KINDS & ~(1u << WEIR_SIM_TIME),
     .probes = lookup_probes,
     .probe_seeds = 500},
    {0},
};
