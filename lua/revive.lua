-- revive: dead | expired | cancelled -> ready; bring a job back with fresh attempts and crashes.
-- Why: dead jobs are kept for a human who mends the cause. The old deadline is dropped, or it would expire at once; the
--   TTL too, in the same step, so a revived job can never vanish. Its unique key is not taken back: another may have it by now.
-- KEYS
-- 1 ready  taskq:{q}:ready  zset  id by rank
-- 2 dead   taskq:{q}:dead   zset  id by end ms
-- 3 done   taskq:{q}:done   zset  id by end ms
-- 4 meta   taskq:{q}:meta   hash  settings of the queue
-- 5 wake   taskq:{q}:wake   list  wake tokens
-- 6 stats  taskq:{q}:stats  hash  counters
-- ARGV
-- 1 job_prefix  text    taskq:{q}:job:
-- 2... ids      1 each  at most 200
-- Returns
-- {"OK", id, "READY" | "NOT_FOUND" | <its state>, ...}
-- Cost: O(k log n) for k jobs, k <= 200
-- Flags: none
-- @include now_us ask cost_of expect rank_of open_shares read_job count wake_up
local ready, dead, done, meta, wake, stats = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local job_prefix = ARGV[1]

expect({ ready, dead, done }, stats, wake)
local now = math.floor(now_us() / 1000)
local policy = redis.call('HMGET', meta, 'policy', 'horizon_ms', 'patience_ms', 'vtime')
local words, moves, seen, woken = {}, {}, {}, {}
local shares = policy[1] == 'fair' and open_shares(string.sub(job_prefix, 1, -5), policy[4])
for i = 2, #ARGV do
  local id = ARGV[i]
  local job = read_job(job_prefix .. id, 'state', 'priority', 'class', 'group', 'task')
  local word = job and job[1] or 'NOT_FOUND'
  if not seen[id] and (word == 'dead' or word == 'expired' or word == 'cancelled') then
    local class = job[3] or ''
    if class == 'fragile' then class = '' end
    if string.sub(class, 1, 8) == 'fragile+' then class = string.sub(class, 9) end
    redis.call('ZCARD', ready .. (class ~= '' and ':' .. class or ''))
    local start, charge
    if shares then start, charge = start_of(shares, job[4], job[5]) end
    moves[#moves + 1] = { id, rank_of(policy, tonumber(job[2]) or 5, nil, now, start), class, charge }
    seen[id], word = true, 'READY'
  end
  words[#words + 1], words[#words + 2] = id, word
end

for _, move in ipairs(moves) do
  local id, key = move[1], job_prefix .. move[1]
  redis.call('ZREM', dead, id)
  redis.call('ZREM', done, id)
  redis.call('PERSIST', key)
  redis.call('HDEL', key, 'attempt', 'crashes', 'ended_ms', 'started_ms', 'reason', 'error', 'traceback',
    'deadline_ms', 'cancel', 'worker', 'rank', 'waiters', 'holds', 'awaits', 'blocked_by', 'charged')
  local class = move[3]
  if class == '' then redis.call('HDEL', key, 'class') else redis.call('HSET', key, 'class', class) end
  redis.call('HSET', key, 'state', 'ready')
  if move[4] then redis.call('HSET', key, 'charged', string.format('%.17g', move[4]), 'tied', '1') end
  redis.call('ZADD', ready .. (class ~= '' and ':' .. class or ''), move[2], id)
  woken[class] = (woken[class] or 0) + 1
end
if shares then close_shares(shares) end
for class, jobs in pairs(woken) do wake_up(wake, jobs, class) end
count(stats, now, 'revived', #moves)
return { 'OK', unpack(words) }
