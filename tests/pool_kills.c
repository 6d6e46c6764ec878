// Kills the collector of a live pool again and again: every confirmed message must really be there.
//
// tests/kill_trials.c asks the bare ledger; this asks the whole writer. One thread logs numbered
// messages through one pool of one writer, so that "confirmed_messages is K" is the claim "the
// messages 0 to K - 1 have arrived". The truth is kept apart from it:
//   - a collector is a process that recv()s straight into shared memory. Whatever was read when
//     SIGKILL struck stands there, counted or not: the stream has no zero byte, the memory had only
//     those. On Unix sockets, and on TCP with epochs, that is what was claimed;
//   - on TCP without epochs the claim is about the peer's kernel. There a second process, the
//     keeper, accepts, hands each connection to the collector and keeps a descriptor of its own.
//     After the kill it makes the socket refuse new data, and then reads to the end what the kernel
//     had taken.
// The keeper is forked before any thread exists, and starts, kills and buries the collectors.
//
// usage: pool_kills [--kills N] [--transport unix|tcp|epochs|all] [--seed S]; --trials: as --kills
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/filter.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "weir.h"
#include "weir_writer.h"

#define PAGE_BYTES 4096u
#define MESSAGES_MAX ((size_t)1 << 28)
#define MESSAGE_BYTES_MIN 12u // ten digits, a blank, a newline
#define MESSAGE_FILL_MAX 400u
#define HELD_MAX 64u
#define LIFE_US_MAX 60000u
#define EPOCH_INTERVAL_MS 20u // so that slow readers see the end of an epoch in their short life

// What became of a message.
#define IN_PROCESS 1u
#define IN_KERNEL 2u

static void must(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "pool_kills: %s: %s\n", what, strerror(errno));
        _exit(2);
    }
}

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

static uint64_t random_below(uint64_t *seed, uint64_t limit)
{
    *seed += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t x = *seed;
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return (x ^ x >> 31) % limit;
}

// ---- Transports ----

struct transport {
    const char *name;
    bool tcp;
    bool kernel;      // the claim is the peer kernel's acknowledgement, not its process's reading
    uint32_t regions; // connections of one collector whose streams are kept
    size_t region_bytes;   // for one connection; half of it is for what the kernel had in the end
    uint64_t epoch_bytes;  // 0: no epochs
    uint64_t hangs_before; // bytes; a collector that stops reading does so before this
};

static const struct transport transports[] = {
    {"unix", false, false, 32, (size_t)24 << 20, 0, 1000000},
    {"tcp", true, true, 32, (size_t)24 << 20, 0, 1000000},
    // Many connections, each of one epoch and what completes its last message.
    {"epochs", true, false, 512, (size_t)2 << 20, 256 << 10, 300000},
};
#define TRANSPORTS_COUNT (sizeof transports / sizeof transports[0])

// ---- Shared between parent, keeper and collectors ----

struct region {
    _Atomic uint64_t counted;         // what recv has returned; there may be more
    uint64_t process_bytes, all_bytes; // set after the kill: read by the process, and with the
                                       // kernel's rest
};
struct shared {
    _Atomic uint32_t opened; // regions used so far; number i is at i % transport->regions
    struct region regions[];
};
struct truth {
    const struct transport *transport;
    struct shared *shared;
    unsigned char *bytes;
};

static struct region *region_at(const struct truth *truth, uint32_t number)
{
    return &truth->shared->regions[number % truth->transport->regions];
}

static unsigned char *region_bytes(const struct truth *truth, uint32_t number)
{
    const struct transport *transport = truth->transport;
    return truth->bytes + (size_t)(number % transport->regions) * transport->region_bytes;
}

// How far the memory is filled, looked for from where it is known to be.
static size_t region_filled(const struct truth *truth, uint32_t number, size_t from)
{
    const unsigned char *bytes = region_bytes(truth, number);
    const unsigned char *end = memchr(bytes + from, 0, truth->transport->region_bytes - from);
    must(end != NULL, "a region overflowed");
    return (size_t)(end - bytes);
}

