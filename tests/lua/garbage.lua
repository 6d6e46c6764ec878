-- Pools that are only dropped, so that the collector of garbage closes them at any moment, also while
-- another one is being opened: garbage.lua MODULE ENDPOINT

local check = require "check"
local weir = require(arg[1])

local opened, balanced = 0, 0
local pool
-- One at a time, so that the runtime ends with each; and the collector a little further each time when
-- the next one is opened.
for i = 1, 2000 do
    pool = nil
    for _ = 1, i % 100 do
        collectgarbage("step", 0)
    end
    pool = weir.open { endpoint = "unix:/nowhere", close_timeout = 0, buffer_bytes_max = "64k",
        message_bytes_max = "1k", flush_limit_bytes = "1k" }
    opened = opened + (pool and 1 or 0)
    pool:log(i, "never")
    if i % 7 == 0 then
        pool:close(0)
    end
    balanced = balanced + (pool:stats().balanced and 1 or 0)
end
check.is("all were opened", opened, 2000)
check.is("all balance", balanced, 2000)
local last = assert(weir.open { endpoint = arg[2], close_timeout = 20 })
last:log(1, "garbage")
check.is("and it still delivers", last:close(), true)
check.finish()
