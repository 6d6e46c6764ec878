// The scenario of progress: who waits for a writer's books is told when they move.
//
// The pool is real but for its writer's task, in whose place a thread confirms what was logged,
// tells it, and ends. After that nobody tells anything any more, so that a flush which missed the
// last word sleeps to its deadline. In the pool-* scenarios the task comes back and makes good for
// it.
#include <string.h>

#include "sim/scenario_support.h"
#include "sim/scenarios.h"
#include "writer/pool.h"
#include "writer/watch.h"

#define MESSAGES_MAX 3
#define FLUSHERS_MAX 2
// No flush has a reason to take so long, or even this.
#define FAR_MS 3600000u
#define SOON_NS UINT64_C(1000000000)

struct desk {
    struct weir_sim *sim;
    const struct weir_os *os;
    struct weir_pool *pool;
    uint32_t flushes; // of each thread
};

static struct weir_pool *desk_pool(const struct desk *desk, struct weir_runtime *runtime)
{
    struct weir_pool_options options;
    struct weir_pool_plan plan;
    char why[256];
    weir_pool_options_init(&options);
    options.endpoint = "unix:@progress";
    options.buffer_bytes_max = 64 << 10;
    options.flush_limit_bytes = 1; // each message has a segment of its own
    options.message_bytes_max = 16;
    int error = weir_pool_options_check(&options, &plan, why, sizeof why);
    weir_sim_check(desk->sim, error == 0, why);
    const struct weir_os *os = desk->os;
    struct weir_pool *pool = os->alloc(os->self, sizeof *pool + sizeof pool->writers[0], 128);
    void *region = os->alloc(os->self, plan.region_bytes, WEIR_ROW_LINE_BYTES);
    size_t ring_bytes = plan.row.segment_count * sizeof(struct weir_transit_segment);
    struct weir_transit_segment *ring = os->alloc(os->self, ring_bytes, WEIR_ROW_LINE_BYTES);
    weir_sim_check(desk->sim, pool != NULL && region != NULL && ring != NULL, "pool-memory");
    pool->plan = plan;
    pool->runtime = runtime;
    pool->os = os;
    pool->regions = region;
    pool->rings = ring;
    pool->rings_bytes = ring_bytes;
    error = os->fork_guard_open(os->self, &pool->fork_guard);
    weir_sim_check(desk->sim, error == 0, "fork-guard");
    weir_writer_init(&pool->writers[0], 0, runtime, &pool->plan,
                     weir_row_init(region, &pool->plan.row), ring, &pool->progress, &pool->waiters);
    return pool;
}

static void desk_free(const struct desk *desk)
{
    const struct weir_os *os = desk->os;
    struct weir_pool *pool = desk->pool;
    os->fork_guard_close(os->self, pool->fork_guard);
    os->release(os->self, pool->rings, pool->rings_bytes);
    os->release(os->self, pool->regions, pool->plan.region_bytes);
    os->release(os->self, pool, sizeof *pool + sizeof pool->writers[0]);
}

static void flusher_main(void *argument)
{
    struct desk *desk = argument;
    uint64_t begin_ns = weir_sim_now_ns(desk->sim);
    for (uint32_t i = 0; i < desk->flushes; i++) {
        int error = weir_pool_flush(desk->pool, FAR_MS);
        weir_sim_check(desk->sim, error == 0, "flush-gave-up");
        weir_sim_check(desk->sim, weir_sim_now_ns(desk->sim) - begin_ns < SOON_NS,
                       "flush-overslept");
    }
}

// A message is confirmed once all of it was sent.
static void clerk_main(void *argument)
{
    struct desk *desk = argument;
    struct weir_writer *writer = &desk->pool->writers[0];
    struct weir_transit *transit = &writer->transit;
    while (weir_transit_take(transit, 1, 0) > 0) {
        weir_transit_sent(transit, transit->end - transit->sent);
        weir_transit_confirm(transit, transit->sent, 0);
        weir_watch_tell(writer);
    }
}

static void pool_progress(struct weir_sim *sim)
{
    struct desk desk = {.sim = sim, .os = weir_sim_os(sim)};
    struct weir_runtime *runtime = scenario_runtime(sim, 1);
    uint32_t messages = weir_sim_draw(sim, "messages", 1, MESSAGES_MAX);
    uint32_t flushers = weir_sim_draw(sim, "flushers", 1, FLUSHERS_MAX);
    desk.flushes = weir_sim_draw(sim, "flushes", 1, 3);
    desk.pool = desk_pool(&desk, runtime);
    for (uint32_t i = 0; i < messages; i++) {
        weir_sim_check(sim, weir_log(desk.pool, "m", 1) == 0, "refused-with-room");
    }
    uint32_t actors[FLUSHERS_MAX + 1];
    actors[0] = weir_sim_start(sim, clerk_main, &desk);
    for (uint32_t i = 1; i <= flushers; i++) {
        actors[i] = weir_sim_start(sim, flusher_main, &desk);
    }
    for (uint32_t i = 0; i <= flushers; i++) {
        weir_sim_join(sim, actors[i]);
    }
    struct weir_metrics metrics;
    weir_pool_stats(desk.pool, &metrics);
    weir_sim_check(sim, metrics.confirmed_messages == messages, "not-all-confirmed");
    desk_free(&desk);
    weir_runtime_destroy(runtime);
}

const struct weir_sim_scenario sim_scenarios_progress[] = {
    {.name = "pool-progress",
     .about = "threads flush while the last messages are confirmed: all are told",
     .run = pool_progress,
     .kinds = SCENARIO_MEMORY_KINDS,
     .weight = 5},
    {0},
};
