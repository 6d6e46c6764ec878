// What weir_log costs its thread while the collector is healthy, dead, stopped or slow.
//
// One thread logs messages of 128 bytes at a steady pace, ten calls in a row, timed together; a
// collector, a process of its own on a Unix socket, reads all there is (healthy), is not there
// (dead), is stopped by a signal after it has accepted (stopped) or reads some 400 KB a second
// (slow). Twice: with a buffer that takes all of a run, and with one that overflows, where weir_log
// says WEIR_EFULL. Every buffer is filled once before, so that its memory is not new to the kernel:
// `first use` are runs without that. The kinds take turns, healthy ones twice: the ratio of those
// two is what the measurement itself is good for.
//
// Prints nanoseconds of a call: the best round's median, the median of the rounds' medians, of
// their means and of their 99th percentiles; the ratio of best rounds to the healthy one; and that
// of each round's median to the healthy run of the same round: median and range.
//
// usage: bench_dead [ROUNDS [MILLISECONDS]]
// Exit status 1: a kind is dearer than healthy, more than 1.1 times, by both: by its best round,
// and more than healthy against healthy is; and by the median of the rounds, and more than healthy
// against healthy is in any round.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "weir.h"
#include "weir_writer.h"

#define MESSAGE_BYTES 128u
#define BURST 10u
#define PERIOD_NS (BURST * 10000u)
#define BURSTS_MAX 20000u
#define ROUNDS_MAX 101
#define NS_PER_MS 1000000u
#define SLOW_READ_BYTES 4096u
#define SLOW_PAUSE_US 10000u
#define SETTLE_MS 30u
#define TOLERANCE 1.1

enum collector { HEALTHY, HEALTHY_AGAIN, DEAD, STOPPED, SLOW, COLLECTORS_COUNT };
static const char *const collector_names[] = {"healthy", "healthy again", "dead", "stopped",
                                              "slow"};

struct size {
    const char *name;
    uint64_t buffer_bytes;
    bool used; // filled and emptied before
};
static const struct size sizes[] = {
    {"roomy", 16u << 20, true}, {"overflows", 512u << 10, true}, {"first use", 16u << 20, false}};
#define SIZES_COUNT (sizeof(sizes) / sizeof(sizes[0]))

struct result {
    double median_ns, mean_ns, high_ns; // of a call; high: the 99th percentile
    uint64_t refused;
};

static void must(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "bench_dead: %s: %s\n", what, strerror(errno));
        exit(2);
    }
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void sleep_ms(uint64_t ms)
{
    nanosleep(&(struct timespec){(time_t)(ms / 1000), (long)(ms % 1000 * NS_PER_MS)}, NULL);
}

// ---- The collector ----

static void collector_main(int listener, enum collector kind)
{
    static char bytes[1 << 18];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        must(fd >= 0, "accept");
        if (kind == STOPPED) {
            raise(SIGSTOP);
        }
        while (recv(fd, bytes, kind == SLOW ? SLOW_READ_BYTES : sizeof(bytes), 0) > 0) {
            if (kind == SLOW) {
                usleep(SLOW_PAUSE_US);
            }
        }
        close(fd);
    }
}

static pid_t collector_fork(const char *path, enum collector kind)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, path);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    must(listener >= 0 && bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0 &&
             listen(listener, 8) == 0,
         "listener");
    pid_t pid = fork();
    must(pid >= 0, "fork");
    if (pid == 0) {
        collector_main(listener, kind);
    }
    close(listener);
    return pid;
}

// A process that starts collectors, since it is small: a fork of the process that logs would make
// every page of the buffer one that its next write has to copy. A byte is the kind of the next
// collector, which takes the last one's place; it is answered when that one listens.
static void keeper_main(int control, const char *path)
{
    pid_t pid = 0;
    unsigned char kind;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (read(control, &kind, 1) == 1) {
        if (pid != 0) {
            must(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid, "a collector is gone");
        }
        (void)unlink(path);
        pid = kind == DEAD ? 0 : collector_fork(path, (enum collector)kind);
        must(write(control, &kind, 1) == 1, "write");
    }
    _exit(0);
}

static int keeper_start(const char *path)
{
    int pair[2];
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "socketpair");
    pid_t pid = fork();
    must(pid >= 0, "fork");
    if (pid == 0) {
        close(pair[0]);
        keeper_main(pair[1], path);
    }
    close(pair[1]);
    return pair[0];
}

