// Deviations as sentences, for people who read `explain`.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "sim/command_story.h"

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
static bool was_running(const struct sim_consequence *consequence)
{
    return strcmp(consequence->own_last, "block") != 0 &&
           strcmp(consequence->own_last, "thread-end") != 0;
}

static void switch_print(FILE *to, const struct weir_sim_deviation *deviation,
                         const struct sim_consequence *consequence)
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

static bool draw_named(const struct sim_consequence *consequence)
{
    return strncmp(consequence->own_next, DRAW, strlen(DRAW)) == 0;
}

static void work_print(FILE *to, const struct weir_sim_deviation *deviation,
                       const struct sim_consequence *consequence)
{
    char text[32];
    if (draw_named(consequence)) {
        fprintf(to, "the workload draws %s", consequence->own_next + strlen(DRAW));
    } else {
        fprintf(to, "the workload: thread %" PRIu32 "'s %s draw is %" PRIu32 " above its lowest",
                deviation->actor, ordinal(deviation->number + 1, text, sizeof text),
                deviation->value);
    }
}

void sim_prose_tell(FILE *to, const struct weir_sim_deviation *deviation,
                    const struct sim_consequence *consequence)
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
        fprintf(to, "thread %" PRIu32 ": %s (%s %" PRIu32 ", at its %s decision of that kind)",
                deviation->actor, sim_kind_about((enum weir_sim_kind)deviation->kind),
                sim_kind_label((enum weir_sim_kind)deviation->kind), deviation->value,
                ordinal(deviation->number + 1, text, sizeof text));
        break;
    }
}

void sim_prose_tell_place(FILE *to, const struct weir_sim_deviation *deviation,
                          const struct sim_consequence *consequence)
{
    bool switched = deviation->kind == WEIR_SIM_SWITCH;
    const char *place = consequence->own_next;
    if (place[0] != '\0' && (switched ? was_running(consequence) : !draw_named(consequence))) {
        fprintf(to, "       %s its %s\n", switched ? "before" : "in", place);
    }
}
