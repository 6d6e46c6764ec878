// The compilers' calls: what -fsanitize=thread makes of code under test, led to the memory model.
//
// gcc and clang replace each atomic operation by a call of __tsan_atomic<bits>_<operation> with its
// memory order and report each plain access by __tsan_read<bytes> or __tsan_write<bytes>; that
// sanitizer's runtime is not linked, this file is. (The interface is LLVM's compiler-rt
// tsan_interface.h and tsan_interface_atomic.h.) Inside a run every atomic operation is first a
// preemption point. Outside of one, on real threads, all of them are done as seq_cst.
//
// clang reports a weak compare-exchange as a strong one; with it weak ones do not fail by
// themselves.
#include <string.h>

#include "sim/sim.h"
#include "sim/tsan.h"

// Where the access stands in the code.
#define WHERE __builtin_return_address(0)

static bool fine;

bool weir_sim_fine(void)
{
    return fine;
}

// Called by a constructor of each instrumented object.
void __tsan_init(void)
{
    fine = true;
}

static inline struct sim_memory *memory_inside(void)
{
    struct weir_sim *sim = sim_current;
    return sim != NULL && sim_threads_inside(sim->threads) ? sim->memory : NULL;
}

// The same before an atomic operation.
static inline struct sim_memory *memory_point(void)
{
    struct sim_memory *memory = memory_inside();
    if (memory != NULL) {
        sim_point(sim_current);
    }
    return memory;
}

// gcc adds bits for lock elision to an order.
static inline enum sim_order order_of(int order)
{
    return (enum sim_order)(order & 7);
}

// ---- Plain accesses ----

static inline void access_read(const void *address, size_t bytes, const void *where)
{
    struct sim_memory *memory = memory_inside();
    if (memory != NULL) {
        sim_memory_read(memory, address, bytes, where);
    }
}

static inline void access_write(const void *address, size_t bytes, const void *where)
{
    struct sim_memory *memory = memory_inside();
    if (memory != NULL) {
        sim_memory_write(memory, address, bytes, where);
    }
}

#define PLAIN(bytes)                                                                               \
    void __tsan_read##bytes(void *address)                                                         \
    {                                                                                              \
        access_read(address, bytes, WHERE);                                                        \
    }                                                                                              \
    void __tsan_write##bytes(void *address)                                                        \
    {                                                                                              \
        access_write(address, bytes, WHERE);                                                       \
    }                                                                                              \
    void __tsan_read_write##bytes(void *address)                                                   \
    {                                                                                              \
        access_write(address, bytes, WHERE);                                                       \
    }                                                                                              \
    void __tsan_unaligned_read##bytes(void *address)                                               \
    {                                                                                              \
        access_read(address, bytes, WHERE);                                                        \
    }                                                                                              \
    void __tsan_unaligned_write##bytes(void *address)                                              \
    {                                                                                              \
        access_write(address, bytes, WHERE);                                                       \
    }                                                                                              \
    void __tsan_unaligned_read_write##bytes(void *address)                                         \
    {                                                                                              \
        access_write(address, bytes, WHERE);                                                       \
    }                                                                                              \
    void __tsan_volatile_read##bytes(void *address)                                                \
    {                                                                                              \
        access_read(address, bytes, WHERE);                                                        \
    }                                                                                              \
    void __tsan_volatile_write##bytes(void *address)                                               \
    {                                                                                              \
        access_write(address, bytes, WHERE);                                                       \
    }                                                                                              \
    void __tsan_unaligned_volatile_read##bytes(void *address)                                      \
    {                                                                                              \
        access_read(address, bytes, WHERE);                                                        \
    }                                                                                              \
    void __tsan_unaligned_volatile_write##bytes(void *address)                                     \
    {                                                                                              \
        access_write(address, bytes, WHERE);                                                       \
    }
SIM_TSAN_PLAIN(PLAIN)
#undef PLAIN

void __tsan_read_range(void *address, unsigned long bytes)
{
    access_read(address, bytes, WHERE);
}

void __tsan_write_range(void *address, unsigned long bytes)
{
    access_write(address, bytes, WHERE);
}

void __tsan_vptr_update(void **address, void *value)
{
    (void)value;
    access_write(address, sizeof(*address), WHERE);
}

void __tsan_vptr_read(void **address)
{
    access_read(address, sizeof(*address), WHERE);
}

void __tsan_func_entry(void *caller)
{
    (void)caller;
}

void __tsan_func_exit(void)
{
}

// ---- Copies ----

void *__tsan_memcpy(void *to, const void *from, unsigned long bytes)
{
    access_read(from, bytes, WHERE);
    access_write(to, bytes, WHERE);
    return memcpy(to, from, bytes);
}

void *__tsan_memmove(void *to, const void *from, unsigned long bytes)
{
    access_read(from, bytes, WHERE);
    access_write(to, bytes, WHERE);
    return memmove(to, from, bytes);
}

void *__tsan_memset(void *to, int value, unsigned long bytes)
{
    access_write(to, bytes, WHERE);
    return memset(to, value, bytes);
}

int weir_sim_memcmp(const void *left, const void *right, unsigned long bytes)
{
    access_read(left, bytes, WHERE);
    access_read(right, bytes, WHERE);
    return memcmp(left, right, bytes);
}

// ---- Atomics ----

// Outside of a run there is no portable lock-free operation on 16 bytes: one lock for them all.
static char wide_lock;

static inline void wide_enter(void)
{
    while (__atomic_test_and_set(&wide_lock, __ATOMIC_SEQ_CST)) {
    }
}

static inline void wide_leave(void)
{
    __atomic_clear(&wide_lock, __ATOMIC_SEQ_CST);
}

