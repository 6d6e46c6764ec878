// The bounded work-stealing ring.
#include "runtime/queue.h"

#include "runtime/assert.h"

// [Q1] and [Q2] are in queue.h.

struct weir_chain weir_queue_shed_owner(struct weir_queue *queue)
{
    struct weir_chain chain = {NULL, NULL, 0};
    uint64_t head = atomic_load_explicit(&queue->head, memory_order_acquire); // [Q2]
    uint32_t taken = weir_queue_taken(head);
    uint32_t half = WEIR_QUEUE_SLOTS / 2;
    uint32_t tail = atomic_load_explicit(&queue->tail, memory_order_relaxed);
    if (weir_queue_given_back(head) != taken || tail - taken < half) {
        return chain;
    }
    if (!atomic_compare_exchange_strong_explicit(
            &queue->head, &head, weir_queue_head(taken + half, taken + half), memory_order_acq_rel,
            memory_order_relaxed)) { // [Q2]
        return chain;
    }
    for (uint32_t i = 0; i < half; i++) {
        struct weir_task *task = atomic_load_explicit(&queue->slots[(taken + i) & WEIR_QUEUE_MASK],
                                                      memory_order_relaxed);
        task->next = NULL;
        if (chain.last == NULL) {
            chain.first = task;
        } else {
            chain.last->next = task;
        }
        chain.last = task;
    }
    chain.count = half;
    return chain;
}

// Claims half of what `queue` holds by moving only the low half of its head.
static uint32_t steal_claim(struct weir_queue *queue, uint32_t *start, uint64_t *claimed)
{
    uint64_t head = atomic_load_explicit(&queue->head, memory_order_acquire); // [Q2]
    for (;;) {
        uint32_t taken = weir_queue_taken(head);
        uint32_t tail = atomic_load_explicit(&queue->tail, memory_order_acquire); // [Q1]
        uint32_t count = tail - taken;
        count -= count / 2;
        if (weir_queue_given_back(head) != taken || count == 0) {
            return 0;
        }
        if (count > WEIR_QUEUE_SLOTS / 2) { // the tail is newer than the head: look again
            head = atomic_load_explicit(&queue->head, memory_order_acquire); // [Q2]
            continue;
        }
        *claimed = weir_queue_head(taken, taken + count);
        if (atomic_compare_exchange_weak_explicit(&queue->head, &head, *claimed,
                                                  memory_order_acq_rel,
                                                  memory_order_acquire)) { // [Q2]
            *start = taken;
            return count;
        }
    }
}

struct weir_task *weir_queue_steal(struct weir_queue *from, struct weir_queue *to)
{
    weir_assert(from != to);
    if (weir_queue_room_owner(to) < WEIR_QUEUE_SLOTS / 2) {
        return NULL;
    }
    uint32_t start = 0;
    uint64_t head = 0;
    uint32_t count = steal_claim(from, &start, &head);
    if (count == 0) {
        return NULL;
    }
    uint32_t tail = atomic_load_explicit(&to->tail, memory_order_relaxed);
    for (uint32_t i = 0; i < count; i++) {
        struct weir_task *task =
            atomic_load_explicit(&from->slots[(start + i) & WEIR_QUEUE_MASK], memory_order_relaxed);
        atomic_store_explicit(&to->slots[(tail + i) & WEIR_QUEUE_MASK], task, memory_order_relaxed);
    }
    // The owner may have moved the low half on meanwhile; everything up to it is given back.
    while (!atomic_compare_exchange_weak_explicit(
        &from->head, &head, weir_queue_head(weir_queue_taken(head), weir_queue_taken(head)),
        memory_order_acq_rel,
        memory_order_acquire)) { // [Q2]
    }
    struct weir_task *last = atomic_load_explicit(&to->slots[(tail + count - 1) & WEIR_QUEUE_MASK],
                                                  memory_order_relaxed);
    if (count > 1) {
        atomic_store_explicit(&to->tail, tail + count - 1, memory_order_release); // [Q1]
    }
    return last;
}

uint32_t weir_queue_count(struct weir_queue *queue)
{
    uint64_t head = atomic_load_explicit(&queue->head, memory_order_seq_cst); // [W1]
    uint32_t tail = atomic_load_explicit(&queue->tail, memory_order_seq_cst); // [W1]
    uint32_t count = tail - weir_queue_taken(head);
    return count <= WEIR_QUEUE_SLOTS ? count : WEIR_QUEUE_SLOTS; // the head may be older
}

void weir_queue_publish_owner(struct weir_queue *queue)
{
    uint32_t tail = atomic_load_explicit(&queue->tail, memory_order_relaxed);
    atomic_store_explicit(&queue->tail, tail, memory_order_seq_cst); // [Q1] [W1]
}
