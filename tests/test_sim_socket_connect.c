// The simulator's TCP handshakes and names against the running kernel over loopback.
#include "tests/support_socket_script.h"

static void look_settled(struct script *script, int index)
{
    settle(script, 2);
    settle_acknowledged(script, index);
    do_look(script, index);
}

static void script_connect(struct script *script)
{
    do_open(script, 2, AF_INET, SOCK_STREAM);
    do_state(script, 2);
    do_bind(script, 2, AF_INET);
    do_listen(script, 2, 4);
    do_watch(script, 2);
    do_look(script, 2);
    do_open(script, 0, AF_INET, SOCK_STREAM);
    do_watch(script, 0);
    do_events(script);
    do_connect(script, 0, 2);
    settle_state(script, 2, WEIR_READABLE);
    do_events(script);
    do_look(script, 0);
    do_connect(script, 0, 2); // 0: it has come to pass
    do_connect(script, 0, 2);
    do_look(script, 2);
    do_accept(script, 1, 2);
    do_look(script, 1);
    do_accept(script, 3, 2);
    do_connect(script, 1, 2);
    do_connect(script, 2, 2);
    do_send(script, 2, 10);
    do_recv(script, 2, 10);
}

static void script_refused(struct script *script)
{
    do_open(script, 2, AF_INET, SOCK_STREAM);
    do_bind(script, 2, AF_INET); // bound, not listening
    do_open(script, 0, AF_INET, SOCK_STREAM);
    do_watch(script, 0);
    do_events(script);
    do_connect(script, 0, 2);
    settle_state(script, 0, WEIR_FAULT);
    do_events(script);
    do_look(script, 0);
    do_state(script, 0);
    do_send(script, 0, 10);
    do_recv(script, 0, 10);
    do_open(script, 1, AF_INET, SOCK_STREAM);
    do_connect(script, 1, 2);
    settle_state(script, 1, WEIR_FAULT);
    do_connect(script, 1, 2); // the error
    do_state(script, 1);      // the count is now a left-over of no meaning
    do_connect(script, 1, 2); // another try
    settle_state(script, 1, WEIR_FAULT);
    do_send(script, 1, 10);
    do_send(script, 1, 10);
    do_recv(script, 1, 10);
    do_error(script, 1);
}

static void script_never_accepted(struct script *script)
{
    do_open(script, 2, AF_INET, SOCK_STREAM);
    do_bind(script, 2, AF_INET);
    do_listen(script, 2, 4);
    do_open(script, 0, AF_INET, SOCK_STREAM);
    do_connect(script, 0, 2);
    settle_state(script, 0, WEIR_WRITABLE);
    do_watch(script, 0);
    do_events(script);
    do_send(script, 0, 1000);
    settle_acknowledged(script, 0);
    do_look(script, 0);
    do_close(script, 2);
    settle_state(script, 0, WEIR_FAULT);
    do_events(script);
    do_state(script, 0);
    do_outstanding(script, 0);
    do_send(script, 0, 10);
    do_send(script, 0, 10);
    do_recv(script, 0, 10);
    do_look(script, 0);
}

static void script_client_gone_before_accept(struct script *script)
{
    do_open(script, 2, AF_INET, SOCK_STREAM);
    do_bind(script, 2, AF_INET);
    do_listen(script, 2, 4);
    do_open(script, 0, AF_INET, SOCK_STREAM);
    do_connect(script, 0, 2);
    settle_state(script, 0, WEIR_WRITABLE);
    do_send(script, 0, 50);
    do_close(script, 0);
    settle(script, 2);
    do_accept(script, 1, 2);
    do_state(script, 1);
    do_recv(script, 1, 100);
    do_recv(script, 1, 100);
    do_send(script, 1, 10);
    look_settled(script, 1);
}

// A backlog of one holds two; further ones hang until there is room.
static void script_backlog(struct script *script)
{
    do_open(script, 20, AF_INET, SOCK_STREAM);
    do_bind(script, 20, AF_INET);
    do_listen(script, 20, 1);
    for (int index = 0; index < 3; index++) {
        do_open(script, index, AF_INET, SOCK_STREAM);
        do_connect(script, index, 20);
        settle(script, 5);
        do_state(script, index);
    }
    do_connect(script, 2, 20); // under way
    do_send(script, 2, 10);
    do_recv(script, 2, 10);
    do_look(script, 2);
    do_shutdown(script, 2, WEIR_SHUTDOWN_WRITE);
    do_state(script, 2);
    do_error(script, 2);
}

