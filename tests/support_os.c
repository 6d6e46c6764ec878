// The faulty operating system of support_os.h: a wrapper for each function of os.h.
//
// What is live is kept in two tables under one mutex: allocations with their sizes, and descriptors
// with the poller that watches them. The mutex is held across calls that watch or close a
// descriptor, so that a new edge never goes to one that another thread has just closed. Everything
// else is atomics.
#include "tests/support_os.h"

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PARTS_MAX 64
#define WAIT_MS_MAX 10000

enum fault_kind { FAULT_NONE, FAULT_CODE, FAULT_SHORT };

// Calls number first .. last get the fault. Several words, so a call that runs while a rule is
// changed may see half of each: give rules before, or accept one odd fault.
struct rule {
    _Atomic uint64_t first, last;
    _Atomic uint32_t kind;
    _Atomic int32_t code;
    _Atomic size_t bytes_max;
    _Atomic uint64_t seed;
    _Atomic uint32_t per_million;
};

struct fault {
    enum fault_kind kind;
    int32_t code;
    size_t bytes_max;
};

struct allocation {
    void *memory;
    size_t bytes;
};

struct descriptor {
    bool is_open, is_watched;
    struct weir_poller poller; // the one that watches it
    uint64_t token;
};

enum misuse {
    MISUSE_RELEASE_UNKNOWN,
    MISUSE_RELEASE_SIZE,
    MISUSE_CLOSE,
    MISUSE_THREAD,
    MISUSE_FORK_GUARD,
    MISUSE_COUNT
};

static const char *const misuse_names[MISUSE_COUNT] = {
    [MISUSE_RELEASE_UNKNOWN] = "releases of memory that is not live",
    [MISUSE_RELEASE_SIZE] = "releases with another size than allocated",
    [MISUSE_CLOSE] = "closes of descriptors that are not open",
    [MISUSE_THREAD] = "joins or detaches that failed",
    [MISUSE_FORK_GUARD] = "closes of fork guards that are not open",
};

struct support_os {
    struct weir_os inner;
    struct rule rules[SUPPORT_OS_FUNCTIONS_COUNT];
    _Atomic uint64_t calls[SUPPORT_OS_FUNCTIONS_COUNT];
    _Atomic uint64_t faults[SUPPORT_OS_FUNCTIONS_COUNT];
    _Atomic int64_t misuses[MISUSE_COUNT];
    _Atomic int64_t fork_guards, threads, threads_running;

    pthread_mutex_t mutex; // over the tables
    struct allocation *allocations;
    size_t allocations_count, allocations_max;
    int64_t bytes, bytes_peak;
    struct descriptor *descriptors; // indexed by number
    size_t descriptors_max;
    int64_t descriptors_count;

    _Atomic bool is_virtual;
    _Atomic uint64_t now_ns;
    _Atomic uint32_t woken;
    struct weir_poller *armed; // whose timer waits for armed_ns of the virtual clock
    uint64_t armed_ns;
};

// ---- The table ----

#define ROW(name, ...) [SUPPORT_OS_##name] = {#name, (const int32_t[]){__VA_ARGS__}},
static const struct {
    const char *name;
    const int32_t *codes;
} table[SUPPORT_OS_FUNCTIONS_COUNT] = {SUPPORT_OS_FUNCTIONS(ROW)};
#undef ROW

_Static_assert(SUPPORT_OS_FUNCTIONS_COUNT <= 64, "struct support_os_torture has a set in 64 bits");
// Every member of struct weir_os but `self` is a pointer to a function: none is forgotten.
_Static_assert(sizeof(struct weir_os) == (SUPPORT_OS_FUNCTIONS_COUNT + 1) * sizeof(void *),
               "os.h has a function that the table lacks, or the other way round");

const char *support_os_name(enum support_os_function function)
{
    return table[function].name;
}

const int32_t *support_os_codes(enum support_os_function function)
{
    return table[function].codes;
}

// ---- Faults ----

static uint64_t add_relaxed(_Atomic uint64_t *number)
{
    return atomic_fetch_add_explicit(number, 1, memory_order_relaxed) + 1;
}

static uint64_t mix(uint64_t value)
{
    value += UINT64_C(0x9e3779b97f4a7c15);
    value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
    return value ^ (value >> 31);
}