// ---- The collector ----

struct habit {
    size_t chunk_bytes;
    uint32_t pause_us;    // after each read
    uint64_t hangs_after; // bytes
    bool leaves;          // instead of hanging: closes over what is unread
};

static struct habit habit_random(uint64_t *seed, const struct transport *transport)
{
    static const size_t chunks[] = {1000, 10000, 65536, 262144};
    static const uint32_t pauses[] = {0, 0, 100, 1000};
    bool hangs = random_below(seed, 6) == 0;
    return (struct habit){.chunk_bytes = chunks[random_below(seed, 4)],
                          .pause_us = pauses[random_below(seed, 4)],
                          .hangs_after = hangs ? random_below(seed, transport->hangs_before)
                                               : UINT64_MAX,
                          .leaves = transport->epoch_bytes != 0 && random_below(seed, 2) == 0};
}

// Reads one connection to its end.
static void collector_read(const struct truth *truth, int fd, uint32_t number,
                           const struct habit *habit)
{
    struct region *region = region_at(truth, number);
    unsigned char *bytes = region_bytes(truth, number);
    size_t count = 0, count_max = truth->transport->region_bytes / 2 - habit->chunk_bytes;
    for (;;) {
        if (count >= habit->hangs_after && habit->leaves) {
            break;
        }
        if (count >= habit->hangs_after || count > count_max) {
            pause();
        }
        // A page that is missing while the kernel copies into it would, with SIGKILL pending, end
        // the copy in the middle of a buffer: read for us, unread for the kernel.
        for (size_t at = count; at < count + habit->chunk_bytes + PAGE_BYTES; at += PAGE_BYTES) {
            ((volatile unsigned char *)bytes)[at] = 0;
        }
        ssize_t got = recv(fd, bytes + count, habit->chunk_bytes, 0);
        if (got <= 0) {
            must(got == 0 || errno == ECONNRESET, "recv");
            break;
        }
        count += (size_t)got;
        atomic_store(&region->counted, count);
        if (habit->pause_us != 0) {
            usleep(habit->pause_us);
        }
    }
    if (truth->transport->kernel) {
        shutdown(fd, SHUT_RDWR); // close alone does nothing while the keeper has the socket, too
    }
    close(fd);
}

// Listens itself, so that nobody else holds the connections it accepts. `first` is the number of
// the first one's region. When no region is left for another, it hangs.
static void collector_accepting(const struct truth *truth, const struct sockaddr *address,
                                socklen_t address_bytes, uint32_t first,
                                const struct habit *habit)
{
    int listener = socket(address->sa_family, SOCK_STREAM, 0);
    must(listener >= 0, "socket");
    must(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) == 0,
         "SO_REUSEADDR");
    must(bind(listener, address, address_bytes) == 0, "bind");
    must(listen(listener, 8) == 0, "listen");
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        must(fd >= 0, "accept");
        if (atomic_load(&truth->shared->opened) - first == truth->transport->regions) {
            pause();
        }
        collector_read(truth, fd, atomic_fetch_add(&truth->shared->opened, 1), habit);
    }
}

// A connection and the number of its region, from the keeper.
union control_room {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
};

static void collector_given(const struct truth *truth, int from_keeper, const struct habit *habit)
{
    for (;;) {
        uint32_t number;
        union control_room room;
        struct iovec part = {&number, sizeof number};
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &room,
                                 .msg_controllen = sizeof room};
        must(recvmsg(from_keeper, &message, 0) == (ssize_t)sizeof number, "recvmsg");
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        must(header != NULL, "no descriptor came");
        int fd;
        memcpy(&fd, CMSG_DATA(header), sizeof fd);
        collector_read(truth, fd, number, habit);
    }
}

// ---- The keeper ----

struct held {
    int fd;
    uint32_t number;
};
struct keeper {
    struct truth truth;
    uint64_t seed;
    struct sockaddr_un unix_address;
    struct sockaddr_in tcp_address;
    int control;  // to the parent
    int reserved; // keeps the port ours while nobody listens
    int listener; // TCP without epochs only; -1: nobody listens, or the collector itself
    bool calm;    // the next collector reads briskly to the end
    pid_t collector;
    int to_collector;
    uint32_t opened; // regions used before this collector
    struct held held[HELD_MAX];
    uint32_t held_count;
};

