// The tasks of `weir recv`, on weir's own runtime.
//
// One thread, no worker: weir_block_on drives everything. A root task waits for connections,
// signals and the order to stop, and owns a scope with one task per connection. What was read is
// written before more is read, so a slow output slows the senders down.
//
// Stopping loses nothing that a sender may believe delivered. A Unix socket is shut down for both
// directions, which refuses more but still gives what it holds. On TCP only our direction is
// closed: the sender notices and closes, and until then what arrives is read.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/assert.h"
#include "runtime/os.h"
#include "writer/command_collect.h"

static const char command[] = "recv";

#define READ_BYTES ((size_t)256 << 10)
// With --slow: reads per second.
#define SLOW_STEPS 20
// A sender that has not noticed for so long that we want to end is cut off.
#define FINISH_NS (2 * WEIR_NS_PER_S)
#define ACCEPT_RETRY_NS (100 * WEIR_NS_PER_MS)

static void collect_stop(struct weir_collect *collect, struct weir_context *context)
{
    if (!collect->stopping) {
        collect->stopping = true;
        collect->stopping_ns = weir_command_now_ns();
        weir_notify_all(&collect->stop, context);
    }
}

// Takes a signal off its descriptor. returns whether there was one.
static bool signal_take(struct weir_collect *collect)
{
    struct signalfd_siginfo taken;
    return read(collect->signals.fd, &taken, sizeof(taken)) == (ssize_t)sizeof(taken);
}

// While nobody takes the output.
bool weir_collect_patient(void *context)
{
    struct weir_collect *collect = context;
    if (signal_take(collect)) {
        collect_stop(collect, NULL);
    }
    return !collect->stopping || weir_command_now_ns() - collect->stopping_ns < FINISH_NS;
}

// With --once, how long a TCP sender has to come back: it changes connections as it goes.
#define ONCE_QUIET_NS WEIR_NS_PER_S

// ---- Connections ----

struct connection {
    struct weir_future future;
    struct weir_collect *collect;
    struct weir_stream stream;
    struct weir_stream_ready ready;
    struct weir_notified stop;
    struct weir_sleep nap; // --slow; once finishing, when to give up
    enum weir_unframing unframing;
    unsigned char *bytes;
    size_t filled, capacity;
    uint64_t number, records;
    int64_t broken; // what weir_record_next found wrong
    bool finishing;
    int winner;
};

static void connection_say(const struct connection *me, const char *what)
{
    if (!me->collect->quiet) {
        weir_command_say(command, "connection %llu: %s", (unsigned long long)me->number, what);
    }
}

// How many more records may be read, by --drop-after and --exit-after.
static uint64_t connection_limit(const struct connection *me)
{
    const struct weir_collect *collect = me->collect;
    uint64_t limit = UINT64_MAX;
    if (collect->drop_after > 0 && !me->finishing) {
        limit = collect->drop_after - me->records;
    }
    if (collect->exit_after > 0 && collect->exit_after - collect->records < limit) {
        limit = collect->exit_after - collect->records;
    }
    return limit;
}

// Writes the whole records in the buffer, `limit` at most. returns the bytes they took.
static size_t records_take(struct connection *me, uint64_t limit)
{
    size_t at = 0;
    while (limit > 0) {
        const unsigned char *record = NULL;
        size_t bytes = 0;
        int64_t took =
            weir_record_next(&me->unframing, me->bytes + at, me->filled - at, &record, &bytes);
        if (took <= 0) {
            me->broken = took;
            break;
        }
        weir_output_record(&me->collect->output, record, bytes);
        at += (size_t)took;
        me->records++;
        me->collect->records++;
        me->collect->bytes += bytes;
        limit--;
    }
    return at;
}

static bool connection_room(struct connection *me, size_t bytes)
{
    if (me->capacity - me->filled >= bytes) {
        return true;
    }
    size_t capacity = me->capacity * 2 > me->filled + bytes ? me->capacity * 2 : me->filled + bytes;
    unsigned char *grown = realloc(me->bytes, capacity);
    if (grown == NULL) {
        return false;
    }
    me->bytes = grown;
    me->capacity = capacity;
    return true;
}

