// Tests of the oneshot: both orders, both ends giving up, and threads that race.
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support_actor.h"

static void finish(struct weir_runtime *runtime)
{
    (void)test_turn_all(runtime);
    assert_int_equal(actor_tasks_live(runtime), 0);
    weir_runtime_destroy(runtime);
}

static void test_both_orders(void **state)
{
    (void)state;
    struct weir_runtime *runtime = test_runtime_create(0, NULL);
    struct actor_log log = {0};
    struct weir_oneshot oneshot;
    struct weir_oneshot_recv recv;
    for (int abandon = 0; abandon < 2; abandon++) {
        for (int late = 0; late < 2; late++) {
            weir_oneshot_init(&oneshot);
            weir_oneshot_recv_init(&recv, &oneshot);
            if (late) {
                weir_task_detach(actor_start(runtime, &recv.future, &log, 1));
                actor_expect(&log, -1);
            }
            if (abandon) {
                weir_oneshot_abandon(&oneshot, NULL);
            } else {
                assert_int_equal(weir_oneshot_send(&oneshot, NULL, INT64_MIN + late), 0);
            }
            if (!late) {
                weir_task_detach(actor_start(runtime, &recv.future, &log, 1));
            }
            (void)test_turn_all(runtime);
            actor_expect(&log, 1, -1);
            assert_int_equal(recv.future.result, abandon ? WEIR_ECLOSED : 0);
            assert_true(abandon || recv.value == INT64_MIN + late);
        }
    }
    finish(runtime);
}

static void test_dropped_receiver(void **state)
{
    (void)state;
    struct weir_runtime *runtime = test_runtime_create(0, NULL);
    struct weir_context context = {.budget = 1};
    struct actor_log log = {0};
    struct weir_oneshot oneshot;
    struct weir_oneshot_recv recv;

    weir_oneshot_init(&oneshot); // waiting
    weir_oneshot_recv_init(&recv, &oneshot);
    actor_cancel(runtime, actor_start(runtime, &recv.future, &log, 1), true);
    assert_int_equal(weir_oneshot_send(&oneshot, NULL, 5), WEIR_ECLOSED);

    weir_oneshot_init(&oneshot); // never polled
    weir_oneshot_recv_init(&recv, &oneshot);
    weir_drop(&recv.future, &context);
    assert_int_equal(recv.future.result, WEIR_ECANCELED);
    assert_int_equal(weir_oneshot_send(&oneshot, NULL, 5), WEIR_ECLOSED);

    weir_oneshot_init(&oneshot); // sent before, not seen
    weir_oneshot_recv_init(&recv, &oneshot);
    struct weir_handle handle = actor_start(runtime, &recv.future, &log, 1);
    assert_int_equal(weir_oneshot_send(&oneshot, NULL, 5), 0);
    actor_cancel(runtime, handle, true);
    actor_expect(&log, -1);

    weir_oneshot_init(&oneshot);
    weir_oneshot_recv_init(&recv, &oneshot);
    weir_drop(&recv.future, &context);
    weir_oneshot_abandon(&oneshot, NULL); // nobody left to tell
    finish(runtime);
}

static void send_twice(void *argument)
{
    struct weir_oneshot oneshot;
    (void)argument;
    weir_oneshot_init(&oneshot);
    (void)weir_oneshot_send(&oneshot, NULL, 1);
    (void)weir_oneshot_send(&oneshot, NULL, 2);
}

static void test_sending_twice_aborts(void **state)
{
    (void)state;
    test_expect_abort(send_twice, NULL);
}

// The receiver frees the oneshot as soon as it has the value: the sender must not touch it then.
struct receiver {
    struct weir_future future;
    struct weir_oneshot *oneshot;
    struct weir_oneshot_recv recv;
    struct weir_yield yield;
    int64_t expected;
    _Atomic uint64_t *done;
};

