// Helpers shared by the suites about lists of endpoints.
#include "tests/support_failover.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void endpoints_write(struct failover *bench, const char *separators)
{
    size_t used = 0;
    for (size_t i = 0; i < bench->collectors_count; i++) {
        used += (size_t)snprintf(bench->endpoints + used, sizeof(bench->endpoints) - used, "%s%c",
                                 collector_endpoint(bench->collectors[i]), separators[i]);
        assert_true(used < sizeof(bench->endpoints));
    }
}

void failover_start(struct failover *bench, enum collector_kind kind, const char *separators,
                    const struct collector_plan *plans, size_t plans_count)
{
    memset(bench, 0, sizeof(*bench));
    bench->runtime = test_runtime_create(1, NULL);
    bench->collectors_count = strlen(separators) + 1;
    for (size_t i = 0; i < bench->collectors_count; i++) {
        bench->collectors[i] = collector_start(kind, plans, i == 0 ? plans_count : 0, true, true);
    }
    endpoints_write(bench, separators);
    test_pool_options(&bench->options, bench->endpoints);
    // In tiny a segment holds eight messages: in 4 MiB not many more than these suites log at once.
    bench->options.buffer_bytes_max = 16 << 20;
    bench->options.failback_ms = FAILOVER_BACK_MS;
}

void failover_start_backup(struct failover *bench, enum collector_kind kind,
                           const struct collector_plan *plan)
{
    failover_start(bench, kind, ",", NULL, 0);
    collector_free(bench->collectors[1]);
    bench->collectors[1] = collector_start(kind, plan, 1, true, true);
    endpoints_write(bench, ",");
}

void failover_open(struct failover *bench)
{
    bench->pool = test_pool_open(bench->runtime, &bench->options);
}

void failover_end(struct failover *bench)
{
    weir_pool_destroy(bench->pool);
    weir_runtime_destroy(bench->runtime);
    for (size_t i = 0; i < bench->collectors_count; i++) {
        collector_free(bench->collectors[i]);
    }
}

void failover_die(struct collector *collector)
{
    collector_listen(collector, false);
    collector_cut(collector);
}

void failover_log(struct failover *bench, uint32_t count)
{
    assert_int_equal(test_pool_log(bench->pool, 0, 0, bench->logged, count, 100), count);
    bench->logged += count;
}

void failover_log_until_at(struct failover *bench, size_t offset, uint64_t least)
{
    uint64_t value = 0;
    for (uint64_t begin_ns = test_now_ns(); value < least;) {
        struct weir_metrics metrics;
        assert_true(test_now_ns() - begin_ns < 30000 * FAILOVER_MS);
        failover_log(bench, 5);
        test_pause_us(1000);
        weir_pool_stats(bench->pool, &metrics);
        memcpy(&value, (const unsigned char *)&metrics + offset, sizeof(value));
    }
}

uint64_t failover_close(struct failover *bench, int verdict, struct weir_metrics *metrics)
{
    assert_int_equal(weir_pool_close(bench->pool, 20000), verdict);
    test_pool_books(bench->pool, metrics);
    assert_int_equal(metrics->held_messages, 0);
    assert_int_equal(metrics->confirmed_messages, bench->logged);
    uint8_t *seen = calloc(bench->logged + 1, 1);
    assert_non_null(seen);
    uint64_t distinct = 0, copies = 0;
    for (size_t i = 0; i < bench->collectors_count; i++) {
        struct collector_tally tally;
        collector_stop(bench->collectors[i]);
        collector_count(bench->collectors[i], 1, bench->logged, &tally);
        if (tally.wrong != NULL) {
            fail_msg("collector %zu: %s", i, tally.wrong);
        }
        for (uint32_t number = 0; number < bench->logged; number++) {
            distinct += tally.seen[number] != 0 && seen[number] == 0;
            seen[number] |= tally.seen[number];
        }
        copies += tally.distinct + tally.repeated;
        free(tally.seen);
    }
    free(seen);
    assert_int_equal(distinct, bench->logged);
    return copies - distinct;
}
