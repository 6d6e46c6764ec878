// The simulated poller against the kernel's: random scripts on both, step by step.
//
// Each script runs inside of a simulation and does every call twice, on the simulated os and on
// Linux: sockets are made, written, read, shut down, closed, watched or not; after each step both
// pollers are asked, now and then, and must say the same of the same sockets in the same order.
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/os.h"
#include "tests/support_scenario.h"

#define PAIRS 3
#define ENDS (2 * PAIRS)
#define STEPS 60
#define SCRIPTS 400

enum side { SIMULATED, REAL, SIDES };

struct world {
    struct weir_sim *sim;
    struct weir_os os[SIDES];
    struct weir_poller poller[SIDES];
    int ends[SIDES][ENDS]; // sockets; neighbours are connected
    bool watched[ENDS];
    uint64_t random;
    char log[4096]; // the script so far
    size_t log_bytes;
};

static uint64_t script;

static uint32_t below(struct world *world, uint32_t limit)
{
    world->random ^= world->random << 13; // xorshift64 (Marsaglia, 2003)
    world->random ^= world->random >> 7;
    world->random ^= world->random << 17;
    return (uint32_t)((world->random >> 32) % limit);
}

static void __attribute__((format(printf, 2, 3)))
log_add(struct world *world, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(world->log + world->log_bytes, sizeof world->log - world->log_bytes,
                           format, arguments);
    va_end(arguments);
    if (length > 0 && world->log_bytes + (size_t)length < sizeof world->log) {
        world->log_bytes += (size_t)length;
    }
}

static void same(struct world *world, const char *what, int64_t simulated, int64_t real)
{
    if (simulated != real) {
        fprintf(stderr, "script %d: %s\n%s: simulated %lld, real %lld\n", (int)script, world->log,
                what, (long long)simulated, (long long)real);
        weir_sim_fail(world->sim, WEIR_SIM_SAFETY, "differs", "%s", what);
    }
}

// Does the call on both sides and compares the answers.
#define both(world, what, call)                                                                    \
    do {                                                                                           \
        int64_t answers[SIDES];                                                                    \
        for (int side = 0; side < SIDES; side++) {                                                 \
            const struct weir_os *os = &(world)->os[side];                                         \
            answers[side] = (call);                                                                \
        }                                                                                          \
        same(world, what, answers[SIMULATED], answers[REAL]);                                      \
    } while (0)

static void pair_open(struct world *world, int pair)
{
    char path[64];
    struct weir_address address;
    (void)snprintf(path, sizeof path, "@weir-test-poller-%d", (int)getpid());
    weir_sim_check(world->sim, weir_address_unix(&address, path) == 0, "address");
    for (int side = 0; side < SIDES; side++) {
        const struct weir_os *os = &world->os[side];
        int listener = os->socket_open(os->self, AF_UNIX, SOCK_STREAM);
        int *ends = &world->ends[side][2 * pair];
        ends[0] = os->socket_open(os->self, AF_UNIX, SOCK_STREAM);
        bool made = os->socket_bind(os->self, listener, &address) == 0 &&
                    os->socket_listen(os->self, listener, 1) == 0 &&
                    os->socket_connect(os->self, ends[0], &address) == 0;
        ends[1] = os->socket_accept(os->self, listener);
        weir_sim_check(world->sim, made && ends[0] >= 0 && ends[1] >= 0, "pair");
        (void)os->socket_close(os->self, listener);
    }
}

static void end_close(struct world *world, int end)
{
    for (int side = 0; side < SIDES; side++) {
        const struct weir_os *os = &world->os[side];
        (void)os->socket_close(os->self, world->ends[side][end]);
    }
    world->watched[end] = false;
}

// ---- Steps ----

static void step_watch(struct world *world, int end)
{
    log_add(world, "%s %d, ", world->watched[end] ? "remove" : "add", end);
    if (world->watched[end]) {
        both(world, "remove",
             os->poller_remove(os->self, &world->poller[side], world->ends[side][end]));
    } else {
        both(world, "add",
             os->poller_add(os->self, &world->poller[side], world->ends[side][end], (uint64_t)end));
    }
    world->watched[end] = !world->watched[end];
}

static void step_send(struct world *world, int end)
{
    static const char bytes[20000];
    size_t count = below(world, 3) == 0 ? sizeof bytes : 1 + below(world, 9);
    const struct weir_iovec part = {bytes, count};
    log_add(world, "send %d %zu, ", end, count);
    both(world, "send", os->socket_send(os->self, world->ends[side][end], &part, 1));
}

static void step_recv(struct world *world, int end)
{
    static char bytes[65536];
    size_t count = below(world, 2) == 0 ? sizeof bytes : 1 + below(world, 9);
    log_add(world, "recv %d %zu, ", end, count);
    both(world, "recv", os->socket_recv(os->self, world->ends[side][end], bytes, count));
}

