// Tests of the metrics' text, through a parser of its own: every number, histograms, cuts.
#include "writer/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support_random.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define TEXT_BYTES 16384

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
        cmocka_unit_test(test_text_has_every_number),
        cmocka_unit_test(test_text_has_real_histograms),
        cmocka_unit_test(test_text_reads_like_this),
        cmocka_unit_test(test_text_is_cut_at_any_length),
    };
    return cmocka_run_group_tests_name("metrics_text", tests, NULL, NULL);
}
