// Scenarios of time: sleeps, timeouts, intervals, cancelled timers, lookups, beside busy workers.
//
// After what Tokio checks of its timers with loom: single_timer, drop_timer, change_waker,
// reset_future, wake-up and cancel in the same and in another thread, cancel racing with fire.
#include "runtime/timer.h"
#include "sim/scenario_support.h"
#include "sim/scenarios.h"

#define SLEEPERS_MAX 4

// A timer may be late by two ticks of the wheel, and by polls that run long. In these scenarios the
// clock moves with calls and while nobody can run, so that anything more is the runtime's fault.
#define LATE_NS_MAX 5000000u
#define BUSY_NS 3000000u

struct sleeper {
    struct weir_future future;
    struct weir_sim *sim;
    uint64_t duration_ns, started_ns;
    uint64_t late_ns_max;
    uint32_t rounds, round;
    bool busy; // the poll takes long before it sleeps
    struct weir_sleep sleep;
};

static enum weir_poll sleeper_poll(struct weir_future *future, struct weir_context *context)
{
    struct sleeper *me = (struct sleeper *)future;
    weir_begin(me);
    for (me->round = 0; me->round < me->rounds; me->round++) {
        if (me->busy) {
            weir_sim_sleep(me->sim, BUSY_NS);
        }
        me->started_ns = weir_sim_now_ns(me->sim); // the context may keep the clock it reads
        weir_sleep_init(&me->sleep, me->duration_ns);
        weir_await(me, context, &me->sleep);
        weir_sim_check(me->sim, weir_context_clock_ns(context) >= me->started_ns + me->duration_ns,
                       "timer-early");
        weir_sim_check(me->sim,
                       weir_context_clock_ns(context) <
                           me->started_ns + me->duration_ns + me->late_ns_max,
                       "timer-late");
    }
    weir_return(me, 1);
    weir_exit(me);
    weir_drop(&me->sleep.future, context);
    weir_end(me);
}

