// The Linux poller: epoll, an eventfd to wake it, a timerfd that lets a host watch it.
//
// `self` only says whether this kernel can wait to the nanosecond, found out once per
// weir_os_linux(): NULL means that it cannot.
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "runtime/cold.h"
#include "runtime/limits.h"
#include "runtime/os_linux.h"

// Headers older than the kernels they run on.
#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif

static const char nanosecond_waits;

static uint64_t clock_now_ns(void)
{
    struct timespec now;
    int result = clock_gettime(CLOCK_MONOTONIC, &now);
    weir_assert(result == 0);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

// The kernel says the same things in the same bits to poll and to epoll.
_Static_assert(EPOLLIN == POLLIN && EPOLLOUT == POLLOUT && EPOLLERR == POLLERR &&
                   EPOLLHUP == POLLHUP && EPOLLRDHUP == POLLRDHUP,
               "one translation for both");

uint32_t weir_os_linux_readiness(uint32_t events)
{
    return ((events & EPOLLIN) != 0 ? (uint32_t)WEIR_READABLE : 0) |
           ((events & EPOLLOUT) != 0 ? (uint32_t)WEIR_WRITABLE : 0) |
           ((events & EPOLLHUP) != 0 ? (uint32_t)WEIR_HANGUP : 0) |
           ((events & EPOLLERR) != 0 ? (uint32_t)WEIR_FAULT : 0) |
           ((events & EPOLLRDHUP) != 0 ? (uint32_t)WEIR_PEER_CLOSED : 0);
}

// ---- Poller ----
//
// The eventfd and the timer are watched edge-triggered and never read: each write, each expiry is
// an edge of its own, and once poller_wait has taken it the epoll descriptor is no longer readable
// for a host that watches it level-triggered.

static void poller_close_all(const struct weir_poller *poller)
{
    const int fds[] = {poller->timer_fd, poller->wake_fd, poller->fd};
    for (size_t index = 0; index < sizeof fds / sizeof fds[0]; index++) {
        if (fds[index] >= 0) {
            (void)close(fds[index]);
        }
    }
}

static int poller_watch(const struct weir_poller *poller, int fd, uint32_t events, uint64_t token)
{
    struct epoll_event event = {.events = events | EPOLLET, .data.u64 = token};
    return errno_unless(epoll_ctl(poller->fd, EPOLL_CTL_ADD, fd, &event));
}

WEIR_COLD static int linux_poller_open(void *self, struct weir_poller *poller)
{
    (void)self;
    weir_assert(poller != NULL);
    *poller = (struct weir_poller){.fd = -1, .wake_fd = -1, .timer_fd = -1};
    struct weir_poller opened = *poller;
    opened.fd = epoll_create1(EPOLL_CLOEXEC);
    if (opened.fd < 0) {
        return -errno;
    }
    int result = 0;
    opened.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (opened.wake_fd < 0) {
        result = -errno;
    } else {
        result = poller_watch(&opened, opened.wake_fd, EPOLLIN, WEIR_TOKEN_INTERNAL);
    }
    if (result < 0) {
        poller_close_all(&opened);
        return result;
    }
    *poller = opened;
    return 0;
}

// Only closes: in a forked child the epoll is still the parent's, and taking descriptors out of it
// would blind the parent.
WEIR_COLD static void linux_poller_close(void *self, struct weir_poller *poller)
{
    (void)self;
    weir_assert(poller != NULL && poller->fd >= 0);
    poller_close_all(poller);
    *poller = (struct weir_poller){.fd = -1, .wake_fd = -1, .timer_fd = -1};
}

WEIR_COLD static int linux_poller_add(void *self, const struct weir_poller *poller, int fd,
                                      uint64_t token)
{
    (void)self;
    weir_assert(poller != NULL && token != WEIR_TOKEN_INTERNAL);
    return poller_watch(poller, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP, token);
}

WEIR_COLD static int linux_poller_remove(void *self, const struct weir_poller *poller, int fd)
{
    (void)self;
    weir_assert(poller != NULL);
    struct epoll_event unused = {0}; // kernels before 2.6.9 read it
    return errno_unless(epoll_ctl(poller->fd, EPOLL_CTL_DEL, fd, &unused));
}

// Waits for at most `wait_ns` (WEIR_NEVER: for ever). Without epoll_pwait2 the limit is rounded up
// to whole milliseconds, since waking early would make the caller spin until its deadline.
static int epoll_wait_ns(const void *nanoseconds, int fd, struct epoll_event *events,
                         int events_max, uint64_t wait_ns)
{
    if (nanoseconds != NULL) {
        struct timespec wait = timespec_of(wait_ns);
        return (int)syscall(SYS_epoll_pwait2, fd, events, events_max,
                            wait_ns == WEIR_NEVER ? NULL : &wait, NULL, (size_t)0);
    }
    int wait_ms = -1;
    if (wait_ns != WEIR_NEVER) {
        uint64_t rounded_ms = wait_ns / NS_PER_MS + (wait_ns % NS_PER_MS != 0);
        wait_ms = rounded_ms > INT32_MAX ? INT32_MAX : (int)rounded_ms; // 24 days: early, a 0
    }
    return epoll_wait(fd, events, events_max, wait_ms);
}

// A signal, a wake and an expired timer all end the wait with 0 events: the caller looks around and
// comes back.
static int linux_poller_wait(void *self, const struct weir_poller *poller,
                             struct weir_os_event *events, uint32_t events_max,
                             uint64_t deadline_ns)
{
    weir_assert(poller != NULL && events != NULL);
    weir_assert(events_max > 0);
    uint64_t wait_ns = deadline_ns;
    if (deadline_ns != WEIR_NEVER && deadline_ns != 0) {
        uint64_t now_ns = clock_now_ns();
        wait_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
    }
    struct epoll_event seen[WEIR_EVENTS_MAX];
    int seen_max = (int)(events_max < WEIR_EVENTS_MAX ? events_max : WEIR_EVENTS_MAX);
    int seen_count = epoll_wait_ns(self, poller->fd, seen, seen_max, wait_ns);
    if (seen_count < 0) {
        return errno == EINTR ? 0 : -errno;
    }
    int count = 0;
    for (int index = 0; index < seen_count; index++) {
        if (seen[index].data.u64 != WEIR_TOKEN_INTERNAL) {
            events[count] =
                (struct weir_os_event){.token = seen[index].data.u64,
                                       .ready = weir_os_linux_readiness(seen[index].events)};
            count++;
        }
    }
    return count;
}

// The counter only grows, by one at a time: 2^64 wakes before it could refuse one.
static void linux_poller_wake(void *self, const struct weir_poller *poller)
{
    (void)self;
    int error = errno;
    uint64_t one = 1;
    ssize_t written = write(poller->wake_fd, &one, sizeof one);
    (void)written;
    errno = error;
}

WEIR_COLD static int poller_add_timer(struct weir_poller *poller)
{
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (fd < 0) {
        return -errno;
    }
    int result = poller_watch(poller, fd, EPOLLIN, WEIR_TOKEN_INTERNAL);
    if (result < 0) {
        (void)close(fd);
        return result;
    }
    poller->timer_fd = fd;
    return 0;
}

// Setting the timer also forgets an expiry that was not taken yet.
static int linux_poller_arm(void *self, struct weir_poller *poller, uint64_t deadline_ns)
{
    (void)self;
    weir_assert(poller != NULL && poller->fd >= 0);
    if (poller->timer_fd < 0) {
        if (deadline_ns == WEIR_NEVER) {
            return 0;
        }
        int result = poller_add_timer(poller);
        if (result < 0) {
            return result;
        }
    }
    // All zero means "off" to the kernel; the moment 0 means "at once" to us.
    uint64_t at_ns = deadline_ns == WEIR_NEVER ? 0 : deadline_ns == 0 ? 1 : deadline_ns;
    struct itimerspec setting = {.it_value = timespec_of(at_ns)};
    return errno_unless(timerfd_settime(poller->timer_fd, TFD_TIMER_ABSTIME, &setting, NULL));
}

// Linux 5.11 has it, and a sandbox may still forbid it. Asked without a descriptor, so that the one
// answer that means "yes" is a complaint about that.
static bool waits_to_the_nanosecond(void)
{
    struct epoll_event event;
    struct timespec none = {0};
    long result = syscall(SYS_epoll_pwait2, -1, &event, 1, &none, NULL, (size_t)0);
    return result < 0 && errno == EBADF;
}

void weir_os_linux_fill_poller(struct weir_os *os)
{
    os->self = waits_to_the_nanosecond() ? (void *)(uintptr_t)&nanosecond_waits : NULL;
    os->poller_open = linux_poller_open;
    os->poller_close = linux_poller_close;
    os->poller_add = linux_poller_add;
    os->poller_remove = linux_poller_remove;
    os->poller_wait = linux_poller_wait;
    os->poller_wake = linux_poller_wake;
    os->poller_arm = linux_poller_arm;
}
