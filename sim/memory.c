// The memory model's rules: what a load may return, and what happens before what.
//
// An operational form of C11's memory model with C++20's corrections (ISO C++20 31.4
// [atomics.order], P0668): every execution it makes is one the standard allows, so what it finds is
// a bug. In spirit after "Dynamic Race Detection for C++11" (Lidbury, Donaldson, POPL 2017), Relacy
// and Miri.
//
// Happens-before. Each thread has a clock. A release store carries its thread's clock; a relaxed
// one the clock of the last release fence. A read-modify-write also carries on what the store it
// read carried: that, and nothing else, is a release sequence (C++20; C11 also counted later stores
// of the same thread). An acquire load joins what it read into the clock, a relaxed one into what
// the next acquire fence joins.
//
// What a load may return: the newest store, or an older one up to and including the first that
//   - happened before the load (write-read coherence), or was loaded by something that did
//     (read-read coherence);
//   - is sequentially consistent, if the load is; or if a seq_cst fence that came after the store
//     happens before the load;
//   - happened before, or was loaded before, a seq_cst fence: any so far, if the load is seq_cst;
//     otherwise one older than the last seq_cst fence that happens before the load.
// The last two are the four cases of 31.4p4, with the total order S being the order of execution;
// but a seq_cst load does not make the store it read one that later seq_cst loads must see. By the
// letter of C++20 it does; C11 (7.17.3p6) and RC11 (Lahav et al., PLDI 2017) do not ask for it, and
// x86 does not give it: a thread sees its own release store before others do.
// Fences are not edges of happens-before by themselves: what a seq_cst fence orders is not thereby
// free of data races.
//
// Not modelled, and so never seen: load buffering; a modification order or an S other than the
// order of execution (2+2W); a compare-exchange that fails with an old value (it reads the newest);
// an access of one atomic in two sizes (ends the run); consume (is acquire); stores older than
// SIM_STORES_MAX.
#include "sim/model.h"

#include <link.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/assert.h"

// ---- Creation ----

static int image_look(struct dl_phdr_info *info, size_t info_bytes, void *argument)
{
    struct sim_memory *memory = argument;
    if (info_bytes < sizeof(*info)) {
        return 1;
    }
    if (info->dlpi_name[0] == '\0' && memory->image == 0) {
        memory->image = info->dlpi_addr;
    }
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type == PT_TLS && info->dlpi_tls_data != NULL &&
            memory->tls_count < SIM_TLS_RANGES_MAX) {
            uintptr_t start = (uintptr_t)info->dlpi_tls_data;
            memory->tls[memory->tls_count].start = start;
            memory->tls[memory->tls_count++].end = start + info->dlpi_phdr[i].p_memsz;
        }
    }
    return 0;
}

struct sim_memory *sim_memory_create(void)
{
    struct sim_memory *memory = calloc(1, sizeof(*memory));
    if (memory == NULL) {
        return NULL;
    }
    memory->fine = weir_sim_fine();
    (void)dl_iterate_phdr(image_look, memory);
    bool histories = sim_histories_create(memory);
    if (!sim_cells_create(memory) || !histories) {
        sim_memory_destroy(memory);
        return NULL;
    }
    return memory;
}

void sim_memory_destroy(struct sim_memory *memory)
{
    if (memory != NULL) {
        sim_histories_destroy(memory);
        sim_cells_destroy(memory);
        free(memory);
    }
}

void sim_memory_begin(struct sim_memory *memory, struct weir_sim *sim)
{
    memory->sim = sim;
    memory->base = sim_arena_base(sim->arena);
    memory->generation++;
    sim_histories_begin(memory);
    sim_cells_begin(memory);
    memory->fences_count = 0;
    memory->fences_seen[0] = 0;
    memory->threads_count = 1;
    struct sim_view *first = &memory->views[0];
    first->clock[0] = 1;
    first->acquire_fence[0] = first->release_fence[0] = 0;
    first->acquire_pending = first->release_pending = false;
    first->where = 0;
}

_Noreturn void sim_memory_full(struct sim_memory *memory, const char *what)
{
    weir_sim_fail(memory->sim, WEIR_SIM_INTERNAL, "memory-model-bound", "too many %s in one run",
                  what);
}

// ---- Threads ----

// Something published the clock: what the thread does from now on is later.
static void view_advance(struct sim_memory *memory, uint32_t actor)
{
    if (++memory->views[actor].clock[actor] >= SIM_ACCESS_TIME) {
        sim_memory_full(memory, "releases by one thread");
    }
}

