// The weir-sim command: failures replayed, shrunk, explained, converted, searched for, hashed.
#include "tests/support_sim_command.h"

// A run of `interleaves` that failed, and its replay file.
static void interleaves_fails(char *path, size_t path_bytes)
{
    assert_int_equal(command("run --seeds 0..5000 --scenario interleaves --failures y"),
                     WEIR_SIM_SAFETY);
    output_copy(AGAIN "replay ", strlen(AGAIN "replay "), path, path_bytes);
}

static void a_failure_shrinks_and_is_explained(void **state)
{
    (void)state;
    char line[512];
    char path[256];
    interleaves_fails(path, sizeof path);
    snprintf(line, sizeof line, "shrink %s -o small.replay", path);
    assert_int_equal(command(line), 0);
    assert_says(output, "safety: in-between");
    assert_int_equal(command("replay small.replay"), WEIR_SIM_SAFETY);
    assert_says(output, "as recorded");
    struct sim_record record;
    char why[256];
    assert_int_equal(sim_record_read(&record, "small.replay", why, sizeof why), 0);
    assert_true(record.deviations_count >= 1 && record.deviations_count <= 3);
    sim_record_deinit(&record);
    assert_int_equal(command("explain small.replay"), 0);
    assert_says(output, "interleaves: safety: in-between\n");
    assert_says(output, "[1] thread ");
    assert_says(output, "saw 1");
    assert_says(output, "> #");
    assert_int_equal(command("explain --json --context 0 small.replay"), 0);
    assert_says(output, "\"event\":\"explanation\",\"status\":10,");
    assert_int_equal(command("shrink --json small.replay"), 0);
    assert_says(output, "\"replay_file\":\"small.replay.shrunk\"");
    assert_int_equal(command("shrink small.replay -o no/where"), SIM_EXIT_SYSTEM);
    assert_int_equal(command("replay --json small.replay"), WEIR_SIM_SAFETY);
    assert_says(output, "\"event\":\"replay\",\"status\":10,\"verdict\":\"safety\"");
}

// From a run that failed to a fuzzer's input and back: the same run, which shrinks as ever.
static void a_replay_file_and_an_input_become_each_other(void **state)
{
    (void)state;
    char line[512];
    struct sim_record found;
    struct sim_record back;
    char why[256];
    char path[256];
    interleaves_fails(path, sizeof path);
    snprintf(line, sizeof line, "convert %s -o found.input", path);
    assert_int_equal(command(line), 0);
    assert_int_equal(command("convert found.input"), 0);
    assert_says(output, "verdict     safety: in-between");
    assert_int_equal(command("replay found.input.replay"), WEIR_SIM_SAFETY);
    assert_says(output, "as recorded");
    assert_int_equal(sim_record_read(&found, path, why, sizeof why), 0);
    assert_int_equal(sim_record_read(&back, "found.input.replay", why, sizeof why), 0);
    assert_int_equal(found.hash, back.hash);
    assert_int_equal(found.deviations_count, back.deviations_count);
    assert_memory_equal(found.deviations, back.deviations,
                        found.deviations_count * sizeof *found.deviations);
    sim_record_deinit(&found);
    sim_record_deinit(&back);
    assert_int_equal(command("shrink found.input.replay -o less.replay"), 0);
    assert_int_equal(command("explain less.replay"), 0);
    // Any bytes are an input; a file that only begins as a replay file is none.
    assert_int_equal(command("convert /dev/null -o empty.replay"), 0);
    assert_int_equal(command("convert no/where"), SIM_EXIT_SYSTEM);
    assert_int_equal(command("convert found.input -o no/where"), SIM_EXIT_SYSTEM);
    assert_int_equal(command("convert less.replay -o no/where"), SIM_EXIT_SYSTEM);
    FILE *file = fopen("cut.replay", "wbe");
    assert_non_null(file);
    fputs(SIM_RECORD_MAGIC "1\n", file);
    fclose(file);
    assert_int_equal(command("convert cut.replay"), WEIR_SIM_EXIT_FILE);
}

