// Tests of writer/log.c: every way to hand a message over, every way to be refused, and the books.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support_pool.h"

struct bench {
    struct weir_runtime *runtime;
    struct collector *collector;
    struct weir_pool_options options;
    struct weir_pool *pool;
};

static void bench_start(struct bench *bench, uint32_t workers, bool listening)
{
    memset(bench, 0, sizeof(*bench));
    bench->runtime = test_runtime_create(workers, NULL);
    bench->collector = collector_start(COLLECTOR_UNIX, NULL, 0, true, listening);
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

// Closes and demands that exactly this arrived on the first connection.
static void expect_text(struct bench *bench, const char *text)
{
    assert_int_equal(weir_pool_close(bench->pool, 10000), 0);
    collector_stop(bench->collector);
    size_t bytes;
    char *copy = collector_copy(bench->collector, 0, &bytes);
    assert_string_equal(copy, text);
    free(copy);
}

static uint64_t rejected(struct bench *bench, enum weir_rejection reason)
{
    struct weir_metrics metrics;
    test_pool_books(bench->pool, &metrics);
    return metrics.rejected_messages[reason];
}

// Counted when the writer comes to them, so after a flush.
static uint64_t abandoned(struct bench *bench)
{
    struct weir_metrics metrics;
    assert_int_equal(weir_pool_flush(bench->pool, 5000), 0);
    test_pool_books(bench->pool, &metrics);
    return metrics.dropped_messages[WEIR_DROPPED_ABANDONED];
}

// ---- What is taken ----

static void messages_of_every_shape(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench, 1, true);
    bench_open(&bench);
    assert_int_equal(weir_log(bench.pool, "one", 3), 0);
    assert_int_equal(weir_log(bench.pool, NULL, 0), 0);
    assert_int_equal(weir_log(bench.pool, "a\nb", 3), 0);
    struct weir_iovec parts[4] = {{"t", 1}, {NULL, 0}, {"w", 1}, {"o", 1}};
    struct weir_log_options options = {42, 3};
    assert_int_equal(weir_logv(bench.pool, &options, parts, 4), 0);
    assert_int_equal(weir_logv(bench.pool, NULL, parts, 0), 0);
    struct weir_slot slot;
    assert_int_equal(weir_reserve(bench.pool, NULL, 10, &slot), 0);
    assert_true(slot.bytes_max >= 10);
    memcpy(slot.bytes, "three-----", 10);
    assert_int_equal(weir_commit(bench.pool, &slot, 5), 0);
    assert_int_equal(weir_reserve(bench.pool, NULL, 10, &slot), 0);
    weir_abandon(bench.pool, &slot);
    assert_int_equal(weir_reserve(bench.pool, NULL, 0, &slot), 0);
    assert_int_equal(weir_commit(bench.pool, &slot, 0), 0);
    assert_int_equal(weir_reserve(bench.pool, &options, 10, &slot), 0);
    memcpy(slot.bytes, "x\ny", 3);
    assert_int_equal(weir_commit(bench.pool, &slot, 3), 0);
    assert_int_equal(abandoned(&bench), 1);
    expect_text(&bench, "one\n\na\\nb\ntwo\n\nthree\n\nx\\ny\n");
    bench_end(&bench);
}

static void octet_counting(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench, 1, true);
    bench.options.framing = WEIR_FRAMING_OCTET_COUNTING;
    bench_open(&bench);
    assert_int_equal(weir_log(bench.pool, "a\nb", 3), 0);
    assert_int_equal(weir_log(bench.pool, "", 0), -EINVAL);
    assert_int_equal(rejected(&bench, WEIR_REJECTED_EMPTY), 1);
    struct weir_slot slot;
    for (size_t bytes = 1; bytes <= 12; bytes += 11) { // counts of fewer digits than room for them
        assert_int_equal(weir_reserve(bench.pool, NULL, 1000, &slot), 0);
        memset(slot.bytes, 'c', bytes);
        assert_int_equal(weir_commit(bench.pool, &slot, bytes), 0);
    }
    assert_int_equal(weir_reserve(bench.pool, NULL, 1000, &slot), 0);
    assert_int_equal(weir_commit(bench.pool, &slot, 0), -EINVAL);
    assert_int_equal(abandoned(&bench), 1);
    assert_int_equal(weir_log(bench.pool, "end", 3), 0);
    expect_text(&bench, "3 a\nb1 c12 cccccccccccc3 end");
    bench_end(&bench);
}

