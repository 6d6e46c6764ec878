// weir_sim_main: finds the subcommand and reads its options.
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sim/command.h"

#define OPTION(name) (1u << SIM_OPTION_##name)
#define EACH_TAKES (OPTION(JSON) | OPTION(HELP))
#define OF_A_RUN (OPTION(SCENARIO) | OPTION(STRATEGY) | OPTION(STEPS) | OPTION(POISON))

static const struct sim_subcommand subcommands[] = {
    {.name = "run",
     .arguments = "[--seeds A..B] [--budget TIME] [--scenario S[,S]] [OPTION]...",
     .about =
         "Runs every scenario with every seed until one fails. Without seeds: from 0 until the\n"
         "budget, 60 s, is used up. A failure prints what broke and writes a replay file.",
     .options = EACH_TAKES | OF_A_RUN | OPTION(SEEDS) | OPTION(JOBS) | OPTION(BUDGET) |
                OPTION(CPU_BUDGET) | OPTION(FAILURES) | OPTION(KEEP_GOING),
     .run = sim_command_run_seeds},
    {.name = "replay",
     .arguments = "FILE [--force]",
     .about = "Runs a failure again from its replay file; ends with the status of its verdict.",
     .options = EACH_TAKES | OPTION(FORCE) | OPTION(POISON),
     .takes_file = true,
     .run = sim_command_replay},
    {.name = "shrink",
     .arguments = "FILE [-o OUT]",
     .about = "Leaves out deviations as long as the same thing breaks; writes FILE.shrunk, or OUT.",
     .options = EACH_TAKES | OPTION(FORCE) | OPTION(OUTPUT),
     .takes_file = true,
     .run = sim_command_shrink},
    {.name = "explain",
     .arguments = "FILE",
     .about = "Tells a failure as a story: each deviation, and what happened around it.",
     .options = EACH_TAKES | OPTION(FORCE) | OPTION(CONTEXT),
     .takes_file = true,
     .run = sim_command_explain},
    {.name = "convert",
     .arguments = "FILE [-o OUT]",
     .about =
         "Makes a replay file, FILE.replay, of an input of the fuzzer's, by running it; of a\n"
         "replay file such an input, FILE.input, of its scenario and its deviations alone.",
     .options = OPTION(HELP) | OPTION(OUTPUT) | OPTION(STEPS) | OPTION(POISON),
     .takes_file = true,
     .run = sim_command_convert},
    {.name = "check",
     .arguments = "--seeds A..B [--scenario S[,S]]",
     .about = "Runs each seed twice here and once in another process, which differs in its\n"
              "environment, directory, addresses and poison, and compares what happened.",
     .options = EACH_TAKES | OF_A_RUN | OPTION(SEEDS),
     .run = sim_command_check},
    {.name = "hash",
     .arguments = "--seeds A..B [--scenario S[,S]]",
     .about = "Prints a line per run: its hash, seed, scenario and verdict. The same in every\n"
              "process, compiler and architecture.",
     .options = EACH_TAKES | OF_A_RUN | OPTION(SEEDS),
     .run = sim_command_hash},
    {.name = "story",
     .arguments = "--scenario S --seeds N",
     .about = "Prints every event of one run.",
     .options = OPTION(HELP) | OF_A_RUN | OPTION(SEEDS),
     .run = sim_command_story},
    {.name = "exhaust",
     .arguments = "--scenario S --deviations N [--runs N]",
     .about = "Makes all runs of a tiny scenario with at most N deviations.",
     .options = EACH_TAKES | OPTION(SCENARIO) | OPTION(DEVIATIONS) | OPTION(RUNS) | OPTION(STEPS) |
                OPTION(FAILURES),
     .run = sim_command_exhaust},
    {.name = "list",
     .arguments = "[--json]",
     .about = "Lists the scenarios, their probes and what they are expected to end with.",
     .options = EACH_TAKES,
     .run = sim_command_list},
};
#define SUBCOMMANDS_COUNT (sizeof subcommands / sizeof subcommands[0])

