// The demonstration's verdict: what the collectors recorded, line by line, against what was logged.
#include <stdlib.h>
#include <string.h>

#include "runtime/assert.h"
#include "writer/command_demo.h"

struct check {
    struct weir_demo_verdict *verdict;
    const struct weir_demo_lines *lines;
    unsigned char *seen;                // a byte per line: whether it was there
    uint64_t latest[WEIR_DEMO_THREADS]; // 1 + the highest number of each thread so far
};

// Its number, if these bytes are exactly a line that was logged; else the count of lines.
static uint64_t line_recognize(const struct weir_demo_lines *lines, const unsigned char *bytes,
                               size_t bytes_count)
{
    char expected[WEIR_DEMO_LINE_BYTES_MAX];
    uint64_t number = 0;
    size_t digits = 0;
    while (digits < bytes_count && digits < 18 && bytes[digits] >= '0' && bytes[digits] <= '9') {
        number = number * 10 + (uint64_t)(bytes[digits] - '0');
        digits++;
    }
    if (digits == 0 || number >= lines->count) {
        return lines->count;
    }
    size_t expected_bytes = weir_demo_line(lines, number, expected);
    bool same = expected_bytes == bytes_count && memcmp(expected, bytes, bytes_count) == 0;
    return same ? number : lines->count;
}

static void line_check(struct check *check, const unsigned char *bytes, size_t bytes_count)
{
    uint64_t number = line_recognize(check->lines, bytes, bytes_count);
    if (number == check->lines->count) {
        check->verdict->strange++;
        return;
    }
    if (check->seen[number] != 0) {
        check->verdict->duplicates++;
        return;
    }
    check->seen[number] = 1;
    check->verdict->distinct++;
    uint64_t *latest = &check->latest[number % WEIR_DEMO_THREADS];
    if (number + 1 < *latest) {
        check->verdict->disorder++;
    } else {
        *latest = number + 1;
    }
}

// One connection: whole lines, and maybe the beginning of one.
static void connection_check(struct check *check, const unsigned char *bytes, size_t bytes_count)
{
    size_t at = 0;
    while (at < bytes_count) {
        const unsigned char *newline = memchr(bytes + at, '\n', bytes_count - at);
        if (newline == NULL) {
            check->verdict->torn++;
            break;
        }
        size_t length = (size_t)(newline - bytes) - at;
        line_check(check, bytes + at, length);
        at += length + 1;
    }
}

int weir_demo_verdict_find(struct weir_demo_verdict *verdict,
                           const struct weir_demo_collector *collector,
                           const struct weir_demo_lines *lines, const unsigned char *accepted)
{
    const struct weir_demo_shared *shared = collector->shared;
    struct check check = {.verdict = verdict, .lines = lines};
    *verdict = (struct weir_demo_verdict){0};
    check.seen = calloc(lines->count, 1);
    if (check.seen == NULL) {
        return WEIR_EMEMORY;
    }
    uint32_t connections = atomic_load_explicit(&shared->connections, memory_order_relaxed);
    size_t end = weir_demo_record_end(collector);
    for (uint32_t i = 0; i < connections; i++) {
        size_t begin = shared->begins[i];
        size_t next = i + 1 < connections ? shared->begins[i + 1] : end;
        weir_assert(begin <= next && next <= end);
        connection_check(&check, collector->record + begin, next - begin);
    }
    for (uint64_t number = 0; number < lines->count; number++) {
        verdict->lost += accepted[number] != 0 && check.seen[number] == 0 ? 1 : 0;
    }
    free(check.seen);
    return 0;
}
