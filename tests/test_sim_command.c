// The weir-sim command in this process: bad words, verdicts, crashes, replays, shrinking.
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

// CMocka's own handlers would go on with the tests in a worker that crashes. Where the command has
// none of its own, under ASan, the default shall kill it.
static const int crash_signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
#define CRASH_SIGNALS_COUNT (sizeof crash_signals / sizeof crash_signals[0])

static int command_call(int count, char **words)
{
    struct sigaction saved[CRASH_SIGNALS_COUNT];
    const struct sigaction ordinary = {.sa_handler = SIG_DFL};
    for (size_t i = 0; i < CRASH_SIGNALS_COUNT; i++) {
        assert_int_equal(sigaction(crash_signals[i], &ordinary, &saved[i]), 0);
    }
    int status = weir_sim_main(count, words, scenarios, SCENARIOS_COUNT);
    for (size_t i = 0; i < CRASH_SIGNALS_COUNT; i++) {
        assert_int_equal(sigaction(crash_signals[i], &saved[i], NULL), 0);
    }
    return status;
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
    int status = command_call(count, words);
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

static uint32_t lines_in(const char *bytes, size_t count)
{
    uint32_t lines = 0;
    for (size_t i = 0; i < count; i++) {
        lines += bytes[i] == '\n' ? 1 : 0;
    }
    return lines;
}

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
        {"crash-null", "safety: crash SIGSEGV", "safety: process ", true},
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

// From a run that failed to a fuzzer's input and back: the same run, which shrinks as ever.
static void a_replay_file_and_an_input_become_each_other(void **state)
{
    (void)state;
    char line[512];
    struct sim_record found;
    struct sim_record back;
    char why[256];
    assert_int_equal(command("run --seeds 0..5000 --scenario interleaves --failures y"),
                     WEIR_SIM_SAFETY);
    const char *again = strstr(output, "again:      weir-sim replay ");
    assert_non_null(again);
    char path[256];
    snprintf(path, sizeof path, "%.*s", (int)strcspn(again + 28, "\n"), again + 28);
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
        cmocka_unit_test(a_replay_file_and_an_input_become_each_other),
        cmocka_unit_test(records_that_do_not_fit_are_told),
        cmocka_unit_test(a_search_finds_the_failure_or_says_that_there_is_none),
        cmocka_unit_test(hashes_do_not_depend_on_poison_or_company),
    };
    return cmocka_run_group_tests_name("sim_command", tests, folder_enter, folder_leave);
}
