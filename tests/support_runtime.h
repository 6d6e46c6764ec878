// Helpers shared by the runtime's test suites.
//
// Runtimes to test with, an os that counts and fails, waiting for a condition, and death tests.
#ifndef WEIR_TESTS_SUPPORT_RUNTIME_H
#define WEIR_TESTS_SUPPORT_RUNTIME_H

#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "runtime/os.h"
#include "runtime/runtime.h"

// The real os with books: what is live, and which call is to fail (counted from 1; 0: none).
struct counting_os {
    struct weir_os os; // to be given to weir_runtime_create
    struct weir_os real;
    _Atomic int64_t live_blocks, live_bytes, live_threads, live_pollers, live_guards;
    _Atomic uint64_t allocs, thread_starts, poller_waits, poller_wakes, futex_waits, futex_wakes;
    _Atomic uint64_t alloc_fail_at, thread_fail_at, poller_open_fails, guard_open_fails;
    _Atomic int poller_wait_error; // when negative poller_wait answers this at once
};
void counting_os_init(struct counting_os *counting);
void counting_os_check_empty(struct counting_os *counting);

// Asserts success. `os` may be NULL.
struct weir_runtime *test_runtime_create(uint32_t workers, const struct weir_os *os);

// Waits, driving the runtime when it has no threads, until the counter has reached the value; fails
// the test after two minutes, which is a lost wake-up.
void test_wait_for(struct weir_runtime *runtime, _Atomic uint64_t *counter, uint64_t value);

// Turns a runtime without threads until nothing is left to do; gives the number of polls.
uint32_t test_turn_all(struct weir_runtime *runtime);

// The same number in every run with the same WEIR_SEED; prints it once.
uint64_t test_seed(void);
uint64_t test_random(uint64_t *state);

// Runs `body` in a child process and fails unless it ends in SIGABRT.
void test_expect_abort(void (*body)(void *), void *argument);

// Repetitions, fewer under the sanitizers, which are slower.
uint64_t test_times(uint64_t count);

void test_pause_us(uint32_t microseconds);
uint64_t test_now_ns(void);

#endif
