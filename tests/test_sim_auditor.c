// Tests of sim/auditor.h: fabricated histories, good ones and one with each thing broken.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "sim/auditor.h"
#include "sim/message.h"

#define MS UINT64_C(1000000)
#define BYTES 40 // of a message, where nothing else is said
#define PRODUCERS 3
#define MESSAGES 20

// ---- A court ----

struct court {
    struct sim_arena *arena;
    struct sim_auditor_options options;
    struct sim_auditor *auditor;
    char broken[64]; // the first name reported; empty: none
};

static void court_report(void *context, const char *name, const char *message)
{
    struct court *me = context;
    assert_true(strlen(message) > 0);
    if (me->broken[0] == '\0') {
        (void)snprintf(me->broken, sizeof(me->broken), "%s", name);
    }
}

static void court_begin(struct court *me, enum sim_promise promise)
{
    memset(me, 0, sizeof(*me));
    me->arena = sim_arena_create();
    assert_non_null(me->arena);
    sim_arena_begin(me->arena, 0xa5);
    me->options = (struct sim_auditor_options){.arena = me->arena,
                                               .fail = court_report,
                                               .context = me,
                                               .promise = promise,
                                               .framing = WEIR_FRAMING_OCTET_COUNTING,
                                               .writers_count = 1,
                                               .producers_count = PRODUCERS,
                                               .messages_max = MESSAGES,
                                               .record_bytes_max = 1000,
                                               .slack_ns = MS};
}

static void court_open(struct court *me)
{
    me->auditor = sim_auditor_create(&me->options);
    assert_non_null(me->auditor);
}

static void court_ready(struct court *me, enum sim_promise promise)
{
    court_begin(me, promise);
    court_open(me);
}

static void court_end(struct court *me, const char *expected)
{
    assert_string_equal(me->broken, expected);
    sim_arena_destroy(me->arena);
}

static void log_message(struct court *me, uint32_t producer, uint32_t sequence, int answer)
{
    sim_auditor_offer(me->auditor, producer, sequence, BYTES);
    sim_auditor_answer(me->auditor, producer, sequence, answer);
}

static void log_messages(struct court *me, uint32_t producer, uint32_t from, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        log_message(me, producer, from + i, 0);
    }
}

static size_t frame_payload(const struct court *me, const void *payload, size_t count,
                            unsigned char *to)
{
    size_t at = 0;
    if (me->options.framing == WEIR_FRAMING_OCTET_COUNTING && !me->options.datagrams) {
        at = (size_t)sprintf((char *)to, "%zu ", count);
    }
    memcpy(to + at, payload, count);
    at += count;
    if (me->options.framing == WEIR_FRAMING_NEWLINE && !me->options.datagrams) {
        to[at++] = '\n';
    }
    return at;
}

static size_t frame_message(const struct court *me, uint32_t producer, uint32_t sequence,
                            unsigned char *to)
{
    unsigned char payload[BYTES];
    struct sim_message message = {producer, sequence, BYTES, false};
    sim_message_write(&message, payload);
    return frame_payload(me, payload, BYTES, to);
}

static void pass_text(struct court *me, uint32_t connection, const char *text)
{
    unsigned char frame[1100];
    size_t count = frame_payload(me, text, strlen(text), frame);
    sim_auditor_bytes(me->auditor, connection, frame, count);
}

static void pass(struct court *me, uint32_t connection, uint32_t producer, uint32_t from,
                 uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        unsigned char frame[100];
        size_t bytes = frame_message(me, producer, from + i, frame);
        sim_auditor_bytes(me->auditor, connection, frame, bytes);
    }
}

// The same on both sides of the network.
static void carry(struct court *me, uint32_t sent, uint32_t read, uint32_t from, uint32_t count)
{
    pass(me, sent, 0, from, count);
    pass(me, read, 0, from, count);
}

// The books as they should be: so many accepted, all confirmed.
static struct weir_metrics books(uint64_t accepted)
{
    return (struct weir_metrics){.offered_messages = accepted,
                                 .accepted_messages = accepted,
                                 .confirmed_messages = accepted,
                                 .accepted_bytes = accepted * 50,
                                 .confirmed_bytes = accepted * 50};
}

// ---- Good histories ----

