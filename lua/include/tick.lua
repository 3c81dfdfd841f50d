-- tick: schedules that fired in this call are due again at their next time. ticks: {timer, ms or 'inf'}.
-- Needs note_timer.
local function tick(base, meta, ticks)
  for _, tick_ in ipairs(ticks) do
    redis.call('ZADD', base .. 'timers', tick_[2] == 'inf' and '+inf' or tick_[2], tick_[1])
  end
  note_timer(base .. 'timers', meta)
end
