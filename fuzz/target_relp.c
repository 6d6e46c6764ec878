// Fuzz target relp: what a server may send, in whatever pieces it comes, and the window of answers.
//
//   FLAGS SPLIT NUMBER    one byte each, then
//   FLAGS & 1 == 0        the bytes a server sends: read whole, byte by byte, and in pieces that
//                         SPLIT chooses. All three give the same frames, and those that a second
//                         reader of the grammar finds, written for this; their answers go into
//                         a window
//   FLAGS & 1 == 1        operations on a window, against a plain list
#include "fuzz/fuzz.h"

#include <string.h>

#include "writer/relp.h"

#define FRAMES_MAX 64
#define SENT_MAX ((uint32_t)WEIR_WINDOW_MESSAGES_MAX)

// ---- A second reader of the grammar, which sees the whole stream at once ----

struct frame {
    enum weir_relp_event event;
    size_t bytes; // of the stream, up to its end or the byte that is wrong
    uint32_t number, code, data_bytes;
    size_t command, command_bytes; // where in the frame
    size_t data;
};

struct reader {
    const unsigned char *bytes;
    size_t count, at;
    int last; // the byte taken last
};

enum reading { READ_WELL, READ_SHORT, READ_WRONG }; // of WRONG the wrong byte was taken last

static bool reader_take(struct reader *reader)
{
    reader->last = reader->at < reader->count ? reader->bytes[reader->at++] : -1;
    return reader->last >= 0;
}

// Up to nine digits that make at most `most`, and what follows them.
static enum reading reader_number(struct reader *reader, uint64_t most, uint32_t *number)
{
    uint64_t value = 0;
    for (size_t digits = 0; reader_take(reader); digits++) {
        if (reader->last < '0' || reader->last > '9') {
            *number = (uint32_t)value;
            return digits > 0 ? READ_WELL : READ_WRONG;
        }
        value = value * 10 + (uint64_t)(reader->last - '0');
        if (digits == 9 || value > most) {
            return READ_WRONG;
        }
    }
    return READ_SHORT;
}

// A word of letters and the blank after it.
static enum reading reader_command(struct reader *reader, struct frame *frame)
{
    frame->command = reader->at;
    while (reader_take(reader)) {
        int lower = reader->last | 0x20;
        size_t letters = reader->at - 1 - frame->command;
        if (lower < 'a' || lower > 'z') {
            const unsigned char *word = reader->bytes + frame->command;
            bool answer = letters == 3 && memcmp(word, "rsp", 3) == 0;
            frame->command_bytes = letters;
            return letters > 0 && reader->last == ' ' && (answer || frame->number == 0)
                       ? READ_WELL
                       : READ_WRONG;
        }
        if (letters == WEIR_RELP_COMMAND_BYTES_MAX) {
            return READ_WRONG;
        }
    }
    return READ_SHORT;
}

// What follows the length: nothing, or the data; and the newline.
static enum reading reader_data(struct reader *reader, struct frame *frame)
{
    if (reader->last == '\n') {
        return frame->data_bytes == 0 ? READ_WELL : READ_WRONG;
    }
    if (reader->last != ' ') {
        return READ_WRONG;
    }
    frame->data = reader->at;
    if (reader->count - reader->at <= frame->data_bytes) {
        return READ_SHORT;
    }
    reader->at += frame->data_bytes;
    return reader_take(reader) && reader->last == '\n' ? READ_WELL : READ_WRONG;
}

// An answer's data begins with three digits, and a blank or a newline if more follows.
static bool frame_code(struct frame *frame, const unsigned char *data)
{
    if (frame->data_bytes == 0) {
        return true;
    }
    for (uint32_t i = 0; i < 3; i++) {
        if (i >= frame->data_bytes || data[i] < '0' || data[i] > '9') {
            return false;
        }
        frame->code = frame->code * 10 + (uint32_t)(data[i] - '0');
    }
    return frame->data_bytes == 3 || data[3] == ' ' || data[3] == '\n';
}

// Reads the frame at the start of `bytes`; NOTHING when it does not end there.
static struct frame frame_read(const unsigned char *bytes, size_t count)
{
    struct frame frame = {.event = WEIR_RELP_VIOLATION};
    struct reader reader = {bytes, count, 0, -1};
    enum reading reading = reader_number(&reader, WEIR_RELP_NUMBER_MAX, &frame.number);
    if (reading == READ_WELL && reader.last != ' ') {
        reading = READ_WRONG;
    }
    if (reading == READ_WELL) {
        reading = reader_command(&reader, &frame);
    }
    if (reading == READ_WELL) {
        reading = reader_number(&reader, WEIR_RELP_DATA_BYTES_MAX, &frame.data_bytes);
    }
    if (reading == READ_WELL) {
        reading = reader_data(&reader, &frame);
    }
    frame.bytes = reading == READ_SHORT ? count : reader.at;
    if (reading == READ_SHORT) {
        frame.event = WEIR_RELP_NOTHING;
    } else if (reading == READ_WELL && frame.number == 0) {
        bool close = frame.command_bytes == strlen("serverclose") &&
                     memcmp(bytes + frame.command, "serverclose", frame.command_bytes) == 0;
        frame.event = close ? WEIR_RELP_CLOSE : WEIR_RELP_HINT;
    } else if (reading == READ_WELL && frame_code(&frame, bytes + frame.data)) {
        frame.event = WEIR_RELP_ANSWER;
    }
    return frame;
}

