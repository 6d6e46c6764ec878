// Hammers runtime, row and pool with real threads and checks what must hold: a column of `run`.
//
// usage: stress SECONDS. Four parts run side by side: bare run queues, tasks on runtimes that come and
// go, a bare row, and pools with a collector. Exit status: 0 nothing found; 1 something that must not
// be, told in a line "stress: ..."; 3 a part stood still for STILL_S seconds; other: it crashed.
#include "tests/mutants/stress.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define STILL_S 20u

atomic_bool stress_over;

uint64_t stress_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * S + (uint64_t)now.tv_nsec;
}

void stress_pause_ns(uint64_t duration_ns)
{
    struct timespec wait = {(time_t)(duration_ns / S), (long)(duration_ns % S)};
    nanosleep(&wait, NULL);
}

_Noreturn void stress_broken(const char *what)
{
    fprintf(stderr, "stress: %s\n", what);
    _exit(1);
}

void stress_must(bool good, const char *what)
{
    if (!good) {
        stress_broken(what);
    }
}

uint32_t stress_random(uint64_t *seed, uint32_t limit)
{
    *seed += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t x = *seed;
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((x ^ x >> 31) % limit);
}

// ---- Progress ----

static const char *const part_names[STRESS_PARTS_COUNT] = {"queue", "runtime", "runtime", "row",
                                                           "pool",  "pool",    "pool",    "pool"};
static _Atomic uint64_t progress[STRESS_PARTS_COUNT];

void stress_step(uint32_t part)
{
    atomic_fetch_add_explicit(&progress[part], 1, memory_order_relaxed);
}

void stress_start(pthread_t *thread, void *(*entry)(void *), void *argument)
{
    stress_must(pthread_create(thread, NULL, entry, argument) == 0, "no thread");
}

static void watch(uint64_t seconds)
{
    uint64_t seen[STRESS_PARTS_COUNT] = {0}, since_ns[STRESS_PARTS_COUNT];
    uint64_t end_ns = stress_clock_ns() + seconds * S;
    for (uint32_t i = 0; i < STRESS_PARTS_COUNT; i++) {
        since_ns[i] = stress_clock_ns();
    }
    while (stress_clock_ns() < end_ns) {
        stress_pause_ns(200 * MS);
        for (uint32_t i = 0; i < STRESS_PARTS_COUNT; i++) {
            uint64_t now = atomic_load(&progress[i]);
            since_ns[i] = now != seen[i] ? stress_clock_ns() : since_ns[i];
            seen[i] = now;
            if (stress_clock_ns() - since_ns[i] > STILL_S * S) {
                fprintf(stderr, "stress: %s stands still\n", part_names[i]);
                _exit(3);
            }
        }
    }
}

int main(int argc, char **argv)
{
    int seconds = argc == 2 ? atoi(argv[1]) : 0;
    if (seconds <= 0) {
        fprintf(stderr, "usage: stress SECONDS\n");
        return 2;
    }
    pthread_t threads[STRESS_QUEUE_THREADS + STRESS_PARTS_COUNT];
    uint32_t count = 0;
    stress_queue_init();
    for (uint32_t i = 0; i < STRESS_QUEUE_THREADS; i++) {
        stress_start(&threads[count++], stress_queue, (void *)(uintptr_t)i);
    }
    for (uint32_t i = STRESS_RUNTIME; i < STRESS_PARTS_COUNT; i++) {
        void *(*entry)(void *) = i < STRESS_ROW    ? stress_runtime
                                 : i == STRESS_ROW ? stress_row
                                                   : stress_pool;
        stress_start(&threads[count++], entry, (void *)(uintptr_t)i);
    }
    watch((uint64_t)seconds);
    atomic_store(&stress_over, true);
    for (uint32_t i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
    }
    for (uint32_t i = 0; i < STRESS_PARTS_COUNT; i++) {
        printf("%s: %llu steps\n", part_names[i], (unsigned long long)atomic_load(&progress[i]));
    }
    return 0;
}
