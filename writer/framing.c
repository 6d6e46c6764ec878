// Framing: the prefix, the payload and the suffix of a frame, written front to back in one pass.
//
// A frame is  [NUMBER COMMAND] [LEN ' '] [PRI TIMESTAMP TAIL] payload ['\n'].  PRI and TAIL lie
// ready in the framer, so that a message costs the timestamp, two short copies and its own.
#include "writer/framing.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "runtime/assert.h"
#include "writer/relp.h"

// Nine zeros are the place of the number, which is written when the frame is sent.
#define FRAMER_RELP_LEAD "000000000 syslog "
#define FRAMER_RELP_LEAD_BYTES (sizeof(FRAMER_RELP_LEAD) - 1)
// RELP's LEN has up to nine digits.
#define FRAMER_RELP_COUNT_MAX 999999999u

#define FRAMER_FACILITY_MAX 23
#define FRAMER_SEVERITY_MAX 7
#define FRAMER_SECONDS_MAX UINT64_C(253402300799)
#define FRAMER_NS_PER_S UINT64_C(1000000000)

_Static_assert(FRAMER_RELP_LEAD_BYTES == WEIR_RELP_NUMBER_BYTES + sizeof(" syslog"), "nine zeros");

#define framer_refuse(why, why_bytes, ...)                                                         \
    ((void)snprintf((why), (why_bytes), __VA_ARGS__), (int)WEIR_EOPTION)

static int framer_check_field(const char *name, const char *value, size_t value_bytes_max,
                              char *why, size_t why_bytes)
{
    for (size_t index = 0; index < value_bytes_max; index++) {
        unsigned char byte = (unsigned char)value[index];
        if (byte == 0) {
            return 0;
        }
        if (byte < 33 || byte > 126) {
            return framer_refuse(why, why_bytes,
                                 "%s: character %zu is byte 0x%02x; RFC 5424 allows printable "
                                 "ASCII without blanks (33..126), and empty means '-'",
                                 name, index + 1, (unsigned)byte);
        }
    }
    return framer_refuse(why, why_bytes, "%s is longer than the %zu characters RFC 5424 allows",
                         name, value_bytes_max - 1);
}

static int framer_check_header(const struct weir_framing_options *options, char *why,
                               size_t why_bytes)
{
    if (options->facility > FRAMER_FACILITY_MAX) {
        return framer_refuse(why, why_bytes, "facility %u is out of range; RFC 5424 has 0..%d",
                             (unsigned)options->facility, FRAMER_FACILITY_MAX);
    }
    if (options->severity > FRAMER_SEVERITY_MAX) {
        return framer_refuse(why, why_bytes, "severity %u is out of range; RFC 5424 has 0..%d",
                             (unsigned)options->severity, FRAMER_SEVERITY_MAX);
    }
    int error = framer_check_field("hostname", options->hostname, sizeof(options->hostname), why,
                                   why_bytes);
    if (error == 0) {
        error = framer_check_field("app", options->app, sizeof(options->app), why, why_bytes);
    }
    if (error == 0) {
        error =
            framer_check_field("procid", options->procid, sizeof(options->procid), why, why_bytes);
    }
    if (error == 0) {
        error = framer_check_field("msgid", options->msgid, sizeof(options->msgid), why, why_bytes);
    }
    return error;
}

static void framer_render_field(struct weir_framer *framer, const char *value)
{
    const char *text = value[0] != '\0' ? value : "-";
    size_t bytes = strlen(text);
    weir_assert(framer->tail_bytes + bytes + 1 <= sizeof(framer->tail));
    memcpy(framer->tail + framer->tail_bytes, text, bytes);
    framer->tail[framer->tail_bytes + bytes] = ' ';
    framer->tail_bytes = (uint16_t)(framer->tail_bytes + bytes + 1);
}

