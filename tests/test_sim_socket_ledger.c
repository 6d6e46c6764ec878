// The ledger over simulated Unix sockets whose peer dies: never a false confirmation.
//
// And each wrong way to do it is found out: that is what the model's order of death is for.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "weir_sim.h"
#include "runtime/os.h"
#include "writer/ledger.h"

// How the sender goes about it.
enum way {
    WAY_RIGHT,       // the look after the count, one buffer per send
    WAY_LOOK_BEFORE, // the look before the count
    WAY_NO_LOOK,
    WAY_SEVERAL_BUFFERS, // sends that the kernel splits
    WAY_ERROR_BEFORE,    // at the end: the error before the count
    WAY_ERROR_IGNORED    // what a send said is not told to the ledger
};
static enum way way;

#define SENDS 30
// One buffer of the kernel even with the smallest send buffer.
#define ONE_BUFFER_BYTES 2240u

static struct weir_ledger ledger;
static uint64_t truth; // bytes the collector's process has read
static bool false_confirmation;

#define CALL(sim, function, ...) (weir_sim_os(sim)->function(weir_sim_os(sim)->self, __VA_ARGS__))

// Not instrumented: in the fine grain nothing may come between a recv and the counting of it.
__attribute__((noinline, no_sanitize("thread"))) static void truth_add(uint64_t count)
{
    truth += count;
}

__attribute__((noinline, no_sanitize("thread"))) static uint64_t truth_get(void)
{
    return truth;
}

static struct weir_address address_of(void)
{
    struct weir_address address;
    assert_int_equal(weir_address_unix(&address, "@ledger"), 0);
    return address;
}

static void collector(void *argument)
{
    struct weir_sim *sim = argument;
    struct weir_address address = address_of();
    unsigned char bytes[8192];
    int listener = CALL(sim, socket_open, AF_UNIX, SOCK_STREAM);
    (void)CALL(sim, socket_bind, listener, &address);
    (void)CALL(sim, socket_listen, listener, 3);
    (void)weir_sim_wait(sim, listener, WEIR_READABLE, WEIR_NEVER);
    int fd = CALL(sim, socket_accept, listener);
    uint32_t reads = weir_sim_choose(sim, WEIR_SIM_WORK, 2 * SENDS);
    for (uint32_t read = 0; read < reads; read++) {
        if (weir_sim_choose(sim, WEIR_SIM_WORK, 4) == 1) {
            weir_sim_sleep(sim, weir_sim_choose(sim, WEIR_SIM_WORK, 2000));
        }
        size_t most = 1 + weir_sim_choose(sim, WEIR_SIM_WORK, sizeof bytes);
        int64_t count = CALL(sim, socket_recv, fd, bytes, most);
        truth_add(count > 0 ? (uint64_t)count : 0);
        if (count == -EAGAIN) {
            (void)weir_sim_wait(sim, fd, WEIR_READABLE, weir_sim_now_ns(sim) + 1000);
        }
    }
    (void)CALL(sim, socket_close, fd);
    (void)CALL(sim, socket_close, listener);
}

static void confirmed(uint64_t count)
{
    false_confirmation |= count > truth_get();
}

static void sample(struct weir_sim *sim, int fd)
{
    int state = 0;
    if (way == WAY_LOOK_BEFORE) {
        state = CALL(sim, socket_state, fd);
    }
    int64_t outstanding = CALL(sim, socket_outstanding, fd);
    if (way != WAY_LOOK_BEFORE && way != WAY_NO_LOOK) {
        state = CALL(sim, socket_state, fd);
    }
    bool alive = (state & (WEIR_HANGUP | WEIR_FAULT)) == 0;
    confirmed(weir_ledger_sample(&ledger, (uint64_t)outstanding, alive));
}

static void end(struct weir_sim *sim, int fd)
{
    int error = way == WAY_ERROR_BEFORE ? CALL(sim, socket_error, fd) : 0;
    int64_t outstanding = CALL(sim, socket_outstanding, fd);
    if (way != WAY_ERROR_BEFORE) {
        error = CALL(sim, socket_error, fd);
    }
    confirmed(weir_ledger_died(&ledger, (uint64_t)outstanding, error));
}

