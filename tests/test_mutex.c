// Tests of the async mutex: exclusion, the order of the queue, no barging, and dropped waiters.
#include "tests/support_actor.h"

static struct weir_runtime *start(struct weir_mutex *mutex)
{
    struct weir_runtime *runtime = test_runtime_create(0, NULL);
    weir_mutex_init(mutex, runtime);
    return runtime;
}

static void finish(struct weir_runtime *runtime)
{
    (void)test_turn_all(runtime);
    assert_int_equal(actor_tasks_live(runtime), 0);
    weir_runtime_destroy(runtime);
}

static void test_order_without_barging(void **state)
{
    (void)state;
    struct weir_mutex mutex;
    struct weir_runtime *runtime = start(&mutex);
    struct actor_log log = {0};
    struct weir_mutex_lock locks[4];
    assert_true(weir_mutex_try_lock(&mutex));
    assert_false(weir_mutex_try_lock(&mutex));
    for (int i = 0; i < 3; i++) {
        weir_mutex_lock_init(&locks[i], &mutex);
        weir_task_detach(actor_start(runtime, &locks[i].future, &log, i));
    }
    actor_expect(&log, -1);
    weir_mutex_unlock(&mutex, NULL); // to 0, who has not been polled yet
    assert_false(weir_mutex_try_lock(&mutex));
    weir_mutex_lock_init(&locks[3], &mutex);
    weir_task_detach(actor_start(runtime, &locks[3].future, &log, 3));
    actor_expect(&log, 0, -1);
    for (int i = 1; i < 4; i++) {
        assert_false(weir_mutex_try_lock(&mutex));
        weir_mutex_unlock(&mutex, NULL);
        (void)test_turn_all(runtime);
        actor_expect(&log, i, -1);
    }
    weir_mutex_unlock(&mutex, NULL);
    assert_true(weir_mutex_try_lock(&mutex));
    weir_mutex_unlock(&mutex, NULL);
    finish(runtime);
}

static void test_dropped_waiters(void **state)
{
    (void)state;
    struct weir_mutex mutex;
    struct weir_runtime *runtime = start(&mutex);
    struct actor_log log = {0};
    struct weir_mutex_lock locks[4];
    struct weir_handle handles[4];
    assert_true(weir_mutex_try_lock(&mutex));
    for (int i = 0; i < 4; i++) {
        weir_mutex_lock_init(&locks[i], &mutex);
        handles[i] = actor_start(runtime, &locks[i].future, &log, i);
    }
    actor_cancel(runtime, handles[0], true); // waiting
    weir_mutex_unlock(&mutex, NULL);         // to 1 ...
    actor_cancel(runtime, handles[1], true); // ... who is gone: 2
    actor_expect(&log, 2, -1);
    weir_task_detach(handles[2]);
    weir_mutex_unlock(&mutex, NULL); // to 3, who is gone: free
    actor_cancel(runtime, handles[3], true);
    actor_expect(&log, -1);
    assert_true(weir_mutex_try_lock(&mutex));
    weir_mutex_unlock(&mutex, NULL);

    weir_mutex_lock_init(&locks[0], &mutex); // done and dropped: still locked, by its task
    weir_task_detach(actor_start(runtime, &locks[0].future, &log, 5));
    actor_expect(&log, 5, -1);
    assert_false(weir_mutex_try_lock(&mutex));
    weir_mutex_unlock(&mutex, NULL);
    finish(runtime);
}

static void unlock_unlocked(void *argument)
{
    struct weir_mutex mutex;
    struct weir_runtime *runtime = start(&mutex);
    (void)argument;
    weir_mutex_unlock(&mutex, NULL);
    weir_runtime_destroy(runtime);
}

static void test_unlock_of_unlocked_aborts(void **state)
{
    (void)state;
    test_expect_abort(unlock_unlocked, NULL);
}

// Waiters left behind at the runtime's end unlink themselves, in whatever order they go.
static void test_runtime_end(void **state)
{
    (void)state;
    struct weir_mutex mutex;
    struct weir_runtime *runtime = start(&mutex);
    struct actor_log log = {0};
    struct weir_mutex_lock locks[5];
    assert_true(weir_mutex_try_lock(&mutex));
    for (int i = 0; i < 5; i++) {
        weir_mutex_lock_init(&locks[i], &mutex);
        weir_task_detach(actor_start(runtime, &locks[i].future, &log, i));
    }
    weir_mutex_unlock(&mutex, NULL); // granted to one that will never be polled again
    weir_runtime_destroy(runtime);
    assert_null(mutex.waiters.first);
    assert_null(mutex.waiters.last);
    assert_false(mutex.locked);
    actor_expect(&log, -1);
}

