// Tests of writer/transit.c against a model that keeps every message and every wire byte apart.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support_runtime.h"
#include "weir.h"
#include "writer/transit.h"

#define MESSAGES_MAX 100000
#define PARTS_MAX 8

// One message; on the wire once it is taken and not void.
struct model_message {
    uint64_t start; // wire position
    uint32_t bytes;
    uint32_t number; // what its bytes are made of
    bool is_void;
};

struct model {
    struct weir_row *row;
    void *region;
    struct weir_counters *counters;
    struct weir_transit_segment *ring;
    struct weir_transit transit;
    struct weir_row_options options;
    // In the order of the row; [0, taken) have left it, [taken, count) are in it.
    struct model_message *messages;
    uint32_t count, taken;
    uint64_t end, sent, sent_max, confirmed, start, limit;
    uint64_t dropped_messages, dropped_bytes, resent_bytes;
    uint64_t shed_messages; // of the dropped ones those that were not taken
    uint64_t resent_messages_min, resent_messages_max;
    uint64_t confirmed_bytes;            // less than `confirmed` by what was dropped
    uint64_t replay_bytes, replay_floor; // nothing is kept from before the floor
    uint64_t now_ns;
    uint64_t random;
    bool keep_gaps; // commits some messages shorter while another stands behind them
};

static uint64_t draw(struct model *me, uint64_t below)
{
    return test_random(&me->random) % below;
}

static unsigned char byte_of(uint32_t number, uint32_t offset)
{
    return (unsigned char)((number * 2654435761u + offset * 40503u) >> 11);
}

static void model_open(struct model *me, uint64_t seed, uint32_t flush, uint32_t largest,
                       uint32_t segments, uint32_t index)
{
    memset(me, 0, sizeof(*me));
    me->random = seed | 1;
    me->options = (struct weir_row_options){flush, largest, segments, index};
    size_t bytes = weir_row_region_bytes(&me->options);
    me->region = aligned_alloc(WEIR_ROW_LINE_BYTES, (bytes + WEIR_ROW_LINE_BYTES) /
                                                        WEIR_ROW_LINE_BYTES * WEIR_ROW_LINE_BYTES);
    me->counters = aligned_alloc(WEIR_COUNTERS_LINE_BYTES, sizeof(*me->counters));
    me->ring = calloc(segments, sizeof(*me->ring));
    me->messages = calloc(MESSAGES_MAX, sizeof(*me->messages));
    assert_true(me->region != NULL && me->counters != NULL && me->ring != NULL &&
                me->messages != NULL);
    memset(me->counters, 0, sizeof(*me->counters));
    me->row = weir_row_init(me->region, &me->options);
    me->now_ns = 1;
    me->limit = UINT64_MAX;
    weir_transit_init(&me->transit, me->row, me->counters, me->ring, segments);
}

static void model_close(struct model *me)
{
    free(me->region);
    free(me->counters);
    free(me->ring);
    free(me->messages);
}

// ---- What is asked of both ----

static void put(struct model *me, const struct weir_reservation *reservation, bool is_void,
                uint32_t bytes)
{
    struct model_message *message = &me->messages[me->count];
    *message = (struct model_message){0, is_void ? 0 : bytes, me->count, is_void};
    for (uint32_t i = 0; i < message->bytes; i++) {
        reservation->data[i] = byte_of(message->number, i);
    }
    if (reservation->opened || reservation->closed) {
        weir_row_stamp(me->row, reservation, me->now_ns);
    }
    me->count++;
}

static uint32_t draw_length(struct model *me)
{
    uint32_t largest = me->options.message_bytes_max;
    switch (draw(me, 8)) {
    case 0: return 0;
    case 1: return largest;
    case 2: return (uint32_t)draw(me, largest + 1);
    default: return 1 + (uint32_t)draw(me, largest < 40 ? largest : 40);
    }
}

// Two messages whose reservations overlap in time, so that the first can leave a gap.
static void do_append(struct model *me)
{
    struct weir_reservation first, second;
    uint32_t first_bytes = draw_length(me), second_bytes = draw_length(me);
    if (me->count + 2 > MESSAGES_MAX || weir_row_reserve(me->row, first_bytes, &first) != 0) {
        return;
    }
    bool two = draw(me, 2) != 0 && weir_row_reserve(me->row, second_bytes, &second) == 0;
    bool first_void = draw(me, 10) == 0, second_void = draw(me, 10) == 0;
    uint32_t first_used = draw(me, 4) == 0 ? (uint32_t)draw(me, first_bytes + 1) : first_bytes;
    put(me, &first, first_void, first_used);
    if (two) {
        put(me, &second, second_void, second_bytes);
        (void)weir_row_commit(me->row, &second, second_void ? WEIR_SEGMENT_VOID : second_bytes);
    }
    (void)weir_row_commit(me->row, &first, first_void ? WEIR_SEGMENT_VOID : first_used);
}

