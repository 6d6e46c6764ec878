// Tasks from the outside: spawning, waking, cancelling, joining, scopes.
#include "runtime/assert.h"
#include "runtime/lock.h"
#include "runtime/runtime.h"

// ---- Spawning ----

static void spawn_mark(struct weir_task *task, uint32_t worker, unsigned flags)
{
    atomic_store_explicit(&task->worker, (uint16_t)worker, memory_order_relaxed);
    task->pinned = (flags & WEIR_SPAWN_PINNED) != 0;
}

int weir_spawn(struct weir_context *context, const struct weir_future *future, size_t future_bytes,
               unsigned flags, struct weir_handle *handle)
{
    struct weir_worker *worker = context->worker;
    if (worker == NULL || weir_runtime_stopping(context->runtime)) {
        return WEIR_ECLOSED;
    }
    struct weir_task *task;
    int error = weir_slab_spawn(&worker->slab, future, future_bytes, handle != NULL, &task);
    if (error < 0) {
        return error;
    }
    weir_stat_add(&worker->stats.spawned, 1);
    spawn_mark(task, worker->index, flags);
    if (handle != NULL) {
        *handle = weir_task_handle(task);
    }
    weir_worker_submit_next(worker, task);
    return 0;
}

// A thread's tasks go to the same mailbox every time: fewer lines move between cores than with
// turns, and idle workers take their share from there.
static uint32_t spawn_target(struct weir_runtime *runtime)
{
    uint64_t id = runtime->os.thread_id(runtime->os.self) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)((id >> 32) % runtime->workers_count);
}

int weir_runtime_prepare(struct weir_runtime *runtime, const struct weir_future *future,
                         size_t future_bytes, unsigned flags, bool joinable,
                         struct weir_task **task)
{
    if (weir_runtime_forked(runtime)) {
        return WEIR_EFORKED;
    }
    if (weir_runtime_stopping(runtime)) {
        return WEIR_ECLOSED;
    }
    uint32_t target = spawn_target(runtime);
    weir_lock_acquire(&runtime->outside_lock, &runtime->os);
    int error = weir_slab_spawn(&runtime->outside, future, future_bytes, joinable, task);
    if (error == 0) {
        weir_stat_add(&runtime->outside_spawned, 1);
        spawn_mark(*task, target, flags);
    }
    weir_lock_release(&runtime->outside_lock, &runtime->os);
    return error;
}

int weir_runtime_spawn(struct weir_runtime *runtime, const struct weir_future *future,
                       size_t future_bytes, unsigned flags, struct weir_handle *handle)
{
    struct weir_task *task;
    int error = weir_runtime_prepare(runtime, future, future_bytes, flags, handle != NULL, &task);
    if (error < 0) {
        return error;
    }
    if (handle != NULL) {
        *handle = weir_task_handle(task);
    }
    weir_worker_submit_remote(task);
    return 0;
}

// ---- Waking and cancelling ----

void weir_wake(struct weir_waker waker)
{
    if (waker.task != NULL && weir_task_wake(waker.task, waker.generation) == WEIR_TASK_SUBMIT) {
        weir_worker_submit_remote(waker.task);
    }
}

void weir_context_wake(struct weir_context *context, struct weir_waker waker)
{
    if (context == NULL || context->worker == NULL) {
        weir_wake(waker);
    } else if (waker.task != NULL &&
               weir_task_wake(waker.task, waker.generation) == WEIR_TASK_SUBMIT) {
        weir_worker_submit_next(context->worker, waker.task);
    }
}

bool weir_context_spend(struct weir_context *context)
{
    if (context->budget == 0) {
        if (context->worker != NULL) {
            weir_worker_poll_again(context->worker);
        }
        return false;
    }
    context->budget--;
    return true;
}

uint64_t weir_context_clock_ns(struct weir_context *context)
{
    context->now_ns = context->os->now_ns(context->os->self);
    return context->now_ns;
}

static void task_cancel(struct weir_task *task, uint32_t generation)
{
    if (weir_task_request_cancel(task, generation) == WEIR_TASK_SUBMIT) {
        weir_worker_submit_remote(task);
    }
}

void weir_task_cancel(struct weir_handle handle)
{
    if (handle.task != NULL) {
        task_cancel(handle.task, handle.generation);
    }
}

// ---- Ending ----

static void task_release(struct weir_worker *worker, struct weir_task *task)
{
    weir_slab_release(worker != NULL ? &worker->slab : NULL, task);
}

static void task_complete(struct weir_worker *worker, struct weir_task *task)
{
    weir_stat_add(&worker->stats.completed, 1);
    switch (weir_task_complete(task)) {
    case WEIR_TASK_WAKE: {
        struct weir_waker joiner = task->joiner;
        if (weir_task_joiner_woken(task) == WEIR_TASK_RELEASE) {
            weir_slab_release(&worker->slab, task);
        }
        weir_context_wake(&worker->context, joiner);
        break;
    }
    case WEIR_TASK_RELEASE: weir_slab_release(&worker->slab, task); break;
    default: break;
    }
}

// Takes an ended child out of its scope; gives the scope's owner, whom the child has kept alive.
static struct weir_task *scope_leave(struct weir_worker *worker, struct weir_task *child)
{
    struct weir_scope *scope = child->scope;
    if (scope == NULL) {
        return NULL;
    }
    const struct weir_os *os = &worker->runtime->os;
    struct weir_waker waiter = {NULL, 0};
    weir_lock_acquire(&scope->lock, os);
    struct weir_task *owner = scope->owner;
    if (child->family.previous != NULL) {
        child->family.previous->family.next = child->family.next;
    } else {
        scope->children = child->family.next;
    }
    if (child->family.next != NULL) {
        child->family.next->family.previous = child->family.previous;
    }
    weir_assert(scope->children_count > 0);
    if (--scope->children_count == 0) {
        waiter = scope->waiter;
    }
    weir_lock_release(&scope->lock, os);
    // From here on the scope may be gone, but its owner is not: this child still counts in
    // owner->children.
    weir_context_wake(&worker->context, waiter);
    return owner;
}

