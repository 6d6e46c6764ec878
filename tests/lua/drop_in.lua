-- resty.logger.socket against a stub of nginx, with each engine: drop_in.lua MODULE ENDPOINT
--
-- What it says and returns is what lua-resty-logger-socket and its forks say and return.

local check = require "check"
local stub = require "stub"
local is, yes, like = check.is, check.yes, check.like
if arg[1] == "weir" then
    package.preload.weir_ffi = function() error("not here", 0) end
end
local path = arg[2]:match "^unix:(.*)"
local socket = require "resty.logger.socket"
local nowhere = { path = "/nowhere/at/all" }

local function pair(what, first, second, got_first, got_second)
    is(what .. ": first", got_first, first)
    is(what .. ": second", got_second, second)
end
local function with(options, more)
    local all = {}
    for name, value in pairs(options) do
        all[name] = value
    end
    for name, value in pairs(more) do
        all[name] = value
    end
    return all
end

-- ---- Before init ----

is("_VERSION", socket._VERSION, "0.03")
pair("log before init", nil, "not initialized", socket.log("x"))
is("initted before init", socket.initted() or false, false)
is("flush before init", socket.flush(), true)
pair("stats before init", nil, "not initialized", socket.stats())

-- ---- Wrong options: the texts ----

local right = with(nowhere, {})
for _, case in ipairs {
    { nil, "user_config must be a table" },
    { "x", "user_config must be a table" },
    { {}, 'no logging server configured. "host"/"port" or "path" is required.' },
    { { host = "x" }, 'no logging server configured. "host"/"port" or "path" is required.' },
    { { host = 5 }, '"host" must be a string' },
    { { port = "514" }, '"port" must be a number' },
    { { host = "x", port = -1 }, '"port" out of range 0~65535' },
    { { host = "x", port = 65536 }, '"port" out of range 0~65535' },
    { { path = 5 }, '"path" must be a string' },
    { with(right, { sock_type = 5 }), '"sock_type" must be a string' },
    { with(right, { sock_type = "sctp" }), '"sock_type" must be "tcp" or "udp"' },
    { with(right, { flush_limit = -1 }), 'invalid "flush_limit"' },
    { with(right, { flush_limit = "4k" }), 'invalid "flush_limit"' },
    { with(right, { drop_limit = -1 }), 'invalid "drop_limit"' },
    { with(right, { timeout = -1 }), 'invalid "timeout"' },
    { with(right, { max_retry_times = -1 }), 'invalid "max_retry_times"' },
    { with(right, { retry_interval = "x" }), 'invalid "retry_interval"' },
    { with(right, { pool_size = -1 }), 'invalid "pool_size"' },
    { with(right, { max_buffer_reuse = {} }), 'invalid "max_buffer_reuse"' },
    { with(right, { periodic_flush = -1 }), 'invalid "periodic_flush"' },
    { with(right, { ssl = 1 }), '"ssl" must be a boolean value' },
    { with(right, { ssl_verify = "no" }), '"ssl_verify" must be a boolean value' },
    { with(right, { sni_host = 5 }), '"sni_host" must be a string' },
    { with(right, { flush_limit = 100, drop_limit = 100 }), '"flush_limit" should be < "drop_limit"' },
    { with(right, { flush_limit = 2 ^ 20 }), '"flush_limit" should be < "drop_limit"' },
    -- weir's own
    { with(right, { ssl = true }), '"ssl" is not supported: weir has no TLS' },
    { with(right, { weir = 5 }), '"weir" must be a table' },
    { with(right, { weir = { endpoint = 5 } }), '"weir.endpoint" must be a string' },
} do
    pair("init: " .. case[2], nil, case[2], socket.init(case[1]))
    if type(case[1]) == "table" then
        pair("new: " .. case[2], nil, case[2], socket:new(case[1]))
    end
end
for _, case in ipairs {
    { { path = "/x\0y" }, "^endpoint: has a byte 0" },
    { { path = "" }, "endpoint" },
    { { path = "relative" }, "endpoint" },
    { { host = "a b", port = 514 }, "endpoint" },
    { { host = "x", port = 80.5 }, "endpoint" },
    { { host = "x", port = 0 }, "endpoint" },
    { with(right, { weir = { colour = "blue" } }), "no option 'colour'" },
    { with(right, { drop_limit = 1 / 0 }), "buffer_bytes_max" },
} do
    local got, err = socket.init(case[1])
    is("init is refused: " .. tostring(err), got, nil)
    like("with a text", err, case[2])
    pair("log after that", nil, "not initialized", socket.log("x"))
