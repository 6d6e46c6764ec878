// The descriptor table and pollers: what is open, whose it is, what is ready, who is told.
//
// As in Linux, descriptors are the lowest free numbers from 3, so that a number is soon used again.
// Readiness is edge-triggered: sim_file_edge marks a change, and poller_wait reports each watched
// file that has a mark and is ready at that moment, once (epoll's rules).
#ifndef WEIR_SIM_FILE_H
#define WEIR_SIM_FILE_H

#include "runtime/os.h"
#include "sim/memory.h"

struct weir_sim;
struct sim_files;
struct sim_file;

// What a kind of file can do. `object` is the socket, poller, ...
struct sim_file_ops {
    const char *name;
    // What is ready right now: a set of enum weir_readiness.
    uint32_t (*ready)(struct weir_sim *sim, void *object);
    void (*close)(struct weir_sim *sim, void *object, int fd);
};

struct sim_files *sim_files_create(void);
void sim_files_destroy(struct sim_files *files);
void sim_files_begin(struct sim_files *files);

// returns  the descriptor, or -EMFILE. The file belongs to the process.
int sim_file_open(struct weir_sim *sim, const struct sim_file_ops *ops, void *object,
                  uint32_t process);
// NULL: not open, or not of these ops (if given).
void *sim_file_object(struct weir_sim *sim, int fd, const struct sim_file_ops *ops);
// The file's number in this run, for events: descriptors are used again, numbers are not.
uint32_t sim_file_number(struct weir_sim *sim, int fd);
// The clock of a descriptor: system calls on one descriptor are ordered (the kernel's own locks).
// Acquires and releases for the running thread.
void sim_file_order(struct weir_sim *sim, int fd);
int sim_file_close(struct weir_sim *sim, int fd); // 0, -EBADF; leaves its poller
// All that the process has open, in the order of descriptors: what the kernel does at its end.
void sim_files_kill(struct weir_sim *sim, uint32_t process);
// Open files of the process; *first is one.
uint32_t sim_files_live(struct weir_sim *sim, uint32_t process, int *first);

// Something happened to the file that epoll would report: a mark in its poller, threads that wait
// are made ready. Pass the bits that changed.
void sim_file_edge(struct weir_sim *sim, int fd, uint32_t ready);

// As poll() with a deadline, for weir_sim_wait and the collectors of scenarios.
int sim_file_wait(struct weir_sim *sim, int fd, uint32_t ready, uint64_t deadline_ns);

// Pollers, as os.h says.
int sim_poller_open(struct weir_sim *sim, struct weir_poller *poller);
void sim_poller_close(struct weir_sim *sim, struct weir_poller *poller);
int sim_poller_add(struct weir_sim *sim, const struct weir_poller *poller, int fd, uint64_t token);
int sim_poller_remove(struct weir_sim *sim, const struct weir_poller *poller, int fd);
int sim_poller_wait(struct weir_sim *sim, const struct weir_poller *poller,
                    struct weir_os_event *events, uint32_t events_max, uint64_t deadline_ns);
void sim_poller_wake(struct weir_sim *sim, const struct weir_poller *poller);
int sim_poller_arm(struct weir_sim *sim, struct weir_poller *poller, uint64_t deadline_ns);

#endif
