// Resident memory of tasks that wait: for a notification that never comes, or asleep for an hour.
//
// The growth of the process's resident set, in bytes for each task, while they are spawned from
// outside and after all have been polled once; and how long a task takes for that.
#include "tests/bench/bench.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "weir.h"

#define HOUR_NS 3600000000000u

static _Atomic uint32_t waiting;
static struct weir_notify never;

struct idler {
    struct weir_future future;
    struct weir_notified notified;
};

static enum weir_poll idler_poll(struct weir_future *future, struct weir_context *context)
{
    struct idler *me = (struct idler *)future;
    weir_begin(me);
    atomic_fetch_add(&waiting, 1);
    weir_notified_init(&me->notified, &never);
    weir_await(me, context, &me->notified);
    weir_exit(me);
    weir_drop(&me->notified.future, context);
    weir_end(me);
}

struct sleeper {
    struct weir_future future;
    struct weir_sleep sleep;
};

static enum weir_poll sleeper_poll(struct weir_future *future, struct weir_context *context)
{
    struct sleeper *me = (struct sleeper *)future;
    weir_begin(me);
    atomic_fetch_add(&waiting, 1);
    weir_sleep_init(&me->sleep, HOUR_NS);
    weir_await(me, context, &me->sleep);
    weir_exit(me);
    weir_drop(&me->sleep.future, context);
    weir_end(me);
}

static double resident_bytes(void)
{
    unsigned long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    bench_check(file != NULL && fscanf(file, "%lu %lu", &size, &resident) == 2, "statm");
    (void)fclose(file);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static void memory_measure(const struct bench_case *self, const struct weir_future *task,
                           size_t task_bytes)
{
    struct weir_runtime *runtime;
    bench_must(weir_runtime_create(&runtime, &(struct weir_runtime_options){.workers = 1}),
               "runtime");
    weir_notify_init(&never, runtime);
    double before_bytes = resident_bytes();
    uint64_t begin_ns = bench_now_ns();
    for (uint32_t i = 0; i < self->count; i++) {
        bench_must(weir_runtime_spawn(runtime, task, task_bytes, 0, NULL), "spawn");
    }
    while (atomic_load(&waiting) < self->count) {
        (void)sched_yield();
    }
    uint64_t took_ns = bench_now_ns() - begin_ns;
    double bytes = (resident_bytes() - before_bytes) / self->count;
    bench_sample("resident", "bytes", bytes);
    bench_sample("spawn", "ns", (double)took_ns / self->count);
    weir_runtime_destroy(runtime);
}

static void idle_measure(const struct bench_case *self)
{
    struct idler idler = {.future = {idler_poll, 0, 0}};
    memory_measure(self, &idler.future, sizeof(idler));
}

static void sleeping_measure(const struct bench_case *self)
{
    struct sleeper sleeper = {.future = {sleeper_poll, 0, 0}};
    memory_measure(self, &sleeper.future, sizeof(sleeper));
}

int main(int argc, char **argv)
{
    for (uint32_t count = 100; count <= 1000000; count *= 10) {
        bench_add("weir", idle_measure, NULL, count, "tasks_idle/%u", count);
        bench_add("weir", sleeping_measure, NULL, count, "tasks_sleeping/%u", count);
    }
    return bench_main(argc, argv);
}
