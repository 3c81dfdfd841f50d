-- room_now: how many of the jobs that an instance blocks may come at once, and when to look again (ms; math.huge: a release will
-- tell). best: the first of them; parked: how many there are.
-- Needs ask, limits_on, state_of.
local function room_now(book, instance, best, parked, us)
  local job = ask('HMGET', book.base .. 'job:' .. best, 'limits', 'task', 'group') or {}
  local bound
  for _, pair in ipairs(limits_on(book, job[1], job[2], job[3])) do
    if pair[2] == instance then bound = pair[1] end
  end
  if not bound then return parked, math.floor(us / 1000) end
  local state, places, at = state_of(book, instance, bound), parked, math.huge
  if bound[1] then places = math.min(places, math.max(0, bound[1] - state[1])) end
  if bound[2] then
    local from = math.max(us, state[2]) - bound[3]
    local tokens = us < from and 0 or math.floor((us - from) / bound[2]) + 1
    if tokens <= places then
      places, at = tokens, math.ceil((from + tokens * bound[2]) / 1000)
    end
  end
  return places, at
end
