// Fuzz target segment: a row of segments, what is in transit from it, and the wire, byte by byte.
//
//   FLUSH LARGEST SEGMENTS INDEX REPLAY   one byte each: the row's options, and what a replay keeps
//   then operations, a byte each: its low four bits which one, its high ones how much
//
// The model keeps every message apart: where it was reserved, what became of it, where it lies on
// the wire. A peer gets what is gathered, connections break anywhere, and any byte may be the last
// one confirmed: then sending goes on at the start of that message, not before and not after.
#include "fuzz/fuzz.h"

#include <string.h>

#include "writer/transit.h"

#define MESSAGES_MAX 512
#define SEGMENTS_MAX 256
#define BYTES_MAX 32 // of a message
#define HELD_MAX 8
#define ROW_SEGMENTS_MAX 6

enum fate { RESERVED, WRITTEN, VOID };

struct message {
    uint32_t segment;
    uint32_t offset, reserved, bytes;
    enum fate fate;
    uint64_t wire; // where it begins, once it is taken
};

// One life of a segment, in the order of their sequence.
struct life {
    uint32_t first, messages; // in `messages`
    uint32_t bytes;           // reserved
    uint32_t uncommitted;
    bool closed;
};

static struct {
    struct weir_row_options options;
    struct weir_row *row;
    struct weir_counters counters;
    struct weir_transit transit;
    struct weir_transit_segment ring[ROW_SEGMENTS_MAX];
    struct message messages[MESSAGES_MAX];
    struct life lives[SEGMENTS_MAX];
    unsigned char wire[MESSAGES_MAX * BYTES_MAX];
    struct weir_reservation held[HELD_MAX];
    uint32_t held_messages[HELD_MAX];
    uint32_t messages_count, lives_count, held_count;
    uint32_t gone_lives;          // taken or dropped
    uint32_t taken[MESSAGES_MAX]; // in the order of the wire
    uint32_t taken_count, taken_void;
    uint32_t whole; // of the taken: how many, from the first, are confirmed to their end
    uint32_t whole_void;
    uint32_t shed_messages;
    uint32_t dropped_messages; // after they were taken
    uint64_t wire_end, sent, sent_max, confirmed;
    bool shut;
} me;

static unsigned char message_byte(uint32_t message, uint32_t at)
{
    return (unsigned char)(message * 37 + at * 5 + 1);
}

static bool life_open(void)
{
    return me.lives_count > 0 && !me.lives[me.lives_count - 1].closed;
}

static bool life_complete(uint32_t life)
{
    return me.lives[life].closed && me.lives[life].uncommitted == 0;
}

// Segments that a new one could not have.
static uint32_t lives_in_use(void)
{
    return me.lives_count - me.gone_lives + me.transit.count;
}

static void row_open(void)
{
    size_t bytes = weir_row_region_bytes(&me.options);
    fuzz_require(bytes > 0 && bytes % WEIR_ROW_LINE_BYTES == 0);
    void *region = aligned_alloc(WEIR_ROW_LINE_BYTES, bytes);
    fuzz_require(region != NULL);
    me.row = weir_row_init(region, &me.options);
    memset(&me.counters, 0, sizeof(me.counters));
    weir_transit_init(&me.transit, me.row, &me.counters, me.ring, me.options.segment_count);
}

// ---- The logging threads' side ----

static void do_reserve(uint32_t bytes)
{
    if (me.held_count == HELD_MAX || me.messages_count == MESSAGES_MAX ||
        me.lives_count == SEGMENTS_MAX) {
        return;
    }
    struct weir_reservation *reservation = &me.held[me.held_count];
    bool open = life_open();
    int expected = bytes > me.options.message_bytes_max                  ? WEIR_ETOOBIG
                   : me.shut                                             ? WEIR_ECLOSED
                   : !open && lives_in_use() == me.options.segment_count ? WEIR_EFULL
                                                                         : 0;
    int error = weir_row_reserve(me.row, bytes, reservation);
    fuzz_require(error == expected);
    if (error != 0) {
        return;
    }
    if (!open) {
        me.lives[me.lives_count++] = (struct life){.first = me.messages_count};
    }
    struct life *life = &me.lives[me.lives_count - 1];
    struct message *message = &me.messages[me.messages_count];
    *message = (struct message){
        .segment = me.lives_count - 1, .offset = life->bytes, .reserved = bytes, .fate = RESERVED};
    life->messages++;
    life->uncommitted++;
    life->bytes += bytes;
    life->closed = life->bytes >= me.options.flush_limit_bytes ||
                   life->messages == me.options.segment_messages_max;
    fuzz_require(reservation->opened == !open && reservation->closed == life->closed);
    fuzz_require(reservation->offset == message->offset && reservation->bytes == bytes);
    fuzz_require(reservation->message == life->messages - 1);
    weir_row_stamp(me.row, reservation, me.messages_count + 1);
    me.held_messages[me.held_count++] = me.messages_count++;
}

