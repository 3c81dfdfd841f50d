-- enqueue: nothing -> ready | scheduled, then scheduled | ready | blocked | retry -> cancelled, then ready -> expired, then blocked -> ready; create up to 200 jobs.
-- Why: a producer whose reply was lost sends the same ids again. A known id with the same task and payload is the same
--   job (DUP, counts nothing); with another payload it is a mistake (CONFLICT). Everything is looked at before the first
--   write, so a refused call leaves no trace. Full queues and servers out of memory refuse here and nowhere else. A unique
--   key, a schedule's tick and the predicted start are looked at in the same step: two producers cannot both be the first.
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
--   Names that begin with @ are obeyed and not stored: @unique = 'queued | running | <ms>' and 'keep | replace | extend';
--   @admit = 'warn | reject'; @tick = '<schedule> <due ms> <next ms | inf>'.
-- Returns
-- {"OK", now_ms, created, id, word, ...}    words: "DUP", "CONFLICT", "TICKED", "KEPT <id>", "LATE <start ms>": not created;
--   "START <ms>": created, and predicted to start then
-- {"CONFLICT", id} | {"LATE", id, start_ms, deadline_ms}   all_or_none: nothing was written
-- {"FULL", waiting, max_jobs, on_full}      nothing was written
-- {"PRESSED", used, max}                    the server's memory in bytes is above the watermark; nothing was written
-- {"STRUCK", task}                          nothing was written
-- Cost: O(k log n) for k jobs, k <= 200
-- Flags: none
-- @include now_us text ask expect rank_of open_shares time_of count announce last_until finish wake_up add_due next_timer note_timer leave_parked leave_home unpark let_go claim_key end_waiting tick
local ready, scheduled, retry, wake = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local meta, stats, classes = KEYS[5], KEYS[6], KEYS[7]
local job_prefix, all_or_none, max_jobs = ARGV[1], ARGV[2], tonumber(ARGV[3])

expect({}, stats, wake)
local now = math.floor(now_us() / 1000)
local started, base = text(now), string.sub(job_prefix, 1, -5)
local policy = redis.call('HMGET', meta, 'policy', 'horizon_ms', 'patience_ms', 'max_jobs', 'pressed', 'on_full', 'vtime',
  'struck', 'slots', 'blocked', 'turned')
max_jobs = tonumber(policy[4]) or max_jobs
local shares = open_shares(base, policy[1], policy[7])

local function ready_of(class)
  return class ~= '' and ready .. ':' .. class or ready
end

