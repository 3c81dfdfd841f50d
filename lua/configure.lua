-- configure: ready -> ready; set how a queue orders and bounds its jobs. Jobs that are ready keep the rank they have.
-- Why: order must not depend on which process enqueues, so the settings live beside the queue.
-- KEYS
-- 1 meta  taskq:{q}:meta  hash  policy, horizon_ms, patience_ms, max_jobs
-- ARGV
-- 1... settings  2 each  name and value; value '' goes back to the default
-- Returns
-- {"OK", changed}
-- Cost: O(k) for k settings
-- Flags: none
-- @include expect
local meta = KEYS[1]

expect({}, meta)
local changed = 0
for i = 1, #ARGV, 2 do
  local name, value = ARGV[i], ARGV[i + 1]
  if (redis.call('HGET', meta, name) or '') ~= value then
    changed = changed + 1
    if value == '' then redis.call('HDEL', meta, name) else redis.call('HSET', meta, name, value) end
  end
end
return { 'OK', changed }
