// Metrics: summing counters into a snapshot, and a snapshot's books, quantiles and text.
//
// The text is written by hand from integers: a number must not depend on the locale, and seconds
// are exact as microseconds and nanoseconds with a point put in.
#include "writer/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "runtime/assert.h"
#include "runtime/cold.h"

#define METRICS_NS_PER_US 1000
#define METRICS_US_PER_S 1000000
#define METRICS_MS_PER_S 1000
#define METRICS_NS_PER_S UINT64_C(1000000000)

_Static_assert(offsetof(struct weir_counters, shown_messages) -
                       offsetof(struct weir_counters, wakes) ==
                   WEIR_COUNTERS_LINE_BYTES,
               "what logging threads write is one line");

// ---- Counters ----

// Bucket 0 is what takes less than a microsecond, bucket i what has i binary digits of them.
void weir_histogram_add(struct weir_histogram_counters *histogram, uint64_t ns)
{
    uint64_t us = ns / METRICS_NS_PER_US;
    unsigned digits = us == 0 ? 0 : 64 - (unsigned)__builtin_clzll(us);
    unsigned bucket = digits < WEIR_HISTOGRAM_BUCKETS ? digits : WEIR_HISTOGRAM_BUCKETS - 1;
    weir_counter_add(&histogram->buckets[bucket], 1);
    weir_counter_add(&histogram->sum_ns, ns);
}

static void counter_sum(const _Atomic uint64_t *counter, uint64_t *sum)
{
    *sum += atomic_load_explicit(counter, memory_order_relaxed);
}

static void histogram_sum(const struct weir_histogram_counters *counters,
                          struct weir_histogram *histogram)
{
    for (size_t index = 0; index < WEIR_HISTOGRAM_BUCKETS; index++) {
        uint64_t values = 0;
        counter_sum(&counters->buckets[index], &values);
        histogram->buckets[index] += values;
        histogram->count += values;
    }
    counter_sum(&counters->sum_ns, &histogram->sum_ns);
}

static void books_sum(const struct weir_books *books, struct weir_metrics *metrics)
{
    metrics->confirmed_messages += books->confirmed_messages;
    metrics->confirmed_bytes += books->confirmed_bytes;
    metrics->held_messages += books->transit_messages - books->taken_messages;
    metrics->held_bytes += books->transit_bytes - books->taken_bytes;
    for (size_t index = 0; index < WEIR_DROPS_COUNT; index++) {
        metrics->dropped_messages[index] += books->dropped_messages[index];
        metrics->dropped_bytes[index] += books->dropped_bytes[index];
    }
}

// Neither taken nor counted as such by the task. Each number is read once for both of its places.
static void shed_sum(const struct weir_counters *counters, struct weir_metrics *metrics)
{
    // [B3]
    uint64_t messages = atomic_load_explicit(&counters->shed_messages, memory_order_acquire);
    uint64_t voids = atomic_load_explicit(&counters->shed_voids, memory_order_acquire);
    uint64_t bytes = atomic_load_explicit(&counters->shed_bytes, memory_order_acquire);
    metrics->dropped_messages[WEIR_DROPPED_OLDEST] += messages;
    metrics->dropped_messages[WEIR_DROPPED_ABANDONED] += voids;
    metrics->dropped_bytes[WEIR_DROPPED_OLDEST] += bytes;
    metrics->held_messages -= messages + voids;
    metrics->held_bytes -= bytes;
}

