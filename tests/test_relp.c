// Tests of RELP's parser against one that reads whole texts.
//
// Every stream is fed in every split, byte by byte and in random chunks that end where their memory
// ends; every byte value is tried at every place of a session.
#include "tests/support_relp_reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support_random.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define RANDOM_RUNS 20000

#define LETTERS_32 "abcdefghijklmnopqrstuvwxyzABCDEF"
#define SESSION                                                                                    \
    "1 rsp 93 200 OK\nrelp_version=0\nrelp_software=librelp,1.11.0,http://librelp.adiscon.com\n"   \
    "commands=syslog\n2 rsp 6 200 OK\n000000003 rsp 6 200 OK\n4 rsp 15 500 no\nreally\n!\n"        \
    "0 hint 3 a b\n5 rsp 3 200\n6 rsp 0\n7 rsp 0 \n0 serverclose 0\n"

static void test_a_session_in_every_split(void **state)
{
    (void)state;
    static struct event events[EVENTS_MAX];
    static const struct {
        enum weir_relp_event event;
        uint32_t number, code, data_bytes;
    } said[] = {
        {WEIR_RELP_ANSWER, 1, 200, 93}, {WEIR_RELP_ANSWER, 2, 200, 6},
        {WEIR_RELP_ANSWER, 3, 200, 6},  {WEIR_RELP_ANSWER, 4, 500, 15},
        {WEIR_RELP_HINT, 0, 0, 3},      {WEIR_RELP_ANSWER, 5, 200, 3},
        {WEIR_RELP_ANSWER, 6, 0, 0},    {WEIR_RELP_ANSWER, 7, 0, 0},
        {WEIR_RELP_CLOSE, 0, 0, 0},
    };
    // The reader above, held against what a person reads.
    assert_int_equal(events_read(SESSION, strlen(SESSION), events), COUNT(said));
    for (size_t index = 0; index < COUNT(said); index++) {
        assert_int_equal(events[index].event, said[index].event);
        assert_int_equal(events[index].number, said[index].number);
        assert_int_equal(events[index].code, said[index].code);
        assert_int_equal(events[index].data_bytes, said[index].data_bytes);
    }
    assert_string_equal(events[4].command, "hint");
    assert_memory_equal(events[3].kept, "500 no\nreally\n!", 15);
    feed_in_every_split(SESSION, strlen(SESSION));
}

// What an ended frame left stays until the next byte.
static void test_fields_stay_until_the_next_byte(void **state)
{
    (void)state;
    static struct weir_relp_parser parser;
    size_t used;
    memset(&parser, 0, sizeof(parser));
    assert_int_equal(weir_relp_parse(&parser, NULL, 0, &used), WEIR_RELP_NOTHING);
    assert_int_equal(used, 0);
    const unsigned char *text = (const unsigned char *)"12 rsp 6 200 OK\n13 rsp 0\n";
    assert_int_equal(weir_relp_parse(&parser, text, 25, &used), WEIR_RELP_ANSWER);
    assert_int_equal(used, 16);
    assert_int_equal(weir_relp_parse(&parser, NULL, 0, &used), WEIR_RELP_NOTHING);
    assert_int_equal(parser.number, 12);
    assert_int_equal(parser.code, 200);
    assert_string_equal(parser.data, "200 OK");
    assert_int_equal(weir_relp_parse(&parser, text + 16, 9, &used), WEIR_RELP_ANSWER);
    assert_int_equal(used, 9);
    assert_int_equal(parser.number, 13);
    assert_int_equal(parser.code, 0);
    assert_int_equal(parser.data_bytes, 0);
    assert_string_equal(parser.data, "");
}

// ---- Violations ----

