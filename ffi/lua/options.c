// A Lua table as the options of a pool.
//
// Names and values go to weir_pool_options_set as text, so that what it takes, and what it says of
// what it does not take, is the same here as in C.
#include <stdio.h>
#include <string.h>

#include "ffi/lua/module.h"

#define SECONDS_MAX 1e9

// The names that options had in the library's first version.
static const struct option_alias {
    const char *name;
    const char *meaning;
} option_aliases[] = {
    {"drop_limit", "message_bytes_max"},
    {"flush_limit", "flush_limit_bytes"},
    {"max_buffer_length", "buffer_bytes_max"},
    {"periodic_flush_interval", "flush_interval_ms"},
    {"connection_retry_interval", "retry_interval_ms"},
};

bool weir_lua_seconds(double seconds, uint64_t *milliseconds)
{
    if (!(seconds >= 0)) { // a NaN is refused, too
        return false;
    }
    double exact = (seconds < SECONDS_MAX ? seconds : SECONDS_MAX) * 1000;
    *milliseconds = (uint64_t)exact;
    *milliseconds += (double)*milliseconds < exact; // rounded up: a little is not nothing
    return true;
}

static const char *alias_meaning(const char *name)
{
    for (size_t i = 0; i < sizeof(option_aliases) / sizeof(option_aliases[0]); i++) {
        if (strcmp(option_aliases[i].name, name) == 0) {
            return option_aliases[i].meaning;
        }
    }
    return NULL;
}

static bool refuse(lua_State *L, const char *name, const char *reason)
{
    lua_pushfstring(L, "%s: %s", name, reason);
    return false;
}

// The value on top as text, put in its place.   returns  false: a message is pushed.
static bool value_to_text(lua_State *L, const char *name)
{
    char number[32];
    size_t bytes;
    switch (lua_type(L, -1)) {
    case LUA_TSTRING:
        if (strlen(lua_tolstring(L, -1, &bytes)) != bytes) {
            return refuse(L, name, "has a byte 0");
        }
        return true;
    case LUA_TBOOLEAN: lua_pushstring(L, lua_toboolean(L, -1) ? "on" : "off"); break;
    case LUA_TNUMBER:
        (void)snprintf(number, sizeof(number), "%.17g", (double)lua_tonumber(L, -1));
        lua_pushstring(L, number);
        break;
    default:
        lua_pushfstring(L, "%s: string, number or boolean expected, got %s", name,
                        luaL_typename(L, -1));
        return false;
    }
    lua_replace(L, -2);
    return true;
}

static bool close_timeout_set(lua_State *L, uint64_t *close_timeout_ms)
{
    if (lua_type(L, -1) != LUA_TNUMBER ||
        !weir_lua_seconds((double)lua_tonumber(L, -1), close_timeout_ms)) {
        return refuse(L, "close_timeout", "a number of seconds expected");
    }
    return true;
}

// Sets the option `name` to the text on top.
static bool option_set(lua_State *L, int table, struct weir_pool_options *options, const char *name)
{
    char why[WEIR_LUA_WHY_BYTES];
    const char *meaning = alias_meaning(name);
    if (meaning != NULL) {
        lua_pushstring(L, meaning);
        lua_rawget(L, table);
        bool twice = !lua_isnil(L, -1);
        lua_pop(L, 1);
        if (twice) {
            lua_pushfstring(L, "%s and %s are the same option", name, meaning);
            return false;
        }
    }
    if (weir_pool_options_set(options, meaning != NULL ? meaning : name, lua_tostring(L, -1), why,
                              sizeof(why)) == 0) {
        return true;
    }
    return meaning != NULL ? refuse(L, name, why) : (lua_pushstring(L, why), false);
}

// The option on top, whose name is below it.
static bool pair_read(lua_State *L, int table, struct weir_pool_options *options,
                      uint64_t *close_timeout_ms)
{
    size_t bytes;
    const char *name = lua_tolstring(L, -2, &bytes);
    if (strlen(name) != bytes) {
        return refuse(L, name, "an option's name has no byte 0");
    }
    if (strcmp(name, "close_timeout") == 0) {
        return close_timeout_set(L, close_timeout_ms);
    }
    return value_to_text(L, name) && option_set(L, table, options, name);
}

static bool is_less(lua_State *L, int left, int right)
{
#if LUA_VERSION_NUM >= 502
    return lua_compare(L, left, right, LUA_OPLT) != 0;
#else
    return lua_lessthan(L, left, right) != 0;
#endif
}

// Puts the first name after the one on top, in alphabetical order, in its place; nil is before all,
// and after them. A table's own order changes from run to run, and with it what would be refused.
//   returns  false: a message is pushed, since there is a name that is no string.
static bool name_next(lua_State *L, int table)
{
    int last = lua_gettop(L);
    int best = last + 1;
    lua_pushnil(L);
    lua_pushnil(L);
    while (lua_next(L, table) != 0) {
        int name = best + 1;
        lua_pop(L, 1);
        if (lua_type(L, name) != LUA_TSTRING) {
            lua_pushfstring(L, "an option's name is a string, not a %s", luaL_typename(L, name));
            return false;
        }
        if ((lua_isnil(L, last) || is_less(L, last, name)) &&
            (lua_isnil(L, best) || is_less(L, name, best))) {
            lua_pushvalue(L, name);
            lua_replace(L, best);
        }
    }
    lua_replace(L, last);
    return true;
}

bool weir_lua_options_read(lua_State *L, int table, struct weir_pool_options *options,
                           uint64_t *close_timeout_ms)
{
    luaL_checkstack(L, 10, "options");
    lua_newtable(L); // keeps the texts that were made of numbers
    int texts = lua_gettop(L);
    lua_pushnil(L);
    while (name_next(L, table)) {
        if (lua_isnil(L, -1)) {
            return true;
        }
        lua_pushvalue(L, -1);
        lua_pushvalue(L, -1);
        lua_rawget(L, table);
        if (!pair_read(L, table, options, close_timeout_ms)) {
            return false;
        }
        lua_rawset(L, texts);
    }
    return false;
}