static void scope_cancel(struct weir_scope *scope, const struct weir_os *os)
{
    weir_lock_acquire(&scope->lock, os);
    for (struct weir_task *child = scope->children; child != NULL; child = child->family.next) {
        task_cancel(child, weir_task_generation(child));
    }
    weir_lock_release(&scope->lock, os);
}

void weir_task_finish(struct weir_worker *worker, struct weir_task *task, int32_t result)
{
    task->result = result;
    for (struct weir_scope *scope = task->scopes; scope != NULL; scope = scope->next) {
        scope_cancel(scope, &worker->runtime->os);
    }
    // [T6] Children release what they did to their parent's frame; the last one to leave acquires
    // it all. A parent that ended while children were left is completed by the last of them. Who is
    // the only one left has nobody to tell.
    while (task != NULL &&
           (atomic_load_explicit(&task->children, memory_order_acquire) == 1 ||
            atomic_fetch_sub_explicit(&task->children, 1, memory_order_acq_rel) == 1)) { // [T6]
        struct weir_task *owner = scope_leave(worker, task);
        task_complete(worker, task);
        task = owner;
    }
}

// ---- Joining ----

void weir_task_detach(struct weir_handle handle)
{
    if (handle.task != NULL && weir_task_forget(handle) == WEIR_TASK_RELEASE) {
        task_release(NULL, handle.task);
    }
}

static enum weir_poll task_join_poll(struct weir_future *future, struct weir_context *context)
{
    struct weir_task_join *me = (struct weir_task_join *)future;
    if (future->resume == WEIR_RESUME_EXIT) {
        weir_task_detach(me->handle);
        future->resume = WEIR_RESUME_DONE;
        return WEIR_READY;
    }
    future->resume = 1;
    enum weir_task_action action = weir_task_join(me->handle, context->waker, &future->result);
    if (action == WEIR_TASK_NOTHING) {
        return WEIR_PENDING;
    }
    weir_assert(action != WEIR_TASK_GONE); // the handle was used up before
    if (action == WEIR_TASK_RELEASE) {
        task_release(context->worker, me->handle.task);
    }
    future->resume = WEIR_RESUME_DONE;
    return WEIR_READY;
}

void weir_task_join_init(struct weir_task_join *join, struct weir_handle handle)
{
    weir_assert(handle.task != NULL);
    join->future = (struct weir_future){task_join_poll, WEIR_RESUME_ARMED, 0};
    join->handle = handle;
}

// ---- Scopes ----

int weir_scope_spawn(struct weir_scope *scope, struct weir_context *context,
                     const struct weir_future *future, size_t future_bytes, unsigned flags)
{
    struct weir_worker *worker = context->worker;
    struct weir_task *owner = context->waker.task;
    if (worker == NULL || weir_runtime_stopping(context->runtime)) {
        return WEIR_ECLOSED;
    }
    struct weir_task *child;
    int error = weir_slab_spawn(&worker->slab, future, future_bytes, false, &child);
    if (error < 0) {
        return error;
    }
    weir_stat_add(&worker->stats.spawned, 1);
    spawn_mark(child, worker->index, flags);
    if (scope->owner == NULL) {
        scope->owner = owner;
        scope->next = owner->scopes;
        owner->scopes = scope;
    }
    weir_assert(scope->owner == owner);
    child->scope = scope;
    atomic_fetch_add_explicit(&owner->children, 1, memory_order_relaxed);
    weir_lock_acquire(&scope->lock, context->os);
    child->family.previous = NULL;
    child->family.next = scope->children;
    if (scope->children != NULL) {
        scope->children->family.previous = child;
    }
    scope->children = child;
    scope->children_count++;
    weir_lock_release(&scope->lock, context->os);
    weir_worker_submit_next(worker, child);
    return 0;
}

void weir_scope_cancel(struct weir_scope *scope, struct weir_context *context)
{
    scope_cancel(scope, context->os);
}

static enum weir_poll scope_wait_poll(struct weir_future *future, struct weir_context *context)
{
    struct weir_scope_wait *me = (struct weir_scope_wait *)future;
    struct weir_scope *scope = me->scope;
    bool leaving = future->resume == WEIR_RESUME_EXIT;
    weir_lock_acquire(&scope->lock, context->os);
    bool empty = scope->children_count == 0;
    scope->waiter = leaving || empty ? (struct weir_waker){NULL, 0} : context->waker;
    weir_lock_release(&scope->lock, context->os);
    if (!empty && !leaving) {
        future->resume = 1;
        return WEIR_PENDING;
    }
    if (empty && scope->owner != NULL) { // nothing refers to the scope any more
        struct weir_scope **link = &scope->owner->scopes;
        while (*link != scope) {
            link = &(*link)->next;
        }
        *link = scope->next;
        scope->owner = NULL;
    }
    future->resume = WEIR_RESUME_DONE;
    return WEIR_READY;
}

void weir_scope_wait_init(struct weir_scope_wait *wait, struct weir_scope *scope)
{
    wait->future = (struct weir_future){scope_wait_poll, WEIR_RESUME_START, 0};
    wait->scope = scope;
}
