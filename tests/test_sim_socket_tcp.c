// The simulator's TCP against the running kernel over loopback: the same scripts, the same results.
#include "tests/support_socket_script.h"

#include <errno.h>

static void look_settled(struct script *script, int index)
{
    settle(script, 2);
    settle_acknowledged(script, index);
    do_look(script, index);
}

// ---- The ways a connection ends ----

static void script_peer_closed_all_read(struct script *script)
{
    do_pair(script, AF_INET, 0, 1, 2);
    do_watch(script, 0);
    do_events(script);
    do_send(script, 0, 100);
    settle_state(script, 1, WEIR_READABLE);
    do_recv(script, 1, 100);
    settle_acknowledged(script, 0);
    do_outstanding(script, 0);
    do_close(script, 1);
    settle_state(script, 0, WEIR_PEER_CLOSED);
    do_events(script);
    do_look(script, 0);
    do_send(script, 0, 100); // succeeds and is lost
    settle_state(script, 0, WEIR_FAULT);
    do_events(script);
    do_state(script, 0);
    do_outstanding(script, 0);
    do_recv(script, 0, 10); // the end of stream hides the reset
    do_send(script, 0, 100);
    do_look(script, 0);
    do_send(script, 0, 100);
    do_recv(script, 0, 10);
    do_events(script);
}

static void script_error_shown_by_question(struct script *script)
{
    do_pair(script, AF_INET, 0, 1, 2);
    do_close(script, 1);
    settle_state(script, 0, WEIR_PEER_CLOSED);
    do_send(script, 0, 100);
    settle_state(script, 0, WEIR_FAULT);
    do_look(script, 0);
    do_look(script, 0);
    do_send(script, 0, 100);
}

static void script_peer_closed_unread(struct script *script)
{
    do_pair(script, AF_INET, 0, 1, 2);
    do_watch(script, 0);
    do_events(script);
    do_send(script, 0, 100);
    do_send(script, 1, 30);
    settle_state(script, 1, WEIR_READABLE);
    settle_acknowledged(script, 0);
    do_close(script, 1);
    settle_state(script, 0, WEIR_FAULT);
    do_events(script);
    do_state(script, 0);
    do_outstanding(script, 0);
    do_send(script, 0, 100); // the error, once
    do_send(script, 0, 100);
    do_recv(script, 0, 20);
    do_recv(script, 0, 20);
    do_recv(script, 0, 20);
    do_look(script, 0);
}

static void script_reset_read_first(struct script *script)
{
    do_pair(script, AF_INET, 0, 1, 2);
    do_send(script, 0, 100);
    do_send(script, 1, 30);
    settle_state(script, 1, WEIR_READABLE);
    do_close(script, 1);
    settle_state(script, 0, WEIR_FAULT);
    do_recv(script, 0, 100);
    do_recv(script, 0, 100);
    do_recv(script, 0, 100);
    do_send(script, 0, 100);
    do_look(script, 0);
    do_shutdown(script, 0, WEIR_SHUTDOWN_WRITE);
}

// Shutting both sides, or the reading one, in every order.
static void half_close(struct script *script, enum weir_socket_shutdown how)
{
    do_pair(script, AF_INET, 0, 1, 2);
    do_watch(script, 0);
    do_watch(script, 1);
    do_events(script);
    do_send(script, 0, 300);
    do_send(script, 1, 300);
    settle(script, 2);
    do_events(script);
    do_shutdown(script, 1, how);
    settle(script, 2);
    do_events(script);
    do_state(script, 0);
    do_state(script, 1);
    do_send(script, 1, 10);
    do_recv(script, 0, 200);
    do_recv(script, 0, 200);
    do_recv(script, 0, 200);
    do_recv(script, 1, 200);
    settle(script, 2);
    do_events(script);
    do_send(script, 0, 10);
    settle(script, 2);
    do_events(script);
    do_state(script, 0);
    do_state(script, 1);
    do_recv(script, 1, 200);
    do_recv(script, 1, 200);
    do_recv(script, 0, 200);
    do_send(script, 0, 10);
    settle(script, 2);
    look_settled(script, 0);
    do_close(script, 1);
    settle(script, 2);
    do_events(script);
    do_state(script, 0);
    do_error(script, 0);
    do_close(script, 0);
    do_close(script, 2);
}

static void script_half_closes(struct script *script)
{
    for (int how = 0; how < 3; how++) {
        half_close(script, (enum weir_socket_shutdown)how);
    }
}

// The proof at the end of a connection: shutdown, end of stream, nothing outstanding, no error.
static void script_orderly_end(struct script *script)
{
    do_pair(script, AF_INET, 0, 1, 2);
    do_watch(script, 0);
    do_watch(script, 1);
    do_events(script);
    do_send(script, 0, 1000);
    do_shutdown(script, 0, WEIR_SHUTDOWN_WRITE);
    settle(script, 2);
    do_events(script);
    do_state(script, 1);
    do_recv(script, 1, 400);
    do_state(script, 1);
    do_recv(script, 1, 4000);
    do_recv(script, 1, 4000);
    settle_acknowledged(script, 0);
    do_look(script, 0);
    do_send(script, 0, 10);
    do_send(script, 1, 20);
    settle(script, 2);
    do_recv(script, 0, 100);
    do_recv(script, 0, 100);
    settle_acknowledged(script, 1);
    do_close(script, 1);
    settle(script, 2);
    do_events(script);
    do_recv(script, 0, 100);
    do_look(script, 0);
    do_send(script, 0, 10);
    do_shutdown(script, 0, WEIR_SHUTDOWN_WRITE);
}

