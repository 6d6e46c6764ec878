// The reader of support_relp_frame.h.
#include "tests/support_relp_frame.h"

#include <string.h>

// A number in decimal digits and the position behind it, where a blank or a newline must be.
// returns  whether it is there; *end is `count` when the bytes end before that is known.
static bool digits_read(const unsigned char *bytes, size_t count, size_t at, size_t digits_max,
                        uint32_t *value, size_t *end)
{
    size_t begin = at;
    *value = 0;
    while (at < count && bytes[at] >= '0' && bytes[at] <= '9' && at - begin < digits_max) {
        *value = *value * 10 + (uint32_t)(bytes[at++] - '0');
    }
    *end = at;
    return at == count || (at > begin && (bytes[at] == ' ' || bytes[at] == '\n'));
}

const char *relp_frame_find(const unsigned char *bytes, size_t count, struct relp_found *found)
{
    size_t at;
    uint32_t length;
    *found = (struct relp_found){0};
    if (!digits_read(bytes, count, 0, 9, &found->number, &at)) {
        return "a frame without a number";
    }
    if (at == count) {
        return NULL;
    }
    if (bytes[at++] != ' ') {
        return "no blank behind the number";
    }
    found->command = (const char *)bytes + at;
    size_t begin = at;
    while (at < count && ((bytes[at] | 32) >= 'a' && (bytes[at] | 32) <= 'z')) {
        at++;
    }
    found->command_bytes = at - begin;
    if (found->command_bytes > 32) {
        return "a command longer than 32";
    }
    if (at == count) {
        return NULL;
    }
    if (found->command_bytes == 0 || bytes[at++] != ' ') {
        return "no command";
    }
    if (!digits_read(bytes, count, at, 9, &length, &at)) {
        return "a frame without a length";
    }
    if (at == count) {
        return NULL;
    }
    if ((bytes[at] == ' ') != (length > 0)) {
        return "a blank where no data is, or none where it is";
    }
    at += length > 0 ? 1 : 0;
    if (count - at <= length) {
        return NULL;
    }
    found->data = bytes + at;
    found->data_bytes = length;
    found->frame_bytes = at + length + 1;
    return bytes[at + length] == '\n' ? NULL : "no newline behind the data";
}

bool relp_frame_is(const struct relp_found *found, const char *command)
{
    return found->command_bytes == strlen(command) &&
           memcmp(found->command, command, found->command_bytes) == 0;
}
