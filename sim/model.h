// The memory model's tables: threads' clocks, atomics with their stores, what is known of memory.
//
// Shared by memory.c (the rules), history.c (atomics and their stores), cell.c (memory by address)
// and race.c (accesses against each other). All tables are reserved ranges; what a run used is
// forgotten at the next by a generation number or by starting from the first entry again.
#ifndef WEIR_SIM_MODEL_H
#define WEIR_SIM_MODEL_H

#include "runtime/assert.h"
#include "sim/memory.h"
#include "sim/sim.h"

// ---- Threads ----

// The clock's own entry is the thread's time. It moves on after everything that publishes the
// clock, so that what comes later is not taken for published.
struct sim_view {
    uint32_t clock[SIM_THREADS_MAX];
    uint32_t acquire_fence[SIM_THREADS_MAX]; // what relaxed loads read, for the next acquire fence
    uint32_t release_fence[SIM_THREADS_MAX]; // the clock at the last release fence
    bool acquire_pending, release_pending;   // false: the fence's clock is all zero
    uint32_t where;                          // the thread's last atomic operation in the code, or 0
};

// ---- Atomics ----

struct sim_store {
    sim_value value;
    uint32_t *sync; // what a load synchronises with; `capacity` entries, then as many of `seen`
    uint32_t time;  // of the thread that stored; 0: known to all
    // The number of seq_cst fences before the first seq_cst access of this store, plus 1; 0: none.
    uint32_t sequential;
    uint32_t where; // the operation in the code; 0: what memory held before
    uint8_t thread;
    uint8_t capacity;
    uint8_t sync_count; // entries; the rest is zero
    uint8_t seen_count; // as above, of the time each thread first loaded this store
};

// What a thread did with an atomic: the times of its last load and store, or 0.
struct sim_use {
    uint32_t loaded, stored;
    uint32_t where;
    uint32_t stale; // loads in a row that returned an older store
};

struct sim_atomic {
    uintptr_t address;
    struct sim_use *uses;
    uint32_t object; // its number
    uint32_t next;   // of the same granule; 0: none
    uint8_t bytes;
    uint8_t newest; // index of the newest store
    uint8_t stores_count;
    uint8_t uses_count, uses_capacity;
    struct sim_store stores[SIM_STORES_MAX];
};
_Static_assert((SIM_STORES_MAX & (SIM_STORES_MAX - 1)) == 0, "the ring of stores wraps by a mask");

// A seq_cst fence: whose, when, and what had happened before any of the fences before it.
struct sim_fence {
    uint32_t thread, time;
    uint32_t before[SIM_THREADS_MAX];
};
// Fences remembered one by one: a load whose last seq_cst fence is older counts as after the oldest
// of these, which only makes it see more.
#define SIM_FENCES_MAX 64u

// ---- Plain accesses ----

// An access, packed: thread << 25 | write << 24 | time. Time is at least 1, so 0 is none.
#define SIM_ACCESS_TIME_BITS 24
#define SIM_ACCESS_TIME ((UINT32_C(1) << SIM_ACCESS_TIME_BITS) - 1)
#define SIM_ACCESS_WRITE (UINT32_C(1) << SIM_ACCESS_TIME_BITS)

// Eight bytes of memory. The two newest accesses lie here, others in a list.
struct sim_cell {
    uint32_t generation; // the run's, or nothing is known
    uint32_t atomics;    // the first atomic that starts here; 0: none
    uint32_t more;       // the first further access; 0: none
    uint32_t access[2];
    uint32_t where[2];
    uint8_t bytes[2]; // a bit per byte
};

struct sim_access {
    uint32_t access, where, next;
    uint8_t bytes;
};

#define SIM_ACCESSES_MAX ((size_t)16 << 20)

struct sim_outside { // a cell of memory that is not the arena's
    uintptr_t granule;
    struct sim_cell cell;
};

// A block or stack: when it was made, packed as above (0: known to all), and which of its cells
// may be in use.
struct sim_birth {
    uint32_t access;
    uint32_t first, end;
};

// ---- All of it ----

struct sim_number { // an object's
    uintptr_t address;
    uint32_t generation, number;
};

#define SIM_TLS_RANGES_MAX 8

struct sim_memory {
    struct weir_sim *sim;
    bool fine;
    uint32_t generation;
    uint32_t threads_count; // clocks are compared up to this
    uintptr_t base;         // the arena's
    struct sim_view views[SIM_THREADS_MAX];

    struct sim_atomic *atomics; // from 1
    uint32_t atomics_count, atomics_free;
    uint32_t *vectors; // memory of clocks and uses
    size_t vectors_count;
    struct sim_number *numbers;
    uint32_t numbers_count;

    uint32_t fences_count;
    uint32_t fences_seen[SIM_THREADS_MAX]; // all that happened before any seq_cst fence so far
    struct sim_fence fences[SIM_FENCES_MAX];

    struct sim_cell *cells; // of the arena
    struct sim_outside *outside;
    uint32_t outside_count;
    size_t cells_end;            // of the highest block of this run
    struct sim_access *accesses; // from 1
    uint32_t accesses_count, accesses_free;
    struct sim_birth *births; // by the block's number
    uint32_t births_count, births_max;
    struct sim_birth stacks[SIM_THREADS_MAX];

