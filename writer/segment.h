// The row of segments: where logging threads put messages and from where one writer sends them.
//
// Model. A row has segment_count equal segments (payload, message index, one commit word). Physical
// segments lie on a free stack, last-in first-out, so that memory still warm in the cache is used
// first. When used, a segment gets the next *sequence* number and a place in the row, a ring of
// slots: the segment with sequence n is named by slot n % slots. Messages are written straight into
// the segment from which they will be sent.
//
// The whole truth about the segment now being filled is one 64-bit word:
//
//     tail, open     0 | sequence:15 | messages:20 | bytes:28
//     tail, closed   1 | sequence:15 | the full 48-bit sequence (all ones: shut, for ever)
//     slot           full sequence:48 | physical segment + 1 : 16   (0: empty, to be filled for
//                                                                    that sequence)
//     segment word   voided:20 | shortened:20 | commits:24
//
// reserve   One compare-and-swap of `tail` to one more message and `bytes` more. The old value says
//           where the reservation lies: segment `sequence`, message `messages`, offset `bytes`. The
//           message that reaches the flush limit, or fills the index, closes the segment in the
//           same step; as an open segment is below the limit, the next message always fits
//           (capacity = flush limit + largest message). On a closed tail the thread makes sure that
//           the next slot is filled (by itself, from the free stack, or by another thread that was
//           quicker) and opens that segment with its own message already in it, again in one step:
//           an open segment is never empty.
// commit    One fetch-and-add of the segment's word. The commit of the message that closed the
//           segment also adds 2^22 - messages, so `commits` is 2^22 exactly when the segment is
//           closed and every message in it is committed: it is complete.
// take      The consumer, or a logging thread that drops the oldest, claims the oldest segment,
//           once complete, with one compare-and-swap of its slot from {n, segment} to
//           {n + slots, empty}. Claiming and giving the slot back are one step. `head` is only a
//           hint where to look.
//
// Why a thread may sleep at any point.
// - A reservation is in what `tail` said at the instant of the swap. If the same open value has
//   come back after 2^15 segments, the reservation lies in the segment that is open now, at an
//   offset nobody has: correct. That is why the slot is read after the swap: the segment cannot
//   leave its slot before the reservation just made is committed.
// - An opener that slept must neither fill a slot early (with few segments the row would starve)
//   nor open a slot not filled. It fills slot value {n, empty} only after having seen, later than
//   that value, a closed tail whose sequence is n - 1 modulo 2^15. While the slot says {n, empty},
//   the tail is between n - slots and n - 1, and slots < 2^15, so the tail is at n - 1, and stays
//   there until somebody fills the slot. Hence at most one filled slot is not open: the one after
//   the tail.
// - It opens with a swap from a closed value, which holds 48 bits of sequence and so does not come
//   back. (The thread that closed read those bits from the slot before its swap. They are out of
//   date only if it slept through a multiple of 2^15 segments and then still found its value; for
//   harm an opener must have slept through the same stretch, too, also between two instructions.
//   This double coincidence is the remaining risk.)
// - A thread that sleeps between reserve and commit keeps its segment incomplete: the consumer
//   waits for it, later segments fill meanwhile, and in the end reserve answers WEIR_EFULL.
// - No operation waits for another thread. A failed swap means that another thread got on.
//
// WEIR_EFULL can be early by as many segments as other threads are, at that instant, carrying from
// the free stack to a slot (or back, having lost); they hold them for a few instructions, unless
// preempted. Whoever waits for space must therefore also try again by the clock.
//
// Everything lies in one region without a pointer in it, so that it can be a mapped file.
#ifndef WEIR_WRITER_SEGMENT_H
#define WEIR_WRITER_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/cold.h"

// No two words that different threads write for every message share one of these (two cache lines:
// processors prefetch in pairs).
#define WEIR_ROW_LINE_BYTES 128
// A slot names a segment in 16 bits; and the ring of slots is shorter than 2^15, so that a slot one
// lap behind is told from the wanted one by the 15 bits of sequence in the tail.
#define WEIR_ROW_SEGMENTS_MAX 8192
// `messages` has 20 bits in the tail and in the segment word.
#define WEIR_ROW_MESSAGES_MAX ((1u << 20) - 1)
// `bytes` has 28 bits in the tail; the largest message may come on top of that.
#define WEIR_ROW_FLUSH_BYTES_MAX ((1u << 28) - 1)
#define WEIR_ROW_MESSAGE_BYTES_MAX ((1u << 28) - 1)

