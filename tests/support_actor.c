// Tasks around single futures, for the tests of what tasks wait for.
#include "tests/support_actor.h"

struct actor {
    struct weir_future future;
    struct weir_future *child;
    struct actor_log *log;
    int id;
};

// Each poll of the child is done without any budget first: a leaf may then register but not be
// ready, and must not lose what it was given.
static enum weir_poll child_poll(struct weir_future *child, struct weir_context *context)
{
    uint32_t budget = context->budget;
    context->budget = 0;
    assert_int_equal(weir_future_poll(child, context), WEIR_PENDING);
    context->budget = budget;
    return weir_future_poll(child, context);
}

static enum weir_poll actor_poll(struct weir_future *future, struct weir_context *context)
{
    struct actor *me = (struct actor *)future;
    weir_begin(me);
    weir_until(me, child_poll(me->child, context) == WEIR_READY);
    assert_true(me->log->count < ACTORS_MAX);
    me->log->ids[me->log->count] = me->id;
    me->log->results[me->log->count++] = me->child->result;
    weir_return(me, me->child->result);
    weir_exit(me);
    weir_drop(me->child, context);
    weir_end(me);
}

struct weir_handle actor_start(struct weir_runtime *runtime, struct weir_future *child,
                               struct actor_log *log, int id)
{
    struct actor actor = {{.poll = actor_poll}, child, log, id};
    struct weir_handle handle;
    assert_int_equal(
        weir_runtime_spawn(runtime, &actor.future, sizeof actor, WEIR_SPAWN_STEALABLE, &handle), 0);
    (void)test_turn_all(runtime);
    return handle;
}

void actor_cancel(struct weir_runtime *runtime, struct weir_handle handle, bool turn)
{
    weir_task_cancel(handle);
    weir_task_detach(handle);
    if (turn) {
        (void)test_turn_all(runtime);
    }
}

void actor_expect(struct actor_log *log, ...)
{
    va_list ids;
    va_start(ids, log);
    for (int i = 0; i < log->count; i++) {
        assert_int_equal(log->ids[i], va_arg(ids, int));
    }
    assert_int_equal(-1, va_arg(ids, int));
    va_end(ids);
    log->count = 0;
}

uint64_t actor_tasks_live(struct weir_runtime *runtime)
{
    struct weir_runtime_stats stats;
    weir_runtime_stats(runtime, &stats);
    return stats.spawned - stats.completed;
}

void actor_wait_all(struct weir_runtime *runtime)
{
    uint64_t limit_ns = test_now_ns() + UINT64_C(120000000000);
    while (actor_tasks_live(runtime) != 0) {
        if (runtime->threads_count == 0) {
            assert_true(weir_turn(runtime, 1000, 1000000) >= 0);
        } else {
            test_pause_us(50);
        }
        assert_true(test_now_ns() < limit_ns);
    }
}
