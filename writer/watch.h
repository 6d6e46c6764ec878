// What a writer's task sees: events, and what they mean for the books.
//
// Threads: the writer's task alone.
#ifndef WEIR_WRITER_WATCH_H
#define WEIR_WRITER_WATCH_H

#include "runtime/cold.h"
#include "writer/writer.h"

// The next event, if there is one: polls what the state waits for, looks at the socket, the row and
// the clock (`now_ns`).
bool weir_watch_look(struct weir_writer *writer, struct weir_context *context,
                     enum weir_event *event);
// Whether everything the host gave is confirmed or dropped, and no more can come.
enum weir_guard weir_watch_guard(const struct weir_writer *writer);

// Everything on the wire before `position` is confirmed: makes room, and tells who waits.
void weir_watch_confirm(struct weir_writer *writer, uint64_t position);
// Whether all that left the row is in the books: taken by the task, or thrown away and counted.
bool weir_watch_accounted(const struct weir_writer *writer);
// The sequence number before which every segment is confirmed, or dropped and counted; telling it.
uint64_t weir_watch_settled(const struct weir_writer *writer);
void weir_watch_tell(struct weir_writer *writer);

// Dials the present address. Each has the whole time limit: a dead one must not cost the next its
// turn.
WEIR_COLD void weir_watch_dial(struct weir_writer *writer);
// When closing has to be over; WEIR_NEVER: not closing.
uint64_t weir_watch_deadline_ns(struct weir_writer *writer);
WEIR_COLD void weir_watch_fault(struct weir_writer *writer, enum weir_fault fault);

#endif
