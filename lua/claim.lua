-- claim: ready -> running | expired | blocked, then blocked -> ready; grant leases to one worker.
-- Why: a job must have one owner. Leaving the ready set, entering the worker's running set and getting a fresh fencing
--   token are one step, so no crash can fall between them. A token is greater than every earlier token of its job, even
--   when the clock steps back, and not given twice, even when a failover forgot a claim. A worker whose heartbeat has
--   lapsed may already be suspected: it must beat first. A job that a limit blocks is parked in the same step, so that it is
--   looked at once, holds no slot, and no release can fall in between.
-- KEYS
-- 1 meta       taskq:{q}:meta              hash   pause flag, limited, timer_ms, policy, vtime
-- 2 alive      taskq:{q}:alive:<worker>    string the worker's heartbeat
-- 3 running    taskq:{q}:running:<worker>  zset   id by claim ms
-- 4 stats      taskq:{q}:stats             hash   counters
-- 5 scheduled  taskq:{q}:scheduled         zset   id by due ms (looked at only)
-- 6 retry      taskq:{q}:retry             zset   id by due ms (looked at only)
-- 7 done       taskq:{q}:done              zset   id by end ms, for jobs that missed their deadline
-- 8 wake       taskq:{q}:wake              list   wake tokens
-- 9... ready   taskq:{q}:ready[:<class>]   zset   id by rank, one key per class the worker serves
-- ARGV
-- 1 job_prefix  text    taskq:{q}:job:
-- 2 worker      text    id of the worker
-- 3 keep_ms     ms      how long an expired job is kept
-- 4 limit       count   free slots, 0..200; a job takes as many as it costs; 0 claims nothing and passes wake tokens on
-- 5... limits   count   free slots per ready key, in the order of KEYS
-- then look   count   at most two: of how many jobs left behind the rank is wanted, 1..200, 1 when absent; and all slots of
--   the worker, which a job that costs more takes all: absent, it has no others than the free ones
-- Returns
-- {"OK", now_ms, next_due_ms, left, job, ...}   job: {name, value, ...} with id and token, not state; next_due_ms -1: nothing is due;
--   left: ranks of the best jobs left behind, best first, a space between; '' when there are none
-- {"PAUSED", now_ms, next_due_ms, ""}           the queue is paused
-- {"LAPSED", now_ms, next_due_ms, ""}           no heartbeat: beat, then claim again
-- Cost: O(k log n) for k claimed jobs, k <= 200; where the queue has limits, for up to 100 looked at
-- Flags: allow-oom
-- @include now_us text expect count announce last_until finish next_due wake_up take
-- @rare ask cost_of next_timer note_timer open_limits grant is_outdated unpark let_go pass_on park advance
local meta, alive, running, stats = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local scheduled, retry, done, wake = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local job_prefix, worker, keep_ms, limit = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])

expect({ running, done }, stats, wake)
local us = now_us()
local now = math.floor(us / 1000)
local queue = redis.call('HMGET', meta, 'paused', 'timer_ms', 'limited', 'policy', 'vtime')
local due = next_due(scheduled, retry, now, queue[2])
if redis.call('EXISTS', alive) == 0 then return { 'LAPSED', text(now), due, '' } end
if queue[1] then return { 'PAUSED', text(now), due, '' } end

local ready_keys, limits, base = {}, {}, string.sub(job_prefix, 1, -5)
for i = 9, #KEYS do
  ready_keys[i - 8] = KEYS[i]
  limits[i - 8] = tonumber(ARGV[i - 4])
end
-- With no free slot this only looks: a worker that was woken but is full by now passes the news on.
local look, slots = tonumber(ARGV[#KEYS - 3] or 1), tonumber(ARGV[#KEYS - 2])
local found = { base, queue[3], nil, slots }
local picked = pick(ready_keys, limits, limit, job_prefix, us, look, found)
local ties = found[3]
if ties then plan_wakes(ties, base) end
local jobs = take(picked, ready_keys, job_prefix, base, worker, running, stats, done, us, keep_ms)
if ties then let_go(ties, base, now) end
if queue[4] == 'fair' and picked.top then advance(meta, queue[5], picked.top) end
for _, key in ipairs(picked.behind) do wake_up(wake, 1, string.sub(key, #base + 7)) end
if #picked.parks > 0 then due = next_due(scheduled, retry, now, redis.call('HGET', meta, 'timer_ms')) end
return { 'OK', text(now), due, picked.left, unpack(jobs) }
