// The worker's loop: take, steal, run, park; and how sleeping workers learn of work.
//
// Orders.
// [W1] No wake-up is lost. Who makes work visible: (1) queue it, (2) read `searching` and `parked`.
//      Who goes to sleep: (1) set its bit in `parked`, stop being counted in `searching`, (2) look at
//      every queue again. All four are sequentially consistent, so at least one of the two sees
//      the other. A ring's owner pushes with release only and makes the last store of `tail`
//      before its next poll sequentially consistent (weir_queue_publish_owner): one barrier per
//      poll that queued something, on a line of its own, and none on the others.
// [W2] Who claims a bit of `parked` counts its owner in `searching`; the owner finds its bit gone
//      and knows. An owner that wakes by itself at that moment may stop searching before it was
//      counted: `searching` is then one too low for a moment, and may be -1. It is never too high,
//      so who finds it above 0 can rely on somebody who stops searching later, and looks then.
#include "runtime/worker.h"

#include <string.h>

#include "runtime/assert.h"
#include "runtime/runtime.h"

void weir_worker_init(struct weir_worker *worker, struct weir_runtime *runtime, uint32_t index)
{
    const struct weir_os *os = &runtime->os;
    worker->runtime = runtime;
    worker->index = index;
    os->entropy(os->self, &worker->random, sizeof(worker->random));
    worker->random |= 1;
    weir_slab_init(&worker->slab, runtime, os);
    uint64_t now_ns = os->now_ns(os->self);
    weir_timers_init(&worker->timers, os, now_ns);
    worker->context = (struct weir_context){runtime, worker, os, {NULL, 0}, now_ns, WEIR_BUDGET};
}

void weir_worker_deinit(struct weir_worker *worker)
{
    weir_slab_deinit(&worker->slab);
}

// ---- Telling sleeping workers ----

static bool parked_claim(struct weir_runtime *runtime, uint32_t index)
{
    uint64_t bit = (uint64_t)1 << index;
    if ((atomic_load_explicit(&runtime->parked, memory_order_seq_cst) & bit) == 0 || // [W1]
        (atomic_fetch_and_explicit(&runtime->parked, ~bit, memory_order_seq_cst) & bit) == 0) {
        return false;
    }
    atomic_fetch_add_explicit(&runtime->searching, 1, memory_order_seq_cst); // [W2]
    (void)weir_unpark(&runtime->workers[index].parker, &runtime->os, &runtime->reactor.poller);
    return true;
}

// Wakes one of the workers in `among`, preferably not the one in the poller.
static void parked_wake_one(struct weir_runtime *runtime, uint64_t among)
{
    uint64_t parked = atomic_load_explicit(&runtime->parked, memory_order_seq_cst) & among; // [W1]
    uint32_t holder = atomic_load_explicit(&runtime->poller_holder, memory_order_relaxed);
    uint64_t second = holder == 0 ? 0 : parked & ((uint64_t)1 << (holder - 1));
    for (uint64_t first = parked & ~second; first != 0; first &= first - 1) {
        if (parked_claim(runtime, (uint32_t)__builtin_ctzll(first))) {
            return;
        }
    }
    if (second != 0) {
        (void)parked_claim(runtime, holder - 1);
    }
}

void weir_workers_notify(struct weir_runtime *runtime)
{
    if (atomic_load_explicit(&runtime->searching, memory_order_seq_cst) <= 0) { // [W1] [W2]
        parked_wake_one(runtime, UINT64_MAX);
    }
}

void weir_workers_wake_all(struct weir_runtime *runtime)
{
    for (uint32_t i = 0; i < runtime->workers_count; i++) {
        (void)weir_unpark(&runtime->workers[i].parker, &runtime->os, &runtime->reactor.poller);
    }
}

// ---- Queueing ----

