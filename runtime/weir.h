// The runtime's public interface: futures, tasks, wakers, timers, synchronisation and sockets.
//
// A future is a struct whose first member is `struct weir_future`: its poll function, where to
// resume, and its result. Polling it moves it on as far as it can go without waiting. A task is a
// root future that the runtime polls whenever its waker was used. Children are embedded in their
// parent by value, so that a task is one block of memory and awaiting allocates nothing.
//
// Rules for every future here:
//   - all-zero memory is a valid, inert future: dropping it does nothing;
//   - the x_init functions take memory that is zeroed, or whose future is done or dropped;
//   - it may be copied until its first poll and must not move after it;
//   - a result is 0 or positive, or a negative code: -errno or one of WEIR_E...;
//   - dropping it (weir_drop) at any point undoes what it was waiting for; before its first poll it
//     waits for nothing, and dropping it does nothing, not even run its exit block: what an
//     unstarted future was given, an open stream for instance, is still its maker's to release.
// "threads: poll" below means: only from inside the poll that owns the future.
#ifndef WEIR_H
#define WEIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WEIR_API __attribute__((visibility("default")))
#define WEIR_MUST_USE __attribute__((warn_unused_result))
#define WEIR_NORETURN __attribute__((noreturn))

// A C++ host sees atomic members, all of them private, as plain ones of the same layout.
#ifdef __cplusplus
#define WEIR_ATOMIC
extern "C" {
#else
#define WEIR_ATOMIC _Atomic
#endif

// ---- Version ----

#define WEIR_VERSION "0.1.0"

// The WEIR_VERSION of the library that runs, for hosts that load it themselves: structs may differ
// between two versions.
//   memory   a constant string.
//   threads  any.
WEIR_API const char *weir_version(void);

// ---- Errors ----

// X(name, value, text): the one place where a code, its number and its text are written.
#define WEIR_ERRORS(X)                                                                             \
    X(WEIR_ECANCELED, -10001, "cancelled before it finished")                                      \
    X(WEIR_ETIMEOUT, -10002, "the time limit passed first")                                        \
    X(WEIR_ECLOSED, -10003, "closed: nothing more is taken or given")                              \
    X(WEIR_EFULL, -10004, "the buffer is full")                                                    \
    X(WEIR_ETOOBIG, -10005, "the message is larger than message_bytes_max")                        \
    X(WEIR_EFORKED, -10006, "this process is a fork of the one that opened it")                    \
    X(WEIR_EDELIMITER, -10007, "the message contains the frame delimiter and may not")             \
    X(WEIR_EOPTION, -10008, "an option is malformed, unknown or contradicts another")              \
    X(WEIR_ENAME, -10009, "the host name could not be resolved")                                   \
    X(WEIR_EMEMORY, -10010, "no memory")                                                           \
    X(WEIR_ELIMIT, -10011, "a fixed limit of the library is reached")                              \
    X(WEIR_EUNPROVEN, -10012, "closed, but the peer did not prove that it read everything")

#define WEIR_ERROR_ENUM(name, value, text) name = (value),
enum weir_error { WEIR_ERRORS(WEIR_ERROR_ENUM) };
#undef WEIR_ERROR_ENUM

// A line of text for a code this library returned; -errno values say "system error".
//   memory   a constant string, never NULL.
//   threads  any; safe in a signal handler.
WEIR_API const char *weir_error_text(int code);

// ---- Futures ----

enum weir_poll { WEIR_PENDING, WEIR_READY };

struct weir_runtime;
struct weir_worker;
struct weir_task;
struct weir_future;
struct weir_os;

// A task to be polled again: plain data, copied freely, nothing to release. A waker whose task has
// ended is stale and does nothing.
struct weir_waker {
    struct weir_task *task;
    uint32_t generation;
};

// What a poll is given. `now_ns` was read when this worker last looked at the clock: fresh enough
// for bookkeeping, not for deadlines (weir_context_clock_ns).
struct weir_context {
    struct weir_runtime *runtime;
    struct weir_worker *worker; // NULL while futures are dropped at the runtime's end
    const struct weir_os *os;
    struct weir_waker waker;
    uint64_t now_ns;
    uint32_t budget;
};

typedef enum weir_poll weir_poll_fn(struct weir_future *future, struct weir_context *context);

struct weir_future {
    weir_poll_fn *poll;
    int32_t resume; // enum weir_resume, or the line an async body waits at
    int32_t result; // valid once ready
};

enum weir_resume {
    WEIR_RESUME_START = 0,  // not polled yet; dropping it does nothing
    WEIR_RESUME_ARMED = -3, // not polled yet, and dropping it matters: the few that say so below
    WEIR_RESUME_EXIT = -1,
    WEIR_RESUME_DONE = -2
};

// Aborts, and says why: the future is zeroed memory, or is being cancelled.
WEIR_API WEIR_NORETURN void weir_future_invalid(const struct weir_future *future);

// Polls once. A future that is done says WEIR_READY again without being called.
//   threads  poll.
static inline enum weir_poll weir_future_poll(struct weir_future *future,
                                              struct weir_context *context)
{
    if (future->poll == NULL || future->resume == WEIR_RESUME_EXIT) {
        weir_future_invalid(future);
    }
    return future->resume == WEIR_RESUME_DONE ? WEIR_READY : future->poll(future, context);
}

// Cancels: a started future is polled a last time with resume == WEIR_RESUME_EXIT, where it must
// undo what it waits for and be ready at once. Nothing happens to one that is inert or done.
//   threads  poll.
WEIR_API void weir_drop(struct weir_future *future, struct weir_context *context);

// The index of the first of `futures` that is ready, or -1. Tried in order from *rotor (0 when
// NULL), which is then advanced past the winner: NULL is priority, a rotor is fair. Losers stay
// armed. With no futures the answer is -1.
//   threads  poll.
WEIR_API int weir_poll_any(struct weir_future *const *futures, size_t futures_count,
                           uint32_t *rotor, struct weir_context *context);

// Polls those of `futures` that are not done; true once all are.
//   threads  poll.
WEIR_API bool weir_poll_all(struct weir_future *const *futures, size_t futures_count,
                            struct weir_context *context);

// ---- Async bodies ----
//
//   enum weir_poll greet_poll(struct weir_future *future, struct weir_context *context)
//   {
//       struct greet *me = (struct greet *)future;
//       weir_begin(me);
//       weir_sleep_init(&me->nap, 1000000);
//       weir_await(me, context, &me->nap);
//       weir_return(me, 0);
//       weir_exit(me);                       // once; return and cancellation meet here
//       weir_drop(&me->nap.future, context); // harmless when already done
//       weir_end(me);
//   }
//
// Locals do not survive an await: what must live across it is a member of the struct. No await
// inside a `switch` of your own (it aborts), none between weir_exit and weir_end, one per line.

#define weir_begin(me)                                                                             \
    switch ((me)->future.resume) {                                                                 \
    default: weir_resume_invalid((me)->future.resume);                                             \
    case WEIR_RESUME_START:

// Suspends until `condition` (evaluated at each poll) holds.
#define weir_until(me, condition)                                                                  \
    do {                                                                                           \
        (me)->future.resume = __LINE__;                                                            \
        __attribute__((fallthrough));                                                              \
    case __LINE__:                                                                                 \
        if (!(condition)) {                                                                        \
            return WEIR_PENDING;                                                                   \
        }                                                                                          \
    } while (0)

// Suspends until the child, a struct whose first member is `future`, is ready; its result is then
// in child->future.result.
#define weir_await(me, context, child)                                                             \
    weir_until(me, weir_future_poll(&(child)->future, context) == WEIR_READY)

#define WEIR_FUTURES(...)                                                                          \
    (struct weir_future *const[]){__VA_ARGS__},                                                    \
        sizeof((struct weir_future *const[]){__VA_ARGS__}) / sizeof(struct weir_future *)

// Suspends until one of the futures (pointers to struct weir_future) is ready and sets `winner` (an
// lvalue of type int) to its index. `rotor` is NULL for priority or a uint32_t * for fairness.
#define weir_select(me, context, winner, rotor, ...)                                               \
    weir_until(me, ((winner) = weir_poll_any(WEIR_FUTURES(__VA_ARGS__), rotor, context)) >= 0)

// Suspends until all of the futures are ready.
#define weir_join(me, context, ...)                                                                \
    weir_until(me, weir_poll_all(WEIR_FUTURES(__VA_ARGS__), context))

#define weir_return(me, value)                                                                     \
    do {                                                                                           \
        (me)->future.result = (value);                                                             \
        goto weir_exit_;                                                                           \
    } while (0)

#define weir_exit(me)                                                                              \
    goto weir_exit_;                                                                               \
    case WEIR_RESUME_EXIT:                                                                         \
    weir_exit_:                                                                                    \
        (me)->future.resume = WEIR_RESUME_EXIT

#define weir_end(me)                                                                               \
    (me)->future.resume = WEIR_RESUME_DONE;                                                        \
    }                                                                                              \
    return WEIR_READY

WEIR_API WEIR_NORETURN void weir_resume_invalid(int32_t resume);

// ---- Wakers ----

static inline struct weir_waker weir_context_waker(const struct weir_context *context)
{
    return context->waker;
}

// Has the task polled again, once, however often it is woken before that. Tasks move between
// workers, but a poll is never interrupted: one that runs long delays the timers that its worker
// holds, the worker's pinned tasks, and the task it woke last with weir_context_wake.
//   threads  any, under any lock, and in a signal handler. Runs no user code. One
//            read-modify-write; a system call only when the worker it goes to is asleep.
WEIR_API void weir_wake(struct weir_waker waker);

// The same from inside a poll, cheaper: the task goes to this worker's next-task slot.
//   threads  poll. `context` NULL: weir_wake.
WEIR_API void weir_context_wake(struct weir_context *context, struct weir_waker waker);

// Takes one unit of the poll's budget. false: none is left; the task has been woken again and the
// caller returns WEIR_PENDING, so that its neighbours get their turn.
//   threads  poll.
WEIR_API WEIR_MUST_USE bool weir_context_spend(struct weir_context *context);

// The clock, read now. Monotonic nanoseconds.
WEIR_API uint64_t weir_context_clock_ns(struct weir_context *context);

// ---- Runtime ----

struct weir_runtime_options {
    uint32_t workers;         // threads; 0: no thread, a host drives it with weir_turn. At most 64.
    const struct weir_os *os; // copied; NULL: the operating system
};

// Makes a runtime and starts its workers.
//   memory   *runtime is the library's until weir_runtime_destroy.
//   returns  0; WEIR_EOPTION too many workers; WEIR_EMEMORY; -errno from thread or poller creation.
WEIR_API WEIR_MUST_USE int weir_runtime_create(struct weir_runtime **runtime,
                                               const struct weir_runtime_options *options);

// Stops the workers, drops every task that is left, frees everything. Wakers become invalid.
//   threads  any but a worker; once; nobody may use the runtime at the same time. In a forked
//            child it only gives back memory: the threads stayed in the parent.
WEIR_API void weir_runtime_destroy(struct weir_runtime *runtime);

// For a runtime of zero workers: a descriptor that is readable whenever weir_turn has something to
// do, timers included. For the host's own epoll (level-triggered); not to be read or closed.
//   returns  the descriptor, or -EINVAL when the runtime has workers.
WEIR_API int weir_backend_fd(struct weir_runtime *runtime);

// Runs up to polls_max ready tasks after waiting for one for at most wait_max_ns (0: not at all).
//   returns  the number of polls made, or -EINVAL when the runtime has workers, or WEIR_EFORKED.
//   threads  one at a time; never from inside a poll.
WEIR_API int weir_turn(struct weir_runtime *runtime, uint32_t polls_max, uint64_t wait_max_ns);

// Counters summed over the workers, for measurement and tests; each only grows.
struct weir_runtime_stats {
    uint64_t polls, spawned, completed, stolen, overflowed, parks, unparks, events, timers_fired;
};
WEIR_API void weir_runtime_stats(struct weir_runtime *runtime, struct weir_runtime_stats *stats);

// ---- Tasks ----

enum weir_spawn_flags {
    WEIR_SPAWN_STEALABLE = 0,
    WEIR_SPAWN_PINNED = 1 // always polled by the worker it was spawned on
};

// A spawned task that somebody still wants to hear of: plain data, but exactly one of weir_join
// finishing (or being dropped) or weir_task_detach must use it up, else its cell is held until the
// runtime ends.
struct weir_handle {
    struct weir_task *task;
    uint32_t generation;
};

// Copies the unstarted future of `future_bytes` into a task and makes it ready to run.
//   memory   the copy is the runtime's; `handle` NULL: nobody waits for it and it frees itself.
//   returns  0; WEIR_EMEMORY; WEIR_ELIMIT the future is larger than a cell; WEIR_ECLOSED the
//            runtime is being destroyed; WEIR_EFORKED.
//   threads  weir_spawn: poll. weir_runtime_spawn: any.
WEIR_API WEIR_MUST_USE int weir_spawn(struct weir_context *context,
                                      const struct weir_future *future, size_t future_bytes,
                                      unsigned flags, struct weir_handle *handle);
WEIR_API WEIR_MUST_USE int weir_runtime_spawn(struct weir_runtime *runtime,
                                              const struct weir_future *future, size_t future_bytes,
                                              unsigned flags, struct weir_handle *handle);

// Asks the task to end: at its next turn its future is dropped instead of polled and its result is
// WEIR_ECANCELED. Does nothing to a task that has ended.
//   threads  any.
WEIR_API void weir_task_cancel(struct weir_handle handle);

// Gives up the interest in the task's end; the task goes on. Does nothing to a zeroed handle.
//   threads  any; once.
WEIR_API void weir_task_detach(struct weir_handle handle);

// Future: the end of a task. Its result is the task's. Dropping it, also unpolled, detaches.
struct weir_task_join {
    struct weir_future future;
    struct weir_handle handle;
};
WEIR_API void weir_task_join_init(struct weir_task_join *join, struct weir_handle handle);

// Runs a future to its end from outside and gives its result: the caller sleeps, or drives the
// runtime when that has no workers.
//   returns  the result, or what weir_runtime_spawn returns.
//   threads  any but a worker.
WEIR_API int weir_block_on(struct weir_runtime *runtime, const struct weir_future *future,
                           size_t future_bytes);

// ---- Scopes: children that may not outlive their parent ----

// Lives in the frame of the task that owns the children; zeroed memory is an empty scope. Once it
// has had children its memory is not to be used for anything else before a weir_scope_wait on it
// was ready. When that
// task ends while children are left they are cancelled, and its frame stays valid until the last of
// them has ended: a child may point into its parent's frame.
struct weir_scope {
    struct weir_task *owner;    // private from here on
    struct weir_scope *next;    // of the owner's scopes
    struct weir_task *children; // intrusive list
    WEIR_ATOMIC uint32_t lock;
    uint32_t children_count;
    struct weir_waker waiter;
};

// As weir_spawn, into the scope; the child's result is not kept.
//   threads  poll of the owning task.
WEIR_API WEIR_MUST_USE int weir_scope_spawn(struct weir_scope *scope, struct weir_context *context,
                                            const struct weir_future *future, size_t future_bytes,
                                            unsigned flags);
// Cancels every child.
//   threads  poll of the owning task.
WEIR_API void weir_scope_cancel(struct weir_scope *scope, struct weir_context *context);

// Future: every child of the scope has ended. Dropping it leaves them running.
struct weir_scope_wait {
    struct weir_future future;
    struct weir_scope *scope;
};
WEIR_API void weir_scope_wait_init(struct weir_scope_wait *wait, struct weir_scope *scope);

// ---- Time ----

struct weir_timer { // private
    struct weir_timer *next, *prev;
    uint64_t deadline_ns;
    struct weir_waker waker;
    struct weir_worker *worker; // whose wheel it is in
    WEIR_ATOMIC uint32_t state;
    uint16_t level, slot;
};

// Future: a moment in time; never early. Result 0.
struct weir_sleep {
    struct weir_future future;
    uint64_t deadline_ns; // absolute once started
    uint64_t duration_ns;
    struct weir_timer timer;
};
WEIR_API void weir_sleep_init(struct weir_sleep *sleep, uint64_t duration_ns);
WEIR_API void weir_sleep_until_init(struct weir_sleep *sleep, uint64_t deadline_ns);

// What an interval does about ticks that were missed because nobody polled in time.
enum weir_missed {
    WEIR_MISSED_BURST, // catches up: late ticks come at once, one after the other
    WEIR_MISSED_DELAY, // the next tick is a period after this one was seen
    WEIR_MISSED_SKIP   // the next tick is the next multiple of the period
};

// Future, ready again and again: each await gives one tick. result: ticks skipped before this one,
// at most INT32_MAX. The first tick comes after one period.
struct weir_interval {
    struct weir_future future;
    uint64_t period_ns;
    uint64_t next_ns;
    enum weir_missed missed;
    struct weir_timer timer;
};
// period_ns must not be 0.
WEIR_API void weir_interval_init(struct weir_interval *interval, uint64_t period_ns,
                                 enum weir_missed missed);

// Future: the child's end or the duration's, whichever is first; the child wins a tie. Result: the
// child's, or WEIR_ETIMEOUT, and then the child has been dropped.
struct weir_timeout {
    struct weir_future future;
    struct weir_future *child;
    struct weir_sleep sleep;
};
WEIR_API void weir_timeout_init(struct weir_timeout *timeout, struct weir_future *child,
                                uint64_t duration_ns);

// Future: lets every other ready task run first. Result 0.
struct weir_yield {
    struct weir_future future;
};
WEIR_API void weir_yield_init(struct weir_yield *yield);

// ---- Synchronisation between tasks ----
//
// The objects live in memory of the caller, are initialised with the runtime whose tasks wait on
// them, and must not move or go while somebody waits. `context` is the poll the call is made from,
// or NULL outside of one.

struct weir_wait_node { // private
    struct weir_wait_node *next, *prev;
    struct weir_waker waker;
    uint32_t state;
};
struct weir_wait_list { // private
    const struct weir_os *os;
    WEIR_ATOMIC uint32_t lock;
    struct weir_wait_node *first, *last;
};

// A wake-up that is kept, once, when nobody waits (a permit of one).
struct weir_notify {
    struct weir_wait_list waiters;
    bool permit;
};
WEIR_API void weir_notify_init(struct weir_notify *notify, struct weir_runtime *runtime);
// Wakes the longest waiter, or leaves the permit.      threads  any.
WEIR_API void weir_notify_one(struct weir_notify *notify, struct weir_context *context);
// Wakes all present waiters; leaves no permit.         threads  any.
WEIR_API void weir_notify_all(struct weir_notify *notify, struct weir_context *context);
// Future: a notification. A dropped waiter that was already chosen passes it on. Result 0.
struct weir_notified {
    struct weir_future future;
    struct weir_notify *notify;
    struct weir_wait_node node;
};
WEIR_API void weir_notified_init(struct weir_notified *notified, struct weir_notify *notify);

// A mutex held across awaits. First come, first served.
struct weir_mutex {
    struct weir_wait_list waiters;
    bool locked;
};
WEIR_API void weir_mutex_init(struct weir_mutex *mutex, struct weir_runtime *runtime);
WEIR_API WEIR_MUST_USE bool weir_mutex_try_lock(struct weir_mutex *mutex);
// Hands the mutex to the longest waiter.               threads  any; by the holder.
WEIR_API void weir_mutex_unlock(struct weir_mutex *mutex, struct weir_context *context);
// Future: the mutex is yours. Dropped after it was granted but not yet seen: unlocked. Result 0.
struct weir_mutex_lock {
    struct weir_future future;
    struct weir_mutex *mutex;
    struct weir_wait_node node;
};
WEIR_API void weir_mutex_lock_init(struct weir_mutex_lock *lock, struct weir_mutex *mutex);

// A bounded queue of items of one size, many senders, many receivers, first in first out.
//   memory   `items` has room for items_max * item_bytes and is the caller's.
struct weir_channel {
    struct weir_wait_list senders;
    struct weir_wait_list receivers; // its lock is unused: one lock, the senders'
    unsigned char *items;
    uint32_t item_bytes, items_max, first, count;
    uint32_t reserved; // of `count`: promised to receivers that were woken
    bool closed;
};
WEIR_API void weir_channel_init(struct weir_channel *channel, struct weir_runtime *runtime,
                                void *items, uint32_t item_bytes, uint32_t items_max);
// returns  0; WEIR_EFULL; WEIR_ECLOSED.                threads  any.
WEIR_API WEIR_MUST_USE int weir_channel_try_send(struct weir_channel *channel,
                                                 struct weir_context *context, const void *item);
// returns  0; -EAGAIN empty; WEIR_ECLOSED empty and closed.     threads  any.
WEIR_API WEIR_MUST_USE int weir_channel_try_recv(struct weir_channel *channel,
                                                 struct weir_context *context, void *item);
// No more is taken; what is inside can still be received.       threads  any.
WEIR_API void weir_channel_close(struct weir_channel *channel, struct weir_context *context);
// Futures. result: 0 or WEIR_ECLOSED. `item` is copied when ready and must live until then.
struct weir_channel_send {
    struct weir_future future;
    struct weir_channel *channel;
    const void *item;
    struct weir_wait_node node;
};
struct weir_channel_recv {
    struct weir_future future;
    struct weir_channel *channel;
    void *item;
    struct weir_wait_node node;
};
WEIR_API void weir_channel_send_init(struct weir_channel_send *send, struct weir_channel *channel,
                                     const void *item);
WEIR_API void weir_channel_recv_init(struct weir_channel_recv *recv, struct weir_channel *channel,
                                     void *item);

// One value from one sender to one receiver, without a lock.
struct weir_oneshot {
    WEIR_ATOMIC uint32_t state;
    int64_t value;
    struct weir_waker waker;
};
WEIR_API void weir_oneshot_init(struct weir_oneshot *oneshot);
// returns  0; WEIR_ECLOSED the receiver is gone.       threads  any; once, this or abandon.
WEIR_API int weir_oneshot_send(struct weir_oneshot *oneshot, struct weir_context *context,
                               int64_t value);
// The sender gives up: the receiver gets WEIR_ECLOSED.
WEIR_API void weir_oneshot_abandon(struct weir_oneshot *oneshot, struct weir_context *context);
// Future: the value. result: 0 and `value`, or WEIR_ECLOSED. Dropping it, also unpolled, tells the
// sender.
struct weir_oneshot_recv {
    struct weir_future future;
    struct weir_oneshot *oneshot;
    int64_t value;
};
WEIR_API void weir_oneshot_recv_init(struct weir_oneshot_recv *recv, struct weir_oneshot *oneshot);

// ---- Sockets ----

struct weir_iovec { // same layout as struct iovec
    const void *bytes;
    size_t bytes_count;
};

// A socket address as the system calls want it.
struct weir_address {
    unsigned char bytes[112] __attribute__((aligned(8)));
    uint32_t bytes_count;
};

// '@' as the first character: abstract.
//   returns  0; -ENAMETOOLONG; -EINVAL the path is empty.
WEIR_API WEIR_MUST_USE int weir_address_unix(struct weir_address *address, const char *path);

// Future: the addresses of a name, looked up on a thread of its own unless the name is numeric.
// result: how many, at least 1; WEIR_ENAME; WEIR_ELIMIT too many lookups under way.
struct weir_resolve {
    struct weir_future future;
    char host[256];
    uint16_t port;
    uint32_t lookup; // private
    struct weir_address addresses[8];
};
// returns  0; WEIR_ENAME the name is empty or too long.
WEIR_API WEIR_MUST_USE int weir_resolve_init(struct weir_resolve *resolve, const char *host,
                                             uint16_t port);

// An open socket that the runtime watches. All-zero is a closed one. One reader and one writer task
// at a time; they may be different ones.
struct weir_stream {
    struct weir_runtime *runtime;
    uint32_t source; // private
    uint32_t generation;
    int fd;
};
// Takes over a nonblocking descriptor, also of a listener or a datagram socket; weir_stream_close
// closes it. A call on a closed stream says -EBADF.
//   returns  0; WEIR_ELIMIT; WEIR_EMEMORY; -errno; on failure the descriptor stays the caller's.
//   threads  any.
WEIR_API WEIR_MUST_USE int weir_stream_open(struct weir_stream *stream,
                                            struct weir_runtime *runtime, int fd);
// Opens a socket of `type` bound to the address, and listening if it is SOCK_STREAM.
//   returns  as weir_stream_open.
WEIR_API WEIR_MUST_USE int weir_stream_listen(struct weir_stream *stream,
                                              struct weir_runtime *runtime,
                                              const struct weir_address *address, int type,
                                              int backlog);
// Closes; nothing may be waiting on it.                threads  any.
WEIR_API void weir_stream_close(struct weir_stream *stream);
// returns  0 or -errno.
WEIR_API int weir_stream_shutdown(struct weir_stream *stream, int how); // enum weir_socket_shutdown

// Future: readiness in one direction (WEIR_READABLE or WEIR_WRITABLE of os.h), errors included. It
// may be spurious. result 0. After -EAGAIN from the socket call weir_ready_again and await anew.
struct weir_stream_ready {
    struct weir_future future;
    struct weir_stream *stream;
    uint32_t direction;
    uint32_t tick; // private: which readiness was seen
};
WEIR_API void weir_stream_ready_init(struct weir_stream_ready *ready, struct weir_stream *stream,
                                     uint32_t direction);
// The operation said -EAGAIN: forget the readiness that was seen, unless a newer one has come, and
// make the future awaitable again.                     threads  poll.
WEIR_API void weir_stream_ready_again(struct weir_stream_ready *ready);

// Future: opens a socket of `type` (SOCK_STREAM or SOCK_DGRAM) and the address's family and
// connects it. result: 0 and `stream` is open, or -errno. Dropping it closes the socket.
struct weir_connect {
    struct weir_future future;
    struct weir_runtime *runtime;
    struct weir_stream *stream;
    struct weir_address address;
    int type;
    struct weir_stream_ready ready;
};
WEIR_API void weir_connect_init(struct weir_connect *connect, struct weir_stream *stream,
                                const struct weir_address *address, int type);

// Future: the next connection of a listener. result: 0 and `stream` is open, or -errno.
struct weir_accept {
    struct weir_future future;
    struct weir_stream *listener, *stream;
    struct weir_stream_ready ready;
};
WEIR_API void weir_accept_init(struct weir_accept *accept, struct weir_stream *listener,
                               struct weir_stream *stream);

// Future: at least one byte. result: the count (at most INT32_MAX), 0 at the end of stream, -errno.
struct weir_read {
    struct weir_future future;
    struct weir_stream *stream;
    void *bytes;
    size_t bytes_max;
    struct weir_stream_ready ready;
};
WEIR_API void weir_read_init(struct weir_read *read, struct weir_stream *stream, void *bytes,
                             size_t bytes_max);

// Future: all the bytes handed to the kernel. result: 0 or -errno; `written` counts either way.
struct weir_write {
    struct weir_future future;
    struct weir_stream *stream;
    const void *bytes;
    size_t bytes_count, written;
    struct weir_stream_ready ready;
};
WEIR_API void weir_write_init(struct weir_write *write, struct weir_stream *stream,
                              const void *bytes, size_t bytes_count);

#ifdef __cplusplus
}
#endif

#endif
