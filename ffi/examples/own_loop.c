// A host with an event loop of its own: the runtime has no thread and runs inside that loop.
//
//     weir recv --listen unix:@weir --count &
//     ./own_loop unix:@weir 1000
//
// Logs a line at every tick of its timer, until it has logged so many or is told to end. Status 0:
// all of them have arrived.
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "weir_writer.h"

#define TICK_NS 1000000
#define POLLS_PER_TURN 64 // a bound on how long the runtime keeps the loop from its other work

struct host {
    struct weir_runtime *runtime;
    struct weir_pool *pool;
    int epoll_fd, timer_fd, signal_fd;
    int lines, lines_max;
};

static int watch(const struct host *host, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd}; // level-triggered
    return epoll_ctl(host->epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

static bool host_open(struct host *host)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    struct itimerspec tick = {.it_value.tv_nsec = TICK_NS, .it_interval.tv_nsec = TICK_NS};
    if (sigprocmask(SIG_BLOCK, &signals, NULL) != 0) {
        return false;
    }
    host->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    host->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    host->signal_fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
    return host->epoll_fd >= 0 && host->timer_fd >= 0 && host->signal_fd >= 0 &&
           timerfd_settime(host->timer_fd, 0, &tick, NULL) == 0 &&
           watch(host, host->timer_fd) == 0 && watch(host, host->signal_fd) == 0 &&
           watch(host, weir_backend_fd(host->runtime)) == 0; // readable: weir_turn has work
}

static void log_lines(struct host *host, uint64_t ticks)
{
    for (; ticks > 0 && host->lines < host->lines_max; ticks--, host->lines++) {
        char line[64];
        int length = snprintf(line, sizeof(line), "tick %d", host->lines);
        if (weir_log(host->pool, line, (size_t)length) < 0) {
            return; // the buffer is full: these ticks are tried again at the next
        }
    }
}

// false: the host was told to end, or its loop is broken.
static bool host_run(struct host *host)
{
    while (host->lines < host->lines_max) {
        struct epoll_event events[8];
        int count = epoll_wait(host->epoll_fd, events, 8, -1);
        if (count < 0 && errno != EINTR) {
            perror("own_loop: epoll_wait");
            return false;
        }
        for (int i = 0; i < count; i++) {
            uint64_t ticks;
            if (events[i].data.fd == host->signal_fd) {
                return false;
            }
            if (events[i].data.fd != host->timer_fd) {
                // Everything the library does, its timers and sockets included, happens in here.
                (void)weir_turn(host->runtime, POLLS_PER_TURN, 0);
            } else if (read(host->timer_fd, &ticks, sizeof(ticks)) == sizeof(ticks)) {
                log_lines(host, ticks);
            }
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    struct host host = {.lines_max = argc > 2 ? atoi(argv[2]) : 1000};
    struct weir_runtime_options no_threads = {.workers = 0};
    int error = weir_runtime_create(&host.runtime, &no_threads);
    if (error < 0) {
        fprintf(stderr, "own_loop: %s\n", weir_error_text(error));
        return 1;
    }
    char why[512];
    struct weir_pool_options options;
    weir_pool_options_init(&options);
    options.endpoint = argc > 1 ? argv[1] : "unix:@weir";
    error = weir_pool_open(&host.pool, host.runtime, &options, why, sizeof(why));
    if (error < 0) {
        fprintf(stderr, "own_loop: %s\n", why);
    } else if (!host_open(&host)) {
        perror("own_loop");
        error = -1;
    } else {
        (void)host_run(&host);
        error = weir_pool_close(host.pool, 10000); // turns the runtime itself until all is proven
        struct weir_metrics books;
        weir_pool_stats(host.pool, &books);
        printf("%" PRIu64 " accepted, %" PRIu64 " confirmed: %s\n", books.accepted_messages,
               books.confirmed_messages, error < 0 ? weir_error_text(error) : "delivered");
        close(host.signal_fd);
        close(host.timer_fd);
        close(host.epoll_fd);
    }
    if (host.pool != NULL) {
        weir_pool_destroy(host.pool);
    }
    weir_runtime_destroy(host.runtime);
    return error < 0;
}
