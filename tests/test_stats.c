// Tests of snapshots: they balance at any moment, no counter falls, and at rest they are exact.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support_pool.h"
#include "writer/books.h"

#define LOGGERS 3
#define WATCHERS 2

// ---- Two snapshots of one thread ----

static bool is_gauge(size_t offset)
{
    return offset == offsetof(struct weir_metrics, held_messages) ||
           offset == offsetof(struct weir_metrics, held_bytes) ||
           offset == offsetof(struct weir_metrics, writers_connected);
}

// NULL, or what is wrong with the second of two.
static const char *snapshot_wrong(const struct weir_metrics *before, const struct weir_metrics *now)
{
    static _Thread_local char text[160];
    if (!weir_metrics_balanced(now)) {
        (void)snprintf(text, sizeof(text), "unbalanced: accepted %lu confirmed %lu held %lu",
                       (unsigned long)now->accepted_messages,
                       (unsigned long)now->confirmed_messages, (unsigned long)now->held_messages);
        return text;
    }
    if (now->held_messages > now->accepted_messages || now->held_bytes > now->accepted_bytes) {
        return "less than nothing is held";
    }
    for (size_t offset = 0; offset < sizeof(*now); offset += sizeof(uint64_t)) {
        uint64_t old, new;
        memcpy(&old, (const char *)before + offset, sizeof(old));
        memcpy(&new, (const char *)now + offset, sizeof(new));
        if (new < old && !is_gauge(offset)) {
            (void)snprintf(text, sizeof(text), "the number at %zu fell from %lu to %lu", offset,
                           (unsigned long)old, (unsigned long)new);
            return text;
        }
    }
    return NULL;
}

static void step(struct weir_pool *pool, struct weir_metrics *metrics)
{
    struct weir_metrics before = *metrics;
    weir_pool_stats(pool, metrics);
    const char *wrong = snapshot_wrong(&before, metrics);
    if (wrong != NULL) {
        fail_msg("%s", wrong);
    }
}

// ---- The task's books ----

static void books_make(struct weir_books *books, uint64_t number)
{
    uint64_t words[WEIR_BOOKS_WORDS];
    for (size_t i = 0; i < WEIR_BOOKS_WORDS; i++) {
        words[i] = number * (i + 1);
    }
    memcpy(books, words, sizeof(words));
}

static uint64_t books_number(const struct weir_books *books)
{
    struct weir_books whole;
    books_make(&whole, books->taken_messages);
    return memcmp(&whole, books, sizeof(whole)) == 0 ? books->taken_messages : UINT64_MAX;
}

struct showing {
    struct weir_books_shown shown;
    _Atomic uint32_t over;
    uint64_t count;
};

static void *shower(void *argument)
{
    struct showing *showing = argument;
    struct weir_books books;
    for (uint64_t i = 1; i <= showing->count; i++) {
        books_make(&books, i);
        weir_books_show(&showing->shown, &books);
    }
    atomic_store(&showing->over, 1);
    return NULL;
}

