// Tests of the plan: contradictions between options, what they resolve to, and its arithmetic.
#include "writer/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "tests/support_random.h"

#define WHY_BYTES 384
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define RANDOM_RUNS 20000

#define STREAM "tcp://collector:601"
#define DGRAM "unix-dgram:/run/log"
#define UDP "udp://collector:514"
#define RELP "relp://collector:2514"
#define TEXT_32 "abcdefghijklmnopqrstuvwxyz012345"
#define TEXT_128 TEXT_32 TEXT_32 TEXT_32 TEXT_32
#define TEXT_256 TEXT_128 TEXT_128

struct setting {
    const char *name;
    const char *value;
};

static void options_make(struct weir_pool_options *options, const char *endpoint,
                         const struct setting *settings)
{
    weir_pool_options_init(options);
    options->endpoint = endpoint;
    for (; settings != NULL && settings->name != NULL; settings++) {
        assert_int_equal(weir_pool_options_set(options, settings->name, settings->value, NULL, 0),
                         0);
    }
}

static void accept_options(const struct weir_pool_options *options, struct weir_pool_plan *plan)
{
    char why[WHY_BYTES];
    memset(why, 'x', sizeof(why));
    memset(plan, 0xa5, sizeof(*plan));
    if (weir_pool_options_check(options, plan, why, sizeof(why)) != 0) {
        fail_msg("refused: %s", why);
    }
    assert_string_equal(why, "");
}

static void accept(const char *endpoint, const struct setting *settings,
                   struct weir_pool_plan *plan)
{
    struct weir_pool_options options;
    options_make(&options, endpoint, settings);
    accept_options(&options, plan);
}

static void refuse_options(const struct weir_pool_options *options, const char *said)
{
    struct weir_pool_plan plan, before;
    char why[WHY_BYTES];
    memset(&plan, 0xa5, sizeof(plan));
    memset(&before, 0xa5, sizeof(before));
    memset(why, 'x', sizeof(why));
    if (weir_pool_options_check(options, &plan, why, sizeof(why)) != WEIR_EOPTION) {
        fail_msg("accepted, but should say: %s", said);
    }
    assert_memory_equal(&plan, &before, sizeof(plan));
    assert_non_null(memchr(why, 0, sizeof(why)));
    assert_true(strlen(why) < WHY_BYTES - 1);
    if (strstr(why, said) == NULL) {
        fail_msg("'%s' does not say: %s", why, said);
    }
    for (size_t bytes = 0; bytes <= strlen(why) + 1; bytes += 7) {
        char cut[WHY_BYTES];
        memset(cut, '#', sizeof(cut));
        assert_int_equal(weir_pool_options_check(options, &plan, bytes > 0 ? cut : NULL, bytes),
                         WEIR_EOPTION);
        assert_int_equal(cut[bytes], '#');
        assert_true(bytes == 0 || strncmp(cut, why, strlen(cut)) == 0);
    }
}

static void test_defaults_make_this_plan(void **state)
{
    (void)state;
    struct weir_pool_plan plan;
    accept(STREAM, NULL, &plan);
    assert_int_equal(plan.endpoints_count, 1);
    assert_int_equal(plan.endpoints[0].transport, WEIR_TRANSPORT_TCP);
    assert_string_equal(plan.endpoints[0].host, "collector");
    assert_int_equal(plan.endpoints[0].port, 601);
    assert_int_equal(plan.levels[0], 0);
    assert_true(plan.stream);
    assert_false(plan.relp);
    assert_false(plan.gap_records);
    assert_int_equal(plan.confirm, WEIR_CONFIRM_PEER);
    assert_int_equal(plan.refused, WEIR_REFUSED_RETRY);
    assert_null(plan.log);
    assert_null(plan.log_context);
    assert_int_equal(plan.full, WEIR_FULL_DROP_NEWEST);
    assert_int_equal(plan.writers_count, 1);
    assert_int_equal(plan.message_bytes_max, 65536);
    assert_int_equal(plan.flush_interval_ms, 100);
    assert_int_equal(plan.retry_interval_ms, 100);
    assert_int_equal(plan.retry_interval_max_ms, 10000);
    assert_int_equal(plan.connect_timeout_ms, 5000);
    assert_int_equal(plan.stall_timeout_ms, 30000);
    assert_int_equal(plan.failback_ms, 60000);
    assert_int_equal(plan.keepalive_ms, 60000);
    assert_int_equal(plan.tcp_user_timeout_ms, 30000);
    assert_int_equal(plan.notsent_bytes_max, 131072);
    assert_int_equal(plan.window_messages, 128);
    assert_int_equal(plan.window_bytes, 1048576);
    assert_int_equal(plan.answer_timeout_ms, 30000);
    assert_int_equal(plan.replay_bytes, 0);
    assert_int_equal(plan.epoch_interval_ms, 10000);
    assert_int_equal(plan.buffer_bytes_max, 16777216);
    assert_int_equal(plan.row.flush_limit_bytes, 65536);
    assert_int_equal(plan.row.message_bytes_max, 65536);
    assert_int_equal(plan.framer.framing, WEIR_FRAMING_NEWLINE);
    assert_int_equal(plan.framer.header, WEIR_HEADER_NONE);
#ifndef WEIR_LIMITS_TINY
    assert_int_equal(plan.row.segment_messages_max, 131072 / 96);
    // 16 MiB over 128 KiB of payload and 16 KiB of index.
    assert_in_range(plan.row.segment_count, 110, 114);
    // 110 segments of 64 KiB: a quarter of that is less than the option's 4 MiB.
    assert_int_equal(plan.epoch_bytes, plan.row.segment_count * UINT64_C(16384));
#endif
}

