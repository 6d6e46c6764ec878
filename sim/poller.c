// Pollers: edge-triggered watches, a sticky wake-up and a timer, as os_linux_poller.c makes them.
//
// The wake-up and the timer are files that the poller watches like all others, up to the room they
// take among the events of one wait: never read, each new count is an edge of its own.
#include "sim/poller.h"

#include <errno.h>

#include "runtime/assert.h"
#include "sim/sim.h"

enum poller_event_kind {
    POLLER_OPEN,
    POLLER_CLOSE,
    POLLER_ADD,
    POLLER_REMOVE,
    POLLER_WAKE,
    POLLER_ARM
};

static void poller_event(struct weir_sim *sim, uint32_t number, enum poller_event_kind kind,
                         int result)
{
    sim_event(sim, SIM_EVENT_POLLER, number, kind, (uint64_t)(int64_t)result, NULL);
}

// ---- Its three files ----

static uint32_t poller_ready(struct weir_sim *sim, void *object)
{
    const struct sim_poller *poller = object;
    for (int fd = poller->first; fd >= 0; fd = sim->files->files[fd].watch.next) {
        if (sim_watch_ready(sim, &sim->files->files[fd]) != 0) {
            return WEIR_READABLE;
        }
    }
    return 0;
}

static uint32_t wake_ready(struct weir_sim *sim, void *object)
{
    (void)sim;
    const struct sim_poller *poller = object;
    return poller->wakes_count > 0 ? WEIR_READABLE | WEIR_WRITABLE : WEIR_WRITABLE;
}

static uint32_t timer_ready(struct weir_sim *sim, void *object)
{
    (void)sim;
    const struct sim_poller *poller = object;
    return poller->expired_count > 0 ? WEIR_READABLE : 0;
}

static void poller_end(struct weir_sim *sim, void *object, int fd)
{
    struct sim_poller *poller = object;
    for (int watched = SIM_FILE_FIRST; watched < sim->files->top; watched++) {
        struct sim_file *file = sim_file_at(sim, watched);
        if (file != NULL && file->watch.poller == poller) {
            sim_watch_end(sim, file);
        }
    }
    weir_assert(poller->fd == fd);
    poller->fd = -1;
}

static void wake_end(struct weir_sim *sim, void *object, int fd)
{
    (void)sim;
    struct sim_poller *poller = object;
    weir_assert(poller->wake_fd == fd);
    poller->wake_fd = -1;
}

static void timer_end(struct weir_sim *sim, void *object, int fd)
{
    (void)sim;
    struct sim_poller *poller = object;
    weir_assert(poller->timer_fd == fd);
    poller->timer_fd = -1;
}

static const struct sim_file_ops poller_ops = {"poller", poller_ready, poller_end};
static const struct sim_file_ops wake_ops = {"wake-up", wake_ready, wake_end};
static const struct sim_file_ops timer_ops = {"timer", timer_ready, timer_end};

// ---- Open and close ----

static struct sim_poller *place_take(struct sim_files *files)
{
    for (uint32_t index = 0; index < files->pollers_count; index++) {
        struct sim_poller *poller = &files->pollers[index];
        if (poller->fd < 0 && poller->wake_fd < 0 && poller->timer_fd < 0) {
            *poller = (struct sim_poller){.waits_count = poller->waits_count,
                                          .settings_count = poller->settings_count};
            return poller;
        }
    }
    weir_assert(files->pollers_count < SIM_POLLERS_MAX);
    struct sim_poller *poller = &files->pollers[files->pollers_count++];
    *poller = (struct sim_poller){.waits_count = 0};
    return poller;
}

int sim_poller_open(struct weir_sim *sim, struct weir_poller *handle)
{
    uint32_t process = sim_thread_process(sim->threads, sim_actor(sim));
    *handle = (struct weir_poller){.fd = -1, .wake_fd = -1, .timer_fd = -1};
    struct sim_poller *poller = place_take(sim->files);
    poller->first = poller->last = poller->wake_fd = poller->timer_fd = -1;
    poller->fd = sim_file_open(sim, &poller_ops, poller, process);
    int result = poller->fd;
    if (result >= 0) {
        poller->wake_fd = sim_file_open(sim, &wake_ops, poller, process);
        result = poller->wake_fd;
    }
    uint32_t number = sim_file_number(sim, poller->fd);
    if (result < 0) {
        poller->wake_fd = -1;
        (void)sim_file_close(sim, poller->fd);
        poller->fd = -1;
        poller_event(sim, number, POLLER_OPEN, result);
        return result;
    }
    sim_watch_begin(sim, poller, sim_file_at(sim, poller->wake_fd), WEIR_READABLE,
                    WEIR_TOKEN_INTERNAL);
    handle->fd = poller->fd;
    handle->wake_fd = poller->wake_fd;
    poller_event(sim, number, POLLER_OPEN, 0);
    return 0;
}

struct sim_poller *sim_poller_of(struct weir_sim *sim, const struct weir_poller *handle)
{
    struct sim_poller *poller = sim_file_object(sim, handle->fd, &poller_ops);
    if (poller == NULL) {
        weir_sim_fail(sim, WEIR_SIM_SAFETY, "closed-poller", "descriptor %d is not a poller",
                      handle->fd);
    }
    return poller;
}

