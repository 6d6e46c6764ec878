// Tests of notify: the permit, the order, what a dropped waiter passes on, and a baton race.
#include "tests/support_actor.h"

#define ALL_WORKERS(workers)                                                                       \
    for (uint32_t workers = 0; workers <= 4; workers = workers == 0 ? 1 : workers * 2)

static void finish(struct weir_runtime *runtime)
{
    (void)test_turn_all(runtime);
    assert_int_equal(actor_tasks_live(runtime), 0);
    weir_runtime_destroy(runtime);
}

static void test_permit_is_kept_once(void **state)
{
    (void)state;
    struct weir_runtime *runtime = test_runtime_create(0, NULL);
    struct weir_notify notify;
    weir_notify_init(&notify, runtime);
    struct actor_log log = {0};
    struct weir_notified waits[3];
    weir_notify_one(&notify, NULL);
    weir_notify_one(&notify, NULL);
    for (int i = 0; i < 2; i++) {
        weir_notified_init(&waits[i], &notify);
    }
    weir_task_detach(actor_start(runtime, &waits[0].future, &log, 0));
    struct weir_handle second = actor_start(runtime, &waits[1].future, &log, 1);
    actor_expect(&log, 0, -1);
    weir_notify_all(&notify, NULL);
    (void)test_turn_all(runtime);
    actor_expect(&log, 1, -1);
    weir_task_detach(second);

    weir_notify_all(&notify, NULL); // leaves nothing
    weir_notified_init(&waits[2], &notify);
    struct weir_handle third = actor_start(runtime, &waits[2].future, &log, 2);
    actor_expect(&log, -1);
    actor_cancel(runtime, third, true);
    assert_null(notify.waiters.first);
    assert_null(notify.waiters.last);
    assert_false(notify.permit);
    finish(runtime);
}

static void test_order_and_all(void **state)
{
    (void)state;
    struct weir_runtime *runtime = test_runtime_create(0, NULL);
    struct weir_notify notify;
    weir_notify_init(&notify, runtime);
    struct actor_log log = {0};
    struct weir_notified waits[12];
    for (int i = 0; i < 12; i++) {
        weir_notified_init(&waits[i], &notify);
        weir_task_detach(actor_start(runtime, &waits[i].future, &log, i));
    }
    weir_notify_one(&notify, NULL);
    (void)test_turn_all(runtime);
    actor_expect(&log, 0, -1);
    weir_notify_one(&notify, NULL);
    weir_notify_one(&notify, NULL);
    (void)test_turn_all(runtime);
    assert_int_equal(log.count, 2);
    assert_int_equal(log.ids[0] + log.ids[1], 3);
    log.count = 0;
    weir_notify_all(&notify, NULL); // more than are woken outside of the lock
    (void)test_turn_all(runtime);
    assert_int_equal(log.count, 9);
    finish(runtime);
}

static void test_drop_passes_on(void **state)
{
    (void)state;
    struct weir_runtime *runtime = test_runtime_create(0, NULL);
    struct weir_notify notify;
    weir_notify_init(&notify, runtime);
    struct actor_log log = {0};
    struct weir_notified waits[5];
    struct weir_handle handles[5];
    for (int i = 0; i < 5; i++) {
        weir_notified_init(&waits[i], &notify);
        handles[i] = actor_start(runtime, &waits[i].future, &log, i);
    }
    actor_cancel(runtime, handles[1], true); // waiting, in the middle
    actor_cancel(runtime, handles[4], true); // the last, and another in its place
    weir_notified_init(&waits[4], &notify);
    handles[4] = actor_start(runtime, &waits[4].future, &log, 4);
    weir_notify_one(&notify, NULL);          // chooses 0 ...
    actor_cancel(runtime, handles[0], true); // ... who goes before it knows: 2
    actor_expect(&log, 2, -1);
    weir_task_detach(handles[2]);
    actor_cancel(runtime, handles[3], true);
    weir_notify_one(&notify, NULL);
    (void)test_turn_all(runtime);
    actor_expect(&log, 4, -1);
    weir_task_detach(handles[4]);
    weir_notified_init(&waits[1], &notify);
    handles[1] = actor_start(runtime, &waits[1].future, &log, 1);
    weir_notify_one(&notify, NULL); // the only one, who goes too: the permit
    actor_cancel(runtime, handles[1], true);
    actor_expect(&log, -1);
    assert_true(notify.permit);
    weir_notified_init(&waits[0], &notify);
    weir_task_detach(actor_start(runtime, &waits[0].future, &log, 7));
    actor_expect(&log, 7, -1);

    for (int i = 0; i < 2; i++) {
        weir_notified_init(&waits[i], &notify);
        handles[i] = actor_start(runtime, &waits[i].future, &log, i);
    }
    weir_notify_all(&notify, NULL);
    weir_notified_init(&waits[2], &notify);
    actor_cancel(runtime, handles[0], false);
    actor_cancel(runtime, handles[1], false);
    weir_task_detach(actor_start(runtime, &waits[2].future, &log, 2));
    actor_expect(&log, -1); // nothing to pass on: all were told
    assert_false(notify.permit);
    weir_notify_one(&notify, NULL);
    (void)test_turn_all(runtime);
    actor_expect(&log, 2, -1);
    finish(runtime);
}

