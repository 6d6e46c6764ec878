// `weir-sim explain`: a recorded failure as a story that a person can follow.
//
// The record runs twice. The first run tells what each deviation led to, which is the event after
// it; the second tells the events around each deviation. Both read the simulator's story line by
// line as it is written, so that a run of millions of events needs no room.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "sim/command.h"

#define LINE_BYTES 512

// ---- A story, line by line ----

struct listener {
    char line[LINE_BYTES];
    size_t length;
    void (*hear)(void *context, const char *line);
    void *context;
};

static ssize_t story_take(void *cookie, const char *bytes, size_t count)
{
    struct listener *listener = cookie;
    for (size_t i = 0; i < count; i++) {
        if (bytes[i] == '\n') {
            listener->line[listener->length] = '\0';
            listener->hear(listener->context, listener->line);
            listener->length = 0;
        } else if (listener->length < sizeof listener->line - 1) {
            listener->line[listener->length++] = bytes[i];
        }
    }
    return (ssize_t)count;
}

static bool story_run(struct sim_case *it, const struct sim_command *command,
                      struct listener *listener, struct weir_sim_result *result)
{
    FILE *story = fopencookie(listener, "w", (cookie_io_functions_t){.write = story_take});
    if (story == NULL) {
        return false;
    }
    sim_case_run(it, command, story, result);
    return fclose(story) == 0;
}

// The word after "actor N  ": the event's name. "" if it is not an event.
static const char *event_of(const char *line, char *name, size_t name_bytes)
{
    name[0] = '\0';
    const char *actor = strstr(line, "  actor ");
    if (actor != NULL) {
        actor += strlen("  actor ");
        actor += strspn(actor, "0123456789");
        actor += strspn(actor, " ");
        snprintf(name, name_bytes, "%.*s", (int)strcspn(actor, " "), actor);
        return actor + strlen(name);
    }
    return line;
}

// The line's actor; SIM_THREADS_MAX: none.
static uint32_t actor_of(const char *line)
{
    const char *actor = strstr(line, "  actor ");
    uint64_t number = actor == NULL ? SIM_THREADS_MAX : strtoull(actor + 8, NULL, 10);
    return number < SIM_THREADS_MAX ? (uint32_t)number : SIM_THREADS_MAX;
}

// ---- First: what each deviation led to ----

struct consequence {
    char next[LINE_BYTES];     // the event after it, from its name on
    char own_last[32];         // the name of the same thread's event before it
    char own_next[LINE_BYTES]; // the same thread's next event
};

struct gathering {
    struct consequence *list;
    size_t count, room;
    bool pending;                         // the last one waits for the next event
    size_t waiting[SIM_THREADS_MAX];      // by actor: number of the one that waits for its own_next
    char last_names[SIM_THREADS_MAX][32]; // by actor
};

static void deviation_add(struct gathering *gathering, uint32_t actor)
{
    struct consequence *it = &gathering->list[gathering->count++];
    snprintf(it->own_last, sizeof it->own_last, "%s", gathering->last_names[actor]);
    gathering->pending = true;
    gathering->waiting[actor] = gathering->count;
}

static void consequence_hear(void *context, const char *line)
{
    struct gathering *gathering = context;
    char name[32];
    const char *rest = event_of(line, name, sizeof name);
    uint32_t actor = actor_of(line);
    if (actor == SIM_THREADS_MAX) {
        return;
    }
    if (strcmp(name, "deviation") == 0) {
        if (gathering->count < gathering->room) {
            deviation_add(gathering, actor);
        }
        return;
    }
    if (gathering->pending) {
        struct consequence *last = &gathering->list[gathering->count - 1];
        snprintf(last->next, sizeof last->next, "%s%.*s", name, LINE_BYTES - 40, rest);
        gathering->pending = false;
    }
    if (strcmp(name, "switch") == 0) {
        return; // what the thread itself does comes when it runs again
    }
    if (gathering->waiting[actor] != 0) {
        struct consequence *its = &gathering->list[gathering->waiting[actor] - 1];
        snprintf(its->own_next, sizeof its->own_next, "%s%.*s", name, LINE_BYTES - 40, rest);
        gathering->waiting[actor] = 0;
    }
    snprintf(gathering->last_names[actor], sizeof gathering->last_names[actor], "%s", name);
}

