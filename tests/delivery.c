// Sends numbered messages without end, through weir or as plain loggers do; run by tests/delivery.
//
// Messages are numbered from 0 and sent until standard input ends; then what is held is delivered,
// and one line of names and values tells the books.
//   weir   a pool with the options given. Without --rate it is `full = block`: a saturating sender.
//          A second thread takes weir_pool_stats again and again, while messages are being logged:
//          every snapshot must balance.
//   plain  what "forget after write" does. Batches of 64 KiB; a batch is forgotten as far as
//          write() took it; after an error the connection is made anew at once, and the first
//          message that write() has not taken whole comes first. With --rate it never waits for
//          the socket: what a ring as large as weir's buffer has no room for is lost. Over RELP it
//          does not look at the answers.
//
// usage: delivery weir|plain ENDPOINT [--rate PER_SECOND] [OPTION=VALUE]...
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "tests/support_numbered.h"
#include "weir.h"
#include "weir_writer.h"

#define CLOSE_TIMEOUT_MS 60000u
#define LOOK_MS 1
#define BATCH_BYTES 65536u
#define FRAME_BYTES_MAX (NUMBERED_BYTES + 32u)
#define PLAIN_END_MS 5000
#define NS_PER_MS 1000000u

static void must(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "delivery: %s: %s\n", what, strerror(errno));
        exit(2);
    }
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void sleep_ns(uint64_t ns)
{
    nanosleep(&(struct timespec){0, (long)ns}, NULL);
}

// Whether standard input has ended; waits up to that long for it.
static bool input_ended(int wait_ms)
{
    char byte;
    struct pollfd watch = {STDIN_FILENO, POLLIN, 0};
    return poll(&watch, 1, wait_ms) > 0 && read(STDIN_FILENO, &byte, 1) <= 0;
}

// How many messages are due by now.
struct pace {
    uint64_t rate; // per second; 0: all at once
    uint64_t begun_ns;
};

static uint64_t pace_due(const struct pace *pace)
{
    return pace->rate == 0 ? UINT64_MAX
                           : (now_ns() - pace->begun_ns) / 1000u * pace->rate / 1000000u;
}

// ---- weir ----

struct watcher {
    struct weir_pool *pool;
    _Atomic bool stop;
    uint64_t looks, unbalanced;
};

static void watcher_look(struct watcher *watcher, struct weir_metrics *metrics)
{
    weir_pool_stats(watcher->pool, metrics);
    watcher->looks++;
    watcher->unbalanced += !weir_metrics_balanced(metrics);
}

static void *watcher_main(void *argument)
{
    struct watcher *watcher = argument;
    struct weir_metrics metrics;
    while (!input_ended(LOOK_MS)) {
        watcher_look(watcher, &metrics);
    }
    atomic_store(&watcher->stop, true);
    return NULL;
}

#define FAULT_NAME(name, label) label,
static void weir_report(struct watcher *watcher, uint64_t sent, uint64_t refused, int closed)
{
    struct weir_metrics metrics;
    watcher_look(watcher, &metrics);
    uint64_t dropped = 0, faults = 0;
    for (int i = 0; i < WEIR_DROPS_COUNT; i++) {
        dropped += metrics.dropped_messages[i];
    }
    for (int i = 0; i < WEIR_FAULTS_COUNT; i++) {
        faults += metrics.faults[i];
    }
    static const char *const fault_names[] = {WEIR_FAULTS(FAULT_NAME)};
    for (int i = 0; i < WEIR_FAULTS_COUNT; i++) {
        if (metrics.faults[i] != 0) {
            fprintf(stderr, "fault %s: %" PRIu64 "\n", fault_names[i], metrics.faults[i]);
        }
    }
    bool books = metrics.held_messages == 0 && metrics.held_bytes == 0 &&
                 metrics.rejected_messages[WEIR_REJECTED_FULL] == refused;
    printf("sent=%" PRIu64 " refused=%" PRIu64 " confirmed=%" PRIu64 " dropped=%" PRIu64
           " dropped_bytes=%" PRIu64 " resent=%" PRIu64 " connects=%" PRIu64 " epochs=%" PRIu64
           " faults=%" PRIu64 " looks=%" PRIu64 " unbalanced=%" PRIu64 " closed=%s\n",
           sent, refused, metrics.confirmed_messages, dropped,
           metrics.dropped_bytes[WEIR_DROPPED_OLDEST], metrics.resent_messages, metrics.connects,
           metrics.epochs, faults, watcher->looks, watcher->unbalanced + !books,
           closed == 0                ? "proven"
           : closed == WEIR_EUNPROVEN ? "unproven"
                                      : "late");
}

