// Tests of the plan: options that contradict each other or their endpoint, and what is said of it.
#include "tests/support_plan.h"

#include <stdio.h>
#include <string.h>

// RELP answers each message, and nothing else does.
static void test_confirm_ack_is_relp(void **state)
{
    (void)state;
    static const struct setting ack[] = {{"confirm", "ack"}, {NULL, NULL}};
    static const char *const others[] = {STREAM, "unix:@x", UDP, DGRAM};
    struct weir_pool_plan plan;
    for (size_t index = 0; index < COUNT(others); index++) {
        refuse_plan(others[index], ack,
                    "confirm ack needs a collector that answers, and the endpoint is "
                    "no RELP server; write relp://host:port");
    }
    refuse_plan(RELP, SET({"confirm", "peer"}),
                "confirm peer is not for relp:// endpoints, where each message is "
                "answered; write confirm ack, or nothing");
    refuse_plan(RELP, SET({"confirm", "sent"}), "confirm sent is not for relp:// endpoints");
    accept_plan(RELP, ack, &plan);
    assert_true(plan.relp && plan.stream);
    assert_int_equal(plan.endpoints[0].transport, WEIR_TRANSPORT_RELP);
    accept_plan("relp://a:1|relp://b:2,relp://c:3", NULL, &plan);
    assert_true(plan.relp && plan.stream);
    assert_int_equal(plan.endpoints_count, 3);
}

static void test_framing_of_relp_is_its_own(void **state)
{
    (void)state;
    static const struct setting relp[] = {{"framing", "relp"}, {"header", "rfc5424"}, {NULL, NULL}};
    static const char *const others[] = {STREAM, "unix:@x", UDP, DGRAM};
    struct weir_pool_plan plan;
    accept_plan(RELP, NULL, &plan);
    assert_int_equal(plan.framer.framing, WEIR_FRAMING_RELP);
    accept_plan(RELP, relp, &plan);
    assert_int_equal(plan.framer.framing, WEIR_FRAMING_RELP);
    assert_int_equal(plan.framer.header, WEIR_HEADER_RFC5424);
    refuse_plan(RELP, SET({"framing", "octet-counting"}),
                "framing octet-counting is not for relp:// endpoints, which have "
                "their own; write framing relp, or nothing");
    refuse_plan(RELP, SET({"framing", "raw"}), "framing raw is not for relp:// endpoints");
    for (size_t index = 0; index < COUNT(others); index++) {
        refuse_plan(others[index], relp, "framing relp is for relp:// endpoints, and this is none");
    }
}

// It is for what a peer read and may have lost: nothing else is proven in that way.
static void test_replay_needs_confirm_peer(void **state)
{
    (void)state;
    static const struct setting replay[] = {{"replay_bytes", "64k"}, {NULL, NULL}};
    struct weir_pool_options options;
    struct weir_pool_plan plan;
    accept_plan(STREAM, replay, &plan);
    assert_int_equal(plan.replay_bytes, 65536);
    accept_plan("unix:@x", replay, &plan);
    assert_int_equal(plan.replay_bytes, 65536);
    refuse_plan(RELP, replay, "replay_bytes 65536 needs confirm peer; with confirm ack only what");
    refuse_plan(UDP, replay, "replay_bytes 65536 needs confirm peer; with confirm sent nobody");
    refuse_plan(DGRAM, replay, "write replay_bytes 0, or nothing");
    options_make(&options, STREAM, SET({"replay_bytes", "1"}, {"confirm", "sent"}));
    refuse_options(&options, "replay_bytes 1 needs confirm peer; with confirm sent");
    options.replay_bytes = 0;
    accept_options(&options, &plan);
}

// What has no use with an endpoint does no harm either: one set of options serves several lists.
static void test_options_without_a_use_are_taken(void **state)
{
    (void)state;
    static const struct setting settings[] = {{"failback_ms", "1"},
                                              {"keepalive_ms", "1"},
                                              {"tcp_user_timeout_ms", "1"},
                                              {"window_messages", "1"},
                                              {"window_bytes", "1"},
                                              {"answer_timeout_ms", "1"},
                                              {"refused", "drop"},
                                              {"notsent_bytes_max", "1"},
                                              {"epoch_bytes_max", "1"},
                                              {"delimiter", "refuse"},
                                              {NULL, NULL}};
    static const char *const endpoints[] = {STREAM, RELP, "unix:@x", UDP, DGRAM};
    struct weir_pool_plan plan;
    for (size_t index = 0; index < COUNT(endpoints); index++) {
        accept_plan(endpoints[index], settings, &plan);
    }
}

