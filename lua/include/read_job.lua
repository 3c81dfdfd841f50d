-- read_job: named fields of a job's hash, nil when there is no such hash (or a key of another type: never crash on it).
local function read_job(key, ...)
  local values = redis.pcall('HMGET', key, ...)
  if values.err or not values[1] then return nil end
  return values
end
