// A failure's report: runs the seed again, says what broke, and leaves a replay file.
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sim/command.h"

#define PATH_BYTES 1024

// ---- Commands for the reader's shell ----

// Quoted if the shell would take it apart.
static void word_print(FILE *file, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_./-+,=:@%";
    if (word[0] != '\0' && word[strspn(word, plain)] == '\0') {
        fputs(word, file);
        return;
    }
    fputc('\'', file);
    for (; *word != '\0'; word++) {
        fputs(*word == '\'' ? "'\\''" : (const char[]){*word, '\0'}, file);
    }
    fputc('\'', file);
}

// One command that makes the run again: from the file, or if there is none from the seed.
static char *again_make(const struct sim_command *command, const char *scenario, uint64_t seed,
                        const char *path)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *file = open_memstream(&text, &bytes);
    if (file == NULL) {
        return NULL;
    }
    word_print(file, command->program);
    if (path != NULL) {
        fputs(" replay ", file);
        word_print(file, path);
    } else {
        fprintf(file, " run --scenario %s --seeds %" PRIu64, scenario, seed);
        if (command->strategy != WEIR_SIM_PORTFOLIO) {
            fprintf(file, " --strategy %s", sim_strategy_label(command->strategy));
        }
        if (command->steps_max != 0) {
            fprintf(file, " --steps %" PRIu64, command->steps_max);
        }
        if (command->poison != SIM_POISON_DEFAULT) {
            fprintf(file, " --poison %u", command->poison);
        }
    }
    return fclose(file) == 0 ? text : NULL;
}

// ---- The report ----

// Everything about a failed run, gathered before the simulator runs again.
struct report {
    const struct sim_command *command;
    struct sim_record record;
    struct weir_sim_deviation *deviations;
    uint64_t decisions, duration_ns;
    char *last_events;
    char *again;
    bool by_seed; // a seed finds it again
    char path[PATH_BYTES];
    int write_code;    // 0: the file is there
    char differs[160]; // what came out differently when the record was replayed; or empty
};

static bool report_gather(struct report *report, struct weir_sim *sim, uint32_t scenario,
                          uint64_t seed, const char *origin, const struct weir_sim_result *result)
{
    const struct sim_command *command = report->command;
    size_t bytes = result->deviations_count * sizeof *report->deviations;
    size_t events_bytes = 0;
    FILE *events = open_memstream(&report->last_events, &events_bytes);
    report->deviations = malloc(bytes + 1);
    if (events == NULL || report->deviations == NULL) {
        return false;
    }
    sim_trace_last(sim->trace, events);
    if (fclose(events) != 0) {
        return false;
    }
    if (bytes > 0) {
        memcpy(report->deviations, result->deviations, bytes);
    }
    sim_record_fill(&report->record, command, sim, scenario, seed, origin, result);
    report->record.deviations = report->deviations;
    report->decisions = result->decisions;
    report->duration_ns = result->duration_ns;
    return true;
}

static void file_write(struct report *report)
{
    const struct sim_record *record = &report->record;
    const char *folder = report->command->failures == NULL ? "." : report->command->failures;
    char which[32];
    snprintf(which, sizeof which, "%" PRIu64, record->seed);
    int length = snprintf(report->path, sizeof report->path, "%s/weir-sim-%s-%s.replay", folder,
                          record->scenario, report->by_seed ? which : record->origin);
    report->write_code = length < 0 || (size_t)length >= sizeof report->path
                             ? -ENAMETOOLONG
                             : sim_record_write(record, report->path);
}

// Whether the record alone leads to the same events.
static void record_try(struct report *report, struct weir_sim *sim, uint32_t scenario)
{
    const struct sim_record *record = &report->record;
    const struct weir_sim_options options = {.deviations = record->deviations,
                                             .deviations_count = record->deviations_count,
                                             .steps_max = record->steps_max,
                                             .poison = report->command->poison};
    struct weir_sim_result result;
    weir_sim_run(sim, &report->command->scenarios[scenario], &options, &result);
    if (result.verdict != record->verdict || strcmp(result.name, record->name) != 0) {
        snprintf(report->differs, sizeof report->differs, "replayed it ends with: %s %s",
                 sim_verdict_label(result.verdict), result.name);
    } else if (result.hash != record->hash) {
        snprintf(report->differs, sizeof report->differs,
                 "replayed its hash is %016" PRIx64 ", not %016" PRIx64, result.hash, record->hash);
    }
}

static void report_print(const struct report *report)
{
    const struct sim_record *record = &report->record;
    char path_line[PATH_BYTES + 128];
    char *message = sim_symbols_resolve(record->message);
    char *last_events = sim_symbols_resolve(report->last_events);
    printf("FAILED      %s: %s\n", sim_verdict_label(record->verdict), record->name);
    printf("what        %s\n", message == NULL ? record->message : message);
    printf("scenario    %s\n", record->scenario);
    if (report->by_seed) {
        printf("seed        %" PRIu64 "\n", record->seed);
    }
    printf("drew        %s\n", record->drew);
    printf("deviations  %zu of %" PRIu64 " decisions, in %" PRIu64 " virtual ns\n",
           record->deviations_count, report->decisions, report->duration_ns);
    printf("hash        %016" PRIx64 "\n", record->hash);
    printf("last events\n%s", last_events == NULL ? report->last_events : last_events);
    if (report->write_code != 0) {
        snprintf(path_line, sizeof path_line, "not written: %s: %s", report->path,
                 strerror(-report->write_code));
    } else {
        snprintf(path_line, sizeof path_line, "%s", report->path);
    }
    printf("replay file %s\n", path_line);
    if (report->differs[0] != '\0') {
        printf("NOT REPEATABLE: %s\n", report->differs);
    }
    printf("again:      %s\n", report->again);
    free(message);
    free(last_events);
}