static void do_commit(uint32_t which, uint32_t less, bool is_void)
{
    if (me.held_count == 0) {
        return;
    }
    which %= me.held_count;
    struct weir_reservation reservation = me.held[which];
    uint32_t number = me.held_messages[which];
    struct message *message = &me.messages[number];
    struct life *life = &me.lives[message->segment];
    uint32_t bytes = less < message->reserved ? message->reserved - less : 0;
    memset(reservation.data, 0xcc, message->reserved);
    for (uint32_t i = 0; i < bytes; i++) {
        reservation.data[i] = message_byte(number, i);
    }
    message->fate = is_void ? VOID : WRITTEN;
    message->bytes = is_void ? 0 : bytes;
    life->uncommitted--;
    // What is left over is given back if nobody reserved behind it.
    bool last = life->first + life->messages - 1 == number;
    if (last && !life->closed) {
        life->bytes = message->offset + message->bytes;
    }
    me.held_count--;
    me.held[which] = me.held[me.held_count];
    me.held_messages[which] = me.held_messages[me.held_count];
    bool complete = weir_row_commit(me.row, &reservation, is_void ? WEIR_SEGMENT_VOID : bytes);
    fuzz_require(complete == life_complete(message->segment));
}

static void do_seal(bool shut)
{
    bool open = life_open();
    bool completes = shut ? weir_row_shut(me.row, 7) : weir_row_seal_open(me.row, 7);
    me.shut = me.shut || shut;
    if (open) {
        me.lives[me.lives_count - 1].closed = true;
        fuzz_require(completes == life_complete(me.lives_count - 1));
    } else {
        fuzz_require(!completes);
    }
}

static void do_drop_oldest(void)
{
    struct weir_row_drop drop;
    bool can = me.gone_lives < me.lives_count && life_complete(me.gone_lives);
    int dropped = weir_row_drop_oldest(me.row, &drop);
    fuzz_require(dropped == (can ? 1 : 0));
    if (can) {
        const struct life *life = &me.lives[me.gone_lives++];
        uint32_t voids = 0;
        for (uint32_t i = life->first; i < life->first + life->messages; i++) {
            voids += me.messages[i].fate == VOID;
        }
        fuzz_require(drop.messages == life->messages && drop.void_messages == voids);
        me.shed_messages += life->messages;
    }
}

// ---- The writer's side ----

static void life_take(const struct life *life)
{
    for (uint32_t i = life->first; i < life->first + life->messages; i++) {
        struct message *message = &me.messages[i];
        message->wire = me.wire_end;
        for (uint32_t at = 0; at < message->bytes; at++) {
            me.wire[me.wire_end++] = message_byte(i, at);
        }
        me.taken[me.taken_count++] = i;
        me.taken_void += message->fate == VOID;
    }
}

// Each position of a segment just taken, beside the messages of its life.
static void segment_check(const struct weir_transit_segment *taken, const struct life *life)
{
    const struct weir_segment *segment = &taken->segment;
    fuzz_require(segment->messages == life->messages);
    uint32_t next = life->first; // of the messages that begin at or before the position
    uint32_t ended = 0;          // of those that end there, void ones left out
    uint32_t past = life->first;
    for (uint32_t position = 0; position <= segment->wire_bytes; position++) {
        uint64_t wire = taken->base + position;
        uint32_t end = life->first + life->messages;
        while (next < end && me.messages[next].wire <= wire) {
            next++;
        }
        for (; past < end && me.messages[past].wire + me.messages[past].bytes <= wire; past++) {
            ended += me.messages[past].fate != VOID;
        }
        uint32_t start = 0;
        uint32_t bytes = 0;
        uint32_t found = weir_segment_locate(segment, position, &start);
        const unsigned char *run = weir_segment_run(segment, position, &bytes);
        bool at_end = position == segment->wire_bytes;
        fuzz_require(found == (at_end ? life->messages : next - 1 - life->first));
        fuzz_require(taken->base + start == (at_end ? wire : me.messages[next - 1].wire));
        fuzz_require((bytes == 0) == at_end && bytes <= segment->wire_bytes - position);
        fuzz_require(memcmp(run, me.wire + wire, bytes) == 0);
        fuzz_require(weir_segment_messages_within(segment, position) == ended);
    }
}