void weir_counters_sum(const struct weir_counters *counters, struct weir_metrics *metrics)
{
    weir_assert(counters != NULL && metrics != NULL);
    struct weir_books books;
    weir_books_read(&counters->books, &books);
    books_sum(&books, metrics);
    shed_sum(counters, metrics);
    counter_sum(&counters->resent_messages, &metrics->resent_messages);
    counter_sum(&counters->resent_bytes, &metrics->resent_bytes);
    counter_sum(&counters->sends, &metrics->sends);
    counter_sum(&counters->sent_bytes, &metrics->sent_bytes);
    counter_sum(&counters->connects, &metrics->connects);
    counter_sum(&counters->disconnects, &metrics->disconnects);
    counter_sum(&counters->epochs, &metrics->epochs);
    counter_sum(&counters->failovers, &metrics->failovers);
    counter_sum(&counters->failbacks, &metrics->failbacks);
    counter_sum(&counters->received_bytes, &metrics->received_bytes);
    counter_sum(&counters->wakes, &metrics->wakes);
    counter_sum(&counters->connected, &metrics->writers_connected);
    for (size_t index = 0; index < WEIR_FAULTS_COUNT; index++) {
        counter_sum(&counters->faults[index], &metrics->faults[index]);
    }
    for (size_t index = 0; index < WEIR_REJECTIONS_COUNT; index++) {
        counter_sum(&counters->rejected[index], &metrics->rejected_messages[index]);
    }
    histogram_sum(&counters->buffer_await, &metrics->buffer_await);
    histogram_sum(&counters->message_processing, &metrics->message_processing);
    metrics->writers++;
}

// ---- Books and quantiles ----

static uint64_t values_total(const uint64_t *values, size_t count)
{
    uint64_t total = 0;
    for (size_t index = 0; index < count; index++) {
        total += values[index];
    }
    return total;
}

WEIR_COLD bool weir_metrics_balanced(const struct weir_metrics *metrics)
{
    weir_assert(metrics != NULL);
    uint64_t rejected = values_total(metrics->rejected_messages, WEIR_REJECTIONS_COUNT);
    uint64_t dropped = values_total(metrics->dropped_messages, WEIR_DROPS_COUNT);
    uint64_t dropped_bytes = values_total(metrics->dropped_bytes, WEIR_DROPS_COUNT);
    return metrics->offered_messages == metrics->accepted_messages + rejected &&
           metrics->accepted_messages ==
               metrics->confirmed_messages + metrics->held_messages + dropped &&
           metrics->accepted_bytes ==
               metrics->confirmed_bytes + metrics->held_bytes + dropped_bytes;
}

WEIR_COLD uint64_t weir_histogram_quantile_ns(const struct weir_histogram *histogram,
                                              uint32_t per_mille)
{
    weir_assert(histogram != NULL && per_mille <= 1000);
    uint64_t total = values_total(histogram->buckets, WEIR_HISTOGRAM_BUCKETS);
    // total * per_mille / 1000, rounded up, in steps that do not overflow.
    uint64_t rank = total / 1000 * per_mille + (total % 1000 * per_mille + 999) / 1000;
    uint64_t seen = 0;
    if (total == 0) {
        return 0;
    }
    if (rank == 0) {
        rank = 1;
    }
    for (unsigned index = 0; index < WEIR_HISTOGRAM_BUCKETS - 1; index++) {
        seen += histogram->buckets[index];
        if (seen >= rank) {
            return (UINT64_C(1) << index) * METRICS_NS_PER_US;
        }
    }
    return UINT64_MAX;
}

// ---- Text ----

struct metrics_text {
    char *text;
    size_t text_bytes;
    size_t length; // of the whole, written or not
};

static size_t metrics_room(const struct metrics_text *out)
{
    return out->length < out->text_bytes ? out->text_bytes - out->length : 0;
}

// So many bytes were written, or would have been, had there been room.
static void metrics_grow(struct metrics_text *out, int bytes)
{
    weir_assert(bytes >= 0);
    out->length += (size_t)bytes;
}

#define metrics_print(out, ...)                                                                    \
    metrics_grow((out), snprintf(metrics_room(out) > 0 ? (out)->text + (out)->length : NULL,       \
                                 metrics_room(out), __VA_ARGS__))

