-- parked_by: the limits that jobs are parked on, at most 200 of them, and how many each: a flat list of instance and jobs. Each
-- such limit has a timer, as long as anything is parked there.
local function parked_by(timers, parked_prefix)
  local found = {}
  for _, member in ipairs(redis.call('ZRANGE', timers, 0, 199)) do
    local instance = string.match(member, '^limit:(.+)$')
    local jobs = instance and redis.call('ZCARD', parked_prefix .. instance) or 0
    if jobs > 0 then found[#found + 1], found[#found + 2] = instance, jobs end
  end
  return found
end