static void do_take(struct model *me)
{
    uint64_t before = me->transit.books.taken_messages;
    uint64_t window = draw(me, 3) == 0 ? UINT64_MAX : 1 + draw(me, 500);
    bool was_open = me->transit.end - me->transit.sent < window;
    int taken = weir_transit_take(&me->transit, window, me->now_ns);
    assert_true(taken >= 0 || taken == WEIR_ECLOSED);
    assert_true(was_open || taken == 0);
    uint64_t count = me->transit.books.taken_messages - before;
    for (uint64_t i = 0; i < count; i++) {
        struct model_message *message = &me->messages[me->taken++];
        message->start = me->end;
        me->end += message->bytes;
        me->dropped_messages += message->is_void ? 1 : 0;
    }
}

static void do_drop_oldest(struct model *me)
{
    struct weir_row_drop drop;
    if (weir_row_drop_oldest(me->row, &drop) != 1) {
        return;
    }
    // Booked elsewhere (append.c); these messages just never reach the wire.
    me->shed_messages += drop.messages;
    for (uint32_t i = 0; i < drop.messages; i++) {
        struct model_message *message = &me->messages[me->taken++];
        message->start = me->end;
        message->bytes = 0;
        message->is_void = true; // from here on the same: not on the wire
        me->dropped_messages++;
    }
}

// The message that holds the wire byte at `position`, NULL at the end.
static const struct model_message *message_at(const struct model *me, uint64_t position)
{
    for (uint32_t i = me->taken; i > 0; i--) {
        const struct model_message *message = &me->messages[i - 1];
        if (message->start <= position && position < message->start + message->bytes) {
            return message;
        }
        if (message->bytes != 0 && message->start + message->bytes <= position) {
            return NULL;
        }
    }
    return NULL;
}

static uint64_t check_parts(const struct model *me, const struct weir_iovec *parts, size_t count)
{
    uint64_t position = me->sent;
    const struct model_message *message = message_at(me, position);
    for (size_t i = 0; i < count; i++) {
        assert_true(parts[i].bytes_count > 0);
        for (size_t j = 0; j < parts[i].bytes_count; j++, position++) {
            while (message != NULL && position >= message->start + message->bytes) {
                message++;
                assert_true(message < me->messages + me->taken);
            }
            assert_non_null(message);
            unsigned char byte = ((const unsigned char *)parts[i].bytes)[j];
            assert_int_equal(byte, byte_of(message->number, (uint32_t)(position - message->start)));
        }
    }
    return position - me->sent;
}

static void model_sent(struct model *me, uint64_t bytes)
{
    uint64_t to = me->sent + bytes < me->sent_max ? me->sent + bytes : me->sent_max;
    for (uint32_t i = me->taken; me->sent < to && i > 0; i--) {
        const struct model_message *message = &me->messages[i - 1];
        if (message->start + message->bytes < me->sent) {
            break;
        }
        bool inside = message->start >= me->sent && message->start < to;
        me->resent_messages_min += inside && message->bytes > 0 ? 1 : 0;
        me->resent_messages_max += message->start >= me->sent && message->start <= to &&
                                   (message->bytes == 0 ? !message->is_void : inside);
    }
    me->resent_bytes += to > me->sent ? to - me->sent : 0;
    me->sent += bytes;
    me->sent_max = me->sent > me->sent_max ? me->sent : me->sent_max;
}

static void do_send(struct model *me)
{
    struct weir_iovec parts[PARTS_MAX];
    size_t parts_max = 1 + draw(me, PARTS_MAX);
    size_t bytes_max = 1 + draw(me, draw(me, 2) != 0 ? 64 : 100000);
    size_t count = weir_transit_gather(&me->transit, parts, parts_max, bytes_max);
    uint64_t bytes = check_parts(me, parts, count);
    uint64_t unsent = (me->limit < me->end ? me->limit : me->end) - me->sent;
    assert_true(bytes <= bytes_max && bytes <= unsent && count <= parts_max);
    assert_true(count == parts_max || bytes == bytes_max || bytes == unsent);
    assert_int_equal(weir_transit_unsent(&me->transit), unsent > 0);
    if (bytes > 0) {
        uint64_t took = draw(me, 3) == 0 ? bytes : 1 + draw(me, bytes);
        weir_transit_sent(&me->transit, took);
        model_sent(me, took);
    }
}

