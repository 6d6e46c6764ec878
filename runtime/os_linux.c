// The operating system behind os.h: Linux clock, futex, threads, epoll, sockets, names, memory.
//
// Nothing is remembered between calls: there is no state but what the kernel keeps. `self` only
// says whether this kernel can wait to the nanosecond, found out once per weir_os_linux(): NULL
// means that it cannot. EINTR is retried where an interrupted call has done nothing; elsewhere it
// is handed on, or looks like a spurious wake-up.
#include <arpa/inet.h>
#include <errno.h>
#include <linux/futex.h>
#include <linux/sockios.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "runtime/assert.h"
#include "runtime/limits.h"
#include "runtime/os.h"

// Headers older than the kernels they run on.
#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif
#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif

#define NS_PER_S UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)
// From here on memory comes from mmap, so that pages nobody touches are never made.
#define MAP_BYTES_MIN ((size_t)1 << 20)
// A poll is shallow and a name lookup needs tens of kilobytes; the rest is for the user's futures.
// Address space only: the kernel makes the pages that are touched.
#define STACK_BYTES ((size_t)256 << 10)
// The kernel's UIO_MAXIOV, which refuses more with EMSGSIZE. A stream takes the rest with the next
// send; a datagram must not have so many.
#define PARTS_MAX 1024
// Unanswered keepalive probes, one idle time apart, after which the peer is dead.
#define KEEPALIVE_PROBES 3
#define TCP_KEEPALIVE_INTERVAL_S_MAX 32767

_Static_assert(sizeof(struct weir_iovec) == sizeof(struct iovec), "handed to sendmsg as it is");
_Static_assert(offsetof(struct weir_iovec, bytes) == offsetof(struct iovec, iov_base), "same");
_Static_assert(offsetof(struct weir_iovec, bytes_count) == offsetof(struct iovec, iov_len), "same");
// One more than the struct: for a path without a terminator the kernel counts one byte beyond it.
_Static_assert(sizeof(((struct weir_address *)0)->bytes) >= sizeof(struct sockaddr_un) + 1, "fits");
_Static_assert(sizeof(((struct weir_address *)0)->bytes) >= sizeof(struct sockaddr_in6), "fits");
_Static_assert(_Alignof(struct weir_address) >= _Alignof(struct sockaddr_in6), "read in place");
_Static_assert(offsetof(struct sockaddr_in, sin_port) == offsetof(struct sockaddr_in6, sin6_port),
               "the port is put into both in the same place");
_Static_assert(sizeof(_Atomic uint32_t) == 4, "a futex is 32 bits");
_Static_assert(sizeof(pthread_t) <= sizeof(uint64_t), "a thread is named by 64 bits");
_Static_assert(sizeof(time_t) == 8, "nanoseconds of this century as seconds");
_Static_assert(WEIR_SHUTDOWN_READ == (int)SHUT_RD && WEIR_SHUTDOWN_WRITE == (int)SHUT_WR &&
                   WEIR_SHUTDOWN_BOTH == (int)SHUT_RDWR,
               "handed to shutdown as it is");

static const char nanosecond_waits;

static int errno_unless(int result)
{
    return result < 0 ? -errno : result;
}

// ---- Assertions ----

void weir_assert_failed(const char *condition, const char *file, int line)
{
    char text[512];
    int wanted = snprintf(text, sizeof text, "weir: assertion failed: %s (%s:%d)\n", condition,
                          file, line);
    size_t bytes = wanted < 0 ? 0 : (size_t)wanted;
    if (bytes >= sizeof text) {
        bytes = sizeof text - 1;
        text[bytes - 1] = '\n';
    }
    // One write, so that the lines of several threads do not mix. If it fails nobody can be told.
    ssize_t written = write(STDERR_FILENO, text, bytes);
    (void)written;
    abort();
}

// ---- Clock and entropy ----

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec time;
    int result = clock_gettime(clock, &time);
    weir_assert(result == 0);
    if (time.tv_sec < 0) {
        return 0;
    }
    return (uint64_t)time.tv_sec * NS_PER_S + (uint64_t)time.tv_nsec;
}

