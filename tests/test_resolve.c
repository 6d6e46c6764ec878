// Tests name lookups with a resolver that fails, answers much, or hangs until it is let go.
#include "tests/support_resolver.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// ---- Names ----

static void test_init(void **state)
{
    (void)state;
    struct weir_resolve resolve;
    char host[300];
    assert_int_equal(weir_resolve_init(&resolve, "", 1), WEIR_ENAME);
    memset(host, 'a', sizeof(host));
    host[255] = '\0';
    assert_int_equal(weir_resolve_init(&resolve, host, 1), 0);
    assert_string_equal(resolve.host, host);
    host[255] = 'a';
    host[256] = '\0';
    assert_int_equal(weir_resolve_init(&resolve, host, 1), WEIR_ENAME);
}

static void numeric_body(struct bench *bench)
{
    struct answer answer;
    assert_int_equal(ask_now(bench, "127.0.0.1", &answer), 1);
    struct sockaddr_in v4;
    memcpy(&v4, answer.addresses[0].bytes, sizeof(v4));
    assert_int_equal(answer.addresses[0].bytes_count, sizeof(v4));
    assert_int_equal(v4.sin_family, AF_INET);
    assert_int_equal(ntohs(v4.sin_port), 514);
    assert_int_equal(ntohl(v4.sin_addr.s_addr), INADDR_LOOPBACK);
    assert_int_equal(ask_now(bench, "::1", &answer), 1);
    struct sockaddr_in6 v6;
    memcpy(&v6, answer.addresses[0].bytes, sizeof(v6));
    assert_int_equal(v6.sin6_family, AF_INET6);
    assert_int_equal(ntohs(v6.sin6_port), 514);
    assert_memory_equal(&v6.sin6_addr, &in6addr_loopback, sizeof(in6addr_loopback));
    // Neither a thread nor memory was needed.
    assert_int_equal(atomic_load(&bench->names.starts), bench->workers);
    assert_null(bench->runtime->lookups.block);
}

static void test_numeric(void **state)
{
    (void)state;
    each_runtime(numeric_body);
}

static void answers_body(struct bench *bench)
{
    struct answer answer;
    assert_int_equal(ask_now(bench, "one", &answer), 1);
    assert_string_equal((char *)answer.addresses[0].bytes, "one");
    assert_int_equal(bench->names.port, 514);
    assert_int_equal(ask_now(bench, "many", &answer), WEIR_ADDRESSES_MAX);
    assert_int_equal(answer.addresses[7].bytes[15], 7);
    assert_int_equal(ask_now(bench, "fail", &answer), WEIR_ENAME);
    assert_int_equal(ask_now(bench, "none", &answer), WEIR_ENAME);
    assert_int_equal(ask_now(bench, "memory", &answer), WEIR_EMEMORY);
    assert_true(ask_now(bench, "localhost", &answer) > 0);
    for (int i = 0; i < 3 * WEIR_LOOKUPS_MAX; i++) { // lookups are used again
        assert_int_equal(ask_now(bench, "one", &answer), 1);
    }
    assert_int_equal(atomic_load(&bench->names.starts), bench->workers + 1); // one thread for all
    assert_int_equal(lookups_in(bench, WEIR_LOOKUP_FREE), WEIR_LOOKUPS_MAX);
    weir_runtime_destroy(bench->runtime);
    bench->runtime = NULL;
    assert_int_equal(atomic_load(&bench->names.detaches), 0); // it was idle
    assert_int_equal(atomic_load(&bench->names.joins), bench->workers + 1);
    assert_int_equal(atomic_load(&bench->names.allocs), atomic_load(&bench->names.releases));
}

static void test_answers(void **state)
{
    (void)state;
    each_runtime(answers_body);
}

// ---- Limits and failures ----

static void limit_body(struct bench *bench)
{
    static struct answer answers[WEIR_LOOKUPS_MAX];
    struct weir_handle handles[WEIR_LOOKUPS_MAX];
    struct answer answer;
    char host[16];
    for (int i = 0; i < WEIR_LOOKUPS_MAX; i++) {
        snprintf(host, sizeof(host), i == 0 ? "hang" : "one%d", i);
        handles[i] = ask(bench, host, &answers[i]);
        pass_time(bench, i == 0 ? 5 * MS : 0);
    }
    pass_time(bench, 5 * MS);
    lookups_wait(bench, WEIR_LOOKUP_QUEUED, WEIR_LOOKUPS_MAX - 1);
    assert_int_equal(lookups_in(bench, WEIR_LOOKUP_WORKING), 1);
    assert_int_equal(ask_now(bench, "one", &answer), WEIR_ELIMIT);
    names_let_go(&bench->names);
    for (int i = 0; i < WEIR_LOOKUPS_MAX; i++) {
        snprintf(host, sizeof(host), i == 0 ? "hang" : "one%d", i);
        assert_int_equal(finish(bench, handles[i]), 1);
        assert_string_equal((char *)answers[i].addresses[0].bytes, host);
    }
    assert_int_equal(ask_now(bench, "one", &answer), 1);
}

