// An operating system that counts the system calls made through it, by who makes them.
#ifndef WEIR_TESTS_BENCH_SUPPORT_COUNT_H
#define WEIR_TESTS_BENCH_SUPPORT_COUNT_H

#include "runtime/os.h"

// Of threads that called bench_count_as_logger, and of all others.
struct bench_counts {
    uint64_t by_loggers, by_others;
};

// The operating system's own, counting. One for a process.
struct weir_os bench_count_os(void);
void bench_count_as_logger(void);
struct bench_counts bench_counts(void);

#endif
