// Inside a host: what its life, its calls and its end share.
//
// host.c is its life, host_call.c its calls, each under the auditor, host_route.c where its
// connections go, host_end.c what must hold at its end.
#ifndef WEIR_SIM_HOST_STATE_H
#define WEIR_SIM_HOST_STATE_H

#include "sim/host.h"
#include "sim/producer.h"
#include "sim/sim.h"

#define SIM_HOST_FLUSHERS 2
// Logged by the first producer's, in its host's hands: once all is well, and after the end.
#define SIM_HOST_MESSAGES_STEADY 3
#define SIM_HOST_MESSAGES_AFTER 2

struct sim_host {
    struct weir_sim *sim;
    const struct sim_host_plan *plan;
    struct sim_auditor *auditor;
    struct sim_collector *collectors[SIM_HOST_COLLECTORS_MAX];
    uint32_t trouble_actors[SIM_HOST_COLLECTORS_MAX];
    struct weir_address places[SIM_HOST_COLLECTORS_MAX]; // the collectors'
    struct weir_os os;
    struct weir_runtime *runtime;
    struct weir_pool *pool;
    struct sim_producer producers[SIM_HOST_PRODUCERS_MAX];
    uint32_t producer_actors[SIM_HOST_PRODUCERS_MAX];
    uint32_t flusher_actors[SIM_HOST_FLUSHERS];
    uint64_t random;
    bool well;         // faults have ended
    bool healed, over; // the host knows; flushers end
    uint64_t trouble_end_ns;
    uint64_t end_ns;  // nobody logs any more
    uint64_t weak_ns; // from then on a TCP peer's kernel may have confirmed: see host_weaken
    size_t memory_before;
    bool talking; // the threads of the host tell each other what they logged
    struct sim_clock logged;
};

static inline bool sim_host_has(const struct sim_host *me, enum sim_trick trick)
{
    return (me->plan->tricks >> trick & 1) != 0;
}

static inline uint64_t sim_host_now(const struct sim_host *me)
{
    return sim_threads_now(me->sim->threads);
}

// ---- host_call.c ----

// Ends the faults.
void sim_host_well(void *host);
// Of sim/wire.h. Steady: the clock never leapt while threads could run.
uint64_t sim_host_connecting(void *host);
bool sim_host_steady(const void *host);
// Takes the pool's metrics and shows them to the auditor.
void sim_host_sample(struct sim_host *host, struct weir_metrics *metrics);
// Lets time pass; drives the runtime where the host does that.
void sim_host_rest(struct sim_host *host, uint64_t duration_ns);
int sim_host_flush(struct sim_host *host, uint64_t timeout_ms);
int sim_host_close(struct sim_host *host, uint64_t timeout_ms);
// A thread's entry: flushes until the host is over.
void sim_host_flusher(void *host);

// ---- host_route.c ----

// The first collector comes up again.
void sim_host_outage_over(struct sim_host *host);
// Once all is well every connection must come to be where it is preferred, spread over the level.
void sim_host_returned(struct sim_host *host);
// And stay there.
void sim_host_steady_route(struct sim_host *host);

// ---- host_end.c ----

// The longest that delivery may need once all is well.
uint64_t sim_host_bound_ms(const struct sim_host *host);
// Nobody logs any more: everything must arrive, and the books be right.
void sim_host_deliver(struct sim_host *host);
// Waits for what the runtime left behind.
void sim_host_lookups(struct sim_host *host);
// After the close: the last questions, and the end of pool and runtime.
void sim_host_end(struct sim_host *host);

#endif
