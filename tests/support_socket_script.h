// Socket scripts: os.h calls that write down what they saw, on the real kernel and simulated.
//
// Both texts must be the same. Where kernel and model differ, and why it may be so (scripts keep
// away from these):
//
//   difference                                      reason
//   how much a full TCP connection takes, how       the kernel's depends on memory, autotuning and
//     much of it is acknowledged unread               scheduling; the model's is drawn
//   when an acknowledgement comes                   the kernel delays some by 40 ms; in the model
//                                                     that is a decision, and scripts wait
//   the count of a TCP socket whose failed          a left-over of the kernel's sequence numbers
//     connect was taken back
//   connecting a TCP socket that was connected      old and new positions would stand side by side,
//     once, AF_UNSPEC                                 and a weir stream has one connection
//   a port whose connections are in TIME_WAIT       free in the model: weir's listeners set
//                                                     SO_REUSEADDR
//   types other than stream and datagram            os.h has none
//
// A script is a function. It names its sockets by small numbers and uses the calls below, each of
// which adds a line with the result. What a line must not hold: descriptors, ports, names, times.
#ifndef WEIR_TESTS_SUPPORT_SOCKET_SCRIPT_H
#define WEIR_TESTS_SUPPORT_SOCKET_SCRIPT_H

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/os.h"
#include "weir_sim.h"

// A descriptor that is not open; poll() would pass over a negative one.
#define SCRIPT_NO_FD 999
#define SCRIPT_SOCKETS 32
#define SCRIPT_TEXT_BYTES (1u << 17)
#define SCRIPT_PAYLOAD_BYTES (1u << 20)

struct script {
    const struct weir_os *os;
    struct weir_sim *sim; // NULL: on the real kernel
    uint32_t seed;        // for scripts that draw
    uint64_t number;      // so that names are of one script only
    char *text;
    size_t text_used;
    int fds[SCRIPT_SOCKETS]; // -1: closed
    struct weir_address names[SCRIPT_SOCKETS];
    struct weir_poller poller;
    unsigned char *payload;
    uint64_t sent; // bytes drawn from the payload's pattern so far
};

typedef void script_body(struct script *script);

__attribute__((format(printf, 2, 3))) static inline void say(struct script *script,
                                                             const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    size_t room = SCRIPT_TEXT_BYTES - script->text_used;
    int used = vsnprintf(script->text + script->text_used, room, format, arguments);
    va_end(arguments);
    if (used > 0 && (size_t)used < room) {
        script->text_used += (size_t)used;
    }
}

// ---- Calls ----

#define CALL(script, function, ...) ((script)->os->function((script)->os->self, __VA_ARGS__))

static inline int fd_of(const struct script *script, int index)
{
    return script->fds[index] >= 0 ? script->fds[index] : SCRIPT_NO_FD;
}

static inline int do_open(struct script *script, int index, int family, int type)
{
    script->fds[index] = CALL(script, socket_open, family, type);
    say(script, "open %d -> %d\n", index, script->fds[index] < 0 ? script->fds[index] : 0);
    return script->fds[index];
}

static inline struct weir_address name_abstract(const struct script *script, int index)
{
    char name[64];
    struct weir_address address;
    snprintf(name, sizeof name, "@weir-script-%d-%" PRIu64 "-%d", (int)getpid(), script->number,
             index);
    assert_int_equal(weir_address_unix(&address, name), 0);
    return address;
}

static inline struct weir_address name_loopback(uint16_t port)
{
    struct sockaddr_in native = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct weir_address address = {.bytes_count = sizeof native};
    memcpy(address.bytes, &native, sizeof native);
    return address;
}

static inline int do_bind_to(struct script *script, int index, struct weir_address name)
{
    int result = CALL(script, socket_bind, fd_of(script, index), &name);
    if (result == 0) {
        (void)CALL(script, socket_address, fd_of(script, index), &script->names[index]);
    }
    say(script, "bind %d -> %d\n", index, result);
    return result;
}

