-- promote: scheduled | retry -> ready; move jobs whose time has come.
-- Why: every worker promotes, so there is no scheduler to die; the earliest due go first, a bounded number a call.
-- KEYS
-- 1 scheduled  taskq:{q}:scheduled  zset  id by due ms
-- 2 retry      taskq:{q}:retry      zset  id by due ms
-- 3 ready      taskq:{q}:ready      zset  id by rank
-- 4 meta       taskq:{q}:meta       hash  settings of the queue
-- 5 wake       taskq:{q}:wake       list  wake tokens
-- 6 stats      taskq:{q}:stats      hash  counters
-- ARGV
-- 1 job_prefix  text   taskq:{q}:job:
-- 2 limit       count  jobs to move from each of the two, 1..100
-- Returns
-- {"OK", promoted, next_due_ms}   next_due_ms: 0 when more are due now, -1 when nothing waits
-- Cost: O(k log n) for k moved jobs, k <= 200
-- Flags: allow-oom
-- @include now_us text expect rank_of read_job count next_due wake_up
local scheduled, retry, ready, meta, wake, stats = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local job_prefix, limit = ARGV[1], tonumber(ARGV[2])

expect({ ready }, stats, wake)
local now = math.floor(now_us() / 1000)
local policy = redis.call('HMGET', meta, 'policy', 'horizon_ms', 'patience_ms')
local moves, strays = {}, {}
for _, home in ipairs({ { scheduled, 'scheduled' }, { retry, 'retry' } }) do
  local due = redis.call('ZRANGE', home[1], '-inf', text(now), 'BYSCORE', 'LIMIT', 0, limit, 'WITHSCORES')
  for i = 1, #due, 2 do
    local id = due[i]
    local job = read_job(job_prefix .. id, 'state', 'priority', 'deadline_ms', 'class')
    if job and job[1] == home[2] then
      if job[4] then redis.call('ZCARD', ready .. ':' .. job[4]) end
      local rank = rank_of(policy, tonumber(job[2]) or 5, tonumber(job[3]), tonumber(due[i + 1]))
      moves[#moves + 1] = { id, home[1], rank, job[4] }
    else
      strays[#strays + 1] = { id, home[1] }
    end
  end
end

for _, stray in ipairs(strays) do redis.call('ZREM', stray[2], stray[1]) end
for _, move in ipairs(moves) do
  local id, target = move[1], ready
  if move[4] then target = ready .. ':' .. move[4] end
  redis.call('ZREM', move[2], id)
  redis.call('HSET', job_prefix .. id, 'state', 'ready')
  redis.call('ZADD', target, move[3], id)
end
if #moves > 0 then wake_up(wake, #moves) end
count(stats, now, 'promoted', #moves)
return { 'OK', #moves, next_due(scheduled, retry, now) }
