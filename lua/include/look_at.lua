-- look_at: what is wrong with one place of a queue, in one look: a list of {code, detail}, empty when all is well.
-- place and name: 'job' and an id; an index (a key without the prefix) and an id in it; a Redis type and a key without the
-- prefix that must have it; 'stray' and a key nobody knows; 'meta' and a field; 'suspects' and a worker; 'timers' and a member;
-- 'holding:<instance>' and an id. What is of another type than it must is told of by itself, and stops nothing.
-- Needs look_beside, look_at_holds.
local HOMES = { ready = 'ready', scheduled = 'scheduled', retry = 'retry', running = 'running', blocked = 'blocked',
  dead = 'dead', completed = 'done', expired = 'done', cancelled = 'done' }
local NUMBERS = { 'priority', 'deadline_ms', 'attempt', 'crashes', 'enqueued_ms', 'started_ms', 'timeout_ms',
  'result_ttl_ms' }

local function type_of(key)
  return redis.call('TYPE', key).ok
end

local function is_name(word)
  return word and #word <= 64 and string.find(word, '^[%w_.-]+$') ~= nil
end

-- A capability class: labels, a plus between.
local function is_class(word)
  return word and #word <= 200 and string.find(word, '^[%w_.+=-]+$') ~= nil
end

-- Families whose names are chosen by producers: any text.
local ANY_NAME = { parked = true, holding = true, rate = true, unique = true }

local function is_whole(word)
  return #word <= 16 and string.find(word, '^-?%d+$') ~= nil
end

local function holds(set, member)
  local found = redis.pcall('SISMEMBER', set, member)
  return found ~= 0 -- a set of the wrong type is told of by itself
end

-- The index a job belongs to; nil when its fields name none.
local function home_of(state, class, worker)
  local home = HOMES[state]
  if home == 'running' then return is_name(worker) and 'running:' .. worker or nil end
  if home == 'ready' and is_class(class) then return 'ready:' .. class end
  return home
end

local function is_listed(index, id)
  local score = redis.pcall('ZSCORE', index, id)
  return score and type(score) ~= 'table'
end

