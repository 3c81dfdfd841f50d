-- leave_parked: a job that a limit blocked waits for it no more; a limit that blocks nobody needs no timer.
-- Needs note_timer.
local function leave_parked(base, id, blocker)
  redis.pcall('ZREM', base .. 'parked:' .. blocker, id)
  if redis.call('EXISTS', base .. 'parked:' .. blocker) == 0 then
    redis.pcall('ZREM', base .. 'timers', 'limit:' .. blocker)
    note_timer(base .. 'timers', base .. 'meta')
  end
end
