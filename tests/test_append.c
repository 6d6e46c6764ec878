// Tests of writer/append.c without a running writer: what is put in, who is woken, what gaps say.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support_pool.h"
#include "writer/append.h"

// A writer whose task was never started: the test is its consumer.
struct bench {
    struct weir_runtime *runtime;
    struct weir_pool_options options;
    struct weir_pool_plan plan;
    struct weir_writer *writer;
    void *region;
    struct weir_transit_segment *ring;
    _Atomic uint32_t progress, waiters;
};

static void *lines_alloc(size_t bytes)
{
    void *memory = aligned_alloc(128, (bytes + 127) / 128 * 128);
    assert_non_null(memory);
    return memory;
}

static void bench_start(struct bench *bench)
{
    memset(bench, 0, sizeof(*bench));
    bench->runtime = test_runtime_create(0, NULL);
    test_pool_options(&bench->options, "unix:/nowhere");
    bench->options.framing = WEIR_FRAMING_RAW;
    bench->options.buffer_bytes_max = 32 << 10;
    bench->options.message_bytes_max = 1000;
    bench->options.flush_limit_bytes = 1000;
}

static void bench_open(struct bench *bench)
{
    char why[384];
    assert_int_equal(weir_pool_options_check(&bench->options, &bench->plan, why, sizeof(why)), 0);
    bench->region = lines_alloc(bench->plan.region_bytes);
    bench->ring = calloc(bench->plan.row.segment_count, sizeof(*bench->ring));
    bench->writer = lines_alloc(sizeof(*bench->writer));
    assert_non_null(bench->ring);
    weir_writer_init(bench->writer, bench->runtime, &bench->plan,
                     weir_row_init(bench->region, &bench->plan.row), bench->ring, &bench->progress,
                     &bench->waiters);
}

static void bench_end(struct bench *bench)
{
    free(bench->region);
    free(bench->ring);
    free(bench->writer);
    weir_runtime_destroy(bench->runtime);
}

static int append(struct bench *bench, const void *bytes, size_t bytes_count)
{
    struct weir_iovec part = {bytes, bytes_count};
    return weir_append(bench->writer, WEIR_SEVERITY_DEFAULT, &part, 1);
}

// Takes a segment and copies its wire out.  returns  its length, or -1: there is none.
static int64_t take_text(struct bench *bench, char *text, size_t text_bytes)
{
    struct weir_segment segment;
    (void)weir_row_seal_open(bench->writer->row, 1);
    if (weir_row_take(bench->writer->row, &segment) != 1) {
        return -1;
    }
    assert_true(segment.wire_bytes < text_bytes);
    for (uint32_t position = 0; position < segment.wire_bytes;) {
        uint32_t run;
        const unsigned char *from = weir_segment_run(&segment, position, &run);
        memcpy(text + position, from, run);
        position += run;
    }
    text[segment.wire_bytes] = '\0';
    assert_true(segment.opened_ns > 0 && segment.sealed_ns > 0);
    weir_row_release(bench->writer->row, &segment);
    return segment.wire_bytes;
}

static void goes_in_as_framed(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench);
    bench.options.framing = WEIR_FRAMING_OCTET_COUNTING;
    bench_open(&bench);
    char text[4000];
    struct weir_iovec parts[3] = {{"he", 2}, {"", 0}, {"llo", 3}};
    assert_int_equal(weir_append(bench.writer, 3, parts, 3), 0);
    assert_int_equal(append(&bench, "x", 1), 0);
    assert_int_equal(append(&bench, "", 0), -EINVAL);
    assert_int_equal(take_text(&bench, text, sizeof(text)), 10);
    assert_string_equal(text, "5 hello1 x");
    assert_int_equal(take_text(&bench, text, sizeof(text)), -1);
    bench_end(&bench);
}

static void sizes(void **unused)
{
    (void)unused;
    struct bench bench;
    static char large[1001];
    bench_start(&bench);
    bench_open(&bench);
    struct weir_reservation reservation;
    assert_int_equal(append(&bench, large, 1000), 0);
    assert_int_equal(append(&bench, large, 1001), WEIR_ETOOBIG);
    assert_int_equal(weir_append_reserve(bench.writer, 1001, &reservation), WEIR_ETOOBIG);
    assert_int_equal(weir_append_reserve(bench.writer, SIZE_MAX, &reservation), WEIR_ETOOBIG);
    // Cut by 32 bits these would be small.
    size_t cut = (size_t)1 << 32;
    assert_int_equal(weir_append_reserve(bench.writer, cut, &reservation), WEIR_ETOOBIG);
    bench_end(&bench);
}

// Deep idle is left by the first message, and only by it.
static void nudges_a_sleeper_once(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench);
    bench_open(&bench);
    _Atomic uint64_t *wakes = &bench.writer->counters.wakes;
    assert_int_equal(append(&bench, "a", 1), 0);
    assert_int_equal(atomic_load(wakes), 0);
    atomic_store(&bench.writer->asleep, 1);
    assert_int_equal(append(&bench, "a", 1), 0);
    assert_int_equal(atomic_load(wakes), 1);
    assert_int_equal(append(&bench, "a", 1), 0);
    assert_int_equal(atomic_load(wakes), 1);
    bench_end(&bench);
}

