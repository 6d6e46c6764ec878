// Scopes: parents whose children write into their frames, however the parents leave.
#include "tests/support_spawn.h"

enum leave { LEAVE_WAIT, LEAVE_AT_ONCE, LEAVE_CANCEL_WAIT, LEAVE_NEVER };

// A parent whose children write into its frame.
struct parent {
    struct weir_future future;
    struct weir_scope scope;
    struct weir_scope_wait wait;
    struct weir_yield yield;
    uint64_t canary;                // what children look at
    _Atomic uint64_t from_children; // what they add to
    uint32_t children, child_yields, spawned;
    uint32_t depth; // > 0: children are parents themselves
    bool children_endless;
    bool ending; // the runtime may end while the parent spawns
    int error;
    enum leave leave;
    unsigned flags;
    _Atomic uint64_t *all_ended; // counts children and parents; may not point into a frame
    _Atomic uint64_t *all_started;
    struct parent *above;
};

#define CANARY UINT64_C(0x77656972776569)

struct child {
    struct weir_future future;
    struct parent *parent; // in its parent's frame
    uint32_t yields_left;
    bool endless;
    struct weir_yield yield;
    struct weir_sleep sleep;
};

static enum weir_poll child_poll(struct weir_future *future, struct weir_context *context)
{
    struct child *me = (struct child *)future;
    assert_true(me->parent->canary == CANARY);
    weir_begin(me);
    count(me->parent->all_started);
    while (me->yields_left > 0) {
        me->yields_left--;
        weir_yield_init(&me->yield);
        weir_await(me, context, &me->yield);
    }
    if (me->endless) {
        weir_sleep_init(&me->sleep, UINT64_C(3600000000000));
        weir_await(me, context, &me->sleep);
    }
    weir_exit(me);
    weir_drop(&me->yield.future, context);
    weir_drop(&me->sleep.future, context);
    atomic_fetch_add(&me->parent->from_children, 1);
    count(me->parent->all_ended);
    weir_end(me);
}

static enum weir_poll parent_poll(struct weir_future *future, struct weir_context *context)
{
    struct parent *me = (struct parent *)future;
    weir_begin(me);
    me->canary = CANARY;
    for (me->spawned = 0; me->spawned < me->children; me->spawned++) {
        if (me->depth > 0) {
            struct parent inner = {.future = {.poll = parent_poll},
                                   .children = me->children,
                                   .child_yields = me->child_yields,
                                   .children_endless = me->children_endless,
                                   .depth = me->depth - 1,
                                   .leave = me->leave,
                                   .flags = me->flags,
                                   .ending = me->ending,
                                   .all_ended = me->all_ended,
                                   .all_started = me->all_started,
                                   .above = me};
            me->error =
                weir_scope_spawn(&me->scope, context, &inner.future, sizeof(inner), me->flags);
        } else {
            struct child child = {.future = {.poll = child_poll},
                                  .parent = me,
                                  .yields_left = me->spawned % (me->child_yields + 1),
                                  .endless = me->children_endless};
            me->error =
                weir_scope_spawn(&me->scope, context, &child.future, sizeof(child), me->flags);
        }
        assert_true(me->error == 0 || (me->error == WEIR_ECLOSED && me->ending));
        if (me->spawned % 100 == 99) {
            weir_yield_init(&me->yield);
            weir_await(me, context, &me->yield);
        }
    }
    if (me->leave == LEAVE_CANCEL_WAIT) {
        weir_scope_cancel(&me->scope, context);
    }
    if (me->leave == LEAVE_WAIT || me->leave == LEAVE_CANCEL_WAIT) {
        weir_scope_wait_init(&me->wait, &me->scope);
        weir_await(me, context, &me->wait);
        assert_true(me->scope.children_count == 0);
        assert_true(me->scope.owner == NULL);
        if (me->leave == LEAVE_WAIT && me->depth == 0) {
            assert_true(atomic_load(&me->from_children) == me->children);
        }
    }
    while (me->leave == LEAVE_NEVER) {
        weir_scope_wait_init(&me->wait, &me->scope);
        weir_await(me, context, &me->wait);
        weir_yield_init(&me->yield);
        weir_await(me, context, &me->yield);
    }
    weir_return(me, 21);
    weir_exit(me);
    weir_drop(&me->wait.future, context);
    weir_drop(&me->yield.future, context);
    if (me->above != NULL) {
        assert_true(me->above->canary == CANARY);
        atomic_fetch_add(&me->above->from_children, 1);
    }
    count(me->all_ended);
    weir_end(me);
}

static void run_parent(struct weir_runtime *runtime, const struct parent *parent)
{
    assert_int_equal(weir_block_on(runtime, &parent->future, sizeof(*parent)), 21);
}

