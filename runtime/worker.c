// The worker's loop: take, steal, run, park; as a thread, or driven by a host.
#include "runtime/worker.h"

#include "runtime/assert.h"
#include "runtime/runtime.h"

void weir_worker_init(struct weir_worker *worker, struct weir_runtime *runtime, uint32_t index)
{
    const struct weir_os *os = &runtime->os;
    worker->runtime = runtime;
    worker->index = index;
    worker->shared = runtime->workers_count > 1;
    os->entropy(os->self, &worker->random, sizeof(worker->random));
    worker->random |= 1;
    weir_slab_init(&worker->slab, runtime, os);
    uint64_t now_ns = os->now_ns(os->self);
    weir_timers_init(&worker->timers, os, now_ns);
    worker->look_after = WEIR_POLLS_BETWEEN_LOOKS;
    worker->looked_ns = now_ns;
    worker->armed_ns = WEIR_NEVER;
    worker->context = (struct weir_context){runtime, worker, os, {NULL, 0}, now_ns, WEIR_BUDGET};
}

void weir_worker_deinit(struct weir_worker *worker)
{
    weir_slab_deinit(&worker->slab);
}

// ---- Running ----

static void worker_poll(struct weir_worker *worker, struct weir_task *task)
{
    struct weir_context *context = &worker->context;
    struct weir_future *future = weir_task_future(task);
    atomic_store_explicit(&task->worker, (uint16_t)worker->index, memory_order_relaxed);
    context->waker = (struct weir_waker){task, weir_task_generation(task)};
    weir_stat_add(&worker->stats.polls, 1);
    worker->again = false;
    if (weir_task_run(task) == WEIR_TASK_DROP) {
        weir_drop(future, context);
        weir_task_finish(worker, task, WEIR_ECANCELED);
    } else if (weir_future_poll(future, context) == WEIR_READY) {
        weir_task_finish(worker, task, future->result);
    } else if ((worker->again || weir_task_idle(task) == WEIR_TASK_SUBMIT) &&
               !weir_worker_push(worker, task)) {
        weir_worker_submit_back(worker, task);
    }
}

static uint64_t worker_polls_since_look(struct weir_worker *worker)
{
    return weir_stat_get(&worker->stats.polls) - worker->looked_polls;
}

static bool worker_look_overdue(struct weir_worker *worker)
{
    return worker_polls_since_look(worker) >= worker->look_after;
}

static bool worker_look_due(struct weir_worker *worker)
{
    return worker_look_overdue(worker) ||
           (worker_polls_since_look(worker) > WEIR_LIFO_POLLS_MAX &&
            weir_queue_room_owner(&worker->queue) > WEIR_QUEUE_SLOTS - WEIR_RING_SHORT &&
            weir_mailbox_occupied(&worker->mailbox));
}

// Runs a task and then those that were put into the next-task slot meanwhile, on one budget.
// returns  the number of polls, at most polls_max, which is not 0.
static uint32_t worker_run(struct weir_worker *worker, struct weir_task *task, uint32_t polls_max)
{
    worker->context.budget = WEIR_BUDGET;
    uint32_t polls = 0;
    for (;;) {
        weir_worker_share(worker);
        worker_poll(worker, task);
        polls++;
        task = weir_worker_take_next(worker);
        if (task == NULL) {
            return polls;
        }
        if (polls > WEIR_LIFO_POLLS_MAX || polls >= polls_max || worker->context.budget == 0 ||
            worker_look_overdue(worker)) {
            weir_worker_submit_back(worker, task);
            return polls;
        }
    }
}

// ---- Time and readiness ----

static void worker_advance(struct weir_worker *worker)
{
    const struct weir_os *os = &worker->runtime->os;
    worker->context.now_ns = os->now_ns(os->self);
    uint32_t fired = weir_timers_advance(&worker->timers, worker, worker->context.now_ns);
    weir_stat_add(&worker->stats.timers_fired, fired);
}

static void worker_looked(struct weir_worker *worker)
{
    worker->looked_polls = weir_stat_get(&worker->stats.polls);
    worker->looked_ns = worker->context.now_ns;
}

