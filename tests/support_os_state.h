// The inside of the faulty operating system of support_os.h, for the files it is made of.
//
// What is live is kept in two tables under one mutex: allocations with their sizes, and descriptors
// with the poller that watches them. The mutex is held across calls that watch or close a
// descriptor, so that a new edge never goes to one that another thread has just closed. Everything
// else is atomics.
#ifndef WEIR_TESTS_SUPPORT_OS_STATE_H
#define WEIR_TESTS_SUPPORT_OS_STATE_H

#include <pthread.h>

#include "tests/support_os.h"

#define SUPPORT_OS_WAIT_MS_MAX 10000 // of real time, for what should come at once

enum fault_kind { FAULT_NONE, FAULT_CODE, FAULT_SHORT };

// Calls number first .. last get the fault. Several words, so a call that runs while a rule is
// changed may see half of each: give rules before, or accept one odd fault.
struct rule {
    _Atomic uint64_t first, last;
    _Atomic uint32_t kind;
    _Atomic int32_t code;
    _Atomic size_t bytes_max;
    _Atomic uint64_t seed;
    _Atomic uint32_t per_million;
};

struct fault {
    enum fault_kind kind;
    int32_t code;
    size_t bytes_max;
};

struct allocation {
    void *memory;
    size_t bytes;
};

struct descriptor {
    bool is_open, is_watched;
    struct weir_poller poller; // the one that watches it
    uint64_t token;
};

enum misuse {
    MISUSE_RELEASE_UNKNOWN,
    MISUSE_RELEASE_SIZE,
    MISUSE_CLOSE,
    MISUSE_THREAD,
    MISUSE_FORK_GUARD,
    MISUSE_COUNT
};

struct support_os {
    struct weir_os inner;
    struct rule rules[SUPPORT_OS_FUNCTIONS_COUNT];
    _Atomic uint64_t calls[SUPPORT_OS_FUNCTIONS_COUNT];
    _Atomic uint64_t faults[SUPPORT_OS_FUNCTIONS_COUNT];
    _Atomic int64_t misuses[MISUSE_COUNT];
    _Atomic int64_t fork_guards, threads, threads_running;

    pthread_mutex_t mutex; // over the tables
    struct allocation *allocations;
    size_t allocations_count, allocations_max;
    int64_t bytes, bytes_peak;
    struct descriptor *descriptors; // indexed by number
    size_t descriptors_max;
    int64_t descriptors_count;

    _Atomic bool is_virtual;
    _Atomic uint64_t now_ns;
    _Atomic uint32_t woken;
    struct weir_poller *armed; // whose timer waits for armed_ns of the virtual clock
    uint64_t armed_ns;
};

// Each function's wrapper has the type of the member of struct weir_os that it stands in for.
#define DECLARE(name, ...) __typeof__(*((struct weir_os *)NULL)->name) wrap_##name;
SUPPORT_OS_FUNCTIONS(DECLARE)
#undef DECLARE

// Counts a call and says what shall go wrong with it.
struct fault support_os_enter(struct support_os *me, enum support_os_function function);

static inline void support_os_misuse(struct support_os *me, enum misuse misuse)
{
    atomic_fetch_add_explicit(&me->misuses[misuse], 1, memory_order_relaxed);
}

// Makes room for at least *rows_max_new rows, and says for how many; the new ones are zero.
void *support_os_grow(void *rows, size_t rows_max, size_t row_bytes, size_t *rows_max_new);

// ---- Descriptors ----

// The row of a descriptor, or NULL: not one of ours. Under the mutex.
struct descriptor *support_os_descriptor(struct support_os *me, int fd);

// The row of a descriptor, made if need be. Under the mutex.
struct descriptor *support_os_descriptor_make(struct support_os *me, int fd);

// A descriptor that the wrapped os gave out; one below 0 is none. Not under the mutex.
void support_os_opened(struct support_os *me, int fd);

// Under the mutex. Descriptors that a test brought along are closed too and were never counted.
void support_os_closed(struct support_os *me, int fd);

#endif