static void keeper_listen(struct keeper *keeper)
{
    const struct sockaddr *address = (const struct sockaddr *)&keeper->tcp_address;
    keeper->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    must(keeper->listener >= 0, "socket");
    must(setsockopt(keeper->listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) == 0,
         "SO_REUSEADDR");
    must(bind(keeper->listener, address, sizeof keeper->tcp_address) == 0, "bind");
    must(listen(keeper->listener, 8) == 0, "listen");
}

// Accepts what is there. Every connection gets its region; a living collector gets the connection.
static void keeper_accept(struct keeper *keeper)
{
    for (;;) {
        int fd = accept4(keeper->listener, NULL, NULL, 0);
        if (fd < 0) {
            must(errno == EAGAIN, "accept");
            return;
        }
        must(keeper->held_count < HELD_MAX, "too many connections");
        uint32_t number = atomic_fetch_add(&keeper->truth.shared->opened, 1);
        keeper->held[keeper->held_count++] = (struct held){fd, number};
        if (keeper->collector == 0) {
            continue;
        }
        union control_room room;
        struct iovec part = {&number, sizeof number};
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &room,
                                 .msg_controllen = sizeof room};
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        *header = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
        memcpy(CMSG_DATA(header), &fd, sizeof fd);
        must(sendmsg(keeper->to_collector, &message, MSG_NOSIGNAL) > 0, "sendmsg");
    }
}

static void keeper_fork(struct keeper *keeper)
{
    const struct transport *transport = keeper->truth.transport;
    struct habit habit = habit_random(&keeper->seed, transport);
    int pair[2];
    if (keeper->calm) {
        habit = (struct habit){.chunk_bytes = 65536, .hangs_after = UINT64_MAX};
    }
    must(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0, "socketpair");
    keeper->opened = atomic_load(&keeper->truth.shared->opened);
    keeper->collector = fork();
    must(keeper->collector >= 0, "fork");
    if (keeper->collector == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(pair[0]);
        if (transport->kernel) {
            collector_given(&keeper->truth, pair[1], &habit);
        } else if (transport->tcp) {
            collector_accepting(&keeper->truth, (struct sockaddr *)&keeper->tcp_address,
                                sizeof keeper->tcp_address, keeper->opened, &habit);
        } else {
            (void)unlink(keeper->unix_address.sun_path);
            collector_accepting(&keeper->truth, (struct sockaddr *)&keeper->unix_address,
                                sizeof keeper->unix_address, keeper->opened, &habit);
        }
    }
    close(pair[1]);
    keeper->to_collector = pair[0];
    if (transport->kernel) {
        keeper_listen(keeper);
    }
}

// From here on the socket takes no packet any more, neither a connection nor data.
static void socket_deafen(int fd)
{
    struct sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
    struct sock_fprog program = {1, &drop};
    must(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0,
         "SO_ATTACH_FILTER");
}

// Reads what the kernel has into the region; `all_bytes` is where it ends.
static void region_drain(struct keeper *keeper, const struct held *held)
{
    struct region *region = region_at(&keeper->truth, held->number);
    unsigned char *bytes = region_bytes(&keeper->truth, held->number);
    size_t region_bytes_max = keeper->truth.transport->region_bytes;
    for (;;) {
        must(region->all_bytes + 1 < region_bytes_max, "a region overflowed");
        ssize_t got = recv(held->fd, bytes + region->all_bytes,
                           region_bytes_max - 1 - region->all_bytes, MSG_DONTWAIT);
        if (got <= 0) {
            must(got == 0 || errno == EAGAIN || errno == ECONNRESET, "recv");
            return;
        }
        region->all_bytes += (size_t)got;
    }
}