static const struct {
    const char *text;
    const char *reason;
    size_t used; // 0: all of it
} violations[] = {
    {" 1 rsp 0\n", BAD_NUMBER, 1},
    {"\n", BAD_NUMBER, 0},
    {"-", BAD_NUMBER, 0},
    {"x", BAD_NUMBER, 0},
    {"HTTP/1.1 400 Bad Request\r\n", BAD_NUMBER, 1},
    {"<13>hello\n", BAD_NUMBER, 1},
    {"1\n", BAD_NUMBER, 0},
    {"12a", BAD_NUMBER, 0},
    {"1\t", BAD_NUMBER, 0},
    {"1000000000", LONG_NUMBER, 0},
    {"0000000001 rsp 0\n", LONG_NUMBER, 10},
    {"999999999\n", BAD_NUMBER, 0},
    {"1  rsp 0\n", BAD_COMMAND, 3},
    {"1 1", BAD_COMMAND, 0},
    {"1 \n", BAD_COMMAND, 0},
    {"1 rsp\n", BAD_COMMAND, 0},
    {"1 rsp\t", BAD_COMMAND, 0},
    {"0 server-close 0\n", BAD_COMMAND, 9},
    {"0 hint1 0\n", BAD_COMMAND, 7},
    {"0 " LETTERS_32 "G", LONG_COMMAND, 0},
    {"1 " LETTERS_32 "G", LONG_COMMAND, 0},
    {"1 syslog 5 hello\n", OTHER_COMMAND, 9},
    {"1 open 0\n", OTHER_COMMAND, 7},
    {"9 close 0\n", OTHER_COMMAND, 8},
    {"1 serverclose 0\n", OTHER_COMMAND, 14},
    {"1 RSP 6 200 OK\n", OTHER_COMMAND, 6},
    {"1 rs 0\n", OTHER_COMMAND, 5},
    {"1 rspx 0\n", OTHER_COMMAND, 7},
    {"1 rsp  6 200 OK\n", BAD_LENGTH, 7},
    {"1 rsp \n", BAD_LENGTH, 0},
    {"1 rsp -1", BAD_LENGTH, 7},
    {"1 rsp +1", BAD_LENGTH, 7},
    {"1 rsp 0x", BAD_LENGTH, 0},
    {"1 rsp 6\r", BAD_LENGTH, 0},
    {"1 rsp 0\r\n", BAD_LENGTH, 8},
    {"1 rsp 0000000000", LONG_LENGTH, 0},
    {"1 rsp 0000000006 200 OK\n", LONG_LENGTH, 16},
    {"1 rsp 131073 ", LONG_FRAME, 12},
    {"1 rsp 999999999 ", LONG_FRAME, 12},
    {"1 rsp 000131073", LONG_FRAME, 0},
    {"1 rsp 6\n", NO_DATA, 0},
    {"1 rsp 6 200 OK!", BAD_TRAILER, 0},
    {"1 rsp 6 200 OK\r\n", BAD_TRAILER, 15},
    {"1 rsp 5 200 OK\n", BAD_TRAILER, 14},
    {"1 rsp 0 x", BAD_TRAILER, 0},
    {"1 rsp 0  \n", BAD_TRAILER, 9},
    {"0 hint 2 abc", BAD_TRAILER, 0},
    {"1 rsp 2 OK\n", BAD_CODE, 0},
    {"1 rsp 1 2\n", BAD_CODE, 0},
    {"1 rsp 2 20\n", BAD_CODE, 0},
    {"1 rsp 3 20 \n", BAD_CODE, 0},
    {"1 rsp 4 2000\n", BAD_CODE, 0},
    {"1 rsp 5 200OK\n", BAD_CODE, 0},
    {"1 rsp 4 200\t\n", BAD_CODE, 0},
    {"1 rsp 4  200\n", BAD_CODE, 0},
    {"1 rsp 6 OK 200\n", BAD_CODE, 0},
    {"1 rsp 4 +200\n", BAD_CODE, 0},
    {"1 rsp 1 \n\n", BAD_CODE, 0},
};

static void test_every_violation_by_its_reason(void **state)
{
    (void)state;
    for (size_t index = 0; index < COUNT(violations); index++) {
        const char *text = violations[index].text;
        static struct event events[EVENTS_MAX];
        static struct weir_relp_parser parser;
        size_t bytes = strlen(text);
        size_t used = 0;
        memset(&parser, 0, sizeof(parser));
        enum weir_relp_event event =
            weir_relp_parse(&parser, (const unsigned char *)text, bytes, &used);
        if (event != WEIR_RELP_VIOLATION) {
            fail_msg("'%s': event %d, should be: %s", text, (int)event, violations[index].reason);
        }
        assert_string_equal(weir_relp_reason(&parser), violations[index].reason);
        if (used != (violations[index].used > 0 ? violations[index].used : bytes)) {
            fail_msg("'%s': found after %zu bytes", text, used);
        }
        // The reader of whole texts says the same, so the splits are worth something.
        assert_int_equal(events_read(text, bytes, events), 1);
        assert_int_equal(events[0].end, used);
        feed_in_every_split(text, bytes);
    }
}

