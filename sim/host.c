// A host with a pool: playing a plan.
#include "sim/host.h"

#include <string.h>

#include "sim/producer.h"
#include "sim/sim.h"
#include "sim/wire.h"

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)
// What a flush or close may need beyond its time in a run without leaps of the clock: ticks of the
// writer, and the calls themselves.
#define SLACK_NS (100 * MS)
// The runtime's own memory for what the pool does: task cells, sockets watched.
#define RUNTIME_BYTES_MAX (512u << 10)
// How long after the end of the trouble the host may be late to say so.
#define OVERTIME_NS (60 * SECOND)
// In this time a writer writes a gap record, and counts what was abandoned as dropped.
#define GAP_REST_NS (200 * MS)
#define FLUSHERS 2
#define LOOKUP_SECONDS_MAX 300
// The longest that a look-up under way may take when the healing comes; one thread makes them all.
#define NAME_SILENCE_MS UINT64_C(70000)
#define MESSAGES_AFTER 2 // logged by the host's own producer after the end

struct host {
    struct weir_sim *sim;
    const struct sim_host_plan *plan;
    struct sim_auditor *auditor;
    struct sim_collector *collectors[SIM_HOST_COLLECTORS_MAX];
    uint32_t trouble_actors[SIM_HOST_COLLECTORS_MAX];
    struct weir_os os;
    struct weir_runtime *runtime;
    struct weir_pool *pool;
    struct sim_producer producers[SIM_HOST_PRODUCERS_MAX];
    uint32_t producer_actors[SIM_HOST_PRODUCERS_MAX];
    uint32_t flusher_actors[FLUSHERS];
    uint64_t random;
    bool well;         // faults have ended
    bool healed, over; // the host knows; flushers end
    uint64_t trouble_end_ns;
    uint64_t weak_ns; // from then on a TCP peer's kernel may have confirmed: see host_weaken
    size_t memory_before;
    bool talking; // the threads of the host tell each other what they logged
    struct sim_clock logged;
};

static bool has_trick(const struct host *me, enum sim_trick trick)
{
    return (me->plan->tricks >> trick & 1) != 0;
}

static uint64_t host_now(const struct host *me)
{
    return sim_threads_now(me->sim->threads);
}

static void host_failed(void *context, const char *name, const char *message)
{
    struct host *me = context;
    weir_sim_fail(me->sim, WEIR_SIM_SAFETY, name, "%s", message);
}

static void host_well(struct host *me)
{
    for (uint32_t i = 0; i < me->plan->collectors_count && !me->well; i++) {
        sim_collector_heal(me->collectors[i]);
    }
    weir_sim_heal(me->sim);
    me->well = true;
}

static uint64_t host_connecting(void *context)
{
    struct host *me = context;
    // A strategy may starve the host's first thread, which ends the trouble, while the clock leaps
    // from one attempt to the next.
    if (host_now(me) > me->trouble_end_ns + OVERTIME_NS) {
        host_well(me);
    }
    if (me->pool == NULL || me->plan->options.pool_size > 1) {
        return 0;
    }
    struct weir_metrics metrics;
    weir_pool_metrics(me->pool, &metrics);
    return metrics.confirmed_messages;
}

// Whether the clock never leapt while threads could run, so far or since the healing.
static bool host_steady(const struct host *me)
{
    size_t count;
    const struct weir_sim_deviation *deviations = sim_choices_deviations(me->sim->choices, &count);
    for (size_t i = 0; i < count && !me->healed; i++) {
        if (deviations[i].kind == WEIR_SIM_TIME) {
            return false;
        }
    }
    return true;
}

// A TCP peer that does not end its side within the stall timeout is taken at its kernel's word, and
// so is what has no proof when the time of a close is over: then only this much is promised.
static void host_weaken(struct host *me)
{
    bool tcp = me->plan->collectors[0].kind == SIM_COLLECTOR_TCP;
    if (tcp && host_now(me) >= me->weak_ns) {
        sim_auditor_weaken(me->auditor, SIM_PROMISE_ACKNOWLEDGED);
    }
}

