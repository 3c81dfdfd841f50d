-- set_timer: `member` of `timers` is due at `due`, ms; math.huge: at no time, something else will move it.
-- Needs note_timer.
local function set_timer(timers, meta, member, due)
  redis.call('ZADD', timers, due, member)
  note_timer(timers, meta)
end