// Nothing goes over the wire for them, yet they are confirmed and a flush comes back.
static void raw_messages_of_no_bytes(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench, 1, true);
    bench.options.framing = WEIR_FRAMING_RAW;
    bench_open(&bench);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(weir_log(bench.pool, "", 0), 0);
        if (i % 100 == 99) {
            assert_int_equal(weir_pool_flush(bench.pool, 5000), 0);
        }
    }
    assert_int_equal(weir_log(bench.pool, "ab", 2), 0);
    assert_int_equal(weir_log(bench.pool, "", 0), 0);
    assert_int_equal(weir_log(bench.pool, "c", 1), 0);
    assert_int_equal(weir_log(bench.pool, "", 0), 0);
    expect_text(&bench, "abc");
    struct weir_metrics metrics;
    test_pool_books(bench.pool, &metrics);
    assert_int_equal(metrics.confirmed_messages, 1004);
    assert_int_equal(metrics.confirmed_bytes, 3);
    bench_end(&bench);
}

static void header_and_severity(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench, 1, true);
    bench.options.header = WEIR_HEADER_RFC5424;
    bench.options.facility = 16;
    bench.options.severity = 6;
    bench.options.app = "test";
    bench_open(&bench);
    struct weir_iovec part = {"x", 1};
    struct weir_log_options options = {0, 3};
    assert_int_equal(weir_log(bench.pool, "x", 1), 0);
    assert_int_equal(weir_logv(bench.pool, &options, &part, 1), 0);
    struct weir_slot slot;
    assert_int_equal(weir_reserve(bench.pool, &options, 5, &slot), 0);
    slot.bytes[0] = 'x';
    assert_int_equal(weir_commit(bench.pool, &slot, 1), 0);
    assert_int_equal(weir_pool_close(bench.pool, 5000), 0);
    collector_stop(bench.collector);
    size_t bytes;
    char *copy = collector_copy(bench.collector, 0, &bytes);
    static const char *const begins[3] = {"<134>1 ", "<131>1 ", "<131>1 "};
    char *line = copy;
    for (int i = 0; i < 3; i++) {
        assert_memory_equal(line, begins[i], 7);
        char *end = strchr(line, '\n');
        assert_non_null(end);
        assert_int_equal(end[-1], 'x');
        line = end + 1;
    }
    assert_int_equal(*line, '\0');
    free(copy);
    bench_end(&bench);
}

// ---- What is refused ----

static void the_largest_message(void **unused)
{
    (void)unused;
    static char text[5000];
    memset(text, 'm', sizeof(text));
    struct bench bench;
    bench_start(&bench, 1, true);
    bench_open(&bench); // message_bytes_max 4096, framing of one byte included
    assert_int_equal(weir_log(bench.pool, text, 4095), 0);
    assert_int_equal(weir_log(bench.pool, text, 4096), WEIR_ETOOBIG);
    assert_int_equal(weir_log(bench.pool, text, sizeof(text)), WEIR_ETOOBIG);
    struct weir_slot slot;
    assert_int_equal(weir_reserve(bench.pool, NULL, 4096, &slot), WEIR_ETOOBIG);
    assert_null(slot.bytes);
    assert_int_equal(weir_reserve(bench.pool, NULL, SIZE_MAX, &slot), WEIR_ETOOBIG);
    assert_int_equal(weir_reserve(bench.pool, NULL, 4095, &slot), 0);
    memset(slot.bytes, 'n', 4095);
    assert_int_equal(weir_commit(bench.pool, &slot, 4095), 0);
    // Longest messages one after the other, in a row of few segments.
    for (int i = 0; i < 100; i++) {
        assert_int_equal(weir_log(bench.pool, text, 4095), 0);
        assert_int_equal(weir_pool_flush(bench.pool, 5000), 0);
    }
    assert_int_equal(rejected(&bench, WEIR_REJECTED_TOO_BIG), 4);
    assert_int_equal(weir_pool_close(bench.pool, 5000), 0);
    assert_int_equal(collector_bytes(bench.collector), 102 * 4096);
    bench_end(&bench);
}

