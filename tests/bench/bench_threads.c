// Threads and runtimes: spawning from many threads, waking across threads, creating a runtime.
//
// remote_spawn  12,800 tasks spawned by so many threads, on two workers, as in Tokio's
//               benches/remote_spawn.rs. time: from when the first thread begins to spawn until
//               the last one has spawned its share; done: until the last task has run. Each thread
//               looks at the clock itself. Tokio's own has one clock, of the thread that starts the
//               others, which may be late: where there are fewer processors than threads, others
//               have spawned by the time that it runs.
// cross_wake    100 round trips between two tasks, each on a runtime with one worker
// create        a runtime with so many workers created and destroyed
#include "tests/bench/bench.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "weir.h"

#define SPAWNS 12800u
#define SPAWN_WORKERS 2u
#define SPAWNERS_MAX 1000u
#define ROUND_TRIPS 100u
#define ITERATIONS_MAX 10000u

// Everything a case is about. One for a process.
static struct {
    const struct bench_case *self;
    struct weir_runtime *runtime, *other;
    _Atomic uint32_t left;
    _Atomic uint64_t done_ns; // when the last task ran
    pthread_barrier_t barrier;
    struct weir_notify there, back;
} bench;

static struct weir_runtime *runtime_get(uint32_t workers)
{
    struct weir_runtime *runtime;
    bench_must(weir_runtime_create(&runtime, &(struct weir_runtime_options){.workers = workers}),
               "runtime");
    return runtime;
}

// ---- Spawning from many threads ----

static enum weir_poll leaf_poll(struct weir_future *future, struct weir_context *context)
{
    (void)future;
    (void)context;
    if (atomic_fetch_sub(&bench.left, 1) == 1) {
        atomic_store(&bench.done_ns, bench_now_ns());
    }
    return WEIR_READY;
}

struct remote_spawner {
    pthread_t thread;
    uint64_t begin_ns, end_ns;
};

static void *remote_spawner_run(void *argument)
{
    struct remote_spawner *me = argument;
    (void)pthread_barrier_wait(&bench.barrier);
    me->begin_ns = bench_now_ns();
    for (uint32_t i = 0; i < SPAWNS / bench.self->count; i++) {
        struct weir_future leaf = {.poll = leaf_poll};
        bench_must(weir_runtime_spawn(bench.runtime, &leaf, sizeof(leaf), 0, NULL), "spawn");
    }
    me->end_ns = bench_now_ns();
    return NULL;
}

// returns  when the first thread began; *end_ns: when the last one had ended.
static uint64_t remote_spawn_once(uint64_t *end_ns)
{
    struct remote_spawner spawners[SPAWNERS_MAX];
    uint64_t begin_ns = UINT64_MAX;
    *end_ns = 0;
    for (uint32_t i = 0; i < bench.self->count; i++) {
        bench_check(pthread_create(&spawners[i].thread, NULL, remote_spawner_run, &spawners[i]) ==
                        0,
                    "thread");
    }
    for (uint32_t i = 0; i < bench.self->count; i++) {
        pthread_join(spawners[i].thread, NULL);
        begin_ns = spawners[i].begin_ns < begin_ns ? spawners[i].begin_ns : begin_ns;
        *end_ns = spawners[i].end_ns > *end_ns ? spawners[i].end_ns : *end_ns;
    }
    return begin_ns;
}

