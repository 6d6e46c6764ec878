// A host with a pool: its calls, each under the auditor, and how time passes for it.
#include "sim/host_state.h"
#include "sim/wire.h"

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)

void sim_host_well(void *host)
{
    struct sim_host *me = host;
    for (uint32_t i = 0; i < me->plan->collectors_count && !me->well; i++) {
        sim_collector_heal(me->collectors[i]);
    }
    weir_sim_heal(me->sim);
    me->well = true;
}

uint64_t sim_host_connecting(void *context)
{
    struct sim_host *me = context;
    if (me->pool == NULL || me->plan->options.pool_size > 1 || sim_wire_connects(me->sim) == 0) {
        return 0;
    }
    struct weir_metrics metrics;
    weir_pool_stats(me->pool, &metrics);
    return metrics.confirmed_messages;
}

bool sim_host_steady(const void *host)
{
    const struct sim_host *me = host;
    size_t count;
    const struct weir_sim_deviation *deviations = sim_choices_deviations(me->sim->choices, &count);
    for (size_t i = 0; i < count; i++) {
        if (deviations[i].kind == WEIR_SIM_TIME) {
            return false;
        }
    }
    return true;
}

// Whether it is true of what begins now.
static bool host_steady(const struct sim_host *me)
{
    return me->healed || sim_host_steady(me);
}

// A TCP peer that does not end its side within the stall timeout is taken at its kernel's word, and
// so is what has no proof when the time of a close is over: then only this much is promised.
static void host_weaken(struct sim_host *me)
{
    bool tcp = me->plan->collectors[0].kind == SIM_COLLECTOR_TCP;
    if (tcp && sim_host_now(me) >= me->weak_ns) {
        sim_auditor_weaken(me->auditor, SIM_PROMISE_ACKNOWLEDGED);
    }
}

void sim_host_sample(struct sim_host *me, struct weir_metrics *metrics)
{
    weir_pool_stats(me->pool, metrics);
    host_weaken(me);
    sim_auditor_sample(me->auditor, metrics);
}

// Lets time pass; drives the runtime where the host does that.
void sim_host_rest(struct sim_host *me, uint64_t duration_ns)
{
    uint64_t end_ns = sim_host_now(me) + duration_ns;
    if (me->plan->workers > 0) {
        weir_sim_sleep(me->sim, duration_ns);
        return;
    }
    bool backend = sim_host_has(me, SIM_TRICK_BACKEND);
    for (uint64_t now_ns = sim_host_now(me); now_ns < end_ns; now_ns = sim_host_now(me)) {
        if (backend) {
            int fd = weir_backend_fd(me->runtime);
            (void)weir_sim_wait(me->sim, fd, WEIR_READABLE, end_ns);
        }
        (void)weir_turn(me->runtime, me->plan->turn_polls, backend ? 0 : end_ns - now_ns);
    }
}

int sim_host_flush(struct sim_host *me, uint64_t timeout_ms)
{
    struct sim_auditor_wait wait = {.timeout_ns = timeout_ms * MS};
    struct weir_metrics metrics;
    bool healed = me->healed;
    sim_auditor_flush_begin(me->auditor, &wait);
    // Threads that never met: nothing is before anything. Who drops the oldest counts it later.
    bool drops = me->plan->options.full == WEIR_FULL_DROP_OLDEST;
    if (!me->over && (!me->talking || drops)) {
        wait.accepted = 0;
    } else if (me->talking) {
        sim_memory_acquire(me->sim->memory, sim_actor(me->sim), &me->logged);
    }
    wait.begin_ns = sim_host_now(me);
    wait.result = weir_pool_flush(me->pool, timeout_ms);
    wait.end_ns = sim_host_now(me);
    wait.steady = healed == me->healed && host_steady(me);
    sim_host_sample(me, &metrics);
    sim_auditor_flush_end(me->auditor, &wait, &metrics);
    if (wait.result == WEIR_ETIMEOUT) {
        weir_sim_sometimes(me->sim, "flush-timed-out");
    }
    return wait.result;
}

int sim_host_close(struct sim_host *me, uint64_t timeout_ms)
{
    struct sim_auditor_wait wait = {.timeout_ns = timeout_ms * MS};
    struct weir_metrics metrics;
    sim_auditor_close_begin(me->auditor, &wait);
    if (!me->over && me->plan->options.full == WEIR_FULL_DROP_OLDEST) {
        wait.accepted = 0; // as for a flush
    }
    wait.begin_ns = sim_host_now(me);
    uint64_t end_ns = wait.begin_ns + wait.timeout_ns;
    me->weak_ns = end_ns < me->weak_ns ? end_ns : me->weak_ns;
    wait.result = weir_pool_close(me->pool, timeout_ms);
    wait.end_ns = sim_host_now(me);
    wait.steady = host_steady(me);
    sim_host_sample(me, &metrics);
    sim_auditor_close_end(me->auditor, &wait, &metrics);
    if (wait.result == WEIR_ETIMEOUT) {
        weir_sim_sometimes(me->sim, "close-deadline-hit");
    } else if (wait.result == WEIR_EUNPROVEN) {
        weir_sim_sometimes(me->sim, "close-unproven");
    }
    return wait.result;
}

void sim_host_flusher(void *argument)
{
    struct sim_host *me = argument;
    while (!me->over) {
        weir_sim_sleep(me->sim, US * (1 + sim_random_step(&me->random, 5000)));
        if (!me->over) {
            (void)sim_host_flush(me, sim_random_step(&me->random, 50));
        }
    }
}
