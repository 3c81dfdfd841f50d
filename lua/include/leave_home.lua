-- leave_home: take a waiting job off the index it is in. state, class and blocker are as its hash has them.
-- A ready job whose rank is of an older policy is still in `turned`.
-- Needs leave_parked.
local function leave_home(base, id, state, class, blocker)
  if state == 'ready' then
    local suffix = (class and class ~= '') and ':' .. class or ''
    if redis.call('ZREM', base .. 'ready' .. suffix, id) == 0 then redis.pcall('ZREM', base .. 'turned' .. suffix, id) end
    return
  end
  local home = base .. 'scheduled'
  if state == 'retry' then home = base .. 'retry' end
  if state == 'blocked' then home = base .. 'blocked' end
  if state == 'blocked' then
    local left = redis.call('ZCARD', home) - redis.call('ZREM', home, id)
    if blocker then leave_parked(base, id, blocker) end
    redis.pcall('HSET', base .. 'meta', 'blocked', left)
  else
    redis.call('ZREM', home, id)
  end
end
