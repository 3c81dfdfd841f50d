-- pause: ready -> ready; no job of this queue is claimed until resume. Running jobs go on, enqueue still works.
-- Why: the flag is read inside the claim, so no claim can slip through after this call returned.
-- KEYS
-- 1 meta  taskq:{q}:meta  hash  field paused: ms since when
-- ARGV
-- Returns
-- {"OK", paused_ms}   since when the queue is paused
-- Cost: O(1)
-- Flags: allow-oom
-- @include now_us text
local meta = KEYS[1]

local since = redis.call('HGET', meta, 'paused')
if not since then
  since = text(math.floor(now_us() / 1000))
  redis.call('HSET', meta, 'paused', since)
end
return { 'OK', since }
