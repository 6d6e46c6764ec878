-- The module `weir_ffi`: the interface of `weir`, over LuaJIT's FFI, so that log() is compiled.
--
-- Declarations come from weir_cdef.lua, which ffi/lua/cut_header makes out of the public headers;
-- they hold for the library of that version only, and another one is refused. There are no callbacks:
-- the library's threads never enter Lua. Wrong arguments are Lua errors; what goes wrong at run time
-- is nil, a text and weir's code.

local ffi = require "ffi"
local header = require "weir_cdef"

local error, type = error, type
local floor = math.floor

local CLOSE_TIMEOUT_MS = 5000
local WHY_BYTES = 512
local SECONDS_MAX = 1e9
local ID_MAX = 2 ^ 53
local SEVERITY_DEFAULT = header.severity_default
local ECLOSED, EFORKED = header.codes.WEIR_ECLOSED, header.codes.WEIR_EFORKED

-- The names that options had in the library's first version.
local ALIASES = {
    drop_limit = "message_bytes_max",
    flush_limit = "flush_limit_bytes",
    max_buffer_length = "buffer_bytes_max",
    periodic_flush_interval = "flush_interval_ms",
    connection_retry_interval = "retry_interval_ms",
}

-- ---- The library ----

-- A second load of this file in one Lua state finds the types declared.
if not pcall(ffi.sizeof, "struct weir_metrics") then
    ffi.cdef(header.cdef)
end

