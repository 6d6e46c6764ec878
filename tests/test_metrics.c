// Tests of the metrics: buckets, sums, books, quantiles, and the text through a parser of its own.
#include "writer/metrics.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "tests/support_random.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define TEXT_BYTES 16384
#define RANDOM_RUNS 5000
#define THREADS 4
#define THREAD_ADDS 20000
#define US UINT64_C(1000)

// Every member of the snapshot its own number, so that none can be taken for another.
static void metrics_number(struct weir_metrics *metrics, uint64_t first)
{
    uint64_t values[sizeof(*metrics) / sizeof(uint64_t)];
    _Static_assert(sizeof(values) == sizeof(*metrics), "nothing but numbers");
    for (size_t index = 0; index < COUNT(values); index++) {
        values[index] = first + index;
    }
    memcpy(metrics, values, sizeof(values));
}

// ---- Counters ----

static unsigned bucket_slow(uint64_t ns)
{
    unsigned bucket = 0;
    while (bucket < WEIR_HISTOGRAM_BUCKETS - 1 && ns >= (UINT64_C(1) << bucket) * US) {
        bucket++;
    }
    return bucket;
}

static void check_bucket(uint64_t ns)
{
    struct weir_counters counters = {0};
    struct weir_metrics metrics = {0};
    weir_histogram_add(&counters.buffer_await, ns);
    weir_counters_sum(&counters, &metrics);
    unsigned bucket = bucket_slow(ns);
    for (unsigned index = 0; index < WEIR_HISTOGRAM_BUCKETS; index++) {
        assert_int_equal(metrics.buffer_await.buckets[index], index == bucket);
    }
    assert_int_equal(metrics.buffer_await.count, 1);
    assert_int_equal(metrics.buffer_await.sum_ns, ns);
    assert_int_equal(metrics.message_processing.count, 0);
    // As the public header says it.
    assert_true(bucket == WEIR_HISTOGRAM_BUCKETS - 1 || ns < (US << bucket));
    assert_true(bucket == 0 || ns >= (US << bucket) / 2);
}

static void test_buckets(void **state)
{
    (void)state;
    uint64_t random = seed_get();
    check_bucket(0);
    check_bucket(999);
    check_bucket(UINT64_MAX);
    for (unsigned bit = 0; bit < 44; bit++) {
        check_bucket((US << bit) - 1);
        check_bucket(US << bit);
        check_bucket((US << bit) + 1);
    }
    for (unsigned run = 0; run < RANDOM_RUNS; run++) {
        check_bucket(random_next(&random) >> (random_next(&random) % 64));
    }
}

static void counters_fill(struct weir_counters *counters, uint64_t factor)
{
    uint64_t next = 1;
#define FILL(member) weir_counter_add(&counters->member, factor *next++)
    FILL(resent_messages);
    FILL(resent_bytes);
    FILL(sends);
    FILL(sent_bytes);
    FILL(connects);
    FILL(disconnects);
    FILL(epochs);
    FILL(failovers);
    FILL(failbacks);
    FILL(received_bytes);
    FILL(wakes);
    for (size_t index = 0; index < WEIR_FAULTS_COUNT; index++) {
        FILL(faults[index]);
    }
    for (size_t index = 0; index < WEIR_REJECTIONS_COUNT; index++) {
        FILL(rejected[index]);
    }
    for (size_t index = 0; index < WEIR_HISTOGRAM_BUCKETS; index++) {
        FILL(buffer_await.buckets[index]);
        FILL(message_processing.buckets[index]);
    }
    FILL(buffer_await.sum_ns);
    FILL(message_processing.sum_ns);
#undef FILL
}