static void script_syn_again(struct script *script)
{
    do_open(script, 20, AF_INET, SOCK_STREAM);
    do_bind(script, 20, AF_INET);
    do_listen(script, 20, 0);
    for (int index = 0; index < 2; index++) {
        do_open(script, index, AF_INET, SOCK_STREAM);
        do_connect(script, index, 20);
        settle(script, 5);
    }
    do_accept(script, 10, 20);
    do_state(script, 1);
    settle(script, 1300); // the next SYN comes after a second
    do_state(script, 1);
    do_accept(script, 11, 20);
}

static void script_wrong_calls(struct script *script)
{
    do_open(script, 0, AF_INET, SOCK_STREAM);
    do_look(script, 0);
    do_send(script, 0, 10);
    do_send(script, 0, 0);
    do_recv(script, 0, 10);
    do_shutdown(script, 0, WEIR_SHUTDOWN_WRITE);
    do_look(script, 0);
    do_accept(script, 1, 0);
    do_bind(script, 0, AF_INET);
    do_bind(script, 0, AF_INET);
    do_open(script, 2, AF_INET, SOCK_STREAM);
    do_bind_to(script, 2, script->names[0]);
    do_listen(script, 0, 3);
    do_listen(script, 0, 5);
    do_open(script, 3, AF_INET, SOCK_STREAM);
    do_option(script, 3, WEIR_SOCKET_REUSE_ADDRESS, 1);
    do_bind_to(script, 3, script->names[0]);
    struct weir_address short_name = script->names[0];
    short_name.bytes_count = 4;
    do_bind_to(script, 2, short_name);
    do_connect_to(script, 2, short_name);
    do_connect_to(script, 2, name_abstract(script, 9));
    do_bind_to(script, 2, name_abstract(script, 9));
    do_open(script, 4, AF_INET, SOCK_STREAM);
    do_listen(script, 4, 1); // a port is chosen
    do_shutdown(script, 4, WEIR_SHUTDOWN_WRITE);
    do_look(script, 4);
    do_shutdown(script, 4, WEIR_SHUTDOWN_READ);
    do_state(script, 4);
    do_accept(script, 5, 4);
}

static void script_reused_port(struct script *script)
{
    for (int index = 0; index < 3; index++) {
        do_open(script, index, AF_INET, SOCK_STREAM);
        do_option(script, index, WEIR_SOCKET_REUSE_ADDRESS, 1);
    }
    do_bind(script, 0, AF_INET);
    do_bind_to(script, 1, script->names[0]);
    do_listen(script, 0, 1);
    do_listen(script, 1, 1);
    do_bind_to(script, 2, script->names[0]);
    do_close(script, 0);
    do_bind_to(script, 2, script->names[1]);
    do_listen(script, 2, 1);
    do_open(script, 3, AF_INET, SOCK_STREAM);
    do_open(script, 4, AF_INET, SOCK_STREAM);
    do_bind(script, 3, AF_INET); // both must be willing
    do_option(script, 4, WEIR_SOCKET_REUSE_ADDRESS, 1);
    do_bind_to(script, 4, script->names[3]);
}

static void script_options(struct script *script)
{
    do_pair(script, AF_INET, 0, 1, 2);
    do_option(script, 0, WEIR_SOCKET_KEEPALIVE, 0);
    do_option(script, 0, WEIR_SOCKET_KEEPALIVE, 5);
    do_option(script, 0, WEIR_SOCKET_KEEPALIVE, 50000);
    do_option(script, 0, WEIR_SOCKET_USER_TIMEOUT_MS, 5000);
    do_option(script, 0, WEIR_SOCKET_USER_TIMEOUT_MS, -1);
    do_option(script, 0, WEIR_SOCKET_NOTSENT_BYTES, 5);
    do_option(script, 0, WEIR_SOCKET_NODELAY, 1);
    do_option(script, 0, WEIR_SOCKET_SEND_BUFFER_BYTES, 1);
    do_option(script, 0, WEIR_SOCKET_REUSE_ADDRESS, 1);
    do_option(script, 0, (enum weir_socket_option)99, 1);
}

static void test_connecting(void **state)
{
    scripts_compare(state, script_connect);
    scripts_compare(state, script_refused);
    scripts_compare(state, script_never_accepted);
    scripts_compare(state, script_client_gone_before_accept);
    scripts_compare(state, script_backlog);
    scripts_compare(state, script_syn_again);
    scripts_compare(state, script_wrong_calls);
    scripts_compare(state, script_reused_port);
    scripts_compare(state, script_options);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_connecting, scripts_setup, scripts_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
