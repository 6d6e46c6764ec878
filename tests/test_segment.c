// Tests the row of segments: each boundary with one thread; order, content and books with many.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/assert.h"
#include "weir.h"
#include "writer/segment.h"

#define THREADS_MAX 8
#define LAP 32768 // segments until the tail's sequence comes round

// Set while one thread runs: CMocka's assertions jump, which other threads must not.
static _Thread_local bool main_thread;

// The library's assertions become test results here; linked instead of the one in os_linux.c.
_Noreturn void weir_assert_failed(const char *condition, const char *file, int line)
{
    if (main_thread) {
        mock_assert(0, condition, file, line);
    }
    fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, condition);
    abort();
}

static void require_failed(const char *condition, int line)
{
    fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, line, condition);
    abort();
}

// An assertion that any thread may make.
#define require(condition) ((condition) ? (void)0 : require_failed(#condition, __LINE__))

static uint64_t random_next(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint32_t random_below(uint64_t *state, uint32_t limit)
{
    return (uint32_t)(random_next(state) % limit);
}

static uint64_t seed_get(void)
{
    const char *text = getenv("WEIR_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : 20260801;
    print_message("WEIR_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

static struct weir_row *row_make(struct weir_row_options options)
{
    size_t bytes = weir_row_region_bytes(&options);
    assert_true(bytes > 0);
    assert_int_equal(bytes % WEIR_ROW_LINE_BYTES, 0);
    void *region = aligned_alloc(WEIR_ROW_LINE_BYTES, bytes);
    assert_non_null(region);
    memset(region, 0xa5, bytes); // init must not rely on zeroes
    return weir_row_init(region, &options);
}

static struct weir_row *row_of(uint32_t flush, uint32_t message, uint32_t segments, uint32_t index)
{
    return row_make((struct weir_row_options){flush, message, segments, index});
}

static struct weir_reservation reserve_ok(struct weir_row *row, uint32_t bytes)
{
    struct weir_reservation reservation;
    assert_int_equal(weir_row_reserve(row, bytes, &reservation), 0);
    assert_int_equal(reservation.bytes, bytes);
    return reservation;
}

// Appends `bytes` times the character `fill`; returns whether that completed the segment.
static bool append(struct weir_row *row, uint32_t bytes, int fill)
{
    struct weir_reservation reservation = reserve_ok(row, bytes);
    memset(reservation.data, fill, bytes);
    return weir_row_commit(row, &reservation, bytes);
}

static struct weir_segment take_ok(struct weir_row *row)
{
    struct weir_segment segment;
    assert_int_equal(weir_row_take(row, &segment), 1);
    return segment;
}

static struct weir_row_counts count(struct weir_row *row)
{
    struct weir_row_counts counts;
    weir_row_count(row, &counts);
    assert_true(counts.exact); // one thread: nobody is in between
    return counts;
}

static void options_are_bounded(void **state)
{
    (void)state;
    const struct weir_row_options good = {WEIR_ROW_FLUSH_BYTES_MAX, WEIR_ROW_MESSAGE_BYTES_MAX,
                                          WEIR_ROW_SEGMENTS_MAX, WEIR_ROW_MESSAGES_MAX};
    assert_true(weir_row_region_bytes(&good) > (size_t)WEIR_ROW_SEGMENTS_MAX * ((1u << 29) - 2));
    for (int i = 0; i < 8; i++) {
        struct weir_row_options bad = good;
        uint32_t *fields[] = {&bad.flush_limit_bytes, &bad.message_bytes_max, &bad.segment_count,
                              &bad.segment_messages_max};
        *fields[i / 2] = i % 2 == 0 ? 0 : *fields[i / 2] + 1;
        assert_int_equal(weir_row_region_bytes(&bad), 0);
    }
    struct weir_row_options bad = good;
    _Alignas(WEIR_ROW_LINE_BYTES) unsigned char region[WEIR_ROW_LINE_BYTES];
    bad.segment_count = 0;
    expect_assert_failure(weir_row_init(region, &bad));
    expect_assert_failure(weir_row_init(region + 8, &good));
}

static void first_message_opens_and_the_limit_closes(void **state)
{
    (void)state;
    struct weir_row *row = row_of(10, 10, 3, 100);
    struct weir_segment segment;
    assert_int_equal(weir_row_take(row, &segment), 0);
    assert_int_equal(count(row).free_count, 3);

    struct weir_reservation first = reserve_ok(row, 9);
    assert_true(first.opened && !first.closed);
    assert_int_equal(first.free_count, 2);
    assert_int_equal(first.offset, 0);
    weir_row_stamp(row, &first, 111);
    memset(first.data, 'a', 9);
    assert_false(weir_row_commit(row, &first, 9));
    assert_int_equal(weir_row_take(row, &segment), 0);

    // One byte below the limit the largest message still fits.
    struct weir_reservation last = reserve_ok(row, 10);
    assert_true(!last.opened && last.closed);
    assert_int_equal(last.offset, 9);
    assert_int_equal(last.message, 1);
    weir_row_stamp(row, &last, 222);
    memset(last.data, 'b', 10);
    assert_int_equal(weir_row_take(row, &segment), 0);
    assert_true(weir_row_commit(row, &last, 10));

    segment = take_ok(row);
    assert_int_equal(segment.messages, 2);
    assert_int_equal(segment.bytes, 19);
    assert_int_equal(segment.wire_bytes, 19);
    assert_int_equal(segment.void_messages, 0);
    assert_int_equal(segment.opened_ns, 111);
    assert_int_equal(segment.sealed_ns, 222);
    assert_null(segment.wire_starts);
    assert_memory_equal(segment.payload, "aaaaaaaaabbbbbbbbbb", 19);
    assert_int_equal(segment.entries[1].offset, 9);
    assert_int_equal(segment.entries[1].bytes, 10);
    assert_int_equal(weir_row_take(row, &segment), 0);

    // Used again, a segment does not show the times of before.
    weir_row_release(row, &segment);
    assert_int_equal(count(row).free_count, 3);
    assert_true(append(row, 10, 'c'));
    segment = take_ok(row);
    assert_int_equal(segment.opened_ns, 0);
    assert_int_equal(segment.sealed_ns, 0);
    free(row);
}

static void sizes_at_their_bounds(void **state)
{
    (void)state;
    struct weir_row *row = row_of(5, 8, 2, 100);
    struct weir_reservation reservation;
    assert_int_equal(weir_row_reserve(row, 9, &reservation), WEIR_ETOOBIG);
    assert_int_equal(count(row).messages, 0);
    // A first message beyond the limit opens and closes at once.
    reservation = reserve_ok(row, 8);
    assert_true(reservation.opened && reservation.closed);
    weir_row_stamp(row, &reservation, 7);
    assert_true(weir_row_commit(row, &reservation, 8));
    struct weir_segment segment = take_ok(row);
    assert_int_equal(segment.opened_ns, 7);
    assert_int_equal(segment.sealed_ns, 7);
    weir_row_release(row, &segment);
    // Empty messages count, and do not close.
    for (int i = 0; i < 5; i++) {
        assert_false(append(row, 0, 0));
    }
    assert_true(append(row, 5, 'x'));
    segment = take_ok(row);
    assert_int_equal(segment.messages, 6);
    assert_int_equal(segment.wire_bytes, 5);
    assert_int_equal(weir_segment_messages_within(&segment, 0), 5);
    uint32_t start;
    assert_int_equal(weir_segment_locate(&segment, 0, &start), 5);
    assert_int_equal(count(row).messages, 7);
    assert_int_equal(count(row).bytes, 13);
    free(row);
}

static void full_index_closes(void **state)
{
    (void)state;
    struct weir_row *row = row_of(1000, 10, 2, 3);
    assert_false(append(row, 0, 0));
    assert_false(append(row, 1, 'a'));
    struct weir_reservation third = reserve_ok(row, 1);
    assert_true(third.closed);
    assert_true(weir_row_commit(row, &third, 1));
    free(row);
    row = row_of(1000, 10, 2, 1);
    struct weir_reservation only = reserve_ok(row, 0);
    assert_true(only.opened && only.closed);
    assert_true(weir_row_commit(row, &only, 0));
    assert_int_equal(take_ok(row).messages, 1);
    free(row);
}

// Every small row: filled until it is full, emptied, three times over. A neighbour suffers if
// anything is written beyond its place.
static void small_rows_hold_what_they_accept(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 6 * 6 * 4 * 5; i++) {
        struct weir_row_options options = {1 + i % 6, 1 + i / 6 % 6, 1 + i / 36 % 5, 1 + i / 180};
        struct weir_row *row = row_make(options);
        uint32_t written = 0;
        uint32_t read = 0;
        for (int lap = 0; lap < 3; lap++) {
            struct weir_reservation reservation;
            uint32_t bytes = (written * 7 + i) % (options.message_bytes_max + 1);
            int result;
            while ((result = weir_row_reserve(row, bytes, &reservation)) == 0) {
                memset(reservation.data, (int)(written % 251), bytes);
                weir_row_commit(row, &reservation, bytes);
                written++;
                bytes = (written * 7 + i) % (options.message_bytes_max + 1);
            }
            assert_int_equal(result, WEIR_EFULL);
            assert_int_equal(count(row).free_count, 0);
            for (uint32_t s = 0; s < options.segment_count; s++) {
                struct weir_segment segment = take_ok(row);
                assert_true(segment.messages <= options.segment_messages_max);
                for (uint32_t m = 0; m < segment.messages; m++, read++) {
                    struct weir_segment_entry entry = segment.entries[m];
                    assert_int_equal(entry.bytes, (read * 7 + i) % (options.message_bytes_max + 1));
                    for (uint32_t k = 0; k < entry.bytes; k++) {
                        assert_int_equal(segment.payload[entry.offset + k], read % 251);
                    }
                }
                weir_row_release(row, &segment);
            }
            assert_int_equal(read, written);
        }
        free(row);
    }
}

static void last_commit_completes(void **state)
{
    (void)state;
    struct weir_row *row = row_of(3, 3, 2, 10);
    struct weir_reservation a = reserve_ok(row, 1);
    struct weir_reservation b = reserve_ok(row, 1);
    struct weir_reservation c = reserve_ok(row, 1); // closes
    struct weir_reservation d = reserve_ok(row, 3); // the whole next segment
    struct weir_segment segment;
    assert_true(c.closed && d.opened);
    assert_int_equal(d.free_count, 0);
    memcpy(b.data, "b", 1);
    memcpy(a.data, "a", 1);
    memcpy(c.data, "c", 1);
    memcpy(d.data, "ddd", 3);
    assert_true(weir_row_commit(row, &d, 3)); // complete, but not the oldest
    assert_int_equal(weir_row_take(row, &segment), 0);
    assert_false(weir_row_commit(row, &c, 1)); // sealed, but not complete
    assert_false(weir_row_commit(row, &a, 1));
    assert_int_equal(weir_row_take(row, &segment), 0);
    struct weir_row_drop drop;
    assert_int_equal(weir_row_drop_oldest(row, &drop), 0);
    assert_true(weir_row_commit(row, &b, 1));
    segment = take_ok(row);
    assert_memory_equal(segment.payload, "abc", 3);
    segment = take_ok(row);
    assert_memory_equal(segment.payload, "ddd", 3);
    assert_int_equal(weir_row_reserve(row, 1, &a), WEIR_EFULL);
    free(row);
}

static void flush_tick_seals(void **state)
{
    (void)state;
    struct weir_row *row = row_of(100, 10, 2, 10);
    assert_false(weir_row_seal_open(row, 1));
    assert_false(append(row, 4, 'a'));
    assert_int_equal(count(row).open_messages, 1);
    assert_int_equal(weir_row_open_messages(row), 1);
    assert_int_equal(count(row).open_bytes, 4);
    assert_true(weir_row_seal_open(row, 2));
    assert_false(weir_row_seal_open(row, 3));
    assert_int_equal(count(row).open_messages, 0);
    assert_int_equal(weir_row_open_messages(row), 0);
    assert_int_equal(count(row).messages, 1);
    struct weir_reservation held = reserve_ok(row, 4);
    assert_true(held.opened);
    assert_false(weir_row_seal_open(row, 4)); // still being written to
    struct weir_segment segment = take_ok(row);
    assert_int_equal(segment.sealed_ns, 2);
    assert_int_equal(weir_row_take(row, &segment), 0);
    assert_true(weir_row_commit(row, &held, 4));
    segment = take_ok(row);
    assert_int_equal(segment.sealed_ns, 4);
    assert_int_equal(segment.bytes, 4);
    free(row);
}

static void shut_is_final(void **state)
{
    (void)state;
    struct weir_reservation reservation;
    struct weir_segment segment;
    // Nothing in it.
    struct weir_row *row = row_of(10, 10, 2, 10);
    assert_false(weir_row_shut(row, 1));
    assert_int_equal(weir_row_reserve(row, 1, &reservation), WEIR_ECLOSED);
    assert_int_equal(weir_row_take(row, &segment), WEIR_ECLOSED);
    assert_false(weir_row_seal_open(row, 2));
    assert_int_equal(count(row).messages, 0);
    free(row);
    // An open segment that is still being written to.
    row = row_of(10, 10, 2, 10);
    reservation = reserve_ok(row, 4);
    assert_false(weir_row_shut(row, 5));
    assert_false(weir_row_shut(row, 6));
    struct weir_reservation late;
    assert_int_equal(weir_row_reserve(row, 1, &late), WEIR_ECLOSED);
    assert_int_equal(weir_row_take(row, &segment), 0);
    assert_true(weir_row_commit(row, &reservation, 4));
    segment = take_ok(row);
    assert_int_equal(segment.sealed_ns, 5);
    assert_int_equal(weir_row_take(row, &segment), WEIR_ECLOSED);
    assert_int_equal(count(row).messages, 1);
    free(row);
    // A full row: only closed segments, all complete, one taken.
    row = row_of(10, 10, 2, 10);
    append(row, 10, 'a');
    append(row, 10, 'b');
    segment = take_ok(row);
    assert_false(weir_row_shut(row, 1));
    assert_int_equal(weir_row_reserve(row, 1, &late), WEIR_ECLOSED);
    segment = take_ok(row);
    assert_int_equal(weir_row_take(row, &segment), WEIR_ECLOSED);
    free(row);
    // An open segment, complete.
    row = row_of(10, 10, 1, 10);
    append(row, 3, 'a');
    assert_true(weir_row_shut(row, 1));
    segment = take_ok(row);
    assert_int_equal(weir_row_take(row, &segment), WEIR_ECLOSED);
    free(row);
}

static void oldest_is_dropped(void **state)
{
    (void)state;
    struct weir_row *row = row_of(10, 10, 4, 10);
    struct weir_row_drop drop;
    assert_int_equal(weir_row_drop_oldest(row, &drop), 0);
    for (int i = 0; i < 4; i++) {
        struct weir_reservation reservation = reserve_ok(row, 10);
        memset(reservation.data, 'a' + i, 10);
        weir_row_stamp(row, &reservation, (uint64_t)i + 1);
        assert_true(weir_row_commit(row, &reservation, 10));
    }
    struct weir_segment a = take_ok(row);
    assert_int_equal(weir_row_drop_oldest(row, &drop), 1); // b: a is taken
    assert_int_equal(drop.messages, 1);
    assert_int_equal(drop.void_messages, 0);
    assert_int_equal(drop.bytes, 10);
    assert_int_equal(drop.opened_ns, 2);
    assert_int_equal(drop.sealed_ns, 2);
    assert_true(append(row, 10, 'e')); // in the place of b
    struct weir_segment c = take_ok(row);
    assert_int_equal(c.payload[0], 'c');
    assert_int_equal(a.payload[0], 'a');
    assert_int_equal(c.sequence, a.sequence + 2);
    assert_int_equal(weir_row_drop_oldest(row, &drop), 1);
    assert_int_equal(drop.opened_ns, 4);
    struct weir_segment e = take_ok(row);
    assert_int_equal(e.payload[0], 'e');
    assert_int_equal(weir_row_drop_oldest(row, &drop), 0);
    free(row);
}

static void warm_segments_are_used_first(void **state)
{
    (void)state;
    struct weir_row *row = row_of(10, 10, 8, 10);
    uint32_t used = reserve_ok(row, 10).segment; // never committed: the row stays put behind it
    assert_int_equal(used, 0);
    free(row);
    row = row_of(10, 10, 8, 10);
    for (int i = 0; i < 20; i++) {
        struct weir_reservation reservation = reserve_ok(row, 10);
        assert_int_equal(reservation.segment, 0);
        weir_row_commit(row, &reservation, 10);
        struct weir_segment segment = take_ok(row);
        weir_row_release(row, &segment);
    }
    append(row, 10, 'x');
    append(row, 10, 'y');
    struct weir_segment x = take_ok(row);
    struct weir_segment y = take_ok(row);
    weir_row_release(row, &y);
    weir_row_release(row, &x);
    assert_int_equal(reserve_ok(row, 10).segment, x.segment);
    assert_int_equal(reserve_ok(row, 10).segment, y.segment);
    free(row);
}

static void unused_bytes_are_given_back(void **state)
{
    (void)state;
    struct weir_row *row = row_of(100, 50, 2, 10);
    struct weir_reservation a = reserve_ok(row, 50);
    memcpy(a.data, "aaa", 3);
    weir_row_commit(row, &a, 3);
    assert_int_equal(count(row).bytes, 3);
    struct weir_reservation b = reserve_ok(row, 50);
    assert_int_equal(b.offset, 3);
    struct weir_reservation c = reserve_ok(row, 2); // behind b, so b leaves a gap
    memcpy(c.data, "cc", 2);
    weir_row_commit(row, &c, 2);
    memcpy(b.data, "bbbb", 4);
    weir_row_commit(row, &b, 4);
    struct weir_reservation d = reserve_ok(row, 20);
    weir_row_commit(row, &d, WEIR_SEGMENT_VOID);
    struct weir_reservation e = reserve_ok(row, 50);
    assert_int_equal(e.offset, 55);
    assert_true(e.closed);
    memcpy(e.data, "e", 1);
    assert_true(weir_row_commit(row, &e, 1)); // who closes can give back, too
    assert_int_equal(count(row).bytes, 56);
    assert_int_equal(count(row).messages, 5);

    struct weir_segment segment = take_ok(row);
    assert_int_equal(segment.messages, 5);
    assert_int_equal(segment.void_messages, 1);
    assert_int_equal(segment.bytes, 56);
    assert_int_equal(segment.wire_bytes, 10);
    uint32_t bytes;
    assert_memory_equal(weir_segment_run(&segment, 0, &bytes), "aaabbbb", 7);
    assert_int_equal(bytes, 7);
    assert_memory_equal(weir_segment_run(&segment, 7, &bytes), "cce", 3);
    assert_int_equal(bytes, 3);
    assert_int_equal(weir_segment_messages_within(&segment, 10), 4);
    weir_row_release(row, &segment);

    // A void message alone still makes a segment, with nothing on the wire.
    a = reserve_ok(row, 7);
    assert_false(weir_row_commit(row, &a, WEIR_SEGMENT_VOID));
    assert_true(weir_row_seal_open(row, 1));
    segment = take_ok(row);
    assert_int_equal(segment.messages, 1);
    assert_int_equal(segment.void_messages, 1);
    assert_int_equal(segment.wire_bytes, 0);
    weir_segment_run(&segment, 0, &bytes);
    assert_int_equal(bytes, 0);
    weir_row_release(row, &segment);

    // Sealed by the tick before its commit: nothing to give back to.
    a = reserve_ok(row, 9);
    assert_false(weir_row_seal_open(row, 1));
    assert_true(weir_row_commit(row, &a, 5));
    segment = take_ok(row);
    assert_int_equal(segment.bytes, 9);
    assert_int_equal(segment.wire_bytes, 5);
    expect_assert_failure(weir_row_commit(row, &a, 10));
    free(row);
}

// The tail's 15 bits come round several times; rows of fewer segments than slots as well.
static void sequences_wrap(void **state)
{
    (void)state;
    for (uint32_t segments = 1; segments <= 5; segments++) {
        struct weir_row *row = row_of(8, 8, segments, 2);
        uint64_t written = 0;
        uint64_t read = 0;
        uint64_t sequence = 0;
        while (read < 2 * (2 * LAP + 100)) {
            struct weir_reservation reservation;
            if (weir_row_reserve(row, 4, &reservation) == 0) {
                memcpy(reservation.data, &written, 4);
                weir_row_commit(row, &reservation, 4);
                written++;
                continue;
            }
            struct weir_segment segment = take_ok(row);
            assert_true(sequence == 0 || segment.sequence == sequence + 1);
            sequence = segment.sequence;
            for (uint32_t i = 0; i < segment.messages; i++, read++) {
                assert_memory_equal(segment.payload + segment.entries[i].offset, &read, 4);
            }
            weir_row_release(row, &segment);
        }
        assert_int_equal(count(row).messages, written);
        assert_int_equal(count(row).bytes, written * 4);
        free(row);
    }
}

// The cursor against a byte-by-byte model of the wire, on segments with and without gaps.
static void wire_positions_match_a_model(void **state)
{
    (void)state;
    uint64_t random = seed_get();
    for (int round = 0; round < 3000; round++) {
        bool gaps = round % 2 == 0;
        bool voids = round % 4 == 0;
        struct weir_row *row = row_of(60, 12, 1, 20);
        struct weir_reservation held[20];
        uint32_t messages = 1 + random_below(&random, 19);
        uint32_t of_byte[300]; // wire position -> message
        unsigned char wire[300];
        uint32_t starts[21];
        uint32_t position = 0;
        uint32_t live = 0;
        bool closed = false;
        for (uint32_t i = 0; i < messages && !closed; i++) {
            held[i] = reserve_ok(row, random_below(&random, 13));
            closed = held[i].closed;
            messages = closed ? i + 1 : messages;
        }
        for (uint32_t i = 0; i < messages; i++) {
            uint32_t bytes = gaps ? random_below(&random, held[i].bytes + 1) : held[i].bytes;
            bool taken_back = voids && random_below(&random, 4) == 0;
            memset(held[i].data, (int)(i + 1), bytes);
            weir_row_commit(row, &held[i], taken_back ? WEIR_SEGMENT_VOID : bytes);
            starts[i] = position;
            live += !taken_back;
            for (uint32_t k = 0; k < bytes && !taken_back; k++, position++) {
                of_byte[position] = i;
                wire[position] = (unsigned char)(i + 1);
            }
        }
        weir_row_seal_open(row, 0);
        struct weir_segment segment = take_ok(row);
        assert_int_equal(segment.wire_bytes, position);
        assert_int_equal(segment.messages - segment.void_messages, live);
        for (uint32_t p = 0; p <= position; p++) {
            uint32_t start;
            uint32_t bytes;
            uint32_t message = weir_segment_locate(&segment, p, &start);
            const unsigned char *run = weir_segment_run(&segment, p, &bytes);
            assert_int_equal(message, p < position ? of_byte[p] : messages);
            assert_int_equal(start, p < position ? starts[message] : position);
            assert_true(p < position ? bytes > 0 && bytes <= position - p : bytes == 0);
            assert_memory_equal(run, wire + p, bytes);
            assert_true(p + bytes == position || of_byte[p + bytes] != of_byte[p + bytes - 1]);
            uint32_t within = 0;
            for (uint32_t i = 0; i < messages; i++) {
                uint32_t end = i + 1 < messages ? starts[i + 1] : position;
                within += end <= p && segment.entries[i].bytes != WEIR_SEGMENT_VOID;
            }
            assert_int_equal(weir_segment_messages_within(&segment, p), within);
        }
        free(row);
    }
}

// Many threads.

struct message {
    uint32_t bytes;
    uint32_t thread;
    uint32_t number;
    uint32_t check; // over the three fields above
};

struct stress {
    struct weir_row *row;
    struct weir_row_options options;
    uint64_t seed;
    uint32_t producer_count;
    uint32_t message_count; // per producer
    bool drop_oldest;
    bool in_place; // commit less than reserved, or nothing
    bool shut_early;

    _Atomic uint32_t shut_returned;
    _Atomic uint32_t producers_done;
    // Written by its own thread, read after the join.
    struct {
        _Alignas(WEIR_ROW_LINE_BYTES) uint64_t accepted;
        uint64_t accepted_live; // neither void nor empty
        uint64_t voided;
        uint64_t completed;
        uint64_t dropped;
        uint64_t dropped_void;
        uint64_t dropped_bytes;
    } producers[THREADS_MAX];
    uint64_t taken;
    uint64_t taken_live;
    uint64_t taken_void;
    uint64_t taken_bytes;
    uint64_t taken_segments;
    uint64_t tick_completed;
    uint32_t next_number[THREADS_MAX];
};

struct stress_thread {
    struct stress *stress;
    uint32_t index;
};

static uint32_t message_check(const struct message *message)
{
    uint64_t state = (uint64_t)message->bytes << 40 ^ (uint64_t)message->thread << 32;
    state ^= message->number;
    return (uint32_t)random_next(&state);
}

static unsigned char message_byte(const struct message *message, uint32_t at)
{
    return (unsigned char)(message->check + at * 31);
}

static void message_write(unsigned char *data, uint32_t bytes, uint32_t thread, uint32_t number)
{
    struct message message = {bytes, thread, number, 0};
    message.check = message_check(&message);
    memcpy(data, &message, sizeof(message));
    for (uint32_t i = sizeof(message); i < bytes; i++) {
        data[i] = message_byte(&message, i);
    }
}

static bool stress_reserve(struct stress *stress, uint32_t index, uint32_t bytes,
                           struct weir_reservation *reservation)
{
    for (;;) {
        bool late = atomic_load(&stress->shut_returned) != 0;
        int result = weir_row_reserve(stress->row, bytes, reservation);
        require(!late || result == WEIR_ECLOSED);
        if (result != WEIR_EFULL) {
            require(result == 0 || result == WEIR_ECLOSED);
            return result == 0;
        }
        struct weir_row_drop drop;
        if (stress->drop_oldest && weir_row_drop_oldest(stress->row, &drop) == 1) {
            require(drop.opened_ns != 0 && drop.sealed_ns != 0);
            stress->producers[index].dropped += drop.messages;
            stress->producers[index].dropped_void += drop.void_messages;
            stress->producers[index].dropped_bytes += drop.bytes;
        } else {
            sched_yield();
        }
    }
}

static void *producer_run(void *argument)
{
    struct stress_thread *self = argument;
    struct stress *stress = self->stress;
    uint32_t index = self->index;
    uint64_t random = stress->seed + index;
    uint32_t span = stress->options.message_bytes_max - (uint32_t)sizeof(struct message);
    for (uint32_t number = 0; number < stress->message_count; number++) {
        uint32_t kind = random_below(&random, 16);
        uint32_t bytes = (uint32_t)sizeof(struct message) + random_below(&random, span + 1);
        uint32_t used = bytes;
        if (kind == 0) {
            bytes = used = 0;
        } else if (stress->in_place && kind == 1) {
            used = WEIR_SEGMENT_VOID;
        } else if (stress->in_place && kind < 8) {
            used = (uint32_t)sizeof(struct message) + random_below(&random, span + 1);
            used = used < bytes ? used : bytes;
        }
        struct weir_reservation reservation;
        if (!stress_reserve(stress, index, bytes, &reservation)) {
            break;
        }
        stress->producers[index].accepted++;
        weir_row_stamp(stress->row, &reservation, 1);
        if (bytes != 0) { // scribbles over all that is reserved, as a formatter would
            message_write(reservation.data, bytes, index, number);
        }
        if (used != WEIR_SEGMENT_VOID && used != 0) {
            message_write(reservation.data, used, index, number);
            stress->producers[index].accepted_live++;
        }
        stress->producers[index].voided += used == WEIR_SEGMENT_VOID;
        stress->producers[index].completed += weir_row_commit(stress->row, &reservation, used);
    }
    atomic_fetch_add(&stress->producers_done, 1);
    return NULL;
}

// Flush ticks, and the books: they never run backwards while every reading is exact.
static void *ticker_run(void *argument)
{
    struct stress *stress = argument;
    uint64_t random = stress->seed + 1000;
    uint64_t messages = 0;
    while (atomic_load(&stress->producers_done) < stress->producer_count) {
        struct weir_row_counts counts;
        weir_row_count(stress->row, &counts);
        require(counts.free_count <= stress->options.segment_count);
        require(counts.open_bytes < stress->options.flush_limit_bytes);
        require(!counts.exact || counts.messages >= messages);
        messages = counts.exact ? counts.messages : messages;
        uint64_t early = (uint64_t)stress->producer_count * stress->message_count / 2;
        if (stress->shut_early && messages > early) {
            break;
        }
        if (random_below(&random, 4) == 0) {
            stress->tick_completed += weir_row_seal_open(stress->row, 2);
        }
        sched_yield();
    }
    stress->tick_completed += weir_row_shut(stress->row, 2);
    atomic_store(&stress->shut_returned, 1);
    return NULL;
}

static void segment_check(struct stress *stress, const struct weir_segment *segment)
{
    uint32_t position = 0;
    uint32_t run_bytes = 0;
    const unsigned char *run = NULL;
    while (position < segment->wire_bytes) {
        if (run_bytes == 0) {
            run = weir_segment_run(segment, position, &run_bytes);
        }
        struct message message;
        require(run_bytes >= sizeof(message));
        memcpy(&message, run, sizeof(message));
        require(message.check == message_check(&message));
        require(message.bytes >= sizeof(message) && message.bytes <= run_bytes);
        require(message.thread < stress->producer_count);
        require(message.number >= stress->next_number[message.thread]); // order
        stress->next_number[message.thread] = message.number + 1;
        for (uint32_t i = sizeof(message); i < message.bytes; i++) {
            require(run[i] == message_byte(&message, i));
        }
        uint32_t start;
        weir_segment_locate(segment, position + message.bytes - 1, &start);
        require(start == position);
        stress->taken_live++;
        run += message.bytes;
        run_bytes -= message.bytes;
        position += message.bytes;
    }
}

// The consumer; holds a few segments at a time, as a writer waiting for confirmation does.
static void consumer_run(struct stress *stress)
{
    struct weir_segment held[3];
    uint32_t held_count = 0;
    uint64_t sequence = 0;
    uint64_t random = stress->seed + 2000;
    for (;;) {
        struct weir_segment segment;
        int result = weir_row_take(stress->row, &segment);
        if (result == WEIR_ECLOSED) {
            break;
        }
        if (result == 1) {
            require(segment.sequence > sequence);
            require(stress->drop_oldest || sequence == 0 || segment.sequence == sequence + 1);
            require(segment.opened_ns != 0 && segment.sealed_ns != 0);
            sequence = segment.sequence;
            segment_check(stress, &segment);
            stress->taken += segment.messages;
            stress->taken_void += segment.void_messages;
            stress->taken_bytes += segment.bytes;
            stress->taken_segments++;
            held[held_count++] = segment;
        } else {
            sched_yield();
        }
        while (held_count > 0 && (result == 0 || held_count == 3 || random_below(&random, 2))) {
            weir_row_release(stress->row, &held[--held_count]);
        }
    }
    while (held_count > 0) {
        weir_row_release(stress->row, &held[--held_count]);
    }
}

static void stress_run(struct stress *stress)
{
    pthread_t threads[THREADS_MAX];
    pthread_t ticker;
    struct stress_thread selves[THREADS_MAX];
    stress->row = row_make(stress->options);
    for (uint32_t i = 0; i < stress->producer_count; i++) {
        selves[i] = (struct stress_thread){stress, i};
        require(pthread_create(&threads[i], NULL, producer_run, &selves[i]) == 0);
    }
    require(pthread_create(&ticker, NULL, ticker_run, stress) == 0);
    consumer_run(stress);
    uint64_t accepted = 0;
    uint64_t accepted_live = 0;
    uint64_t voided = 0;
    uint64_t completed = 0;
    uint64_t dropped = 0;
    uint64_t dropped_void = 0;
    uint64_t dropped_bytes = 0;
    require(pthread_join(ticker, NULL) == 0);
    for (uint32_t i = 0; i < stress->producer_count; i++) {
        require(pthread_join(threads[i], NULL) == 0);
        accepted += stress->producers[i].accepted;
        accepted_live += stress->producers[i].accepted_live;
        voided += stress->producers[i].voided;
        completed += stress->producers[i].completed;
        dropped += stress->producers[i].dropped;
        dropped_void += stress->producers[i].dropped_void;
        dropped_bytes += stress->producers[i].dropped_bytes;
    }
    struct weir_row_counts counts = count(stress->row);
    assert_int_equal(accepted, counts.messages);
    assert_int_equal(accepted, stress->taken + dropped);
    assert_int_equal(counts.bytes, stress->taken_bytes + dropped_bytes);
    assert_int_equal(voided, stress->taken_void + dropped_void);
    uint64_t total = (uint64_t)stress->producer_count * stress->message_count;
    assert_true(stress->shut_early ? accepted <= total : accepted == total);
    if (dropped == 0) {
        assert_int_equal(accepted_live, stress->taken_live);
        // Every segment is reported complete once.
        assert_int_equal(completed + stress->tick_completed, stress->taken_segments);
    }
    // Nothing is lost from the free stack, but an opener overtaken by shut may leave one filled.
    assert_in_range(counts.free_count, stress->options.segment_count - 1,
                    stress->options.segment_count);
    print_message("  %u producers, %u segments: %llu accepted, %llu dropped, %llu segments taken\n",
                  stress->producer_count, stress->options.segment_count,
                  (unsigned long long)accepted, (unsigned long long)dropped,
                  (unsigned long long)stress->taken_segments);
    free(stress->row);
}

static void stress_all(bool drop_oldest, bool in_place, bool shut_early)
{
    static const struct {
        uint32_t producers;
        struct weir_row_options options;
    } cases[] = {
        {2, {4096, 512, 8, 64}},
        {4, {600, 100, 5, 1000}},
        {8, {100, 60, 16, 7}},
        {3, {300, 80, 1, 4}},
        {4, {1, 40, 2, 1}},
    };
    uint64_t seed = seed_get();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct stress *stress = aligned_alloc(WEIR_ROW_LINE_BYTES, sizeof(*stress));
        assert_non_null(stress);
        memset(stress, 0, sizeof(*stress));
        stress->options = cases[i].options;
        stress->producer_count = cases[i].producers;
        stress->message_count = (i < 3 ? 300000 : 40000) / cases[i].producers;
        stress->seed = seed + i;
        stress->drop_oldest = drop_oldest;
        stress->in_place = in_place;
        stress->shut_early = shut_early;
        stress_run(stress);
        free(stress);
    }
}

static void threads_lose_nothing(void **state)
{
    (void)state;
    stress_all(false, false, false);
}

static void threads_commit_in_place(void **state)
{
    (void)state;
    stress_all(false, true, false);
}

static void threads_drop_the_oldest(void **state)
{
    (void)state;
    stress_all(true, true, false);
}

static void threads_are_shut_out(void **state)
{
    (void)state;
    stress_all(false, false, true);
    stress_all(true, true, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_are_bounded),
        cmocka_unit_test(first_message_opens_and_the_limit_closes),
        cmocka_unit_test(sizes_at_their_bounds),
        cmocka_unit_test(full_index_closes),
        cmocka_unit_test(small_rows_hold_what_they_accept),
        cmocka_unit_test(last_commit_completes),
        cmocka_unit_test(flush_tick_seals),
        cmocka_unit_test(shut_is_final),
        cmocka_unit_test(oldest_is_dropped),
        cmocka_unit_test(warm_segments_are_used_first),
        cmocka_unit_test(unused_bytes_are_given_back),
        cmocka_unit_test(sequences_wrap),
        cmocka_unit_test(wire_positions_match_a_model),
        cmocka_unit_test(threads_lose_nothing),
        cmocka_unit_test(threads_commit_in_place),
        cmocka_unit_test(threads_drop_the_oldest),
        cmocka_unit_test(threads_are_shut_out),
    };
    main_thread = true;
    return cmocka_run_group_tests_name("segment", tests, NULL, NULL);
}
