// Random socket scripts on the running kernel and in the simulator: any difference is a bug in one.
//
// Each script is a function of its seed. WEIR_SEED=n runs only that one, of every kind.

#include <pthread.h>

#include "tests/support_random.h"
#include "tests/support_socket_script.h"

#define OPERATIONS 30
#define UNIX_SCRIPTS 2000
#define TCP_SCRIPTS 500
#define DATAGRAM_SCRIPTS 1000
#define BATCH 16u

static uint32_t draw(uint64_t *random, uint32_t options)
{
    return (uint32_t)(random_next(random) % options);
}

// Around the sizes at which something changes.
static size_t draw_bytes(uint64_t *random)
{
    static const size_t sizes[] = {0, 1, 10, 192, 193, 704, 1728, 3776, 4096, 9000, 36544, 60000};
    size_t bytes = sizes[draw(random, sizeof sizes / sizeof sizes[0])];
    return bytes + (bytes > 0 ? draw(random, 2) : 0);
}

static void draw_buffers(struct script *script, uint64_t *random)
{
    static const int buffers[] = {1, 3000, 5000, 20000};
    for (int end = 0; end < 2; end++) {
        if (draw(random, 2) == 0) {
            do_option(script, end, WEIR_SOCKET_SEND_BUFFER_BYTES,
                      buffers[draw(random, sizeof buffers / sizeof buffers[0])]);
        }
    }
}

// The next connection, where none is held.
static void accept_other(struct script *script)
{
    if (script->fds[1] < 0 && do_accept(script, 1, 2) >= 0) {
        do_watch(script, 1);
    }
}

// ---- Unix streams ----

static void unix_operation(struct script *script, uint64_t *random, int end)
{
    switch (draw(random, 16)) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4: do_send(script, end, draw_bytes(random)); break;
    case 5:
    case 6:
    case 7:
    case 8:
    case 9: do_recv(script, end, draw_bytes(random)); break;
    case 10: do_state(script, end); break;
    case 11: do_outstanding(script, end); break;
    case 12: do_error(script, end); break;
    case 13:
        if (draw(random, 3) == 0) {
            do_shutdown(script, end, (enum weir_socket_shutdown)draw(random, 3));
        }
        break;
    case 14:
        if (draw(random, 4) == 0) {
            do_close(script, end);
        }
        break;
    default: accept_other(script); break;
    }
}

// Sometimes not accepted at first, so that the end of the listener is met as well.
static void script_unix(struct script *script)
{
    uint64_t random = script->seed;
    do_open(script, 2, AF_UNIX, SOCK_STREAM);
    do_bind(script, 2, AF_UNIX);
    do_listen(script, 2, 1);
    do_watch(script, 2);
    do_open(script, 0, AF_UNIX, SOCK_STREAM);
    do_connect(script, 0, 2);
    do_watch(script, 0);
    if (draw(&random, 4) != 0) {
        do_accept(script, 1, 2);
        do_watch(script, 1);
    }
    draw_buffers(script, &random);
    for (int operation = 0; operation < OPERATIONS; operation++) {
        int end = (int)draw(&random, 2);
        if (draw(&random, 64) == 0) {
            do_close(script, 2);
        } else if (draw(&random, 64) == 0 && script->fds[3] < 0) {
            do_open(script, 3, AF_UNIX, SOCK_STREAM);
            do_connect(script, 3, 2);
        }
        unix_operation(script, &random, end);
        do_events(script);
    }
    for (int end = 0; end < 2; end++) {
        do_look(script, end);
        do_look(script, end);
    }
}

// ---- TCP ----

// Small enough that neither side's buffer is ever full.
static size_t draw_bytes_small(uint64_t *random)
{
    static const size_t sizes[] = {0, 1, 10, 100, 1000, 1500};
    return sizes[draw(random, sizeof sizes / sizeof sizes[0])];
}

// Before anything that may lead to a reset, since a reset does not acknowledge.
static void settle_both(struct script *script)
{
    settle_acknowledged(script, 0);
    settle_acknowledged(script, 1);
}

static void tcp_operation(struct script *script, uint64_t *random, int end)
{
    switch (draw(random, 16)) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4: do_send(script, end, draw_bytes_small(random)); break;
    case 5:
    case 6:
    case 7:
    case 8:
    case 9: do_recv(script, end, draw_bytes_small(random)); break;
    case 10:
    case 11: do_state(script, end); break;
    case 12: do_error(script, end); break;
    case 13:
        if (draw(random, 2) == 0) {
            settle_both(script);
            do_shutdown(script, end, (enum weir_socket_shutdown)draw(random, 3));
            settle_acknowledged(script, end); // which is an event
        }
        break;
    case 14:
        if (draw(random, 3) == 0) {
            settle_both(script);
            do_close(script, end);
        }
        break;
    default: accept_other(script); break;
    }
}

