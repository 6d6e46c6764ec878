// Connect: the future that opens a socket and connects it without blocking.
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "runtime/assert.h"
#include "runtime/cold.h"
#include "runtime/runtime.h"
#include "runtime/stream.h"
#include "runtime/wait.h"
#include "weir.h"

static int socket_connect(const struct weir_os *os, int fd, const struct weir_address *address)
{
    int code;
    do {
        code = os->socket_connect(os->self, fd, address);
    } while (code == -EINTR);
    // What a repeated call may say of the interrupted one.
    return code == -EISCONN ? 0 : code == -EALREADY ? -EINPROGRESS : code;
}

// Opens and connects. returns 0 connected, -EINPROGRESS under way; then the stream is open.
static int connect_start(struct weir_connect *connect, struct weir_context *context)
{
    const struct weir_os *os = context->os;
    int fd = os->socket_open(os->self, weir_address_family(&connect->address), connect->type);
    if (fd < 0) {
        return fd;
    }
    int progress = socket_connect(os, fd, &connect->address);
    int code = progress == -EINPROGRESS ? 0 : progress;
    if (code == 0) {
        // Watched only now: a socket that is not even connecting would report a hang-up.
        code = weir_stream_open(connect->stream, context->runtime, fd);
    }
    if (code < 0) {
        (void)os->socket_close(os->self, fd);
        return code;
    }
    return progress;
}

// The outcome after a readiness: 0, -errno, or -EAGAIN when it was spurious, which SO_ERROR alone
// cannot tell from success.
static int connect_outcome(const struct weir_stream *stream)
{
    const struct weir_os *os = &stream->runtime->os;
    int state = os->socket_state(os->self, stream->fd);
    if (state < 0) {
        return state;
    }
    int error = os->socket_error(os->self, stream->fd);
    if (error != 0) {
        return error > 0 ? -error : error;
    }
    return state & (WEIR_WRITABLE | WEIR_HANGUP | WEIR_FAULT) ? 0 : -EAGAIN;
}

WEIR_COLD static enum weir_poll connect_poll(struct weir_future *future,
                                             struct weir_context *context)
{
    struct weir_connect *connect = (struct weir_connect *)future;
    if (future->resume == WEIR_RESUME_EXIT) {
        weir_drop(&connect->ready.future, context);
        weir_stream_close(connect->stream);
        return weir_leaf_done(future, WEIR_ECANCELED);
    }
    if (future->resume == WEIR_RESUME_START) {
        if (!weir_context_spend(context)) {
            return WEIR_PENDING;
        }
        connect->runtime = context->runtime;
        int code = connect_start(connect, context);
        if (code != -EINPROGRESS) {
            return weir_leaf_done(future, code);
        }
        weir_stream_ready_init(&connect->ready, connect->stream, WEIR_WRITABLE);
    }
    while (weir_future_poll(&connect->ready.future, context) == WEIR_READY) {
        int code = connect->ready.future.result;
        if (code == 0) {
            code = connect_outcome(connect->stream);
        }
        if (code == 0) {
            return weir_leaf_done(future, 0);
        }
        if (code != -EAGAIN) {
            weir_stream_close(connect->stream);
            return weir_leaf_done(future, code);
        }
        weir_stream_ready_again(&connect->ready);
    }
    future->resume = WEIR_RESUME_WAITING;
    return WEIR_PENDING;
}

WEIR_COLD void weir_connect_init(struct weir_connect *connect, struct weir_stream *stream,
                                 const struct weir_address *address, int type)
{
    weir_assert(stream != NULL);
    weir_assert(type == SOCK_STREAM || type == SOCK_DGRAM);
    memset(connect, 0, sizeof(*connect));
    connect->future.poll = connect_poll;
    connect->stream = stream;
    connect->address = *address;
    connect->type = type;
}
