// Scenarios of tasks: wake, join, cancel, scopes; and the runtime's end.
//
// After what Tokio checks of its multi-threaded and current-thread schedulers, its join sets and
// its shutdown with loom; the names say which. Tasks write and read plain memory on both sides of
// every wake and join, so that a wake that orders nothing is a data race, and two pollers at once
// are too.
#include "sim/scenario_adder.h"
#include "sim/scenarios.h"

// ---- A task that passes the baton: waits for a word, polled at most so often ----

// Ready once `*word` reaches `goal`; its waker is where others find it.
struct waiter {
    struct weir_future future;
    struct weir_sim *sim;
    _Atomic uint32_t *word;
    uint32_t goal;
    uint32_t *polls;              // plain: two pollers at once would be a race
    _Atomic uint32_t *registered; // 1 once `waker` may be read
    struct weir_waker *waker;
    const uint32_t *payload; // plain, written right before the only wake; NULL: there are more
};

static bool waiter_done(struct waiter *me)
{
    *me->polls += 1;
    // The second poll was caused by the wake, and so sees what came before it: the words are
    // relaxed.
    if (me->payload != NULL && *me->polls == 2) {
        weir_sim_check(me->sim, *me->payload == 77, "wake-before-its-cause");
        weir_sim_sometimes(me->sim, "wake-seen");
    }
    return atomic_load_explicit(me->word, memory_order_relaxed) >= me->goal;
}

static enum weir_poll waiter_poll(struct weir_future *future, struct weir_context *context)
{
    struct waiter *me = (struct waiter *)future;
    weir_begin(me);
    *me->waker = weir_context_waker(context);
    atomic_store_explicit(me->registered, 1, memory_order_release);
    weir_until(me, waiter_done(me));
    weir_return(me, (int32_t)me->goal);
    weir_exit(me);
    weir_end(me);
}

struct stage {
    struct weir_sim *sim;
    struct weir_runtime *runtime;
    _Atomic uint32_t word;
    _Atomic uint32_t registered;
    struct weir_waker waker;
    uint32_t polls;
    uint32_t payload;
    uint32_t wakes;
    bool lone; // there is one waker, and it wakes once
};

static void stage_spawn(struct stage *stage, uint32_t goal, struct weir_handle *handle)
{
    struct waiter task = {.future = {.poll = waiter_poll},
                          .sim = stage->sim,
                          .word = &stage->word,
                          .goal = goal,
                          .polls = &stage->polls,
                          .registered = &stage->registered,
                          .waker = &stage->waker,
                          .payload = stage->lone ? &stage->payload : NULL};
    scenario_spawn(stage->sim, stage->runtime, &task, handle);
}

static void stage_registered(struct stage *stage)
{
    while (atomic_load_explicit(&stage->registered, memory_order_acquire) == 0) {
        weir_sim_sleep(stage->sim, 1000);
    }
}

static void waker_main(void *argument)
{
    struct stage *stage = argument;
    stage_registered(stage);
    for (uint32_t i = 0; i < stage->wakes; i++) {
        if (stage->lone) {
            stage->payload = 77;
        }
        atomic_fetch_add_explicit(&stage->word, 1, memory_order_relaxed);
        weir_wake(stage->waker);
    }
}

// pool_multi_notify, and: every wake is followed by a poll that sees what was before it.
static void task_wake(struct weir_sim *sim)
{
    struct stage stage = {.sim = sim};
    uint32_t workers = weir_sim_draw(sim, "workers", 1, 3);
    uint32_t wakers = weir_sim_draw(sim, "wakers", 1, 2);
    stage.wakes = weir_sim_draw(sim, "wakes", 1, 3);
    stage.lone = wakers * stage.wakes == 1;
    stage.runtime = scenario_runtime(sim, workers);
    struct weir_handle handle;
    stage_spawn(&stage, wakers * stage.wakes, &handle);
    uint32_t actors[2];
    for (uint32_t i = 0; i < wakers; i++) {
        actors[i] = weir_sim_start(sim, waker_main, &stage);
    }
    weir_sim_check(sim, scenario_join(stage.runtime, handle) == (int)(wakers * stage.wakes),
                   "join-result");
    // block_on_num_polls: one at the start, at most one per wake. Read after the join: ordered by
    // it.
    weir_sim_check(sim, stage.polls <= wakers * stage.wakes + 1, "polled-without-a-wake");
    for (uint32_t i = 0; i < wakers; i++) {
        weir_sim_join(sim, actors[i]);
    }
    weir_wake(stage.waker); // stale: the task has ended
    weir_runtime_destroy(stage.runtime);
}

