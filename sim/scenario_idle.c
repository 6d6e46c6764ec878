// Scenarios of idle workers: work that is queued while one sleeps, or is about to, must reach it.
//
// Tasks here hold their worker up inside a poll, as no real future may, until as many of them run
// as there are workers; nothing has a deadline. So whenever a wake-up is lost, or the poller is
// left alone, nothing can run, and that is found exactly. Several rounds follow one another, so
// that workers fall asleep while the next round is being queued.
#include "runtime/runtime.h"
#include "sim/scenario_support.h"
#include "sim/scenarios.h"

// ---- Meeting: a barrier of threads ----

struct meeting {
    struct weir_sim *sim;
    const struct weir_os *os;
    _Atomic uint32_t arrived; // counts on over all rounds
};

static void meeting_watch(struct meeting *meeting, uint32_t expected)
{
    uint32_t seen = atomic_load_explicit(&meeting->arrived, memory_order_relaxed);
    while (seen < expected) {
        (void)meeting->os->futex_wait(meeting->os->self, &meeting->arrived, seen, WEIR_NEVER);
        seen = atomic_load_explicit(&meeting->arrived, memory_order_relaxed);
    }
}

static void meeting_join(struct meeting *meeting, uint32_t expected)
{
    (void)atomic_fetch_add_explicit(&meeting->arrived, 1, memory_order_relaxed);
    meeting->os->futex_wake(meeting->os->self, &meeting->arrived, UINT32_MAX);
    meeting_watch(meeting, expected);
}

struct guest {
    struct weir_future future;
    struct meeting *meeting;
    uint32_t expected;
};

static enum weir_poll guest_poll(struct weir_future *future, struct weir_context *context)
{
    struct guest *me = (struct guest *)future;
    (void)context;
    meeting_join(me->meeting, me->expected);
    me->future.result = 1;
    me->future.resume = WEIR_RESUME_DONE;
    return WEIR_READY;
}

// ---- The protocol alone: workers without a loop, one of which never takes what it queues ----

#define PROTOCOL_WORKERS_MAX 5
#define PROTOCOL_TASKS_MAX 6

struct protocol {
    struct weir_sim *sim;
    struct weir_runtime *runtime;
    struct weir_block *block; // of the tasks: says whose they are
    struct meeting *meeting;  // each task holds its worker up for it; NULL: none does
    _Atomic uint32_t taken;
    uint32_t expected;
};

struct protocol_worker {
    struct protocol *protocol;
    struct weir_worker *worker;
};

static struct weir_task *protocol_task(struct protocol *protocol, uint32_t number)
{
    unsigned char *first = (unsigned char *)protocol->block + WEIR_CELL_BYTES_MIN;
    return (struct weir_task *)(first + number * WEIR_CELL_BYTES_MIN);
}

static void protocol_stop(struct weir_runtime *runtime)
{
    atomic_store_explicit(&runtime->stopping, 1, memory_order_seq_cst);
    weir_idle_wake_all(runtime);
}

// weir_worker_main, with tasks that are counted instead of polled.
static void protocol_worker_main(void *argument)
{
    struct protocol_worker *me = argument;
    struct protocol *protocol = me->protocol;
    struct weir_runtime *runtime = protocol->runtime;
    while (!weir_runtime_stopping(runtime)) {
        struct weir_task *task = weir_worker_take(me->worker);
        if (task == NULL) {
            task = weir_worker_steal(me->worker);
        }
        if (task != NULL) {
            weir_sim_check(protocol->sim, task->result++ == 0, "task-taken-twice");
            weir_idle_found(me->worker);
            weir_worker_share(me->worker);
            uint32_t before = atomic_fetch_add_explicit(&protocol->taken, 1, memory_order_relaxed);
            if (before + 1 == protocol->expected) {
                protocol_stop(runtime);
            }
            if (protocol->meeting != NULL) {
                meeting_join(protocol->meeting, protocol->expected);
            }
        } else if (weir_idle_enter(me->worker)) {
            if (weir_park_begin(&me->worker->parker, WEIR_PARK_FUTEX)) {
                weir_park_futex(&me->worker->parker, &runtime->os, WEIR_NEVER);
            }
            weir_idle_leave(me->worker);
        }
    }
}

