-- configure: ready -> ready; set how a queue orders and bounds its jobs.
-- Why: order must not depend on which process enqueues, so the settings live beside the queue. Ranks of two policies do not
--   compare: with a new policy the jobs that are ready are set aside in the same step, and promote ranks them anew.
-- KEYS
-- 1 meta     taskq:{q}:meta     hash  policy, horizon_ms, patience_ms, max_jobs, on_full
-- 2 classes  taskq:{q}:classes  set   classes that have been given jobs
-- 3 timers   taskq:{q}:timers   zset  what else is due, by due ms
-- 4 wake     taskq:{q}:wake     list  wake tokens
-- ARGV
-- 1 base         text    taskq:{q}:
-- 2... settings  2 each  name and value; value '' goes back to the default; 'weight:<group>' is a group's weight
-- Returns
-- {"OK", changed}
-- {"TURNING", jobs}   an earlier change of policy is still being carried out for so many; nothing was written
-- Cost: O(k + c log n) for k settings and c classes, c <= 200
-- Flags: none
-- @include now_us text ask expect wake_up next_timer note_timer
local meta, classes, timers, wake = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local base = ARGV[1]

expect({ timers }, meta, wake)
expect({}, base .. 'weights')
local now, turned, left = math.floor(now_us() / 1000), {}, 0
local policy = redis.call('HGET', meta, 'policy') or ''
local wanted = policy
for i = 2, #ARGV, 2 do
  if ARGV[i] == 'policy' then wanted = ARGV[i + 1] end
end
if wanted ~= policy then
  local names = { '' }
  for _, class in ipairs(redis.call('SRANDMEMBER', classes, 200)) do names[#names + 1] = ':' .. class end
  for _, suffix in ipairs(names) do
    left = left + (ask('ZCARD', base .. 'turned' .. suffix) or 0)
    if (ask('ZCARD', base .. 'ready' .. suffix) or 0) > 0 then turned[#turned + 1] = suffix end
  end
  if left > 0 then return { 'TURNING', left } end
end

local changed = 0
for i = 2, #ARGV, 2 do
  local name, value = ARGV[i], ARGV[i + 1]
  local key, field = meta, string.match(name, '^weight:(.*)$')
  if field then key = base .. 'weights' else field = name end
  if (redis.call('HGET', key, field) or '') ~= value then
    changed = changed + 1
    if value == '' then redis.call('HDEL', key, field) else redis.call('HSET', key, field, value) end
  end
end
if #turned > 0 then
  for _, suffix in ipairs(turned) do redis.call('RENAME', base .. 'ready' .. suffix, base .. 'turned' .. suffix) end
  redis.call('HSET', meta, 'turning', '1')
  redis.call('ZADD', timers, now, 'turn')
  note_timer(timers, meta)
  wake_up(wake, 1)
end
return { 'OK', changed }
