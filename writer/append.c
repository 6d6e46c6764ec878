// Framing and appending, and the in-band record of what was lost.
#include "writer/append.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "runtime/assert.h"
#include "writer/row.h"

// Segments a logging thread throws away, at most, to place one message; only when others are
// quicker to fill the room than this thread does it need more than one.
#define DROPS_MAX 8

static uint64_t append_wall_ns(const struct weir_writer *writer)
{
    return writer->os->wall_ns(writer->os->self);
}

// ---- Losses ----

static void gap_add(struct weir_gap *gap, uint64_t messages, uint64_t bytes)
{
    atomic_fetch_add_explicit(&gap->bytes, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&gap->messages, messages, memory_order_release); // [B4]
}

void weir_append_note_loss(struct weir_writer *writer, uint64_t messages, uint64_t bytes)
{
    if (!writer->plan->gap_records) {
        return;
    }
    struct weir_gap *gap = &writer->gap;
    uint64_t now_ns = append_wall_ns(writer);
    uint64_t none = 0;
    (void)atomic_compare_exchange_strong_explicit(&gap->first_ns, &none, now_ns,
                                                  memory_order_relaxed, memory_order_relaxed);
    atomic_store_explicit(&gap->last_ns, now_ns, memory_order_relaxed);
    gap_add(gap, messages, bytes);
}

// The record under way is dropped: what it told is untold.
static void gap_untell(struct weir_gap *gap)
{
    uint64_t messages = atomic_load_explicit(&gap->told_messages, memory_order_relaxed);
    uint64_t bytes = atomic_load_explicit(&gap->told_bytes, memory_order_relaxed);
    uint64_t first_ns = atomic_load_explicit(&gap->told_first_ns, memory_order_relaxed);
    atomic_store_explicit(&gap->first_ns, first_ns, memory_order_relaxed); // before any since
    gap_add(gap, messages, bytes);
    atomic_store_explicit(&gap->told_sequence, 0, memory_order_release); // [B5]
}

// Notes the loss of a segment. Its last commit carries all that was written before it, so that a
// record in it is known here; and the record itself is nobody's loss.
static void append_note_drop(struct weir_writer *writer, const struct weir_row_drop *drop)
{
    struct weir_gap *gap = &writer->gap;
    uint64_t messages = drop->messages - drop->void_messages;
    uint64_t bytes = drop->bytes;
    if (atomic_load_explicit(&gap->told_sequence, memory_order_relaxed) == drop->sequence) {
        messages--;
        bytes -= atomic_load_explicit(&gap->record_bytes, memory_order_relaxed);
        gap_untell(gap);
    }
    weir_append_note_loss(writer, messages, bytes);
}

// ---- Reserving ----

// Drops the oldest segment of which nothing was sent.  returns  false: there is none.
static bool append_drop_oldest(struct weir_writer *writer)
{
    struct weir_row_drop drop;
    if (weir_row_drop_oldest(writer->row, &drop) <= 0) {
        return false;
    }
    struct weir_counters *counters = &writer->counters;
    uint32_t live = drop.messages - drop.void_messages;
    atomic_fetch_add_explicit(&counters->shed_bytes, drop.bytes, memory_order_release); // [B3]
    atomic_fetch_add_explicit(&counters->shed_messages, live, memory_order_release);
    atomic_fetch_add_explicit(&counters->shed_voids, drop.void_messages, memory_order_release);
    atomic_fetch_add_explicit(&counters->shed_segments, 1, memory_order_seq_cst); // [B6]
    append_note_drop(writer, &drop);
    if (atomic_load_explicit(writer->waiters, memory_order_seq_cst) != 0 || // [R4]
        atomic_load_explicit(&writer->closing, memory_order_seq_cst) != 0) { // [B6]
        weir_writer_wake(writer); // somebody may wait for just that, and without a connection
    }                             // the writer would not look for long
    return true;
}

// Reserves what there is room for.
static int append_room(struct weir_writer *writer, size_t frame_bytes,
                       struct weir_reservation *reservation)
{
    if (frame_bytes > writer->row->options.message_bytes_max) { // the plan's, but at hand
        return WEIR_ETOOBIG;
    }
    int error = weir_row_reserve(writer->row, (uint32_t)frame_bytes, reservation);
    if (error == 0 && (reservation->opened || reservation->closed)) {
        weir_row_stamp(writer->row, reservation, writer->os->now_ns(writer->os->self));
    }
    return error;
}

int weir_append_reserve(struct weir_writer *writer, size_t frame_bytes,
                        struct weir_reservation *reservation)
{
    int error = append_room(writer, frame_bytes, reservation);
    if (error == WEIR_EFULL && writer->plan->full == WEIR_FULL_DROP_OLDEST) {
        for (uint32_t i = 0; error == WEIR_EFULL && i < DROPS_MAX; i++) {
            if (!append_drop_oldest(writer)) {
                break;
            }
            error = append_room(writer, frame_bytes, reservation);
        }
    }
    return error;
}

void weir_append_commit(struct weir_writer *writer, const struct weir_reservation *reservation,
                        uint32_t frame_bytes)
{
    bool opened = reservation->opened;
    uint32_t free_count = reservation->free_count;
    (void)weir_row_commit(writer->row, reservation, frame_bytes);
    weir_writer_nudge(writer);
    if (opened && free_count <= writer->row->options.segment_count / 2) {
        weir_writer_press(writer);
    }
}

