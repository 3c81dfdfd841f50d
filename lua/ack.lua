-- ack: running -> completed, then blocked -> ready, then ready -> running | expired | blocked; report finished jobs and fill their slots in one call.
-- Why: only the worker that holds the current token may end a job; a late ack, after the job went to another worker, writes
--   nothing and is told STALE. The same ack sent twice counts once. Claiming in the same call halves the round trips. What
--   an ended job held of limits is free for the claim, or wakes whom they block, in the same step: none can leak.
-- KEYS
-- 1 meta       taskq:{q}:meta              hash   pause flag, limited, timer_ms, policy, vtime
-- 2 alive      taskq:{q}:alive:<worker>    string the worker's heartbeat
-- 3 running    taskq:{q}:running:<worker>  zset   id by claim ms
-- 4 stats      taskq:{q}:stats             hash   counters
-- 5 scheduled  taskq:{q}:scheduled         zset   id by due ms (looked at only)
-- 6 retry      taskq:{q}:retry             zset   id by due ms (looked at only)
-- 7 done       taskq:{q}:done              zset   id by end ms
-- 8 wake       taskq:{q}:wake              list   wake tokens
-- 9... ready   taskq:{q}:ready[:<class>]   zset   id by rank, one key per class the worker serves
-- ARGV
-- 1 job_prefix  text    taskq:{q}:job:
-- 2 worker      text    id of the worker
-- 3 keep_ms     ms      how long the done index remembers a job
-- 4 limit       count   free slots, 0..200; 0 claims nothing
-- 5 done_max    count   how many ended jobs are kept
-- 6 acks        count   finished jobs in this call, 1..200
-- 7... jobs     4 each  id, token, result bytes ('' is None), keep result for ms (0: leave nothing behind)
-- then limits   count   free slots per ready key, in the order of KEYS
-- then look    count   at most two: look and slots, as in claim
-- Returns
-- {"OK", now_ms, next_due_ms, left, {id, "STALE" | "ALREADY" | "GONE", ...}, job, ...}   jobs and left as in claim
-- {"PAUSED" | "LAPSED", now_ms, next_due_ms, "", {...}}    acknowledged, but nothing claimed
-- Cost: O(k log n) for k acknowledged and claimed jobs, k <= 400; where the queue has limits, for 100 more looked at
-- Flags: allow-oom
-- @include now_us text expect read_job count announce last_until finish trim next_due wake_up take
-- @rare ask cost_of next_timer note_timer open_limits grant is_outdated unpark let_go pass_on park advance
local meta, alive, running, stats = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local scheduled, retry, done, wake = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local job_prefix, worker, keep_ms, limit = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local done_max, acks = tonumber(ARGV[5]), tonumber(ARGV[6])

expect({ running, done }, stats, wake)
local us = now_us()
local now = math.floor(us / 1000)
local queue = redis.call('HMGET', meta, 'paused', 'timer_ms', 'limited', 'policy', 'vtime')
local due = next_due(scheduled, retry, now, queue[2])
local lapsed, base, ties = redis.call('EXISTS', alive) == 0, string.sub(job_prefix, 1, -5), nil
local odd, ids, at, told, seen = {}, {}, {}, {}, {}
for position = 7, 3 + 4 * acks, 4 do
  local id, token = ARGV[position], ARGV[position + 1]
  local job = read_job(job_prefix .. id, 'state', 'token', 'worker', 'waiters', 'tied')
  if not job then
    odd[#odd + 1], odd[#odd + 2] = id, 'GONE'
  elseif job[2] ~= token or job[3] ~= worker then
    odd[#odd + 1], odd[#odd + 2] = id, 'STALE'
  elseif job[1] == 'running' and not seen[id] then
    seen[id] = true
    local place = #ids + 1
    ids[place], at[place], told[place] = id, position, job[4]
    if job[5] then ties = note_tie(ties, base, id, 'running', true, now, job[5]) end
  else
    odd[#odd + 1], odd[#odd + 2] = id, (seen[id] or job[1] == 'completed') and 'ALREADY' or 'STALE'
  end
end

local word, picked, ready_keys, limits = 'OK', nil, {}, {}
if lapsed then word = 'LAPSED' elseif limit > 0 and queue[1] then word = 'PAUSED' end
if word == 'OK' and limit > 0 then
  for i = 9, #KEYS do
    ready_keys[i - 8] = KEYS[i]
    limits[i - 8] = tonumber(ARGV[i - 2 + 4 * acks])
  end
  local look, slots = tonumber(ARGV[#KEYS - 1 + 4 * acks] or 1), tonumber(ARGV[#KEYS + 4 * acks])
  local found = { base, queue[3], ties, slots }
  picked = pick(ready_keys, limits, limit, job_prefix, us, look, found)
  ties = found[3]
end
if ties then plan_wakes(ties, base, picked and picked.book and picked.book.granted) end

-- What is claimed comes in before what has ended goes out: while a slot moves to another node, a set that is empty in
-- between cannot be written to again, and the jobs would be nowhere.
local jobs = {}
if picked then jobs = take(picked, ready_keys, job_prefix, base, worker, running, stats, done, us, keep_ms) end
-- What finish does, for many at once: this is the hottest path of all.
local kept, ended_ms = {}, text(now)
if #ids > 0 then redis.call('ZREM', running, unpack(ids)) end
for place, id in ipairs(ids) do
  local key, result, keep = job_prefix .. id, ARGV[at[place] + 2], ARGV[at[place] + 3]
  if keep == '0' then
    redis.call('UNLINK', key)
  else
    if result == '' then
      redis.call('HSET', key, 'state', 'completed', 'ended_ms', ended_ms)
    else
      redis.call('HSET', key, 'state', 'completed', 'ended_ms', ended_ms, 'result', result)
    end
    redis.call('PEXPIRE', key, keep)
    kept[#kept + 1], kept[#kept + 2] = ended_ms, id
  end
  if told[place] then announce(told[place], id, 'completed', result) end
end
if #kept > 0 then
  redis.call('ZADD', done, unpack(kept))
  trim(done, job_prefix, now, keep_ms, done_max, 2 * acks + 10)
end
count(stats, now, 'completed', #ids)
if ties then let_go(ties, base, now) end

if picked then
  if #picked.parks > 0 then due = next_due(scheduled, retry, now, redis.call('HGET', meta, 'timer_ms')) end
  if queue[4] == 'fair' and picked.top then advance(meta, queue[5], picked.top) end
  for _, key in ipairs(picked.behind) do wake_up(wake, 1, string.sub(key, #base + 7)) end
end
return { word, text(now), due, picked and picked.left or '', odd, unpack(jobs) }
