// Idle workers: who sleeps, who searches, who is to be woken. The protocol is at the top of idle.c.
#ifndef WEIR_RUNTIME_IDLE_H
#define WEIR_RUNTIME_IDLE_H

#include <stdbool.h>
#include <stdint.h>

struct weir_runtime;
struct weir_worker;

// Wakes a parked worker for work that was just made visible, unless one is searching already.
void weir_idle_notify(struct weir_runtime *runtime);
// Wakes this one if it sleeps; false: it does not.
bool weir_idle_claim(struct weir_runtime *runtime, uint32_t index);
// Wakes one of the workers in the set `among`, preferably not the one in the poller.
void weir_idle_wake_one(struct weir_runtime *runtime, uint64_t among);
// Wakes them all.                                        threads of all these: any
void weir_idle_wake_all(struct weir_runtime *runtime);

// The rest is for the worker's own thread.
// Whether anything is queued that this worker could run.
bool weir_idle_work_visible(struct weir_worker *worker);
// Counts the worker as searching, if not too many are.
bool weir_idle_search(struct weir_worker *worker);
// It has found something, and searches no more.
void weir_idle_found(struct weir_worker *worker);
// Announces sleep.  returns  false: there is something to do after all.
bool weir_idle_enter(struct weir_worker *worker);
// Awake again. Who was woken for work is searching.
void weir_idle_leave(struct weir_worker *worker);

#endif
