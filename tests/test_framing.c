// Tests of the framing: what was framed is taken apart again by a reader written separately.
//
// At every boundary and at random; the two ways in must give the same bytes; the calendar is held
// against a counted one and against the C library.
#include "writer/framing.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support_random.h"
#include "tests/support_runtime.h"

#define RANDOM_RUNS 20000
#define WHY_BYTES 256
// 2026-11-22T14:09:45.123456789Z
#define WALL_NS UINT64_C(1795356585123456789)
#define STAMP "2026-11-22T14:09:45.123456Z"

// Exactly `bytes` bytes from the heap, so that the address sanitizer sees one byte too many.
static uint8_t *room_new(size_t bytes)
{
    uint8_t *room = malloc(bytes > 0 ? bytes : 1);
    assert_non_null(room);
    memset(room, 0xa5, bytes);
    return room;
}

static struct weir_framer framer_make(const struct weir_framing_options *options)
{
    struct weir_framer framer;
    char why[WHY_BYTES] = "unwritten";
    if (weir_framer_init(&framer, options, why, sizeof(why)) != 0) {
        fail_msg("refused: %s", why);
    }
    assert_string_equal(why, "");
    return framer;
}

static struct weir_framer framer_of(enum weir_framing framing, enum weir_delimiter_policy delimiter)
{
    struct weir_framing_options options = {.framing = framing, .delimiter = delimiter};
    return framer_make(&options);
}

static struct weir_framing_options syslog_options(enum weir_framing framing)
{
    struct weir_framing_options options = {.framing = framing,
                                           .header = WEIR_HEADER_RFC5424,
                                           .facility = 20,
                                           .severity = 5,
                                           .hostname = "web1",
                                           .app = "nginx",
                                           .procid = "42"};
    return options;
}

// Measures and writes `text` in one part; the frame as a string from the heap.
static char *frame_text(const struct weir_framer *framer, uint8_t severity, const char *text)
{
    struct weir_iovec part = {text, strlen(text)};
    size_t bytes = 0;
    assert_int_equal(weir_framer_measure(framer, severity, &part, 1, &bytes), 0);
    char *frame = malloc(bytes + 1);
    assert_non_null(frame);
    frame[bytes] = 0x5a;
    assert_int_equal(weir_framer_write(framer, WALL_NS, severity, frame, &part, 1, bytes), bytes);
    assert_int_equal(frame[bytes], 0x5a);
    frame[bytes] = '\0';
    return frame;
}

static void frames_as(const struct weir_framer *framer, uint8_t severity, const char *text,
                      const char *expected)
{
    char *frame = frame_text(framer, severity, text);
    assert_string_equal(frame, expected);
    free(frame);
}

static void test_frames_without_header(void **state)
{
    (void)state;
    static const struct {
        enum weir_framing framing;
        enum weir_delimiter_policy delimiter;
        const char *text;
        const char *frame;
    } rows[] = {
        {WEIR_FRAMING_NEWLINE, WEIR_DELIMITER_ESCAPE, "", "\n"},
        {WEIR_FRAMING_NEWLINE, WEIR_DELIMITER_ESCAPE, "a", "a\n"},
        {WEIR_FRAMING_NEWLINE, WEIR_DELIMITER_ESCAPE, "\n", "\\n\n"},
        {WEIR_FRAMING_NEWLINE, WEIR_DELIMITER_ESCAPE, "a\n", "a\\n\n"},
        {WEIR_FRAMING_NEWLINE, WEIR_DELIMITER_ESCAPE, "\na", "\\na\n"},
        {WEIR_FRAMING_NEWLINE, WEIR_DELIMITER_ESCAPE, "a\n\nb\nc", "a\\n\\nb\\nc\n"},
        {WEIR_FRAMING_NEWLINE, WEIR_DELIMITER_ESCAPE, "a\\nb\r", "a\\nb\r\n"},
        {WEIR_FRAMING_NEWLINE, WEIR_DELIMITER_REFUSE, "", "\n"},
        {WEIR_FRAMING_NEWLINE, WEIR_DELIMITER_REFUSE, "ab", "ab\n"},
        {WEIR_FRAMING_NEWLINE, WEIR_DELIMITER_PASS, "a\nb\n", "a\nb\n\n"},
        {WEIR_FRAMING_OCTET_COUNTING, WEIR_DELIMITER_ESCAPE, "a", "1 a"},
        {WEIR_FRAMING_OCTET_COUNTING, WEIR_DELIMITER_REFUSE, "a\nb\n", "4 a\nb\n"},
        {WEIR_FRAMING_OCTET_COUNTING, WEIR_DELIMITER_PASS, "123456789", "9 123456789"},
        {WEIR_FRAMING_OCTET_COUNTING, WEIR_DELIMITER_PASS, "1234567890", "10 1234567890"},
        {WEIR_FRAMING_RELP, WEIR_DELIMITER_ESCAPE, "a", "000000000 syslog 1 a\n"},
        {WEIR_FRAMING_RELP, WEIR_DELIMITER_REFUSE, "a\nb\n", "000000000 syslog 4 a\nb\n\n"},
        {WEIR_FRAMING_RELP, WEIR_DELIMITER_PASS, "\n", "000000000 syslog 1 \n\n"},
        {WEIR_FRAMING_RELP, WEIR_DELIMITER_ESCAPE, "123456789", "000000000 syslog 9 123456789\n"},
        {WEIR_FRAMING_RELP, WEIR_DELIMITER_ESCAPE, "1234567890",
         "000000000 syslog 10 1234567890\n"},
        {WEIR_FRAMING_RAW, WEIR_DELIMITER_ESCAPE, "", ""},
        {WEIR_FRAMING_RAW, WEIR_DELIMITER_REFUSE, "a\nb\n", "a\nb\n"},
        {WEIR_FRAMING_RAW, WEIR_DELIMITER_PASS, "a", "a"},
    };
    for (size_t index = 0; index < sizeof(rows) / sizeof(rows[0]); index++) {
        struct weir_framer framer = framer_of(rows[index].framing, rows[index].delimiter);
        frames_as(&framer, WEIR_SEVERITY_DEFAULT, rows[index].text, rows[index].frame);
        frames_as(&framer, 0, rows[index].text, rows[index].frame);
    }
}

