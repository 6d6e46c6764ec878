-- Opens, uses and closes a pool again and again, for valgrind: cycles.lua MODULE ENDPOINT COUNT

local weir = require(arg[1])
for i = 1, tonumber(arg[3]) do
    local pool = assert(weir.open { endpoint = arg[2], pool_size = 2, buffer_bytes_max = "1m", message_bytes_max = "4k",
        flush_limit_bytes = "4k", close_timeout = 60 })
    assert(pool:log(i, "cycle " .. i))
    assert(not pool:log(1, ("x"):rep(10000)))
    assert(not weir.open { endpoint = arg[2], colour = "blue" })
    assert(not weir.open { endpoint = arg[2], buffer_bytes_max = "4k" })
    pcall(pool.log, pool, -1, "x")
    if i % 3 == 0 then
        assert(pool:flush())
    end
    assert(pool:stats().balanced and #pool:metrics() > 1000)
    if i % 2 == 0 then
        assert(pool:close())
        pool:log(1, "x")
    end
    pool = nil
    if i % 5 == 0 then
        collectgarbage()
    end
end