static void script_tcp(struct script *script)
{
    uint64_t random = script->seed;
    do_open(script, 2, AF_INET, SOCK_STREAM);
    do_bind(script, 2, AF_INET);
    do_listen(script, 2, 1);
    do_option(script, 2, WEIR_SOCKET_NODELAY, 1); // inherited: else sends wait for delayed answers
    do_open(script, 0, AF_INET, SOCK_STREAM);
    do_connect(script, 0, 2);
    settle_state(script, 2, WEIR_READABLE);
    settle_state(script, 0, WEIR_WRITABLE);
    do_option(script, 0, WEIR_SOCKET_NODELAY, 1);
    do_watch(script, 0);
    if (draw(&random, 4) != 0) {
        do_accept(script, 1, 2);
        do_watch(script, 1);
    }
    do_events(script);
    for (int operation = 0; operation < OPERATIONS; operation++) {
        int end = (int)draw(&random, 2);
        if (draw(&random, 64) == 0) {
            settle_both(script);
            do_close(script, 2);
        }
        tcp_operation(script, &random, end);
        settle_microseconds(script,
                            100); // loopback delivers before the call returns, nearly always
        do_events(script);
    }
    for (int end = 0; end < 2; end++) {
        settle_acknowledged(script, end);
        do_look(script, end);
        do_look(script, end);
    }
}

// ---- Unix datagrams ----

static void script_datagram(struct script *script)
{
    uint64_t random = script->seed;
    for (int index = 0; index < 3; index++) {
        do_open(script, index, AF_UNIX, SOCK_DGRAM);
        do_bind(script, index, AF_UNIX);
        do_watch(script, index);
    }
    draw_buffers(script, &random);
    for (int operation = 0; operation < 2 * OPERATIONS; operation++) {
        int end = (int)draw(&random, 3);
        switch (draw(&random, 12)) {
        case 0: {
            int to = (int)draw(&random, 3);
            say(script, "to %d: ", to);
            do_connect(script, end, to);
            break;
        }
        case 1:
        case 2:
        case 3:
        case 4: do_send(script, end, draw_bytes(&random)); break;
        case 5:
        case 6: do_recv(script, end, draw_bytes(&random)); break;
        case 7: do_state(script, end); break;
        case 8: do_outstanding(script, end); break;
        case 9: do_error(script, end); break;
        case 10:
            if (draw(&random, 8) == 0) {
                do_shutdown(script, end, (enum weir_socket_shutdown)draw(&random, 3));
            }
            break;
        default:
            if (draw(&random, 8) == 0) {
                do_close(script, end);
            }
            break;
        }
        do_events(script);
    }
}

// ---- Running ----

// Scripts on the real kernel mostly wait for acknowledgements, so that many can do so at a time.
struct batch_script {
    pthread_t thread;
    struct script *script;
    script_body *body;
};

static void *batch_run(void *argument)
{
    struct batch_script *one = argument;
    script_run(one->script, one->body);
    return NULL;
}

static void batch_start(struct script scripts[BATCH], script_body *body, uint32_t first)
{
    struct batch_script batch[BATCH];
    for (uint32_t index = 0; index < BATCH; index++) {
        scripts[index].seed = first + index;
        scripts[index].number = scripts_count++;
        batch[index] = (struct batch_script){.script = &scripts[index], .body = body};
        assert_int_equal(pthread_create(&batch[index].thread, NULL, batch_run, &batch[index]), 0);
    }
    for (uint32_t index = 0; index < BATCH; index++) {
        assert_int_equal(pthread_join(batch[index].thread, NULL), 0);
    }
}

static void compare_many(void **state, script_body *body, uint32_t count)
{
    struct scripts *scripts = *state;
    struct script real[BATCH];
    for (uint32_t index = 0; index < BATCH; index++) {
        script_init(&real[index]);
        real[index].os = &scripts->os;
    }
    const char *only = getenv("WEIR_SEED");
    uint32_t first = only != NULL ? (uint32_t)strtoul(only, NULL, 10) : 1;
    uint32_t end = only != NULL ? first + 1 : first + count;
    for (uint32_t seed = first; seed < end; seed++) {
        if ((seed - first) % BATCH == 0) {
            batch_start(real, body, seed);
        }
        if (!script_same(scripts, &real[(seed - first) % BATCH], body)) {
            fail_msg("WEIR_SEED=%u", seed);
        }
    }
    for (uint32_t index = 0; index < BATCH; index++) {
        script_deinit(&real[index]);
    }
}

static void test_unix(void **state)
{
    compare_many(state, script_unix, UNIX_SCRIPTS);
}

static void test_tcp(void **state)
{
    compare_many(state, script_tcp, TCP_SCRIPTS);
}

static void test_datagram(void **state)
{
    compare_many(state, script_datagram, DATAGRAM_SCRIPTS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_unix, scripts_setup, scripts_teardown),
        cmocka_unit_test_setup_teardown(test_tcp, scripts_setup, scripts_teardown),
        cmocka_unit_test_setup_teardown(test_datagram, scripts_setup, scripts_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