static struct fault fault_random(const struct rule *rule, enum support_os_function function,
                                 uint64_t call)
{
    struct fault none = {FAULT_NONE, 0, 0};
    uint32_t per_million = atomic_load_explicit(&rule->per_million, memory_order_relaxed);
    if (per_million == 0) {
        return none;
    }
    uint64_t seed = atomic_load_explicit(&rule->seed, memory_order_relaxed);
    uint64_t random = mix(seed ^ mix(call * SUPPORT_OS_FUNCTIONS_COUNT + function));
    if (random % 1000000 >= per_million) {
        return none;
    }
    random = mix(random);
    bool can_be_short = function == SUPPORT_OS_socket_send || function == SUPPORT_OS_socket_recv;
    if (can_be_short && (random & 1) != 0) {
        // Mostly tiny: the interesting cuts are inside a frame's head.
        return (struct fault){FAULT_SHORT, 0, 1 + (size_t)((random >> 8) % 16)};
    }
    const int32_t *codes = table[function].codes;
    uint64_t codes_count = 0;
    while (codes[codes_count] != SUPPORT_OS_END) {
        codes_count++;
    }
    if (codes_count == 0) {
        return none;
    }
    return (struct fault){FAULT_CODE, codes[(random >> 8) % codes_count], 0};
}

// Counts a call and says what shall go wrong with it.
static struct fault call_enter(struct support_os *me, enum support_os_function function)
{
    struct rule *rule = &me->rules[function];
    uint64_t call = add_relaxed(&me->calls[function]);
    struct fault fault = {FAULT_NONE, 0, 0};
    if (call >= atomic_load_explicit(&rule->first, memory_order_relaxed) &&
        call <= atomic_load_explicit(&rule->last, memory_order_relaxed)) {
        fault.kind = (enum fault_kind)atomic_load_explicit(&rule->kind, memory_order_relaxed);
        fault.code = atomic_load_explicit(&rule->code, memory_order_relaxed);
        fault.bytes_max = atomic_load_explicit(&rule->bytes_max, memory_order_relaxed);
    }
    if (fault.kind == FAULT_NONE) {
        fault = fault_random(rule, function, call);
    }
    if (fault.kind != FAULT_NONE) {
        add_relaxed(&me->faults[function]);
    }
    return fault;
}

static void rule_set(struct support_os *support, enum support_os_function function, uint64_t call,
                     uint64_t calls_count, const struct fault *fault)
{
    struct rule *rule = &support->rules[function];
    uint64_t first = support_os_calls(support, function) + call;
    uint64_t last = calls_count > UINT64_MAX - first ? UINT64_MAX : first + calls_count - 1;
    atomic_store_explicit(&rule->last, 0, memory_order_relaxed);
    atomic_store_explicit(&rule->kind, (uint32_t)fault->kind, memory_order_relaxed);
    atomic_store_explicit(&rule->code, fault->code, memory_order_relaxed);
    atomic_store_explicit(&rule->bytes_max, fault->bytes_max, memory_order_relaxed);
    atomic_store_explicit(&rule->first, first, memory_order_relaxed);
    atomic_store_explicit(&rule->last, calls_count == 0 ? 0 : last, memory_order_relaxed);
}

void support_os_fail(struct support_os *support, enum support_os_function function, uint64_t call,
                     uint64_t calls_count, int32_t code)
{
    struct fault fault = {FAULT_CODE, code, 0};
    rule_set(support, function, call, calls_count, &fault);
}

void support_os_short(struct support_os *support, enum support_os_function function, uint64_t call,
                      uint64_t calls_count, size_t bytes_max)
{
    struct fault fault = {FAULT_SHORT, 0, bytes_max};
    rule_set(support, function, call, calls_count, &fault);
}

void support_os_random(struct support_os *support, enum support_os_function function, uint64_t seed,
                       uint32_t faults_per_million)
{
    struct rule *rule = &support->rules[function];
    atomic_store_explicit(&rule->seed, seed, memory_order_relaxed);
    atomic_store_explicit(&rule->per_million, faults_per_million, memory_order_relaxed);
}

void support_os_heal(struct support_os *support)
{
    for (int function = 0; function < SUPPORT_OS_FUNCTIONS_COUNT; function++) {
        atomic_store_explicit(&support->rules[function].last, 0, memory_order_relaxed);
        atomic_store_explicit(&support->rules[function].per_million, 0, memory_order_relaxed);
    }
}

