// The worker's loop piece by piece, on a host-driven runtime or with workers held still.
//
// Where a task is queued, how it overflows, and that idle workers learn of work.
#include "tests/support_runtime.h"

#include <pthread.h>
#include <string.h>

#include "runtime/limits.h"

// Notes the order in which tasks were polled.
struct order {
    uint32_t numbers[4096];
    uint32_t count;
};
struct noter {
    struct weir_future future;
    struct order *order;
    uint32_t number;
};

static enum weir_poll noter_poll(struct weir_future *future, struct weir_context *context)
{
    struct noter *me = (struct noter *)future;
    (void)context;
    assert_true(me->order->count < 4096);
    me->order->numbers[me->order->count++] = me->number;
    future->resume = WEIR_RESUME_DONE;
    return WEIR_READY;
}

static void noter_spawn(struct weir_runtime *runtime, struct order *order, uint32_t number,
                        unsigned flags)
{
    struct noter noter = {.future = {.poll = noter_poll}, .order = order, .number = number};
    assert_int_equal(weir_runtime_spawn(runtime, &noter.future, sizeof(noter), flags, NULL), 0);
}

// From outside: first in, first out, over many refills of the ring.
static void test_outside_order(void **state)
{
    (void)state;
    for (unsigned flags = 0; flags < 2; flags++) {
        struct weir_runtime *runtime = test_runtime_create(0, NULL);
        static struct order order;
        memset(&order, 0, sizeof(order));
        const uint32_t tasks = 4000;
        for (uint32_t i = 0; i < tasks; i++) {
            noter_spawn(runtime, &order, i, flags);
        }
        assert_int_equal(test_turn_all(runtime), tasks);
        assert_int_equal(order.count, tasks);
        for (uint32_t i = 0; i < tasks; i++) {
            assert_int_equal(order.numbers[i], i);
        }
        weir_runtime_destroy(runtime);
    }
}

// Spawns many from one poll: the last one is next, the others follow in order until the ring
// overflows, and each runs once.
struct burst {
    struct weir_future future;
    struct order *order;
    uint32_t count;
};

static enum weir_poll burst_poll(struct weir_future *future, struct weir_context *context)
{
    struct burst *me = (struct burst *)future;
    for (uint32_t i = 0; i < me->count; i++) {
        struct noter noter = {.future = {.poll = noter_poll}, .order = me->order, .number = i};
        assert_int_equal(weir_spawn(context, &noter.future, sizeof(noter), 0, NULL), 0);
    }
    future->resume = WEIR_RESUME_DONE;
    return WEIR_READY;
}

static void test_burst(void **state)
{
    (void)state;
    const uint32_t counts[] = {1, 2, 3, WEIR_QUEUE_SLOTS, WEIR_QUEUE_SLOTS + 1,
                               WEIR_QUEUE_SLOTS + 2, 4000};
    for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
        struct weir_runtime *runtime = test_runtime_create(0, NULL);
        static struct order order;
        memset(&order, 0, sizeof(order));
        struct burst burst = {.future = {.poll = burst_poll}, .order = &order, .count = counts[c]};
        assert_int_equal(weir_runtime_spawn(runtime, &burst.future, sizeof(burst), 0, NULL), 0);
        assert_int_equal(test_turn_all(runtime), counts[c] + 1);
        assert_int_equal(order.count, counts[c]);
        assert_int_equal(order.numbers[0], counts[c] - 1); // the next-task slot
        static bool seen[4096];
        memset(seen, 0, sizeof(seen));
        for (uint32_t i = 0; i < order.count; i++) {
            assert_false(seen[order.numbers[i]]);
            seen[order.numbers[i]] = true;
        }
        struct weir_runtime_stats stats;
        weir_runtime_stats(runtime, &stats);
        if (counts[c] <= WEIR_QUEUE_SLOTS + 1) {
            assert_int_equal(stats.overflowed, 0);
            for (uint32_t i = 1; i < order.count; i++) {
                assert_int_equal(order.numbers[i], i - 1);
            }
        } else {
            assert_true(stats.overflowed > 0);
        }
        assert_int_equal(stats.completed, counts[c] + 1);
        weir_runtime_destroy(runtime);
    }
}

// The work a busy worker is handed must reach an idle one: the blocked worker's poll ends only
// when somebody else has polled what it was given, in each of the ways there are.
enum handing { HAND_SPAWN_OUTSIDE, HAND_WAKE };

struct relay {
    _Atomic uint64_t polled, ready, done;
    struct weir_waker wakers[2];
};
struct receiver {
    struct weir_future future;
    struct relay *relay;
    uint32_t index;
};

static enum weir_poll receiver_poll(struct weir_future *future, struct weir_context *context)
{
    struct receiver *me = (struct receiver *)future;
    if (future->resume == WEIR_RESUME_EXIT) {
        future->resume = WEIR_RESUME_DONE;
        return WEIR_READY;
    }
    if (future->resume == WEIR_RESUME_START && me->index < 2) {
        future->resume = 1;
        me->relay->wakers[me->index] = context->waker;
        atomic_fetch_add(&me->relay->ready, 1);
        return WEIR_PENDING;
    }
    atomic_fetch_add(&me->relay->polled, 1);
    future->resume = WEIR_RESUME_DONE;
    return WEIR_READY;
}

struct giver {
    struct weir_future future;
    struct relay *relay;
    enum handing handing;
};

