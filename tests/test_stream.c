// Tests the socket futures over TCP and Unix sockets, on runtimes of 0, 1, 2 and 4 workers.
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/runtime.h"

#define MS ((uint64_t)1000000)
#define TOKENS_MAX 4096

// ---- An operating system with faults ----

struct faulty {
    struct weir_os real;
    _Atomic int interrupts;     // so many of the next socket calls are interrupted
    _Atomic int send_bytes_max; // 0: no limit
    _Atomic int add_result;     // of poller_add, unless 0
    _Atomic int option_result;
    _Atomic int accept_aborts;     // so many accepts say ECONNABORTED
    _Atomic int send_results_zero; // sends take nothing
    _Atomic bool connect_interrupted;
    _Atomic bool spurious; // report readiness that is not there
    _Atomic uint64_t tokens[TOKENS_MAX];
    uint32_t random;
};

static bool faulty_interrupts(struct faulty *faulty)
{
    return atomic_load(&faulty->interrupts) > 0 && atomic_fetch_sub(&faulty->interrupts, 1) > 0;
}

static int faulty_accept(void *self, int fd)
{
    struct faulty *faulty = self;
    if (faulty_interrupts(faulty)) {
        return -EINTR;
    }
    if (atomic_load(&faulty->accept_aborts) > 0) {
        atomic_fetch_sub(&faulty->accept_aborts, 1);
        return -ECONNABORTED;
    }
    return faulty->real.socket_accept(faulty->real.self, fd);
}

static int faulty_connect(void *self, int fd, const struct weir_address *address)
{
    struct faulty *faulty = self;
    if (faulty_interrupts(faulty)) {
        if (atomic_load(&faulty->connect_interrupted)) { // it goes on by itself nevertheless
            (void)faulty->real.socket_connect(faulty->real.self, fd, address);
        }
        return -EINTR;
    }
    return faulty->real.socket_connect(faulty->real.self, fd, address);
}

static int64_t faulty_send(void *self, int fd, const struct weir_iovec *parts, size_t parts_count)
{
    struct faulty *faulty = self;
    int bytes_max = atomic_load(&faulty->send_bytes_max);
    if (faulty_interrupts(faulty)) {
        return -EINTR;
    }
    if (atomic_load(&faulty->send_results_zero)) {
        return 0;
    }
    struct weir_iovec part = parts[0];
    if (bytes_max > 0 && part.bytes_count > (size_t)bytes_max) {
        part.bytes_count = (size_t)bytes_max;
        return faulty->real.socket_send(faulty->real.self, fd, &part, 1);
    }
    return faulty->real.socket_send(faulty->real.self, fd, parts, parts_count);
}

static int64_t faulty_recv(void *self, int fd, void *bytes, size_t bytes_max)
{
    struct faulty *faulty = self;
    return faulty_interrupts(faulty)
               ? -EINTR
               : faulty->real.socket_recv(faulty->real.self, fd, bytes, bytes_max);
}

static int faulty_option(void *self, int fd, enum weir_socket_option option, int value)
{
    struct faulty *faulty = self;
    int result = atomic_load(&faulty->option_result);
    return result != 0 ? result : faulty->real.socket_option(faulty->real.self, fd, option, value);
}

static int faulty_add(void *self, const struct weir_poller *poller, int fd, uint64_t token)
{
    struct faulty *faulty = self;
    int result = atomic_load(&faulty->add_result);
    if (result != 0) {
        return result;
    }
    if (fd < TOKENS_MAX) {
        atomic_store(&faulty->tokens[fd], token);
    }
    return faulty->real.poller_add(faulty->real.self, poller, fd, token);
}

static int faulty_wait(void *self, const struct weir_poller *poller, struct weir_os_event *events,
                       uint32_t events_max, uint64_t deadline_ns)
{
    struct faulty *faulty = self;
    if (!atomic_load(&faulty->spurious)) {
        return faulty->real.poller_wait(faulty->real.self, poller, events, events_max, deadline_ns);
    }
    uint64_t soon_ns = faulty->real.now_ns(faulty->real.self) + MS / 4;
    int count = faulty->real.poller_wait(faulty->real.self, poller, events, events_max - 8,
                                         deadline_ns < soon_ns ? deadline_ns : soon_ns);
    for (int extra = 0; count >= 0 && extra < 8; extra++) {
        faulty->random = faulty->random * 1664525 + 1013904223;
        // Old tokens of a reused descriptor number as well as present ones.
        uint64_t token = atomic_load(&faulty->tokens[(faulty->random >> 16) % 64]);
        if (token != 0) {
            events[count++] = (struct weir_os_event){token, faulty->random >> 8 & 3};
        }
    }
    return count;
}

static struct weir_os faulty_os(struct faulty *faulty)
{
    memset(faulty, 0, sizeof(*faulty));
    faulty->real = weir_os_linux();
    faulty->random = 12345;
    struct weir_os os = faulty->real;
    os.self = faulty;
    os.socket_accept = faulty_accept;
    os.socket_connect = faulty_connect;
    os.socket_send = faulty_send;
    os.socket_recv = faulty_recv;
    os.socket_option = faulty_option;
    os.poller_add = faulty_add;
    os.poller_wait = faulty_wait;
    return os;
}

// ---- A runtime per number of workers, and a count of descriptors around it ----

struct bench {
    struct weir_runtime *runtime;
    struct faulty *faulty;
    uint32_t workers;
};

static int descriptors_count(void)
{
    DIR *folder = opendir("/proc/self/fd");
    assert_non_null(folder);
    int count = 0;
    while (readdir(folder) != NULL) {
        count++;
    }
    closedir(folder);
    return count;
}

static int run(struct bench *bench, const struct weir_future *future, size_t future_bytes)
{
    return weir_block_on(bench->runtime, future, future_bytes);
}

