// The one door to the operating system: clock, threads, futex, poller, sockets, names, memory.
//
// A runtime is given a `struct weir_os` by value when it is created and everything
// nondeterministic passes through it; there is no global. os_linux.c fills the real one; a
// simulator, or a test that makes the k-th call fail, fills the same struct. `self` is handed back
// as the first argument of each function. Unless stated otherwise a function returns 0 or a
// positive value, or -errno, and may be called from any thread. futex_wait and poller_wait are the
// only two ways in which a worker blocks; resolve may block too and is only called on a thread
// of its own.
#ifndef WEIR_RUNTIME_OS_H
#define WEIR_RUNTIME_OS_H

#ifndef __cplusplus
#include <stdatomic.h>
#endif

#include "weir.h"

#ifdef __cplusplus
extern "C" {
#endif

// "No deadline" for the two blocking calls.
#define WEIR_NEVER UINT64_MAX

// A poller with the two descriptors that can make it ready from outside the sockets it watches.
struct weir_poller {
    int fd;       // the readiness descriptor itself; readable whenever poller_wait has something
    int wake_fd;  // written by poller_wake
    int timer_fd; // armed by poller_arm; -1 until then
};

// What poller_wait reports of one descriptor. Edge-triggered: once per change, not per call.
struct weir_os_event {
    uint64_t token;
    uint32_t ready; // WEIR_READABLE | WEIR_WRITABLE | WEIR_HANGUP | WEIR_FAULT
};

enum weir_readiness {
    WEIR_READABLE = 1,
    WEIR_WRITABLE = 2,
    WEIR_HANGUP = 4,      // both directions are over
    WEIR_FAULT = 8,       // an error is pending on the socket
    WEIR_PEER_CLOSED = 16 // the peer will send nothing more
};

// The token of poller_wait's internal events, which it never reports.
#define WEIR_TOKEN_INTERNAL UINT64_MAX

enum weir_socket_option {
    WEIR_SOCKET_KEEPALIVE,       // value: idle seconds before the first probe; 0 = off
    WEIR_SOCKET_USER_TIMEOUT_MS, // TCP: unacknowledged for so long = dead
    WEIR_SOCKET_NOTSENT_BYTES,   // TCP: not writable while more than this is unsent
    WEIR_SOCKET_NODELAY,
    WEIR_SOCKET_SEND_BUFFER_BYTES,
    WEIR_SOCKET_REUSE_ADDRESS
};

enum weir_socket_shutdown { WEIR_SHUTDOWN_READ, WEIR_SHUTDOWN_WRITE, WEIR_SHUTDOWN_BOTH };

struct weir_os {
    void *self;

    // Clock. now_ns is monotonic and never 0; wall_ns is nanoseconds since 1970 (UTC).
    uint64_t (*now_ns)(void *self);
    uint64_t (*wall_ns)(void *self);

    // Fills `bytes` with entropy; cannot fail (falls back to the clock).
    void (*entropy)(void *self, void *bytes, size_t bytes_count);

    // Zeroed memory aligned to `alignment` (a power of two), or NULL. release takes the same size.
    void *(*alloc)(void *self, size_t bytes, size_t alignment);
    void (*release)(void *self, void *memory, size_t bytes);

    // A word that holds 1 in this process and 0 in every child forked from it, without a system
    // call to look at it (a page marked MADV_WIPEONFORK).
    int (*fork_guard_open)(void *self, WEIR_ATOMIC uint32_t **word);
    void (*fork_guard_close)(void *self, WEIR_ATOMIC uint32_t *word);

    // Threads start with every signal blocked. Each started thread is joined or detached once.
    int (*thread_start)(void *self, uint64_t *thread, void (*entry)(void *), void *argument);
    int (*thread_join)(void *self, uint64_t thread);
    int (*thread_detach)(void *self, uint64_t thread);
    // A number that tells the calling thread from every other live one.
    uint64_t (*thread_id)(void *self);

    // Sleeps while *word == expected. returns 0 woken, maybe spuriously; -EAGAIN the word differed;
    // -ETIMEDOUT; -EINTR. futex_wake is async-signal-safe, touches only the address, cannot fail.
    int (*futex_wait)(void *self, const WEIR_ATOMIC uint32_t *word, uint32_t expected,
                      uint64_t deadline_ns);
    void (*futex_wake)(void *self, const WEIR_ATOMIC uint32_t *word, uint32_t waiters_max);

    // Readiness. add watches both directions, edge-triggered. wait returns the number of events,
    // 0 at the deadline or after a wake; deadline 0 = do not block. One thread waits at a time.
    // wake makes the current or next wait return; async-signal-safe; cannot fail.
    // arm makes `poller->fd` readable at the deadline too (WEIR_NEVER disarms).
    int (*poller_open)(void *self, struct weir_poller *poller);
    void (*poller_close)(void *self, struct weir_poller *poller);
    int (*poller_add)(void *self, const struct weir_poller *poller, int fd, uint64_t token);
    int (*poller_remove)(void *self, const struct weir_poller *poller, int fd);
    int (*poller_wait)(void *self, const struct weir_poller *poller, struct weir_os_event *events,
                       uint32_t events_max, uint64_t deadline_ns);
    void (*poller_wake)(void *self, const struct weir_poller *poller);
    int (*poller_arm)(void *self, struct weir_poller *poller, uint64_t deadline_ns);

    // Sockets: always nonblocking and close-on-exec; never raise SIGPIPE.
    int (*socket_open)(void *self, int family, int type); // AF_*, SOCK_STREAM or SOCK_DGRAM
    int (*socket_bind)(void *self, int fd, const struct weir_address *address);
    int (*socket_listen)(void *self, int fd, int backlog);
    int (*socket_accept)(void *self, int fd); // the new socket, or -EAGAIN, ...
    int (*socket_connect)(void *self, int fd, const struct weir_address *address);
    int64_t (*socket_send)(void *self, int fd, const struct weir_iovec *parts, size_t parts_count);
    int64_t (*socket_recv)(void *self, int fd, void *bytes, size_t bytes_max);
    int (*socket_shutdown)(void *self, int fd, enum weir_socket_shutdown how);
    int (*socket_close)(void *self, int fd); // the descriptor is gone whatever this returns
    // Takes the pending error (SO_ERROR) off the socket: 0 or a positive errno.
    int (*socket_error)(void *self, int fd);
    // Bytes handed over and not yet taken off the peer's hands (SIOCOUTQ): on TCP not yet
    // acknowledged, exact; on Unix sockets the kernel's memory for what the peer has not read.
    int64_t (*socket_outstanding)(void *self, int fd);
    // What poll() says right now: a set of enum weir_readiness, or -errno. Not before a count that
    // was taken before it (a full barrier): the proof of delivery rests on that order.
    int (*socket_state)(void *self, int fd);
    int (*socket_option)(void *self, int fd, enum weir_socket_option option, int value);
    int (*socket_address)(void *self, int fd, struct weir_address *address); // getsockname

    // Addresses of a name, at most addresses_max; the count, or WEIR_ENAME. May block for long
    // unless `numeric`, which only understands numeric addresses and never blocks.
    int (*resolve)(void *self, const char *host, uint16_t port, bool numeric,
                   struct weir_address *addresses, uint32_t addresses_max);
};

// The real one.
WEIR_API struct weir_os weir_os_linux(void);

// What a runtime was created with, and how many threads it has: for what is built on the runtime.
WEIR_API const struct weir_os *weir_runtime_os(const struct weir_runtime *runtime);
WEIR_API uint32_t weir_runtime_threads(const struct weir_runtime *runtime);

#ifdef __cplusplus
}
#endif

#endif
