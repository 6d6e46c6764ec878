// The `weir-sim` command: what its subcommands share.
//
// It is a host of the simulator like any other, linked into libweir-sim so that everybody's
// scenarios get the same command: weir_sim_main. Scenarios run in processes of their own (run,
// exhaust) or in this one; code under test that crashes is a verdict in both. Results go to
// standard output, messages to standard error as "weir-sim COMMAND: what: why".
#ifndef WEIR_SIM_COMMAND_H
#define WEIR_SIM_COMMAND_H

#include <sys/types.h>

#include "sim/sim.h"

// Further exit statuses, not part of the interface of weir_sim.h.
enum sim_command_exit {
    SIM_EXIT_SYSTEM = 4,        // a file, a process or memory could not be had
    SIM_EXIT_INTERRUPTED = 130, // 128 + SIGINT, as a shell would report it
    SIM_EXIT_TERMINATED = 143
};

#define SIM_NS_PER_S UINT64_C(1000000000)
#define SIM_JOBS_MAX 256
#define SIM_POISON_DEFAULT 0xa5 // neither a small number nor, eight times, an address
#define SIM_TEXT_BYTES 2048     // of one line of a report, such as sim_run_describe's

// ---- Options (command_options.c, command_values.c, command_select.c) ----

// X(name, word, value or NULL for a flag, what it does).
#define SIM_OPTIONS(X)                                                                             \
    X(SIM_OPTION_SEEDS, "seeds", "A..B", "these seeds, both included; one number is one seed")     \
    X(SIM_OPTION_SCENARIO, "scenario", "S[,S]", "only these scenarios (weir-sim list)")            \
    X(SIM_OPTION_STRATEGY, "strategy", "NAME", "who answers the decisions (default portfolio)")    \
    X(SIM_OPTION_JOBS, "jobs", "N", "worker processes (default: one per CPU)")                     \
    X(SIM_OPTION_BUDGET, "budget", "TIME", "stop after this long: 90s, 10m, 2h")                   \
    X(SIM_OPTION_CPU_BUDGET, "cpu-budget", "TIME", "stop after this much processor time in all")  \
    X(SIM_OPTION_FAILURES, "failures", "DIR", "where replay files go (default: this directory)")   \
    X(SIM_OPTION_KEEP_GOING, "keep-going", NULL, "do not stop at the first failure")               \
    X(SIM_OPTION_DEVIATIONS, "deviations", "N", "at most this many deviations in a run")           \
    X(SIM_OPTION_RUNS, "runs", "N", "stop after this many runs")                                   \
    X(SIM_OPTION_OUTPUT, "output", "FILE", "where the result goes, also -o FILE")                  \
    X(SIM_OPTION_FORCE, "force", NULL, "take a file of another build")                             \
    X(SIM_OPTION_CONTEXT, "context", "N", "events told around each deviation (default 6)")         \
    X(SIM_OPTION_STEPS, "steps", "N", "more preemption points in a run are a livelock")            \
    X(SIM_OPTION_POISON, "poison", "N", "byte in fresh stacks and freed memory; may not matter")   \
    X(SIM_OPTION_JSON, "json", NULL, "one JSON object per line")                                   \
    X(SIM_OPTION_HELP, "help", NULL, "this text")

#define SIM_OPTION_ENUM(name, ...) name,
enum sim_option { SIM_OPTIONS(SIM_OPTION_ENUM) SIM_OPTIONS_COUNT };
#undef SIM_OPTION_ENUM

struct sim_subcommand;

// What the command was told.
struct sim_command {
    const struct sim_subcommand *subcommand;
    const char *program; // as it was called
    const struct weir_sim_scenario *scenarios;
    uint32_t scenarios_count;

    uint32_t given; // a set of 1u << enum sim_option
    uint64_t seed_first, seed_last;
    uint32_t *selected; // indices of the scenarios asked for, in the table's order
    uint32_t selected_count;
    enum weir_sim_strategy strategy;
    uint32_t jobs;
    uint64_t budget_ns, cpu_budget_ns; // 0: none
    const char *failures, *output, *file;
    uint32_t deviations_max, context;
    uint64_t runs_max, steps_max;
    uint8_t poison;
};

struct sim_subcommand {
    const char *name;
    const char *arguments; // of the usage line
    const char *about;
    uint32_t options; // a set of 1u << enum sim_option
    bool takes_file;
    int (*run)(struct sim_command *command); // returns the exit status
};

