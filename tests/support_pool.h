// Helpers shared by the suites that open pools: options, logging numbered messages, the books.
#ifndef WEIR_TESTS_SUPPORT_POOL_H
#define WEIR_TESTS_SUPPORT_POOL_H

#include "tests/support_collector.h"
#include "tests/support_runtime.h"
#include "weir_writer.h"

// Small and quick: 4 MiB of buffer, segments of 4 KiB, messages of up to 4 KiB, newline framing.
void test_pool_options(struct weir_pool_options *options, const char *endpoint);
// Asserts success.
struct weir_pool *test_pool_open(struct weir_runtime *runtime,
                                 const struct weir_pool_options *options);
// Logs the messages from..from+count-1 of `thread` with this key (0: none), each `length` long.
//   returns  how many were accepted.
uint32_t test_pool_log(struct weir_pool *pool, uint64_t key, uint32_t thread, uint32_t from,
                       uint32_t count, size_t length);
// Takes the metrics and asserts that the books balance.
void test_pool_books(struct weir_pool *pool, struct weir_metrics *metrics);
// Sum over the reasons.
uint64_t test_pool_dropped(const struct weir_metrics *metrics);
uint64_t test_pool_polls(struct weir_runtime *runtime);
// Asserts that exactly `count` messages of one thread arrived, none torn; gives the copies.
uint64_t test_pool_arrived(struct collector *collector, uint32_t count);
// Waits until the counter at `offset` in the metrics reaches `least`; false after ten seconds.
bool test_pool_wait(struct weir_pool *pool, size_t offset, uint64_t least);
#define test_pool_wait_for(pool, member, least)                                                    \
    assert_true(test_pool_wait(pool, offsetof(struct weir_metrics, member), least))

#endif
