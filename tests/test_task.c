// Tasks: every transition of the state word, the impossible ones, races on it, and the slabs.
#include "tests/support_runtime.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/task.h"

struct frame {
    struct weir_future future;
    unsigned char bytes[16];
};

static enum weir_poll frame_poll(struct weir_future *future, struct weir_context *context)
{
    (void)future;
    (void)context;
    return WEIR_READY;
}

static struct weir_os test_os;
static struct weir_slab slab;

static int slab_setup(void **state)
{
    (void)state;
    test_os = weir_os_linux();
    weir_slab_init(&slab, NULL, &test_os);
    return 0;
}

static int slab_teardown(void **state)
{
    (void)state;
    weir_slab_deinit(&slab);
    return 0;
}

static struct weir_task *task_make(bool joinable)
{
    struct frame frame = {.future = {.poll = frame_poll}};
    struct weir_task *task = NULL;
    assert_int_equal(weir_slab_spawn(&slab, &frame.future, sizeof(frame), joinable, &task), 0);
    assert_non_null(task);
    return task;
}

static uint32_t flags_of(struct weir_task *task)
{
    return (uint32_t)atomic_load(&task->state);
}

// Puts a task into an arbitrary state: the flags, under its present generation.
static void flags_set(struct weir_task *task, uint32_t flags)
{
    atomic_store(&task->state, (uint64_t)weir_task_generation(task) << 32 | flags);
}

enum {
    L = WEIR_TASK_LIVE, S = WEIR_TASK_SCHEDULED, N = WEIR_TASK_NOTIFIED, X = WEIR_TASK_CANCELLED,
    C = WEIR_TASK_COMPLETE, J = WEIR_TASK_JOINABLE, W = WEIR_TASK_JOIN_WAKER
};

// ---- Transitions, as a table ----

enum operation { OP_WAKE, OP_CANCEL, OP_RUN, OP_IDLE, OP_COMPLETE, OP_WOKEN, OP_JOIN, OP_FORGET };

static enum weir_task_action operate(struct weir_task *task, enum operation operation,
                                     uint32_t generation)
{
    struct weir_handle handle = {task, generation};
    struct weir_waker waker = {task, 4711};
    int32_t result = 0;
    switch (operation) {
    case OP_WAKE: return weir_task_wake(task, generation);
    case OP_CANCEL: return weir_task_request_cancel(task, generation);
    case OP_RUN: return weir_task_run(task);
    case OP_IDLE: return weir_task_idle(task);
    case OP_COMPLETE: return weir_task_complete(task);
    case OP_WOKEN: return weir_task_joiner_woken(task);
    case OP_JOIN: return weir_task_join(handle, waker, &result);
    case OP_FORGET: return weir_task_forget(handle);
    }
    return WEIR_TASK_NOTHING;
}

#define ABORTS (-1)

// What must happen, written down independently of task.c.
static int expect(enum operation operation, uint32_t f, uint32_t *after)
{
    *after = f;
    bool over = (f & C) != 0;
    switch (operation) {
    case OP_WAKE:
    case OP_CANCEL:
        if (over) {
            return WEIR_TASK_NOTHING;
        }
        *after = f | ((f & S) != 0 ? N : S) | (operation == OP_CANCEL ? X : 0);
        return (f & S) != 0 ? WEIR_TASK_NOTHING : WEIR_TASK_SUBMIT;
    case OP_RUN:
        if ((f & S) == 0 || over) {
            return ABORTS;
        }
        *after = f & ~(uint32_t)N;
        return (f & X) != 0 ? WEIR_TASK_DROP : WEIR_TASK_POLL;
    case OP_IDLE:
        if ((f & S) == 0 || over) {
            return ABORTS;
        }
        *after = (f & N) != 0 ? f : f & ~(uint32_t)S; // woken meanwhile: run will see it
        return (f & N) != 0 ? WEIR_TASK_SUBMIT : WEIR_TASK_NOTHING;
    case OP_COMPLETE:
        if ((f & S) == 0 || over) {
            return ABORTS;
        }
        *after = (f & ~(uint32_t)(S | N)) | C;
        return (f & J) == 0 ? WEIR_TASK_RELEASE : (f & W) != 0 ? WEIR_TASK_WAKE : WEIR_TASK_NOTHING;
    case OP_WOKEN:
        if (!over || (f & W) == 0) {
            return ABORTS;
        }
        *after = f & ~(uint32_t)W;
        return (f & J) != 0 ? WEIR_TASK_NOTHING : WEIR_TASK_RELEASE;
    case OP_JOIN:
        if ((f & J) == 0) {
            return ABORTS;
        }
        if (!over) {
            *after = f | W;
            return WEIR_TASK_NOTHING;
        }
        *after = f & ~(uint32_t)J;
        return (f & W) != 0 ? WEIR_TASK_DONE : WEIR_TASK_RELEASE;
    case OP_FORGET:
        if ((f & J) == 0) {
            return ABORTS;
        }
        if (!over) {
            *after = f & ~(uint32_t)(J | W);
            return WEIR_TASK_NOTHING;
        }
        *after = f & ~(uint32_t)J;
        return (f & W) != 0 ? WEIR_TASK_DONE : WEIR_TASK_RELEASE;
    }
    return ABORTS;
}