-- What a job brings besides, for those that bring anything: named fields to look at, fields to store, and what to obey.
local function parts_of(start)
  local parts, fields = {}, {}
  for i = start + 8, start + 7 + 2 * tonumber(ARGV[start + 7]), 2 do
    local name, value = ARGV[i], ARGV[i + 1]
    if string.byte(name) ~= 64 then fields[#fields + 1], fields[#fields + 2] = name, value end
    parts[name] = value
  end
  parts.fields = fields
  return parts
end

-- First look: which jobs are new.
local waiting = redis.call('ZCARD', ready) + redis.call('ZCARD', scheduled) + redis.call('ZCARD', retry)
waiting = waiting + (tonumber(policy[10]) or 0)
local fresh, odd, seen, served, position, twin = {}, {}, {}, { [''] = true }, 4, nil
local more, claims, ticks, none = {}, new_claims(base, now), {}, {}
while position <= #ARGV do
  local start, id, task, payload = position, ARGV[position], ARGV[position + 1], ARGV[position + 2]
  position = position + 8 + 2 * tonumber(ARGV[position + 7])
  local known, word, parts = seen[id], nil, ARGV[start + 7] ~= '0' and parts_of(start) or none
  if not known and redis.call('EXISTS', job_prefix .. id) == 1 then
    known = redis.call('HMGET', job_prefix .. id, 'task', 'payload')
  end
  if parts['@tick'] then
    local schedule, expected, next_ms = string.match(parts['@tick'], '^(%S+) (%S+) (%S+)$')
    local due = schedule and ask('ZSCORE', base .. 'timers', 'cron:' .. schedule)
    if due and tonumber(due) == tonumber(expected) then
      ticks[#ticks + 1] = { 'cron:' .. schedule, next_ms }
    elseif not known then
      word = 'TICKED'
    end
  end
  if known then
    if known[1] == task and known[2] == payload then
      word = 'DUP'
      if not seen[id] then twin = start end
    elseif all_or_none == '1' then
      return { 'CONFLICT', id }
    else
      word = 'CONFLICT'
    end
  elseif not word then
    if policy[8] and string.find(policy[8], ' ' .. task .. ' ', 1, true) then return { 'STRUCK', task } end
    if parts['@unique'] and parts.key then
      local owner = claim_key(claims, parts.key, id, parts['@unique'], ARGV[start + 4])
      if owner then word = 'KEPT ' .. owner end
    end
    if not word then
      seen[id] = { task, payload }
      fresh[#fresh + 1] = start
      more[start] = parts
      local class = ARGV[start + 6]
      if not served[class] then
        served[class] = true
        redis.call('SCARD', classes)
        waiting = waiting + redis.call('ZCARD', ready_of(class))
      end
    end
  end
  if word then odd[#odd + 1], odd[#odd + 2] = id, word end
end

-- Second: their ranks, and when they may start.
local plans, slots = {}, tonumber(policy[9] or '')
for _, start in ipairs(fresh) do
  local id, parts, class = ARGV[start], more[start], ARGV[start + 6]
  local at, deadline = time_of(ARGV[start + 4], now), time_of(ARGV[start + 5], now)
  local plan, late = { start, at, deadline, nil, nil }, false
  if not at or at <= now then
    local begin, charge
    if shares then begin, charge = start_of(shares, parts.group, ARGV[start + 1]) end
    plan[4], plan[5] = rank_of(policy, tonumber(ARGV[start + 3]), deadline, now, begin), charge
  end
  if parts['@admit'] then
    local first = math.max(at or now, now)
    local mean = tonumber(ask('HGET', base .. 'averages', '*') or '')
    if plan[4] and mean and slots and slots > 0 then
      first = now + math.floor(redis.call('ZCOUNT', ready_of(class), '-inf', plan[4]) * mean / slots)
    end
    late = deadline and first >= deadline and parts['@admit'] == 'reject'
    if late and all_or_none == '1' then return { 'LATE', id, text(first), text(deadline) } end
    odd[#odd + 1], odd[#odd + 2] = id, (late and 'LATE ' or 'START ') .. text(first)
  end
  if late then forget_claim(claims, id) else plans[#plans + 1] = plan end
end
if #plans == 0 then
  -- A write that changes nothing: WAIT after a repeated call must wait for what the first one wrote, on another connection.
  if twin then redis.call('HSET', job_prefix .. ARGV[twin], 'task', ARGV[twin + 1]) end
  keep_claims(claims)
  if #ticks > 0 then tick(base, meta, ticks) end
  return { 'OK', started, 0, unpack(odd) }
end
local over, ends = waiting - #claims.replaced + #plans - max_jobs, claims.replaced
if over > 0 then
  local dropped = policy[6] == 'drop_oldest' and oldest(base, served, over, claims.replaced)
  if not dropped then return { 'FULL', waiting, max_jobs, policy[6] or 'reject' } end
  for _, job in ipairs(dropped) do ends[#ends + 1] = job end
end
if policy[5] then
  local until_ms, used, most = string.match(policy[5], '^(%d+) (%d+) (%d+)$')
  if until_ms and now < tonumber(until_ms) then return { 'PRESSED', used, most } end
end
local ties = #ends > 0 and look_at_ends(base, ends, now)

-- Then write. Those that make room go first.
if ties then end_waiting(base, ends, ties, stats, now) end
local by_class, due, first = {}, {}, nil
for _, plan in ipairs(plans) do
  local start, at, deadline, rank, charge = plan[1], plan[2], plan[3], plan[4], plan[5]
  local id, priority, class, parts = ARGV[start], ARGV[start + 3], ARGV[start + 6], more[start]
  local state, fields = 'ready', parts.fields or {}
  if not rank then
    state = 'scheduled'
    due[#due + 1], due[#due + 2] = at, id
    if not first or at < first then first = at end
  else
    local ranks = by_class[class]
    if not ranks then
      ranks = {}
      by_class[class] = ranks
    end
    ranks[#ranks + 1], ranks[#ranks + 2] = rank, id
  end
  if priority ~= '5' then fields[#fields + 1], fields[#fields + 2] = 'priority', priority end
  if deadline then fields[#fields + 1], fields[#fields + 2] = 'deadline_ms', text(deadline) end
  if class ~= '' then fields[#fields + 1], fields[#fields + 2] = 'class', class end
  if charge then fields[#fields + 1], fields[#fields + 2] = 'charged', string.format('%.17g', charge) end
  if charge or parts.key then fields[#fields + 1], fields[#fields + 2] = 'tied', '1' end
  redis.call('HSET', job_prefix .. id, 'state', state, 'task', ARGV[start + 1], 'payload', ARGV[start + 2],
    'enqueued_ms', started, unpack(fields))
end
keep_claims(claims)
if #ticks > 0 then tick(base, meta, ticks) end
for class in pairs(served) do
  if class ~= '' and redis.call('SADD', classes, class) == 1 then wake_up(wake, 4) end
end
for class, ranks in pairs(by_class) do
  redis.call('ZADD', class ~= '' and ready .. ':' .. class or ready, unpack(ranks))
  wake_up(wake, #ranks / 2, class)
end
if first then add_due(scheduled, wake, due, first) end
close_shares(shares)
count(stats, now, 'enqueued', #plans)
return { 'OK', started, #plans, unpack(odd) }
