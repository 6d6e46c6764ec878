// The row: its memory, its free segments, what the consumer takes, and its books.
#include "writer/row.h"

#include <string.h>

// Looks at the books that may each be spoilt by a thread closing a segment at that moment.
#define COUNT_ATTEMPTS 4

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
    row->segments_offset =
        line_round(sizeof(struct weir_row) + row->slot_count * sizeof(row->slots[0]));
    row->wire_starts_offset = line_round(offsetof(struct row_segment, entries) + index_bytes);
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

void weir_row_free_push(struct weir_row *row, uint32_t segment)
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

uint32_t weir_row_free_pop(struct weir_row *row, uint32_t *left)
{
    uint64_t top = atomic_load_explicit(&row->free, memory_order_acquire); // [S5]
    while ((top & 0xffff) != 0) {
        uint32_t segment = (uint32_t)(top & 0xffff) - 1;
        uint32_t below =
            atomic_load_explicit(&row_segment_at(row, segment)->next, memory_order_relaxed);
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
        atomic_init(&row->slots[i], slot_word(SEQUENCE_FIRST + i, 0));
    }
    for (uint32_t i = options->segment_count; i > 0; i--) {
        memset(row_segment_at(row, i - 1), 0, sizeof(struct row_segment));
        weir_row_free_push(row, i - 1);
    }
    return row;
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
        // While it is open, as it mostly is when the consumer comes by the clock, its word is left
        // alone: the next commit would have to fetch that from here.
        uint64_t tail = atomic_load_explicit(&row->tail, memory_order_acquire); // [S6]
        bool open = (tail & TAIL_CLOSED) == 0 && tail_sequence(tail) == (head & SEQUENCE_MASK);
        if (slot_segment_plus_one(slot) != 0 && !open) {
            struct row_segment *segment = row_segment_at(row, slot_segment_plus_one(slot) - 1);
            *word = atomic_load_explicit(&segment->word, memory_order_acquire); // [S1] [S7]
            if ((*word & WORD_COMMITS_MASK) == WORD_COMPLETE) {
                *claimed = slot;
                if (atomic_compare_exchange_strong_explicit(
                        slot_at, &slot, slot_word(head + row->slot_count, 0), memory_order_release,
                        memory_order_relaxed)) { // [S4]
                    break;
                }
                continue;
            }
        }
        // If the segment was claimed meanwhile, the word may be of a later use of it [S7], and the
        // tail a multiple of 2^15 ahead.
        if (atomic_load_explicit(slot_at, memory_order_relaxed) != slot) {
            continue;
        }
        bool end = tail_is_shut(tail) && tail_sequence(tail) == (head & SEQUENCE_MASK);
        return end ? WEIR_ECLOSED : 0;
    }
    (void)atomic_compare_exchange_strong_explicit(&row->head, &head, head + 1, memory_order_release,
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
    segment->entries = taken->entries;
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
    weir_assert(segment->payload == segment_payload(row, row_segment_at(row, segment->segment)));
    weir_row_free_push(row, segment->segment);
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
    drop->sequence = slot_sequence(slot);
    drop->opened_ns = dropped->opened_ns;
    drop->sealed_ns = dropped->sealed_ns;
    drop->messages = dropped->messages;
    drop->void_messages = (uint32_t)(word / WORD_VOIDED);
    drop->bytes = dropped->bytes;
    weir_row_free_push(row, segment);
    return 1;
}

// How many messages of the open segment that `tail` names are committed; if it is open no more,
// anything.
static uint64_t row_committed(const struct weir_row *row, uint64_t tail)
{
    uint64_t index = tail_sequence(tail) & (row->slot_count - 1);
    uint64_t slot = atomic_load_explicit(&row->slots[index], memory_order_acquire); // [S3]
    if (slot_segment_plus_one(slot) == 0) {
        return 0;
    }
    const unsigned char *segment = (const unsigned char *)row + row->segments_offset +
                                   (slot_segment_plus_one(slot) - 1) * row->segment_stride;
    const _Atomic uint64_t *word = &((const struct row_segment *)(const void *)segment)->word;
    return atomic_load_explicit(word, memory_order_acquire) & WORD_COMMITS_MASK; // [S1]
}

void weir_row_count(const struct weir_row *row, struct weir_row_counts *counts)
{
    bool committed = false;
    counts->exact = false;
    for (int i = 0; i < COUNT_ATTEMPTS && !counts->exact; i++) {
        // Every addition seen brings along the closing that it is for, [S8]; so if the tail, read
        // after the sums, has been closed as often as the count, read before and after, says, then
        // the sums are of exactly those segments.
        uint64_t closed = atomic_load_explicit(&row->closed_count, memory_order_acquire);
        counts->messages = atomic_load_explicit(&row->closed_messages, memory_order_acquire);
        counts->bytes = atomic_load_explicit(&row->closed_bytes, memory_order_acquire);
        uint64_t before = atomic_load_explicit(&row->tail, memory_order_acquire);
        uint64_t commits = row_committed(row, before);
        uint64_t tail = atomic_load_explicit(&row->tail, memory_order_acquire);
        uint64_t again = atomic_load_explicit(&row->closed_count, memory_order_relaxed);
        bool open = (tail & TAIL_CLOSED) == 0;
        // Who gives back does so before the commit [S1]: if as many were committed before as are
        // reserved after, nobody can give back any more, and the tail tells what is left.
        committed =
            open && tail_sequence(before) == tail_sequence(tail) && commits == tail_messages(tail);
        uint64_t expected = tail_sequence(tail) + (open || tail_is_shut(tail) ? 0 : 1);
        counts->open_messages = open ? tail_messages(tail) : 0;
        counts->open_bytes = open ? tail_bytes(tail) : 0;
        counts->exact = closed == again && (closed & SEQUENCE_MASK) == (expected & SEQUENCE_MASK);
    }
    counts->messages += counts->open_messages;
    counts->bytes += counts->exact && committed ? counts->open_bytes : 0;
    counts->free_count =
        (uint32_t)(atomic_load_explicit(&row->free, memory_order_relaxed) >> 16 & 0xffff);
}

uint32_t weir_row_open_messages(const struct weir_row *row)
{
    uint64_t tail = atomic_load_explicit(&row->tail, memory_order_relaxed);
    return (tail & TAIL_CLOSED) == 0 ? tail_messages(tail) : 0;
}

// The sequence of the segment open, or the next to be opened; `head` was read before `tail`.
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
