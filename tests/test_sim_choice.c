// Tests of the simulator's decisions: counting, rates, swarm, replay, bytes and exhaustive search.
#include "sim/choice.h"

#include <setjmp.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sim/input.h"
#include "tests/support_random.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static struct sim_choices *choices;

static int choices_setup(void **state)
{
    (void)state;
    choices = sim_choices_create();
    return choices == NULL ? -1 : 0;
}

static int choices_teardown(void **state)
{
    (void)state;
    sim_choices_destroy(choices);
    return 0;
}

static void begin_seed(uint64_t seed, enum weir_sim_strategy strategy)
{
    struct weir_sim_options options = {.seed = seed, .strategy = strategy};
    sim_choices_begin(choices, &options, 0);
}

static void begin_replay(const struct weir_sim_deviation *deviations, size_t count)
{
    struct weir_sim_options options = {.deviations = deviations, .deviations_count = count};
    sim_choices_begin(choices, &options, 0);
}

static void begin_bytes(const void *bytes, size_t count)
{
    struct weir_sim_options options = {.bytes = bytes, .bytes_count = count};
    sim_choices_begin(choices, &options, 0);
}

// Whether the frequency of an event of probability p is within five standard deviations of it. The
// seeds are fixed: this says nothing about luck, only about the arithmetic.
static void assert_frequency(uint64_t met, uint64_t trials, double p)
{
    double expected = p * (double)trials;
    double off = (double)met - expected;
    double variance = expected * (1 - p);
    if (off * off > 25 * variance + 1) {
        fail_msg("%llu of %llu, expected %.1f", (unsigned long long)met, (unsigned long long)trials,
                 expected);
    }
}

// ---- A run that asks for everything ----

struct asked {
    uint32_t kind, actor, options, value;
};

#define WALK_DECISIONS 3000

// A fixed, varied mix of decisions; what is asked depends on earlier answers, as in a real run.
static void walk(struct asked *asked, size_t count)
{
    uint64_t state = 42;
    uint32_t last = 0;
    for (size_t index = 0; index < count; index++) {
        struct asked *one = &asked[index];
        uint64_t bits = random_next(&state) + last;
        one->actor = (uint32_t)(bits % 5);
        if (bits >> 8 & 1) {
            uint8_t actors[] = {0, 1, 2, 3, 4};
            uint32_t first = bits >> 9 & 1 ? one->actor : (one->actor + 1) % 5;
            for (uint8_t place = 0; place < 5; place++) {
                actors[place] = (uint8_t)((first + place) % 5);
            }
            one->kind = WEIR_SIM_SWITCH;
            one->options = 2 + (uint32_t)((bits >> 16) % 4);
            one->value =
                sim_choose_thread(choices, one->actor, actors, one->options, bits >> 10 & 1);
        } else {
            one->kind = (uint32_t)((bits >> 32) % WEIR_SIM_KINDS_COUNT);
            one->options = 2 + (uint32_t)((bits >> 16) % 9);
            one->value = sim_choose(choices, one->kind, one->actor, one->options);
        }
        assert_true(one->value < one->options);
        last = one->value;
    }
}

static void assert_same_walk(const struct asked *one, const struct asked *other, size_t count)
{
    assert_memory_equal(one, other, count * sizeof(*one));
}

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

// ---- Swarm ----

// The denominator (or numerator) of " label=1/300" in a description; 0: not there.
static bool rate_find(const char *text, const char *label, uint32_t *numerator,
                      uint32_t *denominator)
{
    char key[32];
    snprintf(key, sizeof(key), " %s=", label);
    const char *found = strstr(text, key);
    return found != NULL &&
           sscanf(found + strlen(key), "%" SCNu32 "/%" SCNu32, numerator, denominator) == 2;
}

static void test_swarm_draws_as_documented(void **state)
{
    (void)state;
    static const char *const faults[] = {"weak",      "futex", "time",     "ready", "delay",
                                         "connect",   "send",  "recv",     "short", "again",
                                         "interrupt", "name",  "resource", "reuse", "peer"};
    const uint64_t seeds = 20000;
    uint64_t on[COUNT_OF(faults)] = {0}, magnitudes[11] = {0}, rates = 0;
    uint64_t stale = 0, none = 0, all = 0, stale_often = 0;
    for (uint64_t seed = 0; seed < seeds; seed++) {
        char text[1024];
        uint32_t numerator = 0, denominator = 0, faults_on = 0;
        begin_seed(seed, WEIR_SIM_PORTFOLIO);
        sim_choices_describe(choices, text, sizeof(text));
        for (size_t fault = 0; fault < COUNT_OF(faults); fault++) {
            if (!rate_find(text, faults[fault], &numerator, &denominator)) {
                continue;
            }
            assert_int_equal(numerator, 1);
            assert_in_range(denominator, 2, 4096);
            uint32_t magnitude = 0;
            while (denominator >> (magnitude + 2) != 0) {
                magnitude++;
            }
            magnitudes[magnitude == 11 ? 10 : magnitude]++;
            rates++;
            on[fault]++;
            faults_on++;
        }
        none += faults_on == 0;
        all += faults_on == COUNT_OF(faults);
        if (rate_find(text, "stale", &numerator, &denominator)) {
            assert_true(64 * numerator >= denominator && 4 * numerator <= 3 * denominator);
            stale_often += 4 * numerator >= denominator;
            stale++;
        }
        assert_false(rate_find(text, "work", &numerator, &denominator));
    }
    for (size_t fault = 0; fault < COUNT_OF(faults); fault++) {
        assert_frequency(on[fault], seeds, 0.5);
    }
    for (size_t magnitude = 0; magnitude < 11; magnitude++) {
        // Neighbours share their border, which the lower one gets the half of: hence the slack.
        double share = (double)magnitudes[magnitude] / (double)rates * 11;
        assert_true(share > (magnitude == 0 ? 0.6 : 0.9) && share < (magnitude == 1 ? 1.3 : 1.2));
    }
    assert_frequency(none, seeds, 1.0 / 16 + 14.0 / 16 / 32768);
    assert_frequency(all, seeds, 1.0 / 16 + 14.0 / 16 / 32768);
    assert_frequency(stale, seeds, 0.75);
    assert_true(stale_often * 2 > stale);
}

