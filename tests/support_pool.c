// Helpers shared by the suites that open pools.
#include "tests/support_pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void test_pool_options(struct weir_pool_options *options, const char *endpoint)
{
    weir_pool_options_init(options);
    options->endpoint = endpoint;
    options->buffer_bytes_max = 4 << 20;
    options->message_bytes_max = 4096;
    options->flush_limit_bytes = 4096;
    options->flush_interval_ms = 5;
    options->retry_interval_ms = 10;
    options->retry_interval_max_ms = 50;
    options->connect_timeout_ms = 2000;
    options->stall_timeout_ms = 5000;
    options->framing = WEIR_FRAMING_NEWLINE;
    options->header = WEIR_HEADER_NONE;
}

struct weir_pool *test_pool_open(struct weir_runtime *runtime,
                                 const struct weir_pool_options *options)
{
    struct weir_pool *pool = NULL;
    char why[384] = "";
    int error = weir_pool_open(&pool, runtime, options, why, sizeof(why));
    if (error != 0) {
        fail_msg("weir_pool_open: %s: %s", weir_error_text(error), why);
    }
    return pool;
}

uint32_t test_pool_log(struct weir_pool *pool, uint64_t key, uint32_t thread, uint32_t from,
                       uint32_t count, size_t length)
{
    char *message = malloc(length);
    struct weir_log_options options = {key, WEIR_SEVERITY_DEFAULT};
    struct weir_iovec part = {message, length};
    uint32_t accepted = 0;
    for (uint32_t i = 0; i < count; i++) {
        collector_message(message, thread, from + i, length);
        int error = weir_logv(pool, &options, &part, 1);
        if (error == 0) {
            accepted++;
        } else if (error != WEIR_EFULL) {
            fail_msg("weir_logv: %s", weir_error_text(error));
        }
    }
    free(message);
    return accepted;
}

uint64_t test_pool_dropped(const struct weir_metrics *metrics)
{
    uint64_t dropped = 0;
    for (int i = 0; i < WEIR_DROPS_COUNT; i++) {
        dropped += metrics->dropped_messages[i];
    }
    return dropped;
}

void test_pool_books(struct weir_pool *pool, struct weir_metrics *metrics)
{
    weir_pool_stats(pool, metrics);
    if (!weir_metrics_balanced(metrics)) {
        fail_msg("books: offered %lu accepted %lu confirmed %lu held %lu dropped %lu",
                 (unsigned long)metrics->offered_messages,
                 (unsigned long)metrics->accepted_messages,
                 (unsigned long)metrics->confirmed_messages, (unsigned long)metrics->held_messages,
                 (unsigned long)test_pool_dropped(metrics));
    }
}

uint64_t test_pool_polls(struct weir_runtime *runtime)
{
    struct weir_runtime_stats stats;
    weir_runtime_stats(runtime, &stats);
    return stats.polls;
}

uint64_t test_pool_arrived(struct collector *collector, uint32_t count)
{
    struct collector_tally tally;
    collector_count(collector, 1, count, &tally);
    free(tally.seen);
    if (tally.wrong != NULL) {
        fail_msg("collector: %s", tally.wrong);
    }
    assert_int_equal(tally.distinct, count);
    return tally.repeated;
}

bool test_pool_wait(struct weir_pool *pool, size_t offset, uint64_t least)
{
    for (int i = 0; i < 10000; i++) {
        struct weir_metrics metrics;
        weir_pool_stats(pool, &metrics);
        uint64_t value;
        memcpy(&value, (const unsigned char *)&metrics + offset, sizeof(value));
        if (value >= least) {
            return true;
        }
        test_pause_us(1000);
    }
    return false;
}
