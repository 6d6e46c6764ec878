// Inside the row of segments: the layout of its memory, and its three kinds of words.
//
// For segment.c, append.c and log.c (logging threads) and row.c (memory, the consumer, the books)
// alone; what it all means is in segment.h. What runs for every message is to be inlined.
//
// Pairs of release and acquire:
// [S1] commit of a message (release) with the taker's load of the segment word: payload, entries,
//      totals and stamps are seen. All commits are read-modify-writes, so the last one carries all.
// [S2] opening, and giving back unused bytes (both release, on `tail`) with the swap of every later
//      reservation (acquire): the filled slot and the memory reserved are the reserver's alone.
//      Reservations in between carry it on, being read-modify-writes. Opening is also paired with
//      the next opener's load of the closed tail (acquire): otherwise it could look at an old slot,
//      or an old free stack, and find no room where there is.
// [S3] filling a slot (release) with whoever reads it: opener and taker.
// [S4] claiming a slot (release) with the opener that finds it empty: its later look at the tail is
//      no older than the closing of the segment claimed (via [S1]), as the proof of filling needs.
// [S5] pushing on the free stack (release) with popping (acquire): the last reader of a segment is
//      done before it is written again.
// [S6] shutting (release, on `tail`) with the taker's load of `tail`.
// [S7] zeroing the segment word (release) with the taker's load: who sees it zeroed also sees that
//      its slot was claimed.
// [S8] adding to the books (release) with reading them: see weir_row_count.
// [S9] moving `head` on (release) with reading it (acquire): all claims before it are seen.
// [S10] settling (release, a swap of `tail` with itself) with the swap of the next reservation
//      (acquire): what the consumer wrote before it settled is seen by whoever logs after.
#ifndef WEIR_WRITER_ROW_H
#define WEIR_WRITER_ROW_H

#include <stdatomic.h>

#include "runtime/assert.h"
#include "weir.h"
#include "writer/segment.h"

#define SEQUENCE_BITS 15
#define SEQUENCE_MASK ((UINT64_C(1) << SEQUENCE_BITS) - 1)
#define SEQUENCE_FIRST (UINT64_C(1) << SEQUENCE_BITS) // the number in the initial tail never recurs

#define TAIL_CLOSED (UINT64_C(1) << 63)
#define TAIL_FULL_MASK ((UINT64_C(1) << 48) - 1) // closed: the full sequence
#define TAIL_MESSAGE (UINT64_C(1) << 28)         // open: one message
#define TAIL_BYTES_MASK (TAIL_MESSAGE - 1)

#define WORD_COMMIT UINT64_C(1)
#define WORD_COMMITS_MASK ((UINT64_C(1) << 24) - 1)
#define WORD_COMPLETE (UINT64_C(1) << 22) // value of `commits`
#define WORD_SHORTENED (UINT64_C(1) << 24)
#define WORD_SHORTENED_MASK (((UINT64_C(1) << 20) - 1) << 24)
#define WORD_VOIDED (UINT64_C(1) << 44)

// Runs about once per segment: kept out of the way of what runs once per message.
#define PER_SEGMENT __attribute__((noinline))

_Static_assert(sizeof(size_t) == 8, "a region can be larger than 4 GiB");
_Static_assert(sizeof(struct weir_segment_entry) == 8, "no padding in the index");

// Followed in memory by the wire starts and the payload. All that an opener touches, which it finds
// in another processor's cache, is in one line.
struct row_segment {
    _Alignas(WEIR_ROW_LINE_BYTES) _Atomic uint64_t word;
    // Written once per use, each by the one thread that opened, closed or pushed.
    uint64_t opened_ns;
    uint64_t sealed_ns;
    uint32_t messages;
    uint32_t bytes;
    _Atomic uint32_t next; // free stack: next segment + 1; late poppers may read it at any time
    struct weir_segment_entry entries[];
};

struct weir_row {
    struct weir_row_options options; // this line is only read after init
    uint64_t slot_count;
    size_t segments_offset; // from the region's start
    size_t segment_stride;
    size_t wire_starts_offset; // from the segment's start
    size_t payload_offset;

    _Alignas(WEIR_ROW_LINE_BYTES) _Atomic uint64_t tail;
    _Alignas(WEIR_ROW_LINE_BYTES) _Atomic uint64_t free; // uses:32 | count:16 | top + 1 : 16
    _Alignas(WEIR_ROW_LINE_BYTES) _Atomic uint64_t head; // full; all before it are claimed
    // Sums over closed segments, added to by who closed.
    _Alignas(WEIR_ROW_LINE_BYTES) _Atomic uint64_t closed_count;
    _Atomic uint64_t closed_messages;
    _Atomic uint64_t closed_bytes;

    // Side by side, as each is written twice per lap: whoever opens a segment has the line of the
    // slot before, and would miss one of its own.
    _Alignas(WEIR_ROW_LINE_BYTES) _Atomic uint64_t slots[];
};

static inline uint64_t tail_sequence(uint64_t tail)
{
    return tail >> 48 & SEQUENCE_MASK;
}

static inline uint32_t tail_messages(uint64_t tail)
{
    return (uint32_t)(tail >> 28 & WEIR_ROW_MESSAGES_MAX);
}

static inline uint32_t tail_bytes(uint64_t tail)
{
    return (uint32_t)(tail & TAIL_BYTES_MASK);
}