// Reads once and writes the records that are complete. Under a limit it looks first and then takes
// exactly the records that it may have, because what we read counts as delivered.
// returns the bytes read, 0 at the end, or a negative code.
static int64_t connection_read(struct connection *me)
{
    uint64_t limit = connection_limit(me);
    if (limit == 0) {
        return 0;
    }
    size_t most = READ_BYTES;
    if (me->collect->slow_bytes > 0 && me->collect->slow_bytes / SLOW_STEPS < most) {
        most = me->collect->slow_bytes / SLOW_STEPS + 1;
    }
    if (!connection_room(me, most)) {
        return WEIR_EMEMORY;
    }
    bool limited = limit != UINT64_MAX;
    size_t before = me->filled;
    unsigned char *to = me->bytes + before;
    ssize_t count = recv(me->stream.fd, to, most, MSG_DONTWAIT | (limited ? MSG_PEEK : 0));
    if (count <= 0) {
        return count < 0 ? -errno : 0;
    }
    me->filled += (size_t)count;
    uint64_t records = me->records;
    size_t took = records_take(me, limit);
    if (limited) {
        if (me->records - records == limit) {
            weir_assert(took > before); // whole records were taken off the buffer before
            count = (ssize_t)(took - before);
        }
        if (recv(me->stream.fd, to, (size_t)count, MSG_DONTWAIT) != count) {
            return -EIO; // nobody else reads it
        }
        me->filled = before + (size_t)count;
    }
    me->filled -= took;
    memmove(me->bytes, me->bytes + took, me->filled);
    weir_output_flush(&me->collect->output);
    return me->broken != 0 ? me->broken : count;
}

static void connection_finish(struct connection *me)
{
    me->finishing = true;
    (void)weir_stream_shutdown(&me->stream, me->collect->socket.unix_domain ? WEIR_SHUTDOWN_BOTH
                                                                            : WEIR_SHUTDOWN_WRITE);
    weir_sleep_init(&me->nap, FINISH_NS);
}

// What follows a read. returns whether the connection goes on.
static bool connection_goes_on(struct connection *me, int64_t count, struct weir_context *context)
{
    struct weir_collect *collect = me->collect;
    if (count < 0 && count != -EAGAIN) {
        connection_say(me, count == WEIR_EDELIMITER ? "not octet counting: closed"
                           : count == WEIR_ETOOBIG  ? "a record is too long: closed"
                                                    : weir_command_error_text((int)count));
        collect->faults++;
    }
    if (collect->output.error != 0 ||
        (collect->exit_after > 0 && collect->records >= collect->exit_after)) {
        collect_stop(collect, context);
        return false;
    }
    if (count > 0 && collect->drop_after > 0 && me->records >= collect->drop_after &&
        !me->finishing) {
        connection_say(me, "dropped");
        if (collect->socket.unix_domain) {
            return false; // what was not read comes again
        }
        connection_finish(me); // TCP's sender may believe that we have it
    }
    return count > 0 || count == -EAGAIN;
}

static void connection_end(struct connection *me, struct weir_context *context)
{
    struct weir_collect *collect = me->collect;
    char text[120];
    if (me->filled > 0) {
        collect->torn++;
        snprintf(text, sizeof(text), "%zu bytes of an unfinished record at its end: not written",
                 me->filled);
        connection_say(me, text);
    }
    snprintf(text, sizeof(text), "over, %llu records", (unsigned long long)me->records);
    connection_say(me, text);
    collect->open--;
    if (collect->once) {
        weir_notify_all(&collect->stop, context); // has the accepting task look again
    }
    free(me->bytes);
    weir_stream_close(&me->stream);
}

