// Task state transitions and the slabs that task cells come from.
#include "runtime/task.h"

#include <string.h>

#include "runtime/assert.h"
#include "runtime/cold.h"

// [T1] Whoever wakes publishes what it did before (release). Whoever finds the task not scheduled
//      queues it, and queues order the rest; else the run that clears NOTIFIED sees it (acquire).
// [T2] A poll that ends publishes the frame (release), and the wake that schedules the task next
//      acquires it for the poll that follows. Wakes in between, being read-modify-writes, continue
//      the release sequence. A task that is queued again at once is handed over by its queue.
// [T3] complete publishes the result (release); join sees it (acquire).
// [T4] join publishes the joiner's waker (release); complete sees it (acquire).

static bool state_is(uint64_t state, uint32_t generation)
{
    return (uint32_t)(state >> 32) == generation && (state & WEIR_TASK_LIVE) != 0;
}

static bool state_change(struct weir_task *task, uint64_t *seen, uint64_t wanted)
{
    return atomic_compare_exchange_weak_explicit(&task->state, seen, wanted, memory_order_acq_rel,
                                                 memory_order_acquire); // [T1] [T2] [T3] [T4]
}

// Schedules a task that has not ended, or notes that it was woken again. Writes the word even when
// nothing changes, so that what the caller did before is seen by the poll that is already due.
static enum weir_task_action task_notify(struct weir_task *task, uint32_t generation,
                                         uint64_t flags)
{
    uint64_t seen = atomic_load_explicit(&task->state, memory_order_relaxed);
    for (;;) {
        if (!state_is(seen, generation) || (seen & WEIR_TASK_COMPLETE) != 0) {
            return WEIR_TASK_NOTHING;
        }
        bool due = (seen & WEIR_TASK_SCHEDULED) != 0;
        uint64_t mark = due ? WEIR_TASK_NOTIFIED : WEIR_TASK_SCHEDULED;
        if (state_change(task, &seen, seen | flags | mark)) {
            return due ? WEIR_TASK_NOTHING : WEIR_TASK_SUBMIT;
        }
    }
}

enum weir_task_action weir_task_wake(struct weir_task *task, uint32_t generation)
{
    return task_notify(task, generation, 0);
}

enum weir_task_action weir_task_run_marked(struct weir_task *task)
{
    uint64_t seen = atomic_fetch_and_explicit(&task->state, ~(uint64_t)WEIR_TASK_NOTIFIED,
                                              memory_order_acquire); // [T1]
    weir_assert((seen & WEIR_TASK_LIVE) != 0 && (seen & WEIR_TASK_SCHEDULED) != 0);
    weir_assert((seen & WEIR_TASK_COMPLETE) == 0);
    return (seen & WEIR_TASK_CANCELLED) != 0 ? WEIR_TASK_DROP : WEIR_TASK_POLL;
}

enum weir_task_action weir_task_request_cancel(struct weir_task *task, uint32_t generation)
{
    return task_notify(task, generation, WEIR_TASK_CANCELLED);
}

enum weir_task_action weir_task_complete(struct weir_task *task)
{
    const uint64_t over = WEIR_TASK_SCHEDULED | WEIR_TASK_NOTIFIED;
    uint64_t seen = atomic_load_explicit(&task->state, memory_order_acquire); // [T4]
    for (;;) {
        weir_assert((seen & WEIR_TASK_SCHEDULED) != 0 && (seen & WEIR_TASK_COMPLETE) == 0);
        uint64_t wanted = (seen & ~over) | WEIR_TASK_COMPLETE;
        if ((seen & WEIR_TASK_JOINABLE) == 0) {
            // A plain store: what wakes and cancels may still add means nothing any more.
            atomic_store_explicit(&task->state, wanted, memory_order_relaxed);
            return WEIR_TASK_RELEASE;
        }
        if (state_change(task, &seen, wanted)) { // [T3] [T4]
            return (seen & WEIR_TASK_JOIN_WAKER) != 0 ? WEIR_TASK_WAKE : WEIR_TASK_NOTHING;
        }
    }
}

enum weir_task_action weir_task_joiner_woken(struct weir_task *task)
{
    uint64_t seen = atomic_fetch_and_explicit(&task->state, ~(uint64_t)WEIR_TASK_JOIN_WAKER,
                                              memory_order_acq_rel); // [T3] [T4]
    weir_assert((seen & WEIR_TASK_COMPLETE) != 0 && (seen & WEIR_TASK_JOIN_WAKER) != 0);
    return (seen & WEIR_TASK_JOINABLE) != 0 ? WEIR_TASK_NOTHING : WEIR_TASK_RELEASE;
}

