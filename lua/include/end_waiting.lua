-- end_waiting: waiting jobs end to make room: replaced by a newer one with their key, or the oldest of a full queue. Their records are
-- kept for an hour. oldest and look_at_ends only read; end_waiting writes.
-- Needs ask, announce, count, finish, last_until, leave_home, note_tie, plan_wakes, let_go.
local KEPT_MS = 3600000

-- {id, state, reason, {its state, class, waiters, tied, blocked_by}} of the `wanted` oldest jobs of the lowest bands that are
-- ready; nil when there are fewer (some entries may be no jobs). taken: those that go anyway. served: classes to look in.
local function oldest(base, served, wanted, taken)
  local found, gone, keys, band = {}, {}, {}, 0
  for _, job in ipairs(taken) do gone[job[1]] = true end
  if wanted > 200 then return nil end
  for class in pairs(served) do
    local key = base .. 'ready' .. (class ~= '' and ':' .. class or '')
    local last = redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')[2]
    if last then
      keys[#keys + 1] = key
      band = math.max(band, math.min(9, math.floor(tonumber(last) / 1e13)))
    end
  end
  table.sort(keys)
  while band >= 0 and #found < wanted do
    local from, to = string.format('%.0f', band * 1e13), string.format('(%.0f', (band + 1) * 1e13)
    if band == 9 then to = '+inf' end
    if band == 0 then from = '-inf' end
    for _, key in ipairs(keys) do
      for _, id in ipairs(redis.call('ZRANGE', key, from, to, 'BYSCORE', 'LIMIT', 0, wanted + #taken + 20)) do
        if #found < wanted and not gone[id] then
          gone[id] = true
          local job = ask('HMGET', base .. 'job:' .. id, 'state', 'class', 'waiters', 'tied', 'blocked_by') or {}
          if job[1] == 'ready' then found[#found + 1] = { id, 'expired', 'dropped', job } end
        end
      end
    end
    band = band - 1
  end
  if #found < wanted then return nil end
  return found
end

local function look_at_ends(base, ends, now)
  local ties = nil
  for _, job in ipairs(ends) do
    local state, class = job[4][1], job[4][2]
    if state == 'ready' and class then redis.call('ZCARD', base .. 'ready:' .. class) end
    if job[4][4] then ties = note_tie(ties, base, job[1], job[4][1], true, now, job[4][4]) end
  end
  redis.call('ZCARD', base .. 'done')
  redis.call('ZCARD', base .. 'blocked')
  redis.call('ZCARD', base .. 'timers')
  if ties then plan_wakes(ties, base) end
  return ties
end

local function end_waiting(base, ends, ties, stats, now)
  local counts = {}
  for _, ended in ipairs(ends) do
    local id, state, reason, job = ended[1], ended[2], ended[3], ended[4]
    leave_home(base, id, job[1], job[2], job[5])
    finish(base .. 'job:' .. id, id, base .. 'done', state, now, KEPT_MS, { 'reason', reason })
    if job[3] then announce(job[3], id, state, reason) end
    counts[state] = (counts[state] or 0) + 1
  end
  last_until(base .. 'done', KEPT_MS)
  if ties then let_go(ties, base, now) end
  for state, jobs in pairs(counts) do count(stats, now, state, jobs) end
end
