// Tests of sim/auditor.h: streams with one thing wrong: torn, invented, out of order, or twice.
#include "tests/support_court_stream.h"

// One connection with these bytes; two messages were logged.
static void judge_bytes(const void *bytes, size_t count, enum sim_end how, const char *expected)
{
    struct court court;
    uint32_t read = court_read(&court, 2);
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
    court_begin(&court, SIM_PROMISE_READ, PRODUCERS, MESSAGES);
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
        uint32_t sent = court_sent(&court, SIM_PROMISE_READ, 2);
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
    uint32_t read = court_read(&court, 0);
    pass(&court, read, 0, 0, 1);
    court_end(&court, "phantom-message");

    read = court_read(&court, 0);
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

    court_wired(&court, SIM_PROMISE_READ);
    log_messages(&court, 0, 0, 1);
    read = sim_auditor_begin(court.auditor, SIM_SIDE_READ);
    pass(&court, read, 0, 0, 1);
    court_end(&court, "phantom-message"); // nobody sent it
}

static void order(void **unused)
{
    (void)unused;
    struct court court;
    uint32_t read = court_read(&court, 3);
    pass(&court, read, 0, 1, 1);
    pass(&court, read, 0, 0, 1);
    court_end(&court, "order-broken");

    read = court_read(&court, 3);
    pass(&court, read, 0, 0, 1);
    pass(&court, read, 0, 2, 1);
    court_end(&court, "skipped-message");

    uint32_t sent = court_sent(&court, SIM_PROMISE_READ, 3); // a new connection may not skip either
    pass(&court, sent, 0, 0, 1);
    sent = court_again(&court, sent);
    pass(&court, sent, 0, 2, 1);
    court_end(&court, "skipped-message");

    court_begin(&court, SIM_PROMISE_READ, PRODUCERS, MESSAGES); // unless the oldest may be dropped
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
    uint32_t read = court_read(&court, 1);
    pass(&court, read, 0, 0, 1);
    pass(&court, read, 0, 0, 1);
    court_end(&court, "duplicate-without-break");

    read = court_read(&court, 1); // on two connections, and nothing broke
    pass(&court, read, 0, 0, 1);
    sim_auditor_end(court.auditor, read, SIM_END_ORDERLY);
    read = sim_auditor_begin(court.auditor, SIM_SIDE_READ);
    pass(&court, read, 0, 0, 1);
    court_end(&court, "duplicate-without-break");

    uint32_t sent = court_sent(&court, SIM_PROMISE_READ, 1); // while the first connection is open
    pass(&court, sent, 0, 0, 1);
    uint32_t second = sim_auditor_begin(court.auditor, SIM_SIDE_SENT);
    pass(&court, second, 0, 0, 1);
    court_end(&court, "duplicate-without-break");

    for (uint64_t confirmed = 1; confirmed <= 2; confirmed++) {
        sent = court_sent(&court, SIM_PROMISE_READ, 3);
        pass(&court, sent, 0, 0, 3);
        sent = court_again(&court, sent);
        sim_auditor_confirmed(court.auditor, sent, confirmed);
        pass(&court, sent, 0, 1, 2);
        court_end(&court, confirmed == 1 ? "" : "duplicate-of-confirmed");
    }

    sent = court_sent(&court, SIM_PROMISE_SENT, 1);
    pass(&court, sent, 0, 0, 1);
    sent = court_again(&court, sent);
    pass(&court, sent, 0, 0, 1);
    court_end(&court, "duplicate-of-confirmed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(torn_and_corrupt),
        cmocka_unit_test(torn_lines),
        cmocka_unit_test(sent_inside),
        cmocka_unit_test(wrong_messages),
        cmocka_unit_test(order),
        cmocka_unit_test(duplicates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