void sim_poller_close(struct weir_sim *sim, struct weir_poller *handle)
{
    struct sim_poller *poller = sim_poller_of(sim, handle);
    if (poller->waiter != 0) {
        weir_sim_fail(sim, WEIR_SIM_SAFETY, "poller-closed-in-use", "actor %u is waiting in it",
                      poller->waiter - 1);
    }
    poller_event(sim, sim_file_number(sim, poller->fd), POLLER_CLOSE, 0);
    if (poller->timer_fd >= 0) {
        (void)sim_file_close(sim, poller->timer_fd);
    }
    (void)sim_file_close(sim, poller->wake_fd);
    (void)sim_file_close(sim, poller->fd);
    *handle = (struct weir_poller){.fd = -1, .wake_fd = -1, .timer_fd = -1};
}

// ---- Watching ----

// A file is in one poller at most, and a poller in none: weir needs no more.
static int poller_add(struct weir_sim *sim, struct sim_poller *poller, int fd, uint64_t token)
{
    struct sim_file *file = sim_file_at(sim, fd);
    if (file == NULL) {
        return -EBADF;
    }
    if (file->watch.poller == poller) {
        return -EEXIST;
    }
    if (file->watch.poller != NULL || file->ops == &poller_ops) {
        weir_sim_fail(sim, WEIR_SIM_INTERNAL, "poller-not-modelled",
                      "descriptor %d is in a poller already, or one itself", fd);
    }
    uint32_t fault = sim_fault(sim, WEIR_SIM_RESOURCE, 2);
    if (fault != 0) {
        return fault == 1 ? -ENOMEM : -ENOSPC;
    }
    sim_watch_begin(sim, poller, file, WEIR_READABLE | WEIR_WRITABLE | WEIR_PEER_CLOSED, token);
    return 0;
}

int sim_poller_add(struct weir_sim *sim, const struct weir_poller *handle, int fd, uint64_t token)
{
    struct sim_poller *poller = sim_poller_of(sim, handle);
    weir_assert(token != WEIR_TOKEN_INTERNAL);
    sim_file_order(sim, fd);
    sim_memory_release(sim->memory, sim_actor(sim), &poller->clock);
    int result = poller_add(sim, poller, fd, token);
    poller_event(sim, sim_file_number(sim, fd), POLLER_ADD, result);
    return result;
}

int sim_poller_remove(struct weir_sim *sim, const struct weir_poller *handle, int fd)
{
    struct sim_poller *poller = sim_poller_of(sim, handle);
    struct sim_file *file = sim_file_at(sim, fd);
    int result = file == NULL ? -EBADF : file->watch.poller != poller ? -ENOENT : 0;
    sim_file_order(sim, fd);
    sim_memory_release(sim->memory, sim_actor(sim), &poller->clock);
    if (result == 0) {
        sim_watch_end(sim, file);
    }
    poller_event(sim, sim_file_number(sim, fd), POLLER_REMOVE, result);
    return result;
}

// ---- Wake-up and timer ----

void sim_poller_wake(struct weir_sim *sim, const struct weir_poller *handle)
{
    struct sim_poller *poller = sim_file_object(sim, handle->wake_fd, &wake_ops);
    if (poller == NULL) {
        weir_sim_fail(sim, WEIR_SIM_SAFETY, "closed-poller", "descriptor %d is no wake-up",
                      handle->wake_fd);
    }
    poller_event(sim, sim_file_number(sim, poller->fd), POLLER_WAKE, 0);
    sim_memory_release(sim->memory, sim_actor(sim), &poller->clock);
    poller->wakes_count++;
    sim_file_edge(sim, poller->wake_fd, WEIR_READABLE);
}

static void timer_expire(struct weir_sim *sim, void *target, uint64_t setting)
{
    struct sim_poller *poller = target;
    if (poller->timer_fd >= 0 && poller->settings_count == setting) {
        poller->expired_count++;
        sim_file_edge(sim, poller->timer_fd, WEIR_READABLE);
    }
}

static int timer_open(struct weir_sim *sim, struct sim_poller *poller)
{
    uint32_t process = sim_thread_process(sim->threads, sim_actor(sim));
    int fd = sim_file_open(sim, &timer_ops, poller, process);
    if (fd < 0) {
        return fd;
    }
    poller->timer_fd = fd;
    sim_watch_begin(sim, poller, sim_file_at(sim, fd), WEIR_READABLE, WEIR_TOKEN_INTERNAL);
    return 0;
}

// A new setting forgets an expiry that was not taken yet; its mark stays and says nothing.
int sim_poller_arm(struct weir_sim *sim, struct weir_poller *handle, uint64_t deadline_ns)
{
    struct sim_poller *poller = sim_poller_of(sim, handle);
    int result = 0;
    if (poller->timer_fd < 0 && deadline_ns != WEIR_NEVER) {
        result = timer_open(sim, poller);
        handle->timer_fd = poller->timer_fd;
    }
    if (poller->timer_fd >= 0) {
        sim_memory_release(sim->memory, sim_actor(sim), &poller->clock);
        poller->expired_count = 0;
        poller->settings_count++;
        if (deadline_ns != WEIR_NEVER) { // the past comes with the next call
            sim_at(sim, deadline_ns, timer_expire, poller, poller->settings_count);
        }
    }
    poller_event(sim, sim_file_number(sim, poller->fd), POLLER_ARM, result);
    return result;
}
