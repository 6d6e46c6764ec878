// The harness of the benchmarks: a program measures one case, once, and prints JSON lines.
//
//   bench_x --list         a line "ROW WHO" for each case, in the order of the table
//   bench_x ROW WHO MS     measures that case for about so long; one line for each metric
//
// A row is what is measured ("log_128_paced/1"), `who` is whose way of doing it. tests/bench/run
// calls the programs in turns, A B A B, so that a busy moment of the machine strikes all alike,
// and each time as a new process, so that no layout of memory favours one; tests/bench/table
// takes medians and ratios. A peer in another language has the same command line and prints the
// same lines.
#ifndef WEIR_TESTS_BENCH_BENCH_H
#define WEIR_TESTS_BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus // peers in C++ are linked with it
extern "C" {
#endif

struct bench_case {
    char row[48];
    char who[24];
    void (*measure)(const struct bench_case *self);
    const void *what; // the program's own
    uint32_t count;   // of threads, of workers
};

// Says that the program can measure this. `row` is a format of printf.
void bench_add(const char *who, void (*measure)(const struct bench_case *self), const void *what,
               uint32_t count, const char *row, ...) __attribute__((format(printf, 5, 6)));

// What main returns, once all cases are added.
int bench_main(int argc, char **argv);

// ---- While a case is measured ----

// MS, in nanoseconds.
uint64_t bench_duration_ns(void);

// Prints one sample. The row's first metric is the one that is compared. Of units that end in "/s"
// more is better, of all others less.
void bench_sample(const char *metric, const char *unit, double value);

// Prints p50, p99, p99.9 and max. Sorts.
void bench_percentiles(uint32_t *values_ns, size_t count);

// Calls `iterate` once to warm up and then until the time is over, at least three times, and prints
// the median of its durations, as the metric "time" in microseconds.
void bench_iterations(void (*iterate)(void *argument), void *argument);

// Prints the median of durations in nanoseconds as a metric in microseconds. Sorts.
void bench_median(const char *metric, uint64_t *durations, size_t count);

uint64_t bench_now_ns(void);
// Until the clock says so; lets others run where there are more threads than processors.
void bench_spin_until(uint64_t deadline_ns, bool yields);
void bench_sleep_until(uint64_t deadline_ns);

// Ends the program with what `code`, 0 or more, or a code of the library, or -errno, says.
int bench_must(int code, const char *what);
// The same for what sets errno.
void bench_check(bool good, const char *what);

#ifdef __cplusplus
}
#endif

#endif
