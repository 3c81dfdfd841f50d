-- For `luacheck lua`: Lua 5.1 as Redis runs it. Scripts see the functions of the includes they name;
-- tests/lua/test_headers.py checks the flattened scripts too, where nothing is taken on trust.
std = "lua51"
max_line_length = 130
max_comment_line_length = 160
read_globals = { "redis", "KEYS", "ARGV" }

files["lua/*.lua"] = {
  read_globals = {
    "add_due", "announce", "count", "expect", "finish", "last_until", "next_due", "now_us", "rank_of",
    "read_job", "take", "text", "time_of", "trim", "wake_up",
  },
}
files["lua/include/*.lua"] = {
  ignore = { "211" }, -- a file of one local function: who includes it uses it
  read_globals = { "announce", "count", "finish", "last_until" },
}