// The other closes while this side has shut down already, over data it has not read.
static void script_ends_over_unread(struct script *script)
{
    do_pair(script, AF_INET, 0, 1, 2);
    do_send(script, 0, 1000);
    do_shutdown(script, 0, WEIR_SHUTDOWN_WRITE);
    settle_state(script, 1, WEIR_PEER_CLOSED);
    settle_acknowledged(script, 0);
    do_recv(script, 1, 400);
    do_close(script, 1);
    settle_state(script, 0, WEIR_FAULT);
    do_state(script, 0);
    do_outstanding(script, 0);
    do_recv(script, 0, 10);
    do_recv(script, 0, 10);
    do_look(script, 0);
}

// The peer shuts its writing side before it closes over unread data: the reset comes after its end.
static void script_end_then_reset(struct script *script)
{
    do_pair(script, AF_INET, 0, 1, 2);
    do_send(script, 0, 1000);
    settle_state(script, 1, WEIR_READABLE);
    do_shutdown(script, 1, WEIR_SHUTDOWN_WRITE);
    settle_state(script, 0, WEIR_PEER_CLOSED);
    do_recv(script, 0, 10);
    do_close(script, 1);
    settle_state(script, 0, WEIR_FAULT);
    do_state(script, 0);
    do_recv(script, 0, 10);
    do_look(script, 0);
    do_send(script, 0, 10);
}

static void script_both_close(struct script *script)
{
    do_pair(script, AF_INET, 0, 1, 2);
    do_shutdown(script, 0, WEIR_SHUTDOWN_WRITE);
    do_shutdown(script, 1, WEIR_SHUTDOWN_WRITE);
    look_settled(script, 0);
    look_settled(script, 1);
    do_send(script, 1, 10);
    do_recv(script, 1, 10);
    do_shutdown(script, 1, WEIR_SHUTDOWN_BOTH);
    do_shutdown(script, 0, WEIR_SHUTDOWN_READ);
    look_settled(script, 0);
    do_close(script, 0);
    look_settled(script, 1);
}

static void test_ends(void **state)
{
    scripts_compare(state, script_peer_closed_all_read);
    scripts_compare(state, script_error_shown_by_question);
    scripts_compare(state, script_peer_closed_unread);
    scripts_compare(state, script_reset_read_first);
    scripts_compare(state, script_half_closes);
    scripts_compare(state, script_orderly_end);
    scripts_compare(state, script_ends_over_unread);
    scripts_compare(state, script_end_then_reset);
    scripts_compare(state, script_both_close);
}

// ---- Full buffers ----

// How far it gets is the machine's business; that it stops, and goes on after reads, is not.
static void script_full(struct script *script)
{
    do_pair(script, AF_INET, 0, 1, 2);
    do_watch(script, 0);
    do_events(script);
    int64_t sent = 0;
    int64_t result = 0;
    do {
        payload_fill(script, 100000);
        struct weir_iovec part = {script->payload, 100000};
        result = CALL(script, socket_send, fd_of(script, 0), &part, 1);
        sent += result > 0 ? result : 0;
        script->sent += result > 0 ? (uint64_t)result : 0;
        if (result < 100000) {
            settle(script, 50); // the window is still being found
        }
    } while (result > 0);
    say(script, "full %d %d\n", (int)result, sent > 100000);
    do_state(script, 0);
    int64_t outstanding = CALL(script, socket_outstanding, fd_of(script, 0));
    say(script, "some acknowledged, not all: %d\n", outstanding > 0 && outstanding < sent);
    int64_t read = 0;
    do {
        result = CALL(script, socket_recv, fd_of(script, 1), script->payload, 65536);
        read += result > 0 ? result : 0;
        if (result < 0) {
            settle(script, 1);
        }
    } while (result > 0 || (result == -EAGAIN && read < sent));
    settle_acknowledged(script, 0);
    do_look(script, 0);
    do_events(script);
    say(script, "all read: %d\n", read == sent);
}

static void test_full(void **state)
{
    scripts_compare(state, script_full);
}

// The peer stops reading: the connection dies, and what was acknowledged can still be read.
static void script_user_timeout(struct script *script)
{
    do_pair(script, AF_INET, 0, 1, 2);
    do_option(script, 0, WEIR_SOCKET_USER_TIMEOUT_MS, 400);
    for (int64_t result = 1; result > 0;) {
        struct weir_iovec part = {script->payload, 100000};
        result = CALL(script, socket_send, fd_of(script, 0), &part, 1);
        if (result < 100000) {
            settle(script, 50);
        }
    }
    settle(script, 1500);
    do_state(script, 0);
    int64_t before = CALL(script, socket_outstanding, fd_of(script, 0));
    do_send(script, 0, 10);
    do_send(script, 0, 10);
    do_error(script, 0);
    do_recv(script, 0, 10);
    do_state(script, 1);
    do_error(script, 1);
    say(script, "count kept: %d\n", before == CALL(script, socket_outstanding, fd_of(script, 0)));
    do_recv(script, 1, 1000);
}

static void test_user_timeout(void **state)
{
    scripts_compare(state, script_user_timeout);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_ends, scripts_setup, scripts_teardown),
        cmocka_unit_test_setup_teardown(test_full, scripts_setup, scripts_teardown),
        cmocka_unit_test_setup_teardown(test_user_timeout, scripts_setup, scripts_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