static void weir_main(const char *endpoint, struct pace *pace, char **settings, int settings_count)
{
    struct weir_runtime *runtime;
    struct weir_pool_options options;
    char why[256];
    weir_pool_options_init(&options);
    options.endpoint = endpoint;
    options.full = pace->rate == 0 ? WEIR_FULL_BLOCK : WEIR_FULL_DROP_NEWEST;
    options.retry_interval_ms = 10;
    options.retry_interval_max_ms = 100;
    for (int i = 0; i < settings_count; i++) {
        char *value = strchr(settings[i], '=');
        must(value != NULL, settings[i]);
        *value++ = '\0';
        must(weir_pool_options_set(&options, settings[i], value, why, sizeof(why)) == 0, why);
    }
    must(weir_runtime_create(&runtime, &(struct weir_runtime_options){.workers = 1}) == 0,
         "runtime");
    struct watcher watcher = {0};
    must(weir_pool_open(&watcher.pool, runtime, &options, why, sizeof(why)) == 0, why);
    pthread_t thread;
    must(pthread_create(&thread, NULL, watcher_main, &watcher) == 0, "thread");
    uint64_t sent = 0, refused = 0;
    while (!atomic_load_explicit(&watcher.stop, memory_order_relaxed)) {
        char text[NUMBERED_BYTES];
        if (sent >= pace_due(pace)) {
            sleep_ns(NS_PER_MS);
            continue;
        }
        numbered_write(sent++, text);
        int error = weir_log(watcher.pool, text, sizeof(text));
        must(error == 0 || error == WEIR_EFULL, "weir_log");
        refused += error != 0;
    }
    must(pthread_join(thread, NULL) == 0, "join");
    int closed = weir_pool_close(watcher.pool, CLOSE_TIMEOUT_MS);
    weir_report(&watcher, sent, refused, closed);
    weir_pool_destroy(watcher.pool);
    weir_runtime_destroy(runtime);
}

// ---- Plain: connections ----

enum plain_kind { PLAIN_STREAM, PLAIN_RELP };

struct plain {
    enum plain_kind kind;
    char host[256], port[8]; // host empty: a Unix socket at path
    char path[108];
    int fd; // -1: none
    uint64_t connects;
    uint32_t relp_number; // of the first frame that is not forgotten
    // A ring of the numbers that are not forgotten; first % capacity is where the first one is.
    uint64_t *numbers;
    uint64_t capacity, first, next;
    size_t taken_bytes; // of the first one's frame
    uint64_t logged, refused;
    char batch[BATCH_BYTES + FRAME_BYTES_MAX];
};

static void plain_endpoint(struct plain *plain, const char *endpoint)
{
    if (sscanf(endpoint, "unix:%107s", plain->path) == 1) {
        return;
    }
    plain->kind = strncmp(endpoint, "relp:", 5) == 0 ? PLAIN_RELP : PLAIN_STREAM;
    must(sscanf(endpoint, "%*[a-z]://%255[^:]:%7s", plain->host, plain->port) == 2, endpoint);
}