static void delimiters_refused(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench, 1, true);
    bench.options.delimiter = WEIR_DELIMITER_REFUSE;
    bench_open(&bench);
    assert_int_equal(weir_log(bench.pool, "a\nb", 3), WEIR_EDELIMITER);
    assert_int_equal(rejected(&bench, WEIR_REJECTED_DELIMITER), 1);
    struct weir_slot slot;
    assert_int_equal(weir_reserve(bench.pool, NULL, 3, &slot), 0);
    memcpy(slot.bytes, "a\nb", 3);
    assert_int_equal(weir_commit(bench.pool, &slot, 3), WEIR_EDELIMITER);
    assert_int_equal(abandoned(&bench), 1);
    assert_int_equal(weir_log(bench.pool, "ab", 2), 0);
    expect_text(&bench, "ab\n");
    bench_end(&bench);

    bench_start(&bench, 1, true); // escaped it does not fit into the slot any more
    bench_open(&bench);
    assert_int_equal(weir_reserve(bench.pool, NULL, 3, &slot), 0);
    memcpy(slot.bytes, "\n\n\n", 3);
    assert_int_equal(weir_commit(bench.pool, &slot, 3), WEIR_EDELIMITER);
    assert_int_equal(abandoned(&bench), 1);
    bench_end(&bench);
}

static void full(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench, 1, false);
    bench.options.buffer_bytes_max = 32 << 10; // two segments or three
    bench_open(&bench);
    uint32_t accepted = test_pool_log(bench.pool, 0, 0, 0, 1000, 100);
    assert_in_range(accepted, 10, 400);
    struct weir_slot slot;
    assert_int_equal(weir_reserve(bench.pool, NULL, 100, &slot), WEIR_EFULL);
    assert_int_equal(rejected(&bench, WEIR_REJECTED_FULL), 1000 - accepted + 1);
    collector_listen(bench.collector, true);
    assert_int_equal(weir_pool_flush(bench.pool, 10000), 0);
    assert_int_equal(weir_log(bench.pool, "room again", 10), 0);
    assert_int_equal(weir_pool_close(bench.pool, 10000), 0);
    bench_end(&bench);
}

static void closed(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench, 1, true);
    bench_open(&bench);
    assert_int_equal(weir_log(bench.pool, "in", 2), 0);
    assert_int_equal(weir_pool_close(bench.pool, 5000), 0);
    assert_int_equal(weir_log(bench.pool, "out", 3), WEIR_ECLOSED);
    struct weir_slot slot;
    assert_int_equal(weir_reserve(bench.pool, NULL, 3, &slot), WEIR_ECLOSED);
    assert_int_equal(rejected(&bench, WEIR_REJECTED_CLOSED), 2);
    assert_int_equal(weir_pool_flush(bench.pool, 1000), WEIR_ECLOSED);
    assert_int_equal(weir_pool_close(bench.pool, 1000), WEIR_ECLOSED);
    bench_end(&bench);
}

static int forked_child(struct bench *bench)
{
    struct weir_slot slot;
    struct weir_metrics metrics;
    if (weir_log(bench->pool, "x", 1) != WEIR_EFORKED ||
        weir_reserve(bench->pool, NULL, 1, &slot) != WEIR_EFORKED ||
        weir_pool_flush(bench->pool, 1000) != WEIR_EFORKED ||
        weir_pool_close(bench->pool, 1000) != WEIR_EFORKED) {
        return 1;
    }
    weir_pool_stats(bench->pool, &metrics);
    if (metrics.rejected_messages[WEIR_REJECTED_FORKED] != 2 || !weir_metrics_balanced(&metrics)) {
        return 2;
    }
    weir_pool_destroy(bench->pool);
    weir_runtime_destroy(bench->runtime);
    return 0;
}

static void forked(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench, 1, true);
    bench_open(&bench);
    assert_int_equal(test_pool_log(bench.pool, 0, 0, 0, 10, 100), 10);
    pid_t child = fork();
    if (child == 0) {
        _exit(forked_child(&bench));
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    // The parent did not notice.
    assert_int_equal(test_pool_log(bench.pool, 0, 0, 10, 10, 100), 10);
    assert_int_equal(weir_pool_close(bench.pool, 5000), 0);
    assert_int_equal(rejected(&bench, WEIR_REJECTED_FORKED), 0);
    collector_stop(bench.collector);
    assert_int_equal(test_pool_arrived(bench.collector, 20), 0);
    bench_end(&bench);
}

