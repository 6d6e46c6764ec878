-- The interface of lua-resty-logger-socket, over weir: a drop-in for it and for its forks.
--
-- Same functions, option names, defaults, results and error texts. What it did silently is counted,
-- told in nginx's error log at most once a second, and shown by stats(): messages over drop_limit,
-- connections that fail, options that do not exist. It needs no cosocket and no timer, so log() works
-- in every phase. Nothing is opened before the workers are forked.

local socket_options = require "resty.logger.socket_options"

local ngx = ngx
local ngx_log, ngx_now, exiting = ngx.log, ngx.now, ngx.worker.exiting
local WARN, ERR, NOTICE = ngx.WARN, ngx.ERR, ngx.NOTICE
local type, tostring = type, tostring

local REPORT_INTERVAL, REMIND_INTERVAL = 1, 60
local FLUSH_LOOK_INTERVAL = 0.005
local SEND_FAILED = "try to send log messages to the log server failed after %d retries: %s"
local CONNECT_FAILED = "try to connect to the log server failed after %d retries: %s"

-- Where ngx.sleep may be called.
local CAN_SLEEP = {
    rewrite = true, server_rewrite = true, access = true, content = true, timer = true, preread = true,
    ssl_cert = true, ssl_session_fetch = true, ssl_client_hello = true,
}

local function weir_load()
    local loaded, ffi_module = pcall(require, "weir_ffi")
    if loaded then
        return ffi_module
    end
    local c_loaded, c_module = pcall(require, "weir")
    if c_loaded then
        return c_module
    end
    error("resty.logger.socket: neither weir_ffi nor weir can be loaded: " .. tostring(ffi_module) ..
        "; " .. tostring(c_module), 0)
end

local weir = weir_load()

-- ---- Loggers ----

local logger = {} -- a logger's methods

-- returns  true; or nil, error.
local function pool_open(self)
    local pool, err = weir.open(self.given)
    if pool == nil then
        return nil, err
    end
    self.pool = pool
    self.reported_at = ngx_now()
    self.buffered, self.looked_at, self.turn, self.turn_bytes = 0, 0, self.reported_at, 0
    self.told = { faults = 0, losses = 0, confirmed = 0, failing = false, failing_at = 0 }
    return true
end

local function unknown_report(unknown)
    for _, name in ipairs(unknown) do
        if name == "tls" then
            ngx_log(ERR, 'weir: resty.logger.socket has no option "tls": messages are sent without encryption')
        else
            ngx_log(WARN, 'weir: resty.logger.socket has no option "', name, '"; it is ignored')
        end
    end
end

function logger.init(self, user_config)
    local options, unknown = socket_options.check(user_config)
    if options == nil then
        return nil, unknown
    end
    unknown_report(unknown)
    local given = socket_options.translate(options)
    if self.pool and socket_options.is_same(self.given, given) then
        self.options, self.unknown = options, unknown
        return true
    end
    self:close()
    self.options, self.unknown, self.given = options, unknown, given
    self.limit_messages, self.limit_bytes, self.early_messages = 0, 0, 0
    self.last_error = nil
    -- In the master only the configuration is made: its threads would not live on in the workers.
    if ngx.get_phase() ~= "init" then
        local opened, err = pool_open(self)
        if not opened then
            return nil, err
        end
    end
    self.logger_initted = true
    return true
end

function logger.initted(self)
    return self.logger_initted
end

local function sum(counts)
    local total = 0
    for _, count in pairs(counts) do
        total = total + count
    end
    return total
end

-- The label whose count is highest.
local function most(counts)
    local label
    for name, count in pairs(counts) do
        if count > 0 and (label == nil or count > counts[label] or (count == counts[label] and name < label)) then
            label = name
        end
    end
    return label
end

local function since(counts, before)
    local difference = {}
    for name, count in pairs(counts) do
        difference[name] = count - (before and before[name] or 0)
    end
    return difference
end

-- What is behind after so many tries is what log() tells once, as it always did.
local function failure_note(self, told, stats, faults)
    local retries = self.options.max_retry_times
    if faults - told.faults > retries then
        local reason = most(since(stats.faults, told.kinds)) or "unknown"
        if reason == "connect" or reason == "connect_timeout" or reason == "resolve" then
            reason = CONNECT_FAILED:format(retries, reason)
        end
        self.last_error = SEND_FAILED:format(retries, reason)
        told.faults, told.kinds = faults, stats.faults
    end
end

local function connection_report(self, told, stats, now)
    local faults = sum(stats.faults)
    if stats.confirmed_messages > told.confirmed or stats.held_messages == 0 then
        if told.failing then
            ngx_log(NOTICE, "weir: messages reach ", self.given.endpoint, " again")
            told.failing = false
        end
        told.confirmed, told.faults, told.kinds = stats.confirmed_messages, faults, stats.faults
        return
    end
    if faults > told.faults and (not told.failing or now - told.failing_at >= REMIND_INTERVAL) then
        ngx_log(ERR, "weir: messages do not reach ", self.given.endpoint, ": ",
            most(since(stats.faults, told.kinds)) or "unknown", "; ", stats.held_messages, " messages, ",
            stats.held_bytes, " bytes are held")
        told.failing, told.failing_at = true, now
    end
    failure_note(self, told, stats, faults)
end

