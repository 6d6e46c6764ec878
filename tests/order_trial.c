// Many threads log into one pool, and an in-process collector checks each thread's order.
//
//   order_trial [--messages N] [--threads T] [--pool-size P] [--workers W]
//
// Prints what was found and ends with 0 if every message arrived once, in its thread's order, and
// the books balance; 1 if not; 2 for wrong usage.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "weir_writer.h"

#define THREADS_MAX 256
#define LINE_BYTES 32 // "TTTT NNNNNNNNNN ", filling, newline

struct trial {
    uint64_t messages;
    uint32_t threads, pool_size, workers;
    char directory[64], path[80], endpoint[96];
    struct weir_pool *pool;
    // The collector's.
    int listener;
    _Atomic uint32_t stopping;
    uint64_t next[THREADS_MAX]; // the number that each thread's next message must have
    uint64_t arrived, wrong;
};

struct logger {
    struct trial *trial;
    uint32_t thread;
    uint64_t count, accepted;
    pthread_t handle;
};

static void fail(const char *what)
{
    fprintf(stderr, "order_trial: %s: %s\n", what, strerror(errno));
    exit(2);
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

// ---- Logging ----

static void line_make(char *line, uint32_t thread, uint64_t number)
{
    char text[LINE_BYTES + 1];
    (void)snprintf(text, sizeof(text), "%04u %010" PRIu64 " ---------------", thread % 10000,
                   number % 10000000000u);
    memcpy(line, text, LINE_BYTES - 1);
}

static void *logger_main(void *argument)
{
    struct logger *me = argument;
    char line[LINE_BYTES];
    for (uint64_t i = 0; i < me->count; i++) {
        line_make(line, me->thread, i);
        me->accepted += weir_log(me->trial->pool, line, LINE_BYTES - 1) == 0 ? 1 : 0;
    }
    return NULL;
}

// ---- Collecting ----

struct connection {
    int fd;
    size_t count;
    char bytes[1 << 16];
};

static void line_check(struct trial *me, const char *line)
{
    char expected[LINE_BYTES];
    uint64_t thread = strtoull(line, NULL, 10);
    if (thread >= me->threads) {
        me->wrong++;
        return;
    }
    line_make(expected, (uint32_t)thread, me->next[thread]);
    if (memcmp(line, expected, LINE_BYTES - 1) != 0 || line[LINE_BYTES - 1] != '\n') {
        me->wrong++;
    }
    me->next[thread]++;
    me->arrived++;
}

// returns  false: the connection is over.
static bool connection_read(struct trial *me, struct connection *one)
{
    ssize_t got = recv(one->fd, one->bytes + one->count, sizeof(one->bytes) - one->count, 0);
    if (got <= 0) {
        me->wrong += one->count != 0 ? 1 : 0; // it ended inside a line
        return got < 0 && errno == EAGAIN;
    }
    one->count += (size_t)got;
    size_t at = 0;
    for (; one->count - at >= LINE_BYTES; at += LINE_BYTES) {
        line_check(me, one->bytes + at);
    }
    memmove(one->bytes, one->bytes + at, one->count - at);
    one->count -= at;
    return true;
}

static void *collector_main(void *argument)
{
    struct trial *me = argument;
    struct connection *connections = calloc(me->pool_size, sizeof(*connections));
    struct pollfd *polled = calloc(me->pool_size + 1, sizeof(*polled));
    uint32_t count = 0, open = 0;
    if (connections == NULL || polled == NULL) {
        fail("memory");
    }
    polled[0] = (struct pollfd){me->listener, POLLIN, 0};
    while (atomic_load(&me->stopping) == 0 || open > 0) {
        (void)poll(polled, count + 1, 20);
        if ((polled[0].revents & POLLIN) != 0 && count < me->pool_size) {
            int fd = accept4(me->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (fd >= 0) {
                connections[count].fd = fd;
                polled[++count] = (struct pollfd){fd, POLLIN, 0};
                open++;
            }
        }
        for (uint32_t i = 0; i < count; i++) {
            if (polled[i + 1].revents != 0 && !connection_read(me, &connections[i])) {
                (void)close(connections[i].fd);
                polled[i + 1].fd = -1;
                polled[i + 1].revents = 0;
                open--;
            }
        }
    }
    free(connections);
    free(polled);
    return NULL;
}

static void listener_open(struct trial *me)
{
    memcpy(me->directory, "/tmp/weir-order-XXXXXX", sizeof("/tmp/weir-order-XXXXXX"));
    if (mkdtemp(me->directory) == NULL) {
        fail("mkdtemp");
    }
    (void)snprintf(me->path, sizeof(me->path), "%s/s", me->directory);
    (void)snprintf(me->endpoint, sizeof(me->endpoint), "unix:%s", me->path);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, me->path, strlen(me->path) + 1);
    me->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (me->listener < 0 ||
        bind(me->listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(me->listener, 64) != 0) {
        fail("listen");
    }
}

// ---- The trial ----

static uint64_t option_number(const char *text, uint64_t least, uint64_t most)
{
    char *end = NULL;
    errno = 0;
    uint64_t number = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || number < least || number > most) {
        fprintf(stderr, "order_trial: %s is not a number from %" PRIu64 " to %" PRIu64 "\n", text,
                least, most);
        exit(2);
    }
    return number;
}

static void options_read(struct trial *me, int count, char **arguments)
{
    for (int i = 1; i < count; i += 2) {
        const char *value = i + 1 < count ? arguments[i + 1] : "";
        if (strcmp(arguments[i], "--messages") == 0) {
            me->messages = option_number(value, 1, 10000000000u);
        } else if (strcmp(arguments[i], "--threads") == 0) {
            me->threads = (uint32_t)option_number(value, 1, THREADS_MAX);
        } else if (strcmp(arguments[i], "--pool-size") == 0) {
            me->pool_size = (uint32_t)option_number(value, 1, 64);
        } else if (strcmp(arguments[i], "--workers") == 0) {
            me->workers = (uint32_t)option_number(value, 1, 64);
        } else {
            fprintf(stderr, "usage: order_trial [--messages N] [--threads T] [--pool-size P] "
                            "[--workers W]\n");
            exit(2);
        }
    }
}

static void pool_open(struct trial *me, struct weir_runtime **runtime)
{
    struct weir_runtime_options runtime_options = {me->workers, NULL};
    struct weir_pool_options options;
    char why[384] = "";
    weir_pool_options_init(&options);
    options.endpoint = me->endpoint;
    options.pool_size = me->pool_size;
    options.buffer_bytes_max = (uint64_t)me->pool_size * (8 << 20);
    options.message_bytes_max = 4096;
    options.framing = WEIR_FRAMING_NEWLINE;
    options.header = WEIR_HEADER_NONE;
    options.full = WEIR_FULL_BLOCK;
    int error = weir_runtime_create(runtime, &runtime_options);
    if (error == 0) {
        error = weir_pool_open(&me->pool, *runtime, &options, why, sizeof(why));
    }
    if (error != 0) {
        fprintf(stderr, "order_trial: %s %s\n", weir_error_text(error), why);
        exit(2);
    }
}

// Logs everything and closes.  returns  how many were accepted.
static uint64_t pool_fill(struct trial *me, int *verdict)
{
    struct logger *loggers = calloc(me->threads, sizeof(*loggers));
    if (loggers == NULL) {
        fail("memory");
    }
    for (uint32_t i = 0; i < me->threads; i++) {
        uint64_t count = me->messages / me->threads + (i < me->messages % me->threads ? 1 : 0);
        loggers[i] = (struct logger){.trial = me, .thread = i, .count = count};
        if (pthread_create(&loggers[i].handle, NULL, logger_main, &loggers[i]) != 0) {
            fail("pthread_create");
        }
    }
    uint64_t accepted = 0;
    for (uint32_t i = 0; i < me->threads; i++) {
        (void)pthread_join(loggers[i].handle, NULL);
        accepted += loggers[i].accepted;
    }
    free(loggers);
    *verdict = weir_pool_close(me->pool, 60000);
    return accepted;
}

int main(int count, char **arguments)
{
    static struct trial trial = {.messages = 1000000, .threads = 8, .pool_size = 1, .workers = 1};
    struct weir_runtime *runtime = NULL;
    pthread_t collector;
    options_read(&trial, count, arguments);
    listener_open(&trial);
    pool_open(&trial, &runtime);
    if (pthread_create(&collector, NULL, collector_main, &trial) != 0) {
        fail("pthread_create");
    }
    int verdict = 0;
    double begin_s = now_s();
    uint64_t accepted = pool_fill(&trial, &verdict);
    double took_s = now_s() - begin_s;
    struct weir_metrics metrics;
    weir_pool_stats(trial.pool, &metrics);
    atomic_store(&trial.stopping, 1);
    (void)pthread_join(collector, NULL);
    weir_pool_destroy(trial.pool);
    weir_runtime_destroy(runtime);
    (void)close(trial.listener);
    (void)unlink(trial.path);
    (void)rmdir(trial.directory);

    bool order = trial.wrong == 0;
    bool all = accepted == trial.messages && trial.arrived == accepted && verdict == 0;
    bool books = weir_metrics_balanced(&metrics) && metrics.confirmed_messages == accepted &&
                 metrics.held_messages == 0;
    printf("%" PRIu64 " messages from %u threads through %u writers in %.2f s (%.0f a second)\n",
           trial.messages, trial.threads, trial.pool_size, took_s,
           (double)trial.messages / took_s);
    printf("accepted %" PRIu64 ", arrived %" PRIu64 ", close: %s\n", accepted, trial.arrived,
           verdict == 0 ? "proven" : weir_error_text(verdict));
    printf("%" PRIu64 " sends, %" PRIu64 " wakes by logging threads\n", metrics.sends,
           metrics.wakes);
    printf("order per thread: %s (%" PRIu64 " wrong)\n", order ? "kept" : "BROKEN", trial.wrong);
    printf("books: %s\n", books ? "balanced" : "NOT BALANCED");
    return order && all && books ? 0 : 1;
}
