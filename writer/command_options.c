// Arguments and messages: what every subcommand says and reads in the same way.
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "writer/command.h"

#define SECONDS_MAX 86400

uint64_t weir_command_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * WEIR_NS_PER_S + (uint64_t)now.tv_nsec;
}

// ---- Messages ----

static void vsay(const char *command, const char *format, va_list values)
    __attribute__((format(printf, 2, 0)));
static void vsay(const char *command, const char *format, va_list values)
{
    char text[1200];
    // Carriage return and "erase to the end of the line", should a progress line stand there.
    const char *clear = isatty(STDERR_FILENO) == 1 ? "\r\033[K" : "";
    const char *space = command == NULL ? "" : " ";
    int head = snprintf(text, sizeof(text) - 1, "%sweir%s%s: ", clear, space,
                        command == NULL ? "" : command);
    int body = vsnprintf(text + head, sizeof(text) - 1 - (size_t)head, format, values);
    size_t length = (size_t)head + (size_t)(body < 0 ? 0 : body);
    if (length > sizeof(text) - 2) {
        length = sizeof(text) - 2;
    }
    text[length] = '\n';
    // One write, so that the messages of several threads do not mix; there is nobody left to tell
    // if it fails.
    ssize_t written = write(STDERR_FILENO, text, length + 1);
    (void)written;
}

void weir_command_say(const char *command, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    vsay(command, format, values);
    va_end(values);
}

int weir_command_refuse(const char *command, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    vsay(command, format, values);
    va_end(values);
    fprintf(stderr, "Try \"weir%s%s --help\".\n", command == NULL ? "" : " ",
            command == NULL ? "" : command);
    return WEIR_EXIT_USAGE;
}

const char *weir_command_error_text(int code)
{
    return code > -10000 ? strerror(-code) : weir_error_text(code);
}

int weir_command_finish_output(const char *command, int status)
{
    if (fflush(stdout) != 0 || ferror(stdout) != 0) {
        weir_command_say(command, "standard output: %s", strerror(errno));
        return WEIR_EXIT_SYSTEM;
    }
    return status;
}

// ---- Arguments ----

enum weir_argument weir_arguments_next(struct weir_arguments *arguments)
{
    arguments->inline_value = NULL;
    if (arguments->next >= arguments->count) {
        return WEIR_ARGUMENT_END;
    }
    const char *word = arguments->values[arguments->next++];
    if (!arguments->operands_only && strcmp(word, "--") == 0) {
        arguments->operands_only = true;
        if (arguments->next >= arguments->count) {
            return WEIR_ARGUMENT_END;
        }
        word = arguments->values[arguments->next++];
    }
    if (arguments->operands_only || word[0] != '-' || word[1] == '\0') {
        arguments->operand = word;
        return WEIR_ARGUMENT_OPERAND;
    }
    // "-h" is the one short option; other single dashes become names that nobody knows.
    word = strcmp(word, "-h") == 0 ? "help" : word + (word[1] == '-' ? 2 : 0);
    size_t length = strcspn(word, "=");
    if (word[length] == '=') {
        arguments->inline_value = word + length + 1;
    }
    snprintf(arguments->name, sizeof(arguments->name), "%.*s", (int)(length < 63 ? length : 63),
             word);
    return WEIR_ARGUMENT_OPTION;
}

const char *weir_arguments_value(struct weir_arguments *arguments)
{
    if (arguments->inline_value != NULL) {
        return arguments->inline_value;
    }
    if (arguments->next >= arguments->count) {
        (void)weir_command_refuse(arguments->command, "--%s: a value is missing", arguments->name);
        return NULL;
    }
    return arguments->values[arguments->next++];
}

bool weir_arguments_flag(const struct weir_arguments *arguments)
{
    if (arguments->inline_value == NULL) {
        return true;
    }
    (void)weir_command_refuse(arguments->command, "--%s: takes no value, not \"%s\"",
                              arguments->name, arguments->inline_value);
    return false;
}

// Decimal digits up to `end`. returns false when there are none, or more than a number holds.
static bool digits_parse(const char *text, const char *end, uint64_t *number)
{
    uint64_t value = 0;
    if (text == end || end - text > 18) {
        return false;
    }
    for (; text < end; text++) {
        if (*text < '0' || *text > '9') {
            return false;
        }
        value = value * 10 + (uint64_t)(*text - '0');
    }
    *number = value;
    return true;
}

int weir_arguments_number(struct weir_arguments *arguments, uint64_t least, uint64_t most,
                          uint64_t *number)
{
    const char *text = weir_arguments_value(arguments);
    if (text == NULL) {
        return WEIR_EXIT_USAGE;
    }
    uint64_t value = 0;
    if (!digits_parse(text, text + strlen(text), &value) || value < least || value > most) {
        return weir_command_refuse(
            arguments->command, "--%s: \"%s\" is not a whole number from %llu to %llu",
            arguments->name, text, (unsigned long long)least, (unsigned long long)most);
    }
    *number = value;
    return 0;
}

int weir_arguments_seconds_ms(struct weir_arguments *arguments, uint64_t *milliseconds)
{
    const char *text = weir_arguments_value(arguments);
    if (text == NULL) {
        return WEIR_EXIT_USAGE;
    }
    size_t whole = strcspn(text, ".");
    uint64_t seconds = 0;
    uint64_t thousandths = 0;
    bool good = digits_parse(text, text + whole, &seconds) && seconds <= SECONDS_MAX;
    if (good && text[whole] == '.') {
        char decimals[4] = "000";
        const char *rest = text + whole + 1;
        size_t length = strlen(rest);
        good = length >= 1 && length <= 3;
        for (size_t i = 0; good && i < length; i++) {
            decimals[i] = rest[i];
        }
        good = good && digits_parse(decimals, decimals + 3, &thousandths);
    }
    if (!good) {
        return weir_command_refuse(arguments->command,
                                   "--%s: \"%s\" is not a number of seconds from 0 to %d, such as "
                                   "10 or 2.5",
                                   arguments->name, text, SECONDS_MAX);
    }
    *milliseconds = seconds * 1000 + thousandths;
    return 0;
}
