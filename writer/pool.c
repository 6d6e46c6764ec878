// Opening, flushing and closing a pool.
#include "writer/pool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "runtime/assert.h"
#include "runtime/cold.h"
#include "writer/append.h"

#define MS UINT64_C(1000000)

// Tasks polled between two looks at the clock when the waiting thread drives the runtime.
#define TURN_POLLS 64

static uint64_t pool_now_ns(const struct weir_pool *pool)
{
    return pool->os->now_ns(pool->os->self);
}

static uint64_t pool_deadline_ns(const struct weir_pool *pool, uint64_t timeout_ms)
{
    uint64_t now_ns = pool_now_ns(pool);
    return timeout_ms < (WEIR_NEVER - now_ns) / MS ? now_ns + timeout_ms * MS : WEIR_NEVER;
}

// ---- Opening ----

WEIR_COLD static void pool_free(struct weir_pool *pool)
{
    const struct weir_os *os = pool->os;
    if (pool->fork_guard != NULL) {
        os->fork_guard_close(os->self, pool->fork_guard);
    }
    if (pool->rings != NULL) {
        os->release(os->self, pool->rings, pool->rings_bytes);
    }
    if (pool->regions != NULL) {
        os->release(os->self, pool->regions, pool->regions_bytes);
    }
    os->release(os->self, pool, pool->pool_bytes);
}

static int pool_allocate(struct weir_pool *pool)
{
    const struct weir_os *os = pool->os;
    uint32_t count = pool->plan.writers_count;
    size_t line = WEIR_ROW_LINE_BYTES;
    size_t ring_bytes = pool->plan.row.segment_count * sizeof(struct weir_transit_segment);
    pool->region_stride = (pool->plan.region_bytes + line - 1) / line * line;
    pool->regions_bytes = count * pool->region_stride;
    pool->rings_bytes = count * ring_bytes;
    pool->regions = os->alloc(os->self, pool->regions_bytes, line);
    pool->rings = os->alloc(os->self, pool->rings_bytes, line);
    if (pool->regions == NULL || pool->rings == NULL) {
        return WEIR_EMEMORY;
    }
    for (uint32_t i = 0; i < count; i++) {
        void *region = (unsigned char *)pool->regions + i * pool->region_stride;
        weir_writer_init(&pool->writers[i], i, pool->runtime, &pool->plan,
                         weir_row_init(region, &pool->plan.row),
                         &pool->rings[(size_t)i * pool->plan.row.segment_count], &pool->progress,
                         &pool->waiters);
    }
    return os->fork_guard_open(os->self, &pool->fork_guard);
}

static bool writers_ended(struct weir_pool *pool, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (atomic_load_explicit(&pool->writers[i].ended, memory_order_acquire) == 0) { // [R2]
            return false;
        }
    }
    return true;
}

// Sleeps, or drives the runtime when it has no workers, while the word has this value.
static void pool_wait_while(struct weir_pool *pool, const _Atomic uint32_t *word, uint32_t value,
                            uint64_t deadline_ns)
{
    if (weir_runtime_threads(pool->runtime) != 0) {
        (void)pool->os->futex_wait(pool->os->self, word, value, deadline_ns);
        return;
    }
    uint64_t now_ns = pool_now_ns(pool);
    uint64_t wait_ns = deadline_ns == WEIR_NEVER ? WEIR_NEVER
                       : deadline_ns > now_ns    ? deadline_ns - now_ns
                                                 : 0;
    (void)weir_turn(pool->runtime, TURN_POLLS, wait_ns);
}

// Ends the first `count` writers and waits for it. They end at the deadline at the latest.
WEIR_COLD static void writers_close(struct weir_pool *pool, uint32_t count, uint64_t deadline_ns)
{
    for (uint32_t i = 0; i < count; i++) {
        (void)weir_row_shut(pool->writers[i].row, pool_now_ns(pool));
        weir_writer_close(&pool->writers[i], deadline_ns);
    }
    for (uint32_t i = 0; i < count; i++) {
        _Atomic uint32_t *ended = &pool->writers[i].ended;
        while (atomic_load_explicit(ended, memory_order_acquire) == 0) { // [R2]
            pool_wait_while(pool, ended, 0, WEIR_NEVER);
        }
    }
    // A writer that has ended no longer touches the pool, so this tells those who flush.
    atomic_fetch_add_explicit(&pool->progress, 1, memory_order_seq_cst); // [R4]
    pool->os->futex_wake(pool->os->self, &pool->progress, UINT32_MAX);
}

static int pool_start(struct weir_pool *pool)
{
    for (uint32_t i = 0; i < pool->plan.writers_count; i++) {
        struct weir_writer *writer = &pool->writers[i];
        struct weir_writer_task task;
        weir_writer_task_init(&task, writer);
        struct weir_handle handle;
        int error = weir_runtime_spawn(pool->runtime, &task.future, sizeof(task),
                                       WEIR_SPAWN_STEALABLE, &handle);
        if (error < 0) {
            writers_close(pool, i, 0);
            return error;
        }
        writer->waker = (struct weir_waker){handle.task, handle.generation};
        weir_task_detach(handle); // its end is told by `ended`
    }
    return 0;
}

