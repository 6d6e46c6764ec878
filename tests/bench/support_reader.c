// The benchmarks' collector process.
#include "tests/bench/support_reader.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/bench.h"

#define READ_BYTES (256u << 10)
#define AWAIT_NS_MAX 30000000000u
#define AWAIT_STEP_NS 50000u
#define LATENCIES_MAX 100000u
#define SLOW_READ_BYTES 4096u
#define SLOW_PAUSE_NS 10000000u

struct bench_arrivals {
    _Atomic uint64_t bytes;
    _Atomic uint64_t last_ns; // when the last of them were read
    _Atomic bool slow;
    _Atomic uint32_t latencies_count;
    uint32_t latencies_ns[LATENCIES_MAX];
};

// ---- In the child ----

// Notes how old each message of the stream is whose first byte is in `bytes`; the stream is at
// `position`.
static void latencies_note(const struct bench_reader *reader, const char *bytes, uint64_t count,
                           uint64_t position, uint64_t now_ns)
{
    struct bench_arrivals *arrivals = reader->arrivals;
    uint64_t into = position % reader->message_bytes;
    uint64_t first = into == 0 ? 0 : reader->message_bytes - into;
    for (; first + BENCH_STAMP_BYTES <= count; first += reader->message_bytes) {
        char stamp[BENCH_STAMP_BYTES + 1];
        memcpy(stamp, bytes + first, BENCH_STAMP_BYTES);
        stamp[BENCH_STAMP_BYTES] = '\0';
        uint32_t index = atomic_load(&arrivals->latencies_count);
        if (index < LATENCIES_MAX) {
            arrivals->latencies_ns[index] = (uint32_t)(now_ns - strtoull(stamp, NULL, 16));
            atomic_store(&arrivals->latencies_count, index + 1);
        }
    }
}

static void connection_read(const struct bench_reader *reader, int fd)
{
    static char bytes[READ_BYTES];
    struct bench_arrivals *arrivals = reader->arrivals;
    for (;;) {
        bool slow = atomic_load(&arrivals->slow);
        if (slow) {
            bench_sleep_until(bench_now_ns() + SLOW_PAUSE_NS);
        }
        ssize_t count = recv(fd, bytes, slow ? SLOW_READ_BYTES : sizeof(bytes), 0);
        if (count <= 0) {
            return;
        }
        uint64_t now_ns = bench_now_ns();
        uint64_t position = atomic_load_explicit(&arrivals->bytes, memory_order_relaxed);
        if (reader->message_bytes > 0) {
            latencies_note(reader, bytes, (uint64_t)count, position, now_ns);
        }
        atomic_store(&arrivals->last_ns, now_ns);
        atomic_store(&arrivals->bytes, position + (uint64_t)count);
    }
}

static void reader_main(const struct bench_reader *reader, int listener)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        bench_check(fd >= 0, "accept");
        connection_read(reader, fd);
        (void)close(fd);
    }
}

// ---- In the parent ----

static socklen_t reader_address(const struct bench_reader *reader, struct sockaddr_storage *address)
{
    memset(address, 0, sizeof(*address));
    if (reader->transport == BENCH_TCP) {
        struct sockaddr_in *ip = (struct sockaddr_in *)address;
        ip->sin_family = AF_INET;
        ip->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        ip->sin_port = htons(reader->port);
        return sizeof(*ip);
    }
    struct sockaddr_un *local = (struct sockaddr_un *)address; // abstract: leaves no file
    local->sun_family = AF_UNIX;
    int length =
        snprintf(local->sun_path + 1, sizeof(local->sun_path) - 1, "weir-bench-%d", (int)getpid());
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
}

static int reader_listen(struct bench_reader *reader)
{
    struct sockaddr_storage address;
    socklen_t length = reader_address(reader, &address);
    int listener = socket(address.ss_family, SOCK_STREAM, 0);
    bench_check(listener >= 0 && bind(listener, (struct sockaddr *)&address, length) == 0 &&
                    listen(listener, 8) == 0,
                "listener");
    if (reader->transport == BENCH_TCP) {
        struct sockaddr_in ip;
        length = sizeof(ip);
        bench_check(getsockname(listener, (struct sockaddr *)&ip, &length) == 0, "getsockname");
        reader->port = ntohs(ip.sin_port);
        (void)snprintf(reader->endpoint, sizeof(reader->endpoint), "tcp://127.0.0.1:%u",
                       (unsigned)reader->port);
    } else {
        (void)snprintf(reader->endpoint, sizeof(reader->endpoint), "unix:@weir-bench-%d",
                       (int)getpid());
    }
    return listener;
}

void bench_reader_start(struct bench_reader *reader, enum bench_transport transport,
                        uint32_t stamped_message_bytes)
{
    *reader = (struct bench_reader){.transport = transport, .message_bytes = stamped_message_bytes};
    void *shared = mmap(NULL, sizeof(*reader->arrivals), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    bench_check(shared != MAP_FAILED, "mmap");
    reader->arrivals = shared;
    int listener = reader_listen(reader);
    (void)fflush(NULL);
    reader->pid = fork();
    bench_check(reader->pid >= 0, "fork");
    if (reader->pid == 0) {
        reader_main(reader, listener);
    }
    (void)close(listener);
}

int bench_reader_connect(const struct bench_reader *reader)
{
    struct sockaddr_storage address;
    socklen_t length = reader_address(reader, &address);
    int fd = socket(address.ss_family, SOCK_STREAM, 0);
    bench_check(fd >= 0 && connect(fd, (struct sockaddr *)&address, length) == 0, "connect");
    if (reader->transport == BENCH_TCP) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    }
    return fd;
}

uint64_t bench_reader_await_ns(const struct bench_reader *reader, uint64_t bytes)
{
    uint64_t limit_ns = bench_now_ns() + AWAIT_NS_MAX;
    while (atomic_load(&reader->arrivals->bytes) < bytes) {
        uint64_t now_ns = bench_now_ns();
        if (now_ns > limit_ns) {
            fprintf(stderr, "bench: %llu bytes arrived, not %llu\n",
                    (unsigned long long)atomic_load(&reader->arrivals->bytes),
                    (unsigned long long)bytes);
            exit(1);
        }
        bench_sleep_until(now_ns + AWAIT_STEP_NS);
    }
    return atomic_load(&reader->arrivals->last_ns);
}

uint32_t *bench_reader_latencies_ns(const struct bench_reader *reader, uint32_t *count)
{
    *count = atomic_load(&reader->arrivals->latencies_count);
    return reader->arrivals->latencies_ns;
}

void bench_reader_become(const struct bench_reader *reader, enum bench_health health)
{
    atomic_store(&reader->arrivals->slow, health == BENCH_SLOW);
    if (health == BENCH_GONE) {
        bench_check(kill(reader->pid, SIGKILL) == 0, "kill");
    } else {
        bench_check(kill(reader->pid, health == BENCH_STOPPED ? SIGSTOP : SIGCONT) == 0, "kill");
    }
}

void bench_reader_stop(struct bench_reader *reader)
{
    (void)kill(reader->pid, SIGKILL);
    (void)waitpid(reader->pid, NULL, 0);
    (void)munmap(reader->arrivals, sizeof(*reader->arrivals));
}
