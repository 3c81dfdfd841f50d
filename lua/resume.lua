-- resume: ready -> ready; the queue's jobs may be claimed again.
-- Why: idle workers sleep on the wake list; without a token they would notice only at their next safety look.
-- KEYS
-- 1 meta   taskq:{q}:meta   hash  field paused
-- 2 ready  taskq:{q}:ready  zset  id by rank (counted only)
-- 3 wake     taskq:{q}:wake     list  wake tokens
-- 4 classes  taskq:{q}:classes  set   classes that have been given jobs
-- ARGV
-- Returns
-- {"OK", was_paused}   1 or 0
-- Cost: O(c) for c classes, c <= 200
-- Flags: allow-oom
-- @include expect wake_up
local meta, ready, wake, classes = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

expect({ ready }, meta, wake)
local served = {}
for _, class in ipairs(redis.call('SRANDMEMBER', classes, 200)) do
  if redis.call('ZCARD', ready .. ':' .. class) > 0 then served[#served + 1] = class end
end
local was = redis.call('HDEL', meta, 'paused')
if redis.call('ZCARD', ready) > 0 then wake_up(wake, 4) end
for _, class in ipairs(served) do wake_up(wake, 4, class) end
return { 'OK', was }