local function look_at_job(prefix, id)
  local key = prefix .. 'job:' .. id
  local kind = type_of(key)
  if kind == 'none' then return {} end
  if kind ~= 'hash' then return { { 'wrong-type', kind } } end
  if not is_name(id) then return { { 'bad-name', '' } } end
  local job = redis.call('HMGET', key, 'state', 'class', 'worker', 'holds')
  local state = job[1]
  if not state or not HOMES[state] then return { { 'unreadable', state and 'state ' .. state or 'no state' } } end
  local found, ttl = {}, redis.call('PTTL', key)
  if HOMES[state] == 'done' or state == 'dead' then
    if ttl == -1 then found[1] = { 'no-ttl', state } end
    return found
  end
  if ttl >= 0 then found[1] = { 'live-ttl', state } end
  if job[2] and not is_class(job[2]) then found[#found + 1] = { 'bad-field', 'class' } end
  local numbers = redis.call('HMGET', key, unpack(NUMBERS))
  for i, field in ipairs(NUMBERS) do
    if numbers[i] and not is_whole(numbers[i]) then found[#found + 1] = { 'bad-field', field } end
  end
  local home = home_of(state, job[2], job[3])
  local listed = home and is_listed(prefix .. home, id)
  -- A rank of an older policy waits to be made anew.
  if not listed and home and state == 'ready' then listed = is_listed(prefix .. 'turned' .. string.sub(home, 6), id) end
  if listed and state == 'blocked' then
    local blocker = redis.call('HGET', key, 'blocked_by')
    listed = blocker and is_listed(prefix .. 'parked:' .. blocker, id)
  end
  if not listed then found[#found + 1] = { 'homeless', home or state } end
  if listed and state == 'running' then
    for _, finding in ipairs(look_at_holds(prefix, id, job[4])) do found[#found + 1] = finding end
  end
  return found
end

local function look_at_entry(prefix, index, id)
  local score = redis.pcall('ZSCORE', prefix .. index, id)
  if not score or type(score) == 'table' then return {} end
  if not is_name(id) then return { { 'bad-name', score } } end
  local key, ended = prefix .. 'job:' .. id, index == 'dead' or index == 'done'
  local kind = type_of(key)
  -- Records of ended jobs run out by their own TTL, their entries are trimmed later.
  if kind == 'none' then return ended and {} or { { 'ghost', score } } end
  local job = kind == 'hash' and redis.call('HMGET', key, 'state', 'class', 'worker', 'enqueued_ms', 'blocked_by') or {}
  if not job[1] or not HOMES[job[1]] then return {} end -- told of by the job itself
  local at, home = tonumber(score), home_of(job[1], job[2], job[3])
  if job[1] == 'blocked' and index == 'parked:' .. (job[5] or '') then home = index end
  if job[1] == 'ready' and index == 'turned' .. string.sub(home, 6) then home = index end
  if home ~= index then
    -- In an index of ended jobs this may be an earlier life of an id that was used again.
    if ended and at and at < (tonumber(job[4]) or 0) then return {} end
    return { { 'misplaced', home or job[1] } }
  end
  local ranked = string.find(index, '^ready') or string.find(index, '^turned') or job[1] == 'blocked'
  local least = ranked and -9007199254740992 or 0
  if not at or at ~= at or at < least or at > 9007199254740992 then return { { 'bad-score', score } } end
  return {}
end

local function look_at_key(prefix, holders, classes, wanted, name)
  local key = prefix .. name
  local kind = type_of(key)
  if kind == 'none' then return {} end
  if wanted == 'stray' then return { { 'stray', kind } } end
  if kind ~= wanted then return { { 'wrong-type', kind } } end
  local found, ttl = {}, redis.call('PTTL', key)
  local family, rest = string.match(name, '^(%a+):(.*)$')
  if family == 'quarantine' then return {} end
  local named = is_name
  if family == 'ready' or family == 'turned' or family == 'wake' then named = is_class end
  if family and not ANY_NAME[family] and not named(rest) then return { { 'bad-name', kind } } end
  if family == 'alive' or family == 'stats' or name == 'dead' or name == 'done' then
    if ttl == -1 then found[1] = { 'no-ttl', kind } end
  elseif ttl >= 0 and family ~= 'rate' and family ~= 'unique' and name ~= 'shares' then
    found[1] = { 'live-ttl', kind }
  end
  if family == 'cancels' and not holds(holders, rest) then found[#found + 1] = { 'leftover', kind } end
  if (family == 'running' or family == 'alive') and not holds(holders, rest) then
    found[#found + 1] = { 'unknown-owner', rest }
  end
  if (family == 'ready' or family == 'turned') and not holds(classes, rest) then found[#found + 1] = { 'unlisted', rest } end
  for _, finding in ipairs(look_beside(prefix, wanted, name)) do found[#found + 1] = finding end
  return found
end

local function look_at_setting(meta, field)
  local value = redis.pcall('HGET', meta, field)
  if not value or type(value) == 'table' then return {} end
  local good = true
  if field == 'policy' then good = value == 'strict' or value == 'aging' or value == 'fair'
  elseif field == 'patience_ms' then good = #value <= 200 and string.find(value, '^[%d ]+$') ~= nil
  elseif field == 'blocked' then
    local jobs = redis.pcall('ZCARD', string.sub(meta, 1, -5) .. 'blocked')
    if type(jobs) == 'number' and value ~= string.format('%.0f', jobs) then return { { 'stale', 'blocked' } } end
  elseif field == 'unit_ms' then good = #value <= 30 and string.find(value, '^%d+%.?%d*$') ~= nil
  elseif string.find(field, '_ms$') or field == 'max_jobs' or field == 'slots' or field == 'paused' then
    good = is_whole(value)
  end
  return good and {} or { { 'bad-field', field } }
end

local function look_at(prefix, holders, classes, place, name)
  if place == 'job' then return look_at_job(prefix, name) end
  if place == 'meta' then return look_at_setting(prefix .. place, name) end
  if place == 'suspects' then
    local since = redis.pcall('HGET', prefix .. place, name)
    if not since or type(since) == 'table' or holds(holders, name) then return {} end
    return { { 'leftover', 'since ' .. since } }
  end
  if place == 'timers' or string.find(place, '^holding:') then return look_beside(prefix, place, name) end
  if HOMES[place] or place == 'done' or place == 'turned' or string.find(place, ':') then
    return look_at_entry(prefix, place, name)
  end
  return look_at_key(prefix, holders, classes, place, name)
end
