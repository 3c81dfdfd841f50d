-- time_of: a point in time, ms, from '' (nil), '1700000000000' (absolute) or '+5000' (from now).
local function time_of(word, now)
  if word == '' then return nil end
  if string.byte(word) == 43 then return now + tonumber(string.sub(word, 2)) end
  return tonumber(word)
end