static void step_shutdown(struct world *world, int end)
{
    enum weir_socket_shutdown how = (enum weir_socket_shutdown)below(world, 3);
    log_add(world, "shutdown %d %d, ", end, (int)how);
    both(world, "shutdown", os->socket_shutdown(os->self, world->ends[side][end], how));
}

static void step_reopen(struct world *world, int pair)
{
    int first = (int)below(world, 2);
    log_add(world, "reopen %d %d, ", 2 * pair + first, 2 * pair + 1 - first);
    end_close(world, 2 * pair + first);
    end_close(world, 2 * pair + 1 - first);
    pair_open(world, pair);
}

static void step_wake(struct world *world)
{
    log_add(world, "wake, ");
    for (int side = 0; side < SIDES; side++) {
        world->os[side].poller_wake(world->os[side].self, &world->poller[side]);
    }
}

// Now, never, or in an hour.
static void step_arm(struct world *world)
{
    uint32_t when = below(world, 3);
    log_add(world, "arm %u, ", when);
    for (int side = 0; side < SIDES; side++) {
        const struct weir_os *os = &world->os[side];
        uint64_t deadline_ns = when == 0   ? 0
                               : when == 1 ? WEIR_NEVER
                                           : os->now_ns(os->self) + UINT64_C(3600000000000);
        weir_sim_check(world->sim, os->poller_arm(os->self, &world->poller[side], deadline_ns) == 0,
                       "arm");
    }
    if (when == 0) { // the kernel's timer may need a moment
        struct pollfd timer = {.fd = world->poller[REAL].timer_fd, .events = POLLIN};
        weir_sim_check(world->sim, poll(&timer, 1, 10000) == 1, "timer");
    }
}

static void step_wait(struct world *world)
{
    struct weir_os_event events[SIDES][8];
    uint32_t events_max = below(world, 2) == 0 ? 8 : 1 + below(world, 3);
    struct pollfd real = {.fd = world->poller[REAL].fd, .events = POLLIN};
    same(world, "poller readable",
         weir_sim_wait(world->sim, world->poller[SIMULATED].fd, WEIR_READABLE, 0) != 0,
         poll(&real, 1, 0));
    log_add(world, "wait %u, ", events_max);
    int counts[SIDES];
    for (int side = 0; side < SIDES; side++) {
        const struct weir_os *os = &world->os[side];
        counts[side] = os->poller_wait(os->self, &world->poller[side], events[side], events_max, 0);
    }
    same(world, "events", counts[SIMULATED], counts[REAL]);
    for (int index = 0; index < counts[REAL]; index++) {
        same(world, "token", (int64_t)events[SIMULATED][index].token,
             (int64_t)events[REAL][index].token);
        log_add(world, "[%d %u] ", (int)events[REAL][index].token, events[REAL][index].ready);
        same(world, "readiness", events[SIMULATED][index].ready, events[REAL][index].ready);
    }
}

static void step(struct world *world)
{
    int end = (int)below(world, ENDS);
    switch (below(world, 16)) {
    case 0:
    case 1: step_watch(world, end); break;
    case 2:
    case 3:
    case 4: step_send(world, end); break;
    case 5:
    case 6:
    case 7: step_recv(world, end); break;
    case 8: step_shutdown(world, end); break;
    case 9: step_reopen(world, end / 2); break;
    case 10: step_wake(world); break;
    case 11: step_arm(world); break;
    default: step_wait(world); break;
    }
}

static void body_script(struct weir_sim *sim)
{
    static struct world world;
    world = (struct world){.sim = sim, .os = {*weir_sim_os(sim), weir_os_linux()}};
    world.random = script * UINT64_C(0x9e3779b97f4a7c15) + 1;
    for (int side = 0; side < SIDES; side++) {
        const struct weir_os *os = &world.os[side];
        weir_sim_check(sim, os->poller_open(os->self, &world.poller[side]) == 0, "poller");
    }
    for (int pair = 0; pair < PAIRS; pair++) {
        pair_open(&world, pair);
    }
    for (int count = 0; count < STEPS; count++) {
        step(&world);
    }
    for (int end = 0; end < ENDS; end++) {
        end_close(&world, end);
    }
    for (int side = 0; side < SIDES; side++) {
        world.os[side].poller_close(world.os[side].self, &world.poller[side]);
    }
}

static void test_scripts(void **state)
{
    (void)state;
    const char *only = getenv("SCRIPT");
    for (script = 0; script < SCRIPTS; script++) {
        if (only == NULL || strtoull(only, NULL, 10) == script) {
            pass(body_script); // without deviations buffers too are as in the kernel
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_scripts)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
