-- purge: ready | scheduled | retry | dead | completed | expired | cancelled -> nothing; empty one index of a queue.
-- Why: the index is the proof of the state, so what is in it can go without looking further. Bounded: call until 0 are left.
-- KEYS
-- 1 index  taskq:{q}:ready[:<class>] | :scheduled | :retry | :dead | :done  zset  the index to empty
-- 2 stats  taskq:{q}:stats                                                  hash  counters
-- ARGV
-- 1 job_prefix  text   taskq:{q}:job:
-- 2 limit       count  jobs to remove in this call, 1..200
-- Returns
-- {"OK", removed, left}
-- Cost: O(k log n) for k jobs, k <= 200
-- Flags: allow-oom
-- @include now_us expect read_job count announce
local index, stats = KEYS[1], KEYS[2]
local job_prefix, limit = ARGV[1], tonumber(ARGV[2])

expect({ index }, stats)
local now = math.floor(now_us() / 1000)
local ids = redis.call('ZRANGE', index, 0, limit - 1)
local waiting = {}
for i, id in ipairs(ids) do
  local job = read_job(job_prefix .. id, 'state', 'waiters')
  waiting[i] = { job and job[1] ~= 'running', job and job[2] } -- a running job listed here by mistake is left alone
end

for i, id in ipairs(ids) do
  if waiting[i][1] then redis.call('UNLINK', job_prefix .. id) end
  if waiting[i][2] then announce(waiting[i][2], id, 'purged', '') end
end
if #ids > 0 then redis.call('ZREM', index, unpack(ids)) end
count(stats, now, 'purged', #ids)
return { 'OK', #ids, redis.call('ZCARD', index) }
