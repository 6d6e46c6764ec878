// Plain accesses: data races and misuse of the heap, byte by byte.
//
// Each eight bytes of memory that were accessed have a cell with the accesses that still matter: an
// access goes when a later one that it happens before conflicts with all that it conflicts with
// (after FastTrack, Flanagan and Freund, PLDI 2009; here per byte, and with every concurrent reader
// kept). So no race between accesses seen here is missed; what the compilers do not report (locals
// whose address does not escape, copies that clang makes by itself) is not seen.
//
// Atomics count as accesses that conflict with plain ones only. A plain write that comes after all
// atomic accesses ends the atomic: the next atomic access starts it anew. So does a value in memory
// that is not the newest store's, as code that is not instrumented leaves it.
//
// Limits: of an earlier atomic access only the last per thread is told; an atomic of 16 bytes is
// looked for at its first eight; thread-local objects are not looked at.
#include "sim/model.h"

#include <stdio.h>

// ---- Reports ----

static uint32_t position(const struct sim_memory *memory, const void *where)
{
    return where == NULL ? 0 : (uint32_t)((uintptr_t)where - memory->image);
}

static void position_tell(char *text, size_t text_bytes, uint32_t where)
{
    if (where == 0) {
        (void)snprintf(text, text_bytes, "in a call of the system");
    } else { // the call's own address, not the one it returns to
        (void)snprintf(text, text_bytes, "at +0x%x", where - 1);
    }
}

static void place_tell(const struct sim_memory *memory, char *text, size_t text_bytes,
                       const void *address, size_t bytes)
{
    uint32_t number;
    size_t offset;
    switch (sim_arena_place(memory->sim->arena, address, bytes, &number, &offset)) {
    case SIM_PLACE_OUTSIDE: (void)snprintf(text, text_bytes, "a global"); break;
    case SIM_PLACE_STACK: (void)snprintf(text, text_bytes, "the stack of thread %u", number); break;
    default: (void)snprintf(text, text_bytes, "block %u+%zu", number, offset); break;
    }
}

static _Noreturn void race_fail(const struct sim_memory *memory, const struct sim_look *look,
                                uint32_t other, uint32_t other_where, const char *other_what)
{
    char where[48];
    char where_other[48];
    char place[48];
    position_tell(where, sizeof(where), look->where);
    position_tell(where_other, sizeof(where_other), other_where);
    place_tell(memory, place, sizeof(place), look->address, look->bytes);
    weir_sim_fail(memory->sim, WEIR_SIM_RACE, "data-race",
                  "thread %u %s %zu bytes of %s %s; not ordered with thread %u's %s %s",
                  look->actor, look->packed & SIM_ACCESS_WRITE ? "writes" : "reads", look->bytes,
                  place, where, other >> (SIM_ACCESS_TIME_BITS + 1), other_what, where_other);
}

_Noreturn void sim_race_heap(const struct sim_memory *memory, const struct sim_look *look,
                             const char *name)
{
    char where[48];
    char place[48];
    position_tell(where, sizeof(where), look->where);
    place_tell(memory, place, sizeof(place), look->address, look->bytes);
    weir_sim_fail(memory->sim, WEIR_SIM_SAFETY, name, "thread %u %s %zu bytes of %s %s",
                  look->actor, look->packed & SIM_ACCESS_WRITE ? "writes" : "reads", look->bytes,
                  place, where);
}

// ---- Lists of accesses ----

static uint32_t access_thread(uint32_t access)
{
    return access >> (SIM_ACCESS_TIME_BITS + 1);
}

static bool access_before(uint32_t access, const uint32_t *clock)
{
    return sim_clock_has(clock, access_thread(access), access & SIM_ACCESS_TIME);
}

