// Fuzz target lua: bytes as calls of the Lua module, with arguments of every type.
//
// The input is one call after the other: which function, then its arguments. A call gives what it
// promises, or nil, a text and a code, or raises an error that is a text; the books balance after
// each; and none crashes. The runtime has no thread and hardly ever runs, so that the same bytes
// take the same way. This file stands in for ffi/lua/runtime.c.
#include "fuzz/fuzz.h"

#include <lua.h>
#include <lauxlib.h>
#include <lualib.h>

#include "weir_writer.h"

#define POOLS_MAX 3
#define CALLS_MAX 64
#define ARGUMENTS_MAX 5

int luaopen_weir(lua_State *L);

// ---- The runtime, in place of ffi/lua/runtime.c ----

struct weir_lua_runtime {
    struct weir_runtime *runtime;
};

int weir_lua_pool_open(struct weir_pool **pool, struct weir_lua_runtime **runtime,
                       const struct weir_pool_options *options, char *why, size_t why_bytes);
void weir_lua_runtime_release(struct weir_lua_runtime *runtime);

int weir_lua_pool_open(struct weir_pool **pool, struct weir_lua_runtime **runtime,
                       const struct weir_pool_options *options, char *why, size_t why_bytes)
{
    why[0] = '\0';
    // Much memory is not what is looked for.
    if (options->buffer_bytes_max > 1u << 24 || options->pool_size > 4) {
        return WEIR_EMEMORY;
    }
    struct weir_runtime_options none = {.workers = 0, .os = NULL};
    *runtime = malloc(sizeof(**runtime));
    fuzz_require(*runtime != NULL);
    fuzz_require(weir_runtime_create(&(*runtime)->runtime, &none) == 0);
    int error = weir_pool_open(pool, (*runtime)->runtime, options, why, why_bytes);
    if (error < 0) {
        weir_lua_runtime_release(*runtime);
    }
    return error;
}

void weir_lua_runtime_release(struct weir_lua_runtime *runtime)
{
    weir_runtime_destroy(runtime->runtime);
    free(runtime);
}

// ---- Arguments ----

static const char *const option_names[] = {"endpoint",
                                           "pool_size",
                                           "buffer_bytes_max",
                                           "message_bytes_max",
                                           "flush_limit_bytes",
                                           "framing",
                                           "delimiter",
                                           "header",
                                           "full",
                                           "facility",
                                           "severity",
                                           "app",
                                           "drop_limit",
                                           "flush_limit",
                                           "max_buffer_length",
                                           "periodic_flush_interval",
                                           "gap_records",
                                           "close_timeout",
                                           "confirm",
                                           "retry_interval_ms"};
static const char *const endpoints[] = {"unix:@weir-fuzz-nobody", "unix-dgram:@weir-fuzz-nobody",
                                        "tcp://127.0.0.1:9", "relp://127.0.0.1:9"};
static const double numbers[] = {0,    1,   -1,   0.5,   7,      8,     4096,
                                 -0.0, 1e6, 1e17, 1e300, -1e300, 255.0, 9007199254740992.0};
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void string_push(lua_State *L, struct fuzz_input *input)
{
    size_t count;
    const unsigned char *bytes = fuzz_take(input, fuzz_u8(input), &count);
    lua_pushlstring(L, (const char *)bytes, count);
}

static void number_push(lua_State *L, struct fuzz_input *input)
{
    uint8_t kind = fuzz_u8(input);
    if (kind < COUNT(numbers)) {
        lua_pushnumber(L, (lua_Number)numbers[kind]);
    } else if (kind == COUNT(numbers)) {
        lua_pushnumber(L, (lua_Number)(0.0 / 0.0));
    } else if (kind < 128) {
        lua_pushinteger(L, (lua_Integer)fuzz_u64(input));
    } else {
        lua_pushinteger(L, (lua_Integer)fuzz_u16(input));
    }
}

static int nothing(lua_State *L)
{
    (void)L;
    return 0;
}

static void value_push(lua_State *L, struct fuzz_input *input, uint8_t kind)
{
    switch (kind % 9) {
    case 0: string_push(L, input); break;
    case 1: number_push(L, input); break;
    case 2: lua_pushnil(L); break;
    case 3: lua_pushboolean(L, fuzz_u8(input) & 1); break;
    case 4: lua_newtable(L); break;
    case 5: lua_pushcfunction(L, nothing); break;
    case 6: lua_pushlightuserdata(L, L); break;
    case 7: (void)lua_newuserdata(L, fuzz_u8(input)); break;
    default: lua_newthread(L);
    }
}

