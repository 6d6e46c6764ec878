// What the files of the network share: sockets, the bytes in them, and what a transport can do.
//
//   net.c            the network's and a socket's life
//   net_call.c       the calls of net.h, the same for every transport
//   net_question.c   those that ask and those that set options
//   net_fault.c      injected faults, each made true in the model
//   net_name.c       addresses: who is bound where
//   net_bytes.c      queues of bytes, and of the kernel's buffers
//   net_unix.c       Unix streams
//   net_datagram.c   Unix datagrams and UDP
//   net_tcp.c        the calls on a TCP socket
//   net_wire.c       segments on their way
//   net_segment.c    what a socket does with a segment that arrives
//   net_timer.c      retransmission, timeouts, a link that is down
//
// A socket lives to the end of the run, also after its descriptor: the peer's side may still refer
// to it. Its memory, and that of its queues, is used again by the next run.
#ifndef WEIR_SIM_NET_STATE_H
#define WEIR_SIM_NET_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sim/sim.h"

// ---- Bytes ----

struct sim_net;
struct sim_socket;

// A queue of bytes with absolute positions: it holds [begin, end).
struct sim_bytes {
    unsigned char *memory;
    size_t capacity; // a power of two, or 0
    uint64_t begin, end;
};

// What a send takes its bytes from.
struct sim_source {
    const struct weir_iovec *parts;
    size_t part;   // index
    size_t offset; // into that part
    size_t bytes;  // left in all
};

// Appends the next `count` bytes of the source.
void sim_bytes_append(struct weir_sim *sim, struct sim_bytes *bytes, struct sim_source *source,
                      size_t count);
// Takes the oldest `count` bytes out.
void sim_bytes_take(struct weir_sim *sim, struct sim_bytes *bytes, void *to, size_t count);
// Forgets them without copying.
void sim_bytes_skip(struct sim_bytes *bytes, size_t count);
// Empties the queue and gives its memory back; positions start at 0 again.
void sim_bytes_drop(struct sim_net *net, struct sim_bytes *bytes);
void sim_net_free_pool(struct sim_net *net);
// A ring of twice the size with the same things in it.
void *sim_ring_grow(struct weir_sim *sim, void *memory, uint32_t *capacity, uint32_t *first,
                    uint32_t count, size_t thing_bytes);

// One buffer of the kernel (an skb): what a queue of messages, or of a Unix stream, is made of.
struct sim_unit {
    struct sim_socket *owner; // whose send buffer it is charged to
    uint32_t bytes;           // not yet read
    uint32_t memory;          // truesize
};

struct sim_units {
    struct sim_unit *memory;
    uint32_t capacity; // a power of two, or 0
    uint32_t first, count;
};

void sim_units_push(struct weir_sim *sim, struct sim_units *units, struct sim_unit unit);
struct sim_unit *sim_units_first(struct sim_units *units);
void sim_units_pop(struct sim_units *units);

// ---- Sockets ----

enum sim_transport { SIM_UNIX_STREAM, SIM_UNIX_DATAGRAM, SIM_TCP, SIM_UDP, SIM_TRANSPORTS_COUNT };

// The states of RFC 9293; Unix sockets and datagrams use CLOSED, LISTEN and ESTABLISHED as Linux
// does. TIME_WAIT is CLOSED to the program.
enum sim_socket_state {
    SIM_CLOSED,
    SIM_LISTEN,
    SIM_SYN_SENT,
    SIM_SYN_RECEIVED,
    SIM_ESTABLISHED,
    SIM_FIN_WAIT_1,
    SIM_FIN_WAIT_2,
    SIM_CLOSE_WAIT,
    SIM_CLOSING,
    SIM_LAST_ACK,
    SIM_TIME_WAIT
};

// What the socket layer thinks of a connect (Linux's socket->state).
enum sim_progress { SIM_UNCONNECTED, SIM_CONNECTING, SIM_CONNECTED };

// Bits of sim_socket.shutdown.
enum sim_shutdown { SIM_SHUT_READ = 1, SIM_SHUT_WRITE = 2, SIM_SHUT_BOTH = 3 };

