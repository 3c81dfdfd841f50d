-- take: grant up to `limit` leases, best rank first over the worker's ready sets (one, or one per capability class).
-- In two steps, so that a script reads and checks all before its first write: pick() looks, take() writes.
-- Needs count, finish, announce, last_until, open_limits, limits_on, blocker_of, grant, note_tie, pass_on, park.

-- A job that costs more than is free is passed by those behind it, but no longer than so many us after it was enqueued.
local OVERTAKEN = 5e6

-- Candidates, best first: of each key from position `from` as many as it may give, and `look` more. Flat {id, rank, ...}; the
-- key of each where there are several, else nil; and whether there may be more behind them.
local function read_ready(keys, room, from, look)
  if #keys == 1 then
    local most = room[keys[1]]
    if most <= 0 then return {}, nil, false end
    local first = from[keys[1]] or 0
    local found = redis.call('ZRANGE', keys[1], first, first + most + look - 1, 'WITHSCORES')
    return found, nil, #found == 2 * (most + look)
  end
  local all, deeper = {}, false
  for _, key in ipairs(keys) do
    local most = room[key]
    if most > 0 then
      local found = redis.call('ZRANGE', key, from[key] or 0, (from[key] or 0) + most + look - 1, 'WITHSCORES')
      for j = 1, #found, 2 do all[#all + 1] = { found[j], found[j + 1], key } end
      deeper = deeper or #found == 2 * (most + look)
    end
  end
  table.sort(all, function(a, b)
    if a[2] == b[2] then return a[1] < b[1] end
    return tonumber(a[2]) < tonumber(b[2])
  end)
  local flat, of = {}, {}
  for i, candidate in ipairs(all) do flat[2 * i - 1], flat[2 * i], of[i] = candidate[1], candidate[2], candidate[3] end
  return flat, of, deeper
end

local function value_of(fields, name)
  for i = 1, #fields, 2 do
    if fields[i] == name then return fields[i + 1] end
  end
end

