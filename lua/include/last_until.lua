-- last_until: an index of ended jobs lives at least `keep_ms` more, then goes by itself.
local function last_until(index, keep_ms)
  if redis.call('PTTL', index) < keep_ms then redis.call('PEXPIRE', index, string.format('%.0f', keep_ms)) end
end