static void pass_time(struct bench *bench, uint64_t duration_ns)
{
    struct weir_sleep sleep;
    memset(&sleep, 0, sizeof(sleep));
    weir_sleep_init(&sleep, duration_ns);
    assert_int_equal(run(bench, &sleep.future, sizeof(sleep)), 0);
}

static struct weir_handle start(struct bench *bench, const struct weir_future *future,
                                size_t future_bytes)
{
    struct weir_handle handle;
    assert_int_equal(weir_runtime_spawn(bench->runtime, future, future_bytes, 0, &handle), 0);
    return handle;
}

static int finish(struct bench *bench, struct weir_handle handle)
{
    struct weir_task_join join;
    memset(&join, 0, sizeof(join));
    weir_task_join_init(&join, handle);
    return run(bench, &join.future, sizeof(join));
}

// Waits until everything is closed, which tasks nobody joins may still be busy with.
static void wait_until_closed(struct bench *bench)
{
    time_t begin = time(NULL);
    while (weir_reactor_watching(&bench->runtime->reactor)) {
        assert_true(time(NULL) - begin < 30);
        pass_time(bench, MS);
    }
}

static void each_runtime(void (*body)(struct bench *bench))
{
    static const uint32_t workers[] = {0, 1, 2, 4};
    for (size_t i = 0; i < sizeof(workers) / sizeof(workers[0]); i++) {
        int before = descriptors_count();
        struct bench bench = {.workers = workers[i]};
        bench.faulty = malloc(sizeof(*bench.faulty));
        assert_non_null(bench.faulty);
        struct weir_os os = faulty_os(bench.faulty);
        struct weir_runtime_options options = {.workers = workers[i], .os = &os};
        assert_int_equal(weir_runtime_create(&bench.runtime, &options), 0);
        body(&bench);
        if (bench.runtime != NULL) {
            wait_until_closed(&bench);
            weir_runtime_destroy(bench.runtime);
        }
        free(bench.faulty);
        assert_int_equal(descriptors_count(), before);
    }
}

// ---- Addresses ----

enum kind { TCP4, TCP6, UNIX_PATH, UNIX_ABSTRACT, KINDS };

static char folder[64];
static int names_count;

