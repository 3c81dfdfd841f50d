-- heartbeat: running -> running; one worker proves that it lives, and hears whose cancellation was asked for.
-- Why: the heartbeat is the only proof of life. It clears suspicion, so a worker that was only paused keeps its jobs.
--   Being listed as a holder and being alive are one step: whoever may claim is known to the reaper. What it says of itself
--   is there to be read when it is dead. Some beats look at the server's memory, so that no enqueue has to.
-- KEYS
-- 1 alive     taskq:{q}:alive:<worker>    string  last beat, ms; TTL
-- 2 holders   taskq:{q}:holders           set     workers that may hold jobs
-- 3 suspects  taskq:{q}:suspects          hash    worker -> ms since when it has been silent
-- 4 running   taskq:{q}:running:<worker>  zset    id by claim ms
-- 5 cancels   taskq:{q}:cancels:<worker>  set     ids to cancel
-- 6 vitals    taskq:{q}:vitals            hash    worker -> what it says of itself
-- 7 meta      taskq:{q}:meta              hash    field pressed: the server is short of memory
-- ARGV
-- 1 worker      text  id of the worker
-- 2 ttl_ms      ms    life of this beat
-- 3 about       text  'rss=<bytes>'
-- 4 watermark   count  percent of maxmemory above which enqueue is refused; 0 does not look in this beat
-- 5 pressed_ms  ms    how long a look above the watermark counts
-- Returns
-- {"OK", now_ms, lapsed, holding, id, ...}   lapsed 1: the last beat had expired; ids to cancel, at most 100
-- Cost: O(1), O(c) for c cancellations, c <= 100
-- Flags: allow-oom
-- @include now_us text expect
local alive, holders, suspects, running, cancels = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local vitals, meta = KEYS[6], KEYS[7]
local worker, ttl_ms, about, watermark, pressed_ms = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])

expect({ running }, suspects)
expect({}, vitals)
expect({}, meta)
local ms = math.floor(now_us() / 1000)
local now = text(ms)
local lapsed = 1 - redis.call('EXISTS', alive)
redis.call('SCARD', holders)
local asked, ended = {}, {}
for _, id in ipairs(redis.call('SRANDMEMBER', cancels, 100)) do
  if redis.call('ZSCORE', running, id) then asked[#asked + 1] = id else ended[#ended + 1] = id end
end
local used, most
if watermark > 0 then
  local info = redis.pcall('INFO', 'memory')
  if type(info) == 'string' then -- a user without INFO goes without the watermark
    used, most = tonumber(string.match(info, 'used_memory:(%d+)')), tonumber(string.match(info, 'maxmemory:(%d+)'))
  end
end

redis.call('SET', alive, now, 'PX', ttl_ms)
redis.call('SADD', holders, worker)
redis.call('HDEL', suspects, worker)
redis.call('HSET', vitals, worker, about .. ' beat_ms=' .. now)
if #ended > 0 then redis.call('SREM', cancels, unpack(ended)) end
if used and most and most > 0 and used * 100 > most * watermark then
  redis.call('HSET', meta, 'pressed', text(ms + pressed_ms) .. ' ' .. text(used) .. ' ' .. text(most))
elseif watermark > 0 then
  redis.call('HDEL', meta, 'pressed')
end
return { 'OK', now, lapsed, redis.call('ZCARD', running), unpack(asked) }
