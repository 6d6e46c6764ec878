// Scenarios of the synchronisation objects: notify, mutex, channel, oneshot, select, under races.
//
// Nothing here has a deadline, so that a lost wake-up leaves nothing that can run and is found
// exactly. What passes through an object is plain memory, so that one that orders nothing is a data
// race. Each body is a task on a runtime of one to three workers; some are cancelled on the way.
#include "sim/scenario_support.h"
#include "sim/scenarios.h"

#define BODIES_MAX 5

// Starts cancelling one of the tasks from another thread, if the draw says so.
struct canceller {
    struct weir_handle handle;
    uint32_t actor; // 0: none
};

static void canceller_main(void *argument)
{
    struct canceller *canceller = argument;
    weir_task_cancel(canceller->handle);
}

static bool canceller_start(struct weir_sim *sim, struct canceller *canceller,
                            struct weir_handle handle)
{
    *canceller = (struct canceller){.handle = handle};
    if (weir_sim_draw(sim, "cancel", 0, 1) == 1) {
        canceller->actor = weir_sim_start(sim, canceller_main, canceller);
    }
    return canceller->actor != 0;
}

static void canceller_finish(struct weir_sim *sim, struct canceller *canceller)
{
    if (canceller->actor != 0) {
        weir_sim_join(sim, canceller->actor);
    }
}

// ---- A mutex around plain memory, held across an await ----

struct locker {
    struct weir_future future;
    struct weir_mutex *mutex;
    uint32_t *counter; // plain
    uint32_t rounds, round, before;
    bool held;
    struct weir_mutex_lock lock;
    struct weir_yield yield;
};

static enum weir_poll locker_poll(struct weir_future *future, struct weir_context *context)
{
    struct locker *me = (struct locker *)future;
    weir_begin(me);
    for (me->round = 0; me->round < me->rounds; me->round++) {
        weir_mutex_lock_init(&me->lock, me->mutex);
        weir_await(me, context, &me->lock);
        me->held = true;
        me->before = *me->counter;
        weir_yield_init(&me->yield);
        weir_await(me, context, &me->yield);
        *me->counter = me->before + 1;
        me->held = false;
        weir_mutex_unlock(me->mutex, context);
    }
    weir_return(me, (int32_t)me->rounds);
    weir_exit(me);
    weir_drop(&me->lock.future, context);
    if (me->held) {
        weir_mutex_unlock(me->mutex, context);
    }
    weir_end(me);
}

static void sync_mutex(struct weir_sim *sim)
{
    struct weir_runtime *runtime = scenario_runtime(sim, weir_sim_draw(sim, "workers", 1, 3));
    struct weir_mutex mutex;
    weir_mutex_init(&mutex, runtime);
    uint32_t counter = 0;
    uint32_t bodies = weir_sim_draw(sim, "lockers", 2, BODIES_MAX);
    uint32_t rounds = weir_sim_draw(sim, "rounds", 1, 3);
    struct weir_handle handles[BODIES_MAX];
    for (uint32_t i = 0; i < bodies; i++) {
        struct locker locker = {.future = {.poll = locker_poll},
                                .mutex = &mutex,
                                .counter = &counter,
                                .rounds = rounds};
        scenario_spawn(sim, runtime, &locker, &handles[i]);
    }
    struct canceller canceller;
    bool cancels = canceller_start(sim, &canceller, handles[0]);
    uint32_t least = 0;
    for (uint32_t i = 0; i < bodies; i++) {
        int result = scenario_join(runtime, handles[i]);
        bool cancelled = cancels && i == 0 && result == WEIR_ECANCELED;
        weir_sim_check(sim, cancelled || result == (int)rounds, "join-result");
        least += cancelled ? 0 : rounds;
    }
    canceller_finish(sim, &canceller);
    weir_sim_check(sim, counter >= least && counter <= bodies * rounds, "mutex-lost-an-update");
    weir_sim_check(sim, weir_mutex_try_lock(&mutex), "mutex-left-locked");
    weir_runtime_destroy(runtime);
}

// ---- A channel that carries plain structs ----

struct parcel {
    uint32_t sender, number;
};

struct sender {
    struct weir_future future;
    struct weir_channel *channel;
    struct parcel parcel;
    uint32_t parcels;
    struct weir_channel_send send;
};

