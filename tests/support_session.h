// What the suites of RELP sessions share: a pool between a runtime and a scripted server.
#ifndef WEIR_TESTS_SUPPORT_SESSION_H
#define WEIR_TESTS_SUPPORT_SESSION_H

#include "tests/support_pool.h"
#include "tests/support_relp.h"

#define SESSION_MESSAGE_BYTES 100
// "000000002 syslog 100 ", the message, a newline.
#define SESSION_FRAME_BYTES (9 + 1 + 6 + 1 + 3 + 1 + SESSION_MESSAGE_BYTES + 1)
#define SESSION_OBSERVE_US 100000 // how long nothing is seen to happen
#define SESSION_FOREVER_MS 600000
#define SESSION_CLOSE_MS 30000
#define SESSION_NO_FAULT WEIR_FAULTS_COUNT

// A runtime, a server, and a pool of one writer between the two.
struct session_bench {
    struct weir_runtime *runtime;
    struct relp_server *server;
    struct weir_pool_options options;
    struct weir_pool *pool;
    struct relp_server *preferred; // NULL, or another server before that one
    char endpoints[128];
};

// Runtime and server; options with time limits that nobody meets, to be changed before the opening.
void session_bench_start(struct session_bench *bench, uint32_t workers,
                         const struct relp_plan *plans, size_t plans_count);
// Puts another server before the first in the list of endpoints.
void session_bench_prefer(struct session_bench *bench, const struct relp_plan *plans,
                          size_t plans_count);
void session_bench_open(struct session_bench *bench);
// The same for most tests: one worker, and the pool opened with the options as they are.
void session_bench_run(struct session_bench *bench, const struct relp_plan *plans,
                       size_t plans_count);
// Closes the pool and stops the servers. Asserts the verdict, the books, that nothing is held, that
// no connection violated the protocol, and that no more was confirmed than was answered for.
void session_bench_close(struct session_bench *bench, uint64_t timeout_ms, int verdict,
                         struct weir_metrics *metrics);
void session_bench_end(struct session_bench *bench);

// Logs messages of SESSION_MESSAGE_BYTES, all of which must be accepted.
void session_log(struct session_bench *bench, uint32_t from, uint32_t count);

// Asserts that no connection violated the protocol.
void session_check_server(struct relp_server *server);
// Asserts that messages 0..count-1 arrived, whole and in order.
//   returns  how many copies beyond the first.
uint64_t session_expect_arrived(struct session_bench *bench, uint32_t count);
// Asserts that the connection brought messages `first` to `last` in order, with numbers from 2 on.
void session_expect_connection(struct session_bench *bench, size_t connection, uint32_t first,
                               uint32_t last);
// Asserts that there were `count` faults of this kind and no others.
void session_expect_faults(const struct weir_metrics *metrics, enum weir_fault fault,
                           uint64_t count);

#endif
