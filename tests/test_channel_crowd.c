// Tests of the bounded channel between tasks: nothing is lost or doubled, also when some give up.
#include <string.h>

#include "tests/support_actor.h"

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
        cmocka_unit_test(test_ping_pong),
        cmocka_unit_test(test_crowd),
    };
    return cmocka_run_group_tests_name("channel_crowd", tests, NULL, NULL);
}