// Always ready, without end: its neighbour must get in between.
struct greedy {
    struct weir_future future;
    struct weir_notify *notify;
    struct weir_notified notified;
    uint64_t *rounds;
    const _Atomic uint64_t *stop;
};

static enum weir_poll greedy_poll(struct weir_future *future, struct weir_context *context)
{
    struct greedy *me = (struct greedy *)future;
    weir_begin(me);
    while (atomic_load(me->stop) == 0) {
        (*me->rounds)++;
        weir_notify_one(me->notify, context);
        weir_notified_init(&me->notified, me->notify);
        weir_await(me, context, &me->notified);
    }
    weir_return(me, 0);
    weir_exit(me);
    weir_drop(&me->notified.future, context);
    weir_end(me);
}

struct stopper {
    struct weir_future future;
    struct weir_yield yield;
    uint64_t turns;
    _Atomic uint64_t *stop;
};

static enum weir_poll stopper_poll(struct weir_future *future, struct weir_context *context)
{
    struct stopper *me = (struct stopper *)future;
    weir_begin(me);
    for (; me->turns > 0; me->turns--) {
        weir_yield_init(&me->yield);
        weir_await(me, context, &me->yield);
    }
    atomic_store(me->stop, 1);
    weir_return(me, 0);
    weir_exit(me);
    weir_end(me);
}

static void test_ready_spends_budget(void **state)
{
    (void)state;
    struct weir_runtime *runtime = test_runtime_create(0, NULL);
    struct weir_notify notify;
    weir_notify_init(&notify, runtime);
    _Atomic uint64_t stop = 0;
    uint64_t rounds = 0;
    struct stopper stopper = {.future.poll = stopper_poll, .turns = 20, .stop = &stop};
    struct greedy greedy = {
        .future.poll = greedy_poll, .notify = &notify, .rounds = &rounds, .stop = &stop};
    actor_spawn(runtime, &greedy);
    (void)weir_turn(runtime, 1, 0);
    assert_true(rounds > 1);
    actor_spawn(runtime, &stopper);
    for (int i = 0; i < 1000 && atomic_load(&stop) == 0; i++) {
        (void)weir_turn(runtime, 10, 0);
    }
    assert_int_equal(stop, 1);
    assert_true(rounds <= 500 * (WEIR_BUDGET + 1));
    finish(runtime);
}

// One baton for many runners, who also give up and come back all the time. If a notification were
// lost nobody would run any more; were it doubled, two would hold the baton.
struct runner {
    struct weir_future future;
    struct weir_notify *notify;
    struct weir_notified notified;
    struct weir_timeout timeout;
    struct weir_yield yield;
    struct weir_sleep sleep;
    uint64_t random;
    _Atomic uint64_t *handed, *holders, *gave_up;
    uint64_t handed_max;
};

