-- open_shares: start-time fair queueing for the policy `fair`. Each group has a virtual finish, in work by its weight; a job
-- starts, virtually, when its group's work before it is done, but not before the queue's virtual time. open_shares and start_of
-- only read; close_shares writes, once a call.
-- Needs ask, cost_of.
local function open_shares(base, vtime)
  return { base = base, vtime = tonumber(vtime) or 0, finish = {}, weights = {}, charges = {} }
end

local function charge_of(shares, task)
  local charge = shares.charges[task]
  if not charge then
    if shares.unit == nil then shares.unit = ask('HGET', shares.base .. 'meta', 'unit_ms') or false end
    local known = shares.unit and ask('HMGET', shares.base .. 'averages', task, '*') or {}
    local mean = tonumber(known[1]) or tonumber(known[2])
    charge = mean and cost_of(shares.unit, mean) or 100
    if charge ~= charge or charge < 0 or charge > 1e9 then charge = 100 end
    shares.charges[task] = charge
  end
  return charge
end

local function weight_of(shares, group)
  local weight = shares.weights[group]
  if not weight then
    weight = tonumber(ask('HGET', shares.base .. 'weights', group)) or 1
    if weight ~= weight or weight <= 0 or weight > 1e6 then weight = 1 end
    shares.weights[group] = weight
  end
  return weight
end

-- When a job of this group may start, in virtual time; and what its group is charged for it until its run time is known.
local function start_of(shares, group, task)
  group = group or ''
  local done = shares.finish[group] or tonumber(ask('ZSCORE', shares.base .. 'shares', group)) or 0
  local start = math.max(shares.vtime, done)
  if start ~= start or start > 9e12 then start = 9e12 end
  local charge = charge_of(shares, task)
  shares.finish[group] = start + charge / weight_of(shares, group)
  return start, charge
end

-- A group that is behind the virtual time begins there anyway, and need not be remembered: at most twice as many go as come.
-- Beyond 10,000 groups those that have used least are forgotten too, and nothing is remembered of a queue at rest.
local function close_shares(shares)
  local pairs_, groups = {}, 0
  for group, done in pairs(shares.finish) do
    pairs_[#pairs_ + 1], pairs_[#pairs_ + 2] = done, group
    groups = groups + 1
  end
  if groups == 0 then return end
  local old = redis.pcall('ZRANGE', shares.base .. 'shares', '-inf', shares.vtime, 'BYSCORE', 'LIMIT', 0, 2 * groups)
  if not old.err and #old > 0 then redis.pcall('ZREM', shares.base .. 'shares', unpack(old)) end
  redis.pcall('ZADD', shares.base .. 'shares', unpack(pairs_))
  redis.pcall('PEXPIRE', shares.base .. 'shares', 86400000)
  local over = redis.pcall('ZCARD', shares.base .. 'shares')
  if type(over) == 'number' and over > 10000 then
    old = redis.pcall('ZRANGE', shares.base .. 'shares', 0, math.min(over - 10000, 2 * groups) - 1)
    if not old.err and #old > 0 then redis.pcall('ZREM', shares.base .. 'shares', unpack(old)) end
  end
end
