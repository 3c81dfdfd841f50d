-- count: add to a counter of the queue and to its minute, which expires after two hours.
-- A broken counter never stops a job half-way: it is counted last, after the writes, so its errors are let go.
local function count(stats, now, name, amount)
  if amount == 0 then return end
  redis.pcall('HINCRBY', stats, name, amount)
  local minute = stats .. ':' .. string.format('%d', math.floor(now / 60000))
  if redis.pcall('HINCRBY', minute, name, amount) == amount then redis.pcall('PEXPIRE', minute, 7200000) end
end
