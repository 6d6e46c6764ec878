-- Prints all that the module and its pools have, which is the same in every module: names.lua MODULE

local weir = require(arg[1])
local lines = {}
local function walk(prefix, value)
    for name, inner in pairs(value) do
        lines[#lines + 1] = prefix .. "." .. tostring(name) .. " " .. type(inner)
        if type(inner) == "table" then
            walk(prefix .. "." .. name, inner)
        end
    end
end
walk("weir", weir)
local pool = assert(weir.open { endpoint = "unix:/nowhere", close_timeout = 0 })
walk("stats", pool:stats())
for _, name in ipairs { "log", "flush", "close", "stats", "metrics" } do
    lines[#lines + 1] = "pool." .. name .. " " .. type(pool[name])
end
table.sort(lines)
print(table.concat(lines, "\n"))
