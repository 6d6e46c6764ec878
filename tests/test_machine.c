// Tests of writer/machine.c: every input is in exactly one row, and README prints the same table.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support_runtime.h"
#include "writer/machine.h"

#define TABLE_BYTES_MAX 8192
#define TABLE_BEGIN "<!-- state table -->\n"
#define TABLE_END "<!-- end of state table -->"

#define LABEL(name, label, meaning) label,
static const char *const state_labels[] = {WEIR_MACHINE_STATES(LABEL)};
static const char *const event_labels[] = {WEIR_MACHINE_EVENTS(LABEL)};
static const char *const guard_labels[] = {WEIR_MACHINE_GUARDS(LABEL)};
static const char *const action_labels[] = {WEIR_MACHINE_ACTIONS(LABEL)};
#undef LABEL

struct input {
    enum weir_state state;
    enum weir_event event;
    enum weir_guard guard;
};

static bool row_applies(const struct weir_machine_row *row, const struct input *input)
{
    return (row->from >> input->state & 1) != 0 && (row->events >> input->event & 1) != 0 &&
           (row->guards >> input->guard & 1) != 0;
}

static void step_take(void *argument)
{
    const struct input *input = argument;
    (void)weir_machine_step(input->state, input->event, input->guard);
}

static void each_input_is_in_one_row(void **unused)
{
    (void)unused;
    const struct weir_machine_row *rows;
    size_t rows_count = weir_machine_rows(&rows);
    struct input input;
    uint32_t possible = 0, impossible = 0;
    for (uint32_t i = 0; i < WEIR_STATES_COUNT * WEIR_EVENTS_COUNT * WEIR_GUARDS_COUNT; i++) {
        input.state = (enum weir_state)(i % WEIR_STATES_COUNT);
        input.event = (enum weir_event)(i / WEIR_STATES_COUNT % WEIR_EVENTS_COUNT);
        input.guard = (enum weir_guard)(i / WEIR_STATES_COUNT / WEIR_EVENTS_COUNT);
        const struct weir_machine_row *found = NULL;
        for (size_t row = 0; row < rows_count; row++) {
            if (row_applies(&rows[row], &input)) {
                assert_null(found);
                found = &rows[row];
            }
        }
        assert_non_null(found);
        if (found->action == WEIR_ACTION_IMPOSSIBLE) {
            impossible++;
            assert_int_equal(found->letter, 'X');
            test_expect_abort(step_take, &input);
        } else {
            possible++;
            struct weir_machine_step step =
                weir_machine_step(input.state, input.event, input.guard);
            assert_int_equal(step.to, found->to);
            assert_int_equal(step.action, found->action);
        }
    }
    print_message("%u possible inputs, %u impossible\n", possible, impossible);
    assert_true(possible > 0 && impossible > 0);
}

// Sets of a row name only what exists, and no row is empty or without effect.
static void each_row_is_used(void **unused)
{
    (void)unused;
    const struct weir_machine_row *rows;
    size_t rows_count = weir_machine_rows(&rows);
    for (size_t row = 0; row < rows_count; row++) {
        assert_true(rows[row].from != 0 && rows[row].from >> WEIR_STATES_COUNT == 0);
        assert_true(rows[row].events != 0 && rows[row].events >> WEIR_EVENTS_COUNT == 0);
        assert_true(rows[row].guards != 0 && rows[row].guards >> WEIR_GUARDS_COUNT == 0);
        assert_true(rows[row].to < WEIR_STATES_COUNT);
        // The end is the end: only END leads to closed, and nothing leaves it.
        bool ends = rows[row].action == WEIR_ACTION_END ||
                    rows[row].action == WEIR_ACTION_IMPOSSIBLE;
        assert_int_equal(ends, rows[row].to == WEIR_STATE_CLOSED);
    }
}

