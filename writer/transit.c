// Segments between the row and confirmation.
#include "writer/transit.h"

#include <string.h>

#include "runtime/assert.h"
#include "runtime/cold.h"

void weir_transit_init(struct weir_transit *transit, struct weir_row *row,
                       struct weir_counters *counters, struct weir_transit_segment *ring,
                       uint32_t segment_count)
{
    memset(transit, 0, sizeof(*transit));
    transit->row = row;
    transit->counters = counters;
    transit->ring = ring;
    transit->capacity = segment_count;
    transit->taken = weir_row_first(row);
    transit->limit = UINT64_MAX;
}

static struct weir_transit_segment *ring_at(const struct weir_transit *transit, uint32_t index)
{
    weir_assert(index < transit->count);
    return &transit->ring[(transit->first + index) % transit->capacity];
}

static uint64_t segment_end(const struct weir_transit_segment *held)
{
    return held->base + held->segment.wire_bytes;
}

static void transit_show(struct weir_transit *transit)
{
    weir_books_show(&transit->counters->books, &transit->books);
}

static uint32_t messages_live(const struct weir_segment *segment)
{
    return segment->messages - segment->void_messages;
}

// Passes over the segments that are wholly sent, empty ones included.
static void transit_pass_sent(struct weir_transit *transit)
{
    while (transit->sending < transit->count &&
           segment_end(ring_at(transit, transit->sending)) <= transit->sent) {
        transit->sending++;
    }
}

// ---- Confirming ----

// Counts the first segment's messages up to `messages` of the live ones, in `bytes` of wire.
static void transit_count_confirmed(struct weir_transit *transit, uint32_t messages, uint64_t bytes)
{
    struct weir_books *books = &transit->books;
    weir_assert(messages >= transit->counted);
    uint32_t count = messages - transit->counted;
    transit->counted = messages;
    books->confirmed_messages += count;
    books->confirmed_bytes += bytes;
    books->transit_messages -= count;
    books->transit_bytes -= bytes;
}

static void transit_pop(struct weir_transit *transit)
{
    weir_row_release(transit->row, &ring_at(transit, 0)->segment);
    transit->first = (transit->first + 1) % transit->capacity;
    transit->count--;
    if (transit->kept > 0) {
        transit->kept--;
    }
    if (transit->sending > 0) {
        transit->sending--;
    }
}

// Lets go of what is kept beyond what a replay needs, or beyond a quarter of the segments; but not
// of what is just being sent once more.
static void transit_trim(struct weir_transit *transit)
{
    while (transit->kept > 0) {
        uint64_t end = segment_end(ring_at(transit, 0));
        bool due = transit->confirmed - end >= transit->replay_bytes ||
                   transit->kept > transit->capacity / 4;
        if (!due || end > transit->sent) {
            break;
        }
        transit_pop(transit);
    }
}

static void transit_confirm(struct weir_transit *transit, uint64_t position, uint64_t now_ns)
{
    uint64_t from = transit->confirmed;
    transit->confirmed = position;
    if (transit->mark.state == WEIR_MARK_HELD && transit->mark.end <= position) {
        transit->mark.state = WEIR_MARK_CONFIRMED;
    }
    while (weir_transit_held(transit) > 0) {
        const struct weir_transit_segment *held = ring_at(transit, transit->kept);
        uint64_t end = segment_end(held);
        uint64_t reached = position < end ? position : end;
        if (reached < from || reached < held->base) {
            break;
        }
        uint32_t within = (uint32_t)(reached - held->base);
        uint32_t messages = reached == end ? messages_live(&held->segment)
                                           : weir_segment_messages_within(&held->segment, within);
        transit_count_confirmed(transit, messages, reached - from);
        from = reached;
        if (reached < end) {
            break;
        }
        if (now_ns > held->segment.opened_ns) {
            weir_histogram_add(&transit->counters->message_processing,
                               now_ns - held->segment.opened_ns);
        }
        transit->counted = 0;
        transit->kept++;
    }
    transit_trim(transit);
}