static void do_confirm(struct model *me)
{
    uint64_t position = me->sent;
    if (draw(me, 2) != 0 && me->sent > me->start) {
        position = me->start + draw(me, me->sent - me->start + 1); // also backwards: no effect
    }
    weir_transit_confirm(&me->transit, position, me->now_ns);
    if (position > me->confirmed) {
        me->confirmed_bytes += position - me->confirmed;
        me->confirmed = position;
    }
}

// Where the first message begins that begins at or after `position`; the end if there is none.
static uint64_t model_boundary(const struct model *me, uint64_t position)
{
    const struct model_message *message = message_at(me, position);
    return message == NULL || message->start == position ? position
                                                         : message->start + message->bytes;
}

// A replay begins at a message, `replay_bytes` back or less; not much less if there is room to keep
// so much.
static void check_replay(const struct model *me, uint64_t start)
{
    uint64_t bytes = me->replay_bytes < me->confirmed ? me->replay_bytes : me->confirmed;
    uint64_t furthest = me->confirmed - bytes;
    furthest = furthest < me->replay_floor ? me->replay_floor : furthest;
    assert_true(me->transit.start <= start);
    assert_true(me->transit.start == start || me->transit.start >= furthest);
    assert_int_equal(me->transit.start, model_boundary(me, me->transit.start));
    if (me->transit.kept < me->transit.capacity / 4) {
        assert_true(me->transit.start <= model_boundary(me, furthest));
    }
}

static void do_rewind(struct model *me)
{
    const struct model_message *message = message_at(me, me->confirmed);
    bool replay = draw(me, 2) == 0;
    weir_transit_rewind(&me->transit, replay);
    uint64_t start = message != NULL ? message->start : me->confirmed;
    if (replay) {
        check_replay(me, start);
        start = me->transit.start;
    }
    me->sent = start;
    me->start = start;
    me->limit = UINT64_MAX;
    assert_int_equal(me->transit.start, me->start);
}

// Ends the epoch at some message, or lets sending go on.
static void do_limit(struct model *me)
{
    uint64_t position = me->sent + draw(me, me->end - me->sent + 1);
    uint64_t boundary = weir_transit_boundary(&me->transit, position);
    assert_int_equal(boundary, model_boundary(me, position));
    me->limit = draw(me, 3) == 0 ? UINT64_MAX : boundary;
    me->transit.limit = me->limit;
}

static void do_drop(struct model *me)
{
    uint64_t dropped = weir_transit_drop(&me->transit, WEIR_DROPPED_DEADLINE);
    me->dropped_messages += dropped;
    me->dropped_bytes += me->end - me->confirmed;
    me->sent = me->sent_max = me->confirmed = me->replay_floor = me->end;
    me->limit = UINT64_MAX;
    assert_int_equal(me->transit.count, 0);
}

// ---- What must hold ----

static uint64_t dropped_counted(struct model *me)
{
    uint64_t dropped = 0;
    for (int i = 0; i < WEIR_DROPS_COUNT; i++) {
        dropped += me->transit.books.dropped_messages[i];
    }
    return dropped + me->shed_messages;
}

static void check(struct model *me)
{
    struct weir_counters *counters = me->counters;
    const struct weir_transit *transit = &me->transit;
    struct weir_row_counts counts;
    weir_row_count(me->row, &counts);
    assert_int_equal(transit->end, me->end);
    assert_int_equal(transit->sent, me->sent);
    assert_int_equal(transit->sent_max, me->sent_max);
    assert_int_equal(transit->confirmed, me->confirmed);
    assert_int_equal(weir_transit_unconfirmed(transit), me->confirmed < me->sent);
    assert_int_equal(counts.messages, me->count);
    // What is shown is the newest.
    struct weir_books books;
    weir_books_read(&counters->books, &books);
    assert_memory_equal(&books, &transit->books, sizeof(books));
    assert_int_equal(books.taken_messages + me->shed_messages, me->taken);
    uint64_t confirmed = books.confirmed_messages;
    uint64_t held = books.transit_messages;
    assert_int_equal(dropped_counted(me), me->dropped_messages);
    assert_int_equal(confirmed + held + me->dropped_messages, me->taken);
    assert_int_equal(books.confirmed_bytes, me->confirmed_bytes);
    assert_int_equal(books.transit_bytes, me->end - me->confirmed);
    uint64_t resent = atomic_load(&counters->resent_messages);
    assert_int_equal(atomic_load(&counters->resent_bytes), me->resent_bytes);
    assert_in_range(resent, me->resent_messages_min, me->resent_messages_max);
}

