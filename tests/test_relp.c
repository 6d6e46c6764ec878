// Tests of RELP: the parser against one that reads whole texts, the window against a list.
//
// Every stream is fed in every split, byte by byte and in random chunks that end where their memory
// ends; every byte value is tried at every place of a session; the window runs over the end of its
// numbers and of its ring.
#include "writer/relp.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support_random.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define RANDOM_RUNS 20000
#define WINDOW_RUNS 300
#define WINDOW_STEPS 4000
#define EVENTS_MAX 64

#define BAD_NUMBER "the frame's number is not a number"
#define LONG_NUMBER "the frame's number has more than nine digits"
#define BAD_COMMAND "the frame's command is not a word"
#define LONG_COMMAND "the frame's command has more than 32 letters"
#define OTHER_COMMAND "a command that only clients send"
#define BAD_LENGTH "the frame's length is not a number"
#define LONG_LENGTH "the frame's length has more than nine digits"
#define LONG_FRAME "the frame is longer than any a server needs"
#define NO_DATA "the frame has a length and no data"
#define BAD_TRAILER "the frame does not end with a newline"
#define BAD_CODE "an answer that does not begin with a code of three digits"

#define LETTERS_32 "abcdefghijklmnopqrstuvwxyzABCDEF"
#define SESSION                                                                                    \
    "1 rsp 93 200 OK\nrelp_version=0\nrelp_software=librelp,1.11.0,http://librelp.adiscon.com\n"   \
    "commands=syslog\n2 rsp 6 200 OK\n000000003 rsp 6 200 OK\n4 rsp 15 500 no\nreally\n!\n"        \
    "0 hint 3 a b\n5 rsp 3 200\n6 rsp 0\n7 rsp 0 \n0 serverclose 0\n"

// ---- A reader of whole texts ----

struct event {
    enum weir_relp_event event;
    size_t end; // where it ended in the stream
    const char *reason;
    uint32_t number, code, data_bytes;
    char command[WEIR_RELP_COMMAND_BYTES_MAX + 1];
    size_t kept_bytes;
    char kept[WEIR_RELP_DATA_BYTES_KEPT];
};

static bool is_digit(char byte)
{
    return strchr("0123456789", byte) != NULL && byte != '\0';
}

static bool is_letter(char byte)
{
    return strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", byte) != NULL &&
           byte != '\0';
}

static void violated(struct event *event, const char *reason, size_t end)
{
    event->event = WEIR_RELP_VIOLATION;
    event->reason = reason;
    event->end = end;
}

// Reads a number of up to nine digits; true when it stands there whole, with the byte after it.
static bool read_number(struct event *event, const char *text, size_t bytes, size_t *at,
                        size_t most, const char *bad, const char *longer, uint32_t *value)
{
    size_t begin = *at;
    uint64_t sum = 0;
    for (; *at < bytes && is_digit(text[*at]); ++*at) {
        sum = sum * 10 + (uint64_t)(text[*at] - '0');
        if (*at - begin == 9) {
            violated(event, longer, *at + 1);
            return false;
        }
        if (sum > most) {
            violated(event, LONG_FRAME, *at + 1);
            return false;
        }
    }
    *value = (uint32_t)sum;
    if (*at < bytes && (*at == begin || (text[*at] != ' ' && text[*at] != '\n'))) {
        violated(event, bad, *at + 1);
        return false;
    }
    return *at < bytes;
}

static void read_code(struct event *event, const char *data)
{
    if (event->data_bytes == 0) {
        return;
    }
    if (event->data_bytes < 3 || !is_digit(data[0]) || !is_digit(data[1]) || !is_digit(data[2]) ||
        (event->data_bytes > 3 && data[3] != ' ' && data[3] != '\n')) {
        violated(event, BAD_CODE, event->end);
        return;
    }
    event->code = (uint32_t)((data[0] - '0') * 100 + (data[1] - '0') * 10 + (data[2] - '0'));
}