// The end of a connection whose process is dead, at a definite moment: first nothing new may come
// in, then what is in is read. Either as an end of stream and then a reset for what comes, or as a
// sudden reset, which is what the kernel of a process with unread data does.
static void keeper_finish(struct keeper *keeper, const struct held *held)
{
    struct region *region = region_at(&keeper->truth, held->number);
    bool sudden = random_below(&keeper->seed, 2) == 0;
    if (sudden) {
        socket_deafen(held->fd);
    } else {
        (void)shutdown(held->fd, SHUT_RDWR);
    }
    region_drain(keeper, held);
    if (sudden) {
        usleep(100); // a packet that passed the filter just before it was there
        region_drain(keeper, held);
        must(setsockopt(held->fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0},
                        sizeof(struct linger)) == 0, "SO_LINGER");
    }
    struct tcp_info info;
    socklen_t info_bytes = sizeof info;
    must(getsockopt(held->fd, IPPROTO_TCP, TCP_INFO, &info, &info_bytes) == 0, "TCP_INFO");
    // The kernel counts the sender's end of stream as a byte.
    must(info.tcpi_bytes_received - region->all_bytes <= 1, "the kernel had more than was read");
    close(held->fd);
}

static void keeper_kill(struct keeper *keeper)
{
    must(kill(keeper->collector, SIGKILL) == 0, "kill");
    int status;
    must(waitpid(keeper->collector, &status, 0) == keeper->collector, "waitpid");
    must(WIFSIGNALED(status), "the collector ended by itself");
    keeper->collector = 0;
    if (keeper->truth.transport->kernel) {
        socket_deafen(keeper->listener);
        keeper_accept(keeper);
        close(keeper->listener);
        keeper->listener = -1;
    }
    close(keeper->to_collector);
    uint32_t opened = atomic_load(&keeper->truth.shared->opened);
    for (uint32_t number = keeper->opened; number < opened; number++) {
        struct region *region = region_at(&keeper->truth, number);
        size_t from = atomic_load(&region->counted);
        region->process_bytes = region_filled(&keeper->truth, number, from);
        region->all_bytes = region->process_bytes;
    }
    for (uint32_t i = 0; i < keeper->held_count; i++) {
        keeper_finish(keeper, &keeper->held[i]);
    }
    keeper->held_count = 0;
}

// Commands, each answered by itself: F(ork a collector), K(ill it), C(alm ones from now on), E(nd).
static void keeper_main(struct keeper *keeper)
{
    char command = 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (command != 'E') {
        struct pollfd watch[2] = {{keeper->control, POLLIN, 0}, {keeper->listener, POLLIN, 0}};
        must(poll(watch, 2, -1) > 0, "poll");
        if (watch[1].revents != 0) {
            keeper_accept(keeper);
        }
        if (watch[0].revents == 0) {
            continue;
        }
        must(read(keeper->control, &command, 1) == 1, "the parent is gone");
        if (command == 'F') {
            keeper_fork(keeper);
        } else if (command == 'K') {
            keeper_kill(keeper);
        } else if (command == 'C') {
            keeper->calm = true;
        }
        must(write(keeper->control, &command, 1) == 1, "write");
    }
    _exit(0);
}

// ---- Messages ----

static size_t message_fill(uint64_t number)
{
    return (number * UINT64_C(0x9e3779b97f4a7c15) >> 40) % (MESSAGE_FILL_MAX + 1);
}

// Without the newline, which is the pool's to add.
static size_t message_write(uint64_t number, char *text)
{
    size_t fill = message_fill(number);
    snprintf(text, MESSAGE_BYTES_MIN, "%010" PRIu64 " ", number);
    memset(text + 11, (int)('a' + number % 26), fill);
    return 11 + fill;
}

// ---- The judge ----

// How far the stream of one connection was looked at.
struct reading {
    uint32_t number;
    size_t at;
    uint64_t next; // the message that has to follow, or UINT64_MAX before the first
};
struct judge {
    struct truth truth;
    unsigned char *seen; // one byte per message
    uint64_t process_first, kernel_first; // the first one that is not there
    uint64_t duplicates, disorders, torn, falsehoods, kills_false;
    struct reading live; // of the living collector's latest connection
};

