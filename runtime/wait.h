// Lists of the tasks that wait for a synchronisation object, longest waiter first.
//
// The nodes are embedded in the waiting futures, so waiting allocates nothing.
// Everything here, the nodes' state included, is read and written under the list's lock (a
// channel's receivers: under the senders').
#ifndef WEIR_RUNTIME_WAIT_H
#define WEIR_RUNTIME_WAIT_H

#include "runtime/lock.h"
#include "runtime/runtime.h"

// future->resume of a leaf that has been polled and is not done.
#define WEIR_RESUME_WAITING 1

enum weir_wait_state {
    WEIR_WAIT_IDLE,    // in no list, nothing given
    WEIR_WAIT_LISTED,  // in the list
    WEIR_WAIT_GRANTED, // out of it: it was given what it waits for and must use it or pass it on
    WEIR_WAIT_OVER     // out of it: nothing is given and nothing has to be passed on
};

static inline void weir_wait_list_init(struct weir_wait_list *list, struct weir_runtime *runtime)
{
    weir_assert(runtime != NULL);
    *list = (struct weir_wait_list){.os = &runtime->os};
}

static inline void weir_wait_lock(struct weir_wait_list *list)
{
    weir_lock_acquire(&list->lock, list->os);
}

// Tasks to be woken once the lock is released: a wake may cost a system call, and whom it wakes
// wants the lock. Those beyond the first few (of a close, or a notify_all) are woken under it.
#define WEIR_WAIT_WAKES_MAX 4
struct weir_wait_wakes {
    struct weir_context *context;
    uint32_t count;
    struct weir_waker wakers[WEIR_WAIT_WAKES_MAX];
};

// Puts the polling task last.
static inline void weir_wait_push(struct weir_wait_list *list, struct weir_wait_node *node,
                                  const struct weir_context *context)
{
    weir_assert(node->state == WEIR_WAIT_IDLE);
    *node = (struct weir_wait_node){
        .prev = list->last, .waker = context->waker, .state = WEIR_WAIT_LISTED};
    if (list->last == NULL) {
        list->first = node;
    } else {
        list->last->next = node;
    }
    list->last = node;
}

static inline void weir_wait_remove(struct weir_wait_list *list, struct weir_wait_node *node)
{
    weir_assert(node->state == WEIR_WAIT_LISTED);
    *(node->prev == NULL ? &list->first : &node->prev->next) = node->next;
    *(node->next == NULL ? &list->last : &node->next->prev) = node->prev;
    node->next = NULL;
    node->prev = NULL;
    node->state = WEIR_WAIT_IDLE;
}

// Takes the longest waiter out, marks it, and notes its task to be woken. The list is not empty.
// The waiter cannot see the mark before the lock is released, so its node is there until then.
static inline struct weir_wait_node *weir_wait_grant(struct weir_wait_list *list,
                                                     enum weir_wait_state state,
                                                     struct weir_wait_wakes *wakes)
{
    struct weir_wait_node *node = list->first;
    weir_assert(node != NULL);
    weir_wait_remove(list, node);
    node->state = state;
    if (wakes->count < WEIR_WAIT_WAKES_MAX) {
        wakes->wakers[wakes->count++] = node->waker;
    } else {
        weir_context_wake(wakes->context, node->waker);
    }
    return node;
}

// Releases the lock and wakes. After the release the list may be gone; wakers are plain data.
static inline void weir_wait_unlock_wake(struct weir_wait_list *list,
                                         const struct weir_wait_wakes *wakes)
{
    weir_lock_release(&list->lock, list->os);
    for (uint32_t i = 0; i < wakes->count; i++) {
        weir_context_wake(wakes->context, wakes->wakers[i]);
    }
}

// A future stays in its task, so the waker of a listed node is never replaced.
static inline void weir_wait_check(const struct weir_wait_node *node,
                                   const struct weir_context *context)
{
    weir_assert(node->waker.task == context->waker.task);
    weir_assert(node->waker.generation == context->waker.generation);
}

// The end of a leaf's poll.
static inline enum weir_poll weir_leaf_done(struct weir_future *future, int32_t result)
{
    future->result = result;
    future->resume = WEIR_RESUME_DONE;
    return WEIR_READY;
}

#endif