struct operate_arguments {
    struct weir_task *task;
    enum operation operation;
    uint32_t generation;
};

static void operate_body(void *argument)
{
    struct operate_arguments *arguments = argument;
    (void)operate(arguments->task, arguments->operation, arguments->generation);
}

// Every operation in every combination of flags of a live task.
static void test_every_transition(void **state)
{
    (void)state;
    struct weir_task *task = task_make(true);
    uint32_t generation = weir_task_generation(task);
    uint32_t aborts = 0;
    for (int operation = OP_WAKE; operation <= OP_FORGET; operation++) {
        for (uint32_t f = L; f < 128; f += 2) { // LIVE is the lowest bit
            uint32_t after = 0;
            int expected = expect((enum operation)operation, f, &after);
            flags_set(task, f);
            task->result = 17;
            if (expected == ABORTS) {
                struct operate_arguments arguments = {task, (enum operation)operation, generation};
                test_expect_abort(operate_body, &arguments);
                aborts++;
                continue;
            }
            int action = (int)operate(task, (enum operation)operation, generation);
            if (action != expected || flags_of(task) != after) {
                fail_msg("operation %d on flags 0x%x: action %d, flags 0x%x", operation,
                         (unsigned)f, action, (unsigned)flags_of(task));
            }
            assert_int_equal(weir_task_generation(task), generation);
        }
    }
    assert_true(aborts > 100);
}

// A waker or handle of another generation, or of a cell that is free.
static void test_stale(void **state)
{
    (void)state;
    struct weir_task *task = task_make(true);
    uint32_t generation = weir_task_generation(task);
    const uint32_t wrong[] = {generation + 1, generation - 1, generation + 0x80000000u};
    for (uint32_t f = L; f < 128; f += 2) {
        flags_set(task, f);
        uint64_t before = atomic_load(&task->state);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(operate(task, OP_WAKE, wrong[i]), WEIR_TASK_NOTHING);
            assert_int_equal(operate(task, OP_CANCEL, wrong[i]), WEIR_TASK_NOTHING);
            assert_int_equal(operate(task, OP_JOIN, wrong[i]), WEIR_TASK_GONE);
            assert_int_equal(operate(task, OP_FORGET, wrong[i]), WEIR_TASK_NOTHING);
            assert_int_equal(atomic_load(&task->state), before);
        }
    }
    flags_set(task, L | C);
    weir_slab_release(&slab, task);
    assert_int_equal(weir_task_generation(task), generation + 1);
    for (uint32_t g = generation; g <= generation + 1; g++) { // free: not even its own generation
        assert_int_equal(operate(task, OP_WAKE, g), WEIR_TASK_NOTHING);
        assert_int_equal(operate(task, OP_CANCEL, g), WEIR_TASK_NOTHING);
        assert_int_equal(operate(task, OP_JOIN, g), WEIR_TASK_GONE);
        assert_int_equal(operate(task, OP_FORGET, g), WEIR_TASK_NOTHING);
    }
    struct operate_arguments run = {task, OP_RUN, generation + 1};
    test_expect_abort(operate_body, &run);
}

