-- reap: running -> ready | dead | cancelled, then blocked -> ready; take jobs back from workers that died.
-- Why: a missing heartbeat alone proves nothing: after a pause or restart of the server every heartbeat is gone. So a
--   silent worker is first a suspect and only dead after `grace` more, and when no pass was made for a while (the server
--   was away) suspicion starts anew. A lost worker is a crash of its jobs, counted apart from attempts: the third is dead.
--   Which of its jobs killed it nobody knows, so one crash before the last a job goes to the class `fragile`, of which a
--   worker runs one at a time: the killer dies alone, its neighbours live.
-- KEYS
-- 1 holders   taskq:{q}:holders   set   workers that may hold jobs
-- 2 suspects  taskq:{q}:suspects  hash  worker -> ms since when it has been silent
-- 3 meta      taskq:{q}:meta      hash  reaped_ms: time of the last pass; slots: of all workers that live
-- 4 ready     taskq:{q}:ready     zset  id by rank
-- 5 dead      taskq:{q}:dead      zset  id by end ms
-- 6 done      taskq:{q}:done      zset  id by end ms, for cancelled jobs
-- 7 wake      taskq:{q}:wake      list  wake tokens
-- 8 stats     taskq:{q}:stats     hash  counters
-- 9 classes   taskq:{q}:classes   set   classes that have been given jobs
-- 10 vitals   taskq:{q}:vitals    hash  what each worker's last beat said of it
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
-- {"OK", now_ms, wait_ms, id, "READY" | "DEAD" | "CANCELLED", worker, ...}   wait_ms: call again after that long; -1: nobody is
--   silent, and a heartbeat tells when somebody is
-- Cost: O(h + k log n) for h holders looked at and k jobs, h <= 100, k <= 100
-- Flags: allow-oom
-- @include now_us text ask cost_of expect read_job count announce last_until finish trim wake_up score_of last_seen next_timer note_timer is_outdated unpark let_go take_back
local holders, suspects, meta, ready = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local dead, done, wake, stats, classes, vitals = KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local job_prefix, alive_prefix, running_prefix, cancels_prefix = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local every_ms, grace_ms, max_crashes = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local dead_keep_ms, dead_max, keep_ms, limit = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])

expect({ ready, dead, done }, stats, wake)
redis.call('SCARD', classes)
local now = math.floor(now_us() / 1000)
local last = tonumber(redis.call('HGET', meta, 'reaped_ms'))
if last and now >= last and now - last < every_ms then
  return { 'OK', text(now), redis.call('HLEN', suspects) > 0 and every_ms - (now - last) or -1 }
end
local amnesty = not last or now < last or now - last > 3 * every_ms + grace_ms

local fresh, lost, wait, slots, looked = {}, {}, every_ms, 0, redis.call('SRANDMEMBER', holders, 100)
for _, worker in ipairs(looked) do
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
  else
    slots = slots + tonumber(string.match(redis.call('HGET', vitals, worker) or '', ' slots=(%d+)') or 0)
  end
end
-- Where not all were looked at, the others have as many each.
if #looked > 0 then slots = math.floor(slots * redis.call('SCARD', holders) / #looked + 0.5) end

local moves, emptied, ties = {}, {}, new_ties()
for _, worker in ipairs(lost) do
  local how = last_seen(redis.call('HGET', vitals, worker))
  local all = look_lost(moves, limit, worker, running_prefix .. worker, how, job_prefix, ready, max_crashes, ties, now)
  if all then emptied[#emptied + 1] = worker end
  if #moves == limit then
    wait = 0
    break
  end
end
plan_wakes(ties, string.sub(job_prefix, 1, -5))

-- As if it had been earlier, where somebody's grace time ends sooner: the next pass is due then, whoever makes it.
redis.call('HSET', meta, 'reaped_ms', text(now + wait - every_ms))
if slots > 0 then redis.call('HSET', meta, 'slots', text(slots)) else redis.call('HDEL', meta, 'slots') end
if #fresh > 0 then redis.call('HSET', suspects, unpack(fresh)) end
local words = take_back(moves, now, job_prefix, running_prefix, ready, dead, done, wake, stats, classes,
  max_crashes, dead_keep_ms, dead_max, keep_ms, ties)
for _, worker in ipairs(emptied) do
  redis.call('SREM', holders, worker)
  redis.call('HDEL', suspects, worker)
  redis.call('HDEL', vitals, worker)
  redis.call('DEL', cancels_prefix .. worker)
end
if wait > 0 and redis.call('HLEN', suspects) == 0 then wait = -1 end
return { 'OK', text(now), wait, unpack(words) }
