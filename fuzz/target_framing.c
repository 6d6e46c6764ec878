// Fuzz target framing: measure, write and finish agree; a decoder of its own gets the message back.
//
//   SHAPE FACILITY FIELDS SEVERITY CUT ROOM   one byte each: framing, delimiter policy and header;
//                          facility; how long the header's fields are; severities; where the
//                          message is cut in two; how much more room there is than it needs
//   SECONDS MICROSECONDS   four bytes and three: the wall clock
//   the rest               the message
#include "fuzz/fuzz.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "writer/framing.h"

#define NS_PER_S UINT64_C(1000000000)
#define SECONDS_MAX UINT64_C(253402300799) // the end of the year 9999

// What should stand before the message; empty without a header.
struct header {
    char text[1024];
    size_t bytes;
};

struct message {
    const unsigned char *bytes;
    size_t count;
    uint64_t wall_ns;
    uint8_t severity;
    struct header header;
};

static void fields_fill(struct weir_framing_options *options, uint8_t lengths)
{
    // Empty, short, as long as can be, one too long or with a byte that is not allowed.
    static const char wrong[] = {' ', '\n', '\x7f', '\x1f'};
    struct {
        char *text;
        size_t bytes;
    } fields[] = {{options->hostname, sizeof(options->hostname)},
                  {options->app, sizeof(options->app)},
                  {options->procid, sizeof(options->procid)},
                  {options->msgid, sizeof(options->msgid)}};
    for (size_t i = 0; i < 4; i++, lengths = (uint8_t)(lengths >> 2)) {
        size_t bytes = (lengths & 3) == 0   ? 0
                       : (lengths & 3) == 1 ? 3
                       : (lengths & 3) == 2 ? fields[i].bytes - 1
                       : i < 2              ? fields[i].bytes
                                            : 1;
        memset(fields[i].text, 'a' + (int)i, bytes);
        if ((lengths & 3) == 3 && i >= 2) {
            fields[i].text[0] = wrong[(options->facility + i) % sizeof(wrong)];
        }
    }
}

static bool options_good(const struct weir_framing_options *options, uint8_t lengths)
{
    bool fields =
        (lengths & 3) < 3 && (lengths >> 2 & 3) < 3 && (lengths >> 4 & 3) < 3 && lengths >> 6 < 3;
    return (unsigned)options->framing <= WEIR_FRAMING_RELP &&
           (unsigned)options->delimiter <= WEIR_DELIMITER_PASS &&
           (options->header == WEIR_HEADER_NONE ||
            (options->header == WEIR_HEADER_RFC5424 && fields &&
             options->facility <= WEIR_FACILITY_MAX && options->severity <= WEIR_SEVERITY_MAX));
}

// ---- A decoder: it knows the formats, and nothing of the framer ----

struct decoder {
    const unsigned char *at, *end;
};

static void decode_text(struct decoder *decoder, const char *text, size_t bytes)
{
    fuzz_require((size_t)(decoder->end - decoder->at) >= bytes);
    fuzz_require(memcmp(decoder->at, text, bytes) == 0);
    decoder->at += bytes;
}

static uint64_t decode_count(struct decoder *decoder)
{
    uint64_t count = 0;
    const unsigned char *first = decoder->at;
    while (decoder->at < decoder->end && *decoder->at >= '0' && *decoder->at <= '9') {
        count = count * 10 + (uint64_t)(*decoder->at++ - '0');
    }
    fuzz_require(decoder->at > first && *first != '0');
    decode_text(decoder, " ", 1);
    return count;
}

// RFC 3339, by the C library's calendar.
static void timestamp_render(char *text, size_t bytes_max, uint64_t seconds, uint32_t micros)
{
    time_t time = (time_t)seconds;
    struct tm date;
    fuzz_require(gmtime_r(&time, &date) != NULL);
    snprintf(text, bytes_max, "%04d-%02d-%02dT%02d:%02d:%02d.%06uZ", date.tm_year + 1900,
             date.tm_mon + 1, date.tm_mday, date.tm_hour, date.tm_min, date.tm_sec,
             (unsigned)micros);
}

// Up to the year 9999, which a 64-bit clock of nanoseconds does not reach.
static void timestamp_check(uint64_t seconds, uint32_t micros)
{
    char text[WEIR_TIMESTAMP_BYTES];
    char expected[96];
    weir_timestamp_write(seconds, micros, text);
    timestamp_render(expected, sizeof(expected), seconds, micros);
    fuzz_require(strlen(expected) == sizeof(text) && memcmp(text, expected, sizeof(text)) == 0);
}