end

-- ---- The results of log ----

is("init", socket.init {
    path = "/nowhere/at/all", drop_limit = 100, flush_limit = 10, max_retry_times = 1e9, foo = 1, tls = true,
}, true)
is("initted", socket.initted(), true)
is("an unknown option is told", stub.taken 'warn.*no option "foo"; it is ignored', 1)
is("so is tls", stub.taken 'error.*no option "tls": messages are sent without encryption', 1)
is("and in the statistics", table.concat(socket.stats().unknown_options, " "), "foo tls")
pair("log below flush_limit", 5, nil, socket.log "12345")
pair("log a number", 3, nil, socket.log(123))
pair("log a boolean", 4, nil, socket.log(true))
pair("log nil", 3, nil, socket.log(nil))
pair("log above flush_limit", 50, nil, socket.log(("x"):rep(50)))
pair("log over drop_limit", 0, nil, socket.log(("x"):rep(36)))
pair("log what just fits", 35, nil, socket.log(("x"):rep(35)))
pair("log one byte too many", 0, nil, socket.log "x")
pair("log nothing", 0, nil, socket.log "")
is("drops are counted", socket.stats().limit_messages, 2)
is("with their bytes", socket.stats().limit_bytes, 37)
is("the rest is held", socket.stats().held_bytes, 100)
stub.time = stub.time + 1.5
pair("log, a second later", 0, nil, socket.log "x")
is("drops are told",
    stub.taken "warn.*2 messages to unix:/nowhere/at/all were dropped; 2 so far, 2 of them over drop_limit", 1)
is("once", stub.taken "dropped", 1)
stub.leaving = true
pair("log in a worker that ends", 0, nil, socket.log "")
stub.leaving = false
is("close in no time", socket.close(0), nil)
pair("log after close", nil, "not initialized", socket.log("x"))

-- Failures: told in the error log when they begin, and by log once they exceed max_retry_times.
stub.lines = {}
local failing = assert(socket:new(with(nowhere, { retry_interval = 1, max_retry_times = 2, timeout = 50 })))
failing:log "x"
local bytes, err
for _ = 1, 1000 do
    stub.time = stub.time + 1
    bytes, err = failing:log "y"
    if err then
        break
    end
    ngx.sleep(0.002)
end
pair("log tells of failures", 1, "try to send log messages to the log server failed after 2 retries: " ..
    "try to connect to the log server failed after 2 retries: connect", bytes, err)
pair("once", 1, nil, failing:log "z")
is("the error log tells, once",
    stub.taken "error weir: messages do not reach unix:/nowhere/at/all: connect; %d+ messages", 1)
stub.phase = "log"
is("flush where nothing may wait", failing:flush(), true)
stub.phase = "timer"
local flushed
flushed, err = failing:flush()
is("flush, nobody there: first", flushed, nil)
like("flush, nobody there: second", err, "^try to send log messages to the log server failed after 2 retries: connect$")
yes("it slept", stub.sleeps > 10)
failing:close(0)

-- ---- Delivery ----

stub.phase, stub.lines = "content", {}
local good = assert(socket.new(socket, { path = path, flush_limit = 1 }))
is("new is the module's, too", socket.initted(), true)
is("log", good:log "drop-in 1\n", 10)
is("through the module", socket.log "drop-in 2\n", 10)
flushed = good:flush()
yes("flush gives bytes, or true", flushed == true or flushed == 20)
is("confirmed", good:stats().confirmed_messages, 2)
is("flush of nothing", good:flush(), true)
good:log "drop-in 3\n"
is("flush as api7's users call it", type(good.flush(good, good)) ~= "nil", true)
good:log "drop-in 4\n"
yes("flush as a timer calls it", good.flush(false, good))
is("all are confirmed", good:stats().confirmed_messages, 4)
is("room comes back", good:stats().held_bytes, 0)
-- More than drop_limit altogether: what was confirmed makes room.
local small = assert(socket:new { path = path, drop_limit = 64, flush_limit = 1 })
local taken = 0
for i = 1, 20 do
    local line = ("drop-in small %02d ..............................\n"):format(i)
    for _ = 1, 1000 do
        local got = small:log(line)
        if got > 0 then
            taken = taken + got
            break
        end
        ngx.sleep(0.002)
    end