static enum weir_poll connection_poll(struct weir_future *future, struct weir_context *context)
{
    struct connection *me = (struct connection *)future;
    int64_t count;
    weir_begin(me);
    for (;;) {
        if (me->collect->stopping && !me->finishing) {
            connection_finish(me);
        }
        weir_stream_ready_init(&me->ready, &me->stream, WEIR_READABLE);
        weir_notified_init(&me->stop, &me->collect->stop);
        weir_select(me, context, me->winner, NULL, &me->ready.future,
                    me->finishing ? &me->nap.future : &me->stop.future);
        weir_drop(&me->stop.future, context);
        if (me->winner == 1) {
            weir_drop(&me->ready.future, context);
            if (me->finishing) {
                connection_say(me, "does not end: cut off");
                break;
            }
            continue;
        }
        count = connection_read(me);
        if (!connection_goes_on(me, count, context)) {
            break;
        }
        if (count == -EAGAIN) {
            weir_stream_ready_again(&me->ready);
        } else if (me->collect->slow_bytes > 0 && !me->finishing) {
            weir_sleep_init(&me->nap, (uint64_t)count * WEIR_NS_PER_S / me->collect->slow_bytes);
            weir_await(me, context, &me->nap);
        }
    }
    weir_exit(me);
    weir_drop(&me->ready.future, context);
    weir_drop(&me->stop.future, context);
    weir_drop(&me->nap.future, context);
    connection_end(me, context);
    weir_end(me);
}

// ---- The root task ----

struct serve {
    struct weir_future future;
    struct weir_collect *collect;
    struct weir_accept accept;
    struct weir_stream accepted;
    struct weir_stream_ready ready; // datagrams
    struct weir_stream_ready signal;
    struct weir_notified stop;
    struct weir_sleep nap;
    struct weir_scope scope;
    struct weir_scope_wait wait;
    unsigned char *bytes; // datagrams
    int winner;
};

static void connection_start(struct serve *me, struct weir_context *context)
{
    struct weir_collect *collect = me->collect;
    struct connection connection = {.future = {.poll = connection_poll},
                                    .collect = collect,
                                    .stream = me->accepted,
                                    .unframing = collect->unframing,
                                    .number = ++collect->connections};
    connection_say(&connection, "open");
    int code = weir_scope_spawn(&me->scope, context, &connection.future, sizeof(connection),
                                WEIR_SPAWN_PINNED);
    if (code == 0) {
        collect->open++;
    } else {
        connection_say(&connection, weir_command_error_text(code));
        collect->faults++;
        weir_stream_close(&me->accepted);
    }
    me->accepted = (struct weir_stream){0};
}

