-- score_of: a stored rank as a score; 0 for what is none ('nan' is a number to tonumber, and ZADD refuses it half-way).
local function score_of(word)
  local score = tonumber(word)
  if not score or score ~= score then return 0 end
  return score
end
