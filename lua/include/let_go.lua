-- let_go: what a job that has the field `tied` leaves behind: limits it held, or was woken for; its unique key; and what its
-- group owes by the measured run time. note_tie and plan_wakes only read; let_go writes, once for all jobs of a call.
-- A place under a limit that comes free wakes the best job parked there: into ready, at its old rank (into turned, where that
-- is of an older policy), to be looked at by a claim like any other.
-- Needs ask, cost_of, is_outdated, unpark.
local function new_ties()
  return { held = {}, freed = {}, woken = {}, keys = {}, owed = {}, stay = {} }
end

-- was: the state the job leaves. ends: true: for good, so its key is free; false: it ran, and will again; nil: it goes back as
-- if it had not run, so its group owes nothing for it yet. tied: its field; 'holds' says that it has only
-- that. Returns the ties, made at the first.
local function note_tie(ties, base, id, was, ends, now, tied)
  ties = ties or new_ties()
  local job
  if tied == 'holds' and was == 'running' then
    job = { ask('HGET', base .. 'job:' .. id, 'holds') }
  else
    job = ask('HMGET', base .. 'job:' .. id, 'holds', 'awaits', 'key', 'group', 'charged', 'started_ms') or {}
  end
  if was == 'running' and job[1] then
    if not ends then ties.stay[#ties.stay + 1] = id end
    for instance in string.gmatch(job[1], '%S+') do
      local held = ties.held[instance]
      if held then held[#held + 1] = id else ties.held[instance] = { id } end
      ties.freed[instance] = (ties.freed[instance] or 0) + 1
    end
  elseif was == 'ready' and job[2] then
    ties.woken[job[2]] = (ties.woken[job[2]] or 0) + 1 -- it will not take the place it was woken for: another may
  end
  if ends and job[3] then
    local lock = base .. 'unique:' .. job[3]
    if ask('GET', lock) == id and redis.call('PTTL', lock) == -1 then ties.keys[#ties.keys + 1] = job[3] end
  end
  local charged, began, cost = tonumber(job[5]), tonumber(job[6]), nil
  if charged and was == 'running' and ends ~= nil and began and now >= began then
    ties.unit = ties.unit or ask('HGET', base .. 'meta', 'unit_ms') or ''
    cost = cost_of(ties.unit, now - began)
  elseif charged and (was == 'ready' or was == 'blocked') then
    cost = 0 -- its group was charged when it became ready, and it never ran
  end
  if cost then
    local group = job[4] or ''
    local weight = tonumber(ask('HGET', base .. 'weights', group)) or 1
    if weight > 0 and weight <= 1e6 then ties.owed[group] = (ties.owed[group] or 0) + (cost - charged) / weight end
  end
  return ties
end

-- Which parked jobs come back: {id, instance, rank, class}. granted: instance -> places this call has given away again.
local function plan_wakes(ties, base, granted)
  local wakes, again, budget, policy = {}, {}, 200, nil
  local counts = {}
  for instance, places in pairs(ties.freed) do counts[instance] = places end
  for instance, places in pairs(ties.woken) do counts[instance] = (counts[instance] or 0) + places end
  for instance, places in pairs(counts) do
    places = places - (granted and granted[instance] or 0)
    if places > 0 then
      local most = math.min(places, budget)
      local found = most > 0 and ask('ZRANGE', base .. 'parked:' .. instance, 0, most - 1, 'WITHSCORES') or {}
      for i = 1, #found, 2 do
        local job = ask('HMGET', base .. 'job:' .. found[i], 'state', 'blocked_by', 'class') or {}
        local here = job[1] == 'blocked' and job[2] == instance
        policy = policy or ask('HGET', base .. 'meta', 'policy') or 'strict'
        wakes[#wakes + 1] = { found[i], instance, found[i + 1], job[3] or '', here, is_outdated(policy, found[i + 1]) }
        if not here then again[instance] = true end
      end
      budget = budget - #found / 2
      if most < places then again[instance] = true end
    end
  end
  ties.wakes, ties.again = wakes, again
  if #wakes > 0 or next(again) then
    ties.timers = true
    redis.call('ZCARD', base .. 'timers')
    redis.call('ZCARD', base .. 'blocked')
    redis.call('HLEN', base .. 'meta')
    for _, wake_ in ipairs(wakes) do
      redis.call('ZCARD', base .. (wake_[6] and 'turned' or 'ready') .. (wake_[4] ~= '' and ':' .. wake_[4] or ''))
    end
  end
end

local function let_go(ties, base, now)
  for instance, ids in pairs(ties.held) do redis.pcall('SREM', base .. 'holding:' .. instance, unpack(ids)) end
  for _, id in ipairs(ties.stay) do redis.pcall('HDEL', base .. 'job:' .. id, 'holds') end
  for _, key in ipairs(ties.keys) do redis.call('DEL', base .. 'unique:' .. key) end
  for group, owed in pairs(ties.owed) do
    local known = redis.pcall('ZSCORE', base .. 'shares', group)
    if type(known) == 'string' then
      redis.pcall('ZADD', base .. 'shares', tonumber(known) + owed, group)
    elseif not known and owed > 0 then
      local vtime = tonumber(redis.pcall('HGET', base .. 'meta', 'vtime')) or 0
      redis.pcall('ZADD', base .. 'shares', vtime + owed, group)
      redis.pcall('PEXPIRE', base .. 'shares', 86400000)
    end
  end
  if ties.timers then unpark(base, ties.wakes, ties.again, now) end
end
