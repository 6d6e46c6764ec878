// A runtime and a pool for the benchmarks.
#include "tests/bench/support_pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/bench.h"

#define CONNECT_MS_MAX 10000
#define CLOSE_MS_MAX 30000

struct weir_pool_options bench_pool_options(const char *endpoint, enum weir_confirm confirm,
                                            enum weir_full full)
{
    struct weir_pool_options options;
    weir_pool_options_init(&options);
    options.endpoint = endpoint;
    options.confirm = confirm;
    options.full = full;
    return options;
}

uint64_t bench_pool_open(struct bench_pool *bench, const struct weir_pool_options *options,
                         const struct weir_os *os)
{
    struct weir_metrics books;
    char why[256];
    bench_must(weir_runtime_create(&bench->runtime,
                                   &(struct weir_runtime_options){.workers = 1, .os = os}),
               "runtime");
    uint64_t begin_ns = bench_now_ns();
    bench_must(weir_pool_open(&bench->pool, bench->runtime, options, why, sizeof(why)), why);
    uint64_t open_ns = bench_now_ns() - begin_ns;
    for (int i = 0;; i++) {
        weir_pool_stats(bench->pool, &books);
        if (books.writers_connected == 1) {
            return open_ns;
        }
        bench_must(i < CONNECT_MS_MAX ? 0 : WEIR_ETIMEOUT, "connecting");
        bench_sleep_until(bench_now_ns() + 1000000u);
    }
}

void bench_pool_use(struct bench_pool *bench)
{
    // Both what small messages need, an index, and what large ones do.
    static const size_t sizes[] = {128, 4096};
    static char message[4096];
    memset(message, 'u', sizeof(message));
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        while (weir_log(bench->pool, message, sizes[i]) == 0) {
        }
        bench_must(weir_pool_flush(bench->pool, CLOSE_MS_MAX), "flush");
    }
}

void bench_pool_abandon(struct bench_pool *bench)
{
    struct weir_metrics books;
    (void)weir_pool_close(bench->pool, 0); // what is held is lost, as it must be
    weir_pool_stats(bench->pool, &books);
    bench_check(weir_metrics_balanced(&books), "the books do not balance");
    weir_pool_destroy(bench->pool);
    weir_runtime_destroy(bench->runtime);
}

void bench_pool_close(struct bench_pool *bench, struct weir_metrics *books)
{
    int closed = weir_pool_close(bench->pool, CLOSE_MS_MAX);
    bench_must(closed == WEIR_EUNPROVEN ? 0 : closed, "close"); // what `sent` over TCP cannot prove
    weir_pool_stats(bench->pool, books);
    if (!weir_metrics_balanced(books)) {
        fprintf(stderr, "bench: the books do not balance\n");
        exit(1);
    }
    weir_pool_destroy(bench->pool);
    weir_runtime_destroy(bench->runtime);
}