// ---- Taking ----

void weir_transit_mark(struct weir_transit *transit, uint64_t sequence, uint32_t message)
{
    transit->mark = (struct weir_mark){WEIR_MARK_AHEAD, message, sequence, 0};
}

// Where the marked message ends, if this is its segment.
static void transit_push_mark(struct weir_transit *transit, const struct weir_segment *segment)
{
    struct weir_mark *mark = &transit->mark;
    if (mark->state == WEIR_MARK_AHEAD && mark->sequence == segment->sequence) {
        const struct weir_segment_entry *entry = &segment->entries[mark->message];
        const uint32_t *starts = segment->wire_starts;
        uint32_t start = starts == NULL ? entry->offset : starts[mark->message];
        weir_assert(mark->message < segment->messages && entry->bytes != WEIR_SEGMENT_VOID);
        mark->state = WEIR_MARK_HELD;
        mark->end = transit->end + start + entry->bytes;
    }
}

static void transit_push(struct weir_transit *transit, const struct weir_segment *segment,
                         uint64_t now_ns)
{
    weir_assert(transit->count < transit->capacity);
    struct weir_books *books = &transit->books;
    transit->taken++;
    transit->count++;
    *ring_at(transit, transit->count - 1) = (struct weir_transit_segment){*segment, transit->end};
    transit_push_mark(transit, segment);
    transit->end += segment->wire_bytes;
    transit_pass_sent(transit);
    books->taken_messages += segment->messages;
    books->taken_bytes += segment->bytes;
    books->transit_messages += messages_live(segment);
    books->transit_bytes += segment->wire_bytes;
    books->dropped_messages[WEIR_DROPPED_ABANDONED] += segment->void_messages;
    books->dropped_bytes[WEIR_DROPPED_ABANDONED] += segment->bytes - segment->wire_bytes;
    if (now_ns > segment->sealed_ns) {
        weir_histogram_add(&transit->counters->buffer_await, now_ns - segment->sealed_ns);
    }
}

int weir_transit_take(struct weir_transit *transit, uint64_t window_bytes, uint64_t now_ns)
{
    int count = 0;
    while (transit->end - transit->sent < window_bytes) {
        struct weir_segment segment;
        int taken = weir_row_take(transit->row, &segment);
        if (taken <= 0) {
            count = taken == WEIR_ECLOSED && count == 0 ? WEIR_ECLOSED : count;
            break;
        }
        transit_push(transit, &segment, now_ns);
        count++;
    }
    if (count > 0) {
        transit_confirm(transit, transit->confirmed, now_ns); // segments without wire bytes
        transit_show(transit);
    }
    return count;
}

// ---- Sending ----

size_t weir_transit_gather(const struct weir_transit *transit, struct weir_iovec *parts,
                           size_t parts_max, size_t bytes_max)
{
    size_t count = 0;
    uint64_t position = transit->sent;
    uint64_t end = transit->limit < transit->end ? transit->limit : transit->end;
    uint64_t limit = end - position < bytes_max ? end : position + bytes_max;
    for (uint32_t i = transit->sending; i < transit->count && count < parts_max; i++) {
        const struct weir_transit_segment *held = ring_at(transit, i);
        while (position < segment_end(held) && position < limit && count < parts_max) {
            uint32_t bytes;
            const unsigned char *run =
                weir_segment_run(&held->segment, (uint32_t)(position - held->base), &bytes);
            weir_assert(bytes > 0);
            uint64_t part = limit - position < bytes ? limit - position : bytes;
            parts[count++] = (struct weir_iovec){run, part};
            position += part;
        }
    }
    return count;
}