static bool read_command(struct event *event, const char *text, size_t bytes, size_t *at)
{
    size_t letters = 0;
    while (*at + letters < bytes && is_letter(text[*at + letters])) {
        letters++;
    }
    if (letters > 32) {
        violated(event, LONG_COMMAND, *at + 33);
        return false;
    }
    if (*at + letters == bytes) {
        return false;
    }
    if (letters == 0 || text[*at + letters] != ' ') {
        violated(event, BAD_COMMAND, *at + letters + 1);
        return false;
    }
    memcpy(event->command, text + *at, letters);
    *at += letters + 1;
    if (event->number != 0 && strcmp(event->command, "rsp") != 0) {
        violated(event, OTHER_COMMAND, *at);
        return false;
    }
    return true;
}

// What a stream from its first byte says first. Nothing of an event but `event` and `reason`
// counts after a violation.
static struct event event_read(const char *text, size_t bytes)
{
    struct event event = {.event = WEIR_RELP_NOTHING, .end = bytes};
    size_t at = 0;
    if (!read_number(&event, text, bytes, &at, SIZE_MAX, BAD_NUMBER, LONG_NUMBER, &event.number)) {
        return event;
    }
    if (text[at++] != ' ') {
        violated(&event, BAD_NUMBER, at);
        return event;
    }
    if (!read_command(&event, text, bytes, &at) ||
        !read_number(&event, text, bytes, &at, 128 * 1024, BAD_LENGTH, LONG_LENGTH,
                     &event.data_bytes)) {
        return event;
    }
    if (text[at] == '\n' && event.data_bytes > 0) {
        violated(&event, NO_DATA, at + 1);
        return event;
    }
    const char *data = text + at + 1;
    if (text[at] == ' ') {
        at += 1 + event.data_bytes;
        if (at >= bytes) {
            return event;
        }
        if (text[at] != '\n') {
            violated(&event, BAD_TRAILER, at + 1);
            return event;
        }
    }
    event.end = at + 1;
    event.kept_bytes = event.data_bytes < 512 ? event.data_bytes : 512;
    memcpy(event.kept, data, event.kept_bytes);
    if (event.number == 0) {
        bool closes = strcmp(event.command, "serverclose") == 0;
        event.event = closes ? WEIR_RELP_CLOSE : WEIR_RELP_HINT;
    } else {
        event.event = WEIR_RELP_ANSWER;
        read_code(&event, data);
    }
    return event;
}

// All events of a stream, up to a violation.
static size_t events_read(const char *text, size_t bytes, struct event *events)
{
    size_t count = 0;
    for (size_t at = 0; at < bytes;) {
        assert_true(count < EVENTS_MAX);
        struct event event = event_read(text + at, bytes - at);
        if (event.event == WEIR_RELP_NOTHING) {
            break;
        }
        at += event.end;
        event.end = at;
        events[count++] = event;
        if (event.event == WEIR_RELP_VIOLATION) {
            break;
        }
    }
    return count;
}

// ---- Feeding ----

struct feeder {
    struct weir_relp_parser parser;
    const struct event *events; // what must come
    size_t events_count;
    size_t seen;
    size_t at; // in the stream
};

static void feeder_init(struct feeder *feeder, const struct event *events, size_t count)
{
    memset(feeder, 0, sizeof(*feeder));
    feeder->events = events;
    feeder->events_count = count;
}

static void expect_event(const struct feeder *feeder, enum weir_relp_event event)
{
    const struct weir_relp_parser *parser = &feeder->parser;
    if (feeder->seen == feeder->events_count) {
        fail_msg("event %d at byte %zu, but nothing more should come", (int)event, feeder->at);
    }
    const struct event *expected = &feeder->events[feeder->seen];
    if (event != expected->event || feeder->at != expected->end) {
        fail_msg("event %d at byte %zu, should be %d at byte %zu", (int)event, feeder->at,
                 (int)expected->event, expected->end);
    }
    if (event == WEIR_RELP_VIOLATION) {
        assert_string_equal(weir_relp_reason(parser), expected->reason);
        return;
    }
    assert_null(weir_relp_reason(parser));
    assert_int_equal(parser->number, expected->number);
    assert_int_equal(parser->code, expected->code);
    assert_int_equal(parser->data_bytes, expected->data_bytes);
    assert_string_equal(parser->command, expected->command);
    assert_memory_equal(parser->data, expected->kept, expected->kept_bytes);
    assert_int_equal(parser->data[expected->kept_bytes], 0);
}