static void do_take(uint64_t window_bytes)
{
    uint32_t before = me.gone_lives;
    uint32_t count = me.transit.count;
    uint64_t end = me.wire_end;
    while (me.wire_end - me.sent < window_bytes && me.gone_lives < me.lives_count &&
           life_complete(me.gone_lives)) {
        life_take(&me.lives[me.gone_lives++]);
    }
    int taken = weir_transit_take(&me.transit, window_bytes, 1000);
    if (taken == WEIR_ECLOSED) {
        fuzz_require(me.shut && me.gone_lives == me.lives_count && before == me.gone_lives);
        return;
    }
    fuzz_require(taken == (int)(me.gone_lives - before));
    fuzz_require(me.transit.end == me.wire_end);
    // Those without anything on the wire are let go at once.
    if (me.wire_end > end && me.transit.count == count + (uint32_t)taken) {
        for (uint32_t i = 0; i < (uint32_t)taken; i++) {
            uint32_t at = (me.transit.first + count + i) % me.transit.capacity;
            segment_check(&me.ring[at], &me.lives[before + i]);
        }
    }
}

static void do_send(size_t bytes_max, size_t took)
{
    struct weir_iovec parts[4];
    size_t count = weir_transit_gather(&me.transit, parts, 4, bytes_max);
    uint64_t position = me.sent;
    for (size_t i = 0; i < count; i++) {
        fuzz_require(parts[i].bytes_count > 0);
        fuzz_require(parts[i].bytes_count <= me.wire_end - position);
        fuzz_require(memcmp(parts[i].bytes, me.wire + position, parts[i].bytes_count) == 0);
        position += parts[i].bytes_count;
    }
    fuzz_require(position - me.sent <= bytes_max);
    fuzz_require(count > 0 || me.sent == me.wire_end || bytes_max == 0);
    took = took < position - me.sent ? took : position - me.sent;
    if (took > 0) {
        weir_transit_sent(&me.transit, took);
        me.sent += took;
        me.sent_max = me.sent > me.sent_max ? me.sent : me.sent_max;
    }
}

static void do_confirm(uint64_t bytes)
{
    uint64_t position = me.confirmed + bytes;
    position = position < me.sent_max ? position : me.sent_max;
    weir_transit_confirm(&me.transit, position, 2000);
    me.confirmed = position;
}

// Where the message begins that the byte at `position` belongs to; `after`: where the first one
// begins that does not begin before it.
static uint64_t message_start(uint64_t position, bool after)
{
    for (uint32_t i = 0; i < me.taken_count; i++) {
        const struct message *message = &me.messages[me.taken[i]];
        if (message->bytes > 0 &&
            (after ? message->wire >= position : message->wire + message->bytes > position)) {
            return message->wire;
        }
    }
    return me.wire_end;
}

static void do_rewind(bool replay)
{
    uint64_t expected = message_start(me.confirmed, false);
    weir_transit_rewind(&me.transit, replay);
    if (replay) {
        uint64_t least =
            me.confirmed -
            (me.confirmed < me.transit.replay_bytes ? me.confirmed : me.transit.replay_bytes);
        fuzz_require(me.transit.sent <= expected);
        fuzz_require(me.transit.sent >= message_start(least, true) || me.transit.sent == expected);
        fuzz_require(me.transit.sent == message_start(me.transit.sent, true));
    } else {
        fuzz_require(me.transit.sent == expected);
    }
    fuzz_require(me.transit.start == me.transit.sent);
    me.sent = me.transit.sent;
}

// The collector's answer, or the datagram socket's: the first message that is not confirmed is
// lost.
static void do_refuse(void)
{
    uint64_t start = message_start(me.confirmed, false);
    uint64_t next = start < me.wire_end ? message_start(start + 1, true) : start;
    if (start == me.confirmed && start < me.wire_end && next <= me.sent) {
        weir_transit_refuse(&me.transit, next, 3000);
        me.confirmed = next;
        me.dropped_messages++;
    }
}

// ---- What holds after each step ----

