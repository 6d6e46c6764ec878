// The row of segments: reserve, commit, take and drop without locks (the model is in segment.h).
//
// Pairs of release and acquire:
// [S1] commit of a message (release) with the taker's load of the segment word: payload, entries,
//      totals and stamps are seen. All commits are read-modify-writes, so the last one carries all.
// [S2] opening, and giving back unused bytes (both release, on `tail`) with the swap of every later
//      reservation (acquire): the filled slot and the memory reserved are the reserver's alone.
//      Reservations in between carry it on, being read-modify-writes.
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
#include "writer/segment.h"

#include <stdatomic.h>
#include <string.h>

#include "runtime/assert.h"
#include "weir.h"

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

#define COUNT_ATTEMPTS 4

// Runs about once per segment: kept out of the way of what runs once per message.
#define PER_SEGMENT __attribute__((noinline))

_Static_assert(sizeof(size_t) == 8, "a region can be larger than 4 GiB");
_Static_assert(sizeof(struct weir_segment_entry) == 8, "no padding in the index");

struct row_slot {
    _Alignas(WEIR_ROW_LINE_BYTES) _Atomic uint64_t word;
};

// Followed in memory by the index, the wire starts and the payload.
struct row_segment {
    _Alignas(WEIR_ROW_LINE_BYTES) _Atomic uint64_t word;
    // Written once per use, each by the one thread that opened, closed or pushed.
    _Alignas(WEIR_ROW_LINE_BYTES) uint64_t opened_ns;
    uint64_t sealed_ns;
    uint32_t messages;
    uint32_t bytes;
    _Atomic uint32_t next; // free stack: next segment + 1; late poppers may read it at any time
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

    struct row_slot slots[];
};

static size_t line_round(size_t bytes)
{
    return (bytes + WEIR_ROW_LINE_BYTES - 1) / WEIR_ROW_LINE_BYTES * WEIR_ROW_LINE_BYTES;
}

static uint64_t slot_count_of(uint32_t segment_count)
{
    uint64_t count = 1;
    while (count < segment_count) {
        count *= 2;
    }
    weir_assert(count <= SEQUENCE_FIRST / 2); // a slot one lap behind must look different
    return count;
}

static uint64_t tail_sequence(uint64_t tail)
{
    return tail >> 48 & SEQUENCE_MASK;
}

static uint32_t tail_messages(uint64_t tail)
{
    return (uint32_t)(tail >> 28 & WEIR_ROW_MESSAGES_MAX);
}

static uint32_t tail_bytes(uint64_t tail)
{
    return (uint32_t)(tail & TAIL_BYTES_MASK);
}

static uint64_t tail_closed(uint64_t sequence, uint64_t full)
{
    return TAIL_CLOSED | (sequence & SEQUENCE_MASK) << 48 | full;
}

// The sequence in a shut tail is the first that will never be opened.
static uint64_t tail_shut(uint64_t sequence)
{
    return tail_closed(sequence, TAIL_FULL_MASK);
}

static bool tail_is_shut(uint64_t tail)
{
    return (tail & TAIL_CLOSED) != 0 && (tail & TAIL_FULL_MASK) == TAIL_FULL_MASK;
}

static uint64_t slot_word(uint64_t full, uint32_t segment_plus_one)
{
    return full << 16 | segment_plus_one;
}

static uint64_t slot_sequence(uint64_t word)
{
    return word >> 16;
}

static uint32_t slot_segment_plus_one(uint64_t word)
{
    return (uint32_t)(word & 0xffff);
}

static _Atomic uint64_t *row_slot_word(struct weir_row *row, uint64_t sequence)
{
    return &row->slots[sequence & (row->slot_count - 1)].word;
}

static struct row_segment *row_segment_at(struct weir_row *row, uint32_t segment)
{
    weir_assert(segment < row->options.segment_count);
    unsigned char *region = (unsigned char *)row;
    return (struct row_segment *)(void *)(region + row->segments_offset +
                                          segment * row->segment_stride);
}

