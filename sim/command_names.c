// Names: the labels of verdicts, kinds and strategies, and what somebody may have meant.
#include <string.h>

#include "sim/command.h"

#define NEAREST_COUNT 3
#define NAME_BYTES_MAX 64

// ---- Labels ----

static const char *const kind_labels[] = {
#define KIND(name, label, about) [name] = (label),
    WEIR_SIM_KINDS(KIND)
#undef KIND
};
static const char *const kind_abouts[] = {
#define KIND(name, label, about) [name] = (about),
    WEIR_SIM_KINDS(KIND)
#undef KIND
};
static const char *const strategy_labels[] = {
#define STRATEGY(name, label, about) [name] = (label),
    WEIR_SIM_STRATEGIES(STRATEGY)
#undef STRATEGY
};
static const struct {
    enum weir_sim_verdict verdict;
    const char *label;
} verdict_labels[] = {
#define VERDICT(name, status, label) {name, label},
    WEIR_SIM_VERDICTS(VERDICT)
#undef VERDICT
};
#define VERDICTS_COUNT (sizeof verdict_labels / sizeof verdict_labels[0])

const char *sim_verdict_label(enum weir_sim_verdict verdict)
{
    for (size_t i = 0; i < VERDICTS_COUNT; i++) {
        if (verdict_labels[i].verdict == verdict) {
            return verdict_labels[i].label;
        }
    }
    return "unknown";
}

const char *sim_kind_label(enum weir_sim_kind kind)
{
    return kind < WEIR_SIM_KINDS_COUNT ? kind_labels[kind] : "unknown";
}

const char *sim_kind_about(enum weir_sim_kind kind)
{
    return kind < WEIR_SIM_KINDS_COUNT ? kind_abouts[kind] : "unknown";
}

const char *sim_strategy_label(enum weir_sim_strategy strategy)
{
    return strategy < WEIR_SIM_STRATEGIES_COUNT ? strategy_labels[strategy] : "unknown";
}

bool sim_verdict_find(const char *label, enum weir_sim_verdict *verdict)
{
    for (size_t i = 0; i < VERDICTS_COUNT; i++) {
        if (strcmp(verdict_labels[i].label, label) == 0) {
            *verdict = verdict_labels[i].verdict;
            return true;
        }
    }
    return false;
}

bool sim_kind_find(const char *label, uint32_t *kind)
{
    for (uint32_t i = 0; i < WEIR_SIM_KINDS_COUNT; i++) {
        if (strcmp(kind_labels[i], label) == 0) {
            *kind = i;
            return true;
        }
    }
    return false;
}

bool sim_strategy_find(const char *label, enum weir_sim_strategy *strategy)
{
    for (uint32_t i = 0; i < WEIR_SIM_STRATEGIES_COUNT; i++) {
        if (strcmp(strategy_labels[i], label) == 0) {
            *strategy = (enum weir_sim_strategy)i;
            return true;
        }
    }
    return false;
}

bool sim_scenario_find(const struct sim_command *command, const char *name, uint32_t *index)
{
    for (uint32_t i = 0; i < command->scenarios_count; i++) {
        if (strcmp(command->scenarios[i].name, name) == 0) {
            *index = i;
            return true;
        }
    }
    return false;
}

// A simulator that is wrong, or not repeatable, makes every other finding doubtful.
enum weir_sim_verdict sim_verdict_worse(enum weir_sim_verdict a, enum weir_sim_verdict b)
{
    static const enum weir_sim_verdict worst_first[] = {
        WEIR_SIM_INTERNAL, WEIR_SIM_NONDETERMINISM, WEIR_SIM_SAFETY,
        WEIR_SIM_RACE,     WEIR_SIM_LIVENESS,       WEIR_SIM_LEAK,
    };
    for (size_t i = 0; i < sizeof worst_first / sizeof worst_first[0]; i++) {
        if (a == worst_first[i] || b == worst_first[i]) {
            return worst_first[i];
        }
    }
    return WEIR_SIM_PASS;
}

// ---- What was meant ----

// Levenshtein's distance (1965): how many letters to insert, delete or replace. Row by row.
static size_t distance(const char *a, const char *b)
{
    size_t row[NAME_BYTES_MAX + 1];
    size_t a_length = strnlen(a, NAME_BYTES_MAX);
    size_t b_length = strnlen(b, NAME_BYTES_MAX);
    for (size_t j = 0; j <= b_length; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= a_length; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
            diagonal = row[j];
            size_t other = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            row[j] = replaced < other ? replaced : other;
        }
    }
    return row[b_length];
}

// Small is near. A name that holds what was typed, or begins like it, is as near as one letter.
static size_t rank(const char *typed, const char *candidate)
{
    if (typed[0] != '\0' &&
        (strstr(candidate, typed) != NULL || strstr(typed, candidate) != NULL)) {
        return 1;
    }
    return distance(typed, candidate);
}

void sim_nearest(const char *typed, const char *const *candidates, size_t candidates_count,
                 char *text, size_t text_bytes)
{
    size_t near_enough = strlen(typed) / 2 < 2 ? 2 : strlen(typed) / 2;
    size_t used = 0;
    uint32_t listed = 0;
    text[0] = '\0';
    for (size_t wanted = 0; wanted <= near_enough && listed < NEAREST_COUNT; wanted++) {
        for (size_t i = 0; i < candidates_count && listed < NEAREST_COUNT; i++) {
            if (rank(typed, candidates[i]) != wanted || used >= text_bytes) {
                continue;
            }
            int added = snprintf(text + used, text_bytes - used, "%s%s",
                                 listed == 0 ? "; did you mean " : ", ", candidates[i]);
            used += (size_t)added;
            listed++;
        }
    }
    if (listed > 0 && used < text_bytes) {
        snprintf(text + used, text_bytes - used, "?");
    }
}