// Of all magnitudes, and around the borders of the wheel's levels.
static uint64_t draw_duration_ns(struct weir_sim *sim)
{
    uint64_t ticks = weir_sim_draw(sim, "ticks", 0, 70);
    uint64_t magnitude = weir_sim_draw(sim, "magnitude", 0, 12);
    return (ticks << (WEIR_TICK_BITS + magnitude)) + weir_sim_draw(sim, "more_ns", 0, 2);
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
    uint32_t rounds = weir_sim_draw(sim, "rounds", 1, 3);
    bool busy = weir_sim_draw(sim, "busy", 0, 1) == 1;
    struct weir_handle handles[SLEEPERS_MAX], copy;
    for (uint32_t i = 0; i < sleepers; i++) {
        struct sleeper sleeper = {.future = {.poll = sleeper_poll},
                                  .sim = sim,
                                  .duration_ns = draw_duration_ns(sim),
                                  .late_ns_max =
                                      LATE_NS_MAX + (busy ? sleepers * rounds * BUSY_NS : 0),
                                  .rounds = rounds,
                                  .busy = busy};
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

// ---- A timer that fires on one worker while its task, on another, stops it ----

struct dodger {
    struct weir_future future;
    struct weir_sim *sim;
    struct weir_sleep sleep;
    struct weir_notified wait;
    struct weir_notify *notify;
    uint64_t base_ns;
    uint32_t rounds, round;
    int winner;
};

// Deadlines on the border of a tick, where the wheel's moment is the clock's: both come at once.
#define DODGE_NS (16ull << WEIR_TICK_BITS)

static uint64_t dodge_ns(uint64_t base_ns, uint32_t round)
{
    return base_ns + (round + 1) * DODGE_NS;
}

static enum weir_poll dodger_poll(struct weir_future *future, struct weir_context *context)
{
    struct dodger *me = (struct dodger *)future;
    weir_begin(me);
    for (me->round = 0; me->round < me->rounds; me->round++) {
        weir_sleep_until_init(&me->sleep, dodge_ns(me->base_ns, me->round));
        weir_notified_init(&me->wait, me->notify);
        weir_select(me, context, me->winner, NULL, &me->wait.future, &me->sleep.future);
        weir_sim_sometimes(me->sim, me->winner == 0 ? "timer-stopped" : "timer-fired");
        weir_drop(&me->sleep.future, context);
        weir_drop(&me->wait.future, context);
    }
    weir_return(me, 1);
    weir_exit(me);
    weir_drop(&me->sleep.future, context);
    weir_drop(&me->wait.future, context);
    weir_end(me);
}

// Keeps the other workers awake at that moment.
struct busybody {
    struct weir_future future;
    struct weir_notify *notify;
    struct weir_notified wait;
    struct weir_yield yield;
    uint32_t yields, left;
};

static enum weir_poll busybody_poll(struct weir_future *future, struct weir_context *context)
{
    struct busybody *me = (struct busybody *)future;
    weir_begin(me);
    for (;;) { // until the runtime ends
        weir_notified_init(&me->wait, me->notify);
        weir_await(me, context, &me->wait);
        for (me->left = me->yields; me->left > 0; me->left--) {
            weir_yield_init(&me->yield);
            weir_await(me, context, &me->yield);
        }
    }
    weir_exit(me);
    weir_drop(&me->wait.future, context);
    weir_end(me);
}

struct notifier {
    struct weir_sim *sim;
    struct weir_notify *notify;
    uint64_t base_ns;
    uint32_t rounds;
};

static void notifier_main(void *argument)
{
    struct notifier *me = argument;
    for (uint32_t i = 0; i < me->rounds; i++) {
        uint64_t now_ns = weir_sim_now_ns(me->sim), then_ns = dodge_ns(me->base_ns, i);
        weir_sim_sleep(me->sim, then_ns > now_ns ? then_ns - now_ns : 0);
        weir_notify_all(me->notify, NULL);
    }
}

static void timer_race(struct weir_sim *sim)
{
    struct weir_runtime *runtime = scenario_runtime(sim, weir_sim_draw(sim, "workers", 2, 3));
    struct weir_notify notify;
    weir_notify_init(&notify, runtime);
    uint64_t base_ns = weir_sim_now_ns(sim) / DODGE_NS * DODGE_NS;
    struct notifier notifier = {sim, &notify, base_ns, weir_sim_draw(sim, "rounds", 1, 6)};
    uint32_t busybodies = weir_sim_draw(sim, "busybodies", 0, 2);
    for (uint32_t i = 0; i < busybodies; i++) {
        struct busybody busybody = {.future = {.poll = busybody_poll},
                                    .notify = &notify,
                                    .yields = weir_sim_draw(sim, "yields", 1, 20)};
        scenario_spawn(sim, runtime, &busybody, NULL);
    }
    uint32_t dodgers = weir_sim_draw(sim, "dodgers", 1, SLEEPERS_MAX);
    struct weir_handle handles[SLEEPERS_MAX];
    for (uint32_t i = 0; i < dodgers; i++) {
        struct dodger dodger = {.future = {.poll = dodger_poll},
                                .sim = sim,
                                .notify = &notify,
                                .base_ns = base_ns,
                                .rounds = notifier.rounds};
        scenario_spawn(sim, runtime, &dodger, &handles[i]);
    }
    uint32_t actor = weir_sim_start(sim, notifier_main, &notifier);
    for (uint32_t i = 0; i < dodgers; i++) {
        weir_sim_check(sim, scenario_join(runtime, handles[i]) == 1, "join-result");
    }
    weir_sim_join(sim, actor);
    weir_runtime_destroy(runtime);
}

// ---- Lookups beside ordinary tasks: blocking_and_regular, only_blocking ----

#define LOOKUPS_MAX 5

struct lookup {
    struct weir_future future;
    struct weir_sim *sim;
    uint32_t rounds, answers;
    struct weir_resolve resolve;
    struct weir_timeout timeout;
};

// Without a thread to look on, or with too many under way, a lookup fails; it never hangs.
static enum weir_poll lookup_poll(struct weir_future *future, struct weir_context *context)
{
    struct lookup *me = (struct lookup *)future;
    weir_begin(me);
    for (; me->rounds > 0; me->rounds--) {
        weir_sim_check(me->sim, weir_resolve_init(&me->resolve, "collector", 514) == 0,
                       "resolve-init");
        weir_timeout_init(&me->timeout, &me->resolve.future, 1000000000);
        weir_await(me, context, &me->timeout);
        if (me->timeout.future.result >= 1) {
            weir_sim_check(me->sim, me->resolve.addresses[0].bytes_count > 0, "resolve-address");
            me->answers++;
        } else if (me->timeout.future.result == WEIR_ETIMEOUT) {
            weir_sim_sometimes(me->sim, "lookup-given-up");
        }
    }
    weir_return(me, (int32_t)me->answers);
    weir_exit(me);
    weir_drop(&me->timeout.future, context);
    weir_end(me);
}

// The runtime may end while the lookup's thread still waits for the name.
static void lookups_run(struct weir_sim *sim, bool fails)
{
    struct weir_address address;
    weir_sim_check(sim, weir_address_unix(&address, "@anything") == 0, "address");
    weir_sim_name(sim, "collector", &address, 1,
                  weir_sim_draw(sim, "slow", 0, 3) == 3 ? 3000000000 : 1000);
    struct weir_runtime_options options = {.workers = weir_sim_draw(sim, "workers", 1, 3),
                                           .os = weir_sim_os(sim)};
    struct weir_runtime *runtime;
    if (weir_runtime_create(&runtime, &options) < 0) {
        weir_sim_check(sim, fails, "runtime-create");
        return;
    }
    uint32_t lookups = weir_sim_draw(sim, "lookups", 1, LOOKUPS_MAX), spawned = 0;
    struct weir_handle handles[LOOKUPS_MAX];
    for (uint32_t i = 0; i < lookups; i++) {
        struct lookup lookup = {.future = {.poll = lookup_poll},
                                .sim = sim,
                                .rounds = weir_sim_draw(sim, "rounds", 1, 3)};
        spawned += weir_runtime_spawn(runtime, &lookup.future, sizeof lookup, WEIR_SPAWN_STEALABLE,
                                      &handles[spawned]) == 0;
    }
    weir_sim_check(sim, fails || spawned == lookups, "spawn-refused");
    for (uint32_t i = 0; i < spawned; i++) {
        if (weir_sim_draw(sim, "joins", 0, 3) > 0) {
            (void)scenario_join(runtime, handles[i]); // may be refused for want of memory
        } else {
            weir_task_cancel(handles[i]);
            weir_task_detach(handles[i]);
            weir_sim_sometimes(sim, "lookup-left-behind");
        }
    }
    weir_sim_heal(sim);
    if (!fails) { // those that were given up do not use the table up
        weir_sim_name(sim, "collector", &address, 1, 1000);
        weir_sim_sleep(sim, 100000000000);
        struct lookup last = {.future = {.poll = lookup_poll}, .sim = sim, .rounds = 1};
        scenario_spawn(sim, runtime, &last, &handles[0]);
        weir_sim_check(sim, scenario_join(runtime, handles[0]) == 1, "lookups-used-up");
    }
    weir_runtime_destroy(runtime);
    weir_sim_sleep(sim, 100000000000); // a detached lookup gives its memory back when it ends
}

static void timer_lookup(struct weir_sim *sim)
{
    lookups_run(sim, false);
}

static void timer_lookup_fails(struct weir_sim *sim)
{
    lookups_run(sim, true);
}

static const char *const sleep_probes[] = {"timer-fired-first", "timer-cancelled-first", NULL};
static const char *const timeout_probes[] = {"timeout-in-time", "timeout-too-late", NULL};
static const char *const race_probes[] = {"timer-stopped", "timer-fired", NULL};
static const char *const lookup_probes[] = {"lookup-left-behind", "lookup-given-up", NULL};

const struct weir_sim_scenario sim_scenarios_timer[] = {
    {.name = "timer-sleep",
     .about = "sleeps of all lengths on several workers, one cancelled as it fires",
     .run = timer_sleep,
     .kinds = SCENARIO_RUNTIME_KINDS & ~(1u << WEIR_SIM_TIME | 1u << WEIR_SIM_READY),
     .probes = sleep_probes,
     .probe_seeds = 1000},
    {.name = "timer-timeout",
     .about = "a timeout and what it waits for come at the same moment",
     .run = timer_timeout,
     .kinds = SCENARIO_RUNTIME_KINDS,
     .probes = timeout_probes,
     .probe_seeds = 500},
    {.name = "timer-race",
     .about = "timers fire on one worker while their tasks, on others, stop them",
     .run = timer_race,
     .kinds = SCENARIO_RUNTIME_KINDS,
     .probes = race_probes,
     .probe_seeds = 500},
    {.name = "timer-lookup",
     .about = "names are looked up on a thread of their own, and are not always waited for",
     .run = timer_lookup,
     .kinds = SCENARIO_RUNTIME_KINDS,
     .probes = lookup_probes,
     .probe_seeds = 500,
     .weight = 10},
    {.name = "timer-lookup-fails",
     .about = "the same, short of memory, threads and descriptors, and names that do not resolve",
     .run = timer_lookup_fails,
     .kinds = SCENARIO_RUNTIME_KINDS | 1u << WEIR_SIM_RESOURCE | 1u << WEIR_SIM_NAME,
     .weight = 50},
    {0},
};
