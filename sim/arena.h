// The arena: one reserved range of addresses that the run's heap and the fibers' stacks lie in.
//
// One range makes the memory model's look-up of what is known of an address a subtraction. The heap
// grows from its start; stacks lie at its end, each above an inaccessible page. Blocks have red
// zones around them and go through a quarantine before their memory is handed out again, unless a
// decision (WEIR_SIM_REUSE) says at once. Under ASan the same borders are told to it, so that the
// coarse grain finds what the fine grain finds.
#ifndef WEIR_SIM_ARENA_H
#define WEIR_SIM_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sim_arena;

struct sim_arena *sim_arena_create(void);
void sim_arena_destroy(struct sim_arena *arena);
// A new run: every block is gone.
void sim_arena_begin(struct sim_arena *arena, uint8_t poison);

// The stack of an actor; the same every time.
void *sim_arena_stack(struct sim_arena *arena, uint32_t actor, size_t *bytes);

// Zeroed. NULL: the arena is full. `reuse`: the most recently freed block that fits, if any.
// *number: the block's number in this run.
void *sim_arena_alloc(struct sim_arena *arena, size_t bytes, size_t alignment, bool reuse,
                      uint32_t process, uint32_t *number);

// What release found wrong, or SIM_HEAP_GOOD.
enum sim_heap_error {
    SIM_HEAP_GOOD,
    SIM_HEAP_NOT_A_BLOCK,
    SIM_HEAP_TWICE,
    SIM_HEAP_OTHER_SIZE,
    SIM_HEAP_RED_ZONE
};
enum sim_heap_error sim_arena_release(struct sim_arena *arena, void *memory, size_t bytes,
                                      uint32_t *number);

// What an address is: nothing of the arena's, a stack, part of a live block, a red zone, freed.
enum sim_place {
    SIM_PLACE_OUTSIDE,
    SIM_PLACE_STACK,
    SIM_PLACE_LIVE,
    SIM_PLACE_RED_ZONE,
    SIM_PLACE_FREED
};
enum sim_place sim_arena_place(const struct sim_arena *arena, const void *address, size_t bytes,
                               uint32_t *number, size_t *offset);

// Blocks of the process that are live; the first one's number and size.
size_t sim_arena_live(const struct sim_arena *arena, uint32_t process, uint32_t *number,
                      size_t *bytes);
// Bytes live now and at most in this run, of the process.
size_t sim_arena_bytes(const struct sim_arena *arena, uint32_t process, size_t *peak);

// The range, for the memory model's shadow.
uintptr_t sim_arena_base(const struct sim_arena *arena);

#endif
