// The weir-sim command's parts: seeds, durations, numbers, nearest names, JSON, positions.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sim/command.h"

// ---- Words and numbers ----

static void seeds_are_a_number_or_a_range(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
        uint64_t first, last;
    } cases[] = {
        {"0", true, 0, 0},
        {"0..99", true, 0, 99},
        {"5..5", true, 5, 5},
        {"0x10..0xfF", true, 16, 255},
        {"18446744073709551615", true, UINT64_MAX, UINT64_MAX},
        {"0..0xffffffffffffffff", true, 0, UINT64_MAX},
        {"18446744073709551616", false, 0, 0},
        {"0x10000000000000000", false, 0, 0},
        {"9..5", false, 0, 0},
        {"", false, 0, 0},
        {"..", false, 0, 0},
        {"1..", false, 0, 0},
        {"..1", false, 0, 0},
        {"1...2", false, 0, 0},
        {"1..2..3", false, 0, 0},
        {"-1", false, 0, 0},
        {"+1", false, 0, 0},
        {" 1", false, 0, 0},
        {"1 ", false, 0, 0},
        {"0x", false, 0, 0},
        {"1e3", false, 0, 0},
        {"x", false, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t first = 77;
        uint64_t last = 77;
        print_message("seeds \"%s\"\n", cases[i].text);
        assert_int_equal(sim_option_seeds(cases[i].text, &first, &last), cases[i].good);
        assert_true(first == (cases[i].good ? cases[i].first : 77));
        assert_true(last == (cases[i].good ? cases[i].last : 77));
    }
}

static void durations_have_units(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t ms; // 0: refused
    } cases[] = {
        {"60", 60000},
        {"60s", 60000},
        {"1ms", 1},
        {"10m", 600000},
        {"10min", 600000},
        {"2h", 7200000},
        {"30d", 2592000000},
        {"31d", 0},
        {"0", 0},
        {"0s", 0},
        {"", 0},
        {"s", 0},
        {"1.5s", 0},
        {"-1s", 0},
        {"1 s", 0},
        {"1sec", 0},
        {"1M", 0},
        {"99999999999999999999h", 0},
        {"18446744073709551615", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t ns = 7;
        print_message("time \"%s\"\n", cases[i].text);
        assert_int_equal(sim_option_duration(cases[i].text, &ns), cases[i].ms != 0);
        assert_true(ns == (cases[i].ms == 0 ? 7 : cases[i].ms * 1000000));
    }
}

static void numbers_keep_their_bounds(void **state)
{
    (void)state;
    uint64_t number = 7;
    assert_true(sim_option_number("255", 0, 255, &number));
    assert_true(number == 255);
    assert_false(sim_option_number("256", 0, 255, &number));
    assert_false(sim_option_number("0", 1, 255, &number));
    assert_false(sim_option_number("", 0, 255, &number));
    assert_true(number == 255);
}

static void the_nearest_names_are_named(void **state)
{
    (void)state;
    static const char *const names[] = {"replay", "run", "shrink", "check", "explain"};
    char text[128];
    sim_nearest("reply", names, 5, text, sizeof text);
    assert_string_equal(text, "; did you mean replay?");
    sim_nearest("chekc", names, 5, text, sizeof text);
    assert_string_equal(text, "; did you mean check?");
    sim_nearest("rn", names, 5, text, sizeof text);
    assert_string_equal(text, "; did you mean run?");
    sim_nearest("xylophone", names, 5, text, sizeof text);
    assert_string_equal(text, "");
    sim_nearest("", names, 5, text, sizeof text);
    assert_string_equal(text, "");
    sim_nearest("reply", names, 5, text, 12);
    assert_int_equal(strlen(text), 11);
    char endless_name[300];
    memset(endless_name, 'r', sizeof endless_name - 1);
    endless_name[sizeof endless_name - 1] = '\0';
    sim_nearest(endless_name, names, 5, text, sizeof text);
}

static void the_worse_verdict_is_told(void **state)
{
    (void)state;
    assert_int_equal(sim_verdict_worse(WEIR_SIM_PASS, WEIR_SIM_LEAK), WEIR_SIM_LEAK);
    assert_int_equal(sim_verdict_worse(WEIR_SIM_LEAK, WEIR_SIM_RACE), WEIR_SIM_RACE);
    assert_int_equal(sim_verdict_worse(WEIR_SIM_SAFETY, WEIR_SIM_RACE), WEIR_SIM_SAFETY);
    assert_int_equal(sim_verdict_worse(WEIR_SIM_SAFETY, WEIR_SIM_INTERNAL), WEIR_SIM_INTERNAL);
    assert_int_equal(sim_verdict_worse(WEIR_SIM_PASS, WEIR_SIM_PASS), WEIR_SIM_PASS);
}

static void json_is_escaped(void **state)
{
    (void)state;
    char *text = NULL;
    size_t bytes = 0;
    FILE *file = open_memstream(&text, &bytes);
    const struct weir_sim_deviation deviations[] = {{WEIR_SIM_SWITCH, 1, 2, 3},
                                                    {WEIR_SIM_STALE, 4, 5, 6}};
    struct sim_json json;
    sim_json_open(&json, file);
    sim_json_text(&json, "text", "a\"b\\c\nd\x01\x7f\xc3\xa9");
    sim_json_number(&json, "number", UINT64_MAX);
    sim_json_bool(&json, "yes", true);
    sim_json_hash(&json, "hash", 0xab);
    sim_json_array_open(&json, "none");
    sim_json_array_close(&json);
    sim_json_deviations(&json, deviations, 2);
    sim_json_close(&json);
    assert_int_equal(fclose(file), 0);
    assert_string_equal(text, "{\"text\":\"a\\\"b\\\\c\\u000ad\\u0001\\u007f\xc3\xa9\","
                              "\"number\":18446744073709551615,\"yes\":true,"
                              "\"hash\":\"00000000000000ab\",\"none\":[],"
                              "\"deviations\":[[\"switch\",1,2,3],[\"stale\",4,5,6]]}\n");
    free(text);
}

static void the_build_has_an_id(void **state)
{
    (void)state;
    const char *id = sim_build_id();
    assert_int_equal(strlen(id), 40); // sha1
    assert_int_equal(strspn(id, "0123456789abcdef"), 40);
    assert_ptr_equal(id, sim_build_id());
}

static void unknown_positions_stay_as_they_are(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",         "no position", "at +0x",
        "at +0xzz", "x+0x10",      "at +0xffffffffffffff00 and +0x11112222333344445555"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char *resolved = sim_symbols_resolve(texts[i]);
        assert_non_null(resolved);
        assert_string_equal(resolved, texts[i]);
        free(resolved);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seeds_are_a_number_or_a_range),
        cmocka_unit_test(durations_have_units),
        cmocka_unit_test(numbers_keep_their_bounds),
        cmocka_unit_test(the_nearest_names_are_named),
        cmocka_unit_test(the_worse_verdict_is_told),
        cmocka_unit_test(json_is_escaped),
        cmocka_unit_test(the_build_has_an_id),
        cmocka_unit_test(unknown_positions_stay_as_they_are),
    };
    return cmocka_run_group_tests_name("sim_command_words", tests, NULL, NULL);
}