static void access_spill(struct sim_memory *memory, struct sim_cell *cell)
{
    uint32_t index = memory->accesses_free;
    if (index != 0) {
        memory->accesses_free = memory->accesses[index].next;
    } else {
        index = ++memory->accesses_count;
        if (index >= SIM_ACCESSES_MAX) {
            sim_memory_full(memory, "concurrent readers");
        }
    }
    struct sim_access *access = &memory->accesses[index];
    access->access = cell->access[1];
    access->where = cell->where[1];
    access->bytes = cell->bytes[1];
    access->next = cell->more;
    cell->more = index;
}

// One earlier access against the new one: a race, or the bytes of it that still matter.
static inline uint8_t access_meet(const struct sim_memory *memory, const struct sim_look *look,
                                  uint8_t mask, uint32_t access, uint8_t bytes, uint32_t where)
{
    if ((bytes & mask) == 0) {
        return bytes;
    }
    bool write = (look->packed & SIM_ACCESS_WRITE) != 0;
    bool writes = (access & SIM_ACCESS_WRITE) != 0;
    if (!access_before(access, look->clock)) {
        if (write || writes) {
            race_fail(memory, look, access, where, writes ? "write" : "read");
        }
        return bytes;
    }
    return write || !writes ? bytes & (uint8_t)~mask : bytes;
}

static void more_meet(struct sim_memory *memory, const struct sim_look *look, uint8_t mask,
                      struct sim_cell *cell)
{
    for (uint32_t *link = &cell->more; *link != 0;) {
        struct sim_access *access = &memory->accesses[*link];
        access->bytes =
            access_meet(memory, look, mask, access->access, access->bytes, access->where);
        if (access->bytes != 0) {
            link = &access->next;
            continue;
        }
        uint32_t index = *link;
        *link = access->next;
        access->next = memory->accesses_free;
        memory->accesses_free = index;
    }
}

static void cell_meet(struct sim_memory *memory, const struct sim_look *look, uint8_t mask,
                      struct sim_cell *cell)
{
    for (uint32_t i = 0; i < 2; i++) {
        cell->bytes[i] =
            access_meet(memory, look, mask, cell->access[i], cell->bytes[i], cell->where[i]);
    }
    if (cell->more != 0) {
        more_meet(memory, look, mask, cell);
    }
}

static void cell_add(struct sim_memory *memory, const struct sim_look *look, uint8_t mask,
                     struct sim_cell *cell)
{
    if (cell->bytes[0] != 0 && cell->access[0] == look->packed) {
        cell->bytes[0] |= mask; // the same moment: one access of more bytes
        cell->where[0] = look->where;
        return;
    }
    if (cell->bytes[0] != 0) {
        if (cell->bytes[1] != 0) {
            access_spill(memory, cell);
        }
        cell->access[1] = cell->access[0];
        cell->where[1] = cell->where[0];
        cell->bytes[1] = cell->bytes[0];
    }
    cell->access[0] = look->packed;
    cell->where[0] = look->where;
    cell->bytes[0] = mask;
}

// A plain access against the atomics that overlap it. A write ends them.
static void atomics_meet(struct sim_memory *memory, const struct sim_look *look, uint8_t mask,
                         struct sim_cell *cell)
{
    bool write = (look->packed & SIM_ACCESS_WRITE) != 0;
    for (uint32_t *link = &cell->atomics; *link != 0;) {
        uint32_t index = *link;
        struct sim_atomic *atomic = &memory->atomics[index];
        uint32_t first = atomic->address % SIM_CELL_BYTES;
        if (((uint32_t)mask >> first & ((1u << atomic->bytes) - 1)) == 0) {
            link = &atomic->next;
            continue;
        }
        for (uint32_t i = 0; i < atomic->uses_count; i++) {
            const struct sim_use *use = &atomic->uses[i];
            if (!sim_clock_has(look->clock, i, use->stored) ||
                (write && !sim_clock_has(look->clock, i, use->loaded))) {
                race_fail(memory, look, i << (SIM_ACCESS_TIME_BITS + 1), use->where,
                          "atomic access");
            }
        }
        if (!write) {
            link = &atomic->next;
            continue;
        }
        *link = atomic->next;
        sim_history_drop(memory, index);
    }
}

