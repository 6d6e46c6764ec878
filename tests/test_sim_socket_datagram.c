// The simulator's datagrams, Unix and UDP, against the running kernel.
#include "tests/support_socket_script.h"

static void do_receiver(struct script *script, int index, int family)
{
    do_open(script, index, family, SOCK_DGRAM);
    do_bind(script, index, family);
    do_watch(script, index);
}

// ---- Unix ----

// What does not fit is cut off; a message of nothing is a message.
static void messages(struct script *script, int family)
{
    do_receiver(script, 1, family);
    do_open(script, 0, family, SOCK_DGRAM);
    do_look(script, 0);
    do_watch(script, 0);
    do_connect(script, 0, 1);
    do_events(script);
    do_look(script, 0);
    do_send(script, 0, 100);
    do_send(script, 0, 0);
    do_send(script, 0, 200);
    do_events(script);
    do_outstanding(script, 0);
    do_recv(script, 1, 60);
    do_recv(script, 1, 60);
    do_recv(script, 1, 600);
    do_recv(script, 1, 60);
    do_outstanding(script, 0);
    do_events(script);
    do_shutdown(script, 0, WEIR_SHUTDOWN_WRITE);
    do_events(script);
    do_send(script, 0, 10);
    do_look(script, 0);
    do_shutdown(script, 1, WEIR_SHUTDOWN_READ);
    do_events(script);
    do_recv(script, 1, 10);
    do_look(script, 1);
}

static void script_unix_messages(struct script *script)
{
    messages(script, AF_UNIX);
}

static void script_unix_truesize(struct script *script)
{
    static const size_t sizes[] = {1,     192,   193,   704,   705,   1728,  1729,
                                   3776,  3777,  8000,  8193,  16064, 16065, 16100,
                                   20000, 20161, 40000, 65536, 85696, 85697, 100000};
    do_receiver(script, 1, AF_UNIX);
    do_open(script, 0, AF_UNIX, SOCK_DGRAM);
    do_connect(script, 0, 1);
    for (size_t index = 0; index < sizeof sizes / sizeof sizes[0]; index++) {
        do_send(script, 0, sizes[index]);
        do_outstanding(script, 0);
        do_recv(script, 1, 1);
        do_outstanding(script, 0);
    }
}

// Eleven messages are in the queue at most; room in it is an edge for the sender.
static void script_unix_queue(struct script *script)
{
    do_receiver(script, 1, AF_UNIX);
    do_open(script, 0, AF_UNIX, SOCK_DGRAM);
    do_connect(script, 0, 1);
    do_watch(script, 0);
    do_events(script);
    for (int index = 0; index < 13; index++) {
        do_send(script, 0, 100);
    }
    do_look(script, 0);
    do_events(script);
    for (int index = 0; index < 4; index++) {
        do_recv(script, 1, 100);
        do_state(script, 0);
        do_events(script);
    }
    for (int index = 0; index < 6; index++) {
        do_send(script, 0, 100);
        do_events(script);
    }
    do_recv(script, 1, 100);
    do_events(script);
}

// Room that others' messages leave is an edge for one that waits.
static void script_unix_two_senders(struct script *script)
{
    do_receiver(script, 2, AF_UNIX);
    for (int index = 0; index < 2; index++) {
        do_open(script, index, AF_UNIX, SOCK_DGRAM);
        do_connect(script, index, 2);
        do_watch(script, index);
    }
    do_events(script);
    for (int index = 0; index < 11; index++) {
        do_send(script, 0, 100);
    }
    do_send(script, 1, 100);
    do_events(script);
    do_state(script, 1);
    do_recv(script, 2, 100);
    do_events(script);
    do_recv(script, 2, 100);
    do_events(script);
    do_send(script, 1, 100);
    do_send(script, 1, 100);
    do_send(script, 1, 100);
    do_events(script);
    do_close(script, 2);
    do_events(script);
}

static void script_unix_buffer(struct script *script)
{
    do_receiver(script, 1, AF_UNIX);
    do_open(script, 0, AF_UNIX, SOCK_DGRAM);
    do_option(script, 0, WEIR_SOCKET_SEND_BUFFER_BYTES, 3000);
    do_connect(script, 0, 1);
    do_watch(script, 0);
    do_events(script);
    do_send(script, 0, 6000 - 31);
    do_send(script, 0, 6000 - 32);
    do_send(script, 0, 1);
    do_look(script, 0);
    do_recv(script, 1, 10000);
    do_events(script);
    for (int index = 0; index < 8; index++) {
        do_send(script, 0, 500);
        do_state(script, 0);
    }
    for (int index = 0; index < 8; index++) {
        do_recv(script, 1, 500);
        do_state(script, 0);
        do_events(script);
    }
}

