// The rhythm of a writer's task: how often it comes by itself, and when it stops coming.
#ifndef WEIR_WRITER_RHYTHM_H
#define WEIR_WRITER_RHYTHM_H

#include "writer/writer.h"

// The shortest tick. A thousand looks a second cost under one percent of a core.
#define WEIR_TICK_NS_MIN UINT64_C(1000000)

// After segments were taken: the next tick is as long as one of them took to be filled, so that it
// finds one, and no more than a full segment is to wait.
void weir_rhythm_taken(struct weir_writer *writer, uint32_t segments);
// The end of a tick that begins now. Ticks grow while they find nothing.
uint64_t weir_rhythm_tick(struct weir_writer *writer);

// Sets the next tick of a connected writer that has nothing else to do now: seals the open segment
// when it is due, or goes into deep idle.
//   returns  false: there is something to do at once.
bool weir_rhythm_connected(struct weir_writer *writer);

#endif
