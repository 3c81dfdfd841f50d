-- pass_on: a job that was woken for a place under a limit does not take it: another may. Returns the ties, made at the first.
-- Needs new_ties.
local function pass_on(ties, instance)
  ties = ties or new_ties()
  ties.woken[instance] = (ties.woken[instance] or 0) + 1
  return ties
end
