// What traffic costs beside the calls: system calls, wake-ups, processor time, per million.
//
// One thread logs 128 bytes at an even rate, or as fast as nothing is refused (flood: it waits
// where the buffer is full). Counted is what happens after the first 50 ms. System calls pass
// through a struct weir_os that counts them; processor time is that of all threads but the
// logging one, and includes the counting. `sends` are the system calls that carried messages,
// `wakes` what logging threads did to wake the writer, `switches` how often a thread of the
// library went to sleep.
#include "tests/bench/bench.h"

#include <string.h>
#include <sys/resource.h>

#include "tests/bench/support_count.h"
#include "tests/bench/support_pool.h"
#include "tests/bench/support_reader.h"

#define MESSAGE_BYTES 128u
#define WARM_UP_NS 50000000u
#define STEP_NS_MIN 100000u // at high rates several messages are logged in a row

struct shape {
    enum bench_transport transport;
    uint32_t messages_per_s; // 0: flood
    const char *rate;
};

struct usage {
    struct bench_counts calls;
    struct weir_metrics books;
    double cpu_ns;
    int64_t switches;
};

static double times_ns(const struct rusage *used)
{
    return (double)(used->ru_utime.tv_sec + used->ru_stime.tv_sec) * 1e9 +
           (double)(used->ru_utime.tv_usec + used->ru_stime.tv_usec) * 1e3;
}

static void usage_take(struct usage *usage, struct weir_pool *pool)
{
    struct rusage all, own;
    bench_check(getrusage(RUSAGE_SELF, &all) == 0, "getrusage");
    bench_check(getrusage(RUSAGE_THREAD, &own) == 0, "getrusage");
    usage->cpu_ns = times_ns(&all) - times_ns(&own);
    usage->switches = all.ru_nvcsw - own.ru_nvcsw;
    usage->calls = bench_counts();
    weir_pool_stats(pool, &usage->books);
}

static void log_until(const struct shape *shape, struct weir_pool *pool, uint64_t end_ns)
{
    char message[MESSAGE_BYTES];
    memset(message, 'm', sizeof(message));
    uint64_t due_ns = bench_now_ns(), step_ns = 0;
    uint32_t in_a_row = 64;
    if (shape->messages_per_s > 0) {
        uint64_t period_ns = 1000000000u / shape->messages_per_s;
        in_a_row = period_ns < STEP_NS_MIN ? (uint32_t)(STEP_NS_MIN / period_ns) : 1;
        step_ns = period_ns * in_a_row;
    }
    while (bench_now_ns() < end_ns) {
        for (uint32_t i = 0; i < in_a_row; i++) {
            bench_must(weir_log(pool, message, sizeof(message)), "weir_log");
        }
        due_ns += step_ns;
        if (step_ns > 0) {
            bench_sleep_until(due_ns);
        }
    }
}

static void usage_report(const struct usage *before, const struct usage *after)
{
    double millions =
        (double)(after->books.accepted_messages - before->books.accepted_messages) / 1e6;
    bench_must(millions > 0 ? 0 : WEIR_ETIMEOUT, "nothing was logged in so short a time");
    double others = (double)(after->calls.by_others - before->calls.by_others);
    double loggers = (double)(after->calls.by_loggers - before->calls.by_loggers);
    double sends = (double)(after->books.sends - before->books.sends);
    double wakes = (double)(after->books.wakes - before->books.wakes);
    bench_sample("cpu", "ms", (after->cpu_ns - before->cpu_ns) / 1e6 / millions);
    bench_sample("writer_calls", "calls", others / millions);
    bench_sample("logger_calls", "calls", loggers / millions);
    bench_sample("sends", "calls", sends / millions);
    bench_sample("wakes", "wakes", wakes / millions);
    bench_sample("switches", "switches", (double)(after->switches - before->switches) / millions);
}

static void traffic_measure(const struct bench_case *self)
{
    const struct shape *shape = self->what;
    struct bench_reader reader;
    struct bench_pool bench;
    struct usage before, after;
    struct weir_metrics books;
    struct weir_os os = bench_count_os();
    enum weir_confirm confirm =
        strcmp(self->who, "weir_sent") == 0 ? WEIR_CONFIRM_SENT : WEIR_CONFIRM_PEER;
    bench_reader_start(&reader, shape->transport, 0);
    struct weir_pool_options options =
        bench_pool_options(reader.endpoint, confirm, WEIR_FULL_BLOCK);
    bench_pool_open(&bench, &options, &os);
    bench_count_as_logger();
    uint64_t begin_ns = bench_now_ns() + WARM_UP_NS;
    log_until(shape, bench.pool, begin_ns);
    usage_take(&before, bench.pool);
    log_until(shape, bench.pool, begin_ns + bench_duration_ns());
    usage_take(&after, bench.pool);
    bench_pool_close(&bench, &books);
    bench_reader_stop(&reader);
    usage_report(&before, &after);
}

int main(int argc, char **argv)
{
    static const struct shape shapes[] = {{BENCH_UNIX, 1000, "1k"},    {BENCH_UNIX, 100000, "100k"},
                                          {BENCH_UNIX, 1000000, "1m"}, {BENCH_UNIX, 0, "flood"},
                                          {BENCH_TCP, 1000, "1k"},     {BENCH_TCP, 100000, "100k"},
                                          {BENCH_TCP, 1000000, "1m"},  {BENCH_TCP, 0, "flood"}};
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        const char *transport = shapes[i].transport == BENCH_TCP ? "tcp" : "unix";
        bench_add("weir_sent", traffic_measure, &shapes[i], 1, "traffic_%s_%s", transport,
                  shapes[i].rate);
        bench_add("weir_peer", traffic_measure, &shapes[i], 1, "traffic_%s_%s", transport,
                  shapes[i].rate);
    }
    return bench_main(argc, argv);
}
