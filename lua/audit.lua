-- audit: any state -> the same; is each of these places of a queue as the scripts leave it? Read only.
-- Why: somebody may have changed keys by hand, a script may have been refused half-way, a bug may have bitten. Jobs move all
--   the time, so what is compared must be read in one step, and every promise of the scripts holds in every such look.
-- KEYS
-- 1 holders  taskq:{q}:holders  set  workers that may hold jobs
-- 2 classes  taskq:{q}:classes  set  classes that have been given jobs
-- ARGV
-- 1 prefix     text    taskq:{q}:
-- 2... places  2 each  place and name, see lua/include/look_at.lua; at most 200
-- Returns
-- {"OK", place, name, code, detail, ...}   what is wrong; nothing for a place that is well
-- Cost: O(k log n) for k places, k <= 200
-- Flags: no-writes
-- @include text ask look_beside look_at
local holders, classes = KEYS[1], KEYS[2]
local prefix = ARGV[1]

local found = { 'OK' }
for i = 2, math.min(#ARGV, 401), 2 do
  for _, finding in ipairs(look_at(prefix, holders, classes, ARGV[i], ARGV[i + 1])) do
    found[#found + 1], found[#found + 2] = ARGV[i], ARGV[i + 1]
    found[#found + 1], found[#found + 2] = finding[1], finding[2]
  end
end
return found
