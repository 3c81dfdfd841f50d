-- purge: ready | blocked | scheduled | retry | dead | completed | expired | cancelled -> nothing, then blocked -> ready; empty one index of a queue.
-- Why: the index is the proof of the state, so what is in it can go without looking further. Bounded: call until 0 are left.
-- KEYS
-- 1 index  taskq:{q}:ready[:<class>] | :turned[:<class>] | :blocked | :scheduled | :retry | :dead | :done  zset  the index to empty
-- 2 stats  taskq:{q}:stats                                                  hash  counters
-- ARGV
-- 1 job_prefix  text   taskq:{q}:job:
-- 2 limit       count  jobs to remove in this call, 1..200
-- Returns
-- {"OK", removed, left}
-- Cost: O(k log n) for k jobs, k <= 200
-- Flags: allow-oom
-- @include now_us text ask cost_of expect read_job count announce wake_up next_timer note_timer leave_parked is_outdated unpark let_go
local index, stats = KEYS[1], KEYS[2]
local job_prefix, limit = ARGV[1], tonumber(ARGV[2])

expect({ index }, stats)
local now = math.floor(now_us() / 1000)
local home, base, ties = string.match(index, '}:(%a+)'), string.sub(job_prefix, 1, -5), new_ties()
if home == 'turned' then home = 'ready' end
if home == 'blocked' then expect({ base .. 'timers' }, base .. 'meta') end
local listed = redis.call('ZRANGE', index, 0, limit - 1, 'WITHSCORES')
local ids, owned = {}, {}
for i = 1, #listed, 2 do
  local id, score = listed[i], text(tonumber(listed[i + 1]))
  local job = read_job(job_prefix .. id, 'state', 'ended_ms', 'waiters', 'tied', 'blocked_by')
  ids[#ids + 1] = id
  -- Listed here by mistake, or its record ran out and the id was used again since: then only the entry goes.
  if job and (job[1] == home or job[2] == score) then
    owned[#owned + 1] = { id, job[3], job[1] == 'blocked' and job[5] }
    if job[4] and job[1] == home then ties = note_tie(ties, base, id, home, true, now, job[4]) end
  end
end
plan_wakes(ties, base)

for _, job in ipairs(owned) do
  redis.call('UNLINK', job_prefix .. job[1])
  if job[3] then leave_parked(base, job[1], job[3]) end
  if job[2] then announce(job[2], job[1], 'purged', '') end
end
if #ids > 0 then redis.call('ZREM', index, unpack(ids)) end
if home == 'blocked' then redis.call('HSET', base .. 'meta', 'blocked', redis.call('ZCARD', index)) end
let_go(ties, base, now)
count(stats, now, 'purged', #ids)
return { 'OK', #ids, redis.call('ZCARD', index) }
