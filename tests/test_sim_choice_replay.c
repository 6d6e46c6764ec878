// Tests of replays: recorded deviations, answered again and nothing else.
#include "tests/support_choice.h"

static void test_every_run_can_be_replayed_in_any_order_of_the_list(void **state)
{
    (void)state;
    static struct asked seeded[WALK_DECISIONS], replayed[WALK_DECISIONS];
    static struct weir_sim_deviation list[WALK_DECISIONS];
    uint64_t random = 7;
    for (uint64_t seed = 0; seed < 200; seed++) {
        begin_seed(seed, WEIR_SIM_PORTFOLIO);
        sim_choices_thread(choices, 1);
        sim_choices_thread(choices, 2);
        walk(seeded, WALK_DECISIONS);
        size_t count = record_copy(list, COUNT_OF(list));
        struct weir_sim_deviation unused;
        for (int order = 0; order < 2; order++) {
            begin_replay(list, count);
            walk(replayed, WALK_DECISIONS);
            assert_same_walk(seeded, replayed, WALK_DECISIONS);
            assert_false(sim_choices_unused(choices, &unused));
            for (size_t index = count; index > 1; index--) {
                size_t other = random_below(&random, index);
                struct weir_sim_deviation swap = list[other];
                list[other] = list[index - 1];
                list[index - 1] = swap;
            }
        }
        // The record itself may be given: begin reads it before it starts the next.
        size_t same = 0;
        const struct weir_sim_deviation *record = sim_choices_deviations(choices, &same);
        begin_replay(record, same);
        walk(replayed, WALK_DECISIONS);
        assert_same_walk(seeded, replayed, WALK_DECISIONS);
    }
}

static void test_what_does_not_apply_is_told(void **state)
{
    (void)state;
    struct weir_sim_deviation unused;
    const struct weir_sim_deviation few[] = {{WEIR_SIM_SEND, 0, 0, 3}};
    begin_replay(few, 1); // too few answers
    assert_int_equal(sim_choose(choices, WEIR_SIM_SEND, 0, 3), 0);
    assert_true(sim_choices_unused(choices, &unused));
    assert_memory_equal(&unused, &few[0], sizeof(unused));

    const struct weir_sim_deviation odd[] = {
        {WEIR_SIM_SEND, 0, 1, 0},        // 0 is no deviation
        {WEIR_SIM_SEND, 0, 2, 1},        // applies
        {WEIR_SIM_RECV, 1, 4, 1},        // never comes
        {WEIR_SIM_KINDS_COUNT, 0, 0, 1}, // no kind
        {WEIR_SIM_SEND, 80, 0, 1},       // no actor
        {UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX},
        {WEIR_SIM_SEND, 0, 2, 2}, // a second for the same decision
        {WEIR_SIM_SEND, 0, 0, 0},
    };
    begin_replay(odd, COUNT_OF(odd));
    assert_int_equal(sim_choose(choices, WEIR_SIM_SEND, 0, 3), 0);
    assert_int_equal(sim_choose(choices, WEIR_SIM_SEND, 0, 3), 0);
    assert_int_equal(sim_choose(choices, WEIR_SIM_SEND, 0, 3), 1);
    assert_int_equal(sim_choose(choices, WEIR_SIM_SEND, 0, 3), 0);
    assert_true(sim_choices_unused(choices, &unused));
    assert_memory_equal(&unused, &odd[2], sizeof(unused));

    // Not in order: still the first given that misses, and the first given of two that fit.
    const struct weir_sim_deviation late[] = {
        {WEIR_SIM_SEND, 0, 60, 0}, {WEIR_SIM_SEND, 0, 9, 1}, {WEIR_SIM_SEND, 0, 5, 1},
        {WEIR_SIM_SEND, 0, 0, 1},  {WEIR_SIM_SEND, 0, 0, 2},
    };
    begin_replay(late, COUNT_OF(late));
    assert_int_equal(sim_choose(choices, WEIR_SIM_SEND, 0, 3), 1);
    assert_true(sim_choices_unused(choices, &unused));
    assert_memory_equal(&unused, &late[1], sizeof(unused));

    const uint8_t reduced[] = {WEIR_SIM_SEND, 0, 0, 0, 4, 0};
    begin_bytes(reduced, sizeof(reduced));
    assert_int_equal(sim_choose(choices, WEIR_SIM_SEND, 0, 3), 2);
    begin_replay(few, 1); // values of bytes are reduced to the options, those of lists are not
    assert_int_equal(sim_choose(choices, WEIR_SIM_SEND, 0, 2), 0);

    begin_seed(1, WEIR_SIM_RANDOM);
    assert_false(sim_choices_unused(choices, &unused));
    begin_replay(few, 0); // an empty list is a replay: all benign
    for (int times = 0; times < 100; times++) {
        assert_int_equal(sim_choose(choices, WEIR_SIM_WORK, 0, 100), 0);
    }
    assert_false(sim_choices_unused(choices, &unused));
}

static void test_rates_have_no_effect_on_a_replay(void **state)
{
    (void)state;
    const struct weir_sim_deviation one = {WEIR_SIM_SEND, 0, 5, 1};
    begin_replay(&one, 1);
    sim_choices_rate(choices, WEIR_SIM_SEND, 1000000);
    sim_choices_rate(choices, WEIR_SIM_RECV, 1000000);
    for (int index = 0; index < 10; index++) {
        assert_int_equal(sim_choose(choices, WEIR_SIM_SEND, 0, 2), index == 5);
        assert_int_equal(sim_choose(choices, WEIR_SIM_RECV, 0, 2), 0);
    }
}

static void test_a_short_list_after_a_long_one_leaves_nothing(void **state)
{
    (void)state;
    static struct weir_sim_deviation many[5000];
    for (uint32_t index = 0; index < COUNT_OF(many); index++) {
        many[index] = (struct weir_sim_deviation){index % WEIR_SIM_KINDS_COUNT,
                                                  index % SIM_THREADS_MAX, index, 1};
    }
    begin_replay(many, COUNT_OF(many));
    const struct weir_sim_deviation one = {WEIR_SIM_SEND, 3, 0, 1};
    begin_replay(&one, 1);
    for (uint32_t actor = 0; actor < SIM_THREADS_MAX; actor++) {
        for (uint32_t kind = 0; kind < WEIR_SIM_KINDS_COUNT; kind++) {
            for (uint32_t number = 0; number < 70; number++) {
                bool wanted = actor == 3 && kind == WEIR_SIM_SEND && number == 0;
                assert_int_equal(sim_choose(choices, kind, actor, 2), wanted);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_every_run_can_be_replayed_in_any_order_of_the_list),
        TEST(test_what_does_not_apply_is_told),
        TEST(test_rates_have_no_effect_on_a_replay),
        TEST(test_a_short_list_after_a_long_one_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
