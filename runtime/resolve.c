// Names to addresses: numeric ones on the spot, others on one thread of their own.
//
// A lookup goes FREE -> CLAIMED -> QUEUED -> WORKING -> DONE -> FREE. A future that is dropped
// takes a QUEUED or DONE one straight back to FREE and turns WORKING into ABANDONED, which the
// thread then frees. Whoever made the last transition owns the contents:
//   [K1] FREE is stored with release and claimed with acquire: the former owner is finished.
//   [K2] QUEUED is stored with release and taken with acquire: the thread sees the question.
//   [K3] DONE is stored with release and read with acquire: the future sees the answer.
//   [K4] `orders` is increased with release after a change and read with acquire before the table
//        is searched: a thread that finds nothing and sleeps on the value it read misses nothing.
//   [K5] The last reference is dropped with acquire and release: the one who frees comes after all.
#include "runtime/resolve.h"

#include <string.h>

#include "runtime/assert.h"
#include "runtime/cold.h"
#include "runtime/lock.h"
#include "runtime/runtime.h"
#include "runtime/wait.h"

_Static_assert(sizeof(((struct weir_resolve *)0)->host) == WEIR_HOST_BYTES_MAX, "same bound");
_Static_assert(sizeof(((struct weir_resolve *)0)->addresses) ==
                   WEIR_ADDRESSES_MAX * sizeof(struct weir_address),
               "same bound");

// ---- The block ----

// The caller's reference is gone; frees the block if it was the last one.
static void block_release(struct weir_lookup_block *block)
{
    if (atomic_fetch_sub_explicit(&block->references, 1, memory_order_acq_rel) == 1) { // [K5]
        struct weir_os os = block->os;
        os.release(os.self, block, sizeof(*block));
    }
}

// Has the thread look at the table, or at `closing`.
static void block_order(struct weir_lookup_block *block)
{
    atomic_fetch_add_explicit(&block->orders, 1, memory_order_release); // [K4]
    block->os.futex_wake(block->os.self, &block->orders, 1);
}

// The thread: about to enter os->resolve, or not any more because the runtime is closing.
static bool block_enter(struct weir_lookup_block *block)
{
    weir_lock_acquire(&block->lock, &block->os);
    weir_assert(!block->resolving);
    block->resolving = !block->closing;
    bool entered = block->resolving;
    weir_lock_release(&block->lock, &block->os);
    return entered;
}

static bool lookup_move(struct weir_lookup *lookup, uint32_t from, uint32_t to)
{
    return atomic_compare_exchange_strong_explicit(&lookup->state, &from, to, memory_order_acq_rel,
                                                   memory_order_acquire); // [K1] [K2] [K3]
}

// The answer is written: hands it over, or frees the lookup if nobody wants it. The waker is used
// under the lock because `closing` promises that no task is touched after it was set.
static void lookup_finish(struct weir_lookup_block *block, struct weir_lookup *lookup)
{
    weir_lock_acquire(&block->lock, &block->os);
    block->resolving = false;
    if (!lookup_move(lookup, WEIR_LOOKUP_WORKING, WEIR_LOOKUP_DONE)) { // [K3]
        weir_assert(atomic_load_explicit(&lookup->state, memory_order_relaxed) ==
                    WEIR_LOOKUP_ABANDONED);
        atomic_store_explicit(&lookup->state, WEIR_LOOKUP_FREE, memory_order_release); // [K1]
    } else if (!block->closing) {
        weir_wake(lookup->waker);
    }
    weir_lock_release(&block->lock, &block->os);
}

// One look at every lookup. false: the runtime is closing.
static bool block_sweep(struct weir_lookup_block *block, bool *worked)
{
    const struct weir_os *os = &block->os;
    *worked = false;
    for (uint32_t index = 0; index < WEIR_LOOKUPS_MAX; index++) {
        struct weir_lookup *lookup = &block->lookups[index];
        if (!lookup_move(lookup, WEIR_LOOKUP_QUEUED, WEIR_LOOKUP_WORKING)) { // [K2]
            continue;
        }
        if (!block_enter(block)) {
            return false;
        }
        lookup->result = os->resolve(os->self, lookup->host, lookup->port, false, lookup->addresses,
                                     WEIR_ADDRESSES_MAX);
        weir_assert(lookup->result <= WEIR_ADDRESSES_MAX);
        lookup_finish(block, lookup);
        *worked = true;
    }
    return true;
}