static void test_every_value_arrives(void **state)
{
    (void)state;
    static const struct setting times[] = {
        {"flush_interval_ms", "11"},  {"retry_interval_ms", "12"}, {"retry_interval_max_ms", "13"},
        {"connect_timeout_ms", "14"}, {"stall_timeout_ms", "15"},  {"epoch_interval_ms", "16"},
        {"failback_ms", "17"},        {"keepalive_ms", "18"},      {"tcp_user_timeout_ms", "19"},
        {"notsent_bytes_max", "20"},  {"answer_timeout_ms", "21"}, {"window_messages", "22"},
        {"window_bytes", "23"},       {"replay_bytes", "24"},      {NULL, NULL}};
    static const struct setting zeros[] = {{"failback_ms", "0"},         {"keepalive_ms", "0"},
                                           {"tcp_user_timeout_ms", "0"}, {"notsent_bytes_max", "0"},
                                           {"refused", "drop"},          {NULL, NULL}};
    static const struct setting others[] = {{"pool_size", "3"},
                                            {"message_bytes_max", "1000"},
                                            {"flush_limit_bytes", "2000"},
                                            {"full", "drop-oldest"},
                                            {"gap_records", "on"},
                                            {"confirm", "sent"},
                                            {"delimiter", "refuse"},
                                            {NULL, NULL}};
    struct weir_pool_plan plan;
    accept(STREAM, times, &plan);
    assert_int_equal(plan.flush_interval_ms, 11);
    assert_int_equal(plan.retry_interval_ms, 12);
    assert_int_equal(plan.retry_interval_max_ms, 13);
    assert_int_equal(plan.connect_timeout_ms, 14);
    assert_int_equal(plan.stall_timeout_ms, 15);
    assert_int_equal(plan.epoch_interval_ms, 16);
    assert_int_equal(plan.failback_ms, 17);
    assert_int_equal(plan.keepalive_ms, 18);
    assert_int_equal(plan.tcp_user_timeout_ms, 19);
    assert_int_equal(plan.notsent_bytes_max, 20);
    assert_int_equal(plan.answer_timeout_ms, 21);
    assert_int_equal(plan.window_messages, 22);
    assert_int_equal(plan.window_bytes, 23);
    assert_int_equal(plan.replay_bytes, 24);
    accept(RELP, zeros, &plan);
    assert_int_equal(plan.failback_ms, 0);
    assert_int_equal(plan.keepalive_ms, 0);
    assert_int_equal(plan.tcp_user_timeout_ms, 0);
    assert_int_equal(plan.notsent_bytes_max, 0);
    assert_int_equal(plan.refused, WEIR_REFUSED_DROP);
    accept("unix:/run/x.sock", others, &plan);
    assert_int_equal(plan.writers_count, 3);
    assert_int_equal(plan.message_bytes_max, 1000);
    assert_int_equal(plan.row.message_bytes_max, 1000);
    assert_int_equal(plan.row.flush_limit_bytes, 2000);
    assert_int_equal(plan.full, WEIR_FULL_DROP_OLDEST);
    assert_true(plan.gap_records);
    assert_int_equal(plan.confirm, WEIR_CONFIRM_SENT);
    assert_int_equal(plan.framer.delimiter, WEIR_DELIMITER_REFUSE);
}

static void line_ignore(void *log_context, const char *line)
{
    (void)log_context;
    (void)line;
}

static void test_the_log_callback_arrives(void **state)
{
    (void)state;
    struct weir_pool_options options;
    struct weir_pool_plan plan;
    int context = 0;
    options_make(&options, STREAM, NULL);
    options.log = line_ignore;
    options.log_context = &context;
    accept_options(&options, &plan);
    assert_true(plan.log == line_ignore);
    assert_ptr_equal(plan.log_context, &context);
}

