-- Logs COUNT messages under eight ids through two pools, and leaves the end to the end of the Lua state:
-- delivery.lua MODULE ENDPOINT COUNT

local weir = require(arg[1])
local endpoint, count = arg[2], tonumber(arg[3])
local pools = {
    -- Room for all, so that none is refused however slow the collector is.
    assert(weir.open { endpoint = endpoint, pool_size = 3, flush_limit_bytes = "8k", buffer_bytes_max = "32m",
        close_timeout = 60 }),
    assert(weir.open { endpoint = endpoint, full = "block", flush_interval_ms = 5, close_timeout = 60 }),
}
for i = 1, count do
    local id = i % 8
    local line = ("id %d message %07d %s"):format(id, i, ("x"):rep(i % 200))
    assert(pools[id % 2 + 1]:log(id + 1, line) == #line)
end
