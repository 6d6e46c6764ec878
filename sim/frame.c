// The collectors' own parser of frames.
#include "sim/frame.h"

#include <string.h>

#include "sim/message.h"

// Digits of a length that fits in 32 bits.
#define LENGTH_DIGITS_MAX 9
#define LENGTH_KNOWN (LENGTH_DIGITS_MAX + 1) // as the count of digits
#define TIMESTAMP_BYTES 27                   // YYYY-MM-DDThh:mm:ss.uuuuuuZ

void sim_frame_init(struct sim_frame *frame, enum weir_framing framing, unsigned char *bytes,
                    uint32_t bytes_max)
{
    *frame = (struct sim_frame){.framing = framing, .bytes = bytes, .bytes_max = bytes_max};
    sim_relp_frame_init(&frame->relp, bytes, bytes_max, bytes_max);
}

void sim_frame_next(struct sim_frame *frame)
{
    frame->count = 0;
    frame->expected = 0;
    frame->digits = 0;
    sim_relp_frame_next(&frame->relp);
}

bool sim_frame_inside(const struct sim_frame *frame)
{
    return frame->count > 0 || frame->digits > 0 || frame->expected > 0 ||
           sim_relp_frame_inside(&frame->relp);
}

bool sim_frame_inside_message(const struct sim_frame *frame)
{
    return frame->framing == WEIR_FRAMING_RELP ? sim_relp_frame_is(&frame->relp, "syslog")
                                               : sim_frame_inside(frame);
}

static bool frame_keep(struct sim_frame *frame, const unsigned char *bytes, size_t count)
{
    if (count > frame->bytes_max - frame->count) {
        return false;
    }
    memcpy(frame->bytes + frame->count, bytes, count);
    frame->count += (uint32_t)count;
    return true;
}

static enum sim_frame_result feed_newline(struct sim_frame *frame, const unsigned char *bytes,
                                          size_t count, size_t *used)
{
    const unsigned char *end = memchr(bytes, '\n', count);
    size_t record = end != NULL ? (size_t)(end - bytes) : count;
    *used = end != NULL ? record + 1 : count;
    if (!frame_keep(frame, bytes, record)) {
        return SIM_FRAME_BAD;
    }
    return end != NULL ? SIM_FRAME_WHOLE : SIM_FRAME_MORE;
}

static enum sim_frame_result feed_expected(struct sim_frame *frame, const unsigned char *bytes,
                                           size_t count, size_t *used)
{
    size_t wanted = frame->expected - frame->count;
    size_t part = wanted < count ? wanted : count;
    *used += part;
    if (!frame_keep(frame, bytes, part)) {
        return SIM_FRAME_BAD;
    }
    return part == wanted ? SIM_FRAME_WHOLE : SIM_FRAME_MORE;
}

static enum sim_frame_result feed_octets(struct sim_frame *frame, const unsigned char *bytes,
                                         size_t count, size_t *used)
{
    *used = 0;
    while (frame->digits != LENGTH_KNOWN) {
        if (*used == count) {
            return SIM_FRAME_MORE;
        }
        unsigned char c = bytes[(*used)++];
        if (c == ' ' && frame->digits > 0) {
            frame->digits = LENGTH_KNOWN;
            break;
        }
        bool digit = c >= '0' && c <= '9' && !(c == '0' && frame->digits == 0);
        if (!digit || frame->digits == LENGTH_DIGITS_MAX) {
            return SIM_FRAME_BAD;
        }
        frame->expected = frame->expected * 10 + (uint32_t)(c - '0');
        frame->digits++;
    }
    if (frame->expected > frame->bytes_max) {
        return SIM_FRAME_BAD;
    }
    return feed_expected(frame, bytes + *used, count - *used, used);
}

// The message's head has its length in a fixed place.
static enum sim_frame_result feed_raw(struct sim_frame *frame, const unsigned char *bytes,
                                      size_t count, size_t *used)
{
    *used = 0;
    if (frame->expected == 0) {
        size_t wanted = SIM_MESSAGE_BYTES_MIN - frame->count;
        size_t part = wanted < count ? wanted : count;
        *used = part;
        struct sim_message message;
        if (!frame_keep(frame, bytes, part)) {
            return SIM_FRAME_BAD;
        }
        if (part < wanted) {
            return SIM_FRAME_MORE;
        }
        if (!sim_message_head(frame->bytes, frame->count, &message) ||
            message.bytes > frame->bytes_max) {
            return SIM_FRAME_BAD;
        }
        frame->expected = message.bytes;
    }
    return feed_expected(frame, bytes + *used, count - *used, used);
}

// Whether the frame that is whole may be the next one of its connection.
static bool relp_follows(const struct sim_frame *frame, enum sim_frame_use use)
{
    uint32_t next = frame->number == SIM_RELP_NUMBER_MAX ? 1 : frame->number + 1;
    bool ended = frame->opened && frame->use == SIM_FRAME_CLOSE;
    return frame->relp.number == next && !ended && frame->opened == (use != SIM_FRAME_OPEN);
}