static void collector_set(int keeper, enum collector kind)
{
    unsigned char byte = (unsigned char)kind;
    must(write(keeper, &byte, 1) == 1 && read(keeper, &byte, 1) == 1, "the keeper is gone");
}

// ---- One run ----

static int float_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, size_t count)
{
    qsort(values, count, sizeof(*values), float_compare);
    return values[count / 2];
}

static int burst_compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static uint32_t bursts[BURSTS_MAX]; // nanoseconds of each

// What two looks at the clock cost with nothing between them.
static double clock_cost_ns(void)
{
    for (uint32_t i = 0; i < BURSTS_MAX; i++) {
        uint64_t before_ns = now_ns();
        bursts[i] = (uint32_t)(now_ns() - before_ns);
    }
    qsort(bursts, BURSTS_MAX, sizeof(bursts[0]), burst_compare);
    return bursts[BURSTS_MAX / 2];
}

static struct result calls_time(struct weir_pool *pool, uint32_t count, double clock_ns)
{
    struct result result = {0};
    char message[MESSAGE_BYTES];
    double sum_ns = 0;
    memset(message, 'x', sizeof(message));
    uint64_t due_ns = now_ns();
    for (uint32_t i = 0; i < count; i++) {
        uint64_t before_ns = now_ns();
        while (before_ns < due_ns) {
            before_ns = now_ns();
        }
        for (uint32_t k = 0; k < BURST; k++) {
            result.refused += weir_log(pool, message, sizeof(message)) != 0;
        }
        bursts[i] = (uint32_t)(now_ns() - before_ns);
        sum_ns += bursts[i];
        due_ns += PERIOD_NS;
    }
    qsort(bursts, count, sizeof(bursts[0]), burst_compare);
    result.median_ns = (bursts[count / 2] - clock_ns) / BURST;
    result.mean_ns = (sum_ns / count - clock_ns) / BURST;
    result.high_ns = (bursts[(uint64_t)count * 99 / 100] - clock_ns) / BURST;
    return result;
}

// Fills the whole buffer and empties it.
static void pool_use(struct weir_pool *pool, int keeper)
{
    char message[MESSAGE_BYTES];
    memset(message, 'x', sizeof(message));
    while (weir_log(pool, message, sizeof(message)) == 0) {
    }
    collector_set(keeper, HEALTHY);
    must(weir_pool_flush(pool, 10000) == 0, "flush");
}

// What all runs have in common.
struct bench {
    char path[64];
    int keeper;
    uint32_t count; // of bursts
    double clock_ns;
};

static struct result run(const struct bench *bench, enum collector kind, const struct size *size)
{
    struct weir_runtime *runtime;
    struct weir_pool *pool;
    struct weir_pool_options options;
    char endpoint[128], why[256];
    snprintf(endpoint, sizeof(endpoint), "unix:%s", bench->path);
    weir_pool_options_init(&options);
    options.endpoint = endpoint;
    options.buffer_bytes_max = size->buffer_bytes;
    options.message_bytes_max = 1024;
    options.retry_interval_ms = 5;
    options.retry_interval_max_ms = 20;
    collector_set(bench->keeper, DEAD);
    must(weir_runtime_create(&runtime, &(struct weir_runtime_options){.workers = 1}) == 0,
         "runtime");
    must(weir_pool_open(&pool, runtime, &options, why, sizeof(why)) == 0, why);
    if (size->used) {
        pool_use(pool, bench->keeper);
    }
    collector_set(bench->keeper, kind);
    sleep_ms(SETTLE_MS); // connected, or known not to be
    struct result result = calls_time(pool, bench->count, bench->clock_ns);
    collector_set(bench->keeper, DEAD);
    struct weir_metrics books;
    (void)weir_pool_close(pool, 0); // what is held is lost; nobody asked for it
    weir_pool_stats(pool, &books);
    must(weir_metrics_balanced(&books), "the books do not balance");
    weir_pool_destroy(pool);
    weir_runtime_destroy(runtime);
    return result;
}

// ---- All runs ----

static struct result results[SIZES_COUNT][COLLECTORS_COUNT][ROUNDS_MAX];