static uint64_t linux_now_ns(void *self)
{
    (void)self;
    uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
    return now_ns == 0 ? 1 : now_ns;
}

static uint64_t linux_wall_ns(void *self)
{
    (void)self;
    return clock_ns(CLOCK_REALTIME);
}

static struct timespec timespec_of(uint64_t time_ns)
{
    return (struct timespec){.tv_sec = (time_t)(time_ns / NS_PER_S),
                             .tv_nsec = (long)(time_ns % NS_PER_S)};
}

// For a kernel without getrandom, or one that has just booted and is still gathering: different in
// every process and at every call, which is all that jitter and seeds need.
static void entropy_from_clock(unsigned char *bytes, size_t bytes_count)
{
    uint64_t state = clock_ns(CLOCK_MONOTONIC) ^ (clock_ns(CLOCK_REALTIME) << 20) ^
                     ((uint64_t)getpid() << 40) ^ (uint64_t)(uintptr_t)bytes;
    for (size_t index = 0; index < bytes_count; index++) {
        state += UINT64_C(0x9e3779b97f4a7c15); // splitmix64
        uint64_t mixed = (state ^ (state >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
        bytes[index] = (unsigned char)(mixed >> 56);
    }
}

static void linux_entropy(void *self, void *bytes, size_t bytes_count)
{
    (void)self;
    weir_assert(bytes != NULL || bytes_count == 0);
    unsigned char *at = bytes;
    while (bytes_count > 0) {
        ssize_t count = getrandom(at, bytes_count, GRND_NONBLOCK);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            entropy_from_clock(at, bytes_count);
            return;
        }
        at += count;
        bytes_count -= (size_t)count;
    }
}

// ---- Memory ----

static size_t page_bytes(void)
{
    long bytes = sysconf(_SC_PAGESIZE);
    weir_assert(bytes > 0);
    return (size_t)bytes;
}

static size_t round_up(size_t bytes, size_t unit)
{
    return (bytes + unit - 1) & ~(unit - 1);
}

// The kernel aligns to a page; for more, map too much and give back both ends.
static void *map_aligned(size_t bytes, size_t alignment)
{
    size_t page = page_bytes();
    size_t length = round_up(bytes, page);
    size_t spare = alignment > page ? alignment - page : 0;
    char *map = mmap(NULL, length + spare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                     0);
    if (map == MAP_FAILED) {
        return NULL;
    }
    size_t head = (size_t)(-(uintptr_t)map & (alignment - 1));
    weir_assert(head <= spare);
    // Failing to give back leaves address space behind, never a wrong answer.
    if (head > 0) {
        (void)munmap(map, head);
    }
    if (spare - head > 0) {
        (void)munmap(map + head + length, spare - head);
    }
    return map + head;
}

static void *linux_alloc(void *self, size_t bytes, size_t alignment)
{
    (void)self;
    weir_assert(bytes > 0);
    weir_assert(alignment > 0 && (alignment & (alignment - 1)) == 0);
    if (bytes > PTRDIFF_MAX / 2 || alignment > PTRDIFF_MAX / 2) {
        return NULL;
    }
    if (bytes >= MAP_BYTES_MIN) {
        return map_aligned(bytes, alignment);
    }
    void *memory = NULL;
    size_t at_least = alignment < sizeof(void *) ? sizeof(void *) : alignment;
    if (posix_memalign(&memory, at_least, bytes) != 0) {
        return NULL;
    }
    memset(memory, 0, bytes);
    return memory;
}

static void linux_release(void *self, void *memory, size_t bytes)
{
    (void)self;
    if (memory == NULL) {
        return;
    }
    if (bytes >= MAP_BYTES_MIN) {
        int result = munmap(memory, round_up(bytes, page_bytes()));
        weir_assert(result == 0);
    } else {
        free(memory);
    }
}

// ---- Fork guard ----

static int linux_fork_guard_open(void *self, _Atomic uint32_t **word)
{
    (void)self;
    weir_assert(word != NULL);
    size_t length = page_bytes();
    void *page = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        return -errno;
    }
    // Linux 4.14. No other way costs the reader nothing, so older kernels are refused.
    if (madvise(page, length, MADV_WIPEONFORK) != 0) {
        int error = errno;
        (void)munmap(page, length);
        return -error;
    }
    *word = page;
    atomic_store_explicit(*word, 1, memory_order_relaxed);
    return 0;
}

