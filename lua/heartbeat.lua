-- heartbeat: running -> running; one worker proves that it lives, and hears whose cancellation was asked for.
-- Why: the heartbeat is the only proof of life. It clears suspicion, so a worker that was only paused keeps its jobs.
--   Being listed as a holder and being alive are one step: whoever may claim is known to the reaper.
-- KEYS
-- 1 alive     taskq:{q}:alive:<worker>    string  last beat, ms; TTL
-- 2 holders   taskq:{q}:holders           set     workers that may hold jobs
-- 3 suspects  taskq:{q}:suspects          hash    worker -> ms since when it has been silent
-- 4 running   taskq:{q}:running:<worker>  zset    id by claim ms
-- 5 cancels   taskq:{q}:cancels:<worker>  set     ids to cancel
-- ARGV
-- 1 worker  text  id of the worker
-- 2 ttl_ms  ms    life of this beat
-- Returns
-- {"OK", now_ms, lapsed, holding, id, ...}   lapsed 1: the last beat had expired; ids to cancel, at most 100
-- Cost: O(1), O(c) for c cancellations, c <= 100
-- Flags: allow-oom
-- @include now_us text expect
local alive, holders, suspects, running, cancels = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local worker, ttl_ms = ARGV[1], ARGV[2]

expect({ running }, suspects)
local now = text(math.floor(now_us() / 1000))
local lapsed = 1 - redis.call('EXISTS', alive)
redis.call('SCARD', holders)
local asked, ended = {}, {}
for _, id in ipairs(redis.call('SRANDMEMBER', cancels, 100)) do
  if redis.call('ZSCORE', running, id) then asked[#asked + 1] = id else ended[#ended + 1] = id end
end

redis.call('SET', alive, now, 'PX', ttl_ms)
redis.call('SADD', holders, worker)
redis.call('HDEL', suspects, worker)
if #ended > 0 then redis.call('SREM', cancels, unpack(ended)) end
return { 'OK', now, lapsed, redis.call('ZCARD', running), unpack(asked) }
