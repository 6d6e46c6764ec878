-- That log() is compiled, without a trace that is given up: trace.lua MODULE ENDPOINT

local check = require "check"
local weir = require(arg[1])
local ffi = require "ffi"

local pool = assert(weir.open { endpoint = arg[2], close_timeout = 0, buffer_bytes_max = "64m" })
local line = ("x"):rep(200)
local buffer = ffi.new("char[?]", 200, line)
local view = ffi.cast("const char *", buffer)

local made, given_up, reasons = 0, 0, ""
local function watch(what, _, _, _, code)
    if what == "stop" then
        made = made + 1
    elseif what == "abort" then
        given_up = given_up + 1
        reasons = reasons .. " " .. tostring(code)
    end
end

-- Once as plain code, so that what follows is recorded from the first message on.
local function run(id, message, length, severity)
    jit.flush()
    made, given_up, reasons = 0, 0, ""
    jit.attach(watch, "trace")
    local taken = 0
    for _ = 1, 20000 do
        taken = taken + pool:log(id, message, length, severity)
    end
    jit.attach(watch)
    return taken
end

for _, case in ipairs {
    { "a string", 7, line },
    { "a string without an id", nil, line },
    { "a string with a severity", 7, line, nil, 3 },
    { "part of a string", 7, line, 200 },
    { "an array", 7, buffer, 200 },
    { "a pointer", 7, view, 200 },
} do
    check.is(case[1] .. ": bytes", run(case[2], case[3], case[4], case[5]), 20000 * 200)
    check.yes(case[1] .. ": compiled", made > 0)
    check.is(case[1] .. ": given up" .. reasons, given_up, 0)
end

-- A string built in the loop, the way a request's line is.
jit.flush()
made, given_up, reasons = 0, 0, ""
jit.attach(watch, "trace")
for i = 1, 20000 do
    pool:log(i, "request " .. i .. " " .. line)
end
jit.attach(watch)
check.yes("a line that is built: compiled", made > 0)
check.is("a line that is built: given up" .. reasons, given_up, 0)
check.is("all were taken", pool:stats().rejected_messages.full, 0)
check.finish()
