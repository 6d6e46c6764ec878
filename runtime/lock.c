// The rare halves of the lock: waiting for it, and telling who waits.
#include "runtime/lock.h"

void weir_lock_wait(_Atomic uint32_t *lock, const struct weir_os *os)
{
    while (atomic_exchange_explicit(lock, WEIR_LOCK_CONTENDED, memory_order_acquire) !=
           WEIR_LOCK_FREE) { // [L1]
        (void)os->futex_wait(os->self, lock, WEIR_LOCK_CONTENDED, WEIR_NEVER);
    }
}

void weir_lock_tell(_Atomic uint32_t *lock, const struct weir_os *os, uint32_t seen)
{
    weir_assert(seen != WEIR_LOCK_FREE);
    os->futex_wake(os->self, lock, 1);
}
