// A pool's metrics as a Lua table.
#include <stddef.h>

#include "ffi/lua/module.h"

#define LABEL(name, label) label,
#define MEMBER_LABEL(name, member, label) label,
static const char *const rejections[] = {WEIR_REJECTIONS(LABEL)};
static const char *const drops[] = {WEIR_DROPS(LABEL)};
static const char *const faults[] = {WEIR_FAULTS(LABEL)};
static const char *const time_limits[] = {WEIR_TIME_LIMITS(MEMBER_LABEL)};
static const char *const byte_limits[] = {WEIR_BYTE_LIMITS(MEMBER_LABEL)};

// X(member): one number each.
#define SINGLES(X)                                                                                 \
    X(offered_messages)                                                                            \
    X(accepted_messages)                                                                           \
    X(accepted_bytes)                                                                              \
    X(confirmed_messages)                                                                          \
    X(confirmed_bytes)                                                                             \
    X(held_messages)                                                                               \
    X(held_bytes)                                                                                  \
    X(resent_messages)                                                                             \
    X(resent_bytes)                                                                                \
    X(sends)                                                                                       \
    X(sent_bytes)                                                                                  \
    X(wakes)                                                                                       \
    X(connects)                                                                                    \
    X(disconnects)                                                                                 \
    X(epochs)                                                                                      \
    X(failovers)                                                                                   \
    X(failbacks)                                                                                   \
    X(received_bytes)                                                                              \
    X(writers)                                                                                     \
    X(writers_connected)                                                                           \
    X(memory_bytes)
// X(member, labels): a table of numbers each.
#define GROUPS(X)                                                                                  \
    X(rejected_messages, rejections)                                                               \
    X(dropped_messages, drops)                                                                     \
    X(dropped_bytes, drops)                                                                        \
    X(faults, faults)                                                                              \
    X(limits_ms, time_limits)                                                                      \
    X(limits_bytes, byte_limits)
#define HISTOGRAMS(X)                                                                              \
    X(buffer_await)                                                                                \
    X(message_processing)

// The lists are all there is: no member is missing.
#define SIZE(member, ...) +sizeof(((struct weir_metrics *)0)->member)
_Static_assert(sizeof(struct weir_metrics) == 0 SINGLES(SIZE) GROUPS(SIZE) HISTOGRAMS(SIZE),
               "every member of struct weir_metrics is listed");

static void number_push(lua_State *L, uint64_t number)
{
#if LUA_VERSION_NUM >= 503
    lua_pushinteger(L, (lua_Integer)number);
#else
    lua_pushnumber(L, (lua_Number)number);
#endif
}

static void number_set(lua_State *L, const char *name, uint64_t number)
{
    number_push(L, number);
    lua_setfield(L, -2, name);
}

static void group_set(lua_State *L, const char *name, const char *const *labels,
                      const uint64_t *numbers, size_t count)
{
    lua_createtable(L, 0, (int)count);
    for (size_t i = 0; i < count; i++) {
        number_set(L, labels[i], numbers[i]);
    }
    lua_setfield(L, -2, name);
}

static void histogram_set(lua_State *L, const char *name, const struct weir_histogram *histogram)
{
    lua_createtable(L, 0, 3);
    number_set(L, "count", histogram->count);
    number_set(L, "sum_ns", histogram->sum_ns);
    lua_createtable(L, WEIR_HISTOGRAM_BUCKETS, 0);
    for (int i = 0; i < WEIR_HISTOGRAM_BUCKETS; i++) {
        number_push(L, histogram->buckets[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "buckets");
    lua_setfield(L, -2, name);
}

void weir_lua_metrics_push(lua_State *L, const struct weir_metrics *metrics)
{
    luaL_checkstack(L, 6, "stats");
    lua_createtable(L, 0, 32);
#define SET_SINGLE(member) number_set(L, #member, metrics->member);
#define SET_GROUP(member, labels)                                                                  \
    group_set(L, #member, labels, metrics->member, sizeof(labels) / sizeof((labels)[0]));
#define SET_HISTOGRAM(member) histogram_set(L, #member, &metrics->member);
    SINGLES(SET_SINGLE)
    GROUPS(SET_GROUP)
    HISTOGRAMS(SET_HISTOGRAM)
    lua_pushboolean(L, weir_metrics_balanced(metrics));
    lua_setfield(L, -2, "balanced");
}