// Threads up to this one exist from now on, and nobody has seen anything of the new ones.
static void threads_extend(struct sim_memory *memory, uint32_t actor)
{
    for (; memory->threads_count <= actor; memory->threads_count++) {
        uint32_t added = memory->threads_count;
        struct sim_view *view = &memory->views[added];
        for (uint32_t i = 0; i <= added; i++) {
            view->clock[i] = view->acquire_fence[i] = view->release_fence[i] = 0;
            memory->views[i].clock[added] = 0;
            memory->views[i].acquire_fence[added] = 0;
            memory->views[i].release_fence[added] = 0;
        }
        view->clock[added] = 1;
        view->acquire_pending = view->release_pending = false;
        view->where = 0;
        memory->fences_seen[added] = 0;
        for (uint32_t i = 0; i < SIM_FENCES_MAX && i <= memory->fences_count; i++) {
            memory->fences[i].before[added] = 0;
        }
    }
}

void sim_memory_thread_start(struct sim_memory *memory, uint32_t parent, uint32_t child)
{
    weir_assert(child < SIM_THREADS_MAX && parent < memory->threads_count);
    threads_extend(memory, child);
    sim_clock_join(memory->views[child].clock, memory->views[parent].clock, memory->threads_count);
    view_advance(memory, parent);
}

void sim_memory_thread_join(struct sim_memory *memory, uint32_t joiner, uint32_t ended)
{
    sim_clock_join(memory->views[joiner].clock, memory->views[ended].clock, memory->threads_count);
}

void sim_memory_release(struct sim_memory *memory, uint32_t actor, struct sim_clock *clock)
{
    sim_clock_join(clock->seen, memory->views[actor].clock, memory->threads_count);
    view_advance(memory, actor);
}

void sim_memory_acquire(struct sim_memory *memory, uint32_t actor, const struct sim_clock *clock)
{
    sim_clock_join(memory->views[actor].clock, clock->seen, memory->threads_count);
}

uint32_t sim_memory_where(const struct sim_memory *memory, uint32_t actor)
{
    return actor < memory->threads_count ? memory->views[actor].where : 0;
}

// ---- Orders ----

static bool order_acquires(enum sim_order order)
{
    return order != SIM_ORDER_RELAXED && order != SIM_ORDER_RELEASE;
}

static bool order_releases(enum sim_order order)
{
    return order >= SIM_ORDER_RELEASE;
}

static void store_acquire(struct sim_memory *memory, uint32_t actor, const struct sim_store *store,
                          enum sim_order order)
{
    struct sim_view *view = &memory->views[actor];
    if (store->sync_count == 0) {
        return;
    }
    if (order_acquires(order)) {
        sim_clock_join(view->clock, store->sync, store->sync_count);
    } else {
        sim_clock_join(view->acquire_fence, store->sync, store->sync_count);
        view->acquire_pending = true;
    }
}

// Joins a clock into what a load of the store synchronises with.
static void store_carry(struct sim_memory *memory, struct sim_store *store, const uint32_t *clock,
                        uint32_t count)
{
    sim_history_grow(memory, store);
    for (; store->sync_count < count; store->sync_count++) {
        store->sync[store->sync_count] = 0;
    }
    sim_clock_join(store->sync, clock, count);
}

// ---- What a load may return ----

// Whether the store happened before the owner of the clock, or was loaded by something that did.
static bool store_known(const struct sim_store *store, const uint32_t *clock)
{
    if (store->time == 0 || sim_clock_has(clock, store->thread, store->time)) {
        return true;
    }
    const uint32_t *seen = store->sync + store->capacity;
    for (uint32_t i = 0; i < store->seen_count; i++) {
        if (seen[i] != 0 && sim_clock_has(clock, i, seen[i])) {
            return true;
        }
    }
    return false;
}

// The last seq_cst fence that happens before the thread: its number from 1, and the fence. 0: none.
static uint32_t fence_last(struct sim_memory *memory, uint32_t actor,
                           const struct sim_fence **fence)
{
    const uint32_t *clock = memory->views[actor].clock;
    uint32_t count = memory->fences_count;
    uint32_t oldest = count > SIM_FENCES_MAX ? count - SIM_FENCES_MAX + 1 : 1;
    for (uint32_t number = count; number >= oldest && number > 0; number--) {
        *fence = &memory->fences[number % SIM_FENCES_MAX];
        if (sim_clock_has(clock, (*fence)->thread, (*fence)->time)) {
            return number;
        }
    }
    return oldest > 1 ? oldest : 0;
}

