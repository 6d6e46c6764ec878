// Tests of the real operating system door: each function of os.h against the running kernel.
#include "runtime/os.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/assert.h"
#include "runtime/limits.h"

#define MS UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

// ---- Helpers ----

static struct weir_os os_get(void)
{
    return weir_os_linux();
}

static uint64_t now_ns(const struct weir_os *os)
{
    return os->now_ns(os->self);
}

static bool is_readable(int fd)
{
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    return poll(&entry, 1, 0) == 1 && (entry.revents & POLLIN) != 0;
}

static void assert_private_fd(int fd)
{
    assert_true(fd >= 0);
    int flags = fcntl(fd, F_GETFD);
    assert_true(flags >= 0);
    assert_true((flags & FD_CLOEXEC) != 0);
}

static void assert_nonblocking_fd(int fd)
{
    assert_private_fd(fd);
    assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
}

static int descriptors_open(void)
{
    int count = 0;
    for (int fd = 0; fd < 1024; fd++) {
        count += fcntl(fd, F_GETFD) >= 0;
    }
    return count;
}

// An abstract Unix address that no other run of this test uses.
static void address_unix(struct weir_address *address, const char *name)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int length =
        snprintf(un.sun_path + 1, sizeof un.sun_path - 1, "weir-test-%d-%s", (int)getpid(), name);
    assert_true(length > 0);
    memset(address, 0, sizeof *address);
    address->bytes_count = (uint32_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
    memcpy(address->bytes, &un, address->bytes_count);
}

static void address_numeric(const struct weir_os *os, struct weir_address *address,
                            const char *host)
{
    assert_int_equal(os->resolve(os->self, host, 0, true, address, 1), 1);
}

static int64_t send_text(const struct weir_os *os, int fd, const char *text)
{
    struct weir_iovec part = {text, strlen(text)};
    return os->socket_send(os->self, fd, &part, 1);
}

static void wait_readable(int fd)
{
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&entry, 1, 10000), 1);
}

static uint32_t ready_of(const struct weir_os_event *events, int count, uint64_t token)
{
    uint32_t ready = 0;
    for (int index = 0; index < count; index++) {
        ready |= events[index].token == token ? events[index].ready : 0;
    }
    return ready;
}

static void pair_open(int fds[2], int type)
{
    assert_int_equal(socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
}

static void handler_nothing(int number)
{
    (void)number;
}

static void signal_catch(int number, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler}; // no SA_RESTART: calls are interrupted
    assert_int_equal(sigaction(number, &action, NULL), 0);
}

// ---- Clock, entropy, memory ----

static void test_clock(void **state)
{
    (void)state;
    struct weir_os os = os_get();
    uint64_t last = now_ns(&os);
    assert_true(last > 0);
    for (int index = 0; index < 1000; index++) {
        uint64_t now = now_ns(&os);
        assert_true(now >= last);
        last = now;
    }
    struct timespec pause = {.tv_nsec = 2000000};
    nanosleep(&pause, NULL);
    assert_true(now_ns(&os) >= last + 2 * MS);
    uint64_t wall_s = os.wall_ns(os.self) / SECOND;
    uint64_t reference_s = (uint64_t)time(NULL);
    assert_true(wall_s + 10 > reference_s && wall_s < reference_s + 10);
}

static void test_entropy(void **state)
{
    (void)state;
    struct weir_os os = os_get();
    unsigned char first[1000] = {0}, second[1000] = {0};
    os.entropy(os.self, first, sizeof first - 1);
    os.entropy(os.self, second, sizeof second - 1);
    assert_memory_not_equal(first, second, sizeof first - 1);
    assert_int_equal(first[sizeof first - 1], 0);
    uint32_t seen[256] = {0};
    for (size_t index = 0; index < sizeof first - 1; index++) {
        seen[first[index]]++;
    }
    for (size_t value = 0; value < 256; value++) {
        assert_true(seen[value] < 100); // 4 expected
    }
    os.entropy(os.self, NULL, 0);
}

static void test_alloc(void **state)
{
    (void)state;
    struct weir_os os = os_get();
    static const size_t sizes[] = {
        1, 7, 64, 4096, 65536, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (5 << 20) + 17};
    static const size_t alignments[] = {1, 8, 64, 4096, 65536, 1 << 21};
    for (size_t size = 0; size < sizeof sizes / sizeof sizes[0]; size++) {
        for (size_t which = 0; which < sizeof alignments / sizeof alignments[0]; which++) {
            for (int again = 0; again < 2; again++) { // the second may get used memory back
                size_t bytes = sizes[size];
                unsigned char *memory = os.alloc(os.self, bytes, alignments[which]);
                assert_non_null(memory);
                assert_int_equal((uintptr_t)memory % alignments[which], 0);
                assert_int_equal(memory[0], 0);
                assert_int_equal(memcmp(memory, memory + 1, bytes - 1), 0);
                memset(memory, 0xa5, bytes);
                os.release(os.self, memory, bytes);
            }
        }
    }
    assert_null(os.alloc(os.self, SIZE_MAX, 64));
    assert_null(os.alloc(os.self, SIZE_MAX / 4, 64));
    os.release(os.self, NULL, 64);
    os.release(os.self, NULL, 1 << 20);
}

static uint64_t resident_pages(void)
{
    unsigned long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu %lu", &size, &resident), 2);
    (void)fclose(file);
    return resident;
}

static uint64_t mapped_pages(void)
{
    unsigned long size = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu", &size), 1);
    (void)fclose(file);
    return size;
}

static void test_large_alloc_is_lazy_and_given_back(void **state)
{
    (void)state;
    struct weir_os os = os_get();
    uint64_t resident = resident_pages(), mapped = mapped_pages();
    for (int round = 0; round < 64; round++) { // what one round keeps, alignment's ends, adds up
        size_t bytes = ((size_t)256 << 20) + (size_t)round * 37 * 4096; // to lie differently
        void *memory = os.alloc(os.self, bytes, (size_t)1 << 21);
        assert_non_null(memory);
        assert_true(resident_pages() < resident + 4096); // 65536 pages if touched
        os.release(os.self, memory, bytes);
    }
    assert_true(mapped_pages() < mapped + 1024);
}

// ---- Fork guard ----

