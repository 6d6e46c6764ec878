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

// Takes the oldest half out of a full queue; nothing when a thief is at work. threads  owner.
struct weir_chain weir_queue_shed_owner(struct weir_queue *queue);
// Moves half of `from` into `to`; gives one of them, or NULL.  threads  owner of `to`.
struct weir_task *weir_queue_steal(struct weir_queue *from, struct weir_queue *to);
// How many tasks it held at some moment.                     threads  any. Sequentially consistent.
uint32_t weir_queue_count(struct weir_queue *queue);
// Orders all pushes so far before what the owner reads next (store-load): see idle.c [W1].
void weir_queue_publish_owner(struct weir_queue *queue);

// [Q1] The owner's release of `tail` makes the slots visible to a thief's acquire of it.
// [Q2] A release of `head` by whoever took tasks lets the owner's acquire of it reuse the slots.

#define WEIR_QUEUE_MASK ((uint32_t)WEIR_QUEUE_SLOTS - 1)

static inline uint64_t weir_queue_head(uint32_t given_back, uint32_t taken)
{
    return (uint64_t)given_back << 32 | taken;
}

static inline uint32_t weir_queue_given_back(uint64_t head)
{
    return (uint32_t)(head >> 32);
}

static inline uint32_t weir_queue_taken(uint64_t head)
{
    return (uint32_t)head;
}

// Slots free for the owner to fill.
static inline uint32_t weir_queue_room_owner(struct weir_queue *queue)
{
    uint32_t tail = atomic_load_explicit(&queue->tail, memory_order_relaxed);
    uint64_t head = atomic_load_explicit(&queue->head, memory_order_acquire); // [Q2]
    return WEIR_QUEUE_SLOTS - (tail - weir_queue_given_back(head));
}

// Appends.  returns  false when full.                        threads  owner.
WEIR_MUST_USE static inline bool weir_queue_push_owner(struct weir_queue *queue,
                                                       struct weir_task *task)
{
    uint32_t tail = atomic_load_explicit(&queue->tail, memory_order_relaxed);
    uint64_t head = atomic_load_explicit(&queue->head, memory_order_acquire); // [Q2]
    if (tail - weir_queue_given_back(head) >= WEIR_QUEUE_SLOTS) {
        return false;
    }
    atomic_store_explicit(&queue->slots[tail & WEIR_QUEUE_MASK], task, memory_order_relaxed);
    atomic_store_explicit(&queue->tail, tail + 1, memory_order_release); // [Q1]
    return true;
}

// The oldest, or NULL. One that it gives comes with the order of weir_queue_publish_owner.
//                                                            threads  owner.
static inline struct weir_task *weir_queue_pop_owner(struct weir_queue *queue)
{
    uint64_t head = atomic_load_explicit(&queue->head, memory_order_acquire); // [Q2]
    for (;;) {
        uint32_t taken = weir_queue_taken(head);
        if (taken == atomic_load_explicit(&queue->tail, memory_order_relaxed)) {
            return NULL;
        }
        bool thief = weir_queue_given_back(head) != taken;
        uint64_t next = weir_queue_head(thief ? weir_queue_given_back(head) : taken + 1, taken + 1);
        if (atomic_compare_exchange_weak_explicit(&queue->head, &head, next, memory_order_seq_cst,
                                                  memory_order_acquire)) { // [Q2] [W1]
            return atomic_load_explicit(&queue->slots[taken & WEIR_QUEUE_MASK],
                                        memory_order_relaxed);
        }
    }
}

// The same where nobody steals.                              threads  owner.
static inline struct weir_task *weir_queue_pop_alone(struct weir_queue *queue)
{
    uint32_t taken = weir_queue_taken(atomic_load_explicit(&queue->head, memory_order_relaxed));
    if (taken == atomic_load_explicit(&queue->tail, memory_order_relaxed)) {
        return NULL;
    }
    atomic_store_explicit(&queue->head, weir_queue_head(taken + 1, taken + 1),
                          memory_order_relaxed);
    return atomic_load_explicit(&queue->slots[taken & WEIR_QUEUE_MASK], memory_order_relaxed);
}

#endif
