// Tests of the bounded channel: order, hand-over, reservations, closing, nothing lost or doubled.
#include <errno.h>
#include <string.h>

#include "tests/support_actor.h"

struct pipe {
    struct weir_runtime *runtime;
    struct weir_channel channel;
    uint32_t room[4];
    struct actor_log log;
};

static void pipe_open(struct pipe *pipe, uint32_t items_max)
{
    memset(pipe, 0, sizeof *pipe);
    pipe->runtime = test_runtime_create(0, NULL);
    weir_channel_init(&pipe->channel, pipe->runtime, pipe->room, sizeof pipe->room[0], items_max);
}

static void pipe_close(struct pipe *pipe)
{
    (void)test_turn_all(pipe->runtime);
    assert_int_equal(actor_tasks_live(pipe->runtime), 0);
    assert_null(pipe->channel.senders.first);
    assert_null(pipe->channel.receivers.first);
    weir_runtime_destroy(pipe->runtime);
}

static int pipe_try_send(struct pipe *pipe, uint32_t item)
{
    return weir_channel_try_send(&pipe->channel, NULL, &item);
}

// The item, or a negative code.
static int64_t pipe_try_recv(struct pipe *pipe)
{
    uint32_t item = 0;
    int result = weir_channel_try_recv(&pipe->channel, NULL, &item);
    return result < 0 ? result : (int64_t)item;
}

static struct weir_handle pipe_send(struct pipe *pipe, struct weir_channel_send *send,
                                    const uint32_t *item, int id)
{
    weir_channel_send_init(send, &pipe->channel, item);
    return actor_start(pipe->runtime, &send->future, &pipe->log, id);
}

static struct weir_handle pipe_recv(struct pipe *pipe, struct weir_channel_recv *recv,
                                    uint32_t *item, int id)
{
    weir_channel_recv_init(recv, &pipe->channel, item);
    return actor_start(pipe->runtime, &recv->future, &pipe->log, id);
}

static void test_try(void **state)
{
    (void)state;
    struct pipe pipe;
    pipe_open(&pipe, 3);
    assert_int_equal(pipe_try_recv(&pipe), -EAGAIN);
    for (uint32_t round = 0; round < 10; round++) { // the ring wraps
        assert_int_equal(pipe_try_send(&pipe, round), 0);
        assert_int_equal(pipe_try_send(&pipe, round + 100), 0);
        assert_int_equal(pipe_try_recv(&pipe), round);
        assert_int_equal(pipe_try_recv(&pipe), round + 100);
    }
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(pipe_try_send(&pipe, i), 0);
    }
    assert_int_equal(pipe_try_send(&pipe, 3), WEIR_EFULL);
    weir_channel_close(&pipe.channel, NULL);
    weir_channel_close(&pipe.channel, NULL);
    assert_int_equal(pipe_try_send(&pipe, 3), WEIR_ECLOSED);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(pipe_try_recv(&pipe), i);
    }
    assert_int_equal(pipe_try_recv(&pipe), WEIR_ECLOSED);
    pipe_close(&pipe);
}

static void test_parked_senders(void **state)
{
    (void)state;
    struct pipe pipe;
    pipe_open(&pipe, 2);
    struct weir_channel_send sends[5];
    struct weir_handle handles[5];
    const uint32_t items[] = {10, 11, 12, 13, 14};
    for (int i = 0; i < 5; i++) {
        handles[i] = pipe_send(&pipe, &sends[i], &items[i], i);
    }
    actor_expect(&pipe.log, 0, 1, -1);
    assert_int_equal(pipe_try_recv(&pipe), 10);             // moves 12 in at once ...
    assert_int_equal(pipe_try_send(&pipe, 99), WEIR_EFULL); // ... so that nobody gets before it
    (void)test_turn_all(pipe.runtime);
    actor_expect(&pipe.log, 2, -1);
    actor_cancel(pipe.runtime, handles[3], true); // waiting: not sent
    assert_int_equal(pipe_try_recv(&pipe), 11);
    actor_cancel(pipe.runtime, handles[4], true); // granted: sent
    actor_expect(&pipe.log, -1);
    assert_int_equal(pipe_try_recv(&pipe), 12);
    assert_int_equal(pipe_try_recv(&pipe), 14);
    assert_int_equal(pipe_try_recv(&pipe), -EAGAIN);
    for (int i = 0; i < 3; i++) {
        weir_task_detach(handles[i]);
    }
    pipe_close(&pipe);
}

