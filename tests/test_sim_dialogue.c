// Tests of sim/auditor.h over RELP: fabricated dialogues, good ones and one with each thing broken.
#include "sim/message.h"
#include "tests/support_court.h"

#define MESSAGES 40
#define AGREED "200 OK\nrelp_version=0\nrelp_software=test\ncommands=syslog"
#define DIGITS "%09u"

// ---- A dialogue of one client and one server ----

struct dialogue {
    struct court court;
    uint32_t sent, read; // the present connection's two sides
    uint32_t number;     // the last one on it
    struct weir_metrics metrics;
};

static void begin(struct dialogue *me)
{
    memset(me, 0, sizeof(*me));
    court_begin(&me->court, SIM_PROMISE_ANSWERED, 1, MESSAGES);
    struct sim_auditor_options *options = &me->court.options;
    options->framing = WEIR_FRAMING_RELP;
    options->refused = WEIR_REFUSED_RETRY;
    options->window_messages = 8;
    options->window_bytes = 100000;
    options->wired = true;
}

static void log_messages(struct dialogue *me, uint32_t from, uint32_t count)
{
    for (uint32_t i = from; i < from + count; i++) {
        sim_auditor_offer(me->court.auditor, 0, i, BYTES);
        sim_auditor_answer(me->court.auditor, 0, i, 0);
        me->metrics.offered_messages++;
        me->metrics.accepted_messages++;
        me->metrics.held_messages++;
    }
}

// Bytes that the client sends, and perhaps the server reads.
static void carry(struct dialogue *me, const void *bytes, size_t count, bool read)
{
    sim_auditor_bytes(me->court.auditor, me->sent, bytes, count);
    if (read) {
        sim_auditor_bytes(me->court.auditor, me->read, bytes, count);
    }
}

static void carry_text(struct dialogue *me, const char *text)
{
    carry(me, text, strlen(text), true);
}

static void connect_only(struct dialogue *me)
{
    me->sent = sim_auditor_begin(me->court.auditor, SIM_SIDE_SENT);
    me->read = sim_auditor_begin(me->court.auditor, SIM_SIDE_READ);
    me->number = 1;
}

// What the server says, and the client reads.
static void reply(struct dialogue *me, uint32_t number, const char *data)
{
    char frame[300];
    int count = snprintf(frame, sizeof(frame), "%u rsp %zu %s\n", number, strlen(data), data);
    sim_auditor_received(me->court.auditor, me->sent, frame, (size_t)count, false);
}

static void reply_text(struct dialogue *me, const char *text)
{
    sim_auditor_received(me->court.auditor, me->sent, text, strlen(text), false);
}

static void connect_open(struct dialogue *me)
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

static void send_unread(struct dialogue *me, uint32_t sequence)
{
    unsigned char frame[100];
    carry(me, frame, frame_message(++me->number, sequence, frame), false);
}

static void send_messages(struct dialogue *me, uint32_t from, uint32_t count)
{
    for (uint32_t i = from; i < from + count; i++) {
        unsigned char frame[100];
        carry(me, frame, frame_message(++me->number, i, frame), true);
    }
}

static void reply_range(struct dialogue *me, uint32_t from, uint32_t count)
{
    for (uint32_t number = from; number < from + count; number++) {
        reply(me, number, "200 OK");
    }
}

static void disconnect(struct dialogue *me)
{
    sim_auditor_break(me->court.auditor);
    sim_auditor_end(me->court.auditor, me->sent, SIM_END_BROKEN);
    sim_auditor_end(me->court.auditor, me->read, SIM_END_BROKEN);
}

static void count_as(struct dialogue *me, uint64_t confirmed, uint64_t refused)
{
    me->metrics.held_messages -= confirmed + refused;
    me->metrics.confirmed_messages += confirmed;
    me->metrics.dropped_messages[WEIR_DROPPED_REFUSED] += refused;
}

static void ready(struct dialogue *me)
{
    begin(me);
    court_open(&me->court);
}

