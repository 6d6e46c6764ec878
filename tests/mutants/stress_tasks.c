// Runtimes that come and go, and on them tasks that use all there is to wait for.
#include "tests/mutants/stress.h"
#include "weir.h"

#define CHILDREN 6u
#define ITEMS 40u
#define ROUNDS 60u

// The frame of the task that a host thread waits for; its children work in it.
struct family {
    struct weir_future future;
    uint64_t seed;
    uint32_t kind, i;
    struct weir_runtime *runtime;
    struct weir_scope scope;
    struct weir_scope_wait wait;
    struct weir_channel channel;
    uint32_t items[3], item, received, sum;
    struct weir_channel_recv recv;
    struct weir_timeout timeout;
    struct weir_notify notify[2];
    struct weir_notified notified;
    struct weir_mutex mutex;
    bool inside;
    _Atomic uint32_t count;
    struct weir_oneshot oneshots[CHILDREN];
    struct weir_oneshot_recv oneshot;
    struct weir_sleep sleep;
    uint64_t begun_ns;
    struct weir_handle handle;
    struct weir_task_join join;
    struct weir_yield yield;
    atomic_bool ran;
};

struct child {
    struct weir_future future;
    struct family *family;
    uint32_t number, i, item;
    struct weir_channel_send send;
    struct weir_notified notified;
    struct weir_mutex_lock lock;
    struct weir_yield yield;
    struct weir_sleep sleep;
};

static void family_add(struct family *me, struct weir_context *context, weir_poll_fn *poll,
                       uint32_t number)
{
    struct child child = {.future.poll = poll, .family = me, .number = number};
    int error = weir_scope_spawn(&me->scope, context, &child.future, sizeof child, 0);
    stress_must(error == 0, "scope: cannot spawn");
}

static enum weir_poll sender_poll(struct weir_future *future, struct weir_context *context)
{
    struct child *me = (struct child *)future;
    weir_begin(me);
    for (me->i = 0; me->i < ITEMS; me->i++) {
        me->item = 1;
        weir_channel_send_init(&me->send, &me->family->channel, &me->item);
        weir_await(me, context, &me->send);
    }
    weir_return(me, 0);
    weir_exit(me);
    weir_drop(&me->send.future, context);
    weir_end(me);
}

// Receives under a limit so short that the drop races with the item.
static enum weir_poll channel_poll(struct weir_future *future, struct weir_context *context)
{
    struct family *me = (struct family *)future;
    weir_begin(me);
    weir_channel_init(&me->channel, me->runtime, me->items, sizeof me->items[0], 3);
    for (uint32_t i = 0; i < CHILDREN; i++) {
        family_add(me, context, sender_poll, i);
    }
    while (me->received < CHILDREN * ITEMS) {
        weir_channel_recv_init(&me->recv, &me->channel, &me->item);
        weir_timeout_init(&me->timeout, &me->recv.future, stress_random(&me->seed, 70000));
        weir_await(me, context, &me->timeout);
        if (me->timeout.future.result == 0) {
            me->received++;
            me->sum += me->item;
        }
    }
    stress_must(me->sum == CHILDREN * ITEMS, "channel: an item is wrong");
    weir_scope_wait_init(&me->wait, &me->scope);
    weir_await(me, context, &me->wait);
    weir_return(me, 0);
    weir_exit(me);
    weir_drop(&me->timeout.future, context);
    weir_drop(&me->wait.future, context);
    weir_end(me);
}

static enum weir_poll echo_poll(struct weir_future *future, struct weir_context *context)
{
    struct child *me = (struct child *)future;
    weir_begin(me);
    for (me->i = 0; me->i < ROUNDS; me->i++) {
        weir_notified_init(&me->notified, &me->family->notify[0]);
        weir_await(me, context, &me->notified);
        weir_notify_one(&me->family->notify[1], context);
    }
    weir_return(me, 0);
    weir_exit(me);
    weir_drop(&me->notified.future, context);
    weir_end(me);
}

