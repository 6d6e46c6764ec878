// The runtime that all pools of the process share, whichever Lua state they belong to.
#include <pthread.h>
#include <stdlib.h>

#include "ffi/lua/module.h"

struct weir_lua_runtime {
    struct weir_runtime *runtime;
    size_t pools_count;
};

// A process forks from a thread that is inside Lua, not in here; so the lock is free in the child.
static pthread_mutex_t runtime_lock = PTHREAD_MUTEX_INITIALIZER;
static struct weir_lua_runtime *runtime_current;

static int runtime_begin(void)
{
    struct weir_runtime_options options = {.workers = 1, .os = NULL};
    struct weir_lua_runtime *runtime = malloc(sizeof(*runtime));
    if (runtime == NULL) {
        return WEIR_EMEMORY;
    }
    runtime->pools_count = 0;
    int error = weir_runtime_create(&runtime->runtime, &options);
    if (error < 0) {
        free(runtime);
        return error;
    }
    runtime_current = runtime;
    return 0;
}

static void runtime_end(struct weir_lua_runtime *runtime)
{
    weir_runtime_destroy(runtime->runtime);
    free(runtime);
}

static int runtime_open(struct weir_pool **pool, const struct weir_pool_options *options, char *why,
                        size_t why_bytes)
{
    int error = runtime_current == NULL ? runtime_begin() : 0;
    if (error < 0) {
        return error;
    }
    error = weir_pool_open(pool, runtime_current->runtime, options, why, why_bytes);
    if (error == 0) {
        runtime_current->pools_count++;
    } else if (runtime_current->pools_count == 0) {
        runtime_end(runtime_current);
        runtime_current = NULL;
    }
    return error;
}

int weir_lua_pool_open(struct weir_pool **pool, struct weir_lua_runtime **runtime,
                       const struct weir_pool_options *options, char *why, size_t why_bytes)
{
    why[0] = '\0';
    (void)pthread_mutex_lock(&runtime_lock);
    int error = runtime_open(pool, options, why, why_bytes);
    if (error == WEIR_EFORKED) {
        runtime_current = NULL; // the parent's; the last of its pools frees it
        error = runtime_open(pool, options, why, why_bytes);
    }
    *runtime = runtime_current;
    (void)pthread_mutex_unlock(&runtime_lock);
    return error;
}

void weir_lua_runtime_release(struct weir_lua_runtime *runtime)
{
    (void)pthread_mutex_lock(&runtime_lock);
    bool last = --runtime->pools_count == 0;
    if (last && runtime == runtime_current) {
        runtime_current = NULL;
    }
    (void)pthread_mutex_unlock(&runtime_lock);
    if (last) {
        runtime_end(runtime);
    }
}