static void linux_fork_guard_close(void *self, _Atomic uint32_t *word)
{
    (void)self;
    weir_assert(word != NULL);
    int result = munmap((void *)word, page_bytes());
    weir_assert(result == 0);
}

// ---- Threads ----

// What a new thread needs to know, in memory of its own: the starter does not wait for it.
struct start {
    void (*entry)(void *);
    void *argument;
};

static void *thread_main(void *memory)
{
    struct start start = *(struct start *)memory;
    free(memory);
    (void)pthread_setname_np(pthread_self(), "weir");
    start.entry(start.argument);
    return NULL;
}

// A host's signals must interrupt the host's threads, and its handlers are not ours to run. Only
// those that a thread raises by its own fault stay open: blocked, they kill past any handler.
static void signals_block(sigset_t *before)
{
    sigset_t blocked;
    sigfillset(&blocked);
    sigdelset(&blocked, SIGILL);
    sigdelset(&blocked, SIGFPE);
    sigdelset(&blocked, SIGSEGV);
    sigdelset(&blocked, SIGBUS);
    int result = pthread_sigmask(SIG_SETMASK, &blocked, before);
    weir_assert(result == 0);
}

static int linux_thread_start(void *self, uint64_t *thread, void (*entry)(void *), void *argument)
{
    (void)self;
    weir_assert(thread != NULL && entry != NULL);
    struct start *start = malloc(sizeof *start);
    if (start == NULL) {
        return -ENOMEM;
    }
    *start = (struct start){entry, argument};
    pthread_attr_t attributes;
    int result = pthread_attr_init(&attributes);
    if (result != 0) {
        free(start);
        return -result;
    }
    // The guard page, below, is left as the C library has it: one page.
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
    // The mask is inherited: set before, so that there is no moment in which a signal gets in.
    sigset_t before;
    signals_block(&before);
    pthread_t handle;
    result = pthread_create(&handle, &attributes, thread_main, start);
    if (result == EINVAL) {
        // A host whose thread-local variables alone do not fit into our stack.
        result = pthread_create(&handle, NULL, thread_main, start);
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attributes);
    if (result != 0) {
        free(start);
        return -result;
    }
    *thread = (uint64_t)(uintptr_t)handle;
    return 0;
}

static int linux_thread_join(void *self, uint64_t thread)
{
    (void)self;
    return -pthread_join((pthread_t)(uintptr_t)thread, NULL);
}

static int linux_thread_detach(void *self, uint64_t thread)
{
    (void)self;
    return -pthread_detach((pthread_t)(uintptr_t)thread);
}

static uint64_t linux_thread_id(void *self)
{
    (void)self;
    return (uint64_t)(uintptr_t)pthread_self();
}

// ---- Futex ----

// FUTEX_WAIT_BITSET is the variant with an absolute deadline, on CLOCK_MONOTONIC: no need to read
// the clock, and an interrupted wait does not drift.
static int linux_futex_wait(void *self, const _Atomic uint32_t *word, uint32_t expected,
                            uint64_t deadline_ns)
{
    (void)self;
    weir_assert(word != NULL);
    struct timespec deadline = timespec_of(deadline_ns);
    long result = syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, expected,
                          deadline_ns == WEIR_NEVER ? NULL : &deadline, NULL,
                          FUTEX_BITSET_MATCH_ANY);
    return result < 0 ? -errno : 0;
}