// What goes out next is in the first segment with bytes behind `sent`.
static void check_next(const struct model *me)
{
    uint64_t next = UINT64_MAX;
    for (uint32_t i = me->transit.count; i > 0; i--) {
        const struct weir_transit_segment *held =
            &me->transit.ring[(me->transit.first + i - 1) % me->transit.capacity];
        if (held->base + held->segment.wire_bytes > me->sent) {
            next = held->segment.sequence;
        }
    }
    assert_int_equal(weir_transit_next(&me->transit, UINT64_MAX), next);
    assert_int_equal(me->transit.limit, me->limit);
}

// Held messages are those that end beyond `confirmed`; empty ones exactly there may be either.
static void check_held(struct model *me)
{
    uint64_t least = 0, most = 0;
    for (uint32_t i = me->taken; i > 0; i--) {
        const struct model_message *message = &me->messages[i - 1];
        uint64_t end = message->start + message->bytes;
        if (end < me->confirmed) {
            break;
        }
        least += end > me->confirmed && !message->is_void;
        most += (end > me->confirmed || message->bytes == 0) && !message->is_void;
    }
    assert_in_range(me->transit.books.transit_messages, least, most);
}

static void run_stream(uint64_t seed, uint32_t flush, uint32_t largest, uint32_t segments,
                       uint32_t index, uint64_t replay_bytes)
{
    struct model me;
    model_open(&me, seed, flush, largest, segments, index);
    me.replay_bytes = me.transit.replay_bytes = replay_bytes;
    uint64_t steps = test_times(60000);
    for (uint64_t step = 0; step < steps && me.count + 2 < MESSAGES_MAX; step++) {
        me.now_ns += draw(&me, 100);
        uint64_t what = draw(&me, 100);
        if (what < 35) {
            do_append(&me);
        } else if (what < 45) {
            (void)weir_row_seal_open(me.row, me.now_ns);
        } else if (what < 60) {
            do_take(&me);
        } else if (what < 80) {
            do_send(&me);
        } else if (what < 93) {
            do_confirm(&me);
        } else if (what < 95) {
            do_rewind(&me);
        } else if (what < 97) {
            do_limit(&me);
        } else if (what < 99) {
            do_drop_oldest(&me);
        } else if (draw(&me, 4) == 0) {
            do_drop(&me);
        }
        check(&me);
        if (step % 16 == 0) {
            check_next(&me);
            check_held(&me);
        }
    }
    // To the end: everything leaves, and every segment is free again.
    me.limit = me.transit.limit = UINT64_MAX;
    (void)weir_row_shut(me.row, me.now_ns);
    for (int i = 0; i < 100000 && (me.count != me.taken || me.confirmed != me.end); i++) {
        do_take(&me);
        do_send(&me);
        do_confirm(&me);
        check(&me);
    }
    assert_int_equal(me.taken, me.count);
    assert_int_equal(weir_transit_held(&me.transit), 0);
    assert_int_equal(weir_transit_drop(&me.transit, WEIR_DROPPED_DEADLINE), 0);
    assert_int_equal(me.transit.count, 0);
    assert_int_equal(weir_transit_take(&me.transit, 1, me.now_ns), WEIR_ECLOSED);
    assert_int_equal(weir_transit_first(&me.transit, 77), 77);
    struct weir_row_counts counts;
    weir_row_count(me.row, &counts);
    assert_int_equal(counts.free_count, segments);
    model_close(&me);
}

static void stream_against_the_model(void **unused)
{
    (void)unused;
    uint64_t seed = test_seed();
    run_stream(seed, 200, 100, 4, 50, 0);
    run_stream(seed + 1, 1, 300, 2, 1, 0);        // a message a segment
    run_stream(seed + 2, 1000, 10, 8, 3, 0);      // closed by the index
    run_stream(seed + 3, 64, 2000, 2, 1000, 0);   // mostly one large message
    run_stream(seed + 4, 5000, 200, 16, 400, 0);  // many messages a segment
    run_stream(seed + 5, 200, 100, 16, 50, 300);  // what is confirmed is kept for a replay
    run_stream(seed + 6, 1, 300, 8, 1, 1);        // less than a message
    run_stream(seed + 7, 1000, 10, 4, 3, 100000); // more than there is room for
}

