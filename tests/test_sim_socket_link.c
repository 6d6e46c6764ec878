// The simulator's network in time: late segments, links down, deaths in steps, full buffers.
#include "sim/net_state.h"
#include "tests/support_socket_pair.h"

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

// What is small waits until the answer to what is on its way, unless told not to (RFC 896).
static void nagle(struct weir_sim *sim, int no_delay)
{
    struct ends ends = pair_open(sim, AF_INET);
    check(CALL(sim, socket_option, ends.client, WEIR_SOCKET_NODELAY, no_delay) == 0);
    check(send_bytes(sim, ends.client, 100) == 100); // its answer is late
    check(send_bytes(sim, ends.client, 50) == 50);
    check(recv_bytes(sim, ends.server, 1000) == (no_delay != 0 ? 150 : 100));
    weir_sim_sleep(sim, 50 * MS);
    check(recv_bytes(sim, ends.server, 1000) == (no_delay != 0 ? -EAGAIN : 50));
    pair_close(sim, ends);
}

static void body_nagle(struct weir_sim *sim)
{
    nagle(sim, 0);
}

static void body_no_nagle(struct weir_sim *sim)
{
    nagle(sim, 1);
}

// That the peer has our FIN is an event of its own.
static void body_late_answer_to_fin(struct weir_sim *sim)
{
    struct ends ends = pair_open(sim, AF_INET);
    struct weir_poller poller;
    struct weir_os_event event;
    const struct weir_os *os = weir_sim_os(sim);
    check(os->poller_open(os->self, &poller) == 0);
    check(os->poller_add(os->self, &poller, ends.client, 7) == 0);
    check(CALL(sim, socket_shutdown, ends.client, WEIR_SHUTDOWN_WRITE) == 0);
    check(os->poller_wait(os->self, &poller, &event, 1, 0) == 1);
    check(os->poller_wait(os->self, &poller, &event, 1, 0) == 0);
    check(outstanding_of(sim, ends.client) == 1);
    check(os->poller_wait(os->self, &poller, &event, 1, WEIR_NEVER) == 1);
    check(outstanding_of(sim, ends.client) == 0);
    os->poller_close(os->self, &poller);
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
    pass_deviating(body_late_data, WEIR_SIM_DELAY, 0, 1, 5);
    pass_deviating(body_late_answer, WEIR_SIM_DELAY, 0, 1, 10);
    pass_deviating(body_nagle, WEIR_SIM_DELAY, 0, 1, 10);
    pass_deviating(body_no_nagle, WEIR_SIM_DELAY, 0, 1, 10);
    pass_deviating(body_late_answer_to_fin, WEIR_SIM_DELAY, 0, 1, 10);
    pass_deviating(body_late_reset, WEIR_SIM_DELAY, 0, 2, 5);
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
    pass_deviating(body_death_steps, WEIR_SIM_DELAY, 0, 0, 5);
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

// What was heard in between counts anew.
static void body_link_keepalive_anew(struct weir_sim *sim)
{
    int fd = link_open(sim);
    check(CALL(sim, socket_option, fd, WEIR_SOCKET_KEEPALIVE, 1) == 0);
    sim_net_link(sim, false);
    weir_sim_sleep(sim, SECOND);
    sim_net_link(sim, true);
    weir_sim_sleep(sim, SECOND);
    sim_net_link(sim, false);
    weir_sim_sleep(sim, 3 * SECOND);
    check(state_of(sim, fd) == WEIR_WRITABLE);
    weir_sim_sleep(sim, SECOND);
    check(CALL(sim, socket_error, fd) == ETIMEDOUT);
    link_end(sim, fd);
}

// The answer to the SYN is lost, and so are all further ones.
static void body_link_no_answer(struct weir_sim *sim)
{
    weir_sim_process_start(sim, peer_process, sim);
    weir_sim_sleep(sim, MS);
    int fd = -1;
    check(connect_result(sim, AF_INET, &fd) == -EINPROGRESS);
    sim_net_link(sim, false);
    weir_sim_sleep(sim, 120 * SECOND);
    check(state_of(sim, fd) == 0);
    weir_sim_sleep(sim, 10 * SECOND);
    check(CALL(sim, socket_error, fd) == ETIMEDOUT);
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
    pass(body_link_back);
    pass(body_link_user_timeout);
    pass(body_link_keepalive);
    pass(body_link_keepalive_anew);
    pass(body_link_connect);
    pass_deviating(body_link_no_answer, WEIR_SIM_DELAY, 0, 0, 10);
    pass(body_link_lost_reset);
}

// ---- Names in the file system ----

// A name outlives its socket until it is unlinked.
static void body_unlink(struct weir_sim *sim)
{
    struct weir_address address;
    check(weir_address_unix(&address, "/run/collector") == 0);
    int first = CALL(sim, socket_open, AF_UNIX, SOCK_STREAM);
    int second = CALL(sim, socket_open, AF_UNIX, SOCK_STREAM);
    int client = CALL(sim, socket_open, AF_UNIX, SOCK_STREAM);
    check(CALL(sim, socket_bind, first, &address) == 0);
    check(CALL(sim, socket_close, first) == 0);
    check(CALL(sim, socket_bind, second, &address) == -EADDRINUSE);
    check(CALL(sim, socket_connect, client, &address) == -ECONNREFUSED);
    sim_address_forget(sim->net, &address);
    check(CALL(sim, socket_connect, client, &address) == -ENOENT);
    check(CALL(sim, socket_bind, second, &address) == 0);
    check(CALL(sim, socket_listen, second, 1) == 0);
    check(CALL(sim, socket_connect, client, &address) == 0);
    check(CALL(sim, socket_close, second) == 0);
    check(CALL(sim, socket_close, client) == 0);
}

static void test_unlink(void **state)
{
    (void)state;
    pass(body_unlink);
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
    pass(body_notsent);
    pass_deviating(body_small_buffers, WEIR_SIM_WORK, 0, 1, 1); // the listener's draw is 0
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
        cmocka_unit_test_setup_teardown(test_late, setup, teardown),
        cmocka_unit_test_setup_teardown(test_death_steps, setup, teardown),
        cmocka_unit_test_setup_teardown(test_link, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unlink, setup, teardown),
        cmocka_unit_test_setup_teardown(test_room, setup, teardown),
        cmocka_unit_test_setup_teardown(test_seeds, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
