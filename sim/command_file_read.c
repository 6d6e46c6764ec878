// Replay files, read: whole, unchanged, and each line what it should be, or the line that is not.
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "sim/command.h"

#define FILE_BYTES_MAX ((size_t)64 << 20)
#define END_LINE_BYTES (sizeof "end 0123456789abcdef\n" - 1)

struct reader {
    const char *path;
    char *bytes;
    size_t count, at; // at: where the next line begins
    uint32_t line;    // the number of the line last taken, from 1
    char *why;
    size_t why_bytes;
};

static int reader_fail(struct reader *reader, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static int reader_fail(struct reader *reader, const char *format, ...)
{
    int head = snprintf(reader->why, reader->why_bytes, "%s:%" PRIu32 ": ", reader->path,
                        reader->line == 0 ? 1 : reader->line);
    va_list values;
    va_start(values, format);
    if (head >= 0 && (size_t)head < reader->why_bytes) {
        vsnprintf(reader->why + head, reader->why_bytes - (size_t)head, format, values);
    }
    va_end(values);
    return WEIR_SIM_EXIT_FILE;
}

// The whole file; a terminator is put after it.
static int bytes_read(struct reader *reader)
{
    FILE *file = fopen(reader->path, "rbe");
    if (file == NULL) {
        snprintf(reader->why, reader->why_bytes, "%s: %s", reader->path, strerror(errno));
        return SIM_EXIT_SYSTEM;
    }
    size_t room = 0;
    int status = 0;
    while (status == 0 && feof(file) == 0) {
        if (room - reader->count < 2) {
            room = room == 0 ? 65536 : 2 * room;
            char *larger = room > FILE_BYTES_MAX ? NULL : realloc(reader->bytes, room);
            if (larger == NULL) {
                status = reader_fail(reader, "too large for a replay file");
                break;
            }
            reader->bytes = larger;
        }
        reader->count += fread(reader->bytes + reader->count, 1, room - reader->count - 1, file);
        if (ferror(file) != 0) {
            snprintf(reader->why, reader->why_bytes, "%s: %s", reader->path, strerror(errno));
            status = SIM_EXIT_SYSTEM;
        }
    }
    (void)fclose(file);
    if (status == 0) {
        reader->bytes[reader->count] = '\0';
    }
    return status;
}

// The next line, its newline replaced by a terminator; NULL at the end.
static char *line_take(struct reader *reader)
{
    char *begin = reader->bytes + reader->at;
    char *end = memchr(begin, '\n', reader->count - reader->at);
    if (end == NULL) {
        return NULL;
    }
    *end = '\0';
    reader->at = (size_t)(end - reader->bytes) + 1;
    reader->line++;
    return begin;
}

// What follows `word` and a blank on the next line; NULL after filling `why`.
static char *value_take(struct reader *reader, const char *word)
{
    char *line = line_take(reader);
    size_t length = strlen(word);
    if (line == NULL || strncmp(line, word, length) != 0 || line[length] != ' ') {
        (void)reader_fail(reader, "a line \"%s ...\" is missing", word);
        return NULL;
    }
    return line + length + 1;
}

// Undoes text_print.
static bool text_take(struct reader *reader, const char *word, char *text, size_t text_bytes)
{
    const char *value = value_take(reader, word);
    size_t length = 0;
    if (value == NULL) {
        return false;
    }
    for (; *value != '\0'; value++) {
        char byte = *value;
        if (byte == '\\') {
            value++;
            byte = *value == 'n' ? '\n' : *value;
        }
        if (length + 1 == text_bytes || byte == '\0') {
            (void)reader_fail(reader, "the text of \"%s\" is too long or broken", word);
            return false;
        }
        text[length++] = byte;
    }
    text[length] = '\0';
    return true;
}

static bool number_take(struct reader *reader, const char *word, uint64_t most, uint64_t *number)
{
    const char *value = value_take(reader, word);
    if (value == NULL) {
        return false;
    }
    if (!sim_option_number(value, 0, most, number)) {
        (void)reader_fail(reader, "\"%s\" is not a number for \"%s\"", value, word);
        return false;
    }
    return true;
}

static bool hash_parse(const char *digits, uint64_t *hash)
{
    char prefixed[2 + 16 + 1] = "0x";
    if (strlen(digits) != 16) {
        return false;
    }
    memcpy(prefixed + 2, digits, 17);
    return sim_option_number(prefixed, 0, UINT64_MAX, hash);
}

// The first line: whether it is a replay file of this format.
static int begin_check(struct reader *reader)
{
    const size_t magic_bytes = strlen(SIM_RECORD_MAGIC);
    uint64_t version = 0;
    if (reader->count < magic_bytes || memcmp(reader->bytes, SIM_RECORD_MAGIC, magic_bytes) != 0) {
        return reader_fail(reader, "not a replay file: it does not begin with \"%s\"",
                           SIM_RECORD_MAGIC);
    }
    const char *line = line_take(reader);
    if (line == NULL) {
        return reader_fail(reader, "truncated: the file ends in this line");
    }
    if (!sim_option_number(line + magic_bytes, 0, UINT64_MAX, &version) ||
        version != SIM_RECORD_VERSION) {
        return reader_fail(reader, "format version \"%s\"; this program reads version %d",
                           line + magic_bytes, SIM_RECORD_VERSION);
    }
    reader->bytes[reader->at - 1] = '\n'; // as the checksum has it
    return 0;
}

// The last line: whether the file is whole and unchanged. It is left off then.
static int end_check(struct reader *reader)
{
    size_t body = reader->count < END_LINE_BYTES ? 0 : reader->count - END_LINE_BYTES;
    const char *end = reader->bytes + body;
    uint64_t sum = 0;
    reader->line = 0;
    for (size_t i = 0; i < reader->count; i++) {
        reader->line += reader->bytes[i] == '\n' ? 1 : 0;
    }
    if (reader->bytes[reader->count - 1] != '\n') {
        reader->line++;
        return reader_fail(reader, "truncated: the file ends in the middle of a line");
    }
    if (body == 0 || end[-1] != '\n' || memcmp(end, "end ", 4) != 0) {
        return reader_fail(reader, "truncated: the last line is not \"end CHECKSUM\"");
    }
    reader->bytes[reader->count - 1] = '\0';
    uint64_t made = sim_fnv(SIM_FNV_START, reader->bytes, body);
    if (!hash_parse(end + 4, &sum) || sum != made) {
        return reader_fail(reader, "edited: the lines above make the checksum %016" PRIx64, made);
    }
    reader->count = body;
    reader->line = 1;
    return 0;
}

void sim_record_deinit(struct sim_record *record)
{
    free(record->owned);
    record->owned = NULL;
    record->deviations = NULL;
}

static bool word_copy(struct reader *reader, const char *word, char *text, size_t text_bytes)
{
    const char *value = value_take(reader, word);
    if (value == NULL) {
        return false;
    }
    if (strlen(value) >= text_bytes || value[0] == '\0') {
        (void)reader_fail(reader, "the value of \"%s\" is missing or too long", word);
        return false;
    }
    memcpy(text, value, strlen(value) + 1);
    return true;
}

static bool grain_take(struct reader *reader, bool *fine)
{
    const char *value = value_take(reader, "grain");
    if (value == NULL) {
        return false;
    }
    *fine = strcmp(value, "fine") == 0;
    if (!*fine && strcmp(value, "coarse") != 0) {
        (void)reader_fail(reader, "unknown grain \"%s\"", value);
        return false;
    }
    return true;
}

static bool verdict_take(struct reader *reader, enum weir_sim_verdict *verdict)
{
    const char *value = value_take(reader, "verdict");
    if (value != NULL && !sim_verdict_find(value, verdict)) {
        (void)reader_fail(reader, "unknown verdict \"%s\"", value);
        return false;
    }
    return value != NULL;
}

static bool hash_take(struct reader *reader, uint64_t *hash)
{
    const char *value = value_take(reader, "hash");
    if (value != NULL && !hash_parse(value, hash)) {
        (void)reader_fail(reader, "\"%s\" is not a hash", value);
        return false;
    }
    return value != NULL;
}

// "switch 0 12 1"
static bool deviation_take(struct reader *reader, struct weir_sim_deviation *deviation)
{
    char *line = line_take(reader);
    if (line == NULL) {
        (void)reader_fail(reader, "fewer deviations than the line \"deviations\" says");
        return false;
    }
    char *rest = NULL;
    const char *kind = strtok_r(line, " ", &rest);
    if (kind == NULL || !sim_kind_find(kind, &deviation->kind)) {
        (void)reader_fail(reader, "unknown kind of decision \"%s\"", kind == NULL ? "" : kind);
        return false;
    }
    uint32_t *const numbers[] = {&deviation->actor, &deviation->number, &deviation->value};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        uint64_t number = 0;
        const char *word = strtok_r(NULL, " ", &rest);
        uint64_t most = i == 0 ? SIM_THREADS_MAX - 1 : UINT32_MAX;
        if (word == NULL || !sim_option_number(word, 0, most, &number)) {
            (void)reader_fail(reader, "a deviation is KIND ACTOR NUMBER VALUE");
            return false;
        }
        *numbers[i] = (uint32_t)number;
    }
    if (strtok_r(NULL, " ", &rest) != NULL || deviation->value == 0) {
        (void)reader_fail(reader, "a deviation is KIND ACTOR NUMBER VALUE, with a value above 0");
        return false;
    }
    return true;
}

