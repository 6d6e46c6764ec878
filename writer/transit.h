// Segments in transit: taken from the row, being sent, and kept until they are confirmed.
//
// Positions are bytes on the wire, counted over the writer's whole life and over all connections,
// each message once:
//
//     confirmed <= sent_max <= end     start <= sent <= limit, sent_max
//
// `end` is where the last taken segment ends, `sent` what goes out next, `start` where the present
// connection began, always at the start of a message. After a break `sent` goes back to the first
// message that is not wholly confirmed; `sent_max` remembers how far it had been, so that what is
// sent again is counted. Messages void or zero bytes long occupy no wire.
//
// Replays. The newest `replay_bytes` of what is confirmed are kept, in at most a quarter of the
// segments, so that after a reset they can be sent once more. Then `sent` is below `confirmed` for
// a while; the books are not touched by it.
//
// Threads: the writer's task alone.
#ifndef WEIR_WRITER_TRANSIT_H
#define WEIR_WRITER_TRANSIT_H

#include "runtime/cold.h"
#include "writer/metrics.h"
#include "writer/segment.h"

struct weir_transit_segment {
    struct weir_segment segment;
    uint64_t base; // wire position of its first byte
};

// The one message whose fate is watched: the gap record under way (append.c).
enum weir_mark_state {
    WEIR_MARK_NONE,
    WEIR_MARK_AHEAD, // not taken from the row so far
    WEIR_MARK_HELD,
    WEIR_MARK_CONFIRMED,
    WEIR_MARK_DROPPED
};
struct weir_mark {
    enum weir_mark_state state;
    uint32_t message;  // index in its segment
    uint64_t sequence; // of its segment
    uint64_t end;      // on the wire, once it is held
};

struct weir_transit {
    struct weir_row *row;
    struct weir_counters *counters;
    struct weir_books books;           // shown in the counters after each step below
    struct weir_transit_segment *ring; // of `capacity` = the row's segment_count
    uint32_t capacity, first, count;
    uint32_t sending; // how many of the ring's segments are wholly sent
    uint32_t kept;    // how many, from the first, are confirmed and kept for a replay
    uint32_t counted; // messages of the first of the others already counted as confirmed
    struct weir_mark mark;
    uint64_t taken; // the row's first sequence number when it was new, and one per segment taken
    uint64_t start, sent, sent_max, confirmed, end;
    uint64_t replay_bytes; // of what is confirmed, so much is kept; the owner's to set
    uint64_t limit; // sending stops here for now: the epoch's end (epoch.h); UINT64_MAX: nowhere
};

// memory   `ring` is the caller's, segment_count long.
WEIR_COLD void weir_transit_init(struct weir_transit *transit, struct weir_row *row,
                                 struct weir_counters *counters, struct weir_transit_segment *ring,
                                 uint32_t segment_count);

// Takes complete segments while fewer than window_bytes are unsent.
//   returns  how many; WEIR_ECLOSED: the row is shut and nothing more will ever come.
int weir_transit_take(struct weir_transit *transit, uint64_t window_bytes, uint64_t now_ns);

// Watches the message of this index in the segment of this sequence, which is in the row.
WEIR_COLD void weir_transit_mark(struct weir_transit *transit, uint64_t sequence, uint32_t message);

// Lists up to bytes_max bytes from `sent` on as parts for one send; the last part may be cut short.
//   returns  the number of parts.
size_t weir_transit_gather(const struct weir_transit *transit, struct weir_iovec *parts,
                           size_t parts_max, size_t bytes_max);
// The one message at `sent`, for datagrams. false: nothing is unsent.
bool weir_transit_message(const struct weir_transit *transit, struct weir_iovec *part);
// The kernel took so many bytes.
void weir_transit_sent(struct weir_transit *transit, uint64_t bytes);

// Everything before `position` is confirmed; earlier positions than the last change nothing.
void weir_transit_confirm(struct weir_transit *transit, uint64_t position, uint64_t now_ns);

// The first message that is not confirmed, which ends at `end`, is dropped: the collector refused
// it.
WEIR_COLD void weir_transit_refuse(struct weir_transit *transit, uint64_t end, uint64_t now_ns);

// The message whose frame begins at wire position `position`; the frame may be written to.
//   returns  false: none that was taken begins there.
bool weir_transit_frame(const struct weir_transit *transit, uint64_t position,
                        unsigned char **frame, uint32_t *bytes);

// A new connection begins: back to the first message not wholly confirmed, or for a replay to the
// first that begins in what is kept.
WEIR_COLD void weir_transit_rewind(struct weir_transit *transit, bool replay);

// Drops the message at `sent`, which the datagram socket will never take.
WEIR_COLD void weir_transit_skip(struct weir_transit *transit, uint64_t now_ns);

// Drops everything still unconfirmed, for `reason`.
//   returns  messages dropped.
WEIR_COLD uint64_t weir_transit_drop(struct weir_transit *transit, enum weir_dropping reason);

// Where the first message begins that begins at or after `position`, which is at most `end`.
uint64_t weir_transit_boundary(const struct weir_transit *transit, uint64_t position);

// The sequence of the segment that goes out next; `none` when all that was taken is sent.
uint64_t weir_transit_next(const struct weir_transit *transit, uint64_t none);

static inline bool weir_transit_unsent(const struct weir_transit *transit)
{
    return transit->sent < transit->end && transit->sent < transit->limit;
}

static inline bool weir_transit_unconfirmed(const struct weir_transit *transit)
{
    return transit->confirmed < transit->sent;
}

// How many segments hold something that is not confirmed.
static inline uint32_t weir_transit_held(const struct weir_transit *transit)
{
    return transit->count - transit->kept;
}

// The sequence of the oldest of them, or `none` when there is none.
static inline uint64_t weir_transit_first(const struct weir_transit *transit, uint64_t none)
{
    uint32_t index = (transit->first + transit->kept) % transit->capacity;
    return weir_transit_held(transit) == 0 ? none : transit->ring[index].segment.sequence;
}

#endif
