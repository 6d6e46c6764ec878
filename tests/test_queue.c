// The work-stealing ring: against a model, at the wrap of its positions, and under thieves.
#include "tests/support_runtime.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/queue.h"

#define SLOTS ((uint32_t)WEIR_QUEUE_SLOTS)

// Positions just before the wrap of 32 bits, and elsewhere.
static const uint32_t starts[] = {0, 1000, UINT32_MAX - SLOTS / 2, UINT32_MAX};
#define STARTS (sizeof(starts) / sizeof(starts[0]))

static struct weir_queue *queue_make(uint32_t start)
{
    struct weir_queue *queue = aligned_alloc(128, sizeof(struct weir_queue));
    assert_non_null(queue);
    memset(queue, 0, sizeof(*queue));
    atomic_store(&queue->head, (uint64_t)start << 32 | start);
    atomic_store(&queue->tail, start);
    return queue;
}

static struct weir_task *tasks_make(uint32_t count)
{
    struct weir_task *tasks = aligned_alloc(64, sizeof(struct weir_task) * count);
    assert_non_null(tasks);
    memset(tasks, 0, sizeof(*tasks) * count);
    for (uint32_t i = 0; i < count; i++) {
        tasks[i].result = (int32_t)i;
    }
    return tasks;
}

static void test_first_in_first_out(void **state)
{
    (void)state;
    struct weir_task *tasks = tasks_make(SLOTS + 1);
    for (size_t s = 0; s < STARTS; s++) {
        struct weir_queue *queue = queue_make(starts[s]);
        assert_null(weir_queue_pop_owner(queue));
        assert_int_equal(weir_queue_room_owner(queue), SLOTS);
        for (int lap = 0; lap < 4; lap++) { // where others steal, and where nobody does
            struct weir_task *(*pop)(struct weir_queue * queue) =
                lap % 2 == 0 ? weir_queue_pop_owner : weir_queue_pop_alone;
            for (uint32_t i = 0; i < SLOTS; i++) {
                assert_int_equal(weir_queue_count(queue), i);
                assert_true(weir_queue_push_owner(queue, &tasks[i]));
                assert_int_equal(weir_queue_room_owner(queue), SLOTS - i - 1);
            }
            assert_false(weir_queue_push_owner(queue, &tasks[SLOTS]));
            weir_queue_publish_owner(queue);
            assert_int_equal(weir_queue_count(queue), SLOTS);
            for (uint32_t i = 0; i < SLOTS; i++) {
                assert_ptr_equal(pop(queue), &tasks[i]);
            }
            assert_null(pop(queue));
        }
        free(queue);
    }
    free(tasks);
}

static void test_shed(void **state)
{
    (void)state;
    struct weir_task *tasks = tasks_make(SLOTS);
    for (size_t s = 0; s < STARTS; s++) {
        struct weir_queue *queue = queue_make(starts[s]);
        assert_int_equal(weir_queue_shed_owner(queue).count, 0);
        for (uint32_t i = 0; i < SLOTS / 2 - 1; i++) {
            assert_true(weir_queue_push_owner(queue, &tasks[i]));
        }
        assert_int_equal(weir_queue_shed_owner(queue).count, 0); // less than half
        for (uint32_t i = SLOTS / 2 - 1; i < SLOTS; i++) {
            assert_true(weir_queue_push_owner(queue, &tasks[i]));
        }
        struct weir_chain chain = weir_queue_shed_owner(queue);
        assert_int_equal(chain.count, SLOTS / 2);
        struct weir_task *task = chain.first;
        for (uint32_t i = 0; i < SLOTS / 2; i++) {
            assert_ptr_equal(task, &tasks[i]);
            if (i == SLOTS / 2 - 1) {
                assert_ptr_equal(task, chain.last);
            }
            task = task->next;
        }
        assert_null(task);
        assert_int_equal(weir_queue_room_owner(queue), SLOTS / 2);
        for (uint32_t i = SLOTS / 2; i < SLOTS; i++) {
            assert_ptr_equal(weir_queue_pop_owner(queue), &tasks[i]);
        }
        free(queue);
    }
    free(tasks);
}

static void test_steal_takes_the_older_half(void **state)
{
    (void)state;
    struct weir_task *tasks = tasks_make(SLOTS);
    for (size_t s = 0; s < STARTS; s++) {
        for (uint32_t held = 0; held <= SLOTS; held++) {
            struct weir_queue *from = queue_make(starts[s]);
            struct weir_queue *to = queue_make(starts[(s + 1) % STARTS]);
            for (uint32_t i = 0; i < held; i++) {
                assert_true(weir_queue_push_owner(from, &tasks[i]));
            }
            uint32_t half = held - held / 2;
            struct weir_task *task = weir_queue_steal(from, to);
            if (held == 0) {
                assert_null(task);
            } else {
                assert_ptr_equal(task, &tasks[half - 1]);
                assert_int_equal(weir_queue_count(to), half - 1);
                assert_int_equal(weir_queue_count(from), held - half);
                assert_int_equal(weir_queue_room_owner(from), SLOTS - (held - half));
            }
            for (uint32_t i = 0; i + 1 < half; i++) {
                assert_ptr_equal(weir_queue_pop_owner(to), &tasks[i]);
            }
            assert_null(weir_queue_pop_owner(to));
            for (uint32_t i = half; i < held; i++) {
                assert_ptr_equal(weir_queue_pop_owner(from), &tasks[i]);
            }
            assert_null(weir_queue_pop_owner(from));
            free(from);
            free(to);
        }
    }
    free(tasks);
}