struct misuse {
    struct weir_pool *pool;
    struct weir_slot slot;
};

static void abandon_again(void *argument)
{
    struct misuse *misuse = argument;
    weir_abandon(misuse->pool, &misuse->slot);
    weir_abandon(misuse->pool, &misuse->slot);
}

static void commit_too_much(void *argument)
{
    struct misuse *misuse = argument;
    (void)weir_commit(misuse->pool, &misuse->slot, 4);
}

static void misuse_aborts(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench, 0, true);
    bench_open(&bench);
    struct misuse misuse = {bench.pool, {0}};
    assert_int_equal(weir_reserve(bench.pool, NULL, 3, &misuse.slot), 0);
    test_expect_abort(abandon_again, &misuse);
    test_expect_abort(commit_too_much, &misuse);
    weir_abandon(bench.pool, &misuse.slot);
    bench_end(&bench);
}

// ---- Policies ----

struct logger {
    struct bench *bench;
    uint32_t thread, count, accepted;
    bool insists; // a message that finds no room is tried again
    int last;     // the last error
    _Atomic uint32_t done;
};

static void *logger_main(void *argument)
{
    struct logger *me = argument;
    char message[100];
    struct weir_log_options options = {1 + me->thread, WEIR_SEVERITY_DEFAULT};
    struct weir_iovec part = {message, sizeof(message)};
    for (uint32_t i = 0; i < me->count && me->last != WEIR_ECLOSED; i++) {
        collector_message(message, me->thread, i, sizeof(message));
        int error = weir_logv(me->bench->pool, &options, &part, 1);
        me->accepted += error == 0 ? 1 : 0;
        me->last = error;
        i -= me->insists && error == WEIR_EFULL ? 1 : 0;
    }
    atomic_store(&me->done, 1);
    return NULL;
}

static void blocked_until_there_is_room(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench, 1, false);
    bench.options.buffer_bytes_max = 32 << 10;
    bench.options.full = WEIR_FULL_BLOCK;
    bench_open(&bench);
    struct logger logger = {.bench = &bench, .count = 2000};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, logger_main, &logger), 0);
    test_pause_us(200000);
    assert_int_equal(atomic_load(&logger.done), 0); // it waits
    collector_listen(bench.collector, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(logger.accepted, 2000);
    assert_int_equal(weir_pool_close(bench.pool, 10000), 0);
    assert_int_equal(rejected(&bench, WEIR_REJECTED_FULL), 0);
    collector_stop(bench.collector);
    assert_int_equal(test_pool_arrived(bench.collector, 2000), 0);
    bench_end(&bench);
}

// Blocked threads come back when the pool is closed, those that want a slot too.
static void *reserver_main(void *argument)
{
    struct logger *me = argument;
    struct weir_slot slot;
    do {
        me->last = weir_reserve(me->bench->pool, NULL, 100, &slot);
        if (me->last == 0) {
            weir_abandon(me->bench->pool, &slot);
        }
    } while (me->last == 0);
    return NULL;
}

static void close_releases_the_blocked(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench, 1, false);
    bench.options.buffer_bytes_max = 32 << 10;
    bench.options.full = WEIR_FULL_BLOCK;
    bench_open(&bench);
    struct logger loggers[4];
    pthread_t threads[4];
    struct weir_metrics metrics = {0};
    for (uint32_t i = 0; i < 4; i++) {
        loggers[i] = (struct logger){.bench = &bench, .thread = i, .count = 100000};
        // Who reserves and abandons would else fill the buffer with nothing to be delivered.
        while (i == 3 && metrics.held_messages == 0) {
            test_pause_us(1000);
            weir_pool_stats(bench.pool, &metrics);
        }
        assert_int_equal(pthread_create(&threads[i], NULL, i < 3 ? logger_main : reserver_main,
                                        &loggers[i]), 0);
    }
    test_pause_us(100000); // for all to wait
    assert_int_equal(weir_pool_close(bench.pool, 50), WEIR_ETIMEOUT);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(loggers[i].last, WEIR_ECLOSED);
    }
    assert_int_equal(rejected(&bench, WEIR_REJECTED_CLOSED), 4);
    test_pool_books(bench.pool, &metrics);
    assert_int_equal(metrics.held_messages, 0);
    bench_end(&bench);
}