static const char *ordinal(uint32_t number, char *text, size_t text_bytes)
{
    const char *ending = "th";
    if (number % 100 < 11 || number % 100 > 13) {
        const char *const endings[] = {"th", "st", "nd", "rd"};
        ending = number % 10 < 4 ? endings[number % 10] : "th";
    }
    snprintf(text, text_bytes, "%" PRIu32 "%s", number, ending);
    return text;
}

// Whether the thread could have gone on.
static bool was_running(const struct consequence *consequence)
{
    return strcmp(consequence->own_last, "block") != 0 &&
           strcmp(consequence->own_last, "thread-end") != 0;
}

static void switch_print(FILE *to, const struct weir_sim_deviation *deviation,
                         const struct consequence *consequence)
{
    char text[32];
    const char *actor = strstr(consequence->next, "to actor ");
    ordinal(deviation->number + 1, text, sizeof text);
    fprintf(to, "thread %" PRIu32 " %s at its %s scheduling point", deviation->actor,
            was_running(consequence) ? "is switched away from" : "cannot go on", text);
    if (actor != NULL) {
        fprintf(to, "; thread %" PRIu64 " runs%s", (uint64_t)strtoull(actor + 9, NULL, 10),
                was_running(consequence) ? "" : ", not the next in line");
    }
}

static void stale_print(FILE *to, const struct weir_sim_deviation *deviation)
{
    char text[32];
    fprintf(to, "thread %" PRIu32 "'s load sees an old value: ", deviation->actor);
    if (deviation->value == 1) {
        fputs("the store before the newest", to);
    } else {
        fprintf(to, "the %s store before the newest", ordinal(deviation->value, text, sizeof text));
    }
}

#define DRAW "draw  " // the event of weir_sim_draw, which has a name

static bool draw_named(const struct consequence *consequence)
{
    return strncmp(consequence->next, DRAW, strlen(DRAW)) == 0;
}

static void work_print(FILE *to, const struct weir_sim_deviation *deviation,
                       const struct consequence *consequence)
{
    char text[32];
    if (draw_named(consequence)) {
        fprintf(to, "the workload draws %s", consequence->next + strlen(DRAW));
    } else {
        fprintf(to, "the workload: thread %" PRIu32 "'s %s draw is %" PRIu32 " above its lowest",
                deviation->actor, ordinal(deviation->number + 1, text, sizeof text),
                deviation->value);
    }
}

// One deviation as a sentence, without its line's end.
static void deviation_print(FILE *to, const struct weir_sim_deviation *deviation,
                            const struct consequence *consequence)
{
    char text[32];
    switch ((enum weir_sim_kind)deviation->kind) {
    case WEIR_SIM_SWITCH: switch_print(to, deviation, consequence); return;
    case WEIR_SIM_STALE: stale_print(to, deviation); break;
    case WEIR_SIM_WEAK:
        fprintf(to, "thread %" PRIu32 "'s weak compare-exchange fails although the value matched",
                deviation->actor);
        break;
    case WEIR_SIM_WORK: work_print(to, deviation, consequence); break;
    default:
        fprintf(to, "thread %" PRIu32 ", %s %s: %s (%" PRIu32 ")", deviation->actor,
                ordinal(deviation->number + 1, text, sizeof text),
                sim_kind_label((enum weir_sim_kind)deviation->kind),
                sim_kind_about((enum weir_sim_kind)deviation->kind), deviation->value);
        break;
    }
}