static void test_parked_receivers(void **state)
{
    (void)state;
    struct pipe pipe;
    pipe_open(&pipe, 4);
    struct weir_channel_recv recvs[5];
    uint32_t items[5] = {0};
    struct weir_handle handles[5];
    for (int i = 0; i < 5; i++) {
        handles[i] = pipe_recv(&pipe, &recvs[i], &items[i], i);
    }
    assert_int_equal(pipe_try_send(&pipe, 20), 0); // reserved for 0
    assert_int_equal(pipe_try_recv(&pipe), -EAGAIN);
    (void)test_turn_all(pipe.runtime);
    actor_expect(&pipe.log, 0, -1);
    assert_int_equal(items[0], 20);
    actor_cancel(pipe.runtime, handles[1], true);  // waiting
    assert_int_equal(pipe_try_send(&pipe, 21), 0); // reserved for 2, who goes: 3
    actor_cancel(pipe.runtime, handles[2], true);
    actor_expect(&pipe.log, 3, -1);
    assert_int_equal(items[3], 21);
    assert_int_equal(pipe_try_send(&pipe, 22), 0); // reserved for 4, who goes: stays in the ring
    assert_int_equal(pipe_try_send(&pipe, 23), 0);
    actor_cancel(pipe.runtime, handles[4], true);
    actor_expect(&pipe.log, -1);
    assert_int_equal(pipe_try_recv(&pipe), 22);
    assert_int_equal(pipe_try_recv(&pipe), 23);
    assert_int_equal(pipe_try_recv(&pipe), -EAGAIN);
    weir_task_detach(handles[0]);
    weir_task_detach(handles[3]);
    pipe_close(&pipe);
}

// Every item reserved, senders parked behind a full ring, receivers parked behind the reservations.
static void test_everybody_waits(void **state)
{
    (void)state;
    struct pipe pipe;
    pipe_open(&pipe, 1);
    struct weir_channel_recv recvs[3];
    struct weir_channel_send sends[2];
    uint32_t items[3] = {0};
    const uint32_t sent[] = {31, 32};
    for (int i = 0; i < 3; i++) {
        weir_task_detach(pipe_recv(&pipe, &recvs[i], &items[i], i));
    }
    assert_int_equal(pipe_try_send(&pipe, 30), 0);
    assert_int_equal(pipe_try_send(&pipe, 99), WEIR_EFULL);
    for (int i = 0; i < 2; i++) {
        weir_task_detach(pipe_send(&pipe, &sends[i], &sent[i], 10 + i));
    }
    (void)test_turn_all(pipe.runtime);
    assert_int_equal(pipe.log.count, 5);
    assert_int_equal(items[0], 30);
    assert_int_equal(items[1], 31);
    assert_int_equal(items[2], 32);
    pipe_close(&pipe);
}

