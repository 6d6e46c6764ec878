// How the writer's costs grow with the number of messages, of threads, and of bytes.
//
// messages/N  N messages of 128 bytes are logged and confirmed: the time of each
// crowd/N     100,000 messages of 128 bytes are logged by N threads as fast as they can, into a
//             buffer that takes them all: the processor time of each call, the writer's not counted
// size/N      messages of N bytes, 25 MB of them a second: what weir_log costs each
// buffer/N    a buffer of N bytes, if twice that much memory is free: opening a pool with it; and
//             weir_log of 128 bytes, 25 MB a second, once the buffer was filled and emptied
#include "tests/bench/bench.h"

#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/support_pool.h"
#include "tests/bench/support_reader.h"

#define MESSAGE_BYTES 128u
#define MESSAGE_BYTES_MAX 60000u // a little less than the pool's largest
#define BURST 20u
#define BYTES_PER_S 25600000u
#define FLUSH_MS_MAX 30000
#define FLUSH_LIMIT_MIN (16u << 10)
#define FLUSH_LIMIT_MAX (128u << 10)
#define CROWD_MAX 1000u
#define CROWD_MESSAGES 100000u
#define CROWD_BUFFER_BYTES (64u << 20)

static char message[MESSAGE_BYTES_MAX];

static void messages_measure(const struct bench_case *self)
{
    struct bench_reader reader;
    struct bench_pool bench;
    struct weir_metrics books;
    bench_reader_start(&reader, BENCH_UNIX, 0);
    struct weir_pool_options options =
        bench_pool_options(reader.endpoint, WEIR_CONFIRM_AUTO, WEIR_FULL_BLOCK);
    bench_pool_open(&bench, &options, NULL);
    uint64_t begin_ns = bench_now_ns();
    for (uint32_t i = 0; i < self->count; i++) {
        bench_must(weir_log(bench.pool, message, MESSAGE_BYTES), "weir_log");
    }
    bench_must(weir_pool_flush(bench.pool, FLUSH_MS_MAX), "flush");
    uint64_t took_ns = bench_now_ns() - begin_ns;
    bench_pool_close(&bench, &books);
    bench_reader_stop(&reader);
    bench_sample("message", "ns", (double)took_ns / self->count);
}

// ---- Many threads ----

struct member {
    pthread_t thread;
    struct weir_pool *pool;
    pthread_barrier_t *barrier;
    uint32_t messages;
    uint64_t spent_ns;
};

static uint64_t thread_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void *member_run(void *argument)
{
    struct member *me = argument;
    (void)pthread_barrier_wait(me->barrier);
    uint64_t before_ns = thread_ns();
    for (uint32_t i = 0; i < me->messages; i++) {
        bench_must(weir_log(me->pool, message, MESSAGE_BYTES), "weir_log");
    }
    me->spent_ns = thread_ns() - before_ns;
    return NULL;
}

static uint64_t crowd_once(struct weir_pool *pool, uint32_t count)
{
    static struct member members[CROWD_MAX];
    pthread_barrier_t barrier;
    uint64_t spent_ns = 0;
    bench_check(pthread_barrier_init(&barrier, NULL, count) == 0, "barrier");
    for (uint32_t i = 0; i < count; i++) {
        members[i] =
            (struct member){.pool = pool, .barrier = &barrier, .messages = CROWD_MESSAGES / count};
        bench_check(pthread_create(&members[i].thread, NULL, member_run, &members[i]) == 0,
                    "thread");
    }
    for (uint32_t i = 0; i < count; i++) {
        pthread_join(members[i].thread, NULL);
        spent_ns += members[i].spent_ns;
    }
    (void)pthread_barrier_destroy(&barrier);
    bench_must(weir_pool_flush(pool, FLUSH_MS_MAX), "flush");
    return spent_ns;
}

static void crowd_measure(const struct bench_case *self)
{
    struct bench_reader reader;
    struct bench_pool bench;
    struct weir_metrics books;
    bench_reader_start(&reader, BENCH_UNIX, 0);
    struct weir_pool_options options =
        bench_pool_options(reader.endpoint, WEIR_CONFIRM_AUTO, WEIR_FULL_DROP_NEWEST);
    options.buffer_bytes_max = CROWD_BUFFER_BYTES;
    bench_pool_open(&bench, &options, NULL);
    bench_pool_use(&bench);
    uint64_t end_ns = bench_now_ns() + bench_duration_ns(), spent_ns = 0, calls = 0;
    while (calls == 0 || bench_now_ns() < end_ns) {
        spent_ns += crowd_once(bench.pool, self->count);
        calls += CROWD_MESSAGES / self->count * self->count;
    }
    bench_pool_close(&bench, &books);
    bench_reader_stop(&reader);
    bench_sample("call", "ns", (double)spent_ns / (double)calls);
}