static inline uint64_t tail_closed(uint64_t sequence, uint64_t full)
{
    return TAIL_CLOSED | (sequence & SEQUENCE_MASK) << 48 | full;
}

// The sequence in a shut tail is the first that will never be opened.
static inline uint64_t tail_shut(uint64_t sequence)
{
    return tail_closed(sequence, TAIL_FULL_MASK);
}

static inline bool tail_is_shut(uint64_t tail)
{
    return (tail & TAIL_CLOSED) != 0 && (tail & TAIL_FULL_MASK) == TAIL_FULL_MASK;
}

static inline uint64_t slot_word(uint64_t full, uint32_t segment_plus_one)
{
    return full << 16 | segment_plus_one;
}

static inline uint64_t slot_sequence(uint64_t word)
{
    return word >> 16;
}

static inline uint32_t slot_segment_plus_one(uint64_t word)
{
    return (uint32_t)(word & 0xffff);
}

static inline _Atomic uint64_t *row_slot_word(struct weir_row *row, uint64_t sequence)
{
    return &row->slots[sequence & (row->slot_count - 1)];
}

static inline struct row_segment *row_segment_at(struct weir_row *row, uint32_t segment)
{
    weir_assert(segment < row->options.segment_count);
    unsigned char *region = (unsigned char *)row;
    return (struct row_segment *)(void *)(region + row->segments_offset +
                                          segment * row->segment_stride);
}

static inline uint32_t *segment_wire_starts(const struct weir_row *row, struct row_segment *segment)
{
    return (uint32_t *)(void *)((unsigned char *)segment + row->wire_starts_offset);
}

static inline unsigned char *segment_payload(const struct weir_row *row,
                                             struct row_segment *segment)
{
    return (unsigned char *)segment + row->payload_offset;
}

// The physical segment of a sequence that cannot go away: the caller has reserved in it, or it has
// closed but not yet sealed it.
static inline uint32_t row_segment_of(struct weir_row *row, uint64_t sequence)
{
    uint64_t word = atomic_load_explicit(row_slot_word(row, sequence), memory_order_relaxed);
    weir_assert((slot_sequence(word) & SEQUENCE_MASK) == sequence);
    weir_assert(slot_segment_plus_one(word) != 0);
    return slot_segment_plus_one(word) - 1;
}

// ---- What runs for every message ----

// Reserves in the open segment a place after which it stays open. *before is the tail until then
// and says where. Returns false if the segment would be full, or none is open: *before says which.
static inline bool row_reserve_within(struct weir_row *row, uint32_t bytes, uint64_t *before)
{
    const struct weir_row_options *options = &row->options;
    uint64_t tail = atomic_load_explicit(&row->tail, memory_order_relaxed);
    // Every further round means that another thread's reservation, opening or closing succeeded.
    do {
        *before = tail;
        if ((tail & TAIL_CLOSED) != 0 || tail_bytes(tail) + bytes >= options->flush_limit_bytes ||
            tail_messages(tail) + 1 == options->segment_messages_max) {
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&row->tail, &tail, tail + TAIL_MESSAGE + bytes,
                                                    memory_order_acquire,
                                                    memory_order_relaxed)); // [S2]
    weir_assert(tail_messages(tail) >= 1 && tail_messages(tail) < options->segment_messages_max);
    return true;
}

// Says where the swap of the tail from `before` to `after` has put a message of `bytes`, if it did
// not open the segment.
static inline void reservation_set(struct weir_row *row, struct weir_reservation *reservation,
                                   uint64_t before, uint64_t after, uint32_t bytes)
{
    uint32_t segment = row_segment_of(row, tail_sequence(before));
    reservation->data = segment_payload(row, row_segment_at(row, segment)) + tail_bytes(before);
    reservation->bytes = bytes;
    reservation->offset = tail_bytes(before);
    reservation->message = tail_messages(before);
    reservation->segment = segment;
    reservation->tail = after;
    reservation->free_count = 0;
    reservation->opened = false;
    reservation->closed = (after & TAIL_CLOSED) != 0;
}

// Adds to the segment word; returns true if that completed the segment.
static inline bool segment_add(struct row_segment *segment, uint64_t delta)
{
    uint64_t old = atomic_fetch_add_explicit(&segment->word, delta, memory_order_release); // [S1]
    weir_assert((old & WORD_COMMITS_MASK) < WORD_COMPLETE);
    return ((old + delta) & WORD_COMMITS_MASK) == WORD_COMPLETE;
}

// Writes the message's entry and commits it, both by what its reservation says.
static inline bool segment_commit(struct row_segment *segment, uint32_t message, uint32_t offset,
                                  uint32_t bytes, uint64_t delta)
{
    segment->entries[message] = (struct weir_segment_entry){offset, bytes};
    return segment_add(segment, delta);
}

// ---- What runs about once per segment ----

// Whether no segment can be opened after `tail`, the row's: a quick look for those who are refused.
bool weir_row_full(const struct weir_row *row, uint64_t tail);

// Puts a segment nobody uses on the free stack.
void weir_row_free_push(struct weir_row *row, uint32_t segment);

// Returns a free segment + 1 and how many are left, or 0. `uses` makes a swap fail whose `next` is
// out of date because the top was popped and pushed meanwhile.
uint32_t weir_row_free_pop(struct weir_row *row, uint32_t *left);

#endif
