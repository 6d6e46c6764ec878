// Name lookups: the table of those under way and the one thread that makes them.
//
// Numeric addresses never come here. The table and the thread exist from the first real lookup on.
// Both live in one block with a reference count, because the thread may be stuck in a lookup that
// takes minutes when the runtime ends: then the runtime lets go of it, and the thread frees the
// block when it comes back. Therefore the block refers to nothing of the runtime, except through
// wakers, which the thread uses only under the block's lock and only while `closing` is false.
#ifndef WEIR_RUNTIME_RESOLVE_H
#define WEIR_RUNTIME_RESOLVE_H

#include <stdatomic.h>

#include "runtime/cold.h"
#include "runtime/limits.h"
#include "runtime/os.h"
#include "weir.h"

enum weir_lookup_state {
    WEIR_LOOKUP_FREE,
    WEIR_LOOKUP_CLAIMED,  // a future writes the question
    WEIR_LOOKUP_QUEUED,   // waits for the thread
    WEIR_LOOKUP_WORKING,  // the thread writes the answer
    WEIR_LOOKUP_DONE,     // the answer waits for the future
    WEIR_LOOKUP_ABANDONED // the thread works on it, but the future is gone
};

struct weir_lookup {
    _Atomic uint32_t state; // enum weir_lookup_state; says whose the rest is
    int32_t result;
    struct weir_waker waker; // guarded by the block's lock
    uint16_t port;
    char host[WEIR_HOST_BYTES_MAX];
    struct weir_address addresses[WEIR_ADDRESSES_MAX];
};

struct weir_lookup_block {
    struct weir_os os;           // a copy: it outlives the runtime's
    _Atomic uint32_t references; // the runtime's and the thread's
    _Atomic uint32_t orders;     // counts what the thread must look at; it sleeps on this word
    _Atomic uint32_t lock;       // guards the two below and every waker
    bool closing;                // the runtime is going: wake nobody
    bool resolving;              // the thread is, or is about to be, inside os->resolve
    struct weir_lookup lookups[WEIR_LOOKUPS_MAX];
};

struct weir_lookups {
    const struct weir_os *os;
    _Atomic uint32_t lock;           // guards the rest
    struct weir_lookup_block *block; // NULL until the first real lookup
    uint64_t thread;
    bool started;
};

// Cannot fail and allocates nothing.
WEIR_COLD void weir_lookups_init(struct weir_lookups *lookups, const struct weir_os *os);

// Ends the thread: waits for it when it is idle, lets go of it when it is inside a lookup. From
// then on it touches nothing of the runtime. To be called when the workers have stopped and the
// tasks are dropped, before the tasks' memory is freed. Nothing happens to a zeroed one.
WEIR_COLD void weir_lookups_deinit(struct weir_lookups *lookups);

// The same in a forked child, where the thread does not exist: only gives back the memory.
WEIR_COLD void weir_lookups_deinit_forked(struct weir_lookups *lookups);

#endif
