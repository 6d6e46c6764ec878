// The descriptor table: lowest free numbers, edges, waiting as in poll(), the end of a process.
#include "sim/poller.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/assert.h"
#include "sim/sim.h"

// ---- Life ----

struct sim_files *sim_files_create(void)
{
    return calloc(1, sizeof(struct sim_files));
}

void sim_files_destroy(struct sim_files *files)
{
    free(files);
}

void sim_files_begin(struct sim_files *files)
{
    for (int fd = SIM_FILE_FIRST; fd < files->top; fd++) {
        files->files[fd].ops = NULL;
    }
    files->top = SIM_FILE_FIRST;
    files->numbers_count = 0;
    files->pollers_count = 0;
    memset(files->waits, 0, sizeof files->waits);
}

// ---- Descriptors ----

struct sim_file *sim_file_at(struct weir_sim *sim, int fd)
{
    if (fd < SIM_FILE_FIRST || fd >= sim->files->top || sim->files->files[fd].ops == NULL) {
        return NULL;
    }
    return &sim->files->files[fd];
}

int sim_file_open(struct weir_sim *sim, const struct sim_file_ops *ops, void *object,
                  uint32_t process)
{
    struct sim_files *files = sim->files;
    weir_assert(ops != NULL && ops->ready != NULL && ops->close != NULL);
    if (sim_fault(sim, WEIR_SIM_RESOURCE, 1) != 0) {
        return -EMFILE;
    }
    int fd = SIM_FILE_FIRST;
    while (fd < files->top && files->files[fd].ops != NULL) {
        fd++;
    }
    if (fd == SIM_FILE_END) {
        return -EMFILE;
    }
    files->top = fd < files->top ? files->top : fd + 1;
    files->files[fd] = (struct sim_file){.ops = ops,
                                         .object = object,
                                         .fd = fd,
                                         .process = process,
                                         .number = ++files->numbers_count};
    return fd;
}

void *sim_file_object(struct weir_sim *sim, int fd, const struct sim_file_ops *ops)
{
    struct sim_file *file = sim_file_at(sim, fd);
    return file == NULL || (ops != NULL && file->ops != ops) ? NULL : file->object;
}

uint32_t sim_file_number(struct weir_sim *sim, int fd)
{
    struct sim_file *file = sim_file_at(sim, fd);
    return file == NULL ? 0 : file->number;
}

void sim_file_order(struct weir_sim *sim, int fd)
{
    struct sim_file *file = sim_file_at(sim, fd);
    if (file != NULL) {
        sim_memory_acquire(sim->memory, sim_actor(sim), &file->clock);
        sim_memory_release(sim->memory, sim_actor(sim), &file->clock);
    }
}

// As the kernel does: first it leaves its poller, so that its own end is no event there.
static void file_end(struct weir_sim *sim, struct sim_file *file)
{
    sim_watch_end(sim, file);
    sim_file_notify(sim, file);
    file->ops->close(sim, file->object, file->fd);
    file->ops = NULL;
}

int sim_file_close(struct weir_sim *sim, int fd)
{
    struct sim_file *file = sim_file_at(sim, fd);
    if (file == NULL) {
        return -EBADF;
    }
    file_end(sim, file);
    return 0;
}

void sim_files_kill(struct weir_sim *sim, uint32_t process)
{
    for (int fd = SIM_FILE_FIRST; fd < sim->files->top; fd++) {
        struct sim_file *file = sim_file_at(sim, fd);
        if (file != NULL && file->process == process) {
            file_end(sim, file);
        }
    }
}

uint32_t sim_files_live(struct weir_sim *sim, uint32_t process, int *first)
{
    uint32_t count = 0;
    for (int fd = SIM_FILE_FIRST; fd < sim->files->top; fd++) {
        const struct sim_file *file = sim_file_at(sim, fd);
        if (file != NULL && file->process == process) {
            if (count == 0) {
                *first = fd;
            }
            count++;
        }
    }
    return count;
}

// ---- Readiness ----

void sim_file_notify(struct weir_sim *sim, const struct sim_file *file)
{
    uint32_t left = file->waiters_count;
    for (uint32_t actor = 0; actor < SIM_THREADS_MAX && left > 0; actor++) {
        if (sim->files->waits[actor] == file->number) {
            sim_ready(sim, actor, SIM_WOKEN);
            left--;
        }
    }
}

void sim_file_edge(struct weir_sim *sim, int fd, uint32_t ready)
{
    struct sim_file *file = sim_file_at(sim, fd);
    weir_assert(file != NULL);
    sim_file_notify(sim, file);
    sim_watch_mark(sim, file, ready);
}

// Blocks until an edge, the file's end or the deadline. A thread that is killed here leaves its
// number behind, which does no harm: it is never ready again and numbers are not used again.
static void file_block(struct weir_sim *sim, struct sim_file *file, uint64_t deadline_ns)
{
    uint32_t number = file->number;
    int fd = file->fd;
    file->waiters_count++;
    sim->files->waits[sim_actor(sim)] = number;
    (void)sim_block(sim, SIM_BLOCKED_FILE, number, deadline_ns);
    sim->files->waits[sim_actor(sim)] = 0;
    if (sim_file_number(sim, fd) == number) {
        file->waiters_count--;
    }
}

int sim_file_wait(struct weir_sim *sim, int fd, uint32_t ready, uint64_t deadline_ns)
{
    const uint32_t always = WEIR_HANGUP | WEIR_FAULT;
    uint32_t number = sim_file_number(sim, fd);
    for (;;) {
        struct sim_file *file = sim_file_at(sim, fd);
        if (file == NULL || file->number != number) {
            return -EBADF;
        }
        uint32_t now = file->ops->ready(sim, file->object) & (ready | always);
        if (now != 0 || sim_threads_now(sim->threads) >= deadline_ns) {
            sim_file_order(sim, fd);
            return (int)now;
        }
        file_block(sim, file, deadline_ns);
    }
}
