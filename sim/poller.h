// The inside of the descriptor table, shared by file.c and poller.c.
#ifndef WEIR_SIM_POLLER_H
#define WEIR_SIM_POLLER_H

#include "sim/file.h"

// Descriptors 0 to 2 are taken, as in every process.
#define SIM_FILE_FIRST 3
#define SIM_FILE_END (SIM_FILE_FIRST + SIM_FILES_MAX)
// Each has at least two descriptors.
#define SIM_POLLERS_MAX (SIM_FILES_MAX / 2)

// What the poller knows of a file it watches. All but QUIET and LATE are in its ready list.
enum sim_watch_state {
    SIM_WATCH_QUIET,
    SIM_WATCH_MARKED, // something changed
    SIM_WATCH_LATE,   // something changed and a deviation keeps it back for a while
    SIM_WATCH_OVERDUE // marked, and not to be kept back again
};

struct sim_watch {
    struct sim_poller *poller; // NULL: nobody watches
    enum sim_watch_state state;
    uint32_t interest; // a set of enum weir_readiness
    uint64_t token;
    int previous, next; // descriptors in the ready list, -1: none
};

struct sim_file {
    const struct sim_file_ops *ops; // NULL: free
    void *object;
    int fd;
    uint32_t process;
    uint32_t number;
    uint32_t waiters_count; // threads in sim_file_wait
    struct sim_watch watch;
    struct sim_clock clock;
};

// Wake-ups and the timer are files of their own that the poller watches, as in os_linux_poller.c.
struct sim_poller {
    int fd, wake_fd, timer_fd; // -1: not open
    int first, last;           // the ready list, oldest mark first
    uint32_t watched_count;    // without its own two
    uint32_t waiter;           // actor + 1 that is in poller_wait, 0: nobody
    uint64_t waits_count;      // in this run, also of pollers that were in this place before
    uint64_t settings_count;   // of the timer, likewise
    uint64_t wakes_count;
    uint64_t expired_count;
    struct sim_clock clock;
};

struct sim_files {
    struct sim_file files[SIM_FILE_END]; // by descriptor
    int top;                             // above the highest descriptor opened in this run
    uint32_t numbers_count;
    uint32_t waits[SIM_THREADS_MAX]; // the number of the file that each actor waits for; 0: none
    struct sim_poller pollers[SIM_POLLERS_MAX];
    uint32_t pollers_count; // places used in this run
};

// NULL: not open.
struct sim_file *sim_file_at(struct weir_sim *sim, int fd);
// Threads in sim_file_wait look again.
void sim_file_notify(struct weir_sim *sim, const struct sim_file *file);

// ---- Watches ----

// One of the poller's own two.
static inline bool sim_watch_internal(const struct sim_watch *watch)
{
    return watch->token == WEIR_TOKEN_INTERNAL;
}

// In the ready list.
static inline bool sim_watch_listed(const struct sim_watch *watch)
{
    return watch->state == SIM_WATCH_MARKED || watch->state == SIM_WATCH_OVERDUE;
}

// What is ready right now and asked for.
static inline uint32_t sim_watch_ready(struct weir_sim *sim, const struct sim_file *file)
{
    return file->ops->ready(sim, file->object) & file->watch.interest;
}

void sim_watch_begin(struct weir_sim *sim, struct sim_poller *poller, struct sim_file *file,
                     uint32_t interest, uint64_t token);
// The file is not watched any more, if it was.
void sim_watch_end(struct weir_sim *sim, struct sim_file *file);
// The file's part of an edge: a mark, and the poller's waiter wakes up.
void sim_watch_mark(struct weir_sim *sim, struct sim_file *file, uint32_t ready);
// Takes the file out of the ready list, which it is in.
void sim_watch_take(struct weir_sim *sim, struct sim_file *file);
// Keeps back an event that was taken; then it is marked again.
void sim_watch_delay(struct weir_sim *sim, struct sim_file *file);

// ---- Pollers ----

// Of the descriptor; whatever has it by now, if it was closed, is no place to go on.
struct sim_poller *sim_poller_of(struct weir_sim *sim, const struct weir_poller *handle);

#endif
