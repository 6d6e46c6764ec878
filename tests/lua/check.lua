-- Counts what the Lua tests expect, and tells each thing that is not so.

local check = { count = 0, failed = 0 }

local function told(holds, what, detail)
    check.count = check.count + 1
    if holds then
        print("ok    " .. what)
    else
        check.failed = check.failed + 1
        print("FAIL  " .. what .. ": " .. (#detail < 400 and detail or detail:sub(1, 400) .. " ..."))
    end
end

function check.is(what, got, expected)
    told(got == expected, what, ("got %s, expected %s"):format(tostring(got), tostring(expected)))
end

function check.yes(what, holds)
    told(holds and true or false, what, "is not so")
end

function check.like(what, got, pattern)
    told(type(got) == "string" and got:find(pattern) ~= nil, what,
        ("got %s, expected %s"):format(tostring(got), pattern))
end

-- nil, a text and a code.
function check.refused(what, pattern, code, got, text, got_code)
    told(got == nil and type(text) == "string" and text:find(pattern) ~= nil and got_code == code, what,
        ("got %s, %s, %s; expected %s, %s"):format(tostring(got), tostring(text), tostring(got_code), pattern,
            tostring(code)))
end

function check.raises(what, pattern, call, ...)
    local good, text = pcall(call, ...)
    told(not good and type(text) == "string" and text:find(pattern) ~= nil, what,
        ("got %s, %s; expected %s"):format(tostring(good), tostring(text), pattern))
end

-- The last thing that a script does.
function check.finish()
    print("tests: " .. check.count)
    if check.failed > 0 then
        error(check.failed .. " failed", 0)
    end
end

return check