static void records_that_do_not_fit_are_told(void **state)
{
    (void)state;
    struct sim_record record = record_example();
    record.fine = weir_sim_fine();
    record.steps_max = 0;
    assert_int_equal(sim_record_write(&record, "e.replay"), 0);
    assert_int_equal(command("replay e.replay"), WEIR_SIM_EXIT_OTHER_BUILD);
    assert_says(messages, "e.replay:2: of another build: 0123456789abcdef");
    assert_int_equal(command("shrink e.replay"), WEIR_SIM_EXIT_OTHER_BUILD);
    assert_int_equal(command("explain e.replay"), WEIR_SIM_EXIT_OTHER_BUILD);
    assert_int_equal(command("replay --force e.replay"), WEIR_SIM_PASS);
    assert_says(output, "NOT AS RECORDED: recorded as race: a name");
    assert_says(output, "the deviation \"switch 0 12 1\" no longer applies");
    assert_int_equal(command("shrink --force e.replay"), WEIR_SIM_EXIT_USAGE);
    assert_says(messages, "nothing to shrink");
    // This build, but neither verdict nor hash are right.
    strcpy(record.build, sim_build_id());
    assert_int_equal(sim_record_write(&record, "e.replay"), 0);
    assert_int_equal(command("replay e.replay"), WEIR_SIM_NONDETERMINISM);
    assert_int_equal(command("explain e.replay"), WEIR_SIM_NONDETERMINISM);
    assert_int_equal(command("shrink e.replay"), WEIR_SIM_NONDETERMINISM);
    record.verdict = WEIR_SIM_PASS;
    record.name[0] = '\0';
    record.deviations_count = 0;
    assert_int_equal(sim_record_write(&record, "e.replay"), 0);
    assert_int_equal(command("replay e.replay"), WEIR_SIM_NONDETERMINISM);
    assert_says(output, "recorded with the hash 0123456789abcdef");
    strcpy(record.scenario, "pases");
    assert_int_equal(sim_record_write(&record, "e.replay"), 0);
    assert_int_equal(command("replay e.replay"), WEIR_SIM_EXIT_FILE);
    assert_says(messages,
                "e.replay:4: this program has no scenario \"pases\"; did you mean passes?");
}

static void a_search_finds_the_failure_or_says_that_there_is_none(void **state)
{
    (void)state;
    assert_int_equal(command("exhaust --scenario passes --deviations 3"), 0);
    assert_says(output, "all of them");
    assert_int_equal(command("exhaust --scenario fails-safety --deviations 1 --failures ."),
                     WEIR_SIM_SAFETY);
    assert_says(output, "up to the failure");
    assert_says(output, "again:      weir-sim replay ./weir-sim-fails-safety-exhaust.replay");
    assert_int_equal(command("replay weir-sim-fails-safety-exhaust.replay"), WEIR_SIM_SAFETY);
    assert_int_equal(command("exhaust --scenario fails-safety --deviations 1 --runs 3"), 0);
    assert_says(output, "stopped by --runs");
    assert_int_equal(command("exhaust --json --scenario passes --deviations 0"), 0);
    assert_says(output, "\"complete\":true,\"failed\":false");
}

static void hashes_do_not_depend_on_poison_or_company(void **state)
{
    (void)state;
    char before[OUTPUT_BYTES];
    assert_int_equal(command("hash --seeds 0..40 --scenario interleaves"), 0);
    assert_int_equal(lines_in(output, strlen(output)), 41);
    memcpy(before, output, sizeof before);
    assert_int_equal(command("hash --seeds 0..40 --scenario interleaves --poison 170"), 0);
    assert_string_equal(output, before);
    assert_int_equal(command("hash --seeds 3 --scenario passes,interleaves"), 0);
    const char *line = strstr(output, "interleaves");
    assert_non_null(line);
    while (line[-1] != '\n') {
        line--;
    }
    assert_says(before, line);
    assert_int_equal(command("story --seeds 3 --scenario interleaves"), 0);
    assert_says(output, line);
    assert_int_equal(command("hash --json --seeds 3 --scenario interleaves"), 0);
    assert_says(output, "\"seed\":3,\"scenario\":\"interleaves\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failure_shrinks_and_is_explained),
        cmocka_unit_test(a_replay_file_and_an_input_become_each_other),
        cmocka_unit_test(records_that_do_not_fit_are_told),
        cmocka_unit_test(a_search_finds_the_failure_or_says_that_there_is_none),
        cmocka_unit_test(hashes_do_not_depend_on_poison_or_company),
    };
    return cmocka_run_group_tests_name("sim_command_replay", tests, folder_enter, folder_leave);
}