struct weir_row_options {
    uint32_t flush_limit_bytes;    // a segment that reaches this is closed; 1 or more
    uint32_t message_bytes_max;    // largest message as it goes out, framing included; 1 or more
    uint32_t segment_count;        // 1 to WEIR_ROW_SEGMENTS_MAX
    uint32_t segment_messages_max; // size of a segment's index: 1 to WEIR_ROW_MESSAGES_MAX
};

struct weir_row; // in the region

// Place for one message, held between reserve and commit. Read only for the caller, except that
// `bytes` bytes at `data` are the caller's to write.
struct weir_reservation {
    unsigned char *data;
    uint32_t bytes;
    uint32_t offset;     // of `data` in the segment
    uint32_t message;    // index in the segment
    uint32_t segment;    // physical
    uint64_t tail;       // the row's tail as this reservation left it
    uint32_t free_count; // when `opened`: free segments left now, for the fill mark; otherwise 0
    bool opened;         // this is the segment's first message: weir_row_stamp before commit
    bool closed;         // this message closed the segment: weir_row_stamp before commit
};

// One message's place in its segment.
struct weir_segment_entry {
    uint32_t offset;
    uint32_t bytes; // WEIR_SEGMENT_VOID: taken back by its thread, not sent
};
#define WEIR_SEGMENT_VOID UINT32_MAX

// A taken segment, as plain values pointing into the region. Valid until weir_row_release. Its
// *wire* is what is sent of it: its messages one after the other, without gaps and void messages.
// Positions on the wire run from 0 to wire_bytes.
struct weir_segment {
    const unsigned char *payload;
    const struct weir_segment_entry *entries; // `messages` of them
    const uint32_t *wire_starts; // each message's first wire position; NULL: same as its offset
    uint64_t sequence;           // full; consecutive unless segments were dropped
    uint64_t opened_ns;          // as stamped; 0 if not stamped
    uint64_t sealed_ns;
    uint32_t segment;       // physical
    uint32_t messages;      // void ones included: what was counted as accepted
    uint32_t void_messages; // of these, taken back
    uint32_t bytes;         // gaps included: what was counted as accepted
    uint32_t wire_bytes;    // to be sent
};

// What a logging thread threw away: as accepted, so void messages and gaps are included.
struct weir_row_drop {
    uint64_t opened_ns;
    uint64_t sealed_ns;
    uint64_t sequence;
    uint32_t messages;
    uint32_t void_messages;
    uint32_t bytes;
};

// All that was taken or dropped before the look is in `messages` and `bytes`.
struct weir_row_counts {
    uint64_t messages; // accepted since init: every successful reservation
    // The same in bytes, as far as weir_row_commit cannot give any of them back: without those of
    // the open segment while somebody writes to it, and of a message that closed its segment and is
    // not committed.
    uint64_t bytes;
    uint32_t open_messages; // in the segment now open
    uint32_t open_bytes;    // the same, with all that is reserved
    uint32_t free_count;    // free segments
    bool exact;             // false: a segment was just being closed, messages and bytes may be low
};

// Bytes of region a row with these options needs. Returns 0 if an option is out of bounds.
WEIR_COLD size_t weir_row_region_bytes(const struct weir_row_options *options);
// Makes an empty row in `region`.
// Memory: the caller's, weir_row_region_bytes long, WEIR_ROW_LINE_BYTES-aligned; it need not be
// zeroed, outlives the row, and there is nothing to deinit. Payload and indexes are not touched.
// Threads: none may use the row before init has returned.
WEIR_COLD struct weir_row *weir_row_init(void *region, const struct weir_row_options *options);