static void good_run(struct court *me)
{
    log_messages(me, 0, 0, 5);
    log_messages(me, 1, 0, 5);
    uint32_t read = sim_auditor_begin(me->auditor, SIM_SIDE_READ);
    pass(me, read, 0, 0, 3);
    pass(me, read, 1, 0, 5);
    pass(me, read, 0, 3, 2);
    sim_auditor_end(me->auditor, read, SIM_END_ORDERLY);
    struct weir_metrics metrics = books(10);
    sim_auditor_sample(me->auditor, &metrics);
    assert_null(sim_auditor_books(me->auditor, &metrics));
    struct sim_auditor_wait wait = {.steady = true, .timeout_ns = 10 * MS, .end_ns = 5 * MS};
    sim_auditor_flush_begin(me->auditor, &wait);
    sim_auditor_flush_end(me->auditor, &wait, &metrics);
    sim_auditor_close_begin(me->auditor, &wait);
    sim_auditor_close_end(me->auditor, &wait, &metrics);
    log_message(me, 2, 0, WEIR_ECLOSED);
    metrics.offered_messages++;
    metrics.rejected_messages[WEIR_REJECTED_CLOSED]++;
    sim_auditor_gaps(me->auditor, &metrics);
    sim_auditor_memory(me->auditor, 0, 0, 0, &metrics);
    sim_auditor_finish(me->auditor, &metrics);
    struct sim_auditor_counts counts;
    sim_auditor_count(me->auditor, &counts);
    assert_int_equal(counts.offered, 11);
    assert_int_equal(counts.accepted, 10);
    assert_int_equal(counts.rejected, 1);
    assert_int_equal(counts.read, 10);
    assert_int_equal(counts.repeated, 0);
    court_end(me, "");
}

static void good_framings(void **unused)
{
    (void)unused;
    struct court court;
    const enum weir_framing framings[] = {WEIR_FRAMING_NEWLINE, WEIR_FRAMING_OCTET_COUNTING,
                                          WEIR_FRAMING_RAW};
    for (int i = 0; i < 3; i++) {
        court_begin(&court, SIM_PROMISE_READ);
        court.options.framing = framings[i];
        court_open(&court);
        good_run(&court);
    }
    court_begin(&court, SIM_PROMISE_SENT);
    court.options.framing = WEIR_FRAMING_RAW;
    court.options.datagrams = true;
    court_open(&court);
    good_run(&court);
}

// A connection breaks in mid-message; all that was not read to its end is sent again.
static void good_break(void **unused)
{
    (void)unused;
    struct court court;
    court_begin(&court, SIM_PROMISE_READ);
    court.options.wired = true;
    court_open(&court);
    log_messages(&court, 0, 0, 10);
    uint32_t sent = sim_auditor_begin(court.auditor, SIM_SIDE_SENT);
    uint32_t read = sim_auditor_begin(court.auditor, SIM_SIDE_READ);
    unsigned char frame[100];
    size_t bytes = frame_message(&court, 0, 4, frame);
    carry(&court, sent, read, 0, 4);
    sim_auditor_bytes(court.auditor, sent, frame, bytes - 1);
    sim_auditor_bytes(court.auditor, read, frame, bytes / 2);
    sim_auditor_end(court.auditor, sent, SIM_END_BROKEN);
    sim_auditor_end(court.auditor, read, SIM_END_ORDERLY); // all that the pool had sent
    sim_auditor_break(court.auditor);
    sent = sim_auditor_begin(court.auditor, SIM_SIDE_SENT);
    sim_auditor_confirmed(court.auditor, sent, 2);
    read = sim_auditor_begin(court.auditor, SIM_SIDE_READ);
    carry(&court, sent, read, 2, 8);
    sim_auditor_shut(court.auditor, sent);
    sim_auditor_end(court.auditor, sent, SIM_END_ORDERLY);
    sim_auditor_end(court.auditor, read, SIM_END_ORDERLY);
    struct weir_metrics metrics = books(10);
    sim_auditor_finish(court.auditor, &metrics);
    struct sim_auditor_counts counts;
    sim_auditor_count(court.auditor, &counts);
    assert_int_equal(counts.repeated, 2);
    assert_int_equal(counts.handed, 10);
    assert_int_equal(counts.cuts, 1);
    court_end(&court, "");
}

static void good_slots(void **unused)
{
    (void)unused;
    struct court court;
    court_ready(&court, SIM_PROMISE_READ);
    for (uint32_t i = 0; i < 3; i++) {
        sim_auditor_offer(court.auditor, 0, i, 100);
        sim_auditor_hold(court.auditor, 0, i);
    }
    sim_auditor_abandon(court.auditor, 0, 1);
    sim_auditor_offer(court.auditor, 0, 0, BYTES);
    uint32_t read = sim_auditor_begin(court.auditor, SIM_SIDE_READ);
    pass(&court, read, 0, 0, 1); // before the commit's answer
    sim_auditor_answer(court.auditor, 0, 0, 0);
    sim_auditor_offer(court.auditor, 0, 2, BYTES);
    sim_auditor_answer(court.auditor, 0, 2, WEIR_EDELIMITER); // counts as abandoned
    struct weir_metrics metrics = books(3);
    metrics.confirmed_messages = 1;
    metrics.dropped_messages[WEIR_DROPPED_ABANDONED] = 2;
    sim_auditor_finish(court.auditor, &metrics);
    court_end(&court, "");
}

#define GAP                                                                                        \
    "weir: %d messages, %d bytes dropped between 2026-11-22T14:09:45.123456Z and "                 \
    "2026-11-22T14:09:45.1234%02dZ"

