-- Every function of `weir` and `weir_ffi`, with good arguments and bad ones: api.lua MODULE ENDPOINT

local check = require "check"
local weir = require(arg[1])
local endpoint, nowhere = arg[2], "unix:/nowhere/at/all"
local is, yes, like, raises, refused = check.is, check.yes, check.like, check.raises, check.refused

local function open(options)
    options.endpoint = options.endpoint or nowhere
    options.close_timeout = options.close_timeout or 0
    return assert(weir.open(options))
end
-- A call as a user writes it, since messages depend on that.
local function method(name, ...)
    local text = ("local pool, a, b, c, d = ... local got = pool:%s(a, b, c, d) return got"):format(name)
    local call = (loadstring or load)(text)
    local a, b, c, d = ...
    return function(pool)
        local got = call(pool, a, b, c, d)
        return got
    end
end

-- ---- The module ----

like("version", weir.version, "^%d+%.%d+%.%d+$")
is("EFULL", weir.EFULL, -10004)
is("EFORKED", weir.EFORKED, -10006)
is("a second require is the same", require(arg[1]), weir)
package.loaded[arg[1]] = nil
yes("it loads again in the same state", require(arg[1]).open)

-- ---- open ----

raises("open()", "table expected", weir.open)
raises("open(string)", "bad argument #1 to '.*' %(table expected, got string%)", weir.open, "unix:/x")
raises("open(number)", "table expected, got number", weir.open, 5)
for _, case in ipairs {
    { {}, "endpoint" },
    { { endpoint = "foo" }, "'foo' begins with no known scheme" },
    { { endpoint = "" }, "endpoint" },
    { { endpoint = "tcp://host:0" }, "port" },
    { { endpoint = "tcp://" .. ("x"):rep(100000) .. ":1" }, "100008 characters" },
    { { endpoint = "unix:/x\0y" }, "^endpoint: has a byte 0$" },
    { { endpoint = nowhere, app = "\0" }, "^app: has a byte 0$" },
    { { endpoint = nowhere, colour = "blue" }, "no option 'colour'" },
    { { endpoint = nowhere, ["endpoint\0"] = "x" }, "^endpoint: an option's name has no byte 0$" },
    { { endpoint = nowhere, flush_limits = 1 }, "no option 'flush_limits'; the nearest is flush_limit_bytes" },
    { { endpoint = nowhere, log = "x" }, "no option 'log'" },
    { { endpoint = nowhere, [""] = 1 }, "no option ''" },
    { { endpoint = nowhere, [1] = "x" }, "an option's name is a string, not a number" },
    { { endpoint = nowhere, [true] = "x" }, "an option's name is a string, not a boolean" },
    { { endpoint = {} }, "^endpoint: string, number or boolean expected, got table$" },
    { { endpoint = nowhere, pool_size = print }, "^pool_size: .* got function$" },
    { { endpoint = nowhere, pool_size = -1 }, "pool_size '%-1' is no number; write 1 to 64" },
    { { endpoint = nowhere, pool_size = 0 }, "pool_size 0 is out of range; write 1 to 64" },
    { { endpoint = nowhere, pool_size = 65 }, "pool_size 65 is out of range" },
    { { endpoint = nowhere, pool_size = 1.5 }, "pool_size '1.5' is no number" },
    { { endpoint = nowhere, pool_size = 1 / 0 }, "pool_size 'inf' is no number" },
    { { endpoint = nowhere, pool_size = 2 ^ 53 }, "pool_size 9007199254740992 is out of range" },
    { { endpoint = nowhere, pool_size = 1e300 }, "pool_size" },
    { { endpoint = nowhere, pool_size = "x" }, "pool_size 'x' is no number" },
    { { endpoint = nowhere, pool_size = ("9"):rep(1000000) }, "pool_size" },
    { { endpoint = nowhere, full = "maybe" }, "full 'maybe' is unknown; write drop%-newest" },
    { { endpoint = nowhere, full = true }, "full 'on' is unknown" },
    { { endpoint = nowhere, gap_records = 2 }, "gap_records '2' is unknown" },
    { { endpoint = nowhere, buffer_bytes_max = "8k" }, "buffer_bytes_max 8192 is too small" },
    { { endpoint = "udp://127.0.0.1:9", framing = "octet-counting" }, "octet%-counting is for streams" },
    { { endpoint = nowhere, app = ("x"):rep(1000), header = "rfc5424" }, "app" },
    { { endpoint = nowhere, close_timeout = -1 }, "^close_timeout: a number of seconds expected$" },
    { { endpoint = nowhere, close_timeout = 0 / 0 }, "^close_timeout: a number of seconds expected$" },
    { { endpoint = nowhere, close_timeout = "5" }, "^close_timeout: a number of seconds expected$" },
    -- the old names
    { { endpoint = nowhere, drop_limit = -1 }, "^drop_limit: message_bytes_max '%-1' is no size" },
    { { endpoint = nowhere, max_buffer_length = 1 }, "buffer_bytes_max" },
    { { endpoint = nowhere, periodic_flush_interval = 0 }, "^periodic_flush_interval: flush_interval_ms 0 is out" },
    { { endpoint = nowhere, connection_retry_interval = "soon" }, "^connection_retry_interval: retry_interval_ms" },
    { { endpoint = nowhere, flush_limit = 1, flush_limit_bytes = 1 },
        "^flush_limit and flush_limit_bytes are the same option$" },
    -- of several the first in the alphabet, in every run
    { { endpoint = 5, full = "maybe", framing = "odd", colour = "blue" }, "no option 'colour'" },
    { { endpoint = nowhere, full = "maybe", framing = "odd" }, "framing 'odd'" },
} do
    local pool, why, code = weir.open(case[1])
    refused("open: " .. tostring(why):sub(1, 60), case[2], weir.EOPTION, pool, why, code)
