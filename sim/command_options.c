// Options: the words after a subcommand's name.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sim/command.h"

#define CONTEXT_DEFAULT 6
#define CONTEXT_MAX 100000

struct option {
    const char *word;
    const char *value; // NULL: a flag
    const char *about;
};
static const struct option options[] = {
#define OPTION(name, word, value, about) [name] = {word, value, about},
    SIM_OPTIONS(OPTION)
#undef OPTION
};

bool sim_option_given(const struct sim_command *command, enum sim_option option)
{
    return (command->given & 1u << option) != 0;
}

// ---- Taking them ----

static int number_take(const struct sim_command *command, enum sim_option option, const char *text,
                       uint64_t least, uint64_t most, uint64_t *number)
{
    if (sim_option_number(text, least, most, number)) {
        return 0;
    }
    return sim_refuse(command, "--%s: \"%s\" is not a whole number from %llu to %llu",
                      options[option].word, text, (unsigned long long)least,
                      (unsigned long long)most);
}

static int number32_take(const struct sim_command *command, enum sim_option option,
                         const char *text, uint32_t least, uint32_t most, uint32_t *number)
{
    uint64_t value = 0;
    int status = number_take(command, option, text, least, most, &value);
    if (status == 0) {
        *number = (uint32_t)value;
    }
    return status;
}

static int strategy_take(struct sim_command *command, const char *text)
{
    const char *names[WEIR_SIM_STRATEGIES_COUNT];
    char nearest[256];
    if (sim_strategy_find(text, &command->strategy)) {
        return 0;
    }
    for (uint32_t i = 0; i < WEIR_SIM_STRATEGIES_COUNT; i++) {
        names[i] = sim_strategy_label((enum weir_sim_strategy)i);
    }
    sim_nearest(text, names, WEIR_SIM_STRATEGIES_COUNT, nearest, sizeof nearest);
    return sim_refuse(command, "--strategy: unknown strategy \"%s\"%s", text, nearest);
}

static const char *const *scenario_names(const struct sim_command *command)
{
    const char **names = calloc(command->scenarios_count + 1, sizeof *names);
    for (uint32_t i = 0; names != NULL && i < command->scenarios_count; i++) {
        names[i] = command->scenarios[i].name;
    }
    return names;
}

// The comma-separated names, each once.
static int scenarios_take(struct sim_command *command, const char *text)
{
    while (true) {
        char name[128];
        char nearest[256] = "";
        size_t length = strcspn(text, ",");
        uint32_t index = 0;
        snprintf(name, sizeof name, "%.*s", (int)(length < 127 ? length : 127), text);
        if (!sim_scenario_find(command, name, &index)) {
            const char *const *names = scenario_names(command);
            if (names != NULL) {
                sim_nearest(name, names, command->scenarios_count, nearest, sizeof nearest);
                free((void *)names);
            }
            return sim_refuse(command, "--scenario: unknown scenario \"%s\"%s", name, nearest);
        }
        bool listed = false;
        for (uint32_t i = 0; i < command->selected_count; i++) {
            listed = listed || command->selected[i] == index;
        }
        if (!listed) {
            command->selected[command->selected_count++] = index;
        }
        if (text[length] == '\0') {
            return 0;
        }
        text += length + 1;
    }
}

static int time_take(const struct sim_command *command, enum sim_option option, const char *text,
                     uint64_t *time_ns)
{
    return sim_option_duration(text, time_ns)
               ? 0
               : sim_refuse(command, "--%s: \"%s\" is not a time like 90s, 10m or 2h",
                            options[option].word, text);
}

static int value_take(struct sim_command *command, enum sim_option option, const char *text)
{
    uint32_t byte = 0;
    int status = 0;
    switch (option) {
    case SIM_OPTION_SEEDS:
        return sim_option_seeds(text, &command->seed_first, &command->seed_last)
                   ? 0
                   : sim_refuse(command,
                                "--seeds: \"%s\" is neither a number nor a range like 0..99", text);
    case SIM_OPTION_BUDGET: return time_take(command, option, text, &command->budget_ns);
    case SIM_OPTION_CPU_BUDGET: return time_take(command, option, text, &command->cpu_budget_ns);
    case SIM_OPTION_SCENARIO: return scenarios_take(command, text);
    case SIM_OPTION_STRATEGY: return strategy_take(command, text);
    case SIM_OPTION_JOBS:
        return number32_take(command, option, text, 1, SIM_JOBS_MAX, &command->jobs);
    case SIM_OPTION_DEVIATIONS:
        return number32_take(command, option, text, 0, 1000, &command->deviations_max);
    case SIM_OPTION_CONTEXT:
        return number32_take(command, option, text, 0, CONTEXT_MAX, &command->context);
    case SIM_OPTION_RUNS:
        return number_take(command, option, text, 1, UINT64_MAX, &command->runs_max);
    case SIM_OPTION_STEPS:
        return number_take(command, option, text, 1, UINT64_MAX, &command->steps_max);
    case SIM_OPTION_POISON:
        status = number32_take(command, option, text, 0, 255, &byte);
        command->poison = (uint8_t)byte;
        return status;
    case SIM_OPTION_FAILURES: command->failures = text; return 0;
    case SIM_OPTION_OUTPUT: command->output = text; return 0;
    default: return 0; // flags have no value
    }
}

