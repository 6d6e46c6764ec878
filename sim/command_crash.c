// Runs in this process, and what becomes of a crash in one: a verdict, with seed and record.
//
// A signal in the code under test is turned into a call of weir_sim_fail: the handler, on a stack
// of its own, makes the thread go on in crash_tell, on another spare stack, since the fiber's may
// be what overflowed. The run is over then; the simulator may have been hit in the middle of an
// operation, or by a wild write, so that a worker that had a crash starts anew. Under ASan, whose
// reports say more, only the endless loop is handled here, by abort.
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <ucontext.h>

#include "sim/asan.h"
#include "sim/command.h"

#define STACK_BYTES ((size_t)64 << 10)
// A loop without an event for so many seconds of CPU time is taken for endless.
#define STUCK_S 5
// Addresses below this are a null pointer and a member's offset.
#define NULL_BYTES 65536

static const struct {
    int number;
    const char *name;
} crashes[] = {
    {SIGSEGV, "SIGSEGV"}, {SIGBUS, "SIGBUS"},   {SIGFPE, "SIGFPE"},
    {SIGILL, "SIGILL"},   {SIGABRT, "SIGABRT"},
};

// What the handler saw, for crash_tell. Globals, as signal handlers get nothing else.
static struct {
    int number;
    const void *where;
    uintptr_t address;
} crash;
static unsigned char handler_stack[STACK_BYTES] __attribute__((aligned(64)));
static unsigned char teller_stack[STACK_BYTES] __attribute__((aligned(64)));

static const char *crash_name(int number)
{
    for (size_t i = 0; i < sizeof crashes / sizeof crashes[0]; i++) {
        if (crashes[i].number == number) {
            return crashes[i].name;
        }
    }
    return "a signal";
}

// Says no address: the same run has others in another process.
static _Noreturn void crash_tell(void)
{
    struct weir_sim *sim = sim_current;
    char position[128];
    char name[64];
    sim_build_position(crash.where, position, sizeof position);
    if (crash.number == SIGVTALRM) {
        weir_sim_fail(sim, WEIR_SIM_LIVENESS, "endless-loop",
                      "%d s of CPU time without an event, at %s", STUCK_S, position);
    }
    snprintf(name, sizeof name, "crash %s", crash_name(crash.number));
    if (crash.number == SIGSEGV && crash.address < NULL_BYTES) {
        weir_sim_fail(sim, WEIR_SIM_SAFETY, name, "%s: null pointer + %zu, at %s",
                      crash_name(crash.number), (size_t)crash.address, position);
    }
    weir_sim_fail(sim, WEIR_SIM_SAFETY, name, "%s at %s", crash_name(crash.number), position);
}

// Makes the interrupted thread go on in crash_tell when the handler returns.
static void context_redirect(ucontext_t *context)
{
    // As after a call: 16 bytes aligned, less the return address where the stack holds it.
    uintptr_t top = (uintptr_t)(teller_stack + sizeof teller_stack);
#if defined(__x86_64__)
    crash.where = (const void *)context->uc_mcontext.gregs[REG_RIP]; // NOLINT: a register
    context->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)crash_tell;
    context->uc_mcontext.gregs[REG_RSP] = (greg_t)(top - sizeof(void *));
#elif defined(__aarch64__)
    crash.where = (const void *)context->uc_mcontext.pc; // NOLINT: a register
    context->uc_mcontext.pc = (uintptr_t)crash_tell;
    context->uc_mcontext.sp = top;
#else
#error "weir-sim runs on x86-64 and aarch64"
#endif
}

static bool inside_run(void)
{
    return sim_current != NULL && sim_threads_inside(sim_current->threads);
}

static void crash_handle(int number, siginfo_t *info, void *context)
{
    if (!inside_run()) { // no run to blame: end as if there was no handler
        (void)signal(number, SIG_DFL);
        (void)raise(number);
        return;
    }
    crash.number = number;
    crash.address = (uintptr_t)info->si_addr;
    context_redirect(context);
}

// Once per second of CPU time: whether the run has moved.
static void tick_handle(int number, siginfo_t *info, void *context)
{
    static uint64_t seen;
    static uint32_t ticks;
    (void)info;
    if (!inside_run()) {
        ticks = 0;
        return;
    }
    uint64_t moved = sim_trace_count(sim_current->trace) + sim_threads_steps(sim_current->threads) +
                     sim_choices_count(sim_current->choices);
    ticks = moved == seen ? ticks + 1 : 0;
    seen = moved;
    if (ticks < STUCK_S) {
        return;
    }
    ticks = 0;
#if SIM_ASAN
    (void)context;
    (void)number;
    abort();
#else
    crash.number = number;
    context_redirect(context);
#endif
}

static void handlers_install(void)
{
    struct sigaction action = {.sa_sigaction = crash_handle, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigemptyset(&action.sa_mask);
    if (!SIM_ASAN) {
        stack_t stack = {.ss_sp = handler_stack, .ss_size = sizeof handler_stack};
        (void)sigaltstack(&stack, NULL);
        for (size_t i = 0; i < sizeof crashes / sizeof crashes[0]; i++) {
            (void)sigaction(crashes[i].number, &action, NULL);
        }
    }
    action.sa_sigaction = tick_handle;
    action.sa_flags |= SA_RESTART;
    (void)sigaction(SIGVTALRM, &action, NULL);
    struct itimerval second = {.it_interval = {.tv_sec = 1}, .it_value = {.tv_sec = 1}};
    (void)setitimer(ITIMER_VIRTUAL, &second, NULL);
}

struct weir_sim *sim_command_simulator(const struct sim_command *command)
{
    struct weir_sim *sim = weir_sim_create();
    if (sim == NULL) {
        sim_say(command, "no memory for a simulator");
        return NULL;
    }
    handlers_install();
    return sim;
}

void sim_command_run(const struct sim_command *command, struct weir_sim *sim, uint32_t scenario,
                     uint64_t seed, FILE *story, struct weir_sim_result *result)
{
    const struct weir_sim_options options = {.seed = seed,
                                             .strategy = command->strategy,
                                             .steps_max = command->steps_max,
                                             .poison = command->poison,
                                             .story = story};
    weir_sim_run(sim, &command->scenarios[scenario], &options, result);
}
