// A host with a pool: what must hold once all is well, and at the end.
#include "sim/host_state.h"
#include "sim/wire.h"

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)
// The runtime's own memory for what the pool does: task cells, sockets watched.
#define RUNTIME_BYTES_MAX (512u << 10)
// In this time a writer writes a gap record, and counts what was abandoned as dropped.
#define GAP_REST_NS (200 * MS)
#define LOOKUP_SECONDS_MAX 300
// Where nothing goes wrong: the last flushes, the close, and the rests between them.
#define SOON_NS (2 * SECOND)
// The longest that a look-up under way may take when the healing comes; one thread makes them all.
#define NAME_SILENCE_MS UINT64_C(70000)

// The longest that delivery may need once all is well: a connection that is to be found dead, the
// wait for the next, and one that was under way, for each of the endpoints.
uint64_t sim_host_bound_ms(const struct sim_host *me)
{
    const struct weir_pool_options *options = &me->plan->options;
    uint64_t once = (uint64_t)options->stall_timeout_ms + options->retry_interval_max_ms +
                    options->connect_timeout_ms + me->plan->name_delay_ns / MS;
    once += me->plan->collectors[0].kind == SIM_COLLECTOR_RELP ? options->answer_timeout_ms : 0;
    uint64_t names = me->plan->name == NULL ? 0 : NAME_SILENCE_MS * options->pool_size;
    return 10000 + names + 3 * (me->plan->collectors_count + 1) * once;
}

// Where nothing goes wrong there is no excuse for anything.
static void host_exact(struct sim_host *me, const struct weir_metrics *metrics)
{
    uint64_t closes = 0;
    for (uint32_t i = 0; i < WEIR_FAULTS_COUNT; i++) {
        if (metrics->faults[i] > 0) {
            sim_auditor_fail(me->auditor, "left-without-reason", "fault %u was counted", i);
        }
    }
    for (uint32_t i = 0; i < me->plan->collectors_count; i++) {
        closes += sim_collector_closes(me->collectors[i]);
    }
    weir_sim_check(me->sim, metrics->disconnects == 0, "left-without-reason");
    weir_sim_check(me->sim, metrics->resent_messages == 0, "sent-twice-without-reason");
    uint32_t dials = sim_wire_connects(me->sim);
    weir_sim_check(me->sim, dials == me->plan->options.pool_size, "dialled-again");
    bool relp = me->plan->collectors[0].kind == SIM_COLLECTOR_RELP;
    weir_sim_check(me->sim, !relp || closes == metrics->connects, "left-without-close");
    weir_sim_check(me->sim, sim_host_now(me) - me->end_ns < SOON_NS, "overslept");
}

static void host_delivered(struct sim_host *me, int error, uint64_t held_max, const char *name)
{
    struct weir_metrics metrics;
    weir_pool_stats(me->pool, &metrics);
    if (error != 0 || metrics.held_messages > held_max) {
        weir_sim_fail(me->sim, WEIR_SIM_LIVENESS, name,
                      "after %llu ms of health %llu messages are held (%d)",
                      (unsigned long long)sim_host_bound_ms(me),
                      (unsigned long long)metrics.held_messages, error);
    }
}

// Nobody logs any more: everything must arrive, and the books be right.
void sim_host_deliver(struct sim_host *me)
{
    struct weir_metrics metrics;
    const char *wrong = NULL;
    if (sim_host_has(me, SIM_TRICK_PATIENCE)) {
        sim_host_rest(me, sim_host_bound_ms(me) * MS);
        host_delivered(me, 0, 0, "not-delivered-unasked");
    }
    for (uint32_t i = 0; i < 2; i++) { // the second time for gap records written after the first
        int error = sim_host_flush(me, sim_host_bound_ms(me));
        sim_host_rest(me, GAP_REST_NS);
        host_delivered(me, error, i == 0 ? me->plan->options.pool_size : 0, "not-delivered");
    }
    for (uint32_t i = 0; i < 20; i++) {
        sim_host_sample(me, &metrics);
        wrong = sim_auditor_books(me->auditor, &metrics);
        if (wrong == NULL && metrics.held_messages == 0) {
            break;
        }
        sim_host_rest(me, 10 * MS);
    }
    if (wrong != NULL || metrics.held_messages != 0) {
        sim_auditor_fail(me->auditor, "books-unbalanced", "%s; held: %llu",
                         wrong == NULL ? "at rest after a flush" : wrong,
                         (unsigned long long)metrics.held_messages);
    }
    sim_auditor_gaps(me->auditor, &metrics);
    if (me->plan->outage) {
        sim_host_outage_over(me);
    }
    if (me->plan->routed) {
        sim_host_returned(me);
        sim_host_steady_route(me);
    }
}

