// The faulty operating system of support_os.h: made and looked at; memory, threads, clocks, names.
//
// Faults, waiting, sockets and torture have files of their own beside this one.
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support_os_state.h"

static const char *const misuse_names[MISUSE_COUNT] = {
    [MISUSE_RELEASE_UNKNOWN] = "releases of memory that is not live",
    [MISUSE_RELEASE_SIZE] = "releases with another size than allocated",
    [MISUSE_CLOSE] = "closes of descriptors that are not open",
    [MISUSE_THREAD] = "joins or detaches that failed",
    [MISUSE_FORK_GUARD] = "closes of fork guards that are not open",
};

// ---- Clock and entropy ----

uint64_t wrap_now_ns(void *self)
{
    struct support_os *me = self;
    (void)support_os_enter(me, SUPPORT_OS_now_ns);
    if (atomic_load(&me->is_virtual)) {
        return atomic_load(&me->now_ns);
    }
    return me->inner.now_ns(me->inner.self);
}

uint64_t wrap_wall_ns(void *self)
{
    struct support_os *me = self;
    (void)support_os_enter(me, SUPPORT_OS_wall_ns);
    return me->inner.wall_ns(me->inner.self);
}

void wrap_entropy(void *self, void *bytes, size_t bytes_count)
{
    struct support_os *me = self;
    (void)support_os_enter(me, SUPPORT_OS_entropy);
    me->inner.entropy(me->inner.self, bytes, bytes_count);
}

// ---- Memory ----

void *support_os_grow(void *rows, size_t rows_max, size_t row_bytes, size_t *rows_max_new)
{
    size_t wanted = *rows_max_new > 2 * rows_max ? *rows_max_new : 2 * rows_max;
    char *grown = realloc(rows, wanted * row_bytes);
    if (grown == NULL) {
        abort();
    }
    memset(grown + rows_max * row_bytes, 0, (wanted - rows_max) * row_bytes);
    *rows_max_new = wanted;
    return grown;
}

static void allocation_add(struct support_os *me, void *memory, size_t bytes)
{
    pthread_mutex_lock(&me->mutex);
    if (me->allocations_count == me->allocations_max) {
        size_t wanted = 64;
        me->allocations = support_os_grow(me->allocations, me->allocations_max,
                                          sizeof me->allocations[0], &wanted);
        me->allocations_max = wanted;
    }
    me->allocations[me->allocations_count++] = (struct allocation){memory, bytes};
    me->bytes += (int64_t)bytes;
    me->bytes_peak = me->bytes > me->bytes_peak ? me->bytes : me->bytes_peak;
    pthread_mutex_unlock(&me->mutex);
}

// The size it was allocated with, or 0 if it is not live.
static size_t allocation_take(struct support_os *me, const void *memory)
{
    size_t bytes = 0;
    pthread_mutex_lock(&me->mutex);
    // Newest first: what is released is mostly what was allocated last.
    for (size_t index = me->allocations_count; index-- > 0 && bytes == 0;) {
        if (me->allocations[index].memory == memory) {
            bytes = me->allocations[index].bytes;
            me->allocations[index] = me->allocations[--me->allocations_count];
            me->bytes -= (int64_t)bytes;
        }
    }
    pthread_mutex_unlock(&me->mutex);
    return bytes;
}

void *wrap_alloc(void *self, size_t bytes, size_t alignment)
{
    struct support_os *me = self;
    if (support_os_enter(me, SUPPORT_OS_alloc).kind != FAULT_NONE) {
        return NULL;
    }
    void *memory = me->inner.alloc(me->inner.self, bytes, alignment);
    if (memory != NULL) {
        allocation_add(me, memory, bytes);
    }
    return memory;
}

void wrap_release(void *self, void *memory, size_t bytes)
{
    struct support_os *me = self;
    (void)support_os_enter(me, SUPPORT_OS_release);
    if (memory == NULL) {
        return;
    }
    size_t allocated = allocation_take(me, memory);
    if (allocated == 0) {
        support_os_misuse(me, MISUSE_RELEASE_UNKNOWN);
        return; // giving it to the wrapped os would be undefined
    }
    if (allocated != bytes) {
        support_os_misuse(me, MISUSE_RELEASE_SIZE);
    }
    me->inner.release(me->inner.self, memory, allocated);
}

// ---- Fork guard ----

int wrap_fork_guard_open(void *self, _Atomic uint32_t **word)
{
    struct support_os *me = self;
    struct fault fault = support_os_enter(me, SUPPORT_OS_fork_guard_open);
    if (fault.kind != FAULT_NONE) {
        return fault.code;
    }
    int result = me->inner.fork_guard_open(me->inner.self, word);
    if (result == 0) {
        atomic_fetch_add(&me->fork_guards, 1);
    }
    return result;
}

void wrap_fork_guard_close(void *self, _Atomic uint32_t *word)
{
    struct support_os *me = self;
    (void)support_os_enter(me, SUPPORT_OS_fork_guard_close);
    if (atomic_fetch_sub(&me->fork_guards, 1) <= 0) {
        atomic_fetch_add(&me->fork_guards, 1);
        support_os_misuse(me, MISUSE_FORK_GUARD);
        return;
    }
    me->inner.fork_guard_close(me->inner.self, word);
}

// ---- Threads ----

