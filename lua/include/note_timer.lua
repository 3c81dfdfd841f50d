-- note_timer: keep timer_ms of `meta` at the first time of `timers`: a claim then knows it from the hash it reads anyway. After
-- every change of `timers`; set_timer and drop_timer do it. The caller has seen that both keys are of their types.
-- Needs text, next_timer.
local function note_timer(timers, meta)
  local due = next_timer(timers)
  if due then
    redis.call('HSET', meta, 'timer_ms', text(due))
  else
    redis.call('HDEL', meta, 'timer_ms')
  end
end