// Bits of sim_socket.flags.
enum sim_socket_flag {
    SIM_DEAD = 1,       // its descriptor is closed, or a fault took it away
    SIM_NO_SPACE = 2,   // somebody was told that there is no space: room is an edge
    SIM_ENDED = 4,      // the peer's FIN was received (SOCK_DONE)
    SIM_FIN_QUEUED = 8, // the last position written is our FIN
    SIM_DUE = 16,       // in the list of sockets with segments to deliver
    SIM_TIMED = 32,     // its timer will call
    SIM_REUSE = 64,     // SO_REUSEADDR
    SIM_NO_DELAY = 128, // TCP_NODELAY
    SIM_WAITS = 256     // a datagram socket that waits for room in its peer's queue
};

// What a segment is besides its range of bytes.
enum sim_segment_flag { SIM_SYN = 1, SIM_FIN = 2, SIM_RST = 4 };

// A segment on its way to the socket that holds it.
struct sim_segment {
    uint64_t arrive_ns;
    uint64_t from, to;        // positions of the sender's stream, the FIN included
    uint64_t acknowledged;    // of the receiver's stream
    uint64_t window_end;      // how far the receiver may send
    uint32_t flags;           // a set of enum sim_segment_flag
    uint32_t answer_delay_ns; // how late the answer to it will be
};

struct sim_segments {
    struct sim_segment *memory;
    uint32_t capacity; // a power of two, or 0
    uint32_t first, count;
};

// One direction is the writer's `out`, up to what its peer has read; positions count bytes from 0.
struct sim_tcp {
    struct sim_bytes out;  // [peer's read, written)
    uint64_t written;      // as write_seq: the FIN counts
    uint64_t sent;         // snd_nxt
    uint64_t acknowledged; // snd_una
    uint64_t window_end;   // how far the peer lets us send
    uint64_t received;     // rcv_nxt: the peer's FIN counts
    uint64_t read;         // copied_seq
    uint64_t advertised;   // how far we let the peer send
    uint64_t progress_ns;  // when something was last acknowledged, or became outstanding
    uint64_t heard_ns;     // when a segment last came
    uint32_t attempts;     // SYNs sent
    uint32_t delay;        // index: how late the segments of the call under way are
    struct sim_segments incoming;
};

struct sim_socket {
    uint32_t number;  // from 1, in the order of this run
    uint32_t file;    // sim_file_number, or 0
    uint32_t process; // whose it is
    int fd;           // -1: none
    enum sim_transport transport;
    enum sim_socket_state state;
    enum sim_progress progress;
    int family;
    uint32_t shutdown;
    uint32_t flags;
    int error; // sk_err: a positive errno, shown once
    struct sim_socket *peer;

    // Memory.
    uint64_t send_memory;    // charged by units not yet freed
    uint64_t send_buffer;    // SO_SNDBUF as the kernel keeps it: doubled
    uint64_t receive_memory; // UDP: charged by units not yet read
    uint64_t receive_buffer; // TCP: the largest window
    uint64_t peer_buffer;    // the same of the peer, drawn by the side of process 0; 0: default
    struct sim_bytes in;     // Unix and UDP: what the units hold
    struct sim_units units;

    // Options.
    uint32_t keepalive_s;
    uint32_t user_timeout_ms;
    uint64_t notsent_bytes;

    // Names. A bound socket is in the list of bound ones.
    struct weir_address address; // bytes_count 0: none
    struct weir_address remote;  // of a connected UDP socket, or of a TCP connect
    struct sim_socket *next_bound;

    // Connections that wait to be accepted: first in, first out.
    uint32_t backlog;
    uint32_t pending_count;
    struct sim_socket *pending_first, *pending_last, *next_pending;
    struct sim_socket *listener; // of one that waits

    struct sim_socket *next_due;
    struct sim_tcp tcp;
};

// A kind of socket. A function that returns int or int64_t: as the call of os.h.
struct sim_transport_ops {
    int (*listen)(struct weir_sim *sim, struct sim_socket *socket, int backlog);
    int (*connect)(struct weir_sim *sim, struct sim_socket *socket,
                   const struct weir_address *address);
    int64_t (*send)(struct weir_sim *sim, struct sim_socket *socket, struct sim_source *source);
    int64_t (*recv)(struct weir_sim *sim, struct sim_socket *socket, void *bytes, size_t bytes_max);
    int (*shutdown)(struct weir_sim *sim, struct sim_socket *socket, uint32_t how);
    int64_t (*outstanding)(const struct sim_socket *socket);
    uint32_t (*ready)(struct sim_socket *socket);
    void (*close)(struct weir_sim *sim, struct sim_socket *socket);
};