// One chunk, in memory of just its size.
static void feed(struct feeder *feeder, const char *bytes, size_t count)
{
    unsigned char *chunk = malloc(count > 0 ? count : 1);
    assert_non_null(chunk);
    memcpy(chunk, bytes, count);
    size_t at = 0;
    for (;;) {
        size_t used = SIZE_MAX;
        enum weir_relp_event event =
            weir_relp_parse(&feeder->parser, chunk + at, count - at, &used);
        assert_true(used <= count - at);
        at += used;
        feeder->at += used;
        if (event == WEIR_RELP_NOTHING) {
            assert_int_equal(at, count);
            break;
        }
        if (event == WEIR_RELP_VIOLATION && used == 0) {
            // Again: after the first time it uses nothing and says the same.
            assert_int_equal(feeder->seen, feeder->events_count);
            assert_string_equal(weir_relp_reason(&feeder->parser),
                                feeder->events[feeder->seen - 1].reason);
            break;
        }
        expect_event(feeder, event);
        feeder->seen++;
    }
    free(chunk);
}

static void feed_ended(const struct feeder *feeder)
{
    assert_int_equal(feeder->seen, feeder->events_count);
}

// In one piece, byte by byte, and in two pieces everywhere; a short one in three.
static void feed_in_every_split(const char *text, size_t bytes)
{
    static struct event events[EVENTS_MAX];
    static struct feeder feeder;
    size_t count = events_read(text, bytes, events);
    size_t thirds = bytes <= 100 ? bytes : 0;
    feeder_init(&feeder, events, count);
    for (size_t at = 0; at < bytes; at++) {
        feed(&feeder, text + at, 1);
    }
    feed_ended(&feeder);
    for (size_t first = 0; first <= bytes; first++) {
        size_t second = thirds > 0 ? first : bytes;
        for (; second <= bytes; second++) {
            feeder_init(&feeder, events, count);
            feed(&feeder, text, first);
            feed(&feeder, text + first, second - first);
            feed(&feeder, text + second, bytes - second);
            feed_ended(&feeder);
        }
    }
}

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

// ---- Frames and numbers of the client ----

static void test_frames_byte_by_byte(void **state)
{
    (void)state;
    static const struct {
        uint32_t number;
        const char *open;
        const char *close;
    } rows[] = {
        {1, "1 open 53 relp_version=0\nrelp_software=weir,0.1\ncommands=syslog\n", "1 close 0\n"},
        {999999999, "999999999 open 53 relp_version=0\nrelp_software=weir,0.1\ncommands=syslog\n",
         "999999999 close 0\n"},
    };
    for (size_t index = 0; index < COUNT(rows); index++) {
        char to[WEIR_RELP_FRAME_BYTES_MAX + 1];
        memset(to, '#', sizeof(to));
        size_t bytes = weir_relp_open_write(to, rows[index].number);
        assert_int_equal(bytes, strlen(rows[index].open));
        assert_memory_equal(to, rows[index].open, bytes);
        assert_int_equal(to[WEIR_RELP_FRAME_BYTES_MAX], '#');
        bytes = weir_relp_close_write(to, rows[index].number);
        assert_int_equal(bytes, strlen(rows[index].close));
        assert_memory_equal(to, rows[index].close, bytes);
    }
    // The length is that of what follows it.
    const char *data = strstr(rows[0].open, "53 ") + 3;
    assert_int_equal(strlen(data), 53 + 1);
}

static void test_numbers(void **state)
{
    (void)state;
    assert_int_equal(weir_relp_number_next(0), 1);
    assert_int_equal(weir_relp_number_next(1), 2);
    assert_int_equal(weir_relp_number_next(999999998), 999999999);
    assert_int_equal(weir_relp_number_next(999999999), 1);
    static const struct {
        uint32_t number;
        const char *text;
    } rows[] = {{0, "000000000"},         {1, "000000001"},        {10, "000000010"},
                {123456789, "123456789"}, {99999999, "099999999"}, {999999999, "999999999"}};
    for (size_t index = 0; index < COUNT(rows); index++) {
        unsigned char to[11] = "##########";
        weir_relp_number_write(to, rows[index].number);
        assert_memory_equal(to, rows[index].text, 9);
        assert_int_equal(to[9], '#');
    }
}

