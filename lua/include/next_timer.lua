-- next_timer: when the first of `timers` is due, ms; nil when none waits for a time (an infinite score waits for something else).
local function next_timer(timers)
  local due = tonumber(redis.call('ZRANGE', timers, 0, 0, 'WITHSCORES')[2])
  if due ~= math.huge then return due end
end