#define METRICS_LABEL(name, label) label,
static const char *const metrics_rejections[] = {WEIR_REJECTIONS(METRICS_LABEL)};
static const char *const metrics_drops[] = {WEIR_DROPS(METRICS_LABEL)};
static const char *const metrics_faults[] = {WEIR_FAULTS(METRICS_LABEL)};
#undef METRICS_LABEL
#define METRICS_LABEL(name, member, label) label,
static const char *const metrics_time_limits[] = {WEIR_TIME_LIMITS(METRICS_LABEL)};
static const char *const metrics_byte_limits[] = {WEIR_BYTE_LIMITS(METRICS_LABEL)};
#undef METRICS_LABEL

enum metrics_unit { METRICS_AS_IT_IS, METRICS_MS_AS_SECONDS };

struct metrics_family {
    const char *name; // without weir_
    const char *type;
    const char *help;
    size_t offset;
    size_t count;
    const char *label; // NULL: one value without
    const char *const *values;
    enum metrics_unit unit;
};

#define METRICS_ONE(member, name, type, help)                                                      \
    {                                                                                              \
        name, type, help, offsetof(struct weir_metrics, member), 1, NULL, NULL, METRICS_AS_IT_IS   \
    }
#define METRICS_GROUP(member, name, type, help, label, values, unit)                               \
    {                                                                                              \
        name, type, help, offsetof(struct weir_metrics, member),                                   \
            sizeof(values) / sizeof((values)[0]), label, values, unit                              \
    }
#define METRICS_MANY(member, name, help, label, values)                                            \
    METRICS_GROUP(member, name, "counter", help, label, values, METRICS_AS_IT_IS)

static const struct metrics_family metrics_families[] = {
    METRICS_ONE(offered_messages, "messages_offered_total", "counter",
                "Messages the host handed over: accepted and rejected ones."),
    METRICS_ONE(accepted_messages, "messages_accepted_total", "counter",
                "Messages taken: confirmed, held and dropped ones."),
    METRICS_ONE(accepted_bytes, "accepted_bytes_total", "counter", "Their bytes, as framed."),
    METRICS_MANY(rejected_messages, "messages_rejected_total",
                 "Messages not taken, by reason; the host was told.", "reason", metrics_rejections),
    METRICS_ONE(confirmed_messages, "messages_confirmed_total", "counter", "Messages delivered."),
    METRICS_ONE(confirmed_bytes, "confirmed_bytes_total", "counter", "Their bytes, as framed."),
    METRICS_ONE(held_messages, "messages_held", "gauge",
                "Messages accepted and neither confirmed nor dropped so far."),
    METRICS_ONE(held_bytes, "held_bytes", "gauge", "Their bytes, as framed."),
    METRICS_MANY(dropped_messages, "messages_dropped_total",
                 "Messages accepted and given up, by reason.", "reason", metrics_drops),
    METRICS_MANY(dropped_bytes, "dropped_bytes_total", "Their bytes, as framed.", "reason",
                 metrics_drops),
    METRICS_ONE(resent_messages, "messages_resent_total", "counter",
                "Messages sent again after a connection broke."),
    METRICS_ONE(resent_bytes, "resent_bytes_total", "counter", "Their bytes, as framed."),
    METRICS_ONE(sends, "sends_total", "counter", "System calls that sent something."),
    METRICS_ONE(sent_bytes, "sent_bytes_total", "counter",
                "Bytes they sent, resent ones included."),
    METRICS_ONE(wakes, "wakes_total", "counter", "Times a logging thread woke a writer."),
    METRICS_ONE(connects, "connects_total", "counter", "Connections made."),
    METRICS_ONE(disconnects, "disconnects_total", "counter", "Connections lost."),
    METRICS_ONE(epochs, "epochs_total", "counter", "Connections ended, proven and replaced."),
    METRICS_ONE(failovers, "failovers_total", "counter",
                "Times a writer went over to another endpoint because its own was down."),
    METRICS_ONE(failbacks, "failbacks_total", "counter",
                "Times a writer returned to an endpoint that it prefers."),
    METRICS_MANY(faults, "errors_total", "What went wrong with connections, by kind.", "error",
                 metrics_faults),
    METRICS_ONE(received_bytes, "received_bytes_total", "counter",
                "Bytes peers sent back, which are read and ignored."),
    METRICS_ONE(writers, "writers", "gauge", "Writers of the pool."),
    METRICS_ONE(writers_connected, "writers_connected", "gauge", "Writers that have a connection."),
    METRICS_ONE(memory_bytes, "memory_bytes", "gauge", "All memory the pool holds, fixed at open."),
    METRICS_GROUP(limits_ms, "limit_seconds", "gauge",
                  "Time limits as they were set at open; 0 is none, or the system's own.", "limit",
                  metrics_time_limits, METRICS_MS_AS_SECONDS),
    METRICS_GROUP(limits_bytes, "limit_bytes", "gauge",
                  "Limits of what is under way, as they are in force; 0 is none, or the system's "
                  "own.",
                  "limit", metrics_byte_limits, METRICS_AS_IT_IS),
};

