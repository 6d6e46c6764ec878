// Tests of runs that bytes decide: their answers, their header, and deviations encoded as such.
#include "sim/input.h"
#include "tests/support_choice.h"

static void test_bytes_answer_as_documented(void **state)
{
    (void)state;
    const uint8_t bytes[] = {
        WEIR_SIM_SEND,
        1,
        2,
        0,
        1,
        0, // number 2 of actor 1: 1
        WEIR_SIM_SEND + WEIR_SIM_KINDS_COUNT,
        1,
        0,
        0,
        7,
        0, // the next one: beyond 1 .. 3, 7 is 1
        WEIR_SIM_SEND,
        1 + SIM_THREADS_MAX,
        1,
        0,
        0,
        1, // one later: 256 is 1
        WEIR_SIM_SEND,
        1,
        0,
        0,
        2,
        0, // the next: 2
        WEIR_SIM_WORK,
        0,
        0,
        1,
        0xff,
        0xff, // number 256: 65535
        WEIR_SIM_RECV,
        0,
        0,
        0,
        1, // unfinished: left out
    };
    begin_bytes(bytes, sizeof(bytes));
    static const uint32_t sends[] = {0, 0, 1, 1, 0, 1, 2, 0, 0};
    for (size_t index = 0; index < COUNT_OF(sends); index++) {
        assert_int_equal(sim_choose(choices, WEIR_SIM_SEND, 1, 4), sends[index]);
        assert_int_equal(sim_choose(choices, WEIR_SIM_SEND, 0, 4), 0);
        assert_int_equal(sim_choose(choices, WEIR_SIM_RECV, 0, 4), 0);
    }
    for (int index = 0; index < 300; index++) {
        assert_int_equal(sim_choose(choices, WEIR_SIM_WORK, 0, 100000), index == 256 ? 65535 : 0);
    }
    begin_bytes(bytes, 0);
    assert_int_equal(sim_choose(choices, WEIR_SIM_SEND, 1, 4), 0);
}

static void test_any_bytes_are_a_run_that_replays(void **state)
{
    (void)state;
    static struct asked first[WALK_DECISIONS], again[WALK_DECISIONS];
    static struct weir_sim_deviation list[WALK_DECISIONS];
    uint64_t random = 99;
    size_t deviating = 0;
    for (int trial = 0; trial < 300; trial++) {
        uint8_t bytes[600];
        for (size_t index = 0; index < sizeof(bytes); index++) {
            uint64_t bits = random_next(&random);
            // Mostly what matters: few actors, small gaps.
            uint8_t low[] = {
                (uint8_t)bits, (uint8_t)(bits % 5), (uint8_t)(bits % 9), 0, (uint8_t)bits, 0};
            bytes[index] = trial % 3 == 0 ? (uint8_t)(bits >> 8) : low[index % 6];
        }
        begin_bytes(bytes, random_below(&random, sizeof(bytes) + 1));
        walk(first, WALK_DECISIONS);
        size_t count = record_copy(list, COUNT_OF(list));
        begin_replay(list, count);
        walk(again, WALK_DECISIONS);
        assert_same_walk(first, again, WALK_DECISIONS);
        deviating += count;
    }
    assert_true(deviating > 3000);
}

static void test_encoded_deviations_are_the_same_run(void **state)
{
    (void)state;
    static struct asked seeded[WALK_DECISIONS], decoded[WALK_DECISIONS];
    static uint8_t bytes[6 * WALK_DECISIONS];
    for (uint64_t seed = 0; seed < 200; seed++) {
        begin_seed(seed, WEIR_SIM_PORTFOLIO);
        walk(seeded, WALK_DECISIONS);
        size_t count = 0;
        const struct weir_sim_deviation *record = sim_choices_deviations(choices, &count);
        size_t length = sim_input_encode(record, count, bytes, sizeof(bytes));
        assert_int_equal(length, 6 * count);
        begin_bytes(bytes, length);
        walk(decoded, WALK_DECISIONS);
        assert_same_walk(seeded, decoded, WALK_DECISIONS);
    }
}

