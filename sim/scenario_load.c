// The load test this project began with, as a run that replays.
//
// Four sockets, messages averaging 4 KiB; of ten calls one fails to connect, one to write, one
// would block, and one would block for a millisecond. The options are those of the talk.
#include <stdio.h>

#include "sim/host.h"
#include "sim/message.h"
#include "sim/scenarios.h"

#define MS UINT64_C(1000000)
#define MESSAGE_BYTES 4096
#define TENTH 100000 // of a million

static void talk_load_test(struct weir_sim *sim)
{
    struct sim_host_plan plan = {
        .workers = weir_sim_draw(sim, "workers", 1, 4),
        .promise = SIM_PROMISE_READ,
        .collectors = {{.kind = SIM_COLLECTOR_UNIX, .path = "/run/collector.sock"}},
        .collectors_count = 1,
        .producers = 4,
        .messages = 25,
        .bytes_min = SIM_MESSAGE_BYTES_MIN,
        .bytes_max = 2 * MESSAGE_BYTES - SIM_MESSAGE_BYTES_MIN,
        .pace = SIM_PACE_BRISK,
        .tricks = 1u << SIM_TRICK_KEYS,
        .seed = weir_sim_draw(sim, "host_seed", 0, INT32_MAX),
        .trouble_ns = 20000 * MS,
    };
    (void)snprintf(plan.endpoint, sizeof(plan.endpoint), "unix:/run/collector.sock");
    struct weir_pool_options *options = &plan.options;
    weir_pool_options_init(options);
    options->endpoint = plan.endpoint;
    options->pool_size = 4;
    options->message_bytes_max = 2 * MESSAGE_BYTES + 1;
    options->flush_limit_bytes = 3 * MESSAGE_BYTES;
    options->buffer_bytes_max = 1024 * MESSAGE_BYTES;
    options->flush_interval_ms = 3000;
    options->retry_interval_ms = 100;
    weir_sim_rate(sim, WEIR_SIM_CONNECT, TENTH);
    weir_sim_rate(sim, WEIR_SIM_SEND, TENTH);
    weir_sim_rate(sim, WEIR_SIM_AGAIN, 2 * TENTH); // both ways
    sim_host_play(sim, &plan);
}

static const char *const load_probes[] = {"disconnect", "resent", "send-cut-a-frame",
                                          "resource-failed", NULL};

const struct weir_sim_scenario sim_scenarios_load[] = {
    {.name = "talk-load-test",
     .about = "four sockets, a tenth of the calls failing in each of four ways",
     .run = talk_load_test,
     .kinds = 1u << WEIR_SIM_SWITCH | 1u << WEIR_SIM_STALE | 1u << WEIR_SIM_WEAK |
              1u << WEIR_SIM_CONNECT | 1u << WEIR_SIM_SEND | 1u << WEIR_SIM_AGAIN |
              1u << WEIR_SIM_WORK,
     .probes = load_probes,
     .probe_seeds = 500},
    {.name = NULL}};
