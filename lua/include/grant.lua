-- grant: has a job room under all of its limits? Then it takes a place under each, in the book; take writes them down.
-- Needs limit_of, state_of.
-- The first instance without room, and the ms from which it may have some (nil: when a holder lets go). nil: all have room.
local function blocker_of(book, wanted, us)
  for i = 1, #wanted, 2 do
    local limit = limit_of(book, wanted[i])
    if limit then
      local state = state_of(book, wanted[i + 1], limit)
      if limit[1] and state[1] >= limit[1] then return wanted[i + 1], nil end
      if limit[2] and us < state[2] - limit[3] then
        return wanted[i + 1], math.ceil((state[2] - limit[3]) / 1000)
      end
    end
  end
  return nil
end

-- Take a place under each. Returns what the job holds while it runs, a space between; '' when nothing counts holders.
local function grant(book, wanted, us)
  local holds = {}
  for i = 1, #wanted, 2 do
    local limit, instance = limit_of(book, wanted[i]), wanted[i + 1]
    if limit then
      local state = state_of(book, instance, limit)
      if limit[1] then
        state[1] = state[1] + 1
        holds[#holds + 1] = instance
        book.granted[instance] = (book.granted[instance] or 0) + 1
      end
      if limit[2] then
        state[2] = math.max(us, state[2]) + limit[2]
        state[3] = true
      end
    end
  end
  return table.concat(holds, ' ')
end