// ---- Joining and cancelling ----

static void cancel_main(void *argument)
{
    struct weir_handle *handle = argument;
    weir_task_cancel(*handle);
}

// join_output, join_handle_cancel_on_shutdown: a cancel races with the end.
static void task_cancel(struct weir_sim *sim)
{
    struct stage stage = {.sim = sim, .wakes = 1};
    stage.runtime = scenario_runtime(sim, weir_sim_draw(sim, "workers", 1, 2));
    struct weir_handle handle;
    stage_spawn(&stage, 1, &handle);
    struct weir_handle copy = handle;
    bool cancels = weir_sim_draw(sim, "cancels", 0, 1) == 1;
    uint32_t waker = 0;
    bool wakes = !cancels || weir_sim_draw(sim, "wakes", 0, 1) == 1;
    if (wakes) {
        atomic_fetch_add_explicit(&stage.word, 1, memory_order_release);
    }
    uint32_t canceller = weir_sim_start(sim, cancel_main, &copy);
    if (wakes && weir_sim_draw(sim, "twice", 0, 1) == 1) {
        waker = weir_sim_start(sim, cancel_main, &copy);
    }
    int result = scenario_join(stage.runtime, handle);
    weir_sim_check(sim, result == WEIR_ECANCELED || (wakes && result == 1), "join-result");
    weir_sim_sometimes(sim, result == 1 ? "cancel-too-late" : "cancel-in-time");
    weir_sim_join(sim, canceller);
    if (waker != 0) {
        weir_sim_join(sim, waker);
    }
    weir_runtime_destroy(stage.runtime);
}

// ---- Scopes: test_join_set, abort_all_during_completion ----

struct parent {
    struct weir_future future;
    struct weir_sim *sim;
    _Atomic uint32_t *sum;
    uint32_t children;
    bool cancels, waits;
    uint32_t frame; // plain; the children write nothing, but may live as long as this
    struct weir_scope scope;
    struct weir_scope_wait wait;
};

static enum weir_poll parent_poll(struct weir_future *future, struct weir_context *context)
{
    struct parent *me = (struct parent *)future;
    weir_begin(me);
    for (uint32_t i = 0; i < me->children; i++) {
        struct adder child = {
            .future = {.poll = adder_poll}, .sum = me->sum, .yields = i, .sim = me->sim};
        weir_sim_check(me->sim,
                       weir_scope_spawn(&me->scope, context, &child.future, sizeof child,
                                        WEIR_SPAWN_STEALABLE) == 0,
                       "spawn-refused");
    }
    if (me->cancels) {
        weir_scope_cancel(&me->scope, context);
    }
    if (me->waits) {
        weir_scope_wait_init(&me->wait, &me->scope);
        weir_await(me, context, &me->wait);
    }
    weir_return(me, 5);
    weir_exit(me);
    weir_drop(&me->wait.future, context);
    weir_end(me);
}

static void task_scope(struct weir_sim *sim)
{
    struct weir_runtime *runtime = scenario_runtime(sim, weir_sim_draw(sim, "workers", 1, 3));
    _Atomic uint32_t sum = 0;
    struct parent parent = {.future = {.poll = parent_poll}, .sim = sim, .sum = &sum};
    parent.children = weir_sim_draw(sim, "children", 1, 4);
    parent.cancels = weir_sim_draw(sim, "cancels", 0, 1) == 1;
    parent.waits = weir_sim_draw(sim, "waits", 0, 1) == 1;
    struct weir_handle handle;
    scenario_spawn(sim, runtime, &parent, &handle);
    bool cancelled = weir_sim_draw(sim, "cancelled", 0, 1) == 1;
    struct weir_handle copy = handle;
    uint32_t canceller = cancelled ? weir_sim_start(sim, cancel_main, &copy) : 0;
    int result = scenario_join(runtime, handle);
    weir_sim_check(sim, result == 5 || (cancelled && result == WEIR_ECANCELED), "join-result");
    uint32_t ended = atomic_load_explicit(&sum, memory_order_relaxed);
    weir_sim_check(sim, ended <= parent.children, "child-ran-twice");
    if (parent.waits && !parent.cancels && result == 5) {
        weir_sim_check(sim, ended == parent.children, "scope-left-a-child");
    }
    if (cancelled) {
        weir_sim_join(sim, canceller);
    }
    weir_runtime_destroy(runtime);
}

