-- reap: running -> ready | dead | cancelled; take jobs back from workers that died.
-- Why: a missing heartbeat alone proves nothing: after a pause or restart of the server every heartbeat is gone. So a
--   silent worker is first a suspect and only dead after `grace` more, and when no pass was made for a while (the server
--   was away) suspicion starts anew. A lost worker is a crash of its jobs, counted apart from attempts: the third is dead.
--   Which of its jobs killed it nobody knows, so one crash before the last a job goes to the class `fragile`, of which a
--   worker runs one at a time: the killer dies alone, its neighbours live.
-- KEYS
-- 1 holders   taskq:{q}:holders   set   workers that may hold jobs
-- 2 suspects  taskq:{q}:suspects  hash  worker -> ms since when it has been silent
-- 3 meta      taskq:{q}:meta      hash  reaped_ms: time of the last pass
-- 4 ready     taskq:{q}:ready     zset  id by rank
-- 5 dead      taskq:{q}:dead      zset  id by end ms
-- 6 done      taskq:{q}:done      zset  id by end ms, for cancelled jobs
-- 7 wake      taskq:{q}:wake      list  wake tokens
-- 8 stats     taskq:{q}:stats     hash  counters
-- 9 classes   taskq:{q}:classes   set   classes that have been given jobs
-- ARGV
-- 1 job_prefix      text   taskq:{q}:job:
-- 2 alive_prefix    text   taskq:{q}:alive:
-- 3 running_prefix  text   taskq:{q}:running:
-- 4 cancels_prefix  text   taskq:{q}:cancels:
-- 5 every_ms        ms     least time between two passes of all workers together
-- 6 grace_ms        ms     how long a worker is a suspect before it is dead
-- 7 max_crashes     count  the crash that makes a job dead
-- 8 dead_keep_ms    ms     how long dead jobs are kept
-- 9 dead_max        count  how many dead jobs are kept
-- 10 keep_ms        ms     how long a cancelled job is kept
-- 11 limit          count  jobs to take back in this call, 1..100
-- Returns
-- {"OK", now_ms, wait_ms, id, "READY" | "DEAD" | "CANCELLED", worker, ...}   wait_ms: call again after that long
-- Cost: O(h + k log n) for h holders looked at and k jobs, h <= 100, k <= 100
-- Flags: allow-oom
-- @include now_us text expect read_job count announce last_until finish trim wake_up score_of
local holders, suspects, meta, ready = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local dead, done, wake, stats, classes = KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local job_prefix, alive_prefix, running_prefix, cancels_prefix = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local every_ms, grace_ms, max_crashes = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local dead_keep_ms, dead_max, keep_ms, limit = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])

expect({ ready, ready .. ':fragile', dead, done }, stats, wake)
redis.call('SCARD', classes)
local now = math.floor(now_us() / 1000)
local last = tonumber(redis.call('HGET', meta, 'reaped_ms'))
if last and now >= last and now - last < every_ms then return { 'OK', text(now), every_ms - (now - last) } end
local amnesty = not last or now < last or now - last > 3 * every_ms + grace_ms

local fresh, lost, wait = {}, {}, every_ms
for _, worker in ipairs(redis.call('SRANDMEMBER', holders, 100)) do
  if redis.call('EXISTS', alive_prefix .. worker) == 0 then
    local since = tonumber(redis.call('HGET', suspects, worker))
    if amnesty or not since or since > now then
      fresh[#fresh + 1], fresh[#fresh + 2] = worker, text(now)
      if grace_ms < wait then wait = grace_ms end
    elseif now - since < grace_ms then
      if grace_ms - (now - since) < wait then wait = grace_ms - (now - since) end
    else
      lost[#lost + 1] = worker
    end
  end
end

local moves, emptied = {}, {}
for _, worker in ipairs(lost) do
  local held = redis.pcall('ZRANGE', running_prefix .. worker, 0, limit - #moves)
  if held.err then
    -- Moved, or forbidden: stop before any write. Written over: the other workers' jobs must not wait for that.
    if not string.find(tostring(held.err), 'WRONGTYPE', 1, true) then redis.call('ZCARD', running_prefix .. worker) end
    held = {}
  end
  for i, id in ipairs(held) do
    if #moves == limit then break end
    local job = read_job(job_prefix .. id, 'state', 'worker', 'crashes', 'rank', 'class', 'cancel', 'waiters')
    local crashes = (job and tonumber(job[3]) or 0) + 1
    local word = 'stray'
    if job and job[1] == 'running' and job[2] == worker then
      word = job[6] and 'CANCELLED' or crashes >= max_crashes and 'DEAD' or 'READY'
      if job[5] then redis.call('ZCARD', ready .. ':' .. job[5]) end
    end
    moves[#moves + 1] = { id, worker, word, crashes, job }
    if i == #held then emptied[#emptied + 1] = worker end
  end
  if #held == 0 then emptied[#emptied + 1] = worker end
  if #moves == limit then
    wait = 0
    break
  end
end

redis.call('HSET', meta, 'reaped_ms', text(wait == 0 and now - every_ms or now))
if #fresh > 0 then redis.call('HSET', suspects, unpack(fresh)) end
local words, back, gone, stopped = {}, 0, 0, 0
for _, move in ipairs(moves) do
  local id, worker, word, crashes, job = move[1], move[2], move[3], move[4], move[5]
  local key = job_prefix .. id
  redis.call('ZREM', running_prefix .. worker, id)
  if word == 'READY' then
    local target = ready
    redis.call('HSET', key, 'state', 'ready', 'crashes', crashes)
    if crashes >= max_crashes - 1 then
      target = ready .. ':fragile'
      redis.call('HSET', key, 'class', 'fragile')
      redis.call('SADD', classes, 'fragile')
    elseif job[5] then
      target = ready .. ':' .. job[5]
    end
    redis.call('ZADD', target, score_of(job[4]), id)
    back = back + 1
  elseif word == 'DEAD' then
    local problem = 'WorkerLost: worker ' .. worker .. ' died while it ran this job (crash ' .. crashes .. ')'
    finish(key, id, dead, 'dead', now, dead_keep_ms,
      { 'crashes', crashes, 'reason', 'worker_lost', 'error', problem })
    gone = gone + 1
    if job[7] then announce(job[7], id, 'dead', 'worker_lost\n' .. problem) end
  elseif word == 'CANCELLED' then
    finish(key, id, done, 'cancelled', now, keep_ms, { 'crashes', crashes })
    stopped = stopped + 1
    if job[7] then announce(job[7], id, 'cancelled', '') end
  end
  if word ~= 'stray' then words[#words + 1], words[#words + 2], words[#words + 3] = id, word, worker end
end
for _, worker in ipairs(emptied) do
  redis.call('SREM', holders, worker)
  redis.call('HDEL', suspects, worker)
  redis.call('DEL', cancels_prefix .. worker)
end
if gone > 0 then trim(dead, job_prefix, now, dead_keep_ms, dead_max, 2 * gone + 10) end
if stopped > 0 then last_until(done, keep_ms) end
if back > 0 then wake_up(wake, back) end
count(stats, now, 'crashed', back + gone + stopped)
count(stats, now, 'dead', gone)
count(stats, now, 'cancelled', stopped)
return { 'OK', text(now), wait, unpack(words) }