extern const struct sim_transport_ops sim_unix_ops, sim_datagram_ops, sim_tcp_ops;
const struct sim_transport_ops *sim_socket_ops(const struct sim_socket *socket);

// ---- The network of a run ----

#define SIM_POOL_CLASSES 32

struct sim_path; // net_address.c

struct sim_net {
    struct sim_socket **sockets; // of all runs; the first `sockets_count` are this run's
    uint32_t sockets_count, sockets_capacity, sockets_made;
    struct sim_socket *bound; // sockets with a name, newest first
    struct sim_path *paths;   // names in the file system
    uint32_t paths_count, paths_capacity;
    uint16_t next_port;
    struct sim_socket *due_first, *due_last;
    void *pool[SIM_POOL_CLASSES]; // free byte memory by power of two
    uint8_t link_down[SIM_PROCESSES_MAX];
};

// The socket of a descriptor. NULL: *error says whether it is none or another kind of file.
struct sim_socket *sim_socket_at(struct weir_sim *sim, int fd, int *error);
// An event of a call on it, with its result, which is returned.
int64_t sim_socket_called(struct weir_sim *sim, enum sim_event_kind kind, int fd, uint64_t what,
                          int64_t result);
// A new socket without a descriptor. Never NULL.
struct sim_socket *sim_socket_make(struct weir_sim *sim, enum sim_transport transport, int family);
// Gives it a descriptor. returns  the descriptor, or -EMFILE.
int sim_socket_file(struct weir_sim *sim, struct sim_socket *socket);
// Draws the sizes of its buffers, if it belongs to the process under test.
void sim_socket_draw(struct weir_sim *sim, struct sim_socket *socket);
// Something epoll would report happened to it; nothing if it has no descriptor.
void sim_socket_edge(struct weir_sim *sim, const struct sim_socket *socket, uint32_t ready);
// All that a change of state wakes.
#define SIM_EDGE_ALL (WEIR_READABLE | WEIR_WRITABLE | WEIR_HANGUP | WEIR_FAULT | WEIR_PEER_CLOSED)
// Takes the pending error: 0, or a negative errno.
int sim_socket_take_error(struct sim_socket *socket);
// What happened inside of the network.
enum sim_network {
    SIM_NETWORK_ARRIVED,
    SIM_NETWORK_HANGUP,
    SIM_NETWORK_PURGED,
    SIM_NETWORK_RESET,
    SIM_NETWORK_LOST,
    SIM_NETWORK_TIMED_OUT,
    SIM_NETWORK_FAULT
};
void sim_socket_happened(struct weir_sim *sim, const struct sim_socket *socket,
                         enum sim_network what, uint64_t bytes);
_Noreturn void sim_net_no_memory(struct weir_sim *sim);

// The queue of connections to accept.
void sim_pending_push(struct sim_socket *listener, struct sim_socket *socket);
struct sim_socket *sim_pending_pop(struct sim_socket *listener);

// ---- Kernel memory of a sender ----

// Linux's truesize of a buffer of a Unix stream or datagram.
uint32_t sim_unix_truesize(size_t bytes);
uint32_t sim_datagram_truesize(size_t bytes);
// sock_alloc_send_pskb: 0, or why a sender gets no buffer, negative; takes the pending error.
int sim_socket_room(struct sim_socket *socket);
bool sim_unix_writable(const struct sim_socket *socket);
// A buffer of its sends was given back, sent or not: an edge, if there is room now.
void sim_socket_freed(struct weir_sim *sim, struct sim_socket *socket);
// The oldest unit of `socket` is done with: its memory goes back to its owner.
void sim_socket_free_unit(struct weir_sim *sim, struct sim_socket *socket);

// ---- Names ----

// Whether it is one of the socket's family: 0, -EINVAL, -EAFNOSUPPORT.
int sim_address_check(const struct sim_socket *socket, const struct weir_address *address);
// 0, or -EADDRINUSE, -EINVAL, ...
int sim_address_bind(struct weir_sim *sim, struct sim_socket *socket,
                     const struct weir_address *address);
// A port of one's own for a socket of the internet families that has none.
int sim_address_ephemeral(struct weir_sim *sim, struct sim_socket *socket,
                          const struct weir_address *towards);
// Whether it may listen on its port.
int sim_address_listen(const struct sim_net *net, const struct sim_socket *socket);
void sim_address_unbind(struct sim_net *net, struct sim_socket *socket);
// A Unix socket of this transport: NULL and *error.
struct sim_socket *sim_address_unix(struct sim_net *net, enum sim_transport transport,
                                    const struct weir_address *address, int *error);
