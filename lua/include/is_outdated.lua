-- is_outdated: would this rank, of an older policy, come after all that the policy gives now? Then its job would wait for ever.
local function is_outdated(policy, rank)
  rank = tonumber(rank) or 0
  if policy == 'aging' then return rank >= 1e13 end
  return policy == 'fair' and rank % 1e13 >= 1e12
end
