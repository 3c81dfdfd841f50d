-- schedule: any state -> the same; write a schedule and its next tick, if both still are what the caller saw.
-- Why: next ticks are computed outside of Redis, and everybody may do it. Who saw an older definition, or a tick that another
--   has fired since, must not win: that would pass a tick over, or bring one back.
-- KEYS
-- 1 schedules  taskq:{q}:schedules  hash  definition by name
-- 2 timers     taskq:{q}:timers     zset  cron:<name> by next tick, ms
-- 3 meta       taskq:{q}:meta       hash  timer_ms
-- 4 wake       taskq:{q}:wake       list  wake tokens
-- ARGV
-- 1 name        text  the schedule
-- 2 member      text  its name among the timers, cron:<name>
-- 3 seen        text  the definition the caller saw; '' for none
-- 4 seen_due    text  the next tick the caller saw, ms; 'inf' for never, '' for no timer
-- 5 definition  text  what it shall be; '' takes the schedule and its timer away
-- 6 due         text  the next tick it shall have, ms; 'inf' for never
-- Returns
-- {"OK", due}                     as the caller wanted it; also when it was so already
-- {"CHANGED", definition, due}    somebody else was quicker: as it is now, '' for none; nothing was written
-- Cost: O(log n)
-- Flags: allow-oom
-- @include text expect wake_up next_timer note_timer set_timer drop_timer
local schedules, timers, meta, wake = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local name, member, seen, seen_due, definition, due = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]

expect({}, meta, wake)
local is = redis.call('HGET', schedules, name) or ''
local is_due = redis.call('ZSCORE', timers, member) or ''
if definition == '' then due = '' end
if is == definition and is_due == due then return { 'OK', due } end
if is ~= seen or is_due ~= seen_due then return { 'CHANGED', is, is_due } end

local first = next_timer(timers) or math.huge
if definition == '' then
  redis.call('HDEL', schedules, name)
  drop_timer(timers, meta, member)
  return { 'OK', due }
end
redis.call('HSET', schedules, name, definition)
local at = tonumber(due)
set_timer(timers, meta, member, at)
if at < first then wake_up(wake, 1) end
return { 'OK', due }