static enum weir_poll notify_poll(struct weir_future *future, struct weir_context *context)
{
    struct family *me = (struct family *)future;
    weir_begin(me);
    weir_notify_init(&me->notify[0], me->runtime);
    weir_notify_init(&me->notify[1], me->runtime);
    family_add(me, context, echo_poll, 0);
    for (me->i = 0; me->i < ROUNDS; me->i++) {
        weir_notify_one(&me->notify[0], context);
        weir_notified_init(&me->notified, &me->notify[1]);
        weir_await(me, context, &me->notified);
    }
    weir_return(me, 0); // without a wait: the child may just be ending
    weir_exit(me);
    weir_drop(&me->notified.future, context);
    weir_end(me);
}

static enum weir_poll holder_poll(struct weir_future *future, struct weir_context *context)
{
    struct child *me = (struct child *)future;
    weir_begin(me);
    for (me->i = 0; me->i < ITEMS; me->i++) {
        weir_mutex_lock_init(&me->lock, &me->family->mutex);
        weir_await(me, context, &me->lock);
        stress_must(!me->family->inside, "mutex: two holders");
        me->family->inside = true;
        if (me->i % 4 == 0) {
            weir_yield_init(&me->yield);
            weir_await(me, context, &me->yield);
        }
        me->family->inside = false;
        weir_mutex_unlock(&me->family->mutex, context);
    }
    atomic_fetch_add(&me->family->count, 1);
    weir_return(me, 0);
    weir_exit(me);
    weir_drop(&me->lock.future, context);
    weir_end(me);
}

static enum weir_poll mutex_poll(struct weir_future *future, struct weir_context *context)
{
    struct family *me = (struct family *)future;
    weir_begin(me);
    weir_mutex_init(&me->mutex, me->runtime);
    for (uint32_t i = 0; i < CHILDREN; i++) {
        family_add(me, context, holder_poll, i);
    }
    weir_scope_wait_init(&me->wait, &me->scope);
    weir_await(me, context, &me->wait);
    stress_must(atomic_load(&me->count) == CHILDREN, "scope: over before its children");
    weir_return(me, 0);
    weir_exit(me);
    weir_drop(&me->wait.future, context);
    weir_end(me);
}

static enum weir_poll answer_poll(struct weir_future *future, struct weir_context *context)
{
    struct child *me = (struct child *)future;
    weir_begin(me);
    if (me->number % 2 == 0) {
        weir_yield_init(&me->yield);
        weir_await(me, context, &me->yield);
    }
    (void)weir_oneshot_send(&me->family->oneshots[me->number], context, 1000 + me->number);
    weir_return(me, 0);
    weir_exit(me);
    weir_end(me);
}

static enum weir_poll oneshot_poll(struct weir_future *future, struct weir_context *context)
{
    struct family *me = (struct family *)future;
    weir_begin(me);
    for (uint32_t i = 0; i < CHILDREN; i++) {
        weir_oneshot_init(&me->oneshots[i]);
        family_add(me, context, answer_poll, i);
    }
    for (me->i = 0; me->i < CHILDREN; me->i++) {
        weir_oneshot_recv_init(&me->oneshot, &me->oneshots[me->i]);
        weir_await(me, context, &me->oneshot);
        stress_must(me->oneshot.value == 1000 + me->i, "oneshot: a value is wrong");
    }
    weir_return(me, 0);
    weir_exit(me);
    weir_drop(&me->oneshot.future, context);
    weir_end(me);
}

static enum weir_poll sleep_poll(struct weir_future *future, struct weir_context *context)
{
    struct family *me = (struct family *)future;
    weir_begin(me);
    for (me->i = 0; me->i < 5; me->i++) {
        me->begun_ns = stress_clock_ns();
        weir_sleep_init(&me->sleep, stress_random(&me->seed, 9000000));
        weir_await(me, context, &me->sleep);
        stress_must(stress_clock_ns() >= me->begun_ns + me->sleep.duration_ns, "sleep: early");
        stress_must(stress_clock_ns() < me->begun_ns + 5 * S, "sleep: seconds late");
    }
    weir_return(me, 0);
    weir_exit(me);
    weir_drop(&me->sleep.future, context);
    weir_end(me);
}

static enum weir_poll napper_poll(struct weir_future *future, struct weir_context *context)
{
    struct child *me = (struct child *)future;
    weir_begin(me);
    weir_sleep_init(&me->sleep, me->number * 10000);
    weir_await(me, context, &me->sleep);
    weir_return(me, 7);
    weir_exit(me);
    weir_drop(&me->sleep.future, context);
    weir_end(me);
}

