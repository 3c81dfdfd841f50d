-- cost_of: what a run of `ms` costs its group: a run as long as the queue's first average (unit, from meta) costs 100. While there
-- is no average every job costs that, so what waited before the first is worth the same as what comes after it. nil: not known yet.
local function cost_of(unit, ms)
  unit = tonumber(unit)
  if not unit or not (unit > 0 and unit <= 1e9) then return nil end
  return ms * 100 / unit
end
