// Scenarios of a pool whose collector does nothing wrong: then there is no excuse for anything.
//
// The writer-* scenarios ask what may be lost when things break. Here nothing breaks but calls that
// a signal interrupts, and time limits are far away, so that the answers are exact: every flush and
// close succeeds, and soon; nobody is given up; nothing is dropped.
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "sim/scenario_support.h"
#include "sim/scenarios.h"
#include "weir_writer.h"

#define SECOND_NS UINT64_C(1000000000)
// Time limits that nothing should come near, and what is soon beside them.
#define FAR_MS 3600000u
#define SOON_NS (20 * SECOND_NS)
#define PRODUCERS_MAX 3
#define MESSAGE_BYTES_MAX 4000

// ---- A collector: accepts, reads to the end of the stream, closes ----

struct reader {
    struct weir_sim *sim;
    const struct weir_os *os;
    int listener;
    uint64_t pause_ns; // between two reads of `bytes_max`; 0: as fast as it can
    size_t bytes_max;
    bool rude; // closes every connection at once
};

static void reader_read(struct reader *me, int fd)
{
    char bytes[4096];
    while (!me->rude) {
        int64_t count = me->os->socket_recv(me->os->self, fd, bytes, me->bytes_max);
        if (count == -EAGAIN) {
            (void)weir_sim_wait(me->sim, fd, WEIR_READABLE, WEIR_NEVER);
        } else if (count <= 0) {
            break;
        } else if (me->pause_ns > 0) {
            weir_sim_sleep(me->sim, me->pause_ns);
        }
    }
    (void)me->os->socket_close(me->os->self, fd);
}

static void reader_main(void *argument)
{
    struct reader *me = argument;
    for (;;) {
        int fd = me->os->socket_accept(me->os->self, me->listener);
        if (fd == -EAGAIN) {
            (void)weir_sim_wait(me->sim, me->listener, WEIR_READABLE, WEIR_NEVER);
        } else if (fd >= 0) {
            reader_read(me, fd);
        }
    }
}

// The listener belongs to the collector's process: made there, before anybody dials.
struct opening {
    struct reader *reader;
    struct weir_address address;
    int family;
    _Atomic uint32_t open;
};

static void opening_main(void *argument)
{
    struct opening *opening = argument;
    struct reader *me = opening->reader;
    me->listener = me->os->socket_open(me->os->self, opening->family, SOCK_STREAM);
    weir_sim_check(me->sim,
                   me->os->socket_bind(me->os->self, me->listener, &opening->address) == 0 &&
                       me->os->socket_listen(me->os->self, me->listener, 8) == 0,
                   "collector-listens");
    atomic_store_explicit(&opening->open, 1, memory_order_release);
    reader_main(me);
}