static void test_steal_needs_room(void **state)
{
    (void)state;
    struct weir_task *tasks = tasks_make(2 * SLOTS);
    struct weir_queue *from = queue_make(0);
    struct weir_queue *to = queue_make(0);
    assert_true(weir_queue_push_owner(from, &tasks[0]));
    for (uint32_t i = 0; i <= SLOTS / 2; i++) {
        assert_true(weir_queue_push_owner(to, &tasks[SLOTS + i]));
    }
    assert_null(weir_queue_steal(from, to)); // more than half full
    assert_non_null(weir_queue_pop_owner(to));
    assert_ptr_equal(weir_queue_steal(from, to), &tasks[0]);
    free(from);
    free(to);
    free(tasks);
}

// The states that a thief in the middle of copying leaves, made by hand.
static void test_thief_at_work(void **state)
{
    (void)state;
    struct weir_task *tasks = tasks_make(SLOTS + 1);
    for (size_t s = 0; s < STARTS; s++) {
        uint32_t start = starts[s];
        struct weir_queue *from = queue_make(start);
        struct weir_queue *to = queue_make(0);
        for (uint32_t i = 0; i < SLOTS; i++) {
            assert_true(weir_queue_push_owner(from, &tasks[i]));
        }
        uint32_t claimed = start + SLOTS / 2;
        atomic_store(&from->head, (uint64_t)start << 32 | claimed);
        assert_int_equal(weir_queue_count(from), SLOTS / 2);
        assert_int_equal(weir_queue_room_owner(from), 0);
        assert_null(weir_queue_steal(from, to));                 // one thief at a time
        assert_int_equal(weir_queue_shed_owner(from).count, 0);  // no half to be had
        assert_false(weir_queue_push_owner(from, &tasks[SLOTS])); // its slots are not free yet
        assert_ptr_equal(weir_queue_pop_owner(from), &tasks[SLOTS / 2]); // but the owner goes on
        assert_int_equal(atomic_load(&from->head) >> 32, start);
        assert_int_equal((uint32_t)atomic_load(&from->head), claimed + 1);
        free(from);
        free(to);
    }
    free(tasks);
}

static void steal_from_itself(void *argument)
{
    (void)weir_queue_steal(argument, argument);
}

static void test_steal_from_itself_aborts(void **state)
{
    (void)state;
    struct weir_queue *queue = queue_make(0);
    test_expect_abort(steal_from_itself, queue);
    free(queue);
}

// A random run of two queues against plain arrays.
struct model {
    struct weir_task *held[WEIR_QUEUE_SLOTS];
    uint32_t count;
};

static struct weir_task *model_take(struct model *model)
{
    struct weir_task *task = model->held[0];
    model->count--;
    memmove(model->held, model->held + 1, sizeof(model->held[0]) * model->count);
    return task;
}

static void test_model(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    struct weir_task *tasks = tasks_make(4 * SLOTS);
    struct weir_queue *queues[2] = {queue_make(UINT32_MAX - 3 * SLOTS), queue_make(UINT32_MAX)};
    struct model models[2];
    memset(models, 0, sizeof(models));
    struct weir_task **free_tasks = calloc(4 * SLOTS, sizeof(struct weir_task *));
    uint32_t free_count = 4 * SLOTS;
    for (uint32_t i = 0; i < free_count; i++) {
        free_tasks[i] = &tasks[i];
    }
    uint64_t bias = 5;
    for (uint64_t step = 0; step < test_times(400000); step++) {
        int q = (int)(test_random(&random) % 2);
        struct weir_queue *queue = queues[q];
        struct model *model = &models[q];
        if (step % 4096 == 0) {
            bias = 2 + test_random(&random) % 7;
        }
        uint64_t what = test_random(&random) % 10;
        if (what < bias) {
            struct weir_task *task = free_tasks[free_count - 1];
            bool pushed = weir_queue_push_owner(queue, task);
            assert_int_equal(pushed, model->count < SLOTS);
            if (pushed) {
                free_count--;
                model->held[model->count++] = task;
            } else if (test_random(&random) % 4 == 0) {
                struct weir_chain chain = weir_queue_shed_owner(queue);
                assert_int_equal(chain.count, SLOTS / 2);
                for (struct weir_task *shed = chain.first; shed != NULL; shed = shed->next) {
                    assert_ptr_equal(shed, model_take(model));
                    free_tasks[free_count++] = shed;
                }
            }
        } else if (what < 9 || models[1 - q].count == 0) {
            struct weir_task *task = weir_queue_pop_owner(queue);
            assert_int_equal(task != NULL, model->count > 0);
            if (task != NULL) {
                assert_ptr_equal(task, model_take(model));
                free_tasks[free_count++] = task;
            }
        } else {
            struct model *victim = &models[1 - q];
            struct weir_task *task = weir_queue_steal(queues[1 - q], queue);
            if (SLOTS - model->count < SLOTS / 2) {
                assert_null(task);
            } else {
                uint32_t half = victim->count - victim->count / 2;
                for (uint32_t i = 0; i + 1 < half; i++) {
                    model->held[model->count++] = model_take(victim);
                }
                assert_ptr_equal(task, model_take(victim));
                free_tasks[free_count++] = task;
            }
        }
        assert_int_equal(weir_queue_count(queue), model->count);
    }
    free(free_tasks);
    free(queues[0]);
    free(queues[1]);
    free(tasks);
}

