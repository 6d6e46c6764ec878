// Scenarios of sockets on the runtime: reading, writing, connecting and accepting, under races.
//
// No deadline in the first ones: an edge that is forgotten leaves nothing that can run. In the last
// one memory, descriptors and connections fail, and what was opened must be closed again.
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "sim/scenario_support.h"
#include "sim/scenarios.h"

#define BYTES_MAX 6000

// ---- A pipe: a task writes, another reads to the end ----

struct source {
    struct weir_future future;
    struct weir_stream stream;
    uint32_t bytes_count, piece, sent;
    unsigned char bytes[BYTES_MAX];
    struct weir_write write;
};

static enum weir_poll source_poll(struct weir_future *future, struct weir_context *context)
{
    struct source *me = (struct source *)future;
    weir_begin(me);
    while (me->sent < me->bytes_count) {
        uint32_t left = me->bytes_count - me->sent;
        weir_write_init(&me->write, &me->stream, me->bytes + me->sent,
                        left < me->piece ? left : me->piece);
        weir_await(me, context, &me->write);
        if (me->write.future.result != 0) {
            break;
        }
        me->sent += (uint32_t)me->write.written;
    }
    weir_return(me, me->write.future.result);
    weir_exit(me);
    weir_drop(&me->write.future, context);
    weir_stream_close(&me->stream);
    weir_end(me);
}

struct sink {
    struct weir_future future;
    struct weir_sim *sim;
    struct weir_stream stream;
    uint32_t piece, received;
    unsigned char bytes[1024];
    struct weir_read read;
};

static enum weir_poll sink_poll(struct weir_future *future, struct weir_context *context)
{
    struct sink *me = (struct sink *)future;
    weir_begin(me);
    for (;;) {
        weir_read_init(&me->read, &me->stream, me->bytes, me->piece);
        weir_await(me, context, &me->read);
        if (me->read.future.result <= 0) {
            break;
        }
        for (int32_t i = 0; i < me->read.future.result; i++) {
            weir_sim_check(me->sim, me->bytes[i] == (unsigned char)me->received++, "stream-byte");
        }
    }
    weir_return(me, me->read.future.result < 0 ? me->read.future.result : (int32_t)me->received);
    weir_exit(me);
    weir_drop(&me->read.future, context);
    weir_stream_close(&me->stream);
    weir_end(me);
}

static void stream_pipe(struct weir_sim *sim)
{
    struct weir_runtime *runtime = scenario_runtime(sim, weir_sim_draw(sim, "workers", 1, 3));
    int ends[2];
    scenario_pair(sim, ends);
    struct source source = {.future = {.poll = source_poll}};
    source.bytes_count = weir_sim_draw(sim, "bytes", 1, 60);
    source.piece = weir_sim_draw(sim, "piece", 1, 20);
    if (weir_sim_draw(sim, "fills", 0, 3) == 3) { // more than the socket holds
        source.bytes_count *= BYTES_MAX / 60;
        source.piece *= 200;
    }
    for (uint32_t i = 0; i < source.bytes_count; i++) {
        source.bytes[i] = (unsigned char)i;
    }
    struct sink sink = {.future = {.poll = sink_poll}, .sim = sim};
    sink.piece = weir_sim_draw(sim, "reads", 1, 4) * (source.bytes_count > 60 ? 256 : 4);
    weir_sim_check(sim, weir_stream_open(&source.stream, runtime, ends[0]) == 0, "stream-open");
    weir_sim_check(sim, weir_stream_open(&sink.stream, runtime, ends[1]) == 0, "stream-open");
    struct weir_handle reading, writing;
    scenario_spawn(sim, runtime, &sink, &reading);
    scenario_spawn(sim, runtime, &source, &writing);
    weir_sim_check(sim, scenario_join(runtime, writing) == 0, "write-result");
    weir_sim_check(sim, scenario_join(runtime, reading) == (int)source.bytes_count, "read-result");
    weir_runtime_destroy(runtime);
}

// ---- Connecting and accepting while things fail ----

#define DIALLERS_MAX 3

struct dialler {
    struct weir_future future;
    struct weir_address address;
    struct weir_runtime *runtime;
    struct weir_stream stream;
    struct weir_connect connect;
    struct weir_timeout timeout;
    bool connected; // until then the socket is the connect's to close
};

static enum weir_poll dialler_poll(struct weir_future *future, struct weir_context *context)
{
    struct dialler *me = (struct dialler *)future;
    weir_begin(me);
    weir_connect_init(&me->connect, &me->stream, &me->address, SOCK_STREAM);
    weir_timeout_init(&me->timeout, &me->connect.future, 1000000);
    weir_await(me, context, &me->timeout);
    me->connected = me->timeout.future.result == 0;
    weir_return(me, me->timeout.future.result);
    weir_exit(me);
    weir_drop(&me->timeout.future, context);
    if (me->connected) {
        weir_stream_close(&me->stream);
    }
    weir_end(me);
}

