-- now_us: the server's clock, microseconds. The only clock of the engine: workers' clocks may differ.
local function now_us()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end
