// A worker's run queue: a bounded ring that its owner pushes and pops and others steal half of.
//
// After the design of Tokio's local queue, itself after Go's runq. `head` packs two 32-bit
// positions: the low half, where the owner takes, and the high half, up to where slots have been
// given back; they differ while a thief copies, which keeps others from stealing and the owner from
// overwriting. Positions only grow and wrap at 2^32, so that a preempted thief does not mistake a
// later lap for its own.
#ifndef WEIR_RUNTIME_QUEUE_H
#define WEIR_RUNTIME_QUEUE_H

#include "runtime/task.h"

struct weir_queue {
    _Alignas(128) _Atomic uint64_t head;
    _Alignas(128) _Atomic uint32_t tail; // written by the owner only
    _Atomic(struct weir_task *) slots[WEIR_QUEUE_SLOTS];
};

// A chain of tasks linked by `next`.
struct weir_chain {
    struct weir_task *first, *last;
    uint32_t count;
};

// Appends.  returns  false when full.                        threads  owner.
WEIR_MUST_USE bool weir_queue_push_owner(struct weir_queue *queue, struct weir_task *task);
// Takes the oldest half out of a full queue; nothing when a thief is at work. threads  owner.
struct weir_chain weir_queue_shed_owner(struct weir_queue *queue);
// The oldest, or NULL.                                       threads  owner.
struct weir_task *weir_queue_pop_owner(struct weir_queue *queue);
// Moves half of `from` into `to`; gives one of them, or NULL.  threads  owner of `to`.
struct weir_task *weir_queue_steal(struct weir_queue *from, struct weir_queue *to);
// How many tasks it held at some moment.                     threads  any. Sequentially consistent.
uint32_t weir_queue_count(struct weir_queue *queue);
// Slots free for the owner to fill.
uint32_t weir_queue_room_owner(struct weir_queue *queue);
// Orders all pushes so far before what the owner reads next (store-load): see idle.c [W1].
void weir_queue_publish_owner(struct weir_queue *queue);

#endif
