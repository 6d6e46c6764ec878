// A client of echo_server.c: many connections at once, each sending and receiving at the same time.
//
//     ./echo_client @weir-echo 50
//
// Status 0: on every connection all came back as it was sent, within TIME_LIMIT_NS.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "weir.h"

#define TIME_LIMIT_NS 10000000000u
#define PAYLOAD_BYTES 200000 // more than the sockets' buffers hold

// The library's codes have a text of its own, the system's that of strerror.
static const char *text(int code)
{
    return -code < 4096 ? strerror(-code) : weir_error_text(code);
}

struct crowd {
    struct weir_future future;
    struct weir_address address;
    const unsigned char *payload; // what each connection sends
    int clients_count;
    int succeeded; // these two are the clients', which are all on one worker
    int error;     // the last
    struct weir_scope scope;
    struct weir_scope_wait all;
    struct weir_timeout limit;
};

// Future: what the server sends is the payload. Result 0, -EBADMSG, or -errno.
struct receive {
    struct weir_future future;
    struct weir_stream *stream;
    const unsigned char *payload;
    size_t received;
    struct weir_read read;
    unsigned char bytes[2048];
};

static enum weir_poll receive_poll(struct weir_future *future, struct weir_context *context)
{
    struct receive *me = (struct receive *)future;
    weir_begin(me);
    while (me->received < PAYLOAD_BYTES) {
        weir_read_init(&me->read, me->stream, me->bytes, sizeof(me->bytes));
        weir_await(me, context, &me->read);
        int32_t count = me->read.future.result;
        if (count < 0) {
            weir_return(me, count);
        }
        if (count == 0 || (size_t)count > PAYLOAD_BYTES - me->received ||
            memcmp(me->bytes, me->payload + me->received, (size_t)count) != 0) {
            weir_return(me, -EBADMSG);
        }
        me->received += (size_t)count;
    }
    weir_return(me, 0);
    weir_exit(me);
    weir_drop(&me->read.future, context);
    weir_end(me);
}

// A connection: a child of the crowd's, and so free to point at it.
struct client {
    struct weir_future future;
    struct crowd *crowd;
    struct weir_stream stream;
    struct weir_connect connect;
    struct weir_write write;
    struct receive receive;
};

static enum weir_poll client_poll(struct weir_future *future, struct weir_context *context)
{
    struct client *me = (struct client *)future;
    weir_begin(me);
    weir_connect_init(&me->connect, &me->stream, &me->crowd->address, SOCK_STREAM);
    weir_await(me, context, &me->connect);
    if (me->connect.future.result < 0) {
        weir_return(me, me->crowd->error = me->connect.future.result);
    }
    weir_write_init(&me->write, &me->stream, me->crowd->payload, PAYLOAD_BYTES);
    me->receive.future.poll = receive_poll;
    me->receive.stream = &me->stream;
    me->receive.payload = me->crowd->payload;
    // One after the other would wait for ever: a server whose answer nobody takes stops reading.
    weir_join(me, context, &me->write.future, &me->receive.future);
    if (me->receive.future.result < 0) {
        me->crowd->error = me->receive.future.result;
    } else {
        me->crowd->succeeded++;
    }
    weir_return(me, 0);
    weir_exit(me);
    weir_drop(&me->connect.future, context);
    weir_drop(&me->write.future, context);
    weir_drop(&me->receive.future, context);
    weir_stream_close(&me->stream);
    weir_end(me);
}

static enum weir_poll crowd_poll(struct weir_future *future, struct weir_context *context)
{
    struct crowd *me = (struct crowd *)future;
    weir_begin(me);
    for (int i = 0; i < me->clients_count; i++) {
        struct client client = {.future.poll = client_poll, .crowd = me};
        int error = weir_scope_spawn(&me->scope, context, &client.future, sizeof(client),
                                     WEIR_SPAWN_PINNED);
        if (error < 0) {
            weir_return(me, error);
        }
    }
    weir_scope_wait_init(&me->all, &me->scope);
    weir_timeout_init(&me->limit, &me->all.future, TIME_LIMIT_NS);
    weir_await(me, context, &me->limit);
    printf("%d of %d connections echoed\n", me->succeeded, me->clients_count);
    weir_return(me, me->limit.future.result < 0 ? me->limit.future.result : me->error);
    weir_exit(me); // children that are left are cancelled, and end before this frame goes
    weir_drop(&me->limit.future, context);
    weir_end(me);
}

int main(int argc, char **argv)
{
    static unsigned char payload[PAYLOAD_BYTES];
    for (size_t i = 0; i < PAYLOAD_BYTES; i++) {
        payload[i] = (unsigned char)(i * 7 + i / 251);
    }
    struct crowd crowd = {.future.poll = crowd_poll, .payload = payload};
    crowd.clients_count = argc > 2 ? atoi(argv[2]) : 50;
    struct weir_runtime *runtime;
    struct weir_runtime_options options = {.workers = 1};
    int result = weir_address_unix(&crowd.address, argc > 1 ? argv[1] : "@weir-echo");
    if (result == 0 && (result = weir_runtime_create(&runtime, &options)) == 0) {
        result = weir_block_on(runtime, &crowd.future, sizeof(crowd));
        weir_runtime_destroy(runtime);
    }
    if (result < 0) {
        fprintf(stderr, "echo_client: %s\n", text(result));
    }
    return result < 0;
}