static const struct sim_subcommand *subcommand_find(const char *name)
{
    for (size_t i = 0; i < SUBCOMMANDS_COUNT; i++) {
        if (strcmp(subcommands[i].name, name) == 0) {
            return &subcommands[i];
        }
    }
    return NULL;
}

static void usage_print(FILE *to)
{
    fputs("usage: weir-sim COMMAND [--OPTION VALUE]...\n\n", to);
    for (size_t i = 0; i < SUBCOMMANDS_COUNT; i++) {
        fprintf(to, "  weir-sim %-8s%s\n", subcommands[i].name, subcommands[i].arguments);
    }
    fputs("\n"
          "  weir-sim COMMAND --help    what it does, and its options\n"
          "  weir-sim --version         version, grain and build id\n"
          "\n"
          "Exit status: 0 pass, 2 usage, 4 system, 10 safety, 11 liveness, 12 nondeterminism,\n"
          "13 leak, 14 data race, 15 the simulator itself, 16 a probe was never met, 17 replay "
          "file,\n"
          "18 replay file of another build, 130 interrupted.\n",
          to);
}

static int version_print(const struct sim_command *command)
{
    printf("weir-sim %s, %s grain, build %s\n", WEIR_VERSION,
           weir_sim_fine() ? "fine" : "coarse", sim_build_id());
    return sim_finish_output(command, WEIR_SIM_PASS);
}

static int unknown_refuse(const struct sim_command *command, const char *word)
{
    const char *names[SUBCOMMANDS_COUNT];
    char nearest[256];
    for (size_t i = 0; i < SUBCOMMANDS_COUNT; i++) {
        names[i] = subcommands[i].name;
    }
    sim_nearest(word, names, SUBCOMMANDS_COUNT, nearest, sizeof nearest);
    return sim_refuse(command, "unknown command \"%s\"%s", word, nearest);
}

static int subcommand_run(struct sim_command *command, int count, char **values)
{
    int status = 0;
    if (sim_options_parse(command, count, values, &status)) {
        status = command->subcommand->run(command);
        status = sim_finish_output(command, status);
    }
    free(command->selected);
    return status;
}

static int word_take(struct sim_command *command, int argc, char **argv)
{
    const char *word = argv[1];
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0 || strcmp(word, "version") == 0) {
        return version_print(command);
    }
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) {
        if (argc == 2) {
            usage_print(stdout);
            return sim_finish_output(command, WEIR_SIM_PASS);
        }
        char help[] = "--help";
        char *values[] = {help, NULL};
        command->subcommand = subcommand_find(argv[2]);
        return command->subcommand == NULL ? unknown_refuse(command, argv[2])
                                           : subcommand_run(command, 1, values);
    }
    command->subcommand = subcommand_find(word);
    return command->subcommand == NULL ? unknown_refuse(command, word)
                                       : subcommand_run(command, argc - 2, argv + 2);
}

// A standard descriptor that is closed would be given to the next file opened. Opened the wrong way
// round, it still says that it cannot be read or written.
static bool descriptors_ensure(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        int flags = fd == STDIN_FILENO ? O_WRONLY : O_RDONLY;
        if (fcntl(fd, F_GETFD) == -1 && open("/dev/null", flags) != fd) {
            return false;
        }
    }
    return true;
}

int weir_sim_main(int argc, char **argv, const struct weir_sim_scenario *scenarios,
                  size_t scenarios_count)
{
    struct sim_command command = {.program = argc > 0 ? argv[0] : "weir-sim",
                                  .scenarios = scenarios,
                                  .scenarios_count = (uint32_t)scenarios_count};
    if (!descriptors_ensure()) {
        return SIM_EXIT_SYSTEM;
    }
    if (argc < 2) {
        usage_print(stderr);
        return WEIR_SIM_EXIT_USAGE;
    }
    return word_take(&command, argc, argv);
}
