// Tests of swarm configuration: what a seed draws for its run, and how that is told.
#include "tests/support_choice.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_swarm_draws_as_documented),
        TEST(test_description_says_what_happens),
        TEST(test_description_fits_where_it_is_put),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