// Whoever got a 0 is delivered, though the pool was being closed at that moment.
static void log_while_closing(void **unused)
{
    (void)unused;
    for (uint64_t round = 0; round < test_times(40); round++) {
        struct bench bench;
        bench_start(&bench, 1, true);
        bench.options.pool_size = 1 + (uint32_t)(round % 2);
        bench.options.buffer_bytes_max = 8 << 20;
        bench_open(&bench);
        struct logger loggers[4];
        pthread_t threads[4];
        for (uint32_t i = 0; i < 4; i++) {
            loggers[i] =
                (struct logger){.bench = &bench, .thread = i, .count = 100000, .insists = true};
            assert_int_equal(pthread_create(&threads[i], NULL, logger_main, &loggers[i]), 0);
        }
        test_pause_us((uint32_t)(round % 10) * 300);
        assert_int_equal(weir_pool_close(bench.pool, 20000), 0);
        uint64_t accepted = 0;
        for (uint32_t i = 0; i < 4; i++) {
            assert_int_equal(pthread_join(threads[i], NULL), 0);
            assert_int_equal(loggers[i].last, WEIR_ECLOSED);
            accepted += loggers[i].accepted;
        }
        struct weir_metrics metrics;
        test_pool_books(bench.pool, &metrics);
        assert_int_equal(metrics.accepted_messages, accepted);
        assert_int_equal(metrics.confirmed_messages, accepted);
        collector_stop(bench.collector);
        struct collector_tally tally;
        collector_count(bench.collector, 4, 100000, &tally);
        free(tally.seen);
        assert_null(tally.wrong);
        assert_int_equal(tally.distinct, accepted);
        bench_end(&bench);
    }
}

// Threads throw the oldest away while the writer takes it: the books say exactly what arrived.
static void drop_oldest_races_with_taking(void **unused)
{
    (void)unused;
    for (uint32_t few = 0; few < 2; few++) {
        struct collector_plan plan = {.read_bytes_max = 20000};
        struct bench bench;
        memset(&bench, 0, sizeof(bench));
        bench.runtime = test_runtime_create(1, NULL);
        bench.collector = collector_start(COLLECTOR_UNIX, &plan, 1, true, true);
        test_pool_options(&bench.options, collector_endpoint(bench.collector));
        bench.options.full = WEIR_FULL_DROP_OLDEST;
        bench.options.buffer_bytes_max = few != 0 ? 20 << 10 : 2 << 20; // 2 segments, or many
        bench.options.message_bytes_max = 1000;
        bench_open(&bench);
        struct logger loggers[4];
        pthread_t threads[4];
        uint32_t count = (uint32_t)test_times(20000);
        for (uint32_t i = 0; i < 4; i++) {
            loggers[i] = (struct logger){.bench = &bench, .thread = i, .count = count};
            assert_int_equal(pthread_create(&threads[i], NULL, logger_main, &loggers[i]), 0);
        }
        uint64_t accepted = 0;
        for (uint32_t i = 0; i < 4; i++) {
            assert_int_equal(pthread_join(threads[i], NULL), 0);
            accepted += loggers[i].accepted;
        }
        assert_int_equal(weir_pool_close(bench.pool, 30000), 0);
        struct weir_metrics metrics;
        test_pool_books(bench.pool, &metrics);
        assert_int_equal(metrics.accepted_messages, accepted);
        assert_int_equal(metrics.confirmed_messages + test_pool_dropped(&metrics), accepted);
        collector_stop(bench.collector);
        struct collector_tally tally;
        collector_count(bench.collector, 4, count, &tally);
        free(tally.seen);
        assert_null(tally.wrong);
        assert_int_equal(tally.distinct, metrics.confirmed_messages);
        print_message("%lu accepted, %lu dropped\n", (unsigned long)accepted,
                      (unsigned long)test_pool_dropped(&metrics));
        bench_end(&bench);
    }
}