// The address may have been freed by the thread that was just let go, and even unmapped: that is
// EFAULT or a spurious wake of somebody else, and no harm. errno is kept because a signal handler
// may be calling.
static void linux_futex_wake(void *self, const _Atomic uint32_t *word, uint32_t waiters_max)
{
    (void)self;
    int error = errno;
    int waiters = waiters_max > INT32_MAX ? INT32_MAX : (int)waiters_max;
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, waiters, NULL, NULL, 0);
    errno = error;
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

static int linux_poller_open(void *self, struct weir_poller *poller)
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
static void linux_poller_close(void *self, struct weir_poller *poller)
{
    (void)self;
    weir_assert(poller != NULL && poller->fd >= 0);
    poller_close_all(poller);
    *poller = (struct weir_poller){.fd = -1, .wake_fd = -1, .timer_fd = -1};
}

static int linux_poller_add(void *self, const struct weir_poller *poller, int fd, uint64_t token)
{
    (void)self;
    weir_assert(poller != NULL && token != WEIR_TOKEN_INTERNAL);
    return poller_watch(poller, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP, token);
}

static int linux_poller_remove(void *self, const struct weir_poller *poller, int fd)
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

// The kernel says the same things in the same bits to poll and to epoll.
_Static_assert(EPOLLIN == POLLIN && EPOLLOUT == POLLOUT && EPOLLERR == POLLERR &&
                   EPOLLHUP == POLLHUP && EPOLLRDHUP == POLLRDHUP,
               "one translation for both");