static struct weir_segment_entry *segment_entries(struct row_segment *segment)
{
    return (struct weir_segment_entry *)(void *)(segment + 1);
}

static uint32_t *segment_wire_starts(const struct weir_row *row, struct row_segment *segment)
{
    return (uint32_t *)(void *)((unsigned char *)segment + row->wire_starts_offset);
}

static unsigned char *segment_payload(const struct weir_row *row, struct row_segment *segment)
{
    return (unsigned char *)segment + row->payload_offset;
}

static bool options_valid(const struct weir_row_options *options)
{
    return options->flush_limit_bytes >= 1 &&
           options->flush_limit_bytes <= WEIR_ROW_FLUSH_BYTES_MAX &&
           options->message_bytes_max >= 1 &&
           options->message_bytes_max <= WEIR_ROW_MESSAGE_BYTES_MAX &&
           options->segment_count >= 1 && options->segment_count <= WEIR_ROW_SEGMENTS_MAX &&
           options->segment_messages_max >= 1 &&
           options->segment_messages_max <= WEIR_ROW_MESSAGES_MAX;
}

// Everything in the row that follows from the options alone.
static void row_layout(struct weir_row *row, const struct weir_row_options *options)
{
    size_t index_bytes = options->segment_messages_max * sizeof(struct weir_segment_entry);
    size_t starts_bytes = options->segment_messages_max * sizeof(uint32_t);
    size_t payload_bytes = (size_t)options->flush_limit_bytes + options->message_bytes_max;
    row->options = *options;
    row->slot_count = slot_count_of(options->segment_count);
    row->segments_offset = sizeof(struct weir_row) + row->slot_count * sizeof(struct row_slot);
    row->wire_starts_offset = sizeof(struct row_segment) + line_round(index_bytes);
    row->payload_offset = row->wire_starts_offset + line_round(starts_bytes);
    row->segment_stride = row->payload_offset + line_round(payload_bytes);
}

size_t weir_row_region_bytes(const struct weir_row_options *options)
{
    if (!options_valid(options)) {
        return 0;
    }
    struct weir_row row;
    row_layout(&row, options);
    return row.segments_offset + options->segment_count * row.segment_stride;
}

// Puts a segment nobody uses on the free stack.
static void free_push(struct weir_row *row, uint32_t segment)
{
    struct row_segment *pushed = row_segment_at(row, segment);
    pushed->opened_ns = 0;
    pushed->sealed_ns = 0;
    atomic_store_explicit(&pushed->word, 0, memory_order_release); // [S7]
    uint64_t top = atomic_load_explicit(&row->free, memory_order_relaxed);
    uint64_t next;
    do {
        weir_assert((top >> 16 & 0xffff) < row->options.segment_count);
        atomic_store_explicit(&pushed->next, (uint32_t)(top & 0xffff), memory_order_relaxed);
        next = (((top >> 32) + 1) << 32) | ((top >> 16 & 0xffff) + 1) << 16 | (segment + 1);
    } while (!atomic_compare_exchange_weak_explicit(&row->free, &top, next, memory_order_release,
                                                    memory_order_relaxed)); // [S5]
}

// Returns a free segment + 1 and how many are left, or 0. `uses` makes a swap fail whose `next` is
// out of date because the top was popped and pushed meanwhile.
static uint32_t free_pop(struct weir_row *row, uint32_t *left)
{
    uint64_t top = atomic_load_explicit(&row->free, memory_order_acquire); // [S5]
    while ((top & 0xffff) != 0) {
        uint32_t segment = (uint32_t)(top & 0xffff) - 1;
        uint32_t below = atomic_load_explicit(&row_segment_at(row, segment)->next,
                                              memory_order_relaxed);
        uint32_t count = (uint32_t)(top >> 16 & 0xffff) - 1;
        uint64_t next = (((top >> 32) + 1) << 32) | (uint64_t)count << 16 | below;
        if (atomic_compare_exchange_weak_explicit(&row->free, &top, next, memory_order_acquire,
                                                  memory_order_acquire)) { // [S5]
            weir_assert((count == 0) == (below == 0));
            *left = count;
            return segment + 1;
        }
    }
    *left = 0;
    return 0;
}