static void test_join_gives_result_and_waker(void **state)
{
    (void)state;
    struct weir_task *task = task_make(true);
    struct weir_handle handle = {task, weir_task_generation(task)};
    struct weir_waker first = {task, 1}, second = {task, 2};
    int32_t result = 99;
    assert_int_equal(weir_task_run(task), WEIR_TASK_POLL);
    assert_int_equal(weir_task_join(handle, first, &result), WEIR_TASK_NOTHING);
    assert_int_equal(weir_task_join(handle, second, &result), WEIR_TASK_NOTHING); // replaces it
    assert_int_equal(result, 99);
    task->result = -5;
    assert_int_equal(weir_task_complete(task), WEIR_TASK_WAKE);
    assert_int_equal(task->joiner.generation, 2);
    assert_int_equal(weir_task_join(handle, first, &result), WEIR_TASK_DONE); // woken spuriously
    assert_int_equal(result, -5);
    assert_int_equal(weir_task_joiner_woken(task), WEIR_TASK_RELEASE);
    weir_slab_release(&slab, task);
}

// ---- Races on one word ----

struct race {
    struct weir_task *task;
    uint32_t generation;
    _Atomic uint64_t submits, stop;
    _Atomic uint64_t published[3];
    uint64_t times;
};
struct racer {
    struct race *race;
    int index;
};

static void *racing_waker(void *argument)
{
    struct racer *me = argument;
    struct race *race = me->race;
    for (uint64_t i = 0; i < race->times; i++) {
        atomic_fetch_add_explicit(&race->published[me->index], 1, memory_order_relaxed);
        if (weir_task_wake(race->task, race->generation) == WEIR_TASK_SUBMIT) {
            atomic_fetch_add(&race->submits, 1);
        }
    }
    return NULL;
}