static bool block_closing(struct weir_lookup_block *block)
{
    weir_lock_acquire(&block->lock, &block->os);
    bool closing = block->closing;
    weir_lock_release(&block->lock, &block->os);
    return closing;
}

WEIR_COLD static void lookup_thread(void *argument)
{
    struct weir_lookup_block *block = argument;
    bool worked = false;
    for (;;) {
        uint32_t seen = atomic_load_explicit(&block->orders, memory_order_acquire); // [K4]
        if (!block_sweep(block, &worked) || block_closing(block)) {
            break;
        }
        if (!worked) {
            (void)block->os.futex_wait(block->os.self, &block->orders, seen, WEIR_NEVER);
        }
    }
    block_release(block);
}

// ---- The runtime's side ----

void weir_lookups_init(struct weir_lookups *lookups, const struct weir_os *os)
{
    weir_assert(os != NULL);
    memset(lookups, 0, sizeof(*lookups));
    lookups->os = os;
}

// The block, made and with its thread running; at the first real lookup, or again when that failed.
static int lookups_start(struct weir_lookups *lookups, struct weir_lookup_block **block)
{
    const struct weir_os *os = lookups->os;
    int code = 0;
    weir_lock_acquire(&lookups->lock, os);
    if (lookups->block == NULL) {
        lookups->block = os->alloc(os->self, sizeof(*lookups->block), 64);
        if (lookups->block == NULL) {
            code = WEIR_EMEMORY;
        } else {
            lookups->block->os = *os;
            atomic_store_explicit(&lookups->block->references, 1, memory_order_relaxed);
        }
    }
    if (code == 0 && !lookups->started) {
        // The thread's reference is counted before there is a thread to drop it.
        atomic_fetch_add_explicit(&lookups->block->references, 1, memory_order_relaxed);
        code = os->thread_start(os->self, &lookups->thread, lookup_thread, lookups->block);
        lookups->started = code == 0;
        if (code < 0) {
            atomic_fetch_sub_explicit(&lookups->block->references, 1, memory_order_relaxed);
        }
    }
    *block = lookups->block;
    weir_lock_release(&lookups->lock, os);
    return code;
}

void weir_lookups_deinit(struct weir_lookups *lookups)
{
    struct weir_lookup_block *block = lookups->block;
    if (block != NULL && lookups->started) {
        weir_lock_acquire(&block->lock, &block->os);
        block->closing = true;
        bool resolving = block->resolving;
        weir_lock_release(&block->lock, &block->os);
        block_order(block);
        // Not resolving now means never again, so that the join is short.
        int code = resolving ? block->os.thread_detach(block->os.self, lookups->thread)
                             : block->os.thread_join(block->os.self, lookups->thread);
        weir_assert(code == 0);
    }
    if (block != NULL) {
        block_release(block);
    }
    memset(lookups, 0, sizeof(*lookups));
}

void weir_lookups_deinit_forked(struct weir_lookups *lookups)
{
    if (lookups->block != NULL) {
        lookups->os->release(lookups->os->self, lookups->block, sizeof(*lookups->block));
    }
    memset(lookups, 0, sizeof(*lookups));
}

// ---- The future ----

// Puts the question into a free lookup. returns 0, WEIR_ELIMIT, WEIR_EMEMORY or -errno.
static int resolve_ask(struct weir_resolve *resolve, struct weir_context *context)
{
    struct weir_lookup_block *block = NULL;
    int code = lookups_start(&context->runtime->lookups, &block);
    if (code < 0) {
        return code;
    }
    for (uint32_t index = 0; index < WEIR_LOOKUPS_MAX; index++) {
        struct weir_lookup *lookup = &block->lookups[index];
        if (!lookup_move(lookup, WEIR_LOOKUP_FREE, WEIR_LOOKUP_CLAIMED)) { // [K1]
            continue;
        }
        memcpy(lookup->host, resolve->host, sizeof(lookup->host));
        lookup->port = resolve->port;
        weir_lock_acquire(&block->lock, &block->os);
        lookup->waker = weir_context_waker(context);
        weir_lock_release(&block->lock, &block->os);
        atomic_store_explicit(&lookup->state, WEIR_LOOKUP_QUEUED, memory_order_release); // [K2]
        block_order(block);
        resolve->lookup = index;
        return 0;
    }
    return WEIR_ELIMIT;
}

