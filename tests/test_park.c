// Parking: every state, and that no token is ever lost.
#include "tests/support_runtime.h"

#include <errno.h>
#include <pthread.h>

#include "runtime/park.h"

static uint32_t park_state(struct weir_parker *parker)
{
    return atomic_load(&parker->state);
}

static void test_states(void **state)
{
    (void)state;
    struct counting_os counting;
    counting_os_init(&counting);
    struct weir_poller poller;
    assert_int_equal(counting.os.poller_open(counting.os.self, &poller), 0);
    const enum weir_park_state hows[] = {WEIR_PARK_FUTEX, WEIR_PARK_POLLER};
    for (int i = 0; i < 2; i++) {
        struct weir_parker parker = {0};
        atomic_store(&counting.futex_wakes, 0);
        atomic_store(&counting.poller_wakes, 0);
        assert_true(weir_park_begin(&parker, hows[i]));
        assert_int_equal(park_state(&parker), hows[i]);
        assert_true(weir_unpark(&parker, &counting.os, &poller)); // asleep: a system call
        assert_int_equal(atomic_load(&counting.futex_wakes), hows[i] == WEIR_PARK_FUTEX);
        assert_int_equal(atomic_load(&counting.poller_wakes), hows[i] == WEIR_PARK_POLLER);
        assert_int_equal(park_state(&parker), WEIR_PARK_TOKEN);
        assert_false(weir_unpark(&parker, &counting.os, &poller)); // tokens do not add up
        weir_park_end(&parker);
        assert_int_equal(park_state(&parker), WEIR_PARK_RUNNING);
        assert_false(weir_unpark(&parker, &counting.os, &poller)); // awake: no system call
        assert_int_equal(atomic_load(&counting.futex_wakes) + atomic_load(&counting.poller_wakes),
                         1);
        assert_false(weir_park_begin(&parker, hows[i])); // uses the token up
        assert_int_equal(park_state(&parker), WEIR_PARK_RUNNING);
        assert_true(weir_park_begin(&parker, hows[i]));
        weir_park_end(&parker); // nobody unparked it: a deadline, or an event
        assert_int_equal(park_state(&parker), WEIR_PARK_RUNNING);
    }
    counting.os.poller_close(counting.os.self, &poller);
}

static void begin_twice(void *argument)
{
    assert_true(weir_park_begin(argument, WEIR_PARK_FUTEX));
}

static void begin_awake(void *argument)
{
    assert_true(weir_park_begin(argument, WEIR_PARK_RUNNING));
}

static void unpark_garbage(void *argument)
{
    struct weir_os os = weir_os_linux();
    atomic_store(&((struct weir_parker *)argument)->state, 77);
    (void)weir_unpark(argument, &os, NULL);
}

static void test_impossible(void **state)
{
    (void)state;
    struct weir_parker parker = {0};
    test_expect_abort(begin_awake, &parker);
    assert_true(weir_park_begin(&parker, WEIR_PARK_POLLER));
    test_expect_abort(begin_twice, &parker);
    test_expect_abort(unpark_garbage, &parker);
}

static void test_deadline(void **state)
{
    (void)state;
    struct weir_os os = weir_os_linux();
    struct weir_parker parker = {0};
    uint64_t begin_ns = test_now_ns();
    assert_true(weir_park_begin(&parker, WEIR_PARK_FUTEX));
    weir_park_futex(&parker, &os, begin_ns + 20000000);
    assert_true(test_now_ns() >= begin_ns + 20000000);
    assert_int_equal(park_state(&parker), WEIR_PARK_RUNNING);
    assert_true(weir_park_begin(&parker, WEIR_PARK_FUTEX));
    weir_park_futex(&parker, &os, 1); // long past
    assert_int_equal(park_state(&parker), WEIR_PARK_RUNNING);
}

// Two threads play ping-pong: each parks until the other has unparked it. A lost token hangs.
struct pong {
    struct weir_os os;
    struct weir_poller poller;
    struct weir_parker parkers[2];
    _Atomic uint64_t balls[2];
    uint64_t rounds;
    bool use_poller; // of player 0
};
struct player {
    struct pong *pong;
    int side;
};

