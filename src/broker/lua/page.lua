-- Reads messages of a list from one place on: the first ones however large they are, and no more once they are too large
-- together.
-- KEYS: list   ARGV: place, how many at most, bytes
-- Returns: the messages
local found, place, bytes = {}, tonumber(ARGV[1]), tonumber(ARGV[3])
local behind = place + tonumber(ARGV[2])
while place < behind and bytes > 0 do
  local some = redis.pcall('LRANGE', KEYS[1], place, math.min(place + 16, behind) - 1)
  if some.err and not string.find(some.err, 'WRONGTYPE', 1, true) then
    return some
  end
  if #some == 0 then -- also of another program's key
    break
  end
  for _, message in ipairs(some) do
    found[#found + 1] = message
    bytes = bytes - #message
  end
  place = place + #some
end
return found
