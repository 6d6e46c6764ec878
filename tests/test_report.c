// Tests of writer/report.c: what a host's log callback is told, when, and in what words.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support_pool.h"
#include "writer/writer.h"

#define SECOND UINT64_C(1000000000)
#define LINES_MAX 4096

// ---- A writer whose task was never started, and whose time the test makes ----

struct lines {
    pthread_mutex_t mutex;
    char *text[LINES_MAX];
    uint64_t at_ns[LINES_MAX]; // of the writer's clock
    size_t count;
    const struct weir_writer *writer; // NULL: a pool's, whose clock is not looked at
};

static void lines_take(void *context, const char *line)
{
    struct lines *lines = context;
    pthread_mutex_lock(&lines->mutex);
    assert_true(lines->count < LINES_MAX);
    assert_null(strchr(line, '\n'));
    lines->at_ns[lines->count] = lines->writer == NULL ? 0 : lines->writer->now_ns;
    lines->text[lines->count++] = strdup(line);
    pthread_mutex_unlock(&lines->mutex);
}

static void lines_free(struct lines *lines)
{
    for (size_t i = 0; i < lines->count; i++) {
        free(lines->text[i]);
    }
}

struct bench {
    struct weir_os os;
    struct weir_runtime *runtime;
    struct weir_pool_options options;
    struct weir_pool_plan plan;
    struct weir_writer *writer;
    void *region;
    struct weir_transit_segment *ring;
    _Atomic uint32_t progress, waiters;
    struct lines lines;
};

static uint64_t wall_of_the_test(void *unused)
{
    (void)unused;
    return UINT64_C(1700000000) * SECOND; // 2023-11-14T22:13:20Z
}

static void *memory_of(size_t bytes)
{
    void *memory = aligned_alloc(128, (bytes + 127) / 128 * 128);
    assert_non_null(memory);
    return memory;
}

static void bench_start(struct bench *bench, const char *endpoints)
{
    char why[384];
    memset(bench, 0, sizeof(*bench));
    (void)pthread_mutex_init(&bench->lines.mutex, NULL);
    bench->runtime = test_runtime_create(0, NULL);
    test_pool_options(&bench->options, endpoints);
    bench->options.buffer_bytes_max = 64 << 10;
    bench->options.log = lines_take;
    bench->options.log_context = &bench->lines;
    assert_int_equal(weir_pool_options_check(&bench->options, &bench->plan, why, sizeof(why)), 0);
    bench->region = memory_of(bench->plan.region_bytes);
    bench->ring = calloc(bench->plan.row.segment_count, sizeof(*bench->ring));
    bench->writer = memory_of(sizeof(*bench->writer));
    assert_non_null(bench->ring);
    weir_writer_init(bench->writer, 0, bench->runtime, &bench->plan,
                     weir_row_init(bench->region, &bench->plan.row), bench->ring, &bench->progress,
                     &bench->waiters);
    bench->os = *bench->writer->os;
    bench->os.wall_ns = wall_of_the_test;
    bench->writer->os = &bench->os;
    bench->writer->now_ns = 1000 * SECOND;
    bench->writer->machine = WEIR_STATE_READY;
    bench->lines.writer = bench->writer;
}

static void bench_end(struct bench *bench)
{
    free(bench->region);
    free(bench->ring);
    free(bench->writer);
    lines_free(&bench->lines);
    weir_runtime_destroy(bench->runtime);
}

static void lose(struct bench *bench, uint64_t messages, uint64_t bytes)
{
    weir_counter_add(&bench->writer->counters.rejected[WEIR_REJECTED_FULL], messages);
    weir_counter_add(&bench->writer->counters.rejected_full_bytes, bytes);
}

// The task rests, and comes back when the report wanted it, or after `ns`.
static void rest(struct bench *bench, uint64_t ns)
{
    struct weir_writer *me = bench->writer;
    uint64_t end_ns = me->now_ns + ns;
    for (;;) {
        weir_report_look(me);
        uint64_t alarm_ns = me->alarms[WEIR_ALARM_REPORT];
        assert_true(alarm_ns > me->now_ns); // otherwise the task would never rest
        if (alarm_ns > end_ns) {
            break;
        }
        me->now_ns = alarm_ns;
    }
    me->now_ns = end_ns;
    weir_report_look(me);
}

// The only line since the last call.
static void expect(struct bench *bench, const char *text)
{
    if (bench->lines.count != 1) {
        fail_msg("%zu lines instead of: %s", bench->lines.count, text);
    }
    assert_string_equal(bench->lines.text[0], text);
    lines_free(&bench->lines);
    bench->lines.count = 0;
}

// ---- Trouble ----

