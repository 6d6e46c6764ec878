// Backoff: exponential growth with equal jitter, free of overflow for every input.
#include "writer/backoff.h"

#include "runtime/assert.h"

void weir_backoff_init(struct weir_backoff *backoff, uint64_t floor_ns, uint64_t cap_ns)
{
    weir_assert(backoff != NULL);
    backoff->floor_ns = floor_ns > 0 ? floor_ns : 1;
    backoff->cap_ns = cap_ns > backoff->floor_ns ? cap_ns : backoff->floor_ns;
    backoff->step_ns = backoff->floor_ns;
}

void weir_backoff_reset(struct weir_backoff *backoff)
{
    weir_assert(backoff != NULL);
    weir_assert(backoff->floor_ns > 0);
    backoff->step_ns = backoff->floor_ns;
}

uint64_t weir_backoff_next(struct weir_backoff *backoff, uint64_t random)
{
    weir_assert(backoff != NULL);
    weir_assert(backoff->floor_ns > 0 && backoff->floor_ns <= backoff->step_ns);
    weir_assert(backoff->step_ns <= backoff->cap_ns);
    uint64_t step_ns = backoff->step_ns;
    // Compared by halves: doubling first could wrap.
    backoff->step_ns = step_ns > backoff->cap_ns / 2 ? backoff->cap_ns : step_ns * 2;
    // The spread is at most 2^63, so its successor exists. The remainder favours small values by at
    // most spread / 2^64: for an hour two parts in ten million, which no collector can feel.
    uint64_t shortest_ns = step_ns / 2;
    uint64_t spread_ns = step_ns - shortest_ns;
    return shortest_ns + random % (spread_ns + 1);
}
