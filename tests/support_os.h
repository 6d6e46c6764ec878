// A faulty operating system for tests: wraps a struct weir_os, counts, fails calls, finds leaks.
//
//   struct weir_os real = weir_os_linux();
//   struct support_os *faulty = support_os_create(&real);
//   support_os_fail(faulty, SUPPORT_OS_socket_send, 3, 1, -ECONNRESET); // the third send fails
//   ... give support_os_get(faulty) to a runtime, run, destroy the runtime ...
//   assert_int_equal(support_os_leaks(faulty), 0);                      // says what on stderr
//   support_os_destroy(faulty);
//
// A call that is made to fail does not reach the wrapped os, with one exception: socket_close,
// since the descriptor is gone whatever it returns. A send, recv or accept that was told -EAGAIN,
// or cut short, is followed by a new readiness edge if the descriptor is watched, as a real one is.
//
// Everything may be called from any thread while others are inside the os; futex_wake, poller_wake
// and the clock touch nothing but atomics, so they stay async-signal-safe.
#ifndef WEIR_TESTS_SUPPORT_OS_H
#define WEIR_TESTS_SUPPORT_OS_H

#include <errno.h>

#include "runtime/os.h"

#define SUPPORT_OS_END INT32_MIN

// X(function, codes it may plausibly return instead of doing its work, SUPPORT_OS_END). A code is
// what the function returns: -errno or WEIR_E*; for socket_error the positive errno that is
// pending; for alloc anything (it returns NULL). 0 in futex_wait and poller_wait is a spurious end
// of the wait. Sources: the manual pages, and what was seen on Linux.
#define SUPPORT_OS_FUNCTIONS(X)                                                                    \
    X(now_ns, SUPPORT_OS_END)                                                                      \
    X(wall_ns, SUPPORT_OS_END)                                                                     \
    X(entropy, SUPPORT_OS_END)                                                                     \
    X(alloc, -ENOMEM, SUPPORT_OS_END)                                                              \
    X(release, SUPPORT_OS_END)                                                                     \
    X(fork_guard_open, -ENOMEM, -EINVAL, SUPPORT_OS_END)                                           \
    X(fork_guard_close, SUPPORT_OS_END)                                                            \
    X(thread_start, -EAGAIN, -ENOMEM, SUPPORT_OS_END)                                              \
    X(thread_join, SUPPORT_OS_END)                                                                 \
    X(thread_detach, SUPPORT_OS_END)                                                               \
    X(thread_id, SUPPORT_OS_END)                                                                   \
    X(futex_wait, -EINTR, -EAGAIN, 0, SUPPORT_OS_END)                                              \
    X(futex_wake, SUPPORT_OS_END)                                                                  \
    X(poller_open, -EMFILE, -ENFILE, -ENOMEM, SUPPORT_OS_END)                                      \
    X(poller_close, SUPPORT_OS_END)                                                                \
    X(poller_add, -ENOMEM, -ENOSPC, SUPPORT_OS_END)                                                \
    X(poller_remove, SUPPORT_OS_END)                                                               \
    X(poller_wait, 0, SUPPORT_OS_END)                                                              \
    X(poller_wake, SUPPORT_OS_END)                                                                 \
    X(poller_arm, -EMFILE, -ENFILE, -ENOMEM, SUPPORT_OS_END)                                       \
    X(socket_open, -EMFILE, -ENFILE, -ENOBUFS, -ENOMEM, -EACCES, -EAFNOSUPPORT, SUPPORT_OS_END)    \
    X(socket_bind, -EADDRINUSE, -EADDRNOTAVAIL, -EACCES, -ENOENT, -ENOMEM, SUPPORT_OS_END)         \
    X(socket_listen, -EADDRINUSE, SUPPORT_OS_END)                                                  \
    X(socket_accept, -EAGAIN, -EINTR, -ECONNABORTED, -EMFILE, -ENFILE, -ENOBUFS, -ENOMEM, -EPROTO, \
      -EPERM, -ENETDOWN, SUPPORT_OS_END)                                                           \
    X(socket_connect, -ECONNREFUSED, -ENOENT, -EAGAIN, -ETIMEDOUT, -ENETUNREACH, -EHOSTUNREACH,    \
      -EADDRNOTAVAIL, -EACCES, -EPERM, -EPROTOTYPE, -ECONNRESET, -ENOMEM, SUPPORT_OS_END)          \
    X(socket_send, -EAGAIN, -EINTR, -ECONNRESET, -EPIPE, -ENOBUFS, -ENOMEM, -EMSGSIZE,             \
      -ECONNREFUSED, -ETIMEDOUT, -EHOSTUNREACH, -ENETUNREACH, -EPERM, -ENOTCONN, SUPPORT_OS_END)   \
    X(socket_recv, -EAGAIN, -EINTR, -ECONNRESET, -ETIMEDOUT, -ECONNREFUSED, -EHOSTUNREACH,         \
      -ENOMEM, -ENOTCONN, SUPPORT_OS_END)                                                          \
    X(socket_shutdown, -ENOTCONN, SUPPORT_OS_END)                                                  \
    X(socket_close, -EINTR, -EIO, SUPPORT_OS_END)                                                  \
    X(socket_error, ECONNREFUSED, ECONNRESET, ETIMEDOUT, EHOSTUNREACH, EPIPE, SUPPORT_OS_END)      \
    X(socket_outstanding, -EINVAL, -ENOTTY, SUPPORT_OS_END)                                        \
    X(socket_state, -ENOMEM, SUPPORT_OS_END)                                                       \
    X(socket_option, -ENOPROTOOPT, -EOPNOTSUPP, -EINVAL, -ENOBUFS, SUPPORT_OS_END)                 \
    X(socket_address, -ENOBUFS, SUPPORT_OS_END)                                                    \
    X(resolve, WEIR_ENAME, WEIR_EMEMORY, -EIO, SUPPORT_OS_END)

