// Tests of the simulator's decisions: counting, the seeded source, rates, healing and masks.
#include "tests/support_choice.h"

// ---- Counting ----

static void test_one_option_is_no_decision(void **state)
{
    (void)state;
    begin_seed(1, WEIR_SIM_PORTFOLIO);
    const uint8_t alone[] = {3};
    for (int times = 0; times < 100; times++) {
        assert_int_equal(sim_choose(choices, WEIR_SIM_WORK, 0, 1), 0);
        assert_int_equal(sim_choose_thread(choices, 3, alone, 1, false), 0);
    }
    assert_int_equal(sim_choices_count(choices), 0);
    // Nor does it shift the number of the next.
    struct weir_sim_deviation first = {WEIR_SIM_SEND, 2, 0, 1};
    begin_replay(&first, 1);
    assert_int_equal(sim_choose(choices, WEIR_SIM_SEND, 2, 1), 0);
    assert_int_equal(sim_choose(choices, WEIR_SIM_SEND, 2, 2), 1);
}

static void test_decisions_are_numbered_per_kind_and_actor(void **state)
{
    (void)state;
    static const struct weir_sim_deviation wanted[] = {
        {WEIR_SIM_SEND, 0, 1, 2}, {WEIR_SIM_SEND, 79, 0, 1}, {WEIR_SIM_RECV, 0, 2, 3}};
    for (int run = 0; run < 3; run++) { // numbers begin anew with each run
        begin_replay(wanted, COUNT_OF(wanted));
        assert_int_equal(sim_choose(choices, WEIR_SIM_SEND, 0, 4), 0);
        assert_int_equal(sim_choose(choices, WEIR_SIM_RECV, 0, 4), 0);
        assert_int_equal(sim_choose(choices, WEIR_SIM_SEND, 0, 4), 2);
        assert_int_equal(sim_choose(choices, WEIR_SIM_RECV, 1, 4), 0);
        assert_int_equal(sim_choose(choices, WEIR_SIM_RECV, 0, 4), 0);
        assert_int_equal(sim_choose(choices, WEIR_SIM_SEND, 79, 4), 1);
        assert_int_equal(sim_choose(choices, WEIR_SIM_RECV, 0, 4), 3);
        assert_int_equal(sim_choices_count(choices), 7);
        size_t count = 0;
        const struct weir_sim_deviation *record = sim_choices_deviations(choices, &count);
        assert_int_equal(count, 3);
        assert_memory_equal(&record[0], &wanted[0], sizeof(wanted[0]));
        assert_memory_equal(&record[1], &wanted[1], sizeof(wanted[0]));
        assert_memory_equal(&record[2], &wanted[2], sizeof(wanted[0]));
    }
}

static void test_the_record_is_what_was_answered(void **state)
{
    (void)state;
    static struct asked asked[WALK_DECISIONS];
    for (uint64_t seed = 0; seed < 200; seed++) {
        begin_seed(seed, WEIR_SIM_PORTFOLIO);
        walk(asked, WALK_DECISIONS);
        assert_int_equal(sim_choices_count(choices), WALK_DECISIONS);
        size_t count = 0;
        const struct weir_sim_deviation *record = sim_choices_deviations(choices, &count);
        uint32_t numbers[WEIR_SIM_KINDS_COUNT][5] = {{0}};
        size_t place = 0;
        for (size_t index = 0; index < WALK_DECISIONS; index++) {
            uint32_t number = numbers[asked[index].kind][asked[index].actor]++;
            if (asked[index].value != 0) {
                assert_true(place < count);
                assert_int_equal(record[place].kind, asked[index].kind);
                assert_int_equal(record[place].actor, asked[index].actor);
                assert_int_equal(record[place].number, number);
                assert_int_equal(record[place].value, asked[index].value);
                place++;
            }
        }
        assert_int_equal(place, count);
    }
}

// ---- The seeded source ----

static void test_a_run_is_a_function_of_its_seed(void **state)
{
    (void)state;
    static struct asked first[WALK_DECISIONS], second[WALK_DECISIONS], other[WALK_DECISIONS];
    size_t different = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        begin_seed(seed, WEIR_SIM_PORTFOLIO);
        walk(first, WALK_DECISIONS);
        begin_seed(seed + 1, WEIR_SIM_PORTFOLIO); // leaves nothing behind
        walk(other, WALK_DECISIONS / 3);
        sim_choices_heal(choices);
        begin_seed(seed, WEIR_SIM_PORTFOLIO);
        walk(second, WALK_DECISIONS);
        assert_same_walk(first, second, WALK_DECISIONS);
        different += memcmp(first, other, sizeof(first) / 3) != 0;
    }
    assert_int_equal(different, 100);
}