// The handle's owner leaves a task that has ended.
static enum weir_task_action task_leave(struct weir_task *task)
{
    uint64_t seen = atomic_fetch_and_explicit(&task->state, ~(uint64_t)WEIR_TASK_JOINABLE,
                                              memory_order_acq_rel); // [T3] [T4]
    weir_assert((seen & WEIR_TASK_COMPLETE) != 0 && (seen & WEIR_TASK_JOINABLE) != 0);
    return (seen & WEIR_TASK_JOIN_WAKER) != 0 ? WEIR_TASK_DONE : WEIR_TASK_RELEASE;
}

enum weir_task_action weir_task_join(struct weir_handle handle, struct weir_waker waker,
                                     int32_t *result)
{
    struct weir_task *task = handle.task;
    uint64_t seen = atomic_load_explicit(&task->state, memory_order_acquire); // [T3]
    if (!state_is(seen, handle.generation)) {
        return WEIR_TASK_GONE;
    }
    weir_assert((seen & WEIR_TASK_JOINABLE) != 0);
    while ((seen & WEIR_TASK_COMPLETE) == 0) {
        if ((seen & WEIR_TASK_JOIN_WAKER) != 0) { // take the slot back before writing it
            if (state_change(task, &seen, seen & ~(uint64_t)WEIR_TASK_JOIN_WAKER)) {
                seen &= ~(uint64_t)WEIR_TASK_JOIN_WAKER;
            }
            continue;
        }
        task->joiner = waker;
        if (state_change(task, &seen, seen | WEIR_TASK_JOIN_WAKER)) { // [T4]
            return WEIR_TASK_NOTHING;
        }
    }
    *result = task->result;
    return task_leave(task);
}

enum weir_task_action weir_task_forget(struct weir_handle handle)
{
    struct weir_task *task = handle.task;
    uint64_t seen = atomic_load_explicit(&task->state, memory_order_acquire); // [T3]
    if (!state_is(seen, handle.generation)) {
        return WEIR_TASK_NOTHING;
    }
    weir_assert((seen & WEIR_TASK_JOINABLE) != 0);
    while ((seen & WEIR_TASK_COMPLETE) == 0) {
        uint64_t wanted = seen & ~(uint64_t)(WEIR_TASK_JOINABLE | WEIR_TASK_JOIN_WAKER);
        if (state_change(task, &seen, wanted)) {
            return WEIR_TASK_NOTHING;
        }
    }
    return task_leave(task);
}

// ---- Cells ----

_Static_assert(WEIR_CELL_BYTES_MIN << (WEIR_CELL_CLASSES - 1) == WEIR_CELL_BYTES_MAX,
               "the classes span the sizes");
_Static_assert(sizeof(struct weir_block) <= WEIR_CELL_BYTES_MIN, "a block's head fits one cell");

void weir_slab_init(struct weir_slab *slab, struct weir_runtime *runtime, const struct weir_os *os)
{
    weir_assert(os != NULL);
    memset(slab, 0, sizeof(*slab));
    slab->runtime = runtime;
    slab->os = os;
}

void weir_slab_deinit(struct weir_slab *slab)
{
    struct weir_block *block = slab->blocks;
    while (block != NULL) {
        struct weir_block *next = block->next;
        slab->os->release(slab->os->self, block, WEIR_BLOCK_BYTES);
        block = next;
    }
    slab->blocks = NULL;
}

// Cuts a new block into cells. Cell 0's place is the block's head.
WEIR_COLD static int slab_grow(struct weir_slab *slab, uint32_t cell_class)
{
    struct weir_block *block = slab->os->alloc(slab->os->self, WEIR_BLOCK_BYTES, WEIR_BLOCK_BYTES);
    if (block == NULL) {
        return WEIR_EMEMORY;
    }
    weir_assert(((uintptr_t)block & (WEIR_BLOCK_BYTES - 1)) == 0);
    uint32_t cell_bytes = (uint32_t)WEIR_CELL_BYTES_MIN << cell_class;
    *block = (struct weir_block){slab->blocks, slab->runtime, slab, cell_bytes, cell_class};
    slab->blocks = block;
    for (uint32_t at = WEIR_BLOCK_BYTES - cell_bytes; at >= cell_bytes; at -= cell_bytes) {
        struct weir_task *task = (struct weir_task *)(void *)((unsigned char *)block + at);
        task->next = slab->free[cell_class];
        slab->free[cell_class] = task;
    }
    return 0;
}