static void test_fork_guard(void **state)
{
    (void)state;
    struct weir_os os = os_get();
    _Atomic uint32_t *word = NULL;
    assert_int_equal(os.fork_guard_open(os.self, &word), 0);
    assert_int_equal(atomic_load(word), 1);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        pid_t grandchild = fork();
        if (grandchild == 0) {
            _exit(atomic_load(word) == 0 ? 0 : 1);
        }
        int status = -1;
        waitpid(grandchild, &status, 0);
        bool ok = atomic_load(word) == 0 && status == 0;
        os.fork_guard_close(os.self, word);
        _exit(ok ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(atomic_load(word), 1);
    os.fork_guard_close(os.self, word);
}

// ---- Threads ----

struct thread_facts {
    const struct weir_os *os;
    sigset_t mask;
    uint64_t id;
    size_t stack_bytes, guard_bytes;
    _Atomic uint32_t done;
};

static void thread_look(void *argument)
{
    struct thread_facts *facts = argument;
    struct weir_os os = *facts->os; // after `done` nothing of the test's is touched any more
    pthread_sigmask(SIG_SETMASK, NULL, &facts->mask);
    facts->id = os.thread_id(os.self);
    pthread_attr_t attributes;
    if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
        pthread_attr_getstacksize(&attributes, &facts->stack_bytes);
        pthread_attr_getguardsize(&attributes, &facts->guard_bytes);
        pthread_attr_destroy(&attributes);
    }
    atomic_store(&facts->done, 1);
    os.futex_wake(os.self, &facts->done, 1);
}

static void test_thread_join(void **state)
{
    (void)state;
    struct weir_os os = os_get();
    sigset_t wanted, before, after;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGUSR2);
    pthread_sigmask(SIG_SETMASK, &wanted, &before);
    struct thread_facts facts = {.os = &os};
    uint64_t thread = 0;
    assert_int_equal(os.thread_start(os.self, &thread, thread_look, &facts), 0);
    pthread_sigmask(SIG_SETMASK, &before, &after);
    assert_int_equal(os.thread_join(os.self, thread), 0);
    for (int number = 1; number < 32; number++) { // the caller's mask is as it was
        assert_int_equal(sigismember(&after, number), number == SIGUSR2);
    }
    for (int number = 1; number < 65; number++) {
        bool fault = number == SIGILL || number == SIGFPE || number == SIGSEGV || number == SIGBUS;
        bool unblockable = number == SIGKILL || number == SIGSTOP || number == 32 || number == 33;
        if (!unblockable) {
            assert_int_equal(sigismember(&facts.mask, number), !fault);
        }
    }
    assert_int_not_equal(facts.id, os.thread_id(os.self));
    assert_int_equal(os.thread_id(os.self), os.thread_id(os.self));
    assert_true(facts.stack_bytes >= 200 * 1024 || SANITIZED);
    assert_true(facts.guard_bytes > 0 || SANITIZED);
}

static void test_thread_detach(void **state)
{
    (void)state;
    struct weir_os os = os_get();
    struct thread_facts facts = {.os = &os};
    uint64_t thread = 0;
    assert_int_equal(os.thread_start(os.self, &thread, thread_look, &facts), 0);
    assert_int_equal(os.thread_detach(os.self, thread), 0);
    while (atomic_load(&facts.done) == 0) {
        (void)os.futex_wait(os.self, &facts.done, 0, now_ns(&os) + SECOND);
    }
    assert_int_not_equal(facts.id, os.thread_id(os.self));
}

static void thread_stay(void *argument)
{
    (void)argument;
    pause();
}

