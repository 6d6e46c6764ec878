// What the files of the Lua module share: one runtime per process, options and statistics.
//
// The module is built for PUC Lua 5.1 to 5.4 and for LuaJIT, from the same files.
#ifndef WEIR_FFI_LUA_MODULE_H
#define WEIR_FFI_LUA_MODULE_H

#include <lauxlib.h>
#include <lua.h>

#include "weir_writer.h"

// Enough for the longest sentence of weir_pool_options_set and weir_pool_open.
#define WEIR_LUA_WHY_BYTES 512

// ---- The runtime ----

// The process's runtime, of one worker thread. It begins with the first pool and ends with the
// last one. A forked child gets one of its own.
struct weir_lua_runtime;

// Opens a pool on the process's runtime.
//   memory   *runtime is to be given to weir_lua_runtime_release, after the pool's destruction.
//   returns  as weir_pool_open and weir_runtime_create; *why is empty when it has nothing to say.
//   threads  any.
int weir_lua_pool_open(struct weir_pool **pool, struct weir_lua_runtime **runtime,
                       const struct weir_pool_options *options, char *why, size_t why_bytes);
void weir_lua_runtime_release(struct weir_lua_runtime *runtime);

// ---- Options ----

// Reads the table at `table`, which keeps the texts alive together with what is pushed.
//   returns  true, and one value is pushed; false, and a message is.
bool weir_lua_options_read(lua_State *L, int table, struct weir_pool_options *options,
                           uint64_t *close_timeout_ms);

// Seconds as milliseconds.      returns  false: not a number from 0 on.
bool weir_lua_seconds(double seconds, uint64_t *milliseconds);

// ---- Statistics ----

// Pushes a table of all that is in `metrics`, under the names of its members and labels.
void weir_lua_metrics_push(lua_State *L, const struct weir_metrics *metrics);

#endif
