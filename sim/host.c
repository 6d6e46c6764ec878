// A host with a pool: its life, from the plan to the end.
#include "sim/host_state.h"

#include "sim/wire.h"

#define MS UINT64_C(1000000)
// What a flush or close may need beyond its time in a run without leaps of the clock: ticks of the
// writer, and the calls themselves.
#define SLACK_NS (100 * MS)
#define ROUNDS_MIN 4
// How long after the end of the trouble the host may be late to say so.
#define OVERTIME_NS (60000 * MS)

static void host_failed(void *context, const char *name, const char *message)
{
    struct sim_host *me = context;
    weir_sim_fail(me->sim, WEIR_SIM_SAFETY, name, "%s", message);
}

// ---- Beginning ----

static void host_begin(struct sim_host *me)
{
    const struct sim_host_plan *plan = me->plan;
    const struct weir_pool_options *options = &plan->options;
    bool datagrams = plan->collectors[0].kind >= SIM_COLLECTOR_UNIX_DATAGRAM;
    bool relp = plan->collectors[0].kind == SIM_COLLECTOR_RELP;
    uint32_t open_timeout_ms = options->connect_timeout_ms < options->answer_timeout_ms
                                   ? options->connect_timeout_ms
                                   : options->answer_timeout_ms;
    struct sim_auditor_options audit = {.arena = me->sim->arena,
                                        .fail = host_failed,
                                        .context = me,
                                        .promise = plan->promise,
                                        .framing = options->framing,
                                        .header = options->header,
                                        .full = options->full,
                                        .refused = options->refused,
                                        .window_messages = options->window_messages,
                                        .window_bytes = options->window_bytes,
                                        .datagrams = datagrams,
                                        .wired = true,
                                        .gap_records = options->gap_records,
                                        .writers_count = options->pool_size,
                                        .producers_count = plan->producers,
                                        .messages_max = plan->messages + SIM_HOST_MESSAGES_AFTER +
                                                        SIM_HOST_MESSAGES_STEADY,
                                        .record_bytes_max = 2 * options->message_bytes_max,
                                        .slack_ns = SLACK_NS};
    me->auditor = sim_auditor_create(&audit);
    me->weak_ns = sim_host_now(me) + options->stall_timeout_ms * MS;
    weir_sim_check(me->sim, me->auditor != NULL, "auditor-memory");
    struct sim_wire_options wire = {.auditor = me->auditor,
                                    .stall_timeout_ns = options->stall_timeout_ms * MS,
                                    .acknowledged = plan->collectors[0].kind == SIM_COLLECTOR_TCP,
                                    .relp = relp,
                                    .faithful = relp && plan->collectors_count == 1 &&
                                                !sim_host_has(me, SIM_TRICK_FAIL),
                                    .answer_timeout_ns = options->answer_timeout_ms * MS,
                                    .open_timeout_ns = open_timeout_ms * MS,
                                    .places = me->places,
                                    .places_count = plan->collectors_count,
                                    .connecting = sim_host_connecting,
                                    .steady = sim_host_steady,
                                    .overtime = sim_host_well,
                                    .overtime_ns = me->trouble_end_ns + OVERTIME_NS,
                                    .context = me};
    for (uint32_t i = 0; i < plan->collectors_count; i++) {
        const struct sim_collector_options *at = &plan->collectors[i];
        me->places[i] = sim_collector_address(at->kind, at->path, at->host, at->port);
    }
    me->os = sim_wire_open(me->sim, &wire);
    for (uint32_t i = 0; i < plan->collectors_count; i++) {
        struct sim_collector_options collector = plan->collectors[i];
        collector.auditor = me->auditor;
        me->collectors[i] = sim_collector_open(me->sim, &collector);
        me->trouble_actors[i] =
            collector.troubles == 0
                ? 0
                : weir_sim_start(me->sim, sim_collector_trouble, me->collectors[i]);
    }
}

static void host_name(struct sim_host *me, bool good)
{
    const struct sim_host_plan *plan = me->plan;
    if (plan->name == NULL) {
        return;
    }
    uint32_t where = 0;
    if (plan->moves) {
        where = good ? plan->collectors_count - 1
                     : sim_random_step(&me->random, plan->collectors_count);
    }
    const struct sim_collector_options *collector = &plan->collectors[where];
    struct weir_address addresses[2] = {
        sim_collector_address(collector->kind, NULL, "192.0.2.1", collector->port), // nobody
        sim_collector_address(collector->kind, NULL, collector->host, collector->port)};
    uint32_t mix = good ? 2 : sim_random_step(&me->random, 4);
    switch (mix) {
    case 0: weir_sim_name(me->sim, plan->name, NULL, 0, plan->name_delay_ns); break;
    case 1: weir_sim_name(me->sim, plan->name, addresses, 1, plan->name_delay_ns); break;
    case 2: weir_sim_name(me->sim, plan->name, &addresses[1], 1, plan->name_delay_ns); break;
    default: weir_sim_name(me->sim, plan->name, addresses, 2, plan->name_delay_ns); break;
    }
}

