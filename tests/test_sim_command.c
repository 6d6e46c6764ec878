// The weir-sim command: words it does not know, runs, verdicts, crashes.
#include "tests/support_sim_command.h"

#include <sys/stat.h>

// ---- Words the command does not know ----

static void bad_words_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *line, *says;
    } cases[] = {
        {"", "usage: weir-sim COMMAND"},
        {"rnu", "unknown command \"rnu\"; did you mean run"},
        {"--frob", "unknown command \"--frob\""},
        {"run --seed 1", "unknown option --seed; did you mean seeds"},
        {"run --frobnicate", "unknown option --frobnicate"},
        {"run --seeds", "--seeds: a value is missing"},
        {"run --seeds 5..1", "\"5..1\" is neither a number nor a range"},
        {"run --scenario pases", "unknown scenario \"pases\"; did you mean passes?"},
        {"run --scenario passes,", "unknown scenario \"\""},
        {"run --strategy randon", "unknown strategy \"randon\"; did you mean random?"},
        {"run --jobs 0", "\"0\" is not a whole number from 1 to 256"},
        {"run --budget 5y", "\"5y\" is not a time"},
        {"run --cpu-budget 5y", "--cpu-budget: \"5y\" is not a time"},
        {"run --poison 256", "not a whole number from 0 to 255"},
        {"run --json=1", "--json: takes no value"},
        {"run passes", "\"passes\" is one word too many"},
        {"run --seeds 1 --failures messages", "--failures: messages is not a directory"},
        {"run --seeds 1 --failures no/where", "--failures: no/where: No such file"},
        {"replay", "FILE is missing"},
        {"replay a b", "one file at a time"},
        {"replay --seeds 1 a", "unknown option --seeds"},
        {"check", "--seeds is missing"},
        {"hash", "--seeds is missing"},
        {"story --seeds 1..2 --scenario passes", "takes exactly one of each"},
        {"story --seeds 1", "takes exactly one of each"},
        {"exhaust --deviations 1", "--scenario: exhaust takes exactly one"},
        {"exhaust --scenario passes", "--deviations is missing"},
        {"help frob", "unknown command \"frob\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        print_message("weir-sim %s\n", cases[i].line);
        assert_int_equal(command(cases[i].line), WEIR_SIM_EXIT_USAGE);
        assert_says(messages, cases[i].says);
        assert_string_equal(output, "");
    }
}

static void help_and_version_are_there(void **state)
{
    (void)state;
    static const char *const subcommands[] = {"run",   "replay", "shrink", "explain", "convert",
                                              "check", "hash",   "story",  "exhaust", "list"};
    for (size_t i = 0; i < sizeof subcommands / sizeof subcommands[0]; i++) {
        char line[64];
        char usage[64];
        snprintf(usage, sizeof usage, "usage: weir-sim %s ", subcommands[i]);
        snprintf(line, sizeof line, "%s --help", subcommands[i]);
        assert_int_equal(command(line), 0);
        assert_says(output, usage);
        snprintf(line, sizeof line, "help %s", subcommands[i]);
        assert_int_equal(command(line), 0);
        assert_says(output, usage);
    }
    assert_int_equal(command("--help"), 0);
    assert_says(output, "weir-sim explain");
    assert_int_equal(command("--version"), 0);
    assert_says(output, sim_build_id());
    assert_says(output, weir_sim_fine() ? "fine grain" : "coarse grain");
}

static void the_list_names_everything(void **state)
{
    (void)state;
    assert_int_equal(command("list"), 0);
    assert_says(output, "passes\n    nothing happens\n");
    assert_says(output, "must meet within 5 runs: never-met");
    assert_says(output, "expected to end with: race");
    assert_int_equal(command("list --json"), 0);
    assert_int_equal(lines_in(output, strlen(output)), SCENARIOS_COUNT);
    assert_says(output, "\"scenario\":\"passes\"");
    assert_says(output, "\"fine_only\":true");
    assert_says(output, "\"kinds\":[\"work\"]");
    assert_says(output, "\"probes\":[\"always-met\",\"never-met\"]");
}

// ---- Runs ----

static void what_is_expected_to_fail_runs_only_when_named(void **state)
{
    (void)state;
    assert_int_equal(command("run --seeds 0..9 --jobs 2"), 0);
    assert_says(output, "\npasses                                      30 "); // weight 3
    assert_silent(output, "fails");
    assert_silent(output, "misses");
    assert_int_equal(strstr(output, "fine-only") != NULL, weir_sim_fine());
    assert_int_equal(command("run --seeds 0..9 --scenario passes"), 0);
    assert_says(output, "\npasses                                      10 ");
    assert_int_equal(command("run --seeds 0..9 --scenario fine-only,passes,passes"), 0);
    assert_says(output, "20 runs");
}