static void expect_sums(const struct weir_metrics *metrics, uint64_t factor)
{
    uint64_t next = 1;
    uint64_t awaits = 0;
    uint64_t processings = 0;
#define EXPECT(member) assert_int_equal(metrics->member, factor *next++)
    EXPECT(resent_messages);
    EXPECT(resent_bytes);
    EXPECT(sends);
    EXPECT(sent_bytes);
    EXPECT(connects);
    EXPECT(disconnects);
    EXPECT(epochs);
    EXPECT(failovers);
    EXPECT(failbacks);
    EXPECT(received_bytes);
    EXPECT(wakes);
    for (size_t index = 0; index < WEIR_FAULTS_COUNT; index++) {
        EXPECT(faults[index]);
    }
    for (size_t index = 0; index < WEIR_REJECTIONS_COUNT; index++) {
        EXPECT(rejected_messages[index]);
    }
    for (size_t index = 0; index < WEIR_HISTOGRAM_BUCKETS; index++) {
        awaits += factor * next;
        EXPECT(buffer_await.buckets[index]);
        processings += factor * next;
        EXPECT(message_processing.buckets[index]);
    }
    EXPECT(buffer_await.sum_ns);
    EXPECT(message_processing.sum_ns);
#undef EXPECT
    assert_int_equal(metrics->buffer_await.count, awaits);
    assert_int_equal(metrics->message_processing.count, processings);
}

static void test_sums_over_writers(void **state)
{
    (void)state;
    struct weir_counters one = {0}, two = {0};
    struct weir_metrics metrics = {0};
    counters_fill(&one, 1);
    counters_fill(&two, 1000);
    weir_counter_set(&one.connected, 1);
    weir_counters_sum(&one, &metrics);
    expect_sums(&metrics, 1);
    assert_int_equal(metrics.writers, 1);
    assert_int_equal(metrics.writers_connected, 1);
    weir_counters_sum(&two, &metrics);
    expect_sums(&metrics, 1001);
    assert_int_equal(metrics.writers, 2);
    assert_int_equal(metrics.writers_connected, 1);
    weir_counter_set(&one.connected, 0);
    memset(&metrics, 0, sizeof(metrics));
    weir_counters_sum(&one, &metrics);
    assert_int_equal(metrics.writers_connected, 0);
    // The pool's business.
    assert_int_equal(metrics.offered_messages, 0);
    assert_int_equal(metrics.accepted_messages, 0);
    assert_int_equal(metrics.accepted_bytes, 0);
    assert_int_equal(metrics.held_messages, 0); // nothing was taken
    assert_int_equal(metrics.held_bytes, 0);
    assert_int_equal(metrics.memory_bytes, 0);
    assert_int_equal(metrics.limits_ms[WEIR_TIME_LIMIT_CONNECT], 0);
}

static void books_fill(struct weir_books *books, uint64_t factor)
{
    uint64_t words[WEIR_BOOKS_WORDS];
    for (size_t index = 0; index < COUNT(words); index++) {
        words[index] = factor * (index + 1);
    }
    memcpy(books, words, sizeof(words));
}

// What the task took and what was thrown away: each in its place, and all missing from `held`.
static void test_sums_of_books(void **state)
{
    (void)state;
    struct weir_counters one = {0}, two = {0};
    struct weir_metrics metrics = {0};
    struct weir_books books;
    books_fill(&books, 1);
    weir_books_show(&one.books, &books);
    books_fill(&books, 1000);
    weir_books_show(&two.books, &books);
    weir_counter_add(&two.shed_messages, 7);
    weir_counter_add(&two.shed_voids, 30);
    weir_counter_add(&two.shed_bytes, 500);
    weir_counters_sum(&one, &metrics);
    weir_counters_sum(&two, &metrics);
    books_fill(&books, 1001);
    assert_int_equal(metrics.confirmed_messages, books.confirmed_messages);
    assert_int_equal(metrics.confirmed_bytes, books.confirmed_bytes);
    for (size_t index = 0; index < WEIR_DROPS_COUNT; index++) {
        uint64_t messages = index == WEIR_DROPPED_OLDEST      ? 7
                            : index == WEIR_DROPPED_ABANDONED ? 30
                                                              : 0;
        uint64_t bytes = index == WEIR_DROPPED_OLDEST ? 500 : 0;
        assert_int_equal(metrics.dropped_messages[index], books.dropped_messages[index] + messages);
        assert_int_equal(metrics.dropped_bytes[index], books.dropped_bytes[index] + bytes);
    }
    assert_int_equal(metrics.held_messages + books.taken_messages + 37, books.transit_messages);
    assert_int_equal(metrics.held_bytes + books.taken_bytes + 500, books.transit_bytes);
}