// Ten messages are logged, and the first four sent and answered.
static void begun(struct dialogue *me)
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
    struct dialogue talk;
    begun(&talk);
    assert_int_equal(sim_auditor_waiting(talk.court.auditor, talk.sent), 0);
    send_messages(&talk, 4, 6);
    assert_int_equal(sim_auditor_waiting(talk.court.auditor, talk.sent), 6);
    reply_text(&talk, "0 hint 3 abc\n");
    reply(&talk, 8, "200 OK"); // out of order
    assert_int_equal(sim_auditor_waiting(talk.court.auditor, talk.sent), 6);
    count_as(&talk, 4, 0);
    sim_auditor_sample(talk.court.auditor, &talk.metrics);
    reply_range(&talk, 6, 2);
    assert_int_equal(sim_auditor_waiting(talk.court.auditor, talk.sent), 9);
    reply_range(&talk, 9, 3);
    carry_text(&talk, "12 close 0\n");
    assert_int_equal(sim_auditor_waiting(talk.court.auditor, talk.sent), 12);
    reply_text(&talk, "12 rsp 0\n0 serverclose 0\n");
    sim_auditor_end(talk.court.auditor, talk.sent, SIM_END_ORDERLY);
    sim_auditor_end(talk.court.auditor, talk.read, SIM_END_ORDERLY);
    count_as(&talk, 6, 0);
    assert_null(sim_auditor_books(talk.court.auditor, &talk.metrics));
    struct sim_auditor_wait wait = {.steady = true, .timeout_ns = 10 * MS, .end_ns = 5 * MS};
    sim_auditor_flush_begin(talk.court.auditor, &wait);
    sim_auditor_flush_end(talk.court.auditor, &wait, &talk.metrics);
    sim_auditor_finish(talk.court.auditor, &talk.metrics);
    struct sim_auditor_counts counts;
    sim_auditor_count(talk.court.auditor, &counts);
    assert_int_equal(counts.disordered, 1);
    assert_int_equal(counts.violations, 0);
    court_end(&talk.court, "");
}

// What was not answered, and what was answered out of order behind it, is sent again.
static void good_break(void **unused)
{
    (void)unused;
    struct dialogue talk;
    begun(&talk);
    send_messages(&talk, 4, 3);
    reply(&talk, 7, "200 OK"); // of message 5; 4 waits
    disconnect(&talk);
    connect_open(&talk);
    send_messages(&talk, 4, 6);
    reply_range(&talk, 2, 6);
    count_as(&talk, 10, 0);
    sim_auditor_finish(talk.court.auditor, &talk.metrics);
    court_end(&talk.court, "");
}

static void refused_and_dropped(void **unused)
{
    (void)unused;
    struct dialogue talk;
    begin(&talk);
    talk.court.options.refused = WEIR_REFUSED_DROP;
    court_open(&talk.court);
    log_messages(&talk, 0, 3);
    connect_open(&talk);
    send_messages(&talk, 0, 3);
    reply(&talk, 2, "200 OK");
    reply(&talk, 3, "500 no");
    assert_false(sim_auditor_excused(talk.court.auditor, talk.sent));
    disconnect(&talk);
    connect_open(&talk);
    send_messages(&talk, 2, 1);
    reply(&talk, 2, "200 OK");
    count_as(&talk, 2, 1);
    sim_auditor_finish(talk.court.auditor, &talk.metrics);
    court_end(&talk.court, "");
}

static void refused_and_retried(void **unused)
{
    (void)unused;
    struct dialogue talk;
    begun(&talk);
    send_messages(&talk, 4, 2);
    reply(&talk, 6, "500 no");
    reply(&talk, 7, "200 OK");
    assert_true(sim_auditor_excused(talk.court.auditor, talk.sent));
    disconnect(&talk);
    connect_open(&talk);
    send_messages(&talk, 4, 6);
    reply_range(&talk, 2, 6);
    count_as(&talk, 10, 0);
    sim_auditor_finish(talk.court.auditor, &talk.metrics);
    court_end(&talk.court, "");
}

// ---- What the pool does wrong ----

static void sent_again(void **unused)
{
    (void)unused;
    struct dialogue talk;
    begun(&talk);
    disconnect(&talk);
    connect_open(&talk);
    send_messages(&talk, 3, 1); // was answered
    court_end(&talk.court, "duplicate-of-confirmed");

    begun(&talk);
    send_messages(&talk, 4, 1);
    disconnect(&talk);
    connect_open(&talk);
    log_messages(&talk, 10, 1);
    send_messages(&talk, 5, 1); // 4 is due
    court_end(&talk.court, "skipped-message");

    begun(&talk);
    send_messages(&talk, 4, 2);
    connect_open(&talk);
    send_messages(&talk, 4, 1); // and the other connection is still open
    court_end(&talk.court, "duplicate-without-break");
}