static void reader_start(struct weir_sim *sim, struct reader *reader, struct opening *opening,
                         bool tcp)
{
    reader->sim = sim;
    reader->os = weir_sim_os(sim);
    *opening = (struct opening){.reader = reader, .family = tcp ? AF_INET : AF_UNIX};
    if (tcp) {
        struct sockaddr_in in = {.sin_family = AF_INET,
                                 .sin_port = htons(601),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        memcpy(opening->address.bytes, &in, sizeof in);
        opening->address.bytes_count = sizeof in;
    } else {
        weir_sim_check(sim, weir_address_unix(&opening->address, "@pool") == 0, "address");
    }
    (void)weir_sim_process_start(sim, opening_main, opening);
    while (atomic_load_explicit(&opening->open, memory_order_acquire) == 0) {
        weir_sim_sleep(sim, 1000);
    }
}

// ---- The pool and its producers ----

struct bench {
    struct weir_sim *sim;
    struct weir_runtime *runtime;
    struct weir_pool *pool;
    struct reader reader;
    struct opening opening;
    uint32_t messages, message_bytes;
    bool flushes;        // each producer, after each message
    uint32_t impatience; // flushes of a thread that logs nothing
};

static void bench_open(struct bench *bench, struct weir_sim *sim, struct weir_pool_options *options,
                       bool tcp)
{
    bench->sim = sim;
    reader_start(sim, &bench->reader, &bench->opening, tcp);
    bench->runtime = scenario_runtime(sim, weir_sim_draw(sim, "workers", 1, 2));
    options->endpoint = tcp ? "tcp://127.0.0.1:601" : "unix:@pool";
    options->message_bytes_max = MESSAGE_BYTES_MAX;
    char why[256];
    int error = weir_pool_open(&bench->pool, bench->runtime, options, why, sizeof why);
    weir_sim_check(sim, error == 0, "pool-open");
}

static void bench_flush(struct bench *bench)
{
    uint64_t begin_ns = weir_sim_now_ns(bench->sim);
    int error = weir_pool_flush(bench->pool, FAR_MS);
    weir_sim_check(bench->sim, error == 0, "flush-gave-up");
    weir_sim_check(bench->sim, weir_sim_now_ns(bench->sim) - begin_ns < SOON_NS, "flush-overslept");
}

static void producer_main(void *argument)
{
    struct bench *bench = argument;
    char message[MESSAGE_BYTES_MAX];
    memset(message, 'm', sizeof message);
    for (uint32_t i = 0; i < bench->messages; i++) {
        weir_sim_check(bench->sim, weir_log(bench->pool, message, bench->message_bytes) == 0,
                       "refused-with-room");
        if (bench->flushes) {
            bench_flush(bench);
        }
    }
}

// Flushes again and again, so that one begins just as the writer settles the last message.
static void impatient_main(void *argument)
{
    struct bench *bench = argument;
    for (uint32_t i = 0; i < bench->impatience; i++) {
        bench_flush(bench);
    }
}

static void bench_close(struct bench *bench, uint64_t confirmed)
{
    uint64_t begin_ns = weir_sim_now_ns(bench->sim);
    int error = weir_pool_close(bench->pool, FAR_MS);
    weir_sim_check(bench->sim, error == 0, "close-gave-up");
    weir_sim_check(bench->sim, weir_sim_now_ns(bench->sim) - begin_ns < SOON_NS, "close-overslept");
    struct weir_metrics metrics;
    weir_pool_stats(bench->pool, &metrics);
    weir_sim_check(bench->sim, weir_metrics_balanced(&metrics), "books-unbalanced");
    weir_sim_check(bench->sim, metrics.confirmed_messages == confirmed, "not-all-confirmed");
    weir_sim_check(bench->sim, metrics.faults[WEIR_FAULT_STALL] == 0, "given-up-without-reason");
    weir_sim_check(bench->sim, metrics.resent_messages == 0, "sent-twice-without-reason");
    weir_pool_destroy(bench->pool);
    weir_runtime_destroy(bench->runtime);
}

static void producers_run(struct bench *bench, uint32_t producers)
{
    uint32_t actors[PRODUCERS_MAX];
    for (uint32_t i = 0; i < producers; i++) {
        actors[i] = weir_sim_start(bench->sim, producer_main, bench);
    }
    for (uint32_t i = 0; i < producers; i++) {
        weir_sim_join(bench->sim, actors[i]);
    }
}

static void pool_exact(struct weir_sim *sim, bool tcp)
{
    struct weir_pool_options options;
    weir_pool_options_init(&options);
    struct bench bench = {.reader = {.bytes_max = 4096}};
    options.buffer_bytes_max = 512u << 10;
    options.flush_limit_bytes = 64u << weir_sim_draw(sim, "flush_limit", 0, 5);
    options.flush_interval_ms = 1 + weir_sim_draw(sim, "flush_interval", 0, 1) * 100;
    options.epoch_bytes_max = 1 + weir_sim_draw(sim, "epoch_bytes", 0, 400);
    bench.messages = weir_sim_draw(sim, "messages", 1, 12);
    bench.message_bytes = 1 + weir_sim_draw(sim, "message_bytes", 0, 60);
    bench.flushes = weir_sim_draw(sim, "flushes", 0, 1) == 1;
    uint32_t producers = weir_sim_draw(sim, "producers", 1, PRODUCERS_MAX);
    bench.impatience = weir_sim_draw(sim, "impatience", 0, 8);
    bench_open(&bench, sim, &options, tcp);
    uint32_t impatient = weir_sim_start(sim, impatient_main, &bench);
    producers_run(&bench, producers);
    weir_sim_join(sim, impatient);
    bench_close(&bench, (uint64_t)producers * bench.messages);
}

static void pool_unix(struct weir_sim *sim)
{
    pool_exact(sim, false);
}

static void pool_tcp(struct weir_sim *sim)
{
    pool_exact(sim, true);
}

// ---- Slow but steady: it never stands still for as long as the stall timeout ----

// 120 kB/s, and more to send all the time; looked at before the first epoch is over, since up to
// then nothing is confirmed that would show the writer that the peer lives.
static void pool_slow(struct weir_sim *sim)
{
    struct weir_pool_options options;
    weir_pool_options_init(&options);
    struct bench bench = {.reader = {.bytes_max = 4096, .pause_ns = SECOND_NS / 30}};
    options.buffer_bytes_max = 8u << 20;
    options.flush_limit_bytes = 4096;
    options.stall_timeout_ms = 3333;
    options.epoch_interval_ms = FAR_MS;
    bench_open(&bench, sim, &options, true);
    char message[MESSAGE_BYTES_MAX];
    memset(message, 's', sizeof message);
    for (uint32_t i = 0; i < 300; i++) {
        weir_sim_check(sim, weir_log(bench.pool, message, sizeof message - 1) == 0,
                       "refused-with-room");
        weir_sim_sleep(sim, SECOND_NS / 75);
    }
    struct weir_metrics metrics;
    weir_pool_stats(bench.pool, &metrics);
    weir_sim_check(sim, metrics.faults[WEIR_FAULT_STALL] == 0, "given-up-without-reason");
    weir_sim_check(sim, metrics.disconnects == 0, "disconnected-without-reason");
    (void)weir_pool_close(bench.pool, 0);
    weir_pool_destroy(bench.pool);
    weir_runtime_destroy(bench.runtime);
}

// ---- A flush that the pool's close ends ----

static void flusher_main(void *argument)
{
    struct bench *bench = argument;
    uint64_t begin_ns = weir_sim_now_ns(bench->sim);
    int error = weir_pool_flush(bench->pool, FAR_MS);
    weir_sim_check(bench->sim, error == WEIR_ECLOSED || error == 0, "flush-result");
    weir_sim_check(bench->sim, weir_sim_now_ns(bench->sim) - begin_ns < SOON_NS, "flush-overslept");
    weir_sim_sometimes(bench->sim, error == 0 ? "flushed" : "flush-ended-by-close");
}

// The collector's process stands still, so that the flush cannot succeed.
static void pool_close_flush(struct weir_sim *sim)
{
    struct weir_pool_options options;
    weir_pool_options_init(&options);
    struct bench bench = {.messages = 1, .message_bytes = 10, .reader = {.bytes_max = 4096}};
    options.buffer_bytes_max = 64u << 10;
    options.flush_limit_bytes = 64;
    bench_open(&bench, sim, &options, false);
    weir_sim_process_stop(sim, 1);
    producers_run(&bench, 1);
    uint32_t flushers = weir_sim_draw(sim, "flushers", 1, 2);
    uint32_t actors[2];
    for (uint32_t i = 0; i < flushers; i++) {
        actors[i] = weir_sim_start(sim, flusher_main, &bench);
    }
    (void)weir_pool_close(bench.pool, weir_sim_draw(sim, "close_ms", 0, 3)); // in vain
    for (uint32_t i = 0; i < flushers; i++) {
        weir_sim_join(sim, actors[i]);
    }
    weir_pool_destroy(bench.pool);
    weir_runtime_destroy(bench.runtime);
}

// ---- A collector that closes at once is not dialled again at once ----

// 100 ms, 200, 400 ...: in three seconds some five dials, with jitter a few more.
#define DIALS_MAX 20

static void pool_backoff(struct weir_sim *sim)
{
    struct weir_pool_options options;
    weir_pool_options_init(&options);
    struct bench bench = {.messages = 3, .message_bytes = 10, .reader = {.rude = true}};
    options.buffer_bytes_max = 64u << 10;
    options.flush_limit_bytes = 64;
    bench_open(&bench, sim, &options, weir_sim_draw(sim, "tcp", 0, 1) == 1);
    producers_run(&bench, 1);
    weir_sim_sleep(sim, 3 * SECOND_NS);
    (void)weir_pool_close(bench.pool, 0); // and then its counters are no older than that
    struct weir_metrics metrics;
    weir_pool_stats(bench.pool, &metrics);
    weir_sim_check(sim, metrics.connects >= 2, "not-dialled-again");
    weir_sim_check(sim, metrics.connects <= DIALS_MAX, "dialled-without-backoff");
    weir_pool_destroy(bench.pool);
    weir_runtime_destroy(bench.runtime);
}

#define POOL_KINDS (SCENARIO_RUNTIME_KINDS & ~(1u << WEIR_SIM_TIME))

static const char *const close_probes[] = {"flush-ended-by-close", NULL};

const struct weir_sim_scenario sim_scenarios_pool[] = {
    {.name = "pool-unix",
     .about = "a Unix collector that does nothing wrong: all is confirmed, and soon",
     .run = pool_unix,
     .kinds = POOL_KINDS},
    {.name = "pool-tcp",
     .about = "the same over TCP, in epochs",
     .run = pool_tcp,
     .kinds = POOL_KINDS},
    {.name = "pool-slow",
     .about = "a collector that is slow but steady is not given up",
     .run = pool_slow,
     .kinds = POOL_KINDS},
    {.name = "pool-backoff",
     .about = "a collector that closes at once is dialled less and less often",
     .run = pool_backoff,
     .kinds = POOL_KINDS},
    {.name = "pool-close-flush",
     .about = "a flush that cannot succeed ends with the pool's close",
     .run = pool_close_flush,
     .kinds = POOL_KINDS,
     .probes = close_probes,
     .probe_seeds = 500,
     .weight = 20},
    {0},
};
