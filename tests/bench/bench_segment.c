// Measures an append to the row of segments against a mutex and memcpy, both being drained.
//
// Producers append in bursts with a pause between them, as log calls come; a burst is timed as a
// whole, so a figure includes a share of one clock reading (about 1 ns). The consumer wakes by the
// clock and copies what it finds to a sink, as send() would. The two take turns in every round;
// printed are medians over rounds with the lowest and highest round, in ns per message.
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "writer/segment.h"

#define ROUNDS 15
#define BURSTS 1000
#define BURST_MESSAGES 20
#define PAUSE_NS 30000
#define DRAIN_NS 50000
#define FLUSH_BYTES 65536u
#define SEGMENTS 16u
#define MESSAGE_BYTES_MAX 4096u
#define BUFFER_BYTES ((size_t)SEGMENTS * FLUSH_BYTES)
#define PRODUCERS_MAX 2

struct mutex_buffer {
    pthread_mutex_t lock;
    unsigned char *filling;
    unsigned char *draining;
    size_t bytes;
};

struct bench {
    struct weir_row *row; // NULL: the mutex buffer
    struct mutex_buffer buffer;
    unsigned char *sink;
    uint32_t message_bytes;
    _Atomic bool done;
    _Atomic uint64_t spent_ns;
    _Atomic uint64_t appended;
    _Atomic uint64_t refused;
};

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static bool row_append(struct weir_row *row, const unsigned char *message, uint32_t bytes)
{
    struct weir_reservation reservation;
    if (weir_row_reserve(row, bytes, &reservation) != 0) {
        return false;
    }
    if (reservation.opened || reservation.closed) {
        weir_row_stamp(row, &reservation, now_ns());
    }
    memcpy(reservation.data, message, bytes);
    weir_row_commit(row, &reservation, bytes);
    return true;
}

static bool buffer_append(struct mutex_buffer *buffer, const unsigned char *message, uint32_t bytes)
{
    pthread_mutex_lock(&buffer->lock);
    bool fits = buffer->bytes + bytes <= BUFFER_BYTES;
    if (fits) {
        memcpy(buffer->filling + buffer->bytes, message, bytes);
        buffer->bytes += bytes;
    }
    pthread_mutex_unlock(&buffer->lock);
    return fits;
}

static void *producer_run(void *argument)
{
    struct bench *bench = argument;
    unsigned char message[MESSAGE_BYTES_MAX];
    memset(message, 'm', sizeof(message));
    uint64_t spent = 0;
    uint64_t refused = 0;
    for (int i = 0; i < BURSTS; i++) {
        uint64_t start = now_ns();
        for (int k = 0; k < BURST_MESSAGES; k++) {
            refused += bench->row != NULL
                           ? !row_append(bench->row, message, bench->message_bytes)
                           : !buffer_append(&bench->buffer, message, bench->message_bytes);
        }
        uint64_t end = now_ns();
        spent += end - start;
        while (now_ns() - end < PAUSE_NS) {
        }
    }
    atomic_fetch_add(&bench->spent_ns, spent);
    atomic_fetch_add(&bench->appended, (uint64_t)BURSTS * BURST_MESSAGES);
    atomic_fetch_add(&bench->refused, refused);
    return NULL;
}

static void *consumer_run(void *argument)
{
    struct bench *bench = argument;
    while (!atomic_load(&bench->done)) {
        const struct timespec pause = {0, DRAIN_NS};
        nanosleep(&pause, NULL);
        struct weir_segment segment;
        while (bench->row != NULL && weir_row_take(bench->row, &segment) == 1) {
            memcpy(bench->sink, segment.payload, segment.wire_bytes);
            weir_row_release(bench->row, &segment);
        }
        if (bench->row == NULL) {
            pthread_mutex_lock(&bench->buffer.lock);
            unsigned char *full = bench->buffer.filling;
            size_t bytes = bench->buffer.bytes;
            bench->buffer.filling = bench->buffer.draining;
            bench->buffer.draining = full;
            bench->buffer.bytes = 0;
            pthread_mutex_unlock(&bench->buffer.lock);
            memcpy(bench->sink, full, bytes);
        }
    }
    return NULL;
}

// Returns ns per message.
static double round_run(struct bench *bench, int producers)
{
    pthread_t threads[PRODUCERS_MAX];
    pthread_t consumer;
    atomic_store(&bench->done, false);
    atomic_store(&bench->spent_ns, 0);
    atomic_store(&bench->appended, 0);
    pthread_create(&consumer, NULL, consumer_run, bench);
    for (int i = 0; i < producers; i++) {
        pthread_create(&threads[i], NULL, producer_run, bench);
    }
    for (int i = 0; i < producers; i++) {
        pthread_join(threads[i], NULL);
    }
    atomic_store(&bench->done, true);
    pthread_join(consumer, NULL);
    return (double)atomic_load(&bench->spent_ns) / (double)atomic_load(&bench->appended);
}

static int double_compare(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;
    return (left > right) - (left < right);
}

static void *memory_get(size_t bytes)
{
    void *memory = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    if (memory == NULL) {
        abort();
    }
    memset(memory, 1, bytes); // no page faults in the figures
    return memory;
}

static void pair_run(uint32_t message_bytes, int producers)
{
    static const struct weir_row_options options = {FLUSH_BYTES, MESSAGE_BYTES_MAX, SEGMENTS, 1024};
    double figures[2][ROUNDS];
    struct bench benches[2];
    memset(benches, 0, sizeof(benches));
    void *region = memory_get(weir_row_region_bytes(&options));
    benches[0].row = weir_row_init(region, &options);
    pthread_mutex_init(&benches[1].buffer.lock, NULL);
    benches[1].buffer.filling = memory_get(BUFFER_BYTES);
    benches[1].buffer.draining = memory_get(BUFFER_BYTES);
    for (int k = 0; k < 2; k++) {
        benches[k].sink = memory_get(BUFFER_BYTES);
        benches[k].message_bytes = message_bytes;
    }
    for (int i = 0; i < 2 * ROUNDS; i++) { // which of the two goes first alternates as well
        int which = (i + i / 2) % 2;
        figures[which][i / 2] = round_run(&benches[which], producers);
    }
    printf("%5u B, %d producer%s", message_bytes, producers, producers == 1 ? " " : "s");
    for (int k = 0; k < 2; k++) {
        qsort(figures[k], ROUNDS, sizeof(double), double_compare);
        printf("   %s %6.1f [%.1f-%.1f], refused %llu", k == 0 ? "segments" : "mutex",
               figures[k][ROUNDS / 2], figures[k][0], figures[k][ROUNDS - 1],
               (unsigned long long)atomic_load(&benches[k].refused));
        free(benches[k].sink);
    }
    printf("\n");
    free(benches[1].buffer.filling);
    free(benches[1].buffer.draining);
    free(region);
}

int main(void)
{
    static const uint32_t sizes[] = {128, 512, 4096};
    printf("ns per append, median of %d rounds [lowest-highest]\n", ROUNDS);
    for (int producers = 1; producers <= PRODUCERS_MAX; producers++) {
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            pair_run(sizes[i], producers);
        }
    }
    return 0;
}