static void remote_spawn_measure(const struct bench_case *self)
{
    static uint64_t spawned_ns[ITERATIONS_MAX], done_ns[ITERATIONS_MAX];
    size_t count = 0;
    bench.self = self;
    bench.runtime = runtime_get(SPAWN_WORKERS);
    bench_check(pthread_barrier_init(&bench.barrier, NULL, self->count) == 0, "barrier");
    uint64_t limit_ns = bench_now_ns() + bench_duration_ns();
    while (count < 4 || (count < ITERATIONS_MAX && bench_now_ns() < limit_ns)) {
        atomic_store(&bench.left, SPAWNS / self->count * self->count);
        atomic_store(&bench.done_ns, 0);
        uint64_t end_ns, begin_ns = remote_spawn_once(&end_ns);
        while (atomic_load(&bench.done_ns) == 0) { // the next one starts with an idle runtime
            (void)sched_yield();
        }
        spawned_ns[count] = end_ns - begin_ns;
        done_ns[count++] = atomic_load(&bench.done_ns) - begin_ns;
    }
    bench_median("time", spawned_ns, count);
    bench_median("done", done_ns, count);
    weir_runtime_destroy(bench.runtime);
}

// ---- Waking across threads ----

struct crosser {
    struct weir_future future;
    struct weir_notified notified;
    struct weir_notify *in, *out;
    uint32_t left;
    bool first;
};

static enum weir_poll crosser_poll(struct weir_future *future, struct weir_context *context)
{
    struct crosser *me = (struct crosser *)future;
    weir_begin(me);
    for (; me->left > 0; me->left--) {
        if (me->first) {
            weir_notify_one(me->out, NULL); // its waiter is of another runtime
        }
        weir_notified_init(&me->notified, me->in);
        weir_await(me, context, &me->notified);
        if (!me->first) {
            weir_notify_one(me->out, NULL);
        }
    }
    weir_exit(me);
    weir_drop(&me->notified.future, context);
    weir_end(me);
}

static void cross_wake(void *unused)
{
    (void)unused;
    struct crosser first = {.future = {crosser_poll, 0, 0},
                            .in = &bench.back,
                            .out = &bench.there,
                            .left = ROUND_TRIPS,
                            .first = true};
    struct crosser second = {.future = {crosser_poll, 0, 0},
                             .in = &bench.there,
                             .out = &bench.back,
                             .left = ROUND_TRIPS};
    weir_notify_init(&bench.there, bench.other);
    weir_notify_init(&bench.back, bench.runtime);
    struct weir_handle handle;
    bench_must(weir_runtime_spawn(bench.other, &second.future, sizeof(second), 0, &handle),
               "spawn");
    bench_must(weir_block_on(bench.runtime, &first.future, sizeof(first)), "block_on");
    struct weir_task_join join;
    memset(&join, 0, sizeof(join));
    weir_task_join_init(&join, handle);
    bench_must(weir_block_on(bench.other, &join.future, sizeof(join)), "block_on");
}

static void cross_measure(const struct bench_case *self)
{
    bench.self = self;
    bench.runtime = runtime_get(1);
    bench.other = runtime_get(1);
    bench_iterations(cross_wake, NULL);
    weir_runtime_destroy(bench.runtime);
    weir_runtime_destroy(bench.other);
}

// ---- Creating ----

static void create(void *unused)
{
    (void)unused;
    struct weir_runtime *runtime;
    struct weir_runtime_options options = {.workers = bench.self->count};
    bench_must(weir_runtime_create(&runtime, &options), "runtime");
    weir_runtime_destroy(runtime);
}

static void create_measure(const struct bench_case *self)
{
    bench.self = self;
    bench_iterations(create, NULL);
}

int main(int argc, char **argv)
{
    for (uint32_t threads = 1; threads <= 8; threads *= 2) {
        bench_add("weir", remote_spawn_measure, NULL, threads, "remote_spawn/%u", threads);
    }
    for (uint32_t threads = 10; threads <= SPAWNERS_MAX; threads *= 10) {
        bench_add("weir", remote_spawn_measure, NULL, threads, "remote_spawn/%u", threads);
    }
    bench_add("weir", cross_measure, NULL, 1, "cross_wake/1");
    bench_add("weir", create_measure, NULL, 0, "create/0");
    bench_add("weir", create_measure, NULL, 1, "create/1");
    bench_add("weir", create_measure, NULL, 2, "create/2");
    return bench_main(argc, argv);
}