static struct weir_runtime *protocol_runtime(struct weir_sim *sim, uint32_t workers)
{
    const struct weir_os *os = weir_sim_os(sim);
    size_t bytes = sizeof(struct weir_runtime) + workers * sizeof(struct weir_worker);
    struct weir_runtime *runtime = os->alloc(os->self, bytes, _Alignof(struct weir_runtime));
    runtime->os = *os;
    runtime->bytes = bytes;
    runtime->workers_count = workers;
    for (uint32_t i = 0; i < workers; i++) {
        weir_worker_init(&runtime->workers[i], runtime, i);
    }
    return runtime;
}

// Worker 0 queues, in its ring, its mailbox or another's, and is then as if in a long poll.
static void protocol_queue(struct protocol *protocol)
{
    struct weir_sim *sim = protocol->sim;
    struct weir_runtime *runtime = protocol->runtime;
    struct weir_worker *worker = &runtime->workers[0];
    for (uint32_t i = 0; i < protocol->expected; i++) {
        struct weir_task *task = protocol_task(protocol, i);
        switch (protocol->meeting != NULL ? 0 : weir_sim_draw(sim, "where", 0, 2)) {
        case 0: weir_worker_submit_back(worker, task); break;
        case 1: weir_worker_submit_remote(task); break;
        default:
            atomic_store_explicit(&task->worker, 1, memory_order_relaxed);
            weir_worker_submit_remote(task);
            break;
        }
        weir_worker_share(worker);
    }
}

static void protocol_play(struct weir_sim *sim, uint32_t workers, uint32_t tasks,
                          struct meeting *meeting)
{
    const struct weir_os *os = weir_sim_os(sim);
    struct protocol protocol = {.sim = sim,
                                .runtime = protocol_runtime(sim, workers),
                                .meeting = meeting,
                                .expected = tasks};
    protocol.block = os->alloc(os->self, WEIR_BLOCK_BYTES, WEIR_BLOCK_BYTES);
    protocol.block->runtime = protocol.runtime;
    struct protocol_worker arguments[PROTOCOL_WORKERS_MAX];
    uint32_t actors[PROTOCOL_WORKERS_MAX];
    for (uint32_t i = 1; i < workers; i++) {
        arguments[i] = (struct protocol_worker){&protocol, &protocol.runtime->workers[i]};
        actors[i] = weir_sim_start(sim, protocol_worker_main, &arguments[i]);
    }
    protocol_queue(&protocol);
    for (uint32_t i = 1; i < workers; i++) {
        weir_sim_join(sim, actors[i]);
    }
    os->release(os->self, protocol.block, WEIR_BLOCK_BYTES);
    os->release(os->self, protocol.runtime, protocol.runtime->bytes);
}

static void idle_protocol(struct weir_sim *sim)
{
    uint32_t workers = weir_sim_draw(sim, "workers", 2, 4);
    protocol_play(sim, workers, weir_sim_draw(sim, "tasks", 1, PROTOCOL_TASKS_MAX), NULL);
}

// One task for each of the others: who steals more than one must be stolen from.
static void idle_thief(struct weir_sim *sim)
{
    struct meeting meeting = {.sim = sim, .os = weir_sim_os(sim)};
    uint32_t workers = weir_sim_draw(sim, "workers", 4, 5);
    protocol_play(sim, workers, workers - 1, &meeting);
}

// ---- Queued from inside: a host task that is one of the guests ----

struct host {
    struct weir_future future;
    struct meeting *meeting;
    uint32_t guests, rounds, round;
    struct weir_yield yield;
};

static enum weir_poll host_poll(struct weir_future *future, struct weir_context *context)
{
    struct host *me = (struct host *)future;
    weir_begin(me);
    for (me->round = 1; me->round <= me->rounds; me->round++) {
        for (uint32_t i = 1; i < me->guests; i++) {
            struct guest guest = {.future = {.poll = guest_poll},
                                  .meeting = me->meeting,
                                  .expected = me->round * me->guests};
            weir_sim_check(
                me->meeting->sim,
                weir_spawn(context, &guest.future, sizeof guest, WEIR_SPAWN_STEALABLE, NULL) == 0,
                "spawn-refused");
        }
        weir_yield_init(&me->yield); // what a poll queued is told to others when it returns
        weir_await(me, context, &me->yield);
        meeting_join(me->meeting, me->round * me->guests);
    }
    weir_return(me, 1);
    weir_exit(me);
    weir_end(me);
}

