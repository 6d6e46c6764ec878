// Watches: what a poller knows of its files, and the list of those that changed.
//
// What Linux does (fs/eventpoll.c, described by epoll(7)): a change puts the file at the end of the
// poller's ready list, unless it is in it, and wakes the waiter; a file that is ready when it is
// added is put into the list at once.
#include "sim/poller.h"

#include "runtime/assert.h"
#include "sim/sim.h"

// How long a deviation keeps an event back: longer than all that a worker does between two looks.
#define LATE_NS 1000000u

// ---- The ready list ----

static struct sim_watch *watch_at(struct weir_sim *sim, int fd)
{
    return &sim->files->files[fd].watch;
}

static void list_append(struct weir_sim *sim, struct sim_file *file, enum sim_watch_state state)
{
    struct sim_poller *poller = file->watch.poller;
    file->watch.state = state;
    file->watch.previous = poller->last;
    file->watch.next = -1;
    if (poller->last >= 0) {
        watch_at(sim, poller->last)->next = file->fd;
    } else {
        poller->first = file->fd;
    }
    poller->last = file->fd;
}

void sim_watch_take(struct weir_sim *sim, struct sim_file *file)
{
    struct sim_poller *poller = file->watch.poller;
    if (file->watch.previous >= 0) {
        watch_at(sim, file->watch.previous)->next = file->watch.next;
    } else {
        poller->first = file->watch.next;
    }
    if (file->watch.next >= 0) {
        watch_at(sim, file->watch.next)->previous = file->watch.previous;
    } else {
        poller->last = file->watch.previous;
    }
    file->watch.state = SIM_WATCH_QUIET;
}

// ---- Marks ----

void sim_watch_mark(struct weir_sim *sim, struct sim_file *file, uint32_t ready)
{
    struct sim_poller *poller = file->watch.poller;
    if (poller == NULL || (ready & file->watch.interest) == 0) {
        return;
    }
    if (file->watch.state == SIM_WATCH_QUIET) {
        list_append(sim, file, SIM_WATCH_MARKED);
    } else if (file->watch.state == SIM_WATCH_LATE) {
        list_append(sim, file, SIM_WATCH_OVERDUE);
    }
    if (poller->waiter != 0) {
        sim_ready(sim, poller->waiter - 1, SIM_WOKEN);
    }
    sim_file_notify(sim, sim_file_at(sim, poller->fd));
}

// The number may have been given to another file, whose own late event then comes sooner: no harm.
static void late_end(struct weir_sim *sim, void *target, uint64_t number)
{
    (void)number;
    struct sim_file *file = target;
    if (file->ops != NULL && file->watch.poller != NULL && file->watch.state == SIM_WATCH_LATE) {
        sim_watch_mark(sim, file, file->watch.interest);
    }
}

void sim_watch_delay(struct weir_sim *sim, struct sim_file *file)
{
    file->watch.state = SIM_WATCH_LATE;
    sim_at(sim, sim_threads_now(sim->threads) + LATE_NS, late_end, file, 0);
}

void sim_watch_begin(struct weir_sim *sim, struct sim_poller *poller, struct sim_file *file,
                     uint32_t interest, uint64_t token)
{
    file->watch = (struct sim_watch){
        .poller = poller, .interest = interest | WEIR_HANGUP | WEIR_FAULT, .token = token};
    poller->watched_count += sim_watch_internal(&file->watch) ? 0 : 1;
    sim_watch_mark(sim, file, sim_watch_ready(sim, file));
}

void sim_watch_end(struct weir_sim *sim, struct sim_file *file)
{
    struct sim_poller *poller = file->watch.poller;
    if (poller == NULL) {
        return;
    }
    if (sim_watch_listed(&file->watch)) {
        sim_watch_take(sim, file);
    }
    poller->watched_count -= sim_watch_internal(&file->watch) ? 0 : 1;
    file->watch.poller = NULL;
}
