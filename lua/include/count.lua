-- count: add to a counter of the queue and to its minute, which expires after two hours.
local function count(stats, now, name, amount)
  if amount == 0 then return end
  redis.call('HINCRBY', stats, name, amount)
  local minute = stats .. ':' .. string.format('%.0f', math.floor(now / 60000))
  if redis.call('HINCRBY', minute, name, amount) == amount then redis.call('PEXPIRE', minute, 7200000) end
end