static void history_of_gaps(struct court *me, int told)
{
    char text[200];
    court_begin(me, SIM_PROMISE_READ);
    me->options.gap_records = true;
    court_open(me);
    log_message(me, 0, 0, 0);
    log_message(me, 0, 1, WEIR_EFULL);
    log_message(me, 0, 2, WEIR_EFULL);
    log_message(me, 0, 3, 0);
    uint32_t read = sim_auditor_begin(me->auditor, SIM_SIDE_READ);
    pass(me, read, 0, 0, 1);
    (void)snprintf(text, sizeof(text), GAP, 1, BYTES, 56);
    pass_text(me, read, text);
    sim_auditor_break(me->auditor);
    sim_auditor_end(me->auditor, read, SIM_END_BROKEN);
    read = sim_auditor_begin(me->auditor, SIM_SIDE_READ);
    pass_text(me, read, text); // the same again
    (void)snprintf(text, sizeof(text), GAP, told, BYTES, 57);
    pass_text(me, read, text);
    pass(me, read, 0, 3, 1);
    struct weir_metrics metrics = books(4);
    metrics.offered_messages = 6;
    metrics.rejected_messages[WEIR_REJECTED_FULL] = 2;
    assert_null(sim_auditor_books(me->auditor, &metrics));
    sim_auditor_gaps(me->auditor, &metrics);
    sim_auditor_finish(me->auditor, &metrics);
}

static void gap_records(void **unused)
{
    (void)unused;
    struct court court;
    history_of_gaps(&court, 1);
    court_end(&court, "");
    history_of_gaps(&court, 2);
    court_end(&court, "gap-record-wrong");
}

static void good_header(void **unused)
{
    (void)unused;
    struct court court;
    court_begin(&court, SIM_PROMISE_READ);
    court.options.header = WEIR_HEADER_RFC5424;
    court_open(&court);
    log_messages(&court, 0, 0, 1);
    char record[200];
    struct sim_message message = {0, 0, BYTES, false};
    int header = sprintf(record, "<190>1 2026-11-22T14:09:45.123456Z host app - - - ");
    sim_message_write(&message, (unsigned char *)record + header);
    record[header + BYTES] = '\0';
    uint32_t read = sim_auditor_begin(court.auditor, SIM_SIDE_READ);
    pass_text(&court, read, record);
    struct weir_metrics metrics = books(1);
    sim_auditor_finish(court.auditor, &metrics);
    pass_text(&court, read, record + 1);
    court_end(&court, "corrupt-message");
}

// ---- Streams with something wrong ----

// One connection with these bytes; two messages were logged.
static void judge_bytes(const void *bytes, size_t count, enum sim_end how, const char *expected)
{
    struct court court;
    court_ready(&court, SIM_PROMISE_READ);
    log_messages(&court, 0, 0, 2);
    uint32_t read = sim_auditor_begin(court.auditor, SIM_SIDE_READ);
    sim_auditor_bytes(court.auditor, read, bytes, count);
    sim_auditor_end(court.auditor, read, how);
    court_end(&court, expected);
}

static void torn_and_corrupt(void **unused)
{
    (void)unused;
    struct court court = {.options = {.framing = WEIR_FRAMING_OCTET_COUNTING}};
    unsigned char two[200];
    size_t first = frame_message(&court, 0, 0, two);
    size_t both = first + frame_message(&court, 0, 1, two + first);
    judge_bytes(two, both, SIM_END_ORDERLY, "");
    judge_bytes(two, both - 1, SIM_END_BROKEN, "");
    judge_bytes(two, both - 1, SIM_END_ORDERLY, "torn-message");
    judge_bytes(two, first + 1, SIM_END_ORDERLY, "torn-message"); // inside the count
    judge_bytes(two + 3, both - 3, SIM_END_BROKEN, "starts-inside-message");
    judge_bytes(two + 10, both - 10, SIM_END_BROKEN, "starts-inside-message");
    two[first - 1] ^= 1;
    judge_bytes(two, both, SIM_END_ORDERLY, "starts-inside-message"); // or so it seems
    two[first - 1] ^= 1;
    two[both - 1] ^= 1;
    judge_bytes(two, both, SIM_END_ORDERLY, "corrupt-message");
    two[both - 1] ^= 1;
    memmove(two + first - 5, two + first, both - first); // five bytes are missing
    judge_bytes(two, both - 5, SIM_END_BROKEN, "starts-inside-message");
    judge_bytes("05 abcde", 8, SIM_END_BROKEN, "starts-inside-message");
    judge_bytes("99999 a", 7, SIM_END_BROKEN, "starts-inside-message");
}

// Under newline framing a torn half ends at the next newline.
static void torn_lines(void **unused)
{
    (void)unused;
    struct court court;
    court_begin(&court, SIM_PROMISE_READ);
    court.options.framing = WEIR_FRAMING_NEWLINE;
    court_open(&court);
    log_messages(&court, 0, 0, 2);
    uint32_t read = sim_auditor_begin(court.auditor, SIM_SIDE_READ);
    unsigned char frame[100];
    size_t bytes = frame_message(&court, 0, 0, frame);
    sim_auditor_bytes(court.auditor, read, frame, bytes - 3);
    sim_auditor_bytes(court.auditor, read, "\n", 1);
    court_end(&court, "torn-message");
}

