-- watch: any state -> the same; ask to be told when a job ends, or hear at once that it has.
-- Why: looking and asking are one step, so an end between the two cannot be missed. Only jobs somebody waits for carry the
--   field, so waiting costs nothing for the others. At most 20 channels; the oldest goes (its client looks again by itself).
-- KEYS
-- 1 job  taskq:{q}:job:<id>  hash  the job
-- ARGV
-- 1 channel  text  pub/sub channel the client listens on; '' only looks
-- Returns
-- {"PENDING", state} | {"NOT_FOUND"}
-- {"ENDED", state, result, reason, error, traceback}   '' where the job has none
-- Cost: O(1)
-- Flags: allow-oom
-- @include read_job
local job = KEYS[1]
local channel = ARGV[1]

local now = read_job(job, 'state', 'result', 'reason', 'error', 'traceback', 'waiters')
if not now then return { 'NOT_FOUND' } end
local state = now[1]
if state == 'completed' or state == 'dead' or state == 'cancelled' or state == 'expired' then
  return { 'ENDED', state, now[2] or '', now[3] or '', now[4] or '', now[5] or '' }
end
if channel ~= '' then
  local waiters = { channel }
  for other in string.gmatch(now[6] or '', '%S+') do
    if other ~= channel and #waiters < 20 then waiters[#waiters + 1] = other end
  end
  redis.call('HSET', job, 'waiters', table.concat(waiters, ' '))
end
return { 'PENDING', state }
