-- turn: after a change of policy, ready jobs that still have a rank of the old one. configure sets them aside in `turned`, and
-- promote gives them ranks of the new policy, the best first, a bounded number a call.
-- plan_turn only reads: up to `limit` of {id, class, rank, charge}, ids without such a job, and whether it saw all there are.
-- Needs ask, rank_of, start_of.
local function plan_turn(base, classes, policy, shares, limit)
  local moves, strays, more = {}, {}, false
  local names = { '' }
  for _, class in ipairs(redis.call('SRANDMEMBER', classes, 200)) do names[#names + 1] = class end
  for _, class in ipairs(names) do
    local suffix = class ~= '' and ':' .. class or ''
    local left = limit - #moves - #strays
    local found = ask('ZRANGE', base .. 'turned' .. suffix, 0, math.max(left, 0)) or {}
    if #found > left then more = true end
    if #found > 0 then redis.call('ZCARD', base .. 'ready' .. suffix) end
    for i = 1, math.min(#found, left) do
      local key = base .. 'job:' .. found[i]
      local job = ask('HMGET', key, 'state', 'priority', 'deadline_ms', 'enqueued_ms', 'group', 'task') or {}
      if job[1] == 'ready' then
        local start, charge
        if shares then start, charge = start_of(shares, job[5], job[6]) end
        local rank = rank_of(policy, tonumber(job[2]) or 5, tonumber(job[3]), tonumber(job[4]) or 0, start)
        moves[#moves + 1] = { found[i], class, rank, charge }
      else
        strays[#strays + 1] = { found[i], class }
      end
    end
  end
  return moves, strays, more
end

local function turn(base, moves, strays)
  for _, list in ipairs({ strays, moves }) do
    for _, move in ipairs(list) do
      redis.call('ZREM', base .. 'turned' .. (move[2] ~= '' and ':' .. move[2] or ''), move[1])
    end
  end
  for _, move in ipairs(moves) do
    redis.call('ZADD', base .. 'ready' .. (move[2] ~= '' and ':' .. move[2] or ''), move[3], move[1])
    if move[4] then redis.call('HSET', base .. 'job:' .. move[1], 'charged', string.format('%.17g', move[4]), 'tied', '1') end
  end
end
