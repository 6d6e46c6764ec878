// A program of several threads that log through one pool.
//
//     weir recv --listen unix:@weir --count &
//     ./threads unix:@weir 4 10000
//
// Status 0: everything that was taken is known to have arrived.
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "weir_writer.h"

#define THREADS_MAX 64

struct logger {
    pthread_t thread;
    struct weir_pool *pool;
    int number;
    int lines;
};

static void *logger_run(void *argument)
{
    struct logger *me = argument;
    for (int i = 0; i < me->lines; i++) {
        char line[64];
        int length = snprintf(line, sizeof(line), "thread %d line %d", me->number, i);
        // Copies the line and returns: no I/O, no waiting. What is refused is counted, by reason,
        // in the books; a thread that must lose nothing would slow down here, or ask for
        // `full = block`.
        (void)weir_log(me->pool, line, (size_t)length);
    }
    return NULL;
}

// Starts the threads and waits for them; false: one could not be started.
static bool loggers_run(struct weir_pool *pool, int threads, int lines)
{
    struct logger loggers[THREADS_MAX];
    int started = 0;
    for (; started < threads; started++) {
        loggers[started] = (struct logger){.pool = pool, .number = started, .lines = lines};
        if (pthread_create(&loggers[started].thread, NULL, logger_run, &loggers[started]) != 0) {
            break;
        }
    }
    for (int i = 0; i < started; i++) {
        (void)pthread_join(loggers[i].thread, NULL);
    }
    return started == threads;
}

// The library's own thread calls this when losses or connection errors begin and end.
static void tell(void *context, const char *line)
{
    (void)context;
    fprintf(stderr, "threads: %s\n", line);
}

int main(int argc, char **argv)
{
    const char *endpoint = argc > 1 ? argv[1] : "unix:@weir";
    int threads = argc > 2 ? atoi(argv[2]) : 4;
    int lines = argc > 3 ? atoi(argv[3]) : 10000;
    if (threads < 1 || threads > THREADS_MAX || lines < 0) {
        fprintf(stderr, "usage: threads [ENDPOINT [THREADS [LINES]]], at most %d threads\n",
                THREADS_MAX);
        return 2;
    }
    struct weir_runtime *runtime;
    struct weir_runtime_options runtime_options = {.workers = 1};
    int error = weir_runtime_create(&runtime, &runtime_options);
    if (error < 0) {
        fprintf(stderr, "threads: runtime: %s\n", weir_error_text(error));
        return 1;
    }
    char why[512];
    struct weir_pool *pool;
    struct weir_pool_options options;
    weir_pool_options_init(&options);
    options.endpoint = endpoint;
    options.pool_size = 2; // two connections; what one thread logs stays on one, in order
    options.log = tell;
    if (weir_pool_open(&pool, runtime, &options, why, sizeof(why)) < 0) {
        fprintf(stderr, "threads: %s\n", why);
        weir_runtime_destroy(runtime);
        return 1;
    }

    bool complete = loggers_run(pool, threads, lines);

    error = weir_pool_close(pool, 10000); // delivers and proves it, within ten seconds
    struct weir_metrics books;
    weir_pool_stats(pool, &books);
    printf("%" PRIu64 " offered, %" PRIu64 " accepted, %" PRIu64 " confirmed: %s\n",
           books.offered_messages, books.accepted_messages, books.confirmed_messages,
           error < 0 ? weir_error_text(error) : "delivered");
    weir_pool_destroy(pool); // before the runtime, always
    weir_runtime_destroy(runtime);
    return complete && error == 0 ? 0 : 1;
}
