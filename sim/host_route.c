// A host with a pool: where its connections go, once all is well.
#include "sim/host_state.h"
#include "sim/wire.h"

#define MS UINT64_C(1000000)
// After returns that came to nothing a preferred endpoint has to be up for so many times
// failback_ms; the wait for the look at it is up to twice failback_ms or the retry interval.
#define RETURN_HOLDS_MAX 32
#define RETURN_WAITS 2
#define LOOKS 100
#define STEADY_ROUNDS SIM_HOST_MESSAGES_STEADY

static uint32_t dials_below(const struct sim_host *me)
{
    uint32_t dials = 0;
    for (uint32_t i = 0; i < me->plan->collectors_count; i++) {
        dials += me->plan->levels[i] > 0 ? sim_wire_dials(me->sim, i) : 0;
    }
    return dials;
}

// Whether each writer has its connection at the first choice: of the preferred level, and spread.
static bool host_home(const struct sim_host *me)
{
    const struct sim_host_plan *plan = me->plan;
    uint32_t first_level = 0, connections = 0;
    while (first_level < plan->collectors_count && plan->levels[first_level] == 0) {
        first_level++;
    }
    for (uint32_t i = 0; i < plan->collectors_count; i++) {
        uint32_t open = sim_wire_open_at(me->sim, i);
        uint32_t share = plan->options.pool_size / first_level;
        uint32_t more = i < plan->options.pool_size % first_level ? 1 : 0;
        if (open != (i < first_level ? share + more : 0)) {
            return false;
        }
        connections += open;
    }
    struct weir_metrics metrics;
    weir_pool_stats(me->pool, &metrics);
    return connections == plan->options.pool_size && metrics.writers_connected == connections &&
           sim_wire_waiting(me->sim) == 0;
}

static uint64_t return_bound_ms(const struct sim_host *me)
{
    const struct weir_pool_options *options = &me->plan->options;
    uint64_t wait_ms = options->failback_ms > options->retry_interval_ms
                           ? options->failback_ms
                           : options->retry_interval_ms;
    uint64_t once_ms = RETURN_WAITS * wait_ms + (uint64_t)RETURN_HOLDS_MAX * options->failback_ms +
                       options->connect_timeout_ms;
    // One at a time: of several that are preferred each may be tried before.
    return sim_host_bound_ms(me) + me->plan->collectors_count * once_ms;
}

void sim_host_outage_over(struct sim_host *me)
{
    struct weir_metrics before, after;
    weir_pool_stats(me->pool, &before);
    sim_collector_return(me->collectors[0]);
    sim_host_rest(me, me->plan->options.failback_ms * MS / 2);
    weir_pool_stats(me->pool, &after);
    // Of more than two some may be on their way to the second for reasons of their own.
    if (me->plan->collectors_count == 2 && after.failbacks != before.failbacks) {
        weir_sim_fail(me->sim, WEIR_SIM_SAFETY, "returned-early",
                      "the preferred endpoint was up for half of failback_ms alone");
    }
}

void sim_host_returned(struct sim_host *me)
{
    uint64_t bound_ms = return_bound_ms(me);
    for (uint32_t i = 0; i < LOOKS && !host_home(me); i++) {
        sim_host_rest(me, bound_ms * MS / LOOKS);
    }
    if (!host_home(me)) {
        weir_sim_fail(me->sim, WEIR_SIM_LIVENESS, "not-returned",
                      "after %llu ms of health %u, %u and %u connections are where they are",
                      (unsigned long long)bound_ms, sim_wire_open_at(me->sim, 0),
                      sim_wire_open_at(me->sim, 1), sim_wire_open_at(me->sim, 2));
    }
}

void sim_host_steady_route(struct sim_host *me)
{
    uint32_t before = dials_below(me);
    for (uint32_t i = 0; i < STEADY_ROUNDS; i++) {
        (void)sim_producer_log(&me->producers[0]);
        (void)sim_host_flush(me, sim_host_bound_ms(me));
        sim_host_rest(me, 1 + 2 * (uint64_t)me->plan->options.failback_ms * MS);
    }
    if (dials_below(me) != before) {
        weir_sim_fail(me->sim, WEIR_SIM_SAFETY, "left-the-preferred",
                      "it dialled endpoints of a lower level while the preferred ones served");
    }
}