// From every live state the end can be reached, and a connection too.
static void every_state_leads_on(void **unused)
{
    (void)unused;
    const struct weir_machine_row *rows;
    size_t rows_count = weir_machine_rows(&rows);
    for (uint32_t start = 0; start < WEIR_STATE_CLOSED; start++) {
        uint32_t reached = 1u << start;
        for (uint32_t round = 0; round < WEIR_STATES_COUNT; round++) {
            for (size_t row = 0; row < rows_count; row++) {
                if (rows[row].action != WEIR_ACTION_IMPOSSIBLE && (rows[row].from & reached) != 0) {
                    reached |= 1u << rows[row].to;
                }
            }
        }
        assert_int_equal(reached, (1u << WEIR_STATES_COUNT) - 1);
    }
}

static void labels(void **unused)
{
    (void)unused;
    for (uint32_t state = 0; state < WEIR_STATES_COUNT; state++) {
        assert_string_equal(weir_state_label((enum weir_state)state), state_labels[state]);
    }
}

// ---- The table in README ----

struct table {
    char text[TABLE_BYTES_MAX];
    size_t length;
};

static void table_add(struct table *table, const char *text)
{
    size_t bytes = strlen(text);
    assert_true(table->length + bytes < sizeof(table->text));
    memcpy(table->text + table->length, text, bytes + 1);
    table->length += bytes;
}

static void table_add_set(struct table *table, uint32_t set, const char *const *names,
                          uint32_t count)
{
    const char *comma = "";
    for (uint32_t i = 0; i < count; i++) {
        if ((set >> i & 1) != 0) {
            table_add(table, comma);
            table_add(table, names[i]);
            comma = ", ";
        }
    }
}

static void table_make(struct table *table)
{
    const struct weir_machine_row *rows;
    size_t rows_count = weir_machine_rows(&rows);
    table->length = 0;
    table_add(table, "| | from | event | guard | to | action |\n|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < rows_count; i++) {
        const struct weir_machine_row *row = &rows[i];
        if (row->action == WEIR_ACTION_IMPOSSIBLE) {
            continue;
        }
        char letter[] = {'|', ' ', row->letter, ' ', '|', ' ', '\0'};
        table_add(table, letter);
        table_add_set(table, row->from, state_labels, WEIR_STATES_COUNT);
        table_add(table, " | ");
        table_add_set(table, row->events, event_labels, WEIR_EVENTS_COUNT);
        table_add(table, " | ");
        if (row->guards == (1u << WEIR_GUARDS_COUNT) - 1) {
            table_add(table, "any");
        } else {
            table_add_set(table, row->guards, guard_labels, WEIR_GUARDS_COUNT);
        }
        table_add(table, " | ");
        table_add(table, state_labels[row->to]);
        table_add(table, " | ");
        table_add(table, action_labels[row->action]);
        table_add(table, " |\n");
    }
}

static FILE *readme_open(void)
{
    const char *named = getenv("WEIR_README");
    const char *const paths[] = {named != NULL ? named : "README.md", "../README.md"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        FILE *file = fopen(paths[i], "r");
        if (file != NULL || named != NULL) {
            return file;
        }
    }
    return NULL;
}

static void readme_has_the_table(void **unused)
{
    (void)unused;
    struct table table;
    table_make(&table);
    if (getenv("WEIR_PRINT_TABLE") != NULL) {
        printf("%s", table.text);
    }
    FILE *file = readme_open();
    if (file == NULL) {
        print_message("README.md is not here\n");
        skip();
        return;
    }
    static char readme[1 << 20];
    size_t bytes = fread(readme, 1, sizeof(readme) - 1, file);
    readme[bytes] = '\0';
    fclose(file);
    const char *begin = strstr(readme, TABLE_BEGIN);
    const char *end = strstr(readme, TABLE_END);
    assert_non_null(begin);
    assert_non_null(end);
    begin += strlen(TABLE_BEGIN);
    if ((size_t)(end - begin) != table.length || memcmp(begin, table.text, table.length) != 0) {
        fail_msg("README.md's state table differs; WEIR_PRINT_TABLE=1 prints the right one");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_input_is_in_one_row),
        cmocka_unit_test(each_row_is_used),
        cmocka_unit_test(every_state_leads_on),
        cmocka_unit_test(labels),
        cmocka_unit_test(readme_has_the_table),
    };
    return cmocka_run_group_tests_name("machine", tests, NULL, NULL);
}
