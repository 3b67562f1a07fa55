-- Moves messages out of a claim into lists; what is no longer claimed is left alone, so it can be repeated.
-- KEYS: claim   ARGV: field, list, marker, message as it shall be, field, list ...
--       With a marker to the front; without one to the back, where nobody waits.
-- Returns: how many were moved
local moved = 0
-- A server that is full refuses a script only at a first write that needs memory: this one does not.
redis.call('HDEL', KEYS[1], '')
for place = 2, #ARGV, 4 do
  if redis.call('HEXISTS', KEYS[1], ARGV[place - 1]) == 1 then
    local list, marker, message = ARGV[place], ARGV[place + 1], ARGV[place + 2]
    -- An error ends the script: then the message is still in the claim.
    redis.call(marker == '' and 'LPUSH' or 'RPUSH', list, message)
    redis.call('HDEL', KEYS[1], ARGV[place - 1])
    if marker ~= '' then
      redis.call('ZADD', marker, 0, 'x')
    end
    moved = moved + 1
  end
end
return moved