static void test_description_says_what_happens(void **state)
{
    (void)state;
    static const struct {
        enum weir_sim_kind kind;
        const char *label;
    } kinds[] = {{WEIR_SIM_STALE, "stale"}, {WEIR_SIM_SEND, "send"}, {WEIR_SIM_REUSE, "reuse"}};
    for (uint64_t seed = 0; seed < 100; seed++) {
        char text[1024];
        begin_seed(seed, WEIR_SIM_PORTFOLIO);
        sim_choices_describe(choices, text, sizeof(text));
        for (size_t index = 0; index < COUNT_OF(kinds); index++) {
            uint32_t numerator = 0, denominator = 1;
            rate_find(text, kinds[index].label, &numerator, &denominator);
            const uint64_t trials = 100000;
            uint64_t met = 0;
            for (uint64_t trial = 0; trial < trials; trial++) {
                met += sim_choose(choices, kinds[index].kind, 1, 3) != 0;
            }
            assert_frequency(met, trials, (double)numerator / denominator);
        }
    }
}

static void test_description_fits_where_it_is_put(void **state)
{
    (void)state;
    char whole[1024];
    begin_seed(8, WEIR_SIM_PORTFOLIO); // a seed of many faults
    sim_choices_describe(choices, whole, sizeof(whole));
    assert_true(strlen(whole) > 100);
    for (size_t room = 1; room < strlen(whole) + 2; room++) {
        char text[1024];
        memset(text, 'x', sizeof(text));
        sim_choices_describe(choices, text, room);
        assert_memory_equal(text, whole, room <= strlen(whole) ? room - 1 : strlen(whole));
        assert_int_equal(text[room <= strlen(whole) ? room - 1 : strlen(whole)], '\0');
        assert_int_equal(text[room], 'x');
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

// ---- Replay ----

static size_t record_copy(struct weir_sim_deviation *copy, size_t copy_max)
{
    size_t count = 0;
    const struct weir_sim_deviation *record = sim_choices_deviations(choices, &count);
    assert_true(count <= copy_max);
    if (count > 0) {
        memcpy(copy, record, count * sizeof(*copy));
    }
    return count;
}

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

// ---- Bytes ----

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
        {WEIR_SIM_SEND, 0, 65535, 1},  // one record
        {WEIR_SIM_SEND, 0, 131072, 2}, // 65536 between: two
        {WEIR_SIM_RECV, 2, 300000, 1}, // five
        {WEIR_SIM_WORK, 0, 0, 70000},  // wide
        {WEIR_SIM_WORK, 0, 9, 3000000000}, // wide, after one that leads there
        {WEIR_SIM_KINDS_COUNT, 0, 0, 1}, {WEIR_SIM_SEND, SIM_THREADS_MAX, 0, 1},
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

// ---- Exhaustive search ----

#define PATHS_MAX 4096

struct path {
    uint32_t length;
    uint32_t answers[8];
};

// A toy run whose shape depends on its answers: what is asked next, and whether anything is.
static struct path toy_run(void)
{
    struct path path = {0};
    uint32_t options = 3;
    while (path.length < 4) {
        uint32_t actor = path.length % 2;
        uint32_t value = sim_choose(choices, WEIR_SIM_SEND, actor, options);
        path.answers[path.length++] = value;
        if (value == 2) {
            break;
        }
        options = 2 + value;
    }
    return path;
}

static uint32_t deviations_of(const struct path *path)
{
    uint32_t count = 0;
    for (uint32_t index = 0; index < path->length; index++) {
        count += path->answers[index] != 0;
    }
    return count;
}

static size_t toy_search(struct path *paths, uint32_t deviations_max)
{
    size_t count = 0;
    sim_choices_search(choices, deviations_max);
    assert_true(sim_choices_searching(choices));
    do {
        assert_true(count < PATHS_MAX);
        sim_choices_begin_search(choices, 0);
        paths[count] = toy_run();
        size_t recorded = 0;
        sim_choices_deviations(choices, &recorded);
        assert_int_equal(recorded, deviations_of(&paths[count]));
        count++;
    } while (sim_choices_next(choices));
    sim_choices_search_end(choices);
    assert_false(sim_choices_searching(choices));
    return count;
}

// All paths of the toy by plain enumeration of 3^4 answer strings.
static size_t toy_paths(struct path *paths, uint32_t deviations_max)
{
    size_t count = 0;
    for (uint32_t code = 0; code < 81; code++) {
        struct path path = {0};
        uint32_t rest = code, options = 3;
        bool possible = true;
        while (possible && path.length < 4) {
            uint32_t value = rest % 3;
            rest /= 3;
            possible = value < options;
            path.answers[path.length++] = value;
            if (value == 2) {
                break;
            }
            options = 2 + value;
        }
        if (possible && rest == 0 && deviations_of(&path) <= deviations_max) {
            paths[count++] = path;
        }
    }
    return count;
}

static void test_search_visits_each_path_once_in_a_stable_order(void **state)
{
    (void)state;
    static struct path found[PATHS_MAX], again[PATHS_MAX], wanted[PATHS_MAX];
    for (uint32_t deviations_max = 0; deviations_max < 6; deviations_max++) {
        size_t count = toy_search(found, deviations_max);
        size_t wanted_count = toy_paths(wanted, deviations_max);
        assert_int_equal(count, wanted_count);
        for (size_t one = 0; one < wanted_count; one++) {
            size_t met = 0;
            for (size_t other = 0; other < count; other++) {
                met += memcmp(&wanted[one], &found[other], sizeof(wanted[one])) == 0;
            }
            assert_int_equal(met, 1);
        }
        assert_int_equal(deviations_of(&found[0]), 0); // the benign run comes first
        assert_int_equal(toy_search(again, deviations_max), count);
        assert_memory_equal(found, again, count * sizeof(found[0]));
        for (size_t index = 1; index < count; index++) { // depth first: in the order of the answers
            uint32_t place = 0;
            while (found[index - 1].answers[place] == found[index].answers[place]) {
                place++;
            }
            assert_true(found[index - 1].answers[place] < found[index].answers[place]);
        }
    }
    assert_int_equal(toy_search(found, 0), 1);
}

static void test_search_heeds_masks_healing_and_threads(void **state)
{
    (void)state;
    const uint8_t actors[] = {1, 0, 2};
    size_t runs = 0, threads = 0;
    sim_choices_search(choices, 2);
    do {
        sim_choices_begin_search(choices, 1u << WEIR_SIM_SWITCH);
        threads += sim_choose_thread(choices, 1, actors, 3, false);
        assert_int_equal(sim_choose(choices, WEIR_SIM_RECV, 0, 9), 0);
        sim_choose(choices, WEIR_SIM_WORK, 0, 2);
        sim_choices_heal(choices);
        assert_int_equal(sim_choose_thread(choices, 1, actors, 3, false), 0);
        runs++;
    } while (sim_choices_next(choices));
    sim_choices_search_end(choices);
    assert_int_equal(runs, 3 * 2);
    assert_int_equal(threads, 2 * (0 + 1 + 2));
}

static void test_search_can_be_left_and_begun_anew(void **state)
{
    (void)state;
    static struct path found[PATHS_MAX];
    size_t count = toy_search(found, 4);
    sim_choices_search(choices, 4);
    for (int runs = 0; runs < 5; runs++) {
        sim_choices_begin_search(choices, 0);
        toy_run();
        assert_true(sim_choices_next(choices));
    }
    sim_choices_search_end(choices);
    begin_seed(1, WEIR_SIM_RANDOM);
    assert_int_equal(toy_search(found, 4), count);
    char text[64];
    sim_choices_describe(choices, text, sizeof(text));
    assert_string_equal(text, "strategy=search deviations_max=4");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, choices_setup, choices_teardown)
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
        TEST(test_swarm_draws_as_documented),
        TEST(test_description_says_what_happens),
        TEST(test_description_fits_where_it_is_put),
        TEST(test_healed_answers_the_workload_only),
        TEST(test_healing_ends_a_replay_too),
        TEST(test_only_allowed_kinds_deviate),
        TEST(test_every_run_can_be_replayed_in_any_order_of_the_list),
        TEST(test_what_does_not_apply_is_told),
        TEST(test_rates_have_no_effect_on_a_replay),
        TEST(test_a_short_list_after_a_long_one_leaves_nothing),
        TEST(test_bytes_answer_as_documented),
        TEST(test_any_bytes_are_a_run_that_replays),
        TEST(test_draws_of_an_input),
        TEST(test_header_of_an_input),
        TEST(test_encoded_deviations_are_the_same_run),
        TEST(test_encoding_of_far_and_large),
        TEST(test_search_visits_each_path_once_in_a_stable_order),
        TEST(test_search_heeds_masks_healing_and_threads),
        TEST(test_search_can_be_left_and_begun_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
