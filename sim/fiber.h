// Fibers: stacks that one OS thread switches between by hand.
//
// x86-64 and aarch64 have a switch of a dozen instructions that saves what the ABI calls
// callee-saved, the floating-point control word included; others use ucontext. errno belongs to the
// fiber, and so do the program's own _Thread_local objects (saved and restored by copy, where the
// program has any, is not linked statically and not built with ASan). ASan is told of each switch.
// A fiber that was left in the middle of its body is reused by initialising it again.
#ifndef WEIR_SIM_FIBER_H
#define WEIR_SIM_FIBER_H

#include <stddef.h>
#include <stdint.h>

#include "sim/limits.h"

struct sim_fiber {
    void *stack; // lowest usable address; the caller's memory
    size_t stack_bytes;
    void (*entry)(void *);
    void *argument;
    void *context;    // saved stack pointer, or a ucontext_t
    void *fake_stack; // ASan's
    int errno_saved;
    uint32_t reused;          // ASan: times since its fake stack was swept
    void *thread_local_saved; // copy of the program's TLS, or NULL
};

// Of the program's first, ordinary stack.
void sim_fiber_init_host(struct sim_fiber *fiber);
// Makes a fiber that will call entry(argument) on this stack; entry must not return. Fresh stack is
// filled with `poison` as far as `poison_bytes`. The struct must be all zeros the first time;
// may be called again for a fiber that is not running.
void sim_fiber_init(struct sim_fiber *fiber, void *stack, size_t stack_bytes, void (*entry)(void *),
                    void *argument, uint8_t poison, size_t poison_bytes);
void sim_fiber_deinit(struct sim_fiber *fiber); // frees what init allocated, not the stack
// Saves the running fiber in `from` and goes on in `to`; returns when somebody switches back.
void sim_fiber_switch(struct sim_fiber *from, struct sim_fiber *to);

#endif
