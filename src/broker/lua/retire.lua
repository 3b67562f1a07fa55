-- Ends an owner: it claims no more, and what it still claims waits to be given back.
-- KEYS: owners, dead   ARGV: owner
-- Returns: 1, or 0 when it had been declared dead
if redis.call('ZREM', KEYS[1], ARGV[1]) == 0 then
  return 0
end
redis.call('SADD', KEYS[2], ARGV[1])
return 1
