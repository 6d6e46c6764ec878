// Contexts: where a fiber goes on. One switch in assembly for each architecture, one with ucontext.
#ifndef WEIR_SIM_FIBER_SWITCH_H
#define WEIR_SIM_FIBER_SWITCH_H

#include <stddef.h>

// A context that will call body(argument), which must not return, on this stack. Takes the place of
// `before`, the fiber's earlier context, if that is not NULL. returns  NULL: no memory.
void *sim_fiber_context_make(void *before, void *stack, size_t stack_bytes, void (*body)(void *),
                             void *argument);
// A context to be filled by the first switch away from it. returns  NULL only if none is needed.
void *sim_fiber_context_host(void *before);
void sim_fiber_context_release(void *context);
// Saves the running context in *from and goes on in `to`.
void sim_fiber_context_switch(void **from, void *to);

#endif
