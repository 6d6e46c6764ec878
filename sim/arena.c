// The arena: slots cut from one range of addresses, their red zones, and the quarantine.
//
// A slot is a block with at least 16 bytes of red zone behind it; the red zone before a block is
// that of the slot before. Slots are cut from the bottom upwards and never move, so that a table of
// lines of 256 bytes and a few steps find the slot of an address. Freed slots queue by size class
// and are given out again only when a decision says so, or when more than QUARANTINE_BYTES_MAX wait
// or the range is used up: then the oldest of the class. Blocks are numbered from 1 in a run.
#include "sim/arena.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "runtime/assert.h"
#include "sim/limits.h"
#include "sim/region.h"

#define GRANULE_BYTES ((size_t)16) // every start and size of a slot
#define LINE_BYTES ((size_t)256)   // one entry of the table: at most eight slots begin in it
#define RED_ZONE_BYTES ((size_t)16)
#define RED_ZONE_CHECKED_MAX ((size_t)64) // of the slack of large size classes
#define RED_ZONE_FILL 0xb7
#define ALIGNMENT_MAX ((size_t)64 << 10)
// A multiple of every page size in use.
#define GUARD_BYTES ((size_t)64 << 10)
#define STACKS_BYTES (SIM_THREADS_MAX * (GUARD_BYTES + SIM_STACK_BYTES))
#define HEAP_BYTES ((size_t)SIM_ARENA_BYTES - STACKS_BYTES)
// Blocks of a megabyte are poisoned only as far as this, so that freeing them is cheap.
#define POISON_BYTES_MAX ((size_t)4 << 10)
#define QUARANTINE_BYTES_MAX ((size_t)64 << 20)
// What a run may leave resident for the next.
#define RESIDENT_BYTES_MAX ((size_t)64 << 20)
// Eight size classes per doubling, up to the arena's size in granules.
#define CLASSES_COUNT 208
// Freed slots of a class looked at for one that is aligned as asked for.
#define FIT_TRIES_MAX 8

struct slot {
    size_t start, capacity; // capacity: to the end of the red zone
    size_t bytes;
    uint32_t number;
    uint32_t newer, older; // neighbours among the freed ones of the class; 0: none
    uint8_t process, size_class;
    bool live;
};

struct process_use {
    size_t bytes, peak;
    size_t blocks;
};

struct sim_arena {
    char *base;
    void *range; // as mapped, before alignment
    size_t top;  // where the next slot is cut, from base
    size_t dirty;
    uint32_t *lines;    // by address: the last slot that starts at or before the line's start
    struct slot *slots; // from 1, in the order of their addresses
    uint32_t slots_count, slots_max;
    uint32_t number;
    size_t quarantined;
    uint32_t newest[CLASSES_COUNT], oldest[CLASSES_COUNT];
    struct process_use processes[SIM_PROCESSES_MAX];
    uint8_t poison;
};

// ---- Red zones: ASan's own, or else a pattern looked at when the block is given back ----

static size_t red_zone_checked(const struct slot *slot)
{
    size_t bytes = slot->capacity - slot->bytes;
    return bytes < RED_ZONE_CHECKED_MAX ? bytes : RED_ZONE_CHECKED_MAX;
}

static void red_zone_fill(const struct sim_arena *arena, const struct slot *slot)
{
    char *start = arena->base + slot->start + slot->bytes;
    if (SIM_ASAN) {
        sim_region_hide(start, slot->capacity - slot->bytes);
    } else {
        memset(start, RED_ZONE_FILL, red_zone_checked(slot));
    }
}

static bool red_zone_intact(const struct sim_arena *arena, const struct slot *slot)
{
    const unsigned char *at = (const unsigned char *)arena->base + slot->start + slot->bytes;
    for (size_t i = 0; !SIM_ASAN && i < red_zone_checked(slot); i++) {
        if (at[i] != RED_ZONE_FILL) {
            return false;
        }
    }
    return true;
}

// ---- Creation ----

static bool guards_protect(const struct sim_arena *arena)
{
    for (uint32_t i = 0; i < SIM_THREADS_MAX; i++) {
        char *guard = arena->base + HEAP_BYTES + i * (GUARD_BYTES + SIM_STACK_BYTES);
        if (mprotect(guard, GUARD_BYTES, PROT_NONE) != 0) {
            return false;
        }
    }
    return true;
}

