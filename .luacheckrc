-- For `luacheck lua`, at the root of the project: Lua 5.1 as Redis runs it. Scripts see what the includes define;
-- tests/lua/test_headers.py checks the flattened scripts too, where nothing is taken on trust.
std = "lua51"
max_line_length = 130
max_comment_line_length = 200 -- the list of includes is one line

local shared = { "redis", "KEYS", "ARGV", "HOMES" }
local listing = io.popen("ls lua/include/*.lua")
for path in listing:lines() do
  for line in io.lines(path) do
    shared[#shared + 1] = line:match("^local function ([%w_]+)%(")
  end
end
listing:close()

read_globals = shared
-- An include is a file of local functions that others use, and what it defines it may use itself.
files["lua/include/*.lua"] = { ignore = { "211", "431" } }
