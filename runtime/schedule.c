// Where tasks are queued and taken from: next-task slot, ring, mailboxes, other workers.
#include "runtime/assert.h"
#include "runtime/runtime.h"

// ---- Queueing ----

void weir_worker_submit_remote(struct weir_task *task)
{
    struct weir_runtime *runtime = weir_task_block(task)->runtime;
    uint32_t index = atomic_load_explicit(&task->worker, memory_order_relaxed);
    struct weir_worker *worker = &runtime->workers[index];
    bool pinned = task->pinned != 0; // read before the push: then it is somebody else's
    weir_mailbox_push(pinned ? &worker->pinned : &worker->mailbox, task); // [W1]
    if (!weir_idle_claim(runtime, index) && !pinned) {
        weir_idle_notify(runtime);
    }
}

void weir_worker_submit_back(struct weir_worker *worker, struct weir_task *task)
{
    if (weir_worker_push(worker, task)) {
        return;
    }
    if (task->pinned != 0) {
        if (atomic_load_explicit(&task->worker, memory_order_relaxed) != worker->index) {
            weir_worker_submit_remote(task);
        } else {
            weir_mailbox_push(&worker->pinned, task);
        }
        return;
    }
    // The ring is full: its older half and this task go where thieves can have them all at once.
    // While a thief is copying there is no older half to be had.
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
    weir_mailbox_append(&worker->mailbox, &worker->runtime->os, chain);
}

void weir_worker_submit_next(struct weir_worker *worker, struct weir_task *task)
{
    if (task->pinned != 0) {
        weir_worker_submit_back(worker, task);
        return;
    }
    struct weir_task *displaced = atomic_load_explicit(&worker->lifo, memory_order_relaxed);
    if (displaced == NULL) { // and so it stays: thieves only empty the slot
        atomic_store_explicit(&worker->lifo, task, memory_order_release); // [W3]
        return;
    }
    displaced = atomic_exchange_explicit(&worker->lifo, task, memory_order_acq_rel); // [W3]
    if (displaced != NULL) {
        weir_worker_submit_back(worker, displaced);
    }
}

void weir_worker_wake_back(struct weir_worker *worker, struct weir_waker waker)
{
    if (waker.task != NULL && weir_task_wake(waker.task, waker.generation) == WEIR_TASK_SUBMIT) {
        weir_worker_submit_back(worker, waker.task);
    }
}

void weir_worker_share_pushed(struct weir_worker *worker)
{
    worker->pushed = false;
    if (!worker->published) {
        weir_queue_publish_owner(&worker->queue); // [W1]
    }
    struct weir_runtime *runtime = worker->runtime;
    if (atomic_load_explicit(&runtime->parked, memory_order_seq_cst) != 0 && // [W1]
        (weir_queue_count(&worker->queue) != 0 || weir_mailbox_occupied(&worker->mailbox))) {
        weir_idle_notify(runtime);
    }
}

// ---- Taking ----

// Pinned tasks and the others take turns: neither kind can starve the other by waking itself.
struct weir_task *weir_worker_take_pinned(struct weir_worker *worker)
{
    worker->pinned_first =
        !worker->pinned_first || weir_queue_room_owner(&worker->queue) == WEIR_QUEUE_SLOTS;
    if (!worker->pinned_first) {
        return NULL;
    }
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

// Who takes tasks one by one, as fast as they come, takes turns with who sends them at owning the
// mailbox's cache line, and holds him up. Reading the clock is a pause that every machine has.
static void worker_gather(struct weir_worker *worker)
{
    const struct weir_os *os = &worker->runtime->os;
    for (uint32_t i = 0; worker->gather_ns != 0 && i < WEIR_GATHER_READS_MAX; i++) {
        if (os->now_ns(os->self) >= worker->gather_ns) {
            break;
        }
    }
    worker->gather_ns = 0;
}

// Draws from a mailbox what fits into the worker's ring, leaving some room to push into.
static struct weir_chain mailbox_draw(struct weir_worker *worker, struct weir_mailbox *mailbox,
                                      uint32_t room)
{
    const struct weir_os *os = &worker->runtime->os;
    struct weir_chain chain = {NULL, NULL, 0};
    worker_gather(worker);
    if (!weir_mailbox_occupied(mailbox)) {
        return chain;
    }
    chain = weir_mailbox_draw(mailbox, os, room == 0 ? 1 : room - room / 4);
    if (chain.count < WEIR_TRICKLE_MAX && worker->runtime->threads_count != 0) {
        worker->gather_ns = os->now_ns(os->self) + WEIR_GATHER_NS;
    }
    if (chain.count != 0 && weir_mailbox_occupied(mailbox)) {
        // While the inbox moved to the backlog, a worker that looked here before it slept saw
        // neither; so what is left counts as newly queued.
        worker->pushed = worker->shared;
    }
    return chain;
}

static void worker_submit_chain(struct weir_worker *worker, struct weir_task *task)
{
    while (task != NULL) {
        struct weir_task *next = task->next;
        weir_worker_submit_back(worker, task);
        task = next;
    }
}

struct weir_task *weir_worker_take_mail(struct weir_worker *worker, struct weir_mailbox *mailbox)
{
    uint32_t room = weir_queue_room_owner(&worker->queue);
    struct weir_chain chain = mailbox_draw(worker, mailbox, room);
    if (chain.count != 0) {
        worker_submit_chain(worker, chain.first->next);
    }
    return chain.first;
}

struct weir_task *weir_worker_refill(struct weir_worker *worker)
{
    uint32_t room = weir_queue_room_owner(&worker->queue);
    struct weir_chain chain = mailbox_draw(worker, &worker->mailbox, room);
    if (room == 0) {
        return chain.first;
    }
    worker_submit_chain(worker, chain.first);
    return NULL;
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

struct weir_task *weir_worker_steal(struct weir_worker *worker)
{
    struct weir_runtime *runtime = worker->runtime;
    uint32_t count = runtime->workers_count;
    if (!worker->shared || !weir_idle_search(worker)) {
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
                    task = weir_worker_take_mail(worker, &victim->mailbox);
                }
            } else {
                task = weir_worker_take_next(victim);
            }
            if (task != NULL) {
                weir_stat_add(&worker->stats.stolen, 1);
                return task;
            }
        }
    }
    return NULL;
}
