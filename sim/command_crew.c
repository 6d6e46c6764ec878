// The crew's parent side: starts workers, hears of failures and deaths, adds up.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sim/command_crew.h"

// ---- Starting ----

// Of the children that have ended.
static uint64_t children_cpu_ns(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_CHILDREN, &usage);
    uint64_t us = (uint64_t)usage.ru_utime.tv_usec + (uint64_t)usage.ru_stime.tv_usec;
    return ((uint64_t)usage.ru_utime.tv_sec + (uint64_t)usage.ru_stime.tv_sec) * SIM_NS_PER_S +
           us * 1000;
}

static int system_fail(const struct sim_command *command, const char *what)
{
    sim_say(command, "%s: %s", what, strerror(errno));
    return SIM_EXIT_SYSTEM;
}

// Each scenario as often as its weight says, when all are run.
static bool turns_make(struct sim_crew *crew)
{
    const struct sim_command *command = crew->command;
    for (int pass = 0; pass < 2; pass++) { // counts, then fills
        uint32_t count = 0;
        for (uint32_t i = 0; i < command->selected_count; i++) {
            uint32_t scenario = command->selected[i];
            uint32_t weight = command->scenarios[scenario].weight;
            weight = weight == 0 || !sim_options_all(command) ? 1 : weight;
            for (uint32_t number = 0; number < weight; number++, count++) {
                if (crew->turns != NULL) {
                    crew->turns[count] = (struct sim_turn){scenario, number, weight};
                }
            }
        }
        if (crew->turns == NULL) {
            crew->turns = calloc(count, sizeof *crew->turns);
            crew->turns_count = count;
        }
        if (crew->turns == NULL) {
            return false;
        }
    }
    return true;
}

static size_t worker_page_bytes(const struct sim_command *command)
{
    return sizeof(struct sim_worker_page) + command->scenarios_count * sizeof(struct sim_row);
}

static bool memory_make(struct sim_crew *crew)
{
    size_t head = (sizeof *crew->page + 63) / 64 * 64;
    size_t each = (worker_page_bytes(crew->command) + 63) / 64 * 64;
    crew->page_bytes = head + crew->workers_count * each;
    void *page =
        mmap(NULL, crew->page_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    crew->workers = calloc(crew->workers_count, sizeof *crew->workers);
    crew->totals = calloc(crew->command->scenarios_count, sizeof *crew->totals);
    if (page == MAP_FAILED || crew->workers == NULL || crew->totals == NULL) {
        return false;
    }
    crew->page = page;
    atomic_store_explicit(&crew->page->stop_seed, UINT64_MAX, memory_order_relaxed);
    for (uint32_t i = 0; i < crew->workers_count; i++) {
        crew->workers[i].page = (struct sim_worker_page *)((char *)page + head + i * each);
        crew->workers[i].pipe = -1;
    }
    return true;
}

// Ctrl-C reaches the workers too; they leave it to the parent, which lets them finish their runs.
static bool signals_take(struct sim_crew *crew)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &set, &crew->signals_before) != 0) {
        return false;
    }
    crew->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return crew->signal_fd >= 0;
}

static int worker_start(struct sim_crew *crew, uint32_t index, uint64_t seed, uint32_t turn)
{
    struct sim_worker *worker = &crew->workers[index];
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return system_fail(crew->command, "pipe");
    }
    pid_t parent = getpid();
    (void)fflush(NULL);
    memset(worker->page, 0, worker_page_bytes(crew->command));
    pid_t process = fork();
    if (process < 0) {
        (void)close(ends[0]);
        (void)close(ends[1]);
        return system_fail(crew->command, "fork");
    }
    if (process == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) {
            _exit(SIM_EXIT_SYSTEM);
        }
        (void)close(ends[0]);
        sim_worker_main(crew, index, seed, turn, ends[1]);
    }
    (void)close(ends[1]);
    worker->process = process;
    worker->pipe = ends[0];
    worker->failure_bytes = 0;
    crew->live++;
    return 0;
}

int sim_crew_start(struct sim_crew *crew, const struct sim_command *command)
{
    uint64_t more_seeds = command->seed_last - command->seed_first;
    crew->command = command;
    crew->signal_fd = -1;
    crew->children_ns = children_cpu_ns();
    crew->workers_count = more_seeds < command->jobs ? (uint32_t)more_seeds + 1 : command->jobs;
    if (!turns_make(crew) || !memory_make(crew)) {
        return system_fail(command, "memory");
    }
    if (!signals_take(crew)) {
        return system_fail(command, "signalfd");
    }
    for (uint32_t i = 0; i < crew->workers_count; i++) {
        int status = worker_start(crew, i, command->seed_first + i, 0);
        if (status != 0) {
            return status;
        }
    }
    return 0;
}

