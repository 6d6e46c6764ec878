// How long a message takes from weir_log until the collector's recv() returned it, at a low rate.
//
// One thread logs 128 bytes at even intervals; each message says when it was made. `send` makes one
// send() for each instead: what the sockets and the waking of the collector cost by themselves.
#include "tests/bench/bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/support_pool.h"
#include "tests/bench/support_reader.h"

#define MESSAGE_BYTES 127u
#define MESSAGES_MIN 20u

struct shape {
    enum bench_transport transport;
    uint32_t messages_per_s;
};

static void latency_measure(const struct bench_case *self)
{
    const struct shape *shape = self->what;
    struct bench_reader reader;
    struct bench_pool bench = {.pool = NULL};
    bool sends = strcmp(self->who, "send") == 0;
    char message[MESSAGE_BYTES + 1];
    int fd = -1;
    bench_reader_start(&reader, shape->transport, sizeof(message));
    if (sends) {
        fd = bench_reader_connect(&reader);
    } else {
        struct weir_pool_options options =
            bench_pool_options(reader.endpoint, WEIR_CONFIRM_AUTO, WEIR_FULL_DROP_NEWEST);
        bench_pool_open(&bench, &options, NULL);
    }
    memset(message, 'm', sizeof(message) - 1);
    message[MESSAGE_BYTES] = '\n';
    uint64_t period_ns = 1000000000u / shape->messages_per_s;
    uint64_t count = bench_duration_ns() / period_ns;
    count = count < MESSAGES_MIN ? MESSAGES_MIN : count;
    uint64_t due_ns = bench_now_ns();
    for (uint64_t i = 0; i < count; i++) {
        char stamp[BENCH_STAMP_BYTES + 1];
        bench_sleep_until(due_ns);
        (void)snprintf(stamp, sizeof(stamp), "%016" PRIx64, bench_now_ns());
        memcpy(message, stamp, BENCH_STAMP_BYTES);
        if (sends) {
            bench_check(send(fd, message, sizeof(message), MSG_NOSIGNAL) > 0, "send");
        } else {
            bench_must(weir_log(bench.pool, message, MESSAGE_BYTES), "weir_log");
        }
        due_ns += period_ns;
    }
    (void)bench_reader_await_ns(&reader, count * sizeof(message));
    uint32_t latencies_count;
    uint32_t *latencies_ns = bench_reader_latencies_ns(&reader, &latencies_count);
    bench_percentiles(latencies_ns, latencies_count);
    if (sends) {
        close(fd);
    } else {
        struct weir_metrics books;
        bench_pool_close(&bench, &books);
    }
    bench_reader_stop(&reader);
}

int main(int argc, char **argv)
{
    static const struct shape shapes[] = {{BENCH_UNIX, 10}, {BENCH_UNIX, 100}, {BENCH_UNIX, 1000},
                                          {BENCH_TCP, 10},  {BENCH_TCP, 100},  {BENCH_TCP, 1000}};
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        const struct shape *shape = &shapes[i];
        const char *transport = shape->transport == BENCH_TCP ? "tcp" : "unix";
        bench_add("weir", latency_measure, shape, 1, "latency_%s_%u", transport,
                  shape->messages_per_s);
        bench_add("send", latency_measure, shape, 1, "latency_%s_%u", transport,
                  shape->messages_per_s);
    }
    return bench_main(argc, argv);
}
