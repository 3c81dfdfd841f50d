-- advance: for the policy fair, the queue's virtual time is where the last job that was taken began; it never goes back.
-- top: the rank of that job. vtime: text, or nil.
local function advance(meta, vtime, top)
  local start = tonumber(top) % 1e13
  if start > (tonumber(vtime) or 0) then redis.call('HSET', meta, 'vtime', string.format('%.17g', start)) end
end