static void test_framing_of_datagrams_is_raw(void **state)
{
    (void)state;
    struct weir_pool_plan plan;
    accept_plan(DGRAM, NULL, &plan);
    assert_int_equal(plan.framer.framing, WEIR_FRAMING_RAW);
    accept_plan(UDP, SET({"framing", "raw"}, {"header", "rfc5424"}), &plan);
    assert_int_equal(plan.framer.framing, WEIR_FRAMING_RAW);
    assert_int_equal(plan.framer.header, WEIR_HEADER_RFC5424);
    refuse_plan(DGRAM, SET({"framing", "octet-counting"}), "framing octet-counting is for streams");
    accept_plan(STREAM, SET({"framing", "octet-counting"}), &plan);
    assert_int_equal(plan.framer.framing, WEIR_FRAMING_OCTET_COUNTING);
    accept_plan(STREAM, SET({"framing", "raw"}, {"header", "rfc5424"}), &plan);
    assert_int_equal(plan.framer.framing, WEIR_FRAMING_RAW);
}

static void test_udp_has_a_largest_message(void **state)
{
    (void)state;
    static const struct {
        const char *endpoint;
        uint32_t asked;
        uint32_t given; // 0: refused
    } cases[] = {
        {UDP, 65536, 65507}, // the default
        {UDP, 65507, 65507},
        {UDP, 1, 1},
        {UDP, 65508, 0},
        {UDP, 65537, 0},
        {DGRAM, 65536, 65536},
        {DGRAM, 100000, 100000},
        {DGRAM "," UDP, 65536, 65507},
        {DGRAM "," UDP, 65508, 0},
        {STREAM, 65508, 65508},
    };
    struct weir_pool_options options;
    struct weir_pool_plan plan;
    for (size_t index = 0; index < COUNT(cases); index++) {
        options_make(&options, cases[index].endpoint, NULL);
        options.message_bytes_max = cases[index].asked;
        if (cases[index].given == 0) {
            refuse_options(&options, "is too large: a UDP datagram carries at most 65507 bytes");
            continue;
        }
        accept_options(&options, &plan);
        assert_int_equal(plan.message_bytes_max, cases[index].given);
        assert_int_equal(plan.row.message_bytes_max, cases[index].given);
    }
}

// The least message_bytes_max, found by trying, and one below it.
static void expect_least_message(const char *endpoint, const struct setting *settings,
                                 uint32_t least, const char *said)
{
    struct weir_pool_options options;
    struct weir_pool_plan plan;
    options_make(&options, endpoint, settings);
    options.message_bytes_max = least;
    accept_options(&options, &plan);
    assert_int_equal(plan.message_bytes_max, least);
    if (least > 1) {
        options.message_bytes_max = least - 1;
        refuse_options(&options, said);
    }
}

static void test_a_message_must_hold_its_frame(void **state)
{
    (void)state;
    static const struct setting header[] = {
        {"framing", "raw"}, {"header", "rfc5424"}, {"app", "nginx"}, {NULL, NULL}};
    static const struct setting gaps[] = {{"gap_records", "on"}, {NULL, NULL}};
    expect_least_message(STREAM, SET({"framing", "raw"}), 1, "");
    expect_least_message(STREAM, NULL, 2, "message_bytes_max 1 is too small");
    expect_least_message(STREAM, SET({"framing", "octet-counting"}), 3, "takes up to 3"); // "1 x"
    // "<15>1 TIMESTAMP - nginx - - - x"
    expect_least_message(STREAM, header, 6 + 27 + 1 + 2 + 6 + 2 + 2 + 2 + 1, "takes up to 49");
    // "46 <15>1 TIMESTAMP - - - - - x"
    expect_least_message(STREAM, SET({"framing", "octet-counting"}, {"header", "rfc5424"}),
                         3 + 6 + 27 + 1 + 2 + 2 + 2 + 2 + 2 + 1,
                         "with this framing and header a message of one byte takes up to 48");
    expect_least_message(DGRAM, NULL, 1, "");
    expect_least_message(RELP, NULL, 21, "takes up to 21"); // "000000000 syslog 1 x\n"
    expect_least_message(RELP, gaps, 9 + 8 + 4 + 160 + 1, "message_bytes_max 181 is too small");
    expect_least_message(STREAM, gaps, 161, "with gap_records on, a record of what was lost");
    expect_least_message(DGRAM, gaps, 160, "message_bytes_max 159 is too small");
}

