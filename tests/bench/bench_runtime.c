// Benchmark of the runtime: the scheduler cases other runtimes publish, with 1, 2 and 4 workers.
//
// spawn_local: 10,000 tasks spawned by a task. spawn_remote: the same from outside. yield: 200
// tasks yield 1,000 times. ping_pong: 1,000 pairs of tasks exchange two values over oneshots.
// chained: each of 1,000 tasks spawns the next. Prints the median and range of ROUNDS runs in
// microseconds, and nanoseconds per operation. Runs of different worker counts alternate.
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "weir.h"

#define ROUNDS 15

static double now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void must(int code)
{
    if (code < 0) {
        fprintf(stderr, "bench_runtime: %s\n", weir_error_text(code));
        exit(1);
    }
}

// Counts down in every finished task; the last one releases the waiting root.
struct counter {
    _Atomic uint32_t left;
    struct weir_notify done;
};

static void counter_down(struct counter *counter, struct weir_context *context)
{
    if (atomic_fetch_sub(&counter->left, 1) == 1) {
        weir_notify_one(&counter->done, context);
    }
}

struct leaf {
    struct weir_future future;
    struct counter *counter;
    struct weir_yield yield;
    uint32_t yields, depth;
};

static enum weir_poll leaf_poll(struct weir_future *future, struct weir_context *context)
{
    struct leaf *me = (struct leaf *)future;
    weir_begin(me);
    for (; me->yields > 0; me->yields--) {
        weir_yield_init(&me->yield);
        weir_await(me, context, &me->yield);
    }
    if (me->depth > 0) {
        struct leaf next = {
            .future = {leaf_poll, 0, 0}, .counter = me->counter, .depth = me->depth - 1};
        must(weir_spawn(context, &next.future, sizeof(next), 0, NULL));
    } else {
        counter_down(me->counter, context);
    }
    weir_return(me, 0);
    weir_exit(me);
    weir_end(me);
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
    weir_oneshot_send(me->out, context, me->recv.value + 1);
    weir_return(me, 0);
    weir_exit(me);
    weir_drop(&me->recv.future, context);
    weir_end(me);
}

struct ping {
    struct weir_future future;
    struct counter *counter;
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
    must(weir_spawn(context, &pong.future, sizeof(pong), 0, NULL));
    weir_oneshot_send(&me->there, context, 1);
    weir_oneshot_recv_init(&me->recv, &me->back);
    weir_await(me, context, &me->recv);
    counter_down(me->counter, context);
    weir_return(me, 0);
    weir_exit(me);
    weir_drop(&me->recv.future, context);
    weir_end(me);
}

struct bench {
    const char *name;
    uint32_t tasks, yields, depth;
    bool remote, pairs;
    uint32_t operations;
};

static const struct bench benches[] = {
    {"spawn_local", 10000, 0, 0, false, false, 10000},
    {"spawn_remote", 10000, 0, 0, true, false, 10000},
    {"yield", 200, 1000, 0, true, false, 200000},
    {"ping_pong", 1000, 0, 0, false, true, 1000},
    {"chained", 1, 0, 1000, false, false, 1000},
};

struct root {
    struct weir_future future;
    const struct bench *bench;
    struct counter *counter;
    struct weir_notified notified;
};

static enum weir_poll root_poll(struct weir_future *future, struct weir_context *context)
{
    struct root *me = (struct root *)future;
    weir_begin(me);
    for (uint32_t i = 0; !me->bench->remote && i < me->bench->tasks; i++) {
        if (me->bench->pairs) {
            struct ping ping = {.future = {ping_poll, 0, 0}, .counter = me->counter};
            must(weir_spawn(context, &ping.future, sizeof(ping), 0, NULL));
        } else {
            struct leaf leaf = {.future = {leaf_poll, 0, 0},
                                .counter = me->counter,
                                .yields = me->bench->yields,
                                .depth = me->bench->depth};
            must(weir_spawn(context, &leaf.future, sizeof(leaf), 0, NULL));
        }
    }
    weir_notified_init(&me->notified, &me->counter->done);
    weir_await(me, context, &me->notified);
    weir_return(me, 0);
    weir_exit(me);
    weir_drop(&me->notified.future, context);
    weir_end(me);
}

static double bench_once(struct weir_runtime *runtime, const struct bench *bench)
{
    struct counter counter;
    atomic_init(&counter.left, bench->tasks);
    weir_notify_init(&counter.done, runtime);
    struct root root = {.future = {root_poll, 0, 0}, .bench = bench, .counter = &counter};
    double start = now_us();
    for (uint32_t i = 0; bench->remote && i < bench->tasks; i++) {
        struct leaf leaf = {
            .future = {leaf_poll, 0, 0}, .counter = &counter, .yields = bench->yields};
        must(weir_runtime_spawn(runtime, &leaf.future, sizeof(leaf), 0, NULL));
    }
    must(weir_block_on(runtime, &root.future, sizeof(root)));
    return now_us() - start;
}

static int double_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(void)
{
    static const uint32_t workers[] = {1, 2, 4};
    enum {
        KINDS = sizeof(workers) / sizeof(workers[0]),
        COUNT = sizeof(benches) / sizeof(benches[0])
    };
    static double times[KINDS][COUNT][ROUNDS];
    struct weir_runtime *runtimes[KINDS];
    for (int k = 0; k < KINDS; k++) {
        must(weir_runtime_create(&runtimes[k],
                                 &(struct weir_runtime_options){.workers = workers[k]}));
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (int b = 0; b < COUNT; b++) {
            for (int k = 0; k < KINDS; k++) {
                times[k][b][round] = bench_once(runtimes[k], &benches[b]);
            }
        }
    }
    printf("%-14s %8s %10s %20s %8s\n", "bench", "workers", "median us", "range us", "ns/op");
    for (int b = 0; b < COUNT; b++) {
        for (int k = 0; k < KINDS; k++) {
            double *t = times[k][b];
            qsort(t, ROUNDS, sizeof(double), double_compare);
            printf("%-14s %8u %10.0f %9.0f .. %-8.0f %8.1f\n", benches[b].name, workers[k],
                   t[ROUNDS / 2], t[0], t[ROUNDS - 1], t[ROUNDS / 2] * 1e3 / benches[b].operations);
        }
    }
    for (int k = 0; k < KINDS; k++) {
        weir_runtime_destroy(runtimes[k]);
    }
    return 0;
}
