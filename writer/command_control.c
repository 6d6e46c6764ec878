// Control of a sending command: signals, deadlines and progress, beside the thread that reads.
//
// SIGTERM does not mean "exit": Apache sends it to its piped loggers while its old children still
// write. Reading goes on, to the end of the input or until the drain timeout. SIGINT, or a second
// signal, ends the reading at once; what was read is still delivered until the same deadline. One
// more gives up.
//
// The reading thread may be blocked in read(2) or open(2), out of which SIGUSR1 gets it (repeated,
// so that none is lost between its look at the flag and the call), or in weir_log, because the
// buffer is full and the collector gone, out of which closing the pool gets it.
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "runtime/assert.h"
#include "writer/command.h"

#define PROGRESS_NS (200 * WEIR_NS_PER_MS)
// While the reading thread is to be got out of a blocking call.
#define POKE_NS (20 * WEIR_NS_PER_MS)
// After so many pokes it is neither in a system call nor completing its last line.
#define POKES_MAX 25
// What is held at the deadline gets so much longer, or an input without end would leave no time.
#define GRACE_MS 1000
// How long a wait for delivery may be deaf to a deadline that a signal sets.
#define SLICE_MS 100

static void poke_take(int number)
{
    (void)number; // only its interruption is wanted
}

static void signals_fill(sigset_t *signals)
{
    sigemptyset(signals);
    sigaddset(signals, SIGTERM);
    sigaddset(signals, SIGINT);
    sigaddset(signals, SIGHUP);
}

void weir_control_prepare(void)
{
    sigset_t signals;
    signals_fill(&signals);
    int code = pthread_sigmask(SIG_BLOCK, &signals, NULL);
    weir_assert(code == 0);
    struct sigaction action = {.sa_handler = poke_take}; // without SA_RESTART: EINTR is the point
    code = sigaction(SIGUSR1, &action, NULL);
    weir_assert(code == 0);
    (void)signal(SIGPIPE, SIG_IGN); // whoever read our messages and left ends nothing
}

static bool load_flag(_Atomic bool *flag)
{
    return atomic_load_explicit(flag, memory_order_relaxed);
}

static void store_flag(_Atomic bool *flag)
{
    atomic_store_explicit(flag, true, memory_order_relaxed);
}

static uint64_t deadline_get(struct weir_control *control)
{
    return atomic_load_explicit(&control->deadline_ns, memory_order_relaxed);
}

static bool state_move(struct weir_control *control, uint32_t from, uint32_t to)
{
    return atomic_compare_exchange_strong_explicit(&control->state, &from, to, memory_order_relaxed,
                                                   memory_order_relaxed);
}

static uint32_t state_get(struct weir_control *control)
{
    return atomic_load_explicit(&control->state, memory_order_relaxed);
}

// ---- The control thread ----

static void signal_take(struct weir_control *control, int number)
{
    uint64_t now = weir_command_now_ns();
    double seconds = (double)control->drain_timeout_ms / 1000;
    control->signals++;
    if (control->signals == 1) {
        atomic_store_explicit(&control->deadline_ns,
                              now + control->drain_timeout_ms * WEIR_NS_PER_MS,
                              memory_order_relaxed);
        if (state_get(control) != WEIR_SENDING_READS) {
            store_flag(&control->stop_reading); // it has ended already
            weir_command_say(control->command,
                             "asked to end: what is held has %g s; once more to "
                             "give up",
                             seconds);
            return;
        }
        if (number != SIGINT) {
            weir_command_say(control->command,
                             "asked to end: reading on to the end of the input, "
                             "at most %g s",
                             seconds);
            return;
        }
    }
    if (load_flag(&control->stop_reading)) {
        weir_command_say(control->command, "asked again: giving up what is not delivered");
        atomic_store_explicit(&control->deadline_ns, now, memory_order_relaxed);
        return;
    }
    weir_command_say(control->command,
                     "asked to end: no more is read, what was read has %g s; "
                     "once more to give up",
                     seconds);
    store_flag(&control->stop_reading);
}

