// Histories: the atomics of a run, the last stores of each, and what each store carries.
//
// Memory for clocks is cut from one range and never given back within a run; a store's clocks are
// used again by the store that takes its place in the ring, and those of a dropped atomic by the
// next one made. A clock is as long as there were threads when it was written; the rest is zero.
#include "sim/model.h"

#include <string.h>

#include "runtime/assert.h"
#include "sim/region.h"

#define ATOMICS_MAX ((size_t)4 << 20)
#define VECTORS_MAX ((size_t)512 << 20) // entries
#define NUMBERS_MAX ((size_t)8 << 20)   // a power of two: a hash table
#define CAPACITY_MIN 4u
// What a run may leave resident of each table for the next.
#define RESIDENT_BYTES_MAX ((size_t)16 << 20)

// ---- Creation ----

bool sim_histories_create(struct sim_memory *memory)
{
    memory->atomics = sim_region_reserve(ATOMICS_MAX * sizeof(memory->atomics[0]));
    memory->vectors = sim_region_reserve(VECTORS_MAX * sizeof(memory->vectors[0]));
    memory->numbers = sim_region_reserve(NUMBERS_MAX * sizeof(memory->numbers[0]));
    return memory->atomics != NULL && memory->vectors != NULL && memory->numbers != NULL;
}

void sim_histories_destroy(struct sim_memory *memory)
{
    sim_region_release(memory->atomics, ATOMICS_MAX * sizeof(memory->atomics[0]));
    sim_region_release(memory->vectors, VECTORS_MAX * sizeof(memory->vectors[0]));
    sim_region_release(memory->numbers, NUMBERS_MAX * sizeof(memory->numbers[0]));
}

void sim_histories_begin(struct sim_memory *memory)
{
    sim_region_trim(memory->atomics, RESIDENT_BYTES_MAX,
                    memory->atomics_count * sizeof(memory->atomics[0]));
    sim_region_trim(memory->vectors, RESIDENT_BYTES_MAX,
                    memory->vectors_count * sizeof(memory->vectors[0]));
    memory->atomics_count = 0;
    memory->atomics_free = 0;
    memory->vectors_count = 0;
    memory->numbers_count = 0;
}

// ---- Memory of clocks ----

static uint32_t *vector_cut(struct sim_memory *memory, size_t entries)
{
    if (entries > VECTORS_MAX - memory->vectors_count) {
        sim_memory_full(memory, "clocks of atomics");
    }
    uint32_t *vector = &memory->vectors[memory->vectors_count];
    memory->vectors_count += entries;
    return vector;
}

static uint8_t capacity_for(uint32_t threads)
{
    uint32_t capacity = CAPACITY_MIN;
    while (capacity < threads) {
        capacity *= 2;
    }
    return (uint8_t)(capacity < SIM_THREADS_MAX ? capacity : SIM_THREADS_MAX);
}

void sim_history_grow(struct sim_memory *memory, struct sim_store *store)
{
    if (store->capacity >= memory->threads_count) {
        return;
    }
    uint8_t capacity = capacity_for(memory->threads_count);
    uint32_t *vector = vector_cut(memory, (size_t)capacity * 2);
    sim_clock_copy(vector, store->sync, store->sync_count);
    sim_clock_copy(vector + capacity, store->sync + store->capacity, store->seen_count);
    store->sync = vector;
    store->capacity = capacity;
}

struct sim_use *sim_history_use(struct sim_memory *memory, struct sim_atomic *atomic,
                                uint32_t actor)
{
    if (actor < atomic->uses_count) {
        return &atomic->uses[actor];
    }
    if (actor >= atomic->uses_capacity) {
        uint8_t capacity = capacity_for(memory->threads_count);
        size_t entries = sizeof(struct sim_use) / sizeof(uint32_t);
        struct sim_use *uses = (struct sim_use *)vector_cut(memory, capacity * entries);
        for (uint32_t i = 0; i < atomic->uses_count; i++) {
            uses[i] = atomic->uses[i];
        }
        atomic->uses = uses;
        atomic->uses_capacity = capacity;
    }
    while (atomic->uses_count <= actor) {
        atomic->uses[atomic->uses_count++] = (struct sim_use){0};
    }
    return &atomic->uses[actor];
}

// ---- Atomics ----

static uint32_t atomic_take(struct sim_memory *memory)
{
    uint32_t index = memory->atomics_free;
    if (index != 0) {
        memory->atomics_free = memory->atomics[index].next;
        return index;
    }
    index = memory->atomics_count + 1;
    if (index >= ATOMICS_MAX) {
        sim_memory_full(memory, "atomics");
    }
    memory->atomics_count = index;
    struct sim_atomic *atomic = &memory->atomics[index];
    atomic->uses_capacity = 0;
    for (uint32_t i = 0; i < SIM_STORES_MAX; i++) {
        atomic->stores[i].capacity = 0;
    }
    return index;
}

void sim_history_start(struct sim_atomic *atomic, sim_value value)
{
    atomic->stores_count = 0;
    atomic->newest = SIM_STORES_MAX - 1;
    struct sim_store *store = sim_history_push(atomic, value);
    store->thread = 0;
    store->time = 0;
    store->sequential = 0;
    store->where = 0;
}

uint32_t sim_history_create(struct sim_memory *memory, uintptr_t address, uint32_t bytes)
{
    uint32_t index = atomic_take(memory);
    struct sim_atomic *atomic = &memory->atomics[index];
    atomic->address = address;
    atomic->bytes = (uint8_t)bytes;
    atomic->object = sim_memory_object(memory, (const volatile void *)address);
    atomic->uses_count = 0;
    sim_history_start(atomic, sim_value_read((const volatile void *)address, bytes));
    return index;
}

void sim_history_drop(struct sim_memory *memory, uint32_t index)
{
    memory->atomics[index].next = memory->atomics_free;
    memory->atomics_free = index;
}

struct sim_store *sim_history_push(struct sim_atomic *atomic, sim_value value)
{
    atomic->newest = (atomic->newest + 1) & (SIM_STORES_MAX - 1);
    if (atomic->stores_count < SIM_STORES_MAX) {
        atomic->stores_count++;
    }
    struct sim_store *store = &atomic->stores[atomic->newest];
    store->value = value;
    store->sync_count = 0;
    store->seen_count = 0;
    return store;
}

// ---- Numbers ----

uint32_t sim_memory_object(struct sim_memory *memory, const volatile void *address)
{
    uintptr_t key = (uintptr_t)address;
    for (uintptr_t i = (key >> 2) ^ (key >> 20);; i++) {
        struct sim_number *number = &memory->numbers[i & (NUMBERS_MAX - 1)];
        if (number->generation != memory->generation) {
            if (memory->numbers_count >= NUMBERS_MAX / 2) {
                sim_memory_full(memory, "objects");
            }
            number->generation = memory->generation;
            number->address = key;
            number->number = ++memory->numbers_count;
        }
        if (number->address == key) {
            return number->number;
        }
    }
}

// ---- Values ----

void sim_value_write(volatile void *address, size_t bytes, sim_value value)
{
    switch (bytes) {
    case 1: *(volatile uint8_t *)address = (uint8_t)value; break;
    case 2: *(volatile uint16_t *)address = (uint16_t)value; break;
    case 4: *(volatile uint32_t *)address = (uint32_t)value; break;
    case 8: *(volatile uint64_t *)address = (uint64_t)value; break;
    case 16: *(volatile sim_value *)address = value; break;
    default: weir_assert(false);
    }
}
