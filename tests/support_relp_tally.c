// What came to a scripted RELP server of messages that are numbered.
#include "tests/support_relp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support_collector.h"

#define SEEN 1
#define ACCEPTED 2
#define REFUSED 4

static const char *message_count(const struct relp_frame *frame, uint32_t threads, uint32_t numbers,
                                 int64_t *last, uint8_t *notes, struct relp_tally *tally)
{
    unsigned thread, number, length;
    char *expected = malloc(frame->data_bytes + 32);
    if (expected == NULL) {
        abort();
    }
    if (sscanf((const char *)frame->data, "%4u %8u %8u ", &thread, &number, &length) != 3) {
        free(expected);
        tally->others++;
        return NULL;
    }
    const char *wrong = NULL;
    if (length != frame->data_bytes || length < 24 || thread >= threads || number >= numbers) {
        wrong = "a damaged message";
    } else {
        collector_message(expected, thread, number, length);
        wrong = memcmp(expected, frame->data, length) == 0 ? NULL : "another message's bytes";
    }
    free(expected);
    if (wrong != NULL) {
        return wrong;
    }
    if ((int64_t)number <= last[thread]) {
        return "out of order within a connection";
    }
    last[thread] = number;
    uint8_t *note = &notes[(size_t)thread * numbers + number];
    uint8_t verdict = frame->verdict == 200 ? ACCEPTED : frame->verdict != 0 ? REFUSED : 0;
    tally->distinct += *note == 0 ? 1 : 0;
    tally->repeated += *note == 0 ? 0 : 1;
    tally->accepted += (verdict & ACCEPTED) != 0 && (*note & ACCEPTED) == 0 ? 1 : 0;
    tally->refused += (verdict & REFUSED) != 0 && (*note & REFUSED) == 0 ? 1 : 0;
    *note = (uint8_t)(*note | SEEN | verdict);
    return NULL;
}

void relp_server_tally(struct relp_server *server, uint32_t threads, uint32_t numbers,
                       struct relp_tally *tally)
{
    *tally = (struct relp_tally){0};
    uint8_t *notes = calloc((size_t)threads * numbers + 1, 1);
    int64_t *last = malloc(threads * sizeof(*last));
    if (notes == NULL || last == NULL) {
        abort();
    }
    size_t connections = relp_server_connections(server);
    for (size_t i = 0; i < connections; i++) {
        struct relp_view view;
        relp_server_look(server, i, &view);
        for (uint32_t t = 0; t < threads; t++) {
            last[t] = -1;
        }
        for (size_t n = 0; n < view.messages && tally->wrong == NULL; n++) {
            struct relp_frame frame;
            relp_server_message(server, i, n, &frame);
            tally->wrong = message_count(&frame, threads, numbers, last, notes, tally);
        }
    }
    free(notes);
    free(last);
}
