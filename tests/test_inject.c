// The mailbox: order, halves, and that every task pushed by many threads is drawn exactly once.
#include "tests/support_runtime.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/inject.h"

static struct weir_mailbox *mailbox_make(void)
{
    struct weir_mailbox *mailbox = aligned_alloc(128, sizeof(struct weir_mailbox));
    assert_non_null(mailbox);
    memset(mailbox, 0, sizeof(*mailbox));
    return mailbox;
}

// Tasks are told apart by `result`, which the mailbox does not touch.
static void tasks_number(struct weir_task *tasks, int32_t count)
{
    memset(tasks, 0, sizeof(*tasks) * (size_t)count);
    for (int32_t i = 0; i < count; i++) {
        tasks[i].result = i;
    }
}

static void chain_check(struct weir_chain chain, int32_t first, uint32_t count)
{
    assert_int_equal(chain.count, count);
    if (count == 0) {
        assert_null(chain.first);
        return;
    }
    struct weir_task *task = chain.first;
    for (uint32_t i = 0; i < count; i++) {
        assert_non_null(task);
        assert_int_equal(task->result, first + (int32_t)i);
        if (i + 1 == count) {
            assert_ptr_equal(task, chain.last);
            assert_null(task->next);
        }
        task = task->next;
    }
}

static void test_order_and_shares(void **state)
{
    (void)state;
    struct weir_os os = weir_os_linux();
    struct weir_mailbox *mailbox = mailbox_make();
    struct weir_task tasks[20];
    tasks_number(tasks, 20);
    assert_false(weir_mailbox_occupied(mailbox));
    chain_check(weir_mailbox_draw(mailbox, &os, 10), 0, 0);
    for (int i = 0; i < 10; i++) {
        weir_mailbox_push(mailbox, &tasks[i]);
        assert_true(weir_mailbox_occupied(mailbox));
    }
    chain_check(weir_mailbox_draw(mailbox, &os, 0), 0, 0);
    chain_check(weir_mailbox_draw(mailbox, &os, 5), 0, 5);
    for (int i = 10; i < 13; i++) {
        weir_mailbox_push(mailbox, &tasks[i]); // behind the backlog
    }
    chain_check(weir_mailbox_draw(mailbox, &os, 2), 5, 2);
    chain_check(weir_mailbox_draw(mailbox, &os, 5), 7, 5);
    assert_true(weir_mailbox_occupied(mailbox));
    chain_check(weir_mailbox_draw(mailbox, &os, 100), 12, 1);
    assert_false(weir_mailbox_occupied(mailbox));
    chain_check(weir_mailbox_draw(mailbox, &os, 100), 0, 0);
    free(mailbox);
}

static void test_append(void **state)
{
    (void)state;
    struct weir_os os = weir_os_linux();
    struct weir_mailbox *mailbox = mailbox_make();
    struct weir_task tasks[8];
    tasks_number(tasks, 8);
    weir_mailbox_append(mailbox, &os, (struct weir_chain){NULL, NULL, 0});
    assert_false(weir_mailbox_occupied(mailbox));
    for (int i = 0; i < 6; i += 3) {
        tasks[i].next = &tasks[i + 1];
        tasks[i + 1].next = &tasks[i + 2];
        tasks[i + 2].next = NULL;
        weir_mailbox_append(mailbox, &os, (struct weir_chain){&tasks[i], &tasks[i + 2], 3});
    }
    assert_true(weir_mailbox_occupied(mailbox));
    weir_mailbox_push(mailbox, &tasks[6]);
    chain_check(weir_mailbox_draw(mailbox, &os, 4), 0, 4);
    chain_check(weir_mailbox_draw(mailbox, &os, UINT32_MAX), 4, 3);
    chain_check(weir_mailbox_draw(mailbox, &os, UINT32_MAX), 0, 0);
    free(mailbox);
}

static void append_broken(void *argument)
{
    struct weir_os os = weir_os_linux();
    struct weir_task tasks[2];
    tasks_number(tasks, 2);
    tasks[0].next = &tasks[1]; // the chain's last task has a successor
    weir_mailbox_append(argument, &os, (struct weir_chain){&tasks[0], &tasks[0], 1});
}

static void test_append_broken_chain_aborts(void **state)
{
    (void)state;
    struct weir_mailbox *mailbox = mailbox_make();
    test_expect_abort(append_broken, mailbox);
    free(mailbox);
}

