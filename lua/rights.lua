-- rights: any state -> the same; may this Redis user run these commands on these keys? Read only.
-- Why: a script that is refused one command in the middle stays half done, because Lua does not roll back. So who uses a
--   queue for the first time asks before, once, and is told what is missing; nothing has been written then.
-- KEYS
-- 1 meta  taskq:{q}:meta  hash  names the node to ask
-- ARGV
-- 1... checks  5 each  question, command, three arguments ('' for none); any allowed check answers yes. Servers crash
--   on a command with fewer arguments than it must have: give it all.
-- Returns
-- {"OK", question, ...}   the questions to which the answer is no
-- {"UNKNOWN"}             this server cannot tell
-- Cost: O(k) for k checks
-- Flags: no-writes
-- @include none
local meta = KEYS[1]

if not redis.acl_check_cmd or not meta then return { 'UNKNOWN' } end
local allowed, order = {}, {}
for i = 1, #ARGV, 5 do
  local question = ARGV[i]
  if allowed[question] == nil then
    allowed[question] = false
    order[#order + 1] = question
  end
  if not allowed[question] then
    local words = {}
    for j = i + 1, i + 4 do
      if ARGV[j] ~= '' then words[#words + 1] = ARGV[j] end
    end
    local known, answer = pcall(redis.acl_check_cmd, unpack(words))
    allowed[question] = known and answer
  end
end
local refused = { 'OK' }
for _, question in ipairs(order) do
  if not allowed[question] then refused[#refused + 1] = question end
end
return refused