// Connections that were made before we stopped have a right to be read.
static void backlog_take(struct serve *me, struct weir_context *context)
{
    int fd = accept4(me->collect->listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    while (fd >= 0) {
        if (weir_stream_open(&me->accepted, me->collect->runtime, fd) == 0) {
            connection_start(me, context);
        } else {
            (void)close(fd);
        }
        fd = accept4(me->collect->listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    }
}

static void signal_seen(struct serve *me, struct weir_context *context)
{
    if (!signal_take(me->collect)) {
        weir_stream_ready_again(&me->signal);
    } else if (me->collect->stopping) {
        weir_scope_cancel(&me->scope, context); // asked twice
    } else {
        collect_stop(me->collect, context);
    }
}

// --once: nobody is connected any more, and for how long a sender may still come back.
static bool serve_quiet(const struct weir_collect *collect)
{
    return collect->once && collect->connections > 0 && collect->open == 0;
}

static int serve_poll_any(struct serve *me, struct weir_context *context)
{
    struct weir_future *const waits[] = {&me->signal.future, &me->stop.future, &me->accept.future,
                                         &me->nap.future};
    return weir_poll_any(waits, serve_quiet(me->collect) ? 4 : 3, NULL, context);
}

static enum weir_poll serve_stream_poll(struct weir_future *future, struct weir_context *context)
{
    struct serve *me = (struct serve *)future;
    struct weir_collect *collect = me->collect;
    weir_begin(me);
    while (!collect->stopping) {
        weir_accept_init(&me->accept, &collect->listener, &me->accepted);
        weir_stream_ready_init(&me->signal, &collect->signals, WEIR_READABLE);
        weir_notified_init(&me->stop, &collect->stop);
        weir_sleep_init(&me->nap, collect->socket.unix_domain ? 0 : ONCE_QUIET_NS);
        weir_until(me, (me->winner = serve_poll_any(me, context)) >= 0);
        weir_drop(&me->nap.future, context);
        if (me->winner == 0) {
            signal_seen(me, context);
        } else if (me->winner == 3) {
            collect_stop(collect, context);
        } else if (me->winner == 2 && me->accept.future.result == 0) {
            connection_start(me, context);
        } else if (me->winner == 2) {
            weir_command_say(command, "accept: %s",
                             weir_command_error_text(me->accept.future.result));
            weir_sleep_init(&me->nap, ACCEPT_RETRY_NS); // descriptors, most likely
            weir_await(me, context, &me->nap);
        }
        weir_drop(&me->signal.future, context);
        weir_drop(&me->stop.future, context);
        weir_drop(&me->accept.future, context);
    }
    backlog_take(me, context);
    weir_stream_close(&collect->listener);
    weir_scope_wait_init(&me->wait, &me->scope);
    do {
        weir_stream_ready_init(&me->signal, &collect->signals, WEIR_READABLE);
        weir_select(me, context, me->winner, NULL, &me->wait.future, &me->signal.future);
        if (me->winner == 1) {
            signal_seen(me, context);
        }
        weir_drop(&me->signal.future, context);
    } while (me->winner == 1);
    weir_exit(me);
    weir_drop(&me->accept.future, context);
    weir_drop(&me->signal.future, context);
    weir_drop(&me->stop.future, context);
    weir_drop(&me->nap.future, context);
    weir_drop(&me->wait.future, context);
    weir_end(me);
}

// One datagram is one record, whatever it holds. returns its bytes, or -EAGAIN when there is none.
static int64_t datagram_take(struct serve *me, struct weir_context *context)
{
    struct weir_collect *collect = me->collect;
    ssize_t count =
        recvfrom(collect->listener.fd, me->bytes, WEIR_RECORD_BYTES_MAX, MSG_DONTWAIT, NULL, NULL);
    if (count < 0) {
        return errno == EAGAIN ? -EAGAIN : 0; // an error that was pending is gone now
    }
    weir_output_record(&collect->output, me->bytes, (size_t)count);
    weir_output_flush(&collect->output);
    collect->records++;
    collect->bytes += (uint64_t)count;
    if (collect->output.error != 0 ||
        (collect->exit_after > 0 && collect->records >= collect->exit_after)) {
        collect_stop(collect, context);
    }
    return count;
}

static enum weir_poll serve_datagram_poll(struct weir_future *future, struct weir_context *context)
{
    struct serve *me = (struct serve *)future;
    struct weir_collect *collect = me->collect;
    int64_t count;
    weir_begin(me);
    while (!collect->stopping) {
        weir_stream_ready_init(&me->ready, &collect->listener, WEIR_READABLE);
        weir_stream_ready_init(&me->signal, &collect->signals, WEIR_READABLE);
        weir_select(me, context, me->winner, NULL, &me->signal.future, &me->ready.future);
        if (me->winner == 0) {
            signal_seen(me, context);
        } else if ((count = datagram_take(me, context)) < 0) {
            weir_stream_ready_again(&me->ready);
        } else if (collect->slow_bytes > 0) {
            weir_sleep_init(&me->nap, (uint64_t)count * WEIR_NS_PER_S / collect->slow_bytes);
            weir_await(me, context, &me->nap);
        }
        weir_drop(&me->signal.future, context);
        weir_drop(&me->ready.future, context);
    }
    while (collect->output.error == 0 &&
           (collect->exit_after == 0 || collect->records < collect->exit_after) &&
           datagram_take(me, context) >= 0) {
    }
    weir_exit(me);
    weir_drop(&me->ready.future, context);
    weir_drop(&me->signal.future, context);
    weir_drop(&me->nap.future, context);
    weir_end(me);
}

int weir_collect_run(struct weir_collect *collect)
{
    struct serve serve = {.collect = collect};
    serve.future.poll = collect->socket.stream ? serve_stream_poll : serve_datagram_poll;
    if (!collect->socket.stream) {
        serve.bytes = malloc(WEIR_RECORD_BYTES_MAX);
        if (serve.bytes == NULL) {
            return WEIR_EMEMORY;
        }
    }
    int code = weir_block_on(collect->runtime, &serve.future, sizeof(serve));
    free(serve.bytes);
    return code;
}