// ---- A worker's end ----

static void totals_take(struct sim_crew *crew, struct sim_worker *worker)
{
    for (uint32_t i = 0; i < crew->command->scenarios_count; i++) {
        sim_row_add(&crew->totals[i], &worker->page->rows[i]);
    }
    memset(worker->page->rows, 0, crew->command->scenarios_count * sizeof(struct sim_row));
}

// The process ended without having said so.
static void death_count(struct sim_crew *crew, struct sim_worker *worker, int wait_status)
{
    uint64_t seed = atomic_load_explicit(&worker->page->seed, memory_order_relaxed);
    uint32_t index = atomic_load_explicit(&worker->page->turn, memory_order_relaxed);
    const struct sim_turn *turn = &crew->turns[index];
    struct sim_failure failure = {.seed = sim_turn_seed(turn, seed),
                                  .turn_seed = seed,
                                  .scenario = turn->scenario,
                                  .verdict = WEIR_SIM_SAFETY,
                                  .died = 1};
    if (WIFSIGNALED(wait_status)) {
        int number = WTERMSIG(wait_status);
        snprintf(failure.name, sizeof failure.name, "process killed by signal %d", number);
        snprintf(failure.message, sizeof failure.message,
                 "the process that ran it was killed by signal %d (%s)%s", number,
                 strsignal(number),
                 number == SIGKILL ? "; from outside: perhaps memory ran out" : "");
    } else {
        snprintf(failure.name, sizeof failure.name, "process exited with %d",
                 WEXITSTATUS(wait_status));
        snprintf(failure.message, sizeof failure.message,
                 "the process that ran it ended with exit status %d: exit() was called, or a "
                 "sanitizer found something",
                 WEXITSTATUS(wait_status));
    }
    crew->totals[turn->scenario].failures++;
    if (!sim_option_given(crew->command, SIM_OPTION_KEEP_GOING)) {
        sim_crew_lower_stop(crew->page, seed);
    }
    crew->failed(crew->context, &failure);
}

// A new process goes on after the turn that ended the last one.
static void worker_continue(struct sim_crew *crew, uint32_t index)
{
    struct sim_worker *worker = &crew->workers[index];
    uint64_t seed = atomic_load_explicit(&worker->page->seed, memory_order_relaxed);
    uint32_t turn = atomic_load_explicit(&worker->page->turn, memory_order_relaxed) + 1;
    if (turn == crew->turns_count) {
        if (crew->command->seed_last - seed < crew->workers_count) {
            return;
        }
        seed += crew->workers_count;
        turn = 0;
    }
    crew->broken = worker_start(crew, index, seed, turn) != 0 || crew->broken;
}

static void worker_ended(struct sim_crew *crew, uint32_t index)
{
    struct sim_worker *worker = &crew->workers[index];
    int wait_status = 0;
    (void)close(worker->pipe);
    worker->pipe = -1;
    while (waitpid(worker->process, &wait_status, 0) < 0 && errno == EINTR) {
    }
    worker->process = 0;
    crew->live--;
    totals_take(crew, worker);
    uint32_t state = atomic_load_explicit(&worker->page->state, memory_order_relaxed);
    switch ((enum sim_worker_state)state) {
    case SIM_WORKER_DONE: return;
    case SIM_WORKER_STARTING:
        sim_say(crew->command, "a worker could not start");
        crew->broken = true;
        return;
    case SIM_WORKER_RUNNING: death_count(crew, worker, wait_status); break;
    case SIM_WORKER_RESTART: break;
    }
    if (sim_option_given(crew->command, SIM_OPTION_KEEP_GOING) &&
        atomic_load_explicit(&crew->page->stop, memory_order_relaxed) == 0) {
        worker_continue(crew, index);
    }
}

// ---- Listening ----

static void worker_read(struct sim_crew *crew, uint32_t index)
{
    struct sim_worker *worker = &crew->workers[index];
    ssize_t count = read(worker->pipe, (char *)&worker->failure + worker->failure_bytes,
                         sizeof worker->failure - worker->failure_bytes);
    if (count <= 0) {
        if (count == 0 || errno != EINTR) {
            worker_ended(crew, index);
        }
        return;
    }
    worker->failure_bytes += (size_t)count;
    if (worker->failure_bytes == sizeof worker->failure) {
        worker->failure_bytes = 0;
        crew->failed(crew->context, &worker->failure);
    }
}

