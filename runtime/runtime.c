// Creating, driving and ending a runtime.
#include "runtime/runtime.h"

#include <errno.h>
#include <string.h>

#include "runtime/assert.h"
#include "runtime/cold.h"
#include "runtime/lock.h"

static void runtime_free(struct weir_runtime *runtime)
{
    struct weir_os os = runtime->os;
    if (runtime->fork_guard != NULL) {
        os.fork_guard_close(os.self, runtime->fork_guard);
    }
    for (uint32_t i = 0; i < runtime->workers_count; i++) {
        weir_worker_deinit(&runtime->workers[i]);
    }
    weir_slab_deinit(&runtime->outside);
    weir_reactor_deinit(&runtime->reactor);
    os.release(os.self, runtime, runtime->bytes);
}

static void runtime_stop_threads(struct weir_runtime *runtime, uint32_t started_count)
{
    // [W5] As [W1], for the end: stop, then wake; or fall asleep, then look whether to stop.
    atomic_store_explicit(&runtime->stopping, 1, memory_order_seq_cst);
    weir_idle_wake_all(runtime);
    for (uint32_t i = 0; i < started_count; i++) {
        int error = runtime->os.thread_join(runtime->os.self, runtime->workers[i].thread);
        weir_assert(error == 0);
    }
}

#define AN_HOUR_NS 3600000000000u

// A host's timer is made now, when there is somebody to tell that there is none to be had.
static int runtime_make_timer(struct weir_runtime *runtime)
{
    const struct weir_os *os = &runtime->os;
    struct weir_poller *poller = &runtime->reactor.poller;
    int error = os->poller_arm(os->self, poller, os->now_ns(os->self) + AN_HOUR_NS);
    return error < 0 ? error : os->poller_arm(os->self, poller, WEIR_NEVER);
}

static int runtime_start_threads(struct weir_runtime *runtime)
{
    for (uint32_t i = 0; i < runtime->threads_count; i++) {
        struct weir_worker *worker = &runtime->workers[i];
        int error =
            runtime->os.thread_start(runtime->os.self, &worker->thread, weir_worker_main, worker);
        if (error < 0) {
            runtime_stop_threads(runtime, i);
            return error;
        }
    }
    if (runtime->threads_count == 0) {
        weir_worker_turn_init(&runtime->workers[0]);
        return runtime_make_timer(runtime);
    }
    return 0;
}

WEIR_COLD int weir_runtime_create(struct weir_runtime **out,
                                  const struct weir_runtime_options *options)
{
    *out = NULL;
    if (options->workers > WEIR_WORKERS_MAX) {
        return WEIR_EOPTION;
    }
    struct weir_os os = options->os != NULL ? *options->os : weir_os_linux();
    uint32_t count = options->workers == 0 ? 1 : options->workers;
    size_t bytes = sizeof(struct weir_runtime) + count * sizeof(struct weir_worker);
    struct weir_runtime *runtime = os.alloc(os.self, bytes, _Alignof(struct weir_runtime));
    if (runtime == NULL) {
        return WEIR_EMEMORY;
    }
    runtime->os = os;
    runtime->bytes = bytes;
    runtime->workers_count = count;
    runtime->threads_count = options->workers;
    weir_slab_init(&runtime->outside, runtime, &runtime->os);
    weir_lookups_init(&runtime->lookups, &runtime->os);
    for (uint32_t i = 0; i < count; i++) {
        weir_worker_init(&runtime->workers[i], runtime, i);
    }
    int error = weir_reactor_init(&runtime->reactor, &runtime->os);
    if (error == 0) {
        error = os.fork_guard_open(os.self, &runtime->fork_guard);
    }
    if (error == 0) {
        error = runtime_start_threads(runtime);
    }
    if (error < 0) {
        runtime_free(runtime);
        return error;
    }
    *out = runtime;
    return 0;
}

WEIR_COLD static void task_drop(struct weir_task *task, void *argument)
{
    struct weir_context *context = argument;
    uint64_t state = atomic_load_explicit(&task->state, memory_order_acquire); // [T2]
    if ((state & WEIR_TASK_COMPLETE) != 0) {
        return;
    }
    context->waker = (struct weir_waker){task, weir_task_generation(task)};
    weir_drop(weir_task_future(task), context);
}

WEIR_COLD void weir_runtime_destroy(struct weir_runtime *runtime)
{
    if (weir_runtime_forked(runtime)) {
        weir_lookups_deinit_forked(&runtime->lookups);
        runtime_free(runtime);
        return;
    }
    runtime_stop_threads(runtime, runtime->threads_count);
    uint64_t now_ns = runtime->os.now_ns(runtime->os.self);
    struct weir_context context = {runtime, NULL, &runtime->os, {NULL, 0}, now_ns, 0};
    for (uint32_t i = 0; i < runtime->workers_count; i++) {
        weir_slab_visit(&runtime->workers[i].slab, task_drop, &context);
    }
    weir_slab_visit(&runtime->outside, task_drop, &context);
    weir_lookups_deinit(&runtime->lookups);
    runtime_free(runtime);
}

WEIR_COLD int weir_backend_fd(struct weir_runtime *runtime)
{
    return runtime->threads_count == 0 ? runtime->reactor.poller.fd : -EINVAL;
}

int weir_turn(struct weir_runtime *runtime, uint32_t polls_max, uint64_t wait_max_ns)
{
    if (runtime->threads_count != 0) {
        return -EINVAL;
    }
    if (weir_runtime_forked(runtime)) {
        return WEIR_EFORKED;
    }
    uint32_t count_max = polls_max < INT32_MAX / 2 ? polls_max : INT32_MAX / 2;
    return (int)weir_worker_turn(&runtime->workers[0], count_max, wait_max_ns, &runtime->stopping);
}

WEIR_COLD void weir_runtime_stats(struct weir_runtime *runtime, struct weir_runtime_stats *stats)
{
    memset(stats, 0, sizeof(*stats));
    stats->spawned = weir_stat_get(&runtime->outside_spawned);
    for (uint32_t i = 0; i < runtime->workers_count; i++) {
        struct weir_worker_stats *from = &runtime->workers[i].stats;
        stats->polls += weir_stat_get(&from->polls);
        stats->spawned += weir_stat_get(&from->spawned);
        stats->completed += weir_stat_get(&from->completed);
        stats->stolen += weir_stat_get(&from->stolen);
        stats->overflowed += weir_stat_get(&from->overflowed);
        stats->parks += weir_stat_get(&from->parks);
        stats->unparks += weir_stat_get(&from->unparks);
        stats->events += weir_stat_get(&from->events);
        stats->timers_fired += weir_stat_get(&from->timers_fired);
    }
}

const struct weir_os *weir_runtime_os(const struct weir_runtime *runtime)
{
    return &runtime->os;
}

uint32_t weir_runtime_threads(const struct weir_runtime *runtime)
{
    return runtime->threads_count;
}
