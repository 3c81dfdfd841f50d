-- take_back: the jobs of a worker that is lost go back to ready, or end: with their last crash, or because somebody asked.
-- look_lost only reads, once for every worker; take_back writes, once for all of them. moves: {id, worker, word, crashes, job, how}.
-- Needs read_job, count, finish, announce, last_until, trim, wake_up, score_of, note_tie, let_go.

-- The class of a job whose next crash would be its last: what else it needs of a worker, it still needs.
local function fragile_of(class)
  if class == '' then return 'fragile' end
  if class == 'fragile' or string.sub(class, 1, 8) == 'fragile+' then return class end
  return 'fragile+' .. class
end

-- Adds up to `limit` moves in all; true when the worker holds nothing beyond them. `how`: words on its death, or ''.
local function look_lost(moves, limit, worker, running, how, job_prefix, ready, max_crashes, ties, now)
  local held = redis.pcall('ZRANGE', running, 0, limit - #moves)
  if held.err then
    -- Moved, or forbidden: stop before any write. Written over: the other workers' jobs must not wait for that.
    if not string.find(tostring(held.err), 'WRONGTYPE') then redis.call('ZCARD', running) end
    return true
  end
  for i, id in ipairs(held) do
    if #moves == limit then return false end
    local job = read_job(job_prefix .. id, 'state', 'worker', 'crashes', 'rank', 'class', 'cancel', 'waiters', 'tied')
    local crashes = (job and tonumber(job[3]) or 0) + 1
    local word = 'stray'
    if job and job[1] == 'running' and job[2] == worker then
      word = job[6] and 'CANCELLED' or crashes >= max_crashes and 'DEAD' or 'READY'
      if job[5] then redis.call('ZCARD', ready .. ':' .. job[5]) end
      if crashes >= max_crashes - 1 then redis.call('ZCARD', ready .. ':' .. fragile_of(job[5] or '')) end
      if job[8] then ties = note_tie(ties, string.sub(job_prefix, 1, -5), id, 'running', word ~= 'READY' or nil, now, job[8]) end
    end
    moves[#moves + 1] = { id, worker, word, crashes, job, how }
    if i == #held then return true end
  end
  return true
end

local function take_back(moves, now, job_prefix, running_prefix, ready, dead, done, wake, stats, classes,
    max_crashes, dead_keep_ms, dead_max, keep_ms, ties)
  local words, woken, back, gone, stopped = {}, {}, 0, 0, 0
  for _, move in ipairs(moves) do
    local id, worker, word, crashes, job, how = move[1], move[2], move[3], move[4], move[5], move[6]
    local key = job_prefix .. id
    redis.call('ZREM', running_prefix .. worker, id)
    if word == 'READY' then
      local class = job[5] or ''
      redis.call('HSET', key, 'state', 'ready', 'crashes', crashes)
      if crashes >= max_crashes - 1 then
        class = fragile_of(class)
        redis.call('HSET', key, 'class', class)
        if redis.call('SADD', classes, class) == 1 then wake_up(wake, 4) end
      end
      redis.call('ZADD', ready .. (class ~= '' and ':' .. class or ''), score_of(job[4]), id)
      woken[class] = (woken[class] or 0) + 1
      back = back + 1
    elseif word == 'DEAD' then
      local problem = 'WorkerLost: worker ' .. worker .. ' died while it ran this job (crash ' .. crashes .. ')' .. how
      finish(key, id, dead, 'dead', now, dead_keep_ms,
        { 'crashes', crashes, 'reason', 'worker_lost', 'error', problem })
      gone = gone + 1
      if job[7] then announce(job[7], id, 'dead', 'worker_lost\n' .. problem) end
    elseif word == 'CANCELLED' then
      finish(key, id, done, 'cancelled', now, keep_ms, { 'crashes', crashes })
      stopped = stopped + 1
      if job[7] then announce(job[7], id, 'cancelled', '') end
    end
    if word ~= 'stray' then words[#words + 1], words[#words + 2], words[#words + 3] = id, word, worker end
  end
  if gone > 0 then trim(dead, job_prefix, now, dead_keep_ms, dead_max, 2 * gone + 10) end
  if stopped > 0 then last_until(done, keep_ms) end
  let_go(ties, string.sub(job_prefix, 1, -5), now)
  for class, jobs in pairs(woken) do wake_up(wake, jobs, class) end
  count(stats, now, 'crashed', back + gone + stopped)
  count(stats, now, 'dead', gone)
  count(stats, now, 'cancelled', stopped)
  return words
end
