// What the parts of the stress program share.
#ifndef WEIR_TESTS_MUTANTS_STRESS_H
#define WEIR_TESTS_MUTANTS_STRESS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define MS UINT64_C(1000000)
#define S (1000 * MS)

// Threads that do their part until `stress_over`; several do the same part with different numbers.
enum stress_part {
    STRESS_QUEUE,
    STRESS_RUNTIME,
    STRESS_ROW = STRESS_RUNTIME + 2,
    STRESS_POOL,
    STRESS_PARTS_COUNT = STRESS_POOL + 4
};

extern atomic_bool stress_over;

uint64_t stress_clock_ns(void);
void stress_pause_ns(uint64_t duration_ns);
uint32_t stress_random(uint64_t *seed, uint32_t limit);
// Ends the program with what must not be.
_Noreturn void stress_broken(const char *what);
void stress_must(bool good, const char *what);
// The part has got on.
void stress_step(uint32_t part);
void stress_start(pthread_t *thread, void *(*entry)(void *), void *argument);

// The parts: bodies of threads. The queue's takes its number among STRESS_QUEUE_THREADS, the others
// theirs among the parts.
#define STRESS_QUEUE_THREADS 3u
void stress_queue_init(void);
void *stress_queue(void *number);
void *stress_runtime(void *part);
void *stress_row(void *part);
void *stress_pool(void *part);

#endif
