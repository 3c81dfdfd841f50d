-- signals: any state -> the same; what an autoscaler needs to know of the jobs that wait, in one consistent look. Read only.
-- Why: the length of a queue says little: what counts is how old the oldest is, how much work there is, and whether deadlines
--   hold. To know that of all jobs one would have to read them all; so the best of every band of every class are read, at
--   most 200, and the numbers of those behind them. What was not read is told, so that a guess is never taken for a fact.
-- KEYS
-- 1 ready      taskq:{q}:ready      zset  id by rank
-- 2 scheduled  taskq:{q}:scheduled  zset  id by due ms
-- 3 retry      taskq:{q}:retry      zset  id by due ms
-- 4 classes    taskq:{q}:classes    set   classes that have been given jobs
-- 5 holders    taskq:{q}:holders    set   workers that may hold jobs
-- 6 suspects   taskq:{q}:suspects   hash  silent workers
-- 7 vitals     taskq:{q}:vitals     hash  what each worker's last beat said of it
-- 8 meta       taskq:{q}:meta       hash  settings of the queue
-- 9 averages   taskq:{q}:averages   hash  run times by task
-- ARGV
-- 1 prefix  text  taskq:{q}:
-- Returns
-- {"OK", now_ms, ready, blocked, running, due, {worker, running, word, slots, ...}, {policy, horizon_ms, paused}, {task, ms, ...}, bands}
--   due: scheduled and retrying jobs whose time has come; bands, in no order: {class, jobs, {rank, task, enqueued_ms, deadline_ms, cost, ...} of the best}
-- Cost: O(w + c log n + k) for w workers, c classes and k jobs, w <= 200, c <= 200, k <= 200
-- Flags: no-writes
-- @include now_us text read_job workers_of
local ready, scheduled, retry, classes = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local holders, suspects, vitals, meta, averages = KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local prefix = ARGV[1]

local now = math.floor(now_us() / 1000)
-- Every band in use: {class, key, least rank, jobs}. A rank is band * 10^13 + a time; below 0 and above 9 is nonsense.
local bands, waiting, listed = {}, 0, redis.call('SRANDMEMBER', classes, 200)
listed[#listed + 1] = ''
for i = #listed, 1, -1 do
  local key = ready
  if listed[i] ~= '' then key = ready .. ':' .. listed[i] end
  local jobs, told = redis.call('ZCARD', key), 0
  local turned = redis.call('ZCARD', prefix .. 'turned' .. string.sub(key, #ready + 1))
  waiting = waiting + jobs + turned
  local band = 0
  while jobs > told and #bands < 200 and band < 10 do
    local first = redis.call('ZRANGE', key, text(band * 1e13), '+inf', 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
    if not first[2] or tonumber(first[2]) >= 1e14 then break end
    band = math.floor(tonumber(first[2]) / 1e13)
    local here = redis.call('ZCOUNT', key, text(band * 1e13), '(' .. text((band + 1) * 1e13))
    bands[#bands + 1] = { listed[i], key, text(band * 1e13), here }
    told = told + here
    band = band + 1
  end
  -- Those that have no band: their rank is nonsense, or of the policy the queue had before.
  if jobs + turned > told then bands[#bands + 1] = { listed[i], key, false, jobs + turned - told } end
end

local found, tasks, times = {}, { ['*'] = true }, {}
local share = math.floor(200 / math.max(#bands, 1))
for _, band in ipairs(bands) do
  local rows, best = {}, {}
  if band[3] and share > 0 then
    best = redis.call('ZRANGE', band[2], band[3], '(' .. text(band[3] + 1e13), 'BYSCORE', 'LIMIT', 0, share, 'WITHSCORES')
  end
  for i = 1, #best, 2 do
    local job = read_job(prefix .. 'job:' .. best[i], 'state', 'task', 'enqueued_ms', 'deadline_ms', 'cost')
    if job and job[1] == 'ready' then
      rows[#rows + 1], rows[#rows + 2], rows[#rows + 3] = best[i + 1], job[2] or '', job[3] or ''
      rows[#rows + 1], rows[#rows + 2] = job[4] or '', job[5] or ''
      if job[2] then tasks[job[2]] = true end
    end
  end
  found[#found + 1] = { band[1], band[4], rows }
end
for task in pairs(tasks) do
  local ms = redis.call('HGET', averages, task)
  if ms then times[#times + 1], times[#times + 2] = task, ms end
end
local workers, running = workers_of(holders, suspects, vitals, prefix .. 'alive:', prefix .. 'running:')
local blocked = redis.call('ZCARD', prefix .. 'blocked')
local due = redis.call('ZCOUNT', scheduled, '-inf', text(now)) + redis.call('ZCOUNT', retry, '-inf', text(now))
local settings = redis.call('HMGET', meta, 'policy', 'horizon_ms', 'paused')
for i = 1, 3 do settings[i] = settings[i] or '' end
return { 'OK', text(now), waiting, blocked, running, due, workers, settings, times, found }