static enum weir_poll runner_poll(struct weir_future *future, struct weir_context *context)
{
    struct runner *me = (struct runner *)future;
    weir_begin(me);
    while (atomic_load(me->handed) < me->handed_max) {
        weir_notified_init(&me->notified, me->notify);
        weir_timeout_init(&me->timeout, &me->notified.future, test_random(&me->random) % 300000);
        weir_await(me, context, &me->timeout);
        if (me->timeout.future.result == WEIR_ETIMEOUT) {
            atomic_fetch_add(me->gave_up, 1);
            continue;
        }
        assert_int_equal(atomic_fetch_add(me->holders, 1), 0);
        if (test_random(&me->random) % 4 == 0) {
            weir_yield_init(&me->yield);
            weir_await(me, context, &me->yield);
        }
        if (test_random(&me->random) % 64 == 0) { // long enough for others to give up
            weir_sleep_init(&me->sleep, 200000);
            weir_await(me, context, &me->sleep);
        }
        assert_int_equal(atomic_fetch_sub(me->holders, 1), 1);
        atomic_fetch_add(me->handed, 1);
        weir_notify_one(me->notify, context);
    }
    weir_return(me, 0);
    weir_exit(me);
    weir_drop(&me->timeout.future, context);
    weir_end(me);
}

static void test_baton(void **state)
{
    (void)state;
    _Atomic uint64_t gave_up = 0;
    ALL_WORKERS(workers)
    {
        struct weir_runtime *runtime = test_runtime_create(workers, NULL);
        struct weir_notify notify;
        weir_notify_init(&notify, runtime);
        _Atomic uint64_t handed = 0, holders = 0;
        uint64_t seed = test_seed();
        for (int i = 0; i < 20; i++) {
            struct runner runner = {.future.poll = runner_poll,
                                    .notify = &notify,
                                    .random = test_random(&seed) | 1,
                                    .handed = &handed,
                                    .holders = &holders,
                                    .gave_up = &gave_up,
                                    .handed_max = test_times(20000)};
            actor_spawn(runtime, &runner);
        }
        weir_notify_one(&notify, NULL);
        test_wait_for(runtime, &handed, test_times(20000));
        actor_wait_all(runtime);
        weir_runtime_destroy(runtime);
    }
    assert_true(gave_up > 0);
}

// Notified from a thread that is no worker, until each waiter has had its share.
struct listener {
    struct weir_future future;
    struct weir_notify *notify;
    struct weir_notified notified;
    uint64_t rounds;
    _Atomic uint64_t *heard;
};

static enum weir_poll listener_poll(struct weir_future *future, struct weir_context *context)
{
    struct listener *me = (struct listener *)future;
    weir_begin(me);
    for (; me->rounds > 0; me->rounds--) {
        weir_notified_init(&me->notified, me->notify);
        weir_await(me, context, &me->notified);
        atomic_fetch_add(me->heard, 1);
    }
    weir_return(me, 0);
    weir_exit(me);
    weir_drop(&me->notified.future, context);
    weir_end(me);
}

static void test_notified_from_outside(void **state)
{
    (void)state;
    for (uint32_t workers = 1; workers <= 4; workers *= 2) {
        struct weir_runtime *runtime = test_runtime_create(workers, NULL);
        struct weir_notify notify;
        weir_notify_init(&notify, runtime);
        _Atomic uint64_t heard = 0;
        for (int i = 0; i < 10; i++) {
            struct listener listener = {
                .future.poll = listener_poll, .notify = &notify, .rounds = 100, .heard = &heard};
            actor_spawn(runtime, &listener);
        }
        for (uint64_t i = 0; actor_tasks_live(runtime) != 0; i++) {
            if (i % 7 == 0) {
                weir_notify_all(&notify, NULL);
            } else {
                weir_notify_one(&notify, NULL);
            }
            assert_true(i < 100000000);
        }
        assert_int_equal(heard, 1000);
        weir_runtime_destroy(runtime);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_permit_is_kept_once),
        cmocka_unit_test(test_order_and_all),
        cmocka_unit_test(test_drop_passes_on),
        cmocka_unit_test(test_ready_spends_budget),
        cmocka_unit_test(test_baton),
        cmocka_unit_test(test_notified_from_outside),
    };
    return cmocka_run_group_tests_name("notify", tests, NULL, NULL);
}
