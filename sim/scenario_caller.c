// Scenarios of a host that drives a runtime without threads, and sleeps on its descriptor.
#include "sim/scenario_meeting.h"
#include "sim/scenarios.h"

#define CALLERS_MAX 3

struct caller {
    struct meeting meeting; // counts what was heard
    struct weir_notify notify;
    uint32_t calls;
};

struct listener {
    struct weir_future future;
    _Atomic uint32_t *heard;
    struct weir_notify *notify;
    struct weir_notified wait;
};

static enum weir_poll listener_poll(struct weir_future *future, struct weir_context *context)
{
    struct listener *me = (struct listener *)future;
    weir_begin(me);
    for (;;) {
        weir_notified_init(&me->wait, me->notify);
        weir_await(me, context, &me->wait);
        atomic_fetch_add_explicit(me->heard, 1, memory_order_relaxed);
    }
    weir_exit(me);
    weir_drop(&me->wait.future, context);
    weir_end(me);
}

// A call that is heard before the next one is made: none may be lost.
static void caller_main(void *argument)
{
    struct caller *me = argument;
    for (uint32_t i = 1; i <= me->calls; i++) {
        weir_notify_one(&me->notify, NULL);
        meeting_watch(&me->meeting, i);
    }
}

static bool callers_heard(struct caller *callers, uint32_t count)
{
    bool all = true;
    for (uint32_t i = 0; i < count; i++) {
        struct meeting *meeting = &callers[i].meeting;
        meeting->os->futex_wake(meeting->os->self, &meeting->arrived, UINT32_MAX);
        all = all &&
              atomic_load_explicit(&meeting->arrived, memory_order_relaxed) == callers[i].calls;
    }
    return all;
}

static void idle_host(struct weir_sim *sim)
{
    struct weir_runtime *runtime = scenario_runtime(sim, 0);
    struct caller callers[CALLERS_MAX];
    uint32_t actors[CALLERS_MAX];
    uint32_t count = weir_sim_draw(sim, "callers", 1, CALLERS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        callers[i] = (struct caller){.meeting = {.sim = sim, .os = weir_sim_os(sim)},
                                     .calls = weir_sim_draw(sim, "calls", 1, 4)};
        weir_notify_init(&callers[i].notify, runtime);
        struct listener listener = {.future = {.poll = listener_poll},
                                    .heard = &callers[i].meeting.arrived,
                                    .notify = &callers[i].notify};
        scenario_spawn(sim, runtime, &listener, NULL);
        actors[i] = weir_sim_start(sim, caller_main, &callers[i]);
    }
    uint32_t polls_max = weir_sim_draw(sim, "polls_max", 1, 4);
    bool waits_inside = weir_sim_draw(sim, "waits_inside", 0, 1) == 1;
    while (!callers_heard(callers, count)) {
        if (!waits_inside) {
            (void)weir_sim_wait(sim, weir_backend_fd(runtime), WEIR_READABLE, WEIR_NEVER);
        }
        (void)weir_turn(runtime, polls_max, waits_inside ? WEIR_NEVER : 0);
    }
    for (uint32_t i = 0; i < count; i++) {
        weir_sim_join(sim, actors[i]);
    }
    weir_runtime_destroy(runtime);
}

const struct weir_sim_scenario sim_scenarios_caller[] = {
    {.name = "idle-host",
     .about = "a host without worker threads sleeps on the runtime's descriptor; others call",
     .run = idle_host,
     .kinds = SCENARIO_RUNTIME_KINDS,
     .weight = 80},
    {0},
};