// Who gets what is sent to this address; `from` is preferred where a socket is connected to it.
struct sim_socket *sim_address_port(struct sim_net *net, enum sim_transport transport,
                                    const struct weir_address *address,
                                    const struct weir_address *from);
// As unlink(): the name in the file system goes; whoever is bound to it stays.
void sim_address_forget(struct sim_net *net, const struct weir_address *address);
uint16_t sim_address_port_of(const struct weir_address *address);

// ---- Unix streams ----

// The socket goes at once, unread data and all.
void sim_unix_die(struct weir_sim *sim, struct sim_socket *socket, bool never_accepted);
// A fault: the peer's end is gone as if its process had closed it.
void sim_unix_break(struct weir_sim *sim, struct sim_socket *socket);
// How much of a send becomes one buffer.
size_t sim_unix_chunk(const struct sim_socket *socket, size_t bytes);

// ---- TCP sockets: net_tcp.c ----

// Begins a connect, but for the SYN: 0 or a negative errno.
int sim_tcp_dial(struct weir_sim *sim, struct sim_socket *socket,
                 const struct weir_address *address);

// Whether segments still go to and fro, maybe after the program has closed it.
bool sim_tcp_alive(const struct sim_socket *socket);
// The connection is over for this side: `error` is pending, everything is woken.
void sim_tcp_done(struct weir_sim *sim, struct sim_socket *socket, int error);
// Tells of room in the send buffer, if somebody waits for it and there is enough.
void sim_tcp_space(struct weir_sim *sim, struct sim_socket *socket);
// Bytes that arrived and were not read.
uint64_t sim_tcp_unread(const struct sim_socket *socket);
// What arrived and was not read is lost.
void sim_tcp_lose(struct sim_socket *socket);

// ---- The wire: net_wire.c ----

// Draws how late the segments of the call under way are; forgotten at the call's end.
void sim_wire_draw(struct weir_sim *sim, struct sim_socket *socket);
// Starts to connect: the first SYN.
void sim_wire_connect(struct weir_sim *sim, struct sim_socket *socket);
// Sends what the window lets go, and the FIN.
void sim_wire_output(struct weir_sim *sim, struct sim_socket *socket);
// An acknowledgement, which tells the window too.
void sim_wire_acknowledge(struct weir_sim *sim, struct sim_socket *socket, uint32_t delay_ns);
// A reset to the peer.
void sim_wire_reset(struct weir_sim *sim, struct sim_socket *socket);
// After a read: tells the peer when the window has opened enough.
void sim_wire_opened(struct weir_sim *sim, struct sim_socket *socket);
// Delivers all that is due.
void sim_wire_pump(struct weir_sim *sim);
// What the socket does with a segment: net_segment.c.
void sim_segment_take(struct weir_sim *sim, struct sim_socket *socket,
                      const struct sim_segment *segment);

// ---- Timers of TCP: net_timer.c ----

// Whether the link between the two is up.
bool sim_wire_up(const struct sim_net *net, const struct sim_socket *one,
                 const struct sim_socket *other);
// Something is outstanding: the connection ends unless it is acknowledged in time.
void sim_timer_user(struct weir_sim *sim, struct sim_socket *socket);
// A SYN was lost: the next one follows, or the connect has timed out.
void sim_timer_syn(struct weir_sim *sim, struct sim_socket *socket);
// A connect that nobody answers ends after this time with this error.
void sim_timer_connect(struct weir_sim *sim, struct sim_socket *socket, uint64_t after_ns,
                       int error);
// The link went down or came back: keepalive, and another try at what was lost.
void sim_timer_link(struct weir_sim *sim, bool up);

// ---- Faults ----

// Each: 0 go on; else what the call returns (after the fault was made true).
int sim_fault_open(struct weir_sim *sim);
int sim_fault_connect(struct weir_sim *sim, struct sim_socket *socket,
                      const struct weir_address *address);
int64_t sim_fault_send(struct weir_sim *sim, struct sim_socket *socket, struct sim_source *source);
int64_t sim_fault_recv(struct weir_sim *sim, struct sim_socket *socket, size_t *bytes_max);
int sim_fault_accept(struct weir_sim *sim, struct sim_socket *socket);
int sim_fault_shutdown(struct weir_sim *sim, struct sim_socket *socket);

#endif
