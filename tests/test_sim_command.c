// The weir-sim command: numbers and names, replay files that were tampered with, verdicts and crashes.
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/assert.h"
#include "sim/command.h"

#define OUTPUT_BYTES 65536
#define WORDS_MAX 24

#if defined(__SANITIZE_ADDRESS__)
#define UNDER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UNDER_ASAN 1
#endif
#endif
#ifndef UNDER_ASAN
#define UNDER_ASAN 0
#endif

static char folder[] = "/tmp/weir-sim-command-XXXXXX";
static char output[OUTPUT_BYTES], messages[OUTPUT_BYTES];

// ---- Scenarios ----

static void passes(struct weir_sim *sim)
{
    weir_sim_sometimes(sim, "always-met");
}

static void fails_with(struct weir_sim *sim, enum weir_sim_verdict verdict)
{
    if (weir_sim_draw(sim, "number", 0, 9) == 7) {
        weir_sim_fail(sim, verdict, "seven", "drew 7,\nof course \\ \"quoted\"");
    }
}

static void fails_safety(struct weir_sim *sim)
{
    fails_with(sim, WEIR_SIM_SAFETY);
}
static void fails_liveness(struct weir_sim *sim)
{
    fails_with(sim, WEIR_SIM_LIVENESS);
}
static void fails_leak(struct weir_sim *sim)
{
    fails_with(sim, WEIR_SIM_LEAK);
}
static void fails_race(struct weir_sim *sim)
{
    fails_with(sim, WEIR_SIM_RACE);
}
static void fails_internal(struct weir_sim *sim)
{
    fails_with(sim, WEIR_SIM_INTERNAL);
}

static void fails_two_ways(struct weir_sim *sim)
{
    uint32_t number = weir_sim_draw(sim, "number", 0, 3);
    if (number > 1) {
        weir_sim_fail(sim, number == 2 ? WEIR_SIM_LEAK : WEIR_SIM_SAFETY,
                      number == 2 ? "two" : "three", "drew it");
    }
}

// Of every ten seeds one ends badly, so that others have to be run before and after it.
static bool bad(struct weir_sim *sim)
{
    return weir_sim_draw(sim, "number", 0, 9) == 7;
}

static void crash_null(struct weir_sim *sim)
{
    volatile int *volatile nowhere = NULL;
    if (bad(sim)) {
        *nowhere = 1;
    }
}

static void crash_abort(struct weir_sim *sim)
{
    if (bad(sim)) {
        abort();
    }
}

static void crash_exit(struct weir_sim *sim)
{
    if (bad(sim)) {
        _exit(3);
    }
}

static void crash_exit_zero(struct weir_sim *sim)
{
    if (bad(sim)) {
        _exit(0);
    }
}

static void crash_kill(struct weir_sim *sim)
{
    if (bad(sim)) {
        (void)kill(getpid(), SIGKILL);
    }
}

static void crash_assertion(struct weir_sim *sim)
{
    weir_assert(!bad(sim));
}

static volatile uint32_t depth_max = UINT32_MAX;
static uint32_t descend(uint32_t depth)
{
    volatile char room[512];
    room[depth % sizeof room] = 1;
    return depth == depth_max ? 0 : descend(depth + 1) + (unsigned char)room[depth % sizeof room];
}

static void crash_stack(struct weir_sim *sim)
{
    if (bad(sim)) {
        (void)descend(0);
    }
}

static void endless(struct weir_sim *sim)
{
    static volatile bool never;
    while (bad(sim) && !never) {
        while (!never) {
        }
    }
}

// What it does depends on how often it was run: the fault that `run` must not take for a finding.
static void forgetful(struct weir_sim *sim)
{
    static uint32_t runs;
    weir_sim_check(sim, ++runs != 5, "fifth-time");
}

// Fails in exactly one way of two switches: thread 1 has to be in between.
struct between {
    _Atomic uint32_t value;
    const struct weir_os *os;
};
static void between_main(void *argument)
{
    struct between *it = argument;
    atomic_store_explicit(&it->value, 1, memory_order_relaxed);
    (void)it->os->now_ns(it->os->self);
    atomic_store_explicit(&it->value, 2, memory_order_relaxed);
}
static void interleaves(struct weir_sim *sim)
{
    struct between it = {.value = 0, .os = weir_sim_os(sim)};
    uint32_t actor = weir_sim_start(sim, between_main, &it);
    (void)it.os->now_ns(it.os->self);
    uint32_t seen = atomic_load_explicit(&it.value, memory_order_relaxed);
    weir_sim_note(sim, "saw %u", seen);
    weir_sim_join(sim, actor);
    weir_sim_check(sim, seen != 1, "in-between");
}