uint64_t support_os_calls(const struct support_os *support, enum support_os_function function)
{
    return atomic_load_explicit(&support->calls[function], memory_order_relaxed);
}

uint64_t support_os_faults(const struct support_os *support, enum support_os_function function)
{
    return atomic_load_explicit(&support->faults[function], memory_order_relaxed);
}

static void misuse_note(struct support_os *me, enum misuse misuse)
{
    atomic_fetch_add_explicit(&me->misuses[misuse], 1, memory_order_relaxed);
}

// ---- Clock and entropy ----

static uint64_t wrap_now_ns(void *self)
{
    struct support_os *me = self;
    (void)call_enter(me, SUPPORT_OS_now_ns);
    if (atomic_load(&me->is_virtual)) {
        return atomic_load(&me->now_ns);
    }
    return me->inner.now_ns(me->inner.self);
}

static uint64_t wrap_wall_ns(void *self)
{
    struct support_os *me = self;
    (void)call_enter(me, SUPPORT_OS_wall_ns);
    return me->inner.wall_ns(me->inner.self);
}

static void wrap_entropy(void *self, void *bytes, size_t bytes_count)
{
    struct support_os *me = self;
    (void)call_enter(me, SUPPORT_OS_entropy);
    me->inner.entropy(me->inner.self, bytes, bytes_count);
}

// ---- Memory ----

static void *table_grow(void *rows, size_t rows_max, size_t row_bytes, size_t *rows_max_new)
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
        me->allocations =
            table_grow(me->allocations, me->allocations_max, sizeof me->allocations[0], &wanted);
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

static void *wrap_alloc(void *self, size_t bytes, size_t alignment)
{
    struct support_os *me = self;
    if (call_enter(me, SUPPORT_OS_alloc).kind != FAULT_NONE) {
        return NULL;
    }
    void *memory = me->inner.alloc(me->inner.self, bytes, alignment);
    if (memory != NULL) {
        allocation_add(me, memory, bytes);
    }
    return memory;
}

static void wrap_release(void *self, void *memory, size_t bytes)
{
    struct support_os *me = self;
    (void)call_enter(me, SUPPORT_OS_release);
    if (memory == NULL) {
        return;
    }
    size_t allocated = allocation_take(me, memory);
    if (allocated == 0) {
        misuse_note(me, MISUSE_RELEASE_UNKNOWN);
        return; // giving it to the wrapped os would be undefined
    }
    if (allocated != bytes) {
        misuse_note(me, MISUSE_RELEASE_SIZE);
    }
    me->inner.release(me->inner.self, memory, allocated);
}

// ---- Fork guard ----

static int wrap_fork_guard_open(void *self, _Atomic uint32_t **word)
{
    struct support_os *me = self;
    struct fault fault = call_enter(me, SUPPORT_OS_fork_guard_open);
    if (fault.kind != FAULT_NONE) {
        return fault.code;
    }
    int result = me->inner.fork_guard_open(me->inner.self, word);
    if (result == 0) {
        atomic_fetch_add(&me->fork_guards, 1);
    }
    return result;
}

