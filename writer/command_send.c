// `weir send`: ships standard input or files, line by line.
//
// The main thread reads and logs; the control thread (command_control.c) handles signals, deadlines
// and progress. A line that cannot be taken is counted and said, never cut or merged.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "runtime/assert.h"
#include "runtime/limits.h"
#include "writer/command.h"
#include "writer/options.h"

static const char command[] = "send";

// A writer that is in the middle of a line goes on within this.
#define COMPLETE_NS (250 * WEIR_NS_PER_MS)
#define COMPLETE_STEP_MS 50

enum send_stats { SEND_STATS_NONE, SEND_STATS_TABLE, SEND_STATS_PROMETHEUS };

struct send {
    struct weir_pool_options options;
    uint64_t workers;
    uint64_t close_timeout_ms;
    enum send_stats stats;
    char **files; // the operands
    int files_count;
    struct weir_control control;
    struct weir_lines lines;
    uint64_t begun_ns;
    bool too_long_said;
    bool unreadable; // a file, or the rest of one
};

// ---- Options ----

static void option_print(const char *name, const char *syntax, const char *help)
{
    printf("  --%s%s%s\n", name, syntax[0] == '\0' ? "" : " ", syntax);
    size_t column = 0;
    while (*help != '\0') {
        size_t word = strcspn(help, " ");
        if (column == 0 || column + 1 + word > 88) {
            printf("%s        %.*s", column == 0 ? "" : "\n", (int)word, help);
            column = 8 + word;
        } else {
            printf(" %.*s", (int)word, help);
            column += 1 + word;
        }
        help += word + strspn(help + word, " ");
    }
    putchar('\n');
}

static void pool_option_print(const struct weir_option *option)
{
    char name[64];
    char help[400];
    size_t length = strlen(option->name);
    weir_assert(length < sizeof(name));
    for (size_t i = 0; i <= length; i++) {
        name[i] = option->name[i] == '_' ? '-' : option->name[i];
    }
    // The one default that is another one here: a pipe can wait, a host's log call must not.
    const char *initial = strcmp(option->name, "full") == 0 ? "block" : option->initial;
    snprintf(help, sizeof(help), "%s%s%s%s", option->help, initial[0] == '\0' ? "" : " (default ",
             initial, initial[0] == '\0' ? "" : ")");
    option_print(name, option->syntax, help);
}

static int help_print(void)
{
    puts("usage: weir send --to ENDPOINT [--OPTION VALUE]... [FILE]...\n"
         "\n"
         "Ships standard input (also \"-\"), or files one after the other, line by line. A last "
         "line\n"
         "without newline is a line. A line longer than --message-bytes-max is not sent, and "
         "counted.\n"
         "\n"
         "Options; --name=value is understood too:");
    option_print("to", "ENDPOINT[,ENDPOINT...]",
                 "where to: tcp://host:port unix:/path unix-dgram:/path udp://host:port; several "
                 "are tried in turn; required");
    option_print("close-timeout", "SECONDS",
                 "after the end of the input, time to deliver what is held (default 30)");
    option_print("drain-timeout", "SECONDS",
                 "after a signal, time to read on and to deliver (default 10)");
    option_print("stats[=prometheus]", "", "print the books at the end, on standard error");
    option_print("progress, --no-progress", "",
                 "a line that shows what happens (default: if standard error is a terminal)");
    option_print("workers", "N", "threads of the runtime (default 1)");
    for (size_t i = 0; weir_option_at(i) != NULL; i++) {
        if (strcmp(weir_option_at(i)->name, "endpoint") != 0) {
            pool_option_print(weir_option_at(i));
        }
    }
    puts("\n"
         "Sizes take k, m, g. Signals: SIGTERM (or SIGHUP) reads on to the end of the input, at "
         "most\n"
         "--drain-timeout; SIGINT, or a second signal, stops reading and delivers what was read "
         "within\n"
         "the same time; one more gives up.\n"
         "\n"
         "Exit status: 0 everything was delivered; 1 some messages were not; 2 bad usage; 3 "
         "everything\n"
         "was confirmed, but the other end did not close in time, so the last proof is missing; 4 "
         "a file\n"
         "could not be read, or another system error. If several apply: the first of 4, 1, 3.");
    return weir_command_finish_output(command, WEIR_EXIT_GOOD);
}

