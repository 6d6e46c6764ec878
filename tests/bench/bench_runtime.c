// The scheduler, on the cases that Tokio publishes for its own.
//
// Of benches/rt_multi_threaded.rs and rt_current_thread.rs, with the same constants; the time of
// one iteration.
//
// spawn_many_local     10,000 tasks spawned inside block_on; the last one to end says so
// spawn_in_worker      the same from inside a task
// spawn_many_remote_*  10,000 tasks spawned from outside, then all joined; idle: nothing else runs;
//                      busy1: beside 2 tasks a worker that yield and stall for 10 us; busy2: 1,000
//                      tasks, beside a chain of tasks a worker that stall and spawn the next
// yield_many           200 tasks yield 1,000 times each
// ping_pong            1,000 pairs of tasks exchange two values over oneshots
// chained_spawn        a task spawns the next, 1,000 times
// current_*            zero workers: 1,000 tasks spawned and joined; 200 tasks yield 1,000 times
//
// After the slash: workers.
#include "tests/bench/bench.h"

#include <stdatomic.h>

#include "weir.h"

#define SPAWNS 10000u
#define BUSY2_SPAWNS 1000u
#define STALL_NS 10000u
#define YIELDERS 200u
#define YIELDS 1000u
#define PAIRS 1000u
#define CHAIN 1000u
#define CURRENT_SPAWNS 1000u

// Everything a case is about. One for a process.
static struct {
    struct weir_runtime *runtime;
    uint32_t tasks;
    _Atomic uint32_t left;
    _Atomic bool over; // background tasks end
    struct weir_notify done;
    struct weir_handle handles[SPAWNS];
} bench;

static void stall(void)
{
    bench_spin_until(bench_now_ns() + STALL_NS, true);
}

static void counter_down(struct weir_context *context)
{
    if (atomic_fetch_sub(&bench.left, 1) == 1) {
        weir_notify_one(&bench.done, context);
    }
}

// ---- Tasks ----

static enum weir_poll noop_poll(struct weir_future *future, struct weir_context *context)
{
    (void)future;
    (void)context;
    return WEIR_READY;
}

static enum weir_poll leaf_poll(struct weir_future *future, struct weir_context *context)
{
    (void)future;
    counter_down(context);
    return WEIR_READY;
}

struct yielder {
    struct weir_future future;
    struct weir_yield yield;
    uint32_t yields;
};

static enum weir_poll yielder_poll(struct weir_future *future, struct weir_context *context)
{
    struct yielder *me = (struct yielder *)future;
    weir_begin(me);
    for (; me->yields > 0; me->yields--) {
        weir_yield_init(&me->yield);
        weir_await(me, context, &me->yield);
    }
    counter_down(context);
    weir_exit(me);
    weir_end(me);
}

static enum weir_poll busy_poll(struct weir_future *future, struct weir_context *context)
{
    struct yielder *me = (struct yielder *)future;
    weir_begin(me);
    while (!atomic_load(&bench.over)) {
        weir_yield_init(&me->yield);
        weir_await(me, context, &me->yield);
        stall();
    }
    weir_exit(me);
    weir_end(me);
}

static enum weir_poll busy_chain_poll(struct weir_future *future, struct weir_context *context)
{
    (void)future;
    if (!atomic_load(&bench.over)) {
        struct weir_future next = {.poll = busy_chain_poll};
        stall();
        int spawned = weir_spawn(context, &next, sizeof(next), 0, NULL);
        bench_must(spawned == WEIR_ECLOSED ? 0 : spawned, "spawn"); // refused at the end
    }
    return WEIR_READY;
}

struct link {
    struct weir_future future;
    uint32_t left;
};

static enum weir_poll link_poll(struct weir_future *future, struct weir_context *context)
{
    struct link *me = (struct link *)future;
    struct link next = {{link_poll, 0, 0}, me->left - 1};
    if (me->left == 0) {
        counter_down(context);
    } else {
        bench_must(weir_spawn(context, &next.future, sizeof(next), 0, NULL), "spawn");
    }
    return WEIR_READY;
}

struct pong {
    struct weir_future future;
    struct weir_oneshot *in, *out;
    struct weir_oneshot_recv recv;
};

