-- retire: running -> running; a worker that holds nothing leaves for good.
-- Why: a clean exit needs no suspicion and no grace time. While it still holds jobs it must stay known to the reaper.
-- KEYS
-- 1 alive     taskq:{q}:alive:<worker>    string  last beat
-- 2 holders   taskq:{q}:holders           set     workers that may hold jobs
-- 3 suspects  taskq:{q}:suspects          hash    silent workers
-- 4 running   taskq:{q}:running:<worker>  zset    id by claim ms
-- 5 cancels   taskq:{q}:cancels:<worker>  set     ids to cancel
-- 6 vitals    taskq:{q}:vitals            hash    what each worker's last beat said of it
-- ARGV
-- 1 worker  text  id of the worker
-- Returns
-- {"OK", 0} | {"HOLDING", jobs}   HOLDING: it holds jobs; nothing was written
-- Cost: O(1)
-- Flags: allow-oom
-- @include expect
local alive, holders, suspects, running, cancels, vitals = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local worker = ARGV[1]

expect({}, suspects)
expect({}, vitals)
redis.call('SCARD', holders)
local jobs = redis.call('ZCARD', running)
if jobs > 0 then return { 'HOLDING', jobs } end
redis.call('DEL', alive, cancels)
redis.call('SREM', holders, worker)
redis.call('HDEL', suspects, worker)
redis.call('HDEL', vitals, worker)
return { 'OK', 0 }
