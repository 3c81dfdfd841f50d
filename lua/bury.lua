-- bury: running -> ready | dead | cancelled, then blocked -> ready; take jobs back at once from a worker whose death was seen.
-- Why: a supervisor that saw its child end has proof, so suspicion and grace are spared: its jobs are ready again in about
--   a second, and a job that died of it learns what killed the worker. Were the proof wrong, the tokens would still refuse
--   every report of the worker that is not dead. Burying twice finds nothing the second time.
-- KEYS
-- 1 alive     taskq:{q}:alive:<worker>    string  last beat
-- 2 holders   taskq:{q}:holders           set     workers that may hold jobs
-- 3 suspects  taskq:{q}:suspects          hash    silent workers
-- 4 vitals    taskq:{q}:vitals            hash    what each worker's last beat said of it
-- 5 running   taskq:{q}:running:<worker>  zset    id by claim ms
-- 6 cancels   taskq:{q}:cancels:<worker>  set     ids to cancel
-- 7 ready     taskq:{q}:ready             zset    id by rank
-- 8 dead      taskq:{q}:dead              zset    id by end ms
-- 9 done      taskq:{q}:done              zset    id by end ms, for cancelled jobs
-- 10 wake     taskq:{q}:wake              list    wake tokens
-- 11 stats    taskq:{q}:stats             hash    counters
-- 12 classes  taskq:{q}:classes           set     classes that have been given jobs
-- ARGV
-- 1 job_prefix      text   taskq:{q}:job:
-- 2 running_prefix  text   taskq:{q}:running:
-- 3 worker          text   id of the dead worker
-- 4 how             text   how it ended, as 'killed by SIGKILL'; bounded by the caller
-- 5 max_crashes     count  the crash that makes a job dead
-- 6 dead_keep_ms    ms     how long dead jobs are kept
-- 7 dead_max        count  how many dead jobs are kept
-- 8 keep_ms         ms     how long a cancelled job is kept
-- 9 limit           count  jobs to take back in this call, 1..100
-- Returns
-- {"OK", more, id, "READY" | "DEAD" | "CANCELLED", worker, ...}   more 1: it held more, call again
-- Cost: O(k log n) for k jobs, k <= 100
-- Flags: allow-oom
-- @include now_us text ask cost_of expect read_job count announce last_until finish trim wake_up score_of last_seen next_timer note_timer is_outdated unpark let_go take_back
local alive, holders, suspects, vitals, running, cancels = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local ready, dead, done, wake, stats, classes = KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11], KEYS[12]
local job_prefix, running_prefix, worker, how = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local max_crashes, dead_keep_ms, dead_max = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local keep_ms, limit = tonumber(ARGV[8]), tonumber(ARGV[9])

expect({ ready, dead, done }, stats, wake)
expect({}, suspects)
redis.call('SCARD', classes)
redis.call('SCARD', holders)
local now = math.floor(now_us() / 1000)
local moves, ties = {}, new_ties()
local words_on_it = '; ' .. how .. last_seen(redis.call('HGET', vitals, worker))
local all = look_lost(moves, limit, worker, running, words_on_it, job_prefix, ready, max_crashes, ties, now)
plan_wakes(ties, string.sub(job_prefix, 1, -5))

local words = take_back(moves, now, job_prefix, running_prefix, ready, dead, done, wake, stats, classes,
  max_crashes, dead_keep_ms, dead_max, keep_ms, ties)
redis.call('DEL', alive)
if all then
  redis.call('SREM', holders, worker)
  redis.call('HDEL', suspects, worker)
  redis.call('HDEL', vitals, worker)
  redis.call('DEL', cancels)
end
return { 'OK', all and 0 or 1, unpack(words) }