static enum weir_poll sender_poll(struct weir_future *future, struct weir_context *context)
{
    struct sender *me = (struct sender *)future;
    weir_begin(me);
    for (me->parcel.number = 1; me->parcel.number <= me->parcels; me->parcel.number++) {
        weir_channel_send_init(&me->send, me->channel, &me->parcel);
        weir_await(me, context, &me->send);
        if (me->send.future.result != 0) {
            break; // closed
        }
    }
    weir_return(me, (int32_t)me->parcel.number - 1);
    weir_exit(me);
    weir_drop(&me->send.future, context);
    weir_end(me);
}

struct receiver {
    struct weir_future future;
    struct weir_sim *sim;
    struct weir_channel *channel;
    struct parcel parcel;
    uint32_t last[BODIES_MAX];
    uint32_t received;
    struct weir_channel_recv recv;
};

static enum weir_poll receiver_poll(struct weir_future *future, struct weir_context *context)
{
    struct receiver *me = (struct receiver *)future;
    weir_begin(me);
    for (;;) {
        weir_channel_recv_init(&me->recv, me->channel, &me->parcel);
        weir_await(me, context, &me->recv);
        if (me->recv.future.result != 0) {
            break;
        }
        weir_sim_check(me->sim, me->parcel.number > me->last[me->parcel.sender],
                       "channel-out-of-order");
        me->last[me->parcel.sender] = me->parcel.number;
        me->received++;
    }
    weir_return(me, (int32_t)me->received);
    weir_exit(me);
    weir_drop(&me->recv.future, context);
    weir_end(me);
}

static void sync_channel(struct weir_sim *sim)
{
    struct weir_runtime *runtime = scenario_runtime(sim, weir_sim_draw(sim, "workers", 1, 3));
    struct parcel room[3];
    struct weir_channel channel;
    weir_channel_init(&channel, runtime, room, sizeof room[0], weir_sim_draw(sim, "room", 1, 3));
    uint32_t senders = weir_sim_draw(sim, "senders", 1, 3);
    uint32_t receivers = weir_sim_draw(sim, "receivers", 1, 2);
    uint32_t parcels = weir_sim_draw(sim, "parcels", 1, 4);
    struct weir_handle sending[3], receiving[2];
    for (uint32_t i = 0; i < receivers; i++) {
        struct receiver receiver = {
            .future = {.poll = receiver_poll}, .sim = sim, .channel = &channel};
        scenario_spawn(sim, runtime, &receiver, &receiving[i]);
    }
    for (uint32_t i = 0; i < senders; i++) {
        struct sender sender = {.future = {.poll = sender_poll},
                                .channel = &channel,
                                .parcel = {.sender = i},
                                .parcels = parcels};
        scenario_spawn(sim, runtime, &sender, &sending[i]);
    }
    // A receiver that was promised an item and is cancelled passes the promise on; what it had
    // received is gone with it, so with two receivers only the other's share can be counted.
    struct canceller canceller = {.actor = 0};
    bool cancels = receivers == 2 && canceller_start(sim, &canceller, receiving[0]);
    uint32_t sent = 0, received = 0;
    for (uint32_t i = 0; i < senders; i++) {
        sent += (uint32_t)scenario_join(runtime, sending[i]);
    }
    weir_sim_check(sim, sent == senders * parcels, "channel-refused");
    weir_channel_close(&channel, NULL);
    bool counted = true;
    for (uint32_t i = 0; i < receivers; i++) {
        int result = scenario_join(runtime, receiving[i]);
        counted = counted && result >= 0;
        received += result < 0 ? 0 : (uint32_t)result;
    }
    canceller_finish(sim, &canceller);
    weir_sim_check(sim, received <= sent, "channel-made-one-up");
    weir_sim_check(sim, cancels || counted, "join-result");
    weir_sim_check(sim, !counted || received == sent, "channel-lost-one");
    weir_runtime_destroy(runtime);
}

// ---- Notify: one permit goes around; who is cancelled passes it on ----

struct notified {
    struct weir_future future;
    const uint32_t *news; // plain, written before the first notification
    struct weir_sim *sim;
    struct weir_notify *notify;
    struct weir_notified wait;
};

