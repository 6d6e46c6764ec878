// So many timers inserted, cancelled and fired; nanoseconds of each.
//
// One task on one worker holds them all, with deadlines spread evenly over 100 ms. insert: from the
// first to the last first poll. cancel: all dropped again, in the order of their making. fire: so
// many are inserted once more and left alone; the processor time of the whole process from then
// until the last deadline has passed and every one is seen to be ready.
#include "tests/bench/bench.h"

#include <stdlib.h>
#include <time.h>

#include "weir.h"

#define WINDOW_NS 100000000u
// Deadlines are so far away that none passes before all are inserted.
#define AWAY_NS(count) (100000000u + 2000u * (uint64_t)(count))

struct holder {
    struct weir_future future;
    struct weir_sleep last;
    struct weir_sleep *sleeps;
    uint64_t count, seen, insert_ns, cancel_ns, fire_ns;
};

static uint64_t processor_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

// returns  how long it took.
static uint64_t holder_insert(struct holder *me, struct weir_context *context)
{
    uint64_t before_ns = bench_now_ns();
    uint64_t first_ns = before_ns + AWAY_NS(me->count);
    for (uint64_t i = 0; i < me->count; i++) {
        // Scattered: neighbours in memory are not neighbours in time.
        uint64_t place = (i * 7919) % me->count;
        weir_sleep_until_init(&me->sleeps[i], first_ns + place * WINDOW_NS / me->count);
        (void)weir_future_poll(&me->sleeps[i].future, context);
    }
    uint64_t took_ns = bench_now_ns() - before_ns;
    weir_sleep_until_init(&me->last, first_ns + WINDOW_NS);
    return took_ns;
}

static enum weir_poll holder_poll(struct weir_future *future, struct weir_context *context)
{
    struct holder *me = (struct holder *)future;
    weir_begin(me);
    me->insert_ns = holder_insert(me, context);
    uint64_t before_ns = bench_now_ns();
    for (uint64_t i = 0; i < me->count; i++) {
        weir_drop(&me->sleeps[i].future, context);
    }
    me->cancel_ns = bench_now_ns() - before_ns;
    (void)holder_insert(me, context);
    me->fire_ns = processor_ns();
    weir_await(me, context, &me->last);
    for (; me->seen < me->count; me->seen++) {
        weir_await(me, context, &me->sleeps[me->seen]);
    }
    me->fire_ns = processor_ns() - me->fire_ns;
    weir_exit(me);
    weir_drop(&me->last.future, context);
    weir_end(me);
}

// block_on copies the future it is given: results are asked for through a pointer.
struct caller {
    struct weir_future future;
    struct holder *holder;
};

static enum weir_poll caller_poll(struct weir_future *future, struct weir_context *context)
{
    struct caller *me = (struct caller *)future;
    return weir_future_poll(&me->holder->future, context);
}

static void timers_measure(const struct bench_case *self)
{
    struct weir_runtime *runtime;
    struct holder holder = {.future = {holder_poll, 0, 0}, .count = self->count};
    struct caller caller = {.future = {caller_poll, 0, 0}, .holder = &holder};
    holder.sleeps = calloc(self->count, sizeof(*holder.sleeps));
    bench_check(holder.sleeps != NULL, "calloc");
    for (uint64_t i = 0; i < self->count; i++) { // known to the kernel
        weir_sleep_init(&holder.sleeps[i], 1);
    }
    bench_must(weir_runtime_create(&runtime, &(struct weir_runtime_options){.workers = 1}),
               "runtime");
    bench_must(weir_block_on(runtime, &caller.future, sizeof(caller)), "block_on");
    weir_runtime_destroy(runtime);
    free(holder.sleeps);
    bench_sample("insert", "ns", (double)holder.insert_ns / (double)holder.count);
    bench_sample("cancel", "ns", (double)holder.cancel_ns / (double)holder.count);
    bench_sample("fire", "ns", (double)holder.fire_ns / (double)holder.count);
}

int main(int argc, char **argv)
{
    for (uint32_t count = 100; count <= 1000000; count *= 10) {
        bench_add("weir", timers_measure, NULL, count, "timers/%u", count);
    }
    return bench_main(argc, argv);
}