static void too_much(void **unused)
{
    (void)unused;
    struct dialogue talk;
    begun(&talk);
    for (uint32_t i = 4; i < 10; i++) {
        send_messages(&talk, i, 1);
    }
    log_messages(&talk, 10, 10);
    send_messages(&talk, 10, 2); // eight without an answer
    assert_string_equal(talk.court.broken, "");
    unsigned char frame[100];
    (void)frame_message(talk.number + 1, 12, frame);
    carry(&talk, frame, 20, true); // the ninth begins
    court_end(&talk.court, "window-exceeded");

    begin(&talk);
    talk.court.options.window_bytes = 70; // one message has 62
    court_open(&talk.court);
    log_messages(&talk, 0, 3);
    connect_open(&talk);
    send_messages(&talk, 0, 2);
    assert_string_equal(talk.court.broken, ""); // one may exceed it
    send_messages(&talk, 2, 1);
    court_end(&talk.court, "window-exceeded");
}

static void out_of_turn(void **unused)
{
    (void)unused;
    struct dialogue talk;
    ready(&talk);
    log_messages(&talk, 0, 2);
    connect_only(&talk);
    carry_text(&talk, "1 open 14 relp_version=0\n");
    send_messages(&talk, 0, 1);
    court_end(&talk.court, "sent-before-open");

    ready(&talk);
    log_messages(&talk, 0, 2);
    connect_only(&talk);
    carry_text(&talk, "1 open 14 relp_version=0\n");
    reply(&talk, 1, "200 OK\nrelp_version=0\ncommands=eventlog");
    assert_true(sim_auditor_excused(talk.court.auditor, talk.sent));
    send_messages(&talk, 0, 1);
    court_end(&talk.court, "sent-before-open");

    ready(&talk);
    connect_only(&talk);
    carry_text(&talk, "2 open 14 relp_version=0\n");
    court_end(&talk.court, "relp-wrong");

    begun(&talk);
    reply_text(&talk, "0 serverclose 0\n");
    send_messages(&talk, 4, 1);
    court_end(&talk.court, "talks-to-the-lost");
}

static void false_proof(void **unused)
{
    (void)unused;
    struct dialogue talk;
    begun(&talk);
    send_messages(&talk, 4, 2);
    reply(&talk, 7, "200 OK"); // 6 waits
    count_as(&talk, 5, 0);
    sim_auditor_sample(talk.court.auditor, &talk.metrics);
    court_end(&talk.court, "false-confirmation");

    begun(&talk);
    count_as(&talk, 3, 0); // the fourth was answered
    assert_non_null(sim_auditor_books(talk.court.auditor, &talk.metrics));
    count_as(&talk, 1, 0);
    assert_null(sim_auditor_books(talk.court.auditor, &talk.metrics));
    count_as(&talk, 0, 1); // nobody refused any
    assert_non_null(sim_auditor_books(talk.court.auditor, &talk.metrics));
    court_end(&talk.court, "");

    begun(&talk);
    struct sim_auditor_wait wait = {.steady = true, .timeout_ns = 10 * MS, .end_ns = 5 * MS};
    sim_auditor_flush_begin(talk.court.auditor, &wait);
    send_messages(&talk, 4, 6); // read, but not answered
    sim_auditor_flush_end(talk.court.auditor, &wait, &talk.metrics);
    court_end(&talk.court, "flush-untruthful");

    begun(&talk);
    send_messages(&talk, 4, 6);
    reply_range(&talk, 6, 5);
    count_as(&talk, 9, 0);
    talk.metrics.held_messages = 0; // one is forgotten
    talk.metrics.accepted_messages = 10;
    sim_auditor_finish(talk.court.auditor, &talk.metrics);
    court_end(&talk.court, "lost");
}

// ---- What the server does wrong ----

static void judge_violation(const char *said)
{
    struct dialogue talk;
    for (size_t piece = 1; piece <= strlen(said); piece++) {
        begun(&talk);
        send_messages(&talk, 4, 2);
        for (size_t at = 0; at < strlen(said); at += piece) {
            size_t left = strlen(said) - at;
            sim_auditor_received(talk.court.auditor, talk.sent, said + at,
                                 left < piece ? left : piece, false);
        }
        struct sim_auditor_counts counts;
        sim_auditor_count(talk.court.auditor, &counts);
        assert_int_equal(counts.violations, 1);
        assert_true(sim_auditor_excused(talk.court.auditor, talk.sent));
        reply_range(&talk, 6, 2); // counts no more
        assert_int_equal(sim_auditor_waiting(talk.court.auditor, talk.sent), 6);
        disconnect(&talk);
        connect_open(&talk);
        send_messages(&talk, 4, 6);
        reply_range(&talk, 2, 6);
        count_as(&talk, 10, 0);
        sim_auditor_finish(talk.court.auditor, &talk.metrics); // and no fault is counted
        court_end(&talk.court, "violations-miscounted");
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
    struct dialogue talk;
    begun(&talk);
    send_unread(&talk, 4);
    reply(&talk, 6, "200 OK");
    court_end(&talk.court, "phantom-answer");
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