bool weir_transit_message(const struct weir_transit *transit, struct weir_iovec *part)
{
    if (!weir_transit_unsent(transit)) {
        return false;
    }
    const struct weir_transit_segment *held = ring_at(transit, transit->sending);
    uint32_t start;
    uint32_t index =
        weir_segment_locate(&held->segment, (uint32_t)(transit->sent - held->base), &start);
    weir_assert(held->base + start == transit->sent);
    const struct weir_segment_entry *entry = &held->segment.entries[index];
    *part = (struct weir_iovec){held->segment.payload + entry->offset, entry->bytes};
    return true;
}

// Messages of the segment that start before wire position `position` of it.
static uint32_t messages_started(const struct weir_segment *segment, uint32_t position)
{
    uint32_t start;
    uint32_t ended = weir_segment_messages_within(segment, position);
    (void)weir_segment_locate(segment, position, &start);
    return ended + (start < position ? 1 : 0);
}

// Counts the messages whose first byte lies in [from, to): they go out a second time.
WEIR_COLD static void transit_count_resent(struct weir_transit *transit, uint64_t from, uint64_t to)
{
    uint64_t messages = 0;
    for (uint32_t i = 0; i < transit->count; i++) {
        const struct weir_transit_segment *held = ring_at(transit, i);
        if (held->base >= to) {
            break;
        }
        if (segment_end(held) <= from) {
            continue;
        }
        uint64_t last = to < segment_end(held) ? to - held->base : held->segment.wire_bytes;
        uint64_t first = from > held->base ? from - held->base : 0;
        messages += messages_started(&held->segment, (uint32_t)last);
        messages -= first == 0 ? 0 : messages_started(&held->segment, (uint32_t)first);
    }
    weir_counter_add(&transit->counters->resent_messages, messages);
    weir_counter_add(&transit->counters->resent_bytes, to - from);
}

void weir_transit_sent(struct weir_transit *transit, uint64_t bytes)
{
    uint64_t sent = transit->sent + bytes;
    weir_assert(sent <= transit->end && sent <= transit->limit);
    if (transit->sent < transit->sent_max) {
        uint64_t again = sent < transit->sent_max ? sent : transit->sent_max;
        transit_count_resent(transit, transit->sent, again);
    }
    transit->sent = sent;
    if (sent > transit->sent_max) {
        transit->sent_max = sent;
    }
    transit_pass_sent(transit);
    transit_trim(transit);
}

void weir_transit_confirm(struct weir_transit *transit, uint64_t position, uint64_t now_ns)
{
    weir_assert(position <= transit->sent_max);
    if (position > transit->confirmed) {
        transit_confirm(transit, position, now_ns);
        transit_show(transit);
    }
}

// Where a replay begins: at a message, not further back than is kept.
static uint64_t transit_replay_start(const struct weir_transit *transit)
{
    uint64_t kept = transit->confirmed - ring_at(transit, 0)->base;
    uint64_t bytes = kept < transit->replay_bytes ? kept : transit->replay_bytes;
    return weir_transit_boundary(transit, transit->confirmed - bytes);
}

void weir_transit_rewind(struct weir_transit *transit, bool replay)
{
    uint64_t position = transit->confirmed;
    if (weir_transit_held(transit) > 0) {
        const struct weir_transit_segment *held = ring_at(transit, transit->kept);
        uint32_t start;
        weir_assert(held->base <= position);
        (void)weir_segment_locate(&held->segment, (uint32_t)(position - held->base), &start);
        position = held->base + start;
    }
    if (replay && transit->count > 0) {
        uint64_t earlier = transit_replay_start(transit);
        position = earlier < position ? earlier : position;
    }
    transit->start = position;
    transit->sent = position;
    transit->limit = UINT64_MAX;
    transit->sending = 0;
    transit_pass_sent(transit);
}