static void test_close(void **state)
{
    (void)state;
    struct pipe pipe;
    pipe_open(&pipe, 1);
    struct weir_channel_send sends[2];
    struct weir_channel_recv recvs[4];
    const uint32_t sent[] = {41, 42};
    uint32_t items[4] = {0};
    assert_int_equal(pipe_try_send(&pipe, 40), 0);
    for (int i = 0; i < 2; i++) {
        weir_task_detach(pipe_send(&pipe, &sends[i], &sent[i], i));
    }
    weir_channel_close(&pipe.channel, NULL); // parked senders are refused
    (void)test_turn_all(pipe.runtime);
    actor_expect(&pipe.log, 0, 1, -1);
    assert_int_equal(sends[0].future.result, WEIR_ECLOSED);
    assert_int_equal(sends[1].future.result, WEIR_ECLOSED);
    weir_task_detach(pipe_recv(&pipe, &recvs[0], &items[0], 2)); // what is inside comes out
    actor_expect(&pipe.log, 2, -1);
    assert_int_equal(items[0], 40);
    weir_task_detach(pipe_recv(&pipe, &recvs[1], &items[1], 3));
    actor_expect(&pipe.log, 3, -1);
    assert_int_equal(recvs[1].future.result, WEIR_ECLOSED);
    weir_task_detach(pipe_send(&pipe, &sends[0], &sent[0], 4));
    actor_expect(&pipe.log, 4, -1);
    assert_int_equal(sends[0].future.result, WEIR_ECLOSED);
    pipe_close(&pipe);

    // The last item is reserved when the channel closes: the others wait for what becomes of it.
    for (int taken = 0; taken < 2; taken++) {
        pipe_open(&pipe, 1);
        struct weir_handle handles[4];
        for (int i = 0; i < 3; i++) {
            handles[i] = pipe_recv(&pipe, &recvs[i], &items[i], i);
        }
        assert_int_equal(pipe_try_send(&pipe, 50), 0);
        weir_channel_close(&pipe.channel, NULL);
        assert_int_equal(pipe_try_recv(&pipe), -EAGAIN);
        if (!taken) {
            weir_task_cancel(handles[0]); // so it falls to 1
        }
        handles[3] = pipe_recv(&pipe, &recvs[3], &items[3], 3);
        assert_int_equal(pipe.log.count, taken ? 4 : 3);
        assert_int_equal(pipe.log.ids[0], taken ? 0 : 1);
        assert_int_equal(pipe.log.results[0], 0);
        assert_int_equal(items[taken ? 0 : 1], 50);
        for (int i = 1; i < pipe.log.count; i++) {
            assert_int_equal(pipe.log.results[i], WEIR_ECLOSED);
        }
        for (int i = 0; i < 4; i++) {
            weir_task_detach(handles[i]);
        }
        pipe_close(&pipe);
    }
}

// The runtime ends while senders, receivers and granted ones are there.
static void test_runtime_end(void **state)
{
    (void)state;
    struct pipe pipe;
    pipe_open(&pipe, 1);
    struct weir_channel_recv recvs[3];
    struct weir_channel_send sends[3];
    uint32_t items[3];
    const uint32_t sent = 1;
    for (int i = 0; i < 3; i++) {
        weir_task_detach(pipe_recv(&pipe, &recvs[i], &items[i], i));
    }
    assert_int_equal(pipe_try_send(&pipe, 0), 0); // reserved, ring full: the next senders park
    struct weir_future *futures[3];
    for (int i = 0; i < 3; i++) {
        weir_channel_send_init(&sends[i], &pipe.channel, &sent);
        futures[i] = &sends[i].future;
    }
    struct weir_context context = {.os = pipe.channel.senders.os, .budget = 9};
    assert_false(weir_poll_all(futures, 3, &context)); // a waker that names no task
    weir_drop(futures[1], &context);
    weir_drop(futures[0], &context);
    weir_runtime_destroy(pipe.runtime);
    weir_drop(&recvs[0].future, &context); // done already
    assert_null(pipe.channel.receivers.first);
    assert_int_equal(pipe.log.count, 0);
}

// ---- Two tasks and two channels ----

struct player {
    struct weir_future future;
    struct weir_channel *in, *out;
    struct weir_channel_send send;
    struct weir_channel_recv recv;
    uint64_t item, rounds;
    bool first;
    _Atomic uint64_t *done;
};

static enum weir_poll player_poll(struct weir_future *future, struct weir_context *context)
{
    struct player *me = (struct player *)future;
    weir_begin(me);
    for (; me->rounds > 0; me->rounds--) {
        if (me->first) {
            weir_channel_send_init(&me->send, me->out, &me->rounds);
            weir_await(me, context, &me->send);
        }
        weir_channel_recv_init(&me->recv, me->in, &me->item);
        weir_await(me, context, &me->recv);
        assert_int_equal(me->item, me->rounds);
        if (!me->first) {
            weir_channel_send_init(&me->send, me->out, &me->item);
            weir_await(me, context, &me->send);
        }
    }
    weir_return(me, 0);
    weir_exit(me);
    weir_drop(&me->send.future, context);
    weir_drop(&me->recv.future, context);
    atomic_fetch_add(me->done, 1);
    weir_end(me);
}