static void test_answers_to_open(void **state)
{
    (void)state;
    static const char refused[] = "the server refused to open a session";
    static const char version[] = "the server does not speak version 0 of RELP";
    static const char syslog[] = "the server does not take the command syslog";
    static const struct {
        const char *data;
        const char *why;
    } rows[] = {
        {"200 OK\nrelp_version=0\nrelp_software=librelp,1.11.0,http://librelp.adiscon.com\n"
         "commands=syslog",
         NULL},
        {"200 OK\ncommands=syslog\nrelp_version=0\n", NULL},
        {"200\nrelp_version=0\ncommands=syslog\n\n", NULL},
        {"200 OK\nrelp_version=1,0\ncommands=starttls,syslog,eventlog", NULL},
        {"200 OK\nrelp_version=0\nx\n=\ncommands=\ncommands=syslog", NULL},
        {"500 required command not supported by client", refused},
        {"500 no\nrelp_version=0\ncommands=syslog", refused},
        {"201 OK\nrelp_version=0\ncommands=syslog", refused},
        {"", refused},
        {"200 OK", version},
        {"200 OK\n", version},
        {"200 relp_version=0\ncommands=syslog", version},
        {"200 OK\nrelp_version=1\ncommands=syslog", version},
        {"200 OK\nrelp_version=00\ncommands=syslog", version},
        {"200 OK\nrelp_version=\ncommands=syslog", version},
        {"200 OK\nrelp_version\ncommands=syslog", version},
        {"200 OK\nxrelp_version=0\ncommands=syslog", version},
        {"200 OK\nrelp_versions=0\ncommands=syslog", version},
        {"200 OK\nrelp_version:0\ncommands=syslog", version},
        {"200 OK\nrelp_version=0", syslog},
        {"200 OK\nrelp_version=0\n", syslog},
        {"200 OK\nrelp_version=0\ncommands=", syslog},
        {"200 OK\nrelp_version=0\ncommands=syslo", syslog},
        {"200 OK\nrelp_version=0\ncommands=syslogs", syslog},
        {"200 OK\nrelp_version=0\ncommands=Syslog", syslog},
        {"200 OK\nrelp_version=0\ncommands=a,,b,", syslog},
        {"200 OK\nrelp_version=0\nrelp_software=syslog", syslog},
    };
    for (size_t index = 0; index < COUNT(rows); index++) {
        static struct weir_relp_parser parser;
        char text[200];
        size_t used;
        memset(&parser, 0, sizeof(parser));
        int bytes = snprintf(text, sizeof(text), "1 rsp %zu %s\n", strlen(rows[index].data),
                             rows[index].data);
        assert_int_equal(
            weir_relp_parse(&parser, (const unsigned char *)text, (size_t)bytes, &used),
            WEIR_RELP_ANSWER);
        const char *why = weir_relp_open_refused(&parser);
        if (rows[index].why == NULL) {
            assert_null(why);
        } else if (why == NULL || strcmp(why, rows[index].why) != 0) {
            fail_msg("'%s': %s", rows[index].data, why != NULL ? why : "taken");
        }
    }
}

// Only what is kept is looked at, and a stale rest of an earlier answer is not.
static void test_answers_to_open_of_any_size(void **state)
{
    (void)state;
    static struct weir_relp_parser parser;
    static const char first[] = "1 rsp 6 200 OK\n";
    static const char offers[] = "200 OK\nrelp_version=0\ncommands=syslog\n";
    for (size_t data_bytes = sizeof(offers) - 1; data_bytes < 600; data_bytes++) {
        char text[800];
        size_t used;
        int head = snprintf(text, sizeof(text), "1 rsp %zu ", data_bytes);
        memset(text + head, 'x', data_bytes);
        memcpy(text + head, offers, sizeof(offers) - 1);
        text[(size_t)head + data_bytes] = '\n';
        memset(&parser, 0, sizeof(parser));
        assert_int_equal(weir_relp_parse(&parser, (const unsigned char *)text,
                                         (size_t)head + data_bytes + 1, &used),
                         WEIR_RELP_ANSWER);
        assert_null(weir_relp_open_refused(&parser));
        assert_int_equal(
            weir_relp_parse(&parser, (const unsigned char *)first, sizeof(first) - 1, &used),
            WEIR_RELP_ANSWER);
        assert_non_null(weir_relp_open_refused(&parser));
    }
}