static void test_scope_wait(void **state)
{
    (void)state;
    for (size_t i = 0; i < WORKER_COUNTS; i++) {
        for (unsigned flags = 0; flags < 2; flags++) {
            struct weir_runtime *runtime = test_runtime_create(worker_counts[i], NULL);
            for (uint32_t round = 0; round < test_times(200); round++) {
                _Atomic uint64_t ended = 0;
                struct parent parent = {.future = {.poll = parent_poll},
                                        .children = round % 40,
                                        .child_yields = round % 5,
                                        .leave = LEAVE_WAIT,
                                        .flags = flags,
                                        .all_ended = &ended};
                run_parent(runtime, &parent);
                assert_int_equal(ended, round % 40 + 1);
            }
            destroy_idle(runtime);
        }
    }
}

// The parent returns at once; its end is told only when its children have ended.
static void test_scope_children_outlive_the_return(void **state)
{
    (void)state;
    for (size_t i = 0; i < WORKER_COUNTS; i++) {
        for (int endless = 0; endless < 2; endless++) {
            struct weir_runtime *runtime = test_runtime_create(worker_counts[i], NULL);
            for (uint32_t round = 0; round < test_times(300); round++) {
                _Atomic uint64_t ended = 0, started = 0;
                struct parent parent = {.future = {.poll = parent_poll},
                                        .children = 1 + round % 20,
                                        .child_yields = 6,
                                        .leave = LEAVE_AT_ONCE,
                                        .children_endless = endless != 0,
                                        .all_ended = &ended,
                                        .all_started = &started};
                run_parent(runtime, &parent);
                // Those that never started have nothing to undo and do not count themselves.
                assert_int_equal(ended, started + 1);
            }
            destroy_idle(runtime);
        }
    }
}

static void test_scope_cancel(void **state)
{
    (void)state;
    for (size_t i = 0; i < WORKER_COUNTS; i++) {
        struct weir_runtime *runtime = test_runtime_create(worker_counts[i], NULL);
        for (uint32_t round = 0; round < test_times(300); round++) {
            _Atomic uint64_t ended = 0, started = 0;
            struct parent parent = {.future = {.poll = parent_poll},
                                    .children = 1 + round % 150,
                                    .child_yields = 3,
                                    .leave = LEAVE_CANCEL_WAIT,
                                    .children_endless = true,
                                    .all_ended = &ended,
                                    .all_started = &started};
            run_parent(runtime, &parent);
            assert_int_equal(ended, started + 1);
        }
        destroy_idle(runtime);
    }
}

// Parents of parents: 1 + 5 + 25 + 125, and 625 children below.
static void test_scope_nested(void **state)
{
    (void)state;
    for (size_t i = 0; i < WORKER_COUNTS; i++) {
        for (enum leave leave = LEAVE_WAIT; leave <= LEAVE_CANCEL_WAIT; leave++) {
            struct weir_runtime *runtime = test_runtime_create(worker_counts[i], NULL);
            for (uint32_t round = 0; round < test_times(16); round++) {
                _Atomic uint64_t ended = 0;
                struct parent parent = {.future = {.poll = parent_poll},
                                        .children = 5,
                                        .depth = 3,
                                        .child_yields = round % 4,
                                        .leave = leave,
                                        .all_ended = &ended};
                run_parent(runtime, &parent);
                if (leave == LEAVE_WAIT) {
                    assert_int_equal(ended, 1 + 5 + 25 + 125 + 625);
                }
            }
            destroy_idle(runtime);
        }
    }
}

// The parent is cancelled from outside while its children run on other workers.
static void test_scope_parent_cancelled(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    for (size_t i = 0; i < WORKER_COUNTS; i++) {
        struct weir_runtime *runtime = test_runtime_create(worker_counts[i], NULL);
        for (uint32_t round = 0; round < test_times(150); round++) {
            _Atomic uint64_t ended = 0, started = 0;
            struct parent parent = {.future = {.poll = parent_poll},
                                    .children = 8,
                                    .depth = round % 3,
                                    .child_yields = 50,
                                    .children_endless = round % 2 == 0,
                                    .leave = LEAVE_NEVER,
                                    .all_ended = &ended,
                                    .all_started = &started};
            struct weir_handle handle;
            assert_int_equal(
                weir_runtime_spawn(runtime, &parent.future, sizeof(parent), 0, &handle), 0);
            test_wait_for(runtime, &started, 1 + test_random(&random) % 8);
            weir_task_cancel(handle);
            assert_int_equal(join_outside(runtime, handle), WEIR_ECANCELED);
            uint64_t after = atomic_load(&ended);
            assert_true(after >= started); // every child that began has ended before its parent
            check_no_task_left(runtime);
            assert_int_equal(ended, after);
        }
        weir_runtime_destroy(runtime);
    }
}

