// A pool with a list of endpoints, a collector behind each, and what arrived at all together.
#ifndef WEIR_TESTS_SUPPORT_FAILOVER_H
#define WEIR_TESTS_SUPPORT_FAILOVER_H

#include "tests/support_pool.h"

#define FAILOVER_COLLECTORS_MAX 3
#define FAILOVER_MS UINT64_C(1000000)
// What failover_start sets as failback_ms.
#define FAILOVER_BACK_MS 100

struct failover {
    struct weir_runtime *runtime;
    struct collector *collectors[FAILOVER_COLLECTORS_MAX];
    size_t collectors_count;
    char endpoints[512];
    struct weir_pool_options options;
    struct weir_pool *pool;
    uint32_t logged; // messages accepted, numbered from 0
};

// `separators`: what stands between the endpoints, one character each. The first collector follows
// the plans, the others read all there is; all listen.
void failover_start(struct failover *bench, enum collector_kind kind, const char *separators,
                    const struct collector_plan *plans, size_t plans_count);
// Two, and the second, which is the backup, follows the plan.
void failover_start_backup(struct failover *bench, enum collector_kind kind,
                           const struct collector_plan *plan);
void failover_open(struct failover *bench);
void failover_end(struct failover *bench);

// The process is gone: it neither listens nor has its connections.
void failover_die(struct collector *collector);

void failover_log(struct failover *bench, uint32_t count);
// Logs now and then until the counter reaches `least`; fails the test after half a minute.
void failover_log_until_at(struct failover *bench, size_t offset, uint64_t least);
#define failover_log_until(bench, member, least)                                                   \
    failover_log_until_at(bench, offsetof(struct weir_metrics, member), least)

// Closes, and demands that every message arrived somewhere, whole and in order.
//   returns  copies beyond the first.
uint64_t failover_close(struct failover *bench, int verdict, struct weir_metrics *metrics);

#endif
