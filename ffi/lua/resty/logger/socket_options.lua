-- The options of resty.logger.socket: what says what is wrong with them, and what they are for weir.

local MAX_PORT = 65535
-- A message may be as large as drop_limit, up to here; each segment of the buffer has room for one.
local MESSAGE_BYTES_MAX = 1048576
local DATAGRAM_BYTES_MAX = 65507
local SEGMENT_BYTES_MAX = 4194304
-- What was logged leaves after this long; the old library sent at flush_limit, and not before.
local FLUSH_INTERVAL_MS = 10
local RETRY_INTERVAL_MAX_MS = 1000
-- A worker that quits has three to five seconds in most installations.
local CLOSE_TIMEOUT = 3

local type, tostring = type, tostring

local options = {}

local DEFAULTS = {
    flush_limit = 4096, drop_limit = 1048576, timeout = 1000, max_retry_times = 3, retry_interval = 100,
    pool_size = 10, max_buffer_reuse = 10000, sock_type = "tcp", ssl = false, ssl_verify = true,
}

local function number_check(name, value)
    if type(value) ~= "number" or not (value >= 0) then
        return ('invalid "%s"'):format(name)
    end
end

local function string_check(name, value)
    if type(value) ~= "string" then
        return ('"%s" must be a string'):format(name)
    end
end

local function boolean_check(name, value)
    if type(value) ~= "boolean" then
        return ('"%s" must be a boolean value'):format(name)
    end
end

local function port_check(_, value)
    if type(value) ~= "number" then
        return '"port" must be a number'
    elseif not (value >= 0 and value <= MAX_PORT) then
        return ('"port" out of range 0~%d'):format(MAX_PORT)
    end
end

local function sock_type_check(name, value)
    if type(value) == "string" and value ~= "tcp" and value ~= "udp" then
        return '"sock_type" must be "tcp" or "udp"'
    end
    return string_check(name, value)
end

local function weir_check(_, value)
    if type(value) ~= "table" then
        return '"weir" must be a table'
    elseif value.endpoint ~= nil then
        return string_check("weir.endpoint", value.endpoint)
    end
end

-- Each option, and what says what is wrong with its value. `weir` is a table of weir's own options,
-- which come first.
local CHECKS = {
    host = string_check, port = port_check, path = string_check, sock_type = sock_type_check,
    flush_limit = number_check, drop_limit = number_check, timeout = number_check,
    max_retry_times = number_check, retry_interval = number_check, pool_size = number_check,
    max_buffer_reuse = number_check, periodic_flush = number_check,
    ssl = boolean_check, ssl_verify = boolean_check, sni_host = string_check, weir = weir_check,
}

-- returns  the options with their defaults and the names of those that do not exist; or nil, error.
function options.check(user_config)
    if type(user_config) ~= "table" then
        return nil, "user_config must be a table"
    end
    local checked, unknown = {}, {}
    for name, value in pairs(DEFAULTS) do
        checked[name] = value
    end
    for name, value in pairs(user_config) do
        local check = CHECKS[name]
        if check == nil then
            unknown[#unknown + 1] = tostring(name)
        else
            local err = check(name, value)
            if err then
                return nil, err
            end
            checked[name] = value
        end
    end
    if not (checked.host and checked.port) and not checked.path and not (checked.weir and checked.weir.endpoint) then
        return nil, 'no logging server configured. "host"/"port" or "path" is required.'
    elseif checked.flush_limit >= checked.drop_limit then
        return nil, '"flush_limit" should be < "drop_limit"'
    elseif checked.ssl then
        return nil, '"ssl" is not supported: weir has no TLS'
    end
    table.sort(unknown)
    return checked, unknown
end

local function endpoint_of(checked)
    local datagrams = checked.sock_type == "udp"
    if checked.host and checked.port then
        local host = checked.host
        if host:find(":", 1, true) and host:sub(1, 1) ~= "[" then
            host = "[" .. host .. "]"
        end
        return ("%s://%s:%.15g"):format(datagrams and "udp" or "tcp", host, checked.port)
    end
    return (datagrams and "unix-dgram:" or "unix:") .. checked.path
end

local function whole(number, least, most)
    return math.min(math.max(math.floor(number), least), most)
end

-- The same in weir's terms. The buffer is as large as drop_limit takes with messages of any size:
-- every segment holds a quarter of it, and has room for a largest message and for its index beside.
function options.translate(checked)
    local endpoint = checked.weir and checked.weir.endpoint or endpoint_of(checked)
    local stream = not (endpoint:find "^udp:" or endpoint:find "^unix%-dgram:")
    local message = whole(checked.drop_limit, 64, stream and MESSAGE_BYTES_MAX or DATAGRAM_BYTES_MAX)
    local segment = whole(math.max(checked.drop_limit / 4, checked.flush_limit), 256, SEGMENT_BYTES_MAX)
    local segments = 2 * math.ceil(checked.drop_limit / segment) + 4
    local given = {
        endpoint = endpoint,
        framing = stream and not endpoint:find "^relp:" and "raw" or nil, -- messages end as they are given
        message_bytes_max = message,
        flush_limit_bytes = segment,
        buffer_bytes_max = segments * math.ceil((segment + message) * 1.25 + 4096),
        flush_interval_ms = whole((checked.periodic_flush or 1) * 1000, 1, FLUSH_INTERVAL_MS),
        retry_interval_ms = whole(checked.retry_interval, 1, 86400000),
        retry_interval_max_ms = whole(checked.retry_interval, RETRY_INTERVAL_MAX_MS, 86400000),
        connect_timeout_ms = whole(checked.timeout, 1, 86400000),
        close_timeout = CLOSE_TIMEOUT,
    }
    for name, value in pairs(checked.weir or {}) do
        given[name] = value
    end
    return given
end

-- Whether two translations say the same.
function options.is_same(one, other)
    for name, value in pairs(one) do
        if other[name] ~= value then
            return false
        end
    end
    for name in pairs(other) do
        if one[name] == nil then
            return false
        end
    end
    return true
end

return options