// What every platform must give; a change of these numbers makes all recorded seeds void.
static void test_golden_answers(void **state)
{
    (void)state;
    static struct asked asked[WALK_DECISIONS];
    uint64_t hash = 0;
    for (uint64_t seed = 0; seed < 300; seed++) {
        begin_seed(seed, WEIR_SIM_PORTFOLIO);
        walk(asked, WALK_DECISIONS);
        for (size_t index = 0; index < WALK_DECISIONS; index++) {
            hash = (hash ^ asked[index].value) * UINT64_C(0x100000001b3) + 1;
        }
    }
    assert_int_equal(hash, UINT64_C(0x79db615952e75d6b));
    char text[512];
    begin_seed(1, WEIR_SIM_PORTFOLIO);
    sim_choices_describe(choices, text, sizeof(text));
    assert_string_equal(text, "strategy=pct depth=4 horizon=63 stale=1/4 futex=1/655 time=1/1856 "
                              "delay=1/55 connect=1/170 send=1/106 recv=1/34 short=1/22 "
                              "name=1/3583 resource=1/863 reuse=1/945 at=calls");
}

static void test_a_kind_has_a_stream_of_its_own(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 100; seed++) {
        uint32_t alone[500];
        begin_seed(seed, WEIR_SIM_RANDOM);
        sim_choices_rate(choices, WEIR_SIM_STALE, 300000);
        for (size_t index = 0; index < COUNT_OF(alone); index++) {
            alone[index] = sim_choose(choices, WEIR_SIM_STALE, 1, 5);
        }
        begin_seed(seed, WEIR_SIM_RANDOM);
        sim_choices_rate(choices, WEIR_SIM_STALE, 300000);
        for (size_t index = 0; index < COUNT_OF(alone); index++) {
            for (uint32_t kind = 0; kind < WEIR_SIM_KINDS_COUNT; kind++) {
                if (kind != WEIR_SIM_STALE) {
                    sim_choose(choices, kind, 1, 7);
                }
            }
            assert_int_equal(sim_choose(choices, WEIR_SIM_STALE, 1, 5), alone[index]);
        }
    }
}

// Nor is it, or a neighbouring seed's, another kind's once more.
static void test_streams_are_all_different(void **state)
{
    (void)state;
    static uint64_t patterns[40 * WEIR_SIM_KINDS_COUNT];
    size_t count = 0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        begin_seed(seed, WEIR_SIM_RANDOM);
        for (uint32_t kind = 0; kind < WEIR_SIM_KINDS_COUNT; kind++) {
            sim_choices_rate(choices, kind, 500000);
            uint64_t pattern = 0;
            for (int bit = 0; bit < 64; bit++) {
                pattern = pattern << 1 | sim_choose(choices, kind, 0, 2);
            }
            for (size_t other = 0; other < count; other++) {
                // Not equal, not shifted: of 64 bits about half differ.
                int differing = __builtin_popcountll(patterns[other] ^ pattern);
                int shifted = __builtin_popcountll((patterns[other] ^ pattern >> 1) << 1);
                assert_in_range(differing, 8, 56);
                assert_in_range(shifted, 8, 56);
            }
            patterns[count++] = pattern;
        }
    }
}

static void test_benign_answers_the_workload_only(void **state)
{
    (void)state;
    static struct asked asked[WALK_DECISIONS];
    size_t drawn = 0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        begin_seed(seed, WEIR_SIM_BENIGN);
        for (uint32_t kind = 0; kind < WEIR_SIM_KINDS_COUNT; kind++) {
            sim_choices_rate(choices, kind, 1000000); // benign is benign
        }
        walk(asked, WALK_DECISIONS);
        for (size_t index = 0; index < WALK_DECISIONS; index++) {
            assert_true(asked[index].value == 0 || asked[index].kind == WEIR_SIM_WORK);
            drawn += asked[index].value != 0;
        }
    }
    assert_true(drawn > 1000);
}

