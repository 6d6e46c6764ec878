// The weir-sim command's parts: numbers, names, JSON, replay files that were tampered with.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "sim/command.h"

static char folder[] = "/tmp/weir-sim-file-XXXXXX";

static void file_slurp(const char *path, char *text, size_t text_bytes)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t count = fread(text, 1, text_bytes - 1, file);
    text[count] = '\0';
    assert_int_equal(fclose(file), 0);
}

static void assert_says(const char *text, const char *part)
{
    if (strstr(text, part) == NULL) {
        print_error("expected \"%s\" in:\n%s\n", part, text);
    }
    assert_non_null(strstr(text, part));
}

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

// ---- Replay files ----

static const struct weir_sim_deviation two_deviations[] = {{WEIR_SIM_SWITCH, 0, 12, 1},
                                                           {WEIR_SIM_STALE, 1, UINT32_MAX, 2}};

static struct sim_record record_example(void)
{
    struct sim_record record = {.fine = true,
                                .seed = UINT64_MAX,
                                .steps_max = 5000,
                                .verdict = WEIR_SIM_RACE,
                                .hash = 0x0123456789abcdef,
                                .deviations = two_deviations,
                                .deviations_count = 2};
    strcpy(record.build, "0123456789abcdef0123456789abcdef01234567");
    strcpy(record.scenario, "passes");
    strcpy(record.origin, "portfolio");
    strcpy(record.drew, "strategy=pct depth=2");
    strcpy(record.name, "a name \\n");
    strcpy(record.message, "one\ntwo \\ three\n");
    return record;
}

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

static uint32_t lines_in(const char *bytes, size_t count)
{
    uint32_t lines = 0;
    for (size_t i = 0; i < count; i++) {
        lines += bytes[i] == '\n' ? 1 : 0;
    }
    return lines;
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

static int folder_enter(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL || chdir(folder) != 0;
}

static int folder_leave(void **state)
{
    (void)state;
    char line[128];
    snprintf(line, sizeof line, "rm -rf '%s'", folder);
    return chdir("/") != 0 || system(line) != 0; // NOLINT: a path of our own making
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
        cmocka_unit_test(a_replay_file_comes_back_as_it_was),
        cmocka_unit_test(a_truncated_file_is_refused_wherever_it_ends),
        cmocka_unit_test(an_edited_file_is_refused_whatever_was_edited),
        cmocka_unit_test(forged_files_are_refused_at_their_line),
        cmocka_unit_test(a_file_that_is_not_there_is_a_system_error),
    };
    return cmocka_run_group_tests_name("sim_command_file", tests, folder_enter, folder_leave);
}