static bool message_right(const unsigned char *text, size_t count, uint64_t *number)
{
    char expected[MESSAGE_BYTES_MIN + MESSAGE_FILL_MAX];
    uint64_t value = 0;
    for (size_t i = 0; i < 10 && i < count; i++) {
        value = value * 10 + (uint64_t)(text[i] - '0');
    }
    *number = value;
    return count >= 11 && value < MESSAGES_MAX && message_write(value, expected) == count &&
           memcmp(text, expected, count) == 0;
}

static void judge_message(struct judge *judge, struct reading *reading, uint64_t number,
                          bool in_process)
{
    unsigned char *seen = &judge->seen[number];
    judge->disorders += reading->next != UINT64_MAX && number != reading->next;
    reading->next = number + 1;
    judge->duplicates += in_process && (*seen & IN_PROCESS) != 0;
    *seen |= IN_KERNEL | (in_process ? IN_PROCESS : 0);
}

// Notes the messages that are complete in [reading->at, end); up to `process_end` the process had
// read them.
static void judge_read(struct judge *judge, struct reading *reading, size_t end,
                       size_t process_end)
{
    const unsigned char *bytes = region_bytes(&judge->truth, reading->number);
    while (reading->at < end) {
        const unsigned char *text = bytes + reading->at;
        const unsigned char *newline = memchr(text, '\n', end - reading->at);
        if (newline == NULL) {
            break;
        }
        uint64_t number;
        size_t count = (size_t)(newline - text);
        if (message_right(text, count, &number)) {
            judge_message(judge, reading, number, reading->at + count < process_end);
        } else {
            judge->torn++;
        }
        reading->at += count + 1;
    }
    while ((judge->seen[judge->process_first] & IN_PROCESS) != 0) {
        judge->process_first++;
    }
    while ((judge->seen[judge->kernel_first] & IN_KERNEL) != 0) {
        judge->kernel_first++;
    }
}

static void judge_claim(struct judge *judge, uint64_t confirmed)
{
    uint64_t there = judge->truth.transport->kernel ? judge->kernel_first : judge->process_first;
    if (confirmed > there) {
        judge->kills_false++;
        judge->falsehoods += confirmed - there;
    }
}

// While the collector lives; not where the claim is the kernel's, whose share cannot be seen from
// outside. The claim comes first, so that what it speaks of must be in memory already. A collector
// reads its connections one after the other, so all but the latest are complete.
static void judge_live(struct judge *judge, struct weir_pool *pool)
{
    struct weir_metrics metrics;
    weir_pool_stats(pool, &metrics);
    // A read-modify-write, so that no look at the memory comes before the claim.
    uint32_t opened = atomic_fetch_add(&judge->truth.shared->opened, 0);
    for (uint32_t number = judge->live.number; number < opened; number++) {
        if (number != judge->live.number || judge->live.at == 0) {
            judge->live = (struct reading){number, 0, UINT64_MAX};
        }
        size_t end = region_filled(&judge->truth, number, judge->live.at);
        judge_read(judge, &judge->live, end, end);
    }
    judge_claim(judge, metrics.confirmed_messages);
}

// After a kill: everything the dead collector's connections had, then the claim.
static void judge_dead(struct judge *judge, uint32_t first)
{
    uint32_t opened = atomic_load(&judge->truth.shared->opened);
    must(opened - first <= judge->truth.transport->regions,
         "too many connections in one collector's life");
    for (uint32_t number = first; number < opened; number++) {
        struct region *region = region_at(&judge->truth, number);
        struct reading reading = {number, 0, UINT64_MAX};
        if (number == judge->live.number && judge->live.at > 0) {
            reading = judge->live;
        }
        if (number >= judge->live.number) { // those before it were read while it lived
            judge_read(judge, &reading, region->all_bytes, region->process_bytes);
        }
        memset(region_bytes(&judge->truth, number), 0, region->all_bytes);
        *region = (struct region){0};
    }
    judge->live = (struct reading){opened, 0, UINT64_MAX};
}