static inline int do_bind(struct script *script, int index, int family)
{
    return do_bind_to(script, index,
                      family == AF_UNIX ? name_abstract(script, index) : name_loopback(0));
}

static inline int do_listen(struct script *script, int index, int backlog)
{
    int result = CALL(script, socket_listen, fd_of(script, index), backlog);
    say(script, "listen %d %d -> %d\n", index, backlog, result);
    return result;
}

static inline int do_connect_to(struct script *script, int index, struct weir_address name)
{
    int result = CALL(script, socket_connect, fd_of(script, index), &name);
    say(script, "connect %d -> %d\n", index, result);
    return result;
}

static inline int do_connect(struct script *script, int index, int to)
{
    return do_connect_to(script, index, script->names[to]);
}

static inline int do_accept(struct script *script, int index, int listener)
{
    script->fds[index] = CALL(script, socket_accept, fd_of(script, listener));
    say(script, "accept %d from %d -> %d\n", index, listener,
        script->fds[index] < 0 ? script->fds[index] : 0);
    return script->fds[index];
}

// The bytes of the next send: each position of a script has its own value.
static inline void payload_fill(struct script *script, size_t bytes)
{
    assert_true(bytes <= SCRIPT_PAYLOAD_BYTES);
    for (size_t index = 0; index < bytes; index++) {
        script->payload[index] = (unsigned char)((script->sent + index) * 2654435761u >> 24);
    }
}

static inline int64_t do_send(struct script *script, int index, size_t bytes)
{
    payload_fill(script, bytes);
    // In two parts, the way the writer gathers.
    struct weir_iovec parts[2] = {{script->payload, bytes / 3},
                                  {script->payload + bytes / 3, bytes - bytes / 3}};
    int64_t result = CALL(script, socket_send, fd_of(script, index), parts, 2);
    script->sent += result > 0 ? (uint64_t)result : 0;
    say(script, "send %d %zu -> %" PRId64 "\n", index, bytes, result);
    return result;
}

static inline uint32_t bytes_sum(const unsigned char *bytes, int64_t count)
{
    uint32_t sum = 0;
    for (int64_t index = 0; index < count; index++) {
        sum = sum * 31 + bytes[index];
    }
    return sum;
}

static inline int64_t do_recv(struct script *script, int index, size_t bytes_max)
{
    assert_true(bytes_max <= SCRIPT_PAYLOAD_BYTES);
    int64_t result = CALL(script, socket_recv, fd_of(script, index), script->payload, bytes_max);
    say(script, "recv %d %zu -> %" PRId64 " (%" PRIx32 ")\n", index, bytes_max, result,
        bytes_sum(script->payload, result));
    return result;
}

static inline int do_shutdown(struct script *script, int index, enum weir_socket_shutdown how)
{
    int result = CALL(script, socket_shutdown, fd_of(script, index), how);
    say(script, "shutdown %d %d -> %d\n", index, (int)how, result);
    return result;
}

static inline int do_close(struct script *script, int index)
{
    int result = CALL(script, socket_close, fd_of(script, index));
    script->fds[index] = -1;
    say(script, "close %d -> %d\n", index, result);
    return result;
}

static inline int do_error(struct script *script, int index)
{
    int result = CALL(script, socket_error, fd_of(script, index));
    say(script, "error %d -> %d\n", index, result);
    return result;
}

static inline int64_t do_outstanding(struct script *script, int index)
{
    int64_t result = CALL(script, socket_outstanding, fd_of(script, index));
    say(script, "outstanding %d -> %" PRId64 "\n", index, result);
    return result;
}

static inline void ready_text(char text[32], int ready)
{
    snprintf(text, 32, "%s%s%s%s%s", (ready & WEIR_READABLE) != 0 ? "in " : "",
             (ready & WEIR_WRITABLE) != 0 ? "out " : "", (ready & WEIR_HANGUP) != 0 ? "hup " : "",
             (ready & WEIR_FAULT) != 0 ? "err " : "",
             (ready & WEIR_PEER_CLOSED) != 0 ? "rdhup " : "");
}

