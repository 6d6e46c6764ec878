// End to end: how fast one thread's messages reach a collector, beside a loop of send() alone.
//
// weir logs for the given time, with WEIR_FULL_BLOCK, so that nothing is lost and nothing piles
// up; the time runs from the first weir_log until the collector, a process of its own, has read
// the last byte. `raw` sends one prebuilt buffer again and again: no copy, no framing, no books;
// what the machine can do. Of 64 KiB, as weir sends to Unix sockets, and of 192 KiB, about as
// much as it sends at once over TCP. Framed bytes count.
#include "tests/bench/bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/support_pool.h"
#include "tests/bench/support_reader.h"

#define RAW_BYTES_MAX (192u << 10)
#define MESSAGE_BYTES_MAX 4096u
#define CHECK_EVERY 64u // messages between two looks at the clock

struct shape {
    enum bench_transport transport;
    uint32_t bytes;
};

struct flow {
    uint64_t messages, bytes, took_ns;
};

static double cpu_ns(void)
{
    struct rusage used;
    bench_check(getrusage(RUSAGE_SELF, &used) == 0, "getrusage");
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e9 +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e3;
}

static void flow_report(const struct flow *flow, double used_ns)
{
    bench_sample("rate", "MB/s", (double)flow->bytes * 1e3 / (double)flow->took_ns);
    bench_sample("messages", "M/s", (double)flow->messages * 1e3 / (double)flow->took_ns);
    bench_sample("cpu", "ns/message", used_ns / (double)flow->messages);
}

static void weir_measure(const struct bench_case *self)
{
    const struct shape *shape = self->what;
    struct bench_reader reader;
    struct bench_pool bench;
    struct weir_metrics books;
    char message[MESSAGE_BYTES_MAX];
    enum weir_confirm confirm =
        strcmp(self->who, "weir_sent") == 0 ? WEIR_CONFIRM_SENT : WEIR_CONFIRM_PEER;
    memset(message, 'm', sizeof(message));
    bench_reader_start(&reader, shape->transport, 0);
    struct weir_pool_options options =
        bench_pool_options(reader.endpoint, confirm, WEIR_FULL_BLOCK);
    bench_pool_open(&bench, &options, NULL);
    double used_ns = cpu_ns();
    struct flow flow = {.messages = 0};
    uint64_t begin_ns = bench_now_ns();
    while (bench_now_ns() < begin_ns + bench_duration_ns()) {
        for (uint32_t i = 0; i < CHECK_EVERY; i++) {
            bench_must(weir_log(bench.pool, message, shape->bytes), "weir_log");
        }
        flow.messages += CHECK_EVERY;
    }
    flow.bytes = flow.messages * (shape->bytes + 1);
    bench_must(weir_pool_flush(bench.pool, 30000), "flush");
    flow.took_ns = bench_reader_await_ns(&reader, flow.bytes) - begin_ns;
    used_ns = cpu_ns() - used_ns;
    bench_pool_close(&bench, &books);
    bench_reader_stop(&reader);
    flow_report(&flow, used_ns);
    bench_sample("send", "bytes", (double)books.sent_bytes / (double)books.sends);
    bench_sample("connects", "connections", (double)books.connects);
}

static void raw_measure(const struct bench_case *self)
{
    static char bytes[RAW_BYTES_MAX];
    size_t send_bytes = strcmp(self->who, "raw_64k") == 0 ? 64u << 10 : sizeof(bytes);
    const struct shape *shape = self->what;
    struct bench_reader reader;
    struct flow flow = {.messages = 0};
    memset(bytes, 'm', sizeof(bytes));
    bench_reader_start(&reader, shape->transport, 0);
    int fd = bench_reader_connect(&reader);
    double used_ns = cpu_ns();
    uint64_t begin_ns = bench_now_ns(), sends = 0;
    for (; bench_now_ns() < begin_ns + bench_duration_ns(); sends++) {
        ssize_t sent = send(fd, bytes, send_bytes, MSG_NOSIGNAL);
        bench_check(sent > 0, "send");
        flow.bytes += (uint64_t)sent;
    }
    flow.took_ns = bench_reader_await_ns(&reader, flow.bytes) - begin_ns;
    flow.messages = flow.bytes / (shape->bytes + 1);
    used_ns = cpu_ns() - used_ns;
    close(fd);
    bench_reader_stop(&reader);
    flow_report(&flow, used_ns);
    bench_sample("send", "bytes", (double)flow.bytes / (double)sends);
}

int main(int argc, char **argv)
{
    static const struct shape shapes[] = {{BENCH_UNIX, 128}, {BENCH_UNIX, 512}, {BENCH_UNIX, 4096},
                                          {BENCH_TCP, 128},  {BENCH_TCP, 512},  {BENCH_TCP, 4096}};
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        const struct shape *shape = &shapes[i];
        const char *transport = shape->transport == BENCH_TCP ? "tcp" : "unix";
        bench_add("weir_sent", weir_measure, shape, 1, "stream_%s_%u", transport, shape->bytes);
        bench_add("weir_peer", weir_measure, shape, 1, "stream_%s_%u", transport, shape->bytes);
        bench_add("raw_64k", raw_measure, shape, 1, "stream_%s_%u", transport, shape->bytes);
        bench_add("raw_192k", raw_measure, shape, 1, "stream_%s_%u", transport, shape->bytes);
    }
    return bench_main(argc, argv);
}