void weir_worker_submit_remote(struct weir_task *task)
{
    struct weir_runtime *runtime = weir_task_block(task)->runtime;
    uint32_t index = atomic_load_explicit(&task->worker, memory_order_relaxed);
    struct weir_worker *worker = &runtime->workers[index];
    bool pinned = task->pinned != 0; // read before the push: then it is somebody else's
    weir_mailbox_push(pinned ? &worker->pinned : &worker->mailbox, task); // [W1]
    if (!parked_claim(runtime, index) && !pinned) {
        weir_workers_notify(runtime);
    }
}

static void worker_push_back(struct weir_worker *worker, struct weir_task *task)
{
    struct weir_runtime *runtime = worker->runtime;
    if (task->pinned != 0) {
        uint32_t index = atomic_load_explicit(&task->worker, memory_order_relaxed);
        if (index != worker->index) {
            weir_worker_submit_remote(task);
        } else {
            weir_mailbox_push(&worker->pinned, task);
        }
        return;
    }
    worker->pushed++;
    if (weir_queue_push_owner(&worker->queue, task)) {
        return;
    }
    // Full: the older half and this task go where thieves can have them all at once. While a thief
    // is copying there is no older half to be had.
    struct weir_chain chain = weir_queue_shed_owner(&worker->queue);
    task->next = NULL;
    if (chain.count == 0) {
        chain = (struct weir_chain){task, task, 1};
    } else {
        chain.last->next = task;
        chain.last = task;
        chain.count++;
    }
    weir_stat_add(&worker->stats.overflowed, chain.count);
    weir_mailbox_append(&worker->mailbox, &runtime->os, chain);
}

void weir_worker_submit_next(struct weir_worker *worker, struct weir_task *task)
{
    if (task->pinned != 0) {
        worker_push_back(worker, task);
        return;
    }
    // [W3] releases the task to a thief's acquire
    struct weir_task *displaced =
        atomic_exchange_explicit(&worker->lifo, task, memory_order_acq_rel);
    if (displaced != NULL) {
        worker_push_back(worker, displaced);
    }
}

void weir_worker_wake_back(struct weir_worker *worker, struct weir_waker waker)
{
    if (waker.task != NULL &&
        weir_task_wake(waker.task, waker.generation) == WEIR_TASK_SUBMIT) {
        worker_push_back(worker, waker.task);
    }
}

// Before a poll, which may take long: makes what was queued since the last one visible and wakes
// one idle worker for it, if something is left besides the task that is polled now. That worker
// wakes the next when it finds more than it needs.
static void worker_share(struct weir_worker *worker)
{
    if (worker->pushed == 0) {
        return;
    }
    worker->pushed = 0;
    if (worker->runtime->workers_count == 1) {
        return;
    }
    weir_queue_publish_owner(&worker->queue); // [W1]
    if (weir_queue_count(&worker->queue) != 0 || weir_mailbox_occupied(&worker->mailbox)) {
        weir_workers_notify(worker->runtime);
    }
}

// ---- Taking ----

static struct weir_task *lifo_take(struct weir_worker *worker)
{
    if (atomic_load_explicit(&worker->lifo, memory_order_relaxed) == NULL) {
        return NULL;
    }
    return atomic_exchange_explicit(&worker->lifo, NULL, memory_order_acq_rel); // [W3]
}

static struct weir_task *pinned_take(struct weir_worker *worker)
{
    if (worker->pinned_ready.count == 0) {
        worker->pinned_ready = weir_mailbox_draw(&worker->pinned, &worker->runtime->os, UINT32_MAX);
    }
    struct weir_task *task = worker->pinned_ready.first;
    if (task != NULL) {
        worker->pinned_ready.first = task->next;
        worker->pinned_ready.count--;
    }
    return task;
}

// Draws a share of a mailbox that fits into the worker's ring: one more than half of its room.
static struct weir_chain mailbox_draw(struct weir_worker *worker, struct weir_mailbox *mailbox,
                                      uint32_t room)
{
    struct weir_chain chain = weir_mailbox_draw(mailbox, &worker->runtime->os, room / 2 + 1);
    if (chain.count != 0 && weir_mailbox_occupied(mailbox)) {
        // While the inbox moved to the backlog, a worker that looked here before it slept saw
        // neither; so what is left counts as newly queued.
        worker->pushed++;
    }
    return chain;
}

