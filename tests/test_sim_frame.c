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
        cmocka_unit_test(messages_differ),
        cmocka_unit_test(escaped_messages),
        cmocka_unit_test(frames_in_pieces),
        cmocka_unit_test(headers_and_gaps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