static void test_lines_are_apart(void **state)
{
    (void)state;
    size_t shared = offsetof(struct weir_counters, wakes);
    assert_int_equal(_Alignof(struct weir_counters), WEIR_COUNTERS_LINE_BYTES);
    assert_int_equal(shared % WEIR_COUNTERS_LINE_BYTES, 0);
    size_t shown = offsetof(struct weir_counters, shown_messages);
    assert_true(offsetof(struct weir_counters, message_processing) < shared);
    assert_true(offsetof(struct weir_counters, books) < shared);
    assert_true(offsetof(struct weir_counters, rejected) > shared);
    assert_true(offsetof(struct weir_counters, shed_bytes) > shared);
    assert_true(offsetof(struct weir_counters, shed_bytes) < shown);
    assert_int_equal(shown % WEIR_COUNTERS_LINE_BYTES, 0);
}

static void *adder(void *argument)
{
    struct weir_counters *counters = argument;
    for (unsigned index = 0; index < THREAD_ADDS; index++) {
        weir_counter_add(&counters->rejected[WEIR_REJECTED_FULL], 2);
        weir_histogram_add(&counters->message_processing, index * US);
    }
    return NULL;
}

static void test_no_add_is_lost(void **state)
{
    (void)state;
    struct weir_counters counters = {0};
    struct weir_metrics metrics = {0};
    pthread_t threads[THREADS];
    for (size_t index = 0; index < THREADS; index++) {
        assert_int_equal(pthread_create(&threads[index], NULL, adder, &counters), 0);
    }
    for (size_t index = 0; index < THREADS; index++) {
        assert_int_equal(pthread_join(threads[index], NULL), 0);
    }
    weir_counters_sum(&counters, &metrics);
    assert_int_equal(metrics.rejected_messages[WEIR_REJECTED_FULL], 2 * THREADS * THREAD_ADDS);
    assert_int_equal(metrics.message_processing.count, THREADS * THREAD_ADDS);
}

// ---- Books ----

static void test_books(void **state)
{
    (void)state;
    struct weir_metrics balanced = {0};
    assert_true(weir_metrics_balanced(&balanced));
    balanced.confirmed_messages = 100;
    balanced.held_messages = 7;
    balanced.accepted_messages = 107;
    balanced.confirmed_bytes = 3000;
    balanced.held_bytes = 200;
    balanced.accepted_bytes = 3200;
    for (size_t index = 0; index < WEIR_DROPS_COUNT; index++) {
        balanced.dropped_messages[index] = index + 1;
        balanced.accepted_messages += index + 1;
        balanced.dropped_bytes[index] = 50 * (index + 1);
        balanced.accepted_bytes += 50 * (index + 1);
    }
    balanced.offered_messages = balanced.accepted_messages;
    for (size_t index = 0; index < WEIR_REJECTIONS_COUNT; index++) {
        balanced.rejected_messages[index] = 10 * (index + 1);
        balanced.offered_messages += 10 * (index + 1);
    }
    assert_true(weir_metrics_balanced(&balanced));
    // One more or less of anything the equations speak of upsets them; of nothing else.
    for (size_t index = 0; index < sizeof(balanced) / sizeof(uint64_t); index++) {
        size_t offset = index * sizeof(uint64_t);
// Below the first the difference is huge.
#define WITHIN(member) (offset - offsetof(struct weir_metrics, member) < sizeof(balanced.member))
        bool counts = WITHIN(offered_messages) || WITHIN(accepted_messages) ||
                      WITHIN(rejected_messages) || WITHIN(confirmed_messages) ||
                      WITHIN(held_messages) || WITHIN(dropped_messages) ||
                      WITHIN(accepted_bytes) || WITHIN(confirmed_bytes) || WITHIN(held_bytes) ||
                      WITHIN(dropped_bytes);
#undef WITHIN
        for (int step = -1; step <= 1; step += 2) {
            struct weir_metrics changed = balanced;
            uint64_t value;
            memcpy(&value, (char *)&changed + offset, sizeof(value));
            value += (uint64_t)step;
            memcpy((char *)&changed + offset, &value, sizeof(value));
            assert_int_equal(weir_metrics_balanced(&changed), !counts);
        }
    }
}

