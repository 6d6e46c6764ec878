// Backoff: how long a writer waits before it dials again.
//
// Exponential with equal jitter: wait n in a row (from 0) is drawn evenly from [step/2, step], with
// step = floor * 2^n, at most the cap. So no wait is shorter than half the floor or longer than the
// cap. Jitter, because writers that lost the same collector at the same moment would otherwise all
// return at the same moment, again and again. Equal rather than full jitter (drawn from [0, step]),
// because a draw close to zero would hammer a collector that has just refused, and because an
// operator who sets a retry interval expects to see about that. Not clamped from below at the
// floor: the first retries would coincide, and that is the moment the jitter is for. Both kinds are
// compared in Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
//
// Pure: the random bits come from the caller. Random 0 gives the shortest wait.
#ifndef WEIR_WRITER_BACKOFF_H
#define WEIR_WRITER_BACKOFF_H

#include "runtime/cold.h"
#include "weir.h"

// Values only; private below.
struct weir_backoff {
    uint64_t floor_ns;
    uint64_t cap_ns;
    uint64_t step_ns; // the longest the next wait can be
};

// Begins at the floor. A floor of 0 is taken as 1 (else it could never grow) and a cap below the
// floor as the floor (then every wait is drawn from [floor/2, floor]).
WEIR_COLD void weir_backoff_init(struct weir_backoff *backoff, uint64_t floor_ns, uint64_t cap_ns);

// Back to the floor, after a success.
void weir_backoff_reset(struct weir_backoff *backoff);

// Draws the next wait and doubles the step, up to the cap.
//   units    random: 64 even bits. Returns nanoseconds.
WEIR_COLD uint64_t weir_backoff_next(struct weir_backoff *backoff, uint64_t random);

#endif
