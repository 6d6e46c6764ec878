-- Buffers of C data under LuaJIT, logged without a Lua string: cdata.lua MODULE ENDPOINT

local check = require "check"
local weir = require(arg[1])
local ffi = require "ffi"
local is, raises = check.is, check.raises

ffi.cdef "struct test_line { char text[16]; int length; };"
local pool = assert(weir.open { endpoint = arg[2], close_timeout = 20 })
local array = ffi.new("char[32]", "cdata 1")
is("an array", pool:log(1, array, 7), 7)
is("an array of unknown size", pool:log(1, ffi.new("char[?]", 8, "cdata 2"), 7), 7)
is("an array of bytes", pool:log(1, ffi.new("uint8_t[7]", { 99, 100, 97, 116, 97, 32, 51 }), 7), 7)
ffi.copy(array, "cdata 4")
is("a pointer", pool:log(1, ffi.cast("const char *", array), 7), 7)
ffi.copy(array, "cdata 5")
is("a pointer to nothing in particular", pool:log(1, ffi.cast("void *", array), 7), 7)
is("a struct", pool:log(1, ffi.new("struct test_line", "cdata 6"), 7), 7)
is("the middle of an array", pool:log(1, ffi.new("char[32]", "___cdata 7") + 3, 7, 3), 7)
is("nothing of it", pool:log(1, array, 0), 0)
is("nothing of NULL", pool:log(1, ffi.new "char *", 0), 0)
for _, case in ipairs {
    { "NULL", "NULL pointer has no bytes", ffi.new "char *", 1 },
    { "no length", "#3 to 'log' %(number expected, got n", array },
    { "a length that is text", "#3 to 'log' %(number expected, got string", array, "7" },
    { "a length below zero", "#3 to 'log' %(a length", array, -1 },
    { "a length that is not whole", "#3 to 'log' %(a length", array, 1.5 },
    { "a length that is no number", "#3 to 'log' %(a length", array, 0 / 0 },
    { "a length without end", "#3 to 'log' %(a length", array, 1 / 0 },
    { "a 64-bit number", "cannot convert", 1LL, 1 },
    { "an address as a number", "cannot convert", ffi.cast("uintptr_t", 8), 1 },
    { "a type", "", ffi.typeof "int", 1 },
} do
    raises(case[1], case[2], function()
        local got = pool:log(1, case[3], case[4])
        return got
    end)
end
check.refused("larger than any message", "larger than message_bytes_max", weir.ETOOBIG, pool:log(1, array, 2 ^ 52))
is("close", pool:close(), true)
check.refused("after close", "closed", weir.ECLOSED, pool:log(1, array, 7))
check.finish()
