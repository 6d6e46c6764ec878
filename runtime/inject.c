// The mailbox: a lock-free inbox in front of a locked backlog.
#include "runtime/inject.h"

#include "runtime/assert.h"
#include "runtime/lock.h"

// [M1] A push releases the task's link; taking the inbox acquires it. The push, and every look
// whether something is inside, are sequentially consistent for the sake of [W1] in idle.c.

void weir_mailbox_push(struct weir_mailbox *mailbox, struct weir_task *task)
{
    struct weir_task *head = atomic_load_explicit(&mailbox->inbox, memory_order_relaxed);
    do {
        task->next = head;
    } while (!atomic_compare_exchange_weak_explicit(
        &mailbox->inbox, &head, task, memory_order_seq_cst, memory_order_relaxed)); // [M1] [W1]
}

static void backlog_append(struct weir_mailbox *mailbox, struct weir_chain chain)
{
    if (chain.count == 0) {
        return;
    }
    weir_assert(chain.first != NULL && chain.last->next == NULL);
    if (mailbox->backlog.count == 0) {
        mailbox->backlog = chain;
    } else {
        mailbox->backlog.last->next = chain.first;
        mailbox->backlog.last = chain.last;
        mailbox->backlog.count += chain.count;
    }
    atomic_store_explicit(&mailbox->backlog_count, mailbox->backlog.count,
                          memory_order_seq_cst); // [W1]
}

void weir_mailbox_append(struct weir_mailbox *mailbox, const struct weir_os *os,
                         struct weir_chain chain)
{
    weir_lock_acquire(&mailbox->lock, os);
    backlog_append(mailbox, chain);
    weir_lock_release(&mailbox->lock, os);
}

// Takes the inbox whole and turns it around: it was last in, first out.
static struct weir_chain inbox_take(struct weir_mailbox *mailbox)
{
    struct weir_chain chain = {NULL, NULL, 0};
    struct weir_task *task =
        atomic_exchange_explicit(&mailbox->inbox, NULL, memory_order_acq_rel); // [M1]
    while (task != NULL) {
        struct weir_task *next = task->next;
        __builtin_prefetch(weir_task_future(task)); // it comes from another core
        task->next = chain.first;
        if (chain.last == NULL) {
            chain.last = task;
        }
        chain.first = task;
        chain.count++;
        task = next;
    }
    return chain;
}

struct weir_chain weir_mailbox_draw(struct weir_mailbox *mailbox, const struct weir_os *os,
                                    uint32_t count_max)
{
    struct weir_chain chain = {NULL, NULL, 0};
    if (count_max == 0) {
        return chain;
    }
    weir_lock_acquire(&mailbox->lock, os);
    backlog_append(mailbox, inbox_take(mailbox));
    struct weir_chain *backlog = &mailbox->backlog;
    uint32_t count = backlog->count < count_max ? backlog->count : count_max;
    if (count > 0) {
        chain = (struct weir_chain){backlog->first, backlog->first, count};
        for (uint32_t i = 1; i < count; i++) {
            chain.last = chain.last->next;
        }
        backlog->first = chain.last->next;
        backlog->count -= count;
        if (backlog->count == 0) {
            backlog->last = NULL;
        }
        chain.last->next = NULL;
        atomic_store_explicit(&mailbox->backlog_count, backlog->count,
                              memory_order_seq_cst); // [W1]
    }
    weir_lock_release(&mailbox->lock, os);
    return chain;
}