static void report_json(const struct report *report)
{
    const struct sim_record *record = &report->record;
    struct sim_json json;
    sim_json_open(&json, stdout);
    sim_json_text(&json, "event", "failure");
    sim_json_text(&json, "verdict", sim_verdict_label(record->verdict));
    sim_json_text(&json, "name", record->name);
    sim_json_text(&json, "message", record->message);
    sim_json_text(&json, "scenario", record->scenario);
    if (report->by_seed) {
        sim_json_number(&json, "seed", record->seed);
    }
    sim_json_text(&json, "origin", record->origin);
    sim_json_text(&json, "drew", record->drew);
    sim_json_hash(&json, "hash", record->hash);
    sim_json_number(&json, "decisions", report->decisions);
    sim_json_number(&json, "virtual_ns", report->duration_ns);
    sim_json_deviations(&json, record->deviations, record->deviations_count);
    sim_json_text(&json, "last_events", report->last_events);
    sim_json_text(&json, "replay_file", report->write_code == 0 ? report->path : "");
    sim_json_text(&json, "not_repeatable", report->differs);
    sim_json_text(&json, "again", report->again);
    sim_json_close(&json);
}

enum weir_sim_verdict sim_failure_tell(const struct sim_command *command, struct weir_sim *sim,
                                       uint32_t scenario, const uint64_t *seed, const char *origin,
                                       const struct weir_sim_result *result)
{
    struct report report = {.command = command, .by_seed = seed != NULL};
    enum weir_sim_verdict verdict = result->verdict;
    if (!report_gather(&report, sim, scenario, seed == NULL ? 0 : *seed, origin, result)) {
        sim_say(command, "no memory for the report: %s: %s", result->name, result->message);
    } else {
        file_write(&report);
        record_try(&report, sim, scenario);
        bool from_file = (report.write_code == 0 && report.differs[0] == '\0') || seed == NULL;
        report.again = again_make(command, report.record.scenario, report.record.seed,
                                  from_file ? report.path : NULL);
        if (sim_option_given(command, SIM_OPTION_JSON)) {
            report_json(&report);
        } else {
            report_print(&report);
        }
        verdict = report.differs[0] == '\0' ? verdict : WEIR_SIM_NONDETERMINISM;
    }
    free(report.deviations);
    free(report.last_events);
    free(report.again);
    return verdict;
}

// ---- In a fresh process ----

// A run of which nothing is left, or that came out differently.
static void report_short(const struct sim_command *command, const struct sim_failure *failure,
                         enum weir_sim_verdict verdict, const char *name, const char *message)
{
    const char *scenario = command->scenarios[failure->scenario].name;
    char *again = again_make(command, scenario, failure->seed, NULL);
    if (sim_option_given(command, SIM_OPTION_JSON)) {
        struct sim_json json;
        sim_json_open(&json, stdout);
        sim_json_text(&json, "event", "failure");
        sim_json_text(&json, "verdict", sim_verdict_label(verdict));
        sim_json_text(&json, "name", name);
        sim_json_text(&json, "message", message);
        sim_json_text(&json, "scenario", scenario);
        sim_json_number(&json, "seed", failure->seed);
        sim_json_text(&json, "replay_file", "");
        sim_json_text(&json, "again", again == NULL ? "" : again);
        sim_json_close(&json);
    } else {
        printf("FAILED      %s: %s\n", sim_verdict_label(verdict), name);
        printf("what        %s\n", message);
        printf("scenario    %s\n", scenario);
        printf("seed        %" PRIu64 "\n", failure->seed);
        printf("again:      %s\n", again == NULL ? "" : again);
    }
    free(again);
}

static enum weir_sim_verdict child_run(const struct sim_command *command,
                                       const struct sim_failure *failure)
{
    struct weir_sim *sim = sim_command_simulator(command);
    struct weir_sim_result result;
    if (sim == NULL) {
        return WEIR_SIM_INTERNAL;
    }
    sim_command_run(command, sim, failure->scenario, failure->seed, NULL, &result);
    if ((uint32_t)result.verdict == failure->verdict && strcmp(result.name, failure->name) == 0 &&
        result.hash == failure->hash) {
        return sim_failure_tell(command, sim, failure->scenario, &failure->seed,
                                sim_strategy_label(command->strategy), &result);
    }
    char message[1400];
    snprintf(message, sizeof message,
             "it failed with %s: %s: %s; in a process that ran nothing before it ends with %s %s, "
             "hash %016" PRIx64 " instead of %016" PRIx64 ": something survives from run to run",
             sim_verdict_label((enum weir_sim_verdict)failure->verdict), failure->name,
             failure->message, sim_verdict_label(result.verdict), result.name, result.hash,
             failure->hash);
    report_short(command, failure, WEIR_SIM_NONDETERMINISM, "state-survives", message);
    return WEIR_SIM_NONDETERMINISM;
}

enum weir_sim_verdict sim_failure_report(const struct sim_command *command,
                                         const struct sim_failure *failure)
{
    enum weir_sim_verdict verdict = (enum weir_sim_verdict)failure->verdict;
    if (failure->died != 0) {
        report_short(command, failure, verdict, failure->name, failure->message);
        return verdict;
    }
    (void)fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        int status = (int)child_run(command, failure);
        _exit(sim_finish_output(command, status));
    }
    int wait_status = 0;
    while (child > 0 && waitpid(child, &wait_status, 0) < 0 && errno == EINTR) {
    }
    int status = child > 0 && WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : WEIR_SIM_PASS;
    if (status == (int)verdict || status == WEIR_SIM_NONDETERMINISM) {
        return (enum weir_sim_verdict)status;
    }
    report_short(command, failure, verdict, failure->name, failure->message);
    return verdict;
}
