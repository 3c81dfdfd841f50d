-- add_due: put ids into a zset by due ms; when the head moves forward, wake a worker so that it sleeps no longer than that.
-- pairs_: {due, id, due, id, ...}, at most 200 pairs. first: the smallest due among them.
local function add_due(index, wake, pairs_, first)
  local head = redis.call('ZRANGE', index, 0, 0, 'WITHSCORES')[2]
  redis.call('ZADD', index, unpack(pairs_))
  if not head or first < tonumber(head) then
    if redis.call('LLEN', wake) < 4 then redis.call('RPUSH', wake, '1') end
  end
end