static enum weir_poll resolve_start(struct weir_resolve *resolve, struct weir_context *context)
{
    const struct weir_os *os = context->os;
    int count = os->resolve(os->self, resolve->host, resolve->port, true, resolve->addresses,
                            WEIR_ADDRESSES_MAX);
    weir_assert(count <= WEIR_ADDRESSES_MAX);
    if (count > 0) {
        return weir_leaf_done(&resolve->future, count);
    }
    int code = resolve_ask(resolve, context);
    if (code < 0) {
        return weir_leaf_done(&resolve->future, code);
    }
    resolve->future.resume = WEIR_RESUME_WAITING;
    return WEIR_PENDING;
}

// Takes the answer if it is there, else leaves the present waker. Under the lock, so that the
// thread cannot finish between the look and the waker.
static enum weir_poll resolve_check(struct weir_resolve *resolve, struct weir_context *context)
{
    struct weir_lookup_block *block = context->runtime->lookups.block;
    struct weir_lookup *lookup = &block->lookups[resolve->lookup];
    weir_lock_acquire(&block->lock, &block->os);
    bool done =
        atomic_load_explicit(&lookup->state, memory_order_acquire) == WEIR_LOOKUP_DONE; // [K3]
    if (!done) {
        lookup->waker = weir_context_waker(context);
    }
    weir_lock_release(&block->lock, &block->os);
    if (!done) {
        return WEIR_PENDING;
    }
    int32_t result = lookup->result == 0 ? WEIR_ENAME : lookup->result;
    if (result > 0) {
        memcpy(resolve->addresses, lookup->addresses,
               (size_t)result * sizeof(lookup->addresses[0]));
    }
    atomic_store_explicit(&lookup->state, WEIR_LOOKUP_FREE, memory_order_release); // [K1]
    return weir_leaf_done(&resolve->future, result);
}

static enum weir_poll resolve_cancel(struct weir_resolve *resolve, struct weir_context *context)
{
    struct weir_lookup_block *block = context->runtime->lookups.block;
    struct weir_lookup *lookup = &block->lookups[resolve->lookup];
    if (!lookup_move(lookup, WEIR_LOOKUP_QUEUED, WEIR_LOOKUP_FREE) &&
        !lookup_move(lookup, WEIR_LOOKUP_WORKING, WEIR_LOOKUP_ABANDONED)) {
        bool done = lookup_move(lookup, WEIR_LOOKUP_DONE, WEIR_LOOKUP_FREE); // [K1]
        weir_assert(done);
    }
    return weir_leaf_done(&resolve->future, WEIR_ECANCELED);
}

WEIR_COLD static enum weir_poll resolve_poll(struct weir_future *future,
                                             struct weir_context *context)
{
    struct weir_resolve *resolve = (struct weir_resolve *)future;
    switch (future->resume) {
    case WEIR_RESUME_START:
        return weir_context_spend(context) ? resolve_start(resolve, context) : WEIR_PENDING;
    case WEIR_RESUME_WAITING: return resolve_check(resolve, context);
    case WEIR_RESUME_EXIT: return resolve_cancel(resolve, context);
    default: weir_resume_invalid(future->resume);
    }
}

WEIR_COLD int weir_resolve_init(struct weir_resolve *resolve, const char *host, uint16_t port)
{
    size_t host_bytes = strlen(host);
    memset(resolve, 0, sizeof(*resolve));
    if (host_bytes == 0 || host_bytes >= sizeof(resolve->host)) {
        return WEIR_ENAME;
    }
    memcpy(resolve->host, host, host_bytes);
    resolve->port = port;
    resolve->future.poll = resolve_poll;
    return 0;
}