static void sent_inside(void **unused)
{
    (void)unused;
    for (int i = 0; i < 3; i++) {
        struct court court;
        court_begin(&court, SIM_PROMISE_READ);
        court.options.wired = true;
        court_open(&court);
        log_messages(&court, 0, 0, 2);
        uint32_t sent = sim_auditor_begin(court.auditor, SIM_SIDE_SENT);
        sim_auditor_bytes(court.auditor, sent, "40 m00", 6);
        assert_true(sim_auditor_inside(court.auditor, sent));
        if (i == 0) {
            sim_auditor_shut(court.auditor, sent);
        } else if (i == 1) {
            sim_auditor_end(court.auditor, sent, SIM_END_ORDERLY);
        } else { // a reader's orderly end inside a message, and no sender's that explains it
            uint32_t read = sim_auditor_begin(court.auditor, SIM_SIDE_READ);
            sim_auditor_bytes(court.auditor, read, "40 m00", 6);
            sim_auditor_end(court.auditor, read, SIM_END_ORDERLY);
        }
        court_end(&court, "torn-message");
    }
}

static void wrong_messages(void **unused)
{
    (void)unused;
    struct court court;
    court_ready(&court, SIM_PROMISE_READ);
    uint32_t read = sim_auditor_begin(court.auditor, SIM_SIDE_READ);
    pass(&court, read, 0, 0, 1);
    court_end(&court, "phantom-message");

    court_ready(&court, SIM_PROMISE_READ);
    read = sim_auditor_begin(court.auditor, SIM_SIDE_READ);
    pass(&court, read, PRODUCERS, 0, 1);
    court_end(&court, "phantom-message");

    court_ready(&court, SIM_PROMISE_READ);
    sim_auditor_offer(court.auditor, 0, 0, BYTES + 1);
    read = sim_auditor_begin(court.auditor, SIM_SIDE_READ);
    pass(&court, read, 0, 0, 1);
    court_end(&court, "corrupt-message");

    court_ready(&court, SIM_PROMISE_READ);
    log_message(&court, 0, 0, WEIR_EFULL);
    read = sim_auditor_begin(court.auditor, SIM_SIDE_READ);
    pass(&court, read, 0, 0, 1);
    court_end(&court, "delivered-though-rejected");

    court_ready(&court, SIM_PROMISE_READ);
    sim_auditor_offer(court.auditor, 0, 0, BYTES);
    read = sim_auditor_begin(court.auditor, SIM_SIDE_READ);
    pass(&court, read, 0, 0, 1);
    assert_string_equal(court.broken, ""); // the answer is still to come
    sim_auditor_answer(court.auditor, 0, 0, WEIR_EFULL);
    court_end(&court, "delivered-though-rejected");

    court_ready(&court, SIM_PROMISE_READ);
    sim_auditor_offer(court.auditor, 0, 0, BYTES);
    sim_auditor_hold(court.auditor, 0, 0);
    read = sim_auditor_begin(court.auditor, SIM_SIDE_READ);
    pass(&court, read, 0, 0, 1);
    court_end(&court, "delivered-though-abandoned");

    court_begin(&court, SIM_PROMISE_READ);
    court.options.wired = true;
    court_open(&court);
    log_messages(&court, 0, 0, 1);
    read = sim_auditor_begin(court.auditor, SIM_SIDE_READ);
    pass(&court, read, 0, 0, 1);
    court_end(&court, "phantom-message"); // nobody sent it
}

static void order(void **unused)
{
    (void)unused;
    struct court court;
    court_ready(&court, SIM_PROMISE_READ);
    log_messages(&court, 0, 0, 3);
    uint32_t read = sim_auditor_begin(court.auditor, SIM_SIDE_READ);
    pass(&court, read, 0, 1, 1);
    pass(&court, read, 0, 0, 1);
    court_end(&court, "order-broken");

    court_ready(&court, SIM_PROMISE_READ);
    log_messages(&court, 0, 0, 3);
    read = sim_auditor_begin(court.auditor, SIM_SIDE_READ);
    pass(&court, read, 0, 0, 1);
    pass(&court, read, 0, 2, 1);
    court_end(&court, "skipped-message");

    court_begin(&court, SIM_PROMISE_READ); // a new connection may not skip either
    court.options.wired = true;
    court_open(&court);
    log_messages(&court, 0, 0, 3);
    uint32_t sent = sim_auditor_begin(court.auditor, SIM_SIDE_SENT);
    pass(&court, sent, 0, 0, 1);
    sim_auditor_end(court.auditor, sent, SIM_END_BROKEN);
    sent = sim_auditor_begin(court.auditor, SIM_SIDE_SENT);
    pass(&court, sent, 0, 2, 1);
    court_end(&court, "skipped-message");

    court_begin(&court, SIM_PROMISE_READ); // unless the oldest may be dropped
    court.options.full = WEIR_FULL_DROP_OLDEST;
    court_open(&court);
    log_messages(&court, 0, 0, 3);
    read = sim_auditor_begin(court.auditor, SIM_SIDE_READ);
    pass(&court, read, 0, 0, 1);
    pass(&court, read, 0, 2, 1);
    court_end(&court, "");
}

