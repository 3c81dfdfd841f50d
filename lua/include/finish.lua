-- finish: a job ends. Its hash gets the terminal state and, only now, a TTL; its id goes to an index by end time.
-- Nothing is kept when keep_ms is 0. fields: {name, value, ...} to set besides. The caller has removed it from its home.
local function finish(key, id, index, state, now, keep_ms, fields)
  if keep_ms <= 0 then
    redis.call('UNLINK', key)
    return
  end
  redis.call('HSET', key, 'state', state, 'ended_ms', string.format('%.0f', now), unpack(fields))
  redis.call('PEXPIRE', key, string.format('%.0f', keep_ms))
  redis.call('ZADD', index, now, id)
end