// Whether a line "name=...,value,..." stands in the data, after its first line.
static bool frame_offers(const char *data, size_t count, const char *name, const char *value)
{
    bool first = true;
    for (size_t at = 0; at < count; first = false) {
        size_t line = at;
        while (at < count && data[at] != '\n') {
            at++;
        }
        size_t item = line + strlen(name);
        if (!first && at - line > strlen(name) && memcmp(data + line, name, strlen(name)) == 0 &&
            data[item] == '=') {
            for (size_t next = item + 1, begin = next; next <= at; next++) {
                if (next == at || data[next] == ',') {
                    if (next - begin == strlen(value) &&
                        memcmp(data + begin, value, next - begin) == 0) {
                        return true;
                    }
                    begin = next + 1;
                }
            }
        }
        at++;
    }
    return false;
}

// ---- A window beside a plain list of what was sent ----

struct sent {
    uint32_t number;
    enum weir_relp_answer answer;
};

static struct weir_relp_window window;
static struct sent sent_list[SENT_MAX];
static uint32_t sent_first, sent_count; // a plain array: what is popped is left behind

static void window_begin(uint32_t number)
{
    weir_relp_window_init(&window, number);
    sent_first = 0;
    sent_count = 0;
}

static void window_check(void)
{
    enum weir_relp_answer oldest =
        sent_first < sent_count ? sent_list[sent_first].answer : WEIR_RELP_WAITING;
    fuzz_require(weir_relp_window_oldest(&window) == oldest);
    fuzz_require(window.count == sent_count - sent_first);
}

static void window_add(void)
{
    if (sent_count == SENT_MAX) {
        return;
    }
    uint32_t number = weir_relp_window_next(&window);
    fuzz_require(number >= 1 && number <= WEIR_RELP_NUMBER_MAX);
    if (sent_count > 0) {
        fuzz_require(number == weir_relp_number_next(sent_list[sent_count - 1].number));
    }
    fuzz_require(weir_relp_window_add(&window) == number);
    sent_list[sent_count++] = (struct sent){number, WEIR_RELP_WAITING};
    window_check();
}

static void window_answer(uint32_t number, bool accepted)
{
    struct sent *found = NULL;
    for (uint32_t i = sent_first; i < sent_count; i++) {
        if (sent_list[i].number == number && sent_list[i].answer == WEIR_RELP_WAITING) {
            found = &sent_list[i];
        }
    }
    fuzz_require(weir_relp_window_answer(&window, number, accepted) == (found != NULL));
    if (found != NULL) {
        found->answer = accepted ? WEIR_RELP_ACCEPTED : WEIR_RELP_REFUSED;
    }
    window_check();
}

static void window_pop(void)
{
    if (sent_first < sent_count && sent_list[sent_first].answer != WEIR_RELP_WAITING) {
        weir_relp_window_pop(&window);
        sent_first++;
    }
    window_check();
}

// An operation a byte: its two highest bits say which, the others how many or which one.
static void window_run(struct fuzz_input *input)
{
    while (fuzz_more(input)) {
        uint8_t what = fuzz_u8(input);
        uint32_t which = what & 31;
        switch (what >> 6) {
        case 0:
            for (uint32_t i = 0; i <= which; i++) {
                window_add();
            }
            break;
        case 1: // one of those that wait, or were answered before
            window_answer(window.first_number + which, (what & 32) != 0);
            break;
        case 2: window_answer(fuzz_u32(input), (what & 32) != 0); break;
        default:
            for (uint32_t i = 0; i <= which; i++) {
                window_pop();
            }
        }
    }
}

// ---- The parser, in pieces ----

struct reading_run {
    struct weir_relp_parser parser;
    size_t frame_at; // where the frame under way begins
    size_t at;
    uint32_t frames;
    bool over;
};

static struct frame frames[FRAMES_MAX];
static uint32_t frames_count;

static void frames_find(const unsigned char *bytes, size_t count)
{
    size_t at = 0;
    frames_count = 0;
    while (frames_count < FRAMES_MAX) {
        struct frame frame = frame_read(bytes + at, count - at);
        frames[frames_count++] = frame;
        at += frame.bytes;
        if (frame.event == WEIR_RELP_NOTHING || frame.event == WEIR_RELP_VIOLATION) {
            break;
        }
    }
}

