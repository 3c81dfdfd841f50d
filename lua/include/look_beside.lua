-- look_beside: what is wrong with what is kept beside jobs: places held under limits, timers, unique keys, and what is copied into
-- meta. Lists of {code, detail}, as look_at; empty when all is well.
-- Needs ask, text.
local LIVE = { scheduled = true, ready = true, running = true, retry = true, blocked = true }

-- A member of holding:<instance> is a running job that says so.
local function look_at_holder(prefix, instance, id)
  if ask('SISMEMBER', prefix .. 'holding:' .. instance, id) ~= 1 then return {} end
  local job = ask('HMGET', prefix .. 'job:' .. id, 'state', 'holds') or {}
  if not job[1] then return { { 'ghost', 'no record' } } end
  local held = string.find(' ' .. (job[2] or '') .. ' ', ' ' .. instance .. ' ', 1, true)
  return job[1] == 'running' and held and {} or { { 'misplaced', job[1] } }
end

-- The limits that a running job says it holds, and that do not count it.
local function look_at_holds(prefix, id, words)
  local found = {}
  for instance in string.gmatch(string.sub(words or '', 1, 4000), '%S+') do
    if ask('SISMEMBER', prefix .. 'holding:' .. instance, id) == 0 then found[#found + 1] = { 'uncounted', instance } end
  end
  return found
end

local function look_at_timer(prefix, member)
  if not ask('ZSCORE', prefix .. 'timers', member) then return {} end
  local family, name = string.match(member, '^(%a+):(.+)$')
  local known = member == 'turn'
  if family == 'limit' then known = redis.call('EXISTS', prefix .. 'parked:' .. name) == 1 end
  if family == 'cron' then known = ask('HEXISTS', prefix .. 'schedules', name) ~= 0 end
  return known and {} or { { 'leftover', 'of nothing' } }
end

-- A key without a TTL is that of a live job, which lets go of it at its end.
local function look_at_lock(prefix, key)
  local lock = prefix .. 'unique:' .. key
  local id = redis.call('PTTL', lock) == -1 and ask('GET', lock)
  if not id then return {} end
  local job = ask('HMGET', prefix .. 'job:' .. id, 'state', 'key') or {}
  return LIVE[job[1]] and job[2] == key and {} or { { 'leftover', job[1] or 'no record' } }
end

-- A key whose jobs wait for a timer that is not there, or of which meta says something else.
local function look_at_copies(prefix, name)
  local timers, meta = prefix .. 'timers', prefix .. 'meta'
  local instance = string.match(name, '^parked:(.+)$')
  if instance and not ask('ZSCORE', timers, 'limit:' .. instance) then return { { 'untimed', 'limit:' .. instance } } end
  if string.find(name, '^turned') and not ask('ZSCORE', timers, 'turn') then return { { 'untimed', 'turn' } } end
  if name == 'blocked' and ask('HGET', meta, 'blocked') ~= text(ask('ZCARD', prefix .. name) or 0) then
    return { { 'stale', 'blocked' } }
  end
  if name == 'limits' and not ask('HGET', meta, 'limited') then return { { 'stale', 'limited' } } end
  if name == 'timers' then
    local first = tonumber((ask('ZRANGE', timers, 0, 0, 'WITHSCORES') or {})[2])
    local known = tonumber(ask('HGET', meta, 'timer_ms'))
    -- Earlier than need be is harmless: the next look at the timers mends it.
    if first and first < math.huge and not (known and known <= first) then return { { 'stale', 'timer_ms' } } end
  end
  return {}
end

local function look_beside(prefix, place, name)
  local instance = string.match(place, '^holding:(.+)$')
  if instance then return look_at_holder(prefix, instance, name) end
  if place == 'timers' then return look_at_timer(prefix, name) end
  local key = string.match(name, '^unique:(.+)$')
  if key then return look_at_lock(prefix, key) end
  return look_at_copies(prefix, name)
end
