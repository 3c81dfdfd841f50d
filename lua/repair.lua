-- repair: running -> ready; mend places of a queue that audit found wrong: put jobs back, drop wrong entries, set broken keys aside.
-- Why: what was found may have changed since, so each place is looked at again in the step that mends it. Nothing is thrown
--   away: what cannot be read is moved to quarantine. A job whose worker may still run it goes back to that worker, and the
--   reaper decides as ever; a job that nobody can hold is ready again, and no crash is charged.
-- KEYS
-- 1 holders     taskq:{q}:holders     set   workers that may hold jobs
-- 2 classes     taskq:{q}:classes     set   classes that have been given jobs
-- 3 meta        taskq:{q}:meta        hash  settings of the queue
-- 4 wake        taskq:{q}:wake        list  wake tokens
-- 5 quarantine  taskq:{q}:quarantine  hash  what was set aside, and why
-- ARGV
-- 1 prefix        text    taskq:{q}:
-- 2 keep_ms       ms      how long an ended job is kept
-- 3 dead_keep_ms  ms      how long a dead job is kept
-- 4 alive_ms      ms      life of a heartbeat
-- 5... places     2 each  place and name, see lua/include/look_at.lua; at most 100
-- Returns
-- {"OK", place, name, code, what was done, ...}   done: moved | placed | removed | kept | expires | set | listed | counted | later
-- Cost: O(k log n) for k places, k <= 100
-- Flags: allow-oom
-- @include now_us text ask rank_of score_of next_timer note_timer wake_up look_beside look_at
local holders, classes, meta, wake, quarantine = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local prefix, keep_ms, dead_keep_ms, alive_ms = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local function fits(key, kind)
  local found = type_of(key)
  return found == kind or found == 'none'
end

-- Where a live job that is in no index goes, and its score there: {index, score, worker or nil, class or nil}.
local function place_for(policy, id, now)
  local job = redis.call('HMGET', prefix .. 'job:' .. id, 'state', 'class', 'worker', 'priority', 'deadline_ms', 'rank',
    'started_ms', 'cancel')
  local state, class, worker = job[1], is_class(job[2]) and job[2] or nil, job[3]
  if state == 'scheduled' or state == 'retry' then return { state, now } end
  if state == 'running' and is_name(worker) then
    local known = redis.pcall('SISMEMBER', holders, worker) == 1
    if known or job[8] or redis.call('EXISTS', prefix .. 'alive:' .. worker) == 1 then
      return { 'running:' .. worker, score_of(job[7] or now), worker }
    end
  end
  local rank = job[6] and score_of(job[6])
    or rank_of(policy, tonumber(job[4]) or 5, tonumber(job[5]), now)
  return { class and 'ready:' .. class or 'ready', rank, nil, class }
end

local function score_for(policy, index, id, now)
  local job = redis.call('HMGET', prefix .. 'job:' .. id, 'priority', 'deadline_ms', 'started_ms', 'ended_ms')
  if string.find(index, '^ready') or string.find(index, '^turned') or index == 'blocked' or string.find(index, '^parked:') then
    return rank_of(policy, tonumber(job[1]) or 5, tonumber(job[2]), now)
  end
  if index == 'dead' or index == 'done' then return score_of(job[4] or now) end
  if index == 'scheduled' or index == 'retry' then return now end
  return score_of(job[3] or now)
end

