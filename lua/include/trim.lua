-- trim: keep an index of ended jobs within its age and count; at most `budget` ids a call, so that it never blocks.
-- By age the hash goes by its own TTL; by count the hash goes with its id. The index itself expires after the last end.
-- Needs last_until.
local function trim(index, job_prefix, now, keep_ms, keep_count, budget)
  local old = redis.call('ZRANGE', index, '-inf', string.format('(%.0f', now - keep_ms), 'BYSCORE', 'LIMIT', 0, budget)
  if #old > 0 then redis.call('ZREM', index, unpack(old)) end
  local over = redis.call('ZCARD', index) - keep_count
  if over > 0 then
    if over > budget then over = budget end
    for _, id in ipairs(redis.call('ZRANGE', index, 0, over - 1)) do
      redis.call('UNLINK', job_prefix .. id)
      redis.call('ZREM', index, id)
    end
  end
  last_until(index, keep_ms)
end
