-- Moves messages out of a claim to the front of a list; what is no longer claimed is left alone, so it can be repeated.
-- KEYS: claim   ARGV: field, list, marker, message as it shall be, field, list ...
-- Returns: how many were moved
local moved = 0
-- A server that is full refuses a script only at a first write that needs memory: this one does not.
redis.call('HDEL', KEYS[1], '')
for place = 2, #ARGV, 4 do
  if redis.call('HEXISTS', KEYS[1], ARGV[place - 1]) == 1 then
    -- An error ends the script: then the message is still in the claim.
    redis.call('RPUSH', ARGV[place], ARGV[place + 2])
    redis.call('HDEL', KEYS[1], ARGV[place - 1])
    redis.call('ZADD', ARGV[place + 1], 0, 'x')
    moved = moved + 1
  end
end
return moved