// ---- Quantiles ----

static void test_quantiles(void **state)
{
    (void)state;
    struct weir_histogram histogram = {{0}, 0, 0};
    assert_int_equal(weir_histogram_quantile_ns(&histogram, 0), 0);
    assert_int_equal(weir_histogram_quantile_ns(&histogram, 1000), 0);
    histogram.buckets[0] = 500;
    histogram.buckets[3] = 499;
    histogram.buckets[31] = 1;
    assert_int_equal(weir_histogram_quantile_ns(&histogram, 0), 1 * US);
    assert_int_equal(weir_histogram_quantile_ns(&histogram, 1), 1 * US);
    assert_int_equal(weir_histogram_quantile_ns(&histogram, 500), 1 * US);
    assert_int_equal(weir_histogram_quantile_ns(&histogram, 501), 8 * US);
    assert_int_equal(weir_histogram_quantile_ns(&histogram, 999), 8 * US);
    assert_int_equal(weir_histogram_quantile_ns(&histogram, 1000), UINT64_MAX);
    // One value is every quantile; the last bounded bucket has a bound.
    memset(&histogram, 0, sizeof(histogram));
    histogram.buckets[30] = 1;
    for (uint32_t per_mille = 0; per_mille <= 1000; per_mille++) {
        assert_int_equal(weir_histogram_quantile_ns(&histogram, per_mille), US << 30);
    }
    // Three values: a third of them is not yet a half.
    memset(&histogram, 0, sizeof(histogram));
    histogram.buckets[1] = 1;
    histogram.buckets[2] = 1;
    histogram.buckets[5] = 1;
    assert_int_equal(weir_histogram_quantile_ns(&histogram, 333), 2 * US);
    assert_int_equal(weir_histogram_quantile_ns(&histogram, 334), 4 * US);
    assert_int_equal(weir_histogram_quantile_ns(&histogram, 667), 32 * US);
    // Counts whose product with 1000 does not fit in 64 bits.
    histogram.buckets[1] = UINT64_MAX / 2;
    histogram.buckets[2] = UINT64_MAX / 2;
    histogram.buckets[5] = 0;
    assert_int_equal(weir_histogram_quantile_ns(&histogram, 500), 2 * US);
    assert_int_equal(weir_histogram_quantile_ns(&histogram, 501), 4 * US);
    assert_int_equal(weir_histogram_quantile_ns(&histogram, 1000), 4 * US);
}

static int compare_ns(const void *a, const void *b)
{
    const uint64_t *left = a;
    const uint64_t *right = b;
    return (*left > *right) - (*left < *right);
}

// Against the values themselves, sorted.
static void test_quantiles_of_random_values(void **state)
{
    (void)state;
    uint64_t random = seed_get();
    for (unsigned run = 0; run < 300; run++) {
        struct weir_counters counters = {0};
        struct weir_metrics metrics = {0};
        uint64_t values[64];
        size_t count = 1 + random_next(&random) % COUNT(values);
        for (size_t index = 0; index < count; index++) {
            values[index] = random_next(&random) >> (24 + random_next(&random) % 40);
            weir_histogram_add(&counters.buffer_await, values[index]);
        }
        weir_counters_sum(&counters, &metrics);
        qsort(values, count, sizeof(values[0]), compare_ns);
        for (uint32_t per_mille = 1; per_mille <= 1000; per_mille += 37) {
            uint64_t value = values[(count * per_mille + 999) / 1000 - 1];
            uint64_t told = weir_histogram_quantile_ns(&metrics.buffer_await, per_mille);
            assert_true(value < told);
            assert_true(value < US ? told == US : told <= 2 * value || told == UINT64_MAX);
        }
    }
}

// ---- Text ----

#define FAMILIES_MAX 64
#define SAMPLES_MAX 256
#define NAME_BYTES 96

struct sample {
    char name[NAME_BYTES];
    char label[32]; // empty: none
    char label_value[32];
    char value[40];
};