static void test_limit(void **state)
{
    (void)state;
    each_runtime(limit_body);
}

static void failures_body(struct bench *bench)
{
    struct answer answer;
    // The tasks themselves need cells, whose memory the runtime has after this.
    assert_int_equal(ask_now(bench, "127.0.0.1", &answer), 1);
    atomic_store(&bench->names.allocs_left, 0);
    assert_int_equal(ask_now(bench, "one", &answer), WEIR_EMEMORY);
    atomic_store(&bench->names.allocs_left, -1);
    atomic_store(&bench->names.start_result, -EAGAIN);
    assert_int_equal(ask_now(bench, "one", &answer), -EAGAIN);
    assert_int_equal(ask_now(bench, "one", &answer), -EAGAIN);
    atomic_store(&bench->names.start_result, 0);
    assert_int_equal(ask_now(bench, "one", &answer), 1);
}

static void test_failures(void **state)
{
    (void)state;
    each_runtime(failures_body);
}

static void never_started_body(struct bench *bench)
{
    struct answer answer;
    atomic_store(&bench->names.start_result, -EAGAIN);
    assert_int_equal(ask_now(bench, "one", &answer), -EAGAIN); // a block without a thread
}

static void test_thread_never_started(void **state)
{
    (void)state;
    each_runtime(never_started_body);
}

// ---- Abandonment ----

static void abandon_body(struct bench *bench)
{
    struct answer answer, kept;
    struct weir_handle working = ask(bench, "hang", &answer);
    pass_time(bench, MS);
    names_wait_hanging(&bench->names);
    struct weir_handle queued = ask(bench, "one", &answer);
    struct weir_handle stays = ask(bench, "one", &kept);
    pass_time(bench, MS);
    lookups_wait(bench, WEIR_LOOKUP_QUEUED, 2);
    weir_task_cancel(queued);
    assert_int_equal(finish(bench, queued), WEIR_ECANCELED);
    assert_int_equal(lookups_in(bench, WEIR_LOOKUP_QUEUED), 1);
    weir_task_cancel(working);
    assert_int_equal(finish(bench, working), WEIR_ECANCELED);
    assert_int_equal(lookups_in(bench, WEIR_LOOKUP_ABANDONED), 1);
    assert_int_equal(names_asked(&bench->names), 1);
    names_let_go(&bench->names);
    assert_int_equal(finish(bench, stays), 1);
    assert_int_equal(names_asked(&bench->names), 2); // the dropped one was not even asked for
    lookups_wait(bench, WEIR_LOOKUP_FREE, WEIR_LOOKUPS_MAX);
}

static void test_abandoned(void **state)
{
    (void)state;
    each_runtime(abandon_body);
}

// Dropped when the answer is there but has not been taken: only a runtime that is not driven leaves
// that gap open for long enough.
static void test_dropped_when_done(void **state)
{
    (void)state;
    struct bench *bench = malloc(sizeof(*bench));
    assert_non_null(bench);
    bench_open(bench, 0);
    struct answer answer = {.result = 77};
    struct weir_handle handle = ask(bench, "one", &answer);
    assert_true(weir_turn(bench->runtime, 1, 0) == 1);
    time_t begin = time(NULL);
    while (lookups_in(bench, WEIR_LOOKUP_DONE) == 0) {
        assert_true(time(NULL) - begin < 30);
        usleep(1000);
    }
    weir_task_cancel(handle);
    assert_int_equal(finish(bench, handle), WEIR_ECANCELED);
    assert_int_equal(answer.result, 77);
    assert_int_equal(lookups_in(bench, WEIR_LOOKUP_FREE), WEIR_LOOKUPS_MAX);
    bench_close(bench);
    free(bench);
}

// ---- The end ----

// The runtime goes while the thread hangs: it does not wait, and the thread cleans up afterwards.
static void destroy_hanging_body(struct bench *bench)
{
    struct answer answer;
    weir_task_detach(ask(bench, "hang", &answer));
    pass_time(bench, MS);
    names_wait_hanging(&bench->names);
    weir_task_detach(ask(bench, "one", &answer));
    pass_time(bench, MS);
    lookups_wait(bench, WEIR_LOOKUP_QUEUED, 1);
    weir_runtime_destroy(bench->runtime);
    bench->runtime = NULL;
    assert_int_equal(atomic_load(&bench->names.detaches), 1);
    assert_int_equal(atomic_load(&bench->names.joins), bench->workers);
    assert_int_equal(atomic_load(&bench->names.allocs), atomic_load(&bench->names.releases) + 1);
    assert_int_equal(names_asked(&bench->names), 1);
    names_let_go(&bench->names);
    time_t begin = time(NULL);
    while (atomic_load(&bench->names.allocs) != atomic_load(&bench->names.releases)) {
        assert_true(time(NULL) - begin < 30);
        usleep(1000);
    }
    assert_int_equal(names_asked(&bench->names), 1); // what was queued is not asked for any more
}