static void duplicates(void **unused)
{
    (void)unused;
    struct court court;
    court_ready(&court, SIM_PROMISE_READ);
    log_messages(&court, 0, 0, 1);
    uint32_t read = sim_auditor_begin(court.auditor, SIM_SIDE_READ);
    pass(&court, read, 0, 0, 1);
    pass(&court, read, 0, 0, 1);
    court_end(&court, "duplicate-without-break");

    court_ready(&court, SIM_PROMISE_READ); // on two connections, and nothing broke
    log_messages(&court, 0, 0, 1);
    read = sim_auditor_begin(court.auditor, SIM_SIDE_READ);
    pass(&court, read, 0, 0, 1);
    sim_auditor_end(court.auditor, read, SIM_END_ORDERLY);
    read = sim_auditor_begin(court.auditor, SIM_SIDE_READ);
    pass(&court, read, 0, 0, 1);
    court_end(&court, "duplicate-without-break");

    court_begin(&court, SIM_PROMISE_READ); // while the first connection is open
    court.options.wired = true;
    court_open(&court);
    log_messages(&court, 0, 0, 1);
    uint32_t sent = sim_auditor_begin(court.auditor, SIM_SIDE_SENT);
    pass(&court, sent, 0, 0, 1);
    uint32_t second = sim_auditor_begin(court.auditor, SIM_SIDE_SENT);
    pass(&court, second, 0, 0, 1);
    court_end(&court, "duplicate-without-break");

    for (uint64_t confirmed = 1; confirmed <= 2; confirmed++) {
        court_begin(&court, SIM_PROMISE_READ);
        court.options.wired = true;
        court_open(&court);
        log_messages(&court, 0, 0, 3);
        sent = sim_auditor_begin(court.auditor, SIM_SIDE_SENT);
        pass(&court, sent, 0, 0, 3);
        sim_auditor_end(court.auditor, sent, SIM_END_BROKEN);
        sent = sim_auditor_begin(court.auditor, SIM_SIDE_SENT);
        sim_auditor_confirmed(court.auditor, sent, confirmed);
        pass(&court, sent, 0, 1, 2);
        court_end(&court, confirmed == 1 ? "" : "duplicate-of-confirmed");
    }

    court_begin(&court, SIM_PROMISE_SENT);
    court.options.wired = true;
    court_open(&court);
    log_messages(&court, 0, 0, 1);
    sent = sim_auditor_begin(court.auditor, SIM_SIDE_SENT);
    pass(&court, sent, 0, 0, 1);
    sim_auditor_end(court.auditor, sent, SIM_END_BROKEN);
    sent = sim_auditor_begin(court.auditor, SIM_SIDE_SENT);
    pass(&court, sent, 0, 0, 1);
    court_end(&court, "duplicate-of-confirmed");
}

// ---- Loss and proof ----

// Ten accepted, `handed` handed over on one connection, `acknowledged` acknowledged, `read` read;
// then it breaks. Confirmed: `confirmed`; reported dropped at a deadline: the rest.
static void judge_loss(enum sim_promise promise, uint32_t handed, uint32_t acknowledged,
                       uint32_t read_count, uint32_t confirmed, uint32_t dropped,
                       const char *expected)
{
    struct court court;
    unsigned char frame[100];
    court_begin(&court, promise);
    court.options.wired = true;
    court_open(&court);
    log_messages(&court, 0, 0, 10);
    uint32_t sent = sim_auditor_begin(court.auditor, SIM_SIDE_SENT);
    uint32_t read = sim_auditor_begin(court.auditor, SIM_SIDE_READ);
    pass(&court, sent, 0, 0, handed);
    size_t bytes = frame_message(&court, 0, 0, frame);
    sim_auditor_acknowledged(court.auditor, sent, acknowledged * bytes);
    pass(&court, read, 0, 0, read_count);
    sim_auditor_break(court.auditor);
    sim_auditor_end(court.auditor, sent, SIM_END_BROKEN);
    sim_auditor_end(court.auditor, read, SIM_END_BROKEN);
    struct weir_metrics metrics = books(10);
    metrics.confirmed_messages = confirmed;
    metrics.dropped_messages[WEIR_DROPPED_DEADLINE] = dropped;
    metrics.held_messages = 10 - confirmed - dropped;
    metrics.held_messages = metrics.held_messages > 10 ? 0 : metrics.held_messages;
    metrics.accepted_messages = confirmed + dropped + metrics.held_messages;
    metrics.offered_messages = metrics.accepted_messages;
    sim_auditor_sample(court.auditor, &metrics);
    if (metrics.accepted_messages == 10) {
        sim_auditor_finish(court.auditor, &metrics);
    }
    court_end(&court, expected);
}