// In a child, since the limit would hold for the rest of this process. Stacks of threads that have
// ended are kept by the C library: it takes some threads until a new one needs memory.
static void test_thread_start_fails(void **state)
{
    (void)state;
    if (SANITIZED) {
        skip(); // their runtimes die of the limit
    }
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct weir_os os = os_get();
        sigset_t before, after;
        pthread_sigmask(SIG_SETMASK, NULL, &before);
        struct rlimit limit = {.rlim_cur = 1 << 20, .rlim_max = 1 << 20};
        setrlimit(RLIMIT_AS, &limit);
        int result = 0;
        for (int index = 0; index < 1000 && result == 0; index++) {
            uint64_t thread = 0;
            result = os.thread_start(os.self, &thread, thread_stay, NULL);
        }
        pthread_sigmask(SIG_SETMASK, NULL, &after);
        _Atomic uint32_t *word = NULL;
        bool ok = (result == -EAGAIN || result == -ENOMEM) &&
                  sigismember(&before, SIGUSR1) == sigismember(&after, SIGUSR1) &&
                  os.alloc(os.self, 64 << 20, 64) == NULL &&
                  os.alloc(os.self, 1 << 20, (size_t)1 << 21) == NULL &&
                  os.fork_guard_open(os.self, &word) == -ENOMEM;
        _exit(ok ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

// ---- Futex ----

static void test_futex_wait_ends(void **state)
{
    (void)state;
    struct weir_os os = os_get();
    _Atomic uint32_t word = 5;
    assert_int_equal(os.futex_wait(os.self, &word, 6, WEIR_NEVER), -EAGAIN);
    uint64_t start = now_ns(&os);
    assert_int_equal(os.futex_wait(os.self, &word, 5, 0), -ETIMEDOUT);
    assert_int_equal(os.futex_wait(os.self, &word, 5, 1), -ETIMEDOUT);
    assert_true(now_ns(&os) < start + 10 * SECOND);
    uint64_t deadline = now_ns(&os) + 20 * MS;
    int result = 0;
    while (now_ns(&os) < deadline) {
        result = os.futex_wait(os.self, &word, 5, deadline);
        assert_true(result == -ETIMEDOUT || result == 0);
    }
    assert_int_equal(result, -ETIMEDOUT);
    assert_true(now_ns(&os) >= deadline);
}

static void test_futex_wake_keeps_errno(void **state)
{
    (void)state;
    struct weir_os os = os_get();
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(page, MAP_FAILED);
    munmap(page, 4096); // a word that its owner has already given back
    errno = EXDEV;
    os.futex_wake(os.self, page, 1);
    os.futex_wake(os.self, (_Atomic uint32_t *)((uintptr_t)page + 1), 1); // EINVAL
    os.futex_wake(os.self, page, UINT32_MAX);
    assert_int_equal(errno, EXDEV);
}

struct futex_pair {
    struct weir_os os;
    _Atomic uint32_t ping, pong;
};

static void futex_answer(void *argument)
{
    struct futex_pair *pair = argument;
    for (uint32_t round = 1; round <= 200; round++) {
        while (atomic_load(&pair->ping) != round) {
            (void)pair->os.futex_wait(pair->os.self, &pair->ping, round - 1, WEIR_NEVER);
        }
        atomic_store(&pair->pong, round);
        pair->os.futex_wake(pair->os.self, &pair->pong, UINT32_MAX);
    }
}

static void test_futex_between_threads(void **state)
{
    (void)state;
    struct futex_pair pair = {.os = os_get()};
    uint64_t thread = 0;
    assert_int_equal(pair.os.thread_start(pair.os.self, &thread, futex_answer, &pair), 0);
    for (uint32_t round = 1; round <= 200; round++) {
        atomic_store(&pair.ping, round);
        pair.os.futex_wake(pair.os.self, &pair.ping, 1);
        while (atomic_load(&pair.pong) != round) {
            int result = pair.os.futex_wait(pair.os.self, &pair.pong, round - 1, WEIR_NEVER);
            assert_true(result == 0 || result == -EAGAIN);
        }
    }
    assert_int_equal(pair.os.thread_join(pair.os.self, thread), 0);
}

static void test_waits_are_interrupted(void **state)
{
    (void)state;
    struct weir_os os = os_get();
    signal_catch(SIGALRM, handler_nothing);
    struct weir_poller poller;
    assert_int_equal(os.poller_open(os.self, &poller), 0);
    struct itimerspec soon = {.it_value.tv_nsec = 20000000, .it_interval.tv_nsec = 20000000};
    timer_t timer;
    assert_int_equal(timer_create(CLOCK_MONOTONIC, NULL, &timer), 0);
    assert_int_equal(timer_settime(timer, 0, &soon, NULL), 0);
    _Atomic uint32_t word = 0;
    struct weir_os_event event;
    assert_int_equal(os.futex_wait(os.self, &word, 0, WEIR_NEVER), -EINTR);
    assert_int_equal(os.poller_wait(os.self, &poller, &event, 1, WEIR_NEVER), 0);
    os.self = NULL;
    assert_int_equal(os.poller_wait(os.self, &poller, &event, 1, WEIR_NEVER), 0);
    timer_delete(timer);
    signal_catch(SIGALRM, SIG_DFL);
    os.poller_close(os.self, &poller);
}

// ---- Poller ----

// Every poller test runs twice: as this kernel allows, and as on one without epoll_pwait2.
static struct weir_os os_of_state(void **state)
{
    struct weir_os os = os_get();
    if (*state != NULL) {
        os.self = NULL;
    }
    return os;
}

static int state_old_kernel(void **state)
{
    static char old_kernel;
    *state = &old_kernel;
    return 0;
}

static void test_poller_open_close(void **state)
{
    struct weir_os os = os_of_state(state);
    int before = descriptors_open();
    struct weir_poller poller;
    assert_int_equal(os.poller_open(os.self, &poller), 0);
    assert_private_fd(poller.fd);
    assert_nonblocking_fd(poller.wake_fd);
    assert_int_equal(poller.timer_fd, -1);
    assert_int_equal(os.poller_arm(os.self, &poller, WEIR_NEVER), 0);
    assert_int_equal(poller.timer_fd, -1);
    assert_int_equal(os.poller_arm(os.self, &poller, now_ns(&os) + SECOND), 0);
    assert_nonblocking_fd(poller.timer_fd);
    os.poller_close(os.self, &poller);
    assert_int_equal(poller.fd, -1);
    assert_int_equal(descriptors_open(), before);
}

// With room for 0, 1 and 2 more descriptors opening, and then arming, must fail and leave nothing.
static void test_poller_without_descriptors(void **state)
{
    struct weir_os os = os_of_state(state);
    struct rlimit before, limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int lowest = dup(0);
    assert_true(lowest >= 0);
    close(lowest);
    int open_before = descriptors_open();
    for (rlim_t room = 0; room < 3; room++) {
        limit = (struct rlimit){(rlim_t)lowest + room, before.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        struct weir_poller poller;
        int opened = os.poller_open(os.self, &poller);
        int armed = opened == 0 ? os.poller_arm(os.self, &poller, 1) : -EMFILE;
        int timer_fd = poller.timer_fd;
        if (opened == 0) {
            os.poller_close(os.self, &poller);
        }
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        assert_int_equal(opened, room < 2 ? -EMFILE : 0);
        assert_int_equal(armed, -EMFILE);
        assert_int_equal(timer_fd, -1);
        assert_int_equal(poller.fd, -1);
        assert_int_equal(descriptors_open(), open_before);
    }
}

static void test_poller_edges(void **state)
{
    struct weir_os os = os_of_state(state);
    struct weir_poller poller;
    struct weir_os_event events[8];
    assert_int_equal(os.poller_open(os.self, &poller), 0);
    int fds[2];
    pair_open(fds, SOCK_STREAM);
    assert_int_equal(os.poller_wait(os.self, &poller, events, 8, 0), 0);
    assert_int_equal(os.poller_add(os.self, &poller, fds[0], 77), 0);
    assert_int_equal(os.poller_add(os.self, &poller, fds[0], 78), -EEXIST);
    // The state at the time of adding is the first edge; a second look has nothing.
    assert_int_equal(os.poller_wait(os.self, &poller, events, 8, WEIR_NEVER), 1);
    assert_int_equal(events[0].token, 77);
    assert_int_equal(events[0].ready, WEIR_WRITABLE);
    assert_int_equal(os.poller_wait(os.self, &poller, events, 8, 0), 0);
    // One edge per arrival, though the first byte was not read.
    for (int round = 0; round < 2; round++) {
        assert_int_equal(send_text(&os, fds[1], "x"), 1);
        assert_int_equal(os.poller_wait(os.self, &poller, events, 8, WEIR_NEVER), 1);
        assert_int_equal(events[0].token, 77);
        assert_true((events[0].ready & WEIR_READABLE) != 0);
        assert_int_equal(os.poller_wait(os.self, &poller, events, 8, 0), 0);
        assert_false(is_readable(poller.fd));
    }
    assert_int_equal(shutdown(fds[1], SHUT_WR), 0);
    assert_int_equal(os.poller_wait(os.self, &poller, events, 8, WEIR_NEVER), 1);
    assert_int_equal(events[0].ready & (WEIR_PEER_CLOSED | WEIR_HANGUP), WEIR_PEER_CLOSED);
    close(fds[1]);
    assert_int_equal(os.poller_wait(os.self, &poller, events, 8, WEIR_NEVER), 1);
    assert_true((events[0].ready & WEIR_HANGUP) != 0);
    assert_int_equal(os.poller_remove(os.self, &poller, fds[0]), 0);
    assert_int_equal(os.poller_remove(os.self, &poller, fds[0]), -ENOENT);
    assert_int_equal(os.poller_add(os.self, &poller, -1, 1), -EBADF);
    close(fds[0]);
    os.poller_close(os.self, &poller);
}

static void test_poller_writable_edge(void **state)
{
    struct weir_os os = os_of_state(state);
    struct weir_poller poller;
    struct weir_os_event events[8];
    assert_int_equal(os.poller_open(os.self, &poller), 0);
    int fds[2];
    pair_open(fds, SOCK_STREAM);
    assert_int_equal(os.poller_add(os.self, &poller, fds[0], 5), 0);
    assert_int_equal(os.poller_wait(os.self, &poller, events, 8, WEIR_NEVER), 1);
    static char chunk[16384];
    struct weir_iovec part = {chunk, sizeof chunk};
    int64_t sent = 0, total = 0;
    while ((sent = os.socket_send(os.self, fds[0], &part, 1)) > 0) {
        total += sent;
    }
    assert_int_equal(sent, -EAGAIN);
    assert_true(total > 0);
    (void)os.poller_wait(os.self, &poller, events, 8, 0);
    while (total > 0) {
        int64_t count = os.socket_recv(os.self, fds[1], chunk, sizeof chunk);
        assert_true(count > 0);
        total -= count;
    }
    int count = os.poller_wait(os.self, &poller, events, 8, WEIR_NEVER);
    assert_true((ready_of(events, count, 5) & WEIR_WRITABLE) != 0);
    close(fds[0]);
    close(fds[1]);
    os.poller_close(os.self, &poller);
}

static void test_poller_many_events(void **state)
{
    struct weir_os os = os_of_state(state);
    enum { PAIRS = 40 };
    struct weir_poller poller;
    struct weir_os_event events[2 * PAIRS + 10];
    int fds[PAIRS][2];
    bool seen[2 * PAIRS] = {false};
    assert_int_equal(os.poller_open(os.self, &poller), 0);
    for (uint32_t index = 0; index < PAIRS; index++) {
        pair_open(fds[index], SOCK_STREAM);
        assert_int_equal(os.poller_add(os.self, &poller, fds[index][0], 2 * index), 0);
        assert_int_equal(os.poller_add(os.self, &poller, fds[index][1], 2 * index + 1), 0);
    }
    // More are ready than one call takes: the rest must come with the next ones, none twice.
    uint32_t left = 2 * PAIRS;
    for (uint32_t events_max = 1; left > 0; events_max = 2 * PAIRS + 10) {
        assert_true(is_readable(poller.fd));
        int count = os.poller_wait(os.self, &poller, events, events_max, WEIR_NEVER);
        assert_true(count > 0 && (uint32_t)count <= events_max && count <= WEIR_EVENTS_MAX);
        for (int index = 0; index < count; index++) {
            assert_true(events[index].token < 2 * PAIRS);
            assert_false(seen[events[index].token]);
            seen[events[index].token] = true;
        }
        left -= (uint32_t)count;
    }
    assert_false(is_readable(poller.fd));
    for (uint32_t index = 0; index < PAIRS; index++) {
        close(fds[index][0]);
        close(fds[index][1]);
    }
    os.poller_close(os.self, &poller);
}

static void test_poller_wait_is_never_early(void **state)
{
    struct weir_os os = os_of_state(state);
    struct weir_poller poller;
    struct weir_os_event event;
    assert_int_equal(os.poller_open(os.self, &poller), 0);
    for (uint64_t wait_ns = 1; wait_ns < 8 * MS; wait_ns = wait_ns * 3 + 1) {
        uint64_t deadline = now_ns(&os) + wait_ns;
        assert_int_equal(os.poller_wait(os.self, &poller, &event, 1, deadline), 0);
        assert_true(now_ns(&os) >= deadline);
    }
    uint64_t start = now_ns(&os);
    assert_int_equal(os.poller_wait(os.self, &poller, &event, 1, 1), 0); // long past
    assert_true(now_ns(&os) < start + 10 * SECOND);
    os.poller_close(os.self, &poller);
    assert_int_equal(os.poller_wait(os.self, &poller, &event, 1, 0), -EBADF);
}

static void test_poller_wake(void **state)
{
    struct weir_os os = os_of_state(state);
    struct weir_poller poller;
    struct weir_os_event event;
    assert_int_equal(os.poller_open(os.self, &poller), 0);
    assert_false(is_readable(poller.fd));
    // A wake before the wait counts, several are one, and each later one is an edge again.
    for (int round = 0; round < 3; round++) {
        for (int wake = 0; wake <= round; wake++) {
            errno = EXDEV;
            os.poller_wake(os.self, &poller);
            assert_int_equal(errno, EXDEV);
        }
        assert_true(is_readable(poller.fd));
        assert_int_equal(os.poller_wait(os.self, &poller, &event, 1, WEIR_NEVER), 0);
        assert_false(is_readable(poller.fd));
        uint64_t deadline = now_ns(&os) + 5 * MS;
        assert_int_equal(os.poller_wait(os.self, &poller, &event, 1, deadline), 0);
        assert_true(now_ns(&os) >= deadline);
    }
    os.poller_close(os.self, &poller);
    errno = EXDEV;
    os.poller_wake(os.self, &poller); // closed: the write fails, and still nothing shows
    assert_int_equal(errno, EXDEV);
}

struct wake_later {
    struct weir_os os;
    const struct weir_poller *poller;
};

static void wake_later(void *argument)
{
    struct wake_later *later = argument;
    struct timespec pause = {.tv_nsec = 10000000};
    nanosleep(&pause, NULL);
    later->os.poller_wake(later->os.self, later->poller);
}

static void test_poller_wake_from_thread(void **state)
{
    struct weir_os os = os_of_state(state);
    struct weir_poller poller;
    struct weir_os_event event;
    assert_int_equal(os.poller_open(os.self, &poller), 0);
    struct wake_later later = {os, &poller};
    uint64_t thread = 0;
    assert_int_equal(os.thread_start(os.self, &thread, wake_later, &later), 0);
    assert_int_equal(os.poller_wait(os.self, &poller, &event, 1, WEIR_NEVER), 0);
    assert_int_equal(os.thread_join(os.self, thread), 0);
    os.poller_close(os.self, &poller);
}

static void test_poller_arm(void **state)
{
    struct weir_os os = os_of_state(state);
    struct weir_poller poller;
    struct weir_os_event event;
    assert_int_equal(os.poller_open(os.self, &poller), 0);
    static const uint64_t waits_ns[] = {0, 3 * MS, 0, 1 * MS};
    for (size_t index = 0; index < sizeof waits_ns / sizeof waits_ns[0]; index++) {
        uint64_t deadline = waits_ns[index] == 0 ? 0 : now_ns(&os) + waits_ns[index];
        assert_int_equal(os.poller_arm(os.self, &poller, deadline), 0);
        assert_int_equal(os.poller_wait(os.self, &poller, &event, 1, WEIR_NEVER), 0);
        assert_true(now_ns(&os) >= deadline);
        assert_false(is_readable(poller.fd));
    }
    // Disarmed before and after the expiry: it is forgotten either way.
    for (int expired = 0; expired < 2; expired++) {
        assert_int_equal(os.poller_arm(os.self, &poller, now_ns(&os) + MS), 0);
        if (expired) {
            wait_readable(poller.fd);
        }
        assert_int_equal(os.poller_arm(os.self, &poller, WEIR_NEVER), 0);
        struct timespec pause = {.tv_nsec = 3000000};
        nanosleep(&pause, NULL);
        assert_false(is_readable(poller.fd));
    }
    // Moved further away: it comes once, at the later time.
    uint64_t later = now_ns(&os) + 20 * MS;
    assert_int_equal(os.poller_arm(os.self, &poller, now_ns(&os) + MS), 0);
    assert_int_equal(os.poller_arm(os.self, &poller, later), 0);
    assert_int_equal(os.poller_wait(os.self, &poller, &event, 1, WEIR_NEVER), 0);
    assert_true(now_ns(&os) >= later);
    os.poller_close(os.self, &poller);
}

// How many rounds of 0 the host's own level-triggered epoll sees; it must stop once we waited.
static void test_poller_inside_a_host_epoll(void **state)
{
    struct weir_os os = os_of_state(state);
    struct weir_poller poller;
    struct weir_os_event events[4];
    assert_int_equal(os.poller_open(os.self, &poller), 0);
    int host = epoll_create1(EPOLL_CLOEXEC);
    assert_true(host >= 0);
    struct epoll_event interest = {.events = EPOLLIN, .data.u64 = 9}, seen;
    assert_int_equal(epoll_ctl(host, EPOLL_CTL_ADD, poller.fd, &interest), 0);
    int fds[2];
    pair_open(fds, SOCK_STREAM);
    for (int round = 0; round < 12; round++) {
        int expected = 0;
        switch (round % 4) {
        case 0: os.poller_wake(os.self, &poller); break;
        case 1: assert_int_equal(os.poller_arm(os.self, &poller, now_ns(&os) + MS), 0); break;
        case 2:
            assert_int_equal(os.poller_add(os.self, &poller, fds[0], 3), 0);
            expected = 1;
            break;
        default: // all at once; the byte stays unread
            os.poller_wake(os.self, &poller);
            assert_int_equal(os.poller_arm(os.self, &poller, 1), 0);
            assert_int_equal(send_text(&os, fds[1], "x"), 1);
            expected = 1;
            break;
        }
        assert_int_equal(epoll_wait(host, &seen, 1, 10000), 1);
        assert_int_equal(seen.data.u64, 9);
        assert_int_equal(epoll_wait(host, &seen, 1, 10000), 1); // level: still there
        assert_int_equal(os.poller_wait(os.self, &poller, events, 4, 0), expected);
        assert_int_equal(epoll_wait(host, &seen, 1, 0), 0);
        struct timespec pause = {.tv_nsec = 2000000};
        nanosleep(&pause, NULL);
        assert_int_equal(epoll_wait(host, &seen, 1, 0), 0);
        if (round % 4 == 3) {
            assert_int_equal(os.poller_remove(os.self, &poller, fds[0]), 0);
        }
    }
    close(fds[0]);
    close(fds[1]);
    close(host);
    os.poller_close(os.self, &poller);
}

// ---- Sockets ----

// Connects a new socket to a new listener at `address`; both ends, accepted and connected, in fds.
static void stream_pair(const struct weir_os *os, const struct weir_address *address, int family,
                        int fds[2], int *listener)
{
    *listener = os->socket_open(os->self, family, SOCK_STREAM);
    assert_nonblocking_fd(*listener);
    assert_int_equal(os->socket_option(os->self, *listener, WEIR_SOCKET_REUSE_ADDRESS, 1), 0);
    assert_int_equal(os->socket_bind(os->self, *listener, address), 0);
    assert_int_equal(os->socket_listen(os->self, *listener, 4), 0);
    assert_int_equal(os->socket_accept(os->self, *listener), -EAGAIN);
    struct weir_address bound;
    assert_int_equal(os->socket_address(os->self, *listener, &bound), 0);
    assert_int_equal(bound.bytes_count, address->bytes_count);
    fds[1] = os->socket_open(os->self, family, SOCK_STREAM);
    assert_nonblocking_fd(fds[1]);
    int result = os->socket_connect(os->self, fds[1], &bound);
    assert_true(result == 0 || result == -EINPROGRESS);
    wait_readable(*listener);
    fds[0] = os->socket_accept(os->self, *listener);
    assert_nonblocking_fd(fds[0]);
    assert_int_equal(os->socket_error(os->self, fds[1]), 0);
}

static void stream_talk(const struct weir_os *os, const struct weir_address *address, int family)
{
    int fds[2], listener = -1;
    stream_pair(os, address, family, fds, &listener);
    char text[64] = {0};
    assert_int_equal(os->socket_recv(os->self, fds[0], text, sizeof text), -EAGAIN);
    assert_int_equal(os->socket_state(os->self, fds[1]), WEIR_WRITABLE);
    assert_int_equal(os->socket_outstanding(os->self, fds[1]), 0);
    struct weir_iovec parts[3] = {{"one ", 4}, {"", 0}, {"two", 3}};
    assert_int_equal(os->socket_send(os->self, fds[1], parts, 3), 7);
    wait_readable(fds[0]);
    assert_int_equal(os->socket_state(os->self, fds[0]), WEIR_READABLE | WEIR_WRITABLE);
    assert_int_equal(os->socket_recv(os->self, fds[0], text, 4), 4);
    assert_int_equal(os->socket_recv(os->self, fds[0], text + 4, sizeof text - 4), 3);
    assert_string_equal(text, "one two");
    for (int tries = 0; os->socket_outstanding(os->self, fds[1]) != 0; tries++) {
        assert_true(tries < 10000); // TCP: until the acknowledgement is in
        struct timespec pause = {.tv_nsec = 1000000};
        nanosleep(&pause, NULL);
    }
    assert_int_equal(os->socket_shutdown(os->self, fds[1], WEIR_SHUTDOWN_WRITE), 0);
    wait_readable(fds[0]);
    assert_true((os->socket_state(os->self, fds[0]) & WEIR_PEER_CLOSED) != 0);
    assert_int_equal(os->socket_recv(os->self, fds[0], text, sizeof text), 0);
    assert_int_equal(send_text(os, fds[1], "x"), -EPIPE); // and no SIGPIPE
    assert_int_equal(send_text(os, fds[0], "back"), 4);
    assert_int_equal(os->socket_shutdown(os->self, fds[0], WEIR_SHUTDOWN_BOTH), 0);
    wait_readable(fds[1]);
    assert_int_equal(os->socket_recv(os->self, fds[1], text, sizeof text), 4);
    assert_int_equal(os->socket_close(os->self, fds[0]), 0);
    assert_int_equal(os->socket_close(os->self, fds[1]), 0);
    assert_int_equal(os->socket_close(os->self, listener), 0);
    assert_int_equal(os->socket_close(os->self, listener), -EBADF);
}

static void test_stream_unix(void **state)
{
    (void)state;
    struct weir_os os = os_get();
    struct weir_address address;
    address_unix(&address, "stream");
    stream_talk(&os, &address, AF_UNIX);
}

static void test_stream_tcp(void **state)
{
    (void)state;
    struct weir_os os = os_get();
    struct weir_address address;
    address_numeric(&os, &address, "127.0.0.1");
    stream_talk(&os, &address, AF_INET);
}

static bool has_v6(void)
{
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 loopback = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    bool works = fd >= 0 && bind(fd, (struct sockaddr *)&loopback, sizeof loopback) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return works;
}

static void test_stream_tcp_v6(void **state)
{
    (void)state;
    struct weir_os os = os_get();
    struct weir_address address;
    if (!has_v6()) {
        skip();
    }
    address_numeric(&os, &address, "::1");
    stream_talk(&os, &address, AF_INET6);
}

static void datagram_talk(const struct weir_os *os, const struct weir_address *address, int family)
{
    int receiver = os->socket_open(os->self, family, SOCK_DGRAM);
    assert_nonblocking_fd(receiver);
    assert_int_equal(os->socket_bind(os->self, receiver, address), 0);
    struct weir_address bound;
    assert_int_equal(os->socket_address(os->self, receiver, &bound), 0);
    int sender = os->socket_open(os->self, family, SOCK_DGRAM);
    assert_nonblocking_fd(sender);
    assert_int_equal(os->socket_connect(os->self, sender, &bound), 0);
    struct weir_iovec parts[2] = {{"one", 3}, {"two", 3}};
    assert_int_equal(os->socket_send(os->self, sender, parts, 2), 6);
    assert_int_equal(send_text(os, sender, "second"), 6);
    char text[16] = {0};
    for (int index = 0; index < 2; index++) { // each stays one datagram
        wait_readable(receiver);
        assert_int_equal(os->socket_recv(os->self, receiver, text, sizeof text), 6);
        assert_string_equal(text, index == 0 ? "onetwo" : "second");
    }
    assert_int_equal(os->socket_close(os->self, receiver), 0);
    int64_t result = 0;
    for (int tries = 0; tries < 100 && result >= 0; tries++) { // UDP: the refusal comes back later
        result = send_text(os, sender, "x");
        struct timespec pause = {.tv_nsec = 1000000};
        nanosleep(&pause, NULL);
    }
    assert_int_equal(result, -ECONNREFUSED);
    static char huge[1 << 20];
    struct weir_iovec part = {huge, sizeof huge};
    assert_int_equal(os->socket_send(os->self, sender, &part, 1), -EMSGSIZE);
    assert_int_equal(os->socket_close(os->self, sender), 0);
}

static void test_datagram_unix(void **state)
{
    (void)state;
    struct weir_os os = os_get();
    struct weir_address address;
    address_unix(&address, "datagram");
    datagram_talk(&os, &address, AF_UNIX);
}

static void test_datagram_udp(void **state)
{
    (void)state;
    struct weir_os os = os_get();
    struct weir_address address;
    address_numeric(&os, &address, "127.0.0.1");
    datagram_talk(&os, &address, AF_INET);
    if (has_v6()) {
        address_numeric(&os, &address, "::1");
        datagram_talk(&os, &address, AF_INET6);
    }
}

static void test_send_many_parts_and_shut_reading(void **state)
{
    (void)state;
    struct weir_os os = os_get();
    int fds[2];
    pair_open(fds, SOCK_STREAM);
    static struct weir_iovec parts[1500];
    for (size_t index = 0; index < 1500; index++) {
        parts[index] = (struct weir_iovec){"ab", 2};
    }
    assert_int_equal(os.socket_send(os.self, fds[0], parts, 1500), 2048);
    assert_int_equal(os.socket_send(os.self, fds[0], parts + 1024, 1500 - 1024), 952);
    assert_int_equal(os.socket_shutdown(os.self, fds[1], WEIR_SHUTDOWN_READ), 0);
    assert_int_equal(os.socket_send(os.self, fds[0], parts, 1), -EPIPE);
    close(fds[0]);
    close(fds[1]);
}

static void test_connect_errors(void **state)
{
    (void)state;
    struct weir_os os = os_get();
    struct weir_address address;
    int fd = os.socket_open(os.self, AF_UNIX, SOCK_STREAM);
    address_unix(&address, "nobody");
    assert_int_equal(os.socket_connect(os.self, fd, &address), -ECONNREFUSED);
    struct sockaddr_un missing = {.sun_family = AF_UNIX, .sun_path = "/nonexistent/weir"};
    memcpy(address.bytes, &missing, sizeof missing);
    address.bytes_count = sizeof missing;
    assert_int_equal(os.socket_connect(os.self, fd, &address), -ENOENT);
    assert_int_equal(os.socket_bind(os.self, fd, &address), -ENOENT);
    assert_int_equal(os.socket_close(os.self, fd), 0);
    // A full backlog: EAGAIN, which on a Unix socket is not "in progress".
    int listener = os.socket_open(os.self, AF_UNIX, SOCK_STREAM);
    address_unix(&address, "full");
    assert_int_equal(os.socket_bind(os.self, listener, &address), 0);
    assert_int_equal(os.socket_listen(os.self, listener, 0), 0);
    int waiting[8], result = 0;
    for (int index = 0; index < 8; index++) {
        waiting[index] = os.socket_open(os.self, AF_UNIX, SOCK_STREAM);
        result = os.socket_connect(os.self, waiting[index], &address);
    }
    assert_int_equal(result, -EAGAIN);
    for (int index = 0; index < 8; index++) {
        close(waiting[index]);
    }
    close(listener);
    assert_int_equal(os.socket_open(os.self, 12345, SOCK_STREAM), -EAFNOSUPPORT);
}

static void test_tcp_refused_shows_as_pending_error(void **state)
{
    (void)state;
    struct weir_os os = os_get();
    struct weir_address address;
    address_numeric(&os, &address, "127.0.0.1");
    int bound = os.socket_open(os.self, AF_INET, SOCK_STREAM); // never listens
    assert_int_equal(os.socket_bind(os.self, bound, &address), 0);
    assert_int_equal(os.socket_address(os.self, bound, &address), 0);
    int fd = os.socket_open(os.self, AF_INET, SOCK_STREAM);
    int result = os.socket_connect(os.self, fd, &address);
    assert_true(result == -EINPROGRESS || result == -ECONNREFUSED);
    if (result == -EINPROGRESS) {
        wait_readable(fd);
        int ready = os.socket_state(os.self, fd);
        assert_int_equal(ready & (WEIR_HANGUP | WEIR_FAULT), WEIR_HANGUP | WEIR_FAULT);
        assert_int_equal(os.socket_error(os.self, fd), ECONNREFUSED);
        assert_int_equal(os.socket_error(os.self, fd), 0); // one shot
    }
    close(fd);
    close(bound);
}

static void test_peer_dies_with_unread_bytes(void **state)
{
    (void)state;
    struct weir_os os = os_get();
    int fds[2];
    pair_open(fds, SOCK_STREAM);
    assert_int_equal(send_text(&os, fds[0], "lost"), 4);
    assert_true(os.socket_outstanding(os.self, fds[0]) >= 4);
    close(fds[1]);
    int ready = os.socket_state(os.self, fds[0]);
    assert_int_equal(ready & (WEIR_HANGUP | WEIR_FAULT | WEIR_PEER_CLOSED),
                     WEIR_HANGUP | WEIR_FAULT | WEIR_PEER_CLOSED);
    assert_int_equal(os.socket_outstanding(os.self, fds[0]), 0);
    assert_int_equal(os.socket_error(os.self, fds[0]), ECONNRESET);
    close(fds[0]);
}

static int option_get(int fd, int level, int name)
{
    int value = -1;
    socklen_t bytes = sizeof value;
    assert_int_equal(getsockopt(fd, level, name, &value, &bytes), 0);
    return value;
}

static void test_options(void **state)
{
    (void)state;
    struct weir_os os = os_get();
    int fd = os.socket_open(os.self, AF_INET, SOCK_STREAM);
    assert_int_equal(os.socket_option(os.self, fd, WEIR_SOCKET_KEEPALIVE, 30), 0);
    assert_int_equal(option_get(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    assert_int_equal(option_get(fd, IPPROTO_TCP, TCP_KEEPIDLE), 30);
    assert_int_equal(option_get(fd, IPPROTO_TCP, TCP_KEEPINTVL), 30);
    assert_int_equal(os.socket_option(os.self, fd, WEIR_SOCKET_KEEPALIVE, 1000000), 0);
    assert_int_equal(option_get(fd, IPPROTO_TCP, TCP_KEEPIDLE), 32767);
    assert_int_equal(os.socket_option(os.self, fd, WEIR_SOCKET_KEEPALIVE, 0), 0);
    assert_int_equal(option_get(fd, SOL_SOCKET, SO_KEEPALIVE), 0);
    assert_int_equal(os.socket_option(os.self, fd, WEIR_SOCKET_USER_TIMEOUT_MS, 31000), 0);
    assert_int_equal(option_get(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 31000);
    assert_int_equal(os.socket_option(os.self, fd, WEIR_SOCKET_NOTSENT_BYTES, 16384), 0);
    assert_int_equal(option_get(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT), 16384);
    assert_int_equal(os.socket_option(os.self, fd, WEIR_SOCKET_NODELAY, 1), 0);
    assert_int_equal(option_get(fd, IPPROTO_TCP, TCP_NODELAY), 1);
    assert_int_equal(os.socket_option(os.self, fd, WEIR_SOCKET_SEND_BUFFER_BYTES, 65536), 0);
    assert_int_equal(option_get(fd, SOL_SOCKET, SO_SNDBUF), 131072); // the kernel doubles it
    assert_int_equal(os.socket_option(os.self, fd, WEIR_SOCKET_REUSE_ADDRESS, 1), 0);
    assert_int_equal(option_get(fd, SOL_SOCKET, SO_REUSEADDR), 1);
    assert_int_equal(os.socket_option(os.self, fd, (enum weir_socket_option)99, 1), -ENOPROTOOPT);
    close(fd);
    fd = os.socket_open(os.self, AF_UNIX, SOCK_STREAM);
    assert_int_equal(os.socket_option(os.self, fd, WEIR_SOCKET_NODELAY, 1), -EOPNOTSUPP);
    close(fd);
}

static void test_bad_descriptors(void **state)
{
    (void)state;
    struct weir_os os = os_get();
    struct weir_address address;
    address_unix(&address, "bad");
    char byte = 0;
    assert_int_equal(os.socket_bind(os.self, -1, &address), -EBADF);
    assert_int_equal(os.socket_listen(os.self, -1, 1), -EBADF);
    assert_int_equal(os.socket_accept(os.self, -1), -EBADF);
    assert_int_equal(os.socket_connect(os.self, -1, &address), -EBADF);
    assert_int_equal(send_text(&os, -1, "x"), -EBADF);
    assert_int_equal(os.socket_recv(os.self, -1, &byte, 1), -EBADF);
    assert_int_equal(os.socket_shutdown(os.self, -1, WEIR_SHUTDOWN_BOTH), -EBADF);
    assert_int_equal(os.socket_close(os.self, -1), -EBADF);
    assert_int_equal(os.socket_error(os.self, -1), -EBADF);
    assert_int_equal(os.socket_outstanding(os.self, -1), -EBADF);
    assert_int_equal(os.socket_option(os.self, -1, WEIR_SOCKET_KEEPALIVE, 1), -EBADF);
    assert_int_equal(os.socket_address(os.self, -1, &address), -EBADF);
    int closed = dup(0);
    close(closed);
    assert_int_equal(os.socket_state(os.self, closed), -EBADF);
}

// ---- Names ----

static void test_resolve_numeric(void **state)
{
    (void)state;
    struct weir_os os = os_get();
    struct weir_address addresses[4];
    assert_int_equal(os.resolve(os.self, "192.0.2.7", 601, true, addresses, 4), 1);
    assert_int_equal(addresses[0].bytes_count, sizeof(struct sockaddr_in));
    struct sockaddr_in v4;
    memcpy(&v4, addresses[0].bytes, sizeof v4);
    assert_int_equal(v4.sin_family, AF_INET);
    assert_int_equal(ntohs(v4.sin_port), 601);
    assert_int_equal(ntohl(v4.sin_addr.s_addr), 0xc0000207);
    assert_int_equal(os.resolve(os.self, "2001:db8::7", 65535, true, addresses, 4), 1);
    assert_int_equal(addresses[0].bytes_count, sizeof(struct sockaddr_in6));
    struct sockaddr_in6 v6;
    memcpy(&v6, addresses[0].bytes, sizeof v6);
    assert_int_equal(v6.sin6_family, AF_INET6);
    assert_int_equal(ntohs(v6.sin6_port), 65535);
    char text[INET6_ADDRSTRLEN];
    assert_string_equal(inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text), "2001:db8::7");
    static const char *const garbage[] = {"",          "localhost", "example.invalid",
                                          "1.2.3.4.5", "::g",       "300.1.1.1",
                                          "a b",       "\xff\xfe",  "[::1]"};
    for (size_t index = 0; index < sizeof garbage / sizeof garbage[0]; index++) {
        assert_int_equal(os.resolve(os.self, garbage[index], 1, true, addresses, 4), WEIR_ENAME);
    }
}

static void test_resolve_names(void **state)
{
    (void)state;
    struct weir_os os = os_get();
    struct weir_address addresses[4] = {{.bytes_count = 0}};
    assert_int_equal(os.resolve(os.self, "127.0.0.1", 9, false, addresses, 4), 1);
    int count = os.resolve(os.self, "localhost", 9, false, addresses, 4);
    if (count == WEIR_ENAME) {
        skip(); // a machine without a hosts file
    }
    assert_in_range(count, 1, 4);
    for (int first = 0; first < count; first++) {
        assert_true(addresses[first].bytes_count >= sizeof(struct sockaddr_in));
        for (int second = first + 1; second < count; second++) { // one entry per address
            assert_memory_not_equal(addresses[first].bytes, addresses[second].bytes,
                                    sizeof addresses[first].bytes);
        }
    }
    struct weir_address before = addresses[1];
    assert_int_equal(os.resolve(os.self, "localhost", 9, false, addresses, 1), 1);
    assert_memory_equal(&before, &addresses[1], sizeof before);
    char longest[400];
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(os.resolve(os.self, longest, 9, false, addresses, 4), WEIR_ENAME);
}

// ---- Assertions ----

// What the child that fails the assertion writes to standard error; `text` gets it, terminated.
static int assertion_output(const char *condition, char *text, size_t text_bytes)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct rlimit none = {0};
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGABRT, SIG_DFL);
        dup2(ends[1], STDERR_FILENO);
        weir_assert_failed(condition, "some/file.c", 42);
    }
    close(ends[1]);
    size_t count = 0;
    ssize_t got = 0;
    while ((got = read(ends[0], text + count, text_bytes - 1 - count)) > 0) {
        count += (size_t)got;
    }
    close(ends[0]);
    text[count] = '\0';
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void test_assertion(void **state)
{
    (void)state;
    char text[4096];
    int status = assertion_output("1 == 2", text, sizeof text);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_string_equal(text, "weir: assertion failed: 1 == 2 (some/file.c:42)\n");
    char condition[2000];
    memset(condition, 'c', sizeof condition);
    condition[sizeof condition - 1] = '\0';
    status = assertion_output(condition, text, sizeof text);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_in_range(strlen(text), 100, 1000);
    assert_int_equal(text[strlen(text) - 1], '\n');
}

#define POLLER_TEST(name)                                                                          \
    cmocka_unit_test(name),                                                                        \
    {                                                                                              \
#name " without epoll_pwait2", name, state_old_kernel, NULL, NULL                          \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock),
        cmocka_unit_test(test_entropy),
        cmocka_unit_test(test_alloc),
        cmocka_unit_test(test_large_alloc_is_lazy_and_given_back),
        cmocka_unit_test(test_fork_guard),
        cmocka_unit_test(test_thread_join),
        cmocka_unit_test(test_thread_detach),
        cmocka_unit_test(test_thread_start_fails),
        cmocka_unit_test(test_futex_wait_ends),
        cmocka_unit_test(test_futex_wake_keeps_errno),
        cmocka_unit_test(test_futex_between_threads),
        cmocka_unit_test(test_waits_are_interrupted),
        POLLER_TEST(test_poller_open_close),
        POLLER_TEST(test_poller_without_descriptors),
        POLLER_TEST(test_poller_edges),
        POLLER_TEST(test_poller_writable_edge),
        POLLER_TEST(test_poller_many_events),
        POLLER_TEST(test_poller_wait_is_never_early),
        POLLER_TEST(test_poller_wake),
        POLLER_TEST(test_poller_wake_from_thread),
        POLLER_TEST(test_poller_arm),
        POLLER_TEST(test_poller_inside_a_host_epoll),
        cmocka_unit_test(test_stream_unix),
        cmocka_unit_test(test_stream_tcp),
        cmocka_unit_test(test_stream_tcp_v6),
        cmocka_unit_test(test_datagram_unix),
        cmocka_unit_test(test_datagram_udp),
        cmocka_unit_test(test_send_many_parts_and_shut_reading),
        cmocka_unit_test(test_connect_errors),
        cmocka_unit_test(test_tcp_refused_shows_as_pending_error),
        cmocka_unit_test(test_peer_dies_with_unread_bytes),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_bad_descriptors),
        cmocka_unit_test(test_resolve_numeric),
        cmocka_unit_test(test_resolve_names),
        cmocka_unit_test(test_assertion),
    };
    return cmocka_run_group_tests_name("os_linux", tests, NULL, NULL);
}
