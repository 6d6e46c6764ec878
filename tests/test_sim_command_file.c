// Replay files: they come back as they were, and whatever was tampered with is refused.
#include "tests/support_replay.h"

static void a_replay_file_comes_back_as_it_was(void **state)
{
    (void)state;
    struct sim_record record = record_example();
    struct sim_record back;
    char why[256];
    assert_int_equal(sim_record_write(&record, "a.replay"), 0);
    assert_int_equal(sim_record_read(&back, "a.replay", why, sizeof why), 0);
    assert_string_equal(back.build, record.build);
    assert_int_equal(back.fine, record.fine);
    assert_string_equal(back.scenario, record.scenario);
    assert_string_equal(back.origin, record.origin);
    assert_true(back.seed == record.seed && back.steps_max == record.steps_max);
    assert_string_equal(back.drew, record.drew);
    assert_int_equal(back.verdict, record.verdict);
    assert_string_equal(back.name, record.name);
    assert_string_equal(back.message, record.message);
    assert_true(back.hash == record.hash);
    assert_int_equal(back.deviations_count, 2);
    assert_memory_equal(back.deviations, two_deviations, sizeof two_deviations);
    sim_record_deinit(&back);
    // None at all, and longest texts.
    record.deviations_count = 0;
    memset(record.message, '\n', sizeof record.message - 1);
    memset(record.drew, '\\', sizeof record.drew - 1);
    assert_int_equal(sim_record_write(&record, "a.replay"), 0);
    assert_int_equal(sim_record_read(&back, "a.replay", why, sizeof why), 0);
    assert_string_equal(back.message, record.message);
    assert_string_equal(back.drew, record.drew);
    assert_int_equal(back.deviations_count, 0);
    sim_record_deinit(&back);
}

static void file_put(const char *path, const char *bytes, size_t count)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
}

// Refused, with the file and a line in the message.
static uint32_t record_refused(const char *path, char *why, size_t why_bytes)
{
    struct sim_record record;
    unsigned line = 0;
    char reason = '\0';
    int status = sim_record_read(&record, path, why, why_bytes);
    if (status != WEIR_SIM_EXIT_FILE) {
        print_error("status %d\n", status);
    }
    assert_int_equal(status, WEIR_SIM_EXIT_FILE);
    assert_int_equal(strncmp(why, path, strlen(path)), 0);
    assert_int_equal(sscanf(why + strlen(path), ":%u: %c", &line, &reason), 2);
    return line;
}

static void a_truncated_file_is_refused_wherever_it_ends(void **state)
{
    (void)state;
    struct sim_record record = record_example();
    char bytes[2048];
    char why[256];
    assert_int_equal(sim_record_write(&record, "b.replay"), 0);
    file_slurp("b.replay", bytes, sizeof bytes);
    size_t whole = strlen(bytes);
    for (size_t count = 0; count < whole; count++) {
        file_put("b.replay", bytes, count);
        uint32_t line = record_refused("b.replay", why, sizeof why);
        uint32_t lines = lines_in(bytes, count);
        assert_true(line == lines || line == lines + 1);
        if (count >= 20) { // behind the first line
            assert_says(why, "truncated");
        }
    }
}

static void an_edited_file_is_refused_whatever_was_edited(void **state)
{
    (void)state;
    struct sim_record record = record_example();
    char bytes[2048];
    char why[256];
    assert_int_equal(sim_record_write(&record, "c.replay"), 0);
    file_slurp("c.replay", bytes, sizeof bytes);
    size_t whole = strlen(bytes);
    for (size_t at = 0; at < whole; at++) {
        static const unsigned char changes[] = {1, 2, 0x20, 0x80, 0xff};
        for (size_t change = 0; change < sizeof changes; change++) {
            char before = bytes[at];
            bytes[at] = (char)(bytes[at] ^ (char)changes[change]);
            // 'a' and 'A' are the same hexadecimal digit.
            bool same = at >= whole - 17 && changes[change] == 0x20 && before >= 'a';
            file_put("c.replay", bytes, whole);
            if (!same) {
                (void)record_refused("c.replay", why, sizeof why);
            }
            bytes[at] = '\0';
            file_put("c.replay", bytes, whole);
            (void)record_refused("c.replay", why, sizeof why);
            bytes[at] = before;
        }
    }
    // Lines taken out, and put in twice.
    for (char *line = bytes; *line != '\0'; line = strchr(line, '\n') + 1) {
        char edited[4096];
        size_t length = strcspn(line, "\n") + 1;
        snprintf(edited, sizeof edited, "%.*s%s", (int)(line - bytes), bytes, line + length);
        file_put("c.replay", edited, strlen(edited));
        (void)record_refused("c.replay", why, sizeof why);
        snprintf(edited, sizeof edited, "%.*s%s", (int)(line - bytes + (ptrdiff_t)length), bytes,
                 line);
        file_put("c.replay", edited, strlen(edited));
        (void)record_refused("c.replay", why, sizeof why);
    }
}

