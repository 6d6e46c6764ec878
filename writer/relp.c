// RELP: numbers, frames, the parser of what a server says, and the window of unanswered messages.
//
// The grammar is that of librelp's doc/relp.md, strictly, but for one thing that servers do: some
// put a blank after a length of 0.
#include "writer/relp.h"

#include <stdio.h>
#include <string.h>

#include "runtime/assert.h"

#define RELP_NUMBER_DIGITS_MAX 9
#define RELP_LENGTH_DIGITS_MAX 9
#define RELP_CODE_DIGITS 3
#define RELP_OFFER "relp_version=0\nrelp_software=weir,0.1\ncommands=syslog"

_Static_assert(sizeof("999999999 open 53 \n") + sizeof(RELP_OFFER) <= WEIR_RELP_FRAME_BYTES_MAX,
               "an open frame fits");

// ---- Numbers and frames of the client ----

uint32_t weir_relp_number_next(uint32_t number)
{
    weir_assert(number <= WEIR_RELP_NUMBER_MAX);
    return number < WEIR_RELP_NUMBER_MAX ? number + 1 : 1;
}

void weir_relp_number_write(unsigned char *to, uint32_t number)
{
    weir_assert(to != NULL && number <= WEIR_RELP_NUMBER_MAX);
    for (size_t left = WEIR_RELP_NUMBER_BYTES; left > 0; left--) {
        to[left - 1] = (unsigned char)('0' + number % 10);
        number /= 10;
    }
}

static size_t relp_frame_write(char *to, uint32_t number, const char *command, const char *data)
{
    weir_assert(to != NULL && number > 0 && number <= WEIR_RELP_NUMBER_MAX);
    size_t data_bytes = strlen(data);
    int bytes = snprintf(to, WEIR_RELP_FRAME_BYTES_MAX, "%u %s %zu%s%s\n", (unsigned)number,
                         command, data_bytes, data_bytes > 0 ? " " : "", data);
    weir_assert(bytes > 0 && bytes < WEIR_RELP_FRAME_BYTES_MAX);
    return (size_t)bytes;
}

size_t weir_relp_open_write(char *to, uint32_t number)
{
    return relp_frame_write(to, number, "open", RELP_OFFER);
}

size_t weir_relp_close_write(char *to, uint32_t number)
{
    return relp_frame_write(to, number, "close", "");
}

// ---- What the server says ----

// What the next byte belongs to. Of a violation nothing follows: `reason` is set.
enum relp_state {
    RELP_NUMBER, // the first one, because a parser may begin all-zero
    RELP_COMMAND,
    RELP_LENGTH,
    RELP_DATA,
    RELP_TRAILER
};

static bool relp_is_digit(unsigned char byte)
{
    return byte >= '0' && byte <= '9';
}

static void relp_go(struct weir_relp_parser *parser, enum relp_state state)
{
    parser->state = state;
    parser->count = 0;
}

static void relp_number_byte(struct weir_relp_parser *parser, unsigned char byte)
{
    if (parser->count == 0) {
        parser->number = 0;
        parser->code = 0;
        parser->data_bytes = 0;
        parser->command[0] = '\0';
        parser->data[0] = '\0';
    }
    if (byte == ' ' && parser->count > 0) {
        relp_go(parser, RELP_COMMAND);
    } else if (!relp_is_digit(byte)) {
        parser->reason = "the frame's number is not a number";
    } else if (parser->count == RELP_NUMBER_DIGITS_MAX) {
        parser->reason = "the frame's number has more than nine digits";
    } else {
        parser->number = parser->number * 10 + (uint32_t)(byte - '0');
        parser->count++;
    }
}

