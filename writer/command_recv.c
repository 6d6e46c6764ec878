// `weir recv`: a plain collector for trying things out. Options, set-up and the summary.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "writer/command_collect.h"

static const char command[] = "recv";

static int help_print(void)
{
    puts(
        "usage: weir recv --listen ENDPOINT [--OPTION VALUE]...\n"
        "\n"
        "A plain collector for trying things out: receives from any number of connections and "
        "writes\n"
        "one record per line to standard output.\n"
        "\n"
        "  --listen ENDPOINT     tcp://host:port unix:/path unix-dgram:/path udp://host:port; "
        "required.\n"
        "                        A socket file that nobody answers on is replaced\n"
        "  --to-file FILE        append to FILE instead, whole records\n"
        "  --count               write nothing, only count\n"
        "  --framing NAME        newline (default), octet-counting, or auto: by the first bytes of "
        "a\n"
        "                        connection, digits and a space being octet counting\n"
        "  --slow BYTES          read only so many bytes per second and connection\n"
        "  --drop-after N        close each connection after N records; go on listening\n"
        "  --exit-after N        end after N records\n"
        "  --once                end when the first sender has: on TCP when no connection is open\n"
        "                        and none has come for a second, as senders change connections\n"
        "  --quiet               no notes and no summary on standard error\n"
        "\n"
        "An unfinished record at the end of a connection is reported and not written. SIGTERM and\n"
        "SIGINT end it after reading what has arrived; a second one, at once.\n"
        "\n"
        "Exit status: 0; 2 bad usage; 4 cannot listen or write.");
    return weir_command_finish_output(command, WEIR_EXIT_GOOD);
}

static int text_take(struct weir_arguments *arguments, const char **text)
{
    *text = weir_arguments_value(arguments);
    return *text == NULL ? WEIR_EXIT_USAGE : 0;
}

static int flag_take(const struct weir_arguments *arguments, bool *flag)
{
    *flag = true;
    return weir_arguments_flag(arguments) ? 0 : WEIR_EXIT_USAGE;
}

static int framing_take(struct weir_arguments *arguments, enum weir_unframing *unframing)
{
    const char *name = weir_arguments_value(arguments);
    if (name == NULL) {
        return WEIR_EXIT_USAGE;
    }
    if (strcmp(name, "newline") == 0) {
        *unframing = WEIR_UNFRAMING_NEWLINE;
    } else if (strcmp(name, "octet-counting") == 0) {
        *unframing = WEIR_UNFRAMING_OCTETS;
    } else if (strcmp(name, "auto") == 0) {
        *unframing = WEIR_UNFRAMING_AUTO;
    } else {
        return weir_command_refuse(command,
                                   "--framing: \"%s\" is not newline, octet-counting or "
                                   "auto",
                                   name);
    }
    return 0;
}

static int option_take(struct weir_collect *collect, struct weir_arguments *arguments)
{
    const char *name = arguments->name;
    if (strcmp(name, "listen") == 0) {
        return text_take(arguments, &collect->endpoint);
    }
    if (strcmp(name, "to-file") == 0) {
        return text_take(arguments, &collect->file);
    }
    if (strcmp(name, "framing") == 0) {
        return framing_take(arguments, &collect->unframing);
    }
    if (strcmp(name, "slow") == 0) {
        return weir_arguments_number(arguments, 1, 1000000000000, &collect->slow_bytes);
    }
    if (strcmp(name, "drop-after") == 0) {
        return weir_arguments_number(arguments, 1, 1000000000000, &collect->drop_after);
    }
    if (strcmp(name, "exit-after") == 0) {
        return weir_arguments_number(arguments, 1, 1000000000000, &collect->exit_after);
    }
    if (strcmp(name, "count") == 0) {
        return flag_take(arguments, &collect->count_only);
    }
    if (strcmp(name, "once") == 0) {
        return flag_take(arguments, &collect->once);
    }
    if (strcmp(name, "quiet") == 0) {
        return flag_take(arguments, &collect->quiet);
    }
    return weir_command_refuse(command, "unknown option %s",
                               arguments->values[arguments->next - 1]);
}