// Submits are never more than one ahead of runs, and the last run sees everything.
static void test_wakes_race_with_runs(void **state)
{
    (void)state;
    struct race race = {.task = task_make(false), .times = test_times(400000)};
    race.generation = weir_task_generation(race.task);
    atomic_store(&race.submits, 1); // a new task is due
    pthread_t threads[3];
    struct racer racers[3];
    for (int i = 0; i < 3; i++) {
        racers[i] = (struct racer){&race, i};
        pthread_create(&threads[i], NULL, racing_waker, &racers[i]);
    }
    uint64_t seen = 0, plain = 0;
    while (seen < 3 * race.times) {
        if (atomic_load(&race.submits) == 0) {
            continue;
        }
        assert_int_equal(atomic_fetch_sub(&race.submits, 1), 1);
        assert_int_equal(weir_task_run(race.task), WEIR_TASK_POLL);
        plain++; // a data race if two of us ran at once
        seen = 0;
        for (int i = 0; i < 3; i++) {
            seen += atomic_load_explicit(&race.published[i], memory_order_relaxed);
        }
        if (weir_task_idle(race.task) == WEIR_TASK_SUBMIT) {
            assert_int_equal(atomic_fetch_add(&race.submits, 1), 0);
        }
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_true(plain <= 3 * race.times + 1);
}

// Completion against join, join again, and forget: the cell is released exactly once, and who is
// told the result gets it whole.
struct ending {
    struct weir_task *task;
    struct weir_handle handle;
    _Atomic uint32_t releases, step;
    uint64_t times;
    int32_t payload[2]; // plain: [T3] must order it
    bool joined;
};

static void *completer_main(void *argument)
{
    struct ending *ending = argument;
    for (uint64_t i = 0; i < ending->times; i++) {
        while (atomic_load(&ending->step) != 2 * i + 1) {
        }
        ending->payload[0] = (int32_t)i;
        ending->task->result = (int32_t)i;
        enum weir_task_action action = weir_task_complete(ending->task);
        if (action == WEIR_TASK_WAKE) {
            struct weir_waker joiner = ending->task->joiner;
            assert_int_equal(joiner.generation, (uint32_t)i);
            action = weir_task_joiner_woken(ending->task);
        }
        if (action == WEIR_TASK_RELEASE) {
            atomic_fetch_add(&ending->releases, 1);
        } else {
            assert_int_equal(action, WEIR_TASK_NOTHING);
        }
        atomic_store(&ending->step, (uint32_t)(2 * i + 2));
    }
    return NULL;
}

static void test_completion_races_with_the_handle(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    struct ending ending = {.times = test_times(60000)};
    pthread_t thread;
    pthread_create(&thread, NULL, completer_main, &ending);
    for (uint64_t i = 0; i < ending.times; i++) {
        ending.task = task_make(true);
        ending.handle = (struct weir_handle){ending.task, weir_task_generation(ending.task)};
        assert_int_equal(weir_task_run(ending.task), WEIR_TASK_POLL);
        atomic_store(&ending.releases, 0);
        atomic_store(&ending.step, (uint32_t)(2 * i + 1));
        for (uint64_t spin = test_random(&random) % 200; spin > 0; spin--) {
            __asm__ volatile("" ::: "memory");
        }
        struct weir_waker waker = {ending.task, (uint32_t)i};
        int32_t result = -1;
        enum weir_task_action action = WEIR_TASK_NOTHING;
        uint64_t joins = test_random(&random) % 4;
        for (uint64_t k = 0; k < joins && action == WEIR_TASK_NOTHING; k++) {
            action = weir_task_join(ending.handle, waker, &result);
        }
        if (action == WEIR_TASK_NOTHING) {
            action = weir_task_forget(ending.handle);
        } else {
            assert_int_equal(result, (int32_t)i);
            assert_int_equal(ending.payload[0], (int32_t)i);
        }
        if (action == WEIR_TASK_RELEASE) {
            atomic_fetch_add(&ending.releases, 1);
        }
        while (atomic_load(&ending.step) != 2 * i + 2) {
        }
        assert_int_equal(ending.releases, 1);
        weir_slab_release(&slab, ending.task);
    }
    pthread_join(thread, NULL);
}

// ---- Slabs ----

static void test_classes(void **state)
{
    (void)state;
    struct counting_os counting;
    counting_os_init(&counting);
    struct weir_slab own;
    weir_slab_init(&own, NULL, &counting.os);
    static unsigned char memory[WEIR_CELL_BYTES_MAX];
    for (size_t i = 0; i < sizeof(memory); i++) {
        memory[i] = (unsigned char)(i * 7 + 1);
    }
    struct weir_future *future = (struct weir_future *)(void *)memory;
    *future = (struct weir_future){.poll = frame_poll};
    struct weir_task *task;
    uint32_t cell = WEIR_CELL_BYTES_MIN;
    for (size_t bytes = sizeof(*future); bytes <= WEIR_CELL_BYTES_MAX - sizeof(*task); bytes++) {
        while (bytes + sizeof(*task) > cell) {
            cell *= 2;
        }
        if (bytes + sizeof(*task) != cell && bytes + sizeof(*task) != cell / 2 + 1 &&
            bytes % 97 != 0) {
            continue; // the edges of each class, and some between
        }
        assert_int_equal(weir_slab_spawn(&own, future, bytes, bytes % 2 != 0, &task), 0);
        assert_int_equal(weir_task_block(task)->cell_bytes, cell);
        assert_ptr_equal(weir_task_block(task)->slab, &own);
        assert_int_equal((uintptr_t)task % 64, 0);
        assert_true((uintptr_t)task + cell <= (uintptr_t)weir_task_block(task) + WEIR_BLOCK_BYTES);
        assert_memory_equal(weir_task_future(task), memory, bytes);
        assert_int_equal(flags_of(task), L | S | (bytes % 2 != 0 ? J : 0));
    }
    assert_int_equal(cell, WEIR_CELL_BYTES_MAX);
    for (size_t over = 1; over <= 64; over++) {
        assert_int_equal(weir_slab_spawn(&own, future, WEIR_CELL_BYTES_MAX - sizeof(*task) + over,
                                         false, &task), WEIR_ELIMIT);
    }
    assert_int_equal(weir_slab_spawn(&own, future, SIZE_MAX, false, &task), WEIR_ELIMIT);
    weir_slab_deinit(&own);
    counting_os_check_empty(&counting);
}

struct visit_book {
    uint64_t visits;
};

static void visit_count(struct weir_task *task, void *argument)
{
    assert_true((flags_of(task) & L) != 0);
    assert_int_equal(task->result, 0);
    task->result = 1; // each once
    ((struct visit_book *)argument)->visits++;
}

static void task_end(struct weir_slab *own, struct weir_task *task)
{
    assert_int_equal(weir_task_complete(task), WEIR_TASK_RELEASE);
    weir_slab_release(own, task);
}

// Cells are recycled, last released first, under a new generation; live ones are visited once.
static void test_recycling_and_visiting(void **state)
{
    (void)state;
    struct counting_os counting;
    counting_os_init(&counting);
    struct weir_slab own;
    weir_slab_init(&own, NULL, &counting.os);
    struct frame frame = {.future = {.poll = frame_poll}};
    enum { TASKS = 1500 };
    static struct weir_task *tasks[TASKS];
    for (int i = 0; i < TASKS; i++) {
        assert_int_equal(weir_slab_spawn(&own, &frame.future, sizeof(frame), false, &tasks[i]), 0);
    }
    int64_t blocks = atomic_load(&counting.live_blocks);
    assert_int_equal(blocks, (TASKS + 510) / 511);
    for (int i = 0; i < TASKS; i += 3) {
        uint32_t generation = weir_task_generation(tasks[i]);
        task_end(&own, tasks[i]);
        struct weir_task *again;
        assert_int_equal(weir_slab_spawn(&own, &frame.future, sizeof(frame), false, &again), 0);
        assert_ptr_equal(again, tasks[i]);
        assert_int_equal(weir_task_generation(again), generation + 1);
        task_end(i % 2 == 0 ? &own : NULL, again); // by others: through `returned`
    }
    struct visit_book book = {0};
    weir_slab_visit(&own, visit_count, &book);
    assert_int_equal(book.visits, TASKS - TASKS / 3);
    for (int i = 0; i < TASKS / 3; i++) {
        struct weir_task *again;
        assert_int_equal(weir_slab_spawn(&own, &frame.future, sizeof(frame), false, &again), 0);
    }
    assert_int_equal(atomic_load(&counting.live_blocks), blocks); // nothing was lost
    weir_slab_deinit(&own);
    counting_os_check_empty(&counting);
}

static void test_generation_wraps(void **state)
{
    (void)state;
    struct weir_task *task = task_make(false);
    atomic_store(&task->state, (uint64_t)UINT32_MAX << 32 | L | C);
    weir_slab_release(&slab, task);
    assert_int_equal(weir_task_generation(task), 0);
    assert_ptr_equal(task_make(false), task);
}

static void release_free(void *argument)
{
    weir_slab_release(&slab, argument);
}

static void spawn_started(void *argument)
{
    (void)argument;
    struct frame frame = {.future = {.poll = frame_poll, .resume = 1}};
    struct weir_task *task;
    assert_int_equal(weir_slab_spawn(&slab, &frame.future, sizeof(frame), false, &task), 0);
}

static void spawn_inert(void *argument)
{
    (void)argument;
    struct frame frame = {.future = {.poll = NULL}};
    struct weir_task *task;
    assert_int_equal(weir_slab_spawn(&slab, &frame.future, sizeof(frame), false, &task), 0);
}

static void spawn_small(void *argument)
{
    (void)argument;
    struct frame frame = {.future = {.poll = frame_poll}};
    struct weir_task *task;
    assert_int_equal(weir_slab_spawn(&slab, &frame.future, 4, false, &task), 0);
}

static void test_slab_misuse_aborts(void **state)
{
    (void)state;
    struct weir_task *task = task_make(false);
    assert_int_equal(weir_task_run(task), WEIR_TASK_POLL);
    test_expect_abort(release_free, task); // running
    assert_int_equal(weir_task_complete(task), WEIR_TASK_RELEASE);
    weir_slab_release(&slab, task);
    test_expect_abort(release_free, task); // twice
    test_expect_abort(spawn_started, NULL);
    test_expect_abort(spawn_inert, NULL);
    test_expect_abort(spawn_small, NULL);
}

static void test_slab_out_of_memory(void **state)
{
    (void)state;
    struct counting_os counting;
    counting_os_init(&counting);
    struct weir_slab own;
    weir_slab_init(&own, NULL, &counting.os);
    struct frame frame = {.future = {.poll = frame_poll}};
    struct weir_task *task;
    atomic_store(&counting.alloc_fail_at, 2);
    for (int i = 0; i < 511; i++) {
        assert_int_equal(weir_slab_spawn(&own, &frame.future, sizeof(frame), false, &task), 0);
    }
    struct weir_task *last = task;
    assert_int_equal(weir_slab_spawn(&own, &frame.future, sizeof(frame), false, &task),
                     WEIR_EMEMORY);
    atomic_store(&counting.alloc_fail_at, 3);
    task_end(NULL, last);
    assert_int_equal(weir_slab_spawn(&own, &frame.future, sizeof(frame), false, &task), 0);
    assert_ptr_equal(task, last);
    assert_int_equal(weir_slab_spawn(&own, &frame.future, sizeof(frame), false, &task),
                     WEIR_EMEMORY);
    assert_int_equal(weir_slab_spawn(&own, &frame.future, sizeof(frame), false, &task), 0);
    weir_slab_deinit(&own);
    counting_os_check_empty(&counting);
}

// One owner spawns, others release.
struct returns {
    struct weir_slab *slab;
    _Atomic(struct weir_task *) slots[64];
    _Atomic uint64_t stop;
};

static void *returner_main(void *argument)
{
    struct returns *returns = argument;
    uint64_t random = (uint64_t)(uintptr_t)&random | 1;
    while (atomic_load(&returns->stop) == 0) {
        struct weir_task *task = atomic_exchange(&returns->slots[test_random(&random) % 64], NULL);
        if (task != NULL) {
            weir_slab_release(NULL, task);
        }
    }
    return NULL;
}

static void test_release_by_others(void **state)
{
    (void)state;
    struct counting_os counting;
    counting_os_init(&counting);
    struct weir_slab own;
    weir_slab_init(&own, NULL, &counting.os);
    struct returns returns = {.slab = &own};
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        pthread_create(&threads[i], NULL, returner_main, &returns);
    }
    struct frame frame = {.future = {.poll = frame_poll}};
    for (uint64_t i = 0; i < test_times(400000); i++) {
        struct weir_task *task;
        assert_int_equal(weir_slab_spawn(&own, &frame.future, sizeof(frame), false, &task), 0);
        assert_int_equal(weir_task_run(task), WEIR_TASK_POLL);
        assert_int_equal(weir_task_complete(task), WEIR_TASK_RELEASE);
        task = atomic_exchange(&returns.slots[i % 64], task);
        if (task != NULL) {
            weir_slab_release(&own, task);
        }
    }
    atomic_store(&returns.stop, 1);
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_true(atomic_load(&counting.live_blocks) <= 2); // at most 64 + a few live at once
    weir_slab_deinit(&own);
    counting_os_check_empty(&counting);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_transition),
        cmocka_unit_test(test_stale),
        cmocka_unit_test(test_join_gives_result_and_waker),
        cmocka_unit_test(test_wakes_race_with_runs),
        cmocka_unit_test(test_completion_races_with_the_handle),
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_recycling_and_visiting),
        cmocka_unit_test(test_generation_wraps),
        cmocka_unit_test(test_slab_misuse_aborts),
        cmocka_unit_test(test_slab_out_of_memory),
        cmocka_unit_test(test_release_by_others),
    };
    return cmocka_run_group_tests_name("task", tests, slab_setup, slab_teardown);
}