struct parsed {
    char family[FAMILIES_MAX][NAME_BYTES];
    char type[FAMILIES_MAX][16];
    size_t families;
    struct sample samples[SAMPLES_MAX];
    size_t samples_family[SAMPLES_MAX];
    size_t samples_count;
};

static size_t span_name(const char *text)
{
    return strspn(text, "abcdefghijklmnopqrstuvwxyz_");
}

static void copy(char *to, size_t to_bytes, const char *from, size_t bytes)
{
    assert_true(bytes > 0 && bytes < to_bytes);
    memcpy(to, from, bytes);
    to[bytes] = '\0';
}

// name VALUE  or  name{label="value"} VALUE
static void parse_sample(struct parsed *parsed, const char *line)
{
    assert_true(parsed->samples_count < SAMPLES_MAX && parsed->families > 0);
    struct sample *sample = &parsed->samples[parsed->samples_count];
    parsed->samples_family[parsed->samples_count++] = parsed->families - 1;
    memset(sample, 0, sizeof(*sample));
    size_t bytes = span_name(line);
    copy(sample->name, sizeof(sample->name), line, bytes);
    line += bytes;
    if (*line == '{') {
        bytes = span_name(++line);
        copy(sample->label, sizeof(sample->label), line, bytes);
        line += bytes;
        assert_int_equal(strncmp(line, "=\"", 2), 0);
        line += 2;
        bytes = strcspn(line, "\"\\\n");
        copy(sample->label_value, sizeof(sample->label_value), line, bytes);
        line += bytes;
        assert_int_equal(strncmp(line, "\"}", 2), 0);
        line += 2;
    }
    assert_int_equal(*line++, ' ');
    bytes = strspn(line, "0123456789.");
    assert_int_equal(line[bytes], '\0');
    copy(sample->value, sizeof(sample->value), line, bytes);
    // It belongs to the family declared above it.
    const char *family = parsed->family[parsed->families - 1];
    assert_int_equal(strncmp(sample->name, family, strlen(family)), 0);
    const char *rest = sample->name + strlen(family);
    bool histogram = strcmp(parsed->type[parsed->families - 1], "histogram") == 0;
    assert_true(histogram ? strcmp(rest, "_bucket") == 0 || strcmp(rest, "_sum") == 0 ||
                                strcmp(rest, "_count") == 0
                          : rest[0] == '\0');
    for (size_t index = 0; index + 1 < parsed->samples_count; index++) {
        const struct sample *other = &parsed->samples[index];
        assert_false(strcmp(other->name, sample->name) == 0 &&
                     strcmp(other->label_value, sample->label_value) == 0);
    }
}

static void parse(struct parsed *parsed, char *text)
{
    memset(parsed, 0, sizeof(*parsed));
    assert_int_equal(text[strlen(text) - 1], '\n');
    bool helped = false;
    for (char *line = text, *end; *line != '\0'; line = end + 1) {
        end = strchr(line, '\n');
        *end = '\0';
        if (line[0] != '#') {
            assert_false(helped);
            parse_sample(parsed, line);
            continue;
        }
        size_t bytes = span_name(line + 7);
        assert_int_equal(line[7 + bytes], ' ');
        if (strncmp(line, "# HELP ", 7) == 0) {
            assert_false(helped);
            assert_true(parsed->families < FAMILIES_MAX);
            copy(parsed->family[parsed->families], NAME_BYTES, line + 7, bytes);
            for (size_t index = 0; index < parsed->families; index++) {
                assert_string_not_equal(parsed->family[index], parsed->family[parsed->families]);
            }
            assert_true(strlen(line + 7 + bytes) > 10);
            assert_null(strchr(line, '\\'));
            helped = true;
            continue;
        }
        assert_int_equal(strncmp(line, "# TYPE ", 7), 0);
        assert_true(helped && strlen(parsed->family[parsed->families]) == bytes);
        assert_memory_equal(line + 7, parsed->family[parsed->families], bytes);
        const char *type = line + 8 + bytes;
        copy(parsed->type[parsed->families++], 16, type, strlen(type));
        helped = false;
    }
    assert_false(helped);
}

