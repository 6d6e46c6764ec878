// Tests of the bounded channel: order, hand-over, reservations, closing, the runtime's end.
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_try),
        cmocka_unit_test(test_parked_senders),
        cmocka_unit_test(test_parked_receivers),
        cmocka_unit_test(test_everybody_waits),
        cmocka_unit_test(test_close),
        cmocka_unit_test(test_runtime_end),
    };
    return cmocka_run_group_tests_name("channel", tests, NULL, NULL);
}