static void loss_and_proof(void **unused)
{
    (void)unused;
    judge_loss(SIM_PROMISE_READ, 10, 10, 10, 10, 0, "");
    judge_loss(SIM_PROMISE_READ, 10, 10, 7, 7, 3, "");
    judge_loss(SIM_PROMISE_READ, 10, 10, 7, 8, 2, "false-confirmation");
    judge_loss(SIM_PROMISE_READ, 10, 10, 7, 8, 4, "false-confirmation"); // at any moment
    judge_loss(SIM_PROMISE_READ, 8, 0, 6, 6, 4, "");
    judge_loss(SIM_PROMISE_ACKNOWLEDGED, 10, 9, 7, 9, 1, "");
    judge_loss(SIM_PROMISE_ACKNOWLEDGED, 10, 9, 7, 10, 0, "false-confirmation");
    judge_loss(SIM_PROMISE_ACKNOWLEDGED, 10, 5, 7, 7, 3, "");
    judge_loss(SIM_PROMISE_SENT, 10, 0, 0, 10, 0, "");
    judge_loss(SIM_PROMISE_SENT, 9, 0, 0, 10, 0, "false-confirmation");
    judge_loss(SIM_PROMISE_SENT, 9, 0, 0, 9, 1, "");
}

// Gone without being counted anywhere. What is beyond the promise is lost; what it allows is not.
static void lost(void **unused)
{
    (void)unused;
    for (enum sim_promise promise = SIM_PROMISE_READ; promise <= SIM_PROMISE_SENT; promise++) {
        struct court court;
        unsigned char frame[100];
        court_begin(&court, promise);
        court.options.wired = true;
        court_open(&court);
        log_messages(&court, 0, 0, 3);
        uint32_t sent = sim_auditor_begin(court.auditor, SIM_SIDE_SENT);
        uint32_t read = sim_auditor_begin(court.auditor, SIM_SIDE_READ);
        pass(&court, sent, 0, 0, 3);
        sim_auditor_acknowledged(court.auditor, sent, 2 * frame_message(&court, 0, 0, frame));
        pass(&court, read, 0, 0, promise == SIM_PROMISE_ACKNOWLEDGED ? 0 : 1);
        sim_auditor_break(court.auditor);
        struct weir_metrics metrics = books(3);
        sim_auditor_finish(court.auditor, &metrics);
        court_end(&court, promise == SIM_PROMISE_SENT ? "" : "lost");
    }
    // What was handed over may be lost in flight where sending confirms; what was not, may not.
    for (uint32_t handed = 1; handed <= 2; handed++) {
        struct court court;
        court_begin(&court, SIM_PROMISE_SENT);
        court.options.datagrams = true;
        court.options.framing = WEIR_FRAMING_RAW;
        court.options.wired = true;
        court_open(&court);
        log_messages(&court, 0, 0, 2);
        uint32_t sent = sim_auditor_begin(court.auditor, SIM_SIDE_SENT);
        pass(&court, sent, 0, 0, handed);
        struct weir_metrics metrics = books(2);
        sim_auditor_finish(court.auditor, &metrics);
        court_end(&court, handed == 2 ? "" : "lost");
    }
    // Nothing broke: then what was acknowledged was read, too.
    struct court court;
    court_begin(&court, SIM_PROMISE_SENT);
    court.options.wired = true;
    court_open(&court);
    log_messages(&court, 0, 0, 2);
    uint32_t sent = sim_auditor_begin(court.auditor, SIM_SIDE_SENT);
    uint32_t read = sim_auditor_begin(court.auditor, SIM_SIDE_READ);
    pass(&court, sent, 0, 0, 2);
    pass(&court, read, 0, 0, 1);
    struct weir_metrics metrics = books(2);
    sim_auditor_finish(court.auditor, &metrics);
    court_end(&court, "lost");
}

static void weakened(void **unused)
{
    (void)unused;
    struct court court;
    unsigned char frame[100];
    court_begin(&court, SIM_PROMISE_READ);
    court.options.wired = true;
    court_open(&court);
    log_messages(&court, 0, 0, 2);
    uint32_t sent = sim_auditor_begin(court.auditor, SIM_SIDE_SENT);
    pass(&court, sent, 0, 0, 2);
    sim_auditor_acknowledged(court.auditor, sent, frame_message(&court, 0, 0, frame));
    struct weir_metrics metrics = books(1);
    sim_auditor_weaken(court.auditor, SIM_PROMISE_ACKNOWLEDGED);
    sim_auditor_weaken(court.auditor, SIM_PROMISE_READ); // does not make it stronger again
    sim_auditor_sample(court.auditor, &metrics);
    assert_string_equal(court.broken, "");
    metrics = books(2);
    sim_auditor_sample(court.auditor, &metrics);
    court_end(&court, "false-confirmation");
}

static void dropped_and_delivered(void **unused)
{
    (void)unused;
    struct court court;
    court_begin(&court, SIM_PROMISE_READ);
    court.options.full = WEIR_FULL_DROP_OLDEST;
    court_open(&court);
    log_messages(&court, 0, 0, 3);
    uint32_t read = sim_auditor_begin(court.auditor, SIM_SIDE_READ);
    pass(&court, read, 0, 0, 3);
    struct weir_metrics metrics = books(3);
    metrics.confirmed_messages = 2;
    metrics.dropped_messages[WEIR_DROPPED_OLDEST] = 1;
    sim_auditor_finish(court.auditor, &metrics);
    court_end(&court, "delivered-though-dropped");
}