static void framer_render_header(struct weir_framer *framer,
                                 const struct weir_framing_options *options)
{
    framer->tail[0] = ' ';
    framer->tail_bytes = 1;
    framer_render_field(framer, options->hostname);
    framer_render_field(framer, options->app);
    framer_render_field(framer, options->procid);
    framer_render_field(framer, options->msgid);
    framer_render_field(framer, ""); // structured data: nil

    for (unsigned index = 0; index <= WEIR_SEVERITY_DEFAULT; index++) {
        unsigned severity = index < WEIR_SEVERITY_DEFAULT ? index : options->severity;
        int bytes = snprintf(framer->pri[index], sizeof(framer->pri[index]), "<%u>1 ",
                             options->facility * 8U + severity);
        weir_assert(bytes > 0 && bytes <= WEIR_SYSLOG_PRI_BYTES_MAX);
        framer->pri_bytes[index] = (uint8_t)bytes;
    }
    // The largest severity has the largest PRI, hence the longest.
    framer->header_bytes_max = (uint16_t)(framer->pri_bytes[FRAMER_SEVERITY_MAX] +
                                          WEIR_TIMESTAMP_BYTES + framer->tail_bytes);
}

int weir_framer_init(struct weir_framer *framer, const struct weir_framing_options *options,
                     char *why, size_t why_bytes)
{
    weir_assert(framer != NULL && options != NULL);
    weir_assert(why != NULL || why_bytes == 0);
    if ((unsigned)options->framing > WEIR_FRAMING_RELP) {
        return framer_refuse(why, why_bytes,
                             "framing %u is unknown; there are newline (%d), octet "
                             "counting (%d), raw (%d) and relp (%d)",
                             (unsigned)options->framing, WEIR_FRAMING_NEWLINE,
                             WEIR_FRAMING_OCTET_COUNTING, WEIR_FRAMING_RAW, WEIR_FRAMING_RELP);
    }
    if ((unsigned)options->delimiter > WEIR_DELIMITER_PASS) {
        return framer_refuse(why, why_bytes,
                             "delimiter policy %u is unknown; there are escape "
                             "(%d), refuse (%d) and pass (%d)",
                             (unsigned)options->delimiter, WEIR_DELIMITER_ESCAPE,
                             WEIR_DELIMITER_REFUSE, WEIR_DELIMITER_PASS);
    }
    if ((unsigned)options->header > WEIR_HEADER_RFC5424) {
        return framer_refuse(why, why_bytes,
                             "header %u is unknown; there are none (%d) and RFC "
                             "5424 (%d)",
                             (unsigned)options->header, WEIR_HEADER_NONE, WEIR_HEADER_RFC5424);
    }
    bool has_header = options->header == WEIR_HEADER_RFC5424;
    int error = has_header ? framer_check_header(options, why, why_bytes) : 0;
    if (error != 0) {
        return error;
    }
    memset(framer, 0, sizeof(*framer));
    framer->framing = options->framing;
    framer->delimiter = options->delimiter;
    framer->header = options->header;
    bool relp = options->framing == WEIR_FRAMING_RELP;
    framer->counted = relp || options->framing == WEIR_FRAMING_OCTET_COUNTING;
    framer->lead_bytes = relp ? FRAMER_RELP_LEAD_BYTES : 0;
    framer->suffix_bytes = relp || options->framing == WEIR_FRAMING_NEWLINE ? 1 : 0;
    if (has_header) {
        framer_render_header(framer, options);
    }
    if (why_bytes > 0) {
        why[0] = '\0';
    }
    return 0;
}

static void timestamp_pair_write(char *to, uint32_t value)
{
    to[0] = (char)('0' + value / 10);
    to[1] = (char)('0' + value % 10);
}

