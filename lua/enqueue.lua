-- enqueue: nothing -> ready | scheduled; create up to 200 jobs.
-- Why: a producer whose reply was lost sends the same ids again. A known id with the same task and payload is the same
--   job (DUP, counts nothing); with another payload it is a mistake (CONFLICT). Everything is looked at before the first
--   write, so a refused call leaves no trace. Full queues and servers out of memory refuse here and nowhere else.
-- KEYS
-- 1 ready      taskq:{q}:ready      zset   id by rank
-- 2 scheduled  taskq:{q}:scheduled  zset   id by due ms
-- 3 retry      taskq:{q}:retry      zset   id by due ms (counted only)
-- 4 wake       taskq:{q}:wake       list   wake tokens
-- 5 meta       taskq:{q}:meta       hash   settings of the queue
-- 6 stats      taskq:{q}:stats      hash   counters
-- 7 classes    taskq:{q}:classes    set    classes that have been given jobs
-- ARGV
-- 1 job_prefix   text             taskq:{q}:job:
-- 2 all_or_none  0 | 1            1: a conflict refuses the whole call
-- 3 max_jobs     count            waiting jobs the queue may hold, unless its meta says otherwise
-- 4... jobs      8 + 2n each      id, task, payload, priority 0..9, at, deadline ('' | ms | +ms), class, n, then n names and values
-- Returns
-- {"OK", now_ms, created, id, "DUP" | "CONFLICT", ...}   only the ids that were not created
-- {"CONFLICT", id}                                       all_or_none: nothing was written
-- {"FULL", waiting, max_jobs}                            nothing was written
-- {"PRESSED", used, max}                                 the server's memory in bytes is above the watermark; nothing was written
-- Cost: O(k log n) for k jobs, k <= 200
-- Flags: none
-- @include now_us text expect rank_of time_of count wake_up add_due
local ready, scheduled, retry, wake = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local meta, stats, classes = KEYS[5], KEYS[6], KEYS[7]
local job_prefix, all_or_none, max_jobs = ARGV[1], ARGV[2], tonumber(ARGV[3])

expect({}, stats, wake)
local now = math.floor(now_us() / 1000)
local started = text(now)
local policy = redis.call('HMGET', meta, 'policy', 'horizon_ms', 'patience_ms', 'max_jobs', 'pressed')
max_jobs = tonumber(policy[4]) or max_jobs

local waiting = redis.call('ZCARD', ready) + redis.call('ZCARD', scheduled) + redis.call('ZCARD', retry)
local fresh, odd, seen, served, position, twin = {}, {}, {}, { [''] = true }, 4, nil
while position <= #ARGV do
  local id, task, payload = ARGV[position], ARGV[position + 1], ARGV[position + 2]
  local known = seen[id]
  if not known and redis.call('EXISTS', job_prefix .. id) == 1 then
    known = redis.call('HMGET', job_prefix .. id, 'task', 'payload')
  end
  if not known then
    seen[id] = { task, payload }
    fresh[#fresh + 1] = position
    local class = ARGV[position + 6]
    if not served[class] then
      served[class] = true
      redis.call('SCARD', classes)
      waiting = waiting + redis.call('ZCARD', ready .. ':' .. class)
    end
  elseif known[1] == task and known[2] == payload then
    odd[#odd + 1], odd[#odd + 2] = id, 'DUP'
    if not seen[id] then twin = position end
  elseif all_or_none == '1' then
    return { 'CONFLICT', id }
  else
    odd[#odd + 1], odd[#odd + 2] = id, 'CONFLICT'
  end
  position = position + 8 + 2 * tonumber(ARGV[position + 7])
end
if #fresh == 0 then
  -- A write that changes nothing: WAIT after a repeated call must wait for what the first one wrote, on another connection.
  if twin then redis.call('HSET', job_prefix .. ARGV[twin], 'task', ARGV[twin + 1]) end
  return { 'OK', started, 0, unpack(odd) }
end
if waiting + #fresh > max_jobs then return { 'FULL', waiting, max_jobs } end
if policy[5] then
  local until_ms, used, most = string.match(policy[5], '^(%d+) (%d+) (%d+)$')
  if until_ms and now < tonumber(until_ms) then return { 'PRESSED', used, most } end
end

local by_class, due, first = {}, {}, nil
for _, start in ipairs(fresh) do
  local id, priority, class = ARGV[start], ARGV[start + 3], ARGV[start + 6]
  local at, deadline = time_of(ARGV[start + 4], now), time_of(ARGV[start + 5], now)
  local state, fields = 'ready', {}
  if at and at > now then
    state = 'scheduled'
    due[#due + 1], due[#due + 2] = at, id
    if not first or at < first then first = at end
  else
    local ranks = by_class[class]
    if not ranks then
      ranks = {}
      by_class[class] = ranks
    end
    ranks[#ranks + 1], ranks[#ranks + 2] = rank_of(policy, tonumber(priority), deadline, now), id
  end
  if priority ~= '5' then fields[1], fields[2] = 'priority', priority end
  if deadline then fields[#fields + 1], fields[#fields + 2] = 'deadline_ms', text(deadline) end
  if class ~= '' then fields[#fields + 1], fields[#fields + 2] = 'class', class end
  for i = start + 8, start + 7 + 2 * tonumber(ARGV[start + 7]) do fields[#fields + 1] = ARGV[i] end
  redis.call('HSET', job_prefix .. id, 'state', state, 'task', ARGV[start + 1], 'payload', ARGV[start + 2],
    'enqueued_ms', started, unpack(fields))
end
for class in pairs(served) do
  if class ~= '' then redis.call('SADD', classes, class) end
end
local entered = 0
for class, ranks in pairs(by_class) do
  local key = ready
  if class ~= '' then key = ready .. ':' .. class end
  redis.call('ZADD', key, unpack(ranks))
  entered = entered + #ranks / 2
end
if entered > 0 then wake_up(wake, entered) end
if first then add_due(scheduled, wake, due, first) end
count(stats, now, 'enqueued', #fresh)
return { 'OK', started, #fresh, unpack(odd) }