// Options that open, for the most part, and then some from the input.
static void options_push(lua_State *L, struct fuzz_input *input)
{
    lua_newtable(L);
    lua_pushstring(L, endpoints[fuzz_u8(input) % COUNT(endpoints)]);
    lua_setfield(L, -2, "endpoint");
    lua_pushinteger(L, 4096);
    lua_setfield(L, -2, "message_bytes_max");
    lua_pushinteger(L, 4096);
    lua_setfield(L, -2, "flush_limit_bytes");
    lua_pushinteger(L, 65536);
    lua_setfield(L, -2, "buffer_bytes_max");
    for (unsigned left = fuzz_u8(input) % 4; left > 0; left--) {
        uint8_t kind = fuzz_u8(input);
        if (kind < COUNT(option_names)) {
            lua_pushstring(L, option_names[kind]);
        } else {
            value_push(L, input, kind);
        }
        value_push(L, input, fuzz_u8(input));
        bool is_key = !lua_isnil(L, -2) && !(lua_type(L, -2) == LUA_TNUMBER &&
                                             lua_tonumber(L, -2) != lua_tonumber(L, -2));
        if (is_key) {
            lua_rawset(L, -3);
        } else {
            lua_pop(L, 2);
        }
    }
    // Whatever the input says: an end that takes no time.
    lua_pushinteger(L, 0);
    lua_setfield(L, -2, "close_timeout");
}

// ---- Calls ----

// A failed call's error is a text. A result is right, or nil with a text and a code.
static void result_check(lua_State *L, int bottom, int status, int right)
{
    if (status != 0) {
        fuzz_require(lua_type(L, -1) == LUA_TSTRING);
        return;
    }
    int count = lua_gettop(L) - bottom;
    if (count == 1) {
        fuzz_require(lua_type(L, -1) == right);
        return;
    }
    fuzz_require(count == 3 && lua_isnil(L, bottom + 1));
    fuzz_require(lua_type(L, bottom + 2) == LUA_TSTRING);
    fuzz_require(lua_type(L, bottom + 3) == LUA_TNUMBER && lua_tonumber(L, bottom + 3) < 0);
}

static void books_check(lua_State *L, int pool)
{
    lua_getfield(L, pool, "stats");
    lua_pushvalue(L, pool);
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "balanced");
    fuzz_require(lua_toboolean(L, -1));
    lua_pop(L, 2);
}

static void open_call(lua_State *L, struct fuzz_input *input, int module, int place)
{
    int bottom = lua_gettop(L);
    lua_getfield(L, module, "open");
    uint8_t kind = fuzz_u8(input);
    if (kind < 200) {
        options_push(L, input);
    } else {
        value_push(L, input, kind);
    }
    int status = lua_pcall(L, 1, LUA_MULTRET, 0);
    result_check(L, bottom, status, LUA_TUSERDATA);
    if (status == 0 && lua_type(L, bottom + 1) == LUA_TUSERDATA) {
        lua_pushvalue(L, bottom + 1);
        lua_replace(L, place);
    }
    lua_settop(L, bottom);
}

static const struct method {
    const char *name;
    int right;
} methods[] = {{"log", LUA_TNUMBER},    {"log", LUA_TNUMBER},    {"log", LUA_TNUMBER},
               {"flush", LUA_TBOOLEAN}, {"close", LUA_TBOOLEAN}, {"stats", LUA_TTABLE},
               {"metrics", LUA_TSTRING}};

// A number of seconds that takes no time, or what is none.
static void timeout_push(lua_State *L, struct fuzz_input *input)
{
    uint8_t kind = fuzz_u8(input);
    if (kind < 128) {
        lua_pushinteger(L, 0);
    } else if (kind < 160) {
        lua_pushnumber(L, kind < 144 ? (lua_Number)-0.5 : (lua_Number)(0.0 / 0.0));
    } else {
        value_push(L, input, kind % 9 == 1 ? 0 : kind); // any but a number
    }
}

static void method_call(lua_State *L, struct fuzz_input *input, int pool)
{
    int bottom = lua_gettop(L);
    const struct method *method = &methods[fuzz_u8(input) % COUNT(methods)];
    lua_getfield(L, pool, method->name);
    uint8_t self = fuzz_u8(input);
    if (self < 240) {
        lua_pushvalue(L, pool);
    } else {
        value_push(L, input, self);
    }
    unsigned arguments = 1;
    bool waits = method->right == LUA_TBOOLEAN;
    if (waits) {
        timeout_push(L, input); // nil is the pool's, which is 0
        arguments++;
    } else {
        for (unsigned left = fuzz_u8(input) % ARGUMENTS_MAX; left > 0; left--) {
            value_push(L, input, fuzz_u8(input));
            arguments++;
        }
    }
    int status = lua_pcall(L, (int)arguments, LUA_MULTRET, 0);
    result_check(L, bottom, status, method->right);
    lua_settop(L, bottom);
}

void fuzz_one(const unsigned char *bytes, size_t count)
{
    struct fuzz_input input = {bytes, count, 0};
    lua_State *L = luaL_newstate();
    fuzz_require(L != NULL);
    lua_pushcfunction(L, luaopen_weir);
    lua_call(L, 0, 1);
    int module = lua_gettop(L);
    for (int i = 0; i < POOLS_MAX; i++) {
        lua_pushnil(L);
    }
    for (int calls = 0; calls < CALLS_MAX && fuzz_more(&input); calls++) {
        uint8_t which = fuzz_u8(&input);
        int place = module + 1 + which % POOLS_MAX;
        if (lua_isnil(L, place) || which >= 240) {
            open_call(L, &input, module, place);
        } else {
            method_call(L, &input, place);
            books_check(L, place);
        }
        if (which % 16 == 7) {
            lua_gc(L, LUA_GCCOLLECT, 0);
        }
    }
    lua_close(L);
}
