-- stats: any state -> the same; how many jobs are where, in one consistent look. Read only.
-- Why: counting state by state from outside sees a job twice, or not at all, while it moves.
-- KEYS
-- 1 ready      taskq:{q}:ready      zset
-- 2 scheduled  taskq:{q}:scheduled  zset
-- 3 retry      taskq:{q}:retry      zset
-- 4 dead       taskq:{q}:dead       zset
-- 5 done       taskq:{q}:done       zset
-- 6 holders    taskq:{q}:holders    set
-- 7 classes    taskq:{q}:classes    set
-- 8 suspects   taskq:{q}:suspects   hash
-- 9 meta       taskq:{q}:meta       hash
-- 10 stats     taskq:{q}:stats      hash
-- 11 vitals    taskq:{q}:vitals     hash
-- ARGV
-- 1 job_prefix      text  taskq:{q}:job:
-- 2 alive_prefix    text  taskq:{q}:alive:
-- 3 running_prefix  text  taskq:{q}:running:
-- 4 prefix          text  taskq:{q}:
-- Returns
-- {"OK", now_ms, {state, jobs, ...}, {class, jobs, ...}, {worker, running, alive, slots, ...}, meta, counters, next_due_ms,
--   {id, rank, enqueued_ms} of the next job, {instance, jobs, ...}, {limit, definition, ...}, {schedule, tick_ms, ...}}
--   instance: limits that jobs are parked on; limit: all of the queue, unless they are more than 200; schedule: those that tick next
-- Cost: O(w + c + l) for w holders, c classes and l limits, each <= 200
-- Flags: no-writes
-- @include now_us text read_job next_due workers_of parked_by
local ready, scheduled, retry, dead, done = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local holders, classes, suspects, meta, stats = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local vitals = KEYS[11]
local job_prefix, alive_prefix, running_prefix, prefix = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local now = math.floor(now_us() / 1000)
-- `turned` holds ready jobs whose rank is of the policy the queue had before.
local waiting = redis.call('ZCARD', ready) + redis.call('ZCARD', prefix .. 'turned')
local by_class = {}
for _, class in ipairs(redis.call('SRANDMEMBER', classes, 200)) do
  local jobs = redis.call('ZCARD', ready .. ':' .. class) + redis.call('ZCARD', prefix .. 'turned:' .. class)
  waiting = waiting + jobs
  by_class[#by_class + 1], by_class[#by_class + 2] = class, jobs
end
local workers, running = workers_of(holders, suspects, vitals, alive_prefix, running_prefix)
local parked, ticks = parked_by(prefix .. 'timers', prefix .. 'parked:')
local limits = {}
if redis.call('HGET', meta, 'limited') and redis.call('HLEN', prefix .. 'limits') <= 200 then
  limits = redis.call('HGETALL', prefix .. 'limits')
end
local head = redis.call('ZRANGE', ready, 0, 0, 'WITHSCORES')
local job = head[1] and read_job(job_prefix .. head[1], 'state', 'enqueued_ms')
return { 'OK', text(now),
  { 'ready', waiting, 'scheduled', redis.call('ZCARD', scheduled), 'retry', redis.call('ZCARD', retry),
    'running', running, 'dead', redis.call('ZCARD', dead), 'done', redis.call('ZCARD', done),
    'blocked', redis.call('ZCARD', prefix .. 'blocked') },
  by_class, workers, redis.call('HGETALL', meta), redis.call('HGETALL', stats), next_due(scheduled, retry, now),
  { head[1] or '', head[2] or '', job and job[2] or '' },
  parked, limits, ticks }
