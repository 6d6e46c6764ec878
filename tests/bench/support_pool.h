// A runtime with one worker and a pool on it, as the writer's benchmarks open them.
#ifndef WEIR_TESTS_BENCH_SUPPORT_POOL_H
#define WEIR_TESTS_BENCH_SUPPORT_POOL_H

#include "runtime/os.h"
#include "weir_writer.h"

struct bench_pool {
    struct weir_runtime *runtime;
    struct weir_pool *pool;
};

// The defaults, but for what is given.
struct weir_pool_options bench_pool_options(const char *endpoint, enum weir_confirm confirm,
                                            enum weir_full full);
// Opens the pool and waits until it is connected. `os` NULL: the operating system. Ends the program
// if something fails.  returns  how long weir_pool_open took.
uint64_t bench_pool_open(struct bench_pool *bench, const struct weir_pool_options *options,
                         const struct weir_os *os);
// Fills the buffer and empties it, so that its memory is not new to the kernel. Not for a pool that
// waits when it is full.
void bench_pool_use(struct bench_pool *bench);
// Delivers all that is held, checks that the books balance, and frees.
void bench_pool_close(struct bench_pool *bench, struct weir_metrics *books);
// The same for a pool whose collector is gone: what is held is lost.
void bench_pool_abandon(struct bench_pool *bench);

#endif
