-- limit: blocked -> blocked; write or remove the limits of a queue; pause, resume, strike tasks and groups.
-- Why: jobs that a limit blocks are looked at when a place under it comes free or its time comes, never in between. So in the
--   same step that changes a limit its timers become due now, and the next promote looks at them again: nothing waits for a
--   limit that is gone. Whoever sees meta.limited sees the limits too. Written twice, it changes nothing the second time.
-- KEYS
-- 1 limits  taskq:{q}:limits  hash  definition by name
-- 2 meta    taskq:{q}:meta    hash  fields limited, struck, timer_ms
-- 3 timers  taskq:{q}:timers  zset  limit:<instance> by due ms
-- 4 wake    taskq:{q}:wake    list  wake tokens
-- ARGV
-- 1 gently       0 | 1   1: what somebody set by hand stays as it is
-- 2 again        0 | 1   1: wake what waits for these limits, changed or not
-- 3 skip         count   timers that earlier calls have passed over; 0 in the first
-- 4 strike       text    '' | '+<task>': refuse it at enqueue | '-<task>': no more; *: all tasks
-- 5... limits  2 each  name and definition, '' removes it; at most 100
-- Returns
-- {"MANY", most}          the queue would have more limits than it may; nothing was written
-- {"OK", changed, skip}   limits that changed; skip for the next call, -1 when all timers were looked at
-- Cost: O(k log n) for k limits and timers, k <= 300
-- Flags: allow-oom
-- @include now_us text expect wake_up next_timer note_timer
local limits, meta, timers, wake = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local gently, again, skip, strike = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]

expect({ timers }, nil, wake)
local now = math.floor(now_us() / 1000)
local struck = redis.call('HGET', meta, 'struck') or ' '
local changes, members, patterns = {}, {}, {}
for i = 5, math.min(#ARGV, 203), 2 do
  local name, definition = ARGV[i], ARGV[i + 1]
  local had = redis.call('HGET', limits, name) or ''
  if gently == '0' or not string.find(had, ' by=hand') then
    if had ~= definition then changes[#changes + 1] = { name, definition } end
    if had ~= definition or again == '1' then
      if string.find(name, '{') then
        -- Every instance of it: a field stands for any text. One too many is looked at, and parked again.
        local literal = string.gsub(name, '[^%w{}]', '%%%0')
        patterns[#patterns + 1] = '^limit:' .. string.gsub(literal, '{[^{}]*}', '.+') .. '$'
      else
        members[#members + 1] = 'limit:' .. name
      end
    end
  end
end

-- For claims, which limits a job is under that does not name them: they look up only those that they need.
local limited = {}
if #changes > 0 then
  local names, definitions = {}, {}
  local function note(name, definition)
    if not definitions[name] then names[#names + 1] = name end
    definitions[name] = definition
  end
  local words = redis.call('HGETALL', limits)
  for i = 1, #words, 2 do note(words[i], words[i + 1]) end
  for _, change in ipairs(changes) do note(change[1], change[2]) end
  local count = 0
  for _, name in ipairs(names) do
    if definitions[name] ~= '' then
      count = count + 1
      limited[1] = '1'
      local on = string.match(definitions[name], 'on=(%S+)') or 'job'
      if on ~= 'job' then limited[#limited + 1] = on .. '=' .. name end
    end
  end
  if count > 200 and count > #words / 2 then return { 'MANY', 200 } end
end

local due, next_skip = {}, -1
for _, member in ipairs(members) do
  if redis.call('ZSCORE', timers, member) then due[#due + 1], due[#due + 2] = now, member end
end
if #patterns > 0 then
  -- From the far end: those that become due meanwhile leave at the other.
  local later = redis.call('ZRANGE', timers, '+inf', '(' .. text(now), 'BYSCORE', 'REV', 'LIMIT', skip, 200)
  local passed = 0
  for _, member in ipairs(later) do
    local found = false
    for _, pattern in ipairs(patterns) do found = found or string.find(member, pattern) ~= nil end
    if found then due[#due + 1], due[#due + 2] = now, member else passed = passed + 1 end
  end
  if #later == 200 then next_skip = skip + passed end
end

for _, change in ipairs(changes) do
  if change[2] == '' then
    redis.call('HDEL', limits, change[1])
  else
    redis.call('HSET', limits, change[1], change[2])
  end
end
if #changes > 0 and limited[1] then
  redis.call('HSET', meta, 'limited', table.concat(limited, ' '))
elseif #changes > 0 then
  redis.call('HDEL', meta, 'limited')
end
if strike ~= '' then
  local word = ' ' .. string.sub(strike, 2) .. ' '
  local at, last = string.find(struck, word, 1, true)
  if at then struck = string.sub(struck, 1, at) .. string.sub(struck, last + 1) end
  if string.byte(strike) == 43 then struck = struck .. string.sub(word, 2) end
  if struck == ' ' then redis.call('HDEL', meta, 'struck') else redis.call('HSET', meta, 'struck', struck) end
end
if #due > 0 then
  redis.call('ZADD', timers, unpack(due))
  note_timer(timers, meta)
  wake_up(wake, #due / 2)
end
return { 'OK', #changes, next_skip }