static void test_frames_with_header(void **state)
{
    (void)state;
    struct weir_framing_options options = syslog_options(WEIR_FRAMING_NEWLINE);
    struct weir_framer framer = framer_make(&options);
    frames_as(&framer, 8, "hi", "<165>1 " STAMP " web1 nginx 42 - - hi\n");
    frames_as(&framer, 0, "hi", "<160>1 " STAMP " web1 nginx 42 - - hi\n");
    frames_as(&framer, 7, "", "<167>1 " STAMP " web1 nginx 42 - - \n");
    frames_as(&framer, 8, "a\nb", "<165>1 " STAMP " web1 nginx 42 - - a\\nb\n");
    options.framing = WEIR_FRAMING_OCTET_COUNTING;
    framer = framer_make(&options);
    frames_as(&framer, 8, "a\nb", "56 <165>1 " STAMP " web1 nginx 42 - - a\nb");
    frames_as(&framer, 8, "", "53 <165>1 " STAMP " web1 nginx 42 - - ");
    options.framing = WEIR_FRAMING_RELP;
    framer = framer_make(&options);
    frames_as(&framer, 8, "a\nb", "000000000 syslog 56 <165>1 " STAMP " web1 nginx 42 - - a\nb\n");
    frames_as(&framer, 8, "", "000000000 syslog 53 <165>1 " STAMP " web1 nginx 42 - - \n");
    options.framing = WEIR_FRAMING_RAW;
    memset(options.hostname, 0, sizeof(options.hostname));
    memset(options.app, 0, sizeof(options.app));
    options.procid[0] = '-';
    options.procid[1] = '\0';
    strcpy(options.msgid, "ID47");
    options.facility = 0;
    options.severity = 0;
    framer = framer_make(&options);
    frames_as(&framer, 8, "x", "<0>1 " STAMP " - - - ID47 - x");
    frames_as(&framer, 7, "x", "<7>1 " STAMP " - - - ID47 - x");
}

static void test_every_facility_and_severity(void **state)
{
    (void)state;
    struct weir_framing_options options = syslog_options(WEIR_FRAMING_OCTET_COUNTING);
    for (uint8_t facility = 0; facility <= 23; facility++) {
        for (uint8_t given = 0; given <= 7; given++) {
            options.facility = facility;
            options.severity = given;
            struct weir_framer framer = framer_make(&options);
            for (uint8_t severity = 0; severity <= 8; severity++) {
                unsigned priority = facility * 8U + (severity < 8 ? severity : given);
                char body[200], expected[220];
                snprintf(body, sizeof(body), "<%u>1 " STAMP " web1 nginx 42 - - m", priority);
                snprintf(expected, sizeof(expected), "%zu %s", strlen(body), body);
                frames_as(&framer, severity, "m", expected);
            }
        }
    }
}

static void test_measure_errors(void **state)
{
    (void)state;
    size_t bytes = 77;
    struct weir_iovec parts[3] = {{"ab", 2}, {NULL, 0}, {"c\nd", 3}};
    struct weir_framer refuse = framer_of(WEIR_FRAMING_NEWLINE, WEIR_DELIMITER_REFUSE);
    assert_int_equal(weir_framer_measure(&refuse, 8, parts, 3, &bytes), WEIR_EDELIMITER);
    assert_int_equal(bytes, 77);
    assert_int_equal(weir_framer_measure(&refuse, 8, parts, 2, &bytes), 0);
    assert_int_equal(bytes, 3);
    struct weir_framer octet = framer_of(WEIR_FRAMING_OCTET_COUNTING, WEIR_DELIMITER_ESCAPE);
    bytes = 77;
    assert_int_equal(weir_framer_measure(&octet, 8, NULL, 0, &bytes), -EINVAL);
    assert_int_equal(weir_framer_measure(&octet, 8, parts + 1, 1, &bytes), -EINVAL);
    assert_int_equal(bytes, 77);
    struct weir_framer relp = framer_of(WEIR_FRAMING_RELP, WEIR_DELIMITER_REFUSE);
    assert_int_equal(weir_framer_measure(&relp, 8, NULL, 0, &bytes), -EINVAL);
    assert_int_equal(weir_framer_measure(&relp, 8, parts + 1, 1, &bytes), -EINVAL);
    assert_int_equal(bytes, 77);
    assert_int_equal(weir_framer_measure(&relp, 8, parts, 3, &bytes), 0);
    assert_int_equal(bytes, 9 + 8 + 2 + 5 + 1);
    struct weir_framing_options options = syslog_options(WEIR_FRAMING_OCTET_COUNTING);
    struct weir_framer header = framer_make(&options);
    assert_int_equal(weir_framer_measure(&header, 8, NULL, 0, &bytes), 0);
    options.framing = WEIR_FRAMING_RELP;
    header = framer_make(&options);
    assert_int_equal(weir_framer_measure(&header, 8, NULL, 0, &bytes), 0);
    assert_int_equal(bytes, 9 + 8 + 3 + 53 + 1);
    struct weir_framer raw = framer_of(WEIR_FRAMING_RAW, WEIR_DELIMITER_ESCAPE);
    assert_int_equal(weir_framer_measure(&raw, 8, NULL, 0, &bytes), 0);
    assert_int_equal(bytes, 0);
}

