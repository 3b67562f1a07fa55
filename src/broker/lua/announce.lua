-- Announces an owner, before its first claim.
-- KEYS: owners, claim   ARGV: owner
local now = redis.call('TIME')
-- A server that is full refuses a script only at a first write that needs memory: this one does not.
redis.call('ZREM', KEYS[1], ARGV[1])
-- Whoever may not write a claim is told so here, before a message was taken for one.
redis.call('HSET', KEYS[2], '', '')
redis.call('HDEL', KEYS[2], '')
redis.call('ZADD', KEYS[1], now[1] * 1000 + math.floor(now[2] / 1000), ARGV[1])
return 1
