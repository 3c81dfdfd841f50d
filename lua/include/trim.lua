-- trim: keep an index of ended jobs within its age and count; at most `budget` ids a call, so that it never blocks.
-- By age the hash goes by its own TTL; by count the hash goes with its id. The index itself expires after the last end.
-- Needs last_until.
local function trim(index, job_prefix, now, keep_ms, keep_count, budget)
  local old = redis.call('ZRANGE', index, '-inf', string.format('(%.0f', now - keep_ms), 'BYSCORE', 'LIMIT', 0, budget)
  if #old > 0 then redis.call('ZREM', index, unpack(old)) end
  local over = redis.call('ZCARD', index) - keep_count
  if over > 0 then
    if over > budget then over = budget end
    local last = redis.call('ZRANGE', index, 0, over - 1, 'WITHSCORES')
    for i = 1, #last, 2 do
      -- A record may run out before its entry, and the id be used again: only the one that ended then goes.
      local ended = redis.pcall('HGET', job_prefix .. last[i], 'ended_ms')
      if ended == string.format('%.0f', last[i + 1]) then redis.call('UNLINK', job_prefix .. last[i]) end
      redis.call('ZREM', index, last[i])
    end
  end
  last_until(index, keep_ms)
end