static uint32_t readiness_of(uint32_t events)
{
    return ((events & EPOLLIN) != 0 ? (uint32_t)WEIR_READABLE : 0) |
           ((events & EPOLLOUT) != 0 ? (uint32_t)WEIR_WRITABLE : 0) |
           ((events & EPOLLHUP) != 0 ? (uint32_t)WEIR_HANGUP : 0) |
           ((events & EPOLLERR) != 0 ? (uint32_t)WEIR_FAULT : 0) |
           ((events & EPOLLRDHUP) != 0 ? (uint32_t)WEIR_PEER_CLOSED : 0);
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
        uint64_t now_ns = linux_now_ns(self);
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
            events[count] = (struct weir_os_event){.token = seen[index].data.u64,
                                                   .ready = readiness_of(seen[index].events)};
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

static int poller_add_timer(struct weir_poller *poller)
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

// ---- Sockets ----

static int linux_socket_open(void *self, int family, int type)
{
    (void)self;
    return errno_unless(socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

static int linux_socket_bind(void *self, int fd, const struct weir_address *address)
{
    (void)self;
    weir_assert(address != NULL && address->bytes_count <= sizeof address->bytes);
    return errno_unless(bind(fd, (const struct sockaddr *)address->bytes, address->bytes_count));
}

static int linux_socket_listen(void *self, int fd, int backlog)
{
    (void)self;
    return errno_unless(listen(fd, backlog));
}

static int linux_socket_accept(void *self, int fd)
{
    (void)self;
    int result = -1;
    do {
        result = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    } while (result < 0 && errno == EINTR);
    return errno_unless(result);
}

// Not retried: an interrupted connect goes on by itself and a second one would say EALREADY.
static int linux_socket_connect(void *self, int fd, const struct weir_address *address)
{
    (void)self;
    weir_assert(address != NULL && address->bytes_count <= sizeof address->bytes);
    return errno_unless(connect(fd, (const struct sockaddr *)address->bytes, address->bytes_count));
}

static int64_t linux_socket_send(void *self, int fd, const struct weir_iovec *parts,
                                 size_t parts_count)
{
    (void)self;
    weir_assert(parts != NULL || parts_count == 0);
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)parts,
                             .msg_iovlen = parts_count < PARTS_MAX ? parts_count : PARTS_MAX};
    ssize_t count = -1;
    do {
        count = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (count < 0 && errno == EINTR);
    return count < 0 ? -errno : (int64_t)count;
}

static int64_t linux_socket_recv(void *self, int fd, void *bytes, size_t bytes_max)
{
    (void)self;
    weir_assert(bytes != NULL || bytes_max == 0);
    ssize_t count = -1;
    do {
        count = recv(fd, bytes, bytes_max, MSG_DONTWAIT);
    } while (count < 0 && errno == EINTR);
    return count < 0 ? -errno : (int64_t)count;
}

static int linux_socket_shutdown(void *self, int fd, enum weir_socket_shutdown how)
{
    (void)self;
    return errno_unless(shutdown(fd, (int)how));
}

// Not retried: the number is free again even after EINTR and may be another thread's by now.
static int linux_socket_close(void *self, int fd)
{
    (void)self;
    return errno_unless(close(fd));
}

static int linux_socket_error(void *self, int fd)
{
    (void)self;
    int error = 0;
    socklen_t bytes = sizeof error;
    int result = getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes);
    return result < 0 ? -errno : error;
}

static int64_t linux_socket_outstanding(void *self, int fd)
{
    (void)self;
    int bytes = 0;
    int result = ioctl(fd, SIOCOUTQ, &bytes);
    return result < 0 ? -errno : bytes;
}

static int linux_socket_state(void *self, int fd)
{
    (void)self;
    struct pollfd entry = {.fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP};
    int result = -1;
    do {
        result = poll(&entry, 1, 0);
    } while (result < 0 && errno == EINTR);
    if (result < 0) {
        return -errno;
    }
    if ((entry.revents & POLLNVAL) != 0) {
        return -EBADF;
    }
    return (int)readiness_of((uint32_t)(uint16_t)entry.revents);
}

static int option_set(int fd, int level, int name, int value)
{
    return errno_unless(setsockopt(fd, level, name, &value, sizeof value));
}

// The idle time also spaces the probes: a dead peer is found after (probes + 1) idle times, not
// after the kernel's eleven minutes more.
static int option_keepalive(int fd, int idle_s)
{
    int result = option_set(fd, SOL_SOCKET, SO_KEEPALIVE, idle_s > 0);
    if (result < 0 || idle_s <= 0) {
        return result;
    }
    int seconds = idle_s < TCP_KEEPALIVE_INTERVAL_S_MAX ? idle_s : TCP_KEEPALIVE_INTERVAL_S_MAX;
    result = option_set(fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds);
    if (result == 0) {
        result = option_set(fd, IPPROTO_TCP, TCP_KEEPINTVL, seconds);
    }
    if (result == 0) {
        result = option_set(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
    }
    return result;
}

static int linux_socket_option(void *self, int fd, enum weir_socket_option option, int value)
{
    (void)self;
    switch (option) {
    case WEIR_SOCKET_KEEPALIVE:
        return option_keepalive(fd, value);
    case WEIR_SOCKET_USER_TIMEOUT_MS:
        return option_set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, value);
    case WEIR_SOCKET_NOTSENT_BYTES:
        return option_set(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, value);
    case WEIR_SOCKET_NODELAY:
        return option_set(fd, IPPROTO_TCP, TCP_NODELAY, value);
    case WEIR_SOCKET_SEND_BUFFER_BYTES:
        return option_set(fd, SOL_SOCKET, SO_SNDBUF, value);
    case WEIR_SOCKET_REUSE_ADDRESS:
        return option_set(fd, SOL_SOCKET, SO_REUSEADDR, value);
    }
    return -ENOPROTOOPT;
}

static int linux_socket_address(void *self, int fd, struct weir_address *address)
{
    (void)self;
    weir_assert(address != NULL);
    *address = (struct weir_address){.bytes_count = 0};
    socklen_t bytes = sizeof address->bytes;
    int result = getsockname(fd, (struct sockaddr *)address->bytes, &bytes);
    if (result < 0) {
        return -errno;
    }
    weir_assert(bytes <= sizeof address->bytes);
    address->bytes_count = bytes;
    return 0;
}

// ---- Names ----

static int resolve_error(int code)
{
    switch (code) {
    case EAI_MEMORY:
        return WEIR_EMEMORY;
    case EAI_SYSTEM:
        return errno != 0 ? -errno : -EIO;
    default:
        return WEIR_ENAME;
    }
}

static bool address_of(struct weir_address *address, const struct addrinfo *entry, uint16_t port)
{
    if (entry->ai_family != AF_INET && entry->ai_family != AF_INET6) {
        return false;
    }
    weir_assert(entry->ai_addrlen <= sizeof address->bytes);
    *address = (struct weir_address){.bytes_count = entry->ai_addrlen};
    memcpy(address->bytes, entry->ai_addr, entry->ai_addrlen);
    uint16_t port_big_endian = htons(port);
    memcpy(address->bytes + offsetof(struct sockaddr_in, sin_port), &port_big_endian,
           sizeof port_big_endian);
    return true;
}

// One socket type, because getaddrinfo repeats each address for every type. No AI_ADDRCONFIG: it
// hides "localhost" on a machine, or in a container, that has nothing but a loopback.
static int linux_resolve(void *self, const char *host, uint16_t port, bool numeric,
                         struct weir_address *addresses, uint32_t addresses_max)
{
    (void)self;
    weir_assert(host != NULL && addresses != NULL && addresses_max > 0);
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = numeric ? AI_NUMERICHOST : 0};
    struct addrinfo *list = NULL;
    int result = getaddrinfo(host, NULL, &hints, &list);
    if (result != 0) {
        return resolve_error(result);
    }
    uint32_t count = 0;
    for (const struct addrinfo *entry = list; entry != NULL && count < addresses_max;
         entry = entry->ai_next) {
        count += address_of(&addresses[count], entry, port) ? 1 : 0;
    }
    freeaddrinfo(list);
    return count > 0 ? (int)count : WEIR_ENAME;
}

