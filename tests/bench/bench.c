// The harness: the cases of a program, its command line, the clock, and how samples are printed.
#include "tests/bench/bench.h"

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "weir.h"

#define CASES_MAX 256
#define ITERATIONS_MAX 100000
#define NS_PER_MS 1000000u

static struct bench_case cases[CASES_MAX];
static size_t cases_count;
static const struct bench_case *measured;
static uint64_t duration_ns;

void bench_check(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
        exit(1);
    }
}

int bench_must(int code, const char *what)
{
    if (code < 0) {
        bool ours = strcmp(weir_error_text(code), weir_error_text(-EINVAL)) != 0;
        fprintf(stderr, "bench: %s: %s\n", what, ours ? weir_error_text(code) : strerror(-code));
        exit(1);
    }
    return code;
}

uint64_t bench_now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void bench_spin_until(uint64_t deadline_ns, bool yields)
{
    while (bench_now_ns() < deadline_ns) {
        if (yields) {
            (void)sched_yield();
        }
    }
}

void bench_sleep_until(uint64_t deadline_ns)
{
    struct timespec deadline = {(time_t)(deadline_ns / 1000000000u),
                                (long)(deadline_ns % 1000000000u)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &deadline, NULL) == EINTR) {
    }
}

void bench_add(const char *who, void (*measure)(const struct bench_case *self), const void *what,
               uint32_t count, const char *row, ...)
{
    struct bench_case *added = &cases[cases_count];
    bench_check(cases_count < CASES_MAX, "too many cases");
    cases_count++;
    va_list arguments;
    va_start(arguments, row);
    (void)vsnprintf(added->row, sizeof(added->row), row, arguments);
    va_end(arguments);
    (void)snprintf(added->who, sizeof(added->who), "%s", who);
    added->measure = measure;
    added->what = what;
    added->count = count;
}

uint64_t bench_duration_ns(void)
{
    return duration_ns;
}

void bench_sample(const char *metric, const char *unit, double value)
{
    printf("{\"row\":\"%s\",\"who\":\"%s\",\"metric\":\"%s\",\"unit\":\"%s\",\"value\":%.6g}\n",
           measured->row, measured->who, metric, unit, value);
}

static int value_compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

void bench_percentiles(uint32_t *values_ns, size_t count)
{
    if (count == 0) {
        return;
    }
    qsort(values_ns, count, sizeof(*values_ns), value_compare);
    bench_sample("p50", "ns", values_ns[count / 2]);
    bench_sample("p99", "ns", values_ns[count * 99 / 100]);
    bench_sample("p99.9", "ns", values_ns[count * 999 / 1000]);
    bench_sample("max", "ns", values_ns[count - 1]);
}

static int duration_compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

void bench_median(const char *metric, uint64_t *durations, size_t count)
{
    qsort(durations, count, sizeof(durations[0]), duration_compare);
    bench_sample(metric, "us", (double)durations[count / 2] / 1e3);
}

void bench_iterations(void (*iterate)(void *argument), void *argument)
{
    static uint64_t durations[ITERATIONS_MAX];
    size_t count = 0;
    iterate(argument);
    uint64_t begin_ns = bench_now_ns(), now_ns = begin_ns;
    while (count < ITERATIONS_MAX && (count < 3 || now_ns - begin_ns < duration_ns)) {
        iterate(argument);
        uint64_t end_ns = bench_now_ns();
        durations[count++] = end_ns - now_ns;
        now_ns = end_ns;
    }
    bench_median("time", durations, count);
}

int bench_main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        for (size_t i = 0; i < cases_count; i++) {
            printf("%s %s\n", cases[i].row, cases[i].who);
        }
        return 0;
    }
    for (size_t i = 0; argc == 4 && i < cases_count; i++) {
        if (strcmp(cases[i].row, argv[1]) == 0 && strcmp(cases[i].who, argv[2]) == 0) {
            duration_ns = strtoull(argv[3], NULL, 10) * NS_PER_MS;
            measured = &cases[i];
            measured->measure(measured);
            return 0;
        }
    }
    fprintf(stderr, "usage: %s --list\n       %s ROW WHO MILLISECONDS\n", argv[0], argv[0]);
    return 2;
}