static const char *value_of(const struct parsed *parsed, const char *name, const char *label,
                            const char *label_value)
{
    for (size_t index = 0; index < parsed->samples_count; index++) {
        const struct sample *sample = &parsed->samples[index];
        if (strcmp(sample->name, name) == 0 && strcmp(sample->label, label) == 0 &&
            strcmp(sample->label_value, label_value) == 0) {
            return sample->value;
        }
    }
    fail_msg("no %s{%s=\"%s\"}", name, label, label_value);
    return NULL;
}

static void expect_number(const struct parsed *parsed, const char *name, const char *label,
                          const char *label_value, uint64_t value)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    assert_string_equal(value_of(parsed, name, label, label_value), text);
}

static void text_make(const struct weir_metrics *metrics, char *text)
{
    size_t bytes = weir_metrics_text(metrics, text, TEXT_BYTES);
    assert_true(bytes < TEXT_BYTES);
    assert_int_equal(strlen(text), bytes);
}

// What has a label. returns how many numbers.
static size_t expect_groups(const struct parsed *parsed, const struct weir_metrics *metrics)
{
    size_t values = 0;
#define EXPECT(name, text_)                                                                        \
    do {                                                                                           \
        expect_number(parsed, family, label, text_, numbers[name]);                                \
        values++;                                                                                  \
    } while (0);
    const char *family = "weir_messages_rejected_total";
    const char *label = "reason";
    const uint64_t *numbers = metrics->rejected_messages;
    WEIR_REJECTIONS(EXPECT)
    family = "weir_messages_dropped_total";
    numbers = metrics->dropped_messages;
    WEIR_DROPS(EXPECT)
    family = "weir_dropped_bytes_total";
    numbers = metrics->dropped_bytes;
    WEIR_DROPS(EXPECT)
    family = "weir_errors_total";
    label = "error";
    numbers = metrics->faults;
    WEIR_FAULTS(EXPECT)
#undef EXPECT
#define EXPECT(name, member, text_)                                                                \
    do {                                                                                           \
        expect_number(parsed, family, label, text_, numbers[name]);                                \
        values++;                                                                                  \
    } while (0);
    family = "weir_limit_bytes";
    label = "limit";
    numbers = metrics->limits_bytes;
    WEIR_BYTE_LIMITS(EXPECT)
#undef EXPECT
#define EXPECT(name, member, text_)                                                                \
    do {                                                                                           \
        char seconds[32];                                                                          \
        (void)snprintf(seconds, sizeof(seconds), "%llu.%03llu",                                    \
                       (unsigned long long)(metrics->limits_ms[name] / 1000),                      \
                       (unsigned long long)(metrics->limits_ms[name] % 1000));                     \
        assert_string_equal(value_of(parsed, "weir_limit_seconds", label, text_), seconds);        \
        values++;                                                                                  \
    } while (0);
    WEIR_TIME_LIMITS(EXPECT)
#undef EXPECT
    return values;
}

