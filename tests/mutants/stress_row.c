// A bare row: four threads append, one takes; no message is torn, lost or out of order.
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "tests/mutants/stress.h"
#include "weir.h"
#include "writer/segment.h"

#define APPENDERS 4u
#define ROW_MESSAGE_BYTES_MAX 300u

struct rows {
    struct weir_row *row;
    _Atomic uint64_t accepted, voided, taken, dropped;
    atomic_bool shut;
};
static struct rows rows;

// thread, sequence, then the low byte of their sum, over and over.
static void message_fill(unsigned char *to, uint32_t bytes, uint32_t thread, uint32_t sequence)
{
    memcpy(to, &thread, 4);
    memcpy(to + 4, &sequence, 4);
    memset(to + 8, (int)((thread + sequence) & 0xff), bytes - 8);
}

static void *append_main(void *argument)
{
    uint32_t me = (uint32_t)(uintptr_t)argument;
    uint64_t seed = stress_clock_ns() + me, full_since_ns = 0;
    for (uint32_t sequence = 1; !atomic_load(&stress_over);) {
        struct weir_reservation reservation;
        uint32_t bytes = 8 + stress_random(&seed, ROW_MESSAGE_BYTES_MAX - 8);
        int error = weir_row_reserve(rows.row, bytes, &reservation);
        if (error == WEIR_EFULL) {
            full_since_ns = full_since_ns == 0 ? stress_clock_ns() : full_since_ns;
            stress_must(stress_clock_ns() < full_since_ns + 10 * S, "row: full for ever");
            (void)weir_row_seal_open(rows.row, 1);
            sched_yield();
            continue;
        }
        stress_must(error == 0, "row: reserve failed");
        full_since_ns = 0;
        if (reservation.opened || reservation.closed) {
            weir_row_stamp(rows.row, &reservation, 1);
        }
        uint32_t choice = stress_random(&seed, 8);
        uint32_t used = choice == 0 ? 8 + (bytes - 8) / 2 : bytes;
        message_fill(reservation.data, bytes, me, sequence);
        (void)weir_row_commit(rows.row, &reservation, choice == 1 ? WEIR_SEGMENT_VOID : used);
        atomic_fetch_add(&rows.accepted, 1);
        if (choice == 1) {
            atomic_fetch_add(&rows.voided, 1);
        } else {
            sequence++;
        }
    }
    return NULL;
}

static void segment_check(const struct weir_segment *segment, uint32_t *last)
{
    uint32_t live = 0;
    for (uint32_t i = 0; i < segment->messages; i++) {
        const struct weir_segment_entry *entry = &segment->entries[i];
        if (entry->bytes == WEIR_SEGMENT_VOID) {
            continue;
        }
        live++;
        const unsigned char *bytes = segment->payload + entry->offset;
        uint32_t thread, sequence;
        stress_must(entry->bytes >= 8 && entry->bytes <= ROW_MESSAGE_BYTES_MAX,
                    "row: a wrong length");
        memcpy(&thread, bytes, 4);
        memcpy(&sequence, bytes + 4, 4);
        stress_must(thread < APPENDERS, "row: a torn message");
        stress_must(sequence > last[thread], "row: order is broken");
        last[thread] = sequence;
        for (uint32_t k = 8; k < entry->bytes; k++) {
            stress_must(bytes[k] == ((thread + sequence) & 0xff), "row: a torn message");
        }
    }
    stress_must(live + segment->void_messages == segment->messages,
                "row: void messages miscounted");
    atomic_fetch_add(&rows.taken, segment->messages);
}

void *stress_row(void *part)
{
    (void)part;
    const struct weir_row_options options = {2048, ROW_MESSAGE_BYTES_MAX, 4, 16};
    size_t bytes = weir_row_region_bytes(&options);
    void *region = aligned_alloc(WEIR_ROW_LINE_BYTES, (bytes + 127) / 128 * 128);
    uint32_t last[APPENDERS] = {0};
    uint64_t seed = stress_clock_ns();
    pthread_t threads[APPENDERS];
    stress_must(region != NULL, "no memory");
    rows.row = weir_row_init(region, &options);
    for (uint32_t i = 0; i < APPENDERS; i++) {
        stress_start(&threads[i], append_main, (void *)(uintptr_t)i);
    }
    for (int taken = 0; taken != WEIR_ECLOSED;) {
        struct weir_segment segment;
        struct weir_row_drop drop;
        if (stress_random(&seed, 50) == 0 && weir_row_drop_oldest(rows.row, &drop) == 1) {
            atomic_fetch_add(&rows.dropped, drop.messages);
        }
        if (atomic_load(&stress_over) && !atomic_load(&rows.shut)) {
            for (uint32_t i = 0; i < APPENDERS; i++) {
                pthread_join(threads[i], NULL);
            }
            (void)weir_row_shut(rows.row, 1);
            atomic_store(&rows.shut, true);
        }
        taken = weir_row_take(rows.row, &segment);
        if (taken == 1) {
            segment_check(&segment, last);
            weir_row_release(rows.row, &segment);
            stress_step(STRESS_ROW);
        }
    }
    stress_must(atomic_load(&rows.accepted) ==
                    atomic_load(&rows.taken) + atomic_load(&rows.dropped),
                "row: the books do not balance");
    free(region);
    return NULL;
}
