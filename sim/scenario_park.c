// Scenarios of parking and of the one-word lock: no lost wake-up, nothing that was not published.
#include "runtime/lock.h"
#include "runtime/park.h"
#include "sim/scenario_support.h"
#include "sim/scenarios.h"

struct berth {
    struct weir_sim *sim;
    const struct weir_os *os;
    struct weir_parker parker;
    struct weir_poller poller;
    _Atomic uint32_t reasons; // relaxed: only the parker orders anything
    uint32_t news[3];         // plain, written before the unpark
    bool in_poller;
};

struct unparker {
    struct berth *berth;
    uint32_t index;
};

static void unparker_main(void *argument)
{
    struct unparker *me = argument;
    struct berth *berth = me->berth;
    berth->news[me->index] = 1;
    atomic_fetch_or_explicit(&berth->reasons, 1u << me->index, memory_order_relaxed);
    (void)weir_unpark(&berth->parker, berth->os, &berth->poller);
}

static void berth_sleep(struct berth *berth)
{
    enum weir_park_state how = berth->in_poller ? WEIR_PARK_POLLER : WEIR_PARK_FUTEX;
    if (!weir_park_begin(&berth->parker, how)) {
        weir_sim_sometimes(berth->sim, "park-token-first");
    } else if (berth->in_poller) {
        struct weir_os_event events[4];
        (void)berth->os->poller_wait(berth->os->self, &berth->poller, events, 4, WEIR_NEVER);
        weir_park_end(&berth->parker);
    } else {
        weir_park_futex(&berth->parker, berth->os, WEIR_NEVER);
    }
}

// No deadline: a lost wake-up leaves nothing that can run.
static void park_run(struct weir_sim *sim, bool in_poller)
{
    struct berth berth = {.sim = sim, .os = weir_sim_os(sim), .in_poller = in_poller};
    weir_sim_check(sim, berth.os->poller_open(berth.os->self, &berth.poller) == 0, "poller-open");
    uint32_t unparkers = weir_sim_draw(sim, "unparkers", 1, 3);
    struct unparker arguments[3];
    uint32_t actors[3];
    for (uint32_t i = 0; i < unparkers; i++) {
        arguments[i] = (struct unparker){&berth, i};
        actors[i] = weir_sim_start(sim, unparker_main, &arguments[i]);
    }
    uint32_t wanted = (1u << unparkers) - 1;
    // What is seen is seen after a sleep: the token is what publishes it.
    uint32_t seen = 0;
    while (seen != wanted) {
        berth_sleep(&berth);
        seen = atomic_load_explicit(&berth.reasons, memory_order_relaxed);
    }
    for (uint32_t i = 0; i < unparkers; i++) {
        weir_sim_join(sim, actors[i]);
        weir_sim_check(sim, berth.news[i] == 1, "unpark-news");
    }
    berth.os->poller_close(berth.os->self, &berth.poller);
}

static void park_futex(struct weir_sim *sim)
{
    park_run(sim, false);
}

static void park_poller(struct weir_sim *sim)
{
    park_run(sim, true);
}

// One unparker, one sleep: what it wrote plainly is visible after it.
static void park_publishes(struct weir_sim *sim)
{
    struct berth berth = {.sim = sim, .os = weir_sim_os(sim)};
    struct unparker argument = {&berth, 0};
    weir_sim_check(sim, berth.os->poller_open(berth.os->self, &berth.poller) == 0, "poller-open");
    uint32_t actor = weir_sim_start(sim, unparker_main, &argument);
    berth_sleep(&berth);
    weir_sim_check(sim, berth.news[0] == 1, "unpark-publishes-nothing");
    weir_sim_join(sim, actor);
    berth.os->poller_close(berth.os->self, &berth.poller);
}

// ---- The lock ----

struct counter {
    const struct weir_os *os;
    _Atomic uint32_t lock;
    uint32_t value; // plain
    uint32_t rounds;
};

static void counter_main(void *argument)
{
    struct counter *counter = argument;
    for (uint32_t i = 0; i < counter->rounds; i++) {
        weir_lock_acquire(&counter->lock, counter->os);
        uint32_t before = counter->value;
        counter->value = before + 1;
        weir_lock_release(&counter->lock, counter->os);
    }
}

static void park_lock(struct weir_sim *sim)
{
    struct counter counter = {.os = weir_sim_os(sim)};
    uint32_t threads = weir_sim_draw(sim, "threads", 2, 4);
    counter.rounds = weir_sim_draw(sim, "rounds", 1, 4);
    uint32_t actors[4];
    for (uint32_t i = 0; i < threads; i++) {
        actors[i] = weir_sim_start(sim, counter_main, &counter);
    }
    for (uint32_t i = 0; i < threads; i++) {
        weir_sim_join(sim, actors[i]);
    }
    weir_sim_check(sim, counter.value == threads * counter.rounds, "lock-lost-an-update");
}

static const char *const token_probes[] = {"park-token-first", NULL};

const struct weir_sim_scenario sim_scenarios_park[] = {
    {.name = "park-futex",
     .about = "a worker sleeps on its word while up to three others wake it",
     .run = park_futex,
     .kinds = SCENARIO_RUNTIME_KINDS,
     .probes = token_probes,
     .probe_seeds = 500},
    {.name = "park-poller",
     .about = "the same, asleep in the poller",
     .run = park_poller,
     .kinds = SCENARIO_RUNTIME_KINDS & ~(1u << WEIR_SIM_READY | 1u << WEIR_SIM_INTERRUPT)},
    {.name = "park-publishes",
     .about = "one unpark: what was written before it is seen after the sleep",
     .run = park_publishes,
     .kinds = SCENARIO_MEMORY_KINDS},
    {.name = "park-lock",
     .about = "threads take the one-word lock in turns",
     .run = park_lock,
     .kinds = SCENARIO_RUNTIME_KINDS},
    {0},
};