// ---- The trial ----

struct logger {
    struct weir_pool *pool;
    _Atomic bool stop;
    uint64_t logged;
};

static void *logger_main(void *argument)
{
    struct logger *logger = argument;
    char text[MESSAGE_BYTES_MIN + MESSAGE_FILL_MAX];
    while (!atomic_load(&logger->stop) && logger->logged < MESSAGES_MAX - 1) {
        size_t count = message_write(logger->logged, text);
        int error = weir_log(logger->pool, text, count);
        must(error == 0, weir_error_text(error));
        logger->logged++;
    }
    return NULL;
}

static void command_give(int control, char command)
{
    char answer = 0;
    must(write(control, &command, 1) == 1, "write");
    must(read(control, &answer, 1) == 1 && answer == command, "the keeper is gone");
}

// The collector lives for a while, sometimes hardly at all; the claims are looked at meanwhile.
static void life_watch(struct judge *judge, struct weir_pool *pool, uint64_t life_us)
{
    uint64_t until_us = now_us() + life_us;
    for (uint64_t at_us = now_us(); at_us < until_us; at_us = now_us()) {
        uint64_t left_us = until_us - at_us;
        usleep((useconds_t)(left_us < 2000 ? left_us : 2000));
        if (!judge->truth.transport->kernel) {
            judge_live(judge, pool);
        }
    }
}

// Waits until the writer has heard of the death, since that is when it settles its books.
static uint64_t death_confirmed(struct weir_pool *pool)
{
    struct weir_metrics metrics;
    uint64_t until_us = now_us() + 1000000;
    do {
        weir_pool_stats(pool, &metrics);
    } while (metrics.writers_connected != 0 && now_us() < until_us && usleep(50) == 0);
    must(metrics.writers_connected == 0, "the writer does not notice the death");
    weir_pool_stats(pool, &metrics);
    return metrics.confirmed_messages;
}

static struct weir_pool *pool_make(struct weir_runtime *runtime, const char *endpoint,
                                   uint64_t epoch_bytes)
{
    struct weir_pool_options options;
    struct weir_pool *pool;
    char why[256];
    weir_pool_options_init(&options);
    options.endpoint = endpoint;
    // 0 where the claim is the acknowledgement's. Epochs could not end there anyway: the keeper's
    // descriptor outlives the collector's, so that the peer's end of stream never comes.
    options.epoch_bytes_max = epoch_bytes;
    options.epoch_interval_ms = EPOCH_INTERVAL_MS;
    options.buffer_bytes_max = 2 << 20;
    options.message_bytes_max = 1024;
    options.flush_interval_ms = 5;
    options.retry_interval_ms = 1;
    options.retry_interval_max_ms = 4;
    options.full = WEIR_FULL_BLOCK;
    int error = weir_pool_open(&pool, runtime, &options, why, sizeof why);
    must(error == 0, why);
    return pool;
}

