-- grant: a job takes a place under each of its limits, in the book; take writes them down. blocker_of tells whether it may.
-- Needs state_of.
-- The first instance without room, and the ms from which it may have some (nil: when a holder lets go). nil: all have room.
local function blocker_of(book, wanted, us)
  for _, pair in ipairs(wanted) do
    local limit, state = pair[1], state_of(book, pair[2], pair[1])
    if limit[1] and state[1] >= limit[1] then return pair[2], nil end
    if limit[2] and us < state[2] - limit[3] then return pair[2], math.ceil((state[2] - limit[3]) / 1000) end
  end
  return nil
end

-- awaits: the instance whose place it was woken for, or nil; that one nobody else was given.
local function grant(book, wanted, id, us, awaits)
  for _, pair in ipairs(wanted) do
    local limit, state = pair[1], book.state[pair[2]]
    if limit[1] then
      state[1] = state[1] + 1
      table.insert(state[3], id)
      if pair[2] ~= awaits then book.granted[pair[2]] = (book.granted[pair[2]] or 0) + 1 end
    end
    if limit[2] then
      state[2] = math.max(us, state[2]) + limit[2]
      state[4] = true
    end
  end
end
