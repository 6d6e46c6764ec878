// Pools with a collector that hangs up now and then: floods, lone messages, flushes, closes.
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/mutants/stress.h"
#include "weir_writer.h"

struct collector {
    int listener;
    _Atomic uint32_t newest; // the highest message number read
    atomic_bool end;
    uint64_t seed;
};

#define CONNECTIONS_MAX 16u

// Reads lines of a number each; now and then it hangs up, over whatever it has not read.
static void collector_read(struct collector *me, int *fd, uint32_t *number)
{
    char bytes[16384];
    ssize_t count = recv(*fd, bytes, sizeof bytes, MSG_DONTWAIT);
    for (ssize_t i = 0; i < count; i++) {
        if (bytes[i] != '\n') {
            *number = *number * 10 + (uint32_t)(bytes[i] - '0');
            continue;
        }
        if (*number > atomic_load(&me->newest)) {
            atomic_store(&me->newest, *number);
        }
        *number = 0;
    }
    if (count == 0 || (count < 0 && errno != EAGAIN) || stress_random(&me->seed, 200) == 0) {
        close(*fd);
        *fd = -1;
        *number = 0;
    }
}

static void *collector_main(void *argument)
{
    struct collector *me = argument;
    struct pollfd fds[CONNECTIONS_MAX + 1];
    uint32_t numbers[CONNECTIONS_MAX + 1] = {0};
    for (uint32_t i = 0; i <= CONNECTIONS_MAX; i++) {
        fds[i] = (struct pollfd){.fd = i == 0 ? me->listener : -1, .events = POLLIN};
    }
    while (!atomic_load(&me->end)) {
        if (poll(fds, CONNECTIONS_MAX + 1, 50) <= 0) {
            continue;
        }
        for (uint32_t i = 1; i <= CONNECTIONS_MAX; i++) {
            if (fds[i].fd >= 0 && fds[i].revents != 0) {
                collector_read(me, &fds[i].fd, &numbers[i]);
            } else if (fds[i].fd < 0 && (fds[0].revents & POLLIN) != 0) {
                fds[i].fd = accept(me->listener, NULL, NULL);
                fds[i].revents = 0;
                fds[0].revents = 0;
            }
        }
    }
    for (uint32_t i = 1; i <= CONNECTIONS_MAX; i++) {
        if (fds[i].fd >= 0) {
            close(fds[i].fd);
        }
    }
    return NULL;
}

struct pool_case {
    struct weir_pool *pool;
    struct collector *collector;
    uint64_t *seed;
    uint32_t *number;
};

static void pool_log(struct pool_case *me)
{
    char text[16];
    int length = snprintf(text, sizeof text, "%u", *me->number + 1);
    if (weir_log(me->pool, text, (size_t)length) == 0) {
        ++*me->number;
    }
}

static void pool_burst(struct pool_case *me)
{
    for (uint32_t i = 1 + stress_random(me->seed, 3000); i > 0; i--) {
        pool_log(me);
    }
    struct weir_metrics metrics;
    stress_must(weir_pool_flush(me->pool, 15000) == 0, "pool: flush failed");
    weir_pool_stats(me->pool, &metrics);
    stress_must(weir_metrics_balanced(&metrics), "pool: the books do not balance");
    stress_must(metrics.held_messages == 0, "pool: flushed, and something is held");
    stress_must(atomic_load(&me->collector->newest) >= *me->number,
                "pool: flushed and not delivered");
}

// Around the moment at which the writer goes into deep idle.
static void pool_lone_message(struct pool_case *me)
{
    stress_pause_ns(95 * MS + stress_random(me->seed, 50) * MS + stress_random(me->seed, 1000000));
    pool_log(me);
    uint64_t end_ns = stress_clock_ns() + 10 * S;
    while (atomic_load(&me->collector->newest) < *me->number) {
        stress_must(stress_clock_ns() < end_ns, "pool: a lone message is not delivered");
        stress_pause_ns(MS);
    }
}

static void *flush_main(void *argument)
{
    uint64_t begun_ns = stress_clock_ns();
    int result = weir_pool_flush(argument, 60000);
    stress_must(result == 0 || result == WEIR_ECLOSED, "pool: flush beside close");
    stress_must(stress_clock_ns() < begun_ns + 30 * S, "pool: flush beside close slept on");
    return NULL;
}

static void pool_live(uint32_t part, struct weir_runtime *runtime, struct collector *collector,
                      const char *endpoint, uint64_t *seed, uint32_t *number)
{
    struct weir_pool_options options;
    char why[256];
    struct pool_case pool_case = {.collector = collector, .seed = seed, .number = number};
    weir_pool_options_init(&options);
    options.endpoint = endpoint;
    options.buffer_bytes_max = 256u << 10;
    options.message_bytes_max = 1024;
    options.flush_limit_bytes = 4096;
    options.flush_interval_ms = 5;
    options.retry_interval_ms = 1;
    options.retry_interval_max_ms = 20;
    stress_must(weir_pool_open(&pool_case.pool, runtime, &options, why, sizeof why) == 0,
                "no pool");
    for (uint32_t i = 0; i < 12 && !atomic_load(&stress_over); i++) {
        if (stress_random(seed, 3) == 0) {
            pool_burst(&pool_case);
        } else {
            pool_lone_message(&pool_case);
        }
        stress_step(part);
    }
    pthread_t flusher;
    pool_log(&pool_case);
    stress_start(&flusher, flush_main, pool_case.pool);
    stress_must(weir_pool_close(pool_case.pool, 15000) == 0, "pool: close failed");
    stress_must(atomic_load(&collector->newest) >= *number, "pool: closed and not delivered");
    pthread_join(flusher, NULL);
    weir_pool_destroy(pool_case.pool);
}

void *stress_pool(void *argument)
{
    uint32_t part = (uint32_t)(uintptr_t)argument;
    uint64_t seed = stress_clock_ns() + part;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char endpoint[64];
    int length = snprintf(address.sun_path + 1, 60, "weir-stress-%d-%u", (int)getpid(), part);
    snprintf(endpoint, sizeof endpoint, "unix:@%.40s", address.sun_path + 1);
    struct collector collector = {.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0),
                                  .seed = seed};
    socklen_t bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
    stress_must(bind(collector.listener, (struct sockaddr *)&address, bytes) == 0, "cannot bind");
    stress_must(listen(collector.listener, 64) == 0, "cannot listen");
    pthread_t thread;
    stress_start(&thread, collector_main, &collector);
    uint32_t number = 0;
    while (!atomic_load(&stress_over)) {
        struct weir_runtime_options options = {.workers = 1 + stress_random(&seed, 2)};
        struct weir_runtime *runtime;
        stress_must(weir_runtime_create(&runtime, &options) == 0, "no runtime");
        for (uint32_t i = 0; i < 3 && !atomic_load(&stress_over); i++) {
            pool_live(part, runtime, &collector, endpoint, &seed, &number);
        }
        weir_runtime_destroy(runtime);
    }
    atomic_store(&collector.end, true);
    pthread_join(thread, NULL);
    close(collector.listener);
    return NULL;
}
