// Threads that log and say what it cost them, whatever they log to.
#ifndef WEIR_TESTS_BENCH_SUPPORT_LOGGERS_H
#define WEIR_TESTS_BENCH_SUPPORT_LOGGERS_H

#include "tests/bench/bench.h"

#ifdef __cplusplus // peers in C++ are linked with it
extern "C" {
#endif

struct bench_log_shape {
    uint32_t bytes;
    uint32_t period_ns; // of a burst of 20 messages; 0: flooding
};

// Adds the cases log_BYTES_paced/THREADS and log_BYTES_flood/THREADS, for 128 bytes and 4 KiB and 1
// to 8 threads, each in so many ways; paced alone, unless `floods`. A case's `what` is its shape,
// its `count` the threads.
void bench_loggers_add(const char *const *whos, size_t whos_count, bool floods,
                       void (*measure)(const struct bench_case *self));

// Runs the threads for the given time. Every other burst (flooding: every eighth) is timed call by
// call, the others as a whole. `log` says whether the message was taken.
void bench_loggers_run(const struct bench_case *self,
                       bool (*log)(void *target, const char *message, size_t bytes), void *target);

// Prints what the run has measured. Flooding: kept M/s, offered M/s. Then: the mean call ns of
// whole bursts, the percentiles of single calls, each with one look at the clock, and % refused;
// so many that were taken and then driven out by later ones count as refused.
void bench_loggers_report(const struct bench_case *self, uint64_t driven_out);

#ifdef __cplusplus
}
#endif

#endif
