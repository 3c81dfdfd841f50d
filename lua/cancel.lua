-- cancel: scheduled | ready | blocked | retry | running -> cancelled, then blocked -> ready; at once, or once the job's worker has stopped it.
-- Why: only the owner may end a running job, so others leave a note (field cancel) that the owner hears with its next
--   heartbeat. The note also stops retry, release and reap from bringing the job back. With the token the owner confirms.
-- KEYS
-- 1 ready      taskq:{q}:ready      zset  id by rank
-- 2 scheduled  taskq:{q}:scheduled  zset  id by due ms
-- 3 retry      taskq:{q}:retry      zset  id by due ms
-- 4 done       taskq:{q}:done       zset  id by end ms
-- 5 stats      taskq:{q}:stats      hash  counters
-- ARGV
-- 1 job_prefix      text  taskq:{q}:job:
-- 2 running_prefix  text  taskq:{q}:running:
-- 3 cancels_prefix  text  taskq:{q}:cancels:
-- 4 id              text  the job
-- 5 token           text  '' for anybody; the owner's token to confirm
-- 6 worker          text  '' for anybody; the owner
-- 7 keep_ms         ms    how long the cancelled job is kept
-- Returns
-- {"OK", state} | {"REQUESTED", worker} | {"ENDED", state} | {"STALE", state} | {"NOT_FOUND", id}
-- Cost: O(log n)
-- Flags: allow-oom
-- @include now_us text expect read_job count announce last_until finish
-- @rare ask cost_of wake_up next_timer note_timer leave_parked leave_home is_outdated unpark let_go
local ready, scheduled, retry, done, stats = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local job_prefix, running_prefix, cancels_prefix = ARGV[1], ARGV[2], ARGV[3]
local id, token, worker, keep_ms = ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7])

expect({ ready, scheduled, retry, done }, stats)
local key = job_prefix .. id
local job = read_job(key, 'state', 'token', 'worker', 'class', 'waiters', 'tied', 'blocked_by')
if not job then return { 'NOT_FOUND', id } end
local state, base, ties = job[1], string.sub(job_prefix, 1, -5), nil
if state == 'running' then
  if token == '' then
    redis.call('SCARD', cancels_prefix .. job[3])
    redis.call('HSET', key, 'cancel', '1')
    redis.call('SADD', cancels_prefix .. job[3], id)
    return { 'REQUESTED', job[3] }
  end
  if job[2] ~= token or job[3] ~= worker then return { 'STALE', state } end
elseif token ~= '' then
  return { 'STALE', state }
elseif state ~= 'ready' and state ~= 'blocked' and state ~= 'scheduled' and state ~= 'retry' then
  return { 'ENDED', state }
end

if state == 'blocked' then expect({ base .. 'timers' }, base .. 'meta') end
local now = math.floor(now_us() / 1000)
if job[6] then ties = note_tie(ties, base, id, state, true, now, job[6]) end
if ties then plan_wakes(ties, base) end
if state == 'running' then
  redis.call('ZREM', running_prefix .. worker, id)
else
  leave_home(base, id, state, job[4], job[7])
end
finish(key, id, done, 'cancelled', now, keep_ms, {})
last_until(done, keep_ms)
if ties then let_go(ties, base, now) end
count(stats, now, 'cancelled', 1)
if job[5] then announce(job[5], id, 'cancelled', '') end
return { 'OK', 'cancelled' }
