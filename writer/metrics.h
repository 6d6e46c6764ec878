// Metrics: one writer's counters, and what is computed from snapshots of them.
//
// Counters are relaxed: each is exact, but a snapshot taken under traffic may have caught one of
// two that change together. Accepted messages are not counted here, the row counts them; the pool
// puts accepted, offered and held into the snapshot.
#ifndef WEIR_WRITER_METRICS_H
#define WEIR_WRITER_METRICS_H

#include <stdatomic.h>

#include "weir_writer.h"

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
    _Alignas(WEIR_COUNTERS_LINE_BYTES) _Atomic uint64_t confirmed_messages;
    _Atomic uint64_t confirmed_bytes;
    _Atomic uint64_t resent_messages;
    _Atomic uint64_t resent_bytes;
    _Atomic uint64_t sends;
    _Atomic uint64_t sent_bytes;
    _Atomic uint64_t connects;
    _Atomic uint64_t disconnects;
    _Atomic uint64_t epochs;
    _Atomic uint64_t received_bytes;
    _Atomic uint64_t connected;        // gauge: 0 or 1
    _Atomic uint64_t taken_messages;   // taken from the row, void ones included
    _Atomic uint64_t taken_bytes;      // the same, gaps included
    _Atomic uint64_t transit_messages; // gauge: taken, neither confirmed nor dropped
    _Atomic uint64_t transit_bytes;
    _Atomic uint64_t faults[WEIR_FAULTS_COUNT];
    struct weir_histogram_counters buffer_await;
    struct weir_histogram_counters message_processing;
    // Written by logging threads, some of the drops also by the writer.
    _Alignas(WEIR_COUNTERS_LINE_BYTES) _Atomic uint64_t wakes;
    _Atomic uint64_t rejected[WEIR_REJECTIONS_COUNT];
    _Atomic uint64_t dropped_messages[WEIR_DROPS_COUNT];
    _Atomic uint64_t dropped_bytes[WEIR_DROPS_COUNT];
};

// Threads of all below: any.

static inline void weir_counter_add(_Atomic uint64_t *counter, uint64_t count)
{
    (void)atomic_fetch_add_explicit(counter, count, memory_order_relaxed);
}

static inline void weir_counter_sub(_Atomic uint64_t *counter, uint64_t count)
{
    (void)atomic_fetch_sub_explicit(counter, count, memory_order_relaxed);
}

// For a gauge, which one thread writes.
static inline void weir_counter_set(_Atomic uint64_t *gauge, uint64_t value)
{
    atomic_store_explicit(gauge, value, memory_order_relaxed);
}

void weir_histogram_add(struct weir_histogram_counters *histogram, uint64_t ns);

// Adds one writer's counters into a snapshot, and one to its `writers`.
void weir_counters_sum(const struct weir_counters *counters, struct weir_metrics *metrics);

// A duration that per_mille thousandths of the values, rounded up to a whole value, were below.
//   units    per_mille: 0..1000; 0 means the smallest value.
//   returns  nanoseconds, a power of two of microseconds: at most twice the true value if that is
//            1 microsecond or more; 0 for an empty histogram; UINT64_MAX: the last bucket, which
//            has no upper bound.
uint64_t weir_histogram_quantile_ns(const struct weir_histogram *histogram, uint32_t per_mille);

#endif
