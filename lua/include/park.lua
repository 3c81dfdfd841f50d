-- park: jobs that a limit blocks wait beside it, by rank, and hold no slot. parks: {id, rank, instance, from_ms or nil}.
-- The caller has taken them off ready.
-- Who parks may be full now: a limit that has room again at a time wakes another, who will see to it then.
-- Needs note_timer, wake_up.
local function park(base, parks)
  local timed = false
  for _, parked in ipairs(parks) do
    local id, rank, instance, from = parked[1], parked[2], parked[3], parked[4]
    redis.call('HSET', base .. 'job:' .. id, 'state', 'blocked', 'rank', rank, 'blocked_by', instance,
      'awaits', instance, 'tied', '1')
    redis.call('ZADD', base .. 'blocked', rank, id)
    redis.call('ZADD', base .. 'parked:' .. instance, rank, id)
    if from then
      timed = true
      redis.call('ZADD', base .. 'timers', from, 'limit:' .. instance)
    else
      redis.call('ZADD', base .. 'timers', 'NX', '+inf', 'limit:' .. instance)
    end
  end
  redis.call('HSET', base .. 'meta', 'blocked', redis.call('ZCARD', base .. 'blocked'))
  note_timer(base .. 'timers', base .. 'meta')
  if timed then wake_up(base .. 'wake', 1) end
end
