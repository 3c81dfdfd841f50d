-- expect: stop before the first write when an index is not of its type (somebody wrote over it): Lua does not roll back.
local function expect(zsets, hash, list)
  for _, key in ipairs(zsets) do redis.call('ZCARD', key) end
  if hash then redis.call('HLEN', hash) end
  if list then redis.call('LLEN', list) end
end
