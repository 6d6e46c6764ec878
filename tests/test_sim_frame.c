// Tests of sim/message.h and sim/frame.h: messages that can be told apart, and their frames.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "sim/frame.h"
#include "sim/message.h"

#define BYTES 40

#define GAP                                                                                        \
    "weir: %d messages, %d bytes dropped between 2026-11-22T14:09:45.123456Z and "                 \
    "2026-11-22T14:09:45.1234%02dZ"

static size_t frame_message(enum weir_framing framing, uint32_t sequence, unsigned char *to)
{
    struct sim_message message = {1, sequence, BYTES, false};
    size_t at = 0;
    if (framing == WEIR_FRAMING_OCTET_COUNTING) {
        at = (size_t)sprintf((char *)to, "%d ", BYTES);
    }
    sim_message_write(&message, to + at);
    at += BYTES;
    if (framing == WEIR_FRAMING_NEWLINE) {
        to[at++] = '\n';
    }
    return at;
}

static void messages_differ(void **unused)
{
    (void)unused;
    unsigned char bytes[300], other[300];
    for (uint32_t length = SIM_MESSAGE_BYTES_MIN; length < 300; length++) {
        struct sim_message message = {length % 256, length * 7, length, length % 3 == 0}, read;
        memset(bytes, 0, sizeof(bytes));
        sim_message_write(&message, bytes);
        assert_int_equal(bytes[length], 0);
        assert_int_equal(sim_message_check(bytes, length, false, &read), SIM_MESSAGE_GOOD);
        assert_int_equal(read.producer, message.producer);
        assert_int_equal(read.sequence, message.sequence);
        assert_int_equal(read.bytes, message.bytes);
        assert_int_equal(read.newlines, message.newlines);
        for (uint32_t cut = 1; cut < length; cut++) {
            assert_int_equal(sim_message_check(bytes, cut, false, &read), SIM_MESSAGE_TORN);
        }
        for (uint32_t at = 0; at < length; at++) {
            bytes[at] ^= 1;
            assert_int_equal(sim_message_check(bytes, length, false, &read), SIM_MESSAGE_CORRUPT);
            bytes[at] ^= 1;
        }
        assert_int_equal(sim_message_check(bytes, length + 1, false, &read), SIM_MESSAGE_CORRUPT);
        message.sequence++;
        sim_message_write(&message, other);
        assert_memory_not_equal(bytes, other, length);
    }
}

static void escaped_messages(void **unused)
{
    (void)unused;
    unsigned char bytes[100], wire[200];
    struct sim_message message = {1, 2, 100, true}, read;
    sim_message_write(&message, bytes);
    size_t count = 0;
    for (uint32_t i = 0; i < 100; i++) {
        if (bytes[i] == '\n') {
            wire[count++] = '\\';
        }
        wire[count++] = bytes[i] == '\n' ? 'n' : bytes[i];
    }
    assert_true(count > 100);
    assert_int_equal(sim_message_check(wire, count, true, &read), SIM_MESSAGE_GOOD);
    assert_int_equal(sim_message_check(wire, count - 1, true, &read), SIM_MESSAGE_TORN);
    assert_int_equal(sim_message_check(bytes, 100, true, &read), SIM_MESSAGE_CORRUPT);
    assert_int_equal(sim_message_check(wire, count, false, &read), SIM_MESSAGE_CORRUPT);
}

// However a stream is cut into pieces, the records are the same.
static void frames_in_pieces(void **unused)
{
    (void)unused;
    for (enum weir_framing framing = WEIR_FRAMING_NEWLINE; framing <= WEIR_FRAMING_RAW; framing++) {
        unsigned char stream[400], kept[100];
        size_t count = 0;
        for (uint32_t i = 0; i < 4; i++) {
            count += frame_message(framing, i, stream + count);
        }
        for (size_t piece = 1; piece <= count; piece++) {
            struct sim_frame frame;
            uint32_t whole = 0;
            sim_frame_init(&frame, framing, kept, sizeof(kept));
            for (size_t at = 0; at < count;) {
                size_t used, left = count - at < piece ? count - at : piece;
                enum sim_frame_result result = sim_frame_feed(&frame, stream + at, left, &used);
                assert_true(used > 0 && used <= left);
                assert_int_not_equal(result, SIM_FRAME_BAD);
                at += used;
                if (result == SIM_FRAME_WHOLE) {
                    struct sim_message read;
                    assert_int_equal(sim_message_check(kept, frame.count, false, &read),
                                     SIM_MESSAGE_GOOD);
                    assert_int_equal(read.sequence, whole++);
                    sim_frame_next(&frame);
                    assert_false(sim_frame_inside(&frame));
                } else {
                    assert_true(sim_frame_inside(&frame));
                }
            }
            assert_int_equal(whole, 4);
        }
    }
}

// ---- RELP ----