static void address_new(enum kind kind, struct weir_address *address)
{
    memset(address, 0, sizeof(*address));
    if (kind == TCP4) {
        struct sockaddr_in native = {.sin_family = AF_INET,
                                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        memcpy(address->bytes, &native, sizeof(native));
        address->bytes_count = sizeof(native);
    } else if (kind == TCP6) {
        struct sockaddr_in6 native = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
        memcpy(address->bytes, &native, sizeof(native));
        address->bytes_count = sizeof(native);
    } else {
        char path[100];
        snprintf(path, sizeof(path), kind == UNIX_PATH ? "%s/%d" : "@%s/%d", folder, names_count++);
        assert_int_equal(weir_address_unix(address, path), 0);
    }
}

// A listener or bound datagram socket, and where it is. false: no IPv6 here.
static bool listen_at(struct bench *bench, enum kind kind, int type, int backlog,
                      struct weir_stream *listener, struct weir_address *address)
{
    address_new(kind, address);
    memset(listener, 0, sizeof(*listener));
    int code = weir_stream_listen(listener, bench->runtime, address, type, backlog);
    if (kind == TCP6 && (code == -EADDRNOTAVAIL || code == -EAFNOSUPPORT)) {
        print_message("no IPv6 here: left out\n");
        return false;
    }
    assert_int_equal(code, 0);
    if (kind == TCP4 || kind == TCP6) {
        const struct weir_os *os = &bench->runtime->os;
        assert_int_equal(os->socket_address(os->self, listener->fd, address), 0);
    }
    return true;
}

static struct weir_connect connect_to(struct weir_stream *stream,
                                      const struct weir_address *address)
{
    struct weir_connect connect;
    memset(&connect, 0, sizeof(connect));
    memset(stream, 0, sizeof(*stream));
    weir_connect_init(&connect, stream, address, SOCK_STREAM);
    return connect;
}

// Two connected streams: [0] connected, [1] was accepted.
static bool pair_open(struct bench *bench, enum kind kind, struct weir_stream pair[2])
{
    struct weir_stream listener;
    struct weir_address address;
    struct weir_accept accept;
    if (!listen_at(bench, kind, SOCK_STREAM, 4, &listener, &address)) {
        return false;
    }
    struct weir_connect connect = connect_to(&pair[0], &address);
    memset(&accept, 0, sizeof(accept));
    weir_accept_init(&accept, &listener, &pair[1]);
    struct weir_handle accepting = start(bench, &accept.future, sizeof(accept));
    assert_int_equal(run(bench, &connect.future, sizeof(connect)), 0);
    assert_int_equal(finish(bench, accepting), 0);
    weir_stream_close(&listener);
    return true;
}

static void pair_close(struct weir_stream pair[2])
{
    weir_stream_close(&pair[0]);
    weir_stream_close(&pair[1]);
}

static int read_some(struct bench *bench, struct weir_stream *stream, void *bytes, size_t bytes_max)
{
    struct weir_read read;
    memset(&read, 0, sizeof(read));
    weir_read_init(&read, stream, bytes, bytes_max);
    return run(bench, &read.future, sizeof(read));
}

static int write_all(struct bench *bench, struct weir_stream *stream, const void *bytes,
                     size_t bytes_count)
{
    struct weir_write write;
    memset(&write, 0, sizeof(write));
    weir_write_init(&write, stream, bytes, bytes_count);
    return run(bench, &write.future, sizeof(write));
}

// ---- Unix addresses ----

static void test_address_unix(void **state)
{
    (void)state;
    struct weir_address address;
    char path[200];
    assert_int_equal(weir_address_unix(&address, "/tmp/x"), 0);
    assert_int_equal(address.bytes_count, 2 + 6 + 1);
    assert_int_equal(((struct sockaddr_un *)address.bytes)->sun_family, AF_UNIX);
    assert_string_equal(((struct sockaddr_un *)address.bytes)->sun_path, "/tmp/x");
    assert_int_equal(weir_address_unix(&address, "@name"), 0);
    assert_int_equal(address.bytes_count, 2 + 5);
    assert_memory_equal(address.bytes + 2, "\0name", 5);
    memset(path, 'a', sizeof(path));
    path[107] = '\0';
    assert_int_equal(weir_address_unix(&address, path), 0);
    assert_int_equal(address.bytes_count, 110);
    path[107] = 'a';
    path[108] = '\0';
    assert_int_equal(weir_address_unix(&address, path), -ENAMETOOLONG);
    path[0] = '@';
    assert_int_equal(weir_address_unix(&address, path), 0); // counted, not terminated
    assert_int_equal(address.bytes_count, 110);
    path[108] = 'a';
    path[109] = '\0';
    assert_int_equal(weir_address_unix(&address, path), -ENAMETOOLONG);
    assert_int_equal(weir_address_unix(&address, ""), -EINVAL);
}

// ---- Echo ----

struct echo {
    struct weir_future future;
    struct weir_stream stream;
    struct weir_read read;
    struct weir_write write;
    unsigned char bytes[700];
};

static enum weir_poll echo_poll(struct weir_future *future, struct weir_context *context)
{
    struct echo *me = (struct echo *)future;
    weir_begin(me);
    for (;;) {
        weir_read_init(&me->read, &me->stream, me->bytes, sizeof(me->bytes));
        weir_await(me, context, &me->read);
        if (me->read.future.result <= 0) {
            weir_return(me, me->read.future.result);
        }
        weir_write_init(&me->write, &me->stream, me->bytes, (size_t)me->read.future.result);
        weir_await(me, context, &me->write);
        if (me->write.future.result < 0) {
            weir_return(me, me->write.future.result);
        }
    }
    weir_exit(me);
    weir_drop(&me->read.future, context);
    weir_drop(&me->write.future, context);
    weir_stream_close(&me->stream);
    weir_end(me);
}

struct server {
    struct weir_future future;
    struct weir_stream *listener;
    struct weir_accept accept;
    struct echo echo; // the next child, before it is spawned
};

static enum weir_poll server_poll(struct weir_future *future, struct weir_context *context)
{
    struct server *me = (struct server *)future;
    weir_begin(me);
    for (;;) {
        memset(&me->echo, 0, sizeof(me->echo));
        me->echo.future.poll = echo_poll;
        weir_accept_init(&me->accept, me->listener, &me->echo.stream);
        weir_await(me, context, &me->accept);
        if (me->accept.future.result < 0) {
            weir_return(me, me->accept.future.result);
        }
        if (weir_spawn(context, &me->echo.future, sizeof(me->echo), WEIR_SPAWN_STEALABLE, NULL)) {
            weir_stream_close(&me->echo.stream);
            weir_return(me, WEIR_EMEMORY);
        }
    }
    weir_exit(me);
    weir_drop(&me->accept.future, context);
    weir_end(me);
}

struct client {
    struct weir_future future;
    struct weir_address address;
    struct weir_stream stream;
    struct weir_connect connect;
    struct weir_read read;
    struct weir_write write;
    uint32_t rounds, round, seed;
    size_t got;
    unsigned char sent[512], received[512];
};

static enum weir_poll client_poll(struct weir_future *future, struct weir_context *context)
{
    struct client *me = (struct client *)future;
    weir_begin(me);
    weir_connect_init(&me->connect, &me->stream, &me->address, SOCK_STREAM);
    weir_await(me, context, &me->connect);
    if (me->connect.future.result < 0) {
        weir_return(me, me->connect.future.result);
    }
    for (me->round = 0; me->round < me->rounds; me->round++) {
        for (size_t i = 0; i < sizeof(me->sent); i++) {
            me->sent[i] = (unsigned char)(me->seed * 31 + me->round * 7 + i);
        }
        weir_write_init(&me->write, &me->stream, me->sent, sizeof(me->sent));
        weir_await(me, context, &me->write);
        if (me->write.future.result < 0) {
            weir_return(me, me->write.future.result);
        }
        for (me->got = 0; me->got < sizeof(me->sent); me->got += (size_t)me->read.future.result) {
            weir_read_init(&me->read, &me->stream, me->received + me->got,
                           sizeof(me->received) - me->got);
            weir_await(me, context, &me->read);
            if (me->read.future.result <= 0) {
                weir_return(me, -EPROTO);
            }
        }
        if (memcmp(me->sent, me->received, sizeof(me->sent)) != 0) {
            weir_return(me, -EBADMSG);
        }
    }
    weir_return(me, (int32_t)me->rounds);
    weir_exit(me);
    weir_drop(&me->connect.future, context);
    weir_drop(&me->read.future, context);
    weir_drop(&me->write.future, context);
    weir_stream_close(&me->stream);
    weir_end(me);
}

static void echo_run(struct bench *bench, enum kind kind, uint32_t clients_count, uint32_t rounds)
{
    struct weir_stream listener;
    struct weir_address address;
    struct server server;
    struct client client;
    if (!listen_at(bench, kind, SOCK_STREAM, 1024, &listener, &address)) {
        return;
    }
    memset(&server, 0, sizeof(server));
    server.future.poll = server_poll;
    server.listener = &listener;
    struct weir_handle serving = start(bench, &server.future, sizeof(server));
    struct weir_handle *handles = calloc(clients_count, sizeof(*handles));
    assert_non_null(handles);
    for (uint32_t i = 0; i < clients_count; i++) {
        memset(&client, 0, sizeof(client));
        client.future.poll = client_poll;
        client.address = address;
        client.seed = i;
        client.rounds = rounds;
        handles[i] = start(bench, &client.future, sizeof(client));
    }
    for (uint32_t i = 0; i < clients_count; i++) {
        assert_int_equal(finish(bench, handles[i]), rounds);
    }
    free(handles);
    weir_task_cancel(serving);
    assert_int_equal(finish(bench, serving), WEIR_ECANCELED);
    weir_stream_close(&listener);
    wait_until_closed(bench);
}

static void echo_body(struct bench *bench)
{
    for (int kind = 0; kind < KINDS; kind++) {
        echo_run(bench, (enum kind)kind, 8, 20);
    }
}

static void test_echo(void **state)
{
    (void)state;
    each_runtime(echo_body);
}

static void many_body(struct bench *bench)
{
    echo_run(bench, TCP4, 500, 2);
    echo_run(bench, UNIX_PATH, 500, 2);
}

static void test_many_connections(void **state)
{
    (void)state;
    each_runtime(many_body);
}

static void spurious_body(struct bench *bench)
{
    atomic_store(&bench->faulty->spurious, true);
    for (int kind = 0; kind < KINDS; kind++) {
        echo_run(bench, (enum kind)kind, 6, 20);
    }
    atomic_store(&bench->faulty->spurious, false);
}

static void test_spurious_readiness(void **state)
{
    (void)state;
    each_runtime(spurious_body);
}

static void interrupted_body(struct bench *bench)
{
    for (int kind = 0; kind < KINDS; kind++) {
        atomic_store(&bench->faulty->interrupts, 15); // all of which may hit one call
        echo_run(bench, (enum kind)kind, 3, 10);
        atomic_store(&bench->faulty->interrupts, 1000); // more than one budget
        echo_run(bench, (enum kind)kind, 1, 10);
        assert_true(atomic_load(&bench->faulty->interrupts) <= 0);
        atomic_store(&bench->faulty->connect_interrupted, true); // a repeated connect says EALREADY
        atomic_store(&bench->faulty->interrupts, 2);
        echo_run(bench, (enum kind)kind, 1, 10);
        atomic_store(&bench->faulty->connect_interrupted, false);
        atomic_store(&bench->faulty->accept_aborts, 300); // more than one budget
        echo_run(bench, (enum kind)kind, 2, 2);
        assert_int_equal(atomic_load(&bench->faulty->accept_aborts), 0);
    }
}

static void test_interruptions(void **state)
{
    (void)state;
    each_runtime(interrupted_body);
}

#define INTERRUPTS_SEEN 1000 // several budgets

struct calm {
    struct weir_future future;
    struct faulty *faulty;
};

// Ends interruptions that would never end, once there were some.
static enum weir_poll calm_poll(struct weir_future *future, struct weir_context *context)
{
    struct calm *calm = (struct calm *)future;
    if (future->resume != WEIR_RESUME_EXIT &&
        INT32_MAX - atomic_load(&calm->faulty->interrupts) < INTERRUPTS_SEEN) {
        weir_wake(weir_context_waker(context));
        return WEIR_PENDING;
    }
    atomic_store(&calm->faulty->interrupts, 0);
    future->resume = WEIR_RESUME_DONE;
    return WEIR_READY;
}

static void calm_after(struct bench *bench, const struct weir_future *moving, size_t moving_bytes,
                       int expected)
{
    struct calm calm = {.future.poll = calm_poll, .faulty = bench->faulty};
    atomic_store(&bench->faulty->interrupts, INT32_MAX);
    struct weir_handle other = start(bench, moving, moving_bytes);
    assert_int_equal(run(bench, &calm.future, sizeof(calm)), 0);
    assert_int_equal(finish(bench, other), expected);
}

static void interrupted_for_ever_body(struct bench *bench)
{
    struct weir_stream pair[2];
    char byte = 0;
    struct weir_write write;
    struct weir_read read;
    assert_true(pair_open(bench, TCP4, pair));
    weir_write_init(&write, &pair[1], "x", 1);
    calm_after(bench, &write.future, sizeof(write), 0);
    weir_read_init(&read, &pair[0], &byte, 1);
    calm_after(bench, &read.future, sizeof(read), 1);
    assert_int_equal(byte, 'x');
    pair_close(pair);
}

static void test_interruptions_let_others_run(void **state)
{
    (void)state;
    each_runtime(interrupted_for_ever_body);
}

// ---- Connecting to nobody ----

static int connect_result(struct bench *bench, const struct weir_address *address, int type)
{
    struct weir_stream stream;
    struct weir_connect connect = connect_to(&stream, address);
    connect.type = type;
    int result = run(bench, &connect.future, sizeof(connect));
    if (result == 0) {
        weir_stream_close(&stream);
    }
    assert_null(stream.runtime);
    return result;
}

static void refused_body(struct bench *bench)
{
    struct weir_stream listener, stream;
    struct weir_address address;
    for (int kind = 0; kind < KINDS; kind++) {
        if (listen_at(bench, (enum kind)kind, SOCK_STREAM, 4, &listener, &address)) {
            weir_stream_close(&listener); // leaves a stale path
            assert_int_equal(connect_result(bench, &address, SOCK_STREAM), -ECONNREFUSED);
        }
    }
    address_new(UNIX_PATH, &address);
    assert_int_equal(connect_result(bench, &address, SOCK_STREAM), -ENOENT);

    // A backlog that is full: Unix says so at once.
    struct weir_stream filling[64];
    assert_true(listen_at(bench, UNIX_PATH, SOCK_STREAM, 0, &listener, &address));
    int filled = 0, code = 0;
    while (filled < 64) {
        struct weir_connect connect = connect_to(&filling[filled], &address);
        code = run(bench, &connect.future, sizeof(connect));
        if (code < 0) {
            break;
        }
        filled++;
    }
    assert_true(filled > 0 && filled < 64);
    assert_int_equal(code, -EAGAIN);
    // The address is taken.
    memset(&stream, 0, sizeof(stream));
    assert_int_equal(weir_stream_listen(&stream, bench->runtime, &address, SOCK_STREAM, 1),
                     -EADDRINUSE);
    assert_null(stream.runtime);
    while (filled > 0) {
        weir_stream_close(&filling[--filled]);
    }
    weir_stream_close(&listener);
    // No such family.
    uint16_t family = 9999;
    memcpy(address.bytes, &family, sizeof(family));
    assert_int_equal(connect_result(bench, &address, SOCK_STREAM), -EAFNOSUPPORT);
    assert_int_equal(weir_stream_listen(&stream, bench->runtime, &address, SOCK_STREAM, 1),
                     -EAFNOSUPPORT);
}

static void test_refused(void **state)
{
    (void)state;
    each_runtime(refused_body);
}

// A TCP connect that neither succeeds nor fails: the listener's queue is full and it drops SYNs.
// returns  how many of `filling` are open.
static int queue_fill(struct bench *bench, const struct weir_address *address,
                      struct weir_stream *filling, int filling_max)
{
    for (int filled = 0; filled < filling_max; filled++) {
        struct weir_connect connect = connect_to(&filling[filled], address);
        struct weir_timeout timeout;
        memset(&timeout, 0, sizeof(timeout));
        weir_timeout_init(&timeout, &connect.future, 200 * MS);
        int code = run(bench, &timeout.future, sizeof(timeout));
        if (code == WEIR_ETIMEOUT) {
            assert_null(filling[filled].runtime); // dropped, and therefore closed
            return filled;
        }
        assert_int_equal(code, 0);
    }
    fail_msg("the queue of a listener did not fill up");
    return 0;
}

static void hanging_body(struct bench *bench)
{
    struct weir_stream listener, filling[16];
    struct weir_address address;
    assert_true(listen_at(bench, TCP4, SOCK_STREAM, 0, &listener, &address));
    atomic_store(&bench->faulty->spurious, true); // must not be taken for a success
    int filled = queue_fill(bench, &address, filling, 16);
    atomic_store(&bench->faulty->spurious, false);
    // Interrupted, it goes on by itself, and the repeated call says -EALREADY: no failure either.
    struct weir_stream stream;
    struct weir_connect connect = connect_to(&stream, &address);
    struct weir_timeout timeout;
    memset(&timeout, 0, sizeof(timeout));
    weir_timeout_init(&timeout, &connect.future, 20 * MS);
    atomic_store(&bench->faulty->connect_interrupted, true);
    atomic_store(&bench->faulty->interrupts, 1);
    assert_int_equal(run(bench, &timeout.future, sizeof(timeout)), WEIR_ETIMEOUT);
    assert_int_equal(atomic_load(&bench->faulty->interrupts), 0);
    atomic_store(&bench->faulty->connect_interrupted, false);
    while (filled > 0) {
        weir_stream_close(&filling[--filled]);
    }
    weir_stream_close(&listener);
}

static void test_connect_hangs(void **state)
{
    (void)state;
    each_runtime(hanging_body);
}

// ---- Half close ----

struct counter {
    struct weir_future future;
    struct weir_stream *stream;
    struct weir_read read;
    uint32_t seed;
    int32_t total;
    unsigned char bytes[3000];
};

// Reads to the end and checks the pattern.
static enum weir_poll counter_poll(struct weir_future *future, struct weir_context *context)
{
    struct counter *me = (struct counter *)future;
    weir_begin(me);
    for (;;) {
        weir_read_init(&me->read, me->stream, me->bytes, sizeof(me->bytes));
        weir_await(me, context, &me->read);
        if (me->read.future.result <= 0) {
            weir_return(me, me->read.future.result < 0 ? me->read.future.result : me->total);
        }
        for (int32_t i = 0; i < me->read.future.result; i++, me->total++) {
            if (me->bytes[i] != (unsigned char)((uint32_t)me->total * 13 + me->seed)) {
                weir_return(me, -EBADMSG);
            }
        }
    }
    weir_exit(me);
    weir_drop(&me->read.future, context);
    weir_end(me);
}

struct producer {
    struct weir_future future;
    struct weir_stream *stream;
    struct weir_write write;
    uint32_t seed;
    size_t bytes_count, done;
    unsigned char bytes[3300];
};

// Writes the pattern, then ends its direction.
static enum weir_poll producer_poll(struct weir_future *future, struct weir_context *context)
{
    struct producer *me = (struct producer *)future;
    size_t part_bytes = 0;
    weir_begin(me);
    while (me->done < me->bytes_count) {
        part_bytes = me->bytes_count - me->done;
        part_bytes = part_bytes < sizeof(me->bytes) ? part_bytes : sizeof(me->bytes);
        for (size_t i = 0; i < part_bytes; i++) {
            me->bytes[i] = (unsigned char)((uint32_t)(me->done + i) * 13 + me->seed);
        }
        weir_write_init(&me->write, me->stream, me->bytes, part_bytes);
        weir_await(me, context, &me->write);
        if (me->write.future.result < 0) {
            weir_return(me, me->write.future.result);
        }
        me->done += me->write.written;
    }
    weir_return(me, weir_stream_shutdown(me->stream, WEIR_SHUTDOWN_WRITE));
    weir_exit(me);
    weir_drop(&me->write.future, context);
    weir_end(me);
}

static struct weir_handle produce(struct bench *bench, struct weir_stream *stream, uint32_t seed,
                                  size_t bytes_count)
{
    struct producer producer;
    memset(&producer, 0, sizeof(producer));
    producer.future.poll = producer_poll;
    producer.stream = stream;
    producer.seed = seed;
    producer.bytes_count = bytes_count;
    return start(bench, &producer.future, sizeof(producer));
}

static struct weir_handle count(struct bench *bench, struct weir_stream *stream, uint32_t seed)
{
    struct counter counter;
    memset(&counter, 0, sizeof(counter));
    counter.future.poll = counter_poll;
    counter.stream = stream;
    counter.seed = seed;
    return start(bench, &counter.future, sizeof(counter));
}

static void half_close_body(struct bench *bench)
{
    for (int kind = 0; kind < KINDS; kind++) {
        struct weir_stream pair[2];
        char bytes[8];
        if (!pair_open(bench, (enum kind)kind, pair)) {
            continue;
        }
        struct weir_handle producing = produce(bench, &pair[0], 5, 100000);
        assert_int_equal(finish(bench, count(bench, &pair[1], 5)), 100000);
        assert_int_equal(finish(bench, producing), 0);
        // The other direction is still open.
        assert_int_equal(write_all(bench, &pair[1], "thanks", 6), 0);
        assert_int_equal(read_some(bench, &pair[0], bytes, sizeof(bytes)), 6);
        assert_memory_equal(bytes, "thanks", 6);
        assert_int_equal(read_some(bench, &pair[1], bytes, sizeof(bytes)), 0); // and again
        weir_stream_close(&pair[1]);
        assert_int_equal(read_some(bench, &pair[0], bytes, sizeof(bytes)), 0);
        weir_stream_close(&pair[0]);
    }
}

static void test_half_close(void **state)
{
    (void)state;
    each_runtime(half_close_body);
}

// ---- Both directions at once through tiny buffers, two tasks on each stream ----

static void duplex_body(struct bench *bench)
{
    const size_t bytes_count = 2000000;
    for (int kind = 0; kind < KINDS; kind++) {
        struct weir_stream pair[2];
        if (!pair_open(bench, (enum kind)kind, pair)) {
            continue;
        }
        struct weir_handle handles[4];
        for (int side = 0; side < 2; side++) {
            // The receive buffers stay: TCP with both small waits for delayed acknowledgements.
            const struct weir_os *os = &bench->runtime->os;
            assert_int_equal(
                os->socket_option(os->self, pair[side].fd, WEIR_SOCKET_SEND_BUFFER_BYTES, 4096), 0);
        }
        for (int side = 0; side < 2; side++) {
            handles[side] = produce(bench, &pair[side], (uint32_t)side, bytes_count);
            handles[2 + side] = count(bench, &pair[side], (uint32_t)!side);
        }
        assert_int_equal(finish(bench, handles[0]), 0);
        assert_int_equal(finish(bench, handles[1]), 0);
        assert_int_equal(finish(bench, handles[2]), bytes_count);
        assert_int_equal(finish(bench, handles[3]), bytes_count);
        pair_close(pair);
    }
}

static void test_duplex_tiny_buffers(void **state)
{
    (void)state;
    each_runtime(duplex_body);
}

// ---- Dropped or cancelled in every waiting state ----

static void nobody_waits(struct bench *bench, const struct weir_stream *stream)
{
    struct weir_source *entry = &atomic_load(&bench->runtime->reactor.chunks[0])[stream->source];
    assert_true(stream->source < WEIR_SOURCES_FIRST);
    assert_null(entry->sides[0].waker.task);
    assert_null(entry->sides[1].waker.task);
}

static void drop_after_a_while(struct bench *bench, struct weir_future *future)
{
    struct weir_timeout timeout;
    memset(&timeout, 0, sizeof(timeout));
    weir_timeout_init(&timeout, future, 5 * MS);
    assert_int_equal(run(bench, &timeout.future, sizeof(timeout)), WEIR_ETIMEOUT);
    assert_int_equal(future->resume, WEIR_RESUME_DONE);
}

static void cancel_after_a_while(struct bench *bench, const struct weir_future *future,
                                 size_t future_bytes)
{
    struct weir_handle handle = start(bench, future, future_bytes);
    pass_time(bench, 5 * MS);
    weir_task_cancel(handle);
    assert_int_equal(finish(bench, handle), WEIR_ECANCELED);
}

union waiting {
    struct weir_future future;
    struct weir_accept accept;
    struct weir_read read;
    struct weir_write write;
    struct weir_stream_ready ready;
    struct weir_connect connect;
};

static void drop_body(struct bench *bench)
{
    static char zeros[8 << 20];
    struct weir_stream pair[2], listener, stream, filling[16];
    struct weir_address address;
    char bytes[8];
    assert_true(listen_at(bench, TCP4, SOCK_STREAM, 0, &listener, &address));
    int filled = queue_fill(bench, &address, filling, 16); // connect
    struct weir_connect connect = connect_to(&stream, &address);
    cancel_after_a_while(bench, &connect.future, sizeof(connect));
    assert_null(stream.runtime);
    while (filled > 0) {
        weir_stream_close(&filling[--filled]);
    }
    weir_stream_close(&listener);

    assert_true(pair_open(bench, UNIX_PATH, pair));
    assert_true(listen_at(bench, UNIX_PATH, SOCK_STREAM, 4, &listener, &address));
    for (int state = 0; state < 4; state++) {
        for (int cancelled = 0; cancelled < 2; cancelled++) {
            union waiting waiting;
            memset(&waiting, 0, sizeof(waiting));
            memset(&stream, 0, sizeof(stream));
            if (state == 0) {
                weir_accept_init(&waiting.accept, &listener, &stream);
            } else if (state == 1) {
                weir_read_init(&waiting.read, &pair[0], bytes, sizeof(bytes));
            } else if (state == 2) {
                weir_write_init(&waiting.write, &pair[0], zeros, sizeof(zeros));
            } else {
                weir_stream_ready_init(&waiting.ready, &pair[1], WEIR_WRITABLE);
                assert_int_equal(run(bench, &waiting.future, sizeof(waiting)), 0);
                weir_stream_ready_init(&waiting.ready, &pair[0], WEIR_READABLE);
            }
            if (cancelled) {
                cancel_after_a_while(bench, &waiting.future, sizeof(waiting));
            } else {
                drop_after_a_while(bench, &waiting.future);
            }
            nobody_waits(bench, &listener);
            nobody_waits(bench, &pair[0]);
            assert_null(stream.runtime);
        }
    }
    weir_stream_close(&listener);
    pair_close(pair);
}

static void test_drop_while_waiting(void **state)
{
    (void)state;
    each_runtime(drop_body);
}

// Destroying the runtime drops a server, its connections and a client, and closes what is theirs.
static void destroy_body(struct bench *bench)
{
    struct weir_stream listener;
    struct weir_address address;
    struct server server;
    struct client client;
    assert_true(listen_at(bench, TCP4, SOCK_STREAM, 16, &listener, &address));
    memset(&server, 0, sizeof(server));
    server.future.poll = server_poll;
    server.listener = &listener;
    struct weir_handle serving = start(bench, &server.future, sizeof(server));
    for (int i = 0; i < 5; i++) {
        memset(&client, 0, sizeof(client));
        client.future.poll = client_poll;
        client.address = address;
        client.rounds = 1 << 30;
        weir_task_detach(start(bench, &client.future, sizeof(client)));
    }
    pass_time(bench, 20 * MS);
    // The listener is ours: its task goes first, since closing under a waiter is not allowed.
    weir_task_cancel(serving);
    assert_int_equal(finish(bench, serving), WEIR_ECANCELED);
    weir_stream_close(&listener);
    pass_time(bench, 20 * MS);
    weir_runtime_destroy(bench->runtime);
    bench->runtime = NULL;
}

static void test_destroy_while_busy(void **state)
{
    (void)state;
    each_runtime(destroy_body);
}

// ---- Errors ----

static void reset_body(struct bench *bench)
{
    for (int kind = 0; kind < KINDS; kind++) {
        struct weir_stream pair[2];
        char bytes[1000] = {0};
        if (!pair_open(bench, (enum kind)kind, pair)) {
            continue;
        }
        assert_int_equal(write_all(bench, &pair[0], bytes, sizeof(bytes)), 0);
        struct weir_stream_ready ready;
        memset(&ready, 0, sizeof(ready));
        weir_stream_ready_init(&ready, &pair[1], WEIR_READABLE);
        assert_int_equal(run(bench, &ready.future, sizeof(ready)), 0); // it has arrived
        weir_stream_close(&pair[1]);                                   // with unread data: a reset
        assert_int_equal(read_some(bench, &pair[0], bytes, sizeof(bytes)), -ECONNRESET);
        int code = 0;
        for (int tries = 0; code == 0 && tries < 10; tries++) {
            code = write_all(bench, &pair[0], bytes, sizeof(bytes));
        }
        assert_int_equal(code, -EPIPE); // and no signal
        weir_stream_close(&pair[0]);
    }
}

static void test_reset(void **state)
{
    (void)state;
    each_runtime(reset_body);
}

static void closed_body(struct bench *bench)
{
    struct weir_stream closed, other;
    struct weir_accept accept;
    struct weir_stream_ready ready;
    char bytes[8];
    memset(&closed, 0, sizeof(closed));
    assert_int_equal(read_some(bench, &closed, bytes, sizeof(bytes)), -EBADF);
    assert_int_equal(write_all(bench, &closed, bytes, sizeof(bytes)), -EBADF);
    memset(&accept, 0, sizeof(accept));
    weir_accept_init(&accept, &closed, &other);
    assert_int_equal(run(bench, &accept.future, sizeof(accept)), -EBADF);
    memset(&ready, 0, sizeof(ready));
    weir_stream_ready_init(&ready, &closed, WEIR_READABLE);
    assert_int_equal(run(bench, &ready.future, sizeof(ready)), -EBADF);
    assert_int_equal(weir_stream_shutdown(&closed, WEIR_SHUTDOWN_BOTH), -EBADF);
    weir_stream_close(&closed);

    struct weir_stream pair[2];
    assert_true(pair_open(bench, TCP4, pair));
    assert_int_equal(write_all(bench, &pair[0], NULL, 0), 0);
    assert_int_equal(weir_stream_shutdown(&pair[0], WEIR_SHUTDOWN_BOTH), 0);
    assert_int_equal(write_all(bench, &pair[0], bytes, 1), -EPIPE);
    pair_close(pair);
    pair_close(pair); // twice is harmless
}

static void test_closed_stream(void **state)
{
    (void)state;
    each_runtime(closed_body);
}

static void fault_body(struct bench *bench)
{
    struct weir_stream listener, stream, accepted;
    struct weir_address address;
    struct weir_accept accept;
    assert_true(listen_at(bench, TCP4, SOCK_STREAM, 4, &listener, &address));
    atomic_store(&bench->faulty->add_result, -ENOSPC);
    // On failure each of these closes its socket, except weir_stream_open, whose caller keeps it.
    assert_int_equal(connect_result(bench, &address, SOCK_STREAM), -ENOSPC);
    memset(&stream, 0, sizeof(stream));
    address_new(TCP4, &address);
    assert_int_equal(weir_stream_listen(&stream, bench->runtime, &address, SOCK_STREAM, 1),
                     -ENOSPC);
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    assert_int_equal(weir_stream_open(&stream, bench->runtime, fds[0]), -ENOSPC);
    assert_null(stream.runtime);
    assert_int_equal(close(fds[0]), 0);
    assert_int_equal(close(fds[1]), 0);
    atomic_store(&bench->faulty->add_result, 0);
    atomic_store(&bench->faulty->option_result, -ENOMEM);
    assert_int_equal(weir_stream_listen(&stream, bench->runtime, &address, SOCK_STREAM, 1),
                     -ENOMEM);
    atomic_store(&bench->faulty->option_result, 0);

    // The connection that `accept` cannot open: closed again, and the failure reported.
    const struct weir_os *os = &bench->runtime->os;
    assert_int_equal(os->socket_address(os->self, listener.fd, &address), 0);
    struct weir_connect connect = connect_to(&stream, &address);
    assert_int_equal(run(bench, &connect.future, sizeof(connect)), 0);
    atomic_store(&bench->faulty->add_result, -ENOSPC);
    memset(&accept, 0, sizeof(accept));
    memset(&accepted, 0, sizeof(accepted));
    weir_accept_init(&accept, &listener, &accepted);
    assert_int_equal(run(bench, &accept.future, sizeof(accept)), -ENOSPC);
    assert_null(accepted.runtime);
    atomic_store(&bench->faulty->add_result, 0);
    atomic_store(&bench->faulty->send_results_zero, 1);
    assert_int_equal(write_all(bench, &stream, "x", 1), -EIO); // not for ever
    atomic_store(&bench->faulty->send_results_zero, 0);
    weir_stream_close(&stream);
    weir_stream_close(&listener);
}

static void test_faults(void **state)
{
    (void)state;
    each_runtime(fault_body);
}

// ---- Datagrams ----

static void datagram_body(struct bench *bench)
{
    for (int kind = 0; kind < KINDS; kind++) {
        struct weir_stream receiver, sender;
        struct weir_address address;
        char bytes[64];
        if (!listen_at(bench, (enum kind)kind, SOCK_DGRAM, 0, &receiver, &address)) {
            continue;
        }
        struct weir_connect connect = connect_to(&sender, &address);
        connect.type = SOCK_DGRAM;
        assert_int_equal(run(bench, &connect.future, sizeof(connect)), 0);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(write_all(bench, &sender, "one", 3), 0);
            assert_int_equal(write_all(bench, &sender, "three", 5), 0);
            assert_int_equal(read_some(bench, &receiver, bytes, sizeof(bytes)), 3);
            assert_int_equal(read_some(bench, &receiver, bytes, sizeof(bytes)), 5);
        }
        weir_stream_close(&sender);
        weir_stream_close(&receiver);
        if (kind == UNIX_PATH) {
            assert_int_equal(connect_result(bench, &address, SOCK_DGRAM), -ECONNREFUSED);
        }
    }
}

