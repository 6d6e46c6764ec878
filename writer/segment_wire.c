// A taken segment's wire: finding messages and contiguous memory by position. Pure.
#include "runtime/assert.h"
#include "writer/segment.h"

static uint32_t segment_start(const struct weir_segment *segment, uint32_t message)
{
    if (message == segment->messages) {
        return segment->wire_bytes;
    }
    return segment->wire_starts != NULL ? segment->wire_starts[message]
                                        : segment->entries[message].offset;
}

uint32_t weir_segment_locate(const struct weir_segment *segment, uint32_t position, uint32_t *start)
{
    weir_assert(position <= segment->wire_bytes);
    if (position == segment->wire_bytes) {
        *start = segment->wire_bytes;
        return segment->messages;
    }
    // The last message starting at or before `position`: empty ones that start there come earlier.
    uint32_t low = 0;
    uint32_t high = segment->messages;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (segment_start(segment, middle) <= position) {
            low = middle;
        } else {
            high = middle;
        }
    }
    *start = segment_start(segment, low);
    weir_assert(*start <= position && position < segment_start(segment, low + 1));
    return low;
}

const unsigned char *weir_segment_run(const struct weir_segment *segment, uint32_t position,
                                      uint32_t *bytes)
{
    uint32_t start;
    uint32_t message = weir_segment_locate(segment, position, &start);
    if (segment->wire_starts == NULL || message == segment->messages) {
        *bytes = segment->wire_bytes - position;
        return segment->payload + position;
    }
    uint32_t from = segment->entries[message].offset + (position - start);
    uint32_t end = segment->entries[message].offset + segment->entries[message].bytes;
    for (uint32_t i = message + 1; i < segment->messages; i++) {
        const struct weir_segment_entry *entry = &segment->entries[i];
        if (entry->bytes == 0 || entry->bytes == WEIR_SEGMENT_VOID) {
            continue;
        }
        if (entry->offset != end) {
            break;
        }
        end += entry->bytes;
    }
    *bytes = end - from;
    weir_assert(*bytes > 0);
    return segment->payload + from;
}

uint32_t weir_segment_messages_within(const struct weir_segment *segment, uint32_t position)
{
    weir_assert(position <= segment->wire_bytes);
    if (segment->void_messages != 0) {
        uint32_t count = 0;
        for (uint32_t i = 0; i < segment->messages; i++) {
            count += segment->entries[i].bytes != WEIR_SEGMENT_VOID &&
                     segment_start(segment, i + 1) <= position;
        }
        return count;
    }
    uint32_t low = 0;
    uint32_t high = segment->messages;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (segment_start(segment, middle + 1) <= position) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}
