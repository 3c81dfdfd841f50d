-- parts_of: what a job brings beside the eight words that all have: its named fields by name, and, as `fields`, those to store;
-- names that begin with @ are only obeyed. args: ARGV; start: where the job begins in it.
local function parts_of(args, start)
  local parts, fields = {}, {}
  for i = start + 8, start + 7 + 2 * tonumber(args[start + 7]), 2 do
    local name, value = args[i], args[i + 1]
    if string.byte(name) ~= 64 then fields[#fields + 1], fields[#fields + 2] = name, value end
    parts[name] = value
  end
  parts.fields = fields
  return parts
end