static void metrics_family_print(struct metrics_text *out, const struct metrics_family *family,
                                 const struct weir_metrics *metrics)
{
    metrics_print(out, "# HELP weir_%s %s\n# TYPE weir_%s %s\n", family->name, family->help,
                  family->name, family->type);
    for (size_t index = 0; index < family->count; index++) {
        uint64_t value;
        memcpy(&value, (const unsigned char *)metrics + family->offset + index * sizeof(value),
               sizeof(value));
        if (family->label == NULL) {
            metrics_print(out, "weir_%s ", family->name);
        } else {
            metrics_print(out, "weir_%s{%s=\"%s\"} ", family->name, family->label,
                          family->values[index]);
        }
        if (family->unit == METRICS_MS_AS_SECONDS) {
            metrics_print(out, "%" PRIu64 ".%03" PRIu64 "\n", value / METRICS_MS_PER_S,
                          value % METRICS_MS_PER_S);
        } else {
            metrics_print(out, "%" PRIu64 "\n", value);
        }
    }
}

// A bucket's `le` is its upper bound. (Values on the very bound are in the next one; to Prometheus
// they would belong to this one. One nanosecond apart, nobody can tell.)
static void metrics_histogram_print(struct metrics_text *out, const char *name, const char *help,
                                    const struct weir_histogram *histogram)
{
    uint64_t below = 0;
    metrics_print(out, "# HELP weir_%s %s\n# TYPE weir_%s histogram\n", name, help, name);
    for (unsigned index = 0; index < WEIR_HISTOGRAM_BUCKETS - 1; index++) {
        uint32_t bound_us = UINT32_C(1) << index;
        below += histogram->buckets[index];
        metrics_print(out, "weir_%s_bucket{le=\"%" PRIu32 ".%06" PRIu32 "\"} %" PRIu64 "\n", name,
                      bound_us / METRICS_US_PER_S, bound_us % METRICS_US_PER_S, below);
    }
    below += histogram->buckets[WEIR_HISTOGRAM_BUCKETS - 1];
    metrics_print(out, "weir_%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name, below);
    metrics_print(out, "weir_%s_sum %" PRIu64 ".%09" PRIu64 "\nweir_%s_count %" PRIu64 "\n", name,
                  histogram->sum_ns / METRICS_NS_PER_S, histogram->sum_ns % METRICS_NS_PER_S, name,
                  below);
}

WEIR_COLD size_t weir_metrics_text(const struct weir_metrics *metrics, char *text,
                                   size_t text_bytes)
{
    weir_assert(metrics != NULL && (text != NULL || text_bytes == 0));
    struct metrics_text out = {text, text_bytes, 0};
    for (size_t index = 0; index < sizeof(metrics_families) / sizeof(metrics_families[0]);
         index++) {
        metrics_family_print(&out, &metrics_families[index], metrics);
    }
    metrics_histogram_print(&out, "buffer_await_seconds",
                            "From a segment's closing to its being taken by the writer.",
                            &metrics->buffer_await);
    metrics_histogram_print(&out, "message_processing_seconds",
                            "From a segment's first message to the confirmation of its last.",
                            &metrics->message_processing);
    weir_assert(out.length > 0);
    return out.length;
}
