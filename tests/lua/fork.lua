-- A pool in a process that forks, and in its child: fork.lua MODULE ENDPOINT

local check = require "check"
local process = require "process"
local weir = require(arg[1])
local endpoint = arg[2]
local is, yes, refused = check.is, check.yes, check.refused

-- The signal masks of all threads but the first. One that ends is still seen for a moment, and one
-- that begins has all signals blocked for a moment, also those of the C library.
local function threads(expected, mask)
    local masks
    for _ = 1, 1000 do
        local pipe = io.popen("cat /proc/" .. process.number() .. "/task/*/status 2>&1")
        local text = pipe:read "*a"
        pipe:close()
        local first
        masks = {}
        for key, value in text:gmatch "(%w+):%s+(%S+)" do
            if key == "Pid" then
                first = value == tostring(process.number())
            elseif key == "SigBlk" and not first then
                masks[#masks + 1] = value
            end
        end
        if #masks == expected and (mask == nil or masks[1] == mask) then
            break
        end
    end
    return masks
end

local pool = assert(weir.open { endpoint = endpoint, close_timeout = 20 })
local other = assert(weir.open { endpoint = endpoint, close_timeout = 20 })
is("one thread for two pools", #threads(1), 1)
-- All but the four that a thread raises by its own fault; SIGKILL and SIGSTOP cannot be blocked, nor
-- the two that the C library keeps for itself.
is("its signals are blocked", threads(1, "fffffffe7ffbfa37")[1], "fffffffe7ffbfa37")
pool:log(1, "fork 1")

local child = process.fork()
if child == 0 then
    refused("log in a child", "fork", weir.EFORKED, pool:log(1, "never"))
    refused("flush in a child", "fork", weir.EFORKED, pool:flush())
    refused("close in a child", "fork", weir.EFORKED, pool:close())
    refused("close in a child, again", "fork", weir.EFORKED, pool:close(1))
    is("stats in a child", pool:stats().rejected_messages.forked, 1)
    yes("metrics in a child", pool:metrics():find 'reason="forked"} 1')
    is("no thread yet", #threads(0), 0)
    local own = assert(weir.open { endpoint = endpoint, close_timeout = 20 })
    is("a child's own pool", own:log(1, "fork 2"), 6)
    is("a thread for it", #threads(1), 1)
    other = nil -- collected in the child: the parent's goes on
    collectgarbage()
    collectgarbage()
    is("still its thread", #threads(1), 1)
    local grandchild = process.fork()
    if grandchild == 0 then
        refused("log in a grandchild", "fork", weir.EFORKED, own:log(1, "never"))
        local last = assert(weir.open { endpoint = endpoint, close_timeout = 20 })
        is("a grandchild's own pool", last:log(1, "fork 3"), 6)
        is("delivers", last:close(), true)
        process.exit(check.failed)
    end
    is("the grandchild's failures", process.wait(grandchild), 0)
    is("the child's pool delivers", own:close(), true)
    is("its thread has ended", #threads(0), 0)
    process.exit(check.failed)
end
is("the child's failures", process.wait(child), 0)
is("the parent's pool goes on", pool:log(1, "fork 4"), 6)
is("and delivers", pool:close(), true)
is("the other one as well", other:log(1, "fork 5"), 6)
is("and delivers that", other:close(), true)
is("no thread is left", #threads(0), 0)
check.finish()
