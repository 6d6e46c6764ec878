// Faults injected into the simulator's sockets: what is seen after one is what a real one leaves.
#include "tests/support_socket_pair.h"

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
    pass_deviating(body_send_unix_reset, WEIR_SIM_SEND, 0, 1, 1);
    pass_deviating(body_send_unix_pipe, WEIR_SIM_SEND, 0, 1, 2);
    pass_deviating(body_send_unix_clean, WEIR_SIM_SEND, 0, 1, 1);
    pass_deviating(body_send_unix_clean, WEIR_SIM_SEND, 0, 1, 2);
    pass_deviating(body_send_unix_shortage, WEIR_SIM_SEND, 0, 1, 3);
    pass_deviating(body_send_unix_shortage, WEIR_SIM_SEND, 0, 1, 4);
    pass_deviating(body_send_unix_between, WEIR_SIM_SEND, 0, 1, 5);
    pass_deviating(body_send_tcp_reset, WEIR_SIM_SEND, 0, 1, 1);
    pass_deviating(body_send_tcp_gone, WEIR_SIM_SEND, 0, 1, 2);
    pass_deviating(body_send_tcp_timeout, WEIR_SIM_SEND, 0, 1, 5);
    pass_deviating(body_send_tcp_timeout, WEIR_SIM_SEND, 0, 1, 6);
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
    pass_deviating(body_again_unix, WEIR_SIM_AGAIN, 0, 1, 1); // 0 is accept's
    pass_deviating(body_again_tcp_long, WEIR_SIM_AGAIN, 0, 1, 2);
    pass_deviating(body_short, WEIR_SIM_SHORT, 0, 0, 2);
    pass_deviating(body_short_unix, WEIR_SIM_SHORT, 0, 0, 1);
    pass_deviating(body_interrupt, WEIR_SIM_INTERRUPT, 0, 2, 1); // after connect's and accept's
}

// ---- Faults of a receive, a shutdown, an accept ----

static void body_recv_unix(struct weir_sim *sim)
{
    struct ends ends = pair_open(sim, AF_UNIX);
    check(send_bytes(sim, ends.client, 100) == 100);
    check(send_bytes(sim, ends.server, 30) == 30);
    check(recv_bytes(sim, ends.client, 100) == 30); // what the peer had said
    check(recv_bytes(sim, ends.client, 100) == -ECONNRESET);
    check(recv_bytes(sim, ends.client, 100) == 0);
    check(outstanding_of(sim, ends.client) == 0);
    check(recv_bytes(sim, ends.server, 100) == -ECONNRESET);
    pair_close(sim, ends);
}

static void body_recv_tcp(struct weir_sim *sim)
{
    struct ends ends = pair_open(sim, AF_INET);
    check(send_bytes(sim, ends.server, 30) == 30);
    check(recv_bytes(sim, ends.client, 100) == 30);
    int64_t error = recv_bytes(sim, ends.client, 100);
    check(error == -ECONNRESET || error == -ETIMEDOUT || error == -EHOSTUNREACH);
    check(recv_bytes(sim, ends.client, 100) == 0);
    check(send_bytes(sim, ends.client, 100) == -EPIPE);
    pair_close(sim, ends);
}

static void body_shutdown(struct weir_sim *sim)
{
    struct ends ends = pair_open(sim, AF_INET);
    check(CALL(sim, socket_shutdown, ends.client, WEIR_SHUTDOWN_WRITE) == -ENOTCONN);
    check(CALL(sim, socket_error, ends.client) == ECONNRESET);
    check(recv_bytes(sim, ends.server, 100) == -ECONNRESET);
    pair_close(sim, ends);
}

static void body_shutdown_unix(struct weir_sim *sim)
{
    struct ends ends = pair_open(sim, AF_UNIX);
    check(send_bytes(sim, ends.client, 100) == 100);
    check(CALL(sim, socket_shutdown, ends.client, WEIR_SHUTDOWN_WRITE) == 0);
    check(outstanding_of(sim, ends.client) == 0);
    check(CALL(sim, socket_error, ends.client) == ECONNRESET);
    pair_close(sim, ends);
}

// The connection that was to be accepted is gone, and its client is told.
static void body_accept(struct weir_sim *sim)
{
    struct weir_address address = address_tcp();
    int listener = CALL(sim, socket_open, AF_INET, SOCK_STREAM);
    check(CALL(sim, socket_bind, listener, &address) == 0);
    check(CALL(sim, socket_listen, listener, 3) == 0);
    int fd = -1;
    check(connect_result(sim, AF_INET, &fd) == -EINPROGRESS);
    check(CALL(sim, socket_accept, listener) == -ECONNABORTED);
    check(CALL(sim, socket_error, fd) == ECONNRESET);
    check(CALL(sim, socket_accept, listener) == -EAGAIN);
    check(CALL(sim, socket_close, fd) == 0);
    check(CALL(sim, socket_close, listener) == 0);
}

static void test_other_faults(void **state)
{
    (void)state;
    pass_deviating(body_recv_unix, WEIR_SIM_RECV, 0, 0, 1);
    for (uint32_t value = 1; value <= 4; value++) { // 0 is accept's
        pass_deviating(body_recv_tcp, WEIR_SIM_RECV, 0, 1, value);
    }
    pass_deviating(body_shutdown, WEIR_SIM_RECV, 0, 1, 1);
    pass_deviating(body_shutdown_unix, WEIR_SIM_RECV, 0, 0, 1);
    pass_deviating(body_accept, WEIR_SIM_RECV, 0, 0, 1);
}

// ---- Faults of a connect ----

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
    pass_deviating(body_connect_refused, WEIR_SIM_CONNECT, 0, 0, 1);
    pass_deviating(body_connect_timeout, WEIR_SIM_CONNECT, 0, 0, 2);
    pass_deviating(body_connect_hang, WEIR_SIM_CONNECT, 0, 0, 3);
    pass_deviating(body_connect_unreachable, WEIR_SIM_CONNECT, 0, 0, 5);
    for (uint32_t value = 1; value <= 4; value++) {
        pass_deviating(body_connect_unix, WEIR_SIM_CONNECT, 0, 1, value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_send_faults, setup, teardown),
        cmocka_unit_test_setup_teardown(test_delays_of_calls, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_faults, setup, teardown),
        cmocka_unit_test_setup_teardown(test_connect_faults, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
