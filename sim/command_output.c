// Messages, tables' numbers and JSON: what every subcommand prints in the same way.
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "sim/command.h"

uint64_t sim_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SIM_NS_PER_S + (uint64_t)now.tv_nsec;
}

// ---- Messages ----

static void vsay(const struct sim_command *command, const char *format, va_list values)
    __attribute__((format(printf, 2, 0)));
static void vsay(const struct sim_command *command, const char *format, va_list values)
{
    char text[SIM_TEXT_BYTES];
    // Carriage return and "erase to the end of the line", should a progress line stand there.
    const char *clear = isatty(STDERR_FILENO) == 1 ? "\r\033[K" : "";
    bool named = command != NULL && command->subcommand != NULL;
    int head = snprintf(text, sizeof text - 1, "%sweir-sim%s%s: ", clear, named ? " " : "",
                        named ? command->subcommand->name : "");
    int body = vsnprintf(text + head, sizeof text - 1 - (size_t)head, format, values);
    size_t length = (size_t)head + (size_t)(body < 0 ? 0 : body);
    if (length > sizeof text - 2) {
        length = sizeof text - 2;
    }
    text[length] = '\n';
    // One write, so that the messages of several processes do not mix; there is nobody left to tell
    // if it fails.
    ssize_t written = write(STDERR_FILENO, text, length + 1);
    (void)written;
}

void sim_say(const struct sim_command *command, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    vsay(command, format, values);
    va_end(values);
}

int sim_refuse(const struct sim_command *command, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    vsay(command, format, values);
    va_end(values);
    bool named = command != NULL && command->subcommand != NULL;
    fprintf(stderr, "Try \"weir-sim%s%s --help\".\n", named ? " " : "",
            named ? command->subcommand->name : "");
    return WEIR_SIM_EXIT_USAGE;
}

int sim_finish_output(const struct sim_command *command, int status)
{
    if (fflush(stdout) != 0 || ferror(stdout) != 0) {
        sim_say(command, "standard output: %s", strerror(errno));
        return SIM_EXIT_SYSTEM;
    }
    return status;
}

const char *sim_grouped(uint64_t number, char *text)
{
    char digits[24];
    int count = snprintf(digits, sizeof digits, "%" PRIu64, number);
    char *to = text;
    for (int i = 0; i < count; i++) {
        if (i > 0 && (count - i) % 3 == 0) {
            *to++ = ' ';
        }
        *to++ = digits[i];
    }
    *to = '\0';
    return text;
}

// ---- JSON ----

static void string_print(FILE *file, const char *text)
{
    fputc('"', file);
    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte == '"' || byte == '\\') {
            fprintf(file, "\\%c", byte);
        } else if (byte < 0x20 || byte == 0x7f) {
            fprintf(file, "\\u%04x", byte);
        } else {
            fputc(byte, file);
        }
    }
    fputc('"', file);
}

static void member_begin(struct sim_json *json, const char *name)
{
    if (json->begun) {
        fputc(',', json->file);
    }
    json->begun = true;
    if (name != NULL) {
        fprintf(json->file, "\"%s\":", name);
    }
}

void sim_json_open(struct sim_json *json, FILE *file)
{
    *json = (struct sim_json){.file = file};
    fputc('{', file);
}

void sim_json_text(struct sim_json *json, const char *name, const char *value)
{
    member_begin(json, name);
    string_print(json->file, value);
}

void sim_json_number(struct sim_json *json, const char *name, uint64_t value)
{
    member_begin(json, name);
    fprintf(json->file, "%" PRIu64, value);
}

void sim_json_bool(struct sim_json *json, const char *name, bool value)
{
    member_begin(json, name);
    fputs(value ? "true" : "false", json->file);
}

void sim_json_hash(struct sim_json *json, const char *name, uint64_t value)
{
    member_begin(json, name);
    fprintf(json->file, "\"%016" PRIx64 "\"", value);
}

void sim_json_array_open(struct sim_json *json, const char *name)
{
    member_begin(json, name);
    fputc('[', json->file);
    json->begun = false;
}

void sim_json_element(struct sim_json *json, const char *value)
{
    member_begin(json, NULL);
    string_print(json->file, value);
}

void sim_json_array_close(struct sim_json *json)
{
    fputc(']', json->file);
    json->begun = true;
}

void sim_json_deviations(struct sim_json *json, const struct weir_sim_deviation *deviations,
                         size_t deviations_count)
{
    sim_json_array_open(json, "deviations");
    for (size_t i = 0; i < deviations_count; i++) {
        member_begin(json, NULL);
        fprintf(json->file, "[\"%s\",%" PRIu32 ",%" PRIu32 ",%" PRIu32 "]",
                sim_kind_label(deviations[i].kind), deviations[i].actor, deviations[i].number,
                deviations[i].value);
    }
    sim_json_array_close(json);
}

void sim_json_close(struct sim_json *json)
{
    fputs("}\n", json->file);
}
