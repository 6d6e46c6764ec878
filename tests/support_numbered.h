// Numbered messages of the delivery table: a letter, ten digits, a blank and a filler.
#ifndef WEIR_TESTS_SUPPORT_NUMBERED_H
#define WEIR_TESTS_SUPPORT_NUMBERED_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define NUMBERED_BYTES 128u
#define NUMBERED_HEAD_BYTES 12u

// Writes NUMBERED_BYTES, no terminator.
static inline void numbered_write(uint64_t number, char *text)
{
    text[0] = 'm'; // no digit: under newline framing rsyslog would take it for a frame
    for (unsigned i = 10; i > 0; i--) {
        text[i] = (char)('0' + number % 10);
        number /= 10;
    }
    text[11] = ' ';
    memset(text + NUMBERED_HEAD_BYTES, 'a' + text[10] - '0', NUMBERED_BYTES - NUMBERED_HEAD_BYTES);
}

// Whether the NUMBERED_BYTES there are such a message.
static inline bool numbered_read(const char *text, uint64_t *number)
{
    char expected[NUMBERED_BYTES];
    *number = 0;
    for (unsigned i = 1; i <= 10; i++) {
        *number = *number * 10 + (uint64_t)(unsigned char)(text[i] - '0');
    }
    numbered_write(*number, expected);
    return memcmp(text, expected, NUMBERED_BYTES) == 0;
}

#endif
