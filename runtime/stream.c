// Streams: open, listen, close, and the futures that wait for readiness, accept, read and write.
//
// Every future here is the same loop: wait until the reactor thinks the direction ready, make the
// nonblocking call, and on -EAGAIN forget that readiness and wait anew. A future registers nothing
// but a waker in the reactor, which its drop takes out again.
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "runtime/assert.h"
#include "runtime/cold.h"
#include "runtime/runtime.h"
#include "runtime/stream.h"
#include "runtime/wait.h"
#include "weir.h"

// Where a future stops that is to be polled again.
static enum weir_poll future_wait(struct weir_future *future)
{
    future->resume = WEIR_RESUME_WAITING;
    return WEIR_PENDING;
}

static const struct weir_os *stream_os(const struct weir_stream *stream)
{
    return &stream->runtime->os;
}

// ---- Open and close ----

WEIR_COLD int weir_stream_open(struct weir_stream *stream, struct weir_runtime *runtime, int fd)
{
    weir_assert(runtime != NULL);
    weir_assert(fd >= 0);
    struct weir_stream opened = {.runtime = runtime, .fd = fd};
    int code = weir_reactor_add(&runtime->reactor, fd, &opened.source, &opened.generation);
    if (code == 0) {
        *stream = opened;
    }
    return code;
}

// Binds, and listens if it is a stream socket.
static int socket_listen(const struct weir_os *os, int fd, const struct weir_address *address,
                         int type, int backlog)
{
    int code = 0;
    // Else a restarted server could not have its port back while old connections linger. Not for
    // datagrams, where it would let two sockets share the port.
    if (type == SOCK_STREAM && weir_address_family(address) != AF_UNIX) {
        code = os->socket_option(os->self, fd, WEIR_SOCKET_REUSE_ADDRESS, 1);
    }
    if (code == 0) {
        code = os->socket_bind(os->self, fd, address);
    }
    if (code == 0 && type == SOCK_STREAM) {
        code = os->socket_listen(os->self, fd, backlog);
    }
    return code;
}

WEIR_COLD int weir_stream_listen(struct weir_stream *stream, struct weir_runtime *runtime,
                                 const struct weir_address *address, int type, int backlog)
{
    weir_assert(runtime != NULL);
    weir_assert(type == SOCK_STREAM || type == SOCK_DGRAM);
    const struct weir_os *os = &runtime->os;
    int fd = os->socket_open(os->self, weir_address_family(address), type);
    if (fd < 0) {
        return fd;
    }
    int code = socket_listen(os, fd, address, type, backlog);
    if (code == 0) {
        // Listening before it is watched: an idle socket would report a hang-up.
        code = weir_stream_open(stream, runtime, fd);
    }
    if (code < 0) {
        (void)os->socket_close(os->self, fd);
    }
    return code;
}

WEIR_COLD void weir_stream_close(struct weir_stream *stream)
{
    if (stream->runtime == NULL) {
        return;
    }
    const struct weir_os *os = stream_os(stream);
    // A forked child only closes its copy: the poller is shared with the parent.
    if (!weir_runtime_forked(stream->runtime)) {
        weir_reactor_remove(&stream->runtime->reactor, stream->source, stream->generation);
    }
    (void)os->socket_close(os->self, stream->fd);
    *stream = (struct weir_stream){0};
}

int weir_stream_shutdown(struct weir_stream *stream, int how)
{
    weir_assert(how >= WEIR_SHUTDOWN_READ && how <= WEIR_SHUTDOWN_BOTH);
    if (stream->runtime == NULL) {
        return -EBADF;
    }
    const struct weir_os *os = stream_os(stream);
    return os->socket_shutdown(os->self, stream->fd, (enum weir_socket_shutdown)how);
}

// ---- Readiness ----

static enum weir_poll ready_poll(struct weir_future *future, struct weir_context *context)
{
    struct weir_stream_ready *ready = (struct weir_stream_ready *)future;
    struct weir_stream *stream = ready->stream;
    enum weir_readiness direction = (enum weir_readiness)ready->direction;
    struct weir_waker waker = weir_context_waker(context);
    if (future->resume == WEIR_RESUME_EXIT) {
        // Closed before its waiter was dropped: the reactor has forgotten the waker already.
        if (stream->runtime != NULL) {
            weir_reactor_forget(&stream->runtime->reactor, stream->source, stream->generation,
                                direction, waker);
        }
        return weir_leaf_done(future, WEIR_ECANCELED);
    }
    if (stream->runtime == NULL) {
        return weir_leaf_done(future, -EBADF);
    }
    if (!weir_context_spend(context)) {
        return WEIR_PENDING; // as started as it was before
    }
    if (weir_reactor_ready(&stream->runtime->reactor, stream->source, stream->generation, direction,
                           waker, &ready->tick)) {
        return weir_leaf_done(future, 0);
    }
    return future_wait(future);
}

void weir_stream_ready_init(struct weir_stream_ready *ready, struct weir_stream *stream,
                            uint32_t direction)
{
    weir_assert(stream != NULL);
    weir_assert(direction == WEIR_READABLE || direction == WEIR_WRITABLE);
    memset(ready, 0, sizeof(*ready));
    ready->future.poll = ready_poll;
    ready->stream = stream;
    ready->direction = direction;
}

void weir_stream_ready_again(struct weir_stream_ready *ready)
{
    weir_assert(ready->future.resume == WEIR_RESUME_DONE);
    struct weir_stream *stream = ready->stream;
    if (stream->runtime != NULL) {
        weir_reactor_clear(&stream->runtime->reactor, stream->source, stream->generation,
                           (enum weir_readiness)ready->direction, ready->tick);
    }
    ready->future.resume = WEIR_RESUME_START;
}

