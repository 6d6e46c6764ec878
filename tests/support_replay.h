// Replay files in a folder of the test's own: an example to write, reading, and what a text says.
#ifndef WEIR_TESTS_SUPPORT_REPLAY_H
#define WEIR_TESTS_SUPPORT_REPLAY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "sim/command.h"

static char folder[] = "/tmp/weir-sim-command-XXXXXX";

static inline void file_slurp(const char *path, char *text, size_t text_bytes)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t count = fread(text, 1, text_bytes - 1, file);
    text[count] = '\0';
    assert_int_equal(fclose(file), 0);
}

static inline void assert_says(const char *text, const char *part)
{
    if (strstr(text, part) == NULL) {
        print_error("expected \"%s\" in:\n%s\n", part, text);
    }
    assert_non_null(strstr(text, part));
}

static inline uint32_t lines_in(const char *bytes, size_t count)
{
    uint32_t lines = 0;
    for (size_t i = 0; i < count; i++) {
        lines += bytes[i] == '\n' ? 1 : 0;
    }
    return lines;
}

static const struct weir_sim_deviation two_deviations[] = {{WEIR_SIM_SWITCH, 0, 12, 1},
                                                           {WEIR_SIM_STALE, 1, UINT32_MAX, 2}};

static inline struct sim_record record_example(void)
{
    struct sim_record record = {.fine = true,
                                .seed = UINT64_MAX,
                                .steps_max = 5000,
                                .verdict = WEIR_SIM_RACE,
                                .hash = 0x0123456789abcdef,
                                .deviations = two_deviations,
                                .deviations_count = 2};
    strcpy(record.build, "0123456789abcdef0123456789abcdef01234567");
    strcpy(record.scenario, "passes");
    strcpy(record.origin, "portfolio");
    strcpy(record.drew, "strategy=pct depth=2");
    strcpy(record.name, "a name \\n");
    strcpy(record.message, "one\ntwo \\ three\n");
    return record;
}

static inline int folder_enter(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL || chdir(folder) != 0;
}

static inline int folder_leave(void **state)
{
    (void)state;
    char line[128];
    snprintf(line, sizeof line, "rm -rf '%s'", folder);
    return chdir("/") != 0 || system(line) != 0; // NOLINT: a path of our own making
}

#endif
