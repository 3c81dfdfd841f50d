-- rank_of: the score that orders ready jobs, decided once when a job becomes ready; smaller runs first.
-- policy: table from HMGET policy horizon_ms patience_ms. deadline: ms or nil. at: ms when the job became ready.
-- start: virtual ms from open_shares, for the policy fair; nil ranks first in the band.
local function rank_of(policy, priority, deadline, at, start)
  if policy[1] == 'fair' then return (9 - priority) * 1e13 + (start or 0) end
  if policy[1] == 'aging' then
    local patience, band = 60000, 0
    local table_ = policy[3] or '600000 480000 360000 240000 120000 60000 30000 10000 3000 1000'
    for ms in string.gmatch(table_, '%d+') do
      if band == priority then patience = tonumber(ms) end
      band = band + 1
    end
    local due = at + patience
    if deadline and deadline < due then due = deadline end
    if due ~= due then return at end
    return due
  end
  local rank = (9 - priority) * 1e13 + (deadline or at + (tonumber(policy[2]) or 60000))
  if rank ~= rank then return at end -- 'nan' is a number to tonumber, but no score
  return rank
end