static void a_missed_probe_is_told_in_the_fine_grain(void **state)
{
    (void)state;
    assert_int_equal(command("run --seeds 0..3 --scenario misses"), 0); // too few runs to say
    assert_int_equal(command("run --seeds 0..9 --scenario misses"),
                     weir_sim_fine() ? WEIR_SIM_EXIT_PROBE : 0);
    assert_says(output, "misses: never-met");
    assert_int_equal(strstr(output, "MISSED") != NULL, weir_sim_fine());
    assert_int_equal(command("run --seeds 0..9 --scenario misses --strategy benign"), 0);
    assert_int_equal(command("run --seeds 0..9 --scenario passes"), 0);
    assert_says(output, "passes: always-met");
    assert_int_equal(command("run --json --seeds 0..9 --scenario misses"),
                     weir_sim_fine() ? WEIR_SIM_EXIT_PROBE : 0);
    assert_says(output, "\"probe\":\"always-met\",\"met\":10,\"missed\":false");
}

static void each_verdict_has_its_exit_status_and_replays(void **state)
{
    (void)state;
    static const struct {
        const char *scenario;
        int status;
    } cases[] = {
        {"safety", WEIR_SIM_SAFETY}, {"liveness", WEIR_SIM_LIVENESS}, {"leak", WEIR_SIM_LEAK},
        {"race", WEIR_SIM_RACE},     {"internal", WEIR_SIM_INTERNAL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char line[256];
        char again[256];
        print_message("%s\n", cases[i].scenario);
        snprintf(line, sizeof line, "run --seeds 0..200 --scenario fails-%s --failures %s",
                 cases[i].scenario, cases[i].scenario);
        assert_int_equal(command(line), cases[i].status);
        assert_says(output, ": seven\nwhat        drew 7,\nof course \\ \"quoted\"\n");
        assert_says(output, "number=7");
        assert_silent(output, "NOT REPEATABLE");
        output_copy(AGAIN, strlen(AGAIN), again, sizeof again);
        assert_int_equal(strncmp(again, "replay ", 7), 0);
        assert_int_equal(command(again), cases[i].status);
        assert_says(output, "as recorded");
    }
}

static void the_lowest_failing_seed_is_found_by_any_number_of_workers(void **state)
{
    (void)state;
    char first[64] = "";
    for (int jobs = 1; jobs <= 7; jobs++) {
        char line[128];
        snprintf(line, sizeof line, "run --seeds 0..500 --jobs %d --scenario fails-safety", jobs);
        assert_int_equal(command(line), WEIR_SIM_SAFETY);
        const char *seed = strstr(output, "\nseed ");
        assert_non_null(seed);
        if (jobs == 1) {
            snprintf(first, sizeof first, "%.*s", (int)strcspn(seed + 1, "\n"), seed + 1);
        }
        assert_int_equal(strncmp(seed + 1, first, strlen(first)), 0);
    }
}

static void keep_going_tells_each_kind_of_failure_once(void **state)
{
    (void)state;
    assert_int_equal(command("run --keep-going --seeds 0..99 --jobs 3 --scenario fails-two-ways"),
                     WEIR_SIM_SAFETY); // the worse of leak and safety
    const char *one = strstr(output, "FAILED      ");
    assert_non_null(one);
    const char *two = strstr(one + 1, "FAILED      ");
    assert_non_null(two);
    assert_null(strstr(two + 1, "FAILED      "));
    assert_says(output, "leak: two");
    assert_says(output, "safety: three");
    assert_says(output, "100 runs");
}

static void a_failure_is_told_even_if_its_file_cannot_be_written(void **state)
{
    (void)state;
    static const char line[] = "run --seeds 0..200 --jobs 1 --scenario fails-safety --failures x";
    char path[256];
    assert_int_equal(command(line), WEIR_SIM_SAFETY);
    output_copy("replay file x/weir-sim-fails-safety-", strlen("replay file "), path, sizeof path);
    // A directory stands where the file should be: root too cannot write there.
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(command(line), WEIR_SIM_SAFETY);
    assert_says(output, "replay file not written: x/weir-sim-fails-safety-");
    char again[256];
    output_copy(AGAIN "run --scenario fails-safety --seeds ", strlen(AGAIN), again, sizeof again);
    assert_int_equal(command(again), WEIR_SIM_SAFETY);
}

static void crashes_are_findings(void **state)
{
    (void)state;
    static const struct {
        const char *scenario, *says, *says_under_asan;
        bool replays; // the process lives on
    } cases[] = {
        {"crash-null", "safety: crash SIGSEGV", "safety: process ", true},
        {"crash-abort", "safety: crash SIGABRT", "safety: process killed by signal 6", true},
        {"crash-stack", "safety: crash SIGSEGV", "safety: process ", true},
        {"crash-assertion", "safety: assertion support_sim_command.h:", "safety: assertion", true},
        {"crash-exit", "safety: process exited with 3", "safety: process exited with 3", false},
        {"crash-exit-zero", "safety: process exited with 0", "safety: process exited with 0",
         false},
        {"crash-kill", "safety: process killed by signal 9", "safety: process killed by signal 9",
         false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char line[256];
        print_message("%s\n", cases[i].scenario);
        snprintf(line, sizeof line, "run --seeds 0..500 --jobs 2 --scenario %s --failures .",
                 cases[i].scenario);
        assert_int_equal(command(line), WEIR_SIM_SAFETY);
        assert_says(output, SIM_ASAN ? cases[i].says_under_asan : cases[i].says);
        if (!cases[i].replays) {
            assert_says(output, AGAIN "run --scenario crash-");
        } else if (!SIM_ASAN) {
            output_copy(AGAIN, strlen(AGAIN), line, sizeof line);
            assert_int_equal(command(line), WEIR_SIM_SAFETY);
            assert_says(output, "as recorded");
            memcpy(line, "shrink", 6);
            assert_int_equal(command(line), 0);
        }
    }
}

static void seeds_after_a_crash_are_run_too(void **state)
{
    (void)state;
    static const char *const names[] = {"crash-null", "crash-exit", "crash-kill"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char line[256];
        snprintf(line, sizeof line,
                 "run --json --keep-going --seeds 0..59 --jobs 2 --scenario passes,%s", names[i]);
        assert_int_equal(command(line), WEIR_SIM_SAFETY);
        assert_says(output, "\"scenario\":\"passes\",\"runs\":60,");
        assert_says(output, "\"event\":\"end\",\"status\":10,");
        // A run that took its process along is not counted as a run, but as a failure.
        const char *row = strstr(output, "\"event\":\"scenario\",\"scenario\":\"crash-");
        assert_non_null(row);
        unsigned runs = 0;
        unsigned failures = 0;
        assert_int_equal(sscanf(strstr(row, "\"runs\":"), "\"runs\":%u", &runs), 1);
        assert_int_equal(sscanf(strstr(row, "\"failures\":"), "\"failures\":%u", &failures), 1);
        assert_true(failures >= 1 && failures < 30);
        bool counted = strcmp(names[i], "crash-null") == 0 && !SIM_ASAN;
        assert_int_equal(runs, counted ? 60 : 60 - failures);
    }
}

static void a_loop_without_an_end_is_a_liveness_failure(void **state)
{
    (void)state;
    assert_int_equal(command("run --seeds 0..200 --jobs 1 --scenario endless"),
                     SIM_ASAN ? WEIR_SIM_SAFETY : WEIR_SIM_LIVENESS);
    assert_says(output, SIM_ASAN ? "process killed by signal 6" : "liveness: endless-loop");
}

static void state_that_survives_runs_is_told(void **state)
{
    (void)state;
    assert_int_equal(command("run --seeds 0..20 --jobs 1 --scenario forgetful"),
                     WEIR_SIM_NONDETERMINISM);
    assert_says(output, "state-survives");
    assert_says(output, "fifth-time");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_words_are_refused),
        cmocka_unit_test(help_and_version_are_there),
        cmocka_unit_test(the_list_names_everything),
        cmocka_unit_test(what_is_expected_to_fail_runs_only_when_named),
        cmocka_unit_test(a_missed_probe_is_told_in_the_fine_grain),
        cmocka_unit_test(each_verdict_has_its_exit_status_and_replays),
        cmocka_unit_test(the_lowest_failing_seed_is_found_by_any_number_of_workers),
        cmocka_unit_test(keep_going_tells_each_kind_of_failure_once),
        cmocka_unit_test(a_failure_is_told_even_if_its_file_cannot_be_written),
        cmocka_unit_test(crashes_are_findings),
        cmocka_unit_test(seeds_after_a_crash_are_run_too),
        cmocka_unit_test(a_loop_without_an_end_is_a_liveness_failure),
        cmocka_unit_test(state_that_survives_runs_is_told),
    };
    return cmocka_run_group_tests_name("sim_command", tests, folder_enter, folder_leave);
}