static enum weir_poll pong_poll(struct weir_future *future, struct weir_context *context)
{
    struct pong *me = (struct pong *)future;
    weir_begin(me);
    weir_oneshot_recv_init(&me->recv, me->in);
    weir_await(me, context, &me->recv);
    weir_oneshot_send(me->out, context, 1);
    weir_exit(me);
    weir_drop(&me->recv.future, context);
    weir_end(me);
}

struct ping {
    struct weir_future future;
    struct weir_oneshot there, back;
    struct weir_oneshot_recv recv;
};

static enum weir_poll ping_poll(struct weir_future *future, struct weir_context *context)
{
    struct ping *me = (struct ping *)future;
    weir_begin(me);
    weir_oneshot_init(&me->there);
    weir_oneshot_init(&me->back);
    struct pong pong = {.future = {pong_poll, 0, 0}, .in = &me->there, .out = &me->back};
    bench_must(weir_spawn(context, &pong.future, sizeof(pong), 0, NULL), "spawn");
    weir_oneshot_send(&me->there, context, 1);
    weir_oneshot_recv_init(&me->recv, &me->back);
    weir_await(me, context, &me->recv);
    counter_down(context);
    weir_exit(me);
    weir_drop(&me->recv.future, context);
    weir_end(me);
}

// ---- What block_on runs ----

// Spawns `count` copies of a task and waits for the last one.
struct spawner {
    struct weir_future future;
    struct weir_notified notified;
    weir_poll_fn *poll;
    uint32_t count, task_bytes, left;
};

static enum weir_poll spawner_poll(struct weir_future *future, struct weir_context *context)
{
    struct spawner *me = (struct spawner *)future;
    weir_begin(me);
    for (uint32_t i = 0; i < me->count; i++) {
        union {
            struct weir_future future;
            struct link link;
            struct ping ping;
        } task = {.link = {{me->poll, 0, 0}, me->left}};
        bench_must(weir_spawn(context, &task.future, me->task_bytes, 0, NULL), "spawn");
    }
    weir_notified_init(&me->notified, &bench.done);
    weir_await(me, context, &me->notified);
    weir_exit(me);
    weir_drop(&me->notified.future, context);
    weir_end(me);
}

static void block_on_spawner(weir_poll_fn *poll, uint32_t count, size_t task_bytes, uint32_t left)
{
    struct spawner spawner = {.future = {spawner_poll, 0, 0},
                              .poll = poll,
                              .count = count,
                              .task_bytes = (uint32_t)task_bytes,
                              .left = left};
    weir_notify_init(&bench.done, bench.runtime);
    bench_must(weir_block_on(bench.runtime, &spawner.future, sizeof(spawner)), "block_on");
}

struct joiner {
    struct weir_future future;
    struct weir_task_join join;
    uint32_t next;
    bool spawns;
};

static enum weir_poll joiner_poll(struct weir_future *future, struct weir_context *context)
{
    struct joiner *me = (struct joiner *)future;
    weir_begin(me);
    for (uint32_t i = 0; me->spawns && i < bench.tasks; i++) {
        struct weir_future noop = {.poll = noop_poll};
        bench_must(weir_spawn(context, &noop, sizeof(noop), 0, &bench.handles[i]), "spawn");
    }
    for (; me->next < bench.tasks; me->next++) {
        weir_task_join_init(&me->join, bench.handles[me->next]);
        weir_await(me, context, &me->join);
    }
    weir_exit(me);
    weir_drop(&me->join.future, context);
    weir_end(me);
}

// ---- One iteration ----

static void spawn_many_local(void *unused)
{
    (void)unused;
    atomic_store(&bench.left, SPAWNS);
    block_on_spawner(leaf_poll, SPAWNS, sizeof(struct weir_future), 0);
}

static void spawn_many_remote(void *unused)
{
    (void)unused;
    struct joiner joiner = {.future = {joiner_poll, 0, 0}};
    for (uint32_t i = 0; i < bench.tasks; i++) {
        struct weir_future noop = {.poll = noop_poll};
        bench_must(weir_runtime_spawn(bench.runtime, &noop, sizeof(noop), 0, &bench.handles[i]),
                   "spawn");
    }
    bench_must(weir_block_on(bench.runtime, &joiner.future, sizeof(joiner)), "block_on");
}

