-- claim_key: a key of the producer's choosing belongs to one live job at a time. The lock is that job's id, believed only after a
-- look at the job itself, so it cannot outlive it. new_claims and claim_key only read; keep_claims writes, once a call.
-- Needs ask, time_of.
local WAITING = { scheduled = true, ready = true, blocked = true, retry = true }

local function new_claims(base, now)
  return { base = base, now = now, locks = {}, mine = {}, replaced = {}, extend = {} }
end

-- The id that keeps the key, or nil when `id` may have it. how: '<mode> <on duplicate>'; at: when the caller wants it to start.
-- A lock for a time holds that long, whatever becomes of the job: it cannot stay for ever.
local function claim_key(claims, key, id, how, at)
  local mode, on_duplicate = string.match(how, '^(%S+) (%S+)$')
  local span = tonumber(mode)
  if claims.mine[key] then return claims.mine[key] end -- an earlier job of this call
  local owner = ask('GET', claims.base .. 'unique:' .. key)
  if owner and owner ~= id then
    local job = ask('HMGET', claims.base .. 'job:' .. owner, 'state', 'class', 'waiters', 'tied', 'blocked_by') or {}
    local state = job[1]
    local waits = state and WAITING[state]
    if waits and on_duplicate == 'replace' then
      claims.replaced[#claims.replaced + 1] = { owner, 'cancelled', 'replaced', job, id }
    elseif waits or mode == 'running' and state == 'running'
      or span and redis.call('PTTL', claims.base .. 'unique:' .. key) > 0 then
      if on_duplicate == 'extend' then
        claims.extend[#claims.extend + 1] = { key, span, owner, state == 'scheduled' and at ~= '' and at }
      end
      return owner
    end
  end
  claims.mine[key] = id
  claims.locks[#claims.locks + 1] = { key, id, span }
  return nil
end

-- `id` is not created after all.
local function forget_claim(claims, id)
  for _, lock in ipairs(claims.locks) do
    if lock[2] == id then lock[2] = nil end
  end
  for i = #claims.replaced, 1, -1 do
    if claims.replaced[i][5] == id then table.remove(claims.replaced, i) end
  end
end

local function keep_claims(claims)
  for _, lock in ipairs(claims.locks) do
    local key, id, span = lock[1], lock[2], lock[3]
    if id and span then
      redis.call('SET', claims.base .. 'unique:' .. key, id, 'PX', math.max(1, span))
    elseif id then
      redis.call('SET', claims.base .. 'unique:' .. key, id)
    end
  end
  for _, extension in ipairs(claims.extend) do
    local key, span, owner, at = extension[1], extension[2], extension[3], extension[4]
    if span then redis.call('PEXPIRE', claims.base .. 'unique:' .. key, math.max(1, span)) end
    if at then
      redis.call('ZADD', claims.base .. 'scheduled', 'XX', 'GT', time_of(at, claims.now), owner)
    end
  end
end