static void wrap_fork_guard_close(void *self, _Atomic uint32_t *word)
{
    struct support_os *me = self;
    (void)call_enter(me, SUPPORT_OS_fork_guard_close);
    if (atomic_fetch_sub(&me->fork_guards, 1) <= 0) {
        atomic_fetch_add(&me->fork_guards, 1);
        misuse_note(me, MISUSE_FORK_GUARD);
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

static int wrap_thread_start(void *self, uint64_t *thread, void (*entry)(void *), void *argument)
{
    struct support_os *me = self;
    struct fault fault = call_enter(me, SUPPORT_OS_thread_start);
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
        misuse_note(me, MISUSE_THREAD);
    } else {
        atomic_fetch_sub(&me->threads, 1);
    }
    return result;
}

static int wrap_thread_join(void *self, uint64_t thread)
{
    struct support_os *me = self;
    (void)call_enter(me, SUPPORT_OS_thread_join);
    return thread_end(me, me->inner.thread_join(me->inner.self, thread));
}

static int wrap_thread_detach(void *self, uint64_t thread)
{
    struct support_os *me = self;
    (void)call_enter(me, SUPPORT_OS_thread_detach);
    return thread_end(me, me->inner.thread_detach(me->inner.self, thread));
}

static uint64_t wrap_thread_id(void *self)
{
    struct support_os *me = self;
    (void)call_enter(me, SUPPORT_OS_thread_id);
    return me->inner.thread_id(me->inner.self);
}

// ---- Virtual clock ----

// Lets the virtual clock reach `to_ns` (it never goes back) and the armed timer expire with it.
static void clock_reach(struct support_os *me, uint64_t to_ns)
{
    if (to_ns > atomic_load(&me->now_ns)) {
        atomic_store(&me->now_ns, to_ns);
    }
    pthread_mutex_lock(&me->mutex);
    if (me->armed != NULL && me->armed_ns <= atomic_load(&me->now_ns)) {
        (void)me->inner.poller_arm(me->inner.self, me->armed, 0);
        me->armed = NULL;
    }
    pthread_mutex_unlock(&me->mutex);
}

void support_os_virtual(struct support_os *support, uint64_t now_ns)
{
    atomic_store(&support->now_ns, now_ns);
    atomic_store(&support->is_virtual, true);
}

void support_os_advance(struct support_os *support, uint64_t by_ns)
{
    clock_reach(support, atomic_load(&support->now_ns) + by_ns);
}

static _Noreturn void stuck(const char *where)
{
    fprintf(stderr, "support_os: %s without a deadline, and nothing ends it\n", where);
    abort();
}

static uint64_t real_limit_ns(struct support_os *me)
{
    return me->inner.now_ns(me->inner.self) + WAIT_MS_MAX * UINT64_C(1000000);
}

static int virtual_futex_wait(struct support_os *me, const _Atomic uint32_t *word,
                              uint32_t expected, uint64_t deadline_ns)
{
    if (deadline_ns == WEIR_NEVER) {
        // Another thread, such as a name lookup's, may still end it: that takes real time.
        int result = me->inner.futex_wait(me->inner.self, word, expected, real_limit_ns(me));
        if (result == -ETIMEDOUT) {
            stuck("futex_wait");
        }
        return result;
    }
    if (atomic_load(word) != expected) {
        return -EAGAIN;
    }
    clock_reach(me, deadline_ns);
    return -ETIMEDOUT;
}

static int virtual_poller_wait(struct support_os *me, const struct weir_poller *poller,
                               struct weir_os_event *events, uint32_t events_max,
                               uint64_t deadline_ns)
{
    int count = me->inner.poller_wait(me->inner.self, poller, events, events_max, 0);
    bool was_woken = atomic_exchange(&me->woken, 0) != 0;
    if (count != 0 || was_woken || deadline_ns == 0) {
        return count;
    }
    pthread_mutex_lock(&me->mutex);
    if (me->armed != NULL && me->armed_ns < deadline_ns) {
        deadline_ns = me->armed_ns;
    }
    pthread_mutex_unlock(&me->mutex);
    if (deadline_ns != WEIR_NEVER) {
        clock_reach(me, deadline_ns);
        return me->inner.poller_wait(me->inner.self, poller, events, events_max, 0);
    }
    uint64_t limit_ns = real_limit_ns(me);
    count = me->inner.poller_wait(me->inner.self, poller, events, events_max, limit_ns);
    was_woken = atomic_exchange(&me->woken, 0) != 0;
    if (count == 0 && !was_woken && me->inner.now_ns(me->inner.self) >= limit_ns) {
        stuck("poller_wait");
    }
    return count;
}

static int virtual_poller_arm(struct support_os *me, struct weir_poller *poller,
                              uint64_t deadline_ns)
{
    pthread_mutex_lock(&me->mutex);
    bool is_due = deadline_ns <= atomic_load(&me->now_ns);
    me->armed = is_due || deadline_ns == WEIR_NEVER ? NULL : poller;
    me->armed_ns = deadline_ns;
    // Not due yet: the real timer gets a moment that never comes, so that it exists all the same.
    uint64_t real_ns = is_due ? 0 : deadline_ns == WEIR_NEVER ? WEIR_NEVER : WEIR_NEVER - 1;
    int result = me->inner.poller_arm(me->inner.self, poller, real_ns);
    pthread_mutex_unlock(&me->mutex);
    return result;
}

// ---- Futex ----

static int wrap_futex_wait(void *self, const _Atomic uint32_t *word, uint32_t expected,
                           uint64_t deadline_ns)
{
    struct support_os *me = self;
    struct fault fault = call_enter(me, SUPPORT_OS_futex_wait);
    if (fault.kind != FAULT_NONE) {
        return fault.code;
    }
    if (atomic_load(&me->is_virtual)) {
        return virtual_futex_wait(me, word, expected, deadline_ns);
    }
    return me->inner.futex_wait(me->inner.self, word, expected, deadline_ns);
}

static void wrap_futex_wake(void *self, const _Atomic uint32_t *word, uint32_t waiters_max)
{
    struct support_os *me = self;
    (void)call_enter(me, SUPPORT_OS_futex_wake);
    me->inner.futex_wake(me->inner.self, word, waiters_max);
}

// ---- Descriptors ----

// The row of a descriptor, or NULL: not one of ours. Under the mutex.
static struct descriptor *descriptor_find(struct support_os *me, int fd)
{
    return fd >= 0 && (size_t)fd < me->descriptors_max ? &me->descriptors[fd] : NULL;
}

static struct descriptor *descriptor_make(struct support_os *me, int fd)
{
    if ((size_t)fd >= me->descriptors_max) {
        size_t wanted = (size_t)fd + 64;
        me->descriptors =
            table_grow(me->descriptors, me->descriptors_max, sizeof me->descriptors[0], &wanted);
        me->descriptors_max = wanted;
    }
    return &me->descriptors[fd];
}

static void descriptor_opened(struct support_os *me, int fd)
{
    if (fd < 0) {
        return;
    }
    pthread_mutex_lock(&me->mutex);
    struct descriptor *descriptor = descriptor_make(me, fd);
    *descriptor = (struct descriptor){.is_open = true};
    me->descriptors_count++;
    pthread_mutex_unlock(&me->mutex);
}

// Under the mutex. Descriptors that a test brought along are closed too and were never counted.
static void descriptor_closed(struct support_os *me, int fd)
{
    struct descriptor *descriptor = descriptor_find(me, fd);
    if (descriptor != NULL) {
        me->descriptors_count -= descriptor->is_open ? 1 : 0;
        *descriptor = (struct descriptor){.is_open = false};
    }
}

// Watching anew reports the present state: the edge that a real EAGAIN would be followed by.
static void edge_again(struct support_os *me, int fd)
{
    pthread_mutex_lock(&me->mutex);
    struct descriptor *descriptor = descriptor_find(me, fd);
    if (descriptor != NULL && descriptor->is_watched) {
        (void)me->inner.poller_remove(me->inner.self, &descriptor->poller, fd);
        int result =
            me->inner.poller_add(me->inner.self, &descriptor->poller, fd, descriptor->token);
        descriptor->is_watched = result == 0;
    }
    pthread_mutex_unlock(&me->mutex);
}

// ---- Poller ----

static int wrap_poller_open(void *self, struct weir_poller *poller)
{
    struct support_os *me = self;
    struct fault fault = call_enter(me, SUPPORT_OS_poller_open);
    if (fault.kind != FAULT_NONE) {
        *poller = (struct weir_poller){.fd = -1, .wake_fd = -1, .timer_fd = -1};
        return fault.code;
    }
    int result = me->inner.poller_open(me->inner.self, poller);
    if (result == 0) {
        descriptor_opened(me, poller->fd);
        descriptor_opened(me, poller->wake_fd);
    }
    return result;
}

static void wrap_poller_close(void *self, struct weir_poller *poller)
{
    struct support_os *me = self;
    (void)call_enter(me, SUPPORT_OS_poller_close);
    pthread_mutex_lock(&me->mutex);
    me->armed = me->armed == poller ? NULL : me->armed;
    for (size_t fd = 0; fd < me->descriptors_max; fd++) {
        struct descriptor *descriptor = &me->descriptors[fd];
        descriptor->is_watched = descriptor->is_watched && descriptor->poller.fd != poller->fd;
    }
    descriptor_closed(me, poller->fd);
    descriptor_closed(me, poller->wake_fd);
    descriptor_closed(me, poller->timer_fd);
    me->inner.poller_close(me->inner.self, poller);
    pthread_mutex_unlock(&me->mutex);
}

static int wrap_poller_add(void *self, const struct weir_poller *poller, int fd, uint64_t token)
{
    struct support_os *me = self;
    struct fault fault = call_enter(me, SUPPORT_OS_poller_add);
    if (fault.kind != FAULT_NONE) {
        return fault.code;
    }
    pthread_mutex_lock(&me->mutex);
    int result = me->inner.poller_add(me->inner.self, poller, fd, token);
    if (result == 0) {
        struct descriptor *descriptor = descriptor_make(me, fd);
        descriptor->is_watched = true;
        descriptor->poller = *poller;
        descriptor->token = token;
    }
    pthread_mutex_unlock(&me->mutex);
    return result;
}

static int wrap_poller_remove(void *self, const struct weir_poller *poller, int fd)
{
    struct support_os *me = self;
    (void)call_enter(me, SUPPORT_OS_poller_remove);
    pthread_mutex_lock(&me->mutex);
    struct descriptor *descriptor = descriptor_find(me, fd);
    if (descriptor != NULL) {
        descriptor->is_watched = false;
    }
    int result = me->inner.poller_remove(me->inner.self, poller, fd);
    pthread_mutex_unlock(&me->mutex);
    return result;
}

static int wrap_poller_wait(void *self, const struct weir_poller *poller,
                            struct weir_os_event *events, uint32_t events_max, uint64_t deadline_ns)
{
    struct support_os *me = self;
    struct fault fault = call_enter(me, SUPPORT_OS_poller_wait);
    if (fault.kind != FAULT_NONE) {
        return fault.code;
    }
    if (atomic_load(&me->is_virtual)) {
        return virtual_poller_wait(me, poller, events, events_max, deadline_ns);
    }
    return me->inner.poller_wait(me->inner.self, poller, events, events_max, deadline_ns);
}

static void wrap_poller_wake(void *self, const struct weir_poller *poller)
{
    struct support_os *me = self;
    (void)call_enter(me, SUPPORT_OS_poller_wake);
    atomic_store(&me->woken, 1);
    me->inner.poller_wake(me->inner.self, poller);
}

static int wrap_poller_arm(void *self, struct weir_poller *poller, uint64_t deadline_ns)
{
    struct support_os *me = self;
    struct fault fault = call_enter(me, SUPPORT_OS_poller_arm);
    if (fault.kind != FAULT_NONE) {
        return fault.code;
    }
    int timer_fd = poller->timer_fd;
    int result = atomic_load(&me->is_virtual)
                     ? virtual_poller_arm(me, poller, deadline_ns)
                     : me->inner.poller_arm(me->inner.self, poller, deadline_ns);
    if (timer_fd < 0) {
        descriptor_opened(me, poller->timer_fd);
    }
    return result;
}

// ---- Sockets ----

static int wrap_socket_open(void *self, int family, int type)
{
    struct support_os *me = self;
    struct fault fault = call_enter(me, SUPPORT_OS_socket_open);
    if (fault.kind != FAULT_NONE) {
        return fault.code;
    }
    int fd = me->inner.socket_open(me->inner.self, family, type);
    descriptor_opened(me, fd);
    return fd;
}

static int wrap_socket_bind(void *self, int fd, const struct weir_address *address)
{
    struct support_os *me = self;
    struct fault fault = call_enter(me, SUPPORT_OS_socket_bind);
    return fault.kind != FAULT_NONE ? fault.code
                                    : me->inner.socket_bind(me->inner.self, fd, address);
}

static int wrap_socket_listen(void *self, int fd, int backlog)
{
    struct support_os *me = self;
    struct fault fault = call_enter(me, SUPPORT_OS_socket_listen);
    return fault.kind != FAULT_NONE ? fault.code
                                    : me->inner.socket_listen(me->inner.self, fd, backlog);
}

static int wrap_socket_accept(void *self, int fd)
{
    struct support_os *me = self;
    struct fault fault = call_enter(me, SUPPORT_OS_socket_accept);
    if (fault.kind != FAULT_NONE) {
        if (fault.code == -EAGAIN) {
            edge_again(me, fd);
        }
        return fault.code;
    }
    int accepted = me->inner.socket_accept(me->inner.self, fd);
    descriptor_opened(me, accepted);
    return accepted;
}

static int wrap_socket_connect(void *self, int fd, const struct weir_address *address)
{
    struct support_os *me = self;
    struct fault fault = call_enter(me, SUPPORT_OS_socket_connect);
    return fault.kind != FAULT_NONE ? fault.code
                                    : me->inner.socket_connect(me->inner.self, fd, address);
}

// The first `bytes_max` bytes of the parts, or of the first PARTS_MAX of them.
static int64_t send_short(struct support_os *me, int fd, const struct weir_iovec *parts,
                          size_t parts_count, size_t bytes_max)
{
    struct weir_iovec cut[PARTS_MAX];
    size_t cut_count = 0;
    for (; cut_count < parts_count && cut_count < PARTS_MAX && bytes_max > 0; cut_count++) {
        cut[cut_count] = parts[cut_count];
        if (cut[cut_count].bytes_count > bytes_max) {
            cut[cut_count].bytes_count = bytes_max;
        }
        bytes_max -= cut[cut_count].bytes_count;
    }
    return me->inner.socket_send(me->inner.self, fd, cut, cut_count);
}

static int64_t wrap_socket_send(void *self, int fd, const struct weir_iovec *parts,
                                size_t parts_count)
{
    struct support_os *me = self;
    struct fault fault = call_enter(me, SUPPORT_OS_socket_send);
    int64_t result = fault.code;
    if (fault.kind == FAULT_NONE) {
        return me->inner.socket_send(me->inner.self, fd, parts, parts_count);
    }
    if (fault.kind == FAULT_SHORT) {
        result = send_short(me, fd, parts, parts_count, fault.bytes_max);
    }
    if (fault.kind == FAULT_SHORT || result == -EAGAIN) {
        edge_again(me, fd);
    }
    return result;
}

static int64_t wrap_socket_recv(void *self, int fd, void *bytes, size_t bytes_max)
{
    struct support_os *me = self;
    struct fault fault = call_enter(me, SUPPORT_OS_socket_recv);
    int64_t result = fault.code;
    if (fault.kind == FAULT_NONE) {
        return me->inner.socket_recv(me->inner.self, fd, bytes, bytes_max);
    }
    if (fault.kind == FAULT_SHORT) {
        size_t cut = bytes_max < fault.bytes_max ? bytes_max : fault.bytes_max;
        result = me->inner.socket_recv(me->inner.self, fd, bytes, cut);
    }
    if (fault.kind == FAULT_SHORT || result == -EAGAIN) {
        edge_again(me, fd);
    }
    return result;
}

static int wrap_socket_shutdown(void *self, int fd, enum weir_socket_shutdown how)
{
    struct support_os *me = self;
    struct fault fault = call_enter(me, SUPPORT_OS_socket_shutdown);
    return fault.kind != FAULT_NONE ? fault.code
                                    : me->inner.socket_shutdown(me->inner.self, fd, how);
}

static int wrap_socket_close(void *self, int fd)
{
    struct support_os *me = self;
    struct fault fault = call_enter(me, SUPPORT_OS_socket_close);
    pthread_mutex_lock(&me->mutex);
    descriptor_closed(me, fd);
    int result = me->inner.socket_close(me->inner.self, fd);
    pthread_mutex_unlock(&me->mutex);
    if (result == -EBADF) {
        misuse_note(me, MISUSE_CLOSE);
    }
    return fault.kind != FAULT_NONE ? fault.code : result;
}

static int wrap_socket_error(void *self, int fd)
{
    struct support_os *me = self;
    struct fault fault = call_enter(me, SUPPORT_OS_socket_error);
    return fault.kind != FAULT_NONE ? fault.code : me->inner.socket_error(me->inner.self, fd);
}

static int64_t wrap_socket_outstanding(void *self, int fd)
{
    struct support_os *me = self;
    struct fault fault = call_enter(me, SUPPORT_OS_socket_outstanding);
    return fault.kind != FAULT_NONE ? fault.code : me->inner.socket_outstanding(me->inner.self, fd);
}

static int wrap_socket_state(void *self, int fd)
{
    struct support_os *me = self;
    struct fault fault = call_enter(me, SUPPORT_OS_socket_state);
    return fault.kind != FAULT_NONE ? fault.code : me->inner.socket_state(me->inner.self, fd);
}

static int wrap_socket_option(void *self, int fd, enum weir_socket_option option, int value)
{
    struct support_os *me = self;
    struct fault fault = call_enter(me, SUPPORT_OS_socket_option);
    return fault.kind != FAULT_NONE ? fault.code
                                    : me->inner.socket_option(me->inner.self, fd, option, value);
}

static int wrap_socket_address(void *self, int fd, struct weir_address *address)
{
    struct support_os *me = self;
    struct fault fault = call_enter(me, SUPPORT_OS_socket_address);
    return fault.kind != FAULT_NONE ? fault.code
                                    : me->inner.socket_address(me->inner.self, fd, address);
}

static int wrap_resolve(void *self, const char *host, uint16_t port, bool numeric,
                        struct weir_address *addresses, uint32_t addresses_max)
{
    struct support_os *me = self;
    struct fault fault = call_enter(me, SUPPORT_OS_resolve);
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
    for (int waited_ms = 0; waited_ms < WAIT_MS_MAX; waited_ms++) {
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

// ---- Torture ----

struct torture_case {
    enum support_os_function function;
    int32_t code;
    uint64_t call;
};

// Runs one case, or without faults (`fault` NULL). calls: per function, how often; may be NULL.
static const char *torture_run(const struct support_os_torture *torture,
                               const struct torture_case *fault, uint64_t *calls, bool *happened)
{
    struct support_os *support = support_os_create(torture->inner);
    if (torture->is_virtual) {
        support_os_virtual(support, UINT64_C(1000000000));
    }
    if (fault != NULL) {
        uint64_t calls_count = torture->calls_count == 0 ? 1 : torture->calls_count;
        support_os_fail(support, fault->function, fault->call, calls_count, fault->code);
    }
    const char *wrong = torture->scenario(support, torture->argument);
    if (support_os_leaks(support) != 0 && wrong == NULL) {
        wrong = "something is left";
    }
    for (int function = 0; calls != NULL && function < SUPPORT_OS_FUNCTIONS_COUNT; function++) {
        calls[function] = support_os_calls(support, (enum support_os_function)function);
    }
    *happened = fault == NULL || support_os_faults(support, fault->function) > 0;
    support_os_destroy(support);
    return wrong;
}

static bool torture_case_bad(const struct support_os_torture *torture,
                             const struct torture_case *fault, const char *mode, uint64_t *runs)
{
    if (mode != NULL && strcmp(mode, "print") == 0) {
        fprintf(stderr, "torture: %s %d %" PRIu64 "\n", support_os_name(fault->function),
                (int)fault->code, fault->call);
    } else if (mode != NULL) {
        char name[64] = {0};
        int code = 0;
        uint64_t call = 0;
        if (sscanf(mode, "%63s %d %" SCNu64, name, &code, &call) != 3 || code != fault->code ||
            call != fault->call || strcmp(name, support_os_name(fault->function)) != 0) {
            return false;
        }
    }
    bool happened = false;
    const char *wrong = torture_run(torture, fault, NULL, &happened);
    *runs += happened ? 1 : 0;
    if (wrong != NULL) {
        fprintf(stderr, "torture: %s. Again: WEIR_TORTURE=\"%s %d %" PRIu64 "\"\n", wrong,
                support_os_name(fault->function), (int)fault->code, fault->call);
    }
    return wrong != NULL;
}

uint64_t support_os_torture(const struct support_os_torture *torture, uint64_t *runs)
{
    const char *mode = getenv("WEIR_TORTURE");
    uint64_t calls[SUPPORT_OS_FUNCTIONS_COUNT] = {0}, bad = 0, happened = 0;
    bool ignored = false;
    const char *wrong = torture_run(torture, NULL, calls, &ignored);
    if (wrong != NULL) {
        fprintf(stderr, "torture: without any fault: %s\n", wrong);
        bad++;
    }
    for (int row = 0; row < SUPPORT_OS_FUNCTIONS_COUNT; row++) {
        struct torture_case fault = {.function = (enum support_os_function)row};
        bool wanted = torture->functions == 0 || (torture->functions >> row & 1) != 0;
        uint64_t calls_max = calls[row];
        if (torture->calls_max != 0 && torture->calls_max < calls_max) {
            calls_max = torture->calls_max;
        }
        for (const int32_t *code = support_os_codes(fault.function);
             wanted && *code != SUPPORT_OS_END; code++) {
            fault.code = *code;
            for (fault.call = 1; fault.call <= calls_max; fault.call++) {
                bad += torture_case_bad(torture, &fault, mode, &happened) ? 1 : 0;
            }
        }
    }
    if (runs != NULL) {
        *runs = happened;
    }
    return bad;
}