static void host_sample(struct host *me, struct weir_metrics *metrics)
{
    weir_pool_metrics(me->pool, metrics);
    host_weaken(me);
    sim_auditor_sample(me->auditor, metrics);
}

// Lets time pass; drives the runtime where the host does that.
static void host_rest(struct host *me, uint64_t duration_ns)
{
    uint64_t end_ns = host_now(me) + duration_ns;
    if (me->plan->workers > 0) {
        weir_sim_sleep(me->sim, duration_ns);
        return;
    }
    bool backend = has_trick(me, SIM_TRICK_BACKEND);
    for (uint64_t now_ns = host_now(me); now_ns < end_ns; now_ns = host_now(me)) {
        if (backend) {
            int fd = weir_backend_fd(me->runtime);
            (void)weir_sim_wait(me->sim, fd, WEIR_READABLE, end_ns);
        }
        (void)weir_turn(me->runtime, me->plan->turn_polls, backend ? 0 : end_ns - now_ns);
    }
}

static int host_flush(struct host *me, uint64_t timeout_ms)
{
    struct sim_auditor_wait wait = {.timeout_ns = timeout_ms * MS};
    struct weir_metrics metrics;
    bool healed = me->healed;
    sim_auditor_flush_begin(me->auditor, &wait);
    if (me->talking) {
        sim_memory_acquire(me->sim->memory, sim_actor(me->sim), &me->logged);
    } else if (!me->over) { // threads that never met: nothing is before anything
        wait.accepted = 0;
    }
    wait.begin_ns = host_now(me);
    wait.result = weir_pool_flush(me->pool, timeout_ms);
    wait.end_ns = host_now(me);
    wait.steady = healed == me->healed && host_steady(me);
    host_sample(me, &metrics);
    sim_auditor_flush_end(me->auditor, &wait, &metrics);
    if (wait.result == WEIR_ETIMEOUT) {
        weir_sim_sometimes(me->sim, "flush-timed-out");
    }
    return wait.result;
}

static int host_close(struct host *me, uint64_t timeout_ms)
{
    struct sim_auditor_wait wait = {.timeout_ns = timeout_ms * MS};
    struct weir_metrics metrics;
    sim_auditor_close_begin(me->auditor, &wait);
    wait.begin_ns = host_now(me);
    uint64_t end_ns = wait.begin_ns + wait.timeout_ns;
    me->weak_ns = end_ns < me->weak_ns ? end_ns : me->weak_ns;
    wait.result = weir_pool_close(me->pool, timeout_ms);
    wait.end_ns = host_now(me);
    wait.steady = host_steady(me);
    host_sample(me, &metrics);
    sim_auditor_close_end(me->auditor, &wait, &metrics);
    if (wait.result == WEIR_ETIMEOUT) {
        weir_sim_sometimes(me->sim, "close-deadline-hit");
    } else if (wait.result == WEIR_EUNPROVEN) {
        weir_sim_sometimes(me->sim, "close-unproven");
    }
    return wait.result;
}

static void flusher_main(void *argument)
{
    struct host *me = argument;
    while (!me->over) {
        weir_sim_sleep(me->sim, US * (1 + sim_random_step(&me->random, 5000)));
        if (!me->over) {
            (void)host_flush(me, sim_random_step(&me->random, 50));
        }
    }
}

// ---- Beginning ----

