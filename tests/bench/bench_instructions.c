// What to count instructions of: each case's function bench_counted does one thing 1,000 times.
//
// Instruction counts do not wobble with the machine. tests/bench/run starts these under valgrind's
// callgrind, where there is one, and divides by 1,000; alone they print nothing.
//
// instructions_log/N          a message of N bytes: weir_log; weir_reserve, memcpy and weir_commit;
//                             or an append to a buffer under a mutex
// instructions_current_yield  zero workers: a yield, by one of ten tasks
// instructions_current_spawn  zero workers: a task spawned, polled and joined
// instructions_sleep          a timer armed and cancelled
#include "tests/bench/bench.h"

#include <pthread.h>
#include <string.h>

#include "tests/bench/support_pool.h"
#include "tests/bench/support_reader.h"

#define COUNT 1000u
#define YIELDERS 10u
#define MESSAGE_BYTES_MAX 4096u

static struct bench_pool pool;
static struct weir_runtime *runtime;
static char message[MESSAGE_BYTES_MAX];
static char buffer[MESSAGE_BYTES_MAX * COUNT];
static size_t buffer_bytes;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

__attribute__((noinline)) void bench_counted(void (*what)(uint32_t count), uint32_t count);
void bench_counted(void (*what)(uint32_t count), uint32_t count)
{
    what(count);
}

// ---- The writer ----

static void weir_way(uint32_t bytes)
{
    for (uint32_t i = 0; i < COUNT; i++) {
        bench_must(weir_log(pool.pool, message, bytes), "weir_log");
    }
}

static void reserve_way(uint32_t bytes)
{
    for (uint32_t i = 0; i < COUNT; i++) {
        struct weir_slot slot;
        bench_must(weir_reserve(pool.pool, NULL, bytes, &slot), "weir_reserve");
        memcpy(slot.bytes, message, bytes);
        bench_must(weir_commit(pool.pool, &slot, bytes), "weir_commit");
    }
}

static void mutex_way(uint32_t bytes)
{
    for (uint32_t i = 0; i < COUNT; i++) {
        pthread_mutex_lock(&lock);
        if (buffer_bytes + bytes < sizeof(buffer)) {
            memcpy(buffer + buffer_bytes, message, bytes);
            buffer[buffer_bytes + bytes] = '\n';
            buffer_bytes += bytes + 1;
        }
        pthread_mutex_unlock(&lock);
    }
}

static void writer_measure(const struct bench_case *self)
{
    struct bench_reader reader;
    struct weir_metrics books;
    memset(message, 'm', sizeof(message));
    if (strcmp(self->who, "mutex") == 0) {
        bench_counted(mutex_way, self->count);
        return;
    }
    bench_reader_start(&reader, BENCH_UNIX, 0);
    struct weir_pool_options options =
        bench_pool_options(reader.endpoint, WEIR_CONFIRM_AUTO, WEIR_FULL_DROP_NEWEST);
    (void)bench_pool_open(&pool, &options, NULL);
    bench_counted(strcmp(self->who, "weir") == 0 ? weir_way : reserve_way, self->count);
    bench_pool_close(&pool, &books);
    bench_reader_stop(&reader);
}

// ---- The runtime ----

struct worker {
    struct weir_future future;
    struct weir_yield yield;
    struct weir_sleep sleep;
    struct weir_task_join join;
    uint32_t turns;
};

static enum weir_poll noop_poll(struct weir_future *future, struct weir_context *context)
{
    (void)future;
    (void)context;
    return WEIR_READY;
}

static enum weir_poll yielder_poll(struct weir_future *future, struct weir_context *context)
{
    struct worker *me = (struct worker *)future;
    weir_begin(me);
    for (; me->turns > 0; me->turns--) {
        weir_yield_init(&me->yield);
        weir_await(me, context, &me->yield);
    }
    weir_exit(me);
    weir_end(me);
}

static enum weir_poll spawner_poll(struct weir_future *future, struct weir_context *context)
{
    struct worker *me = (struct worker *)future;
    weir_begin(me);
    for (; me->turns > 0; me->turns--) {
        struct weir_future noop = {.poll = noop_poll};
        struct weir_handle handle;
        bench_must(weir_spawn(context, &noop, sizeof(noop), 0, &handle), "spawn");
        weir_task_join_init(&me->join, handle);
        weir_await(me, context, &me->join);
    }
    weir_exit(me);
    weir_drop(&me->join.future, context);
    weir_end(me);
}

static enum weir_poll sleeper_poll(struct weir_future *future, struct weir_context *context)
{
    struct worker *me = (struct worker *)future;
    for (; me->turns > 0; me->turns--) {
        weir_sleep_init(&me->sleep, 1000000000u + me->turns * 1000000u);
        (void)weir_future_poll(&me->sleep.future, context);
        weir_drop(&me->sleep.future, context);
    }
    return WEIR_READY;
}

static void block_on(weir_poll_fn *poll, uint32_t turns)
{
    struct worker worker = {.future = {poll, 0, 0}, .turns = turns};
    bench_must(weir_block_on(runtime, &worker.future, sizeof(worker)), "block_on");
}

static void yields(uint32_t unused)
{
    (void)unused;
    struct worker worker = {.future = {yielder_poll, 0, 0}, .turns = COUNT / YIELDERS};
    for (uint32_t i = 1; i < YIELDERS; i++) {
        bench_must(weir_runtime_spawn(runtime, &worker.future, sizeof(worker), 0, NULL), "spawn");
    }
    block_on(yielder_poll, COUNT / YIELDERS);
}

static void spawns(uint32_t unused)
{
    (void)unused;
    block_on(spawner_poll, COUNT);
}

static void sleeps(uint32_t unused)
{
    (void)unused;
    block_on(sleeper_poll, COUNT);
}

struct shape {
    void (*what)(uint32_t unused);
};

static void runtime_measure(const struct bench_case *self)
{
    const struct shape *shape = self->what;
    bench_must(weir_runtime_create(&runtime, &(struct weir_runtime_options){.workers = 0}),
               "runtime");
    shape->what(0); // warm
    bench_counted(shape->what, 0);
    weir_runtime_destroy(runtime);
}

int main(int argc, char **argv)
{
    static const struct shape shapes[] = {{yields}, {spawns}, {sleeps}};
    static const char *const names[] = {"current_yield", "current_spawn", "sleep"};
    static const char *const ways[] = {"weir", "mutex", "weir_reserve"};
    for (uint32_t bytes = 128; bytes <= MESSAGE_BYTES_MAX; bytes *= 32) {
        for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
            bench_add(ways[i], writer_measure, NULL, bytes, "instructions_log/%u", bytes);
        }
    }
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        bench_add("weir", runtime_measure, &shapes[i], 0, "instructions_%s/0", names[i]);
    }
    return bench_main(argc, argv);
}
