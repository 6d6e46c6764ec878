// `weir-sim explain`: a recorded failure as a story that a person can follow.
//
// The record runs twice. The first run tells what each deviation led to, which is the event after
// it; the second tells the events around each deviation. Both read the simulator's story line by
// line as it is written, so that a run of millions of events needs no room.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "sim/command_story.h"

// ---- The events around the deviations ----

struct telling {
    FILE *to;
    const struct weir_sim_deviation *deviations;
    size_t deviations_seen;
    const struct sim_consequences *consequences;
    uint32_t context, after; // lines still to be told
    char (*before)[SIM_STORY_LINE_BYTES];
    uint64_t lines, told; // of the story; the number of the last one told
};

static void line_tell(struct telling *telling, const char *line, const char *mark)
{
    if (telling->told + 1 < telling->lines) {
        fputs("  ...\n", telling->to);
    }
    fprintf(telling->to, "%s%s\n", mark, line + (line[0] == ' ' && line[1] == ' ' ? 2 : 0));
    telling->told = telling->lines;
}

// The lines before this one that were kept and not told.
static void before_tell(struct telling *telling)
{
    uint64_t now = telling->lines;
    uint64_t first = now > telling->context ? now - telling->context : 1;
    for (uint64_t number = first; number < now; number++) {
        if (number > telling->told) {
            telling->lines = number;
            line_tell(telling, telling->before[number % telling->context], "  ");
        }
    }
    telling->lines = now;
}

static void story_hear(void *context, const char *line)
{
    struct telling *telling = context;
    char name[SIM_STORY_NAME_BYTES];
    const char *rest = sim_story_event(line, name);
    telling->lines++;
    bool deviation = strcmp(name, "deviation") == 0;
    // The workload's draws were listed; around them nothing happens.
    bool workload = deviation && strncmp(rest, "  work ", strlen("  work ")) == 0;
    if ((deviation && !workload) || strcmp(name, "verdict") == 0) {
        before_tell(telling);
        line_tell(telling, line, "> ");
        telling->after = telling->context;
        size_t index = telling->deviations_seen;
        if (deviation && index < telling->consequences->count) {
            fprintf(telling->to, ">   [%zu] ", index + 1);
            sim_prose_tell(telling->to, &telling->deviations[index],
                           &telling->consequences->list[index]);
            fputc('\n', telling->to);
        }
    } else if (telling->after > 0 || strcmp(name, "note") == 0 || strcmp(name, "heal") == 0) {
        line_tell(telling, line, "  ");
        telling->after -= telling->after > 0 ? 1 : 0;
    }
    telling->deviations_seen += deviation ? 1 : 0;
    if (telling->context > 0) {
        snprintf(telling->before[telling->lines % telling->context], SIM_STORY_LINE_BYTES, "%s",
                 line);
    }
}

// ---- The command ----

static void head_print(FILE *to, const struct sim_case *it,
                       const struct sim_consequences *consequences,
                       const struct weir_sim_result *result, const char *differs)
{
    const struct sim_record *record = &it->record;
    fprintf(to, "%s: %s: %s\n", record->scenario, sim_verdict_label(result->verdict), result->name);
    if (it->scenario.about != NULL) {
        fprintf(to, "    %s\n", it->scenario.about);
    }
    fprintf(to, "found by %s, seed %" PRIu64 ": %s\n", record->origin, record->seed, record->drew);
    if (differs[0] != '\0') {
        fprintf(to, "NOT AS RECORDED: %s\n", differs);
    }
    fprintf(to, "\nOf %" PRIu64 " decisions %zu did not take their benign course:\n",
            result->decisions, record->deviations_count);
    for (size_t i = 0; i < consequences->count; i++) {
        fprintf(to, "  [%zu] ", i + 1);
        sim_prose_tell(to, &record->deviations[i], &consequences->list[i]);
        fputc('\n', to);
        sim_prose_tell_place(to, &record->deviations[i], &consequences->list[i]);
    }
}

static bool explanation_write(FILE *to, struct sim_case *it, const struct sim_command *command,
                              struct sim_consequences *consequences, struct telling *telling,
                              int *status)
{
    struct weir_sim_result result;
    struct sim_listener listener = {.hear = sim_consequences_hear, .context = consequences};
    char differs[512];
    if (!sim_story_listen(&listener, it, command, &result)) {
        return false;
    }
    *status = sim_case_judge(it, command, &result, differs, sizeof differs);
    head_print(to, it, consequences, &result, differs);
    fputs("\nWhat happened around them:\n", to);
    listener = (struct sim_listener){.hear = story_hear, .context = telling};
    if (!sim_story_listen(&listener, it, command, &result)) {
        return false;
    }
    fprintf(to, "\n%s: %s\n%s\n", sim_verdict_label(result.verdict), result.name, result.message);
    return true;
}

static void explanation_print(const struct sim_command *command, const struct sim_case *it,
                              const char *text, int status)
{
    char *resolved = sim_symbols_resolve(text);
    const char *best = resolved == NULL ? text : resolved;
    if (sim_option_given(command, SIM_OPTION_JSON)) {
        struct sim_json json;
        sim_json_open(&json, stdout);
        sim_json_text(&json, "event", "explanation");
        sim_json_number(&json, "status", (uint64_t)status);
        sim_json_text(&json, "scenario", it->record.scenario);
        sim_json_deviations(&json, it->record.deviations, it->record.deviations_count);
        sim_json_text(&json, "text", best);
        sim_json_close(&json);
    } else {
        fputs(best, stdout);
    }
    free(resolved);
}

int sim_command_explain(struct sim_command *command)
{
    struct sim_case it;
    int status = sim_case_open(&it, command);
    if (status != 0) {
        return status;
    }
    char *text = NULL;
    size_t bytes = 0;
    FILE *to = open_memstream(&text, &bytes);
    static struct sim_consequences consequences; // too large for a small stack
    consequences = (struct sim_consequences){.room = it.record.deviations_count};
    struct telling telling = {.to = to,
                              .deviations = it.record.deviations,
                              .consequences = &consequences,
                              .context = command->context};
    consequences.list = calloc(consequences.room + 1, sizeof *consequences.list);
    telling.before = calloc((size_t)command->context + 1, SIM_STORY_LINE_BYTES);
    bool good = to != NULL && consequences.list != NULL && telling.before != NULL &&
                explanation_write(to, &it, command, &consequences, &telling, &status);
    good = to != NULL && fclose(to) == 0 && good;
    if (good) {
        explanation_print(command, &it, text, status);
        status = status == WEIR_SIM_NONDETERMINISM ? status : WEIR_SIM_PASS;
    } else {
        sim_say(command, "no memory for the story");
        status = SIM_EXIT_SYSTEM;
    }
    free(text);
    free(consequences.list);
    free(telling.before);
    sim_case_close(&it);
    return status;
}