// Runtime and pool.  returns  false: refused, as memory or descriptors had run out.
static bool host_open(struct sim_host *me)
{
    struct weir_runtime_options threads = {.workers = me->plan->workers, .os = &me->os};
    int error = weir_runtime_create(&me->runtime, &threads);
    weir_sim_check(me->sim, error == 0 || sim_host_has(me, SIM_TRICK_FAIL), "runtime-create");
    if (error != 0) {
        weir_sim_sometimes(me->sim, "open-failed");
        return false;
    }
    size_t peak;
    me->memory_before = sim_arena_bytes(me->sim->arena, 0, &peak);
    char why[384] = "";
    struct weir_pool *pool = NULL;
    error = weir_pool_open(&pool, me->runtime, &me->plan->options, why, sizeof(why));
    if (error == WEIR_EOPTION) {
        weir_sim_fail(me->sim, WEIR_SIM_INTERNAL, "plan-refused", "%s", why);
    }
    weir_sim_check(me->sim, error == 0 || sim_host_has(me, SIM_TRICK_FAIL), "pool-open");
    if (error != 0) {
        weir_sim_sometimes(me->sim, "open-failed");
        weir_runtime_destroy(me->runtime);
        sim_host_lookups(me);
        return false;
    }
    me->pool = pool;
    return true;
}

static void host_start(struct sim_host *me)
{
    const struct sim_host_plan *plan = me->plan;
    for (uint32_t i = 0; i < plan->producers; i++) {
        struct sim_producer *producer = &me->producers[i];
        *producer = (struct sim_producer){.sim = me->sim,
                                          .auditor = me->auditor,
                                          .pool = me->pool,
                                          .plan = plan,
                                          .number = i,
                                          .random = (uint64_t)plan->seed << 8 | i,
                                          .logged = me->talking ? &me->logged : NULL};
        me->producer_actors[i] = weir_sim_start(me->sim, sim_producer_main, producer);
    }
    for (uint32_t i = 0;
         i < SIM_HOST_FLUSHERS && sim_host_has(me, SIM_TRICK_FLUSH) && plan->workers > 0; i++) {
        me->flusher_actors[i] = weir_sim_start(me->sim, sim_host_flusher, me);
    }
}

// ---- Trouble ----

static bool host_logging(const struct sim_host *me)
{
    for (uint32_t i = 0; i < me->plan->producers; i++) {
        if (!me->producers[i].done) {
            return true;
        }
    }
    return false;
}

// Everything may happen.  returns  whether the pool was closed in it.
static bool host_trouble(struct sim_host *me)
{
    const struct sim_host_plan *plan = me->plan;
    bool closes = sim_host_has(me, SIM_TRICK_CLOSE);
    uint64_t close_ns = closes ? sim_host_now(me) + sim_random_step(&me->random, 1 << 20) *
                                                        (plan->trouble_ns >> 10) / 1024
                               : UINT64_MAX;
    uint64_t step_ns = plan->trouble_ns / 16 + 1;
    // A leap of the clock may reach the end at once: some trouble there is in any case.
    for (uint32_t round = 0; (round < ROUNDS_MIN || sim_host_now(me) < me->trouble_end_ns) &&
                             (closes || plan->lasts || host_logging(me));
         round++) {
        struct weir_metrics metrics;
        sim_host_rest(me, 1 + sim_random_step(&me->random, (uint32_t)step_ns));
        sim_host_sample(me, &metrics);
        if (sim_host_has(me, SIM_TRICK_LATE_NAME)) {
            host_name(me, false);
        }
        if (sim_host_has(me, SIM_TRICK_FLUSH) && sim_random_step(&me->random, 4) == 0) {
            (void)sim_host_flush(me, sim_random_step(&me->random, 20));
        }
        if (sim_host_now(me) >= close_ns) {
            (void)sim_host_close(me, plan->close_timeout_ms);
            return true;
        }
    }
    return false;
}

// ---- Health ----

static void host_heal(struct sim_host *me)
{
    sim_host_well(me);
    me->healed = true;
    host_name(me, true);
    for (uint32_t i = 0; i < me->plan->collectors_count; i++) {
        if (me->trouble_actors[i] != 0) {
            weir_sim_join(me->sim, me->trouble_actors[i]);
        }
        bool gone = me->plan->outage ? i == 0 : i + 1 < me->plan->collectors_count;
        if ((me->plan->outage || me->plan->moves) && gone) {
            sim_collector_leave(me->collectors[i]);
        }
    }
}

static void host_join(struct sim_host *me)
{
    for (uint32_t i = 0; i < me->plan->producers; i++) {
        weir_sim_join(me->sim, me->producer_actors[i]);
    }
    me->over = true;
    me->end_ns = sim_host_now(me);
    for (uint32_t i = 0; i < SIM_HOST_FLUSHERS; i++) {
        if (me->flusher_actors[i] != 0) {
            weir_sim_join(me->sim, me->flusher_actors[i]);
        }
    }
}

void sim_host_play(struct weir_sim *sim, const struct sim_host_plan *plan)
{
    uint32_t number;
    struct sim_host *me =
        sim_arena_alloc(sim->arena, sizeof(*me), 16, false, SIM_PROCESSES_MAX - 1, &number);
    weir_sim_check(sim, me != NULL && plan->producers <= SIM_HOST_PRODUCERS_MAX, "host-memory");
    me->sim = sim;
    me->plan = plan;
    me->random = plan->seed;
    me->talking = plan->seed % 2 == 0;
    me->trouble_end_ns = sim_host_now(me) + plan->trouble_ns;
    host_begin(me);
    host_name(me, !sim_host_has(me, SIM_TRICK_LATE_NAME));
    if (plan->exact) {
        weir_sim_sleep(sim, MS); // the collectors listen by then
    }
    if (host_open(me)) {
        host_start(me);
        bool closed = host_trouble(me);
        host_heal(me);
        host_join(me);
        if (!closed) {
            sim_host_deliver(me);
            (void)sim_host_close(me, sim_host_bound_ms(me));
        }
        sim_host_end(me);
    } else {
        host_heal(me);
    }
    for (uint32_t i = 0; i < plan->collectors_count; i++) {
        sim_collector_close(me->collectors[i]);
    }
}
