-- wake_up: let idle workers know. A few tokens are enough: a worker that finds more than it can take passes one on.
local function wake_up(wake, jobs)
  local room = 4 - redis.call('LLEN', wake)
  if jobs < room then room = jobs end
  for _ = 1, room do redis.call('RPUSH', wake, '1') end
end