// Also after frames that were right, and with a few words and no more.
static void test_a_violation_after_good_frames(void **state)
{
    (void)state;
    for (size_t index = 0; index < COUNT(violations); index++) {
        char text[200];
        (void)snprintf(text, sizeof(text), "1 rsp 6 200 OK\n0 hint 0\n%s", violations[index].text);
        feed_in_every_split(text, strlen(text));
        assert_true(strlen(violations[index].reason) < 60);
    }
}

// Each of the 256 values at each place of a session.
static void test_every_byte_at_every_place(void **state)
{
    (void)state;
    static struct event events[EVENTS_MAX];
    static struct feeder feeder;
    char text[sizeof(SESSION)];
    const size_t bytes = strlen(SESSION);
    size_t violated_count = 0;
    for (size_t at = 0; at < bytes; at++) {
        for (int byte = 0; byte < 256; byte++) {
            memcpy(text, SESSION, bytes);
            text[at] = (char)byte;
            size_t count = events_read(text, bytes, events);
            violated_count += events[count - 1].event == WEIR_RELP_VIOLATION ? 1 : 0;
            feeder_init(&feeder, events, count);
            feed(&feeder, text, bytes);
            feed_ended(&feeder);
        }
    }
    assert_true(violated_count > bytes * 256 / 10);
}

// ---- Bounds ----

static void expect_one(const char *text, size_t bytes, enum weir_relp_event event)
{
    static struct event events[EVENTS_MAX];
    static struct feeder feeder;
    assert_int_equal(events_read(text, bytes, events), 1);
    assert_int_equal(events[0].event, event);
    assert_int_equal(events[0].end, bytes);
    feeder_init(&feeder, events, 1);
    feed(&feeder, text, bytes);
    feed_ended(&feeder);
}

static void test_what_is_just_within_bounds(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum weir_relp_event event;
    } rows[] = {
        {"999999999 rsp 6 200 OK\n", WEIR_RELP_ANSWER},
        {"000000000 hint 0\n", WEIR_RELP_HINT},
        {"000000000 serverclose 0\n", WEIR_RELP_CLOSE},
        {"0 serverclose 3 bye\n", WEIR_RELP_CLOSE},
        {"0 serverclose 0 \n", WEIR_RELP_CLOSE},
        {"0 ServerClose 0\n", WEIR_RELP_HINT},
        {"0 serverclosed 0\n", WEIR_RELP_HINT},
        {"0 rsp 6 200 OK\n", WEIR_RELP_HINT},
        {"0 rsp 2 OK\n", WEIR_RELP_HINT},
        {"0 x 0\n", WEIR_RELP_HINT},
        {"0 syslog 1 x\n", WEIR_RELP_HINT},
        {"0 " LETTERS_32 " 0\n", WEIR_RELP_HINT},
        {"1 rsp 000000006 200 OK\n", WEIR_RELP_ANSWER},
        {"1 rsp 000000000\n", WEIR_RELP_ANSWER},
        {"1 rsp 00 \n", WEIR_RELP_ANSWER},
        {"1 rsp 3 000\n", WEIR_RELP_ANSWER},
        {"1 rsp 4 999 \n", WEIR_RELP_ANSWER},
        {"1 rsp 4 200\n\n", WEIR_RELP_ANSWER},
    };
    for (size_t index = 0; index < COUNT(rows); index++) {
        expect_one(rows[index].text, strlen(rows[index].text), rows[index].event);
        feed_in_every_split(rows[index].text, strlen(rows[index].text));
    }
    // Not terminated by what it holds.
    expect_one("0 hint 5 a\0b\0c\n", 15, WEIR_RELP_HINT);
    expect_one("1 rsp 6 200 \0x\n", 15, WEIR_RELP_ANSWER);
}