static void trouble_begins_and_ends(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench, "tcp://a:601,tcp://b:602");
    struct weir_writer *me = bench.writer;
    rest(&bench, 5 * SECOND);
    weir_report_connected(me); // without trouble before
    rest(&bench, 5 * SECOND);
    assert_int_equal(bench.lines.count, 0);
    assert_int_equal(me->alarms[WEIR_ALARM_REPORT], WEIR_NEVER);
    weir_report_fault(me, WEIR_FAULT_PEER_CLOSED);
    expect(&bench, "connection to tcp://a:601 failed: peer_closed");
    me->machine = WEIR_STATE_DOWN;
    for (int i = 0; i < 9; i++) {
        rest(&bench, SECOND);
        weir_report_fault(me, WEIR_FAULT_PEER_CLOSED);
    }
    assert_int_equal(bench.lines.count, 0);
    me->route.endpoint = 1;
    weir_report_fault(me, WEIR_FAULT_CONNECT);
    expect(&bench, "connection to tcp://b:602 failed: connect");
    rest(&bench, 3 * SECOND + SECOND / 4);
    me->route.endpoint = 0;
    me->machine = WEIR_STATE_READY;
    weir_report_connected(me);
    expect(&bench,
           "connected to tcp://a:601 after 12.250 s without a connection; failures: 11, the "
           "last at tcp://b:602: connect");
    rest(&bench, 10 * SECOND);
    assert_int_equal(bench.lines.count, 0);
    assert_int_equal(me->alarms[WEIR_ALARM_REPORT], WEIR_NEVER);
    // What was told belongs to that trouble: this is another one.
    weir_report_fault(me, WEIR_FAULT_PEER_CLOSED);
    expect(&bench, "connection to tcp://a:601 failed: peer_closed");
    bench_end(&bench);
}

// Over before anything could be said: one line for both.
static void short_trouble_has_one_line(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench, "tcp://a:601");
    struct weir_writer *me = bench.writer;
    weir_report_fault(me, WEIR_FAULT_RESET);
    expect(&bench, "connection to tcp://a:601 failed: reset");
    rest(&bench, SECOND / 10);
    weir_report_connected(me);
    rest(&bench, SECOND * 9 / 10);
    expect(&bench, "connected to tcp://a:601 after 0.100 s without a connection; failures: 1, the "
                   "last at tcp://a:601: reset");
    rest(&bench, SECOND / 2);
    weir_report_fault(me, WEIR_FAULT_STALL);
    rest(&bench, SECOND / 10);
    weir_report_connected(me);
    rest(&bench, 5 * SECOND);
    expect(&bench, "connected to tcp://a:601 after 0.100 s without a connection; failures: 1, the "
                   "last at tcp://a:601: stall");
    bench_end(&bench);
}

// A peer that accepts and closes, a hundred times a second: a line a second, and how many more.
static void flapping_is_a_line_a_second(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench, "tcp://a:601");
    struct weir_writer *me = bench.writer;
    for (int i = 0; i < 1000; i++) {
        weir_report_fault(me, WEIR_FAULT_PEER_CLOSED);
        rest(&bench, SECOND / 200);
        weir_report_connected(me);
        rest(&bench, SECOND / 200);
    }
    assert_in_range(bench.lines.count, 9, 11);
    assert_non_null(strstr(bench.lines.text[1], " ... and 99 more"));
    for (size_t i = 1; i < bench.lines.count; i++) {
        assert_true(bench.lines.at_ns[i] - bench.lines.at_ns[i - 1] >= WEIR_REPORT_INTERVAL_NS);
    }
    rest(&bench, 5 * SECOND);
    assert_int_equal(strncmp(bench.lines.text[bench.lines.count - 1], "connected to ", 13), 0);
    bench_end(&bench);
}

// ---- Losses ----

static void losses_begin_and_end(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench, "tcp://a:601");
    struct weir_writer *me = bench.writer;
    lose(&bench, 1, 100);
    rest(&bench, 0);
    expect(&bench, "messages are being lost: full 1");
    for (int i = 0; i < 4; i++) {
        me->now_ns += SECOND / 2;
        lose(&bench, 5, 500);
        rest(&bench, 0);
    }
    weir_counter_add(&me->counters.shed_messages, 3);
    weir_counter_add(&me->counters.shed_bytes, 30);
    me->transit.books.dropped_messages[WEIR_DROPPED_REFUSED] = 1;
    me->transit.books.dropped_bytes[WEIR_DROPPED_REFUSED] = 7;
    me->transit.books.dropped_messages[WEIR_DROPPED_ABANDONED] = 1000;
    me->transit.books.dropped_messages[WEIR_DROPPED_DEADLINE] = 1000;
    rest(&bench, SECOND - 1);
    assert_int_equal(bench.lines.count, 0);
    rest(&bench, 1);
    expect(&bench,
           "no more messages are lost; lost were 25 messages, 2137 bytes (oldest 3, refused "
           "1, full 21) between 2023-11-14T22:13:20.000000Z and "
           "2023-11-14T22:13:20.000000Z, in 2.000 s");
    rest(&bench, 100 * SECOND);
    assert_int_equal(bench.lines.count, 0);
    assert_int_equal(me->alarms[WEIR_ALARM_REPORT], WEIR_NEVER);
    lose(&bench, 2, 20);
    rest(&bench, 0);
    expect(&bench, "messages are being lost: full 2");
    bench_end(&bench);
}

