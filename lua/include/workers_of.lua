-- workers_of: who may hold jobs of a queue, at most 200 of them: a flat list of worker, jobs it holds, alive | suspect | silent, slots
-- (0 when it said none); then how many jobs they hold, and the slots of those alive.
local function workers_of(holders, suspects, vitals, alive_prefix, running_prefix)
  local found, running, slots = {}, 0, 0
  for _, worker in ipairs(redis.call('SRANDMEMBER', holders, 200)) do
    local jobs = redis.call('ZCARD', running_prefix .. worker)
    local said = string.match(redis.call('HGET', vitals, worker) or '', ' slots=(%d+)') or '0'
    local word = 'silent'
    if redis.call('EXISTS', alive_prefix .. worker) == 1 then
      word = 'alive'
      slots = slots + tonumber(said)
    elseif redis.call('HEXISTS', suspects, worker) == 1 then
      word = 'suspect'
    end
    running = running + jobs
    found[#found + 1], found[#found + 2], found[#found + 3], found[#found + 4] = worker, jobs, word, said
  end
  return found, running, slots
end
