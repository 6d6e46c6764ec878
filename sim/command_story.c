// Stories read line by line, and what each deviation led to: the events after it.
#include <stdlib.h>
#include <string.h>

#include "sim/command_story.h"

static ssize_t story_take(void *cookie, const char *bytes, size_t count)
{
    struct sim_listener *listener = cookie;
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

bool sim_story_listen(struct sim_listener *listener, struct sim_case *it,
                      const struct sim_command *command, struct weir_sim_result *result)
{
    FILE *story = fopencookie(listener, "w", (cookie_io_functions_t){.write = story_take});
    if (story == NULL) {
        return false;
    }
    sim_case_run(it, command, story, result);
    return fclose(story) == 0;
}

// It is the word after "actor N  ".
const char *sim_story_event(const char *line, char *name)
{
    name[0] = '\0';
    const char *actor = strstr(line, "  actor ");
    if (actor != NULL) {
        actor += strlen("  actor ");
        actor += strspn(actor, "0123456789");
        actor += strspn(actor, " ");
        snprintf(name, SIM_STORY_NAME_BYTES, "%.*s", (int)strcspn(actor, " "), actor);
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

// Events on the way to what the thread itself does: it is switched away from, the world goes on.
static bool beside(const char *name)
{
    static const char *const names[] = {"switch", "ready", "clock", "network"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

static void deviation_add(struct sim_consequences *gathering, uint32_t actor)
{
    struct sim_consequence *it = &gathering->list[gathering->count++];
    snprintf(it->own_last, sizeof it->own_last, "%s", gathering->last_names[actor]);
    gathering->pending = true;
    gathering->waiting[actor] = gathering->count;
}

void sim_consequences_hear(void *context, const char *line)
{
    struct sim_consequences *gathering = context;
    char name[SIM_STORY_NAME_BYTES];
    const char *rest = sim_story_event(line, name);
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
        struct sim_consequence *last = &gathering->list[gathering->count - 1];
        snprintf(last->next, sizeof last->next, "%s%.*s", name, SIM_STORY_LINE_BYTES - 40, rest);
        gathering->pending = false;
    }
    if (beside(name)) {
        return;
    }
    if (gathering->waiting[actor] != 0) {
        struct sim_consequence *its = &gathering->list[gathering->waiting[actor] - 1];
        snprintf(its->own_next, sizeof its->own_next, "%s%.*s", name, SIM_STORY_LINE_BYTES - 40,
                 rest);
        gathering->waiting[actor] = 0;
    }
    snprintf(gathering->last_names[actor], sizeof gathering->last_names[actor], "%s", name);
}