static void worker_push_chain(struct weir_worker *worker, struct weir_task *task)
{
    while (task != NULL) {
        struct weir_task *next = task->next;
        worker_push_back(worker, task);
        task = next;
    }
}

// The first task of a share of the mailbox; the rest goes into the worker's ring.
static struct weir_task *mailbox_take(struct weir_worker *worker, struct weir_mailbox *mailbox)
{
    uint32_t room = weir_queue_room_owner(&worker->queue);
    struct weir_chain chain = mailbox_draw(worker, mailbox, room);
    if (chain.count != 0) {
        worker_push_chain(worker, chain.first->next);
    }
    return chain.first;
}

// Pinned tasks and the others take turns: neither kind can starve the other by waking itself.
static struct weir_task *worker_take(struct weir_worker *worker)
{
    struct weir_task *task = lifo_take(worker);
    if (task != NULL) {
        return task;
    }
    worker->pinned_first = !worker->pinned_first;
    if (worker->pinned_first) {
        task = pinned_take(worker);
    }
    if (task == NULL) {
        task = weir_queue_pop_owner(&worker->queue);
    }
    if (task == NULL && !worker->pinned_first) {
        task = pinned_take(worker);
    }
    if (task == NULL) {
        task = mailbox_take(worker, &worker->mailbox);
    }
    return task;
}

// ---- Stealing ----

static uint32_t worker_random(struct weir_worker *worker)
{
    uint64_t x = worker->random; // xorshift64, Marsaglia 2003
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    worker->random = x;
    return (uint32_t)(x >> 32);
}

// At most half of the workers search at once: more would only get in each other's way.
static bool search_begin(struct weir_worker *worker)
{
    struct weir_runtime *runtime = worker->runtime;
    if (worker->searching) {
        return true;
    }
    int32_t searching = atomic_load_explicit(&runtime->searching, memory_order_relaxed);
    if (2 * searching >= (int32_t)runtime->workers_count) {
        return false;
    }
    atomic_fetch_add_explicit(&runtime->searching, 1, memory_order_seq_cst); // [W1]
    worker->searching = true;
    return true;
}

static struct weir_task *worker_steal(struct weir_worker *worker)
{
    struct weir_runtime *runtime = worker->runtime;
    uint32_t count = runtime->workers_count;
    if (count == 1 || !search_begin(worker)) {
        return NULL;
    }
    uint32_t start = worker_random(worker) % count;
    for (uint32_t pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < count; i++) {
            struct weir_worker *victim = &runtime->workers[(start + i) % count];
            if (victim == worker) {
                continue;
            }
            struct weir_task *task = NULL;
            if (pass == 0) {
                task = weir_queue_steal(&victim->queue, &worker->queue);
                if (task == NULL) {
                    task = mailbox_take(worker, &victim->mailbox);
                }
            } else {
                task = lifo_take(victim);
            }
            if (task != NULL) {
                weir_stat_add(&worker->stats.stolen, 1);
                return task;
            }
        }
    }
    return NULL;
}

// Whether anything is queued that this worker could run.
static bool work_visible(struct weir_worker *worker)
{
    struct weir_runtime *runtime = worker->runtime;
    for (uint32_t i = 0; i < runtime->workers_count; i++) {
        struct weir_worker *other = &runtime->workers[i];
        if (weir_queue_count(&other->queue) != 0 || weir_mailbox_occupied(&other->mailbox)) { // [W1]
            return true;
        }
    }
    return weir_mailbox_occupied(&worker->pinned) || worker->pinned_ready.count != 0 ||
           atomic_load_explicit(&worker->lifo, memory_order_relaxed) != NULL;
}

// Found something: the last searcher to stop makes sure that what it passed over is not forgotten,
// since those who queued it counted on a searcher.
static void search_end(struct weir_worker *worker)
{
    if (!worker->searching) {
        return;
    }
    struct weir_runtime *runtime = worker->runtime;
    worker->searching = false;
    int32_t before = atomic_fetch_sub_explicit(&runtime->searching, 1, memory_order_seq_cst); // [W1]
    if (before <= 1 && work_visible(worker)) { // [W2]
        weir_workers_notify(runtime);
    }
}

