-- text: a whole number as text. Lua's own tostring keeps 14 digits only.
local function text(number)
  return string.format('%.0f', number)
end