// ---- The struct ----

// Linux 5.11 has it, and a sandbox may still forbid it. Asked without a descriptor, so that the one
// answer that means "yes" is a complaint about that.
static bool waits_to_the_nanosecond(void)
{
    struct epoll_event event;
    struct timespec none = {0};
    long result = syscall(SYS_epoll_pwait2, -1, &event, 1, &none, NULL, (size_t)0);
    return result < 0 && errno == EBADF;
}

struct weir_os weir_os_linux(void)
{
    return (struct weir_os){
        .self = waits_to_the_nanosecond() ? (void *)(uintptr_t)&nanosecond_waits : NULL,
        .now_ns = linux_now_ns,
        .wall_ns = linux_wall_ns,
        .entropy = linux_entropy,
        .alloc = linux_alloc,
        .release = linux_release,
        .fork_guard_open = linux_fork_guard_open,
        .fork_guard_close = linux_fork_guard_close,
        .thread_start = linux_thread_start,
        .thread_join = linux_thread_join,
        .thread_detach = linux_thread_detach,
        .thread_id = linux_thread_id,
        .futex_wait = linux_futex_wait,
        .futex_wake = linux_futex_wake,
        .poller_open = linux_poller_open,
        .poller_close = linux_poller_close,
        .poller_add = linux_poller_add,
        .poller_remove = linux_poller_remove,
        .poller_wait = linux_poller_wait,
        .poller_wake = linux_poller_wake,
        .poller_arm = linux_poller_arm,
        .socket_open = linux_socket_open,
        .socket_bind = linux_socket_bind,
        .socket_listen = linux_socket_listen,
        .socket_accept = linux_socket_accept,
        .socket_connect = linux_socket_connect,
        .socket_send = linux_socket_send,
        .socket_recv = linux_socket_recv,
        .socket_shutdown = linux_socket_shutdown,
        .socket_close = linux_socket_close,
        .socket_error = linux_socket_error,
        .socket_outstanding = linux_socket_outstanding,
        .socket_state = linux_socket_state,
        .socket_option = linux_socket_option,
        .socket_address = linux_socket_address,
        .resolve = linux_resolve,
    };
}