// Epochs and the replay are what was asked for, and at most a quarter of what a writer's row holds.
static void test_epochs_and_replay_fit_into_the_row(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } cases[] = {{"0", 0},
                 {"1", 1},
                 {"10000", 10000},
                 {"64k", 65536},
                 {"100m", UINT64_MAX},
                 {"1024g", UINT64_MAX}};
    struct weir_pool_plan plan;
    for (size_t index = 0; index < COUNT(cases); index++) {
        const struct setting settings[] = {{"epoch_bytes_max", cases[index].text},
                                           {"replay_bytes", cases[index].text},
                                           {"message_bytes_max", "4096"},
                                           {"flush_limit_bytes", "4096"},
                                           {"buffer_bytes_max", "4m"},
                                           {NULL, NULL}};
        accept(STREAM, settings, &plan);
        uint64_t quarter = (uint64_t)plan.row.segment_count * 4096 / 4;
        assert_true(quarter > 65536);
        uint64_t bytes = cases[index].bytes;
        assert_int_equal(plan.epoch_bytes, bytes < quarter ? bytes : quarter);
        assert_int_equal(plan.replay_bytes, bytes < quarter ? bytes : quarter);
    }
}

static void test_endpoint_lists(void **state)
{
    (void)state;
    struct weir_pool_options options;
    struct weir_pool_plan plan;
    accept("tcp://a:1,unix:/b,tcp://[::1]:3,tcp://4.4.4.4:4,unix:@e,tcp://f:6,tcp://g:7,tcp://h:8",
           NULL, &plan);
    assert_int_equal(plan.endpoints_count, WEIR_ENDPOINTS_MAX);
    assert_string_equal(plan.endpoints[1].path, "/b");
    assert_string_equal(plan.endpoints[2].host, "::1");
    assert_int_equal(plan.endpoints[7].port, 8);
    accept("udp://a:1,unix-dgram:/b", NULL, &plan);
    assert_int_equal(plan.endpoints_count, 2);
    assert_false(plan.stream);

    static const struct setting bad[] = {
        {NULL, "endpoint is missing; write"},
        {"", "endpoint is missing; write"},
        {",", "endpoint: entry 1 of the list is empty"},
        {"|", "endpoint: entry 1 of the list is empty; one comma or '|' stands between two"},
        {"tcp://a:1|", "endpoint: entry 2 of the list is empty"},
        {"|tcp://a:1", "endpoint: entry 1 of the list is empty"},
        {"tcp://a:1||tcp://b:2", "endpoint: entry 2 of the list is empty"},
        {"tcp://a:1|,tcp://b:2", "endpoint: entry 2 of the list is empty"},
        {"tcp://a:1,|tcp://b:2", "endpoint: entry 2 of the list is empty"},
        {"tcp://a:1|tcp://b", "endpoint: entry 2: the port is missing"},
        {"tcp://a:1;tcp://b:2", "endpoint: entry 1: "},
        {"tcp://a:1,", "endpoint: entry 2 of the list is empty"},
        {",tcp://a:1", "endpoint: entry 1 of the list is empty"},
        {"tcp://a:1,,tcp://b:2", "endpoint: entry 2 of the list is empty"},
        {"tcp://a:1, tcp://b:2", "endpoint: entry 2: character 1 is a blank"},
        {"tcp://a", "endpoint: entry 1: the port is missing"},
        {"http://a:1", "endpoint: entry 1: 'http://a:1' begins with no known scheme"},
        {"tcp://a:1,tcp://b:2,tcp://c:3,tcp://d:4,tcp://e:5,tcp://f:6,tcp://g:7,tcp://h:8,tcp://"
         "i:9",
         "endpoint: the list has more than 8 entries"},
        {"tcp://a:1|tcp://b:2|tcp://c:3|tcp://d:4|tcp://e:5|tcp://f:6|tcp://g:7|tcp://h:8|tcp://"
         "i:9",
         "endpoint: the list has more than 8 entries"},
        {"relp://a:1,tcp://b:2", "endpoint: entry 2 is a stream and those before it are RELP "
                                 "servers; one list holds one kind"},
        {"tcp://b:2,relp://a:1", "endpoint: entry 2 is a RELP server and those before it are "
                                 "streams"},
        {"relp://a:1|unix:/b", "endpoint: entry 2 is a stream and those before it are RELP"},
        {"relp://a:1|relp://b:1|udp://c:1", "endpoint: entry 3 is a datagram socket and those "
                                            "before it are RELP servers"},
        {"udp://c:1|relp://a:1", "entry 2 is a RELP server and those before it are datagram "
                                 "sockets"},
        {"tcp://a:1,udp://b:2", "endpoint: entry 2 is a datagram socket and those before it are "
                                "streams"},
        {"unix-dgram:/a,udp://b:2,unix:/c", "endpoint: entry 3 is a stream and those before it are "
                                            "datagram sockets"},
        {"tcp://" TEXT_256 TEXT_32 ":1", "endpoint: entry 1 has 296 characters; none is longer"},
        {"tcp://" TEXT_256 "abcde:601", "entry 1 has 271 characters; none is longer than 270"},
        {"tcp://" TEXT_256 "abcd:601", "endpoint: entry 1: the "},
        // Cut at the buffer's end this would be a valid one.
        {"unix:@" TEXT_32 ","
         "tcp://" TEXT_256 TEXT_256,
         "endpoint: entry 2 has 518 characters"},
    };
    for (size_t index = 0; index < COUNT(bad); index++) {
        options_make(&options, bad[index].name, NULL);
        refuse_options(&options, bad[index].value);
    }
}

