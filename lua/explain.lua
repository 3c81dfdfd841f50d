-- explain: any state -> the same; all that bears on why one job is not running, in one consistent look. Read only.
-- Why: asked piece by piece, a job has moved before the last answer comes, and the pieces contradict each other. Nothing is
--   decided here: taskq/explain.py turns what is seen into reasons.
-- KEYS
-- 1 ready     taskq:{q}:ready     zset  id by rank
-- 2 classes   taskq:{q}:classes   set   classes that have been given jobs
-- 3 holders   taskq:{q}:holders   set   workers that may hold jobs
-- 4 suspects  taskq:{q}:suspects  hash  silent workers
-- 5 vitals    taskq:{q}:vitals    hash  what each worker's last beat said of it
-- 6 meta      taskq:{q}:meta      hash  settings of the queue
-- 7 averages  taskq:{q}:averages  hash  run times by task
-- ARGV
-- 1 prefix  text  taskq:{q}:
-- 2 id      text  id of the job
-- Returns
-- {"NOT_FOUND"}
-- {"OK", now_ms, {field, value, ...} of the job, {what, number, ...}, {class, ahead, waiting, ...}, {worker, running, word, slots, ...}, meta, limits}
--   what: score and before in the job's index, average_ms of its task, all_average_ms of all, turned 1: waits in a set of an older policy;
--   ahead: ready jobs of that class with a better rank; limits, at most 20 that the job is under: {name, instance, definition, holding, parked, rate_us,
--   due_ms, {id, worker, task, ...} of at most 10 jobs that hold it}
-- Cost: O(log n + w + c + l) for w workers, c classes and l limits of the queue, each <= 200
-- Flags: no-writes
-- @include now_us text read_job workers_of
local ready, classes, holders, suspects, vitals, meta, averages = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local prefix, id = ARGV[1], ARGV[2]

local NAMES = { 'state', 'task', 'class', 'blocked_by', 'worker', 'limits', 'group', 'key', 'cost', 'priority', 'attempt',
  'crashes', 'enqueued_ms', 'started_ms', 'ended_ms', 'deadline_ms', 'on_miss', 'reason', 'error', 'cancel', 'progress',
  'note', 'holds', 'awaits', 'rank' }
local HOMES = { scheduled = 'scheduled', retry = 'retry', dead = 'dead' }

local function pairs_of(hash, most)
  if redis.call('HLEN', hash) > most then return {} end
  return redis.call('HGETALL', hash)
end

local now = math.floor(now_us() / 1000)
local job = read_job(prefix .. 'job:' .. id, unpack(NAMES))
if not job then return { 'NOT_FOUND' } end
local fields, state, task, class, blocked_by = {}, job[1], job[2], job[3], job[4]
for i, name in ipairs(NAMES) do
  if job[i] then fields[#fields + 1], fields[#fields + 2] = name, job[i] end
end

-- Where it stands.
local facts, ahead, home = {}, {}, HOMES[state]
if state == 'ready' then home = class and 'ready:' .. class or 'ready' end
if state == 'blocked' and blocked_by then home = 'parked:' .. blocked_by end
if state == 'running' and job[5] then home = 'running:' .. job[5] end
local score = home and redis.call('ZSCORE', prefix .. home, id)
if not score and state == 'ready' then
  home = class and 'turned:' .. class or 'turned'
  score = redis.call('ZSCORE', prefix .. home, id)
  if score then facts[1], facts[2] = 'turned', 1 end
end
if score then
  facts[#facts + 1], facts[#facts + 2] = 'score', score
  facts[#facts + 1], facts[#facts + 2] = 'before', redis.call('ZRANK', prefix .. home, id)
end
local of_task, of_all = redis.call('HGET', averages, task or ''), redis.call('HGET', averages, '*')
if of_task then facts[#facts + 1], facts[#facts + 2] = 'average_ms', of_task end
if of_all then facts[#facts + 1], facts[#facts + 2] = 'all_average_ms', of_all end
local listed = redis.call('SRANDMEMBER', classes, 200)
listed[#listed + 1] = ''
for _, name in ipairs(listed) do
  local set = ready
  if name ~= '' then set = ready .. ':' .. name end
  local waiting = redis.call('ZCARD', set)
  if waiting > 0 then
    local better = state == 'ready' and score and redis.call('ZCOUNT', set, '-inf', '(' .. score) or 0
    if prefix .. (home or '') == set then better = redis.call('ZRANK', set, id) or better end
    ahead[#ahead + 1], ahead[#ahead + 2], ahead[#ahead + 3] = name, better, waiting
  end
end

-- The limits it is under: its own, then those of its queue, task and group.
local limits, seen = {}, {}
local function add(name, instance)
  if seen[instance] or #limits == 20 then return end
  seen[instance] = true
  local who, holding = {}, prefix .. 'holding:' .. instance
  for _, holder in ipairs(redis.call('SRANDMEMBER', holding, 10)) do
    local held = read_job(prefix .. 'job:' .. holder, 'state', 'worker', 'task')
    who[#who + 1], who[#who + 2], who[#who + 3] = holder, held and held[2] or '', held and held[3] or ''
  end
  limits[#limits + 1] = { name, instance, redis.call('HGET', prefix .. 'limits', name) or '', redis.call('SCARD', holding),
    redis.call('ZCARD', prefix .. 'parked:' .. instance), redis.call('GET', prefix .. 'rate:' .. instance) or '',
    redis.call('ZSCORE', prefix .. 'timers', 'limit:' .. instance) or '', who }
end

local settings = pairs_of(meta, 200)
local ended = HOMES[state] == 'dead' or redis.call('PTTL', prefix .. 'job:' .. id) >= 0
if not ended then
  for word in string.gmatch(string.sub(job[6] or '', 1, 4000), '%S+') do
    local name, instance = string.match(word, '^(.-)|(.+)$')
    name, instance = name or word, instance or word
    add(name, instance)
  end
  if blocked_by then add(blocked_by, blocked_by) end
  local mine = { queue = true, ['task.' .. (task or '')] = true, ['group.' .. (job[7] or '')] = true }
  for on, name in string.gmatch(redis.call('HGET', meta, 'limited') or '', '([^ =]+)=(%S+)') do
    if mine[on] then add(name, name) end
  end
end
return { 'OK', text(now), fields, facts, ahead, (workers_of(holders, suspects, vitals, prefix .. 'alive:', prefix .. 'running:')),
  settings, limits }
