-- read_job: named fields of a job's hash, nil when there is no such hash (or a key of another type: never crash on it).
local function read_job(key, ...)
  local values = redis.pcall('HMGET', key, ...)
  if values.err then
    if string.find(tostring(values.err), 'WRONGTYPE') then return nil end
    values = redis.call('HMGET', key, ...) -- not missing but moved, or forbidden: the script stops here, before any write
  end
  if not values[1] then return nil end
  return values
end