// When half of the segments are in use, opening one more wakes; once, until the writer was there.
static void presses_when_segments_run_short(void **unused)
{
    (void)unused;
    struct bench bench;
    static char segment[1000];
    bench_start(&bench);
    bench_open(&bench);
    uint32_t count = bench.plan.row.segment_count;
    assert_true(count >= 4);
    _Atomic uint64_t *wakes = &bench.writer->counters.wakes;
    for (uint32_t i = 1; i <= count; i++) {
        assert_int_equal(append(&bench, segment, 1000), 0);
        assert_int_equal(atomic_load(wakes), count - i <= count / 2 ? 1 : 0);
    }
    assert_int_equal(append(&bench, segment, 1), WEIR_EFULL);
    atomic_store(&bench.writer->pressed, 0);
    char text[4000];
    assert_int_equal(take_text(&bench, text, sizeof(text)), 1000);
    assert_int_equal(append(&bench, segment, 1000), 0);
    assert_int_equal(atomic_load(wakes), 2);
    bench_end(&bench);
}

static void drops_the_oldest(void **unused)
{
    (void)unused;
    struct bench bench;
    static char segment[1000];
    bench_start(&bench);
    bench.options.full = WEIR_FULL_DROP_OLDEST;
    bench_open(&bench);
    uint32_t count = bench.plan.row.segment_count;
    for (uint32_t i = 0; i < 3 * count; i++) {
        memset(segment, 'A' + (int)(i % 26), sizeof(segment));
        assert_int_equal(append(&bench, segment, 1000), 0);
    }
    struct weir_counters *counters = &bench.writer->counters;
    assert_int_equal(atomic_load(&counters->dropped_messages[WEIR_DROPPED_OLDEST]), 2 * count);
    assert_int_equal(atomic_load(&counters->dropped_bytes[WEIR_DROPPED_OLDEST]), 2000 * count);
    assert_int_equal(atomic_load(&counters->taken_messages), 2 * count);
    char text[4000];
    assert_int_equal(take_text(&bench, text, sizeof(text)), 1000);
    assert_int_equal(text[0], 'A' + (int)(2 * count % 26));

    // A segment in which a thread is still writing cannot go: then the row is full.
    struct weir_reservation held, other;
    while (take_text(&bench, text, sizeof(text)) >= 0) {
    }
    assert_int_equal(weir_append_reserve(bench.writer, 1000, &held), 0);
    uint32_t accepted = 0;
    while (append(&bench, segment, 1000) == 0) {
        accepted++;
        assert_true(accepted <= count);
    }
    assert_int_equal(accepted, count - 1);
    assert_int_equal(weir_append_reserve(bench.writer, 1, &other), WEIR_EFULL);
    weir_append_commit(bench.writer, &held, WEIR_SEGMENT_VOID);
    assert_int_equal(append(&bench, segment, 1000), 0);
    assert_int_equal(atomic_load(&counters->dropped_messages[WEIR_DROPPED_ABANDONED]), 1);
    bench_end(&bench);
}

// ---- Gaps ----

static void gap_is_told_once(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench);
    bench.options.gap_records = true;
    bench_open(&bench);
    char text[4000];
    weir_append_gap(bench.writer);
    assert_int_equal(take_text(&bench, text, sizeof(text)), -1);
    weir_append_note_loss(bench.writer, 2, 300);
    weir_append_note_loss(bench.writer, 1, 50);
    weir_append_gap(bench.writer);
    weir_append_gap(bench.writer);
    assert_true(take_text(&bench, text, sizeof(text)) > 0);
    assert_memory_equal(text, "weir: 3 messages, 350 bytes dropped between 20", 46);
    assert_int_equal(take_text(&bench, text, sizeof(text)), -1);
    bench_end(&bench);
}

static void gap_not_asked_for(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench);
    bench_open(&bench);
    weir_append_note_loss(bench.writer, 2, 300);
    weir_append_gap(bench.writer);
    char text[4000];
    assert_int_equal(take_text(&bench, text, sizeof(text)), -1);
    bench_end(&bench);
}

// No room for the record: it is told later, whole.
static void gap_waits_for_room(void **unused)
{
    (void)unused;
    struct bench bench;
    static char segment[1000];
    bench_start(&bench);
    bench.options.gap_records = true;
    bench_open(&bench);
    while (append(&bench, segment, 1000) == 0) {
    }
    weir_append_note_loss(bench.writer, 7, 700);
    weir_append_gap(bench.writer);
    weir_append_note_loss(bench.writer, 1, 1);
    char text[4000];
    while (take_text(&bench, text, sizeof(text)) >= 0) {
        assert_int_not_equal(text[0], 'w');
    }
    weir_append_gap(bench.writer);
    assert_true(take_text(&bench, text, sizeof(text)) > 0);
    assert_memory_equal(text, "weir: 8 messages, 701 bytes dropped between 20", 46);
    bench_end(&bench);
}

// A loss noted while a record was being made: the record took its first time along.
static void gap_without_a_first_time(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench);
    bench.options.gap_records = true;
    bench_open(&bench);
    weir_append_note_loss(bench.writer, 1, 10);
    atomic_store(&bench.writer->gap.first_ns, 0); // as the other's exchange leaves it
    weir_append_gap(bench.writer);
    char text[4000];
    assert_true(take_text(&bench, text, sizeof(text)) > 0);
    const char *between = strstr(text, "between ");
    assert_non_null(between);
    assert_memory_equal(between + 8, "20", 2); // not 1970
    assert_memory_equal(between + 8, strstr(text, " and ") + 5, WEIR_TIMESTAMP_BYTES);
    bench_end(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(goes_in_as_framed),
        cmocka_unit_test(sizes),
        cmocka_unit_test(nudges_a_sleeper_once),
        cmocka_unit_test(presses_when_segments_run_short),
        cmocka_unit_test(drops_the_oldest),
        cmocka_unit_test(gap_is_told_once),
        cmocka_unit_test(gap_not_asked_for),
        cmocka_unit_test(gap_waits_for_room),
        cmocka_unit_test(gap_without_a_first_time),
    };
    return cmocka_run_group_tests_name("append", tests, NULL, NULL);
}
