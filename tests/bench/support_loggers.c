// Threads that log, paced or flooding, and what it cost them.
#include "tests/bench/support_loggers.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define THREADS_MAX 8u
#define BURST 20u
#define TIMED_MAX (1u << 18)
#define MESSAGE_BYTES_MAX 4096u
#define START_NS 5000000u

struct logger {
    pthread_t thread;
    bool (*log)(void *target, const char *message, size_t bytes);
    void *target;
    const struct bench_log_shape *shape;
    bool yields;
    uint64_t begin_ns, end_ns;
    uint64_t calls, refused, whole_calls, whole_ns;
    uint32_t timed_count;
    uint32_t *timed_ns;
};

static struct logger loggers[THREADS_MAX];

static void burst_whole(struct logger *me, const char *message)
{
    uint64_t before_ns = bench_now_ns();
    for (uint32_t i = 0; i < BURST; i++) {
        me->refused += !me->log(me->target, message, me->shape->bytes);
    }
    me->whole_ns += bench_now_ns() - before_ns;
    me->whole_calls += BURST;
}

static void burst_timed(struct logger *me, const char *message)
{
    uint64_t before_ns = bench_now_ns();
    for (uint32_t i = 0; i < BURST && me->timed_count < TIMED_MAX; i++) {
        me->refused += !me->log(me->target, message, me->shape->bytes);
        uint64_t after_ns = bench_now_ns();
        me->timed_ns[me->timed_count++] = (uint32_t)(after_ns - before_ns);
        before_ns = after_ns;
        me->calls++;
    }
}

static void *logger_run(void *argument)
{
    struct logger *me = argument;
    char message[MESSAGE_BYTES_MAX];
    memset(message, 'm', sizeof(message));
    uint32_t one_in = me->shape->period_ns > 0 ? 2 : 8;
    bench_sleep_until(me->begin_ns);
    uint64_t due_ns = me->begin_ns;
    for (uint32_t i = 0; i < one_in || bench_now_ns() < me->end_ns; i++) {
        if (i % one_in == 0) {
            burst_timed(me, message);
        } else {
            burst_whole(me, message);
        }
        if (me->shape->period_ns > 0) {
            uint64_t now_ns = bench_now_ns();
            due_ns += me->shape->period_ns;
            due_ns = due_ns < now_ns ? now_ns : due_ns; // what was missed is not made up for
            bench_spin_until(due_ns, me->yields);
        }
    }
    me->calls += me->whole_calls;
    me->end_ns = bench_now_ns();
    return NULL;
}

void bench_loggers_run(const struct bench_case *self,
                       bool (*log)(void *target, const char *message, size_t bytes), void *target)
{
    size_t timed_bytes = sizeof(*loggers[0].timed_ns) * TIMED_MAX * self->count;
    uint32_t *timed_ns = malloc(timed_bytes);
    bench_check(timed_ns != NULL && self->count <= THREADS_MAX, "malloc");
    memset(timed_ns, 1, timed_bytes); // known to the kernel
    uint64_t begin_ns = bench_now_ns() + START_NS;
    for (uint32_t i = 0; i < self->count; i++) {
        loggers[i] = (struct logger){.log = log,
                                     .target = target,
                                     .shape = self->what,
                                     .yields = self->count > 1,
                                     .begin_ns = begin_ns,
                                     .end_ns = begin_ns + bench_duration_ns(),
                                     .timed_ns = timed_ns + (size_t)i * TIMED_MAX};
        bench_check(pthread_create(&loggers[i].thread, NULL, logger_run, &loggers[i]) == 0,
                    "thread");
    }
    for (uint32_t i = 0; i < self->count; i++) {
        pthread_join(loggers[i].thread, NULL);
    }
}

void bench_loggers_report(const struct bench_case *self, uint64_t driven_out)
{
    uint64_t calls = 0, refused = driven_out, whole_calls = 0, whole_ns = 0, end_ns = 0;
    uint32_t *timed_ns = loggers[0].timed_ns, timed_count = 0; // one block for all
    for (uint32_t i = 0; i < self->count; i++) {
        const struct logger *logger = &loggers[i];
        calls += logger->calls;
        refused += logger->refused;
        whole_calls += logger->whole_calls;
        whole_ns += logger->whole_ns;
        end_ns = logger->end_ns > end_ns ? logger->end_ns : end_ns;
        memmove(timed_ns + timed_count, logger->timed_ns, logger->timed_count * sizeof(*timed_ns));
        timed_count += logger->timed_count;
    }
    double call_ns = (double)whole_ns / (double)whole_calls;
    if (loggers[0].shape->period_ns == 0) {
        double took_ns = (double)(end_ns - loggers[0].begin_ns);
        bench_sample("kept", "M/s", (double)(calls - refused) * 1e3 / took_ns);
        bench_sample("offered", "M/s", (double)calls * 1e3 / took_ns);
    }
    bench_sample("call", "ns", call_ns);
    bench_percentiles(timed_ns, timed_count);
    bench_sample("refused", "%", (double)refused * 100 / (double)calls);
    free(timed_ns);
}

void bench_loggers_add(const char *const *whos, size_t whos_count, bool floods,
                       void (*measure)(const struct bench_case *self))
{
    static const struct bench_log_shape shapes[] = {
        {128, 100000}, {128, 0}, {4096, 500000}, {4096, 0}};
    for (size_t s = 0; s < sizeof(shapes) / sizeof(shapes[0]); s++) {
        for (uint32_t threads = 1; threads <= THREADS_MAX; threads *= 2) {
            for (size_t w = 0; w < whos_count && (floods || shapes[s].period_ns > 0); w++) {
                bench_add(whos[w], measure, &shapes[s], threads, "log_%u_%s/%u", shapes[s].bytes,
                          shapes[s].period_ns > 0 ? "paced" : "flood", threads);
            }
        }
    }
}