// returns 0, or an exit status plus one, so that --help can end the command too.
static int arguments_take(struct weir_collect *collect, int count, char **values)
{
    struct weir_arguments arguments = {.command = command, .values = values, .count = count};
    enum weir_argument kind = weir_arguments_next(&arguments);
    for (; kind != WEIR_ARGUMENT_END; kind = weir_arguments_next(&arguments)) {
        if (kind == WEIR_ARGUMENT_OPERAND) {
            return weir_command_refuse(command, "unexpected \"%s\"", arguments.operand) + 1;
        }
        if (strcmp(arguments.name, "help") == 0) {
            return help_print() + 1;
        }
        int status = option_take(collect, &arguments);
        if (status != 0) {
            return status + 1;
        }
    }
    if (collect->endpoint == NULL) {
        return weir_command_refuse(command, "--listen is missing: where to listen, for example "
                                            "--listen tcp://127.0.0.1:5140") +
               1;
    }
    if (collect->file != NULL && collect->count_only) {
        return weir_command_refuse(command, "--to-file and --count contradict each other") + 1;
    }
    return 0;
}

// The descriptor the records go to, -1 for none. returns 0 or an exit status, said.
static int output_open(struct weir_collect *collect)
{
    int fd = collect->count_only ? -1 : STDOUT_FILENO;
    if (collect->file != NULL) {
        fd = open(collect->file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0644);
        if (fd < 0) {
            weir_command_say(command, "--to-file: %s: %s", collect->file, strerror(errno));
            return WEIR_EXIT_SYSTEM;
        }
    }
    if (weir_output_init(&collect->output, fd) != 0) {
        weir_command_say(command, "no memory");
        return WEIR_EXIT_SYSTEM;
    }
    collect->output.patient = weir_collect_patient;
    collect->output.context = collect;
    return 0;
}

// Signals become a descriptor, before anything can be left behind by one.
static int signals_open(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    (void)pthread_sigmask(SIG_BLOCK, &signals, NULL);
    (void)signal(SIGPIPE, SIG_IGN); // a reader who left is an error of write(2)
    int fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int runtime_open(struct weir_collect *collect, int signal_fd)
{
    struct weir_runtime_options options = {.workers = 0};
    int code = weir_runtime_create(&collect->runtime, &options);
    if (code == 0) {
        code = weir_stream_open(&collect->signals, collect->runtime, signal_fd);
    }
    if (code == 0) {
        code = weir_stream_open(&collect->listener, collect->runtime, collect->socket.fd);
    }
    if (code == 0) {
        weir_notify_init(&collect->stop, collect->runtime);
    }
    return code;
}

static int summarize(const struct weir_collect *collect, int code)
{
    if (!collect->quiet) {
        char records[WEIR_NUMBER_TEXT_BYTES];
        char bytes[WEIR_NUMBER_TEXT_BYTES];
        weir_command_say(command,
                         "%s records, %s bytes, %llu connections, %llu unfinished records, "
                         "%llu faults",
                         weir_number_text(records, collect->records),
                         weir_number_text(bytes, collect->bytes),
                         (unsigned long long)collect->connections,
                         (unsigned long long)collect->torn, (unsigned long long)collect->faults);
    }
    if (collect->output.error != 0) {
        weir_command_say(command, "%s: %s: some records were not written",
                         collect->file == NULL ? "standard output" : collect->file,
                         strerror(collect->output.error));
    }
    if (code < 0) {
        weir_command_say(command, "%s", weir_command_error_text(code));
    }
    return collect->output.error != 0 || code < 0 ? WEIR_EXIT_SYSTEM : WEIR_EXIT_GOOD;
}

int weir_command_recv(int count, char **values)
{
    struct weir_collect collect = {.unframing = WEIR_UNFRAMING_NEWLINE};
    int status = arguments_take(&collect, count, values);
    if (status != 0) {
        return status - 1;
    }
    int signal_fd = signals_open();
    status = output_open(&collect);
    if (status == 0) {
        status = weir_listener_open(&collect.socket, command, "listen", collect.endpoint);
    }
    if (status != 0) {
        weir_output_deinit(&collect.output);
        return status;
    }
    int code = signal_fd < 0 ? signal_fd : runtime_open(&collect, signal_fd);
    if (code == 0) {
        if (!collect.quiet) {
            weir_command_say(command, "listening on %s", collect.endpoint);
        }
        code = weir_collect_run(&collect);
    }
    status = summarize(&collect, code);
    weir_stream_close(&collect.signals);
    weir_stream_close(&collect.listener);
    weir_listener_unlink(&collect.socket);
    if (collect.runtime != NULL) {
        weir_runtime_destroy(collect.runtime);
    }
    weir_output_deinit(&collect.output);
    return status;
}
