-- drop_timer: `member` of `timers` is due no more.
-- Needs note_timer.
local function drop_timer(timers, meta, member)
  redis.call('ZREM', timers, member)
  note_timer(timers, meta)
end
