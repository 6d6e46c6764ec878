// Report: what a writer tells its host's log callback, a line at a time.
//
// Two themes: trouble with connections, and losses of messages. Each has a line when it begins, and
// one when it ends; trouble also for each further kind of fault at each endpoint. Between two lines
// lies WEIR_REPORT_INTERVAL_NS: what comes in between waits, and of what has come and gone by then
// the next line tells the number, "... and 17 more".
//
//     QUIET --(fault, loss)--> BEGUN --its line--> TOLD --(over)--> OVER --its line--> QUIET
//     BEGUN --(over)--> OVER_UNTOLD --one line for both--> QUIET
//     OVER --(fault, loss)--> TOLD      OVER_UNTOLD --(fault, loss)--> BEGUN
//     TOLD --(another kind of fault)--> BEGUN
//
// Trouble is over with a connection, losses when there was none for an interval.
//
// Losses are noted by logging threads, as counters; the task looks at them when it comes by, and
// for that at least once an interval while it has no connection. So the times of a loss are those
// of the looks, and later than the loss by an interval at most.
//
// Threads: the writer's task alone, which calls back from here.
#ifndef WEIR_WRITER_REPORT_H
#define WEIR_WRITER_REPORT_H

#include "runtime/cold.h"
#include "weir_writer.h"
#include "writer/limits.h"

struct weir_writer;

enum weir_report_stage {
    WEIR_REPORT_QUIET,
    WEIR_REPORT_BEGUN,       // a line is due
    WEIR_REPORT_TOLD,        // it goes on
    WEIR_REPORT_OVER_UNTOLD, // a line is due, and none was said
    WEIR_REPORT_OVER         // a line is due
};

enum weir_report_theme { WEIR_REPORT_TROUBLE, WEIR_REPORT_LOSSES, WEIR_REPORT_THEMES_COUNT };

// Messages lost since open, by reason: those of enum weir_dropping, and WEIR_REPORT_FULL.
#define WEIR_REPORT_FULL WEIR_DROPS_COUNT
struct weir_report_sums {
    uint64_t messages[WEIR_DROPS_COUNT + 1];
    uint64_t bytes;
};

// All-zero is valid.
struct weir_report {
    uint64_t next_ns;            // no line before
    uint64_t unsaid;             // what came and went since the last line
    enum weir_report_theme last; // the theme of the last line: the other one goes first
    enum weir_report_stage stages[WEIR_REPORT_THEMES_COUNT];
    uint64_t begin_ns[WEIR_REPORT_THEMES_COUNT], end_ns[WEIR_REPORT_THEMES_COUNT];
    // Trouble.
    uint32_t faults;                   // of this trouble
    uint32_t endpoint, due_endpoint;   // of the last one; and of that whose line is due
    enum weir_fault fault, due_fault;  // the same
    const char *due_reason;            // in words, where the server is to blame; or NULL
    uint64_t due_bytes;                // what it had sent on that connection
    uint32_t told[WEIR_ENDPOINTS_MAX]; // bit i: fault i of this trouble was told
    // Losses.
    uint64_t begin_wall_ns, end_wall_ns;
    struct weir_report_sums seen;   // at the last look
    struct weir_report_sums before; // when they began
};

// A fault at the present endpoint.
WEIR_COLD void weir_report_fault(struct weir_writer *writer, enum weir_fault fault);
// The present endpoint is connected.
WEIR_COLD void weir_report_connected(struct weir_writer *writer);
// Looks for losses, says what is due, and sets WEIR_ALARM_REPORT to when that is next.
void weir_report_look(struct weir_writer *writer);
// The writer ends: says everything that is left.
WEIR_COLD void weir_report_end(struct weir_writer *writer);

#endif
