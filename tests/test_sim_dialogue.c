// Tests of sim/auditor.h over RELP: fabricated dialogues, good ones and one with each thing broken.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "sim/auditor.h"
#include "sim/message.h"

#define MS UINT64_C(1000000)
#define BYTES 40
#define MESSAGES 40
#define AGREED "200 OK\nrelp_version=0\nrelp_software=test\ncommands=syslog"
#define DIGITS "%09u"

// ---- A court with one client and one server ----

struct court {
    struct sim_arena *arena;
    struct sim_auditor_options options;
    struct sim_auditor *auditor;
    uint32_t sent, read; // the present connection's two sides
    uint32_t number;     // the last one on it
    struct weir_metrics metrics;
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

static void court_begin(struct court *me)
{
    memset(me, 0, sizeof(*me));
    me->arena = sim_arena_create();
    assert_non_null(me->arena);
    sim_arena_begin(me->arena, 0xa5);
    me->options = (struct sim_auditor_options){.arena = me->arena,
                                               .fail = court_report,
                                               .context = me,
                                               .promise = SIM_PROMISE_ANSWERED,
                                               .framing = WEIR_FRAMING_RELP,
                                               .refused = WEIR_REFUSED_RETRY,
                                               .window_messages = 8,
                                               .window_bytes = 100000,
                                               .wired = true,
                                               .writers_count = 1,
                                               .producers_count = 1,
                                               .messages_max = MESSAGES,
                                               .record_bytes_max = 1000,
                                               .slack_ns = MS};
}

static void court_end(struct court *me, const char *expected)
{
    assert_string_equal(me->broken, expected);
    sim_arena_destroy(me->arena);
}

static void log_messages(struct court *me, uint32_t from, uint32_t count)
{
    for (uint32_t i = from; i < from + count; i++) {
        sim_auditor_offer(me->auditor, 0, i, BYTES);
        sim_auditor_answer(me->auditor, 0, i, 0);
        me->metrics.offered_messages++;
        me->metrics.accepted_messages++;
        me->metrics.held_messages++;
    }
}

// Bytes that the client sends, and perhaps the server reads.
static void carry(struct court *me, const void *bytes, size_t count, bool read)
{
    sim_auditor_bytes(me->auditor, me->sent, bytes, count);
    if (read) {
        sim_auditor_bytes(me->auditor, me->read, bytes, count);
    }
}

static void carry_text(struct court *me, const char *text)
{
    carry(me, text, strlen(text), true);
}

static void connect_only(struct court *me)
{
    me->sent = sim_auditor_begin(me->auditor, SIM_SIDE_SENT);
    me->read = sim_auditor_begin(me->auditor, SIM_SIDE_READ);
    me->number = 1;
}

// What the server says, and the client reads.
static void reply(struct court *me, uint32_t number, const char *data)
{
    char frame[300];
    int count = snprintf(frame, sizeof(frame), "%u rsp %zu %s\n", number, strlen(data), data);
    sim_auditor_received(me->auditor, me->sent, frame, (size_t)count, false);
}

static void reply_text(struct court *me, const char *text)
{
    sim_auditor_received(me->auditor, me->sent, text, strlen(text), false);
}

static void connect_open(struct court *me)
{
    connect_only(me);
    carry_text(me, "1 open 14 relp_version=0\n");
    reply(me, 1, AGREED);
}

static size_t frame_message(uint32_t number, uint32_t sequence, unsigned char *to)
{
    struct sim_message message = {0, sequence, BYTES, false};
    size_t at = (size_t)sprintf((char *)to, DIGITS " syslog %d ", number, BYTES);
    sim_message_write(&message, to + at);
    to[at + BYTES] = '\n';
    return at + BYTES + 1;
}

static void send_unread(struct court *me, uint32_t sequence)
{
    unsigned char frame[100];
    carry(me, frame, frame_message(++me->number, sequence, frame), false);
}

static void send_messages(struct court *me, uint32_t from, uint32_t count)
{
    for (uint32_t i = from; i < from + count; i++) {
        unsigned char frame[100];
        carry(me, frame, frame_message(++me->number, i, frame), true);
    }
}

static void reply_range(struct court *me, uint32_t from, uint32_t count)
{
    for (uint32_t number = from; number < from + count; number++) {
        reply(me, number, "200 OK");
    }
}

static void disconnect(struct court *me)
{
    sim_auditor_break(me->auditor);
    sim_auditor_end(me->auditor, me->sent, SIM_END_BROKEN);
    sim_auditor_end(me->auditor, me->read, SIM_END_BROKEN);
}

static void count_as(struct court *me, uint64_t confirmed, uint64_t refused)
{
    me->metrics.held_messages -= confirmed + refused;
    me->metrics.confirmed_messages += confirmed;
    me->metrics.dropped_messages[WEIR_DROPPED_REFUSED] += refused;
}

static void ready(struct court *me)
{
    court_begin(me);
    me->auditor = sim_auditor_create(&me->options);
    assert_non_null(me->auditor);
}

// Ten messages are logged, and the first four sent and answered.
static void begun(struct court *me)
{
    ready(me);
    log_messages(me, 0, 10);
    connect_open(me);
    send_messages(me, 0, 4);
    reply_range(me, 2, 4);
}

// ---- Good ----

static void good_session(void **unused)
{
    (void)unused;
    struct court court;
    begun(&court);
    assert_int_equal(sim_auditor_waiting(court.auditor, court.sent), 0);
    send_messages(&court, 4, 6);
    assert_int_equal(sim_auditor_waiting(court.auditor, court.sent), 6);
    reply_text(&court, "0 hint 3 abc\n");
    reply(&court, 8, "200 OK"); // out of order
    assert_int_equal(sim_auditor_waiting(court.auditor, court.sent), 6);
    count_as(&court, 4, 0);
    sim_auditor_sample(court.auditor, &court.metrics);
    reply_range(&court, 6, 2);
    assert_int_equal(sim_auditor_waiting(court.auditor, court.sent), 9);
    reply_range(&court, 9, 3);
    carry_text(&court, "12 close 0\n");
    assert_int_equal(sim_auditor_waiting(court.auditor, court.sent), 12);
    reply_text(&court, "12 rsp 0\n0 serverclose 0\n");
    sim_auditor_end(court.auditor, court.sent, SIM_END_ORDERLY);
    sim_auditor_end(court.auditor, court.read, SIM_END_ORDERLY);
    count_as(&court, 6, 0);
    assert_null(sim_auditor_books(court.auditor, &court.metrics));
    struct sim_auditor_wait wait = {.steady = true, .timeout_ns = 10 * MS, .end_ns = 5 * MS};
    sim_auditor_flush_begin(court.auditor, &wait);
    sim_auditor_flush_end(court.auditor, &wait, &court.metrics);
    sim_auditor_finish(court.auditor, &court.metrics);
    struct sim_auditor_counts counts;
    sim_auditor_count(court.auditor, &counts);
    assert_int_equal(counts.disordered, 1);
    assert_int_equal(counts.violations, 0);
    court_end(&court, "");
}

// What was not answered, and what was answered out of order behind it, is sent again.
static void good_break(void **unused)
{
    (void)unused;
    struct court court;
    begun(&court);
    send_messages(&court, 4, 3);
    reply(&court, 7, "200 OK"); // of message 5; 4 waits
    disconnect(&court);
    connect_open(&court);
    send_messages(&court, 4, 6);
    reply_range(&court, 2, 6);
    count_as(&court, 10, 0);
    sim_auditor_finish(court.auditor, &court.metrics);
    court_end(&court, "");
}

static void refused_and_dropped(void **unused)
{
    (void)unused;
    struct court court;
    court_begin(&court);
    court.options.refused = WEIR_REFUSED_DROP;
    court.auditor = sim_auditor_create(&court.options);
    log_messages(&court, 0, 3);
    connect_open(&court);
    send_messages(&court, 0, 3);
    reply(&court, 2, "200 OK");
    reply(&court, 3, "500 no");
    assert_false(sim_auditor_excused(court.auditor, court.sent));
    disconnect(&court);
    connect_open(&court);
    send_messages(&court, 2, 1);
    reply(&court, 2, "200 OK");
    count_as(&court, 2, 1);
    sim_auditor_finish(court.auditor, &court.metrics);
    court_end(&court, "");
}

static void refused_and_retried(void **unused)
{
    (void)unused;
    struct court court;
    begun(&court);
    send_messages(&court, 4, 2);
    reply(&court, 6, "500 no");
    reply(&court, 7, "200 OK");
    assert_true(sim_auditor_excused(court.auditor, court.sent));
    disconnect(&court);
    connect_open(&court);
    send_messages(&court, 4, 6);
    reply_range(&court, 2, 6);
    count_as(&court, 10, 0);
    sim_auditor_finish(court.auditor, &court.metrics);
    court_end(&court, "");
}

// ---- What the pool does wrong ----

static void sent_again(void **unused)
{
    (void)unused;
    struct court court;
    begun(&court);
    disconnect(&court);
    connect_open(&court);
    send_messages(&court, 3, 1); // was answered
    court_end(&court, "duplicate-of-confirmed");

    begun(&court);
    send_messages(&court, 4, 1);
    disconnect(&court);
    connect_open(&court);
    log_messages(&court, 10, 1);
    send_messages(&court, 5, 1); // 4 is due
    court_end(&court, "skipped-message");

    begun(&court);
    send_messages(&court, 4, 2);
    connect_open(&court);
    send_messages(&court, 4, 1); // and the other connection is still open
    court_end(&court, "duplicate-without-break");
}

static void too_much(void **unused)
{
    (void)unused;
    struct court court;
    begun(&court);
    for (uint32_t i = 4; i < 10; i++) {
        send_messages(&court, i, 1);
    }
    log_messages(&court, 10, 10);
    send_messages(&court, 10, 2); // eight without an answer
    assert_string_equal(court.broken, "");
    unsigned char frame[100];
    (void)frame_message(court.number + 1, 12, frame);
    carry(&court, frame, 20, true); // the ninth begins
    court_end(&court, "window-exceeded");

    court_begin(&court);
    court.options.window_bytes = 70; // one message has 62
    court.auditor = sim_auditor_create(&court.options);
    log_messages(&court, 0, 3);
    connect_open(&court);
    send_messages(&court, 0, 2);
    assert_string_equal(court.broken, ""); // one may exceed it
    send_messages(&court, 2, 1);
    court_end(&court, "window-exceeded");
}

static void out_of_turn(void **unused)
{
    (void)unused;
    struct court court;
    ready(&court);
    log_messages(&court, 0, 2);
    connect_only(&court);
    carry_text(&court, "1 open 14 relp_version=0\n");
    send_messages(&court, 0, 1);
    court_end(&court, "sent-before-open");

    ready(&court);
    log_messages(&court, 0, 2);
    connect_only(&court);
    carry_text(&court, "1 open 14 relp_version=0\n");
    reply(&court, 1, "200 OK\nrelp_version=0\ncommands=eventlog");
    assert_true(sim_auditor_excused(court.auditor, court.sent));
    send_messages(&court, 0, 1);
    court_end(&court, "sent-before-open");

    ready(&court);
    connect_only(&court);
    carry_text(&court, "2 open 14 relp_version=0\n");
    court_end(&court, "relp-wrong");

    begun(&court);
    reply_text(&court, "0 serverclose 0\n");
    send_messages(&court, 4, 1);
    court_end(&court, "talks-to-the-lost");
}

static void false_proof(void **unused)
{
    (void)unused;
    struct court court;
    begun(&court);
    send_messages(&court, 4, 2);
    reply(&court, 7, "200 OK"); // 6 waits
    count_as(&court, 5, 0);
    sim_auditor_sample(court.auditor, &court.metrics);
    court_end(&court, "false-confirmation");

    begun(&court);
    count_as(&court, 3, 0); // the fourth was answered
    assert_non_null(sim_auditor_books(court.auditor, &court.metrics));
    count_as(&court, 1, 0);
    assert_null(sim_auditor_books(court.auditor, &court.metrics));
    count_as(&court, 0, 1); // nobody refused any
    assert_non_null(sim_auditor_books(court.auditor, &court.metrics));
    court_end(&court, "");

    begun(&court);
    struct sim_auditor_wait wait = {.steady = true, .timeout_ns = 10 * MS, .end_ns = 5 * MS};
    sim_auditor_flush_begin(court.auditor, &wait);
    send_messages(&court, 4, 6); // read, but not answered
    sim_auditor_flush_end(court.auditor, &wait, &court.metrics);
    court_end(&court, "flush-untruthful");

    begun(&court);
    send_messages(&court, 4, 6);
    reply_range(&court, 6, 5);
    count_as(&court, 9, 0);
    court.metrics.held_messages = 0; // one is forgotten
    court.metrics.accepted_messages = 10;
    sim_auditor_finish(court.auditor, &court.metrics);
    court_end(&court, "lost");
}

// ---- What the server does wrong ----

static void judge_violation(const char *said)
{
    struct court court;
    for (size_t piece = 1; piece <= strlen(said); piece++) {
        begun(&court);
        send_messages(&court, 4, 2);
        for (size_t at = 0; at < strlen(said); at += piece) {
            size_t left = strlen(said) - at;
            sim_auditor_received(court.auditor, court.sent, said + at, left < piece ? left : piece,
                                 false);
        }
        struct sim_auditor_counts counts;
        sim_auditor_count(court.auditor, &counts);
        assert_int_equal(counts.violations, 1);
        assert_true(sim_auditor_excused(court.auditor, court.sent));
        reply_range(&court, 6, 2); // counts no more
        assert_int_equal(sim_auditor_waiting(court.auditor, court.sent), 6);
        disconnect(&court);
        connect_open(&court);
        send_messages(&court, 4, 6);
        reply_range(&court, 2, 6);
        count_as(&court, 10, 0);
        sim_auditor_finish(court.auditor, &court.metrics); // and no fault is counted
        court_end(&court, "violations-miscounted");
    }
}

static void violations(void **unused)
{
    (void)unused;
    judge_violation("5 rsp 6 200 OK\n");   // a second time
    judge_violation("999 rsp 6 200 OK\n"); // never sent
    judge_violation("1 rsp 6 200 OK\n");   // the open, again
    judge_violation("6 rsp 0\n");          // no code
    judge_violation("6 syslog 1 x\n");     // clients say that
    judge_violation("HTTP/1.1 400\r\n");
    judge_violation("6 rsp 6 200 OKX");
}

static void answered_unread(void **unused)
{
    (void)unused;
    struct court court;
    begun(&court);
    send_unread(&court, 4);
    reply(&court, 6, "200 OK");
    court_end(&court, "phantom-answer");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_session),        cmocka_unit_test(good_break),
        cmocka_unit_test(refused_and_dropped), cmocka_unit_test(refused_and_retried),
        cmocka_unit_test(sent_again),          cmocka_unit_test(too_much),
        cmocka_unit_test(out_of_turn),         cmocka_unit_test(false_proof),
        cmocka_unit_test(violations),          cmocka_unit_test(answered_unread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