// The calendar repeats every 400 years. Counting from 1600-03-01 puts the leap day at the end of
// its year, century and cycle, so that each level is a division whose last share may be one day
// longer: hence the two clamps. (A fourth century ends long, as does a fourth year.)
static void timestamp_date_write(char *to, uint32_t days_since_1970)
{
    uint32_t days = days_since_1970 + 135080; // from 1600-03-01 to 1970-01-01
    uint32_t cycle = days / 146097;
    days %= 146097;
    uint32_t century = days / 36524 < 4 ? days / 36524 : 3;
    days -= century * 36524;
    uint32_t leap = days / 1461;
    days %= 1461;
    uint32_t year = days / 365 < 4 ? days / 365 : 3;
    days -= year * 365;
    // March to July have 31 30 31 30 31 days, as have August to December: 153 in five months.
    uint32_t month = (5 * days + 2) / 153;
    uint32_t day = days - (153 * month + 2) / 5 + 1;
    year += 1600 + 400 * cycle + 100 * century + 4 * leap + (month >= 10 ? 1 : 0);
    month = month >= 10 ? month - 9 : month + 3;
    timestamp_pair_write(to, year / 100);
    timestamp_pair_write(to + 2, year % 100);
    to[4] = '-';
    timestamp_pair_write(to + 5, month);
    to[7] = '-';
    timestamp_pair_write(to + 8, day);
}

void weir_timestamp_write(uint64_t seconds, uint32_t microseconds, char *to)
{
    weir_assert(seconds <= FRAMER_SECONDS_MAX && microseconds < 1000000);
    uint32_t second = (uint32_t)(seconds % 86400);
    timestamp_date_write(to, (uint32_t)(seconds / 86400));
    to[10] = 'T';
    timestamp_pair_write(to + 11, second / 3600);
    to[13] = ':';
    timestamp_pair_write(to + 14, second / 60 % 60);
    to[16] = ':';
    timestamp_pair_write(to + 17, second % 60);
    to[19] = '.';
    timestamp_pair_write(to + 20, microseconds / 10000);
    timestamp_pair_write(to + 22, microseconds / 100 % 100);
    timestamp_pair_write(to + 24, microseconds % 100);
    to[26] = 'Z';
}

static size_t framer_digits(uint64_t value)
{
    size_t digits = 1;
    for (; value >= 10; value /= 10) {
        digits++;
    }
    return digits;
}

static size_t framer_header_bytes(const struct weir_framer *framer, uint8_t severity)
{
    if (framer->header == WEIR_HEADER_NONE) {
        return 0;
    }
    return (size_t)framer->pri_bytes[severity] + WEIR_TIMESTAMP_BYTES + framer->tail_bytes;
}

// Whether LEN can say it.
static int framer_check_count(const struct weir_framer *framer, uint64_t count)
{
    if (framer->counted && count == 0) {
        return -EINVAL;
    }
    return framer->lead_bytes > 0 && count > FRAMER_RELP_COUNT_MAX ? (int)WEIR_ETOOBIG : 0;
}

static uint64_t framer_prefix_bytes(const struct weir_framer *framer, size_t header_bytes,
                                    uint64_t payload_bytes)
{
    if (!framer->counted) {
        return header_bytes;
    }
    return framer->lead_bytes + framer_digits(header_bytes + payload_bytes) + 1 + header_bytes;
}

// Writes exactly framer_prefix_bytes() bytes.
static void framer_prefix_write(const struct weir_framer *framer, uint64_t wall_ns,
                                uint8_t severity, char *to, size_t payload_bytes)
{
    if (framer->counted) {
        if (framer->lead_bytes > 0) {
            memcpy(to, FRAMER_RELP_LEAD, FRAMER_RELP_LEAD_BYTES);
            to += FRAMER_RELP_LEAD_BYTES;
        }
        uint64_t count = framer_header_bytes(framer, severity) + payload_bytes;
        size_t digits = framer_digits(count);
        for (size_t left = digits; left > 0; left--) {
            to[left - 1] = (char)('0' + count % 10);
            count /= 10;
        }
        to[digits] = ' ';
        to += digits + 1;
    }
    if (framer->header == WEIR_HEADER_NONE) {
        return;
    }
    // All eight bytes, so that it is one move; the timestamp covers what is too much.
    memcpy(to, framer->pri[severity], sizeof(framer->pri[severity]));
    to += framer->pri_bytes[severity];
    weir_timestamp_write(wall_ns / FRAMER_NS_PER_S, (uint32_t)(wall_ns % FRAMER_NS_PER_S / 1000),
                         to);
    memcpy(to + WEIR_TIMESTAMP_BYTES, framer->tail, framer->tail_bytes);
}

