// The bounded channel: a ring of items, senders that wait for room, receivers that wait for items.
//
// Sending is handed over: who makes room moves the item of the longest waiting sender into the ring
// and wakes it with its work done. A sender dropped after that has sent. Receiving is reserved:
// a woken receiver finds an item in the ring that nobody else may take, and takes it when it is
// polled; dropped instead, it gives the reservation to the next one. So no item is lost with a
// receiver, nobody barges past a waiter, and nobody is woken for nothing.
//
// Invariants, whenever the lock is free (`channel_settle` restores them after each change):
//   reserved <= count <= items_max
//   a sender waits   => the ring is full and open
//   a receiver waits => every item in the ring is reserved, and it is open or not yet empty
// A closed channel's receiver thus waits while others may still pass their reservations on to it.
//
// One lock, the senders', for everything.
#include <errno.h>
#include <string.h>

#include "runtime/wait.h"

static void ring_push(struct weir_channel *channel, const void *item)
{
    weir_assert(channel->count < channel->items_max);
    size_t index = ((size_t)channel->first + channel->count) % channel->items_max;
    memcpy(channel->items + index * channel->item_bytes, item, channel->item_bytes);
    channel->count++;
}

static void ring_pop(struct weir_channel *channel, void *item)
{
    weir_assert(channel->count > 0);
    memcpy(item, channel->items + (size_t)channel->first * channel->item_bytes,
           channel->item_bytes);
    channel->first = channel->first + 1 < channel->items_max ? channel->first + 1 : 0;
    channel->count--;
}

// Gives waiters what has become theirs. Each round wakes one; outside of a close there are at most
// two, a sender for the room of one item and a receiver for one item.
static void channel_settle(struct weir_channel *channel, struct weir_wait_wakes *wakes)
{
    while (channel->senders.first != NULL &&
           (channel->closed || channel->count < channel->items_max)) {
        struct weir_wait_node *node = weir_wait_grant(
            &channel->senders, channel->closed ? WEIR_WAIT_OVER : WEIR_WAIT_GRANTED, wakes);
        if (!channel->closed) {
            size_t offset = offsetof(struct weir_channel_send, node);
            ring_push(channel, ((struct weir_channel_send *)((char *)node - offset))->item);
        }
    }
    while (channel->receivers.first != NULL && channel->reserved < channel->count) {
        (void)weir_wait_grant(&channel->receivers, WEIR_WAIT_GRANTED, wakes);
        channel->reserved++;
    }
    while (channel->receivers.first != NULL && channel->closed && channel->count == 0) {
        (void)weir_wait_grant(&channel->receivers, WEIR_WAIT_OVER, wakes);
    }
    weir_assert(channel->reserved <= channel->count);
}

static int channel_put(struct weir_channel *channel, const void *item,
                       struct weir_wait_wakes *wakes)
{
    if (channel->closed) {
        return WEIR_ECLOSED;
    }
    if (channel->count == channel->items_max) {
        return WEIR_EFULL;
    }
    ring_push(channel, item);
    channel_settle(channel, wakes);
    return 0;
}

static int channel_take(struct weir_channel *channel, void *item, struct weir_wait_wakes *wakes)
{
    if (channel->reserved < channel->count) {
        ring_pop(channel, item);
        channel_settle(channel, wakes);
        return 0;
    }
    return channel->closed && channel->count == 0 ? WEIR_ECLOSED : -EAGAIN;
}

void weir_channel_init(struct weir_channel *channel, struct weir_runtime *runtime, void *items,
                       uint32_t item_bytes, uint32_t items_max)
{
    weir_assert(items != NULL);
    weir_assert(items_max > 0);
    *channel =
        (struct weir_channel){.items = items, .item_bytes = item_bytes, .items_max = items_max};
    weir_wait_list_init(&channel->senders, runtime);
    weir_wait_list_init(&channel->receivers, runtime);
}

int weir_channel_try_send(struct weir_channel *channel, struct weir_context *context,
                          const void *item)
{
    struct weir_wait_wakes wakes = {.context = context};
    weir_wait_lock(&channel->senders);
    int result = channel_put(channel, item, &wakes);
    weir_wait_unlock_wake(&channel->senders, &wakes);
    return result;
}

int weir_channel_try_recv(struct weir_channel *channel, struct weir_context *context, void *item)
{
    struct weir_wait_wakes wakes = {.context = context};
    weir_wait_lock(&channel->senders);
    int result = channel_take(channel, item, &wakes);
    weir_wait_unlock_wake(&channel->senders, &wakes);
    return result;
}

void weir_channel_close(struct weir_channel *channel, struct weir_context *context)
{
    struct weir_wait_wakes wakes = {.context = context};
    weir_wait_lock(&channel->senders);
    channel->closed = true;
    channel_settle(channel, &wakes);
    weir_wait_unlock_wake(&channel->senders, &wakes);
}