static void check(void)
{
    struct weir_row_counts counts;
    const struct weir_books *books = &me.transit.books;
    weir_row_count(me.row, &counts);
    fuzz_require(counts.exact && counts.messages == me.messages_count);
    fuzz_require(counts.free_count == me.options.segment_count - lives_in_use());
    fuzz_require(counts.open_messages == (life_open() ? me.lives[me.lives_count - 1].messages : 0));
    fuzz_require(counts.open_bytes == (life_open() ? me.lives[me.lives_count - 1].bytes : 0));
    fuzz_require(weir_row_first(me.row) <= weir_row_position(me.row));
    fuzz_require(me.transit.sent == me.sent && me.transit.confirmed == me.confirmed);
    fuzz_require(me.transit.sent_max == me.sent_max && me.transit.end == me.wire_end);
    fuzz_require(weir_transit_unsent(&me.transit) == (me.sent < me.wire_end));
    for (; me.whole < me.taken_count; me.whole++) {
        const struct message *message = &me.messages[me.taken[me.whole]];
        if (message->wire + message->bytes > me.confirmed) {
            break;
        }
        me.whole_void += message->fate == VOID;
    }
    fuzz_require(books->confirmed_messages + me.dropped_messages == me.whole - me.whole_void);
    fuzz_require(books->taken_messages == me.taken_count);
    fuzz_require(books->taken_messages == books->confirmed_messages + books->transit_messages +
                                              me.dropped_messages + me.taken_void);
}

// ---- A run ----

static void begin(struct fuzz_input *input)
{
    me.options.flush_limit_bytes = 1 + fuzz_u8(input) % 96;
    me.options.message_bytes_max = 1 + fuzz_u8(input) % BYTES_MAX;
    me.options.segment_count = 1 + fuzz_u8(input) % ROW_SEGMENTS_MAX;
    me.options.segment_messages_max = 1 + fuzz_u8(input) % 12;
    me.messages_count = 0;
    me.lives_count = 0;
    me.held_count = 0;
    me.gone_lives = 0;
    me.taken_count = 0;
    me.taken_void = 0;
    me.whole = 0;
    me.whole_void = 0;
    me.shed_messages = 0;
    me.dropped_messages = 0;
    me.wire_end = 0;
    me.sent = 0;
    me.sent_max = 0;
    me.confirmed = 0;
    me.shut = false;
    row_open();
    me.transit.replay_bytes = fuzz_u8(input);
}

static void step(uint8_t what)
{
    uint32_t much = what >> 4;
    switch (what & 15) {
    case 0:
    case 1: do_reserve(much); break;
    case 2: do_reserve(2 * much + 3); break;
    case 3: do_commit(much, 0, false); break;
    case 4: do_commit(much, 1 + much / 4, false); break;
    case 5: do_commit(much, 0, true); break;
    case 6: do_seal(false); break;
    case 7: do_drop_oldest(); break;
    case 8: do_take(much == 15 ? UINT64_MAX : 1 + much * 8); break;
    case 9: do_send(much == 15 ? SIZE_MAX : much * 4 + 1, SIZE_MAX); break;
    case 10: do_send(SIZE_MAX, much * 3 + 1); break;
    case 11:
    case 12: do_confirm((what & 15) == 11 ? much + 1 : much * 16); break;
    case 13: do_rewind((much & 1) != 0); break;
    case 14: do_refuse(); break;
    default: do_seal(much == 15);
    }
}

// Everything that was accepted ends as confirmed, or as dropped for a reason.
static void finish(void)
{
    while (me.held_count > 0) {
        do_commit(0, 0, false);
    }
    do_seal(true);
    do_take(UINT64_MAX);
    check();
    while (me.sent < me.wire_end) {
        do_send(SIZE_MAX, SIZE_MAX);
    }
    do_confirm(UINT64_MAX / 2);
    check();
    const struct weir_books *books = &me.transit.books;
    fuzz_require(me.messages_count == books->confirmed_messages + me.dropped_messages +
                                          me.taken_void + me.shed_messages);
    fuzz_require(books->transit_messages == 0 && books->transit_bytes == 0);
    fuzz_require(weir_transit_take(&me.transit, UINT64_MAX, 0) == WEIR_ECLOSED);
    fuzz_require(weir_transit_drop(&me.transit, WEIR_DROPPED_DEADLINE) == 0);
    struct weir_row_counts counts;
    weir_row_count(me.row, &counts);
    fuzz_require(counts.free_count == me.options.segment_count);
    free(me.row);
}

void fuzz_one(const unsigned char *bytes, size_t count)
{
    struct fuzz_input input = {bytes, count, 0};
    begin(&input);
    while (fuzz_more(&input)) {
        step(fuzz_u8(&input));
        check();
    }
    finish();
}