// What is between commas is one level.
static void test_levels(void **state)
{
    (void)state;
    static const struct {
        const char *endpoint;
        const char *levels;
    } cases[] = {
        {STREAM, "0"},
        {"tcp://a:1|tcp://b:2", "00"},
        {"tcp://a:1,tcp://b:2", "01"},
        {"relp://a:1|relp://b:2,relp://c:3|relp://d:4|relp://e:5,relp://f:6", "001112"},
        {"unix:/a,tcp://b:2|unix:@c", "011"},
        {"udp://a:1|udp://b:2,unix-dgram:/c", "001"},
        {"tcp://a:1,tcp://b:2,tcp://c:3,tcp://d:4,tcp://e:5,tcp://f:6,tcp://g:7,tcp://h:8",
         "01234567"},
        {"tcp://a:1|tcp://b:2|tcp://c:3|tcp://d:4|tcp://e:5|tcp://f:6|tcp://g:7|tcp://h:8",
         "00000000"},
        {"tcp://a:1|tcp://b:2|tcp://a:1,tcp://c:3", "0001"}, // two shares for the first
    };
    for (size_t index = 0; index < COUNT(cases); index++) {
        struct weir_pool_plan plan;
        accept(cases[index].endpoint, NULL, &plan);
        assert_int_equal(plan.endpoints_count, strlen(cases[index].levels));
        for (uint32_t entry = 0; entry < plan.endpoints_count; entry++) {
            assert_int_equal(plan.levels[entry], cases[index].levels[entry] - '0');
        }
    }
}

static void test_nothing_stands_in_for_itself(void **state)
{
    (void)state;
    static const struct setting bad[] = {
        {"tcp://a:1,tcp://a:1", "endpoint: entry 2 is the same as entry 1, for which it should "
                                "stand in"},
        {"tcp://a:1|tcp://b:2,tcp://c:3,tcp://b:2", "endpoint: entry 4 is the same as entry 2"},
        {"unix:/a,unix:/b|unix:/a", "endpoint: entry 3 is the same as entry 1"},
        {"relp://[::1]:9,relp://[::1]:9", "after a comma write another one"},
    };
    static const char *const good[] = {"tcp://a:1,tcp://a:2", "tcp://a:1,tcp://b:1",
                                       "unix:/a,unix:@a", "udp://a:1,unix-dgram:/a",
                                       "unix:/a|unix:/a"};
    struct weir_pool_options options;
    struct weir_pool_plan plan;
    for (size_t index = 0; index < COUNT(bad); index++) {
        options_make(&options, bad[index].name, NULL);
        refuse_options(&options, bad[index].value);
    }
    for (size_t index = 0; index < COUNT(good); index++) {
        accept(good[index], NULL, &plan);
        assert_int_equal(plan.endpoints_count, 2);
    }
}

