// Tests of sim/auditor.h: fabricated histories that are good, and books that are not.
#include "tests/support_court_stream.h"

#include <errno.h>

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
        court_begin(&court, SIM_PROMISE_READ, PRODUCERS, MESSAGES);
        court.options.framing = framings[i];
        court_open(&court);
        good_run(&court);
    }
    court_begin(&court, SIM_PROMISE_SENT, PRODUCERS, MESSAGES);
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
    uint32_t sent = court_sent(&court, SIM_PROMISE_READ, 10);
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
    court_begin(me, SIM_PROMISE_READ, PRODUCERS, MESSAGES);
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
    court_begin(&court, SIM_PROMISE_READ, PRODUCERS, MESSAGES);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_framings), cmocka_unit_test(good_break),
        cmocka_unit_test(good_slots),    cmocka_unit_test(good_header),
        cmocka_unit_test(gap_records),   cmocka_unit_test(wrong_books),
        cmocka_unit_test(memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
