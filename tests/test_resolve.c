// Tests name lookups with a resolver that fails, answers much, or hangs until it is let go.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/runtime.h"

#define MS ((uint64_t)1000000)

// ---- A resolver to order ----
//
// The name says what happens: "many" eight addresses, "one...", "none" a count of 0, "fail",
// "memory", "hang..." waits until `open`, then one address. Others go to the real one.

struct names {
    struct weir_os real;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool open;                                 // those that hang may go on
    int hanging;                               // lookups that wait now
    int asked;                                 // calls that were not numeric
    uint16_t port;                             // of the last one
    _Atomic int allocs, releases, allocs_left; // allocs_left: -1 no limit
    _Atomic int joins, detaches, starts, threads_ended, start_result;
};

struct entry {
    struct names *names;
    void (*run)(void *argument);
    void *argument;
};

static int resolve_blocking(struct names *names, const char *host, uint16_t port,
                            struct weir_address *addresses, uint32_t addresses_max)
{
    pthread_mutex_lock(&names->lock);
    names->asked++;
    names->port = port;
    if (strncmp(host, "hang", 4) == 0) {
        names->hanging++;
        pthread_cond_broadcast(&names->changed);
        while (!names->open) {
            pthread_cond_wait(&names->changed, &names->lock);
        }
        names->hanging--;
    }
    pthread_mutex_unlock(&names->lock);
    if (strcmp(host, "fail") == 0) {
        return WEIR_ENAME;
    }
    if (strcmp(host, "memory") == 0) {
        return WEIR_EMEMORY;
    }
    if (strcmp(host, "none") == 0) {
        return 0;
    }
    uint32_t count = strcmp(host, "many") == 0 ? addresses_max : 1;
    for (uint32_t i = 0; i < count; i++) {
        memset(&addresses[i], 0, sizeof(addresses[i]));
        addresses[i].bytes_count = 16;
        addresses[i].bytes[15] = (unsigned char)i;
        strncpy((char *)addresses[i].bytes, host, 15);
    }
    return (int)count;
}

static int names_resolve(void *self, const char *host, uint16_t port, bool numeric,
                         struct weir_address *addresses, uint32_t addresses_max)
{
    struct names *names = self;
    if (numeric || strcmp(host, "localhost") == 0) {
        return names->real.resolve(names->real.self, host, port, numeric, addresses, addresses_max);
    }
    return resolve_blocking(names, host, port, addresses, addresses_max);
}

static void *names_alloc(void *self, size_t bytes, size_t alignment)
{
    struct names *names = self;
    if (atomic_load(&names->allocs_left) == 0) {
        return NULL;
    }
    atomic_fetch_add(&names->allocs, 1);
    return names->real.alloc(names->real.self, bytes, alignment);
}

static void names_release(void *self, void *memory, size_t bytes)
{
    struct names *names = self;
    names->real.release(names->real.self, memory, bytes);
    atomic_fetch_add(&names->releases, 1);
}

static void names_entry(void *argument)
{
    struct entry entry = *(struct entry *)argument;
    free(argument);
    entry.run(entry.argument);
    atomic_fetch_add(&entry.names->threads_ended, 1);
}

static int names_thread_start(void *self, uint64_t *thread, void (*run)(void *), void *argument)
{
    struct names *names = self;
    int result = atomic_load(&names->start_result);
    if (result != 0) {
        return result;
    }
    struct entry *entry = malloc(sizeof(*entry));
    assert_non_null(entry);
    *entry = (struct entry){names, run, argument};
    atomic_fetch_add(&names->starts, 1);
    return names->real.thread_start(names->real.self, thread, names_entry, entry);
}

static int names_thread_join(void *self, uint64_t thread)
{
    struct names *names = self;
    atomic_fetch_add(&names->joins, 1);
    return names->real.thread_join(names->real.self, thread);
}

static int names_thread_detach(void *self, uint64_t thread)
{
    struct names *names = self;
    atomic_fetch_add(&names->detaches, 1);
    return names->real.thread_detach(names->real.self, thread);
}

static int names_wait(void *self, const struct weir_poller *poller, struct weir_os_event *events,
                      uint32_t events_max, uint64_t deadline_ns)
{
    struct names *names = self;
    return names->real.poller_wait(names->real.self, poller, events, events_max, deadline_ns);
}

static void names_let_go(struct names *names)
{
    pthread_mutex_lock(&names->lock);
    names->open = true;
    pthread_cond_broadcast(&names->changed);
    pthread_mutex_unlock(&names->lock);
}

static void names_wait_hanging(struct names *names)
{
    pthread_mutex_lock(&names->lock);
    while (names->hanging == 0) {
        pthread_cond_wait(&names->changed, &names->lock);
    }
    pthread_mutex_unlock(&names->lock);
}

static int names_asked(struct names *names)
{
    pthread_mutex_lock(&names->lock);
    int asked = names->asked;
    pthread_mutex_unlock(&names->lock);
    return asked;
}

