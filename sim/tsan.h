// The interface that instrumented code calls: declarations, for the compiler to check tsan.c by.
//
// Names and types are the compilers'; see tsan.c.
#ifndef WEIR_SIM_TSAN_H
#define WEIR_SIM_TSAN_H

#include "sim/memory.h"
#include "weir_sim.h"

// X(bytes), X(bits, type): the sizes of accesses.
#define SIM_TSAN_PLAIN(X) X(1) X(2) X(4) X(8) X(16)
#define SIM_TSAN_ATOMIC(X)                                                                         \
    X(8, uint8_t) X(16, uint16_t) X(32, uint32_t) X(64, uint64_t) X(128, sim_value)

WEIR_API void __tsan_init(void);
WEIR_API void __tsan_func_entry(void *caller);
WEIR_API void __tsan_func_exit(void);

#define SIM_TSAN_DECLARE(bytes)                                                                    \
    WEIR_API void __tsan_read##bytes(void *address);                                               \
    WEIR_API void __tsan_write##bytes(void *address);                                              \
    WEIR_API void __tsan_read_write##bytes(void *address);                                         \
    WEIR_API void __tsan_unaligned_read##bytes(void *address);                                     \
    WEIR_API void __tsan_unaligned_write##bytes(void *address);                                    \
    WEIR_API void __tsan_unaligned_read_write##bytes(void *address);                               \
    WEIR_API void __tsan_volatile_read##bytes(void *address);                                      \
    WEIR_API void __tsan_volatile_write##bytes(void *address);                                     \
    WEIR_API void __tsan_unaligned_volatile_read##bytes(void *address);                            \
    WEIR_API void __tsan_unaligned_volatile_write##bytes(void *address);
SIM_TSAN_PLAIN(SIM_TSAN_DECLARE)
#undef SIM_TSAN_DECLARE
WEIR_API void __tsan_read_range(void *address, unsigned long bytes);
WEIR_API void __tsan_write_range(void *address, unsigned long bytes);
WEIR_API void __tsan_vptr_update(void **address, void *value);
WEIR_API void __tsan_vptr_read(void **address);

WEIR_API void *__tsan_memcpy(void *to, const void *from, unsigned long bytes);
WEIR_API void *__tsan_memmove(void *to, const void *from, unsigned long bytes);
WEIR_API void *__tsan_memset(void *to, int value, unsigned long bytes);
// The compilers have no such call; the build gives memcmp this name.
WEIR_API int weir_sim_memcmp(const void *left, const void *right, unsigned long bytes);

#define SIM_TSAN_DECLARE_RMW(bits, type, name)                                                     \
    WEIR_API type __tsan_atomic##bits##_##name(volatile type *at, type operand, int order);
#define SIM_TSAN_DECLARE(bits, type)                                                               \
    WEIR_API type __tsan_atomic##bits##_load(const volatile type *at, int order);                  \
    WEIR_API void __tsan_atomic##bits##_store(volatile type *at, type value, int order);           \
    SIM_TSAN_DECLARE_RMW(bits, type, exchange)                                                     \
    SIM_TSAN_DECLARE_RMW(bits, type, fetch_add)                                                    \
    SIM_TSAN_DECLARE_RMW(bits, type, fetch_sub)                                                    \
    SIM_TSAN_DECLARE_RMW(bits, type, fetch_and)                                                    \
    SIM_TSAN_DECLARE_RMW(bits, type, fetch_or)                                                     \
    SIM_TSAN_DECLARE_RMW(bits, type, fetch_xor)                                                    \
    SIM_TSAN_DECLARE_RMW(bits, type, fetch_nand)                                                   \
    WEIR_API int __tsan_atomic##bits##_compare_exchange_strong(                                    \
        volatile type *at, type *expected, type desired, int success, int failure);                \
    WEIR_API int __tsan_atomic##bits##_compare_exchange_weak(                                      \
        volatile type *at, type *expected, type desired, int success, int failure);                \
    WEIR_API type __tsan_atomic##bits##_compare_exchange_val(                                      \
        volatile type *at, type expected, type desired, int success, int failure);
SIM_TSAN_ATOMIC(SIM_TSAN_DECLARE)
#undef SIM_TSAN_DECLARE
#undef SIM_TSAN_DECLARE_RMW
WEIR_API void __tsan_atomic_thread_fence(int order);
WEIR_API void __tsan_atomic_signal_fence(int order);

#endif
