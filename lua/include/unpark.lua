-- unpark: parked jobs go back to ready. wakes: {id, instance, rank, class, it is parked there, its rank is outdated}; again:
-- instances to look at once more at `now`.
-- A job of a class may find no worker: then the place it was woken for is another's, so there is a look a second later.
-- Needs wake_up, note_timer.
local function unpark(base, wakes, again, now)
  local woken, left, later, blocked = {}, {}, {}, redis.call('ZCARD', base .. 'blocked')
  for _, wake_ in ipairs(wakes) do
    local id, instance, rank, class, here, outdated = wake_[1], wake_[2], wake_[3], wake_[4], wake_[5], wake_[6]
    left[instance] = left[instance] or redis.call('ZCARD', base .. 'parked:' .. instance)
    left[instance] = left[instance] - redis.call('ZREM', base .. 'parked:' .. instance, id)
    if here then
      blocked = blocked - redis.call('ZREM', base .. 'blocked', id)
      redis.call('HSET', base .. 'job:' .. id, 'state', 'ready')
      redis.call('HDEL', base .. 'job:' .. id, 'blocked_by')
      if outdated then
        redis.call('ZADD', base .. 'turned' .. (class ~= '' and ':' .. class or ''), rank, id)
        redis.call('ZADD', base .. 'timers', now, 'turn')
        redis.call('HSET', base .. 'meta', 'turning', '1')
        class = ''
      else
        redis.call('ZADD', base .. 'ready' .. (class ~= '' and ':' .. class or ''), rank, id)
      end
      woken[class] = (woken[class] or 0) + 1
      if class ~= '' then later[instance] = true end
    end
  end
  for instance, parked in pairs(left) do
    if parked == 0 then
      redis.call('ZREM', base .. 'timers', 'limit:' .. instance)
      again[instance] = nil
    end
  end
  for instance in pairs(later) do
    if left[instance] > 0 then
      redis.call('ZADD', base .. 'timers', 'LT', now + 1000, 'limit:' .. instance)
      woken[''] = woken[''] or 1
    end
  end
  for instance in pairs(again) do redis.call('ZADD', base .. 'timers', now, 'limit:' .. instance) end
  if next(again) then woken[''] = (woken[''] or 0) + 1 end
  for class, jobs in pairs(woken) do wake_up(base .. 'wake', jobs, class) end
  redis.call('HSET', base .. 'meta', 'blocked', blocked)
  note_timer(base .. 'timers', base .. 'meta')
end
