// A pool: its writers, their memory, and what waiting threads sleep on.
#ifndef WEIR_WRITER_POOL_H
#define WEIR_WRITER_POOL_H

#include "writer/writer.h"

enum weir_pool_state { WEIR_POOL_OPEN, WEIR_POOL_CLOSED };

struct weir_pool {
    // Fixed at open. First what every call looks at.
    _Atomic uint32_t *fork_guard;
    const struct weir_os *os;
    uint32_t writers_count;   // the plan's
    uint32_t plain_bytes_max; // so long a message needs a newline behind it and nothing else ...
    bool newlines_pass;       // ... if there is none inside, or this is set
    struct weir_pool_plan plan;
    struct weir_runtime *runtime;
    void *regions; // the rows, one after the other
    struct weir_transit_segment *rings;
    size_t pool_bytes, regions_bytes, region_stride, rings_bytes;
    // Shared.
    _Alignas(128) _Atomic uint32_t state;    // enum weir_pool_state
    _Alignas(128) _Atomic uint32_t progress; // grows whenever a writer made room, settled or ended
    _Atomic uint32_t waiters;                // threads that sleep on it
    _Atomic uint64_t rejected_forked;
    struct weir_writer writers[];
};

static inline bool weir_pool_forked(const struct weir_pool *pool)
{
    return atomic_load_explicit(pool->fork_guard, memory_order_relaxed) == 0;
}

// Sleeps, or drives the runtime when it has no workers, until progress is made beyond `seen` or the
// deadline.
void weir_pool_wait(struct weir_pool *pool, uint32_t seen, uint64_t deadline_ns);

#endif
