// Records: finds where the sender's frames begin and end in what was received.
//
// Pure: values in, values out. The automatic choice reads digits followed by a space as a count
// (RFC 6587), anything else as lines; a log whose lines begin with a number of at most eight digits
// and a space is therefore misread, which is why it is not what `recv` does by itself.
#include <string.h>

#include "runtime/assert.h"
#include "writer/command.h"

// Digits of WEIR_RECORD_BYTES_MAX.
#define COUNT_DIGITS_MAX 8

// The count and the space after it. returns their length; 0: more bytes are needed; or
// WEIR_EDELIMITER: something else stands there.
static int64_t count_parse(const unsigned char *bytes, size_t bytes_count, uint64_t *count)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes_count; i++) {
        if (bytes[i] == ' ' && i > 0) {
            *count = value;
            return (int64_t)i + 1;
        }
        bool digit = bytes[i] >= '0' && bytes[i] <= '9';
        if (!digit || i == COUNT_DIGITS_MAX || (i == 0 && bytes[i] == '0')) {
            return WEIR_EDELIMITER;
        }
        value = value * 10 + (uint64_t)(bytes[i] - '0');
    }
    return 0;
}

int64_t weir_record_next(enum weir_unframing *unframing, const unsigned char *bytes,
                         size_t bytes_count, const unsigned char **record, size_t *record_bytes)
{
    weir_assert(bytes != NULL);
    uint64_t count = 0;
    int64_t prefix = 0;
    if (bytes_count == 0) {
        return 0;
    }
    if (*unframing != WEIR_UNFRAMING_NEWLINE) {
        prefix = count_parse(bytes, bytes_count, &count);
        if (prefix == 0) {
            return 0;
        }
        if (*unframing == WEIR_UNFRAMING_AUTO) {
            *unframing = prefix > 0 ? WEIR_UNFRAMING_OCTETS : WEIR_UNFRAMING_NEWLINE;
        }
    }
    if (*unframing == WEIR_UNFRAMING_OCTETS) {
        if (prefix < 0) {
            return prefix;
        }
        if (count > WEIR_RECORD_BYTES_MAX) {
            return WEIR_ETOOBIG;
        }
        *record = bytes + prefix;
        *record_bytes = (size_t)count;
        return bytes_count - (size_t)prefix >= count ? prefix + (int64_t)count : 0;
    }
    const unsigned char *newline = memchr(bytes, '\n', bytes_count);
    size_t length = newline == NULL ? bytes_count : (size_t)(newline - bytes);
    if (length > WEIR_RECORD_BYTES_MAX) {
        return WEIR_ETOOBIG;
    }
    *record = bytes;
    *record_bytes = length;
    return newline == NULL ? 0 : (int64_t)length + 1;
}
