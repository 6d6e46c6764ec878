// Taking a snapshot of a pool: its writers' counters and rows, read so that the books balance.
//
// Per writer: first what became of messages, then how many were accepted. What is seen to be taken
// or thrown away was accepted before, and the row's books, read later, count it ([B1], [B3] in
// books.h and metrics.h, and [S8] in row.h); so nothing held is less than nothing.
//
// While a thread closes a segment its messages are for an instant in neither of the row's two sums
// (weir_row_count: exact), and bytes of which some may be given back are not counted. A snapshot
// must not show less than one before it, so what was shown is remembered, and shown at least.
#include <string.h>

#include "runtime/cold.h"
#include "writer/pool.h"

// What is shown of a count that was read as `value`, which may be low but never too high.
static uint64_t stats_raise(_Atomic uint64_t *shown, uint64_t value)
{
    uint64_t before = atomic_load_explicit(shown, memory_order_relaxed);
    // Every further round means that another snapshot showed more.
    while (before < value &&
           !atomic_compare_exchange_weak_explicit(shown, &before, value, memory_order_relaxed,
                                                  memory_order_relaxed)) {
    }
    return before < value ? value : before;
}

static void stats_add_writer(struct weir_metrics *metrics, struct weir_writer *writer)
{
    struct weir_counters *counters = &writer->counters;
    struct weir_row_counts counts;
    weir_counters_sum(counters, metrics);
    weir_row_count(writer->row, &counts);
    uint64_t messages = stats_raise(&counters->shown_messages, counts.messages);
    uint64_t bytes = stats_raise(&counters->shown_bytes, counts.bytes);
    metrics->accepted_messages += messages;
    metrics->accepted_bytes += bytes;
    metrics->held_messages += messages;
    metrics->held_bytes += bytes;
}

WEIR_COLD void weir_pool_stats(struct weir_pool *pool, struct weir_metrics *metrics)
{
    const struct weir_pool_plan *plan = &pool->plan;
    memset(metrics, 0, sizeof(*metrics));
    for (uint32_t i = 0; i < plan->writers_count; i++) {
        stats_add_writer(metrics, &pool->writers[i]);
    }
    metrics->rejected_messages[WEIR_REJECTED_FORKED] +=
        atomic_load_explicit(&pool->rejected_forked, memory_order_relaxed);
    metrics->offered_messages = metrics->accepted_messages;
    for (uint32_t i = 0; i < WEIR_REJECTIONS_COUNT; i++) {
        metrics->offered_messages += metrics->rejected_messages[i];
    }
    metrics->memory_bytes = pool->pool_bytes + pool->regions_bytes + pool->rings_bytes;
#define STATS_MS(name, member, label) metrics->limits_ms[name] = plan->member;
    WEIR_TIME_LIMITS(STATS_MS)
#undef STATS_MS
#define STATS_BYTES(name, member, label) metrics->limits_bytes[name] = plan->member;
    WEIR_BYTE_LIMITS(STATS_BYTES)
#undef STATS_BYTES
}