static void host_begin(struct host *me)
{
    const struct sim_host_plan *plan = me->plan;
    const struct weir_pool_options *options = &plan->options;
    bool datagrams = plan->collectors[0].kind >= SIM_COLLECTOR_UNIX_DATAGRAM;
    struct sim_auditor_options audit = {.arena = me->sim->arena,
                                        .fail = host_failed,
                                        .context = me,
                                        .promise = plan->promise,
                                        .framing = options->framing,
                                        .header = options->header,
                                        .full = options->full,
                                        .datagrams = datagrams,
                                        .wired = true,
                                        .gap_records = options->gap_records,
                                        .writers_count = options->pool_size,
                                        .producers_count = plan->producers,
                                        .messages_max = plan->messages + MESSAGES_AFTER,
                                        .record_bytes_max = 2 * options->message_bytes_max,
                                        .slack_ns = SLACK_NS};
    me->auditor = sim_auditor_create(&audit);
    me->weak_ns = host_now(me) + options->stall_timeout_ms * MS;
    weir_sim_check(me->sim, me->auditor != NULL, "auditor-memory");
    struct sim_wire_options wire = {.auditor = me->auditor,
                                    .stall_timeout_ns = options->stall_timeout_ms * MS,
                                    .acknowledged = plan->collectors[0].kind == SIM_COLLECTOR_TCP,
                                    .connecting = host_connecting,
                                    .context = me};
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

static void host_name(struct host *me, bool good)
{
    const struct sim_host_plan *plan = me->plan;
    if (plan->name == NULL) {
        return;
    }
    const struct sim_collector_options *collector = &plan->collectors[0];
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

// A look-up that was under way at the runtime's end comes back by itself: runtime/resolve.h.
static void host_lookups(struct host *me)
{
    uint32_t actor;
    for (uint32_t i = 0; i < LOOKUP_SECONDS_MAX && sim_process_threads(me->sim, 0, &actor) > 0;
         i++) {
        weir_sim_sleep(me->sim, SECOND);
    }
}

// Runtime and pool.  returns  false: refused, as memory or descriptors had run out.
static bool host_open(struct host *me)
{
    struct weir_runtime_options threads = {.workers = me->plan->workers, .os = &me->os};
    int error = weir_runtime_create(&me->runtime, &threads);
    weir_sim_check(me->sim, error == 0 || has_trick(me, SIM_TRICK_FAIL), "runtime-create");
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
    weir_sim_check(me->sim, error == 0 || has_trick(me, SIM_TRICK_FAIL), "pool-open");
    if (error != 0) {
        weir_sim_sometimes(me->sim, "open-failed");
        weir_runtime_destroy(me->runtime);
        host_lookups(me);
        return false;
    }
    me->pool = pool;
    return true;
}

static void host_start(struct host *me)
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
    for (uint32_t i = 0; i < FLUSHERS && has_trick(me, SIM_TRICK_FLUSH) && plan->workers > 0; i++) {
        me->flusher_actors[i] = weir_sim_start(me->sim, flusher_main, me);
    }
}

// ---- Trouble ----

static bool host_logging(const struct host *me)
{
    for (uint32_t i = 0; i < me->plan->producers; i++) {
        if (!me->producers[i].done) {
            return true;
        }
    }
    return false;
}

// Everything may happen.  returns  whether the pool was closed in it.
static bool host_trouble(struct host *me)
{
    const struct sim_host_plan *plan = me->plan;
    bool closes = has_trick(me, SIM_TRICK_CLOSE);
    uint64_t close_ns = closes ? host_now(me) + sim_random_step(&me->random, 1 << 20) *
                                                    (plan->trouble_ns >> 10) / 1024
                               : UINT64_MAX;
    uint64_t step_ns = plan->trouble_ns / 16 + 1;
    while (host_now(me) < me->trouble_end_ns && (closes || host_logging(me))) {
        struct weir_metrics metrics;
        host_rest(me, 1 + sim_random_step(&me->random, (uint32_t)step_ns));
        host_sample(me, &metrics);
        if (has_trick(me, SIM_TRICK_LATE_NAME)) {
            host_name(me, false);
        }
        if (has_trick(me, SIM_TRICK_FLUSH) && sim_random_step(&me->random, 4) == 0) {
            (void)host_flush(me, sim_random_step(&me->random, 20));
        }
        if (host_now(me) >= close_ns) {
            (void)host_close(me, plan->close_timeout_ms);
            return true;
        }
    }
    return false;
}

// ---- Health ----

static void host_heal(struct host *me)
{
    host_well(me);
    me->healed = true;
    host_name(me, true);
    for (uint32_t i = 0; i < me->plan->collectors_count; i++) {
        if (me->trouble_actors[i] != 0) {
            weir_sim_join(me->sim, me->trouble_actors[i]);
        }
    }
}

// The longest that delivery may need once all is well: a connection that is to be found dead, the
// wait for the next, and one that was under way, for each of the endpoints.
static uint64_t host_bound_ms(const struct host *me)
{
    const struct weir_pool_options *options = &me->plan->options;
    uint64_t once = (uint64_t)options->stall_timeout_ms + options->retry_interval_max_ms +
                    options->connect_timeout_ms + me->plan->name_delay_ns / MS;
    uint64_t names = me->plan->name == NULL ? 0 : NAME_SILENCE_MS * options->pool_size;
    return 10000 + names + 3 * (me->plan->collectors_count + 1) * once;
}

static void host_join(struct host *me)
{
    for (uint32_t i = 0; i < me->plan->producers; i++) {
        weir_sim_join(me->sim, me->producer_actors[i]);
    }
    me->over = true;
    for (uint32_t i = 0; i < FLUSHERS; i++) {
        if (me->flusher_actors[i] != 0) {
            weir_sim_join(me->sim, me->flusher_actors[i]);
        }
    }
}

static void host_delivered(struct host *me, int error, uint64_t held_max, const char *name)
{
    struct weir_metrics metrics;
    weir_pool_metrics(me->pool, &metrics);
    if (error != 0 || metrics.held_messages > held_max) {
        weir_sim_fail(me->sim, WEIR_SIM_LIVENESS, name,
                      "after %llu ms of health %llu messages are held (%d)",
                      (unsigned long long)host_bound_ms(me),
                      (unsigned long long)metrics.held_messages, error);
    }
}

// Nobody logs any more: everything must arrive, and the books be right.
static void host_deliver(struct host *me)
{
    struct weir_metrics metrics;
    const char *wrong = NULL;
    if (has_trick(me, SIM_TRICK_PATIENCE)) {
        host_rest(me, host_bound_ms(me) * MS);
        host_delivered(me, 0, 0, "not-delivered-unasked");
    }
    for (uint32_t i = 0; i < 2; i++) { // the second time for gap records written after the first
        int error = host_flush(me, host_bound_ms(me));
        host_rest(me, GAP_REST_NS);
        host_delivered(me, error, i == 0 ? me->plan->options.pool_size : 0, "not-delivered");
    }
    for (uint32_t i = 0; i < 20; i++) {
        host_sample(me, &metrics);
        wrong = sim_auditor_books(me->auditor, &metrics);
        if (wrong == NULL && metrics.held_messages == 0) {
            break;
        }
        host_rest(me, 10 * MS);
    }
    if (wrong != NULL || metrics.held_messages != 0) {
        sim_auditor_fail(me->auditor, "books-unbalanced", "%s; held: %llu",
                         wrong == NULL ? "at rest after a flush" : wrong,
                         (unsigned long long)metrics.held_messages);
    }
    sim_auditor_gaps(me->auditor, &metrics);
}

// What a closed pool answers.
static void host_after(struct host *me)
{
    struct sim_producer *producer = &me->producers[0];
    (void)sim_producer_log(producer); // the auditor knows what may be the answer
    weir_sim_check(me->sim, weir_pool_flush(me->pool, 1) == WEIR_ECLOSED, "alive-after-close");
    weir_sim_check(me->sim, weir_pool_close(me->pool, 1) == WEIR_ECLOSED, "alive-after-close");
}

static void host_meet(struct host *me, const struct weir_metrics *metrics,
                      const struct weir_runtime_stats *stats)
{
    struct sim_auditor_counts counts;
    sim_auditor_count(me->auditor, &counts);
    const struct {
        bool met;
        const char *name;
    } probes[] = {
        {metrics->disconnects > 0 && counts.repeated > 0, "read-twice-after-reconnect"},
        {metrics->resent_messages > 0, "resent"},
        {counts.cuts > 0, "send-cut-a-frame"},
        {metrics->rejected_messages[WEIR_REJECTED_FULL] > 0, "row-full"},
        {metrics->dropped_messages[WEIR_DROPPED_OLDEST] > 0, "dropped-oldest"},
        {counts.gaps > 0, "gap-record"},
        {metrics->faults[WEIR_FAULT_STALL] > 0, "stall"},
        {metrics->faults[WEIR_FAULT_CONNECT_TIMEOUT] > 0, "connect-timeout"},
        {metrics->faults[WEIR_FAULT_RESOLVE] > 0, "resolve-failed"},
        {metrics->faults[WEIR_FAULT_RESOURCE] > 0, "resource-failed"},
        {metrics->epochs > 0, "epoch-turned"},
        {metrics->wakes > 0, "woken"},
        {stats->stolen > 0, "stolen"},
        {counts.abandoned > 0, "abandoned"},
        {metrics->received_bytes > 0, "peer-talked"},
        {metrics->disconnects > 0, "disconnect"},
    };
    for (size_t i = 0; i < sizeof(probes) / sizeof(probes[0]); i++) {
        if (probes[i].met) {
            weir_sim_sometimes(me->sim, probes[i].name);
        }
    }
}

static void host_memory(struct host *me, const struct weir_metrics *metrics)
{
    const struct weir_pool_options *options = &me->plan->options;
    size_t peak;
    (void)sim_arena_bytes(me->sim->arena, 0, &peak);
    // README, "When the buffer is full": what there is beside the buffer.
    uint64_t segments = options->buffer_bytes_max / options->flush_limit_bytes;
    uint64_t cap =
        options->buffer_bytes_max + options->pool_size * (12u << 10) + 80 * segments + (8u << 10);
    sim_auditor_memory(me->auditor, cap, peak - me->memory_before, RUNTIME_BYTES_MAX, metrics);
}

static void host_end(struct host *me)
{
    struct weir_metrics metrics;
    struct weir_runtime_stats stats;
    host_after(me);
    weir_pool_metrics(me->pool, &metrics);
    weir_runtime_stats(me->runtime, &stats);
    host_memory(me, &metrics);
    weir_pool_destroy(me->pool);
    weir_runtime_destroy(me->runtime);
    host_lookups(me);
    for (uint32_t i = 0; i < me->plan->collectors_count; i++) {
        if (!sim_collector_drain(me->collectors[i], 100 * SECOND)) {
            weir_sim_fail(me->sim, WEIR_SIM_LIVENESS, "not-drained",
                          "a connection that the pool left has not ended at the collector");
        }
    }
    sim_auditor_finish(me->auditor, &metrics);
    host_meet(me, &metrics, &stats);
}

void sim_host_play(struct weir_sim *sim, const struct sim_host_plan *plan)
{
    uint32_t number;
    struct host *me =
        sim_arena_alloc(sim->arena, sizeof(*me), 16, false, SIM_PROCESSES_MAX - 1, &number);
    weir_sim_check(sim, me != NULL && plan->producers <= SIM_HOST_PRODUCERS_MAX, "host-memory");
    me->sim = sim;
    me->plan = plan;
    me->random = plan->seed;
    me->talking = plan->seed % 2 == 0;
    me->trouble_end_ns = host_now(me) + plan->trouble_ns;
    host_begin(me);
    host_name(me, !has_trick(me, SIM_TRICK_LATE_NAME));
    if (host_open(me)) {
        host_start(me);
        bool closed = host_trouble(me);
        host_heal(me);
        host_join(me);
        if (!closed) {
            host_deliver(me);
            (void)host_close(me, host_bound_ms(me));
        }
        host_end(me);
    } else {
        host_heal(me);
    }
    for (uint32_t i = 0; i < plan->collectors_count; i++) {
        sim_collector_close(me->collectors[i]);
    }
}
