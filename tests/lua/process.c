// A Lua module for the tests: fork, wait, the process's number and its threads' signal masks.
#include <lauxlib.h>
#include <lua.h>
#include <sys/wait.h>
#include <unistd.h>

__attribute__((visibility("default"))) int luaopen_process(lua_State *L);

static int process_fork(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)fork());
    return 1;
}

// wait(child): its exit status, or 256 if a signal ended it.
static int process_wait(lua_State *L)
{
    int status = 0;
    pid_t child = (pid_t)luaL_checkinteger(L, 1);
    lua_pushinteger(
        L, waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : 256);
    return 1;
}

// Ends the process and nothing more; the other ways of Lua end its state, or do not, by version.
static int process_exit(lua_State *L)
{
    _exit((int)luaL_checkinteger(L, 1));
}

static int process_number(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)getpid());
    return 1;
}

int luaopen_process(lua_State *L)
{
    lua_newtable(L);
    lua_pushcfunction(L, process_fork);
    lua_setfield(L, -2, "fork");
    lua_pushcfunction(L, process_wait);
    lua_setfield(L, -2, "wait");
    lua_pushcfunction(L, process_exit);
    lua_setfield(L, -2, "exit");
    lua_pushcfunction(L, process_number);
    lua_setfield(L, -2, "number");
    return 1;
}
