// Notify: a wake-up that is kept, once, when nobody waits.
//
// The permit is only ever set while the list is empty, so a newcomer that finds it passes nobody.
#include "runtime/wait.h"

static void notify_one_locked(struct weir_notify *notify, struct weir_wait_wakes *wakes)
{
    if (notify->waiters.first != NULL) {
        weir_assert(!notify->permit);
        (void)weir_wait_grant(&notify->waiters, WEIR_WAIT_GRANTED, wakes);
    } else {
        notify->permit = true;
    }
}

static void notified_undo(struct weir_notify *notify, struct weir_wait_node *node,
                          struct weir_wait_wakes *wakes)
{
    if (node->state == WEIR_WAIT_LISTED) {
        weir_wait_remove(&notify->waiters, node);
    } else if (node->state == WEIR_WAIT_GRANTED) {
        // Chosen by notify_one and gone before it knew: the next one in its place.
        notify_one_locked(notify, wakes);
    }
    node->state = WEIR_WAIT_IDLE;
}

static bool notified_ready(struct weir_notify *notify, struct weir_wait_node *node,
                           struct weir_context *context)
{
    bool ready = node->state == WEIR_WAIT_IDLE ? notify->permit : node->state != WEIR_WAIT_LISTED;
    if (ready) {
        if (!weir_context_spend(context)) {
            return false;
        }
        if (node->state == WEIR_WAIT_IDLE) {
            notify->permit = false;
        }
        node->state = WEIR_WAIT_IDLE;
        return true;
    }
    if (node->state == WEIR_WAIT_IDLE) {
        weir_wait_push(&notify->waiters, node, context);
    }
    weir_wait_check(node, context);
    return false;
}

static enum weir_poll notified_poll(struct weir_future *future, struct weir_context *context)
{
    struct weir_notified *notified = (struct weir_notified *)future;
    struct weir_notify *notify = notified->notify;
    struct weir_wait_wakes wakes = {.context = context};
    bool ready = true;
    weir_wait_lock(&notify->waiters);
    if (future->resume == WEIR_RESUME_EXIT) {
        notified_undo(notify, &notified->node, &wakes);
    } else {
        future->resume = WEIR_RESUME_WAITING;
        ready = notified_ready(notify, &notified->node, context);
    }
    weir_wait_unlock_wake(&notify->waiters, &wakes);
    return ready ? weir_leaf_done(future, 0) : WEIR_PENDING;
}

void weir_notify_init(struct weir_notify *notify, struct weir_runtime *runtime)
{
    *notify = (struct weir_notify){.permit = false};
    weir_wait_list_init(&notify->waiters, runtime);
}

void weir_notify_one(struct weir_notify *notify, struct weir_context *context)
{
    struct weir_wait_wakes wakes = {.context = context};
    weir_wait_lock(&notify->waiters);
    notify_one_locked(notify, &wakes);
    weir_wait_unlock_wake(&notify->waiters, &wakes);
}

void weir_notify_all(struct weir_notify *notify, struct weir_context *context)
{
    struct weir_wait_wakes wakes = {.context = context};
    weir_wait_lock(&notify->waiters);
    while (notify->waiters.first != NULL) {
        (void)weir_wait_grant(&notify->waiters, WEIR_WAIT_OVER, &wakes);
    }
    weir_wait_unlock_wake(&notify->waiters, &wakes);
}

void weir_notified_init(struct weir_notified *notified, struct weir_notify *notify)
{
    weir_assert(notify != NULL);
    *notified = (struct weir_notified){.future.poll = notified_poll, .notify = notify};
}