// What a closed pool answers.
static void host_after(struct sim_host *me)
{
    struct sim_producer *producer = &me->producers[0];
    (void)sim_producer_log(producer); // the auditor knows what may be the answer
    weir_sim_check(me->sim, weir_pool_flush(me->pool, 1) == WEIR_ECLOSED, "alive-after-close");
    weir_sim_check(me->sim, weir_pool_close(me->pool, 1) == WEIR_ECLOSED, "alive-after-close");
}

static void host_meet(struct sim_host *me, const struct weir_metrics *metrics,
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
        {metrics->faults[WEIR_FAULT_ANSWER_TIMEOUT] > 0, "answer-timeout"},
        {metrics->faults[WEIR_FAULT_REFUSED] > 0, "refused"},
        {metrics->faults[WEIR_FAULT_PROTOCOL] > 0, "protocol-violated"},
        {metrics->dropped_messages[WEIR_DROPPED_REFUSED] > 0, "dropped-refused"},
        {counts.disordered > 0, "answers-out-of-order"},
        {metrics->failovers > 0, "failed-over"},
        {metrics->failbacks > 0, "failed-back"},
    };
    for (size_t i = 0; i < sizeof(probes) / sizeof(probes[0]); i++) {
        if (probes[i].met) {
            weir_sim_sometimes(me->sim, probes[i].name);
        }
    }
}

static void host_memory(struct sim_host *me, const struct weir_metrics *metrics)
{
    const struct weir_pool_options *options = &me->plan->options;
    size_t peak;
    (void)sim_arena_bytes(me->sim->arena, 0, &peak);
    // README, "When the buffer is full": what there is beside the buffer.
    uint64_t segments = options->buffer_bytes_max / options->flush_limit_bytes;
    uint64_t cap =
        options->buffer_bytes_max + options->pool_size * (20u << 10) + 80 * segments + (8u << 10);
    sim_auditor_memory(me->auditor, cap, peak - me->memory_before, RUNTIME_BYTES_MAX, metrics);
}

// A look-up that was under way at the runtime's end comes back by itself: runtime/resolve.h.
void sim_host_lookups(struct sim_host *me)
{
    uint32_t actor;
    for (uint32_t i = 0; i < LOOKUP_SECONDS_MAX && sim_process_threads(me->sim, 0, &actor) > 0;
         i++) {
        weir_sim_sleep(me->sim, SECOND);
    }
}

void sim_host_end(struct sim_host *me)
{
    struct weir_metrics metrics;
    struct weir_runtime_stats stats;
    if (me->plan->exact) {
        weir_pool_stats(me->pool, &metrics);
        host_exact(me, &metrics);
    }
    host_after(me);
    weir_pool_stats(me->pool, &metrics);
    weir_runtime_stats(me->runtime, &stats);
    host_memory(me, &metrics);
    weir_pool_destroy(me->pool);
    weir_runtime_destroy(me->runtime);
    sim_host_lookups(me);
    for (uint32_t i = 0; i < me->plan->collectors_count; i++) {
        if (!sim_collector_drain(me->collectors[i], 100 * SECOND)) {
            weir_sim_fail(me->sim, WEIR_SIM_LIVENESS, "not-drained",
                          "a connection that the pool left has not ended at the collector");
        }
    }
    sim_auditor_finish(me->auditor, &metrics);
    host_meet(me, &metrics, &stats);
}
