-- fail: running -> retry | dead | cancelled, then blocked -> ready; report jobs that ended in their own error.
-- Why: the worker knows the task's retry policy and decides; the script makes the decision count only for the current
--   token, once. A job whose cancellation was asked for meanwhile is cancelled instead of tried again.
-- KEYS
-- 1 running  taskq:{q}:running:<worker>  zset  id by claim ms
-- 2 retry    taskq:{q}:retry             zset  id by due ms
-- 3 dead     taskq:{q}:dead              zset  id by end ms
-- 4 done     taskq:{q}:done              zset  id by end ms, for cancelled jobs
-- 5 wake     taskq:{q}:wake              list  wake tokens
-- 6 stats    taskq:{q}:stats             hash  counters
-- ARGV
-- 1 job_prefix    text    taskq:{q}:job:
-- 2 worker        text    id of the worker
-- 3 dead_keep_ms  ms      how long dead jobs are kept
-- 4 dead_max      count   how many dead jobs are kept
-- 5 keep_ms       ms      how long a cancelled job is kept
-- 6... jobs       6 each  id, token, retry after ms ('' gives up), reason, error "Type: message", traceback
-- Returns
-- {"OK", now_ms, id, "RETRY" | "DEAD" | "CANCELLED" | "STALE" | "ALREADY" | "GONE", ...}
-- Cost: O(k log n) for k jobs, k <= 200
-- Flags: allow-oom
-- @include now_us text expect read_job count announce last_until finish trim add_due wake_up
-- @rare ask cost_of next_timer note_timer is_outdated unpark let_go
local running, retry, dead, done, wake, stats = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local job_prefix, worker = ARGV[1], ARGV[2]
local dead_keep_ms, dead_max, keep_ms = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])

expect({ running, retry, dead, done }, stats, wake)
local now = math.floor(now_us() / 1000)
local words, ends, ids, seen = {}, {}, {}, {}
local base, ties = string.sub(job_prefix, 1, -5), nil
for position = 6, #ARGV, 6 do
  local id, token, after = ARGV[position], ARGV[position + 1], ARGV[position + 2]
  local job = read_job(job_prefix .. id, 'state', 'token', 'worker', 'attempt', 'cancel', 'waiters', 'tied')
  local word = 'STALE'
  if not job then
    word = 'GONE'
  elseif job[2] == token and job[3] == worker then
    if job[1] == 'running' and not seen[id] then
      seen[id] = true
      word = job[5] and 'CANCELLED' or after ~= '' and 'RETRY' or 'DEAD'
      ends[#ends + 1] = { id, position, word, (tonumber(job[4]) or 0) + 1, job[6] }
      ids[#ids + 1] = id
      if job[7] then ties = note_tie(ties, base, id, 'running', word ~= 'RETRY', now, job[7]) end
    elseif seen[id] or job[1] == 'retry' or job[1] == 'dead' or job[1] == 'cancelled' then
      word = 'ALREADY'
    end
  end
  words[#words + 1], words[#words + 2] = id, word
end
if ties then plan_wakes(ties, base) end

if #ids > 0 then redis.call('ZREM', running, unpack(ids)) end
local due, first, dead_count, cancelled = {}, nil, 0, 0
for _, ended in ipairs(ends) do
  local id, position, word, attempt, waiters = ended[1], ended[2], ended[3], ended[4], ended[5]
  local key, reason, problem, trace = job_prefix .. id, ARGV[position + 3], ARGV[position + 4], ARGV[position + 5]
  local fields = { 'attempt', attempt, 'reason', reason, 'error', problem, 'traceback', trace }
  if word == 'RETRY' then
    local at = now + tonumber(ARGV[position + 2])
    redis.call('HSET', key, 'state', 'retry', unpack(fields))
    due[#due + 1], due[#due + 2] = at, id
    if not first or at < first then first = at end
  elseif word == 'DEAD' then
    finish(key, id, dead, 'dead', now, dead_keep_ms, fields)
    dead_count = dead_count + 1
    if waiters then announce(waiters, id, 'dead', reason .. '\n' .. problem) end
  else
    finish(key, id, done, 'cancelled', now, keep_ms, fields)
    cancelled = cancelled + 1
    if waiters then announce(waiters, id, 'cancelled', '') end
  end
end
if first then add_due(retry, wake, due, first) end
if dead_count > 0 then trim(dead, job_prefix, now, dead_keep_ms, dead_max, 2 * dead_count + 10) end
if cancelled > 0 then last_until(done, keep_ms) end
if ties then let_go(ties, base, now) end
count(stats, now, 'failed', #ends - cancelled)
count(stats, now, 'retried', #due / 2)
count(stats, now, 'dead', dead_count)
count(stats, now, 'cancelled', cancelled)
return { 'OK', text(now), unpack(words) }
