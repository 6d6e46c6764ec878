// Who sleeps, who searches, and how sleeping workers learn of work.
//
// Orders.
// [W1] No wake-up is lost. Who makes work visible: (1) queue it, (2) read `searching` and `parked`.
//      Who goes to sleep: (1) set its bit in `parked`, stop being counted in `searching`, (2) look
//      at every queue again. All four are sequentially consistent, so at least one of the two sees
//      the other. The next-task slot is not looked at: its owner is awake and will take it.
//      A ring's owner pushes with release only. Taking a task out of the ring orders what it
//      pushed before: its change of `head` is sequentially consistent, and a sleeper reads `head`
//      before `tail`. When the next task comes from elsewhere, the owner makes the last store of
//      `tail` sequentially consistent instead (weir_queue_publish_owner): one barrier at most per
//      poll that queued something, on a line of its own, and none on the others. A thief fills its
//      ring with release only, too: it stops being counted in `searching` afterwards, and a sleeper
//      reads that after (1), so that it sees the ring, or the thief, looking last, sees its bit.
// [W2] Who claims a bit of `parked` counts its owner in `searching`; the owner finds its bit gone
//      and knows. An owner that wakes by itself at that moment may stop searching before it was
//      counted: `searching` is then one too low for a moment, and may be -1. It is never too high,
//      so who finds it above 0 can rely on somebody who stops searching later, and looks then.
#include "runtime/idle.h"

#include "runtime/assert.h"
#include "runtime/runtime.h"

// ---- Waking ----

bool weir_idle_claim(struct weir_runtime *runtime, uint32_t index)
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
void weir_idle_wake_one(struct weir_runtime *runtime, uint64_t among)
{
    uint64_t parked = atomic_load_explicit(&runtime->parked, memory_order_seq_cst) & among; // [W1]
    uint32_t holder = atomic_load_explicit(&runtime->poller_holder, memory_order_relaxed);
    uint64_t second = holder == 0 ? 0 : parked & ((uint64_t)1 << (holder - 1));
    for (uint64_t first = parked & ~second; first != 0; first &= first - 1) {
        if (weir_idle_claim(runtime, (uint32_t)__builtin_ctzll(first))) {
            return;
        }
    }
    if (second != 0) {
        (void)weir_idle_claim(runtime, holder - 1);
    }
}

void weir_idle_notify(struct weir_runtime *runtime)
{
    if (atomic_load_explicit(&runtime->searching, memory_order_seq_cst) <= 0) { // [W1] [W2]
        weir_idle_wake_one(runtime, UINT64_MAX);
    }
}

void weir_idle_wake_all(struct weir_runtime *runtime)
{
    for (uint32_t i = 0; i < runtime->workers_count; i++) {
        (void)weir_unpark(&runtime->workers[i].parker, &runtime->os, &runtime->reactor.poller);
    }
}

// ---- Searching ----

// Whether anything is queued that this worker could run.
bool weir_idle_work_visible(struct weir_worker *worker)
{
    struct weir_runtime *runtime = worker->runtime;
    for (uint32_t i = 0; i < runtime->workers_count; i++) {
        struct weir_worker *other = &runtime->workers[i];
        if (weir_queue_count(&other->queue) != 0 ||
            weir_mailbox_occupied(&other->mailbox)) { // [W1]
            return true;
        }
    }
    return weir_mailbox_occupied(&worker->pinned) || worker->pinned_ready.count != 0 ||
           atomic_load_explicit(&worker->lifo, memory_order_relaxed) != NULL;
}

// At most half of the workers search at once: more would only get in each other's way.
bool weir_idle_search(struct weir_worker *worker)
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

// Found something: the last searcher to stop makes sure that what it passed over is not forgotten,
// since those who queued it counted on a searcher.
void weir_idle_found(struct weir_worker *worker)
{
    if (!worker->searching) {
        return;
    }
    struct weir_runtime *runtime = worker->runtime;
    worker->searching = false;
    int32_t before =
        atomic_fetch_sub_explicit(&runtime->searching, 1, memory_order_seq_cst); // [W1]
    if (before <= 1 && weir_idle_work_visible(worker)) {                         // [W2]
        weir_idle_notify(runtime);
    }
}

// ---- Falling asleep ----

// Takes the worker's bit out of `parked`; when somebody else has, he counted it as searching.
void weir_idle_leave(struct weir_worker *worker)
{
    uint64_t bit = (uint64_t)1 << worker->index;
    uint64_t seen = atomic_fetch_and_explicit(&worker->runtime->parked, ~bit,
                                              memory_order_seq_cst); // [W1]
    if ((seen & bit) == 0) {                                         // [W2]
        worker->searching = true;
    }
}

// Announces sleep.  returns  false: there is something to do after all.
bool weir_idle_enter(struct weir_worker *worker)
{
    struct weir_runtime *runtime = worker->runtime;
    uint64_t bit = (uint64_t)1 << worker->index;
    atomic_fetch_or_explicit(&runtime->parked, bit, memory_order_seq_cst); // [W1]
    if (worker->searching) {
        worker->searching = false;
        atomic_fetch_sub_explicit(&runtime->searching, 1, memory_order_seq_cst); // [W1]
    } else {
        (void)atomic_load_explicit(&runtime->searching, memory_order_seq_cst); // [W1] of thieves
    }
    if (!weir_idle_work_visible(worker) && !weir_runtime_stopping(runtime)) {
        return true;
    }
    weir_idle_leave(worker);
    if (!worker->searching) { // there is work: look for it, even beyond the bound on searchers
        worker->searching = true;
        atomic_fetch_add_explicit(&runtime->searching, 1, memory_order_seq_cst); // [W1]
    }
    return false;
}
