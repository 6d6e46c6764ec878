// `weir-sim check`: whether a run is a function of its seed and of nothing else.
//
// Each seed runs twice here, and once in a process of the same program that differs in what must
// not matter: size of the environment, working directory, poison, and by itself the addresses of
// everything (address space randomisation). The other process runs at the same time and its hash
// lines are compared as they come.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sim/command.h"

#define STORY_LINE_BYTES 512
#define CONTEXT_LINES 4
#define PADDING_BYTES 5000
#define OTHER_POISON 0x5a

// ---- The other process ----

struct other {
    pid_t process;
    FILE *lines;
};

// Its arguments: subcommand, seeds, scenario, strategy, poison, steps and the program's name.
struct arguments {
    char seeds[64], poison[8], steps[32];
    char *words[16];
    int count;
};

static void word_add(struct arguments *arguments, const char *word)
{
    arguments->words[arguments->count++] = (char *)(uintptr_t)word; // execv(3) leaves them alone
}

static void arguments_make(struct arguments *arguments, const struct sim_command *command,
                           const char *subcommand, const char *scenarios, uint64_t first,
                           uint64_t last)
{
    snprintf(arguments->seeds, sizeof arguments->seeds, "%" PRIu64 "..%" PRIu64, first, last);
    snprintf(arguments->poison, sizeof arguments->poison, "%d", command->poison ^ OTHER_POISON);
    snprintf(arguments->steps, sizeof arguments->steps, "%" PRIu64, command->steps_max);
    arguments->count = 0;
    word_add(arguments, command->program);
    word_add(arguments, subcommand);
    word_add(arguments, "--seeds");
    word_add(arguments, arguments->seeds);
    word_add(arguments, "--scenario");
    word_add(arguments, scenarios);
    word_add(arguments, "--strategy");
    word_add(arguments, sim_strategy_label(command->strategy));
    word_add(arguments, "--poison");
    word_add(arguments, arguments->poison);
    if (command->steps_max != 0) {
        word_add(arguments, "--steps");
        word_add(arguments, arguments->steps);
    }
    arguments->words[arguments->count] = NULL;
}

static _Noreturn void other_become(struct arguments *arguments, int to, pid_t parent)
{
    char padding[PADDING_BYTES];
    memset(padding, 'x', sizeof padding - 1);
    padding[sizeof padding - 1] = '\0';
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent && setenv("WEIR_SIM_PADDING", padding, 1) == 0 && chdir("/") == 0 &&
        dup2(to, STDOUT_FILENO) >= 0) {
        (void)execv("/proc/self/exe", arguments->words);
    }
    _exit(SIM_EXIT_SYSTEM);
}

static int other_start(struct other *other, const struct sim_command *command,
                       const char *subcommand, const char *scenarios, uint64_t first, uint64_t last)
{
    struct arguments arguments;
    int ends[2];
    arguments_make(&arguments, command, subcommand, scenarios, first, last);
    if (pipe2(ends, O_CLOEXEC) != 0) {
        sim_say(command, "pipe: %s", strerror(errno));
        return SIM_EXIT_SYSTEM;
    }
    pid_t parent = getpid();
    (void)fflush(NULL);
    other->process = fork();
    if (other->process == 0) {
        other_become(&arguments, ends[1], parent);
    }
    (void)close(ends[1]);
    other->lines = fdopen(ends[0], "r");
    if (other->process < 0 || other->lines == NULL) {
        sim_say(command, "another process: %s", strerror(errno));
        (void)close(ends[0]);
        return SIM_EXIT_SYSTEM;
    }
    return 0;
}

// It may still be writing: then it ends by the closed pipe.
static void other_end(struct other *other)
{
    (void)fclose(other->lines);
    (void)kill(other->process, SIGKILL);
    while (waitpid(other->process, NULL, 0) < 0 && errno == EINTR) {
    }
}

static bool line_read(FILE *file, char *line, size_t line_bytes)
{
    if (fgets(line, (int)line_bytes, file) == NULL) {
        return false;
    }
    line[strcspn(line, "\n")] = '\0';
    return true;
}

// ---- The first line that differs ----

// Prints it with a few lines before, which are the same in both, and a few after.
static bool stories_compare(FILE *one, FILE *two)
{
    char before[CONTEXT_LINES][STORY_LINE_BYTES];
    char line_one[STORY_LINE_BYTES];
    char line_two[STORY_LINE_BYTES];
    uint64_t number = 0;
    rewind(one);
    while (true) {
        bool more_one = line_read(one, line_one, sizeof line_one);
        bool more_two = line_read(two, line_two, sizeof line_two);
        if (!more_one && !more_two) {
            return false;
        }
        if (!more_one || !more_two || strcmp(line_one, line_two) != 0) {
            break;
        }
        memcpy(before[number % CONTEXT_LINES], line_one, sizeof line_one);
        number++;
    }
    printf("the stories differ from line %" PRIu64 " on\n", number + 1);
    for (uint64_t i = number < CONTEXT_LINES ? 0 : number - CONTEXT_LINES; i < number; i++) {
        printf("  %s\n", before[i % CONTEXT_LINES]);
    }
    printf("- %s\n", feof(one) != 0 ? "(the end)" : line_one);
    for (int i = 0; i < CONTEXT_LINES && line_read(one, line_one, sizeof line_one); i++) {
        printf("- %s\n", line_one);
    }
    printf("+ %s\n", feof(two) != 0 ? "(the end)" : line_two);
    for (int i = 0; i < CONTEXT_LINES && line_read(two, line_two, sizeof line_two); i++) {
        printf("+ %s\n", line_two);
    }
    return true;
}

