// Tests of the simulator's trace: the hash, the last events, and the lines of the story.
#include "sim/trace.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support_random.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static struct sim_trace *trace;
static FILE *file;
static char *text;
static size_t text_bytes;

static int trace_setup(void **state)
{
    (void)state;
    trace = sim_trace_create();
    file = open_memstream(&text, &text_bytes);
    if (trace == NULL || file == NULL) {
        return -1;
    }
    sim_trace_begin(trace, NULL, false);
    return 0;
}

static int trace_teardown(void **state)
{
    (void)state;
    sim_trace_destroy(trace);
    fclose(file);
    free(text);
    return 0;
}

// What was written since the last call.
static const char *written(void)
{
    static char copy[1 << 16];
    fflush(file);
    assert_true(text_bytes < sizeof(copy));
    memcpy(copy, text, text_bytes);
    copy[text_bytes] = '\0';
    rewind(file);
    return copy;
}

static size_t lines_of(const char *string)
{
    size_t lines = 0;
    for (; *string != '\0'; string++) {
        lines += *string == '\n';
    }
    return lines;
}

// ---- The hash ----

static void test_hash_depends_on_every_word(void **state)
{
    (void)state;
    // Each field in turn, low and high bits, small changes only.
    static const uint64_t changes[] = {1, 2, 256, UINT64_C(1) << 31};
    uint64_t hashes[64];
    size_t count = 0;
    for (int field = -1; field < 6; field++) {
        for (size_t change = 0; change < COUNT_OF(changes); change++) {
            uint64_t by = changes[change];
            uint64_t word[6] = {SIM_EVENT_SEND, 3, 1000000050, 7, 512, 11};
            if (field == 0) {
                by %= 30; // a kind is one byte
                by = by == 8 ? 3 : by == 16 ? 4 : by;
            }
            if (field >= 0) {
                word[field] ^= by;
            }
            sim_trace_begin(trace, NULL, false);
            sim_trace_event(trace, (enum sim_event_kind)word[0], (uint32_t)word[1], word[2],
                            (uint32_t)word[3], word[4], word[5], NULL);
            hashes[count++] = sim_trace_hash(trace);
            if (field < 0) {
                break;
            }
        }
    }
    for (size_t one = 0; one < count; one++) {
        for (size_t other = one + 1; other < count; other++) {
            assert_true(hashes[one] != hashes[other]);
        }
    }
}

static void test_hash_depends_on_order_and_number_of_events(void **state)
{
    (void)state;
    uint64_t hashes[40];
    for (size_t count = 0; count < COUNT_OF(hashes); count++) {
        sim_trace_begin(trace, NULL, false);
        for (size_t index = 0; index < count; index++) { // all alike, and all zero
            sim_trace_event(trace, SIM_EVENT_SWITCH, 0, 0, 0, 0, 0, NULL);
        }
        hashes[count] = sim_trace_hash(trace);
        assert_int_equal(sim_trace_count(trace), count);
        for (size_t other = 0; other < count; other++) {
            assert_true(hashes[count] != hashes[other]);
        }
    }
    uint64_t orders[2];
    for (uint32_t order = 0; order < 2; order++) {
        sim_trace_begin(trace, NULL, false);
        sim_trace_event(trace, SIM_EVENT_SEND, order, 5, 0, 1, 2, NULL);
        sim_trace_event(trace, SIM_EVENT_SEND, 1 - order, 5, 0, 1, 2, NULL);
        orders[order] = sim_trace_hash(trace);
    }
    assert_true(orders[0] != orders[1]);
}

static void test_hash_depends_on_all_of_a_text(void **state)
{
    (void)state;
    static const char *const texts[] = {"",         "a",         "b",          "ab",
                                        "abcdefgh", "abcdefghi", "abcdefgh\t", "abcdefgi"};
    uint64_t hashes[COUNT_OF(texts) + 2];
    char longer[300];
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    for (size_t index = 0; index < COUNT_OF(hashes); index++) {
        if (index == COUNT_OF(texts) + 1) {
            longer[290] = 'y'; // far beyond what the ring keeps
        }
        sim_trace_begin(trace, NULL, false);
        sim_trace_text(trace, SIM_EVENT_NOTE, 0, 0, 0,
                       index < COUNT_OF(texts) ? texts[index] : longer);
        hashes[index] = sim_trace_hash(trace);
        for (size_t other = 0; other < index; other++) {
            assert_true(hashes[index] != hashes[other]);
        }
    }
}

