// What `weir recv` sets up and its tasks work on.
#ifndef WEIR_WRITER_COMMAND_COLLECT_H
#define WEIR_WRITER_COMMAND_COLLECT_H

#include "writer/command.h"

// Touched by one thread only.
struct weir_collect {
    // Options:
    const char *endpoint, *file;
    uint64_t slow_bytes, drop_after, exit_after; // 0: no
    enum weir_unframing unframing;
    bool count_only, quiet, once;
    // Open while it runs:
    struct weir_runtime *runtime; // of zero workers
    struct weir_listener socket;
    struct weir_stream listener, signals; // the second is a signalfd
    struct weir_output output;
    struct weir_notify stop;
    // What happened:
    bool stopping;
    uint64_t stopping_ns;
    uint64_t records, bytes, connections, torn, faults;
    uint64_t open; // connections, now
};

// Receives until a signal, or an option, ends it.
//   returns  0, or what weir_block_on returns.
int weir_collect_run(struct weir_collect *collect);

// For the output: takes signals while it waits. Whether to go on waiting.
bool weir_collect_patient(void *context);

#endif