// Feeds all of it, in pieces of this size.  returns  how many frames were whole before one was bad,
// or all bytes were used: then *bad is false.
static uint32_t relp_feed(struct sim_frame *frame, const char *stream, size_t count, size_t piece,
                          bool *bad)
{
    uint32_t whole = 0;
    *bad = false;
    for (size_t at = 0; at < count;) {
        size_t used, left = count - at < piece ? count - at : piece;
        enum sim_frame_result result =
            sim_frame_feed(frame, (const unsigned char *)stream + at, left, &used);
        assert_true(used > 0 && used <= left);
        at += used;
        if (result == SIM_FRAME_BAD) {
            *bad = true;
            return whole;
        }
        if (result == SIM_FRAME_WHOLE) {
            whole++;
            sim_frame_next(frame);
            assert_false(sim_frame_inside(frame));
        } else {
            assert_true(sim_frame_inside(frame));
        }
    }
    return whole;
}

static uint32_t relp_text(const char *stream, bool *bad)
{
    struct sim_frame frame;
    unsigned char kept[100];
    sim_frame_init(&frame, WEIR_FRAMING_RELP, kept, sizeof(kept));
    return relp_feed(&frame, stream, strlen(stream), strlen(stream), bad);
}

static void relp_in_pieces(void **unused)
{
    (void)unused;
    static const char stream[] = "1 open 15 relp_version=0\n\n000000002 syslog 5 a\nb c\n"
                                 "0003 syslog 3 3 \n\n4 close 0\n";
    unsigned char kept[20];
    for (size_t piece = 1; piece < sizeof(stream); piece++) {
        struct sim_frame frame;
        bool bad;
        sim_frame_init(&frame, WEIR_FRAMING_RELP, kept, sizeof(kept));
        assert_int_equal(relp_feed(&frame, stream, sizeof(stream) - 1, piece, &bad), 4);
        assert_false(bad);
        assert_int_equal(frame.number, 4);
        assert_int_equal(frame.use, SIM_FRAME_CLOSE);
    }
    // What a message's frame carries, and whether one is under way.
    struct sim_frame frame;
    size_t used;
    sim_frame_init(&frame, WEIR_FRAMING_RELP, kept, sizeof(kept));
    const unsigned char *at = (const unsigned char *)stream;
    assert_int_equal(sim_frame_feed(&frame, at, 10, &used), SIM_FRAME_MORE);
    assert_false(sim_frame_inside_message(&frame));
    assert_int_equal(sim_frame_feed(&frame, at + 10, 100, &used), SIM_FRAME_WHOLE);
    assert_int_equal(frame.use, SIM_FRAME_OPEN);
    at += 10 + used;
    sim_frame_next(&frame);
    assert_int_equal(sim_frame_feed(&frame, at, 16, &used), SIM_FRAME_MORE);
    assert_false(sim_frame_inside_message(&frame)); // the command is not known to be over
    assert_int_equal(sim_frame_feed(&frame, at + 16, 1, &used), SIM_FRAME_MORE);
    assert_true(sim_frame_inside_message(&frame));
    assert_int_equal(sim_frame_feed(&frame, at + 17, 100, &used), SIM_FRAME_WHOLE);
    assert_int_equal(frame.use, SIM_FRAME_SYSLOG);
    assert_int_equal(frame.number, 2);
    assert_int_equal(frame.count, 5);
    assert_memory_equal(kept, "a\nb c", 5);
}

static void relp_wrong(void **unused)
{
    (void)unused;
    static const struct {
        const char *stream;
        uint32_t whole;
    } wrong[] = {
        {"2 open 1 x\n", 0},                                          // not the first number
        {"0 open 1 x\n", 0},                                          // no number at all
        {"1 syslog 1 x\n", 0},                                        // before the open
        {"1 close 0\n", 0},                                           // likewise
        {"1 open 1 x\n2 open 1 x\n", 1},                              // a second time
        {"1 open 1 x\n1 syslog 1 x\n", 1},                            // the same number again
        {"1 open 1 x\n3 syslog 1 x\n", 1},                            // one left out
        {"1 open 1 x\n2 close 0\n3 syslog 1 x\n", 2},                 // after the close
        {"1 open 1 x\n2 close 0\n3 close 0\n", 2},                    // likewise
        {"1 open 1 x\n2 rsp 6 200 OK\n", 1},                          // what only servers say
        {"1 open 1 x\n2 syslog 1 xy\n", 1},                           // longer than it says
        {"1 open 1 x\n2 syslog 0 \n", 1},                             // a blank before nothing
        {"1 open 1 x\n2 syslog 2\nxy\n", 1},                          // no blank before something
        {"1 open 1 x\n2 syslog 101 ", 1},                             // longer than anything here
        {"1 open 1 x\n2 syslog 0000000001 x\n", 1},                   // ten digits
        {"1 open 1 x\n0000000002 syslog 1 x\n", 1},                   // ten digits
        {"1 open 1 x\n2  syslog 1 x\n", 1},                           // two blanks
        {"1 open 1 x\n2 syslog  1 x\n", 1},                           // two blanks
        {"1 open 1 x\n2 sys-log 1 x\n", 1},                           // not a letter
        {"1 open 1 x\n\n", 1},                                        // an empty line
        {"1 open 1 x\n-2 syslog 1 x\n", 1},                           // not a digit
        {"1 open 1 x\n2 abcdefghijklmnopqrstuvwxyzabcdefg 1 x\n", 1}, // 33
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        bool bad;
        assert_int_equal(relp_text(wrong[i].stream, &bad), wrong[i].whole);
        assert_true(bad);
    }
}

