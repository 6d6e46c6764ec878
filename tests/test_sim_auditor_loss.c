// Tests of sim/auditor.h: what is lost, and what confirmations, flush and close say of it.
#include "tests/support_court_stream.h"

#include <errno.h>

// ---- Loss and proof ----

// Ten accepted, `handed` handed over on one connection, `acknowledged` acknowledged, `read` read;
// then it breaks. Confirmed: `confirmed`; reported dropped at a deadline: the rest.
static void judge_loss(enum sim_promise promise, uint32_t handed, uint32_t acknowledged,
                       uint32_t read_count, uint32_t confirmed, uint32_t dropped,
                       const char *expected)
{
    struct court court;
    unsigned char frame[100];
    uint32_t sent = court_sent(&court, promise, 10);
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
        uint32_t sent = court_sent(&court, promise, 3);
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
        court_begin(&court, SIM_PROMISE_SENT, PRODUCERS, MESSAGES);
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
    uint32_t sent = court_sent(&court, SIM_PROMISE_SENT, 2);
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
    uint32_t sent = court_sent(&court, SIM_PROMISE_READ, 2);
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
    court_begin(&court, SIM_PROMISE_READ, PRODUCERS, MESSAGES);
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

// ---- Flush and close ----

// Two accepted, `read_count` of them read, `dropped` dropped; it took so long of ten milliseconds.
static void judge_wait(bool closes, int result, uint32_t read_count, uint32_t dropped,
                       uint64_t took_ns, bool steady, const char *expected)
{
    struct court court;
    uint32_t read = court_read(&court, 2);
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
        cmocka_unit_test(loss_and_proof), cmocka_unit_test(lost),
        cmocka_unit_test(weakened),       cmocka_unit_test(dropped_and_delivered),
        cmocka_unit_test(flush),          cmocka_unit_test(closing),
        cmocka_unit_test(close_and_lost), cmocka_unit_test(alive_after_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
