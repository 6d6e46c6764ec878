// Metrics: one writer's counters, and what is computed from snapshots of them.
//
// Each counter is exact and never falls, so one that stands alone is relaxed. What must fit
// together is read so that it does: the task shows its books all at once (books.h), and what
// another thread throws away is one number that enters both sides of the equation. Accepted
// messages are not counted here, the row counts them; stats.c puts them into the snapshot.
//
// [B3] throwing away (release) with reading that (acquire): the row's books, read after it, count
//      what was thrown away as accepted.
// [B6] counting a segment thrown away, last (seq_cst), with the task's look at that (seq_cst): the
//      task knows whether all that left the row is counted (weir_watch_accounted). Who counts one
//      too late for its look sees after it that somebody flushes ([R4]) or closes (both seq_cst,
//      and set before the look), and wakes it.
#ifndef WEIR_WRITER_METRICS_H
#define WEIR_WRITER_METRICS_H

#include <stdatomic.h>

#include "runtime/cold.h"
#include "weir_writer.h"
#include "writer/books.h"

// No two groups of counters that different threads write share one of these.
#define WEIR_COUNTERS_LINE_BYTES 128

// The number of values is the sum of the buckets, so that the two cannot disagree.
struct weir_histogram_counters {
    _Atomic uint64_t buckets[WEIR_HISTOGRAM_BUCKETS];
    _Atomic uint64_t sum_ns;
};

// All-zero is valid.
struct weir_counters {
    // Written by the writer's task.
    _Alignas(WEIR_COUNTERS_LINE_BYTES) struct weir_books_shown books;
    _Atomic uint64_t resent_messages;
    _Atomic uint64_t resent_bytes;
    _Atomic uint64_t sends;
    _Atomic uint64_t sent_bytes;
    _Atomic uint64_t connects;
    _Atomic uint64_t disconnects;
    _Atomic uint64_t epochs;
    _Atomic uint64_t failovers;
    _Atomic uint64_t failbacks;
    _Atomic uint64_t received_bytes;
    _Atomic uint64_t connected; // gauge: 0 or 1
    _Atomic uint64_t faults[WEIR_FAULTS_COUNT];
    struct weir_histogram_counters buffer_await;
    struct weir_histogram_counters message_processing;
    // Written by logging threads.
    _Alignas(WEIR_COUNTERS_LINE_BYTES) _Atomic uint64_t wakes;
    _Atomic uint64_t rejected[WEIR_REJECTIONS_COUNT];
    _Atomic uint64_t rejected_full_bytes;
    // Thrown away to make room: messages, void ones, and the bytes of both, gaps included.
    _Atomic uint64_t shed_messages;
    _Atomic uint64_t shed_voids;
    _Atomic uint64_t shed_bytes;
    _Atomic uint64_t shed_segments; // last: the other three count all of these
    // Written by threads that take snapshots: what was already shown as accepted, see stats.c.
    _Alignas(WEIR_COUNTERS_LINE_BYTES) _Atomic uint64_t shown_messages;
    _Atomic uint64_t shown_bytes;
};

// Threads of all below: any.

static inline void weir_counter_add(_Atomic uint64_t *counter, uint64_t count)
{
    (void)atomic_fetch_add_explicit(counter, count, memory_order_relaxed);
}

// For a gauge, which one thread writes.
static inline void weir_counter_set(_Atomic uint64_t *gauge, uint64_t value)
{
    atomic_store_explicit(gauge, value, memory_order_relaxed);
}

void weir_histogram_add(struct weir_histogram_counters *histogram, uint64_t ns);

// Adds one writer's counters into a snapshot, and one to its `writers`. `accepted` stays as it is,
// and `held` is short of it (modulo 2^64): the caller adds to both what the row counts when it is
// read after this.
WEIR_COLD void weir_counters_sum(const struct weir_counters *counters,
                                 struct weir_metrics *metrics);

// A duration that per_mille thousandths of the values, rounded up to a whole value, were below.
//   units    per_mille: 0..1000; 0 means the smallest value.
//   returns  nanoseconds, a power of two of microseconds: at most twice the true value if that is
//            1 microsecond or more; 0 for an empty histogram; UINT64_MAX: the last bucket, which
//            has no upper bound.
uint64_t weir_histogram_quantile_ns(const struct weir_histogram *histogram, uint32_t per_mille);

#endif
