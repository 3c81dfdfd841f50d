-- announce: push an outcome to the clients that wait for this job (field waiters: channels, a space between).
-- Message: id, state, outcome (result bytes, or error text), a newline between; the outcome may hold newlines.
local function announce(waiters, id, state, outcome)
  for channel in string.gmatch(waiters, '%S+') do
    redis.call('PUBLISH', channel, id .. '\n' .. state .. '\n' .. outcome)
  end
end
