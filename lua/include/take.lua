-- take: grant up to `limit` leases, best rank first over the worker's ready sets (one, or one per capability class).
-- In two steps, so that a script reads and checks all before its first write: pick() looks, take() writes.
-- Needs count, finish, announce, last_until, open_limits, limits_on, blocker_of, grant, note_tie, pass_on, park.

-- A job that costs more than is free is passed by those behind it, but no longer than so many us after it was enqueued.
local OVERTAKEN = 5e6

-- {id, rank, key} of the candidates, best first; how many each key may give; and the keys that give none but have some.
local function read_ready(ready_keys, limits, limit, reach)
  local all, room, passed = {}, {}, {}
  for i, key in ipairs(ready_keys) do
    local most = math.min(limit, limits[i])
    room[key] = most
    if most > 0 then
      local found = redis.call('ZRANGE', key, 0, math.max(most + reach[1], reach[2]) - 1, 'WITHSCORES')
      for j = 1, #found, 2 do all[#all + 1] = { found[j], found[j + 1], key } end
    elseif redis.call('ZCARD', key) > 0 then
      passed[#passed + 1] = key
    end
  end
  if #ready_keys > 1 then
    table.sort(all, function(a, b)
      if a[2] == b[2] then return a[1] < b[1] end
      return tonumber(a[2]) < tonumber(b[2])
    end)
  end
  return all, room, passed
end

local function value_of(fields, name)
  for i = 1, #fields, 2 do
    if fields[i] == name then return fields[i + 1] end
  end
end

-- What take() may write: jobs, those that missed their deadline, those a limit blocks; the ranks of the best `look` jobs this
-- worker may find next ('' for none), and the keys that others may find some in (this worker has no slot for them, or leaves
-- some behind). queue: {base, limited, ties or nil, slots or nil}; ties: what the call lets go, made here when something is;
-- slots: all that the worker has.
local function pick(ready_keys, limits, limit, job_prefix, us, look, queue)
  local base = queue[1]
  -- Where jobs may be parked, some more are read: a backlog of one tenant must not use up the claim.
  local candidates, room, behind = read_ready(ready_keys, limits, limit, { look, queue[2] and 100 or 0 })
  local jobs, missed, parks, leave, left, seen = {}, {}, {}, {}, {}, {}
  local book = queue[2] and open_limits(base, true, queue[3])
  local free, top, first = limit, nil, nil
  for _, candidate in ipairs(candidates) do
    local id, rank, key = candidate[1], candidate[2], candidate[3]
    local stays = free <= 0 or room[key] <= 0
    if not stays then
      local fields = redis.pcall('HGETALL', job_prefix .. id)
      if fields.err and not string.find(tostring(fields.err), 'WRONGTYPE') then
        redis.call('HGETALL', job_prefix .. id) -- moved, or forbidden: stop here, before any write
      end
      local state, deadline, on_miss, token, waiters, tied, own, cost = nil, nil, nil, 0, nil, nil, nil, 1
      for i = 1, #fields, 2 do
        local name = fields[i]
        if name == 'state' then state = fields[i + 1]
        elseif name == 'deadline_ms' then deadline = tonumber(fields[i + 1])
        elseif name == 'on_miss' then on_miss = fields[i + 1]
        elseif name == 'token' then token = tonumber(fields[i + 1]) or 0
        elseif name == 'waiters' then waiters = fields[i + 1]
        elseif name == 'tied' then tied = fields[i + 1]
        elseif name == 'limits' then own = fields[i + 1]
        elseif name == 'cost' then cost = tonumber(fields[i + 1]) or 1 end
      end
      if cost ~= 1 then cost = math.max(1, math.min(cost, queue[4] or limit)) end
      local goes = 'left'
      if state ~= 'ready' then
        -- Listed here, but its home is elsewhere (or it has none, or no hash): only the entry goes. Its slot is left: look again.
        goes = 'gone'
      elseif deadline and deadline * 1000 <= us and on_miss ~= 'run' then
        goes = 'gone'
        missed[#missed + 1] = { id, waiters, value_of(fields, 'task') or '' }
        if tied then queue[3] = note_tie(queue[3], base, id, 'ready', true, 0) end
      elseif cost > free then
        stays = true
        if (tonumber(value_of(fields, 'enqueued_ms') or '') or 0) * 1000 + OVERTAKEN <= us then free = 0 end
      else
        local wanted, instance, from, holds
        local awaits = tied and value_of(fields, 'awaits')
        if book or own then
          book = book or open_limits(base, false, queue[3])
          wanted = limits_on(book, own, value_of(fields, 'task'), value_of(fields, 'group'))
          instance, from = blocker_of(book, wanted, us)
        end
        if instance then
          goes = 'gone'
          parks[#parks + 1] = { id, rank, instance, from }
          if awaits and awaits ~= instance then queue[3] = pass_on(queue[3], awaits) end
        else
          if wanted then holds = grant(book, wanted, us) end
          -- With the clock behind, not just one more: a failover may have forgotten the claim that was given that one.
          if token < us then token = us else token = token + 1 + us % 1000000 end
          jobs[#jobs + 1] = { id, string.format('%.0f', token), rank, fields, holds or '', awaits }
          free, room[key], goes = free - cost, room[key] - 1, 'taken'
          top = rank
        end
      end
      if goes == 'gone' then first = first or candidate end
      if not stays then
        leave[key] = leave[key] or {}
        table.insert(leave[key], id)
      end
    end
    if stays then
      left[#left + 1] = rank
      if not seen[key] then
        seen[key] = true
        behind[#behind + 1] = key
      end
    end
  end
  if first and #left == 0 then left[1], behind[#behind + 1] = first[2], first[3] end
  if #parks > 0 then
    redis.call('ZCARD', base .. 'blocked')
    redis.call('ZCARD', base .. 'timers')
  end
  local ranks = table.concat(left, ' ', 1, math.min(#left, look))
  return { jobs = jobs, missed = missed, parks = parks, leave = leave, left = ranks, behind = behind, book = book, top = top }
end

-- Returns flat jobs {name, value, ...} with id and token.
local function take(picked, ready_keys, job_prefix, base, worker, running, stats, done, us, keep_ms)
  local now = math.floor(us / 1000)
  local jobs, missed = picked.jobs, picked.missed
  for _, key in ipairs(ready_keys) do
    if picked.leave[key] then redis.call('ZREM', key, unpack(picked.leave[key])) end
  end
  local replies, holds, started = {}, {}, string.format('%.0f', now)
  for i, job in ipairs(jobs) do
    local id, fields = job[1], job[4]
    if job[5] == '' then
      redis.call('HSET', job_prefix .. id, 'state', 'running', 'token', job[2], 'worker', worker,
        'rank', job[3], 'started_ms', started)
    else
      redis.call('HSET', job_prefix .. id, 'state', 'running', 'token', job[2], 'worker', worker,
        'rank', job[3], 'started_ms', started, 'holds', job[5], 'tied', '1')
      for instance in string.gmatch(job[5], '%S+') do redis.pcall('SADD', base .. 'holding:' .. instance, id) end
    end
    if job[6] then redis.call('HDEL', job_prefix .. id, 'awaits') end
    holds[2 * i - 1], holds[2 * i] = started, id
    fields[#fields + 1], fields[#fields + 2] = 'id', id
    fields[#fields + 1], fields[#fields + 2] = 'token', job[2]
    replies[i] = fields
  end
  if #jobs > 0 then
    redis.call('ZADD', running, unpack(holds))
    redis.pcall('HINCRBY', stats, 'claimed', #jobs)
  end
  for instance, state in pairs(picked.book and picked.book.state or {}) do
    if state[3] then
      redis.pcall('SET', base .. 'rate:' .. instance, string.format('%.0f', state[2]),
        'PX', string.format('%.0f', math.max(1, math.ceil((state[2] - us) / 1000))))
    end
  end
  for _, miss in ipairs(missed) do
    finish(job_prefix .. miss[1], miss[1], done, 'expired', now, keep_ms, { 'reason', 'deadline' })
    redis.pcall('HINCRBY', base .. 'slacks', miss[3] .. ':expired', 1)
    if miss[2] then announce(miss[2], miss[1], 'expired', '') end
  end
  if #missed > 0 then last_until(done, keep_ms) end
  count(stats, now, 'expired', #missed)
  if #picked.parks > 0 then park(base, picked.parks) end
  return replies
end
