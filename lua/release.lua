-- release: running -> ready | cancelled, then blocked -> ready; give jobs back unrun, at their old rank, without any penalty.
-- Why: a worker that shuts down, or does not know the task, must neither lose the job nor charge it. With a class the job
--   waits in that class's ready set, which only workers that serve the class read: it cannot come back to the giver.
-- KEYS
-- 1 running  taskq:{q}:running:<worker>  zset  id by claim ms
-- 2 ready    taskq:{q}:ready             zset  id by rank
-- 3 classes  taskq:{q}:classes           set   classes that have been given jobs
-- 4 done     taskq:{q}:done              zset  id by end ms, for cancelled jobs
-- 5 wake     taskq:{q}:wake              list  wake tokens
-- 6 stats    taskq:{q}:stats             hash  counters
-- ARGV
-- 1 job_prefix  text    taskq:{q}:job:
-- 2 worker      text    id of the worker
-- 3 keep_ms     ms      how long a cancelled job is kept
-- 4... jobs     3 each  id, token, class ('' keeps the one it has)
-- Returns
-- {"OK", now_ms, id, "READY" | "CANCELLED" | "STALE" | "GONE", ...}
-- Cost: O(k log n) for k jobs, k <= 200
-- Flags: allow-oom
-- @include now_us text expect read_job count announce last_until finish wake_up score_of
-- @rare ask cost_of next_timer note_timer is_outdated unpark let_go
local running, ready, classes, done, wake, stats = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local job_prefix, worker, keep_ms = ARGV[1], ARGV[2], tonumber(ARGV[3])

expect({ running, ready, done }, stats, wake)
redis.call('SCARD', classes)
local now = math.floor(now_us() / 1000)
local words, held, seen = {}, {}, {}
local base, ties = string.sub(job_prefix, 1, -5), nil
for position = 4, #ARGV, 3 do
  local id, token = ARGV[position], ARGV[position + 1]
  local job = read_job(job_prefix .. id, 'state', 'token', 'worker', 'rank', 'cancel', 'waiters', 'class', 'tied')
  local word = 'STALE'
  if not job then
    word = 'GONE'
  elseif job[1] == 'running' and job[2] == token and job[3] == worker and not seen[id] then
    seen[id] = true
    word = job[5] and 'CANCELLED' or 'READY'
    local class = ARGV[position + 2]
    if class == '' then class = job[7] or '' end
    if class ~= '' then redis.call('ZCARD', ready .. ':' .. class) end
    if job[8] then ties = note_tie(ties, base, id, 'running', word == 'CANCELLED' or nil, now, job[8]) end
    held[#held + 1] = { id, word, score_of(job[4]), class, job[6] }
  end
  words[#words + 1], words[#words + 2] = id, word
end
if ties then plan_wakes(ties, base) end

local released, cancelled, woken = 0, 0, {}
for _, job in ipairs(held) do
  local id, word, rank, class, waiters = job[1], job[2], job[3], job[4], job[5]
  local key = job_prefix .. id
  redis.call('ZREM', running, id)
  if word == 'CANCELLED' then
    finish(key, id, done, 'cancelled', now, keep_ms, {})
    cancelled = cancelled + 1
    if waiters then announce(waiters, id, 'cancelled', '') end
  elseif class == '' then
    redis.call('HSET', key, 'state', 'ready')
    redis.call('ZADD', ready, rank, id)
  else
    redis.call('HSET', key, 'state', 'ready', 'class', class)
    redis.call('ZADD', ready .. ':' .. class, rank, id)
    if redis.call('SADD', classes, class) == 1 then wake_up(wake, 4) end
  end
  if word == 'READY' then
    released = released + 1
    woken[class] = (woken[class] or 0) + 1
  end
end
if cancelled > 0 then last_until(done, keep_ms) end
if ties then let_go(ties, base, now) end
for class, jobs in pairs(woken) do wake_up(wake, jobs, class) end
count(stats, now, 'released', released)
count(stats, now, 'cancelled', cancelled)
return { 'OK', text(now), unpack(words) }