static void test_the_workload_is_drawn_evenly(void **state)
{
    (void)state;
    const uint64_t trials = 200000;
    uint64_t met[7] = {0};
    begin_seed(5, WEIR_SIM_PORTFOLIO);
    for (uint64_t trial = 0; trial < trials; trial++) {
        met[sim_choose(choices, WEIR_SIM_WORK, 0, 7)]++;
    }
    for (size_t value = 0; value < 7; value++) {
        assert_frequency(met[value], trials, 1.0 / 7);
    }
    uint32_t highest = 0; // the whole width
    for (int trial = 0; trial < 1000; trial++) {
        uint32_t value = sim_choose(choices, WEIR_SIM_WORK, 0, UINT32_MAX);
        highest = value > highest ? value : highest;
    }
    assert_true(highest > UINT32_MAX / 100 * 99);
}

static void test_rates_are_met(void **state)
{
    (void)state;
    static const uint32_t rates[] = {1, 100, 1000, 33333, 250000, 500000, 900000, 999999};
    for (size_t index = 0; index < COUNT_OF(rates); index++) {
        const uint64_t trials = rates[index] < 1000 ? 20000000 : 400000;
        uint64_t met[4] = {0};
        uint64_t pairs = 0;
        bool before = false;
        begin_seed(index, WEIR_SIM_RANDOM);
        sim_choices_rate(choices, WEIR_SIM_READY, rates[index]);
        for (uint64_t trial = 0; trial < trials; trial++) {
            uint32_t value = sim_choose(choices, WEIR_SIM_READY, 0, 4);
            met[value]++;
            pairs += before && value != 0;
            before = value != 0;
        }
        double rate = rates[index] / 1e6;
        assert_frequency(met[0], trials, 1 - rate);
        for (size_t value = 1; value < 4; value++) {
            assert_frequency(met[value], trials, rate / 3);
        }
        assert_frequency(pairs, trials, rate * rate); // independent of each other
    }
}

// Not only the mean: all of the distribution of gaps, in a kind whose gaps are long.
static void test_gaps_are_geometric(void **state)
{
    (void)state;
    uint64_t longer[3] = {0}; // than 0, 50, 300
    uint64_t gaps = 0, gap = 0;
    begin_seed(3, WEIR_SIM_RANDOM);
    sim_choices_rate(choices, WEIR_SIM_DELAY, 10000);
    while (gaps < 50000) {
        if (sim_choose(choices, WEIR_SIM_DELAY, 0, 2) == 0) {
            gap++;
            continue;
        }
        longer[0] += gap > 0;
        longer[1] += gap > 50;
        longer[2] += gap > 300;
        gaps++;
        gap = 0;
    }
    assert_frequency(longer[0], gaps, 0.99);
    assert_frequency(longer[1], gaps, 0.5989560); // 0.99^51
    assert_frequency(longer[2], gaps, 0.048554);  // 0.99^301
}

static void test_the_first_gap_is_as_the_others(void **state)
{
    (void)state;
    uint64_t lengths[4] = {0};
    for (uint64_t seed = 0; seed < 20000; seed++) {
        begin_seed(seed, WEIR_SIM_RANDOM);
        sim_choices_rate(choices, WEIR_SIM_DELAY, 200000);
        size_t length = 0;
        while (length < 3 && sim_choose(choices, WEIR_SIM_DELAY, 0, 2) == 0) {
            length++;
        }
        lengths[length]++;
    }
    assert_frequency(lengths[0], 20000, 0.2);
    assert_frequency(lengths[1], 20000, 0.16);
    assert_frequency(lengths[2], 20000, 0.128);
    assert_frequency(lengths[3], 20000, 0.512);
}

static void test_rate_can_be_changed_at_any_time(void **state)
{
    (void)state;
    begin_seed(1, WEIR_SIM_PCT);
    for (int times = 0; times < 50; times++) {
        sim_choices_rate(choices, WEIR_SIM_SEND, 0);
        for (int trial = 0; trial < 100; trial++) {
            assert_int_equal(sim_choose(choices, WEIR_SIM_SEND, 0, 3), 0);
        }
        sim_choices_rate(choices, WEIR_SIM_SEND, times % 2 == 0 ? 1000000 : UINT32_MAX);
        for (int trial = 0; trial < 100; trial++) {
            assert_int_not_equal(sim_choose(choices, WEIR_SIM_SEND, 0, 3), 0);
        }
    }
}