local function report(self, now)
    local told, stats = self.told, self.pool:stats()
    self.buffered, self.looked_at, self.reported_at = math.max(stats.held_bytes, self.turn_bytes), now, now
    local losses = self.limit_messages + sum(stats.rejected_messages) + sum(stats.dropped_messages)
    if losses > told.losses then
        ngx_log(WARN, "weir: ", losses - told.losses, " messages to ", self.given.endpoint, " were dropped; ",
            losses, " so far, ", self.limit_messages, " of them over drop_limit")
        told.losses = losses
    end
    connection_report(self, told, stats, now)
end

-- Whether drop_limit has room for so much. What was confirmed is looked for once in a turn of nginx's
-- loop, and not what was logged in this turn: within one the room only shrinks, as it always did.
local function has_room(self, bytes, now)
    if self.looked_at ~= now then
        self.buffered, self.looked_at = math.max(self.pool:stats().held_bytes, self.turn_bytes), now
    end
    return self.buffered + bytes <= self.options.drop_limit
end

-- returns  the bytes that were taken; 0: dropped, and counted.
local function pool_log(self, msg)
    local taken, err, code = self.pool:log(0, msg)
    if code == weir.EFORKED then -- opened in a process that forked this one
        local opened
        opened, err = pool_open(self)
        if opened then
            taken, err, code = self.pool:log(0, msg)
        end
    end
    if taken then
        self.buffered, self.turn_bytes = self.buffered + taken, self.turn_bytes + taken
        return taken
    end
    if code ~= weir.EFULL and #msg > 0 then
        self.last_error = err
    end
    return 0
end

function logger.log(self, msg)
    if not self.logger_initted then
        return nil, "not initialized"
    end
    if type(msg) ~= "string" then
        msg = tostring(msg)
    end
    if self.pool == nil then
        if ngx.get_phase() == "init" then
            self.early_messages = self.early_messages + 1
            return 0, "weir: nothing is sent before the workers run"
        end
        local opened, err = pool_open(self)
        if not opened then
            return nil, err
        end
    end
    local now = ngx_now()
    if now ~= self.turn then
        self.turn, self.turn_bytes = now, 0
    end
    if now - self.reported_at >= REPORT_INTERVAL then
        report(self, now)
    end
    local bytes, taken = #msg, 0
    if self.buffered + bytes <= self.options.drop_limit or has_room(self, bytes, now) then
        taken = pool_log(self, msg)
    else
        self.limit_messages, self.limit_bytes = self.limit_messages + 1, self.limit_bytes + bytes
    end
    if exiting() then
        taken = 0 -- taken all the same: it is what this library has always said here
    end
    local err = self.last_error
    if err then
        self.last_error = nil
        return taken, err
    end
    return taken
end

-- Sends what is buffered, and, where the phase allows it, waits until it is confirmed. Timers call
-- it with (premature, self).
--   returns  the number of bytes; true: there was nothing, or it is under way; or nil, error.
function logger.flush(self, other)
    if type(self) ~= "table" then
        self = other
    end
    local pool = self.pool
    if pool == nil then
        return true
    end
    local done, _, code = pool:flush(0)
    local stats = pool:stats()
    if done or code ~= weir.ETIMEOUT or stats.held_messages == 0 or not CAN_SLEEP[ngx.get_phase()] then
        return true
    end
    local bytes, target = stats.held_bytes, stats.accepted_messages
    local options = self.options
    local until_time = ngx_now() + (options.max_retry_times + 1) * (options.timeout + options.retry_interval) / 1000
    repeat
        if ngx_now() >= until_time then
            local err = SEND_FAILED:format(options.max_retry_times, most(stats.faults) or "timeout")
            self.last_error = err
            return nil, err
        end
        ngx.sleep(FLUSH_LOOK_INTERVAL)
        stats = pool:stats()
    until stats.accepted_messages - stats.held_messages >= target
    self.buffered = stats.held_bytes
    return bytes
end

-- Everything that weir counts, and: limit_messages and limit_bytes, dropped over drop_limit;
-- early_messages, logged before the workers ran; unknown_options, a list of names.
function logger.stats(self)
    if not self.logger_initted then
        return nil, "not initialized"
    end
    local stats = self.pool and self.pool:stats() or {}
    stats.limit_messages, stats.limit_bytes = self.limit_messages, self.limit_bytes
    stats.early_messages, stats.unknown_options = self.early_messages, self.unknown
    return stats
end

-- Delivers what is buffered, within so many seconds; for exit_worker_by_lua. Without it the same
-- happens when nginx ends the worker's Lua, within three seconds.
function logger.close(self, seconds)
    local pool = self.pool
    self.logger_initted = nil
    if pool == nil then
        return true
    end
    self.pool = nil
    return pool:close(seconds)
end

-- ---- The module: the logger that was made last, by init or by new ----

local socket = { _VERSION = "0.03" } -- of the interface
local current
local init_logger -- the one that init makes

local function create()
    return setmetatable({}, { __index = logger })
end

function socket.new(_, user_config)
    local self = create()
    if user_config then
        local initted, err = self:init(user_config)
        if not initted then
            return nil, err
        end
    end
    current = self
    return self
end

function socket.init(user_config)
    init_logger = init_logger or create()
    current = init_logger
    return current:init(user_config)
end

function socket.log(msg)
    if current == nil then
        return nil, "not initialized"
    end
    return current:log(msg)
end

function socket.initted()
    return current and current.logger_initted
end

function socket.flush()
    return current == nil or current:flush()
end

function socket.stats()
    if current == nil then
        return nil, "not initialized"
    end
    return current:stats()
end

function socket.close(seconds)
    return current == nil or current:close(seconds)
end

return socket