// What limits.h says about the longest gap record.
static void test_the_longest_gap_record_fits(void **state)
{
    (void)state;
    char text[300];
    char timestamp[WEIR_TIMESTAMP_BYTES + 1] = "";
    weir_timestamp_write(UINT64_C(253402300799), 999999, timestamp);
    int bytes = snprintf(
        text, sizeof(text), "weir: %llu messages, %llu bytes dropped between %s and %s",
        (unsigned long long)UINT64_MAX, (unsigned long long)UINT64_MAX, timestamp, timestamp);
    assert_int_equal(bytes, 139);
    assert_true(bytes <= WEIR_GAP_RECORD_BYTES_MAX);
}

static void test_header_fields(void **state)
{
    (void)state;
    struct weir_pool_options options;
    struct weir_pool_plan plan;
    static const struct setting header[] = {
        {"header", "rfc5424"}, {"facility", "local0"}, {"severity", "crit"}, {NULL, NULL}};
    options_make(&options, STREAM, header);
    options.hostname = TEXT_128 TEXT_32 TEXT_32 TEXT_32 "abcdefghijklmnopqrstuvwxyz01234"; // 255
    options.app = TEXT_32 "abcdefghijklmnop";                                              // 48
    options.procid = TEXT_128;
    options.msgid = TEXT_32;
    accept_options(&options, &plan);
    char tail[WEIR_SYSLOG_TAIL_BYTES_MAX + 1];
    (void)snprintf(tail, sizeof(tail), " %s %s %s %s - ", options.hostname, options.app,
                   options.procid, options.msgid);
    assert_int_equal(plan.framer.tail_bytes, strlen(tail));
    assert_memory_equal(plan.framer.tail, tail, strlen(tail));
    assert_memory_equal(plan.framer.pri[WEIR_SEVERITY_DEFAULT], "<130>1 ", 7);

    options_make(&options, STREAM, header);
    options.hostname = options.app = options.procid = options.msgid = NULL;
    accept_options(&options, &plan);
    assert_memory_equal(plan.framer.tail, " - - - - - ", plan.framer.tail_bytes);
#define BROKEN(member, value, said)                                                                \
    do {                                                                                           \
        options_make(&options, STREAM, header);                                                    \
        options.member = (value);                                                                  \
        refuse_options(&options, said);                                                            \
        options.header = WEIR_HEADER_NONE; /* then nobody looks */                                 \
        accept_options(&options, &plan);                                                           \
    } while (0)
    BROKEN(hostname, TEXT_256, "hostname is longer than the 255 characters");
    BROKEN(app, TEXT_32 TEXT_32, "app is longer than the 48 characters");
    BROKEN(procid, TEXT_256, "procid is longer than the 128 characters");
    BROKEN(msgid, TEXT_32 "6", "msgid is longer than the 32 characters");
    BROKEN(app, "two words", "app: character 4 is byte 0x20");
    BROKEN(facility, 24, "facility 24 is out of range");
    BROKEN(severity, 8, "severity 8 is out of range");
#undef BROKEN
}

static void test_retry_intervals_must_be_ordered(void **state)
{
    (void)state;
    struct weir_pool_plan plan;
    accept_plan(STREAM, SET({"retry_interval_ms", "500"}, {"retry_interval_max_ms", "500"}), &plan);
    refuse_plan(STREAM, SET({"retry_interval_ms", "501"}, {"retry_interval_max_ms", "500"}),
                "retry_interval_ms 501 is more than retry_interval_max_ms 500");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_confirm_ack_is_relp),
        cmocka_unit_test(test_framing_of_relp_is_its_own),
        cmocka_unit_test(test_replay_needs_confirm_peer),
        cmocka_unit_test(test_options_without_a_use_are_taken),
        cmocka_unit_test(test_framing_of_datagrams_is_raw),
        cmocka_unit_test(test_udp_has_a_largest_message),
        cmocka_unit_test(test_a_message_must_hold_its_frame),
        cmocka_unit_test(test_the_longest_gap_record_fits),
        cmocka_unit_test(test_header_fields),
        cmocka_unit_test(test_retry_intervals_must_be_ordered),
    };
    return cmocka_run_group_tests_name("plan_conflict", tests, NULL, NULL);
}
