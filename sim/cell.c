// Cells: what is known of memory, by address; blocks and stacks as they come and go.
//
// The arena's cells are an array over its addresses, other memory's (globals) a hash table. A cell
// is valid only in the run whose generation it bears, so that a new run forgets all of them at
// once; those of a block are forgotten one by one when it is given back.
#include "sim/model.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/assert.h"
#include "sim/region.h"

#define CELLS_MAX ((size_t)(SIM_ARENA_BYTES / SIM_CELL_BYTES))
#define OUTSIDE_MAX ((size_t)4 << 20) // a power of two: a hash table
#define BIRTHS_MIN 256u
#define RESIDENT_CELLS_MAX ((size_t)1 << 20)
// No generation is used twice before its traces are wiped.
#define GENERATIONS_MAX (UINT32_MAX - 1)

// ---- Creation ----

bool sim_cells_create(struct sim_memory *memory)
{
    if (!memory->fine) {
        return true;
    }
    memory->cells = sim_region_reserve(CELLS_MAX * sizeof(memory->cells[0]));
    memory->outside = sim_region_reserve(OUTSIDE_MAX * sizeof(memory->outside[0]));
    memory->accesses = sim_region_reserve(SIM_ACCESSES_MAX * sizeof(memory->accesses[0]));
    memory->births = calloc(BIRTHS_MIN, sizeof(memory->births[0]));
    memory->births_max = BIRTHS_MIN;
    return memory->cells != NULL && memory->outside != NULL && memory->accesses != NULL &&
           memory->births != NULL;
}

void sim_cells_destroy(struct sim_memory *memory)
{
    sim_region_release(memory->cells, CELLS_MAX * sizeof(memory->cells[0]));
    sim_region_release(memory->outside, OUTSIDE_MAX * sizeof(memory->outside[0]));
    sim_region_release(memory->accesses, SIM_ACCESSES_MAX * sizeof(memory->accesses[0]));
    free(memory->births);
}

void sim_cells_begin(struct sim_memory *memory)
{
    if (!memory->fine) {
        return;
    }
    size_t keep = RESIDENT_CELLS_MAX;
    if (memory->generation >= GENERATIONS_MAX) {
        memory->generation = 1;
        keep = 0;
        memory->cells_end = CELLS_MAX;
        sim_region_trim(memory->outside, 0, OUTSIDE_MAX * sizeof(memory->outside[0]));
    }
    sim_region_trim(memory->cells, keep * sizeof(memory->cells[0]),
                    memory->cells_end * sizeof(memory->cells[0]));
    memory->cells_end = 0;
    memory->outside_count = 0;
    memory->accesses_count = 0;
    memory->accesses_free = 0;
    memory->births_count = 0;
    memset(memory->stacks, 0, sizeof(memory->stacks));
}

// ---- Cells ----

struct sim_cell *sim_cell_outside(struct sim_memory *memory, uintptr_t granule)
{
    for (uintptr_t i = granule ^ (granule >> 18);; i++) {
        struct sim_outside *outside = &memory->outside[i & (OUTSIDE_MAX - 1)];
        if (outside->cell.generation != memory->generation) {
            // Claimed even if this access only looks: the caller makes the cell valid.
            if (++memory->outside_count > OUTSIDE_MAX / 2) {
                sim_memory_full(memory, "globals");
            }
            outside->granule = granule;
            return &outside->cell;
        }
        if (outside->granule == granule) {
            return &outside->cell;
        }
    }
}

bool sim_address_thread_local(const struct sim_memory *memory, uintptr_t address)
{
    for (uint32_t i = 0; i < memory->tls_count; i++) {
        if (address >= memory->tls[i].start && address < memory->tls[i].end) {
            return true;
        }
    }
    return false;
}

