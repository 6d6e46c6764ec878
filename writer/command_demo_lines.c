// The demonstration's lines: made up from a seed, or taken from a file, numbered either way.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/assert.h"
#include "writer/command_demo.h"

// More than that is no demonstration any more.
#define TEXT_BYTES_MAX ((size_t)256 << 20)
#define NUMBER_BYTES 10 // "00000042 " and a terminator

uint64_t weir_demo_random(uint64_t *state)
{
    uint64_t mixed = (*state += UINT64_C(0x9e3779b97f4a7c15)); // splitmix64
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ (mixed >> 31);
}

static const char *const paths[] = {"/",
                                    "/api/v1/items",
                                    "/api/v1/orders",
                                    "/assets/app.js",
                                    "/assets/site.css",
                                    "/images/header.png",
                                    "/login",
                                    "/search"};
static const char *const agents[] = {
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/141.0 Safari/537.36",
    "curl/8.5.0", "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15"};
static const unsigned statuses[] = {200, 200, 200, 200, 304, 302, 404, 500};

static size_t line_make_up(uint64_t seed, uint64_t number, char *to)
{
    uint64_t state = seed ^ (number * UINT64_C(0xd1342543de82ef95));
    uint64_t a = weir_demo_random(&state);
    uint64_t b = weir_demo_random(&state);
    uint64_t second = number / 5000; // of a made-up day
    int length = snprintf(to, WEIR_DEMO_LINE_BYTES_MAX,
                          "%08llu 203.0.113.%u - - [22/Nov/2026:%02u:%02u:%02u +0000] "
                          "\"%s %s?id=%u HTTP/1.1\" %u %u \"-\" \"%s\"",
                          (unsigned long long)number, (unsigned)(a & 0xff),
                          (unsigned)(second / 3600 % 24), (unsigned)(second / 60 % 60),
                          (unsigned)(second % 60), (a >> 8 & 7) == 0 ? "POST" : "GET",
                          paths[a >> 16 & 7], (unsigned)(a >> 32 & 0xffff), statuses[b & 7],
                          (unsigned)(b >> 8 & 0xffff), agents[b >> 32 & 3]);
    weir_assert(length > 0 && length < WEIR_DEMO_LINE_BYTES_MAX);
    return (size_t)length;
}

size_t weir_demo_line(const struct weir_demo_lines *lines, uint64_t number, char *to)
{
    weir_assert(number < lines->count);
    if (lines->text_count == 0) {
        return line_make_up(lines->seed, number, to);
    }
    size_t which = (size_t)(number % lines->text_count);
    const char *from = lines->text + lines->begins[which];
    size_t bytes = lines->begins[which + 1] - lines->begins[which] - 1;
    size_t room = WEIR_DEMO_LINE_BYTES_MAX - NUMBER_BYTES;
    size_t head = (size_t)snprintf(to, NUMBER_BYTES, "%08llu ", (unsigned long long)number);
    bytes = bytes < room ? bytes : room;
    for (size_t i = 0; i < bytes; i++) {
        to[head + i] = from[i] == '\0' ? '?' : from[i]; // zero ends the record
    }
    return head + bytes;
}

// Reads a whole file and makes sure that it ends with a newline. returns 0 or -errno.
static int text_read(struct weir_demo_lines *lines, int fd)
{
    size_t capacity = 0;
    for (;;) {
        if (capacity - lines->text_bytes < 2) {
            capacity = capacity == 0 ? 1 << 16 : capacity * 2;
            char *grown = capacity > TEXT_BYTES_MAX ? NULL : realloc(lines->text, capacity);
            if (grown == NULL) {
                return capacity > TEXT_BYTES_MAX ? -EFBIG : -ENOMEM;
            }
            lines->text = grown;
        }
        ssize_t count = read(fd, lines->text + lines->text_bytes, capacity - lines->text_bytes - 1);
        if (count < 0) {
            return -errno;
        }
        if (count == 0) {
            break;
        }
        lines->text_bytes += (size_t)count;
    }
    if (lines->text_bytes > 0 && lines->text[lines->text_bytes - 1] != '\n') {
        lines->text[lines->text_bytes++] = '\n';
    }
    return 0;
}

static int text_index(struct weir_demo_lines *lines)
{
    size_t count = 0;
    for (size_t i = 0; i < lines->text_bytes; i++) {
        count += lines->text[i] == '\n' ? 1 : 0;
    }
    lines->begins = calloc(count + 1, sizeof(*lines->begins));
    if (lines->begins == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < lines->text_bytes; i++) {
        if (lines->text[i] == '\n') {
            lines->begins[++lines->text_count] = i + 1;
        }
    }
    return 0;
}

int weir_demo_lines_init(struct weir_demo_lines *lines, const char *path, uint64_t seed,
                         uint64_t count)
{
    *lines = (struct weir_demo_lines){.seed = seed, .count = count};
    if (path == NULL) {
        return 0;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        return -errno;
    }
    int code = text_read(lines, fd);
    (void)close(fd);
    if (code == 0 && lines->text_bytes == 0) {
        code = -ENODATA;
    }
    return code == 0 ? text_index(lines) : code;
}

void weir_demo_lines_deinit(struct weir_demo_lines *lines)
{
    free(lines->text);
    free(lines->begins);
}
