// Counts what came of numbered messages: lost, twice, torn, out of order, told by gap records.
//
// usage: delivery_count FILE SENT
// FILE is what a collector stored, one message a line; SENT messages were handed over, numbers 0 to
// SENT - 1. Prints one line of names and values. A gap record that came twice counts once: with its
// two times it is equal to another one only if it is the same.
#include <stdio.h>
#include <stdlib.h>

#include "tests/support_numbered.h"

#define RECORDS_MAX 4096u
#define RECORD_BYTES_MAX 160u

struct count {
    uint64_t sent;
    unsigned char *seen;
    uint64_t arrived, lost, twice, torn, backward, foreign;
    uint64_t next; // the number after the highest one so far
    char (*records)[RECORD_BYTES_MAX];
    uint32_t records_count;
    uint64_t gap_messages, gap_bytes;
};

static void must(bool good, const char *what)
{
    if (!good) {
        perror(what);
        exit(2);
    }
}

static void count_message(struct count *count, uint64_t number)
{
    if (number >= count->sent) {
        count->foreign++;
    } else if (count->seen[number] != 0) {
        count->twice++;
    } else {
        count->seen[number] = 1;
        count->arrived++;
        count->backward += number < count->next;
        count->next = number + 1;
    }
}

static bool count_record(struct count *count, const char *line)
{
    uint64_t messages, bytes;
    if (sscanf(line, "weir: %" SCNu64 " messages, %" SCNu64 " bytes dropped", &messages, &bytes) !=
        2) {
        return false;
    }
    must(strlen(line) < RECORD_BYTES_MAX && count->records_count < RECORDS_MAX, "gap records");
    for (uint32_t i = 0; i < count->records_count; i++) {
        if (strcmp(count->records[i], line) == 0) {
            return true;
        }
    }
    strcpy(count->records[count->records_count++], line);
    count->gap_messages += messages;
    count->gap_bytes += bytes;
    return true;
}

// A collector that is killed while it writes leaves half a line, and the next one's first line
// behind it: the whole message at the end of that has arrived.
static void count_line(struct count *count, const char *line, size_t bytes)
{
    uint64_t number;
    const char *tail = bytes > NUMBERED_BYTES ? line + bytes - NUMBERED_BYTES : line;
    if (bytes >= NUMBERED_BYTES && numbered_read(tail, &number)) {
        count->torn += tail != line;
        count_message(count, number);
    } else if (!count_record(count, line)) {
        count->torn++;
    }
}

int main(int argc, char **argv)
{
    struct count count = {0};
    char *line = NULL;
    size_t room = 0;
    must(argc == 3, "usage: delivery_count FILE SENT");
    count.sent = strtoull(argv[2], NULL, 10);
    count.seen = calloc(count.sent + 1, 1);
    count.records = calloc(RECORDS_MAX, RECORD_BYTES_MAX);
    must(count.seen != NULL && count.records != NULL, "memory");
    FILE *file = fopen(argv[1], "r");
    must(file != NULL, argv[1]);
    for (ssize_t bytes; (bytes = getline(&line, &room, file)) > 0;) {
        if (line[bytes - 1] == '\n') {
            line[--bytes] = '\0';
        }
        count_line(&count, line, (size_t)bytes);
    }
    must(!ferror(file), argv[1]);
    fclose(file);
    count.lost = count.sent - count.arrived;
    printf("lost=%" PRIu64 " twice=%" PRIu64 " torn=%" PRIu64 " backward=%" PRIu64
           " foreign=%" PRIu64 " records=%" PRIu32 " gap_messages=%" PRIu64 " gap_bytes=%" PRIu64
           "\n",
           count.lost, count.twice, count.torn, count.backward, count.foreign, count.records_count,
           count.gap_messages, count.gap_bytes);
    free(line);
    free(count.seen);
    free(count.records);
    return 0;
}