// Every number of the snapshot but the histograms stands under its name, and there is no other.
static void test_text_has_every_number(void **state)
{
    (void)state;
    static struct parsed parsed;
    char text[TEXT_BYTES];
    struct weir_metrics metrics;
    size_t values = 0;
    metrics_number(&metrics, UINT64_C(18446744073709550000));
    text_make(&metrics, text);
    parse(&parsed, text);
#define EXPECT(member, name)                                                                       \
    do {                                                                                           \
        expect_number(&parsed, "weir_" name, "", "", metrics.member);                              \
        values++;                                                                                  \
    } while (0)
    EXPECT(offered_messages, "messages_offered_total");
    EXPECT(accepted_messages, "messages_accepted_total");
    EXPECT(accepted_bytes, "accepted_bytes_total");
    EXPECT(confirmed_messages, "messages_confirmed_total");
    EXPECT(confirmed_bytes, "confirmed_bytes_total");
    EXPECT(held_messages, "messages_held");
    EXPECT(held_bytes, "held_bytes");
    EXPECT(resent_messages, "messages_resent_total");
    EXPECT(resent_bytes, "resent_bytes_total");
    EXPECT(sends, "sends_total");
    EXPECT(sent_bytes, "sent_bytes_total");
    EXPECT(wakes, "wakes_total");
    EXPECT(connects, "connects_total");
    EXPECT(disconnects, "disconnects_total");
    EXPECT(epochs, "epochs_total");
    EXPECT(failovers, "failovers_total");
    EXPECT(failbacks, "failbacks_total");
    EXPECT(received_bytes, "received_bytes_total");
    EXPECT(writers, "writers");
    EXPECT(writers_connected, "writers_connected");
    EXPECT(memory_bytes, "memory_bytes");
#undef EXPECT
    values += expect_groups(&parsed, &metrics);
    assert_int_equal(values * sizeof(uint64_t),
                     sizeof(metrics) - 2 * sizeof(struct weir_histogram));
    assert_int_equal(parsed.samples_count, values + 2 * (WEIR_HISTOGRAM_BUCKETS + 2));
    for (size_t index = 0; index < parsed.families; index++) {
        const char *name = parsed.family[index];
        const char *type = parsed.type[index];
        bool total = strlen(name) > 6 && strcmp(name + strlen(name) - 6, "_total") == 0;
        bool seconds = strlen(name) > 8 && strcmp(name + strlen(name) - 8, "_seconds") == 0;
        assert_int_equal(strncmp(name, "weir_", 5), 0);
        bool histogram = seconds && strcmp(name, "weir_limit_seconds") != 0;
        assert_string_equal(type, total ? "counter" : histogram ? "histogram" : "gauge");
    }
}

static void check_histogram(const struct parsed *parsed, const char *family,
                            const struct weir_histogram *histogram)
{
    char name[NAME_BYTES];
    char text[40];
    uint64_t total = 0;
    double bound = 0;
    size_t buckets = 0;
    (void)snprintf(name, sizeof(name), "%s_bucket", family);
    for (size_t index = 0; index < parsed->samples_count; index++) {
        const struct sample *sample = &parsed->samples[index];
        if (strcmp(sample->name, name) != 0) {
            continue;
        }
        assert_string_equal(sample->label, "le");
        total += histogram->buckets[buckets];
        assert_int_equal(strtoull(sample->value, NULL, 10), total);
        if (++buckets == WEIR_HISTOGRAM_BUCKETS) {
            assert_string_equal(sample->label_value, "+Inf");
            continue;
        }
        double le = strtod(sample->label_value, NULL);
        double exact = (double)(UINT64_C(1) << (buckets - 1)) / 1e6;
        assert_true(le > bound && le > exact * 0.999999 && le < exact * 1.000001);
        bound = le;
    }
    assert_int_equal(buckets, WEIR_HISTOGRAM_BUCKETS);
    (void)snprintf(name, sizeof(name), "%s_count", family);
    expect_number(parsed, name, "", "", total);
    (void)snprintf(name, sizeof(name), "%s_sum", family);
    (void)snprintf(text, sizeof(text), "%llu.%09llu",
                   (unsigned long long)(histogram->sum_ns / 1000000000),
                   (unsigned long long)(histogram->sum_ns % 1000000000));
    assert_string_equal(value_of(parsed, name, "", ""), text);
}

static void test_text_has_real_histograms(void **state)
{
    (void)state;
    static struct parsed parsed;
    char text[TEXT_BYTES];
    uint64_t random = seed_get();
    for (unsigned run = 0; run < 50; run++) {
        struct weir_counters counters = {0};
        struct weir_metrics metrics = {0};
        for (unsigned index = 0; index < run * 10; index++) {
            weir_histogram_add(&counters.buffer_await,
                               random_next(&random) >> (16 + random_next(&random) % 48));
            weir_histogram_add(&counters.message_processing,
                               random_next(&random) >> (16 + random_next(&random) % 48));
        }
        weir_counters_sum(&counters, &metrics);
        text_make(&metrics, text);
        parse(&parsed, text);
        check_histogram(&parsed, "weir_buffer_await_seconds", &metrics.buffer_await);
        check_histogram(&parsed, "weir_message_processing_seconds", &metrics.message_processing);
        assert_int_equal(metrics.buffer_await.count, run * 10);
    }
}