static void test_destroy_while_hanging(void **state)
{
    (void)state;
    each_runtime(destroy_hanging_body);
}

// A forked child has the memory but not the thread: it waits for nobody and takes no lock.
static void test_forked_child_destroys(void **state)
{
    (void)state;
    struct bench *bench = malloc(sizeof(*bench));
    assert_non_null(bench);
    bench_open(bench, 0);
    struct answer answer;
    struct weir_handle handle = ask(bench, "hang", &answer);
    assert_int_equal(weir_turn(bench->runtime, 1, 0), 1);
    names_wait_hanging(&bench->names);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        weir_runtime_destroy(bench->runtime);
        bool all = atomic_load(&bench->names.allocs) == atomic_load(&bench->names.releases);
        bool alone = atomic_load(&bench->names.joins) + atomic_load(&bench->names.detaches) == 0;
        _exit(all && alone ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    names_let_go(&bench->names);
    assert_int_equal(finish(bench, handle), 1);
    bench_close(bench);
    free(bench);
}

// The runtime goes while answers come in: nothing is woken that is no more (the sanitizers look).
static void test_destroy_race(void **state)
{
    (void)state;
    static struct answer answers[8];
    for (int round = 0; round < 200; round++) {
        struct bench *bench = malloc(sizeof(*bench));
        assert_non_null(bench);
        bench_open(bench, (uint32_t)(round % 3));
        for (int i = 0; i < 8; i++) {
            weir_task_detach(ask(bench, i == 5 ? "hang" : "one", &answers[i]));
        }
        if (round % 3 == 0) {
            (void)weir_turn(bench->runtime, 100, 0);
        }
        usleep((useconds_t)(round * 7 % 300));
        if (round % 2) {
            names_let_go(&bench->names);
        }
        bench_close(bench);
        free(bench);
    }
}

// ---- Many at once, some of which give up ----

struct impatient {
    struct weir_future future;
    struct weir_resolve resolve;
    struct weir_timeout timeout;
    uint32_t random;
    int rounds, left, answered;
    char host[32];
};

static enum weir_poll impatient_poll(struct weir_future *future, struct weir_context *context)
{
    struct impatient *me = (struct impatient *)future;
    weir_begin(me);
    for (me->left = me->rounds; me->left > 0; me->left--) {
        me->random = me->random * 1664525 + 1013904223;
        snprintf(me->host, sizeof(me->host), "one%u", (unsigned)(me->random >> 12));
        if (weir_resolve_init(&me->resolve, me->host, 1) < 0) {
            weir_return(me, -EINVAL);
        }
        weir_timeout_init(&me->timeout, &me->resolve.future, (me->random >> 8 & 7) * MS / 4);
        weir_await(me, context, &me->timeout);
        if (me->timeout.future.result == 1) {
            me->answered++;
            if (strcmp((char *)me->resolve.addresses[0].bytes, me->host) != 0) {
                weir_return(me, -EBADMSG); // somebody else's answer
            }
        } else if (me->timeout.future.result != WEIR_ETIMEOUT &&
                   me->timeout.future.result != WEIR_ELIMIT) {
            weir_return(me, me->timeout.future.result);
        }
    }
    weir_return(me, me->answered);
    weir_exit(me);
    weir_drop(&me->timeout.future, context);
    weir_end(me);
}

static void impatient_body(struct bench *bench)
{
    struct weir_handle handles[100];
    int answered = 0;
    for (uint32_t i = 0; i < 100; i++) {
        struct impatient impatient;
        memset(&impatient, 0, sizeof(impatient));
        impatient.future.poll = impatient_poll;
        impatient.random = i * 7919 + 1;
        impatient.rounds = 30;
        assert_int_equal(weir_runtime_spawn(bench->runtime, &impatient.future, sizeof(impatient), 0,
                                            &handles[i]),
                         0);
    }
    for (uint32_t i = 0; i < 100; i++) {
        int result = finish(bench, handles[i]);
        assert_true(result >= 0);
        answered += result;
    }
    assert_true(answered > 0);
    lookups_wait(bench, WEIR_LOOKUP_FREE, WEIR_LOOKUPS_MAX);
}

static void test_many_impatient(void **state)
{
    (void)state;
    each_runtime(impatient_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_init),
        cmocka_unit_test(test_numeric),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_thread_never_started),
        cmocka_unit_test(test_abandoned),
        cmocka_unit_test(test_dropped_when_done),
        cmocka_unit_test(test_destroy_while_hanging),
        cmocka_unit_test(test_forked_child_destroys),
        cmocka_unit_test(test_destroy_race),
        cmocka_unit_test(test_many_impatient),
    };
    return cmocka_run_group_tests_name("resolve", tests, NULL, NULL);
}
