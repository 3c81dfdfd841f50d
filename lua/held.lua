-- held: running -> running; what does this worker hold? Read only.
-- Why: when the reply to a claim is lost, the worker owns jobs it has never heard of. It asks, and runs them.
-- KEYS
-- 1 running  taskq:{q}:running:<worker>  zset  id by claim ms
-- ARGV
-- 1 job_prefix  text   taskq:{q}:job:
-- 2 worker      text   id of the worker
-- 3 start       count  position of the first
-- 4 limit       count  how many, 1..200
-- Returns
-- {"OK", total, {id, ...}, job, ...}   job: {name, value, ...} with id and token
-- Cost: O(log n + k) for k jobs, k <= 200
-- Flags: no-writes
-- @include none
local running = KEYS[1]
local job_prefix, worker, start, limit = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])

local jobs = {}
local ids = redis.call('ZRANGE', running, start, start + limit - 1)
for _, id in ipairs(ids) do
  local fields = redis.pcall('HGETALL', job_prefix .. id)
  if fields.err and not string.find(tostring(fields.err), 'WRONGTYPE') then
    fields = redis.call('HGETALL', job_prefix .. id) -- moved, or forbidden: "not held" would be wrong
  end
  local owner = nil
  for i = 1, #fields, 2 do
    if fields[i] == 'worker' then owner = fields[i + 1] end
  end
  if owner == worker then
    fields[#fields + 1], fields[#fields + 2] = 'id', id
    jobs[#jobs + 1] = fields
  end
end
return { 'OK', redis.call('ZCARD', running), ids, unpack(jobs) }