static enum weir_poll giver_poll(struct weir_future *future, struct weir_context *context)
{
    struct giver *me = (struct giver *)future;
    struct relay *relay = me->relay;
    struct receiver receiver = {.future = {.poll = receiver_poll}, .relay = relay, .index = 2};
    switch (me->handing) {
    case HAND_SPAWN_OUTSIDE:
        for (int i = 0; i < 2; i++) {
            assert_int_equal(weir_runtime_spawn(context->runtime, &receiver.future,
                                                sizeof(receiver), 0, NULL), 0);
        }
        break;
    case HAND_WAKE:
        weir_wake(relay->wakers[0]);
        weir_wake(relay->wakers[1]);
        break;
    }
    // Does not return before both have run: only another worker can do that.
    uint64_t limit_ns = test_now_ns() + UINT64_C(60000000000);
    while (atomic_load(&relay->polled) < 2) {
        if (test_now_ns() > limit_ns) {
            fail_msg("nobody came, handing %d", (int)me->handing);
        }
        test_pause_us(5);
    }
    atomic_fetch_add(&relay->done, 1);
    future->resume = WEIR_RESUME_DONE;
    return WEIR_READY;
}

static void test_idle_workers_learn_of_work(void **state)
{
    (void)state;
    for (uint32_t workers = 2; workers <= 4; workers++) {
        struct weir_runtime *runtime = test_runtime_create(workers, NULL);
        for (uint64_t round = 0; round < test_times(1500); round++) {
            struct relay relay;
            memset(&relay, 0, sizeof(relay));
            struct giver giver = {.future = {.poll = giver_poll}, .relay = &relay};
            giver.handing = round % 2 == 0 ? HAND_SPAWN_OUTSIDE : HAND_WAKE;
            for (uint32_t i = 0; giver.handing == HAND_WAKE && i < 2; i++) {
                struct receiver receiver = {.future = {.poll = receiver_poll}, .relay = &relay,
                                            .index = i};
                assert_int_equal(weir_runtime_spawn(runtime, &receiver.future, sizeof(receiver),
                                                    0, NULL), 0);
            }
            test_wait_for(runtime, &relay.ready, giver.handing == HAND_WAKE ? 2 : 0);
            assert_int_equal(weir_runtime_spawn(runtime, &giver.future, sizeof(giver), 0, NULL), 0);
            test_wait_for(runtime, &relay.done, 1);
        }
        weir_runtime_destroy(runtime);
    }
}

// Two foreign tasks in one mailbox, one busy worker: whoever takes the first of them must see to it
// that the second one is not left lying while a worker sleeps.
struct meeter {
    struct weir_future future;
    _Atomic uint64_t *met, *done;
    uint64_t wanted;
};

static enum weir_poll meeter_poll(struct weir_future *future, struct weir_context *context)
{
    struct meeter *me = (struct meeter *)future;
    (void)context;
    atomic_fetch_add(me->met, 1);
    uint64_t limit_ns = test_now_ns() + UINT64_C(60000000000);
    while (atomic_load(me->met) < me->wanted) {
        if (test_now_ns() > limit_ns) {
            fail_msg("a task lies in a queue while a worker sleeps");
        }
        test_pause_us(2);
    }
    atomic_fetch_add(me->done, 1);
    future->resume = WEIR_RESUME_DONE;
    return WEIR_READY;
}

static void test_all_workers_come(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    for (uint32_t workers = 2; workers <= 6; workers += 2) {
        struct weir_runtime *runtime = test_runtime_create(workers, NULL);
        for (uint64_t round = 0; round < test_times(1500); round++) {
            _Atomic uint64_t met = 0, done = 0;
            struct meeter meeter = {.future = {.poll = meeter_poll}, .met = &met, .done = &done,
                                    .wanted = workers};
            for (uint32_t i = 0; i < workers; i++) {
                assert_int_equal(weir_runtime_spawn(runtime, &meeter.future, sizeof(meeter), 0,
                                                    NULL), 0);
                if (test_random(&random) % 4 == 0) {
                    test_pause_us((uint32_t)(test_random(&random) % 60));
                }
            }
            while (atomic_load(&done) < workers) {
                test_pause_us(5);
            }
        }
        weir_runtime_destroy(runtime);
    }
}

// The accounts of idle workers come out even whenever all is quiet.
static void test_quiet_accounts(void **state)
{
    (void)state;
    for (uint32_t workers = 1; workers <= 8; workers *= 2) {
        struct weir_runtime *runtime = test_runtime_create(workers, NULL);
        static struct order order;
        for (uint64_t round = 0; round < test_times(300); round++) {
            order.count = 0;
            noter_spawn(runtime, &order, 1, round % 2);
            uint64_t all = ((uint64_t)1 << workers) - 1;
            struct weir_runtime_stats stats;
            do {
                weir_runtime_stats(runtime, &stats);
            } while (stats.completed <= round || atomic_load(&runtime->parked) != all ||
                     atomic_load(&runtime->searching) != 0);
            assert_int_equal(order.count, 1);
        }
        weir_runtime_destroy(runtime);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outside_order),
        cmocka_unit_test(test_burst),
        cmocka_unit_test(test_idle_workers_learn_of_work),
        cmocka_unit_test(test_all_workers_come),
        cmocka_unit_test(test_quiet_accounts),
    };
    return cmocka_run_group_tests_name("worker", tests, NULL, NULL);
}