static enum weir_poll join_poll(struct weir_future *future, struct weir_context *context)
{
    struct family *me = (struct family *)future;
    weir_begin(me);
    for (me->i = 0; me->i < 20; me->i++) {
        struct child child = {.future.poll = napper_poll, .number = stress_random(&me->seed, 30)};
        int error = weir_spawn(context, &child.future, sizeof child, 0, &me->handle);
        stress_must(error == 0, "join: cannot spawn");
        weir_yield_init(&me->yield);
        weir_await(me, context, &me->yield);
        if (me->i % 3 == 0) {
            weir_task_cancel(me->handle);
        }
        if (me->i % 5 == 4) {
            weir_task_detach(me->handle);
            continue;
        }
        weir_task_join_init(&me->join, me->handle);
        weir_await(me, context, &me->join);
        int32_t result = me->join.future.result;
        stress_must(result == 7 || (me->i % 3 == 0 && result == WEIR_ECANCELED),
                    "join: a wrong result");
    }
    weir_return(me, 0);
    weir_exit(me);
    weir_drop(&me->join.future, context);
    weir_end(me);
}

// One child keeps its worker until the other, queued before it, was run by another worker.
static atomic_bool long_poll;

static enum weir_poll quick_poll(struct weir_future *future, struct weir_context *context)
{
    (void)context;
    atomic_store(&((struct child *)future)->family->ran, true);
    future->resume = WEIR_RESUME_DONE;
    return WEIR_READY;
}

static enum weir_poll long_poll_poll(struct weir_future *future, struct weir_context *context)
{
    (void)context;
    struct family *family = ((struct child *)future)->family;
    uint64_t end_ns = stress_clock_ns() + 10 * S;
    while (!atomic_load(&family->ran)) {
        stress_must(stress_clock_ns() < end_ns, "a queued task is not run while one poll is long");
    }
    future->resume = WEIR_RESUME_DONE;
    return WEIR_READY;
}

static enum weir_poll share_poll(struct weir_future *future, struct weir_context *context)
{
    struct family *me = (struct family *)future;
    weir_begin(me);
    if (atomic_exchange(&long_poll, true)) { // two of them could wait for each other
        weir_return(me, 0);
    }
    family_add(me, context, quick_poll, 0);
    family_add(me, context, long_poll_poll, 1);
    weir_scope_wait_init(&me->wait, &me->scope);
    weir_await(me, context, &me->wait);
    atomic_store(&long_poll, false);
    weir_return(me, 0);
    weir_exit(me);
    weir_drop(&me->wait.future, context);
    weir_end(me);
}

static weir_poll_fn *const families[] = {channel_poll, notify_poll, mutex_poll, oneshot_poll,
                                         sleep_poll,   join_poll,   share_poll, share_poll};

struct host {
    struct weir_runtime *runtime;
    uint64_t seed;
    uint32_t part;
};

static void *host_main(void *argument)
{
    struct host *host = argument;
    for (uint32_t i = 0; i < 60 && !atomic_load(&stress_over); i++) {
        uint32_t kind = stress_random(&host->seed, sizeof families / sizeof families[0]);
        struct family family = {
            .future.poll = families[kind], .seed = host->seed, .runtime = host->runtime};
        stress_must(weir_block_on(host->runtime, &family.future, sizeof family) == 0,
                    "block_on: not 0");
        stress_step(host->part);
    }
    return NULL;
}

void *stress_runtime(void *argument)
{
    uint32_t part = (uint32_t)(uintptr_t)argument;
    uint64_t seed = stress_clock_ns() + part;
    while (!atomic_load(&stress_over)) {
        struct weir_runtime_options options = {.workers = 2 + stress_random(&seed, 3)};
        struct host hosts[3];
        pthread_t threads[3];
        struct weir_runtime *runtime;
        stress_must(weir_runtime_create(&runtime, &options) == 0, "no runtime");
        for (uint32_t i = 0; i < 3; i++) {
            hosts[i] = (struct host){runtime, seed + i * 77, part};
            stress_start(&threads[i], host_main, &hosts[i]);
        }
        for (uint32_t i = 0; i < 3; i++) {
            pthread_join(threads[i], NULL);
        }
        weir_runtime_destroy(runtime);
        (void)stress_random(&seed, 2);
    }
    return NULL;
}
