// Code positions as functions and lines, by addr2line(1) where it is installed.
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sim/command.h"

#define NAME_BYTES 160

struct symbol {
    uint64_t offset;
    char name[NAME_BYTES]; // empty: not known
};

struct symbols {
    struct symbol *list;
    size_t count, room;
};

// The next " +0x1a2b" of the text: where its plus stands, and the number. NULL: no more.
static const char *position_find(const char *text, uint64_t *offset, const char **end)
{
    for (const char *at = strstr(text, " +0x"); at != NULL; at = strstr(at + 1, " +0x")) {
        size_t digits = strspn(at + 4, "0123456789abcdef");
        if (digits > 0 && digits <= 16) {
            *offset = strtoull(at + 4, NULL, 16);
            *end = at + 4 + digits;
            return at + 1;
        }
    }
    return NULL;
}

static struct symbol *symbol_find(const struct symbols *symbols, uint64_t offset)
{
    for (size_t i = 0; i < symbols->count; i++) {
        if (symbols->list[i].offset == offset) {
            return &symbols->list[i];
        }
    }
    return NULL;
}

static bool symbols_gather(struct symbols *symbols, const char *text)
{
    uint64_t offset = 0;
    for (const char *at = text; (at = position_find(at, &offset, &at)) != NULL;) {
        if (symbol_find(symbols, offset) != NULL) {
            continue;
        }
        if (symbols->count == symbols->room) {
            size_t room = symbols->room == 0 ? 64 : 2 * symbols->room;
            struct symbol *larger = realloc(symbols->list, room * sizeof *larger);
            if (larger == NULL) {
                return false;
            }
            symbols->list = larger;
            symbols->room = room;
        }
        symbols->list[symbols->count++] = (struct symbol){.offset = offset};
    }
    return true;
}

// In the child: does not return.
static _Noreturn void addr2line_become(FILE *offsets, int to)
{
    char self[4096];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length > 0 && dup2(fileno(offsets), STDIN_FILENO) >= 0 && dup2(to, STDOUT_FILENO) >= 0) {
        self[length] = '\0';
        (void)close(STDERR_FILENO);
        (void)execlp("addr2line", "addr2line", "-f", "-s", "-e", self, (char *)NULL);
    }
    _exit(127);
}

// Two lines per offset: the function, "??" if not known, and "file:line", perhaps with a remark.
static void answers_read(struct symbols *symbols, FILE *from)
{
    char function[NAME_BYTES];
    char line[NAME_BYTES];
    for (size_t i = 0; i < symbols->count; i++) {
        struct symbol *symbol = &symbols->list[i];
        if (fgets(function, sizeof function, from) == NULL ||
            fgets(line, sizeof line, from) == NULL) {
            return;
        }
        function[strcspn(function, "\n")] = '\0';
        line[strcspn(line, " \n")] = '\0';
        if (function[0] != '?' && line[0] != '?') {
            snprintf(symbol->name, sizeof symbol->name, "%.70s %.70s", function, line);
        }
    }
}

// The offsets go in through a file, so that neither side waits for the other's pipe.
static void addr2line_ask(struct symbols *symbols)
{
    int ends[2];
    FILE *offsets = tmpfile();
    if (offsets == NULL) {
        return;
    }
    for (size_t i = 0; i < symbols->count; i++) {
        fprintf(offsets, "0x%" PRIx64 "\n", symbols->list[i].offset);
    }
    bool good = fflush(offsets) == 0 && lseek(fileno(offsets), 0, SEEK_SET) == 0;
    if (good && pipe(ends) == 0) {
        (void)fflush(NULL);
        pid_t child = fork();
        if (child == 0) {
            addr2line_become(offsets, ends[1]);
        }
        (void)close(ends[1]);
        FILE *answers = fdopen(ends[0], "r");
        if (answers != NULL) {
            answers_read(symbols, answers);
            (void)fclose(answers);
        }
        while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR) {
        }
    }
    (void)fclose(offsets);
}

char *sim_symbols_resolve(const char *text)
{
    struct symbols symbols = {.list = NULL};
    char *resolved = NULL;
    size_t bytes = 0;
    if (symbols_gather(&symbols, text) && symbols.count > 0) {
        addr2line_ask(&symbols);
    }
    FILE *to = open_memstream(&resolved, &bytes);
    if (to != NULL) {
        uint64_t offset = 0;
        const char *end = NULL;
        for (const char *at = NULL; (at = position_find(text, &offset, &end)) != NULL; text = end) {
            const struct symbol *symbol = symbol_find(&symbols, offset);
            bool known = symbol != NULL && symbol->name[0] != '\0';
            fwrite(text, 1, (size_t)(at - text), to);
            if (known) {
                fputs(symbol->name, to);
            } else {
                fwrite(at, 1, (size_t)(end - at), to);
            }
        }
        fputs(text, to);
        if (fclose(to) != 0) {
            free(resolved);
            resolved = NULL;
        }
    }
    free(symbols.list);
    return resolved;
}