// Sizes that nobody has in memory: bytes are not looked at unless the policy needs them.
static void test_measure_too_big(void **state)
{
    (void)state;
    struct weir_framing_options syslog = syslog_options(WEIR_FRAMING_RAW);
    struct weir_framing_options relp = syslog_options(WEIR_FRAMING_RELP);
    const size_t header_bytes = 53;
    const size_t relp_bytes = 17 + 10 + 999999999 + 1; // nine digits for LEN
    const struct {
        struct weir_framer framer;
        size_t payload_bytes_max; // the largest that fits
        size_t frame_bytes;
    } rows[] = {
        {framer_of(WEIR_FRAMING_RAW, WEIR_DELIMITER_ESCAPE), UINT32_MAX, UINT32_MAX},
        {framer_of(WEIR_FRAMING_NEWLINE, WEIR_DELIMITER_PASS), UINT32_MAX - 1, UINT32_MAX},
        {framer_of(WEIR_FRAMING_OCTET_COUNTING, WEIR_DELIMITER_REFUSE), UINT32_MAX - 11,
         UINT32_MAX},
        {framer_make(&syslog), UINT32_MAX - header_bytes, UINT32_MAX},
        {framer_of(WEIR_FRAMING_RELP, WEIR_DELIMITER_REFUSE), 999999999, relp_bytes},
        {framer_make(&relp), 999999999 - header_bytes, relp_bytes},
    };
    for (size_t index = 0; index < sizeof(rows) / sizeof(rows[0]); index++) {
        size_t most = rows[index].payload_bytes_max;
        size_t bytes = 0;
        struct weir_iovec parts[2] = {{"", most}, {"", 0}};
        assert_int_equal(weir_framer_measure(&rows[index].framer, 8, parts, 2, &bytes), 0);
        assert_int_equal(bytes, rows[index].frame_bytes);
        parts[1].bytes_count = 1;
        assert_int_equal(weir_framer_measure(&rows[index].framer, 8, parts, 2, &bytes),
                         WEIR_ETOOBIG);
        parts[1].bytes_count = SIZE_MAX; // and their sum would wrap
        assert_int_equal(weir_framer_measure(&rows[index].framer, 8, parts, 2, &bytes),
                         WEIR_ETOOBIG);
        parts[0].bytes_count = SIZE_MAX;
        assert_int_equal(weir_framer_measure(&rows[index].framer, 8, parts, 1, &bytes),
                         WEIR_ETOOBIG);
        assert_int_equal(bytes, rows[index].frame_bytes);
    }
}

// One newline decides. The same MiB 4094 times and some more: four GiB to be scanned.
static void test_escape_makes_too_big(void **state)
{
    (void)state;
    const size_t mib = (size_t)1 << 20;
    const size_t count = 4098;
    char *block = malloc(mib);
    struct weir_iovec *parts = calloc(count, sizeof(*parts));
    assert_non_null(block);
    assert_non_null(parts);
    memset(block, 'x', mib);
    for (size_t index = 0; index < 4095; index++) {
        parts[index] = (struct weir_iovec){block, mib};
    }
    parts[4095] = (struct weir_iovec){"\n", 1};
    // Fills up to UINT32_MAX together with the newline's two bytes and the delimiter's one.
    parts[4096] = (struct weir_iovec){block, UINT32_MAX - 4095 * mib - 3};
    parts[4097] = (struct weir_iovec){block, 1};
    struct weir_framer framer = framer_of(WEIR_FRAMING_NEWLINE, WEIR_DELIMITER_ESCAPE);
    size_t bytes = 0;
    assert_int_equal(weir_framer_measure(&framer, 8, parts, count - 1, &bytes), 0);
    assert_int_equal(bytes, UINT32_MAX);
    assert_int_equal(weir_framer_measure(&framer, 8, parts, count, &bytes), WEIR_ETOOBIG);
    assert_int_equal(bytes, UINT32_MAX);
    free(parts);
    free(block);
}

static void options_refused(const struct weir_framing_options *options, const char *says)
{
    struct weir_framer framer, before;
    memset(&framer, 0xa5, sizeof(framer));
    memset(&before, 0xa5, sizeof(before));
    char why[WHY_BYTES] = "";
    if (weir_framer_init(&framer, options, why, sizeof(why)) != WEIR_EOPTION) {
        fail_msg("not refused, should say \"%s\"", says);
    }
    if (strstr(why, says) == NULL) {
        fail_msg("refused with \"%s\", which does not say \"%s\"", why, says);
    }
    assert_true(strlen(why) < WHY_BYTES - 1);
    assert_memory_equal(&framer, &before, sizeof(framer));
    assert_int_equal(weir_framer_init(&framer, options, NULL, 0), WEIR_EOPTION);
    assert_int_equal(weir_framer_init(&framer, options, why, 4), WEIR_EOPTION);
    assert_int_equal(strlen(why), 3);
}

static void test_init_ranges(void **state)
{
    (void)state;
    struct weir_framing_options options;
    memset(&options, 0, sizeof(options));
    struct weir_framer framer;
    assert_int_equal(weir_framer_init(&framer, &options, NULL, 0), 0);
    options.framing = (enum weir_framing)4;
    options_refused(&options, "framing 4 is unknown; there are newline (0), octet counting (1), "
                              "raw (2) and relp (3)");
    options.framing = (enum weir_framing) - 1;
    options_refused(&options, "framing 4294967295 is unknown");
    options = syslog_options(WEIR_FRAMING_RAW);
    options.delimiter = (enum weir_delimiter_policy)3;
    options_refused(&options, "delimiter policy 3 is unknown");
    options = syslog_options(WEIR_FRAMING_RAW);
    options.header = (enum weir_header)2;
    options_refused(&options, "header 2 is unknown");
    options = syslog_options(WEIR_FRAMING_RAW);
    options.facility = 24;
    options_refused(&options, "facility 24 is out of range");
    options.facility = 23;
    options.severity = 8;
    options_refused(&options, "severity 8 is out of range");
    options.severity = 255;
    options_refused(&options, "severity 255");
    // Without a header these fields are not looked at.
    options.header = WEIR_HEADER_NONE;
    memset(options.app, 0xff, sizeof(options.app));
    assert_int_equal(weir_framer_init(&framer, &options, NULL, 0), 0);
}