static int plain_connect_unix(const struct plain *plain)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, plain->path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    must(fd >= 0, "socket");
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static int plain_connect_tcp(const struct plain *plain)
{
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found;
    if (getaddrinfo(plain->host, plain->port, &hints, &found) != 0) {
        return -1;
    }
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    must(fd >= 0, "socket");
    // Also the time limit of connect().
    must(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &(struct timeval){1, 0}, sizeof(struct timeval)) ==
             0,
         "SO_SNDTIMEO");
    int error = connect(fd, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    if (error != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

// Opens and waits for the answer: without it nothing else is taken.
static bool plain_relp_open(int fd)
{
    static const char open[] = "1 open 52 relp_version=0\nrelp_software=plain,1\ncommands=syslog\n";
    char answer[512];
    struct pollfd watch = {fd, POLLIN, 0};
    return send(fd, open, sizeof(open) - 1, MSG_NOSIGNAL) == (ssize_t)sizeof(open) - 1 &&
           poll(&watch, 1, 1000) > 0 && recv(fd, answer, sizeof(answer), 0) > 0;
}

static void plain_connect(struct plain *plain)
{
    int fd = plain->host[0] == '\0' ? plain_connect_unix(plain) : plain_connect_tcp(plain);
    if (fd >= 0 && plain->kind == PLAIN_RELP && !plain_relp_open(fd)) {
        close(fd);
        fd = -1;
    }
    plain->fd = fd;
    plain->relp_number = 2;
    plain->taken_bytes = 0;
    plain->connects += fd >= 0;
}

// ---- Plain: messages ----

// returns  the frame's length.
static size_t plain_frame(const struct plain *plain, uint64_t number, uint32_t relp_number,
                          char *frame)
{
    int head = plain->kind == PLAIN_RELP
                   ? sprintf(frame, "%09u syslog %u ", relp_number % 1000000000u, NUMBERED_BYTES)
                   : sprintf(frame, "%u ", NUMBERED_BYTES);
    size_t bytes = (size_t)head + NUMBERED_BYTES;
    numbered_write(number, frame + head);
    frame[bytes] = '\n';
    return plain->kind == PLAIN_RELP ? bytes + 1 : bytes;
}

// Takes what is due; what the ring has no room for waits, or with a rate is lost.
static void plain_log(struct plain *plain, const struct pace *pace)
{
    uint64_t due = pace_due(pace);
    while (plain->logged < due) {
        bool room = plain->next - plain->first < plain->capacity;
        if (room) {
            plain->numbers[plain->next++ % plain->capacity] = plain->logged;
        } else if (pace->rate == 0) {
            return;
        }
        plain->refused += !room;
        plain->logged++;
    }
}

// Sends one batch, and forgets what was taken.  returns  false: the connection is over.
static bool plain_send(struct plain *plain)
{
    size_t bytes = 0, frame_bytes = 0;
    uint32_t relp_number = plain->relp_number;
    for (uint64_t i = plain->first; i < plain->next && bytes < BATCH_BYTES; i++) {
        frame_bytes = plain_frame(plain, plain->numbers[i % plain->capacity], relp_number++,
                                  plain->batch + bytes);
        bytes += frame_bytes;
    }
    ssize_t taken = send(plain->fd, plain->batch + plain->taken_bytes, bytes - plain->taken_bytes,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
    if (taken < 0) {
        struct pollfd watch = {plain->fd, POLLOUT | (plain->kind == PLAIN_RELP ? POLLIN : 0), 0};
        return errno == EAGAIN && poll(&watch, 1, 10) >= 0;
    }
    size_t whole = (plain->taken_bytes + (size_t)taken) / frame_bytes; // all are equally long
    plain->taken_bytes = (plain->taken_bytes + (size_t)taken) % frame_bytes;
    plain->first += whole;
    plain->relp_number += (uint32_t)whole;
    return true;
}

// Answers are read, so that the server goes on, and not looked at.  returns  false: it is over.
static bool plain_read(struct plain *plain)
{
    static char answers[65536];
    ssize_t got;
    while ((got = recv(plain->fd, answers, sizeof(answers), MSG_DONTWAIT)) > 0) {
    }
    return got < 0 && errno == EAGAIN;
}

// An orderly end, so that what is lost was lost by the events and not by this.
static void plain_end(struct plain *plain)
{
    char bytes[4096];
    struct pollfd watch = {plain->fd, POLLIN, 0};
    if (plain->kind == PLAIN_RELP) {
        int length = snprintf(bytes, sizeof(bytes), "%u close 0\n", plain->relp_number);
        (void)send(plain->fd, bytes, (size_t)length, MSG_NOSIGNAL);
    } else {
        (void)shutdown(plain->fd, SHUT_WR);
    }
    while (poll(&watch, 1, PLAIN_END_MS) > 0 && recv(plain->fd, bytes, sizeof(bytes), 0) > 0) {
    }
    close(plain->fd);
}

static void plain_main(const char *endpoint, struct pace *pace, char **settings, int settings_count)
{
    static struct plain plain = {.fd = -1};
    uint64_t buffer_bytes = 16u << 20;
    for (int i = 0; i < settings_count; i++) { // the others say nothing to it
        (void)sscanf(settings[i], "buffer_bytes_max=%" SCNu64, &buffer_bytes);
    }
    plain_endpoint(&plain, endpoint);
    plain.capacity = pace->rate == 0 ? BATCH_BYTES / NUMBERED_BYTES : buffer_bytes / NUMBERED_BYTES;
    plain.numbers = calloc(plain.capacity, sizeof(*plain.numbers));
    must(plain.numbers != NULL, "memory");
    bool ending = false;
    for (uint64_t turn = 0; !ending || plain.first < plain.next || plain.fd < 0; turn++) {
        ending = ending || ((turn % 16 == 0 || plain.fd < 0) && input_ended(0));
        if (!ending) {
            plain_log(&plain, pace);
        }
        if (plain.fd < 0) {
            plain_connect(&plain);
        }
        bool alive = plain.fd >= 0;
        if (alive && plain.kind == PLAIN_RELP) {
            alive = plain_read(&plain);
        }
        if (alive && plain.first < plain.next) {
            alive = plain_send(&plain);
        } else {
            sleep_ns(NS_PER_MS);
        }
        if (!alive && plain.fd >= 0) {
            close(plain.fd);
            plain.fd = -1;
        }
    }
    plain_end(&plain);
    printf("sent=%" PRIu64 " refused=%" PRIu64 " connects=%" PRIu64 "\n", plain.logged,
           plain.refused, plain.connects);
    free(plain.numbers);
}

int main(int argc, char **argv)
{
    bool plain = argc > 2 && strcmp(argv[1], "plain") == 0;
    struct pace pace = {.begun_ns = now_ns()};
    int settings = 3;
    if (argc < 3 || (!plain && strcmp(argv[1], "weir") != 0)) {
        fprintf(stderr,
                "usage: delivery weir|plain ENDPOINT [--rate PER_SECOND] [OPTION=VALUE]...\n");
        return 2;
    }
    if (argc > 4 && strcmp(argv[3], "--rate") == 0) {
        pace.rate = strtoull(argv[4], NULL, 10);
        settings = 5;
    }
    signal(SIGPIPE, SIG_IGN);
    (plain ? plain_main : weir_main)(argv[2], &pace, argv + settings, argc - settings);
    return 0;
}