uint64_t weir_transit_boundary(const struct weir_transit *transit, uint64_t position)
{
    weir_assert(position <= transit->end);
    for (uint32_t i = 0; i < transit->count; i++) {
        const struct weir_transit_segment *held = ring_at(transit, i);
        if (position >= segment_end(held)) {
            continue;
        }
        uint32_t start;
        uint32_t message =
            weir_segment_locate(&held->segment, (uint32_t)(position - held->base), &start);
        bool here = held->base + start == position;
        return here ? position : held->base + start + held->segment.entries[message].bytes;
    }
    return transit->end;
}

uint64_t weir_transit_next(const struct weir_transit *transit, uint64_t none)
{
    return transit->sending < transit->count ? ring_at(transit, transit->sending)->segment.sequence
                                             : none;
}

bool weir_transit_frame(const struct weir_transit *transit, uint64_t position,
                        unsigned char **frame, uint32_t *bytes)
{
    for (uint32_t i = 0; i < transit->count; i++) {
        const struct weir_transit_segment *held = ring_at(transit, i);
        if (position >= segment_end(held)) {
            continue;
        }
        uint32_t start;
        uint32_t index =
            weir_segment_locate(&held->segment, (uint32_t)(position - held->base), &start);
        const struct weir_segment_entry *entry = &held->segment.entries[index];
        weir_assert(held->base + start == position);
        // The segment is the writer's alone until it is released.
        *frame = (unsigned char *)(uintptr_t)held->segment.payload + entry->offset;
        *bytes = entry->bytes;
        return true;
    }
    return false;
}

// ---- Dropping ----

// Drops the first unconfirmed message, which was sent and ends at `end`.
static void transit_drop_first(struct weir_transit *transit, uint64_t end,
                               enum weir_dropping reason, uint64_t now_ns)
{
    struct weir_books *books = &transit->books;
    uint64_t bytes = end - transit->confirmed;
    if (transit->mark.state == WEIR_MARK_HELD && transit->mark.end == end) {
        transit->mark.state = WEIR_MARK_DROPPED;
    }
    transit_confirm(transit, end, now_ns);
    books->confirmed_messages--; // that was not a confirmation
    books->confirmed_bytes -= bytes;
    books->dropped_messages[reason]++;
    books->dropped_bytes[reason] += bytes;
    transit_show(transit);
}

void weir_transit_skip(struct weir_transit *transit, uint64_t now_ns)
{
    struct weir_iovec part;
    bool some = weir_transit_message(transit, &part);
    weir_assert(some && transit->confirmed == transit->sent && transit->sending == 0);
    weir_transit_sent(transit, part.bytes_count);
    transit_drop_first(transit, transit->sent, WEIR_DROPPED_UNSENDABLE, now_ns);
}

void weir_transit_refuse(struct weir_transit *transit, uint64_t end, uint64_t now_ns)
{
    weir_assert(transit->confirmed < end && end <= transit->sent);
    transit_drop_first(transit, end, WEIR_DROPPED_REFUSED, now_ns);
}

uint64_t weir_transit_drop(struct weir_transit *transit, enum weir_dropping reason)
{
    uint64_t dropped = 0;
    struct weir_books *books = &transit->books;
    if (transit->mark.state == WEIR_MARK_HELD) {
        transit->mark.state = WEIR_MARK_DROPPED;
    }
    while (transit->kept > 0) {
        transit_pop(transit);
    }
    while (transit->count > 0) {
        const struct weir_transit_segment *held = ring_at(transit, 0);
        uint64_t from = transit->confirmed > held->base ? transit->confirmed : held->base;
        uint64_t bytes = segment_end(held) - from;
        uint32_t messages = messages_live(&held->segment) - transit->counted;
        dropped += messages;
        books->dropped_messages[reason] += messages;
        books->dropped_bytes[reason] += bytes;
        books->transit_messages -= messages;
        books->transit_bytes -= bytes;
        transit->counted = 0;
        transit_pop(transit);
    }
    transit_show(transit);
    transit->sent = transit->sent_max = transit->confirmed = transit->end;
    transit->limit = UINT64_MAX;
    return dropped;
}