static void test_encoding_of_far_and_large(void **state)
{
    (void)state;
    const struct weir_sim_deviation list[] = {
        {WEIR_SIM_SEND, 0, 65535, 1},      // one record
        {WEIR_SIM_SEND, 0, 131072, 2},     // 65536 between: two
        {WEIR_SIM_RECV, 2, 300000, 1},     // five
        {WEIR_SIM_WORK, 0, 0, 70000},      // wide
        {WEIR_SIM_WORK, 0, 9, 3000000000}, // wide, after one that leads there
        {WEIR_SIM_KINDS_COUNT, 0, 0, 1},   {WEIR_SIM_SEND, SIM_THREADS_MAX, 0, 1},
    };
    uint8_t bytes[100];
    memset(bytes, 0xee, sizeof(bytes));
    size_t length = sim_input_encode(list, COUNT_OF(list), bytes, sizeof(bytes));
    assert_int_equal(length, 6 * 11);
    begin_bytes(bytes, length);
    for (uint32_t number = 0; number <= 300000; number++) {
        uint32_t send = number == 65535 ? 1 : number == 131072 ? 2 : 0;
        assert_int_equal(sim_choose(choices, WEIR_SIM_SEND, 0, 3), send);
        assert_int_equal(sim_choose(choices, WEIR_SIM_RECV, 2, 3), number == 300000);
    }
    for (uint32_t number = 0; number < 20; number++) {
        uint32_t work = number == 0 ? 70000 : number == 9 ? 3000000000 : 0;
        assert_int_equal(sim_choose(choices, WEIR_SIM_WORK, 0, UINT32_MAX), work);
    }
    struct weir_sim_deviation decoded[COUNT_OF(list)];
    assert_int_equal(sim_input_decode(bytes, length, decoded, COUNT_OF(decoded)), 5);
    assert_memory_equal(decoded, list, 5 * sizeof(list[0]));
    assert_int_equal(sim_input_decode(bytes, length, decoded, 2), 2);
    for (size_t room = 0; room <= length; room++) {
        uint8_t part[100];
        memset(part, 0xee, sizeof(part));
        assert_int_equal(sim_input_encode(list, COUNT_OF(list), part, room), length);
        size_t whole = room / 6 * 6;
        assert_memory_equal(part, bytes, whole);
        for (size_t index = whole; index < sizeof(part); index++) {
            assert_int_equal(part[index], 0xee);
        }
    }
    assert_int_equal(sim_input_encode(NULL, 0, NULL, 0), 0);
}

// Draws that no record answers are the seed's; a record changes its own draw and no other.
static void test_draws_of_an_input(void **state)
{
    (void)state;
    enum { DRAWS = 50, CHANGED = 7, OPTIONS = 1000 };
    const uint8_t record[] = {WEIR_SIM_WORK, 0, CHANGED, 0, 5, 0};
    uint32_t plain[DRAWS], other[DRAWS];
    uint32_t benign = 0, same = 0;
    struct weir_sim_options options = {.seed = 11, .bytes = record};
    sim_choices_begin(choices, &options, 0);
    for (uint32_t index = 0; index < DRAWS; index++) {
        plain[index] = sim_choose(choices, WEIR_SIM_WORK, 0, OPTIONS);
        benign += plain[index] == 0;
        assert_int_equal(sim_choose(choices, WEIR_SIM_SEND, 0, OPTIONS), 0);
    }
    assert_true(benign < 5);
    options.bytes_count = sizeof(record);
    sim_choices_begin(choices, &options, 0);
    for (uint32_t index = 0; index < DRAWS; index++) {
        uint32_t value = sim_choose(choices, WEIR_SIM_WORK, 0, OPTIONS);
        assert_int_equal(value, index == CHANGED ? 5 : plain[index]);
    }
    options.seed = 12;
    sim_choices_begin(choices, &options, 0);
    for (uint32_t index = 0; index < DRAWS; index++) {
        other[index] = sim_choose(choices, WEIR_SIM_WORK, 0, OPTIONS);
        same += other[index] == plain[index];
    }
    assert_true(same < 5);
    size_t count = 0;
    (void)sim_choices_deviations(choices, &count);
    assert_true(count > DRAWS - 5); // what was drawn is on record
}

static void test_header_of_an_input(void **state)
{
    (void)state;
    static const struct weir_sim_scenario scenarios[] = {{.name = "one"}, {.name = "two"}};
    uint8_t bytes[SIM_INPUT_HEADER + 7];
    struct sim_input_header header = {sim_input_scenario_id("two"), UINT32_C(0x89abcdef)};
    struct sim_input_header again;
    struct weir_sim_options options = {.seed = 0};
    memset(bytes, 0xee, sizeof(bytes));
    sim_input_header_write(&header, bytes);
    assert_int_equal(bytes[SIM_INPUT_HEADER], 0xee);
    sim_input_header_read(bytes, sizeof(bytes), &again);
    assert_memory_equal(&header, &again, sizeof(header));
    assert_int_equal(sim_input_scenario(&header, scenarios, 2), 1);
    for (uint32_t id = 0; id < 100; id++) {
        const struct sim_input_header unknown = {id, 0};
        assert_true(sim_input_scenario(&unknown, scenarios, 2) < 2);
        assert_int_equal(sim_input_scenario(&unknown, scenarios, 1), 0);
    }
    sim_input_options(bytes, sizeof(bytes), &options);
    assert_int_equal(options.seed, 0x89abcdef);
    assert_ptr_equal(options.bytes, bytes + SIM_INPUT_HEADER);
    assert_int_equal(options.bytes_count, 7);
    for (size_t count = 0; count <= SIM_INPUT_HEADER; count++) {
        sim_input_header_read(bytes, count, &again);
        uint32_t mask = count >= 4 ? UINT32_MAX : (1u << 8 * count) - 1;
        assert_int_equal(again.scenario_id, header.scenario_id & mask);
        sim_input_options(bytes, count, &options);
        assert_non_null(options.bytes);
        assert_int_equal(options.bytes_count, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_bytes_answer_as_documented),
        TEST(test_any_bytes_are_a_run_that_replays),
        TEST(test_draws_of_an_input),
        TEST(test_header_of_an_input),
        TEST(test_encoded_deviations_are_the_same_run),
        TEST(test_encoding_of_far_and_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