struct check {
    const struct sim_command *command;
    struct weir_sim *sim;
    uint64_t runs, differences;
};

static void stories_tell(struct check *check, uint32_t scenario, uint64_t seed, bool elsewhere)
{
    const struct sim_command *command = check->command;
    struct other other = {.process = 0};
    FILE *one = tmpfile();
    FILE *two = elsewhere ? NULL : tmpfile();
    bool good = one != NULL && (elsewhere || two != NULL);
    if (good) {
        sim_story_tell(command, check->sim, scenario, seed, one);
        if (elsewhere) {
            good = other_start(&other, command, "story", command->scenarios[scenario].name, seed,
                               seed) == 0;
            two = other.lines;
        } else {
            sim_story_tell(command, check->sim, scenario, seed, two);
            rewind(two);
        }
    }
    if (good && !stories_compare(one, two)) {
        puts("told as stories they are the same: the difference depends on the runs before");
    }
    if (one != NULL) {
        (void)fclose(one);
    }
    if (other.process > 0) {
        other_end(&other);
    } else if (two != NULL) {
        (void)fclose(two);
    }
}

static void difference_tell(struct check *check, uint32_t scenario, uint64_t seed,
                            const char *where, const char *one, const char *two)
{
    check->differences++;
    if (sim_option_given(check->command, SIM_OPTION_JSON)) {
        struct sim_json json;
        sim_json_open(&json, stdout);
        sim_json_text(&json, "event", "difference");
        sim_json_text(&json, "where", where);
        sim_json_text(&json, "scenario", check->command->scenarios[scenario].name);
        sim_json_number(&json, "seed", seed);
        sim_json_text(&json, "one", one);
        sim_json_text(&json, "other", two);
        sim_json_close(&json);
        return;
    }
    printf("NOT REPEATABLE: %s\n- %s\n+ %s\n", where, one, two);
    stories_tell(check, scenario, seed, strcmp(where, "in another process") == 0);
}

// ---- All seeds ----

// returns  whether to go on: a difference ends the check.
static bool seed_check(struct check *check, FILE *others, uint32_t scenario, uint64_t seed)
{
    const struct sim_command *command = check->command;
    struct weir_sim_result result;
    char first[SIM_HASH_LINE_BYTES];
    char second[SIM_HASH_LINE_BYTES];
    char other[SIM_HASH_LINE_BYTES];
    sim_command_run(command, check->sim, scenario, seed, NULL, &result);
    sim_hash_line(command, scenario, seed, &result, first);
    sim_command_run(command, check->sim, scenario, seed, NULL, &result);
    sim_hash_line(command, scenario, seed, &result, second);
    check->runs++;
    if (!line_read(others, other, sizeof other)) {
        snprintf(other, sizeof other, "(it ended without an answer)");
    }
    if (strcmp(first, second) != 0) {
        difference_tell(check, scenario, seed, "in the same process", first, second);
        return false;
    }
    if (strcmp(first, other) != 0) {
        difference_tell(check, scenario, seed, "in another process", first, other);
        return false;
    }
    return true;
}

static void end_print(const struct check *check, uint64_t elapsed_ns)
{
    if (sim_option_given(check->command, SIM_OPTION_JSON)) {
        struct sim_json json;
        sim_json_open(&json, stdout);
        sim_json_text(&json, "event", "end");
        sim_json_number(&json, "runs", check->runs);
        sim_json_number(&json, "differences", check->differences);
        sim_json_number(&json, "elapsed_ns", elapsed_ns);
        sim_json_close(&json);
        return;
    }
    char grouped[32];
    printf("%s runs, each three times, in %" PRIu64 ".%" PRIu64 " s: %s\n",
           sim_grouped(check->runs, grouped), elapsed_ns / SIM_NS_PER_S,
           elapsed_ns / (SIM_NS_PER_S / 10) % 10,
           check->differences == 0 ? "the same hashes" : "NOT REPEATABLE");
}

// The selected scenarios' names as the option has them; the caller frees it.
static char *scenarios_join(const struct sim_command *command)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *file = open_memstream(&text, &bytes);
    if (file == NULL) {
        return NULL;
    }
    for (uint32_t i = 0; i < command->selected_count; i++) {
        fprintf(file, "%s%s", i == 0 ? "" : ",", command->scenarios[command->selected[i]].name);
    }
    return fclose(file) == 0 ? text : NULL;
}

int sim_command_check(struct sim_command *command)
{
    int status = sim_options_seeds_needed(command);
    if (status != 0) {
        return status;
    }
    struct check check = {.command = command, .sim = sim_command_simulator(command)};
    struct other other;
    char *scenarios = scenarios_join(command);
    uint64_t begun_ns = sim_clock_ns();
    status = check.sim == NULL || scenarios == NULL
                 ? SIM_EXIT_SYSTEM
                 : other_start(&other, command, "hash", scenarios, command->seed_first,
                               command->seed_last);
    if (status == 0) {
        uint64_t seed = command->seed_first;
        for (bool more = true; more; seed++) {
            more = seed != command->seed_last;
            for (uint32_t i = 0; i < command->selected_count && check.differences == 0; i++) {
                more = seed_check(&check, other.lines, command->selected[i], seed) && more;
            }
        }
        other_end(&other);
        end_print(&check, sim_clock_ns() - begun_ns);
        status = check.differences == 0 ? WEIR_SIM_PASS : WEIR_SIM_NONDETERMINISM;
    }
    free(scenarios);
    weir_sim_destroy(check.sim);
    return status;
}