// The receiver's death shows in the next send, and in nothing else.
static void script_unix_death(struct script *script)
{
    do_receiver(script, 1, AF_UNIX);
    do_open(script, 0, AF_UNIX, SOCK_DGRAM);
    do_connect(script, 0, 1);
    do_watch(script, 0);
    do_events(script);
    do_send(script, 0, 100);
    do_send(script, 0, 100);
    do_outstanding(script, 0);
    do_close(script, 1);
    do_events(script);
    do_look(script, 0);
    do_send(script, 0, 100);
    do_send(script, 0, 100);
    do_look(script, 0);
    do_events(script);
}

static void script_unix_death_while_full(struct script *script)
{
    do_receiver(script, 1, AF_UNIX);
    do_open(script, 0, AF_UNIX, SOCK_DGRAM);
    do_connect(script, 0, 1);
    do_watch(script, 0);
    for (int index = 0; index < 12; index++) {
        do_send(script, 0, 100);
    }
    do_events(script);
    do_close(script, 1);
    do_events(script);
    do_state(script, 0);
    do_send(script, 0, 100);
}

static void script_unix_connecting(struct script *script)
{
    do_open(script, 0, AF_UNIX, SOCK_DGRAM);
    do_send(script, 0, 10);
    do_recv(script, 0, 10);
    do_connect_to(script, 0, name_abstract(script, 9));
    do_open(script, 2, AF_UNIX, SOCK_STREAM);
    do_bind(script, 2, AF_UNIX);
    do_listen(script, 2, 3);
    do_connect(script, 0, 2);
    do_listen(script, 0, 3);
    do_accept(script, 3, 0);
    do_receiver(script, 1, AF_UNIX);
    do_connect(script, 0, 1);
    do_receiver(script, 4, AF_UNIX);
    do_connect(script, 0, 4);
    do_send(script, 0, 10);
    do_recv(script, 1, 10);
    do_recv(script, 4, 10);
    do_connect(script, 1, 4);
    do_open(script, 5, AF_UNIX, SOCK_DGRAM);
    do_connect(script, 5, 1); // which has a peer of its own
    do_close(script, 4);
    do_send(script, 0, 10);
    do_connect(script, 0, 4);
}

static void test_unix(void **state)
{
    scripts_compare(state, script_unix_messages);
    scripts_compare(state, script_unix_truesize);
    scripts_compare(state, script_unix_queue);
    scripts_compare(state, script_unix_two_senders);
    scripts_compare(state, script_unix_buffer);
    scripts_compare(state, script_unix_death);
    scripts_compare(state, script_unix_death_while_full);
    scripts_compare(state, script_unix_connecting);
}

// ---- UDP ----

static void script_udp_messages(struct script *script)
{
    messages(script, AF_INET);
}

static void script_udp_sizes(struct script *script)
{
    do_receiver(script, 1, AF_INET);
    do_open(script, 0, AF_INET, SOCK_DGRAM);
    do_send(script, 0, 10);
    do_connect(script, 0, 1);
    do_send(script, 0, 65507);
    do_recv(script, 1, 65507);
    do_send(script, 0, 65508);
    do_send(script, 0, 70000);
    do_recv(script, 1, 65507);
}

// An answer "nobody there" comes after the send, and strikes the next call.
static void script_udp_nobody(struct script *script)
{
    do_receiver(script, 1, AF_INET);
    do_open(script, 0, AF_INET, SOCK_DGRAM);
    do_connect(script, 0, 1);
    do_watch(script, 0);
    do_close(script, 1);
    do_events(script);
    do_send(script, 0, 100);
    settle(script, 2);
    do_events(script);
    do_state(script, 0);
    do_send(script, 0, 100);
    do_send(script, 0, 100);
    settle(script, 2);
    do_recv(script, 0, 100);
    do_recv(script, 0, 100);
    do_send(script, 0, 100);
    settle(script, 2);
    do_error(script, 0);
    do_look(script, 0);
}

static void script_udp_pair(struct script *script)
{
    do_receiver(script, 0, AF_INET);
    do_receiver(script, 1, AF_INET);
    do_connect(script, 0, 1);
    do_connect(script, 1, 0);
    do_open(script, 2, AF_INET, SOCK_DGRAM);
    do_connect(script, 2, 1); // which hears only its peer
    do_send(script, 0, 10);
    do_send(script, 2, 20);
    do_send(script, 1, 30);
    settle(script, 2);
    do_recv(script, 1, 100);
    do_recv(script, 1, 100);
    do_recv(script, 0, 100);
    do_error(script, 2);
    do_open(script, 3, AF_INET, SOCK_DGRAM);
    do_bind_to(script, 3, script->names[0]);
}

static void test_udp(void **state)
{
    scripts_compare(state, script_udp_messages);
    scripts_compare(state, script_udp_sizes);
    scripts_compare(state, script_udp_nobody);
    scripts_compare(state, script_udp_pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_unix, scripts_setup, scripts_teardown),
        cmocka_unit_test_setup_teardown(test_udp, scripts_setup, scripts_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
