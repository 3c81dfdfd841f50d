-- wake_up: let idle workers know. A few tokens are enough: a worker that finds more than it can take passes one on.
-- class: jobs of a class (not nil or '') wake only workers that serve it. A broken list of tokens wakes nobody, and stops nothing.
local function wake_up(wake, jobs, class)
  if class and class ~= '' then wake = wake .. ':' .. class end
  local waiting = redis.pcall('LLEN', wake)
  if type(waiting) ~= 'number' then return end
  local room = 4 - waiting
  if jobs < room then room = jobs end
  for _ = 1, room do redis.call('RPUSH', wake, '1') end
end