static void idle_inside(struct weir_sim *sim)
{
    uint32_t workers = weir_sim_draw(sim, "workers", 2, 4);
    struct weir_runtime *runtime = scenario_runtime(sim, workers);
    struct meeting meeting = {.sim = sim, .os = weir_sim_os(sim)};
    struct host host = {.future = {.poll = host_poll},
                        .meeting = &meeting,
                        .guests = workers,
                        .rounds = weir_sim_draw(sim, "rounds", 1, 4)};
    struct weir_handle handle;
    scenario_spawn(sim, runtime, &host, &handle);
    weir_sim_check(sim, scenario_join(runtime, handle) == 1, "join-result");
    weir_runtime_destroy(runtime);
}

// ---- Queued from outside, by one thread or by one for each ----

struct usher {
    struct meeting *meeting;
    struct weir_runtime *runtime;
    uint32_t guests, expected;
};

static void usher_main(void *argument)
{
    struct usher *usher = argument;
    for (uint32_t i = 0; i < usher->guests; i++) {
        struct guest guest = {
            .future = {.poll = guest_poll}, .meeting = usher->meeting, .expected = usher->expected};
        scenario_spawn(usher->meeting->sim, usher->runtime, &guest, NULL);
    }
}

static void idle_outside(struct weir_sim *sim)
{
    uint32_t workers = weir_sim_draw(sim, "workers", 2, 4);
    struct weir_runtime *runtime = scenario_runtime(sim, workers);
    struct meeting meeting = {.sim = sim, .os = weir_sim_os(sim)};
    uint32_t rounds = weir_sim_draw(sim, "rounds", 1, 4);
    for (uint32_t round = 1; round <= rounds; round++) {
        // The thread that waits here is one of those who meet.
        struct usher usher = {&meeting, runtime, workers, round * (workers + 1)};
        uint32_t others = weir_sim_draw(sim, "other_threads", 0, 1);
        uint32_t actor = 0;
        if (others == 1) {
            usher.guests = workers / 2;
            actor = weir_sim_start(sim, usher_main, &usher);
        }
        struct usher own = usher;
        own.guests = others == 1 ? workers - workers / 2 : workers;
        usher_main(&own);
        meeting_join(&meeting, round * (workers + 1));
        if (others == 1) {
            weir_sim_join(sim, actor);
        }
    }
    weir_runtime_destroy(runtime);
}

// ---- Ping-pong: tasks that wake each other, perhaps pinned to workers of their own ----

struct player {
    struct weir_future future;
    struct weir_sim *sim;
    struct weir_notify *own, *other;
    uint32_t *ball; // plain: whoever was notified has it
    uint32_t rounds, round;
    bool serves;
    struct weir_notified wait;
};

static enum weir_poll player_poll(struct weir_future *future, struct weir_context *context)
{
    struct player *me = (struct player *)future;
    weir_begin(me);
    for (me->round = 0; me->round < me->rounds; me->round++) {
        if (!me->serves || me->round > 0) {
            weir_notified_init(&me->wait, me->own);
            weir_await(me, context, &me->wait);
        }
        *me->ball += 1;
        weir_notify_one(me->other, context);
    }
    weir_return(me, 1);
    weir_exit(me);
    weir_drop(&me->wait.future, context);
    weir_end(me);
}

