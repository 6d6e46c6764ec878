// The `weir` command: finds the subcommand.
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "writer/command.h"

static void usage_print(FILE *to)
{
    fputs("usage: weir COMMAND [--OPTION VALUE]...\n"
          "\n"
          "  weir send --to ENDPOINT [FILE]...   ship standard input or files, line by line\n"
          "  weir recv --listen ENDPOINT         receive, for trying things out\n"
          "  weir demo                           watch a collector die and no line get lost\n"
          "\n"
          "  weir COMMAND --help                 all options of a command\n"
          "  weir --version\n"
          "\n"
          "An ENDPOINT is tcp://host:port, unix:/path, unix-dgram:/path or udp://host:port.\n",
          to);
}

struct subcommand {
    const char *name;
    int (*run)(int count, char **values);
};
static const struct subcommand subcommands[] = {
    {"send", weir_command_send},
    {"recv", weir_command_recv},
    {"demo", weir_command_demo},
};

static const struct subcommand *subcommand_find(const char *name)
{
    for (size_t i = 0; i < sizeof(subcommands) / sizeof(subcommands[0]); i++) {
        if (strcmp(subcommands[i].name, name) == 0) {
            return &subcommands[i];
        }
    }
    return NULL;
}

// A standard descriptor that is closed would be given to the next socket, and messages would go to
// the collector. Opened the wrong way round, it still says that it cannot be read or written.
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

int main(int argc, char **argv)
{
    if (!descriptors_ensure()) {
        return WEIR_EXIT_SYSTEM;
    }
    if (argc < 2) {
        usage_print(stderr);
        return WEIR_EXIT_USAGE;
    }
    const char *word = argv[1];
    const struct subcommand *subcommand = subcommand_find(word);
    if (subcommand != NULL) {
        return subcommand->run(argc - 2, argv + 2);
    }
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0 || strcmp(word, "version") == 0) {
        puts("weir " WEIR_VERSION);
        return weir_command_finish_output(NULL, WEIR_EXIT_GOOD);
    }
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) {
        subcommand = argc > 2 ? subcommand_find(argv[2]) : NULL;
        if (subcommand != NULL) {
            char help[] = "--help";
            char *values[] = {help, NULL};
            return subcommand->run(1, values);
        }
        if (argc > 2) {
            return weir_command_refuse(NULL, "help: there is no command \"%s\"", argv[2]);
        }
        usage_print(stdout);
        return weir_command_finish_output(NULL, WEIR_EXIT_GOOD);
    }
    if (word[0] == '-') {
        return weir_command_refuse(NULL,
                                   "unknown option \"%s\" (a command comes first: send, "
                                   "recv, demo)",
                                   word);
    }
    return weir_command_refuse(NULL, "unknown command \"%s\"; there are send, recv and demo", word);
}