end

-- The first version's own figures, and every kind of value.
local first = open { pool_size = 4, drop_limit = 2 * 4096 + 1, flush_limit = 3 * 4096,
    max_buffer_length = 1024 * 4096, periodic_flush_interval = 3000, connection_retry_interval = 100 }
local stats = first:stats()
is("pool_size", stats.writers, 4)
is("periodic_flush_interval", stats.limits_ms.flush, 3000)
is("connection_retry_interval", stats.limits_ms.retry, 100)
yes("max_buffer_length", stats.memory_bytes > 3 * 1024 * 1024 and stats.memory_bytes < 5 * 1024 * 1024)
is("drop_limit: as large", first:log(1, ("x"):rep(2 * 4096)), 2 * 4096)
refused("drop_limit: larger", "larger than message_bytes_max", weir.ETOOBIG, first:log(1, ("x"):rep(2 * 4096 + 1)))
refused("close without time", "time limit", weir.ETIMEOUT, first:close(0))
is("what was held is dropped", first:stats().dropped_messages.deadline, 1)
local kinds = open { gap_records = true, header = "rfc5424", procid = 4711, severity = "warning", facility = 16,
    buffer_bytes_max = "8m", flush_limit_bytes = 65536.0 }
is("a number for a text", kinds:log(nil, "x"), 1)
kinds:close(0)
local options = setmetatable({ endpoint = nowhere, close_timeout = 0 }, { __index = error, __pairs = error })
yes("the options' metatable is not looked at", weir.open(options))

-- ---- log ----

local pool = open { message_bytes_max = 4096, flush_limit_bytes = 4096, buffer_bytes_max = 262144 }
is("log", pool:log(1, "four"), 4)
is("log without an id", pool:log(nil, "x"), 1)
is("log id 0", pool:log(0, "x"), 1)
is("log id 2^53", pool:log(2 ^ 53, "x"), 1)
is("log an empty message", pool:log(1, ""), 0)
is("log bytes 0", pool:log(1, "a\0b\0"), 4)
is("log newlines", pool:log(1, "a\nb\n"), 4)
is("log a part", pool:log(1, "abcdef", 3), 3)
is("log nothing of it", pool:log(1, "abcdef", 0), 0)
is("log a severity", pool:log(1, "abcdef", nil, 3), 6)
for _, case in ipairs {
    { "#1 to 'log' %(number expected, got string", "1", "x" },
    { "#1 to 'log' %(number expected, got table", {}, "x" },
    { "#1 to 'log' %(an id from 0 to 2%^53 expected", -1, "x" },
    { "#1 to 'log' %(an id", 1.5, "x" },
    { "#1 to 'log' %(an id", 2 ^ 53 + 2, "x" },
    { "#1 to 'log' %(an id", 1 / 0, "x" },
    { "#1 to 'log' %(an id", -1 / 0, "x" },
    { "#1 to 'log' %(an id", 0 / 0, "x" },
    { "#2 to 'log' %(string expected, got n", 1 },
    { "#2 to 'log' %(string expected, got number", 1, 5 },
    { "#2 to 'log' %(string expected, got boolean", 1, true },
    { "#2 to 'log' %(string expected, got table", 1, {} },
    { "#2 to 'log' %(string expected, got function", 1, print },
    { "#2 to 'log' %(string expected, got [uF]", 1, io.stdout },
    { "#3 to 'log' %(number expected, got string", 1, "x", "1" },
    { "#3 to 'log' %(a length that the message has", 1, "x", 2 },
    { "#3 to 'log' %(a length", 1, "x", -1 },
    { "#3 to 'log' %(a length", 1, "xyz", 0.5 },
    { "#3 to 'log' %(a length", 1, "xyz", 0 / 0 },
    { "#4 to 'log' %(a severity from 0 to 7", 1, "x", nil, 8 },
    { "#4 to 'log' %(a severity", 1, "x", nil, -1 },
    { "#4 to 'log' %(number expected, got string", 1, "x", nil, "err" },
} do
    raises("log: " .. case[1], case[1], method("log", case[2], case[3], case[4], case[5]), pool)
