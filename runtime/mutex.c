// The mutex that is held across awaits: handed from its holder to the longest waiter.
//
// Invariant: while somebody waits it is locked. An unlock with waiters leaves it locked in the name
// of the one it chose, so nobody who comes in between can take it.
#include "runtime/wait.h"

static void mutex_unlock_locked(struct weir_mutex *mutex, struct weir_wait_wakes *wakes)
{
    weir_assert(mutex->locked);
    if (mutex->waiters.first != NULL) {
        (void)weir_wait_grant(&mutex->waiters, WEIR_WAIT_GRANTED, wakes);
    } else {
        mutex->locked = false;
    }
}

static void lock_undo(struct weir_mutex *mutex, struct weir_wait_node *node,
                      struct weir_wait_wakes *wakes)
{
    if (node->state == WEIR_WAIT_LISTED) {
        weir_wait_remove(&mutex->waiters, node);
    } else if (node->state == WEIR_WAIT_GRANTED) {
        mutex_unlock_locked(mutex, wakes);
    }
    node->state = WEIR_WAIT_IDLE;
}

static bool lock_ready(struct weir_mutex *mutex, struct weir_wait_node *node,
                       struct weir_context *context)
{
    bool ready = node->state == WEIR_WAIT_IDLE ? !mutex->locked : node->state != WEIR_WAIT_LISTED;
    if (ready) {
        if (!weir_context_spend(context)) {
            return false;
        }
        mutex->locked = true;
        node->state = WEIR_WAIT_IDLE;
        return true;
    }
    if (node->state == WEIR_WAIT_IDLE) {
        weir_wait_push(&mutex->waiters, node, context);
    }
    weir_wait_check(node, context);
    return false;
}

static enum weir_poll lock_poll(struct weir_future *future, struct weir_context *context)
{
    struct weir_mutex_lock *lock = (struct weir_mutex_lock *)future;
    struct weir_mutex *mutex = lock->mutex;
    struct weir_wait_wakes wakes = {.context = context};
    bool ready = true;
    weir_wait_lock(&mutex->waiters);
    if (future->resume == WEIR_RESUME_EXIT) {
        lock_undo(mutex, &lock->node, &wakes);
    } else {
        future->resume = WEIR_RESUME_WAITING;
        ready = lock_ready(mutex, &lock->node, context);
    }
    weir_wait_unlock_wake(&mutex->waiters, &wakes);
    return ready ? weir_leaf_done(future, 0) : WEIR_PENDING;
}

void weir_mutex_init(struct weir_mutex *mutex, struct weir_runtime *runtime)
{
    *mutex = (struct weir_mutex){.locked = false};
    weir_wait_list_init(&mutex->waiters, runtime);
}

bool weir_mutex_try_lock(struct weir_mutex *mutex)
{
    struct weir_wait_wakes none = {.count = 0};
    weir_wait_lock(&mutex->waiters);
    bool taken = !mutex->locked;
    mutex->locked = true;
    weir_wait_unlock_wake(&mutex->waiters, &none);
    return taken;
}

void weir_mutex_unlock(struct weir_mutex *mutex, struct weir_context *context)
{
    struct weir_wait_wakes wakes = {.context = context};
    weir_wait_lock(&mutex->waiters);
    mutex_unlock_locked(mutex, &wakes);
    weir_wait_unlock_wake(&mutex->waiters, &wakes);
}

void weir_mutex_lock_init(struct weir_mutex_lock *lock, struct weir_mutex *mutex)
{
    weir_assert(mutex != NULL);
    *lock = (struct weir_mutex_lock){.future.poll = lock_poll, .mutex = mutex};
}