// ---- Datagrams ----

// Sends the message at `sent` whole, or drops it, as the link does.
static void do_datagram(struct model *me)
{
    struct weir_iovec part;
    bool some = weir_transit_message(&me->transit, &part);
    assert_int_equal(some, me->sent < me->end);
    if (!some) {
        return;
    }
    const struct model_message *message = message_at(me, me->sent);
    assert_non_null(message);
    assert_int_equal(message->start, me->sent);
    assert_int_equal(part.bytes_count, message->bytes);
    assert_int_equal(check_parts(me, &part, 1), message->bytes);
    uint32_t bytes = message->bytes;
    if (draw(me, 4) == 0) {
        weir_transit_skip(&me->transit, me->now_ns);
        me->dropped_messages++;
    } else {
        weir_transit_sent(&me->transit, bytes);
        weir_transit_confirm(&me->transit, me->transit.sent, me->now_ns);
        me->confirmed_bytes += bytes;
    }
    model_sent(me, bytes);
    me->confirmed = me->sent;
}

static void datagrams_against_the_model(void **unused)
{
    (void)unused;
    struct model me;
    model_open(&me, test_seed() + 10, 300, 120, 4, 20);
    uint64_t steps = test_times(40000);
    for (uint64_t step = 0; step < steps && me.count + 2 < MESSAGES_MAX; step++) {
        me.now_ns += 10;
        uint64_t what = draw(&me, 10);
        if (what < 3) {
            do_append(&me);
        } else if (what < 4) {
            (void)weir_row_seal_open(me.row, me.now_ns);
        } else if (what < 6) {
            do_take(&me);
        } else if (what < 9) {
            do_datagram(&me);
        } else if (draw(&me, 4) == 0) {
            do_rewind(&me);
        }
        check(&me);
    }
    assert_true(me.transit.books.dropped_messages[WEIR_DROPPED_UNSENDABLE] > 0);
    model_close(&me);
}

// ---- Single cases ----

static void append_one(struct model *me, uint32_t bytes)
{
    struct weir_reservation reservation;
    assert_int_equal(weir_row_reserve(me->row, bytes, &reservation), 0);
    put(me, &reservation, false, bytes);
    (void)weir_row_commit(me->row, &reservation, bytes);
}

// A segment of nothing but empty or void messages needs no byte to be sent to be done with.
static void empty_segments_pass(void **unused)
{
    (void)unused;
    struct model me;
    model_open(&me, 1, 100, 50, 2, 10);
    for (int round = 0; round < 10; round++) {
        append_one(&me, 0);
        append_one(&me, 0);
        struct weir_reservation reservation;
        assert_int_equal(weir_row_reserve(me.row, 20, &reservation), 0);
        put(&me, &reservation, true, 0);
        (void)weir_row_commit(me.row, &reservation, WEIR_SEGMENT_VOID);
        (void)weir_row_seal_open(me.row, 1);
        do_take(&me);
        check(&me);
        assert_int_equal(me.transit.count, 0);
        assert_false(weir_transit_unsent(&me.transit));
    }
    assert_int_equal(me.transit.books.confirmed_messages, 20);
    assert_int_equal(me.transit.books.dropped_messages[WEIR_DROPPED_ABANDONED], 10);
    assert_int_equal(me.transit.books.dropped_bytes[WEIR_DROPPED_ABANDONED], 0);
    model_close(&me);
}

// The new connection begins at the message of which only a part is confirmed, whatever was sent.
static void rewind_goes_to_a_message(void **unused)
{
    (void)unused;
    struct model me;
    model_open(&me, 1, 100, 50, 4, 10);
    for (int i = 0; i < 9; i++) {
        append_one(&me, 30); // 120 bytes a segment
    }
    (void)weir_row_seal_open(me.row, 1);
    me.random = 5;
    while (me.taken < 9) {
        do_take(&me);
    }
    weir_transit_sent(&me.transit, 250);
    model_sent(&me, 250);
    weir_transit_confirm(&me.transit, 135, 1);
    me.confirmed = me.confirmed_bytes = 135;
    check(&me);
    do_rewind(&me);
    assert_int_equal(me.transit.sent, 120);
    check(&me);
    // Less is confirmed by the next connection than by the one before: nothing moves.
    weir_transit_sent(&me.transit, 10);
    model_sent(&me, 10);
    weir_transit_confirm(&me.transit, 130, 1);
    check(&me);
    do_rewind(&me);
    assert_int_equal(me.transit.sent, 120);
    weir_transit_sent(&me.transit, 150);
    model_sent(&me, 150);
    check(&me);
    assert_int_equal(atomic_load(&me.counters->resent_messages), 1 + 5);
    model_close(&me);
}