// ---- Plain accesses ----

static inline uint8_t mask_of(uintptr_t address, size_t bytes)
{
    uintptr_t first = address % SIM_CELL_BYTES;
    uint32_t mask = bytes >= SIM_CELL_BYTES ? 0xffu : (1u << bytes) - 1;
    return (uint8_t)(mask << first & 0xffu);
}

static void cell_access(struct sim_memory *memory, const struct sim_look *look, uint8_t mask,
                        struct sim_cell *cell)
{
    cell_meet(memory, look, mask, cell);
    if (cell->atomics != 0) {
        atomics_meet(memory, look, mask, cell);
    }
    cell_add(memory, look, mask, cell);
}

static void plain_look(struct sim_memory *memory, struct sim_look *look)
{
    uintptr_t address = (uintptr_t)look->address;
    struct sim_birth *birth = NULL;
    if (address - memory->base >= SIM_ARENA_BYTES) {
        if (sim_address_thread_local(memory, address)) {
            return;
        }
    } else {
        birth = sim_place_check(memory, look);
    }
    for (uintptr_t end = address + look->bytes; address < end;
         address = (address | (SIM_CELL_BYTES - 1)) + 1) {
        struct sim_cell *cell = sim_cell_at(memory, address);
        uint8_t mask = mask_of(address, end - address);
        if (cell->generation != memory->generation) {
            sim_cell_open(memory, cell, birth);
        }
        cell_access(memory, look, mask, cell);
    }
}

static inline struct sim_look look_make(const struct sim_memory *memory, uint32_t actor,
                                        const void *address, size_t bytes, bool write,
                                        const void *where)
{
    struct sim_look look;
    look.actor = actor;
    look.packed = sim_access_pack(memory, actor, write);
    look.where = position(memory, where);
    look.clock = memory->views[actor].clock;
    look.address = address;
    look.bytes = bytes;
    return look;
}

static inline void plain_access(struct sim_memory *memory, const void *address, size_t bytes,
                                bool write, const void *where)
{
    uint32_t actor = sim_actor(memory->sim);
    uintptr_t offset = (uintptr_t)address - memory->base;
    if (memory->fine && offset < SIM_ARENA_BYTES &&
        bytes <= SIM_CELL_BYTES - offset % SIM_CELL_BYTES) {
        struct sim_cell *cell = &memory->cells[offset / SIM_CELL_BYTES];
        uint8_t mask = mask_of(offset, bytes);
        // These bytes were accessed before, so they are somebody's.
        if (cell->generation == memory->generation && (cell->bytes[0] & mask) == mask) {
            uint32_t packed = sim_access_pack(memory, actor, write);
            if (cell->access[0] == packed || cell->access[0] == (packed | SIM_ACCESS_WRITE)) {
                return; // the last access was this one, or the same with a write
            }
            struct sim_look look = look_make(memory, actor, address, bytes, write, where);
            cell_access(memory, &look, mask, cell);
            return;
        }
    }
    if (bytes == 0) {
        return;
    }
    struct sim_look look = look_make(memory, actor, address, bytes, write, where);
    if (memory->fine) {
        plain_look(memory, &look);
    } else {
        (void)sim_place_check(memory, &look);
    }
}

void sim_memory_read(struct sim_memory *memory, const void *address, size_t bytes,
                     const void *where)
{
    plain_access(memory, address, bytes, false, where);
}

void sim_memory_write(struct sim_memory *memory, const void *address, size_t bytes,
                      const void *where)
{
    plain_access(memory, address, bytes, true, where);
}

