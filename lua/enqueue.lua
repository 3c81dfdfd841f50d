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
-- {"STRUCK", task}                          nothing was written; *: the queue is closed for all
-- Cost: O(k log n) for k jobs, k <= 200
-- Flags: none
-- @include now_us text expect rank_of time_of count wake_up add_due
-- @rare ask cost_of open_shares announce last_until finish next_timer note_timer leave_parked leave_home is_outdated unpark let_go claim_key end_waiting tick parts_of
local ready, scheduled, retry, wake = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local meta, stats, classes = KEYS[5], KEYS[6], KEYS[7]
local job_prefix, all_or_none, max_jobs = ARGV[1], ARGV[2], tonumber(ARGV[3])

expect({}, stats, wake)
local now = math.floor(now_us() / 1000)
local started, base = text(now), string.sub(job_prefix, 1, -5)
local policy = redis.call('HMGET', meta, 'policy', 'horizon_ms', 'patience_ms', 'max_jobs', 'pressed', 'struck', 'blocked',
  'turning')
max_jobs = tonumber(policy[4]) or max_jobs

-- First look: which jobs are new. What a job brings besides is kept in `more`, for the few that bring anything.
local waiting = redis.call('ZCARD', ready) + redis.call('ZCARD', scheduled) + redis.call('ZCARD', retry)
waiting = waiting + (tonumber(policy[7]) or 0)
if policy[8] then waiting = waiting + (ask('ZCARD', base .. 'turned') or 0) end
local fresh, odd, seen, served, position, twin = {}, {}, {}, { [''] = true }, 4, nil
local more, claims, ticks, planned
while position <= #ARGV do
  local start, id, task, payload = position, ARGV[position], ARGV[position + 1], ARGV[position + 2]
  position = position + 8 + 2 * tonumber(ARGV[position + 7])
  local known, word, parts, twice = nil, nil, nil, seen[id]
  if twice then
    known = { ARGV[twice + 1], ARGV[twice + 2] }
  elseif redis.call('EXISTS', job_prefix .. id) == 1 then
    known = redis.call('HMGET', job_prefix .. id, 'task', 'payload')
  end
  if ARGV[start + 7] ~= '0' then parts = parts_of(ARGV, start) end
  if parts and parts['@tick'] then
    local schedule, expected, next_ms = string.match(parts['@tick'], '^(%S+) (%S+) (%S+)$')
    local due = schedule and ask('ZSCORE', base .. 'timers', 'cron:' .. schedule)
    if due and tonumber(due) == tonumber(expected) then
      ticks = ticks or {}
      ticks[#ticks + 1] = { 'cron:' .. schedule, next_ms }
    elseif not known then
      word = 'TICKED'
    end
  end
  if known then
    if known[1] == task and known[2] == payload then
      word = 'DUP'
      if not twice then twin = start end
    elseif all_or_none == '1' then
      return { 'CONFLICT', id }
    else
      word = 'CONFLICT'
    end
  elseif not word then
    if policy[6] then
      if string.find(policy[6], ' * ', 1, true) then return { 'STRUCK', '*' } end
      if string.find(policy[6], ' ' .. task .. ' ', 1, true) then return { 'STRUCK', task } end
    end
    if parts then
      more = more or {}
      more[start] = parts
      if parts['@unique'] and parts.key then
        claims = claims or new_claims(base, now)
        local owner = claim_key(claims, parts.key, id, parts['@unique'], ARGV[start + 4])
        if owner then word = 'KEPT ' .. owner end
      end
    end
    if not word then
      seen[id] = start
      fresh[#fresh + 1] = start
      local class = ARGV[start + 6]
      if not served[class] then
        served[class] = true
        redis.call('SCARD', classes)
        waiting = waiting + redis.call('ZCARD', ready .. ':' .. class)
        if policy[8] then waiting = waiting + (ask('ZCARD', base .. 'turned:' .. class) or 0) end
      end
    end
  end
  if word then odd[#odd + 1], odd[#odd + 2] = id, word end
end

-- Second, where somebody asks for it: the ranks of fair shares, and when jobs may start.
local shares = policy[1] == 'fair' and open_shares(base, redis.call('HGET', meta, 'vtime'))
if shares or more then
  local kept, known = {}, redis.call('HMGET', meta, 'slots', 'reaped_ms')
  -- Workers count their slots with every pass of the reaper: when none was made for long, there are none.
  local slots = now - (tonumber(known[2]) or 0) < 60000 and tonumber(known[1]) or nil
  planned = {}
  for _, start in ipairs(fresh) do
    local id, parts, class = ARGV[start], more and more[start] or {}, ARGV[start + 6]
    local at, deadline = time_of(ARGV[start + 4], now), time_of(ARGV[start + 5], now)
    local rank, charge, begin, late
    local done = shares and shares.finish[parts.group or '']
    if not at or at <= now then
      if shares then begin, charge = start_of(shares, parts.group, ARGV[start + 1]) end
      rank = rank_of(policy, tonumber(ARGV[start + 3]), deadline, now, begin)
    end
    if parts['@admit'] then
      local first = math.max(at or now, now)
      local mean = tonumber(ask('HGET', base .. 'averages', '*'))
      if rank and mean and slots and slots > 0 then
        local key = class ~= '' and ready .. ':' .. class or ready
        first = now + math.floor(redis.call('ZCOUNT', key, '-inf', string.format('%.17g', rank)) * mean / slots)
      end
      late = deadline and first >= deadline and parts['@admit'] == 'reject'
      if late and all_or_none == '1' then return { 'LATE', id, text(first), text(deadline) } end
      odd[#odd + 1], odd[#odd + 2] = id, (late and 'LATE ' or 'START ') .. text(first)
    end
    planned[start] = { rank, charge }
    if not late then
      kept[#kept + 1] = start
    else
      if shares and begin then shares.finish[parts.group or ''] = done end -- it is not charged
      if claims then forget_claim(claims, id) end
    end
  end
  fresh = kept
end
if #fresh == 0 then
  -- A write that changes nothing: WAIT after a repeated call must wait for what the first one wrote, on another connection.
  if twin then redis.call('HSET', job_prefix .. ARGV[twin], 'task', ARGV[twin + 1]) end
  if claims then keep_claims(claims) end
  if ticks then tick(base, meta, ticks) end
  return { 'OK', started, 0, unpack(odd) }
end
local ends = claims and claims.replaced or {}
local over = waiting - #ends + #fresh - max_jobs
if over > 0 then
  local on_full = redis.call('HGET', meta, 'on_full') or 'reject'
  local dropped = on_full == 'drop_oldest' and oldest(base, served, over, ends)
  if not dropped then return { 'FULL', waiting, max_jobs, on_full } end
  for _, job in ipairs(dropped) do ends[#ends + 1] = job end
end
if policy[5] then
  local until_ms, used, most = string.match(policy[5], '^(%d+) (%d+) (%d+)$')
  if until_ms and now < tonumber(until_ms) then return { 'PRESSED', used, most } end
end

-- Then write. Those that make room go first.
if #ends > 0 then
  local ties = look_at_ends(base, ends, now)
  end_waiting(base, ends, ties, stats, now)
  for group, owed in pairs(shares and ties and ties.owed or {}) do
    if shares.finish[group] then shares.finish[group] = shares.finish[group] + owed end
  end
end
local by_class, given, due, first, usual = {}, {}, {}, nil, {}
for _, start in ipairs(fresh) do
  local id, priority, class, parts = ARGV[start], ARGV[start + 3], ARGV[start + 6], more and more[start]
  local at, deadline = time_of(ARGV[start + 4], now), time_of(ARGV[start + 5], now)
  local state, fields, plan = 'ready', parts and parts.fields, planned and planned[start]
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
    local rank = plan and plan[1]
    if not rank and not deadline then -- the same for all of a priority: worked out, and made a text, once
      rank = usual[priority]
      if not rank then
        rank = string.format('%.17g', rank_of(policy, tonumber(priority), nil, now))
        usual[priority] = rank
      end
    end
    ranks[#ranks + 1], ranks[#ranks + 2] = rank or rank_of(policy, tonumber(priority), deadline, now), id
  end
  if priority ~= '5' or deadline or class ~= '' or plan or parts then
    fields = fields or {}
    if priority ~= '5' then fields[#fields + 1], fields[#fields + 2] = 'priority', priority end
    if deadline then fields[#fields + 1], fields[#fields + 2] = 'deadline_ms', text(deadline) end
    if class ~= '' then
      fields[#fields + 1], fields[#fields + 2] = 'class', class
      given[class] = true
    end
    local charge = plan and plan[2]
    if charge then fields[#fields + 1], fields[#fields + 2] = 'charged', string.format('%.17g', charge) end
    if charge or parts and parts.key then fields[#fields + 1], fields[#fields + 2] = 'tied', '1' end
    redis.call('HSET', job_prefix .. id, 'state', state, 'task', ARGV[start + 1], 'payload', ARGV[start + 2],
      'enqueued_ms', started, unpack(fields))
  else
    redis.call('HSET', job_prefix .. id, 'state', state, 'task', ARGV[start + 1], 'payload', ARGV[start + 2],
      'enqueued_ms', started)
  end
end
if claims then keep_claims(claims) end
if ticks then tick(base, meta, ticks) end
for class in pairs(given) do
  if redis.call('SADD', classes, class) == 1 then wake_up(wake, 4) end
end
for class, ranks in pairs(by_class) do
  redis.call('ZADD', class ~= '' and ready .. ':' .. class or ready, unpack(ranks))
  wake_up(wake, #ranks / 2, class)
end
if first then add_due(scheduled, wake, due, first) end
if shares then close_shares(shares) end
count(stats, now, 'enqueued', #fresh)
return { 'OK', started, #fresh, unpack(odd) }
