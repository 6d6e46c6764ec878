// Messages that can be told apart.
#include "sim/message.h"

#include <string.h>

#include "runtime/assert.h"

#define NEWLINE_EVERY 16

// Vigna's splitmix64 finaliser (Steele, Lea, Flood: Fast splittable pseudorandom number generators,
// 2014): every bit of the input changes half of the output.
static uint64_t message_mix(uint64_t value)
{
    value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
    return value ^ (value >> 31);
}

static uint64_t message_seed(const struct sim_message *message)
{
    return message_mix((uint64_t)message->producer << 56 | (uint64_t)message->sequence << 32 |
                       (uint64_t)message->bytes << 1 | (message->newlines ? 1 : 0));
}

// Eight printable bytes, 0x20 to 0x5f, the first in the lowest bits.
static uint64_t message_block(uint64_t seed, uint64_t block)
{
    uint64_t bits = message_mix(seed + (block + 1) * UINT64_C(0x9e3779b97f4a7c15));
    return (bits & UINT64_C(0x3f3f3f3f3f3f3f3f)) + UINT64_C(0x2020202020202020);
}

static char *head_digits(char *to, uint32_t value, uint32_t digits)
{
    for (uint32_t i = digits; i > 0; i--) {
        to[i - 1] = "0123456789abcdef"[value & 15];
        value >>= 4;
    }
    return to + digits;
}

static void message_head_write(const struct sim_message *message, char head[SIM_MESSAGE_BYTES_MIN])
{
    char *to = head;
    *to++ = message->newlines ? 'n' : 'm';
    to = head_digits(to, message->producer, 2);
    to = head_digits(to, message->sequence, 6);
    to = head_digits(to, message->bytes, 5);
    to = head_digits(to, (uint32_t)(message_seed(message) & 0xffffff), 6);
    *to = ':';
}

// Half of the time of a loaded writer's run goes into making and comparing bytes: whole words.
static void block_write(uint64_t block, unsigned char *to)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    block = __builtin_bswap64(block);
#endif
    memcpy(to, &block, sizeof(block));
}

void sim_message_write(const struct sim_message *message, unsigned char *to)
{
    weir_assert(message->bytes >= SIM_MESSAGE_BYTES_MIN && message->bytes <= SIM_MESSAGE_BYTES_MAX);
    weir_assert(message->producer < SIM_MESSAGE_PRODUCERS_MAX &&
                message->sequence < SIM_MESSAGE_SEQUENCES_MAX);
    char head[SIM_MESSAGE_BYTES_MIN];
    uint64_t seed = message_seed(message);
    message_head_write(message, head);
    memcpy(to, head, sizeof(head));
    uint32_t at = SIM_MESSAGE_BYTES_MIN;
    for (; at + 8 <= message->bytes; at += 8) {
        block_write(message_block(seed, at), to + at);
    }
    if (at < message->bytes) {
        unsigned char last[8];
        block_write(message_block(seed, at), last);
        memcpy(to + at, last, message->bytes - at);
    }
    for (at = 2 * NEWLINE_EVERY - 1; message->newlines && at < message->bytes;
         at += NEWLINE_EVERY) {
        to[at] = '\n';
    }
}

static bool head_number(const unsigned char *bytes, uint32_t digits, uint32_t *value)
{
    *value = 0;
    for (uint32_t i = 0; i < digits; i++) {
        unsigned char c = bytes[i];
        bool decimal = c >= '0' && c <= '9';
        if (!decimal && (c < 'a' || c > 'f')) {
            return false;
        }
        *value = *value << 4 | (uint32_t)(decimal ? c - '0' : c - 'a' + 10);
    }
    return true;
}

bool sim_message_head(const unsigned char *bytes, size_t count, struct sim_message *message)
{
    char head[SIM_MESSAGE_BYTES_MIN];
    if (count < SIM_MESSAGE_BYTES_MIN || !head_number(bytes + 1, 2, &message->producer) ||
        !head_number(bytes + 3, 6, &message->sequence) ||
        !head_number(bytes + 9, 5, &message->bytes) || message->bytes < SIM_MESSAGE_BYTES_MIN) {
        return false;
    }
    message->newlines = bytes[0] == 'n';
    message_head_write(message, head);
    return memcmp(bytes, head, sizeof(head)) == 0;
}

// How many of the frame's bytes are as they should be; *reached: of the message's.
static size_t message_compare(const struct sim_message *message, const unsigned char *bytes,
                              size_t count, bool escaped, uint32_t *reached)
{
    uint64_t seed = message_seed(message);
    unsigned char block[8];
    size_t at = SIM_MESSAGE_BYTES_MIN;
    uint32_t place = SIM_MESSAGE_BYTES_MIN;
    while (!message->newlines && place + 8 <= message->bytes && at + 8 <= count) {
        block_write(message_block(seed, place), block);
        if (memcmp(bytes + at, block, 8) != 0) {
            break;
        }
        place += 8;
        at += 8;
    }
    for (; place < message->bytes && at < count; place++, at++) {
        uint32_t within = (place - SIM_MESSAGE_BYTES_MIN) % 8;
        if (within == 0) {
            block_write(message_block(seed, place), block);
        }
        unsigned char want = block[within];
        if (message->newlines && place % NEWLINE_EVERY == NEWLINE_EVERY - 1) {
            want = '\n';
            if (escaped) {
                if (bytes[at] != '\\') {
                    break;
                }
                if (++at == count) {
                    break;
                }
                want = 'n';
            }
        }
        if (bytes[at] != want) {
            break;
        }
    }
    *reached = place;
    return at;
}

enum sim_message_check sim_message_check(const unsigned char *bytes, size_t count, bool escaped,
                                         struct sim_message *message)
{
    if (!sim_message_head(bytes, count, message)) {
        // Too short to tell whose beginning it is.
        bool begun =
            count < SIM_MESSAGE_BYTES_MIN && count > 0 && (bytes[0] == 'm' || bytes[0] == 'n');
        return begun ? SIM_MESSAGE_TORN : SIM_MESSAGE_CORRUPT;
    }
    uint32_t reached;
    size_t same = message_compare(message, bytes, count, escaped, &reached);
    if (same == count && reached == message->bytes) {
        return SIM_MESSAGE_GOOD;
    }
    return same == count ? SIM_MESSAGE_TORN : SIM_MESSAGE_CORRUPT;
}