// Sending stops at the limit, which stands between messages, and goes on when it is lifted.
static void the_limit_is_a_message_boundary(void **unused)
{
    (void)unused;
    struct model me;
    model_open(&me, 1, 100, 50, 4, 10);
    for (int i = 0; i < 9; i++) {
        append_one(&me, 30); // 120 bytes a segment
    }
    (void)weir_row_seal_open(me.row, 1);
    me.random = 5;
    while (me.taken < 9) {
        do_take(&me);
    }
    assert_int_equal(weir_transit_boundary(&me.transit, 0), 0);
    assert_int_equal(weir_transit_boundary(&me.transit, 1), 30);
    assert_int_equal(weir_transit_boundary(&me.transit, 120), 120); // between two segments
    assert_int_equal(weir_transit_boundary(&me.transit, 269), 270);
    assert_int_equal(weir_transit_boundary(&me.transit, 270), 270);
    uint64_t first = weir_transit_next(&me.transit, 77);
    me.transit.limit = me.limit = weir_transit_boundary(&me.transit, 130);
    struct weir_iovec parts[PARTS_MAX];
    size_t count = weir_transit_gather(&me.transit, parts, PARTS_MAX, 1000);
    assert_int_equal(check_parts(&me, parts, count), 150);
    weir_transit_sent(&me.transit, 120);
    model_sent(&me, 120);
    assert_int_equal(weir_transit_next(&me.transit, 77), first + 1);
    assert_true(weir_transit_unsent(&me.transit));
    weir_transit_sent(&me.transit, 30);
    model_sent(&me, 30);
    assert_false(weir_transit_unsent(&me.transit));
    assert_int_equal(weir_transit_gather(&me.transit, parts, PARTS_MAX, 1000), 0);
    assert_int_equal(weir_transit_next(&me.transit, 77), first + 1);
    // The new connection knows no limit.
    weir_transit_confirm(&me.transit, 150, 1);
    me.confirmed = me.confirmed_bytes = 150;
    do_rewind(&me);
    count = weir_transit_gather(&me.transit, parts, PARTS_MAX, 1000);
    assert_int_equal(check_parts(&me, parts, count), 120);
    weir_transit_sent(&me.transit, 120);
    model_sent(&me, 120);
    assert_int_equal(weir_transit_next(&me.transit, 77), 77);
    check(&me);
    model_close(&me);
}

static void beyond_the_limit(void *argument)
{
    struct model *me = argument;
    me->transit.limit = 0;
    weir_transit_sent(&me->transit, 1);
}

static void boundary_beyond_the_end(void *argument)
{
    struct model *me = argument;
    (void)weir_transit_boundary(&me->transit, 31);
}

static void beyond_the_end(void *argument)
{
    struct model *me = argument;
    weir_transit_sent(&me->transit, 31);
}

static void confirm_unsent(void *argument)
{
    struct model *me = argument;
    weir_transit_confirm(&me->transit, 1, 1);
}

static void misuse_aborts(void **unused)
{
    (void)unused;
    struct model me;
    model_open(&me, 1, 100, 50, 2, 10);
    append_one(&me, 30);
    (void)weir_row_seal_open(me.row, 1);
    assert_int_equal(weir_transit_take(&me.transit, 1, 1), 1);
    test_expect_abort(beyond_the_end, &me);
    test_expect_abort(beyond_the_limit, &me);
    test_expect_abort(boundary_beyond_the_end, &me);
    test_expect_abort(confirm_unsent, &me);
    model_close(&me);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stream_against_the_model),
        cmocka_unit_test(datagrams_against_the_model),
        cmocka_unit_test(empty_segments_pass),
        cmocka_unit_test(rewind_goes_to_a_message),
        cmocka_unit_test(the_limit_is_a_message_boundary),
        cmocka_unit_test(misuse_aborts),
    };
    return cmocka_run_group_tests_name("transit", tests, NULL, NULL);
}