// Reserves place for one message of `bytes` bytes (0 is allowed and counts as a message).
// Returns 0; WEIR_EFULL: no free segment; WEIR_ECLOSED: after weir_row_shut; WEIR_ETOOBIG: more
// than message_bytes_max. On an error nothing is held, counted or written to.
// Threads: any number, also against all others below. Every success must be committed, soon.
int weir_row_reserve(struct weir_row *row, uint32_t bytes, struct weir_reservation *reservation);
// Writes `now_ns` as opened and/or sealed time if the reservation is `opened`/`closed`.
// Threads: the holder of the reservation, before its commit.
void weir_row_stamp(struct weir_row *row, const struct weir_reservation *reservation,
                    uint64_t now_ns);
// The full sequence of the reservation's segment. Threads: its holder, before its commit.
uint64_t weir_row_sequence(struct weir_row *row, const struct weir_reservation *reservation);
// Ends the reservation with its first `bytes` bytes as the message, or WEIR_SEGMENT_VOID to take it
// back (it stays counted as accepted, and as void). What is left over is given back to the segment
// if nobody reserved behind it, otherwise it stays as a gap that is not sent.
// Returns true if this completed the segment: there is now something to take (or will be, once the
// segments before it are complete).
bool weir_row_commit(struct weir_row *row, const struct weir_reservation *reservation,
                     uint32_t bytes);

// Closes the open segment, if there is one, so that it can be taken though it is not full.
// Returns true if there was one and this completed it. False may mean that a thread is still
// writing to it; its commit will then report the completion.
// Threads: any (meant for the flush tick).
bool weir_row_seal_open(struct weir_row *row, uint64_t now_ns);
// Closes the open segment, and the row: once this has returned no reservation succeeds. Those held
// are still to be committed and their segments to be taken. Repeating it does nothing.
// Returns as weir_row_seal_open. Threads: any.
WEIR_COLD bool weir_row_shut(struct weir_row *row, uint64_t now_ns);

// Takes the oldest segment if it is complete. Several may be held at a time.
// Returns 1: taken; 0: none is complete now; WEIR_ECLOSED: shut, and everything has been taken.
// Threads: the one consumer.
int weir_row_take(struct weir_row *row, struct weir_segment *segment);
// Gives a taken segment back to be filled anew. Threads: the consumer.
void weir_row_release(struct weir_row *row, const struct weir_segment *segment);
// Throws the oldest segment away if it is complete and not yet taken; then there is a free one.
// Returns 1: dropped, `drop` says what; 0: none (the oldest is still being written, or all taken).
// Threads: any.
int weir_row_drop_oldest(struct weir_row *row, struct weir_row_drop *drop);
// Reads the books without writing to anything. Threads: any.
WEIR_COLD void weir_row_count(const struct weir_row *row, struct weir_row_counts *counts);

// How many messages are in the open segment; looks at nothing else. Threads: any.
uint32_t weir_row_open_messages(const struct weir_row *row);

// The sequence of the oldest segment not yet taken or dropped: all before it are. May lag a little.
// Threads: any.
uint64_t weir_row_first(const struct weir_row *row);
// The sequence of the segment now open, or of the next to be opened. After weir_row_seal_open: all
// that was logged before is in earlier segments. Threads: any.
uint64_t weir_row_position(const struct weir_row *row);
// Whether everything logged so far has been taken or dropped. What the caller wrote before the call
// is seen by every thread whose reservation this call did not see (both are read-modify-writes of
// the tail). Threads: the consumer.
bool weir_row_settle(struct weir_row *row);

// The rest is pure.

// The longest contiguous memory from wire position `position` on; sets *bytes to its length, 0 only
// at the end. It ends at a gap, and so always after a whole message. `position` <= wire_bytes.
const unsigned char *weir_segment_run(const struct weir_segment *segment, uint32_t position,
                                      uint32_t *bytes);
// Which message the wire byte at `position` belongs to; sets *start to that message's first wire
// position: where to resume on a new connection. At position == wire_bytes: `messages`, and
// *start = wire_bytes. Binary search.
uint32_t weir_segment_locate(const struct weir_segment *segment, uint32_t position,
                             uint32_t *start);
// How many messages, void ones not counted, end at or before wire position `position`. Binary
// search, or linear if the segment has void messages.
uint32_t weir_segment_messages_within(const struct weir_segment *segment, uint32_t position);

#endif
