// Tests of writer/link.c on socket pairs: what each call makes of what the socket says.
//
// Receiving needs a task and is tested through test_writer.c.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support_append.h"
#include "tests/support_os.h"
#include "tests/support_append.h"
#include "tests/support_pool.h"
#include "writer/link.h"

// A connected writer whose task was never started, and the peer's end.
struct bench {
    struct weir_os real, os;
    struct support_os *faulty;
    struct weir_runtime *runtime;
    struct weir_pool_plan plan;
    struct weir_writer *writer;
    void *region;
    struct weir_transit_segment *ring;
    _Atomic uint32_t progress, waiters;
    int peer;
};

static void *lines_alloc(size_t bytes)
{
    void *memory = aligned_alloc(128, (bytes + 127) / 128 * 128);
    assert_non_null(memory);
    return memory;
}

static void bench_start(struct bench *bench, bool stream)
{
    memset(bench, 0, sizeof(*bench));
    bench->real = weir_os_linux();
    bench->faulty = support_os_create(&bench->real);
    bench->os = support_os_get(bench->faulty);
    bench->runtime = test_runtime_create(0, &bench->os);
    struct weir_pool_options options;
    char why[384];
    test_pool_options(&options, stream ? "unix:/nowhere" : "unix-dgram:/nowhere");
    options.framing = WEIR_FRAMING_RAW;
    assert_int_equal(weir_pool_options_check(&options, &bench->plan, why, sizeof(why)), 0);
    bench->region = lines_alloc(bench->plan.region_bytes);
    bench->ring = calloc(bench->plan.row.segment_count, sizeof(*bench->ring));
    bench->writer = lines_alloc(sizeof(*bench->writer));
    assert_non_null(bench->ring);
    weir_writer_init(bench->writer, 0, bench->runtime, &bench->plan,
                     weir_row_init(bench->region, &bench->plan.row), bench->ring, &bench->progress,
                     &bench->waiters);
    int pair[2];
    int type = (stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK;
    assert_int_equal(socketpair(AF_UNIX, type, 0, pair), 0);
    assert_int_equal(weir_stream_open(&bench->writer->stream, bench->runtime, pair[0]), 0);
    bench->peer = pair[1];
    bench->writer->now_ns = 1000;
    weir_link_begin(bench->writer);
}

static void bench_end(struct bench *bench)
{
    weir_stream_close(&bench->writer->stream);
    close(bench->peer);
    free(bench->region);
    free(bench->ring);
    free(bench->writer);
    weir_runtime_destroy(bench->runtime);
    assert_int_equal(support_os_leaks(bench->faulty), 0);
    support_os_destroy(bench->faulty);
}

// Puts messages in and takes them into transit.
static void put(struct bench *bench, uint32_t count, size_t length)
{
    struct weir_writer *me = bench->writer;
    char *message = malloc(length);
    assert_non_null(message);
    struct weir_iovec part = {message, length};
    for (uint32_t i = 0; i < count; i++) {
        memset(message, 'a' + (int)(i % 26), length);
        assert_int_equal(append_parts(me, WEIR_SEVERITY_DEFAULT, &part, 1), 0);
    }
    free(message);
    (void)weir_row_seal_open(me->row, 1);
    assert_true(weir_transit_take(&me->transit, UINT64_MAX, me->now_ns) > 0);
}

static size_t peer_reads(struct bench *bench, size_t bytes_max)
{
    static char bytes[1 << 20];
    size_t count = 0;
    ssize_t got;
    while (count < bytes_max && (got = recv(bench->peer, bytes, bytes_max - count, 0)) > 0) {
        count += (size_t)got;
    }
    return count;
}

static void sends_and_confirms(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench, true);
    struct weir_writer *me = bench.writer;
    put(&bench, 10, 100);
    weir_link_send(me);
    assert_false(weir_transit_unsent(&me->transit));
    assert_int_equal(atomic_load(&me->counters.sends), 1); // one call for all of it
    assert_int_equal(atomic_load(&me->counters.sent_bytes), 1000);
    assert_int_equal(weir_link_sample(me), 0);
    assert_int_equal(peer_reads(&bench, 500), 500);
    assert_int_equal(weir_link_sample(me), 0); // half of the kernel's buffer is none of it
    assert_int_equal(peer_reads(&bench, 500), 500);
    assert_int_equal(weir_link_sample(me), 1000);
    assert_int_equal(me->broken, 0);
    bench_end(&bench);
}

static void a_full_socket_blocks(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench, true);
    struct weir_writer *me = bench.writer;
    put(&bench, 60, 4000);
    put(&bench, 50, 4000);
    for (int i = 0; i < 10 && !me->blocked; i++) {
        weir_link_send(me);
    }
    assert_true(me->blocked);
    assert_true(weir_transit_unsent(&me->transit));
    assert_int_equal(me->broken, 0);
    uint64_t sent = me->transit.sent;
    assert_int_equal(peer_reads(&bench, 1 << 20), sent);
    me->blocked = false;
    weir_link_send(me);
    assert_true(me->transit.sent > sent);
    bench_end(&bench);
}