// ---- A runtime per number of workers ----

struct bench {
    struct weir_runtime *runtime;
    struct names names;
    int workers;
};

static void bench_open(struct bench *bench, uint32_t workers)
{
    memset(bench, 0, sizeof(*bench));
    struct names *names = &bench->names;
    names->real = weir_os_linux();
    atomic_store(&names->allocs_left, -1);
    pthread_mutex_init(&names->lock, NULL);
    pthread_cond_init(&names->changed, NULL);
    struct weir_os os = names->real;
    os.self = names;
    os.resolve = names_resolve;
    os.alloc = names_alloc;
    os.release = names_release;
    os.thread_start = names_thread_start;
    os.thread_join = names_thread_join;
    os.thread_detach = names_thread_detach;
    os.poller_wait = names_wait;
    struct weir_runtime_options options = {.workers = workers, .os = &os};
    assert_int_equal(weir_runtime_create(&bench->runtime, &options), 0);
    bench->workers = (int)workers;
}

// Ends the runtime if that is still to be done, and waits for what it left behind.
static void bench_close(struct bench *bench)
{
    struct names *names = &bench->names;
    if (bench->runtime != NULL) {
        weir_runtime_destroy(bench->runtime);
    }
    names_let_go(names);
    time_t begin = time(NULL);
    while (atomic_load(&names->allocs) != atomic_load(&names->releases) ||
           atomic_load(&names->starts) != atomic_load(&names->threads_ended)) {
        assert_true(time(NULL) - begin < 30);
        usleep(1000);
    }
    assert_int_equal(atomic_load(&names->joins) + atomic_load(&names->detaches),
                     atomic_load(&names->starts));
    pthread_cond_destroy(&names->changed);
    pthread_mutex_destroy(&names->lock);
}

static void each_runtime(void (*body)(struct bench *bench))
{
    static const uint32_t workers[] = {0, 1, 2, 4};
    for (size_t i = 0; i < sizeof(workers) / sizeof(workers[0]); i++) {
        struct bench *bench = malloc(sizeof(*bench));
        assert_non_null(bench);
        bench_open(bench, workers[i]);
        body(bench);
        bench_close(bench);
        free(bench);
    }
}

// ---- A task that looks a name up and copies the answer out ----

struct answer {
    int result;
    struct weir_address addresses[WEIR_ADDRESSES_MAX];
};

struct asker {
    struct weir_future future;
    struct answer *answer;
    struct weir_resolve resolve;
};

static enum weir_poll asker_poll(struct weir_future *future, struct weir_context *context)
{
    struct asker *me = (struct asker *)future;
    weir_begin(me);
    weir_await(me, context, &me->resolve);
    if (me->resolve.future.result > 0) {
        memcpy(me->answer->addresses, me->resolve.addresses, sizeof(me->answer->addresses));
    }
    me->answer->result = me->resolve.future.result;
    weir_return(me, me->resolve.future.result);
    weir_exit(me);
    weir_drop(&me->resolve.future, context);
    weir_end(me);
}

static struct weir_handle ask(struct bench *bench, const char *host, struct answer *answer)
{
    struct asker asker;
    struct weir_handle handle;
    memset(&asker, 0, sizeof(asker));
    asker.future.poll = asker_poll;
    asker.answer = answer;
    assert_int_equal(weir_resolve_init(&asker.resolve, host, 514), 0);
    assert_int_equal(weir_runtime_spawn(bench->runtime, &asker.future, sizeof(asker), 0, &handle),
                     0);
    return handle;
}

static int finish(struct bench *bench, struct weir_handle handle)
{
    struct weir_task_join join;
    memset(&join, 0, sizeof(join));
    weir_task_join_init(&join, handle);
    return weir_block_on(bench->runtime, &join.future, sizeof(join));
}

static int ask_now(struct bench *bench, const char *host, struct answer *answer)
{
    return finish(bench, ask(bench, host, answer));
}

static void pass_time(struct bench *bench, uint64_t duration_ns)
{
    struct weir_sleep sleep;
    memset(&sleep, 0, sizeof(sleep));
    weir_sleep_init(&sleep, duration_ns);
    assert_int_equal(weir_block_on(bench->runtime, &sleep.future, sizeof(sleep)), 0);
}

static int lookups_in(struct bench *bench, enum weir_lookup_state state)
{
    struct weir_lookup_block *block = bench->runtime->lookups.block;
    int count = 0;
    for (int i = 0; i < WEIR_LOOKUPS_MAX; i++) {
        count += atomic_load(&block->lookups[i].state) == (uint32_t)state ? 1 : 0;
    }
    return count;
}

// Waits until so many lookups are in a state.
static void lookups_wait(struct bench *bench, enum weir_lookup_state state, int count)
{
    time_t begin = time(NULL);
    while (lookups_in(bench, state) != count) {
        assert_true(time(NULL) - begin < 30);
        pass_time(bench, MS);
    }
}

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