static void relp_command_byte(struct weir_relp_parser *parser, unsigned char byte)
{
    if (byte == ' ' && parser->count > 0) {
        relp_go(parser, RELP_LENGTH);
        if (parser->number > 0 && strcmp(parser->command, "rsp") != 0) {
            parser->reason = "a command that only clients send";
        }
    } else if (!((byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z'))) {
        parser->reason = "the frame's command is not a word";
    } else if (parser->count == WEIR_RELP_COMMAND_BYTES_MAX) {
        parser->reason = "the frame's command has more than 32 letters";
    } else {
        parser->command[parser->count++] = (char)byte;
        parser->command[parser->count] = '\0';
    }
}

// Whether the frame ended.
static bool relp_length_byte(struct weir_relp_parser *parser, unsigned char byte)
{
    if (relp_is_digit(byte)) {
        parser->data_bytes = parser->data_bytes * 10 + (uint32_t)(byte - '0');
        if (parser->count == RELP_LENGTH_DIGITS_MAX) {
            parser->reason = "the frame's length has more than nine digits";
        } else if (parser->data_bytes > WEIR_RELP_DATA_BYTES_MAX) {
            parser->reason = "the frame is longer than any a server needs";
        }
        parser->count++;
        return false;
    }
    if (parser->count == 0 || (byte != ' ' && byte != '\n')) {
        parser->reason = "the frame's length is not a number";
        return false;
    }
    if (byte == ' ') {
        relp_go(parser, parser->data_bytes > 0 ? RELP_DATA : RELP_TRAILER);
        return false;
    }
    if (parser->data_bytes > 0) {
        parser->reason = "the frame has a length and no data";
        return false;
    }
    return true;
}

// Whether the frame ended.
static bool relp_byte(struct weir_relp_parser *parser, unsigned char byte)
{
    switch ((enum relp_state)parser->state) {
    case RELP_NUMBER: relp_number_byte(parser, byte); return false;
    case RELP_COMMAND: relp_command_byte(parser, byte); return false;
    case RELP_LENGTH: return relp_length_byte(parser, byte);
    case RELP_DATA:
    case RELP_TRAILER: break;
    }
    weir_assert(parser->state == RELP_TRAILER);
    if (byte != '\n') {
        parser->reason = "the frame does not end with a newline";
        return false;
    }
    return true;
}

// Takes what there is of the data; the start of it is kept.
static size_t relp_data(struct weir_relp_parser *parser, const unsigned char *bytes, size_t count)
{
    size_t left = parser->data_bytes - parser->count;
    size_t taken = count < left ? count : left;
    if (parser->count < WEIR_RELP_DATA_BYTES_KEPT) {
        size_t room = WEIR_RELP_DATA_BYTES_KEPT - parser->count;
        size_t kept = taken < room ? taken : room;
        memcpy(parser->data + parser->count, bytes, kept);
        parser->data[parser->count + kept] = '\0';
    }
    parser->count += (uint32_t)taken;
    if (taken == left) {
        relp_go(parser, RELP_TRAILER);
    }
    return taken;
}

static enum weir_relp_event relp_answer(struct weir_relp_parser *parser)
{
    uint32_t code = 0;
    size_t digits = 0;
    // The data is terminated: a short one stops here by itself.
    for (; digits < RELP_CODE_DIGITS && relp_is_digit((unsigned char)parser->data[digits]);
         digits++) {
        code = code * 10 + (uint32_t)(parser->data[digits] - '0');
    }
    char after = parser->data[digits];
    bool over = parser->data_bytes == digits || after == ' ' || after == '\n';
    if (parser->data_bytes > 0 && (digits < RELP_CODE_DIGITS || !over)) {
        parser->reason = "an answer that does not begin with a code of three digits";
        return WEIR_RELP_VIOLATION;
    }
    parser->code = code;
    return WEIR_RELP_ANSWER;
}

static enum weir_relp_event relp_ended(struct weir_relp_parser *parser)
{
    relp_go(parser, RELP_NUMBER);
    if (parser->number > 0) {
        return relp_answer(parser);
    }
    return strcmp(parser->command, "serverclose") == 0 ? WEIR_RELP_CLOSE : WEIR_RELP_HINT;
}

enum weir_relp_event weir_relp_parse(struct weir_relp_parser *parser, const unsigned char *bytes,
                                     size_t bytes_count, size_t *used)
{
    weir_assert(parser != NULL && used != NULL && (bytes != NULL || bytes_count == 0));
    size_t at = 0;
    bool ended = false;
    while (at < bytes_count && parser->reason == NULL && !ended) {
        if (parser->state == RELP_DATA) {
            at += relp_data(parser, bytes + at, bytes_count - at);
        } else {
            ended = relp_byte(parser, bytes[at]);
            at++;
        }
    }
    *used = at;
    if (parser->reason != NULL) {
        return WEIR_RELP_VIOLATION;
    }
    return ended ? relp_ended(parser) : WEIR_RELP_NOTHING;
}

const char *weir_relp_reason(const struct weir_relp_parser *parser)
{
    weir_assert(parser != NULL);
    return parser->reason;
}

// Whether `values`, which commas separate, has this one.
static bool relp_has_value(const char *values, size_t bytes, const char *value)
{
    size_t value_bytes = strlen(value);
    const char *end = values + bytes;
    for (;;) {
        const char *comma = memchr(values, ',', (size_t)(end - values));
        size_t item_bytes = (size_t)((comma != NULL ? comma : end) - values);
        if (item_bytes == value_bytes && memcmp(values, value, value_bytes) == 0) {
            return true;
        }
        if (comma == NULL) {
            return false;
        }
        values = comma + 1;
    }
}

// Whether a line "name=value,value..." of the answer, after its first one, offers this value.
static bool relp_offers(const struct weir_relp_parser *parser, const char *name, const char *value)
{
    size_t name_bytes = strlen(name);
    size_t kept = parser->data_bytes < WEIR_RELP_DATA_BYTES_KEPT ? parser->data_bytes
                                                                 : WEIR_RELP_DATA_BYTES_KEPT;
    const char *end = parser->data + kept;
    const char *line = memchr(parser->data, '\n', kept);
    while (line != NULL) {
        line++;
        const char *next = memchr(line, '\n', (size_t)(end - line));
        size_t line_bytes = (size_t)((next != NULL ? next : end) - line);
        if (line_bytes > name_bytes && memcmp(line, name, name_bytes) == 0 &&
            line[name_bytes] == '=' &&
            relp_has_value(line + name_bytes + 1, line_bytes - name_bytes - 1, value)) {
            return true;
        }
        line = next;
    }
    return false;
}

const char *weir_relp_open_refused(const struct weir_relp_parser *parser)
{
    weir_assert(parser != NULL);
    if (parser->code != 200) {
        return "the server refused to open a session";
    }
    if (!relp_offers(parser, "relp_version", "0")) {
        return "the server does not speak version 0 of RELP";
    }
    if (!relp_offers(parser, "commands", "syslog")) {
        return "the server does not take the command syslog";
    }
    return NULL;
}

// ---- Messages without an answer ----

static uint8_t *relp_window_at(struct weir_relp_window *window, uint32_t offset)
{
    return &window->answers[(window->first + offset) % WEIR_WINDOW_MESSAGES_MAX];
}

void weir_relp_window_init(struct weir_relp_window *window, uint32_t number)
{
    weir_assert(window != NULL);
    window->first_number = weir_relp_number_next(number);
    window->first = 0;
    window->count = 0;
}

uint32_t weir_relp_window_next(const struct weir_relp_window *window)
{
    weir_assert(window != NULL);
    uint32_t number = window->first_number + window->count;
    return number <= WEIR_RELP_NUMBER_MAX ? number : number - WEIR_RELP_NUMBER_MAX;
}

uint32_t weir_relp_window_add(struct weir_relp_window *window)
{
    weir_assert(window != NULL && window->count < WEIR_WINDOW_MESSAGES_MAX);
    uint32_t number = weir_relp_window_next(window);
    *relp_window_at(window, window->count) = WEIR_RELP_WAITING;
    window->count++;
    return number;
}

bool weir_relp_window_answer(struct weir_relp_window *window, uint32_t number, bool accepted)
{
    weir_assert(window != NULL);
    if (number == 0 || number > WEIR_RELP_NUMBER_MAX) {
        return false;
    }
    // Numbers go round without 0.
    uint32_t offset = number >= window->first_number
                          ? number - window->first_number
                          : number + WEIR_RELP_NUMBER_MAX - window->first_number;
    if (offset >= window->count || *relp_window_at(window, offset) != WEIR_RELP_WAITING) {
        return false;
    }
    *relp_window_at(window, offset) = accepted ? WEIR_RELP_ACCEPTED : WEIR_RELP_REFUSED;
    return true;
}

enum weir_relp_answer weir_relp_window_oldest(const struct weir_relp_window *window)
{
    weir_assert(window != NULL);
    return window->count > 0 ? (enum weir_relp_answer)window->answers[window->first]
                             : WEIR_RELP_WAITING;
}

void weir_relp_window_pop(struct weir_relp_window *window)
{
    weir_assert(window != NULL && weir_relp_window_oldest(window) != WEIR_RELP_WAITING);
    window->first = (window->first + 1) % WEIR_WINDOW_MESSAGES_MAX;
    window->first_number = weir_relp_number_next(window->first_number);
    window->count--;
}
