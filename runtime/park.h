// A worker's parking place: one word that says how it sleeps, so that a wake-up is never lost.
//
//   word     meaning                             unpark does
//   RUNNING  awake                               -> TOKEN; the next park returns at once
//   TOKEN    awake, and was told to stay so      nothing
//   FUTEX    asleep on this word                 -> TOKEN and futex_wake
//   POLLER   asleep in the poller, or a host     -> TOKEN and poller_wake
//            sleeps on the poller's descriptor
#ifndef WEIR_RUNTIME_PARK_H
#define WEIR_RUNTIME_PARK_H

#include <stdatomic.h>

#include "runtime/os.h"

enum weir_park_state { WEIR_PARK_RUNNING, WEIR_PARK_TOKEN, WEIR_PARK_FUTEX, WEIR_PARK_POLLER };

struct weir_parker {
    _Alignas(64) _Atomic uint32_t state;
};

// Says how the caller is about to sleep.  returns  false: a token was there and is used up; do not
// sleep.                                     threads  the parker's owner.
WEIR_MUST_USE bool weir_park_begin(struct weir_parker *parker, enum weir_park_state how);
// Replaces one state by another, if it is that.  threads  owner.
bool weir_park_change(struct weir_parker *parker, enum weir_park_state from,
                      enum weir_park_state to);
// Awake again; uses up a token.              threads  owner.
void weir_park_end(struct weir_parker *parker);
// Sleeps on the word until unparked or the deadline.  threads  owner, after begin(FUTEX).
void weir_park_futex(struct weir_parker *parker, const struct weir_os *os, uint64_t deadline_ns);
// Makes the owner's present or next sleep end. true: it was asleep, and a system call was made.
//                                            threads  any, and in a signal handler.
bool weir_unpark(struct weir_parker *parker, const struct weir_os *os,
                 const struct weir_poller *poller);

#endif