-- Look at one candidate: it is taken, parked, missed, or only an entry without such a job, all of which leave the key; or it
-- does not fit, and stays: then the answer is true.
local function look_at_candidate(picked, id, rank, key, job_prefix, us, limit, queue)
  local job, base = job_prefix .. id, queue[1]
  local fields = redis.pcall('HGETALL', job)
  if fields.err and not string.find(tostring(fields.err), 'WRONGTYPE') then
    redis.call('HGETALL', job) -- moved, or forbidden: stop here, before any write
  end
  local state, deadline, on_miss, token, waiters, tied, own, cost, at = nil, nil, nil, 0, nil, nil, nil, 1, nil
  for i = 1, #fields, 2 do
    local name = fields[i]
    if name == 'state' then state, at = fields[i + 1], i
    elseif name == 'deadline_ms' then deadline = tonumber(fields[i + 1])
    elseif name == 'on_miss' then on_miss = fields[i + 1]
    elseif name == 'token' then token = tonumber(fields[i + 1]) or 0
    elseif name == 'waiters' then waiters = fields[i + 1]
    elseif name == 'tied' then tied = fields[i + 1]
    elseif name == 'limits' then own = fields[i + 1]
    elseif name == 'cost' then cost = tonumber(fields[i + 1]) or 1 end
  end
  if cost ~= 1 then cost = math.max(1, math.min(cost, queue[4] or limit)) end
  local taken = false
  -- Not ready: its home is elsewhere, or it has none, or no hash. Only the entry goes; its slot is left: look again.
  if state == 'ready' and deadline and deadline * 1000 <= us and on_miss ~= 'run' then
    picked.missed[#picked.missed + 1] = { id, waiters, value_of(fields, 'task') or '' }
    if tied then queue[3] = note_tie(queue[3], base, id, 'ready', true, 0, tied) end
  elseif state == 'ready' and cost > picked.free then
    if (tonumber(value_of(fields, 'enqueued_ms')) or 0) * 1000 + OVERTAKEN <= us then picked.free = 0 end
    return true
  elseif state == 'ready' then
    local awaits, holds, instance, from = tied and value_of(fields, 'awaits') or nil, '', nil, nil
    if picked.book or own then
      picked.book = picked.book or open_limits(base, nil, queue[3])
      local wanted = limits_on(picked.book, own, value_of(fields, 'task'), value_of(fields, 'group'))
      instance, from = blocker_of(picked.book, wanted, us)
      if not instance then
        holds = wanted.holds
        grant(picked.book, wanted, id, us, awaits)
      end
    end
    if instance then
      picked.parks[#picked.parks + 1] = { id, rank, instance, from }
      if awaits and awaits ~= instance then queue[3] = pass_on(queue[3], awaits) end
    else
      -- With the clock behind, not just one more: a failover may have forgotten the claim that was given that one.
      local fresh = picked.token
      if token >= us then fresh = string.format('%.0f', token + 1 + us % 1000000) end
      local place = #picked.ids + 1
      picked.ids[place], picked.tokens[place], picked.ranks[place] = id, fresh, rank
      if holds ~= '' or awaits then picked.bound[place] = { holds, awaits, tied } end
      -- Its worker learns its id where the state was, which is known.
      fields[at], fields[at + 1] = 'id', id
      fields[#fields + 1], fields[#fields + 2] = 'token', fresh
      picked.replies[place] = fields
      picked.free, picked.room[key], picked.top, taken = picked.free - cost, picked.room[key] - 1, rank, true
    end
  end
  if not taken and not picked.gone then picked.gone = { rank, key } end
  local leave = picked.leave[key]
  if leave then leave[#leave + 1] = id else picked.leave[key] = { id } end
end

-- What take() may write: jobs, those that missed their deadline, those a limit blocks; the ranks of the best `look` jobs this
-- worker may find next ('' for none), and the keys that others may find some in (this worker has no slot for them, or leaves
-- some behind). queue: {base, limited, ties or nil, slots or nil}; ties: what the call lets go, made here when something is;
-- slots: all that the worker has.
local function pick(ready_keys, limits, limit, job_prefix, us, look, queue)
  local room, behind, left, seen = {}, {}, {}, {}
  for i, key in ipairs(ready_keys) do
    room[key] = math.min(limit, limits[i])
    if room[key] <= 0 and redis.call('ZCARD', key) > 0 then behind[#behind + 1] = key end
  end
  local picked = { ids = {}, tokens = {}, ranks = {}, replies = {}, bound = {}, missed = {}, parks = {}, leave = {},
    free = limit, room = room, behind = behind, token = string.format('%.0f', us) }
  if queue[2] then picked.book = open_limits(queue[1], queue[2], queue[3]) end
  local from, looks = {}, limit + 100
  local candidates, of, deeper = read_ready(ready_keys, room, from, look)
  for round = 1, 2 do
    for i = 1, #candidates, 2 do
      local id, rank, key = candidates[i], candidates[i + 1], of and of[(i + 1) / 2] or ready_keys[1]
      local full = picked.free <= 0 or looks <= 0
      from[key], looks = (from[key] or 0) + 1, looks - 1
      if full or room[key] <= 0 or look_at_candidate(picked, id, rank, key, job_prefix, us, limit, queue) then
        left[#left + 1] = rank
        if not seen[key] then
          seen[key] = true
          behind[#behind + 1] = key
        end
      end
    end
    -- Where jobs were parked, some more are looked at: a backlog of one tenant must not use up the claim.
    if round == 2 or #picked.parks == 0 or picked.free <= 0 then break end
    candidates, of, deeper = read_ready(ready_keys, room, from, 100 - math.min(100, limit))
  end
  local first = picked.gone
  if first and deeper and #left == 0 then left[1], behind[#behind + 1] = first[1], first[2] end
  if #picked.parks > 0 then
    redis.call('ZCARD', queue[1] .. 'blocked')
    redis.call('ZCARD', queue[1] .. 'timers')
    for _, parked in ipairs(picked.parks) do redis.call('ZCARD', queue[1] .. 'parked:' .. parked[3]) end
  end
  picked.left = table.concat(left, ' ', 1, math.min(#left, look))
  return picked
end

-- Returns flat jobs {name, value, ...} with id and token, and without state.
local function take(picked, ready_keys, job_prefix, base, worker, running, stats, done, us, keep_ms)
  local now = math.floor(us / 1000)
  local missed, tokens, ranks, bound = picked.missed, picked.tokens, picked.ranks, picked.bound
  for _, key in ipairs(ready_keys) do
    if picked.leave[key] then redis.call('ZREM', key, unpack(picked.leave[key])) end
  end
  local runs, started = {}, string.format('%.0f', now)
  for i, id in ipairs(picked.ids) do
    local job, more = job_prefix .. id, bound[i]
    if not more or more[1] == '' then
      redis.call('HSET', job, 'state', 'running', 'token', tokens[i], 'worker', worker, 'rank', ranks[i], 'started_ms', started)
    else
      redis.call('HSET', job, 'state', 'running', 'token', tokens[i], 'worker', worker, 'rank', ranks[i], 'started_ms', started,
        'holds', more[1], 'tied', more[3] or 'holds')
    end
    if more and more[2] then redis.call('HDEL', job, 'awaits') end
    runs[2 * i - 1], runs[2 * i] = started, id
  end
  if #runs > 0 then
    redis.call('ZADD', running, unpack(runs))
    redis.pcall('HINCRBY', stats, 'claimed', #runs / 2)
  end
  for instance, state in pairs(picked.book and picked.book.state or {}) do
    if #state[3] > 0 then redis.pcall('SADD', base .. 'holding:' .. instance, unpack(state[3])) end
    if state[4] then
      redis.pcall('SET', base .. 'rate:' .. instance, string.format('%.0f', state[2]),
        'PX', string.format('%.0f', math.max(1, math.ceil((state[2] - us) / 1000))))
    end
  end
  local known = #missed > 0 and redis.pcall('HLEN', base .. 'slacks')
  for _, miss in ipairs(missed) do
    finish(job_prefix .. miss[1], miss[1], done, 'expired', now, keep_ms, { 'reason', 'deadline' })
    -- Producers name tasks as they like: without a bound it would grow for ever.
    if type(known) == 'number' and known < 2000 then redis.pcall('HINCRBY', base .. 'slacks', miss[3] .. ':expired', 1) end
    if miss[2] then announce(miss[2], miss[1], 'expired', '') end
  end
  if #missed > 0 then last_until(done, keep_ms) end
  count(stats, now, 'expired', #missed)
  if #picked.parks > 0 then park(base, picked.parks) end
  return picked.replies
end
