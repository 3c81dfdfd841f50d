-- next_due: ms until the earliest of two zsets of due times and of a timer (text of ms, or nil), as text; '-1' when there is
-- none, '0' when it is due.
local function next_due(scheduled, retry, now, timer)
  local first = tonumber(redis.call('ZRANGE', scheduled, 0, 0, 'WITHSCORES')[2])
  local again = tonumber(redis.call('ZRANGE', retry, 0, 0, 'WITHSCORES')[2])
  if again and (not first or again < first) then first = again end
  timer = tonumber(timer)
  if timer and (not first or timer < first) then first = timer end
  if not first then return '-1' end
  if first <= now then return '0' end
  return string.format('%.0f', math.min(first - now, 1e14)) -- an infinite score has no digits
end