static enum weir_poll notified_poll(struct weir_future *future, struct weir_context *context)
{
    struct notified *me = (struct notified *)future;
    weir_begin(me);
    weir_await(me, context, &me->wait);
    weir_sim_check(me->sim, *me->news == 9, "notify-before-its-cause");
    weir_notify_one(me->notify, context);
    weir_return(me, 1);
    weir_exit(me);
    weir_drop(&me->wait.future, context);
    weir_end(me);
}

static void sync_notify(struct weir_sim *sim)
{
    struct weir_runtime *runtime = scenario_runtime(sim, weir_sim_draw(sim, "workers", 1, 3));
    struct weir_notify notify;
    weir_notify_init(&notify, runtime);
    uint32_t news = 0;
    uint32_t waiters = weir_sim_draw(sim, "waiters", 1, BODIES_MAX);
    struct weir_handle handles[BODIES_MAX];
    for (uint32_t i = 0; i < waiters; i++) {
        struct notified body = {
            .future = {.poll = notified_poll}, .news = &news, .sim = sim, .notify = &notify};
        weir_notified_init(&body.wait, &notify);
        scenario_spawn(sim, runtime, &body, &handles[i]);
    }
    news = 9;
    struct canceller canceller;
    bool cancels = canceller_start(sim, &canceller, handles[0]);
    weir_notify_one(&notify, NULL);
    for (uint32_t i = 0; i < waiters; i++) {
        int result = scenario_join(runtime, handles[i]);
        bool cancelled = cancels && i == 0 && result == WEIR_ECANCELED;
        weir_sim_check(sim, cancelled || result == 1, "join-result");
        if (i == 0 && cancels) {
            weir_sim_sometimes(sim, cancelled ? "notify-cancelled" : "notify-cancelled-too-late");
        }
    }
    canceller_finish(sim, &canceller);
    weir_runtime_destroy(runtime);
}

// ---- Oneshot: sent, abandoned, dropped ----

struct oneshot_body {
    struct weir_future future;
    const uint32_t *news;
    struct weir_sim *sim;
    struct weir_oneshot_recv recv;
};

static enum weir_poll oneshot_poll(struct weir_future *future, struct weir_context *context)
{
    struct oneshot_body *me = (struct oneshot_body *)future;
    weir_begin(me);
    weir_await(me, context, &me->recv);
    if (me->recv.future.result == 0) {
        weir_sim_check(me->sim, me->recv.value == 5 && *me->news == 9, "oneshot-before-its-cause");
    }
    weir_return(me, me->recv.future.result == 0 ? 1 : 2);
    weir_exit(me);
    weir_drop(&me->recv.future, context);
    weir_end(me);
}

static void sync_oneshot(struct weir_sim *sim)
{
    struct weir_runtime *runtime = scenario_runtime(sim, weir_sim_draw(sim, "workers", 1, 2));
    struct weir_oneshot oneshot;
    weir_oneshot_init(&oneshot);
    uint32_t news = 0;
    struct oneshot_body body = {.future = {.poll = oneshot_poll}, .news = &news, .sim = sim};
    weir_oneshot_recv_init(&body.recv, &oneshot);
    struct weir_handle handle;
    scenario_spawn(sim, runtime, &body, &handle);
    struct canceller canceller;
    bool cancels = canceller_start(sim, &canceller, handle);
    bool abandons = weir_sim_draw(sim, "abandons", 0, 1) == 1;
    int sent = WEIR_ECLOSED;
    if (abandons) {
        weir_oneshot_abandon(&oneshot, NULL);
    } else {
        news = 9;
        sent = weir_oneshot_send(&oneshot, NULL, 5);
        weir_sim_check(sim, sent == 0 || (cancels && sent == WEIR_ECLOSED), "oneshot-send");
    }
    int result = scenario_join(runtime, handle);
    weir_sim_check(sim, result == (abandons ? 2 : 1) || (cancels && result == WEIR_ECANCELED),
                   "join-result");
    weir_sim_check(sim, result != 1 || sent == 0, "oneshot-from-nowhere");
    canceller_finish(sim, &canceller);
    weir_runtime_destroy(runtime);
}

// ---- Select: two oneshots and a notify; losers stay armed, then are dropped ----

struct chooser {
    struct weir_future future;
    struct weir_sim *sim;
    struct weir_oneshot_recv first, second;
    struct weir_notified wait;
    uint32_t rotor, met;
    int winner;
    bool fair;
};

