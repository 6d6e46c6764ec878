// Tests of writer/append.c without a running writer: what is put in, who is woken, what gaps say.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support_append.h"
#include "tests/support_pool.h"

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
    weir_writer_init(bench->writer, 0, bench->runtime, &bench->plan,
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
    return append_parts(bench->writer, WEIR_SEVERITY_DEFAULT, &part, 1);
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
    assert_int_equal(append_parts(bench.writer, 3, parts, 3), 0);
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
    assert_int_equal(atomic_load(&counters->shed_messages), 2 * count);
    assert_int_equal(atomic_load(&counters->shed_bytes), 2000 * count);
    assert_int_equal(atomic_load(&counters->shed_voids), 0);
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
    assert_int_equal(atomic_load(&counters->shed_voids), 1);
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

// Nor is anything thrown away for the record, which would then have to tell of that, too.
static void gap_drops_nothing(void **unused)
{
    (void)unused;
    struct bench bench;
    static char segment[1000];
    bench_start(&bench);
    bench.options.gap_records = true;
    bench.options.full = WEIR_FULL_DROP_OLDEST;
    bench_open(&bench);
    _Atomic uint64_t *shed = &bench.writer->counters.shed_messages;
    while (atomic_load(shed) == 0) {
        assert_int_equal(append(&bench, segment, 1000), 0);
    }
    weir_append_gap(bench.writer);
    assert_int_equal(atomic_load(shed), 1);
    char text[4000];
    while (take_text(&bench, text, sizeof(text)) >= 0) {
        assert_int_not_equal(text[0], 'w');
    }
    weir_append_gap(bench.writer);
    assert_true(take_text(&bench, text, sizeof(text)) > 0);
    assert_memory_equal(text, "weir: 1 messages, 1000 bytes dropped between 20", 47);
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

// ---- What a record tells is not lost with it ----

// Everything in the row goes out and is confirmed; what went out is added to `wire`.
static void drain(struct bench *bench, char *wire, size_t wire_bytes)
{
    struct weir_transit *transit = &bench->writer->transit;
    (void)weir_row_seal_open(bench->writer->row, 1);
    while (weir_transit_take(transit, 1, 1) > 0) {
        struct weir_iovec parts[8];
        size_t length = strlen(wire);
        size_t count = weir_transit_gather(transit, parts, 8, SIZE_MAX);
        uint64_t bytes = 0;
        for (size_t i = 0; i < count; i++) {
            assert_true(length + bytes + parts[i].bytes_count < wire_bytes);
            memcpy(wire + length + bytes, parts[i].bytes, parts[i].bytes_count);
            bytes += parts[i].bytes_count;
        }
        wire[length + bytes] = '\0';
        weir_transit_sent(transit, bytes);
        weir_transit_confirm(transit, transit->sent, 1);
    }
}

struct told {
    uint64_t records, messages, bytes;
};

// What the records in the text tell, all together.
static struct told told(const char *text)
{
    struct told sum = {0, 0, 0};
    unsigned long messages, bytes;
    for (const char *at = text; (at = strstr(at, "weir: ")) != NULL; at++) {
        assert_int_equal(sscanf(at, "weir: %lu messages, %lu bytes", &messages, &bytes), 2);
        sum.records++;
        sum.messages += messages;
        sum.bytes += bytes;
    }
    return sum;
}

static void record_waits_for_the_one_before(void **unused)
{
    (void)unused;
    struct bench bench;
    char wire[4000] = "";
    bench_start(&bench);
    bench.options.gap_records = true;
    bench_open(&bench);
    weir_append_note_loss(bench.writer, 2, 20);
    weir_append_gap(bench.writer);
    weir_append_note_loss(bench.writer, 3, 30);
    weir_append_gap(bench.writer); // that one is in the row
    (void)weir_row_seal_open(bench.writer->row, 1);
    assert_int_equal(weir_transit_take(&bench.writer->transit, 1, 1), 1);
    weir_append_gap(bench.writer); // now it is taken
    assert_int_equal(weir_row_seal_open(bench.writer->row, 1), false);
    drain(&bench, wire, sizeof(wire)); // takes nothing
    weir_transit_sent(&bench.writer->transit, bench.writer->transit.end);
    weir_append_gap(bench.writer); // and sent
    weir_transit_confirm(&bench.writer->transit, bench.writer->transit.end, 1);
    assert_int_equal(weir_row_seal_open(bench.writer->row, 1), false);
    weir_append_gap(bench.writer);
    drain(&bench, wire, sizeof(wire));
    assert_memory_equal(wire, "weir: 3 messages, 30 bytes", 26);
    assert_int_equal(told(wire).records, 1);
    bench_end(&bench);
}

// The record is thrown away with its segment: the next one tells both, and not of the record.
static void record_thrown_away(void **unused)
{
    (void)unused;
    struct bench bench;
    static char segment[1000], wire[64 << 10];
    bench_start(&bench);
    bench.options.gap_records = true;
    bench.options.full = WEIR_FULL_DROP_OLDEST;
    bench_open(&bench);
    memset(segment, 'x', sizeof(segment));
    memset(wire, 0, sizeof(wire));
    weir_append_note_loss(bench.writer, 24, 2400);
    weir_append_gap(bench.writer);
    assert_int_equal(append(&bench, "next to it", 10), 0); // lost with it
    (void)weir_row_seal_open(bench.writer->row, 1);
    while (atomic_load(&bench.writer->counters.shed_messages) == 0) {
        assert_int_equal(append(&bench, segment, 1000), 0);
    }
    assert_int_equal(atomic_load(&bench.writer->counters.shed_messages), 2);
    drain(&bench, wire, sizeof(wire));
    assert_int_equal(told(wire).records, 0);
    weir_append_gap(bench.writer);
    drain(&bench, wire, sizeof(wire));
    assert_non_null(strstr(wire, "weir: 25 messages, 2410 bytes dropped between 20"));
    weir_append_gap(bench.writer);
    drain(&bench, wire, sizeof(wire));
    assert_int_equal(told(wire).records, 1);
    bench_end(&bench);
}

static void record_refused(void **unused)
{
    (void)unused;
    struct bench bench;
    char wire[4000] = "";
    bench_start(&bench);
    bench.options.gap_records = true;
    bench_open(&bench);
    struct weir_transit *transit = &bench.writer->transit;
    assert_int_equal(append(&bench, "before", 6), 0);
    weir_append_note_loss(bench.writer, 5, 50);
    weir_append_gap(bench.writer);
    (void)weir_row_seal_open(bench.writer->row, 1);
    assert_int_equal(weir_transit_take(transit, 1, 1), 1);
    weir_transit_sent(transit, transit->end);
    weir_transit_refuse(transit, 6, 1); // the other one
    weir_append_gap(bench.writer);
    assert_int_equal(transit->mark.state, WEIR_MARK_HELD);
    weir_transit_refuse(transit, transit->end, 1);
    weir_append_gap(bench.writer);
    drain(&bench, wire, sizeof(wire));
    assert_memory_equal(wire, "weir: 5 messages, 50 bytes", 26);
    bench_end(&bench);
}

// Whatever happens, in the end the records that arrived tell exactly what was lost.
static void records_add_up(void **unused)
{
    (void)unused;
    static char wire[4 << 20];
    uint64_t random = test_seed(), thrown = 0;
    for (uint64_t round = 0; round < test_times(60); round++) {
        struct bench bench;
        static char message[400];
        uint64_t lost = 0, lost_bytes = 0, accepted = 0;
        bench_start(&bench);
        bench.options.framing = WEIR_FRAMING_NEWLINE;
        bench.options.gap_records = true;
        bench.options.buffer_bytes_max = 8 << 10;
        bench.options.full = round % 2 == 0 ? WEIR_FULL_DROP_OLDEST : WEIR_FULL_DROP_NEWEST;
        bench_open(&bench);
        memset(message, 'm', sizeof(message));
        wire[0] = '\0';
        for (uint32_t i = 0; i < 2000; i++) {
            size_t length = 1 + test_random(&random) % sizeof(message);
            uint64_t what = test_random(&random) % 16;
            if (what < 10) {
                if (append(&bench, message, length) != 0) {
                    weir_append_note_loss(bench.writer, 1, length);
                    lost++;
                    lost_bytes += length;
                } else {
                    accepted++;
                }
            } else if (what < 13) {
                weir_append_gap(bench.writer);
            } else if (what < 14) {
                (void)weir_row_seal_open(bench.writer->row, 1);
            } else if (what < 15 && test_random(&random) % 8 == 0) {
                drain(&bench, wire, sizeof(wire));
            }
        }
        for (int i = 0; i < 4; i++) {
            drain(&bench, wire, sizeof(wire));
            weir_append_gap(bench.writer);
        }
        // Of what was thrown away, records are nobody's loss.
        struct weir_row_counts counts;
        struct told sum = told(wire);
        weir_row_count(bench.writer->row, &counts);
        uint64_t shed = atomic_load(&bench.writer->counters.shed_messages);
        uint64_t shed_bytes = atomic_load(&bench.writer->counters.shed_bytes);
        uint64_t records_shed = counts.messages - accepted - sum.records;
        assert_int_equal(sum.messages, lost + shed - records_shed);
        assert_in_range(lost_bytes + shed_bytes - sum.bytes, 100 * records_shed,
                        WEIR_GAP_RECORD_BYTES_MAX * records_shed);
        assert_true(records_shed == 0 || round % 2 == 0);
        thrown += records_shed;
        bench_end(&bench);
    }
    assert_true(thrown > 0);
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
        cmocka_unit_test(gap_drops_nothing),
        cmocka_unit_test(gap_without_a_first_time),
        cmocka_unit_test(record_waits_for_the_one_before),
        cmocka_unit_test(record_thrown_away),
        cmocka_unit_test(record_refused),
        cmocka_unit_test(records_add_up),
    };
    return cmocka_run_group_tests_name("append", tests, NULL, NULL);
}
