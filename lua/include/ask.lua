-- ask: a read that takes a key of another type for none: never crash on what somebody wrote over. Whatever else is wrong
-- (it has moved, or is forbidden) stops the script here, before any write.
local function ask(...)
  local reply = redis.pcall(...)
  if type(reply) ~= 'table' or not reply.err then return reply end
  if string.find(tostring(reply.err), 'WRONGTYPE') then return nil end
  return redis.call(...)
end