end
is("room comes back, again and again", taken, 20 * 48)
is("close", small:close(20), true)
is("close again", small:close(), true)
-- As large as drop_limit, in one message and in many small ones within one turn.
local whole = assert(socket:new { path = path, drop_limit = 300000, flush_limit = 4096 })
is("one message of drop_limit", whole:log("drop-in whole " .. ("x"):rep(300000 - 15) .. "\n"), 300000)
whole:flush()
stub.time = stub.time + 0.001
local count = 0
while whole:log "drop-in many\n" == 13 do
    count = count + 1
end
is("drop_limit of small ones", count, math.floor(300000 / 13))
is("delivered", whole:close(20), true)
is("none was lost", whole.limit_messages, 1)

-- A second init goes on with the new options, and leaves alone what new made.
is("init", socket.init { path = path }, true)
socket.log "drop-in 5\n"
is("init again", socket.init { path = path, flush_limit = 1 }, true)
socket.log "drop-in 6\n"
local accepted = socket.stats().accepted_messages
is("init with the same", socket.init { flush_limit = 1, path = path }, true)
is("goes on", socket.stats().accepted_messages, accepted)
is("init with others", socket.init { path = path, timeout = 2000 }, true)
is("begins anew", socket.stats().accepted_messages, 0)
is("close of the module's", socket.close(20), true)
is("new's is as it was", good:stats().confirmed_messages, 4)
is("and goes on", good:log "drop-in last\n", 13)
is("until it is closed", good:close(20), true)

-- ---- Phases ----

stub.phase = "init"
is("init in the master", socket.init { path = path }, true)
is("initted in the master", socket.initted(), true)
pair("log in the master", 0, "weir: nothing is sent before the workers run", socket.log "never\n")
is("flush in the master", socket.flush(), true)
is("it is counted", socket.stats().early_messages, 1)
stub.phase = "init_worker"
pair("log in init_worker", 10, nil, socket.log "drop-in 7\n")
is("flush in init_worker", socket.flush(), true)
stub.phase = "log"
pair("log in log", 10, nil, socket.log "drop-in 8\n")
stub.phase = "exit_worker"
is("close in exit_worker", socket.close(20), true)

-- ---- What it becomes ----

stub.phase = "content"
for _, case in ipairs {
    { { host = "127.0.0.1", port = 9 }, "tcp://127.0.0.1:9" },
    { { host = "::1", port = 9 }, "tcp://[::1]:9" },
    { { host = "[::1]", port = 9 }, "tcp://[::1]:9" },
    { { host = "localhost", port = 9, path = "/x" }, "tcp://localhost:9" },
    { { host = "localhost", port = 9, sock_type = "udp" }, "udp://localhost:9" },
    { { path = "/x", sock_type = "udp" }, "unix-dgram:/x" },
    { { host = "localhost", path = "/x" }, "unix:/x" },
    { { weir = { endpoint = "relp://localhost:9" } }, "relp://localhost:9" },
} do
    local made = assert(socket:new(with(case[1], { drop_limit = 10000, periodic_flush = 1 })))
    is("endpoint " .. case[2], made.given.endpoint, case[2])
    made:close(0)
end
local limits = assert(socket:new {
    path = "/nowhere/at/all", timeout = 7000, retry_interval = 50, weir = { keepalive_ms = 4000 },
})
is("timeout", limits:stats().limits_ms.connect, 7000)
is("retry_interval", limits:stats().limits_ms.retry, 50)
is("a C option", limits:stats().limits_ms.keepalive, 4000)
yes("memory of the defaults", limits:stats().memory_bytes < 24 * 1048576)
limits:close(0)
local large = assert(socket:new(with(nowhere, { drop_limit = 64 * 1048576 })))
yes("memory of a large drop_limit", large:stats().memory_bytes < 5 * 64 * 1048576)
large:close(0)

-- The last one is left to the end of the Lua state.
socket.init { path = path }
socket.log "drop-in 9\n"
check.finish()
