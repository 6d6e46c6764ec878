// Scenarios of idle workers: work that is queued while one sleeps, or is about to, must reach it.
//
// Tasks here hold their worker up inside a poll, as no real future may, until as many of them run
// as there are workers; nothing has a deadline. So whenever a wake-up is lost, or the poller is
// left alone, nothing can run, and that is found exactly. Several rounds follow one another, so
// that workers fall asleep while the next round is being queued.
#include "sim/scenario_meeting.h"
#include "sim/scenarios.h"

// ---- A task that holds its worker up ----

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

const struct weir_sim_scenario sim_scenarios_idle[] = {
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
    {0},
};
