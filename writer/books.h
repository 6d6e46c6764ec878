// Books: what became of the messages that a writer's task took from the row, for all to read.
//
// The task keeps plain numbers of its own and shows them, all at once, after each step that moved
// them. A reader gets the numbers of one moment, in which taken = transit + confirmed + dropped.
//
// There are two copies and a version, which is twice the number of showings, plus one while the
// task writes the next. The task writes the copy that is not the newest, so a reader must begin
// anew only if the task has come round to the reader's copy meanwhile: two showings after the one
// it reads. Nobody waits for anybody, also if the task stops forever in the middle.
//
// Pairs of release and acquire:
// [B1] moving `version` (release) with reading it first (acquire): the copy that it names, and all
//      of it, is seen.
// [B2] writing a word (release) with reading it (acquire): who sees a word of a later showing sees
//      in its second look at `version` that this showing has begun.
#ifndef WEIR_WRITER_BOOKS_H
#define WEIR_WRITER_BOOKS_H

#include <stdatomic.h>

#include "runtime/cold.h"
#include "weir_writer.h"

struct weir_books {
    uint64_t taken_messages, taken_bytes;     // from the row, void messages and gaps included
    uint64_t transit_messages, transit_bytes; // of these, neither confirmed nor dropped
    uint64_t confirmed_messages, confirmed_bytes;
    uint64_t dropped_messages[WEIR_DROPS_COUNT], dropped_bytes[WEIR_DROPS_COUNT];
};
#define WEIR_BOOKS_WORDS (sizeof(struct weir_books) / sizeof(uint64_t))

// All-zero is valid.
struct weir_books_shown {
    _Atomic uint64_t version;
    _Atomic uint64_t copies[2][WEIR_BOOKS_WORDS];
};

// threads  the writer's task.
void weir_books_show(struct weir_books_shown *shown, const struct weir_books *books);
// The newest numbers, and never older ones than this thread has read before.      threads  any.
WEIR_COLD void weir_books_read(const struct weir_books_shown *shown, struct weir_books *books);

#endif