// ---- Thieves ----

#define THIEVES_MAX 4

struct heist {
    struct weir_queue *victim;
    struct weir_task *tasks;
    uint32_t count;
    _Atomic uint8_t *seen;
    _Atomic uint64_t taken;
    _Atomic uint64_t stolen;
};
struct thief {
    struct heist *heist;
    uint32_t index;
    struct weir_queue *own;
    struct weir_queue *other; // another thief's, to rob in turn; may be NULL
};

static void heist_see(struct heist *heist, struct weir_task *task)
{
    assert_int_equal(atomic_fetch_add(&heist->seen[task->result], 1), 0);
    atomic_fetch_add(&heist->taken, 1);
}

static void *thief_main(void *argument)
{
    struct thief *me = argument;
    struct heist *heist = me->heist;
    uint64_t random = me->index * 31 + 7;
    while (atomic_load(&heist->taken) < heist->count) {
        struct weir_queue *from =
            me->other != NULL && test_random(&random) % 4 == 0 ? me->other : heist->victim;
        struct weir_task *task = weir_queue_steal(from, me->own);
        if (task != NULL) {
            atomic_fetch_add(&heist->stolen, 1);
            heist_see(heist, task);
        }
        // Leaves something for the other thieves now and then.
        while (test_random(&random) % 8 != 0 && (task = weir_queue_pop_owner(me->own)) != NULL) {
            heist_see(heist, task);
        }
        (void)weir_queue_count(heist->victim);
    }
    return NULL;
}

static void heist_run(uint32_t start, uint32_t thieves, uint32_t count)
{
    struct heist heist = {.victim = queue_make(start), .tasks = tasks_make(count),
                          .count = count, .seen = calloc(count, 1)};
    pthread_t threads[THIEVES_MAX];
    struct thief members[THIEVES_MAX];
    for (uint32_t i = 0; i < thieves; i++) {
        members[i] = (struct thief){&heist, i, queue_make(start + i), NULL};
    }
    for (uint32_t i = 0; i < thieves; i++) {
        members[i].other = thieves > 1 ? members[(i + 1) % thieves].own : NULL;
        pthread_create(&threads[i], NULL, thief_main, &members[i]);
    }
    uint64_t random = start + 1;
    for (uint32_t i = 0; i < count; i++) {
        while (!weir_queue_push_owner(heist.victim, &heist.tasks[i])) {
            struct weir_chain chain = weir_queue_shed_owner(heist.victim);
            for (struct weir_task *task = chain.first; task != NULL;) {
                struct weir_task *next = task->next;
                heist_see(&heist, task);
                task = next;
            }
        }
        if (test_random(&random) % 3 == 0) {
            struct weir_task *task = weir_queue_pop_owner(heist.victim);
            if (task != NULL) {
                heist_see(&heist, task);
            }
        }
        if (test_random(&random) % 16 == 0) {
            weir_queue_publish_owner(heist.victim);
        }
    }
    while (atomic_load(&heist.taken) < count) {
        struct weir_task *task = weir_queue_pop_owner(heist.victim);
        if (task != NULL) {
            heist_see(&heist, task);
        }
    }
    for (uint32_t i = 0; i < thieves; i++) {
        pthread_join(threads[i], NULL);
    }
    for (uint32_t i = 0; i < thieves; i++) {
        assert_null(weir_queue_pop_owner(members[i].own));
        free(members[i].own);
    }
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(heist.seen[i], 1);
    }
    free((void *)heist.seen);
    free(heist.tasks);
    free(heist.victim);
}

static void test_thieves(void **state)
{
    (void)state;
    uint32_t count = (uint32_t)test_times(400000);
    heist_run(0, 1, count);
    heist_run(UINT32_MAX - count / 2, 2, count); // wraps on the way
    heist_run(UINT32_MAX - 10, THIEVES_MAX, count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_in_first_out),
        cmocka_unit_test(test_shed),
        cmocka_unit_test(test_steal_takes_the_older_half),
        cmocka_unit_test(test_steal_needs_room),
        cmocka_unit_test(test_thief_at_work),
        cmocka_unit_test(test_steal_from_itself_aborts),
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_thieves),
    };
    return cmocka_run_group_tests_name("queue", tests, NULL, NULL);
}