struct sim_arena *sim_arena_create(void)
{
    struct sim_arena *arena = calloc(1, sizeof(*arena));
    if (arena == NULL) {
        return NULL;
    }
    arena->range = sim_region_reserve(SIM_ARENA_BYTES + ALIGNMENT_MAX);
    arena->lines = sim_region_reserve(HEAP_BYTES / LINE_BYTES * sizeof(arena->lines[0]));
    if (arena->range != NULL) {
        arena->base = (char *)arena->range + (-(uintptr_t)arena->range & (ALIGNMENT_MAX - 1));
    }
    if (arena->range == NULL || arena->lines == NULL || !guards_protect(arena)) {
        sim_arena_destroy(arena);
        return NULL;
    }
    sim_arena_begin(arena, 0);
    return arena;
}

void sim_arena_destroy(struct sim_arena *arena)
{
    if (arena == NULL) {
        return;
    }
    if (arena->range != NULL) {
        sim_region_show(arena->base, SIM_ARENA_BYTES);
        sim_region_release(arena->range, SIM_ARENA_BYTES + ALIGNMENT_MAX);
    }
    sim_region_release(arena->lines, HEAP_BYTES / LINE_BYTES * sizeof(arena->lines[0]));
    free(arena->slots);
    free(arena);
}

void sim_arena_begin(struct sim_arena *arena, uint8_t poison)
{
    if (arena->top > arena->dirty) {
        arena->dirty = arena->top;
    }
    if (arena->dirty > RESIDENT_BYTES_MAX) {
        sim_region_trim(arena->base, RESIDENT_BYTES_MAX, arena->dirty);
        arena->dirty = RESIDENT_BYTES_MAX;
    }
    sim_region_hide(arena->base, arena->top);
    // The first line holds no block, so that what is just before the first one is a red zone too.
    arena->top = LINE_BYTES;
    arena->lines[0] = 0;
    arena->slots_count = 0;
    arena->quarantined = 0;
    arena->poison = poison;
    if (arena->number != 0) { // otherwise nobody asked for memory: all of these are as they were
        arena->number = 0;
        memset(arena->newest, 0, sizeof(arena->newest));
        memset(arena->oldest, 0, sizeof(arena->oldest));
        memset(arena->processes, 0, sizeof(arena->processes));
    }
}

void *sim_arena_stack(struct sim_arena *arena, uint32_t actor, size_t *bytes)
{
    weir_assert(actor < SIM_THREADS_MAX);
    *bytes = SIM_STACK_BYTES;
    return arena->base + HEAP_BYTES + actor * (GUARD_BYTES + SIM_STACK_BYTES) + GUARD_BYTES;
}

uintptr_t sim_arena_base(const struct sim_arena *arena)
{
    return (uintptr_t)arena->base;
}

// ---- Slots ----

// The size class of a slot for this many bytes, and the slot's capacity: at most an eighth more.
static uint8_t class_of(size_t bytes, size_t *capacity)
{
    size_t granules = (bytes + RED_ZONE_BYTES + GRANULE_BYTES - 1) / GRANULE_BYTES;
    unsigned shift = granules < 16 ? 0 : 60u - (unsigned)__builtin_clzll(granules);
    size_t steps = (granules + ((size_t)1 << shift) - 1) >> shift;
    *capacity = (steps << shift) * GRANULE_BYTES;
    return (uint8_t)(8 * shift + steps);
}

static void freed_unlink(struct sim_arena *arena, uint32_t index)
{
    struct slot *slot = &arena->slots[index];
    *(slot->newer == 0 ? &arena->newest[slot->size_class] : &arena->slots[slot->newer].older) =
        slot->older;
    *(slot->older == 0 ? &arena->oldest[slot->size_class] : &arena->slots[slot->older].newer) =
        slot->newer;
    arena->quarantined -= slot->capacity;
}