// Prints the books. Returns whether they are as promised.
static bool trial_report(const struct judge *judge, const struct weir_metrics *metrics,
                         uint64_t kills, uint64_t logged, int closed, double seconds)
{
    uint64_t process_missing = 0, kernel_missing = 0;
    for (uint64_t i = 0; i < logged; i++) {
        process_missing += (judge->seen[i] & IN_PROCESS) == 0;
        kernel_missing += (judge->seen[i] & IN_KERNEL) == 0;
    }
    const struct transport *transport = judge->truth.transport;
    uint64_t lost = transport->kernel ? kernel_missing : process_missing;
    printf("%s\n     kills %" PRIu64 ", connections %" PRIu64 ", epochs %" PRIu64
           ", seconds %.1f\n"
           "     messages %" PRIu64 ", confirmed %" PRIu64 ", resent %" PRIu64 " (%.1f per kill)\n"
           "     duplicates read %" PRIu64 " (%.1f per kill), torn %" PRIu64
           ", out of order %" PRIu64 "\n     false confirmations: in %" PRIu64
           " checks, %" PRIu64 " messages; lost %" PRIu64 "\n",
           transport->name, kills, metrics->connects, metrics->epochs, seconds, logged,
           metrics->confirmed_messages, metrics->resent_messages,
           (double)metrics->resent_messages / (double)kills, judge->duplicates,
           (double)judge->duplicates / (double)kills, judge->torn, judge->disorders,
           judge->kills_false, judge->falsehoods, lost);
    if (transport->kernel) {
        printf("     confirmed, in the dead peer's kernel and never read by its process (what TCP "
               "cannot promise): %" PRIu64 " (%.1f per kill)\n",
               process_missing, (double)process_missing / (double)kills);
    }
    bool epochs = (metrics->epochs > 0) == (transport->epoch_bytes != 0);
    bool books = weir_metrics_balanced(metrics) && metrics->confirmed_messages == logged;
    if (!epochs) {
        printf("     epochs where there should be none, or none where there should be\n");
    }
    // Acknowledgements are no proof, and close has to say so.
    bool verdict = closed == 0 || (transport->kernel && closed == WEIR_EUNPROVEN);
    if (!books || closed != 0) {
        printf("     books %s, close said: %s\n", books ? "balanced" : "WRONG",
               closed == 0 ? "all delivered" : weir_error_text(closed));
    }
    return books && epochs && verdict && lost == 0 && judge->kills_false == 0 &&
           judge->torn == 0 && judge->disorders == 0;
}

static bool trial_run(struct judge *judge, int control, const char *endpoint, uint64_t kills,
                      uint64_t seed)
{
    const struct transport *transport = judge->truth.transport;
    struct weir_runtime *runtime;
    int error = weir_runtime_create(&runtime, &(struct weir_runtime_options){.workers = 1});
    must(error == 0, weir_error_text(error));
    struct logger logger = {.pool = pool_make(runtime, endpoint, transport->epoch_bytes)};
    pthread_t thread;
    must(pthread_create(&thread, NULL, logger_main, &logger) == 0, "thread");
    uint64_t begun_us = now_us();
    for (uint64_t i = 0; i < kills; i++) {
        uint32_t first = atomic_load(&judge->truth.shared->opened);
        bool brief = random_below(&seed, 4) == 0;
        command_give(control, 'F');
        life_watch(judge, logger.pool, random_below(&seed, brief ? 3000 : LIFE_US_MAX));
        command_give(control, 'K');
        judge_dead(judge, first);
        judge_claim(judge, death_confirmed(logger.pool));
    }
    uint32_t first = atomic_load(&judge->truth.shared->opened);
    command_give(control, 'C');
    command_give(control, 'F');
    atomic_store(&logger.stop, true);
    must(pthread_join(thread, NULL) == 0, "join");
    int closed = weir_pool_close(logger.pool, 20000);
    struct weir_metrics metrics;
    weir_pool_stats(logger.pool, &metrics);
    command_give(control, 'K');
    judge_dead(judge, first);
    judge_claim(judge, metrics.confirmed_messages);
    command_give(control, 'E');
    bool good = trial_report(judge, &metrics, kills, logger.logged, closed,
                             (double)(now_us() - begun_us) / 1e6);
    weir_pool_destroy(logger.pool);
    weir_runtime_destroy(runtime);
    return good;
}

static size_t shared_bytes(const struct transport *transport)
{
    return sizeof(struct shared) + transport->regions * sizeof(struct region);
}