// ---- Futures ----

// Under the lock. One of 0, WEIR_ECLOSED; -EAGAIN: waits, or the budget is spent.
static int send_step(struct weir_channel_send *send, struct weir_wait_wakes *wakes)
{
    struct weir_channel *channel = send->channel;
    struct weir_wait_node *node = &send->node;
    bool fits = channel->closed || channel->count < channel->items_max;
    if (node->state == WEIR_WAIT_IDLE && !fits) {
        weir_wait_push(&channel->senders, node, wakes->context);
    }
    if (node->state == WEIR_WAIT_LISTED) {
        weir_wait_check(node, wakes->context);
        return -EAGAIN;
    }
    if (!weir_context_spend(wakes->context)) {
        return -EAGAIN;
    }
    if (node->state == WEIR_WAIT_IDLE) {
        return channel_put(channel, send->item, wakes);
    }
    return node->state == WEIR_WAIT_GRANTED ? 0 : WEIR_ECLOSED;
}

static enum weir_poll send_poll(struct weir_future *future, struct weir_context *context)
{
    struct weir_channel_send *send = (struct weir_channel_send *)future;
    struct weir_channel *channel = send->channel;
    struct weir_wait_wakes wakes = {.context = context};
    int result = WEIR_ECANCELED;
    weir_wait_lock(&channel->senders);
    if (future->resume != WEIR_RESUME_EXIT) {
        future->resume = WEIR_RESUME_WAITING;
        result = send_step(send, &wakes);
    } else if (send->node.state == WEIR_WAIT_LISTED) {
        weir_wait_remove(&channel->senders, &send->node);
    }
    weir_wait_unlock_wake(&channel->senders, &wakes);
    return result == -EAGAIN ? WEIR_PENDING : weir_leaf_done(future, result);
}

// As send_step.
static int recv_step(struct weir_channel_recv *recv, struct weir_wait_wakes *wakes)
{
    struct weir_channel *channel = recv->channel;
    struct weir_wait_node *node = &recv->node;
    bool over = channel->closed && channel->count == 0;
    if (node->state == WEIR_WAIT_IDLE && channel->reserved == channel->count && !over) {
        weir_wait_push(&channel->receivers, node, wakes->context);
    }
    if (node->state == WEIR_WAIT_LISTED) {
        weir_wait_check(node, wakes->context);
        return -EAGAIN;
    }
    if (!weir_context_spend(wakes->context)) {
        return -EAGAIN;
    }
    if (node->state == WEIR_WAIT_OVER) {
        return WEIR_ECLOSED;
    }
    if (node->state == WEIR_WAIT_GRANTED) { // gives the reservation back, and takes what is first
        channel->reserved--;
        node->state = WEIR_WAIT_IDLE;
    }
    return channel_take(channel, recv->item, wakes);
}

static void recv_undo(struct weir_channel_recv *recv, struct weir_wait_wakes *wakes)
{
    struct weir_channel *channel = recv->channel;
    if (recv->node.state == WEIR_WAIT_LISTED) {
        weir_wait_remove(&channel->receivers, &recv->node);
    } else if (recv->node.state == WEIR_WAIT_GRANTED) {
        channel->reserved--;
        recv->node.state = WEIR_WAIT_IDLE;
        channel_settle(channel, wakes);
    }
}

static enum weir_poll recv_poll(struct weir_future *future, struct weir_context *context)
{
    struct weir_channel_recv *recv = (struct weir_channel_recv *)future;
    struct weir_channel *channel = recv->channel;
    struct weir_wait_wakes wakes = {.context = context};
    int result = WEIR_ECANCELED;
    weir_wait_lock(&channel->senders);
    if (future->resume == WEIR_RESUME_EXIT) {
        recv_undo(recv, &wakes);
    } else {
        future->resume = WEIR_RESUME_WAITING;
        result = recv_step(recv, &wakes);
    }
    weir_wait_unlock_wake(&channel->senders, &wakes);
    return result == -EAGAIN ? WEIR_PENDING : weir_leaf_done(future, result);
}

void weir_channel_send_init(struct weir_channel_send *send, struct weir_channel *channel,
                            const void *item)
{
    weir_assert(channel != NULL && item != NULL);
    *send = (struct weir_channel_send){.future.poll = send_poll, .channel = channel, .item = item};
}

void weir_channel_recv_init(struct weir_channel_recv *recv, struct weir_channel *channel,
                            void *item)
{
    weir_assert(channel != NULL && item != NULL);
    *recv = (struct weir_channel_recv){.future.poll = recv_poll, .channel = channel, .item = item};
}