static void player_sleep(struct pong *pong, int side)
{
    struct weir_parker *parker = &pong->parkers[side];
    if (side == 0 && pong->use_poller) {
        if (weir_park_begin(parker, WEIR_PARK_POLLER)) {
            struct weir_os_event event;
            int events = pong->os.poller_wait(pong->os.self, &pong->poller, &event, 1, WEIR_NEVER);
            assert_int_equal(events, 0);
            weir_park_end(parker);
        }
    } else if (weir_park_begin(parker, WEIR_PARK_FUTEX)) {
        weir_park_futex(parker, &pong->os, WEIR_NEVER);
    }
}

static void *player_main(void *argument)
{
    struct player *me = argument;
    struct pong *pong = me->pong;
    for (uint64_t round = 1; round <= pong->rounds; round++) {
        // Relaxed on purpose: the token alone must carry the ball.
        while (atomic_load_explicit(&pong->balls[me->side], memory_order_relaxed) < round) {
            player_sleep(pong, me->side);
        }
        atomic_store_explicit(&pong->balls[1 - me->side], round + (me->side == 0 ? 0 : 1),
                              memory_order_relaxed);
        (void)weir_unpark(&pong->parkers[1 - me->side], &pong->os, &pong->poller);
    }
    return NULL;
}

static void test_ping_pong(void **state)
{
    (void)state;
    for (int use_poller = 0; use_poller < 2; use_poller++) {
        struct pong pong = {.os = weir_os_linux(), .rounds = test_times(40000),
                            .use_poller = use_poller != 0};
        assert_int_equal(pong.os.poller_open(pong.os.self, &pong.poller), 0);
        atomic_store(&pong.balls[0], 1);
        struct player players[2] = {{&pong, 0}, {&pong, 1}};
        pthread_t threads[2];
        for (int i = 0; i < 2; i++) {
            pthread_create(&threads[i], NULL, player_main, &players[i]);
        }
        for (int i = 0; i < 2; i++) {
            pthread_join(threads[i], NULL);
        }
        assert_int_equal(pong.balls[0], pong.rounds + 1);
        pong.os.poller_close(pong.os.self, &pong.poller);
    }
}

// Many wakers, one sleeper, which sleeps in either way: everything published before an unpark is
// seen before the sleeper sleeps for good.
struct crowd {
    struct weir_os os;
    struct weir_poller poller;
    struct weir_parker parker;
    _Atomic uint64_t published[4];
    uint64_t times;
};
struct crowd_member {
    struct crowd *crowd;
    int index;
};

static void *crowd_main(void *argument)
{
    struct crowd_member *me = argument;
    for (uint64_t i = 0; i < me->crowd->times; i++) {
        atomic_fetch_add_explicit(&me->crowd->published[me->index], 1, memory_order_relaxed);
        (void)weir_unpark(&me->crowd->parker, &me->crowd->os, &me->crowd->poller);
    }
    return NULL;
}

static void test_crowd(void **state)
{
    (void)state;
    struct crowd crowd = {.os = weir_os_linux(), .times = test_times(200000)};
    assert_int_equal(crowd.os.poller_open(crowd.os.self, &crowd.poller), 0);
    struct crowd_member members[4];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        members[i] = (struct crowd_member){&crowd, i};
        pthread_create(&threads[i], NULL, crowd_main, &members[i]);
    }
    for (uint64_t sleeps = 0;; sleeps++) {
        uint64_t sum = 0;
        for (int i = 0; i < 4; i++) {
            sum += atomic_load_explicit(&crowd.published[i], memory_order_relaxed);
        }
        if (sum == 4 * crowd.times) {
            break;
        }
        if (sleeps % 2 == 0) {
            if (weir_park_begin(&crowd.parker, WEIR_PARK_FUTEX)) {
                weir_park_futex(&crowd.parker, &crowd.os, WEIR_NEVER);
            }
        } else if (weir_park_begin(&crowd.parker, WEIR_PARK_POLLER)) {
            struct weir_os_event event;
            (void)crowd.os.poller_wait(crowd.os.self, &crowd.poller, &event, 1, WEIR_NEVER);
            weir_park_end(&crowd.parker);
        }
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    crowd.os.poller_close(crowd.os.self, &crowd.poller);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_states),   cmocka_unit_test(test_impossible),
        cmocka_unit_test(test_deadline), cmocka_unit_test(test_ping_pong),
        cmocka_unit_test(test_crowd),
    };
    return cmocka_run_group_tests_name("park", tests, NULL, NULL);
}
