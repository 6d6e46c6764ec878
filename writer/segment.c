// The logging threads' side of the row: reserve, commit, close.
#include "writer/row.h"

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
    return slot_sequence(atomic_load_explicit(row_slot_word(row, sequence), memory_order_relaxed));
}

enum row_room { ROW_FILLED, ROW_EMPTY, ROW_RETRY, ROW_FULL };

// What the slot after the closed `tail` says, in *slot: filled, or empty and there is a segment to
// fill it with.
static inline enum row_room row_look(const struct weir_row *row, uint64_t tail, uint64_t *slot)
{
    uint64_t sequence = (tail_sequence(tail) + 1) & SEQUENCE_MASK;
    const _Atomic uint64_t *word = &row->slots[sequence & (row->slot_count - 1)];
    // Acquire: what follows is no older than what any opener before knew of slots and free memory.
    if (atomic_load_explicit(&row->tail, memory_order_acquire) != tail) { // [S2]
        return ROW_RETRY;
    }
    *slot = atomic_load_explicit(word, memory_order_acquire); // [S3] [S4]
    bool ours = (slot_sequence(*slot) & SEQUENCE_MASK) == sequence;
    if (ours && slot_segment_plus_one(*slot) != 0) {
        return ROW_FILLED;
    }
    // This second look at the tail, after the slot, is what makes filling exact.
    if (atomic_load_explicit(&row->tail, memory_order_relaxed) != tail) {
        return ROW_RETRY;
    }
    if (!ours) { // still held by the segment one lap before
        return ROW_FULL;
    }
    if ((atomic_load_explicit(&row->free, memory_order_acquire) & 0xffff) != 0) { // [S5]
        return ROW_EMPTY;
    }
    bool same = atomic_load_explicit(word, memory_order_relaxed) == *slot &&
                atomic_load_explicit(&row->tail, memory_order_relaxed) == tail;
    return same ? ROW_FULL : ROW_RETRY;
}

bool weir_row_full(const struct weir_row *row, uint64_t tail)
{
    uint64_t slot;
    return (tail & TAIL_CLOSED) != 0 && !tail_is_shut(tail) &&
           row_look(row, tail, &slot) == ROW_FULL;
}

// Makes sure that the slot after the closed `tail` is filled. ROW_FILLED: *slot is its value.
static enum row_room row_fill(struct weir_row *row, uint64_t tail, uint64_t *slot, uint32_t *left)
{
    enum row_room room = row_look(row, tail, slot);
    if (room == ROW_FILLED) {
        *left = (uint32_t)(atomic_load_explicit(&row->free, memory_order_relaxed) >> 16 & 0xffff);
    }
    if (room != ROW_EMPTY) {
        return room;
    }
    uint32_t segment_plus_one = weir_row_free_pop(row, left);
    if (segment_plus_one == 0) { // another thread took it
        return ROW_RETRY;
    }
    uint64_t filled = slot_word(slot_sequence(*slot), segment_plus_one);
    if (atomic_compare_exchange_strong_explicit(row_slot_word(row, slot_sequence(*slot)), slot,
                                                filled, memory_order_release,
                                                memory_order_relaxed)) { // [S3]
        *slot = filled;
        return ROW_FILLED;
    }
    weir_row_free_push(row, segment_plus_one - 1);
    return ROW_RETRY;
}