static enum sim_frame_result feed_relp(struct sim_frame *frame, const unsigned char *bytes,
                                       size_t count, size_t *used)
{
    static const char *const commands[] = {"open", "syslog", "close"};
    enum sim_relp_result result = sim_relp_frame_feed(&frame->relp, bytes, count, used);
    if (result != SIM_RELP_WHOLE) {
        return result == SIM_RELP_MORE ? SIM_FRAME_MORE : SIM_FRAME_BAD;
    }
    enum sim_frame_use use = SIM_FRAME_OPEN;
    while (use <= SIM_FRAME_CLOSE && !sim_relp_frame_is(&frame->relp, commands[use])) {
        use++;
    }
    if (use > SIM_FRAME_CLOSE || !relp_follows(frame, use)) {
        return SIM_FRAME_BAD;
    }
    frame->use = use;
    frame->number = frame->relp.number;
    frame->opened = true;
    frame->count = frame->relp.count;
    return SIM_FRAME_WHOLE;
}

enum sim_frame_result sim_frame_feed(struct sim_frame *frame, const unsigned char *bytes,
                                     size_t count, size_t *used)
{
    *used = 0;
    if (count == 0) {
        return SIM_FRAME_MORE;
    }
    switch (frame->framing) {
    case WEIR_FRAMING_NEWLINE: return feed_newline(frame, bytes, count, used);
    case WEIR_FRAMING_OCTET_COUNTING: return feed_octets(frame, bytes, count, used);
    case WEIR_FRAMING_RAW: return feed_raw(frame, bytes, count, used);
    case WEIR_FRAMING_RELP: return feed_relp(frame, bytes, count, used);
    }
    return SIM_FRAME_BAD;
}

// ---- Records ----

// The position after the next blank; 0: there is none, or nothing before it.
static size_t field_end(const unsigned char *bytes, size_t from, size_t count)
{
    const unsigned char *blank = from < count ? memchr(bytes + from, ' ', count - from) : NULL;
    if (blank == NULL || blank == bytes + from) {
        return 0;
    }
    return (size_t)(blank - bytes) + 1;
}

// RFC 5424 section 6: <PRI>1 TIMESTAMP HOSTNAME APP-NAME PROCID MSGID STRUCTURED-DATA MSG
size_t sim_frame_header(const unsigned char *bytes, size_t count)
{
    size_t at = 1;
    uint32_t priority = 0;
    if (count < 8 || bytes[0] != '<') {
        return 0;
    }
    for (; at < 4 && bytes[at] >= '0' && bytes[at] <= '9'; at++) {
        priority = priority * 10 + (uint32_t)(bytes[at] - '0');
    }
    if (at == 1 || priority > 191 || memcmp(bytes + at, ">1 ", 3) != 0) {
        return 0;
    }
    at += 3;
    if (field_end(bytes, at, count) != at + TIMESTAMP_BYTES + 1) {
        return 0;
    }
    for (uint32_t field = 0; field < 5; field++) { // up to and with MSGID
        at = field_end(bytes, at, count);
        if (at == 0) {
            return 0;
        }
    }
    if (count - at < 2 || memcmp(bytes + at, "- ", 2) != 0) {
        return 0;
    }
    return at + 2;
}

static const unsigned char *gap_number(const unsigned char *at, const unsigned char *end,
                                       uint64_t *value)
{
    const unsigned char *from = at;
    *value = 0;
    for (; at < end && *at >= '0' && *at <= '9'; at++) {
        *value = *value * 10 + (uint64_t)(*at - '0');
    }
    return at == from ? NULL : at;
}

static const unsigned char *gap_text(const unsigned char *at, const unsigned char *end,
                                     const char *text)
{
    size_t bytes = strlen(text);
    if (at == NULL || (size_t)(end - at) < bytes || memcmp(at, text, bytes) != 0) {
        return NULL;
    }
    return at + bytes;
}

static const unsigned char *gap_time(const unsigned char *at, const unsigned char *end)
{
    if (at == NULL || end - at < TIMESTAMP_BYTES || at[TIMESTAMP_BYTES - 1] != 'Z') {
        return NULL;
    }
    return at + TIMESTAMP_BYTES;
}

bool sim_frame_gap(const unsigned char *bytes, size_t count, uint64_t *messages,
                   uint64_t *bytes_dropped)
{
    const unsigned char *end = bytes + count;
    const unsigned char *at = gap_text(bytes, end, "weir: ");
    at = at == NULL ? NULL : gap_number(at, end, messages);
    at = gap_text(at, end, " messages, ");
    at = at == NULL ? NULL : gap_number(at, end, bytes_dropped);
    at = gap_text(at, end, " bytes dropped between ");
    at = gap_time(at, end);
    at = gap_text(at, end, " and ");
    at = gap_time(at, end);
    return at == end;
}