static bool deviations_take(struct reader *reader, struct sim_record *record)
{
    uint64_t count = 0;
    if (!number_take(reader, "deviations", FILE_BYTES_MAX, &count)) {
        return false;
    }
    record->owned = calloc((size_t)count + 1, sizeof *record->owned);
    if (record->owned == NULL) {
        (void)reader_fail(reader, "no memory for %" PRIu64 " deviations", count);
        return false;
    }
    for (record->deviations_count = 0; record->deviations_count < count;
         record->deviations_count++) {
        if (!deviation_take(reader, &record->owned[record->deviations_count])) {
            return false;
        }
    }
    record->deviations = record->owned;
    if (reader->at != reader->count) {
        reader->line++;
        (void)reader_fail(reader, "more lines than the line \"deviations\" says");
        return false;
    }
    return true;
}

static bool lines_take(struct reader *reader, struct sim_record *record)
{
    return word_copy(reader, "build", record->build, sizeof record->build) &&
           grain_take(reader, &record->fine) &&
           word_copy(reader, "scenario", record->scenario, sizeof record->scenario) &&
           word_copy(reader, "origin", record->origin, sizeof record->origin) &&
           number_take(reader, "seed", UINT64_MAX, &record->seed) &&
           number_take(reader, "steps", UINT64_MAX, &record->steps_max) &&
           text_take(reader, "drew", record->drew, sizeof record->drew) &&
           verdict_take(reader, &record->verdict) &&
           text_take(reader, "name", record->name, sizeof record->name) &&
           text_take(reader, "message", record->message, sizeof record->message) &&
           hash_take(reader, &record->hash) && deviations_take(reader, record);
}

int sim_record_read(struct sim_record *record, const char *path, char *why, size_t why_bytes)
{
    struct reader reader = {.path = path, .why = why, .why_bytes = why_bytes};
    *record = (struct sim_record){.verdict = WEIR_SIM_PASS};
    int status = bytes_read(&reader);
    if (status == 0) {
        status = begin_check(&reader);
    }
    if (status == 0) {
        status = end_check(&reader);
    }
    if (status == 0 && !lines_take(&reader, record)) {
        status = WEIR_SIM_EXIT_FILE;
        sim_record_deinit(record);
    }
    free(reader.bytes);
    return status;
}