// Opens the segment after the closed `tail` with a message of `bytes` in it. Returns 1 if the tail
// has moved on, otherwise as weir_row_reserve.
static PER_SEGMENT int row_open(struct weir_row *row, uint64_t tail, uint32_t bytes,
                                struct weir_reservation *reservation)
{
    uint64_t slot;
    uint32_t left;
    weir_assert((tail & TAIL_CLOSED) != 0);
    if (tail_is_shut(tail)) { // for ever
        return WEIR_ECLOSED;
    }
    switch (row_fill(row, tail, &slot, &left)) {
    case ROW_EMPTY:
    case ROW_RETRY: return 1;
    case ROW_FULL: return WEIR_EFULL;
    case ROW_FILLED: break;
    }
    uint64_t sequence = slot_sequence(slot) & SEQUENCE_MASK;
    bool closed = bytes >= row->options.flush_limit_bytes || row->options.segment_messages_max == 1;
    uint64_t next =
        closed ? tail_closed(sequence, slot_sequence(slot)) : sequence << 48 | TAIL_MESSAGE | bytes;
    if (!atomic_compare_exchange_strong_explicit(&row->tail, &tail, next, memory_order_acq_rel,
                                                 memory_order_relaxed)) { // [S2]
        return 1;
    }
    if (closed) {
        books_add(row, 1, 0); // what it has used, it adds when it commits
    }
    reservation_set(row, reservation, sequence << 48, next, bytes);
    reservation->free_count = left;
    reservation->opened = true;
    return 0;
}

// Closes the open segment, which `tail` names, with a message of `bytes` that fills it. Returns 1
// if the tail has moved on, otherwise 0.
static PER_SEGMENT int row_close(struct weir_row *row, uint64_t tail, uint32_t bytes,
                                 struct weir_reservation *reservation)
{
    uint64_t sequence = tail_sequence(tail);
    uint32_t offset = tail_bytes(tail);
    uint32_t message = tail_messages(tail);
    uint64_t next = tail_closed(sequence, row_full_sequence(row, sequence));
    weir_assert(offset < row->options.flush_limit_bytes);
    weir_assert(message >= 1 && message < row->options.segment_messages_max);
    if (!atomic_compare_exchange_strong_explicit(&row->tail, &tail, next, memory_order_acquire,
                                                 memory_order_relaxed)) { // [S2]
        return 1;
    }
    uint64_t free = atomic_load_explicit(&row->free, memory_order_relaxed);
    if ((free & 0xffff) != 0) { // whoever opens the next will want it
        __builtin_prefetch(row_segment_at(row, (uint32_t)(free & 0xffff) - 1), 1);
    }
    books_add(row, (uint64_t)message + 1, offset); // as in row_open
    reservation_set(row, reservation, tail, next, bytes);
    return 0;
}

int weir_row_reserve(struct weir_row *row, uint32_t bytes, struct weir_reservation *reservation)
{
    if (bytes > row->options.message_bytes_max) {
        return WEIR_ETOOBIG;
    }
    // Every further round means that another thread's reservation, opening or closing succeeded.
    for (;;) {
        uint64_t tail;
        if (row_reserve_within(row, bytes, &tail)) {
            reservation_set(row, reservation, tail, tail + TAIL_MESSAGE + bytes, bytes);
            return 0;
        }
        int result = (tail & TAIL_CLOSED) != 0 ? row_open(row, tail, bytes, reservation)
                                               : row_close(row, tail, bytes, reservation);
        if (result <= 0) {
            return result;
        }
    }
}

uint64_t weir_row_sequence(struct weir_row *row, const struct weir_reservation *reservation)
{
    return row_full_sequence(row, tail_sequence(reservation->tail));
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

// Gives the unused end of a reservation back. Returns false if it stays as a gap.
static bool row_give_back(struct weir_row *row, const struct weir_reservation *reservation,
                          uint32_t unused)
{
    uint64_t tail = reservation->tail;
    if (reservation->closed) { // nobody can be behind it; its commit writes the totals
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
    if (reservation->closed) {
        segment->messages = reservation->message + 1;
        segment->bytes = total;
        atomic_fetch_add_explicit(&row->closed_bytes, used, memory_order_release); // [S8]
        delta += WORD_COMPLETE - segment->messages;
    }
    return segment_commit(segment, reservation->message, reservation->offset, bytes, delta);
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
    return segment_add(segment, WORD_COMPLETE - segment->messages);
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
