-- take: grant up to `limit` leases, best rank first over the worker's ready sets (one, or one per capability class).
-- In two steps, so that a script reads and checks all before its first write: pick() looks, take() writes.
-- Needs count, finish, announce, last_until.
local function read_ready(ready_keys, limits, limit, look)
  local all, left, passed = {}, {}, false
  for i, key in ipairs(ready_keys) do
    local most = math.min(limit, limits[i])
    if most > 0 then
      local found = redis.call('ZRANGE', key, 0, most + look - 1, 'WITHSCORES')
      for j = 2 * most + 2, #found, 2 do left[#left + 1] = found[j] end
      for j = 1, math.min(#found, 2 * most), 2 do
        all[#all + 1] = { found[j], found[j + 1], key }
      end
    elseif redis.call('ZCARD', key) > 0 then
      passed = true
    end
  end
  if #ready_keys > 1 then
    table.sort(all, function(a, b)
      if a[2] == b[2] then return a[1] < b[1] end
      return tonumber(a[2]) < tonumber(b[2])
    end)
    for i = #all, limit + 1, -1 do
      left[#left + 1] = all[i][2]
      all[i] = nil
    end
    table.sort(left, function(a, b) return tonumber(a) < tonumber(b) end)
  end
  return all, left, passed
end

-- What take() may write: jobs and those that missed their deadline; the ranks of the best `look` jobs this worker may find
-- next ('' for none), and whether others may find some too (a class it has no slot for has jobs).
local function pick(ready_keys, limits, limit, job_prefix, us, look)
  local candidates, left, passed = read_ready(ready_keys, limits, limit, look)
  local jobs, missed, leave = {}, {}, {}
  for _, candidate in ipairs(candidates) do
    local id, key = candidate[1], candidate[3]
    local gone = leave[key]
    if not gone then
      gone = {}
      leave[key] = gone
    end
    gone[#gone + 1] = id
    local fields = redis.pcall('HGETALL', job_prefix .. id)
    if fields.err and not string.find(tostring(fields.err), 'WRONGTYPE') then
      redis.call('HGETALL', job_prefix .. id) -- moved, or forbidden: stop here, before any write
    end
    local state, deadline, on_miss, token, waiters = nil, nil, nil, 0, nil
    for i = 1, #fields, 2 do
      local name = fields[i]
      if name == 'state' then state = fields[i + 1]
      elseif name == 'deadline_ms' then deadline = tonumber(fields[i + 1])
      elseif name == 'on_miss' then on_miss = fields[i + 1]
      elseif name == 'token' then token = tonumber(fields[i + 1]) or 0
      elseif name == 'waiters' then waiters = fields[i + 1] end
    end
    if state ~= 'ready' then
      -- Listed here, but its home is elsewhere (or it has none, or no hash): only the entry goes. Its slot is left: look again.
      if #left == 0 then left[1] = candidate[2] end
    elseif deadline and deadline * 1000 <= us and on_miss ~= 'run' then
      missed[#missed + 1] = { id, waiters }
      if #left == 0 then left[1] = candidate[2] end
    else
      -- With the clock behind, not just one more: a failover may have forgotten the claim that was given that one.
      if token < us then token = us else token = token + 1 + us % 1000000 end
      jobs[#jobs + 1] = { id, string.format('%.0f', token), candidate[2], fields }
    end
  end

  local ranks = table.concat(left, ' ', 1, math.min(#left, look))
  return { jobs = jobs, missed = missed, leave = leave, left = ranks, pass_on = #left > 0 or passed }
end

-- Returns flat jobs {name, value, ...} with id and token.
local function take(picked, ready_keys, job_prefix, worker, running, stats, done, us, keep_ms)
  local now = math.floor(us / 1000)
  local jobs, missed = picked.jobs, picked.missed
  for _, key in ipairs(ready_keys) do
    if picked.leave[key] then redis.call('ZREM', key, unpack(picked.leave[key])) end
  end
  local replies, holds, started = {}, {}, string.format('%.0f', now)
  for i, job in ipairs(jobs) do
    local id, fields = job[1], job[4]
    redis.call('HSET', job_prefix .. id, 'state', 'running', 'token', job[2], 'worker', worker,
      'rank', job[3], 'started_ms', started)
    holds[2 * i - 1], holds[2 * i] = started, id
    fields[#fields + 1], fields[#fields + 2] = 'id', id
    fields[#fields + 1], fields[#fields + 2] = 'token', job[2]
    replies[i] = fields
  end
  if #jobs > 0 then
    redis.call('ZADD', running, unpack(holds))
    redis.pcall('HINCRBY', stats, 'claimed', #jobs)
  end
  for _, miss in ipairs(missed) do
    finish(job_prefix .. miss[1], miss[1], done, 'expired', now, keep_ms, { 'reason', 'deadline' })
    if miss[2] then announce(miss[2], miss[1], 'expired', '') end
  end
  if #missed > 0 then last_until(done, keep_ms) end
  count(stats, now, 'expired', #missed)
  return replies
end