WEIR_COLD int weir_pool_open(struct weir_pool **out, struct weir_runtime *runtime,
                             const struct weir_pool_options *options, char *why, size_t why_bytes)
{
    *out = NULL;
    struct weir_pool_plan plan;
    int error = weir_pool_options_check(options, &plan, why, why_bytes);
    if (error < 0) {
        return error;
    }
    if (plan.full == WEIR_FULL_BLOCK && weir_runtime_threads(runtime) == 0) {
        (void)snprintf(why, why_bytes,
                       "full: block needs a runtime with workers: the thread that logs also "
                       "drives this one, and would wait for itself");
        return WEIR_EOPTION;
    }
    const struct weir_os *os = weir_runtime_os(runtime);
    size_t bytes = sizeof(struct weir_pool) + plan.writers_count * sizeof(struct weir_writer);
    struct weir_pool *pool = os->alloc(os->self, bytes, _Alignof(struct weir_pool));
    if (pool == NULL) {
        return WEIR_EMEMORY;
    }
    bool plain =
        plan.framer.framing == WEIR_FRAMING_NEWLINE && plan.framer.header == WEIR_HEADER_NONE;
    pool->plan = plan;
    pool->writers_count = plan.writers_count;
    pool->plain_bytes_max = plain ? plan.message_bytes_max - 1 : 0;
    pool->newlines_pass = plan.framer.delimiter == WEIR_DELIMITER_PASS;
    pool->runtime = runtime;
    pool->os = os;
    pool->pool_bytes = bytes;
    error = pool_allocate(pool);
    if (error == 0) {
        error = pool_start(pool);
    }
    if (error < 0) {
        pool_free(pool);
        return error;
    }
    *out = pool;
    return 0;
}

// ---- Waiting ----

void weir_pool_wait(struct weir_pool *pool, uint32_t seen, uint64_t deadline_ns)
{
    pool_wait_while(pool, &pool->progress, seen, deadline_ns);
}

static bool flush_done(struct weir_pool *pool, const uint64_t *targets)
{
    for (uint32_t i = 0; i < pool->plan.writers_count; i++) {
        // [R4]
        uint64_t settled = atomic_load_explicit(&pool->writers[i].settled, memory_order_acquire);
        if (settled < targets[i]) {
            return false;
        }
    }
    return true;
}

WEIR_COLD int weir_pool_flush(struct weir_pool *pool, uint64_t timeout_ms)
{
    if (weir_pool_forked(pool)) {
        return WEIR_EFORKED;
    }
    if (atomic_load_explicit(&pool->state, memory_order_acquire) == WEIR_POOL_CLOSED) { // [R5]
        return WEIR_ECLOSED;
    }
    uint64_t deadline_ns = pool_deadline_ns(pool, timeout_ms);
    uint64_t targets[WEIR_POOL_WRITERS_MAX];
    atomic_fetch_add_explicit(&pool->waiters, 1, memory_order_seq_cst); // [R4]
    for (uint32_t i = 0; i < pool->plan.writers_count; i++) {
        (void)weir_row_seal_open(pool->writers[i].row, pool_now_ns(pool));
        targets[i] = weir_row_position(pool->writers[i].row);
        weir_writer_want_flush(&pool->writers[i], targets[i]);
    }
    int error = 0;
    for (;;) {
        uint32_t seen = atomic_load_explicit(&pool->progress, memory_order_seq_cst); // [R4]
        if (flush_done(pool, targets)) {
            break;
        }
        if (writers_ended(pool, pool->plan.writers_count)) { // closed meanwhile
            error = WEIR_ECLOSED;
            break;
        }
        if (pool_now_ns(pool) >= deadline_ns) {
            error = WEIR_ETIMEOUT;
            break;
        }
        weir_pool_wait(pool, seen, deadline_ns);
    }
    atomic_fetch_sub_explicit(&pool->waiters, 1, memory_order_relaxed);
    return error;
}

// ---- Closing ----

WEIR_COLD int weir_pool_close(struct weir_pool *pool, uint64_t timeout_ms)
{
    if (weir_pool_forked(pool)) {
        return WEIR_EFORKED;
    }
    uint32_t open = WEIR_POOL_OPEN;
    if (!atomic_compare_exchange_strong_explicit(&pool->state, &open, WEIR_POOL_CLOSED, // [R5]
                                                 memory_order_acq_rel, memory_order_relaxed)) {
        return WEIR_ECLOSED;
    }
    writers_close(pool, pool->plan.writers_count, pool_deadline_ns(pool, timeout_ms));
    int verdict = 0;
    for (uint32_t i = 0; i < pool->plan.writers_count; i++) {
        int32_t one = pool->writers[i].verdict;
        if (one != 0 && verdict != WEIR_ETIMEOUT) { // the worst is told
            verdict = one;
        }
    }
    return verdict;
}

WEIR_COLD void weir_pool_destroy(struct weir_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    if (!weir_pool_forked(pool)) {
        (void)weir_pool_close(pool, 0);
    }
    pool_free(pool);
}
