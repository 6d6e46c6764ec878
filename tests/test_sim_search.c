// Tests of the exhaustive search through decisions.
#include "tests/support_choice.h"

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
    const struct CMUnitTest tests[] = {
        TEST(test_search_visits_each_path_once_in_a_stable_order),
        TEST(test_search_heeds_masks_healing_and_threads),
        TEST(test_search_can_be_left_and_begun_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