// A reader with an eye for the format, instead of a parser.
static void test_text_reads_like_this(void **state)
{
    (void)state;
    char text[TEXT_BYTES];
    struct weir_metrics metrics = {0};
    metrics.offered_messages = 12;
    metrics.faults[WEIR_FAULT_CONNECT_TIMEOUT] = 3;
    metrics.limits_ms[WEIR_TIME_LIMIT_STALL] = 30000;
    metrics.limits_ms[WEIR_TIME_LIMIT_FLUSH] = 5;
    metrics.limits_bytes[WEIR_BYTE_LIMIT_WINDOW] = 1048576;
    metrics.message_processing.buckets[0] = 1;
    metrics.message_processing.buckets[20] = 1;
    metrics.message_processing.count = 2;
    metrics.message_processing.sum_ns = 1000000999;
    text_make(&metrics, text);
    static const char begin[] =
        "# HELP weir_messages_offered_total Messages the host handed over: accepted and rejected "
        "ones.\n# TYPE weir_messages_offered_total counter\nweir_messages_offered_total 12\n";
    assert_int_equal(strncmp(text, begin, sizeof(begin) - 1), 0);
    assert_non_null(strstr(text, "\nweir_errors_total{error=\"connect_timeout\"} 3\n"));
    assert_non_null(strstr(text, "\n# TYPE weir_limit_seconds gauge\n"));
    assert_non_null(strstr(text, "\nweir_limit_seconds{limit=\"connect\"} 0.000\n"
                                 "weir_limit_seconds{limit=\"stall\"} 30.000\n"));
    assert_non_null(strstr(text, "\nweir_limit_seconds{limit=\"flush\"} 0.005\n"));
    assert_non_null(strstr(text, "\nweir_limit_bytes{limit=\"window\"} 1048576\n"));
    assert_non_null(strstr(text, "\nweir_message_processing_seconds_bucket{le=\"0.000001\"} 1\n"
                                 "weir_message_processing_seconds_bucket{le=\"0.000002\"} 1\n"));
    assert_non_null(strstr(text, "\nweir_message_processing_seconds_bucket{le=\"0.524288\"} 1\n"
                                 "weir_message_processing_seconds_bucket{le=\"1.048576\"} 2\n"));
    assert_non_null(strstr(text, "\nweir_message_processing_seconds_bucket{le=\"1073.741824\"} 2\n"
                                 "weir_message_processing_seconds_bucket{le=\"+Inf\"} 2\n"
                                 "weir_message_processing_seconds_sum 1.000000999\n"
                                 "weir_message_processing_seconds_count 2\n"));
}

static void test_text_is_cut_at_any_length(void **state)
{
    (void)state;
    char whole[TEXT_BYTES];
    char *text = malloc(TEXT_BYTES + 1);
    struct weir_metrics metrics;
    assert_non_null(text);
    metrics_number(&metrics, UINT64_C(1) << 40);
    text_make(&metrics, whole);
    size_t length = strlen(whole);
    assert_int_equal(weir_metrics_text(&metrics, NULL, 0), length);
    for (size_t bytes = 0; bytes <= length + 2; bytes++) {
        memset(text, '#', TEXT_BYTES + 1);
        assert_int_equal(weir_metrics_text(&metrics, text, bytes), length);
        assert_int_equal(text[bytes], '#');
        if (bytes > 0) {
            size_t kept = bytes - 1 < length ? bytes - 1 : length;
            assert_int_equal(text[kept], '\0');
            assert_memory_equal(text, whole, kept);
        }
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buckets),
        cmocka_unit_test(test_sums_over_writers),
        cmocka_unit_test(test_sums_of_books),
        cmocka_unit_test(test_lines_are_apart),
        cmocka_unit_test(test_no_add_is_lost),
        cmocka_unit_test(test_books),
        cmocka_unit_test(test_quantiles),
        cmocka_unit_test(test_quantiles_of_random_values),
        cmocka_unit_test(test_text_has_every_number),
        cmocka_unit_test(test_text_has_real_histograms),
        cmocka_unit_test(test_text_reads_like_this),
        cmocka_unit_test(test_text_is_cut_at_any_length),
    };
    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