// Writes `text` with the checksum that fits it: what a careful forger would do.
static void file_forge(const char *path, const char *text)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (const char *at = text; *at != '\0'; at++) {
        hash = (hash ^ (unsigned char)*at) * UINT64_C(1099511628211);
    }
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fprintf(file, "%send %016llx\n", text, (unsigned long long)hash);
    assert_int_equal(fclose(file), 0);
}

// The example's lines, this one replaced.
static void file_with(const char *path, uint32_t number, const char *replacement)
{
    static const char *const lines[] = {
        "weir-sim replay 1", "build b",     "grain fine", "scenario passes",
        "origin portfolio",  "seed 1",      "steps 0",    "drew nothing",
        "verdict race",      "name n",      "message m",  "hash 0123456789abcdef",
        "deviations 1",      "switch 0 1 2"};
    char text[2048];
    size_t used = 0;
    for (uint32_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        const char *line = i + 1 == number ? replacement : lines[i];
        used += (size_t)snprintf(text + used, sizeof text - used, "%s\n", line);
    }
    file_forge(path, text);
}

static void forged_files_are_refused_at_their_line(void **state)
{
    (void)state;
    static const struct {
        uint32_t line;
        const char *text;
        uint32_t told; // the line of the message, if another
    } cases[] = {
        {1, "weir-sim replay 2", 0},
        {1, "weir-sim replay", 0},
        {1, "weir-sim replay 1 ", 0},
        {1, "#!/bin/sh", 0},
        {2, "build", 0},
        {2, "build ", 0},
        {3, "grain middle", 0},
        {4, "scenario ", 0},
        {5, "seed 1", 0},
        {6, "seed x", 0},
        {6, "seed 18446744073709551616", 0},
        {7, "steps -1", 0},
        {8, "drew x\\", 0},
        {9, "verdict bad", 0},
        {10, "nam n", 0},
        {11, "messagem", 0},
        {12, "hash 0", 0},
        {12, "hash 0123456789abcdeg", 0},
        {13, "deviations 0", 14},
        {13, "deviations 2", 14},
        {13, "deviations 18446744073709551615", 0},
        {14, "swich 0 1 2", 0},
        {14, "switch 0 1", 0},
        {14, "switch 0 1 2 3", 0},
        {14, "switch 0 1 0", 0},
        {14, "switch 80 1 1", 0},
        {14, "switch 0 4294967296 1", 0},
        {14, "switch 0 1 -1", 0},
        {14, "", 0},
    };
    char why[256];
    struct sim_record record;
    file_with("d.replay", 0, NULL);
    assert_int_equal(sim_record_read(&record, "d.replay", why, sizeof why), 0);
    sim_record_deinit(&record);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        print_message("line %u: \"%s\"\n", cases[i].line, cases[i].text);
        file_with("d.replay", cases[i].line, cases[i].text);
        assert_int_equal(record_refused("d.replay", why, sizeof why),
                         cases[i].told == 0 ? cases[i].line : cases[i].told);
    }
}

static void a_file_that_is_not_there_is_a_system_error(void **state)
{
    (void)state;
    struct sim_record record = record_example();
    char why[256];
    assert_int_equal(sim_record_read(&record, "nowhere.replay", why, sizeof why), SIM_EXIT_SYSTEM);
    assert_says(why, "nowhere.replay: No such file");
    assert_int_equal(sim_record_read(&record, ".", why, sizeof why), SIM_EXIT_SYSTEM);
    struct sim_record written = record_example();
    assert_true(sim_record_write(&written, "nowhere/a.replay") < 0);
    assert_true(sim_record_write(&written, "/proc/a.replay") < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_replay_file_comes_back_as_it_was),
        cmocka_unit_test(a_truncated_file_is_refused_wherever_it_ends),
        cmocka_unit_test(an_edited_file_is_refused_whatever_was_edited),
        cmocka_unit_test(forged_files_are_refused_at_their_line),
        cmocka_unit_test(a_file_that_is_not_there_is_a_system_error),
    };
    return cmocka_run_group_tests_name("sim_command_file", tests, folder_enter, folder_leave);
}
