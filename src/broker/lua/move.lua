-- Moves messages out of a claim into lists; what is no longer claimed is left alone, so it can be repeated.
-- KEYS: claim   ARGV: field, list, marker, message as it shall be, field, list ...
--       With a marker to the front; without one to the back, where nobody waits.
-- Returns: how many were moved
local moved = 0
for place = 2, #ARGV, 4 do
  -- The removal comes first: a server that is full refuses a script only at a first write that needs memory.
  if redis.call('HDEL', KEYS[1], ARGV[place - 1]) == 1 then
    local list, marker, message = ARGV[place], ARGV[place + 1], ARGV[place + 2]
    if marker == '' then
      redis.call('LPUSH', list, message)
    else
      redis.call('RPUSH', list, message)
      redis.call('ZADD', marker, 0, 'x')
    end
    moved = moved + 1
  end
end
return moved
