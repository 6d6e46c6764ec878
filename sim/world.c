// The world: clock, memory, threads, futexes and names of struct weir_os; what is left at the end.
//
// What a real call reads and writes of its caller's memory is told to the memory model, with the
// caller's position, so that a call with freed memory is found like any other access.
#include "sim/world.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "sim/futex.h"
#include "sim/name.h"
#include "sim/world_call.h"

// 2024-01-01 in UTC, the wall's time when virtual time is 0.
#define WALL_EPOCH_NS (UINT64_C(1704067200) * 1000000000u)
// Seeds that one draw of entropy chooses from; 0 is the benign one.
#define ENTROPY_SEEDS 65536u

#define CALLER __builtin_return_address(0)

struct sim_world {
    struct weir_os os;
    struct sim_futexes *futexes;
    struct sim_names *names;
};

// ---- Clock and entropy ----

static uint64_t world_now_ns(void *self)
{
    struct weir_sim *sim = sim_world_enter(self);
    return sim_threads_now(sim->threads);
}

static uint64_t world_wall_ns(void *self)
{
    struct weir_sim *sim = sim_world_enter(self);
    return WALL_EPOCH_NS + sim_threads_now(sim->threads);
}

// One draw, so that a record holds it; splitmix64 (Steele, Lea, Flood, 2014) makes bytes of it.
static void world_entropy(void *self, void *bytes, size_t bytes_count)
{
    struct weir_sim *sim = sim_world_enter(self);
    uint64_t state = sim_decide(sim, WEIR_SIM_WORK, ENTROPY_SEEDS);
    unsigned char *at = bytes;
    for (size_t index = 0; index < bytes_count; index++) {
        state += UINT64_C(0x9e3779b97f4a7c15);
        uint64_t mixed = (state ^ (state >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
        at[index] = (unsigned char)(mixed >> 56);
    }
    sim_memory_write(sim->memory, bytes, bytes_count, CALLER);
    sim_event(sim, SIM_EVENT_ENTROPY, 0, bytes_count, 0, CALLER);
}

// ---- Memory ----

static void *memory_take(struct weir_sim *sim, size_t bytes, size_t alignment, const void *where)
{
    uint32_t process = sim_thread_process(sim->threads, sim_actor(sim));
    uint32_t number = 0;
    void *memory = NULL;
    if (sim_fault(sim, WEIR_SIM_RESOURCE, 1) == 0) {
        bool reuse = sim_decide(sim, WEIR_SIM_REUSE, 2) != 0;
        memory = sim_arena_alloc(sim->arena, bytes, alignment, reuse, process, &number);
    }
    if (memory != NULL) {
        sim_memory_fresh(sim->memory, memory, bytes);
    }
    sim_event(sim, SIM_EVENT_ALLOC, number, bytes, memory != NULL, where);
    return memory;
}

static _Noreturn void release_fail(struct weir_sim *sim, enum sim_heap_error error, uint32_t number,
                                   size_t bytes)
{
    static const char *const names[] = {[SIM_HEAP_NOT_A_BLOCK] = "released-not-a-block",
                                        [SIM_HEAP_TWICE] = "released-twice",
                                        [SIM_HEAP_OTHER_SIZE] = "released-other-size",
                                        [SIM_HEAP_RED_ZONE] = "heap-overrun"};
    weir_sim_fail(sim, WEIR_SIM_SAFETY, names[error], "release of block %u as %zu bytes", number,
                  bytes);
}

static void memory_give_back(struct weir_sim *sim, void *memory, size_t bytes, const void *where)
{
    uint32_t number = 0;
    enum sim_heap_error error = sim_arena_release(sim->arena, memory, bytes, &number);
    if (error != SIM_HEAP_GOOD) {
        release_fail(sim, error, number, bytes);
    }
    sim_memory_freed(sim->memory, memory, bytes);
    sim_event(sim, SIM_EVENT_RELEASE, number, bytes, 0, where);
}

static void *world_alloc(void *self, size_t bytes, size_t alignment)
{
    struct weir_sim *sim = sim_world_enter(self);
    weir_assert(bytes > 0);
    weir_assert(alignment > 0 && (alignment & (alignment - 1)) == 0);
    return memory_take(sim, bytes, alignment, CALLER);
}

static void world_release(void *self, void *memory, size_t bytes)
{
    struct weir_sim *sim = sim_world_enter(self);
    if (memory != NULL) {
        memory_give_back(sim, memory, bytes, CALLER);
    }
}

static int world_fork_guard_open(void *self, _Atomic uint32_t **word)
{
    struct weir_sim *sim = sim_world_enter(self);
    _Atomic uint32_t *guard = memory_take(sim, sizeof *guard, _Alignof(_Atomic uint32_t), CALLER);
    if (guard == NULL) {
        return -ENOMEM;
    }
    atomic_store_explicit(guard, 1, memory_order_relaxed);
    *word = guard;
    sim_memory_write(sim->memory, word, sizeof *word, CALLER);
    return 0;
}

static void world_fork_guard_close(void *self, _Atomic uint32_t *word)
{
    struct weir_sim *sim = sim_world_enter(self);
    memory_give_back(sim, (void *)word, sizeof *word, CALLER);
}

// ---- Threads ----

static int world_thread_start(void *self, uint64_t *thread, void (*entry)(void *), void *argument)
{
    struct weir_sim *sim = sim_world_enter(self);
    weir_assert(thread != NULL && entry != NULL);
    if (sim_fault(sim, WEIR_SIM_RESOURCE, 1) != 0) {
        return -EAGAIN;
    }
    uint32_t process = sim_thread_process(sim->threads, sim_actor(sim));
    int actor = sim_thread_start(sim, process, entry, argument);
    if (actor < 0) {
        return actor;
    }
    // Written when the new thread may already run, as pthread_create does.
    *thread = (uint64_t)actor + 1;
    sim_memory_write(sim->memory, thread, sizeof *thread, CALLER);
    return 0;
}

// 0, which no thread has, becomes an actor that there is not.
static uint32_t actor_of(uint64_t thread)
{
    return thread - 1 < UINT32_MAX ? (uint32_t)(thread - 1) : UINT32_MAX;
}

static int world_thread_join(void *self, uint64_t thread)
{
    struct weir_sim *sim = sim_world_enter(self);
    return sim_thread_join(sim, actor_of(thread));
}

static int world_thread_detach(void *self, uint64_t thread)
{
    struct weir_sim *sim = sim_world_enter(self);
    return sim_thread_detach(sim, actor_of(thread));
}

static uint64_t world_thread_id(void *self)
{
    struct weir_sim *sim = sim_world_enter(self);
    return (uint64_t)sim_actor(sim) + 1;
}

// ---- Futexes and names ----

static int world_futex_wait(void *self, const _Atomic uint32_t *word, uint32_t expected,
                            uint64_t deadline_ns)
{
    struct weir_sim *sim = sim_world_enter(self);
    weir_assert(word != NULL);
    return sim_futex_wait(sim, sim->world->futexes, word, expected, deadline_ns);
}

static void world_futex_wake(void *self, const _Atomic uint32_t *word, uint32_t waiters_max)
{
    struct weir_sim *sim = sim_world_enter(self);
    sim_futex_wake(sim, sim->world->futexes, word, waiters_max);
}

static int world_resolve(void *self, const char *host, uint16_t port, bool numeric,
                         struct weir_address *addresses, uint32_t addresses_max)
{
    struct weir_sim *sim = sim_world_enter(self);
    weir_assert(host != NULL && addresses != NULL && addresses_max > 0);
    sim_memory_read(sim->memory, host, strlen(host) + 1, CALLER);
    int count =
        sim_names_resolve(sim, sim->world->names, host, port, numeric, addresses, addresses_max);
    if (count > 0) {
        sim_memory_write(sim->memory, addresses, (size_t)count * sizeof addresses[0], CALLER);
    }
    return count;
}

// ---- Life ----

struct sim_world *sim_world_create(void)
{
    struct sim_world *world = calloc(1, sizeof *world);
    if (world == NULL) {
        return NULL;
    }
    world->futexes = sim_futexes_create();
    world->names = sim_names_create();
    if (world->futexes == NULL || world->names == NULL) {
        sim_world_destroy(world);
        return NULL;
    }
    return world;
}

void sim_world_destroy(struct sim_world *world)
{
    if (world != NULL) {
        sim_names_destroy(world->names);
        sim_futexes_destroy(world->futexes);
        free(world);
    }
}

void sim_world_begin(struct sim_world *world, struct weir_sim *sim)
{
    sim_futexes_begin(world->futexes);
    sim_names_begin(world->names);
    world->os = (struct weir_os){
        .self = sim,
        .now_ns = world_now_ns,
        .wall_ns = world_wall_ns,
        .entropy = world_entropy,
        .alloc = world_alloc,
        .release = world_release,
        .fork_guard_open = world_fork_guard_open,
        .fork_guard_close = world_fork_guard_close,
        .thread_start = world_thread_start,
        .thread_join = world_thread_join,
        .thread_detach = world_thread_detach,
        .thread_id = world_thread_id,
        .futex_wait = world_futex_wait,
        .futex_wake = world_futex_wake,
        .resolve = world_resolve,
    };
    sim_world_fill_files(&world->os);
}

const struct weir_os *sim_world_os(const struct sim_world *world)
{
    return &world->os;
}

void sim_world_kill(struct weir_sim *sim, uint32_t process)
{
    sim_process_kill(sim, process);
    sim_futexes_kill(sim, sim->world->futexes, process);
    sim_files_kill(sim, process);
}

void sim_world_leaks(struct weir_sim *sim)
{
    uint32_t actor = 0;
    uint32_t threads = sim_process_threads(sim, 0, &actor);
    if (threads > 0) {
        weir_sim_fail(sim, WEIR_SIM_LEAK, "leak-thread", "%u threads left, the first is actor %u",
                      threads, actor);
    }
    int fd = -1;
    uint32_t files = sim_files_live(sim, 0, &fd);
    if (files > 0) {
        weir_sim_fail(sim, WEIR_SIM_LEAK, "leak-descriptor",
                      "%u descriptors left, the first is %d, the %uth file opened", files, fd,
                      sim_file_number(sim, fd));
    }
    uint32_t number = 0;
    size_t bytes = 0;
    size_t blocks = sim_arena_live(sim->arena, 0, &number, &bytes);
    if (blocks > 0) {
        weir_sim_fail(sim, WEIR_SIM_LEAK, "leak-memory",
                      "%zu blocks left, the first is block %u of %zu bytes", blocks, number, bytes);
    }
}

// ---- What scenarios call ----

const struct weir_os *weir_sim_os(struct weir_sim *sim)
{
    return sim_world_os(sim->world);
}

int weir_sim_wait(struct weir_sim *sim, int fd, uint32_t ready, uint64_t deadline_ns)
{
    (void)sim_world_enter(sim);
    return sim_file_wait(sim, fd, ready, deadline_ns);
}

void weir_sim_name(struct weir_sim *sim, const char *host, const struct weir_address *addresses,
                   uint32_t addresses_count, uint64_t delay_ns)
{
    (void)sim_world_enter(sim);
    sim_names_set(sim, sim->world->names, host, addresses, addresses_count, delay_ns);
}
