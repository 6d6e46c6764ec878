// A worker's mailbox: where tasks arrive that were not queued by the worker itself.
//
// Two stages. `inbox` is a lock-free stack that anyone pushes onto, also from a signal handler,
// and that is only ever taken whole (so ABA cannot arise). Whoever takes it turns it around into
// `backlog`, a first-in first-out list under a lock, from which the owner and thieves draw.
#ifndef WEIR_RUNTIME_INJECT_H
#define WEIR_RUNTIME_INJECT_H

#include "runtime/queue.h"

struct weir_mailbox {
    _Alignas(128) _Atomic(struct weir_task *) inbox;
    _Alignas(64) _Atomic uint32_t lock; // guards backlog
    _Atomic uint32_t backlog_count;
    struct weir_chain backlog;
};

// threads  any, and in a signal handler. Sequentially consistent: see idle.c [W1].
void weir_mailbox_push(struct weir_mailbox *mailbox, struct weir_task *task);
// The whole chain, behind everything the backlog holds.  threads  any.
void weir_mailbox_append(struct weir_mailbox *mailbox, const struct weir_os *os,
                         struct weir_chain chain);
// Draws what is there, at most `count_max`, oldest first.                 threads  any.
struct weir_chain weir_mailbox_draw(struct weir_mailbox *mailbox, const struct weir_os *os,
                                    uint32_t count_max);
// Whether something is inside.                          threads  any. Sequentially consistent.
static inline bool weir_mailbox_occupied(struct weir_mailbox *mailbox)
{
    return atomic_load_explicit(&mailbox->inbox, memory_order_seq_cst) != NULL ||
           atomic_load_explicit(&mailbox->backlog_count, memory_order_seq_cst) != 0; // [W1]
}

#endif