#define WORKLOAD (1u << WEIR_SIM_WORK)
static const char *const probes_met[] = {"always-met", NULL};
static const char *const probes_missed[] = {"always-met", "never-met", NULL};
static const struct weir_sim_scenario scenarios[] = {
    {.name = "passes",
     .about = "nothing happens",
     .run = passes,
     .probes = probes_met,
     .probe_seeds = 5,
     .weight = 3},
    {.name = "misses",
     .run = passes,
     .probes = probes_missed,
     .probe_seeds = 5,
     .expects = WEIR_SIM_SAFETY},
    {.name = "fine-only", .run = passes, .fine_only = true},
    {.name = "fails-safety", .run = fails_safety, .kinds = WORKLOAD, .expects = WEIR_SIM_SAFETY},
    {.name = "fails-liveness", .run = fails_liveness, .expects = WEIR_SIM_LIVENESS},
    {.name = "fails-leak", .run = fails_leak, .expects = WEIR_SIM_LEAK},
    {.name = "fails-race", .run = fails_race, .expects = WEIR_SIM_RACE},
    {.name = "fails-internal", .run = fails_internal, .expects = WEIR_SIM_INTERNAL},
    {.name = "fails-two-ways", .run = fails_two_ways, .expects = WEIR_SIM_SAFETY},
    {.name = "crash-null", .run = crash_null, .expects = WEIR_SIM_SAFETY},
    {.name = "crash-abort", .run = crash_abort, .expects = WEIR_SIM_SAFETY},
    {.name = "crash-exit", .run = crash_exit, .expects = WEIR_SIM_SAFETY},
    {.name = "crash-exit-zero", .run = crash_exit_zero, .expects = WEIR_SIM_SAFETY},
    {.name = "crash-kill", .run = crash_kill, .expects = WEIR_SIM_SAFETY},
    {.name = "crash-assertion", .run = crash_assertion, .expects = WEIR_SIM_SAFETY},
    {.name = "crash-stack", .run = crash_stack, .expects = WEIR_SIM_SAFETY},
    {.name = "endless", .run = endless, .expects = WEIR_SIM_LIVENESS},
    {.name = "forgetful", .run = forgetful, .expects = WEIR_SIM_SAFETY},
    {.name = "interleaves", .run = interleaves, .expects = WEIR_SIM_SAFETY},
};
#define SCENARIOS_COUNT (sizeof scenarios / sizeof scenarios[0])

// ---- Running the command in this process ----

static void file_slurp(const char *path, char *text, size_t text_bytes)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t count = fread(text, 1, text_bytes - 1, file);
    text[count] = '\0';
    assert_int_equal(fclose(file), 0);
}

static int fd_redirect(int fd, const char *path)
{
    (void)fflush(NULL);
    int saved = dup(fd);
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(saved >= 0 && file >= 0);
    assert_int_equal(dup2(file, fd), fd);
    (void)close(file);
    return saved;
}

static void fd_restore(int fd, int saved)
{
    (void)fflush(NULL);
    assert_int_equal(dup2(saved, fd), fd);
    (void)close(saved);
}