static inline int do_state(struct script *script, int index)
{
    char text[32] = "";
    int result = CALL(script, socket_state, fd_of(script, index));
    if (result >= 0) {
        ready_text(text, result);
    }
    say(script, "state %d -> %d %s\n", index, result < 0 ? result : 0, text);
    return result;
}

static inline int do_option(struct script *script, int index, enum weir_socket_option option,
                            int value)
{
    int result = CALL(script, socket_option, fd_of(script, index), option, value);
    say(script, "option %d %d %d -> %d\n", index, (int)option, value, result);
    return result;
}

// All that can be asked without changing anything but the error, which comes last.
static inline void do_look(struct script *script, int index)
{
    (void)do_state(script, index);
    (void)do_outstanding(script, index);
    (void)do_error(script, index);
}

// ---- Time ----

// Until the network has done what it will do by itself.
static inline void settle_microseconds(struct script *script, uint32_t microseconds)
{
    if (script->sim != NULL) {
        weir_sim_sleep(script->sim, microseconds * UINT64_C(1000));
    } else {
        usleep(microseconds);
    }
}

static inline void settle(struct script *script, uint32_t milliseconds)
{
    settle_microseconds(script, milliseconds * 1000);
}

// Until the peer has acknowledged all it will: delayed acknowledgements take 40 ms.
static inline void settle_acknowledged(struct script *script, int index)
{
    for (int tries = 0; tries < 60; tries++) {
        int state = CALL(script, socket_state, fd_of(script, index));
        if (CALL(script, socket_outstanding, fd_of(script, index)) <= 0 || state < 0 ||
            (state & WEIR_FAULT) != 0) {
            return;
        }
        settle(script, 1);
    }
}

static inline void settle_state(struct script *script, int index, int wanted)
{
    for (int tries = 0; tries < 60; tries++) {
        int state = CALL(script, socket_state, fd_of(script, index));
        if (state < 0 || (state & wanted) == wanted) {
            return;
        }
        settle(script, 1);
    }
}

// ---- Edges ----

static inline void do_watch(struct script *script, int index)
{
    int result = script->os->poller_add(script->os->self, &script->poller, fd_of(script, index),
                                        (uint64_t)index);
    say(script, "watch %d -> %d\n", index, result);
}

static inline int event_order(const void *one, const void *other)
{
    const struct weir_os_event *first = one;
    const struct weir_os_event *second = other;
    return (first->token > second->token) - (first->token < second->token);
}

static inline void do_events(struct script *script)
{
    struct weir_os_event events[SCRIPT_SOCKETS];
    int count =
        script->os->poller_wait(script->os->self, &script->poller, events, SCRIPT_SOCKETS, 0);
    if (count > 0) {
        qsort(events, (size_t)count, sizeof events[0], event_order);
    }
    say(script, "events %d", count);
    for (int index = 0; index < count; index++) {
        char text[32] = "";
        ready_text(text, (int)events[index].ready);
        say(script, "  %d: %s", (int)events[index].token, text);
    }
    say(script, "\n");
}

// ---- Pairs ----

// A connected pair: `client` connected to `listener`, which gave `server`.
static inline void do_pair(struct script *script, int family, int client, int server, int listener)
{
    do_open(script, listener, family, SOCK_STREAM);
    do_bind(script, listener, family);
    do_listen(script, listener, 4);
    do_open(script, client, family, SOCK_STREAM);
    do_connect(script, client, listener);
    settle_state(script, listener, WEIR_READABLE);
    do_accept(script, server, listener);
    settle_state(script, client, WEIR_WRITABLE);
}

// ---- Running ----

static uint64_t scripts_count;
static struct script *script_current;
static script_body *script_body_current;