static int slab_take(struct weir_slab *slab, uint32_t cell_class, struct weir_task **task)
{
    if (slab->free[cell_class] == NULL) {
        // [T5] pairs with the release in weir_slab_release
        slab->free[cell_class] =
            atomic_exchange_explicit(&slab->returned[cell_class], NULL, memory_order_acquire);
    }
    if (slab->free[cell_class] == NULL) {
        int error = slab_grow(slab, cell_class);
        if (error < 0) {
            return error;
        }
    }
    *task = slab->free[cell_class];
    slab->free[cell_class] = (*task)->next;
    // The next one is likely to have been polled by another core: have it here when it is wanted.
    struct weir_task *next = slab->free[cell_class];
    if (next != NULL) {
        __builtin_prefetch(next, 1);
        __builtin_prefetch(weir_task_future(next), 1);
    }
    return 0;
}

int weir_slab_spawn(struct weir_slab *slab, const struct weir_future *future, size_t future_bytes,
                    bool joinable, struct weir_task **out)
{
    weir_assert(future->poll != NULL); // neither inert nor polled before:
    weir_assert(future->resume == WEIR_RESUME_START || future->resume == WEIR_RESUME_ARMED);
    weir_assert(future_bytes >= sizeof(*future));
    if (future_bytes > WEIR_CELL_BYTES_MAX - sizeof(struct weir_task)) {
        return WEIR_ELIMIT;
    }
    uint32_t cell_class = 0;
    while (((size_t)WEIR_CELL_BYTES_MIN << cell_class) < future_bytes + sizeof(struct weir_task)) {
        cell_class++;
    }
    struct weir_task *task;
    int error = slab_take(slab, cell_class, &task);
    if (error < 0) {
        return error;
    }
    task->next = NULL;
    task->scope = NULL;
    task->scopes = NULL;
    task->result = 0;
    task->pinned = 0;
    atomic_store_explicit(&task->children, 1, memory_order_relaxed);
    memcpy(weir_task_future(task), future, future_bytes);
    uint64_t generation = (uint64_t)weir_task_generation(task) << 32;
    uint64_t flags = WEIR_TASK_LIVE | WEIR_TASK_SCHEDULED;
    if (joinable) {
        flags |= WEIR_TASK_JOINABLE;
    }
    // A plain store: nobody changes the word of a cell that is not LIVE, stale wakers included.
    atomic_store_explicit(&task->state, generation | flags, memory_order_release); // [T2]
    *out = task;
    return 0;
}

void weir_slab_release(struct weir_slab *slab, struct weir_task *task)
{
    uint64_t seen = atomic_load_explicit(&task->state, memory_order_relaxed);
    weir_assert((seen & WEIR_TASK_LIVE) != 0 && (seen & WEIR_TASK_SCHEDULED) == 0);
    uint64_t generation = ((seen >> 32) + 1) << 32;
    // A plain store: nobody changes the word of a task that is COMPLETE and that nobody joins.
    atomic_store_explicit(&task->state, generation, memory_order_release); // [T2]
    struct weir_block *block = weir_task_block(task);
    uint32_t cell_class = block->cell_class;
    if (block->slab == slab) {
        task->next = slab->free[cell_class];
        slab->free[cell_class] = task;
        return;
    }
    _Atomic(struct weir_task *) *returned = &block->slab->returned[cell_class];
    struct weir_task *head = atomic_load_explicit(returned, memory_order_relaxed);
    do {
        task->next = head;
    } while (!atomic_compare_exchange_weak_explicit(returned, &head, task, memory_order_release,
                                                    memory_order_relaxed)); // [T5]
}

void weir_slab_visit(struct weir_slab *slab, void (*visit)(struct weir_task *, void *),
                     void *argument)
{
    for (struct weir_block *block = slab->blocks; block != NULL; block = block->next) {
        for (uint32_t at = block->cell_bytes; at + block->cell_bytes <= WEIR_BLOCK_BYTES;
             at += block->cell_bytes) {
            struct weir_task *task = (struct weir_task *)(void *)((unsigned char *)block + at);
            if ((atomic_load_explicit(&task->state, memory_order_acquire) & WEIR_TASK_LIVE) !=
                0) { // [T2]
                visit(task, argument);
            }
        }
    }
}