// The words, separated by blanks, as the command line; what it prints is in output and messages.
static int command(const char *line)
{
    char text[1024];
    char program[] = "weir-sim";
    char *words[WORDS_MAX] = {program};
    int count = 1;
    char *rest = NULL;
    snprintf(text, sizeof text, "%s", line);
    for (char *word = strtok_r(text, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        words[count++] = word;
        assert_true(count < WORDS_MAX);
    }
    int saved_output = fd_redirect(STDOUT_FILENO, "output");
    int saved_messages = fd_redirect(STDERR_FILENO, "messages");
    int status = weir_sim_main(count, words, scenarios, SCENARIOS_COUNT);
    fd_restore(STDOUT_FILENO, saved_output);
    fd_restore(STDERR_FILENO, saved_messages);
    file_slurp("output", output, sizeof output);
    file_slurp("messages", messages, sizeof messages);
    return status;
}

static void assert_says(const char *text, const char *part)
{
    if (strstr(text, part) == NULL) {
        print_error("expected \"%s\" in:\n%s\n", part, text);
    }
    assert_non_null(strstr(text, part));
}

static void assert_silent(const char *text, const char *part)
{
    if (strstr(text, part) != NULL) {
        print_error("did not expect \"%s\" in:\n%s\n", part, text);
    }
    assert_null(strstr(text, part));
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
    static const char *const subcommands[] = {"run",  "replay", "shrink",  "explain", "check",
                                              "hash", "story",  "exhaust", "list"};
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
        const char *command_line = strstr(output, "again:      weir-sim ");
        assert_non_null(command_line);
        command_line += strlen("again:      weir-sim ");
        snprintf(again, sizeof again, "%.*s", (int)strcspn(command_line, "\n"), command_line);
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
    const char *written = strstr(output, "replay file x/weir-sim-fails-safety-");
    assert_non_null(written);
    snprintf(path, sizeof path, "%.*s", (int)strcspn(written + 12, "\n"), written + 12);
    // A directory stands where the file should be: root too cannot write there.
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(command(line), WEIR_SIM_SAFETY);
    assert_says(output, "replay file not written: x/weir-sim-fails-safety-");
    const char *again = strstr(output, "again:      weir-sim run --scenario fails-safety --seeds ");
    assert_non_null(again);
    char rest[256];
    snprintf(rest, sizeof rest, "%.*s", (int)strcspn(again + 21, "\n"), again + 21);
    assert_int_equal(command(rest), WEIR_SIM_SAFETY);
}

static void crashes_are_findings(void **state)
{
    (void)state;
    static const struct {
        const char *scenario, *says, *says_under_asan;
        bool replays; // the process lives on
    } cases[] = {
        {"crash-null", "safety: crash SIGSEGV", "safety: process exited with", true},
        {"crash-abort", "safety: crash SIGABRT", "safety: process killed by signal 6", true},
        {"crash-stack", "safety: crash SIGSEGV", "safety: process ", true},
        {"crash-assertion", "safety: assertion test_sim_command.c:", "safety: assertion", true},
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
        assert_says(output, UNDER_ASAN ? cases[i].says_under_asan : cases[i].says);
        if (!cases[i].replays) {
            assert_says(output, "again:      weir-sim run --scenario crash-");
        } else if (!UNDER_ASAN) {
            const char *again = strstr(output, "again:      weir-sim ");
            assert_non_null(again);
            snprintf(line, sizeof line, "%.*s", (int)strcspn(again + 21, "\n"), again + 21);
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
        bool counted = strcmp(names[i], "crash-null") == 0 && !UNDER_ASAN;
        assert_int_equal(runs, counted ? 60 : 60 - failures);
    }
}

static void a_loop_without_an_end_is_a_liveness_failure(void **state)
{
    (void)state;
    assert_int_equal(command("run --seeds 0..200 --jobs 1 --scenario endless"),
                     UNDER_ASAN ? WEIR_SIM_SAFETY : WEIR_SIM_LIVENESS);
    assert_says(output, UNDER_ASAN ? "process killed by signal 6" : "liveness: endless-loop");
}

static void state_that_survives_runs_is_told(void **state)
{
    (void)state;
    assert_int_equal(command("run --seeds 0..20 --jobs 1 --scenario forgetful"),
                     WEIR_SIM_NONDETERMINISM);
    assert_says(output, "state-survives");
    assert_says(output, "fifth-time");
}

// ---- Replay, shrink, explain, exhaust ----

static void a_failure_shrinks_and_is_explained(void **state)
{
    (void)state;
    char line[512];
    assert_int_equal(command("run --seeds 0..5000 --scenario interleaves --failures y"),
                     WEIR_SIM_SAFETY);
    const char *again = strstr(output, "again:      weir-sim replay ");
    assert_non_null(again);
    char path[256];
    snprintf(path, sizeof path, "%.*s", (int)strcspn(again + 28, "\n"), again + 28);
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

// ---- ----

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
        cmocka_unit_test(a_failure_shrinks_and_is_explained),
        cmocka_unit_test(records_that_do_not_fit_are_told),
        cmocka_unit_test(a_search_finds_the_failure_or_says_that_there_is_none),
        cmocka_unit_test(hashes_do_not_depend_on_poison_or_company),
    };
    return cmocka_run_group_tests_name("sim_command", tests, folder_enter, folder_leave);
}