// ---- Healing and masks ----

static void test_healed_answers_the_workload_only(void **state)
{
    (void)state;
    static struct asked asked[WALK_DECISIONS];
    size_t drawn = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        begin_seed(seed, WEIR_SIM_PORTFOLIO);
        assert_false(sim_choices_healed(choices));
        walk(asked, 300);
        sim_choices_heal(choices);
        assert_true(sim_choices_healed(choices));
        sim_choices_rate(choices, WEIR_SIM_SEND, 1000000);
        sim_choices_rate(choices, WEIR_SIM_SWITCH, 1000000);
        sim_choices_thread(choices, 6);
        walk(asked, WALK_DECISIONS);
        for (size_t index = 0; index < WALK_DECISIONS; index++) {
            assert_true(asked[index].value == 0 || asked[index].kind == WEIR_SIM_WORK);
            drawn += asked[index].value != 0;
        }
        assert_int_equal(sim_choices_count(choices), 300 + WALK_DECISIONS); // still counted
    }
    assert_true(drawn > 1000);
    begin_seed(1, WEIR_SIM_PORTFOLIO);
    assert_false(sim_choices_healed(choices));
}

static void test_healing_ends_a_replay_too(void **state)
{
    (void)state;
    const struct weir_sim_deviation list[] = {
        {WEIR_SIM_SEND, 0, 0, 1}, {WEIR_SIM_WORK, 0, 0, 5}, {WEIR_SIM_SEND, 0, 1, 1}};
    begin_replay(list, COUNT_OF(list));
    assert_int_equal(sim_choose(choices, WEIR_SIM_SEND, 0, 2), 1);
    sim_choices_heal(choices);
    assert_int_equal(sim_choose(choices, WEIR_SIM_SEND, 0, 2), 0);
    assert_int_equal(sim_choose(choices, WEIR_SIM_WORK, 0, 9), 5);
    struct weir_sim_deviation unused;
    assert_true(sim_choices_unused(choices, &unused));
    assert_memory_equal(&unused, &list[2], sizeof(unused));
}

static void test_only_allowed_kinds_deviate(void **state)
{
    (void)state;
    static struct asked asked[WALK_DECISIONS];
    const uint32_t allowed = 1u << WEIR_SIM_STALE | 1u << WEIR_SIM_SEND;
    uint64_t met[WEIR_SIM_KINDS_COUNT] = {0};
    for (uint64_t seed = 0; seed < 300; seed++) {
        struct weir_sim_options options = {.seed = seed};
        sim_choices_begin(choices, &options, allowed);
        sim_choices_rate(choices, WEIR_SIM_RECV, 1000000);
        sim_choices_rate(choices, WEIR_SIM_SWITCH, 1000000);
        walk(asked, WALK_DECISIONS);
        for (size_t index = 0; index < WALK_DECISIONS; index++) {
            met[asked[index].kind] += asked[index].value != 0;
        }
    }
    for (uint32_t kind = 0; kind < WEIR_SIM_KINDS_COUNT; kind++) {
        bool may = kind == WEIR_SIM_WORK || (allowed >> kind & 1) != 0;
        assert_true(may == (met[kind] != 0));
    }
    struct weir_sim_deviation recv = {WEIR_SIM_RECV, 0, 0, 1};
    struct weir_sim_options replay = {.deviations = &recv, .deviations_count = 1};
    sim_choices_begin(choices, &replay, allowed);
    assert_int_equal(sim_choose(choices, WEIR_SIM_RECV, 0, 2), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_one_option_is_no_decision),
        TEST(test_decisions_are_numbered_per_kind_and_actor),
        TEST(test_the_record_is_what_was_answered),
        TEST(test_a_run_is_a_function_of_its_seed),
        TEST(test_golden_answers),
        TEST(test_a_kind_has_a_stream_of_its_own),
        TEST(test_streams_are_all_different),
        TEST(test_benign_answers_the_workload_only),
        TEST(test_the_workload_is_drawn_evenly),
        TEST(test_rates_are_met),
        TEST(test_gaps_are_geometric),
        TEST(test_the_first_gap_is_as_the_others),
        TEST(test_rate_can_be_changed_at_any_time),
        TEST(test_healed_answers_the_workload_only),
        TEST(test_healing_ends_a_replay_too),
        TEST(test_only_allowed_kinds_deviate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
