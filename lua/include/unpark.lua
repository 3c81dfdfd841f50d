-- unpark: parked jobs go back to ready. wakes: {id, instance, rank, class, it is parked there}; again: instances to look at
-- once more at `now`.
-- Needs wake_up, note_timer.
local function unpark(base, wakes, again, now)
  local woken, left, blocked = {}, {}, redis.call('ZCARD', base .. 'blocked')
  for _, wake_ in ipairs(wakes) do
    local id, instance, rank, class, here = wake_[1], wake_[2], wake_[3], wake_[4], wake_[5]
    left[instance] = left[instance] or redis.call('ZCARD', base .. 'parked:' .. instance)
    left[instance] = left[instance] - redis.call('ZREM', base .. 'parked:' .. instance, id)
    if here then
      blocked = blocked - redis.call('ZREM', base .. 'blocked', id)
      redis.call('HSET', base .. 'job:' .. id, 'state', 'ready')
      redis.call('HDEL', base .. 'job:' .. id, 'blocked_by')
      redis.call('ZADD', base .. 'ready' .. (class ~= '' and ':' .. class or ''), rank, id)
      woken[class] = (woken[class] or 0) + 1
    end
  end
  for instance, parked in pairs(left) do
    if parked == 0 then
      redis.call('ZREM', base .. 'timers', 'limit:' .. instance)
      again[instance] = nil
    end
  end
  for instance in pairs(again) do redis.call('ZADD', base .. 'timers', now, 'limit:' .. instance) end
  if next(again) then woken[''] = (woken[''] or 0) + 1 end
  for class, jobs in pairs(woken) do wake_up(base .. 'wake', jobs, class) end
  redis.call('HSET', base .. 'meta', 'blocked', blocked)
  note_timer(base .. 'timers', base .. 'meta')
end
