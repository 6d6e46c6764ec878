// An echo server: each connection is a future, and a few threads poll them all.
//
//     ./echo_server @weir-echo            (a Unix socket: a path, or an abstract name with '@')
//
// Serves up to SESSIONS connections at once until SIGINT or SIGTERM.
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "weir.h"

#define SESSIONS 64
#define PAUSE_NS 100000000 // before another try, when there are no descriptors left, for instance

// The library's codes have a text of its own, the system's that of strerror.
static const char *text(int code)
{
    return -code < 4096 ? strerror(-code) : weir_error_text(code);
}

// What the sessions share; main's, and there until the last of them has ended.
struct server {
    struct weir_stream listener;
    struct weir_mutex turn; // a stream has one reader at a time: they take turns at accepting
    unsigned long served;   // written by whose turn it is
};

// Accepts a connection, echoes it to its end, and again. What must live across an await is in here.
struct session {
    struct weir_future future;
    struct server *server;
    struct weir_mutex_lock lock;
    struct weir_accept accept;
    struct weir_sleep pause;
    struct weir_stream stream;
    struct weir_read read;
    struct weir_write write;
    bool has_turn;
    unsigned char bytes[4096];
};

static void session_end_turn(struct session *me, struct weir_context *context)
{
    if (me->has_turn) {
        me->has_turn = false;
        weir_mutex_unlock(&me->server->turn, context);
    }
}

static enum weir_poll session_poll(struct weir_future *future, struct weir_context *context)
{
    struct session *me = (struct session *)future;
    weir_begin(me);
    for (;;) {
        weir_mutex_lock_init(&me->lock, &me->server->turn);
        weir_await(me, context, &me->lock);
        me->has_turn = true;
        weir_accept_init(&me->accept, &me->server->listener, &me->stream);
        weir_await(me, context, &me->accept);
        if (me->accept.future.result < 0) {
            fprintf(stderr, "echo_server: accept: %s\n", text(me->accept.future.result));
            weir_sleep_init(&me->pause, PAUSE_NS);
            weir_await(me, context, &me->pause);
            session_end_turn(me, context);
            continue;
        }
        me->server->served++;
        session_end_turn(me, context);
        for (;;) {
            weir_read_init(&me->read, &me->stream, me->bytes, sizeof(me->bytes));
            weir_await(me, context, &me->read);
            if (me->read.future.result <= 0) {
                break; // the end of the stream, or an error: either way this connection is over
            }
            weir_write_init(&me->write, &me->stream, me->bytes, (size_t)me->read.future.result);
            weir_await(me, context, &me->write);
            if (me->write.future.result < 0) {
                break;
            }
        }
        weir_stream_close(&me->stream);
    }
    weir_exit(me); // a session ends when it is cancelled, wherever it waits: undo all of that
    weir_drop(&me->lock.future, context);
    weir_drop(&me->accept.future, context);
    weir_drop(&me->pause.future, context);
    weir_drop(&me->read.future, context);
    weir_drop(&me->write.future, context);
    session_end_turn(me, context);
    weir_stream_close(&me->stream); // nothing happens to one that is not open
    weir_end(me);
}

// Starts the sessions, waits for a signal, ends them.
static int serve(struct weir_runtime *runtime, struct server *server, const sigset_t *signals)
{
    struct weir_handle handles[SESSIONS];
    int started = 0, error = 0, signal;
    for (; started < SESSIONS && error == 0; started += error == 0) {
        struct session session = {.future.poll = session_poll, .server = server};
        error = weir_runtime_spawn(runtime, &session.future, sizeof(session), WEIR_SPAWN_STEALABLE,
                                   &handles[started]);
    }
    if (error == 0) {
        printf("ready\n");
        fflush(stdout);
        (void)sigwait(signals, &signal);
    }
    for (int i = 0; i < started; i++) {
        weir_task_cancel(handles[i]);
    }
    for (int i = 0; i < started; i++) {
        struct weir_task_join join = {0};
        weir_task_join_init(&join, handles[i]);
        (void)weir_block_on(runtime, &join.future, sizeof(join)); // WEIR_ECANCELED
    }
    return error;
}

int main(int argc, char **argv)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL); // for sigwait; the runtime's threads block all of them
    struct weir_runtime *runtime;
    struct weir_runtime_options options = {.workers = 2};
    int error = weir_runtime_create(&runtime, &options);
    if (error < 0) {
        fprintf(stderr, "echo_server: %s\n", text(error));
        return 1;
    }
    struct server server = {.served = 0};
    struct weir_address address;
    weir_mutex_init(&server.turn, runtime);
    if ((error = weir_address_unix(&address, argc > 1 ? argv[1] : "@weir-echo")) == 0) {
        error = weir_stream_listen(&server.listener, runtime, &address, SOCK_STREAM, 128);
    }
    if (error == 0) {
        error = serve(runtime, &server, &signals);
        weir_stream_close(&server.listener); // nobody waits on it any more
    }
    weir_runtime_destroy(runtime);
    printf("%lu connections served: %s\n", server.served, error < 0 ? text(error) : "ok");
    return error < 0;
}