static void yield_many(void *unused)
{
    (void)unused;
    struct yielder yielder = {.future = {yielder_poll, 0, 0}, .yields = YIELDS};
    atomic_store(&bench.left, YIELDERS);
    weir_notify_init(&bench.done, bench.runtime);
    for (uint32_t i = 0; i < YIELDERS; i++) {
        bench_must(weir_runtime_spawn(bench.runtime, &yielder.future, sizeof(yielder), 0, NULL),
                   "spawn");
    }
    block_on_spawner(noop_poll, 0, sizeof(struct weir_future), 0);
}

static void ping_pong(void *unused)
{
    (void)unused;
    atomic_store(&bench.left, PAIRS);
    block_on_spawner(ping_poll, PAIRS, sizeof(struct ping), 0);
}

static void chained_spawn(void *unused)
{
    (void)unused;
    atomic_store(&bench.left, 1);
    block_on_spawner(link_poll, 1, sizeof(struct link), CHAIN);
}

static void current_spawn(void *unused)
{
    (void)unused;
    struct joiner joiner = {.future = {joiner_poll, 0, 0}, .spawns = true};
    bench_must(weir_block_on(bench.runtime, &joiner.future, sizeof(joiner)), "block_on");
}

// ---- Cases ----

enum background { IDLE, BUSY1, BUSY2 };

struct shape {
    const char *name;
    void (*iterate)(void *unused);
    uint32_t tasks;
    enum background background;
    uint32_t counts[5]; // of workers; the last one is followed by 0, but zero may be the first
};

static const struct shape shapes[] = {
    {"spawn_many_local", spawn_many_local, SPAWNS, IDLE, {1, 2, 4, 8}},
    {"spawn_in_worker", spawn_many_local, SPAWNS, IDLE, {1, 2, 4, 8}},
    {"spawn_many_remote_idle", spawn_many_remote, SPAWNS, IDLE, {1, 2, 4, 8}},
    {"spawn_many_remote_busy1", spawn_many_remote, SPAWNS, BUSY1, {1, 2, 4, 8}},
    {"spawn_many_remote_busy2", spawn_many_remote, BUSY2_SPAWNS, BUSY2, {1, 2, 4, 8}},
    {"yield_many", yield_many, 0, IDLE, {1, 2, 4, 8}},
    {"ping_pong", ping_pong, 0, IDLE, {1, 2, 4, 8}},
    {"chained_spawn", chained_spawn, 0, IDLE, {1, 2, 4, 8}},
    {"current_spawn", current_spawn, CURRENT_SPAWNS, IDLE, {0}},
    {"current_yield", yield_many, 0, IDLE, {0}},
};

static void background_start(enum background background, uint32_t workers)
{
    struct yielder busy = {.future = {busy_poll, 0, 0}};
    struct weir_future chain = {.poll = busy_chain_poll};
    for (uint32_t i = 0; background == BUSY1 && i < 2 * workers; i++) {
        bench_must(weir_runtime_spawn(bench.runtime, &busy.future, sizeof(busy), 0, NULL), "spawn");
    }
    for (uint32_t i = 0; background == BUSY2 && i < workers; i++) {
        bench_must(weir_runtime_spawn(bench.runtime, &chain, sizeof(chain), 0, NULL), "spawn");
    }
}

static void shape_measure(const struct bench_case *self)
{
    const struct shape *shape = self->what;
    bench.tasks = shape->tasks;
    bench_must(
        weir_runtime_create(&bench.runtime, &(struct weir_runtime_options){.workers = self->count}),
        "runtime");
    background_start(shape->background, self->count);
    bench_iterations(shape->iterate, NULL);
    atomic_store(&bench.over, true);
    weir_runtime_destroy(bench.runtime);
}

int main(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        for (size_t k = 0; k == 0 || shapes[i].counts[k] > 0; k++) {
            bench_add("weir", shape_measure, &shapes[i], shapes[i].counts[k], "%s/%u",
                      shapes[i].name, shapes[i].counts[k]);
        }
    }
    return bench_main(argc, argv);
}
