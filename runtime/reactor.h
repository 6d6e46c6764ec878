// The reactor: which descriptors are watched, what is known of their readiness, and who waits.
//
// A source is one watched descriptor. Its memory is never given back before weir_reactor_deinit and
// its generation grows whenever it changes hands, so that an event or a call that comes too late
// meets valid memory, sees another generation and does nothing.
//
// Readiness is edge-triggered: the poller tells once, the reactor remembers. A direction's tick
// counts its events; weir_reactor_clear forgets only the readiness of the tick it is given, so that
// an event which arrives between a system call's -EAGAIN and the clearing is kept.
//
// Threads: everything but weir_reactor_poll, init and deinit from any thread at any time;
// weir_reactor_poll from one thread at a time. Lock order: a source's lock is innermost.
#ifndef WEIR_RUNTIME_REACTOR_H
#define WEIR_RUNTIME_REACTOR_H

#include <stdatomic.h>

#include "runtime/cold.h"
#include "runtime/limits.h"
#include "runtime/os.h"
#include "weir.h"

// The first chunk of sources; each later one is as large as all before it together.
#define WEIR_SOURCES_FIRST 64
// 64 << 10 == WEIR_SOURCES_MAX
#define WEIR_SOURCE_CHUNKS 11

struct weir_source_side {
    struct weir_waker waker; // task NULL: nobody waits
    uint32_t tick;
    bool ready;
};

// One cache line.
struct weir_source {
    _Atomic uint32_t lock; // guards everything here but `next`
    uint32_t generation;   // never 0 once used; bumped when the source is given back
    int fd;                // -1 while free
    uint32_t next;         // free list: index + 1, 0 ends it; guarded by the reactor's lock
    struct weir_source_side sides[2]; // readable, writable
};

struct weir_reactor {
    const struct weir_os *os;
    struct weir_poller poller;
    _Atomic uint32_t polling;    // 1 while a thread is in weir_reactor_poll
    _Atomic uint32_t lock;       // guards the three below
    uint32_t free_first;         // index + 1 of the first free source; 0: none
    uint32_t made_count;         // sources handed out at least once: indices below this
    _Atomic uint32_t used_count; // written under the lock, read by anyone
    _Atomic(struct weir_source *) chunks[WEIR_SOURCE_CHUNKS];
};

// returns  0, or -errno from opening the poller.
WEIR_COLD int weir_reactor_init(struct weir_reactor *reactor, const struct weir_os *os);

// Closes the poller and frees the sources; descriptors still watched are left open. Takes no lock,
// so that a forked child may call it. Nothing happens to a zeroed reactor.
WEIR_COLD void weir_reactor_deinit(struct weir_reactor *reactor);

// Watches a descriptor in both directions.
//   returns  0; WEIR_ELIMIT WEIR_SOURCES_MAX are watched; WEIR_EMEMORY; -errno from the poller.
WEIR_COLD int weir_reactor_add(struct weir_reactor *reactor, int fd, uint32_t *source,
                               uint32_t *generation);

// Stops watching; to be called before the descriptor is closed. Waiters are forgotten, not woken.
// Not to be called in a forked child: the poller is shared with the parent, whose watch it would
// end.
WEIR_COLD void weir_reactor_remove(struct weir_reactor *reactor, uint32_t source,
                                   uint32_t generation);

// Whether `direction` (WEIR_READABLE or WEIR_WRITABLE) is thought ready; maybe wrongly. true: *tick
// says which readiness this is. false: `waker` replaces whoever waited and is woken once at the
// next event. A source that is gone is ready: its socket call will say what is wrong.
bool weir_reactor_ready(struct weir_reactor *reactor, uint32_t source, uint32_t generation,
                        enum weir_readiness direction, struct weir_waker waker, uint32_t *tick);

// Forgets the readiness seen at `tick`, unless there was an event since.
void weir_reactor_clear(struct weir_reactor *reactor, uint32_t source, uint32_t generation,
                        enum weir_readiness direction, uint32_t tick);

// Removes `waker` if it is still the one that waits.
void weir_reactor_forget(struct weir_reactor *reactor, uint32_t source, uint32_t generation,
                         enum weir_readiness direction, struct weir_waker waker);

// Waits until the deadline (0: not at all; WEIR_NEVER) for events, at most WEIR_EVENTS_MAX, and
// wakes their waiters on this worker.
//   returns  the number of events, 0 also after weir_reactor_wake or an interruption; -errno: the
//            poller itself is broken and would fail again at once, so the caller must not spin.
//   threads  one at a time, the worker's own.
int weir_reactor_poll(struct weir_reactor *reactor, struct weir_worker *worker,
                      uint64_t deadline_ns);

// Whether anything is watched: a hint, which may be outdated.
static inline bool weir_reactor_watching(struct weir_reactor *reactor)
{
    return atomic_load_explicit(&reactor->used_count, memory_order_relaxed) != 0;
}

// Makes the present or next weir_reactor_poll return.
//   threads  any, and in a signal handler.
void weir_reactor_wake(struct weir_reactor *reactor);

_Static_assert(WEIR_SOURCES_FIRST << (WEIR_SOURCE_CHUNKS - 1) == WEIR_SOURCES_MAX,
               "the chunks together hold exactly all sources");

#endif