static void test_datagrams(void **state)
{
    (void)state;
    each_runtime(datagram_body);
}

// ---- Budget ----

// A socket that is always ready does not keep its worker: one poll makes at most a budget of calls.
static void budget_body(struct bench *bench)
{
    static char bytes[WEIR_BUDGET * 8];
    struct weir_stream pair[2];
    struct weir_runtime_stats before, after;
    assert_true(pair_open(bench, TCP4, pair));
    atomic_store(&bench->faulty->send_bytes_max, 1);
    weir_runtime_stats(bench->runtime, &before);
    assert_int_equal(write_all(bench, &pair[0], bytes, sizeof(bytes)), 0);
    weir_runtime_stats(bench->runtime, &after);
    atomic_store(&bench->faulty->send_bytes_max, 0);
    assert_true(after.polls - before.polls >= 8);
    pair_close(pair);
}

static void test_budget(void **state)
{
    (void)state;
    each_runtime(budget_body);
}

// ---- Fork ----

// A child that closes its copy of a stream does not end the parent's watch.
static void test_forked_child_closes(void **state)
{
    (void)state;
    int before = descriptors_count();
    struct bench bench = {0};
    struct weir_runtime_options options = {.workers = 0};
    struct weir_stream pair[2];
    char bytes[8];
    assert_int_equal(weir_runtime_create(&bench.runtime, &options), 0);
    assert_true(pair_open(&bench, TCP4, pair));
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        pair_close(pair);
        weir_runtime_destroy(bench.runtime);
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(write_all(&bench, &pair[0], "alive", 5), 0);
    assert_int_equal(read_some(&bench, &pair[1], bytes, sizeof(bytes)), 5);
    pair_close(pair);
    weir_runtime_destroy(bench.runtime);
    assert_int_equal(descriptors_count(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_address_unix),
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_many_connections),
        cmocka_unit_test(test_spurious_readiness),
        cmocka_unit_test(test_interruptions),
        cmocka_unit_test(test_interruptions_let_others_run),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_connect_hangs),
        cmocka_unit_test(test_half_close),
        cmocka_unit_test(test_duplex_tiny_buffers),
        cmocka_unit_test(test_drop_while_waiting),
        cmocka_unit_test(test_destroy_while_busy),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_closed_stream),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_datagrams),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_forked_child_closes),
    };
    // 500 connections are 1000 descriptors.
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 2048) {
        limit.rlim_cur = limit.rlim_max < 2048 ? limit.rlim_max : 2048;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    strcpy(folder, "/tmp/weir-stream-XXXXXX");
    if (mkdtemp(folder) == NULL) {
        return 1;
    }
    int failed = cmocka_run_group_tests_name("stream", tests, NULL, NULL);
    for (int i = 0; i < names_count; i++) {
        char path[100];
        snprintf(path, sizeof(path), "%s/%d", folder, i);
        (void)unlink(path);
    }
    (void)rmdir(folder);
    return failed;
}