static void test_confirm_is_resolved(void **state)
{
    (void)state;
    static const struct {
        const char *endpoint;
        const char *confirm;
        enum weir_confirm resolved;
    } cases[] = {
        {STREAM, "auto", WEIR_CONFIRM_PEER},    {STREAM, "sent", WEIR_CONFIRM_SENT},
        {STREAM, "peer", WEIR_CONFIRM_PEER},    {"unix:@x", "auto", WEIR_CONFIRM_PEER},
        {"unix:@x", "sent", WEIR_CONFIRM_SENT}, {"unix:@x", "peer", WEIR_CONFIRM_PEER},
        {UDP, "auto", WEIR_CONFIRM_SENT},       {UDP, "sent", WEIR_CONFIRM_SENT},
        {DGRAM, "auto", WEIR_CONFIRM_SENT},     {DGRAM, "sent", WEIR_CONFIRM_SENT},
        {RELP, "auto", WEIR_CONFIRM_ACK},       {RELP, "ack", WEIR_CONFIRM_ACK},
    };
    struct weir_pool_plan plan;
    struct weir_pool_options options;
    for (size_t index = 0; index < COUNT(cases); index++) {
        const struct setting settings[] = {{"confirm", cases[index].confirm}, {NULL, NULL}};
        accept(cases[index].endpoint, settings, &plan);
        assert_int_equal(plan.confirm, cases[index].resolved);
    }
    static const struct setting peer[] = {{"confirm", "peer"}, {NULL, NULL}};
    options_make(&options, UDP, peer);
    refuse_options(&options, "confirm peer needs a stream");
    options_make(&options, DGRAM, peer);
    refuse_options(&options, "write confirm sent");
}

// RELP answers each message, and nothing else does.
static void test_confirm_ack_is_relp(void **state)
{
    (void)state;
    static const struct setting ack[] = {{"confirm", "ack"}, {NULL, NULL}};
    static const struct setting peer[] = {{"confirm", "peer"}, {NULL, NULL}};
    static const struct setting sent[] = {{"confirm", "sent"}, {NULL, NULL}};
    static const char *const others[] = {STREAM, "unix:@x", UDP, DGRAM};
    struct weir_pool_options options;
    struct weir_pool_plan plan;
    for (size_t index = 0; index < COUNT(others); index++) {
        options_make(&options, others[index], ack);
        refuse_options(&options, "confirm ack needs a collector that answers, and the endpoint is "
                                 "no RELP server; write relp://host:port");
    }
    options_make(&options, RELP, peer);
    refuse_options(&options, "confirm peer is not for relp:// endpoints, where each message is "
                             "answered; write confirm ack, or nothing");
    options_make(&options, RELP, sent);
    refuse_options(&options, "confirm sent is not for relp:// endpoints");
    accept(RELP, ack, &plan);
    assert_true(plan.relp && plan.stream);
    assert_int_equal(plan.endpoints[0].transport, WEIR_TRANSPORT_RELP);
    accept("relp://a:1|relp://b:2,relp://c:3", NULL, &plan);
    assert_true(plan.relp && plan.stream);
    assert_int_equal(plan.endpoints_count, 3);
}

static void test_framing_of_relp_is_its_own(void **state)
{
    (void)state;
    static const struct setting relp[] = {{"framing", "relp"}, {"header", "rfc5424"}, {NULL, NULL}};
    static const struct setting octets[] = {{"framing", "octet-counting"}, {NULL, NULL}};
    static const struct setting raw[] = {{"framing", "raw"}, {NULL, NULL}};
    static const char *const others[] = {STREAM, "unix:@x", UDP, DGRAM};
    struct weir_pool_options options;
    struct weir_pool_plan plan;
    accept(RELP, NULL, &plan);
    assert_int_equal(plan.framer.framing, WEIR_FRAMING_RELP);
    accept(RELP, relp, &plan);
    assert_int_equal(plan.framer.framing, WEIR_FRAMING_RELP);
    assert_int_equal(plan.framer.header, WEIR_HEADER_RFC5424);
    options_make(&options, RELP, octets);
    refuse_options(&options, "framing octet-counting is not for relp:// endpoints, which have "
                             "their own; write framing relp, or nothing");
    options_make(&options, RELP, raw);
    refuse_options(&options, "framing raw is not for relp:// endpoints");
    for (size_t index = 0; index < COUNT(others); index++) {
        options_make(&options, others[index], relp);
        refuse_options(&options, "framing relp is for relp:// endpoints, and this is none");
    }
}

// It is for what a peer read and may have lost: nothing else is proven in that way.
static void test_replay_needs_confirm_peer(void **state)
{
    (void)state;
    static const struct setting replay[] = {{"replay_bytes", "64k"}, {NULL, NULL}};
    static const struct setting sent[] = {{"replay_bytes", "1"}, {"confirm", "sent"}, {NULL, NULL}};
    struct weir_pool_options options;
    struct weir_pool_plan plan;
    accept(STREAM, replay, &plan);
    assert_int_equal(plan.replay_bytes, 65536);
    accept("unix:@x", replay, &plan);
    assert_int_equal(plan.replay_bytes, 65536);
    options_make(&options, RELP, replay);
    refuse_options(&options, "replay_bytes 65536 needs confirm peer; with confirm ack only what");
    options_make(&options, UDP, replay);
    refuse_options(&options, "replay_bytes 65536 needs confirm peer; with confirm sent nobody");
    options_make(&options, DGRAM, replay);
    refuse_options(&options, "write replay_bytes 0, or nothing");
    options_make(&options, STREAM, sent);
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
        accept(endpoints[index], settings, &plan);
    }
}