// ---- Words ----

static void help_print(const struct sim_subcommand *subcommand)
{
    printf("usage: weir-sim %s %s\n\n%s\n\n", subcommand->name, subcommand->arguments,
           subcommand->about);
    for (uint32_t i = 0; i < SIM_OPTIONS_COUNT; i++) {
        if ((subcommand->options & 1u << i) != 0) {
            char left[64];
            snprintf(left, sizeof left, "--%s%s%s", options[i].word,
                     options[i].value == NULL ? "" : " ",
                     options[i].value == NULL ? "" : options[i].value);
            printf("  %-20s %s\n", left, options[i].about);
        }
    }
    if ((subcommand->options & 1u << SIM_OPTION_STRATEGY) != 0) {
        puts("\nStrategies:");
#define STRATEGY(name, label, about) printf("  %-20s %s\n", label, about);
        WEIR_SIM_STRATEGIES(STRATEGY)
#undef STRATEGY
    }
}

static int option_unknown(const struct sim_command *command, const char *word)
{
    const char *words[SIM_OPTIONS_COUNT];
    size_t count = 0;
    char nearest[256];
    for (uint32_t i = 0; i < SIM_OPTIONS_COUNT; i++) {
        if ((command->subcommand->options & 1u << i) != 0) {
            words[count++] = options[i].word;
        }
    }
    sim_nearest(word, words, count, nearest, sizeof nearest);
    return sim_refuse(command, "unknown option --%s%s", word, nearest);
}

// The option of this name among those the subcommand takes; SIM_OPTIONS_COUNT: none.
static enum sim_option option_find(const struct sim_command *command, const char *word)
{
    for (uint32_t i = 0; i < SIM_OPTIONS_COUNT; i++) {
        if ((command->subcommand->options & 1u << i) != 0 && strcmp(options[i].word, word) == 0) {
            return (enum sim_option)i;
        }
    }
    return SIM_OPTIONS_COUNT;
}

// The option that begins at values[*next]; moves on over it and its value.
static int option_take(struct sim_command *command, int count, char **values, int *next)
{
    const char *text = values[(*next)++];
    const char *full = strcmp(text, "-h") == 0 ? "help" : strcmp(text, "-o") == 0 ? "output" : text;
    full += full[0] != '-' ? 0 : full[1] == '-' ? 2 : 1;
    char word[64];
    size_t length = strcspn(full, "=");
    snprintf(word, sizeof word, "%.*s", (int)(length < 63 ? length : 63), full);
    const char *value = full[length] == '=' ? full + length + 1 : NULL;
    enum sim_option option = option_find(command, word);
    if (option == SIM_OPTIONS_COUNT) {
        return option_unknown(command, word);
    }
    command->given |= 1u << option;
    if (options[option].value == NULL) {
        return value == NULL ? 0
                             : sim_refuse(command, "--%s: takes no value, not \"%s\"", word, value);
    }
    if (value == NULL && *next < count) {
        value = values[(*next)++];
    }
    return value == NULL ? sim_refuse(command, "--%s: a value is missing", word)
                         : value_take(command, option, value);
}

static int operand_take(struct sim_command *command, const char *text)
{
    if (!command->subcommand->takes_file) {
        return sim_refuse(command, "\"%s\" is one word too many", text);
    }
    if (command->file != NULL) {
        return sim_refuse(command, "one file at a time, not \"%s\" as well", text);
    }
    command->file = text;
    return 0;
}

bool sim_options_parse(struct sim_command *command, int count, char **values, int *status)
{
    bool operands_only = false;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    command->jobs = processors < 1              ? 1
                    : processors > SIM_JOBS_MAX ? SIM_JOBS_MAX
                                                : (uint32_t)processors;
    command->context = CONTEXT_DEFAULT;
    command->poison = SIM_POISON_DEFAULT;
    command->selected = calloc(command->scenarios_count + 1, sizeof *command->selected);
    if (command->selected == NULL) {
        sim_say(command, "no memory");
        *status = SIM_EXIT_SYSTEM;
        return false;
    }
    for (int next = 0; next < count;) {
        const char *text = values[next];
        if (!operands_only && strcmp(text, "--") == 0) {
            operands_only = true;
            next++;
            continue;
        }
        bool operand = operands_only || text[0] != '-' || text[1] == '\0';
        *status = operand ? operand_take(command, values[next++])
                          : option_take(command, count, values, &next);
        if (*status != 0) {
            return false;
        }
        if (sim_option_given(command, SIM_OPTION_HELP)) {
            help_print(command->subcommand);
            *status = sim_finish_output(command, WEIR_SIM_PASS);
            return false;
        }
    }
    if (command->subcommand->takes_file && command->file == NULL) {
        *status = sim_refuse(command, "FILE is missing: a replay file that \"run\" wrote");
        return false;
    }
    return true;
}