static void test_init_fields(void **state)
{
    (void)state;
    struct weir_framing_options options;
    const struct {
        const char *name;
        size_t offset, bytes_max;
    } fields[] = {
        {"hostname", offsetof(struct weir_framing_options, hostname), 256},
        {"app", offsetof(struct weir_framing_options, app), 49},
        {"procid", offsetof(struct weir_framing_options, procid), 129},
        {"msgid", offsetof(struct weir_framing_options, msgid), 33},
    };
    for (size_t index = 0; index < sizeof(fields) / sizeof(fields[0]); index++) {
        char *field = (char *)&options + fields[index].offset;
        size_t most = fields[index].bytes_max - 1;
        char says[64];
        for (unsigned byte = 1; byte <= 255; byte++) {
            options = syslog_options(WEIR_FRAMING_RAW);
            memset(field, 'x', most);
            field[byte % 2 == 0 ? 0 : most - 1] = (char)byte;
            if (byte >= 33 && byte <= 126) {
                (void)framer_make(&options);
                continue;
            }
            snprintf(says, sizeof(says), "%s: character %zu is byte 0x%02x", fields[index].name,
                     byte % 2 == 0 ? (size_t)1 : most, byte);
            options_refused(&options, says);
        }
        options = syslog_options(WEIR_FRAMING_RAW);
        memset(field, 'x', most + 1); // no terminator
        snprintf(says, sizeof(says), "%s is longer than the %zu", fields[index].name, most);
        options_refused(&options, says);
    }
}

static void test_longest_header(void **state)
{
    (void)state;
    struct weir_framing_options options;
    memset(&options, 0, sizeof(options));
    options.framing = WEIR_FRAMING_OCTET_COUNTING;
    options.header = WEIR_HEADER_RFC5424;
    options.facility = 23;
    options.severity = 7;
    memset(options.hostname, '!', 255);
    memset(options.app, '~', 48);
    memset(options.procid, 'p', 128);
    memset(options.msgid, 'm', 32);
    struct weir_framer framer = framer_make(&options);
    char expected[600];
    int bytes = snprintf(expected, sizeof(expected), "505 <191>1 " STAMP " %s %s %s %s - x",
                         options.hostname, options.app, options.procid, options.msgid);
    assert_int_equal(bytes, 4 + 505);
    frames_as(&framer, 8, "x", expected);
    assert_int_equal(weir_framer_prefix_bytes_max(&framer, 1), 4 + 504);
}

static void test_prefix_and_suffix_sizes(void **state)
{
    (void)state;
    struct weir_framer newline = framer_of(WEIR_FRAMING_NEWLINE, WEIR_DELIMITER_ESCAPE);
    struct weir_framer octet = framer_of(WEIR_FRAMING_OCTET_COUNTING, WEIR_DELIMITER_ESCAPE);
    struct weir_framer raw = framer_of(WEIR_FRAMING_RAW, WEIR_DELIMITER_ESCAPE);
    assert_int_equal(weir_framer_suffix_bytes(&newline), 1);
    assert_int_equal(weir_framer_suffix_bytes(&octet), 0);
    assert_int_equal(weir_framer_suffix_bytes(&raw), 0);
    struct weir_framer relp = framer_of(WEIR_FRAMING_RELP, WEIR_DELIMITER_ESCAPE);
    assert_int_equal(weir_framer_suffix_bytes(&relp), 1);
    assert_int_equal(weir_framer_prefix_bytes_max(&newline, 1000), 0);
    assert_int_equal(weir_framer_prefix_bytes_max(&raw, 1000), 0);
    static const struct {
        size_t payload_bytes, prefix_bytes;
    } rows[] = {{0, 2},   {1, 2},     {9, 2},      {10, 3},         {99, 3},
                {100, 4}, {99999, 6}, {100000, 7}, {UINT32_MAX, 11}};
    for (size_t index = 0; index < sizeof(rows) / sizeof(rows[0]); index++) {
        assert_int_equal(weir_framer_prefix_bytes_max(&octet, rows[index].payload_bytes),
                         rows[index].prefix_bytes);
        // "000000000 syslog " before the same.
        assert_int_equal(weir_framer_prefix_bytes_max(&relp, rows[index].payload_bytes),
                         17 + rows[index].prefix_bytes);
    }
    // Facility 12: severities 0..3 have two digits, 4..7 three; the most is that of three.
    struct weir_framing_options options = syslog_options(WEIR_FRAMING_NEWLINE);
    options.facility = 12;
    options.severity = 0;
    struct weir_framer mixed = framer_make(&options);
    assert_int_equal(weir_framer_prefix_bytes_max(&mixed, 5), 53);
}

// Puts `text` into a fresh room, finishes it there, and gives the room back.
static uint8_t *finish_text(const struct weir_framer *framer, uint8_t severity, const void *text,
                            size_t bytes, size_t bytes_max, int *error, uint32_t *offset,
                            uint32_t *frame_bytes)
{
    size_t prefix_bytes = weir_framer_prefix_bytes_max(framer, bytes_max);
    uint8_t *room = room_new(prefix_bytes + bytes_max + weir_framer_suffix_bytes(framer));
    memcpy(room + prefix_bytes, text, bytes);
    *error =
        weir_framer_finish(framer, WALL_NS, severity, room, bytes, bytes_max, offset, frame_bytes);
    return room;
}

