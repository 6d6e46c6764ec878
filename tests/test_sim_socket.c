// The simulator's Unix streams against the running kernel: the same scripts, the same observations.
#include "tests/support_socket_script.h"

// ---- What a buffer costs ----

// One write, one buffer: its kernel memory, and that only reading the last byte gives it back.
static void script_truesize(struct script *script)
{
    static const size_t sizes[] = {1,     64,    191,   192,   193,   703,   704,   705,
                                   1700,  1728,  1729,  3776,  3777,  4000,  4096,  4097,
                                   5000,  8192,  8193,  10000, 16384, 20000, 32767, 32768,
                                   33000, 36543, 36544, 36545, 65536, 70000, 73088, 100000};
    for (size_t index = 0; index < sizeof sizes / sizeof sizes[0]; index++) {
        do_pair(script, AF_UNIX, 0, 1, 2);
        do_send(script, 0, sizes[index]);
        do_outstanding(script, 0);
        do_recv(script, 1, sizes[index] - 1);
        do_outstanding(script, 0);
        do_recv(script, 1, 1);
        do_outstanding(script, 0);
        do_close(script, 0);
        do_close(script, 1);
        do_close(script, 2);
    }
}

static void test_truesize(void **state)
{
    scripts_compare(state, script_truesize);
}

// ---- Full buffers ----

static void fill_and_drain(struct script *script, int buffer_bytes, size_t bytes)
{
    do_pair(script, AF_UNIX, 0, 1, 2);
    if (buffer_bytes > 0) {
        do_option(script, 0, WEIR_SOCKET_SEND_BUFFER_BYTES, buffer_bytes);
    }
    do_watch(script, 0);
    do_watch(script, 1);
    do_events(script);
    int sends = 0;
    while (sends < 1000 && do_send(script, 0, bytes) == (int64_t)bytes) {
        sends++;
    }
    do_send(script, 0, 1);
    do_look(script, 0);
    do_events(script);
    // One at a time, to see when the edge comes.
    for (int reads = 0; reads < sends + 2; reads++) {
        do_recv(script, 1, bytes);
        do_state(script, 0);
        do_outstanding(script, 0);
        do_events(script);
    }
    do_close(script, 0);
    do_close(script, 1);
    do_close(script, 2);
}

struct full_case {
    int buffer_bytes;
    size_t bytes;
};
static struct full_case full_case;

static void script_full_case(struct script *script)
{
    fill_and_drain(script, full_case.buffer_bytes, full_case.bytes);
}

static void test_full(void **state)
{
    // 2562: with one buffer of 1280 left poll() says writable, but no edge came.
    static const int buffers[] = {0, 1, 2304, 2562, 4096, 10000, 50000};
    static const size_t sizes[] = {1, 200, 1000, 5000, 40000, 200000};
    for (size_t buffer = 0; buffer < sizeof buffers / sizeof buffers[0]; buffer++) {
        for (size_t size = 0; size < sizeof sizes / sizeof sizes[0]; size++) {
            full_case = (struct full_case){buffers[buffer], sizes[size]};
            scripts_compare(state, script_full_case);
        }
    }
}

// ---- The ways a connection ends ----

static void script_peer_closed_all_read(struct script *script)
{
    do_pair(script, AF_UNIX, 0, 1, 2);
    do_watch(script, 0);
    do_events(script);
    do_send(script, 0, 100);
    do_recv(script, 1, 100);
    do_close(script, 1);
    do_events(script);
    do_state(script, 0);
    do_outstanding(script, 0);
    do_send(script, 0, 100);
    do_recv(script, 0, 10);
    do_look(script, 0);
    do_events(script);
}

static void script_peer_closed_unread(struct script *script)
{
    do_pair(script, AF_UNIX, 0, 1, 2);
    do_watch(script, 0);
    do_events(script);
    do_send(script, 0, 100);
    do_send(script, 1, 30);
    do_close(script, 1);
    do_events(script);
    do_state(script, 0);
    do_outstanding(script, 0);
    do_send(script, 0, 100);
    do_recv(script, 0, 20); // what the peer had said is still there
    do_recv(script, 0, 20);
    do_recv(script, 0, 20); // now the error, once
    do_recv(script, 0, 20);
    do_look(script, 0);
    do_events(script);
}

static void script_error_taken_by_question(struct script *script)
{
    do_pair(script, AF_UNIX, 0, 1, 2);
    do_send(script, 0, 100);
    do_close(script, 1);
    do_error(script, 0);
    do_error(script, 0);
    do_state(script, 0);
    do_recv(script, 0, 20);
    do_send(script, 0, 20);
}