struct weir_row *weir_row_init(void *region, const struct weir_row_options *options)
{
    weir_assert(options_valid(options));
    weir_assert((uintptr_t)region % WEIR_ROW_LINE_BYTES == 0);
    struct weir_row *row = region;
    memset(row, 0, sizeof(struct weir_row));
    row_layout(row, options);
    atomic_init(&row->tail, tail_closed(SEQUENCE_FIRST - 1, SEQUENCE_FIRST - 1));
    atomic_init(&row->free, 0);
    atomic_init(&row->head, SEQUENCE_FIRST);
    atomic_init(&row->closed_count, 0);
    atomic_init(&row->closed_messages, 0);
    atomic_init(&row->closed_bytes, 0);
    for (uint64_t i = 0; i < row->slot_count; i++) {
        atomic_init(&row->slots[i].word, slot_word(SEQUENCE_FIRST + i, 0));
    }
    for (uint32_t i = options->segment_count; i > 0; i--) {
        memset(row_segment_at(row, i - 1), 0, sizeof(struct row_segment));
        free_push(row, i - 1);
    }
    return row;
}

static PER_SEGMENT void books_add(struct weir_row *row, uint64_t messages, uint64_t bytes)
{
    atomic_fetch_add_explicit(&row->closed_messages, messages, memory_order_release); // [S8]
    atomic_fetch_add_explicit(&row->closed_bytes, bytes, memory_order_release);
    atomic_fetch_add_explicit(&row->closed_count, 1, memory_order_release);
}

