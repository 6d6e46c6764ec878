// The scriptable collector's messages: written, and counted in what arrived.
#include "tests/support_collector_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support_must.h"

// "TTTT NNNNNNNN LLLLLLLL " and filling that depends on the number.
#define HEAD_BYTES 23

void collector_message(char *to, uint32_t thread, uint32_t number, size_t length)
{
    MUST(length > HEAD_BYTES && length <= 99999999);
    char head[HEAD_BYTES + 1];
    (void)snprintf(head, sizeof(head), "%04u %08u %08u ", thread % 10000, number % 100000000,
                   (unsigned)length);
    memcpy(to, head, HEAD_BYTES);
    memset(to + HEAD_BYTES, 'a' + (int)(number % 26), length - HEAD_BYTES);
}

static bool line_number(const char *line, size_t digits, uint32_t *number)
{
    *number = 0;
    for (size_t i = 0; i < digits; i++) {
        if (line[i] < '0' || line[i] > '9') {
            return false;
        }
        *number = *number * 10 + (uint32_t)(line[i] - '0');
    }
    return line[digits] == ' ';
}

static const char *line_count(const char *line, size_t length, int64_t *last,
                              struct collector_tally *tally)
{
    uint32_t thread, number, bytes;
    if (length < HEAD_BYTES || !line_number(line, 4, &thread) ||
        !line_number(line + 5, 8, &number) || !line_number(line + 14, 8, &bytes)) {
        tally->others++;
        return strncmp(line, "weir: ", 6) == 0 ? NULL : "a line that nobody sent";
    }
    if (bytes != length || thread >= tally->threads || number >= tally->numbers) {
        return "a damaged message";
    }
    for (size_t i = HEAD_BYTES; i < length; i++) {
        if (line[i] != 'a' + (char)(number % 26)) {
            return "a message with another's bytes";
        }
    }
    if ((int64_t)number <= last[thread]) {
        return "out of order within a connection";
    }
    last[thread] = number;
    uint8_t *seen = &tally->seen[(size_t)thread * tally->numbers + number];
    tally->distinct += *seen == 0 ? 1 : 0;
    tally->repeated += *seen == 0 ? 0 : 1;
    *seen = *seen == UINT8_MAX ? UINT8_MAX : (uint8_t)(*seen + 1);
    return NULL;
}

void collector_count(struct collector *me, uint32_t threads, uint32_t numbers,
                     struct collector_tally *tally)
{
    *tally = (struct collector_tally){.threads = threads, .numbers = numbers};
    tally->seen = calloc((size_t)threads * numbers + 1, 1);
    int64_t *last = malloc(threads * sizeof(*last));
    MUST(tally->seen != NULL && last != NULL);
    pthread_mutex_lock(&me->mutex);
    for (size_t i = 0; i < me->connections_count; i++) {
        const struct connection *one = &me->connections[i];
        const char *at = (const char *)one->bytes;
        size_t left = one->count;
        for (uint32_t t = 0; t < threads; t++) {
            last[t] = -1;
        }
        const char *end = NULL;
        while (left > 0 && (end = memchr(at, '\n', left)) != NULL && tally->wrong == NULL) {
            tally->wrong = line_count(at, (size_t)(end - at), last, tally);
            if (tally->wrong != NULL) {
                (void)fprintf(
                    stderr, "collector: connection %zu of %zu, byte %zu of %zu, %d: %.64s\n", i,
                    me->connections_count, one->count - left, one->count, (int)(end - at), at);
            }
            left -= (size_t)(end - at) + 1;
            at = end + 1;
        }
        // A half message is what a connection given up leaves behind; the last one has none.
        if (left > 0 && one->ended) {
            tally->torn++;
            if (i + 1 == me->connections_count && tally->wrong == NULL) {
                tally->wrong = "the last connection ended in the middle of a message";
            }
        }
    }
    pthread_mutex_unlock(&me->mutex);
    free(last);
}
