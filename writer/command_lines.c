// Cuts what read(2) gives into lines, in a buffer of fixed size.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/assert.h"
#include "writer/command.h"

// From here on a larger read is not faster per byte; a pipe gives 64 KiB at most anyway.
#define READ_BYTES ((size_t)256 << 10)

int weir_lines_init(struct weir_lines *lines, size_t bytes_max, bool keep_newline)
{
    *lines = (struct weir_lines){.bytes_max = bytes_max, .keep_newline = keep_newline};
    // A whole read fits behind the longest beginning of a line that can be left over.
    lines->capacity = bytes_max + 1 + READ_BYTES;
    lines->bytes = malloc(lines->capacity);
    return lines->bytes == NULL ? WEIR_EMEMORY : 0;
}

void weir_lines_deinit(struct weir_lines *lines)
{
    free(lines->bytes);
    *lines = (struct weir_lines){0};
}

int64_t weir_lines_fill(struct weir_lines *lines, int fd, size_t read_max)
{
    // All whole lines have been taken, so what moves is the beginning of one.
    weir_assert(lines->end - lines->begin <= lines->bytes_max + 1);
    memmove(lines->bytes, lines->bytes + lines->begin, lines->end - lines->begin);
    lines->end -= lines->begin;
    lines->begin = 0;
    size_t room = lines->capacity - lines->end;
    ssize_t count = read(fd, lines->bytes + lines->end, room < read_max ? room : read_max);
    if (count < 0) {
        return -errno;
    }
    lines->end += (size_t)count;
    return count;
}

// A line's bytes, `bytes` of them, of which the last is a newline if it ended with one.
static enum weir_line line_take(struct weir_lines *lines, size_t bytes, const char **line,
                                size_t *line_bytes, bool newline)
{
    *line = lines->bytes + lines->begin;
    *line_bytes = bytes - (newline && !lines->keep_newline ? 1 : 0);
    lines->begin += bytes;
    lines->scanned = 0;
    if (*line_bytes > lines->bytes_max) {
        *line_bytes = lines->bytes_max + 1;
        return WEIR_LINE_TOO_LONG;
    }
    return WEIR_LINE_WHOLE;
}

enum weir_line weir_lines_next(struct weir_lines *lines, const char **line, size_t *line_bytes)
{
    // Twice at most: once for the end of a line that is being skipped, once for the next.
    for (;;) {
        const char *from = lines->bytes + lines->begin + lines->scanned;
        size_t unseen = lines->end - lines->begin - lines->scanned;
        const char *newline = unseen == 0 ? NULL : memchr(from, '\n', unseen);
        if (newline == NULL) {
            break;
        }
        size_t bytes = (size_t)(newline + 1 - (lines->bytes + lines->begin));
        if (!lines->skipping) {
            return line_take(lines, bytes, line, line_bytes, true);
        }
        lines->skipping = false;
        lines->begin += bytes;
        lines->scanned = 0;
    }
    if (lines->skipping) {
        lines->begin = lines->end;
        return WEIR_LINE_NONE;
    }
    lines->scanned = lines->end - lines->begin;
    if (lines->scanned > lines->bytes_max + 1) {
        lines->skipping = true;
        return line_take(lines, lines->scanned, line, line_bytes, false);
    }
    return WEIR_LINE_NONE;
}

enum weir_line weir_lines_rest(struct weir_lines *lines, const char **line, size_t *line_bytes)
{
    size_t bytes = lines->end - lines->begin;
    bool skipping = lines->skipping;
    lines->skipping = false;
    if (bytes == 0 || skipping) {
        lines->begin = lines->end = lines->scanned = 0;
        return WEIR_LINE_NONE;
    }
    return line_take(lines, bytes, line, line_bytes, false);
}

bool weir_lines_partial(const struct weir_lines *lines)
{
    return lines->skipping || lines->end > lines->begin;
}