static enum weir_poll receiver_poll(struct weir_future *future, struct weir_context *context)
{
    struct receiver *me = (struct receiver *)future;
    weir_begin(me);
    weir_oneshot_recv_init(&me->recv, me->oneshot);
    if (me->expected % 3 == 0) {
        weir_yield_init(&me->yield);
        weir_await(me, context, &me->yield);
    }
    weir_await(me, context, &me->recv);
    if (me->expected % 5 == 0) {
        assert_int_equal(me->recv.future.result, WEIR_ECLOSED);
    } else {
        assert_int_equal(me->recv.future.result, 0);
        assert_true(me->recv.value == me->expected);
    }
    weir_return(me, 0);
    weir_exit(me);
    weir_drop(&me->recv.future, context);
    memset(me->oneshot, 0xEE, sizeof *me->oneshot);
    free(me->oneshot);
    atomic_fetch_add(me->done, 1);
    weir_end(me);
}

struct sender {
    struct weir_future future;
    struct weir_oneshot *oneshot;
    int64_t value;
};

static enum weir_poll sender_poll(struct weir_future *future, struct weir_context *context)
{
    struct sender *me = (struct sender *)future;
    if (me->value % 5 == 0) {
        weir_oneshot_abandon(me->oneshot, context);
    } else {
        (void)weir_oneshot_send(me->oneshot, context, me->value);
    }
    me->future.resume = WEIR_RESUME_DONE;
    return WEIR_READY;
}

static void race(uint32_t workers, bool outside)
{
    struct weir_runtime *runtime = test_runtime_create(workers, NULL);
    _Atomic uint64_t done = 0;
    uint64_t rounds = test_times(20000);
    for (uint64_t i = 0; i < rounds; i++) {
        struct weir_oneshot *oneshot = malloc(sizeof *oneshot);
        assert_non_null(oneshot);
        weir_oneshot_init(oneshot);
        struct receiver receiver = {.future.poll = receiver_poll,
                                    .oneshot = oneshot,
                                    .expected = (int64_t)i,
                                    .done = &done};
        struct sender sender = {
            .future.poll = sender_poll, .oneshot = oneshot, .value = (int64_t)i};
        actor_spawn(runtime, &receiver);
        if (!outside) {
            actor_spawn(runtime, &sender);
        } else if (i % 5 == 0) {
            weir_oneshot_abandon(oneshot, NULL);
        } else {
            (void)weir_oneshot_send(oneshot, NULL, (int64_t)i);
        }
    }
    test_wait_for(runtime, &done, rounds);
    actor_wait_all(runtime);
    weir_runtime_destroy(runtime);
}

static void test_race(void **state)
{
    (void)state;
    for (uint32_t workers = 1; workers <= 4; workers *= 2) {
        race(workers, false);
        race(workers, true);
    }
}

// One bare thread polls, another sends: the narrowest window, a great many times.
struct narrow {
    struct weir_runtime *runtime;
    struct weir_oneshot oneshot;
    _Atomic uint64_t round, sent;
    uint64_t rounds;
};

static void *narrow_send(void *argument)
{
    struct narrow *narrow = argument;
    for (uint64_t i = 1; i <= narrow->rounds; i++) {
        while (atomic_load(&narrow->round) != i) {
        }
        (void)weir_oneshot_send(&narrow->oneshot, NULL, (int64_t)i);
        atomic_store(&narrow->sent, i);
    }
    return NULL;
}

static void test_narrow_race(void **state)
{
    (void)state;
    struct narrow narrow = {.rounds = test_times(100000)};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, narrow_send, &narrow), 0);
    for (uint64_t i = 1; i <= narrow.rounds; i++) {
        struct weir_context context = {.budget = 1}; // its waker names no task
        struct weir_oneshot_recv recv;
        weir_oneshot_init(&narrow.oneshot);
        weir_oneshot_recv_init(&recv, &narrow.oneshot);
        atomic_store(&narrow.round, i);
        if (i % 4 == 0) {
            weir_drop(&recv.future, &context);
        } else {
            while (weir_future_poll(&recv.future, &context) != WEIR_READY) {
            }
            assert_true(recv.value == (int64_t)i);
        }
        while (atomic_load(&narrow.sent) != i) {
        }
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_orders),          cmocka_unit_test(test_dropped_receiver),
        cmocka_unit_test(test_sending_twice_aborts), cmocka_unit_test(test_race),
        cmocka_unit_test(test_narrow_race),
    };
    return cmocka_run_group_tests_name("oneshot", tests, NULL, NULL);
}