// ---- The window ----

// A list: the oldest first.
struct list {
    uint32_t numbers[WEIR_WINDOW_MESSAGES_MAX];
    enum weir_relp_answer answers[WEIR_WINDOW_MESSAGES_MAX];
    size_t count;
    uint32_t last_number;
};

static uint32_t list_next(const struct list *list)
{
    return list->last_number == 999999999 ? 1 : list->last_number + 1;
}

static void list_add(struct list *list)
{
    list->last_number = list_next(list);
    list->numbers[list->count] = list->last_number;
    list->answers[list->count++] = WEIR_RELP_WAITING;
}

static bool list_answer(struct list *list, uint32_t number, bool accepted)
{
    for (size_t index = 0; index < list->count; index++) {
        if (list->numbers[index] == number && list->answers[index] == WEIR_RELP_WAITING) {
            list->answers[index] = accepted ? WEIR_RELP_ACCEPTED : WEIR_RELP_REFUSED;
            return true;
        }
    }
    return false;
}

static enum weir_relp_answer list_oldest(const struct list *list)
{
    return list->count > 0 ? list->answers[0] : WEIR_RELP_WAITING;
}

static void list_pop(struct list *list)
{
    list->count--;
    memmove(list->numbers, list->numbers + 1, list->count * sizeof(list->numbers[0]));
    memmove(list->answers, list->answers + 1, list->count * sizeof(list->answers[0]));
}

// A number that waits, one just outside of the window, or any.
static uint32_t random_number(uint64_t *random, const struct list *list)
{
    size_t kind = random_below(random, 8);
    if (kind < 5 && list->count > 0) {
        return list->numbers[random_below(random, kind == 0 ? 1 : list->count)];
    }
    if (kind == 5) {
        return (list->last_number + (uint32_t)random_below(random, 4)) % 1000000001;
    }
    if (kind == 6 && list->count > 0) {
        return list->numbers[0] - (uint32_t)random_below(random, 4);
    }
    return (uint32_t)random_next(random) >> random_below(random, 32);
}

static void test_window_against_a_list(void **state)
{
    (void)state;
    static struct weir_relp_window window;
    static struct list list;
    static const uint32_t starts[] = {0, 1, 999999999, 999999998, 999999900, 999998000, 500};
    uint64_t random = seed_get();
    unsigned answered = 0, denied = 0, popped = 0, wrapped = 0, full = 0;
    for (int run = 0; run < WINDOW_RUNS; run++) {
        // Not cleared before, and never the same.
        list.count = 0;
        list.last_number = starts[random_below(&random, COUNT(starts))];
        weir_relp_window_init(&window, list.last_number);
        size_t most = run % 10 == 0 ? WEIR_WINDOW_MESSAGES_MAX : 1 + random_below(&random, 60);
        size_t adds = 1 + random_below(&random, 6);
        for (int step = 0; step < WINDOW_STEPS; step++) {
            if (random_below(&random, 8) < adds) {
                for (size_t burst = run % 10 == 0 ? 40 : 1; burst > 0 && list.count < most;
                     burst--) {
                    list_add(&list);
                    assert_int_equal(weir_relp_window_next(&window), list.last_number);
                    assert_int_equal(weir_relp_window_add(&window), list.last_number);
                    wrapped += list.last_number == 1 && list.count > 1 ? 1 : 0;
                    full += list.count == WEIR_WINDOW_MESSAGES_MAX ? 1 : 0;
                }
            }
            uint32_t number = random_number(&random, &list);
            bool accepted = random_below(&random, 4) > 0;
            bool expected = list_answer(&list, number, accepted);
            if (weir_relp_window_answer(&window, number, accepted) != expected) {
                fail_msg("number %u: should be %d", number, expected);
            }
            assert_int_equal(weir_relp_window_next(&window), list_next(&list));
            answered += expected ? 1 : 0;
            denied += expected ? 0 : 1;
            assert_int_equal(weir_relp_window_oldest(&window), list_oldest(&list));
            while (list_oldest(&list) != WEIR_RELP_WAITING && random_below(&random, 4) > 0) {
                list_pop(&list);
                weir_relp_window_pop(&window);
                popped++;
                assert_int_equal(weir_relp_window_oldest(&window), list_oldest(&list));
            }
        }
    }
    assert_true(answered > WINDOW_RUNS * 100 && denied > WINDOW_RUNS * 100);
    assert_true(popped > WINDOW_RUNS * 100 && wrapped > WINDOW_RUNS / 10 && full > 0);
}

