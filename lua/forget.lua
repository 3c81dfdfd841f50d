-- forget: dead | completed | expired | cancelled -> nothing; remove the records of ended jobs.
-- Why: only ended jobs may be removed; a job that still has work to do must be cancelled first.
-- KEYS
-- 1 dead   taskq:{q}:dead   zset  id by end ms
-- 2 done   taskq:{q}:done   zset  id by end ms
-- 3 stats  taskq:{q}:stats  hash  counters
-- ARGV
-- 1 job_prefix  text    taskq:{q}:job:
-- 2... ids      1 each  at most 200
-- Returns
-- {"OK", id, "GONE" | "NOT_FOUND" | <its state>, ...}
-- Cost: O(k log n) for k jobs, k <= 200
-- Flags: allow-oom
-- @include now_us expect read_job count
local dead, done, stats = KEYS[1], KEYS[2], KEYS[3]
local job_prefix = ARGV[1]

expect({ dead, done }, stats)
local now = math.floor(now_us() / 1000)
local words, ids = {}, {}
for i = 2, #ARGV do
  local id = ARGV[i]
  local job = read_job(job_prefix .. id, 'state')
  local word = job and job[1] or 'NOT_FOUND'
  if word == 'dead' or word == 'completed' or word == 'expired' or word == 'cancelled' then
    ids[#ids + 1], word = id, 'GONE'
  end
  words[#words + 1], words[#words + 2] = id, word
end

local removed = 0
for _, id in ipairs(ids) do
  redis.call('ZREM', dead, id)
  redis.call('ZREM', done, id)
  removed = removed + redis.call('UNLINK', job_prefix .. id)
end
count(stats, now, 'forgotten', removed)
return { 'OK', unpack(words) }