// ---- Gap records ----

static void gaps_are_told(enum weir_full policy)
{
    struct bench bench;
    bench_start(&bench, 1, false);
    bench.options.full = policy;
    bench.options.gap_records = true;
    bench.options.buffer_bytes_max = 64 << 10;
    bench_open(&bench);
    uint32_t accepted = test_pool_log(bench.pool, 0, 0, 0, 2000, 100);
    collector_listen(bench.collector, true);
    assert_int_equal(weir_pool_flush(bench.pool, 10000), 0);
    test_pause_us(300000); // the record is made when there is room again
    assert_int_equal(weir_pool_close(bench.pool, 10000), 0);
    struct weir_metrics metrics;
    test_pool_books(bench.pool, &metrics);
    uint64_t lost = metrics.rejected_messages[WEIR_REJECTED_FULL] +
                    metrics.dropped_messages[WEIR_DROPPED_OLDEST];
    assert_true(lost > 1000);
    assert_int_equal(2000 - accepted, metrics.rejected_messages[WEIR_REJECTED_FULL]);
    collector_stop(bench.collector);
    size_t bytes;
    char *copy = collector_copy(bench.collector, 0, &bytes);
    uint64_t told = 0;
    for (char *at = copy; (at = strstr(at, "weir: ")) != NULL; at++) {
        unsigned long messages = 0, lost_bytes = 0;
        char from[40] = "", to[40] = "";
        assert_int_equal(sscanf(at, "weir: %lu messages, %lu bytes dropped between %39s and %39s",
                                &messages, &lost_bytes, from, to), 4);
        assert_int_equal(strncmp(from, "20", 2), 0); // not 1970
        assert_true(strncmp(from, to, 27) <= 0);
        assert_true(lost_bytes >= messages * 100);
        told += messages;
    }
    assert_int_equal(told, lost);
    free(copy);
    bench_end(&bench);
}

static void gap_records(void **unused)
{
    (void)unused;
    gaps_are_told(WEIR_FULL_DROP_NEWEST);
    gaps_are_told(WEIR_FULL_DROP_OLDEST);
}

// A collector that reads nothing, and a buffer smaller than what a writer would like to take:
// beside what the socket took there is always something older to drop, so that every message is
// taken.
static void drop_oldest_in_a_small_buffer(void **unused)
{
    (void)unused;
    struct collector_plan plan = {.then = COLLECTOR_STALL};
    struct bench bench;
    memset(&bench, 0, sizeof(bench));
    bench.runtime = test_runtime_create(1, NULL);
    bench.collector = collector_start(COLLECTOR_UNIX, &plan, 1, true, true);
    test_pool_options(&bench.options, collector_endpoint(bench.collector));
    bench.options.full = WEIR_FULL_DROP_OLDEST;
    bench.options.buffer_bytes_max = 640 << 10; // the socket alone takes up to 208k
    bench.options.message_bytes_max = 1000;
    bench_open(&bench);
    uint32_t count = 3000; // far more than the socket and the buffer hold
    assert_int_equal(test_pool_log(bench.pool, 0, 0, 0, count, 900), count);
    struct weir_metrics metrics;
    test_pool_books(bench.pool, &metrics);
    assert_true(metrics.dropped_messages[WEIR_DROPPED_OLDEST] > count / 2);
    bench_end(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_of_every_shape),
        cmocka_unit_test(octet_counting),
        cmocka_unit_test(raw_messages_of_no_bytes),
        cmocka_unit_test(header_and_severity),
        cmocka_unit_test(the_largest_message),
        cmocka_unit_test(delimiters_refused),
        cmocka_unit_test(full),
        cmocka_unit_test(closed),
        cmocka_unit_test(forked),
        cmocka_unit_test(misuse_aborts),
        cmocka_unit_test(blocked_until_there_is_room),
        cmocka_unit_test(close_releases_the_blocked),
        cmocka_unit_test(log_while_closing),
        cmocka_unit_test(drop_oldest_races_with_taking),
        cmocka_unit_test(drop_oldest_in_a_small_buffer),
        cmocka_unit_test(gap_records),
    };
    cmocka_set_test_filter(getenv("WEIR_TEST_FILTER"));
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
