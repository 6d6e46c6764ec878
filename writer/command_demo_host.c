// The host of the demonstration: two threads that log at a steady pace, whatever happens.
#include <errno.h>
#include <signal.h>
#include <time.h>

#include "runtime/assert.h"
#include "writer/command_demo.h"

#define STEP_NS (5 * WEIR_NS_PER_MS)

static bool stopped(struct weir_demo_host *host)
{
    return atomic_load_explicit(&host->stop, memory_order_relaxed);
}

static void *logger_main(void *argument)
{
    struct weir_demo_logger *logger = argument;
    struct weir_demo_host *host = logger->host;
    uint64_t count = host->lines->count;
    uint64_t begun = weir_command_now_ns();
    uint64_t whole = host->seconds * WEIR_NS_PER_S;
    uint64_t number = logger->index;
    char line[WEIR_DEMO_LINE_BYTES_MAX];
    while (number < count && !stopped(host)) {
        uint64_t elapsed = weir_command_now_ns() - begun;
        double part = elapsed >= whole ? 1.0 : (double)elapsed / (double)whole;
        uint64_t due = (uint64_t)(part * (double)count);
        for (; number < due && !stopped(host); number += WEIR_DEMO_THREADS) {
            size_t bytes = weir_demo_line(host->lines, number, line);
            host->accepted[number] = weir_log(host->pool, line, bytes) == 0;
        }
        struct timespec pause = {.tv_nsec = (long)STEP_NS};
        (void)nanosleep(&pause, NULL);
    }
    atomic_fetch_sub_explicit(&host->running, 1, memory_order_relaxed);
    return NULL;
}

int weir_demo_host_start(struct weir_demo_host *host)
{
    weir_assert(host->pool != NULL);
    weir_assert(host->accepted != NULL);
    for (uint32_t i = 0; i < WEIR_DEMO_THREADS; i++) {
        host->loggers[i].host = host;
        host->loggers[i].index = i;
        atomic_fetch_add_explicit(&host->running, 1, memory_order_relaxed);
        // Signals are blocked already, in this thread and so in that one.
        int code = pthread_create(&host->loggers[i].thread, NULL, logger_main, &host->loggers[i]);
        if (code != 0) {
            return -code;
        }
        host->started++;
    }
    return 0;
}

bool weir_demo_host_running(struct weir_demo_host *host)
{
    return atomic_load_explicit(&host->running, memory_order_relaxed) > 0;
}

void weir_demo_host_stop(struct weir_demo_host *host)
{
    atomic_store_explicit(&host->stop, true, memory_order_relaxed);
    for (uint32_t i = 0; i < host->started; i++) {
        (void)pthread_join(host->loggers[i].thread, NULL);
    }
    host->started = 0;
}