static void test_finish_escapes_up_to_the_limit(void **state)
{
    (void)state;
    struct weir_framer framer = framer_of(WEIR_FRAMING_NEWLINE, WEIR_DELIMITER_ESCAPE);
    static const struct {
        const char *text;
        size_t bytes_max;
        const char *frame; // NULL: refused
    } rows[] = {
        {"", 0, "\n"},
        {"a", 1, "a\n"},
        {"a", 2, "a\n"},
        {"\n", 1, NULL},
        {"\n", 2, "\\n\n"},
        {"\n", 3, "\\n\n"},
        {"a\nb", 3, NULL},
        {"a\nb", 4, "a\\nb\n"},
        {"\n\n\n", 5, NULL},
        {"\n\n\n", 6, "\\n\\n\\n\n"},
        {"\n\n\n", 7, "\\n\\n\\n\n"},
        {"ab\ncd\n", 7, NULL},
        {"ab\ncd\n", 8, "ab\\ncd\\n\n"},
    };
    for (size_t index = 0; index < sizeof(rows) / sizeof(rows[0]); index++) {
        int error;
        uint32_t offset = 7777, bytes = 8888;
        size_t text_bytes = strlen(rows[index].text);
        uint8_t *room = finish_text(&framer, 8, rows[index].text, text_bytes, rows[index].bytes_max,
                                    &error, &offset, &bytes);
        if (rows[index].frame == NULL) {
            assert_int_equal(error, WEIR_EDELIMITER);
            assert_memory_equal(room, rows[index].text, text_bytes); // untouched
            for (size_t at = text_bytes; at < rows[index].bytes_max + 1; at++) {
                assert_int_equal(room[at], 0xa5);
            }
            assert_int_equal(offset, 7777);
            assert_int_equal(bytes, 8888);
        } else {
            assert_int_equal(error, 0);
            assert_int_equal(offset, 0);
            assert_int_equal(bytes, strlen(rows[index].frame));
            assert_memory_equal(room, rows[index].frame, bytes);
        }
        free(room);
    }
}

static void test_finish_errors(void **state)
{
    (void)state;
    int error;
    uint32_t offset = 1, bytes = 2;
    struct weir_framer refuse = framer_of(WEIR_FRAMING_NEWLINE, WEIR_DELIMITER_REFUSE);
    free(finish_text(&refuse, 8, "a\n", 2, 50, &error, &offset, &bytes));
    assert_int_equal(error, WEIR_EDELIMITER);
    struct weir_framer octet = framer_of(WEIR_FRAMING_OCTET_COUNTING, WEIR_DELIMITER_REFUSE);
    free(finish_text(&octet, 8, "", 0, 50, &error, &offset, &bytes));
    assert_int_equal(error, -EINVAL);
    assert_int_equal(offset, 1);
    assert_int_equal(bytes, 2);
    free(finish_text(&octet, 8, "a\n", 2, 50, &error, &offset, &bytes));
    assert_int_equal(error, 0);
    assert_int_equal(offset, 1); // "50 " was kept free, "2 " was needed
    assert_int_equal(bytes, 4);
    struct weir_framer relp = framer_of(WEIR_FRAMING_RELP, WEIR_DELIMITER_REFUSE);
    free(finish_text(&relp, 8, "", 0, 50, &error, &offset, &bytes));
    assert_int_equal(error, -EINVAL);
    assert_int_equal(offset, 1);
    assert_int_equal(bytes, 4);
    uint8_t *room = finish_text(&relp, 8, "a\n", 2, 50, &error, &offset, &bytes);
    assert_int_equal(error, 0);
    assert_int_equal(offset, 1);
    assert_int_equal(bytes, 22);
    assert_memory_equal(room + offset, "000000000 syslog 2 a\n\n", 22);
    free(room);
    struct weir_framing_options options = syslog_options(WEIR_FRAMING_OCTET_COUNTING);
    struct weir_framer header = framer_make(&options);
    free(finish_text(&header, 8, "", 0, 0, &error, &offset, &bytes));
    assert_int_equal(error, 0);
    assert_int_equal(offset, 0);
    assert_int_equal(bytes, 3 + 53);
}

// Room sizes around UINT32_MAX; only what lies before and at the payload exists.
static void test_finish_too_big(void **state)
{
    (void)state;
    struct weir_framer raw = framer_of(WEIR_FRAMING_RAW, WEIR_DELIMITER_ESCAPE);
    struct weir_framer newline = framer_of(WEIR_FRAMING_NEWLINE, WEIR_DELIMITER_ESCAPE);
    struct weir_framer octet = framer_of(WEIR_FRAMING_OCTET_COUNTING, WEIR_DELIMITER_ESCAPE);
    const struct {
        const struct weir_framer *framer;
        size_t bytes_max;
        uint32_t offset, bytes;
    } rows[] = {{&raw, UINT32_MAX, 0, 1},
                {&newline, UINT32_MAX - 1, 0, 2},
                {&octet, UINT32_MAX - 11, 9, 3}};
    for (size_t index = 0; index < sizeof(rows) / sizeof(rows[0]); index++) {
        uint8_t room[16] = {0};
        uint32_t offset = 0, bytes = 0;
        const struct weir_framer *framer = rows[index].framer;
        size_t most = rows[index].bytes_max;
        assert_int_equal(weir_framer_finish(framer, 0, 8, room, 1, most, &offset, &bytes), 0);
        assert_int_equal(offset, rows[index].offset);
        assert_int_equal(bytes, rows[index].bytes);
        assert_int_equal(weir_framer_finish(framer, 0, 8, room, 1, most + 1, &offset, &bytes),
                         WEIR_ETOOBIG);
        assert_int_equal(weir_framer_finish(framer, 0, 8, room, 1, SIZE_MAX, &offset, &bytes),
                         WEIR_ETOOBIG);
    }
}