// What the address lies in, which must be usable memory. NULL: outside.
struct sim_birth *sim_place_check(struct sim_memory *memory, const struct sim_look *look)
{
    uint32_t number;
    size_t offset;
    enum sim_place place =
        sim_arena_place(memory->sim->arena, look->address, look->bytes, &number, &offset);
    switch (place) {
    case SIM_PLACE_OUTSIDE: return NULL;
    case SIM_PLACE_FREED: sim_race_heap(memory, look, "use-after-free");
    case SIM_PLACE_RED_ZONE: sim_race_heap(memory, look, "heap-overrun");
    case SIM_PLACE_STACK: return &memory->stacks[number];
    case SIM_PLACE_LIVE: break;
    }
    return number < memory->births_count ? &memory->births[number] : NULL;
}

void sim_cell_open(struct sim_memory *memory, struct sim_cell *cell, struct sim_birth *birth)
{
    memset(cell, 0, sizeof(*cell));
    cell->generation = memory->generation;
    if (birth == NULL) {
        return;
    }
    if (birth->access != 0) {
        cell->access[1] = birth->access;
        cell->bytes[1] = 0xff;
    }
    uint32_t index = (uint32_t)(cell - memory->cells);
    if (birth->first >= birth->end) {
        birth->first = index;
        birth->end = index + 1;
    }
    birth->first = index < birth->first ? index : birth->first;
    birth->end = index >= birth->end ? index + 1 : birth->end;
}

// ---- Memory handed out and given back ----

static void cells_forget(struct sim_memory *memory, struct sim_birth *birth)
{
    for (uint32_t i = birth->first; i < birth->end; i++) {
        struct sim_cell *cell = &memory->cells[i];
        if (cell->generation == memory->generation) {
            sim_race_forget(memory, cell);
            cell->generation = 0;
        }
    }
    *birth = (struct sim_birth){0};
}

static struct sim_birth *birth_of_block(struct sim_memory *memory, uint32_t number)
{
    if (number >= memory->births_max) {
        uint32_t births_max = number < UINT32_MAX / 4 ? 2 * number : number;
        struct sim_birth *births = realloc(memory->births, births_max * sizeof(memory->births[0]));
        if (births == NULL) {
            sim_memory_full(memory, "blocks");
        }
        memory->births = births;
        memory->births_max = births_max;
    }
    for (; memory->births_count <= number; memory->births_count++) {
        memory->births[memory->births_count] = (struct sim_birth){0};
    }
    return &memory->births[number];
}

void sim_memory_fresh(struct sim_memory *memory, const void *address, size_t bytes)
{
    if (!memory->fine) {
        return;
    }
    uint32_t number;
    size_t offset;
    switch (sim_arena_place(memory->sim->arena, address, bytes, &number, &offset)) {
    case SIM_PLACE_STACK: // what lies in it is checked as it is used, its making needs no check
        cells_forget(memory, &memory->stacks[number]);
        break;
    case SIM_PLACE_LIVE: {
        struct sim_birth *birth = birth_of_block(memory, number);
        *birth = (struct sim_birth){0};
        size_t end = ((uintptr_t)address + bytes - memory->base) / SIM_CELL_BYTES + 1;
        memory->cells_end = end > memory->cells_end ? end : memory->cells_end;
        if (sim_threads_inside(memory->sim->threads)) {
            birth->access = sim_access_pack(memory, sim_actor(memory->sim), true);
        }
        break;
    }
    case SIM_PLACE_OUTSIDE:
    case SIM_PLACE_RED_ZONE:
    case SIM_PLACE_FREED: weir_assert(false);
    }
}

void sim_memory_freed(struct sim_memory *memory, const void *address, size_t bytes)
{
    uint32_t number;
    size_t offset;
    if (!memory->fine || sim_arena_place(memory->sim->arena, address, bytes, &number, &offset) ==
                             SIM_PLACE_OUTSIDE) {
        return;
    }
    struct sim_birth *birth = birth_of_block(memory, number);
    if (sim_threads_inside(memory->sim->threads)) {
        sim_race_freed(memory, birth, address, bytes);
    }
    cells_forget(memory, birth);
}
