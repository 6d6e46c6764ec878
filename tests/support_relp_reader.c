// A second reader of RELP, for tests of the parser, and what feeds that parser.
#include "tests/support_relp_reader.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

// ---- A reader of whole texts ----

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

size_t events_read(const char *text, size_t bytes, struct event *events)
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

void feeder_init(struct feeder *feeder, const struct event *events, size_t count)
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

void feed(struct feeder *feeder, const char *bytes, size_t count)
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

void feed_ended(const struct feeder *feeder)
{
    assert_int_equal(feeder->seen, feeder->events_count);
}

void feed_in_every_split(const char *text, size_t bytes)
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
