-- promote: scheduled | retry | blocked -> ready; move jobs whose time has come.
-- Why: every worker promotes, so there is no scheduler to die; the earliest due go first, a bounded number a call. What else is
--   due is seen to here as well: limits that have room again by their rate or by a new setting, and ranks of an older policy.
-- KEYS
-- 1 scheduled  taskq:{q}:scheduled  zset  id by due ms
-- 2 retry      taskq:{q}:retry      zset  id by due ms
-- 3 ready      taskq:{q}:ready      zset  id by rank
-- 4 meta       taskq:{q}:meta       hash  settings of the queue
-- 5 wake       taskq:{q}:wake       list  wake tokens
-- 6 stats      taskq:{q}:stats      hash  counters
-- 7 timers     taskq:{q}:timers     zset  what else is due, by due ms
-- 8 classes    taskq:{q}:classes    set   classes that have been given jobs
-- ARGV
-- 1 job_prefix  text   taskq:{q}:job:
-- 2 limit       count  jobs to move from each of the two, 1..100
-- Returns
-- {"OK", promoted, next_due_ms}   next_due_ms: 0 when more are due now, -1 when nothing waits
-- Cost: O(k log n) for k moved jobs, k <= 500
-- Flags: allow-oom
-- @include now_us text expect rank_of read_job count next_due wake_up
-- @rare ask cost_of open_shares next_timer note_timer open_limits is_outdated unpark turn room_now
local scheduled, retry, ready, meta, wake, stats = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local timers, classes = KEYS[7], KEYS[8]
local job_prefix, limit = ARGV[1], tonumber(ARGV[2])

expect({ ready }, stats, wake)
local us = now_us()
local now = math.floor(us / 1000)
local policy = redis.call('HMGET', meta, 'policy', 'horizon_ms', 'patience_ms', 'vtime', 'timer_ms', 'limited')
local base = string.sub(job_prefix, 1, -5)
local shares = policy[1] == 'fair' and open_shares(base, policy[4])
local moves, strays = {}, {}
for _, home in ipairs({ { scheduled, 'scheduled' }, { retry, 'retry' } }) do
  local due = redis.call('ZRANGE', home[1], '-inf', text(now), 'BYSCORE', 'LIMIT', 0, limit, 'WITHSCORES')
  for i = 1, #due, 2 do
    local id = due[i]
    local job = read_job(job_prefix .. id, 'state', 'priority', 'deadline_ms', 'class', 'group', 'task')
    if job and job[1] == home[2] then
      if job[4] then redis.call('ZCARD', ready .. ':' .. job[4]) end
      local start, charge
      if shares then start, charge = start_of(shares, job[5], job[6]) end
      local rank = rank_of(policy, tonumber(job[2]) or 5, tonumber(job[3]), tonumber(due[i + 1]), start)
      moves[#moves + 1] = { id, home[1], rank, job[4] or '', charge }
    else
      strays[#strays + 1] = { id, home[1] }
    end
  end
end

local wakes, again, turns, lost, turning = {}, {}, {}, {}, nil
local timed = policy[5] and (tonumber(policy[5]) or 0) <= now
if timed then
  redis.call('ZCARD', base .. 'blocked')
  local book = open_limits(base, policy[6], nil)
  for _, member in ipairs(redis.call('ZRANGE', timers, '-inf', text(now), 'BYSCORE', 'LIMIT', 0, 100)) do
    local instance = string.match(member, '^limit:(.*)$')
    if instance then
      local parked = ask('ZRANGE', base .. 'parked:' .. instance, 0, 100 - math.min(#wakes, 100), 'WITHSCORES') or {}
      local room, at = 0, math.huge
      if #parked > 0 then room, at = room_now(book, instance, parked[1], #parked / 2, us) end
      if room > 100 - #wakes then room, at = 100 - #wakes, now end
      for i = 1, 2 * room, 2 do
        local job = ask('HMGET', job_prefix .. parked[i], 'state', 'blocked_by', 'class') or {}
        if job[3] then redis.call('ZCARD', ready .. ':' .. job[3]) end
        local here, outdated = job[1] == 'blocked' and job[2] == instance, is_outdated(policy[1], parked[i + 1])
        if outdated then redis.call('ZCARD', base .. 'turned' .. (job[3] and ':' .. job[3] or '')) end
        wakes[#wakes + 1] = { parked[i], instance, parked[i + 1], job[3] or '', here, outdated }
      end
      again[#again + 1] = { member, #parked > 0 and at }
    elseif member == 'turn' then
      turns, lost, turning = plan_turn(base, classes, policy, shares, 100)
    end
  end
end

for _, stray in ipairs(strays) do redis.call('ZREM', stray[2], stray[1]) end
local woken = {}
for _, move in ipairs(moves) do
  local id, class = move[1], move[4]
  redis.call('ZREM', move[2], id)
  if move[5] then
    redis.call('HSET', job_prefix .. id, 'state', 'ready', 'charged', string.format('%.17g', move[5]), 'tied', '1')
  else
    redis.call('HSET', job_prefix .. id, 'state', 'ready')
  end
  redis.call('ZADD', ready .. (class ~= '' and ':' .. class or ''), move[3], id)
  woken[class] = (woken[class] or 0) + 1
end
if timed then
  for _, timer in ipairs(again) do
    if not timer[2] then
      redis.call('ZREM', timers, timer[1])
    else
      redis.call('ZADD', timers, timer[2] == math.huge and '+inf' or timer[2], timer[1])
    end
  end
  if turning ~= nil then
    turn(base, turns, lost)
    for _, move in ipairs(turns) do woken[move[2]] = (woken[move[2]] or 0) + 1 end
    if not turning then
      redis.call('ZREM', timers, 'turn')
      redis.call('HDEL', meta, 'turning')
    end
  end
  if #wakes > 0 then unpark(base, wakes, {}, now) end
  note_timer(timers, meta)
end
if shares then close_shares(shares) end
for class, jobs in pairs(woken) do wake_up(wake, jobs, class) end
count(stats, now, 'promoted', #moves)
local timer = policy[5]
if timed then timer = redis.call('HGET', meta, 'timer_ms') end -- may be gone by now
return { 'OK', #moves, next_due(scheduled, retry, now, timer) }