static void idle_ping_pong(struct weir_sim *sim)
{
    uint32_t workers = weir_sim_draw(sim, "workers", 1, 3);
    struct weir_runtime *runtime = scenario_runtime(sim, workers);
    uint32_t rounds = weir_sim_draw(sim, "rounds", 1, 6);
    uint32_t ball = 0;
    struct weir_notify notify[2];
    struct weir_handle handles[2];
    weir_notify_init(&notify[0], runtime);
    weir_notify_init(&notify[1], runtime);
    for (uint32_t i = 0; i < 2; i++) {
        struct player player = {.future = {.poll = player_poll},
                                .sim = sim,
                                .own = &notify[i],
                                .other = &notify[1 - i],
                                .ball = &ball,
                                .rounds = rounds,
                                .serves = i == 0};
        unsigned flags =
            weir_sim_draw(sim, "pinned", 0, 2) == 0 ? WEIR_SPAWN_STEALABLE : WEIR_SPAWN_PINNED;
        weir_sim_check(
            sim,
            weir_runtime_spawn(runtime, &player.future, sizeof player, flags, &handles[i]) == 0,
            "spawn-refused");
    }
    for (uint32_t i = 0; i < 2; i++) {
        weir_sim_check(sim, scenario_join(runtime, handles[i]) == 1, "join-result");
    }
    weir_sim_check(sim, ball == 2 * rounds, "ball-lost");
    weir_runtime_destroy(runtime);
}

// ---- The poller: a task holds its worker up until another has read from a socket ----

struct reader {
    struct weir_future future;
    struct meeting *meeting;
    uint32_t bytes_count, expected;
    unsigned char byte;
    struct weir_stream stream;
    struct weir_read read;
};

static enum weir_poll reader_poll(struct weir_future *future, struct weir_context *context)
{
    struct reader *me = (struct reader *)future;
    weir_begin(me);
    for (; me->bytes_count > 0; me->bytes_count--) {
        weir_read_init(&me->read, &me->stream, &me->byte, 1);
        weir_await(me, context, &me->read);
        weir_sim_check(me->meeting->sim, me->read.future.result == 1, "read-result");
        meeting_join(me->meeting, me->expected); // the last of the round: waits for nobody
        me->expected += 2;
    }
    weir_return(me, 1);
    weir_exit(me);
    weir_drop(&me->read.future, context);
    weir_stream_close(&me->stream);
    weir_end(me);
}

static void idle_poller(struct weir_sim *sim)
{
    uint32_t workers = weir_sim_draw(sim, "workers", 2, 3);
    struct weir_runtime *runtime = scenario_runtime(sim, workers);
    struct meeting meeting = {.sim = sim, .os = weir_sim_os(sim)};
    const struct weir_os *os = meeting.os;
    uint32_t rounds = weir_sim_draw(sim, "rounds", 1, 3);
    int ends[2];
    scenario_pair(sim, ends); // nobody watches ends[0]
    struct reader reader = {
        .future = {.poll = reader_poll}, .meeting = &meeting, .bytes_count = rounds, .expected = 2};
    weir_sim_check(sim, weir_stream_open(&reader.stream, runtime, ends[1]) == 0, "stream-open");
    struct weir_handle handle;
    scenario_spawn(sim, runtime, &reader, &handle);
    for (uint32_t round = 1; round <= rounds; round++) {
        // The guest waits in its poll for the reader, who is woken by readiness alone.
        struct guest guest = {
            .future = {.poll = guest_poll}, .meeting = &meeting, .expected = 2 * round};
        scenario_spawn(sim, runtime, &guest, NULL);
        meeting_watch(&meeting, 2 * round - 1);
        struct weir_iovec part = {"x", 1};
        weir_sim_check(sim, os->socket_send(os->self, ends[0], &part, 1) == 1, "send");
        meeting_watch(&meeting, 2 * round); // a join would wake a worker, who would look
    }
    weir_sim_check(sim, scenario_join(runtime, handle) == 1, "join-result");
    (void)os->socket_close(os->self, ends[0]);
    weir_runtime_destroy(runtime);
}

// ---- A host that drives a runtime without threads, and sleeps on its descriptor ----

#define CALLERS_MAX 3

struct caller {
    struct meeting meeting; // counts what was heard
    struct weir_notify notify;
    uint32_t calls;
};

struct listener {
    struct weir_future future;
    _Atomic uint32_t *heard;
    struct weir_notify *notify;
    struct weir_notified wait;
};

static enum weir_poll listener_poll(struct weir_future *future, struct weir_context *context)
{
    struct listener *me = (struct listener *)future;
    weir_begin(me);
    for (;;) {
        weir_notified_init(&me->wait, me->notify);
        weir_await(me, context, &me->wait);
        atomic_fetch_add_explicit(me->heard, 1, memory_order_relaxed);
    }
    weir_exit(me);
    weir_drop(&me->wait.future, context);
    weir_end(me);
}

