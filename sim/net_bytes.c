// Queues of the network: bytes, and the kernel buffers that Unix sockets and datagrams consist of.
//
// Memory for bytes comes in powers of two from a pool that outlives the run, since a run may open
// many connections and hold little in each.
#include <stdlib.h>
#include <string.h>

#include "runtime/assert.h"
#include "sim/net_state.h"

#define BYTES_CAPACITY_MIN 4096u
#define UNITS_CAPACITY_MIN 8u

// ---- The pool ----

struct pool_block {
    struct pool_block *next;
};

static unsigned pool_class(size_t capacity)
{
    unsigned class = (unsigned)__builtin_ctzll(capacity);
    weir_assert(class < SIM_POOL_CLASSES);
    return class;
}

static unsigned char *pool_take(struct weir_sim *sim, size_t capacity)
{
    void **list = &sim->net->pool[pool_class(capacity)];
    struct pool_block *block = *list;
    if (block != NULL) {
        *list = block->next;
        return (unsigned char *)block;
    }
    unsigned char *memory = malloc(capacity);
    if (memory == NULL) {
        sim_net_no_memory(sim);
    }
    return memory;
}

static void pool_give(struct sim_net *net, unsigned char *memory, size_t capacity)
{
    void **list = &net->pool[pool_class(capacity)];
    struct pool_block *block = (struct pool_block *)(void *)memory;
    block->next = *list;
    *list = block;
}

void sim_net_free_pool(struct sim_net *net)
{
    for (unsigned class = 0; class < SIM_POOL_CLASSES; class ++) {
        struct pool_block *block = net->pool[class];
        while (block != NULL) {
            struct pool_block *next = block->next;
            free(block);
            block = next;
        }
        net->pool[class] = NULL;
    }
}

// ---- Bytes ----

// The longest piece from `position` on that lies in one go.
static size_t bytes_piece(const struct sim_bytes *bytes, uint64_t position, size_t count)
{
    size_t room = bytes->capacity - (size_t)(position & (bytes->capacity - 1));
    return count < room ? count : room;
}

static unsigned char *bytes_at(const struct sim_bytes *bytes, uint64_t position)
{
    return bytes->memory + (position & (bytes->capacity - 1));
}

static void bytes_copy(unsigned char *to, const struct sim_bytes *bytes, uint64_t position,
                       size_t count)
{
    for (size_t done = 0; done < count;) {
        size_t piece = bytes_piece(bytes, position + done, count - done);
        memcpy(to + done, bytes_at(bytes, position + done), piece);
        done += piece;
    }
}

static void bytes_grow(struct weir_sim *sim, struct sim_bytes *bytes, size_t needed)
{
    size_t capacity = bytes->capacity > 0 ? bytes->capacity : BYTES_CAPACITY_MIN;
    while (capacity < needed) {
        capacity *= 2;
    }
    struct sim_bytes larger = {.memory = pool_take(sim, capacity),
                               .capacity = capacity,
                               .begin = bytes->begin,
                               .end = bytes->end};
    for (uint64_t at = bytes->begin; at < bytes->end;) {
        size_t piece = bytes_piece(&larger, at, (size_t)(bytes->end - at));
        bytes_copy(bytes_at(&larger, at), bytes, at, piece);
        at += piece;
    }
    if (bytes->capacity > 0) {
        pool_give(sim->net, bytes->memory, bytes->capacity);
    }
    *bytes = larger;
}

// The part of the source that comes next is not empty.
static void source_settle(struct sim_source *source)
{
    while (source->bytes > 0 && source->offset == source->parts[source->part].bytes_count) {
        source->part++;
        source->offset = 0;
    }
}

void sim_bytes_append(struct weir_sim *sim, struct sim_bytes *bytes, struct sim_source *source,
                      size_t count)
{
    weir_assert(count <= source->bytes);
    size_t held = (size_t)(bytes->end - bytes->begin);
    if (count > bytes->capacity - held) {
        bytes_grow(sim, bytes, held + count);
    }
    for (size_t left = count; left > 0;) {
        source_settle(source);
        const struct weir_iovec *part = &source->parts[source->part];
        size_t piece = part->bytes_count - source->offset;
        piece = bytes_piece(bytes, bytes->end, piece < left ? piece : left);
        const char *from = (const char *)part->bytes + source->offset;
        sim_memory_read(sim->memory, from, piece, NULL);
        memcpy(bytes_at(bytes, bytes->end), from, piece);
        bytes->end += piece;
        source->offset += piece;
        source->bytes -= piece;
        left -= piece;
    }
}

void sim_bytes_take(struct weir_sim *sim, struct sim_bytes *bytes, void *to, size_t count)
{
    weir_assert(count <= bytes->end - bytes->begin);
    if (count == 0) {
        return;
    }
    sim_memory_write(sim->memory, to, count, NULL);
    bytes_copy(to, bytes, bytes->begin, count);
    bytes->begin += count;
}

void sim_bytes_skip(struct sim_bytes *bytes, size_t count)
{
    weir_assert(count <= bytes->end - bytes->begin);
    bytes->begin += count;
}

void sim_bytes_drop(struct sim_net *net, struct sim_bytes *bytes)
{
    if (bytes->capacity > 0) {
        pool_give(net, bytes->memory, bytes->capacity);
    }
    *bytes = (struct sim_bytes){0};
}

// ---- Rings of things ----

void *sim_ring_grow(struct weir_sim *sim, void *memory, uint32_t *capacity, uint32_t *first,
                    uint32_t count, size_t thing_bytes)
{
    uint32_t larger = *capacity > 0 ? *capacity * 2 : UNITS_CAPACITY_MIN;
    unsigned char *grown = malloc(larger * thing_bytes);
    if (grown == NULL) {
        sim_net_no_memory(sim);
    }
    for (uint32_t index = 0; index < count; index++) {
        size_t from = (*first + index) & (*capacity - 1);
        memcpy(grown + index * thing_bytes, (unsigned char *)memory + from * thing_bytes,
               thing_bytes);
    }
    free(memory);
    *capacity = larger;
    *first = 0;
    return grown;
}

void sim_units_push(struct weir_sim *sim, struct sim_units *units, struct sim_unit unit)
{
    if (units->count == units->capacity) {
        units->memory = sim_ring_grow(sim, units->memory, &units->capacity, &units->first,
                                      units->count, sizeof units->memory[0]);
    }
    units->memory[(units->first + units->count++) & (units->capacity - 1)] = unit;
}

struct sim_unit *sim_units_first(struct sim_units *units)
{
    return units->count == 0 ? NULL : &units->memory[units->first & (units->capacity - 1)];
}

void sim_units_pop(struct sim_units *units)
{
    weir_assert(units->count > 0);
    units->first++;
    units->count--;
}
