// Sockets that echo.
//
// On each of so many socket pairs a task sends 64 bytes and waits for them to come back from
// another task, 20 times. The time of all, with one worker. 9,000 are 18,000 descriptors.
#include "tests/bench/bench.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "weir.h"

#define MESSAGE_BYTES 64u
#define ROUND_TRIPS 20u

static struct {
    struct weir_runtime *runtime;
    struct weir_stream *clients, *servers;
    uint32_t count;
    _Atomic uint32_t left;
    struct weir_notify done;
} bench;

// Either end: a client stops after a number of turns, a server at the end of the stream.
struct end {
    struct weir_future future;
    struct weir_stream *stream;
    struct weir_read read;
    struct weir_write write;
    uint32_t turns;
    char bytes[MESSAGE_BYTES];
};

static enum weir_poll client_poll(struct weir_future *future, struct weir_context *context)
{
    struct end *me = (struct end *)future;
    weir_begin(me);
    for (me->turns = 0; me->turns < ROUND_TRIPS; me->turns++) {
        weir_write_init(&me->write, me->stream, me->bytes, sizeof(me->bytes));
        weir_await(me, context, &me->write);
        bench_must(me->write.future.result, "write");
        weir_read_init(&me->read, me->stream, me->bytes, sizeof(me->bytes));
        weir_await(me, context, &me->read);
        bench_check(me->read.future.result == (int32_t)sizeof(me->bytes), "read");
    }
    if (atomic_fetch_sub(&bench.left, 1) == 1) {
        weir_notify_one(&bench.done, context);
    }
    weir_exit(me);
    weir_drop(&me->read.future, context);
    weir_drop(&me->write.future, context);
    weir_end(me);
}

static enum weir_poll server_poll(struct weir_future *future, struct weir_context *context)
{
    struct end *me = (struct end *)future;
    weir_begin(me);
    for (;;) {
        weir_read_init(&me->read, me->stream, me->bytes, sizeof(me->bytes));
        weir_await(me, context, &me->read);
        if (me->read.future.result <= 0) {
            weir_return(me, me->read.future.result);
        }
        weir_write_init(&me->write, me->stream, me->bytes, (size_t)me->read.future.result);
        weir_await(me, context, &me->write);
        bench_must(me->write.future.result, "write");
    }
    weir_exit(me);
    weir_drop(&me->read.future, context);
    weir_drop(&me->write.future, context);
    weir_end(me);
}

struct root {
    struct weir_future future;
    struct weir_notified notified;
};

static enum weir_poll root_poll(struct weir_future *future, struct weir_context *context)
{
    struct root *me = (struct root *)future;
    weir_begin(me);
    for (uint32_t i = 0; i < bench.count; i++) {
        struct end client = {.future = {client_poll, 0, 0}, .stream = &bench.clients[i]};
        bench_must(weir_spawn(context, &client.future, sizeof(client), 0, NULL), "spawn");
    }
    weir_notified_init(&me->notified, &bench.done);
    weir_await(me, context, &me->notified);
    weir_exit(me);
    weir_drop(&me->notified.future, context);
    weir_end(me);
}

static void echo(void *unused)
{
    (void)unused;
    struct root root = {.future = {root_poll, 0, 0}};
    atomic_store(&bench.left, bench.count);
    weir_notify_init(&bench.done, bench.runtime);
    bench_must(weir_block_on(bench.runtime, &root.future, sizeof(root)), "block_on");
}

static void pair_open(uint32_t index)
{
    int pair[2];
    bench_check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0,
                "socketpair");
    bench_must(weir_stream_open(&bench.clients[index], bench.runtime, pair[0]), "stream");
    bench_must(weir_stream_open(&bench.servers[index], bench.runtime, pair[1]), "stream");
    struct end server = {.future = {server_poll, 0, 0}, .stream = &bench.servers[index]};
    bench_must(weir_runtime_spawn(bench.runtime, &server.future, sizeof(server), 0, NULL), "spawn");
}

static void echo_measure(const struct bench_case *self)
{
    struct rlimit files;
    bench_check(getrlimit(RLIMIT_NOFILE, &files) == 0, "getrlimit");
    files.rlim_cur = files.rlim_max;
    bench_check(setrlimit(RLIMIT_NOFILE, &files) == 0, "setrlimit");
    bench.count = self->count;
    bench.clients = calloc(2 * (size_t)self->count, sizeof(*bench.clients));
    bench_check(bench.clients != NULL, "calloc");
    bench.servers = bench.clients + self->count;
    bench_must(weir_runtime_create(&bench.runtime, &(struct weir_runtime_options){.workers = 1}),
               "runtime");
    for (uint32_t i = 0; i < self->count; i++) {
        pair_open(i);
    }
    bench_iterations(echo, NULL);
    weir_runtime_destroy(bench.runtime);
    free(bench.clients);
}

int main(int argc, char **argv)
{
    for (uint32_t count = 1; count <= 1000; count *= 10) {
        bench_add("weir", echo_measure, NULL, count, "echo/%u", count);
    }
    bench_add("weir", echo_measure, NULL, 9000, "echo/9000");
    return bench_main(argc, argv);
}
