// The switch between stacks: what a call must keep is pushed, the stack pointer exchanged.
//
// What must be kept is in "System V Application Binary Interface, AMD64 Architecture Processor
// Supplement" 3.2.1 (rbx, rbp, r12 to r15, the control bits of MXCSR, the x87 control word) and in
// "Procedure Call Standard for the Arm 64-bit Architecture" 6.1 (x19 to x30, d8 to d15, FPCR). Both
// stacks have the same layout at the exchange, so the unwinding directives stay true across it; a
// backtrace ends in the first frame of the fiber, whose return address is marked as undefined.
//
// Indirect branch tracking (endbr64, bti) is obeyed. A hardware shadow stack is not: the return at
// the end of the switch is to another stack's caller, so programs with fibers must run without one.
//
// -DSIM_FIBER_PORTABLE takes ucontext instead, whose switch is a hundred times slower as it makes
// system calls for the signal mask; it is also what other architectures get.
#include "sim/fiber_switch.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if !defined(SIM_FIBER_PORTABLE) && !defined(__x86_64__) && !defined(__aarch64__)
#define SIM_FIBER_PORTABLE
#endif

#ifdef SIM_FIBER_PORTABLE

#include <ucontext.h>

#include "runtime/assert.h"

struct portable_context {
    ucontext_t machine;
    void (*body)(void *);
    void *argument;
};

// makecontext passes ints only.
static void portable_main(unsigned high, unsigned low)
{
    struct portable_context *context =
        (struct portable_context *)(uintptr_t)((uint64_t)high << 32 | low);
    context->body(context->argument);
}

// On its own, as getcontext may return twice for all the compiler knows.
static __attribute__((noinline)) void portable_prepare(struct portable_context *context,
                                                       void *stack, size_t stack_bytes)
{
    weir_assert(getcontext(&context->machine) == 0);
    uint64_t number = (uintptr_t)context;
    context->machine.uc_stack.ss_sp = stack;
    context->machine.uc_stack.ss_size = stack_bytes;
    context->machine.uc_link = NULL;
    makecontext(&context->machine, (void (*)(void))portable_main, 2, (unsigned)(number >> 32),
                (unsigned)number);
}

void *sim_fiber_context_host(void *before)
{
    return before != NULL ? before : calloc(1, sizeof(struct portable_context));
}

void *sim_fiber_context_make(void *before, void *stack, size_t stack_bytes, void (*body)(void *),
                             void *argument)
{
    struct portable_context *context = sim_fiber_context_host(before);
    if (context == NULL) {
        return NULL;
    }
    portable_prepare(context, stack, stack_bytes);
    context->body = body;
    context->argument = argument;
    return context;
}

void sim_fiber_context_release(void *context)
{
    free(context);
}

void sim_fiber_context_switch(void **from, void *to)
{
    struct portable_context *here = *from;
    struct portable_context *there = to;
    weir_assert(swapcontext(&here->machine, &there->machine) == 0);
}

#else

// Calls the function that sim_fiber_context_make put into the first saved register with the second.
void sim_fiber_context_enter(void);

#if defined(__x86_64__)

// What the switch leaves on a stack, from its saved stack pointer upwards.
struct saved_frame {
    uint32_t mxcsr;
    uint16_t x87_control;
    uint16_t unused;
    uint64_t r15, r14, r13, r12, rbx, rbp;
    void (*return_to)(void);
};

__asm__(".pushsection .text, \"ax\", @progbits\n"
        ".p2align 4\n"
        ".globl sim_fiber_context_switch\n"
        ".hidden sim_fiber_context_switch\n"
        ".type sim_fiber_context_switch, @function\n"
        "sim_fiber_context_switch:\n"
        "    .cfi_startproc\n"
        "    endbr64\n"
        "    pushq %rbp\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    .cfi_rel_offset %rbp, 0\n"
        "    pushq %rbx\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    .cfi_rel_offset %rbx, 0\n"
        "    pushq %r12\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    .cfi_rel_offset %r12, 0\n"
        "    pushq %r13\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    .cfi_rel_offset %r13, 0\n"
        "    pushq %r14\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    .cfi_rel_offset %r14, 0\n"
        "    pushq %r15\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    .cfi_rel_offset %r15, 0\n"
        "    subq $8, %rsp\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    stmxcsr (%rsp)\n"
        "    fnstcw 4(%rsp)\n"
        "    movq %rsp, (%rdi)\n"
        "    movq %rsi, %rsp\n"
        "    ldmxcsr (%rsp)\n"
        "    fldcw 4(%rsp)\n"
        "    addq $8, %rsp\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    popq %r15\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    .cfi_restore %r15\n"
        "    popq %r14\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    .cfi_restore %r14\n"
        "    popq %r13\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    .cfi_restore %r13\n"
        "    popq %r12\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    .cfi_restore %r12\n"
        "    popq %rbx\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    .cfi_restore %rbx\n"
        "    popq %rbp\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    .cfi_restore %rbp\n"
        "    ret\n"
        "    .cfi_endproc\n"
        ".size sim_fiber_context_switch, .-sim_fiber_context_switch\n"
        ".p2align 4\n"
        ".globl sim_fiber_context_enter\n"
        ".hidden sim_fiber_context_enter\n"
        ".type sim_fiber_context_enter, @function\n"
        "sim_fiber_context_enter:\n"
        "    .cfi_startproc\n"
        "    .cfi_undefined %rip\n"
        "    endbr64\n"
        "    movq %r13, %rdi\n"
        "    call *%r12\n"
        "    ud2\n"
        "    .cfi_endproc\n"
        ".size sim_fiber_context_enter, .-sim_fiber_context_enter\n"
        ".popsection\n");

