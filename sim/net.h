// The network: a model of Linux's sockets, as a program can observe them.
//
// Unix streams (truesize accounting of what the peer has not read; at a close the order dead,
// hang-up with reset, purge), datagrams, TCP (acknowledged is not read; a window that closes; the
// first write after the peer's close succeeds and is lost; resets that come late). Each function is
// an os.h call without its preemption point, which world.c makes; faults are injected for process 0
// only. The facts are from measurements on Linux 6.18 and are held against the running kernel by
// tests/test_sim_socket*.c.
#ifndef WEIR_SIM_NET_H
#define WEIR_SIM_NET_H

#include "runtime/os.h"
#include "sim/file.h"

struct sim_net;

struct sim_net *sim_net_create(void);
void sim_net_destroy(struct sim_net *net);
void sim_net_begin(struct sim_net *net);

int sim_socket_open(struct weir_sim *sim, int family, int type);
int sim_socket_bind(struct weir_sim *sim, int fd, const struct weir_address *address);
int sim_socket_listen(struct weir_sim *sim, int fd, int backlog);
int sim_socket_accept(struct weir_sim *sim, int fd);
int sim_socket_connect(struct weir_sim *sim, int fd, const struct weir_address *address);
int64_t sim_socket_send(struct weir_sim *sim, int fd, const struct weir_iovec *parts,
                        size_t parts_count);
int64_t sim_socket_recv(struct weir_sim *sim, int fd, void *bytes, size_t bytes_max);
int sim_socket_shutdown(struct weir_sim *sim, int fd, enum weir_socket_shutdown how);
int sim_socket_error(struct weir_sim *sim, int fd);
int64_t sim_socket_outstanding(struct weir_sim *sim, int fd);
int sim_socket_state(struct weir_sim *sim, int fd);
int sim_socket_option(struct weir_sim *sim, int fd, enum weir_socket_option option, int value);
int sim_socket_address(struct weir_sim *sim, int fd, struct weir_address *address);

// The link between this process and the others goes down or comes back: nothing is delivered on
// TCP, nobody is told.
void sim_net_link(struct weir_sim *sim, bool up);

#endif