static struct truth truth_make(const struct transport *transport)
{
    struct truth truth = {.transport = transport};
    truth.shared = mmap(NULL, shared_bytes(transport), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    truth.bytes = mmap(NULL, transport->regions * transport->region_bytes, PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    must(truth.shared != MAP_FAILED && truth.bytes != MAP_FAILED, "shared memory");
    return truth;
}

// A port of loopback that is ours, with or without a listener.
static void port_reserve(struct keeper *keeper)
{
    struct sockaddr_in *address = &keeper->tcp_address;
    socklen_t address_bytes = sizeof *address;
    *address = (struct sockaddr_in){.sin_family = AF_INET,
                                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    keeper->reserved = socket(AF_INET, SOCK_STREAM, 0);
    must(keeper->reserved >= 0, "socket");
    must(setsockopt(keeper->reserved, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) == 0,
         "SO_REUSEADDR");
    must(bind(keeper->reserved, (struct sockaddr *)address, sizeof *address) == 0, "bind");
    must(getsockname(keeper->reserved, (struct sockaddr *)address, &address_bytes) == 0, "port");
}

static bool transport_run(const struct transport *transport, uint64_t kills, uint64_t seed)
{
    struct keeper keeper = {.truth = truth_make(transport), .seed = ~seed, .listener = -1};
    char folder[] = "/tmp/weir-kills-XXXXXX", endpoint[128];
    must(mkdtemp(folder) != NULL, "mkdtemp");
    keeper.unix_address.sun_family = AF_UNIX;
    snprintf(keeper.unix_address.sun_path, sizeof keeper.unix_address.sun_path, "%s/socket",
             folder);
    if (transport->tcp) {
        port_reserve(&keeper);
        snprintf(endpoint, sizeof endpoint, "tcp://127.0.0.1:%d",
                 ntohs(keeper.tcp_address.sin_port));
    } else {
        snprintf(endpoint, sizeof endpoint, "unix:%s", keeper.unix_address.sun_path);
    }
    int pair[2];
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "socketpair");
    (void)fflush(stdout);
    pid_t pid = fork();
    must(pid >= 0, "fork");
    if (pid == 0) {
        close(pair[0]);
        keeper.control = pair[1];
        keeper_main(&keeper);
    }
    close(pair[1]);
    struct judge judge = {.truth = keeper.truth};
    judge.seen = mmap(NULL, MESSAGES_MAX, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    must(judge.seen != MAP_FAILED, "memory");
    bool good = trial_run(&judge, pair[0], endpoint, kills, seed);
    must(waitpid(pid, NULL, 0) == pid, "waitpid");
    close(pair[0]);
    if (transport->tcp) {
        close(keeper.reserved);
    }
    munmap(judge.seen, MESSAGES_MAX);
    munmap(keeper.truth.bytes, transport->regions * transport->region_bytes);
    munmap(keeper.truth.shared, shared_bytes(transport));
    (void)unlink(keeper.unix_address.sun_path);
    (void)rmdir(folder);
    return good;
}

static bool transport_chosen(const struct transport *transport, const char *name)
{
    return strcmp(name, "all") == 0 || strcmp(name, transport->name) == 0;
}

int main(int argc, char **argv)
{
    uint64_t kills = 1000;
    const char *name = "all", *seed_text = getenv("WEIR_SEED");
    uint64_t seed = seed_text != NULL ? strtoull(seed_text, NULL, 0) : now_us();
    bool usage = false, good = true;
    size_t chosen = 0;
    for (int i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        bool count = strcmp(argv[i], "--kills") == 0 || strcmp(argv[i], "--trials") == 0;
        if (count && atoi(value) > 0) {
            kills = strtoull(value, NULL, 0);
        } else if (strcmp(argv[i], "--seed") == 0 && *value != 0) {
            seed = strtoull(value, NULL, 0);
        } else if (strcmp(argv[i], "--transport") == 0) {
            name = value;
        } else {
            usage = true;
        }
    }
    for (size_t i = 0; i < TRANSPORTS_COUNT; i++) {
        chosen += transport_chosen(&transports[i], name);
    }
    if (usage || chosen == 0) {
        fprintf(stderr,
                "usage: pool_kills [--kills N] [--transport unix|tcp|epochs|all] [--seed S]\n");
        return 2;
    }
    printf("pool kills: %" PRIu64 " on each transport, seed %" PRIu64 "\n", kills, seed);
    for (size_t i = 0; i < TRANSPORTS_COUNT; i++) {
        if (transport_chosen(&transports[i], name)) {
            good = transport_run(&transports[i], kills, seed) && good;
        }
    }
    printf("%s\n", good ? "every confirmed message was there" : "FAILED");
    return good ? 0 : 1;
}