static void half_close(struct script *script, enum weir_socket_shutdown how, bool by_peer)
{
    do_pair(script, AF_UNIX, 0, 1, 2);
    do_watch(script, 0);
    do_watch(script, 1);
    do_events(script);
    do_send(script, 0, 300);
    do_send(script, 1, 300);
    do_events(script);
    do_shutdown(script, by_peer ? 1 : 0, how);
    do_events(script);
    for (int round = 0; round < 2; round++) {
        do_look(script, 0);
        do_look(script, 1);
        do_send(script, 0, 10);
        do_send(script, 1, 10);
        do_recv(script, 0, 200);
        do_recv(script, 1, 200);
        do_events(script);
    }
    do_recv(script, 0, 200);
    do_recv(script, 1, 200);
    do_recv(script, 0, 200);
    do_recv(script, 1, 200);
    do_close(script, 1);
    do_events(script);
    do_look(script, 0);
    do_send(script, 0, 10);
    do_recv(script, 0, 10);
}

static void script_half_closes(struct script *script)
{
    for (int how = 0; how < 3; how++) {
        half_close(script, (enum weir_socket_shutdown)how, false);
        do_close(script, 0);
        do_close(script, 2);
        half_close(script, (enum weir_socket_shutdown)how, true);
        do_close(script, 0);
        do_close(script, 2);
    }
    do_shutdown(script, 0, (enum weir_socket_shutdown)3);
}

static void script_never_accepted(struct script *script)
{
    do_open(script, 2, AF_UNIX, SOCK_STREAM);
    do_bind(script, 2, AF_UNIX);
    do_listen(script, 2, 4);
    do_open(script, 0, AF_UNIX, SOCK_STREAM);
    do_watch(script, 2);
    do_events(script);
    do_connect(script, 0, 2);
    do_events(script);
    do_watch(script, 0);
    do_events(script);
    do_send(script, 0, 1000);
    do_look(script, 0);
    do_look(script, 2);
    do_close(script, 2);
    do_events(script);
    do_state(script, 0);
    do_outstanding(script, 0);
    do_error(script, 0);
    do_state(script, 0);
    do_send(script, 0, 10);
    do_recv(script, 0, 10);
}

static void script_client_gone_before_accept(struct script *script)
{
    do_open(script, 2, AF_UNIX, SOCK_STREAM);
    do_bind(script, 2, AF_UNIX);
    do_listen(script, 2, 4);
    do_open(script, 0, AF_UNIX, SOCK_STREAM);
    do_connect(script, 0, 2);
    do_send(script, 0, 50);
    do_close(script, 0);
    do_accept(script, 1, 2);
    do_look(script, 1);
    do_recv(script, 1, 100);
    do_recv(script, 1, 100);
    do_send(script, 1, 10);
    do_accept(script, 3, 2);
}

static void test_ends(void **state)
{
    scripts_compare(state, script_peer_closed_all_read);
    scripts_compare(state, script_peer_closed_unread);
    scripts_compare(state, script_error_taken_by_question);
    scripts_compare(state, script_half_closes);
    scripts_compare(state, script_never_accepted);
    scripts_compare(state, script_client_gone_before_accept);
}

// ---- Connecting ----

static struct weir_address name_path(const struct script *script, const char *suffix)
{
    char name[100];
    struct weir_address address;
    snprintf(name, sizeof name, "/tmp/weir-script-%d-%" PRIu64 "%s", (int)getpid(), script->number,
             suffix);
    assert_int_equal(weir_address_unix(&address, name), 0);
    return address;
}

static void name_remove(const struct script *script, const struct weir_address *address)
{
    if (script->sim == NULL) {
        unlink((const char *)address->bytes + offsetof(struct sockaddr_un, sun_path));
    }
}

static void script_connect_errors(struct script *script)
{
    struct weir_address path = name_path(script, "a");
    do_open(script, 0, AF_UNIX, SOCK_STREAM);
    do_connect_to(script, 0, path); // nothing there
    do_connect_to(script, 0, name_abstract(script, 9));
    do_look(script, 0);
    do_open(script, 2, AF_UNIX, SOCK_STREAM);
    do_bind_to(script, 2, path);
    do_connect_to(script, 0, path); // bound, not listening
    do_listen(script, 2, 0);
    do_connect_to(script, 0, path);
    do_connect_to(script, 0, path); // connected
    do_open(script, 3, AF_UNIX, SOCK_STREAM);
    do_connect_to(script, 3, path); // one waits
    do_look(script, 3);
    do_accept(script, 1, 2);
    do_connect_to(script, 3, path);
    do_connect_to(script, 2, path); // the listener itself
    do_open(script, 4, AF_UNIX, SOCK_DGRAM);
    do_connect_to(script, 4, path); // of another kind
    do_close(script, 2);
    do_open(script, 5, AF_UNIX, SOCK_STREAM);
    do_connect_to(script, 5, path); // stale
    do_open(script, 6, AF_UNIX, SOCK_STREAM);
    do_bind_to(script, 6, path); // the file is still there
    name_remove(script, &path);
}