// The full sequence to put into the tail when closing `sequence`. Read before the swap, so it may
// be out of date (segment.h says when); it only makes closed values differ.
static PER_SEGMENT uint64_t row_full_sequence(struct weir_row *row, uint64_t sequence)
{
    return slot_sequence(
        atomic_load_explicit(row_slot_word(row, sequence), memory_order_relaxed));
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

enum row_open_result { ROW_FILLED, ROW_RETRY, ROW_FULL };

// Makes sure that the slot after the closed `tail` is filled. ROW_FILLED: *slot is its value.
static enum row_open_result row_fill(struct weir_row *row, uint64_t tail, uint64_t *slot,
                                     uint32_t *left)
{
    uint64_t sequence = (tail_sequence(tail) + 1) & SEQUENCE_MASK;
    _Atomic uint64_t *word = row_slot_word(row, sequence);
    *slot = atomic_load_explicit(word, memory_order_acquire); // [S3] [S4]
    bool ours = (slot_sequence(*slot) & SEQUENCE_MASK) == sequence;
    if (ours && slot_segment_plus_one(*slot) != 0) {
        *left = (uint32_t)(atomic_load_explicit(&row->free, memory_order_relaxed) >> 16 & 0xffff);
        return ROW_FILLED;
    }
    // This second look at the tail, after the slot, is what makes filling exact.
    if (atomic_load_explicit(&row->tail, memory_order_relaxed) != tail) {
        return ROW_RETRY;
    }
    if (!ours) { // still held by the segment one lap before
        return ROW_FULL;
    }
    uint32_t segment_plus_one = free_pop(row, left);
    if (segment_plus_one == 0) {
        bool same = atomic_load_explicit(word, memory_order_relaxed) == *slot &&
                    atomic_load_explicit(&row->tail, memory_order_relaxed) == tail;
        return same ? ROW_FULL : ROW_RETRY;
    }
    uint64_t filled = slot_word(slot_sequence(*slot), segment_plus_one);
    if (atomic_compare_exchange_strong_explicit(word, slot, filled, memory_order_release,
                                                memory_order_relaxed)) { // [S3]
        *slot = filled;
        return ROW_FILLED;
    }
    free_push(row, segment_plus_one - 1);
    return ROW_RETRY;
}

static void reservation_set(struct weir_row *row, struct weir_reservation *reservation,
                            uint32_t segment, uint32_t offset)
{
    reservation->data = segment_payload(row, row_segment_at(row, segment)) + offset;
    reservation->offset = offset;
    reservation->segment = segment;
}

// Opens the segment after the closed `tail` with a message of `bytes` in it. Returns 1 if the tail
// has moved on, otherwise as weir_row_reserve.
static PER_SEGMENT int row_open(struct weir_row *row, uint64_t tail, uint32_t bytes,
                                struct weir_reservation *reservation)
{
    uint64_t slot;
    uint32_t left;
    weir_assert((tail & TAIL_CLOSED) != 0);
    if (tail_is_shut(tail)) {
        return WEIR_ECLOSED;
    }
    switch (row_fill(row, tail, &slot, &left)) {
    case ROW_RETRY:
        return 1;
    case ROW_FULL:
        return WEIR_EFULL;
    case ROW_FILLED:
        break;
    }
    uint64_t sequence = slot_sequence(slot) & SEQUENCE_MASK;
    bool closed = bytes >= row->options.flush_limit_bytes ||
                  row->options.segment_messages_max == 1;
    uint64_t next = closed ? tail_closed(sequence, slot_sequence(slot))
                           : sequence << 48 | TAIL_MESSAGE | bytes;
    if (!atomic_compare_exchange_strong_explicit(&row->tail, &tail, next, memory_order_acq_rel,
                                                 memory_order_relaxed)) { // [S2]
        return 1;
    }
    if (closed) {
        books_add(row, 1, bytes);
    }
    reservation->bytes = bytes;
    reservation->message = 0;
    reservation->tail = next;
    reservation->free_count = left;
    reservation->opened = true;
    reservation->closed = closed;
    reservation_set(row, reservation, row_segment_of(row, sequence), 0);
    return 0;
}

int weir_row_reserve(struct weir_row *row, uint32_t bytes, struct weir_reservation *reservation)
{
    const struct weir_row_options *options = &row->options;
    if (bytes > options->message_bytes_max) {
        return WEIR_ETOOBIG;
    }
    // Every further round means that another thread's reservation, opening or closing succeeded.
    for (;;) {
        uint64_t tail = atomic_load_explicit(&row->tail, memory_order_relaxed);
        if (__builtin_expect((tail & TAIL_CLOSED) != 0, 0)) {
            int result = row_open(row, tail, bytes, reservation);
            if (result <= 0) {
                return result;
            }
            continue;
        }
        uint64_t sequence = tail_sequence(tail);
        uint32_t offset = tail_bytes(tail);
        uint32_t message = tail_messages(tail);
        weir_assert(offset < options->flush_limit_bytes);
        weir_assert(message >= 1 && message < options->segment_messages_max);
        bool closed = offset + bytes >= options->flush_limit_bytes ||
                      message + 1 == options->segment_messages_max;
        uint64_t next = closed ? tail_closed(sequence, row_full_sequence(row, sequence))
                               : tail + TAIL_MESSAGE + bytes;
        if (!atomic_compare_exchange_weak_explicit(&row->tail, &tail, next, memory_order_acquire,
                                                   memory_order_relaxed)) { // [S2]
            continue;
        }
        if (closed) {
            books_add(row, (uint64_t)message + 1, (uint64_t)offset + bytes);
        }
        reservation->bytes = bytes;
        reservation->message = message;
        reservation->tail = next;
        reservation->free_count = 0;
        reservation->opened = false;
        reservation->closed = closed;
        reservation_set(row, reservation, row_segment_of(row, sequence), offset);
        return 0;
    }
}

void weir_row_stamp(struct weir_row *row, const struct weir_reservation *reservation,
                    uint64_t now_ns)
{
    struct row_segment *segment = row_segment_at(row, reservation->segment);
    weir_assert(reservation->opened == (reservation->message == 0));
    if (reservation->opened) {
        segment->opened_ns = now_ns;
    }
    if (reservation->closed) {
        segment->sealed_ns = now_ns;
    }
}

// Adds to the segment word; returns true if that completed the segment.
static bool segment_commit(struct row_segment *segment, uint64_t delta)
{
    uint64_t old = atomic_fetch_add_explicit(&segment->word, delta, memory_order_release); // [S1]
    weir_assert((old & WORD_COMMITS_MASK) < WORD_COMPLETE);
    return ((old + delta) & WORD_COMMITS_MASK) == WORD_COMPLETE;
}

// Gives the unused end of a reservation back. Returns false if it stays as a gap.
static bool row_give_back(struct weir_row *row, const struct weir_reservation *reservation,
                          uint32_t unused)
{
    uint64_t tail = reservation->tail;
    if (reservation->closed) { // nobody can be behind it; its commit writes the totals
        atomic_fetch_sub_explicit(&row->closed_bytes, unused, memory_order_release); // [S8]
        return true;
    }
    // This sequence stays while the reservation is held, and its message count never falls: if the
    // tail is as we left it, nobody has reserved since. Release: what was scribbled there. [S2]
    return unused == 0 ||
           atomic_compare_exchange_strong_explicit(&row->tail, &tail, tail - unused,
                                                   memory_order_release, memory_order_relaxed);
}

bool weir_row_commit(struct weir_row *row, const struct weir_reservation *reservation,
                     uint32_t bytes)
{
    struct row_segment *segment = row_segment_at(row, reservation->segment);
    uint64_t delta = WORD_COMMIT;
    uint32_t used = bytes == WEIR_SEGMENT_VOID ? 0 : bytes;
    uint32_t total = reservation->offset + reservation->bytes;
    weir_assert(used <= reservation->bytes);
    weir_assert(reservation->message < row->options.segment_messages_max);
    if (used != reservation->bytes) {
        if (row_give_back(row, reservation, reservation->bytes - used)) {
            total = reservation->offset + used;
        } else {
            delta += WORD_SHORTENED;
        }
    }
    if (bytes == WEIR_SEGMENT_VOID) {
        delta += WORD_VOIDED;
    }
    struct weir_segment_entry *entry = segment_entries(segment) + reservation->message;
    entry->offset = reservation->offset;
    entry->bytes = bytes;
    if (reservation->closed) {
        segment->messages = reservation->message + 1;
        segment->bytes = total;
        delta += WORD_COMPLETE - segment->messages;
    }
    return segment_commit(segment, delta);
}

// Seals the segment that the caller has just closed with the swap from the open value `tail`.
static bool row_seal(struct weir_row *row, uint64_t tail, uint64_t now_ns)
{
    struct row_segment *segment = row_segment_at(row, row_segment_of(row, tail_sequence(tail)));
    weir_assert((tail & TAIL_CLOSED) == 0);
    weir_assert(tail_messages(tail) >= 1);
    segment->sealed_ns = now_ns;
    segment->messages = tail_messages(tail);
    segment->bytes = tail_bytes(tail);
    books_add(row, segment->messages, segment->bytes);
    return segment_commit(segment, WORD_COMPLETE - segment->messages);
}

bool weir_row_seal_open(struct weir_row *row, uint64_t now_ns)
{
    uint64_t tail = atomic_load_explicit(&row->tail, memory_order_relaxed);
    while ((tail & TAIL_CLOSED) == 0) {
        uint64_t sequence = tail_sequence(tail);
        uint64_t next = tail_closed(sequence, row_full_sequence(row, sequence));
        if (atomic_compare_exchange_weak_explicit(&row->tail, &tail, next, memory_order_acquire,
                                                  memory_order_relaxed)) { // [S2]
            return row_seal(row, tail, now_ns);
        }
    }
    return false;
}

bool weir_row_shut(struct weir_row *row, uint64_t now_ns)
{
    uint64_t tail = atomic_load_explicit(&row->tail, memory_order_relaxed);
    while (!tail_is_shut(tail)) {
        uint64_t next = tail_shut(tail_sequence(tail) + 1);
        if (atomic_compare_exchange_weak_explicit(&row->tail, &tail, next, memory_order_acq_rel,
                                                  memory_order_relaxed)) { // [S2] [S6]
            return (tail & TAIL_CLOSED) == 0 && row_seal(row, tail, now_ns);
        }
    }
    return false;
}

// Claims the oldest segment. Returns as weir_row_take; 1: *claimed is the value its slot had, *word
// the segment's word.
static int row_claim(struct weir_row *row, uint64_t *claimed, uint64_t *word)
{
    // Every further round means that this or another thread claimed, or moved `head` on.
    uint64_t head = atomic_load_explicit(&row->head, memory_order_acquire); // [S9]
    for (;;) {
        _Atomic uint64_t *slot_at = row_slot_word(row, head);
        uint64_t slot = atomic_load_explicit(slot_at, memory_order_acquire); // [S3]
        weir_assert(slot_sequence(slot) >= head);
        if (slot_sequence(slot) > head) { // claimed; help its claimer to move the hint
            if (atomic_compare_exchange_strong_explicit(&row->head, &head, head + 1,
                                                        memory_order_release,
                                                        memory_order_acquire)) { // [S9]
                head++;
            }
            continue;
        }
        if (slot_segment_plus_one(slot) != 0) {
            struct row_segment *segment = row_segment_at(row, slot_segment_plus_one(slot) - 1);
            *word = atomic_load_explicit(&segment->word, memory_order_acquire); // [S1] [S7]
            if ((*word & WORD_COMMITS_MASK) == WORD_COMPLETE) {
                *claimed = slot;
                if (atomic_compare_exchange_strong_explicit(
                        slot_at, &slot, slot_word(head + row->slot_count, 0),
                        memory_order_release, memory_order_relaxed)) { // [S4]
                    break;
                }
                continue;
            }
        }
        uint64_t tail = atomic_load_explicit(&row->tail, memory_order_acquire); // [S6]
        // If the segment was claimed meanwhile, the word may be of a later use of it [S7], and the
        // tail a multiple of 2^15 ahead.
        if (atomic_load_explicit(slot_at, memory_order_relaxed) != slot) {
            continue;
        }
        bool end = tail_is_shut(tail) && tail_sequence(tail) == (head & SEQUENCE_MASK);
        return end ? WEIR_ECLOSED : 0;
    }
    (void)atomic_compare_exchange_strong_explicit(&row->head, &head, head + 1,
                                                  memory_order_release,
                                                  memory_order_relaxed); // [S9]
    return 1;
}

// Numbers the wire of a segment that has void messages or gaps; the consumer's own memory.
static void segment_number_wire(struct weir_segment *segment, uint32_t *starts)
{
    uint32_t position = 0;
    weir_assert(segment->messages >= 1);
    for (uint32_t i = 0; i < segment->messages; i++) {
        const struct weir_segment_entry *entry = &segment->entries[i];
        starts[i] = position;
        position += entry->bytes == WEIR_SEGMENT_VOID ? 0 : entry->bytes;
    }
    weir_assert(position <= segment->bytes);
    segment->wire_starts = starts;
    segment->wire_bytes = position;
}

int weir_row_take(struct weir_row *row, struct weir_segment *segment)
{
    uint64_t slot;
    uint64_t word;
    int result = row_claim(row, &slot, &word);
    if (result != 1) {
        return result;
    }
    segment->segment = slot_segment_plus_one(slot) - 1;
    struct row_segment *taken = row_segment_at(row, segment->segment);
    segment->payload = segment_payload(row, taken);
    segment->entries = segment_entries(taken);
    segment->wire_starts = NULL;
    segment->sequence = slot_sequence(slot);
    segment->opened_ns = taken->opened_ns;
    segment->sealed_ns = taken->sealed_ns;
    segment->messages = taken->messages;
    segment->void_messages = (uint32_t)(word / WORD_VOIDED);
    segment->bytes = taken->bytes;
    segment->wire_bytes = taken->bytes;
    if (segment->void_messages != 0 || (word & WORD_SHORTENED_MASK) != 0) {
        segment_number_wire(segment, segment_wire_starts(row, taken));
    }
    return 1;
}

void weir_row_release(struct weir_row *row, const struct weir_segment *segment)
{
    weir_assert(segment->payload ==
                segment_payload(row, row_segment_at(row, segment->segment)));
    free_push(row, segment->segment);
}

int weir_row_drop_oldest(struct weir_row *row, struct weir_row_drop *drop)
{
    uint64_t slot;
    uint64_t word;
    if (row_claim(row, &slot, &word) != 1) {
        return 0;
    }
    uint32_t segment = slot_segment_plus_one(slot) - 1;
    const struct row_segment *dropped = row_segment_at(row, segment);
    drop->opened_ns = dropped->opened_ns;
    drop->sealed_ns = dropped->sealed_ns;
    drop->messages = dropped->messages;
    drop->void_messages = (uint32_t)(word / WORD_VOIDED);
    drop->bytes = dropped->bytes;
    free_push(row, segment);
    return 1;
}

void weir_row_count(const struct weir_row *row, struct weir_row_counts *counts)
{
    counts->exact = false;
    for (int i = 0; i < COUNT_ATTEMPTS && !counts->exact; i++) {
        // Every addition seen brings along the closing that it is for, [S8]; so if the tail, read
        // after the sums, has been closed as often as the count, read before and after, says, then
        // the sums are of exactly those segments.
        uint64_t closed = atomic_load_explicit(&row->closed_count, memory_order_acquire);
        counts->messages = atomic_load_explicit(&row->closed_messages, memory_order_acquire);
        counts->bytes = atomic_load_explicit(&row->closed_bytes, memory_order_acquire);
        uint64_t tail = atomic_load_explicit(&row->tail, memory_order_acquire);
        uint64_t again = atomic_load_explicit(&row->closed_count, memory_order_relaxed);
        bool open = (tail & TAIL_CLOSED) == 0;
        uint64_t expected = tail_sequence(tail) + (open || tail_is_shut(tail) ? 0 : 1);
        counts->open_messages = open ? tail_messages(tail) : 0;
        counts->open_bytes = open ? tail_bytes(tail) : 0;
        counts->exact = closed == again && (closed & SEQUENCE_MASK) == (expected & SEQUENCE_MASK);
    }
    counts->messages += counts->open_messages;
    counts->bytes += counts->open_bytes;
    counts->free_count =
        (uint32_t)(atomic_load_explicit(&row->free, memory_order_relaxed) >> 16 & 0xffff);
}

// The sequence of the segment open, or the next to be opened, by the tail; `head` was read before it.
static uint64_t tail_position(uint64_t tail, uint64_t head)
{
    bool next = (tail & TAIL_CLOSED) != 0 && !tail_is_shut(tail);
    uint64_t sequence = tail_sequence(tail) + (next ? 1 : 0);
    return head + ((sequence - head) & SEQUENCE_MASK);
}

uint64_t weir_row_first(const struct weir_row *row)
{
    return atomic_load_explicit(&row->head, memory_order_acquire); // [S9]
}

uint64_t weir_row_position(const struct weir_row *row)
{
    uint64_t head = weir_row_first(row);
    return tail_position(atomic_load_explicit(&row->tail, memory_order_acquire), head); // [S2]
}

bool weir_row_settle(struct weir_row *row)
{
    uint64_t tail = atomic_fetch_add_explicit(&row->tail, 0, memory_order_acq_rel); // [S10]
    uint64_t head = weir_row_first(row);
    return (tail & TAIL_CLOSED) != 0 && tail_position(tail, head) == head;
}