static bool pool_option_known(const char *name)
{
    bool known = false;
    for (size_t i = 0; !known && weir_option_at(i) != NULL; i++) {
        known = strcmp(weir_option_at(i)->name, name) == 0;
    }
    return known;
}

// The library's sentences begin with an option's name, as a host would write it.
static int why_refuse(const char *why)
{
    char name[64];
    size_t length = strcspn(why, " :");
    if (length < sizeof(name)) {
        memcpy(name, why, length);
        name[length] = '\0';
    }
    if (length >= sizeof(name) || !pool_option_known(name)) {
        return weir_command_refuse(command, "%s", why);
    }
    for (size_t i = 0; i < length; i++) {
        name[i] = name[i] == '_' ? '-' : name[i];
    }
    return weir_command_refuse(command, "--%s%s", strcmp(name, "endpoint") == 0 ? "to" : name,
                               why + length);
}

// An option of the pool, in the command's spelling. returns 0 or WEIR_EXIT_USAGE, said.
static int pool_option_set(struct send *send, struct weir_arguments *arguments)
{
    char name[sizeof(arguments->name)];
    char why[512];
    for (size_t i = 0; i < sizeof(name); i++) {
        name[i] = arguments->name[i] == '-' ? '_' : arguments->name[i];
    }
    if (strcmp(name, "to") != 0 && !pool_option_known(name)) {
        return weir_command_refuse(command, "unknown option %s",
                                   arguments->values[arguments->next - 1]);
    }
    const char *value = weir_arguments_value(arguments);
    if (value == NULL) {
        return WEIR_EXIT_USAGE;
    }
    int code = weir_pool_options_set(&send->options, strcmp(name, "to") == 0 ? "endpoint" : name,
                                     value, why, sizeof(why));
    return code == 0 ? 0 : why_refuse(why);
}

static int stats_set(struct send *send, const struct weir_arguments *arguments)
{
    const char *value = arguments->inline_value;
    if (value != NULL && strcmp(value, "prometheus") != 0 && strcmp(value, "table") != 0) {
        return weir_command_refuse(command, "--stats: \"%s\" is neither table nor prometheus",
                                   value);
    }
    send->stats = value != NULL && value[0] == 'p' ? SEND_STATS_PROMETHEUS : SEND_STATS_TABLE;
    return 0;
}

// One option. returns 0, or an exit status plus one, so that --help can end the command too.
static int option_take(struct send *send, struct weir_arguments *arguments)
{
    const char *name = arguments->name;
    int status;
    if (strcmp(name, "help") == 0) {
        return help_print() + 1;
    }
    if (strcmp(name, "stats") == 0) {
        status = stats_set(send, arguments);
    } else if (strcmp(name, "progress") == 0 || strcmp(name, "no-progress") == 0) {
        status = weir_arguments_flag(arguments) ? 0 : WEIR_EXIT_USAGE;
        send->control.progress.fd = name[0] == 'p' ? STDERR_FILENO : -1;
    } else if (strcmp(name, "close-timeout") == 0) {
        status = weir_arguments_seconds_ms(arguments, &send->close_timeout_ms);
    } else if (strcmp(name, "drain-timeout") == 0) {
        status = weir_arguments_seconds_ms(arguments, &send->control.drain_timeout_ms);
    } else if (strcmp(name, "workers") == 0) {
        status = weir_arguments_number(arguments, 1, WEIR_WORKERS_MAX, &send->workers);
    } else {
        status = pool_option_set(send, arguments);
    }
    return status == 0 ? 0 : status + 1;
}

