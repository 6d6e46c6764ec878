// Tests of the metrics: buckets, sums over writers, the books' two equations, quantiles.
#include "writer/metrics.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support_random.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define RANDOM_RUNS 5000
#define THREADS 4
#define THREAD_ADDS 20000
#define US UINT64_C(1000)

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
                      WITHIN(held_messages) || WITHIN(dropped_messages) || WITHIN(accepted_bytes) ||
                      WITHIN(confirmed_bytes) || WITHIN(held_bytes) || WITHIN(dropped_bytes);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buckets),        cmocka_unit_test(test_sums_over_writers),
        cmocka_unit_test(test_sums_of_books),  cmocka_unit_test(test_lines_are_apart),
        cmocka_unit_test(test_no_add_is_lost), cmocka_unit_test(test_books),
        cmocka_unit_test(test_quantiles),      cmocka_unit_test(test_quantiles_of_random_values),
    };
    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