// A random run against a plain list.
static void test_model(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    struct weir_os os = weir_os_linux();
    struct weir_mailbox *mailbox = mailbox_make();
    enum { TASKS = 64 };
    struct weir_task tasks[TASKS];
    tasks_number(tasks, TASKS);
    // Tasks go in and come out in one order, so the model is two positions.
    uint64_t in = 0, out = 0;
    for (uint64_t i = 0; i < test_times(300000); i++) {
        if (test_random(&random) % 2 == 0 && in - out < TASKS) {
            weir_mailbox_push(mailbox, &tasks[in++ % TASKS]);
        } else {
            uint32_t count_max = (uint32_t)(test_random(&random) % 12);
            uint32_t held = (uint32_t)(in - out);
            uint32_t expected = held < count_max ? held : count_max;
            struct weir_chain chain = weir_mailbox_draw(mailbox, &os, count_max);
            assert_int_equal(chain.count, expected);
            for (struct weir_task *task = chain.first; task != NULL; task = task->next) {
                assert_ptr_equal(task, &tasks[out++ % TASKS]);
            }
        }
        assert_int_equal(weir_mailbox_occupied(mailbox), in != out);
    }
    free(mailbox);
}

// ---- Many threads ----

#define PRODUCERS 4
#define DRAWERS 3

struct crowd {
    struct weir_os os;
    struct weir_mailbox *mailbox;
    struct weir_task *tasks; // producer p's are at p * per_producer
    int32_t per_producer;
    _Atomic uint8_t *seen;
    _Atomic uint64_t drawn;
};
struct member {
    struct crowd *crowd;
    int index;
    bool ordered; // the only drawer: then each producer's tasks come in order
};

static void *producer_main(void *argument)
{
    struct member *me = argument;
    struct crowd *crowd = me->crowd;
    struct weir_task *mine = &crowd->tasks[me->index * crowd->per_producer];
    uint64_t random = (uint64_t)me->index * 77 + 1;
    for (int32_t i = 0; i < crowd->per_producer;) {
        if (!me->ordered && test_random(&random) % 8 == 0 && i + 2 <= crowd->per_producer) {
            mine[i].next = &mine[i + 1];
            mine[i + 1].next = NULL;
            weir_mailbox_append(crowd->mailbox, &crowd->os,
                                (struct weir_chain){&mine[i], &mine[i + 1], 2});
            i += 2;
        } else {
            weir_mailbox_push(crowd->mailbox, &mine[i]);
            i++;
        }
    }
    return NULL;
}

static void *drawer_main(void *argument)
{
    struct member *me = argument;
    struct crowd *crowd = me->crowd;
    uint64_t random = (uint64_t)me->index * 99 + 1;
    int32_t next[PRODUCERS] = {0};
    while (atomic_load(&crowd->drawn) < (uint64_t)crowd->per_producer * PRODUCERS) {
        struct weir_chain chain = weir_mailbox_draw(crowd->mailbox, &crowd->os,
                                                    (uint32_t)(test_random(&random) % 40));
        uint32_t count = 0;
        for (struct weir_task *task = chain.first; task != NULL; task = task->next) {
            int32_t number = task->result;
            assert_int_equal(atomic_fetch_add(&crowd->seen[number], 1), 0);
            if (me->ordered) {
                int32_t producer = number / crowd->per_producer;
                assert_int_equal(number % crowd->per_producer, next[producer]);
                next[producer]++;
            }
            count++;
        }
        assert_int_equal(count, chain.count);
        atomic_fetch_add(&crowd->drawn, count);
    }
    return NULL;
}

static void crowd_run(int drawers)
{
    struct crowd crowd = {.os = weir_os_linux(), .mailbox = mailbox_make(),
                          .per_producer = (int32_t)test_times(150000)};
    int32_t all = crowd.per_producer * PRODUCERS;
    crowd.tasks = aligned_alloc(64, sizeof(struct weir_task) * (size_t)all);
    crowd.seen = calloc((size_t)all, 1);
    assert_true(crowd.tasks != NULL && crowd.seen != NULL);
    tasks_number(crowd.tasks, all);
    pthread_t threads[PRODUCERS + DRAWERS];
    struct member members[PRODUCERS + DRAWERS];
    for (int i = 0; i < PRODUCERS + drawers; i++) {
        members[i] = (struct member){&crowd, i, drawers == 1};
        pthread_create(&threads[i], NULL, i < PRODUCERS ? producer_main : drawer_main,
                       &members[i]);
    }
    for (int i = 0; i < PRODUCERS + drawers; i++) {
        pthread_join(threads[i], NULL);
    }
    for (int32_t i = 0; i < all; i++) {
        assert_int_equal(crowd.seen[i], 1);
    }
    assert_false(weir_mailbox_occupied(crowd.mailbox));
    free((void *)crowd.seen);
    free(crowd.tasks);
    free(crowd.mailbox);
}

static void test_fifo_per_producer(void **state)
{
    (void)state;
    crowd_run(1);
}

static void test_many_drawers(void **state)
{
    (void)state;
    crowd_run(DRAWERS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_shares),
        cmocka_unit_test(test_append),
        cmocka_unit_test(test_append_broken_chain_aborts),
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_fifo_per_producer),
        cmocka_unit_test(test_many_drawers),
    };
    return cmocka_run_group_tests_name("inject", tests, NULL, NULL);
}