// The first signal ends the run in good order, a second one at once.
static void signal_read(struct sim_crew *crew)
{
    struct signalfd_siginfo info;
    if (read(crew->signal_fd, &info, sizeof info) != (ssize_t)sizeof info) {
        return;
    }
    if (crew->signal != 0) {
        for (uint32_t i = 0; i < crew->workers_count; i++) {
            if (crew->workers[i].process != 0) {
                atomic_store_explicit(&crew->workers[i].page->state, SIM_WORKER_DONE,
                                      memory_order_relaxed);
                (void)kill(crew->workers[i].process, SIGKILL);
            }
        }
        return;
    }
    crew->signal = (int)info.ssi_signo;
    sim_crew_stop(crew);
}

void sim_crew_wait(struct sim_crew *crew, int timeout_ms)
{
    struct pollfd polled[SIM_JOBS_MAX + 1];
    for (uint32_t i = 0; i < crew->workers_count; i++) { // poll(2) leaves out negative descriptors
        polled[i] = (struct pollfd){.fd = crew->workers[i].pipe, .events = POLLIN};
    }
    polled[crew->workers_count] = (struct pollfd){.fd = crew->signal_fd, .events = POLLIN};
    if (poll(polled, crew->workers_count + 1, timeout_ms) <= 0) {
        return;
    }
    if (polled[crew->workers_count].revents != 0) {
        signal_read(crew);
    }
    for (uint32_t i = 0; i < crew->workers_count; i++) {
        if (polled[i].revents != 0) {
            worker_read(crew, i);
        }
    }
}

void sim_crew_stop(struct sim_crew *crew)
{
    atomic_store_explicit(&crew->page->stop, 1, memory_order_relaxed);
}

// ---- Figures ----

uint64_t sim_crew_runs(const struct sim_crew *crew)
{
    uint64_t runs = 0;
    for (uint32_t i = 0; i < crew->command->scenarios_count; i++) {
        runs += atomic_load_explicit(&crew->totals[i].runs, memory_order_relaxed);
        for (uint32_t w = 0; w < crew->workers_count; w++) {
            runs +=
                atomic_load_explicit(&crew->workers[w].page->rows[i].runs, memory_order_relaxed);
        }
    }
    return runs;
}

uint64_t sim_crew_virtual_ns(const struct sim_crew *crew)
{
    uint64_t ns = 0;
    for (uint32_t i = 0; i < crew->command->scenarios_count; i++) {
        ns += atomic_load_explicit(&crew->totals[i].virtual_ns, memory_order_relaxed);
        for (uint32_t w = 0; w < crew->workers_count; w++) {
            ns += atomic_load_explicit(&crew->workers[w].page->rows[i].virtual_ns,
                                       memory_order_relaxed);
        }
    }
    return ns;
}

uint64_t sim_crew_cpu_ns(const struct sim_crew *crew)
{
    uint64_t ns = children_cpu_ns() - crew->children_ns;
    for (uint32_t i = 0; i < crew->workers_count; i++) {
        clockid_t clock;
        struct timespec used;
        if (crew->workers[i].process != 0 &&
            clock_getcpuclockid(crew->workers[i].process, &clock) == 0 &&
            clock_gettime(clock, &used) == 0) {
            ns += (uint64_t)used.tv_sec * SIM_NS_PER_S + (uint64_t)used.tv_nsec;
        }
    }
    return ns;
}

void sim_crew_deinit(struct sim_crew *crew)
{
    for (uint32_t i = 0; crew->workers != NULL && i < crew->workers_count; i++) {
        if (crew->workers[i].process != 0) {
            (void)kill(crew->workers[i].process, SIGKILL);
            (void)waitpid(crew->workers[i].process, NULL, 0);
            (void)close(crew->workers[i].pipe);
        }
    }
    if (crew->signal_fd >= 0) {
        (void)close(crew->signal_fd);
        (void)sigprocmask(SIG_SETMASK, &crew->signals_before, NULL);
    }
    if (crew->page != NULL) {
        (void)munmap(crew->page, crew->page_bytes);
    }
    free(crew->workers);
    free(crew->totals);
    free(crew->turns);
}
