-- parked_by: what waits for something else than a worker, from the first 200 timers: limits that jobs are parked on, a flat list of
-- instance and jobs (each has a timer, as long as anything is parked there); and schedules, a flat list of name and next tick, ms.
local function parked_by(timers, parked_prefix)
  local parked, ticks = {}, {}
  local found = redis.call('ZRANGE', timers, 0, 199, 'WITHSCORES')
  for i = 1, #found, 2 do
    local family, name = string.match(found[i], '^(%a+):(.+)$')
    if family == 'cron' then
      ticks[#ticks + 1], ticks[#ticks + 2] = name, found[i + 1]
    elseif family == 'limit' then
      local jobs = redis.call('ZCARD', parked_prefix .. name)
      if jobs > 0 then parked[#parked + 1], parked[#parked + 2] = name, jobs end
    end
  end
  return parked, ticks
end