size_t weir_framer_suffix_bytes(const struct weir_framer *framer)
{
    weir_assert(framer != NULL);
    return framer->suffix_bytes;
}

// How many newlines stand in the way; with REFUSE none or one, as the first decides.
static size_t framer_delimiters(const struct weir_framer *framer, const void *bytes, size_t count)
{
    if (framer->framing != WEIR_FRAMING_NEWLINE || framer->delimiter == WEIR_DELIMITER_PASS) {
        return 0;
    }
    size_t newlines = 0;
    const char *at = bytes;
    while (count > 0) {
        const char *newline = memchr(at, '\n', count);
        if (newline == NULL) {
            break;
        }
        newlines++;
        if (framer->delimiter == WEIR_DELIMITER_REFUSE) {
            break;
        }
        count -= (size_t)(newline + 1 - at);
        at = newline + 1;
    }
    return newlines;
}

int weir_framer_measure(const struct weir_framer *framer, uint8_t severity,
                        const struct weir_iovec *parts, size_t count, size_t *frame_bytes)
{
    weir_assert(framer != NULL && frame_bytes != NULL && (parts != NULL || count == 0));
    weir_assert(severity <= WEIR_SEVERITY_DEFAULT);
    uint64_t payload_bytes = 0;
    // Sizes first: a wrong one is found before any of the bytes is touched.
    for (size_t index = 0; index < count; index++) {
        if (parts[index].bytes_count > UINT32_MAX - payload_bytes) {
            return WEIR_ETOOBIG;
        }
        payload_bytes += parts[index].bytes_count;
    }
    for (size_t index = 0; index < count; index++) {
        size_t newlines = framer_delimiters(framer, parts[index].bytes, parts[index].bytes_count);
        if (newlines > 0 && framer->delimiter == WEIR_DELIMITER_REFUSE) {
            return WEIR_EDELIMITER;
        }
        payload_bytes += newlines;
    }
    size_t header_bytes = framer_header_bytes(framer, severity);
    int error = framer_check_count(framer, header_bytes + payload_bytes);
    if (error != 0) {
        return error;
    }
    uint64_t total_bytes = framer_prefix_bytes(framer, header_bytes, payload_bytes) +
                           payload_bytes + weir_framer_suffix_bytes(framer);
    if (total_bytes > UINT32_MAX) {
        return WEIR_ETOOBIG;
    }
    *frame_bytes = (size_t)total_bytes;
    return 0;
}

static char *framer_escape(char *to, const char *end, const char *from, size_t count)
{
    while (count > 0) {
        const char *newline = memchr(from, '\n', count);
        size_t run = newline != NULL ? (size_t)(newline - from) : count;
        weir_assert(run + (newline != NULL ? 2 : 0) <= (size_t)(end - to));
        memcpy(to, from, run);
        to += run;
        if (newline == NULL) {
            break;
        }
        *to++ = '\\';
        *to++ = 'n';
        from += run + 1;
        count -= run + 1;
    }
    return to;
}

