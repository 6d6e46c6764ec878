// The operating system behind os.h: Linux clock, memory, threads, futex; the rest is beside it.
//
// Nothing is remembered between calls: there is no state but what the kernel keeps. EINTR is
// retried where an interrupted call has done nothing; elsewhere it is handed on, or looks like a
// spurious wake-up.
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/cold.h"
#include "runtime/os_linux.h"

// Headers older than the kernels they run on.
#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

// From here on memory comes from mmap, so that pages nobody touches are never made.
#define MAP_BYTES_MIN ((size_t)1 << 20)
// A poll is shallow and a name lookup needs tens of kilobytes; the rest is for the user's futures.
// Address space only: the kernel makes the pages that are touched.
#define STACK_BYTES ((size_t)256 << 10)

_Static_assert(sizeof(_Atomic uint32_t) == 4, "a futex is 32 bits");
_Static_assert(sizeof(pthread_t) <= sizeof(uint64_t), "a thread is named by 64 bits");
_Static_assert(sizeof(time_t) == 8, "nanoseconds of this century as seconds");

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

WEIR_COLD static void linux_entropy(void *self, void *bytes, size_t bytes_count)
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
    char *map =
        mmap(NULL, length + spare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
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

WEIR_COLD static void *linux_alloc(void *self, size_t bytes, size_t alignment)
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

WEIR_COLD static void linux_release(void *self, void *memory, size_t bytes)
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

WEIR_COLD static int linux_fork_guard_open(void *self, _Atomic uint32_t **word)
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

WEIR_COLD static void linux_fork_guard_close(void *self, _Atomic uint32_t *word)
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

WEIR_COLD static void *thread_main(void *memory)
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

WEIR_COLD static int linux_thread_start(void *self, uint64_t *thread, void (*entry)(void *),
                                        void *argument)
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

WEIR_COLD static int linux_thread_join(void *self, uint64_t thread)
{
    (void)self;
    return -pthread_join((pthread_t)(uintptr_t)thread, NULL);
}

WEIR_COLD static int linux_thread_detach(void *self, uint64_t thread)
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
    long result =
        syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, expected,
                deadline_ns == WEIR_NEVER ? NULL : &deadline, NULL, FUTEX_BITSET_MATCH_ANY);
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

// ---- The struct ----

WEIR_COLD struct weir_os weir_os_linux(void)
{
    struct weir_os os = {
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
    };
    weir_os_linux_fill_poller(&os);
    weir_os_linux_fill_socket(&os);
    return os;
}