// Reads the words after the subcommand's name.
//   returns  true: go on; false: end with *status, everything has been said.
bool sim_options_parse(struct sim_command *command, int count, char **values, int *status);
bool sim_option_given(const struct sim_command *command, enum sim_option option);
// Without --scenario puts all that must pass in this grain into command->selected.
//   returns  0, or WEIR_SIM_EXIT_USAGE, said.
int sim_options_select(struct sim_command *command);
// Whether all scenarios were asked for, so that weights count.
bool sim_options_all(const struct sim_command *command);
// Refuses unless --seeds was given; selects the scenarios. returns  as sim_options_select.
int sim_options_seeds_needed(struct sim_command *command);
// Makes the directory for replay files, and makes sure that it can be written.
//   returns  as sim_options_select.
int sim_options_failures(const struct sim_command *command);
// "5", "0x10", "0..99". Decimal or hexadecimal, up to 2^64-1.
bool sim_option_seeds(const char *text, uint64_t *first, uint64_t *last);
// "60", "60s", "500ms", "10m", "2h"; at most 30 days, at least 1 ms.
bool sim_option_duration(const char *text, uint64_t *duration_ns);
// A number, decimal or hexadecimal, from least to most.
bool sim_option_number(const char *text, uint64_t least, uint64_t most, uint64_t *number);

// ---- Names (command_names.c) ----

const char *sim_verdict_label(enum weir_sim_verdict verdict);
const char *sim_kind_label(enum weir_sim_kind kind);
const char *sim_kind_about(enum weir_sim_kind kind);
const char *sim_strategy_label(enum weir_sim_strategy strategy);
bool sim_verdict_find(const char *label, enum weir_sim_verdict *verdict);
bool sim_kind_find(const char *label, uint32_t *kind);
bool sim_strategy_find(const char *label, enum weir_sim_strategy *strategy);
bool sim_scenario_find(const struct sim_command *command, const char *name, uint32_t *index);
// Of two verdicts the one that is told first: the simulator's own faults, then by severity.
enum weir_sim_verdict sim_verdict_worse(enum weir_sim_verdict a, enum weir_sim_verdict b);

// Writes "; did you mean a, b?": the candidates nearest to what was typed; nothing if none is near.
void sim_nearest(const char *typed, const char *const *candidates, size_t candidates_count,
                 char *text, size_t text_bytes);

// ---- Messages and output (command_output.c) ----

