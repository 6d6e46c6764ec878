// Segments in transit: taken from the row, being sent, and kept until they are confirmed.
//
// Positions are bytes on the wire, counted over the writer's whole life and over all connections,
// each message once:
//
//     confirmed <= sent <= end         start <= sent <= limit
//
// `end` is where the last taken segment ends, `sent` what goes out next, `start` where the present
// connection began, always at the start of a message. After a break `sent` goes back to the first
// message that is not wholly confirmed; `sent_max` remembers how far it had been, so that what is
// sent again is counted. Messages void or zero bytes long occupy no wire.
//
// Threads: the writer's task alone.
#ifndef WEIR_WRITER_TRANSIT_H
#define WEIR_WRITER_TRANSIT_H

#include "writer/metrics.h"
#include "writer/segment.h"

struct weir_transit_segment {
    struct weir_segment segment;
    uint64_t base; // wire position of its first byte
};

struct weir_transit {
    struct weir_row *row;
    struct weir_counters *counters;
    struct weir_transit_segment *ring; // of `capacity` = the row's segment_count
    uint32_t capacity, first, count;
    uint32_t sending; // how many of the ring's segments are wholly sent
    uint32_t counted; // messages of the first segment already counted as confirmed
    uint64_t start, sent, sent_max, confirmed, end;
    uint64_t limit; // sending stops here for now: the epoch's end (epoch.h); UINT64_MAX: nowhere
};

// memory   `ring` is the caller's, segment_count long.
void weir_transit_init(struct weir_transit *transit, struct weir_row *row,
                       struct weir_counters *counters, struct weir_transit_segment *ring,
                       uint32_t segment_count);

// Takes complete segments while fewer than window_bytes are unsent.
//   returns  how many; WEIR_ECLOSED: the row is shut and nothing more will ever come.
int weir_transit_take(struct weir_transit *transit, uint64_t window_bytes, uint64_t now_ns);

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

// A new connection begins: back to the first message not wholly confirmed.
void weir_transit_rewind(struct weir_transit *transit);

// Drops the message at `sent`, which the datagram socket will never take.
void weir_transit_skip(struct weir_transit *transit, uint64_t now_ns);

// Drops everything still unconfirmed, for `reason`.
//   returns  messages dropped.
uint64_t weir_transit_drop(struct weir_transit *transit, enum weir_dropping reason);

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

// The sequence of the oldest segment held, or `none` when nothing is.
static inline uint64_t weir_transit_first(const struct weir_transit *transit, uint64_t none)
{
    return transit->count == 0 ? none : transit->ring[transit->first].segment.sequence;
}

#endif
