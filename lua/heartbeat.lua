-- heartbeat: running -> running; one worker proves that it lives, and hears whose cancellation was asked for.
-- Why: the heartbeat is the only proof of life. It clears suspicion, so a worker that was only paused keeps its jobs.
--   Being listed as a holder and being alive are one step: whoever may claim is known to the reaper. What it says of itself
--   is there to be read when it is dead. Some beats look at the server's memory, so that no enqueue has to. How long runs
--   took travels here because nothing on the way of a job should pay for it; a beat whose reply was lost is sent again with
--   the same number, and its measures count once. A beat also looks at the other holders when nobody has for a while: so no
--   worker has to call reap only to hear that all live. It suspects those that are silent, and leaves the rest to reap.
-- KEYS
-- 1 alive     taskq:{q}:alive:<worker>    string  last beat, ms; TTL
-- 2 holders   taskq:{q}:holders           set     workers that may hold jobs
-- 3 suspects  taskq:{q}:suspects          hash    worker -> ms since when it has been silent
-- 4 running   taskq:{q}:running:<worker>  zset    id by claim ms
-- 5 cancels   taskq:{q}:cancels:<worker>  set     ids to cancel
-- 6 vitals    taskq:{q}:vitals            hash    worker -> what it says of itself
-- 7 meta      taskq:{q}:meta              hash    pressed: the server is short of memory; unit_ms: the first average;
--   reaped_ms: time of the last look at all workers, slots: of those that live
-- 8 averages  taskq:{q}:averages          hash    task -> moving average of its run time, ms; `*`: over all tasks
-- 9 slacks    taskq:{q}:slacks            hash    task -> how its jobs with a deadline stood to it
-- 10 classes  taskq:{q}:classes           set     classes that have been given jobs (counted only)
-- ARGV
-- 1 worker      text  id of the worker
-- 2 ttl_ms      ms    life of this beat
-- 3 about       text  'rss=<bytes> slots=<count>'
-- 4 watermark   count  percent of maxmemory above which enqueue is refused; 0 does not look in this beat
-- 5 pressed_ms  ms    how long a look above the watermark counts
-- 6 told        count  number of these measures, another one each time; 0 when there are none
-- 7 alive_prefix  text  taskq:{q}:alive:
-- 8 every_ms    ms    least time between two looks at the other workers, of all workers together; 0: this beat does not look
-- 9... measures  7 each  task, runs that ended, their ms; jobs with a deadline that began, ms left then in all, least, runs that were late; at most 50
-- Returns
-- {"OK", now_ms, lapsed, holding, silent, classes, id, ...}   lapsed 1: the last beat had expired; silent: other workers that
--   did not beat, call reap when there are any; classes: how many there are; ids to cancel, at most 100
-- Cost: O(c + m + h) for c cancellations, c <= 100, m measured tasks, m <= 50, and h holders looked at, h <= 100
-- Flags: allow-oom
-- @include now_us text
local alive, holders, suspects, running, cancels = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local vitals, meta, averages, slacks, classes = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local worker, ttl_ms, about, watermark, pressed_ms = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local told, alive_prefix, every_ms = ARGV[6], ARGV[7], tonumber(ARGV[8])

-- Tasks remembered, at most; a new one beyond them takes the place of one that is drawn, one a beat.
local MOST = 1000

