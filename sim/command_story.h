// Stories as `explain` reads them: line by line, each deviation with the events that it led to.
#ifndef WEIR_SIM_COMMAND_STORY_H
#define WEIR_SIM_COMMAND_STORY_H

#include "sim/command.h"

#define SIM_STORY_LINE_BYTES 512
#define SIM_STORY_NAME_BYTES 32 // of an event's name

// ---- Lines (command_story.c) ----

// Who hears a story while the run tells it, so that one of millions of events needs no room.
struct sim_listener {
    char line[SIM_STORY_LINE_BYTES];
    size_t length;
    void (*hear)(void *context, const char *line); // without its newline
    void *context;
};
// Runs the record with this listener. returns  false: no memory.
bool sim_story_listen(struct sim_listener *listener, struct sim_case *it,
                      const struct sim_command *command, struct weir_sim_result *result);
// The name of a line's event, empty if the line is none.
//   memory   `name` holds SIM_STORY_NAME_BYTES.
//   returns  what follows the name.
const char *sim_story_event(const char *line, char *name);

// ---- What deviations led to (command_story.c) ----

struct sim_consequence {
    char next[SIM_STORY_LINE_BYTES];     // the event after it, from its name on
    char own_last[SIM_STORY_NAME_BYTES]; // the name of the same thread's event before it
    char own_next[SIM_STORY_LINE_BYTES]; // the same thread's next event
};

// In the order of the deviations. Filled by sim_consequences_hear, which is a listener's `hear`.
struct sim_consequences {
    struct sim_consequence *list;
    size_t count, room;
    bool pending;                    // the last one waits for the next event
    size_t waiting[SIM_THREADS_MAX]; // by actor: number of the one that waits for its own_next
    char last_names[SIM_THREADS_MAX][SIM_STORY_NAME_BYTES]; // by actor
};
void sim_consequences_hear(void *context, const char *line);

// ---- Sentences (command_prose.c) ----

// One deviation as a sentence, without its line's end.
void sim_prose_tell(FILE *to, const struct weir_sim_deviation *deviation,
                    const struct sim_consequence *consequence);
// A line with what it is about, if that is known: what a thread that was switched away from would
// have done, what the call or load in question was.
void sim_prose_tell_place(FILE *to, const struct weir_sim_deviation *deviation,
                          const struct sim_consequence *consequence);

#endif
