// The memory model: C11 atomics with happens-before clocks, data races, misuse of the heap.
//
// Per thread: its clock, what acquire fences would add, what release fences made visible. Per
// atomic: its last stores, each with what a load of it synchronises with. A load may return any of
// them that coherence allows (a decision, WEIR_SIM_STALE). The rules, and where they come from, are
// at the top of memory.c, as is the list of what is not modelled: load buffering, a modification
// order other than the order of execution, stale values in a failed compare-exchange, mixed sizes.
//
// tsan.c translates what the compilers emit into these calls; each of them that is an atomic is
// preceded there by a preemption point. The actor is the running thread.
#ifndef WEIR_SIM_MEMORY_H
#define WEIR_SIM_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sim/limits.h"

struct weir_sim;
struct sim_memory;

// A happens-before clock: how far into each thread's past something has seen. Whatever transfers
// happens-before without being an atomic (a thread's end, a descriptor) has one. All-zero: nothing.
struct sim_clock {
    uint32_t seen[SIM_THREADS_MAX];
};

struct sim_memory *sim_memory_create(void);
void sim_memory_destroy(struct sim_memory *memory);
void sim_memory_begin(struct sim_memory *memory, struct weir_sim *sim);

// `child` has seen all that `parent` has; `joiner` sees all that `ended` did.
void sim_memory_thread_start(struct sim_memory *memory, uint32_t parent, uint32_t child);
void sim_memory_thread_join(struct sim_memory *memory, uint32_t joiner, uint32_t ended);
// Kernel objects: what happened before a release is seen after an acquire that follows it.
void sim_memory_release(struct sim_memory *memory, uint32_t actor, struct sim_clock *clock);
void sim_memory_acquire(struct sim_memory *memory, uint32_t actor, const struct sim_clock *clock);

enum sim_order { // values of memory_order and of the __tsan_ interface
    SIM_ORDER_RELAXED,
    SIM_ORDER_CONSUME,
    SIM_ORDER_ACQUIRE,
    SIM_ORDER_RELEASE,
    SIM_ORDER_ACQ_REL,
    SIM_ORDER_SEQ_CST
};
enum sim_rmw {
    SIM_RMW_EXCHANGE,
    SIM_RMW_ADD,
    SIM_RMW_SUB,
    SIM_RMW_AND,
    SIM_RMW_OR,
    SIM_RMW_XOR,
    SIM_RMW_NAND
};
// 1, 2, 4, 8 or 16 bytes.
typedef unsigned __int128 sim_value;

sim_value sim_memory_load(struct sim_memory *memory, const volatile void *address, size_t bytes,
                          enum sim_order order, const void *where);
void sim_memory_store(struct sim_memory *memory, volatile void *address, size_t bytes,
                      sim_value value, enum sim_order order, const void *where);
sim_value sim_memory_rmw(struct sim_memory *memory, volatile void *address, size_t bytes,
                         enum sim_rmw how, sim_value operand, enum sim_order order,
                         const void *where);
// *expected becomes what was found. true: swapped.
bool sim_memory_cas(struct sim_memory *memory, volatile void *address, size_t bytes,
                    sim_value *expected, sim_value desired, bool weak, enum sim_order success,
                    enum sim_order failure, const void *where);
void sim_memory_fence(struct sim_memory *memory, enum sim_order order, const void *where);

// Plain accesses, also of the simulated kernel on a thread's behalf (the bytes of a send). Checks
// for use after free, overruns and, in the fine grain, races. Nothing outside of a run.
void sim_memory_read(struct sim_memory *memory, const void *address, size_t bytes,
                     const void *where);
void sim_memory_write(struct sim_memory *memory, const void *address, size_t bytes,
                      const void *where);
// The block was handed out, or a stack made anew: what was known of it is forgotten. An access by a
// thread that has not seen the allocation is a race.
void sim_memory_fresh(struct sim_memory *memory, const void *address, size_t bytes);
// The block was given back: an access from now on is use after free, one that the release has not
// seen a race.
void sim_memory_freed(struct sim_memory *memory, const void *address, size_t bytes);

// The kernel's look at a futex word: its newest value. Orders nothing.
uint32_t sim_memory_futex(struct sim_memory *memory, const volatile void *address);
// Where in the code the thread's last atomic operation stands; 0: there was none.
uint32_t sim_memory_where(const struct sim_memory *memory, uint32_t actor);
// The number of an object at this address, given at its first use in the run.
uint32_t sim_memory_object(struct sim_memory *memory, const volatile void *address);

#endif