int weir_append_measure(const struct weir_writer *writer, uint8_t severity,
                        const struct weir_iovec *parts, size_t parts_count, size_t *frame_bytes)
{
    int error =
        weir_framer_measure(&writer->plan->framer, severity, parts, parts_count, frame_bytes);
    // An empty datagram is not a message.
    return error == 0 && *frame_bytes == 0 && !writer->plan->stream ? -EINVAL : error;
}

void weir_append_put(struct weir_writer *writer, uint8_t severity, const struct weir_iovec *parts,
                     size_t parts_count, const struct weir_reservation *reservation)
{
    const struct weir_framer *framer = &writer->plan->framer;
    uint64_t wall_ns = framer->header == WEIR_HEADER_NONE ? 0 : append_wall_ns(writer);
    size_t written = weir_framer_write(framer, wall_ns, severity, reservation->data, parts,
                                       parts_count, reservation->bytes);
    weir_assert(written == reservation->bytes);
    weir_append_commit(writer, reservation, reservation->bytes);
}

// ---- Gap records ----

static void gap_timestamp(uint64_t wall_ns, char *text)
{
    weir_timestamp_write(wall_ns / 1000000000u, (uint32_t)(wall_ns / 1000 % 1000000u), text);
    text[WEIR_TIMESTAMP_BYTES] = '\0';
}

// Whether a record is still in the buffer, which may yet be dropped. If it was, its loss is noted.
static bool gap_under_way(struct weir_writer *writer)
{
    struct weir_gap *gap = &writer->gap;
    switch (writer->transit.mark.state) {
    case WEIR_MARK_NONE: return false;
    case WEIR_MARK_HELD: return true;
    case WEIR_MARK_AHEAD: // in the row, unless a thread has thrown it away
        if (atomic_load_explicit(&gap->told_sequence, memory_order_acquire) != 0) { // [B5]
            return true;
        }
        break;
    case WEIR_MARK_DROPPED: gap_untell(gap); break;
    case WEIR_MARK_CONFIRMED:
        atomic_store_explicit(&gap->told_sequence, 0, memory_order_relaxed);
        break;
    }
    writer->transit.mark.state = WEIR_MARK_NONE;
    return false;
}

// Puts a record in.  returns  false: there is no room for it now. Nothing is dropped to make some:
// what tells of a loss would be the next.
static bool gap_tell(struct weir_writer *writer, const char *text, size_t length, uint64_t messages,
                     uint64_t bytes, uint64_t first_ns)
{
    struct weir_gap *gap = &writer->gap;
    struct weir_reservation reservation;
    struct weir_iovec part = {text, length};
    size_t frame_bytes;
    if (weir_append_measure(writer, WEIR_SEVERITY_DEFAULT, &part, 1, &frame_bytes) < 0 ||
        append_room(writer, frame_bytes, &reservation) < 0) {
        return false;
    }
    uint64_t sequence = weir_row_sequence(writer->row, &reservation);
    atomic_store_explicit(&gap->told_messages, messages, memory_order_relaxed);
    atomic_store_explicit(&gap->told_bytes, bytes, memory_order_relaxed);
    atomic_store_explicit(&gap->told_first_ns, first_ns, memory_order_relaxed);
    atomic_store_explicit(&gap->record_bytes, reservation.bytes, memory_order_relaxed);
    atomic_store_explicit(&gap->told_sequence, sequence, memory_order_relaxed);
    weir_transit_mark(&writer->transit, sequence, reservation.message);
    weir_append_put(writer, WEIR_SEVERITY_DEFAULT, &part, 1, &reservation);
    return true;
}

void weir_append_gap(struct weir_writer *writer)
{
    struct weir_gap *gap = &writer->gap;
    if (gap_under_way(writer) ||
        atomic_load_explicit(&gap->messages, memory_order_relaxed) == 0) {
        return;
    }
    // What is lost while this runs is told by the next record, or split between the two.
    uint64_t messages = atomic_exchange_explicit(&gap->messages, 0, memory_order_acquire); // [B4]
    uint64_t bytes = atomic_exchange_explicit(&gap->bytes, 0, memory_order_relaxed);
    uint64_t first_ns = atomic_exchange_explicit(&gap->first_ns, 0, memory_order_relaxed);
    uint64_t last_ns = atomic_load_explicit(&gap->last_ns, memory_order_relaxed);
    first_ns = first_ns == 0 ? last_ns : first_ns; // the last record took it with it
    char first[WEIR_TIMESTAMP_BYTES + 1], last[WEIR_TIMESTAMP_BYTES + 1];
    gap_timestamp(first_ns, first);
    gap_timestamp(last_ns, last);
    char text[WEIR_GAP_RECORD_BYTES_MAX];
    int length = snprintf(text, sizeof(text),
                          "weir: %llu messages, %llu bytes dropped between %s and %s",
                          (unsigned long long)messages, (unsigned long long)bytes, first, last);
    weir_assert(length > 0 && (size_t)length < sizeof(text));
    if (!gap_tell(writer, text, (size_t)length, messages, bytes, first_ns)) { // try again later
        atomic_store_explicit(&gap->first_ns, first_ns, memory_order_relaxed);
        gap_add(gap, messages, bytes);
    }
}