// One send; false: the connection is over.
static bool send_once(struct weir_sim *sim, int fd)
{
    static const unsigned char payload[65536];
    uint32_t most = way == WAY_SEVERAL_BUFFERS ? sizeof payload : ONE_BUFFER_BYTES;
    struct weir_iovec part = {payload, 1 + weir_sim_choose(sim, WEIR_SIM_WORK, most)};
    int64_t sent = CALL(sim, socket_send, fd, &part, 1);
    if (sent > 0) {
        int64_t outstanding = CALL(sim, socket_outstanding, fd);
        weir_ledger_sent(&ledger, (uint64_t)sent, (uint64_t)outstanding);
        return true;
    }
    if (way != WAY_ERROR_IGNORED) {
        weir_ledger_error(&ledger, (int)sent);
    }
    if (sent == -EAGAIN) {
        (void)weir_sim_wait(sim, fd, WEIR_WRITABLE, weir_sim_now_ns(sim) + 10000);
    }
    return sent == -EAGAIN || sent == -EINTR || sent == -ENOBUFS || sent == -ENOMEM;
}

static void sender(struct weir_sim *sim)
{
    struct weir_address address = address_of();
    truth_add(0 - truth_get());
    false_confirmation = false;
    uint32_t process = weir_sim_process_start(sim, collector, sim);
    weir_sim_sleep(sim, 100000);
    int fd = CALL(sim, socket_open, AF_UNIX, SOCK_STREAM);
    int connected = fd < 0 ? fd : CALL(sim, socket_connect, fd, &address);
    weir_ledger_init(&ledger, WEIR_LEDGER_UNIX);
    bool open = connected == 0;
    for (uint32_t step = 0; open && step < SENDS; step++) {
        open = send_once(sim, fd);
        sample(sim, fd);
        if (weir_sim_choose(sim, WEIR_SIM_WORK, 3 * SENDS) == 1) {
            weir_sim_process_kill(sim, process);
        }
    }
    if (connected == 0) {
        end(sim, fd);
    }
    if (fd >= 0) {
        (void)CALL(sim, socket_close, fd);
    }
    weir_sim_process_kill(sim, process);
}

// How many of so many seeds confirmed what was never read; no more are tried after `enough`.
static uint32_t lies_until(enum way which, uint32_t seeds, uint32_t enough)
{
    struct weir_sim *sim = weir_sim_create();
    assert_non_null(sim);
    uint32_t count = 0;
    way = which;
    uint32_t seed = 0;
    for (; seed < seeds && count < enough; seed++) {
        static const struct weir_sim_scenario scenario = {
            .name = "ledger", .about = "a test", .run = sender};
        struct weir_sim_options options = {.seed = seed, .strategy = WEIR_SIM_RANDOM};
        struct weir_sim_result result;
        weir_sim_run(sim, &scenario, &options, &result);
        if (result.verdict != WEIR_SIM_PASS) {
            fprintf(stderr, "seed %u: %s: %s\n", seed, result.name, result.message);
        }
        assert_int_equal(result.verdict, WEIR_SIM_PASS);
        count += false_confirmation;
    }
    weir_sim_destroy(sim);
    print_message("%u of %u\n", count, seed);
    return count;
}

static uint32_t lies(enum way which, uint32_t seeds)
{
    return lies_until(which, seeds, UINT32_MAX);
}

static void test_right_way(void **state)
{
    (void)state;
    assert_int_equal(lies(WAY_RIGHT, 20000), 0);
}

static void test_look_before(void **state)
{
    (void)state;
    assert_true(lies(WAY_LOOK_BEFORE, 3000) > 0);
}

static void test_no_look(void **state)
{
    (void)state;
    assert_true(lies(WAY_NO_LOOK, 1000) > 0);
}

static void test_several_buffers(void **state)
{
    (void)state;
    assert_true(lies(WAY_SEVERAL_BUFFERS, 5000) > 0);
}

static void test_error_before(void **state)
{
    (void)state;
    // The window is two calls wide: the rarest of them all.
    assert_int_equal(lies_until(WAY_ERROR_BEFORE, 300000, 1), 1);
}

static void test_error_ignored(void **state)
{
    (void)state;
    assert_true(lies(WAY_ERROR_IGNORED, 3000) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_right_way),    cmocka_unit_test(test_look_before),
        cmocka_unit_test(test_no_look),      cmocka_unit_test(test_several_buffers),
        cmocka_unit_test(test_error_before), cmocka_unit_test(test_error_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
