// What only the simulator's network does: late segments, links that are down, injected faults.
//
// A fault is right if everything that can be seen after it is what a real event of that kind leaves.
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "sim/sim.h"

#define MS UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)

static struct weir_sim *simulator;
static struct weir_sim_result result;

#define check(condition) weir_sim_check(sim, condition, "test")

static int setup(void **state)
{
    (void)state;
    simulator = weir_sim_create();
    return simulator == NULL;
}

static int teardown(void **state)
{
    (void)state;
    weir_sim_destroy(simulator);
    return 0;
}

// Runs the body with these deviations only.
static void run(void (*body)(struct weir_sim *), const struct weir_sim_deviation *deviations,
                size_t deviations_count)
{
    static const struct weir_sim_deviation none;
    struct weir_sim_scenario scenario = {.name = "socket", .about = "a test", .run = body};
    struct weir_sim_options options = {.deviations = deviations == NULL ? &none : deviations,
                                       .deviations_count = deviations_count};
    weir_sim_run(simulator, &scenario, &options, &result);
    if (result.verdict != WEIR_SIM_PASS) {
        fprintf(stderr, "%s: %s\n", result.name, result.message);
    }
    assert_int_equal(result.verdict, WEIR_SIM_PASS);
    assert_int_equal(result.deviations_count, deviations_count);
}

static void run_deviating(void (*body)(struct weir_sim *), enum weir_sim_kind kind, uint32_t number,
                          uint32_t value)
{
    struct weir_sim_deviation deviation = {
        .kind = kind, .actor = 0, .number = number, .value = value};
    run(body, &deviation, 1);
}

// ---- A pair ----

struct ends {
    int client, server, listener;
};

#define CALL(sim, function, ...) (weir_sim_os(sim)->function(weir_sim_os(sim)->self, __VA_ARGS__))

static struct weir_address address_unix(void)
{
    struct weir_address address;
    assert_int_equal(weir_address_unix(&address, "@pair"), 0);
    return address;
}