static void relp_numbers_wrap(void **unused)
{
    (void)unused;
    struct sim_frame frame;
    bool bad;
    static const char good[] = "999999999 syslog 1 x\n1 syslog 1 x\n2 syslog 1 x\n";
    static const char zero[] = "999999999 syslog 1 x\n0 syslog 1 x\n";
    sim_frame_init(&frame, WEIR_FRAMING_RELP, NULL, 100);
    assert_int_equal(relp_feed(&frame, "1 open 1 x\n", 11, 11, &bad), 1);
    struct sim_frame later = frame;
    later.number = 999999998;
    frame = later;
    assert_int_equal(relp_feed(&frame, good, sizeof(good) - 1, 7, &bad), 3);
    assert_false(bad);
    frame = later;
    assert_int_equal(relp_feed(&frame, zero, sizeof(zero) - 1, 7, &bad), 1);
    assert_true(bad);
}

// What a server says: of long data only the beginning is kept.
static void relp_answers(void **unused)
{
    (void)unused;
    static const char stream[] = "12 rsp 18 200 OK and so on..\n0 serverclose 0\n5 rsp 2 50\n";
    struct sim_relp_frame frame;
    unsigned char kept[6];
    size_t used, at = 0;
    sim_relp_frame_init(&frame, kept, sizeof(kept), 100);
#define FEED()                                                                                     \
    sim_relp_frame_feed(&frame, (const unsigned char *)stream + at, sizeof(stream) - 1 - at, &used)
    assert_int_equal(FEED(), SIM_RELP_WHOLE);
    assert_int_equal(frame.number, 12);
    assert_true(sim_relp_frame_is(&frame, "rsp"));
    assert_int_equal(frame.count, 18);
    assert_int_equal(sim_relp_frame_code(&frame), 200);
    assert_memory_equal(kept, "200 OK", 6);
    at += used;
    sim_relp_frame_next(&frame);
    assert_int_equal(FEED(), SIM_RELP_WHOLE);
    assert_int_equal(frame.number, 0);
    assert_true(sim_relp_frame_is(&frame, "serverclose"));
    assert_int_equal(sim_relp_frame_code(&frame), 0);
    at += used;
    sim_relp_frame_next(&frame);
    assert_int_equal(FEED(), SIM_RELP_WHOLE);
    assert_int_equal(sim_relp_frame_code(&frame), 0); // two digits are no code
#undef FEED
}

static void headers_and_gaps(void **unused)
{
    (void)unused;
#define HEADER(text) sim_frame_header((const unsigned char *)(text), strlen(text))
    assert_int_equal(HEADER("<14>1 2026-11-22T14:09:45.123456Z h a p m - x"), 44);
    assert_int_equal(HEADER("<192>1 2026-11-22T14:09:45.123456Z h a p m - x"), 0);
    assert_int_equal(HEADER("<>1 2026-11-22T14:09:45.123456Z h a p m - x"), 0);
    assert_int_equal(HEADER("<14>2 2026-11-22T14:09:45.123456Z h a p m - x"), 0);
    assert_int_equal(HEADER("<14>1 2026-11-22T14:09:45Z h a p m - x"), 0);
    assert_int_equal(HEADER("<14>1 2026-11-22T14:09:45.123456Z h a p m x"), 0);
    assert_int_equal(HEADER("<14>1 2026-11-22T14:09:45.123456Z h a p"), 0);
    assert_int_equal(HEADER("x"), 0);
    char text[200];
    uint64_t messages, bytes;
    int length = snprintf(text, sizeof(text), GAP, 12, 345, 6);
    const unsigned char *record = (const unsigned char *)text;
    assert_true(sim_frame_gap(record, (size_t)length, &messages, &bytes));
    assert_int_equal(messages, 12);
    assert_int_equal(bytes, 345);
    for (int cut = 0; cut < length; cut++) {
        assert_false(sim_frame_gap(record, (size_t)cut, &messages, &bytes));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_differ),  cmocka_unit_test(escaped_messages),
        cmocka_unit_test(frames_in_pieces), cmocka_unit_test(relp_in_pieces),
        cmocka_unit_test(relp_wrong),       cmocka_unit_test(relp_numbers_wrap),
        cmocka_unit_test(relp_answers),     cmocka_unit_test(headers_and_gaps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
