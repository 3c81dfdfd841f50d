-- open_limits: the limits of a queue, and those a job is under. A book is kept for one call, so that jobs granted in it count for
-- those after them. Only reads.
-- Needs ask.
-- limited: field of meta, '1' and then 'queue=<name>', 'task.<task>=<name>', 'group.<group>=<name>' for the limits that jobs do
-- not name themselves; nil when the queue has none, but `key:` limits, which are built in. ties: what this call lets go, or nil.
local function open_limits(base, limited, ties)
  local book = { base = base, limited = limited, freed = ties and ties.freed or {}, granted = {}, state = {}, defined = {},
    under = {} }
  for on, name in string.gmatch(limited or '', '([^ =]+)=(%S+)') do
    book.scoped = book.scoped or {}
    book.scoped[on] = (book.scoped[on] or '') .. ' ' .. name
  end
  return book
end

-- {concurrency or nil, every_us or nil, burst_us}; false when nothing by that name is limited (any more).
local function limit_of(book, name)
  local limit = book.defined[name]
  if limit == nil then
    local words = book.limited and ask('HGET', book.base .. 'limits', name)
    limit = false
    if words then
      limit = {
        tonumber(string.match(words, 'concurrency=(%d+)')),
        tonumber(string.match(words, 'every_us=(%d+)')),
        tonumber(string.match(words, 'burst_us=(%d+)')) or 0,
      }
    elseif string.sub(name, 1, 4) == 'key:' then
      limit = { 1, nil, 0 }
    end
    book.defined[name] = limit
  end
  return limit
end

-- What a job is under: {{limit, instance}, ...}, each instance once, and as `holds` those it takes a place of. own: its field
-- limits. Jobs that say the same are under the same: it is worked out once.
local function limits_on(book, own, task, group)
  local words, scoped = own or '', book.scoped
  if scoped then
    local of_task, of_group = scoped['task.' .. (task or '')] or '', scoped['group.' .. (group or '')] or ''
    words = (scoped.queue or '') .. of_task .. of_group .. ' ' .. words
  end
  local found = book.under[words]
  if found then return found end
  local seen, holds = {}, {}
  found = {}
  for word in string.gmatch(words, '%S+') do
    local name, instance = string.match(word, '^([^|]*)|(.+)$')
    name, instance = name or word, instance or word
    local limit = limit_of(book, name)
    if limit and not seen[instance] then
      seen[instance] = true
      found[#found + 1] = { limit, instance }
      if limit[1] then holds[#holds + 1] = instance end
    end
  end
  found.holds = table.concat(holds, ' ')
  book.under[words] = found
  return found
end

-- {holders, theoretical arrival us, ids this call adds, its rate has moved} of an instance, as this call will leave it.
local function state_of(book, instance, limit)
  local state = book.state[instance]
  if not state then
    state = { 0, 0, {}, false }
    if limit[1] then
      state[1] = (ask('SCARD', book.base .. 'holding:' .. instance) or 0) - (book.freed[instance] or 0)
    end
    if limit[2] then state[2] = tonumber(ask('GET', book.base .. 'rate:' .. instance)) or 0 end
    book.state[instance] = state
  end
  return state
end
