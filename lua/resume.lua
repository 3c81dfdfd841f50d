-- resume: ready -> ready; the queue's jobs may be claimed again.
-- Why: idle workers sleep on the wake list; without a token they would notice only at their next safety look.
-- KEYS
-- 1 meta   taskq:{q}:meta   hash  field paused
-- 2 ready  taskq:{q}:ready  zset  id by rank (counted only)
-- 3 wake   taskq:{q}:wake   list  wake tokens
-- ARGV
-- Returns
-- {"OK", was_paused}   1 or 0
-- Cost: O(1)
-- Flags: allow-oom
-- @include expect wake_up
local meta, ready, wake = KEYS[1], KEYS[2], KEYS[3]

expect({ ready }, meta, wake)
local was = redis.call('HDEL', meta, 'paused')
if redis.call('ZCARD', ready) > 0 then wake_up(wake, 4) end
return { 'OK', was }
