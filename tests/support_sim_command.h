// The weir-sim command in the test's process, with scenarios that pass, fail and crash.
#ifndef WEIR_TESTS_SUPPORT_SIM_COMMAND_H
#define WEIR_TESTS_SUPPORT_SIM_COMMAND_H

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/assert.h"
#include "sim/asan.h"
#include "tests/support_replay.h"

#define OUTPUT_BYTES 65536
#define WORDS_MAX 24

static char output[OUTPUT_BYTES], messages[OUTPUT_BYTES];

// ---- Scenarios ----

static void passes(struct weir_sim *sim)
{
    weir_sim_sometimes(sim, "always-met");
}

static void fails_with(struct weir_sim *sim, enum weir_sim_verdict verdict)
{
    if (weir_sim_draw(sim, "number", 0, 9) == 7) {
        weir_sim_fail(sim, verdict, "seven", "drew 7,\nof course \\ \"quoted\"");
    }
}

static void fails_safety(struct weir_sim *sim)
{
    fails_with(sim, WEIR_SIM_SAFETY);
}
static void fails_liveness(struct weir_sim *sim)
{
    fails_with(sim, WEIR_SIM_LIVENESS);
}
static void fails_leak(struct weir_sim *sim)
{
    fails_with(sim, WEIR_SIM_LEAK);
}
static void fails_race(struct weir_sim *sim)
{
    fails_with(sim, WEIR_SIM_RACE);
}
static void fails_internal(struct weir_sim *sim)
{
    fails_with(sim, WEIR_SIM_INTERNAL);
}

static void fails_two_ways(struct weir_sim *sim)
{
    uint32_t number = weir_sim_draw(sim, "number", 0, 3);
    if (number > 1) {
        weir_sim_fail(sim, number == 2 ? WEIR_SIM_LEAK : WEIR_SIM_SAFETY,
                      number == 2 ? "two" : "three", "drew it");
    }
}

// Of every ten seeds one ends badly, so that others have to be run before and after it.
static bool bad(struct weir_sim *sim)
{
    return weir_sim_draw(sim, "number", 0, 9) == 7;
}

static void crash_null(struct weir_sim *sim)
{
    volatile int *volatile nowhere = NULL;
    if (bad(sim)) {
        *nowhere = 1;
    }
}

static void crash_abort(struct weir_sim *sim)
{
    if (bad(sim)) {
        abort();
    }
}

static void crash_exit(struct weir_sim *sim)
{
    if (bad(sim)) {
        _exit(3);
    }
}

static void crash_exit_zero(struct weir_sim *sim)
{
    if (bad(sim)) {
        _exit(0);
    }
}

static void crash_kill(struct weir_sim *sim)
{
    if (bad(sim)) {
        (void)kill(getpid(), SIGKILL);
    }
}

static void crash_assertion(struct weir_sim *sim)
{
    weir_assert(!bad(sim));
}

static volatile uint32_t depth_max = UINT32_MAX;
static uint32_t descend(uint32_t depth)
{
    volatile char room[512];
    room[depth % sizeof room] = 1;
    return depth == depth_max ? 0 : descend(depth + 1) + (unsigned char)room[depth % sizeof room];
}

static void crash_stack(struct weir_sim *sim)
{
    if (bad(sim)) {
        (void)descend(0);
    }
}

static void endless(struct weir_sim *sim)
{
    static volatile bool never;
    while (bad(sim) && !never) {
        while (!never) {
        }
    }
}

// What it does depends on how often it was run: the fault that `run` must not take for a finding.
static void forgetful(struct weir_sim *sim)
{
    static uint32_t runs;
    weir_sim_check(sim, ++runs != 5, "fifth-time");
}

// Fails in exactly one way of two switches: thread 1 has to be in between.
struct between {
    _Atomic uint32_t value;
    const struct weir_os *os;
};
static void between_main(void *argument)
{
    struct between *it = argument;
    atomic_store_explicit(&it->value, 1, memory_order_relaxed);
    (void)it->os->now_ns(it->os->self);
    atomic_store_explicit(&it->value, 2, memory_order_relaxed);
}
static void interleaves(struct weir_sim *sim)
{
    struct between it = {.value = 0, .os = weir_sim_os(sim)};
    uint32_t actor = weir_sim_start(sim, between_main, &it);
    (void)it.os->now_ns(it.os->self);
    uint32_t seen = atomic_load_explicit(&it.value, memory_order_relaxed);
    weir_sim_note(sim, "saw %u", seen);
    weir_sim_join(sim, actor);
    weir_sim_check(sim, seen != 1, "in-between");
}