struct start {
    struct support_os *me;
    void (*entry)(void *);
    void *argument;
};

static void thread_run(void *argument)
{
    struct start start = *(struct start *)argument;
    free(argument);
    start.entry(start.argument);
    atomic_fetch_sub(&start.me->threads_running, 1); // the last touch: `me` may go now
}

int wrap_thread_start(void *self, uint64_t *thread, void (*entry)(void *), void *argument)
{
    struct support_os *me = self;
    struct fault fault = support_os_enter(me, SUPPORT_OS_thread_start);
    if (fault.kind != FAULT_NONE) {
        return fault.code;
    }
    struct start *start = malloc(sizeof *start);
    if (start == NULL) {
        abort();
    }
    *start = (struct start){me, entry, argument};
    // Counted before: the thread may already be over, or joined by another, when the start returns.
    atomic_fetch_add(&me->threads, 1);
    atomic_fetch_add(&me->threads_running, 1);
    int result = me->inner.thread_start(me->inner.self, thread, thread_run, start);
    if (result != 0) {
        atomic_fetch_sub(&me->threads, 1);
        atomic_fetch_sub(&me->threads_running, 1);
        free(start);
    }
    return result;
}

static int thread_end(struct support_os *me, int result)
{
    if (result != 0) {
        support_os_misuse(me, MISUSE_THREAD);
    } else {
        atomic_fetch_sub(&me->threads, 1);
    }
    return result;
}

int wrap_thread_join(void *self, uint64_t thread)
{
    struct support_os *me = self;
    (void)support_os_enter(me, SUPPORT_OS_thread_join);
    return thread_end(me, me->inner.thread_join(me->inner.self, thread));
}

int wrap_thread_detach(void *self, uint64_t thread)
{
    struct support_os *me = self;
    (void)support_os_enter(me, SUPPORT_OS_thread_detach);
    return thread_end(me, me->inner.thread_detach(me->inner.self, thread));
}

uint64_t wrap_thread_id(void *self)
{
    struct support_os *me = self;
    (void)support_os_enter(me, SUPPORT_OS_thread_id);
    return me->inner.thread_id(me->inner.self);
}

int wrap_resolve(void *self, const char *host, uint16_t port, bool numeric,
                 struct weir_address *addresses, uint32_t addresses_max)
{
    struct support_os *me = self;
    struct fault fault = support_os_enter(me, SUPPORT_OS_resolve);
    if (fault.kind != FAULT_NONE) {
        return fault.code;
    }
    return me->inner.resolve(me->inner.self, host, port, numeric, addresses, addresses_max);
}

// ---- Creating, looking, destroying ----

struct weir_os support_os_get(struct support_os *support)
{
#define MEMBER(name, ...) .name = wrap_##name,
    return (struct weir_os){.self = support, SUPPORT_OS_FUNCTIONS(MEMBER)};
#undef MEMBER
}

struct support_os *support_os_create(const struct weir_os *inner)
{
    struct support_os *support = calloc(1, sizeof *support);
    if (support == NULL || pthread_mutex_init(&support->mutex, NULL) != 0) {
        abort();
    }
    support->inner = *inner;
    return support;
}

static void threads_wait(struct support_os *support)
{
    for (int waited_ms = 0; waited_ms < SUPPORT_OS_WAIT_MS_MAX; waited_ms++) {
        if (atomic_load(&support->threads_running) == 0) {
            return;
        }
        (void)poll(NULL, 0, 1);
    }
}

void support_os_destroy(struct support_os *support)
{
    threads_wait(support);
    if (atomic_load(&support->threads_running) != 0) {
        return; // leaked rather than pulled away from under a thread
    }
    pthread_mutex_destroy(&support->mutex);
    free(support->allocations);
    free(support->descriptors);
    free(support);
}

struct support_os_live support_os_live(struct support_os *support)
{
    pthread_mutex_lock(&support->mutex);
    struct support_os_live live = {
        .bytes = support->bytes,
        .bytes_peak = support->bytes_peak,
        .allocations = (int64_t)support->allocations_count,
        .descriptors = support->descriptors_count,
        .fork_guards = atomic_load(&support->fork_guards),
        .threads = atomic_load(&support->threads),
        .threads_running = atomic_load(&support->threads_running),
    };
    pthread_mutex_unlock(&support->mutex);
    return live;
}

static int64_t leak_print(int64_t count, const char *what)
{
    if (count != 0) {
        fprintf(stderr, "support_os: %" PRId64 " %s\n", count, what);
    }
    return count;
}

int64_t support_os_leaks(struct support_os *support)
{
    if (atomic_load(&support->threads) <= 0) {
        threads_wait(support);
    }
    struct support_os_live live = support_os_live(support);
    int64_t count = leak_print(live.allocations, "allocations left");
    (void)leak_print(live.bytes, "bytes left");
    count += leak_print(live.descriptors, "descriptors left open");
    count += leak_print(live.fork_guards, "fork guards left open");
    count += leak_print(live.threads, "threads neither joined nor detached");
    count += leak_print(live.threads_running, "threads still running");
    for (int misuse = 0; misuse < MISUSE_COUNT; misuse++) {
        count += leak_print(atomic_load(&support->misuses[misuse]), misuse_names[misuse]);
    }
    return count;
}