    uintptr_t image; // code positions are told relative to the program's load address
    struct {
        uintptr_t start, end;
    } tls[SIM_TLS_RANGES_MAX];
    uint32_t tls_count;
};

// Ends the run: a bound of this table was met.
_Noreturn void sim_memory_full(struct sim_memory *memory, const char *what);

// ---- Clocks ----

static inline bool sim_clock_has(const uint32_t *clock, uint32_t thread, uint32_t time)
{
    return clock[thread] >= time;
}

static inline void sim_clock_join(uint32_t *clock, const uint32_t *other, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        clock[i] = clock[i] < other[i] ? other[i] : clock[i];
    }
}

static inline void sim_clock_copy(uint32_t *clock, const uint32_t *other, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        clock[i] = other[i];
    }
}

// ---- history.c: atomics ----

bool sim_histories_create(struct sim_memory *memory);
void sim_histories_destroy(struct sim_memory *memory);
void sim_histories_begin(struct sim_memory *memory);

// Makes an atomic whose only store is what memory holds, known to all.
uint32_t sim_history_create(struct sim_memory *memory, uintptr_t address, uint32_t bytes);
void sim_history_drop(struct sim_memory *memory, uint32_t index);
// The use of this atomic by this thread; room is made for it.
struct sim_use *sim_history_use(struct sim_memory *memory, struct sim_atomic *atomic,
                                uint32_t actor);
// Starts anew with one store, known to all.
void sim_history_start(struct sim_atomic *atomic, sim_value value);
// A new newest store. Its sync clock is empty.
struct sim_store *sim_history_push(struct sim_atomic *atomic, sim_value value);
// Makes room in the store's clocks for all threads of now.
void sim_history_grow(struct sim_memory *memory, struct sim_store *store);

static inline struct sim_store *sim_history_at(struct sim_atomic *atomic, uint32_t behind)
{
    return &atomic->stores[(atomic->newest - behind) & (SIM_STORES_MAX - 1)];
}

// Memory's bytes as a value, and back.
static inline sim_value sim_value_read(const volatile void *address, size_t bytes)
{
    switch (bytes) {
    case 1: return *(const volatile uint8_t *)address;
    case 2: return *(const volatile uint16_t *)address;
    case 4: return *(const volatile uint32_t *)address;
    case 8: return *(const volatile uint64_t *)address;
    default: weir_assert(bytes == 16); return *(const volatile sim_value *)address;
    }
}
void sim_value_write(volatile void *address, size_t bytes, sim_value value);

// ---- cell.c: memory by address ----

#define SIM_CELL_BYTES ((uintptr_t)8)

// One access that is being looked at.
struct sim_look {
    uint32_t actor, packed, where;
    const uint32_t *clock;
    const void *address; // all of it, for the report
    size_t bytes;
};

bool sim_cells_create(struct sim_memory *memory);
void sim_cells_destroy(struct sim_memory *memory);
void sim_cells_begin(struct sim_memory *memory);

struct sim_cell *sim_cell_outside(struct sim_memory *memory, uintptr_t granule);
// May not be valid yet: see its generation.
static inline struct sim_cell *sim_cell_at(struct sim_memory *memory, uintptr_t address)
{
    uintptr_t offset = address - memory->base;
    return offset < SIM_ARENA_BYTES ? &memory->cells[offset / SIM_CELL_BYTES]
                                    : sim_cell_outside(memory, address / SIM_CELL_BYTES);
}
// Makes the cell valid: the first access to these bytes since they were handed out.
void sim_cell_open(struct sim_memory *memory, struct sim_cell *cell, struct sim_birth *birth);
// What the access lies in, which must be usable memory. NULL: outside, or never told of.
struct sim_birth *sim_place_check(struct sim_memory *memory, const struct sim_look *look);
// Every virtual thread has its own, but all at one address: not looked at.
bool sim_address_thread_local(const struct sim_memory *memory, uintptr_t address);

static inline uint32_t sim_access_pack(const struct sim_memory *memory, uint32_t actor, bool write)
{
    return actor << (SIM_ACCESS_TIME_BITS + 1) | (write ? SIM_ACCESS_WRITE : 0) |
           memory->views[actor].clock[actor];
}

// ---- race.c: accesses against each other ----

// An atomic access: looks for misuse of the heap and races with plain accesses, and counts as an
// access itself. Returns the atomic, made if it is not known.
struct sim_atomic *sim_race_atomic(struct sim_memory *memory, uint32_t actor,
                                   const volatile void *address, size_t bytes, bool write,
                                   const void *where);
// Giving the block back is a write of all of it.
void sim_race_freed(struct sim_memory *memory, const struct sim_birth *birth, const void *address,
                    size_t bytes);
// Drops the cell's accesses and atomics.
void sim_race_forget(struct sim_memory *memory, struct sim_cell *cell);
_Noreturn void sim_race_heap(const struct sim_memory *memory, const struct sim_look *look,
                             const char *name);

#endif
