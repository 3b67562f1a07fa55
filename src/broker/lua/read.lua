-- Reads messages of a claim: the first one however large it is, and no more once they are too large together.
-- KEYS: claim   ARGV: bytes, fields ...
-- Returns: the messages of the first fields, nothing for what is no longer claimed
local found, bytes = {}, tonumber(ARGV[1])
for place = 2, #ARGV do
  local message = redis.call('HMGET', KEYS[1], ARGV[place])[1]
  found[place - 1] = message
  bytes = bytes - (message and #message or 0)
  if bytes <= 0 then
    break
  end
end
return found