#define REAL_NARROW(bits, type)                                                                    \
    static inline type real_load_##bits(const volatile type *at)                                   \
    {                                                                                              \
        return __atomic_load_n(at, __ATOMIC_SEQ_CST);                                              \
    }                                                                                              \
    static inline bool real_cas_##bits(volatile type *at, type *expected, type desired)            \
    {                                                                                              \
        return __atomic_compare_exchange_n(at, expected, desired, false, __ATOMIC_SEQ_CST,         \
                                           __ATOMIC_SEQ_CST);                                      \
    }
REAL_NARROW(8, uint8_t)
REAL_NARROW(16, uint16_t)
REAL_NARROW(32, uint32_t)
REAL_NARROW(64, uint64_t)
#undef REAL_NARROW

static inline sim_value real_load_128(const volatile sim_value *at)
{
    wide_enter();
    sim_value value = *at;
    wide_leave();
    return value;
}

static inline bool real_cas_128(volatile sim_value *at, sim_value *expected, sim_value desired)
{
    wide_enter();
    sim_value found = *at;
    bool swapped = found == *expected;
    if (swapped) {
        *at = desired;
    }
    wide_leave();
    *expected = found;
    return swapped;
}

#define ATOMIC_LOAD_STORE(bits, type)                                                              \
    type __tsan_atomic##bits##_load(const volatile type *at, int order)                            \
    {                                                                                              \
        struct sim_memory *memory = memory_point();                                                \
        return memory == NULL                                                                      \
                   ? real_load_##bits(at)                                                          \
                   : (type)sim_memory_load(memory, at, sizeof(type), order_of(order), WHERE);      \
    }                                                                                              \
    void __tsan_atomic##bits##_store(volatile type *at, type value, int order)                     \
    {                                                                                              \
        struct sim_memory *memory = memory_point();                                                \
        if (memory != NULL) {                                                                      \
            sim_memory_store(memory, at, sizeof(type), value, order_of(order), WHERE);             \
            return;                                                                                \
        }                                                                                          \
        type old = real_load_##bits(at);                                                           \
        while (!real_cas_##bits(at, &old, value)) {                                                \
        }                                                                                          \
    }
SIM_TSAN_ATOMIC(ATOMIC_LOAD_STORE)
#undef ATOMIC_LOAD_STORE

#define RMW(bits, type, name, how, result)                                                         \
    type __tsan_atomic##bits##_##name(volatile type *at, type operand, int order)                  \
    {                                                                                              \
        struct sim_memory *memory = memory_point();                                                \
        if (memory != NULL) {                                                                      \
            return (type)sim_memory_rmw(memory, at, sizeof(type), how, operand, order_of(order),   \
                                        WHERE);                                                    \
        }                                                                                          \
        type old = real_load_##bits(at);                                                           \
        while (!real_cas_##bits(at, &old, (type)(result))) {                                       \
        }                                                                                          \
        return old;                                                                                \
    }
#define ATOMIC_RMW(bits, type)                                                                     \
    RMW(bits, type, exchange, SIM_RMW_EXCHANGE, operand)                                           \
    RMW(bits, type, fetch_add, SIM_RMW_ADD, old + operand)                                         \
    RMW(bits, type, fetch_sub, SIM_RMW_SUB, old - operand)                                         \
    RMW(bits, type, fetch_and, SIM_RMW_AND, old &operand)                                          \
    RMW(bits, type, fetch_or, SIM_RMW_OR, old | operand)                                           \
    RMW(bits, type, fetch_xor, SIM_RMW_XOR, old ^ operand)                                         \
    RMW(bits, type, fetch_nand, SIM_RMW_NAND, ~(old & operand))
SIM_TSAN_ATOMIC(ATOMIC_RMW)
#undef ATOMIC_RMW
#undef RMW

#define ATOMIC_CAS(bits, type)                                                                     \
    static inline bool cas_##bits(volatile type *at, type *expected, type desired, bool weak,      \
                                  int success, int failure, const void *where)                     \
    {                                                                                              \
        struct sim_memory *memory = memory_point();                                                \
        if (memory == NULL) {                                                                      \
            return real_cas_##bits(at, expected, desired);                                         \
        }                                                                                          \
        sim_value found = *expected;                                                               \
        bool swapped = sim_memory_cas(memory, at, sizeof(type), &found, desired, weak,             \
                                      order_of(success), order_of(failure), where);                \
        *expected = (type)found;                                                                   \
        return swapped;                                                                            \
    }                                                                                              \
    int __tsan_atomic##bits##_compare_exchange_strong(volatile type *at, type *expected,           \
                                                      type desired, int success, int failure)      \
    {                                                                                              \
        return cas_##bits(at, expected, desired, false, success, failure, WHERE);                  \
    }                                                                                              \
    int __tsan_atomic##bits##_compare_exchange_weak(volatile type *at, type *expected,             \
                                                    type desired, int success, int failure)        \
    {                                                                                              \
        return cas_##bits(at, expected, desired, true, success, failure, WHERE);                   \
    }                                                                                              \
    type __tsan_atomic##bits##_compare_exchange_val(volatile type *at, type expected,              \
                                                    type desired, int success, int failure)        \
    {                                                                                              \
        (void)cas_##bits(at, &expected, desired, false, success, failure, WHERE);                  \
        return expected;                                                                           \
    }
SIM_TSAN_ATOMIC(ATOMIC_CAS)
#undef ATOMIC_CAS

void __tsan_atomic_thread_fence(int order)
{
    struct sim_memory *memory = memory_point();
    if (memory != NULL) {
        sim_memory_fence(memory, order_of(order), WHERE);
    } else {
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    }
}

void __tsan_atomic_signal_fence(int order)
{
    (void)order;
}