static enum weir_poll chooser_poll(struct weir_future *future, struct weir_context *context)
{
    struct chooser *me = (struct chooser *)future;
    weir_begin(me);
    while (me->met != 3) {
        weir_select(me, context, me->winner, me->fair ? &me->rotor : NULL, &me->first.future,
                    &me->second.future, &me->wait.future);
        if (me->winner == 2) {
            break;
        }
        weir_sim_check(me->sim, me->winner == 0 || me->winner == 1, "select-winner");
        struct weir_oneshot_recv *won = me->winner == 0 ? &me->first : &me->second;
        weir_sim_check(me->sim, won->future.result == 0 && won->value == me->winner + 1,
                       "select-value");
        if ((me->met & (1u << me->winner)) != 0) {
            break; // a branch that is done stays ready: with priority it hides the others
        }
        me->met |= 1u << me->winner;
    }
    weir_return(me, (int32_t)me->met);
    weir_exit(me);
    weir_drop(&me->first.future, context);
    weir_drop(&me->second.future, context);
    weir_drop(&me->wait.future, context);
    weir_end(me);
}

struct shot {
    struct weir_oneshot oneshot;
    int64_t value;
};

static void shot_main(void *argument)
{
    struct shot *shot = argument;
    (void)weir_oneshot_send(&shot->oneshot, NULL, shot->value); // its receiver may have gone
}

static void sync_select(struct weir_sim *sim)
{
    struct weir_runtime *runtime = scenario_runtime(sim, weir_sim_draw(sim, "workers", 1, 2));
    struct shot shots[2];
    uint32_t actors[2];
    struct weir_notify notify;
    weir_notify_init(&notify, runtime);
    struct chooser chooser = {.future = {.poll = chooser_poll}, .sim = sim};
    chooser.fair = weir_sim_draw(sim, "fair", 0, 1) == 1;
    for (int i = 0; i < 2; i++) {
        shots[i].value = i + 1;
        weir_oneshot_init(&shots[i].oneshot);
    }
    weir_oneshot_recv_init(&chooser.first, &shots[0].oneshot);
    weir_oneshot_recv_init(&chooser.second, &shots[1].oneshot);
    weir_notified_init(&chooser.wait, &notify);
    struct weir_handle handle;
    scenario_spawn(sim, runtime, &chooser, &handle);
    for (int i = 0; i < 2; i++) {
        actors[i] = weir_sim_start(sim, shot_main, &shots[i]);
    }
    bool notifies = weir_sim_draw(sim, "notifies", 0, 1) == 1;
    if (notifies) {
        weir_notify_one(&notify, NULL);
    }
    int result = scenario_join(runtime, handle);
    weir_sim_check(sim, result >= 0 && result <= 3 && (notifies || result != 0), "join-result");
    for (int i = 0; i < 2; i++) {
        weir_sim_join(sim, actors[i]);
    }
    weir_runtime_destroy(runtime);
}

static const char *const notify_probes[] = {"notify-cancelled", "notify-cancelled-too-late", NULL};

const struct weir_sim_scenario sim_scenarios_sync[] = {
    {.name = "sync-mutex",
     .about = "tasks take turns on a mutex around plain memory; one may be cancelled",
     .run = sync_mutex,
     .kinds = SCENARIO_RUNTIME_KINDS},
    {.name = "sync-channel",
     .about = "senders, receivers, a small channel, a close; a receiver may be cancelled",
     .run = sync_channel,
     .kinds = SCENARIO_RUNTIME_KINDS,
     .weight = 5},
    {.name = "sync-notify",
     .about = "permits and waiters; one may be cancelled after it was chosen",
     .run = sync_notify,
     .kinds = SCENARIO_RUNTIME_KINDS,
     .probes = notify_probes,
     .probe_seeds = 500},
    {.name = "sync-oneshot",
     .about = "a oneshot is sent or abandoned while its receiver waits or goes",
     .run = sync_oneshot,
     .kinds = SCENARIO_RUNTIME_KINDS},
    {.name = "sync-select",
     .about = "a select over two oneshots and a notify, with priority or fair",
     .run = sync_select,
     .kinds = SCENARIO_RUNTIME_KINDS},
    {0},
};