static void frame_fill(struct saved_frame *frame, uint64_t body, uint64_t argument)
{
    __asm__ volatile("stmxcsr %0" : "=m"(frame->mxcsr));
    __asm__ volatile("fnstcw %0" : "=m"(frame->x87_control));
    frame->r12 = body;
    frame->r13 = argument;
    frame->return_to = sim_fiber_context_enter;
}

#else

struct saved_frame {
    uint64_t x19, x20, x21_to_x28[8], x29;
    void (*return_to)(void); // x30
    uint64_t d8_to_d15[8];
    uint64_t fpcr, unused;
};

__asm__(".pushsection .text, \"ax\", @progbits\n"
        ".p2align 4\n"
        ".globl sim_fiber_context_switch\n"
        ".hidden sim_fiber_context_switch\n"
        ".type sim_fiber_context_switch, @function\n"
        "sim_fiber_context_switch:\n"
        "    .cfi_startproc\n"
        "    hint #34\n" // bti c
        "    sub sp, sp, #176\n"
        "    .cfi_adjust_cfa_offset 176\n"
        "    stp x19, x20, [sp, #0]\n"
        "    stp x21, x22, [sp, #16]\n"
        "    stp x23, x24, [sp, #32]\n"
        "    stp x25, x26, [sp, #48]\n"
        "    stp x27, x28, [sp, #64]\n"
        "    stp x29, x30, [sp, #80]\n"
        "    .cfi_rel_offset x29, 80\n"
        "    .cfi_rel_offset x30, 88\n"
        "    stp d8, d9, [sp, #96]\n"
        "    stp d10, d11, [sp, #112]\n"
        "    stp d12, d13, [sp, #128]\n"
        "    stp d14, d15, [sp, #144]\n"
        "    mrs x9, fpcr\n"
        "    str x9, [sp, #160]\n"
        "    mov x9, sp\n"
        "    str x9, [x0]\n"
        "    mov sp, x1\n"
        "    ldr x9, [sp, #160]\n"
        "    msr fpcr, x9\n"
        "    ldp d14, d15, [sp, #144]\n"
        "    ldp d12, d13, [sp, #128]\n"
        "    ldp d10, d11, [sp, #112]\n"
        "    ldp d8, d9, [sp, #96]\n"
        "    ldp x29, x30, [sp, #80]\n"
        "    .cfi_restore x29\n"
        "    .cfi_restore x30\n"
        "    ldp x27, x28, [sp, #64]\n"
        "    ldp x25, x26, [sp, #48]\n"
        "    ldp x23, x24, [sp, #32]\n"
        "    ldp x21, x22, [sp, #16]\n"
        "    ldp x19, x20, [sp, #0]\n"
        "    add sp, sp, #176\n"
        "    .cfi_adjust_cfa_offset -176\n"
        "    ret\n"
        "    .cfi_endproc\n"
        ".size sim_fiber_context_switch, .-sim_fiber_context_switch\n"
        ".p2align 4\n"
        ".globl sim_fiber_context_enter\n"
        ".hidden sim_fiber_context_enter\n"
        ".type sim_fiber_context_enter, @function\n"
        "sim_fiber_context_enter:\n"
        "    .cfi_startproc\n"
        "    .cfi_undefined x30\n"
        "    hint #36\n" // bti j
        "    mov x0, x20\n"
        "    blr x19\n"
        "    brk #1\n"
        "    .cfi_endproc\n"
        ".size sim_fiber_context_enter, .-sim_fiber_context_enter\n"
        ".popsection\n");

static void frame_fill(struct saved_frame *frame, uint64_t body, uint64_t argument)
{
    __asm__ volatile("mrs %0, fpcr" : "=r"(frame->fpcr));
    frame->x19 = body;
    frame->x20 = argument;
    frame->return_to = sim_fiber_context_enter;
}

#endif

// A new fiber begins with the floating-point control of who makes it, as a thread does.
void *sim_fiber_context_make(void *before, void *stack, size_t stack_bytes, void (*body)(void *),
                             void *argument)
{
    (void)before;
    uintptr_t top = ((uintptr_t)stack + stack_bytes) & ~(uintptr_t)15;
    struct saved_frame *frame = (struct saved_frame *)(top - sizeof(struct saved_frame));
    memset(frame, 0, sizeof *frame);
    frame_fill(frame, (uint64_t)(uintptr_t)body, (uint64_t)(uintptr_t)argument);
    return frame;
}

void *sim_fiber_context_host(void *before)
{
    (void)before;
    return NULL;
}

void sim_fiber_context_release(void *context)
{
    (void)context;
}

#endif