// "weir-sim COMMAND: TEXT\n" in one write; clears a progress line that stands there.
void sim_say(const struct sim_command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
// The same, and where to find help. returns WEIR_SIM_EXIT_USAGE.
int sim_refuse(const struct sim_command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
// Flushes standard output. returns `status`, or SIM_EXIT_SYSTEM, said, when that failed.
int sim_finish_output(const struct sim_command *command, int status);
uint64_t sim_clock_ns(void); // the real, monotonic one
// "12 345 678", for tables. memory: `text` holds 32 bytes.
const char *sim_grouped(uint64_t number, char *text);

// One JSON object, written member by member.
struct sim_json {
    FILE *file;
    bool begun;
};
void sim_json_open(struct sim_json *json, FILE *file);
void sim_json_text(struct sim_json *json, const char *name, const char *value);
void sim_json_number(struct sim_json *json, const char *name, uint64_t value);
void sim_json_bool(struct sim_json *json, const char *name, bool value);
void sim_json_hash(struct sim_json *json, const char *name, uint64_t value); // 16 digits
// An array member: the caller writes its elements with these.
void sim_json_array_open(struct sim_json *json, const char *name);
void sim_json_element(struct sim_json *json, const char *value);
void sim_json_array_close(struct sim_json *json);
void sim_json_deviations(struct sim_json *json, const struct weir_sim_deviation *deviations,
                         size_t deviations_count);
void sim_json_close(struct sim_json *json); // and a newline

// ---- Build (command_build.c) ----

// FNV-1a, 64 bits (Fowler, Noll, Vo), of more bytes. Tells accidents, not forgers.
#define SIM_FNV_START UINT64_C(14695981039346656037)
uint64_t sim_fnv(uint64_t hash, const void *bytes, size_t bytes_count);
// The running program's build id, as hexadecimal digits: its GNU note, else a hash of its file.
const char *sim_build_id(void);
// Where a code position lies: "+0x1a2b" in the program, "libc.so.6+0x1a2b" elsewhere.
void sim_build_position(const void *where, char *text, size_t text_bytes);
// The text with the program's code positions, " +0x1a2b", as "function file:line", where
// addr2line(1) is there and knows them; else as it was.
//   memory   the caller frees it; NULL: none left.
char *sim_symbols_resolve(const char *text);

// ---- Runs (command_crash.c; records: command_record.c) ----

// A simulator for this process, and from now on a crash in a scenario is a verdict (SIGSEGV,
// SIGABRT, ...), as is a loop that takes 5 s of CPU time without an event. Under ASan crashes are
// left to it.
//   returns  NULL: no memory, said.
struct weir_sim *sim_command_simulator(const struct sim_command *command);
// One run of this scenario, by seed, as the options say. `story` may be NULL.
void sim_command_run(const struct sim_command *command, struct weir_sim *sim, uint32_t scenario,
                     uint64_t seed, FILE *story, struct weir_sim_result *result);

// ---- Replay files (command_file.c, command_file_read.c) ----

#define SIM_RECORD_MAGIC "weir-sim replay "
#define SIM_RECORD_VERSION 1

struct sim_record {
    char build[80];
    bool fine;
    char scenario[64];
    char origin[32]; // what answered when it was found; it, seed and drew are for the reader
    uint64_t seed;
    uint64_t steps_max; // 0: the scenario's
    char drew[SIM_TEXT_BYTES];
    enum weir_sim_verdict verdict;
    char name[64];
    char message[512];
    uint64_t hash;
    const struct weir_sim_deviation *deviations;
    size_t deviations_count;
    struct weir_sim_deviation *owned; // the same, of a file that was read; malloc
};
// Writes it under another name, then renames, so that two at once leave a whole file.
//   returns  0 or -errno.
int sim_record_write(const struct sim_record *record, const char *path);
// Reads and checks a file.
//   returns  0, or the exit status (WEIR_SIM_EXIT_FILE, SIM_EXIT_SYSTEM) with `why` filled:
//            "FILE:LINE: reason".
int sim_record_read(struct sim_record *record, const char *path, char *why, size_t why_bytes);
void sim_record_deinit(struct sim_record *record);
// From the simulator's last run; its deviations are borrowed: no deinit.
void sim_record_fill(struct sim_record *record, const struct sim_command *command,
                     const struct weir_sim *sim, uint32_t scenario, uint64_t seed,
                     const char *origin, const struct weir_sim_result *result);

// A record to work on, and the simulator for it.
struct sim_case {
    struct sim_record record;
    uint32_t index;                    // of its scenario
    struct weir_sim_scenario scenario; // a copy, with the record's bound of steps
    struct weir_sim *sim;
};
// Reads command->file. Refuses another build's record unless forced, which is then only said.
//   returns  0, or the exit status, said.
int sim_case_open(struct sim_case *it, const struct sim_command *command);
void sim_case_close(struct sim_case *it);
// Runs the record's deviations.
void sim_case_run(struct sim_case *it, const struct sim_command *command, FILE *story,
                  struct weir_sim_result *result);
// Says what came out otherwise than recorded. returns  the exit status: that of the verdict, or
// WEIR_SIM_NONDETERMINISM; a forced record may differ.
int sim_case_judge(const struct sim_case *it, const struct sim_command *command,
                   const struct weir_sim_result *result, char *text, size_t text_bytes);

// ---- Failures (command_failure.c) ----

// What a run that did not pass tells the parent: small enough for one atomic write to a pipe.
struct sim_failure {
    uint64_t seed;
    uint64_t turn_seed; // the one of --seeds that this run was made for: differs under a weight
    uint64_t hash;
    uint32_t scenario;
    uint32_t verdict;
    uint32_t died; // the process itself ended: there is nothing but the message
    char name[64];
    char message[512];
};
// Runs the seed again in a fresh process, which prints the report and writes the replay file.
//   returns  the verdict: that of the failure, or WEIR_SIM_NONDETERMINISM when it came out
//            differently.
enum weir_sim_verdict sim_failure_report(const struct sim_command *command,
                                         const struct sim_failure *failure);
// The same of the simulator's last run, in this process. It is replayed from its record.
//   seed     NULL: none led to it.
//   origin   what answered: a strategy, or "exhaust".
enum weir_sim_verdict sim_failure_tell(const struct sim_command *command, struct weir_sim *sim,
                                       uint32_t scenario, const uint64_t *seed, const char *origin,
                                       const struct weir_sim_result *result);

// ---- Hashes and stories (command_hash.c) ----

#define SIM_HASH_LINE_BYTES 256
// "HASH SEED SCENARIO VERDICT NAME": the line that `hash` prints of a run, no newline.
//   memory   `line` holds SIM_HASH_LINE_BYTES.
void sim_hash_line(const struct sim_command *command, uint32_t scenario, uint64_t seed,
                   const struct weir_sim_result *result, char *line);
// Runs it and writes every event, then the hash line.
void sim_story_tell(const struct sim_command *command, struct weir_sim *sim, uint32_t scenario,
                    uint64_t seed, FILE *file);

// ---- The subcommands ----

int sim_command_run_seeds(struct sim_command *command);
int sim_command_replay(struct sim_command *command);
int sim_command_shrink(struct sim_command *command);
int sim_command_explain(struct sim_command *command);
int sim_command_convert(struct sim_command *command);
int sim_command_check(struct sim_command *command);
int sim_command_hash(struct sim_command *command);
int sim_command_story(struct sim_command *command);
int sim_command_exhaust(struct sim_command *command);
int sim_command_list(struct sim_command *command);

#endif