-- First look, and decide: {place, name, code, done, key, ...}.
local now = math.floor(now_us() / 1000)
local policy = redis.pcall('HMGET', meta, 'policy', 'horizon_ms', 'patience_ms')
if policy.err then policy = {} end
local lists = fits(holders, 'set') and fits(classes, 'set')
local timers, timed, due, stale = prefix .. 'timers', fits(prefix .. 'timers', 'zset') and fits(meta, 'hash'), {}, {}
local can_wake = fits(wake, 'list') and redis.call('LLEN', wake) >= 0
local plans, seen, woken = {}, {}, 0
for i = 5, math.min(#ARGV, 203), 2 do
  local place, name = ARGV[i], ARGV[i + 1]
  local twice = seen[place .. ' ' .. name]
  seen[place .. ' ' .. name] = true
  for _, finding in ipairs(twice and {} or look_at(prefix, holders, classes, place, name)) do
    local code, detail = finding[1], finding[2]
    local key = prefix .. name
    if place == 'job' then key = prefix .. 'job:' .. name end
    local plan = { place, name, code, 'later', key, detail }
    local entry = HOMES[place] or place == 'done' or place == 'turned' or string.find(place, ':')
    if place == 'suspects' or place == 'meta' then plan[5] = prefix .. place end
    local instance = string.match(place, '^holding:(.+)$')
    if instance then
      plan[4], plan[5] = 'removed', prefix .. place
      if timed and ask('ZSCORE', timers, 'limit:' .. instance) then due[#due + 1] = 'limit:' .. instance end
    elseif code == 'uncounted' then
      if fits(prefix .. 'holding:' .. detail, 'set') then plan[4], plan[5] = 'counted', prefix .. 'holding:' .. detail end
    elseif code == 'untimed' then
      if timed then plan[4], due[#due + 1] = 'listed', detail end
    elseif code == 'stale' then
      if timed then plan[4], stale[detail] = 'set', true end
    elseif place == 'timers' then
      if timed then plan[4], plan[5] = 'removed', timers end
    elseif code == 'ghost' or code == 'misplaced' or code == 'bad-name' and entry then
      plan[4], plan[5] = 'removed', prefix .. place
    elseif code == 'wrong-type' or code == 'stray' or code == 'unreadable' or code == 'bad-name' then
      local aside = text(now) .. ':' .. string.sub(key, #prefix + 1)
      if type_of(quarantine .. ':' .. aside) == 'none' then plan[4], plan[7] = 'moved', aside end
    elseif code == 'bad-field' then
      plan[4], plan[7] = 'removed', string.sub(redis.call('HGET', plan[5], detail) or '', 1, 200)
    elseif code == 'live-ttl' then
      plan[4] = 'kept'
    elseif code == 'no-ttl' then
      plan[4], plan[7] = 'expires', keep_ms
      if detail == 'dead' or name == 'dead' then plan[7] = dead_keep_ms
      elseif string.find(name, '^alive:') then plan[7] = alive_ms
      elseif string.find(name, '^stats:') then plan[7] = '7200000' end
    elseif code == 'leftover' then
      plan[4] = 'removed'
    elseif code == 'bad-score' then
      plan[4], plan[5], plan[7] = 'set', prefix .. place, score_for(policy, place, name, now)
    elseif lists and (code == 'unknown-owner' or code == 'unlisted') then
      plan[4] = 'listed'
    elseif lists and code == 'homeless' then
      local target = place_for(policy, name, now)
      if fits(prefix .. target[1], 'zset') then
        plan[4], plan[7], plan[8], plan[9], plan[10] = 'placed', prefix .. target[1], target[2], target[3], target[4]
        woken = woken + 1
      end
    end
    plans[#plans + 1] = plan
  end
end

-- Then write. Renames come first: what else is written may be in their way.
local moves, moving = {}, {}
if not fits(quarantine, 'hash') then moves[1] = { quarantine, text(now) .. ':quarantine', 'wrong-type' } end
for _, plan in ipairs(plans) do
  if plan[4] == 'moved' and plan[5] ~= quarantine and not moving[plan[5]] then
    moving[plan[5]] = true
    moves[#moves + 1] = { plan[5], plan[7], plan[3] .. ' ' .. plan[6] }
  end
end
for _, move in ipairs(moves) do
  local from, aside = move[1], quarantine .. ':' .. move[2]
  redis.call('RENAME', from, aside)
  redis.call('PERSIST', aside)
end
for _, move in ipairs(moves) do redis.call('HSET', quarantine, move[2], move[3]) end

local words, blocked = { 'OK' }, false
for _, plan in ipairs(plans) do
  blocked = blocked or plan[1] == 'blocked' and plan[4] == 'removed'
  local place, name, code, done, key, detail, extra = plan[1], plan[2], plan[3], plan[4], plan[5], plan[6], plan[7]
  if code == 'bad-name' and done == 'removed' then
    redis.call('ZREM', key, name)
    redis.call('HSET', quarantine, text(now) .. ':' .. place .. ':' .. name, code .. ' score ' .. detail)
  elseif string.find(place, '^holding:') then
    redis.call('SREM', key, name)
  elseif done == 'counted' then
    redis.call('SADD', key, name)
  elseif code == 'untimed' or code == 'stale' then
    blocked = blocked or detail == 'blocked' -- what is kept beside jobs is set at the end
  elseif code == 'ghost' or code == 'misplaced' or place == 'timers' and done == 'removed' then
    redis.call('ZREM', key, name)
  elseif code == 'bad-field' then
    redis.call('HSET', quarantine, text(now) .. ':' .. place .. ':' .. name .. ':' .. detail, code .. ' ' .. extra)
    redis.call('HDEL', key, detail)
  elseif done == 'kept' then
    redis.call('PERSIST', key)
  elseif done == 'expires' then
    redis.call('PEXPIRE', key, extra)
  elseif code == 'leftover' then
    if place == 'suspects' then redis.call('HDEL', key, name) else redis.call('DEL', key) end
  elseif done == 'set' then
    redis.call('ZADD', key, extra, name)
  elseif done == 'listed' then
    redis.call('SADD', code == 'unlisted' and classes or holders, detail)
  elseif done == 'placed' then
    redis.call('ZADD', extra, plan[8], name)
    if plan[9] then
      redis.call('SADD', holders, plan[9])
    elseif string.sub(extra, #prefix + 1, #prefix + 5) == 'ready' then
      redis.call('HSET', key, 'state', 'ready')
      redis.call('HDEL', key, 'blocked_by')
    end
    if plan[10] then redis.call('SADD', classes, plan[10]) end
    done = 'placed ' .. string.sub(extra, #prefix + 1)
  end
  words[#words + 1], words[#words + 2] = place, name
  words[#words + 1], words[#words + 2] = code, done
end
if blocked and timed then redis.call('HSET', meta, 'blocked', ask('ZCARD', prefix .. 'blocked') or 0) end
if stale.limited then
  local limits, limited = ask('HGETALL', prefix .. 'limits') or {}, { '1' }
  for i = 1, #limits, 2 do
    local on = string.match(limits[i + 1], 'on=(%S+)') or 'job'
    if on ~= 'job' then limited[#limited + 1] = on .. '=' .. limits[i] end
  end
  redis.call('HSET', meta, 'limited', table.concat(limited, ' '))
end
for _, member in ipairs(due) do
  redis.call('ZADD', timers, now, member)
  if member == 'turn' then redis.call('HSET', meta, 'turning', '1') end
end
if timed and (#due > 0 or stale.timer_ms) then note_timer(timers, meta) end
if #due > 0 and can_wake then wake_up(wake, 1) end
if woken > 0 and can_wake then wake_up(wake, woken) end
return words