// ---- The end ----

struct shutdown {
    struct weir_sim *sim;
    struct weir_runtime *runtime;
    struct stage *stage;
    _Atomic uint32_t *sum;
    _Atomic uint32_t stop;
};

static void shutdown_wakes(void *argument)
{
    struct shutdown *shutdown = argument;
    stage_registered(shutdown->stage);
    weir_wake(shutdown->stage->waker);
    atomic_store_explicit(&shutdown->stop, 1, memory_order_release);
}

// racy_shutdown, shutdown_with_notification, pool_shutdown: the end comes while tasks are queued,
// run and sleep, right after a wake from outside.
static void task_shutdown(struct weir_sim *sim)
{
    struct stage stage = {.sim = sim};
    stage.runtime = scenario_runtime(sim, weir_sim_draw(sim, "workers", 0, 3));
    _Atomic uint32_t sum = 0;
    uint32_t tasks = weir_sim_draw(sim, "tasks", 0, 3);
    for (uint32_t i = 0; i < tasks; i++) {
        struct adder task = {.future = {.poll = adder_poll},
                             .sum = &sum,
                             .children = 1,
                             .yields = weir_sim_draw(sim, "yields", 0, 3),
                             .ending = true,
                             .sim = sim};
        scenario_spawn(sim, stage.runtime, &task, NULL);
    }
    stage_spawn(&stage, 9, NULL); // never ready
    struct shutdown shutdown = {.sim = sim, .runtime = stage.runtime, .stage = &stage, .sum = &sum};
    uint32_t turns = weir_sim_draw(sim, "turns", 0, 2);
    for (uint32_t i = 0; i < turns; i++) {
        (void)weir_turn(stage.runtime, 1, 0);
    }
    if (weir_sim_draw(sim, "wakes", 0, 1) == 1 &&
        atomic_load_explicit(&stage.registered, memory_order_acquire) == 1) {
        uint32_t actor = weir_sim_start(sim, shutdown_wakes, &shutdown);
        weir_sim_join(sim, actor);
        weir_sim_sometimes(sim, "shutdown-after-a-wake");
    }
    weir_runtime_destroy(stage.runtime);
}

static const char *const wake_probes[] = {"wake-seen", NULL};
static const char *const cancel_probes[] = {"cancel-too-late", "cancel-in-time", NULL};
static const char *const shutdown_probes[] = {"shutdown-after-a-wake", NULL};

const struct weir_sim_scenario sim_scenarios_task[] = {
    {.name = "task-wake",
     .about = "a task woken from several threads: no wake lost, no poll without one",
     .run = task_wake,
     .kinds = SCENARIO_RUNTIME_KINDS,
     .probes = wake_probes,
     .probe_seeds = 500},
    {.name = "task-cancel",
     .about = "a cancel, or two, race with the task's end",
     .run = task_cancel,
     .kinds = SCENARIO_RUNTIME_KINDS,
     .probes = cancel_probes,
     .probe_seeds = 500},
    {.name = "task-scope",
     .about = "a scope's children end, are cancelled, and hold their parent's frame",
     .run = task_scope,
     .kinds = SCENARIO_RUNTIME_KINDS,
     .weight = 5},
    {.name = "task-shutdown",
     .about = "the runtime is destroyed over queued, running and waiting tasks",
     .run = task_shutdown,
     .kinds = SCENARIO_RUNTIME_KINDS,
     .probes = shutdown_probes,
     .probe_seeds = 500},
    {0},
};
