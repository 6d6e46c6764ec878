// The Lua module `weir`: pools as userdata, over the C interface.
//
// Wrong arguments are Lua errors; what goes wrong at run time is nil, a text and weir's code. A
// pool that is closed keeps its last metrics and gives everything else back at once, rather than
// when it is collected.
#include <string.h>

#include "ffi/lua/module.h"

#define POOL_TYPE "weir.pool"
#define CLOSE_TIMEOUT_MS 5000
// As floating-point numbers have all whole ones up to here, in every version of Lua.
#define ID_MAX 9007199254740992.0
// LuaJIT's type of C data; no other Lua 5.1 has it.
#define TYPE_CDATA 10

struct lua_pool {
    struct weir_pool *pool; // NULL once closed
    struct weir_lua_runtime *runtime;
    uint64_t close_timeout_ms;
    struct weir_metrics last; // of a closed one
};

static int result(lua_State *L, int code)
{
    if (code == 0) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushnil(L);
    if (code > -4096) {
        lua_pushfstring(L, "%s (errno %d)", weir_error_text(code), -code);
    } else {
        lua_pushstring(L, weir_error_text(code));
    }
    lua_pushinteger(L, code);
    return 3;
}

// ---- Arguments ----

static struct lua_pool *pool_check(lua_State *L)
{
    return luaL_checkudata(L, 1, POOL_TYPE);
}

// A whole number from 0 to `max`; nothing is `initial`.
static uint64_t whole_check(lua_State *L, int index, double max, uint64_t initial,
                            const char *expected)
{
    if (lua_isnoneornil(L, index)) {
        return initial;
    }
    luaL_checktype(L, index, LUA_TNUMBER);
    double number = (double)lua_tonumber(L, index);
    if (!(number >= 0 && number <= max) || (double)(uint64_t)number < number) {
        return (uint64_t)luaL_argerror(L, index, expected);
    }
    return (uint64_t)number;
}

static uint64_t timeout_check(lua_State *L, int index, uint64_t initial_ms)
{
    if (lua_isnoneornil(L, index)) {
        return initial_ms;
    }
    luaL_checktype(L, index, LUA_TNUMBER);
    uint64_t timeout_ms = 0;
    if (!weir_lua_seconds((double)lua_tonumber(L, index), &timeout_ms)) {
        luaL_argerror(L, index, "seconds, 0 or more, expected");
    }
    return timeout_ms;
}

// The address in C data: LuaJIT's own conversion to a pointer says what is one, and raises an error
// for what is not.
static const void *cdata_address(lua_State *L, int index)
{
    const void *address = NULL;
    lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
    lua_getfield(L, -1, "ffi");
    if (!lua_istable(L, -1)) {
        luaL_argerror(L, index, "C data needs the ffi library");
    }
    lua_getfield(L, -1, "new");
    lua_pushstring(L, "const void *[1]");
    lua_pushvalue(L, index);
    lua_call(L, 2, 1);
    memcpy(&address, lua_topointer(L, -1), sizeof(address));
    lua_pop(L, 3);
    return address;
}

static struct weir_iovec message_check(lua_State *L, int index)
{
    struct weir_iovec message = {NULL, 0};
    double max = ID_MAX;
    if (lua_type(L, index) == TYPE_CDATA) {
        message.bytes = cdata_address(L, index);
        luaL_checktype(L, index + 1, LUA_TNUMBER);
    } else {
        luaL_checktype(L, index, LUA_TSTRING);
        message.bytes = lua_tolstring(L, index, &message.bytes_count);
        max = (double)message.bytes_count;
    }
    message.bytes_count = (size_t)whole_check(L, index + 1, max, message.bytes_count,
                                              "a length that the message has expected");
    if (message.bytes == NULL && message.bytes_count > 0) {
        luaL_argerror(L, index, "a NULL pointer has no bytes");
    }
    return message;
}

// ---- Pools ----

static void pool_finish(struct lua_pool *me)
{
    weir_pool_stats(me->pool, &me->last);
    weir_pool_destroy(me->pool);
    me->pool = NULL;
    weir_lua_runtime_release(me->runtime);
}

static int open_refused(lua_State *L, int code, const char *why)
{
    if (why[0] == '\0') {
        return result(L, code);
    }
    lua_pushnil(L);
    lua_pushstring(L, why);
    lua_pushinteger(L, code);
    return 3;
}

static int module_open(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    struct lua_pool *me = lua_newuserdata(L, sizeof(*me));
    memset(me, 0, sizeof(*me));
    me->close_timeout_ms = CLOSE_TIMEOUT_MS;
    luaL_getmetatable(L, POOL_TYPE);
    lua_setmetatable(L, -2);
    struct weir_pool_options options;
    weir_pool_options_init(&options);
    if (!weir_lua_options_read(L, 1, &options, &me->close_timeout_ms)) {
        return open_refused(L, WEIR_EOPTION, lua_tostring(L, -1));
    }
    char why[WEIR_LUA_WHY_BYTES];
    int code = weir_lua_pool_open(&me->pool, &me->runtime, &options, why, sizeof(why));
    if (code < 0) {
        return open_refused(L, code, why);
    }
    lua_pushvalue(L, 2);
    return 1;
}