static void books_are_shown_at_once(void **unused)
{
    (void)unused;
    static struct showing showing;
    showing = (struct showing){.count = test_times(3000000)};
    struct weir_books books;
    pthread_t thread;
    uint64_t seen = 0, changes = 0;
    weir_books_read(&showing.shown, &books);
    assert_int_equal(books_number(&books), 0);
    assert_int_equal(pthread_create(&thread, NULL, shower, &showing), 0);
    while (atomic_load(&showing.over) == 0) {
        weir_books_read(&showing.shown, &books);
        uint64_t number = books_number(&books);
        assert_in_range(number, seen, showing.count);
        changes += number != seen;
        seen = number;
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    weir_books_read(&showing.shown, &books);
    assert_int_equal(books_number(&books), showing.count);
    assert_true(changes > 0);
}

// A task that stops for good in the middle of a showing, as in a forked child: nobody waits for it.
static void books_of_a_task_that_stopped(void **unused)
{
    (void)unused;
    struct weir_books_shown shown = {0};
    struct weir_books books;
    for (uint64_t i = 1; i <= 5; i++) {
        books_make(&books, i);
        weir_books_show(&shown, &books);
        struct weir_books_shown stopped = shown;
        atomic_fetch_add(&stopped.version, 1);
        size_t next = (atomic_load(&shown.version) / 2 + 1) % 2;
        for (size_t j = 0; j < WEIR_BOOKS_WORDS / 2; j++) {
            atomic_store(&stopped.copies[next][j], UINT64_MAX);
        }
        weir_books_read(&stopped, &books);
        assert_int_equal(books_number(&books), i);
    }
}

// ---- One thread, step by step ----

struct bench {
    struct weir_runtime *runtime;
    struct weir_pool_options options;
    struct weir_pool *pool;
    struct collector *collector;
};

static void bench_start(struct bench *bench, uint32_t workers, const struct collector_plan *plans,
                        size_t plans_count, enum collector_kind kind)
{
    memset(bench, 0, sizeof(*bench));
    bench->runtime = test_runtime_create(workers, NULL);
    bench->collector = collector_start(kind, plans, plans_count, true, true);
    test_pool_options(&bench->options, collector_endpoint(bench->collector));
}

static void bench_open(struct bench *bench)
{
    bench->pool = test_pool_open(bench->runtime, &bench->options);
}

static void bench_end(struct bench *bench)
{
    weir_pool_destroy(bench->pool);
    weir_runtime_destroy(bench->runtime);
    collector_free(bench->collector);
}

static void expect(struct bench *bench, struct weir_metrics *metrics, uint64_t messages,
                   uint64_t bytes)
{
    step(bench->pool, metrics);
    assert_int_equal(metrics->accepted_messages, messages);
    assert_int_equal(metrics->accepted_bytes, bytes);
    assert_int_equal(metrics->held_messages, messages);
    assert_int_equal(metrics->held_bytes, bytes);
}

// Nobody drives the writer, so everything is held, and exactly that.
static void held_to_the_byte(void **unused)
{
    (void)unused;
    struct bench bench;
    struct weir_metrics metrics = {0};
    struct weir_slot slot, other;
    bench_start(&bench, 0, NULL, 0, COLLECTOR_UNIX);
    bench.options.flush_limit_bytes = 32 << 10;
    bench.options.message_bytes_max = 64 << 10; // so that the index, too, has room for all
    bench_open(&bench);
    expect(&bench, &metrics, 0, 0);
    for (uint64_t i = 1; i <= 50; i++) {
        assert_int_equal(weir_log(bench.pool, "ten bytes.", 10), 0);
        expect(&bench, &metrics, i, 11 * i);
    }
    // While one is reserved nobody knows its bytes, nor whether those before it in the segment are
    // all that stays: they count when it is committed.
    assert_int_equal(weir_reserve(bench.pool, NULL, 300, &slot), 0);
    expect(&bench, &metrics, 51, 550);
    memset(slot.bytes, 'x', 300);
    assert_int_equal(weir_commit(bench.pool, &slot, 100), 0);
    expect(&bench, &metrics, 51, 651);
    assert_int_equal(weir_reserve(bench.pool, NULL, 200, &slot), 0);
    weir_abandon(bench.pool, &slot);
    expect(&bench, &metrics, 52, 651);
    // One behind the other: what the first does not use stays as a gap, and counts.
    assert_int_equal(weir_reserve(bench.pool, NULL, 99, &slot), 0);
    assert_int_equal(weir_reserve(bench.pool, NULL, 99, &other), 0);
    weir_abandon(bench.pool, &slot);
    expect(&bench, &metrics, 54, 651);
    memset(other.bytes, 'y', 99);
    assert_int_equal(weir_commit(bench.pool, &other, 9), 0);
    expect(&bench, &metrics, 54, 651 + 100 + 10);
    // The one that fills the segment gives back, too.
    assert_int_equal(weir_reserve(bench.pool, NULL, 40000, &slot), 0);
    expect(&bench, &metrics, 55, 761);
    assert_int_equal(weir_log(bench.pool, "next one", 8), 0);
    expect(&bench, &metrics, 56, 761 + 9);
    memset(slot.bytes, 'z', 40000);
    assert_int_equal(weir_commit(bench.pool, &slot, 30), 0);
    expect(&bench, &metrics, 56, 761 + 9 + 31);
    assert_int_equal(weir_pool_close(bench.pool, 5000), 0);
    step(bench.pool, &metrics);
    assert_int_equal(metrics.held_messages, 0);
    assert_int_equal(metrics.held_bytes, 0);
    assert_int_equal(metrics.confirmed_messages, 54);
    assert_int_equal(metrics.confirmed_bytes, 701);
    assert_int_equal(metrics.dropped_messages[WEIR_DROPPED_ABANDONED], 2);
    assert_int_equal(metrics.dropped_bytes[WEIR_DROPPED_ABANDONED], 100);
    bench_end(&bench);
}

// The limits are those of the options, and of what was made of them.
static void limits_are_told(void **unused)
{
    (void)unused;
    struct bench bench;
    struct weir_metrics metrics;
    bench_start(&bench, 0, NULL, 0, COLLECTOR_UNIX);
    bench.options.failback_ms = 1234;
    bench.options.epoch_bytes_max = UINT64_C(1) << 40;
    bench_open(&bench);
    weir_pool_stats(bench.pool, &metrics);
    assert_int_equal(metrics.limits_ms[WEIR_TIME_LIMIT_CONNECT], 2000);
    assert_int_equal(metrics.limits_ms[WEIR_TIME_LIMIT_RETRY], 10);
    assert_int_equal(metrics.limits_ms[WEIR_TIME_LIMIT_RETRY_MAX], 50);
    assert_int_equal(metrics.limits_ms[WEIR_TIME_LIMIT_FLUSH], 5);
    assert_int_equal(metrics.limits_ms[WEIR_TIME_LIMIT_FAILBACK], 1234);
    assert_in_range(metrics.limits_bytes[WEIR_BYTE_LIMIT_EPOCH], 1, (4 << 20) / 4);
    assert_int_equal(metrics.limits_bytes[WEIR_BYTE_LIMIT_REPLAY], 0);
    bench_end(&bench);
}

// ---- Everybody at work ----

struct crowd {
    struct bench bench;
    uint32_t messages; // of each logger
    _Atomic uint32_t loggers_done;
    _Atomic uint64_t offered, accepted, abandoned, snapshots;
    _Atomic(const char *) wrong;
};

struct logger {
    struct crowd *crowd;
    uint32_t number;
};

// Every seventh message is formatted in place, every second of these is taken back.
static int logger_log(struct crowd *crowd, const char *message, uint32_t number, size_t length)
{
    struct weir_slot slot;
    if (number % 7 != 0) {
        return weir_log(crowd->bench.pool, message, length);
    }
    int error = weir_reserve(crowd->bench.pool, NULL, length + 40, &slot);
    if (error != 0) {
        return error;
    }
    if (number % 2 == 0) {
        sched_yield();
        weir_abandon(crowd->bench.pool, &slot);
        atomic_fetch_add(&crowd->abandoned, 1);
        return 0;
    }
    memcpy(slot.bytes, message, length);
    return weir_commit(crowd->bench.pool, &slot, length);
}

static void *logger_run(void *argument)
{
    struct logger *me = argument;
    char message[256];
    for (uint32_t i = 0; i < me->crowd->messages; i++) {
        size_t length = 24 + (i * 37 + me->number) % 200;
        collector_message(message, me->number, i, length);
        int error = logger_log(me->crowd, message, i, length);
        atomic_fetch_add(&me->crowd->offered, 1);
        atomic_fetch_add(&me->crowd->accepted, error == 0);
        if (i % 64 == 0) {
            test_pause_us(50);
        }
    }
    atomic_fetch_add(&me->crowd->loggers_done, 1);
    return NULL;
}

static void *watcher_run(void *argument)
{
    struct crowd *crowd = argument;
    struct weir_metrics metrics = {0};
    while (atomic_load(&crowd->loggers_done) < LOGGERS && atomic_load(&crowd->wrong) == NULL) {
        struct weir_metrics before = metrics;
        weir_pool_stats(crowd->bench.pool, &metrics);
        const char *wrong = snapshot_wrong(&before, &metrics);
        if (wrong != NULL) {
            const char *none = NULL;
            (void)atomic_compare_exchange_strong(&crowd->wrong, &none, strdup(wrong));
        }
        atomic_fetch_add(&crowd->snapshots, 1);
    }
    return NULL;
}

// Nobody listens so far: with what the loggers have the buffer must overflow.
static void crowd_overflow(struct crowd *crowd)
{
    struct weir_metrics metrics;
    do {
        test_pause_us(1000);
        weir_pool_stats(crowd->bench.pool, &metrics);
    } while (metrics.rejected_messages[WEIR_REJECTED_FULL] == 0 &&
             metrics.dropped_messages[WEIR_DROPPED_OLDEST] == 0 &&
             crowd->bench.options.full != WEIR_FULL_BLOCK);
    collector_listen(crowd->bench.collector, true);
}

static void crowd_run(enum weir_full full, enum collector_kind kind)
{
    // Reads slowly, closes over unread data, stands still until it is cut, and then behaves.
    static const struct collector_plan plans[] = {
        {.then = COLLECTOR_CLOSE, .then_bytes = 30000, .read_bytes_max = 500},
        {.then = COLLECTOR_STALL, .then_bytes = 20000},
        {.then = COLLECTOR_CLOSE, .then_bytes = 100000},
        {.read_bytes_max = 4000},
    };
    struct crowd crowd = {.messages = (uint32_t)test_times(6000)};
    struct bench *bench = &crowd.bench;
    bench_start(bench, 1, plans, sizeof(plans) / sizeof(plans[0]), kind);
    bench->options.pool_size = 2;
    bench->options.buffer_bytes_max = 96 << 10;
    bench->options.flush_limit_bytes = 2000;
    bench->options.message_bytes_max = 400;
    bench->options.full = full;
    bench->options.stall_timeout_ms = 100;
    bench->options.gap_records = full == WEIR_FULL_DROP_OLDEST;
    collector_listen(bench->collector, false);
    bench_open(bench);
    pthread_t loggers[LOGGERS], watchers[WATCHERS];
    struct logger selves[LOGGERS];
    for (uint32_t i = 0; i < WATCHERS; i++) {
        assert_int_equal(pthread_create(&watchers[i], NULL, watcher_run, &crowd), 0);
    }
    for (uint32_t i = 0; i < LOGGERS; i++) {
        selves[i] = (struct logger){&crowd, i};
        assert_int_equal(pthread_create(&loggers[i], NULL, logger_run, &selves[i]), 0);
    }
    crowd_overflow(&crowd);
    while (atomic_load(&crowd.loggers_done) < LOGGERS) {
        test_pause_us(30000);
        collector_listen(bench->collector, false);
        collector_cut(bench->collector);
        test_pause_us(5000);
        collector_listen(bench->collector, true);
        collector_resume(bench->collector);
    }
    for (uint32_t i = 0; i < LOGGERS; i++) {
        assert_int_equal(pthread_join(loggers[i], NULL), 0);
    }
    for (uint32_t i = 0; i < WATCHERS; i++) {
        assert_int_equal(pthread_join(watchers[i], NULL), 0);
    }
    if (atomic_load(&crowd.wrong) != NULL) {
        fail_msg("after %lu snapshots: %s", (unsigned long)atomic_load(&crowd.snapshots),
                 atomic_load(&crowd.wrong));
    }
    // The final state, exactly, and it stays.
    struct weir_metrics metrics = {0}, again;
    (void)weir_pool_close(bench->pool, 5000);
    step(bench->pool, &metrics);
    weir_pool_stats(bench->pool, &again);
    assert_memory_equal(&metrics, &again, sizeof(metrics));
    assert_int_equal(metrics.held_messages, 0);
    assert_int_equal(metrics.held_bytes, 0);
    uint64_t records = metrics.accepted_messages - atomic_load(&crowd.accepted);
    assert_true(bench->options.gap_records || records == 0);
    assert_int_equal(metrics.offered_messages, atomic_load(&crowd.offered) + records);
    assert_int_equal(metrics.dropped_messages[WEIR_DROPPED_ABANDONED],
                     atomic_load(&crowd.abandoned));
    assert_int_equal(metrics.accepted_messages,
                     metrics.confirmed_messages + test_pool_dropped(&metrics));
    assert_true(atomic_load(&crowd.snapshots) > 10);
    assert_true(full != WEIR_FULL_DROP_OLDEST || metrics.dropped_messages[WEIR_DROPPED_OLDEST] > 0);
    bench_end(bench);
}

static void drop_newest(void **unused)
{
    (void)unused;
    crowd_run(WEIR_FULL_DROP_NEWEST, COLLECTOR_UNIX);
    crowd_run(WEIR_FULL_DROP_NEWEST, COLLECTOR_TCP);
}

static void drop_oldest(void **unused)
{
    (void)unused;
    crowd_run(WEIR_FULL_DROP_OLDEST, COLLECTOR_UNIX);
    crowd_run(WEIR_FULL_DROP_OLDEST, COLLECTOR_TCP);
}

static void block(void **unused)
{
    (void)unused;
    crowd_run(WEIR_FULL_BLOCK, COLLECTOR_UNIX);
    crowd_run(WEIR_FULL_BLOCK, COLLECTOR_TCP);
}

static void datagrams(void **unused)
{
    (void)unused;
    crowd_run(WEIR_FULL_DROP_OLDEST, COLLECTOR_UNIX_DGRAM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(books_are_shown_at_once),
        cmocka_unit_test(books_of_a_task_that_stopped),
        cmocka_unit_test(held_to_the_byte),
        cmocka_unit_test(limits_are_told),
        cmocka_unit_test(drop_newest),
        cmocka_unit_test(drop_oldest),
        cmocka_unit_test(block),
        cmocka_unit_test(datagrams),
    };
    return cmocka_run_group_tests_name("stats", tests, NULL, NULL);
}