// As RFC 5424 has it.
static void header_render(struct header *header, const struct weir_framing_options *options,
                          const struct message *message)
{
    char time[96];
    unsigned severity =
        message->severity == WEIR_SEVERITY_DEFAULT ? options->severity : message->severity;
    header->bytes = 0;
    if (options->header != WEIR_HEADER_RFC5424) {
        return;
    }
    timestamp_render(time, sizeof(time), message->wall_ns / NS_PER_S,
                     (uint32_t)(message->wall_ns % NS_PER_S / 1000));
    int bytes = snprintf(header->text, sizeof(header->text), "<%u>1 %s %s %s %s %s - ",
                         options->facility * 8u + severity, time,
                         options->hostname[0] != '\0' ? options->hostname : "-",
                         options->app[0] != '\0' ? options->app : "-",
                         options->procid[0] != '\0' ? options->procid : "-",
                         options->msgid[0] != '\0' ? options->msgid : "-");
    header->bytes = (size_t)bytes;
}

static void decode_payload(struct decoder *decoder, bool escaped, const struct message *message)
{
    for (size_t i = 0; i < message->count; i++) {
        if (escaped && message->bytes[i] == '\n') {
            decode_text(decoder, "\\n", 2);
        } else {
            fuzz_require(decoder->at < decoder->end && *decoder->at == message->bytes[i]);
            decoder->at++;
        }
    }
}

static void frame_check(const struct weir_framing_options *options, const struct message *message,
                        const unsigned char *frame, size_t frame_bytes)
{
    struct decoder decoder = {frame, frame + frame_bytes};
    bool newline = options->framing == WEIR_FRAMING_NEWLINE;
    bool relp = options->framing == WEIR_FRAMING_RELP;
    if (relp) {
        decode_text(&decoder, "000000000 syslog ", strlen("000000000 syslog "));
    }
    if (relp || options->framing == WEIR_FRAMING_OCTET_COUNTING) {
        uint64_t count = decode_count(&decoder);
        fuzz_require(count == (uint64_t)(decoder.end - decoder.at) - (relp ? 1 : 0));
    }
    decode_text(&decoder, message->header.text, message->header.bytes);
    decode_payload(&decoder, newline && options->delimiter == WEIR_DELIMITER_ESCAPE, message);
    if (newline || relp) {
        decode_text(&decoder, "\n", 1);
    }
    fuzz_require(decoder.at == decoder.end);
}

// ---- The two ways to frame ----

// What the header says that measure returns.
static int expected_error(const struct weir_framing_options *options, const struct message *message)
{
    bool counted =
        options->framing == WEIR_FRAMING_OCTET_COUNTING || options->framing == WEIR_FRAMING_RELP;
    if (options->framing == WEIR_FRAMING_NEWLINE && options->delimiter == WEIR_DELIMITER_REFUSE &&
        memchr(message->bytes, '\n', message->count) != NULL) {
        return WEIR_EDELIMITER;
    }
    return counted && options->header == WEIR_HEADER_NONE && message->count == 0 ? -EINVAL : 0;
}

static void write_check(const struct weir_framer *framer,
                        const struct weir_framing_options *options, const struct message *message,
                        size_t cut)
{
    cut = cut < message->count ? cut : message->count;
    unsigned char *head = fuzz_copy(message->bytes, cut);
    unsigned char *tail = fuzz_copy(message->bytes + cut, message->count - cut);
    struct weir_iovec parts[] = {{head, cut}, {NULL, 0}, {tail, message->count - cut}};
    size_t bytes = SIZE_MAX;
    int error = weir_framer_measure(framer, message->severity, parts, 3, &bytes);
    fuzz_require(error == expected_error(options, message));
    fuzz_require((bytes == SIZE_MAX) == (error != 0));
    if (error == 0) {
        unsigned char *to = malloc(bytes > 0 ? bytes : 1);
        fuzz_require(to != NULL);
        fuzz_require(weir_framer_write(framer, message->wall_ns, message->severity, to, parts, 3,
                                       bytes) == bytes);
        frame_check(options, message, to, bytes);
        free(to);
    }
    free(head);
    free(tail);
}

// `payload_max` may be more than there is: what stands around the payload is what counts.
static void finish_check(const struct weir_framer *framer,
                         const struct weir_framing_options *options, const struct message *message,
                         size_t payload_max, size_t room_max)
{
    size_t before = weir_framer_prefix_bytes_max(framer, payload_max);
    size_t room_bytes = before + room_max + weir_framer_suffix_bytes(framer);
    unsigned char *room = malloc(room_bytes > 0 ? room_bytes : 1);
    fuzz_require(room != NULL);
    memset(room, 0xee, room_bytes);
    memcpy(room + before, message->bytes, message->count);
    unsigned char *was = fuzz_copy(room, room_bytes);
    size_t newlines = 0;
    for (size_t i = 0; i < message->count; i++) {
        newlines += message->bytes[i] == '\n';
    }
    int expected = expected_error(options, message);
    if (options->framing == WEIR_FRAMING_NEWLINE && options->delimiter == WEIR_DELIMITER_ESCAPE &&
        newlines > payload_max - message->count) {
        expected = WEIR_EDELIMITER;
    }
    if (before + payload_max + weir_framer_suffix_bytes(framer) > UINT32_MAX) {
        expected = WEIR_ETOOBIG;
    }
    uint32_t offset = 7;
    uint32_t bytes = 7;
    int error = weir_framer_finish(framer, message->wall_ns, message->severity, room,
                                   message->count, payload_max, &offset, &bytes);
    fuzz_require(error == expected);
    if (error == 0) {
        fuzz_require((size_t)offset + bytes <= room_bytes);
        frame_check(options, message, room + offset, bytes);
        fuzz_require(memcmp(room, was, offset) == 0);
    } else {
        fuzz_require(offset == 7 && bytes == 7 && memcmp(room, was, room_bytes) == 0);
    }
    free(was);
    free(room);
}