// Looks at the deadline and gets the reading thread out of where it may be blocked.
static void deadline_enforce(struct weir_control *control)
{
    uint64_t now = weir_command_now_ns();
    uint64_t deadline = deadline_get(control);
    bool passed = deadline != 0 && now >= deadline;
    uint32_t state = state_get(control);
    if (passed) {
        store_flag(&control->stop_reading);
    }
    if (state == WEIR_SENDING_READS && load_flag(&control->stop_reading)) {
        (void)pthread_kill(control->reader, SIGUSR1);
        control->pokes += passed ? 1 : 0;
        if (control->pokes > POKES_MAX &&
            state_move(control, WEIR_SENDING_READS, WEIR_SENDING_CUT_SHORT)) {
            control->close_code = weir_pool_close(control->pool, GRACE_MS);
            store_flag(&control->over);
        }
    }
    if (state == WEIR_SENDING_CLOSES && passed &&
        now > deadline + (GRACE_MS + SLICE_MS) * WEIR_NS_PER_MS) {
        // Only a proof is missing, and weir_pool_close waits for it as long as it was told to.
        _exit(control->finish(control->context, WEIR_EUNPROVEN));
    }
}

static void progress_look(struct weir_control *control)
{
    uint64_t now = weir_command_now_ns();
    if (control->progress.fd >= 0 && now - control->progress.at_ns >= PROGRESS_NS) {
        struct weir_metrics metrics;
        weir_pool_stats(control->pool, &metrics);
        weir_progress_show(&control->progress, &metrics, now);
    }
}

static void *control_main(void *argument)
{
    struct weir_control *control = argument;
    sigset_t signals;
    signals_fill(&signals);
    sigaddset(&signals, SIGUSR1); // how the reading thread says that it is over
    (void)pthread_sigmask(SIG_BLOCK, &signals, NULL);
    while (!load_flag(&control->over)) {
        bool poking = load_flag(&control->stop_reading) && state_get(control) == WEIR_SENDING_READS;
        struct timespec wait = {.tv_nsec = (long)(poking ? POKE_NS : PROGRESS_NS)};
        int number = sigtimedwait(&signals, NULL, &wait);
        if (number > 0 && number != SIGUSR1) {
            signal_take(control, number);
        }
        deadline_enforce(control);
        progress_look(control);
    }
    weir_progress_clear(&control->progress);
    return NULL;
}

// ---- The reading thread ----

int weir_control_start(struct weir_control *control)
{
    weir_assert(control->pool != NULL);
    weir_assert(control->finish != NULL);
    control->reader = pthread_self();
    return -pthread_create(&control->thread, NULL, control_main, control);
}

bool weir_control_stopped(struct weir_control *control)
{
    return load_flag(&control->stop_reading);
}

// When it must be over: `until_ns`, or before it what a signal asked for, with its grace.
static uint64_t time_left_ms(struct weir_control *control, uint64_t until_ns)
{
    uint64_t now = weir_command_now_ns();
    uint64_t deadline = deadline_get(control);
    if (deadline != 0) {
        // A deadline in the past is somebody who gives up; his grace began with it.
        deadline += GRACE_MS * WEIR_NS_PER_MS;
        until_ns = deadline < until_ns ? deadline : until_ns;
    }
    return until_ns > now ? (until_ns - now) / WEIR_NS_PER_MS : 0;
}

int weir_control_close(struct weir_control *control, uint64_t timeout_ms)
{
    int code = WEIR_ETIMEOUT;
    if (state_move(control, WEIR_SENDING_READS, WEIR_SENDING_DRAINS)) {
        uint64_t until = weir_command_now_ns() + timeout_ms * WEIR_NS_PER_MS;
        uint64_t left = time_left_ms(control, until);
        // In slices, because nothing can shorten the wait of a close that has begun.
        while (code == WEIR_ETIMEOUT && left > 0) {
            code = weir_pool_flush(control->pool, left < SLICE_MS ? left : SLICE_MS);
            left = time_left_ms(control, until);
        }
        atomic_store_explicit(&control->state, WEIR_SENDING_CLOSES, memory_order_relaxed);
        control->close_code = weir_pool_close(control->pool, left);
        store_flag(&control->over);
        (void)pthread_kill(control->thread, SIGUSR1);
    }
    (void)pthread_join(control->thread, NULL);
    return control->close_code;
}