// [W4] The role's release pairs with the next holder's acquire.
static bool poller_take(struct weir_worker *worker)
{
    uint32_t nobody = 0;
    return atomic_compare_exchange_strong_explicit(&worker->runtime->poller_holder, &nobody,
                                                   worker->index + 1, memory_order_acquire,
                                                   memory_order_relaxed); // [W4]
}

static void poller_leave(struct weir_worker *worker)
{
    atomic_store_explicit(&worker->runtime->poller_holder, 0, memory_order_release); // [W4]
}

static int poller_poll(struct weir_worker *worker, uint64_t deadline_ns)
{
    worker->polled_ns = worker->context.now_ns;
    int events = weir_reactor_poll(&worker->runtime->reactor, worker, deadline_ns);
    if (events > 0) {
        weir_stat_add(&worker->stats.events, (uint64_t)events);
    }
    return events;
}

// This worker is about to run something, for who knows how long: one that sleeps elsewhere is to
// take the poller.
static void poller_offer(struct weir_worker *worker)
{
    struct weir_runtime *runtime = worker->runtime;
    if (weir_reactor_watching(&runtime->reactor) && runtime->workers_count > 1) {
        weir_idle_wake_one(runtime, ~((uint64_t)1 << worker->index));
    }
}

// Between polls now and then: so that a busy worker notices time, readiness and its mailbox. Looks
// are counted in polls, and when polls are long there are fewer between two of them.
// returns  NULL, or a task to be polled next.
static struct weir_task *worker_look_around(struct weir_worker *worker)
{
    worker_advance(worker);
    uint64_t took_ns = worker->context.now_ns - worker->looked_ns;
    uint64_t fit = worker_polls_since_look(worker) * WEIR_LOOK_NS / (took_ns + 1);
    fit = fit < WEIR_POLLS_BETWEEN_LOOKS ? fit : WEIR_POLLS_BETWEEN_LOOKS;
    worker->look_after = fit > 0 ? (uint32_t)fit : 1;
    worker_looked(worker);
    if (weir_reactor_watching(&worker->runtime->reactor) &&
        worker->context.now_ns - worker->polled_ns >= WEIR_LOOK_POLLER_NS && poller_take(worker)) {
        (void)poller_poll(worker, 0);
        poller_leave(worker);
        poller_offer(worker);
    }
    return weir_worker_refill(worker);
}

// The next task of its own, or NULL.
static inline struct weir_task *worker_next(struct weir_worker *worker)
{
    struct weir_task *task = worker_look_due(worker) ? worker_look_around(worker) : NULL;
    return task != NULL ? task : weir_worker_take(worker);
}

// Runs `task`, if there is one, and then those of its own, until there are none, polls_max polls
// are done, or *until is not 0 any more.
//   returns  the number of polls.
static uint32_t worker_work(struct weir_worker *worker, struct weir_task *task, uint32_t polls_max,
                            const _Atomic uint32_t *until)
{
    uint32_t polls = 0;
    while (polls < polls_max && atomic_load_explicit(until, memory_order_relaxed) == 0) {
        if (task == NULL) {
            task = worker_next(worker);
        }
        if (task == NULL) {
            break;
        }
        if (worker->searching) {
            weir_idle_found(worker);
        }
        polls += worker_run(worker, task, polls_max - polls);
        task = NULL;
    }
    worker->context.waker = (struct weir_waker){NULL, 0};
    return polls;
}

// ---- Parking ----

// A poller that fails would fail again at once: sleep a little instead of spinning.
#define POLLER_BROKEN_PAUSE_NS 10000000u

static void sleep_in_futex(struct weir_worker *worker, uint64_t deadline_ns)
{
    if (weir_park_begin(&worker->parker, WEIR_PARK_FUTEX)) {
        weir_park_futex(&worker->parker, &worker->runtime->os, deadline_ns);
    }
}

static void sleep_in_poller(struct weir_worker *worker, uint64_t deadline_ns)
{
    int events = 0;
    if (weir_park_begin(&worker->parker, WEIR_PARK_POLLER)) {
        events = poller_poll(worker, deadline_ns);
        if (events >= 0) {
            weir_park_end(&worker->parker);
        } else { // the token of whoever wakes it meanwhile stays
            (void)weir_park_change(&worker->parker, WEIR_PARK_POLLER, WEIR_PARK_RUNNING);
        }
    }
    poller_leave(worker);
    if (events < 0) {
        uint64_t pause_ns = worker->context.now_ns + POLLER_BROKEN_PAUSE_NS;
        sleep_in_futex(worker, pause_ns < deadline_ns ? pause_ns : deadline_ns);
    }
    poller_offer(worker);
}