// Without a connection the task has no other reason to come by and see them.
static void losses_are_looked_for_while_down(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench, "tcp://a:601");
    bench.writer->machine = WEIR_STATE_DOWN;
    rest(&bench, SECOND / 2);
    lose(&bench, 1, 100);
    assert_in_range(bench.writer->alarms[WEIR_ALARM_REPORT], 0, bench.writer->now_ns + SECOND);
    bench.writer->now_ns += SECOND;
    rest(&bench, 0);
    expect(&bench, "messages are being lost: full 1");
    bench_end(&bench);
}

// One theme does not keep the other from its line.
static void themes_take_turns(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench, "tcp://a:601");
    struct weir_writer *me = bench.writer;
    uint32_t trouble = 0, losses = 0;
    for (int i = 0; i < 2000; i++) {
        weir_report_fault(me, WEIR_FAULT_PEER_CLOSED);
        weir_report_connected(me);
        if (i / 200 % 2 == 0) {
            lose(&bench, 1, 1);
        }
        rest(&bench, SECOND / 100);
    }
    for (size_t i = 0; i < bench.lines.count; i++) {
        bool connection = strncmp(bench.lines.text[i], "connect", 7) == 0;
        trouble += connection;
        losses += !connection;
    }
    assert_in_range(trouble + losses, 19, 21);
    assert_in_range(losses, 9, 10);
    bench_end(&bench);
}

static void end_says_the_rest(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench, "tcp://a:601");
    struct weir_writer *me = bench.writer;
    weir_report_fault(me, WEIR_FAULT_CONNECT);
    expect(&bench, "connection to tcp://a:601 failed: connect");
    lose(&bench, 4, 44);
    weir_report_end(me);
    assert_int_equal(bench.lines.count, 1);
    assert_non_null(strstr(bench.lines.text[0], "lost were 4 messages, 44 bytes (full 4)"));
    weir_report_end(me);
    assert_int_equal(bench.lines.count, 1);
    bench_end(&bench);
}

static void nobody_listens(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench, "tcp://a:601");
    bench.plan.log = NULL;
    struct weir_writer *me = bench.writer;
    weir_report_fault(me, WEIR_FAULT_CONNECT);
    lose(&bench, 4, 44);
    me->machine = WEIR_STATE_DOWN;
    weir_report_look(me);
    weir_report_connected(me);
    weir_report_end(me);
    assert_int_equal(me->alarms[WEIR_ALARM_REPORT], WEIR_NEVER);
    assert_int_equal(me->report.stages[WEIR_REPORT_TROUBLE], WEIR_REPORT_QUIET);
    bench_end(&bench);
}

// The longest names, the largest numbers, every reason.
static void longest_lines_fit(void **unused)
{
    (void)unused;
    struct bench bench;
    char endpoint[300] = "relp://";
    for (int i = 0; i < 4; i++) {
        memset(endpoint + strlen(endpoint), 'a' + i, i < 3 ? 63 : 61);
        (void)strcat(endpoint, i < 3 ? "." : ":65535");
    }
    bench_start(&bench, endpoint);
    struct weir_writer *me = bench.writer;
    weir_report_fault(me, WEIR_FAULT_CONNECT_TIMEOUT);
    me->now_ns += SECOND / 2;
    weir_report_connected(me);
    weir_report_fault(me, WEIR_FAULT_ANSWER_TIMEOUT);
    me->report.unsaid = UINT64_MAX;
    me->report.faults = UINT32_MAX;
    me->now_ns = UINT64_MAX / 2;
    weir_report_connected(me);
    assert_int_equal(bench.lines.count, 2);
    assert_true(strlen(bench.lines.text[1]) > 2 * strlen(endpoint));
    memset(&me->transit.books, 0x7f, sizeof(me->transit.books));
    weir_counter_add(&me->counters.shed_messages, UINT64_MAX / 4);
    lose(&bench, UINT64_MAX / 4, UINT64_MAX / 4);
    me->now_ns += 2 * SECOND;
    weir_report_look(me);
    me->report.unsaid = UINT64_MAX;
    weir_report_end(me);
    assert_int_equal(bench.lines.count, 4);
    bench_end(&bench);
}