// ---- Books ----

static void wrong_books(void **unused)
{
    (void)unused;
    struct court court;
    court_ready(&court, SIM_PROMISE_READ);
    log_messages(&court, 0, 0, 2);
    log_message(&court, 0, 2, WEIR_ETOOBIG);
    sim_auditor_nonsense(court.auditor, 0, -EINVAL);
    struct weir_metrics good = books(2);
    good.confirmed_messages = 0;
    good.held_messages = 2;
    good.held_bytes = good.confirmed_bytes;
    good.confirmed_bytes = 0;
    good.offered_messages = 4;
    good.rejected_messages[WEIR_REJECTED_TOO_BIG] = 1;
    good.rejected_messages[WEIR_REJECTED_EMPTY] = 1;
    assert_null(sim_auditor_books(court.auditor, &good));
    const size_t fields[] = {offsetof(struct weir_metrics, offered_messages),
                             offsetof(struct weir_metrics, accepted_messages),
                             offsetof(struct weir_metrics, accepted_bytes),
                             offsetof(struct weir_metrics, confirmed_messages),
                             offsetof(struct weir_metrics, confirmed_bytes),
                             offsetof(struct weir_metrics, held_messages),
                             offsetof(struct weir_metrics, held_bytes),
                             offsetof(struct weir_metrics, rejected_messages),
                             offsetof(struct weir_metrics, dropped_messages),
                             offsetof(struct weir_metrics, dropped_bytes)};
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        struct weir_metrics bad = good;
        uint64_t value;
        memcpy(&value, (char *)&bad + fields[i], sizeof(value));
        value++;
        memcpy((char *)&bad + fields[i], &value, sizeof(value));
        assert_non_null(sim_auditor_books(court.auditor, &bad));
    }
    // Both equations hold, and yet they are not the host's figures.
    struct weir_metrics bad = good;
    bad.accepted_messages++;
    bad.held_messages++;
    bad.offered_messages++;
    assert_non_null(sim_auditor_books(court.auditor, &bad));
    bad = good;
    bad.rejected_messages[WEIR_REJECTED_FULL]++;
    bad.offered_messages++;
    assert_non_null(sim_auditor_books(court.auditor, &bad));
    bad = good;
    bad.rejected_messages[WEIR_REJECTED_EMPTY] = 0;
    bad.rejected_messages[WEIR_REJECTED_FULL] = 1;
    assert_non_null(sim_auditor_books(court.auditor, &bad));
    bad = good;
    bad.held_messages = 1;
    bad.dropped_messages[WEIR_DROPPED_ABANDONED] = 1;
    assert_non_null(sim_auditor_books(court.auditor, &bad));
    good.offered_messages++;
    sim_auditor_finish(court.auditor, &good);
    court_end(&court, "books-unbalanced");

    court_ready(&court, SIM_PROMISE_READ);
    log_message(&court, 0, 0, WEIR_ECLOSED); // of an open pool
    court_end(&court, "books-unbalanced");
    court_ready(&court, SIM_PROMISE_READ);
    log_message(&court, 0, 0, -EIO);
    court_end(&court, "books-unbalanced");
    court_ready(&court, SIM_PROMISE_READ);
    sim_auditor_nonsense(court.auditor, 0, 0);
    court_end(&court, "books-unbalanced");
}

static void memory(void **unused)
{
    (void)unused;
    struct court court;
    struct weir_metrics metrics = {.memory_bytes = 1000};
    court_ready(&court, SIM_PROMISE_READ);
    sim_auditor_memory(court.auditor, 1000, 1100, 100, &metrics);
    assert_string_equal(court.broken, "");
    sim_auditor_memory(court.auditor, 999, 1100, 100, &metrics);
    court_end(&court, "memory-over-cap");
    court_ready(&court, SIM_PROMISE_READ);
    sim_auditor_memory(court.auditor, 1000, 1101, 100, &metrics);
    court_end(&court, "memory-over-cap");
}

// ---- Flush and close ----

// Two accepted, `read_count` of them read, `dropped` dropped; it took so long of ten milliseconds.
static void judge_wait(bool closes, int result, uint32_t read_count, uint32_t dropped,
                       uint64_t took_ns, bool steady, const char *expected)
{
    struct court court;
    court_ready(&court, SIM_PROMISE_READ);
    log_messages(&court, 0, 0, 2);
    uint32_t read = sim_auditor_begin(court.auditor, SIM_SIDE_READ);
    pass(&court, read, 0, 0, read_count);
    struct weir_metrics metrics = books(2);
    metrics.confirmed_messages = read_count;
    metrics.dropped_messages[WEIR_DROPPED_DEADLINE] = dropped;
    metrics.held_messages = 2 - read_count - dropped;
    struct sim_auditor_wait wait = {.steady = steady,
                                    .begin_ns = MS,
                                    .end_ns = MS + took_ns,
                                    .timeout_ns = 10 * MS,
                                    .result = result};
    if (closes) {
        sim_auditor_close_begin(court.auditor, &wait);
        assert_true(sim_auditor_closing(court.auditor));
        assert_false(sim_auditor_closed(court.auditor));
        sim_auditor_close_end(court.auditor, &wait, &metrics);
        assert_true(sim_auditor_closed(court.auditor));
    } else {
        sim_auditor_flush_begin(court.auditor, &wait);
        log_message(&court, 1, 0, 0); // after: not its business
        sim_auditor_flush_end(court.auditor, &wait, &metrics);
    }
    court_end(&court, expected);
}