-- Beside the C modules, as `make lua` puts it, or where the system's loader looks.
local function library_load()
    local names, tried = { package.searchpath("libweir", package.cpath) or nil }, {}
    for _, name in ipairs(header.libraries) do
        names[#names + 1] = name
    end
    for _, name in ipairs(names) do
        local loaded, library = pcall(ffi.load, name)
        if loaded then
            return library, name
        end
        tried[#tried + 1] = tostring(library)
    end
    error("weir_ffi: the library cannot be loaded: " .. table.concat(tried, "; "), 0)
end

local weir, weir_path = library_load()

local function library_version()
    return ffi.string(weir.weir_version())
end

local known, version = pcall(library_version)
if not known then
    error("weir_ffi: " .. weir_path .. " is no weir, or one older than " .. header.version, 0)
elseif version ~= header.version then
    error(("weir_ffi: %s is weir %s, and this module is for %s"):format(weir_path, version, header.version), 0)
end

-- ---- Results and arguments ----

local function failure(code)
    local text = ffi.string(weir.weir_error_text(code))
    if code > -4096 then
        text = ("%s (errno %d)"):format(text, -code)
    end
    return nil, text, code
end

local function result(code)
    if code == 0 then
        return true
    end
    return failure(code)
end

-- These raise at level 3, which is whoever called the function that checks its arguments.
local function argument_error(index, name, what)
    error(("bad argument #%d to '%s' (%s)"):format(index, name, what), 3)
end

local function type_error(index, name, expected, value)
    error(("bad argument #%d to '%s' (%s expected, got %s)"):format(index, name, expected, type(value)), 3)
end

local function timeout_error(name, seconds)
    if type(seconds) ~= "number" then
        error(("bad argument #1 to '%s' (number expected, got %s)"):format(name, type(seconds)), 3)
    end
    error(("bad argument #1 to '%s' (seconds, 0 or more, expected)"):format(name), 3)
end

local function is_whole(number, max)
    return number >= 0 and number <= max and floor(number) == number
end

-- Seconds as milliseconds; nil: not a number from 0 on.
local function seconds_to_ms(seconds)
    if type(seconds) ~= "number" or not (seconds >= 0) then
        return nil
    end
    return math.ceil((seconds < SECONDS_MAX and seconds or SECONDS_MAX) * 1000)
end

-- ---- Options ----

local function value_to_text(name, value)
    local kind = type(value)
    if kind == "string" then
        if value:find("\0", 1, true) then
            return nil, name .. ": has a byte 0"
        end
        return value
    elseif kind == "number" then
        return ("%.17g"):format(value)
    elseif kind == "boolean" then
        return value and "on" or "off"
    end
    return nil, ("%s: string, number or boolean expected, got %s"):format(name, kind)
end

local function option_set(options, given, name, value, why)
    local meaning = ALIASES[name]
    if meaning ~= nil and rawget(given, meaning) ~= nil then
        return nil, ("%s and %s are the same option"):format(name, meaning)
    end
    local text, refusal = value_to_text(name, value)
    if text == nil then
        return nil, refusal
    end
    if weir.weir_pool_options_set(options, meaning or name, text, why, WHY_BYTES) ~= 0 then
        return nil, (meaning and name .. ": " or "") .. ffi.string(why)
    end
    return text
end

-- In alphabetical order: a table's own changes from run to run, and with it what would be refused.
local function option_names(given)
    local names = {}
    for name in next, given do
        if type(name) ~= "string" then
            return nil, ("an option's name is a string, not a %s"):format(type(name))
        end
        names[#names + 1] = name
    end
    table.sort(names)
    return names
end

-- Fills `options`.      returns  the texts, which must live until they have been used, and the close
--                       timeout; or nil and a message.
local function options_read(options, given, why)
    local texts, close_timeout_ms = {}, CLOSE_TIMEOUT_MS
    local names, refusal = option_names(given)
    for _, name in ipairs(names or {}) do
        local value = rawget(given, name)
        if name:find("\0", 1, true) then
            return nil, name:match "^%Z*" .. ": an option's name has no byte 0"
        elseif name == "close_timeout" then
            close_timeout_ms = seconds_to_ms(value)
            if close_timeout_ms == nil then
                return nil, "close_timeout: a number of seconds expected"
            end
        else
            texts[name], refusal = option_set(options, given, name, value, why)
            if refusal ~= nil then
                return nil, refusal
            end
        end
    end
    return names and texts, names and close_timeout_ms or refusal
end

-- ---- The runtime ----

-- One for all pools of this Lua state: from the first pool to the last. A forked child gets its own.
local runtime_current

-- returns  a runtime without pools, which is nobody's yet; or nil and a code.
local function runtime_create()
    local out = ffi.new "struct weir_runtime *[1]"
    local code = weir.weir_runtime_create(out, ffi.new("struct weir_runtime_options", { workers = 1 }))
    if code < 0 then
        return nil, code
    end
    return { handle = out[0], pools_count = 0 }
end

-- Whatever allocates may run the collector of garbage, which may close the last pool of a runtime and
-- end it. So one that is found is counted at once, with nothing in between.
local function runtime_hold()
    local runtime, code = runtime_current, nil
    if runtime == nil then
        runtime, code = runtime_create()
        if runtime == nil then
            return nil, code
        end
        runtime_current = runtime
    end
    runtime.pools_count = runtime.pools_count + 1
    return runtime
end

local function runtime_release(runtime)
    runtime.pools_count = runtime.pools_count - 1
    if runtime.pools_count == 0 then
        if runtime == runtime_current then
            runtime_current = nil
        end
        weir.weir_runtime_destroy(runtime.handle)
    end
end

-- returns  a handle and its runtime; or nil and a code.
local function handle_open(options, why)
    local out = ffi.new "struct weir_pool *[1]"
    local runtime, code = runtime_hold()
    if runtime == nil then
        return nil, code
    end
    code = weir.weir_pool_open(out, runtime.handle, options, why, WHY_BYTES)
    if code == 0 then
        return out[0], runtime
    end
    if code == EFORKED then
        runtime_current = nil -- the parent's; the last of its pools frees it
    end
    runtime_release(runtime)
    if code == EFORKED then
        return handle_open(options, why)
    end
    return nil, code
end

-- ---- Pools ----

-- A pool is a table: `handle`, nil once closed; `runtime`; `close_timeout_ms`; `last`, the metrics of a
-- closed one.
local pool_functions = {}
local pool_type = { __index = pool_functions, __metatable = false }
local pools = setmetatable({}, { __mode = "k" }) -- what open() made

local function pool_check(self, name)
    if pools[self] == nil then
        error(("calling '%s' on bad self (weir.pool expected, got %s)"):format(name, type(self)), 3)
    end
end

local function closed_log(self)
    local last = self.last
    local reason = weir.WEIR_REJECTED_CLOSED
    last.offered_messages = last.offered_messages + 1
    last.rejected_messages[reason] = last.rejected_messages[reason] + 1
    return failure(ECLOSED)
end

-- Filled for each call, which never yields: a trace then allocates nothing.
local message_part = ffi.new "struct weir_iovec[1]"
local message_how = ffi.new "struct weir_log_options[1]"

-- pool:log(id, message [, length [, severity]])
function pool_functions.log(self, id, message, length, severity)
    local size = ID_MAX
    if id == nil then
        id = 0
    elseif type(id) ~= "number" then
        type_error(1, "log", "number", id)
    elseif not is_whole(id, ID_MAX) then
        argument_error(1, "log", "an id from 0 to 2^53 expected")
    end
    if type(message) == "string" then
        size = #message
        length = length == nil and size or length
    elseif type(message) ~= "cdata" then
        type_error(2, "log", "string", message)
    end
    if type(length) ~= "number" then
        type_error(3, "log", "number", length)
    elseif not is_whole(length, size) then
        argument_error(3, "log", "a length that the message has expected")
    elseif message == nil and length > 0 then
        argument_error(2, "log", "a NULL pointer has no bytes")
    end
    if severity == nil then
        severity = SEVERITY_DEFAULT
    elseif type(severity) ~= "number" then
        type_error(4, "log", "number", severity)
    elseif not is_whole(severity, 7) then
        argument_error(4, "log", "a severity from 0 to 7 expected")
    end
    local handle = self.handle
    if handle == nil then
        pool_check(self, "log")
        return closed_log(self)
    end
    message_part[0].bytes = message
    message_part[0].bytes_count = length
    message_how[0].key = id
    message_how[0].severity = severity
    local code = weir.weir_logv(handle, message_how, message_part, 1)
    if code == 0 then
        return length
    end
    return failure(code)
end

function pool_functions.flush(self, seconds)
    pool_check(self, "flush")
    local timeout_ms = self.close_timeout_ms
    if seconds ~= nil then
        timeout_ms = seconds_to_ms(seconds)
    end
    if timeout_ms == nil then
        timeout_error("flush", seconds)
    end
    if self.handle == nil then
        return failure(ECLOSED)
    end
    return result(weir.weir_pool_flush(self.handle, timeout_ms))
end

local function handle_end(self, handle)
    weir.weir_pool_stats(handle, self.last)
    weir.weir_pool_destroy(handle)
    runtime_release(self.runtime)
end

function pool_functions.close(self, seconds)
    pool_check(self, "close")
    local timeout_ms = self.close_timeout_ms
    if seconds ~= nil then
        timeout_ms = seconds_to_ms(seconds)
    end
    if timeout_ms == nil then
        timeout_error("close", seconds)
    end
    local handle = self.handle
    if handle == nil then
        return failure(ECLOSED)
    end
    local code = weir.weir_pool_close(handle, timeout_ms)
    if code ~= EFORKED then -- another process's pool is left, and says so again
        self.handle = nil
        ffi.gc(handle, nil)
        handle_end(self, handle)
    end
    return result(code)
end

-- A snapshot: the pool's, or the last one of a closed pool.
local function metrics_take(self)
    if self.handle == nil then
        return self.last
    end
    local metrics = ffi.new "struct weir_metrics"
    weir.weir_pool_stats(self.handle, metrics)
    return metrics
end

local function group_read(numbers, labels)
    local group = {}
    for index, label in ipairs(labels) do
        group[label] = tonumber(numbers[index - 1])
    end
    return group
end

local function histogram_read(histogram)
    local buckets = {}
    for index = 1, ffi.sizeof(histogram.buckets) / 8 do
        buckets[index] = tonumber(histogram.buckets[index - 1])
    end
    return { count = tonumber(histogram.count), sum_ns = tonumber(histogram.sum_ns), buckets = buckets }
end

function pool_functions.stats(self)
    pool_check(self, "stats")
    local metrics = metrics_take(self)
    local stats = { balanced = weir.weir_metrics_balanced(metrics) }
    for _, member in ipairs(header.members) do
        local name, kind = member[1], member[2]
        if kind == nil then
            stats[name] = tonumber(metrics[name])
        elseif kind == "histogram" then
            stats[name] = histogram_read(metrics[name])
        else
            stats[name] = group_read(metrics[name], header.labels[kind])
        end
    end
    return stats
end

-- The same as Prometheus text.
function pool_functions.metrics(self)
    pool_check(self, "metrics")
    local metrics = metrics_take(self)
    local bytes = tonumber(weir.weir_metrics_text(metrics, nil, 0))
    local text = ffi.new("char[?]", bytes + 1)
    weir.weir_metrics_text(metrics, text, bytes + 1)
    return ffi.string(text, bytes)
end

function pool_type.__tostring(self)
    return ("weir pool (%s): %s"):format(self.handle ~= nil and "open" or "closed", tostring(self.last):match "0x%x+")
end

-- ---- The module ----

local module = { version = header.version }
for name, code in pairs(header.codes) do
    module[name:match "^WEIR_(.*)"] = code
end

function module.open(given)
    if type(given) ~= "table" then
        type_error(1, "open", "table", given)
    end
    local options, why = ffi.new "struct weir_pool_options", ffi.new("char[?]", WHY_BYTES)
    weir.weir_pool_options_init(options)
    local texts, close_timeout_ms = options_read(options, given, why)
    if texts == nil then
        return nil, close_timeout_ms, header.codes.WEIR_EOPTION
    end
    why[0] = 0
    local handle, runtime = handle_open(options, why)
    if handle == nil then
        local code = runtime
        if why[0] ~= 0 then
            return nil, ffi.string(why), code
        end
        return failure(code)
    end
    local self = {
        runtime = runtime,
        close_timeout_ms = close_timeout_ms,
        last = ffi.new "struct weir_metrics",
    }
    -- Runs when the pool is collected, and when the Lua state ends. It may not hold the pool itself.
    local rest = { runtime = runtime, last = self.last }
    self.handle = ffi.gc(handle, function(left)
        weir.weir_pool_close(left, close_timeout_ms)
        handle_end(rest, left)
    end)
    pools[self] = true
    return setmetatable(self, pool_type)
end

return module