// ---- Running ----

static void worker_poll(struct weir_worker *worker, struct weir_task *task)
{
    struct weir_context *context = &worker->context;
    struct weir_future *future = weir_task_future(task);
    enum weir_task_action action = weir_task_run(task);
    if (task->pinned == 0 &&
        atomic_load_explicit(&task->worker, memory_order_relaxed) != worker->index) {
        atomic_store_explicit(&task->worker, (uint16_t)worker->index, memory_order_relaxed);
    }
    context->waker = (struct weir_waker){task, weir_task_generation(task)};
    weir_stat_add(&worker->stats.polls, 1);
    worker->polls_since_events++;
    if (action == WEIR_TASK_DROP) {
        weir_drop(future, context);
        weir_task_finish(worker, task, WEIR_ECANCELED);
    } else if (weir_future_poll(future, context) == WEIR_READY) {
        weir_task_finish(worker, task, future->result);
    } else if (weir_task_idle(task) == WEIR_TASK_SUBMIT) {
        worker_push_back(worker, task);
    }
    context->waker = (struct weir_waker){NULL, 0};
}

// Runs a task and then those that were put into the next-task slot meanwhile, on one budget.
// returns  the number of polls, at most polls_max, which is not 0.
static uint32_t worker_run(struct weir_worker *worker, struct weir_task *task, uint32_t polls_max)
{
    worker->context.budget = WEIR_BUDGET;
    uint32_t polls = 0;
    for (;;) {
        worker_share(worker);
        worker_poll(worker, task);
        polls++;
        task = lifo_take(worker);
        if (task == NULL) {
            return polls;
        }
        if (polls > WEIR_LIFO_POLLS_MAX || polls >= polls_max || worker->context.budget == 0) {
            worker_push_back(worker, task);
            return polls;
        }
    }
}

// ---- Time and readiness ----

static void worker_advance(struct weir_worker *worker)
{
    const struct weir_os *os = &worker->runtime->os;
    worker->context.now_ns = os->now_ns(os->self);
    if (weir_timers_next_ns(&worker->timers) <= worker->context.now_ns) {
        uint32_t fired = weir_timers_advance(&worker->timers, worker, worker->context.now_ns);
        weir_stat_add(&worker->stats.timers_fired, fired);
    }
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
        parked_wake_one(runtime, ~((uint64_t)1 << worker->index));
    }
}

// Between polls now and then: so that a busy worker notices time, readiness and its mailbox.
// returns  NULL, or a task to be polled next: from a full ring it would only be sent back to the
// mailbox, and that could go on for ever.
static struct weir_task *worker_look_around(struct weir_worker *worker)
{
    worker->polls_since_events = 0;
    worker_advance(worker);
    if (poller_take(worker)) {
        (void)poller_poll(worker, 0);
        poller_leave(worker);
        poller_offer(worker);
    }
    uint32_t room = weir_queue_room_owner(&worker->queue);
    struct weir_chain chain = mailbox_draw(worker, &worker->mailbox, room);
    if (room == 0) {
        return chain.first;
    }
    worker_push_chain(worker, chain.first);
    return NULL;
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
        weir_park_end(&worker->parker);
    }
    poller_leave(worker);
    if (events < 0) {
        uint64_t pause_ns = worker->context.now_ns + POLLER_BROKEN_PAUSE_NS;
        sleep_in_futex(worker, pause_ns < deadline_ns ? pause_ns : deadline_ns);
    }
    poller_offer(worker);
}

// Takes the worker's bit out of `parked`; when somebody else has, he counted it as searching.
static void parked_leave(struct weir_worker *worker)
{
    uint64_t bit = (uint64_t)1 << worker->index;
    uint64_t seen = atomic_fetch_and_explicit(&worker->runtime->parked, ~bit, memory_order_seq_cst);
    if ((seen & bit) == 0) { // [W2]
        worker->searching = true;
    }
}