static void test_ping_pong(void **state)
{
    (void)state;
    for (uint32_t workers = 0; workers <= 4; workers = workers == 0 ? 1 : workers * 2) {
        struct weir_runtime *runtime = test_runtime_create(workers, NULL);
        struct weir_channel channels[2];
        uint64_t room[2];
        _Atomic uint64_t done = 0;
        for (int i = 0; i < 2; i++) {
            weir_channel_init(&channels[i], runtime, &room[i], sizeof room[i], 1);
        }
        for (int i = 0; i < 2; i++) {
            struct player player = {.future.poll = player_poll,
                                    .in = &channels[i],
                                    .out = &channels[1 - i],
                                    .rounds = test_times(20000),
                                    .first = i == 0,
                                    .done = &done};
            actor_spawn(runtime, &player);
        }
        test_wait_for(runtime, &done, 2);
        weir_runtime_destroy(runtime);
    }
}

// ---- Many senders, many receivers; some give up while they wait ----

enum { SENDERS = 6, RECEIVERS = 5, EACH_MAX = 20000 };

struct item {
    uint32_t sender, number;
};

struct crowd {
    struct weir_channel channel;
    struct item room[8];
    uint32_t each;
    bool giving_up;
    _Atomic uint64_t senders_done, receivers_done, received, confirmed, maybe, gave_up;
    _Atomic unsigned char seen[SENDERS][EACH_MAX];
    unsigned char sent[SENDERS][EACH_MAX]; // 1: surely
};

struct crowd_sender {
    struct weir_future future;
    struct crowd *crowd;
    struct weir_channel_send send;
    struct weir_timeout timeout;
    struct weir_sleep sleep;
    struct item item;
    uint64_t random;
};

static enum weir_poll crowd_sender_poll(struct weir_future *future, struct weir_context *context)
{
    struct crowd_sender *me = (struct crowd_sender *)future;
    weir_begin(me);
    for (; me->item.number < me->crowd->each; me->item.number++) {
        if (test_random(&me->random) % 4 == 0 &&
            weir_channel_try_send(&me->crowd->channel, context, &me->item) == 0) {
            me->crowd->sent[me->item.sender][me->item.number] = 1;
            continue;
        }
        if (me->crowd->giving_up && test_random(&me->random) % 64 == 0) {
            weir_sleep_init(&me->sleep, 400000); // so that the ring empties
            weir_await(me, context, &me->sleep);
        }
        weir_channel_send_init(&me->send, &me->crowd->channel, &me->item);
        if (me->crowd->giving_up && test_random(&me->random) % 2 == 0) {
            weir_timeout_init(&me->timeout, &me->send.future, test_random(&me->random) % 100000);
            weir_await(me, context, &me->timeout);
            if (me->timeout.future.result == WEIR_ETIMEOUT) {
                atomic_fetch_add(&me->crowd->gave_up, 1);
                continue; // perhaps sent, perhaps not
            }
        } else {
            weir_await(me, context, &me->send);
        }
        assert_int_equal(me->send.future.result, 0);
        me->crowd->sent[me->item.sender][me->item.number] = 1;
    }
    weir_return(me, 0);
    weir_exit(me);
    if (atomic_fetch_add(&me->crowd->senders_done, 1) + 1 == SENDERS) {
        weir_channel_close(&me->crowd->channel, context);
    }
    weir_end(me);
}

struct crowd_receiver {
    struct weir_future future;
    struct crowd *crowd;
    struct weir_channel_recv recv;
    struct weir_timeout timeout;
    struct weir_sleep sleep;
    struct item item;
    uint64_t random;
    uint32_t next[SENDERS]; // numbers of one sender rise
};

static void crowd_receive(struct crowd_receiver *me)
{
    assert_in_range(me->item.sender, 0, SENDERS - 1);
    assert_true(me->item.number >= me->next[me->item.sender]);
    me->next[me->item.sender] = me->item.number + 1;
    assert_int_equal(atomic_fetch_add(&me->crowd->seen[me->item.sender][me->item.number], 1), 0);
    atomic_fetch_add(&me->crowd->received, 1);
}