static void errors_of_a_send(void **unused)
{
    (void)unused;
    static const struct {
        int code, broken;
        bool starved;
    } cases[] = {
        {-EINTR, 0, false},
        {-ENOBUFS, 0, true},
        {-ENOMEM, 0, true},
        {-ECONNRESET, WEIR_FAULT_RESET + 1, false},
        {-EPIPE, WEIR_FAULT_WRITE + 1, false},
        {-ETIMEDOUT, WEIR_FAULT_TIMEOUT + 1, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct bench bench;
        bench_start(&bench, true);
        struct weir_writer *me = bench.writer;
        put(&bench, 1, 100);
        support_os_fail(bench.faulty, SUPPORT_OS_socket_send, 1, 1, cases[i].code);
        weir_link_send(me);
        assert_int_equal(me->broken, cases[i].broken);
        bool starved = me->alarms[WEIR_ALARM_STARVED] != WEIR_NEVER;
        assert_int_equal(starved, cases[i].starved);
        assert_false(me->blocked);
        bool unsent = cases[i].broken != 0 || cases[i].starved; // interrupted: tried again at once
        assert_int_equal(weir_transit_unsent(&me->transit), unsent);
        bench_end(&bench);
    }
}

static void datagrams_go_whole(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench, false);
    struct weir_writer *me = bench.writer;
    put(&bench, 5, 100);
    support_os_fail(bench.faulty, SUPPORT_OS_socket_send, 2, 1, -EMSGSIZE);
    weir_link_send(me);
    assert_int_equal(me->transit.books.dropped_messages[WEIR_DROPPED_UNSENDABLE], 1);
    assert_int_equal(me->transit.books.confirmed_messages, 4);
    assert_int_equal(atomic_load(&me->counters.sends), 4);
    static const char letters[] = "acde";
    for (int i = 0; i < 4; i++) {
        char bytes[200];
        assert_int_equal(recv(bench.peer, bytes, sizeof(bytes), 0), 100);
        assert_int_equal(bytes[0], letters[i]);
    }
    // The queue of the receiver is short.
    put(&bench, 64, 10);
    put(&bench, 1000, 10);
    for (int i = 0; i < 100 && !me->blocked; i++) {
        weir_link_send(me);
    }
    assert_true(me->blocked);
    assert_int_equal(me->broken, 0);
    bench_end(&bench);
}

static void the_end_proves_what_was_read(void **unused)
{
    (void)unused;
    for (int unread = 0; unread < 2; unread++) {
        struct bench bench;
        bench_start(&bench, true);
        struct weir_writer *me = bench.writer;
        put(&bench, 10, 100);
        weir_link_send(me);
        size_t bytes = unread != 0 ? 999 : 1000;
        assert_int_equal(peer_reads(&bench, bytes), bytes);
        close(bench.peer);
        bench.peer = -1;
        // Nobody sampled before: the death itself is the proof, or not.
        assert_int_equal(weir_link_settle(me), unread != 0 ? 0 : 1000);
        bench_end(&bench);
    }
}

static void looks_that_fail_prove_nothing(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_start(&bench, true);
    struct weir_writer *me = bench.writer;
    put(&bench, 10, 100);
    weir_link_send(me);
    assert_int_equal(peer_reads(&bench, 1000), 1000);
    support_os_fail(bench.faulty, SUPPORT_OS_socket_state, 1, 1, -ENOMEM);
    assert_int_equal(weir_link_sample(me), 0);
    assert_int_equal(me->broken, 0);
    assert_int_equal(weir_link_sample(me), 1000); // the next one does
    support_os_fail(bench.faulty, SUPPORT_OS_socket_outstanding, 1, 1, -EINVAL);
    assert_int_equal(weir_link_sample(me), 0);
    assert_int_equal(me->broken, WEIR_FAULT_READ + 1);
    bench_end(&bench);

    bench_start(&bench, true);
    me = bench.writer;
    put(&bench, 10, 100);
    weir_link_send(me);
    assert_int_equal(peer_reads(&bench, 1000), 1000);
    support_os_fail(bench.faulty, SUPPORT_OS_socket_error, 1, 1, ECONNRESET);
    assert_int_equal(weir_link_settle(me), 0);
    bench_end(&bench);
}

static void kinds_of_errors(void **unused)
{
    (void)unused;
    assert_true(weir_link_is_resource_error(-EMFILE));
    assert_true(weir_link_is_resource_error(-ENFILE));
    assert_true(weir_link_is_resource_error(-ENOMEM));
    assert_true(weir_link_is_resource_error(WEIR_EMEMORY));
    assert_true(weir_link_is_resource_error(WEIR_ELIMIT));
    assert_false(weir_link_is_resource_error(-ECONNREFUSED));
    assert_false(weir_link_is_resource_error(0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sends_and_confirms),
        cmocka_unit_test(a_full_socket_blocks),
        cmocka_unit_test(errors_of_a_send),
        cmocka_unit_test(datagrams_go_whole),
        cmocka_unit_test(the_end_proves_what_was_read),
        cmocka_unit_test(looks_that_fail_prove_nothing),
        cmocka_unit_test(kinds_of_errors),
    };
    return cmocka_run_group_tests_name("link", tests, NULL, NULL);
}