// pool:log(id, message [, length [, severity]])
static int pool_log(lua_State *L)
{
    struct lua_pool *me = pool_check(L);
    struct weir_log_options options = {
        .key = whole_check(L, 2, ID_MAX, 0, "an id from 0 to 2^53 expected")};
    struct weir_iovec message = message_check(L, 3);
    options.severity =
        (uint8_t)whole_check(L, 5, 7, WEIR_SEVERITY_DEFAULT, "a severity from 0 to 7 expected");
    int code = WEIR_ECLOSED;
    if (me->pool != NULL) {
        code = weir_logv(me->pool, &options, &message, 1);
    } else {
        me->last.offered_messages++;
        me->last.rejected_messages[WEIR_REJECTED_CLOSED]++;
    }
    if (code < 0) {
        return result(L, code);
    }
    lua_pushinteger(L, (lua_Integer)message.bytes_count);
    return 1;
}

static int pool_flush(lua_State *L)
{
    struct lua_pool *me = pool_check(L);
    uint64_t timeout_ms = timeout_check(L, 2, me->close_timeout_ms);
    return result(L, me->pool != NULL ? weir_pool_flush(me->pool, timeout_ms) : WEIR_ECLOSED);
}

static int pool_close_within(struct lua_pool *me, uint64_t timeout_ms)
{
    if (me->pool == NULL) {
        return WEIR_ECLOSED;
    }
    int code = weir_pool_close(me->pool, timeout_ms);
    if (code != WEIR_EFORKED) { // another process's pool is left as it is, and says so again
        pool_finish(me);
    }
    return code;
}

static int pool_close(lua_State *L)
{
    struct lua_pool *me = pool_check(L);
    return result(L, pool_close_within(me, timeout_check(L, 2, me->close_timeout_ms)));
}

// __gc and __close, whose second argument is an error.
static int pool_end(lua_State *L)
{
    struct lua_pool *me = pool_check(L);
    if (pool_close_within(me, me->close_timeout_ms) == WEIR_EFORKED) {
        pool_finish(me);
    }
    return 0;
}

static void pool_metrics_take(struct lua_pool *me, struct weir_metrics *metrics)
{
    if (me->pool != NULL) {
        weir_pool_stats(me->pool, metrics);
    } else {
        *metrics = me->last;
    }
}

static int pool_stats(lua_State *L)
{
    struct weir_metrics metrics;
    pool_metrics_take(pool_check(L), &metrics);
    weir_lua_metrics_push(L, &metrics);
    return 1;
}

static int pool_metrics(lua_State *L)
{
    struct weir_metrics metrics;
    pool_metrics_take(pool_check(L), &metrics);
    size_t bytes = weir_metrics_text(&metrics, NULL, 0);
    char *text = lua_newuserdata(L, bytes + 1);
    (void)weir_metrics_text(&metrics, text, bytes + 1);
    lua_pushlstring(L, text, bytes);
    return 1;
}

static int pool_tostring(lua_State *L)
{
    struct lua_pool *me = pool_check(L);
    lua_pushfstring(L, "weir pool (%s): %p", me->pool != NULL ? "open" : "closed", (void *)me);
    return 1;
}

// ---- The module ----

struct function {
    const char *name;
    lua_CFunction call;
};

static const struct function pool_functions[] = {{"log", pool_log},         {"flush", pool_flush},
                                                 {"close", pool_close},     {"stats", pool_stats},
                                                 {"metrics", pool_metrics}, {NULL, NULL}};
static const struct function pool_events[] = {
    {"__gc", pool_end}, {"__close", pool_end}, {"__tostring", pool_tostring}, {NULL, NULL}};
static const struct function module_functions[] = {{"open", module_open}, {NULL, NULL}};

static void functions_set(lua_State *L, const struct function *function)
{
    for (; function->name != NULL; function++) {
        lua_pushcfunction(L, function->call);
        lua_setfield(L, -2, function->name);
    }
}

__attribute__((visibility("default"))) int luaopen_weir(lua_State *L);

int luaopen_weir(lua_State *L)
{
    if (strcmp(weir_version(), WEIR_VERSION) != 0) {
        return luaL_error(L, "the library is weir %s, and this module is for " WEIR_VERSION,
                          weir_version());
    }
    luaL_newmetatable(L, POOL_TYPE);
    functions_set(L, pool_events);
    lua_newtable(L);
    functions_set(L, pool_functions);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0); // what getmetatable shows: a pool's __gc is not for everybody to call
    lua_setfield(L, -2, "__metatable");
    lua_newtable(L);
    functions_set(L, module_functions);
    lua_pushstring(L, WEIR_VERSION);
    lua_setfield(L, -2, "version");
#define CODE_SET(name, value, text)                                                                \
    lua_pushinteger(L, name);                                                                      \
    lua_setfield(L, -2, &#name[sizeof("WEIR_") - 1]);
    WEIR_ERRORS(CODE_SET)
#undef CODE_SET
    return 1;
}