// What the parser says of a frame that has just ended, beside what the second reader found.
static void frame_check(const struct weir_relp_parser *parser, const struct frame *frame,
                        const unsigned char *bytes)
{
    size_t kept = frame->data_bytes < WEIR_RELP_DATA_BYTES_KEPT ? frame->data_bytes
                                                                : WEIR_RELP_DATA_BYTES_KEPT;
    fuzz_require(parser->number == frame->number);
    fuzz_require(strlen(parser->command) == frame->command_bytes);
    fuzz_require(memcmp(parser->command, bytes + frame->command, frame->command_bytes) == 0);
    fuzz_require(parser->data_bytes == frame->data_bytes);
    fuzz_require(memcmp(parser->data, bytes + frame->data, kept) == 0);
    fuzz_require(parser->data[kept] == '\0');
    if (frame->event == WEIR_RELP_ANSWER) {
        fuzz_require(parser->code == frame->code);
        bool agreed = frame->code == 200 && frame_offers(parser->data, kept, "relp_version", "0") &&
                      frame_offers(parser->data, kept, "commands", "syslog");
        fuzz_require((weir_relp_open_refused(parser) == NULL) == agreed);
    }
}

// Gives the parser one piece, and the rest of it after each frame.
static void run_piece(struct reading_run *run, const unsigned char *bytes, size_t piece_bytes)
{
    unsigned char *piece = fuzz_copy(bytes + run->at, piece_bytes);
    size_t used_all = 0;
    while (used_all < piece_bytes && !run->over && run->frames < frames_count) {
        const struct frame *frame = &frames[run->frames];
        size_t used = 0;
        enum weir_relp_event event =
            weir_relp_parse(&run->parser, piece + used_all, piece_bytes - used_all, &used);
        fuzz_require(used > 0 && used <= piece_bytes - used_all);
        used_all += used;
        if (event == WEIR_RELP_NOTHING) {
            fuzz_require(used_all == piece_bytes);
            fuzz_require(run->at + used_all < run->frame_at + frame->bytes ||
                         frame->event == WEIR_RELP_NOTHING);
            fuzz_require(weir_relp_reason(&run->parser) == NULL);
            break;
        }
        fuzz_require(event == frame->event);
        fuzz_require(run->at + used_all == run->frame_at + frame->bytes);
        fuzz_require((weir_relp_reason(&run->parser) != NULL) == (event == WEIR_RELP_VIOLATION));
        if (event == WEIR_RELP_VIOLATION) {
            const char *reason = weir_relp_reason(&run->parser);
            fuzz_require(weir_relp_parse(&run->parser, piece, piece_bytes, &used) == event);
            fuzz_require(used == 0 && weir_relp_reason(&run->parser) == reason);
            run->over = true;
        } else {
            frame_check(&run->parser, frame, bytes + run->frame_at);
            if (event == WEIR_RELP_ANSWER) {
                window_answer(run->parser.number, run->parser.code == 200);
                window_pop();
            }
        }
        run->frame_at += frame->bytes;
        run->frames++;
    }
    run->at += piece_bytes;
    free(piece);
}

// `split` 0: whole; 1: byte by byte; else pieces of up to so many bytes, the one unlike the next.
static void stream_run(const unsigned char *bytes, size_t count, uint32_t number, uint32_t split)
{
    struct reading_run run = {.frame_at = 0};
    uint32_t draw = split;
    window_begin(number);
    for (uint32_t i = 0; i < 8; i++) {
        window_add();
    }
    while (run.at < count && !run.over && run.frames < frames_count) {
        draw = draw * 1664525 + 1013904223;
        size_t bytes_max = split == 0 ? count : split == 1 ? 1 : 1 + (draw >> 16) % split;
        run_piece(&run, bytes, bytes_max < count - run.at ? bytes_max : count - run.at);
    }
    bool last_open = frames[frames_count - 1].event == WEIR_RELP_NOTHING;
    fuzz_require(run.frames == frames_count - (last_open ? 1 : 0));
}

// What the client writes is a frame too.
static void client_check(uint32_t number)
{
    char text[WEIR_RELP_FRAME_BYTES_MAX];
    unsigned char digits[WEIR_RELP_NUMBER_BYTES];
    size_t count = weir_relp_close_write(text, number);
    char expected[WEIR_RELP_FRAME_BYTES_MAX];
    snprintf(expected, sizeof(expected), "%u close 0\n", (unsigned)number);
    fuzz_require(count == strlen(expected) && memcmp(text, expected, count) == 0);
    count = weir_relp_open_write(text, number);
    fuzz_require(count <= sizeof(text) && text[count - 1] == '\n');
    weir_relp_number_write(digits, number);
    snprintf(expected, sizeof(expected), "%09u", (unsigned)number);
    fuzz_require(memcmp(digits, expected, sizeof(digits)) == 0);
}

void fuzz_one(const unsigned char *bytes, size_t count)
{
    struct fuzz_input input = {bytes, count, 0};
    uint8_t flags = fuzz_u8(&input);
    uint32_t split = 2 + fuzz_u8(&input);
    // Near the first number, or near the last one.
    uint32_t number = fuzz_u8(&input);
    number = (flags & 2) == 0 ? number : WEIR_RELP_NUMBER_MAX - number % 32;
    if ((flags & 1) != 0) {
        client_check(number > 0 ? number : 1);
        window_begin(number);
        window_run(&input);
        return;
    }
    bytes += input.at;
    count -= input.at;
    frames_find(bytes, count);
    stream_run(bytes, count, number, 0);
    stream_run(bytes, count, number, 1);
    stream_run(bytes, count, number, split);
}
