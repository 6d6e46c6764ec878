// Fibers: what belongs to a fiber besides its registers, and what ASan is told of a switch.
//
// The program's own thread-local objects lie in one block, described by the PT_TLS header of the
// main program; each fiber has a copy of it, which the switch exchanges. Not in a statically linked
// program, where libc's own are in the same block and belong to the OS thread; nor under ASan.
//
// ASan keeps locals that might be returned from in a "fake stack". An abandoned fiber's is taken
// over by the fiber that reuses its stack; now and then __asan_handle_no_return makes it drop the
// dead frames. That takes microseconds, and until then dead frames only take up room.
#include "sim/fiber.h"

#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/assert.h"
#include "sim/asan.h"
#include "sim/fiber_switch.h"

#if SIM_ASAN

#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>

#define FIBER_SWEEP 32u

// Nothing: the frames of a stack under ASan hold addresses into its own copy of it.
static void locals_init(struct sim_fiber *fiber, bool fresh)
{
    (void)fiber;
    (void)fresh;
}

static inline void locals_exchange(const struct sim_fiber *from, const struct sim_fiber *to)
{
    (void)from;
    (void)to;
}

// ASan wants the bounds of the stack that is switched to.
static void host_bounds(struct sim_fiber *fiber)
{
    pthread_attr_t attributes;
    weir_assert(pthread_getattr_np(pthread_self(), &attributes) == 0);
    weir_assert(pthread_attr_getstack(&attributes, &fiber->stack, &fiber->stack_bytes) == 0);
    pthread_attr_destroy(&attributes);
}

// First thing on a fiber: while it runs its fake stack is the OS thread's.
static inline void fake_stack_take(struct sim_fiber *fiber)
{
    __sanitizer_finish_switch_fiber(fiber->fake_stack, NULL, NULL);
    fiber->fake_stack = NULL;
}

// There is no call for it but to be on the fiber, so ASan is told that we go there and come back
// for good; nothing is switched.
static void fake_stack_destroy(struct sim_fiber *fiber)
{
    if (fiber->fake_stack == NULL) {
        return;
    }
    void *own = NULL;
    const void *stack = NULL;
    size_t stack_bytes = 0;
    __sanitizer_start_switch_fiber(&own, fiber->stack, fiber->stack_bytes);
    __sanitizer_finish_switch_fiber(fiber->fake_stack, &stack, &stack_bytes);
    __sanitizer_start_switch_fiber(NULL, stack, stack_bytes);
    __sanitizer_finish_switch_fiber(own, NULL, NULL);
    fiber->fake_stack = NULL;
}

#else

struct fiber_locals {
    void *block; // the OS thread's
    size_t block_bytes;
    const void *image; // what a new thread's block begins with; zeros follow
    size_t image_bytes;
    unsigned char copy[];
};

// The main program comes first (dl_iterate_phdr(3)); 1 ends the iteration.
static int locals_find(struct dl_phdr_info *program, size_t program_bytes, void *target)
{
    (void)program_bytes;
    struct fiber_locals *found = target;
    bool dynamic = false;
    for (int i = 0; i < program->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &program->dlpi_phdr[i];
        dynamic = dynamic || header->p_type == PT_INTERP;
        if (header->p_type == PT_TLS) {
            *found = (struct fiber_locals){
                .block = program->dlpi_tls_data,
                .block_bytes = header->p_memsz,
                .image = (const void *)(program->dlpi_addr + header->p_vaddr), // NOLINT
                .image_bytes = header->p_filesz,
            };
        }
    }
    if (!dynamic || found->block == NULL) {
        *found = (struct fiber_locals){0};
    }
    return 1;
}

// `fresh`: the copy is to hold what a new thread's objects do.
static void locals_init(struct sim_fiber *fiber, bool fresh)
{
    struct fiber_locals *locals = fiber->thread_local_saved;
    if (locals == NULL) {
        struct fiber_locals found = {0};
        dl_iterate_phdr(locals_find, &found);
        if (found.block_bytes == 0) {
            return;
        }
        locals = malloc(sizeof found + found.block_bytes);
        weir_assert(locals != NULL);
        *locals = found;
        fiber->thread_local_saved = locals;
    }
    if (fresh) {
        memcpy(locals->copy, locals->image, locals->image_bytes);
        memset(locals->copy + locals->image_bytes, 0, locals->block_bytes - locals->image_bytes);
    }
}

static inline void locals_exchange(const struct sim_fiber *from, const struct sim_fiber *to)
{
    struct fiber_locals *leaving = from->thread_local_saved;
    if (__builtin_expect(leaving != NULL, 0)) {
        const struct fiber_locals *coming = to->thread_local_saved;
        memcpy(leaving->copy, leaving->block, leaving->block_bytes);
        memcpy(coming->block, coming->copy, coming->block_bytes);
    }
}

static void host_bounds(struct sim_fiber *fiber)
{
    fiber->stack = NULL;
    fiber->stack_bytes = 0;
}

static void fake_stack_destroy(struct sim_fiber *fiber)
{
    (void)fiber;
}

#endif

static void fiber_body(void *argument)
{
    struct sim_fiber *fiber = argument;
#if SIM_ASAN
    fake_stack_take(fiber);
    if (++fiber->reused == FIBER_SWEEP) {
        fiber->reused = 0;
        __asan_handle_no_return();
    }
#endif
    fiber->entry(fiber->argument);
    abort(); // an entry must not return
}

void sim_fiber_init_host(struct sim_fiber *fiber)
{
    *fiber = (struct sim_fiber){0};
    host_bounds(fiber);
    fiber->context = sim_fiber_context_host(NULL);
    locals_init(fiber, false);
}

void sim_fiber_init(struct sim_fiber *fiber, void *stack, size_t stack_bytes, void (*entry)(void *),
                    void *argument, uint8_t poison, size_t poison_bytes)
{
    weir_assert(poison_bytes <= stack_bytes);
#if SIM_ASAN
    // What an abandoned body left there is not what the new one will find.
    __asan_unpoison_memory_region(stack, stack_bytes);
#endif
    memset((unsigned char *)stack + stack_bytes - poison_bytes, poison, poison_bytes);
    fiber->stack = stack;
    fiber->stack_bytes = stack_bytes;
    fiber->entry = entry;
    fiber->argument = argument;
    fiber->errno_saved = 0;
    fiber->context = sim_fiber_context_make(fiber->context, stack, stack_bytes, fiber_body, fiber);
    weir_assert(fiber->context != NULL);
    locals_init(fiber, true);
}

void sim_fiber_deinit(struct sim_fiber *fiber)
{
    fake_stack_destroy(fiber);
    sim_fiber_context_release(fiber->context);
    free(fiber->thread_local_saved);
    *fiber = (struct sim_fiber){0};
}

void sim_fiber_switch(struct sim_fiber *from, struct sim_fiber *to)
{
    int *error = &errno; // of the OS thread, which stays the same
    from->errno_saved = *error;
    locals_exchange(from, to);
    *error = to->errno_saved;
#if SIM_ASAN
    __sanitizer_start_switch_fiber(&from->fake_stack, to->stack, to->stack_bytes);
    sim_fiber_context_switch(&from->context, to->context);
    fake_stack_take(from);
#else
    sim_fiber_context_switch(&from->context, to->context);
#endif
}