// And what it is about: what a thread that was switched away from would have done, what the call or
// load in question was.
static void deviation_place_print(FILE *to, const struct weir_sim_deviation *deviation,
                                  const struct consequence *consequence)
{
    bool switched = deviation->kind == WEIR_SIM_SWITCH;
    const char *place = switched ? consequence->own_next : consequence->next;
    if (place[0] != '\0' && (switched ? was_running(consequence) : !draw_named(consequence))) {
        fprintf(to, "       %s its %s\n", switched ? "before" : "in", place);
    }
}

// ---- Second: the events around them ----

struct telling {
    FILE *to;
    const struct weir_sim_deviation *deviations;
    size_t deviations_seen;
    const struct gathering *gathering;
    uint32_t context, after; // lines still to be told
    char (*before)[LINE_BYTES];
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
    char name[32];
    (void)event_of(line, name, sizeof name);
    telling->lines++;
    bool deviation = strcmp(name, "deviation") == 0;
    if (deviation || strcmp(name, "verdict") == 0) {
        before_tell(telling);
        line_tell(telling, line, "> ");
        telling->after = telling->context;
        size_t index = telling->deviations_seen;
        if (deviation && index < telling->gathering->count) {
            fprintf(telling->to, ">   [%zu] ", index + 1);
            deviation_print(telling->to, &telling->deviations[index],
                            &telling->gathering->list[index]);
            fputc('\n', telling->to);
        }
        telling->deviations_seen += deviation ? 1 : 0;
    } else if (telling->after > 0 || strcmp(name, "note") == 0 || strcmp(name, "heal") == 0) {
        line_tell(telling, line, "  ");
        telling->after -= telling->after > 0 ? 1 : 0;
    }
    if (telling->context > 0) {
        snprintf(telling->before[telling->lines % telling->context], LINE_BYTES, "%s", line);
    }
}

// ---- The command ----

static void head_print(FILE *to, const struct sim_case *it, const struct gathering *gathering,
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
    for (size_t i = 0; i < gathering->count; i++) {
        fprintf(to, "  [%zu] ", i + 1);
        deviation_print(to, &record->deviations[i], &gathering->list[i]);
        fputc('\n', to);
        deviation_place_print(to, &record->deviations[i], &gathering->list[i]);
    }
}

static bool explanation_write(FILE *to, struct sim_case *it, const struct sim_command *command,
                              struct gathering *gathering, struct telling *telling, int *status)
{
    struct weir_sim_result result;
    struct listener listener = {.hear = consequence_hear, .context = gathering};
    char differs[512];
    if (!story_run(it, command, &listener, &result)) {
        return false;
    }
    *status = sim_case_judge(it, command, &result, differs, sizeof differs);
    head_print(to, it, gathering, &result, differs);
    fputs("\nWhat happened around them:\n", to);
    listener = (struct listener){.hear = story_hear, .context = telling};
    if (!story_run(it, command, &listener, &result)) {
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
    static struct gathering gathering; // too large for a small stack
    gathering = (struct gathering){.room = it.record.deviations_count};
    struct telling telling = {.to = to,
                              .deviations = it.record.deviations,
                              .gathering = &gathering,
                              .context = command->context};
    gathering.list = calloc(gathering.room + 1, sizeof *gathering.list);
    telling.before = calloc((size_t)command->context + 1, LINE_BYTES);
    bool good = to != NULL && gathering.list != NULL && telling.before != NULL &&
                explanation_write(to, &it, command, &gathering, &telling, &status);
    good = to != NULL && fclose(to) == 0 && good;
    if (good) {
        explanation_print(command, &it, text, status);
        status = status == WEIR_SIM_NONDETERMINISM ? status : WEIR_SIM_PASS;
    } else {
        sim_say(command, "no memory for the story");
        status = SIM_EXIT_SYSTEM;
    }
    free(text);
    free(gathering.list);
    free(telling.before);
    sim_case_close(&it);
    return status;
}