static void test_hash_ignores_code_positions_and_stories(void **state)
{
    (void)state;
    uint64_t hashes[4];
    for (size_t run = 0; run < COUNT_OF(hashes); run++) {
        sim_trace_begin(trace, run % 2 == 0 ? NULL : file, run == 3);
        sim_trace_event(trace, SIM_EVENT_LOAD, 1, 2, 3, 4, 5, run < 2 ? NULL : (void *)trace);
        sim_trace_text(trace, SIM_EVENT_NOTE, 1, 2, 3, "note");
        hashes[run] = sim_trace_hash(trace);
        assert_true(hashes[run] == hashes[0]);
    }
}

// The same on every platform; a change makes all recorded hashes void.
static void test_hash_is_golden(void **state)
{
    (void)state;
    uint64_t random = 1;
    for (uint32_t index = 0; index < 1000; index++) {
        uint64_t word[4]; // one by one: arguments are evaluated in any order
        for (size_t place = 0; place < COUNT_OF(word); place++) {
            word[place] = random_next(&random);
        }
        sim_trace_event(trace, index % SIM_EVENTS_COUNT, index % 80, word[0] >> 20, index, word[1],
                        word[2], NULL);
        sim_trace_text(trace, SIM_EVENT_DRAW, index % 80, index, word[3], "count=\xc3\xa9 7");
    }
    assert_int_equal(sim_trace_count(trace), 2000);
    assert_int_equal(sim_trace_hash(trace), UINT64_C(0x5ca8f170fc414b57));
}

// Half of the hash's bits change with any bit of an event, as in a coin's tosses.
static void test_hash_spreads(void **state)
{
    (void)state;
    uint64_t changed = 0;
    const uint64_t trials = 20000;
    uint64_t random = 3;
    for (uint64_t trial = 0; trial < trials; trial++) {
        uint64_t a = random_next(&random) >> (random_next(&random) % 64);
        uint64_t b = random_next(&random) >> (random_next(&random) % 64);
        uint64_t flip = UINT64_C(1) << random_next(&random) % 64;
        uint64_t hashes[2];
        for (uint32_t side = 0; side < 2; side++) {
            sim_trace_begin(trace, NULL, false);
            sim_trace_event(trace, SIM_EVENT_SEND, 1, 50, 7, side == 0 ? a : a ^ flip, b, NULL);
            sim_trace_event(trace, SIM_EVENT_SEND, 1, 50, 7, 1, 1, NULL);
            hashes[side] = sim_trace_hash(trace);
        }
        assert_true(hashes[0] != hashes[1]);
        changed += (uint64_t)__builtin_popcountll(hashes[0] ^ hashes[1]);
    }
    assert_true(changed > trials * 31 && changed < trials * 33);
}

// ---- The last events ----

static void test_last_events_are_kept_oldest_first(void **state)
{
    (void)state;
    static const uint32_t counts[] = {0, 1, 47, 48, 49, 95, 96, 97, 1000};
    for (size_t run = 0; run < COUNT_OF(counts); run++) {
        sim_trace_begin(trace, NULL, false);
        for (uint32_t index = 0; index < counts[run]; index++) {
            if (index % 5 == 0) {
                sim_trace_text(trace, SIM_EVENT_NOTE, 0, 0, 0, "text that must not stay");
            } else {
                sim_trace_event(trace, SIM_EVENT_SEND, 0, 0, 0, index, 0, NULL);
            }
        }
        sim_trace_last(trace, file);
        const char *line = written();
        uint32_t kept = counts[run] < SIM_LAST_EVENTS ? counts[run] : SIM_LAST_EVENTS;
        assert_int_equal(lines_of(line), kept);
        for (uint32_t index = counts[run] - kept; index < counts[run]; index++) {
            char wanted[64];
            snprintf(wanted, sizeof(wanted), "  #%" PRIu32 "  t=", index);
            assert_memory_equal(line, wanted, strlen(wanted));
            const char *end = strchr(line, '\n');
            bool has_text =
                strstr(line, "must not stay") != NULL && strstr(line, "must not stay") < end;
            assert_true(has_text == (index % 5 == 0));
            line = end + 1;
        }
    }
}