static inline void script_run(struct script *script, script_body *body)
{
    for (int index = 0; index < SCRIPT_SOCKETS; index++) {
        script->fds[index] = -1;
    }
    script->text_used = 0;
    script->text[0] = '\0';
    script->sent = 0;
    memset(script->names, 0, sizeof script->names);
    assert_int_equal(script->os->poller_open(script->os->self, &script->poller), 0);
    body(script);
    for (int index = 0; index < SCRIPT_SOCKETS; index++) {
        if (script->fds[index] >= 0) {
            (void)CALL(script, socket_close, script->fds[index]);
        }
    }
    script->os->poller_close(script->os->self, &script->poller);
}

static void script_scenario(struct weir_sim *sim)
{
    script_current->sim = sim;
    script_current->os = weir_sim_os(sim);
    script_run(script_current, script_body_current);
}

struct scripts {
    struct script real, simulated;
    struct weir_os os;
    struct weir_sim *sim;
};

static inline void script_init(struct script *script)
{
    *script = (struct script){.text = malloc(SCRIPT_TEXT_BYTES),
                              .payload = calloc(1, SCRIPT_PAYLOAD_BYTES)};
    assert_non_null(script->text);
    assert_non_null(script->payload);
}

static inline void script_deinit(struct script *script)
{
    free(script->text);
    free(script->payload);
}

static inline int scripts_setup(void **state)
{
    struct scripts *scripts = calloc(1, sizeof *scripts);
    assert_non_null(scripts);
    script_init(&scripts->real);
    script_init(&scripts->simulated);
    scripts->os = weir_os_linux();
    scripts->real.os = &scripts->os;
    scripts->sim = weir_sim_create();
    assert_non_null(scripts->sim);
    *state = scripts;
    return 0;
}

static inline int scripts_teardown(void **state)
{
    struct scripts *scripts = *state;
    weir_sim_destroy(scripts->sim);
    script_deinit(&scripts->real);
    script_deinit(&scripts->simulated);
    free(scripts);
    return 0;
}

// In the simulator, every answer benign.
static inline void script_simulate(struct scripts *scripts, script_body *body)
{
    static const struct weir_sim_deviation none[1];
    static const struct weir_sim_scenario scenario = {.name = "script", .run = script_scenario};
    struct weir_sim_options options = {.deviations = none, .deviations_count = 0};
    struct weir_sim_result result;
    script_current = &scripts->simulated;
    script_body_current = body;
    weir_sim_run(scripts->sim, &scenario, &options, &result);
    if (result.verdict != WEIR_SIM_PASS) {
        fprintf(stderr, "%s", scripts->simulated.text);
        fail_msg("the simulator says %s: %s", result.name, result.message);
    }
}

// Simulates what was run on the real kernel. Whether both saw the same; if not, prints the lines up
// to the first difference.
static inline bool script_same(struct scripts *scripts, const struct script *real,
                               script_body *body)
{
    struct script *simulated = &scripts->simulated;
    simulated->seed = real->seed;
    simulated->number = real->number;
    script_simulate(scripts, body);
    if (strcmp(real->text, simulated->text) == 0) {
        return true;
    }
    size_t at = 0;
    while (real->text[at] == simulated->text[at]) {
        at++;
    }
    while (at > 0 && real->text[at - 1] != '\n') {
        at--;
    }
    size_t real_line = strcspn(real->text + at, "\n");
    size_t simulated_line = strcspn(simulated->text + at, "\n");
    fprintf(stderr, "%.*s  kernel     %.*s\n  simulator  %.*s\n", (int)at, real->text,
            (int)real_line, real->text + at, (int)simulated_line, simulated->text + at);
    return false;
}

static inline void scripts_compare(void **state, script_body *body)
{
    struct scripts *scripts = *state;
    scripts->real.number = scripts_count++;
    script_run(&scripts->real, body);
    assert_true(script_same(scripts, &scripts->real, body));
}

#endif
