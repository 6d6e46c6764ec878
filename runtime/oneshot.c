// Oneshot: one value from one sender to one receiver, without a lock.
//
// One word of bits that are only ever set. The sender owns `value` until it sets SENT, the receiver
// owns `waker` until it sets WAITING; the task of a receiving future never changes, so `waker` is
// written once. The sender reads `waker` before it sets SENT or ABANDONED, and touches nothing
// afterwards: the receiver may then free the oneshot.
//
// Pairs: [O1] `value`: released with SENT, acquired by the receiver that sees it.
//        [O2] `waker`: released with WAITING, acquired by the sender that sees it.
#include <stdatomic.h>

#include "runtime/wait.h"

enum oneshot_bit {
    ONESHOT_SENT = 1,
    ONESHOT_ABANDONED = 2, // the sender will not send
    ONESHOT_WAITING = 4,   // `waker` is set
    ONESHOT_GONE = 8       // the receiver was dropped
};
#define ONESHOT_ENDED (ONESHOT_SENT | ONESHOT_ABANDONED)

// Sets the sender's last bit and wakes the receiver; the word as it was.
static uint32_t oneshot_end(struct weir_oneshot *oneshot, struct weir_context *context,
                            uint32_t bit)
{
    struct weir_waker waker = {0};
    uint32_t seen = atomic_load_explicit(&oneshot->state, memory_order_acquire); // [O2]
    // At most three rounds: each failure means that the receiver set another of its two bits.
    do {
        weir_assert((seen & ONESHOT_ENDED) == 0);
        if ((seen & ONESHOT_WAITING) != 0) {
            waker = oneshot->waker;
        }
    } while (!atomic_compare_exchange_strong_explicit(&oneshot->state, &seen, seen | bit,
                                                      memory_order_acq_rel,   // [O1]
                                                      memory_order_acquire)); // [O2]
    if ((seen & ONESHOT_WAITING) != 0 && (seen & ONESHOT_GONE) == 0) {
        weir_context_wake(context, waker);
    }
    return seen;
}

static enum weir_poll recv_poll(struct weir_future *future, struct weir_context *context)
{
    struct weir_oneshot_recv *recv = (struct weir_oneshot_recv *)future;
    struct weir_oneshot *oneshot = recv->oneshot;
    if (future->resume == WEIR_RESUME_EXIT) {
        // Relaxed: nothing of the receiver's is handed over with it.
        atomic_fetch_or_explicit(&oneshot->state, ONESHOT_GONE, memory_order_relaxed);
        return weir_leaf_done(future, WEIR_ECANCELED);
    }
    uint32_t seen = atomic_load_explicit(&oneshot->state, memory_order_acquire); // [O1]
    if ((seen & (ONESHOT_ENDED | ONESHOT_WAITING)) == 0) {
        oneshot->waker = context->waker;
        seen = atomic_fetch_or_explicit(&oneshot->state, ONESHOT_WAITING,
                                        memory_order_acq_rel); // [O2] and, for `seen`, [O1]
    }
    if ((seen & ONESHOT_ENDED) == 0) {
        weir_assert(oneshot->waker.task == context->waker.task);
        return WEIR_PENDING;
    }
    if (!weir_context_spend(context)) {
        return WEIR_PENDING;
    }
    if ((seen & ONESHOT_ABANDONED) != 0) {
        return weir_leaf_done(future, WEIR_ECLOSED);
    }
    recv->value = oneshot->value;
    return weir_leaf_done(future, 0);
}

void weir_oneshot_init(struct weir_oneshot *oneshot)
{
    *oneshot = (struct weir_oneshot){.value = 0};
}

int weir_oneshot_send(struct weir_oneshot *oneshot, struct weir_context *context, int64_t value)
{
    oneshot->value = value;
    uint32_t seen = oneshot_end(oneshot, context, ONESHOT_SENT);
    return (seen & ONESHOT_GONE) != 0 ? WEIR_ECLOSED : 0;
}

void weir_oneshot_abandon(struct weir_oneshot *oneshot, struct weir_context *context)
{
    (void)oneshot_end(oneshot, context, ONESHOT_ABANDONED);
}

// ARMED from the start: one that is dropped unpolled tells the sender too.
void weir_oneshot_recv_init(struct weir_oneshot_recv *recv, struct weir_oneshot *oneshot)
{
    weir_assert(oneshot != NULL);
    *recv = (struct weir_oneshot_recv){.future = {.poll = recv_poll, .resume = WEIR_RESUME_ARMED},
                                       .oneshot = oneshot};
}