struct acceptor {
    struct weir_future future;
    struct weir_stream *listener; // not its own: it may be cancelled before its first poll
    struct weir_stream stream;
    struct weir_accept accept;
};

// Until it is cancelled.
static enum weir_poll acceptor_poll(struct weir_future *future, struct weir_context *context)
{
    struct acceptor *me = (struct acceptor *)future;
    weir_begin(me);
    for (;;) {
        weir_accept_init(&me->accept, me->listener, &me->stream);
        weir_await(me, context, &me->accept);
        if (me->accept.future.result == 0) {
            weir_stream_close(&me->stream);
        } else if (me->accept.future.result == -EBADF) {
            break;
        }
    }
    weir_return(me, 0);
    weir_exit(me);
    weir_drop(&me->accept.future, context);
    weir_stream_close(&me->stream);
    weir_end(me);
}

__attribute__((noinline)) static void dial(struct weir_sim *sim, struct weir_runtime *runtime,
                                           const struct weir_address *address)
{
    struct weir_handle handles[DIALLERS_MAX];
    uint32_t diallers = weir_sim_draw(sim, "diallers", 1, DIALLERS_MAX), spawned = 0;
    for (uint32_t i = 0; i < diallers; i++) {
        struct dialler dialler = {
            .future = {.poll = dialler_poll}, .address = *address, .runtime = runtime};
        spawned += weir_runtime_spawn(runtime, &dialler.future, sizeof dialler,
                                      WEIR_SPAWN_STEALABLE, &handles[spawned]) == 0;
    }
    for (uint32_t i = 0; i < spawned; i++) {
        if (weir_sim_draw(sim, "cancels", 0, 3) == 3) {
            weir_task_cancel(handles[i]);
        }
        int result = scenario_join(runtime, handles[i]);
        weir_sim_sometimes(sim, result == 0               ? "dialled"
                                : result == WEIR_ETIMEOUT ? "dial-timed-out"
                                                          : "dial-failed");
    }
}

static void address_tcp(struct weir_address *address)
{
    struct sockaddr_in in = {
        .sin_family = AF_INET, .sin_port = htons(601), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    memcpy(address->bytes, &in, sizeof in);
    address->bytes_count = sizeof in;
}

static void stream_dial(struct weir_sim *sim)
{
    const struct weir_os *os = weir_sim_os(sim);
    struct weir_runtime_options options = {.workers = weir_sim_draw(sim, "workers", 1, 3),
                                           .os = os};
    struct weir_runtime *runtime;
    if (weir_runtime_create(&runtime, &options) < 0) {
        return;
    }
    struct weir_address address;
    bool tcp = weir_sim_draw(sim, "tcp", 0, 1) == 1;
    if (tcp) {
        address_tcp(&address);
    } else {
        weir_sim_check(sim, weir_address_unix(&address, "@dial") == 0, "address");
    }
    struct weir_stream listener = {0};
    struct acceptor acceptor = {.future = {.poll = acceptor_poll}, .listener = &listener};
    struct weir_handle accepting;
    bool listens = weir_stream_listen(&listener, runtime, &address, SOCK_STREAM, 2) == 0;
    bool accepts = listens && weir_runtime_spawn(runtime, &acceptor.future, sizeof acceptor,
                                                 WEIR_SPAWN_STEALABLE, &accepting) == 0;
    dial(sim, runtime, &address);
    weir_sim_heal(sim);
    if (accepts) {
        weir_task_cancel(accepting);
        (void)scenario_join(runtime, accepting);
    }
    if (listens) {
        weir_stream_close(&listener);
    }
    weir_runtime_destroy(runtime);
}

static const char *const dial_probes[] = {"dialled", "dial-timed-out", "dial-failed", NULL};

const struct weir_sim_scenario sim_scenarios_stream[] = {
    {.name = "stream-pipe",
     .about = "a task writes to a socket, another reads it to the end; no deadline anywhere",
     .run = stream_pipe,
     .kinds = SCENARIO_RUNTIME_KINDS | 1u << WEIR_SIM_SHORT | 1u << WEIR_SIM_AGAIN,
     .weight = 20},
    {.name = "stream-dial",
     .about = "connecting and accepting while descriptors, memory and connections fail",
     .run = stream_dial,
     .kinds = SCENARIO_RUNTIME_KINDS | 1u << WEIR_SIM_RESOURCE | 1u << WEIR_SIM_CONNECT |
              1u << WEIR_SIM_RECV | 1u << WEIR_SIM_DELAY,
     .probes = dial_probes,
     .probe_seeds = 1000,
     .weight = 10},
    {0},
};