// returns 0, or an exit status plus one.
static int arguments_take(struct send *send, int count, char **values)
{
    struct weir_arguments arguments = {.command = command, .values = values, .count = count};
    for (;;) {
        enum weir_argument kind = weir_arguments_next(&arguments);
        if (kind == WEIR_ARGUMENT_END) {
            break;
        }
        if (kind == WEIR_ARGUMENT_OPERAND) {
            // Operands are gathered at the front, where the walk has been already.
            send->files[send->files_count++] = values[arguments.next - 1];
            continue;
        }
        int status = option_take(send, &arguments);
        if (status != 0) {
            return status;
        }
    }
    if (send->options.endpoint == NULL || send->options.endpoint[0] == '\0') {
        return weir_command_refuse(command, "--to is missing: where to send, for example "
                                            "--to tcp://127.0.0.1:5140") +
               1;
    }
    return 0;
}

// ---- Reading ----

static void line_send(struct send *send, const char *name, const char *line, size_t bytes)
{
    int code = weir_log(send->control.pool, line, bytes); // the books count what is not taken
    if (code == WEIR_ETOOBIG && !send->too_long_said) {
        send->too_long_said = true;
        weir_command_say(command,
                         "%s: a line is longer than --message-bytes-max (%lu with its "
                         "framing): not sent, like all others that are",
                         name, (unsigned long)send->options.message_bytes_max);
    }
}

static void lines_send(struct send *send, const char *name)
{
    const char *line;
    size_t bytes;
    while (weir_lines_next(&send->lines, &line, &bytes) != WEIR_LINE_NONE) {
        line_send(send, name, line, bytes);
    }
}

// Reading was stopped in the middle of a line, and what was read cannot be given back: takes the
// rest of that line, and not a byte more, if it comes soon.
static void line_complete(struct send *send, int fd, const char *name)
{
    uint64_t until = weir_command_now_ns() + COMPLETE_NS;
    while (weir_lines_partial(&send->lines) && weir_command_now_ns() < until) {
        struct pollfd input = {.fd = fd, .events = POLLIN};
        if (poll(&input, 1, COMPLETE_STEP_MS) != 1) {
            continue; // or interrupted by the control thread, as the read may be
        }
        int64_t count = weir_lines_fill(&send->lines, fd, 1);
        if (count <= 0 && count != -EINTR) {
            break;
        }
        lines_send(send, name);
    }
}

// Sends a file to its end, or until reading is stopped.
static void file_send(struct send *send, int fd, const char *name)
{
    while (!weir_control_stopped(&send->control)) {
        int64_t count = weir_lines_fill(&send->lines, fd, SIZE_MAX);
        if (count == -EAGAIN) { // somebody made our standard input nonblocking
            struct pollfd input = {.fd = fd, .events = POLLIN};
            (void)poll(&input, 1, -1);
            continue;
        }
        if (count == -EINTR) {
            continue;
        }
        if (count < 0) {
            weir_command_say(command, "%s: %s", name, strerror((int)-count));
            send->unreadable = true;
        }
        if (count <= 0) {
            break;
        }
        lines_send(send, name);
    }
    if (weir_control_stopped(&send->control)) {
        line_complete(send, fd, name);
    }
    const char *line;
    size_t bytes;
    if (weir_lines_rest(&send->lines, &line, &bytes) != WEIR_LINE_NONE) {
        line_send(send, name, line, bytes);
    }
}

static void files_send(struct send *send)
{
    if (send->files_count == 0) {
        file_send(send, STDIN_FILENO, "standard input");
    }
    for (int i = 0; i < send->files_count && !weir_control_stopped(&send->control); i++) {
        const char *name = send->files[i];
        if (strcmp(name, "-") == 0) {
            file_send(send, STDIN_FILENO, "standard input");
            continue;
        }
        int fd = open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0 && errno == EINTR) { // a pipe by name that nobody writes to
            i--;
        } else if (fd < 0) {
            weir_command_say(command, "%s: %s", name, strerror(errno));
            send->unreadable = true;
        } else {
            file_send(send, fd, name);
            (void)close(fd);
        }
    }
}

// ---- Trouble ----

// What the pool has to tell while it is at work.
static void trouble_say(void *unused, const char *line)
{
    (void)unused;
    weir_command_say(NULL, "%s", line);
}