static void test_framing_of_datagrams_is_raw(void **state)
{
    (void)state;
    static const struct setting raw[] = {{"framing", "raw"}, {"header", "rfc5424"}, {NULL, NULL}};
    static const struct setting octets[] = {{"framing", "octet-counting"}, {NULL, NULL}};
    struct weir_pool_plan plan;
    struct weir_pool_options options;
    accept(DGRAM, NULL, &plan);
    assert_int_equal(plan.framer.framing, WEIR_FRAMING_RAW);
    accept(UDP, raw, &plan);
    assert_int_equal(plan.framer.framing, WEIR_FRAMING_RAW);
    assert_int_equal(plan.framer.header, WEIR_HEADER_RFC5424);
    options_make(&options, DGRAM, octets);
    refuse_options(&options, "framing octet-counting is for streams");
    accept(STREAM, octets, &plan);
    assert_int_equal(plan.framer.framing, WEIR_FRAMING_OCTET_COUNTING);
    accept(STREAM, raw, &plan);
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
    static const struct setting raw[] = {{"framing", "raw"}, {NULL, NULL}};
    static const struct setting octets[] = {{"framing", "octet-counting"}, {NULL, NULL}};
    static const struct setting header[] = {
        {"framing", "raw"}, {"header", "rfc5424"}, {"app", "nginx"}, {NULL, NULL}};
    static const struct setting header_octets[] = {
        {"framing", "octet-counting"}, {"header", "rfc5424"}, {NULL, NULL}};
    static const struct setting gaps[] = {{"gap_records", "on"}, {NULL, NULL}};
    expect_least_message(STREAM, raw, 1, "");
    expect_least_message(STREAM, NULL, 2, "message_bytes_max 1 is too small");
    expect_least_message(STREAM, octets, 3, "takes up to 3"); // "1 x"
    // "<15>1 TIMESTAMP - nginx - - - x"
    expect_least_message(STREAM, header, 6 + 27 + 1 + 2 + 6 + 2 + 2 + 2 + 1, "takes up to 49");
    // "46 <15>1 TIMESTAMP - - - - - x"
    expect_least_message(STREAM, header_octets, 3 + 6 + 27 + 1 + 2 + 2 + 2 + 2 + 2 + 1,
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

static void test_single_values_are_checked_first(void **state)
{
    (void)state;
    struct weir_pool_options options;
    options_make(&options, NULL, NULL);
    options.pool_size = 0;
    refuse_options(&options, "pool_size 0 is out of range");
    memset(&options, 0, sizeof(options));
    refuse_options(&options, "pool_size 0 is out of range");
}

static void test_retry_intervals_must_be_ordered(void **state)
{
    (void)state;
    static const struct setting equal[] = {
        {"retry_interval_ms", "500"}, {"retry_interval_max_ms", "500"}, {NULL, NULL}};
    static const struct setting above[] = {
        {"retry_interval_ms", "501"}, {"retry_interval_max_ms", "500"}, {NULL, NULL}};
    struct weir_pool_options options;
    struct weir_pool_plan plan;
    accept(STREAM, equal, &plan);
    options_make(&options, STREAM, above);
    refuse_options(&options, "retry_interval_ms 501 is more than retry_interval_max_ms 500");
}

static uint64_t least_told(const struct weir_pool_options *options)
{
    struct weir_pool_plan plan;
    char why[WHY_BYTES];
    assert_int_equal(weir_pool_options_check(options, &plan, why, sizeof(why)), WEIR_EOPTION);
    const char *least = strstr(why, " at least ");
    if (strncmp(why, "buffer_bytes_max ", 17) != 0 || least == NULL) {
        fail_msg("no least value: %s", why);
    }
    return strtoull(least + 10, NULL, 10);
}

// The value the refusal asks for is accepted, gives two segments, and one byte less is not enough.
static void test_the_least_buffer_is_the_least(void **state)
{
    (void)state;
    static const struct {
        uint32_t writers, flush, message;
        uint64_t buffer;
    } cases[] = {{1, 65536, 65536, 65536},        {4, 32768, 65536, 65536},
                 {64, 65536, 65536, 16777216},    {1, 16777216, 1, 16777216},
                 {1, 1, 16777216, 16777216},      {7, 3 * 4096, 8193, 50000},
                 {1, 268435455, 268435455, 4096}, {64, 268435455, 268435455, 4096}};
    struct weir_pool_options options;
    struct weir_pool_plan plan;
    for (size_t index = 0; index < COUNT(cases); index++) {
        char said[120];
        options_make(&options, STREAM, NULL);
        options.framing = WEIR_FRAMING_RAW;
        options.pool_size = cases[index].writers;
        options.flush_limit_bytes = cases[index].flush;
        options.message_bytes_max = cases[index].message;
        options.buffer_bytes_max = cases[index].buffer;
        (void)snprintf(said, sizeof(said),
                       "buffer_bytes_max %llu is too small: %u writer%s with flush_limit_bytes %u "
                       "and message_bytes_max %u need",
                       (unsigned long long)cases[index].buffer, cases[index].writers,
                       cases[index].writers == 1 ? "" : "s", cases[index].flush,
                       cases[index].message);
        refuse_options(&options, said);
        uint64_t least = least_told(&options);
        options.buffer_bytes_max = least;
        accept_options(&options, &plan);
        assert_int_equal(plan.row.segment_count, 2);
        assert_int_equal(plan.region_bytes * plan.writers_count, least);
        options.buffer_bytes_max = least - 1;
        assert_int_equal(least_told(&options), least);
    }
}

static void test_segments_are_capped_by_the_row(void **state)
{
    (void)state;
    static const struct setting settings[] = {{"buffer_bytes_max", "1024g"},
                                              {"flush_limit_bytes", "4k"},
                                              {"message_bytes_max", "4k"},
                                              {NULL, NULL}};
    struct weir_pool_plan plan;
    accept(STREAM, settings, &plan);
    assert_int_equal(plan.row.segment_count, WEIR_ROW_SEGMENTS_MAX);
    assert_true(plan.region_bytes < plan.buffer_bytes_max);
}

static uint64_t random_between(uint64_t *state, uint64_t min, uint64_t max)
{
    switch (random_next(state) % 8) {
    case 0: return min;
    case 1: return max;
    default: break;
    }
    // Evenly over the magnitudes.
    uint64_t value = random_next(state) >> (random_next(state) % 64);
    return value < min ? min : value > max ? min + value % (max - min + 1) : value;
}

static void check_plan(const struct weir_pool_options *options, const struct weir_pool_plan *plan)
{
    uint64_t share = options->buffer_bytes_max / options->pool_size;
    struct weir_row_options row = plan->row;
    assert_true(plan->region_bytes > 0 && plan->region_bytes <= share);
    assert_int_equal(plan->region_bytes, weir_row_region_bytes(&row));
    assert_true(plan->region_bytes * plan->writers_count <= options->buffer_bytes_max);
    assert_in_range(row.segment_count, WEIR_SEGMENTS_MIN, WEIR_ROW_SEGMENTS_MAX);
    assert_int_equal(row.flush_limit_bytes, options->flush_limit_bytes);
    assert_int_equal(row.message_bytes_max, plan->message_bytes_max);
    // As many as fit.
    row.segment_count++;
    size_t more = weir_row_region_bytes(&row);
    assert_true(more == 0 || more > share);
    // A one-byte payload with the longest header fits in the largest message.
    assert_true(weir_framer_prefix_bytes_max(&plan->framer, 1) + 1 +
                    weir_framer_suffix_bytes(&plan->framer) <=
                plan->message_bytes_max);
    assert_true(plan->confirm == WEIR_CONFIRM_SENT || plan->stream);
    assert_true(plan->confirm != WEIR_CONFIRM_AUTO);
    assert_int_equal(plan->confirm == WEIR_CONFIRM_ACK, plan->relp);
    assert_int_equal(plan->framer.framing == WEIR_FRAMING_RELP, plan->relp);
    assert_true(plan->replay_bytes == 0 || plan->confirm == WEIR_CONFIRM_PEER);
    assert_true(plan->replay_bytes <= options->replay_bytes);
#ifndef WEIR_LIMITS_TINY
    uint64_t payload = (uint64_t)row.flush_limit_bytes + row.message_bytes_max;
    uint64_t index_bytes = UINT64_C(12) * row.segment_messages_max;
    assert_true(index_bytes <= payload / 8 || row.segment_messages_max == WEIR_INDEX_MESSAGES_MIN);
    // Messages of 100 bytes reach the flush limit no later than they fill the index.
    assert_true(row.message_bytes_max < 100 || row.segment_messages_max == WEIR_ROW_MESSAGES_MAX ||
                row.segment_messages_max >= (row.flush_limit_bytes + UINT64_C(99)) / 100);
#endif
}

// The smaller rows are made, and the largest message goes in and comes out.
static void check_row(const struct weir_pool_plan *plan)
{
    void *region = aligned_alloc(WEIR_ROW_LINE_BYTES, plan->region_bytes);
    assert_non_null(region);
    struct weir_row *row = weir_row_init(region, &plan->row);
    struct weir_reservation reservation;
    struct weir_segment segment;
    uint32_t bytes = plan->message_bytes_max;
    for (uint32_t index = 0; index < plan->row.segment_count; index++) {
        assert_int_equal(weir_row_reserve(row, bytes, &reservation), 0);
        memset(reservation.data, 'x', bytes);
        (void)weir_row_commit(row, &reservation, bytes);
        (void)weir_row_seal_open(row, 0);
    }
    assert_int_equal(weir_row_reserve(row, bytes, &reservation), WEIR_EFULL);
    assert_int_equal(weir_row_take(row, &segment), 1);
    assert_int_equal(segment.wire_bytes, bytes);
    free(region);
}

static void test_random_options(void **state)
{
    (void)state;
    static const char *const endpoints[] = {
        STREAM, DGRAM, UDP, RELP, "unix:/a,tcp://b:1", "relp://a:1|relp://b:1"};
    uint64_t random = seed_get();
    unsigned accepted = 0, refused = 0, made = 0;
    for (unsigned run = 0; run < RANDOM_RUNS; run++) {
        struct weir_pool_options options;
        struct weir_pool_plan plan;
        char why[WHY_BYTES];
        options_make(&options, endpoints[random_next(&random) % COUNT(endpoints)], NULL);
        // Half of them small, so that many rows can be made and filled.
        bool small = random_next(&random) % 2 == 0;
        options.pool_size = (uint32_t)random_between(&random, 1, WEIR_POOL_WRITERS_MAX);
        options.buffer_bytes_max = random_between(
            &random, WEIR_BUFFER_BYTES_MIN, small ? UINT64_C(1) << 21 : WEIR_BUFFER_BYTES_MAX);
        options.message_bytes_max =
            (uint32_t)random_between(&random, 1, small ? 4096 : WEIR_MESSAGE_BYTES_MAX);
        options.flush_limit_bytes =
            (uint32_t)random_between(&random, 1, small ? 8192 : WEIR_FLUSH_LIMIT_BYTES_MAX);
        // Mostly what suits every endpoint.
        bool suits = random_next(&random) % 4 > 0;
        options.framing =
            suits ? WEIR_FRAMING_NEWLINE : (enum weir_framing)(random_next(&random) % 4);
        options.header = (enum weir_header)(random_next(&random) % 2);
        options.confirm = suits ? WEIR_CONFIRM_AUTO : (enum weir_confirm)(random_next(&random) % 4);
        options.replay_bytes = random_next(&random) % 8 == 0 ? random_next(&random) % 100000 : 0;
        options.gap_records = random_next(&random) % 2 == 0;
        int error = weir_pool_options_check(&options, &plan, why, sizeof(why));
        if (error != 0) {
            assert_int_equal(error, WEIR_EOPTION);
            assert_true(strlen(why) > 0 && strlen(why) < WHY_BYTES - 1);
            refused++;
            continue;
        }
        accepted++;
        check_plan(&options, &plan);
        if (plan.region_bytes <= 65536) {
            check_row(&plan);
            made++;
        }
    }
    print_message("accepted %u, refused %u, rows made %u\n", accepted, refused, made);
    assert_true(accepted > RANDOM_RUNS / 20 && refused > RANDOM_RUNS / 20 &&
                made > RANDOM_RUNS / 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_make_this_plan),
        cmocka_unit_test(test_every_value_arrives),
        cmocka_unit_test(test_the_log_callback_arrives),
        cmocka_unit_test(test_epochs_and_replay_fit_into_the_row),
        cmocka_unit_test(test_endpoint_lists),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_nothing_stands_in_for_itself),
        cmocka_unit_test(test_confirm_is_resolved),
        cmocka_unit_test(test_confirm_ack_is_relp),
        cmocka_unit_test(test_framing_of_relp_is_its_own),
        cmocka_unit_test(test_replay_needs_confirm_peer),
        cmocka_unit_test(test_options_without_a_use_are_taken),
        cmocka_unit_test(test_framing_of_datagrams_is_raw),
        cmocka_unit_test(test_udp_has_a_largest_message),
        cmocka_unit_test(test_a_message_must_hold_its_frame),
        cmocka_unit_test(test_the_longest_gap_record_fits),
        cmocka_unit_test(test_header_fields),
        cmocka_unit_test(test_single_values_are_checked_first),
        cmocka_unit_test(test_retry_intervals_must_be_ordered),
        cmocka_unit_test(test_the_least_buffer_is_the_least),
        cmocka_unit_test(test_segments_are_capped_by_the_row),
        cmocka_unit_test(test_random_options),
    };
    return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