static void script_backlog(struct script *script)
{
    do_open(script, 20, AF_UNIX, SOCK_STREAM);
    do_bind(script, 20, AF_UNIX);
    do_listen(script, 20, 3);
    do_watch(script, 20);
    for (int index = 0; index < 6; index++) {
        do_open(script, index, AF_UNIX, SOCK_STREAM);
        do_connect(script, index, 20);
        do_events(script);
    }
    for (int index = 10; index < 15; index++) {
        do_accept(script, index, 20);
        do_state(script, 20);
    }
    do_connect(script, 5, 20);
    do_events(script);
    do_listen(script, 20, 0);
    do_connect(script, 4, 20);
}

static void script_wrong_calls(struct script *script)
{
    do_open(script, 0, AF_UNIX, SOCK_STREAM);
    do_look(script, 0);
    do_send(script, 0, 10);
    do_send(script, 0, 0);
    do_recv(script, 0, 10);
    do_shutdown(script, 0, WEIR_SHUTDOWN_WRITE);
    do_look(script, 0);
    do_listen(script, 0, 1); // without a name
    do_accept(script, 1, 0);
    do_bind(script, 0, AF_UNIX);
    do_bind(script, 0, AF_UNIX);
    do_open(script, 2, AF_UNIX, SOCK_STREAM);
    do_bind_to(script, 2, script->names[0]);
    do_listen(script, 0, -1);
    do_look(script, 0);
    do_send(script, 0, 10);
    do_recv(script, 0, 10);
    do_shutdown(script, 0, WEIR_SHUTDOWN_READ);
    do_connect(script, 2, 0);
    do_close(script, 0);
    do_close(script, 0);
    do_look(script, 0);
    do_send(script, 0, 10);
    do_recv(script, 0, 10);
    do_listen(script, 0, 10);
    do_accept(script, 1, 0);
    do_open(script, 3, 9999, SOCK_STREAM);
    struct weir_address short_name = {.bytes_count = 2};
    do_bind_to(script, 2, short_name);
    do_connect_to(script, 2, short_name);
    do_connect_to(script, 2, name_loopback(1));
}

static void script_options(struct script *script)
{
    do_pair(script, AF_UNIX, 0, 1, 2);
    do_option(script, 0, WEIR_SOCKET_KEEPALIVE, 0);
    do_option(script, 0, WEIR_SOCKET_KEEPALIVE, 5);
    do_option(script, 0, WEIR_SOCKET_USER_TIMEOUT_MS, 5);
    do_option(script, 0, WEIR_SOCKET_NOTSENT_BYTES, 5);
    do_option(script, 0, WEIR_SOCKET_NODELAY, 1);
    do_option(script, 0, WEIR_SOCKET_REUSE_ADDRESS, 1);
    do_option(script, 0, (enum weir_socket_option)99, 1);
    do_option(script, 9, WEIR_SOCKET_REUSE_ADDRESS, 1);
}

static void test_connecting(void **state)
{
    scripts_compare(state, script_connect_errors);
    scripts_compare(state, script_backlog);
    scripts_compare(state, script_wrong_calls);
    scripts_compare(state, script_options);
}

// ---- Reading ----

static void script_reading(struct script *script)
{
    do_pair(script, AF_UNIX, 0, 1, 2);
    do_recv(script, 1, 10);
    do_recv(script, 1, 0);
    do_send(script, 0, 0);
    do_recv(script, 1, 10);
    do_send(script, 0, 100);
    do_send(script, 0, 100);
    do_recv(script, 1, 0);
    do_recv(script, 1, 150); // across two writes
    do_outstanding(script, 0);
    do_recv(script, 1, 150);
    do_recv(script, 1, 150);
    do_send(script, 0, 90000);
    do_outstanding(script, 0);
    do_recv(script, 1, 36544);
    do_outstanding(script, 0);
    do_recv(script, 1, 100000);
    do_close(script, 0);
    do_recv(script, 1, 10);
    do_recv(script, 1, 0);
}

static void test_reading(void **state)
{
    scripts_compare(state, script_reading);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_truesize, scripts_setup, scripts_teardown),
        cmocka_unit_test_setup_teardown(test_full, scripts_setup, scripts_teardown),
        cmocka_unit_test_setup_teardown(test_ends, scripts_setup, scripts_teardown),
        cmocka_unit_test_setup_teardown(test_connecting, scripts_setup, scripts_teardown),
        cmocka_unit_test_setup_teardown(test_reading, scripts_setup, scripts_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