#define SUPPORT_OS_ENUM(name, ...) SUPPORT_OS_##name,
enum support_os_function { SUPPORT_OS_FUNCTIONS(SUPPORT_OS_ENUM) SUPPORT_OS_FUNCTIONS_COUNT };
#undef SUPPORT_OS_ENUM

const char *support_os_name(enum support_os_function function);
// The codes of the table above; ends with SUPPORT_OS_END.
const int32_t *support_os_codes(enum support_os_function function);

struct support_os;

// Wraps `inner` (copied). Aborts the program when there is no memory for itself.
struct support_os *support_os_create(const struct weir_os *inner);
// Waits, ten seconds at most, for threads that are still on their way out, then frees.
void support_os_destroy(struct support_os *support);
// The struct to hand out, valid until support_os_destroy.
struct weir_os support_os_get(struct support_os *support);

// ---- Faults ----

// From now on the `call`-th call of the function (1: the next one) and the `calls_count` - 1 after
// it return `code`. One such rule per function; the last one given counts. UINT64_MAX: all from
// there on.
void support_os_fail(struct support_os *support, enum support_os_function function, uint64_t call,
                     uint64_t calls_count, int32_t code);
// The same for socket_send and socket_recv, but the call is made with at most `bytes_max` bytes.
void support_os_short(struct support_os *support, enum support_os_function function, uint64_t call,
                      uint64_t calls_count, size_t bytes_max);
// Every call fails with this probability, with one of its codes chosen evenly; half of the faults
// of socket_send and socket_recv are short lengths instead. A pure function of (seed, function,
// number of the call), so one thread's calls fail alike in every run.
void support_os_random(struct support_os *support, enum support_os_function function, uint64_t seed,
                       uint32_t faults_per_million);
// No more faults of either kind.
void support_os_heal(struct support_os *support);

// Calls so far, the ones that were made to fail included; and those alone, short ones included.
uint64_t support_os_calls(const struct support_os *support, enum support_os_function function);
uint64_t support_os_faults(const struct support_os *support, enum support_os_function function);

// ---- What is live ----

struct support_os_live {
    int64_t bytes, bytes_peak, allocations, descriptors, fork_guards;
    int64_t threads;         // started and neither joined nor detached
    int64_t threads_running; // detached ones included
};
struct support_os_live support_os_live(struct support_os *support);

// How many things are live (bytes not counted), and how often memory, descriptors or threads were
// misused: released twice or with another size, closed twice, joined too often. Each kind is
// printed on stderr. Gives threads that are on their way out ten seconds.
int64_t support_os_leaks(struct support_os *support);

// ---- Virtual clock ----

// From now on now_ns is a variable that starts here, and a wait with a deadline moves it there
// instead of sleeping, unless something is ready or was woken. For one thread and a runtime of zero
// workers. A wait without a deadline takes real time; if nothing ends it within ten seconds the
// program is aborted.
void support_os_virtual(struct support_os *support, uint64_t now_ns);
void support_os_advance(struct support_os *support, uint64_t by_ns);

// ---- Torture ----

// One run of the code under test on the given os, from creating to destroying. Must cope with every
// failure: a refused creation is a good run.
//   returns  NULL, or what is wrong, as a constant string.
typedef const char *support_os_scenario(struct support_os *support, void *argument);

struct support_os_torture {
    const struct weir_os *inner;
    support_os_scenario *scenario;
    void *argument;
    uint64_t functions;   // a set of 1 << SUPPORT_OS_...; 0: all of them
    uint64_t calls_max;   // calls of a function tried, from its first; 0: all
    uint64_t calls_count; // how many calls in a row fail each time; 0: one
    bool is_virtual;      // with the virtual clock, starting at one second
};

// Runs the scenario once without faults to count calls, and then for every function, every code
// and every number of call once with that fault, asking for leaks after each run. A bad run is
// printed on stderr. WEIR_TORTURE="socket_send -32 3" runs only that case, WEIR_TORTURE=print
// prints each case before it runs (for hangs and crashes).
//   returns  the number of bad runs; `runs` (or NULL) counts all in which the fault took place.
uint64_t support_os_torture(const struct support_os_torture *torture, uint64_t *runs);

#endif