size_t weir_framer_write(const struct weir_framer *framer, uint64_t wall_ns, uint8_t severity,
                         void *to, const struct weir_iovec *parts, size_t count, size_t frame_bytes)
{
    weir_assert(framer != NULL && to != NULL && (parts != NULL || count == 0));
    weir_assert(severity <= WEIR_SEVERITY_DEFAULT);
    size_t payload_bytes = 0;
    for (size_t index = 0; index < count; index++) {
        weir_assert(parts[index].bytes_count <= frame_bytes - payload_bytes);
        payload_bytes += parts[index].bytes_count;
    }
    size_t header_bytes = framer_header_bytes(framer, severity);
    size_t prefix_bytes = (size_t)framer_prefix_bytes(framer, header_bytes, payload_bytes);
    size_t suffix_bytes = weir_framer_suffix_bytes(framer);
    weir_assert(prefix_bytes + payload_bytes + suffix_bytes <= frame_bytes);
    // What was measured beyond that are escapes: without any the payload needs no second scan.
    bool escapes = prefix_bytes + payload_bytes + suffix_bytes < frame_bytes;
    char *at = to;
    const char *end = at + frame_bytes - suffix_bytes;
    framer_prefix_write(framer, wall_ns, severity, at, payload_bytes);
    at += prefix_bytes;
    for (size_t index = 0; index < count; index++) {
        if (escapes) {
            at = framer_escape(at, end, parts[index].bytes, parts[index].bytes_count);
        } else if (parts[index].bytes_count > 0) {
            memcpy(at, parts[index].bytes, parts[index].bytes_count);
            at += parts[index].bytes_count;
        }
    }
    weir_assert(at == end);
    if (suffix_bytes > 0) {
        *at = '\n';
    }
    return frame_bytes;
}

size_t weir_framer_prefix_bytes_max(const struct weir_framer *framer, size_t payload_bytes_max)
{
    weir_assert(framer != NULL);
    return (size_t)framer_prefix_bytes(framer, framer->header_bytes_max, payload_bytes_max);
}

// From the back, so that nothing is overwritten before it was read; done where the two meet.
static void framer_escape_in_place(char *payload, size_t bytes, size_t newlines)
{
    const char *from = payload + bytes;
    char *to = payload + bytes + newlines;
    while (to > from) {
        from--;
        if (*from == '\n') {
            *--to = 'n';
            *--to = '\\';
        } else {
            *--to = *from;
        }
    }
}

int weir_framer_finish(const struct weir_framer *framer, uint64_t wall_ns, uint8_t severity,
                       uint8_t *room, size_t payload_bytes, size_t payload_bytes_max,
                       uint32_t *frame_offset, uint32_t *frame_bytes)
{
    weir_assert(framer != NULL && room != NULL && frame_offset != NULL && frame_bytes != NULL);
    weir_assert(severity <= WEIR_SEVERITY_DEFAULT && payload_bytes <= payload_bytes_max);
    size_t suffix_bytes = weir_framer_suffix_bytes(framer);
    if (payload_bytes_max > UINT32_MAX) {
        return WEIR_ETOOBIG;
    }
    size_t payload_offset = weir_framer_prefix_bytes_max(framer, payload_bytes_max);
    if (payload_bytes_max > UINT32_MAX - payload_offset - suffix_bytes) {
        return WEIR_ETOOBIG;
    }
    char *payload = (char *)room + payload_offset;
    size_t newlines = framer_delimiters(framer, payload, payload_bytes);
    if (newlines > 0 && (framer->delimiter == WEIR_DELIMITER_REFUSE ||
                         newlines > payload_bytes_max - payload_bytes)) {
        return WEIR_EDELIMITER;
    }
    size_t header_bytes = framer_header_bytes(framer, severity);
    int error = framer_check_count(framer, header_bytes + payload_bytes);
    if (error != 0) {
        return error;
    }
    framer_escape_in_place(payload, payload_bytes, newlines);
    payload_bytes += newlines;
    size_t prefix_bytes = (size_t)framer_prefix_bytes(framer, header_bytes, payload_bytes);
    weir_assert(prefix_bytes <= payload_offset);
    framer_prefix_write(framer, wall_ns, severity, payload - prefix_bytes, payload_bytes);
    if (suffix_bytes > 0) {
        payload[payload_bytes] = '\n';
    }
    *frame_offset = (uint32_t)(payload_offset - prefix_bytes);
    *frame_bytes = (uint32_t)(prefix_bytes + payload_bytes + suffix_bytes);
    return 0;
}