static enum weir_poll crowd_receiver_poll(struct weir_future *future, struct weir_context *context)
{
    struct crowd_receiver *me = (struct crowd_receiver *)future;
    weir_begin(me);
    for (;;) {
        if (me->crowd->giving_up && test_random(&me->random) % 64 == 0) {
            weir_sleep_init(&me->sleep, 400000); // so that the ring fills
            weir_await(me, context, &me->sleep);
        }
        if (test_random(&me->random) % 4 == 0 &&
            weir_channel_try_recv(&me->crowd->channel, context, &me->item) == 0) {
            crowd_receive(me);
            continue;
        }
        weir_channel_recv_init(&me->recv, &me->crowd->channel, &me->item);
        if (me->crowd->giving_up && test_random(&me->random) % 2 == 0) {
            weir_timeout_init(&me->timeout, &me->recv.future, test_random(&me->random) % 100000);
            weir_await(me, context, &me->timeout);
            if (me->timeout.future.result == WEIR_ETIMEOUT) {
                atomic_fetch_add(&me->crowd->gave_up, 1);
                continue; // and no item with it
            }
        } else {
            weir_await(me, context, &me->recv);
        }
        if (me->recv.future.result == WEIR_ECLOSED) {
            weir_return(me, 0);
        }
        crowd_receive(me);
    }
    weir_exit(me);
    atomic_fetch_add(&me->crowd->receivers_done, 1);
    weir_end(me);
}

// returns how often somebody gave up
static uint64_t crowd_run(uint32_t workers, uint32_t items_max, bool giving_up)
{
    static struct crowd crowd;
    memset(&crowd, 0, sizeof crowd);
    struct weir_runtime *runtime = test_runtime_create(workers, NULL);
    uint64_t times = test_times(EACH_MAX / 4);
    crowd.each = (uint32_t)times;
    crowd.giving_up = giving_up;
    weir_channel_init(&crowd.channel, runtime, crowd.room, sizeof crowd.room[0], items_max);
    uint64_t seed = test_seed();
    for (uint32_t i = 0; i < SENDERS; i++) {
        struct crowd_sender sender = {.future.poll = crowd_sender_poll,
                                      .crowd = &crowd,
                                      .item = {.sender = i},
                                      .random = test_random(&seed) | 1};
        actor_spawn(runtime, &sender);
    }
    for (uint32_t i = 0; i < RECEIVERS; i++) {
        struct crowd_receiver receiver = {
            .future.poll = crowd_receiver_poll, .crowd = &crowd, .random = test_random(&seed) | 1};
        actor_spawn(runtime, &receiver);
    }
    test_wait_for(runtime, &crowd.receivers_done, RECEIVERS);
    test_wait_for(runtime, &crowd.senders_done, SENDERS);
    uint64_t seen_count = 0;
    for (uint32_t i = 0; i < SENDERS; i++) {
        for (uint32_t number = 0; number < crowd.each; number++) {
            seen_count += crowd.seen[i][number];
            assert_true(crowd.sent[i][number] <= crowd.seen[i][number]); // surely sent: received
            assert_true(giving_up || crowd.sent[i][number] == 1);
        }
    }
    assert_int_equal(seen_count, crowd.received);
    weir_runtime_destroy(runtime);
    return crowd.gave_up;
}

static void test_crowd(void **state)
{
    (void)state;
    uint64_t gave_up = 0;
    for (uint32_t workers = 0; workers <= 4; workers = workers == 0 ? 1 : workers * 2) {
        for (uint32_t items_max = 1; items_max <= 8; items_max *= 8) {
            (void)crowd_run(workers, items_max, false);
            gave_up += crowd_run(workers, items_max, true);
        }
    }
    assert_true(gave_up > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_try),
        cmocka_unit_test(test_parked_senders),
        cmocka_unit_test(test_parked_receivers),
        cmocka_unit_test(test_everybody_waits),
        cmocka_unit_test(test_close),
        cmocka_unit_test(test_runtime_end),
        cmocka_unit_test(test_ping_pong),
        cmocka_unit_test(test_crowd),
    };
    return cmocka_run_group_tests_name("channel", tests, NULL, NULL);
}