// ---- The story ----

static void test_story_lines(void **state)
{
    (void)state;
    static const struct {
        enum sim_event_kind kind;
        uint32_t object;
        uint64_t a, b;
        const char *line;
    } events[] = {
        {SIM_EVENT_SEND, 7, 512, (uint64_t)-11, "send  descriptor 7  bytes 512  result -11"},
        {SIM_EVENT_LOAD, 2, 2, 1, "load  atomic 2  acquire  stores behind 1"},
        {SIM_EVENT_LOAD, 2, 99, 1, "load  atomic 2  order 99  stores behind 1"},
        {SIM_EVENT_SWITCH, 0, 4, 0, "switch  to actor 4"},
        {SIM_EVENT_PROCESS, 0, 3, 1, "process  process 3  stop"},
        {SIM_EVENT_POLLER, 9, 5, 0, "poller  descriptor 9  arm  result 0"},
        {SIM_EVENT_STATE, 9, 1, 10, "state  descriptor 9  outstanding  result 10"},
        {SIM_EVENT_BLOCK, 1, 0, UINT64_MAX, "block  object 1  a sleep  no deadline"},
        {SIM_EVENT_BLOCK, 1, 3, 2000000001,
         "block  object 1  futex_wait on word  deadline 2.000000001 s"},
        {SIM_EVENT_READY, 0, 2, 1, "ready  actor 2  deadline"},
        {SIM_EVENT_CLOCK, 0, 1500000000, 0, "clock  now 1.500000000 s"},
        {SIM_EVENT_THREAD_END, 5, 6, 7, "thread-end"},
        {SIM_EVENT_HEAL, 0, 0, 0, "heal"},
        {SIM_EVENT_DEVIATION, WEIR_SIM_STALE, 2, 3,
         "deviation  stale  value 2  of 3  (a load returns an older store)"},
        {SIM_EVENT_DEVIATION, 77, 2, 3, "deviation  kind 77  value 2  of 3"},
    };
    sim_trace_begin(trace, file, false);
    for (size_t index = 0; index < COUNT_OF(events); index++) {
        char wanted[200];
        sim_trace_event(trace, events[index].kind, 3, 1000000050 + index, events[index].object,
                        events[index].a, events[index].b, NULL);
        snprintf(wanted, sizeof(wanted), "  #%zu  t=1.0000000%zu s  actor 3  %s\n", index,
                 50 + index, events[index].line);
        assert_string_equal(written(), wanted);
    }
}

static void test_story_of_texts(void **state)
{
    (void)state;
    sim_trace_begin(trace, file, false);
    sim_trace_text(trace, SIM_EVENT_NOTE, 1, 2000000000, 5, "two\nlines");
    assert_string_equal(written(), "  #0  t=2.000000000 s  actor 1  note  two lines\n");
    sim_trace_text(trace, SIM_EVENT_DRAW, 1, 2000000000, 5, "threads=5");
    assert_string_equal(written(), "  #1  t=2.000000000 s  actor 1  draw  threads=5\n");
    sim_trace_text(trace, SIM_EVENT_VERDICT, 1, 2000000000, WEIR_SIM_RACE, "queue-head");
    assert_string_equal(written(), "  #2  t=2.000000000 s  actor 1  verdict  race  queue-head\n");
    char longer[300];
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    sim_trace_text(trace, SIM_EVENT_NOTE, 1, 2000000000, 5, longer);
    assert_int_equal(strspn(strchr(written(), 'x'), "x"),
                     sizeof(((struct sim_event *)0)->text) - 1);
}

