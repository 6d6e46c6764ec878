// Tests of the plan: lists of endpoints, their levels, and how each kind of them confirms.
#include "tests/support_plan.h"

#include <string.h>

static void test_endpoint_lists(void **state)
{
    (void)state;
    struct weir_pool_plan plan;
    accept_plan(
        "tcp://a:1,unix:/b,tcp://[::1]:3,tcp://4.4.4.4:4,unix:@e,tcp://f:6,tcp://g:7,tcp://h:8",
        NULL, &plan);
    assert_int_equal(plan.endpoints_count, WEIR_ENDPOINTS_MAX);
    assert_string_equal(plan.endpoints[1].path, "/b");
    assert_string_equal(plan.endpoints[2].host, "::1");
    assert_int_equal(plan.endpoints[7].port, 8);
    accept_plan("udp://a:1,unix-dgram:/b", NULL, &plan);
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
        refuse_plan(bad[index].name, NULL, bad[index].value);
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
        accept_plan(cases[index].endpoint, NULL, &plan);
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
    struct weir_pool_plan plan;
    for (size_t index = 0; index < COUNT(bad); index++) {
        refuse_plan(bad[index].name, NULL, bad[index].value);
    }
    for (size_t index = 0; index < COUNT(good); index++) {
        accept_plan(good[index], NULL, &plan);
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
    for (size_t index = 0; index < COUNT(cases); index++) {
        const struct setting settings[] = {{"confirm", cases[index].confirm}, {NULL, NULL}};
        accept_plan(cases[index].endpoint, settings, &plan);
        assert_int_equal(plan.confirm, cases[index].resolved);
    }
    refuse_plan(UDP, SET({"confirm", "peer"}), "confirm peer needs a stream");
    refuse_plan(DGRAM, SET({"confirm", "peer"}), "write confirm sent");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_endpoint_lists),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_nothing_stands_in_for_itself),
        cmocka_unit_test(test_confirm_is_resolved),
    };
    return cmocka_run_group_tests_name("plan_endpoint", tests, NULL, NULL);
}