// Exclusion across awaits, with plain memory that only the mutex protects.
struct shared {
    struct weir_mutex mutex;
    uint64_t plain, inside;
    _Atomic uint64_t gave_up;
};

struct locker {
    struct weir_future future;
    struct shared *shared;
    struct weir_mutex_lock lock;
    struct weir_timeout timeout;
    struct weir_yield yield;
    struct weir_sleep sleep;
    uint64_t random, rounds, before;
    bool held;
};

static enum weir_poll locker_poll(struct weir_future *future, struct weir_context *context)
{
    struct locker *me = (struct locker *)future;
    weir_begin(me);
    for (; me->rounds > 0; me->rounds--) {
        if (test_random(&me->random) % 8 != 0 || !weir_mutex_try_lock(&me->shared->mutex)) {
            weir_mutex_lock_init(&me->lock, &me->shared->mutex);
            weir_timeout_init(&me->timeout, &me->lock.future, test_random(&me->random) % 1000000);
            weir_await(me, context, &me->timeout);
            if (me->timeout.future.result == WEIR_ETIMEOUT) {
                atomic_fetch_add(&me->shared->gave_up, 1);
                continue;
            }
        }
        me->held = true;
        assert_int_equal(me->shared->inside++, 0);
        me->before = me->shared->plain;
        if (test_random(&me->random) % 2 == 0) {
            weir_yield_init(&me->yield);
            weir_await(me, context, &me->yield);
        }
        if (test_random(&me->random) % 256 == 0) { // long enough for others to give up
            weir_sleep_init(&me->sleep, 500000);
            weir_await(me, context, &me->sleep);
        }
        me->shared->plain = me->before + 1;
        assert_int_equal(--me->shared->inside, 0);
        me->held = false;
        weir_mutex_unlock(&me->shared->mutex, context);
    }
    weir_return(me, 0);
    weir_exit(me);
    weir_drop(&me->timeout.future, context);
    weir_drop(&me->sleep.future, context);
    if (me->held) {
        me->shared->inside--;
        weir_mutex_unlock(&me->shared->mutex, context);
    }
    weir_end(me);
}

// returns how often somebody gave up
static uint64_t lockers_run(uint32_t workers, bool cancelling)
{
    enum { LOCKERS = 16 };
    struct weir_runtime *runtime = test_runtime_create(workers, NULL);
    struct shared shared = {.plain = 0};
    weir_mutex_init(&shared.mutex, runtime);
    uint64_t seed = test_seed();
    uint64_t rounds = test_times(2000);
    struct weir_handle handles[LOCKERS];
    for (int i = 0; i < LOCKERS; i++) {
        struct locker locker = {.future.poll = locker_poll,
                                .shared = &shared,
                                .random = test_random(&seed) | 1,
                                .rounds = rounds};
        assert_int_equal(weir_runtime_spawn(runtime, &locker.future, sizeof locker,
                                            WEIR_SPAWN_STEALABLE, &handles[i]),
                         0);
    }
    for (int i = 0; i < LOCKERS; i++) {
        if (cancelling && i % 2 == 0) { // in the middle of whatever it does
            if (workers == 0) {
                (void)weir_turn(runtime, 100, 0);
            } else {
                test_pause_us((uint32_t)(test_random(&seed) % 300));
            }
            weir_task_cancel(handles[i]);
        }
        weir_task_detach(handles[i]);
    }
    actor_wait_all(runtime); // one that is cancelled before its first poll never runs its body
    assert_true(weir_mutex_try_lock(&shared.mutex)); // and with it `plain`
    if (!cancelling) {
        assert_int_equal(shared.plain + shared.gave_up, LOCKERS * rounds);
    }
    assert_null(shared.mutex.waiters.first);
    weir_runtime_destroy(runtime);
    return shared.gave_up;
}

static void test_exclusion(void **state)
{
    (void)state;
    uint64_t gave_up = 0;
    for (uint32_t workers = 0; workers <= 4; workers = workers == 0 ? 1 : workers * 2) {
        gave_up += lockers_run(workers, false);
        gave_up += lockers_run(workers, true);
    }
    assert_true(gave_up > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_without_barging),
        cmocka_unit_test(test_dropped_waiters),
        cmocka_unit_test(test_unlock_of_unlocked_aborts),
        cmocka_unit_test(test_runtime_end),
        cmocka_unit_test(test_exclusion),
    };
    return cmocka_run_group_tests_name("mutex", tests, NULL, NULL);
}
