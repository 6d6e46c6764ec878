// RELP frames: a parser that takes them in any pieces.
#include "sim/relp_frame.h"

#include <string.h>

#define DIGITS_MAX 9

void sim_relp_frame_init(struct sim_relp_frame *frame, unsigned char *bytes, uint32_t bytes_max,
                         uint32_t length_max)
{
    *frame = (struct sim_relp_frame){
        .bytes = bytes, .bytes_max = bytes == NULL ? 0 : bytes_max, .length_max = length_max};
}

void sim_relp_frame_next(struct sim_relp_frame *frame)
{
    frame->stage = SIM_RELP_NUMBER;
    frame->digits = frame->number = frame->length = frame->count = frame->command_bytes = 0;
    frame->command[0] = '\0';
}

bool sim_relp_frame_inside(const struct sim_relp_frame *frame)
{
    return frame->stage != SIM_RELP_NUMBER || frame->digits > 0;
}

bool sim_relp_frame_is(const struct sim_relp_frame *frame, const char *command)
{
    return frame->stage >= SIM_RELP_LENGTH && strcmp(frame->command, command) == 0;
}

uint32_t sim_relp_frame_code(const struct sim_relp_frame *frame)
{
    uint32_t code = 0;
    for (uint32_t i = 0; i < 3; i++) {
        if (i >= frame->length || i >= frame->bytes_max || frame->bytes[i] < '0' ||
            frame->bytes[i] > '9') {
            return 0;
        }
        code = code * 10 + (uint32_t)(frame->bytes[i] - '0');
    }
    return code;
}

// One more digit of a number.  returns  false: it is none, or one too many.
static bool frame_digit(struct sim_relp_frame *frame, unsigned char c, uint32_t *number)
{
    if (c < '0' || c > '9' || frame->digits == DIGITS_MAX) {
        return false;
    }
    frame->digits++;
    *number = *number * 10 + (uint32_t)(c - '0');
    return true;
}

static bool frame_letter(struct sim_relp_frame *frame, unsigned char c)
{
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (!letter || frame->command_bytes == SIM_RELP_COMMAND_BYTES_MAX) {
        return false;
    }
    frame->command[frame->command_bytes++] = (char)c;
    frame->command[frame->command_bytes] = '\0';
    return true;
}

// A byte of what stands before the data.
static enum sim_relp_result feed_head(struct sim_relp_frame *frame, unsigned char c)
{
    bool good = false;
    switch (frame->stage) {
    case SIM_RELP_NUMBER:
        if (c == ' ' && frame->digits > 0) {
            frame->stage = SIM_RELP_COMMAND;
            return SIM_RELP_MORE;
        }
        good = frame_digit(frame, c, &frame->number);
        break;
    case SIM_RELP_COMMAND:
        if (c == ' ' && frame->command_bytes > 0) {
            frame->stage = SIM_RELP_LENGTH;
            frame->digits = 0;
            return SIM_RELP_MORE;
        }
        good = frame_letter(frame, c);
        break;
    case SIM_RELP_LENGTH:
        if (c == '\n' && frame->digits > 0 && frame->length == 0) {
            return SIM_RELP_WHOLE;
        }
        if (c == ' ' && frame->length > 0) {
            frame->stage = SIM_RELP_DATA;
            return SIM_RELP_MORE;
        }
        good = frame_digit(frame, c, &frame->length) && frame->length <= frame->length_max;
        break;
    case SIM_RELP_DATA:
    case SIM_RELP_LF: return c == '\n' ? SIM_RELP_WHOLE : SIM_RELP_BAD;
    }
    return good ? SIM_RELP_MORE : SIM_RELP_BAD;
}

static size_t feed_data(struct sim_relp_frame *frame, const unsigned char *bytes, size_t count)
{
    size_t part = frame->length - frame->count;
    part = part < count ? part : count;
    uint32_t room = frame->count < frame->bytes_max ? frame->bytes_max - frame->count : 0;
    size_t kept = part < room ? part : room;
    if (kept > 0) {
        memcpy(frame->bytes + frame->count, bytes, kept);
    }
    frame->count += (uint32_t)part;
    if (frame->count == frame->length) {
        frame->stage = SIM_RELP_LF;
    }
    return part;
}

enum sim_relp_result sim_relp_frame_feed(struct sim_relp_frame *frame, const unsigned char *bytes,
                                         size_t count, size_t *used)
{
    *used = 0;
    while (*used < count) {
        if (frame->stage == SIM_RELP_DATA) {
            *used += feed_data(frame, bytes + *used, count - *used);
            continue;
        }
        enum sim_relp_result result = feed_head(frame, bytes[(*used)++]);
        if (result != SIM_RELP_MORE) {
            return result;
        }
    }
    return SIM_RELP_MORE;
}
