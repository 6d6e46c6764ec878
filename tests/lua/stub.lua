-- As much of nginx's Lua interface as resty.logger.socket uses, for tests outside of nginx.
--
-- `stub.phase`, `stub.exiting` and `stub.time` are what a test sets; `stub.lines` is the error log. Time
-- moves by sleeping, and then a real millisecond passes for each one.

local stub = { phase = "content", leaving = false, time = 1000, lines = {}, sleeps = 0 }

local function put(level, ...)
    local parts = { ... }
    for i = 1, select("#", ...) do
        parts[i] = tostring(parts[i])
    end
    stub.lines[#stub.lines + 1] = level .. " " .. table.concat(parts)
end

-- Busy, and short: there is no sleep in Lua.
local function pause(seconds)
    local from = os.clock()
    while os.clock() - from < seconds do
    end
end

ngx = {
    WARN = "warn", ERR = "error", NOTICE = "notice",
    log = put,
    now = function() return stub.time end,
    sleep = function(seconds)
        if stub.phase == "log" or stub.phase == "init_worker" then
            error("API disabled in the context of " .. stub.phase .. "*")
        end
        stub.sleeps = stub.sleeps + 1
        stub.time = stub.time + seconds
        pause(seconds)
    end,
    get_phase = function() return stub.phase end,
    worker = { exiting = function() return stub.leaving end },
}

function stub.taken(pattern)
    local found = 0
    for _, line in ipairs(stub.lines) do
        if line:find(pattern) then
            found = found + 1
        end
    end
    return found
end

return stub