// Announces sleep.  returns  false: there is something to do after all.
static bool parked_enter(struct weir_worker *worker)
{
    struct weir_runtime *runtime = worker->runtime;
    uint64_t bit = (uint64_t)1 << worker->index;
    atomic_fetch_or_explicit(&runtime->parked, bit, memory_order_seq_cst); // [W1]
    if (worker->searching) {
        worker->searching = false;
        atomic_fetch_sub_explicit(&runtime->searching, 1, memory_order_seq_cst); // [W1]
    }
    if (!work_visible(worker) && !weir_runtime_stopping(runtime)) {
        return true;
    }
    parked_leave(worker);
    if (!worker->searching) { // there is work: look for it, even beyond the bound on searchers
        worker->searching = true;
        atomic_fetch_add_explicit(&runtime->searching, 1, memory_order_seq_cst); // [W1]
    }
    return false;
}

static void worker_park(struct weir_worker *worker)
{
    if (!parked_enter(worker)) {
        return;
    }
    weir_stat_add(&worker->stats.parks, 1);
    uint64_t deadline_ns = weir_timers_next_ns(&worker->timers);
    if (poller_take(worker)) {
        sleep_in_poller(worker, deadline_ns);
    } else {
        sleep_in_futex(worker, deadline_ns);
    }
    parked_leave(worker);
    weir_stat_add(&worker->stats.unparks, 1);
    worker->polls_since_events = 0;
    worker_advance(worker);
}

void weir_worker_main(void *argument)
{
    struct weir_worker *worker = argument;
    while (!weir_runtime_stopping(worker->runtime)) {
        struct weir_task *task = NULL;
        if (worker->polls_since_events >= WEIR_POLLS_BETWEEN_EVENTS) {
            task = worker_look_around(worker);
        }
        if (task == NULL) {
            task = worker_take(worker);
        }
        if (task == NULL) {
            task = worker_steal(worker);
        }
        if (task == NULL) {
            worker_park(worker);
            continue;
        }
        search_end(worker);
        (void)worker_run(worker, task, UINT32_MAX);
    }
}

// ---- Driven by a host ----

// Between turns, and while a turn waits, the worker counts as parked in the poller: whoever wakes it
// makes the backend descriptor readable.  returns  true: there is work now.
static bool turn_sleep(struct weir_worker *worker)
{
    while (!weir_park_begin(&worker->parker, WEIR_PARK_POLLER)) {
    }
    uint64_t bit = (uint64_t)1 << worker->index;
    atomic_fetch_or_explicit(&worker->runtime->parked, bit, memory_order_seq_cst); // [W1]
    return work_visible(worker);
}

static void turn_wake(struct weir_worker *worker)
{
    weir_park_end(&worker->parker);
    parked_leave(worker);
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

uint32_t weir_worker_turn(struct weir_worker *worker, uint32_t polls_max, uint64_t wait_max_ns)
{
    weir_assert(worker->context.waker.task == NULL); // not from inside a poll
    const struct weir_os *os = &worker->runtime->os;
    struct weir_poller *poller = &worker->runtime->reactor.poller;
    turn_wake(worker);
    if (wait_max_ns > 0) {
        uint64_t deadline_ns = turn_sleep(worker) ? 0 : turn_deadline_ns(worker, wait_max_ns);
        (void)poller_poll(worker, deadline_ns);
        turn_wake(worker);
    } else {
        (void)poller_poll(worker, 0);
    }
    uint32_t polls = 0;
    while (polls < polls_max) {
        struct weir_task *task = NULL;
        if (worker->polls_since_events >= WEIR_POLLS_BETWEEN_EVENTS) { // also across short turns
            task = worker_look_around(worker);
        }
        if (task == NULL) {
            task = worker_take(worker);
        }
        if (task == NULL) {
            break;
        }
        polls += worker_run(worker, task, polls_max - polls);
    }
    if (turn_sleep(worker)) {
        os->poller_wake(os->self, poller);
    }
    (void)os->poller_arm(os->self, poller, weir_timers_next_ns(&worker->timers));
    return polls;
}