// What the rounds of one kind say against the healthy ones of the same buffer.
struct comparison {
    double best;                    // the lowest medians of a round, as a ratio
    double middle, lowest, highest; // of the rounds' ratios
};

static struct comparison line_print(size_t size, int kind, int rounds)
{
    double medians[ROUNDS_MAX], means[ROUNDS_MAX], highs[ROUNDS_MAX], ratios[ROUNDS_MAX];
    double healthy[ROUNDS_MAX];
    uint64_t refused = 0;
    struct comparison comparison;
    for (int i = 0; i < rounds; i++) {
        const struct result *result = &results[size][kind][i];
        healthy[i] = results[size][HEALTHY][i].median_ns;
        medians[i] = result->median_ns;
        means[i] = result->mean_ns;
        highs[i] = result->high_ns;
        ratios[i] = medians[i] / healthy[i];
        refused += result->refused;
    }
    double middle_ns = median(medians, (size_t)rounds); // sorts
    (void)median(healthy, (size_t)rounds);
    comparison.middle = median(ratios, (size_t)rounds);
    comparison.lowest = ratios[0];
    comparison.highest = ratios[rounds - 1];
    comparison.best = medians[0] / healthy[0];
    printf("%-10s %-14s %8.1f %8.1f %8.1f %8.1f %7.2f %7.2f %7.2f .. %-6.2f %8llu\n",
           sizes[size].name, collector_names[kind], medians[0], middle_ns,
           median(means, (size_t)rounds), median(highs, (size_t)rounds), comparison.best,
           comparison.middle, comparison.lowest, comparison.highest,
           (unsigned long long)(refused / (uint64_t)rounds));
    return comparison;
}

// returns  whether no kind is dearer than healthy by more than noise, by either measure.
static bool size_print(size_t size, int rounds)
{
    bool good = true;
    struct comparison again = {0};
    for (int kind = 0; kind < COLLECTORS_COUNT; kind++) {
        struct comparison comparison = line_print(size, kind, rounds);
        if (kind == HEALTHY_AGAIN) {
            again = comparison;
        }
        bool dearer = comparison.best > TOLERANCE && comparison.best > again.best &&
                      comparison.middle > TOLERANCE && comparison.middle > again.highest;
        good = good && (kind <= HEALTHY_AGAIN || !dearer);
    }
    return good;
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 21;
    uint32_t run_ms = argc > 2 ? (uint32_t)atoi(argv[2]) : 150;
    struct bench bench = {.count = run_ms * (NS_PER_MS / PERIOD_NS)};
    if (rounds < 1 || rounds > ROUNDS_MAX || bench.count < 100 || bench.count > BURSTS_MAX) {
        fprintf(stderr, "usage: bench_dead [ROUNDS [MILLISECONDS]]\n");
        return 2;
    }
    char folder[] = "/tmp/weir-dead-XXXXXX";
    must(mkdtemp(folder) != NULL, "mkdtemp");
    snprintf(bench.path, sizeof(bench.path), "%s/in.sock", folder);
    bench.keeper = keeper_start(bench.path);
    bench.clock_ns = clock_cost_ns();
    for (int round = 0; round < rounds; round++) {
        for (int turn = 0; turn < (int)SIZES_COUNT * COLLECTORS_COUNT; turn++) {
            int kind = (turn + round) % COLLECTORS_COUNT, size = turn / COLLECTORS_COUNT;
            results[size][kind][round] = run(&bench, (enum collector)kind, &sizes[size]);
        }
    }
    (void)unlink(bench.path);
    (void)rmdir(folder);
    printf("weir_log %u times every %u us, %u ms, %d rounds; a look at the clock: %.0f ns\n", BURST,
           PERIOD_NS / 1000, run_ms, rounds, bench.clock_ns);
    printf("%-10s %-14s %8s %8s %8s %8s %7s %7s %17s %8s\n", "buffer", "collector", "best ns",
           "median", "mean", "99 %", "best x", "ratio", "range", "refused");
    bool good = true;
    for (size_t size = 0; size < SIZES_COUNT; size++) {
        good = size_print(size, rounds) && good;
    }
    printf("%s\n", good ? "no collector changes what weir_log costs by more than noise"
                        : "a collector that fails makes weir_log dearer");
    return good ? 0 : 1;
}