// How many stores behind the newest the load may go.
static uint32_t load_behind_max(struct sim_memory *memory, struct sim_atomic *atomic,
                                uint32_t actor, bool sequential)
{
    const uint32_t *clock = memory->views[actor].clock;
    if (atomic->stores_count == 1 || store_known(sim_history_at(atomic, 0), clock)) {
        return 0;
    }
    const struct sim_fence *fence = NULL;
    uint32_t fence_number = memory->fences_count == 0 ? 0 : fence_last(memory, actor, &fence);
    uint32_t behind = 0;
    for (; behind + 1 < atomic->stores_count; behind++) {
        const struct sim_store *store = sim_history_at(atomic, behind);
        if (store_known(store, clock) ||
            (sequential && (store->sequential != 0 || store_known(store, memory->fences_seen))) ||
            (fence_number != 0 && ((store->sequential != 0 && store->sequential <= fence_number) ||
                                   store_known(store, fence->before)))) {
            break;
        }
    }
    return behind;
}

static void store_see(struct sim_memory *memory, uint32_t actor, struct sim_store *store)
{
    const uint32_t *clock = memory->views[actor].clock;
    if (store->time == 0 || sim_clock_has(clock, store->thread, store->time)) {
        return;
    }
    sim_history_grow(memory, store);
    uint32_t *seen = store->sync + store->capacity;
    while (store->seen_count <= actor) {
        seen[store->seen_count++] = 0;
    }
    if (seen[actor] == 0) {
        seen[actor] = clock[actor];
    }
}

// The rest of a load, once it is decided which store it returns.
static sim_value store_load(struct sim_memory *memory, uint32_t actor, struct sim_store *store,
                            enum sim_order order)
{
    sim_observe(memory->sim, store->where, memory->views[actor].where);
    store_see(memory, actor, store);
    store_acquire(memory, actor, store, order);
    return store->value;
}

sim_value sim_memory_load(struct sim_memory *memory, const volatile void *address, size_t bytes,
                          enum sim_order order, const void *where)
{
    uint32_t actor = sim_actor(memory->sim);
    struct sim_atomic *atomic = sim_race_atomic(memory, actor, address, bytes, false, where);
    struct sim_use *use = &atomic->uses[actor];
    uint32_t behind = load_behind_max(memory, atomic, actor, order == SIM_ORDER_SEQ_CST);
    if (behind != 0 && use->stale < SIM_STALE_LOADS_MAX) {
        behind = sim_decide(memory->sim, WEIR_SIM_STALE, behind + 1);
    } else {
        behind = 0;
    }
    use->stale = behind == 0 ? 0 : use->stale + 1;
    sim_value value = store_load(memory, actor, sim_history_at(atomic, behind), order);
    sim_event(memory->sim, SIM_EVENT_LOAD, atomic->object, order, behind, where);
    return value;
}

// ---- Stores ----

// Makes the newest store, with what it carries of its own.
static void store_make(struct sim_memory *memory, struct sim_atomic *atomic, uint32_t actor,
                       sim_value value, enum sim_order order)
{
    struct sim_view *view = &memory->views[actor];
    struct sim_store *store = sim_history_push(atomic, value);
    store->where = view->where;
    store->thread = (uint8_t)actor;
    store->time = view->clock[actor];
    store->sequential = order == SIM_ORDER_SEQ_CST ? memory->fences_count + 1 : 0;
    if (order_releases(order)) {
        store_carry(memory, store, view->clock, memory->threads_count);
        view_advance(memory, actor);
    } else if (view->release_pending) {
        store_carry(memory, store, view->release_fence, memory->threads_count);
    }
    sim_value_write((volatile void *)atomic->address, atomic->bytes, value);
}

// The same for a read-modify-write, which goes on with what the store before it carried.
static void store_replace(struct sim_memory *memory, struct sim_atomic *atomic, uint32_t actor,
                          sim_value value, enum sim_order order)
{
    struct sim_store *before = sim_history_at(atomic, 0);
    sim_observe(memory->sim, before->where, memory->views[actor].where);
    store_acquire(memory, actor, before, order);
    store_make(memory, atomic, actor, value, order);
    if (before->sync_count != 0) {
        store_carry(memory, sim_history_at(atomic, 0), before->sync, before->sync_count);
    }
    atomic->uses[actor].stale = 0;
}

