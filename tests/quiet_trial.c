// Logs at a brisk steady pace while strace looks at the logging thread; run by tests/e2e_quiet.
//
// Two trials. `flow`: a collector reads; every message must arrive, and the logging thread's system
// calls in the logging phase must be its wakes and nothing else. `gone`: there is no collector; no
// call may block and the process may not grow.
//
// The process logs on its first thread, whose number is the process's, so that `strace -p` without
// -f sees that thread and no other. Lines on standard output talk to the script; it answers on
// standard input: "ready", then a line is awaited, then the logging phase, then "done", and again
// a line is awaited before anything else is done on that thread.
//
// usage: quiet_trial flow MESSAGES BURST | gone MESSAGES
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "weir.h"
#include "weir_writer.h"

#define MESSAGE_BYTES 200
// Without a collector: what the process may grow by. With one: so much that nothing is refused
// while a busy machine keeps the collector waiting for a while.
#define GONE_BUFFER_BYTES (16u << 20)
#define FLOW_BUFFER_BYTES (64u << 20)

static void must(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "quiet_trial: %s: %s\n", what, strerror(errno));
        exit(2);
    }
}

// Through the vDSO: no system call.
static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t resident_bytes(void)
{
    unsigned long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    must(file != NULL && fscanf(file, "%lu %lu", &size, &resident) == 2, "/proc/self/statm");
    fclose(file);
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

// ---- The collector ----

struct collector {
    int listener;
    pthread_t thread;
    uint64_t messages;
};

static void *collector_main(void *argument)
{
    struct collector *collector = argument;
    static char bytes[1 << 18]; // its only user; kept out of the small stack
    int fd = accept(collector->listener, NULL, NULL);
    must(fd >= 0, "accept");
    for (;;) {
        ssize_t count = recv(fd, bytes, sizeof bytes, 0);
        must(count >= 0, "recv");
        if (count == 0) {
            break;
        }
        for (const char *at = bytes; (at = memchr(at, '\n', (size_t)(bytes + count - at))) != NULL;
             at++) {
            collector->messages++;
        }
    }
    close(fd);
    return NULL;
}

static void collector_start(struct collector *collector, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    collector->listener = socket(AF_UNIX, SOCK_STREAM, 0);
    must(collector->listener >= 0, "socket");
    must(bind(collector->listener, (struct sockaddr *)&address, sizeof address) == 0, "bind");
    must(listen(collector->listener, 8) == 0, "listen");
    must(pthread_create(&collector->thread, NULL, collector_main, collector) == 0, "thread");
}

// ---- Logging ----

static int compare(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return a < b ? -1 : a > b;
}

static uint32_t clip(uint64_t ns)
{
    return ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX;
}

// Memory for the durations, touched, so that no page fault is taken for a slow call.
static uint32_t *durations_make(uint64_t messages)
{
    size_t bytes = messages * sizeof(uint32_t);
    uint32_t *durations = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    must(durations != MAP_FAILED, "memory");
    return durations;
}

static void durations_print(const char *what, uint32_t *durations, uint64_t messages)
{
    qsort(durations, messages, sizeof *durations, compare);
    printf("%s ns: half below %u, 99 in 100 below %u, 999 in 1000 below %u, longest %u\n", what,
           durations[messages / 2], durations[messages / 100 * 99],
           durations[messages / 1000 * 999], durations[messages - 1]);
}

static void ask(const char *word)
{
    char line[64];
    printf("%s\n", word);
    fflush(stdout);
    must(fgets(line, sizeof line, stdin) != NULL, "no answer");
}

static struct weir_pool *pool_make(struct weir_runtime **runtime, const char *path,
                                   uint64_t buffer_bytes)
{
    char endpoint[128], why[256];
    struct weir_pool_options options;
    struct weir_pool *pool;
    int error = weir_runtime_create(runtime, &(struct weir_runtime_options){.workers = 1});
    must(error == 0, "runtime");
    snprintf(endpoint, sizeof endpoint, "unix:%s", path);
    weir_pool_options_init(&options);
    options.endpoint = endpoint;
    options.buffer_bytes_max = buffer_bytes;
    error = weir_pool_open(&pool, *runtime, &options, why, sizeof why);
    must(error == 0, why);
    return pool;
}

// Bursts of messages a millisecond apart; the pause between them is spent spinning, because
// sleeping is a system call. returns how many were not taken.
static uint64_t log_paced(struct weir_pool *pool, uint64_t messages, uint64_t burst,
                          uint32_t *durations)
{
    char text[MESSAGE_BYTES];
    uint64_t refused = 0, begun = now_ns();
    memset(text, 'x', sizeof text);
    for (uint64_t i = 0; i < messages; i++) {
        if (burst != 0 && i % burst == 0) {
            while (now_ns() < begun + i / burst * 1000000u) {
            }
        }
        uint64_t before = now_ns();
        int error = weir_log(pool, text, sizeof text);
        durations[i] = clip(now_ns() - before);
        refused += error != 0;
    }
    return refused;
}

static int flow_run(const char *path, uint64_t messages, uint64_t burst)
{
    struct collector collector = {0};
    struct weir_runtime *runtime;
    collector_start(&collector, path);
    struct weir_pool *pool = pool_make(&runtime, path, FLOW_BUFFER_BYTES);
    uint32_t *durations = durations_make(messages);
    usleep(300000); // connected, and in deep idle: the first message's wake is one of those counted
    ask("ready");
    uint64_t begun = now_ns();
    uint64_t refused = log_paced(pool, messages, burst, durations);
    uint64_t elapsed = now_ns() - begun;
    ask("done");
    struct weir_metrics metrics;
    weir_pool_stats(pool, &metrics);
    int closed = weir_pool_close(pool, 10000);
    must(pthread_join(collector.thread, NULL) == 0, "join");
    struct weir_metrics last;
    weir_pool_stats(pool, &last);
    printf("messages %" PRIu64 " refused %" PRIu64 " received %" PRIu64 " closed %d\n", messages,
           refused, collector.messages, closed);
    printf("wakes %" PRIu64 " segments %" PRIu64 " sends %" PRIu64 "\n", metrics.wakes,
           last.message_processing.count, last.sends);
    printf("seconds %.2f\n", (double)elapsed / 1e9);
    durations_print("weir_log", durations, messages);
    weir_pool_destroy(pool);
    weir_runtime_destroy(runtime);
    return 0;
}

static int gone_run(const char *path, uint64_t messages)
{
    struct weir_runtime *runtime;
    uint32_t *durations = durations_make(messages);
    uint64_t before = resident_bytes();
    struct weir_pool *pool = pool_make(&runtime, path, GONE_BUFFER_BYTES);
    usleep(50000);
    ask("ready");
    uint64_t refused = log_paced(pool, messages, 0, durations);
    uint64_t after = resident_bytes();
    struct weir_metrics metrics;
    weir_pool_stats(pool, &metrics);
    printf("messages %" PRIu64 " refused %" PRIu64 " held %" PRIu64 " balanced %d\n", messages,
           refused, metrics.held_messages, weir_metrics_balanced(&metrics));
    printf("grown %" PRIu64 " buffer %u pool %" PRIu64 "\n", after - before, GONE_BUFFER_BYTES,
           metrics.memory_bytes);
    durations_print("weir_log", durations, messages);
    (void)weir_pool_close(pool, 0);
    weir_pool_destroy(pool);
    weir_runtime_destroy(runtime);
    return 0;
}

int main(int argc, char **argv)
{
    char folder[] = "/tmp/weir-quiet-XXXXXX", path[64];
    bool flow = argc == 4 && strcmp(argv[1], "flow") == 0;
    if (!flow && !(argc == 3 && strcmp(argv[1], "gone") == 0)) {
        fprintf(stderr, "usage: quiet_trial flow MESSAGES BURST | gone MESSAGES\n");
        return 2;
    }
    must(mkdtemp(folder) != NULL, "mkdtemp");
    snprintf(path, sizeof path, "%s/socket", folder);
    uint64_t messages = strtoull(argv[2], NULL, 0);
    must(messages >= 1000, "too few messages");
    int status = flow ? flow_run(path, messages, strtoull(argv[3], NULL, 0))
                      : gone_run(path, messages);
    (void)unlink(path);
    (void)rmdir(folder);
    return status;
}