-- What to write to a hash to add `found` (name -> value), and what to drop from it. `known`: those it has.
local function fold(hash, found, known)
  local pairs_of, dropped, room = {}, nil, MOST - redis.call('HLEN', hash)
  for name, value in pairs(found) do
    local fits = known[name] or name == '*' or room > 0
    if not fits and not dropped then
      local drawn = redis.call('HRANDFIELD', hash, 1)[1]
      if drawn and drawn ~= '*' and not found[drawn] then dropped, fits = drawn, true end
    elseif not known[name] then
      room = room - 1
    end
    if fits then pairs_of[#pairs_of + 1], pairs_of[#pairs_of + 2] = name, value end
  end
  return pairs_of, dropped
end

-- The moving average after more runs; what is stored may be nonsense.
local function average(old, runs, sum_ms)
  local mean = sum_ms / runs
  old = tonumber(old)
  if not old or old ~= old or old < 0 or old > 1e15 then return string.format('%.3f', mean) end
  return string.format('%.3f', old + (mean - old) * (1 - 0.9 ^ runs))
end

local function slack(old, starts, sum_ms, least_ms, late)
  local had, sum, least, were = string.match(old or '', '^jobs=(%d+) sum_ms=(-?%d+) least_ms=(-?%d+) late=(%d+)$')
  if had then
    starts, sum_ms, late = starts + tonumber(had), sum_ms + tonumber(sum), late + tonumber(were)
    least_ms = math.min(least_ms, tonumber(least))
  end
  return 'jobs=' .. text(starts) .. ' sum_ms=' .. text(sum_ms) .. ' least_ms=' .. text(least_ms) .. ' late=' .. text(late)
end

-- Other workers as of this beat: those that are silent, flat with the time to note where it is new, and the slots of the rest.
local function look_around(ms, listed)
  local looked, others, keys = redis.call('SRANDMEMBER', holders, 100), {}, {}
  local count = #looked < 100 and #looked or redis.call('SCARD', holders)
  if listed then count = count - 1 end
  for _, other in ipairs(looked) do
    if other ~= worker then others[#others + 1], keys[#keys + 1] = other, alive_prefix .. other end
  end
  if #others == 0 then return 0, {}, 0 end
  local silent, fresh, slots = 0, {}, 0
  if redis.call('EXISTS', unpack(keys)) < #keys then
    for i, other in ipairs(others) do
      if redis.call('EXISTS', keys[i]) == 0 then
        silent = silent + 1
        if redis.call('HEXISTS', suspects, other) == 0 then fresh[#fresh + 1], fresh[#fresh + 2] = other, text(ms) end
      end
    end
  else
    for _, said in ipairs(redis.call('HMGET', vitals, unpack(others))) do
      slots = slots + tonumber(string.match(said or '', ' slots=(%d+)') or 0)
    end
  end
  -- Where not all were looked at, the others have as many each.
  return silent, fresh, math.floor(slots * count / #others + 0.5)
end

-- All that is written to is read first: one of another type stops the script here, as Lua does not roll back.
local holding = redis.call('ZCARD', running)
local suspected = redis.call('HEXISTS', suspects, worker) == 1
local listed = redis.call('SISMEMBER', holders, worker) == 1
local reaped = tonumber(redis.call('HGET', meta, 'reaped_ms'))
local said = redis.call('HGET', vitals, worker) or ''
local ms = math.floor(now_us() / 1000)
local now = text(ms)
local lapsed = 1 - redis.call('EXISTS', alive)
local there = redis.pcall('SCARD', classes)
if type(there) ~= 'number' then there = 0 end
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

-- The same number as in the last beat: that one came through, its reply did not.
local fresh = string.match(said, ' told=(%d+)') ~= told
local timed, stood, runs, sum_ms = {}, {}, 0, 0
local known_times, known_slacks = {}, {}
for i = 9, fresh and #ARGV or 0, 7 do
  local task, over, spent, starts = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
  if over > 0 then
    known_times[task] = redis.call('HGET', averages, task)
    timed[task] = average(known_times[task], over, spent)
    runs, sum_ms = runs + over, sum_ms + spent
  end
  local late = tonumber(ARGV[i + 6])
  if starts > 0 or late > 0 then
    known_slacks[task] = redis.call('HGET', slacks, task)
    stood[task] = slack(known_slacks[task], starts, tonumber(ARGV[i + 4]), tonumber(ARGV[i + 5]), late)
  end
end
if runs > 0 then
  known_times['*'] = redis.call('HGET', averages, '*')
  timed['*'] = average(known_times['*'], runs, sum_ms)
end
local times, forgotten, slacked, unslacked = {}, nil, {}, nil
if runs > 0 then times, forgotten = fold(averages, timed, known_times) end
if next(stood) then slacked, unslacked = fold(slacks, stood, known_slacks) end

local looks = every_ms > 0 and not (reaped and ms >= reaped and ms - reaped < every_ms)
local silent, suspicions, slots = 0, {}, 0
if looks then silent, suspicions, slots = look_around(ms, listed) end

redis.call('SET', alive, now, 'PX', ttl_ms)
if not listed then redis.call('SADD', holders, worker) end
if suspected then redis.call('HDEL', suspects, worker) end
if told ~= '0' then about = about .. ' told=' .. told end
redis.call('HSET', vitals, worker, about .. ' beat_ms=' .. now)
if forgotten then redis.call('HDEL', averages, forgotten) end
if #times > 0 then redis.call('HSET', averages, unpack(times)) end
if timed['*'] and not known_times['*'] and tonumber(timed['*']) > 0 then redis.call('HSET', meta, 'unit_ms', timed['*']) end
if unslacked then redis.call('HDEL', slacks, unslacked) end
if #slacked > 0 then redis.call('HSET', slacks, unpack(slacked)) end
if #ended > 0 then redis.call('SREM', cancels, unpack(ended)) end
if used and most and most > 0 and used * 100 > most * watermark then
  redis.call('HSET', meta, 'pressed', text(ms + pressed_ms) .. ' ' .. text(used) .. ' ' .. text(most))
elseif watermark > 0 then
  redis.call('HDEL', meta, 'pressed')
end
if silent > 0 then
  -- No pass is noted: whether suspicion starts anew is for reap to say.
  if #suspicions > 0 then redis.call('HSET', suspects, unpack(suspicions)) end
elseif looks then
  slots = slots + tonumber(string.match(about, ' slots=(%d+)') or 0)
  redis.call('HSET', meta, 'reaped_ms', now)
  if slots > 0 then redis.call('HSET', meta, 'slots', text(slots)) else redis.call('HDEL', meta, 'slots') end
end
return { 'OK', now, lapsed, holding, silent, there, unpack(asked) }