static sim_value value_cut(sim_value value, size_t bytes)
{
    return bytes == sizeof(value) ? value : value & (((sim_value)1 << (8 * bytes)) - 1);
}

void sim_memory_store(struct sim_memory *memory, volatile void *address, size_t bytes,
                      sim_value value, enum sim_order order, const void *where)
{
    uint32_t actor = sim_actor(memory->sim);
    struct sim_atomic *atomic = sim_race_atomic(memory, actor, address, bytes, true, where);
    store_make(memory, atomic, actor, value_cut(value, bytes), order);
    sim_event(memory->sim, SIM_EVENT_STORE, atomic->object, order, 0, where);
}

static sim_value rmw_result(enum sim_rmw how, sim_value old, sim_value operand)
{
    switch (how) {
    case SIM_RMW_EXCHANGE: return operand;
    case SIM_RMW_ADD: return old + operand;
    case SIM_RMW_SUB: return old - operand;
    case SIM_RMW_AND: return old & operand;
    case SIM_RMW_OR: return old | operand;
    case SIM_RMW_XOR: return old ^ operand;
    case SIM_RMW_NAND: return ~(old & operand);
    }
    weir_assert(false);
    return 0;
}

sim_value sim_memory_rmw(struct sim_memory *memory, volatile void *address, size_t bytes,
                         enum sim_rmw how, sim_value operand, enum sim_order order,
                         const void *where)
{
    uint32_t actor = sim_actor(memory->sim);
    struct sim_atomic *atomic = sim_race_atomic(memory, actor, address, bytes, true, where);
    sim_value old = sim_history_at(atomic, 0)->value;
    store_replace(memory, atomic, actor, value_cut(rmw_result(how, old, operand), bytes), order);
    sim_event(memory->sim, SIM_EVENT_RMW, atomic->object, order, 0, where);
    return old;
}

bool sim_memory_cas(struct sim_memory *memory, volatile void *address, size_t bytes,
                    sim_value *expected, sim_value desired, bool weak, enum sim_order success,
                    enum sim_order failure, const void *where)
{
    uint32_t actor = sim_actor(memory->sim);
    bool swapped = sim_value_read(address, bytes) == value_cut(*expected, bytes);
    struct sim_atomic *atomic = sim_race_atomic(memory, actor, address, bytes, swapped, where);
    swapped = swapped && !(weak && sim_decide(memory->sim, WEIR_SIM_WEAK, 2) != 0);
    if (swapped) {
        store_replace(memory, atomic, actor, value_cut(desired, bytes), success);
    } else {
        *expected = store_load(memory, actor, sim_history_at(atomic, 0), failure);
        atomic->uses[actor].stale = 0;
    }
    sim_event(memory->sim, SIM_EVENT_CAS, atomic->object, swapped ? success : failure, swapped,
              where);
    return swapped;
}

uint32_t sim_memory_futex(struct sim_memory *memory, const volatile void *address)
{
    (void)memory;
    return *(const volatile uint32_t *)address;
}

// ---- Fences ----

static void fence_sequential(struct sim_memory *memory, uint32_t actor)
{
    const uint32_t *clock = memory->views[actor].clock;
    uint32_t number = ++memory->fences_count;
    struct sim_fence *fence = &memory->fences[number % SIM_FENCES_MAX];
    fence->thread = actor;
    fence->time = clock[actor];
    sim_clock_copy(fence->before, memory->fences_seen, memory->threads_count);
    sim_clock_join(memory->fences_seen, clock, memory->threads_count);
}

void sim_memory_fence(struct sim_memory *memory, enum sim_order order, const void *where)
{
    uint32_t actor = sim_actor(memory->sim);
    struct sim_view *view = &memory->views[actor];
    if (order_acquires(order) && view->acquire_pending) {
        sim_clock_join(view->clock, view->acquire_fence, memory->threads_count);
    }
    if (order_releases(order)) {
        sim_clock_copy(view->release_fence, view->clock, memory->threads_count);
        view->release_pending = true;
    }
    if (order == SIM_ORDER_SEQ_CST) {
        fence_sequential(memory, actor);
    }
    if (order_releases(order)) {
        view_advance(memory, actor);
    }
    sim_event(memory->sim, SIM_EVENT_FENCE, 0, order, 0, where);
}