static void test_data_is_kept_up_to_a_limit(void **state)
{
    (void)state;
    static const size_t sizes[] = {1,   2,    510,  511,   512,    513,
                                   514, 1000, 4096, 65536, 131071, 131072};
    static struct event events[EVENTS_MAX];
    static struct feeder feeder;
    char *text = malloc(140000);
    assert_non_null(text);
    for (size_t index = 0; index < COUNT(sizes); index++) {
        int head = snprintf(text, 100, "0 x %zu ", sizes[index]);
        for (size_t at = 0; at < sizes[index]; at++) {
            text[(size_t)head + at] = (char)(at * 7 + at / 256);
        }
        size_t bytes = (size_t)head + sizes[index];
        text[bytes++] = '\n';
        memcpy(text + bytes, "8 rsp 0\n", 8);
        bytes += 8;
        assert_int_equal(events_read(text, bytes, events), 2);
        assert_int_equal(events[0].data_bytes, sizes[index]);
        // Around the limit, in two pieces each.
        for (size_t first = 500; first < 540; first++) {
            size_t cut = first < bytes ? first : bytes;
            feeder_init(&feeder, events, 2);
            feed(&feeder, text, cut);
            feed(&feeder, text + cut, bytes - cut);
            feed_ended(&feeder);
        }
        feeder_init(&feeder, events, 2);
        for (size_t at = 0; at < bytes; at++) {
            feed(&feeder, text + at, 1);
        }
        feed_ended(&feeder);
    }
    free(text);
}

// ---- At random ----

// Mostly a right frame, sometimes nearly one.
static size_t random_frame(uint64_t *random, char *to)
{
    static const char *const commands[] = {"rsp", "rsp", "rsp", "serverclose", "hint", "syslog"};
    static const char *const data[] = {"", "200 OK", "200", "500 no\nmore", "20", "2000", "x"};
    const char *command = commands[random_below(random, COUNT(commands))];
    bool hint =
        strcmp(command, "rsp") != 0 ? random_below(random, 20) > 0 : random_below(random, 20) == 0;
    unsigned number = hint ? 0 : 1 + (unsigned)random_below(random, 999999999);
    const char *text = data[random_below(random, random_below(random, 4) == 0 ? COUNT(data) : 4)];
    int bytes = snprintf(
        to, 100, random_below(random, 2) == 0 ? "%u %s %zu%s%s\n" : "%09u %s %zu%s%s\n", number,
        command, strlen(text), text[0] != '\0' || random_below(random, 4) == 0 ? " " : "", text);
    if (random_below(random, 30) == 0) {
        to[random_below(random, (size_t)bytes)] = (char)random_next(random);
    }
    return (size_t)bytes;
}

static void test_random_streams_in_random_chunks(void **state)
{
    (void)state;
    static struct event events[EVENTS_MAX];
    static struct feeder feeder;
    uint64_t random = seed_get();
    unsigned whole = 0, broken = 0;
    for (int run = 0; run < RANDOM_RUNS; run++) {
        char text[2000];
        size_t bytes = 0;
        for (size_t frames = random_below(&random, 16); frames > 0; frames--) {
            bytes += random_frame(&random, text + bytes);
        }
        // Often in mid-frame.
        bytes -= bytes > 0 && random_below(&random, 2) == 0 ? random_below(&random, 10) % bytes : 0;
        size_t count = events_read(text, bytes, events);
        bool violation = count > 0 && events[count - 1].event == WEIR_RELP_VIOLATION;
        whole += !violation && count > 3 ? 1 : 0;
        broken += violation && count > 3 ? 1 : 0;
        feeder_init(&feeder, events, count);
        size_t most = 1 + random_below(&random, random_below(&random, 2) == 0 ? 4 : 300);
        for (size_t at = 0; at < bytes;) {
            size_t take = random_below(&random, most + 1);
            take = take < bytes - at ? take : bytes - at;
            feed(&feeder, text + at, take);
            at += take;
        }
        feed_ended(&feeder);
    }
    assert_true(whole > RANDOM_RUNS / 10 && broken > RANDOM_RUNS / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_session_in_every_split),
        cmocka_unit_test(test_fields_stay_until_the_next_byte),
        cmocka_unit_test(test_every_violation_by_its_reason),
        cmocka_unit_test(test_a_violation_after_good_frames),
        cmocka_unit_test(test_every_byte_at_every_place),
        cmocka_unit_test(test_what_is_just_within_bounds),
        cmocka_unit_test(test_data_is_kept_up_to_a_limit),
        cmocka_unit_test(test_random_streams_in_random_chunks),
    };
    return cmocka_run_group_tests_name("relp", tests, NULL, NULL);
}