static void freed_link(struct sim_arena *arena, uint32_t index)
{
    struct slot *slot = &arena->slots[index];
    uint32_t newest = arena->newest[slot->size_class];
    slot->newer = 0;
    slot->older = newest;
    *(newest == 0 ? &arena->oldest[slot->size_class] : &arena->slots[newest].newer) = index;
    arena->newest[slot->size_class] = index;
    arena->quarantined += slot->capacity;
}

// A freed slot of the class that is aligned so: the newest, or the oldest. 0: none.
static uint32_t freed_take(struct sim_arena *arena, uint8_t size_class, size_t alignment,
                           bool newest)
{
    uint32_t index = newest ? arena->newest[size_class] : arena->oldest[size_class];
    for (uint32_t tries = 0; index != 0 && tries < FIT_TRIES_MAX; tries++) {
        const struct slot *slot = &arena->slots[index];
        if (slot->start % alignment == 0) {
            freed_unlink(arena, index);
            return index;
        }
        index = newest ? slot->older : slot->newer;
    }
    return 0;
}

static bool slots_grow(struct sim_arena *arena)
{
    uint32_t slots_max = arena->slots_max == 0 ? 1024 : 2 * arena->slots_max;
    struct slot *slots = realloc(arena->slots, slots_max * sizeof(slots[0]));
    if (slots == NULL) {
        return false;
    }
    arena->slots = slots;
    arena->slots_max = slots_max;
    return true;
}

static void lines_fill(struct sim_arena *arena, size_t from, size_t to, uint32_t index)
{
    for (size_t line = (from + LINE_BYTES - 1) / LINE_BYTES; line * LINE_BYTES < to; line++) {
        arena->lines[line] = index;
    }
}

// Cuts a new slot. 0: the arena is full.
static uint32_t slot_cut(struct sim_arena *arena, uint8_t size_class, size_t capacity,
                         size_t alignment)
{
    size_t start = (arena->top + alignment - 1) & ~(alignment - 1);
    if (capacity > HEAP_BYTES - start ||
        (arena->slots_count + 2 > arena->slots_max && !slots_grow(arena))) {
        return 0;
    }
    uint32_t index = ++arena->slots_count;
    lines_fill(arena, arena->top, start, index - 1);
    lines_fill(arena, start, start + capacity, index);
    sim_region_hide(arena->base + arena->top, start + capacity - arena->top);
    arena->slots[index].start = start;
    arena->slots[index].capacity = capacity;
    arena->slots[index].size_class = size_class;
    arena->top = start + capacity;
    return index;
}

// *dirty: memory from there on was never written. 0: the arena is full.
static uint32_t slot_get(struct sim_arena *arena, size_t bytes, size_t alignment, bool reuse,
                         size_t *dirty)
{
    size_t capacity;
    uint8_t size_class = class_of(bytes, &capacity);
    uint32_t index = 0;
    if (reuse) {
        index = freed_take(arena, size_class, alignment, true);
    } else if (arena->quarantined > QUARANTINE_BYTES_MAX) {
        index = freed_take(arena, size_class, alignment, false);
    }
    if (index != 0) {
        return index;
    }
    index = slot_cut(arena, size_class, capacity, alignment);
    if (index != 0) {
        *dirty = arena->dirty;
        return index;
    }
    return freed_take(arena, size_class, alignment, false);
}

// The slot that starts last at or before this offset below the top; 0: none.
static uint32_t slot_find(const struct sim_arena *arena, size_t offset)
{
    uint32_t index = arena->lines[offset / LINE_BYTES];
    while (index < arena->slots_count && arena->slots[index + 1].start <= offset) {
        index++;
    }
    return index;
}

// ---- Blocks ----

static void block_count(struct sim_arena *arena, const struct slot *slot)
{
    struct process_use *use = &arena->processes[slot->process];
    use->blocks++;
    use->bytes += slot->bytes;
    if (use->bytes > use->peak) {
        use->peak = use->bytes;
    }
}