static void test_story_of_deviations_only(void **state)
{
    (void)state;
    sim_trace_begin(trace, file, true);
    for (uint32_t kind = 0; kind < SIM_EVENTS_COUNT; kind++) {
        sim_trace_event(trace, kind, 0, 0, 0, 0, 0, NULL);
        bool told = kind == SIM_EVENT_DEVIATION || kind == SIM_EVENT_NOTE;
        assert_int_equal(lines_of(written()), told);
    }
    sim_trace_text(trace, SIM_EVENT_DRAW, 0, 0, 1, "a=1");
    sim_trace_text(trace, SIM_EVENT_NOTE, 0, 0, 1, "told");
    assert_non_null(strstr(written(), "  note  told\n"));
    sim_trace_begin(trace, NULL, false);
    sim_trace_text(trace, SIM_EVENT_NOTE, 0, 0, 1, "nobody listens");
    assert_int_equal(strlen(written()), 0);
}

static void test_every_event_prints_one_line_whatever_its_values(void **state)
{
    (void)state;
    static const uint64_t values[] = {0, 1, 5, 99, UINT64_C(1) << 63, UINT64_MAX};
    sim_trace_begin(trace, file, false);
    for (uint32_t kind = 0; kind < SIM_EVENTS_COUNT; kind++) {
        for (size_t index = 0; index < COUNT_OF(values); index++) {
            uint64_t value = values[index];
            sim_trace_event(trace, kind, UINT32_MAX, value, (uint32_t)value, value, value, NULL);
            assert_int_equal(lines_of(written()), 1);
        }
    }
}

// Global, so that its symbol keeps its name.
int test_sim_trace_anchor(void);
int test_sim_trace_anchor(void)
{
    return 7;
}

// What nm says of a symbol of this very program; false: there is no nm.
static bool symbol_find(const char *symbol, uint64_t *value)
{
    char command[1024], path[512], line[512] = "";
    ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
    assert_true(length > 0);
    path[length] = '\0';
    snprintf(command, sizeof(command), "nm '%s' 2>/dev/null | grep -w '%s'", path, symbol);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    bool found = fgets(line, sizeof(line), pipe) != NULL;
    pclose(pipe);
    *value = strtoull(line, NULL, 16);
    return found;
}

static void test_code_positions_are_offsets_into_the_image(void **state)
{
    (void)state;
    uintptr_t address = (uintptr_t)&test_sim_trace_anchor, offset = 0;
    sim_trace_begin(trace, file, false);
    sim_trace_event(trace, SIM_EVENT_HEAL, 0, 0, 0, 0, 0, (const void *)(address + 1));
    assert_int_equal(
        sscanf(written(), "  #0  t=0.000000000 s  actor 0  heal  at +0x%" SCNxPTR "\n", &offset),
        1);
    uint64_t value = 0;
    if (symbol_find("test_sim_trace_anchor", &value)) {
        assert_true(offset == value + 1);
    }
    // In a library: with its name. Outside of everything: none.
    sim_trace_event(trace, SIM_EVENT_HEAL, 0, 0, 0, 0, 0, (const void *)(uintptr_t)&popen);
    assert_non_null(strstr(written(), "  at "));
    sim_trace_event(trace, SIM_EVENT_HEAL, 0, 0, 0, 0, 0, (const void *)(uintptr_t)16);
    assert_null(strstr(written(), " at "));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, trace_setup, trace_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_hash_depends_on_every_word),
        TEST(test_hash_depends_on_order_and_number_of_events),
        TEST(test_hash_depends_on_all_of_a_text),
        TEST(test_hash_ignores_code_positions_and_stories),
        TEST(test_hash_is_golden),
        TEST(test_hash_spreads),
        TEST(test_last_events_are_kept_oldest_first),
        TEST(test_story_lines),
        TEST(test_story_of_texts),
        TEST(test_story_of_deviations_only),
        TEST(test_every_event_prints_one_line_whatever_its_values),
        TEST(test_code_positions_are_offsets_into_the_image),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