void sim_race_freed(struct sim_memory *memory, const struct sim_birth *birth, const void *address,
                    size_t bytes)
{
    struct sim_look look = look_make(memory, sim_actor(memory->sim), address, bytes, true, NULL);
    for (uint32_t i = birth->first; i < birth->end; i++) {
        struct sim_cell *cell = &memory->cells[i];
        if (cell->generation == memory->generation) {
            cell_meet(memory, &look, 0xff, cell);
            atomics_meet(memory, &look, 0xff, cell);
        }
    }
}

void sim_race_forget(struct sim_memory *memory, struct sim_cell *cell)
{
    while (cell->more != 0) {
        uint32_t index = cell->more;
        cell->more = memory->accesses[index].next;
        memory->accesses[index].next = memory->accesses_free;
        memory->accesses_free = index;
    }
    while (cell->atomics != 0) {
        uint32_t index = cell->atomics;
        cell->atomics = memory->atomics[index].next;
        sim_history_drop(memory, index);
    }
}

// ---- Atomic accesses ----

// An atomic access against a plain one.
static inline void atomic_meet(const struct sim_memory *memory, const struct sim_look *look,
                               uint8_t mask, uint32_t access, uint8_t bytes, uint32_t where)
{
    if ((bytes & mask) != 0 && ((look->packed | access) & SIM_ACCESS_WRITE) != 0 &&
        !access_before(access, look->clock)) {
        race_fail(memory, look, access, where, access & SIM_ACCESS_WRITE ? "write" : "read");
    }
}

static uint32_t atomic_make(struct sim_memory *memory, const struct sim_look *look,
                            struct sim_cell *cell)
{
    (void)sim_place_check(memory, look);
    uintptr_t address = (uintptr_t)look->address;
    for (uint32_t i = cell->atomics; i != 0; i = memory->atomics[i].next) {
        const struct sim_atomic *other = &memory->atomics[i];
        if (address < other->address + other->bytes && other->address < address + look->bytes) {
            weir_sim_fail(memory->sim, WEIR_SIM_INTERNAL, "atomic-of-two-sizes",
                          "an atomic is accessed with %zu bytes and with %u", look->bytes,
                          other->bytes);
        }
    }
    uint32_t index = sim_history_create(memory, address, (uint32_t)look->bytes);
    memory->atomics[index].next = cell->atomics;
    cell->atomics = index;
    return index;
}

struct sim_atomic *sim_race_atomic(struct sim_memory *memory, uint32_t actor,
                                   const volatile void *address, size_t bytes, bool write,
                                   const void *where)
{
    struct sim_look look =
        look_make(memory, actor, (const void *)(uintptr_t)address, bytes, write, where);
    struct sim_cell *cell = sim_cell_at(memory, (uintptr_t)address);
    uint8_t mask = mask_of((uintptr_t)address, bytes);
    if (cell->generation != memory->generation) {
        sim_cell_open(memory, cell, sim_place_check(memory, &look));
    }
    for (uint32_t i = 0; i < 2; i++) {
        atomic_meet(memory, &look, mask, cell->access[i], cell->bytes[i], cell->where[i]);
    }
    for (uint32_t i = cell->more; i != 0; i = memory->accesses[i].next) {
        const struct sim_access *access = &memory->accesses[i];
        atomic_meet(memory, &look, mask, access->access, access->bytes, access->where);
    }
    uint32_t index = cell->atomics;
    while (index != 0 && (memory->atomics[index].address != (uintptr_t)address ||
                          memory->atomics[index].bytes != bytes)) {
        index = memory->atomics[index].next;
    }
    if (index == 0) {
        index = atomic_make(memory, &look, cell);
    }
    struct sim_atomic *atomic = &memory->atomics[index];
    sim_value value = sim_value_read(address, bytes);
    if (value != sim_history_at(atomic, 0)->value) { // code that is not instrumented wrote it
        sim_history_start(atomic, value);
    }
    struct sim_use *use = sim_history_use(memory, atomic, actor);
    *(write ? &use->stored : &use->loaded) = look.clock[actor];
    use->where = look.where;
    memory->views[actor].where = look.where;
    return atomic;
}