// Sizes at the edges of what a frame may have. Of parts so long no byte is looked at: where
// newlines count, measure must have refused the sum before.
static void huge_check(const struct weir_framer *framer, const struct weir_framing_options *options,
                       const struct message *message, size_t less)
{
    bool counted =
        options->framing == WEIR_FRAMING_OCTET_COUNTING || options->framing == WEIR_FRAMING_RELP;
    bool relp = options->framing == WEIR_FRAMING_RELP;
    bool looks =
        options->framing == WEIR_FRAMING_NEWLINE && options->delimiter != WEIR_DELIMITER_PASS;
    uint64_t size = (relp && (less & 1) != 0 ? UINT64_C(999999999) : UINT32_MAX) - 4 * less;
    size += looks ? (uint64_t)UINT32_MAX : 0;
    struct weir_iovec parts[] = {{message->bytes, message->count}, {message->bytes, size}};
    uint64_t body = message->header.bytes + message->count + size;
    uint64_t digits = 0;
    for (uint64_t rest = counted ? body : 0; rest > 0; rest /= 10) {
        digits++;
    }
    uint64_t total = (relp ? strlen("000000000 syslog ") : 0) + (counted ? digits + 1 : 0) + body +
                     weir_framer_suffix_bytes(framer);
    bool too_big =
        message->count + size > UINT32_MAX || total > UINT32_MAX || (relp && body > 999999999);
    size_t bytes = 0;
    int error = weir_framer_measure(framer, message->severity, parts, 2, &bytes);
    fuzz_require(error == (too_big ? (int)WEIR_ETOOBIG : 0));
    fuzz_require(bytes == (too_big ? 0 : total));
}

void fuzz_one(const unsigned char *bytes, size_t count)
{
    struct fuzz_input input = {bytes, count, 0};
    uint8_t shape = fuzz_u8(&input);
    uint8_t facility = fuzz_u8(&input);
    uint8_t lengths = fuzz_u8(&input);
    uint8_t severities = fuzz_u8(&input);
    size_t cut = fuzz_u8(&input);
    size_t more = fuzz_u8(&input);
    uint64_t seconds = (uint64_t)fuzz_u32(&input) << (facility >> 6) * 2;
    uint64_t micros = (fuzz_u16(&input) | (uint32_t)fuzz_u8(&input) << 16) % 1000000;
    struct weir_framing_options options;
    memset(&options, 0, sizeof(options));
    options.framing = (enum weir_framing)(shape & 7);
    options.delimiter = (enum weir_delimiter_policy)(shape >> 3 & 3);
    options.header = (enum weir_header)(shape >> 5 & 3);
    options.facility = facility & 31;
    options.severity = severities & 15;
    fields_fill(&options, lengths);
    struct weir_framer framer;
    char why[256];
    int error = weir_framer_init(&framer, &options, why, sizeof(why));
    fuzz_require(memchr(why, '\0', sizeof(why)) != NULL);
    fuzz_require((error == 0) == options_good(&options, lengths));
    fuzz_require((error == 0) == (why[0] == '\0'));
    if (error != 0) {
        fuzz_require(error == WEIR_EOPTION);
        return;
    }
    struct message message;
    message.bytes = fuzz_take(&input, count, &message.count);
    timestamp_check(seconds < SECONDS_MAX ? seconds : SECONDS_MAX, (uint32_t)micros);
    message.wall_ns = seconds % (UINT64_MAX / NS_PER_S) * NS_PER_S + micros * 1000;
    message.severity = (uint8_t)((severities >> 4) % (WEIR_SEVERITY_DEFAULT + 1));
    header_render(&message.header, &options, &message);
    write_check(&framer, &options, &message, cut);
    finish_check(&framer, &options, &message, message.count + more, message.count + more);
    // The payload may grow to twice its length; a longer room need not be there to be claimed.
    finish_check(&framer, &options, &message, UINT32_MAX - 4 * more + (facility & 32) * 16,
                 2 * message.count);
    huge_check(&framer, &options, &message, more);
}