end
for _, name in ipairs { "log", "flush", "close", "stats", "metrics" } do
    raises(name .. " of nothing", "", pool[name])
    raises(name .. " of a table", "weir.pool expected, got table", pool[name], {}, 1, "x")
    raises(name .. " of a string", "weir.pool expected, got string", pool[name], "pool", 1, "x")
    raises(name .. " of a file", "", pool[name], io.stdout, 1, "x")
end
refused("a huge message", "larger than message_bytes_max", weir.ETOOBIG, pool:log(1, ("x"):rep(64 * 1024 * 1024)))
refused("a full buffer", "the buffer is full", weir.EFULL, (function()
    for _ = 1, 1e6 do
        local taken, text, code = pool:log(1, ("x"):rep(1000))
        if not taken then
            return taken, text, code
        end
    end
end)())
refused("flush, nobody there", "time limit", weir.ETIMEOUT, pool:flush(0))
stats = pool:stats()
yes("the books balance", stats.balanced)
is("rejected as too big", stats.rejected_messages.too_big, 1)
is("rejected as full", stats.rejected_messages.full, 1)
is("offered", stats.offered_messages, stats.accepted_messages + 2)
yes("faults are counted", (function() -- the first attempt to connect fails soon
    for _ = 1, 1e7 do
        if pool:stats().faults.connect > 0 then
            return true
        end
    end
end)())

local strict = open { delimiter = "refuse" }
refused("a delimiter", "delimiter", weir.EDELIMITER, strict:log(1, "a\nb"))
local counting = open { framing = "octet-counting" }
refused("nothing under octet counting", "errno 22", -22, counting:log(1, ""))
is("rejected as empty", counting:stats().rejected_messages.empty, 1)

-- ---- flush and close ----

for _, name in ipairs { "flush", "close" } do
    raises(name .. "(string)", "#1 to '" .. name .. "' %(number expected, got string", method(name, "1"), pool)
    raises(name .. "(-1)", "#1 to '" .. name .. "' %(seconds, 0 or more, expected", method(name, -1), pool)
    raises(name .. "(NaN)", "#1 to '" .. name .. "' %(seconds", method(name, 0 / 0), pool)
end
local live = open { endpoint = endpoint, close_timeout = 20 }
like("tostring", tostring(live), "^weir pool %(open%): ")
is("log to a collector", live:log(1, "api 1"), 5)
is("flush", live:flush(), true)
is("flush with a timeout", live:flush(20), true)
is("flush for ever", live:flush(1 / 0), true)
is("confirmed", live:stats().confirmed_messages, 1)
local text = live:metrics()
like("metrics", text, "\nweir_messages_confirmed_total 1\n")
like("metrics end with a line", text, "\n$")
is("close", live:close(), true)
refused("close again", "closed", weir.ECLOSED, live:close())
refused("close again, with a timeout", "closed", weir.ECLOSED, live:close(1))
refused("flush after close", "closed", weir.ECLOSED, live:flush())
refused("log after close", "closed", weir.ECLOSED, live:log(1, "x"))
raises("a bad log after close", "id from 0", method("log", -1, "x"), live)
like("tostring after close", tostring(live), "^weir pool %(closed%): ")
stats = live:stats()
is("stats after close", stats.confirmed_messages, 1)
is("rejected as closed", stats.rejected_messages.closed, 1)
yes("and they balance", stats.balanced)
like("metrics after close", live:metrics(), "weir_messages_confirmed_total 1\n")
is("the metatable is hidden", getmetatable(live), false)

-- ---- Coroutines; many pools; to-be-closed variables ----

local two = {
    open { endpoint = endpoint, close_timeout = 20 },
    open { endpoint = endpoint, pool_size = 2, close_timeout = 20 },
}
local talk = coroutine.wrap(function()
    for i = 2, 9 do
        coroutine.yield(two[i % 2 + 1]:log(i, "api " .. i))
    end
end)
for _ = 2, 9 do
    talk()
end
is("one of two", two[1]:close(), true)
is("the other of two", two[2]:close(), true)
is("both had half", two[1]:stats().confirmed_messages, two[2]:stats().confirmed_messages)
if _VERSION == "Lua 5.4" then
    local scoped = open { endpoint = endpoint, close_timeout = 20 }
    load("local pool <close> = ... pool:log(1, 'api 10')")(scoped)
    like("a to-be-closed variable", tostring(scoped), "closed")
    is("delivers", scoped:stats().confirmed_messages, 1)
else
    local last = open { endpoint = endpoint, close_timeout = 20 }
    last:log(1, "api 10")
end

-- Left to the collector of garbage, and the last one to the end of the Lua state.
local left = open { endpoint = endpoint, close_timeout = 20 }
left:log(1, "api 11")
left = nil
collectgarbage()
collectgarbage()
last_of_all = open { endpoint = endpoint, close_timeout = 20 }
last_of_all:log(1, "api 12")
check.finish()