// ---- At a steady rate ----

static double call_ns(struct weir_pool *pool, uint32_t bytes)
{
    uint64_t period_ns = (uint64_t)bytes * BURST * 1000000000u / BYTES_PER_S;
    uint64_t begin_ns = bench_now_ns(), due_ns = begin_ns, spent_ns = 0, calls = 0;
    while (calls == 0 || bench_now_ns() < begin_ns + bench_duration_ns()) {
        uint64_t before_ns = bench_now_ns();
        for (uint32_t i = 0; i < BURST; i++) {
            int logged = weir_log(pool, message, bytes);
            bench_must(logged == WEIR_EFULL ? 0 : logged, "weir_log");
        }
        uint64_t after_ns = bench_now_ns();
        spent_ns += after_ns - before_ns;
        calls += BURST;
        due_ns = due_ns + period_ns < after_ns ? after_ns : due_ns + period_ns;
        bench_spin_until(due_ns, false);
    }
    return (double)spent_ns / (double)calls;
}

// A 64th of the buffer. It also sizes the segments, of which a row has 8,192 at most.
static uint32_t flush_limit_of(uint64_t buffer_bytes)
{
    uint64_t bytes = buffer_bytes / 64;
    return (uint32_t)(bytes < FLUSH_LIMIT_MIN
                          ? FLUSH_LIMIT_MIN
                          : (bytes > FLUSH_LIMIT_MAX ? FLUSH_LIMIT_MAX : bytes));
}

static void pool_measure(uint64_t buffer_bytes, uint32_t bytes, bool opens)
{
    struct bench_reader reader;
    struct bench_pool bench;
    struct weir_metrics books;
    bench_reader_start(&reader, BENCH_UNIX, 0);
    struct weir_pool_options options =
        bench_pool_options(reader.endpoint, WEIR_CONFIRM_AUTO, WEIR_FULL_DROP_NEWEST);
    options.buffer_bytes_max = buffer_bytes;
    options.message_bytes_max = opens ? 1024 : options.message_bytes_max;
    options.flush_limit_bytes = opens ? flush_limit_of(buffer_bytes) : options.flush_limit_bytes;
    uint64_t open_ns = bench_pool_open(&bench, &options, NULL);
    if (opens) {
        bench_sample("open", "us", (double)open_ns / 1e3);
    }
    bench_pool_use(&bench);
    bench_sample("call", "ns", call_ns(bench.pool, bytes));
    bench_pool_close(&bench, &books);
    bench_reader_stop(&reader);
}

static void size_measure(const struct bench_case *self)
{
    pool_measure(16u << 20, self->count, false);
}

static void buffer_measure(const struct bench_case *self)
{
    pool_measure(self->count, MESSAGE_BYTES, true);
}

static bool memory_is_free(uint64_t bytes)
{
    return (uint64_t)sysconf(_SC_AVPHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) >= bytes;
}

int main(int argc, char **argv)
{
    memset(message, 'm', sizeof(message));
    for (uint32_t count = 100; count <= 10000000; count *= 10) {
        bench_add("weir", messages_measure, NULL, count, "messages/%u", count);
    }
    for (uint32_t threads = 1; threads <= CROWD_MAX; threads *= 10) {
        bench_add("weir", crowd_measure, NULL, threads, "crowd/%u", threads);
    }
    for (uint32_t bytes = 1; bytes <= MESSAGE_BYTES_MAX; bytes *= 10) {
        bench_add("weir", size_measure, NULL, bytes, "size/%u", bytes);
    }
    bench_add("weir", size_measure, NULL, MESSAGE_BYTES_MAX, "size/%u", MESSAGE_BYTES_MAX);
    for (uint32_t bytes = 100000; bytes <= 1000000000 && memory_is_free(2 * (uint64_t)bytes);
         bytes *= 10) {
        bench_add("weir", buffer_measure, NULL, bytes, "buffer/%u", bytes);
    }
    return bench_main(argc, argv);
}