// RELP's LEN has nine digits, in a room that could hold more. Nothing of the room is touched.
static void test_finish_too_big_for_relp(void **state)
{
    (void)state;
    struct weir_framing_options options = syslog_options(WEIR_FRAMING_RELP);
    const struct weir_framer framers[] = {
        framer_of(WEIR_FRAMING_RELP, WEIR_DELIMITER_ESCAPE),
        framer_make(&options),
    };
    for (size_t index = 0; index < sizeof(framers) / sizeof(framers[0]); index++) {
        uint8_t room[16] = {0};
        uint32_t offset = 7, bytes = 8;
        size_t most = 999999999 - (index == 0 ? 0 : 53);
        assert_int_equal(weir_framer_finish(&framers[index], 0, 8, room, most + 1, UINT32_MAX - 100,
                                            &offset, &bytes),
                         WEIR_ETOOBIG);
        assert_int_equal(offset, 7);
        assert_int_equal(bytes, 8);
        for (size_t at = 0; at < sizeof(room); at++) {
            assert_int_equal(room[at], 0);
        }
    }
    // And just so much is taken: the suffix is the last byte that is there.
    const size_t most = 999999999;
    const size_t prefix_bytes = weir_framer_prefix_bytes_max(&framers[0], most);
    assert_int_equal(prefix_bytes, 27);
    uint8_t *room = mmap(NULL, prefix_bytes + most + 1, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(room != MAP_FAILED);
    uint32_t offset = 7, bytes = 8;
    assert_int_equal(weir_framer_finish(&framers[0], 0, 8, room, most, most, &offset, &bytes), 0);
    assert_int_equal(offset, 0);
    assert_int_equal(bytes, prefix_bytes + most + 1);
    assert_memory_equal(room, "000000000 syslog 999999999 ", 27);
    assert_int_equal(room[prefix_bytes + most], '\n');
    assert_int_equal(munmap(room, prefix_bytes + most + 1), 0);
}

// A reader of frames, written from the RFCs and not from the code under test. Checks everything
// around the payload and returns where it begins; the payload reaches to *end.
static const char *frame_read(const struct weir_framing_options *options, uint64_t wall_ns,
                              unsigned severity, const char *frame, size_t bytes, const char **end)
{
    const char *at = frame;
    *end = frame + bytes;
    if (options->framing == WEIR_FRAMING_NEWLINE || options->framing == WEIR_FRAMING_RELP) {
        assert_true(bytes >= 1);
        assert_int_equal(frame[bytes - 1], '\n');
        --*end;
    }
    if (options->framing == WEIR_FRAMING_RELP) {
        assert_true(bytes > 17);
        assert_memory_equal(at, "000000000 syslog ", 17);
        at += 17;
    }
    if (options->framing == WEIR_FRAMING_OCTET_COUNTING || options->framing == WEIR_FRAMING_RELP) {
        size_t count = 0;
        assert_true(*at >= '1' && *at <= '9');
        for (; *at != ' '; at++) {
            assert_true(*at >= '0' && *at <= '9');
            count = count * 10 + (size_t)(*at - '0');
        }
        at++;
        assert_int_equal(count, *end - at);
    }
    if (options->header == WEIR_HEADER_NONE) {
        return at;
    }
    const char *fields[8]; // PRI and version, time, host, app, procid, msgid, data
    size_t lengths[8];
    for (size_t index = 0; index < 7; index++) {
        const char *space = memchr(at, ' ', (size_t)(*end - at));
        assert_non_null(space);
        fields[index] = at;
        lengths[index] = (size_t)(space - at);
        at = space + 1;
    }
    char text[64];
    snprintf(text, sizeof(text), "<%u>1", options->facility * 8U + severity);
    assert_int_equal(lengths[0], strlen(text));
    assert_memory_equal(fields[0], text, lengths[0]);
    time_t seconds = (time_t)(wall_ns / 1000000000U);
    struct tm parts;
    assert_non_null(gmtime_r(&seconds, &parts));
    size_t used = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(text + used, sizeof(text) - used, ".%06uZ", (unsigned)(wall_ns / 1000 % 1000000));
    assert_int_equal(lengths[1], strlen(text));
    assert_memory_equal(fields[1], text, lengths[1]);
    const char *const given[5] = {options->hostname, options->app, options->procid, options->msgid,
                                  "-"};
    for (size_t index = 0; index < 5; index++) {
        const char *expected = given[index][0] == '\0' ? "-" : given[index];
        assert_int_equal(lengths[2 + index], strlen(expected));
        assert_memory_equal(fields[2 + index], expected, strlen(expected));
    }
    return at;
}

static void random_field(uint64_t *random, char *field, size_t bytes_max)
{
    static const unsigned shares[] = {0, 1, 5, 20};
    unsigned share = shares[random_below(random, 4)];
    size_t bytes = share == 20 ? bytes_max - 1 : random_below(random, share + 1);
    for (size_t index = 0; index < bytes && index < bytes_max - 1; index++) {
        field[index] = (char)(33 + random_below(random, 94));
    }
}

static void random_options(uint64_t *random, struct weir_framing_options *options)
{
    memset(options, 0, sizeof(*options));
    options->framing = (enum weir_framing)random_below(random, 4);
    options->delimiter = (enum weir_delimiter_policy)random_below(random, 3);
    options->header = (enum weir_header)random_below(random, 2);
    options->facility = (uint8_t)random_below(random, 24);
    options->severity = (uint8_t)random_below(random, 8);
    random_field(random, options->hostname, sizeof(options->hostname));
    random_field(random, options->app, sizeof(options->app));
    random_field(random, options->procid, sizeof(options->procid));
    random_field(random, options->msgid, sizeof(options->msgid));
}

// The payload as it must appear on the wire; in `out`, which has room for twice as much.
static size_t payload_expected(const struct weir_framing_options *options, const char *payload,
                               size_t bytes, char *out)
{
    size_t at = 0;
    for (size_t index = 0; index < bytes; index++) {
        if (payload[index] == '\n' && options->framing == WEIR_FRAMING_NEWLINE &&
            options->delimiter == WEIR_DELIMITER_ESCAPE) {
            out[at++] = '\\';
            out[at++] = 'n';
        } else {
            out[at++] = payload[index];
        }
    }
    return at;
}

static size_t random_payload(uint64_t *random, char *payload, size_t bytes_max)
{
    size_t bytes = random_below(random, random_below(random, 2) == 0 ? 4 : bytes_max + 1);
    // From none to only newlines.
    size_t newline_share = random_below(random, 4) == 0 ? random_below(random, 9) : 0;
    for (size_t index = 0; index < bytes; index++) {
        payload[index] = (char)random_next(random);
        if (random_below(random, 8) < newline_share) {
            payload[index] = '\n';
        } else if (newline_share == 0 && payload[index] == '\n') {
            payload[index] = '\0';
        }
    }
    return bytes;
}

static size_t random_parts(uint64_t *random, const char *payload, size_t bytes,
                           struct weir_iovec *parts, size_t count_max)
{
    size_t count = 0;
    size_t at = 0;
    while (count + 1 < count_max && random_below(random, 3) > 0) {
        size_t take = random_below(random, bytes - at + 1);
        parts[count].bytes = take > 0 ? payload + at : NULL;
        parts[count++].bytes_count = take;
        at += take;
    }
    parts[count].bytes = payload + at;
    parts[count++].bytes_count = bytes - at;
    return count;
}

struct sample {
    struct weir_framing_options options;
    struct weir_framer framer;
    uint64_t wall_ns;
    uint8_t severity;
    char payload[300];
    size_t payload_bytes;
    char wire[600]; // the payload as it must be sent
    size_t wire_bytes;
};

static void sample_make(struct sample *sample, uint64_t *random)
{
    random_options(random, &sample->options);
    sample->framer = framer_make(&sample->options);
    sample->wall_ns = random_next(random) >> random_below(random, 64);
    sample->severity = (uint8_t)random_below(random, 9);
    sample->payload_bytes = random_payload(random, sample->payload, sizeof(sample->payload));
    sample->wire_bytes =
        payload_expected(&sample->options, sample->payload, sample->payload_bytes, sample->wire);
}

// The error that measuring must give.
static int sample_error(const struct sample *sample)
{
    const struct weir_framing_options *options = &sample->options;
    if (options->framing == WEIR_FRAMING_NEWLINE && options->delimiter == WEIR_DELIMITER_REFUSE &&
        memchr(sample->payload, '\n', sample->payload_bytes) != NULL) {
        return WEIR_EDELIMITER;
    }
    bool counted =
        options->framing == WEIR_FRAMING_OCTET_COUNTING || options->framing == WEIR_FRAMING_RELP;
    if (counted && options->header == WEIR_HEADER_NONE && sample->payload_bytes == 0) {
        return -EINVAL;
    }
    return 0;
}

static void test_random_frames_read_back(void **state)
{
    (void)state;
    uint64_t random = seed_get();
    int framed = 0;
    for (int run = 0; run < RANDOM_RUNS; run++) {
        struct sample sample;
        sample_make(&sample, &random);
        struct weir_iovec parts[6];
        size_t count = random_parts(&random, sample.payload, sample.payload_bytes, parts, 6);
        size_t bytes = 0;
        int error = weir_framer_measure(&sample.framer, sample.severity, parts, count, &bytes);
        assert_int_equal(error, sample_error(&sample));
        if (error != 0) {
            continue;
        }
        framed++;
        uint8_t *frame = room_new(bytes);
        assert_int_equal(weir_framer_write(&sample.framer, sample.wall_ns, sample.severity, frame,
                                           parts, count, bytes),
                         bytes);
        const char *end;
        unsigned severity = sample.severity < 8 ? sample.severity : sample.options.severity;
        const char *payload =
            frame_read(&sample.options, sample.wall_ns, severity, (const char *)frame, bytes, &end);
        assert_int_equal(end - payload, sample.wire_bytes);
        assert_memory_equal(payload, sample.wire, sample.wire_bytes);
        free(frame);
    }
    assert_true(framed > RANDOM_RUNS / 2);
}

// Formatting in place gives the very bytes that measuring and writing give.
static void test_random_finish_equals_write(void **state)
{
    (void)state;
    uint64_t random = seed_get();
    for (int run = 0; run < RANDOM_RUNS; run++) {
        struct sample sample;
        sample_make(&sample, &random);
        // Often exactly what is needed, or one less.
        size_t most = sample.wire_bytes + random_below(&random, 3);
        most = random_below(&random, 4) == 0 ? most + random_below(&random, 5000) : most;
        most = most > sample.payload_bytes ? most - 1 : sample.payload_bytes;
        size_t prefix_bytes = weir_framer_prefix_bytes_max(&sample.framer, most);
        size_t room_bytes = prefix_bytes + most + weir_framer_suffix_bytes(&sample.framer);
        uint8_t *room = room_new(room_bytes);
        memcpy(room + prefix_bytes, sample.payload, sample.payload_bytes);
        uint32_t offset = 0, bytes = 0;
        int error = weir_framer_finish(&sample.framer, sample.wall_ns, sample.severity, room,
                                       sample.payload_bytes, most, &offset, &bytes);
        int expected = sample.wire_bytes > most ? WEIR_EDELIMITER : sample_error(&sample);
        assert_int_equal(error, expected);
        if (error != 0) {
            assert_memory_equal(room + prefix_bytes, sample.payload, sample.payload_bytes);
        } else {
            struct weir_iovec part = {sample.payload, sample.payload_bytes};
            size_t frame_bytes = 0;
            assert_int_equal(
                weir_framer_measure(&sample.framer, sample.severity, &part, 1, &frame_bytes), 0);
            uint8_t *frame = room_new(frame_bytes);
            weir_framer_write(&sample.framer, sample.wall_ns, sample.severity, frame, &part, 1,
                              frame_bytes);
            assert_int_equal(bytes, frame_bytes);
            assert_true((size_t)offset + bytes <= room_bytes);
            assert_memory_equal(room + offset, frame, frame_bytes);
            for (size_t at = 0; at < offset; at++) {
                assert_int_equal(room[at], 0xa5);
            }
            free(frame);
        }
        free(room);
    }
}

// Every day from 1970 to 9999, counted with the rule for leap years.
static void test_calendar_by_counting(void **state)
{
    (void)state;
    static const int month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    uint64_t days = 0;
    for (int year = 1970; year <= 9999; year++) {
        bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        for (int month = 0; month < 12; month++) {
            int last = month_days[month] + (month == 1 && leap ? 1 : 0);
            for (int day = 1; day <= last; day++, days++) {
                char stamp[WEIR_TIMESTAMP_BYTES];
                weir_timestamp_write(days * 86400 + (day % 2 == 0 ? 0 : 86399), 0, stamp);
                int written = 0;
                for (int at = 0; at < 10; at++) {
                    written = stamp[at] == '-' ? written : written * 10 + (stamp[at] - '0');
                }
                if (written != year * 10000 + (month + 1) * 100 + day) {
                    fail_msg("day %d-%d-%d came out as %.27s", year, month + 1, day, stamp);
                }
            }
        }
    }
    assert_int_equal(days * 86400 - 1, UINT64_C(253402300799));
}

static void test_timestamps(void **state)
{
    (void)state;
    static const struct {
        uint64_t seconds;
        uint32_t microseconds;
        const char *text;
    } rows[] = {
        {0, 0, "1970-01-01T00:00:00.000000Z"},
        {0, 1, "1970-01-01T00:00:00.000001Z"},
        {59, 999999, "1970-01-01T00:00:59.999999Z"},
        {86399, 999999, "1970-01-01T23:59:59.999999Z"},
        {86400, 0, "1970-01-02T00:00:00.000000Z"},
        {951782399, 5, "2000-02-28T23:59:59.000005Z"},
        {951782400, 0, "2000-02-29T00:00:00.000000Z"},
        {951868800, 0, "2000-03-01T00:00:00.000000Z"},
        {4107542400, 0, "2100-03-01T00:00:00.000000Z"},
        {4107542399, 0, "2100-02-28T23:59:59.000000Z"},
        {1795356585, 123456, STAMP},
        {UINT32_MAX, 0, "2106-02-07T06:28:15.000000Z"},
        {253402300799, 999999, "9999-12-31T23:59:59.999999Z"},
    };
    for (size_t index = 0; index < sizeof(rows) / sizeof(rows[0]); index++) {
        char stamp[WEIR_TIMESTAMP_BYTES + 1] = {0};
        weir_timestamp_write(rows[index].seconds, rows[index].microseconds, stamp);
        assert_string_equal(stamp, rows[index].text);
    }
    uint64_t random = seed_get();
    for (int run = 0; run < RANDOM_RUNS; run++) {
        time_t seconds = (time_t)(random_next(&random) % 253402300800U);
        unsigned micros = (unsigned)random_below(&random, 1000000);
        struct tm parts;
        char expected[64], stamp[WEIR_TIMESTAMP_BYTES + 1] = {0};
        assert_non_null(gmtime_r(&seconds, &parts));
        size_t used = strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%S", &parts);
        snprintf(expected + used, sizeof(expected) - used, ".%06uZ", micros);
        weir_timestamp_write((uint64_t)seconds, micros, stamp);
        assert_string_equal(stamp, expected);
    }
    // The latest that nanoseconds in 64 bits can say.
    struct weir_framing_options options = syslog_options(WEIR_FRAMING_RAW);
    struct weir_framer framer = framer_make(&options);
    char frame[64];
    assert_int_equal(weir_framer_write(&framer, UINT64_MAX, 8, frame, NULL, 0, 53), 53);
    assert_memory_equal(frame + 7, "2554-07-21T23:34:33.709551Z", 27);
}

static void write_sized(const struct weir_framer *framer, const char *text, size_t frame_bytes)
{
    char frame[100];
    struct weir_iovec part = {text, strlen(text)};
    weir_framer_write(framer, 0, 8, frame, &part, 1, frame_bytes);
}

static void misuse_frame_smaller_than_payload(void *framer)
{
    write_sized(framer, "abc", 2);
}

static void misuse_frame_without_its_suffix(void *framer)
{
    write_sized(framer, "abc", 3);
}

static void misuse_frame_larger(void *framer)
{
    write_sized(framer, "abc", 5);
}

static void misuse_more_newlines_than_measured(void *framer)
{
    write_sized(framer, "a\nb\n", 6);
}

static void misuse_severity(void *framer)
{
    size_t bytes;
    (void)!weir_framer_measure(framer, 9, NULL, 0, &bytes);
}

static void misuse_second(void *framer)
{
    char stamp[WEIR_TIMESTAMP_BYTES];
    (void)framer;
    weir_timestamp_write(UINT64_C(253402300800), 0, stamp);
}

static void misuse_microsecond(void *framer)
{
    char stamp[WEIR_TIMESTAMP_BYTES];
    (void)framer;
    weir_timestamp_write(0, 1000000, stamp);
}

static void misuse_payload_over_its_room(void *framer)
{
    uint8_t room[16] = {0};
    uint32_t offset, bytes;
    (void)!weir_framer_finish(framer, 0, 8, room, 5, 4, &offset, &bytes);
}

static void test_misuse_is_stopped(void **state)
{
    (void)state;
    struct weir_framer framer = framer_of(WEIR_FRAMING_NEWLINE, WEIR_DELIMITER_ESCAPE);
    test_expect_abort(misuse_frame_smaller_than_payload, &framer);
    test_expect_abort(misuse_frame_without_its_suffix, &framer);
    test_expect_abort(misuse_frame_larger, &framer);
    test_expect_abort(misuse_more_newlines_than_measured, &framer);
    test_expect_abort(misuse_severity, &framer);
    test_expect_abort(misuse_second, &framer);
    test_expect_abort(misuse_microsecond, &framer);
    test_expect_abort(misuse_payload_over_its_room, &framer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames_without_header),
        cmocka_unit_test(test_frames_with_header),
        cmocka_unit_test(test_every_facility_and_severity),
        cmocka_unit_test(test_measure_errors),
        cmocka_unit_test(test_measure_too_big),
        cmocka_unit_test(test_escape_makes_too_big),
        cmocka_unit_test(test_init_ranges),
        cmocka_unit_test(test_init_fields),
        cmocka_unit_test(test_longest_header),
        cmocka_unit_test(test_prefix_and_suffix_sizes),
        cmocka_unit_test(test_finish_escapes_up_to_the_limit),
        cmocka_unit_test(test_finish_errors),
        cmocka_unit_test(test_finish_too_big),
        cmocka_unit_test(test_finish_too_big_for_relp),
        cmocka_unit_test(test_random_frames_read_back),
        cmocka_unit_test(test_random_finish_equals_write),
        cmocka_unit_test(test_calendar_by_counting),
        cmocka_unit_test(test_timestamps),
        cmocka_unit_test(test_misuse_is_stopped),
    };
    return cmocka_run_group_tests_name("framing", tests, NULL, NULL);
}