static void test_scope_ten_thousand(void **state)
{
    (void)state;
    for (uint32_t workers = 0; workers <= 4; workers += 2) {
        for (int cancel = 0; cancel < 2; cancel++) {
            struct weir_runtime *runtime = test_runtime_create(workers, NULL);
            _Atomic uint64_t ended = 0, started = 0;
            struct parent parent = {.future = {.poll = parent_poll},
                                    .children = 10000,
                                    .child_yields = 3,
                                    .children_endless = cancel != 0,
                                    .all_ended = &ended,
                                    .all_started = &started};
            parent.leave = cancel != 0 ? LEAVE_CANCEL_WAIT : LEAVE_WAIT;
            run_parent(runtime, &parent);
            assert_int_equal(ended, started + 1);
            if (cancel == 0) {
                assert_int_equal(started, 10000);
            }
            destroy_idle(runtime);
        }
    }
}

// A scope can be used again, by the same task, and with several scopes at once.
struct reuser {
    struct weir_future future;
    struct weir_scope scopes[3];
    struct weir_scope_wait wait;
    struct parent fake; // what the children look at
    uint32_t round, which;
};

static enum weir_poll reuser_poll(struct weir_future *future, struct weir_context *context)
{
    struct reuser *me = (struct reuser *)future;
    weir_begin(me);
    me->fake.canary = CANARY;
    for (me->round = 0; me->round < 100; me->round++) {
        for (uint32_t i = 0; i < 30; i++) {
            struct child child = {
                .future = {.poll = child_poll}, .parent = &me->fake, .yields_left = i % 4};
            assert_int_equal(
                weir_scope_spawn(&me->scopes[i % 3], context, &child.future, sizeof(child), 0), 0);
        }
        for (me->which = 0; me->which < 3; me->which++) {
            // Not in the order in which they were opened.
            weir_scope_wait_init(&me->wait, &me->scopes[(me->which + me->round) % 3]);
            weir_await(me, context, &me->wait);
        }
        assert_true(atomic_load(&me->fake.from_children) == 30 * ((uint64_t)me->round + 1));
    }
    weir_scope_wait_init(&me->wait, &me->scopes[0]); // empty
    weir_await(me, context, &me->wait);
    weir_scope_cancel(&me->scopes[1], context);
    weir_return(me, 5);
    weir_exit(me);
    weir_drop(&me->wait.future, context);
    weir_end(me);
}

static void test_scope_reused(void **state)
{
    (void)state;
    for (size_t i = 0; i < WORKER_COUNTS; i++) {
        struct weir_runtime *runtime = test_runtime_create(worker_counts[i], NULL);
        struct reuser reuser = {.future = {.poll = reuser_poll}};
        assert_int_equal(weir_block_on(runtime, &reuser.future, sizeof(reuser)), 5);
        destroy_idle(runtime);
    }
}

// Scopes alive at the runtime's end: everybody is dropped, in whatever order.
static void test_scope_at_runtime_end(void **state)
{
    (void)state;
    struct counting_os counting;
    counting_os_init(&counting);
    for (uint64_t round = 0; round < test_times(200); round++) {
        struct weir_runtime *runtime =
            test_runtime_create(worker_counts[round % WORKER_COUNTS], &counting.os);
        _Atomic uint64_t ended = 0, started = 0;
        struct parent parent = {.future = {.poll = parent_poll},
                                .children = 6,
                                .depth = (uint32_t)(round % 3),
                                .child_yields = 50,
                                .children_endless = true,
                                .ending = true,
                                .leave = LEAVE_NEVER,
                                .all_ended = &ended,
                                .all_started = &started};
        if (round % 4 == 1) {
            parent.leave = LEAVE_AT_ONCE;
        }
        assert_int_equal(weir_runtime_spawn(runtime, &parent.future, sizeof(parent), 0, NULL), 0);
        if (round % 4 != 1) {
            test_wait_for(runtime, &started, 1 + round % 5);
        }
        weir_runtime_destroy(runtime);
        assert_true(ended >= started);
        counting_os_check_empty(&counting);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scope_wait),
        cmocka_unit_test(test_scope_children_outlive_the_return),
        cmocka_unit_test(test_scope_cancel),
        cmocka_unit_test(test_scope_nested),
        cmocka_unit_test(test_scope_parent_cancelled),
        cmocka_unit_test(test_scope_ten_thousand),
        cmocka_unit_test(test_scope_reused),
        cmocka_unit_test(test_scope_at_runtime_end),
    };
    return cmocka_run_group_tests_name("spawn_scope", tests, NULL, NULL);
}
