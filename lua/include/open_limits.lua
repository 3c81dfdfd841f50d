-- open_limits: the limits of a queue, and those a job is under. A book is kept for one call, so that jobs granted in it count for
-- those after them. Only reads.
-- Needs ask.
-- ties: what this call lets go, or nil. limited: the queue has limits (meta); else only `key:` limits, built in.
local function open_limits(base, limited, ties)
  local book = { base = base, freed = ties and ties.freed or {}, granted = {}, state = {}, defined = {}, queue = {}, task = {}, group = {} }
  local words = limited and ask('HGETALL', base .. 'limits') or {}
  for i = 1, #words, 2 do
    local name, on = words[i], string.match(words[i + 1], 'on=(%S+)') or 'job'
    book.defined[name] = words[i + 1]
    local family, whose = string.match(on, '^(%a+)%.(.*)$')
    local scope = family and book[family]
    if on == 'queue' then
      book.queue[#book.queue + 1] = name
    elseif scope and (family == 'task' or family == 'group') then
      scope[whose] = scope[whose] or {}
      table.insert(scope[whose], name)
    end
  end
  return book
end

-- {concurrency or nil, every_us or nil, burst_us}; nil when nothing by that name is limited (any more).
local function limit_of(book, name)
  local limit = book.defined[name]
  if type(limit) == 'string' then
    limit = {
      tonumber(string.match(limit, 'concurrency=(%d+)') or ''),
      tonumber(string.match(limit, 'every_us=(%d+)') or ''),
      tonumber(string.match(limit, 'burst_us=(%d+)') or '') or 0,
    }
    book.defined[name] = limit
  elseif not limit and string.sub(name, 1, 4) == 'key:' then
    limit = { 1, nil, 0 }
  end
  return limit
end

-- What a job is under: {name, instance, name, instance, ...}, each instance once. own: its field limits.
local function limits_on(book, own, task, group)
  local found, seen = {}, {}
  local function add(name, instance)
    if seen[instance] then return end
    seen[instance] = true
    found[#found + 1], found[#found + 2] = name, instance
  end
  for _, names in ipairs({ book.queue, book.task[task] or {}, book.group[group] or {} }) do
    for _, name in ipairs(names) do add(name, name) end
  end
  for word in string.gmatch(own or '', '%S+') do
    local name, instance = string.match(word, '^([^|]*)|(.+)$')
    add(name or word, instance or word)
  end
  return found
end

-- {holders, theoretical arrival us} of an instance, as this call will leave them.
local function state_of(book, instance, limit)
  local state = book.state[instance]
  if not state then
    state = { 0, 0 }
    if limit[1] then
      state[1] = (ask('SCARD', book.base .. 'holding:' .. instance) or 0) - (book.freed[instance] or 0)
    end
    if limit[2] then state[2] = tonumber(ask('GET', book.base .. 'rate:' .. instance) or '') or 0 end
    book.state[instance] = state
  end
  return state
end