static struct weir_address address_tcp(void)
{
    struct sockaddr_in native = {
        .sin_family = AF_INET, .sin_port = htons(601), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct weir_address address = {.bytes_count = sizeof native};
    memcpy(address.bytes, &native, sizeof native);
    return address;
}

static struct ends pair_open(struct weir_sim *sim, int family)
{
    struct weir_address address = family == AF_UNIX ? address_unix() : address_tcp();
    struct ends ends;
    ends.listener = CALL(sim, socket_open, family, SOCK_STREAM);
    check(CALL(sim, socket_bind, ends.listener, &address) == 0);
    check(CALL(sim, socket_listen, ends.listener, 3) == 0);
    ends.client = CALL(sim, socket_open, family, SOCK_STREAM);
    int connected = CALL(sim, socket_connect, ends.client, &address);
    check(connected == (family == AF_UNIX ? 0 : -EINPROGRESS));
    ends.server = CALL(sim, socket_accept, ends.listener);
    check(ends.server >= 0);
    check((CALL(sim, socket_state, ends.client) & WEIR_WRITABLE) != 0);
    return ends;
}

static void pair_close(struct weir_sim *sim, struct ends ends)
{
    (void)CALL(sim, socket_close, ends.client);
    (void)CALL(sim, socket_close, ends.server);
    (void)CALL(sim, socket_close, ends.listener);
}

static int64_t send_bytes(struct weir_sim *sim, int fd, size_t bytes)
{
    static const unsigned char payload[100000];
    struct weir_iovec part = {payload, bytes};
    return CALL(sim, socket_send, fd, &part, 1);
}

static int64_t recv_bytes(struct weir_sim *sim, int fd, size_t bytes)
{
    unsigned char taken[4096];
    return CALL(sim, socket_recv, fd, taken, bytes);
}

static int state_of(struct weir_sim *sim, int fd)
{
    return CALL(sim, socket_state, fd);
}

static int64_t outstanding_of(struct weir_sim *sim, int fd)
{
    return CALL(sim, socket_outstanding, fd);
}

// ---- Faults of a send, of a stream ----

// The error is reported once, the connection is over for both, and what was unread is lost.
static void body_send_unix_reset(struct weir_sim *sim)
{
    struct ends ends = pair_open(sim, AF_UNIX);
    check(send_bytes(sim, ends.client, 100) == 100);
    check(send_bytes(sim, ends.client, 100) == -ECONNRESET);
    check(outstanding_of(sim, ends.client) == 0);
    check(CALL(sim, socket_error, ends.client) == 0);
    check(send_bytes(sim, ends.client, 100) == -EPIPE);
    check(state_of(sim, ends.client) ==
          (WEIR_READABLE | WEIR_WRITABLE | WEIR_HANGUP | WEIR_PEER_CLOSED));
    check(recv_bytes(sim, ends.server, 100) == -ECONNRESET);
    check(recv_bytes(sim, ends.server, 100) == 0);
    check((state_of(sim, ends.server) & WEIR_HANGUP) != 0);
    pair_close(sim, ends);
}

static void body_send_unix_pipe(struct weir_sim *sim)
{
    struct ends ends = pair_open(sim, AF_UNIX);
    check(send_bytes(sim, ends.client, 100) == 100);
    check(send_bytes(sim, ends.client, 100) == -EPIPE);
    check((state_of(sim, ends.client) & WEIR_FAULT) != 0);
    check(CALL(sim, socket_error, ends.client) == ECONNRESET);
    check(CALL(sim, socket_error, ends.client) == 0);
    pair_close(sim, ends);
}

// Everything was read: no error is left, only the end.
static void body_send_unix_clean(struct weir_sim *sim)
{
    struct ends ends = pair_open(sim, AF_UNIX);
    check(send_bytes(sim, ends.client, 100) == 100);
    check(recv_bytes(sim, ends.server, 100) == 100);
    check(send_bytes(sim, ends.client, 100) == -EPIPE);
    check(CALL(sim, socket_error, ends.client) == 0);
    check(outstanding_of(sim, ends.client) == 0);
    pair_close(sim, ends);
}

static void body_send_unix_shortage(struct weir_sim *sim)
{
    struct ends ends = pair_open(sim, AF_UNIX);
    check(send_bytes(sim, ends.client, 100) == 100);
    int64_t refused = send_bytes(sim, ends.client, 100);
    check(refused == -ENOBUFS || refused == -ENOMEM);
    check(send_bytes(sim, ends.client, 100) == 100);
    check(recv_bytes(sim, ends.server, 1000) == 200);
    pair_close(sim, ends);
}

// The death between two buffers of one send: reported as a short send, the error is gone.
static void body_send_unix_between(struct weir_sim *sim)
{
    struct ends ends = pair_open(sim, AF_UNIX);
    check(send_bytes(sim, ends.client, 100) == 100);
    check(send_bytes(sim, ends.client, 40000) == 36544);
    check(outstanding_of(sim, ends.client) == 0);
    check(CALL(sim, socket_error, ends.client) == 0);
    check((state_of(sim, ends.client) & WEIR_HANGUP) != 0);
    pair_close(sim, ends);
}

static void body_send_tcp_reset(struct weir_sim *sim)
{
    struct ends ends = pair_open(sim, AF_INET);
    check(send_bytes(sim, ends.client, 100) == 100);
    check(send_bytes(sim, ends.client, 100) == -ECONNRESET);
    check(send_bytes(sim, ends.client, 100) == -EPIPE);
    check(outstanding_of(sim, ends.client) == 0);
    check(recv_bytes(sim, ends.server, 1000) == 100); // what had arrived
    check(recv_bytes(sim, ends.server, 1000) == -ECONNRESET);
    check(recv_bytes(sim, ends.server, 1000) == 0);
    pair_close(sim, ends);
}

// The send that the dead peer's reset overtakes is taken, and lost.
static void body_send_tcp_gone(struct weir_sim *sim)
{
    struct ends ends = pair_open(sim, AF_INET);
    check(send_bytes(sim, ends.client, 100) == 100);
    check(send_bytes(sim, ends.client, 50) == 50);
    check(outstanding_of(sim, ends.client) == 50);
    check(send_bytes(sim, ends.client, 100) == -ECONNRESET);
    check(recv_bytes(sim, ends.server, 1000) == -ECONNRESET); // the unread hundred are lost too
    pair_close(sim, ends);
}

static void body_send_tcp_timeout(struct weir_sim *sim)
{
    struct ends ends = pair_open(sim, AF_INET);
    check(send_bytes(sim, ends.client, 100) == 100);
    int64_t over = send_bytes(sim, ends.client, 100);
    check(over == -ETIMEDOUT || over == -EHOSTUNREACH);
    check(send_bytes(sim, ends.client, 100) == -EPIPE);
    check(recv_bytes(sim, ends.server, 1000) == 100);
    check(recv_bytes(sim, ends.server, 1000) == -EAGAIN); // it has not heard of it
    check(send_bytes(sim, ends.server, 100) == 100);      // and is told now
    check((state_of(sim, ends.server) & WEIR_FAULT) != 0);
    check(recv_bytes(sim, ends.server, 1000) == -ECONNRESET);
    pair_close(sim, ends);
}

static void test_send_faults(void **state)
{
    (void)state;
    run_deviating(body_send_unix_reset, WEIR_SIM_SEND, 1, 1);
    run_deviating(body_send_unix_pipe, WEIR_SIM_SEND, 1, 2);
    run_deviating(body_send_unix_clean, WEIR_SIM_SEND, 1, 1);
    run_deviating(body_send_unix_clean, WEIR_SIM_SEND, 1, 2);
    run_deviating(body_send_unix_shortage, WEIR_SIM_SEND, 1, 3);
    run_deviating(body_send_unix_shortage, WEIR_SIM_SEND, 1, 4);
    run_deviating(body_send_unix_between, WEIR_SIM_SEND, 1, 5);
    run_deviating(body_send_tcp_reset, WEIR_SIM_SEND, 1, 1);
    run_deviating(body_send_tcp_gone, WEIR_SIM_SEND, 1, 2);
    run_deviating(body_send_tcp_timeout, WEIR_SIM_SEND, 1, 5);
    run_deviating(body_send_tcp_timeout, WEIR_SIM_SEND, 1, 6);
}

// ---- Calls that would block, or move less ----

// After a "would block" that nothing stands behind, an edge comes.
static void again(struct weir_sim *sim, int family, uint64_t at_least_ns)
{
    struct ends ends = pair_open(sim, family);
    struct weir_poller poller;
    struct weir_os_event event;
    const struct weir_os *os = weir_sim_os(sim);
    check(os->poller_open(os->self, &poller) == 0);
    check(os->poller_add(os->self, &poller, ends.client, 7) == 0);
    check(os->poller_wait(os->self, &poller, &event, 1, 0) == 1);
    check(send_bytes(sim, ends.client, 10) == -EAGAIN);
    uint64_t began_ns = weir_sim_now_ns(sim);
    check(os->poller_wait(os->self, &poller, &event, 1, WEIR_NEVER) == 1);
    check(event.token == 7 && (event.ready & WEIR_WRITABLE) != 0);
    check(weir_sim_now_ns(sim) - began_ns >= at_least_ns);
    check(send_bytes(sim, ends.client, 10) == 10);
    os->poller_close(os->self, &poller);
    pair_close(sim, ends);
}

static void body_again_unix(struct weir_sim *sim)
{
    again(sim, AF_UNIX, 500);
}

static void body_again_tcp_long(struct weir_sim *sim)
{
    again(sim, AF_INET, MS - 1000);
}

// A short count, then an edge in the direction of what is left.
static void body_short(struct weir_sim *sim)
{
    struct ends ends = pair_open(sim, AF_INET);
    struct weir_poller poller;
    struct weir_os_event event;
    const struct weir_os *os = weir_sim_os(sim);
    check(os->poller_open(os->self, &poller) == 0);
    check(os->poller_add(os->self, &poller, ends.client, 7) == 0);
    check(os->poller_wait(os->self, &poller, &event, 1, 0) == 1);
    check(send_bytes(sim, ends.client, 100) == 50);
    check(os->poller_wait(os->self, &poller, &event, 1, WEIR_NEVER) == 1);
    check(recv_bytes(sim, ends.server, 100) == 50);
    os->poller_close(os->self, &poller);
    pair_close(sim, ends);
}

// A Unix stream takes whole buffers.
static void body_short_unix(struct weir_sim *sim)
{
    struct ends ends = pair_open(sim, AF_UNIX);
    check(send_bytes(sim, ends.client, 1000) == 1000); // one buffer: no decision
    check(send_bytes(sim, ends.client, 90000) == 36544);
    pair_close(sim, ends);
}

static void body_interrupt(struct weir_sim *sim)
{
    struct ends ends = pair_open(sim, AF_UNIX);
    check(send_bytes(sim, ends.client, 10) == -EINTR);
    check(send_bytes(sim, ends.client, 10) == 10);
    check(recv_bytes(sim, ends.server, 100) == 10);
    pair_close(sim, ends);
}

static void test_delays_of_calls(void **state)
{
    (void)state;
    run_deviating(body_again_unix, WEIR_SIM_AGAIN, 1, 1); // 0 is accept's
    run_deviating(body_again_tcp_long, WEIR_SIM_AGAIN, 1, 2);
    run_deviating(body_short, WEIR_SIM_SHORT, 0, 2);
    run_deviating(body_short_unix, WEIR_SIM_SHORT, 0, 1);
    run_deviating(body_interrupt, WEIR_SIM_INTERRUPT, 2, 1); // after connect's and accept's
}

// ---- Faults of a connect ----

static int connect_result(struct weir_sim *sim, int family, int *fd)
{
    struct weir_address address = family == AF_UNIX ? address_unix() : address_tcp();
    *fd = CALL(sim, socket_open, family, SOCK_STREAM);
    return CALL(sim, socket_connect, *fd, &address);
}

static void connect_later(struct weir_sim *sim, int error, uint64_t from_ns, uint64_t to_ns)
{
    int fd = -1;
    uint64_t began_ns = weir_sim_now_ns(sim);
    check(connect_result(sim, AF_INET, &fd) == -EINPROGRESS);
    check(state_of(sim, fd) == 0);
    check(weir_sim_wait(sim, fd, WEIR_WRITABLE, WEIR_NEVER) > 0);
    uint64_t took_ns = weir_sim_now_ns(sim) - began_ns;
    check(took_ns >= from_ns && took_ns <= to_ns);
    check(CALL(sim, socket_error, fd) == error);
    check(CALL(sim, socket_close, fd) == 0);
}

static void body_connect_refused(struct weir_sim *sim)
{
    connect_later(sim, ECONNREFUSED, 0, MS);
}

static void body_connect_timeout(struct weir_sim *sim)
{
    connect_later(sim, ETIMEDOUT, SECOND, 5 * SECOND);
}

static void body_connect_hang(struct weir_sim *sim)
{
    connect_later(sim, ETIMEDOUT, 127 * SECOND, 128 * SECOND);
}

static void body_connect_unreachable(struct weir_sim *sim)
{
    int fd = -1;
    check(connect_result(sim, AF_INET, &fd) == -ENETUNREACH);
    check(CALL(sim, socket_close, fd) == 0);
}

static void body_connect_unix(struct weir_sim *sim)
{
    struct ends ends = pair_open(sim, AF_UNIX);
    int fd = -1;
    int code = connect_result(sim, AF_UNIX, &fd);
    check(code == -ECONNREFUSED || code == -ENOENT || code == -EAGAIN || code == -EACCES);
    check((state_of(sim, ends.listener) & WEIR_READABLE) == 0);
    check(CALL(sim, socket_close, fd) == 0);
    pair_close(sim, ends);
}

static void test_connect_faults(void **state)
{
    (void)state;
    run_deviating(body_connect_refused, WEIR_SIM_CONNECT, 0, 1);
    run_deviating(body_connect_timeout, WEIR_SIM_CONNECT, 0, 2);
    run_deviating(body_connect_hang, WEIR_SIM_CONNECT, 0, 3);
    run_deviating(body_connect_unreachable, WEIR_SIM_CONNECT, 0, 5);
    for (uint32_t value = 1; value <= 4; value++) {
        run_deviating(body_connect_unix, WEIR_SIM_CONNECT, 1, value);
    }
}

// ---- Late segments ----

// Numbers of WEIR_SIM_DELAY: the connect is 0, the first send 1.
static void body_late_data(struct weir_sim *sim)
{
    struct ends ends = pair_open(sim, AF_INET);
    check(send_bytes(sim, ends.client, 100) == 100);
    check(send_bytes(sim, ends.client, 50) == 50); // behind it, though not late itself
    check(recv_bytes(sim, ends.server, 1000) == -EAGAIN);
    check(outstanding_of(sim, ends.client) == 150);
    uint64_t began_ns = weir_sim_now_ns(sim);
    check(weir_sim_wait(sim, ends.server, WEIR_READABLE, WEIR_NEVER) == WEIR_READABLE);
    check(weir_sim_now_ns(sim) - began_ns >= MS - 1000);
    check(recv_bytes(sim, ends.server, 1000) == 150);
    check(outstanding_of(sim, ends.client) == 0);
    pair_close(sim, ends);
}

static void body_late_answer(struct weir_sim *sim)
{
    struct ends ends = pair_open(sim, AF_INET);
    check(send_bytes(sim, ends.client, 100) == 100);
    check(recv_bytes(sim, ends.server, 1000) == 100); // read, but not acknowledged yet
    check(outstanding_of(sim, ends.client) == 100);
    weir_sim_sleep(sim, 50 * MS);
    check(outstanding_of(sim, ends.client) == 0);
    pair_close(sim, ends);
}

// The peer closed over unread data, and its reset takes a while: until then sends are accepted.
static void body_late_reset(struct weir_sim *sim)
{
    struct ends ends = pair_open(sim, AF_INET);
    check(send_bytes(sim, ends.client, 100) == 100);
    check(CALL(sim, socket_close, ends.server) == 0);
    check(send_bytes(sim, ends.client, 10) == 10);
    check(state_of(sim, ends.client) == WEIR_WRITABLE);
    check(outstanding_of(sim, ends.client) == 10);
    weir_sim_sleep(sim, 2 * MS);
    check((state_of(sim, ends.client) & WEIR_FAULT) != 0);
    check(send_bytes(sim, ends.client, 10) == -ECONNRESET);
    check(outstanding_of(sim, ends.client) == 10);
    pair_close(sim, ends);
}

static void test_late(void **state)
{
    (void)state;
    run_deviating(body_late_data, WEIR_SIM_DELAY, 1, 5);
    run_deviating(body_late_answer, WEIR_SIM_DELAY, 1, 10);
    run_deviating(body_late_reset, WEIR_SIM_DELAY, 2, 5);
}

// ---- The steps of a Unix peer's death ----

// Dead first: sends fail while nothing else is to be seen; then the hang-up; then the queue.
static void body_death_steps(struct weir_sim *sim)
{
    struct ends ends = pair_open(sim, AF_UNIX);
    check(send_bytes(sim, ends.client, 100) == 100);
    check(CALL(sim, socket_close, ends.server) == 0);
    check(send_bytes(sim, ends.client, 100) == -EPIPE);
    check(state_of(sim, ends.client) == WEIR_WRITABLE);
    check(outstanding_of(sim, ends.client) == 768);
    weir_sim_sleep(sim, 12000);
    check((state_of(sim, ends.client) & (WEIR_HANGUP | WEIR_FAULT)) == (WEIR_HANGUP | WEIR_FAULT));
    check(outstanding_of(sim, ends.client) == 768);
    weir_sim_sleep(sim, 12000);
    check(outstanding_of(sim, ends.client) == 0);
    check(CALL(sim, socket_error, ends.client) == ECONNRESET);
    pair_close(sim, ends);
}

static void test_death_steps(void **state)
{
    (void)state;
    run_deviating(body_death_steps, WEIR_SIM_DELAY, 0, 5);
}

// ---- A link that is down ----

static void peer_process(void *argument)
{
    struct weir_sim *sim = argument;
    struct weir_address address = address_tcp();
    int listener = CALL(sim, socket_open, AF_INET, SOCK_STREAM);
    check(CALL(sim, socket_bind, listener, &address) == 0);
    check(CALL(sim, socket_listen, listener, 3) == 0);
    check(weir_sim_wait(sim, listener, WEIR_READABLE, WEIR_NEVER) > 0);
    check(CALL(sim, socket_accept, listener) >= 0);
    for (;;) {
        weir_sim_sleep(sim, 1000 * SECOND);
    }
}

static int link_open(struct weir_sim *sim)
{
    weir_sim_process_start(sim, peer_process, sim);
    weir_sim_sleep(sim, MS);
    int fd = -1;
    check(connect_result(sim, AF_INET, &fd) == -EINPROGRESS);
    weir_sim_sleep(sim, MS);
    check(state_of(sim, fd) == WEIR_WRITABLE);
    return fd;
}

static void link_end(struct weir_sim *sim, int fd)
{
    check(CALL(sim, socket_close, fd) == 0);
    weir_sim_process_kill(sim, 1);
}

static void body_link_back(struct weir_sim *sim)
{
    int fd = link_open(sim);
    sim_net_link(sim, false);
    check(send_bytes(sim, fd, 5000) == 5000);
    weir_sim_sleep(sim, SECOND);
    check(outstanding_of(sim, fd) == 5000);
    sim_net_link(sim, true);
    weir_sim_sleep(sim, SECOND);
    check(outstanding_of(sim, fd) == 0);
    link_end(sim, fd);
}

static void body_link_user_timeout(struct weir_sim *sim)
{
    int fd = link_open(sim);
    check(CALL(sim, socket_option, fd, WEIR_SOCKET_USER_TIMEOUT_MS, 3000) == 0);
    sim_net_link(sim, false);
    weir_sim_sleep(sim, 10 * SECOND);
    check(state_of(sim, fd) == WEIR_WRITABLE); // idle: for ever
    check(send_bytes(sim, fd, 5000) == 5000);
    weir_sim_sleep(sim, 2 * SECOND);
    check(state_of(sim, fd) == WEIR_WRITABLE);
    weir_sim_sleep(sim, 2 * SECOND);
    check((state_of(sim, fd) & WEIR_HANGUP) != 0);
    check(CALL(sim, socket_error, fd) == ETIMEDOUT);
    check(outstanding_of(sim, fd) == 5000);
    link_end(sim, fd);
}

static void body_link_keepalive(struct weir_sim *sim)
{
    int fd = link_open(sim);
    check(CALL(sim, socket_option, fd, WEIR_SOCKET_KEEPALIVE, 1) == 0);
    sim_net_link(sim, false);
    weir_sim_sleep(sim, 3 * SECOND);
    check(state_of(sim, fd) == WEIR_WRITABLE);
    weir_sim_sleep(sim, 2 * SECOND);
    check(CALL(sim, socket_error, fd) == ETIMEDOUT);
    link_end(sim, fd);
}

static void body_link_connect(struct weir_sim *sim)
{
    weir_sim_process_start(sim, peer_process, sim);
    weir_sim_sleep(sim, MS);
    sim_net_link(sim, false);
    int fd = -1;
    check(connect_result(sim, AF_INET, &fd) == -EINPROGRESS);
    weir_sim_sleep(sim, 20 * SECOND);
    check(state_of(sim, fd) == 0);
    sim_net_link(sim, true);
    weir_sim_sleep(sim, SECOND);
    check(state_of(sim, fd) == WEIR_WRITABLE);
    link_end(sim, fd);
}

// A reset that is lost is not sent again: only the next segment finds out.
static void body_link_lost_reset(struct weir_sim *sim)
{
    int fd = link_open(sim);
    check(send_bytes(sim, fd, 100) == 100);
    sim_net_link(sim, false);
    weir_sim_process_kill(sim, 1);
    sim_net_link(sim, true);
    check(state_of(sim, fd) == WEIR_WRITABLE);
    check(send_bytes(sim, fd, 100) == 100);
    check((state_of(sim, fd) & WEIR_FAULT) != 0);
    check(CALL(sim, socket_error, fd) == ECONNRESET);
    check(CALL(sim, socket_close, fd) == 0);
}

static void test_link(void **state)
{
    (void)state;
    run(body_link_back, NULL, 0);
    run(body_link_user_timeout, NULL, 0);
    run(body_link_keepalive, NULL, 0);
    run(body_link_connect, NULL, 0);
    run(body_link_lost_reset, NULL, 0);
}

// ---- Room ----

static void body_notsent(struct weir_sim *sim)
{
    struct ends ends = pair_open(sim, AF_INET);
    check(CALL(sim, socket_option, ends.client, WEIR_SOCKET_NOTSENT_BYTES, 10000) == 0);
    int64_t sent = 0;
    for (int64_t count = 1; count > 0; sent += count > 0 ? count : 0) {
        count = send_bytes(sim, ends.client, 5000);
    }
    check((state_of(sim, ends.client) & WEIR_WRITABLE) == 0);
    check(outstanding_of(sim, ends.client) <= 15000); // and not the megabytes of the send buffer
    int64_t read = 0;
    while (read < sent) {
        int64_t count = recv_bytes(sim, ends.server, 4096);
        check(count > 0);
        read += count;
    }
    check((state_of(sim, ends.client) & WEIR_WRITABLE) != 0);
    pair_close(sim, ends);
}

// The sizes that process 0 draws bound what is in flight.
static void body_small_buffers(struct weir_sim *sim)
{
    struct ends ends = pair_open(sim, AF_UNIX);
    int64_t sent = 0;
    for (int64_t count = 1; count > 0; sent += count > 0 ? count : 0) {
        count = send_bytes(sim, ends.client, 5000);
    }
    check(sent > 0 && sent < 10000);
    pair_close(sim, ends);
}

static void test_room(void **state)
{
    (void)state;
    run(body_notsent, NULL, 0);
    run_deviating(body_small_buffers, WEIR_SIM_WORK, 1, 1); // the listener's draw is 0
}

// ---- Runs after runs ----

static void body_everything(struct weir_sim *sim)
{
    for (int round = 0; round < 3; round++) {
        int family = weir_sim_choose(sim, WEIR_SIM_WORK, 2) == 0 ? AF_UNIX : AF_INET;
        struct ends ends = {-1, -1, -1};
        struct weir_address address = family == AF_UNIX ? address_unix() : address_tcp();
        ends.listener = CALL(sim, socket_open, family, SOCK_STREAM);
        (void)CALL(sim, socket_bind, ends.listener, &address);
        (void)CALL(sim, socket_listen, ends.listener, 3);
        ends.client = CALL(sim, socket_open, family, SOCK_STREAM);
        (void)CALL(sim, socket_connect, ends.client, &address);
        ends.server = CALL(sim, socket_accept, ends.listener);
        for (int step = 0; step < 20; step++) {
            int fd = weir_sim_choose(sim, WEIR_SIM_WORK, 2) == 0 ? ends.client : ends.server;
            switch (weir_sim_choose(sim, WEIR_SIM_WORK, 6)) {
            case 0: (void)send_bytes(sim, fd, weir_sim_choose(sim, WEIR_SIM_WORK, 90000)); break;
            case 1: (void)recv_bytes(sim, fd, 4096); break;
            case 2: (void)CALL(sim, socket_shutdown, fd, WEIR_SHUTDOWN_WRITE); break;
            case 3: (void)state_of(sim, fd); break;
            case 4: weir_sim_sleep(sim, weir_sim_choose(sim, WEIR_SIM_WORK, 2000000)); break;
            default: (void)send_bytes(sim, fd, 100); break;
            }
        }
        pair_close(sim, ends);
    }
}

static void run_seed(uint64_t seed)
{
    static const struct weir_sim_scenario scenario = {
        .name = "everything", .about = "a test", .run = body_everything};
    struct weir_sim_options options = {.seed = seed, .strategy = WEIR_SIM_RANDOM};
    weir_sim_run(simulator, &scenario, &options, &result);
    if (result.verdict != WEIR_SIM_PASS) {
        fprintf(stderr, "seed %u: %s: %s\n", (unsigned)seed, result.name, result.message);
    }
    assert_int_equal(result.verdict, WEIR_SIM_PASS);
}

// Whatever is drawn, no assertion of the model fails; and a run does not depend on those before it.
static void test_seeds(void **state)
{
    (void)state;
    uint64_t hashes[20];
    for (uint64_t seed = 0; seed < 3000; seed++) {
        run_seed(seed);
        if (seed < 20) {
            hashes[seed] = result.hash;
        }
    }
    for (uint64_t seed = 20; seed-- > 0;) {
        run_seed(seed);
        assert_true(result.hash == hashes[seed]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_send_faults, setup, teardown),
        cmocka_unit_test_setup_teardown(test_delays_of_calls, setup, teardown),
        cmocka_unit_test_setup_teardown(test_connect_faults, setup, teardown),
        cmocka_unit_test_setup_teardown(test_late, setup, teardown),
        cmocka_unit_test_setup_teardown(test_death_steps, setup, teardown),
        cmocka_unit_test_setup_teardown(test_link, setup, teardown),
        cmocka_unit_test_setup_teardown(test_room, setup, teardown),
        cmocka_unit_test_setup_teardown(test_seeds, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
