-- last_seen: what a lost worker's last heartbeat said of it, in words to append; '' when it said nothing.
local function last_seen(vitals)
  local rss = string.match(vitals or '', 'rss=(%d+)')
  if not rss then return '' end
  return string.format('; %.0f MB at its last heartbeat', rss / 1e6)
end