// ---- At random ----

// Never two lines within an interval; in the end the host knows how it stands, and the losses that
// lines told of are all there were.
static void at_random(void **unused)
{
    (void)unused;
    uint64_t random = test_seed();
    for (uint64_t round = 0; round < test_times(200); round++) {
        struct bench bench;
        bench_start(&bench, "tcp://a:601,tcp://b:602,tcp://c:603");
        struct weir_writer *me = bench.writer;
        uint64_t lost = 0, told = 0;
        bool down = false;
        for (uint32_t i = 0; i < 300; i++) {
            uint64_t what = test_random(&random) % 8;
            if (what < 3) {
                me->route.endpoint = (uint32_t)(test_random(&random) % 3);
                weir_report_fault(me, (enum weir_fault)(test_random(&random) % WEIR_FAULTS_COUNT));
                me->machine = WEIR_STATE_DOWN;
                down = true;
            } else if (what < 5) {
                weir_report_connected(me);
                me->machine = WEIR_STATE_READY;
                down = false;
            } else if (what < 6) {
                uint64_t messages = 1 + test_random(&random) % 9;
                lose(&bench, messages, 1);
                lost += messages;
            }
            rest(&bench, SECOND >> test_random(&random) % 12);
        }
        rest(&bench, 5 * SECOND);
        assert_true(bench.lines.count > 0);
        const char *last = "connected";
        for (size_t i = 0; i < bench.lines.count; i++) {
            const char *line = bench.lines.text[i];
            unsigned long long messages = 0;
            assert_true(i == 0 ||
                        bench.lines.at_ns[i] - bench.lines.at_ns[i - 1] >= WEIR_REPORT_INTERVAL_NS);
            last = strncmp(line, "connect", 7) == 0 ? line : last;
            (void)sscanf(line, "no more messages are lost; lost were %llu", &messages);
            told += messages;
        }
        assert_int_equal(told, lost);
        assert_int_equal(strncmp(last, down ? "connection to " : "connected", down ? 14 : 9), 0);
        bench_end(&bench);
    }
}

// ---- A pool ----

static bool lines_have(struct lines *lines, const char *text)
{
    bool found = false;
    pthread_mutex_lock(&lines->mutex);
    for (size_t i = 0; i < lines->count; i++) {
        found = found || strstr(lines->text[i], text) != NULL;
    }
    pthread_mutex_unlock(&lines->mutex);
    return found;
}

static void expect_soon(struct lines *lines, const char *text)
{
    for (int i = 0; i < 10000 && !lines_have(lines, text); i++) {
        test_pause_us(1000);
    }
    if (!lines_have(lines, text)) {
        fail_msg("no line with: %s", text);
    }
}

static void a_pool_tells(void **unused)
{
    (void)unused;
    struct lines lines = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    struct weir_runtime *runtime = test_runtime_create(1, NULL);
    struct collector *collector = collector_start(COLLECTOR_UNIX, NULL, 0, true, false);
    struct weir_pool_options options;
    test_pool_options(&options, collector_endpoint(collector));
    options.buffer_bytes_max = 32 << 10;
    options.log = lines_take;
    options.log_context = &lines;
    struct weir_pool *pool = test_pool_open(runtime, &options);
    expect_soon(&lines, " failed: connect");
    uint32_t accepted = test_pool_log(pool, 0, 0, 0, 1000, 100);
    expect_soon(&lines, "messages are being lost: full ");
    collector_listen(collector, true);
    expect_soon(&lines, "connected to unix:");
    char text[100];
    (void)snprintf(text, sizeof(text), "lost were %u messages, %u bytes (full %u)", 1000 - accepted,
                   (1000 - accepted) * 100, 1000 - accepted);
    expect_soon(&lines, text);
    assert_int_equal(weir_pool_close(pool, 5000), 0);
    weir_pool_destroy(pool);
    weir_runtime_destroy(runtime);
    collector_free(collector);
    lines_free(&lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trouble_begins_and_ends),
        cmocka_unit_test(short_trouble_has_one_line),
        cmocka_unit_test(flapping_is_a_line_a_second),
        cmocka_unit_test(losses_begin_and_end),
        cmocka_unit_test(losses_are_looked_for_while_down),
        cmocka_unit_test(themes_take_turns),
        cmocka_unit_test(end_says_the_rest),
        cmocka_unit_test(nobody_listens),
        cmocka_unit_test(longest_lines_fit),
        cmocka_unit_test(at_random),
        cmocka_unit_test(a_pool_tells),
    };
    return cmocka_run_group_tests_name("report", tests, NULL, NULL);
}
