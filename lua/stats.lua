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
-- ARGV
-- 1 job_prefix      text  taskq:{q}:job:
-- 2 alive_prefix    text  taskq:{q}:alive:
-- 3 running_prefix  text  taskq:{q}:running:
-- Returns
-- {"OK", now_ms, {state, jobs, ...}, {class, jobs, ...}, {worker, running, alive, ...}, meta, counters, next_due_ms, {id, rank, enqueued_ms} of the next job}
-- Cost: O(w + c) for w holders and c classes, each <= 200
-- Flags: no-writes
-- @include now_us text read_job next_due
local ready, scheduled, retry, dead, done = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local holders, classes, suspects, meta, stats = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local job_prefix, alive_prefix, running_prefix = ARGV[1], ARGV[2], ARGV[3]

local now = math.floor(now_us() / 1000)
local waiting = redis.call('ZCARD', ready)
local by_class = {}
for _, class in ipairs(redis.call('SRANDMEMBER', classes, 200)) do
  local jobs = redis.call('ZCARD', ready .. ':' .. class)
  waiting = waiting + jobs
  by_class[#by_class + 1], by_class[#by_class + 2] = class, jobs
end
local running, workers = 0, {}
for _, worker in ipairs(redis.call('SRANDMEMBER', holders, 200)) do
  local jobs = redis.call('ZCARD', running_prefix .. worker)
  running = running + jobs
  local word = redis.call('EXISTS', alive_prefix .. worker) == 1 and 'alive'
    or redis.call('HEXISTS', suspects, worker) == 1 and 'suspect' or 'silent'
  workers[#workers + 1], workers[#workers + 2], workers[#workers + 3] = worker, jobs, word
end
local head = redis.call('ZRANGE', ready, 0, 0, 'WITHSCORES')
local job = head[1] and read_job(job_prefix .. head[1], 'state', 'enqueued_ms')
return { 'OK', text(now),
  { 'ready', waiting, 'scheduled', redis.call('ZCARD', scheduled), 'retry', redis.call('ZCARD', retry),
    'running', running, 'dead', redis.call('ZCARD', dead), 'done', redis.call('ZCARD', done) },
  by_class, workers, redis.call('HGETALL', meta), redis.call('HGETALL', stats), next_due(scheduled, retry, now),
  { head[1] or '', head[2] or '', job and job[2] or '' } }