// ---- The end ----

static int status_of(const struct send *send, const struct weir_metrics *metrics, int close_code)
{
    if (send->unreadable) {
        return WEIR_EXIT_SYSTEM;
    }
    if (metrics->confirmed_messages < metrics->offered_messages) {
        return WEIR_EXIT_UNDELIVERED;
    }
    if (close_code == WEIR_EUNPROVEN) {
        return WEIR_EXIT_UNPROVEN;
    }
    return close_code == 0 || close_code == WEIR_ETIMEOUT ? WEIR_EXIT_GOOD : WEIR_EXIT_SYSTEM;
}

// Says what became of it all. returns the exit status.
static int send_finish(void *context, int close_code)
{
    struct send *send = context;
    struct weir_metrics metrics;
    weir_pool_stats(send->control.pool, &metrics);
    int status = status_of(send, &metrics, close_code);
    uint64_t offered = metrics.offered_messages;
    uint64_t missing = offered - metrics.confirmed_messages;
    if (missing > 0) {
        char reasons[400];
        weir_report_reasons(&metrics, reasons, sizeof(reasons));
        weir_command_say(command, "%llu of %llu messages not delivered: %s",
                         (unsigned long long)missing, (unsigned long long)offered, reasons);
    }
    if (missing == 0 && close_code == WEIR_EUNPROVEN) {
        weir_command_say(command,
                         "everything is confirmed, but the other end's closing did not prove it");
    }
    if (send->stats == SEND_STATS_TABLE) {
        fprintf(stderr, "weir send: the books\n");
        weir_report_books(stderr, &metrics, weir_command_now_ns() - send->begun_ns);
    } else if (send->stats == SEND_STATS_PROMETHEUS &&
               weir_report_prometheus(stderr, &metrics) != 0) {
        weir_command_say(command, "--stats: no memory");
    }
    return status;
}

static int send_run(struct send *send, struct weir_runtime *runtime)
{
    char why[512];
    struct weir_pool *pool = NULL;
    int code = weir_pool_open(&pool, runtime, &send->options, why, sizeof(why));
    if (code == WEIR_EOPTION) {
        return why_refuse(why);
    }
    if (code != 0) {
        weir_command_say(command, "%s", weir_command_error_text(code));
        return WEIR_EXIT_SYSTEM;
    }
    send->control.pool = pool;
    send->begun_ns = weir_command_now_ns();
    code = weir_control_start(&send->control);
    int status = WEIR_EXIT_SYSTEM;
    if (code == 0) {
        files_send(send);
        code = weir_control_close(&send->control, send->close_timeout_ms);
        status = send_finish(send, code);
    } else {
        weir_command_say(command, "no thread: %s", strerror(-code));
    }
    weir_pool_destroy(pool);
    return status;
}

int weir_command_send(int count, char **values)
{
    struct send send = {.workers = 1, .close_timeout_ms = 30000, .files = values};
    weir_pool_options_init(&send.options);
    send.options.full = WEIR_FULL_BLOCK;
    send.options.log = trouble_say;
    send.control.command = command;
    send.control.drain_timeout_ms = 10000;
    send.control.progress.fd = isatty(STDERR_FILENO) == 1 ? STDERR_FILENO : -1;
    send.control.finish = send_finish;
    send.control.context = &send;
    int status = arguments_take(&send, count, values);
    if (status != 0) {
        return status - 1;
    }
    int code = weir_lines_init(&send.lines, send.options.message_bytes_max,
                               send.options.framing == WEIR_FRAMING_RAW);
    struct weir_runtime *runtime = NULL;
    if (code == 0) {
        weir_control_prepare();
        struct weir_runtime_options options = {.workers = (uint32_t)send.workers};
        code = weir_runtime_create(&runtime, &options);
    }
    if (code == 0) {
        status = send_run(&send, runtime);
        weir_runtime_destroy(runtime);
    } else {
        weir_command_say(command, "%s", weir_command_error_text(code));
        status = WEIR_EXIT_SYSTEM;
    }
    weir_lines_deinit(&send.lines);
    return status;
}