static void worker_park(struct weir_worker *worker)
{
    if (!weir_idle_enter(worker)) {
        return;
    }
    weir_stat_add(&worker->stats.parks, 1);
    uint64_t deadline_ns = weir_timers_next_ns(&worker->timers);
    if (poller_take(worker)) {
        sleep_in_poller(worker, deadline_ns);
    } else {
        sleep_in_futex(worker, deadline_ns);
    }
    weir_idle_leave(worker);
    weir_stat_add(&worker->stats.unparks, 1);
    worker_advance(worker);
    worker_looked(worker);
}

void weir_worker_main(void *argument)
{
    struct weir_worker *worker = argument;
    struct weir_runtime *runtime = worker->runtime;
    struct weir_task *stolen = NULL;
    while (!weir_runtime_stopping(runtime)) {
        (void)worker_work(worker, stolen, UINT32_MAX, &runtime->stopping);
        stolen = weir_worker_steal(worker); // if the runtime stops now, destroy drops it
        if (stolen == NULL) {
            worker_park(worker);
        }
    }
}

// ---- Driven by a host ----

// Between turns, and while a turn waits, the worker counts as parked in the poller: whoever wakes
// it makes the backend descriptor readable.  returns  true: there is work now.
static bool turn_sleep(struct weir_worker *worker)
{
    while (!weir_park_begin(&worker->parker, WEIR_PARK_POLLER)) {
    }
    uint64_t bit = (uint64_t)1 << worker->index;
    atomic_fetch_or_explicit(&worker->runtime->parked, bit, memory_order_seq_cst); // [W1]
    return weir_idle_work_visible(worker);
}

static void turn_wake(struct weir_worker *worker)
{
    weir_park_end(&worker->parker);
    weir_idle_leave(worker);
    if (worker->searching) { // alone, there is nobody to search at
        worker->searching = false;
        atomic_fetch_sub_explicit(&worker->runtime->searching, 1, memory_order_seq_cst); // [W2]
    }
    worker_advance(worker);
}

void weir_worker_turn_init(struct weir_worker *worker)
{
    (void)turn_sleep(worker);
}

static uint64_t turn_deadline_ns(struct weir_worker *worker, uint64_t wait_max_ns)
{
    uint64_t now_ns = worker->context.now_ns;
    uint64_t limit_ns = wait_max_ns < WEIR_NEVER - now_ns ? now_ns + wait_max_ns : WEIR_NEVER;
    uint64_t next_ns = weir_timers_next_ns(&worker->timers);
    return next_ns < limit_ns ? next_ns : limit_ns;
}

// Setting a timer is a system call. An expiry is told once: one that may have been is set again.
static int turn_arm(struct weir_worker *worker)
{
    const struct weir_os *os = &worker->runtime->os;
    uint64_t next_ns = weir_timers_next_ns(&worker->timers);
    if (next_ns == worker->armed_ns && (next_ns == WEIR_NEVER || next_ns > os->now_ns(os->self))) {
        return 0;
    }
    int error = os->poller_arm(os->self, &worker->runtime->reactor.poller, next_ns);
    worker->armed_ns = error < 0 ? 0 : next_ns;
    return error;
}

uint32_t weir_worker_turn(struct weir_worker *worker, uint32_t polls_max, uint64_t wait_max_ns,
                          const _Atomic uint32_t *until)
{
    weir_assert(worker->context.waker.task == NULL); // not from inside a poll
    turn_wake(worker);
    if (wait_max_ns > 0) {
        uint64_t deadline_ns = turn_sleep(worker) ? 0 : turn_deadline_ns(worker, wait_max_ns);
        (void)poller_poll(worker, deadline_ns);
        turn_wake(worker);
    } else {
        (void)poller_poll(worker, 0);
    }
    uint32_t polls = worker_work(worker, NULL, polls_max, until);
    bool work = turn_sleep(worker);
    bool armed = turn_arm(worker) == 0; // without its timer the host comes back at once, to retry
    if (work || !armed) {
        weir_reactor_wake(&worker->runtime->reactor);
    }
    return polls;
}