// The whole ring at once, over the end of the numbers, answered from the back to the front.
static void test_window_full_and_backwards(void **state)
{
    (void)state;
    static struct weir_relp_window window;
    const uint32_t most = WEIR_WINDOW_MESSAGES_MAX;
    memset(&window, 0xa5, sizeof(window));
    weir_relp_window_init(&window, 999999000);
    assert_int_equal(weir_relp_window_oldest(&window), WEIR_RELP_WAITING);
    for (int round = 0; round < 3; round++) {
        static uint32_t numbers[WEIR_WINDOW_MESSAGES_MAX];
        for (uint32_t index = 0; index < most; index++) {
            numbers[index] = weir_relp_window_add(&window);
        }
        assert_false(
            weir_relp_window_answer(&window, weir_relp_number_next(numbers[most - 1]), true));
        // Those that would follow if the numbers did not begin again.
        for (uint32_t number = 1000000000; number < 1000000000 + 2 * most; number++) {
            assert_false(weir_relp_window_answer(&window, number, true));
        }
        assert_false(weir_relp_window_answer(&window, 0, true));
        for (uint32_t index = most; index > 0; index--) {
            assert_int_equal(weir_relp_window_oldest(&window), WEIR_RELP_WAITING);
            assert_true(weir_relp_window_answer(&window, numbers[index - 1], index % 3 != 0));
            assert_false(weir_relp_window_answer(&window, numbers[index - 1], index % 3 == 0));
        }
        for (uint32_t index = 0; index < most; index++) {
            assert_int_equal(weir_relp_window_oldest(&window),
                             (index + 1) % 3 != 0 ? WEIR_RELP_ACCEPTED : WEIR_RELP_REFUSED);
            weir_relp_window_pop(&window);
            assert_false(weir_relp_window_answer(&window, numbers[index], true));
        }
    }
}

// ---- Misuse ----

static void must_stop(void (*misuse)(void))
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        close(STDERR_FILENO);
        misuse();
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void misuse_add_to_a_full_window(void)
{
    static struct weir_relp_window window;
    weir_relp_window_init(&window, 0);
    for (uint32_t index = 0; index <= WEIR_WINDOW_MESSAGES_MAX; index++) {
        (void)weir_relp_window_add(&window);
    }
}

static void misuse_pop_of_an_empty_window(void)
{
    static struct weir_relp_window window;
    weir_relp_window_init(&window, 0);
    weir_relp_window_pop(&window);
}

static void misuse_pop_of_one_that_waits(void)
{
    static struct weir_relp_window window;
    weir_relp_window_init(&window, 0);
    (void)weir_relp_window_add(&window);
    weir_relp_window_pop(&window);
}

static void misuse_number(void)
{
    unsigned char to[WEIR_RELP_NUMBER_BYTES];
    weir_relp_number_write(to, 1000000000);
}

static void misuse_next_number(void)
{
    (void)weir_relp_number_next(1000000000);
}

static void misuse_open_as_a_hint(void)
{
    char to[WEIR_RELP_FRAME_BYTES_MAX];
    (void)weir_relp_open_write(to, 0);
}

static void test_misuse_is_stopped(void **state)
{
    (void)state;
    must_stop(misuse_add_to_a_full_window);
    must_stop(misuse_pop_of_an_empty_window);
    must_stop(misuse_pop_of_one_that_waits);
    must_stop(misuse_number);
    must_stop(misuse_next_number);
    must_stop(misuse_open_as_a_hint);
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
        cmocka_unit_test(test_frames_byte_by_byte),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_answers_to_open),
        cmocka_unit_test(test_answers_to_open_of_any_size),
        cmocka_unit_test(test_window_against_a_list),
        cmocka_unit_test(test_window_full_and_backwards),
        cmocka_unit_test(test_misuse_is_stopped),
    };
    return cmocka_run_group_tests_name("relp", tests, NULL, NULL);
}
