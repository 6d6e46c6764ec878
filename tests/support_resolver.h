// A resolver that fails, answers much or hangs as the name says, and tasks that ask it.
#ifndef WEIR_TESTS_SUPPORT_RESOLVER_H
#define WEIR_TESTS_SUPPORT_RESOLVER_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/runtime.h"

#define MS ((uint64_t)1000000)

// The name says what happens: "many" eight addresses, "one...", "none" a count of 0, "fail",
// "memory", "hang..." waits until `open`, then one address. Others go to the real one.

struct names {
    struct weir_os real;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool open;                                 // those that hang may go on
    int hanging;                               // lookups that wait now
    int asked;                                 // calls that were not numeric
    uint16_t port;                             // of the last one
    _Atomic int allocs, releases, allocs_left; // allocs_left: -1 no limit
    _Atomic int joins, detaches, starts, threads_ended, start_result;
};

// Those that hang may go on.
void names_let_go(struct names *names);
// Until one hangs.
void names_wait_hanging(struct names *names);
int names_asked(struct names *names);

// A runtime with such a resolver.
struct bench {
    struct weir_runtime *runtime;
    struct names names;
    int workers;
};

void bench_open(struct bench *bench, uint32_t workers);
// Ends the runtime if that is still to be done, and waits for what it left behind.
void bench_close(struct bench *bench);
// With no worker, one, and several.
void each_runtime(void (*body)(struct bench *bench));

// What a task that looked a name up has copied out.
struct answer {
    int result;
    struct weir_address addresses[WEIR_ADDRESSES_MAX];
};

struct weir_handle ask(struct bench *bench, const char *host, struct answer *answer);
// Joins the task that asked.
int finish(struct bench *bench, struct weir_handle handle);
int ask_now(struct bench *bench, const char *host, struct answer *answer);

void pass_time(struct bench *bench, uint64_t duration_ns);
int lookups_in(struct bench *bench, enum weir_lookup_state state);
// Waits until so many lookups are in a state.
void lookups_wait(struct bench *bench, enum weir_lookup_state state, int count);

#endif