void *sim_arena_alloc(struct sim_arena *arena, size_t bytes, size_t alignment, bool reuse,
                      uint32_t process, uint32_t *number)
{
    weir_assert((alignment & (alignment - 1)) == 0 && process < SIM_PROCESSES_MAX);
    if (alignment < GRANULE_BYTES) {
        alignment = GRANULE_BYTES;
    }
    if (bytes > HEAP_BYTES / 2 || alignment > ALIGNMENT_MAX) {
        return NULL;
    }
    size_t dirty = SIM_ARENA_BYTES;
    uint32_t index = slot_get(arena, bytes, alignment, reuse, &dirty);
    if (index == 0) {
        return NULL;
    }
    struct slot *slot = &arena->slots[index];
    slot->bytes = bytes;
    slot->number = ++arena->number;
    slot->process = (uint8_t)process;
    slot->live = true;
    char *memory = arena->base + slot->start;
    sim_region_show(memory, bytes);
    if (slot->start < dirty) {
        memset(memory, 0, bytes < dirty - slot->start ? bytes : dirty - slot->start);
    }
    red_zone_fill(arena, slot);
    block_count(arena, slot);
    *number = slot->number;
    return memory;
}

enum sim_heap_error sim_arena_release(struct sim_arena *arena, void *memory, size_t bytes,
                                      uint32_t *number)
{
    *number = 0;
    size_t offset = (uintptr_t)memory - (uintptr_t)arena->base;
    uint32_t index = offset < arena->top ? slot_find(arena, offset) : 0;
    struct slot *slot = &arena->slots[index];
    if (index == 0 || slot->start != offset) {
        return SIM_HEAP_NOT_A_BLOCK;
    }
    *number = slot->number;
    if (!slot->live) {
        return SIM_HEAP_TWICE;
    }
    if (slot->bytes != bytes) {
        return SIM_HEAP_OTHER_SIZE;
    }
    if (!red_zone_intact(arena, slot)) {
        return SIM_HEAP_RED_ZONE;
    }
    slot->live = false;
    arena->processes[slot->process].blocks--;
    arena->processes[slot->process].bytes -= bytes;
    memset(memory, arena->poison, bytes < POISON_BYTES_MAX ? bytes : POISON_BYTES_MAX);
    sim_region_hide(memory, slot->capacity);
    freed_link(arena, index);
    return SIM_HEAP_GOOD;
}

enum sim_place sim_arena_place(const struct sim_arena *arena, const void *address, size_t bytes,
                               uint32_t *number, size_t *offset)
{
    size_t at = (uintptr_t)address - (uintptr_t)arena->base;
    *number = 0;
    *offset = at;
    if (at >= SIM_ARENA_BYTES) {
        return SIM_PLACE_OUTSIDE;
    }
    if (at >= HEAP_BYTES) {
        *number = (uint32_t)((at - HEAP_BYTES) / (GUARD_BYTES + SIM_STACK_BYTES));
        *offset = (at - HEAP_BYTES) % (GUARD_BYTES + SIM_STACK_BYTES) - GUARD_BYTES;
        return SIM_PLACE_STACK;
    }
    uint32_t index = at < arena->top ? slot_find(arena, at) : arena->slots_count;
    if (index == 0) {
        return SIM_PLACE_RED_ZONE;
    }
    const struct slot *slot = &arena->slots[index];
    *number = slot->number;
    *offset = at - slot->start;
    if (!slot->live && *offset < slot->capacity) {
        return SIM_PLACE_FREED;
    }
    return *offset <= slot->bytes && bytes <= slot->bytes - *offset ? SIM_PLACE_LIVE
                                                                    : SIM_PLACE_RED_ZONE;
}

// ---- Accounts ----

size_t sim_arena_live(const struct sim_arena *arena, uint32_t process, uint32_t *number,
                      size_t *bytes)
{
    *number = 0;
    *bytes = 0;
    if (arena->processes[process].blocks == 0) {
        return 0;
    }
    for (uint32_t i = 1; i <= arena->slots_count; i++) {
        const struct slot *slot = &arena->slots[i];
        if (slot->live && slot->process == process && (*number == 0 || slot->number < *number)) {
            *number = slot->number;
            *bytes = slot->bytes;
        }
    }
    return arena->processes[process].blocks;
}

size_t sim_arena_bytes(const struct sim_arena *arena, uint32_t process, size_t *peak)
{
    *peak = arena->processes[process].peak;
    return arena->processes[process].bytes;
}
