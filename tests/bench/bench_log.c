// What handing over a message costs its thread: weir_log, a mutex and memcpy, a send().
//
// Paced: each thread logs 20 messages in a row every 100 us (of 4 KiB every 500 us). Flooding: as
// fast as it can. Every other burst (flooding: every eighth) is timed call by call instead of as
// a whole: p50 and up are of those calls and include one look at the clock, some 25 ns. A
// collector on a Unix socket, a process of its own, reads everything; what does not fit is not
// taken ("refused").
//
// weir   with the default options; its whole buffer was filled once before. weir_slow, weir_stopped
//        and weir_gone: the collector has become so when the threads begin.
// mutex  two buffers of 1 MiB; logging threads append to one under a mutex while a thread, which
//        comes every millisecond, or at once when it found something, sends the other in one piece.
// send   one blocking send() for each message, on a socket that the threads share.
#include "tests/bench/support_loggers.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/support_pool.h"
#include "tests/bench/support_reader.h"

#define BUFFER_BYTES (1u << 20)
#define FLUSH_PAUSE_NS 1000000u
#define SETTLE_NS 30000000u // that a connection is gone is known by then

// Where messages go: the three ways have the same face.
struct target {
    bool (*log)(void *argument, const char *message, size_t bytes);
    struct bench_pool pool;
    enum bench_health health;
    int fd;
    pthread_mutex_t lock;
    char *filling, *draining;
    size_t filled_bytes;
    pthread_t flusher;
    _Atomic bool over;
};

// ---- Three ways ----

static bool weir_way(void *argument, const char *message, size_t bytes)
{
    struct target *target = argument;
    return weir_log(target->pool.pool, message, bytes) == 0;
}

static bool mutex_way(void *argument, const char *message, size_t bytes)
{
    struct target *target = argument;
    pthread_mutex_lock(&target->lock);
    size_t at = target->filled_bytes;
    bool fits = at + bytes + 1 <= BUFFER_BYTES;
    if (fits) {
        memcpy(target->filling + at, message, bytes);
        target->filling[at + bytes] = '\n';
        target->filled_bytes = at + bytes + 1;
    }
    pthread_mutex_unlock(&target->lock);
    return fits;
}

static bool send_way(void *argument, const char *message, size_t bytes)
{
    struct target *target = argument;
    return send(target->fd, message, bytes, MSG_NOSIGNAL) == (ssize_t)bytes;
}

static void *flusher_run(void *argument)
{
    struct target *target = argument;
    while (!atomic_load(&target->over)) {
        pthread_mutex_lock(&target->lock);
        char *full = target->filling;
        size_t bytes = target->filled_bytes;
        target->filling = target->draining;
        target->draining = full;
        target->filled_bytes = 0;
        pthread_mutex_unlock(&target->lock);
        for (size_t sent = 0; sent < bytes;) {
            ssize_t now = send(target->fd, full + sent, bytes - sent, MSG_NOSIGNAL);
            bench_check(now > 0, "send");
            sent += (size_t)now;
        }
        if (bytes == 0) {
            bench_sleep_until(bench_now_ns() + FLUSH_PAUSE_NS);
        }
    }
    return NULL;
}

static char *buffer_get(void)
{
    char *buffer = malloc(BUFFER_BYTES);
    bench_check(buffer != NULL, "malloc");
    memset(buffer, 1, BUFFER_BYTES); // known to the kernel
    return buffer;
}

static enum bench_health health_of(const char *who)
{
    static const char *const names[] = {[BENCH_HEALTHY] = "weir",
                                        [BENCH_SLOW] = "weir_slow",
                                        [BENCH_STOPPED] = "weir_stopped",
                                        [BENCH_GONE] = "weir_gone"};
    enum bench_health health = BENCH_HEALTHY;
    while (strcmp(names[health], who) != 0) {
        health++;
    }
    return health;
}

static void target_open(struct target *target, const char *who, const struct bench_reader *reader)
{
    memset(target, 0, sizeof(*target));
    if (strncmp(who, "weir", 4) == 0) {
        target->log = weir_way;
        struct weir_pool_options options =
            bench_pool_options(reader->endpoint, WEIR_CONFIRM_AUTO, WEIR_FULL_DROP_NEWEST);
        bench_pool_open(&target->pool, &options, NULL);
        bench_pool_use(&target->pool);
        target->health = health_of(who);
        if (target->health != BENCH_HEALTHY) {
            bench_reader_become(reader, target->health);
            bench_sleep_until(bench_now_ns() + SETTLE_NS);
        }
        return;
    }
    target->fd = bench_reader_connect(reader);
    target->log = send_way;
    if (strcmp(who, "mutex") == 0) {
        target->log = mutex_way;
        target->filling = buffer_get();
        target->draining = buffer_get();
        pthread_mutex_init(&target->lock, NULL);
        bench_check(pthread_create(&target->flusher, NULL, flusher_run, target) == 0, "thread");
    }
}

static void target_close(struct target *target, const struct bench_reader *reader)
{
    struct weir_metrics books;
    atomic_store(&target->over, true);
    if (target->health == BENCH_GONE) {
        bench_pool_abandon(&target->pool);
        return;
    }
    if (target->log == weir_way) {
        bench_reader_become(reader, BENCH_HEALTHY);
        bench_pool_close(&target->pool, &books);
        return;
    }
    if (target->log == mutex_way) {
        pthread_join(target->flusher, NULL);
        free(target->filling);
        free(target->draining);
    }
    close(target->fd);
}

static void log_measure(const struct bench_case *self)
{
    struct bench_reader reader;
    static struct target target;
    bench_reader_start(&reader, BENCH_UNIX, 0);
    target_open(&target, self->who, &reader);
    bench_loggers_run(self, target.log, &target);
    target_close(&target, &reader);
    bench_reader_stop(&reader);
    bench_loggers_report(self, 0);
}

int main(int argc, char **argv)
{
    static const char *const ways[] = {"weir", "mutex", "send"};
    static const char *const failing[] = {"weir_slow", "weir_stopped", "weir_gone"};
    bench_loggers_add(ways, sizeof(ways) / sizeof(ways[0]), true, log_measure);
    bench_loggers_add(failing, sizeof(failing) / sizeof(failing[0]), false, log_measure);
    return bench_main(argc, argv);
}
