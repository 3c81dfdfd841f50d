-- leave_parked: a job that a limit blocked waits for it no more; a limit that blocks nobody needs no timer.
-- Needs note_timer.
local function leave_parked(base, id, blocker)
  -- Counted before: while a slot moves to another node, a set that has become empty cannot be asked for.
  local parked = redis.pcall('ZCARD', base .. 'parked:' .. blocker)
  if redis.pcall('ZREM', base .. 'parked:' .. blocker, id) == 1 and parked == 1 then
    redis.pcall('ZREM', base .. 'timers', 'limit:' .. blocker)
    note_timer(base .. 'timers', base .. 'meta')
  end
end
