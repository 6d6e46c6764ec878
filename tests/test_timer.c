// Tests of the timer wheel against a plain list, and of timers stopped by other threads.
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/timer.h"
#include "runtime/worker.h"

#define TICK_NS (UINT64_C(1) << WEIR_TICK_BITS)
#define TIMERS_MAX 200

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state * UINT64_C(0x2545F4914F6CDD1D);
}

static uint64_t random_below(uint64_t *state, uint64_t count)
{
    return random_next(state) % count;
}

static uint64_t seed_of_run(void)
{
    const char *text = getenv("WEIR_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : UINT64_C(0x9e3779b97f4a7c15);
    print_message("WEIR_SEED=%llu\n", (unsigned long long)seed);
    return seed | 1;
}

static uint64_t tick_up(uint64_t deadline_ns)
{
    return deadline_ns / TICK_NS + (deadline_ns % TICK_NS != 0);
}

// ---- The model: every timer in one array, looked through from end to end ----

struct model {
    struct weir_wheel wheel;
    struct weir_timer timers[TIMERS_MAX];
    bool in[TIMERS_MAX];
    uint64_t now_ns;
    uint64_t random;
};

static uint64_t model_earliest(const struct model *model)
{
    uint64_t tick = UINT64_MAX;
    for (int i = 0; i < TIMERS_MAX; i++) {
        if (model->in[i] && tick_up(model->timers[i].deadline_ns) < tick) {
            tick = tick_up(model->timers[i].deadline_ns);
        }
    }
    return tick;
}

static int model_count(const struct model *model)
{
    int count = 0;
    for (int i = 0; i < TIMERS_MAX; i++) {
        count += model->in[i];
    }
    return count;
}

static int list_count(const struct weir_timer *first)
{
    int count = 0;
    if (first != NULL) {
        const struct weir_timer *timer = first;
        do {
            assert_ptr_equal(timer->next->prev, timer);
            count++;
            timer = timer->next;
        } while (timer != first);
    }
    return count;
}

static void model_check(const struct model *model)
{
    const struct weir_wheel *wheel = &model->wheel;
    int count = list_count(wheel->due) + list_count(wheel->refiling);
    for (int level = 0; level < WEIR_WHEEL_LEVELS; level++) {
        for (int slot = 0; slot < WEIR_WHEEL_SLOTS; slot++) {
            int here = list_count(wheel->slots[level][slot]);
            assert_int_equal(here != 0, (wheel->occupied[level] >> slot) & 1);
            count += here;
        }
    }
    assert_int_equal(count, model_count(model));
    assert_true(wheel->now <= model->now_ns / TICK_NS);
    uint64_t earliest = model_earliest(model);
    uint64_t next_ns = weir_wheel_next_ns(wheel);
    if (earliest == UINT64_MAX) {
        assert_true(next_ns == WEIR_NEVER);
    } else {
        // Of timers that were late when they came it is enough to say that they are due.
        assert_true(next_ns <= (earliest > wheel->now ? earliest : wheel->now) * TICK_NS);
    }
}

static void model_expire(struct model *model, bool all)
{
    uint32_t steps = all ? UINT32_MAX : (uint32_t)random_below(&model->random, 6);
    uint64_t last = 0;
    uint64_t wheel_before = model->wheel.now;
    for (;;) {
        struct weir_timer *timer = weir_wheel_expire(&model->wheel, model->now_ns, &steps);
        if (timer == NULL) {
            break;
        }
        ptrdiff_t index = timer - model->timers;
        assert_true(index >= 0 && index < TIMERS_MAX);
        assert_true(model->in[index]);
        assert_true(timer->deadline_ns <= model->now_ns); // never early
        uint64_t tick = tick_up(timer->deadline_ns);
        if (tick > wheel_before) { // the others were late when they were inserted
            assert_true(tick >= last);
            last = tick;
        }
        model->in[index] = false;
        memset(timer, 0xA5, sizeof *timer); // the wheel must have forgotten it
    }
    if (all) {
        assert_true(model_earliest(model) > model->now_ns / TICK_NS); // never lost
        assert_true(model->wheel.now == model->now_ns / TICK_NS);
    }
}

static uint64_t deadline_random(struct model *model)
{
    uint64_t *random = &model->random;
    uint64_t now = model->now_ns;
    uint64_t deadline;
    switch (random_below(random, 7)) {
    case 0: // near, also in the past
        deadline = now - now % TICK_NS + random_below(random, 80 * TICK_NS);
        break;
    case 1: // exactly a tick, or next to one
        deadline =
            (now / TICK_NS + random_below(random, 300)) * TICK_NS + random_below(random, 3) - 1;
        break;
    case 2: { // around the edge of a slot of some level
        uint64_t width = TICK_NS << (WEIR_WHEEL_BITS * random_below(random, WEIR_WHEEL_LEVELS));
        uint64_t edge = (now / width + random_below(random, 4)) * width;
        deadline = edge + (random_below(random, 5) - 2) * (random_below(random, 2) ? 1 : TICK_NS);
        break;
    }
    case 3: // any scale
        deadline = now + (random_next(random) >> random_below(random, 64));
        break;
    case 4: // anything at all, the past included
        deadline = random_next(random);
        break;
    case 5: // the far end
        deadline = UINT64_MAX - random_below(random, 4 * TICK_NS);
        break;
    default: deadline = now; break;
    }
    return deadline;
}

static uint64_t now_random(struct model *model)
{
    uint64_t *random = &model->random;
    uint64_t now = model->now_ns;
    uint64_t next_ns = weir_wheel_next_ns(&model->wheel);
    uint64_t then;
    switch (random_below(random, 6)) {
    case 0: then = now + random_below(random, 3 * TICK_NS); break;
    case 1: then = next_ns == WEIR_NEVER ? now : next_ns - random_below(random, 2); break;
    case 2: {
        uint64_t width = TICK_NS << (WEIR_WHEEL_BITS * random_below(random, 4));
        then = (now / width + 1) * width - random_below(random, 2);
        break;
    }
    case 3: then = now + (random_next(random) >> (20 + random_below(random, 44))); break;
    case 4: // rarely, or the end of time comes too soon
        then = random_below(random, 50) != 0
                   ? now
                   : now + (random_next(random) >> random_below(random, 64));
        break;
    default: then = now; break;
    }
    return then < now ? now : then; // it is a clock
}

static void test_wheel_against_model(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run();
    struct model *model = malloc(sizeof *model);
    assert_non_null(model);
    for (int run = 0; run < 300; run++) {
        memset(model, 0, sizeof *model);
        model->random = seed + (uint64_t)run * 2;
        model->now_ns = random_next(&model->random) >> (1 + random_below(&model->random, 63));
        weir_wheel_init(&model->wheel, model->now_ns);
        int timers_count = (int)(1 + random_below(&model->random, TIMERS_MAX));
        for (int step = 0; step < 1000; step++) {
            int index = (int)random_below(&model->random, (uint64_t)timers_count);
            struct weir_timer *timer = &model->timers[index];
            switch (random_below(&model->random, 5)) {
            case 0:
            case 1:
                if (!model->in[index]) {
                    timer->deadline_ns = deadline_random(model);
                    if (weir_wheel_reaches(timer->deadline_ns)) {
                        weir_wheel_insert(&model->wheel, timer);
                        model->in[index] = true;
                    } else {
                        assert_true(timer->deadline_ns > UINT64_MAX - TICK_NS);
                    }
                }
                break;
            case 2:
                if (model->in[index]) {
                    weir_wheel_remove(&model->wheel, timer);
                    model->in[index] = false;
                    memset(timer, 0x5A, sizeof *timer);
                }
                break;
            case 3:
                model->now_ns = now_random(model);
                model_expire(model, false);
                break;
            default: model_expire(model, random_below(&model->random, 4) == 0); break;
            }
            if (step % 16 == 0) {
                model_check(model);
            }
        }
        model->now_ns = UINT64_MAX;
        model_expire(model, true);
        assert_int_equal(model_count(model), 0);
        model_check(model);
    }
    free(model);
}

// One timer, every level: waking at what next_ns says must find it at exactly its tick, at once.
static void test_wheel_lone_timer_wakes_once(void **state)
{
    (void)state;
    struct weir_wheel wheel;
    for (int bit = 0; bit < 64; bit++) {
        for (int64_t around = -2; around <= 2; around++) {
            for (uint64_t start_ns = 0; start_ns < 5 * TICK_NS; start_ns += TICK_NS - 1) {
                struct weir_timer timer = {.deadline_ns = (UINT64_C(1) << bit) + (uint64_t)around};
                weir_wheel_init(&wheel, start_ns);
                if (!weir_wheel_reaches(timer.deadline_ns)) {
                    continue;
                }
                weir_wheel_insert(&wheel, &timer);
                uint64_t next_ns = weir_wheel_next_ns(&wheel);
                uint32_t steps = 100;
                if (next_ns > start_ns) {
                    assert_true(next_ns == tick_up(timer.deadline_ns) * TICK_NS);
                    assert_null(weir_wheel_expire(&wheel, next_ns - 1, &steps));
                } else {
                    assert_true(tick_up(timer.deadline_ns) <= start_ns / TICK_NS);
                }
                uint64_t now_ns = next_ns > start_ns ? next_ns : start_ns;
                assert_ptr_equal(weir_wheel_expire(&wheel, now_ns, &steps), &timer);
                assert_true(steps >= 100 - WEIR_WHEEL_LEVELS);
                assert_true(weir_wheel_next_ns(&wheel) == WEIR_NEVER);
            }
        }
    }
}

// Whoever only ever wakes at next_ns wakes a bounded number of times, and gets all in order.
static void test_wheel_follow_next(void **state)
{
    (void)state;
    uint64_t random = seed_of_run();
    enum { COUNT = 3000 };
    struct weir_timer *timers = calloc(COUNT, sizeof *timers);
    assert_non_null(timers);
    struct weir_wheel wheel;
    uint64_t now_ns = 12345678;
    weir_wheel_init(&wheel, now_ns);
    for (int i = 0; i < COUNT; i++) {
        timers[i].deadline_ns = now_ns + (random_next(&random) >> (14 + random_below(&random, 40)));
        weir_wheel_insert(&wheel, &timers[i]);
    }
    int fired = 0, wakes = 0;
    uint64_t last = 0;
    for (uint64_t next_ns; (next_ns = weir_wheel_next_ns(&wheel)) != WEIR_NEVER; wakes++) {
        now_ns = next_ns > now_ns ? next_ns : now_ns;
        uint32_t steps = UINT32_MAX;
        for (struct weir_timer *timer;
             (timer = weir_wheel_expire(&wheel, now_ns, &steps)) != NULL;) {
            assert_true(tick_up(timer->deadline_ns) == now_ns / TICK_NS); // at its tick, no later
            assert_true(tick_up(timer->deadline_ns) >= last);
            last = tick_up(timer->deadline_ns);
            fired++;
        }
    }
    assert_int_equal(fired, COUNT);
    assert_true(wakes <= 2 * COUNT);
    free(timers);
}

static void test_wheel_equal_deadlines_keep_order(void **state)
{
    (void)state;
    struct weir_wheel wheel;
    struct weir_timer timers[40] = {{0}};
    weir_wheel_init(&wheel, 0);
    for (int i = 0; i < 40; i++) {
        timers[i].deadline_ns = 5000 * TICK_NS;
        weir_wheel_insert(&wheel, &timers[i]);
    }
    for (int i = 0; i < 40; i++) {
        uint32_t steps = 1000;
        assert_ptr_equal(weir_wheel_expire(&wheel, 5000 * TICK_NS, &steps), &timers[i]);
    }
}

// A few in one slot of a higher level: the earliest is known exactly; of many, only the slot.
static void test_wheel_next_of_a_slot(void **state)
{
    (void)state;
    for (int count = 1; count <= 20; count++) {
        struct weir_wheel wheel;
        struct weir_timer timers[20] = {{0}};
        weir_wheel_init(&wheel, 0);
        for (int i = 0; i < count; i++) {
            timers[i].deadline_ns = (64 * 5 + 50 - (uint64_t)i) * TICK_NS;
            weir_wheel_insert(&wheel, &timers[i]);
        }
        uint64_t next_ns = weir_wheel_next_ns(&wheel);
        if (count <= 8) {
            assert_true(next_ns == timers[count - 1].deadline_ns);
        } else {
            assert_true(next_ns >= 64 * 5 * TICK_NS);
            assert_true(next_ns <= timers[count - 1].deadline_ns);
        }
    }
}

// Taken out while in a slot, while being filed again, and while due.
static void test_wheel_remove_everywhere(void **state)
{
    (void)state;
    for (int victim = 0; victim < 4; victim++) {
        for (uint32_t steps_first = 0; steps_first < 12; steps_first++) {
            struct weir_wheel wheel;
            struct weir_timer timers[4] = {{0}};
            weir_wheel_init(&wheel, 0);
            for (int i = 0; i < 4; i++) {
                timers[i].deadline_ns = 64 * TICK_NS; // level 1, all in one slot
                weir_wheel_insert(&wheel, &timers[i]);
            }
            bool out[4] = {false};
            uint32_t steps = steps_first;
            struct weir_timer *timer;
            while ((timer = weir_wheel_expire(&wheel, 64 * TICK_NS, &steps)) != NULL) {
                assert_false(out[timer - timers]);
                out[timer - timers] = true;
            }
            if (!out[victim]) {
                weir_wheel_remove(&wheel, &timers[victim]);
                out[victim] = true;
            }
            steps = 100;
            while ((timer = weir_wheel_expire(&wheel, 64 * TICK_NS, &steps)) != NULL) {
                assert_false(out[timer - timers]);
                out[timer - timers] = true;
            }
            assert_true(out[0] && out[1] && out[2] && out[3]);
            assert_true(weir_wheel_next_ns(&wheel) == WEIR_NEVER);
            assert_true(wheel.occupied[0] == 0 && wheel.occupied[1] == 0);
        }
    }
}

// ---- A worker's timers: no runtime around it; its wakers name no task, so wakes do nothing ----

struct bench {
    struct weir_os os;
    struct weir_worker *worker;
    struct weir_context context;
};

static void bench_open(struct bench *bench, uint64_t now_ns)
{
    bench->os = weir_os_linux();
    bench->worker = aligned_alloc(_Alignof(struct weir_worker), sizeof *bench->worker);
    assert_non_null(bench->worker);
    memset(bench->worker, 0, sizeof *bench->worker);
    weir_timers_init(&bench->worker->timers, &bench->os, now_ns);
    bench->context = (struct weir_context){
        .worker = bench->worker, .os = &bench->os, .now_ns = now_ns, .budget = 100};
}

static void bench_close(struct bench *bench)
{
    free(bench->worker);
}

static void test_timer_life(void **state)
{
    (void)state;
    struct bench bench;
    bench_open(&bench, 1000);
    struct weir_timers *timers = &bench.worker->timers;
    struct weir_timer timer = {0};
    weir_timer_stop(&timer); // unstarted
    assert_false(weir_timer_fired(&timer));
    assert_true(weir_timers_next_ns(timers) == WEIR_NEVER);

    weir_timer_start(&bench.context, &timer, 10 * TICK_NS + 1);
    assert_false(weir_timer_fired(&timer));
    assert_true(weir_timers_next_ns(timers) == 11 * TICK_NS);
    assert_int_equal(weir_timers_advance(timers, bench.worker, 11 * TICK_NS - 1), 0);
    assert_int_equal(weir_timers_advance(timers, bench.worker, 11 * TICK_NS), 1);
    assert_true(weir_timer_fired(&timer));
    assert_true(weir_timers_next_ns(timers) == WEIR_NEVER);

    weir_timer_start(&bench.context, &timer, 20 * TICK_NS); // again, from fired
    assert_false(weir_timer_fired(&timer));
    weir_timer_stop(&timer);
    weir_timer_stop(&timer);
    assert_true(weir_timers_next_ns(timers) == WEIR_NEVER);
    assert_int_equal(weir_timers_advance(timers, bench.worker, UINT64_MAX / 2), 0);
    assert_false(weir_timer_fired(&timer));

    weir_timer_start(&bench.context, &timer, WEIR_NEVER);
    assert_true(weir_timers_next_ns(timers) == WEIR_NEVER);
    assert_int_equal(weir_timers_advance(timers, bench.worker, UINT64_MAX / 2), 0);
    assert_false(weir_timer_fired(&timer));
    weir_timer_stop(&timer);

    bench.context.now_ns = 30 * TICK_NS;
    weir_timer_start(&bench.context, &timer, 0); // long past
    assert_true(weir_timers_next_ns(timers) <= bench.context.now_ns);
    assert_int_equal(weir_timers_advance(timers, bench.worker, UINT64_MAX / 2), 1);
    weir_timer_stop(&timer); // fired
    assert_false(weir_timer_fired(&timer));
    bench_close(&bench);

    bench_open(&bench, 1000);
    timers = &bench.worker->timers;
    struct weir_timer other = {0}; // an earlier one after a later one
    weir_timer_start(&bench.context, &timer, 90 * TICK_NS);
    weir_timer_start(&bench.context, &other, 50 * TICK_NS);
    assert_int_equal(weir_timers_advance(timers, bench.worker, 50 * TICK_NS), 1);
    assert_true(weir_timer_fired(&other) && !weir_timer_fired(&timer));
    assert_int_equal(weir_timers_advance(timers, bench.worker, 90 * TICK_NS), 1);
    bench_close(&bench);
}

// More are due than one advance takes: each call is bounded, next_ns stays in the past, all fire.
static void test_timer_advance_is_bounded(void **state)
{
    (void)state;
    enum { COUNT = 10000 };
    struct bench bench;
    bench_open(&bench, 0);
    struct weir_timers *timers = &bench.worker->timers;
    struct weir_timer *many = calloc(COUNT, sizeof *many);
    assert_non_null(many);
    for (int i = 0; i < COUNT; i++) {
        weir_timer_start(&bench.context, &many[i], 300 * TICK_NS);
    }
    uint32_t fired = 0;
    int calls = 0;
    while (weir_timers_next_ns(timers) <= 300 * TICK_NS) {
        uint32_t now = weir_timers_advance(timers, bench.worker, 300 * TICK_NS);
        assert_true(now < COUNT / 2);
        fired += now;
        assert_true(++calls < COUNT);
    }
    assert_int_equal(fired, COUNT);
    assert_true(calls > 1);
    free(many);
    bench_close(&bench);
}

// ---- Stopped by another thread while the owner fires ----

enum { RACE_TIMERS = 64, RACE_STARTS = 30000 };

struct race {
    struct bench bench;
    // Filled by the owner, emptied by the stopper: the owner inserts into the free places.
    _Atomic(struct weir_timer *) handed[RACE_TIMERS];
    _Atomic uint32_t done;
    uint64_t fired, stopped;
};

// As a task that was stolen does: looks whether its timer fired, stops it, and reuses the memory.
static void *race_stopper(void *argument)
{
    struct race *race = argument;
    uint64_t random = 88172645463325252ULL;
    for (;;) {
        bool done = atomic_load(&race->done) != 0;
        bool any = false;
        for (int i = 0; i < RACE_TIMERS; i++) {
            struct weir_timer *timer = atomic_load_explicit(&race->handed[i], memory_order_acquire);
            if (timer == NULL) {
                continue;
            }
            any = true;
            bool fired = weir_timer_fired(timer);
            if (!fired && random_below(&random, 3) != 0 && !done) {
                continue;
            }
            if (!fired || random_below(&random, 2) == 0) {
                weir_timer_stop(timer);
            }
            race->fired += fired;
            race->stopped += !fired;
            memset(timer, 0xEE, sizeof *timer);
            free(timer);
            atomic_store_explicit(&race->handed[i], NULL, memory_order_release);
        }
        if (done && !any) {
            return NULL;
        }
    }
}

static void test_timer_stop_from_another_thread(void **state)
{
    (void)state;
    uint64_t random = seed_of_run();
    struct race *race = calloc(1, sizeof *race);
    assert_non_null(race);
    bench_open(&race->bench, 1);
    struct weir_timers *timers = &race->bench.worker->timers;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, race_stopper, race), 0);
    uint64_t now_ns = 1, started = 0, fired = 0;
    while (started < RACE_STARTS) {
        sched_yield();
        for (int i = 0; i < RACE_TIMERS; i++) {
            if (atomic_load_explicit(&race->handed[i], memory_order_acquire) != NULL) {
                continue;
            }
            struct weir_timer *timer = calloc(1, sizeof *timer);
            assert_non_null(timer);
            race->bench.context.now_ns = now_ns;
            weir_timer_start(&race->bench.context, timer,
                             now_ns + random_below(&random, 200 * TICK_NS));
            started++;
            atomic_store_explicit(&race->handed[i], timer, memory_order_release);
        }
        now_ns += random_below(&random, 4 * TICK_NS);
        fired += weir_timers_advance(timers, race->bench.worker, now_ns);
        (void)weir_timers_next_ns(timers);
    }
    atomic_store(&race->done, 1);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(weir_timers_next_ns(timers) == WEIR_NEVER);
    assert_int_equal(weir_timers_advance(timers, race->bench.worker, UINT64_MAX), 0);
    assert_int_equal(race->fired + race->stopped, started);
    assert_true(race->fired <= fired); // one may fire between the look and the stop
    assert_true(race->fired > 0 && race->stopped > 0);
    bench_close(&race->bench);
    free(race);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wheel_against_model),
        cmocka_unit_test(test_wheel_lone_timer_wakes_once),
        cmocka_unit_test(test_wheel_follow_next),
        cmocka_unit_test(test_wheel_equal_deadlines_keep_order),
        cmocka_unit_test(test_wheel_next_of_a_slot),
        cmocka_unit_test(test_wheel_remove_everywhere),
        cmocka_unit_test(test_timer_life),
        cmocka_unit_test(test_timer_advance_is_bounded),
        cmocka_unit_test(test_timer_stop_from_another_thread),
    };
    return cmocka_run_group_tests_name("timer", tests, NULL, NULL);
}