// A call that is heard before the next one is made: none may be lost.
static void caller_main(void *argument)
{
    struct caller *me = argument;
    for (uint32_t i = 1; i <= me->calls; i++) {
        weir_notify_one(&me->notify, NULL);
        meeting_watch(&me->meeting, i);
    }
}

static bool callers_heard(struct caller *callers, uint32_t count)
{
    bool all = true;
    for (uint32_t i = 0; i < count; i++) {
        struct meeting *meeting = &callers[i].meeting;
        meeting->os->futex_wake(meeting->os->self, &meeting->arrived, UINT32_MAX);
        all = all &&
              atomic_load_explicit(&meeting->arrived, memory_order_relaxed) == callers[i].calls;
    }
    return all;
}

static void idle_host(struct weir_sim *sim)
{
    struct weir_runtime *runtime = scenario_runtime(sim, 0);
    struct caller callers[CALLERS_MAX];
    uint32_t actors[CALLERS_MAX];
    uint32_t count = weir_sim_draw(sim, "callers", 1, CALLERS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        callers[i] = (struct caller){.meeting = {.sim = sim, .os = weir_sim_os(sim)},
                                     .calls = weir_sim_draw(sim, "calls", 1, 4)};
        weir_notify_init(&callers[i].notify, runtime);
        struct listener listener = {.future = {.poll = listener_poll},
                                    .heard = &callers[i].meeting.arrived,
                                    .notify = &callers[i].notify};
        scenario_spawn(sim, runtime, &listener, NULL);
        actors[i] = weir_sim_start(sim, caller_main, &callers[i]);
    }
    uint32_t polls_max = weir_sim_draw(sim, "polls_max", 1, 4);
    bool waits_inside = weir_sim_draw(sim, "waits_inside", 0, 1) == 1;
    while (!callers_heard(callers, count)) {
        if (!waits_inside) {
            (void)weir_sim_wait(sim, weir_backend_fd(runtime), WEIR_READABLE, WEIR_NEVER);
        }
        (void)weir_turn(runtime, polls_max, waits_inside ? WEIR_NEVER : 0);
    }
    for (uint32_t i = 0; i < count; i++) {
        weir_sim_join(sim, actors[i]);
    }
    weir_runtime_destroy(runtime);
}

const struct weir_sim_scenario sim_scenarios_idle[] = {
    {.name = "idle-protocol",
     .about = "sleeping and waking alone: what a worker queues and never takes reaches the others",
     .run = idle_protocol,
     .kinds = SCENARIO_MEMORY_KINDS,
     .fine_only = true,
     .weight = 20},
    {.name = "idle-thief",
     .about = "the same, and each task holds who takes it up: thieves are stolen from",
     .run = idle_thief,
     .kinds = SCENARIO_MEMORY_KINDS,
     .fine_only = true,
     .weight = 100},
    {.name = "idle-inside",
     .about = "as many tasks as workers, queued by one of them, each holding its worker up",
     .run = idle_inside,
     .kinds = SCENARIO_RUNTIME_KINDS,
     .weight = 10},
    {.name = "idle-outside",
     .about = "the same, queued by one or two other threads",
     .run = idle_outside,
     .kinds = SCENARIO_RUNTIME_KINDS,
     .weight = 20},
    {.name = "idle-ping-pong",
     .about = "two tasks, perhaps pinned, wake each other in turns",
     .run = idle_ping_pong,
     .kinds = SCENARIO_RUNTIME_KINDS},
    {.name = "idle-poller",
     .about = "a worker is held up until another has noticed that a socket is readable",
     .run = idle_poller,
     .kinds = SCENARIO_RUNTIME_KINDS & ~(1u << WEIR_SIM_INTERRUPT)},
    {.name = "idle-host",
     .about = "a host without worker threads sleeps on the runtime's descriptor; others call",
     .run = idle_host,
     .kinds = SCENARIO_RUNTIME_KINDS,
     .weight = 10},
    {0},
};
