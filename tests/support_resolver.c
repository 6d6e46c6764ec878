// A resolver to order, in place of the operating system's.
#include "tests/support_resolver.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

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

void names_let_go(struct names *names)
{
    pthread_mutex_lock(&names->lock);
    names->open = true;
    pthread_cond_broadcast(&names->changed);
    pthread_mutex_unlock(&names->lock);
}

void names_wait_hanging(struct names *names)
{
    pthread_mutex_lock(&names->lock);
    while (names->hanging == 0) {
        pthread_cond_wait(&names->changed, &names->lock);
    }
    pthread_mutex_unlock(&names->lock);
}

int names_asked(struct names *names)
{
    pthread_mutex_lock(&names->lock);
    int asked = names->asked;
    pthread_mutex_unlock(&names->lock);
    return asked;
}

// ---- A runtime per number of workers ----

void bench_open(struct bench *bench, uint32_t workers)
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

void bench_close(struct bench *bench)
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

void each_runtime(void (*body)(struct bench *bench))
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

struct weir_handle ask(struct bench *bench, const char *host, struct answer *answer)
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

int finish(struct bench *bench, struct weir_handle handle)
{
    struct weir_task_join join;
    memset(&join, 0, sizeof(join));
    weir_task_join_init(&join, handle);
    return weir_block_on(bench->runtime, &join.future, sizeof(join));
}

int ask_now(struct bench *bench, const char *host, struct answer *answer)
{
    return finish(bench, ask(bench, host, answer));
}

void pass_time(struct bench *bench, uint64_t duration_ns)
{
    struct weir_sleep sleep;
    memset(&sleep, 0, sizeof(sleep));
    weir_sleep_init(&sleep, duration_ns);
    assert_int_equal(weir_block_on(bench->runtime, &sleep.future, sizeof(sleep)), 0);
}

int lookups_in(struct bench *bench, enum weir_lookup_state state)
{
    struct weir_lookup_block *block = bench->runtime->lookups.block;
    int count = 0;
    for (int i = 0; i < WEIR_LOOKUPS_MAX; i++) {
        count += atomic_load(&block->lookups[i].state) == (uint32_t)state ? 1 : 0;
    }
    return count;
}

void lookups_wait(struct bench *bench, enum weir_lookup_state state, int count)
{
    time_t begin = time(NULL);
    while (lookups_in(bench, state) != count) {
        assert_true(time(NULL) - begin < 30);
        pass_time(bench, MS);
    }
}
