// A lock in one word, for short sections that touch a few pointers: three-state futex mutex.
//
// States and transitions follow Ulrich Drepper, "Futexes Are Tricky" (2011), mutex 2: an unlock
// makes a system call only when somebody may be waiting. Not recursive, not held across a poll.
#ifndef WEIR_RUNTIME_LOCK_H
#define WEIR_RUNTIME_LOCK_H

#include "runtime/assert.h"
#include "runtime/cold.h"
#include "runtime/os.h"

enum weir_lock_state { WEIR_LOCK_FREE, WEIR_LOCK_HELD, WEIR_LOCK_CONTENDED };

// Waits until the lock is free, and takes it.
WEIR_COLD void weir_lock_wait(_Atomic uint32_t *lock, const struct weir_os *os);
// What a release does that found the lock in another state, `seen`, than held by one.
WEIR_COLD void weir_lock_tell(_Atomic uint32_t *lock, const struct weir_os *os, uint32_t seen);

// [L1] The acquire here and in weir_lock_wait pairs with the release in weir_lock_release.
static inline void weir_lock_acquire(_Atomic uint32_t *lock, const struct weir_os *os)
{
    uint32_t seen = WEIR_LOCK_FREE;
    if (!atomic_compare_exchange_strong_explicit(lock, &seen, WEIR_LOCK_HELD, memory_order_acquire,
                                                 memory_order_relaxed)) { // [L1]
        weir_lock_wait(lock, os);
    }
}

// After the exchange the lock's memory is not touched again (futex_wake only names its address), so
// whoever takes the lock next may free it.
static inline void weir_lock_release(_Atomic uint32_t *lock, const struct weir_os *os)
{
    uint32_t seen = atomic_exchange_explicit(lock, WEIR_LOCK_FREE, memory_order_release); // [L1]
    if (seen != WEIR_LOCK_HELD) {
        weir_lock_tell(lock, os, seen);
    }
}

#endif
