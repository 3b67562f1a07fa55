-- Announces an owner, before its first claim, and looks at the claims of those before it.
-- KEYS: owners, claim, dead, known   ARGV: owner, what the key of a claim begins with, milliseconds to look at one who is gone
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- A server that is full refuses a script only at a first write that needs memory: this one does not.
redis.call('ZREM', KEYS[1], ARGV[1])
-- Whoever may not write a claim, or take out of a list, is told so here, before a message was taken for one.
redis.call('LREM', KEYS[2], 1, '')
redis.call('HDEL', KEYS[2], '') -- before the key is there: each attempt would leave one behind
redis.call('HSET', KEYS[2], '', '')
redis.call('HDEL', KEYS[2], '')
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZADD', KEYS[4], 0, ARGV[1])
-- What a killed server's log has the beginning of is done at its second start: a claim may be of nobody then.
local known = redis.call('ZRANGE', KEYS[4], 0, -1, 'WITHSCORES')
for place = 1, #known, 2 do
  local owner, gone = known[place], tonumber(known[place + 1])
  if not redis.call('ZSCORE', KEYS[1], owner) then
    if redis.call('EXISTS', ARGV[2] .. owner) == 1 then
      redis.call('SADD', KEYS[3], owner)
    elseif gone == 0 then
      redis.call('ZADD', KEYS[4], now, owner)
    elseif now - gone > tonumber(ARGV[3]) then
      redis.call('ZREM', KEYS[4], owner)
    end
  end
end
return 1