// ---- Accept ----

// One connection, opened as a stream. returns 0, -EAGAIN none there, or -errno.
static int accept_once(struct weir_accept *accept)
{
    const struct weir_os *os = stream_os(accept->listener);
    int fd = os->socket_accept(os->self, accept->listener->fd);
    if (fd < 0) {
        return fd;
    }
    int code = weir_stream_open(accept->stream, accept->listener->runtime, fd);
    if (code < 0) {
        (void)os->socket_close(os->self, fd);
    }
    return code;
}

static enum weir_poll accept_poll(struct weir_future *future, struct weir_context *context)
{
    struct weir_accept *accept = (struct weir_accept *)future;
    if (future->resume == WEIR_RESUME_EXIT) {
        weir_drop(&accept->ready.future, context);
        return weir_leaf_done(future, WEIR_ECANCELED);
    }
    while (weir_future_poll(&accept->ready.future, context) == WEIR_READY) {
        if (accept->ready.future.result < 0) {
            return weir_leaf_done(future, accept->ready.future.result);
        }
        int code = accept_once(accept);
        if (code == -EAGAIN) {
            weir_stream_ready_again(&accept->ready);
        } else if (code != -EINTR && code != -ECONNABORTED) {
            return weir_leaf_done(future, code);
        } else if (!weir_context_spend(context)) {
            break; // that connection ended while it was queued; the next one after other tasks
        }
    }
    return future_wait(future);
}

void weir_accept_init(struct weir_accept *accept, struct weir_stream *listener,
                      struct weir_stream *stream)
{
    weir_assert(listener != NULL);
    weir_assert(stream != NULL);
    memset(accept, 0, sizeof(*accept));
    accept->future.poll = accept_poll;
    accept->listener = listener;
    accept->stream = stream;
    weir_stream_ready_init(&accept->ready, listener, WEIR_READABLE);
}

// ---- Read and write ----

static int64_t read_once(struct weir_read *read)
{
    const struct weir_os *os = stream_os(read->stream);
    int64_t count = os->socket_recv(os->self, read->stream->fd, read->bytes, read->bytes_max);
    weir_assert(count <= (int64_t)read->bytes_max);
    return count;
}

static enum weir_poll read_poll(struct weir_future *future, struct weir_context *context)
{
    struct weir_read *read = (struct weir_read *)future;
    if (future->resume == WEIR_RESUME_EXIT) {
        weir_drop(&read->ready.future, context);
        return weir_leaf_done(future, WEIR_ECANCELED);
    }
    while (weir_future_poll(&read->ready.future, context) == WEIR_READY) {
        if (read->ready.future.result < 0) {
            return weir_leaf_done(future, read->ready.future.result);
        }
        int64_t count = read_once(read);
        if (count == -EAGAIN) {
            weir_stream_ready_again(&read->ready);
        } else if (count != -EINTR) {
            return weir_leaf_done(future, (int32_t)count);
        } else if (!weir_context_spend(context)) {
            break; // interrupted again and again: goes on after other tasks
        }
    }
    return future_wait(future);
}

void weir_read_init(struct weir_read *read, struct weir_stream *stream, void *bytes,
                    size_t bytes_max)
{
    weir_assert(stream != NULL);
    weir_assert(bytes_max > 0); // else an answer of 0 would mean two things
    memset(read, 0, sizeof(*read));
    read->future.poll = read_poll;
    read->stream = stream;
    read->bytes = bytes;
    read->bytes_max = bytes_max < INT32_MAX ? bytes_max : INT32_MAX;
    weir_stream_ready_init(&read->ready, stream, WEIR_READABLE);
}

static int64_t write_once(struct weir_write *write)
{
    const struct weir_os *os = stream_os(write->stream);
    struct weir_iovec part = {(const char *)write->bytes + write->written,
                              write->bytes_count - write->written};
    int64_t count = os->socket_send(os->self, write->stream->fd, &part, 1);
    weir_assert(count <= (int64_t)part.bytes_count);
    return count;
}

static enum weir_poll write_poll(struct weir_future *future, struct weir_context *context)
{
    struct weir_write *write = (struct weir_write *)future;
    if (future->resume == WEIR_RESUME_EXIT) {
        weir_drop(&write->ready.future, context);
        return weir_leaf_done(future, WEIR_ECANCELED);
    }
    if (write->written == write->bytes_count) {
        return weir_leaf_done(future, 0); // nothing to write
    }
    while (weir_future_poll(&write->ready.future, context) == WEIR_READY) {
        if (write->ready.future.result < 0) {
            return weir_leaf_done(future, write->ready.future.result);
        }
        int64_t count = write_once(write);
        write->written += count > 0 ? (size_t)count : 0;
        if (write->written == write->bytes_count) {
            return weir_leaf_done(future, 0);
        }
        if (count == -EAGAIN) {
            weir_stream_ready_again(&write->ready);
        } else if (count <= 0 && count != -EINTR) {
            // A socket that takes nothing and says nothing would keep this loop busy for ever.
            return weir_leaf_done(future, count == 0 ? -EIO : (int32_t)count);
        } else if (!weir_context_spend(context)) {
            break; // the readiness stands: the next poll goes on at once
        }
    }
    return future_wait(future);
}

void weir_write_init(struct weir_write *write, struct weir_stream *stream, const void *bytes,
                     size_t bytes_count)
{
    weir_assert(stream != NULL);
    weir_assert(bytes != NULL || bytes_count == 0);
    memset(write, 0, sizeof(*write));
    write->future.poll = write_poll;
    write->stream = stream;
    write->bytes = bytes;
    write->bytes_count = bytes_count;
    weir_stream_ready_init(&write->ready, stream, WEIR_WRITABLE);
}