static void flush(void **unused)
{
    (void)unused;
    judge_wait(false, 0, 2, 0, 0, true, "");
    judge_wait(false, 0, 1, 1, 0, true, "");
    judge_wait(false, 0, 1, 0, 0, true, "flush-untruthful");
    judge_wait(false, WEIR_ETIMEOUT, 0, 0, 10 * MS, true, "");
    judge_wait(false, WEIR_ETIMEOUT, 0, 0, 10 * MS - 1, true, "flush-early");
    judge_wait(false, WEIR_ETIMEOUT, 0, 0, 11 * MS, true, "");
    judge_wait(false, WEIR_ETIMEOUT, 0, 0, 11 * MS + 1, true, "flush-late");
    judge_wait(false, 0, 2, 0, 11 * MS + 1, true, "flush-late");
    judge_wait(false, WEIR_ETIMEOUT, 0, 0, 99 * MS, false, "");
    judge_wait(false, WEIR_ECLOSED, 0, 0, 0, true, "flush-untruthful"); // nobody closed
    judge_wait(false, -EIO, 0, 0, 0, true, "flush-untruthful");
}

static void closing(void **unused)
{
    (void)unused;
    judge_wait(true, 0, 2, 0, 0, true, "");
    judge_wait(true, 0, 1, 0, 0, true, "close-untruthful"); // held
    judge_wait(true, 0, 1, 1, 10 * MS, true, "close-untruthful");
    judge_wait(true, WEIR_ETIMEOUT, 1, 1, 10 * MS, true, "");
    judge_wait(true, WEIR_ETIMEOUT, 1, 0, 10 * MS, true, ""); // a thread was still writing it
    judge_wait(true, WEIR_ETIMEOUT, 2, 0, 10 * MS, true, "close-untruthful");
    judge_wait(true, WEIR_ETIMEOUT, 1, 1, 5 * MS, true, "close-early");
    judge_wait(true, WEIR_ETIMEOUT, 1, 1, 12 * MS, true, "close-late");
    judge_wait(true, WEIR_ETIMEOUT, 1, 1, 12 * MS, false, "");
    judge_wait(true, WEIR_EUNPROVEN, 2, 0, 0, true, "close-untruthful"); // it was proven
    judge_wait(true, WEIR_ECLOSED, 2, 0, 0, true, "close-untruthful");
}

// Confirmed and not dropped, says the pool; and nobody has read it.
static void close_and_lost(void **unused)
{
    (void)unused;
    struct court court;
    court_ready(&court, SIM_PROMISE_READ);
    log_messages(&court, 0, 0, 2);
    struct weir_metrics metrics = books(2);
    struct sim_auditor_wait wait = {.timeout_ns = MS};
    sim_auditor_close_begin(court.auditor, &wait);
    sim_auditor_close_end(court.auditor, &wait, &metrics);
    court_end(&court, "close-untruthful");
}

static void alive_after_close(void **unused)
{
    (void)unused;
    struct court court;
    struct weir_metrics metrics = books(0);
    struct sim_auditor_wait wait = {.timeout_ns = MS};
    court_ready(&court, SIM_PROMISE_READ);
    sim_auditor_offer(court.auditor, 0, 0, BYTES); // a call that was under way
    sim_auditor_close_begin(court.auditor, &wait);
    log_message(&court, 0, 1, WEIR_ECLOSED);
    sim_auditor_close_end(court.auditor, &wait, &metrics);
    sim_auditor_answer(court.auditor, 0, 0, 0);
    assert_string_equal(court.broken, "");
    log_message(&court, 0, 2, 0);
    court_end(&court, "alive-after-close");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_framings),
        cmocka_unit_test(good_break),
        cmocka_unit_test(good_slots),
        cmocka_unit_test(good_header),
        cmocka_unit_test(gap_records),
        cmocka_unit_test(torn_and_corrupt),
        cmocka_unit_test(torn_lines),
        cmocka_unit_test(sent_inside),
        cmocka_unit_test(wrong_messages),
        cmocka_unit_test(order),
        cmocka_unit_test(duplicates),
        cmocka_unit_test(loss_and_proof),
        cmocka_unit_test(lost),
        cmocka_unit_test(weakened),
        cmocka_unit_test(dropped_and_delivered),
        cmocka_unit_test(wrong_books),
        cmocka_unit_test(memory),
        cmocka_unit_test(flush),
        cmocka_unit_test(closing),
        cmocka_unit_test(close_and_lost),
        cmocka_unit_test(alive_after_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