#define WORKLOAD (1u << WEIR_SIM_WORK)
static const char *const probes_met[] = {"always-met", NULL};
static const char *const probes_missed[] = {"always-met", "never-met", NULL};
static const struct weir_sim_scenario scenarios[] = {
    {.name = "passes",
     .about = "nothing happens",
     .run = passes,
     .probes = probes_met,
     .probe_seeds = 5,
     .weight = 3},
    {.name = "misses",
     .run = passes,
     .probes = probes_missed,
     .probe_seeds = 5,
     .expects = WEIR_SIM_SAFETY},
    {.name = "fine-only", .run = passes, .fine_only = true},
    {.name = "fails-safety", .run = fails_safety, .kinds = WORKLOAD, .expects = WEIR_SIM_SAFETY},
    {.name = "fails-liveness", .run = fails_liveness, .expects = WEIR_SIM_LIVENESS},
    {.name = "fails-leak", .run = fails_leak, .expects = WEIR_SIM_LEAK},
    {.name = "fails-race", .run = fails_race, .expects = WEIR_SIM_RACE},
    {.name = "fails-internal", .run = fails_internal, .expects = WEIR_SIM_INTERNAL},
    {.name = "fails-two-ways", .run = fails_two_ways, .expects = WEIR_SIM_SAFETY},
    {.name = "crash-null", .run = crash_null, .expects = WEIR_SIM_SAFETY},
    {.name = "crash-abort", .run = crash_abort, .expects = WEIR_SIM_SAFETY},
    {.name = "crash-exit", .run = crash_exit, .expects = WEIR_SIM_SAFETY},
    {.name = "crash-exit-zero", .run = crash_exit_zero, .expects = WEIR_SIM_SAFETY},
    {.name = "crash-kill", .run = crash_kill, .expects = WEIR_SIM_SAFETY},
    {.name = "crash-assertion", .run = crash_assertion, .expects = WEIR_SIM_SAFETY},
    {.name = "crash-stack", .run = crash_stack, .expects = WEIR_SIM_SAFETY},
    {.name = "endless", .run = endless, .expects = WEIR_SIM_LIVENESS},
    {.name = "forgetful", .run = forgetful, .expects = WEIR_SIM_SAFETY},
    {.name = "interleaves", .run = interleaves, .expects = WEIR_SIM_SAFETY},
};
#define SCENARIOS_COUNT (sizeof scenarios / sizeof scenarios[0])

static int fd_redirect(int fd, const char *path)
{
    (void)fflush(NULL);
    int saved = dup(fd);
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(saved >= 0 && file >= 0);
    assert_int_equal(dup2(file, fd), fd);
    (void)close(file);
    return saved;
}

static void fd_restore(int fd, int saved)
{
    (void)fflush(NULL);
    assert_int_equal(dup2(saved, fd), fd);
    (void)close(saved);
}

// CMocka's own handlers would go on with the tests in a worker that crashes. Where the command has
// none of its own, under ASan, the default shall kill it.
static const int crash_signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
#define CRASH_SIGNALS_COUNT (sizeof crash_signals / sizeof crash_signals[0])

static int command_call(int count, char **words)
{
    struct sigaction saved[CRASH_SIGNALS_COUNT];
    const struct sigaction ordinary = {.sa_handler = SIG_DFL};
    for (size_t i = 0; i < CRASH_SIGNALS_COUNT; i++) {
        assert_int_equal(sigaction(crash_signals[i], &ordinary, &saved[i]), 0);
    }
    int status = weir_sim_main(count, words, scenarios, SCENARIOS_COUNT);
    for (size_t i = 0; i < CRASH_SIGNALS_COUNT; i++) {
        assert_int_equal(sigaction(crash_signals[i], &saved[i], NULL), 0);
    }
    return status;
}

// The words, separated by blanks, as the command line; what it prints is in output and messages.
static inline int command(const char *line)
{
    char text[1024];
    char program[] = "weir-sim";
    char *words[WORDS_MAX] = {program};
    int count = 1;
    char *rest = NULL;
    snprintf(text, sizeof text, "%s", line);
    for (char *word = strtok_r(text, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        words[count++] = word;
        assert_true(count < WORDS_MAX);
    }
    int saved_output = fd_redirect(STDOUT_FILENO, "output");
    int saved_messages = fd_redirect(STDERR_FILENO, "messages");
    int status = command_call(count, words);
    fd_restore(STDOUT_FILENO, saved_output);
    fd_restore(STDERR_FILENO, saved_messages);
    file_slurp("output", output, sizeof output);
    file_slurp("messages", messages, sizeof messages);
    return status;
}

// What stands in the output's line that holds `part`, from `skip` bytes into it to the line's end.
static inline void output_copy(const char *part, size_t skip, char *to, size_t to_bytes)
{
    assert_says(output, part);
    const char *from = strstr(output, part) + skip;
    snprintf(to, to_bytes, "%.*s", (int)strcspn(from, "\n"), from);
}
#define AGAIN "again:      weir-sim "

static inline void assert_silent(const char *text, const char *part)
{
    if (strstr(text, part) != NULL) {
        print_error("did not expect \"%s\" in:\n%s\n", part, text);
    }
    assert_null(strstr(text, part));
}

#endif
